"""What a programmer does in a mount: clones with hard links, worktrees, builds that know what is up to date after a remount."""
import os
import pathlib

import backups


def run(*args, cwd):
    who = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return backups.run(*args, cwd=cwd, env=dict(who, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null"))


def remount(mounted):
    mounted.unmount()
    mounted.mount()


def make_repository(where):
    run("git", "init", "-q", where, cwd="/")
    for n in range(300):
        folder = where / f"folder {n % 17}"
        folder.mkdir(exist_ok=True)
        (folder / f"file{n}").write_text(f"line {n}\n" * (n % 40 + 1))
    run("git", "add", ".", cwd=where)
    run("git", "commit", "-qm", "first", cwd=where)


def objects(repository):
    return {path.name: os.stat(path) for path in (repository / ".git" / "objects").rglob("*") if path.is_file()}


def is_sound(repository):
    run("git", "fsck", "--full", "--strict", cwd=repository)
    assert run("git", "status", "--porcelain", cwd=repository) == ""
    return run("git", "rev-parse", "HEAD", cwd=repository)


def test_a_local_git_clone_shares_its_objects_and_survives_gc_and_a_remount(mounted):
    one, two = mounted.mountpoint / "one", mounted.mountpoint / "two"
    make_repository(one)
    run("git", "clone", "-q", "--local", one, two, cwd="/")
    ours, theirs = objects(one), objects(two)
    shared = [name for name, st in theirs.items() if name in ours and ours[name].st_ino == st.st_ino and st.st_nlink == 2]
    assert len(shared) > 300
    run("git", "gc", "-q", "--prune=now", cwd=one)
    assert all(st.st_nlink == 1 for name, st in objects(two).items() if name in shared)
    head = is_sound(one)
    assert is_sound(two) == head
    remount(mounted)
    assert is_sound(one) == head and is_sound(two) == head
    run("git", "gc", "-q", "--aggressive", "--prune=now", cwd=two)
    assert is_sound(two) == head


def test_git_knows_without_reading_that_nothing_has_changed_after_a_remount(mounted):
    """Its index has each file's times, size, inode number and owner; not its device."""
    repository = mounted.mountpoint / "one"
    make_repository(repository)
    os.utime(repository / ".git" / "index", (2**31, 2**31))  # or git reads files that are no older than it
    remount(mounted)
    assert run("git", "diff-files", "--name-only", cwd=repository) == ""
    before = backups.counters(mounted).get("READ", 0)
    assert run("git", "status", "--porcelain", cwd=repository) == ""
    assert backups.counters(mounted).get("READ", 0) - before < 10
    (repository / "folder 3" / "file3").write_text("another length\n")  # git looks at whole seconds only
    assert run("git", "diff-files", "--name-only", cwd=repository) == "folder 3/file3\n"


def test_a_git_worktree_works_and_survives_a_remount(mounted):
    repository, tree = mounted.mountpoint / "one", mounted.mountpoint / "tree"
    make_repository(repository)
    run("git", "worktree", "add", "-q", "-b", "branch", tree, cwd=repository)
    (tree / "folder 5" / "file5").unlink()
    run("git", "commit", "-qam", "second", cwd=tree)
    remount(mounted)
    head = is_sound(tree)
    run("git", "merge", "-q", "--ff-only", "branch", cwd=repository)
    assert is_sound(repository) == head and not (repository / "folder 5" / "file5").exists()
    run("git", "worktree", "remove", tree, cwd=repository)
    assert not tree.exists()


SOURCES = 24


def make_project(where):
    where.mkdir()
    for n in range(SOURCES):
        (where / f"part{n}.c").write_text(f'#include "parts.h"\nint part{n}(void) {{ return {n}; }}\n')
    (where / "parts.h").write_text("".join(f"int part{n}(void);\n" for n in range(SOURCES)))
    calls = " + ".join(f"part{n}()" for n in range(SOURCES))
    (where / "main.c").write_text('#include <stdio.h>\n#include "parts.h"\n'
                                  f'int main(void) {{ return printf("%d\\n", {calls}) < 0; }}\n')
    parts = ["main", *(f"part{n}" for n in range(SOURCES))]
    built = " ".join(f"{part}.o" for part in parts)
    (where / "Makefile").write_text(f"program: {built}\n\tcc -o $@ {built}\n%.o: %.c parts.h\n\tcc -c -o $@ $<\n")
    edges = "".join(f"build {part}.o: compile {part}.c | parts.h\n" for part in parts)
    (where / "build.ninja").write_text("rule compile\n command = cc -c -o $out $in\nrule link\n command = cc -o $out $in\n"
                                       f"{edges}build program: link {built}\n")


def total(where):
    assert run(where / "program", cwd=where) == f"{sum(range(SOURCES))}\n"


def test_make_builds_and_knows_after_a_remount_what_is_up_to_date(mounted):
    where = pathlib.Path(mounted.mountpoint) / "project"
    make_project(where)
    run("make", "-s", "-j2", cwd=where)
    total(where)
    run("make", "-q", cwd=where)
    remount(mounted)
    run("make", "-q", cwd=where)
    os.utime(where / "part7.c")
    assert run("make", cwd=where).splitlines()[0] == "cc -c -o part7.o part7.c"
    total(where)


def test_ninja_builds_and_knows_after_a_remount_what_is_up_to_date(mounted):
    where = pathlib.Path(mounted.mountpoint) / "project"
    make_project(where)
    run("ninja", "-j2", cwd=where)
    total(where)
    assert "no work to do" in run("ninja", cwd=where)
    remount(mounted)
    assert "no work to do" in run("ninja", cwd=where)
    os.utime(where / "part7.c")
    assert "[1/2]" in run("ninja", cwd=where)
    total(where)
