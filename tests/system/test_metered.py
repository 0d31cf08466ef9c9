"""While NetworkManager says that the network is metered nothing is synced by itself, as if paused; what is asked for is done."""
import os
import signal
import subprocess

import pytest

from accounts import cli  # noqa: F401: fixtures
from bad_service import bad_service  # noqa: F401: fixtures
from conftest import binary, parent_of, signal_all, wait_until
from services import ceph  # noqa: F401: fixtures
from system_bus import Mock, SystemBus
from test_libraries import loaded

# pylint: disable=redefined-outer-name

UNKNOWN, YES, NO, GUESS_YES, GUESS_NO = range(5)


@pytest.fixture
def bus(cli):
    b = SystemBus()
    cli.env["DBUS_SYSTEM_BUS_ADDRESS"] = b.address
    yield b
    b.close()


@pytest.fixture
def manager(bus):
    """Makes NetworkManager come; at the end all have gone."""
    made = []

    def make(metered):
        made.append(Mock(bus, "networkmanager_mock.py", metered))
        return made[-1]

    yield make
    for service in made:
        service.close()


@pytest.fixture
def url(cli, bad_service):
    """It is here, but 0.0.0.0 does not say so."""
    cli.env.update(bad_service.keys())
    return f"s3:{bad_service.endpoint.replace('127.0.0.1', '0.0.0.0')}/{os.path.basename(cli.root).lower().replace('_', 'x')}?plain-http=yes"


def watchers(cli):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as name:
                found += [int(pid)] if name.read() == "snugfs-network\n" else []
        except OSError:  # it has ended
            pass
    daemons = cli.daemons()
    return [pid for pid in found if parent_of(pid) in daemons]


def pending(cli):
    return cli.status()["pending"]["files"]


def is_metered(cli):
    return cli.status()["metered"]


def settle(cli):
    """As long as it takes another folder, whose store is a disk, to sync by itself."""
    other = cli.home / "Other"
    if not other.exists():
        cli.ok("up", other, "--no-passphrase", "--remote", cli.store)
    (other / "file").write_bytes(os.urandom(20))
    wait_until(lambda: cli.status(other)["pending"]["files"] == 0, "the other folder to sync")


def set_metered(cli, word):
    folder = cli.home / ".config/snugfs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.ini").write_text(f"[settings]\nmetered = {word}\n")


def test_nothing_is_asked_or_sent_when_the_network_is_metered_before_the_folder_is_mounted(cli, manager, url, bad_service):
    manager(YES)
    cli.up("--remote", url)
    wait_until(lambda: is_metered(cli), "it to be known")
    bad_service.asked.clear()
    (cli.mp / "file").write_text("later")
    cli.ok("unmount", cli.mp)
    wait_until(lambda: not cli.daemons(), "the daemon's end")
    cli.ok("mount", cli.mp)
    settle(cli)
    assert is_metered(cli) and pending(cli) > 0 and bad_service.asked == []


@pytest.mark.parametrize("metered", [NO, GUESS_NO, UNKNOWN, 5])
def test_what_is_not_metered_goes_by_itself(cli, manager, url, metered):
    service = manager(metered)
    cli.up("--remote", url)
    (cli.mp / "file").write_text("now")
    wait_until(lambda: pending(cli) == 0, "the file to be in the store")
    assert service.hear() == "asked" and is_metered(cli) is False
    assert len(watchers(cli)) == 1


@pytest.mark.parametrize("metered", [YES, GUESS_YES])
def test_an_upload_stops_between_two_segments_and_goes_on_when_the_network_is_another_one(cli, manager, url, bad_service, metered):
    service = manager(NO)
    cli.up("--remote", url)
    bad_service.hold("PUT", "/s/")
    (cli.mp / "film").write_bytes(os.urandom(100 << 20))
    wait_until(lambda: bad_service.held, "the upload to begin")
    service.say(metered)
    wait_until(lambda: is_metered(cli), "it to be known")
    bad_service.let_go()
    wait_until(lambda: not cli.status()["busy"], "the upload to stop")
    assert pending(cli) > 0 and cli.status()["problem"] is None
    before = len(bad_service.asked)
    settle(cli)
    assert pending(cli) > 0 and len(bad_service.asked) == before
    service.say(NO)
    wait_until(lambda: pending(cli) == 0, "the rest to go")
    assert is_metered(cli) is False


def test_what_somebody_asks_for_is_done_on_a_metered_network(cli, manager, url, bad_service):
    manager(YES)
    cli.up("--remote", url)
    wait_until(lambda: is_metered(cli), "it to be known")
    (cli.mp / "file").write_text("now")
    cli.ok("sync", cli.mp)
    assert is_metered(cli) and pending(cli) == 0
    cli.ok("free", cli.mp)
    cli.ok("unmount", cli.mp)
    cli.ok("mount", cli.mp)
    wait_until(lambda: is_metered(cli), "it to be known")
    bad_service.asked.clear()
    assert (cli.mp / "file").read_text() == "now"
    assert [command for command, _ in bad_service.asked] == ["GET"]


def test_what_is_pinned_is_not_brought_until_the_network_is_another_one(cli, manager, url, bad_service):
    service = manager(YES)
    cli.up("--remote", url)
    wait_until(lambda: is_metered(cli), "it to be known")
    (cli.mp / "film").write_bytes(os.urandom(3 << 20))
    cli.ok("sync", cli.mp)
    cli.ok("free", cli.mp)
    bad_service.asked.clear()
    assert "when this folder syncs by itself again" in cli.ok("pin", cli.mp / "film").stdout
    settle(cli)
    assert os.getxattr(cli.mp / "film", "user.snugfs.state") == b"remote pinned" and bad_service.asked == []
    service.say(NO)
    wait_until(lambda: os.getxattr(cli.mp / "film", "user.snugfs.state") == b"local pinned", "it to come")


def test_it_goes_on_when_networkmanager_goes_and_waits_again_when_it_comes_back(cli, manager, url):
    service = manager(YES)
    cli.up("--remote", url)
    wait_until(lambda: is_metered(cli), "it to be known")
    (cli.mp / "file").write_text("later")
    service.close()
    wait_until(lambda: pending(cli) == 0, "the file to be in the store")
    assert is_metered(cli) is False
    manager(YES)
    wait_until(lambda: is_metered(cli), "it to be known again")


def test_another_process_asks_when_the_one_that_watches_dies_and_it_waits_until_then(cli, manager, url):
    service = manager(YES)
    cli.up("--remote", url)
    wait_until(lambda: is_metered(cli), "it to be known")
    (cli.mp / "file").write_text("later")
    first = watchers(cli)
    signal_all(first, signal.SIGKILL)
    wait_until(lambda: watchers(cli) not in ([], first), "another process")
    assert is_metered(cli) and pending(cli) > 0
    service.say(NO)
    wait_until(lambda: pending(cli) == 0, "the file to be in the store")


@pytest.mark.parametrize("hangs", ["bus", "manager"])
def test_neither_mounting_nor_sync_is_held_up_by_who_does_not_answer(cli, bus, manager, url, hangs):
    service = manager(YES)
    (bus if hangs == "bus" else service).process.send_signal(signal.SIGSTOP)
    cli.up("--remote", url)
    (cli.mp / "file").write_text("soon")
    wait_until(lambda: pending(cli) == 0, "the file to be in the store")
    cli.ok("unmount", cli.mp)
    wait_until(lambda: not cli.daemons(), "the daemon's end")


def test_with_the_setting_sync_nobody_is_asked(cli, manager, url):
    set_metered(cli, "sync")
    service = manager(YES)
    cli.up("--remote", url)
    (cli.mp / "file").write_text("now")
    wait_until(lambda: pending(cli) == 0, "the file to be in the store")
    assert watchers(cli) == [] and not service.says_something() and is_metered(cli) is False


@pytest.mark.parametrize("store", ["dir", "loopback", None])
def test_nobody_is_asked_for_a_store_that_is_on_this_computer_or_for_none(cli, manager, bad_service, store):
    service = manager(YES)
    cli.env.update(bad_service.keys())
    remote = {"dir": f"dir:{cli.store}", "loopback": f"s3:{bad_service.endpoint}/here"}
    cli.up(*(["--remote", remote[store]] if store else []))
    (cli.mp / "file").write_text("now")
    if store:
        wait_until(lambda: pending(cli) == 0, "the file to be in the store")
    assert watchers(cli) == [] and not service.says_something() and is_metered(cli) is False


@pytest.mark.parametrize("missing", ["library", "bus", "manager"])
def test_where_nobody_can_be_asked_it_syncs_by_itself_and_no_process_stays(cli, bus, url, tmp_path, missing):
    if missing == "library":
        (tmp_path / "libgio-2.0.so.0").write_bytes(b"")
        cli.env["LD_LIBRARY_PATH"] = str(tmp_path)
    if missing == "bus":
        cli.env["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={bus.folder}/nothing"
    assert cli.up("--remote", url).stderr == ""
    (cli.mp / "file").write_text("now")
    wait_until(lambda: pending(cli) == 0, "the file to be in the store")
    wait_until(lambda: not watchers(cli), "its process to end")
    assert is_metered(cli) is False


@pytest.mark.parametrize("end", ["unmount", "kill"])
def test_the_process_that_watches_ends_with_the_daemon_which_has_no_such_library_itself(cli, manager, url, end):
    service = manager(NO)
    cli.up("--remote", url)
    assert service.hear() == "asked"
    watcher, = watchers(cli)
    daemon, = cli.daemons()
    assert "libgio" in loaded(watcher) and not loaded(daemon) & {"libgio", "libglib", "libgobject"}
    if end == "unmount":
        cli.ok("unmount", cli.mp)
    else:
        cli.kill()
    wait_until(lambda: not os.path.exists(f"/proc/{watcher}") and not cli.daemons(), "both to end")


def test_that_it_waits_and_why_is_shown_also_to_who_resumes(cli, manager, url):
    manager(YES)
    cli.up("--remote", url)
    wait_until(lambda: is_metered(cli), "it to be known")
    (cli.mp / "file").write_text("later")
    shown = cli.ok("status", cli.mp).stdout
    assert 'waits: the network is metered; "snugfs sync" syncs now' in shown, shown
    assert cli.status()["next"] == \
        f"nothing: it goes to the store when the network is not metered; to send it now: snugfs sync {cli.mp}"
    assert cli.status()["hold"] is None
    assert "It waits all the same, since the network is metered" in cli.ok("resume", cli.mp).stdout
    with subprocess.Popen([binary(), "status", cli.mp, "--watch"], env=cli.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          text=True) as watch:
        line = watch.stdout.readline()
        watch.kill()
    assert line.startswith("files pending: ") and "; waits: the network is metered" in line, line
    cli.ok("pause", cli.mp)
    assert "paused: nothing is synced by itself; the network is metered, too" in cli.ok("status", cli.mp).stdout
    assert cli.status()["metered"] is True
    cli.ok("unmount", cli.mp)
    assert cli.status()["metered"] is None


def test_a_pause_stays_when_the_network_is_not_metered_any_more(cli, manager, url):
    service = manager(YES)
    cli.up("--remote", url)
    cli.ok("pause", cli.mp)
    wait_until(lambda: is_metered(cli), "it to be known")
    (cli.mp / "file").write_text("later")
    service.say(NO)
    wait_until(lambda: not is_metered(cli), "it to be known")
    settle(cli)
    assert pending(cli) > 0 and cli.status()["hold"]["kind"] == "paused"
    assert cli.ok("resume", cli.mp).stdout == "It syncs by itself again.\n"
    wait_until(lambda: pending(cli) == 0, "the file to be in the store")
