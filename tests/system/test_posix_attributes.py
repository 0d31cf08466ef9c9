"""Modes, owners, times, special files: what stat shows, who may change it, and what changes by itself."""
import errno
import os
import socket
import stat

import pytest

from posixlib import (ALICE, BOB, FRIENDS, RENAME_EXCHANGE, as_user, await_tick, in_child, needs_root, opened, pattern, read_file,
                      refused, rename2, write_file)


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.mark.parametrize("mode", [0o000, 0o644, 0o777, 0o1644, 0o2755, 0o4711, 0o7777])
def test_chmod_sets_all_twelve_bits(place, mode):
    write_file(place / "f", b"")
    os.mkdir(place / "d")
    os.chmod(place / "f", mode)
    os.chmod(place / "d", mode)
    assert (mode_of(place / "f"), mode_of(place / "d")) == (mode, mode)


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_the_umask_applies_to_what_is_made(place, umask):
    def make():
        os.umask(umask)
        os.close(os.open(place / "f", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(place / "d", 0o777)
        os.mkfifo(place / "p", 0o666)

    in_child(make)
    assert mode_of(place / "f") == 0o666 & ~umask
    assert mode_of(place / "d") == 0o777 & ~umask
    assert mode_of(place / "p") == 0o666 & ~umask


@needs_root
def test_chown_changes_owner_and_group_also_of_symlinks(place):
    write_file(place / "f", b"")
    os.symlink("f", place / "l")
    os.chown(place / "f", ALICE, BOB)
    os.chown(place / "l", BOB, -1, follow_symlinks=False)
    assert (os.stat(place / "f").st_uid, os.stat(place / "f").st_gid) == (ALICE, BOB)
    assert (os.lstat(place / "l").st_uid, os.lstat(place / "l").st_gid) == (BOB, 0)
    os.chown(place / "f", -1, ALICE)
    assert (os.stat(place / "f").st_uid, os.stat(place / "f").st_gid) == (ALICE, ALICE)


@needs_root
def test_new_files_belong_to_who_makes_them(place):
    os.chmod(place, 0o777)

    def make():
        write_file(place / "f", b"")
        os.mkdir(place / "d")
        os.symlink("f", place / "l")
        os.mkfifo(place / "p")

    as_user(ALICE, make, gid=BOB)
    for name in ("f", "d", "l", "p"):
        assert (os.lstat(place / name).st_uid, os.lstat(place / name).st_gid) == (ALICE, BOB)


@needs_root
def test_only_the_owner_may_change_mode_times_and_group(place):
    write_file(place / "f", b"")
    os.chown(place / "f", ALICE, ALICE)

    def strangers_attempts():
        with refused(errno.EPERM):
            os.chmod(place / "f", 0o777)
        with refused(errno.EPERM):
            os.utime(place / "f", ns=(1, 1))
        with refused(errno.EPERM):
            os.chown(place / "f", BOB, -1)

    def owners_attempts():
        with refused(errno.EPERM):
            os.chown(place / "f", BOB, -1)
        with refused(errno.EPERM):
            os.chown(place / "f", -1, BOB)
        os.chown(place / "f", -1, FRIENDS)
        os.chmod(place / "f", 0o600)

    as_user(BOB, strangers_attempts)
    as_user(ALICE, owners_attempts, groups=[FRIENDS])
    assert (os.stat(place / "f").st_gid, mode_of(place / "f")) == (FRIENDS, 0o600)


@needs_root
def test_permissions_are_enforced_for_reading_writing_and_searching(place):
    os.mkdir(place / "closed")
    write_file(place / "closed" / "f", b"", 0o666)
    write_file(place / "secret", b"secret", 0o600)
    write_file(place / "read-only", b"public", 0o644)
    os.chmod(place / "closed", 0o700)

    def attempts():
        for path, flags in ((place / "secret", os.O_RDONLY), (place / "read-only", os.O_WRONLY),
                            (place / "closed" / "f", os.O_RDONLY), (place / "new", os.O_CREAT | os.O_WRONLY)):
            with refused(errno.EACCES):
                os.open(path, flags)
        with refused(errno.EACCES):
            os.unlink(place / "read-only")
        assert read_file(place / "read-only") == b"public"

    as_user(ALICE, attempts)


def test_times_keep_their_nanoseconds(place):
    write_file(place / "f", b"")
    os.symlink("f", place / "l")
    os.utime(place / "f", ns=(1234567890123456789, 987654321987654321))
    os.utime(place / "l", ns=(111111111111111111, 222222222222222222), follow_symlinks=False)
    os.utime(place, ns=(333333333333333333, 444444444444444444))
    assert (os.stat(place / "f").st_atime_ns, os.stat(place / "f").st_mtime_ns) == (1234567890123456789, 987654321987654321)
    assert os.lstat(place / "l").st_mtime_ns == 222222222222222222
    assert os.stat(place).st_mtime_ns == 444444444444444444


def test_times_before_1970_are_kept(place):
    write_file(place / "f", b"")
    os.utime(place / "f", ns=(-5000000000, -1))
    assert (os.stat(place / "f").st_atime_ns, os.stat(place / "f").st_mtime_ns) == (-5000000000, -1)


def test_a_time_that_was_set_survives_the_write_before_it(place):
    with opened(place / "f", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, pattern(10000))
        os.utime(fd, ns=(1000000000000000001, 1000000000000000002))
    assert os.stat(place / "f").st_mtime_ns == 1000000000000000002
    assert read_file(place / "f") == pattern(10000)
    assert os.stat(place / "f").st_mtime_ns == 1000000000000000002


def later(path, field, change):
    """Runs change and tells whether that time of path moved on."""
    before = getattr(os.lstat(path), field)
    await_tick()
    change()
    return getattr(os.lstat(path), field) > before


def test_every_change_of_a_file_moves_its_ctime(place):
    path = place / "f"
    write_file(path, b"x")
    for change in (lambda: os.chmod(path, 0o600), lambda: os.utime(path, ns=(1, 1)), lambda: os.link(path, place / "g"),
                   lambda: os.unlink(place / "g"), lambda: os.setxattr(path, "user.a", b"1"),
                   lambda: os.removexattr(path, "user.a"), lambda: write_file(path, b"y"), lambda: os.truncate(path, 0),
                   lambda: os.chown(path, os.getuid(), os.getgid())):
        assert later(path, "st_ctime_ns", change)


def test_writing_moves_mtime_and_reading_moves_neither(place):
    path = place / "f"
    write_file(path, b"x")
    assert later(path, "st_mtime_ns", lambda: write_file(path, b"longer"))
    assert later(path, "st_mtime_ns", lambda: os.truncate(path, 3))
    assert not later(path, "st_mtime_ns", lambda: read_file(path))
    assert not later(path, "st_ctime_ns", lambda: read_file(path))
    assert not later(path, "st_mtime_ns", lambda: os.chmod(path, 0o600))


def test_changes_of_its_entries_move_the_times_of_a_folder(place):
    os.mkdir(place / "other")
    for change in (lambda: write_file(place / "a", b""), lambda: os.link(place / "a", place / "b"),
                   lambda: os.rename(place / "a", place / "c"), lambda: rename2(place / "b", place / "other", RENAME_EXCHANGE),
                   lambda: rename2(place / "b", place / "other", RENAME_EXCHANGE),
                   lambda: os.symlink("x", place / "l"), lambda: os.mkdir(place / "d"), lambda: os.rmdir(place / "d"),
                   lambda: os.rename(place / "b", place / "other" / "b"), lambda: os.unlink(place / "c")):
        assert later(place, "st_mtime_ns", change)
    assert later(place, "st_ctime_ns", lambda: write_file(place / "z", b""))
    assert not later(place, "st_mtime_ns", lambda: write_file(place / "z", b"content"))


@needs_root
def test_a_setgid_folder_gives_its_group_to_what_is_made_in_it(place):
    os.chown(place, 0, FRIENDS)
    os.chmod(place, 0o2777)

    def make():
        write_file(place / "f", b"")
        os.mkdir(place / "d")
        os.mkdir(place / "d" / "deeper")

    as_user(ALICE, make)
    assert os.stat(place / "f").st_gid == FRIENDS
    assert not mode_of(place / "f") & stat.S_ISGID
    for folder in (place / "d", place / "d" / "deeper"):
        assert os.stat(folder).st_gid == FRIENDS
        assert mode_of(folder) & stat.S_ISGID


@needs_root
@pytest.mark.parametrize("mode,left", [(0o6777, 0o777), (0o4666, 0o666), (0o2676, 0o676), (0o1777, 0o1777)])
def test_set_id_bits_go_when_somebody_else_writes(place, mode, left):
    write_file(place / "f", b"tool")
    os.chmod(place / "f", mode)

    def write():
        with opened(place / "f", os.O_WRONLY) as fd:
            os.write(fd, b"evil")
            os.close(os.dup(fd))

    as_user(ALICE, write)
    assert mode_of(place / "f") == left
    assert read_file(place / "f") == b"evil"


@needs_root
def test_set_id_bits_go_when_somebody_else_truncates(place):
    for name, truncate in (("f", lambda: os.truncate(place / "f", 0)), ("g", lambda: write_file(place / "g", b""))):
        write_file(place / name, b"tool")
        os.chmod(place / name, 0o6777)
        as_user(ALICE, truncate)
        assert mode_of(place / name) == 0o777


@needs_root
def test_set_id_bits_go_when_the_owner_changes(place):
    write_file(place / "f", b"tool")
    os.chmod(place / "f", 0o6755)
    os.chown(place / "f", ALICE, ALICE)
    assert mode_of(place / "f") == 0o755
    os.mkdir(place / "d")
    os.chmod(place / "d", 0o2755)
    os.chown(place / "d", ALICE, ALICE)
    assert mode_of(place / "d") == 0o2755


@needs_root
def test_set_id_bits_stay_when_root_writes(place):
    write_file(place / "f", b"tool")
    os.chmod(place / "f", 0o6755)
    with opened(place / "f", os.O_WRONLY) as fd:
        os.write(fd, b"TOOL")
    assert mode_of(place / "f") == 0o6755


@needs_root
def test_a_group_that_is_not_ones_own_costs_the_setgid_bit(place):
    write_file(place / "f", b"")
    os.chown(place / "f", ALICE, BOB)

    def set_bit():
        os.chmod(place / "f", 0o2755)

    as_user(ALICE, set_bit)
    assert mode_of(place / "f") == 0o755


@needs_root
def test_in_a_sticky_folder_only_owners_remove_and_rename(place):
    os.chmod(place, 0o1777)
    as_user(ALICE, lambda: write_file(place / "alice", b""))
    as_user(BOB, lambda: write_file(place / "bob", b""))

    def attempts():
        with refused(errno.EPERM, errno.EACCES):
            os.unlink(place / "alice")
        with refused(errno.EPERM, errno.EACCES):
            os.rename(place / "alice", place / "stolen")
        with refused(errno.EPERM, errno.EACCES):
            os.rename(place / "bob", place / "alice")
        os.rename(place / "bob", place / "bob2")
        os.unlink(place / "bob2")

    as_user(BOB, attempts)
    assert os.listdir(place) == ["alice"]


def test_a_fifo_carries_bytes_between_processes(place):
    os.mkfifo(place / "p", 0o640)
    assert stat.S_ISFIFO(os.stat(place / "p").st_mode)
    pid = os.fork()
    if pid == 0:
        with opened(place / "p", os.O_WRONLY) as fd:
            os.write(fd, b"through the pipe")
        os._exit(0)
    assert read_file(place / "p") == b"through the pipe"
    os.waitpid(pid, 0)


def test_a_socket_can_be_bound_and_reached(place, monkeypatch):
    monkeypatch.chdir(place)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("s")
        server.listen()
        client.connect("s")
        peer, _ = server.accept()
        with peer:
            client.sendall(b"hello")
            assert peer.recv(5) == b"hello"
    assert stat.S_ISSOCK(os.stat("s").st_mode)
    os.unlink("s")


@needs_root
@pytest.mark.parametrize("kind,check", [(stat.S_IFCHR, stat.S_ISCHR), (stat.S_IFBLK, stat.S_ISBLK)], ids=["char", "block"])
def test_device_nodes_keep_their_numbers(place, kind, check):
    for i, device in enumerate([os.makedev(1, 3), os.makedev(259, 70000), os.makedev(0, 0)]):
        os.mknod(place / str(i), kind | 0o640, device)
        st = os.stat(place / str(i))
        assert check(st.st_mode) and st.st_rdev == device and mode_of(place / str(i)) == 0o640


@needs_root
def test_an_ordinary_user_cannot_make_device_nodes(place):
    os.chmod(place, 0o777)

    def attempt():
        with refused(errno.EPERM):
            os.mknod(place / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))

    as_user(ALICE, attempt)


def test_statfs_tells_plausible_things(place):
    st = os.statvfs(place)
    assert st.f_namemax == 255
    assert st.f_bsize >= 512 and st.f_frsize >= 512
    assert 0 < st.f_bavail <= st.f_bfree <= st.f_blocks


def test_the_free_space_is_that_of_the_disk_with_the_vault(mounted):
    inside, disk = os.statvfs(mounted.mountpoint), os.statvfs(mounted.dir)
    assert inside.f_blocks * inside.f_frsize == disk.f_blocks * disk.f_frsize
    assert abs(inside.f_bavail * inside.f_frsize - disk.f_bavail * disk.f_frsize) < 1 << 30


def test_sizes_and_blocks_agree(place):
    with opened(place / "f", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, os.urandom(1 << 20))
        os.fsync(fd)
    st = os.stat(place / "f")
    assert st.st_size == 1 << 20
    assert (1 << 20) <= st.st_blocks * 512 < (1 << 20) + 65536
