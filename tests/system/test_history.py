"""What became of files, and bringing them back: with the commands, on mounted and unmounted folders."""
import datetime
import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

import conftest
import trees
from test_main_job import asked as computers  # pylint: disable=unused-import


def versions(vault, path, *args):
    return json.loads(vault.run("versions", vault.mountpoint / path, "--json", *args).stdout)


def restore(vault, path, *args, check=True):
    return vault.run("restore", vault.mountpoint / path, *args, check=check)


def write(vault, path, text):
    (vault.mountpoint / path).write_text(text, encoding="utf-8")


def make_tree(top):
    """A bit of everything, in two folders."""
    (top / "deep" / "er").mkdir(parents=True)
    (top / "deep" / "er" / "text").write_text("some text\n")
    (top / "big").write_bytes(os.urandom(3 << 20))
    with open(top / "sparse", "wb") as f:
        f.seek(20 << 20)
        f.write(b"end")
    os.truncate(top / "sparse", 30 << 20)
    os.link(top / "big", top / "deep" / "big too")
    os.symlink("er/text", top / "deep" / "link")
    os.mkfifo(top / "deep" / "fifo")
    (top / "empty").touch()
    os.setxattr(top / "empty", "user.colour", b"blue")
    os.chmod(top / "empty", 0o440)
    os.utime(top / "deep" / "er", ns=(10**18, 10**18 + 7))


def test_every_version_of_a_file_comes_back_byte_for_byte_on_either_computer(computers):
    alpha = computers.first()
    contents = [os.urandom(size) for size in (10, 5000, 200000, 3 << 20, 100)]
    (alpha.mountpoint / "file").write_bytes(contents[0])
    computers.sync(alpha)
    beta = computers.join()
    for content, who, other in zip(contents[1:], (beta, alpha, beta, alpha), (alpha, beta, alpha, beta)):
        (who.mountpoint / "file").write_bytes(content)
        computers.sync(who, other)
    for vault in (alpha, beta):
        vault.run("pause", vault.mountpoint, "--vault", vault.dir)  # what is restored on one is not to come to the other
    for vault in (alpha, beta):
        found = versions(vault, "file")
        assert [v["size"] for v in found["versions"]] == [len(c) for c in reversed(contents)]
        assert [v["device"] for v in found["versions"]] == ["alpha", "beta", "alpha", "beta", "alpha"]
        assert found["versions"][-1]["changes"][0] == "created" and found["complete"] and not found["deleted"]
        for v, content in zip(found["versions"], reversed(contents)):
            restore(vault, "file", "--at", f"commit {v['commit']}", "--to", vault.mountpoint / f"as of {v['commit']}")
            assert (vault.mountpoint / f"as of {v['commit']}").read_bytes() == content
            restore(vault, "file", "--at", v["time"], "--overwrite")
            assert (vault.mountpoint / "file").read_bytes() == content


def test_a_deleted_tree_comes_back_as_it_was_from_a_folder_that_is_mounted_or_not(computers):
    alpha = computers.first()
    (alpha.mountpoint / "project").mkdir()
    make_tree(alpha.mountpoint / "project")
    before = trees.describe(alpha.mountpoint)
    computers.sync(alpha)
    shutil.rmtree(alpha.mountpoint / "project")
    computers.sync(alpha)
    assert not (alpha.mountpoint / "project").exists()
    assert [v["name"] for v in versions(alpha, ".", "--deleted")["versions"]] == ["project"]
    assert versions(alpha, "project/deep/er/text")["versions"][0]["changes"] == ["deleted"]
    restore(alpha, "project")
    assert_same_files(before, trees.describe(alpha.mountpoint))
    # One file, and the folders that it was in.
    shutil.rmtree(alpha.mountpoint / "project")
    computers.sync(alpha)
    restore(alpha, "project/deep/er/text")
    assert os.listdir(alpha.mountpoint / "project" / "deep") == ["er"]
    shutil.rmtree(alpha.mountpoint / "project")
    alpha.unmount("--wait")
    restore(alpha, "project", "--at", "commit 1")
    alpha.mount()
    assert_same_files(before, trees.describe(alpha.mountpoint))


def assert_same_files(before, after):
    """The same but for inode numbers."""
    def without_numbers(tree):
        files, links = tree
        return {path: (*seen[:6], *seen[7:]) for path, seen in files.items()}, links

    assert trees.compare(without_numbers(before), without_numbers(after)) == []


def test_what_is_restored_stands_beside_what_is_there(computers):
    alpha = computers.first()
    write(alpha, "tax.ods", "then")
    computers.sync(alpha)
    write(alpha, "tax.ods", "now")
    computers.sync(alpha)
    told = restore(alpha, "tax.ods", "--at", "commit 1").stdout
    names = sorted(os.listdir(alpha.mountpoint))
    assert len(names) == 2 and names[0].startswith("tax (as of 20") and names[0].endswith(").ods") and names[0] in told
    assert (alpha.mountpoint / names[0]).read_text() == "then"
    assert (alpha.mountpoint / "tax.ods").read_text() == "now"
    restore(alpha, "tax.ods", "--at", "commit 1")
    assert len(os.listdir(alpha.mountpoint)) == 3
    refused = restore(alpha, "tax.ods", "--at", "commit 1", "--to", alpha.mountpoint / "tax.ods", check=False)
    assert refused.returncode == 1 and "is there already" in refused.stderr
    restore(alpha, "tax.ods", "--at", "commit 1", "--overwrite")
    assert (alpha.mountpoint / "tax.ods").read_text() == "then"


def test_a_program_that_has_the_file_open_keeps_the_one_it_has_and_sees_the_restored_one_by_name(computers):
    alpha = computers.first()
    write(alpha, "file", "then")
    computers.sync(alpha)
    write(alpha, "file", "now!!")
    computers.sync(alpha)
    with open(alpha.mountpoint / "file", "rb") as f:
        assert f.read() == b"now!!"
        restore(alpha, "file", "--at", "commit 1", "--overwrite")
        f.seek(0)
        assert f.read() == b"now!!"
    assert (alpha.mountpoint / "file").read_bytes() == b"then"
    assert not (alpha.mountpoint / "gone").exists()


def test_renamed_and_replaced_files_keep_their_history(computers):
    alpha = computers.first()
    write(alpha, "draft", "one")
    computers.sync(alpha)
    (alpha.mountpoint / "letters").mkdir()
    os.rename(alpha.mountpoint / "draft", alpha.mountpoint / "letters" / "final")
    computers.sync(alpha)
    write(alpha, "letters/.final.new", "two!")  # as editors save
    os.rename(alpha.mountpoint / "letters" / ".final.new", alpha.mountpoint / "letters" / "final")
    computers.sync(alpha)
    os.rename(alpha.mountpoint / "letters", alpha.mountpoint / "mail")
    computers.sync(alpha)
    found = versions(alpha, "mail/final")["versions"]
    assert [(v["commit"], v["size"]) for v in found] == [(3, 4), (2, 3), (1, 3)]
    text = alpha.run("versions", alpha.mountpoint / "mail" / "final").stdout
    assert 'called "final" from here on' in text and text.count("\n") == 3
    # The path of today for a file that lay elsewhere then, and the path of then.
    restore(alpha, "letters/final", "--at", "commit 2", "--to", alpha.mountpoint / "a")
    assert (alpha.mountpoint / "a").read_text() == "one"
    restore(alpha, "mail/final", "--at", "commit 3", "--to", alpha.mountpoint / "b")
    assert (alpha.mountpoint / "b").read_text() == "two!"


def test_bytes_that_only_the_store_has_come_back_too(computers):
    alpha = computers.first()
    contents = os.urandom(2 << 20)
    (alpha.mountpoint / "file").write_bytes(contents)
    computers.sync(alpha)
    (alpha.mountpoint / "file").write_bytes(b"short now")
    computers.sync(alpha)
    alpha.unmount("--wait")
    for segment in (alpha.dir / "segments").iterdir():
        segment.unlink()
    alpha.mount()
    restore(alpha, "file", "--at", "commit 1", "--overwrite")
    assert (alpha.mountpoint / "file").read_bytes() == contents


def test_a_name_that_is_no_text_can_be_restored(computers):
    alpha = computers.first()
    name = os.fsencode(alpha.mountpoint) + b"/\xff\xfe\n \"quoted\""
    with open(name, "wb") as f:
        f.write(b"content")
    computers.sync(alpha)
    os.unlink(name)
    computers.sync(alpha)
    shown = '\\xff\\xfe\n "quoted"'
    assert versions(alpha, "", "--deleted")["versions"][0]["name"] == shown
    done = subprocess.run([os.fsencode(conftest.binary()), b"restore", name, b"--json"], env=alpha.env, check=True,
                          stdin=subprocess.DEVNULL, capture_output=True)
    assert json.loads(done.stdout)["path"] == shown
    with open(name, "rb") as f:
        assert f.read() == b"content"


def test_what_is_no_text_and_never_was_there_is_not_restored(computers):
    alpha = computers.first()
    write(alpha, "file", "text")
    computers.sync(alpha)
    for args in (("versions",), ("restore",), ("restore", "--at", "commit 0")):
        done = subprocess.run([conftest.binary(), *args, os.fsencode(alpha.mountpoint) + b"/not \xff"], env=alpha.env, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True)
        assert done.returncode == 1 and b'nothing called "not \\xff"' in done.stderr, done
    assert os.listdir(alpha.mountpoint) == ["file"]


def test_names_are_no_orders_to_the_terminal(computers):
    alpha = computers.first()
    name = "red\x1b[31m\x9b\x07"
    write(alpha, name, "text")
    computers.sync(alpha)
    assert versions(alpha, name)["versions"][0]["name"] == name
    (alpha.mountpoint / name).unlink()
    computers.sync(alpha)
    said = [alpha.run("versions", alpha.mountpoint, "--deleted").stdout, restore(alpha, name, "--at", "commit 1").stdout,
            restore(alpha, name + "?", "--at", "commit 1", check=False).stderr]
    for text in said:
        assert "red?[31m" in text
        assert not set(text) & {"\x1b", "\x9b", "\x07"}


def test_what_cannot_be_is_said_in_a_sentence(computers):
    alpha = computers.first()
    write(alpha, "file", "text")
    computers.sync(alpha)
    cases = [
        (("file",), "say with --at TIME"),
        (("file", "--at", "soonish"), "is no time that is understood"),
        (("file", "--at", "1999-01-01"), "history begins at"),
        (("file", "--at", "commit 8"), "there is no commit 8 yet"),
        (("never", "--at", "now"), 'there was nothing called "never"'),
        (("never",), "was in the store for as long as history is kept"),
        (("file", "--at", "now", "--to", "/tmp/elsewhere"), "in no folder that snugfs keeps"),
    ]
    for args, text in cases:
        done = restore(alpha, *args, check=False)
        assert done.returncode == 1 and text in done.stderr, done.stderr
    done = alpha.run("versions", alpha.mountpoint / "never", check=False)
    assert done.returncode == 1 and "was in the store for as long as history is kept" in done.stderr
    write(alpha, "file", "later text")
    assert versions(alpha, "file")["pending"]


def test_a_folder_without_a_store_has_no_history(mounted):
    (mounted.mountpoint / "file").write_text("text")
    done = mounted.run("versions", mounted.mountpoint / "file", check=False)
    assert done.returncode == 1 and "no store" in done.stderr


def test_a_store_that_shows_older_commits_for_newer_ones_is_refused_by_name(computers):
    alpha = computers.first()
    for text in ("one", "two", "three"):
        write(alpha, "file", text)
        computers.sync(alpha)
    shutil.copy(computers.store / "c" / "000000000001", computers.store / "c" / "000000000002")
    done = restore(alpha, "file", "--at", "commit 2", check=False)
    assert done.returncode == 1 and "commit 2" in done.stderr and "is not the one that this device has seen" in done.stderr
    assert os.listdir(alpha.mountpoint) == ["file"]
    assert (alpha.mountpoint / "file").read_text() == "three"


def test_moments_are_those_of_the_local_clock(computers):
    alpha = computers.first()
    write(alpha, "file", "one")
    computers.sync(alpha)
    time.sleep(1.1)  # times are given in seconds
    between = datetime.datetime.now()
    time.sleep(1.1)
    write(alpha, "file", "two")
    computers.sync(alpha)
    restore(alpha, "file", "--at", between.strftime("%Y-%m-%d %H:%M:%S"), "--to", alpha.mountpoint / "a")
    assert (alpha.mountpoint / "a").read_text() == "one"
    restore(alpha, "file", "--at", "now", "--to", alpha.mountpoint / "b")
    assert (alpha.mountpoint / "b").read_text() == "two"


def past(vault, moment):
    return vault.mountpoint / ".snugfs" / "at" / moment


def test_the_whole_folder_as_it_was_is_in_a_hidden_folder(computers):
    alpha = computers.first()
    make_tree(alpha.mountpoint)
    before = trees.describe(alpha.mountpoint)
    computers.sync(alpha)
    shutil.rmtree(alpha.mountpoint / "deep")
    write(alpha, "big", "small now")
    os.rename(alpha.mountpoint / "sparse", alpha.mountpoint / "elsewhere")
    computers.sync(alpha)
    after = trees.describe(alpha.mountpoint)
    assert_seen(before, past(alpha, "commit 1"))
    assert_seen(after, past(alpha, "commit 2"))
    assert_seen(after, past(alpha, "now"))
    assert_seen(before, past(alpha, "commit 1"))
    beta = computers.join()
    assert_seen(before, past(beta, "commit 1"))
    for name in os.listdir(alpha.mountpoint / ".snugfs" / "at"):
        assert datetime.datetime.strptime(name, "%Y-%m-%d %H:%M:%S")
        assert past(alpha, name).is_dir()
    assert os.listdir(alpha.mountpoint / ".snugfs") == ["at"]


def assert_seen(then, top):
    """As it was then but for inode numbers, and write bits that nobody has there."""
    def comparable(tree):
        files, links = tree
        return {path: (seen[0] & ~0o222, *seen[1:6], *seen[7:]) for path, seen in files.items()}, links

    assert trees.compare(comparable(then), comparable(trees.describe(top))) == []


def test_no_listing_shows_the_hidden_folder_and_nobody_can_take_its_name(computers):
    alpha = computers.first()
    write(alpha, "file", "text")
    computers.sync(alpha)
    assert os.listdir(past(alpha, "commit 1")) == ["file"]
    assert os.listdir(alpha.mountpoint) == ["file"]
    copy = computers.root / "copy"
    subprocess.run(["rsync", "-a", "--delete", f"{alpha.mountpoint}/", str(copy)], check=True)
    assert os.listdir(copy) == ["file"]
    hidden = alpha.mountpoint / ".snugfs"
    for attempt in (lambda: hidden.mkdir(), lambda: os.rmdir(hidden), lambda: hidden.write_text("x"),
                    lambda: os.rename(alpha.mountpoint / "file", hidden), lambda: os.rename(hidden, alpha.mountpoint / "x"),
                    lambda: os.symlink("x", hidden), lambda: os.link(alpha.mountpoint / "file", hidden)):
        with pytest.raises(OSError):
            attempt()
    assert os.listdir(alpha.mountpoint) == ["file"]


def test_who_waits_for_the_past_can_be_killed_and_who_comes_later_gets_it(computers):
    """The store lies in the folder of another vault, whose daemon is stopped: who touches it waits."""
    outer = computers.another()
    outer.up()
    computers.remote = f"dir:{outer.mountpoint}/store"
    alpha = computers.first()
    for text in ("one", "two"):
        write(alpha, "file", text)
        computers.sync(alpha)
    beta = computers.join()
    outer.signal(signal.SIGSTOP)
    try:
        waiting = [subprocess.Popen(["ls", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                   for path in (past(beta, "commit 1"), past(beta, "commit 1"), past(beta, "commit 2") / "file")]
        for process in waiting:
            conftest.wait_until(lambda p=process: conftest.is_asleep(p.pid), "it to wait")
        for process in waiting:
            process.kill()
            assert process.wait(timeout=300) < 0
        assert os.listdir(beta.mountpoint) == ["file"]
    finally:
        outer.signal(signal.SIGCONT)
    assert os.listdir(past(beta, "commit 1")) == ["file"]
    assert (past(beta, "commit 1") / "file").read_text() == "one"
    for vault in (alpha, beta):  # before what their store is in
        vault.unmount()


def test_nothing_in_the_past_can_be_changed(computers):
    alpha = computers.first()
    write(alpha, "file", "text")
    (alpha.mountpoint / "dir").mkdir()
    computers.sync(alpha)
    top = past(alpha, "commit 1")
    for attempt in (lambda: (top / "new").mkdir(), lambda: (top / "file").unlink(), lambda: os.rmdir(top / "dir"),
                    lambda: os.truncate(top / "file", 1), lambda: os.chmod(top / "file", 0o777),
                    lambda: os.utime(top / "file"), lambda: os.setxattr(top / "file", "user.x", b"y"),
                    lambda: os.rename(top / "file", top / "dir" / "file"), lambda: (top / "other").write_text("x"),
                    lambda: os.symlink("x", top / "link")):
        with pytest.raises(OSError) as refused:
            attempt()
        assert refused.value.errno == errno.EROFS
    with pytest.raises(OSError) as refused:
        os.link(top / "file", alpha.mountpoint / "linked")
    assert refused.value.errno == errno.EXDEV
    assert (top / "file").read_text() == "text" and sorted(os.listdir(top)) == ["dir", "file"]


def test_what_is_no_moment_is_not_there(computers):
    alpha = computers.first()
    write(alpha, "file", "text")
    computers.sync(alpha)
    for name in ("nonsense", "2026-13-01", "commit"):
        assert not past(alpha, name).exists()
    for name in ("1999-01-01", "commit 8"):
        with pytest.raises(OSError) as refused:
            os.listdir(past(alpha, name))
        assert refused.value.errno == errno.ENODATA
        assert not (past(alpha, name) / "file").exists()
    assert not (alpha.mountpoint / ".snugfs" / "of").exists()


def test_more_moments_than_are_kept_open_can_be_visited_in_turn(computers):
    alpha = computers.first()
    for number in range(5):
        write(alpha, "file", f"version {number}")
        computers.sync(alpha)
    with open(past(alpha, "commit 1") / "file", encoding="ascii") as f:
        for _ in range(2):
            for number in range(5):
                assert (past(alpha, f"commit {number + 1}") / "file").read_text() == f"version {number}"
        assert f.read() == "version 0"
    assert len(os.listdir(alpha.dir / "history")) <= 2
    shutil.copy(past(alpha, "commit 4") / "file", alpha.mountpoint / "copy")
    assert (alpha.mountpoint / "copy").read_text() == "version 3"
