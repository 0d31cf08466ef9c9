"""Real services for the tests: tests/lab started once for all that want them, and stopped at the end."""
import os
import pathlib
import shutil
import subprocess

import pytest

import conftest

LAB = pathlib.Path(__file__).resolve().parents[1] / "lab"


class Service:
    """One of tests/lab: running from start() until stop()."""

    def __init__(self, name, *args):
        self.name = name
        self.args = args
        self.root = pathlib.Path(conftest.new_root_for_sockets())
        try:
            self.start()
        except AssertionError:  # somebody else may have taken the port between the choice and the start
            self.clean_up()
            self.root = pathlib.Path(conftest.new_root_for_sockets())
            self.start()

    def call(self, *words):
        # Not captured through pipes: what runs in the background would keep them open.
        with open(self.root / "lab.out", "w+", encoding="utf-8") as out:
            status = subprocess.run([LAB / self.name, *map(str, words)], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                    timeout=900, check=False).returncode
            out.seek(0)
            assert status == 0, f"{self.name} {words}: {out.read()}"

    def start(self):
        self.call("start", self.root / "run", *self.args)
        lines = (self.root / "run" / "env").read_text(encoding="utf-8").splitlines()
        self.env = dict(line.split("=", 1) for line in lines)

    def stop(self):
        self.call("stop", self.root / "run")

    def clean_up(self):
        self.stop()
        shutil.rmtree(self.root)

    @property
    def endpoint(self):
        return self.env["ENDPOINT"]

    def keys(self):
        """For the environment of whoever uses it."""
        return {"AWS_ACCESS_KEY_ID": self.env["ACCESS_KEY"], "AWS_SECRET_ACCESS_KEY": self.env["SECRET_KEY"]}


class Faults(Service):
    """A service in front of another that loses requests as it is told."""

    def __init__(self, behind):
        super().__init__("faults", behind.endpoint)
        self.behind = behind

    def set(self, **faults):
        for fault, value in faults.items():
            self.call("set", self.root / "run", fault, value)

    def outage(self, on):
        self.call("outage", self.root / "run", "on" if on else "off")

    def keys(self):
        return self.behind.keys()


def _service(*args):
    if not shutil.which("radosgw") or not shutil.which("haproxy"):
        pytest.skip("there is no radosgw or haproxy here: tests/install tests")
    return Service(*args)


@pytest.fixture(scope="session")
def ceph():
    service = _service("ceph")
    yield service
    service.clean_up()


@pytest.fixture(scope="session")
def swift():
    service = _service("swift")
    yield service
    service.clean_up()


@pytest.fixture
def faults(ceph):
    service = Faults(ceph)
    yield service
    service.clean_up()


def live(service, *, tests="*", at=None, **env):
    """Runs those of tests/unit/remote/live_s3.c; what it printed."""
    program = os.path.join(os.environ["SNUGFS_BUILD"], "tests", "unit", "remote", "live_s3")
    keys = service.keys()
    env = dict(os.environ, LIVE_S3_URL=f"s3:{at or service.endpoint}/live", LIVE_S3_ACCESS_KEY=keys["AWS_ACCESS_KEY_ID"],
               LIVE_S3_SECRET_KEY=keys["AWS_SECRET_ACCESS_KEY"], **env)
    done = subprocess.run([program, tests], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600,
                          check=False)
    done.said = done.stdout + done.stderr
    return done
