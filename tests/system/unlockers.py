"""A keyring and a TPM 2.0 to unlock with: a real gnome-keyring-daemon on a D-Bus of its own, and swtpm."""
import os
import pathlib
import shutil
import subprocess

from conftest import new_root_for_sockets, wait_until


class Keyring:
    """A desktop session's keyring: its own bus, its own home."""

    def __init__(self):
        self.folder = pathlib.Path(new_root_for_sockets())
        self.runtime = self.folder / "run"
        self.runtime.mkdir(mode=0o700)
        self.bus = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--print-address=1", f"--address=unix:path={self.folder}/bus"],
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=self.environment())
        self.address = self.bus.stdout.readline().strip()
        self.daemon = None

    def environment(self):
        env = dict(os.environ, HOME=str(self.folder), XDG_DATA_HOME=str(self.folder / "data"), XDG_RUNTIME_DIR=str(self.runtime))
        env.pop("DISPLAY", None)
        env.pop("WAYLAND_DISPLAY", None)
        if hasattr(self, "address"):
            env["DBUS_SESSION_BUS_ADDRESS"] = self.address
        return env

    def has_owner(self):
        done = subprocess.run(["dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus",
                               "org.freedesktop.DBus.NameHasOwner", "string:org.freedesktop.secrets"],
                              env=self.environment(), capture_output=True, text=True)
        return "boolean true" in done.stdout

    def log_in(self, password="login"):
        words = ["gnome-keyring-daemon", "--foreground", "--components=secrets", "--control-directory", str(self.runtime)]
        self.daemon = subprocess.Popen(words + (["--unlock"] if password else []), env=self.environment(), stdin=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.daemon.stdin.write((password or "").encode())
        self.daemon.stdin.close()
        wait_until(self.has_owner, "the keyring's service")

    def log_out(self):
        if self.daemon is not None:
            self.daemon.terminate()
            self.daemon.wait()
            self.daemon = None
            wait_until(lambda: not self.has_owner(), "the end of the keyring's service")

    def keys(self):
        """How many keys of ours the keyring holds."""
        words = ["dbus-send", "--session", "--print-reply=literal", "--dest=org.freedesktop.secrets", "/org/freedesktop/secrets",
                 "org.freedesktop.Secret.Service.SearchItems", "dict:string:string:xdg:schema,org.snugfs.Key"]
        done = subprocess.run(words, env=self.environment(), capture_output=True, text=True, check=True)
        return done.stdout.count("/org/freedesktop/secrets/collection/")

    def close(self):
        self.log_out()
        self.bus.terminate()
        self.bus.wait()
        self.bus.stdout.close()
        shutil.rmtree(self.folder)


class Tpm:
    """A TPM that is software; on sockets in a folder of its own."""

    def __init__(self):
        self.folder = pathlib.Path(new_root_for_sockets())
        self.process = None
        self.power_on()

    def tcti(self):
        return f"swtpm:path={self.folder}/sock"

    def power_on(self):
        self.process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.folder}", "--server", f"type=unixio,path={self.folder}/sock",
             "--ctrl", f"type=unixio,path={self.folder}/sock.ctrl", "--flags", "not-need-init,startup-clear"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until((self.folder / "sock").exists, "the TPM's socket")

    def power_off(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        for name in ("sock", "sock.ctrl"):
            (self.folder / name).unlink(missing_ok=True)

    def tool(self, *words):
        return subprocess.run([words[0], "-T", self.tcti(), *words[1:]], capture_output=True, text=True, check=True).stdout

    def indices(self):
        words = self.tool("tpm2_getcap", "handles-nv-index").split()
        return [word for word in words if word.startswith("0x") and 0x01800000 <= int(word, 16) < 0x01c00000]

    def loaded(self):
        return self.tool("tpm2_getcap", "handles-transient").split()

    def close(self):
        self.power_off()
        shutil.rmtree(self.folder)
