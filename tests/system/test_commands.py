"""The commands as people and scripts meet them: words, exit statuses, and one clear sentence for what goes wrong."""
import contextlib
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

from conftest import binary, new_root, wait_until

TIMEOUT = 120
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
        return self.home / ".local/share/snugfs" / str(self.mp).lstrip("/").replace("/", "-")

    def daemons(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                argv = pathlib.Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.path.basename(argv[0]).endswith(b"snugfs") and any(str(self.root).encode() in a for a in argv[1:]):
                found.append(int(pid))
        return found

    def kill(self):
        for pid in self.daemons():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.daemons(), "the daemon's death")

    def mounts(self):
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as lines:
            places = [line.split(" ")[1].encode().decode("unicode_escape") for line in lines]
        return [place for place in places if place.startswith(f"{self.root}/")]

    def small_disk(self, path, size):
        path.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=True)

    def clean_up(self):
        for place in sorted(self.mounts(), reverse=True):
            tool = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u", "-z"]
            subprocess.run([*tool, place], check=False, capture_output=True)
        for pid in self.daemons():
            os.kill(pid, signal.SIGTERM)
        try:
            wait_until(lambda: not self.daemons(), "the daemons' end")
        finally:
            for pid in self.daemons():
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(self.root, ignore_errors=True)


def one_sentence(done, saying=()):
    assert done.returncode == 1, f"{done.returncode}\n{done.stdout}{done.stderr}"
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("snugfs: ") and lines[0].endswith("."), done.stderr
    for words in [saying] if isinstance(saying, str) else saying:
        assert words in lines[0], lines[0]
    return done


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


def test_the_configuration_keeps_what_it_does_not_know(cli):
    config = cli.home / ".config/snugfs/config.ini"
    config.parent.mkdir(parents=True)
    config.write_text("; mine\n[other]\nkey = value\n\n[vault 1]\nmountpoint = /gone\ndirectory = /nowhere\ncolour = red\n")
    cli.up()
    text = config.read_text()
    assert "; mine\n[other]\nkey = value\n" in text and "colour = red" in text and f"mountpoint = {cli.mp}\n" in text


def test_a_configuration_that_is_no_ini_file_is_left_alone(cli):
    config = cli.home / ".config/snugfs/config.ini"
    config.parent.mkdir(parents=True)
    config.write_text("what is this\n")
    cli.fails("up", cli.mp, "--no-passphrase", saying=["config.ini", "INI"])
    assert config.read_text() == "what is this\n"


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
    for pid in cli.daemons():
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not cli.daemons(), "the daemon's end")
    assert not os.path.ismount(cli.mp)
    cli.ok("mount", cli.mp)
    assert (cli.mp / "file").read_text() == "hello"


def test_sigterm_ends_the_daemon_of_a_folder_that_is_in_use_with_everything_saved(cli):
    cli.up("--remote", cli.store)
    f = os.open(cli.mp / "file", os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(f, b"hello")
    with subprocess.Popen(["sleep", "100"], cwd=cli.mp) as sleeper:
        for pid in cli.daemons():
            os.kill(pid, signal.SIGTERM)
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


def test_a_command_that_cannot_say_what_it_is_to_say_fails(cli):
    cli.ok("init", cli.mp, "--no-passphrase")
    done = subprocess.run(["sh", "-c", f'exec "{binary()}" status "{cli.mp}" >&-'], env=cli.env, capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr) == (1, "snugfs: standard output cannot be written to: Bad file descriptor.\n")


# Passphrases.

def write_passphrase(cli, text="correct horse\nsecond line\n"):
    path = cli.root / "passphrase"
    path.write_text(text)
    return path


def test_the_passphrase_is_the_first_line_of_a_file_or_of_a_command_or_of_standard_input(cli):
    cli.ok("init", cli.mp, "--passphrase-file", write_passphrase(cli))
    for way in (["--passphrase-command", "printf 'correct horse\\nmore\\n'; yes | head -n 100000"],
                ["-o", f"passphrase_file={cli.root}/passphrase"]):
        cli.ok("mount", cli.mp, *way)
        cli.ok("unmount", cli.mp)
    cli.ok("mount", cli.mp, stdin="correct horse\n")


def test_a_wrong_passphrase_is_told_and_changes_nothing(cli):
    good = write_passphrase(cli)
    cli.ok("init", cli.mp, "--passphrase-file", good)
    cli.fails("mount", cli.mp, stdin="wrong horse\n", saying="wrong passphrase")
    cli.fails("sync", cli.mp, stdin="wrong horse\n", saying="wrong passphrase")
    assert not os.path.ismount(cli.mp)
    cli.ok("mount", cli.mp, "--passphrase-file", good)


def test_a_vault_with_a_passphrase_is_not_opened_without(cli):
    cli.ok("init", cli.mp, "--passphrase-file", write_passphrase(cli))
    cli.fails("mount", cli.mp, saying=["passphrase", "--passphrase-file"])
    cli.fails("mount", cli.mp, "--no-passphrase", saying=["passphrase", "--passphrase-file"])


@pytest.mark.parametrize("args,words", [
    ([], "--no-passphrase"),
    (["--passphrase-file", "/does/not/exist"], "/does/not/exist"),
    (["--passphrase-file", "/dev/null"], "empty"),
    (["--passphrase-command", "exit 3"], "exit status 3"),
    (["--passphrase-command", "echo"], "empty"),
    (["--passphrase-command", "head -c 10000 /dev/zero | tr '\\0' x"], "longer"),
])
def test_without_a_usable_new_passphrase_nothing_is_made(cli, args, words):
    cli.fails("init", cli.mp, *args, saying=words)
    assert not cli.vault_dir().exists()


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


def test_a_new_passphrase_is_asked_for_twice_and_not_shown(cli):
    t = Terminal(cli, "up", cli.mp)
    t.read_until("New passphrase")
    t.type("correct horse\n")
    shown = t.read_until("The same again: ")
    t.type("correct horse\n")
    rest, status = t.end()
    assert status == 0 and KEY.search(rest) and "correct horse" not in shown + rest
    cli.ok("unmount", cli.mp)
    t = Terminal(cli, "mount", cli.mp)
    t.read_until(f"Passphrase for {cli.mp}: ")
    t.type("correct horse\n")
    rest, status = t.end()
    assert status == 0 and "correct horse" not in rest
    assert os.path.ismount(cli.mp)


def test_two_passphrases_that_differ_make_nothing(cli):
    t = Terminal(cli, "up", cli.mp)
    t.read_until("New passphrase")
    t.type("one\n")
    t.read_until("The same again: ")
    t.type("two\n")
    rest, status = t.end()
    assert os.waitstatus_to_exitcode(status) == 1 and "differ" in rest and not cli.vault_dir().exists()


def test_ctrl_c_at_the_question_ends_the_command_and_gives_the_echo_back(cli):
    script = f'"{binary()}" up "{cli.mp}"; stty -a; echo over'
    pid, fd = pty.fork()
    if pid == 0:
        os.execve("/bin/sh", ["sh", "-c", f"trap : INT; {script}"], cli.env)
    seen = ""
    while "New passphrase" not in seen:
        seen += os.read(fd, 4096).decode()
    os.write(fd, b"\x03")
    while "over\r\n" not in seen:
        assert select.select([fd], [], [], TIMEOUT)[0], seen
        seen += os.read(fd, 4096).decode()
    os.waitpid(pid, 0)
    os.close(fd)
    assert re.search(r"[ ;]echo ", seen) and " -echo " not in seen
    assert not cli.vault_dir().exists() and not cli.daemons()


# The recovery key.

def test_the_recovery_key_goes_to_a_file_and_is_not_printed(cli):
    key_file = cli.root / "key"
    out = cli.ok("init", cli.mp, "--no-passphrase", "--recovery-key-file", key_file).stdout
    assert not KEY.search(out) and KEY.fullmatch(key_file.read_text().strip())
    assert key_file.read_text().endswith("\n") and "\0" not in key_file.read_text()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_a_recovery_key_file_that_exists_is_refused_and_nothing_is_made(cli):
    key_file = cli.root / "key"
    key_file.write_text("precious")
    cli.fails("up", cli.mp, "--no-passphrase", "--recovery-key-file", key_file, saying=[str(key_file), "exists"])
    assert key_file.read_text() == "precious" and not cli.vault_dir().exists()


def test_a_recovery_key_that_cannot_be_printed_is_told(cli):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([binary(), "init", str(cli.mp), "--no-passphrase"], env=cli.env, stdout=full,
                              stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and "nobody has seen it" in done.stderr and str(cli.vault_dir()) in done.stderr


def mistype(key):
    """One wrong character in the third group."""
    at = key.index(key.split("-")[2])
    return key[:at] + ("7" if key[at] != "7" else "8") + key[at + 1:]


def test_recovery_key_check_tells_right_from_wrong_from_mistyped(cli, other):
    key = KEY.search(cli.up().stdout).group()
    other_key = KEY.search(other.up().stdout).group()
    assert str(cli.mp) in cli.ok("recovery-key", "check", stdin=key.lower().replace("-", " ") + "\n").stdout
    cli.fails("recovery-key", "check", stdin=other_key + "\n", saying="not the one of")
    cli.fails("recovery-key", "check", stdin=mistype(key) + "\n", saying=["group 3", "typo"])
    cli.fails("recovery-key", "check", stdin=key[:-2] + "\n", saying="28 characters")
    cli.fails("recovery-key", "check", stdin=key[:-1] + "U\n", saying=["group 7", '"U"'])
    cli.fails("recovery-key", "check", stdin="", saying="--recovery-key-file")
    cli.ok("unmount", cli.mp)
    cli.ok("recovery-key", "check", cli.mp, stdin=key + "\n")
    cli.fails("recovery-key", "check", cli.mp, stdin=other_key + "\n", saying="not the one of")


def test_recovery_key_check_without_a_vault_checks_the_form_and_says_so(cli, other):
    key = KEY.search(other.up().stdout).group()
    assert "Nothing more was checked" in cli.ok("recovery-key", "check", stdin=key + "\n").stdout
    cli.fails("recovery-key", "check", stdin=mistype(key) + "\n", saying="group 3")


def test_the_recovery_key_is_asked_for_without_echo(cli):
    key = KEY.search(cli.up().stdout).group()
    t = Terminal(cli, "recovery-key", "check", cli.mp)
    t.read_until("Recovery key")
    t.type(key + "\n")
    rest, status = t.end()
    assert status == 0 and key not in rest


# Sync and join.

@pytest.fixture
def synced(cli):
    """A mounted vault with a file in its store; its recovery key is cli.key."""
    cli.key = KEY.search(cli.up("--remote", cli.store).stdout).group()
    (cli.mp / "file").write_text("hello")
    cli.ok("sync", cli.mp)
    return cli


def test_join_opens_the_vault_on_a_second_computer_and_edits_flow_both_ways(synced, other):
    out = other.ok("join", other.mp, "--remote", synced.store, "--no-passphrase", "--device-name", "desktop",
                   stdin=synced.key + "\n").stdout
    assert f"snugfs mount {other.mp}" in out and not os.path.ismount(other.mp)
    other.ok("mount", other.mp)
    assert (other.mp / "file").read_text() == "hello"
    (other.mp / "answer").write_text("hi")
    other.ok("sync", other.mp)
    synced.ok("sync", synced.mp)
    assert (synced.mp / "answer").read_text() == "hi"
    assert "desktop" in [d["name"] for d in synced.status()["devices"]]
    assert [d["name"] for d in other.status()["devices"] if d["this"]] == ["desktop"]


def test_join_reads_the_key_from_a_file(synced, other):
    key_file = other.root / "key"
    key_file.write_text(synced.key + "\n")
    other.ok("join", other.mp, "--remote", f"dir:{synced.store}", "--no-passphrase", "--recovery-key-file", key_file)


def test_join_with_a_mistyped_or_foreign_key_makes_nothing(synced, other):
    third = KEY.search(other.ok("up", other.home / "x", "--no-passphrase").stdout).group()
    args = ["join", other.mp, "--remote", synced.store, "--no-passphrase"]
    other.fails(*args, stdin=mistype(synced.key) + "\n", saying=["group 3", "typo"])
    other.fails(*args, stdin=third + "\n", saying="recovery key")
    assert not other.vault_dir().exists()
    other.ok(*args, stdin=synced.key + "\n")


def test_join_needs_a_store_with_a_vault(cli):
    key = KEY.search(cli.up().stdout).group()
    args = ["join", cli.home / "B", "--no-passphrase", "--remote"]
    cli.fails(*args, cli.root / "missing", stdin=key + "\n", saying=str(cli.root / "missing"))
    (cli.root / "empty").mkdir()
    cli.fails(*args, cli.root / "empty", stdin=key + "\n", saying=str(cli.root / "empty"))
    assert not (cli.root / "missing").exists()


def test_join_does_not_touch_a_vault_that_is_there(synced):
    synced.fails("join", synced.mp, "--remote", synced.store, "--no-passphrase", stdin=synced.key + "\n", saying="already")


def test_a_store_that_holds_a_vault_is_not_taken_for_a_new_one(synced, other):
    for command in ("up", "init"):
        other.fails(command, other.mp, "--no-passphrase", "--remote", synced.store, saying=["already", "snugfs join"])
    assert not other.vault_dir().exists()


def test_sync_works_unmounted(synced):
    (synced.mp / "late").write_text("x" * 100000)
    synced.ok("unmount", synced.mp)
    before = sum(1 for p in synced.store.rglob("*") if p.is_file())
    synced.ok("sync", synced.mp)
    assert sum(1 for p in synced.store.rglob("*") if p.is_file()) > before


def test_sync_without_a_store_says_how_to_get_one(cli):
    cli.up()
    cli.fails("sync", cli.mp, saying=["no store", "--remote"])
    assert cli.status()["remote"] is None and "--remote" in cli.status()["next"]
    cli.ok("unmount", cli.mp)
    cli.fails("sync", cli.mp, saying=["no store", "--remote"])
    cli.up("--remote", cli.store)
    cli.ok("sync", cli.mp)
    assert cli.status()["remote"] == f"dir:{cli.store}"


def test_a_second_store_for_a_vault_is_refused(synced):
    synced.ok("unmount", synced.mp)
    synced.fails("up", synced.mp, "--remote", synced.root / "store2", saying=["one store", str(synced.store)])
    assert not (synced.root / "store2").exists()


def test_a_missing_store_does_not_keep_the_folder_closed(synced):
    synced.ok("unmount", synced.mp, "--wait")
    away = synced.root / "away"
    synced.store.rename(away)
    synced.ok("mount", synced.mp)
    assert (synced.mp / "file").read_text() == "hello"
    (synced.mp / "later").write_text("kept")
    assert str(synced.store) in synced.status()["problem"]["text"]
    synced.fails("sync", synced.mp, saying=str(synced.store))
    away.rename(synced.store)
    synced.ok("sync", synced.mp)
    assert synced.status()["problem"] is None and (synced.mp / "later").read_text() == "kept"


def test_unmount_wait_does_not_unmount_before_the_store_has_everything(synced):
    away = synced.root / "away"
    synced.store.rename(away)
    (synced.mp / "later").write_text("kept")
    synced.fails("unmount", synced.mp, "--wait", saying=str(synced.store))
    assert os.path.ismount(synced.mp)
    away.rename(synced.store)
    synced.ok("unmount", synced.mp, "--wait")


def test_the_store_of_another_vault_is_noticed_and_left_alone(synced, other):
    other.up("--remote", other.store)
    (other.mp / "theirs").write_text("x")
    other.ok("unmount", other.mp, "--wait")
    synced.ok("unmount", synced.mp, "--wait")
    synced.store.rename(synced.root / "mine")
    shutil.copytree(other.store, synced.store)
    before = sorted(p.name for p in synced.store.rglob("*"))
    synced.fails("sync", synced.mp, saying=str(synced.store))
    synced.ok("mount", synced.mp)
    synced.fails("sync", synced.mp, saying=str(synced.store))
    assert (synced.mp / "file").read_text() == "hello" and not (synced.mp / "theirs").exists()
    assert sorted(p.name for p in synced.store.rglob("*")) == before


# Disks that are full or may not be written.

@needs_root
def test_no_room_for_a_new_vault_leaves_nothing_behind(cli):
    disk = cli.root / "disk"
    cli.small_disk(disk, "64k")
    cli.fails("init", cli.mp, "--no-passphrase", "--vault", disk / "v", saying=["full", str(disk / "v")])
    assert list(disk.iterdir()) == []


@needs_root
def test_a_full_local_disk_fails_the_write_and_loses_nothing(cli):
    disk = cli.root / "disk"
    cli.small_disk(disk, "8m")
    cli.up("--vault", disk / "v")
    (cli.mp / "kept").write_text("kept")
    cli.ok("unmount", cli.mp)
    cli.ok("mount", cli.mp)
    with pytest.raises(OSError):
        with open(cli.mp / "big", "wb") as f:
            for _ in range(64):
                f.write(os.urandom(1 << 20))
                f.flush()
                os.fsync(f.fileno())
    assert (cli.mp / "kept").read_text() == "kept"
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    (cli.mp / "big").unlink()
    cli.ok("unmount", cli.mp)
    cli.ok("mount", cli.mp)
    assert os.listdir(cli.mp) == ["kept"] and (cli.mp / "kept").read_text() == "kept"


@needs_root
def test_a_limit_on_the_size_of_files_fails_the_write_and_loses_nothing(cli):
    cli.ok("init", cli.mp, "--no-passphrase")
    subprocess.run(["sh", "-c", f'ulimit -f 2000; exec "{binary()}" mount "{cli.mp}"'], env=cli.env, stdin=subprocess.DEVNULL,
                   check=True, timeout=TIMEOUT)
    (cli.mp / "before").write_text("here")
    with pytest.raises(OSError), open(cli.mp / "large", "wb") as f:
        for _ in range(8):
            f.write(os.urandom(1 << 20))
            os.fsync(f.fileno())
    assert (cli.mp / "before").read_text() == "here"
    cli.ok("unmount", cli.mp)
    cli.ok("mount", cli.mp)
    assert (cli.mp / "before").read_text() == "here"
    (cli.mp / "after").write_text("as ever")


def test_a_full_store_is_told_and_filled_later(cli):
    cli.small_disk(cli.store, "1m")
    cli.up("--remote", cli.store)
    cli.ok("sync", cli.mp)
    data = os.urandom(4 << 20)
    (cli.mp / "big").write_bytes(data)
    cli.fails("sync", cli.mp, saying=["full", str(cli.store)])
    assert "full" in cli.status()["problem"]["text"] and (cli.mp / "big").read_bytes() == data
    subprocess.run(["mount", "-o", "remount,size=64m", cli.store], check=True)
    cli.ok("sync", cli.mp)
    assert cli.status()["pending"] == {"bytes": 0, "files": 0, "names": 0, "since": None} and cli.status()["problem"] is None


def make_read_only(path, yes=True):
    if yes:
        subprocess.run(["mount", "--bind", path, path], check=True)
    subprocess.run(["mount", "-o", f"remount,bind,{'ro' if yes else 'rw'}", path], check=True)


@needs_root
def test_a_read_only_store_is_told_and_filled_later(synced):
    make_read_only(synced.store)
    (synced.mp / "late").write_text("kept")
    synced.fails("sync", synced.mp, saying=[str(synced.store)])
    assert synced.status()["problem"] is not None
    synced.ok("unmount", synced.mp)
    synced.fails("sync", synced.mp, saying=[str(synced.store)])
    make_read_only(synced.store, False)
    synced.ok("sync", synced.mp)


@needs_root
def test_a_read_only_store_gets_no_new_vault(cli):
    cli.store.mkdir()
    make_read_only(cli.store)
    cli.fails("init", cli.mp, "--no-passphrase", "--remote", cli.store, saying=[str(cli.store)])
    assert not cli.vault_dir().exists()


# Mount points.

@pytest.fixture
def made(cli):
    cli.ok("init", cli.mp, "--no-passphrase")
    return cli


def test_a_mount_point_that_is_not_empty_is_refused(cli):
    cli.mp.mkdir()
    (cli.mp / "mine").write_text("x")
    cli.fails("up", cli.mp, "--no-passphrase", saying=[str(cli.mp), "not empty"])
    assert not cli.vault_dir().exists() and (cli.mp / "mine").read_text() == "x"


def test_a_mount_point_that_is_missing_or_a_file_is_refused(made):
    made.mp.rmdir()
    made.fails("mount", made.mp, saying=[str(made.mp), "does not exist"])
    made.mp.write_text("x")
    made.fails("mount", made.mp, saying=[str(made.mp), "not a folder"])
    made.fails("up", made.mp, saying=[str(made.mp), "not a folder"])


def test_a_mounted_mount_point_is_not_mounted_again(made):
    made.ok("mount", made.mp)
    made.fails("mount", made.mp, saying=[str(made.mp), "mounted already"])
    made.fails("mount", made.home / "second", "--vault", made.vault_dir(), saying="does not exist")
    (made.home / "second").mkdir()
    made.fails("mount", made.home / "second", "--vault", made.vault_dir(), saying="in use")


@needs_root
def test_a_mount_point_of_another_file_system_is_refused(made):
    made.small_disk(made.mp, "64k")
    made.fails("mount", made.mp, saying=[str(made.mp), "another file system"])
    made.fails("unmount", made.mp, saying="not snugfs")


def test_mount_point_vault_and_store_must_be_apart(cli):
    cli.fails("up", cli.mp, "--no-passphrase", "--vault", cli.mp / "v", saying="apart")
    cli.fails("up", cli.mp, "--no-passphrase", "--remote", cli.mp / "s", saying="apart")
    cli.fails("up", cli.home / "v" / "mp", "--no-passphrase", "--vault", cli.home / "v", saying="apart")
    cli.fails("up", cli.mp, "--no-passphrase", "--vault", cli.root / "v", "--remote", cli.root / "v/s", saying="apart")
    assert not cli.mp.exists()


def test_commands_for_a_folder_without_a_vault_say_how_to_make_one(cli):
    for command in ("mount", "sync", "status"):
        cli.fails(command, cli.mp, saying=[str(cli.mp), "snugfs up"])
    cli.fails("unmount", cli.mp, saying="not mounted")
    cli.fails("init", cli.root / "no/such/folder/at/all", saying="passphrase")


def test_init_does_not_touch_a_vault_that_is_there(made):
    made.fails("init", made.mp, "--no-passphrase", saying="already")
    made.ok("mount", made.mp)


def test_a_busy_folder_is_not_unmounted_and_who_uses_it_is_named(made):
    made.ok("mount", made.mp)
    with subprocess.Popen(["sleep", "100"], cwd=made.mp) as sleeper:
        done = made.fails("unmount", made.mp, saying=["in use", f"sleep ({sleeper.pid})"])
        sleeper.kill()
    assert os.path.ismount(made.mp) and "umount -l" in done.stderr
    made.ok("unmount", made.mp)


# Without privileges, without /dev/fuse.

# For shell scripts: the process ids of the daemons of a mount point.
DAEMONS = """daemons() {
    for p in /proc/[0-9]*; do
        [ "$(readlink $p/exe)" = "$(readlink -f %s)" ] && grep -qaF "$1" $p/cmdline && echo ${p#/proc/} || true
    done
}
"""


def in_namespace(cli, script):
    """A shell script in a mount namespace of its own, with a /dev made anew."""
    nodes = "\n".join(f"mknod -m 666 {cli.root}/dev/{name} c {number}" for name, number in
                      (("null", "1 3"), ("zero", "1 5"), ("random", "1 8"), ("urandom", "1 9"), ("tty", "5 0")))
    text = f"""set -e
{DAEMONS % binary()}
mkdir -p {cli.root}/dev
mount -t tmpfs none {cli.root}/dev
{nodes}
{script}"""
    return subprocess.run(["unshare", "-m", "sh", "-c", text], env=cli.env, capture_output=True, text=True, timeout=TIMEOUT,
                          stdin=subprocess.DEVNULL)


@needs_root
def test_without_dev_fuse_a_sentence_says_so(made):
    one_sentence(in_namespace(made, f"mount --move {made.root}/dev /dev; {binary()} mount {made.mp}"), "/dev/fuse")


@needs_root
def test_without_permission_for_dev_fuse_a_sentence_says_so(cli):
    shutil.chown(cli.home, "nobody")
    done = in_namespace(cli, f"mknod -m 600 {cli.root}/dev/fuse c 10 229; mount --move {cli.root}/dev /dev\n"
                             f"setpriv --reuid nobody --clear-groups {binary()} up {cli.mp} --no-passphrase")
    one_sentence(done, ["/dev/fuse", "permission"])


@needs_root
def test_a_folder_of_somebody_else_is_refused(cli):
    done = in_namespace(cli, f"setpriv --reuid nobody --clear-groups {binary()} init {cli.mp} --no-passphrase "
                             f"--vault {cli.root}/v")
    one_sentence(done, "permission")


@needs_root
def test_an_ordinary_user_needs_nothing_but_fusermount3(cli):
    shutil.chown(cli.home, "nobody")
    snugfs = f"setpriv --reuid nobody --clear-groups {binary()}"
    done = in_namespace(cli, f"""mknod -m 666 {cli.root}/dev/fuse c 10 229; mount --move {cli.root}/dev /dev
{snugfs} up {cli.mp} --no-passphrase --remote {cli.home}/store
setpriv --reuid nobody --clear-groups sh -c 'echo hello > {cli.mp}/file'
{snugfs} status {cli.mp}
{snugfs} unmount {cli.mp} --wait
{snugfs} mount {cli.mp}
setpriv --reuid nobody --clear-groups cat {cli.mp}/file
kill -9 $(daemons {cli.mp})
while [ -n "$(daemons {cli.mp})" ]; do sleep 0.1; done
{snugfs} mount {cli.mp}
setpriv --reuid nobody --clear-groups cat {cli.mp}/file
{snugfs} unmount {cli.mp}
""")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("hello\n") == 2


# Crashes of the daemon.

def test_mount_clears_away_the_mount_of_a_daemon_that_was_killed(made):
    made.ok("mount", made.mp)
    with open(made.mp / "file", "w", encoding="utf-8") as f:
        f.write("hello")
        f.flush()
        os.fsync(f.fileno())
    made.kill()
    with pytest.raises(OSError):
        os.listdir(made.mp)
    report = made.status()
    assert not report["mounted"] and "unexpectedly" in report["problem"]["text"]
    made.ok("mount", made.mp)
    assert (made.mp / "file").read_text() == "hello"


def test_a_folder_can_be_mounted_again_at_once_after_umount(made):
    for number in range(3):
        made.ok("mount", made.mp)
        (made.mp / str(number)).write_bytes(os.urandom(1 << 20))
        tool = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
        subprocess.run([*tool, made.mp], check=True, timeout=TIMEOUT)
    made.ok("mount", made.mp)
    assert sorted(os.listdir(made.mp)) == ["0", "1", "2"]


def test_unmount_takes_off_the_mount_of_a_daemon_that_was_killed(made):
    made.ok("mount", made.mp)
    made.kill()
    made.ok("unmount", made.mp)
    assert not os.path.ismount(made.mp)
    made.up()


# mount(8) and fstab.

@needs_root
@pytest.mark.parametrize("kind", ["fuse.snugfs", "snugfs"])
def test_mount_and_fstab_work_through_the_helpers(made, kind):
    sbin = made.root / "sbin"
    sbin.mkdir()
    (sbin / f"mount.{kind}").symlink_to(binary())
    fstab = made.root / "fstab"
    fstab.write_text(f"{made.vault_dir()} {made.mp} {kind} noauto,nosuid,no_passphrase 0 0\n")
    done = subprocess.run(["unshare", "-m", "sh", "-ec", f"""
mount -t overlay overlay -o lowerdir={sbin}:/usr/sbin /usr/sbin
mount --bind {fstab} /etc/fstab
mount -t {kind} {made.vault_dir()} {made.mp} -o no_passphrase,noexec
echo hello > {made.mp}/file
grep {made.mp} /proc/self/mounts
umount {made.mp}
mount {made.mp}
cat {made.mp}/file
grep {made.mp} /proc/self/mounts
{binary()} unmount {made.mp}
"""], env=made.env, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hello" in done.stdout and "fuse.snugfs" in done.stdout and "noexec" in done.stdout


@needs_root
def test_mount_works_through_the_helper_of_fuse_alone(made):
    env = dict(made.env, PATH=f"{os.path.dirname(binary())}:{os.environ['PATH']}")
    helper = shutil.which("mount.fuse3", path="/sbin:/usr/sbin:/bin")
    if helper is None:
        pytest.skip("mount.fuse3 is not installed")
    subprocess.run([helper, made.vault_dir(), made.mp, "-t", "fuse.snugfs", "-o", "rw,no_passphrase"], env=env, check=True,
                   timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    assert os.path.ismount(made.mp)


# Status and the control socket.

def test_status_has_its_keys_whether_mounted_or_not(made):
    keys = {"mountpoint", "vault", "mounted", "remote", "pending", "busy", "progress", "last_push", "last_pull",
            "last_contact", "devices", "messages", "problem", "next", "speed", "limits", "time_left", "rekey", "hold", "cache", "lock"}
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
s.settimeout(20)
s.connect("{cli.root}/v/control")
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
                              capture_output=True, text=True, timeout=TIMEOUT)
        first, second = done.stdout.splitlines()
        assert first == "connected" and (second != "b''") == answered, done.stdout + done.stderr
