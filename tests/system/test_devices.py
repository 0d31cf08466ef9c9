"""Who is in: invitations, names, removals, with real daemons and a store between them."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import conftest
from accounts import cli  # noqa: F401  pylint: disable=unused-import
from posixlib import needs_own_working_directory
from services import ceph  # noqa: F401  pylint: disable=unused-import
from test_main_job import Computers

BLOCKS = {" ": (0, 0), "\u2580": (1, 0), "\u2584": (0, 1), "\u2588": (1, 1)}


class Party(Computers):
    def __init__(self):
        super().__init__()
        self.token = self.root / "invitation"

    def first(self, *args):
        vault = super().first(*args)
        self.sync(vault)
        return vault

    def invite(self, host, *args):
        self.token.unlink(missing_ok=True)
        host.run("device", "invite", host.mountpoint, "--vault", host.dir, "--to-file", self.token, *args)
        return self.token

    def try_enter(self, *args, check=False):
        vault = self._new()
        done = vault.run("join", vault.mountpoint, "--vault", vault.dir, "--no-passphrase", "--invitation-file", self.token, *args,
                         check=check)
        return vault, done

    def enter(self, *args):
        vault, _ = self.try_enter(*args, check=True)
        vault.mount()
        return vault


@pytest.fixture
def party():
    p = Party()
    yield p
    p.clean_up()


def device(vault, verb, *args, check=True):
    return vault.run("device", verb, vault.mountpoint, *args, "--vault", vault.dir, check=check)


def listing(vault):
    return json.loads(device(vault, "list", "--json").stdout)


def names(vault):
    return sorted(d["name"] for d in listing(vault)["devices"])


def status(vault):
    return json.loads(vault.run("status", vault.mountpoint, "--vault", vault.dir, "--json").stdout)


def test_an_invited_computer_opens_the_vault_and_all_see_it(party):
    alpha = party.first()
    (alpha.mountpoint / "letter").write_text("dear reader")
    party.sync(alpha)
    party.invite(alpha, "--name", "phone")
    assert party.token.stat().st_mode & 0o777 == 0o600
    phone = party.enter()
    assert (phone.mountpoint / "letter").read_text() == "dear reader"
    (phone.mountpoint / "answer").write_text("dear writer")
    party.sync(phone, alpha)
    assert (alpha.mountpoint / "answer").read_text() == "dear writer"
    assert names(alpha) == names(phone) == ["alpha", "phone", "recovery key"]
    row = next(d for d in listing(alpha)["devices"] if d["name"] == "phone")
    assert row["added_by"] == "alpha" and row["invited"] and row["last_commit"] and not row["this"]
    assert listing(alpha)["invitations"] == []
    assert any('"phone" came in with an invitation by "alpha"' in m for m in status(alpha)["messages"])


def test_an_invitation_is_shown_as_a_line_and_as_a_code_that_a_camera_reads(party):
    alpha = party.first()
    shown = device(alpha, "invite").stdout
    line = re.search(r"^SNUGFS1-[0-9A-HJKMNP-TV-Z]+$", shown, re.M).group()
    rows = [row for row in shown.splitlines() if row and set(row) <= set(BLOCKS)]
    width = max(map(len, rows))
    modules = [[BLOCKS[c][half] for c in row.ljust(width)] for row in rows for half in (0, 1)]
    image = party.root / "code.pgm"
    scale = 4
    pixels = b"".join(bytes(0 if m else 255 for m in row for _ in range(scale)) * scale for row in modules)
    image.write_bytes(b"P5 %d %d 255\n" % (width * scale, len(modules) * scale) + pixels)
    read = subprocess.run(["zbarimg", "-q", "--raw", image], capture_output=True, text=True, check=True).stdout.strip()
    assert read == line
    assert device(alpha, "invite", "--no-qr").stdout.count("\u2588") == 0
    party.token.write_text(read.lower() + "\n")
    party.enter("--device-name", "camera")
    party.sync(alpha)
    assert "camera" in names(alpha)


def test_an_invitation_is_no_computer_in_the_status(party):
    alpha = party.first()
    party.invite(alpha, "--name", "phone")
    assert {d["name"]: d["kind"] for d in status(alpha)["devices"]}["phone"] == "invitation"
    assert "phone (an invitation)\n" in alpha.run("status", alpha.mountpoint, "--vault", alpha.dir).stdout


def test_no_invitation_is_made_that_cannot_be_written_down(party):
    alpha = party.first()
    (party.root / "mine").write_text("mine")
    for place, why in [(party.root / "mine", "exists already"), (party.root / "no/folder", "does not exist")]:
        done = device(alpha, "invite", "--to-file", place, check=False)
        assert done.returncode == 1 and why in done.stderr
    assert (party.root / "mine").read_text() == "mine" and listing(alpha)["invitations"] == []


def test_who_gives_up_at_the_passphrase_leaves_no_file_for_an_invitation(cli):
    (cli.root / "passphrase").write_text("correct horse\n")
    cli.ok("init", cli.mp, "--passphrase-file", cli.root / "passphrase")
    done = cli.run("device", "invite", cli.mp, "--to-file", cli.root / "token", "--passphrase-command", "kill -TERM $PPID")
    assert done.returncode == -signal.SIGTERM and not (cli.root / "token").exists()


def test_an_invitation_that_is_not_made_leaves_no_file(party):
    alpha = party.first()
    assert device(alpha, "invite", "--to-file", party.token, "--name", "", check=False).returncode == 1
    assert not party.token.exists()


def test_an_invitation_works_once_and_what_is_mistyped_is_told_apart(party):
    alpha = party.first()
    text = party.invite(alpha).read_text().strip()
    for wrong, words in [(text[:-4], "mistyped, or not all of it"), (text[:40] + ("0" if text[40] != "0" else "1") + text[41:], "mistyped"),
                         ("hello", "not an invitation"), ("SNUGFS2-" + text[8:], "another version"), ("", "not an invitation")]:
        party.token.write_text(wrong + "\n")
        vault, done = party.try_enter()
        assert done.returncode == 1 and words in done.stderr and not vault.dir.exists(), (wrong, done.stderr)
    party.token.write_text(text + "\n")
    party.enter()
    vault, done = party.try_enter()
    assert done.returncode == 1 and "used already, or was withdrawn" in done.stderr and not vault.dir.exists()


def invite_briefly(party, host):
    """Makes an invitation that is over soon: the shortest that is not over before it is made, on a slow machine."""
    for seconds in (1, 5, 25, 125):
        party.token.unlink(missing_ok=True)
        done = device(host, "invite", "--to-file", party.token, "--expires", f"{seconds}s", check=False)
        if done.returncode == 0:
            return
        assert "over before it could be given out" in done.stderr and not party.token.exists(), done.stderr
    pytest.fail("no invitation is made within two minutes")


def test_a_withdrawn_an_expired_and_a_misled_invitation_are_refused(party):
    alpha = party.first()
    party.invite(alpha, "--name", "tablet")
    assert [i["name"] for i in listing(alpha)["invitations"]] == ["tablet"]
    assert "withdrawn" in device(alpha, "remove", "tablet", "--yes").stdout
    assert "used already, or was withdrawn" in party.try_enter()[1].stderr
    invite_briefly(party, alpha)
    until = json.dumps(listing(alpha)["invitations"][0]["expires"])
    conftest.wait_until(lambda: int(subprocess.check_output(["date", "+%s"])) > int(until), "the end of the invitation")
    assert "was good until" in party.try_enter()[1].stderr
    party.invite(alpha)
    other = Computers()
    try:
        other.first()
        party.sync(other.all[0])
        assert "another vault than the one of the invitation" in party.try_enter("--remote", other.remote)[1].stderr
    finally:
        other.clean_up()
    shutil.copytree(party.store, party.root / "old")
    party.invite(alpha)
    done = party.try_enter("--remote", f"dir:{party.root / 'old'}")[1]
    assert "another history" in done.stderr, done.stderr


def test_a_removed_device_reads_nothing_new_is_told_and_keeps_what_it_has(party):
    alpha = party.first()
    beta = party.join()
    gamma = party.join("gamma")
    (alpha.mountpoint / "old").write_text("for all")
    party.sync(alpha, beta, gamma)
    said = device(alpha, "remove", "beta", "--yes").stdout
    assert "may still have all that it has synced" in said and str(party.store) in said
    (alpha.mountpoint / "new").write_text("for two")
    party.sync(alpha, gamma)
    assert (gamma.mountpoint / "new").read_text() == "for two"
    assert any('"beta" was removed by "alpha"' in m for m in status(gamma)["messages"])
    (beta.mountpoint / "mine").write_text("never synced")
    done = beta.run("sync", beta.mountpoint, "--vault", beta.dir, check=False)
    assert done.returncode == 1 and "has been removed from the vault" in done.stderr
    assert (beta.mountpoint / "old").read_text() == "for all"
    assert (beta.mountpoint / "mine").read_text() == "never synced"
    assert not (beta.mountpoint / "new").exists()
    assert "removed from the vault" in status(beta)["problem"]["text"]
    assert names(gamma) == ["alpha", "gamma", "recovery key"]


def test_devices_are_renamed_for_all(party):
    alpha = party.first()
    beta = party.join()
    party.sync(alpha)
    device(alpha, "rename", "beta", "the old laptop")
    party.sync(beta)
    assert names(beta) == ["alpha", "recovery key", "the old laptop"]
    for name in ("", "x" * 65, "two\nlines"):
        done = device(alpha, "rename", "the old laptop", name, check=False)
        assert done.returncode == 1 and "keeps the one it has" in done.stderr, done.stderr
    device(beta, "rename", next(d["id"] for d in listing(beta)["devices"] if d["this"])[:8], "mine")
    assert "mine" in names(beta)


def test_what_cannot_be_removed_is_refused_with_the_reason(party):
    alpha = party.first()
    beta = party.join()
    party.sync(alpha)
    for who, words in [("alpha", "cannot remove itself"), ("recovery key", "recovery-key"), ("nobody", "there is no device")]:
        done = device(alpha, "remove", who, "--yes", check=False)
        assert done.returncode == 1 and words in done.stderr, done.stderr
    done = device(alpha, "remove", "beta", check=False)
    assert done.returncode == 1 and "say --yes" in done.stderr
    device(beta, "rename", "alpha", "beta")
    party.sync(alpha)
    done = device(alpha, "remove", "beta", "--yes", check=False)
    assert done.returncode == 1 and "several devices are called" in done.stderr
    assert names(alpha) == ["beta", "beta", "recovery key"]


def test_a_vault_that_is_not_mounted_invites_and_removes_as_well(party):
    alpha = party.first()
    (alpha.mountpoint / "letter").write_text("dear reader")
    party.sync(alpha)
    alpha.unmount()
    party.token.unlink(missing_ok=True)
    alpha.run("device", "invite", alpha.mountpoint, "--vault", alpha.dir, "--no-passphrase", "--to-file", party.token, "--name", "phone")
    phone = party.enter()
    assert (phone.mountpoint / "letter").read_text() == "dear reader"
    alpha.run("device", "remove", alpha.mountpoint, "phone", "--yes", "--vault", alpha.dir, "--no-passphrase")
    done = phone.run("sync", phone.mountpoint, "--vault", phone.dir, check=False)
    assert "has been removed from the vault" in done.stderr


def pending_tree(top):
    (top / "docs").mkdir()
    (top / "docs").chmod(0o710)
    (top / "docs" / "kept").write_text("synced")
    (top / "docs" / "edited").write_bytes(b"before" * 50000)
    (top / "docs" / "old name").write_text("the same")
    (top / "quiet").mkdir()
    (top / "quiet" / "gone").write_text("deleted later")


def edit(top):
    with open(top / "docs" / "edited", "r+b") as f:
        f.seek(100)
        f.write(b"AFTER")
    os.chmod(top / "docs" / "edited", 0o640)
    os.setxattr(top / "docs" / "edited", "user.note", b"mine")
    os.utime(top / "docs" / "edited", ns=(10**18, 981173106123456789))
    os.rename(top / "docs" / "old name", top / "docs" / "new name")
    (top / "new").mkdir(mode=0o750)
    (top / "new" / "large").write_bytes(os.urandom(3 << 20))
    os.symlink("large", top / "new" / "link")
    (top / "quiet" / "gone").unlink()


def check_exported(out, top):
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*")) == [
        "docs", "docs/edited", "docs/new name", "new", "new/large", "new/link"]
    for name in ("docs/edited", "docs/new name", "new/large"):
        assert (out / name).read_bytes() == (top / name).read_bytes()
        assert (out / name).stat().st_mtime_ns == (top / name).stat().st_mtime_ns
    assert os.readlink(out / "new" / "link") == "large"
    assert (out / "docs" / "edited").stat().st_mode & 0o777 == 0o640
    assert os.getxattr(out / "docs" / "edited", "user.note") == b"mine"
    for name in ("docs", "new"):  # of the first, nothing but what is in it is pending
        assert (out / name).stat().st_mode & 0o777 == (top / name).stat().st_mode & 0o777
        assert (out / name).stat().st_mtime_ns == (top / name).stat().st_mtime_ns
    assert out.stat().st_mode & 0o777 == 0o700


@needs_own_working_directory
def test_what_a_removed_device_never_synced_can_be_copied_out_mounted_and_not(party):
    alpha = party.first()
    pending_tree(alpha.mountpoint)
    party.sync(alpha)
    beta = party.join()
    assert (beta.mountpoint / "docs" / "edited").read_bytes()  # it is on this computer
    beta.run("offline", beta.mountpoint, "--vault", beta.dir)
    edit(beta.mountpoint)
    party.sync(alpha)
    device(alpha, "remove", "beta", "--yes")
    beta.run("resume", beta.mountpoint, "--vault", beta.dir)
    done = beta.run("sync", beta.mountpoint, "--vault", beta.dir, check=False)
    assert done.returncode == 1 and "export-pending FOLDER" in done.stderr
    assert "export-pending FOLDER" in status(beta)["problem"]["text"]
    assert status(beta)["next"].startswith('"snugfs export-pending FOLDER') and "snugfs sync" not in status(beta)["next"]
    mounted, closed = party.root / "mounted", party.root / "closed"
    done = beta.run("export-pending", mounted, beta.mountpoint, "--vault", beta.dir)
    assert "4 files that never reached the store" in done.stdout
    check_exported(mounted, beta.mountpoint)
    done = beta.run("export-pending", mounted, beta.mountpoint, "--vault", beta.dir, check=False)
    assert done.returncode == 1 and "is not an empty folder" in done.stderr
    done = beta.run("export-pending", beta.mountpoint / "out", beta.mountpoint, "--vault", beta.dir, check=False)
    assert done.returncode == 1 and "in the vault itself" in done.stderr
    shutil.copytree(beta.mountpoint, party.root / "copy", symlinks=True)
    beta.unmount()
    assert "4 files" in beta.run("export-pending", closed, beta.mountpoint, "--vault", beta.dir).stdout
    check_exported(closed, party.root / "copy")
    beta.mount()
    assert (beta.mountpoint / "docs" / "kept").read_text() == "synced"


class S3Party(Party):
    """The store is a bucket, to which only the first computer has keys."""

    def __init__(self, service):
        super().__init__()
        self.keys = service.keys()
        self.remote = f"s3:{service.endpoint}/{self.root.name.lower().replace('_', 'x')}"

    def first(self, *args):
        vault = self._new()
        vault.env.update(self.keys)
        vault.up("--remote", self.remote, "--recovery-key-file", self.paper, "--device-name", "alpha", *args)
        self.sync(vault)
        return vault


@pytest.fixture
def s3_party(ceph):
    p = S3Party(ceph)
    yield p
    p.clean_up()


def ask_daemon(vault, **request):
    with socket.socket(socket.AF_UNIX) as s:
        folder = os.open(vault.dir, os.O_PATH)  # the whole path may be too long for a socket
        s.connect(f"/proc/self/fd/{folder}/control")
        os.close(folder)
        s.sendall(json.dumps(dict(request, version=2)).encode() + b"\n")
        return s.makefile().readline()


def test_an_invitation_with_credentials_is_all_that_a_computer_needs(s3_party):
    alpha = s3_party.first()
    (alpha.mountpoint / "letter").write_text("dear reader")
    s3_party.sync(alpha)
    s3_party.invite(alpha)
    assert "there are no keys for the store" in s3_party.try_enter()[1].stderr
    s3_party.invite(alpha, "--with-credentials", "--name", "beta")
    beta = s3_party.enter()
    s3_party.invite(beta, "--with-credentials")
    gamma = s3_party.enter("--device-name", "gamma")
    assert (gamma.mountpoint / "letter").read_text() == "dear reader"
    gamma.unmount("--wait")
    gamma.mount()
    (gamma.mountpoint / "answer").write_text("dear writer")
    s3_party.sync(gamma, beta)
    assert (beta.mountpoint / "answer").read_text() == "dear writer"
    public = [Ed25519PrivateKey.generate().public_key(), X25519PrivateKey.generate().public_key()]
    sign, box = (key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex() for key in public)
    answer = ask_daemon(beta, op="device-invite", name="eve", sign=sign, box=box, expires_ns=time.time_ns() + 10**12, credentials=True)
    assert json.loads(answer)["ok"] and len(json.loads(answer)["credentials"]) > 100, answer
    secret = s3_party.keys["AWS_SECRET_ACCESS_KEY"]
    assert secret not in answer and secret.encode().hex() not in answer
    for path in beta.dir.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path
    removed = device(beta, "remove", "gamma", "--yes")
    assert s3_party.keys["AWS_ACCESS_KEY_ID"] in removed.stdout and "snugfs rekey" in removed.stdout
    assert secret not in removed.stdout + removed.stderr


def test_credentials_are_refused_where_there_are_none(party):
    alpha = party.first()
    done = device(alpha, "invite", "--with-credentials", check=False)
    assert done.returncode == 1 and "has no credentials" in done.stderr
    assert listing(alpha)["invitations"] == []


def test_the_independent_reader_reads_a_vault_with_invitations(party):
    alpha = party.first()
    (alpha.mountpoint / "one").write_text("1")
    party.invite(alpha, "--name", "phone")
    phone = party.enter()
    (phone.mountpoint / "two").write_text("2")
    party.sync(phone, alpha)
    device(alpha, "remove", "phone", "--yes")
    (alpha.mountpoint / "three").write_text("3")
    party.invite(alpha)
    party.sync(alpha)
    out = party.root / "out"
    out.mkdir()
    tests = pathlib.Path(__file__).resolve().parents[1]
    subprocess.run(["/usr/bin/python3", "-B", "-m", "reader", party.store, party.paper, "write", out], cwd=tests, check=True)
    assert {f.name: f.read_text() for f in out.iterdir()} == {"one": "1", "two": "2", "three": "3"}
