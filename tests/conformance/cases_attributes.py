"""chmod, chown and utimensat: who may, what becomes of set-id bits, and which times move."""
import mmap
import os
import stat
import time

from calls import AT_FDCWD, AT_SYMLINK_NOFOLLOW, FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, UTIME_NOW, UTIME_OMIT, call, times
from suite import (ALICE, BOB, FILE_CLOCK, NO_DIRS, NO_LINKS, TICK, TYPES, await_tick, case, make, opened, read,
                   write)

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


# Modes.


@case
def chmod_sets_every_bit_of_every_type(t):
    for kind in NO_LINKS:
        make(kind, kind)
        for mode in (0o111, 0o755, 0o000, 0o1644, 0o2755, 0o2644, 0o4711, 0o6555, 0o7777):
            t.expect(0, "chmod", kind, mode)
            t.mode(kind, mode)
            t.is_type(kind, kind)
        os.symlink(kind, "to-" + kind)
        t.moves({"to-" + kind: "-", kind: "c"}, 0, "chmod", "to-" + kind, 0o321)
        t.mode(kind, 0o321)


@case
def chmod_moves_the_status_change_time_alone(t):
    for kind in NO_LINKS:
        make(kind, kind)
        t.moves({kind: "c", ".": "-"}, 0, "chmod", kind, 0o711)
        t.moves({kind: "c"}, 0, "chmod", kind, 0o711)
        with t.user(ALICE):
            t.moves({kind: "-"}, "EPERM", "chmod", kind, 0o777)
        t.mode(kind, 0o711)
    make("regular", "fd")
    with opened("fd", os.O_RDONLY) as fd:
        t.moves({"fd": "c"}, 0, "fchmod", fd, 0o600)
        os.unlink("fd")
        t.expect(0, "fchmod", fd, 0o640)
        t.same("the mode of an unlinked file", stat.S_IMODE(os.fstat(fd).st_mode), 0o640)


@case
def chmod_is_for_the_owner(t):
    for kind in NO_LINKS:
        make(kind, kind)
        os.chown(kind, ALICE, ALICE)
        with t.user(ALICE):
            t.expect(0, "chmod", kind, 0o642)
            t.mode(kind, 0o642)
        with t.user(BOB):
            t.expect("EPERM", "chmod", kind, 0o777)
        with t.user(BOB, ALICE):
            t.expect("EPERM", "chmod", kind, 0o777)
        t.mode(kind, 0o642)
        os.symlink(kind, "l" + kind)
        os.lchown("l" + kind, BOB, BOB)
        with t.user(BOB):
            t.expect("EPERM", "chmod", "l" + kind, 0o777)
        with t.user(ALICE):
            t.expect(0, "chmod", "l" + kind, 0o700)


@case
def chmod_refuses_a_foreign_group_its_bit(t):
    for kind in NO_LINKS:
        make(kind, kind)
        os.chown(kind, ALICE, BOB)
        with t.user(ALICE, ALICE):
            t.expect(0, "chmod", kind, 0o2755)
            t.mode(kind, 0o755)
            t.expect(0, "chmod", kind, 0o2644)
            t.mode(kind, 0o644)
            t.expect(0, "chmod", kind, 0o4755)
            t.mode(kind, 0o4755)
        with t.user(ALICE, ALICE, [BOB]):
            t.expect(0, "chmod", kind, 0o2755)
            t.mode(kind, 0o2755)
        with t.user(ALICE, BOB):
            t.expect(0, "chmod", kind, 0o2710)
            t.mode(kind, 0o2710)


@case
def chmod_lets_anybody_set_the_sticky_bit(t):
    for kind in NO_LINKS:
        make(kind, kind)
        os.chown(kind, ALICE, ALICE)
        with t.user(ALICE):
            t.expect(0, "chmod", kind, 0o1644)
        t.mode(kind, 0o1644)


@case
def chmod_does_not_touch_symlinks(t):
    write("f")
    os.symlink("f", "l")
    t.expect("EOPNOTSUPP", "fchmodat", AT_FDCWD, "l", 0o600, AT_SYMLINK_NOFOLLOW)
    t.mode("f", 0o644)
    t.same("a symlink's mode", stat.S_IMODE(os.lstat("l").st_mode), 0o777)


@case
def the_mask_takes_bits_from_what_is_made(t):
    for mask in (0o000, 0o022, 0o077, 0o151, 0o345, 0o777):
        os.umask(mask)
        t.expect(0, "mkdir", "d", 0o777)
        t.expect(0, "open", "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        t.expect(0, "mkfifo", "p", 0o666)
        t.expect(0, "mknod", "n", stat.S_IFCHR | 0o666, 0x103)
        t.expect(0, "symlink", "x", "l")
        for name, mode in (("d", 0o777), ("f", 0o666), ("p", 0o666), ("n", 0o666)):
            t.mode(name, mode & ~mask)
        t.mode("l", 0o777)
        for name in "dfpnl":
            t.remove(name)
    os.umask(0o022)


@case
def making_passes_on_the_bits_that_may_be(t):
    os.umask(0)
    for asked in (0o755, 0o1755, 0o4755, 0o2755, 0o7777, 0o000):
        t.expect(0, "open", "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY, asked)
        t.mode("f", asked)
        t.expect(0, "mkdir", "d", asked)
        t.mode("d", asked & 0o1777)
        t.expect(0, "mkfifo", "p", asked)
        t.mode("p", asked)
        for name in "fdp":
            t.remove(name)
    os.umask(0o022)


@case
def writing_takes_set_id_bits(t):
    for who, changes in ((0, False), (ALICE, True)):
        for mode in (0o4777, 0o2777, 0o6777, 0o2767, 0o4666, 0o6775, 0o1777):
            kept = mode if not changes else mode & ~(0o4000 | (0o2000 if mode & 0o010 else 0))
            for how in ("write", "truncate", "ftruncate", "open", "append", "pwrite", "mmap", "fallocate", "punch", "empty"):
                t.remove("f")
                write("f", b"some bytes")
                os.chown("f", ALICE, ALICE)
                os.chmod("f", mode)
                with t.user(who, who):
                    change(how)
                left = mode if how in ("mmap", "empty") else kept
                t.same(f"mode {mode:o} after {how}", f"{stat.S_IMODE(os.stat('f').st_mode):o}", f"{left:o}")


def change(how):
    if how == "write":
        with opened("f", os.O_WRONLY) as fd:
            os.write(fd, b"x")
    elif how == "empty":
        with opened("f", os.O_WRONLY) as fd:
            os.write(fd, b"")
    elif how == "pwrite":
        with opened("f", os.O_WRONLY) as fd:
            os.pwrite(fd, b"x", 100)
    elif how == "append":
        with opened("f", os.O_WRONLY | os.O_APPEND) as fd:
            os.write(fd, b"x")
    elif how == "truncate":
        os.truncate("f", 3)
    elif how == "ftruncate":
        with opened("f", os.O_WRONLY) as fd:
            os.ftruncate(fd, 3)
    elif how == "open":
        os.close(os.open("f", os.O_WRONLY | os.O_TRUNC))
    elif how == "fallocate":
        with opened("f", os.O_WRONLY) as fd:
            os.posix_fallocate(fd, 0, 4096)
    elif how == "punch":
        with opened("f", os.O_WRONLY) as fd:
            call("fallocate", fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 0, 4)
    elif how == "mmap":
        with opened("f", os.O_RDWR) as fd, mmap.mmap(fd, 10) as m:
            m[0:1] = b"x"


@case
def a_set_group_id_bit_without_execution_is_kept_for_the_group_alone(t):
    for groups, kept in (((), False), ((9,), True)):
        for how in ("write", "truncate", "open", "append", "fallocate"):
            t.remove("f")
            write("f", b"some bytes")
            os.chown("f", ALICE, 9)
            os.chmod("f", 0o2666)
            with t.user(ALICE, ALICE, groups):
                change(how)
            t.same(f"mode 2666 after {how} with groups {groups}", f"{stat.S_IMODE(os.stat('f').st_mode):o}",
                   "2666" if kept else "666")
    for groups, kept in (((BOB,), False), ((BOB, 9), True)):
        t.remove("f")
        write("f")
        os.chown("f", ALICE, 9)
        os.chmod("f", 0o2664)
        with t.user(ALICE, ALICE, groups):
            t.expect(0, "chown", "f", -1, BOB)
        t.mode("f", 0o2664 if kept else 0o664)


@case
def a_stranger_who_may_write_takes_set_id_bits(t):
    for mode in (0o4777, 0o2777, 0o6777, 0o4666):
        t.remove("f")
        write("f", b"bytes")
        os.chmod("f", mode)
        with t.user(BOB):
            with opened("f", os.O_WRONLY) as fd:
                os.write(fd, b"x")
                t.same("the mode that the writer sees", f"{stat.S_IMODE(os.fstat(fd).st_mode):o}", f"{mode & 0o777:o}")
        t.mode("f", mode & 0o777)


@case
def writing_takes_file_capabilities(t):
    for how in ("write", "append", "truncate", "open", "chown", "fallocate"):
        for who in (0, ALICE):
            t.remove("f")
            write("f", b"bytes")
            os.chmod("f", 0o777)
            os.chown("f", ALICE, ALICE)
            os.setxattr("f", "security.capability", CAPABILITY)
            with t.user(who):
                if how == "chown":
                    os.chown("f", -1, who)
                else:
                    change(how)
            t.same(f"attributes after {how} by {who}", os.listxattr("f"), [])
    for how in ("read", "chmod", "link", "utime"):
        t.remove("f")
        write("f", b"bytes")
        os.setxattr("f", "security.capability", CAPABILITY)
        {"read": lambda: read("f"), "chmod": lambda: os.chmod("f", 0o700), "link": lambda: os.link("f", "g"),
         "utime": lambda: os.utime("f")}[how]()
        t.same(f"attributes after {how}", os.listxattr("f"), ["security.capability"])
        t.remove("g")


# Owners.


@case
def chown_by_root_sets_any_owner_of_every_type(t):
    for kind in TYPES:
        make(kind, kind)
        for uid, gid in ((123, 456), (0, 0), (ALICE, BOB), (2**31, 2**32 - 2)):
            t.expect(0, "lchown", kind, uid, gid)
            t.owner(kind, uid, gid)
        t.expect(0, "lchown", kind, 7, 8)
        t.expect(0, "lchown", kind, -1, 9)
        t.owner(kind, 7, 9)
        t.expect(0, "lchown", kind, 10, -1)
        t.owner(kind, 10, 9)
        t.expect(0, "lchown", kind, -1, -1)
        t.owner(kind, 10, 9)
        if kind != "symlink":
            os.symlink(kind, "to-" + kind)
            t.expect(0, "chown", "to-" + kind, 77, 78)
            t.owner(kind, 77, 78)
            t.owner("to-" + kind, 0, 0)
            t.expect(0, "lchown", "to-" + kind, 55, 56)
            t.owner(kind, 77, 78)
            t.owner("to-" + kind, 55, 56)


@case
def chown_moves_the_status_change_time(t):
    for kind in TYPES:
        make(kind, kind)
        t.moves({kind: "c", ".": "-"}, 0, "lchown", kind, 5, 6)
        t.moves({kind: "c"}, 0, "lchown", kind, 5, 6)
        t.moves({kind: "c"}, 0, "lchown", kind, -1, 7)
        t.moves({kind: "c"}, 0, "lchown", kind, -1, -1)
        with t.user(ALICE):
            t.moves({kind: "-"}, "EPERM", "lchown", kind, ALICE, ALICE)


@case
def chown_by_the_owner_gives_to_own_groups_alone(t):
    for kind in TYPES:
        make(kind, kind)
        os.lchown(kind, ALICE, ALICE)
        with t.user(ALICE, ALICE, [BOB]):
            t.expect(0, "lchown", kind, -1, BOB)
            t.owner(kind, ALICE, BOB)
            t.expect(0, "lchown", kind, ALICE, ALICE)
            t.owner(kind, ALICE, ALICE)
            t.expect(0, "lchown", kind, -1, -1)
            for uid, gid in ((BOB, -1), (BOB, BOB), (-1, 1000), (0, 0), (ALICE, 0), (BOB, ALICE)):
                t.moves({kind: "-"}, "EPERM", "lchown", kind, uid, gid)
            t.owner(kind, ALICE, ALICE)
        with t.user(BOB, ALICE, [BOB]):
            for uid, gid in ((BOB, -1), (-1, BOB), (BOB, BOB), (-1, ALICE)):
                t.expect("EPERM", "lchown", kind, uid, gid)
            t.owner(kind, ALICE, ALICE)


@case
def chown_takes_set_id_bits(t):
    for kind in NO_LINKS:
        for mode in (0o6555, 0o4711, 0o2755, 0o2744, 0o6644, 0o1755, 0o7777):
            for who, uid, gid in ((0, 5, 6), (0, -1, 6), (0, 5, -1), (0, 0, 0), (0, -1, -1), (ALICE, -1, BOB),
                                  (ALICE, ALICE, ALICE), (ALICE, -1, -1)):
                t.remove(kind)
                make(kind, kind)
                os.chown(kind, ALICE if who else 0, ALICE if who else 0)
                os.chmod(kind, mode)
                before = os.stat(kind)
                time.sleep(0.001)
                with t.user(who, who, [BOB]):
                    t.expect(0, "chown", kind, uid, gid)
                left = mode
                if kind != "dir":
                    left = mode & ~0o4000
                    if mode & 0o010:
                        left &= ~0o2000
                t.same(f"the mode of a {kind} of {mode:o} after chown {uid}:{gid} by {who}",
                       f"{stat.S_IMODE(os.stat(kind).st_mode):o}", f"{left:o}")
                t.true("no time went back", os.stat(kind).st_ctime_ns >= before.st_ctime_ns)


@case
def chown_by_a_stranger_takes_no_set_id_bits(t):
    for kind in NO_LINKS:
        for mode in (0o6555, 0o4711, 0o2755, 0o2744, 0o2666, 0o1755, 0o644):
            t.remove(kind)
            make(kind, kind)
            os.chmod(kind, mode)
            allowed = kind == "dir" or not mode & 0o6000
            with t.user(ALICE, ALICE, [BOB]):
                t.expect(0 if allowed else "EPERM", "chown", kind, -1, -1)
            t.mode(kind, mode)


@case
def fchown_and_its_kin(t):
    write("f")
    os.symlink("f", "l")
    with opened("f", os.O_RDONLY) as fd:
        t.expect(0, "fchown", fd, 11, 12)
        t.owner("f", 11, 12)
        os.unlink("f")
        t.expect(0, "fchown", fd, 13, 14)
        t.same("the owner of an unlinked file", os.fstat(fd).st_uid, 13)
    write("f")
    t.expect(0, "fchownat", AT_FDCWD, "l", 21, 22, 0)
    t.owner("f", 21, 22)
    t.expect(0, "fchownat", AT_FDCWD, "l", 23, 24, AT_SYMLINK_NOFOLLOW)
    t.owner("l", 23, 24)
    t.owner("f", 21, 22)
    t.expect("EBADF", "fchown", 9999, 1, 1)
    t.expect("EBADF", "fchmod", 9999, 0o600)


# Times.

NOW = (0, UTIME_NOW)
OMIT = (0, UTIME_OMIT)


@case
def utimensat_sets_times_of_every_type_to_the_nanosecond(t):
    for kind in TYPES:
        make(kind, kind)
        for atime, mtime in (((1960000000, 1), (1960000000, 999999999)), ((1, 2), (3, 4)), ((0, 0), (0, 0)),
                             ((2**31, 5), (2**31 + 1, 6)), ((2**32, 7), (2**33, 8)), ((-1, 9), (-2**31 + 1, 10))):
            t.expect(0, "utimensat", AT_FDCWD, kind, times(atime, mtime), AT_SYMLINK_NOFOLLOW)
            st = os.lstat(kind)
            t.same(f"times of a {kind}", (st.st_atime_ns, st.st_mtime_ns),
                   (atime[0] * 10**9 + atime[1], mtime[0] * 10**9 + mtime[1]))


@case
def utimensat_moves_the_status_change_time(t):
    for kind in TYPES:
        make(kind, kind)
        t.moves({kind: "cm", ".": "-"}, 0, "utimensat", AT_FDCWD, kind, None, AT_SYMLINK_NOFOLLOW)
        t.moves({kind: "cm"}, 0, "utimensat", AT_FDCWD, kind, times(NOW, NOW), AT_SYMLINK_NOFOLLOW)
        t.moves({kind: "c"}, 0, "utimensat", AT_FDCWD, kind, times((5, 5), OMIT), AT_SYMLINK_NOFOLLOW)
        t.moves({kind: "c"}, 0, "utimensat", AT_FDCWD, kind, times(NOW, OMIT), AT_SYMLINK_NOFOLLOW)
        t.moves({kind: "cm"}, 0, "utimensat", AT_FDCWD, kind, times(OMIT, (2**32, 0)), AT_SYMLINK_NOFOLLOW)
        t.moves({kind: "-"}, 0, "utimensat", AT_FDCWD, kind, times(OMIT, OMIT), AT_SYMLINK_NOFOLLOW)
        with t.user(ALICE):
            t.moves({kind: "-"}, "EPERM", "utimensat", AT_FDCWD, kind, times((1, 1), (1, 1)), AT_SYMLINK_NOFOLLOW)


@case
def utimensat_now_and_omit(t):
    for kind in TYPES:
        make(kind, kind)
        t.expect(0, "utimensat", AT_FDCWD, kind, times((100, 5), (200, 6)), AT_SYMLINK_NOFOLLOW)
        t.expect(0, "utimensat", AT_FDCWD, kind, times(OMIT, OMIT), AT_SYMLINK_NOFOLLOW)
        st = os.lstat(kind)
        t.same("omitted times", (st.st_atime_ns, st.st_mtime_ns), (100 * 10**9 + 5, 200 * 10**9 + 6))
        t.expect(0, "utimensat", AT_FDCWD, kind, times((300, 7), OMIT), AT_SYMLINK_NOFOLLOW)
        st = os.lstat(kind)
        t.same("only atime", (st.st_atime_ns, st.st_mtime_ns), (300 * 10**9 + 7, 200 * 10**9 + 6))
        t.expect(0, "utimensat", AT_FDCWD, kind, times(OMIT, (400, 8)), AT_SYMLINK_NOFOLLOW)
        st = os.lstat(kind)
        t.same("only mtime", (st.st_atime_ns, st.st_mtime_ns), (300 * 10**9 + 7, 400 * 10**9 + 8))
        early = time.time_ns() - 10**9
        t.expect(0, "utimensat", AT_FDCWD, kind, times(NOW, OMIT), AT_SYMLINK_NOFOLLOW)
        st = os.lstat(kind)
        t.true("atime is now", early <= st.st_atime_ns <= time.time_ns() and st.st_mtime_ns == 400 * 10**9 + 8)
        t.expect(0, "utimensat", AT_FDCWD, kind, times((1, 0), NOW), AT_SYMLINK_NOFOLLOW)
        st = os.lstat(kind)
        t.true("mtime is now", early <= st.st_mtime_ns <= time.time_ns() and st.st_atime_ns == 10**9)


@case
def utimensat_permissions(t):
    for kind in NO_LINKS:
        make(kind, kind)
        os.chown(kind, ALICE, ALICE)
        for mode, writer in ((0o666, True), (0o644, False), (0o600, False), (0o622, True)):
            os.chmod(kind, mode)
            with t.user(ALICE):
                for pair in (None, times(NOW, NOW), times((1, 1), (2, 2)), times(NOW, OMIT), times(OMIT, NOW), times(OMIT, OMIT)):
                    t.expect(0, "utimensat", AT_FDCWD, kind, pair, 0)
            with t.user(BOB):
                t.expect(0 if writer else "EACCES", "utimensat", AT_FDCWD, kind, None, 0)
                t.expect(0 if writer else "EACCES", "utimensat", AT_FDCWD, kind, times(NOW, NOW), 0)
                t.expect("EPERM", "utimensat", AT_FDCWD, kind, times((1, 1), (2, 2)), 0)
                t.expect("EPERM", "utimensat", AT_FDCWD, kind, times(NOW, OMIT), 0)
                t.expect("EPERM", "utimensat", AT_FDCWD, kind, times(OMIT, NOW), 0)
                t.expect(0, "utimensat", AT_FDCWD, kind, times(OMIT, OMIT), 0)
            t.expect(0, "utimensat", AT_FDCWD, kind, times((1, 1), (2, 2)), 0)
    for bad in (10**9, -1, 2**62):
        t.expect("EINVAL", "utimensat", AT_FDCWD, "regular", times((1, bad), (1, 1)), 0)
        t.expect("EINVAL", "utimensat", AT_FDCWD, "regular", times((1, 1), (1, bad)), 0)


@case
def utimensat_follows_symlinks_or_does_not(t):
    for kind in NO_LINKS:
        make(kind, kind)
        os.symlink(kind, "l" + kind)
        t.moves({"l" + kind: "-", kind: "cm"}, 0, "utimensat", AT_FDCWD, "l" + kind, times((1, 1), (2**32, 2)), 0)
        t.moves({"l" + kind: "cm", kind: "-"}, 0, "utimensat", AT_FDCWD, "l" + kind, times((3, 3), (2**33, 4)),
                AT_SYMLINK_NOFOLLOW)
    t.expect("EINVAL", "utimensat", AT_FDCWD, "regular", None, 0x4000)


@case
def times_of_an_open_and_unlinked_file(t):
    write("f")
    with opened("f", os.O_RDWR) as fd:
        t.expect(0, "futimens", fd, times((11, 12), (13, 14)))
        t.same("its mtime", os.stat("f").st_mtime_ns, 13 * 10**9 + 14)
        os.unlink("f")
        t.expect(0, "futimens", fd, times((21, 22), (23, 24)))
        t.same("times without a name", (os.fstat(fd).st_atime_ns, os.fstat(fd).st_mtime_ns), (21 * 10**9 + 22, 23 * 10**9 + 24))
        os.write(fd, b"x" * 5000)
        t.expect(0, "futimens", fd, times((31, 32), (33, 34)))
        t.expect(0, "fsync", fd)
        t.same("mtime set after a write stays", os.fstat(fd).st_mtime_ns, 33 * 10**9 + 34)


@case
def a_new_file_has_the_time_of_its_making(t):
    for kind in TYPES:
        await_tick()
        early = time.clock_gettime_ns(FILE_CLOCK)
        before = os.stat(".")
        make(kind, kind)
        late = time.time_ns()
        st = os.lstat(kind)
        for which in ("atime", "mtime", "ctime"):
            t.true(f"the {which} of a new {kind}", early <= getattr(st, f"st_{which}_ns") <= late)
        now = os.stat(".")
        t.true(f"a new {kind} moves mtime of its folder", now.st_mtime_ns > before.st_mtime_ns)
        t.true(f"a new {kind} moves ctime of its folder", now.st_ctime_ns > before.st_ctime_ns)


@case
def status_change_times_never_go_back(t):
    wrong = []
    for _ in range(40):
        steps = []
        with opened("f", os.O_CREAT | os.O_RDWR) as fd:
            for step in (lambda: None, lambda: os.write(fd, b"x"), lambda: os.chmod("f", 0o600), lambda: os.write(fd, b"y"),
                         lambda: os.link("f", "g"), lambda: os.ftruncate(fd, 1), lambda: os.unlink("g"),
                         lambda: os.write(fd, b"z"),
                         lambda: os.rename("f", "h"), lambda: os.utime(fd), lambda: os.setxattr(fd, "user.a", b"1"),
                         lambda: os.write(fd, b"z"), lambda: os.unlink("h")):
                step()
                steps.append(os.fstat(fd).st_ctime_ns)
        wrong += [steps] if steps != sorted(steps) else []
    t.same("steps that went back", wrong, [])


@case
def what_was_made_or_written_later_is_not_older(t):
    wrong = []
    for _ in range(40):
        order = []
        for kind in ("regular", "dir", "regular", "symlink", "regular", "fifo", "regular"):
            name = f"n{len(order)}"
            make(kind, name)
            if kind == "regular":
                write(name, b"written")
            order.append(os.lstat(name).st_mtime_ns)
            t.remove(name)
        # By less than a tick they may be: Linux hands out finer times only to some file systems.
        wrong += [order] if any(b < a - TICK * 10**9 for a, b in zip(order, order[1:])) else []
    t.same("makings out of order", wrong, [])
