"""Locks between processes: flock(2), fcntl(2) record locks and open file description locks."""
import errno
import fcntl
import os
import struct

from posixlib import in_child, opened, refused, write_file

F_OFD_SETLK = 37


def test_flock_excludes_another_process_until_it_is_released(place):
    write_file(place / "f", b"")

    def is_refused():
        with opened(place / "f", os.O_RDWR) as fd, refused(errno.EWOULDBLOCK):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_granted():
        with opened(place / "f", os.O_RDWR) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    with opened(place / "f", os.O_RDWR) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        in_child(is_refused)
        fcntl.flock(fd, fcntl.LOCK_UN)
        in_child(is_granted)
        fcntl.flock(fd, fcntl.LOCK_SH)
        in_child(is_refused)
    in_child(is_granted)


def test_record_locks_exclude_only_where_they_overlap(place):
    write_file(place / "f", bytes(1000))

    def look():
        with opened(place / "f", os.O_RDWR) as fd:
            with refused(errno.EAGAIN, errno.EACCES):
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 150)
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 100, 200)
            query = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, start, length, pid = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, query))
            assert (kind, start, length, pid) == (fcntl.F_WRLCK, 100, 100, os.getppid())

    with opened(place / "f", os.O_RDWR) as fd:
        fcntl.lockf(fd, fcntl.LOCK_EX, 100, 100)
        in_child(look)


def test_a_lock_goes_with_the_process_that_held_it(place):
    write_file(place / "f", b"")

    def lock_and_die():
        fd = os.open(place / "f", os.O_RDWR)
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    in_child(lock_and_die)
    in_child(lock_and_die)


def test_a_waiting_lock_is_granted_when_the_other_is_released(place):
    write_file(place / "f", b"0")
    with opened(place / "f", os.O_RDWR) as fd:
        fcntl.lockf(fd, fcntl.LOCK_EX)
        pid = os.fork()
        if pid == 0:
            status = 1
            with opened(place / "f", os.O_RDWR) as other:
                fcntl.lockf(other, fcntl.LOCK_EX)
                if os.pread(other, 1, 0) == b"1":
                    status = 0
            os._exit(status)
        os.pwrite(fd, b"1", 0)
        fcntl.lockf(fd, fcntl.LOCK_UN)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_locks_of_open_file_descriptions_exclude_each_other_within_a_process(place):
    write_file(place / "f", b"")
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    with opened(place / "f", os.O_RDWR) as one, opened(place / "f", os.O_RDWR) as two:
        fcntl.fcntl(one, F_OFD_SETLK, lock)
        with refused(errno.EAGAIN, errno.EACCES):
            fcntl.fcntl(two, F_OFD_SETLK, lock)
