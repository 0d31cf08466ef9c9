"""Extended attributes and access control lists."""
import ctypes
import errno
import os
import stat
import struct

from calls import AT_FDCWD, call
from suite import ALICE, BOB, NO_LINKS, TYPES, case, make, opened, write

CREATE, REPLACE = 1, 2
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NOBODY = 0xFFFFFFFF


def acl(*entries):
    """(tag, permissions) or (tag, permissions, id)"""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", e[0], e[1], e[2] if len(e) > 2 else NOBODY) for e in entries)


def entries_of(path, name):
    try:
        data = os.getxattr(path, name)
    except OSError as e:
        return errno.errorcode[e.errno]
    return [tuple(e) if e[2] != NOBODY else e[:2] for e in struct.iter_unpack("<HHI", data[4:])]


def setx(t, wanted, path, name, value, flags=0):
    t.expect(wanted, "setxattr", path, name, value, len(value), flags)


@case
def attributes_of_every_namespace_and_type(t):
    for kind in TYPES:
        make(kind, kind)
        for namespace in ("user", "trusted", "security"):
            may = namespace != "user" or kind in ("regular", "dir")
            name = namespace + ".test"
            t.moves({kind: "c" if may else "-", ".": "-"}, 0 if may else "EPERM", "lsetxattr", kind, name, b"value", 5, 0)
            t.expect(5 if may else "ENODATA", "lgetxattr", kind, name, None, 0)
            t.moves({kind: "c" if may else "-"}, 0 if may else "EPERM", "lsetxattr", kind, name, b"", 0, 0)
            t.expect(0 if may else "ENODATA", "lgetxattr", kind, name, None, 0)
            t.same("the list", sorted(os.listxattr(kind, follow_symlinks=False)), [name] if may else [])
            t.moves({kind: "c" if may else "-"}, 0 if may else "EPERM", "lremovexattr", kind, name)
            t.moves({kind: "-"}, "ENODATA" if may else "EPERM", "lremovexattr", kind, name)


@case
def names_of_attributes(t):
    write("f")
    for name, wanted in (("user.a", 0), ("user." + "n" * 250, 0), ("user." + "n" * 251, "ERANGE"), ("n" * 300, "ERANGE"),
                         ("", "ERANGE"), ("user.", "EINVAL"), ("trusted.", "EINVAL"), ("security.", "EINVAL"),
                         ("user", "EOPNOTSUPP"), ("nonsense.a", "EOPNOTSUPP"), ("system.a", "EOPNOTSUPP"),
                         ("plain", "EOPNOTSUPP"), ("USER.a", "EOPNOTSUPP"),
                         ("user.a.b.c", 0), ("user. ", 0), ("user.é", 0), ("user.\n", 0), ("user.user.a", 0)):
        t.moves({"f": "-" if wanted else "c"}, wanted, "setxattr", "f", name, b"1", 1, 0)
        t.expect(1 if wanted == 0 else wanted, "getxattr", "f", name, None, 0)
        t.expect(wanted, "removexattr", "f", name)
    t.same("what is left", os.listxattr("f"), [])


@case
def creating_and_replacing_attributes(t):
    for kind in ("regular", "dir"):
        make(kind, kind)
        t.moves({kind: "-"}, "ENODATA", "setxattr", kind, "user.a", b"1", 1, REPLACE)
        t.expect(0, "setxattr", kind, "user.a", b"1", 1, CREATE)
        t.moves({kind: "-"}, "EEXIST", "setxattr", kind, "user.a", b"22", 2, CREATE)
        t.same("as it was", os.getxattr(kind, "user.a"), b"1")
        t.expect(0, "setxattr", kind, "user.a", b"333", 3, REPLACE)
        t.same("replaced", os.getxattr(kind, "user.a"), b"333")
        t.expect("EINVAL", "setxattr", kind, "user.a", b"1", 1, 4)
        t.expect("EEXIST ENODATA EINVAL", "setxattr", kind, "user.new", b"1", 1, CREATE | REPLACE)


@case
def lengths_of_attributes(t):
    write("f")
    setx(t, 0, "f", "user.a", b"v" * 100)
    setx(t, 0, "f", "user.b", b"")
    buffer = ctypes.create_string_buffer(1000)
    for size, wanted in ((0, 100), (1, "ERANGE"), (99, "ERANGE"), (100, 100), (1000, 100)):
        t.expect(wanted, "getxattr", "f", "user.a", buffer, size)
    for size, wanted in ((0, 14), (1, "ERANGE"), (13, "ERANGE"), (14, 14), (1000, 14)):
        t.expect(wanted, "listxattr", "f", buffer, size)
    t.expect(0, "getxattr", "f", "user.b", buffer, 1000)
    for length in (1, 1000, 2000, 3000):
        setx(t, 0, "f", "user.a", b"w" * length)
        t.same("the value", os.getxattr("f", "user.a"), b"w" * length)
    t.expect("E2BIG", "setxattr", "f", "user.a", b"x" * 65537, 65537, 0)
    t.same("the value after that", os.getxattr("f", "user.a"), b"w" * 3000)


@case
def who_may_see_and_set_attributes(t):
    for kind in ("regular", "dir"):
        make(kind, kind)
        os.chown(kind, ALICE, ALICE)
        for name in ("user.u", "trusted.t", "security.s"):
            setx(t, 0, kind, name, b"1")
        for mode, read, write_ in ((0o600, False, False), (0o604, True, False), (0o606, True, True), (0o602, False, True)):
            os.chmod(kind, mode)
            with t.user(BOB):
                t.expect(1 if read else "EACCES", "getxattr", kind, "user.u", None, 0)
                setx(t, 0 if write_ else "EACCES", kind, "user.u", b"2")
                t.expect("ENODATA", "getxattr", kind, "trusted.t", None, 0)
                setx(t, "EPERM", kind, "trusted.t", b"2")
                t.expect("EPERM", "removexattr", kind, "trusted.t")
                t.expect(1, "getxattr", kind, "security.s", None, 0)
                setx(t, "EPERM", kind, "security.s", b"2")
                t.same("the list", sorted(os.listxattr(kind)), ["security.s", "user.u"])
            with t.user(ALICE):
                setx(t, 0, kind, "user.u", b"3")
                setx(t, "EPERM", kind, "trusted.t", b"2")
    os.mkdir("sticky")
    os.chmod("sticky", 0o1777)
    with t.user(ALICE):
        setx(t, "EPERM", "sticky", "user.a", b"1")


@case
def attributes_through_symlinks_and_descriptors(t):
    write("f")
    os.symlink("f", "l")
    t.expect(0, "setxattr", "l", "user.a", b"1", 1, 0)
    t.same("of the file", os.listxattr("f"), ["user.a"])
    t.same("of the link", os.listxattr("l", follow_symlinks=False), [])
    with opened("f", os.O_RDWR) as fd:
        os.unlink("f")
        t.expect(0, "fsetxattr", fd, "user.b", b"2", 1, 0)
        t.same("without a name", sorted(os.listxattr(fd)), ["user.a", "user.b"])
    write("g")
    with opened("g", os.O_RDONLY) as fd:
        t.expect(0, "fsetxattr", fd, "user.b", b"2", 1, 0)
    os.link("g", "h")
    os.rename("g", "i")
    t.same("after linking and renaming", (os.listxattr("h"), os.listxattr("i")), (["user.b"], ["user.b"]))


BASE = ((USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 0))
NAMED = ((USER_OBJ, 7), (USER, 6, ALICE), (GROUP_OBJ, 4), (GROUP, 2, BOB), (MASK, 7), (OTHER, 1))


@case
def access_lists_are_checked_when_set(t):
    for kind in NO_LINKS:
        make(kind, kind)
        for value, wanted in ((acl(*BASE), 0), (acl(*NAMED), 0), (acl((USER_OBJ, 6), (GROUP_OBJ, 4)), "EINVAL"),
                              (acl((USER_OBJ, 6), (USER, 4, ALICE), (GROUP_OBJ, 4), (OTHER, 4)), "EINVAL"),
                              (acl(*NAMED)[:-1], "EINVAL"), (b"\x02\0\0", "EINVAL"), (struct.pack("<I", 3), "EOPNOTSUPP"),
                              (acl((USER_OBJ, 9), (GROUP_OBJ, 4), (OTHER, 0)), "EINVAL"), (acl(*NAMED, (USER, 1, BOB)), "EINVAL"),
                              (acl((77, 6), (GROUP_OBJ, 4), (OTHER, 0)), "EINVAL"),
                              (acl((OTHER, 6), (GROUP_OBJ, 4), (USER_OBJ, 0)), "EINVAL")):
            t.moves({kind: "-" if wanted else "c"}, wanted, "setxattr", kind, ACCESS, value, len(value), 0)
        default = acl(*NAMED)
        t.expect(0 if kind == "dir" else "EACCES", "setxattr", kind, DEFAULT, default, len(default), 0)
        t.expect(0 if kind == "dir" else "EACCES 0", "removexattr", kind, DEFAULT)
    os.symlink("regular", "l")
    t.expect("EOPNOTSUPP", "lsetxattr", "l", ACCESS, acl(*BASE), len(acl(*BASE)), 0)


@case
def access_lists_and_the_mode_are_one(t):
    for kind in NO_LINKS:
        make(kind, kind)
        setx(t, 0, kind, ACCESS, acl(*NAMED))
        t.mode(kind, 0o771)
        t.same("the list", entries_of(kind, ACCESS), list(NAMED))
        t.expect(0, "chmod", kind, 0o640)
        t.same("the list after chmod", entries_of(kind, ACCESS),
               [(USER_OBJ, 6), (USER, 6, ALICE), (GROUP_OBJ, 4), (GROUP, 2, BOB), (MASK, 4), (OTHER, 0)])
        setx(t, 0, kind, ACCESS, acl(*BASE))
        t.mode(kind, 0o640)
        t.same("a list that says no more than the mode", entries_of(kind, ACCESS), "ENODATA")
        t.expect("0 ENODATA", "removexattr", kind, ACCESS)
        setx(t, 0, kind, ACCESS, acl((USER_OBJ, 7), (GROUP_OBJ, 5), (MASK, 6), (OTHER, 0)))
        t.mode(kind, 0o760)
        t.same("a mask alone", entries_of(kind, ACCESS), [(USER_OBJ, 7), (GROUP_OBJ, 5), (MASK, 6), (OTHER, 0)])
        t.moves({kind: "c"}, 0, "removexattr", kind, ACCESS)
        t.same("removed", entries_of(kind, ACCESS), "ENODATA")
        t.mode(kind, 0o760)


@case
def access_lists_are_obeyed(t):
    write("f", b"data")
    os.chmod("f", 0o600)
    os.mkdir("d")
    write("d/f")
    for name in ("f", "d"):
        for user_bits in range(8):
            for mask in (0, 4, 2, 1, 6, 7):
                value = acl((USER_OBJ, 7), (USER, user_bits, ALICE), (GROUP_OBJ, 0), (MASK, mask), (OTHER, 0))
                call("setxattr", name, ACCESS, value, len(value), 0)
                bits = user_bits & mask
                with t.user(ALICE):
                    if name == "f":
                        t.expect(0 if bits & 4 else "EACCES", "open", "f", os.O_RDONLY, 0)
                        t.expect(0 if bits & 2 else "EACCES", "open", "f", os.O_WRONLY, 0)
                    else:
                        t.expect(0 if bits & 4 else "EACCES", "open", "d", os.O_RDONLY, 0)
                        t.expect(0 if bits & 3 == 3 else "EACCES", "mkdir", "d/n", 0o755)
                        t.expect(0 if bits & 3 == 3 else "ENOENT" if bits & 1 else "EACCES", "rmdir", "d/n")
                        t.expect(0 if bits & 1 else "EACCES", "open", "d/f", os.O_RDONLY, 0)
                with t.user(BOB):
                    t.expect("EACCES", "open", name, os.O_RDONLY, 0)
    value = acl((USER_OBJ, 7), (GROUP_OBJ, 0), (GROUP, 6, 777), (MASK, 7), (OTHER, 4))
    setx(t, 0, "f", ACCESS, value)
    with t.user(BOB, BOB, [777]):
        t.expect(0, "open", "f", os.O_RDWR, 0)
    with t.user(BOB):
        t.expect(0, "open", "f", os.O_RDONLY, 0)
        t.expect("EACCES", "open", "f", os.O_WRONLY, 0)
        setx(t, "EPERM", "f", ACCESS, value)
        t.expect("EPERM", "removexattr", "f", ACCESS)


@case
def default_lists_are_inherited(t):
    for mask_entry, umask in ((7, 0o077), (5, 0o022), (0, 0)):
        os.mkdir("d")
        default = ((USER_OBJ, 7), (USER, 6, ALICE), (GROUP_OBJ, 5), (MASK, mask_entry), (OTHER, 3))
        setx(t, 0, "d", DEFAULT, acl(*default))
        os.umask(umask)
        for mode in (0o777, 0o666, 0o640, 0o000, 0o751):
            for kind, arguments in (("dir", ("mkdir", "d/n", mode)), ("regular", ("open", "d/n", os.O_CREAT | os.O_WRONLY, mode)),
                                    ("fifo", ("mkfifo", "d/n", mode)), ("node", ("mknod", "d/n", stat.S_IFSOCK | mode, 0))):
                t.expect(0, *arguments)
                wanted = [(USER_OBJ, 7 & mode >> 6), (USER, 6, ALICE), (GROUP_OBJ, 5), (MASK, mask_entry & mode >> 3),
                          (OTHER, 3 & mode)]
                t.same(f"the list of a {kind} of {mode:o} under mask {mask_entry}", entries_of("d/n", ACCESS), wanted)
                t.mode("d/n", (7 & mode >> 6) << 6 | (mask_entry & mode >> 3) << 3 | 3 & mode)
                t.same("its own default list", entries_of("d/n", DEFAULT) if kind == "dir" else "-",
                       list(default) if kind == "dir" else "-")
                t.remove("d/n")
        os.symlink("x", "d/l")
        t.same("a symlink inherits none", os.listxattr("d/l", follow_symlinks=False), [])
        os.umask(0o022)
        t.remove("d")
    os.mkdir("d")
    setx(t, 0, "d", DEFAULT, acl((USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 4)))
    os.umask(0o777)
    t.expect(0, "open", "d/n", os.O_CREAT | os.O_WRONLY, 0o777)
    os.umask(0o022)
    t.mode("d/n", 0o644)
    t.same("a short list is the mode", entries_of("d/n", ACCESS), "ENODATA")
    t.expect(0, "removexattr", "d", DEFAULT)
    t.expect(0, "open", "d/m", os.O_CREAT | os.O_WRONLY, 0o666)
    t.mode("d/m", 0o644)


@case
def access_lists_and_the_set_group_id_bit(t):
    for groups, kept in (((), False), ((9,), True)):
        for value in (acl(*BASE), acl(*NAMED)):
            t.remove("f")
            write("f")
            os.chown("f", ALICE, 9)
            os.chmod("f", 0o2755)
            with t.user(ALICE, ALICE, groups):
                setx(t, 0, "f", ACCESS, value)
            t.same(f"the bit with groups {groups}", bool(os.stat("f").st_mode & stat.S_ISGID), kept)
    t.remove("f")
    write("f")
    os.chmod("f", 0o2755)
    os.chown(".", 0, 0)
    setx(t, 0, "f", ACCESS, acl(*NAMED))
    t.same("the bit when root does it", bool(os.stat("f").st_mode & stat.S_ISGID), True)


@case
def access_lists_survive_renaming_and_linking(t):
    write("f")
    setx(t, 0, "f", ACCESS, acl(*NAMED))
    os.link("f", "g")
    os.rename("f", "h")
    t.same("of the link", entries_of("g", ACCESS), list(NAMED))
    t.expect(0, "utimensat", AT_FDCWD, "h", None, 0)
    t.expect(0, "truncate", "h", 100)
    t.expect(0, "chown", "h", ALICE, BOB)
    t.same("of the renamed one", entries_of("h", ACCESS), list(NAMED))
