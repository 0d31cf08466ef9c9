"""What somebody does who can write to a computer's disk while the vault is closed; configurations that mix two vaults."""
import contextlib
import errno
import os
import shutil
import sqlite3

import cbor2
import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

import reader
from conftest import CONTENTS, assert_readable
from reader import writer


def device_secret(computer):
    return cbor2.loads((computer.dir / "device").read_bytes())[3][0][5]


def refuses_to_mount(computer, *words):
    options = ["-o", "allow_other"] if os.geteuid() == 0 else []
    given = computer.root / "passphrase"
    given.write_text("pass\n")
    return computer.refuses(computer.run("mount", computer.mountpoint, "--vault", computer.dir, "--passphrase-file", given, *options,
                                         check=False), *words)


def passphrase_slot(secret, cost, passphrase=b"pass"):
    """One that opens, with a cost that may be lower than the program would take."""
    salt, slot_id = b"s" * 32, b"an id..."
    parameters = writer.encode({0: salt, 1: cost, 2: 8, 3: 1})
    key = Scrypt(salt=salt, length=32, n=1 << cost, r=8, p=1).derive(passphrase)
    aad = writer.encode(1) + writer.encode(slot_id) + writer.encode(parameters)
    return {0: 1, 1: slot_id, 2: "passphrase", 3: 0, 4: parameters,
            5: writer.seal(reader.expand(reader.extract(b"", key), b"snugfs/1 slot" + slot_id), 0, aad, secret),
            6: writer.seal(reader.expand(reader.extract(b"", secret), b"snugfs/1 slot key" + slot_id), 0, aad, key)}


def test_a_weaker_cost_in_the_device_file_is_refused(scene):
    """By somebody who knows the device secret, so that everything else is as it must be; at the floor it opens."""
    secret, vault_id = device_secret(scene.alpha), scene.state().vault_id
    path = scene.alpha.dir / "device"
    for cost in (1, 10, 13):
        path.write_bytes(writer.device_file(secret, vault_id, [passphrase_slot(secret, cost)]))
        refuses_to_mount(scene.alpha, f"the vault in {scene.alpha.dir} was made by another version of snugfs")
    path.write_bytes(writer.device_file(secret, vault_id, [passphrase_slot(secret, 14)]))
    options = ["-o", "allow_other"] if os.geteuid() == 0 else []
    scene.alpha.run("mount", scene.alpha.mountpoint, "--vault", scene.alpha.dir, "--passphrase-file", scene.alpha.root / "passphrase",
                    *options)
    assert (scene.alpha.mountpoint / "one").read_bytes() == CONTENTS["one"]
    scene.alpha.unmount()


@pytest.mark.parametrize("how", ["another version", "a slot added", "a slot exchanged", "another vault", "flipped", "cut", "empty"])
def test_a_device_file_that_was_changed_is_refused(scene, how):
    secret, vault_id = device_secret(scene.alpha), scene.state().vault_id
    path = scene.alpha.dir / "device"
    slot = passphrase_slot(secret, 14)
    good = writer.device_file(secret, vault_id, [slot])
    stranger = b"x" * 32
    path.write_bytes({
        "another version": lambda: writer.device_file(secret, vault_id, [slot], version=3),
        "a slot added": lambda: with_slots(good, [slot, {0: 0, 1: bytes(8), 2: "", 3: 0, 4: writer.encode({}), 5: stranger}]),
        "a slot exchanged": lambda: with_slots(good, [passphrase_slot(stranger, 14)]),
        "another vault": lambda: good.replace(vault_id, bytes(32)),
        "flipped": lambda: good[:-1] + bytes([good[-1] ^ 1]),
        "cut": lambda: good[:-1],
        "empty": lambda: b"",
    }[how]())
    refuses_to_mount(scene.alpha, f"the vault in {scene.alpha.dir} " + ("was made by another version of snugfs" if
                                                                         how == "another version" else "is damaged"))
    path.write_bytes(good)
    options = ["-o", "allow_other"] if os.geteuid() == 0 else []
    scene.alpha.run("mount", scene.alpha.mountpoint, "--vault", scene.alpha.dir, "--passphrase-file", scene.alpha.root / "passphrase",
                    *options)
    scene.alpha.unmount()


def with_slots(file, slots):
    form = cbor2.loads(file)
    return writer.encode({**form, 3: slots})


def rows(computer, table, where):
    """Columns by name.  Closed at once, since nobody else may open what somebody has open."""
    with contextlib.closing(sqlite3.connect(computer.dir / "meta.db")) as db:
        db.row_factory = sqlite3.Row
        return db.execute(f"SELECT * FROM {table} WHERE {where}").fetchall()


def change_database(computer, *statements):
    db = sqlite3.connect(computer.dir / "meta.db")
    for statement, values in statements:
        assert db.execute(statement, values).rowcount == 1, statement
    db.commit()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def test_names_that_were_swapped_in_the_local_database_are_refused(scene):
    """Any two rows of one folder: each is sealed for its place."""
    found = rows(scene.alpha, "dentry", "parent = 1")
    assert len(found) == 5
    swap = "UPDATE dentry SET row = ? WHERE parent = 1 AND cookie = ?"
    for first, second in zip(found, found[1:]):
        scene.reset()
        change_database(scene.alpha, (swap, (second["row"], first["cookie"])), (swap, (first["row"], second["cookie"])))
        got = scene.alpha.contents(CONTENTS)
        damaged = {name for name in CONTENTS if got[name] == errno.EBADMSG}
        assert len({name.split("/")[0] for name in damaged}) == 2, got
        assert all(got[name] == content for name, content in CONTENTS.items() if name not in damaged)


def test_the_row_of_one_file_given_to_another_is_refused(scene):
    mallory = scene.adversary()
    one, two = mallory.file("one").id, mallory.file("two").id
    (row,) = rows(scene.alpha, "inode", f"ino = {one}")
    change_database(scene.alpha, ("UPDATE inode SET row = ? WHERE ino = ?", (row["row"], two)))
    assert scene.alpha.contents(CONTENTS) == {**CONTENTS, "two": errno.EBADMSG}


def test_the_map_of_one_range_given_to_another_is_refused(scene):
    big = scene.adversary().file("big").id
    first, second = rows(scene.alpha, "chunk", f"ino = {big}")
    change_database(scene.alpha, ("UPDATE chunk SET row = ? WHERE ino = ? AND no = ?", (first["row"], big, second["no"])))
    got = scene.alpha.contents(CONTENTS)
    assert got.pop("big") in (errno.EIO, errno.EBADMSG)
    assert got == {name: content for name, content in CONTENTS.items() if name != "big"}


def test_a_row_of_which_a_byte_was_flipped_is_refused(scene):
    one = scene.adversary().file("one").id
    (row,) = rows(scene.alpha, "inode", f"ino = {one}")
    for at in (0, 4, 11, 12, len(row["row"]) // 2, len(row["row"]) - 1):
        scene.reset()
        data = bytearray(row["row"])
        data[at] ^= 1
        change_database(scene.alpha, ("UPDATE inode SET row = ? WHERE ino = ?", (bytes(data), one)))
        assert scene.alpha.contents(CONTENTS) == {**CONTENTS, "one": errno.EBADMSG}, at


def test_the_rows_of_another_computer_are_refused(scene):
    """Its local key is another: nothing of the one opens in the other."""
    shutil.copy(scene.beta.dir / "meta.db", scene.alpha.dir / "meta.db")
    options = ["-o", "allow_other"] if os.geteuid() == 0 else []
    done = scene.alpha.run("mount", scene.alpha.mountpoint, "--vault", scene.alpha.dir, "--no-passphrase", *options, check=False)
    scene.alpha.refuses(done, str(scene.alpha.dir))


def test_local_segments_that_were_changed_give_errors_and_no_other_bytes(scene):
    segments = [path for path in (scene.alpha.dir / "segments").iterdir() if path.stat().st_size > 100000]
    assert segments
    for path in segments:
        data = bytearray(path.read_bytes())
        for at in range(0, len(data), 20000):
            data[at] ^= 1
        path.write_bytes(data)
    got = scene.alpha.contents(CONTENTS)
    assert all(got[name] in (content, errno.EIO) for name, content in CONTENTS.items())
    assert got["big"] == CONTENTS["big"] or errno.EIO in got.values()


def test_two_hosts_mixed_in_one_configuration_change_nothing_on_either(scene):
    """The vault of one with the store of the other: both have the same program, perhaps the same account."""
    other = scene.root / "other"
    shutil.rmtree(other, ignore_errors=True)
    stranger = type(scene.gamma)(scene.root / "stranger")
    try:
        options = ["-o", "allow_other"] if os.geteuid() == 0 else []
        stranger.run("up", stranger.mountpoint, "--vault", stranger.dir, "--no-passphrase", "--remote", f"dir:{other}",
                     "--recovery-key-file", stranger.root / "key", *options)
        (stranger.mountpoint / "theirs").write_text("x")
        stranger.sync()
        stranger.unmount()
        before = reader.sha256(b"".join(path.read_bytes() for path in sorted(other.rglob("*")) if path.is_file()))
        shutil.rmtree(scene.store)
        shutil.copytree(other, scene.store)
        scene.beta.refuses_to_sync(f"dir:{scene.store} holds another vault; nothing was changed there")
        # And if the marker says that it is ours.
        scene.replace("v", (scene.root / "stage3/store/v").read_bytes())
        scene.beta.refuses_to_sync(f"dir:{scene.store} has lost or replaced commits that this device has seen")
        scene.refused_join(scene.gamma, "gamma", f"this recovery key is not the one of the vault in dir:{scene.store}")
        after = reader.sha256(b"".join(path.read_bytes() for path in sorted(scene.store.rglob("*"))
                                       if path.is_file() and path.name != "v"))
        assert before != after
        shutil.copy(other / "v", scene.store / "v")
        assert before == reader.sha256(b"".join(path.read_bytes() for path in sorted(scene.store.rglob("*")) if path.is_file()))
        # The local halves exchanged: a device file beside another's database.
        shutil.copy(stranger.dir / "device", scene.beta.dir / "device")
        done = scene.beta.run("mount", scene.beta.mountpoint, "--vault", scene.beta.dir, "--no-passphrase", *options, check=False)
        scene.beta.refuses(done, str(scene.beta.dir))
    finally:
        stranger.clean_up()
    assert_readable(scene.alpha)
