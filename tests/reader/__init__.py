"""An independent reader of a vault, written from snugfs-format(5) alone: from a store's directory and the recovery key to all
files.  It shares nothing with the program but that page, and refuses (Refused) what the page does not allow.
"""
from .conventions import *  # noqa: F401,F403  pylint: disable=wildcard-import
from .keys import *  # noqa: F401,F403  pylint: disable=wildcard-import
from .objects import *  # noqa: F401,F403  pylint: disable=wildcard-import
from .trust import *  # noqa: F401,F403  pylint: disable=wildcard-import
from .vault import *  # noqa: F401,F403  pylint: disable=wildcard-import
