"""The rules of the house: who may include what, who owns which vendor library, whose name a symbol carries, what nobody calls,
and that the pages are well-formed and name every command and option.  Each checker is shown a violation first.
"""
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

import conftest

TOP = pathlib.Path(__file__).resolve().parents[2]

# Each layer, the layers whose headers it may include (besides its own).
BELOW = {
    "crypto": [],
    "remote": ["crypto"],
    "fs/unlock": ["crypto"],
    "fs/meta": ["crypto"],
    "fs/data": ["crypto", "fs/meta"],
    "fs/vault": ["crypto", "fs/meta", "fs/data"],
    "fs/sync": ["crypto", "remote", "fs/meta", "fs/data", "fs/vault"],
    "fs/export": ["crypto", "remote", "fs/meta", "fs/data", "fs/vault", "fs/sync"],
    "fs/mount": ["crypto", "fs/meta", "fs/data"],
    "fs/history": ["crypto", "remote", "fs/meta", "fs/data", "fs/vault", "fs/sync", "fs/mount"],
    "fs/cmd": ["crypto", "remote", "fs/unlock", "fs/meta", "fs/data", "fs/vault", "fs/sync", "fs/export", "fs/mount", "fs/history"],
}

# Vendors' headers and the only files that may include them.
OWNERS = [
    (r"fuse[a-z0-9_/]*\.h", r"fs/mount/fuse_\w+\.c"),
    (r"sqlite3\w*\.h", r"fs/meta/db\w*\.c"),
    (r"zstd\w*\.h", r"fs/data/compress\.c"),
    (r"cbor[a-z/]*\.h", r"crypto/cborio\.c"),
    (r"openssl/\w+\.h", r"crypto/\w+\.c"),
    (r"curl/\w+\.h", r"remote/http\w*\.c"),
    (r"expat\w*\.h", r"remote/s3_xml\.c"),
    (r"archive\w*\.h", r"fs/export/archiver\.c"),
    (r"libsecret/\w+\.h|glib\w*\.h", r"fs/unlock/holder_keyring\.c"),
    (r"gio/\w+\.h|glib-unix\.h", r"fs/unlock/systembus\.c"),
    (r"tss2/\w+\.h", r"fs/unlock/holder_tpm\.c"),
    (r"fido(/\w+)?\.h", r"fs/unlock/fido2_device\.c"),
    (r"ini\.h", r"fs/cmd/config\.c|remote/s3_credentials\.c"),
    (r"qrencode\.h", r"fs/cmd/qr\.c"),
    (r"jansson\.h", r"fs/cmd/\w+\.[ch]"),  # the control socket's requests are JSON, and only the commands know of them
]
VENDOR_TYPE = re.compile(r"\b(fuse_req_t|fuse_ino_t|sqlite3(_\w+)?|ZSTD_\w+|cbor_item_t|EVP_\w+|OSSL_\w+|BIGNUM|CURL\w*|XML_\w+|json_t|G(Error|List|Object)|Secret[A-Z]\w+|TPM2B?_\w+|ESYS_\w+|fido_\w+_t)\b")
VENDOR_TYPE_MAY = {"json_t": r"fs/cmd/\w+\.h"}

BANNED_CALL = re.compile(r"\b(strcpy|strcat|stpcpy|sprintf|vsprintf|gets|system|rand|random|srand|srandom|drand48|alloca|"
                         r"mktemp|tmpnam|tempnam|atoi|atol|strtok)\s*\(")
SECRET = r"\w*(secret|passphrase|psk|epoch_key|file_key|local_key|hmac|prk|key32)\w*"
SECRET_COMPARED = re.compile(rf"\b(memcmp|strcmp|strncmp|bcmp)\s*\([^;]*\b{SECRET}\b(?!\w*\")[^;\"]*[;{{]")
SECRET_PRINTED = re.compile(r"\b(\w*printf|log_\w+|tell_\w+|report_\w+|syslog|json_\w+)\s*\([^;]*,[^;\"]*\b"
                            rf"(->b\b|\.b\b|{SECRET}(->|\.)(b|text|data)\b)")

# What a file may export besides names that begin with a word of its own name.
ALSO = {
    "bytes": ["cursor_", "put_u", "get_u"],
    "cborio": ["cbor_"],
    "curve25519": ["ed25519_", "x25519_"],
    "err": ["free_ptr"],
    "hash": ["hmac_"],
    "kdf": ["hkdf_", "scrypt_"],
    "secmem": ["key32_"],
    "meta_names": ["dentry_"],
    "records": ["inode_", "chunk_", "xattr_"],
    "compress": ["decompress_"],
    "content": ["change_", "writing_key_"],
    "segstore": ["hot_"],
    "admit": ["admitted_"],
    "invite": ["sync_"],
    "join": ["sync_"],
    "join_invited": ["sync_"],
    "report": ["sync_"],
    "sync": ["engine_"],
    "verify": ["sync_"],
    "dirobj": ["close_fd"],
    "prompt": ["secret_"],
}


def sources(layers=BELOW, kinds="ch"):
    return [path for layer in layers for path in sorted((TOP / layer).glob(f"*.[{kinds}]"))]


def place(path):
    return path.relative_to(TOP).as_posix()


def without_comments(text):
    return re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.DOTALL)


def without_strings(text):
    return re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)


def code(path):
    return without_comments(path.read_text(encoding="utf-8"))


def all_code():
    return {place(path): code(path) for path in sources()}


# Checkers: from {place: text} to a list of complaints.


def wrong_includes(texts):
    layer_of = {place.rsplit("/", 1)[1]: place.rsplit("/", 1)[0] for place in texts if place.endswith(".h")}
    complaints = []
    for where, text in texts.items():
        layer = where.rsplit("/", 1)[0]
        for header in re.findall(r'#\s*include\s+"([^"]+)"', text):
            home = layer_of.get(header)
            if home is None:
                complaints.append(f'{where}: "{header}" is in no layer')
            elif home != layer and home not in BELOW[layer]:
                complaints.append(f"{where} includes {header} of {home}")
            elif pathlib.Path(where).name.startswith("vfs") and header.startswith("fuse_"):
                complaints.append(f"{where} includes {header}: semantics know no FUSE")
    return complaints


def wrong_vendors(texts):
    complaints = []
    for where, text in texts.items():
        for header in re.findall(r"#\s*include\s+[<]([^>]+)[>]", text):
            for vendor, owner in OWNERS:
                if re.fullmatch(vendor, header) and not re.fullmatch(owner, where):
                    complaints.append(f"{where} includes <{header}>")
        for match in VENDOR_TYPE.finditer(without_strings(text) if where.endswith(".h") else ""):
            if not re.fullmatch(VENDOR_TYPE_MAY.get(match.group(0), "nowhere"), where):
                complaints.append(f"{where} shows {match.group(0)}")
    return complaints


def wrong_calls(texts):
    complaints = []
    for where, text in texts.items():
        complaints += [f"{where} calls {call}" for call in BANNED_CALL.findall(without_strings(text))]
        for line in text.splitlines():
            if SECRET_COMPARED.search(line + ";"):
                complaints.append(f"{where} compares a secret in variable time: {line.strip()}")
            if SECRET_PRINTED.search(line + ";"):
                complaints.append(f"{where} prints a secret: {line.strip()}")
    return complaints


def wrong_symbols(symbols):
    """From (file's stem, symbol) pairs."""
    complaints = []
    for stem, symbol in symbols:
        words = [stem, *stem.split("_")]
        prefixes = [word + "_" for word in words] + [word.removesuffix("s") + "_" for word in words] + ALSO.get(stem, [])
        if not symbol.startswith(tuple(prefixes)):
            complaints.append(f"{stem}.c exports {symbol}")
    return complaints


def test_each_layer_includes_only_what_is_below_it():
    assert wrong_includes({"crypto/a.c": '#include "store.h"', "remote/store.h": ""})
    assert wrong_includes({"fs/mount/a.c": '#include "vault.h"', "fs/vault/vault.h": ""})
    assert wrong_includes({"fs/mount/vfs_a.c": '#include "fuse_private.h"', "fs/mount/fuse_private.h": ""})
    assert wrong_includes({"crypto/a.c": '#include "nowhere.h"'})
    assert not wrong_includes({"remote/a.c": '#include "kdf.h"', "crypto/kdf.h": ""})
    assert wrong_includes(all_code()) == []


def test_one_file_owns_each_vendor_library_and_no_header_shows_its_types():
    assert wrong_vendors({"fs/data/content.c": "#include <zstd.h>"})
    assert wrong_vendors({"fs/mount/vfs.c": "#include <fuse3/fuse_lowlevel.h>"})
    assert wrong_vendors({"remote/chain.c": "#include <openssl/evp.h>"})
    assert wrong_vendors({"crypto/aead.h": "EVP_CIPHER_CTX *ctx;"})
    assert wrong_vendors({"fs/sync/sync.h": "json_t *status;"})
    assert not wrong_vendors({"crypto/aead.c": "#include <openssl/evp.h>\nEVP_CIPHER_CTX *ctx;"})
    assert wrong_vendors(all_code()) == []


def test_nobody_calls_what_is_banned_or_compares_or_prints_secrets():
    assert wrong_calls({"a.c": "strcpy(a, b);"})
    assert wrong_calls({"a.c": "\tif (memcmp(hmac, df->hmac, 32) != 0)"})
    assert wrong_calls({"a.c": '\tlog_info("%s", key->b);'})
    assert wrong_calls({"a.c": '\tprintf("%s\\n", passphrase.text);'})
    assert not wrong_calls({"a.c": 'x = "never call system(3)"; secmem_equal(a->secret, b, 32); snprintf(a, 1, "b");'})
    assert wrong_calls(all_code()) == []


def test_crypto_does_no_input_or_output():
    banned = re.compile(r"#\s*include\s+<(stdio|fcntl|dirent|syslog|sys/socket|sys/stat|netdb)\.h>")
    assert banned.search("#include <sys/socket.h>")
    assert [place(path) for path in sources(["crypto"]) if banned.search(code(path))] == []


def test_no_two_headers_have_one_name():
    names = [path.name for path in sources(kinds="h")]
    assert sorted(names) == sorted(set(names))


def build():
    return pathlib.Path(conftest.binary()).parents[2]


def exported():
    """(stem, symbol) of everything that an object file exports."""
    out = []
    for archive in [a for layer in ("crypto", "remote", "fs") for a in (build() / layer).rglob("*.a")]:
        done = subprocess.run(["nm", "-A", "-P", "-g", "--defined-only", archive], check=True, capture_output=True, text=True)
        for line in done.stdout.splitlines():
            match = re.match(r".*\[(?:.*/)?(\w+)\.c\.o\]: (\S+) [A-Z] ", line)
            if match and not match.group(2).startswith("__"):
                out.append(match.groups())
    return out


def test_what_a_file_exports_carries_its_name():
    assert wrong_symbols([("aead", "seal")]) and wrong_symbols([("vfs_names", "rename")])
    assert not wrong_symbols([("aead", "aead_seal"), ("vfs_names", "vfs_rename"), ("extents", "extent_list_copy")])
    symbols = exported()
    assert ("aead", "aead_seal") in symbols, "nm is understood"
    assert wrong_symbols(symbols) == []


def compile_arguments(layer):
    """How the build compiles a file of this layer, without the file."""
    for entry in json.loads((build() / "compile_commands.json").read_text(encoding="utf-8")):
        source = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if source.parent == TOP / layer:
            words = shlex.split(entry["command"])
            drop = {"-o", "-MF", "-MQ"}
            kept = [word for i, word in enumerate(words) if word not in drop and words[i - 1] not in drop]
            return entry["directory"], [word for word in kept if word not in ("-c", "-MD", entry["file"])]
    raise AssertionError(f"nothing of {layer} in the build")


def compiles(layer, text, *more):
    directory, words = compile_arguments(layer)
    return subprocess.run([*words, *(more or ["-fsyntax-only"]), "-x", "c", "-"], input=text, text=True, cwd=directory,
                          capture_output=True)


@pytest.mark.parametrize("layer", BELOW)
def test_an_upward_include_does_not_compile(layer):
    above = [other for other in BELOW if other != layer and other not in BELOW[layer]]
    own = sources([layer], "h")[0]
    assert place(own) in compiles(layer, f'#include "{own.name}"\n', "-M").stdout
    for other in above:
        for header in sources([other], "h"):
            # The system may have a header of that name.
            done = compiles(layer, f'#include "{header.name}"\n', "-M")
            reached = re.findall(rf"\S*/{re.escape(place(header))}\b", done.stdout)
            assert not reached and (done.returncode == 0 or header.name in done.stderr), f"{layer} can include {place(header)}"


@pytest.mark.parametrize("layer", BELOW)
def test_every_header_stands_alone(layer):
    for header in sources([layer], "h"):
        text = f'#include "{header.name}"\n#include "{header.name}"\nint house_nothing;\n'
        done = compiles(layer, text)
        # A private header may define tables for its only user.
        errors = [line for line in done.stderr.splitlines() if "error:" in line]
        assert errors == [], place(header)


# Pages


PAGES = sorted((TOP / "man").glob("*.[1-8]"))


def lint(path):
    return subprocess.run(["mandoc", "-Tlint", "-Wwarning", path], capture_output=True, text=True)


def test_the_pages_are_well_formed(tmp_path):
    (tmp_path / "bad.1").write_text(".Dd November 1, 2026\n.Dt BAD 1\n.Os\n.Sh NAME\n.Bl -bullet\n", encoding="utf-8")
    assert lint(tmp_path / "bad.1").returncode != 0
    assert {path.name for path in PAGES} >= {"snugfs.1", "snugfs-format.5", "snugfs-threat-model.7", "snugfs-design.7"}
    for path in PAGES:
        done = lint(path)
        assert done.returncode == 0, done.stdout


def names_in(pattern, regex):
    return {name for path in TOP.glob(pattern) for name in re.findall(regex, path.read_text(encoding="utf-8"), re.MULTILINE)}


def test_the_table_of_attacks_names_every_test_and_no_other():
    page = (TOP / "man" / "snugfs-threat-model.7").read_text(encoding="utf-8")
    rows = page.split(".Sh ATTACKS", 1)[1].split(".Sh ", 1)[0].split("\n.It ")[1:]
    attacks = names_in("tests/attacks/test_*.py", r"^def (test_\w+)\(")
    units = names_in("tests/unit/**/test_*.c", r"^(?:static void )?([a-z]\w+)\(void \*\*state\)")
    assert len(rows) > 25 and len(attacks) > 50 and len(units) > 200
    named = set()
    for row in rows:
        title, *lines = row.splitlines()
        names = [line.split()[1] for line in lines if line.startswith(".Li ")]
        assert names and any(line[:1].isupper() for line in lines), f"{title}: no outcome, or no test"
        assert set(names) <= attacks | units, f"{title}: {set(names) - attacks - units} is no test"
        named |= set(names)
    assert attacks <= named, f"in no row: {attacks - named}"


def rendered(path):
    plain = subprocess.run(["mandoc", "-Tascii", "-O", "width=200", path], check=True, capture_output=True, text=True).stdout
    return re.sub(".\b", "", plain)


def helps(*words):
    done = subprocess.run([conftest.binary(), *words, "--help"], check=True, capture_output=True, text=True)
    return done.stdout


def commands():
    return [match for match in re.findall(r"^ +(?:snugfs )?([a-z][a-z-]+)(?= )", helps(), re.MULTILINE)
            if subprocess.run([conftest.binary(), match, "--help"], capture_output=True).returncode == 0]


def options_in(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


def test_the_manual_names_every_command_and_option_and_no_other():
    page = rendered(TOP / "man" / "snugfs.1")
    found = commands()
    assert {"up", "init", "mount", "unmount", "status", "sync", "join", "recovery-key"} <= set(found)
    for command in found:
        assert re.search(rf"\bsnugfs {command}\b", page), f"snugfs {command}"
    helped = options_in(helps()).union(*(options_in(helps(command)) for command in found))
    for command in found:
        for subcommand in re.findall(rf"^  {command} ([a-z-]+)  ", helps(command), re.MULTILINE):
            assert re.search(rf"\b{command} (?:[a-z-]+ \| )*{subcommand}\b", page), f"snugfs {command} {subcommand}"
            helped |= options_in(helps(command, subcommand))
    assert helped == options_in(page)


def test_the_design_page_and_the_readme_name_every_layer_and_no_other():
    page = (TOP / "man" / "snugfs-design.7").read_text(encoding="utf-8")
    picture = page.split(".Sh LAYERS", 1)[1].split(".Ed", 1)[0]
    assert set(re.findall(r"^((?:crypto|remote|fs)\S*) ", picture, re.MULTILINE)) == set(BELOW)
    readme = (TOP / "README.md").read_text(encoding="utf-8").split("## Where things are", 1)[1].split("\nRead next", 1)[0]
    assert set(re.findall(r"^    ((?:crypto|remote|fs)\S*)/ ", readme, re.MULTILINE)) == set(BELOW)
    assert {place(path) for path in (TOP / "fs").iterdir() if path.is_dir()} | {"crypto", "remote"} == set(BELOW)


# Options that several commands have, with a value where they want one: only trying says which command accepts them.
SHARED = {"--json": [], "--wait": [], "--remote": ["x"], "-f": [], "-o": ["x"]}


def all_words():
    for command in commands():
        subcommands = re.findall(rf"^  {command} ([a-z-]+)  ", helps(command), re.MULTILINE)
        yield from [(command, subcommand) for subcommand in subcommands] or [(command,)]


def in_synopsis(page, words):
    """The lines of the manual's synopsis that are about this command: "snugfs device list ...", "snugfs pin | unpin ..."."""
    synopsis = page.split("SYNOPSIS", 1)[1].split("DESCRIPTION", 1)[0]
    line = rf"^ *snugfs (?:[a-z-]+ \| )*{' '.join(words)}(?= |$).*"
    return "\n".join(re.findall(line, synopsis, re.MULTILINE))


def test_each_command_shows_all_its_options_in_its_usage_and_in_the_synopsis_and_no_other():
    plain = subprocess.run(["mandoc", "-Tascii", "-O", "width=500", TOP / "man" / "snugfs.1"], check=True, capture_output=True, text=True)
    page = re.sub(".\b", "", plain.stdout)
    short = r"(?<![\w-])--?[a-z][a-z-]*"
    for words in all_words():
        usage, text = helps(*words).split("\n\n", 1)
        own = set(re.findall(rf"^  ({short})", text.split("Options of every command")[0], re.MULTILINE))
        accepts = own | {option for option, value in SHARED.items() if subprocess.run(
            [conftest.binary(), *words, option, *value, "--help"], capture_output=True).returncode == 0}
        assert set(re.findall(short, usage)) == accepts, f"the usage of {words}"
        assert in_synopsis(page, words), f"the synopsis lacks {words}"
        assert set(re.findall(short, in_synopsis(page, words))) == accepts, f"the synopsis of {words}"


def test_the_commands_of_the_readme_are_there():
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    scripts = set(re.findall(r"\btests/[a-z]+\b(?!/)", readme))
    assert {"tests/quickstart", "tests/run"} <= scripts
    for script in ("tests/quickstart", "tests/run"):
        assert os.access(TOP / script, os.X_OK)
    for where in re.findall(r"^\s+((?:crypto|remote|fs|tests|man)/[a-z]*/?)(?=\s)", readme, re.MULTILINE):
        assert (TOP / where).exists(), where
    assert shutil.which("sh")
    for script in ("tests/quickstart", "tests/run", "tests/install", ".ci/run"):
        shell = (TOP / script).read_text(encoding="utf-8").splitlines()[0].removeprefix("#!")
        assert subprocess.run([shell, "-n", TOP / script], capture_output=True).returncode == 0, script
