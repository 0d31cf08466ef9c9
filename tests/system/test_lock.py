"""snugfs lock: the folder is closed, its daemon and so its keys are gone, and nothing that was written is lost."""
import contextlib
import os
import subprocess

import pytest

from conftest import new_root
from test_commands import Cli


@pytest.fixture
def cli():
    c = Cli(new_root())
    yield c
    c.clean_up()


def test_lock_closes_the_folder_and_ends_its_daemon(cli):
    cli.up()
    (cli.mp / "a").write_text("kept")
    assert "is locked" in cli.ok("lock", cli.mp).stdout
    assert cli.mounts() == [] and cli.daemons() == []
    assert "is not open" in cli.ok("lock", cli.mp).stdout
    cli.ok("mount", cli.mp)
    assert (cli.mp / "a").read_text() == "kept"


def test_lock_says_who_has_files_open_and_leaves_it_to_them_unless_forced(cli):
    cli.up()
    fd = os.open(cli.mp / "a", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"in the kernel's memory only")
    cli.fails("lock", cli.mp, saying=["is in use", "--force"])
    assert (cli.mp / "a").exists()
    cli.ok("lock", cli.mp, "--force")
    assert cli.mounts() == [] and cli.daemons() == []
    with pytest.raises(OSError):
        os.write(fd, b"too late")
        os.fsync(fd)
    with contextlib.suppress(OSError):
        os.close(fd)
    cli.ok("mount", cli.mp)
    assert (cli.mp / "a").read_text() == "in the kernel's memory only"


def test_lock_all_closes_every_folder_also_if_one_resists(cli):
    cli.up()
    second = cli.home / "Second"
    cli.ok("up", second, "--no-passphrase")
    holder = subprocess.Popen(["sleep", "600"], cwd=cli.mp)
    try:
        cli.fails("lock", "--all", saying="sleep")
        assert cli.mounts() == [str(cli.mp)]
    finally:
        holder.kill()
        holder.wait()
    cli.ok("lock", "--all")
    assert cli.mounts() == [] and cli.daemons() == []
    assert cli.run("lock", cli.mp, "--all").returncode == 2
