"""sync and join, and stores and disks that are missing, foreign, full or may not be written."""
import json
import os
import shutil
import subprocess

import pytest

from accounts import KEY, TIMEOUT, cli, mistype, needs_root, other, synced  # noqa: F401: fixtures
from conftest import binary

# Sync and join.

def test_join_opens_the_vault_on_a_second_computer_and_edits_flow_both_ways(synced, other):
    out = other.ok("join", other.mp, "--remote", synced.store, "--no-passphrase", "--device-name", "desktop",
                   stdin=synced.key + "\n").stdout
    assert f"snugfs mount {other.mp}" in out and not os.path.ismount(other.mp)
    other.ok("mount", other.mp)
    assert (other.mp / "file").read_text() == "hello"
    (other.mp / "answer").write_text("hi")
    other.ok("sync", other.mp)
    synced.ok("sync", synced.mp)
    assert (synced.mp / "answer").read_text() == "hi"
    assert "desktop" in [d["name"] for d in synced.status()["devices"]]
    assert [d["name"] for d in other.status()["devices"] if d["this"]] == ["desktop"]


def test_join_reads_the_key_from_a_file(synced, other):
    key_file = other.root / "key"
    key_file.write_text(synced.key + "\n")
    other.ok("join", other.mp, "--remote", f"dir:{synced.store}", "--no-passphrase", "--recovery-key-file", key_file)


def test_join_with_a_mistyped_or_foreign_key_makes_nothing(synced, other):
    third = KEY.search(other.ok("up", other.home / "x", "--no-passphrase").stdout).group()
    args = ["join", other.mp, "--remote", synced.store, "--no-passphrase"]
    other.fails(*args, stdin=mistype(synced.key) + "\n", saying=["group 3", "typo"])
    other.fails(*args, stdin=third + "\n", saying="recovery key")
    assert not other.vault_dir().exists()
    other.ok(*args, stdin=synced.key + "\n")


def test_join_needs_a_store_with_a_vault(cli):
    key = KEY.search(cli.up().stdout).group()
    args = ["join", cli.home / "B", "--no-passphrase", "--remote"]
    cli.fails(*args, cli.root / "missing", stdin=key + "\n", saying=str(cli.root / "missing"))
    (cli.root / "empty").mkdir()
    cli.fails(*args, cli.root / "empty", stdin=key + "\n", saying=str(cli.root / "empty"))
    assert not (cli.root / "missing").exists()


def test_join_does_not_touch_a_vault_that_is_there(synced):
    synced.fails("join", synced.mp, "--remote", synced.store, "--no-passphrase", stdin=synced.key + "\n", saying="already")


def test_a_store_that_holds_a_vault_is_not_taken_for_a_new_one(synced, other):
    for command in ("up", "init"):
        other.fails(command, other.mp, "--no-passphrase", "--remote", synced.store, saying=["already", "snugfs join"])
    assert not other.vault_dir().exists()


def test_sync_works_unmounted(synced):
    synced.ok("pause", synced.mp)  # or the daemon might do it first
    (synced.mp / "late").write_text("x" * 100000)
    synced.ok("unmount", synced.mp)
    before = sum(1 for p in synced.store.rglob("*") if p.is_file())
    synced.ok("sync", synced.mp)
    assert sum(1 for p in synced.store.rglob("*") if p.is_file()) > before


def test_sync_without_a_store_says_how_to_get_one(cli):
    cli.up()
    cli.fails("sync", cli.mp, saying=["no store", "--remote"])
    assert cli.status()["remote"] is None and "--remote" in cli.status()["next"]
    cli.ok("unmount", cli.mp)
    cli.fails("sync", cli.mp, saying=["no store", "--remote"])
    cli.up("--remote", cli.store)
    cli.ok("sync", cli.mp)
    assert cli.status()["remote"] == f"dir:{cli.store}"


def test_a_second_store_for_a_vault_is_refused(synced):
    synced.ok("unmount", synced.mp)
    synced.fails("up", synced.mp, "--remote", synced.root / "store2", saying=["one store", str(synced.store)])
    assert not (synced.root / "store2").exists()


def test_a_missing_store_does_not_keep_the_folder_closed(synced):
    synced.ok("unmount", synced.mp, "--wait")
    away = synced.root / "away"
    synced.store.rename(away)
    synced.ok("mount", synced.mp)
    assert (synced.mp / "file").read_text() == "hello"
    (synced.mp / "later").write_text("kept")
    assert str(synced.store) in synced.status()["problem"]["text"]
    synced.fails("sync", synced.mp, saying=str(synced.store))
    away.rename(synced.store)
    synced.ok("sync", synced.mp)
    assert synced.status()["problem"] is None and (synced.mp / "later").read_text() == "kept"


def test_a_store_whose_path_is_no_utf_8_is_shown(cli):
    up = ("up", cli.mp, "--no-passphrase", "--remote", cli.mp.parent / os.fsdecode(b"sto\xffre"))
    cli.ok(*up, errors="surrogateescape")
    cli.ok("sync", cli.mp)
    shown = f"dir:{cli.mp.parent}/sto\\xffre"
    assert cli.status()["remote"] == shown
    assert shown in cli.ok("status", cli.mp).stdout
    assert shown in cli.ok("remote", "show", cli.mp).stdout
    cli.ok(*up, errors="surrogateescape")
    cli.fails("device", "invite", cli.mp, saying=["no UTF-8", "no invitation can carry it"])


@pytest.mark.parametrize("name, why", [("sto\x9bre", "has control characters in it"), ("/".join(["s" * 250] * 5), "is too long")])
def test_no_invitation_is_made_that_cannot_carry_the_address_of_the_store(cli, name, why):
    store = cli.root / name
    store.mkdir(parents=True)
    cli.up("--remote", f"dir:{store}")
    cli.ok("sync", cli.mp)
    cli.fails("device", "invite", cli.mp, saying=[why, "no invitation can carry it"])
    assert json.loads(cli.ok("device", "list", cli.mp, "--json").stdout)["invitations"] == []


def test_unmount_wait_does_not_unmount_before_the_store_has_everything(synced):
    away = synced.root / "away"
    synced.store.rename(away)
    (synced.mp / "later").write_text("kept")
    synced.fails("unmount", synced.mp, "--wait", saying=str(synced.store))
    assert os.path.ismount(synced.mp)
    away.rename(synced.store)
    synced.ok("unmount", synced.mp, "--wait")


def test_the_store_of_another_vault_is_noticed_and_left_alone(synced, other):
    other.up("--remote", other.store)
    (other.mp / "theirs").write_text("x")
    other.ok("unmount", other.mp, "--wait")
    synced.ok("unmount", synced.mp, "--wait")
    synced.store.rename(synced.root / "mine")
    shutil.copytree(other.store, synced.store)
    before = sorted(p.name for p in synced.store.rglob("*"))
    synced.fails("sync", synced.mp, saying=str(synced.store))
    synced.ok("mount", synced.mp)
    synced.fails("sync", synced.mp, saying=str(synced.store))
    assert (synced.mp / "file").read_text() == "hello" and not (synced.mp / "theirs").exists()
    assert sorted(p.name for p in synced.store.rglob("*")) == before


# Disks that are full or may not be written.

@needs_root
def test_no_room_for_a_new_vault_leaves_nothing_behind(cli):
    disk = cli.root / "disk"
    cli.small_disk(disk, "64k")
    cli.fails("init", cli.mp, "--no-passphrase", "--vault", disk / "v", saying=["full", str(disk / "v")])
    assert list(disk.iterdir()) == []


@needs_root
def test_a_full_local_disk_fails_the_write_and_loses_nothing(cli):
    disk = cli.root / "disk"
    cli.small_disk(disk, "8m")
    cli.up("--vault", disk / "v")
    (cli.mp / "kept").write_text("kept")
    cli.ok("unmount", cli.mp)
    cli.ok("mount", cli.mp)
    with pytest.raises(OSError):
        with open(cli.mp / "big", "wb") as f:
            for _ in range(64):
                f.write(os.urandom(1 << 20))
                f.flush()
                os.fsync(f.fileno())
    assert (cli.mp / "kept").read_text() == "kept"
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    (cli.mp / "big").unlink()
    cli.ok("unmount", cli.mp)
    cli.ok("mount", cli.mp)
    assert os.listdir(cli.mp) == ["kept"] and (cli.mp / "kept").read_text() == "kept"


def test_a_limit_on_the_size_of_files_fails_the_write_and_loses_nothing(cli):
    cli.ok("init", cli.mp, "--no-passphrase")
    subprocess.run(["sh", "-c", f'ulimit -f 2000; exec "{binary()}" mount "{cli.mp}"'], env=cli.env, stdin=subprocess.DEVNULL,
                   check=True, timeout=TIMEOUT)
    (cli.mp / "before").write_text("here")
    with pytest.raises(OSError), open(cli.mp / "large", "wb") as f:
        for _ in range(8):
            f.write(os.urandom(1 << 20))
            os.fsync(f.fileno())
    assert (cli.mp / "before").read_text() == "here"
    cli.ok("unmount", cli.mp)
    cli.ok("mount", cli.mp)
    assert (cli.mp / "before").read_text() == "here"
    (cli.mp / "after").write_text("as ever")


@needs_root
def test_a_full_store_is_told_and_filled_later(cli):
    cli.small_disk(cli.store, "1m")
    cli.up("--remote", cli.store)
    cli.ok("sync", cli.mp)
    data = os.urandom(4 << 20)
    (cli.mp / "big").write_bytes(data)
    cli.fails("sync", cli.mp, saying=["full", str(cli.store)])
    assert "full" in cli.status()["problem"]["text"] and (cli.mp / "big").read_bytes() == data
    subprocess.run(["mount", "-o", "remount,size=64m", cli.store], check=True)
    cli.ok("sync", cli.mp)
    assert cli.status()["pending"] == {"bytes": 0, "files": 0, "names": 0, "since": None} and cli.status()["problem"] is None


def make_read_only(path, yes=True):
    if yes:
        subprocess.run(["mount", "--bind", path, path], check=True)
    subprocess.run(["mount", "-o", f"remount,bind,{'ro' if yes else 'rw'}", path], check=True)


@needs_root
def test_a_read_only_store_is_told_and_filled_later(synced):
    make_read_only(synced.store)
    (synced.mp / "late").write_text("kept")
    synced.fails("sync", synced.mp, saying=[str(synced.store)])
    assert synced.status()["problem"] is not None
    synced.ok("unmount", synced.mp)
    synced.fails("sync", synced.mp, saying=[str(synced.store)])
    make_read_only(synced.store, False)
    synced.ok("sync", synced.mp)


@needs_root
def test_a_read_only_store_gets_no_new_vault(cli):
    cli.store.mkdir()
    make_read_only(cli.store)
    cli.fails("init", cli.mp, "--no-passphrase", "--remote", cli.store, saying=[str(cli.store)])
    assert not cli.vault_dir().exists()
