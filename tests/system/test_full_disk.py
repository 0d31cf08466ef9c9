"""A disk that is full, under a vault that is larger than it: what only the store has can be read all the same."""
import contextlib
import os
import random
import subprocess

import pytest

import conftest
import test_main_job
from test_on_demand import content, state

MIB = 1 << 20
FILES = 12
LEN = 10 * MIB
DISK = 64 * MIB

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")


class OnSmallDisk(test_main_job.Computers):
    """All but the first computer's vaults are on small disks of their own."""

    def _new(self):
        vault = super()._new()
        if vault is self.all[0]:
            return vault
        vault.dir = conftest.small_disk(vault.root / "disk", DISK) / "vault"
        return vault

    def clean_up(self):
        for vault in self.all[1:]:
            if vault.is_mounted():
                vault.unmount(check=False)
            subprocess.run(["umount", vault.root / "disk"], check=False)
        super().clean_up()


@pytest.fixture
def computers():
    c = OnSmallDisk()
    yield c
    c.clean_up()


def read(path):
    """As the daemon has it, and not the kernel."""
    with open(path, "rb") as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return f.read()


def fill_up(folder):
    """To the last byte."""
    with open(folder / "filler", "wb", buffering=0) as f, contextlib.suppress(OSError):
        while True:
            f.write(random.randbytes(1 << 16))


def test_what_was_read_long_ago_makes_room_on_a_full_disk_and_what_is_pinned_does_not(computers):
    alpha = computers.first()
    for k in range(FILES):
        (alpha.mountpoint / f"f{k}").write_bytes(content(k, LEN))
    computers.sync(alpha)
    beta = computers.join()
    for k in range(FILES):
        assert read(beta.mountpoint / f"f{k}") == content(k, LEN), k
    beta.run("pin", beta.mountpoint / "f11")
    conftest.wait_until(lambda: state(beta.mountpoint / "f11") == "local pinned", "the pinned file")
    fill_up(beta.dir.parent)
    for k in range(FILES):
        assert read(beta.mountpoint / f"f{k}") == content(k, LEN), k
    assert state(beta.mountpoint / "f11") == "local pinned"


def test_a_file_can_be_read_where_there_is_no_room_at_all(computers):
    alpha = computers.first()
    (alpha.mountpoint / "f").write_bytes(content(1, LEN))
    computers.sync(alpha)
    beta = computers.join()
    fill_up(beta.dir.parent)
    assert (beta.mountpoint / "f").read_bytes() == content(1, LEN)
