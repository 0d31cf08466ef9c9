"""kill -9 of daemons while they push, pull, settle, collect garbage and write bases: two computers, one store, and whichever of them
is at work dies, again and again.  Every edit is a line of its own, and once it was flushed it is in some file for good: there
after the next start, and on both computers in the end, which then hold the same, with nothing in the store that nobody needs.

$KILLS asks for more than the dozen of an ordinary run, $CRASH_SEED for others; what died is printed.
"""
import collections
import json
import os
import pathlib
import random
import re
import time

import conftest
import crashers
import trees
from test_crash_daemon import die, wait
from test_main_job import computers  # pylint: disable=unused-import

KILLS = int(os.environ.get("KILLS", "12"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
TOKEN = re.compile(rb"<[a-z]+ [0-9]+>")


def tokens_in(top):
    """Of all files; there is none that can't be read."""
    found = set()
    for folder, _, files in os.walk(top):
        for name in files:
            found.update(TOKEN.findall(pathlib.Path(folder, name).read_bytes()))
    return found


class Writer:
    """Somebody at one of the computers."""

    def __init__(self, vault, name, chance):
        self.vault = vault
        self.top = vault.mountpoint
        self.name = name
        self.chance = chance
        self.promised = set()
        self.count = 0

    def save(self, path, mode="wb", size=0):
        """A token at the end of a file, flushed."""
        self.count += 1
        token = f"<{self.name} {self.count}>".encode()
        made = mode == "wb" or not path.exists()
        with open(path, mode) as f:
            if mode == "r+b":
                f.read()
            f.write(self.chance.randbytes(size // 2).hex().encode() + token + b"\n")
            f.flush()
            os.fsync(f.fileno())
        if made:
            crashers.fsync_dir(path.parent)
        self.promised.add(token)

    def note(self):
        """In a file that both write to."""
        path = self.top / f"note{self.chance.randrange(4)}"
        self.save(path, "r+b" if path.exists() else "wb")

    def rename(self):
        mine = [p for p in self.top.glob(f"*/{self.name}*") if not p.name.endswith("moved")]
        if mine:
            path = self.chance.choice(sorted(mine))
            path.rename(path.parent / f"{path.name} moved")

    def work(self, size=3000):
        folder = self.top / f"folder{self.chance.randrange(5)}"
        folder.mkdir(exist_ok=True)
        for _ in range(self.chance.randrange(1, 4)):
            self.save(folder / f"{self.name}{self.count}", size=self.chance.randrange(size))
        if self.chance.random() < 0.6:
            self.note()
        if self.chance.random() < 0.3:
            self.rename()

    def make_garbage(self):
        """What the store will have for nothing, and segments of which one file in eight is left."""
        for half in (0, 1):
            for k in range(8):
                path = self.top / f"{self.name} garbage {k}"
                if half == 0:
                    path.write_bytes(self.chance.randbytes(120000))
                elif k != 5:
                    path.unlink()
            self.sync()

    def widen(self):
        """So much that is in commits alone that a base is due."""
        path = self.top / f"{self.name} wide"
        path.mkdir(exist_ok=True)
        for k in range(20):
            (path / str(k)).touch()
            os.setxattr(path / str(k), "user.wide", self.chance.randbytes(60000))

    def sync(self):
        self.vault.run("sync", self.top, "--vault", self.vault.dir)


def push(writer, _):
    writer.work()
    return ["sync", writer.top], ["s/", "c/"]


def pull(writer, other):
    other.work(200000)
    other.sync()
    writer.note()
    return ["sync", writer.top], ["s/", "c/"]


def settle(writer, _):
    writer.work(8 << 20)
    return ["sync", writer.top], []


def collect(writer, other):
    writer.make_garbage()
    other.sync()
    return ["gc", writer.top, "--keep", "0", "--now"], ["s/", "c/", "gone"]


def base(writer, _):
    writer.widen()
    return ["sync", writer.top], ["s/", "c/", "b/"]


class Moments:
    """When to kill: some time on, or with the first object of a kind that comes or goes."""

    def __init__(self, store, chance):
        self.store = store
        self.chance = chance
        self.usual = collections.defaultdict(lambda: 0.2)  # seconds that each kind of work takes

    def await_object(self, process, before, what):
        while process.poll() is None:
            now = trees.objects(self.store).keys()
            if before - now if what == "gone" else any(name.startswith(what) for name in now - before):
                return
            wait(0.0005)

    def await_one(self, process, kind, objects, before):
        if objects and self.chance.random() < 0.5:
            self.await_object(process, before, self.chance.choice(objects))
            wait(self.chance.choice([0, 0, 0.001, 0.01]))
        else:
            wait(self.chance.uniform(0, 1.1 * self.usual[kind]))

    def kill(self, writer, kind, other):
        """Returns whether the work was cut short."""
        command, objects = kind(writer, other)
        before, begun = trees.objects(self.store).keys(), time.monotonic()
        process = writer.vault.start(*command)
        self.await_one(process, kind, objects, before)
        elapsed = time.monotonic() - begun
        self.usual[kind] = elapsed if process.poll() is not None else max(self.usual[kind], 1.5 * elapsed)
        die(writer.vault)
        return process.wait(120) != 0


def assert_nothing_is_left_over(vault):
    answer = json.loads(vault.run("gc", vault.mountpoint, "--vault", vault.dir, "--json", "--keep", "0", "--now", "--dry-run").stdout)
    assert not any(count["objects"] for group in ("freed", "kept") for count in answer[group].values()), answer
    assert answer["moved"]["objects"] == 0, answer
    answer = json.loads(vault.run("verify", vault.mountpoint, "--vault", vault.dir, "--no-passphrase", "--json").stdout)
    assert answer["findings"] == []


def settle_down(writers):
    """Until all have all, and what nobody needs is gone."""
    for writer in (*writers, *writers):
        writer.sync()
    for _ in range(2):
        for writer in writers:
            writer.vault.run("gc", writer.top, "--vault", writer.vault.dir, "--keep", "0", "--now")
            writer.sync()
    for writer in writers:
        writer.sync()


def test_killed_at_any_work_again_and_again_both_computers_agree_and_no_edit_is_missing(computers):
    chance = random.Random(SEED)
    alpha = computers.first()
    computers.sync(alpha)
    writers = [Writer(alpha, "alpha", chance), Writer(computers.join(), "beta", chance)]
    moments = Moments(computers.store, chance)
    kinds = [push, pull, settle, collect, base]
    killed, cut_short = collections.Counter(), collections.Counter()
    for k in range(KILLS):
        kind = kinds[k % len(kinds)]
        writer, other = chance.sample(writers, 2)
        cut_short[kind.__name__] += moments.kill(writer, kind, other)
        killed[kind.__name__] += 1
        writer.vault.mount()
        missing = writer.promised - tokens_in(writer.top)
        assert not missing, f"seed {SEED}, kill {k} ({kind.__name__}): {missing}"
    print(f"seed {SEED}: killed {dict(killed)}, of these before the work was done {dict(cut_short)}; "
          f"{sum(len(w.promised) for w in writers)} edits")
    assert sum(cut_short.values()) > 0, "all of them were through already"
    settle_down(writers)
    promised = set().union(*(w.promised for w in writers))
    for writer in writers:
        assert not promised - tokens_in(writer.top)
        assert_nothing_is_left_over(writer.vault)
    wanted = trees.describe(writers[0].top)
    assert trees.compare(wanted, trees.describe(writers[1].top)) == []
    assert trees.compare(wanted, trees.describe(computers.join("gamma").mountpoint)) == []
