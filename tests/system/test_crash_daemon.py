"""The daemon is killed at any moment (kill -9), again and again, in one vault: what programs were promised is there, what they
did is a prefix of what they did, and nothing gives an error.  The mount that a dead daemon leaves needs no care.

$CRASH_ROUNDS asks for more than the few rounds of an ordinary run, $CRASH_SEED for others.
"""
import contextlib
import os
import pathlib
import random
import signal
import subprocess
import threading

import conftest
import crashers
import trees
from test_main_job import computers  # pylint: disable=unused-import

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "30"))
SEED = int(os.environ.get("CRASH_SEED", "1"))


def wait(seconds):
    threading.Event().wait(seconds)


def die(vault):
    """Only the process; the mount stays, dead.  One that is just becoming a daemon is another process a moment later."""
    def is_dead():
        for pid in vault.daemons():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not vault.daemons()

    conftest.wait_until(is_dead, "the daemon's death")


def test_killed_at_any_moment_it_comes_back_with_all_that_was_promised(mounted):
    chance = random.Random(SEED)
    outside = mounted.root / "outside"
    outside.mkdir()
    team = crashers.Team(mounted.mountpoint, outside)
    team.prepare()
    for _ in range(ROUNDS):
        team.start()
        wait(chance.uniform(0.05, 0.6) if chance.random() < 0.9 else 2.5)
        die(mounted)
        team.stop()
        mounted.mount()
        team.check()
        crashers.read_all(mounted.mountpoint)
    mounted.unmount()
    mounted.mount()
    team.check()
    assert not list((mounted.dir / "segments").glob("*.new"))


def test_the_mount_of_a_dead_daemon_is_put_in_order_by_the_next(mounted):
    (mounted.mountpoint / "file").write_text("content")
    subprocess.run(["sync", mounted.mountpoint / "file"], check=True)
    die(mounted)
    assert mounted.is_mounted()
    status = mounted.run("status", mounted.mountpoint, "--vault", mounted.dir)
    assert "ended unexpectedly" in status.stdout and "snugfs mount" in status.stdout
    mounted.mount()
    assert (mounted.mountpoint / "file").read_text() == "content"
    die(mounted)
    mounted.unmount()
    assert not mounted.is_mounted()
    mounted.mount()
    assert (mounted.mountpoint / "file").read_text() == "content"


def test_killed_while_it_starts_it_starts_the_next_time(mounted):
    chance = random.Random(SEED)
    outside = mounted.root / "outside"
    outside.mkdir()
    team = crashers.Team(mounted.mountpoint, outside, (crashers.Saver, crashers.Log))
    team.prepare()
    for _ in range(max(3, ROUNDS // 5)):
        team.start()
        wait(0.2)
        die(mounted)
        team.stop()
        for _ in range(3):
            starting = subprocess.Popen([conftest.binary(), "mount", mounted.mountpoint, "--vault", mounted.dir,
                                         "--no-passphrase"], env=mounted.env, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait(chance.uniform(0.0, 0.03))
            starting.kill()  # die() does not know it before it has arguments, which comes some time after it has its program
            starting.wait(300)
            die(mounted)
        mounted.mount()
        team.check()


def make_things(top, chance, k):
    """Something new, something changed, something gone; true to its name."""
    folder = top / f"folder{k % 7}"
    folder.mkdir(exist_ok=True)
    for n in range(chance.randrange(1, 30)):
        (folder / f"file{chance.randrange(60)}").write_bytes(random.Random(k * 1000 + n).randbytes(chance.choice([10, 5000, 200000])))
    names = sorted(os.listdir(folder))
    if len(names) > 3:
        os.unlink(folder / names[0])
        os.rename(folder / names[1], folder / "renamed")
    kept = folder / f"kept{k}"
    kept.write_text(f"promised {k}\n")
    with open(kept, "rb") as f:
        os.fsync(f.fileno())
    crashers.fsync_dir(folder)
    return kept


def test_killed_while_it_syncs_both_computers_agree_in_the_end(computers):
    chance = random.Random(SEED)
    alpha = computers.first()
    computers.sync(alpha)
    beta = computers.join()
    promised = {}
    for k in range(max(8, ROUNDS // 2)):
        promised[make_things(alpha.mountpoint, chance, k)] = f"promised {k}\n"
        if k % 3 == 0:
            (beta.mountpoint / f"from beta {k}").write_text("beta\n" * 1000)
            computers.sync(beta)
        syncing = subprocess.Popen([conftest.binary(), "sync", alpha.mountpoint, "--vault", alpha.dir], env=alpha.env,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait(chance.uniform(0.0, 0.15))
        die(alpha)
        syncing.wait(300)
        alpha.mount()
        for path, text in promised.items():
            assert path.read_text() == text
        crashers.read_all(alpha.mountpoint)
    computers.sync(alpha, beta, alpha, beta)
    assert trees.compare(trees.describe(alpha.mountpoint), trees.describe(beta.mountpoint)) == []
    assert not [p for p in pathlib.Path(alpha.mountpoint).rglob("*conflict*")]
    gamma = computers.join("gamma")
    assert trees.compare(trees.describe(alpha.mountpoint), trees.describe(gamma.mountpoint)) == []


def test_killed_while_it_pulls_the_computer_catches_up(computers):
    chance = random.Random(SEED)
    alpha = computers.first()
    computers.sync(alpha)
    beta = computers.join()
    for k in range(max(5, ROUNDS // 3)):
        make_things(alpha.mountpoint, chance, k)
        (beta.mountpoint / f"own{k % 4}").write_bytes(b"own" * 20000)
        computers.sync(alpha)
        syncing = subprocess.Popen([conftest.binary(), "sync", beta.mountpoint, "--vault", beta.dir], env=beta.env,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait(chance.uniform(0.0, 0.1))
        die(beta)
        syncing.wait(300)
        beta.mount()
        crashers.read_all(beta.mountpoint)
    computers.sync(beta, alpha, beta)
    assert trees.compare(trees.describe(alpha.mountpoint), trees.describe(beta.mountpoint)) == []
