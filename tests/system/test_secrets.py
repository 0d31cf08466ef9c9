"""No key is anywhere but in locked memory: what the daemon holds is computed here, from the device file and the store, and
looked for in its memory, in a core dump, in what /proc shows of it, in its files and in what it logs.
"""
import hashlib
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile

import cbor2
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import reader
from accounts import KEY, Cli
from conftest import binary, new_root, wait_until
from reader import expand, extract

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to look into another process")

PASSPHRASE = "a passphrase that nobody else has: 7f3a91"


def device_secret(device_file, passphrase):
    """Opens the passphrase slot as snugfs-format(5) says."""
    file = cbor2.loads(device_file)
    slot = next(s for s in file[3] if s[0] == 1)
    params = cbor2.loads(slot[4])
    key = hashlib.scrypt(passphrase.encode(), salt=params[0], n=1 << params[1], r=params[2], p=params[3], maxmem=1 << 30, dklen=32)
    wrap = expand(extract(b"", key), b"snugfs/1 slot" + slot[1])
    aad = cbor2.dumps(slot[0]) + cbor2.dumps(slot[1]) + cbor2.dumps(slot[4])
    return key, AESGCM(wrap).decrypt(bytes(12), slot[5], aad)


def raw(key):
    return key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def sessions_of(vault_dir):
    """From a copy: the database is the daemon's alone while it runs."""
    with tempfile.TemporaryDirectory() as place:
        for name in ("meta.db-wal", "meta.db"):
            if (vault_dir / name).exists():
                shutil.copy(vault_dir / name, place)
        db = sqlite3.connect(pathlib.Path(place) / "meta.db")
        found = db.execute("SELECT * FROM session").fetchall()
        db.close()
    assert found
    return found


def secrets_of(cli, recovery_text):
    """{name: bytes} of all that must not be found."""
    slot_key, secret = device_secret((cli.vault_dir() / "device").read_bytes(), PASSPHRASE)
    me = reader.Identity(reader.DEVICE, secret)
    paper = reader.Identity(reader.RECOVERY, reader.recovery_key(recovery_text))
    vault = reader.Vault(cli.store, recovery_text)
    box = next((cli.store / "k").glob("0-*")).read_bytes()
    epoch_key, link_secret, psk = reader.open_box(box, vault.vault_id, 0, paper)
    found = {"names key": expand(me.own(b"local"), b"snugfs/1 names")}
    for number, salt in sessions_of(cli.vault_dir()):
        found[f"key of session {number}"] = expand(me.own(b"local"), b"snugfs/1 row session" + salt)
    found |= {"passphrase": PASSPHRASE.encode(), "slot key": slot_key, "device secret": secret, "device PRK": me.prk,
             "signing seed": raw(me.sign_key), "box secret": raw(me.box_key), "local key": me.own(b"local"), "epoch key": epoch_key,
             "link secret": link_secret, "recovery psk": psk, "recovery key": reader.recovery_key(recovery_text),
             "recovery text": recovery_text.encode(), "recovery signing seed": raw(paper.sign_key)}
    for path, file in vault.walk():
        for version, (epoch, wrapped) in file.keys.items():
            found[f"file key {version} of {path!r}"] = aes_key_unwrap(vault.epoch_keys[epoch], wrapped)
    assert any(name.startswith("file key") for name in found)
    return found


def regions(pid):
    """(begin, end, flags) of what the process has mapped and may read."""
    begin, out = None, []
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ", line)
        if head:
            begin, end, rights = int(head[1], 16), int(head[2], 16), head[3]
        elif line.startswith("VmFlags:") and "r" in rights:
            out.append((begin, end, line.split()[1:]))
    return out


def search(pid, secrets):
    """{name of a secret: [(where, flags)]} in the memory of a process."""
    found = {}
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for begin, end, flags in regions(pid):
            try:
                memory.seek(begin)
                data = memory.read(end - begin)
            except (OSError, ValueError, OverflowError):
                continue  # vvar and the like
            for name, secret in secrets.items():
                if secret in data:
                    found.setdefault(name, []).append((hex(begin + data.index(secret)), flags))
    return found


def lasting(look):
    """What `look` finds each time: what is found once may just be in use."""
    found = look()
    for _ in range(4):
        if found:
            again = look()
            found = {name: kept for name, places in found.items()
                     if (kept := [place for place in places if place in again.get(name, [])])}
    return found


def dump(cli, pid):
    """The core that an administrator makes."""
    subprocess.run(["gcore", "-o", str(cli.root / "core"), str(pid)], check=True, capture_output=True)
    path = cli.root / f"core.{pid}"
    core = path.read_bytes()
    path.unlink()
    assert core[:4] == b"\x7fELF"
    return core


def can_look_into(pid):
    try:
        with open(f"/proc/{pid}/mem", "rb"):
            return True
    except PermissionError:
        return False


@pytest.fixture
def busy():
    """A mounted vault that has written, read and synced; (Cli, the daemon's pid, its secrets)."""
    cli = Cli(new_root())
    try:
        pass_file, key = cli.root / "pass", cli.root / "key"
        pass_file.write_text(PASSPHRASE + "\n")
        cli.ok("up", cli.mp, "--passphrase-file", pass_file, "--recovery-key-file", key, "--remote", f"dir:{cli.store}")
        for i in range(20):
            (cli.mp / f"file {i}").write_bytes(os.urandom(5000) * 20)
        cli.ok("sync", cli.mp)
        cli.ok("unmount", cli.mp)
        wait_until(lambda: not cli.daemons(), "the daemon's end")
        recovery_text = KEY.search(key.read_text()).group(0)
        cli.ok("mount", cli.mp, "--passphrase-file", pass_file)
        for i in range(20):
            (cli.mp / f"file {i}").read_bytes()
        with open(cli.mp / "file 3", "ab") as f:
            f.write(b"more")
            os.fsync(f.fileno())
        (cli.mp / "new").write_text("new")
        cli.ok("sync", cli.mp)
        cli.ok("recovery-key", "check", cli.mp, "--recovery-key-file", key)
        pid = cli.daemons()[0]
        if os.geteuid() == 0 and not can_look_into(pid):
            pytest.skip("here not even root may look into another process (CAP_SYS_PTRACE)")
        yield cli, pid, secrets_of(cli, recovery_text)
    finally:
        cli.clean_up()


@needs_root
def test_the_search_finds_what_is_there():
    """Of another process that holds a secret carelessly."""
    code = "import os, sys; s = bytes.fromhex(sys.stdin.readline()); print('ready', flush=True); sys.stdin.readline()"
    p = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        planted = os.urandom(32)
        p.stdin.write(planted.hex() + "\n")
        p.stdin.flush()
        assert p.stdout.readline() == "ready\n"
        assert set(search(p.pid, {"planted": planted, "other": os.urandom(32)})) == {"planted"}
    finally:
        p.kill()
        p.communicate()


@needs_root
def test_the_daemons_memory_holds_keys_in_locked_and_undumped_memory_only(busy):
    _, pid, secrets = busy
    found = search(pid, secrets)
    assert {"epoch key", "box secret"} <= set(found), "it cannot work without these"
    assert not {"passphrase", "slot key", "recovery key", "recovery text"} & set(found), "these are not needed any more"

    def careless():
        return {name: places for name, at in search(pid, secrets).items()
                if (places := [p for p in at if not {"lo", "dd"} <= set(p[1])])}
    assert lasting(careless) == {}


@needs_root
def test_a_core_dump_holds_no_key_even_if_it_holds_memory(busy):
    """Registers, too: a thread that waits has in them what it moved through them before."""
    cli, pid, secrets = busy
    pathlib.Path(f"/proc/{pid}/coredump_filter").write_text("0x33")

    def in_core():
        core = dump(cli, pid)
        assert len(core) > 1 << 20
        return {name: [True] for name, secret in secrets.items() if secret in core}
    assert lasting(in_core) == {}


@needs_root
def test_a_core_dump_holds_neither_names_nor_contents(busy):
    cli, pid, _ = busy
    content = (b"Look upon this and be told: " + os.urandom(8).hex().encode()) * 1000
    name = "a name that nobody would guess " + os.urandom(8).hex()
    with open(cli.mp / name, "wb") as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())
    assert (cli.mp / name).read_bytes() == content
    assert search(pid, {"name": name.encode()}), "it is in its memory"
    core = dump(cli, pid)
    assert content[:44] not in core and name.encode() not in core


def test_all_symbols_are_bound_before_there_is_a_key():
    """Who binds one later saves all registers on the stack, with what memcpy(3) has just moved through them."""
    assert "BIND_NOW" in subprocess.run(["readelf", "-d", binary()], check=True, capture_output=True, text=True).stdout


@needs_root
def test_a_crash_leaves_no_core_behind(busy):
    cli, pid, _ = busy
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text(encoding="utf-8")
    assert re.search(r"Max core file size +0 +0 ", limits)
    # Files below /proc/PID belong to root while a process is not dumpable, whoever runs it.
    assert os.stat(f"/proc/{pid}/mem").st_uid == 0
    os.kill(pid, signal.SIGABRT)
    wait_until(lambda: not cli.daemons(), "the daemon's death")
    cli.ok("lock", cli.mp)  # takes the dead mount off
    assert list(cli.root.rglob("core*")) == []


@needs_root
def test_neither_the_environment_nor_the_command_line_nor_any_local_file_holds_a_key(busy):
    cli, pid, secrets = busy
    for name in ("environ", "cmdline"):
        data = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
        assert [n for n, s in secrets.items() if s in data] == [], name
    here = [p for p in (cli.home / ".local").rglob("*") if p.is_file()] + [p for p in (cli.home / ".config").rglob("*") if p.is_file()]
    assert {"device", "meta.db"} <= {p.name for p in here}
    for path in here + [p for p in cli.store.rglob("*") if p.is_file()]:
        data = path.read_bytes()
        assert [n for n, s in secrets.items() if s in data or s.hex().encode() in data.lower()] == [], path


@needs_root
def test_the_log_holds_no_key(busy):
    cli, _, secrets = busy
    cli.ok("unmount", cli.mp)
    wait_until(lambda: not cli.daemons(), "the daemon's end")
    log = cli.root / "log"
    with open(log, "wb") as out:
        p = subprocess.Popen([binary(), "mount", str(cli.mp), "-f", "--passphrase-file", str(cli.root / "pass")], env=cli.env, stdout=out,
                             stderr=out, stdin=subprocess.DEVNULL)
        try:
            wait_until(lambda: str(cli.mp) in cli.mounts(), "the mount")
            (cli.mp / "x").write_text("x")
            cli.ok("sync", cli.mp)
            cli.ok("unmount", cli.mp)
        finally:
            p.terminate()
            p.wait()
    text = log.read_bytes()
    assert [n for n, s in secrets.items() if s in text or s.hex().encode() in text] == []
