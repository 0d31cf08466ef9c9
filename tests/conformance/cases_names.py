"""link, unlink, mkdir, rmdir, rename, symlink, mkfifo, mknod: what becomes of names, links, times and of who may."""
import errno
import itertools
import os
import socket
import stat

from calls import (AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, O_TMPFILE, RENAME_EXCHANGE, RENAME_NOREPLACE,
                   RENAME_WHITEOUT, call)
from suite import ALICE, BOB, NO_DIRS, TYPES, case, make, opened, read, write

CREATE = {
    "regular": ("open", "n", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o755),
    "dir": ("mkdir", "n", 0o755),
    "fifo": ("mkfifo", "n", 0o755),
    "symlink": ("symlink", "test", "n"),
    "mknod regular": ("mknod", "n", stat.S_IFREG | 0o755, 0),
    "mknod no type": ("mknod", "n", 0o755, 0),
    "mknod fifo": ("mknod", "n", stat.S_IFIFO | 0o755, 0),
    "mknod socket": ("mknod", "n", stat.S_IFSOCK | 0o755, 0),
}
DEVICES = {
    "char": ("mknod", "n", stat.S_IFCHR | 0o755, os.makedev(300, 70000)),
    "block": ("mknod", "n", stat.S_IFBLK | 0o755, os.makedev(4095, 1048575)),
}


def inside(arguments, path):
    return [path if a == "n" else a for a in arguments]


# Making.


@case
def making_moves_the_times_of_the_folder(t):
    for what, arguments in {**CREATE, **DEVICES}.items():
        os.mkdir("d")
        t.moves({"d": "cm", ".": "-"}, 0, *inside(arguments, "d/n"))
        t.links("d", 3 if what == "dir" else 2)
        t.links("d/n", 2 if what == "dir" else 1)
        if what != "regular":
            t.moves({"d": "-", "d/n": "-"}, "EEXIST", *inside(arguments, "d/n"))
        t.remove("d")


@case
def makers_own_what_they_make(t):
    for uid, gid, groups in ((0, 0, ()), (ALICE, ALICE, ()), (ALICE, BOB, ()), (BOB, BOB, (ALICE,)), (1234, 5678, ())):
        for dir_mode, dir_gid in ((0o777, 9), (0o2777, 9), (0o2777, ALICE), (0o3777, BOB)):
            for what, arguments in CREATE.items():
                os.mkdir("d")
                os.chown("d", 8, dir_gid)
                os.chmod("d", dir_mode)
                with t.user(uid, gid, groups):
                    t.expect(0, *inside(arguments, "d/n"))
                t.owner("d/n", uid, dir_gid if dir_mode & 0o2000 else gid)
                t.same(f"a new {what} in a folder of {dir_mode:o} has the set-group-id bit",
                       bool(os.lstat("d/n").st_mode & stat.S_ISGID), what == "dir" and bool(dir_mode & 0o2000))
                t.remove("d")


@case
def a_set_group_id_bit_needs_the_group(t):
    os.umask(0)
    for groups, kept in (((), False), ((9,), True)):
        os.mkdir("d")
        os.chown("d", 8, 9)
        os.chmod("d", 0o2777)
        for name, arguments in (("f", ("open", "n", os.O_CREAT | os.O_WRONLY, 0o2775)), ("p", ("mkfifo", "n", 0o2775)),
                                ("m", ("mknod", "n", stat.S_IFREG | 0o2775, 0)),
                                ("q", ("open", "n", os.O_CREAT | os.O_WRONLY, 0o2764))):
            with t.user(ALICE, ALICE, groups):
                t.expect(0, *inside(arguments, "d/" + name))
            wanted = arguments[-2 if arguments[0] == "mknod" else -1] & 0o7777
            st = os.stat("d/" + name)
            t.same(f"{name}: mode and group with groups {groups}", (f"{stat.S_IMODE(st.st_mode):o}", st.st_gid),
                   (f"{wanted if kept or not wanted & 0o010 else wanted & ~0o2000:o}", 9))
        t.remove("d")
    os.umask(0o022)


@case
def devices_keep_their_numbers_and_need_root(t):
    for kind, bits in (("char", stat.S_IFCHR), ("block", stat.S_IFBLK)):
        for major, minor in ((0, 0), (1, 3), (255, 255), (300, 70000), (4095, 1048575)):
            t.expect(0, "mknod", "n", bits | 0o644, os.makedev(major, minor))
            st = os.lstat("n")
            t.same(f"{kind} {major}:{minor}", (stat.S_IFMT(st.st_mode), os.major(st.st_rdev), os.minor(st.st_rdev)),
                   (bits, major, minor))
            os.unlink("n")
        os.chmod(".", 0o777)
        with t.user(ALICE):
            t.expect("EPERM", "mknod", "n", bits | 0o644, os.makedev(1, 3))
        t.absent("n")
    t.expect("EPERM", "mknod", "n", stat.S_IFDIR | 0o755, 0)
    t.expect("EINVAL", "mknod", "n", stat.S_IFLNK | 0o755, 0)
    t.expect("EINVAL", "mknod", "n", 0o030644, 0)


@case
def nothing_is_made_in_a_removed_folder(t):
    for what, arguments in {**CREATE, **DEVICES}.items():
        os.mkdir("d")
        home = os.open(".", os.O_RDONLY)
        os.chdir("d")
        os.rmdir("../d")
        t.expect("ENOENT", *arguments)
        t.same("its list", os.listdir("."), [])
        t.same("its links", os.stat(".").st_nlink, 0)
        os.fchdir(home)
        os.close(home)
    write("f")
    os.mkdir("d")
    with opened("d", os.O_RDONLY) as d:
        os.rmdir("d")
        t.expect("ENOENT", "linkat", AT_FDCWD, "f", d, "g", 0)
        t.expect("ENOENT", "renameat2", AT_FDCWD, "f", d, "g", 0)
        t.expect(0, "fsync", d)
        t.expect(0, "fchmod", d, 0o700)


@case
def symlinks_hold_any_text(t):
    for target in ("x", "x" * 59, "x" * 60, "x" * 255, "x" * 256, "x" * 1023, "x" * 1024, "x" * 4000, "x" * 4094, "x" * 4095,
                   "a/" * 2000, "é" * 2000, "/", "..", " ", "\n", b"\xff\xfe\x80"):
        t.expect(0, "symlink", target, "l")
        t.same("the target", os.fsencode(os.readlink("l")), os.fsencode(target))
        t.size("l", len(os.fsencode(target)))
        os.unlink("l")
    t.expect("ENAMETOOLONG", "symlink", "x" * 4096, "l")
    t.expect("ENAMETOOLONG", "symlink", "x" * 5000, "l")
    t.expect("ENOENT", "symlink", "", "l")
    t.absent("l")
    write("f")
    t.expect("EINVAL", "readlink", "f", None, 0)


@case
def a_symlink_through_which_one_goes(t):
    os.mkdir("d")
    write("d/f", b"data")
    os.symlink("d", "l")
    os.symlink("l/f", "m")
    os.symlink("./" * 2046 + "f", "d/long")
    t.same("through two", read("m"), b"data")
    t.same("through a long one", read("d/long"), b"data")
    t.expect(0, "unlink", "l/f")
    t.expect("ENOENT", "open", "m", os.O_RDONLY, 0)


@case
def sockets_can_be_bound_once(t):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("s")
        t.is_type("s", "socket")
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_NONBLOCK):
            t.expect("ENXIO", "open", "s", flags, 0)
        with socket.socket(socket.AF_UNIX) as again:
            t.same("a second bind", _error(lambda: again.bind("s")), errno.EADDRINUSE)
        s.listen()
        with socket.socket(socket.AF_UNIX) as client:
            t.same("a connection", _error(lambda: client.connect("s")), 0)
        os.rename("s", "r")
        with socket.socket(socket.AF_UNIX) as client:
            t.same("a connection after renaming", _error(lambda: client.connect("r")), 0)
    with socket.socket(socket.AF_UNIX) as client:
        t.same("a connection to nobody", _error(lambda: client.connect("r")), errno.ECONNREFUSED)


def _error(function):
    try:
        function()
    except OSError as e:
        return e.errno
    return 0


# Linking.


@case
def links_share_all(t):
    for kind in NO_DIRS:
        make(kind, "a")
        t.links("a", 1)
        t.moves({"a": "c", ".": "cm"}, 0, "link", "a", "b")
        t.links("a", 2)
        t.links("b", 2)
        t.expect(0, "link", "b", "c")
        t.links("a", 3)
        t.same("one inode", {os.lstat(x).st_ino for x in "abc"}, {os.lstat("a").st_ino})
        if kind != "symlink":
            t.expect(0, "chmod", "b", 0o611)
            t.mode("c", 0o611)
        t.expect(0, "lchown", "c", 5, 6)
        t.owner("a", 5, 6)
        t.moves({"b": "c", ".": "cm"}, 0, "unlink", "a")
        t.links("b", 2)
        t.absent("a")
        t.expect(0, "unlink", "c")
        t.links("b", 1)
        t.expect(0, "unlink", "b")
        t.expect("ENOENT", "link", "b", "a")


@case
def what_cannot_be_linked(t):
    os.mkdir("d")
    write("f")
    os.chmod(".", 0o777)
    t.moves({".": "-", "d": "-"}, "EPERM", "link", "d", "e")
    with t.user(ALICE):
        t.expect("EPERM", "link", "d", "e")
    t.expect("EEXIST", "link", "f", "d")
    t.expect("EXDEV", "link", "/proc/self/status", "x")
    t.expect("EXDEV", "link", "/dev/null", "x")
    t.moves({".": "-", "f": "-"}, "EEXIST", "link", "f", "f")
    t.links("f", 1)
    t.expect("EINVAL", "linkat", AT_FDCWD, "f", AT_FDCWD, "g", 0x2000)


@case
def links_to_files_of_others_are_restricted_as_the_kernel_says(t):
    write("f")
    os.chmod("f", 0o600)
    os.chmod(".", 0o777)
    with open("/proc/sys/fs/protected_hardlinks", encoding="ascii") as f:
        protected = f.read().strip() == "1"
    with t.user(ALICE):
        t.expect("EPERM" if protected else 0, "link", "f", "g")
    t.remove("g")
    os.chmod("f", 0o666)
    with t.user(ALICE):
        t.expect(0, "link", "f", "g")


@case
def linkat_follows_or_not(t):
    write("f")
    os.symlink("f", "l")
    t.expect(0, "linkat", AT_FDCWD, "l", AT_FDCWD, "a", 0)
    t.is_type("a", "symlink")
    t.expect(0, "linkat", AT_FDCWD, "l", AT_FDCWD, "b", AT_SYMLINK_FOLLOW)
    t.is_type("b", "regular")
    with opened("f", os.O_RDWR) as fd:
        t.expect(0, "linkat", fd, "", AT_FDCWD, "c", AT_EMPTY_PATH)
        t.links("f", 3)
        t.expect(0, "linkat", AT_FDCWD, f"/proc/self/fd/{fd}", AT_FDCWD, "e", AT_SYMLINK_FOLLOW)
        for name in "fbce":
            os.unlink(name)
        t.expect("ENOENT", "linkat", fd, "", AT_FDCWD, "d", AT_EMPTY_PATH)
        t.expect("ENOENT", "linkat", AT_FDCWD, f"/proc/self/fd/{fd}", AT_FDCWD, "d", AT_SYMLINK_FOLLOW)


# Removing.


@case
def unlink_removes_every_type_but_folders(t):
    for kind in NO_DIRS:
        os.mkdir("d")
        make(kind, "d/n")
        os.link("d/n", "other", follow_symlinks=False)
        t.moves({"d": "cm", "other": "c"}, 0, "unlink", "d/n")
        t.absent("d/n")
        t.moves({"d": "-"}, "ENOENT", "unlink", "d/n")
        t.remove("other")
        t.remove("d")
    os.mkdir("d")
    t.moves({".": "-", "d": "-"}, "EISDIR", "unlink", "d")
    with t.user(ALICE):
        t.expect("EACCES EISDIR", "unlink", "d")
    t.expect("EISDIR", "unlink", ".")
    t.expect("EISDIR", "unlink", "..")
    t.expect("EINVAL", "unlinkat", AT_FDCWD, "d", 0x4000)
    t.expect(0, "unlinkat", AT_FDCWD, "d", AT_REMOVEDIR)


@case
def rmdir_removes_empty_folders(t):
    os.mkdir("d")
    for kind in TYPES:
        make(kind, "d/n")
        t.moves({"d": "-", ".": "-"}, "ENOTEMPTY", "rmdir", "d")
        t.remove("d/n")
    os.mkdir("d/e")
    t.links("d", 3)
    t.moves({"d": "cm"}, 0, "rmdir", "d/e")
    t.links("d", 2)
    for kind in NO_DIRS:
        make(kind, kind)
        t.moves({kind: "-", ".": "-"}, "ENOTDIR", "rmdir", kind)
    t.expect("EINVAL", "rmdir", "d/.")
    t.expect("ENOTEMPTY", "rmdir", "d/..")
    t.expect("EINVAL", "rmdir", ".")
    t.expect("ENOTEMPTY", "rmdir", "..")
    t.expect("EBUSY", "rmdir", "/")
    t.expect(0, "rmdir", "d")


@case
def an_unlinked_file_lives_on_while_open(t):
    write("f", b"contents")
    with opened("f", os.O_RDWR) as fd:
        os.unlink("f")
        t.same("its links", os.fstat(fd).st_nlink, 0)
        t.same("its contents", os.pread(fd, 100, 0), b"contents")
        t.same("written", os.pwrite(fd, b"more", 8), 4)
        t.same("its size", os.fstat(fd).st_size, 12)
        t.expect(0, "ftruncate", fd, 4)
        t.expect(0, "posix_fallocate", fd, 0, 10000)
        t.expect(0, "fsetxattr", fd, "user.a", b"1", 1, 0)
        t.expect(1, "fgetxattr", fd, "user.a", None, 0)
        t.expect(0, "fsync", fd)
        t.expect(0, "fchmod", fd, 0o600)
        t.expect(0, "fchown", fd, 1, 2)
        t.same("contents at the end", os.pread(fd, 100, 0)[:6], b"cont\0\0")
        write("f", b"another")
        t.same("the first one still", os.pread(fd, 4, 0), b"cont")
    t.same("the second one", read("f"), b"another")


# Renaming.


@case
def rename_moves_every_type(t):
    for kind in TYPES:
        os.mkdir("d")
        os.mkdir("e")
        make(kind, "a")
        number = os.lstat("a").st_ino
        t.moves({".": "cm", "a>b": "c"}, 0, "rename", "a", "b")
        t.absent("a")
        t.is_type("b", kind)
        t.moves({".": "cm", "d": "cm", "b>d/b": "c", "e": "-"}, 0, "rename", "b", "d/b")
        t.links("d", 3 if kind == "dir" else 2)
        t.moves({"e": "cm", "d": "cm", ".": "-"}, 0, "rename", "d/b", "e/c")
        t.links("d", 2)
        t.links("e", 3 if kind == "dir" else 2)
        t.same("its number", os.lstat("e/c").st_ino, number)
        t.moves({"d": "-"}, "ENOENT", "rename", "d/b", "e/x")
        t.moves({"e/c": "-", "e": "-"}, 0, "rename", "e/c", "e/c")
        t.remove("d")
        t.remove("e")


@case
def rename_over_something(t):
    for old, new in itertools.product(TYPES, TYPES):
        os.mkdir("d")
        make(old, "a")
        make(new, "d/b")
        if new not in ("dir",):
            os.link("d/b", "held", follow_symlinks=False)
        number = os.lstat("a").st_ino
        refused = "ENOTDIR" if old == "dir" and new != "dir" else "EISDIR" if new == "dir" and old != "dir" else 0
        if refused:
            t.moves({".": "-", "d": "-", "a": "-", "d/b": "-"}, refused, "rename", "a", "d/b")
            t.is_type("a", old)
            t.is_type("d/b", new)
        else:
            watched = {".": "cm", "d": "cm", "a>d/b": "c"}
            if new != "dir":
                watched["held"] = "c"
            t.moves(watched, 0, "rename", "a", "d/b")
            t.absent("a")
            t.same("what took the name", os.lstat("d/b").st_ino, number)
            if new != "dir":
                t.links("held", 1)
            t.links("d", 3 if new == "dir" else 2)
        for name in ("a", "d", "held"):
            t.remove(name)


@case
def what_was_renamed_over_has_no_links(t):
    for kind in TYPES:
        make("dir" if kind == "dir" else "regular", "a")
        make(kind, "b")
        with opened("b", os.O_PATH | os.O_NOFOLLOW) as fd:
            t.expect(0, "rename", "a", "b")
            t.same(f"the links of a {kind} that is only open", os.fstat(fd).st_nlink, 0)
        t.remove("b")


@case
def rename_over_links_of_the_same_file(t):
    for kind in NO_DIRS:
        make(kind, "a")
        os.link("a", "b", follow_symlinks=False)
        t.moves({"a": "-", ".": "-"}, 0, "rename", "a", "b")
        t.is_type("a", kind)
        t.links("b", 2)
        t.remove("a")
        t.remove("b")


@case
def rename_of_folders_that_cannot_be(t):
    os.makedirs("a/b/c")
    os.makedirs("full/x")
    t.expect("EINVAL", "rename", "a", "a/b")
    t.expect("EINVAL", "rename", "a", "a/b/c")
    t.expect("EINVAL", "rename", "a", "a/new")
    t.expect("EINVAL", "rename", "a", "a/b/c/new")
    t.moves({"a": "-", "full": "-", ".": "-"}, "ENOTEMPTY", "rename", "a", "full")
    t.expect("ENOTEMPTY", "rename", "a/b/c", "a")
    t.expect("ENOTEMPTY", "rename", "a/b", "a")
    for name in (".", "..", "a/.", "a/.."):
        t.expect("EBUSY", "rename", name, "z")
        t.expect("EBUSY", "rename", "full", name)
    t.expect("EXDEV", "rename", "a", "/dev/shm/x")
    t.expect("EXDEV", "rename", "/dev/shm", "a/x")
    os.mkdir("empty")
    t.moves({".": "cm", "a>empty": "c"}, 0, "rename", "a", "empty")
    t.links("empty", 3)
    t.same("..", os.stat("empty/b/..").st_ino, os.stat("empty").st_ino)


@case
def rename_moves_dot_dot(t):
    os.makedirs("a/d")
    os.mkdir("b")
    t.links("a", 3)
    t.expect(0, "rename", "a/d", "b/d")
    t.links("a", 2)
    t.links("b", 3)
    t.same("dot dot", os.stat("b/d/..").st_ino, os.stat("b").st_ino)
    os.mkdir("a/e")
    t.expect(0, "rename", "a/e", "b/d")
    t.links("a", 2)
    t.links("b", 3)


@case
def renameat2_does_not_replace(t):
    for old, new in itertools.product(TYPES, TYPES):
        make(old, "a")
        make(new, "b")
        t.expect("EEXIST", "renameat2", AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE)
        t.remove("b")
        t.moves({".": "cm", "a>b": "c"}, 0, "renameat2", AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE)
        t.is_type("b", old)
        t.remove("b")


@case
def renameat2_exchanges(t):
    for old, new in itertools.product(TYPES, TYPES):
        os.mkdir("d")
        make(old, "a")
        make(new, "d/b")
        first, second = os.lstat("a").st_ino, os.lstat("d/b").st_ino
        t.moves({".": "cm", "d": "cm", "a>d/b": "c", "d/b>a": "c"}, 0, "renameat2", AT_FDCWD, "a", AT_FDCWD, "d/b",
                RENAME_EXCHANGE)
        t.same("their places", (os.lstat("a").st_ino, os.lstat("d/b").st_ino), (second, first))
        t.links("d", 3 if old == "dir" else 2)
        t.remove("a")
        t.remove("d")
    make("regular", "a")
    t.expect("ENOENT", "renameat2", AT_FDCWD, "a", AT_FDCWD, "nothing", RENAME_EXCHANGE)
    t.expect("ENOENT", "renameat2", AT_FDCWD, "nothing", AT_FDCWD, "a", RENAME_EXCHANGE)
    t.expect("EINVAL", "renameat2", AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE | RENAME_NOREPLACE)
    t.expect("EINVAL", "renameat2", AT_FDCWD, "a", AT_FDCWD, "b", 64)
    os.makedirs("x/y")
    t.expect("EINVAL", "renameat2", AT_FDCWD, "x", AT_FDCWD, "x/y", RENAME_EXCHANGE)
    t.expect("EINVAL ENOTEMPTY", "renameat2", AT_FDCWD, "x/y", AT_FDCWD, "x", RENAME_EXCHANGE)


@case
def renameat2_leaves_a_whiteout(t):
    for kind in TYPES:
        make(kind, "a")
        t.moves({".": "cm", "a>b": "c"}, 0, "renameat2", AT_FDCWD, "a", AT_FDCWD, "b", RENAME_WHITEOUT)
        t.is_type("b", kind)
        t.is_type("a", "char")
        t.same("its number", os.lstat("a").st_rdev if os.path.lexists("a") else None, 0)
        t.remove("a")
        make("regular", "c")
        t.expect("EEXIST", "renameat2", AT_FDCWD, "b", AT_FDCWD, "c", RENAME_WHITEOUT | RENAME_NOREPLACE)
        t.expect("EINVAL", "renameat2", AT_FDCWD, "b", AT_FDCWD, "c", RENAME_WHITEOUT | RENAME_EXCHANGE)
        t.remove("b")
        t.remove("c")
    os.mkdir("from")
    os.mkdir("to")
    os.mkdir("from/d")
    t.expect(0, "renameat2", AT_FDCWD, "from/d", AT_FDCWD, "to/d", RENAME_WHITEOUT)
    t.links("from", 2)
    t.links("to", 3)
    t.same("names that are left", os.listdir("from"), ["d"])
    os.chmod(".", 0o777)
    write("mine")
    os.chown("mine", ALICE, ALICE)
    with t.user(ALICE):
        t.expect(0, "renameat2", AT_FDCWD, "mine", AT_FDCWD, "b", RENAME_WHITEOUT)


# The sticky bit.


@case
def a_sticky_folder_lets_owners_alone_remove(t):
    for kind in TYPES:
        for folder_owner, file_owner, who in itertools.product((0, ALICE, BOB), (0, ALICE, BOB), (0, ALICE, BOB)):
            for mode in (0o1777, 0o777):
                os.mkdir("d")
                os.chown("d", folder_owner, folder_owner)
                os.chmod("d", mode)
                make(kind, "d/n")
                os.lchown("d/n", file_owner, file_owner)
                may = mode == 0o777 or who in (0, folder_owner, file_owner)
                with t.user(who):
                    t.expect(0 if may else "EPERM", "rmdir" if kind == "dir" else "unlink", "d/n")
                if not may:
                    t.is_type("d/n", kind)
                t.remove("d")


@case
def a_sticky_folder_lets_owners_alone_rename(t):
    os.chmod(".", 0o777)
    for kind in TYPES:
        for folder_owner, file_owner, who in itertools.product((0, ALICE, BOB), (0, ALICE, BOB), (0, ALICE, BOB)):
            os.mkdir("d")
            os.chown("d", folder_owner, folder_owner)
            os.chmod("d", 0o1777)
            make(kind, "d/n")
            os.lchown("d/n", file_owner, file_owner)
            may = who in (0, folder_owner, file_owner)
            # A folder that goes to another parent gets a new "..": it must be writable itself.
            away = may and (kind != "dir" or who in (0, file_owner))
            with t.user(who):
                t.expect(0 if may else "EPERM", "rename", "d/n", "d/m")
            name = "d/m" if may else "d/n"
            with t.user(who):
                t.expect(0 if away else "EPERM" if not may else "EACCES", "rename", name, "out")
            t.remove("out")
            t.remove("d")


@case
def a_sticky_folder_lets_owners_alone_replace(t):
    os.chmod(".", 0o777)
    for kind in TYPES:
        for folder_owner, file_owner, who in itertools.product((0, ALICE, BOB), (0, ALICE, BOB), (ALICE, BOB)):
            os.mkdir("d")
            os.chown("d", folder_owner, folder_owner)
            os.chmod("d", 0o1777)
            make(kind, "d/n")
            os.lchown("d/n", file_owner, file_owner)
            make("dir" if kind == "dir" else "regular", "mine")
            os.chown("mine", who, who)
            may = who in (folder_owner, file_owner)
            with t.user(who):
                t.expect(0 if may else "EPERM", "rename", "mine", "d/n")
            t.remove("mine")
            t.remove("d")


@case
def a_folder_needs_to_be_writable_to_get_another_parent(t):
    for mode in (0o755, 0o555, 0o000):
        os.makedirs("a")
        os.mkdir("b")
        for name in ("a", "b"):
            os.chown(name, ALICE, ALICE)
        os.mkdir("a/d")
        os.chown("a/d", ALICE, ALICE)
        os.chmod("a/d", mode)
        with t.user(ALICE):
            t.expect(0, "rename", "a/d", "a/e")
            t.expect(0 if mode & 0o200 else "EACCES", "rename", "a/e", "b/d")
        t.remove("a")
        t.remove("b")


@case
def permissions_of_folders_for_each_class(t):
    home = os.open(".", os.O_RDONLY)
    for mode in (0o700, 0o070, 0o007, 0o300, 0o030, 0o003, 0o500, 0o050, 0o005, 0o100, 0o200, 0o400):
        for who, gid, shift in ((ALICE, BOB, 6), (BOB, 9, 3), (BOB, BOB, 0)):
            os.mkdir("d")
            write("d/f")
            os.chown("d", ALICE, 9)
            os.chmod("d", mode)
            bits = mode >> shift & 7
            with t.user(who, gid):
                t.expect(0 if bits & 4 else "EACCES", "open", "d", os.O_RDONLY | os.O_DIRECTORY, 0)
                t.expect(0 if bits & 1 else "EACCES", "open", "d/f", os.O_RDONLY, 0)
                t.expect(0 if bits & 1 else "EACCES", "chdir", "d")
                t.expect(0 if bits & 3 == 3 else "EACCES", "unlink", "f" if bits & 1 else "d/f")
            os.fchdir(home)
            t.remove("d")
    os.close(home)


@case
def unnamed_temporary_files(t):
    fd = call("open", ".", O_TMPFILE | os.O_RDWR, 0o600)
    t.true("O_TMPFILE gives a file", fd >= 0, fd)
    if fd >= 0:
        t.expect(0, "linkat", AT_FDCWD, f"/proc/self/fd/{fd}", AT_FDCWD, "t", AT_SYMLINK_FOLLOW)
        os.close(fd)
