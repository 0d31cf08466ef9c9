"""An independent reader of a vault, written from snugfs-format(5) alone: from a store's directory and the recovery key to all
files.  It shares nothing with the program but that page, and refuses what the page does not allow.
"""
import dataclasses
import hashlib
import io
import pathlib

import cbor2
import zstandard
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CHUNK = 1 << 20
COMMIT, BASE, PART = 1, 2, 3
DEVICE, RECOVERY = 0, 1
GENESIS, ADD, REMOVE, EPOCH, RENAME = range(5)
NEW, MODE, OWNER, MTIME, XATTRS, CONTENT = 1, 2, 4, 8, 16, 32
ZEROS = bytes(32)


class Refused(Exception):
    """Something in the store is not as the page says."""


def require(condition, what):
    if not condition:
        raise Refused(what)


# Conventions


def number(length, value):
    return value.to_bytes(length, "big")


def u32(value):
    return number(4, value)


def u64(value):
    return number(8, value)


def sha256(data):
    return hashlib.sha256(data).digest()


def hmac_sha256(key, data):
    h = hmac.HMAC(key, hashes.SHA256())
    h.update(data)
    return h.finalize()


def extract(salt, key):
    return hmac_sha256(salt or ZEROS, key)


def expand(prk, info, length=32):
    out, block = b"", b""
    while len(out) < length:
        block = hmac_sha256(prk, block + info + bytes([len(out) // 32 + 1]))
        out += block
    return out[:length]


def unseal(key, nonce, aad, sealed):
    try:
        return AESGCM(key).decrypt(bytes(4) + u64(nonce), sealed, aad)
    except InvalidTag as e:
        raise Refused("it does not open") from e


def verify(public_key, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature as e:
        raise Refused("a signature does not hold") from e


def decode(data):
    """Deterministic CBOR: what decodes must encode to the same bytes."""
    stream = io.BytesIO(data)
    value = cbor2.CBORDecoder(stream).decode()
    require(stream.read() == b"" and cbor2.dumps(value, canonical=True) == data, "CBOR that is not deterministic")
    return value


def padded(length):
    if length <= 4096:
        return 4096
    e = length.bit_length() - 1
    mask = (1 << (e - e.bit_length())) - 1
    return (length + mask) & ~mask


# Keys


def multiply(a, b):
    """In GF(32)."""
    product = 0
    for bit in range(5):
        product ^= a << bit if b >> bit & 1 else 0
    for bit in (8, 7, 6, 5):
        product ^= 0b100101 << (bit - 5) if product >> bit & 1 else 0
    return product


def recovery_key(text):
    letters = text.upper().replace("-", "").replace(" ", "").translate(str.maketrans("OIL", "011"))
    symbols = [ALPHABET.index(letter) for letter in letters]
    require(len(symbols) == 28, "a recovery key has 28 characters")
    for root in (2, 4):
        value = 0
        for symbol in symbols:
            value = multiply(value, root) ^ symbol
        require(value == 0, "the recovery key has a typing error")
    bits = int("".join(f"{symbol:05b}" for symbol in symbols[:26]), 2)
    require(bits & 3 == 0, "the recovery key has a typing error")
    return number(16, bits >> 2)


class Identity:
    def __init__(self, kind, secret):
        self.prk = extract(b"snugfs/1 recovery" if kind == RECOVERY else b"snugfs/1 device", secret)
        self.sign_key = Ed25519PrivateKey.from_private_bytes(expand(self.prk, b"snugfs/1 sign"))
        self.box_key = X25519PrivateKey.from_private_bytes(expand(self.prk, b"snugfs/1 box"))
        self.sign = self.sign_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.box = self.box_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = member_id(self.sign, self.box)

    def own(self, label):
        return expand(self.prk, b"snugfs/1 own " + label)


def member_id(sign, box):
    return sha256(b"snugfs/1 member id" + sign + box)[:16]


def hpke_open(identity, enc, ciphertext, info, psk, psk_id):
    """RFC 9180: single-shot, mode_psk, KEM 0x0020, KDF 0x0001, AEAD 0x0002."""

    def labeled_extract(suite, salt, label, key):
        return extract(salt, b"HPKE-v1" + suite + label + key)

    def labeled_expand(suite, prk, label, context, length):
        return expand(prk, number(2, length) + b"HPKE-v1" + suite + label + context, length)

    kem = b"KEM" + number(2, 0x20)
    suite = b"HPKE" + number(2, 0x20) + number(2, 1) + number(2, 2)
    shared = identity.box_key.exchange(X25519PublicKey.from_public_bytes(enc))
    secret = labeled_expand(kem, labeled_extract(kem, b"", b"eae_prk", shared), b"shared_secret", enc + identity.box, 32)
    context = b"\1" + labeled_extract(suite, b"", b"psk_id_hash", psk_id) + labeled_extract(suite, b"", b"info_hash", info)
    secret = labeled_extract(suite, secret, b"secret", psk)
    key = labeled_expand(suite, secret, b"key", context, 32)
    nonce = labeled_expand(suite, secret, b"base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, ciphertext, b"")


def open_slot(slot, vault_id, epoch, identity):
    """The epoch key, the link secret and the recovery PSK, or None if the slot is not the recovery key's."""
    info = b"snugfs/1 key box" + vault_id + u32(epoch)
    try:
        plain = hpke_open(identity, slot[:32], slot[32:], info, identity.own(b"recovery psk"), b"snugfs/1 recovery")
    except (InvalidTag, ValueError):
        return None
    return plain[:32], plain[32:64], plain[64:]


def open_box(box, vault_id, epoch, identity):
    require(box[:4] == bytes([1, 4, 1, 0]) and box[4:8] == u32(epoch) and padded(len(box)) == len(box), "no key box")
    for at in range(8, len(box) - 143, 144):
        secrets = open_slot(box[at:at + 144], vault_id, epoch, identity)
        if secrets:
            return secrets
    return None


# Trust


@dataclasses.dataclass
class Member:
    kind: int
    sign: bytes
    box: bytes
    name: str
    removed: bool = False


class Trust:
    def __init__(self):
        self.members = {}
        self.boxes = []  # by epoch: name, SHA-256
        self.head = ZEROS
        self.count = 0
        self.vault_id = ZEROS
        self.needs_epoch = False

    def fold(self, statement):
        body_bytes, *signatures = decode(statement)
        body = decode(body_bytes)
        require(body[1] == self.count and body[2] == self.head, "a statement out of its place")
        require((body[0] == GENESIS) == (self.count == 0), "a genesis in its place")
        message = b"snugfs/1 statement" + self.vault_id + body_bytes
        issuer = None
        if body[0] == GENESIS:
            require(set(body) == set(range(8)) and body[7] == 1 and len(signatures) == 2, "the form of the genesis")
            device, recovery = self.member(body[5], DEVICE), self.member(body[6], RECOVERY)
            require(body[3] == member_id(device.sign, device.box), "the genesis is issued by its device")
            verify(device.sign, signatures[0], message)
            verify(recovery.sign, signatures[1], message)
            self.add(device)
            self.add(recovery)
            self.vault_id = sha256(statement)
        else:
            issuer = self.members.get(body[3])
            require(issuer and not issuer.removed and len(signatures) == 1, "an issuer who may not")
            verify(issuer.sign, signatures[0], message)
            self.fold_other(body, issuer)
        self.head = sha256(statement)
        self.count += 1

    def fold_other(self, body, issuer):
        require(set(body) == set(range({ADD: 6, REMOVE: 6, EPOCH: 8, RENAME: 7}[body[0]])), "the form of a statement")
        if body[0] == ADD:
            member = self.member(body[5])
            require(member.kind == DEVICE or issuer.kind == RECOVERY, "a recovery key is added by another")
            self.add(member)
        elif body[0] == EPOCH:
            require(body[5] == len(self.boxes), "an epoch out of order")
            self.boxes.append((body[6], body[7]))
            self.needs_epoch = False
        else:
            subject = self.members.get(body[5])
            require(subject and not subject.removed and (subject.kind == DEVICE or subject is issuer), "who is spoken about")
            if body[0] == RENAME:
                subject.name = body[6]
            else:
                require(sum(not m.removed for m in self.members.values()) > 1, "the last member stays")
                subject.removed = True
                self.needs_epoch = True

    def member(self, form, kind=None):
        require(set(form) == {0, 1, 2, 3} and form[0] in (DEVICE, RECOVERY) and kind in (None, form[0]), "a member")
        require(len(form[1]) == len(form[2]) == 32 and 0 < len(form[3].encode()) <= 64, "a member")
        return Member(form[0], form[1], form[2], form[3])

    def add(self, member):
        for old in self.members.values():
            require(old.sign != member.sign and old.box != member.box, "a key that comes back")
        self.members[member_id(member.sign, member.box)] = member


# Envelopes and bodies


@dataclasses.dataclass
class Envelope:
    epoch: int
    previous: bytes
    author: bytes
    time: int
    body: bytes
    signature: bytes
    message: bytes


def envelope_epoch(data, kind):
    require(data[:4] == bytes([1, kind, 1, 0]), "an envelope of a known form")
    return int.from_bytes(data[4:8], "big")


def open_envelope(data, kind, seq, vault_id, epoch_key):
    header, epoch = data[:40], envelope_epoch(data, kind)
    key = expand(epoch_key, b"snugfs/1 envelope" + bytes([kind]) + vault_id + u64(seq) + header[8:])
    plain = unseal(key, 0, header, data[40:])
    length = int.from_bytes(plain[:8], "big")
    previous, author, time = plain[8:40], plain[40:56], plain[56:64]
    body, signature, zeros = plain[64:64 + length], plain[64 + length:128 + length], plain[128 + length:]
    require(len(signature) == 64 and not any(zeros) and padded(40 + 128 + length + 16) == len(data), "padding")
    message = (b"snugfs/1 commit" + vault_id + u64(seq) + sha256(header) + previous + author + time + sha256(body))
    return Envelope(epoch, previous, author, int.from_bytes(time, "big"), body, signature, message)


def decompress(data, limit):
    out = zstandard.ZstdDecompressor().decompress(data, max_output_size=limit)
    require(len(out) <= limit, "more than was said")
    return out


def open_body(body):
    form = decode(decompress(body, 128 << 20))
    require(form.get(0) == 1 and set(form) <= set(range(7)), "a body of a known form")
    return form


# Content


def open_extent(file_key, origin, offset, length, encoding, extent_id, stored):
    """A sealed extent's plaintext."""
    step = {0: 4096, 1: 32768}[encoding]
    count = -(-length // step)
    key = expand(file_key, b"snugfs/1 extent" + extent_id)
    aad = u64(origin) + u64(offset) + u32(length) + u32(count) + u32(encoding) + u32(0)
    lengths = [min(step, length - i * step) for i in range(count)]
    if encoding == 0:
        require(len(stored) == length + 16 * count, "the length of an extent")
        return b"".join(unseal(key, i, aad, stored[i * 4112:i * 4112 + n + 16]) for i, n in enumerate(lengths))
    at = 4 * count + 16
    index = unseal(key, 0, aad, stored[:at])
    out = b""
    for i, n in enumerate(lengths):
        have = int.from_bytes(index[4 * i:4 * i + 4], "big")
        data = unseal(key, i + 1, aad, stored[at:at + have + 16])
        at += have + 16
        out += data if have == n else decompress(data, n)
        require(have <= n and len(out) == sum(lengths[:i + 1]), "the length of a frame")
    require(at == len(stored), "the length of an extent")
    return out


@dataclasses.dataclass
class File:
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
        self.trust = Trust()
        self.epoch_keys = {}
        self.files = {}
        self.names = {}  # (folder, name): file id
        self.segments = {}  # those that were read, by name and what they must be
        self.head = None
        marker = self.read("v")
        require(marker[:4] == bytes([1, 5, 0, 0]) and len(marker) == 4096 and sha256(marker[:-32]) == marker[-32:], "marker")
        self.vault_id = marker[4:36]
        self.box = self.open_boxes()
        self.start()
        while (self.store / f"c/{self.head + 1:012}").exists():
            self.apply_commit(self.head + 1)

    def read(self, name):
        return (self.store / name).read_bytes()

    def open_boxes(self):
        boxes = sorted((self.store / "k").iterdir(), key=lambda path: -int(path.name.split("-")[0]))
        for path in boxes:
            epoch = int(path.name.split("-")[0])
            secrets = open_box(path.read_bytes(), self.vault_id, epoch, self.identity)
            if secrets:
                self.epoch_keys[epoch] = secrets[0]
                return epoch, f"k/{path.name}", sha256(path.read_bytes())
        raise Refused("no key box opens with this recovery key")

    def start(self):
        numbers = sorted((int(path.name) for path in (self.store / "b").glob("*")), reverse=True)
        for seq in numbers:
            if envelope_epoch(self.read(f"b/{seq:012}"), BASE) in self.epoch_keys:
                self.apply_base(seq)
                break
        else:
            self.head, self.head_hash = -1, ZEROS
            self.apply_commit(0)
        recovery = self.trust.members.get(self.identity.id)
        require(self.trust.vault_id == self.vault_id and recovery and not recovery.removed, "another vault")
        epoch, name, digest = self.box
        require(self.trust.boxes[epoch] == (name, digest), "a key box that no statement pins")

    def admit(self, data, kind, seq):
        envelope = open_envelope(data, kind, seq, self.vault_id, self.epoch_keys[envelope_epoch(data, kind)])
        body = open_body(envelope.body)
        for statement in body.get(1, []):
            self.trust.fold(statement)
        author = self.trust.members.get(envelope.author)
        require(author and not author.removed, "an author who is no member")
        verify(author.sign, envelope.signature, envelope.message)
        require(envelope.epoch == len(self.trust.boxes) - 1 and not self.trust.needs_epoch, "not the current epoch")
        for epoch, wrapped in body.get(2, []):
            self.epoch_keys[epoch] = aes_key_unwrap(self.epoch_keys[envelope.epoch], wrapped)
        return envelope, body

    def apply_base(self, seq):
        envelope, body = self.admit(self.read(f"b/{seq:012}"), BASE, seq)
        commit = self.read(f"c/{seq:012}")
        require(sha256(commit) == envelope.previous, "a base of another chain")
        for i, (name, size, digest) in enumerate(body.get(6, [])):
            data = self.segment(name, size, digest)
            part = open_envelope(data, PART, i, self.vault_id, self.epoch_keys[envelope_epoch(data, PART)])
            require(part.author == envelope.author and part.previous == ZEROS, "a part by somebody else")
            verify(self.trust.members[part.author].sign, part.signature, part.message)
            self.apply(open_body(part.body))
        self.head, self.head_hash = seq, envelope.previous

    def apply_commit(self, seq):
        data = self.read(f"c/{seq:012}")
        envelope, body = self.admit(data, COMMIT, seq)
        require(envelope.previous == self.head_hash, "a commit that does not follow")
        self.apply(body)
        self.head, self.head_hash = seq, sha256(data)

    def apply(self, body):
        segments = body.get(3, [])
        for form in body.get(4, []):
            self.apply_inode(form, segments)
        for parent, file, _, name in body.get(5, []):
            require(b"/" not in name and name not in (b".", b".."), "a name")
            self.names.pop((parent, name), None)
            if file:
                self.names[parent, name] = file

    def apply_inode(self, form, segments):
        fields = form[1]
        file = File() if fields & NEW else self.files[form[0]]
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

    def content(self, file):
        out = bytearray(file.size)
        for no, extents in file.chunks.items():
            for extent, (name, size, digest) in extents:
                offset, length, encoding, version, extent_id, _, at, stored = extent[:8]
                sealed_offset, sealed_length = extent[8:] or (offset, length)
                epoch, wrapped = file.keys[version]
                plain = open_extent(aes_key_unwrap(self.epoch_keys[epoch], wrapped), file.origin, no * CHUNK + sealed_offset,
                                    sealed_length, encoding, extent_id, self.segment(name, size, digest)[at:at + stored])
                start = no * CHUNK + offset
                piece = plain[offset - sealed_offset:offset - sealed_offset + length][:max(0, file.size - start)]
                out[start:start + len(piece)] = piece
        return bytes(out)

    def walk(self):
        """(path, file) of everything in the vault but the top folder, which is self.files[1]."""
        folders = {}
        for (parent, name), file in self.names.items():
            folders.setdefault(parent, []).append((name, file))
        left = [(1, b"")]
        while left:
            folder, path = left.pop()
            for name, file in sorted(folders.get(folder, [])):
                yield path + name, self.files[file]
                if self.files[file].mode & 0o170000 == 0o040000:
                    left.append((file, path + name + b"/"))
