"""Fixtures of the attack suite: a scene of two computers and a store with some history, made once, of which every test gets a
copy to attack.

Each test changes the store, or what lies on a computer's disk, as an adversary would who may have more than any adversary of
snugfs-threat-model(7): keys of epochs, keys of members.  It asserts the exact refusal, and that everything else stays readable.
"""
import importlib.util
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "system")]

_spec = importlib.util.spec_from_file_location("system_conftest", TESTS / "system" / "conftest.py")
system = importlib.util.module_from_spec(_spec)
sys.modules["system_conftest"] = system
_spec.loader.exec_module(system)

# pylint: disable=wrong-import-position
import reader  # noqa: E402
from adversary import Adversary  # noqa: E402

KEY = re.compile(r"[0-9A-Z]{4}(-[0-9A-Z]{4}){6}")
RANDOM = b"".join(reader.sha256(bytes([i % 256, i >> 8])) for i in range(1 << 16))  # 2 MiB that do not compress
CONTENTS = {
    "one": RANDOM[:40000],
    "two": RANDOM[50000:90000],
    "big": RANDOM[100000:] + RANDOM[:700000],
    "text": b"".join(b"line %d of many that are alike\n" % i for i in range(8000)),
    "folder/note": b"the third version, longer than those before",
    "folder/kept": b"here from the start",
}


class Computer(system.Vault):
    """One whose vault is opened now and then; what its daemon says goes to a file."""

    def __init__(self, root):
        root.mkdir()
        super().__init__(root)
        self.foreground = None

    def mount_here(self):
        options = ["-o", "allow_other"] if os.geteuid() == 0 else []
        with open(self.root / "log", "w", encoding="utf-8") as log:
            self.foreground = subprocess.Popen(
                [system.binary(), "mount", "-f", str(self.mountpoint), "--vault", str(self.dir), "--no-passphrase", *options],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        system.wait_until(lambda: self.is_mounted() or self.foreground.poll() is not None, "the mount")
        assert self.is_mounted(), self.log()

    def unmount_here(self):
        if self.foreground is not None:
            self.unmount(check=False)
            self.detach()
            self.foreground.wait(300)
            self.foreground = None

    def log(self):
        return (self.root / "log").read_text(encoding="utf-8")

    def sync(self, check=True):
        return self.run("sync", self.mountpoint, "--vault", self.dir, check=check)

    def refuses_to_sync(self, *words):
        """Exit status 1 and one sentence with these words; what is here stays readable."""
        return self.refuses(self.sync(check=False), *words)

    @staticmethod
    def refuses(done, *words):
        assert done.returncode == 1, f"{done.returncode}\n{done.stdout}{done.stderr}"
        lines = done.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("snugfs: ") and lines[0].endswith("."), done.stderr
        for word in words:
            assert word in lines[0], lines[0]
        return done

    def contents(self, names):
        """{name: bytes, or the error's number}, from a mount of its own; the log is kept."""
        self.mount_here()
        try:
            return {name: content_or_error(self.mountpoint / name) for name in names}
        finally:
            self.unmount_here()


def content_or_error(path):
    try:
        return path.read_bytes()
    except OSError as error:
        return error.errno


class Scene:
    """alpha made the vault and wrote three times, beta joined after the first; gamma may join.  `stage` n is after the n-th."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.store = self.root / "store"
        self.paper = self.root / "recovery-key"
        self.alpha, self.beta, self.gamma = (Computer(self.root / name) for name in ("alpha", "beta", "gamma"))
        self.tell()

    def tell(self):
        self.alpha.run("init", self.alpha.mountpoint, "--vault", self.alpha.dir, "--no-passphrase", "--remote", f"dir:{self.store}",
                       "--recovery-key-file", self.paper, "--device-name", "alpha")
        self.alpha.run("pause", self.alpha.mountpoint, "--vault", self.alpha.dir)  # each sync below is one commit, and no other is
        self.alpha.mount()
        (self.alpha.mountpoint / "folder").mkdir()
        for name, content in CONTENTS.items():
            (self.alpha.mountpoint / name).write_bytes(content)
        (self.alpha.mountpoint / "folder/note").write_bytes(b"the first version")
        self.alpha.sync()
        self.alpha.unmount()
        self.refused_join(self.beta, "beta", refused=False)
        self.alpha.sync()
        self.keep(1)
        for stage, note in ((2, b"the second version, a little longer"), (3, CONTENTS["folder/note"])):
            self.alpha.mount()
            (self.alpha.mountpoint / "folder/note").write_bytes(note)
            self.alpha.sync()
            self.alpha.unmount()
            self.keep(stage)
        self.beta.sync()
        shutil.copytree(self.beta.dir, self.root / "stage3/beta", dirs_exist_ok=True)
        self.text = KEY.search(self.paper.read_text(encoding="utf-8")).group(0)

    def keep(self, stage):
        for what in ("store", "alpha/vault", "beta/vault"):
            shutil.copytree(self.root / what, self.root / f"stage{stage}" / what.split("/")[0])

    def reset(self, store=3, alpha=3, beta=3):
        for computer in (self.alpha, self.beta, self.gamma):
            computer.unmount_here()
        for what, stage in (("store", store), ("alpha/vault", alpha), ("beta/vault", beta)):
            shutil.rmtree(self.root / what, ignore_errors=True)
            shutil.copytree(self.root / f"stage{stage}" / what.split("/")[0], self.root / what)
        shutil.rmtree(self.gamma.dir, ignore_errors=True)
        return self

    def join(self, computer, name):
        return computer.run("join", computer.mountpoint, "--vault", computer.dir, "--remote", f"dir:{self.store}",
                            "--no-passphrase", "--recovery-key-file", self.paper, "--device-name", name, check=False)

    def refused_join(self, computer, name, *words, refused=True):
        done = self.join(computer, name)
        if refused:
            computer.refuses(done, *words)
            assert not computer.dir.exists(), "nothing was made"
        else:
            assert done.returncode == 0, done.stderr
        return done

    def state(self):
        """What the independent reader makes of the store."""
        return reader.Vault(self.store, self.text)

    def adversary(self):
        return Adversary(self)

    def object(self, name):
        return self.store / name

    def replace(self, name, data):
        path = self.store / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def head(self, stage=None):
        """Of the store as it is, or as it was after a stage."""
        store = self.store if stage is None else self.root / f"stage{stage}" / "store"
        return max(int(path.name) for path in (store / "c").iterdir())

    def clean_up(self):
        for computer in (self.alpha, self.beta, self.gamma):
            computer.unmount_here()
            computer.clean_up()
        shutil.rmtree(self.root)


@pytest.fixture(scope="session")
def told():
    s = Scene(system.new_root())
    yield s
    s.clean_up()


@pytest.fixture
def scene(told):
    """All computers know all three stages."""
    return told.reset()


def assert_little_memory():
    """The largest child so far; sanitizers need more."""
    if not os.environ.get("ASAN_OPTIONS"):
        assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 512 << 10


def assert_readable(computer, names=tuple(CONTENTS)):
    assert computer.contents(names) == {name: CONTENTS[name] for name in names}
