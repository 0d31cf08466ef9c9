"""What is asked for, and what is shown once: passphrases and the recovery key."""
import os
import pty
import re
import select
import stat
import subprocess

import pytest

from accounts import KEY, TIMEOUT, Terminal, cli, mistype, other  # noqa: F401: fixtures
from conftest import binary

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


def test_recovery_key_check_tells_right_from_wrong_from_mistyped(cli, other):
    key = KEY.search(cli.up().stdout).group()
    other_key = KEY.search(other.up().stdout).group()
    assert str(cli.mp) in cli.ok("recovery-key", "check", stdin=key.lower().replace("-", " ") + "\n").stdout
    cli.fails("recovery-key", "check", stdin=other_key + "\n", saying="not the one of")
    cli.fails("recovery-key", "check", stdin=mistype(key) + "\n", saying=["group 3", "typo"])
    cli.fails("recovery-key", "check", stdin=key[:-2] + "\n", saying="28 characters")
    cli.fails("recovery-key", "check", stdin=key[:-1] + "U\n", saying=["group 7", '"U"'])
    cli.fails("recovery-key", "check", stdin="\n", saying=["there is nothing that could be a recovery key", "28 characters"])
    (cli.root / "empty").write_text("\n")
    for words, what in ((["--recovery-key-file"], "a recovery key"), (["--share-file"], "share 1 of the recovery key")):
        cli.fails("recovery-key", "check", *words, cli.root / "empty", saying=f"there is nothing that could be {what}: it has")
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
