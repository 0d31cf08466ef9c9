"""Listings, locks, leases, events, handles, and what statfs says."""
import ctypes
import errno
import fcntl
import os
import select
import struct

from calls import libc
from suite import ALICE, NO_DIRS, TYPES, case, make, opened, write

libc.opendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long
for _name in ("readdir", "telldir", "rewinddir", "closedir"):
    getattr(libc, _name).argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
libc.opendir.argtypes = [ctypes.c_char_p]


class Listing:
    """A directory stream of the C library."""

    def __init__(self, path):
        self.stream = libc.opendir(os.fsencode(path))

    def next(self):
        entry = libc.readdir(self.stream)
        if not entry:
            return None
        number, _, length, kind = struct.unpack("=QqHB", ctypes.string_at(entry, 19))
        return ctypes.string_at(entry + 19, length - 19).split(b"\0")[0].decode(), number, kind

    def rest(self):
        names = []
        while (entry := self.next()) is not None:
            names.append(entry[0])
        return names

    def close(self):
        libc.closedir(self.stream)


@case
def listings_name_each_entry_once_with_its_number_and_type(t):
    os.mkdir("d")
    for kind in TYPES:
        make(kind, "d/" + kind)
    listing = Listing("d")
    seen = {}
    while (entry := listing.next()) is not None:
        seen[entry[0]] = entry[1:]
    listing.close()
    t.same("names", sorted(seen), sorted((".", "..") + TYPES))
    for name, (number, kind) in seen.items():
        st = os.lstat("d/" + name)
        t.same(f"number and type of {name}", (number, kind), (st.st_ino, st.st_mode >> 12))


@case
def listings_can_be_continued_anywhere(t):
    os.mkdir("d")
    for i in range(300):
        write(f"d/{i}")
    listing = Listing("d")
    places, names = [], []
    while True:
        places.append(libc.telldir(listing.stream))
        entry = listing.next()
        if entry is None:
            break
        names.append(entry[0])
    t.same("how many", (len(names), len(set(names))), (302, 302))
    for i in (0, 1, 2, 3, 100, 250, 301):
        libc.seekdir(listing.stream, places[i])
        t.same(f"the rest from {i}", listing.rest(), names[i:])
    libc.rewinddir(listing.stream)
    t.same("all again", listing.rest(), names)
    write("d/new")
    os.unlink("d/5")
    libc.rewinddir(listing.stream)
    t.same("after changes", sorted(listing.rest()), sorted(set(names) - {"5"} | {"new"}))
    listing.close()


@case
def listings_while_entries_come_and_go(t):
    for how in ("unlink", "rename", "create"):
        os.mkdir("d")
        for i in range(500):
            write(f"d/{i:03}")
        listing = Listing("d")
        seen = []
        while (entry := listing.next()) is not None:
            seen.append(entry[0])
            if entry[0].startswith(".") or len(entry[0]) != 3:
                continue
            if how == "unlink":
                os.unlink("d/" + entry[0])
            elif how == "rename" and int(entry[0]) % 10 == 0:
                os.rename("d/" + entry[0], "d/moved" + entry[0])
            elif how == "create" and len(seen) < 100:
                write(f"d/new{len(seen)}")
        listing.close()
        wanted = {f"{i:03}" for i in range(500)}
        t.true(f"none is missed ({how})", wanted <= set(seen), sorted(wanted - set(seen))[:5])
        t.true(f"none comes twice ({how})", how == "rename" or len(seen) == len(set(seen)))
        if how == "unlink":
            t.same("nothing is left", os.listdir("d"), [])
            t.expect(0, "rmdir", "d")
        t.remove("d")


@case
def a_removed_folder_lists_nothing(t):
    os.mkdir("d")
    listing = Listing("d")
    os.rmdir("d")
    t.same("its entries", listing.rest(), [])
    listing.close()


@case
def listing_needs_no_search_permission(t):
    os.mkdir("d")
    write("d/f")
    os.chmod("d", 0o444)
    with t.user(ALICE):
        t.same("names", os.listdir("d"), ["f"])
        t.expect("EACCES", "open", "d/f", os.O_RDONLY, 0)


# Locks.


@case
def flock_between_descriptors(t):
    write("f")
    with opened("f", os.O_RDWR) as a, opened("f", os.O_RDWR) as b:
        shared, exclusive, unlock, now = fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN, fcntl.LOCK_NB
        t.expect(0, "flock", a, shared | now)
        t.expect(0, "flock", b, shared | now)
        t.expect("EAGAIN", "flock", a, exclusive | now)
        t.expect(0, "flock", b, unlock)
        t.expect(0, "flock", a, exclusive | now)
        t.expect("EAGAIN", "flock", b, shared | now)
        t.expect(0, "flock", a, unlock)
        t.expect(0, "flock", b, exclusive | now)
        t.expect("EINVAL", "flock", a, 77)
    os.mkdir("d")
    with opened("d", os.O_RDONLY) as a, opened("d", os.O_RDONLY) as b:
        t.expect(0, "flock", a, fcntl.LOCK_EX | fcntl.LOCK_NB)
        t.expect("EAGAIN", "flock", b, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock(fd, command, kind, start=0, length=0):
    """struct flock back, or an error's name"""
    try:
        data = fcntl.fcntl(fd, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0))
    except OSError as e:
        return errno.errorcode[e.errno]
    return struct.unpack("hhqqi4x", data)


@case
def record_locks_of_open_descriptions(t):
    getlk, setlk = 36, 37
    write("f", b"x" * 100)
    with opened("f", os.O_RDWR) as a, opened("f", os.O_RDWR) as b, opened("f", os.O_RDONLY) as r:
        t.true("a lock", lock(a, setlk, fcntl.F_WRLCK, 10, 20) != "EAGAIN")
        t.same("an overlapping one", lock(b, setlk, fcntl.F_RDLCK, 29, 5), "EAGAIN")
        t.true("one beside it", lock(b, setlk, fcntl.F_WRLCK, 30, 5) != "EAGAIN")
        found = lock(b, getlk, fcntl.F_WRLCK, 0, 100)
        t.same("who holds it", found[:4], (fcntl.F_WRLCK, os.SEEK_SET, 10, 20))
        t.same("a write lock on a read-only descriptor", lock(r, setlk, fcntl.F_WRLCK), "EBADF")
        lock(a, setlk, fcntl.F_UNLCK, 15, 5)
        t.true("in the gap", lock(b, setlk, fcntl.F_WRLCK, 15, 5) != "EAGAIN")
        t.same("beside the gap", lock(b, setlk, fcntl.F_WRLCK, 14, 1), "EAGAIN")
        t.same("a negative length before 0", lock(a, setlk, fcntl.F_WRLCK, 0, -1), "EINVAL")


@case
def record_locks_between_processes(t):
    write("f", b"x" * 100)
    with opened("f", os.O_RDWR) as fd:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 50, 0)
        pid = os.fork()
        if pid == 0:
            with opened("f", os.O_RDWR) as other:
                inside = lock(other, fcntl.F_SETLK, fcntl.F_WRLCK, 49, 1)
                outside = lock(other, fcntl.F_SETLK, fcntl.F_WRLCK, 50, 1)
                holder = lock(other, fcntl.F_GETLK, fcntl.F_WRLCK, 0, 1)
            os._exit(inside in ("EAGAIN", "EACCES") and outside not in ("EAGAIN", "EACCES") and holder[4] == os.getppid())
        t.same("another process is kept out, and told by whom", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 1)


@case
def leases(t):
    write("f")
    with opened("f", os.O_RDONLY) as fd:
        t.expect(0, "fcntl", fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        t.expect(fcntl.F_RDLCK, "fcntl", fd, fcntl.F_GETLEASE, 0)
        t.expect(0, "fcntl", fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    with opened("f", os.O_RDWR) as fd:
        t.expect("EAGAIN", "fcntl", fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        t.expect(0, "fcntl", fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        t.expect(0, "fcntl", fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)


# Events.


@case
def inotify_tells_of_every_change(t):
    fd = libc.inotify_init1(os.O_NONBLOCK)
    libc.inotify_add_watch(fd, b".", 0xFFF)

    def events():
        data = b""
        while select.select([fd], [], [], 0)[0]:
            data += os.read(fd, 65536)
        found = []
        while data:
            _, mask, _, length = struct.unpack_from("iIII", data)
            found.append((mask & 0xFFF, data[16:16 + length].rstrip(b"\0").decode()))
            data = data[16 + length:]
        return found

    with opened("f", os.O_CREAT | os.O_WRONLY) as f:
        os.write(f, b"x")
    t.same("a file is made and written", events(), [(0x100, "f"), (0x20, "f"), (2, "f"), (8, "f")])
    os.chmod("f", 0o600)
    t.same("its mode is changed", events(), [(4, "f")])
    os.rename("f", "g")
    t.same("it is renamed", events(), [(0x40, "f"), (0x80, "g")])
    os.truncate("g", 0)
    t.same("it is truncated", events(), [(2, "g")])
    os.mkdir("d")
    t.same("a folder is made", events(), [(0x100, "d")])
    os.unlink("g")
    t.true("it is removed", (0x200, "g") in events())
    os.close(fd)


# Others.


@case
def files_are_found_again_by_handle(t):
    for kind in TYPES:
        make(kind, kind)
        handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136)
        mount = ctypes.c_int()
        flags = 0
        t.same("name_to_handle_at", libc.name_to_handle_at(-100, os.fsencode(kind), handle, ctypes.byref(mount), flags), 0)
        with opened(".", os.O_RDONLY) as here:
            fd = libc.open_by_handle_at(here, handle, os.O_PATH if kind not in ("regular", "dir") else os.O_RDONLY)
            t.true(f"a {kind} is opened", fd >= 0, errno.errorcode.get(ctypes.get_errno()))
            if fd >= 0:
                t.same("it is the same", os.fstat(fd).st_ino, os.lstat(kind).st_ino)
                os.close(fd)
            if kind in NO_DIRS:
                os.unlink(kind)
            else:
                os.rmdir(kind)
            fd = libc.open_by_handle_at(here, handle, os.O_PATH)
            t.same("a removed one", -1 if fd >= 0 else ctypes.get_errno(), errno.ESTALE)


@case
def statfs_says_what_holds(t):
    st = os.statvfs(".")
    t.same("the longest name", st.f_namemax, 255)
    t.true("sizes", st.f_bsize >= 512 and st.f_frsize >= 512 and 0 < st.f_bavail <= st.f_bfree <= st.f_blocks)
    t.true("inodes", 0 < st.f_ffree <= st.f_files)
    t.same("pathconf", (os.pathconf(".", "PC_NAME_MAX"), os.pathconf(".", "PC_PATH_MAX")), (255, 4096))
    t.true("links", os.pathconf(".", "PC_LINK_MAX") >= 127)
    for kind in NO_DIRS:
        make(kind, kind)
        if kind != "symlink":
            t.expect(0, "statfs", kind, ctypes.create_string_buffer(256))


@case
def many_links_of_one_file(t):
    write("f")
    for i in range(1000):
        os.link("f", f"l{i}")
    t.links("f", 1001)
    os.mkdir("d")
    for i in range(500):
        os.mkdir(f"d/{i}")
    t.links("d", 502)
    for i in range(500):
        os.rmdir(f"d/{i}")
    t.links("d", 2)


@case
def the_time_of_making_is_told(t):
    write("f")
    buffer = ctypes.create_string_buffer(256)
    t.same("statx", libc.statx(-100, b"f", 0, 0xFFF, buffer), 0)
    t.true("it has a time of making", struct.unpack_from("I", buffer)[0] & 0x800)
