"""Commits and bases: changed, cut, exchanged, rolled back, forked; and what is in them that no program would write."""
import os
import shutil

import pytest

import reader
from conftest import CONTENTS, assert_little_memory, assert_readable
from reader import writer

FORGED = "is damaged or forged; it was not applied, and what is here is untouched; restore the store's copy of it"
NEWER = "was written by a newer version of this program; update it here"
CLOSED = "is closed to this device: it has been removed from the vault"
SOME = ["one", "folder/note"]


def behind(scene):
    """beta has seen the first stage's commits only: the next one is what is attacked.  Its number."""
    scene.reset(beta=1)
    return scene.head(1) + 1


def commit_name(seq):
    return f"c/{seq:012}"


def assert_old_note(computer):
    assert computer.contents(["one", "folder/note"]) == {"one": CONTENTS["one"], "folder/note": b"the first version"}


# Offset (from the end, if negative), and what is said: the fields of the header, then what is sealed.  All offsets of all bits:
# tests/unit/fs/sync/test_admit.c.
@pytest.mark.parametrize("offset,words", [(0, NEWER), (1, NEWER), (2, NEWER), (3, NEWER), (4, CLOSED), (7, CLOSED), (8, FORGED),
                                          (39, FORGED), (40, FORGED), (1000, FORGED), (-17, FORGED), (-1, FORGED)])
def test_a_commit_of_which_a_byte_was_flipped_is_not_applied(scene, offset, words):
    seq = behind(scene)
    data = bytearray(scene.object(commit_name(seq)).read_bytes())
    data[offset] ^= 0x80
    scene.replace(commit_name(seq), data)
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} {words}")
    assert_old_note(scene.beta)


@pytest.mark.parametrize("length", [0, 1, 39, 40, 56, 4095])
def test_a_commit_that_was_truncated_is_not_applied(scene, length):
    seq = behind(scene)
    scene.replace(commit_name(seq), scene.object(commit_name(seq)).read_bytes()[:length])
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} ")
    assert_old_note(scene.beta)


def test_a_commit_that_was_made_longer_is_not_applied(scene):
    seq = behind(scene)
    data = scene.object(commit_name(seq)).read_bytes()
    for more in (1, reader.padded(len(data) + 1) - len(data)):
        scene.replace(commit_name(seq), data + bytes(more))
        scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} {FORGED}")
    assert_old_note(scene.beta)


def test_a_commit_of_another_vault_is_not_applied(scene):
    """Made by the same member under the same key; and one of a vault of its own."""
    seq = behind(scene)
    mallory = scene.adversary()
    good = mallory.open_commit(seq)
    other = writer.envelope(os.urandom(32), 0, mallory.epoch_key, reader.COMMIT, seq, good.previous, mallory.alpha, good.body)
    scene.replace(commit_name(seq), other)
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} {FORGED}")
    scene.replace(commit_name(seq), writer.envelope(os.urandom(32), 0, os.urandom(32), reader.COMMIT, seq, good.previous,
                                                    mallory.mallory, {0: 1}))
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} {FORGED}")
    assert_old_note(scene.beta)


def test_a_commit_under_another_number_is_not_applied(scene):
    """Each of the chain's others in its place."""
    seq = behind(scene)
    for other in range(scene.head() + 1):
        if other != seq:
            scene.replace(commit_name(seq), scene.object(commit_name(other)).read_bytes())
            scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} {FORGED}")
    assert_old_note(scene.beta)


def test_the_chain_cut_back_to_any_length_is_noticed(scene):
    head = scene.head()
    for seq in range(head, -1, -1):
        scene.object(commit_name(seq)).unlink()
        for computer in (scene.alpha, scene.beta):
            computer.refuses_to_sync(f"dir:{scene.store} has lost or replaced commits that this device has seen",
                                     f"(the last one is number {head}): it was rolled back")
    assert_readable(scene.alpha)
    shutil.copytree(scene.root / "stage3/store", scene.store, dirs_exist_ok=True)
    scene.beta.sync()
    assert_readable(scene.beta)


def test_commits_that_were_replaced_under_a_device_are_noticed(scene):
    """A history of the same length, made with all keys."""
    mallory = scene.adversary()
    head = scene.head()
    state = mallory.open_commit(head)
    mallory.put_commit(state.body, seq=head, previous=state.previous)
    scene.beta.refuses_to_sync(f"dir:{scene.store} has lost or replaced commits that this device has seen")
    assert_readable(scene.beta)


@pytest.fixture
def fork(scene):
    """Two histories from one head: in `store` what alpha has seen, in `other` what beta has."""
    mallory = scene.adversary()
    other = scene.root / "other"
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(scene.store, other)
    rename = [mallory.statement(reader.RENAME, mallory.alpha, mallory.beta.id, name) for name in ("left", "right")]
    seq = mallory.put_commit({0: 1, 1: rename[:1]})
    scene.alpha.sync()
    left = scene.object(commit_name(seq)).read_bytes()
    mallory.put_commit({0: 1, 1: rename[1:]}, mallory.beta)
    scene.beta.sync()
    right = scene.object(commit_name(seq)).read_bytes()
    return mallory, seq, left, right


def test_two_forks_are_never_joined(scene, fork):
    mallory, seq, left, right = fork
    lost = f"dir:{scene.store} has lost or replaced commits that this device has seen (the last one is number {seq})"
    # Each is shown what the other has seen; then with the next commit on it, and the two spliced.
    scene.replace(commit_name(seq), right)
    scene.alpha.refuses_to_sync(lost)
    scene.replace(commit_name(seq), left)
    scene.beta.refuses_to_sync(lost)
    scene.replace(commit_name(seq), right)
    mallory.put_commit({0: 1}, mallory.beta, seq=seq + 1, previous=reader.sha256(right))
    scene.alpha.refuses_to_sync(lost)
    scene.replace(commit_name(seq), left)
    scene.alpha.refuses_to_sync(f"the history in dir:{scene.store} has been forked: its commit {seq + 1} does not follow the one "
                                "that this device has seen; nothing was changed here")
    scene.beta.refuses_to_sync(lost)
    for computer in (scene.alpha, scene.beta):
        assert_readable(computer)
    # And each goes on with its own.
    scene.object(commit_name(seq + 1)).unlink()
    scene.alpha.sync()
    scene.replace(commit_name(seq), right)
    scene.beta.sync()


def test_who_joins_an_old_copy_of_the_store_is_found_out_by_the_others(scene):
    """It has seen nothing yet, so it can be shown an old, but true state; but nobody takes what it writes."""
    scene.reset(store=1)
    scene.refused_join(scene.gamma, "gamma", refused=False)
    assert_old_note(scene.gamma)
    for computer in (scene.alpha, scene.beta):
        computer.refuses_to_sync(f"dir:{scene.store} has lost or replaced commits that this device has seen")


# Bases


def put_base(scene, mallory, seq, **other):
    author = other.pop("author", mallory.alpha)
    base, name, part = writer.base_of(mallory.vault, seq, author, mallory.statements(), **other)
    scene.replace(f"b/{seq:012}", base)
    scene.replace(f"s/{name.hex()[:2]}/{name.hex()}", part)
    return f"s/{name.hex()[:2]}/{name.hex()}"


def test_a_good_base_is_used(scene):
    """What the next tests break works; the first commit is not needed then."""
    mallory = scene.adversary()
    put_base(scene, mallory, mallory.vault.head)
    scene.object(commit_name(0)).unlink()
    scene.refused_join(scene.gamma, "gamma", refused=False)
    assert_readable(scene.gamma)


@pytest.mark.parametrize("how", ["by a stranger", "signed by a stranger", "of another history", "under another number",
                                 "of a commit to come", "under another key", "a part is missing", "a part was flipped",
                                 "a commit instead", "of another version"])
def test_a_base_that_is_forged_or_older_than_it_says_is_passed_over(scene, how):
    mallory = scene.adversary()
    head = mallory.vault.head
    mallory.vault.files[mallory.file("one").id].size = 5  # what nobody may ever see
    other = {"by a stranger": {"author": mallory.mallory}, "signed by a stranger": {"signer": mallory.mallory},
             "of another history": {"previous": os.urandom(32)}, "under another key": {"key": os.urandom(32)},
             "of another version": {"header": bytes([2, reader.BASE, 1, 0])}}.get(how, {})
    part = put_base(scene, mallory, head, **other)
    if how == "under another number":
        scene.object(f"b/{head:012}").rename(scene.object(f"b/{head - 1:012}"))
    elif how == "of a commit to come":
        put_base(scene, mallory, head + 1)
        scene.object(f"b/{head:012}").unlink()
    elif how == "a part is missing":
        scene.object(part).unlink()
    elif how == "a part was flipped":
        data = bytearray(scene.object(part).read_bytes())
        data[-1] ^= 1
        scene.replace(part, data)
    elif how == "a commit instead":
        scene.replace(f"b/{head:012}", scene.object(commit_name(head)).read_bytes())
    scene.refused_join(scene.gamma, "gamma", refused=False)
    assert_readable(scene.gamma)


# Downgrades and confusions


@pytest.mark.parametrize("header", [(2, 1, 1, 0), (0, 1, 1, 0), (1, 9, 1, 0), (1, 1, 2, 0), (1, 1, 0, 0)])
def test_an_unknown_version_kind_or_cipher_is_refused(scene, header):
    """Sealed and signed by a member, who may have a newer program or be told to use a weaker cipher."""
    mallory = scene.adversary()
    seq = mallory.put_commit({0: 1}, header=bytes(header))
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} {NEWER}")
    assert_readable(scene.beta, SOME)


@pytest.mark.parametrize("body", [{0: 2}, {0: 0}, {0: 1, 99: 0}])
def test_an_unknown_version_of_a_body_is_refused(scene, body):
    mallory = scene.adversary()
    seq = mallory.put_commit(body)
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} {NEWER}")
    assert_readable(scene.beta, SOME)


def test_an_unknown_version_of_the_marker_is_refused_and_a_broken_one_mended(scene):
    marker = bytearray(scene.object("v").read_bytes())
    marker[0] = 2
    scene.replace("v", marker)
    scene.beta.refuses_to_sync(f"dir:{scene.store} was written by a newer version of this program; update it here")
    scene.refused_join(scene.gamma, "gamma", f"the vault in dir:{scene.store} was made by a newer version")
    marker[0], marker[100] = 1, marker[100] ^ 1
    scene.replace("v", marker)
    scene.refused_join(scene.gamma, "gamma", f'the object "v" in dir:{scene.store} is damaged')
    scene.beta.sync()
    assert_readable(scene.beta, SOME)


KINDS = ["v", "k", "b", "s", "part"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_of_one_kind_is_not_taken_for_another(scene, kind):
    """As the next commit; and each as a key box, whose reader is left with none."""
    mallory = scene.adversary()
    part = put_base(scene, mallory, mallory.vault.head)
    objects = {"v": "v", "k": "k/" + next((scene.store / "k").iterdir()).name, "b": f"b/{mallory.vault.head:012}",
               "s": mallory.extents("one")[0][2], "part": part}
    data = scene.object(objects[kind]).read_bytes()
    seq = mallory.next()
    scene.replace(commit_name(seq), data)
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} ")
    scene.object(commit_name(seq)).unlink()
    scene.beta.sync()
    if kind != "k":
        scene.replace(objects["k"], data)
        scene.refused_join(scene.gamma, "gamma", f"this recovery key is not the one of the vault in dir:{scene.store}")
    assert_readable(scene.beta, SOME)


def test_a_base_or_part_resealed_as_a_commit_is_refused(scene):
    """By a member, with the keys of one kind under the header of the other."""
    mallory = scene.adversary()
    for header, sealed_as in ((1, 2), (1, 3), (2, 1), (3, 1)):
        seq = mallory.put_commit({0: 1}, header=bytes([1, header, 1, 0]), sealed_as=sealed_as)
        scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} ")
    assert_readable(scene.beta, SOME)


# What is in a commit


def nested(depth):
    return b"\x81" * depth + b"\x00"


def absurdities(mallory):
    """name: a body, compressed, that a member of bad will signs."""
    one, top = mallory.file("one"), mallory.vault.files[1]
    segments = []
    good = writer.inode_form(one, reader.CONTENT, segments)

    def inode(change, **more):
        form = {**good, **change}
        return {0: 1, 3: segments, 4: [form], **more}

    def extent(**change):
        names = ["offset", "length", "encoding", "version", "id", "segment", "at", "stored"]
        new = list(good[12][0][1][0])
        for name, value in change.items():
            new[names.index(name)] = value
        return inode({12: [[0, [new]]]})

    huge = 1 << 62
    folder = next(file for path, file in mallory.vault.walk() if path == b"folder")
    raw = {
        "nested a million deep": b"\xa2\x00\x01\x04" + nested(1000000),
        "an array of 2^62": b"\xa2\x00\x01\x04\x9b\x40" + bytes(7),
        "a map of 2^62": b"\xbb\x40" + bytes(7),
        "a string of 2^62": b"\xa2\x00\x01\x01\x81\x5b\x40" + bytes(7),
        "a string of 2^63": b"\xa2\x00\x01\x01\x81\x5b\x80" + bytes(7),
        "no end": b"\xa2\x00\x01\x01\x9f\x41a",
        "a tag": b"\xa2\x00\x01\x01\x81\xc2\x41a",
        "a float": b"\xa2\x00\xf9\x3c\x00\x01\x80",
        "a long head": b"\xa1\x18\x00\x01",
        "keys twice": b"\xa2\x00\x01\x00\x01",
        "something behind the end": b"\xa1\x00\x01\x00",
        "nothing": b"",
    }
    forms = {
        "an empty list": {0: 1, 4: []},
        "an extent behind its segment": extent(at=huge),
        "an extent longer than its segment": extent(stored=(1 << 32) - 1),
        "an extent longer than its chunk": extent(length=(1 << 20) + 1),
        "an extent at the end of numbers": extent(offset=(1 << 64) - 1),
        "an extent in a segment that is not listed": extent(segment=7),
        "an extent of a key that is not there": extent(version=9),
        "an encoding that is unknown": extent(encoding=2),
        "an extent without length": extent(length=0),
        "a chunk behind the size": inode({12: [[40, good[12][0][1]]]}),
        "a chunk at the end of numbers": inode({12: [[(1 << 64) - 1, good[12][0][1]]]}),
        "a chunk twice": inode({12: good[12] * 2}),
        "a size past all bounds": inode({10: (1 << 64) - 1}),
        "sealed anew and of another mode": inode({1: reader.RESEALED | reader.MODE | reader.CONTENT}),
        "sealed anew without content": inode({1: reader.RESEALED}),
        "fields that do not exist": inode({1: reader.RESEALED << 1 | reader.CONTENT}),
        "a file that is not there": inode({0: 1 << 50}),
        "a file number past all bounds": inode({0: 1 << 63}),
        "a file that becomes a folder": {0: 1, 4: [
            {0: one.id, 1: reader.MODE, 2: 0o40755, 3: [0, 0]}]},
        "a type that does not exist": {0: 1, 4: [{0: one.id, 1: reader.MODE, 2: 0o30755, 3: [0, 0]}]},
        "a billion nanoseconds": {0: 1, 4: [{0: one.id, 1: reader.MTIME, 2: one.mode, 3: [0, 0], 5: [0, 10**9]}]},
        "an xattr of a megabyte": {0: 1, 4: [{0: one.id, 1: reader.XATTRS, 2: one.mode, 3: [0, 0], 13: [[b"user.a", bytes(1 << 20)]]}]},
        "a name of an xattr of 256 bytes": {0: 1, 4: [{0: one.id, 1: reader.XATTRS, 2: one.mode, 3: [0, 0], 13: [[b"a" * 256, b""]]}]},
        "a name with a slash": {0: 1, 5: [[1, one.id, 8, b"../../etc/passwd"]]},
        "the name ..": {0: 1, 5: [[1, one.id, 8, b".."]]},
        "a name with a NUL": {0: 1, 5: [[1, one.id, 8, b"a\0b"]]},
        "a name of 256 bytes": {0: 1, 5: [[1, one.id, 8, b"a" * 256]]},
        "a name in a file": {0: 1, 5: [[one.id, folder.id, 4, b"a"]]},
        "a name in nothing": {0: 1, 5: [[1 << 50, one.id, 8, b"a"]]},
        "a folder in itself": {0: 1, 5: [[1, 0, 0, b"folder"], [folder.id, folder.id, 4, b"a"]]},
        "a folder with two names": {0: 1, 5: [[1, folder.id, 4, b"again"]]},
        "the top folder below itself": {0: 1, 5: [[1, 1, 4, b"again"]]},
        "a name of another type": {0: 1, 5: [[1, one.id, 4, b"again"]]},
        "a folder that goes with what is in it": {0: 1, 5: [[1, 0, 0, b"folder"]]},
        "a target of 4096 bytes": {0: 1, 4: [{0: (9 << 40) + 1, 1: 15, 2: 0o120777, 3: [0, 0], 4: [0, 0], 5: [0, 0], 6: [0, 0],
                                             8: b"a" * 4096}], 5: [[1, (9 << 40) + 1, 10, b"link"]]},
        "the top folder as a file": {0: 1, 4: [{0: 1, 1: reader.MODE, 2: 0o100644, 3: list(top.ctime)}]},
        "parts in a commit": {0: 1, 6: [[bytes(16), 4096, bytes(32)]]},
        "an epoch key that does not open": {0: 1, 2: [[0, bytes(40)]]},
        "a segment of another size than before": {0: 1, 3: [[segments[0][0], segments[0][1] * 2, segments[0][2]]], 4: [good]},
    }
    packed = {name: writer.compress(data) for name, data in raw.items()}
    packed.update({name: writer.compress(writer.encode(form)) for name, form in forms.items()})
    bomb = writer.compress(bytes((128 << 20) + 1))
    good_frame = writer.compress(writer.encode({0: 1}))
    packed.update({
        "a frame of 128 MiB and a byte": bomb,
        "a frame that is cut": good_frame[:-1],
        "a frame with something behind it": good_frame + good_frame,
        "a frame that says 2^63 bytes": b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 7 + b"\x7f" + good_frame[6:],
        "no frame": b"no frame at all",
    })
    return packed


UNKNOWN = ("fields that do not exist", "a float")


def test_absurd_lengths_nesting_and_values_in_a_commit_are_refused_in_bounded_memory(scene):
    mallory = scene.adversary()
    for name, body in absurdities(mallory).items():
        seq = mallory.put_commit(body)
        done = scene.beta.sync(check=False)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), f"{name}: {done.returncode} {done.stderr}"
        assert f"commit {seq} in dir:{scene.store} " in done.stderr, f"{name}: {done.stderr}"
        assert (FORGED in done.stderr) or (name in UNKNOWN and NEWER in done.stderr), f"{name}: {done.stderr}"
    assert_little_memory()
    assert_readable(scene.beta)


@pytest.mark.parametrize("what", ["commit", "key box", "marker", "segment"])
def test_an_object_without_end_is_not_read_into_memory(scene, what):
    mallory = scene.adversary()
    name = {"commit": commit_name(mallory.next()), "key box": f"k/0-{'0' * 32}", "marker": "v",
            "segment": mallory.extents("one")[0][2]}[what]
    path = scene.object(name)
    path.unlink(missing_ok=True)
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    if what == "commit":
        scene.beta.refuses_to_sync(f"dir:{scene.store}")
    elif what == "segment":
        names = list(CONTENTS)
        got = scene.beta.contents(names)
        assert got["one"] != CONTENTS["one"] and all(got[n] in (CONTENTS[n], 5) for n in names)
    else:
        done = scene.join(scene.gamma, "gamma")
        assert done.returncode in (0, 1) and len(done.stderr.splitlines()) <= 1, done.stderr
    assert_little_memory()
