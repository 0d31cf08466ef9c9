/*
 * Views: the tree as of a commit, in a folder of its own.
 *
 *   DIR/history/<commit>/meta.db, segments/    as the vault's own
 *   DIR/history/<commit>/whole                 made last: without it the folder is what a crash has left
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"
#include "history.h"
#include "pieces.h"

#define VIEWS_MAX 2
#define UNUSED_AFTER_S (24 * 60 * 60)
/* When a view has brought so much, what was read longest ago goes until it is half of that. */
#define BROUGHT_MAX (UINT64_C(512) << 20)
#define WHOLE "whole"
/* A view makes no files, so its numbers are nobody's. */
#define NOBODY ((1u << 20) - 1)

struct history_view {
	uint64_t seq;
	unsigned users;  /* under the history's lock, as is the next */
	uint64_t used;
	struct sync *sync;
	char *dir;
	struct rowseal *rowseal;
	struct meta *meta;
	struct segstore *segments;
	struct content *content;
	struct lookups *lookups;
	struct vfs *vfs;

	pthread_mutex_t trimming;
	uint64_t trimmed; /* under it: segstore_brought at the last time, less what was kept then */
};

struct history {
	struct vault *v;
	char *dir;
	pthread_mutex_t making; /* one at a time; before lock */
	pthread_mutex_t lock;
	/* under lock */
	struct history_view *views[VIEWS_MAX];
	uint64_t tick;
};

static void
close_dir(DIR **d)
{
	if (*d != NULL)
		(void)closedir(*d);
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static void
close_db(struct db **db)
{
	if (*db != NULL)
		db_close(*db);
}

/* One view. */

static void
view_free(struct history_view *w)
{
	if (w == NULL)
		return;
	vfs_free(w->vfs);
	content_free(w->content);
	segstore_free(w->segments);
	meta_free(w->meta);
	lookups_free(w->lookups);
	rowseal_free(w->rowseal);
	pthread_mutex_destroy(&w->trimming);
	free(w->dir);
	free(w);
}

static void
view_free_ptr(struct history_view **w)
{
	view_free(*w);
}

static int
by_use(const void *a, const void *b)
{
	const struct segstore_kept *x = a, *y = b;

	return x->used < y->used ? -1 : x->used > y->used;
}

static uint64_t
drop_oldest(struct history_view *w, struct segstore_kept_list *l)
{
	uint64_t kept = 0;

	for (size_t i = 0; i < l->count; i++)
		kept += pieces_bytes(l->v[i].size, l->v[i].here);
	qsort(l->v, l->count, sizeof(l->v[0]), by_use);
	for (size_t i = 0; i < l->count && kept > BROUGHT_MAX / 2; i++) {
		struct segstore_leaving leaving = { .seg = l->v[i].seg, .mask = l->v[i].here };

		if (segstore_drop_pieces(w->segments, &leaving, 1) == 0 && leaving.done)
			kept -= pieces_bytes(leaving.size, leaving.mask);
	}
	return kept;
}

static void
trim(struct history_view *w)
{
	CLEANUP(segstore_kept_clear) struct segstore_kept_list l = { 0 };
	uint64_t brought = segstore_brought(w->segments);

	if (pthread_mutex_trylock(&w->trimming) != 0)
		return; /* somebody is at it */
	if (brought - w->trimmed > BROUGHT_MAX && segstore_list_kept(w->segments, &l) == 0 && l.count > 0)
		w->trimmed = brought - drop_oldest(w, &l);
	pthread_mutex_unlock(&w->trimming);
}

static err_t
fetch(void *ctx, const struct segment *seg, uint64_t off, size_t len, struct bytes *out)
{
	struct history_view *w = ctx;

	trim(w);
	return past_fetch(w->sync, seg, off, len, out);
}

static err_t
path_in(const char *dir, const char *name, char **out)
{
	return asprintf(out, "%s/%s", dir, name) < 0 ? -ENOMEM : 0;
}

static err_t
open_rows(struct history_view *w, const struct vault *v, bool create)
{
	CLEANUP(free_ptr) char *path = NULL;
	CLEANUP(key32_wipe) struct key32 local = { 0 };
	CLEANUP(close_db) struct db *db = NULL;
	err_t err;

	if ((err = identity_derive(v->me, "local", local.b)) != 0 || (err = rowseal_new(local.b, &w->rowseal)) != 0 ||
	    (err = path_in(w->dir, "meta.db", &path)) != 0 || (err = db_open(path, create, w->rowseal, &db)) != 0 ||
	    (err = meta_new(db, w->rowseal, NOBODY, &w->meta)) != 0)
		return err;
	db = NULL;
	return 0;
}

/* The folder is there, and with `create` empty. */
static err_t
view_open(const struct vault *v, struct sync *s, const char *dir, bool create, struct history_view **out)
{
	CLEANUP(view_free_ptr) struct history_view *w = calloc(1, sizeof(*w));
	CLEANUP(free_ptr) char *segments = NULL;
	err_t err;

	if (w == NULL)
		return -ENOMEM;
	pthread_mutex_init(&w->trimming, NULL);
	w->sync = s;
	w->dir = strdup(dir);
	if (w->dir == NULL)
		return -ENOMEM;
	if ((err = path_in(dir, "segments", &segments)) != 0)
		return err;
	disk_remove_tree(segments); /* what an earlier process has brought */
	if ((err = open_rows(w, v, create)) != 0 || (err = segstore_open(segments, w->meta, &w->segments)) != 0 ||
	    (err = content_new(w->meta, w->segments, v->keys, &w->content)) != 0 || (err = lookups_new(&w->lookups)) != 0 ||
	    (err = vfs_new(w->meta, w->content, w->lookups, v->dir, &w->vfs)) != 0)
		return err;
	content_set_fetch(w->content, fetch, w);
	*out = STEAL(w);
	return 0;
}

/* The row that says of which commit it is. */

static err_t
mark_whole(struct history_view *w, const uint8_t hash[static 32])
{
	CLEANUP(close_fd) int fd = -1;
	err_t err;

	meta_lock(w->meta);
	err = meta_kv_put(w->meta, DB_KEY_HEAD, hash, 32);
	meta_unlock(w->meta);
	if (err != 0 || (err = meta_sync(w->meta)) != 0)
		return err;
	fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : disk_write_file(fd, WHOLE, "", 0, 0600);
}

static bool
is_of(struct history_view *w, const uint8_t hash[static 32])
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err;

	meta_lock(w->meta);
	err = meta_kv_get(w->meta, DB_KEY_HEAD, &b);
	meta_unlock(w->meta);
	return err == 0 && b.len == 32 && memcmp(b.data, hash, 32) == 0;
}

/* One that an earlier process has finished. */
static bool
reopen(struct history *h, struct sync *s, const char *dir, const uint8_t hash[static 32], struct history_view **out)
{
	CLEANUP(free_ptr) char *whole = NULL;
	struct history_view *w = NULL;

	if (path_in(dir, WHOLE, &whole) != 0 || access(whole, F_OK) != 0 || view_open(h->v, s, dir, false, &w) != 0)
		return false;
	if (!is_of(w, hash)) {
		view_free(w);
		return false;
	}
	(void)utimensat(AT_FDCWD, dir, NULL, 0); /* used now */
	*out = w;
	return true;
}

static err_t
build(struct history *h, struct sync *s, struct past *p, uint64_t seq, const char *dir, struct history_view **out)
{
	CLEANUP(view_free_ptr) struct history_view *w = NULL;
	uint8_t hash[32];
	err_t err;

	do {
		view_free(w);
		w = NULL;
		disk_remove_tree(dir);
		if ((err = disk_make_dir(dir)) == 0 && (err = view_open(h->v, s, dir, true, &w)) == 0)
			err = past_build(p, seq, w->meta);
	} while (err == -ERESTART);
	if (err == 0 && (err = past_hash(p, seq, hash)) == 0)
		err = mark_whole(w, hash);
	if (err != 0) {
		view_free(STEAL(w));
		disk_remove_tree(dir);
		return err;
	}
	*out = STEAL(w);
	return 0;
}

/* All of them. */

static struct history_view *
find(struct history *h, uint64_t seq)
{
	for (size_t i = 0; i < VIEWS_MAX; i++)
		if (h->views[i] != NULL && h->views[i]->seq == seq)
			return h->views[i];
	return NULL;
}

static bool
take(struct history *h, uint64_t seq, struct history_view **out)
{
	struct history_view *w;

	pthread_mutex_lock(&h->lock);
	w = find(h, seq);
	if (w != NULL) {
		w->users++;
		w->used = ++h->tick;
		*out = w;
	}
	pthread_mutex_unlock(&h->lock);
	return w != NULL;
}

/* [lock] A free place, else that of the view that nobody has used for the longest time; VIEWS_MAX: all are in use. */
static size_t
choose_slot(const struct history *h)
{
	size_t slot = VIEWS_MAX;

	for (size_t i = 0; i < VIEWS_MAX; i++) {
		const struct history_view *w = h->views[i];

		if (w == NULL)
			return i;
		if (w->users == 0 && (slot == VIEWS_MAX || w->used < h->views[slot]->used))
			slot = i;
	}
	return slot;
}

static err_t
make_room(struct history *h, size_t *slot_out)
{
	struct history_view *old = NULL;
	size_t slot;

	pthread_mutex_lock(&h->lock);
	slot = choose_slot(h);
	if (slot < VIEWS_MAX)
		old = STEAL(h->views[slot]);
	pthread_mutex_unlock(&h->lock);
	view_free(old); /* its folder is swept away */
	*slot_out = slot;
	return slot < VIEWS_MAX ? 0 : -EBUSY;
}

static bool
is_open(struct history *h, const char *name)
{
	bool open = false;

	pthread_mutex_lock(&h->lock);
	for (size_t i = 0; i < VIEWS_MAX; i++)
		if (h->views[i] != NULL)
			open |= h->views[i]->seq == strtoull(name, NULL, 10);
	pthread_mutex_unlock(&h->lock);
	return open;
}

/* Removes what is not open: of the finished ones only those that are old, or with `all` all but one. */
static void
sweep(struct history *h, bool all, const char *but)
{
	CLEANUP(close_dir) DIR *d = opendir(h->dir);
	const struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		CLEANUP(free_ptr) char *path = NULL;
		CLEANUP(free_ptr) char *whole = NULL;
		struct stat st;

		if (e->d_name[0] == '.' || strcmp(e->d_name, but) == 0 || is_open(h, e->d_name) ||
		    path_in(h->dir, e->d_name, &path) != 0 || path_in(path, WHOLE, &whole) != 0)
			continue;
		if (!all && access(whole, F_OK) == 0 && stat(path, &st) == 0 && st.st_mtime > time(NULL) - UNUSED_AFTER_S)
			continue;
		disk_remove_tree(path);
	}
}

/* [making] */
static err_t
make(struct history *h, struct sync *s, struct past *p, uint64_t seq, struct history_view **out)
{
	CLEANUP(free_ptr) char *dir = NULL;
	struct history_view *w = NULL;
	char name[24];
	uint8_t hash[32];
	size_t slot = 0;
	err_t err;

	snprintf(name, sizeof(name), "%012" PRIu64, seq);
	if ((err = path_in(h->dir, name, &dir)) != 0 || (err = past_hash(p, seq, hash)) != 0 ||
	    (err = make_room(h, &slot)) != 0 || (err = disk_make_dir(h->dir)) != 0)
		return err;
	sweep(h, true, name);
	if (!reopen(h, s, dir, hash, &w) && (err = build(h, s, p, seq, dir, &w)) != 0)
		return err;
	w->seq = seq;
	w->users = 1;
	pthread_mutex_lock(&h->lock);
	w->used = ++h->tick;
	h->views[slot] = w;
	pthread_mutex_unlock(&h->lock);
	*out = w;
	return 0;
}

err_t
history_view_get(struct history *h, struct sync *s, struct past *p, uint64_t seq, struct history_view **out)
{
	err_t err = 0;

	if (take(h, seq, out))
		return 0;
	pthread_mutex_lock(&h->making);
	if (!take(h, seq, out)) /* somebody else may just have made it */
		err = make(h, s, p, seq, out);
	pthread_mutex_unlock(&h->making);
	return err;
}

err_t
history_view_find(struct history *h, uint64_t seq, struct history_view **out)
{
	return take(h, seq, out) ? 0 : -ENOENT;
}

void
history_view_put(struct history *h, struct history_view *w)
{
	pthread_mutex_lock(&h->lock);
	w->users--;
	pthread_mutex_unlock(&h->lock);
}

struct vfs *
history_view_vfs(const struct history_view *w)
{
	return w->vfs;
}

err_t
history_new(struct vault *v, struct history **out)
{
	CLEANUP(free_ptr) struct history *h = calloc(1, sizeof(*h));
	err_t err;

	if (h == NULL)
		return -ENOMEM;
	h->v = v;
	if ((err = path_in(v->dir, "history", &h->dir)) != 0)
		return err;
	pthread_mutex_init(&h->making, NULL);
	pthread_mutex_init(&h->lock, NULL);
	sweep(h, false, "");
	*out = STEAL(h);
	return 0;
}

void
history_free(struct history *h)
{
	if (h == NULL)
		return;
	for (size_t i = 0; i < VIEWS_MAX; i++)
		view_free(h->views[i]);
	pthread_mutex_destroy(&h->making);
	pthread_mutex_destroy(&h->lock);
	free(h->dir);
	free(h);
}

struct meta *
history_present(struct history *h)
{
	return h->v->meta;
}
