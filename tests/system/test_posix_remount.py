"""What must be the same after the vault was unmounted and mounted again."""
import contextlib
import ctypes
import errno
import os
import signal
import stat
import struct

import pytest

from conftest import wait_until
from posixlib import ALICE, AT_FDCWD, libc, needs_root, opened, pattern, read_file, write_file

FIELDS = ("st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_rdev", "st_size", "st_blocks", "st_atime_ns", "st_mtime_ns",
          "st_ctime_ns")


def snapshot(root):
    """Everything that can be seen of a tree."""
    seen = {}
    for folder, folders, files in os.walk(root):
        for name in [".", *folders, *files]:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            content = None
            if stat.S_ISREG(st.st_mode):
                content = read_file(path)
            elif stat.S_ISLNK(st.st_mode):
                content = os.readlink(path)
            attributes = {} if stat.S_ISLNK(st.st_mode) else {n: os.getxattr(path, n) for n in os.listxattr(path)}
            seen[os.path.relpath(path, root)] = ([getattr(st, f) for f in FIELDS], content, attributes)
    return seen


def make_tree(root):
    os.makedirs(root / "a" / "b" / "empty")
    for length in (0, 1, 100, 4096, 70000, 1048576, 3000001):
        write_file(root / "a" / f"file-{length}", pattern(length, seed=length))
    for i in range(300):
        write_file(root / "a" / "b" / f"small-{i}", b"%d" % i * 50)
    os.link(root / "a" / "file-100", root / "linked")
    os.symlink("a/file-1", root / "symlink")
    os.symlink("t" * 4000, root / "long-symlink")
    os.mkfifo(root / "fifo", 0o600)
    write_file(root / ("é" * 127), b"long name")
    with opened(root / "sparse", os.O_CREAT | os.O_WRONLY) as fd:
        os.pwrite(fd, b"far", 50 << 20)
    os.setxattr(root / "linked", "user.note", b"kept")
    os.utime(root / "a" / "file-1", ns=(1, 1234567890123456789))
    os.chmod(root / "a" / "file-1", 0o4511)
    os.rename(root / "a" / "file-0", root / "moved")
    os.unlink(root / "a" / "b" / "small-7")


def close_orphan(fd):
    """Of a file system that has gone: closing works, but says so."""
    with contextlib.suppress(OSError):
        os.close(fd)


def test_a_remount_changes_nothing(mounted):
    make_tree(mounted.mountpoint)
    before = snapshot(mounted.mountpoint)
    mounted.unmount()
    assert os.listdir(mounted.mountpoint) == []
    mounted.mount()
    assert snapshot(mounted.mountpoint) == before
    mounted.unmount()
    mounted.mount()
    assert snapshot(mounted.mountpoint) == before


@needs_root
def test_owners_and_devices_survive_a_remount(mounted):
    root = mounted.mountpoint
    write_file(root / "f", b"")
    os.chown(root / "f", ALICE, ALICE)
    os.mknod(root / "device", stat.S_IFBLK | 0o660, os.makedev(259, 70000))
    os.chmod(root, 0o1777)
    before = snapshot(root)
    mounted.unmount()
    mounted.mount()
    assert snapshot(root) == before


def test_inode_numbers_are_never_used_again(mounted):
    root = mounted.mountpoint
    write_file(root / "first", b"")
    number = os.stat(root / "first").st_ino
    os.unlink(root / "first")
    mounted.unmount()
    mounted.mount()
    write_file(root / "second", b"")
    assert os.stat(root / "second").st_ino > number


def handle_of(path):
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136)
    assert libc.name_to_handle_at(AT_FDCWD, os.fsencode(path), handle, ctypes.byref(ctypes.c_int()), 0) == 0
    return handle


@needs_root
def test_a_file_handle_finds_its_file_again_after_a_remount(mounted):
    """As NFS keeps them over a restart of its server."""
    root = mounted.mountpoint
    os.makedirs(root / "d" / "e")
    write_file(root / "d" / "e" / "f", b"data")
    write_file(root / "gone", b"")
    handles = {name: handle_of(root / name) for name in ("d/e/f", "d/e", "gone")}
    os.unlink(root / "gone")
    mounted.unmount()
    mounted.mount()
    with opened(root, os.O_RDONLY) as here:
        fd = libc.open_by_handle_at(here, handles["d/e/f"], os.O_RDONLY)
        assert os.read(fd, 100) == b"data"
        os.close(fd)
        fd = libc.open_by_handle_at(here, handles["d/e"], os.O_RDONLY)
        assert os.listdir(fd) == ["f"]
        assert os.readlink(f"/proc/self/fd/{fd}") == str(root / "d" / "e")
        os.close(fd)
        assert libc.open_by_handle_at(here, handles["gone"], os.O_RDONLY) == -1
        assert ctypes.get_errno() == errno.ESTALE


def test_what_was_fsynced_survives_the_death_of_the_daemon(mounted):
    root = mounted.mountpoint
    with opened(root / "f", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, pattern(200000))
        os.fsync(fd)
    number, mtime = os.stat(root / "f").st_ino, os.stat(root / "f").st_mtime_ns
    mounted.kill()
    mounted.mount()
    assert read_file(root / "f") == pattern(200000)
    assert (os.stat(root / "f").st_ino, os.stat(root / "f").st_mtime_ns) == (number, mtime)


def test_an_unlinked_open_file_leaves_nothing_after_the_death_of_the_daemon(mounted):
    root = mounted.mountpoint
    fd = os.open(root / "f", os.O_CREAT | os.O_RDWR)
    try:
        os.write(fd, pattern(100000))
        os.unlink(root / "f")
        os.fsync(fd)
        mounted.kill()
    finally:
        close_orphan(fd)
    mounted.mount()
    assert os.listdir(root) == []


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_ends_the_mount_and_loses_nothing(mounted, number):
    root = mounted.mountpoint
    write_file(root / "f", pattern(3000000))
    before = os.stat(root / "f")
    mounted.signal(getattr(signal, number))
    wait_until(lambda: not mounted.daemons(), "the daemon's end")
    assert not mounted.is_mounted()
    mounted.mount()
    assert read_file(root / "f") == pattern(3000000)
    assert os.stat(root / "f").st_mtime_ns == before.st_mtime_ns


def test_a_signal_saves_what_an_open_file_has_written(mounted):
    root = mounted.mountpoint
    fd = os.open(root / "f", os.O_CREAT | os.O_RDWR)
    try:
        os.write(fd, pattern(500000))
        mounted.signal(signal.SIGTERM)
        wait_until(lambda: not mounted.daemons(), "the daemon's end")
    finally:
        close_orphan(fd)
    assert not mounted.is_mounted()
    mounted.mount()
    assert read_file(root / "f") == pattern(500000)
