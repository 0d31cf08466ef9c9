"""snugfs lock: the folder is closed, its daemon and so its keys are gone, and nothing that was written is lost."""
import contextlib
import os
import pathlib
import subprocess

import pytest

from accounts import cli  # noqa: F401: fixtures
from conftest import wait_until
from system_bus import Mock, SystemBus


def test_lock_closes_the_folder_and_ends_its_daemon(cli):
    cli.up()
    (cli.mp / "a").write_text("kept")
    assert "is locked" in cli.ok("lock", cli.mp).stdout
    assert cli.mounts() == [] and cli.daemons() == []
    assert "is not open" in cli.ok("lock", cli.mp).stdout
    cli.ok("mount", cli.mp)
    assert (cli.mp / "a").read_text() == "kept"


def test_lock_says_who_has_files_open_and_leaves_it_to_them_unless_forced(cli):
    cli.up()
    fd = os.open(cli.mp / "a", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"in the kernel's memory only")
    cli.fails("lock", cli.mp, saying=["is in use", "--force"])
    assert (cli.mp / "a").exists()
    cli.ok("lock", cli.mp, "--force")
    assert cli.mounts() == [] and cli.daemons() == []
    with pytest.raises(OSError):
        os.write(fd, b"too late")
        os.fsync(fd)
    with contextlib.suppress(OSError):
        os.close(fd)
    cli.ok("mount", cli.mp)
    assert (cli.mp / "a").read_text() == "in the kernel's memory only"


def test_lock_all_closes_every_folder_also_if_one_resists(cli):
    cli.up()
    second = cli.home / "Second"
    cli.ok("up", second, "--no-passphrase")
    holder = subprocess.Popen(["sleep", "600"], cwd=cli.mp)
    try:
        cli.fails("lock", "--all", saying="sleep")
        assert cli.mounts() == [str(cli.mp)]
    finally:
        holder.kill()
        holder.wait()
    cli.ok("lock", "--all")
    assert cli.mounts() == [] and cli.daemons() == []
    assert cli.run("lock", cli.mp, "--all").returncode == 2


# By itself


@pytest.fixture
def logind(cli):
    bus = SystemBus()
    service = Mock(bus, "logind_mock.py")
    cli.env["DBUS_SYSTEM_BUS_ADDRESS"] = bus.address
    yield service
    service.close()
    bus.close()


def names_of_processes():
    """As ps shows them: at most 15 characters."""
    for path in pathlib.Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            yield path.read_text(encoding="utf-8", errors="replace").strip()


def is_closed(cli):
    return cli.mounts() == [] and cli.daemons() == []


def test_a_folder_that_nobody_uses_locks_itself(cli):
    cli.up()
    (cli.mp / "a").write_text("kept")
    assert "locks itself after 1 second" in cli.ok("lock", cli.mp, "--after", "1s").stdout
    wait_until(lambda: is_closed(cli), "the folder to lock itself")
    cli.ok("mount", cli.mp)
    wait_until(lambda: is_closed(cli), "the folder to lock itself again")
    cli.ok("lock", cli.mp, "--after", "never", "--no-passphrase")
    cli.ok("mount", cli.mp)
    assert (cli.mp / "a").read_text() == "kept"


def test_a_folder_with_an_open_file_does_not_lock_itself_until_that_is_closed(cli):
    cli.up()
    second = cli.home / "Second"
    cli.ok("up", second, "--no-passphrase")
    fd = os.open(cli.mp / "a", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"in the kernel's memory only")
    cli.ok("lock", cli.mp, "--after", "1s")
    cli.ok("lock", second, "--after", "2s")
    wait_until(lambda: cli.mounts() == [str(cli.mp)], "the other folder to lock itself")
    os.write(fd, b", and more")
    os.close(fd)
    wait_until(lambda: is_closed(cli), "the folder to lock itself")
    cli.ok("lock", cli.mp, "--after", "never", "--no-passphrase")
    cli.ok("mount", cli.mp)
    assert (cli.mp / "a").read_text() == "in the kernel's memory only, and more"


def test_when_a_folder_locks_itself_is_remembered_and_shown(cli):
    cli.up()
    assert cli.status()["lock"] == {"after": None, "on_suspend": False, "watching": False}
    cli.ok("lock", cli.mp, "--after", "2h")
    cli.ok("unmount", cli.mp)
    cli.ok("mount", cli.mp)
    assert cli.status()["lock"]["after"] == 7200
    assert "after 2 hours without use" in cli.ok("status", cli.mp).stdout
    assert "does not lock itself" in cli.ok("lock", cli.mp, "--after", "never").stdout
    assert cli.status()["lock"]["after"] is None
    assert cli.run("lock", cli.mp, "--after", "soon").returncode == 2
    assert cli.run("lock", cli.mp, "--on-suspend", "perhaps").returncode == 2
    assert cli.run("lock", "--all", "--after", "1h").returncode == 2
    assert cli.mounts() == [str(cli.mp)]


def test_before_the_computer_sleeps_the_folder_is_locked_and_sleep_waits_for_that(cli, logind):
    cli.up()
    assert "locked before the computer sleeps" in cli.ok("lock", cli.mp, "--on-suspend", "on").stdout
    assert logind.hear() == "locked sleep delay snugfs True"
    assert "snugfs-suspend" in names_of_processes()
    assert cli.status()["lock"] == {"after": None, "on_suspend": True, "watching": True}
    assert "before the computer sleeps" in cli.ok("status", cli.mp).stdout
    fd = os.open(cli.mp / "a", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"in the kernel's memory only")
    logind.say("wake")  # no sleep
    logind.say("sleep")
    assert logind.hear() == "released sleep"
    assert is_closed(cli), "sleep came before the keys were gone"
    with contextlib.suppress(OSError):
        os.close(fd)
    cli.ok("mount", cli.mp)
    assert logind.hear() == "locked sleep delay snugfs True"
    assert (cli.mp / "a").read_text() == "in the kernel's memory only"
    assert "stays open while" in cli.ok("lock", cli.mp, "--on-suspend", "off").stdout
    assert logind.hear() == "released sleep"
    assert (cli.mp / "a").exists()


def test_a_folder_that_is_locked_by_hand_lets_the_computer_sleep(cli, logind):
    cli.up()
    cli.ok("lock", cli.mp, "--on-suspend", "on")
    assert logind.hear().startswith("locked")
    cli.ok("lock", cli.mp)
    assert logind.hear() == "released sleep"
    assert is_closed(cli)


def test_without_logind_it_is_said_that_the_folder_stays_open(cli):
    cli.env["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={cli.root}/nothing"
    cli.up()
    done = cli.run("lock", cli.mp, "--on-suspend", "on")
    assert done.returncode == 1 and "cannot be for now: there is no system bus" in done.stderr, done.stderr
    assert cli.status()["lock"] == {"after": None, "on_suspend": True, "watching": False}
    (cli.mp / "a").write_text("it works all the same")
