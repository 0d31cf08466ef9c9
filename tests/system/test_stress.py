"""Many things at once: programs that write, rename and read in one mount while it syncs and another computer edits and reads
along.  What each program did alone must be there in the end; what they did to the same names must be whole.
"""
import os
import random
import subprocess
import threading

import posixlib
import trees
from posixlib import read_file, write_file
from test_main_job import computers  # pylint: disable=unused-import

ROUNDS = int(os.environ.get("STRESS_ROUNDS", "1500"))


class Worker(threading.Thread):
    """Does what a seed says in a folder of its own, keeping a model of it, and in one that all share."""

    def __init__(self, seed, own, shared):
        super().__init__()
        self.random = random.Random(seed)
        self.own = own
        self.shared = shared
        self.model = {}
        self.failure = None

    def run(self):
        try:
            self.own.mkdir()
            for _ in range(ROUNDS):
                self.random.choice([self.write, self.write, self.patch, self.rename, self.remove, self.cut, self.read,
                                    self.share, self.look])()
        except Exception as e:  # pylint: disable=broad-except
            self.failure = e

    def some(self):
        return self.random.choice(sorted(self.model)) if self.model else None

    def write(self):
        name = f"f{self.random.randrange(20)}"
        self.model[name] = self.random.randbytes(self.random.choice([0, 100, 5000, 200000]))
        write_file(self.own / name, self.model[name])

    def patch(self):
        name = self.some()
        if name:
            data, at = self.random.randbytes(3000), self.random.randrange(300000)
            with open(self.own / name, "r+b") as f:
                f.seek(at)
                f.write(data)
                if self.random.random() < 0.3:
                    f.flush()
                    os.fsync(f.fileno())
            old = self.model[name].ljust(at, b"\0")
            self.model[name] = old[:at] + data + old[at + len(data):]

    def cut(self):
        name = self.some()
        if name:
            size = self.random.randrange(250000)
            os.truncate(self.own / name, size)
            self.model[name] = self.model[name][:size].ljust(size, b"\0")

    def rename(self):
        name = self.some()
        if name:
            new = f"r{self.random.randrange(20)}"
            os.rename(self.own / name, self.own / new)
            self.model[new] = self.model.pop(name)

    def remove(self):
        name = self.some()
        if name:
            os.unlink(self.own / name)
            del self.model[name]

    def read(self):
        name = self.some()
        if name:
            assert read_file(self.own / name) == self.model[name], name

    def share(self):
        """Names that all fight over: whoever loses a race is told so."""
        a, b = (self.shared / f"s{self.random.randrange(6)}" for _ in range(2))
        try:
            self.random.choice([lambda: write_file(a, b"x" * 10000), lambda: os.unlink(a), lambda: os.rename(a, b),
                                lambda: os.link(a, b), lambda: os.symlink("s0", a), lambda: os.mkdir(a),
                                lambda: os.rmdir(a)])()
        except OSError:
            pass

    def look(self):
        assert sorted(os.listdir(self.own)) == sorted(self.model)
        for name in os.listdir(self.shared):
            try:
                os.lstat(self.shared / name)
            except FileNotFoundError:
                pass


def sync_until(done, vaults, failures):
    """Syncs and asks for the status, from outside, as a person or a script would."""
    while not done.is_set():
        for vault in vaults:
            for command in (["sync", vault.mountpoint], ["status", vault.mountpoint, "--json"]):
                try:
                    vault.run(*command, "--vault", vault.dir)
                except (AssertionError, subprocess.TimeoutExpired) as e:
                    failures.append(e)
                    return


def test_what_many_programs_on_two_computers_do_at_once_is_all_there(computers):  # pylint: disable=redefined-outer-name
    alpha = computers.first()
    (alpha.mountpoint / "shared").mkdir()
    computers.sync(alpha)
    beta = computers.join()
    workers = [Worker(seed, vault.mountpoint / f"{where}{seed}", vault.mountpoint / "shared")
               for where, vault, seeds in (("alpha", alpha, range(4)), ("beta", beta, range(10, 12))) for seed in seeds]
    done, failures = threading.Event(), []
    syncer = threading.Thread(target=sync_until, args=(done, [alpha, beta], failures))
    syncer.start()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    done.set()
    syncer.join()
    assert [worker.failure for worker in workers if worker.failure] == [] and failures == []
    computers.sync(alpha, beta, alpha)
    for vault in (alpha, beta):
        for worker in workers:
            folder = vault.mountpoint / worker.own.name
            assert {name: read_file(folder / name) for name in os.listdir(folder)} == worker.model
    assert trees.compare(trees.describe(alpha.mountpoint), trees.describe(beta.mountpoint)) == []


def times_in(folder):
    return {entry.name: (entry.stat().st_mtime_ns, entry.stat().st_ctime_ns) for entry in os.scandir(folder)}


def test_a_remount_keeps_the_times_of_files_that_were_written_while_the_kernel_was_flushing(mounted):
    def write(seed):
        source = random.Random(seed)
        for i in range(ROUNDS // 3):
            write_file(mounted.mountpoint / f"{seed}-{i % 40}", source.randbytes(source.choice([5000, 200000])))

    def flush():
        while not done.is_set():
            with posixlib.opened(mounted.mountpoint, os.O_RDONLY) as fd:
                assert posixlib.libc.syncfs(fd) == 0

    done = threading.Event()
    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    flusher = threading.Thread(target=flush)
    flusher.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    flusher.join()
    before = times_in(mounted.mountpoint)
    mounted.unmount()
    mounted.mount()
    assert times_in(mounted.mountpoint) == before
