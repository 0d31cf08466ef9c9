"""What is measured: file systems that are made, mounted and unmounted in the same way, over the same disk.

A target that daemonises itself is still ours: this process adopts orphans, so that every daemon is a child, is waited for, and
nobody else's process is ever touched.
"""
import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

PR_SET_CHILD_SUBREAPER = 36
EXAMPLES = pathlib.Path("/usr/share/doc/libfuse3-dev/examples")
HERE = pathlib.Path(__file__).resolve().parent
PASSWORD = "a password of the benchmark"
PATIENCE = 120  # seconds for what takes none unless it hangs


class Failed(Exception):
    """A target or a workload that did not do what it should; the text says what."""


def adopt_orphans():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def wait_until(condition, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"waited {seconds} s for {what}")
        time.sleep(0.001)


def is_mounted(folder):
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
        return any(line.split(" ")[1] == str(folder) for line in mounts)


def children():
    """Our children, by process id; also those that have ended and nobody has waited for."""
    found = set()
    for task in os.listdir("/proc/self/task"):
        try:
            found.update(map(int, pathlib.Path(f"/proc/self/task/{task}/children").read_text(encoding="ascii").split()))
        except FileNotFoundError:
            continue
    return found


def no_fuse():
    """Why nothing can be mounted here, or None."""
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse"
    return None if os.access("/dev/fuse", os.R_OK | os.W_OK) else "no permission to use /dev/fuse"


def abort(folder):
    """Ends a mount whose daemon does not answer: who waits for an answer gets an error (root only)."""
    mnt_force, umount_nofollow = 1, 8
    ctypes.CDLL(None).umount2(os.fsencode(folder), mnt_force | umount_nofollow)


def proc_stat(pid):
    """A process's state and its CPU seconds."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return "Z", 0.0
    return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compile_c(sources, out, *libraries):
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", *libraries], capture_output=True, text=True, check=False)
    done = subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-o", str(out), *map(str, sources), *flags.stdout.split(), "-lpthread"],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{pathlib.Path(sources[0]).name} does not compile: {(flags.stderr + done.stderr).strip().splitlines()[0]}")
    return out


class Target:
    """A folder on the disk, and where it is seen.  This one is the plain directory: nothing is mounted."""

    name = "plain"
    persistent = True  # survives being unmounted

    def __init__(self, options):
        self.options = options
        self.root = self.store = self.mountpoint = self.env = None
        self.not_ours = set()  # children that are no daemons
        self.launcher = None

    def missing(self):
        """Why it can't be measured here, or None."""
        return None

    def make(self, root):
        """A fresh one in the folder root; not mounted yet."""
        self.root = pathlib.Path(root)
        self.store = self.mountpoint = self.root / "store"
        self.store.mkdir()

    def mount(self):
        """Returns the seconds it took."""
        return 0.0

    def unmount(self):
        pass

    def daemons(self):
        return []

    def cpu_seconds(self):
        return sum(proc_stat(pid)[1] for pid in self.daemons())

    def memory_mib(self, what):
        total = 0
        for pid in self.daemons():
            for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
                if line.startswith(what):
                    total += int(line.split()[1])
        return total / 1024

    def peak_mib(self):
        return self.memory_mib("VmHWM:")

    def now_mib(self):
        return self.memory_mib("VmRSS:")

    def disk_bytes(self):
        return sum(os.lstat(os.path.join(folder, name)).st_blocks * 512
                   for folder, names, files in os.walk(self.store) for name in names + files)

    def counters(self):
        """FUSE messages by kind, if the target counts them."""
        return {}

    def break_off(self):
        """Called by another thread when this one hangs in the file system: makes it fail instead."""

    def clean_up(self):
        """Whatever happened: nothing mounted, no daemon, nothing on the disk."""
        if self.root:
            shutil.rmtree(self.root, ignore_errors=True)
            self.root = None


class Fuse(Target):
    """A file system that a daemon serves."""

    program = None

    def missing(self):
        if no_fuse():
            return no_fuse()
        if not shutil.which(self.program):
            return f"{self.program} is not installed"
        return None

    def make(self, root):
        self.root = pathlib.Path(root)
        self.store = self.root / "store"
        self.mountpoint = self.root / "mnt"
        for folder in (self.store, self.mountpoint, self.root / "home"):
            folder.mkdir()
        self.env = {"PATH": os.environ["PATH"], "HOME": str(self.root / "home"), "LC_ALL": "C.UTF-8"}
        self.create()

    def create(self):
        """A new vault in self.store."""

    def command(self):
        """The command that mounts, and what it reads from stdin."""
        raise NotImplementedError

    def allow_other(self):
        return ["-o", "allow_other"] if os.geteuid() == 0 else []

    def run(self, *argv, text=""):
        done = subprocess.run([str(a) for a in argv], env=self.env, input=text, capture_output=True, text=True,
                              timeout=PATIENCE, start_new_session=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{argv[0]}: {(done.stderr or done.stdout).strip() or done.returncode}")
        return done.stdout

    def mount(self):
        """All commands return when the file system is usable, and leave a daemon in the background."""
        argv, text = self.command()
        log = self.root / "log"
        self.not_ours = children()
        start = time.monotonic()
        with open(log, "w", encoding="utf-8") as out:
            self.launcher = subprocess.Popen([str(a) for a in argv], env=self.env, stdin=subprocess.PIPE, stdout=out,
                                             stderr=out, text=True, start_new_session=True)
        self.launcher.stdin.write(text)
        self.launcher.stdin.close()
        wait_until(lambda: self.launcher.poll() is not None, f"{self.name} to mount")
        if self.launcher.returncode != 0:
            raise Failed(f"{argv[0]}: {log.read_text(errors='replace').strip()[-300:]}")
        wait_until(lambda: is_mounted(self.mountpoint), "the mount")
        os.stat(self.mountpoint)
        return time.monotonic() - start

    def daemons(self):
        found = children() - self.not_ours if self.launcher else set()
        return sorted(pid for pid in found if proc_stat(pid)[0] != "Z")

    def reap(self):
        """Waits for what has ended; true if nothing is left."""
        if self.launcher is None:
            return True
        self.launcher.poll()
        for pid in children() - self.not_ours - {self.launcher.pid}:
            os.waitpid(pid, os.WNOHANG)
        return not self.daemons()

    def unmount(self):
        end = time.monotonic() + PATIENCE
        while is_mounted(self.mountpoint):
            done = subprocess.run(["fusermount3", "-u", str(self.mountpoint)], capture_output=True, text=True, check=False)
            if done.returncode != 0 and time.monotonic() > end:
                raise Failed(done.stderr.strip())
            if done.returncode != 0:
                time.sleep(0.05)
        wait_until(self.reap, "the daemon's end")
        self.launcher = None

    def break_off(self):
        for pid in self.daemons():
            os.kill(pid, signal.SIGKILL)
        if self.mountpoint and is_mounted(self.mountpoint):
            abort(self.mountpoint)

    def clean_up(self):
        if self.root is None:
            return
        for tool in (["fusermount3", "-u"], ["fusermount3", "-u", "-z"]):
            if is_mounted(self.mountpoint):
                subprocess.run([*tool, str(self.mountpoint)], capture_output=True, check=False)
        for number, patience in ((None, 30), (signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            for pid in self.daemons() if number else ():
                os.kill(pid, number)
            try:
                wait_until(self.reap, "the daemon's end", patience)
                break
            except Failed:
                continue
        self.launcher = None
        if not is_mounted(self.mountpoint):
            super().clean_up()


class Snugfs(Fuse):
    name = "snugfs"

    def __init__(self, options):
        super().__init__(options)
        build = os.environ.get("SNUGFS_BUILD")
        self.program = os.path.join(build, "fs", "cmd", "snugfs") if build else "snugfs"

    def command(self):
        return [self.program, "up", self.mountpoint, "--vault", self.store, "--no-passphrase", *self.allow_other()], ""

    def counters(self):
        status = json.loads(self.run(self.program, "status", "--json", "--counters", self.mountpoint, "--vault", self.store))
        return status.get("counters") or {}


class Gocryptfs(Fuse):
    name = program = "gocryptfs"

    def create(self):
        (self.root / "password").write_text(PASSWORD + "\n", encoding="ascii")
        self.run("gocryptfs", "-init", "-q", "-scryptn", "10", "-passfile", self.root / "password", self.store)

    def command(self):
        everybody = ["-allow_other"] if os.geteuid() == 0 else []
        return ["gocryptfs", "-q", "-nosyslog", *everybody, "-passfile", self.root / "password", self.store, self.mountpoint], ""


class Securefs(Fuse):
    name = program = "securefs"

    def create(self):
        self.run("securefs", "create", "--pbkdf", "pkcs5-pbkdf2-hmac-sha256", "--rounds", "1", "--pass", PASSWORD, self.store)

    def command(self):
        return ["securefs", "mount", "-b", "--pass", PASSWORD, *self.allow_other(), self.store, self.mountpoint], ""


class Cryfs(Fuse):
    name = program = "cryfs"

    def create(self):
        self.env.update(CRYFS_FRONTEND="noninteractive", CRYFS_NO_UPDATE_CHECK="true",
                        CRYFS_LOCAL_STATE_DIR=str(self.root / "home"))

    def command(self):
        fresh = [] if (self.store / "cryfs.config").exists() else ["--cipher", "aes-256-gcm"]
        return ["cryfs", *fresh, self.store, self.mountpoint, *self.allow_other()], PASSWORD + "\n"


class Encfs(Fuse):
    name = program = "encfs"

    def command(self):
        return ["encfs", "--standard", "-S", self.store, self.mountpoint, *self.allow_other()], PASSWORD + "\n"


class Compiled(Fuse):
    """Built once for the run."""

    sources = []
    built = None

    def missing(self):
        why = no_fuse()
        if not self.sources[0].exists():
            why = f"{self.sources[0]} is not there"
        if not why and not type(self).built:
            try:
                type(self).built = compile_c(self.sources, self.options.scratch / self.name, "fuse3")
            except Failed as e:
                why = str(e)
        return why


class Passthrough(Compiled):
    name = "passthrough"
    sources = [EXAMPLES / "passthrough_ll.c"]

    def command(self):
        return [self.built, "-o", f"source={self.store},cache=always,default_permissions",
                *self.allow_other(), self.mountpoint], ""


class Ceiling(Compiled):
    name = "ceiling"
    sources = [HERE / "ceiling.c", HERE / "ceiling_tree.c"]
    persistent = False

    def command(self):
        return [self.built, "-w", self.options.size + 256, self.mountpoint], ""


ALL = [Target, Passthrough, Ceiling, Snugfs, Gocryptfs, Securefs, Cryfs, Encfs]
RIVALS = ["gocryptfs", "securefs", "cryfs", "encfs"]
