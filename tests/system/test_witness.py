"""A second store keeps the first one honest: what one device has told there, the first store cannot take back from another."""
import json
import os
import shutil

import pytest

import trees
from conftest import Vault, new_root


class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b
        self.store, self.witness, self.key = a.root / "store", a.root / "witness", a.root / "key"


@pytest.fixture
def pair():
    """Two devices of one vault, neither of them mounted: each command looks at the witness anew."""
    a, b = Vault(new_root()), Vault(new_root())
    p = Pair(a, b)
    try:
        a.run("init", a.mountpoint, "--vault", a.dir, "--no-passphrase", "--remote", p.store, "--recovery-key-file", p.key,
              "--device-name", "desk")
        a.mount()
        a.unmount()
        a.run("sync", a.mountpoint)
        b.run("join", b.mountpoint, "--vault", b.dir, "--no-passphrase", "--remote", p.store, "--recovery-key-file", p.key,
              "--device-name", "lap")
        a.run("sync", a.mountpoint)
        for vault in (a, b):
            vault.run("witness", "set", vault.mountpoint, p.witness)
        yield p
    finally:
        b.clean_up()
        a.clean_up()


def change(vault, name):
    vault.mount()
    (vault.mountpoint / name).write_text(name)
    vault.run("sync", vault.mountpoint)
    vault.unmount()


def sync(vault, check=True):
    return vault.run("sync", vault.mountpoint, check=check)


def test_each_device_has_one_object_of_one_size_there_and_all_is_well(pair):
    change(pair.a, "one")
    sync(pair.b)
    change(pair.b, "two")
    sync(pair.a)
    objects = trees.objects(pair.witness)
    assert len(objects) == 2 and set(objects.values()) == {4096} and all(name.startswith("w/") for name in objects)
    shown = json.loads(pair.a.run("witness", "show", pair.a.mountpoint, "--json").stdout)
    assert shown["url"].endswith(str(pair.witness)) and shown["problem"] is None


def test_a_rollback_is_noticed_by_a_device_that_never_saw_what_is_gone(pair):
    old = pair.a.root / "old"
    shutil.copytree(pair.store, old)
    change(pair.a, "gone")
    shutil.rmtree(pair.store)
    old.rename(pair.store)
    done = sync(pair.b, check=False)
    assert done.returncode == 1
    assert "has lost or replaced commits: by the witness" in done.stderr and '"desk" has seen' in done.stderr
    assert str(pair.store) in done.stderr and str(pair.witness) in done.stderr
    pair.b.run("witness", "set", pair.b.mountpoint, "off")
    sync(pair.b)


def test_a_fork_is_noticed_by_the_device_on_the_other_branch(pair):
    fork = pair.a.root / "fork"
    shutil.copytree(pair.store, fork)
    change(pair.a, "one side")
    kept = pair.a.root / "kept"
    pair.store.rename(kept)
    fork.rename(pair.store)
    pair.b.mount()
    (pair.b.mountpoint / "other side").write_text("b")
    done = sync(pair.b, check=False)
    assert done.returncode == 1 and "by the witness" in done.stderr
    assert (pair.b.mountpoint / "other side").read_text() == "b"


def test_a_new_device_that_is_shown_an_old_state_notices_as_soon_as_it_has_the_witness(pair):
    old = pair.a.root / "old"
    shutil.copytree(pair.store, old)
    change(pair.a, "gone")
    shutil.rmtree(pair.store)
    old.rename(pair.store)
    c = Vault(new_root())
    try:
        c.run("join", c.mountpoint, "--vault", c.dir, "--no-passphrase", "--remote", pair.store, "--recovery-key-file", pair.key)
        c.run("witness", "set", c.mountpoint, pair.witness)
        done = sync(c, check=False)
        assert done.returncode == 1 and "by the witness" in done.stderr
    finally:
        c.clean_up()


def test_a_witness_that_is_away_or_talks_nonsense_keeps_nothing_from_being_synced(pair):
    for path in [p for p in (pair.witness / "w").rglob("*") if p.is_file()]:
        path.write_bytes(os.urandom(4096))
    change(pair.a, "while it is damaged")
    shutil.rmtree(pair.witness)
    change(pair.a, "while it is away")
    sync(pair.b)
    pair.b.mount()
    assert (pair.b.mountpoint / "while it is away").exists()
    pair.b.run("sync", pair.b.mountpoint)
    shown = json.loads(pair.b.run("witness", "show", pair.b.mountpoint, "--json").stdout)
    assert shown["problem"]
    status = json.loads(pair.b.run("status", pair.b.mountpoint, "--json").stdout)
    assert any("The witness is of no use at the moment" in m for m in status["messages"]) and status["problem"] is None


def test_the_vaults_own_store_is_no_witness(pair):
    done = pair.a.run("witness", "set", pair.a.mountpoint, pair.store, check=False)
    assert done.returncode == 1 and "another store" in done.stderr
