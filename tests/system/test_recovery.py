"""Everything is lost but the store and a piece of paper, or some of the shares: the files come back."""
import os
import re
import shutil

import pytest

import reader
import trees

from accounts import KEY, cli, other  # noqa: F401: fixtures

SHARE = re.compile(r"^(?:[0-9A-HJKMNP-TV-Z]{4}-){8}[0-9A-HJKMNP-TV-Z]{4}$", re.MULTILINE)


@pytest.fixture
def lost(cli, other):
    """(the new computer, the store's address, what was in the folder, the old computer's recovery key): the old one is gone."""
    key = cli.root / "key"
    cli.up("--remote", f"dir:{cli.store}", "--recovery-key-file", key)
    (cli.mp / "folder").mkdir()
    (cli.mp / "folder" / "letter").write_text("dear reader")
    (cli.mp / "picture").write_bytes(bytes(range(256)) * 5000)
    (cli.mp / "link").symlink_to("folder/letter")
    cli.ok("sync", cli.mp)
    return cli, other, key


def lose_everything(cli):
    cli.ok("unmount", cli.mp)
    shutil.rmtree(cli.home / ".local")
    shutil.rmtree(cli.home / ".config", ignore_errors=True)


def all_is_back(other):
    other.ok("mount", other.mp)
    assert (other.mp / "folder" / "letter").read_text() == "dear reader"
    assert (other.mp / "picture").read_bytes() == bytes(range(256)) * 5000
    assert (other.mp / "link").readlink().as_posix() == "folder/letter"
    assert sorted(p.name for p in other.mp.iterdir()) == ["folder", "link", "picture"]


def split(cli, key, *words, **kwargs):
    return cli.ok("recovery-key", "split", cli.mp, "--recovery-key-file", key, *words, **kwargs)


def share_files(cli, texts):
    paths = []
    for i, text in enumerate(texts):
        paths.append(cli.root / f"typed-{i}")
        paths[-1].write_text(text + "\n")
    return [word for path in paths for word in ("--share-file", path)]


def test_the_store_and_the_paper_give_the_tree_back(lost):
    cli, other, key = lost
    paper = KEY.search(key.read_text()).group(0)
    lose_everything(cli)
    other.ok("join", other.mp, "--remote", f"dir:{cli.store}", "--no-passphrase", stdin=paper.lower().replace("-", " ") + "\n")
    all_is_back(other)


def test_the_store_and_two_of_three_shares_give_the_tree_back(lost):
    cli, other, key = lost
    split(cli, key, "--shares", 3, "--threshold", 2, "--to-dir", cli.root)
    kept = [cli.root / "share-1-of-3", cli.root / "share-3-of-3"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in kept)
    key.unlink()
    (cli.root / "share-2-of-3").unlink()
    lose_everything(cli)
    words = ["join", other.mp, "--remote", f"dir:{cli.store}", "--no-passphrase"]
    other.fails(*words, "--share-file", kept[0], saying="2 shares of the recovery key are needed, and here is 1")
    other.ok(*words, "--share-file", kept[1], "--share-file", kept[0])
    all_is_back(other)


def test_shares_can_be_typed_one_after_the_other(lost):
    cli, other, key = lost
    shares = SHARE.findall(split(cli, key, "--shares", 5, "--threshold", 3).stdout)
    assert len(shares) == 5 == len(set(shares))
    lose_everything(cli)
    typed = "\n".join([shares[4], shares[0].lower(), shares[2].replace("-", "")]) + "\n"
    other.ok("join", other.mp, "--remote", f"dir:{cli.store}", "--no-passphrase", stdin=typed)
    all_is_back(other)


def test_shares_are_checked_like_the_key_and_what_does_not_fit_is_told_apart(lost):
    cli, _, key = lost
    mine = SHARE.findall(split(cli, key, "--shares", 3, "--threshold", 2).stdout)
    others = SHARE.findall(split(cli, key, "--shares", 3, "--threshold", 2).stdout)
    check = ["recovery-key", "check", cli.mp]
    assert "This is the recovery key" in cli.ok(*check, *share_files(cli, mine[:2])).stdout
    assert "This is the recovery key" in cli.ok(*check, *share_files(cli, mine)).stdout
    cli.fails(*check, *share_files(cli, [mine[0], others[1]]), saying="another splitting")
    cli.fails(*check, *share_files(cli, [mine[0], mine[0]]), saying="given already (number 1)")
    cli.fails(*check, *share_files(cli, [mine[0]]), saying="are needed, and here is 1")
    wrong = ("1" if mine[1][10] != "1" else "2").join([mine[1][:10], mine[1][11:]])
    cli.fails(*check, *share_files(cli, [mine[0], wrong]), saying=["group 3 of share 2", f'probably be "{mine[1][10]}"'])
    cli.fails(*check, *share_files(cli, [mine[0], mine[1][:-5]]), saying="36 characters in nine groups")


def test_only_the_right_key_is_split_and_nothing_is_overwritten(lost):
    cli, _, key = lost
    other_key = cli.root / "other"
    other_key.write_text("000G-40R4-0M30-E209-185G-R38E-1WEC\n")
    words = ["--shares", 3, "--threshold", 2, "--to-dir", cli.root]
    cli.fails("recovery-key", "split", cli.mp, "--recovery-key-file", other_key, *words, saying="not the one of")
    (cli.root / "share-2-of-3").write_text("mine")
    done = cli.fails("recovery-key", "split", cli.mp, "--recovery-key-file", key, *words, saying="never written over anything")
    assert "are as good as" not in done.stdout
    assert (cli.root / "share-2-of-3").read_text() == "mine"
    assert not (cli.root / "share-1-of-3").exists()  # alone of its splitting it would be of no use, and in the way of the next
    words[-1] = cli.root / "nowhere"
    cli.fails("recovery-key", "split", cli.mp, *words, saying=f"the folder {cli.root}/nowhere does not exist")
    for shares, threshold in ((3, 4), (1, 1), (32, 2), ("x", 2)):
        done = cli.run("recovery-key", "split", cli.mp, "--shares", shares, "--threshold", threshold)
        assert done.returncode == 2


# Another recovery key, or none


def new_key(cli, key, name="new-key", **kwargs):
    path = cli.root / name
    cli.ok("recovery-key", "new", cli.mp, "--recovery-key-file", key, "--new-recovery-key-file", path, **kwargs)
    return path


def test_a_new_recovery_key_opens_everything_and_the_old_one_nothing_new(lost):
    cli, other, key = lost
    old = key.read_text()
    cli.fails("recovery-key", "new", cli.mp, "--recovery-key-file", key, saying="close it first")
    cli.ok("unmount", cli.mp)
    fresh = new_key(cli, key)
    check = ["recovery-key", "check", cli.mp, "--recovery-key-file"]
    assert "This is the recovery key" in cli.ok(*check, fresh).stdout
    cli.fails(*check, key, saying="not the one of")
    cli.ok("mount", cli.mp)
    (cli.mp / "later").write_text("only for the new key")
    cli.ok("sync", cli.mp)
    lose_everything(cli)
    words = ["join", other.mp, "--remote", f"dir:{cli.store}", "--no-passphrase", "--recovery-key-file"]
    other.fails(*words, key, saying="replaced")
    with pytest.raises(reader.Refused):
        reader.Vault(cli.store, KEY.search(old).group(0))
    names = [path for path, _ in reader.Vault(cli.store, KEY.search(fresh.read_text()).group(0)).walk()]
    assert b"later" in names
    other.ok(*words, fresh)
    other.ok("mount", other.mp)
    assert (other.mp / "later").read_text() == "only for the new key"
    assert (other.mp / "folder" / "letter").read_text() == "dear reader"


def test_a_file_that_was_damaged_here_before_it_was_sent_does_not_keep_the_old_recovery_key(lost):
    cli, _, key = lost
    cli.ok("pause", cli.mp)
    (cli.mp / "unsent").write_bytes(os.urandom(4 << 20))
    cli.ok("unmount", cli.mp)
    long = [path for path in (cli.vault_dir() / "segments").iterdir() if path.stat().st_size > 2 << 20]
    assert long
    for path in long:
        with open(path, "r+b") as f:
            f.seek(path.stat().st_size // 2)
            f.write(b"x" * 16)
    fresh = new_key(cli, key)
    check = ["recovery-key", "check", cli.mp, "--recovery-key-file"]
    cli.ok(*check, fresh)
    cli.fails(*check, key, saying="not the one of")
    cli.ok("mount", cli.mp)
    cli.fails("sync", cli.mp, saying='"unsent" can\'t be sent')


def test_a_new_recovery_key_opens_everything_also_without_a_base(lost):
    cli, other, key = lost
    cli.ok("unmount", cli.mp)
    fresh = new_key(cli, key)
    cli.ok("mount", cli.mp)
    (cli.mp / "later").write_text("only for the new key")
    cli.ok("sync", cli.mp)
    tree = trees.describe(cli.mp)
    bases = list((cli.store / "b").iterdir())
    assert bases
    for base in bases:
        base.unlink()
    vault = reader.Vault(cli.store, KEY.search(fresh.read_text()).group(0))
    assert {path for path, _ in vault.walk()} >= {b"later", b"folder/letter", b"picture", b"link"}
    out = other.root / "exported"
    other.ok("export", out, "--remote", f"dir:{cli.store}", "--recovery-key-file", fresh)
    assert (out / "picture").read_bytes() == (cli.mp / "picture").read_bytes()
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in cli.mp.iterdir())
    lose_everything(cli)
    words = ["join", other.mp, "--remote", f"dir:{cli.store}", "--no-passphrase", "--recovery-key-file"]
    other.fails(*words, key, saying="replaced")
    other.ok(*words, fresh)
    other.ok("mount", other.mp)
    assert trees.describe(other.mp) == tree


def test_a_replaced_recovery_key_unlocks_no_device_file_and_the_new_one_does(cli):
    key, passphrase = cli.root / "key", cli.root / "pass"
    passphrase.write_text("a passphrase\n")
    cli.mp.mkdir()
    cli.ok("init", cli.mp, "--passphrase-file", passphrase, "--recovery-key-file", key, "--remote", f"dir:{cli.store}")
    cli.ok("sync", cli.mp, "--passphrase-file", passphrase)
    fresh = cli.root / "new-key"
    cli.ok("recovery-key", "new", cli.mp, "--recovery-key-file", key, "--new-recovery-key-file", fresh, "--passphrase-file", passphrase)
    cli.fails("mount", cli.mp, "--with-recovery-key", "--recovery-key-file", key, saying="not the one of the vault")
    cli.ok("mount", cli.mp, "--with-recovery-key", "--recovery-key-file", fresh)


def test_only_the_recovery_key_itself_can_replace_or_remove_it(lost):
    cli, _, key = lost
    cli.ok("unmount", cli.mp)
    wrong = cli.root / "wrong"
    wrong.write_text("000G-40R4-0M30-E209-185G-R38E-1WEC\n")
    for verb in ("new", "remove"):
        cli.fails("recovery-key", verb, cli.mp, "--recovery-key-file", wrong, saying="only by itself")
    existing = cli.root / "existing"
    existing.write_text("mine")
    cli.fails("recovery-key", "new", cli.mp, "--recovery-key-file", key, "--new-recovery-key-file", existing, saying="exists already")
    assert existing.read_text() == "mine"
    assert "This is the recovery key" in cli.ok("recovery-key", "check", cli.mp, "--recovery-key-file", key).stdout


def test_without_its_store_the_recovery_key_stays_as_it_is(lost):
    cli, _, key = lost
    cli.ok("unmount", cli.mp)
    away = cli.root / "away"
    cli.store.rename(away)
    fresh = cli.root / "fresh"
    cli.fails("recovery-key", "new", cli.mp, "--recovery-key-file", key, "--new-recovery-key-file", fresh, saying="as it was")
    assert not fresh.exists()
    away.rename(cli.store)
    assert "This is the recovery key" in cli.ok("recovery-key", "check", cli.mp, "--recovery-key-file", key).stdout


def test_a_removed_recovery_key_opens_nothing_and_its_devices_go_on(lost):
    cli, other, key = lost
    cli.ok("unmount", cli.mp)
    cli.ok("recovery-key", "remove", cli.mp, "--recovery-key-file", key)
    cli.fails("recovery-key", "check", cli.mp, "--recovery-key-file", key, saying="not the one of")
    cli.ok("mount", cli.mp)
    (cli.mp / "later").write_text("only for devices")
    cli.ok("sync", cli.mp)
    other.fails("join", other.mp, "--remote", f"dir:{cli.store}", "--no-passphrase", "--recovery-key-file", key)
    with pytest.raises(reader.Refused):
        reader.Vault(cli.store, KEY.search(key.read_text()).group(0))
