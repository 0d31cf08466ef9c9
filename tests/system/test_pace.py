"""When it syncs and how fast, as people steer it: by itself, paused, offline, limited; what status says of it; the hook."""
import json
import os
import pty
import select
import subprocess
import time

import pytest

from accounts import Cli, cli, one_sentence, other, synced  # noqa: F401: fixtures
from conftest import binary, wait_until


def json_of(cli, *args):
    return json.loads(cli.ok(*args, "--json").stdout)


def pending(cli):
    return cli.status()["pending"]["files"]


@pytest.fixture
def pair(synced, other):
    other.ok("join", other.mp, "--remote", synced.store, "--no-passphrase", stdin=synced.key + "\n")
    other.ok("mount", other.mp)
    return synced, other


def reads(path):
    """None: it is not there.  What is just being written may be there in part."""
    return path.read_text() if path.exists() else None


def test_what_is_saved_here_appears_there_by_itself_and_the_other_way_round(pair):
    one, two = pair
    (one.mp / "letter").write_text("dear you")
    wait_until(lambda: reads(two.mp / "letter") == "dear you", "the letter")
    (two.mp / "answer").write_text("dear me")
    wait_until(lambda: reads(one.mp / "answer") == "dear me", "the answer")
    status = one.status()
    assert status["last_contact"] >= status["last_pull"] > 0
    wait_until(lambda: pending(one) == 0, "everything in the store")
    assert one.status()["pending"] == {"bytes": 0, "files": 0, "names": 0, "since": None}


def test_a_pause_holds_until_it_is_ended_also_after_a_remount(synced):
    assert 'until "snugfs resume"' in synced.ok("pause", synced.mp).stdout
    (synced.mp / "later").write_text("later")
    status = synced.status()
    assert status["hold"] == {"kind": "paused", "until": None}
    assert status["next"] == f"to go on syncing: snugfs resume {synced.mp}"
    assert "paused: nothing is synced by itself" in synced.ok("status", synced.mp).stdout
    synced.ok("unmount", synced.mp)
    synced.ok("mount", synced.mp)
    assert synced.status()["hold"] == {"kind": "paused", "until": None}
    assert pending(synced) > 0
    synced.ok("sync", synced.mp)  # whoever asks gets it
    assert pending(synced) == 0
    (synced.mp / "later still").write_text("later still")
    synced.ok("resume", synced.mp)
    wait_until(lambda: pending(synced) == 0, "what waited to be in the store")
    assert synced.status()["hold"] is None


def test_a_pause_for_a_time_says_until_when(synced):
    before = time.time()
    assert synced.ok("pause", synced.mp, "--for", "2h").stdout == "Nothing is synced by itself for 2 hours.\n"
    hold = synced.status()["hold"]
    assert hold["kind"] == "paused" and before + 7190 < hold["until"] < time.time() + 7210


def test_a_pause_that_is_over_ends_by_itself(synced):
    synced.ok("pause", synced.mp, "--for", "1s")
    (synced.mp / "soon").write_text("soon")
    wait_until(lambda: pending(synced) == 0, "the end of the pause")


def test_offline_nothing_is_synced_even_when_asked_for(synced):
    synced.ok("offline", synced.mp)
    (synced.mp / "file").write_text("text")
    synced.fails("sync", synced.mp, saying=("offline", "snugfs resume"))
    synced.ok("unmount", synced.mp)
    synced.fails("sync", synced.mp, "--no-passphrase", saying=("offline", "snugfs resume"))
    synced.ok("mount", synced.mp)
    assert synced.status()["hold"] == {"kind": "offline", "until": None}
    synced.ok("resume", synced.mp)
    wait_until(lambda: pending(synced) == 0, "everything in the store")
    assert synced.status()["problem"] is None


def test_what_is_not_mounted_can_be_paused_too(synced):
    synced.ok("unmount", synced.mp)
    synced.ok("pause", synced.mp)
    synced.ok("mount", synced.mp)
    assert synced.status()["hold"]["kind"] == "paused"


@pytest.mark.parametrize("command", ["pause", "offline", "resume", "limit"])
def test_a_vault_without_a_store_has_nothing_to_hold(cli, command):
    cli.up()
    cli.fails(command, cli.mp, saying=("has no store",))


@pytest.mark.parametrize("args", [("pause", "--for", "soon"), ("offline", "--for", "0"), ("limit", "--up-limit", "fast"),
                                  ("limit", "--down-limit", "-3K"), ("limit", "--up-limit", "10X")])
def test_what_is_no_time_or_rate_is_wrong_usage(synced, args):
    done = synced.run(*args)
    assert done.returncode == 2 and args[-1] in done.stderr
    assert synced.status()["hold"] is None


def test_limits_are_set_shown_kept_and_lifted(synced):
    assert json_of(synced, "limit", synced.mp) == {"up": None, "down": None}
    assert synced.ok("limit", synced.mp, "--up-limit", "500K", "--down-limit", "2.5MiB/s").stdout == \
        "Up: 500.0 KiB a second at most.\nDown: 2.5 MiB a second at most.\n"
    assert synced.status()["limits"] == {"up": 500 << 10, "down": 5 << 19}
    synced.ok("unmount", synced.mp)
    synced.ok("mount", synced.mp)
    assert json_of(synced, "limit", synced.mp, "--up-limit", "none") == {"up": None, "down": 5 << 19}
    assert "limits" in synced.ok("status", synced.mp).stdout


def test_the_configuration_limits_what_was_not_limited_otherwise(synced):
    config = synced.home / ".config/snugfs/config.ini"
    config.write_text(config.read_text() + "[settings]\nup-limit = 1M\ndown-limit = 2M\n")
    synced.ok("limit", synced.mp, "--down-limit", "none")
    assert json_of(synced, "limit", synced.mp) == {"up": 1 << 20, "down": None}


def test_a_limit_holds_back_what_is_uploaded_and_lifting_it_lets_it_go(synced):
    synced.ok("limit", synced.mp, "--up-limit", "1K")
    (synced.mp / "noise").write_bytes(os.urandom(4 << 20))

    def is_under_way():
        status = synced.status()
        return status["busy"] and status["speed"]["up"] > 0 and status["time_left"] is not None

    wait_until(is_under_way, "bytes on their way")
    status = synced.status()
    assert status["speed"]["up"] < 10000 and status["pending"]["since"] is not None
    assert status["pending"]["bytes"] == 4 << 20
    synced.ok("limit", synced.mp, "--up-limit", "none")
    wait_until(lambda: pending(synced) == 0, "everything in the store")


def test_status_watch_prints_a_line_for_each_change_until_it_is_interrupted(synced):
    synced.ok("pause", synced.mp)
    watching = subprocess.Popen([binary(), "status", str(synced.mp), "--watch"], env=synced.env, stdout=subprocess.PIPE,
                                stdin=subprocess.DEVNULL, text=True)
    try:
        assert watching.stdout.readline() == "nothing pending; paused\n"
        (synced.mp / "file").write_text("text")
        assert watching.stdout.readline().startswith("files pending: ")
        synced.ok("resume", synced.mp)
        assert "nothing pending\n" in watching.stdout
    finally:
        watching.terminate()
        watching.wait()
        watching.stdout.close()


def test_what_was_synced_is_not_pending_after_a_crash(synced):
    (synced.mp / "more").write_text("text")
    synced.ok("sync", synced.mp)
    synced.kill()
    synced.store.rename(synced.root / "away")
    synced.ok("mount", synced.mp)
    assert pending(synced) == 0


def watch_on_terminal(synced, kind, words, count):
    """What it shows until those have come so often."""
    master, slave = pty.openpty()
    watching = subprocess.Popen([binary(), "status", str(synced.mp), "--watch"], env={**synced.env, "TERM": kind},
                                stdout=slave, stdin=subprocess.DEVNULL)
    os.close(slave)
    seen = b""
    try:
        while seen.count(words) < count:
            assert select.select([master], [], [], 300)[0]
            seen += os.read(master, 65536)
    finally:
        watching.terminate()
        watching.wait()
        os.close(master)
    return seen


def test_status_watch_repaints_a_terminal(synced):
    seen = watch_on_terminal(synced, "xterm", b"\x1b[H\x1b[2J", 3)
    assert str(synced.mp).encode() in seen and b"pending" in seen


@pytest.mark.parametrize("kind", ["dumb", ""])
def test_status_watch_prints_plain_lines_where_nothing_can_be_repainted(synced, kind):
    synced.ok("pause", synced.mp)
    assert watch_on_terminal(synced, kind, b"\n", 1) == b"nothing pending; paused\r\n"


def test_watch_and_json_exclude_each_other(synced):
    assert synced.run("status", synced.mp, "--watch", "--json").returncode == 2


def test_messages_are_shown_until_they_are_dismissed(pair):
    one, _ = pair
    wait_until(lambda: one.status()["messages"], "the message of the new device")
    assert "was added by" in one.status()["messages"][0]
    one.ok("status", one.mp, "--dismiss")
    assert one.status()["messages"] == []
    one.ok("unmount", one.mp)
    one.ok("mount", one.mp)
    assert one.status()["messages"] == []


def test_the_program_of_the_configuration_is_told_of_devices_and_conflicts(synced, other):
    heard = synced.home / "heard"
    program = synced.home / "on event"
    program.write_text(f'#!/bin/sh\nprintf "%s|%s|%s\\n" "$#" "$1" "$2" >> "{heard}"\n')
    program.chmod(0o700)
    config = synced.home / ".config/snugfs/config.ini"
    config.write_text(config.read_text() + f"[settings]\non-event = {program}\n")
    other.ok("join", other.mp, "--remote", synced.store, "--no-passphrase", stdin=synced.key + "\n")
    wait_until(heard.exists, "the program to run")
    wait_until(lambda: heard.read_text().endswith("\n"), "its line")
    assert heard.read_text().startswith('2|device|The device "')
    synced.ok("pause", synced.mp)
    (synced.mp / "both").write_text("here; $(touch oops) `id`")
    other.ok("mount", other.mp)
    (other.mp / "both").write_text("there")
    other.ok("sync", other.mp)
    synced.ok("sync", synced.mp)
    wait_until(lambda: "2|conflict|" in heard.read_text(), "the conflict")
