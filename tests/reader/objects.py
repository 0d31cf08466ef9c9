"""Envelopes, bodies and sealed extents: the sections ENVELOPES, BODIES and SEGMENTS of snugfs-format(5)."""
import dataclasses
import stat

import zstandard

from .conventions import Refused, decode, expand, padded, require, sha256, u32, u64, unseal
from .trust import is_bytes, is_uint

COMMIT, BASE, PART = 1, 2, 3
BODY_MAX = 128 << 20
CHUNK = 1 << 20
NEW, MODE, OWNER, MTIME, XATTRS, CONTENT, RESEALED = 1, 2, 4, 8, 16, 32, 64
FILE_TYPES = {stat.S_IFREG: 8, stat.S_IFDIR: 4, stat.S_IFLNK: 10, stat.S_IFIFO: 1, stat.S_IFSOCK: 12, stat.S_IFCHR: 2,
              stat.S_IFBLK: 6}


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
    require(len(data) >= 4096 and padded(len(data)) == len(data), "a size that is no step")
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
    """One frame that states its content size, and nothing behind it."""
    try:
        size = zstandard.get_frame_parameters(data).content_size
        require(size not in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR) and size <= limit, "the size of a frame")
        one = zstandard.ZstdDecompressor().decompressobj()
        out = one.decompress(data)
    except zstandard.ZstdError as e:
        raise Refused("a frame that does not decompress") from e
    require(len(out) == size and one.unused_data == b"", "the size of a frame")
    return out


def is_name(value, limit):
    return isinstance(value, bytes) and 1 <= len(value) <= limit and b"\0" not in value


def is_list(value, *lengths):
    return isinstance(value, list) and (not lengths or len(value) in lengths)


def check_time(value):
    require(is_list(value, 2) and isinstance(value[0], int) and is_uint(value[1]) and value[1] < 10**9, "a time")


def check_ascending(keys, what):
    require(all(a < b for a, b in zip(keys, keys[1:])), what)


def check_segment(form):
    require(is_list(form, 3) and is_bytes(form[0], 16) and is_uint(form[1], 63) and is_bytes(form[2], 32), "a segment")


def check_extent(form, end, inode, segments):
    require(is_list(form, 8, 10) and all(is_uint(form[i]) for i in range(len(form)) if i != 4) and is_bytes(form[4], 16),
            "an extent")
    offset, length, encoding, version, _, segment, at, stored = form[:8]
    sealed_offset, sealed_length = form[8:] or (offset, length)
    require(end <= offset and length > 0 and encoding in (0, 1) and is_uint(stored, 32) and stored > 0, "an extent")
    require(sealed_offset <= offset and offset + length <= sealed_offset + sealed_length <= CHUNK, "an extent's range")
    require(version in {key[0] for key in inode[11]}, "an extent's key")
    require(segment < len(segments) and at + stored <= segments[segment][1], "an extent's place")
    return offset + length


def check_content(inode, segments):
    require(is_uint(inode[10], 63) and is_list(inode[11]) and is_list(inode[12]), "content")
    for key in inode[11]:
        require(is_list(key, 3) and is_uint(key[0], 32) and key[0] > 0 and is_uint(key[1], 32) and is_bytes(key[2], 40), "a key")
    check_ascending([key[0] for key in inode[11]], "versions of keys")
    for chunk in inode[12]:
        require(is_list(chunk, 2) and is_uint(chunk[0]) and chunk[0] * CHUNK < inode[10] and is_list(chunk[1]), "a chunk")
        end = 0
        for extent in chunk[1]:
            end = check_extent(extent, end, inode, segments)
    check_ascending([chunk[0] for chunk in inode[12]], "chunks")


def check_xattrs(inode):
    require(is_list(inode[13]), "xattrs")
    for xattr in inode[13]:
        require(is_list(xattr, 1, 2) and is_name(xattr[0], 255), "an xattr")
        require(len(xattr) == 2 or not inode[1] & NEW, "an xattr that goes before it came")
        require(len(xattr) == 1 or isinstance(xattr[1], bytes) and len(xattr[1]) <= 65536, "an xattr's value")
    check_ascending([xattr[0] for xattr in inode[13]], "xattrs")


def wanted_keys(fields, kind):
    keys = {0, 1, 2, 3}
    keys |= {4} if fields & OWNER else set()
    keys |= {5} if fields & MTIME else set()
    keys |= {10, 11, 12} if fields & CONTENT else set()
    keys |= {13} if fields & XATTRS else set()
    if fields & NEW:
        keys |= {6} | {stat.S_IFCHR: {7}, stat.S_IFBLK: {7}, stat.S_IFLNK: {8}, stat.S_IFREG: {9}}.get(kind, set())
    return keys


def check_inode(inode, segments):
    require(isinstance(inode, dict) and {0, 1, 2, 3} <= set(inode), "an inode")
    require(is_uint(inode[0], 63) and inode[0] > 0 and is_uint(inode[1], 7) and is_uint(inode[2], 16), "an inode")
    fields, kind = inode[1], stat.S_IFMT(inode[2])
    require(kind in FILE_TYPES and set(inode) == wanted_keys(fields, kind), "an inode's keys")
    require(not fields & RESEALED or fields == CONTENT | RESEALED, "content that is the same and not")
    check_time(inode[3])
    if fields & NEW:
        needed = MODE | OWNER | MTIME | (CONTENT if kind == stat.S_IFREG else 0)
        require(fields & needed == needed and is_uint(inode.get(7, 0)), "an inode that is new but not whole")
        require(kind != stat.S_IFREG or is_uint(inode[9], 63) and inode[9] > 0, "an origin")
        require(kind != stat.S_IFLNK or is_name(inode[8], 4095), "a link's target")
        check_time(inode[6])
    if fields & OWNER:
        require(is_list(inode[4], 2) and is_uint(inode[4][0], 32) and is_uint(inode[4][1], 32), "an owner")
    if fields & MTIME:
        check_time(inode[5])
    if fields & CONTENT:
        require(kind == stat.S_IFREG, "content of what has none")
        check_content(inode, segments)
    if fields & XATTRS:
        check_xattrs(inode)


def check_dentry(form):
    require(is_list(form, 4) and is_uint(form[0], 63) and form[0] > 0 and is_uint(form[1], 63), "a dentry")
    require(form[2] in FILE_TYPES.values() if form[1] else form[2] == 0, "a dentry's type")
    require(is_name(form[3], 255) and b"/" not in form[3] and form[3] not in (b".", b".."), "a name")


def open_body(body):
    form = decode(decompress(body, BODY_MAX))
    require(isinstance(form, dict) and form.get(0) == 1 and set(form) <= set(range(8)), "a body of a known form")
    require(all(isinstance(form[key], list) and form[key] for key in form if key), "a list that is empty")
    require(all(isinstance(statement, bytes) for statement in form.get(1, [])), "a statement")
    for key in form.get(2, []):
        require(is_list(key, 2) and is_uint(key[0], 32) and is_bytes(key[1], 40), "an epoch key")
    for segment in form.get(3, []) + form.get(6, []):
        check_segment(segment)
    for inode in form.get(4, []):
        check_inode(inode, form.get(3, []))
    for dentry in form.get(5, []):
        check_dentry(dentry)
    require(all(is_bytes(name, 16) for name in form.get(7, [])), "a segment that is dropped")
    check_ascending(form.get(7, []), "segments that are dropped")
    check_ascending([inode[0] for inode in form.get(4, [])], "inodes")
    check_ascending([(dentry[0], dentry[3]) for dentry in form.get(5, [])], "dentries")
    return form


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
