"""The way out: the tree that was in the vault comes out of its store with the recovery key and nothing else."""
import os
import stat
import subprocess

import pytest

import trees
from conftest import small_disk


def make_tree(top):
    """Something of each kind."""
    (top / "folder" / "deeper").mkdir(parents=True)
    (top / "folder" / "text").write_text("some text\n")
    (top / "folder" / "deeper" / "random").write_bytes(os.urandom(3 << 20))
    (top / "empty").write_bytes(b"")
    os.link(top / "folder" / "text", top / "second name")
    os.symlink("folder/text", top / "link")
    os.mkfifo(top / "pipe")
    (top / "käse").write_text("a name in UTF-8")
    with open(os.fsencode(top) + b"/not \xff utf-8", "wb") as f:
        f.write(b"a name that is not")
    with open(top / "sparse", "wb") as f:
        f.seek(5 << 20)
        f.write(b"behind a hole")
        f.truncate(8 << 20)
    with open(top / "hole", "wb") as f:
        f.truncate(1 << 20)
    os.setxattr(top / "empty", "user.note", b"\x00\x01binary")
    os.chmod(top / "empty", 0o4751)
    for name in ("empty", "folder", "folder/deeper"):
        os.utime(top / name, ns=(10**18, 981173106123456789))
    os.utime(top / "link", ns=(10**18, 981173106000000001), follow_symlinks=False)


@pytest.fixture
def synced(vault, tmp_path):
    vault.store = vault.root / "store"
    vault.key = tmp_path / "key"
    vault.up("--remote", vault.store, "--recovery-key-file", vault.key)
    make_tree(vault.mountpoint)
    vault.run("sync", vault.mountpoint)
    return vault


def export(vault, *args, tmp, check=True, **kwargs):
    tmp.mkdir(exist_ok=True)
    vault.env["TMPDIR"] = str(tmp)
    done = vault.run("export", *args, "--remote", vault.store, "--recovery-key-file", vault.key, check=check, **kwargs)
    assert list(tmp.iterdir()) == [], "temporary files stay behind"
    return done


def described(top):
    """All but the inode numbers and the sizes that links have."""
    entries, links = trees.describe(top)
    return {path: (*e[:6], *e[7:]) for path, e in entries.items()}, links


def test_the_exported_folder_is_the_mounted_one(synced, tmp_path):
    before = trees.objects(synced.store)
    done = export(synced, tmp_path / "out", tmp=tmp_path / "tmp")
    assert "Exported" in done.stdout
    assert trees.compare(described(synced.mountpoint), described(tmp_path / "out")) == []
    for name in ("sparse", "hole"):
        assert (tmp_path / "out" / name).stat().st_blocks * 512 < 1 << 20
    assert (tmp_path / "out").stat().st_mtime_ns == synced.mountpoint.stat().st_mtime_ns
    assert trees.objects(synced.store) == before, "nothing is written to the store"


def test_the_vault_need_not_be_on_this_computer(synced, tmp_path):
    expected = described(synced.mountpoint)
    synced.unmount()
    synced.dir.rename(tmp_path / "gone")
    export(synced, tmp_path / "out", tmp=tmp_path / "tmp")
    assert trees.compare(expected, described(tmp_path / "out")) == []
    (tmp_path / "gone").rename(synced.dir)


def test_the_tar_stream_is_the_mounted_folder(synced, tmp_path):
    synced.env["TMPDIR"] = str(tmp_path)
    with open(tmp_path / "x.tar", "wb") as out:
        from conftest import binary
        done = subprocess.run([binary(), "export", "--tar", "--remote", synced.store, "--recovery-key-file", synced.key],
                              env=synced.env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, timeout=300)
    assert done.returncode == 0, done.stderr
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "-xpf", tmp_path / "x.tar", "-C", tmp_path / "out"], check=True)
    assert trees.compare(described(synced.mountpoint), described(tmp_path / "out")) == []
    assert (tmp_path / "out" / "sparse").stat().st_blocks * 512 < 1 << 20


def test_sockets_come_along_in_a_folder(synced, tmp_path):
    os.mknod(synced.mountpoint / "socket", stat.S_IFSOCK | 0o755)
    synced.run("sync", synced.mountpoint)
    export(synced, tmp_path / "out", tmp=tmp_path / "tmp")
    assert trees.compare(described(synced.mountpoint), described(tmp_path / "out")) == []


@pytest.mark.parametrize("tar", [False, True])
def test_a_damaged_file_is_named_and_left_out_and_all_others_are_written(synced, tmp_path, tar):
    expected = described(synced.mountpoint)
    big = (synced.mountpoint / "folder" / "deeper" / "random").read_bytes()
    (synced.mountpoint / "alone").write_bytes(os.urandom(100000))
    synced.run("sync", synced.mountpoint)
    newest = max((p for p in (synced.store / "s").rglob("*") if p.is_file()), key=lambda p: p.stat().st_mtime_ns)
    os.truncate(newest, 5000)
    if tar:
        with open(tmp_path / "x.tar", "wb") as out:
            from conftest import binary
            done = subprocess.run([binary(), "export", "--tar", "--remote", synced.store, "--recovery-key-file", synced.key],
                                  env=synced.env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True,
                                  timeout=300)
        (tmp_path / "out").mkdir()
        subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "-xpf", tmp_path / "x.tar", "-C", tmp_path / "out"], check=True)
    else:
        done = export(synced, tmp_path / "out", tmp=tmp_path / "tmp", check=False)
    assert done.returncode == 1 and '"alone" is left out' in done.stderr
    assert not (tmp_path / "out" / "alone").exists()
    assert trees.compare(expected, described(tmp_path / "out")) == []
    assert (tmp_path / "out" / "folder" / "deeper" / "random").read_bytes() == big


def test_behind_a_damaged_commit_the_state_before_it_is_exported_and_that_is_said(synced, tmp_path):
    expected = described(synced.mountpoint)
    (synced.mountpoint / "later").write_text("lost with its commit")
    synced.run("sync", synced.mountpoint)
    os.truncate(max((synced.store / "c").iterdir()), 100)
    done = export(synced, tmp_path / "out", tmp=tmp_path / "tmp", check=False)
    assert done.returncode == 1 and "this is not the newest state: commit" in done.stderr
    assert trees.compare(expected, described(tmp_path / "out")) == []


def test_an_empty_name_of_a_folder_for_temporary_files_counts_as_none(synced, tmp_path):
    synced.env["TMPDIR"] = ""
    synced.run("export", tmp_path / "out", "--remote", synced.store, "--recovery-key-file", synced.key)
    assert trees.compare(described(synced.mountpoint), described(tmp_path / "out")) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a small disk of its own")
def test_a_full_disk_is_told_and_nothing_is_said_to_be_exported(synced, tmp_path):
    disk = small_disk(tmp_path / "disk", "1M")
    try:
        done = export(synced, disk / "out", tmp=tmp_path / "tmp", check=False)
    finally:
        subprocess.run(["umount", disk], check=True)
    assert done.returncode == 1 and "the disk is full" in done.stderr
    assert "Exported" not in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a small disk of its own")
def test_a_full_disk_for_temporary_files_is_named(synced, tmp_path):
    disk = small_disk(tmp_path / "disk", "20K")
    try:
        done = export(synced, tmp_path / "out", tmp=disk, check=False)
    finally:
        subprocess.run(["umount", disk], check=True)
    assert done.returncode == 1 and f"{disk} has no room" in done.stderr and "TMPDIR" in done.stderr, done.stderr


def test_a_wrong_key_and_a_folder_with_something_in_it_are_refused(synced, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    done = export(synced, tmp_path / "full", tmp=tmp_path / "tmp", check=False)
    assert done.returncode == 1 and "not an empty folder" in done.stderr
    synced.key.write_text("000G-40R4-0M30-E209-185G-R38E-1WEC\n")
    done = export(synced, tmp_path / "out", tmp=tmp_path / "tmp", check=False)
    assert done.returncode == 1 and "recovery key" in done.stderr and not (tmp_path / "out").exists()
