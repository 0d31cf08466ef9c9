"""The conventions of snugfs-format(5): integers, hashes, sealing, signatures, deterministic CBOR, padding."""
import hashlib
import io

import cbor2
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ZEROS = bytes(32)
DEPTH_MAX = 16  # far more than any form on the page needs


class Refused(Exception):
    """Something in the store is not as the page says."""


def require(condition, what):
    if not condition:
        raise Refused(what)


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


def check_items(value, depth=0):
    """No tags, floats or simple values; maps have unsigned keys."""
    require(depth <= DEPTH_MAX, "CBOR that is nested too deeply")
    if isinstance(value, list):
        for item in value:
            check_items(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            require(type(key) is int and 0 <= key < 1 << 64, "a key that is no unsigned integer")
            check_items(item, depth + 1)
    else:
        require(type(value) in (int, bytes, str) and (type(value) is not int or -1 << 63 <= value < 1 << 64), "CBOR of another kind")


def decode(data):
    """Deterministic CBOR: what decodes must encode to the same bytes."""
    stream = io.BytesIO(data)
    try:
        value = cbor2.CBORDecoder(stream).decode()
        require(stream.read() == b"" and cbor2.dumps(value, canonical=True) == data, "CBOR that is not deterministic")
    except (cbor2.CBORDecodeError, cbor2.CBOREncodeError, ValueError, TypeError, RecursionError, OverflowError, MemoryError) as e:
        raise Refused("CBOR that is not well-formed") from e
    check_items(value)
    return value


def padded(length):
    if length <= 4096:
        return 4096
    e = length.bit_length() - 1
    mask = (1 << (e - e.bit_length())) - 1
    return (length + mask) & ~mask
