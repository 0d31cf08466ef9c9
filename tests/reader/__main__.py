"""Everything out of a store with the recovery key, without the program:

    python3 -m reader STORE KEY-FILE list            what is in the vault, as JSON
    python3 -m reader STORE KEY-FILE write FOLDER    into an empty folder
    python3 -m reader STORE KEY-FILE compare FOLDER  whether a folder is the same

STORE is the directory of a dir: store, or a copy of it.  Needs Debian's python3-cryptography, python3-cbor2 and
python3-zstandard; run it in tests/ of the source.
"""
import json
import os
import pathlib
import re
import sys

from . import Refused, Vault, tree


def main(args):
    if len(args) < 3 or (args[2], len(args)) not in (("list", 3), ("write", 4), ("compare", 4)):
        print(__doc__, file=sys.stderr)
        return 2
    text = pathlib.Path(args[1]).read_text(encoding="utf-8")
    key = re.search(r"(?i)[0-9A-Z]{4}([- ][0-9A-Z]{4}){6}", text)
    vault = Vault(args[0], key.group(0) if key else text)
    if args[2] == "list":
        print(json.dumps(tree.of_vault(vault), indent=1, sort_keys=True))
        return 0
    if args[2] == "write":
        problems = tree.write(vault, args[3])
        for path, reason in problems:
            print(f"{os.fsdecode(path)}: {reason}", file=sys.stderr)
        return 1 if problems else 0
    there, here = tree.of_vault(vault), tree.of_folder(args[3])
    for path in sorted(set(there) | set(here)):
        if there.get(path) != here.get(path):
            print(f"{path!r}: {there.get(path)} in the vault, {here.get(path)} in the folder")
    return 0 if there == here else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Refused as refused:
        print(f"refused: {refused}", file=sys.stderr)
        sys.exit(1)
