"""Two builds in different directories, at different times, in different surroundings are the same, bit by bit: so anybody can
check that the program they run is the one that everybody runs.
"""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILT_FROM = ["crypto", "remote", "fs", "man", "meson.build", "meson_options.txt"]


def build(top, when, **surroundings):
    """SHA-256 of the program that README.md's way to check it makes in a copy of the source."""
    top.mkdir(parents=True)
    for name in BUILT_FROM:
        copy = shutil.copytree if (TOP / name).is_dir() else shutil.copy
        copy(TOP / name, top / name)
    for path in top.rglob("*"):
        os.utime(path, (when, when))
    env = dict(os.environ, CCACHE_DISABLE="1", CC="gcc", **surroundings)
    for command in release_commands():
        done = subprocess.run(command, cwd=top, env=env, capture_output=True, text=True, timeout=1200, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    program = (top / "build-release/fs/cmd/snugfs").read_bytes()
    assert str(top).encode() not in program, "where it was built"
    return hashlib.sha256(program).hexdigest()


def release_commands():
    """As README.md says them."""
    text = (TOP / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    ((?:meson setup|ninja -C) build-release.*)$", text, re.MULTILINE)
    assert len(commands) == 2 and "sha256sum build-release/fs/cmd/snugfs" in text
    return [command.split() for command in commands]


def test_two_builds_are_the_same_bit_by_bit(tmp_path):
    first = build(tmp_path / "a", 1000000000, TZ="UTC", LC_ALL="C")
    second = build(tmp_path / "another-directory/with a longer name", 1700000000, TZ="Asia/Tokyo", LC_ALL="C.UTF-8", USER="somebody",
                   SOURCE_DATE_EPOCH="1")
    assert first == second
