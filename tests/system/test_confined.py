"""Old systems and containers refuse system calls.  What can be done without them is done, and what cannot is told in one sentence."""
import json
import os
import pathlib

import pytest

from accounts import Cli, one_sentence
from conftest import binary, new_root, wait_until
from posixlib import needs_root
from test_dead_daemon import can_be_aborted, watches_of

pytestmark = needs_root  # fusermount3 gives nobody rights who is confined

ERRORS = ["ENOSYS", "EPERM"]
NEWER = ["close_range", "copy_file_range", "faccessat2", "fallocate", "fsopen", "madvise", "membarrier", "mlock", "mlock2", "mremap",
         "pidfd_open", "preadv2", "renameat2", "rseq", "setsid", "socketpair", "splice", "statx", "unshare"]
# What another may stand in for, if that is there.
INSTEAD = ["linkat", "pidfd_send_signal"]


class Confined(Cli):
    def confine(self, error, calls):
        self.program = [pathlib.Path(os.environ["SNUGFS_BUILD"], "tests", "system", "confine"), error, *calls, "--", binary()]
        if self.run("--version").returncode == 77:
            pytest.skip("no system call can be refused here")


@pytest.fixture
def cli():
    c = Confined(new_root())
    yield c
    c.clean_up()


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("calls", [NEWER, INSTEAD], ids=["newer", "instead"])
def test_a_folder_works_without_what_a_system_may_refuse(cli, error, calls):
    cli.confine(error, calls)
    content = os.urandom(3 << 20)
    key = cli.home / "key"
    cli.up("--remote", f"dir:{cli.store}", "--recovery-key-file", key)
    for name in ("film", "garbage"):
        (cli.mp / name).write_bytes(content)
    cli.ok("sync", cli.mp)
    (cli.mp / "garbage").unlink()
    with open(cli.mp / "note", "wb") as f:
        f.write(b"flushed, ")
        os.fsync(f.fileno())
        f.write(b"and in the kernel's memory only")
        f.flush()
        cli.fails("lock", cli.mp, saying="is in use")
        cli.ok("lock", cli.mp, "--force")
        assert cli.mounts() == [] and cli.daemons() == []
    cli.ok("export-pending", cli.home / "copy", cli.mp, "--no-passphrase")
    assert (cli.home / "copy" / "note").read_bytes() == b"flushed, and in the kernel's memory only"
    cli.ok("mount", cli.mp)
    cli.ok("sync", cli.mp)
    cli.ok("gc", cli.mp, "--keep", "0", "--now")
    assert json.loads(cli.ok("verify", cli.mp, "--json").stdout)["findings"] == []
    cli.ok("free", cli.mp)
    assert (cli.mp / "film").read_bytes() == content
    cli.ok("unmount", cli.mp)
    second = cli.home / "Second"
    cli.ok("join", second, "--no-passphrase", "--remote", f"dir:{cli.store}", "--recovery-key-file", key, "--device-name", "second")
    cli.ok("mount", second)
    assert (second / "film").read_bytes() == content
    cli.ok("mount", cli.mp)
    (cli.mp / "film").write_bytes(b"another, and shorter")
    cli.ok("sync", cli.mp)
    cli.ok("sync", second)
    assert (second / "film").read_bytes() == b"another, and shorter"  # the kernel had it otherwise
    cli.ok("unmount", cli.mp)
    cli.ok("unmount", second)


@pytest.mark.parametrize("error", ERRORS)
def test_a_process_watches_the_daemon_where_a_mount_s_device_can_only_be_read_in_the_table(cli, error):
    cli.confine(error, ["statx"])
    cli.up()
    if not can_be_aborted(cli.mp):
        pytest.skip("fusectl can't be reached here")
    pid, = cli.daemons()
    wait_until(lambda: watches_of(pid), "the process that watches")
    cli.ok("unmount", cli.mp)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call, saying", [("prctl", "kept out of core dumps"), ("prlimit64", "kept out of core dumps"),
                                          ("flock", "no vault could be made"), ("eventfd2", "the thread that locks the folder")])
def test_what_cannot_be_done_without_is_told(cli, error, call, saying):
    cli.confine(error, [call])
    cli.fails("up", cli.mp, "--no-passphrase", saying=saying)
    assert cli.mounts() == [] and cli.daemons() == []


@pytest.mark.parametrize("call, saying", [("getrandom", "random numbers"), ("clone3", "starts no thread")])
def test_what_is_refused_is_not_taken_for_a_fault_of_the_store(cli, call, saying):
    cli.confine("EPERM", [call])
    done = cli.run("up", cli.mp, "--no-passphrase", "--remote", f"dir:{cli.store}")
    if done.returncode == 0:
        pytest.skip(f"nothing here calls {call}")
    one_sentence(done, saying)
    assert cli.mounts() == [] and cli.daemons() == []


def test_where_a_thread_cannot_have_a_working_directory_who_copies_out_is_told_to_unmount(cli):
    cli.confine("EPERM", ["unshare"])
    cli.up("--remote", f"dir:{cli.store}")
    (cli.mp / "note").write_text("kept")
    cli.fails("export-pending", cli.home / "copy", cli.mp, saying=["unmount it"])
    cli.ok("unmount", cli.mp)
    cli.ok("export-pending", cli.home / "copy", cli.mp, "--no-passphrase")
    assert (cli.home / "copy" / "note").read_text() == "kept"
