"""A mount as where backups are kept: repositories in it are whole after a remount, and after the daemon was killed half-way."""
import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

import backups
import conftest
from backups import Borg, Duplicity, Restic, describe, differences, rsync, run
from test_backup_source import NOT_BY_BORG, NOT_BY_DUPLICITY, NOT_BY_RESTIC, TAR


@pytest.fixture
def work():
    """A folder on an ordinary disk."""
    root = pathlib.Path(conftest.new_root())
    yield root
    shutil.rmtree(root)


@pytest.fixture
def source(work):
    """What is backed up, on an ordinary disk."""
    where = work / "source"
    backups.make_tree(where)
    backups.make_bulk(where / "bulk")
    return where


def edit(source):
    """What happens between two backups."""
    shutil.rmtree(source / "many")
    os.rename(source / "bulk" / "bulk 0", source / "bulk" / "renamed")
    with open(source / "bulk" / "bulk 1", "r+b") as f:
        f.seek(10000)
        f.write(b"changed")
    backups.make_bulk(source / "more", seed=2, mib=2)


def remount(mounted):
    mounted.unmount()
    mounted.mount()


def test_a_borg_repository_is_whole_after_a_remount(mounted, work, source):
    top = mounted.mountpoint
    borg = Borg(top / "repository", work / "base")
    borg.init()
    borg.create("first", source)
    edit(source)
    borg.create("second", source)
    borg("prune", "--keep-last=1", borg.repository)
    borg("compact", "--threshold=1", borg.repository)
    remount(mounted)
    borg("check", "--verify-data", borg.repository)
    assert borg("list", "--short", borg.repository) == "second\n"
    borg.extract("second", top / "extracted")
    assert differences(describe(source), describe(top / "extracted"), without=NOT_BY_BORG) == []
    remount(mounted)
    assert differences(describe(source), describe(top / "extracted"), without=NOT_BY_BORG) == []


def test_a_restic_repository_is_whole_after_a_remount(mounted, work, source):
    top = mounted.mountpoint
    restic = Restic(top / "repository", work)
    restic("init")
    restic("backup", ".", cwd=source)
    edit(source)
    restic("backup", ".", cwd=source)
    restic("forget", "--keep-last=1", "--prune")
    remount(mounted)
    restic("check", "--read-data")
    assert len(json.loads(restic("snapshots", "--json"))) == 1
    restic("restore", "latest", "--target", top / "restored")
    assert differences(describe(source), describe(top / "restored"), without=NOT_BY_RESTIC) == []


def test_duplicity_s_archives_verify_after_a_remount(mounted, work, source):
    duplicity = Duplicity(mounted.mountpoint / "archives", work / "cache")
    duplicity("full", source, duplicity.url)
    edit(source)
    duplicity("incremental", source, duplicity.url)
    remount(mounted)
    shutil.rmtree(work / "cache")  # so that all comes from the mount
    assert "0 differences found" in duplicity("verify", "--compare-data", duplicity.url, source)
    duplicity("restore", duplicity.url, work / "restored")
    assert differences(describe(source), describe(work / "restored"), without=NOT_BY_DUPLICITY) == []


def test_rsync_into_the_mount_has_nothing_left_to_do_after_a_remount(mounted, source):
    copy = mounted.mountpoint / "copy"
    backups.add_socket(source)
    rsync("--delete", f"{source}/", copy)
    edit(source)
    rsync("--delete", f"{source}/", copy)
    remount(mounted)
    assert rsync("-ni", "--delete", f"{source}/", copy) == ""
    assert backups.counters(mounted).get("READ", 0) == 0
    assert rsync("-nic", "--delete", f"{source}/", copy) == ""
    assert differences(describe(source), describe(copy)) == []


def test_tar_extracts_everything_into_the_mount_and_a_remount_keeps_it(mounted, work, source):
    where = mounted.mountpoint / "extracted"
    where.mkdir()
    run("tar", *TAR, "-cf", mounted.mountpoint / "archive.tar", ".", cwd=source)
    run("tar", *TAR, "-xpf", mounted.mountpoint / "archive.tar", cwd=where)
    remount(mounted)
    assert differences(describe(source), describe(where)) == []
    assert run("tar", *TAR, "--compare", "-f", mounted.mountpoint / "archive.tar", cwd=where) == ""


def bytes_below(top):
    total = 0
    for folder, _, files in os.walk(top):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                pass
    return total


def crash(mounted):
    mounted.kill()
    mounted.mount()


def crash_half_way(mounted, repository, argv, env, cwd):
    """Kills the daemon, then the backup, when the backup has written a part of what it was to write, and mounts again."""
    before = bytes_below(repository)
    backup = subprocess.Popen(argv, env=dict(os.environ, **env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        conftest.wait_until(lambda: backup.poll() is not None or bytes_below(repository) - before > backups.MIB << 20,
                            "the backup to begin")
        mounted.signal(signal.SIGKILL)
        assert backup.poll() is None, "the backup was over before the daemon was killed"
    finally:
        backup.kill()
        backup.wait()
    crash(mounted)


def test_borg_goes_on_after_the_daemon_was_killed_during_a_backup(mounted, work, source):
    borg = Borg(mounted.mountpoint / "repository", work / "base")
    borg.init()
    borg.create("finished", source)
    crash(mounted)  # at once: nothing but the flushes that borg asked for
    seen = describe(source)
    backups.make_bulk(source / "more", seed=3, mib=6 * backups.MIB)
    crash_half_way(mounted, borg.repository, ["borg", *borg.how_to_create("torn")], borg.env, source)
    borg("break-lock", borg.repository)
    borg("check", "--verify-data", borg.repository)
    assert "finished" in borg("list", "--short", borg.repository).split()
    borg.extract("finished", work / "extracted")
    assert differences(seen, describe(work / "extracted"), without=NOT_BY_BORG) == []
    borg.create("again", source)
    borg("check", "--verify-data", borg.repository)


def test_restic_goes_on_after_the_daemon_was_killed_during_a_backup(mounted, work, source):
    restic = Restic(mounted.mountpoint / "repository", work)
    restic("init")
    restic("backup", ".", cwd=source)
    crash(mounted)  # at once: nothing but the flushes that restic asked for
    seen = describe(source)
    backups.make_bulk(source / "more", seed=3, mib=6 * backups.MIB)
    crash_half_way(mounted, mounted.mountpoint / "repository", ["restic", "backup", "."], restic.env, source)
    restic("unlock", "--remove-all")
    restic("check", "--read-data")
    restic("restore", "latest", "--target", work / "restored")
    assert differences(seen, describe(work / "restored"), without=NOT_BY_RESTIC) == []
    restic("backup", ".", cwd=source)
    restic("prune")
    restic("check", "--read-data")
