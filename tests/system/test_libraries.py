"""Libraries that few commands need are loaded by those alone, and whoever lacks one is told which."""
import re

import pytest

SELDOM = ["libarchive", "libcurl", "libfido2", "libglib", "libsecret", "libtss2"]


def loaded(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        return set(re.findall(r"/(lib\w+)[^/]*\.so", maps.read()))


def test_a_mounted_folder_has_no_library_in_memory_that_it_does_not_use(vault):
    vault.up()
    (daemon,) = vault.daemons()
    found = loaded(daemon)
    assert "libfuse3" in found and not [name for name in found if name.startswith(tuple(SELDOM))], found


@pytest.mark.parametrize("library, words, named", [
    ("libcurl.so.4", ["remote", "test", "s3://127.0.0.1:9/bucket"], "libcurl"),
    ("libarchive.so.13", ["export", "FOLDER", "--recovery-key-file", "KEY", "--remote", "STORE"], "libarchive"),
    ("libsecret-1.so.0", ["unlock-method", "add", "secret-service", "--vault", "VAULT"], "libsecret-1.so.0"),
    ("libfido2.so.1", ["unlock-method", "add", "fido2", "--vault", "VAULT"], "libfido2.so.1"),
    ("libtss2-esys.so.0", ["unlock-method", "add", "tpm", "--vault", "VAULT"], "libtss2-esys.so.0"),
])
def test_a_library_that_is_missing_is_named_by_the_command_that_needs_it(vault, tmp_path, library, words, named):
    places = {"VAULT": vault.dir, "STORE": vault.root / "store", "FOLDER": tmp_path / "out",
              "KEY": tmp_path / "key"}
    vault.up("--remote", places["STORE"], "--recovery-key-file", places["KEY"])
    vault.run("sync", vault.mountpoint)
    vault.unmount()
    (tmp_path / library).write_bytes(b"")
    vault.env["LD_LIBRARY_PATH"] = str(tmp_path)
    done = vault.run(*(places.get(word, word) for word in words), check=False)
    assert done.returncode == 1 and named in done.stderr and "install" in done.stderr, done.stderr
    del vault.env["LD_LIBRARY_PATH"]
    vault.mount()
