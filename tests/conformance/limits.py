"""What ext4 does and a snugfs mount does not, and why.  The manual page says the same: the words are looked for there."""
import re

LIMITS = [
    # (case, check, words in snugfs.1, reason)
    ("unnamed_temporary_files", r"O_TMPFILE gives a file", "O_TMPFILE",
     "FUSE has had a message for it since Linux 6.3; libfuse 3.14 does not know it.  Programs get EOPNOTSUPP."),
    ("fallocate_collapses_and_inserts", r".*", "FALLOC_FL_COLLAPSE_RANGE",
     "The kernel's FUSE refuses both modes with EOPNOTSUPP before the file system sees them."),
    ("truncate_moves_times_even_to_the_same_size", r"truncate\('f', \d+\) moves of f: cm", "to the size that a file has",
     "With its writeback cache the kernel keeps a file's times itself, and does not move them when truncate(2) changes no size."),
    ("writing_into_a_fifo_moves_its_times", r"write\(.*\) moves of p: cm", "nor does writing into a",
     "The kernel's FUSE keeps no times of what is no regular file: what is written into a fifo never comes to the file system."),
    ("mappings_and_calls_see_the_same", r"what was stored behind the end is gone", "behind the end of a file",
     "The kernel's FUSE does not clear the rest of the last page when a file grows."),
    ("the_time_of_making_is_told", r"it has a time of making", "time of making",
     "FUSE has had a message for it since Linux 6.6; libfuse 3.14 does not know it."),
]


def limit_of(case, check):
    """The limit that such a failure falls under, or None."""
    for limit in LIMITS:
        if case == limit[0] and re.fullmatch(limit[1] + r"( \(#\d+\))?", check):
            return limit
    return None
