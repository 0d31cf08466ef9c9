"""A tree of files as a table that can be compared and kept as JSON: one from a vault, one from a folder; and a vault written
into a folder.
"""
import hashlib
import os
import stat

from .objects import CHUNK


def nanoseconds(time):
    return time[0] * 10**9 + time[1]


def row(mode, owner, times, links, target=b"", device=0, content=None, xattrs=()):
    """links: all paths of the file, or none for a folder."""
    out = {"mode": oct(mode), "owner": list(owner), "mtime": times[0]}
    if len(times) > 1:
        out["ctime"] = times[1]
    if len(links) > 1:
        out["links"] = sorted(text(path) for path in links)
    if stat.S_ISLNK(mode):
        out["target"] = text(target)
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        out["device"] = [os.major(device), os.minor(device)]
    if content is not None:
        out["size"], out["sha256"] = len(content), hashlib.sha256(content).hexdigest()
    if xattrs:
        out["xattrs"] = {text(name): value.hex() for name, value in sorted(xattrs)}
    return out


def text(name):
    return name.decode("utf-8", "surrogateescape")


def of_vault(vault, ctime=False):
    """{path: row}; with the ctimes, too, which a copy can't have."""
    paths = {}
    for path, file in vault.walk():
        paths.setdefault(file.id, []).append(path)
    out = {}
    for path, file in vault.walk():
        times = [nanoseconds(file.mtime)] + ([nanoseconds(file.ctime)] if ctime else [])
        out[text(path)] = row(file.mode, file.owner, times, paths[file.id], file.target, file.rdev,
                              vault.content(file) if stat.S_ISREG(file.mode) else None, file.xattrs.items())
    return out


def content_of(path, status):
    if not stat.S_ISREG(status.st_mode):
        return None
    with open(path, "rb") as file:
        return file.read()


def of_folder(top, ctime=False):
    """The same of a folder, as lstat and its kin show it."""
    top = os.fsencode(top)
    found = [os.path.join(folder, name) for folder, folders, files in os.walk(top) for name in folders + files]
    paths = {}
    for path in found:
        paths.setdefault(os.lstat(path).st_ino, []).append(os.path.relpath(path, top))
    out = {}
    for path in found:
        status = os.lstat(path)
        times = [status.st_mtime_ns] + ([status.st_ctime_ns] if ctime else [])
        xattrs = [(os.fsencode(name), os.getxattr(path, name, follow_symlinks=False))
                  for name in os.listxattr(path, follow_symlinks=False)]
        links = paths[status.st_ino] if not stat.S_ISDIR(status.st_mode) else []
        out[text(os.path.relpath(path, top))] = row(
            status.st_mode, (status.st_uid, status.st_gid), times, links,
            os.readlink(path) if stat.S_ISLNK(status.st_mode) else b"", status.st_rdev, content_of(path, status), xattrs)
    return out


# Writing


def make(vault, path, file):
    if stat.S_ISDIR(file.mode):
        os.mkdir(path, 0o700)
    elif stat.S_ISLNK(file.mode):
        os.symlink(file.target, path)
    elif stat.S_ISREG(file.mode):
        with open(path, "xb") as out:
            for start, piece in vault.pieces(file):
                out.seek(start)
                out.write(piece)
            out.truncate(file.size)
    else:
        os.mknod(path, stat.S_IFMT(file.mode) | 0o600, file.rdev)


def dress(path, file, problems):
    """Owner first, since it clears bits of the mode; times last."""
    steps = [lambda: os.chown(path, *file.owner, follow_symlinks=False)]
    steps += [lambda name=name, value=value: os.setxattr(path, name, value, follow_symlinks=False)
              for name, value in sorted(file.xattrs.items())]
    if not stat.S_ISLNK(file.mode):
        steps.append(lambda: os.chmod(path, stat.S_IMODE(file.mode)))
    steps.append(lambda: os.utime(path, ns=(nanoseconds(file.mtime),) * 2, follow_symlinks=False))
    for step in steps:
        try:
            step()
        except OSError as error:
            problems.append((path, error.strerror))


def write(vault, top):
    """Everything into a folder that is empty; (path, reason) of what could not be set, as owners by an ordinary user."""
    top = os.fsencode(top)
    first, folders, problems = {}, [], []
    for path, file in vault.walk():
        place = os.path.join(top, path)
        if file.id in first:
            os.link(first[file.id], place, follow_symlinks=False)
            continue
        first[file.id] = place
        make(vault, place, file)
        if stat.S_ISDIR(file.mode):
            folders.append((place, file))
        else:
            dress(place, file, problems)
    for place, file in reversed(folders):
        dress(place, file, problems)
    dress(top, vault.files[1], problems)
    return problems


def holes(vault, file):
    """Chunks of the file in which nothing is mapped."""
    return [no for no in range(-(-file.size // CHUNK)) if not file.chunks.get(no)]
