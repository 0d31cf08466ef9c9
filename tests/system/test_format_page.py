"""snugfs-format(5) says enough: its worked example can be recomputed, its labels are those of the program, and a reader that was
written from it alone (reader.py) gets everything out of a store, and notices what was changed there.
"""
import json
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

import cbor2
import reader
from reader import expand, sha256, tree, u32, u64, writer

TOP = pathlib.Path(__file__).resolve().parents[2]
PAGE = TOP / "man" / "snugfs-format.5"


# The worked example


def read_example(page):
    """{name: bytes or text}: lines "name: hex", which go on in lines that begin with a space."""
    section = page.split(".Sh EXAMPLE", 1)[1].split("\n.Sh ", 1)[0]
    values, name = {}, None
    for line in section.splitlines():
        begins = re.fullmatch(r"([a-z][a-z ]+): (\S+)", line)
        if begins:
            name = begins.group(1)
            values[name] = begins.group(2)
        elif re.fullmatch(r" +[0-9a-f]+", line):
            values[name] += line.strip()
        else:
            name = None
    return {name: value if "-" in value else bytes.fromhex(value) for name, value in values.items()}


def envelope_of(given, device, vault_id):
    return writer.envelope(vault_id, 0, given["epoch key"], reader.COMMIT, 1, given["previous"], device, given["compressed body"],
                           salt=given["salt"], time=1)


def compute(given):
    """What follows from the values that the example gives."""
    recovery = reader.Identity(reader.RECOVERY, given["recovery key"])
    device = reader.Identity(reader.DEVICE, given["device secret"])
    genesis = writer.genesis(device, recovery)
    vault_id = sha256(genesis)
    secrets = given["epoch key"] + given["link secret"] + recovery.own(b"recovery psk")
    commit = envelope_of(given, device, vault_id)
    extent_key = expand(given["file key"], b"snugfs/1 extent" + given["extent id"])

    def aad(length, encoding):
        return u64(2) + u64(0) + u32(length) + u32(1) + u32(encoding) + u32(0)

    packed = given["compressed frame"]
    return {
        "recovery member id": recovery.id,
        "recovery psk": recovery.own(b"recovery psk"),
        "device signing key": device.sign,
        "device box key": device.box,
        "device member id": device.id,
        "local key": device.own(b"local"),
        "genesis": genesis,
        "vault id": vault_id,
        "device file": writer.device_file(given["device secret"], vault_id),
        "slot": writer.slot(recovery.box, secrets, b"snugfs/1 key box" + vault_id + u32(0), recovery.own(b"recovery psk"),
                            b"snugfs/1 recovery", given["ephemeral secret"]),
        "wrapped file key": aes_key_wrap(given["epoch key"], given["file key"]),
        "commit begins": commit[:64],
        "commit digest": sha256(commit),
        "extent key": extent_key,
        "raw extent": writer.seal(extent_key, 0, aad(len(given["raw content"]), 0), given["raw content"]),
        "packed extent": writer.seal(extent_key, 0, aad(len(given["packed content"]), 1), u32(len(packed))) +
                         writer.seal(extent_key, 1, aad(len(given["packed content"]), 1), packed),
    }


@pytest.fixture(scope="module")
def example():
    return read_example(PAGE.read_text(encoding="utf-8"))


def test_every_value_of_the_example_follows_from_what_it_gives(example):
    for name, value in compute(example).items():
        assert example[name] == value, name


def test_the_example_opens_the_way_the_page_says(example):
    recovery = reader.Identity(reader.RECOVERY, reader.recovery_key(example["recovery text"]))
    assert reader.recovery_key(example["recovery text"]) == example["recovery key"]
    vault_id = example["vault id"]
    secrets = reader.open_slot(example["slot"], vault_id, 0, recovery)
    assert secrets == (example["epoch key"], example["link secret"], example["recovery psk"])
    trust = reader.Trust()
    trust.fold(example["genesis"])
    assert trust.vault_id == vault_id and recovery.id in trust.members
    device = reader.Identity(reader.DEVICE, example["device secret"])
    envelope = reader.open_envelope(envelope_of(example, device, vault_id), reader.COMMIT, 1, vault_id, example["epoch key"])
    reader.verify(trust.members[envelope.author].sign, envelope.signature, envelope.message)
    body = reader.open_body(envelope.body)
    assert cbor2.dumps(body, canonical=True) == example["body"]
    assert body[5][0] == [1, 2, 8, b"hello"] and body[4][1][11][0][2] == example["wrapped file key"]
    offset, length, encoding, _, extent_id, _, at, stored = body[4][1][12][0][1][0]
    segment = example["raw extent"]
    assert reader.open_extent(example["file key"], 2, offset, length, encoding, extent_id, segment[at:at + stored]) == \
        example["raw content"]
    assert reader.open_extent(example["file key"], 2, 0, len(example["packed content"]), 1, example["extent id"],
                              example["packed extent"]) == example["packed content"]


def is_the_genesis(statement, vault_id):
    trust = reader.Trust()
    try:
        trust.fold(statement)
    except (reader.Refused, cbor2.CBORDecodeError, ValueError, TypeError, KeyError):
        return False
    return trust.vault_id == vault_id


@pytest.mark.parametrize("name", ["slot", "genesis", "raw extent", "packed extent"])
def test_a_flipped_bit_of_the_example_is_noticed(example, name):
    recovery = reader.Identity(reader.RECOVERY, example["recovery key"])
    for at in range(0, len(example[name]), 7):
        bad = bytearray(example[name])
        bad[at] ^= 1 << at % 8
        bad = bytes(bad)
        if name == "slot":
            assert reader.open_slot(bad, example["vault id"], 0, recovery) is None
            continue
        if name == "genesis":
            assert not is_the_genesis(bad, example["vault id"])
            continue
        with pytest.raises(reader.Refused):
            kind = int(name == "packed extent")
            content = example["packed content" if kind else "raw content"]
            reader.open_extent(example["file key"], 2, 0, len(content), kind, example["extent id"], bad)


def test_the_page_lists_just_the_labels_that_the_program_uses():
    listed = re.search(r"\.Ss All labels\n(.*?)\.Ed", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1)
    on_page = {re.split(r"  +", line)[0] for line in listed.splitlines() if line.startswith("snugfs/1")}
    used = set()
    for path in [*TOP.glob("crypto/*.[ch]"), *TOP.glob("remote/*.[ch]"), *TOP.glob("fs/*/*.[ch]")]:
        source = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        used |= {label.strip() for label in re.findall(r'"(snugfs/1 [^"]*)"', source)}
    assert used == on_page


# The independent reader on real stores


# user::rw-, user:12345:r--, group::r--, mask::r--, other::---
ACL = bytes.fromhex("02000000" "01000600ffffffff" "0200040039300000" "04000400ffffffff" "10000400ffffffff" "20000000ffffffff")


def furnish(top):
    """One of everything that a folder can hold."""
    (top / "folder" / "below").mkdir(parents=True)
    (top / "empty").write_bytes(b"")
    (top / "small").write_bytes(b"a few bytes")
    (top / "text").write_bytes(b"".join(b"line %d of many that are alike\n" % i for i in range(100000)))
    (top / "folder" / "noise").write_bytes(os.urandom(3 * 1048576 + 12345))
    (top / "folder" / ("n" * 200 + "\u00e4" * 27)).write_bytes(b"a long name")
    with open(top / "sparse", "wb") as f:
        f.seek(5 << 20)
        f.write(b"the end")
    os.link(top / "small", top / "folder" / "another name of small")
    os.symlink("../small", top / "folder" / "link")
    os.mkfifo(top / "fifo")
    os.chmod(top / "text", 0o640)
    os.setxattr(top / "text", "user.colour", b"green")
    os.setxattr(top / "folder", "user.empty", b"")
    os.setxattr(top / "small", "system.posix_acl_access", ACL)
    os.setxattr(top / "folder", "system.posix_acl_default", ACL)
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(top)  # the whole path may be too long for a socket's
        listener.bind("socket")
        os.chdir("/")
    if os.geteuid() == 0:
        os.mknod(top / "device", stat.S_IFCHR | 0o640, os.makedev(511, 70000))
        os.chown(top / "text", 12345, 4294967294)
        os.chmod(top / "text", 0o4750)
        os.setxattr(top / "folder" / "link", "trusted.of-a-link", b"x", follow_symlinks=False)
    os.utime(top / "folder" / "link", ns=(5, -1), follow_symlinks=False)
    os.utime(top / "folder" / "below", ns=(1, 1234567890123456789))


def change(top):
    """What a later commit has to undo of an earlier one."""
    with open(top / "folder" / "noise", "r+b") as f:
        f.seek(1000000)
        f.write(b"overwritten" * 10000)
        f.truncate(2500000)
    os.rename(top / "text", top / "folder" / "below" / "text")
    os.setxattr(top / "folder" / "below" / "text", "user.shape", b"round")
    os.removexattr(top / "folder" / "below" / "text", "user.colour")
    os.unlink(top / "empty")
    (top / "late").write_bytes(b"x" * 70000)


@pytest.fixture
def stored(vault):
    """A vault whose store the reader can read: the Vault, the store's folder, the recovery key."""
    store = vault.root / "store"
    key_file = vault.root / "recovery-key"
    vault.up("--remote", f"dir:{store}", "--recovery-key-file", key_file)
    return vault, store, key_file


def assert_same(in_store, folder):
    """With the ctimes: the folder is the vault itself."""
    assert tree.of_vault(in_store, ctime=True) == tree.of_folder(folder, ctime=True)


def key_in(key_file):
    return re.search(r"[0-9A-Z]{4}(-[0-9A-Z]{4}){6}", key_file.read_text(encoding="utf-8")).group(0)


def test_a_reader_written_from_the_page_gets_everything_out_of_the_store(stored):
    vault, store, key_file = stored
    furnish(vault.mountpoint)
    vault.run("sync", vault.mountpoint, "--vault", vault.dir)
    assert_same(reader.Vault(store, key_in(key_file)), vault.mountpoint)
    change(vault.mountpoint)
    vault.run("sync", vault.mountpoint, "--vault", vault.dir)
    assert_same(reader.Vault(store, key_in(key_file)), vault.mountpoint)


def test_the_reader_understands_bases(stored):
    vault, store, key_file = stored
    furnish(vault.mountpoint)
    (vault.mountpoint / "many").mkdir()
    for i in range(12000):
        (vault.mountpoint / "many" / f"{i:x}-{os.urandom(40).hex()}").write_bytes(os.urandom(20))
    vault.run("sync", vault.mountpoint, "--vault", vault.dir)
    change(vault.mountpoint)
    vault.run("sync", vault.mountpoint, "--vault", vault.dir)
    assert list((store / "b").glob("*")), "that much metadata is worth a base"
    assert_same(reader.Vault(store, key_in(key_file)), vault.mountpoint)


def test_no_object_can_be_changed_without_the_reader_noticing(stored):
    vault, store, key_file = stored
    furnish(vault.mountpoint)
    vault.run("sync", vault.mountpoint, "--vault", vault.dir)
    vault.unmount()
    tree.of_vault(reader.Vault(store, key_in(key_file)))
    copy = vault.root / "copy"
    for path in [p for p in store.rglob("*") if p.is_file() and "tmp" not in p.relative_to(store).parts]:
        shutil.copytree(store, copy)
        bad = copy / path.relative_to(store)
        data = bytearray(bad.read_bytes())
        data[len(data) // 3] ^= 4
        bad.write_bytes(data)
        with pytest.raises(reader.Refused):
            tree.of_vault(reader.Vault(copy, key_in(key_file)))
        shutil.rmtree(copy)


def test_the_reader_writes_everything_into_a_folder(stored):
    vault, store, key_file = stored
    furnish(vault.mountpoint)
    vault.run("sync", vault.mountpoint, "--vault", vault.dir)
    out = vault.root / "out"
    out.mkdir()
    env = dict(os.environ, PYTHONPATH=str(TOP / "tests"), PYTHONDONTWRITEBYTECODE="1")
    command = ["/usr/bin/python3", "-m", "reader", store, key_file]
    subprocess.run([*command, "write", out], env=env, check=True, timeout=300)
    assert tree.of_folder(out) == tree.of_folder(vault.mountpoint)
    assert (out / "sparse").stat().st_blocks * 512 < 5 << 20, "holes stay holes"
    subprocess.run([*command, "compare", out], env=env, check=True, timeout=300)
    (out / "small").write_bytes(b"a few bites")
    assert subprocess.run([*command, "compare", out], env=env, timeout=300, capture_output=True).returncode == 1
    listed = subprocess.run([*command, "list"], env=env, check=True, timeout=300, capture_output=True).stdout
    assert json.loads(listed).keys() == tree.of_folder(out).keys()


def test_another_recovery_key_opens_nothing(stored):
    vault, store, _ = stored
    vault.run("sync", vault.mountpoint, "--vault", vault.dir)
    with pytest.raises(reader.Refused):
        reader.Vault(store, "0000-0000-0000-0000-0000-0000-0000")
