/* The table of mounts, daemons that have died, and taking mounts off. */
#include "mountstate.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "connection.h"
#include "control.h"
#include "handles.h"
#include "mount_check.h"
#include "mount_table.h"
#include "paths.h"
#include "tell.h"

extern char **environ;

/* So long a process may take to end when nothing holds it any more. */
#define END_TIMEOUT_MS 10000

static void
close_file(FILE **f)
{
	if (*f != NULL)
		(void)fclose(*f);
}

/* The topmost mount at the place: its type and source, malloc'ed; both NULL if there is none. */
static void
find_mount(const char *mountpoint, char **type_out, char **source_out)
{
	CLEANUP(mount_table_close) struct mount_table mounts = { 0 };

	*type_out = *source_out = NULL;
	if (!mount_check_may_be_mounted(mountpoint) || !mount_table_open(&mounts, MOUNT_TABLE_SELF))
		return;
	while (mount_table_next(&mounts)) {
		if (strcmp(mounts.place, mountpoint) != 0)
			continue;
		free(*type_out);
		free(*source_out);
		*type_out = strdup(mounts.type);
		*source_out = strdup(mounts.source);
	}
}

/*
 * A daemon whose main thread has ended, but not the last one: that waits for a page which nobody will read, and holds everything open
 * (mountwatch.h).  To be asked through the control socket, which is open, too: it says whose it is.  The caller closes that.
 */
static pid_t
find_dead_daemon(const char *vault_dir, int *connection_out)
{
	CLEANUP(close_file) FILE *f = NULL;
	char path[32], line[256], *state;
	pid_t pid = control_connect(vault_dir, connection_out) == 0 ? control_peer(*connection_out) : -1;

	if (pid < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	/* The name stands in parentheses, and may hold any of them. */
	state = f != NULL && fgets(line, sizeof(line), f) != NULL ? strrchr(line, ')') : NULL;
	return state != NULL && state[1] != '\0' && state[2] == 'Z' ? pid : -1;
}

/* The watch does that at once; unless somebody has killed that, too. */
static void
give_up(const char *mountpoint, pid_t daemon, int connection)
{
	CLEANUP(handle_close_fd) int abort_fd = -1;
	CLEANUP(handle_close_fd) int process = (int)syscall(SYS_pidfd_open, daemon, 0);
	/* Where a pidfd is refused, the end of the connection is its end. */
	struct pollfd end = { .fd = process >= 0 ? process : connection, .events = POLLIN };
	err_t err = connection_open(mountpoint, "abort", O_WRONLY, &abort_fd);

	if (err == 0)
		err = connection_abort(abort_fd);
	if (err != 0)
		(void)tell_failure("the background process of %s was killed in the middle of something, and programs that use the folder "
		    "wait for it: only root can end that, with \"umount -f %s\"", mountpoint, mountpoint);
	else if (poll(&end, 1, END_TIMEOUT_MS) == 1)
		fprintf(stderr, "snugfs: the background process of %s was killed in the middle of something; programs that waited for it "
		    "get errors now\n", mountpoint);
}

enum mountstate
mountstate_get(const char *mountpoint)
{
	CLEANUP(free_ptr) char *type = NULL;
	CLEANUP(free_ptr) char *source = NULL;
	CLEANUP(handle_close_fd) int connection = -1;
	struct statfs fs;
	pid_t dead;

	find_mount(mountpoint, &type, &source);
	if (type == NULL)
		return MOUNT_NONE;
	if (strcmp(type, MOUNT_TYPE) != 0)
		return MOUNT_OTHER;
	if (source != NULL && (dead = find_dead_daemon(source, &connection)) > 0) {
		give_up(mountpoint, dead, connection);
		return MOUNT_STALE;
	}
	/* Not stat(2), which the kernel may answer from its cache long after the process has died.  It is dying: ECONNABORTED. */
	return statfs(mountpoint, &fs) != 0 && (errno == ENOTCONN || errno == ECONNABORTED) ? MOUNT_STALE : MOUNT_OURS;
}

char *
mountstate_vault_dir(const char *mountpoint)
{
	CLEANUP(free_ptr) char *type = NULL;
	CLEANUP(free_ptr) char *source = NULL;

	find_mount(mountpoint, &type, &source);
	if (type == NULL || strcmp(type, MOUNT_TYPE) != 0 || source == NULL || source[0] != '/')
		return NULL;
	return STEAL(source);
}

static bool
has_mount_of(struct mount_table *mounts, const char *vault_dir)
{
	while (mount_table_next(mounts))
		if (strcmp(mounts->type, MOUNT_TYPE) == 0 && strcmp(mounts->source, vault_dir) == 0)
			return true;
	return false;
}

bool
mountstate_is_mounted(const char *vault_dir)
{
	CLEANUP(mount_table_close) struct mount_table mounts = { 0 };

	return mount_table_open(&mounts, MOUNT_TABLE_SELF) && has_mount_of(&mounts, vault_dir);
}

bool
mountstate_has_mounted(pid_t daemon, const char *vault_dir)
{
	CLEANUP(mount_table_close) struct mount_table mounts = { 0 };
	char path[32];

	if (daemon <= 0)
		return mountstate_is_mounted(vault_dir);
	snprintf(path, sizeof(path), "/proc/%d/mounts", (int)daemon);
	return mount_table_open(&mounts, path) ? has_mount_of(&mounts, vault_dir) : mountstate_is_mounted(vault_dir);
}

/* Its own words are of no use here ("Device or resource busy"): what it means is asked of the kernel afterwards. */
static err_t
run_fusermount(const char *mountpoint, int lazy)
{
	char command[] = "fusermount3", unmount[] = "-u", quiet[] = "-q", detach[] = "-z", end[] = "--";
	CLEANUP(free_ptr) char *place = strdup(mountpoint);
	char *argv[] = { command, unmount, quiet, lazy ? detach : quiet, end, place, NULL };
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int ended = 0, failed;

	if (place == NULL || posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	failed = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	if (failed == 0)
		failed = posix_spawnp(&pid, command, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (failed != 0)
		return -failed;
	while (waitpid(pid, &ended, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(ended) && WEXITSTATUS(ended) == 0 ? 0 : -EBUSY;
}

err_t
mountstate_unmount(const char *mountpoint, int lazy)
{
	struct stat st;

	if (umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	/* Another user's mount refuses even to be looked at. */
	if (stat(mountpoint, &st) != 0 && errno == EACCES)
		return -EPERM;
	return run_fusermount(mountpoint, lazy);
}

/* Who is using it: processes whose current directory, root, program or open files are below.  Links are only read, never
 * followed, so that this can't hang. */

static bool
link_is_below(const char *link, const char *mountpoint)
{
	char target[PATH_MAX];
	ssize_t len = readlink(link, target, sizeof(target) - 1);

	if (len < 0)
		return false;
	target[len] = '\0';
	return paths_is_inside(target, mountpoint);
}

static bool
has_open_below(const char *pid, const char *mountpoint)
{
	char path[NAME_MAX * 2 + 32];
	const struct dirent *e;
	bool found = false;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	d = opendir(path);
	while (d != NULL && !found && (e = readdir(d)) != NULL) {
		snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, e->d_name);
		found = link_is_below(path, mountpoint);
	}
	if (d != NULL)
		closedir(d);
	return found;
}

static bool
uses(const char *pid, const char *mountpoint)
{
	static const char *const links[] = { "cwd", "root", "exe" };
	char path[NAME_MAX + 32];

	for (size_t i = 0; i < ARRAY_LEN(links); i++) {
		snprintf(path, sizeof(path), "/proc/%s/%s", pid, links[i]);
		if (link_is_below(path, mountpoint))
			return true;
	}
	return has_open_below(pid, mountpoint);
}

static void
name_process(const char *pid, char *out, size_t out_len)
{
	char path[NAME_MAX + 32], name[32] = "a process";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	f = fopen(path, "re");
	if (f != NULL) {
		if (fgets(name, sizeof(name), f) != NULL)
			name[strcspn(name, "\n")] = '\0';
		fclose(f);
	}
	snprintf(out, out_len, "%s (%s)", name, pid);
}

void
mountstate_who_uses(const char *mountpoint, char *out, size_t out_len)
{
	DIR *d = opendir("/proc");
	const struct dirent *e;
	bool found = false;

	out[0] = '\0';
	while (d != NULL && !found && (e = readdir(d)) != NULL) {
		if (!isdigit((unsigned char)e->d_name[0]) || !uses(e->d_name, mountpoint))
			continue;
		name_process(e->d_name, out, out_len);
		found = true;
	}
	if (d != NULL)
		closedir(d);
}
