"""Computers that do anything to the same few files, and a ledger of what must come of it.

Every write is a token that is nowhere else.  A token is to be found in the end unless a device on which it was took it away, or
a daemon died before the write was promised to be kept (by an fsync or a sync).
"""
import contextlib
import ctypes
import errno
import os
import re

import posixlib

NAMES = ["a", "b", "c", "d.txt", "e.txt"]
XATTRS = ["user.x", "user.y"]
ENTRIES_MAX = 60
TOKEN = re.compile(rb"<(\d{8})>")
MISSES = {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ELOOP, errno.ENODATA,
          errno.EBUSY}
DEAD = {errno.ENOTCONN, errno.ECONNABORTED, errno.ECONNREFUSED}
AT_EMPTY_PATH = 0x1000
AT_STATX_FORCE_SYNC = 0x2000
STATX_NLINK = 4


def links_now(fd):
    """As the daemon has it, whatever the kernel remembers."""
    out = (ctypes.c_uint32 * 64)()  # struct statx; the link count is its fifth word
    if posixlib.libc.statx(fd, b"", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_NLINK, out) != 0:
        raise OSError(ctypes.get_errno(), "statx")
    return out[4]


def read_all(fd):
    data = b""
    while block := os.pread(fd, 1 << 20, len(data)):
        data += block
    return data


def tokens_of(fd):
    return set(TOKEN.findall(read_all(fd)))


def complain(error):
    """What else would look like an empty folder."""
    if error.errno not in MISSES:
        raise error


def tokens_below(top):
    found = set()
    for folder, _, names in os.walk(top, onerror=complain):
        for path in (os.path.join(folder, name) for name in names):
            if not os.path.islink(path):
                with opened(path, os.O_RDONLY) as fd:
                    found |= tokens_of(fd)
    return found


@contextlib.contextmanager
def opened(path, flags):
    """Nothing for a symbolic link."""
    try:
        fd = os.open(path, flags | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileNotFoundError(errno.ENOENT, "a link", path) from error
        raise
    try:
        yield fd
    finally:
        os.close(fd)


class Ledger:
    """Tokens, who wrote them, and who took them away."""

    def __init__(self):
        self.count = 0
        self.expected = set()  # promised, or at least not lost in a crash
        self.takers = {}  # token: names of devices
        self.lines = []  # what happened, for whoever reads of a failure

    def new(self):
        self.count += 1
        return b"%08d" % self.count

    def note(self, *words):
        self.lines.append(" ".join(map(str, words)))

    def required(self):
        return {token for token in self.expected if not self.takers.get(token)}

    def story(self, tokens=()):
        said = [token.decode() for token in tokens]
        about = [line for line in self.lines if any(token in line for token in said)]
        return "\n".join([*about, "...", *self.lines[-40:]])


class Actor:
    """A device with its own way to the store, and somebody who works in its folder.

    While it is `quiet` nothing comes from the store, and what an operation takes away is known exactly.  Else it does only
    what takes nothing away that was not seen.
    """

    def __init__(self, name, vault, rng, ledger):
        self.name = name
        self.vault = vault
        self.top = str(vault.mountpoint)
        self.rng = rng
        self.ledger = ledger
        self.quiet = True
        self.cut_off = False  # what is not here can't be read
        self.gone = DEAD  # errors that say that the daemon is
        self.written = set()  # tokens that no fsync and no sync has promised yet
        self.taken = set()  # tokens whose removal no sync has promised yet
        self.held = []
        self.said = set()  # messages of status
        self.serial = 0

    def note(self, *words):
        self.ledger.note(self.name, *words)

    # The tree

    def entries(self):
        found = []
        for folder, dirs, files in os.walk(self.top, onerror=complain):
            dirs.sort()
            found += [(os.path.join(folder, name), True) for name in dirs if not os.path.islink(os.path.join(folder, name))]
            found += [(os.path.join(folder, name), False) for name in sorted(files)]
        return sorted(found)

    def pick(self, is_dir=None):
        fitting = [path for path, kind in self.entries() if is_dir is None or kind == is_dir]
        if not fitting:
            raise FileNotFoundError(errno.ENOENT, "nothing there yet")
        return self.rng.choice(fitting)

    def folder(self):
        return self.rng.choice([self.top] + [path for path, is_dir in self.entries() if is_dir and path.count("/") < 12])

    def place(self):
        return os.path.join(self.folder(), self.rng.choice(NAMES))

    # Tokens

    def write(self, fd, before=b""):
        token = self.ledger.new()
        filler = b"." * self.rng.choice([0, 0, 0, 0, 0, 90, 5000, 300000])
        text = before + filler + b"<" + token + b">\n"
        self.note("writes", token.decode())
        if os.write(fd, text) != len(text):
            raise OSError(errno.EIO, "a short write")
        if not self.quiet:
            os.fsync(fd)
            if links_now(fd) == 0:
                return  # it was deleted elsewhere before
            self.ledger.expected.add(token)
        else:
            self.written.add(token)
            self.ledger.expected.add(token)
            if self.rng.random() < 0.5:
                os.fsync(fd)
                self.note("is promised", token.decode())
                self.written.discard(token)

    def take(self, tokens, action):
        """Does something that takes them away; if the daemon dies meanwhile it may have been done."""
        try:
            action()
        except OSError as error:
            if error.errno not in self.gone:
                raise
            self.take_note(tokens)
            raise
        self.take_note(tokens)

    def take_note(self, tokens):
        for token in tokens:
            self.ledger.takers.setdefault(token, set()).add(self.name)
        self.taken |= tokens
        if tokens:
            self.note("takes away", *sorted(t.decode() for t in tokens))

    def content_at_stake(self, path):
        """What goes if this name goes."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if not os.path.isdir(path) and not os.path.islink(path) and os.lstat(path).st_nlink == 1:
                with opened(path, os.O_RDONLY | os.O_NOFOLLOW) as fd:
                    return tokens_of(fd)
        return set()

    # What takes nothing away

    def create(self):
        path = self.place()
        self.note("create", path)
        with opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW) as fd:
            if self.rng.random() < 0.9:
                self.write(fd)

    def mkdir(self):
        path = self.place()
        self.note("mkdir", path)
        os.mkdir(path, self.rng.choice([0o755, 0o700]))

    def symlink(self):
        path = self.place()
        self.note("symlink", path)
        os.symlink(f"to {self.rng.randrange(100)}", path)

    def link(self):
        old, new = self.pick(False), self.place()
        self.note("link", old, new)
        os.link(old, new, follow_symlinks=False)

    def append(self):
        path = self.pick(False)
        self.note("append", path)
        with opened(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW) as fd:
            self.write(fd)

    def hold(self):
        """Opens a file that is used later."""
        if len(self.held) >= 3:
            os.close(self.held.pop(0))
        path = self.pick(False)
        self.note("hold", path)
        with opened(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW) as fd:
            self.held.append(os.dup(fd))

    def append_to_held(self):
        if self.held:
            fd = self.rng.choice(self.held)
            if links_now(fd) > 0:
                self.note("append to held", os.fstat(fd).st_ino)
                self.write(fd)

    def chmod(self):
        path = self.pick()
        self.note("chmod", path)
        if not os.path.islink(path):
            os.chmod(path, 0o600 | self.rng.randrange(0o200) if not os.path.isdir(path) else 0o700 | self.rng.randrange(0o100))

    def xattr(self):
        path, name = self.pick(), self.rng.choice(XATTRS)
        self.note("xattr", name, path)
        if os.path.islink(path):
            return
        if self.rng.random() < 0.7:
            os.setxattr(path, name, b"value %d" % self.rng.randrange(100))
        else:
            os.removexattr(path, name)

    def move(self):
        old = self.pick()
        new = self.place() if self.rng.random() < 0.7 else os.path.join(self.folder(), os.path.basename(old))
        self.note("move", old, new)
        posixlib.rename2(old, new, posixlib.RENAME_NOREPLACE)

    def rmdir(self):
        path = self.pick(True)
        self.note("rmdir", path)
        os.rmdir(path)

    def remove(self):
        """Under a name that nobody else uses it is sure which file is removed."""
        path = self.pick(False)
        self.serial += 1
        aside = os.path.join(os.path.dirname(path), f"gone-{self.name}-{self.serial}")
        self.note("remove", path)
        if os.path.islink(path):
            os.unlink(path)
            return
        with opened(path, os.O_RDONLY | os.O_NOFOLLOW) as fd:
            if os.fstat(fd).st_nlink != 1:
                return
        posixlib.rename2(path, aside, posixlib.RENAME_NOREPLACE)
        with opened(aside, os.O_RDONLY | os.O_NOFOLLOW) as fd:
            before = tokens_of(fd)
            self.take(before, lambda: os.unlink(aside))
            self.take_note(tokens_of(fd) - before)

    # What does, while nothing changes by itself

    def unlink(self):
        path = self.pick(False)
        tokens = self.content_at_stake(path)
        self.note("unlink", path)
        self.take(tokens, lambda: os.unlink(path))

    def move_over(self):
        old = self.pick(False)
        new = self.pick(False)
        if os.path.samestat(os.lstat(old), os.lstat(new)):
            return
        tokens = self.content_at_stake(new)
        self.note("move over", old, new)
        self.take(tokens, lambda: os.rename(old, new))

    def overwrite(self):
        path = self.pick(False)
        self.note("overwrite", path)
        with opened(path, os.O_RDWR | os.O_NOFOLLOW) as fd:
            before = tokens_of(fd)
            os.lseek(fd, self.rng.randrange(os.fstat(fd).st_size + 1), os.SEEK_SET)
            self.take_from(fd, before, lambda: self.write(fd))

    def truncate(self):
        path = self.pick(False)
        self.note("truncate", path)
        with opened(path, os.O_RDWR | os.O_NOFOLLOW) as fd:
            before = tokens_of(fd)
            size = os.fstat(fd).st_size
            self.take_from(fd, before, lambda: os.ftruncate(fd, self.rng.choice([0, size // 2, size + 5000])))

    def take_from(self, fd, before, action):
        """Whatever is not in the file any more afterwards; all of it, if that can't be seen."""
        after = set()
        try:
            action()
            after = tokens_of(fd)
        finally:
            self.take_note(before - after)

    def save(self):
        """As editors do: a new file with the old content and more, in the place of the old one."""
        path = self.pick(False)
        self.serial += 1
        beside = os.path.join(os.path.dirname(path), f"save-{self.name}-{self.serial}")
        self.note("save", path)
        if os.path.islink(path) or os.lstat(path).st_nlink != 1:
            return
        with opened(path, os.O_RDONLY | os.O_NOFOLLOW) as fd:
            old = read_all(fd)
        with opened(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
            self.write(fd, old)
            if self.rng.random() < 0.7:
                os.fsync(fd)
            else:  # the name may outlive a crash, and the content not
                self.written.update(TOKEN.findall(old))
        os.rename(beside, path)

    def remove_tree(self):
        path = self.pick(True)
        self.note("remove tree", path)
        for folder, dirs, files in os.walk(path, topdown=False, onerror=complain):
            for name in files + [d for d in dirs if os.path.islink(os.path.join(folder, d))]:
                target = os.path.join(folder, name)
                self.take(self.content_at_stake(target), lambda target=target: os.unlink(target))
            os.rmdir(folder)

    GENTLE = [("create", 14), ("mkdir", 7), ("symlink", 2), ("link", 4), ("append", 14), ("hold", 2), ("append_to_held", 3),
              ("chmod", 4), ("xattr", 6), ("move", 14), ("rmdir", 2), ("remove", 5)]
    ROUGH = GENTLE + [("unlink", 7), ("move_over", 6), ("overwrite", 9), ("truncate", 3), ("save", 7), ("remove_tree", 3)]

    def act(self):
        """false: the daemon is gone."""
        table = self.ROUGH if self.quiet else self.GENTLE
        try:
            crowded = len(self.entries()) > ENTRIES_MAX
            weights = [weight * (4 if crowded and name in ("unlink", "remove", "remove_tree", "move_over") else 1)
                       for name, weight in table]
            getattr(self, self.rng.choices([name for name, _ in table], weights)[0])()
        except OSError as error:
            if error.errno in self.gone:
                return False
            if error.errno not in MISSES and not (self.cut_off and error.errno == errno.EIO):
                raise
        return True

    # Promises

    def promised(self, written, taken):
        """By a sync that began when these had been written and taken away."""
        self.written -= written
        self.taken -= taken

    def crashed(self):
        """After the next mount: what is there counts, and what had not been promised need not be."""
        there = tokens_below(self.top)
        for token in self.taken & there:
            self.ledger.takers[token].discard(self.name)
        self.note("lost", *sorted(t.decode() for t in self.written - there))
        self.ledger.expected -= self.written - there
        self.written, self.taken = set(), set()

    def let_go(self):
        while self.held:
            with contextlib.suppress(OSError):  # of a mount that is dead
                os.close(self.held.pop())
