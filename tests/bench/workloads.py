"""What is done with each target, and what is noted of it.  Every workload checks what it reads, and what it wrote after a remount."""
import contextlib
import os
import pathlib
import re
import subprocess
import time

from targets import Failed, compile_c, HERE

MIB = 1 << 20


class Helper:
    """The process with the inner loops; see loops.c."""

    def __init__(self, scratch):
        program = compile_c(sorted(HERE.glob("loops*.c")), scratch / "loops", "sqlite3")
        self.process = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        start_new_session=True)

    def do(self, *words):
        """Seconds and operations."""
        try:
            self.process.stdin.write("\t".join(map(str, words)) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as e:
            raise Failed("the helper has died") from e
        answer = self.process.stdout.readline().split(" ", 1)
        if answer[0] != "ok":
            raise Failed(f"{words[0]}: {answer[-1].strip() or 'the helper has died'}")
        seconds, count = answer[1].split()
        return float(seconds), int(count)

    def kill(self):
        """Also in the middle of a command.  It ends when the file system that it waits for answers, or is gone."""
        self.process.kill()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Run:
    """One group of workloads on one target: a fresh file system that is gone afterwards."""

    def __init__(self, target, helper, options, results):
        self.target, self.helper, self.options, self.results = target, helper, options, results

    def note(self, row, value):
        self.results.samples.setdefault(row, {}).setdefault(self.target.name, {})[self.results.round] = value

    def place(self, name=""):
        return self.target.mountpoint / name

    def calm(self):
        """What was written before must not be paid for by what comes next."""
        os.sync()

    def drop_caches(self):
        os.sync()
        if os.geteuid() == 0:
            pathlib.Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")

    def remount(self):
        """Returns how long mounting took."""
        if not self.target.persistent:
            return 0.0
        self.target.unmount()
        return self.target.mount()

    def cold(self):
        """Nothing is in any cache that we can empty."""
        if self.target.persistent:
            self.target.unmount()
        self.drop_caches()
        if self.target.persistent:
            self.target.mount()

    def loop(self, row, scale, *words):
        """A loop of the helper, noted as operations per second (or thousands of them)."""
        self.calm()
        with self.counted(row):
            seconds, count = self.helper.do(*words)
        if row:
            self.note(row, count / seconds / scale)
        return count

    @contextlib.contextmanager
    def counted(self, row):
        before = self.target.counters()
        yield
        after = self.target.counters()
        sent = {kind: n - before.get(kind, 0) for kind, n in after.items() if n != before.get(kind, 0)}
        if row and sent:
            self.results.messages[row] = sent

    def command(self, row, *argv, cwd=None, allowed=(0,)):
        """A program, noted in seconds."""
        self.calm()
        home = str(self.options.scratch)
        env = {"PATH": os.environ["PATH"], "HOME": home, "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1",
               "GIT_AUTHOR_NAME": "bench", "GIT_AUTHOR_EMAIL": "bench@example.org", "GIT_COMMITTER_NAME": "bench",
               "GIT_COMMITTER_EMAIL": "bench@example.org"}
        start = time.monotonic()
        with self.counted(row):
            start = time.monotonic()
            done = subprocess.run([str(a) for a in argv], cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, errors="replace", start_new_session=True, check=False)
            seconds = time.monotonic() - start
        if done.returncode not in allowed:
            raise Failed(f"{' '.join(map(str, argv[:3]))}: {(done.stderr or done.stdout).strip()[-300:]}")
        if row:
            self.note(row, seconds)
        return done.stdout

    def expect(self, condition, what):
        if not condition:
            raise Failed(what)

    def note_disk(self, row, stored):
        """After unmounting: what the disk holds for so many bytes."""
        if self.target.persistent:
            self.target.unmount()
            os.sync()
            self.note(row, self.target.disk_bytes() / stored)


def big(run):
    """One big file, from the beginning to the end and at random."""
    o, path, gib = run.options, run.place("big"), run.options.size / 1024
    run.helper.do("warm", 2 * o.size)
    cpu = run.target.cpu_seconds()
    run.loop("sequential write, MiB/s", 1, "write", path, o.size)
    run.note("CPU of the daemon, write, s/GiB", (run.target.cpu_seconds() - cpu) / gib)
    run.cold()
    run.helper.do("warm", 2 * o.size)
    cpu = run.target.cpu_seconds()
    run.loop("sequential read cold, MiB/s", 1, "read", path)
    run.note("CPU of the daemon, read, s/GiB", (run.target.cpu_seconds() - cpu) / gib)
    run.loop("sequential read warm, MiB/s", 1, "read", path)
    run.cold()
    run.loop("random read, 1 job, k/s", 1000, "random-read", path, o.random, 1, 0)
    run.loop("random read, 4 jobs, k/s", 1000, "random-read", path, o.random, 4, o.random)
    run.loop("random overwrite, fsync at the end, k/s", 1000, "overwrite", path, o.random, 0, 2 * o.random)
    run.loop("random overwrite, fdatasync every 16, k/s", 1000, "overwrite", path, o.random // 8, 16, 3 * o.random)
    run.cold()
    run.loop(None, 1, "read", path)
    run.note("peak memory, big file, MiB", run.target.peak_mib())
    run.note_disk("bytes on disk per byte, big file overwritten", o.size * MIB)


def small(run):
    """Many small files."""
    o, folder = run.options, run.place("files")
    folder.mkdir()
    run.loop("small files: create, /s", 1, "create", folder, o.files)
    run.cold()
    found = run.loop("small files: walk cold, k/s", 1000, "walk", folder)
    run.expect(found == o.files, f"the walk found {found} files")
    run.loop("small files: walk warm, k/s", 1000, "walk", folder)
    run.cold()
    found = run.loop("small files: read cold, /s", 1, "read-files", folder)
    run.expect(found == o.files, f"{found} files were read")
    stored = sum(os.lstat(os.path.join(d, f)).st_size for d, _, files in os.walk(folder) for f in files)
    run.note("peak memory, small files, MiB", run.target.peak_mib())
    run.note_disk("bytes on disk per byte, small files", stored)
    if run.target.persistent:
        run.note("mount, small files, s", run.target.mount())
    run.helper.do("walk", folder)
    run.loop("small files: rename, /s", 1, "rename", folder, o.files)
    run.remount()
    run.loop("small files: delete, /s", 1, "delete", folder)
    run.expect(not os.listdir(folder), "something was left after deleting")


def directory(run):
    """One directory with many entries."""
    o, folder = run.options, run.place("directory")
    folder.mkdir()
    run.loop("one directory: create, /s", 1, "create-empty", folder, o.entries)
    run.cold()
    found = run.loop("one directory: list cold, k/s", 1000, "walk", folder)
    run.expect(found == o.entries, f"{found} entries were listed")
    run.loop("one directory: delete, /s", 1, "delete", folder)
    run.expect(not os.listdir(folder), "something was left after deleting")


def tree(run):
    """A source tree: unpacked, put under version control, compiled."""
    top = run.place("tree")
    archive = run.options.scratch / "tree.tar"
    run.command("unpack a tree, s", "tar", "-xf", archive, "-C", run.place())
    run.remount()
    compared = run.command(None, "tar", "-df", archive, "-C", run.place(), allowed=(0, 1))
    run.expect(not re.search("Contents differ|Size differs|Cannot|No such", compared), f"tar: {compared[:200]}")
    run.command(None, "git", "init", "-q", ".", cwd=top)
    run.command("git add, s", "git", "add", "-A", cwd=top)
    run.command("git commit, s", "git", "commit", "-q", "-m", "all", cwd=top)
    run.cold()
    clean = run.command("git status cold, s", "git", "status", "--short", cwd=top)
    run.command("git status warm, s", "git", "status", "--short", cwd=top)
    run.expect(clean == "", f"git status: {clean[:200]}")
    run.command("compile, s", "make", "-s", "-j2", cwd=top)
    run.expect(run.command(None, top / "program").startswith("sum "), "the program that was compiled does not work")
    run.command(None, "git", "fsck", "--strict", cwd=top)
    run.note("peak memory, source tree, MiB", run.target.peak_mib())
    stored = sum(os.lstat(os.path.join(d, f)).st_size for d, _, files in os.walk(top) for f in files)
    run.note_disk("bytes on disk per byte, source tree", stored)


def sqlite(run):
    """A database in its default mode."""
    o, path = run.options, run.place("db")
    run.loop("SQLite, single transactions, /s", 1, "sql-single", path, o.transactions)
    run.loop("SQLite, bulk, k rows/s", 1000, "sql-bulk", path, o.rows)
    run.remount()
    run.loop(None, 1, "sql-check", path, o.transactions, o.rows)


def log(run):
    """A log of which every line is fsynced."""
    o, path = run.options, run.place("log")
    run.loop("fsynced log, lines/s", 1, "log", path, o.lines)
    run.remount()
    run.helper.do("check-log", path, o.lines)


def rsync(run):
    """A copy, and again when nothing has changed."""
    source, copy = f"{run.options.scratch}/tree/", f"{run.place('copy')}/"
    run.command("rsync, s", "rsync", "-a", source, copy)
    run.cold()
    run.command("rsync again cold, s", "rsync", "-a", source, copy)
    differ = run.command(None, "rsync", "-acni", source, copy)
    run.expect(not re.search("^[<>c]", differ, re.MULTILINE), f"rsync: {differ[:200]}")


GROUPS = {f.__name__: f for f in (big, small, directory, tree, sqlite, log, rsync)}

SOURCE = """#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

unsigned f{n}(unsigned x)
{{
	char text[64];

	for (unsigned i = 0; i < {n} + 10; i++)
		x = x * 2654435761u + (unsigned)snprintf(text, sizeof(text), "%u of {n}", x ^ i);
	return x;
}}
"""
SOURCES = 24


def make_tree(scratch, files):
    """The source tree: headers of this system, and a program that includes some of them.  Also packed, as tree.tar."""
    top = scratch / "tree"
    (top / "src").mkdir(parents=True)
    system = pathlib.Path("/usr/include")
    wanted = sorted((p for p in system.rglob("*") if p.is_file() and not p.is_symlink()),
                    key=lambda p: (len(p.relative_to(system).parts) > 1 and "-linux-" not in p.parts[3], p))
    for path in wanted[:files]:
        copy = top / "include" / path.relative_to(system)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    arch = [p.name for p in (top / "include").iterdir() if p.is_dir() and "-linux-" in p.name]
    for n in range(SOURCES):
        (top / "src" / f"f{n}.c").write_text(SOURCE.format(n=n), encoding="ascii")
    names = range(SOURCES)
    (top / "src" / "main.c").write_text(
        "#include <stdio.h>\n" + "".join(f"unsigned f{n}(unsigned);\n" for n in names) +
        "int main(void)\n{\n\tunsigned x = 1;\n\n" + "".join(f"\tx = f{n}(x);\n" for n in names) +
        '\treturn printf("sum %u\\n", x) < 0;\n}\n', encoding="ascii")
    (top / "Makefile").write_text(
        f"CFLAGS = -O1 {' '.join(f'-Iinclude/{a}' for a in arch)} -Iinclude\n"
        "objects = $(patsubst %.c,%.o,$(wildcard src/*.c))\nprogram: $(objects)\n\t$(CC) -o $@ $(objects)\n", encoding="ascii")
    (top / ".gitignore").write_text("*.o\nprogram\n", encoding="ascii")
    subprocess.run(["tar", "-cf", str(scratch / "tree.tar"), "-C", str(scratch), "tree"], check=True)
