"""People's accounts for the tests of commands: a home, a terminal, and what a program tells them."""
import hashlib
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import time

import pytest

from conftest import binary, new_root, processes, signal_all, wait_until

TIMEOUT = 300
KEY = re.compile(r"\b(?:[0-9A-HJKMNP-TV-Z]{4}-){6}[0-9A-HJKMNP-TV-Z]{4}\b")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small or read-only disk")


class Cli:
    """A person's account: a home, and whatever is mounted below it is taken off at the end."""

    def __init__(self, root):
        self.program = [binary()]
        self.root = pathlib.Path(root)
        self.home = self.root / "home"
        self.home.mkdir()
        self.mp = self.home / "Private"
        self.store = self.root / "store"
        self.env = dict(os.environ, HOME=str(self.home), LC_ALL="C.UTF-8")
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            self.env.pop(name, None)
        self.disks = []

    def run(self, *args, stdin=None, **kwargs):
        feed = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        return subprocess.run([*self.program, *map(str, args)], env=self.env, capture_output=True, text=True, timeout=TIMEOUT,
                              **feed, **kwargs)

    def ok(self, *args, **kwargs):
        done = self.run(*args, **kwargs)
        assert done.returncode == 0, f"snugfs {args}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def fails(self, *args, saying=(), **kwargs):
        """Exit status 1, and just one sentence on standard error that has all these words."""
        return one_sentence(self.run(*args, **kwargs), saying)

    def up(self, *args):
        return self.ok("up", self.mp, "--no-passphrase", *args)

    def status(self, mp=None):
        return json.loads(self.ok("status", mp or self.mp, "--json").stdout)

    def vault_dir(self):
        """Where snugfs puts it; names that are too long are cut, and end with a hash."""
        name = str(self.mp).lstrip("/").replace("/", "-")
        if len(name) > 120:
            name = f"{name[-111:]}-{hashlib.sha256(bytes(self.mp)).hexdigest()[:8]}"
        return self.home / ".local/share/snugfs" / name

    def daemons(self):
        place = str(self.root).encode()
        return processes(lambda argv: os.path.basename(argv[0]).endswith(b"snugfs") and any(place in a for a in argv[1:]))

    def kill(self):
        signal_all(self.daemons(), signal.SIGKILL)
        wait_until(lambda: not self.daemons(), "the daemon's death")

    def mounts(self):
        with open("/proc/self/mounts", "rb") as lines:
            fields = [re.sub(rb"\\(\d{3})", lambda octal: bytes([int(octal[1], 8)]), line.split(b" ")[1]) for line in lines]
        places = [os.fsdecode(field) for field in fields]
        return [place for place in places if place.startswith(f"{self.root}/")]

    def small_disk(self, path, size):
        path.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=True)

    def clean_up(self):
        for place in sorted(self.mounts(), reverse=True):
            tool = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u", "-z"]
            subprocess.run([*tool, place], check=False, capture_output=True)
        signal_all(self.daemons(), signal.SIGTERM)
        try:
            wait_until(lambda: not self.daemons(), "the daemons' end")
        finally:
            signal_all(self.daemons(), signal.SIGKILL)
            shutil.rmtree(self.root, ignore_errors=True)


def one_sentence(done, saying=()):
    assert done.returncode == 1, f"{done.returncode}\n{done.stdout}{done.stderr}"
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("snugfs: ") and lines[0].endswith("."), done.stderr
    for words in [saying] if isinstance(saying, str) else saying:
        assert words in lines[0], lines[0]
    return done


def mistype(key):
    """One wrong character in the third group."""
    at = key.index(key.split("-")[2])
    return key[:at] + ("7" if key[at] != "7" else "8") + key[at + 1:]


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, cli, *args):
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(binary(), [binary(), *map(str, args)], cli.env)

    def read_until(self, words):
        end = time.monotonic() + TIMEOUT
        while words not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert ready, f"waited for {words!r}, saw {self.seen!r}"
            self.seen += os.read(self.fd, 4096).decode()
        head, _, self.seen = self.seen.partition(words)
        return head

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        rest = self.seen
        try:
            while select.select([self.fd], [], [], TIMEOUT)[0]:
                piece = os.read(self.fd, 4096)
                if not piece:
                    break
                rest += piece.decode()
        except OSError:  # the terminal of a process that has ended
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return rest, status


@pytest.fixture
def cli():
    c = Cli(new_root())
    yield c
    c.clean_up()


@pytest.fixture
def other():
    """Another computer."""
    c = Cli(new_root())
    yield c
    c.clean_up()


@pytest.fixture
def synced(cli):
    """A mounted vault with a file in its store; its recovery key is cli.key."""
    cli.key = KEY.search(cli.up("--remote", cli.store).stdout).group()
    (cli.mp / "file").write_text("hello")
    cli.ok("sync", cli.mp)
    return cli


@pytest.fixture
def made(cli):
    cli.ok("init", cli.mp, "--no-passphrase")
    return cli
