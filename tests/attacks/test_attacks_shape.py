"""What the store sees: two vaults that differ only in what it must not learn look the same."""
import os
import re
import shutil

import pytest

from conftest import Computer, system

NAME = re.compile(r"v|k/0-[0-9a-f]{32}|[cb]/[0-9]{12}|s/([0-9a-f]{2})/\1[0-9a-f]{30}")


def shape(store):
    """Kinds and sizes of all objects, in no order but the commits'."""
    objects = {path.relative_to(store).as_posix(): path.stat().st_size for path in store.rglob("*")
               if path.is_file() and path.relative_to(store).parts[0] != "tmp"}
    assert all(NAME.fullmatch(name) for name in objects), objects
    return sorted((re.sub("[0-9a-f]{32}|s/..", "*", name), size) for name, size in objects.items())


def seen_of(root, files, folders=(), device="a computer", xattrs=()):
    """The shape of a store after these files came in two portions."""
    store = root / "store"
    computer = Computer(root / "computer")
    away = root / "away"
    try:
        computer.run("init", computer.mountpoint, "--vault", computer.dir, "--no-passphrase", "--remote", f"dir:{store}",
                     "--recovery-key-file", root / "key", "--device-name", device)
        for portion in (files[::2], files[1::2]):
            if store.exists():
                store.rename(away)  # so that nothing is sent but by the sync below
            computer.mount()
            for folder in folders:
                (computer.mountpoint / folder).mkdir(exist_ok=True)
            for name, content in portion:
                (computer.mountpoint / name).write_bytes(content)
                for xattr, value in xattrs:
                    os.setxattr(computer.mountpoint / name, xattr, value)
            computer.unmount(check=False)
            if away.exists():
                away.rename(store)
            computer.sync()
        return shape(store)
    finally:
        computer.clean_up()


@pytest.fixture
def places():
    root = system.pathlib.Path(system.new_root())
    (root / "a").mkdir()
    (root / "b").mkdir()
    yield root / "a", root / "b"
    shutil.rmtree(root)


PLAIN = [(f"file {i}", os.urandom(1000 + 100 * i)) for i in range(20)]


def test_vaults_that_differ_in_names_look_the_same(places):
    other = [("n" * (1 + i) + str(i), content) for i, (_, content) in enumerate(PLAIN)]
    assert seen_of(places[0], PLAIN) == seen_of(places[1], other, device="a name that is much longer than the other")


def test_vaults_that_differ_in_sizes_within_a_padding_step_look_the_same(places):
    """The sum of the files stays within one step of the segment that holds them; single ones differ by a tenth."""
    other = [(name, content[:-100] if i % 4 < 2 else content + os.urandom(100)) for i, (name, content) in enumerate(PLAIN)]
    assert [len(c) for _, c in other] != [len(c) for _, c in PLAIN]
    assert seen_of(places[0], PLAIN) == seen_of(places[1], other)


def test_vaults_that_differ_in_tree_attributes_and_contents_look_the_same(places):
    folders = ["x", "x/y", "x/y/z"]
    other = [(f"{folders[i % 3]}/{name}", os.urandom(len(content))) for i, (name, content) in enumerate(PLAIN)]
    assert seen_of(places[0], PLAIN) == seen_of(places[1], other, folders, xattrs=[("user.a", b"b" * 20)])


def test_how_many_devices_there_are_does_not_show(scene):
    """One to seven of them: the key box has as many slots.  A device that joins is a commit like any other."""
    before = shape(scene.store)
    scene.refused_join(scene.gamma, "gamma", refused=False)
    after = shape(scene.store)
    assert [entry for entry in after if entry not in before] == [(f"c/{scene.head():012}", 4096)]
    assert len(after) == len(before) + 1
