"""Who is a member: the section TRUST of snugfs-format(5)."""
import dataclasses
import re

from .conventions import ZEROS, decode, require, sha256, verify
from .keys import DEVICE, INVITATION, RECOVERY, member_id

GENESIS, ADD, REMOVE, EPOCH, RENAME, POLICY = range(6)
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def check_name(name):
    require(isinstance(name, str) and 1 <= len(name.encode()) <= 64 and not UNPRINTABLE.search(name), "the name of a member")


def is_bytes(value, length):
    return isinstance(value, bytes) and len(value) == length


def is_box_name(value):
    return isinstance(value, str) and re.fullmatch(r"k/[0-9a-z-]{1,62}", value)


def is_uint(value, bits=64):
    return isinstance(value, int) and 0 <= value < 1 << bits


@dataclasses.dataclass
class Member:
    kind: int
    sign: bytes
    box: bytes
    name: str
    removed: bool = False
    expires: int = 0
    host: object = None  # of an invitation: who gave it out


class Trust:
    def __init__(self):
        self.members = {}
        self.boxes = []  # by epoch: name, SHA-256
        self.head = ZEROS
        self.count = 0
        self.vault_id = ZEROS
        self.needs_epoch = False
        self.devices_add = 1
        self.entering = None  # an invitation that has added a device

    def fold(self, statement):
        parts = decode(statement)
        require(isinstance(parts, list) and 2 <= len(parts) <= 3 and isinstance(parts[0], bytes) and
                all(is_bytes(signature, 64) for signature in parts[1:]), "the form of a statement")
        body_bytes, *signatures = parts
        body = self.body(body_bytes)
        require(body[1] == self.count and body[2] == self.head, "a statement out of its place")
        require((body[0] == GENESIS) == (self.count == 0), "a genesis in its place")
        message = b"snugfs/1 statement" + self.vault_id + body_bytes
        issuer = None
        if body[0] == GENESIS:
            require(body[7] == 1 and len(signatures) == 2, "the form of the genesis")
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
            self.check_invitations(body, issuer)
            self.fold_other(body, issuer)
        self.head = sha256(statement)
        self.count += 1

    @staticmethod
    def body(data):
        body = decode(data)
        sizes = {GENESIS: 8, ADD: 6, REMOVE: 6, EPOCH: 8, RENAME: 7, POLICY: 8}
        require(isinstance(body, dict) and body.get(0) in sizes and set(body) == set(range(sizes[body[0]])), "a statement's form")
        require(is_uint(body[1]) and is_bytes(body[2], 32) and is_bytes(body[3], 16) and is_uint(body[4]), "a statement's form")
        if body[0] in (REMOVE, RENAME):
            require(is_bytes(body[5], 16), "a statement's form")
        if body[0] == RENAME:
            check_name(body[6])
        if body[0] == EPOCH:
            require(is_uint(body[5], 32) and is_box_name(body[6]) and is_bytes(body[7], 32), "a statement's form")
        if body[0] == POLICY:
            require(is_uint(body[5], 32) and is_uint(body[6], 32) and body[7] in (0, 1), "a statement's form")
            require(body[5] == body[6] == 1, "a floor above what this reader knows")
        return body

    def check_invitations(self, body, issuer):
        require(self.entering in (None, issuer), "something between a device and the end of its invitation")
        if issuer.kind != INVITATION:
            return
        require(body[4] <= issuer.expires, "an invitation whose time was over")
        if self.entering:
            require(body[0] == REMOVE and self.members.get(body[5]) is issuer, "an invitation that says more than it may")
        else:
            require(body[0] == ADD and body[5].get(0) == DEVICE, "an invitation that says more than it may")

    def fold_other(self, body, issuer):
        if body[0] == ADD:
            member = self.member(body[5])
            authority = issuer.host if issuer.kind == INVITATION else issuer
            require(authority.kind == RECOVERY or self.devices_add, "somebody added by who may not")
            require(issuer.kind == RECOVERY or member.kind != RECOVERY, "a recovery key added by who may not")
            if member.kind == INVITATION:
                require(self.boxes and member.expires > body[4], "an invitation that could never be used")
                member.host = issuer
            self.add(member)
            if issuer.kind == INVITATION:
                self.entering = issuer
                self.needs_epoch = True
        elif body[0] == POLICY:
            require(issuer.kind == RECOVERY or body[7] <= self.devices_add, "a policy that is loosened by a device")
            self.devices_add = body[7]
        elif body[0] == EPOCH:
            require(body[5] == len(self.boxes), "an epoch out of order")
            self.boxes.append((body[6], body[7]))
            self.needs_epoch = False
        else:
            subject = self.members.get(body[5])
            require(subject and not subject.removed and (subject.kind != RECOVERY or subject is issuer), "who is spoken about")
            if body[0] == RENAME:
                require(subject.kind != INVITATION, "an invitation that gets another name")
                subject.name = body[6]
            else:
                others = [m for m in self.members.values() if m is not subject and not m.removed and m.kind != INVITATION]
                require(others, "the last member stays")
                subject.removed = True
                for guest in self.members.values():
                    guest.removed = guest.removed or guest.host is subject
                self.needs_epoch = True
                self.entering = None

    @staticmethod
    def member(form, kind=None):
        require(isinstance(form, dict) and form.get(0) in (DEVICE, RECOVERY, INVITATION), "a member")
        require(set(form) == set(range(7 if form[0] == INVITATION else 4)), "a member")
        require(kind in (None, form[0]) and is_bytes(form[1], 32) and is_bytes(form[2], 32), "a member")
        check_name(form[3])
        member = Member(*(form[key] for key in range(4)))
        if form[0] == INVITATION:
            require(is_uint(form[4]) and is_box_name(form[5]) and is_bytes(form[6], 32), "an invitation")
            member.expires = form[4]
        return member

    def add(self, member):
        for old in self.members.values():
            require(old.sign != member.sign and old.box != member.box, "a key that comes back")
        self.members[member_id(member.sign, member.box)] = member
