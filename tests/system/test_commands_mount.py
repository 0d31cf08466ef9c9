"""Where a folder may be mounted, by whom and with what, and what mounts it again after a crash."""
import os
import pathlib
import pwd
import select
import shutil
import subprocess

import pytest

from accounts import TIMEOUT, cli, made, needs_root, one_sentence  # noqa: F401: fixtures
from conftest import binary
from posixlib import needs_mount_namespace

# Mount points.

def test_a_mount_point_that_is_not_empty_is_refused(cli):
    cli.mp.mkdir()
    (cli.mp / "mine").write_text("x")
    cli.fails("up", cli.mp, "--no-passphrase", saying=[str(cli.mp), "not empty"])
    assert not cli.vault_dir().exists() and (cli.mp / "mine").read_text() == "x"


def test_a_mount_point_that_is_missing_or_a_file_is_refused(made):
    made.mp.rmdir()
    made.fails("mount", made.mp, saying=[str(made.mp), "does not exist"])
    made.mp.write_text("x")
    made.fails("mount", made.mp, saying=[str(made.mp), "not a folder"])
    made.fails("up", made.mp, saying=[str(made.mp), "not a folder"])


def test_a_folder_that_cannot_be_made_is_refused_and_why_is_said(cli):
    cli.fails("up", "/proc/some/folder", "--no-passphrase", saying=["/proc is in a file system that takes no new folders"])
    (cli.root / "link").symlink_to(cli.root / "nothing")
    cli.fails("up", cli.root / "link" / "folder", "--no-passphrase", saying=[f"{cli.root}/link is a link that leads nowhere"])


def test_a_mounted_mount_point_is_not_mounted_again(made):
    made.ok("mount", made.mp)
    made.fails("mount", made.mp, saying=[str(made.mp), "mounted already"])
    made.fails("mount", made.home / "second", "--vault", made.vault_dir(), saying="does not exist")
    (made.home / "second").mkdir()
    made.fails("mount", made.home / "second", "--vault", made.vault_dir(), saying="in use")


@needs_root
def test_a_mount_point_of_another_file_system_is_refused(made):
    made.small_disk(made.mp, "64k")
    made.fails("mount", made.mp, saying=[str(made.mp), "another file system"])
    made.fails("unmount", made.mp, saying="not snugfs")


def test_mount_point_vault_and_store_must_be_apart(cli):
    cli.fails("up", cli.mp, "--no-passphrase", "--vault", cli.mp / "v", saying="apart")
    cli.fails("up", cli.mp, "--no-passphrase", "--remote", cli.mp / "s", saying="apart")
    cli.fails("up", cli.home / "v" / "mp", "--no-passphrase", "--vault", cli.home / "v", saying="apart")
    cli.fails("up", cli.mp, "--no-passphrase", "--vault", cli.root / "v", "--remote", cli.root / "v/s", saying="apart")
    assert not cli.mp.exists()


def test_commands_for_a_folder_without_a_vault_say_how_to_make_one(cli):
    for command in ("mount", "sync", "status"):
        cli.fails(command, cli.mp, saying=[str(cli.mp), "snugfs up"])
    cli.fails("unmount", cli.mp, saying="not mounted")
    cli.fails("init", cli.root / "no/such/folder/at/all", saying="passphrase")


def test_a_path_inside_the_folder_is_not_taken_for_one_that_is_to_be_made(made):
    for mounted in (False, True):
        if mounted:
            made.ok("mount", made.mp)
            (made.mp / "letters").mkdir()
        for command in ("status", "sync", "mount"):
            done = made.fails(command, made.mp / "letters", saying=["in one", f"name that, {made.mp}."])
            assert "snugfs up" not in done.stderr


def test_a_folder_whose_vault_is_gone_is_not_advised_for_a_path_inside_it(made):
    shutil.rmtree(made.vault_dir())
    done = made.fails("sync", made.mp / "letters", saying="snugfs up")
    assert "in one" not in done.stderr


def test_init_does_not_touch_a_vault_that_is_there(made):
    made.fails("init", made.mp, "--no-passphrase", saying="already")
    made.ok("mount", made.mp)


def test_a_busy_folder_is_not_unmounted_and_who_uses_it_is_named(made):
    made.ok("mount", made.mp)
    with subprocess.Popen(["sleep", "1000"], cwd=made.mp) as sleeper:
        done = made.fails("unmount", made.mp, saying=["in use", f"sleep ({sleeper.pid})"])
        sleeper.kill()
    assert os.path.ismount(made.mp) and "umount -l" in done.stderr
    made.ok("unmount", made.mp)


# Without privileges, without /dev/fuse.

# For shell scripts: the process ids of the daemons of a mount point.
DAEMONS = """daemons() {
    for p in /proc/[0-9]*; do
        [ "$(readlink $p/exe)" = "$(readlink -f %s)" ] && grep -qaF "$1" $p/cmdline && echo ${p#/proc/} || true
    done
}
"""


def in_namespace(cli, script):
    """A shell script in a mount namespace of its own, with a /dev made anew."""
    nodes = "\n".join(f"mknod -m 666 {cli.root}/dev/{name} c {number}" for name, number in
                      (("null", "1 3"), ("zero", "1 5"), ("random", "1 8"), ("urandom", "1 9"), ("tty", "5 0")))
    text = f"""set -e
{DAEMONS % binary()}
mkdir -p {cli.root}/dev
mount -t tmpfs none {cli.root}/dev
{nodes}
{script}"""
    return subprocess.run(["unshare", "-m", "sh", "-c", text], env=cli.env, capture_output=True, text=True, timeout=TIMEOUT,
                          stdin=subprocess.DEVNULL)


@needs_mount_namespace
def test_without_dev_fuse_a_sentence_says_so(made):
    one_sentence(in_namespace(made, f"mount --move {made.root}/dev /dev; {binary()} mount {made.mp}"), "/dev/fuse")


@needs_mount_namespace
def test_without_permission_for_dev_fuse_a_sentence_says_so(cli):
    shutil.chown(cli.home, "nobody")
    done = in_namespace(cli, f"mknod -m 600 {cli.root}/dev/fuse c 10 229; mount --move {cli.root}/dev /dev\n"
                             f"setpriv --reuid nobody --clear-groups {binary()} up {cli.mp} --no-passphrase")
    one_sentence(done, ["/dev/fuse", "permission"])


@needs_mount_namespace
def test_a_folder_of_somebody_else_is_refused(cli):
    done = in_namespace(cli, f"setpriv --reuid nobody --clear-groups {binary()} init {cli.mp} --no-passphrase "
                             f"--vault {cli.root}/v")
    one_sentence(done, "permission")


@needs_mount_namespace
def test_an_ordinary_user_needs_nothing_but_fusermount3(cli):
    shutil.chown(cli.home, "nobody")
    snugfs = f"setpriv --reuid nobody --clear-groups {binary()}"
    done = in_namespace(cli, f"""mknod -m 666 {cli.root}/dev/fuse c 10 229; mount --move {cli.root}/dev /dev
{snugfs} up {cli.mp} --no-passphrase --remote {cli.home}/store
setpriv --reuid nobody --clear-groups sh -c 'echo hello > {cli.mp}/file'
{snugfs} status {cli.mp}
{snugfs} unmount {cli.mp} --wait
{snugfs} mount {cli.mp}
setpriv --reuid nobody --clear-groups cat {cli.mp}/file
kill -9 $(daemons {cli.mp})
while [ -n "$(daemons {cli.mp})" ]; do sleep 0.1; done
{snugfs} mount {cli.mp}
setpriv --reuid nobody --clear-groups cat {cli.mp}/file
{snugfs} unmount {cli.mp}
""")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("hello\n") == 2


# Crashes of the daemon.

def test_mount_clears_away_the_mount_of_a_daemon_that_was_killed(made):
    made.ok("mount", made.mp)
    with open(made.mp / "file", "w", encoding="utf-8") as f:
        f.write("hello")
        f.flush()
        os.fsync(f.fileno())
    made.kill()
    with pytest.raises(OSError):
        os.listdir(made.mp)
    report = made.status()
    assert not report["mounted"] and "unexpectedly" in report["problem"]["text"]
    made.ok("mount", made.mp)
    assert (made.mp / "file").read_text() == "hello"


def test_a_folder_can_be_mounted_again_at_once_after_umount(made):
    for number in range(3):
        made.ok("mount", made.mp)
        (made.mp / str(number)).write_bytes(os.urandom(1 << 20))
        tool = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
        subprocess.run([*tool, made.mp], check=True, timeout=TIMEOUT)
    made.ok("mount", made.mp)
    assert sorted(os.listdir(made.mp)) == ["0", "1", "2"]


def test_unmount_takes_off_the_mount_of_a_daemon_that_was_killed(made):
    made.ok("mount", made.mp)
    made.kill()
    made.ok("unmount", made.mp)
    assert not os.path.ismount(made.mp)
    made.up()


# mount(8) and fstab.

@needs_mount_namespace
@pytest.mark.parametrize("kind", ["fuse.snugfs", "snugfs"])
def test_mount_and_fstab_work_through_the_helpers(made, kind):
    sbin = made.root / "sbin"
    sbin.mkdir()
    (sbin / f"mount.{kind}").symlink_to(binary())
    fstab = made.root / "fstab"
    fstab.write_text(f"{made.vault_dir()} {made.mp} {kind} noauto,nosuid,no_passphrase 0 0\n")
    config = pathlib.Path(pwd.getpwuid(0).pw_dir, ".config")  # mount(8) gives its helpers root's own home
    done = subprocess.run(["unshare", "-m", "sh", "-ec", f"""
mkdir -p {config}
mount -t tmpfs none {config}
mount -t overlay overlay -o lowerdir={sbin}:/usr/sbin /usr/sbin
mount --bind {fstab} /etc/fstab
mount -t {kind} {made.vault_dir()} {made.mp} -o no_passphrase,noexec
echo hello > {made.mp}/file
grep {made.mp} /proc/self/mounts
umount {made.mp}
mount {made.mp}
cat {made.mp}/file
grep {made.mp} /proc/self/mounts
{binary()} unmount {made.mp}
"""], env=made.env, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hello" in done.stdout and "fuse.snugfs" in done.stdout and "noexec" in done.stdout


@needs_root
def test_mount_works_through_the_helper_of_fuse_alone(made):
    env = dict(made.env, PATH=f"{os.path.dirname(binary())}:{os.environ['PATH']}")
    helper = shutil.which("mount.fuse3", path="/sbin:/usr/sbin:/bin")
    if helper is None:
        pytest.skip("mount.fuse3 is not installed")
    subprocess.run([helper, made.vault_dir(), made.mp, "-t", "fuse.snugfs", "-o", "rw,no_passphrase"], env=env, check=True,
                   timeout=TIMEOUT, stdin=subprocess.DEVNULL)
    assert os.path.ismount(made.mp)


def test_that_too_few_files_may_be_open_is_told(cli):
    done = subprocess.run(["sh", "-c", f'ulimit -n 12; exec "{binary()}" up "{cli.mp}" --no-passphrase'], env=cli.env, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 1 and "ulimit -n" in done.stderr and len(done.stderr.splitlines()) == 1


def test_what_the_caller_has_open_under_a_high_number_is_let_go_of(made):
    ours, theirs = os.pipe()
    try:
        os.dup2(theirs, 300)
        os.close(theirs)
        made.ok("mount", made.mp, pass_fds=[300])
        os.close(300)
        assert select.select([ours], [], [], TIMEOUT)[0] and os.read(ours, 1) == b""
    finally:
        os.close(ours)
