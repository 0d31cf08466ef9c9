"""What else a person does who is not root, and has nothing but fusermount3: locking, also by itself and before the computer sleeps,
removing a device and sealing anew, garbage, the past, the check of all.  (Tests that run as somebody else than root do all as such.)
"""
import json
import os
import shutil
import subprocess

import pytest

from accounts import TIMEOUT, Cli
from conftest import new_root, wait_until
from test_lock import is_closed, logind  # noqa: F401  pylint: disable=unused-import

USER = {"user": "nobody", "group": "nogroup", "extra_groups": ()} if os.geteuid() == 0 else {}


class Ordinary(Cli):
    def __init__(self, root):
        super().__init__(root)
        if USER:
            shutil.chown(self.home, USER["user"], USER["group"])

    def run(self, *args, **kwargs):
        return super().run(*args, **USER, **kwargs)

    def sh(self, script, check=True):
        """In his folder, which root may not even look into."""
        done = subprocess.run(["sh", "-ec", script], cwd=self.home, capture_output=True, text=True, timeout=TIMEOUT, check=False, **USER)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def cli():
    c = Ordinary(new_root())
    yield c
    c.clean_up()


@pytest.fixture
def other():
    c = Ordinary(new_root())
    yield c
    c.clean_up()


def test_a_folder_is_locked_and_locks_itself(cli):
    cli.up()
    cli.sh("echo kept > Private/a")
    assert "is locked" in cli.ok("lock", cli.mp).stdout
    assert is_closed(cli)
    cli.ok("mount", cli.mp)
    cli.ok("lock", cli.mp, "--after", "1s")
    wait_until(lambda: is_closed(cli), "the folder to lock itself")
    cli.ok("lock", cli.mp, "--after", "never", "--no-passphrase")
    cli.ok("mount", cli.mp)
    assert cli.sh("cat Private/a") == "kept\n"


def test_a_folder_that_is_in_use_is_locked_by_force(cli):
    cli.up()
    # It ends with its input, so also if the test fails.
    with subprocess.Popen(["sh", "-c", "exec 3> Private/a; echo kept >&3; echo ready; read line"], cwd=cli.home, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, **USER) as holder:
        assert holder.stdout.readline() == "ready\n"
        cli.fails("lock", cli.mp, saying=["is in use", "--force"])
        cli.ok("lock", cli.mp, "--force")
        assert is_closed(cli)
    cli.ok("mount", cli.mp)
    assert cli.sh("cat Private/a") == "kept\n"


def test_before_the_computer_sleeps_the_folder_is_locked(cli, logind):  # noqa: F811  pylint: disable=redefined-outer-name
    cli.up()
    cli.sh("echo kept > Private/a")
    assert "locked before the computer sleeps" in cli.ok("lock", cli.mp, "--on-suspend", "on").stdout
    assert logind.hear() == "locked sleep delay snugfs True"
    logind.say("sleep")
    assert logind.hear() == "released sleep"
    assert is_closed(cli), "sleep came before the keys were gone"
    cli.ok("mount", cli.mp)
    assert logind.hear() == "locked sleep delay snugfs True"
    assert cli.sh("cat Private/a") == "kept\n"


def test_a_device_is_removed_all_is_sealed_anew_and_what_is_old_leaves_the_store(cli, other):
    key, store = cli.home / "key", cli.home / "store"
    cli.up("--remote", store, "--recovery-key-file", key)
    cli.sh("mkdir Private/folder; seq 100000 > Private/folder/numbers; echo first > Private/note")
    cli.ok("sync", cli.mp)
    before = {path.name for path in store.glob("s/*/*")}
    other.ok("join", other.mp, "--no-passphrase", "--remote", store, "--recovery-key-file", key, "--device-name", "lost")
    cli.ok("device", "remove", cli.mp, "lost", "--yes", "--rekey")
    wait_until(lambda: cli.status()["rekey"] is None, "the end")
    cli.sh("echo second > Private/note")
    cli.ok("sync", cli.mp)
    cli.ok("gc", cli.mp, "--keep", "0", "--now")
    assert before and not before & {path.name for path in store.glob("s/*/*")}
    assert json.loads(cli.ok("verify", cli.mp, "--no-passphrase", "--json").stdout)["findings"] == []
    assert cli.sh("cat Private/folder/numbers | sha256sum") == cli.sh("seq 100000 | sha256sum")
    other.fails("sync", other.mp, saying="has been removed from the vault")


def test_the_past_is_seen_and_brought_back(cli):
    cli.up("--remote", cli.home / "store")
    cli.sh("echo first > Private/note")
    cli.ok("sync", cli.mp)
    head = json.loads(cli.ok("remote", "show", cli.mp, "--json").stdout)["head"]["number"]
    cli.sh("echo second > Private/note")
    cli.ok("sync", cli.mp)
    assert cli.sh(f"cat 'Private/.snugfs/at/commit {head}/note'") == "first\n"
    cli.ok("restore", cli.mp / "note", "--at", f"commit {head}", "--to", cli.mp / "old")
    assert cli.sh("cat Private/old Private/note") == "first\nsecond\n"
