"""Where big files are written, there is room ahead on the disk (where it is ext4): it goes at once, whatever happens."""
import hashlib
import os
import random

import conftest
from test_crash_daemon import die

MIB = 1 << 20
LEN = 40 * MIB
SLACK = LEN // 50


def write(path):
    """In long pieces; what was written."""
    data = random.Random(1).randbytes(LEN)
    with open(path, "wb", buffering=0) as f:
        for k in range(0, LEN, MIB):
            f.write(data[k:k + MIB])
        os.fsync(f.fileno())
    return hashlib.sha256(data).digest()


def taken(vault):
    return sum(path.stat().st_blocks * 512 for path in (vault.dir / "segments").iterdir())


def is_on_ext4(vault):
    with open("/proc/self/mounts", encoding="utf-8") as f:
        mounts = [line.split()[1:3] for line in f]
    best = max((m for m in mounts if str(vault.dir.resolve()).startswith(m[0])), key=lambda m: len(m[0]))
    free = os.statvfs(vault.dir)
    return best[1] == "ext4" and free.f_bavail * free.f_frsize > 64 * LEN


def test_after_a_while_a_big_file_takes_what_it_has(mounted):
    write(mounted.mountpoint / "big")
    if is_on_ext4(mounted):
        assert taken(mounted) > LEN + SLACK
    conftest.wait_until(lambda: LEN <= taken(mounted) <= LEN + SLACK, "the room to go")


def test_after_unmounting_a_big_file_takes_what_it_has(mounted):
    was = write(mounted.mountpoint / "big")
    mounted.unmount()
    assert LEN <= taken(mounted) <= LEN + SLACK
    mounted.mount()
    assert hashlib.sha256((mounted.mountpoint / "big").read_bytes()).digest() == was


def test_what_a_killed_daemon_has_left_goes_with_the_next(mounted):
    was = write(mounted.mountpoint / "big")
    die(mounted)
    if is_on_ext4(mounted):
        assert taken(mounted) > LEN + SLACK
    mounted.mount()
    assert hashlib.sha256((mounted.mountpoint / "big").read_bytes()).digest() == was
    mounted.unmount()
    assert LEN <= taken(mounted) <= LEN + SLACK
    mounted.mount()
    assert hashlib.sha256((mounted.mountpoint / "big").read_bytes()).digest() == was


def test_a_small_file_takes_little_at_once(mounted):
    with open(mounted.mountpoint / "small", "wb") as f:
        f.write(bytes(4096))
        os.fsync(f.fileno())
    assert taken(mounted) <= 65536
