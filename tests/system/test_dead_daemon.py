"""A daemon that is killed at the worst moment: while it tells the kernel to forget a page that somebody else is reading, which takes
the daemon.  Its thread can't end before the page has come, and holds the connection to the kernel open."""
import contextlib
import os
import pathlib
import random
import re
import signal
import subprocess
import time

import pytest

import conftest
import posixlib
from bad_service import bad_service  # noqa: F401  pylint: disable=unused-import
from services import ceph  # noqa: F401  pylint: disable=unused-import
from test_s3_main_job import remote  # noqa: F401  pylint: disable=unused-import

# pylint: disable=redefined-outer-name

CONTENT = random.Random(1).randbytes(3 << 20)
WATCH = b"snugfs-watchdog"
FSOPEN = 430  # the system call's number, on all kinds of machines


def watches_of(pid):
    found = []
    for other in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if conftest.stat_of(other)[1] == str(pid) and (other / "comm").read_bytes().strip() == WATCH:
                found.append(int(other.name))
    return found


def can_be_aborted(mountpoint):
    """By what fusectl shows, wherever that is; else whoever hung here would do so for ever."""
    if os.access(f"/sys/fs/fuse/connections/{os.minor(os.stat(mountpoint).st_dev)}/abort", os.W_OK):
        return True
    fd = posixlib.libc.syscall(FSOPEN, b"fusectl", 0)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def waits_for_a_page(task):
    try:
        place = (task / "wchan").read_text(encoding="ascii")
    except PermissionError:
        place = "0"
    # Many systems show nobody where the kernel is; they do show that it cannot be disturbed.
    return re.search("folio|page", place) if place != "0" else conftest.stat_of(task)[0] == "D"


def waiting(pid):
    """Its threads that wait for a page, and how often each has waited for anything."""
    found = set()
    for task in pathlib.Path("/proc", str(pid), "task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            if waits_for_a_page(task):
                found.add((task.name, re.search(r"^voluntary_ctxt_switches:\s*(\d+)$", (task / "status").read_text(), re.M)[1]))
    return found


def is_stuck(pid):
    """Is one of its threads waiting for a page that does not come?  A slow disk's do, after a while."""
    seen = waiting(pid)
    for _ in range(40):
        time.sleep(0.05)
        seen &= waiting(pid)
    return bool(seen)


@pytest.fixture
def stuck(remote, bad_service):
    """A vault, its daemon, which is stuck, and a reader, who waits for it."""
    computers = remote(bad_service)
    alpha = computers.first()
    (alpha.mountpoint / "film").write_bytes(CONTENT)
    computers.sync(alpha)
    beta = computers.join()
    pid, = beta.daemons()
    if not can_be_aborted(beta.mountpoint):
        pytest.skip("fusectl can't be reached here")
    conftest.wait_until(lambda: watches_of(pid), "the process that watches")  # whoever mounts does not
    bad_service.hold("GET", "/s/")
    command = ["head", "-c1", beta.mountpoint / "film"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as reader:
        conftest.wait_until(lambda: bad_service.held, "somebody to read")
        with open(alpha.mountpoint / "film", "ab") as f:
            f.write(b"the end")
        computers.sync(alpha)
        with subprocess.Popen([conftest.binary(), "sync", beta.mountpoint, "--vault", beta.dir], env=beta.env,
                              stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sync:
            conftest.wait_until(lambda: is_stuck(pid), "the kernel to be told")
            yield beta, pid, reader
            bad_service.let_go()
            reader.kill()
            sync.kill()


def serves_again(vault, service):
    service.let_go()
    vault.mount()
    vault.run("sync", vault.mountpoint, "--vault", vault.dir)  # what had come may have to come again
    assert (vault.mountpoint / "film").read_bytes() == CONTENT + b"the end"


def is_gone(pid):
    """Not even a thread is left; nobody may have asked how it ended."""
    try:
        return os.listdir(f"/proc/{pid}/task") == [str(pid)]
    except FileNotFoundError:
        return True


def test_nobody_hangs_when_a_daemon_is_killed_that_waits_for_a_page(stuck, bad_service):
    vault, pid, reader = stuck
    os.kill(pid, signal.SIGKILL)
    assert reader.wait(300) != 0
    conftest.wait_until(lambda: is_gone(pid), "the daemon's last thread")
    assert "ended unexpectedly" in vault.run("status", vault.mountpoint, "--vault", vault.dir).stdout
    serves_again(vault, bad_service)


@pytest.mark.parametrize("command", ["status", "mount", "unmount"])
def test_a_command_helps_when_the_watch_was_killed_too(stuck, bad_service, command):
    vault, pid, reader = stuck
    watch, = watches_of(pid)
    os.kill(watch, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    conftest.wait_until(lambda: pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() == b"", "the daemon's death")
    assert is_stuck(pid) and reader.poll() is None
    if command == "mount":
        done = vault.mount()
    else:
        done = vault.run(command, vault.mountpoint, "--vault", vault.dir)
    assert "was killed in the middle of something" in done.stderr
    assert reader.wait(300) != 0
    conftest.wait_until(lambda: is_gone(pid), "the daemon's last thread")
    if command == "mount":
        vault.unmount()
    serves_again(vault, bad_service)
