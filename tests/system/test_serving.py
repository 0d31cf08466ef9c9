"""How a thread waits for the next message: who waits for the disk itself is not looked out for (fuse_near.c)."""
import os
import pathlib
import random

import pytest

BLOCK = 4096
BLOCKS = 4096  # of the file
MANY = 256     # what is read or asked for by one thread
ATTEMPTS = 10


def on_disk(path):
    device = os.stat(path).st_dev
    return os.path.exists(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")


def forget(vault):
    """The kernel forgets what it has of the segments."""
    for path in (vault.dir / "segments").iterdir():
        with open(path, "rb") as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def looks(vault):
    """Does a thread of the daemon look for messages?  Then its end of the connection does not block."""
    for pid in vault.daemons():
        for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            try:
                if os.readlink(fd) != "/dev/fuse":
                    continue
                flags = pathlib.Path(f"/proc/{pid}/fdinfo/{fd.name}").read_text(encoding="ascii").split("flags:")[1].split()[0]
            except FileNotFoundError:
                continue
            if int(flags, 8) & os.O_NONBLOCK:
                return True
    return False


def ask(vault, name):
    """Short things, one after the other."""
    for i in range(MANY):
        assert not os.path.lexists(vault.mountpoint / f"{name}{i}")


def looks_after_each(vault, data, attempt):
    """Does a thread look after short things, after reads from the disk, and after short things again?"""
    vault.unmount()
    forget(vault)
    vault.mount()
    ask(vault, f"before{attempt}")
    seen = [looks(vault)]
    with open(vault.mountpoint / "file", "rb", buffering=0) as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for block in random.Random(attempt).sample(range(BLOCKS), MANY):
            assert os.pread(f.fileno(), BLOCK, block * BLOCK) == data[block * BLOCK:(block + 1) * BLOCK]
        seen.append(looks(vault))
        ask(vault, f"after{attempt}")
        seen.append(looks(vault))
    return seen


def test_who_reads_from_the_disk_is_waited_for_asleep(mounted):
    if not on_disk(mounted.dir):
        pytest.skip("the temporary directory is on no disk")
    data = random.Random(1).randbytes(BLOCK * BLOCKS)
    (mounted.mountpoint / "file").write_bytes(data)
    # Where a message takes long another thread serves from then on, and the first one stays as it was.
    attempts = (looks_after_each(mounted, data, attempt) for attempt in range(ATTEMPTS))
    assert [True, False, True] in attempts
