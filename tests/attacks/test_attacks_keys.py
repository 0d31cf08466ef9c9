"""Key boxes, statements of who is a member, and whose signature counts."""
import json
import os

import pytest

import reader
from conftest import CONTENTS, assert_readable
from reader import writer

FORGED = "is damaged or forged; it was not applied, and what is here is untouched; restore the store's copy of it"


def box_name(scene):
    return "k/" + next((scene.store / "k").iterdir()).name


@pytest.mark.parametrize("by", ["random bytes", "another epoch key", "another epoch key for the recovery key alone", "the same secrets again"])
def test_a_key_box_that_was_replaced_opens_nothing(scene, by):
    mallory = scene.adversary()
    name, key = box_name(scene), os.urandom(32)
    size = scene.object(name).stat().st_size
    scene.replace(name, {
        "random bytes": lambda: bytes([1, 4, 1, 0]) + bytes(4) + os.urandom(size - 8),
        "another epoch key": lambda: mallory.key_box(0, key),
        "another epoch key for the recovery key alone": lambda: writer.key_box(
            mallory.vault.vault_id, 0, key, os.urandom(32), mallory.recovery_psk, [(reader.RECOVERY, mallory.paper.box)]),
        "the same secrets again": lambda: mallory.key_box(0, mallory.epoch_key),
    }[by]())
    if by == "random bytes":
        scene.refused_join(scene.gamma, "gamma", f"this recovery key is not the one of the vault in dir:{scene.store}")
    else:
        scene.refused_join(scene.gamma, "gamma", f"the first commit in dir:{scene.store} is damaged or forged")
    scene.beta.sync()  # who has the key needs no box
    assert_readable(scene.beta)


def test_a_key_box_with_one_recipient_more_is_refused(scene):
    mallory = scene.adversary()
    scene.replace(box_name(scene), mallory.key_box(0, mallory.epoch_key, [(reader.DEVICE, mallory.mallory.box)]))
    scene.refused_join(scene.gamma, "gamma", f"the first commit in dir:{scene.store} is damaged or forged")


def test_a_second_box_for_an_epoch_is_passed_over(scene):
    mallory = scene.adversary()
    scene.replace(f"k/0-{'0' * 32}", mallory.key_box(0, os.urandom(32)))
    scene.replace(f"k/7-{'0' * 32}", mallory.key_box(7, os.urandom(32)))
    scene.refused_join(scene.gamma, "gamma", refused=False)
    assert_readable(scene.gamma)


def plant_boxes(scene, mallory, epoch, key):
    """Of somebody who was a member once, with names before all others: they open, some even with the true key of the epoch."""
    members = [(member.kind, member.box) for member in mallory.vault.trust.members.values() if not member.removed]
    planted = [
        mallory.key_box(epoch, key),
        mallory.key_box(epoch, os.urandom(32)),
        writer.key_box(mallory.vault.vault_id, epoch, key, mallory.link_secret, os.urandom(32), members),
        b"\2" + mallory.key_box(epoch, key)[1:],
        mallory.key_box(epoch + 1, key),
        os.urandom(4096),
        bytes(4096),
        b"",
        bytes(2 << 20),
    ]
    for i, box in enumerate(planted):
        scene.replace(f"k/{epoch}-{i:032x}", box)


def test_key_boxes_that_were_planted_are_stepped_over_by_who_joins(scene):
    mallory = scene.adversary()
    plant_boxes(scene, mallory, 0, mallory.epoch_key)
    plant_boxes(scene, mallory, 1, os.urandom(32))
    scene.refused_join(scene.gamma, "gamma", refused=False)
    assert_readable(scene.gamma)
    assert scene.state().head == scene.head()  # the independent reader steps over them, too


def test_key_boxes_that_were_planted_are_stepped_over_by_who_meets_a_new_epoch(scene):
    mallory = scene.adversary()
    mallory.advance({0: 1, 1: [mallory.add_mallory(mallory.alpha)]})
    body, epoch, key = mallory.remove(mallory.mallory.id)
    mallory.advance(body, epoch=epoch, epoch_key=key)
    plant_boxes(scene, mallory, epoch, key)
    scene.beta.sync()
    assert_readable(scene.beta)
    scene.refused_join(scene.gamma, "gamma", refused=False)
    assert_readable(scene.gamma)
    assert scene.state().head == scene.head()


def test_a_new_epoch_whose_box_is_another_than_the_chain_says_is_refused(scene):
    mallory = scene.adversary()
    body, epoch, key = mallory.remove(mallory.beta.id)
    seq = mallory.put_commit(body, epoch=epoch, epoch_key=key)
    name = next(path.name for path in (scene.store / "k").iterdir() if path.name.startswith("1-"))
    scene.replace(f"k/{name}", mallory.key_box(epoch, key, [(reader.DEVICE, mallory.mallory.box)]))
    scene.alpha.refuses_to_sync(f"commit {seq} in dir:{scene.store} {FORGED}")
    assert_readable(scene.alpha)


def forged_statements(mallory):
    """name: statements that are no good, though a member signs the commit that carries them."""
    trust = mallory.vault.trust
    add = mallory.add_mallory(mallory.alpha)
    rename = mallory.statement(reader.RENAME, mallory.alpha, mallory.beta.id, "betty")
    last = mallory.statements()[-1]
    stripped = writer.encode(reader.decode(add)[:1])
    changed = writer.encode([add_body_with_another_name(add), reader.decode(add)[1]])
    third = writer.statement(trust, reader.RENAME, mallory.alpha, mallory.beta.id, "bertha", place=trust.count + 1,
                             previous=reader.sha256(rename))
    return {
        "signed by somebody else": [mallory.add_mallory(mallory.alpha, signer=mallory.mallory)],
        "changed after it was signed": [changed],
        "without its signature": [stripped],
        "in the name of a device that is none": [mallory.add_mallory(mallory.mallory)],
        "replayed": [last],
        "all replayed": mallory.statements(),
        "out of order": [third, rename],
        "with one left out": [third],
        "on another than the last": [mallory.add_mallory(mallory.alpha, previous=bytes(32))],
        "with another number": [mallory.add_mallory(mallory.alpha, place=trust.count + 1)],
        "a recovery key by a device": [mallory.statement(
            reader.ADD, mallory.alpha, writer.member_form(reader.RECOVERY, mallory.mallory, "mallory"))],
        "the recovery key removed by a device": [mallory.statement(reader.REMOVE, mallory.alpha, mallory.paper.id)],
        "a removal without a new epoch": [mallory.statement(reader.REMOVE, mallory.alpha, mallory.beta.id)],
        "an epoch that is skipped": [mallory.statement(reader.EPOCH, mallory.alpha, 2, "k/2-00", bytes(32))],
        "a second genesis": [writer.genesis(mallory.mallory, mallory.mallory)],
        "another vault's": [writer.statement(reader.Trust(), reader.ADD, mallory.alpha, writer.member_form(
            reader.DEVICE, mallory.mallory, "mallory"), place=trust.count, previous=trust.head)],
        "a key that comes back": [mallory.statement(reader.ADD, mallory.alpha, writer.member_form(reader.DEVICE, mallory.beta, "again"))],
        "a name that is none": [mallory.statement(reader.RENAME, mallory.alpha, mallory.beta.id, "a\nb")],
    }


def add_body_with_another_name(add):
    form = reader.decode(reader.decode(add)[0])
    form[5][3] = "eve"
    return writer.encode(form)


FORGERIES = ["signed by somebody else", "changed after it was signed", "without its signature",
             "in the name of a device that is none", "replayed", "all replayed", "out of order", "with one left out",
             "on another than the last", "with another number", "a recovery key by a device",
             "the recovery key removed by a device", "a removal without a new epoch", "an epoch that is skipped",
             "a second genesis", "another vault's", "a key that comes back", "a name that is none"]


@pytest.mark.parametrize("how", FORGERIES)
def test_a_device_statement_that_is_forged_replayed_reordered_or_stripped_is_refused(scene, how):
    mallory = scene.adversary()
    forged = forged_statements(mallory)
    assert list(forged) == FORGERIES
    seq = mallory.put_commit({0: 1, 1: forged[how]})
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} {FORGED}")
    assert_readable(scene.beta, ["one", "folder/note"])
    mallory.put_commit({0: 1, 1: [mallory.statement(reader.RENAME, mallory.alpha, mallory.beta.id, "betty")]})
    scene.beta.sync()  # it was the statement


def test_statements_that_were_stripped_from_the_first_commit_make_no_vault(scene):
    mallory = scene.adversary()
    first = mallory.open_commit(0)
    body = reader.open_body(first.body)
    assert len(body[1]) > 1
    mallory.put_commit({**body, 1: body[1][:1]}, seq=0, previous=reader.ZEROS)
    scene.refused_join(scene.gamma, "gamma", f"the first commit in dir:{scene.store} is damaged or forged")


@pytest.mark.parametrize("how", ["signs commits", "lets itself in", "uses the name of a member"])
def test_a_ghost_device_gets_nowhere(scene, how):
    """It has every key of the vault, but nobody added it."""
    mallory = scene.adversary()
    body = {0: 1, 1: [mallory.add_mallory(mallory.mallory)]} if how == "lets itself in" else {0: 1}
    other = {"author_id": mallory.alpha.id} if how == "uses the name of a member" else {}
    seq = mallory.put_commit(body, mallory.mallory, **other)
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} {FORGED}")
    scene.alpha.refuses_to_sync(f"commit {seq} in dir:{scene.store} {FORGED}")
    assert_readable(scene.beta, ["one", "folder/note"])


def test_a_device_that_is_added_shows_on_every_other(scene):
    mallory = scene.adversary()
    mallory.put_commit({0: 1, 1: [mallory.add_mallory(mallory.alpha)]})
    scene.beta.sync()
    scene.beta.mount_here()
    status = json.loads(scene.beta.run("status", scene.beta.mountpoint, "--vault", scene.beta.dir, "--json").stdout)
    scene.beta.unmount_here()
    assert any("mallory" in message for message in status["messages"]), status
    assert any(device["name"] == "mallory" for device in status["devices"]), status


@pytest.mark.parametrize("key", ["the key that it has", "the newest key"])
def test_a_removed_device_signs_nothing_any_more(scene, key):
    """Even if somebody gives it the key of the epoch that it was removed for."""
    mallory = scene.adversary()
    mallory.advance({0: 1, 1: [mallory.add_mallory(mallory.alpha)]})
    old = mallory.epoch_key
    body, epoch, new = mallory.remove(mallory.mallory.id)
    mallory.advance(body, epoch=epoch, epoch_key=new)
    scene.beta.sync()
    other = {"epoch": 0, "epoch_key": old} if key == "the key that it has" else {}
    seq = mallory.put_commit({0: 1}, mallory.mallory, **other)
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} {FORGED}")
    assert_readable(scene.beta, ["one", "folder/note"])
    # Nor can it write anew what was before, for somebody who joins.
    state = mallory.vault
    (state.store / f"c/{seq:012}").unlink()
    state.files = {1: state.files[1]}
    state.names = {}
    base, name, part = writer.base_of(state, state.head, mallory.mallory, mallory.statements()[:-2], epoch=0)
    scene.replace(f"b/{state.head:012}", base)
    scene.replace(f"s/{name.hex()[:2]}/{name.hex()}", part)
    scene.refused_join(scene.gamma, "gamma", refused=False)
    assert_readable(scene.gamma, list(CONTENTS))
