"""A laptop that is closed in the middle of an upload, and wakes where its connections are dead."""
import json
import random
import signal

import conftest
from bad_service import bad_service  # noqa: F401  pylint: disable=unused-import
from services import ceph  # noqa: F401  pylint: disable=unused-import
from test_s3_main_job import remote  # noqa: F401  pylint: disable=unused-import

# pylint: disable=redefined-outer-name

MIB = 1 << 20


def status(vault):
    return json.loads(vault.run("status", vault.mountpoint, "--vault", vault.dir, "--json").stdout)


def head(vault):
    return json.loads(vault.run("remote", "show", vault.mountpoint, "--vault", vault.dir, "--json").stdout)["head"]["number"]


def check_believable(report):
    done, total = report["progress"]["done"], report["progress"]["total"]
    assert report["mounted"] and 0 <= done <= total < 100 * MIB
    assert 0 <= report["speed"]["up"] < 1 << 34 and 0 <= report["speed"]["down"] < 1 << 34
    assert report["time_left"] is None or 0 <= report["time_left"] < 86400
    assert report["problem"] is None or "cannot be reached" in report["problem"]["text"], report["problem"]


def test_what_was_cut_off_in_the_middle_goes_on_by_itself(remote, bad_service):
    computers = remote(bad_service)
    alpha = computers.first()
    computers.sync(alpha)
    before = head(alpha)
    content = random.Random(1).randbytes(3 * MIB)
    bad_service.hold("PUT", "/s/")
    (alpha.mountpoint / "film").write_bytes(content)
    conftest.wait_until(lambda: bad_service.held, "the upload to begin by itself")
    check_believable(status(alpha))
    alpha.signal(signal.SIGSTOP)  # it sleeps
    bad_service.let_go(drop=True)
    conftest.wait_until(lambda: bad_service.dropped == len(bad_service.held), "its connections to die")
    alpha.signal(signal.SIGCONT)
    check_believable(status(alpha))
    conftest.wait_until(lambda: not status(alpha)["pending"]["files"], "the rest to go there by itself")
    conftest.wait_until(lambda: status(alpha)["problem"] is None, "it to be told that all is well")
    check_believable(status(alpha))
    assert head(alpha) > before
    beta = computers.join()
    assert (beta.mountpoint / "film").read_bytes() == content
