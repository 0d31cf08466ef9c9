"""Contents: truncation, allocation, holes, copying, mappings, direct access, and what they do to sizes and times."""
import ctypes
import errno
import mmap
import os
import random
import resource
import signal

from calls import (FALLOC_COLLAPSE_RANGE, FALLOC_INSERT_RANGE, FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE, call,
                   libc)
from suite import ALICE, await_tick, case, opened, read, write

SEEK_DATA, SEEK_HOLE = 3, 4
BLOCK = 4096
SIZES = (0, 1, 123, 4095, 4096, 4097, 65536, 100000)


def noise(length, seed=1):
    return random.Random(seed).randbytes(length)


@case
def truncate_cuts_and_grows(t):
    for how in ("truncate", "ftruncate"):
        for before in SIZES:
            for after in SIZES:
                data = noise(before)
                write("f", data)
                with opened("f", os.O_RDWR) as fd:
                    t.expect(0, how, fd if how == "ftruncate" else "f", after)
                t.size("f", after)
                t.true(f"{how} from {before} to {after}: contents", read("f") == data[:after].ljust(after, b"\0"))
                os.unlink("f")


@case
def truncate_moves_times_even_to_the_same_size(t):
    write("f", b"12345")
    for how in ("truncate", "ftruncate"):
        with opened("f", os.O_RDWR) as fd:
            for size in (5, 3, 10, 10, 0, 0):
                t.moves({"f": "cm", ".": "-"}, 0, how, fd if how == "ftruncate" else "f", size)
    os.chmod("f", 0o444)
    with t.user(ALICE):
        t.moves({"f": "-"}, "EACCES", "truncate", "f", 1)


@case
def truncate_to_sizes_that_cannot_be(t):
    write("f", b"12345")
    with opened("f", os.O_RDWR) as fd:
        for size in (-1, -(2**63)):
            t.moves({"f": "-"}, "EINVAL", "truncate", "f", size)
            t.moves({"f": "-"}, "EINVAL", "ftruncate", fd, size)
        t.expect("0 EFBIG", "truncate", "f", 2**63 - 1)
        t.expect("0 EFBIG", "truncate", "f", 999999999999999)
        t.expect(0, "truncate", "f", 2**40)
        t.size("f", 2**40)
        t.true("a hole takes no space", os.stat("f").st_blocks < 100)
        t.same("the end of a hole", os.pread(fd, 10, 2**40 - 5), b"\0" * 5)
    t.expect(0, "truncate", "f", 3)
    t.same("contents", read("f"), b"123")


@case
def writing_moves_times(t):
    write("f", b"12345")
    with opened("f", os.O_RDWR) as fd:
        t.moves({"f": "cm", ".": "-"}, 4, "pwrite", fd, b"data", 4, 0)
        t.moves({"f": "cm"}, 4, "pwrite", fd, b"data", 4, 100000)
        t.moves({"f": "-"}, 0, "pwrite", fd, b"", 0, 0)
        t.moves({"f": "-"}, 4, "pread", fd, ctypes.create_string_buffer(4), 4, 0)
        t.moves({"f": "-"}, 0, "fsync", fd)
        t.moves({"f": "-"}, 0, "fdatasync", fd)
        t.moves({"f": "-"}, "EINVAL", "pwrite", fd, b"data", 4, -1)
        t.expect("EFAULT", "pwrite", fd, 1, 4, 0)
        t.expect("EBADF", "write", 9999, b"x", 1)


@case
def writing_into_a_fifo_moves_its_times(t):
    os.mkfifo("p")
    with opened("p", os.O_RDWR) as fd:
        t.moves({"p": "cm", ".": "-"}, 4, "write", fd, b"data", 4)


@case
def posix_fallocate_grows(t):
    for before, offset, length in ((0, 0, 1), (0, 0, 567), (0, 10, 10), (1234, 0, 567), (1234, 1000, 1000), (1234, 20, 3421),
                                   (5, 2**30, 10)):
        data = noise(before)
        write("f", data)
        with opened("f", os.O_RDWR) as fd:
            t.expect(0, "posix_fallocate", fd, offset, length)
            t.size("f", max(before, offset + length))
            t.same("contents", os.pread(fd, before, 0), data)
            t.true("zeros at the end", set(os.pread(fd, 100, max(before, offset + length - 100))) <= {0})
    with opened("f", os.O_RDWR) as fd:
        os.ftruncate(fd, 1000)
        t.moves({"f": "cm", ".": "-"}, 0, "posix_fallocate", fd, 0, 2000)
        for offset, length in ((0, 0), (-1, 10), (0, -1), (10, -5)):
            t.moves({"f": "-"}, "EINVAL", "posix_fallocate", fd, offset, length)
        t.expect("EFBIG", "posix_fallocate", fd, 2**63 - 10, 100)
        t.expect("EFBIG ENOSPC", "posix_fallocate", fd, 0, 2**62)
        t.size("f", 2000)
    t.expect("EBADF", "posix_fallocate", 9999, 0, 1)


@case
def fallocate_keeps_the_size(t):
    write("f", noise(5000))
    with opened("f", os.O_RDWR) as fd:
        t.expect(0, "fallocate", fd, FALLOC_KEEP_SIZE, 0, 100000)
        t.size("f", 5000)
        t.true("contents", read("f") == noise(5000))
        t.expect(0, "fallocate", fd, 0, 0, 100000)
        t.size("f", 100000)
        t.expect("EOPNOTSUPP", "fallocate", fd, 0x1000, 0, 4096)
        t.expect("EOPNOTSUPP", "fallocate", fd, FALLOC_PUNCH_HOLE, 0, 4096)
        t.size("f", 100000)


@case
def fallocate_punches_and_zeroes(t):
    for mode in (FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, FALLOC_ZERO_RANGE, FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE):
        for offset, length in ((0, 1), (0, BLOCK), (1, BLOCK), (BLOCK, BLOCK), (4000, 200), (5000, 60000), (0, 100000),
                               (90000, 20000), (99999, 2), (100000, 5), (200000, 10), (0, 2**40)):
            data = bytearray(noise(100000))
            write("f", bytes(data))
            with opened("f", os.O_RDWR) as fd:
                if mode & FALLOC_ZERO_RANGE and length == 2**40:
                    continue  # ext4 has not so many blocks
                t.expect(0, "fallocate", fd, mode, offset, length)
            end = min(offset + length, 100000)
            if offset < end:
                data[offset:end] = bytes(end - offset)
            size = max(100000, offset + length) if mode == FALLOC_ZERO_RANGE else 100000
            t.size("f", size)
            t.true(f"mode {mode}: zeros in {offset}+{length}", read("f")[:100000] == bytes(data))
    with opened("f", os.O_RDWR) as fd:
        t.moves({"f": "cm"}, 0, "fallocate", fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 0, 10)
        t.moves({"f": "cm"}, 0, "fallocate", fd, FALLOC_ZERO_RANGE, 0, 10)
        t.moves({"f": "-"}, "EINVAL", "fallocate", fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 0, 0)


@case
def fallocate_collapses_and_inserts(t):
    data = noise(10 * BLOCK)
    write("f", data)
    with opened("f", os.O_RDWR) as fd:
        t.expect(0, "fallocate", fd, FALLOC_COLLAPSE_RANGE, BLOCK, BLOCK)
        t.true("collapsed", read("f") == data[:BLOCK] + data[2 * BLOCK:])
        t.expect(0, "fallocate", fd, FALLOC_INSERT_RANGE, BLOCK, BLOCK)
        t.true("inserted", read("f") == data[:BLOCK] + bytes(BLOCK) + data[2 * BLOCK:])
        t.expect("EINVAL", "fallocate", fd, FALLOC_COLLAPSE_RANGE, 1, BLOCK)


@case
def holes_are_found(t):
    with opened("f", os.O_CREAT | os.O_RDWR) as fd:
        t.expect("ENXIO", "lseek", fd, 0, SEEK_DATA)
        t.expect("ENXIO", "lseek", fd, 0, SEEK_HOLE)
        os.ftruncate(fd, 1 << 20)
        t.expect("ENXIO", "lseek", fd, 0, SEEK_DATA)
        t.expect(0, "lseek", fd, 0, SEEK_HOLE)
        os.pwrite(fd, noise(BLOCK), 64 * BLOCK)
        t.expect(64 * BLOCK, "lseek", fd, 0, SEEK_DATA)
        t.expect(64 * BLOCK + 5, "lseek", fd, 64 * BLOCK + 5, SEEK_DATA)
        t.expect(65 * BLOCK, "lseek", fd, 64 * BLOCK, SEEK_HOLE)
        t.expect("ENXIO", "lseek", fd, 65 * BLOCK, SEEK_DATA)
        t.expect(1 << 20, "lseek", fd, 0, os.SEEK_END)
        os.pwrite(fd, b"x", (1 << 20) - 1)
        t.expect(1 << 20, "lseek", fd, (1 << 20) - 1, SEEK_HOLE)
        t.expect("ENXIO", "lseek", fd, 1 << 20, SEEK_HOLE)
        t.expect("ENXIO", "lseek", fd, -1, SEEK_DATA)
        call("fallocate", fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 64 * BLOCK, BLOCK)
        t.expect(255 * BLOCK, "lseek", fd, 0, SEEK_DATA)
        t.expect("EINVAL", "lseek", fd, 0, 77)
        t.expect("EINVAL", "lseek", fd, -1, os.SEEK_SET)


@case
def limits_of_the_process_hold(t):
    write("f", b"12345")
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10000, limits[1]))
    try:
        with opened("f", os.O_RDWR) as fd:
            t.moves({"f": "-"}, "EFBIG", "truncate", "f", 10001)
            t.expect("EFBIG", "ftruncate", fd, 20000)
            t.expect("EFBIG", "pwrite", fd, b"x", 1, 10000)
            t.expect(5, "pwrite", fd, b"1234567890", 10, 9995)
            t.expect("EFBIG", "posix_fallocate", fd, 0, 10001)
            t.expect(0, "truncate", "f", 10000)
            t.size("f", 10000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)


@case
def mappings_and_calls_see_the_same(t):
    write("f", noise(20000))
    model = bytearray(noise(20000))
    with opened("f", os.O_RDWR) as fd:
        with mmap.mmap(fd, 20000) as shared, mmap.mmap(fd, 20000, flags=mmap.MAP_PRIVATE) as private:
            shared[5000:5005] = b"HELLO"
            model[5000:5005] = b"HELLO"
            t.true("a read after a store", read("f") == bytes(model))
            os.pwrite(fd, b"written", 9000)
            model[9000:9007] = b"written"
            t.true("a load after a write", shared[:] == bytes(model))
            private[100:103] = b"own"
            t.true("a private store is not seen", read("f") == bytes(model) and shared[100:103] != b"own")
            os.ftruncate(fd, 10000)
            t.true("behind the end but on its page are zeros", shared[10000:12288] == bytes(2288))
            shared[10100:10105] = b"JUNK!"
            os.ftruncate(fd, 20000)
            t.true("what was stored behind the end is gone", os.pread(fd, 10000, 10000) == bytes(10000))
            shared[15000:15004] = b"grow"
            shared.flush()
            t.same("stored after growing", os.pread(fd, 4, 15000), b"grow")
            call("fallocate", fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 0, 8192)
            t.true("a punched hole in a mapping", shared[:8192] == bytes(8192))
            os.unlink("f")
            shared[0:4] = b"last"
            shared.flush()
            t.same("a mapping of an unlinked file", os.pread(fd, 4, 0), b"last")
    with opened("g", os.O_CREAT | os.O_RDWR) as fd:
        os.ftruncate(fd, BLOCK)
        with mmap.mmap(fd, BLOCK) as m:
            before = os.stat("g").st_mtime_ns
            await_tick()
            m[0:1] = b"x"
            m.flush()
        t.true("a store moves mtime", os.stat("g").st_mtime_ns > before)


@case
def mappings_need_permission(t):
    write("f", noise(BLOCK))
    with opened("f", os.O_RDONLY) as fd:
        t.same("a writable shared mapping of a read-only descriptor",
               _errno(lambda: mmap.mmap(fd, BLOCK, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)), errno.EACCES)
        mmap.mmap(fd, BLOCK, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE).close()
    with opened("f", os.O_WRONLY) as fd:
        t.same("a mapping of a write-only descriptor", _errno(lambda: mmap.mmap(fd, BLOCK)), errno.EACCES)


def _errno(function):
    try:
        function()
    except OSError as e:
        return e.errno
    return 0


@case
def direct_access_agrees(t):
    data = noise(1 << 20)
    write("f", data)
    with opened("f", os.O_RDWR | os.O_DIRECT) as fd:
        with mmap.mmap(-1, 1 << 20) as buffer:
            t.same("a direct read", os.preadv(fd, [buffer], 0), 1 << 20)
            t.true("its bytes", buffer[:] == data)
            with opened("f", os.O_RDWR) as cached:
                os.pwrite(cached, b"cached", 8192)
                t.same("a direct read of what is dirty", os.preadv(fd, [buffer], 0), 1 << 20)
                t.same("its bytes again", buffer[8192:8198], b"cached")
                buffer[0:6] = b"direct"
                t.same("a direct write", os.pwritev(fd, [memoryview(buffer)[:BLOCK]], 4 * BLOCK), BLOCK)
                t.same("read through the cache", os.pread(cached, 6, 4 * BLOCK), b"direct")
                t.same("a direct write at the end", os.pwritev(fd, [memoryview(buffer)[:BLOCK]], 1 << 20), BLOCK)
                t.same("the new size", os.fstat(cached).st_size, (1 << 20) + BLOCK)
                t.same("a short direct read", os.preadv(fd, [memoryview(buffer)[:3 * BLOCK]], 1 << 20), BLOCK)
                t.same("a direct read behind the end", os.preadv(fd, [memoryview(buffer)[:BLOCK]], 1 << 21), 0)


@case
def ranges_are_copied(t):
    data = noise(300000)
    write("a", data)
    for source, target, length in ((0, 0, 300000), (1, 2, 1000), (4096, 8192, 100000), (299990, 5, 100), (300000, 0, 10),
                                   (0, 400000, 10)):
        write("b", noise(50000, 2))
        with opened("a", os.O_RDONLY) as a, opened("b", os.O_RDWR) as b:
            wanted = min(length, max(0, 300000 - source))
            done = 0
            while done < wanted:
                n = os.copy_file_range(a, b, length - done, source + done, target + done)
                if n == 0:
                    break
                done += n
            t.same(f"bytes copied {source} {target} {length}", done, wanted)
        model = bytearray(noise(50000, 2))
        if wanted:
            model.extend(bytes(max(0, target + wanted - len(model))))
            model[target:target + wanted] = data[source:source + wanted]
        t.true("what is there", read("b") == bytes(model))
    write("b", b"")
    with opened("a", os.O_RDWR) as a, opened("b", os.O_RDWR | os.O_APPEND) as b, opened("b", os.O_RDONLY) as r:
        t.same("overlapping", _errno(lambda: os.copy_file_range(a, a, 1000, 0, 500)), errno.EINVAL)
        t.same("to an appending one", _errno(lambda: os.copy_file_range(a, b, 10, 0, 0)), errno.EBADF)
        t.same("to a read-only one", _errno(lambda: os.copy_file_range(a, r, 10, 0, 0)), errno.EBADF)
        t.same("within one file", os.copy_file_range(a, a, 1000, 0, 200000), 1000)
        t.true("its bytes", os.pread(a, 1000, 200000) == data[:1000])


@case
def bytes_are_sent_and_spliced(t):
    data = noise(200000)
    write("a", data)
    with opened("a", os.O_RDONLY) as a, opened("b", os.O_CREAT | os.O_RDWR) as b:
        offset = 0
        while offset < len(data):
            offset += os.sendfile(b, a, offset, len(data) - offset)
        t.true("sendfile", read("b") == data)
        os.ftruncate(b, 0)
        r, w = os.pipe()
        done = 0
        while done < len(data):
            n = os.splice(a, w, 65536, offset_src=done)
            moved = 0
            while moved < n:
                moved += os.splice(r, b, n - moved, offset_dst=done + moved)
            done += n
        os.close(r)
        os.close(w)
        t.true("splice", read("b") == data)


@case
def vectors_and_hints(t):
    with opened("f", os.O_CREAT | os.O_RDWR) as fd:
        t.same("pwritev", os.pwritev(fd, [b"one", b"two", b"three"], 10), 11)
        parts = [bytearray(13), bytearray(8)]
        t.same("preadv", os.preadv(fd, parts, 0), 21)
        t.same("the parts", bytes(parts[0] + parts[1]), bytes(10) + b"onetwothree")
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
        t.same("after hints", os.pread(fd, 3, 10), b"one")
        t.same("sync_file_range", libc.sync_file_range(fd, ctypes.c_longlong(0), ctypes.c_longlong(0), 7), 0)
        t.expect(0, "syncfs", fd)
        t.same("synchronous and appending", os.pwritev(fd, [b"tail"], 100, os.RWF_SYNC | os.RWF_APPEND), 4)
        t.size("f", 25)
    with opened("f", os.O_RDWR | os.O_SYNC) as fd:
        t.expect(1, "pwrite", fd, b"x", 1, 0)
    with opened("f", os.O_RDWR | os.O_DSYNC) as fd:
        t.expect(1, "pwrite", fd, b"y", 1, 0)
