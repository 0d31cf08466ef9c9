"""The counterpart of the reader, for tests: makes the objects of snugfs-format(5) as a member would, or somebody who knows less and
pretends.  What is not said is as it should be, so that a test changes one thing alone.
"""
import os
import secrets
import stat

import cbor2
import zstandard
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .conventions import ZEROS, expand, extract, hmac_sha256, number, padded, sha256, u32, u64
from .keys import RECOVERY
from .objects import BASE, CONTENT, FILE_TYPES, MODE, MTIME, NEW, OWNER, PART, XATTRS

TIME = 1700000000 * 10**9


def seal(key, nonce, aad, plain):
    return AESGCM(key).encrypt(bytes(4) + u64(nonce), plain, aad)


def encode(form):
    return cbor2.dumps(form, canonical=True)


# Statements


def member_form(kind, identity, name):
    return {0: kind, 1: identity.sign, 2: identity.box, 3: name}


def genesis(device, recovery, names=("a", "b"), time=1):
    body = encode({0: 0, 1: 0, 2: ZEROS, 3: device.id, 4: time, 5: member_form(0, device, names[0]),
                   6: member_form(1, recovery, names[1]), 7: 1})
    message = b"snugfs/1 statement" + ZEROS + body
    return encode([body, device.sign_key.sign(message), recovery.sign_key.sign(message)])


def statement(trust, kind, issuer, *fields, place=None, previous=None, signer=None, time=TIME):
    """The next one that `issuer` says; `signer` signs it."""
    form = {0: kind, 1: trust.count if place is None else place, 2: previous or trust.head, 3: issuer.id, 4: time}
    form.update(enumerate(fields, 5))
    body = encode(form)
    return encode([body, (signer or issuer).sign_key.sign(b"snugfs/1 statement" + trust.vault_id + body)])


# Key boxes


def slot(box_public, plain, info, psk, psk_id, ephemeral=None):
    """RFC 9180: single-shot, mode_psk, KEM 0x0020, KDF 0x0001, AEAD 0x0002."""
    def labeled_extract(suite, salt, label, key):
        return extract(salt, b"HPKE-v1" + suite + label + key)

    def labeled_expand(suite, prk, label, context, length):
        return expand(prk, number(2, length) + b"HPKE-v1" + suite + label + context, length)

    mine = X25519PrivateKey.from_private_bytes(ephemeral or os.urandom(32))
    enc = mine.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    kem, suite = b"KEM\0\x20", b"HPKE\0\x20\0\1\0\2"
    shared = mine.exchange(X25519PublicKey.from_public_bytes(box_public))
    secret = labeled_expand(kem, labeled_extract(kem, b"", b"eae_prk", shared), b"shared_secret", enc + box_public, 32)
    context = b"\1" + labeled_extract(suite, b"", b"psk_id_hash", psk_id) + labeled_extract(suite, b"", b"info_hash", info)
    secret = labeled_extract(suite, secret, b"secret", psk)
    nonce = labeled_expand(suite, secret, b"base_nonce", context, 12)
    return enc + AESGCM(labeled_expand(suite, secret, b"key", context, 32)).encrypt(nonce, plain, b"")


def key_box(vault_id, epoch, epoch_key, link_secret, recovery_psk, members):
    """members: (kind, box public key)."""
    info = b"snugfs/1 key box" + vault_id + u32(epoch)
    plain = epoch_key + link_secret + recovery_psk
    slots = [slot(box, plain, info, recovery_psk, b"snugfs/1 recovery") if kind == RECOVERY else
             slot(box, plain, info, link_secret, b"snugfs/1 link") for kind, box in members]
    while not slots or len(slots) % 8:
        slots.append(os.urandom(144))
    secrets.SystemRandom().shuffle(slots)
    box = bytes([1, 4, 1, 0]) + u32(epoch) + b"".join(slots)
    return box + os.urandom(padded(len(box)) - len(box))


# Envelopes


def compress(data):
    return zstandard.ZstdCompressor().compress(data)


def envelope(vault_id, epoch, epoch_key, kind, seq, previous, author, body, **other):
    """body: a form, or compressed bytes.  other: header, signer, salt, signature, key, time, author_id, sealed_as, size."""
    packed = body if isinstance(body, bytes) else compress(encode(body))
    time, salt = other.get("time", TIME), other.get("salt") or os.urandom(32)
    header = other.get("header", bytes([1, kind, 1, 0])) + u32(epoch) + salt
    author_id = other.get("author_id", author.id)
    message = (b"snugfs/1 commit" + vault_id + u64(seq) + sha256(header) + previous + author_id + u64(time) + sha256(packed))
    signature = other.get("signature") or other.get("signer", author).sign_key.sign(message)
    plain = u64(len(packed)) + previous + author_id + u64(time) + packed + signature
    size = other.get("size") or padded(40 + len(plain) + 16)
    key = other.get("key") or expand(epoch_key, b"snugfs/1 envelope" + bytes([other.get("sealed_as", kind)]) + vault_id + u64(seq) +
                                     salt)
    return header + seal(key, 0, header, plain.ljust(size - 56, b"\0"))


# Bodies


def inode_form(file, fields, segments):
    """A file of the reader's state; what of its segments is missing in the table is added there."""
    form = {0: file.id, 1: fields, 2: file.mode, 3: list(file.ctime)}
    if fields & OWNER:
        form[4] = list(file.owner)
    if fields & MTIME:
        form[5] = list(file.mtime)
    if fields & NEW:
        form[6] = list(file.btime)
        kind = stat.S_IFMT(file.mode)
        form.update({stat.S_IFCHR: {7: file.rdev}, stat.S_IFBLK: {7: file.rdev}, stat.S_IFLNK: {8: file.target},
                     stat.S_IFREG: {9: file.origin}}.get(kind, {}))
    if fields & CONTENT:
        form[10] = file.size
        form[11] = [[version, epoch, wrapped] for version, (epoch, wrapped) in sorted(file.keys.items())]
        form[12] = [[no, [place(extent, segment, segments) for extent, segment in extents]]
                    for no, extents in sorted(file.chunks.items())]
    if fields & XATTRS:
        form[13] = [[name, value] for name, value in sorted(file.xattrs.items())]
    return form


def place(extent, segment, segments):
    if list(segment) not in segments:
        segments.append(list(segment))
    return [*extent[:5], segments.index(list(segment)), *extent[6:]]


def content_body(*files):
    """What says that these files have the content that they have in the reader's state."""
    segments = []
    inodes = [inode_form(file, CONTENT, segments) for file in sorted(files, key=lambda file: file.id)]
    return {0: 1, 3: segments, 4: inodes} if segments else {0: 1, 4: inodes}


def base_of(vault, seq, author, statements, **other):
    """(base, name of its part, part) for the reader's state of a vault, whose head is seq."""
    segments, inodes = [], []
    for file in sorted((vault.files[i] for i in {1, *vault.names.values()}), key=lambda file: file.id):
        fields = NEW | MODE | OWNER | MTIME | (CONTENT if stat.S_ISREG(file.mode) else 0) | (XATTRS if file.xattrs else 0)
        inodes.append(inode_form(file, fields, segments))
    names = [[parent, file, FILE_TYPES[stat.S_IFMT(vault.files[file].mode)], name]
             for (parent, name), file in sorted(vault.names.items())]
    tree = {0: 1, 4: inodes}
    tree.update({3: segments} if segments else {})
    tree.update({5: names} if names else {})
    epoch = other.pop("epoch", max(vault.epoch_keys))
    key = vault.epoch_keys[epoch]
    part = envelope(vault.vault_id, epoch, key, PART, 0, ZEROS, author, tree)
    name = os.urandom(16)
    body = {0: 1, 1: statements, 6: [[name, len(part), sha256(part)]]}
    if epoch > 0:
        body[2] = [[old, aes_key_wrap(key, vault.epoch_keys[old])] for old in range(epoch)]
    previous = other.pop("previous", vault.head_hash)
    return envelope(vault.vault_id, epoch, key, BASE, seq, previous, author, body, **other), name, part


# Files of a device


def device_file(secret, vault_id, slots=None, version=2):
    slots = slots or [{0: 0, 1: bytes(8), 2: "a", 3: 1, 4: encode({}), 5: secret}]
    covered = encode({0: "snugfs device file", 1: version, 2: vault_id, 3: slots})[1:]
    mac = hmac_sha256(expand(extract(b"", secret), b"snugfs/1 device file"), covered)
    return b"\xa5" + covered + encode(5) + encode(mac)
