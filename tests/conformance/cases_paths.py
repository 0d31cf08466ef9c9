"""What a path itself can be wrong about: every call that takes one, with every such error."""
import os

from calls import AT_EACCESS, AT_FDCWD, BAD_ADDRESS, RENAME_NOREPLACE
from suite import ALICE, NO_DIRS, Tester, case, make, write

# call -> (arguments with "@" for the path, needs: what must be there under the path; follows a last symlink)
EXISTING = {
    "chmod": (("chmod", "@", 0o644), True),
    "chown": (("chown", "@", -1, -1), True),
    "lchown": (("lchown", "@", -1, -1), False),
    "access": (("faccessat", AT_FDCWD, "@", 0, AT_EACCESS), True),
    "open for reading": (("open", "@", os.O_RDONLY, 0), True),
    "open for writing": (("open", "@", os.O_WRONLY, 0), True),
    "open with truncation": (("open", "@", os.O_WRONLY | os.O_TRUNC, 0), True),
    "truncate": (("truncate", "@", 10), True),
    "utimensat": (("utimensat", AT_FDCWD, "@", None, 0), True),
    "unlink": (("unlink", "@"), False),
    "link from": (("link", "@", "new"), False),
    "rename from": (("rename", "@", "new"), False),
    "getxattr": (("getxattr", "@", "user.x", None, 0), True),
    "listxattr": (("listxattr", "@", None, 0), True),
    "lremovexattr": (("lremovexattr", "@", "trusted.x"), False),
}
CREATING = {
    "mkdir": ("mkdir", "@", 0o755),
    "mkfifo": ("mkfifo", "@", 0o644),
    "mknod": ("mknod", "@", 0o010644, 0),
    "symlink": ("symlink", "test", "@"),
    "link to": ("link", "there", "@"),
    "rename to": ("rename", "there", "@"),
    "rename to, never replacing": ("renameat2", AT_FDCWD, "there", AT_FDCWD, "@", RENAME_NOREPLACE),
    "open with creation": ("open", "@", os.O_CREAT | os.O_WRONLY, 0o644),
    "open with exclusive creation": ("open", "@", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644),
}
DIRECTORY = {
    "rmdir": ("rmdir", "@"),
    "chdir": ("chdir", "@"),
}
EVERY = {**{k: v[0] for k, v in EXISTING.items()}, **CREATING, **DIRECTORY}


def at(arguments, path):
    return [path if a == "@" else a for a in arguments]


def fresh(t: Tester):
    for name in ("there", "new"):
        t.remove(name)
    write("there")


@case
def a_component_that_is_no_folder(t):
    for kind in NO_DIRS:
        if kind != "symlink":
            make(kind, kind)
    write("target")
    os.symlink("target", "symlink")
    for name, arguments in EVERY.items():
        fresh(t)
        # A slash behind a name that is to be made is looked at only after the name itself.
        slash = "ENOTDIR" if name not in CREATING or name == "rename to" else "EISDIR" if name.startswith("open") else "EEXIST"
        for kind in NO_DIRS:
            t.expect("ENOTDIR", *at(arguments, f"{kind}/test"))
            t.expect(slash, *at(arguments, f"{kind}/"))
    t.expect("ENOTDIR", "open", "there", os.O_RDONLY | os.O_DIRECTORY, 0)
    t.expect("ENOTDIR", "open", "fifo", os.O_RDONLY | os.O_DIRECTORY, 0)


@case
def a_name_that_is_too_long(t):
    for arguments in EVERY.values():
        fresh(t)
        for name in ("n" * 256, "é" * 128, "n" * 1000, "€" * 86):
            t.expect("ENAMETOOLONG", *at(arguments, name))
            t.expect("ENAMETOOLONG", *at(arguments, name + "/x"))
            t.expect("ENAMETOOLONG", *at(arguments, "./" + name + "/x/y"))


def longest_folder(last):
    """A chain of folders, made; and a relative path into the last, `last` bytes short of the longest there may be."""
    path = "/".join(["d" * 255] * 15)
    os.makedirs(path)
    left = 4095 - len(path) - 1 - last
    os.mkdir(path + "/" + "e" * (left - 1))
    return path + "/" + "e" * (left - 1) + "/"


@case
def a_path_of_the_greatest_length(t):
    path = longest_folder(3)
    for name, (arguments, _) in EXISTING.items():
        fresh(t)
        t.remove(path + "abc")
        write(path + "abc")
        if name == "lremovexattr":
            os.setxattr(path + "abc", "trusted.x", b"")
        t.expect("ENODATA" if name == "getxattr" else 0, *at(arguments, path + "abc"))
        t.expect("ENAMETOOLONG", *at(arguments, path + "abcd"))
    for arguments in CREATING.values():
        fresh(t)
        t.remove(path + "abc")
        t.expect(0, *at(arguments, path + "abc"))
        t.expect("ENAMETOOLONG", *at(arguments, path + "abcd"))
    for name, arguments in DIRECTORY.items():
        t.remove(path + "abc")
        os.mkdir(path + "abc")
        t.expect("ENAMETOOLONG", *at(arguments, path + "abcd"))
        if name != "chdir":
            t.expect(0, *at(arguments, path + "abc"))


@case
def names_of_the_greatest_length(t):
    for name in ("n" * 255, "é" * 127 + "n", "€" * 85, "x" * 251 + "😀"):
        for arguments in CREATING.values():
            fresh(t)
            t.remove(name)
            t.expect(0, *at(arguments, name))
            t.true("the long name is listed", name in os.listdir("."))
            if not os.path.isdir(name):
                t.expect(0, "rename", name, "short")
                t.expect(0, "rename", "short", name)
                t.expect(0, "link", name, "short")
                t.expect(0, "unlink", "short")
        t.remove(name)


@case
def what_does_not_exist(t):
    for arguments in EVERY.values():
        fresh(t)
        t.expect("ENOENT", *at(arguments, "nothing/test"))
        t.expect("ENOENT", *at(arguments, "nothing/here/test"))
        t.expect("ENOENT", *at(arguments, ""))
    for arguments, _ in EXISTING.values():
        fresh(t)
        t.expect("ENOENT", *at(arguments, "nothing"))
    for arguments in DIRECTORY.values():
        t.expect("ENOENT", *at(arguments, "nothing"))


@case
def a_dangling_symlink(t):
    os.symlink("nothing", "dangling")
    for arguments, follows in EXISTING.values():
        if follows:
            t.expect("ENOENT", *at(arguments, "dangling"))
        t.expect("ENOENT", *at(arguments, "dangling/x"))
    for arguments in CREATING.values():
        fresh(t)
        t.expect("ENOENT", *at(arguments, "dangling/x"))
    for name in ("mkdir", "mkfifo", "mknod", "symlink", "link to", "rename to, never replacing", "open with exclusive creation"):
        fresh(t)
        t.expect("EEXIST", *at(CREATING[name], "dangling"))
    t.expect("ENOTDIR", "rmdir", "dangling")
    t.expect(0, "open", "dangling", os.O_CREAT | os.O_WRONLY, 0o644)
    t.is_type("nothing", "regular")


@case
def a_circle_of_symlinks(t):
    os.symlink("b", "a")
    os.symlink("a", "b")
    os.symlink("self", "self")
    os.symlink("./x/..", "x")
    for arguments in EVERY.values():
        fresh(t)
        for name in ("a", "b", "self", "x"):
            t.expect("ELOOP", *at(arguments, f"{name}/test"))
    for arguments, follows in EXISTING.values():
        if follows:
            t.expect("ELOOP", *at(arguments, "a"))
            t.expect("ELOOP", *at(arguments, "self"))
    t.expect("ELOOP", "open", "a", os.O_CREAT | os.O_WRONLY, 0o644)
    t.expect("EEXIST", "open", "a", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)


@case
def a_long_chain_of_symlinks(t):
    write("l0")
    for i in range(45):
        os.symlink(f"l{i}", f"l{i + 1}")
    for i in (1, 8, 39, 40):
        t.expect(0, "open", f"l{i}", os.O_RDONLY, 0)
    for i in (41, 45):
        t.expect("ELOOP", "open", f"l{i}", os.O_RDONLY, 0)


@case
def a_folder_that_may_not_be_searched(t):
    os.mkdir("closed")
    write("there")
    os.chown(".", ALICE, ALICE)
    for name in ("closed", "there"):
        os.chown(name, ALICE, ALICE)
    write("closed/test")
    os.chown("closed/test", ALICE, ALICE)
    for mode in (0o644, 0o600, 0o000, 0o466):
        os.chmod("closed", mode)
        for arguments in EVERY.values():
            with t.user(ALICE):
                t.expect("EACCES", *at(arguments, "closed/test"))
                t.expect("EACCES", *at(arguments, "closed/nothing"))
    os.chmod("closed", 0o755)
    t.is_type("closed/test", "regular")


@case
def a_folder_that_may_not_be_written(t):
    os.mkdir("closed")
    os.chown(".", ALICE, ALICE)
    os.chown("closed", ALICE, ALICE)
    for mode in (0o555, 0o577, 0o500):
        for arguments in CREATING.values():
            os.chmod("closed", 0o755)
            t.remove("closed/test")
            fresh(t)
            os.chown("there", ALICE, ALICE)
            os.chmod("closed", mode)
            with t.user(ALICE):
                t.expect("EACCES", *at(arguments, "closed/test"))
            t.absent("closed/test")
        for kind in NO_DIRS:
            os.chmod("closed", 0o755)
            make(kind, "closed/test")
            os.lchown("closed/test", ALICE, ALICE)
            os.chmod("closed", mode)
            with t.user(ALICE):
                t.expect("EACCES", "unlink", "closed/test")
                t.expect("EACCES", "rename", "closed/test", "moved")
                t.expect("EACCES", "rename", "there", "closed/test")
            t.is_type("closed/test", kind)
            t.remove("closed/test")
        os.mkdir("closed/test")
        os.chown("closed/test", ALICE, ALICE)
        with t.user(ALICE):
            t.expect("EACCES", "rmdir", "closed/test")
            t.expect("EACCES", "rename", "closed/test", "moved")
        os.rmdir("closed/test")
    with t.user(0):
        t.expect(0, "mkdir", "closed/test", 0o755)


@case
def an_address_that_is_none(t):
    for arguments in EVERY.values():
        fresh(t)
        t.expect("EFAULT", *at(arguments, BAD_ADDRESS))


@case
def what_is_there_already(t):
    for kind in NO_DIRS + ("dir",):
        for name, arguments in CREATING.items():
            if name in ("rename to", "open with creation"):
                continue
            fresh(t)
            t.remove("test")
            make(kind, "test")
            t.moves({".": "-", "test": "-"}, "EEXIST", *at(arguments, "test"))
            t.is_type("test", kind)
    for path in (".", "..", "./.", "/"):
        for name in ("mkdir", "mkfifo", "mknod", "symlink", "link to"):
            t.expect("EEXIST", *at(CREATING[name], path))


@case
def slashes_at_the_end(t):
    write("f")
    t.expect(0, "mkdir", "d/", 0o755)
    t.expect("EEXIST", "mkdir", "d/", 0o755)
    t.expect("ENOENT", "mkfifo", "p/", 0o644)
    t.expect("ENOENT", "mknod", "p/", 0o100644, 0)
    t.expect("ENOENT", "symlink", "f", "l/")
    t.expect("ENOENT", "link", "f", "l/")
    t.expect("EISDIR", "open", "n/", os.O_CREAT | os.O_WRONLY, 0o644)
    t.expect("EISDIR", "open", "d/", os.O_CREAT | os.O_WRONLY, 0o644)
    t.expect("ENOTDIR", "rename", "f", "n/")
    t.expect("ENOTDIR", "unlink", "f/")
    t.expect("EISDIR", "unlink", "d/")
    t.expect(0, "rename", "d/", "e/")
    t.expect(0, "rmdir", "e/")
    os.mkdir("d")
    os.symlink("d", "to-d")
    t.expect("ENOTDIR", "rmdir", "to-d")
    t.expect("ENOTDIR", "rmdir", "to-d/")
    t.expect("ENOTDIR", "unlink", "to-d/")
    t.expect("ENOTDIR", "rename", "to-d/", "e")
    t.expect(0, "open", "to-d/", os.O_RDONLY | os.O_DIRECTORY, 0)
