"""Random operations on two files against a model in memory.  The seed is in the test's name; SNUGFS_SEEDS=N runs seeds 0 to N-1.

A failure prints the last operations on the file that is wrong, and where it differs first.
"""
import collections
import mmap
import os
import random

import pytest

from conftest import new_root, Vault
from posixlib import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE, fallocate

SEEDS = range(int(os.environ.get("SNUGFS_SEEDS", "3")))
OPERATIONS = 1200
SIZE_MAX = (1 << 20) + 300000  # contents are kept in chunks of 1 MiB: some ranges cross from one to the next
BLOCK = 4096


class RandomFile:
    def __init__(self, path, rng):
        self.path = path
        self.rng = rng
        self.model = bytearray()
        self.log = collections.deque(maxlen=25)
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def close(self):
        os.close(self.fd)

    def reopen(self):
        self.fd = os.open(self.path, os.O_RDWR)

    def note(self, *words):
        self.log.append(" ".join(map(str, words)))

    def range(self, limit, align=1):
        """An offset and a length with 0 < length, within limit, often at the edges of blocks and chunks."""
        offset = self.rng.randrange(limit)
        if self.rng.random() < 0.4:
            offset = max(0, offset // BLOCK * BLOCK + self.rng.choice((-1, 0, 1)))
        length = min(self.rng.choice((1, 100, BLOCK, 10000, 70000, 300000)), limit - offset)
        if align > 1:
            offset, length = offset // align * align, max(align, length // align * align)
        return offset, self.rng.randint(1, max(1, length)) if align == 1 else length

    def put(self, offset, data):
        self.model.extend(bytes(max(0, offset + len(data) - len(self.model))))
        self.model[offset:offset + len(data)] = data

    # Operations.

    def write(self):
        offset, length = self.range(SIZE_MAX)
        data = self.rng.randbytes(length)
        self.note("write", offset, length)
        assert os.pwrite(self.fd, data, offset) == length
        self.put(offset, data)

    def append(self):
        data = self.rng.randbytes(self.rng.randint(1, 5000))
        if len(self.model) + len(data) > SIZE_MAX:
            return
        self.note("append", len(data))
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        assert os.write(fd, data) == len(data)
        os.close(fd)
        self.model.extend(data)

    def read(self):
        offset, length = self.range(SIZE_MAX)
        self.note("read", offset, length)
        self.compare(os.pread(self.fd, length, offset), offset, length)

    def truncate(self):
        size = self.rng.choice((0, len(self.model), self.rng.randrange(SIZE_MAX), self.rng.randrange(SIZE_MAX)))
        self.note("truncate", size)
        os.ftruncate(self.fd, size)
        del self.model[size:]
        self.model.extend(bytes(size - len(self.model)))

    def punch(self):
        offset, length = self.range(SIZE_MAX)
        self.note("punch", offset, length)
        fallocate(self.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)
        end = min(offset + length, len(self.model))
        if offset < end:
            self.model[offset:end] = bytes(end - offset)

    def zero(self):
        offset, length = self.range(SIZE_MAX)
        keep = self.rng.random() < 0.5
        self.note("zero", offset, length, "keep" if keep else "")
        fallocate(self.fd, FALLOC_FL_ZERO_RANGE | (FALLOC_FL_KEEP_SIZE if keep else 0), offset, length)
        if keep:
            length = min(length, len(self.model) - offset)
        if length > 0:
            self.put(offset, bytes(length))

    def allocate(self):
        offset, length = self.range(SIZE_MAX)
        self.note("allocate", offset, length)
        os.posix_fallocate(self.fd, offset, length)
        self.model.extend(bytes(max(0, offset + length - len(self.model))))

    def map_read(self):
        if self.model:
            offset, length = self.range(len(self.model))
            self.note("map-read", offset, length)
            with mmap.mmap(self.fd, len(self.model), prot=mmap.PROT_READ) as m:
                self.compare(m[offset:offset + length], offset, length)

    def map_write(self):
        if self.model:
            offset, length = self.range(len(self.model))
            data = self.rng.randbytes(length)
            self.note("map-write", offset, length)
            with mmap.mmap(self.fd, len(self.model)) as m:
                m[offset:offset + length] = data
                if self.rng.random() < 0.3:
                    m.flush()
            self.put(offset, data)

    def direct(self):
        offset, length = self.range(SIZE_MAX - 2 * BLOCK, BLOCK)
        fd = os.open(self.path, os.O_RDWR | os.O_DIRECT)
        with mmap.mmap(-1, length) as buffer:
            if self.rng.random() < 0.5:
                self.note("direct read", offset, length)
                got = os.preadv(fd, [buffer], offset)
                self.compare(buffer[:got], offset, length)
            else:
                self.note("direct write", offset, length)
                data = self.rng.randbytes(length)
                buffer[:] = data
                assert os.pwritev(fd, [buffer], offset) == length
                self.put(offset, data)
        os.close(fd)

    def copy_from(self, other):
        if not other.model:
            return
        source, length = other.range(len(other.model))
        target = self.rng.randrange(SIZE_MAX - length)
        length = min(length, len(other.model) - source)
        if other is self and abs(source - target) < length:
            return
        self.note("copy", source, "to", target, length, "within" if other is self else "")
        data = bytes(other.model[source:source + length])
        done = 0
        while done < length:
            done += os.copy_file_range(other.fd, self.fd, length - done, source + done, target + done)
        self.put(target, data)

    def sync(self):
        self.note("sync")
        self.rng.choice((os.fsync, os.fdatasync))(self.fd)

    def forget(self):
        """What the kernel has cached goes, so that the next read asks the file system."""
        self.note("forget")
        os.fsync(self.fd)
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def holes(self):
        self.note("holes")
        at = 0
        while at < len(self.model):
            try:
                data = os.lseek(self.fd, at, os.SEEK_DATA)
            except OSError:
                data = len(self.model)
            assert not any(self.model[at:data]), f"data in what is said to be a hole: {at} to {data}\n{self.story()}"
            if data == len(self.model):
                break
            at = os.lseek(self.fd, data, os.SEEK_HOLE)
            assert at > data

    def check(self):
        assert os.fstat(self.fd).st_size == len(self.model), self.story()
        self.compare(os.pread(self.fd, SIZE_MAX + 1, 0), 0, SIZE_MAX + 1)

    def compare(self, got, offset, length):
        wanted = bytes(self.model[offset:offset + length])
        if got == wanted:
            return
        first = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
        raise AssertionError(f"{len(got)} bytes instead of {len(wanted)}, different from {offset + first} on\n{self.story()}")

    def story(self):
        return f"of {len(self.model)} bytes; before that: " + "; ".join(self.log)


WEIGHTS = {"write": 8, "append": 3, "read": 6, "truncate": 3, "punch": 4, "zero": 3, "allocate": 1, "map_read": 3, "map_write": 4,
           "direct": 3, "sync": 1, "forget": 1, "holes": 2, "copy": 3}


def play(folder, seed, remount=None):
    rng = random.Random(seed)
    files = [RandomFile(folder / name, rng) for name in ("a", "b")]
    names, weights = list(WEIGHTS), list(WEIGHTS.values())
    for step in range(OPERATIONS):
        f = rng.choice(files)
        name = rng.choices(names, weights)[0]
        if name == "copy":
            f.copy_from(rng.choice(files))
        else:
            getattr(f, name)()
        if step % 40 == 0:
            f.check()
        if remount and step % 300 == 299:
            for each in files:
                each.note("remount")
                each.close()
            remount()
            for each in files:
                each.reopen()
                each.check()
    for f in files:
        f.check()
        f.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_files_hold_what_a_model_holds(place, seed):
    play(place, seed)


@pytest.fixture(scope="module")
def long_vault():
    v = Vault(new_root())
    try:
        v.up()
        yield v
    finally:
        v.clean_up()


@pytest.mark.parametrize("seed", SEEDS)
def test_files_hold_what_a_model_holds_over_remounts(long_vault, seed):
    def remount():
        long_vault.unmount()
        long_vault.mount()

    folder = long_vault.mountpoint / str(seed)
    folder.mkdir()
    play(folder, 1000 + seed, remount)
