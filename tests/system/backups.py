"""A tree with everything that a backup can lose, what can be seen of a tree, and the backup programs of the distribution.

A program that is missing is a failure: tests/install brings it.
"""
import json
import os
import pathlib
import random
import re
import shutil
import socket
import stat
import struct
import subprocess

import conftest
import trees
from posixlib import ALICE, BOB, FRIENDS, opened, pattern, write_file

# How much is backed up where the amount matters.
MIB = int(os.environ.get("BACKUP_MIB", "16"))

BLOCK = 64 << 10
IS_ROOT = os.geteuid() == 0

NAMES = [b"new\nline", b"tab\there", b"not UTF-8: \xff\xfe\x80", b"-n", b" spaces ", b"back\\slash", b"'quotes\"",
         b"*[?]{}~$(id)", "é composed".encode(), "é decomposed".encode(), b"n" * 255, "ü".encode() * 127]


def run(*args, cwd="/", env=None, allowed=(0,), timeout=600):
    """What a program printed, names of any bytes included."""
    env = dict(os.environ, LC_ALL="C.UTF-8", **env or {})
    done = subprocess.run(list(map(os.fspath, args)), cwd=cwd, env=env, timeout=timeout, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = os.fsdecode(done.stdout)
    assert done.returncode in allowed, f"{args}: status {done.returncode}\n{text[-4000:]}"
    return text


# The tree


def _in(top, name):
    return os.path.join(os.fsencode(top), os.fsencode(name))


def _sparse(path, length, at):
    with opened(path, os.O_CREAT | os.O_WRONLY) as fd:
        for offset in at:
            os.pwrite(fd, pattern(BLOCK, seed=offset + 1), offset)
        os.truncate(fd, length)


def _files(top):
    for length in (0, 1, 4095, 4096, 4097, 100000, (1 << 20) + 1):
        write_file(_in(top, f"length-{length}"), pattern(length, seed=length + 1))
    os.mkdir(_in(top, "names"))
    for n, name in enumerate(NAMES):
        write_file(_in(top, b"names/" + name), b"%d" % n)
    os.makedirs(_in(top, "/".join(f"level {n}" for n in range(30))))
    write_file(_in(top, "/".join(f"level {n}" for n in range(30)) + "/deep"), b"deep")
    os.mkdir(_in(top, "many"))
    for n in range(200):
        write_file(_in(top, f"many/{n}"), b"small %d\n" % n * n)
    os.mkdir(_in(top, "empty"))


def _sparse_files(top):
    os.mkdir(_in(top, "sparse"))
    _sparse(_in(top, "sparse/hole first"), 8 << 20, [(8 << 20) - BLOCK])
    _sparse(_in(top, "sparse/hole last"), 8 << 20, [0])
    _sparse(_in(top, "sparse/holes between"), 8 << 20, [0, 1 << 20, 5 << 20, (8 << 20) - BLOCK])
    _sparse(_in(top, "sparse/only a hole"), 8 << 20, [])


def _links(top):
    os.mkdir(_in(top, "links"))
    os.link(_in(top, "length-100000"), _in(top, "links/same as length-100000"))
    os.link(_in(top, "length-100000"), _in(top, "many/a third name"))
    os.link(_in(top, "sparse/holes between"), _in(top, "links/sparse too"))
    os.link(_in(top, "length-0"), _in(top, "links/of nothing"))
    for name, target in (("to a file", b"../length-1"), ("to a folder", b"../many"), ("to nothing", b"nowhere\n"),
                         ("not UTF-8", b"nowhere \xff"), ("long", b"t" * 4000)):
        os.symlink(target, _in(top, "links/" + name))


def _specials(top):
    os.mkdir(_in(top, "specials"))
    os.mkfifo(_in(top, "specials/fifo"), 0o640)
    if IS_ROOT:
        os.mknod(_in(top, "specials/char"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.mknod(_in(top, "specials/block"), stat.S_IFBLK | 0o660, os.makedev(259, 70000))


def _attributes(top):
    os.setxattr(_in(top, "length-1"), "user.text", b"value")
    os.setxattr(_in(top, "length-1"), "user.binary", bytes(range(256)))
    os.setxattr(_in(top, "length-1"), "user.empty", b"")
    os.setxattr(_in(top, "length-4096"), "user.long", pattern(3000))
    os.setxattr(_in(top, "many"), "user.of a folder", b"kept")
    if IS_ROOT:
        os.setxattr(_in(top, "length-4096"), "trusted.note", b"for the administrator")
        net_raw = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
        os.setxattr(_in(top, "length-4095"), "security.capability", net_raw)


def _rights(top):
    for name, mode in (("setuid", 0o4755), ("setgid", 0o2755), ("sticky", 0o1644), ("read-only", 0o400)):
        write_file(_in(top, name), b"#!/bin/sh\n")
        os.chmod(_in(top, name), mode)
    for name, mode in (("setgid folder", 0o2775), ("sticky folder", 0o1777), ("closed", 0o700)):
        os.mkdir(_in(top, name))
        os.chmod(_in(top, name), mode)
    run("setfacl", "-m", f"u:{ALICE}:rwx,g:{FRIENDS}:r-x,m:rw-", _in(top, "length-4097"))
    os.mkdir(_in(top, "acl"))
    run("setfacl", "-m", f"u:{BOB}:r-x,d:u:{ALICE}:rw-,d:g::r--,d:o::---", _in(top, "acl"))
    write_file(_in(top, "acl/inherits"), b"inherited")
    os.mkdir(_in(top, "acl/inherits too"))
    if IS_ROOT:
        for name in ("length-4097", "acl", "setgid folder", "specials/fifo", "links/to a file"):
            os.chown(_in(top, name), ALICE, FRIENDS, follow_symlinks=False)
        write_file(_in(top, "nobody may"), b"closed to all")
        os.chmod(_in(top, "nobody may"), 0)


def _times(top):
    for n, (folder, folders, files) in enumerate(sorted(os.walk(os.fsencode(top)))):
        for name in sorted(folders + files):
            os.utime(os.path.join(folder, name), ns=(0, 1234567890123456789 + n * 1000001), follow_symlinks=False)
    os.utime(_in(top, "length-1"), ns=(1, -300000000000000001))
    os.utime(_in(top, "links/to nothing"), ns=(1, 999999999000000001), follow_symlinks=False)


LAST = "last"


def _last(top):
    """One file that is newer than all others: the clock that gives times may stand still for some milliseconds."""
    newest = max(os.lstat(os.path.join(folder, name)).st_ctime_ns
                 for folder, folders, files in os.walk(os.fsencode(top)) for name in folders + files)
    write_file(_in(top, LAST), b"the newest file")

    def is_newest():
        os.utime(_in(top, LAST))
        return os.stat(_in(top, LAST)).st_ctime_ns > newest

    conftest.wait_until(is_newest, "the clock")


def make_tree(top):
    os.mkdir(top)
    for part in (_files, _sparse_files, _links, _specials, _attributes, _rights, _times, _last):
        part(top)
    os.utime(_in(top, "."), ns=(0, 1500000000987654321))


def make_bulk(top, seed=1, mib=MIB):
    """Files of many sizes that no program can compress or find twice."""
    os.mkdir(top)
    source, left, n = random.Random(seed), mib << 20, 0
    while left > 0:
        length = min(left, (1 << 20) + 4321 * n if n % 4 == 0 else 30000 + 777 * n)
        write_file(_in(top, f"bulk {n}"), source.randbytes(length))
        left, n = left - length, n + 1


def add_socket(top):
    with socket.socket(socket.AF_UNIX) as s:
        fd = os.open(_in(top, "specials"), os.O_PATH)
        s.bind(f"/proc/self/fd/{fd}/socket")
        os.close(fd)
    os.utime(_in(top, "specials/socket"), ns=(0, 1234567890000000001))
    os.utime(_in(top, "specials"), ns=(0, 1234567891000000001))


# What can be seen of it


def holes(path):
    """Where the file has data: [(from, to)]."""
    found, at = [], 0
    with opened(path, os.O_RDONLY) as fd:
        length = os.fstat(fd).st_size
        while at < length:
            try:
                start = os.lseek(fd, at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(fd, start, os.SEEK_HOLE)
            assert at > start, "data that has no length"
            found.append((start, at))
    return found


def describe(top):
    """Of every entry all that a backup should keep."""
    entries, links = trees.describe(top)
    seen = {}
    for name, (mode, uid, gid, _, size, mtime, _, content, xattrs) in entries.items():
        seen[name] = {"mode": oct(mode), "owner": (uid, gid), "size": size, "mtime": mtime, "content": content, "xattrs": xattrs}
        if stat.S_ISREG(mode):
            path = os.path.join(os.fsencode(top), name)
            seen[name]["data"] = holes(path)
            seen[name]["sparse"] = os.stat(path).st_blocks * 512 < size
    for group in links:
        for name in group:
            seen[name]["links"] = group
    return seen


def differences(wanted, found, without=()):
    """Readable; empty: the same, apart from these facts, or from these (name, fact)."""
    out = [f"missing: {name!r}" for name in sorted(wanted.keys() - found.keys())]
    out += [f"extra: {name!r}" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & found.keys()):
        for fact in sorted(wanted[name].keys() | found[name].keys()):
            a, b = wanted[name].get(fact), found[name].get(fact)
            if a != b and fact not in without and (name, fact) not in without:
                out.append(f"{name!r}: {fact}: {a} became {b}")
    return out


# Programs


class Borg:
    def __init__(self, repository, work):
        self.repository = str(repository)
        self.env = {"BORG_BASE_DIR": str(work), "BORG_PASSPHRASE": "borg's own", "BORG_EXIT_CODES": "legacy",
                    "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
                    "BORG_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES", "BORG_DELETE_I_KNOW_WHAT_I_AM_DOING": "YES"}

    def __call__(self, *args, **kwargs):
        return run("borg", *args, env=self.env, **kwargs)

    def init(self):
        return self("init", "--encryption=repokey-blake2", self.repository)

    def how_to_create(self, archive):
        """In chunks as large as the holes, so that extract can make them again."""
        return ["create", "--list", "--sparse", f"--chunker-params=fixed,{BLOCK}", "--compression=none",
                f"{self.repository}::{archive}", "."]

    def create(self, archive, source):
        """{name: letter} of what borg did with each entry."""
        out = self(*self.how_to_create(archive), cwd=source)
        return {line[2:]: line[0] for line in re.split(r"\n(?=[A-Za-z?-] )", out.rstrip("\n"))}

    def extract(self, archive, where):
        where.mkdir()
        return self("extract", "--sparse", f"{self.repository}::{archive}", cwd=where)


class Restic:
    def __init__(self, repository, work):
        self.env = {"RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": "restic's own",
                    "RESTIC_CACHE_DIR": str(work / "cache"), "HOME": str(work)}

    def __call__(self, *args, **kwargs):
        return run("restic", *args, env=self.env, **kwargs)


class Duplicity:
    def __init__(self, repository, work):
        self.url = f"file://{repository}"
        self.archives = f"--archive-dir={work}"

    def __call__(self, verb, *args):
        return run("duplicity", verb, "--no-encryption", self.archives, *args)


def rsync(*args):
    """With times compared to the nanosecond; its default is the second."""
    return run("rsync", "-aHAXS", "--numeric-ids", "--modify-window=-1", *args)


# A mounted tree that tests only read


class Source:
    """A vault with the tree in it, and a place on an ordinary disk for what is restored."""

    def __init__(self):
        self.root = pathlib.Path(conftest.new_root())
        self.vault = conftest.Vault(conftest.new_root())
        self.decoys = []
        self.tree = self.vault.mountpoint / "tree"
        self.seen = None

    def make(self):
        self.vault.up()
        make_tree(self.tree)
        self.seen = describe(self.tree)

    def work(self, name):
        folder = self.root / name
        folder.mkdir()
        return folder

    def remount(self):
        """With another device number: the kernel gives them anew at each mount, and programs must not care."""
        before = now = os.stat(self.tree).st_dev
        while now == before:
            self.vault.unmount()
            self.decoys.append(conftest.Vault(conftest.new_root()))
            self.decoys[-1].up()
            self.vault.mount()
            now = os.stat(self.tree).st_dev

    def reads(self):
        """How often the daemon was asked for contents since it began."""
        return counters(self.vault).get("READ", 0)

    def clean_up(self):
        try:
            for vault in [self.vault, *self.decoys]:
                vault.clean_up()
        finally:
            shutil.rmtree(self.root)


def counters(vault):
    out = vault.run("status", vault.mountpoint, "--vault", vault.dir, "--counters", "--json").stdout
    return json.loads(out)["counters"]
