"""What is in a file: reading, writing, mapping, holes, copies, and files that lost their name."""
import errno
import faulthandler
import mmap
import os
import signal

import pytest

from posixlib import (FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE, fallocate,
                      in_child, opened, pattern, read_file, refused, write_file)

RW_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL


@pytest.mark.parametrize("length", [0, 1, 4095, 4096, 4097, 131072, 1048575, 1048576, 1048577, 5000000])
def test_what_was_written_is_read_again(place, length):
    data = pattern(length)
    write_file(place / "f", data)
    assert os.stat(place / "f").st_size == length
    assert read_file(place / "f") == data


def test_creating_exclusively_refuses_a_file_that_exists(place):
    write_file(place / "f", b"old")
    with refused(errno.EEXIST):
        os.open(place / "f", RW_NEW)
    assert read_file(place / "f") == b"old"


def test_a_file_may_be_created_read_only_and_still_be_written_through_that_descriptor(place):
    def create():
        with opened(place / "f", RW_NEW, 0o400) as fd:
            os.write(fd, b"first")

    os.chmod(place, 0o777)
    in_child(create)
    assert read_file(place / "f") == b"first"


def test_opening_a_missing_file_fails_and_succeeds_once_it_is_there(place):
    with refused(errno.ENOENT):
        os.open(place / "f", os.O_RDONLY)
    write_file(place / "f", b"x")
    assert read_file(place / "f") == b"x"


def test_opening_with_truncation_empties_the_file(place):
    write_file(place / "f", pattern(100000))
    with opened(place / "f", os.O_WRONLY | os.O_TRUNC):
        assert os.stat(place / "f").st_size == 0
    assert read_file(place / "f") == b""


def test_writes_at_scattered_offsets_land_where_they_belong(place):
    expected = bytearray(3000000)
    with opened(place / "f", RW_NEW) as fd:
        for i, offset in enumerate([2999000, 0, 4090, 1048570, 8191, 1500000, 4096, 2097151, 0, 1048576]):
            piece = pattern(1000, seed=i)
            assert os.pwrite(fd, piece, offset) == 1000
            expected[offset:offset + 1000] = piece
        assert os.pread(fd, 3000000, 0) == expected
    assert read_file(place / "f") == expected


def test_a_read_stops_at_the_end(place):
    write_file(place / "f", b"0123456789")
    with opened(place / "f", os.O_RDONLY) as fd:
        assert os.pread(fd, 100, 4) == b"456789"
        assert os.pread(fd, 100, 10) == b""
        assert os.pread(fd, 100, 1 << 40) == b""


def test_another_process_reads_at_once_what_was_written(place):
    with opened(place / "f", RW_NEW) as fd:
        os.write(fd, b"not yet flushed")

        def check():
            assert read_file(place / "f") == b"not yet flushed"

        in_child(check)


def test_appends_from_several_processes_are_all_there_and_none_is_torn(place):
    write_file(place / "log", b"")
    pids = []
    for who in range(4):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                with opened(place / "log", os.O_WRONLY | os.O_APPEND) as fd:
                    for n in range(250):
                        os.write(fd, b"%d:%05d %s\n" % (who, n, b"x" * 90))
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    lines = read_file(place / "log").split(b"\n")
    assert lines.pop() == b""
    assert all(len(line) == 98 for line in lines)
    for who in range(4):
        assert [int(line[2:7]) for line in lines if line.startswith(b"%d:" % who)] == list(range(250))


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 99999, 1048577])
def test_truncation_cuts_and_what_is_grown_again_is_zeros(place, size):
    data = pattern(2000000)
    write_file(place / "f", data)
    os.truncate(place / "f", size)
    assert read_file(place / "f") == data[:size]
    os.truncate(place / "f", 2000000)
    assert read_file(place / "f") == data[:size] + bytes(2000000 - size)


def test_truncating_an_open_file_with_unwritten_data_keeps_the_rest(place):
    with opened(place / "f", RW_NEW) as fd:
        os.write(fd, pattern(10000))
        os.ftruncate(fd, 5000)
        os.pwrite(fd, b"end", 5000)
        assert os.fstat(fd).st_size == 5003
    assert read_file(place / "f") == pattern(10000)[:5000] + b"end"


def test_a_file_can_be_almost_a_petabyte_long_without_taking_space(mnt):
    write_file(mnt / "f", b"start")
    os.truncate(mnt / "f", 999999999999999)
    st = os.stat(mnt / "f")
    assert st.st_size == 999999999999999
    assert st.st_blocks < 1000
    with opened(mnt / "f", os.O_RDWR) as fd:
        assert os.pread(fd, 10, 999999999999990) == bytes(9)
        os.pwrite(fd, b"far", 888888888888888)
        os.fsync(fd)
        assert os.pread(fd, 5, 888888888888887) == b"\0far\0"
        assert os.pread(fd, 5, 0) == b"start"
    os.truncate(mnt / "f", 5)
    assert read_file(mnt / "f") == b"start"


def test_a_shared_mapping_writes_to_the_file(place):
    write_file(place / "f", pattern(100000))
    with opened(place / "f", os.O_RDWR) as fd:
        with mmap.mmap(fd, 100000) as m:
            m[50000:50005] = b"HELLO"
            assert os.pread(fd, 5, 50000) == b"HELLO"
            m.flush()
            m[99990:99995] = b"LATER"
    data = bytearray(pattern(100000))
    data[50000:50005] = b"HELLO"
    data[99990:99995] = b"LATER"
    assert read_file(place / "f") == data


def test_a_shared_mapping_shows_what_another_process_writes(place):
    write_file(place / "f", bytes(8192))
    with opened(place / "f", os.O_RDWR) as fd, mmap.mmap(fd, 8192) as m:
        def change():
            with opened(place / "f", os.O_WRONLY) as other:
                os.pwrite(other, b"news", 4094)

        in_child(change)
        assert m[4094:4098] == b"news"


def test_a_private_mapping_does_not_change_the_file(place):
    write_file(place / "f", pattern(8192))
    with opened(place / "f", os.O_RDONLY) as fd:
        with mmap.mmap(fd, 8192, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as m:
            m[0:4] = b"mine"
            assert os.pread(fd, 4, 0) == pattern(4)
    assert read_file(place / "f") == pattern(8192)


def test_touching_a_mapping_behind_the_end_is_a_bus_error(place):
    write_file(place / "f", pattern(8192))
    pid = os.fork()
    if pid == 0:
        faulthandler.disable()
        fd = os.open(place / "f", os.O_RDWR)
        m = mmap.mmap(fd, 8192)
        os.ftruncate(fd, 0)
        m[5000]
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGBUS


def test_programs_in_the_folder_can_be_run(place):
    write_file(place / "tool", b"#!/bin/sh\nexit 7\n", 0o755)
    assert os.spawnl(os.P_WAIT, place / "tool", "tool") == 7


def test_fallocate_extends_and_reads_as_zeros(place):
    with opened(place / "f", RW_NEW) as fd:
        os.write(fd, b"abc")
        fallocate(fd, 0, 0, 100000)
        assert os.fstat(fd).st_size == 100000
        fallocate(fd, FALLOC_FL_KEEP_SIZE, 100000, 100000)
        assert os.fstat(fd).st_size == 100000
    assert read_file(place / "f") == b"abc" + bytes(99997)


@pytest.mark.parametrize("offset,length", [(0, 4096), (4096, 8192), (1000, 50), (4000, 200), (5000, 2000000), (1048570, 12)])
def test_a_punched_hole_reads_as_zeros_and_leaves_the_rest(place, offset, length):
    data = bytearray(pattern(3000000))
    write_file(place / "f", data)
    with opened(place / "f", os.O_RDWR) as fd:
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)
        assert os.fstat(fd).st_size == 3000000
    data[offset:offset + length] = bytes(length)
    assert read_file(place / "f") == data


def test_a_zeroed_range_may_reach_behind_the_end(place):
    data = pattern(10000)
    write_file(place / "f", data)
    with opened(place / "f", os.O_RDWR) as fd:
        fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 9000, 5000)
        assert os.fstat(fd).st_size == 10000
        fallocate(fd, FALLOC_FL_ZERO_RANGE, 8000, 7000)
        assert os.fstat(fd).st_size == 15000
    assert read_file(place / "f") == data[:8000] + bytes(7000)


def test_collapsing_a_range_is_refused_and_changes_nothing(mnt):
    write_file(mnt / "f", pattern(16384))
    with opened(mnt / "f", os.O_RDWR) as fd, refused(errno.EOPNOTSUPP):
        fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 4096, 4096)
    assert read_file(mnt / "f") == pattern(16384)


def test_holes_and_data_are_found(place):
    megabyte = 1 << 20
    with opened(place / "f", RW_NEW) as fd:
        os.pwrite(fd, pattern(megabyte), 4 * megabyte)
        os.ftruncate(fd, 9 * megabyte)
        os.fsync(fd)
        assert os.lseek(fd, 0, os.SEEK_HOLE) == 0
        assert os.lseek(fd, 0, os.SEEK_DATA) == 4 * megabyte
        assert os.lseek(fd, 4 * megabyte + 5, os.SEEK_DATA) == 4 * megabyte + 5
        assert os.lseek(fd, 4 * megabyte, os.SEEK_HOLE) == 5 * megabyte
        with refused(errno.ENXIO):
            os.lseek(fd, 5 * megabyte, os.SEEK_DATA)
        assert os.lseek(fd, 5 * megabyte, os.SEEK_HOLE) == 5 * megabyte
        with refused(errno.ENXIO):
            os.lseek(fd, 9 * megabyte, os.SEEK_HOLE)
        assert os.fstat(fd).st_blocks * 512 < 3 * megabyte


def test_data_that_was_never_flushed_is_not_taken_for_a_hole(place):
    with opened(place / "f", RW_NEW) as fd:
        os.pwrite(fd, b"x" * 4096, 1 << 20)

        def look():
            with opened(place / "f", os.O_RDONLY) as other:
                assert os.lseek(other, 0, os.SEEK_DATA) <= 1 << 20
                assert os.lseek(other, 1 << 20, os.SEEK_DATA) == 1 << 20
                assert os.lseek(other, 1 << 20, os.SEEK_HOLE) >= (1 << 20) + 4096

        in_child(look)


def test_a_range_is_copied_between_files(place):
    data = pattern(3000000)
    write_file(place / "from", data)
    write_file(place / "to", bytes(100))
    with opened(place / "from", os.O_RDONLY) as source, opened(place / "to", os.O_RDWR) as target:
        left, at = 2500000, 1000
        while left:
            copied = os.copy_file_range(source, target, left, at, at - 950)
            assert copied > 0
            left -= copied
            at += copied
        assert os.copy_file_range(source, target, 100, 3000000, 0) == 0
    assert read_file(place / "to") == bytes(50) + data[1000:2501000]


def test_a_copied_range_contains_what_was_not_flushed_yet(place):
    with opened(place / "from", RW_NEW) as source, opened(place / "to", RW_NEW) as target:
        os.write(source, pattern(50000))
        os.write(target, b"begin")
        assert os.copy_file_range(source, target, 50000, 0, 5) == 50000
        assert os.pread(target, 60000, 0) == b"begin" + pattern(50000)


def test_unnamed_temporary_files_are_refused_cleanly(mnt):
    with refused(errno.EOPNOTSUPP):
        os.open(mnt, os.O_TMPFILE | os.O_RDWR)
    assert os.listdir(mnt) == []


def test_an_unlinked_open_file_lives_until_it_is_closed(place):
    fd = os.open(place / "f", RW_NEW)
    try:
        os.write(fd, b"before")
        os.unlink(place / "f")
        assert not os.path.exists(place / "f")
        assert os.listdir(place) == []
        assert os.fstat(fd).st_nlink == 0
        os.pwrite(fd, pattern(100000), 6)
        os.fsync(fd)
        os.fchmod(fd, 0o640)
        os.utime(fd, ns=(1111111111222222222, 3333333333444444444))
        if os.geteuid() == 0:
            os.fchown(fd, 12, 34)
            assert (os.fstat(fd).st_uid, os.fstat(fd).st_gid) == (12, 34)
        assert os.fstat(fd).st_mode & 0o7777 == 0o640
        assert os.fstat(fd).st_mtime_ns == 3333333333444444444
        os.ftruncate(fd, 50006)
        assert os.pread(fd, 200000, 0) == b"before" + pattern(50000)
        write_file(place / "f", b"another")
        assert os.pread(fd, 6, 0) == b"before"
    finally:
        os.close(fd)
    assert read_file(place / "f") == b"another"


def test_a_file_that_was_renamed_over_can_still_be_read_by_who_has_it_open(place):
    write_file(place / "old", b"old content")
    write_file(place / "new", b"new content")
    with opened(place / "old", os.O_RDWR) as fd:
        os.rename(place / "new", place / "old")
        assert os.pread(fd, 100, 0) == b"old content"
        os.pwrite(fd, b"OLD", 0)
        assert os.pread(fd, 100, 0) == b"OLD content"
        assert os.fstat(fd).st_nlink == 0
    assert read_file(place / "old") == b"new content"


def test_fsync_of_files_and_folders_succeeds(place):
    with opened(place / "f", RW_NEW) as fd:
        os.write(fd, b"x")
        os.fsync(fd)
        os.fdatasync(fd)
    with opened(place, os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.fsync(fd)
    os.sync()
    assert read_file(place / "f") == b"x"


def test_direct_reads_and_writes_agree_with_cached_ones(place):
    buffer = mmap.mmap(-1, 8192)
    buffer.write(pattern(8192))
    with opened(place / "f", RW_NEW | os.O_DIRECT) as fd:
        assert os.write(fd, buffer) == 8192
    assert read_file(place / "f") == pattern(8192)
    with opened(place / "f", os.O_WRONLY) as fd:
        os.pwrite(fd, b"cached", 4096)
    with opened(place / "f", os.O_RDONLY | os.O_DIRECT) as fd:
        assert os.preadv(fd, [buffer], 0) == 8192
    assert buffer[4096:4102] == b"cached"
