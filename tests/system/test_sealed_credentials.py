"""Keys to the store that only the vault has: whatever needs the store finds them there, or says how to give them."""
import json

import pytest

from services import ceph  # noqa: F401  pylint: disable=unused-import
from test_main_job import Computers

# pylint: disable=redefined-outer-name


@pytest.fixture
def sealed(ceph):
    """A vault in a bucket, opened on a computer that has the bucket's keys nowhere else."""
    computers = Computers()
    computers.url = f"s3:{ceph.endpoint}/{computers.root.name.lower().replace('_', 'x')}"
    computers.keys = computers.root / "keys"
    computers.keys.write_text(f"{ceph.env['ACCESS_KEY']}\n{ceph.env['SECRET_KEY']}\n")
    vault = computers.first()
    (vault.mountpoint / "letter").write_text("dear reader")
    computers.sync(vault)
    vault.unmount()
    vault.run("remote", "set", vault.mountpoint, computers.url, "--vault", vault.dir, "--no-passphrase", "--credentials-file",
              computers.keys)
    vault.mount()
    computers.vault = vault
    yield computers
    computers.clean_up()


def refused(done):
    assert done.returncode == 1 and "there are no keys for the store" in done.stderr, done.stderr


def test_what_is_mounted_syncs_and_is_verified_and_exposed_with_them(sealed):
    vault = sealed.vault
    (vault.mountpoint / "answer").write_text("dear writer")
    sealed.sync(vault)
    where = (vault.mountpoint, "--vault", vault.dir, "--json")
    assert json.loads(vault.run("verify", *where).stdout)["findings"] == []
    shown = json.loads(vault.run("exposure", *where).stdout)
    assert shown["kinds"]["commit"]["count"] > 0 and shown["kinds"]["commit"]["last_time"] > 1500000000
    vault.unmount()
    assert json.loads(vault.run("verify", *where, "--no-passphrase").stdout)["findings"] == []


def test_exposure_without_the_vault_takes_the_keys_from_a_file(sealed):
    refused(sealed.vault.run("exposure", "--remote", sealed.url, check=False))
    given = ("--remote", sealed.url, "--credentials-file", sealed.keys, "--json")
    assert json.loads(sealed.vault.run("exposure", *given).stdout)["objects"] > 0


def test_export_takes_the_keys_from_a_file(sealed):
    vault, out = sealed.vault, sealed.root / "out"
    vault.unmount()
    words = ("export", out, "--remote", sealed.url, "--recovery-key-file", sealed.paper)
    refused(vault.run(*words, check=False))
    vault.run(*words, "--credentials-file", sealed.keys)
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("letter", "dear reader")]


def test_a_computer_that_joins_with_them_keeps_them(sealed):
    other = sealed.another()
    words = ("join", other.mountpoint, "--vault", other.dir, "--remote", sealed.url, "--no-passphrase", "--recovery-key-file",
             sealed.paper)
    refused(other.run(*words, check=False))
    other.run(*words, "--credentials-file", sealed.keys)
    other.mount()
    assert (other.mountpoint / "letter").read_text() == "dear reader"
    (other.mountpoint / "answer").write_text("dear writer")
    sealed.sync(other, sealed.vault)
    assert (sealed.vault.mountpoint / "answer").read_text() == "dear writer"
