"""Names: folders, links, renames, and how many and how long they may be."""
import errno
import os

import pytest

from posixlib import RENAME_EXCHANGE, RENAME_NOREPLACE, opened, pattern, read_file, refused, rename2, write_file

LONGEST = [b"n" * 255, ("é" * 127 + "x").encode(), ("語" * 85).encode(), bytes(range(1, 47)) + bytes(range(48, 256))]


@pytest.mark.parametrize("name", LONGEST, ids=["ascii", "two-byte", "three-byte", "every-byte"])
def test_a_name_of_255_bytes_works_everywhere(place, name):
    path, other = os.fsencode(place) + b"/" + name, os.fsencode(place) + b"/other"
    write_file(path, b"content")
    assert os.listdir(os.fsencode(place)) == [name]
    os.rename(path, other)
    os.rename(other, path)
    os.link(path, other)
    os.unlink(path)
    os.mkdir(path)
    os.rmdir(path)
    os.symlink(other, path)
    assert read_file(path) == b"content"


@pytest.mark.parametrize("name", [b"n" * 256, ("é" * 128).encode()], ids=["ascii", "utf-8"])
def test_a_name_of_256_bytes_is_refused_everywhere(place, name):
    path, file = os.fsencode(place) + b"/" + name, os.fsencode(place) + b"/file"
    write_file(file, b"")
    for attempt in (lambda: os.open(path, os.O_CREAT | os.O_WRONLY), lambda: os.mkdir(path), lambda: os.symlink(b"x", path),
                    lambda: os.link(file, path), lambda: os.rename(file, path), lambda: os.stat(path),
                    lambda: os.mkfifo(path), lambda: os.unlink(path)):
        with refused(errno.ENAMETOOLONG):
            attempt()
    assert os.listdir(os.fsencode(place)) == [b"file"]


def test_a_folder_is_made_listed_and_removed(place):
    os.mkdir(place / "d")
    with refused(errno.EEXIST):
        os.mkdir(place / "d")
    write_file(place / "d" / "f", b"")
    os.mkdir(place / "d" / "sub")
    assert sorted(os.listdir(place / "d")) == ["f", "sub"]
    with refused(errno.ENOTEMPTY):
        os.rmdir(place / "d")
    with refused(errno.ENOTDIR):
        os.rmdir(place / "d" / "f")
    with refused(errno.EISDIR):
        os.unlink(place / "d")
    os.unlink(place / "d" / "f")
    os.rmdir(place / "d" / "sub")
    os.rmdir(place / "d")
    assert os.listdir(place) == []


def test_a_folder_counts_the_folders_in_it(place):
    assert os.stat(place).st_nlink == 2
    os.mkdir(place / "a")
    os.mkdir(place / "b")
    assert os.stat(place).st_nlink == 4
    os.rename(place / "a", place / "b" / "a")
    assert os.stat(place).st_nlink == 3
    assert os.stat(place / "b").st_nlink == 3
    os.rmdir(place / "b" / "a")
    os.rmdir(place / "b")
    assert os.stat(place).st_nlink == 2


def test_dots_lead_to_the_folder_and_its_parent(place):
    os.mkdir(place / "d")
    os.mkdir(place / "d" / "e")
    assert os.stat(place / "d" / ".").st_ino == os.stat(place / "d").st_ino
    assert os.stat(place / "d" / "e" / "..").st_ino == os.stat(place / "d").st_ino
    os.rename(place / "d" / "e", place / "e")
    assert os.stat(place / "e" / "..").st_ino == os.stat(place).st_ino


def test_nothing_can_be_made_in_a_removed_folder(place):
    os.mkdir(place / "d")
    with opened(place / "d", os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.rmdir(place / "d")
        with refused(errno.ENOENT):
            os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
        with refused(errno.ENOENT):
            os.mkdir("g", dir_fd=fd)
        assert os.listdir(fd) == []


def test_a_file_is_renamed_within_and_across_folders(place):
    os.mkdir(place / "d")
    write_file(place / "a", b"content")
    number = os.stat(place / "a").st_ino
    os.rename(place / "a", place / "b")
    os.rename(place / "b", place / "d" / "c")
    assert os.listdir(place) == ["d"]
    assert os.stat(place / "d" / "c").st_ino == number
    assert read_file(place / "d" / "c") == b"content"
    with refused(errno.ENOENT):
        os.rename(place / "a", place / "b")


def test_renaming_replaces_what_was_there(place):
    write_file(place / "a", b"new")
    write_file(place / "b", b"old")
    os.rename(place / "a", place / "b")
    assert os.listdir(place) == ["b"]
    assert read_file(place / "b") == b"new"
    os.mkdir(place / "empty")
    os.mkdir(place / "full")
    write_file(place / "full" / "f", b"")
    os.rename(place / "full", place / "empty")
    assert os.listdir(place / "empty") == ["f"]


def test_impossible_renames_are_refused(place):
    os.makedirs(place / "d" / "sub")
    os.mkdir(place / "e")
    write_file(place / "f", b"")
    with refused(errno.ENOTEMPTY, errno.EEXIST):
        os.rename(place / "e", place / "d")
    with refused(errno.EISDIR):
        os.rename(place / "f", place / "e")
    with refused(errno.ENOTDIR):
        os.rename(place / "e", place / "f")
    with refused(errno.EINVAL):
        os.rename(place / "d", place / "d" / "sub" / "deeper")
    assert sorted(os.listdir(place)) == ["d", "e", "f"]


def test_renaming_one_hard_link_over_another_does_nothing(place):
    write_file(place / "a", b"x")
    os.link(place / "a", place / "b")
    os.rename(place / "a", place / "b")
    assert sorted(os.listdir(place)) == ["a", "b"]
    assert os.stat(place / "a").st_nlink == 2


def test_renaming_without_replacing_refuses_an_existing_name(place):
    write_file(place / "a", b"a")
    write_file(place / "b", b"b")
    with refused(errno.EEXIST):
        rename2(place / "a", place / "b", RENAME_NOREPLACE)
    assert (read_file(place / "a"), read_file(place / "b")) == (b"a", b"b")
    rename2(place / "a", place / "c", RENAME_NOREPLACE)
    assert sorted(os.listdir(place)) == ["b", "c"]


def test_exchanging_swaps_files_and_folders(place):
    os.makedirs(place / "d" / "sub")
    os.mkdir(place / "other")
    write_file(place / "other" / "f", b"file")
    rename2(place / "d", place / "other" / "f", RENAME_EXCHANGE)
    assert read_file(place / "d") == b"file"
    assert os.listdir(place / "other" / "f") == ["sub"]
    assert os.stat(place / "other" / "f" / "..").st_ino == os.stat(place / "other").st_ino
    assert (os.stat(place).st_nlink, os.stat(place / "other").st_nlink) == (3, 3)
    with refused(errno.ENOENT):
        rename2(place / "d", place / "missing", RENAME_EXCHANGE)
    with refused(errno.EINVAL):
        rename2(place / "other", place / "other" / "f", RENAME_EXCHANGE)
    with refused(errno.EINVAL):
        rename2(place / "d", place / "other", RENAME_EXCHANGE | RENAME_NOREPLACE)


def test_hard_links_share_everything_but_the_name(place):
    os.mkdir(place / "d")
    write_file(place / "a", b"one")
    os.link(place / "a", place / "d" / "b")
    assert os.stat(place / "a").st_ino == os.stat(place / "d" / "b").st_ino
    assert os.stat(place / "a").st_nlink == 2
    with opened(place / "d" / "b", os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b" two")
    os.chmod(place / "d" / "b", 0o600)
    assert read_file(place / "a") == b"one two"
    assert os.stat(place / "a").st_mode & 0o7777 == 0o600
    os.unlink(place / "a")
    assert os.stat(place / "d" / "b").st_nlink == 1
    assert read_file(place / "d" / "b") == b"one two"


def test_impossible_links_are_refused(place):
    os.mkdir(place / "d")
    write_file(place / "f", b"")
    with refused(errno.EPERM):
        os.link(place / "d", place / "e")
    with refused(errno.EEXIST):
        os.link(place / "f", place / "d")
    with refused(errno.ENOENT):
        os.link(place / "missing", place / "g")


def test_a_file_may_have_many_links(place):
    write_file(place / "0", b"x")
    for i in range(1, 1000):
        os.link(place / "0", place / str(i))
    assert os.stat(place / "999").st_nlink == 1000
    for i in range(999):
        os.unlink(place / str(i))
    assert os.stat(place / "999").st_nlink == 1


@pytest.mark.parametrize("length", [1, 59, 60, 255, 4000])
def test_a_symlink_of_any_length_is_read_back(place, length):
    target = ("t/" * length)[:length]
    os.symlink(target, place / "link")
    assert os.readlink(place / "link") == target
    assert os.lstat(place / "link").st_size == length
    assert not os.path.exists(place / "link")


def test_symlinks_are_followed_and_loops_are_found(place):
    os.mkdir(place / "d")
    write_file(place / "d" / "f", b"content")
    os.symlink("d", place / "to-d")
    os.symlink("to-d/f", place / "to-f")
    assert read_file(place / "to-f") == b"content"
    os.symlink("loop", place / "loop")
    with refused(errno.ELOOP):
        os.open(place / "loop", os.O_RDONLY)
    with refused(errno.ELOOP):
        os.open(place / "to-f", os.O_RDONLY | os.O_NOFOLLOW)
    os.unlink(place / "to-d")
    assert os.listdir(place / "d") == ["f"]


def test_a_replaced_symlink_leads_to_its_new_target(place):
    write_file(place / "one", b"1")
    write_file(place / "two", b"2")
    os.symlink("one", place / "link")
    assert read_file(place / "link") == b"1"
    os.symlink("two", place / "link.new")
    os.rename(place / "link.new", place / "link")
    assert read_file(place / "link") == b"2"


def test_a_listing_has_numbers_and_types_that_agree_with_stat(place):
    write_file(place / "file", b"")
    os.mkdir(place / "folder")
    os.symlink("file", place / "symlink")
    os.mkfifo(place / "fifo")
    with os.scandir(place) as entries:
        for e in entries:
            assert e.inode() == os.lstat(e.path).st_ino
            assert e.is_file(follow_symlinks=False) == (e.name == "file")
            assert e.is_dir(follow_symlinks=False) == (e.name == "folder")
            assert e.is_symlink() == (e.name == "symlink")


def test_a_listing_follows_every_change_at_once(place):
    for i in range(50):
        write_file(place / f"f{i}", b"")
        assert len(os.listdir(place)) == i + 1
    for i in range(50):
        os.rename(place / f"f{i}", place / f"g{i}")
        assert f"g{i}" in os.listdir(place) and f"f{i}" not in os.listdir(place)


def test_removing_files_while_listing_misses_none(place):
    for i in range(3000):
        write_file(place / f"file-{i}", b"")
    with os.scandir(place) as entries:
        seen = 0
        for e in entries:
            os.unlink(e.path)
            seen += 1
    assert seen == 3000
    assert os.listdir(place) == []


def test_a_folder_holds_100000_entries(place):
    names = [f"entry-{i:06d}" for i in range(100000)]
    with opened(place, os.O_RDONLY | os.O_DIRECTORY) as fd:
        for name in names:
            os.mknod(name, 0o644, dir_fd=fd)
    listed = os.listdir(place)
    assert len(listed) == 100000
    assert sorted(listed) == names
    with os.scandir(place) as entries:
        assert len({e.inode() for e in entries}) == 100000
    for name in names[::997]:
        assert os.stat(place / name).st_size == 0
    with refused(errno.ENOENT):
        os.stat(place / "entry-100000")
    write_file(place / names[54321], pattern(1000))
    assert read_file(place / names[54321]) == pattern(1000)
    for name in names:
        os.unlink(place / name)
    assert os.listdir(place) == []


def test_a_deep_path_works(place):
    path = place
    for _ in range(60):
        path = path / "deeper"
        os.mkdir(path)
    write_file(path / "f", b"deep")
    assert read_file(path / "f") == b"deep"
