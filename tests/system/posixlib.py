"""System calls that Python does not wrap, and helpers that POSIX tests share."""
import contextlib
import ctypes
import errno
import os
import subprocess
import time
import traceback

import pytest

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]

AT_FDCWD = -100
CLOCK_REALTIME_COARSE = 5
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
FALLOC_FL_KEEP_SIZE = 1
FALLOC_FL_PUNCH_HOLE = 2
FALLOC_FL_COLLAPSE_RANGE = 8
FALLOC_FL_ZERO_RANGE = 16

# Two people who are nobody on this machine.
ALICE = 48101
BOB = 48102
FRIENDS = 48200

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: acts as several users")


def await_tick():
    """Until a new time of a file differs from any old one: the kernel's clock for files ticks now and then."""
    now = time.time_ns()
    while now - 10**9 < time.clock_gettime_ns(CLOCK_REALTIME_COARSE) <= now:
        time.sleep(0.001)


def can_unshare(flag):
    """Whether the kernel and what confines this process let one have what this flag of unshare(2) says for itself."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if libc.unshare(flag) == 0 else 1)
    return os.waitpid(pid, 0)[1] == 0


CLONE_FS = 0x200
CLONE_NEWNS = 0x20000
CLONE_NEWPID = 0x20000000

needs_mount_namespace = pytest.mark.skipif(not can_unshare(CLONE_NEWNS), reason="needs root, and a mount namespace of its own")
needs_own_working_directory = pytest.mark.skipif(not can_unshare(CLONE_FS), reason="no thread can have a working directory of its own")


def is_plain_disk(path):
    kind = subprocess.run(["stat", "-f", "-c", "%T", path], check=True, capture_output=True, text=True).stdout.strip()
    return kind in ("ext2/ext3", "ext4", "xfs", "btrfs")


def _check(result):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def rename2(old, new, flags):
    _check(libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags))


def fallocate(fd, mode, offset, length):
    _check(libc.fallocate(fd, mode, offset, length))


@contextlib.contextmanager
def refused(*numbers):
    """The body must fail with one of these errnos."""
    with pytest.raises(OSError) as caught:
        yield
    names = [errno.errorcode[n] for n in numbers]
    assert caught.value.errno in numbers, f"{errno.errorcode.get(caught.value.errno)} instead of {names}"


@contextlib.contextmanager
def opened(path, flags, mode=0o666):
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def in_child(function):
    """Runs function in a forked child; what it raises fails the test here.  Nothing of the parent's is torn down twice."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        status = 1
        try:
            function()
            status = 0
        except BaseException:  # pylint: disable=broad-except
            os.write(write_end, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(status)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        message = pipe.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, message


def as_user(uid, function, gid=None, groups=()):
    def become_and_run():
        os.setgroups(list(groups))
        os.setgid(uid if gid is None else gid)
        os.setuid(uid)
        function()

    in_child(become_and_run)


def write_file(path, data, mode=0o644):
    with opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode) as fd:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]


def read_file(path):
    with open(path, "rb") as f:
        return f.read()


def pattern(length, seed=1):
    """Bytes that repeat nowhere near themselves, so that a block in the wrong place shows."""
    words = (length + 7) // 8
    out = b"".join(((i * 0x9E3779B97F4A7C15 + seed) & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little") for i in range(words))
    return out[:length]
