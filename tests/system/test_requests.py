"""What the store is asked for: services bill by the request, and uplinks are slow.  snugfs(1) has the table."""
import json
import os
import pathlib

import pytest

import conftest
import trees

MIB = 1 << 20


class Counted:
    def __init__(self):
        self.root = pathlib.Path(conftest.new_root())
        self.store = self.root / "store"
        self.vault = conftest.Vault(self.root)
        self.vault.up("--remote", f"dir:{self.store}", "--recovery-key-file", self.root / "key")
        self.mnt = self.vault.mountpoint
        self.vault.run("pause", self.mnt, "--vault", self.vault.dir)  # work that takes long would be sent in several parts
        self.sync()

    def sync(self):
        self.vault.run("sync", self.mnt, "--vault", self.vault.dir)

    def requests(self):
        out = self.vault.run("status", self.mnt, "--vault", self.vault.dir, "--json", "--counters").stdout
        return json.loads(out)["requests"]

    def bytes(self):
        return sum(trees.objects(self.store).values())

    def spent(self, work):
        """What `work` and the sync behind it sent: requests that write, by kind, and bytes."""
        self.sync()
        before, held = self.requests(), self.bytes()
        work()
        self.sync()
        after = self.requests()
        assert after["delete"] == before["delete"] and after["list"] == before["list"]
        return after["put"] - before["put"], after["create"] - before["create"], self.bytes() - held


@pytest.fixture
def counted():
    c = Counted()
    yield c
    c.vault.clean_up()


def test_a_saved_document_is_one_segment_and_one_commit(counted):
    (counted.mnt / "letter").write_text("Dear Ann")

    def save():
        (counted.mnt / "letter.new").write_text("Dear Ann, dear Bob")
        os.replace(counted.mnt / "letter.new", counted.mnt / "letter")

    puts, creates, size = counted.spent(save)
    assert (puts, creates) == (1, 1) and size <= 16384


def test_a_renamed_folder_is_one_commit_whatever_is_in_it(counted):
    (counted.mnt / "photos").mkdir()
    for n in range(500):
        (counted.mnt / "photos" / str(n)).write_bytes(os.urandom(100))
    puts, creates, size = counted.spent(lambda: os.rename(counted.mnt / "photos", counted.mnt / "pictures"))
    assert (puts, creates) == (0, 1) and size <= 8192


def test_a_small_change_in_a_large_file_is_a_small_upload(counted):
    with open(counted.mnt / "disk.img", "wb") as f:
        for _ in range(64):
            f.write(os.urandom(MIB))

    def change():
        with open(counted.mnt / "disk.img", "r+b") as f:
            f.seek(40 * MIB + 4096)
            f.write(os.urandom(4096))

    puts, creates, size = counted.spent(change)
    assert (puts, creates) == (1, 1) and size <= 65536


def test_a_large_file_is_sent_in_large_objects(counted):
    def write():
        with open(counted.mnt / "film", "wb") as f:
            for _ in range(96):
                f.write(os.urandom(MIB))

    puts, creates, size = counted.spent(write)
    assert puts <= 96 // 16 + 4 and creates <= 4
    assert size <= 96 * MIB * 1.04  # padding is at most 3 % of such an object; a commit or two


def test_a_folder_that_nobody_uses_sends_nothing(counted):
    counted.sync()
    before = counted.requests()
    counted.sync()
    after = counted.requests()
    assert all(after[kind] == before[kind] for kind in ("put", "create", "delete", "list")), (before, after)
