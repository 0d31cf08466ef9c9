"""What exists goes under keys that a removed device does not have: through the daemon, without one, and killed in the middle."""
import pathlib
import random
import subprocess

import conftest
import trees
from test_crash_daemon import die
from test_devices import device, party, status  # noqa: F401  pylint: disable=unused-import
from test_gc import assert_clean, assert_same, freed, gc, segments

MIB = 1 << 20


def content(seed, size):
    return random.Random(seed).randbytes(size)


def make_content(folder, size):
    folder = folder / "things"
    folder.mkdir()
    for k in range(10):
        (folder / f"text {k}").write_text(f"line {k}\n" * (k * 3000 + 1))
    (folder / "large").write_bytes(content(1, size))
    with open(folder / "large", "r+b") as f:
        f.seek(size // 2)
        f.write(b"written over")
    (folder / "empty").write_bytes(b"")
    (folder / "link").symlink_to("large")


def rekey(vault, *args):
    return vault.run("rekey", vault.mountpoint, *args, "--vault", vault.dir).stdout


def read_by_others(party, vault):  # noqa: F811
    out = party.root / "out"
    out.mkdir()
    tests = pathlib.Path(__file__).resolve().parents[1]
    subprocess.run(["/usr/bin/python3", "-B", "-m", "reader", party.store, party.paper, "write", out], cwd=tests, check=True)
    for path in (vault.mountpoint / "things").iterdir():
        assert path.is_symlink() or path.read_bytes() == (out / "things" / path.name).read_bytes(), path


def is_settled(vault):
    return status(vault)["rekey"] is None


def test_after_a_removal_all_content_is_under_new_keys_and_nobody_sees_a_change(party):  # noqa: F811
    alpha = party.first()
    make_content(alpha.mountpoint, 3 * MIB)
    party.sync(alpha)
    beta, gamma = party.join(), party.join("gamma")
    party.sync(alpha)
    before, tree = segments(party), trees.describe(alpha.mountpoint)
    said = device(alpha, "remove", "gamma", "--yes", "--rekey").stdout
    assert "keys to" in said and str(party.store) in said and "in the background" in said
    beta.run("pause", beta.mountpoint)
    (beta.mountpoint / "things" / "text 3").write_text("edited elsewhere")
    assert "only today's devices" in rekey(alpha)
    conftest.wait_until(lambda: is_settled(alpha), "the end")
    assert trees.compare(tree, trees.describe(alpha.mountpoint)) == []
    beta.run("resume", beta.mountpoint)
    party.sync(beta, alpha)
    assert (alpha.mountpoint / "things" / "text 3").read_text() == "edited elsewhere"
    assert_same(alpha, beta)
    assert not any("conflict" in m for m in status(alpha)["messages"] + status(beta)["messages"])
    assert any("only today's devices" in m for m in status(alpha)["messages"])
    for vault in (alpha, beta):
        assert_clean(vault)
    assert before & segments(party), "history needs it"
    assert freed(gc(alpha, "--keep", "0"))["dead"] >= 1
    assert not before & segments(party)
    party.sync(beta)
    assert_same(alpha, beta)
    read_by_others(party, alpha)
    delta = party.join("delta")
    assert_same(alpha, delta)
    done = gamma.run("sync", gamma.mountpoint, "--vault", gamma.dir, check=False)
    assert "has been removed from the vault" in done.stderr
    assert "nothing to do" in rekey(beta)


def test_killed_in_the_middle_it_goes_on_by_itself(party):  # noqa: F811
    alpha = party.first()
    make_content(alpha.mountpoint, 40 * MIB)
    party.sync(alpha)
    beta, gamma = party.join(), party.join("gamma")
    assert gamma
    alpha.run("limit", alpha.mountpoint, "--up", "1M")
    before = segments(party)
    device(alpha, "remove", "gamma", "--yes", "--rekey")
    conftest.wait_until(lambda: segments(party) > before, "the first new segment, long before the last one")
    die(alpha)
    after = segments(party)
    alpha.mount("--up-limit", "10K")  # or it might be through before it is looked at
    assert status(alpha)["rekey"] is not None
    alpha.run("limit", alpha.mountpoint, "--up", "none")
    conftest.wait_until(lambda: is_settled(alpha), "the end")
    assert segments(party) > after
    party.sync(alpha, beta)
    assert_same(alpha, beta)
    assert (beta.mountpoint / "things" / "large").read_bytes()[:1000] == content(1, 1000)
    assert freed(gc(alpha, "--keep", "0", "--now"))["dead"] >= 1
    assert not before & segments(party)
    assert_clean(alpha)
    assert_same(alpha, beta)


def test_without_a_mount_it_is_done_at_once_and_what_is_in_the_store_alone_does_not_stay_here(party):  # noqa: F811
    alpha = party.first()
    make_content(alpha.mountpoint, 20 * MIB)
    party.sync(alpha)
    beta, gamma = party.join(), party.join("gamma")
    assert gamma
    beta.unmount()
    before = segments(party)
    done = beta.run("device", "remove", beta.mountpoint, "gamma", "--yes", "--rekey", "--vault", beta.dir, "--no-passphrase")
    assert "only today's devices" in done.stdout and "gc --keep 0" in done.stdout
    assert not any(path.stat().st_blocks * 512 > 2 * MIB for path in (beta.dir / "segments").iterdir())
    party.sync(alpha)
    gc(alpha, "--keep", "0", "--now")
    assert not before & segments(party)
    beta.mount()
    assert_same(alpha, beta)
    assert_clean(beta)


def test_it_is_begun_shown_and_given_up(party):  # noqa: F811
    alpha = party.first()
    make_content(alpha.mountpoint, 12 * MIB)
    party.sync(alpha)
    gamma = party.join("gamma")
    assert gamma
    alpha.run("limit", alpha.mountpoint, "--up", "300K")
    device(alpha, "remove", "gamma", "--yes")
    assert "in the background" in rekey(alpha, "--background")
    conftest.wait_until(lambda: (status(alpha)["rekey"] or {}).get("total", 0) > 12 * MIB, "the count")
    shown = alpha.run("status", alpha.mountpoint, "--vault", alpha.dir).stdout
    assert "sealed anew: " in shown
    assert "stays so" in rekey(alpha, "--stop")
    assert status(alpha)["rekey"] is None
    done = alpha.run("rekey", alpha.mountpoint, "--stop", "--background", check=False)
    assert done.returncode == 2 and "--background" in done.stderr
