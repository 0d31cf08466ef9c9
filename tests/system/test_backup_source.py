"""A mount as what is backed up: all comes back as it was, and a second run, after a remount, reads nothing again.

What a program takes for "the same file as last time": borg its ctime, size and inode number; restic its mtime, ctime, size and
inode number; tar its ctime and the inode number of its folder; rsync its size and mtime; duplicity its size, mtime, mode and owner.
"""
import json
import os
import stat
import subprocess
import sys

import pytest

import backups
from backups import LAST, Borg, Duplicity, Restic, describe, differences, rsync, run

# What these programs do not keep, or do not put back.
TAR = ["--acls", "--xattrs", "--xattrs-include=*", "--sparse", "--format=posix", "--numeric-owner"]
NOT_BY_BORG = [(b"length-1", "mtime")]  # of before 1970
NOT_BY_RESTIC = ["data", "sparse", *((b"links/not UTF-8", fact) for fact in ("content", "size"))]
NOT_BY_DUPLICITY = ["data", "sparse", "xattrs", "links", "mtime"]


@pytest.fixture(scope="module")
def source():
    s = backups.Source()
    try:
        s.make()
        yield s
    finally:
        s.clean_up()


@pytest.fixture
def rewritten(source):
    """A file that is written anew, with its old length and mtime, after the first backup: only its ctime tells."""
    path = source.tree / "many" / "77"
    old, st = path.read_bytes(), os.stat(path)

    def write(data):
        with open(path, "r+b") as f:
            f.write(data)
        os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))

    def change():
        write(old[::-1])
        return "many/77"

    yield change
    write(old)


def regular_files(seen):
    return {name for name, facts in seen.items() if stat.S_ISREG(int(facts["mode"], 8))}


def contents(seen):
    """How many files there are, each counted once, however many names it has."""
    names = regular_files(seen)
    return len({tuple(seen[name].get("links", [name])) for name in names})


def test_the_tree_has_everything_that_a_backup_can_lose_and_a_remount_keeps_it(source):
    seen = source.seen
    kinds = {stat.S_IFMT(int(facts["mode"], 8)) for facts in seen.values()}
    assert kinds >= {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO}
    assert seen[b"sparse/holes between"]["data"] == [(0, 65536), (1 << 20, (1 << 20) + 65536), (5 << 20, (5 << 20) + 65536),
                                                    ((8 << 20) - 65536, 8 << 20)]
    assert seen[b"sparse/only a hole"]["data"] == [] and seen[b"sparse/only a hole"]["sparse"]
    assert seen[b"links/sparse too"]["links"] == [b"links/sparse too", b"sparse/holes between"]
    assert set(seen[b"acl"]["xattrs"]) == {"system.posix_acl_access", "system.posix_acl_default"}
    assert set(seen[b"acl/inherits too"]["xattrs"]) >= {"system.posix_acl_default"}
    assert seen[b"length-1"]["mtime"] == -300000000000000001
    assert len([name for name in seen if name.startswith(b"names/")]) == len(backups.NAMES)
    source.remount()
    assert differences(seen, describe(source.tree)) == []


def test_borg_restores_everything_and_after_a_remount_reads_only_the_newest_file(source, rewritten):
    work = source.work("borg")
    borg = Borg(work / "repository", work / "base")
    borg.init()
    first = borg.create("first", source.tree)
    assert set(first.values()) <= set("Ahdsfbc") and "A" in first.values()
    for where in (work / "restored", source.vault.mountpoint / "from borg"):
        borg.extract("first", where)
        assert differences(source.seen, describe(where), without=NOT_BY_BORG) == []
    source.remount()
    second = borg.create("second", source.tree)
    assert {name for name, did in second.items() if did == "U"} == {name for name, did in first.items() if did == "A"} - {LAST}
    assert {name for name, did in second.items() if did not in "Uhdsfbc"} <= {LAST}
    assert source.reads() <= 1
    changed = rewritten()
    assert borg.create("third", source.tree)[changed] == "M"
    borg("check", "--verify-data", borg.repository)


def restic_summary(restic, tree, *args):
    lines = restic("backup", "--json", *args, ".", cwd=tree).splitlines()
    return next(line for line in map(json.loads, reversed(lines)) if line["message_type"] == "summary")


def test_restic_restores_everything_and_after_a_remount_reads_no_file(source, rewritten):
    work = source.work("restic")
    restic = Restic(work / "repository", work)
    restic("init")
    first = restic_summary(restic, source.tree)
    assert first["files_new"] == len(regular_files(source.seen)) and first["data_blobs"] > 0
    for where in (work / "restored", source.vault.mountpoint / "from restic"):
        restic("restore", "latest", "--target", where)
        assert differences(source.seen, describe(where), without=NOT_BY_RESTIC) == []
    source.remount()
    second = restic_summary(restic, source.tree)
    assert (second["files_new"], second["files_changed"], second["files_unmodified"]) == (0, 0, first["files_new"])
    assert second["data_blobs"] == 0
    assert source.reads() == 0
    rewritten()
    assert restic_summary(restic, source.tree)["files_changed"] == 1
    restic("check", "--read-data")


def whole_seconds(seen):
    """What duplicity keeps of the times: not of links, and not of before 1970."""
    return {name: max(facts["mtime"] // 10**9, 0) for name, facts in seen.items() if not stat.S_ISLNK(int(facts["mode"], 8))}


def test_duplicity_restores_what_it_keeps_and_after_a_remount_reads_no_file(source):
    work = source.work("duplicity")
    duplicity = Duplicity(work / "repository", work / "archives")
    duplicity("full", source.tree, duplicity.url)
    duplicity("restore", duplicity.url, work / "restored")
    duplicity("restore", duplicity.url, source.vault.mountpoint / "from duplicity")
    for where in (work / "restored", source.vault.mountpoint / "from duplicity"):
        found = describe(where)
        assert differences(source.seen, found, without=NOT_BY_DUPLICITY) == []
        assert whole_seconds(found) == whole_seconds(source.seen)
    source.remount()
    out = duplicity("incremental", source.tree, duplicity.url)
    for line in ("NewFiles 0", "DeletedFiles 0", "ChangedFiles 0", "DeltaEntries 0"):
        assert f"\n{line}\n" in out, out
    assert source.reads() == 0


def test_rsync_copies_everything_there_and_back_and_after_a_remount_finds_nothing_to_do(source):
    work = source.work("rsync")
    copy, back = work / "copy", source.vault.mountpoint / "from rsync"
    backups.add_socket(source.tree)
    seen = describe(source.tree)
    try:
        rsync(f"{source.tree}/", copy)
        assert differences(seen, describe(copy)) == []
        rsync(f"{copy}/", back)
        assert differences(seen, describe(back)) == []
        source.remount()
        assert rsync("-ni", f"{source.tree}/", copy) == ""
        assert rsync("-ni", f"{copy}/", back) == ""
        assert source.reads() == 0
        assert rsync("-nic", f"{source.tree}/", copy) == ""
        assert source.reads() > 0
    finally:
        os.unlink(source.tree / "specials" / "socket")
        os.utime(source.tree / "specials", ns=(0, source.seen[b"specials"]["mtime"]))


def test_tar_restores_everything_and_after_a_remount_archives_no_file(source, rewritten):
    work = source.work("tar")

    def archive(name):
        run("tar", *TAR, f"--listed-incremental={work}/state", "--no-check-device", "-cf", work / name, ".", cwd=source.tree)
        return [line for line in run("tar", "-tf", work / name).splitlines() if not line.endswith("/")]

    assert len(archive("first.tar")) == len([f for f in source.seen.values() if not stat.S_ISDIR(int(f["mode"], 8))])
    for where in (work / "restored", source.vault.mountpoint / "from tar"):
        where.mkdir()
        run("tar", *TAR, "-xpf", work / "first.tar", "--listed-incremental=/dev/null", cwd=where)
        assert differences(source.seen, describe(where)) == []
    source.remount()
    assert archive("second.tar") == []
    assert source.reads() == 0
    changed = rewritten()
    assert archive("third.tar") == [f"./{changed}"]


def test_tar_keeps_what_a_program_that_has_the_file_open_wrote(source):
    """A process of its own writes: a file that somebody closes, as each child of this one would, is looked at anew."""
    written = source.vault.mountpoint / "being written"
    write = ("import os, sys\nfd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\nos.fstat(fd)\nos.write(fd, bytes(range(1, 256)) * 4096)\n"
             "os.fstat(fd)\nif sys.argv[2] == 'fsync': os.fsync(fd)\nprint('written', flush=True)\nsys.stdin.read()")
    for how in ("fsync", "in the cache"):
        with subprocess.Popen([sys.executable, "-c", write, written, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline() == b"written\n"
            archive = source.work(f"tar while open, {how}") / "archive.tar"
            run("tar", *TAR, "-cf", archive, written.name, cwd=written.parent)
            writer.stdin.close()
        assert subprocess.run(["tar", "-xOf", archive], capture_output=True, check=True).stdout == bytes(range(1, 256)) * 4096
        written.unlink()


def test_cp_copies_everything_within_the_mount_and_keeps_holes_or_makes_them(source):
    for name, how in (("reflinks if possible", "--reflink=auto"), ("sparse", "--sparse=always")):
        where = source.vault.mountpoint / name
        run("cp", "-a", how, source.tree, where)
        assert differences(source.seen, describe(where)) == []
    zeros, made = source.vault.mountpoint / "zeros", source.vault.mountpoint / "hole"
    with open(zeros, "wb") as f:
        f.write(bytes(4 << 20) + b"end")
    assert os.stat(zeros).st_blocks * 512 >= 4 << 20 or backups.holes(zeros)[0][0] > 0
    run("cp", "--sparse=always", zeros, made)
    assert made.read_bytes() == zeros.read_bytes()
    assert os.stat(made).st_blocks * 512 <= 8192 and backups.holes(made)[0][0] >= 4 << 20
