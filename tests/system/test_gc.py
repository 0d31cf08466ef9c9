"""Garbage in the store: what nobody needs goes, through the daemon of a mounted folder, and nothing else does, whenever it is
killed.

$CRASH_SEED asks for other moments.
"""
import json
import os
import random
import threading
import time

import conftest
import crashers
import trees
from test_crash_daemon import die
from test_main_job import asked as computers  # pylint: disable=unused-import

KILLS = 12
SEED = int(os.environ.get("CRASH_SEED", "1"))
MIB = 1 << 20


def content(seed, size):
    return random.Random(seed).randbytes(size)


def gc(vault, *args):
    return json.loads(vault.run("gc", vault.mountpoint, "--vault", vault.dir, "--json", *args).stdout)


def freed(answer):
    return {kind: count["objects"] for kind, count in answer["freed"].items() if count["objects"]}


def segments(computers):
    return {name for name in trees.objects(computers.store) if name.startswith("s/")}


def assert_clean(vault):
    answer = json.loads(vault.run("verify", vault.mountpoint, "--vault", vault.dir, "--no-passphrase", "--json").stdout)
    assert answer["findings"] == []


def make_garbage(folder, seed):
    """To be called twice with a sync in between: all but one of the files in a segment go."""
    for k in range(8):
        path = folder / f"file {seed} {k}"
        if path.exists() and k != 5:
            path.unlink()
        elif not path.exists():
            path.write_bytes(content(100 * seed + k, 200000))
    (folder / "stays").write_bytes(content(seed, 50000))


def assert_same(a, b):
    assert trees.compare(trees.describe(a.mountpoint), trees.describe(b.mountpoint)) == []


def test_what_was_deleted_leaves_the_store_and_all_else_is_readable_here_and_elsewhere(computers):
    alpha = computers.first()
    for name, size in (("goes", 5 * MIB), ("stays", 3 * MIB)):
        (alpha.mountpoint / name).write_bytes(content(size, size))
        computers.sync(alpha)
    for k in range(20):
        (alpha.mountpoint / f"small {k}").write_bytes(content(k, 100000))
    computers.sync(alpha)
    beta = computers.join()
    before = segments(computers)
    (alpha.mountpoint / "goes").unlink()
    for k in range(18):
        (alpha.mountpoint / f"small {k}").unlink()
    computers.sync(alpha)
    assert freed(gc(alpha)) == {}
    assert segments(computers) == before
    answer = gc(alpha, "--keep", "0")
    assert freed(answer) == {"dead": 2} and answer["moved"]["objects"] == 1
    assert answer["freed"]["dead"]["bytes"] > 5 * MIB + 20 * 100000
    assert len(before & segments(computers)) == 1 and len(segments(computers)) == 2
    computers.sync(beta)
    gamma = computers.join("gamma")
    for vault in (alpha, beta, gamma):
        assert sorted(os.listdir(vault.mountpoint)) == ["small 18", "small 19", "stays"]
        assert (vault.mountpoint / "stays").read_bytes() == content(3 * MIB, 3 * MIB)
        for k in (18, 19):
            assert (vault.mountpoint / f"small {k}").read_bytes() == content(k, 100000)
        assert_clean(vault)
    assert freed(gc(beta, "--keep", "0", "--now")) == {}


def test_a_dry_run_changes_nothing_and_can_not_be_told_to(computers):
    alpha = computers.first()
    (alpha.mountpoint / "goes").write_bytes(content(1, MIB))
    computers.sync(alpha)
    (alpha.mountpoint / "goes").unlink()
    computers.sync(alpha)
    before = trees.objects(computers.store)
    done = alpha.run("gc", alpha.mountpoint, "--keep", "0", "--save", "--dry-run", check=False)
    assert done.returncode == 2 and "--dry-run" in done.stderr and "--save" in done.stderr
    answer = gc(alpha, "--dry-run", "--keep", "0")
    assert answer["dry_run"] and freed(answer) == {"dead": 1}
    assert trees.objects(computers.store) == before
    assert gc(alpha, "--dry-run")["keep_seconds"] == 30 * 86400
    assert freed(gc(alpha, "--keep", "0")) == {"dead": 1}
    assert segments(computers) == set()


def test_what_a_push_that_crashed_has_left_goes_when_asked_and_the_push_is_repeated(computers):
    alpha = computers.first()
    (alpha.mountpoint / "file").write_text("text")
    computers.sync(alpha)
    beta = computers.join()
    before = segments(computers)
    data = content(1, 40 * MIB)
    alpha.run("limit", alpha.mountpoint, "--up", "3M")
    (alpha.mountpoint / "large").write_bytes(data)
    syncing = alpha.start("sync", alpha.mountpoint)
    conftest.wait_until(lambda: segments(computers) > before, "the first segment, long before the last one")
    die(alpha)
    syncing.wait(300)
    left = segments(computers) - before
    answer = gc(beta, "--keep", "0")
    assert answer["kept"]["waiting"]["objects"] == len(left) and freed(answer) == {}
    assert segments(computers) == before | left
    assert freed(gc(beta, "--keep", "0", "--now")) == {"orphans": len(left)}
    assert segments(computers) == before
    alpha.mount()
    alpha.run("limit", alpha.mountpoint, "--up", "none")
    computers.sync(alpha, beta)
    assert (beta.mountpoint / "large").read_bytes() == data
    assert freed(gc(beta, "--keep", "0", "--now")) == {}
    assert_clean(beta)


def test_what_was_collected_elsewhere_is_read_where_it_is_now_also_before_the_next_pull(computers):
    alpha = computers.first()
    (alpha.mountpoint / "rewritten").write_bytes(content(1, 3 * MIB))
    computers.sync(alpha)
    for name, size in (("kept", 100000), ("goes", 900000)):
        (alpha.mountpoint / name).write_bytes(content(size, size))
    computers.sync(alpha)
    beta = computers.join()
    beta.run("pause", beta.mountpoint)
    sizes = {name: (beta.mountpoint / name).stat().st_size for name in os.listdir(beta.mountpoint)}
    assert sizes == {"rewritten": 3 * MIB, "kept": 100000, "goes": 900000}
    (alpha.mountpoint / "rewritten").write_bytes(content(2, 3 * MIB))
    (alpha.mountpoint / "goes").unlink()
    computers.sync(alpha)
    answer = gc(alpha, "--keep", "0", "--now")
    assert freed(answer) == {"dead": 2} and answer["moved"]["objects"] == 1
    assert (beta.mountpoint / "rewritten").read_bytes() == content(2, 3 * MIB)
    assert (beta.mountpoint / "kept").read_bytes() == content(100000, 100000)
    assert sorted(os.listdir(beta.mountpoint)) == ["kept", "rewritten"]


def test_killed_at_any_moment_of_a_collection_it_loses_nothing_and_leaves_nothing(computers):
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    alpha = computers.first()
    make_garbage(alpha.mountpoint, 0)
    computers.sync(alpha)
    beta = computers.join()
    make_garbage(alpha.mountpoint, 0)
    computers.sync(alpha)
    alpha.run("limit", alpha.mountpoint, "--up", "400K")
    begun = time.monotonic()
    assert gc(alpha, "--keep", "0", "--now")["moved"]["objects"] == 1
    duration = time.monotonic() - begun
    alpha.run("limit", alpha.mountpoint, "--up", "none")
    cut_short = 0
    for k in range(1, KILLS + 1):
        for half in (0, 1):
            make_garbage(alpha.mountpoint, k)
            if half and k % 2:
                (alpha.mountpoint / f"file {k} 3").write_bytes(content(k, 70000))
            computers.sync(alpha)
        if k % 3 == 0:
            (beta.mountpoint / f"from beta {k}").write_bytes(content(k, 30000))
            computers.sync(beta)
        alpha.run("limit", alpha.mountpoint, "--up", "400K")  # so that there are moments
        collecting = alpha.start("gc", alpha.mountpoint, "--keep", "0", "--now")
        threading.Event().wait(chance.uniform(0, 1.2 * duration))
        die(alpha)
        cut_short += collecting.wait(300) != 0
        alpha.mount()
        alpha.run("limit", alpha.mountpoint, "--up", "none")
        crashers.read_all(alpha.mountpoint)
    assert cut_short > 0, "each of them was through already"
    computers.sync(alpha, beta, alpha)
    gc(alpha, "--keep", "0", "--now")
    gc(alpha, "--keep", "0", "--now")
    computers.sync(beta)
    crashers.read_all(beta.mountpoint)
    assert_same(alpha, beta)
    for vault in (alpha, beta):
        answer = gc(vault, "--keep", "0", "--now", "--dry-run")
        assert freed(answer) == {} and answer["moved"]["objects"] == 0
        assert not any(count["objects"] for count in answer["kept"].values())
        assert_clean(vault)
    assert_same(alpha, computers.join("gamma"))


def test_the_key_box_of_a_used_invitation_goes_and_the_invitation_opens_nothing(computers):
    alpha = computers.first()
    (alpha.mountpoint / "a").write_bytes(b"content")
    token = computers.root / "invitation"
    alpha.run("device", "invite", alpha.mountpoint, "--vault", alpha.dir, "--no-qr", "--to-file", token)
    boxes = {name for name in trees.objects(computers.store) if name.startswith("k/")}
    beta = computers._new()  # pylint: disable=protected-access
    beta.run("join", beta.mountpoint, "--vault", beta.dir, "--no-passphrase", "--invitation-file", token)
    late = computers._new()  # pylint: disable=protected-access
    used = ["join", late.mountpoint, "--vault", late.dir, "--no-passphrase", "--invitation-file", token]
    before = late.run(*used, check=False)
    assert before.returncode == 1 and "has been used already" in before.stderr and not late.dir.exists()
    computers.sync(alpha)
    assert_clean(alpha)
    assert freed(gc(alpha, "--dry-run")) == {"boxes": 1}
    assert freed(gc(alpha)) == {"boxes": 1}
    assert len(boxes - set(trees.objects(computers.store))) == 1
    assert freed(gc(alpha)) == {}
    assert_clean(alpha)
    after = late.run(*used, check=False)
    assert after.returncode == 1 and "was over long ago" in after.stderr and not late.dir.exists()
    gamma = computers.join("gamma")
    assert (gamma.mountpoint / "a").read_bytes() == b"content"
