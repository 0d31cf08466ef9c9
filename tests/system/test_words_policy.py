"""What people compare and agree on: safety words of two devices, and the policy that only the recovery key loosens."""
import json
import re
import shutil

import pytest

import conftest
from conftest import Vault, new_root


class Pair:
    def __init__(self, a, b):
        self.a, self.b, self.store, self.key = a, b, a.root / "store", a.root / "key"


@pytest.fixture
def pair():
    """Two computers with one vault, both mounted."""
    a, b = Vault(new_root()), Vault(new_root())
    p = Pair(a, b)
    try:
        a.up("--remote", p.store, "--recovery-key-file", p.key, "--device-name", "desk")
        (a.mountpoint / "file").write_text("x")
        a.run("sync", a.mountpoint)
        b.run("join", b.mountpoint, "--vault", b.dir, "--no-passphrase", "--remote", p.store, "--recovery-key-file", p.key,
              "--device-name", "lap")
        b.mount()
        a.run("sync", a.mountpoint)
        yield p
    finally:
        b.clean_up()
        a.clean_up()


def words(vault, *args):
    return json.loads(vault.run("device", "verify", vault.mountpoint, "--json", *args).stdout)


def test_two_devices_show_the_same_words_for_the_same_commit_and_for_each_other(pair):
    a, b = words(pair.a), words(pair.b)
    assert a["words"] == b["words"] and a["commit"] == b["commit"] == a["head"]
    assert re.fullmatch(r"([bdfghjklmnprstvz][aiou][bdfghjklmnprstvz][aiou][bdfghjklmnprstvz]-?){6}", a["words"])
    assert {d["name"]: d["words"] for d in a["devices"]} == {d["name"]: d["words"] for d in b["devices"]}
    (pair.a.mountpoint / "more").write_text("y")
    pair.a.run("sync", pair.a.mountpoint)
    newer = words(pair.a)
    assert newer["commit"] > a["commit"] and newer["words"] != a["words"]
    assert words(pair.a, "--at", a["commit"])["words"] == a["words"]
    done = pair.a.run("device", "verify", pair.a.mountpoint, "--at", newer["head"] + 1, check=False)
    assert done.returncode == 1 and "only" in done.stderr


def test_a_fork_shows_other_words(pair):
    fork = pair.a.root / "fork"
    pair.b.unmount()
    shutil.copytree(pair.store, fork)
    (pair.a.mountpoint / "one side").write_text("a")
    pair.a.run("sync", pair.a.mountpoint)
    kept = pair.a.root / "kept"
    pair.store.rename(kept)
    fork.rename(pair.store)
    pair.b.mount()
    (pair.b.mountpoint / "other side").write_text("b")
    pair.b.run("sync", pair.b.mountpoint)
    a, b = words(pair.a), words(pair.b)
    assert a["commit"] == b["commit"] and a["words"] != b["words"]


def test_a_device_is_verified_by_its_words_and_by_no_others(pair):
    shown = next(d["words"] for d in words(pair.b)["devices"] if d["this"])
    verified = lambda: {d["name"]: d["verified"] for d in words(pair.a)["devices"]}
    assert verified() == {"desk": False, "lap": False}
    done = pair.a.run("device", "verify", pair.a.mountpoint, "lap", "--words", shown.upper().replace("-", " "))
    assert "verified" in done.stdout and verified() == {"desk": False, "lap": True}
    status = json.loads(pair.a.run("status", pair.a.mountpoint, "--json").stdout)
    assert {d["name"]: d["verified"] for d in status["devices"]}["lap"] is True
    wrong = shown[:-1] + ("b" if shown[-1] != "b" else "d")
    done = pair.a.run("device", "verify", pair.a.mountpoint, "lap", "--words", wrong, check=False)
    assert done.returncode == 1 and "not the words" in done.stderr and verified()["lap"] is False
    for name in ("desk", "nobody"):
        assert pair.a.run("device", "verify", pair.a.mountpoint, name, "--words", shown, check=False).returncode == 1


def test_the_answer_is_asked_for(pair):
    import subprocess
    for answer, status in (("yes", 0), ("no", 1), ("perhaps", 1), ("", 1)):
        done = subprocess.run([conftest.binary(), "device", "verify", pair.a.mountpoint, "lap"], env=pair.a.env, text=True,
                              input=answer and answer + "\n", capture_output=True, timeout=300)
        assert done.returncode == status, answer
    assert not any(d["verified"] for d in words(pair.a)["devices"])


def policy(vault):
    return json.loads(vault.run("policy", "show", vault.mountpoint, "--json").stdout)


def test_a_device_tightens_the_policy_and_only_the_recovery_key_loosens_it(pair):
    assert policy(pair.a) == {"devices_may_add": True, "format_floor": 1, "cipher_floor": 1}
    pair.a.run("policy", "set", pair.a.mountpoint, "--new-devices", "recovery-key")
    pair.b.run("sync", pair.b.mountpoint)
    assert policy(pair.b)["devices_may_add"] is False
    messages = json.loads(pair.b.run("status", pair.b.mountpoint, "--json").stdout)["messages"]
    assert any("the recovery key alone" in m for m in messages)

    done = pair.b.run("policy", "set", pair.b.mountpoint, "--new-devices", "any-device", check=False)
    assert done.returncode == 1 and "recovery key" in done.stderr
    wrong = pair.b.root / "wrong"
    wrong.write_text("000G-40R4-0M30-E209-185G-R38E-1WEC\n")
    done = pair.b.run("policy", "set", pair.b.mountpoint, "--new-devices", "any-device", "--recovery-key-file", wrong, check=False)
    assert done.returncode == 1 and "not the recovery key" in done.stderr
    assert policy(pair.b)["devices_may_add"] is False

    c = Vault(new_root())
    try:
        c.run("join", c.mountpoint, "--vault", c.dir, "--no-passphrase", "--remote", pair.store, "--recovery-key-file", pair.key,
              "--device-name", "third")  # the recovery key may, as ever
    finally:
        c.clean_up()
    pair.b.run("policy", "set", pair.b.mountpoint, "--new-devices", "any-device", "--recovery-key-file", pair.key)
    pair.a.run("sync", pair.a.mountpoint)
    assert policy(pair.a)["devices_may_add"] is True
    done = pair.a.run("policy", "set", pair.a.mountpoint, "--new-devices", "any-device")
    assert "already" in done.stdout
    assert pair.a.run("policy", "set", pair.a.mountpoint, "--new-devices", "anybody", check=False).returncode == 2
