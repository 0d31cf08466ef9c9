"""The two-computer story on real services, also when they fail in the middle."""
import os
import shutil

import pytest

import conftest
import trees
from services import ceph, faults, swift  # noqa: F401  pylint: disable=unused-import
from test_main_job import Computers

# pylint: disable=redefined-outer-name


class Remote(Computers):
    """Computers whose store is a bucket; the keys are in the environment of the first, and in a file of the others."""

    def __init__(self, service):
        super().__init__()
        self.service = service
        self.remote = f"s3:{service.endpoint}/{os.path.basename(self.root).lower().replace('_', 'x')}/my vault"

    def _new(self):
        vault = super()._new()
        keys = self.service.keys()
        if len(self.all) == 1:
            vault.env.update(keys)
        else:
            write_keys(vault, keys)
        return vault


def write_keys(vault, keys):
    folder = vault.root / "home" / ".aws"
    folder.mkdir(exist_ok=True)
    (folder / "credentials").write_text(
        f"[default]\naws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {keys['AWS_SECRET_ACCESS_KEY']}\n", encoding="ascii")


@pytest.fixture
def remote(request):
    made = []

    def make(service):
        made.append(Remote(service))
        return made[-1]

    yield make
    for computers in made:
        computers.clean_up()


def status(vault):
    return vault.run("status", vault.mountpoint, "--vault", vault.dir).stdout


def fill(folder, seed=b"x"):
    (folder / "docs").mkdir()
    for i in range(200):
        (folder / "docs" / f"note-{i}.txt").write_bytes(seed * (17 * i))
    (folder / "big").write_bytes(os.urandom(20 << 20))
    os.symlink("docs/note-1.txt", folder / "link")


def same(one, other):
    assert trees.compare(trees.describe(one.mountpoint), trees.describe(other.mountpoint)) == []


def test_edits_flow_both_ways_and_conflicts_survive_on_ceph(remote, ceph):
    computers = remote(ceph)
    alpha = computers.first()
    fill(alpha.mountpoint)
    computers.sync(alpha)
    beta = computers.join()
    same(alpha, beta)
    (beta.mountpoint / "from-beta").write_text("hello")
    os.rename(beta.mountpoint / "docs" / "note-7.txt", beta.mountpoint / "seven")
    computers.sync(beta, alpha)
    same(alpha, beta)
    for vault in (alpha, beta):
        vault.unmount()
    keys = ceph.keys()
    shutil.rmtree(beta.root / "home" / ".aws")  # offline: nobody has keys
    for name in keys:
        del alpha.env[name]
    for vault in (alpha, beta):
        vault.mount()
        assert "there are no keys for the store" in status(vault)
    (alpha.mountpoint / "seven").write_text("alpha's")
    (beta.mountpoint / "seven").write_text("beta's version")
    for vault in (alpha, beta):
        vault.unmount()
        write_keys(vault, keys)
        vault.mount()
    computers.sync(alpha, beta, alpha)
    same(alpha, beta)
    names = [name for name in os.listdir(alpha.mountpoint) if name.startswith("seven")]
    assert sorted((alpha.mountpoint / name).read_text() for name in names) == ["alpha's", "beta's version"]


def test_no_key_is_in_the_files_of_the_vault_or_in_what_is_shown(remote, ceph):
    computers = remote(ceph)
    alpha = computers.first()
    (alpha.mountpoint / "f").write_text("x")
    computers.sync(alpha)
    secret = ceph.keys()["AWS_SECRET_ACCESS_KEY"]
    assert secret not in status(alpha)
    for pid in alpha.daemons():
        with open(f"/proc/{pid}/cmdline", "rb") as argv:
            assert secret.encode() not in argv.read()
    for folder, _, names in os.walk(alpha.root):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    assert secret.encode() not in file.read(), path


def test_an_outage_in_the_middle_loses_nothing(remote, faults):
    computers = remote(faults)
    alpha = computers.first()
    fill(alpha.mountpoint)
    computers.sync(alpha)
    faults.outage(True)
    (alpha.mountpoint / "during").write_text("the outage")
    done = alpha.run("sync", alpha.mountpoint, "--vault", alpha.dir, check=False)
    assert done.returncode != 0
    assert "has trouble of its own (status 503)" in done.stderr
    assert (alpha.mountpoint / "during").read_text() == "the outage"
    faults.outage(False)
    conftest.wait_until(lambda: "nothing: the store has everything" in status(alpha), "the daemon to go on by itself")
    same(alpha, computers.join())


def test_a_copy_completes_while_one_request_in_ten_is_lost(remote, faults):
    computers = remote(faults)
    alpha = computers.first()
    faults.set(p503=3, p503after=3, preset=2, presetafter=2)
    fill(alpha.mountpoint)

    def try_to_sync():
        return alpha.run("sync", alpha.mountpoint, "--vault", alpha.dir, check=False).returncode == 0

    conftest.wait_until(try_to_sync, "everything to be in the store")
    faults.set(p503=0, p503after=0, preset=0, presetafter=0)
    same(alpha, computers.join())


def test_a_service_that_cannot_create_conditionally_serves_one_computer_and_no_second(remote, swift):
    computers = remote(swift)
    alpha = computers.first()
    fill(alpha.mountpoint)
    computers.sync(alpha)
    (alpha.mountpoint / "docs" / "note-1.txt").write_text("changed")
    alpha.unmount("--wait")
    alpha.mount()
    assert (alpha.mountpoint / "docs" / "note-1.txt").read_text() == "changed"
    computers.sync(alpha)
    beta = computers._new()  # pylint: disable=protected-access
    done = beta.run("join", beta.mountpoint, "--vault", beta.dir, "--remote", computers.remote, "--no-passphrase",
                    "--recovery-key-file", computers.paper, check=False)
    assert done.returncode != 0
    assert "cannot create objects conditionally, so only one computer may use it" in done.stderr


@pytest.mark.parametrize("url, sentence", [
    ("s3:https://key:hunter2@host/bucket", "there is a user name or password in the address of the store"),
    ("s3:http://example.com/bucket", "that is not encrypted on its way"),
    ("s3:https://host", "lacks the bucket"),
    ("https://host/bucket", "begins with s3:"),
])
def test_an_address_that_is_no_good_is_refused_in_a_sentence(vault, url, sentence):
    done = vault.run("up", vault.mountpoint, "--vault", vault.dir, "--no-passphrase", "--remote", url, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert not vault.dir.exists()
