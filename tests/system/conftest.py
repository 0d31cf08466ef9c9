"""Fixtures of the system tests: vaults that are really mounted, and plain folders to prove the tests themselves.

The program under test is $SNUGFS_BUILD/fs/cmd/snugfs.  Every vault lives in a folder of its own, with its own home, and is
unmounted, its daemon ended and waited for, whatever the test did.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

import posixlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # the package `reader`


def settle_environment():
    """Whoever starts the tests may have a umask, a language, a proxy, a desktop and keys of his own, and ignore signals."""
    os.umask(0o022)
    for name in list(os.environ):
        if name.startswith(("AWS_", "DBUS_", "LANG", "LC_", "XDG_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(LC_ALL="C.UTF-8", no_proxy="*")
    for number in (signal.SIGINT, signal.SIGQUIT):  # a shell has what it starts in the background ignore them, and all that starts
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


settle_environment()


def pytest_configure(config):
    config.addinivalue_line("markers", "longer(wanted): takes too long for every run; left out unless it is wanted")


def pytest_collection_modifyitems(config, items):
    left_out = [item for item in items if any(not mark.args[0] for mark in item.iter_markers("longer"))]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def binary():
    build = os.environ.get("SNUGFS_BUILD")
    if not build:
        pytest.exit("SNUGFS_BUILD is not set: the folder that snugfs was built in", returncode=2)
    return os.path.join(build, "fs", "cmd", "snugfs")


def wait_until(condition, what, seconds=300):
    """Only as long as needed; the limit is for a hang, not for slowness."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.02)


def stat_of(task):
    """State, parent and so on of a process or thread of /proc, as proc(5) has them."""
    return (task / "stat").read_text(encoding="utf-8", errors="replace").rsplit(") ", 1)[1].split()


def argv_of(pid):
    try:
        return pathlib.Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]


def parent_of(pid):
    try:
        return int(stat_of(pathlib.Path("/proc", str(pid)))[1])
    except OSError:
        return 0


def processes(chosen):
    """Process ids by arguments.  What a process starts has its arguments until it is another program: that is waited for."""
    end = time.monotonic() + 10
    while True:
        found = [int(pid) for pid in filter(str.isdigit, os.listdir("/proc")) if chosen(argv_of(pid))]
        if not any(parent_of(pid) in found for pid in found) or time.monotonic() > end:
            return found
        time.sleep(0.02)


def signal_all(pids, number):
    """Those that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def is_asleep(pid, looks=10):
    """It has done nothing between so many looks: it waits, for whatever it be."""
    def doing():
        fields = stat_of(pathlib.Path("/proc", str(pid)))
        return fields[0], fields[7:13]  # its state, and the page faults and ticks that it has had

    seen = doing()
    for _ in range(looks):
        time.sleep(0.02)
        if seen[0] not in "SD" or doing() != seen:
            return False
    return True


class Vault:
    """A vault with its mount point, vault folder and home under one temporary folder."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.mountpoint = self.root / "mnt"
        self.dir = self.root / "vault"
        self.env = dict(os.environ, HOME=str(self.root / "home"))
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"):
            self.env.pop(name, None)
        self.mountpoint.mkdir()
        (self.root / "home").mkdir()

    def run(self, *args, check=True, **kwargs):
        done = subprocess.run([binary(), *map(str, args)], env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=300, **kwargs)
        if check and done.returncode != 0:
            raise AssertionError(f"snugfs {' '.join(map(str, args))}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def start(self, *args):
        """Without waiting for it; about this vault, whatever it is."""
        return subprocess.Popen([binary(), *map(str, args), "--vault", str(self.dir)], env=self.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _mount(self, verb, *args):
        options = ["-o", "allow_other"] if os.geteuid() == 0 else []
        return self.run(verb, self.mountpoint, "--vault", self.dir, "--no-passphrase", *options, *args)

    def up(self, *args):
        return self._mount("up", *args)

    def mount(self, *args):
        return self._mount("mount", *args)

    def unmount(self, *args, check=True):
        done = self.run("unmount", self.mountpoint, "--vault", self.dir, *args, check=check)
        if done.returncode == 0:
            wait_until(lambda: not self.daemons(), "the daemon's end")
        return done

    def is_mounted(self):
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            return any(line.split(" ")[1] == str(self.mountpoint) for line in mounts)

    def daemons(self):
        """Process ids of what still runs for this vault and is no zombie."""
        place = str(self.mountpoint).encode()
        return processes(lambda argv: place in argv and os.path.basename(argv[0]) == b"snugfs")

    def signal(self, number):
        signal_all(self.daemons(), number)

    def kill(self):
        """A crash: what the kernel knew of the mount is gone with it."""
        self.signal(signal.SIGKILL)
        wait_until(lambda: not self.daemons(), "the daemon's death")
        self.detach()

    def detach(self):
        tool = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u", "-z"]
        if self.is_mounted():
            subprocess.run([*tool, str(self.mountpoint)], check=False, capture_output=True)

    def clean_up(self):
        try:
            if self.is_mounted():
                self.unmount(check=False)
        finally:
            self.detach()
            self.signal(signal.SIGTERM)
            try:
                wait_until(lambda: not self.daemons(), "the daemon's end")
            except TimeoutError:
                self.signal(signal.SIGKILL)
                raise
            finally:
                shutil.rmtree(self.root)


def small_disk(path, size):
    """A new disk of that size there, which whoever asks unmounts; skips where nothing may be mounted."""
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    return path


def new_root(where=None):
    """By the name that the table of mounts has."""
    root = os.path.realpath(tempfile.mkdtemp(prefix="snugfs-test-", dir=where))
    os.chmod(root, 0o755)
    return root


def new_root_for_sockets():
    """For what other programs make sockets in: whatever TMPDIR is, their paths are no longer than a socket's may be."""
    return new_root(None if len(os.path.realpath(tempfile.gettempdir())) <= 50 else "/tmp")


@pytest.fixture
def vault():
    """A vault that is neither made nor mounted yet."""
    v = Vault(new_root())
    yield v
    v.clean_up()


@pytest.fixture
def mounted(vault):
    """The Vault object of a fresh, mounted vault."""
    vault.up()
    return vault


@pytest.fixture
def mnt(mounted):
    """The mount point of a fresh vault."""
    return mounted.mountpoint


@pytest.fixture(scope="module", params=["plain", "snugfs"])
def shared_place(request):
    if request.param == "plain":
        root = new_root()
        if not posixlib.is_plain_disk(root):
            shutil.rmtree(root)
            pytest.skip("temporary files are not on an ordinary disk file system")
        yield pathlib.Path(root)
        shutil.rmtree(root)
    else:
        v = Vault(new_root())
        try:
            v.up()
            yield v.mountpoint
        finally:
            v.clean_up()


@pytest.fixture
def place(shared_place, request):
    """An empty folder, once on an ordinary disk, to prove the test, and once in a vault."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=request.node.originalname + "-", dir=shared_place))
    os.chmod(folder, 0o755)
    yield folder
    shutil.rmtree(folder)
