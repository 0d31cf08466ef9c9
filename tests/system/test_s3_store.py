"""The store on real services: Ceph, Swift (that cannot create conditionally), with requests lost, and behind TLS."""
import pytest

from services import Service, ceph, faults, live, swift  # noqa: F401  pylint: disable=unused-import

# pylint: disable=redefined-outer-name


def passes(done):
    assert done.returncode == 0, done.said
    assert " 0 test(s) run" not in done.said, "the name matches none"


def test_all_that_a_store_can_do_on_ceph(ceph):
    passes(live(ceph))


def test_all_that_a_store_can_do_on_swift_but_the_conditional_create(swift):
    passes(live(swift, LIVE_S3_UNCONDITIONAL="1"))


@pytest.mark.parametrize("fault", ["p503", "p503after", "preset", "presetafter"])
def test_commits_and_segments_survive_lost_requests_and_answers(faults, fault):
    faults.set(**{fault: 10})
    passes(live(faults, tests="each_commit_*"))
    passes(live(faults, tests="segments_*"))


def test_commits_survive_black_holes(faults):
    faults.set(pblackhole=1, pblackholeafter=1)
    passes(live(faults, tests="each_commit_*", LIVE_S3_STALL_TIMEOUT="2"))


def test_an_outage_is_told_as_one(faults):
    faults.outage(True)
    done = live(faults, tests="segments_*")
    assert done.returncode != 0
    assert "has trouble of its own (status 503)" in done.said, done.said
    faults.outage(False)
    passes(live(faults, tests="segments_*"))


def test_a_certificate_is_trusted_only_if_its_authority_is(ceph):
    tls = Service("tls", ceph.endpoint)
    try:
        done = live(ceph, at=tls.endpoint, tests="segments_*")
        assert done.returncode != 0
        assert "has a certificate that is not trusted here" in done.said, done.said
        trusted = {"SNUGFS_CA_FILE": str(tls.root / "run" / "ca.pem")}
        for tests in ("segments_*", "of_twenty_*", "a_range_*"):
            passes(live(ceph, at=tls.endpoint, tests=tests, **trusted))
        # By another name it is not the one that the certificate is for.
        done = live(ceph, at=tls.endpoint.replace("127.0.0.1", "localhost"), tests="segments_*", **trusted)
        assert "has a certificate that is not trusted here" in done.said, done.said
        assert "HTTP/2" in (tls.root / "run" / "haproxy.out").read_text(encoding="utf-8")
    finally:
        tls.clean_up()
