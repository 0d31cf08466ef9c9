"""The disk below the vault is full, or can't be written to any more: programs hear of it, nothing that they were promised is lost,
nothing hangs, files can be removed, and with room again everything goes on.
"""
import errno
import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess

import pytest

import conftest
import crashers

SIZE_MIB = 48
WRITERS = 4
REFUSALS = 6  # a writer that has heard so often that the disk is full has understood

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/dev/loop-control"),
                                reason="needs root and loop devices: makes disks of its own")


def run(*args):
    return subprocess.run([str(a) for a in args], check=True, capture_output=True, text=True, timeout=120)


class Disk:
    """A small ext4 of its own."""

    def __init__(self, root):
        self.image = root / "disk.img"
        self.path = root / "disk"
        self.path.mkdir()
        with open(self.image, "wb") as f:
            f.truncate(SIZE_MIB << 20)
        run("mkfs.ext4", "-q", "-F", "-m", "0", self.image)
        self.mount()

    def mount(self, options="loop"):
        run("mount", "-o", options, self.image, self.path)

    def unmount(self):
        """A process that is dying has no arguments any more when it still has files open."""
        def is_off():
            return subprocess.run(["umount", self.path], check=False, capture_output=True).returncode == 0

        if os.path.ismount(self.path):
            conftest.wait_until(is_off, "nobody to use the disk")

    def free(self):
        st = os.statvfs(self.path)
        return st.f_bavail * st.f_frsize


@pytest.fixture
def disk(vault):
    try:
        d = Disk(vault.root)
    except subprocess.CalledProcessError as e:
        pytest.skip(f"no loop device can be had here: {e.stderr}")
    vault.dir = d.path / "vault"
    yield d
    if vault.is_mounted():
        vault.unmount(check=False)
    vault.detach()
    vault.signal(signal.SIGKILL)
    conftest.wait_until(lambda: not vault.daemons(), "the daemon's end")
    d.unmount()


def content(name, size):
    return random.Random(name).randbytes(size)


def save(path, data):
    with open(path, "wb", buffering=0) as f:
        f.write(data)
        os.fsync(f.fileno())


def fill(folder, record, seed):
    """Writes files until it has been refused often enough.  A name in the record: its fsync said yes."""
    chance = random.Random(seed)
    refused = k = 0
    with open(record, "w", encoding="ascii") as promised:
        while refused < REFUSALS:
            name, size = f"w{seed}-{k}", chance.choice([100, 5000, 60000, 300000, 1500000])
            k += 1
            try:
                save(folder / name, content(name, size))
            except OSError as e:
                if e.errno != errno.ENOSPC:
                    promised.write(f"error {e.errno}\n")
                    promised.flush()
                    return
                refused += 1
                continue
            promised.write(f"{name} {size}\n")
            promised.flush()


def fill_by_many(vault):
    folder = vault.mountpoint / "full"
    folder.mkdir(exist_ok=True)
    context = multiprocessing.get_context("fork")
    records = [vault.root / f"record{n}" for n in range(WRITERS)]
    writers = [context.Process(target=fill, args=(folder, record, n)) for n, record in enumerate(records)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(300)
        assert writer.exitcode == 0, "a writer hangs or has failed"
    lines = [line.split() for record in records for line in record.read_text().splitlines()]
    assert not [line for line in lines if line[0] == "error"], "another error than that the disk is full"
    return {name: int(size) for name, size in lines}


def check_promised(vault, promised):
    for name, size in promised.items():
        data = (vault.mountpoint / "full" / name).read_bytes()
        assert hashlib.sha256(data).digest() == hashlib.sha256(content(name, size)).digest(), name


def test_a_full_disk_loses_nothing_that_was_promised_and_files_can_be_removed(disk, vault):
    vault.up()
    promised = fill_by_many(vault)
    assert len(promised) > 10
    check_promised(vault, promised)
    names = sorted(os.listdir(vault.mountpoint / "full"))
    kept = dict(list(promised.items())[::3])
    before = disk.free()
    for name in names:
        if name not in kept:
            os.unlink(vault.mountpoint / "full" / name)
    crashers.fsync_dir(vault.mountpoint / "full")
    conftest.wait_until(lambda: disk.free() > before + (8 << 20), "the space of removed files")
    save(vault.mountpoint / "again", content("again", 4 << 20))
    check_promised(vault, kept)
    assert vault.run("status", vault.mountpoint, "--vault", vault.dir).returncode == 0
    vault.unmount()
    vault.mount()
    assert (vault.mountpoint / "again").read_bytes() == content("again", 4 << 20)
    check_promised(vault, kept)
    crashers.read_all(vault.mountpoint)


def test_a_full_disk_can_be_filled_emptied_and_killed_again_and_again(disk, vault):
    vault.up()
    for _ in range(3):
        promised = fill_by_many(vault)
        assert promised
        vault.signal(signal.SIGKILL)
        conftest.wait_until(lambda: not vault.daemons(), "the daemon's death")
        vault.mount()  # on a disk without room
        check_promised(vault, promised)
        crashers.read_all(vault.mountpoint)
        before = disk.free()
        shutil.rmtree(vault.mountpoint / "full")
        crashers.fsync_dir(vault.mountpoint)
        conftest.wait_until(lambda before=before: disk.free() > before + (8 << 20), "the space of removed files")


def test_a_disk_that_becomes_read_only_is_told_of_and_nothing_hangs(disk, vault):
    vault.up()
    save(vault.mountpoint / "kept", content("kept", 300000))
    run("mount", "-o", "remount,abort", disk.path)  # what ext4 does when its own disk fails
    with pytest.raises(OSError) as refused:
        for k in range(1000):
            save(vault.mountpoint / f"new{k}", content("new", 5000))
    assert refused.value.errno in (errno.EROFS, errno.EIO)
    assert (vault.mountpoint / "kept").read_bytes() == content("kept", 300000)

    def status():
        return vault.run("status", vault.mountpoint, "--vault", vault.dir, check=False).stdout

    conftest.wait_until(lambda: "cannot be saved" in status(), "the status to say so")
    assert str(vault.dir) in status() and ("Read-only" in status() or "Input/output" in status())
    ended = vault.run("unmount", vault.mountpoint, "--vault", vault.dir, check=False)  # it may refuse, but not hang
    assert ended.returncode == 0 or ended.stderr.strip()
    vault.detach()
    vault.signal(signal.SIGKILL)
    conftest.wait_until(lambda: not vault.daemons(), "the daemon's end")
    disk.unmount()
    disk.mount()
    vault.mount()
    assert (vault.mountpoint / "kept").read_bytes() == content("kept", 300000)
    crashers.read_all(vault.mountpoint)


def test_a_vault_on_a_read_only_disk_is_refused_in_a_sentence(disk, vault):
    vault.up()
    save(vault.mountpoint / "kept", b"kept")
    vault.unmount()
    disk.unmount()
    disk.mount("loop,ro")
    refused = vault.run("mount", vault.mountpoint, "--vault", vault.dir, "--no-passphrase", check=False)
    assert refused.returncode != 0
    assert str(vault.dir) in refused.stderr and "read-only" in refused.stderr.lower(), refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not vault.is_mounted() and not vault.daemons()
    disk.unmount()
    disk.mount()
    vault.mount()
    assert (vault.mountpoint / "kept").read_bytes() == b"kept"
