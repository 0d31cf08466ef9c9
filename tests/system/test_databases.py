"""Databases inside a mount.  A transaction that was acknowledged is there whatever died: the clients write down, outside
the mount, what they were told was committed.
"""
import contextlib
import faulthandler
import os
import pathlib
import pwd
import random
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest

import conftest
from posixlib import in_child, libc

# How long each load runs.
SECONDS = float(os.environ.get("DATABASE_SECONDS", "2"))
CRASHES = int(os.environ.get("DATABASE_CRASHES", "1"))
SCALE = os.environ.get("DATABASE_SCALE", "5")


@pytest.fixture
def notes():
    """A folder on an ordinary disk, for what the clients were told."""
    folder = pathlib.Path(conftest.new_root_for_sockets())
    os.chmod(folder, 0o777)
    yield folder
    shutil.rmtree(folder)


def acknowledged(notes):
    return {line for path in notes.glob("acknowledged-*") for line in path.read_text().split("\n")[:-1]}


# SQLite


ACCOUNTS = 50
TOTAL = ACCOUNTS * 1000


def connect(path, mode, mmap=True):
    """EXTRA, because a rollback journal's commit is an unlink, which FULL does not flush."""
    db = sqlite3.connect(path, timeout=120, isolation_level=None)
    db.execute(f"PRAGMA journal_mode={mode}")
    db.execute("PRAGMA synchronous=EXTRA")
    if mmap:
        assert db.execute(f"PRAGMA mmap_size={64 << 20}").fetchone() == (64 << 20,)
    return db


def make_accounts(path, mode):
    db = connect(path, mode)
    db.execute("CREATE TABLE account(id INTEGER PRIMARY KEY, amount INTEGER, padding BLOB)")
    db.execute("CREATE TABLE token(name TEXT PRIMARY KEY, padding BLOB)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO account VALUES(?, 1000, zeroblob(2000))", [(n,) for n in range(ACCOUNTS)])
    db.execute("COMMIT")
    db.close()


def write_until_killed(path, mode, notes, name):
    """Moves money, and notes each token as soon as its transaction is committed."""
    source = random.Random(name)
    db = connect(path, mode)
    told = os.open(notes / f"acknowledged-{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for n in range(10**9):
        a, b, amount = source.randrange(ACCOUNTS), source.randrange(ACCOUNTS), source.randrange(100)
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE account SET amount = amount - ? WHERE id = ?", (amount, a))
        db.execute("UPDATE account SET amount = amount + ?, padding = randomblob(2000) WHERE id = ?", (amount, b))
        db.execute("INSERT INTO token VALUES(?, randomblob(?))", (f"{name}-{n}", source.randrange(3000)))
        if n % 10 == 9:
            db.execute("ROLLBACK")
            continue
        db.execute("COMMIT")
        os.statvfs(path.parent)  # SQLite takes it for success if it can't open the folder that it is about to flush
        os.write(told, f"{name}-{n}\n".encode())


def read_until_killed(path, mode, notes, name):
    """Money is never made or lost, and what a transaction sees does not change under it."""
    db = connect(path, mode)
    while True:
        db.execute("BEGIN")
        one = db.execute("SELECT sum(amount) FROM account").fetchone()
        count = db.execute("SELECT count(*) FROM token").fetchone()
        rows = db.execute("SELECT name, length(padding) FROM token").fetchall()
        two = db.execute("SELECT sum(amount) FROM account").fetchone()
        db.execute("COMMIT")
        if one != (TOTAL,) or two != one or (len(rows),) != count:
            (notes / f"wrong-{name}").write_text(f"{one} {two} {len(rows)} {count}")
            return


class Client:
    """A process of its own that runs one of the above, and may be killed at any moment; what else ended it is noted."""

    def __init__(self, function, path, mode, notes, name):
        self.pid = os.fork()
        if self.pid == 0:
            faulthandler.disable()  # memory that is mapped from a dead mount is a bus error, which is right
            try:
                function(path, mode, notes, name)
            except BaseException as e:  # pylint: disable=broad-except
                (notes / f"ended-{name}").write_text(repr(e))
            finally:
                os._exit(0)

    def is_running(self):
        return os.waitpid(self.pid, os.WNOHANG) == (0, 0)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def start(path, mode, notes, names, readers=1):
    return [Client(write_until_killed, path, mode, notes, name) for name in names] + \
        [Client(read_until_killed, path, mode, notes, f"reader{n}-{names[0]}") for n in range(readers)]


def wait_for_tokens(notes, more):
    """Until that many more are acknowledged, and for a while."""
    begin, until = len(acknowledged(notes)), time.monotonic() + SECONDS
    conftest.wait_until(lambda: time.monotonic() > until and len(acknowledged(notes)) >= begin + more, "transactions")


def check_accounts(path, mode, notes):
    def body():
        db = connect(path, mode)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT sum(amount) FROM account").fetchone() == (TOTAL,)
        kept = {name for (name,) in db.execute("SELECT name FROM token")}
        assert acknowledged(notes) - kept == set()
        assert {name for name in kept if name.endswith("9")} == set(), "a transaction that was rolled back"
        db.close()

    in_child(body)


def no_complaints(notes):
    return {p.name: p.read_text() for p in notes.iterdir() if p.name.startswith(("wrong-", "ended-"))}


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_sqlite_keeps_what_several_processes_write_though_some_are_killed(mounted, notes, mode):
    path = mounted.mountpoint / "data.db"
    in_child(lambda: make_accounts(path, mode))
    clients = start(path, mode, notes, ["a", "b", "c"] if mode == "WAL" else ["a", "b"])
    wait_for_tokens(notes, 20)
    for name in ("d", "e"):
        clients.pop(0).kill()
        clients += start(path, mode, notes, [name], readers=0)
        wait_for_tokens(notes, 20)
    assert all(client.is_running() for client in clients), no_complaints(notes)
    for client in clients:
        client.kill()
    assert no_complaints(notes) == {}
    check_accounts(path, mode, notes)
    mounted.unmount()
    mounted.mount()
    check_accounts(path, mode, notes)


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_sqlite_keeps_every_acknowledged_transaction_when_the_daemon_is_killed(mounted, notes, mode):
    path = mounted.mountpoint / "data.db"
    in_child(lambda: make_accounts(path, mode))
    for crash in range(CRASHES):
        clients = start(path, mode, notes, [f"{crash}a", f"{crash}b"])
        wait_for_tokens(notes, 20)
        mounted.signal(signal.SIGKILL)
        for client in clients:
            client.kill()
        mounted.kill()
        mounted.mount()
        check_accounts(path, mode, notes)
    assert [name for name in no_complaints(notes) if name.startswith("wrong-")] == []


# PostgreSQL


def newest_postgresql():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    assert found, "PostgreSQL is not installed: tests/install tests"
    return found[-1].parent


class Postgres:
    """A server whose data is in a folder of the mount that belongs to its user: PostgreSQL will not run as root."""

    def __init__(self, where, notes):
        self.bin = newest_postgresql()
        self.notes = notes
        self.data = where / "postgresql"
        self.server = None
        self.user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self.data.mkdir(mode=0o700)
        os.chown(self.data, self.user.pw_uid, self.user.pw_gid)
        self.env = dict(os.environ, PGHOST=str(notes), PGDATABASE="postgres", PGUSER="postgres", PGDATA=str(self.data),
                        LC_ALL="C.UTF-8")
        self.run("initdb", "--auth=trust", "--username=postgres", "--data-checksums")
        with open(self.data / "postgresql.conf", "a", encoding="ascii") as f:
            f.write(f"listen_addresses = ''\nunix_socket_directories = '{notes}'\nshared_buffers = 16MB\n"
                    "checkpoint_timeout = 30s\nmax_wal_size = 64MB\nmin_wal_size = 32MB\nsynchronous_commit = on\n")

    def popen(self, program, *args, **kwargs):
        who = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        return subprocess.Popen([self.bin / program, *args], cwd="/", env=self.env, text=True, start_new_session=True, **who,
                                **kwargs)

    def run(self, program, *args):
        with self.popen(program, *args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as done:
            out, _ = done.communicate(timeout=300)
        assert done.returncode == 0, f"{program}: {done.returncode}\n{out}"
        return out

    def start(self):
        """Recovers, if it must.  A child of ours, so that it is gone when it was killed: init may let zombies be."""
        with open(self.notes / "log", "a", encoding="utf-8") as log:
            self.server = self.popen("postgres", stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        conftest.wait_until(lambda: self.is_ready() or self.server.poll() is not None, "PostgreSQL to start")
        assert self.is_ready(), (self.notes / "log").read_text()[-3000:]

    def is_ready(self):
        with self.popen("pg_isready", "--quiet") as done:
            return done.wait(timeout=300) == 0

    def end(self, number):
        """SIGINT: in order; SIGQUIT: at once."""
        self.server.send_signal(number)
        assert self.server.wait(timeout=300) == 0

    def sql(self, text):
        return self.run("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", text).strip()

    def processes(self):
        """The server and what it has forked, which is ours when it has gone before."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                parent = int(pathlib.Path("/proc", pid, "stat").read_text().rsplit(") ", 1)[1].split()[1])
                if os.readlink(f"/proc/{pid}/exe") == str(self.bin / "postgres") and parent in (self.server.pid, os.getpid()):
                    found.append(int(pid))
            except OSError:
                continue
        return found

    def crash(self):
        while pids := self.processes():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.server.wait(timeout=300)
            for pid in pids:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def check(self):
        """Every index against its table, and every page of every table."""
        self.sql("CREATE EXTENSION IF NOT EXISTS amcheck")
        assert self.run("pg_amcheck", "--database=postgres", "--heapallindexed", "--rootdescend", "--jobs=2") == ""


class TokenClients:
    """psql processes that commit tokens one by one; what psql says is committed is noted by name."""

    def __init__(self, postgres, notes, round_, count):
        self.processes = []
        for n in range(count):
            name = f"{round_}-{n}"
            script = notes / f"script-{name}"
            with open(script, "w", encoding="ascii") as f:
                f.writelines(f"INSERT INTO token VALUES ('{name}-{i}') RETURNING name;\n" for i in range(30000))
            with open(notes / f"acknowledged-{name}", "wb") as told, open(notes / f"errors-{name}", "wb") as errors:
                psql = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", script]
                self.processes.append(postgres.popen(*psql, stdin=subprocess.DEVNULL, stdout=told, stderr=errors))

    def wait(self):
        for process in self.processes:
            process.wait(timeout=300)


def adopt_orphans(wanted):
    """Orphans become children of this process (PR_SET_CHILD_SUBREAPER)."""
    assert libc.prctl(36, wanted, 0, 0, 0) == 0


@pytest.fixture
def postgres(mounted, notes):
    server = Postgres(mounted.mountpoint, notes)
    adopt_orphans(1)
    try:
        server.start()
        yield server
        if server.server.poll() is None:
            server.end(signal.SIGQUIT)
    finally:
        server.crash()
        adopt_orphans(0)


def bench(server, *args):
    return server.popen("pgbench", "--client=4", "--jobs=2", f"--time={int(SECONDS) + 1}", "--no-vacuum", *args,
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


def tokens(server):
    return set(server.sql("SELECT name FROM token").split("\n"))


def test_postgresql_keeps_every_acknowledged_transaction_whoever_is_killed(mounted, postgres, notes):
    postgres.run("pgbench", "--initialize", "--quiet", f"--scale={SCALE}")
    postgres.sql("CREATE TABLE token(name text PRIMARY KEY)")
    with bench(postgres) as load:
        out, _ = load.communicate(timeout=300)
    assert load.returncode == 0, out
    crashes = [("the server", postgres.crash), *[("the daemon", lambda: mounted.signal(signal.SIGKILL))] * CRASHES]
    for round_, (who, crash) in enumerate(crashes):
        clients = TokenClients(postgres, notes, round_, 2)
        with bench(postgres) as load:
            wait_for_tokens(notes, 20)
            crash()
            postgres.crash()
            load.communicate(timeout=300)
        clients.wait()
        if not mounted.daemons():
            mounted.kill()
            mounted.mount()
        postgres.start()
        assert acknowledged(notes) - tokens(postgres) == set(), who
        postgres.check()
    postgres.end(signal.SIGINT)
    before = os.stat(postgres.data)
    mounted.unmount()
    mounted.mount()
    assert (os.stat(postgres.data).st_uid, os.stat(postgres.data).st_mode) == (before.st_uid, before.st_mode)
    postgres.start()
    assert acknowledged(notes) <= tokens(postgres)
    postgres.check()
    postgres.end(signal.SIGINT)
