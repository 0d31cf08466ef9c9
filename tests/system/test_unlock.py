"""The ways to unlock a vault: each opens it, none opens more than it should, and what was taken away stays away."""
import json
import os
import re
import shutil

import pytest

from accounts import Cli, one_sentence
from conftest import new_root, wait_until
from unlockers import Keyring, Tpm


@pytest.fixture
def cli():
    c = Cli(new_root())
    c.mp.mkdir()
    yield c
    c.clean_up()


@pytest.fixture
def keyring(cli):
    k = Keyring()
    k.log_in()
    cli.env["DBUS_SESSION_BUS_ADDRESS"] = k.address
    yield k
    k.close()


@pytest.fixture
def tpm(cli):
    t = Tpm()
    cli.env["SNUGFS_TPM"] = t.tcti()
    yield t
    t.close()


def written(cli, name, text):
    path = cli.root / name
    path.write_text(text + "\n" if isinstance(text, str) else text)
    return path


def make(cli, passphrase="the first one"):
    """A vault with a passphrase and its recovery key in a file; not mounted."""
    pass_file = written(cli, "pass", passphrase)
    key = cli.root / "recovery-key"
    cli.ok("init", cli.mp, "--passphrase-file", pass_file, "--recovery-key-file", key)
    cli.ok("recovery-key", "check", cli.mp, "--passphrase-file", pass_file, "--recovery-key-file", key)
    return pass_file, key


def method(cli, *words, **kwargs):
    return cli.ok("unlock-method", *words, **kwargs)


def listed(cli):
    return json.loads(method(cli, "list", cli.mp, "--json").stdout)


def kinds(cli):
    return sorted(m["kind"] for m in listed(cli)["methods"])


def id_of(cli, kind):
    return next(m["id"] for m in listed(cli)["methods"] if m["kind"] == kind)


def opens(cli, *words):
    cli.ok("mount", cli.mp, *words)
    cli.ok("unmount", cli.mp)
    wait_until(lambda: not cli.daemons(), "the daemon's end")


def device_file(cli):
    return cli.vault_dir() / "device"


# Passphrases


def test_a_changed_passphrase_opens_and_the_old_one_does_not(cli):
    old, _ = make(cli)
    new = written(cli, "new", "the second one")
    done = method(cli, "change-passphrase", cli.mp, "--passphrase-file", old, "--new-passphrase-file", new)
    assert "old copy" in done.stdout, "a plain passphrase cannot keep old copies from opening, and that is said"
    opens(cli, "--passphrase-file", new)
    cli.fails("mount", cli.mp, "--passphrase-file", old, saying="wrong passphrase")
    assert kinds(cli) == ["passphrase", "recovery-key"]


def test_a_passphrase_can_be_changed_while_the_vault_is_mounted(cli):
    old, _ = make(cli)
    new = written(cli, "new", "the second one")
    cli.ok("mount", cli.mp, "--passphrase-file", old)
    method(cli, "change-passphrase", cli.mp, "--passphrase-file", old, "--new-passphrase-file", new)
    (cli.mp / "a").write_text("still works")
    cli.ok("unmount", cli.mp)
    opens(cli, "--passphrase-file", new)


def test_a_second_passphrase_can_be_added_and_removed_and_the_last_way_can_not(cli):
    first, _ = make(cli)
    second = written(cli, "second", "of somebody else")
    method(cli, "add", cli.mp, "passphrase", "--passphrase-file", first, "--new-passphrase-file", second, "--label", "for Ann")
    opens(cli, "--passphrase-file", second)
    opens(cli, "--passphrase-file", first)
    ann = next(m for m in listed(cli)["methods"] if m["label"] == "for Ann")
    assert "for Ann" in method(cli, "list", cli.mp).stdout
    method(cli, "remove", cli.mp, ann["id"][:6], "--passphrase-file", first)
    cli.fails("mount", cli.mp, "--passphrase-file", second, saying="wrong passphrase")
    cli.fails("unlock-method", "remove", cli.mp, id_of(cli, "passphrase"), "--passphrase-file", first, saying="last way")
    cli.fails("unlock-method", "remove", cli.mp, "ffff", "--passphrase-file", first, saying="no way to unlock has the id")
    cli.fails("unlock-method", "remove", cli.mp, id_of(cli, "recovery-key"), "--passphrase-file", first, saying="outranks")


def test_a_wrong_passphrase_changes_nothing(cli):
    make(cli)
    wrong = written(cli, "wrong", "not this one")
    before = device_file(cli).read_bytes()
    for words in (["add", cli.mp, "passphrase"], ["change-passphrase", cli.mp], ["remove", cli.mp, id_of(cli, "passphrase")]):
        more = [] if words[0] == "remove" else ["--new-passphrase-file", wrong]
        cli.fails("unlock-method", *words, "--passphrase-file", wrong, *more, saying="wrong passphrase")
    assert device_file(cli).read_bytes() == before


def test_a_vault_without_a_passphrase_gets_one(cli):
    cli.ok("init", cli.mp, "--no-passphrase", "--recovery-key-file", cli.root / "key")
    new = written(cli, "new", "a passphrase at last")
    done = method(cli, "add", cli.mp, "passphrase", "--new-passphrase-file", new)
    plain = re.search(r"unlock-method remove ([0-9a-f]+)", done.stdout).group(1)
    method(cli, "remove", cli.mp, plain)
    opens(cli, "--passphrase-file", new)
    cli.fails("mount", cli.mp, "--no-passphrase", saying="wants its passphrase")


def test_what_was_removed_is_gone_from_the_file_and_its_old_blocks(cli):
    cli.ok("init", cli.mp, "--no-passphrase", "--recovery-key-file", cli.root / "key")
    old = device_file(cli).read_bytes()
    kept = os.open(device_file(cli), os.O_RDONLY)
    try:
        new = written(cli, "new", "a passphrase at last")
        method(cli, "add", cli.mp, "passphrase", "--new-passphrase-file", new)
        assert os.pread(kept, len(old), 0) == bytes(len(old)), "the file that was replaced is overwritten"
    finally:
        os.close(kept)


# Key files


def test_a_key_file_opens_and_another_is_told_as_such(cli):
    passphrase, _ = make(cli)
    key = written(cli, "stick", "x" * 50)
    other = written(cli, "other", "y" * 50)
    short = written(cli, "short", "z")
    method(cli, "add", cli.mp, "key-file", key, "--passphrase-file", passphrase)
    opens(cli, "--key-file", key)
    cli.fails("mount", cli.mp, "--key-file", other, saying=["not the one", str(other)])
    cli.fails("mount", cli.mp, "--key-file", short, saying="no key file")
    cli.fails("mount", cli.mp, "--key-file", cli.root / "nowhere", saying="cannot be read")
    method(cli, "remove", cli.mp, id_of(cli, "passphrase"), "--key-file", key)
    cli.fails("mount", cli.mp, "--passphrase-file", passphrase, saying="no passphrase unlocks")
    cli.fails("mount", cli.mp, saying="--key-file")


# The recovery key


def test_the_recovery_key_unlocks_what_a_forgotten_passphrase_locked_with_all_that_never_reached_a_store(cli):
    passphrase, key = make(cli)
    cli.ok("mount", cli.mp, "--passphrase-file", passphrase)
    (cli.mp / "only here").write_text("never synced")
    cli.ok("unmount", cli.mp)
    new = written(cli, "new", "easier to remember")
    method(cli, "add", cli.mp, "passphrase", "--with-recovery-key", "--recovery-key-file", key, "--new-passphrase-file", new)
    cli.ok("mount", cli.mp, "--passphrase-file", new)
    assert (cli.mp / "only here").read_text() == "never synced"
    cli.ok("unmount", cli.mp)
    wrong = written(cli, "wrong", "000G-40R4-0M30-E209-185G-R38E-1WEC")
    cli.fails("mount", cli.mp, "--with-recovery-key", "--recovery-key-file", wrong, saying="not the one of the vault")


# The keyring


def test_the_keyring_opens_without_asking_and_says_when_it_is_locked_or_not_there(cli, keyring):
    passphrase, _ = make(cli)
    method(cli, "add", cli.mp, "secret-service", "--no-anchor", "--passphrase-file", passphrase)
    assert keyring.keys() == 1
    opens(cli)
    keyring.log_out()
    keyring.log_in(password=None)
    cli.fails("mount", cli.mp, "--no-passphrase", saying="the keyring is locked")
    opens(cli, "--passphrase-file", passphrase)
    keyring.log_out()
    cli.env.pop("DBUS_SESSION_BUS_ADDRESS")
    cli.fails("mount", cli.mp, "--no-passphrase", saying="no keyring")
    opens(cli, "--passphrase-file", passphrase)


def test_a_keyring_of_somebody_else_does_not_open(cli, keyring):
    passphrase, _ = make(cli)
    method(cli, "add", cli.mp, "secret-service", "--no-anchor", "--passphrase-file", passphrase)
    other = Keyring()
    try:
        other.log_in()
        cli.env["DBUS_SESSION_BUS_ADDRESS"] = other.address
        cli.fails("mount", cli.mp, "--no-passphrase", saying="does not have what this vault keeps there")
    finally:
        other.close()


def test_removing_the_keyring_takes_its_key_out_of_it(cli, keyring):
    passphrase, _ = make(cli)
    method(cli, "add", cli.mp, "secret-service", "--passphrase-file", passphrase)
    assert keyring.keys() == 2, "the slot's key and the anchor"
    assert listed(cli)["anchor"] == "secret-service"
    method(cli, "remove", cli.mp, id_of(cli, "secret-service"))
    assert keyring.keys() == 0 and listed(cli)["anchor"] is None
    opens(cli, "--passphrase-file", passphrase)


# The TPM


def test_the_tpm_opens_without_asking_also_after_a_restart_and_keeps_nothing_loaded(cli, tpm):
    passphrase, _ = make(cli)
    method(cli, "add", cli.mp, "tpm", "--passphrase-file", passphrase)
    opens(cli)
    tpm.power_off()
    tpm.power_on()
    opens(cli)
    assert tpm.loaded() == []
    assert len(tpm.indices()) == 1, "the anchor"
    method(cli, "remove", cli.mp, id_of(cli, "tpm"))
    assert tpm.indices() == [] and listed(cli)["anchor"] is None
    opens(cli, "--passphrase-file", passphrase)


def test_the_tpm_of_another_computer_or_none_does_not_open(cli, tpm):
    passphrase, key = make(cli)
    method(cli, "add", cli.mp, "tpm", "--no-anchor", "--passphrase-file", passphrase)
    other = Tpm()
    try:
        cli.env["SNUGFS_TPM"] = other.tcti()
        cli.fails("mount", cli.mp, "--no-passphrase", saying="does not have what this vault keeps there")
        opens(cli, "--passphrase-file", passphrase)
    finally:
        other.close()
    cli.fails("mount", cli.mp, "--no-passphrase", saying="no TPM 2.0 here")


def test_a_broken_tpm_with_the_anchor_in_it_is_survived_with_the_recovery_key(cli, tpm):
    passphrase, key = make(cli)
    cli.ok("mount", cli.mp, "--passphrase-file", passphrase)
    (cli.mp / "only here").write_text("never synced")
    cli.ok("unmount", cli.mp)
    method(cli, "add", cli.mp, "tpm", "--passphrase-file", passphrase)
    other = Tpm()
    try:
        cli.env["SNUGFS_TPM"] = other.tcti()
        cli.fails("mount", cli.mp, "--passphrase-file", passphrase, saying=["TPM", "--with-recovery-key"])
        recovery = ["--with-recovery-key", "--recovery-key-file", key]
        new = written(cli, "new", "on the new board")
        method(cli, "add", cli.mp, "passphrase", *recovery, "--new-passphrase-file", new)
        cli.ok("mount", cli.mp, "--passphrase-file", new)
        assert (cli.mp / "only here").read_text() == "never synced"
        cli.ok("unmount", cli.mp)
    finally:
        other.close()


def test_a_pin_is_needed_and_guarded_by_the_tpm(cli, tpm):
    passphrase, _ = make(cli)
    pin = written(cli, "pin", "246810")
    wrong = written(cli, "wrong", "135790")
    method(cli, "add", cli.mp, "tpm", "--pin", "--passphrase-file", passphrase, "--new-passphrase-file", pin)
    assert next(m for m in listed(cli)["methods"] if m["kind"] == "tpm")["pin"] is True
    method(cli, "remove", cli.mp, id_of(cli, "passphrase"), "--passphrase-file", passphrase)
    opens(cli, "--passphrase-file", pin)
    said = ""
    for _ in range(40):
        done = one_sentence(cli.run("mount", cli.mp, "--passphrase-file", wrong))
        said = done.stderr
        if "locked itself" in said:
            break
        assert "refuses this PIN" in said
    assert "locked itself" in said
    cli.fails("mount", cli.mp, "--passphrase-file", pin, saying="locked itself")


# Old copies of the device file


def change(cli, old, new):
    method(cli, "change-passphrase", cli.mp, "--passphrase-file", old, "--new-passphrase-file", new)


def test_an_old_copy_opens_with_the_old_passphrase_where_nothing_can_prevent_it(cli):
    """Not what one would want, but what the page says."""
    old, _ = make(cli)
    new = written(cli, "new", "the second one")
    copy = shutil.copy(device_file(cli), cli.root / "copy")
    change(cli, old, new)
    shutil.copy(copy, device_file(cli))
    opens(cli, "--passphrase-file", old)


@pytest.mark.parametrize("kind", ["tpm", "secret-service"])
def test_an_old_copy_does_not_come_back_to_life_where_the_tpm_or_the_keyring_keeps_an_anchor(cli, kind, request):
    request.getfixturevalue("tpm" if kind == "tpm" else "keyring")
    old, _ = make(cli)
    new = written(cli, "new", "the second one")
    method(cli, "add", cli.mp, kind, "--passphrase-file", old)
    opens(cli, "--passphrase-file", old)
    opens(cli)
    copy = shutil.copy(device_file(cli), cli.root / "copy")
    change(cli, old, new)
    current = shutil.copy(device_file(cli), cli.root / "current")
    shutil.copy(copy, device_file(cli))
    for words in (["--passphrase-file", old], ["--passphrase-file", new], ["--no-passphrase"]):
        cli.fails("mount", cli.mp, *words, saying="does not have what this vault keeps there")
    shutil.copy(current, device_file(cli))
    opens(cli, "--passphrase-file", new)
    opens(cli)


def test_an_old_copy_does_not_bring_a_removed_way_back(cli, tpm):
    passphrase, _ = make(cli)
    key = written(cli, "stick", "x" * 50)
    method(cli, "add", cli.mp, "tpm", "--passphrase-file", passphrase)
    method(cli, "add", cli.mp, "key-file", key)
    opens(cli, "--key-file", key)
    copy = shutil.copy(device_file(cli), cli.root / "copy")
    method(cli, "remove", cli.mp, id_of(cli, "key-file"))
    shutil.copy(copy, device_file(cli))
    cli.fails("mount", cli.mp, "--key-file", key, saying="old copy of the device file")
