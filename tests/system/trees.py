"""Real trees: where they come from, what they are made of, and whether two of them are the same."""
import contextlib
import hashlib
import os
import stat
import subprocess

SOURCES = ["/usr/include", "/usr/share/doc", "/usr/lib/python3", "/usr/share/perl", "/usr/share/zoneinfo", "/usr/lib/git-core",
           "/usr/share/man", "/usr/share/locale"]


def count(top):
    return sum(len(dirs) + len(files) for _, dirs, files in os.walk(top))


def sources(at_least):
    """Folders of this system that hold that many entries together."""
    chosen, total = [], 0
    for source in SOURCES:
        if os.path.isdir(source):
            chosen.append(source)
            total += count(source)
        if total >= at_least:
            return chosen
    raise AssertionError(f"this system has only {total} files in {SOURCES}")


def copy_in(where, at_least=10000):
    for source in sources(at_least):
        subprocess.run(["rsync", "-aHAX", source, str(where)], check=True, timeout=900)


def differences(where, at_least=10000):
    """What rsync would still have to do, comparing contents: nothing is right."""
    out = ""
    for source in sources(at_least):
        out += subprocess.run(["rsync", "-aHAXnci", source, str(where)], check=True, capture_output=True, text=True,
                              timeout=900).stdout
    return out


def _content(path, st):
    if stat.S_ISREG(st.st_mode):
        digest = hashlib.sha256()
        with open(path, "rb") as f:
            while block := f.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    if stat.S_ISLNK(st.st_mode):
        return os.readlink(path)
    return st.st_rdev


def _xattrs(path):
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def describe(top, with_contents=True):
    """Every entry below top with all that a backup would keep, and which entries are one file."""
    top = os.fsencode(top)
    entries, links = {}, {}
    for folder, dirs, files in os.walk(top):
        for name in dirs + files:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, top)
            st = os.lstat(path)
            entries[relative] = (st.st_mode, st.st_uid, st.st_gid, st.st_nlink,
                                 0 if stat.S_ISDIR(st.st_mode) else st.st_size, st.st_mtime_ns, st.st_ino,
                                 _content(path, st) if with_contents else None, _xattrs(path))
            if not stat.S_ISDIR(st.st_mode) and st.st_nlink > 1:
                links.setdefault(st.st_ino, []).append(relative)
    return entries, sorted(sorted(group) for group in links.values())


def compare(a, b):
    """Readable differences of two descriptions; empty: the same."""
    (entries_a, links_a), (entries_b, links_b) = a, b
    out = [f"only in the first: {p!r}" for p in sorted(entries_a.keys() - entries_b.keys())]
    out += [f"only in the second: {p!r}" for p in sorted(entries_b.keys() - entries_a.keys())]
    out += [f"{p!r}: {entries_a[p]} != {entries_b[p]}" for p in sorted(entries_a.keys() & entries_b.keys())
            if entries_a[p] != entries_b[p]]
    if links_a != links_b:
        out.append("hard links differ")
    return out


def objects(store):
    """Path and size of every object of a dir: store, which may lose some meanwhile."""
    found = {}
    for folder, folders, names in os.walk(store):
        if folder == os.fspath(store):
            folders[:] = [name for name in folders if name != "tmp"]
        for name in names:
            path = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                found[os.path.relpath(path, store)] = os.stat(path).st_size
    return found


def padme(length, floor=4096):
    """The padding step for length, as snugfs-format(5) says."""
    if length <= floor:
        return floor
    exponent = length.bit_length() - 1
    mantissa = exponent.bit_length()
    low = exponent - mantissa
    mask = (1 << low) - 1
    return (length + mask) & ~mask
