"""A store that somebody has been at: what verify says, what it puts back, and that all else stays readable; and what the store's
owner is shown to see.
"""
import json
import os
import pathlib
import random

import pytest

import trees

# Nothing that compresses: a cut segment shall have lost some of it.
CONTENTS = {name: random.Random(name).randbytes(9000) for name in ("one", "two")}


@pytest.fixture
def synced(vault):
    """A mounted vault with a store, two files in segments of their own, all of it synced."""
    vault.store = vault.root / "store"
    vault.up("--remote", vault.store)
    for name in ("one", "two"):
        (vault.mountpoint / name).write_bytes(CONTENTS[name])
        vault.run("sync", vault.mountpoint)
    return vault


def verify(vault, *args):
    done = vault.run("verify", vault.mountpoint, "--vault", vault.dir, "--no-passphrase", "--json", *args, check=False)
    assert done.returncode in (0, 1), done.stderr
    answer = json.loads(done.stdout)
    assert (done.returncode == 1) == any(answer["counts"][kind] for kind in ("missing", "changed", "foreign"))
    return done.returncode, answer


def findings(answer):
    return sorted((f["kind"], f["object"], f["path"], f["repaired"]) for f in answer["findings"])


def segments(vault):
    return sorted(str(p.relative_to(vault.store)) for p in (vault.store / "s").rglob("*") if p.is_file())


def segment_of(vault, name):
    """Found by what verify says of its loss."""
    for segment in segments(vault):
        path = vault.store / segment
        kept = path.read_bytes()
        path.unlink()
        _, answer = verify(vault)
        path.write_bytes(kept)
        if [f["path"] for f in answer["findings"]] == [name]:
            return segment
    raise AssertionError(f"no segment is {name}'s")


def test_an_untouched_store_is_clean_mounted_or_not(synced):
    status, answer = verify(synced)
    assert (status, answer["findings"], answer["files_damaged"]) == (0, [], 0)
    assert answer["segments"] >= 2 and answer["objects_read"] == len(trees.objects(synced.store)) - 1  # the marker is a hint
    synced.unmount()
    assert verify(synced)[0] == 0


@pytest.mark.parametrize("change", ["flip", "truncate", "delete", "extend", "swap"])
def test_each_change_of_a_segment_names_object_and_file_and_is_repaired(synced, change):
    one, two = segment_of(synced, "one"), segment_of(synced, "two")
    path = synced.store / one
    expected = {("changed", one, "one")}
    if change == "flip":
        data = bytearray(path.read_bytes())
        data[5] ^= 0x40
        path.write_bytes(data)
    elif change == "truncate":
        os.truncate(path, 100)
    elif change == "delete":
        path.unlink()
        expected = {("missing", one, "one")}
    elif change == "extend":
        os.truncate(path, path.stat().st_size + 1)
        expected = {("changed", one, None)}  # what was there still is
    else:
        other = (synced.store / two).read_bytes()
        (synced.store / two).write_bytes(path.read_bytes())
        path.write_bytes(other)
        expected = {("changed", one, "one"), ("changed", two, "two")}
    status, answer = verify(synced)
    assert status == 1 and {f[:3] for f in findings(answer)} == expected
    assert not any(f["repaired"] for f in answer["findings"])
    status, answer = verify(synced, "--repair")
    assert status == 1 and {f[:3] for f in findings(answer)} == expected and answer["repaired"] == len(expected)
    assert verify(synced)[0] == 0
    for name in ("one", "two"):
        assert (synced.mountpoint / name).read_bytes() == CONTENTS[name]


def test_what_was_damaged_for_one_file_leaves_the_others_readable(synced):
    os.truncate(synced.store / segment_of(synced, "one"), 100)
    status, answer = verify(synced, "--sample", "1%")
    assert status == 1 and [f["path"] for f in answer["findings"]] == ["one"]
    assert (synced.mountpoint / "two").read_bytes() == CONTENTS["two"]


@pytest.mark.parametrize("name", ["c/000000000000", "c/000000000001", "v", "k"])
def test_each_kind_of_metadata_object_is_named_when_it_is_changed_or_lost(synced, name):
    path = synced.store / name if name != "k" else next((synced.store / "k").iterdir())
    where = str(path.relative_to(synced.store))
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    status, answer = verify(synced)
    assert status == 1 and ("changed", where) in {f[:2] for f in findings(answer)}
    path.unlink()
    status, answer = verify(synced)
    assert status == 1 and ("missing", where) in {f[:2] for f in findings(answer)}
    path.write_bytes(data)
    assert verify(synced)[0] == 0


def test_foreign_objects_are_told_from_orphans_and_orphans_are_no_damage(synced):
    (synced.store / "letter.txt").write_text("dear operator")
    orphan = "s/ab/ab" + "0" * 30
    (synced.store / "s/ab").mkdir(exist_ok=True)
    (synced.store / orphan).write_bytes(os.urandom(4096))
    status, answer = verify(synced, "--repair")
    assert status == 1
    assert findings(answer) == [("foreign", "letter.txt", None, False), ("orphan", orphan, None, False)]
    assert (synced.store / "letter.txt").exists() and (synced.store / orphan).exists()
    (synced.store / "letter.txt").unlink()
    assert verify(synced)[0] == 0


def test_people_get_sentences_and_a_wrong_sample_a_usage_error(synced):
    done = synced.run("verify", synced.mountpoint)
    assert "All that the vault needs is there and unchanged." in done.stdout
    (synced.store / segment_of(synced, "one")).unlink()
    done = synced.run("verify", synced.mountpoint, check=False)
    assert done.returncode == 1 and 'missing: "one" (object s/' in done.stdout
    assert synced.run("verify", synced.mountpoint, "--sample", "0", check=False).returncode == 2
    assert synced.run("verify", synced.mountpoint, "--sample", "x%", check=False).returncode == 2


def test_a_store_that_is_away_is_an_error_and_no_damage(synced):
    away = synced.root / "away"
    synced.store.rename(away)
    done = synced.run("verify", synced.mountpoint, check=False)
    assert done.returncode == 3 and "snugfs: " in done.stderr
    away.rename(synced.store)


def test_exposure_shows_counts_and_sizes_and_needs_no_key(synced):
    shown = json.loads(synced.run("exposure", "--remote", synced.store, "--json").stdout)
    objects = trees.objects(synced.store)
    assert shown["objects"] == len(objects) and shown["bytes"] == sum(objects.values()) and shown["off_step"] == 0
    assert shown["kinds"]["commit"]["count"] == len(list((synced.store / "c").iterdir()))
    assert shown["kinds"]["segment"]["count"] == len(segments(synced))
    times = [path.stat().st_mtime for path in (synced.store / "c").iterdir()]
    assert shown["kinds"]["commit"]["first_time"] == int(min(times)) and shown["kinds"]["commit"]["last_time"] == int(max(times))
    assert len(shown["by_hour"]) == 24 and sum(shown["by_hour"]) == sum(shown["by_weekday"]) == len(objects)
    text = synced.run("exposure", synced.mountpoint).stdout
    assert str(synced.store) in text and "segments" in text and ", written 20" in text
    assert json.loads(synced.run("exposure", synced.mountpoint, "--json").stdout) == shown
    for name in ("one", "two"):
        assert f'"{name}"' not in text
    (pathlib.Path(synced.store) / "letter.txt").write_text("dear operator")
    assert json.loads(synced.run("exposure", "--remote", synced.store, "--json").stdout)["kinds"]["foreign"]["count"] == 1


def test_exposure_shows_no_table_of_times_where_no_object_has_one(synced):
    assert "00 h" in synced.run("exposure", synced.mountpoint).stdout
    foreign = synced.root / "foreign"
    (foreign / "tmp").mkdir(parents=True)
    (foreign / "letter.txt").write_text("dear operator")
    shown = synced.run("exposure", "--remote", foreign).stdout
    assert "sees 1 object" in shown and "00 h" not in shown
