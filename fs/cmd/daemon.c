/*
 * The daemon: puts the vault, its mount, its store and its socket together, and takes them apart in the order that loses
 * nothing: first the mount, so that no change comes any more, then sync, then the last commit.
 */
#include "daemon.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autolock.h"
#include "cache.h"
#include "control.h"
#include "create.h"
#include "daemon_report.h"
#include "fuse_ops.h"
#include "launch.h"
#include "log.h"
#include "metered.h"
#include "moments.h"
#include "mountwatch.h"
#include "notify.h"
#include "op.h"
#include "opening.h"
#include "settings.h"
#include "tell.h"
#include "tidy.h"
#include "uplink.h"
#include "vfs.h"

/* What is new is packed so long after the last change; with a store, that is for sync to do, unless it can't. */
#define TIDY_QUIET_MS 3000u
#define TIDY_QUIET_STORE_MS 20000u
/* So long may packing hold up the end. */
#define TIDY_GRACE_MS 5000u

#define COUNTERS_MAX 64u

struct daemon {
	const char *mountpoint;
	struct vault *vault;
	struct vfs *vfs;
	struct uplink *uplink; /* NULL: no remote */
	struct metered *metered; /* NULL: whatever the network is like is no matter */
	struct history *history;
	struct moments *moments; /* NULL: no remote */
	struct fuse_mount *mount;
	struct mountwatch *watch; /* NULL: none could be started */
	struct control *control;
	struct tidy *tidy;
	struct cache *cache;   /* NULL: no remote */
	struct autolock *autolock;
	atomic_uint running;            /* commands that ask for something */
	atomic_uint_least64_t asked;    /* changes whenever there was one */
};

/* A signal that comes while nothing is served yet, or no more, must not cut the start or the last commit in two. */
static atomic_bool told_to_end;
static struct fuse_mount *_Atomic mount_to_end;

static void
on_end_signal(int number)
{
	struct fuse_mount *fm = atomic_load(&mount_to_end);

	(void)number;
	atomic_store(&told_to_end, true);
	if (fm != NULL)
		fuse_mount_stop(fm);
}

static void
catch_signals(void)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction end = { .sa_handler = on_end_signal, .sa_flags = SA_RESTART };

	sigemptyset(&end.sa_mask);
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		sigaction(ends[i], &end, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* What sync tells the mount. */

static void
on_flush_inode(void *ctx, uint64_t ino)
{
	const struct daemon *d = ctx;

	fuse_mount_write_inode(d->mount, ino);
}

static void
on_changed(void *ctx, const struct merge_result *r)
{
	const struct daemon *d = ctx;

	for (size_t i = 0; i < r->entry_count; i++)
		fuse_mount_forget_entry(d->mount, r->entries[i].parent, r->entries[i].name);
	for (size_t i = 0; i < r->ino_count; i++)
		fuse_mount_forget_inode(d->mount, r->inos[i]);
	cache_note_change(d->cache);
}

static void
on_event(void *ctx, const char *kind, const char *text)
{
	(void)ctx;
	notify_run(kind, text);
}

static uint64_t
count_use(void *ctx)
{
	const struct daemon *d = ctx;
	const char *names[COUNTERS_MAX];
	uint64_t counts[COUNTERS_MAX], sum = 0;
	size_t count = fuse_mount_counters(d->mount, names, counts, COUNTERS_MAX);

	for (size_t i = 0; i < count; i++)
		sum += counts[i];
	return sum;
}

static uint64_t
count_work(void *ctx)
{
	struct daemon *d = ctx;

	if (atomic_load(&d->running) > 0)
		atomic_fetch_add(&d->asked, 1);
	return fuse_mount_use(d->mount) + atomic_load(&d->asked);
}

static void
on_locked(void *ctx)
{
	const struct daemon *d = ctx;

	fuse_mount_stop(d->mount);
}

static json_t *
report(struct op *op, bool counters)
{
	json_t *all = daemon_report(op->vault, op->uplink, op->mount, counters);

	if (all != NULL)
		(void)json_object_set_new(all, "lock", op_lock_report(op));
	return all;
}

static json_t *
on_request(void *ctx, struct control_call *call, const char *name, const json_t *request)
{
	struct daemon *d = ctx;
	struct op op = { .vault = d->vault, .uplink = d->uplink, .mount = d->mount, .cache = d->cache, .history = d->history,
		.autolock = d->autolock, .mountpoint = d->mountpoint, .call = call };
	op_fn *fn = op_find(name);
	json_t *answer;

	if (strcmp(name, "status") == 0)
		return report(&op, json_is_true(json_object_get(request, "counters")));
	if (fn == NULL || !control_is_current(request))
		return control_refusal(CONTROL_OTHER_VERSION, d->mountpoint);
	atomic_fetch_add(&d->running, 1);
	atomic_fetch_add(&d->asked, 1);
	answer = fn(&op, request);
	atomic_fetch_sub(&d->running, 1);
	return answer;
}

/* Putting together. */

static int
add_remote(struct vault *v, const char *remote, const char *mountpoint)
{
	err_t err;
	int status;

	if (remote == NULL || (v->remote_url != NULL && strcmp(v->remote_url, remote) == 0))
		return 0;
	if (v->remote_url != NULL)
		return tell_failure("%s is kept in the store %s already, and a vault has one store", mountpoint, v->remote_url);
	status = create_check_store(remote, true, v->id, mountpoint);
	if (status != 0)
		return status;
	meta_lock(v->meta);
	err = vault_save_remote(v, remote);
	meta_unlock(v->meta);
	if (err == 0)
		err = meta_sync(v->meta);
	return err == 0 ? 0 : tell_failure("the store %s could not be noted in the vault: %s", remote, tell_reason(err));
}

static void
start_watch(struct daemon *d)
{
	err_t err = mountwatch_start(d->mountpoint, &d->watch);

	if (err == -ENOENT)
		log_info("%s: should this process be killed, programs may hang until root has run \"umount -f %s\", since fusectl is not "
		    "mounted here", d->mountpoint, d->mountpoint);
	else if (err != 0)
		log_warn("%s: should this process be killed, programs may hang: %s", d->mountpoint, strerror(-err));
}

static int
mount_it(struct daemon *d, const struct daemon_params *p)
{
	struct fuse_mount_options o = { .mountpoint = p->mountpoint, .fsname = p->vault_dir, .options = p->mount_options };
	char *why = NULL;
	err_t err;

	if ((err = vfs_new(d->vault->meta, d->vault->content, d->vault->lookups, p->vault_dir, &d->vfs)) != 0 ||
	    (err = vfs_reap_orphans(d->vfs)) != 0)
		return tell_vault_open(err, p->mountpoint, p->vault_dir);
	if (d->uplink != NULL) {
		if ((err = moments_new(d->history, d->uplink, &d->moments)) != 0)
			return tell_vault_open(err, p->mountpoint, p->vault_dir);
		o.hidden = moments_source(d->moments);
	}
	err = fuse_mount_new(d->vfs, &o, &d->mount, &why);
	return err == 0 ? 0 : tell_why(why, p->mountpoint, err);
}

static err_t
start_autolock(struct daemon *d)
{
	const struct autolock_params params = { d->mountpoint, d->vault->meta, d, count_work, on_locked };

	return autolock_start(&params, &d->autolock);
}

static int
connect_it(struct daemon *d)
{
	struct sync_hooks hooks = { .ctx = d, .flush_inode = on_flush_inode, .changed = on_changed,
		.event = on_event, .use = count_use };
	err_t err = control_start(d->vault->dir_fd, on_request, d, &d->control);

	if (err != 0)
		return tell_failure("the socket %s/control cannot be made: %s", d->vault->dir, tell_reason(err));
	if (d->uplink != NULL && (err = uplink_start(d->uplink, &hooks)) != 0)
		return tell_failure("syncing cannot be started: %s", tell_reason(err));
	return 0;
}

static err_t
start_tidying(struct daemon *d)
{
	const struct tidy_place place = { .content = d->vault->content, .meta = d->vault->meta,
		.segments = d->vault->segments, .keys = d->vault->keys };

	return tidy_start(&place, d->uplink != NULL ? TIDY_QUIET_STORE_MS : TIDY_QUIET_MS, &d->tidy);
}

static bool
is_sync_held(void *ctx)
{
	const struct daemon *d = ctx;

	return uplink_is_held(d->uplink);
}

/* With a store only: without one, all there is is here. */
static err_t
start_caching(struct daemon *d)
{
	const struct cache_place place = { .content = d->vault->content, .meta = d->vault->meta, .ctx = d, .is_held = is_sync_held };

	return d->uplink != NULL ? cache_start(&place, &d->cache) : 0;
}

static err_t
set_rates(struct meta *m, const uint64_t *up, const uint64_t *down)
{
	struct settings st;
	err_t err = settings_load(m, &st);

	if (err != 0)
		return err;
	if (up != NULL) {
		st.has_up = true;
		st.up = *up;
	}
	if (down != NULL) {
		st.has_down = true;
		st.down = *down;
	}
	return settings_save(m, &st);
}

/* Before anything goes by them. */
static int
change_settings(struct vault *v, const struct daemon_params *p)
{
	err_t err = p->cache_size != NULL ? cache_set_limit(v->meta, *p->cache_size) : 0;

	if (err == 0 && p->cache_size != NULL)
		err = meta_sync(v->meta);
	if (err == 0 && (p->up_limit != NULL || p->down_limit != NULL))
		err = set_rates(v->meta, p->up_limit, p->down_limit);
	return err == 0 ? 0 : tell_failure("the settings could not be noted in the vault: %s", tell_reason(err));
}

static int
put_together(struct daemon *d, const struct daemon_params *p)
{
	err_t err = opening_vault(p->vault_dir, &p->unlock, &d->vault);
	int status;

	if (err != 0)
		return tell_vault_open(err, p->mountpoint, p->vault_dir);
	if ((status = add_remote(d->vault, p->remote, p->mountpoint)) != 0 || (status = change_settings(d->vault, p)) != 0)
		return status;
	if (d->vault->remote_url != NULL) {
		if ((err = uplink_new(d->vault, &d->uplink)) != 0)
			return tell_vault_open(err, p->mountpoint, p->vault_dir);
		content_set_fetch(d->vault->content, uplink_fetch, d->uplink);
		/* Before anything begins by itself: it may be a network on which nothing is to. */
		if ((err = metered_new(d->uplink, d->vault->remote_url, d->mountpoint, &d->metered)) != 0)
			return tell_failure("whether the network is metered cannot be followed: %s", tell_reason(err));
	}
	if ((err = history_new(d->vault, &d->history)) != 0)
		return tell_vault_open(err, p->mountpoint, p->vault_dir);
	if ((status = mount_it(d, p)) != 0)
		return status;
	if ((err = start_tidying(d)) != 0)
		return tell_failure("the thread that packs what is stored cannot be started: %s", tell_reason(err));
	if ((err = start_autolock(d)) != 0)
		return tell_failure("the thread that locks the folder cannot be started: %s", tell_reason(err));
	if ((err = start_caching(d)) != 0)
		return tell_failure("the size of the cache cannot be kept: %s", tell_reason(err));
	return connect_it(d);
}

/* Taking apart. */

static int
save_all(struct daemon *d, const char *dir)
{
	char text[1024];
	err_t err = vault_close(d->vault);

	d->vault = NULL;
	if (err == 0) {
		if (d->control != NULL)
			control_finish(d->control, NULL);
		return 0;
	}
	snprintf(text, sizeof(text), "the last changes could not be saved in %s: %s; what was saved before them is there when it is mounted again",
	    dir, tell_reason(err));
	log_error("%s", text);
	if (d->control != NULL)
		control_finish(d->control, text);
	return tell_failure("%s", text);
}

static int
close_vault(struct daemon *d, const char *dir)
{
	int status, lock_fd = d->vault->lock_fd;

	d->vault->lock_fd = -1;
	status = save_all(d, dir);
	/* Not before the end is told: the vault would be another daemon's. */
	if (lock_fd >= 0)
		close(lock_fd);
	return status;
}

/* Of whatever there is; `status` is what it came to so far. */
static int
take_apart(struct daemon *d, const char *dir, int status)
{
	int closed;

	atomic_store(&mount_to_end, NULL);
	if (d->control != NULL)
		control_quiesce(d->control); /* what it runs may keep sync busy */
	metered_free(d->metered);
	if (d->uplink != NULL)
		uplink_stop(d->uplink); /* it tells the mount of changes, which must be there */
	if (d->control != NULL)
		control_stop(d->control);
	autolock_quiesce(d->autolock);
	fuse_mount_free(d->mount);
	mountwatch_end(d->watch);
	autolock_stop(d->autolock);
	vfs_free(d->vfs);
	tidy_stop(d->tidy, d->uplink != NULL ? 0 : TIDY_GRACE_MS);
	cache_stop(d->cache);
	if (d->vault != NULL)
		content_set_fetch(d->vault->content, NULL, NULL);
	moments_free(d->moments);
	history_free(d->history);
	uplink_free(d->uplink);
	closed = d->vault != NULL ? close_vault(d, dir) : 0;
	return status != 0 ? status : closed;
}

static int
serve(struct daemon *d, const struct daemon_params *p)
{
	err_t err;

	atomic_store(&mount_to_end, d->mount);
	if (atomic_load(&told_to_end))
		fuse_mount_stop(d->mount);
	p->ready(p->ctx, d->vault->remote_url);
	launch_ready();
	start_watch(d); /* takes time, and nobody waits for it */
	metered_start(d->metered);
	err = fuse_mount_serve(d->mount);
	if (err == 0)
		return 0;
	log_error("%s: the connection to the kernel failed: %s", p->mountpoint, strerror(-err));
	return EXIT_TOLD;
}

/*
 * What is so large is mapped by itself, and leaves no gap behind; and so much may be free at the heap's end.  Otherwise both would grow
 * to the longest batch of rows that was ever written.
 */
#define HEAP_LARGE (4 << 20)
#define HEAP_SPARE (8 << 20)

/*
 * The threads take turns at serving the kernel: with heaps of their own each would come to hold a cache that another has
 * let go of since (366 MiB where 150 do, after a walk through a million files).
 */
static void
share_heap(void)
{
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_MMAP_THRESHOLD, HEAP_LARGE);
	(void)mallopt(M_TRIM_THRESHOLD, HEAP_SPARE);
}

int
daemon_run(const struct daemon_params *p)
{
	struct daemon d = { .mountpoint = p->mountpoint };
	int status;

	share_heap();
	launch_leave_terminal();
	catch_signals();
	status = put_together(&d, p);
	if (status == 0)
		status = serve(&d, p);
	return take_apart(&d, p->vault_dir, status);
}
