"""A file that somebody holds open while another computer changes it: the kernel's caches must follow."""
import mmap
import os
import pathlib
import shutil

import pytest

import conftest
from posixlib import opened, pattern, read_file, write_file


@pytest.fixture
def pair():
    """Two computers with one vault, both mounted; they sync when they are asked to."""
    root = pathlib.Path(conftest.new_root())
    alpha, beta = conftest.Vault(conftest.new_root()), conftest.Vault(conftest.new_root())
    try:
        alpha.up("--remote", f"dir:{root}/store", "--recovery-key-file", root / "key", "--device-name", "alpha")
        pause(alpha)
        sync(alpha)
        beta.run("join", beta.mountpoint, "--vault", beta.dir, "--remote", f"dir:{root}/store", "--no-passphrase",
                 "--recovery-key-file", root / "key", "--device-name", "beta")
        beta.mount()
        pause(beta)
        yield alpha, beta
    finally:
        try:
            beta.clean_up()
        finally:
            alpha.clean_up()
            shutil.rmtree(root)


def pause(vault):
    vault.run("pause", vault.mountpoint, "--vault", vault.dir)


def sync(*vaults):
    for vault in vaults:
        vault.run("sync", vault.mountpoint, "--vault", vault.dir)


@pytest.mark.parametrize("length", [10, 300000], ids=["shorter", "longer"])
def test_an_open_file_shows_what_another_computer_wrote(pair, length):
    alpha, beta = pair
    write_file(alpha.mountpoint / "f", pattern(100000))
    sync(alpha, beta)
    with opened(beta.mountpoint / "f", os.O_RDONLY) as fd, mmap.mmap(fd, 4096, prot=mmap.PROT_READ) as m:
        assert os.pread(fd, 200000, 0) == pattern(100000)
        write_file(alpha.mountpoint / "f", pattern(length, seed=2))
        os.utime(alpha.mountpoint / "f", ns=(1, 1234567890987654321))
        sync(alpha, beta)
        assert os.fstat(fd).st_size == length
        assert os.fstat(fd).st_mtime_ns == 1234567890987654321
        assert os.pread(fd, 400000, 0) == pattern(length, seed=2)
        assert m[:10] == pattern(length, seed=2)[:10]
        assert read_file(beta.mountpoint / "f") == pattern(length, seed=2)
    sync(beta, alpha)
    assert os.stat(alpha.mountpoint / "f").st_mtime_ns == 1234567890987654321


def test_a_log_that_another_computer_appends_to_can_be_followed(pair):
    alpha, beta = pair
    write_file(alpha.mountpoint / "log", b"line 0\n")
    sync(alpha, beta)
    with opened(beta.mountpoint / "log", os.O_RDONLY) as fd:
        assert os.read(fd, 1000) == b"line 0\n"
        for i in range(1, 4):
            with opened(alpha.mountpoint / "log", os.O_WRONLY | os.O_APPEND) as log:
                os.write(log, b"line %d\n" % i)
            sync(alpha, beta)
            assert os.read(fd, 1000) == b"line %d\n" % i


@pytest.mark.parametrize("here", ["still there", "gone here", "gone there"])
def test_an_open_file_follows_under_whichever_of_its_names_it_was_opened(pair, here):
    alpha, beta = pair
    for folder in ("one", "two"):
        (alpha.mountpoint / folder).mkdir()
    write_file(alpha.mountpoint / "one" / "f", pattern(100000))
    os.link(alpha.mountpoint / "one" / "f", alpha.mountpoint / "two" / "g")
    sync(alpha, beta)
    for other, own in (("two/g", "one/f"), ("one/f", "two/g")):
        with opened(beta.mountpoint / own, os.O_RDONLY) as fd:
            assert len(os.pread(fd, 400000, 0)) == os.fstat(fd).st_size
            if here == "gone here":
                os.unlink(beta.mountpoint / other)
                sync(beta, alpha)
            elif here == "gone there":
                os.unlink(alpha.mountpoint / other)
                sync(alpha, beta)
            write_file(alpha.mountpoint / own, pattern(300000, seed=2))
            sync(alpha, beta)
            assert os.pread(fd, 400000, 0) == pattern(300000, seed=2)
            assert os.fstat(fd).st_nlink == (2 if here == "still there" else 1)
        os.truncate(alpha.mountpoint / own, 1000)
        if here != "still there":
            os.link(alpha.mountpoint / own, alpha.mountpoint / other)
        sync(alpha, beta)
        assert os.stat(beta.mountpoint / own).st_nlink == 2


def test_what_the_daemon_calls_a_file_by_is_anybodys_name(pair):
    alpha, beta = pair
    write_file(alpha.mountpoint / "f", b"content")
    name = f".snugfs-inode-{os.stat(alpha.mountpoint / 'f').st_ino}"
    assert not os.path.exists(alpha.mountpoint / name)
    sync(alpha, beta)
    assert not os.path.exists(beta.mountpoint / name)
    write_file(alpha.mountpoint / name, b"another")
    sync(alpha, beta)
    assert read_file(beta.mountpoint / name) == b"another" and read_file(beta.mountpoint / "f") == b"content"
    assert sorted(os.listdir(alpha.mountpoint)) == sorted(os.listdir(beta.mountpoint)) == [name, "f"]


def test_a_listed_folder_shows_the_conflict_copy_that_came_into_it(pair):
    alpha, beta = pair
    (alpha.mountpoint / "folder").mkdir()
    write_file(alpha.mountpoint / "folder" / "f", b"first")
    sync(alpha, beta)
    write_file(beta.mountpoint / "folder" / "f", b"of beta")
    write_file(alpha.mountpoint / "folder" / "f", b"alpha's")
    assert os.listdir(beta.mountpoint / "folder") == ["f"]
    sync(alpha, beta)
    names = sorted(os.listdir(beta.mountpoint / "folder"))
    assert len(names) == 2
    assert [read_file(beta.mountpoint / "folder" / name) for name in names] == [b"alpha's", b"of beta"]


def test_a_file_that_is_removed_elsewhere_stays_readable_for_who_has_it_open(pair):
    alpha, beta = pair
    write_file(alpha.mountpoint / "f", pattern(50000))
    sync(alpha, beta)
    with opened(beta.mountpoint / "f", os.O_RDONLY) as fd:
        os.unlink(alpha.mountpoint / "f")
        sync(alpha, beta)
        assert os.listdir(beta.mountpoint) == []
        assert os.pread(fd, 100000, 0) == pattern(50000)
    write_file(beta.mountpoint / "f", b"a new one")
    sync(beta, alpha)
    assert read_file(alpha.mountpoint / "f") == b"a new one"


def test_a_name_that_was_missing_appears_and_listings_follow(pair):
    alpha, beta = pair
    assert not os.path.exists(beta.mountpoint / "d" / "f")
    assert os.listdir(beta.mountpoint) == []
    os.mkdir(alpha.mountpoint / "d")
    write_file(alpha.mountpoint / "d" / "f", b"content")
    sync(alpha, beta)
    assert os.listdir(beta.mountpoint) == ["d"]
    assert read_file(beta.mountpoint / "d" / "f") == b"content"
    os.rename(alpha.mountpoint / "d" / "f", alpha.mountpoint / "g")
    sync(alpha, beta)
    assert sorted(os.listdir(beta.mountpoint)) == ["d", "g"]
    assert os.listdir(beta.mountpoint / "d") == []


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_folder_comes_back_that_was_removed_while_a_file_of_it_was_open(pair, how):
    alpha, beta = pair
    (alpha.mountpoint / "folder").mkdir()
    write_file(alpha.mountpoint / "folder" / "open", b"open")
    sync(alpha, beta)
    write_file(alpha.mountpoint / "folder" / "new", b"new")
    with opened(beta.mountpoint / "folder" / "open", os.O_RDONLY) as fd:
        os.unlink(beta.mountpoint / "folder" / "open")
        if how == "removed":
            os.rmdir(beta.mountpoint / "folder")
        else:
            os.mkdir(beta.mountpoint / "other")
            os.rename(beta.mountpoint / "other", beta.mountpoint / "folder")
        sync(alpha, beta)
        folder, = [path for path in beta.mountpoint.iterdir() if "conflict" not in path.name]
        assert os.listdir(folder) == ["new"]
        assert read_file(folder / "new") == b"new"
        write_file(folder / "another", b"another")
        assert os.pread(fd, 10, 0) == b"open"
    sync(beta, alpha)
    assert sorted(os.listdir(alpha.mountpoint / "folder")) == ["another", "new"]
