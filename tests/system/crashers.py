"""Programs that work in a folder until it goes away, and what must be found there afterwards.

Each runs as a process of its own and notes outside of the folder, in `record`, what it was promised: a line only after the
fsync (or what stands for it) has returned.  They go on where they were stopped, so that one vault can crash many times.
"""
import ctypes
import multiprocessing
import os
import pathlib
import random
import sqlite3
import subprocess

import posixlib

BLOCK = 4096
BLOCKS = 32


def fsync_dir(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Crasher:
    """In `top`/NAME; step() does one thing, with self.k counting, check() looks at what is left."""

    def __init__(self, top, outside):
        name = type(self).__name__.lower()
        self.dir = pathlib.Path(top) / name
        self.record = pathlib.Path(outside) / f"{name}.record"
        self.record.touch()
        self.k = 0

    def prepare(self):
        self.dir.mkdir()
        fsync_dir(self.dir)
        fsync_dir(self.dir.parent)

    def step(self):
        raise NotImplementedError

    def promise(self, text):
        with open(self.record, "a", encoding="ascii") as f:
            f.write(f"{text}\n")

    def promised(self, default=-1):
        lines = self.record.read_text().splitlines()
        return int(lines[-1]) if lines else default

    def resume(self):
        """Where the next step goes on, after a crash that check() found nothing wrong with."""

    def run(self):
        try:
            self.resume()
            while True:
                self.step()
                self.k += 1
        except (OSError, sqlite3.Error, subprocess.CalledProcessError):
            pass  # the mount has gone


class Sequence(Crasher):
    """Names only, so that the kernel hides nothing: what is there must be all up to some operation, and nothing of a later one.

    In five operations each: link n is made, then renamed; folder n is made, then removed; renamed link n - SPAN is removed.
    """

    SPAN = 64

    def state(self, k):
        """What is there after k operations."""
        n, done = divmod(k, 5)
        names = {f"b{m}": f"target {m}" for m in range(max(0, n - self.SPAN), n)}
        if done >= 1:
            names[f"a{n}" if done == 1 else f"b{n}"] = f"target {n}"
        if done == 3:
            names[f"c{n}"] = None
        return names

    def step(self):
        n, what = divmod(self.k, 5)
        if what == 0:
            os.symlink(f"target {n}", self.dir / f"a{n}")
        elif what == 1:
            os.rename(self.dir / f"a{n}", self.dir / f"b{n}")
        elif what == 2:
            os.mkdir(self.dir / f"c{n}")
        elif what == 3:
            os.rmdir(self.dir / f"c{n}")
        elif n >= self.SPAN:
            os.unlink(self.dir / f"b{n - self.SPAN}")
        if self.k % 50 == 49:
            fsync_dir(self.dir)
            self.promise(self.k + 1)

    def found(self):
        names = {e.name: os.readlink(e.path) if e.is_symlink() else None for e in os.scandir(self.dir)}
        newest = max((int(name[1:]) for name in names), default=0)
        for k in range(5 * newest + 5, 5 * newest - 1, -1):
            if self.state(k) == names:
                return k
        raise AssertionError(f"this was never so: {sorted(names)}")

    def resume(self):
        self.k = self.found()

    def check(self):
        assert self.found() >= self.promised(0)


class Saver(Crasher):
    """An editor: the new content beside the old, fsync, rename over it, fsync of the folder."""

    def content(self, k):
        return f"version {k}\n".encode() * random.Random(k).randrange(1, 3000)

    def step(self):
        with open(self.dir / "new", "wb") as f:
            f.write(self.content(self.k))
            f.flush()
            os.fsync(f.fileno())
        os.rename(self.dir / "new", self.dir / "document")
        fsync_dir(self.dir)
        self.promise(self.k)

    def found(self):
        try:
            data = (self.dir / "document").read_bytes()
        except FileNotFoundError:
            return -1
        k = int(data.split(b"\n")[0].split()[1])
        assert data == self.content(k), f"version {k} is not whole"
        return k

    def resume(self):
        self.k = self.found() + 1

    def check(self):
        assert self.found() >= self.promised()


class Log(Crasher):
    """Lines appended, each flushed."""

    def line(self, k):
        return f"line {k:08d} {'x' * (k % 300)}\n"

    def prepare(self):
        super().prepare()
        (self.dir / "log").touch()
        fsync_dir(self.dir)

    def step(self):
        with open(self.dir / "log", "a", encoding="ascii") as f:
            f.write(self.line(self.k))
            f.flush()
            os.fdatasync(f.fileno())
        self.promise(self.k)

    def lines(self):
        text = (self.dir / "log").read_text(encoding="ascii")
        lines = text.splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines.pop()
        assert lines == [self.line(k) for k in range(len(lines))]
        return lines

    def resume(self):
        lines = self.lines()
        self.k = len(lines)
        os.truncate(self.dir / "log", sum(map(len, lines)))

    def check(self):
        assert len(self.lines()) > self.promised()


class Blocks(Crasher):
    """Blocks written over at random, each flushed: old or new, never a mixture, never an error."""

    def prepare(self):
        super().prepare()
        with open(self.dir / "blocks", "wb") as f:
            f.write(bytes(BLOCK * BLOCKS))
            f.flush()
            os.fsync(f.fileno())
        fsync_dir(self.dir)

    def step(self):
        at = random.Random(self.k).randrange(BLOCKS)
        with open(self.dir / "blocks", "r+b") as f:
            f.seek(at * BLOCK)
            f.write(self.k.to_bytes(8, "big") * (BLOCK // 8))
            f.flush()
            os.fsync(f.fileno())
        self.promise(self.k)

    def resume(self):
        self.k = self.promised() + 1

    def check(self):
        data = (self.dir / "blocks").read_bytes()
        assert len(data) == BLOCK * BLOCKS
        promised = self.promised()
        expected = {}
        for k in range(promised + 1):
            expected[random.Random(k).randrange(BLOCKS)] = k
        coming = random.Random(promised + 1).randrange(BLOCKS)
        for at in range(BLOCKS):
            block = data[at * BLOCK:(at + 1) * BLOCK]
            k = int.from_bytes(block[:8], "big")
            assert block == block[:8] * (BLOCK // 8), f"block {at} is a mixture"
            assert k == expected.get(at, 0) or (at == coming and k == promised + 1), f"block {at}: {k}"


class Database(Crasher):
    """SQLite's transactions."""

    def connect(self):
        db = sqlite3.connect(self.dir / "data.db", timeout=30)
        db.execute("PRAGMA journal_mode=" + ("WAL" if self.k % 2 else "DELETE"))
        db.execute("PRAGMA synchronous=EXTRA")  # or it does not flush that a journal is gone, which is what ends a transaction
        return db

    def prepare(self):
        super().prepare()
        with self.connect() as db:
            db.execute("CREATE TABLE t(k INTEGER PRIMARY KEY, text)")
        db.close()
        fsync_dir(self.dir)

    def run(self):
        try:
            self.resume()
            db = self.connect()
            while True:
                with db:
                    db.execute("INSERT INTO t VALUES(?, ?)", (self.k, "text" * (self.k % 500)))
                os.statvfs(self.dir)  # SQLite takes it for success if it can't open the folder that it is about to flush
                self.promise(self.k)
                self.k += 1
        except (OSError, sqlite3.Error):
            os._exit(0)  # without closing: there is nothing any more that could be closed

    def count(self):
        db = sqlite3.connect(self.dir / "data.db")
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = [row[0] for row in db.execute("SELECT k FROM t ORDER BY k")]
        db.close()
        assert rows == list(range(len(rows)))
        return len(rows)

    def resume(self):
        self.k = self.count()

    def check(self):
        assert self.count() > self.promised()


class Repository(Crasher):
    """git, told to flush what it writes."""

    def git(self, *args):
        env = dict(os.environ, HOME="/nonexistent", GIT_CONFIG_NOSYSTEM="1", GIT_AUTHOR_NAME="A", GIT_AUTHOR_EMAIL="a@b.c",
                   GIT_COMMITTER_NAME="A", GIT_COMMITTER_EMAIL="a@b.c")
        return subprocess.run(["git", "-c", "core.fsync=all", "-c", "gc.auto=0", *args], cwd=self.dir, env=env, check=True,
                              capture_output=True, text=True, timeout=120).stdout

    def prepare(self):
        super().prepare()
        self.git("init", "-q", ".")
        self.git("commit", "-q", "--allow-empty", "-m", "first")
        with posixlib.opened(self.dir, os.O_RDONLY) as fd:
            assert posixlib.libc.syncfs(fd) == 0

    def step(self):
        (self.dir / f"file{self.k % 20}").write_text(f"{self.k}\n" * (self.k % 100 + 1))
        self.git("add", ".")
        self.git("commit", "-q", "--allow-empty", "-m", f"{self.k}")
        head = self.git("rev-parse", "HEAD").strip()
        ref = self.dir / ".git" / self.git("symbolic-ref", "HEAD").strip()
        fsync_dir(ref.parent)  # git flushes what it writes, but not the folder in which it then gets its name
        self.promise(int(head, 16))

    def resume(self):
        for lock in (self.dir / ".git").rglob("*.lock"):
            lock.unlink()
        self.git("reset", "-q", "--hard")
        self.k = int(self.git("rev-list", "--count", "HEAD"))

    def check(self):
        self.git("fsck", "--full", "--no-dangling")
        if self.promised() >= 0:
            self.git("merge-base", "--is-ancestor", f"{self.promised():040x}", "HEAD")


class Team:
    """All of them at once."""

    KINDS = (Sequence, Saver, Log, Blocks, Database, Repository)

    def __init__(self, top, outside, kinds=KINDS):
        self.members = [kind(top, outside) for kind in kinds]
        self.processes = []

    def prepare(self):
        for member in self.members:
            member.prepare()

    def start(self):
        context = multiprocessing.get_context("fork")
        self.processes = [context.Process(target=self._run, args=(member,)) for member in self.members]
        for process in self.processes:
            process.start()

    @staticmethod
    def _run(member):
        # With the test's own process they end, too.
        ctypes.CDLL(None).prctl(1, 9)
        member.run()

    def stop(self):
        for process in self.processes:
            process.join(300)
            assert not process.is_alive(), "it hangs although the mount is gone"
            process.close()
        self.processes = []

    def check(self):
        for member in self.members:
            member.check()


def read_all(top):
    """Nothing in there gives an error."""
    for folder, dirs, files in os.walk(os.fsencode(top), onerror=_raise):
        for name in dirs + files:
            path = os.path.join(folder, name)
            os.lstat(path)
            if os.path.islink(path):
                os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as f:
                    while f.read(1 << 20):
                        pass


def _raise(error):
    raise error
