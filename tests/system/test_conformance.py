"""The conformance suite (tests/conformance) first on an ordinary disk, which proves the suite, and then in a vault.

What a FUSE file system cannot do is in tests/conformance/limits.py, and in the manual page with the same words.
"""
import errno
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys

import pytest

import conftest
import posixlib
from posixlib import BOB, needs_mount_namespace, needs_root

TOP = pathlib.Path(__file__).resolve().parents[2]
SUITE = TOP / "tests" / "conformance"

NOBODY = 65534  # fusermount3 wants somebody who has a name

sys.path.insert(0, str(SUITE))
from limits import LIMITS, limit_of  # noqa: E402  pylint: disable=wrong-import-position


def run_suite(folder, out):
    """A process of its own: it changes users and limits.  Returns [(case, check, ok, got)]."""
    done = subprocess.run(["/usr/bin/python3", "-B", str(SUITE / "run"), "--json", str(out), str(folder)], capture_output=True,
                          text=True, timeout=600, check=False)
    assert out.exists(), done.stdout + done.stderr
    return [tuple(result) for result in json.loads(out.read_text())]


def failures(results):
    return [(case, check, got) for case, check, ok, got in results if not ok]


@pytest.fixture(scope="module")
def ext4_folder():
    """A folder on ext4: that of temporary files, or else an image of its own."""
    root = pathlib.Path(conftest.new_root())
    kind = subprocess.run(["stat", "-f", "-c", "%T", root], check=True, capture_output=True, text=True).stdout.strip()
    if kind == "ext2/ext3":
        yield root
        shutil.rmtree(root)
        return
    if not shutil.which("mkfs.ext4"):
        pytest.skip(f"temporary files are on {kind}, not ext4, and there is no mkfs.ext4 to make one")
    (root / "ext4").mkdir()
    with open(root / "image", "wb") as f:
        f.truncate(300 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "4096", str(root / "image")], check=True)
    if subprocess.run(["mount", "-o", "loop", str(root / "image"), str(root / "ext4")], check=False).returncode != 0:
        shutil.rmtree(root)
        pytest.skip(f"temporary files are on {kind}, not ext4, and no image can be mounted")
    yield root / "ext4"
    subprocess.run(["umount", str(root / "ext4")], check=True)
    shutil.rmtree(root)


@needs_root
def test_the_suite_passes_on_ext4(ext4_folder, tmp_path):
    results = run_suite(ext4_folder, tmp_path / "results")
    assert len(results) > 5000
    assert failures(results) == []


@needs_root
def test_a_vault_passes_all_but_the_known_limits(mnt, tmp_path):
    results = run_suite(mnt, tmp_path / "results")
    assert len(results) > 5000
    assert [f for f in failures(results) if not limit_of(*f[:2])] == []


@needs_mount_namespace
def test_an_ordinary_user_mounts_for_himself_alone(vault):
    """In a mount namespace of its own, with a /dev/fuse that everybody may use, as distributions have it."""
    for folder in (vault.root, vault.mountpoint, vault.root / "home"):
        shutil.chown(folder, NOBODY, NOBODY)

    def in_own_namespace():
        assert posixlib.libc.unshare(posixlib.CLONE_NEWNS) == 0
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        os.mknod(vault.root / "fuse", stat.S_IFCHR | 0o666, os.makedev(10, 229))
        os.chmod(vault.root / "fuse", 0o666)
        subprocess.run(["mount", "--bind", vault.root / "fuse", "/dev/fuse"], check=True)
        posixlib.as_user(NOBODY, lambda: vault.run("up", vault.mountpoint, "--vault", vault.dir, "--no-passphrase"))
        posixlib.as_user(NOBODY, lambda: works_for_the_owner(vault.mountpoint))
        posixlib.as_user(BOB, lambda: is_kept_out(vault.mountpoint))
        is_kept_out(vault.mountpoint)
        posixlib.as_user(NOBODY, lambda: vault.unmount())

    posixlib.in_child(in_own_namespace)


def works_for_the_owner(folder):
    os.chdir(folder)
    os.mkdir("d", 0o700)
    posixlib.write_file("d/f", b"data")
    os.chmod("d/f", 0o600)
    os.chown("d/f", NOBODY, NOBODY)
    with posixlib.refused(errno.EPERM):
        os.chown("d/f", BOB, BOB)
    os.rename("d/f", "d/g")
    assert (os.stat("d/g").st_uid, stat.S_IMODE(os.stat("d").st_mode)) == (NOBODY, 0o700)
    os.chmod("d", 0o500)
    with posixlib.refused(errno.EACCES):
        os.unlink("d/g")
    os.chmod("d", 0o700)
    os.unlink("d/g")
    os.rmdir("d")


def is_kept_out(folder):
    with posixlib.refused(errno.EACCES):
        os.listdir(folder)


def test_the_manual_page_names_every_limit():
    page = " ".join(re.sub(r"^\.\w+ ?", "", line) for line in (TOP / "man" / "snugfs.1").read_text().splitlines())
    section = page[page.index("LIMITS"):page.index("SEE ALSO")]
    assert [words for _, _, words, _ in LIMITS if words not in section] == []


def test_every_limit_is_of_a_case_that_there_is():
    source = "".join(path.read_text() for path in SUITE.glob("cases_*.py"))
    assert [case for case, _, _, _ in LIMITS if f"def {case}(" not in source] == []


@pytest.mark.parametrize("case,check", [("unlink_removes_every_type_but_folders", "unlink('d') is EISDIR"),
                                        ("truncate_moves_times_even_to_the_same_size", "ftruncate(4, 5) moves of f: cm")])
def test_a_failure_that_is_no_limit_is_not_excused(case, check):
    assert limit_of(case, check) is None
