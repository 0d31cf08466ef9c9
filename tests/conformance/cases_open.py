"""open: flags, permissions, and what opening does to what is there."""
import errno
import os
import shutil
import signal
import stat
import subprocess
import time

from calls import AT_FDCWD, call, libc
from suite import ALICE, BOB, NO_DIRS, case, make, opened, read, write


@case
def open_creates_with_the_mode_asked_for(t):
    for mode in (0o755, 0o151, 0o000, 0o400, 0o4711):
        t.expect(0, "open", "n", os.O_CREAT | os.O_WRONLY, mode)
        t.mode("n", mode & ~0o022)
        t.expect(0, "open", "n", os.O_CREAT | os.O_WRONLY, 0o777)
        t.mode("n", mode & ~0o022)
        os.unlink("n")


@case
def open_of_what_is_there_moves_no_time(t):
    write("f", b"data")
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_CREAT | os.O_RDWR, os.O_APPEND | os.O_WRONLY):
        t.moves({"f": "-", ".": "-"}, 0, "open", "f", flags, 0o644)
    t.moves({"f": "-", ".": "-"}, "EEXIST", "open", "f", os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_WRONLY, 0o644)
    t.size("f", 4)
    t.moves({"f": "cm", ".": "-"}, 0, "open", "f", os.O_TRUNC | os.O_WRONLY, 0)
    t.size("f", 0)
    t.moves({"f": "cm", ".": "-"}, 0, "open", "f", os.O_TRUNC | os.O_RDWR, 0)
    write("f", b"data")
    t.moves({"f": "cm", ".": "-"}, 0, "open", "f", os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    t.mode("f", 0o644)
    write("f", b"data")
    t.moves({"f": "cm"}, 0, "open", "f", os.O_TRUNC | os.O_RDONLY, 0)
    t.size("f", 0)


@case
def open_permissions_of_each_class(t):
    for mode in range(0o10):
        for who, gid, shift in ((ALICE, BOB, 6), (BOB, 9, 3), (BOB, BOB, 0)):
            for others in (0, 7):
                t.remove("f")
                write("f", b"data")
                os.chown("f", ALICE, 9)
                bits = mode << shift | sum(others << s for s in (0, 3, 6) if s != shift)
                os.chmod("f", bits)
                with t.user(who, gid):
                    t.expect(0 if mode & 4 else "EACCES", "open", "f", os.O_RDONLY, 0)
                    t.expect(0 if mode & 2 else "EACCES", "open", "f", os.O_WRONLY, 0)
                    t.expect(0 if mode & 6 == 6 else "EACCES", "open", "f", os.O_RDWR, 0)
                    t.moves({"f": "cm" if mode & 2 else "-"}, 0 if mode & 2 else "EACCES", "open", "f",
                            os.O_WRONLY | os.O_TRUNC, 0)
                    t.expect(0 if mode & 6 == 6 else "EACCES", "open", "f", os.O_RDONLY | os.O_TRUNC, 0)
                    t.expect(0 if mode & 4 else "EACCES", "open", "f", os.O_CREAT | os.O_RDONLY, 0o777)
                    t.expect(0 if mode & 2 else "EACCES", "truncate", "f", 1)
                    t.expect(0 if mode & 1 else "EACCES", "faccessat", AT_FDCWD, "f", os.X_OK, 0x200)
                    t.expect(0 if mode & 4 else "EACCES", "faccessat", AT_FDCWD, "f", os.R_OK, 0x200)
                    t.expect(0 if mode & 2 else "EACCES", "faccessat", AT_FDCWD, "f", os.W_OK, 0x200)
    for mode in (0o000, 0o444, 0o100):
        os.chmod("f", mode)
        t.expect(0, "open", "f", os.O_RDWR, 0)
        t.expect(0 if mode & 0o111 else "EACCES", "faccessat", AT_FDCWD, "f", os.X_OK, 0x200)


@case
def a_group_that_one_is_also_in_counts(t):
    write("f", b"data")
    os.chown("f", 0, 77)
    os.chmod("f", 0o060)
    with t.user(ALICE, ALICE, [5, 77, 99]):
        t.expect(0, "open", "f", os.O_RDWR, 0)
    with t.user(ALICE, ALICE, [5, 99]):
        t.expect("EACCES", "open", "f", os.O_RDONLY, 0)
    with t.user(ALICE, 77):
        t.expect(0, "open", "f", os.O_RDWR, 0)


@case
def open_of_folders(t):
    os.mkdir("d")
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_WRONLY | os.O_TRUNC, os.O_CREAT | os.O_RDONLY,
                  os.O_CREAT | os.O_WRONLY):
        t.moves({"d": "-"}, "EISDIR", "open", "d", flags, 0o644)
    t.expect("EEXIST", "open", "d", os.O_CREAT | os.O_EXCL | os.O_RDONLY, 0o644)
    t.expect(0, "open", "d", os.O_RDONLY, 0)
    t.expect(0, "open", "d", os.O_RDONLY | os.O_DIRECTORY, 0)
    t.expect("EISDIR", "open", "d", os.O_RDWR | os.O_DIRECTORY, 0)
    t.expect("EINVAL", "open", "new", os.O_CREAT | os.O_DIRECTORY | os.O_RDONLY, 0o755)
    t.expect("EISDIR", "truncate", "d", 0)
    with opened("d", os.O_RDONLY) as fd:
        t.same("reading it", call("pread", fd, b"buffer", 4, 0), -errno.EISDIR)
        t.expect("EINVAL", "ftruncate", fd, 0)


@case
def open_does_not_follow_when_told(t):
    write("f")
    os.symlink("f", "l")
    os.symlink("nothing", "dangling")
    os.mkdir("d")
    os.symlink("d", "ld")
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_CREAT | os.O_WRONLY):
        t.expect("ELOOP", "open", "l", flags | os.O_NOFOLLOW, 0o644)
        t.expect("ELOOP", "open", "dangling", flags | os.O_NOFOLLOW, 0o644)
    t.expect("ENOTDIR", "open", "ld", os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY, 0)
    t.expect(0, "open", "l", os.O_PATH | os.O_NOFOLLOW, 0)
    t.expect("EEXIST", "open", "l", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    t.expect("EEXIST", "open", "dangling", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    t.absent("nothing")
    t.expect(0, "open", "dangling", os.O_CREAT | os.O_WRONLY, 0o600)
    t.mode("nothing", 0o600)


@case
def open_of_fifos(t):
    os.mkfifo("p")
    t.expect("ENXIO", "open", "p", os.O_WRONLY | os.O_NONBLOCK, 0)
    with opened("p", os.O_RDONLY | os.O_NONBLOCK):
        t.expect(0, "open", "p", os.O_WRONLY | os.O_NONBLOCK, 0)
    t.expect("ENXIO", "open", "p", os.O_WRONLY | os.O_NONBLOCK, 0)
    with opened("p", os.O_RDWR) as fd:
        os.write(fd, b"through")
        t.same("what comes out", os.read(fd, 100), b"through")
        t.expect("ESPIPE", "lseek", fd, 0, 0)
        t.expect("EINVAL", "ftruncate", fd, 0)
        t.expect("ESPIPE", "posix_fallocate", fd, 0, 1)
        t.expect("EINVAL", "fsync", fd)
    t.expect("EINVAL", "truncate", "p", 0)
    t.moves({"p": "-"}, 0, "open", "p", os.O_RDWR | os.O_TRUNC, 0)


@case
def truncating_what_has_no_contents(t):
    for kind in NO_DIRS:
        if kind in ("regular", "symlink"):
            continue
        make(kind, kind)
        t.moves({kind: "-"}, "EINVAL", "truncate", kind, 0)


@case
def programs_that_run_are_not_written(t):
    shutil.copy(shutil.which("sleep"), "program")
    os.chmod("program", 0o755)
    child = subprocess.Popen([os.path.abspath("program"), "60"])
    try:
        time.sleep(0.05)
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
            t.moves({"program": "-"}, "ETXTBSY", "open", "program", flags, 0)
        t.expect("ETXTBSY", "truncate", "program", 10)
        t.expect(0, "open", "program", os.O_RDONLY, 0)
        t.expect(0, "chmod", "program", 0o700)
        t.expect(0, "rename", "program", "renamed")
        t.expect(0, "unlink", "renamed")
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    shutil.copy(shutil.which("sleep"), "program")
    os.chmod("program", 0o755)
    with opened("program", os.O_WRONLY):
        t.same("running what is open for writing", _spawn_error("program"), errno.ETXTBSY)
    t.same("running it afterwards", _spawn_error("program"), 0)
    os.chmod("program", 0o644)
    t.same("running without permission", _spawn_error("program"), errno.EACCES)
    write("script", b"#!./program\n")
    write("text", b"no program\n")
    os.chmod("text", 0o755)
    t.same("running text", _spawn_error("text"), errno.ENOEXEC)


def _spawn_error(name):
    try:
        subprocess.run([os.path.abspath(name), "0"], check=False)
    except OSError as e:
        return e.errno
    return 0


@case
def path_descriptors(t):
    write("f", b"data")
    with opened("f", os.O_PATH) as fd:
        t.expect("EBADF", "fchmod", fd, 0o600)
        t.expect("EBADF", "ftruncate", fd, 0)
        t.expect("EBADF", "fsync", fd)
        t.same("fstat", os.fstat(fd).st_size, 4)
        t.same("through /proc", read(f"/proc/self/fd/{fd}"), b"data")


@case
def appending_ignores_the_offset(t):
    write("f", b"12345")
    with opened("f", os.O_WRONLY | os.O_APPEND) as a, opened("f", os.O_WRONLY | os.O_APPEND) as b:
        os.write(a, b"a")
        os.write(b, b"b")
        os.lseek(a, 0, 0)
        os.write(a, b"c")
        os.pwrite(b, b"d", 0)  # Linux appends here, too
        t.same("the offset", os.lseek(a, 0, 1), 8)
    t.same("all of it", read("f"), b"12345abcd")


@case
def descriptors_opened_one_way_do_not_work_the_other(t):
    write("f", b"data")
    with opened("f", os.O_RDONLY) as fd:
        t.expect("EBADF", "write", fd, b"x", 1)
        t.expect("EINVAL", "ftruncate", fd, 0)
        t.expect("EBADF", "posix_fallocate", fd, 0, 10)
        t.expect(0, "fsync", fd)
        t.expect(0, "fdatasync", fd)
    with opened("f", os.O_WRONLY) as fd:
        t.same("reading", call("pread", fd, b"x", 1, 0), -errno.EBADF)
        os.chmod("f", 0)
        t.expect(0, "ftruncate", fd, 0)
        t.expect(1, "write", fd, b"x", 1)


@case
def a_read_only_mount(t):
    """In a mount namespace of its own, which ends with the child."""
    os.mkdir("m")
    write("m/f", b"data")
    os.mkdir("m/d")
    os.symlink("f", "m/l")
    os.mkfifo("m/p")
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        results = []
        t.results = results
        try:
            _read_only(t)
        except Exception as e:  # pylint: disable=broad-except
            results.append((t.name, "runs to its end", False, str(e)))
        with os.fdopen(write_end, "w") as pipe:
            pipe.write(repr(results))
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        t.results += eval(pipe.read(), {})  # pylint: disable=eval-used
    os.waitpid(pid, 0)


def _read_only(t):
    ms_rdonly, ms_bind, ms_remount, ms_rec, ms_private, clone_newns = 1, 4096, 32, 16384, 1 << 18, 0x20000
    if libc.unshare(clone_newns) != 0 or call("mount", "none", "/", "", ms_rec | ms_private, None) != 0 or \
       call("mount", "m", "m", "", ms_bind, None) != 0 or \
       call("mount", "m", "m", "", ms_bind | ms_remount | ms_rdonly, None) != 0:
        raise OSError("no read-only mount could be made")
    for arguments in (("chmod", "m/f", 0o600), ("chown", "m/f", 1, 1), ("lchown", "m/l", 1, 1), ("mkdir", "m/n", 0o755),
                      ("mkfifo", "m/n", 0o644), ("mknod", "m/n", stat.S_IFREG | 0o644, 0), ("symlink", "f", "m/n"),
                      ("link", "m/f", "m/n"), ("rename", "m/f", "m/n"), ("unlink", "m/f"), ("rmdir", "m/d"),
                      ("truncate", "m/f", 0), ("open", "m/f", os.O_WRONLY, 0), ("open", "m/f", os.O_RDWR, 0),
                      ("open", "m/n", os.O_CREAT | os.O_RDONLY, 0o644), ("open", "m/f", os.O_RDONLY | os.O_TRUNC, 0),
                      ("utimensat", AT_FDCWD, "m/f", None, 0),
                      ("setxattr", "m/f", "user.a", b"1", 1, 0), ("removexattr", "m/f", "user.a")):
        t.expect("EROFS", *arguments)
    t.expect("EBUSY", "rmdir", "m")
    t.expect("EBUSY", "rename", "m", "other")
    t.expect("EXDEV", "link", "m/f", "outside")
    t.expect("EXDEV", "rename", "m/f", "outside")
    t.expect(0, "open", "m/f", os.O_RDONLY, 0)
    t.expect(0, "open", "m/p", os.O_RDWR, 0)
    t.same("contents", read("m/f"), b"data")
