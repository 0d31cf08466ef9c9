"""The state of a vault that lies in a dir: store: READING A VAULT in snugfs-format(5)."""
import dataclasses
import pathlib
import re
import stat

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from .conventions import ZEROS, Refused, decode, padded, require, sha256, verify
from .keys import RECOVERY, Identity, open_box, recovery_key
from .objects import (BASE, CHUNK, COMMIT, CONTENT, FILE_TYPES, MODE, MTIME, NEW, OWNER, PART, envelope_epoch, open_body, open_envelope,
                      open_extent)
from .trust import EPOCH, Trust


def unwrap(key, wrapped):
    try:
        return aes_key_unwrap(key, wrapped)
    except InvalidUnwrap as e:
        raise Refused("a wrapped key that does not open") from e


@dataclasses.dataclass
class File:
    id: int
    mode: int = 0
    owner: tuple = (0, 0)
    mtime: tuple = (0, 0)
    ctime: tuple = (0, 0)
    btime: tuple = (0, 0)
    rdev: int = 0
    target: bytes = b""
    origin: int = 0
    size: int = 0
    keys: dict = dataclasses.field(default_factory=dict)
    chunks: dict = dataclasses.field(default_factory=dict)  # number: [(extent, segment)]
    xattrs: dict = dataclasses.field(default_factory=dict)


class Vault:
    """The state of a vault that lies in a dir: store."""

    def __init__(self, store, recovery_text):
        self.store = pathlib.Path(store)
        self.identity = Identity(RECOVERY, recovery_key(recovery_text))
        self.segments = {}  # those that were read, by name and what they must be
        marker = self.read("v")
        require(marker[:4] == bytes([1, 5, 0, 0]) and len(marker) == 4096 and sha256(marker[:-32]) == marker[-32:], "the marker")
        self.vault_id = marker[4:36]
        self.boxes = self.open_boxes()
        bases = [int(path.name) for path in (self.store / "b").glob("*") if re.fullmatch("[0-9]{12}", path.name)]
        for base in [*sorted(bases, reverse=True), None]:
            try:
                self.read_from(base)
                return
            except Refused:
                if base is None:
                    raise

    def read(self, name):
        try:
            return (self.store / name).read_bytes()
        except OSError as e:
            raise Refused(f"{name} can't be read: {e.strerror}") from e

    def open_boxes(self):
        """{epoch: [(name, SHA-256, epoch key)]} of all boxes that open with the recovery key."""
        found = {}
        for path in sorted((self.store / "k").glob("*")):
            if not re.fullmatch("(0|[1-9][0-9]*)-[0-9a-f]{32}", path.name):
                continue
            epoch, box = int(path.name.split("-")[0]), self.read(f"k/{path.name}")
            try:
                secrets = open_box(box, self.vault_id, epoch, self.identity) if epoch < 1 << 32 else None
            except Refused:
                continue
            if secrets:
                found.setdefault(epoch, []).append((f"k/{path.name}", sha256(box), secrets[0]))
        require(found, "no key box opens with this recovery key")
        return found

    def read_from(self, base):
        self.trust = Trust()
        self.epoch_keys = {}
        self.files = {}
        self.names = {}  # (folder, name): file id
        self.dropped = set()  # segments that are going to be deleted
        if base is None:
            self.head, self.head_hash = -1, ZEROS
            if not self.begins_with_a_box_of_ours(0, 0):
                self.learn_earlier()
            self.apply_commit(0)
            author = None
        else:
            author = self.apply_base(base)
        require(self.trust.vault_id == self.vault_id, "another vault")
        while (self.store / f"c/{self.head + 1:012}").exists():
            self.apply_commit(self.head + 1)
        recovery = self.trust.members.get(self.identity.id)
        require(recovery and not recovery.removed, "a recovery key that is no member")
        require(author is None or not self.trust.members[author].removed, "a base by a member that was removed since")

    def open(self, data, kind, number):
        """The envelope, and the key box that its key came from, if it is not known from the chain."""
        epoch = envelope_epoch(data, kind)
        if epoch in self.epoch_keys:
            return open_envelope(data, kind, number, self.vault_id, self.epoch_keys[epoch]), None
        for box in self.boxes.get(epoch, []):
            try:
                return open_envelope(data, kind, number, self.vault_id, box[2]), box
            except Refused:
                pass
        raise Refused(f"no key of epoch {epoch} opens it")

    def first_of(self, epoch):
        """The first commit that is not of an epoch before that one."""
        low, high = 0, len(list((self.store / "c").glob("*")))
        while low < high:
            middle = (low + high) // 2
            if envelope_epoch(self.read(f"c/{middle:012}"), COMMIT) < epoch:
                low = middle + 1
            else:
                high = middle
        return low

    def begins_with_a_box_of_ours(self, epoch, seq):
        """Does that commit begin the epoch, with a box that opened?  Whoever was a member once can make others that open."""
        try:
            envelope, box = self.open(self.read(f"c/{seq:012}"), COMMIT, seq)
            statements = [Trust.body(decode(statement)[0]) for statement in open_body(envelope.body).get(1, [])]
        except Refused:
            return False
        boxes = [(body[6], body[7]) for body in statements if body[0] == EPOCH and body[5] == epoch]
        return envelope.epoch == epoch and box is not None and any(known[:2] in boxes for known in self.boxes[epoch])

    def learn_earlier(self):
        """For a recovery key that came later: the keys of epochs before its own, to be held against what the chain says of them."""
        for own in sorted(self.boxes):
            seq = self.first_of(own)
            if not self.begins_with_a_box_of_ours(own, seq):
                continue
            envelope, (_, _, key) = self.open(self.read(f"c/{seq:012}"), COMMIT, seq)
            for epoch, wrapped in open_body(envelope.body).get(2, []):
                require(epoch < own, "an epoch key that is not an earlier one")
                self.learn(epoch, unwrap(key, wrapped))
            return
        raise Refused("a recovery key whose epoch never began")

    def learn(self, epoch, key):
        require(self.epoch_keys.setdefault(epoch, key) == key, "two keys of one epoch")

    def admit(self, data, kind, seq):
        envelope, box = self.open(data, kind, seq)
        body = open_body(envelope.body)
        for statement in body.get(1, []):
            self.trust.fold(statement)
        author = self.trust.members.get(envelope.author)
        require(author and not author.removed, "an author who is no member")
        verify(author.sign, envelope.signature, envelope.message)
        require(envelope.epoch == len(self.trust.boxes) - 1 and not self.trust.needs_epoch, "not the current epoch")
        if box:
            require(any(known[:2] == self.trust.boxes[envelope.epoch] and known[2] == box[2] for known in self.boxes[envelope.epoch]),
                    "a key box that no statement pins")
            self.learn(envelope.epoch, box[2])
        for epoch, wrapped in body.get(2, []):
            require(epoch < envelope.epoch, "an epoch key that is not an earlier one")
            self.learn(epoch, unwrap(self.epoch_keys[envelope.epoch], wrapped))
        return envelope, body

    def apply_base(self, seq):
        envelope, body = self.admit(self.read(f"b/{seq:012}"), BASE, seq)
        commit = self.read(f"c/{seq:012}")
        require(sha256(commit) == envelope.previous, "a base of another chain")
        require(self.open(commit, COMMIT, seq)[0].epoch == envelope.epoch, "a base of another epoch than its commit")
        require(not {3, 4, 5, 7} & set(body), "a base with a tree of its own")
        for i, (name, size, digest) in enumerate(body.get(6, [])):
            data = self.segment(name, size, digest)
            part, _ = self.open(data, PART, i)
            require(part.author == envelope.author and part.previous == ZEROS, "a part by somebody else")
            verify(self.trust.members[part.author].sign, part.signature, part.message)
            tree = open_body(part.body)
            require(not {1, 2, 6, 7} & set(tree), "a part with more than a tree")
            self.apply(tree)
        self.head, self.head_hash = seq, envelope.previous
        return envelope.author

    def apply_commit(self, seq):
        data = self.read(f"c/{seq:012}")
        envelope, body = self.admit(data, COMMIT, seq)
        require(envelope.previous == self.head_hash, "a commit that does not follow")
        require(6 not in body, "a commit with parts")
        self.apply(body)
        self.head, self.head_hash = seq, sha256(data)

    def apply(self, body):
        segments = body.get(3, [])
        require(not self.dropped & {segment[0] for segment in segments}, "a segment that was dropped")
        self.dropped.update(body.get(7, []))
        require(not self.dropped & {segment[0] for segment in segments}, "a segment that is dropped and used")
        for form in body.get(4, []):
            self.apply_inode(form, segments)
        for parent, file, kind, name in body.get(5, []):
            require(parent in self.files and stat.S_ISDIR(self.files[parent].mode), "a name in what is no folder")
            self.names.pop((parent, name), None)
            if file:
                require(file in self.files and FILE_TYPES[stat.S_IFMT(self.files[file].mode)] == kind, "a name of what is not there")
                self.names[parent, name] = file

    def apply_inode(self, form, segments):
        fields = form[1]
        require(fields & NEW or form[0] in self.files, "a change of a file that is not there")
        file = File(form[0]) if fields & NEW else self.files[form[0]]
        require(fields & NEW or stat.S_IFMT(file.mode) == stat.S_IFMT(form[2]), "a file that changes its type")
        self.files[form[0]] = file
        file.ctime = form[3]
        file.mode = file.mode & 0o7777 | form[2] & ~0o7777
        if fields & NEW:
            file.btime, file.rdev, file.target, file.origin = form[6], form.get(7, 0), form.get(8, b""), form.get(9, 0)
        if fields & MODE:
            file.mode = form[2]
        if fields & OWNER:
            file.owner = form[4]
        if fields & MTIME:
            file.mtime = form[5]
        for xattr in form.get(13, []):
            file.xattrs.pop(xattr[0], None)
            if len(xattr) == 2:
                file.xattrs[xattr[0]] = xattr[1]
        if fields & CONTENT:
            file.size = form[10]
            file.keys = {version: (epoch, wrapped) for version, epoch, wrapped in form[11]}
            for no, extents in form[12]:
                file.chunks[no] = [(extent, segments[extent[5]]) for extent in extents]
            file.chunks = {no: extents for no, extents in file.chunks.items() if no * CHUNK < file.size}

    def segment(self, name, size, digest):
        if (name, size, digest) not in self.segments:
            data = self.read(f"s/{name.hex()[:2]}/{name.hex()}")
            require(len(data) == size == padded(size) and sha256(data) == digest, "a segment that is not what it was")
            self.segments[name, size, digest] = data
        return self.segments[name, size, digest]

    def pieces(self, file):
        """(offset, bytes) of what is mapped, ascending; the rest of the file is zeros."""
        for no, extents in sorted(file.chunks.items()):
            for extent, (name, size, digest) in extents:
                offset, length, encoding, version, extent_id, _, at, stored = extent[:8]
                sealed_offset, sealed_length = extent[8:] or (offset, length)
                epoch, wrapped = file.keys[version]
                require(epoch in self.epoch_keys, "a file key of an epoch that is not known")
                plain = open_extent(unwrap(self.epoch_keys[epoch], wrapped), file.origin, no * CHUNK + sealed_offset,
                                    sealed_length, encoding, extent_id, self.segment(name, size, digest)[at:at + stored])
                start = no * CHUNK + offset
                yield start, plain[offset - sealed_offset:offset - sealed_offset + length][:max(0, file.size - start)]

    def content(self, file):
        out = bytearray(file.size)
        for start, piece in self.pieces(file):
            out[start:start + len(piece)] = piece
        return bytes(out)

    def walk(self):
        """(path, file) of everything in the vault, folders before what is in them, but not the top folder: self.files[1]."""
        folders = {}
        for (parent, name), file in self.names.items():
            folders.setdefault(parent, []).append((name, file))
        left = [(1, b"")]
        while left:
            folder, path = left.pop()
            for name, file in sorted(folders.get(folder, [])):
                yield path + name, self.files[file]
                if stat.S_ISDIR(self.files[file].mode):
                    left.append((file, path + name + b"/"))
