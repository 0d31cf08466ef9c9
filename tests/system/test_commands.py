"""The commands as people and scripts meet them: words, exit statuses, and one clear sentence for what goes wrong."""
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import socket
import stat
import struct
import subprocess
import termios
import threading

import pytest

from accounts import KEY, TIMEOUT, cli, made, needs_root, synced  # noqa: F401: fixtures
from conftest import binary, signal_all, wait_until

# Words and usage.

COMMANDS = ["up", "init", "mount", "unmount", "status", "sync", "join", "recovery-key", "lock", "unlock-method",
            "pause", "offline", "resume", "limit", "remote"]
SUBCOMMANDS = [["remote", "show"], ["remote", "set"], ["remote", "test"],
               ["recovery-key", "check"], ["recovery-key", "split"], ["recovery-key", "new"], ["recovery-key", "remove"],
               ["unlock-method", "add"], ["unlock-method", "list"], ["unlock-method", "remove"],
               ["unlock-method", "change-passphrase"]]


def test_the_general_help_names_every_command(cli):
    out = cli.ok("--help").stdout
    assert all(f"\n  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("words", [[name] for name in COMMANDS if name not in {s[0] for s in SUBCOMMANDS}] + SUBCOMMANDS,
                         ids=" ".join)
def test_every_command_has_a_help_of_its_own(cli, words):
    out = cli.ok(*words, "--help").stdout
    assert out.startswith("usage: snugfs " + " ".join(words)) and "--passphrase-file" in out and "--vault" in out


@pytest.mark.parametrize("name", sorted({words[0] for words in SUBCOMMANDS}))
def test_a_command_with_subcommands_lists_them(cli, name):
    out = cli.ok(name, "--help").stdout
    assert out.startswith(f"usage: snugfs {name}") and all(f"\n  {' '.join(s)} " in out for s in SUBCOMMANDS if s[0] == name)


def test_the_version_is_printed(cli):
    assert re.fullmatch(r"snugfs \d+\.\d+\.\d+\n", cli.ok("--version").stdout)


@pytest.mark.parametrize("args", [
    [], ["frobnicate"], ["up"], ["init"], ["mount"], ["unmount"], ["join"], ["recovery-key"],
    ["recovery-key", "chekc"], ["mount", "a", "b"], ["status", "a", "b"], ["mount", ""], ["mount", "a", "--no-such-option"],
    ["mount", "a", "-q"], ["mount", "a", "--json"], ["init", "a", "-f"], ["sync", "a", "--wait"], ["status", "--remote", "x"],
    ["mount", "a", "--vault"], ["mount", "a", "-o"], ["join", "a"], ["up", "a", "--remote", "gopher://x"],
    ["up", "a", "--no-passphrase", "--passphrase-file", "f"], ["mount", "--passphrase-file", "f", "--passphrase-command", "c", "a"],
    ["status", "--counters"], ["verify", "a", "--counters"], ["up", "a", "--no-passphrase", "--device-name", ""],
    ["up", "a", "--no-passphrase", "--device-name", "x" * 65],
])
def test_wrong_usage_ends_with_2_and_a_hint(cli, args):
    done = cli.run(*args, cwd=cli.root)
    assert done.returncode == 2, done.stderr
    first, hint = done.stderr.splitlines()
    assert first.startswith("snugfs: ") and first.endswith(".")
    assert re.fullmatch(r'Try "snugfs .*--help"\.', hint)
    assert list(cli.root.iterdir()) == [cli.home] and list(cli.home.iterdir()) == []


@pytest.mark.parametrize("word", ["--sparkle", "-sparkle", "-s", "-fs"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_option_that_is_not_known_is_named_wherever_it_stands(cli, word, at):
    words = ["mount", "folder", "--no-passphrase"]
    assert f" knows no option {word}.\n" in cli.run(*words[:at], word, *words[at:], cwd=cli.root).stderr


@pytest.mark.parametrize("words", [["mount", "folder", "--wait"], ["status", "folder", "--remote", "dir:/x"], ["sync", "folder", "-f"],
                                   ["sync", "--json", "folder"], ["sync", "folder", "-onodev"]])
def test_an_option_of_another_command_is_named_wherever_it_stands(cli, words):
    word = next(word for word in words if word.startswith("-"))
    word = word if word.startswith("--") else word[:2]
    assert f" knows no option {word}.\n" in cli.run(*words, cwd=cli.root).stderr


def test_an_unknown_mount_option_is_wrong_usage_and_named(cli):
    done = cli.run("up", cli.mp, "--no-passphrase", "-o", "noexec,sparkle")
    assert done.returncode == 2 and "sparkle" in done.stderr
    assert not cli.vault_dir().exists()


# The happy path.

def test_up_makes_the_folder_shows_the_key_once_and_says_what_to_do(cli):
    out = cli.up("--remote", cli.store).stdout
    assert len(KEY.findall(out)) == 1
    assert str(cli.vault_dir()) in out and f"dir:{cli.store}" in out and f"snugfs unmount {cli.mp}" in out
    (cli.mp / "file").write_text("hello")
    again = cli.up()
    assert "mounted already" in again.stdout and not KEY.search(again.stdout)
    cli.ok("unmount", cli.mp, "--wait")
    assert os.listdir(cli.mp) == []
    assert not KEY.search(cli.up().stdout)
    assert (cli.mp / "file").read_text() == "hello"


def test_up_of_a_mounted_folder_does_not_seem_to_change_its_store(cli):
    cli.up("--remote", cli.store)
    assert "mounted already" in cli.up("--remote", cli.store).stdout
    cli.fails("up", cli.mp, "--remote", f"dir:{cli.home}/elsewhere", saying=[f"dir:{cli.store}", "snugfs remote set"])


def test_up_of_a_mounted_folder_without_a_store_does_not_seem_to_give_it_one(cli):
    cli.up()
    cli.fails("up", cli.mp, "--remote", cli.store, saying=[str(cli.mp), "unmount it"])


def test_init_mount_unmount_keep_what_was_written(cli):
    cli.ok("init", cli.mp, "--no-passphrase")
    assert not os.path.ismount(cli.mp)
    cli.ok("mount", cli.mp)
    assert os.path.ismount(cli.mp)
    (cli.mp / "file").write_text("hello")
    cli.ok("unmount", cli.mp)
    assert not os.path.ismount(cli.mp) and not cli.daemons()
    cli.ok("mount", cli.mp)
    assert (cli.mp / "file").read_text() == "hello"


def test_everything_made_locally_is_for_the_user_alone(cli):
    cli.up("--recovery-key-file", cli.root / "key", "--remote", cli.store)
    for path in [cli.vault_dir(), cli.root / "key", cli.home / ".config/snugfs/config.ini", cli.vault_dir() / "control",
                 cli.vault_dir() / "device", cli.vault_dir() / "meta.db"]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_vault_option_needs_no_configuration(cli):
    place = cli.root / "elsewhere"
    cli.up("--vault", place)
    cli.ok("unmount", cli.mp)
    (cli.home / ".config/snugfs/config.ini").unlink()
    cli.ok("mount", cli.mp, "--vault", place)
    assert cli.status()["vault"] == str(place)
    cli.ok("unmount", cli.mp)
    cli.ok("mount", cli.mp)
    assert cli.status()["vault"] == str(place)


@pytest.mark.parametrize("name", ["a b;c # d", "[x] = %41 \t\\", "-dash-", "n" * 200, "ünïcode"])
def test_the_configuration_remembers_any_mount_point(cli, name):
    mp = cli.home / name / ("deep" * 30)
    cli.ok("up", "--no-passphrase", "--vault", cli.root / "v", "--", mp)
    cli.ok("unmount", "--", mp)
    cli.ok("mount", "--", mp)
    assert [v["mountpoint"] for v in json.loads(cli.ok("status", "--json").stdout)["vaults"]] == [str(mp)]


@pytest.mark.parametrize("name", ["a#b", "a b;c\n", "\\043", "\udcff"], ids=["hash", "space", "backslash", "not UTF-8"])
def test_a_folder_of_any_name_is_known_while_it_is_mounted(cli, name):
    mp = cli.home / name
    cli.ok("up", mp, "--no-passphrase", errors="surrogateescape")
    report = cli.status(mp)
    assert report["mounted"] and report["problem"] is None
    assert report["mountpoint"] == str(mp).replace("\udcff", "\\xff")
    assert cli.ok("status").stdout.count("mounted     yes") == 1
    cli.ok("lock", mp, errors="surrogateescape")
    assert not os.path.ismount(mp) and not cli.status(mp)["mounted"]


def test_the_configuration_keeps_what_it_does_not_know(cli):
    config = cli.home / ".config/snugfs/config.ini"
    config.parent.mkdir(parents=True)
    config.write_text("; mine\n[other]\nkey = value\n\n[vault 1]\nmountpoint = /gone\ndirectory = /nowhere\ncolour = red\n")
    cli.up()
    text = config.read_text()
    assert "; mine\n[other]\nkey = value\n" in text and "colour = red" in text
    assert f"mountpoint = {cli.mp}\n" in text.replace("\n\t", "")  # long lines are folded


def test_a_configuration_that_is_no_ini_file_is_left_alone(cli):
    config = cli.home / ".config/snugfs/config.ini"
    config.parent.mkdir(parents=True)
    config.write_text("what is this\n")
    cli.fails("up", cli.mp, "--no-passphrase", saying=["config.ini", "INI"])
    assert config.read_text() == "what is this\n"


def test_a_configuration_in_which_a_new_entry_would_change_something_else_is_left_alone(cli):
    config = cli.home / ".config/snugfs/config.ini"
    config.parent.mkdir(parents=True)
    edited = "[vault 1]\n  [settings]\nmetered = sync\n"
    config.write_text(edited)
    cli.fails("init", cli.mp, "--no-passphrase", saying=["config.ini", "something else in it would change", "begin at the left"])
    assert config.read_text() == edited


def test_two_mount_points_whose_names_fall_together_get_two_vaults(cli):
    first, second = cli.home / "a-b", cli.home / "a" / "b"
    cli.ok("up", first, "--no-passphrase")
    cli.ok("up", second, "--no-passphrase")
    (first / "x").write_text("1")
    assert os.listdir(second) == []


def test_a_mount_point_behind_a_symbolic_link_is_the_same_mount_point(cli):
    cli.mp.mkdir()
    link = cli.home / "link"
    link.symlink_to("Private")
    cli.ok("up", link, "--no-passphrase")
    assert cli.status()["mounted"]
    cli.kill()
    cli.ok("mount", link)
    cli.ok("unmount", link)


def test_sigterm_ends_the_daemon_with_everything_saved(cli):
    cli.up()
    (cli.mp / "file").write_text("hello")
    signal_all(cli.daemons(), signal.SIGTERM)
    wait_until(lambda: not cli.daemons(), "the daemon's end")
    assert not os.path.ismount(cli.mp)
    cli.ok("mount", cli.mp)
    assert (cli.mp / "file").read_text() == "hello"


def test_sigterm_ends_the_daemon_of_a_folder_that_is_in_use_with_everything_saved(cli):
    cli.up("--remote", cli.store)
    f = os.open(cli.mp / "file", os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(f, b"hello")
    with subprocess.Popen(["sleep", "1000"], cwd=cli.mp) as sleeper:
        signal_all(cli.daemons(), signal.SIGTERM)
        wait_until(lambda: not cli.daemons(), "the daemon's end")
        sleeper.kill()
    with contextlib.suppress(OSError):  # there is nobody any more to be told of the close
        os.close(f)
    cli.ok("mount", cli.mp)
    assert (cli.mp / "file").read_text() == "hello"


def test_mount_in_the_foreground_ends_with_0_after_unmount(cli):
    cli.ok("init", cli.mp, "--no-passphrase")
    with subprocess.Popen([binary(), "mount", "-f", str(cli.mp)], env=cli.env, stdin=subprocess.DEVNULL) as daemon:
        wait_until(lambda: os.path.ismount(cli.mp), "the mount")
        cli.ok("unmount", cli.mp)
        assert daemon.wait(TIMEOUT) == 0


def test_the_daemon_keeps_no_descriptor_of_its_caller(cli):
    lock = cli.root / "lock"
    done = subprocess.run(["sh", "-c", f'exec 9>"{lock}"; flock 9; exec "{binary()}" up "{cli.mp}" --no-passphrase'],
                          env=cli.env, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    assert subprocess.run(["flock", "-n", lock, "true"], timeout=TIMEOUT).returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&- 2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_folder_is_mounted_by_who_has_closed_the_standard_streams(cli, closed):
    """Their numbers must not become those of the vault's files."""
    cli.ok("init", cli.mp, "--no-passphrase")
    subprocess.run(["sh", "-c", f'exec "{binary()}" mount "{cli.mp}" {closed}'], env=cli.env, check=True, timeout=TIMEOUT)
    for pid in cli.daemons():
        assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)} == {"/dev/null"}
    (cli.mp / "file").write_text("hello")
    cli.ok("unmount", cli.mp)


def shown_on_a_terminal(cli, kind, columns, *args):
    """What comes on standard error."""
    here, there = pty.openpty()
    try:
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        subprocess.run([binary(), *map(str, args)], env=dict(cli.env, TERM=kind), stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=there, check=True, timeout=TIMEOUT)
        os.write(there, b"END")
        text = b""
        while not text.endswith(b"END"):
            text += os.read(here, 4096)
    finally:
        os.close(here)
        os.close(there)
    return text[:-3].decode()


def test_progress_is_one_line_that_fits_the_terminal(synced):
    assert "[" in shown_on_a_terminal(synced, "xterm", 100, "verify", synced.mp).replace("\033[K", "")
    narrow = shown_on_a_terminal(synced, "xterm", 30, "verify", synced.mp)
    lines = narrow.replace("\033[K", "").split("\r")
    assert "checking commits" in narrow and max(map(len, lines)) < 30
    assert "\n" not in narrow
    assert "\033" not in shown_on_a_terminal(synced, "dumb", 100, "verify", synced.mp)


def test_a_command_that_cannot_say_what_it_is_to_say_fails(cli):
    cli.ok("init", cli.mp, "--no-passphrase")
    done = subprocess.run(["sh", "-c", f'exec "{binary()}" status "{cli.mp}" >&-'], env=cli.env, capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr) == (1, "snugfs: standard output cannot be written to: Bad file descriptor.\n")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["up", "--help"]])
def test_help_that_cannot_be_written_is_a_failure(cli, words):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([binary(), *words], env=cli.env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr) == (1, "snugfs: standard output cannot be written to: the disk is full.\n")


# Status and the control socket.

def test_status_has_its_keys_whether_mounted_or_not(made):
    keys = {"mountpoint", "vault", "mounted", "remote", "pending", "busy", "progress", "last_push", "last_pull",
            "last_contact", "devices", "messages", "problem", "next", "speed", "limits", "time_left", "rekey", "hold", "metered", "cache", "lock"}
    report = made.status()
    assert set(report) == keys and report["mounted"] is False and report["next"] == f"snugfs mount {made.mp}"
    made.ok("mount", made.mp)
    report = made.status()
    assert set(report) == keys and report["mounted"] is True
    assert {"name", "id", "kind", "this", "added", "verified"} == set(report["devices"][0])
    assert {d["kind"] for d in report["devices"]} == {"computer", "recovery-key"}


def test_status_for_people_says_that_nothing_is_in_a_store(made):
    made.ok("mount", made.mp)
    out = made.ok("status", made.mp).stdout
    assert "nothing is in a store" in out and "--remote" in out


def test_status_without_a_mount_point_shows_all_vaults(made):
    made.ok("init", made.home / "B", "--no-passphrase")
    out = made.ok("status").stdout
    assert str(made.mp) in out and str(made.home / "B") in out


def test_a_vault_that_cannot_be_looked_at_does_not_hide_the_others(made):
    made.ok("init", made.home / "B", "--no-passphrase")
    (made.vault_dir() / "device").write_bytes(b"x")
    done = made.fails("status", saying=str(made.vault_dir()))
    assert str(made.home / "B") in done.stdout
    assert [v["mountpoint"] for v in json.loads(made.fails("status", "--json").stdout)["vaults"]] == [str(made.home / "B")]


def test_status_shows_the_counters_of_messages(made):
    made.ok("mount", made.mp)
    os.listdir(made.mp)
    counters = json.loads(made.ok("status", made.mp, "--json", "--counters").stdout)["counters"]
    assert sum(counters.values()) > 0


def ask(cli, data):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(TIMEOUT)
        folder = os.open(cli.vault_dir(), os.O_PATH)
        s.connect(f"/proc/self/fd/{folder}/control")
        os.close(folder)
        try:
            s.sendall(data)
            return s.makefile().readline()
        except (BrokenPipeError, ConnectionResetError):
            return ""


@pytest.mark.parametrize("data", [b"\n", b"[]\n", b"{}\n", b"\0\n", b'{"op": 1}\n', b'{"op": "dance"}\n', b"x" * 100000,
                                  b'{"op": "status", "op": "sync"}\n'])
def test_nonsense_on_the_control_socket_is_refused_and_harms_nothing(made, data):
    made.ok("mount", made.mp)
    answer = ask(made, data)
    assert answer == "" or json.loads(answer)["ok"] is False
    assert made.status()["problem"] is None


def test_a_command_of_another_version_than_the_daemon_is_told_to_mount_again(made):
    made.ok("mount", made.mp)
    (made.mp / "a").touch()
    for version in ("", ', "version": 1', ', "version": 1000', ', "version": "2"'):
        answer = json.loads(ask(made, f'{{"op": "pin", "path": "61"{version}}}\n'.encode()))
        assert answer["ok"] is False and "another version of snugfs: unmount it and mount it again" in answer["text"]
    assert json.loads(made.ok("cache", made.mp, "--json").stdout)["pinned"] == []
    assert json.loads(ask(made, b'{"op": "status"}\n'))["ok"] is True


def answer_all(listener, answer):
    with contextlib.suppress(OSError):  # it was shut down
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile() as request:
                if request.readline():  # else somebody only looked whether there is a daemon
                    connection.sendall(answer)


def test_a_daemon_of_another_version_is_not_believed(made):
    made.ok("mount", made.mp)
    own = made.vault_dir() / "control"
    own.rename(made.vault_dir() / "own")
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(own.parent, os.O_PATH | os.O_DIRECTORY)  # the whole path may be too long for a socket
        listener.bind(f"/proc/self/fd/{folder}/{own.name}")
        os.close(folder)
        listener.listen()
        thread = threading.Thread(target=answer_all, args=(listener, b'{"ok": true, "pinned": []}\n'))
        thread.start()
        try:
            made.fails("cache", made.mp, saying="another version of snugfs: unmount it and mount it again")
            assert "another version of snugfs" in made.status()["problem"]["text"]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
    (made.vault_dir() / "own").rename(own)
    assert made.status()["problem"] is None


@needs_root
def test_the_control_socket_answers_no_other_user(cli):
    """Even if the permissions were opened by mistake: the kernel is asked who is at the other end."""
    client = f"""import socket
s = socket.socket(socket.AF_UNIX)
s.settimeout({TIMEOUT})
s.connect("control")
print("connected")
try:
    s.sendall(b'{{"op": "status"}}\\n')
    print(s.recv(100))
except ConnectionError:
    print(b"")
"""
    cli.up("--vault", cli.root / "v")
    for path, mode in ((cli.root / "v", 0o755), (cli.root / "v" / "control", 0o777)):
        os.chmod(path, mode)
    for user, answered in (("root", True), ("nobody", False)):
        done = subprocess.run(["setpriv", "--reuid", user, "--clear-groups", "/usr/bin/python3", "-c", client],
                              cwd=cli.root / "v", capture_output=True, text=True, timeout=TIMEOUT)
        first, second = done.stdout.splitlines()
        assert first == "connected" and (second != "b''") == answered, done.stdout + done.stderr
