"""Three computers on which people do anything to the same few files, which are cut off from each other now and then, and whose
daemons are killed: in the end all three have the same tree, and in it every write that nobody took away.

With an even seed nothing is synced but when it is asked for, with an odd one the daemons sync by themselves.  CONVERGENCE_SEEDS
(2) and CONVERGENCE_STEPS (80) in the environment ask for more, CONVERGENCE_SEED for others.
"""
import errno
import json
import os
import random
import re
import subprocess
import threading

import pytest

import conftest
import trees
from actors import DEAD, Actor, Ledger, tokens_below
from services import Faults, ceph  # noqa: F401  pylint: disable=unused-import
from test_crash_daemon import die
from test_main_job import Computers
from test_s3_main_job import write_keys

# pylint: disable=redefined-outer-name

FIRST = int(os.environ.get("CONVERGENCE_SEED", "0"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("CONVERGENCE_SEEDS", "2")))
STEPS = int(os.environ.get("CONVERGENCE_STEPS", "80"))
DEVICES = ["alpha", "beta", "gamma"]
CONFLICT = re.compile(r"\(conflict from (\w+), \d{4}-\d\d-\d\d")
# What snugfs-design(7) says of conflicts, in the words of status.
SENTENCES = re.compile(
    r'.* was changed on two devices; the version of this device is kept as ".*" beside it|'
    r'.* was made on two devices; the one of this device is now ".*" beside it|'
    r".* was deleted on another device but changed on this one; it is kept|"
    r".* was deleted on this device but changed on another one; it is there again|"
    r".* was moved on two devices; it is now where the other device put it|"
    r'The device ".*" was added by .*', re.DOTALL)


class Ways(Computers):
    """Each computer has a way of its own to the store, that can be cut."""

    def __init__(self):
        super().__init__()
        self.store.mkdir()

    def _new(self):
        vault = super()._new()
        way = self.root / f"way-{len(self.all)}"
        way.symlink_to(self.store)
        vault.way = way
        self.remote = f"dir:{way}"
        return vault

    def open_way(self, vault, is_open):
        if is_open:
            vault.way.symlink_to(self.store)
        else:
            vault.way.unlink()


class BadWays(Computers):
    """The same on a service, and now and then a request or an answer is lost on the way."""

    def __init__(self, service):
        super().__init__()
        self.service = service
        self.bucket = self.root.name.lower().replace("_", "x")

    def _new(self):
        vault = super()._new()
        vault.way = Faults(self.service)
        vault.way.set(p503=2, p503after=2, preset=2, presetafter=2, delayafter=5)
        write_keys(vault, self.service.keys())
        self.remote = f"s3:{vault.way.endpoint}/{self.bucket}"
        return vault

    def open_way(self, vault, is_open):
        vault.way.outage(not is_open)

    def clean_up(self):
        super().clean_up()
        for vault in self.all:
            vault.way.clean_up()


class Person(Actor):
    """An actor that also unplugs and syncs and kills."""

    def __init__(self, computers, free, *args):
        super().__init__(*args)
        self.computers = computers
        self.free = free
        self.hold_kind = None
        self.syncing = None

    def snugfs(self, *args, check=True):
        return self.vault.run(*args, self.vault.mountpoint, "--vault", self.vault.dir, check=check)

    def status(self):
        status = json.loads(self.snugfs("status", "--json").stdout)
        self.said.update(status["messages"])
        return status

    def be_quiet(self, kind):
        """paused, offline or cut: when it returns, nothing comes any more."""
        self.finish_sync()
        if self.hold_kind == kind:
            return
        self.note("is", kind)
        if kind != "paused":
            self.be_quiet("paused")
            if self.rng.random() < 0.8:
                tokens_below(self.top)  # what is here can be read there, too
        if kind == "cut":
            self.computers.open_way(self.vault, False)
        else:
            self.snugfs({"paused": "pause", "offline": "offline"}[kind])
        conftest.wait_until(lambda: not self.status()["busy"], "the end of what it was doing")
        self.hold_kind = kind
        self.cut_off = kind != "paused"
        self.quiet = True

    def can_read(self):
        try:
            tokens_below(self.top)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        return True

    def reconnect(self):
        """What it reads comes again, and nothing else."""
        if self.hold_kind == "cut":
            self.computers.open_way(self.vault, True)
        self.snugfs("pause")
        conftest.wait_until(self.can_read, "the store to be found again")
        self.note("is connected")
        self.hold_kind, self.cut_off, self.quiet = "paused", False, True

    def come_back(self):
        self.finish_sync()
        if self.hold_kind != "paused":
            self.reconnect()
        if self.free:
            self.snugfs("resume")
            self.note("is back")
            self.hold_kind, self.quiet = None, False

    def begin_sync(self):
        """Goes on while others, and this one, go on working."""
        self.finish_sync()
        self.note("syncs")
        self.quiet = False
        before = (set(self.written), set(self.taken))
        process = subprocess.Popen([conftest.binary(), "sync", self.vault.mountpoint, "--vault", self.vault.dir], text=True,
                                   env=self.vault.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.syncing = (process, before)

    def finish_sync(self):
        if not self.syncing:
            return
        (process, before), self.syncing = self.syncing, None
        said = process.communicate(timeout=200)[0]
        self.note("has synced", process.returncode, said)
        if process.returncode == 0:
            self.promised(*before)
        self.quiet = not self.free or self.hold_kind is not None

    def sync_in_vain(self):
        done = self.snugfs("sync", check=False)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done

    def crash(self):
        """At any moment of what it is doing."""
        if not self.cut_off and self.rng.random() < 0.7:
            self.begin_sync()
        self.status()
        self.note("dies")
        self.gone = DEAD | {errno.EIO}  # of what could not be written any more
        killer = threading.Timer(self.rng.uniform(0, 0.08), die, [self.vault])
        killer.start()
        for _ in range(self.rng.randrange(40)):
            if not self.act():
                break
        killer.join()
        self.gone = DEAD
        self.finish_sync()
        self.let_go()
        self.vault.mount()
        self.note("is mounted again")
        if self.cut_off:
            self.reconnect()  # what had come before the crash may have to come again
        self.crashed()

    def step(self):
        chance = self.rng.random()
        if chance < 0.80:
            for _ in range(self.rng.randrange(1, 5)):
                assert self.act(), "the daemon is gone"
        elif chance < 0.89:
            if self.cut_off:
                self.sync_in_vain()
            else:
                self.begin_sync()
        elif chance < 0.93:
            self.finish_sync()
        elif chance < 0.98:
            if self.cut_off or (self.free and self.quiet and not self.syncing):
                self.come_back()
            else:
                self.be_quiet(self.rng.choice(["paused", "offline", "cut"] if self.free else ["offline", "cut"]))
        else:
            self.crash()


def settle(people):
    """Until all have the same head and nothing to say."""
    for person in people:
        person.let_go()
        person.come_back()
    for _ in range(30):
        for person in people:
            person.begin_sync()
            person.finish_sync()
        heads = {json.dumps(json.loads(p.snugfs("remote", "show", "--json").stdout)["head"]) for p in people}
        pending = [p.status()["pending"] for p in people]
        if len(heads) == 1 and not any(p["files"] or p["names"] for p in pending):
            return
    raise AssertionError(f"they do not come to an end: {heads} {pending}")


def same(one, other):
    differences = trees.compare(one, other)
    assert not differences, "\n".join(differences)


def explain(people, tree):
    """Every conflict copy has been told of on the device that made it, in words that the man page has."""
    said = {p.name: "\n".join(p.said) for p in people}
    for person in people:
        for message in person.said:
            assert SENTENCES.fullmatch(message), message
    for path in tree[0]:
        name = os.path.basename(os.fsdecode(path))
        for device in CONFLICT.findall(name)[-1:]:
            assert name in said[device], f"{name}: nothing in\n{said[device]}"


def converge(computers, seed, steps):
    rng = random.Random(seed)
    ledger = Ledger()
    vaults = [computers.first()]
    computers.sync(vaults[0])
    vaults += [computers.join(name) for name in DEVICES[1:]]
    people = [Person(computers, seed % 2 == 1, name, vault, rng, ledger) for name, vault in zip(DEVICES, vaults)]
    try:
        for person in people:
            person.come_back()
        for _ in range(steps):
            rng.choice(people).step()
        settle(people)
        wanted = [trees.describe(p.vault.mountpoint) for p in people]
        for other in wanted[1:]:
            same(wanted[0], other)
        lost = ledger.required() - tokens_below(people[0].top)
        assert not lost, f"lost: {sorted(lost)}"
        explain(people, wanted[0])
        # The disk has what the kernel and the daemon showed, and the store has what somebody new needs.
        vaults[0].unmount()
        vaults[0].mount()
        for vault in (vaults[0], computers.join("delta")):
            same(wanted[0], trees.describe(vault.mountpoint))
    except BaseException as error:
        found = [m.encode() for m in re.findall(r"\b\d{8}\b", str(error))]
        raise AssertionError(f"{error}\n{ledger.story(found)}") from error
    finally:
        for person in people:
            person.let_go()
            if person.syncing:
                person.syncing[0].kill()
                person.syncing[0].communicate()
            if person.hold_kind == "cut":
                computers.open_way(person.vault, True)
    print(f"{len(ledger.lines)} lines, {len(ledger.required())} of {ledger.count} tokens, {len(wanted[0][0])} entries, "
          f"{sum(len(p.said) for p in people)} messages")


@pytest.fixture
def made():
    all_made = []

    def make(kind, *args):
        all_made.append(kind(*args))
        return all_made[-1]

    yield make
    for computers in all_made:
        computers.clean_up()


@pytest.mark.parametrize("seed", SEEDS)
def test_three_computers_agree_in_the_end_and_have_lost_nothing(made, seed):
    converge(made(Ways), seed, STEPS)


@pytest.mark.longer(len(SEEDS) > 2)
def test_so_they_do_over_a_service_that_loses_requests(made, ceph):
    converge(made(BadWays, ceph), FIRST + 1, STEPS // 2)
