"""Members' keys, the recovery key as text, and key boxes: the section KEYS of snugfs-format(5)."""
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .conventions import expand, extract, number, padded, require, sha256, u32

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
DEVICE, RECOVERY, INVITATION = 0, 1, 2


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
    require(set(letters) <= set(ALPHABET), "a character that no recovery key has")
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
        self.prk = extract({DEVICE: b"snugfs/1 device", RECOVERY: b"snugfs/1 recovery", INVITATION: b"snugfs/1 invitation"}[kind], secret)
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
