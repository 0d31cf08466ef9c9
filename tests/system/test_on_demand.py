"""Files on demand: everything is visible at once, comes when it is read, stays within bounds, and nothing but reading waits."""
import contextlib
import errno
import json
import os
import pathlib
import random
import signal
import subprocess
import time

import pytest

import conftest
from test_main_job import Computers

MIB = 1 << 20
SMALL_FILES = int(os.environ.get("SMALL_FILES", "2000"))


@pytest.fixture
def computers():
    c = Computers()
    yield c
    c.clean_up()


def state(path):
    return os.getxattr(path, "user.snugfs.state").decode()


def segment_bytes(vault):
    """On the disk; some may go meanwhile."""
    total = 0
    for entry in os.scandir(pathlib.Path(vault.dir) / "segments"):
        with contextlib.suppress(FileNotFoundError):
            total += entry.stat().st_blocks * 512
    return total


def requests(vault):
    return json.loads(vault.run("status", vault.mountpoint, "--vault", vault.dir, "--json", "--counters").stdout)["requests"]["get"]


def cache(vault, *args):
    return json.loads(vault.run("cache", vault.mountpoint, "--vault", vault.dir, "--json", *args).stdout)


def content(seed, size):
    return random.Random(seed).randbytes(size)


def fill(folder, count, size):
    folder.mkdir()
    for k in range(count):
        (folder / f"file {k:05}").write_bytes(content(k, size))


def free(device, path, **options):
    """What came lately may be on its way to the disk still: then it says to try again."""
    said = []

    def is_free():
        said.append(device.run("free", path, **options).stdout)
        return "try again" not in said[-1]

    conftest.wait_until(is_free, "nobody to use what is to be given up")
    return said[-1]


def test_a_second_computer_sees_the_whole_tree_before_any_content_is_there(computers):
    alpha = computers.first()
    fill(alpha.mountpoint / "many", 300, 5000)
    (alpha.mountpoint / "large").write_bytes(content(1, 20 * MIB))
    computers.sync(alpha)
    beta = computers.join()
    assert len(os.listdir(beta.mountpoint / "many")) == 300
    assert (beta.mountpoint / "large").stat().st_size == 20 * MIB
    assert segment_bytes(beta) == 0
    assert state(beta.mountpoint / "large") == "remote"
    with open(beta.mountpoint / "large", "rb") as f:
        f.seek(12 * MIB)
        assert f.read(1000) == content(1, 20 * MIB)[12 * MIB:12 * MIB + 1000]
    assert state(beta.mountpoint / "large") == "partial"
    assert 0 < segment_bytes(beta) < 8 * MIB
    assert (beta.mountpoint / "large").read_bytes() == content(1, 20 * MIB)
    assert state(beta.mountpoint / "large") == "local"
    assert state(beta.mountpoint) == "local"
    beta.unmount()
    beta.mount()
    os.rename(computers.store / "s", computers.store / "away")
    assert (beta.mountpoint / "large").read_bytes() == content(1, 20 * MIB)
    os.rename(computers.store / "away", computers.store / "s")


def small_file(k):
    return content(k, 1000 + k * 7919 % 7000)


def test_small_files_read_one_after_the_other_take_few_requests_in_whatever_order(computers):
    """By a program that knows nothing of segments: as find lists them, by name, and in no order at all."""
    alpha = computers.first()
    for k in range(SMALL_FILES):
        folder = alpha.mountpoint / "many" / str(k % 20)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file {k:05}").write_bytes(small_file(k))
    computers.sync(alpha)
    alpha.unmount()
    beta = computers.join()
    found = subprocess.run(["find", beta.mountpoint / "many", "-type", "f", "-print0"], check=True, capture_output=True,
                           text=True).stdout.split("\0")[:-1]
    assert len(found) == SMALL_FILES
    for order in (found, sorted(found, key=os.path.basename), random.Random(1).sample(found, len(found))):
        assert state(found[0]) == "remote"
        before = requests(beta)
        read = subprocess.run(["xargs", "-0", "cat"], input="\0".join(order).encode(), check=True, capture_output=True).stdout
        assert requests(beta) - before <= SMALL_FILES // 10
        assert read == b"".join(small_file(int(path[-5:])) for path in order)
        beta.unmount()  # what the kernel has read is gone with it
        beta.mount()
        free(beta, beta.mountpoint / "many")


def test_the_size_of_the_cache_is_kept_while_all_is_read_and_can_be_changed_while_mounted(computers):
    alpha = computers.first()
    for k in range(10):
        (alpha.mountpoint / f"film {k}").write_bytes(content(k, 20 * MIB))
    computers.sync(alpha)
    beta = computers.join()
    assert cache(beta, "--size", "64M")["cache"]["limit"] == 64 * MIB
    for k in range(10):
        assert (beta.mountpoint / f"film {k}").read_bytes() == content(k, 20 * MIB)
        conftest.wait_until(lambda: segment_bytes(beta) <= 64 * MIB + 48 * MIB, "what came first to go")
    conftest.wait_until(lambda: cache(beta)["cache"]["cached"] <= 64 * MIB, "the cache is as small as it should be")
    beta.unmount()
    beta.mount()
    assert cache(beta)["cache"]["limit"] == 64 * MIB
    assert cache(beta, "--size", "none")["cache"]["limit"] is None
    for k in range(10):
        assert (beta.mountpoint / f"film {k}").read_bytes() == content(k, 20 * MIB)
    assert cache(beta)["cache"]["cached"] >= 200 * MIB
    assert beta.run("cache", beta.mountpoint, "--size", "1M", check=False).returncode != 0
    assert beta.run("cache", beta.mountpoint, "--size", "big", check=False).returncode != 0


def test_what_came_just_before_a_crash_takes_no_space_after_it_that_nobody_counts(computers):
    alpha = computers.first()
    for k in range(4):
        (alpha.mountpoint / f"film {k}").write_bytes(content(k, 10 * MIB))
    computers.sync(alpha)
    beta = computers.join()
    for k in range(4):
        assert (beta.mountpoint / f"film {k}").read_bytes() == content(k, 10 * MIB)
    beta.kill()
    assert segment_bytes(beta) >= 40 * MIB
    beta.mount()
    conftest.wait_until(lambda: segment_bytes(beta) <= cache(beta)["cache"]["here"] + MIB, "what the crash left to go")
    for k in range(4):
        assert (beta.mountpoint / f"film {k}").read_bytes() == content(k, 10 * MIB)


def test_what_is_pinned_comes_by_itself_and_stays_and_free_says_what_does_not_go(computers):
    alpha = computers.first()
    fill(alpha.mountpoint / "kept", 20, 100000)
    (alpha.mountpoint / "other").write_bytes(content(99, 3 * MIB))
    computers.sync(alpha)
    beta = computers.join()
    first = beta.mountpoint / "kept" / "file 00000"
    beta.run("pin", beta.mountpoint / "kept")
    assert state(beta.mountpoint / "kept") == "local pinned"
    for k in range(20):
        path = beta.mountpoint / "kept" / f"file {k:05}"
        conftest.wait_until(lambda p=path: state(p) == "local pinned", "the pinned file is here")
    assert cache(beta)["pinned"] == ["kept"]
    said = beta.run("free", beta.mountpoint / "kept").stdout
    assert "pinned" in said and state(first) == "local pinned"
    beta.unmount()
    beta.mount()
    (alpha.mountpoint / "kept" / "new").write_bytes(content(7, 100000))
    computers.sync(alpha, beta)
    conftest.wait_until(lambda: state(beta.mountpoint / "kept" / "new") == "local pinned", "what is new there came, too")
    beta.run("unpin", beta.mountpoint / "kept")
    assert state(first) == "local"
    assert beta.run("unpin", beta.mountpoint / "kept", check=False).returncode != 0
    free(beta, beta.mountpoint / "kept")
    assert state(first) == "remote"
    assert first.read_bytes() == content(0, 100000)
    beta.run("pause", beta.mountpoint)  # or it might send it first
    (beta.mountpoint / "fresh").write_bytes(b"not sent yet" * 1000)
    assert state(beta.mountpoint / "fresh") == "unsynced"
    assert beta.run("free", beta.mountpoint / "nothing", check=False).returncode != 0


def test_names_that_are_not_utf_8_can_be_pinned_and_freed(computers):
    alpha = computers.first()
    os.mkdir(os.fsencode(alpha.mountpoint) + b"/caf\xe9")
    with open(os.fsencode(alpha.mountpoint) + b"/caf\xe9/\xff", "wb") as f:
        f.write(content(1, 5000))
    computers.sync(alpha)
    beta = computers.join()
    folder = pathlib.Path(os.fsdecode(os.fsencode(beta.mountpoint) + b"/caf\xe9"))
    path = folder / os.fsdecode(b"\xff")
    as_bytes = {"errors": "surrogateescape"}
    beta.run("pin", folder, **as_bytes)
    conftest.wait_until(lambda: state(path) == "local pinned", "the pinned file is here")
    assert cache(beta)["pinned"] == ["caf\\xe9"]
    beta.run("unpin", folder, **as_bytes)
    assert "given up" in free(beta, path, **as_bytes)
    assert state(path) == "remote"
    missing = beta.run("free", folder / os.fsdecode(b"\xfe"), check=False, **as_bytes)
    assert missing.returncode != 0 and f"there is no {beta.mountpoint}/caf\\xe9/\\xfe" in missing.stderr


def test_the_size_of_the_cache_and_the_limits_can_be_set_when_it_is_mounted_and_are_remembered(computers):
    def settings():
        limits = json.loads(alpha.run("limit", alpha.mountpoint, "--vault", alpha.dir, "--json").stdout)
        return cache(alpha)["cache"]["limit"], limits["up"], limits["down"]

    alpha = computers.first("--cache-size", "100M", "--up-limit", "50M", "--down-limit", "60M")
    assert settings() == (100 * MIB, 50 * MIB, 60 * MIB)
    alpha.unmount()
    alpha.mount("--up-limit", "70M")
    assert settings() == (100 * MIB, 70 * MIB, 60 * MIB)
    alpha.up("--cache-size", "none", "--down-limit", "80M")
    assert settings() == (None, 70 * MIB, 80 * MIB)
    alpha.unmount()
    for wrong in (("--up-limit", "fast"), ("--cache-size", "1M")):
        assert alpha.run("mount", alpha.mountpoint, "--vault", alpha.dir, "--no-passphrase", *wrong, check=False).returncode != 0
    alpha.mount()
    assert settings() == (None, 70 * MIB, 80 * MIB)


def test_where_a_file_is_can_be_asked_by_name_and_is_not_listed_nor_set(mounted):
    path = mounted.mountpoint / "file"
    path.write_text("x")
    assert state(path) == "unsynced"
    assert os.listxattr(path) == []
    with pytest.raises(PermissionError):
        os.setxattr(path, "user.snugfs.state", b"local")
    with pytest.raises(PermissionError):
        os.removexattr(path, "user.snugfs.state")


def test_with_the_store_gone_reading_fails_and_looking_works(computers):
    alpha = computers.first()
    fill(alpha.mountpoint / "many", 30, 5000)
    computers.sync(alpha)
    beta = computers.join()
    os.rename(computers.store, f"{computers.store}.away")
    begun = time.monotonic()
    with pytest.raises(OSError) as error:
        (beta.mountpoint / "many" / "file 00000").read_bytes()
    assert error.value.errno == errno.EIO
    assert time.monotonic() - begun < 300
    assert len(os.listdir(beta.mountpoint / "many")) == 30
    assert os.statvfs(beta.mountpoint).f_blocks > 0
    os.rename(f"{computers.store}.away", computers.store)
    assert (beta.mountpoint / "many" / "file 00000").read_bytes() == content(0, 5000)


def test_twenty_reads_that_hang_keep_nobody_from_looking_and_can_be_killed(computers):
    """The store lies in the folder of another vault, whose daemon is stopped: who touches it waits."""
    outer = computers.another()
    outer.up()
    computers.remote = f"dir:{outer.mountpoint}/store"
    alpha = computers.first()
    for k in range(20):
        (alpha.mountpoint / f"film {k:02}").write_bytes(content(k, MIB))
    computers.sync(alpha)
    beta = computers.join()
    (beta.mountpoint / "mine").write_text("written here")
    computers.sync(beta)
    readers = []
    outer.signal(signal.SIGSTOP)
    try:
        readers = [subprocess.Popen(["cat", str(beta.mountpoint / f"film {k:02}")], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL) for k in range(20)]
        conftest.wait_until(lambda: all(b"cat" in pathlib.Path(f"/proc/{r.pid}/cmdline").read_bytes() for r in readers),
                            "all of them have begun")
        time.sleep(2)
        assert all(reader.poll() is None for reader in readers)
        for _ in range(5):
            assert len(os.listdir(beta.mountpoint)) == 21
            assert os.statvfs(beta.mountpoint).f_blocks > 0
            assert (beta.mountpoint / "film 07").stat().st_size == MIB
            assert state(beta.mountpoint / "film 07") == "remote"
            assert (beta.mountpoint / "mine").read_text() == "written here"
        assert (beta.mountpoint / "more").write_text("written meanwhile") > 0
        for reader in readers:
            reader.kill()
            assert reader.wait(timeout=300) != 0
    finally:
        for reader in readers:
            reader.kill()
        outer.signal(signal.SIGCONT)
    for k in range(20):
        assert (beta.mountpoint / f"film {k:02}").read_bytes() == content(k, MIB)
    beta.unmount()
    alpha.unmount()
