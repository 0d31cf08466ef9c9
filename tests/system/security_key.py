"""A FIDO2 security key that is software: CTAP 2.0 and 2.1 over CTAPHID, on a pseudo-terminal in place of /dev/hidraw.

libfido2 opens any character device, and takes reports of 64 bytes where nothing tells it their size; it does not know the difference.
What such a key should do is in FIDO's "Client to Authenticator Protocol"; the names are from there.
"""
import hashlib
import hmac
import os
import pathlib
import pty
import secrets
import select
import struct
import termios
import threading
import tty

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

REPORT = 64
BROADCAST = b"\xff\xff\xff\xff"
INIT, CBOR, CANCEL, KEEPALIVE, ERROR = 0x06, 0x10, 0x11, 0x3b, 0x3f
CHANNEL_BUSY, CBOR_ONLY = 0x06, 0x0c
MAKE_CREDENTIAL, GET_ASSERTION, GET_INFO, CLIENT_PIN = 1, 2, 4, 6
USER_PRESENT, USER_VERIFIED, ATTESTED, EXTENDED = 1, 4, 0x40, 0x80
UP_NEEDED = 2
PIN_TRIES, PIN_TRIES_IN_A_ROW = 8, 3


class Refusal(Exception):
    """A status of CTAP2 other than 0."""
    INVALID_COMMAND, MISSING_PARAMETER, UNSUPPORTED_ALGORITHM, OPERATION_DENIED = 0x01, 0x14, 0x26, 0x27
    KEEPALIVE_CANCEL, NO_CREDENTIALS, USER_ACTION_TIMEOUT = 0x2d, 0x2e, 0x2f
    PIN_INVALID, PIN_BLOCKED, PIN_AUTH_INVALID, PIN_AUTH_BLOCKED, PIN_NOT_SET, PIN_REQUIRED = range(0x31, 0x37)

    def __init__(self, status):
        super().__init__(hex(status))
        self.status = status


class Gone(Exception):
    """The key was pulled out, or whoever asked has begun anew."""


def encode(value):
    return cbor2.dumps(value, canonical=True)


def sha256(data):
    return hashlib.sha256(data).digest()


def cose(public, algorithm):
    numbers = public.public_numbers()
    return {1: 2, 3: algorithm, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}


class PinProtocol:
    """What both sides encrypt and authenticate with, as version 1 or 2 has it."""

    def __init__(self, version):
        self.version = version
        self.private = ec.generate_private_key(ec.SECP256R1())

    def agree(self, theirs):
        public = ec.EllipticCurvePublicNumbers(int.from_bytes(theirs[-2], "big"), int.from_bytes(theirs[-3], "big"), ec.SECP256R1())
        z = self.private.exchange(ec.ECDH(), public.public_key())
        if self.version == 1:
            return sha256(z), sha256(z)
        return tuple(HKDF(hashes.SHA256(), 32, bytes(32), name).derive(z) for name in (b"CTAP2 HMAC key", b"CTAP2 AES key"))

    def encrypt(self, keys, plain):
        iv = bytes(16) if self.version == 1 else secrets.token_bytes(16)
        cipher = Cipher(algorithms.AES(keys[1]), modes.CBC(iv)).encryptor()
        return (b"" if self.version == 1 else iv) + cipher.update(plain) + cipher.finalize()

    def decrypt(self, keys, data):
        iv, data = (bytes(16), data) if self.version == 1 else (data[:16], data[16:])
        cipher = Cipher(algorithms.AES(keys[1]), modes.CBC(iv)).decryptor()
        return cipher.update(data) + cipher.finalize()

    def authenticate(self, key, message):
        return hmac.digest(key, message, "sha256")[:16 if self.version == 1 else 32]


class Model:
    """What a key knows and does, without the cable."""

    def __init__(self, pin=None, protocol=1, with_secret=True, permissions=False, always_verifies=False, aaguid=b"a model of a key"):
        self.protocol = PinProtocol(protocol)
        self.with_secret, self.permissions, self.always_verifies = with_secret, permissions, always_verifies
        self.aaguid = aaguid
        self.pin_hash = pin and sha256(pin.encode())[:16]
        self.tries, self.wrong_in_a_row = PIN_TRIES, 0
        self.token = secrets.token_bytes(32)
        self.credentials = {}  # id: (private key, secret without a PIN, secret with it)
        self.touch = lambda: None
        self.touches = 0
        self.id_length = 64

    def plugged_in(self):
        self.wrong_in_a_row = 0
        self.token = secrets.token_bytes(32)

    def perform(self, command, request):
        handlers = {MAKE_CREDENTIAL: self.make_credential, GET_ASSERTION: self.get_assertion, GET_INFO: lambda _: self.info(),
                    CLIENT_PIN: self.client_pin}
        if command not in handlers:
            raise Refusal(Refusal.INVALID_COMMAND)
        return handlers[command](request)

    def info(self):
        options = {"rk": True, "up": True, "plat": False, "clientPin": self.pin_hash is not None}
        if self.permissions:
            options |= {"pinUvAuthToken": True, "alwaysUv": self.always_verifies}
        extensions = ["credProtect"] + (["hmac-secret"] if self.with_secret else [])
        return {1: ["FIDO_2_0"] + (["FIDO_2_1"] if self.permissions else []), 2: extensions, 3: self.aaguid, 4: options, 5: 1200,
                6: [self.protocol.version]}

    # The PIN

    def client_pin(self, request):
        handlers = {1: self.pin_tries, 2: self.key_agreement, 3: self.set_pin, 5: self.pin_token, 9: self.pin_token}
        if request[2] not in handlers:
            raise Refusal(Refusal.INVALID_COMMAND)
        return handlers[request[2]](request)

    def pin_tries(self, _):
        return {3: self.tries}

    def key_agreement(self, _):
        return {1: cose(self.protocol.private.public_key(), -25)}

    def set_pin(self, request):
        keys = self.protocol.agree(request[3])
        if self.pin_hash is not None or request[4] != self.protocol.authenticate(keys[0], request[5]):
            raise Refusal(Refusal.PIN_AUTH_INVALID)
        self.pin_hash = sha256(self.protocol.decrypt(keys, request[5]).rstrip(b"\0"))[:16]
        return None

    def pin_token(self, request):
        if self.pin_hash is None:
            raise Refusal(Refusal.PIN_NOT_SET)
        if self.tries == 0:
            raise Refusal(Refusal.PIN_BLOCKED)
        if self.wrong_in_a_row == PIN_TRIES_IN_A_ROW:
            raise Refusal(Refusal.PIN_AUTH_BLOCKED)
        keys = self.protocol.agree(request[3])
        self.tries -= 1
        if self.protocol.decrypt(keys, request[6]) != self.pin_hash:
            self.wrong_in_a_row += 1
            self.protocol.private = ec.generate_private_key(ec.SECP256R1())
            raise Refusal(Refusal.PIN_BLOCKED if self.tries == 0 else Refusal.PIN_AUTH_BLOCKED
                          if self.wrong_in_a_row == PIN_TRIES_IN_A_ROW else Refusal.PIN_INVALID)
        self.tries, self.wrong_in_a_row = PIN_TRIES, 0
        return {2: self.protocol.encrypt(keys, self.token)}

    def verify(self, given, hashed):
        """Whether who asks has proved that they know the PIN."""
        if given is not None and given != self.protocol.authenticate(self.token, hashed):
            raise Refusal(Refusal.PIN_AUTH_INVALID)
        return USER_VERIFIED if given is not None else 0

    # Credentials

    def be_touched(self):
        self.touches += 1
        self.touch()
        return USER_PRESENT

    def make_credential(self, request):
        if not any(p["alg"] == -7 for p in request[4]):
            raise Refusal(Refusal.UNSUPPORTED_ALGORITHM)
        if self.pin_hash is not None and 8 not in request:
            raise Refusal(Refusal.PIN_REQUIRED)
        flags = self.verify(request.get(8), request[1]) | self.be_touched() | ATTESTED
        name, private = secrets.token_bytes(self.id_length), ec.generate_private_key(ec.SECP256R1())
        self.credentials[name] = (private, secrets.token_bytes(32), secrets.token_bytes(32))
        data = self.aaguid + struct.pack(">H", len(name)) + name + encode(cose(private.public_key(), -7))
        if self.with_secret and request.get(6, {}).get("hmac-secret"):
            flags |= EXTENDED
            data += encode({"hmac-secret": True})
        data = sha256(request[2]["id"].encode()) + struct.pack(">BI", flags, self.touches) + data
        return {1: "packed", 2: data, 3: {"alg": -7, "sig": private.sign(data + request[1], ec.ECDSA(hashes.SHA256()))}}

    def output(self, name, asked, verified):
        keys = self.protocol.agree(asked[1])
        if asked[3] != self.protocol.authenticate(keys[0], asked[2]):
            raise Refusal(Refusal.PIN_AUTH_INVALID)
        salts = self.protocol.decrypt(keys, asked[2])
        return self.protocol.encrypt(keys, b"".join(self.secret(name, salts[at:at + 32], verified) for at in range(0, len(salts), 32)))

    def secret(self, name, salt, verified):
        return hmac.digest(self.credentials[name][2 if verified else 1], salt, "sha256")

    def get_assertion(self, request):
        if self.always_verifies and 6 not in request:
            raise Refusal(Refusal.PIN_REQUIRED)
        flags = self.verify(request.get(6), request[2])
        known = [c["id"] for c in request.get(3, []) if c["id"] in self.credentials]
        if not known:
            raise Refusal(Refusal.NO_CREDENTIALS)
        if request.get(5, {}).get("up", True):
            flags |= self.be_touched()
        data = b""
        if self.with_secret and "hmac-secret" in request.get(4, {}):
            if not flags & USER_PRESENT:
                raise Refusal(Refusal.OPERATION_DENIED)
            flags |= EXTENDED
            data = encode({"hmac-secret": self.output(known[0], request[4]["hmac-secret"], flags & USER_VERIFIED)})
        data = sha256(request[1].encode()) + struct.pack(">BI", flags, self.touches) + data
        signature = self.credentials[known[0]][0].sign(data + request[2], ec.ECDSA(hashes.SHA256()))
        return {1: {"type": "public-key", "id": known[0]}, 2: data, 3: signature}


class SecurityKey(Model):
    """Plugged in as a device at `path`.  What a touch does is `touched`, `never` (the key gives up), `pulled` (out) or `waits`."""

    def __init__(self, path, **model):
        super().__init__(**model)
        self.path = pathlib.Path(path)
        self.behaviour = "touched"
        self.finger, self.is_asking = threading.Event(), threading.Event()
        self.is_over = threading.Event()
        self.touch = self.at_touch
        self.thread = None
        self.plug_in()

    def plug_in(self):
        self.plugged_in()
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        settings = termios.tcgetattr(self.slave)
        settings[6][termios.VMIN], settings[6][termios.VTIME] = REPORT, 0  # reports come whole, also for poll(2)
        termios.tcsetattr(self.slave, termios.TCSANOW, settings)
        self.path.symlink_to(os.ttyname(self.slave))
        self.received, self.channel = b"", 0
        self.wake_read, self.wake_write = os.pipe()
        self.is_over.clear()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def pull_out(self):
        if self.thread is None:
            return
        self.is_over.set()
        os.write(self.wake_write, b"x")
        if self.thread is not threading.current_thread():
            self.thread.join()
        self.thread = None

    def serve(self):
        try:
            while not self.is_over.is_set():
                try:
                    self.answer(*self.receive())
                except Gone:
                    continue
        finally:
            self.path.unlink(missing_ok=True)
            for fd in (self.master, self.slave, self.wake_read, self.wake_write):
                os.close(fd)

    # Touching

    def at_touch(self):
        self.is_asking.set()
        if self.behaviour == "never":
            raise Refusal(Refusal.USER_ACTION_TIMEOUT)
        if self.behaviour == "pulled":
            self.pull_out()
            raise Gone
        while self.behaviour == "waits" and not self.finger.is_set():
            self.send(self.current, KEEPALIVE, bytes([UP_NEEDED]))
            if self.more(0.05):
                self.be_interrupted()
        self.finger.clear()
        self.is_asking.clear()

    def be_interrupted(self):
        if self.is_over.is_set():
            raise Gone
        command = self.received[5] & 0x7f
        if command == CANCEL:
            self.received = self.received[1 + REPORT:]
            raise Refusal(Refusal.KEEPALIVE_CANCEL)
        raise Gone  # somebody begins anew

    # Reports

    def more(self, timeout=None):
        """Whether a whole report is there."""
        if len(self.received) > REPORT:
            return True
        ready = select.select([self.master, self.wake_read], [], [], timeout)[0]
        if self.master in ready and not self.is_over.is_set():
            self.received += os.read(self.master, 4096)
        return self.is_over.is_set() or len(self.received) > REPORT

    def report(self):
        while not self.more():
            pass
        if self.is_over.is_set():
            raise Gone
        report, self.received = self.received[1:1 + REPORT], self.received[1 + REPORT:]  # behind the report's number
        return report

    def receive(self):
        first = self.report()
        channel, command, length = first[:4], first[4] & 0x7f, struct.unpack(">H", first[5:7])[0]
        data = first[7:]
        while len(data) < length:
            data += self.report()[5:]
        return channel, command, data[:length]

    def send(self, channel, command, data):
        reports = [channel + bytes([command | 0x80]) + struct.pack(">H", len(data)) + data[:57]]
        reports += [channel + bytes([i]) + data[at:at + 59] for i, at in enumerate(range(57, len(data), 59))]
        for report in reports:
            os.write(self.master, report.ljust(REPORT, b"\0"))

    def answer(self, channel, command, data):
        self.current = channel
        if command == INIT:
            termios.tcflush(self.slave, termios.TCIFLUSH)  # what was meant for who has gone
            self.channel += 1
            self.send(channel, INIT, data[:8] + struct.pack(">I", self.channel) + bytes([2, 1, 0, 0, CBOR_ONLY]))
        elif command == CBOR:
            try:
                answer = self.perform(data[0], cbor2.loads(data[1:]) if len(data) > 1 else {})
                self.send(channel, CBOR, b"\0" + (encode(answer) if answer is not None else b""))
            except Refusal as refusal:
                self.send(channel, CBOR, bytes([refusal.status]))
        elif command != CANCEL:
            self.send(channel, ERROR, b"\x01")
