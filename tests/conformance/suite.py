"""The bones of the conformance suite: cases, their fresh folders, users, and checks that are counted.

A case is a function with @case; it gets a Tester whose working directory is a new folder.  A check is one line: what a system
call returns, or what must be seen afterwards.  A failed check is recorded and the case goes on.
"""
import contextlib
import errno
import os
import shutil
import socket
import stat
import tempfile
import time
import traceback

from calls import call, lstat, name_of

CASES = []

# Two who are nobody, and the groups that they are in only when a case says so.
ALICE, BOB = 65534, 65533
TICK = 0.011  # s; the kernel's clock for files ticks at least every 10 ms, while the processor that drives it is not held up
FILE_CLOCK = 5  # CLOCK_REALTIME_COARSE

TYPES = ("regular", "dir", "fifo", "block", "char", "socket", "symlink")
NO_DIRS = tuple(t for t in TYPES if t != "dir")
NO_LINKS = tuple(t for t in TYPES if t != "symlink")


def await_tick():
    """Until a new time differs from any old one."""
    now = time.time_ns()
    while now - 10**9 < time.clock_gettime_ns(FILE_CLOCK) <= now:
        time.sleep(0.001)


def case(function):
    CASES.append(function)
    return function


class Tester:
    def __init__(self, name, results):
        self.name = name
        self.results = results  # (case, check, ok, got)
        self.who = "root"
        self.counts = {}

    # Checks.

    def record(self, what, ok, got):
        what = what if self.who == "root" else f"{what} as {self.who}"
        number = self.counts[what] = self.counts.get(what, 0) + 1
        self.results.append((self.name, what if number == 1 else f"{what} (#{number})", bool(ok), got))
        return ok

    def expect(self, wanted, name, *args):
        """The system call returns 0, or fails with one of the errors named: "ENOENT", "EISDIR EPERM"."""
        shown = ", ".join(_shown(a) for a in args)
        got = call(name, *args)
        if name in ("open", "openat", "creat") and got >= 0:
            os.close(got)
            got = 0
        return self.record(f"{name}({shown}) is {wanted}", name_of(got) in str(wanted).split(), name_of(got))

    def same(self, what, got, wanted):
        return self.record(what, got == wanted, f"{_shown(got)} instead of {_shown(wanted)}")

    def true(self, what, ok, got=""):
        return self.record(what, ok, str(got))

    def mode(self, path, wanted):
        st = lstat(path)
        got = name_of(st) if isinstance(st, int) else f"{stat.S_IMODE(st.st_mode):04o}"
        return self.record(f"{_shown(path)} has mode {wanted:04o}", got == f"{wanted:04o}", got)

    def owner(self, path, uid, gid):
        st = os.lstat(path)
        return self.same(f"{_shown(path)} belongs to {uid}:{gid}", (st.st_uid, st.st_gid), (uid, gid))

    def links(self, path, wanted):
        return self.same(f"{_shown(path)} has {wanted} links", os.lstat(path).st_nlink, wanted)

    def is_type(self, path, wanted):
        st = lstat(path)
        return self.same(f"{_shown(path)} is a {wanted}", st if isinstance(st, int) else TYPE_OF[stat.S_IFMT(st.st_mode)], wanted)

    def absent(self, path):
        return self.same(f"{_shown(path)} is not there", lstat(path), -errno.ENOENT)

    def size(self, path, wanted):
        return self.same(f"{_shown(path)} has {wanted} bytes", os.lstat(path).st_size, wanted)

    def moves(self, wanted_times, wanted, name, *args):
        """The call returns what is wanted, and of the files named exactly these times change: {"dir": "cm", "old>new": "c"}.

        m: modification, c: status change, -: neither.
        """
        before = {pair: os.lstat(pair.split(">")[0]) for pair in wanted_times}
        await_tick()
        self.expect(wanted, name, *args)
        for pair, letters in wanted_times.items():
            old, new = before[pair], lstat(pair.split(">")[-1])
            if isinstance(new, int):
                self.record(f"{pair} is there after {name}", False, name_of(new))
                continue
            moved = ("c" if new.st_ctime_ns > old.st_ctime_ns else "c<" if new.st_ctime_ns < old.st_ctime_ns else "") + \
                    ("m" if new.st_mtime_ns > old.st_mtime_ns else "m<" if new.st_mtime_ns < old.st_mtime_ns else "")
            self.same(f"{name}({', '.join(_shown(a) for a in args)}) moves of {pair}: {letters}", moved or "-", letters)

    # Who does it.

    @contextlib.contextmanager
    def user(self, uid, gid=None, groups=()):
        gid = uid if gid is None else gid
        was = self.who
        os.setgroups(list(groups))
        os.setegid(gid)
        os.seteuid(uid)
        self.who = f"{uid}:{gid}" + (f"+{','.join(map(str, groups))}" if groups else "")
        try:
            yield
        finally:
            self.who = was
            os.seteuid(0)
            os.setegid(0)
            os.setgroups([0])

    # Things to try it with.

    def make(self, kind, path, mode=None, owner=None):
        make(kind, path, mode)
        if owner:
            os.lchown(path, *owner)
        return path

    def remove(self, path):
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.lstat(path).st_mode):
                shutil.rmtree(path)
            else:
                os.unlink(path)


TYPE_OF = {stat.S_IFREG: "regular", stat.S_IFDIR: "dir", stat.S_IFIFO: "fifo", stat.S_IFBLK: "block", stat.S_IFCHR: "char",
           stat.S_IFSOCK: "socket", stat.S_IFLNK: "symlink"}


def make(kind, path, mode=None):
    """A new file of that type."""
    if kind == "regular":
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    elif kind == "dir":
        os.mkdir(path, 0o755)
    elif kind == "fifo":
        os.mkfifo(path, 0o644)
    elif kind == "block":
        os.mknod(path, stat.S_IFBLK | 0o644, os.makedev(1, 2))
    elif kind == "char":
        os.mknod(path, stat.S_IFCHR | 0o644, os.makedev(1, 2))
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path)
    elif kind == "symlink":
        os.symlink("test", path)
    else:
        raise ValueError(kind)
    if mode is not None and kind != "symlink":
        os.chmod(path, mode)


@contextlib.contextmanager
def opened(path, flags, mode=0o644):
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def write(path, data=b""):
    with open(path, "wb", buffering=0) as f:
        f.write(data)


def read(path):
    with open(path, "rb", buffering=0) as f:
        return f.read()


def _shown(value):
    if isinstance(value, (str, bytes)):
        text = os.fsdecode(value)
        return repr(text) if len(text) <= 60 else f"<{len(os.fsencode(text))} bytes {text[:8]!r}...{text[-4:]!r}>"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_shown, value)) + ")"
    if isinstance(value, (int, float, bool, list, dict, set)) or value is None:
        return str(value)
    return "address" if not hasattr(value, "raw") else "buffer"


def run(place, only=""):
    """Runs all cases in new folders of `place`.  Returns [(case, check, ok, got)]."""
    results = []
    home = os.getcwd()
    mask = os.umask(0o022)
    for function in CASES:
        if only not in function.__name__:
            continue
        folder = tempfile.mkdtemp(prefix="conformance-", dir=place)
        os.chmod(folder, 0o755)
        os.chdir(folder)
        tester = Tester(function.__name__, results)
        try:
            function(tester)
        except Exception:  # pylint: disable=broad-except
            results.append((function.__name__, "runs to its end", False, traceback.format_exc(limit=-3)))
        finally:
            os.umask(0o022)
            os.chdir(home)
            shutil.rmtree(folder, ignore_errors=True)
    os.umask(mask)
    return results
