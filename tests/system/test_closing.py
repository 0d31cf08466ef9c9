"""Who closes a folder waits for the end of its background process: also of one that has begun to end, or that has no number here."""
import contextlib
import os
import subprocess

import pytest

import conftest
import posixlib
import test_crash_disk
from test_crash_disk import disk  # noqa: F401: a fixture


@contextlib.contextmanager
def that_takes_nothing(disk):
    """Whoever writes there waits."""
    subprocess.run(["fsfreeze", "--freeze", disk.path], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", disk.path], check=True)


def close_twice(vault, disk, *args):
    """The second time by these arguments; what that said when it was over."""
    vault.up()
    (vault.mountpoint / "kept").write_text("kept")
    with that_takes_nothing(disk):
        subprocess.run(["umount", vault.mountpoint], check=True)
        second = subprocess.Popen([conftest.binary(), *args, vault.mountpoint, "--vault", vault.dir], env=vault.env, text=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert "are being saved in" in second.stderr.readline()
    out, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    assert vault.daemons() == []
    return out


@test_crash_disk.pytestmark
def test_lock_waits_for_a_folder_that_was_unmounted_a_moment_ago(vault, disk):
    assert "is locked" in close_twice(vault, disk, "lock")
    vault.mount()
    assert (vault.mountpoint / "kept").read_text() == "kept"


@test_crash_disk.pytestmark
def test_unmount_waits_for_a_folder_that_was_unmounted_a_moment_ago(vault, disk):
    close_twice(vault, disk, "unmount")
    assert "is not mounted" in vault.unmount(check=False).stderr


@pytest.fixture
def detached(mounted):
    """A vault that was unmounted while a file is open there, which keeps it alive; the file's descriptor."""
    fd = os.open(mounted.mountpoint / "kept", os.O_RDWR | os.O_CREAT)
    try:
        mounted.detach()
        assert not mounted.is_mounted()
        yield mounted, fd
    finally:
        with contextlib.suppress(OSError):  # it may be told then that the daemon has gone
            os.close(fd)


@pytest.mark.parametrize("verb", ["unmount", "lock"])
def test_who_uses_a_folder_that_was_detached_is_left_alone_and_that_is_said(detached, verb):
    vault, fd = detached
    done = vault.run(verb, vault.mountpoint, "--vault", vault.dir, check=False)
    assert done.returncode == 1 and "still uses" in done.stderr
    assert os.write(fd, b"kept") == 4
    os.fsync(fd)


def test_a_folder_that_was_detached_while_it_was_used_can_be_locked_anyway(detached):
    vault, _ = detached
    assert "is locked" in vault.run("lock", vault.mountpoint, "--vault", vault.dir, "--force").stdout
    assert vault.daemons() == []


def test_what_is_not_open_and_can_not_be_reached_is_no_error_when_all_are_locked(mounted):
    mounted.unmount()
    mounted.dir.rename(mounted.root / "away")
    mounted.dir.write_text("in its place")
    done = mounted.run("lock", "--all")
    assert (done.stdout, done.stderr) == ("", "")


@posixlib.needs_mount_namespace
def test_a_folder_that_is_open_in_another_mount_namespace_is_not_waited_for(mounted):
    done = subprocess.run(["unshare", "--mount", "sh", "-ec", f"umount {mounted.mountpoint}\n"
                           f"exec {conftest.binary()} lock {mounted.mountpoint} --vault {mounted.dir}"], env=mounted.env, check=True,
                          timeout=300, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert "is not open" in done.stdout
    assert mounted.is_mounted()


@pytest.mark.skipif(not posixlib.can_unshare(posixlib.CLONE_NEWPID), reason="needs root, and a PID namespace of its own")
@pytest.mark.parametrize("verb", ["unmount", "lock"])
def test_a_process_of_another_pid_namespace_is_waited_for(mounted, verb):
    subprocess.run(["unshare", "--pid", "--fork", conftest.binary(), verb, mounted.mountpoint, "--vault", mounted.dir], env=mounted.env,
                   check=True, timeout=300, stdin=subprocess.DEVNULL)
    assert mounted.daemons() == []
