/*
 * The mount as a whole: mounting with sentences for what goes wrong, serving until it is unmounted or told to stop, and
 * leaving without losing what the kernel still holds.
 */
#define FUSE_USE_VERSION 314
#include "fuse_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "connection.h"
#include "fuse_listing.h"
#include "fuse_private.h"
#include "hidden.h"
#include "log.h"
#include "mount_check.h"
#include "mount_flush.h"

struct fuse_mount {
	struct fuse_serving serving;
	const struct hidden_source *hidden;
	struct fuse_session *se;
	struct fuse_loop *loop;
	struct fuse_tell *tell;
	char *mountpoint; /* as /proc/self/mounts has it */
};

extern char **environ;

/* libfuse's own messages: the last one tells why a mount failed; others go to the log. */

static pthread_mutex_t complaint_lock = PTHREAD_MUTEX_INITIALIZER;
static bool complaint_wanted; /* complaint_lock */
static char complaint[256];   /* complaint_lock */

static void __attribute__((format(printf, 2, 0)))
on_fuse_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[256];

	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	pthread_mutex_lock(&complaint_lock);
	if (complaint_wanted && level <= FUSE_LOG_ERR)
		snprintf(complaint, sizeof(complaint), "%s", line);
	else if (level <= FUSE_LOG_ERR)
		log_error("%s", line);
	else
		log_info("%s", line);
	pthread_mutex_unlock(&complaint_lock);
}

static void
collect_complaint(bool wanted)
{
	pthread_mutex_lock(&complaint_lock);
	complaint_wanted = wanted;
	if (wanted)
		complaint[0] = '\0';
	pthread_mutex_unlock(&complaint_lock);
}

/* Mounting. */

static err_t
session_args(const struct fuse_mount_options *o, const struct mount_wishes *wishes, const char *kernel, struct fuse_args *args)
{
	CLEANUP(free_ptr) char *list = NULL;
	CLEANUP(free_ptr) char *fsname = NULL;

	if (asprintf(&fsname, "fsname=%s", o->fsname) < 0) {
		fsname = NULL;
		return -ENOMEM;
	}
	/* noatime: so it is, and so the table of mounts should say. */
	if (fuse_opt_add_opt(&list, "default_permissions,noatime,subtype=" MOUNT_SUBTYPE) < 0 ||
	    fuse_opt_add_opt_escaped(&list, fsname) < 0 ||
	    (wishes->allow_other && fuse_opt_add_opt(&list, "allow_other") < 0) ||
	    (*kernel && fuse_opt_add_opt(&list, kernel) < 0) || (o->debug && fuse_opt_add_opt(&list, "debug") < 0))
		return -ENOMEM;
	if (fuse_opt_add_arg(args, "snugfs") < 0 || fuse_opt_add_arg(args, "-o") < 0 || fuse_opt_add_arg(args, list) < 0)
		return -ENOMEM;
	return 0;
}

static void
free_session_args(struct fuse_args *args)
{
	fuse_opt_free_args(args);
}

static err_t
mount_session(struct fuse_mount *fm, struct fuse_args *args, char **why_out)
{
	const struct fuse_lowlevel_ops *handlers = fm->serving.hidden ? fuse_hidden_handlers() : fuse_ops_handlers();
	err_t err = 0;

	collect_complaint(true);
	fm->se = fuse_session_new(args, handlers, sizeof(*handlers), &fm->serving);
	if (!fm->se || fuse_session_mount(fm->se, fm->mountpoint) < 0)
		err = -EIO;
	collect_complaint(false);
	if (err && asprintf(why_out, "%s could not be mounted: %s", fm->mountpoint,
	    complaint[0] ? complaint : "fusermount3 refused (is the package fuse3 installed?)") < 0)
		*why_out = NULL;
	return err;
}

/*
 * Linux reads 128 KiB ahead unless told otherwise, in sysfs, where root alone may write: so as far as possible.  INIT's answer
 * says the same number (fuse_loop.c); the smaller one counts.
 */
static void
raise_readahead(const char *mountpoint)
{
	char path[64];
	unsigned major, minor;
	int fd;

	if (connection_device(mountpoint, &major, &minor) != 0)
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major, minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (dprintf(fd, "%u", FUSE_READ_AHEAD_LEN >> 10) < 0)
		log_info("%s: the read-ahead stays as it is: %s", mountpoint, strerror(errno));
	close(fd);
}

static void
fuse_mount_clear(struct fuse_mount **fm)
{
	fuse_mount_free(*fm);
}

err_t
fuse_mount_new(struct vfs *v, const struct fuse_mount_options *o, struct fuse_mount **out, char **why_out)
{
	CLEANUP(fuse_mount_clear) struct fuse_mount *fm = calloc(1, sizeof(*fm));
	CLEANUP(free_session_args) struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	CLEANUP(free_ptr) char *kernel = NULL;
	struct mount_wishes wishes;
	err_t err;

	*why_out = NULL;
	if (!fm)
		return -ENOMEM;
	fuse_set_log_func(on_fuse_log);
	err = mount_check_options(o->options, &wishes, &kernel, why_out);
	if (err)
		return err;
	/* Without symlinks, as the table of mounts has it; a place that cannot be resolved is described by the check. */
	fm->mountpoint = realpath(o->mountpoint, NULL);
	if (!fm->mountpoint)
		fm->mountpoint = strdup(o->mountpoint);
	if (!fm->mountpoint)
		return -ENOMEM;
	err = mount_check_place(fm->mountpoint, &wishes, why_out);
	if (err)
		return err;
	err = session_args(o, &wishes, kernel, &args);
	if (err)
		return err;
	fm->serving.vfs = v;
	if ((err = fuse_listings_new(&fm->serving.listings)) != 0)
		return err;
	fm->hidden = o->hidden;
	if (o->hidden && (err = hidden_new(v, o->hidden, &fm->serving.hidden)) != 0)
		return err;
	err = mount_session(fm, &args, why_out);
	if (err)
		return err;
	raise_readahead(fm->mountpoint);
	err = fuse_loop_new(fm->se, &fm->loop);
	if (!err)
		err = fuse_tell_new(fm->se, fm->loop, v, fm->mountpoint, &fm->tell);
	if (err)
		return err;
	*out = STEAL(fm);
	return 0;
}

/* Leaving. */

static err_t
run_fusermount(const char *mountpoint)
{
	char command[] = "fusermount3", unmount[] = "-u", quiet[] = "-q", end[] = "--";
	CLEANUP(free_ptr) char *place = strdup(mountpoint);
	char *argv[] = { command, unmount, quiet, end, place, NULL };
	pid_t pid;
	int status = 0;

	if (!place)
		return -ENOMEM;
	if (posix_spawnp(&pid, command, NULL, NULL, argv, environ) != 0)
		return -EIO;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

/*
 * While the threads are still serving, so that what the kernel holds of written data gets here: a file that was closed has
 * nothing left; files that are open keep the mount busy, then what they hold is asked for.
 */
static bool
unmount_or_flush(const char *mountpoint)
{
	err_t err;

	if (!mount_check_is_ours(mountpoint))
		return true;
	if (umount2(mountpoint, UMOUNT_NOFOLLOW) == 0)
		return true;
	if (errno == EPERM && run_fusermount(mountpoint) == 0)
		return true;
	if ((err = mount_flush(mountpoint, MOUNT_FLUSH_MS)) != 0)
		log_error("%s: what open files hold may not all be saved: %s", mountpoint, strerror(-err));
	return false;
}

/* SIGINT, SIGTERM and SIGHUP wake the loop of the mount that is being served. */
static struct fuse_loop *_Atomic signalled_loop;
static const int end_signals[] = { SIGINT, SIGTERM, SIGHUP };

static void
on_end_signal(int number)
{
	struct fuse_loop *l = atomic_load(&signalled_loop);

	(void)number;
	if (l)
		fuse_loop_wake(l);
}

static void
catch_signals(struct fuse_loop *l, struct sigaction *before)
{
	struct sigaction end = { .sa_handler = on_end_signal, .sa_flags = SA_RESTART };

	sigemptyset(&end.sa_mask);
	atomic_store(&signalled_loop, l);
	for (size_t i = 0; i < ARRAY_LEN(end_signals); i++)
		sigaction(end_signals[i], &end, &before[i]);
}

static void
release_signals(const struct sigaction *before)
{
	for (size_t i = 0; i < ARRAY_LEN(end_signals); i++)
		sigaction(end_signals[i], &before[i], NULL);
	atomic_store(&signalled_loop, NULL);
}

err_t
fuse_mount_serve(struct fuse_mount *fm)
{
	struct sigaction before[ARRAY_LEN(end_signals)];
	enum fuse_loop_end end;
	err_t err;

	catch_signals(fm->loop, before);
	err = fuse_loop_serve(fm->loop, &end);
	if (fm->hidden)
		fm->hidden->end(fm->hidden->ctx);
	/* Who tells may have a file of the mount in hand, which would keep it busy. */
	fuse_tell_end(fm->tell);
	if (!err && end == FUSE_LOOP_WOKEN && !unmount_or_flush(fm->mountpoint))
		log_warn("%s is still in use; it was detached", fm->mountpoint);
	fuse_loop_stop(fm->loop);
	release_signals(before);
	return err ? err : fuse_loop_error(fm->loop);
}

void
fuse_mount_stop(struct fuse_mount *fm)
{
	fuse_loop_wake(fm->loop);
}

void
fuse_mount_free(struct fuse_mount *fm)
{
	if (!fm)
		return;
	if (fm->se) {
		/* Detaches what is still mounted. */
		fuse_session_unmount(fm->se);
		fuse_session_destroy(fm->se);
	}
	fuse_tell_free(fm->tell);
	fuse_loop_free(fm->loop);
	hidden_free(fm->serving.hidden);
	fuse_listings_free(fm->serving.listings);
	free(fm->mountpoint);
	free(fm);
}

void
fuse_mount_forget_entry(struct fuse_mount *fm, uint64_t parent, const char *name)
{
	fuse_tell_entry(fm->tell, parent, name);
}

void
fuse_mount_forget_inode(struct fuse_mount *fm, uint64_t ino)
{
	fuse_tell_inode(fm->tell, ino);
}

void
fuse_mount_write_inode(struct fuse_mount *fm, uint64_t ino)
{
	fuse_tell_write(fm->tell, ino);
}

size_t
fuse_mount_counters(struct fuse_mount *fm, const char **names, uint64_t *counts, size_t max)
{
	return fuse_loop_counters(fm->loop, names, counts, max);
}

uint64_t
fuse_mount_use(struct fuse_mount *fm)
{
	return fuse_loop_use(fm->loop);
}
