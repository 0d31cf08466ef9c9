"""Vaults that were made once, and can be read forever: by the program, and by the independent reader (tests/golden/make)."""
import functools
import json
import operator
import os
import pathlib
import shutil

import pytest

import reader
from reader import tree

TOP = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = sorted(path.parent for path in (TOP / "tests" / "golden").glob("*/tree.json"))


def without_base(store):
    """The chain has it all, too: the base's part stays, which nothing needs then."""
    shutil.rmtree(store / "b")


@pytest.fixture(params=GOLDEN, ids=lambda path: path.name)
def golden(request, vault):
    """(what is in it, a copy of its store, its key as text)"""
    store = vault.root / "golden"
    shutil.copytree(request.param / "store", store)
    text = (request.param / "recovery-key").read_text(encoding="utf-8").strip()
    return json.loads((request.param / "tree.json").read_text(encoding="utf-8")), store, text


def test_there_are_golden_vaults_and_they_are_small():
    assert {"format-1", "format-1-members", "format-1-rekeyed"} <= {path.name for path in GOLDEN}
    assert sum(path.stat().st_size for path in (TOP / "tests" / "golden").rglob("*") if path.is_file()) < 600000


def test_the_golden_vaults_have_one_of_all_that_a_commit_can_say():
    keys, kinds, fields = set(), set(), 0
    for folder in GOLDEN:
        vault = reader.Vault(folder / "store", (folder / "recovery-key").read_text(encoding="utf-8").strip())
        for seq in range(vault.head + 1):
            body = reader.open_body(vault.open(vault.read(f"c/{seq:012}"), reader.COMMIT, seq)[0].body)
            keys.update(body)
            fields = functools.reduce(operator.or_, (inode[1] for inode in body.get(4, [])), fields)
            for statement in body.get(1, []):
                form = reader.Trust.body(reader.decode(statement)[0])
                kinds.add((form[0], form[5][0]) if form[0] == reader.ADD else form[0])
    assert keys == {0, 1, 2, 3, 4, 5, 7}
    assert fields == reader.NEW | reader.MODE | reader.OWNER | reader.MTIME | reader.XATTRS | reader.CONTENT | reader.RESEALED
    assert kinds == {reader.GENESIS, (reader.ADD, reader.DEVICE), (reader.ADD, reader.RECOVERY), (reader.ADD, reader.INVITATION),
                     reader.REMOVE, reader.EPOCH, reader.RENAME, reader.POLICY}


@pytest.mark.parametrize("how", ["with its base", "from the first commit"])
def test_the_reader_finds_in_a_golden_vault_what_was_in_it(golden, how):
    in_it, store, text = golden
    if how == "from the first commit":
        without_base(store)
    assert tree.of_vault(reader.Vault(store, text)) == in_it


@pytest.mark.skipif(os.geteuid() != 0, reason="files of other owners are read by root alone")
@pytest.mark.parametrize("how", ["with its base", "from the first commit"])
def test_the_program_joins_a_golden_vault_and_shows_what_was_in_it(golden, vault, how):
    in_it, store, text = golden
    if how == "from the first commit":
        without_base(store)
    key = vault.root / "key"
    key.write_text(text + "\n", encoding="utf-8")
    vault.run("join", vault.mountpoint, "--vault", vault.dir, "--remote", f"dir:{store}", "--no-passphrase",
              "--recovery-key-file", key)
    vault.mount()
    assert tree.of_folder(vault.mountpoint) == in_it
    (vault.mountpoint / "new").write_bytes(b"and it can be written to")
    vault.run("sync", vault.mountpoint, "--vault", vault.dir)
    after = tree.of_vault(reader.Vault(store, text))
    assert after.pop("new")["size"] == 24 and after == in_it
