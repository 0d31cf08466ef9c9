"""What is in segments, exchanged as cleverly as can be: wherever a wrong byte would come out, an error does, and only there."""
import errno
import re
import shutil

import pytest

import reader
from conftest import CONTENTS, assert_readable
from reader import writer


def refused_alone(scene, *damaged):
    """beta reads all files but these, for which it gets an error, and its log names path, segment and object."""
    got = scene.beta.contents(CONTENTS)
    log = scene.beta.log()
    for name, content in CONTENTS.items():
        if name in damaged:
            assert got[name] == errno.EIO, f"{name}: {got[name] if isinstance(got[name], int) else 'was read'}"
            assert f"/{name}: the data at offset " in log or f"{name}: the data at offset " in log, log
        else:
            assert got[name] == content, name
    assert re.search(r" can't be read from segment [0-9a-f]{16} \(s/([0-9a-f]{2})/\1[0-9a-f]{30}\), position [0-9]+: "
                     "it does not authenticate", log), log


def mended(scene):
    shutil.rmtree(scene.store)
    shutil.copytree(scene.root / "stage3/store", scene.store)
    assert_readable(scene.beta)


class Ciphertext:
    """The segments' bytes, to be changed and put back."""

    def __init__(self, scene):
        self.scene = scene
        self.mallory = scene.adversary()
        self.objects = {}

    def of(self, path, index=0):
        """(object's name, offset, length) of an extent of a file."""
        _, extent, name = self.mallory.extents(path)[index]
        return name, extent[6], extent[7]

    def bytes(self, name):
        if name not in self.objects:
            self.objects[name] = bytearray(self.scene.object(name).read_bytes())
        return self.objects[name]

    def get(self, where):
        name, at, length = where
        return bytes(self.bytes(name)[at:at + length])

    def set(self, where, data):
        name, at, length = where
        assert len(data) == length
        self.bytes(name)[at:at + length] = data

    def swap(self, a, b):
        first, second = self.get(a), self.get(b)
        assert first != second
        self.set(a, second)
        self.set(b, first)

    def put(self):
        for name, data in self.objects.items():
            self.scene.replace(name, data)


@pytest.fixture
def cipher(scene):
    return Ciphertext(scene)


def frames(where, first, second, length=4112):
    name, at, _ = where
    return (name, at + first * length, length), (name, at + second * length, length)


@pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 4111, 4112, 20000, -1])
def test_a_flipped_byte_of_a_segment_costs_one_file(scene, cipher, offset):
    name, at, length = cipher.of("one")
    cipher.bytes(name)[at + offset % length] ^= 1
    cipher.put()
    refused_alone(scene, "one")
    mended(scene)


def test_a_flipped_byte_between_the_extents_costs_nothing(scene, cipher):
    """Padding: the segment is not what its commit says, but all frames are."""
    name, _, _ = cipher.of("one")
    cipher.bytes(name)[-1] ^= 1
    cipher.put()
    assert_readable(scene.beta)


@pytest.mark.parametrize("cut", ["in the middle", "to nothing", "away"])
def test_a_truncated_segment_gives_what_is_left_of_it_and_no_zeros(scene, cipher, cut):
    name, at, length = max(cipher.of("one"), cipher.of("two"), key=lambda where: where[1])
    damaged = "one" if cipher.of("one") == (name, at, length) else "two"
    data = scene.object(name).read_bytes()
    if cut == "away":
        scene.object(name).unlink()
    else:
        scene.replace(name, data[:at + length // 2 if cut == "in the middle" else 0])
    got = scene.beta.contents(CONTENTS)
    assert got[damaged] == errno.EIO
    assert all(got[path] in (content, errno.EIO) for path, content in CONTENTS.items())
    mended(scene)


def test_frames_that_were_swapped_within_a_file_are_refused(scene, cipher):
    where = cipher.of("one")
    cipher.swap(*frames(where, 0, 1))
    cipher.put()
    refused_alone(scene, "one")
    mended(scene)


def test_a_frame_that_stands_for_its_neighbour_is_refused(scene, cipher):
    first, second = frames(cipher.of("one"), 3, 4)
    cipher.set(first, cipher.get(second))
    cipher.put()
    refused_alone(scene, "one")


def test_packed_frames_in_another_order_are_refused(scene, cipher):
    """The sealed index says how long each is, and a member swaps two of the same length."""
    name, at, length = cipher.of("text")
    data, count = cipher.get((name, at, length)), -(-len(CONTENTS["text"]) // 32768)
    lengths = packed_lengths(cipher.mallory, data, count)
    starts = [4 * count + 16 + sum(lengths[:i]) + 16 * i for i in range(count)]
    head = data[:starts[0]]
    pieces = [data[start:start + n + 16] for start, n in zip(starts, lengths)]
    pieces[0], pieces[1] = pieces[1], pieces[0]
    cipher.set((name, at, length), head + b"".join(pieces))
    cipher.put()
    refused_alone(scene, "text")
    mended(scene)


def packed_lengths(mallory, data, count):
    file = mallory.file("text")
    extent = file.chunks[0][0][0]
    epoch, wrapped = file.keys[extent[3]]
    file_key = reader.unwrap(mallory.vault.epoch_keys[epoch], wrapped)
    length = len(CONTENTS["text"])
    aad = reader.u64(file.origin) + reader.u64(0) + reader.u32(length) + reader.u32(count) + reader.u32(1) + reader.u32(0)
    key = reader.expand(file_key, b"snugfs/1 extent" + extent[4])
    index = reader.unseal(key, 0, aad, data[:4 * count + 16])
    return [int.from_bytes(index[4 * i:4 * i + 4], "big") for i in range(count)]


def test_extents_that_were_swapped_within_a_file_are_refused(scene, cipher):
    """The first two megabyte-ranges of one file, of the same length."""
    first, second = cipher.of("big", 0), cipher.of("big", 1)
    length = min(first[2], second[2]) // 4112 * 4112
    cipher.swap((*first[:2], length), (*second[:2], length))
    cipher.put()
    refused_alone(scene, "big")
    mended(scene)


def test_extents_that_were_swapped_between_files_are_refused(scene, cipher):
    cipher.swap(cipher.of("one"), cipher.of("two"))
    cipher.put()
    refused_alone(scene, "one", "two")
    mended(scene)


def test_a_segment_of_another_vault_is_refused(scene, cipher):
    """With the same file sealed under another key, in the same place."""
    mallory = cipher.mallory
    file = mallory.file("one")
    where, extent = cipher.of("one"), file.chunks[0][0][0]
    sealed = seal_raw(b"k" * 32, file.origin, 0, CONTENTS["one"], extent[4])
    cipher.set(where, sealed)
    cipher.put()
    refused_alone(scene, "one")


def seal_raw(file_key, origin, offset, plain, extent_id):
    count = -(-len(plain) // 4096)
    aad = reader.u64(origin) + reader.u64(offset) + reader.u32(len(plain)) + reader.u32(count) + reader.u32(0) + reader.u32(0)
    key = reader.expand(file_key, b"snugfs/1 extent" + extent_id)
    return b"".join(writer.seal(key, i, aad, plain[i * 4096:(i + 1) * 4096]) for i in range(count))


@pytest.mark.parametrize("what", ["the whole extent", "one frame", "a frame's plaintext"])
def test_blocks_of_zeros_are_refused(scene, cipher, what):
    name, at, length = cipher.of("one")
    if what == "the whole extent":
        cipher.set((name, at, length), bytes(length))
    else:
        cipher.set((name, at + 4112, 4112 if what == "one frame" else 4096), bytes(4112 if what == "one frame" else 4096))
    cipher.put()
    refused_alone(scene, "one")
    mended(scene)


def test_an_old_version_of_a_file_is_not_taken_for_the_new(scene):
    """The old segment's bytes in the place of the new one's, for a file that was overwritten."""
    mallory = scene.adversary()
    _, new, new_name = mallory.extents("folder/note")[0]
    scene.reset(store=1)
    _, old, old_name = scene.adversary().extents("folder/note")[0]
    data = scene.object(old_name).read_bytes()
    sealed = data[old[6]:old[6] + old[7]]
    scene.reset()
    bad = bytearray(scene.object(new_name).read_bytes())
    bad[new[6]:new[6] + new[7]] = sealed.ljust(new[7], b"\0")[:new[7]]
    scene.replace(new_name, bad)
    refused_alone(scene, "folder/note")
    scene.replace(new_name, data)  # the whole old object
    got = scene.beta.contents(["folder/note", "one"])
    assert got == {"folder/note": errno.EIO, "one": CONTENTS["one"]}
    mended(scene)


# What only a member could say, and does


def said_by_a_member(scene, mallory, body, damaged):
    mallory.put_commit(body)
    scene.beta.sync()
    refused_alone(scene, *damaged)


def test_the_key_of_one_file_given_to_another_opens_nothing(scene):
    mallory = scene.adversary()
    one, two = mallory.file("one"), mallory.file("two")
    two.keys, one.keys = one.keys, two.keys
    said_by_a_member(scene, mallory, writer.content_body(one, two), ["one", "two"])


def test_the_extents_and_keys_of_one_file_given_to_another_are_refused(scene):
    """All that is needed to decrypt; but what is sealed says for which file."""
    mallory = scene.adversary()
    one, two = mallory.file("one"), mallory.file("two")
    two.keys, two.chunks = one.keys, one.chunks
    said_by_a_member(scene, mallory, writer.content_body(two), ["two"])


@pytest.mark.parametrize("by", [4096, 8, 1 << 19])
def test_an_extent_that_was_moved_to_another_offset_is_refused(scene, by):
    mallory = scene.adversary()
    one = mallory.file("one")
    (extent, segment), = one.chunks[0]
    one.size += by
    one.chunks[0] = [([extent[0] + by, *extent[1:8]], segment)]
    said_by_a_member(scene, mallory, writer.content_body(one), ["one"])


def test_an_extent_that_was_moved_to_another_chunk_is_refused(scene):
    mallory = scene.adversary()
    big = mallory.file("big")
    big.chunks[1] = big.chunks[0]
    said_by_a_member(scene, mallory, writer.content_body(big), ["big"])


@pytest.mark.parametrize("how", ["shorter", "raw said to be packed", "under another name"])
def test_an_extent_that_is_told_wrong_is_refused(scene, how):
    mallory = scene.adversary()
    one = mallory.file("one")
    (extent, segment), = one.chunks[0]
    changed = {"shorter": [0, 4096, 0, *extent[3:7], 4112], "raw said to be packed": [*extent[:2], 1, *extent[3:8]],
               "under another name": [*extent[:4], bytes(16), *extent[5:8]]}[how]
    one.chunks[0] = [(changed, segment)]
    said_by_a_member(scene, mallory, writer.content_body(one), ["one"])


def test_names_that_were_swapped_in_a_commit_are_refused(scene):
    """By somebody with the key of the epoch, but no member's: the signature is over the body."""
    mallory = scene.adversary()
    first = mallory.open_commit(mallory.vault.head)
    names = {name: file for (parent, name), file in mallory.vault.names.items() if parent == 1}
    swapped = {0: 1, 5: [[1, names[b"two"], 8, b"one"], [1, names[b"one"], 8, b"two"]]}
    packed = writer.compress(writer.encode(swapped))
    seq = mallory.put_commit(packed, signature=first.signature)
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} is damaged or forged; it was not applied")
    assert_readable(scene.beta)
