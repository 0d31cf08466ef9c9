"""Security keys (FIDO2) as a way to unlock: the real libfido2, with a key behind it that is software."""
import base64
import hashlib
import hmac
import os
import signal
import subprocess

import cbor2
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from accounts import Terminal
from conftest import wait_until
from reader import expand, extract
from security_key import SecurityKey
from test_secrets import can_look_into, dump, lasting, needs_root, search
from test_unlock import cli, device_file, id_of, kinds, listed, method, opens, written  # noqa: F401

TOUCH = "Touch the security key now."


@pytest.fixture
def plug(cli):  # noqa: F811
    """A function that plugs keys in, which snugfs then finds."""
    keys = []

    def one(**model):
        keys.append(SecurityKey(cli.root / f"key{len(keys)}", **model))
        cli.env["SNUGFS_SECURITY_KEYS"] = ":".join(str(key.path) for key in keys)
        return keys[-1]

    cli.env["SNUGFS_SECURITY_KEYS"] = str(cli.root / "nothing")
    yield one
    for key in keys:
        key.pull_out()


def sentences(done):
    """What was said besides when to touch."""
    return [line for line in done.stderr.splitlines() if line != TOUCH]


def fails(cli, *words, saying=(), **kwargs):  # noqa: F811
    done = cli.run(*words, **kwargs)
    assert done.returncode == 1, f"{done.returncode}\n{done.stdout}{done.stderr}"
    (said,) = sentences(done)
    assert said.startswith("snugfs: ") and said.endswith("."), said
    for part in [saying] if isinstance(saying, str) else saying:
        assert part in said, said
    return done


def add(cli, *words, pin=None):  # noqa: F811
    given = ["--new-passphrase-file", written(cli, "pin", pin)] if pin else []
    return method(cli, "add", cli.mp, "fido2", *given, *words)


def with_passphrase(cli, **pin):  # noqa: F811
    """A vault that a passphrase and the key unlock."""
    given = ["--passphrase-file", written(cli, "pass", "the first one")]
    cli.ok("init", cli.mp, *given, "--recovery-key-file", cli.root / "recovery-key")
    add(cli, *given, **pin)


def open_to_all(cli):  # noqa: F811
    """A vault that needs nothing yet: its id of that way in.  Passphrases cost scrypt(1), and most of these tests need none."""
    cli.ok("init", cli.mp, "--no-passphrase", "--recovery-key-file", cli.root / "recovery-key")
    return id_of(cli, "none")


def with_key_alone(cli, *words, **pin):  # noqa: F811
    nothing = open_to_all(cli)
    done = add(cli, *words, **pin)
    method(cli, "remove", cli.mp, nothing)
    return done


def slot_of(cli):  # noqa: F811
    slot = next(s for s in cbor2.loads(device_file(cli).read_bytes())[3] if s[0] == 5)
    return slot, cbor2.loads(slot[4])


def slot_key(cli, key, verified):  # noqa: F811
    """What the key makes, and the slot's key that comes of it, as snugfs-format(5) says."""
    _, params = slot_of(cli)
    output = key.secret(params[0], params[2], verified)
    return output, expand(extract(params[2], output), b"snugfs/1 fido2")


# The key of these tests


def test_the_distributions_own_tools_take_the_software_for_a_key(plug):
    key = plug()

    def tool(*words, feed=""):
        return subprocess.run(words, input=feed, capture_output=True, text=True, check=True, timeout=120).stdout

    def random(count):
        return base64.b64encode(os.urandom(count)).decode()

    assert "hmac-secret" in tool("fido2-token", "-I", str(key.path))
    made = tool("fido2-cred", "-M", "-h", str(key.path), feed=f"{random(32)}\nsnugfs\nuser\n{random(16)}\n")
    name, salt = tool("fido2-cred", "-V", "-h", feed=made).splitlines()[0], random(32)
    got = tool("fido2-assert", "-G", "-h", str(key.path), feed=f"{random(32)}\nsnugfs\n{name}\n{salt}\n").splitlines()[-1]
    assert base64.b64decode(got) == hmac.digest(key.credentials[base64.b64decode(name)][1], base64.b64decode(salt), "sha256")


# A key without a PIN


def test_a_touch_opens_the_vault_until_the_key_is_removed_as_a_way(cli, plug):
    key = plug()
    given = ["--passphrase-file", written(cli, "pass", "the first one")]
    cli.ok("init", cli.mp, *given, "--recovery-key-file", cli.root / "recovery-key")
    done = add(cli, "--label", "blue", *given)
    assert done.stderr.splitlines() == [TOUCH, TOUCH] and key.touches == 2, "one for the credential, one for the secret"
    assert "has no PIN" in done.stdout
    (mine,) = [m for m in listed(cli)["methods"] if m["kind"] == "fido2"]
    assert mine["label"] == "blue" and mine["pin"] is False and listed(cli)["anchor"] is None
    opens(cli)
    opens(cli, "--no-passphrase")
    assert key.touches == 4
    opens(cli, *given)
    assert key.touches == 4, "a passphrase that is given is what counts"
    method(cli, "remove", cli.mp, mine["id"], *given)
    assert kinds(cli) == ["passphrase", "recovery-key"]
    cli.fails("mount", cli.mp, "--no-passphrase", saying="passphrase")
    assert key.touches == 4


def test_the_slot_is_what_the_page_says(cli, plug):
    key = plug()
    with_key_alone(cli)
    slot, params = slot_of(cli)
    assert params == {0: next(iter(key.credentials)), 1: "snugfs", 2: params[2], 3: False, 4: key.aaguid} and len(params[2]) == 32
    _, mine = slot_key(cli, key, False)
    aad = cbor2.dumps(slot[0]) + cbor2.dumps(slot[1]) + cbor2.dumps(slot[4])
    assert len(AESGCM(expand(extract(b"", mine), b"snugfs/1 slot" + slot[1])).decrypt(bytes(12), slot[5], aad)) == 32


def test_a_key_can_be_the_only_way_besides_the_recovery_key(cli, plug):
    key = plug()
    with_key_alone(cli)
    opens(cli)
    fails(cli, "unlock-method", "remove", cli.mp, id_of(cli, "fido2"), saying="last way")
    key.pull_out()
    fails(cli, "mount", cli.mp, saying=["no security key is plugged in", "--with-recovery-key"])
    key.plug_in()
    opens(cli)


# PINs


@pytest.mark.parametrize("model", [{"protocol": 1}, {"protocol": 2}, {"protocol": 2, "permissions": True}],
                         ids=["protocol 1", "protocol 2", "CTAP 2.1"])
def test_a_pin_is_needed_where_the_key_has_one_and_a_wrong_one_tells_how_many_are_left(cli, plug, model):
    key = plug(pin="246810", **model)
    done = with_key_alone(cli, "--pin", pin="246810")
    assert "has no PIN" not in done.stdout and next(m for m in listed(cli)["methods"] if m["kind"] == "fido2")["pin"] is True
    assert "fido2 with a PIN" in method(cli, "list", cli.mp).stdout
    assert slot_of(cli)[1][3] is True
    opens(cli, "--passphrase-file", cli.root / "pin")
    wrong = written(cli, "wrong", "135790")
    touches = key.touches
    fails(cli, "mount", cli.mp, "--passphrase-file", wrong, saying=["not the PIN", "after 7 more wrong ones"])
    fails(cli, "mount", cli.mp, "--passphrase-file", wrong, saying="after 6 more wrong ones")
    assert key.touches == touches
    opens(cli, "--passphrase-file", cli.root / "pin")
    assert key.tries == 8


def test_a_key_that_wants_its_pin_for_everything_works_too(cli, plug):
    key = plug(pin="246810", permissions=True, always_verifies=True)
    with_key_alone(cli, pin="246810")
    opens(cli, "--passphrase-file", cli.root / "pin")
    assert key.touches == 3


def test_a_blocked_pin_says_what_to_do(cli, plug):
    key = plug(pin="246810")
    with_key_alone(cli, pin="246810")
    pin, wrong = cli.root / "pin", written(cli, "wrong", "135790")
    for _ in range(2):
        fails(cli, "mount", cli.mp, "--passphrase-file", wrong, saying="not the PIN")
    for given in (wrong, pin):
        fails(cli, "mount", cli.mp, "--passphrase-file", given, saying=["pull it out", "plug it in"])
    key.pull_out()
    key.plug_in()
    opens(cli, "--passphrase-file", pin)
    key.tries = 1
    for given in (wrong, pin):
        fails(cli, "mount", cli.mp, "--passphrase-file", given, saying=["blocked", "fido2-token -R", "--with-recovery-key"])


def test_at_a_terminal_the_pin_is_asked_for_and_then_the_touch(cli, plug):
    key = plug(pin="246810")
    with_key_alone(cli, pin="246810")
    key.behaviour = "waits"
    terminal = Terminal(cli, "mount", cli.mp)
    terminal.read_until("PIN of the security key")
    terminal.type("246810\n")
    terminal.read_until(TOUCH)
    assert key.is_asking.wait(120)
    key.finger.set()
    said, status = terminal.end()
    assert status == 0 and "246810" not in said, said
    cli.ok("unmount", cli.mp)


def test_no_pin_at_a_terminal_leads_on_to_the_passphrase_and_a_wrong_one_does_not(cli, plug):
    key = plug(pin="246810")
    with_passphrase(cli, pin="246810")
    terminal = Terminal(cli, "mount", cli.mp)
    terminal.read_until("PIN of the security key")
    terminal.type("\n")
    terminal.read_until("Passphrase for")
    terminal.type("the first one\n")
    assert terminal.end()[1] == 0
    cli.ok("unmount", cli.mp)
    assert key.tries == 8
    terminal = Terminal(cli, "mount", cli.mp)
    terminal.read_until("PIN of the security key")
    terminal.type("135790\n")
    said, status = terminal.end()
    assert os.waitstatus_to_exitcode(status) == 1 and "after 7 more" in said and "Passphrase" not in said


def test_a_passphrase_on_standard_input_is_never_tried_as_a_pin(cli, plug):
    key = plug(pin="246810")
    with_passphrase(cli, pin="246810")
    done = cli.ok("mount", cli.mp, stdin="the first one\n")
    (said,) = sentences(done)
    assert "wants its PIN" in said and key.tries == 8 and TOUCH not in done.stderr
    cli.ok("unmount", cli.mp)
    fails(cli, "mount", cli.mp, "--no-passphrase", saying="wants its PIN")
    assert key.tries == 8


def test_a_pin_that_was_set_later_is_not_needed(cli, plug):
    key = plug()
    with_key_alone(cli)
    key.pin_hash = hashlib.sha256(b"246810").digest()[:16]
    opens(cli, "--no-passphrase")


def test_a_key_without_a_pin_is_refused_where_one_is_asked_for(cli, plug):
    plug()
    open_to_all(cli)
    fails(cli, "unlock-method", "add", cli.mp, "fido2", "--pin", saying=["no PIN", "fido2-token -S"])
    assert kinds(cli) == ["none"]


# What goes wrong


@pytest.mark.parametrize("behaviour, words", [("never", "was not touched in time"), ("pulled", "was pulled out")])
def test_who_does_not_touch_it_or_pulls_it_out_is_told_and_goes_on_to_the_passphrase(cli, plug, behaviour, words):
    key = plug()
    with_passphrase(cli)
    key.behaviour = behaviour
    done = cli.ok("mount", cli.mp, stdin="the first one\n")
    assert TOUCH in done.stderr and [words in said for said in sentences(done)] == [True]
    cli.ok("unmount", cli.mp)


@pytest.mark.parametrize("behaviour, words", [("never", "was not touched in time"), ("pulled", "was pulled out")])
def test_adding_a_key_that_is_not_touched_changes_nothing(cli, plug, behaviour, words):
    key = plug()
    open_to_all(cli)
    before = device_file(cli).read_bytes()
    key.behaviour = behaviour
    fails(cli, "unlock-method", "add", cli.mp, "fido2", saying=words)
    assert device_file(cli).read_bytes() == before


def test_without_the_key_it_goes_on_to_the_passphrase(cli, plug):
    key = plug()
    with_passphrase(cli)
    key.pull_out()
    done = cli.ok("mount", cli.mp, stdin="the first one\n")
    assert ["no security key is plugged in" in said for said in sentences(done)] == [True]
    cli.ok("unmount", cli.mp)
    cli.env["SNUGFS_SECURITY_KEYS"] = "/dev/null"
    done = cli.ok("mount", cli.mp, stdin="the first one\n")
    assert ["no security key is plugged in" in said for said in sentences(done)] == [True]
    cli.ok("unmount", cli.mp)


def test_another_key_does_not_open_and_is_not_asked_for_a_touch(cli, plug):
    key = plug()
    with_key_alone(cli)
    key.pull_out()
    other = plug()
    fails(cli, "mount", cli.mp, "--no-passphrase", saying="not one that was added here")
    assert other.touches == 0


def test_a_key_that_makes_another_secret_does_not_open(cli, plug):
    key = plug()
    with_key_alone(cli)
    for name, (private, _, _) in key.credentials.items():
        key.credentials[name] = (private, os.urandom(32), os.urandom(32))
    fails(cli, "mount", cli.mp, "--no-passphrase", saying="another secret")


def test_of_several_keys_the_right_one_is_found_and_one_to_add_must_be_named(cli, plug):
    first, second = plug(), plug()
    nothing = open_to_all(cli)
    words = ["unlock-method", "add", cli.mp, "fido2"]
    fails(cli, *words, saying=[str(first.path), str(second.path), "--security-key"])
    cli.ok(*words, "--security-key", second.path)
    assert (first.touches, second.touches) == (0, 2)
    method(cli, "remove", cli.mp, nothing)
    opens(cli)
    assert (first.touches, second.touches) == (0, 3)
    cli.ok(*words, "--security-key", first.path)
    assert (first.touches, second.touches) == (2, 4)
    second.pull_out()
    opens(cli)
    assert (first.touches, second.touches) == (3, 4)
    fails(cli, "unlock-method", "add", cli.mp, "fido2", "--security-key", cli.root / "nowhere", saying=["no security key answers", "nowhere"])


def test_a_key_that_makes_no_secrets_or_too_long_ids_is_refused(cli, plug):
    key = plug(with_secret=False)
    nothing = open_to_all(cli)
    before = device_file(cli).read_bytes()
    fails(cli, "unlock-method", "add", cli.mp, "fido2", saying="hmac-secret")
    key.with_secret, key.id_length = True, 1025
    fails(cli, "unlock-method", "add", cli.mp, "fido2", saying="too long")
    assert device_file(cli).read_bytes() == before
    key.id_length = 1024
    add(cli)
    method(cli, "remove", cli.mp, nothing)
    opens(cli)


def test_without_the_library_it_goes_on_to_the_passphrase(cli, plug):
    plug()
    with_passphrase(cli)
    empty = cli.root / "empty"
    empty.mkdir()
    (empty / "libfido2.so.1").write_bytes(b"")
    cli.env["LD_LIBRARY_PATH"] = str(empty)
    done = cli.ok("mount", cli.mp, stdin="the first one\n")
    assert ["libfido2.so.1 is not installed" in said for said in sentences(done)] == [True]
    cli.ok("unmount", cli.mp)


def test_ctrl_c_at_the_touch_ends_the_command_and_the_key_works_again(cli, plug):
    key = plug()
    with_key_alone(cli)
    key.behaviour = "waits"
    terminal = Terminal(cli, "mount", cli.mp)
    terminal.read_until(TOUCH)
    assert key.is_asking.wait(120)
    terminal.type("\x03")
    assert os.WTERMSIG(terminal.end()[1]) == signal.SIGINT
    key.behaviour = "touched"
    opens(cli)


def test_where_nobody_sees_standard_error_the_desktop_is_told_to_touch(cli, plug):
    key = plug()
    with_key_alone(cli)
    told = cli.root / "told"
    hook = cli.root / "hook"
    hook.write_text(f'#!/bin/sh\nprintf "%s: %s" "$1" "$2" > {told}.new && mv {told}.new {told}\n')
    hook.chmod(0o755)
    config = cli.home / ".config/snugfs/config.ini"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(config.read_text() if config.exists() else "")
    with open(config, "a", encoding="utf-8") as file:
        file.write(f"[settings]\non-event = {hook}\n")
    key.behaviour = "waits"
    mount = subprocess.Popen([*cli.program, "mount", str(cli.mp), "--no-passphrase"], env=cli.env, stdin=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True)
    try:
        wait_until(told.exists, "the desktop's program")
        key.finger.set()
        assert TOUCH in mount.communicate(timeout=120)[1] and mount.returncode == 0
    finally:
        mount.kill()
    assert told.read_text() == f"notice: {TOUCH}"
    cli.ok("unmount", cli.mp)


# Secrets


@needs_root
def test_what_the_key_made_and_its_pin_are_not_in_the_daemon_or_its_files(cli, plug):
    key = plug(pin="a PIN that nobody else has")
    with_key_alone(cli, pin="a PIN that nobody else has")
    cli.ok("mount", cli.mp, "--passphrase-file", cli.root / "pin")
    output, mine = slot_key(cli, key, True)
    secrets = {"output": output, "slot key": mine, "PIN": b"a PIN that nobody else has"}
    (daemon,) = cli.daemons()
    if not can_look_into(daemon):
        pytest.skip("here not even root may look into another process (CAP_SYS_PTRACE)")
    assert not lasting(lambda: search(daemon, secrets))
    core = dump(cli, daemon)
    assert not [name for name, secret in secrets.items() if secret in core]
    stored = b"".join(path.read_bytes() for path in cli.vault_dir().rglob("*") if path.is_file())
    assert not [name for name, secret in secrets.items() if secret in stored]
    cli.ok("unmount", cli.mp)
