"""The adversary of the attack suite: has the store, and as many keys as a test gives it."""
import os

import cbor2

import reader
from reader import writer


class Adversary:
    """Knows the vault's secrets, to make what it makes as well as it can be made; a test says which signature or key is wrong."""

    def __init__(self, scene):
        self.scene = scene
        self.vault = scene.state()
        self.paper = self.vault.identity
        self.alpha = device_identity(scene.alpha)
        self.beta = device_identity(scene.beta)
        self.mallory = reader.Identity(reader.DEVICE, b"m" * 32)  # no member
        self.epoch, box = max(self.vault.boxes.items())
        data = scene.object(box[0][0]).read_bytes()
        self.epoch_key, self.link_secret, self.recovery_psk = reader.open_box(data, self.vault.vault_id, self.epoch, self.paper)

    # What it knows

    def next(self):
        return self.vault.head + 1

    def statements(self):
        """All of the chain, in order."""
        out = []
        for seq in range(self.vault.head + 1):
            envelope = self.open_commit(seq)
            out += reader.open_body(envelope.body).get(1, [])
        return out

    def open_commit(self, seq):
        return self.vault.open(self.scene.object(f"c/{seq:012}").read_bytes(), reader.COMMIT, seq)[0]

    def file(self, path):
        return dict(self.vault.walk())[path.encode()]

    def extents(self, path):
        """(number of the chunk, extent, name of the segment's object) of a file's."""
        return [(no, extent, f"s/{segment[0].hex()[:2]}/{segment[0].hex()}")
                for no, extents in sorted(self.file(path).chunks.items()) for extent, segment in extents]

    # What it makes

    def statement(self, kind, issuer, *fields, **other):
        return writer.statement(self.vault.trust, kind, issuer, *fields, **other)

    def add_mallory(self, issuer, **other):
        return self.statement(reader.ADD, issuer, writer.member_form(reader.DEVICE, self.mallory, "mallory"), **other)

    def commit(self, body, author=None, **other):
        """The next commit, as an object."""
        seq = other.pop("seq", self.next())
        epoch = other.pop("epoch", self.epoch)
        previous = other.pop("previous", self.vault.head_hash)
        return writer.envelope(self.vault.vault_id, epoch, other.pop("epoch_key", self.epoch_key), other.pop("kind", reader.COMMIT), seq,
                               previous, author or self.alpha, body, **other)

    def put_commit(self, body, author=None, **other):
        """Puts it into the store; its number."""
        seq = other.get("seq", self.next())
        self.scene.replace(f"c/{seq:012}", self.commit(body, author, **other))
        return seq

    def advance(self, body, author=None, **other):
        """As put_commit, a good one: what comes later follows it."""
        seq = self.put_commit(body, author, **other)
        self.vault = self.scene.state()
        self.epoch = len(self.vault.trust.boxes) - 1
        self.epoch_key = self.vault.epoch_keys[self.epoch]
        return seq

    def key_box(self, epoch, epoch_key, extra=()):
        """For all members in force, and some more."""
        members = [(member.kind, member.box) for member in self.vault.trust.members.values() if not member.removed]
        return writer.key_box(self.vault.vault_id, epoch, epoch_key, self.link_secret, self.recovery_psk, [*members, *extra])

    def remove(self, member_id, issuer=None):
        """A removal as it must be: the statement, a new epoch, its box.  The body, and the new epoch's number and key."""
        trust, epoch, key = self.vault.trust, self.epoch + 1, os.urandom(32)
        statement = self.statement(reader.REMOVE, issuer or self.alpha, member_id)
        trust.fold(statement)
        box, name = self.key_box(epoch, key), f"k/{epoch}-{os.urandom(16).hex()}"
        self.scene.replace(name, box)
        begin = self.statement(reader.EPOCH, issuer or self.alpha, epoch, name, reader.sha256(box))
        wrapped = [[old, writer.aes_key_wrap(key, self.vault.epoch_keys[old])] for old in range(epoch)]
        return {0: 1, 1: [statement, begin], 2: wrapped}, epoch, key


def device_identity(computer):
    """From the device file, that has no passphrase here."""
    form = cbor2.loads((computer.dir / "device").read_bytes())
    return reader.Identity(reader.DEVICE, form[3][0][5])
