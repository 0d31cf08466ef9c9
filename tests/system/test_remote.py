"""The store of a vault: shown, tried, and changed for another without losing anything."""
import json
import shutil

import pytest

from accounts import Cli, cli, other, synced  # noqa: F401: fixtures
from conftest import wait_until


@pytest.fixture
def unmounted(synced):
    (synced.mp / "folder").mkdir()
    (synced.mp / "folder" / "large").write_bytes(bytes(range(256)) * 9000)
    synced.ok("unmount", synced.mp, "--wait")
    synced.new = synced.root / "new store"
    return synced


def objects(store):
    return {str(p.relative_to(store)) for p in store.rglob("*") if p.is_file()}


def test_remote_show_says_where_and_what(synced):
    shown = json.loads(synced.ok("remote", "show", synced.mp, "--json").stdout)
    assert shown["url"] == f"dir:{synced.store}" and shown["kind"] == "dir" and shown["credentials"] is None
    assert shown["head"]["number"] >= 0 and len(shown["head"]["sha256"]) == 64 and shown["last_contact"] > 0
    text = synced.ok("remote", "show", synced.mp).stdout
    assert f"dir:{synced.store}" in text and f"commit {shown['head']['number']}, " in text
    synced.ok("unmount", synced.mp)
    assert json.loads(synced.ok("remote", "show", synced.mp, "--json").stdout)["head"] == shown["head"]


def test_remote_show_without_a_store_says_how_to_get_one(cli):
    cli.up()
    cli.fails("remote", "show", cli.mp, saying=("has no store", "--remote URL"))


def test_remote_test_says_a_sentence_for_each_thing(synced):
    done = synced.ok("remote", "test", synced.store)
    lines = done.stdout.splitlines()
    assert len(lines) >= 6 and all(line.startswith("ok  ") and line.endswith(".") for line in lines), done.stdout
    before = objects(synced.store)
    tested = json.loads(synced.ok("remote", "test", f"dir:{synced.store}", "--json").stdout)
    assert {f["verdict"] for f in tested["findings"].values()} <= {"good", "skipped"}
    assert tested["findings"]["conditional-create"]["verdict"] == "good" and tested["up_per_s"] > 0
    assert objects(synced.store) == before


def test_remote_test_of_what_is_not_there_fails(cli):
    cli.fails("remote", "test", cli.root / "nothing", saying="there is no store at")


@pytest.mark.parametrize("content, words", [("", "must have the access key"), ("AKID\n", "must have the access key")])
def test_half_a_file_of_keys_is_refused(synced, content, words):
    keys = synced.home / "keys"
    keys.write_text(content)
    synced.fails("remote", "test", synced.store, "--credentials-file", keys, saying=words)


def test_remote_set_brings_everything_to_the_new_store(unmounted, other):
    old = objects(unmounted.store)
    done = unmounted.ok("remote", "set", unmounted.mp, unmounted.new, "--no-passphrase")
    assert "Copied: " in done.stdout and "other devices" in done.stdout
    assert objects(unmounted.store) >= old
    shutil.rmtree(unmounted.store)
    other.ok("join", other.mp, "--remote", unmounted.new, "--no-passphrase", stdin=unmounted.key + "\n")
    other.ok("mount", other.mp)
    assert (other.mp / "file").read_text() == "hello"
    assert (other.mp / "folder" / "large").read_bytes() == bytes(range(256)) * 9000
    unmounted.ok("mount", unmounted.mp)
    assert unmounted.status()["remote"] == f"dir:{unmounted.new}"
    (unmounted.mp / "after").write_text("after")
    unmounted.ok("sync", unmounted.mp)
    other.ok("sync", other.mp)
    assert (other.mp / "after").read_text() == "after"


def test_what_was_pending_comes_along(unmounted, other):
    unmounted.ok("pause", unmounted.mp)
    unmounted.ok("mount", unmounted.mp)
    (unmounted.mp / "pending").write_text("pending")
    unmounted.ok("unmount", unmounted.mp)
    unmounted.ok("remote", "set", unmounted.mp, unmounted.new)
    other.ok("join", other.mp, "--remote", unmounted.new, "--no-passphrase", stdin=unmounted.key + "\n")
    other.ok("mount", other.mp)
    assert (other.mp / "pending").read_text() == "pending"


def test_the_second_device_goes_over_without_copying_and_both_go_on(unmounted, other):
    other.ok("join", other.mp, "--remote", unmounted.store, "--no-passphrase", stdin=unmounted.key + "\n")
    unmounted.ok("remote", "set", unmounted.mp, unmounted.new)
    assert "Copied" not in other.ok("remote", "set", other.mp, unmounted.new).stdout
    other.ok("mount", other.mp)
    (other.mp / "hello").write_text("from the other")
    other.ok("sync", other.mp)
    unmounted.ok("mount", unmounted.mp)
    unmounted.ok("sync", unmounted.mp)
    assert (unmounted.mp / "hello").read_text() == "from the other"


def test_a_device_that_went_on_in_the_old_store_is_told_and_destroys_nothing(unmounted, other):
    other.ok("join", other.mp, "--remote", unmounted.store, "--no-passphrase", stdin=unmounted.key + "\n")
    unmounted.ok("remote", "set", unmounted.mp, unmounted.new)
    for one in (unmounted, other):
        one.ok("mount", one.mp)
        (one.mp / "news").write_text(str(one.home))
        one.ok("sync", one.mp)
        one.ok("unmount", one.mp)
    before = objects(unmounted.new)
    other.fails("remote", "set", other.mp, unmounted.new, saying="has gone on without")
    assert objects(unmounted.new) == before
    other.ok("sync", other.mp)


def test_a_copy_that_was_interrupted_goes_on(unmounted):
    unmounted.new.mkdir()
    shutil.copytree(unmounted.store / "s", unmounted.new / "s")
    shutil.copy(unmounted.store / "v", unmounted.new / "v")
    (unmounted.new / "tmp").mkdir()
    unmounted.ok("remote", "set", unmounted.mp, unmounted.new)
    assert objects(unmounted.new) == objects(unmounted.store)


def test_when_the_old_store_is_away_a_copy_of_it_will_do_and_nothing_else(unmounted):
    away = unmounted.root / "away"
    unmounted.store.rename(away)
    unmounted.fails("remote", "set", unmounted.mp, unmounted.new, saying="the vault stays where it is")
    shutil.rmtree(unmounted.new)
    shutil.copytree(away, unmounted.new)
    unmounted.ok("remote", "set", unmounted.mp, unmounted.new)
    unmounted.ok("sync", unmounted.mp)


def test_a_store_of_somebody_else_is_refused_and_left_alone(unmounted, other):
    other.up("--remote", unmounted.new)
    other.ok("sync", other.mp)
    before = objects(unmounted.new)
    unmounted.fails("remote", "set", unmounted.mp, unmounted.new, saying="holds another vault")
    assert objects(unmounted.new) == before
    (unmounted.new / "v").unlink()
    unmounted.fails("remote", "set", unmounted.mp, unmounted.new, saying="is not empty")
    unmounted.ok("sync", unmounted.mp)


@pytest.mark.parametrize("name", ["Photo.jpg", "letter.txt", ".hidden"])
def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(unmounted, name):
    unmounted.new.mkdir()
    (unmounted.new / name).write_text("mine")
    unmounted.fails("remote", "set", unmounted.mp, unmounted.new, saying="is not empty")
    assert [p.name for p in unmounted.new.iterdir()] == [name]
    unmounted.ok("sync", unmounted.mp)


def test_what_lies_beside_the_vaults_own_store_does_not_matter(unmounted):
    (unmounted.store / "README.txt").write_text("mine")
    unmounted.ok("remote", "set", unmounted.mp, unmounted.store)


def test_a_mounted_folder_is_to_be_unmounted_first(synced):
    synced.fails("remote", "set", synced.mp, synced.root / "new", saying=("is mounted", "unmount it"))
    assert not (synced.root / "new").exists()


def test_keys_that_are_kept_are_nowhere_in_the_clear(unmounted):
    keys = unmounted.home / "keys"
    keys.write_text("AKIDPLANTED\nplanted/secret+key\n")
    unmounted.ok("remote", "set", unmounted.mp, unmounted.store, "--credentials-file", keys)
    unmounted.ok("mount", unmounted.mp)
    (unmounted.mp / "more").write_text("more")
    unmounted.ok("sync", unmounted.mp)
    unmounted.ok("unmount", unmounted.mp)
    for path in unmounted.vault_dir().rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"AKIDPLANTED" not in content and b"planted/secret+key" not in content, path


@pytest.mark.parametrize("args", [("dir:/x", "--credentials-file", "f", "--ask-credentials"), ("ftp:nothing",)])
def test_wrong_usage_of_remote_set(unmounted, args):
    assert unmounted.run("remote", "set", unmounted.mp, *args).returncode == 2
