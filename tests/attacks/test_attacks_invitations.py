"""Invitations in hands that they were not meant for.  What the commands make of them: tests/unit/fs/sync/test_invitations.c."""
import os

import pytest

import reader
from conftest import assert_readable
from reader import writer
from test_attacks_keys import FORGED

SOME = ["one", "folder/note"]
# Far ahead: any device would withdraw one that is over.
EXPIRES = 4 * 10**18


@pytest.fixture
def invited(scene):
    """The adversary, and an invitation that alpha has given out, as an identity."""
    mallory = scene.adversary()
    guest = invitation(b"g" * 16)
    box, name = writer.key_box(mallory.vault.vault_id, mallory.epoch, mallory.epoch_key, mallory.link_secret, mallory.recovery_psk,
                               [(reader.INVITATION, guest.box)]), f"k/{mallory.epoch}-{os.urandom(16).hex()}"
    scene.replace(name, box)
    form = {**writer.member_form(reader.INVITATION, guest, "a guest"), 4: EXPIRES, 5: name, 6: reader.sha256(box)}
    wrapped = {2: [[old, writer.aes_key_wrap(mallory.epoch_key, key)] for old, key in sorted(mallory.vault.epoch_keys.items())
                   if old < mallory.epoch]} if mallory.epoch else {}
    mallory.advance({0: 1, 1: [mallory.statement(reader.ADD, mallory.alpha, form)], **wrapped})
    scene.beta.sync()
    return mallory, guest


def invitation(secret):
    return reader.Identity(reader.INVITATION, secret)


def entry(mallory, guest, device, time=writer.TIME):
    """What lets a device in: it is added, the invitation goes, a new epoch begins.  As put_commit takes it."""
    trust, statements = mallory.vault.trust, []

    def say(kind, issuer, *fields):
        statements.append(writer.statement(trust, kind, issuer, *fields, time=time))
        trust.fold(statements[-1])

    say(reader.ADD, guest, writer.member_form(reader.DEVICE, device, "a friend"))
    say(reader.REMOVE, guest, guest.id)
    epoch, key = mallory.epoch + 1, os.urandom(32)
    box, name = mallory.key_box(epoch, key), f"k/{epoch}-{os.urandom(16).hex()}"
    mallory.scene.replace(name, box)
    say(reader.EPOCH, device, epoch, name, reader.sha256(box))
    wrapped = [[old, writer.aes_key_wrap(key, mallory.vault.epoch_keys[old])] for old in range(epoch)]
    return {0: 1, 1: statements, 2: wrapped}, {"epoch": epoch, "epoch_key": key}


def test_an_invitation_lets_one_device_in_and_no_second_one(scene, invited):
    mallory, guest = invited
    body, sealed = entry(mallory, guest, mallory.mallory)
    mallory.advance(body, mallory.mallory, **sealed)
    scene.beta.sync()  # the first is in
    again = reader.Identity(reader.DEVICE, b"e" * 32)
    statement = mallory.statement(reader.ADD, guest, writer.member_form(reader.DEVICE, again, "a second friend"))
    seq = mallory.put_commit({0: 1, 1: [statement]})
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} {FORGED}")
    seq = mallory.put_commit({0: 1, 1: reader.open_body(mallory.open_commit(seq - 1).body)[1]})
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} {FORGED}")
    assert_readable(scene.beta, SOME)


def test_an_invitation_that_has_expired_lets_nobody_in(scene, invited):
    mallory, guest = invited
    late = writer.statement(mallory.vault.trust, reader.ADD, guest, writer.member_form(reader.DEVICE, mallory.mallory, "late"),
                            time=EXPIRES + 10**9)
    gone = writer.statement(mallory.vault.trust, reader.REMOVE, guest, guest.id, place=mallory.vault.trust.count + 1,
                            previous=reader.sha256(late), time=EXPIRES + 10**9)
    seq = mallory.put_commit({0: 1, 1: [late, gone]})
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} {FORGED}")
    assert_readable(scene.beta, SOME)


def test_a_guessed_invitation_lets_nobody_in(scene, invited):
    """128 bits: one that was not given out is no member, even of somebody who knows the vault's keys."""
    mallory, _ = invited
    guess = invitation(b"h" * 16)
    statement = mallory.statement(reader.ADD, guess, writer.member_form(reader.DEVICE, mallory.mallory, "a guess"))
    seq = mallory.put_commit({0: 1, 1: [statement]})
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} {FORGED}")
    assert_readable(scene.beta, SOME)


@pytest.mark.parametrize("what", ["another invitation", "a removal", "a name", "an epoch", "a policy", "a commit", "an entry that stays"])
def test_an_invitation_is_good_for_nothing_else(scene, invited, what):
    mallory, guest = invited
    other = invitation(b"i" * 16)
    form = {**writer.member_form(reader.INVITATION, other, "more"), 4: writer.TIME + 10**9, 5: "k/0-00", 6: bytes(32)}
    said = {"another invitation": (reader.ADD, form), "a removal": (reader.REMOVE, mallory.alpha.id),
            "a name": (reader.RENAME, mallory.beta.id, "betty"), "an epoch": (reader.EPOCH, mallory.epoch + 1, "k/9-00", bytes(32)),
            "a policy": (5, 1, 1, 0),
            "an entry that stays": (reader.ADD, writer.member_form(reader.DEVICE, mallory.mallory, "a friend"))}.get(what)
    body = {0: 1, 1: [mallory.statement(said[0], guest, *said[1:])]} if said else {0: 1}
    seq = mallory.put_commit(body, mallory.alpha if said else guest)
    scene.beta.refuses_to_sync(f"commit {seq} in dir:{scene.store} {FORGED}")
    assert_readable(scene.beta, SOME)
