"""The main job, end to end: a folder that syncs ciphertext to a store and opens on a second computer."""
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import threading

import pytest

import conftest
import trees
from posixlib import needs_root


class Computers:
    """Computers that share nothing but the store (and the paper with the recovery key)."""

    def __init__(self):
        self.root = pathlib.Path(conftest.new_root())
        self.store = self.root / "store"
        self.remote = f"dir:{self.store}"
        self.paper = self.root / "recovery-key"
        self.all = []

    def _new(self):
        vault = conftest.Vault(conftest.new_root())
        self.all.append(vault)
        return vault

    def another(self):
        return self._new()

    def first(self, *args):
        vault = self._new()
        vault.up(*self._making(args))
        return vault

    def _making(self, args):
        return ["--remote", self.remote, "--recovery-key-file", self.paper, "--device-name", "alpha", *args]

    def _joined(self, name):
        vault = self._new()
        vault.run("join", vault.mountpoint, "--vault", vault.dir, "--remote", self.remote, "--no-passphrase",
                  "--recovery-key-file", self.paper, "--device-name", name)
        return vault

    def join(self, name="beta"):
        vault = self._joined(name)
        vault.mount()
        return vault

    def sync(self, *vaults):
        for vault in vaults:
            vault.run("sync", vault.mountpoint, "--vault", vault.dir)

    def clean_up(self):
        errors = []
        for vault in self.all:
            try:
                vault.clean_up()
            except Exception as error:  # pylint: disable=broad-except
                errors.append(error)
        shutil.rmtree(self.root)
        assert not errors, errors


class Asked(Computers):
    """They sync when they are asked to, and never by themselves: then it is known what a commit has in it, and a segment.  The first
    one, number 0, has nothing in it but the device."""

    def _mounted(self, vault):
        """Paused before: a daemon that has run for a moment may have sent something."""
        vault.run("pause", vault.mountpoint, "--vault", vault.dir)
        vault.mount()
        return vault

    def first(self, *args):
        vault = self._new()
        vault.run("init", vault.mountpoint, "--vault", vault.dir, "--no-passphrase", *self._making(args))
        return self._mounted(vault)

    def join(self, name="beta"):
        return self._mounted(self._joined(name))


@pytest.fixture
def computers():
    c = Computers()
    yield c
    c.clean_up()


@pytest.fixture
def asked():
    c = Asked()
    yield c
    c.clean_up()


def run(*args, cwd, **kwargs):
    done = subprocess.run([str(a) for a in args], cwd=cwd, capture_output=True, text=True, timeout=600, check=False, **kwargs)
    assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
    return done.stdout


@needs_root
def test_a_real_tree_comes_in_and_is_the_same_on_both_computers_and_nothing_shows(computers):
    alpha = computers.first()
    trees.copy_in(alpha.mountpoint)
    assert trees.count(alpha.mountpoint) >= 10000
    assert trees.differences(alpha.mountpoint) == ""
    before = trees.describe(alpha.mountpoint)
    alpha.unmount("--wait")
    alpha.mount()
    assert trees.compare(before, trees.describe(alpha.mountpoint)) == []
    beta = computers.join()
    assert trees.compare(before, trees.describe(beta.mountpoint)) == []
    assert trees.differences(beta.mountpoint) == ""


def test_inode_numbers_and_times_are_the_same_after_a_remount(mounted):
    top = mounted.mountpoint
    (top / "d").mkdir()
    (top / "d" / "f").write_text("content")
    os.link(top / "d" / "f", top / "g")
    os.symlink("d/f", top / "l")

    def look():
        return [(s.st_ino, s.st_ctime_ns, s.st_mtime_ns, s.st_nlink)
                for s in (os.lstat(top / p) for p in ("d", "d/f", "g", "l"))]

    before = look()
    mounted.unmount()
    mounted.mount()
    assert look() == before
    assert (top / "g").read_text() == "content"


def test_edits_flow_both_ways_without_remounting(asked):
    alpha = asked.first()
    (alpha.mountpoint / "letter.txt").write_text("from alpha\n")
    asked.sync(alpha)
    beta = asked.join()
    assert (beta.mountpoint / "letter.txt").read_text() == "from alpha\n"
    with open(beta.mountpoint / "letter.txt", "a", encoding="ascii") as f:
        f.write("from beta\n")
    (beta.mountpoint / "new").mkdir()
    (beta.mountpoint / "new" / "file").write_bytes(b"x" * 300000)
    assert not (alpha.mountpoint / "new").exists()  # and the kernel remembers that it is not there
    asked.sync(beta, alpha)
    assert (alpha.mountpoint / "letter.txt").read_text() == "from alpha\nfrom beta\n"
    assert (alpha.mountpoint / "new" / "file").read_bytes() == b"x" * 300000
    os.rename(alpha.mountpoint / "new" / "file", alpha.mountpoint / "moved")
    os.unlink(alpha.mountpoint / "letter.txt")
    asked.sync(alpha, beta)
    assert sorted(os.listdir(beta.mountpoint)) == ["moved", "new"]
    assert os.listdir(beta.mountpoint / "new") == []
    assert trees.compare(trees.describe(alpha.mountpoint), trees.describe(beta.mountpoint)) == []


def test_the_daemons_sync_by_themselves(computers):
    alpha = computers.first()
    beta_ready = (alpha.mountpoint / "hello")
    beta_ready.write_text("hello")
    computers.sync(alpha)
    beta = computers.join()
    (alpha.mountpoint / "second").write_text("by itself")
    arrived = beta.mountpoint / "second"
    conftest.wait_until(arrived.exists, "a file to arrive on the second computer")
    assert arrived.read_text() == "by itself"


def test_both_versions_of_a_file_edited_on_both_computers_survive_on_both(computers):
    alpha = computers.first()
    (alpha.mountpoint / "plan.txt").write_text("base")
    computers.sync(alpha)
    beta = computers.join()
    for vault in (alpha, beta):  # offline: the store is away
        vault.unmount()
    computers.store.rename(computers.root / "away")
    for vault in (alpha, beta):
        vault.mount()
    (alpha.mountpoint / "plan.txt").write_text("alpha's")
    (beta.mountpoint / "plan.txt").write_text("beta's version")
    for vault in (alpha, beta):
        vault.unmount()
    (computers.root / "away").rename(computers.store)
    for vault in (alpha, beta):
        vault.mount()
    computers.sync(alpha, beta, alpha)
    for vault in (alpha, beta):
        texts = sorted(p.read_text() for p in vault.mountpoint.iterdir())
        assert texts == ["alpha's", "beta's version"], [p.name for p in vault.mountpoint.iterdir()]
        assert any("conflict from" in p.name for p in vault.mountpoint.iterdir())


def test_a_conflict_is_told_whatever_bytes_the_name_has(computers):
    alpha = computers.first()
    computers.sync(alpha)
    beta = computers.join()
    for vault in (alpha, beta):
        vault.run("pause", vault.mountpoint, "--vault", vault.dir)
        with open(os.fsencode(vault.mountpoint) + b"/caf\xe9", "wb") as f:
            f.write(os.fsencode(vault.dir))
    computers.sync(alpha, beta)
    messages = json.loads(beta.run("status", beta.mountpoint, "--vault", beta.dir, "--json").stdout)["messages"]
    assert len(messages) == 1 and "caf\\xe9 was made on two devices" in messages[0], messages


def test_a_c_project_configures_builds_and_runs_inside(mnt):
    source = pathlib.Path(__file__).resolve().parents[2]
    inside = mnt / "project"
    inside.mkdir()
    for name in ("meson.build", "meson_options.txt", "crypto", "remote", "fs", "man", "tests"):
        run("cp", "-a", source / name, inside, cwd=mnt)
    run("meson", "setup", "build", cwd=inside)
    run("ninja", "-C", "build", "tests/unit/crypto/test_bytes", cwd=inside)
    run("build/tests/unit/crypto/test_bytes", cwd=inside)


def test_git_clones_commits_and_finds_no_fault(mnt):
    env = dict(os.environ, GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@b", GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@b",
               GIT_CONFIG_GLOBAL="/dev/null", HOME=str(mnt))
    run("git", "init", "-q", "one", cwd=mnt)
    for n in range(200):
        (mnt / "one" / f"file{n}").write_text(f"line {n}\n" * (n + 1))
    run("git", "add", ".", cwd=mnt / "one", env=env)
    run("git", "commit", "-qm", "first", cwd=mnt / "one", env=env)
    run("git", "clone", "-q", "one", "two", cwd=mnt, env=env)
    (mnt / "two" / "file7").write_text("changed\n")
    run("git", "commit", "-qam", "second", cwd=mnt / "two", env=env)
    run("git", "repack", "-adq", cwd=mnt / "two", env=env)
    for clone in ("one", "two"):
        run("git", "fsck", "--full", "--strict", cwd=mnt / clone, env=env)
        assert run("git", "status", "--porcelain", cwd=mnt / clone, env=env) == ""


def test_a_sqlite_database_with_wal_works_and_survives_a_remount(mounted):
    path = mounted.mountpoint / "data.db"
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
    db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)")
    for n in range(100):
        with db:
            db.execute("INSERT INTO t(b) VALUES(?)", (f"row {n}" * 50,))
    other = sqlite3.connect(path)
    assert other.execute("SELECT count(*) FROM t").fetchone() == (100,)
    other.close()
    db.close()
    mounted.unmount()
    mounted.mount()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert db.execute("SELECT count(*) FROM t").fetchone() == (100,)
    db.close()


def test_what_was_fsynced_survives_a_killed_daemon_under_load(mounted):
    top = mounted.mountpoint
    for n in range(50):
        path = top / f"kept{n}"
        with open(path, "wb") as f:
            f.write(bytes([n]) * (n * 1000 + 1))
            f.flush()
            os.fsync(f.fileno())
    fd = os.open(top, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    stop = threading.Event()

    def load():
        n = 0
        while not stop.is_set():
            try:
                (top / f"load{n % 500}").write_bytes(os.urandom(5000))
                n += 1
            except OSError:
                return

    threads = [threading.Thread(target=load) for _ in range(3)]
    for t in threads:
        t.start()
    stop.wait(3)
    mounted.signal(signal.SIGKILL)
    stop.set()
    for t in threads:
        t.join(timeout=300)
    mounted.kill()
    mounted.mount()
    for n in range(50):
        assert (top / f"kept{n}").read_bytes() == bytes([n]) * (n * 1000 + 1)
    for path in top.iterdir():
        path.read_bytes()  # nothing that is there is damaged


WORDS = ["unmistakable-name", "quite-secret-folder", "the-target-of-a-link"]
SENTENCE = b"The quick brown fox is a secret sentence that nobody else may read. "


def all_bytes_below(top):
    for path in pathlib.Path(top).rglob("*"):
        if path.is_file() and not path.is_socket():
            yield path, path.read_bytes()


def chi_square(data):
    counts = [0] * 256
    for value in data:
        counts[value] += 1
    expected = len(data) / 256
    return sum((c - expected) ** 2 / expected for c in counts)


def test_neither_the_store_nor_the_vault_folder_shows_anything(computers):
    alpha = computers.first()
    top = alpha.mountpoint
    (top / WORDS[1]).mkdir()
    (top / WORDS[1] / WORDS[0]).write_bytes(SENTENCE * 5000)
    os.symlink(WORDS[2], top / "link")
    for n in range(300):
        (top / f"{WORDS[0]}-{n}").write_bytes(SENTENCE + str(n).encode())
    os.setxattr(top / WORDS[1], "user.colour", b"secret-colour-of-the-folder")
    alpha.unmount("--wait")
    needles = [w.encode() for w in WORDS] + [SENTENCE[:24], b"secret-colour", b"user.colour", b"alpha"]
    searched = 0
    for where in (computers.store, alpha.dir):
        for path, data in all_bytes_below(where):
            searched += len(data)
            for needle in needles:
                assert needle not in data, f"{needle} is in {path}"
    assert searched > 100000
    # Compressed and then left in the clear would show zstd's frames.
    stored = b"".join(data for _, data in all_bytes_below(computers.store))
    assert stored.count(b"\x28\xb5\x2f\xfd") <= 1 + len(stored) // (1 << 28)
    # 255 degrees of freedom: 400 is beyond any chance, and what a text of any kind gives is in the thousands.
    assert chi_square(stored) < 400
    for name, size in trees.objects(computers.store).items():
        assert trees.padme(size) == size, f"{name} has {size} bytes"


def test_twenty_thousand_small_files_are_a_few_dozen_objects(computers):
    alpha = computers.first()
    alpha.run("pause", alpha.mountpoint, "--vault", alpha.dir)  # a slow computer would push several times meanwhile
    for folder in range(20):
        (alpha.mountpoint / str(folder)).mkdir()
        for n in range(1000):
            (alpha.mountpoint / str(folder) / f"{n}.txt").write_bytes(f"file {folder} {n} ".encode() * (n % 40 + 1))
    alpha.run("resume", alpha.mountpoint, "--vault", alpha.dir)
    alpha.unmount("--wait")
    objects = trees.objects(computers.store)
    assert len(objects) < 60, sorted(objects)
    beta = computers.join()
    assert trees.count(beta.mountpoint) == 20020
    assert (beta.mountpoint / "7" / "39.txt").read_bytes() == b"file 7 39 " * 40


def test_only_the_damaged_file_fails_and_its_neighbours_stay_readable(asked):
    alpha = asked.first()
    (alpha.mountpoint / "a").write_bytes(os.urandom(100000))
    (alpha.mountpoint / "c").write_bytes(b"beside it in the segment")
    asked.sync(alpha)
    before = set(trees.objects(asked.store))
    (alpha.mountpoint / "b").write_bytes(b"good" * 1000)
    asked.sync(alpha)
    damaged = [name for name in before if name.startswith("s/")]
    assert damaged
    for name in damaged:
        path = asked.store / name
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)
    beta = asked.join()
    assert (beta.mountpoint / "b").read_bytes() == b"good" * 1000
    assert (beta.mountpoint / "c").read_bytes() == b"beside it in the segment"
    with pytest.raises(OSError):
        (beta.mountpoint / "a").read_bytes()
    for name in damaged:  # and once the store is mended, without a remount
        data = bytearray((asked.store / name).read_bytes())
        data[len(data) // 3] ^= 1
        (asked.store / name).write_bytes(data)
    assert (beta.mountpoint / "a").read_bytes() == (alpha.mountpoint / "a").read_bytes()


def test_a_store_that_was_rolled_back_is_noticed(asked):
    alpha = asked.first()
    (alpha.mountpoint / "a").write_text("one")
    asked.sync(alpha)
    old = asked.root / "old"
    shutil.copytree(asked.store, old)
    (alpha.mountpoint / "a").write_text("two")
    asked.sync(alpha)
    alpha.unmount()
    shutil.rmtree(asked.store)
    old.rename(asked.store)
    alpha.mount()
    (alpha.mountpoint / "b").write_text("three")
    done = alpha.run("sync", alpha.mountpoint, "--vault", alpha.dir, check=False)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert (alpha.mountpoint / "a").read_text() == "two"
