"""A system bus for the tests, with those services on it that a test needs."""
import os
import pathlib
import select
import shutil
import subprocess

from accounts import TIMEOUT
from conftest import new_root_for_sockets


class SystemBus:
    """Whoever has its address in DBUS_SYSTEM_BUS_ADDRESS."""

    def __init__(self):
        self.folder = pathlib.Path(new_root_for_sockets())
        (self.folder / "bus.conf").write_text(f"""<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={self.folder}/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="signal"/><allow receive_type="method_return"/>
<allow receive_type="error"/></policy></busconfig>""")
        self.address = f"unix:path={self.folder}/bus"
        self.process = subprocess.Popen(["dbus-daemon", f"--config-file={self.folder}/bus.conf", "--nofork", "--print-address=1"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline()

    def close(self):
        self.process.kill()  # a test may have stopped it
        self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.folder)


class Mock:
    """A service on such a bus: a program of this folder that says what happens to it in lines, "ready" first, and is told in lines."""

    def __init__(self, bus, program, *args):
        self.process = subprocess.Popen(["/usr/bin/python3", "-B", pathlib.Path(__file__).with_name(program), *map(str, args)],
                                        text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=bus.address))
        self.heard = b""
        assert self.hear().startswith("ready")

    def hear(self):
        """The next line.  Several may come at once."""
        while b"\n" not in self.heard:
            assert select.select([self.process.stdout], [], [], TIMEOUT)[0], "it says nothing"
            piece = os.read(self.process.stdout.fileno(), 4096)
            assert piece, "it has ended"
            self.heard += piece
        line, _, self.heard = self.heard.partition(b"\n")
        return line.decode()

    def says_something(self):
        return bool(self.heard) or bool(select.select([self.process.stdout], [], [], 0)[0])

    def say(self, word):
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def close(self):
        self.process.kill()  # a test may have stopped it
        self.process.wait()
        self.process.stdout.close()
        self.process.stdin.close()
