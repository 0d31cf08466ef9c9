"""Extended attributes and POSIX access control lists."""
import errno
import os
import shutil
import stat
import subprocess

import pytest

from posixlib import ALICE, BOB, as_user, needs_root, read_file, refused, write_file

needs_acl_tools = pytest.mark.skipif(not shutil.which("setfacl"), reason="needs setfacl (package acl)")


def setfacl(*args):
    subprocess.run(["setfacl", *map(str, args)], check=True)


def getfacl(path):
    done = subprocess.run(["getfacl", "-cpn", path], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_an_attribute_is_set_read_listed_and_removed(place):
    write_file(place / "f", b"")
    os.mkdir(place / "d")
    for path in (place / "f", place / "d"):
        os.setxattr(path, "user.colour", b"blue\0green")
        os.setxattr(path, "user.empty", b"")
        assert os.getxattr(path, "user.colour") == b"blue\0green"
        assert os.getxattr(path, "user.empty") == b""
        assert sorted(os.listxattr(path)) == ["user.colour", "user.empty"]
        os.setxattr(path, "user.colour", b"red")
        assert os.getxattr(path, "user.colour") == b"red"
        os.removexattr(path, "user.colour")
        assert os.listxattr(path) == ["user.empty"]


def test_creating_and_replacing_are_told_apart(place):
    write_file(place / "f", b"")
    with refused(errno.ENODATA):
        os.setxattr(place / "f", "user.a", b"1", os.XATTR_REPLACE)
    os.setxattr(place / "f", "user.a", b"1", os.XATTR_CREATE)
    with refused(errno.EEXIST):
        os.setxattr(place / "f", "user.a", b"2", os.XATTR_CREATE)
    os.setxattr(place / "f", "user.a", b"3", os.XATTR_REPLACE)
    assert os.getxattr(place / "f", "user.a") == b"3"


def test_absent_and_foreign_attributes_are_refused(place):
    write_file(place / "f", b"")
    with refused(errno.ENODATA):
        os.getxattr(place / "f", "user.none")
    with refused(errno.ENODATA):
        os.removexattr(place / "f", "user.none")
    with refused(errno.EOPNOTSUPP):
        os.setxattr(place / "f", "nonsense.a", b"1")
    with refused(errno.ERANGE):
        os.setxattr(place / "f", "user." + "n" * 251, b"1")


def test_many_attributes_fit(place):
    write_file(place / "f", b"")
    values = {f"user.attribute-{i}": os.urandom(40) for i in range(30)}
    for name, value in values.items():
        os.setxattr(place / "f", name, value)
    assert {name: os.getxattr(place / "f", name) for name in os.listxattr(place / "f")} == values


def test_a_value_of_64_kilobytes_fits_and_a_longer_one_is_refused(mnt):
    write_file(mnt / "f", b"")
    value = os.urandom(65536)
    os.setxattr(mnt / "f", "user.big", value)
    assert os.getxattr(mnt / "f", "user.big") == value
    with refused(errno.E2BIG):
        os.setxattr(mnt / "f", "user.bigger", bytes(65537))


@needs_root
def test_trusted_attributes_are_for_root_alone(place):
    write_file(place / "f", b"", 0o644)
    os.setxattr(place / "f", "trusted.t", b"1")
    os.setxattr(place / "f", "user.u", b"2")

    def look():
        assert os.listxattr(place / "f") == ["user.u"]
        with refused(errno.ENODATA):
            os.getxattr(place / "f", "trusted.t")
        with refused(errno.EACCES):
            os.setxattr(place / "f", "user.u", b"3")

    as_user(ALICE, look)
    assert os.getxattr(place / "f", "trusted.t") == b"1"


@needs_root
def test_file_capabilities_go_when_the_file_is_written(place):
    write_file(place / "f", b"tool", 0o666)
    os.chmod(place / "f", 0o666)
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(place / "f", "security.capability", capability)
    assert os.getxattr(place / "f", "security.capability") == capability
    as_user(ALICE, lambda: write_file(place / "f", b"evil"))
    with refused(errno.ENODATA):
        os.getxattr(place / "f", "security.capability")


@needs_acl_tools
@needs_root
def test_an_acl_lets_one_user_in_and_keeps_another_out(place):
    write_file(place / "f", b"for alice", 0o600)
    setfacl("-m", f"u:{ALICE}:r", place / "f")
    assert {f"user:{ALICE}:r--", "mask::r--"} <= getfacl(place / "f")

    def stranger():
        with refused(errno.EACCES):
            read_file(place / "f")

    def invited():
        assert read_file(place / "f") == b"for alice"
        with refused(errno.EACCES):
            os.open(place / "f", os.O_WRONLY)

    as_user(BOB, stranger)
    as_user(ALICE, invited)
    setfacl("-x", f"u:{ALICE}", place / "f")
    as_user(ALICE, stranger)
    setfacl("-b", place / "f")
    assert getfacl(place / "f") == {"user::rw-", "group::---", "other::---"}


@needs_acl_tools
def test_chmod_and_the_mask_are_one(place):
    write_file(place / "f", b"", 0o640)
    setfacl("-m", f"u:{ALICE}:rw", place / "f")
    assert stat.S_IMODE(os.stat(place / "f").st_mode) == 0o660
    os.chmod(place / "f", 0o604)
    assert {"mask::---", "other::r--", f"user:{ALICE}:rw-"} <= {line.split("#")[0] for line in getfacl(place / "f")}
    os.chmod(place / "f", 0o670)
    assert {"mask::rwx", "group::r--"} <= getfacl(place / "f")


@needs_acl_tools
def test_setting_a_plain_acl_sets_the_mode(place):
    write_file(place / "f", b"", 0o777)
    setfacl("--set", "u::rw,g::r,o::-", place / "f")
    assert stat.S_IMODE(os.stat(place / "f").st_mode) == 0o640
    assert "system.posix_acl_access" not in os.listxattr(place / "f")


def test_taking_away_an_acl_that_is_not_there_is_no_error(place):
    """Programs that restore files (rdiff-backup) set empty ones wherever there was none."""
    empty = (2).to_bytes(4, "little")
    write_file(place / "f", b"", 0o640)
    os.mkdir(place / "d", 0o750)
    for path, kind in ((place / "f", "access"), (place / "d", "access"), (place / "d", "default")):
        before = os.stat(path)
        os.setxattr(path, f"system.posix_acl_{kind}", empty)
        os.removexattr(path, f"system.posix_acl_{kind}")
        assert os.stat(path).st_mode == before.st_mode and os.listxattr(path) == []
    with refused(errno.ENODATA):
        os.removexattr(place / "f", "user.none")


@needs_acl_tools
def test_a_default_acl_is_inherited_instead_of_the_umask(place):
    setfacl("-d", "-m", f"u:{ALICE}:rwx,g::rx,o::-", place)
    old = os.umask(0o077)
    try:
        write_file(place / "f", b"", 0o666)
        os.mkdir(place / "d", 0o777)
        os.mkdir(place / "d" / "deeper", 0o777)
    finally:
        os.umask(old)
    assert {line.split("#")[0] for line in getfacl(place / "f")} >= {"user::rw-", f"user:{ALICE}:rwx", "mask::rw-", "other::---"}
    assert stat.S_IMODE(os.stat(place / "f").st_mode) == 0o660
    for folder in (place / "d", place / "d" / "deeper"):
        assert {f"user:{ALICE}:rwx", f"default:user:{ALICE}:rwx", "mask::rwx", "default:other::---"} <= getfacl(folder)
    write_file(place / "plain", b"")
    assert not any(line.startswith("default") for line in getfacl(place / "plain"))
