"""System calls as they are: a result of 0 or more, or an error's number below 0.  Paths may be str or bytes, None is NULL."""
import ctypes
import errno
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EACCESS = 0x200
AT_REMOVEDIR = 0x200
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_WHITEOUT = 4
FALLOC_KEEP_SIZE = 1
FALLOC_PUNCH_HOLE = 2
FALLOC_COLLAPSE_RANGE = 8
FALLOC_ZERO_RANGE = 16
FALLOC_INSERT_RANGE = 32
UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2
O_TMPFILE = 0o20200000
BAD_ADDRESS = ctypes.c_char_p(1)

# p: path or text, i: int, u: unsigned, l: 64 bits, v: pointer to a buffer
SIGNATURES = {
    "chdir": "p", "chmod": "pi", "chown": "puu", "close": "i", "creat": "pi", "faccessat": "ipii",
    "fallocate": "iill", "fchdir": "i", "fchmod": "ii", "fchmodat": "ipii", "fchown": "iuu", "fchownat": "ipuui", "fcntl": "iil",
    "fdatasync": "i", "flock": "ii", "fsync": "i", "ftruncate": "il", "futimens": "iv", "getxattr": "ppvl", "lchown": "puu",
    "lgetxattr": "ppvl", "link": "pp", "linkat": "ipipi", "llistxattr": "pvl", "listxattr": "pvl", "lremovexattr": "pp",
    "lsetxattr": "ppvli", "lseek": "ili", "mkdir": "pi", "mkdirat": "ipi", "mkfifo": "pi", "mknod": "pil", "mount": "ppplv",
    "open": "pii", "openat": "ipii", "posix_fallocate": "ill", "pread": "ivll", "pwrite": "ivll", "readlink": "pvl",
    "removexattr": "pp", "rename": "pp", "renameat2": "ipipi", "rmdir": "p", "setxattr": "ppvli", "fsetxattr": "ipvli",
    "fgetxattr": "ipvl", "statfs": "pv", "symlink": "pp", "syncfs": "i", "truncate": "pl", "unlink": "p", "unlinkat": "ipi",
    "unshare": "i", "utimensat": "ipvi", "write": "ivl",
}
KINDS = {"p": ctypes.c_char_p, "i": ctypes.c_int, "u": ctypes.c_uint, "l": ctypes.c_longlong, "v": ctypes.c_void_p}
RETURNS_ERROR = {"posix_fallocate"}  # rather than setting errno


def _bind(name, signature):
    function = getattr(libc, name)
    function.argtypes = [KINDS[kind] for kind in signature]
    function.restype = ctypes.c_longlong if name in ("lseek", "pread", "pwrite", "write") else ctypes.c_int
    return function


FUNCTIONS = {name: _bind(name, signature) for name, signature in SIGNATURES.items()}


def call(name, *args):
    """The result of the system call, or -errno."""
    arguments = [os.fsencode(a) if isinstance(a, str) else a for a in args]
    arguments = [a & 0xFFFFFFFF if k == "u" else a for a, k in zip(arguments, SIGNATURES[name])]
    result = FUNCTIONS[name](*arguments)
    if name in RETURNS_ERROR:
        return -result
    return -ctypes.get_errno() if result == -1 else result


def lstat(path):
    """os.lstat, or -errno."""
    try:
        return os.lstat(path)
    except OSError as e:
        return -e.errno


def times(atime, mtime):
    """Two timespecs of (seconds, nanoseconds)."""
    return ctypes.create_string_buffer(struct.pack("=qqqq", *atime, *mtime), 32)


def name_of(result):
    """An outcome as text: 0, a number, or an error's name."""
    if result == -errno.EOPNOTSUPP:
        return "EOPNOTSUPP"  # the same number as ENOTSUP
    return errno.errorcode.get(-result, str(result)) if isinstance(result, int) and result < 0 else str(result)
