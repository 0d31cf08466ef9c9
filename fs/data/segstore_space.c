/* segstore_space.c: giving back what nothing points at: holes in hot segments, and hot segments that are all holes. */
#include "segstore_internal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "log.h"

/* Fewer zeros than these might be ciphertext. */
#define LEFT_OVER_MIN 16u

void
segstore_count_dead(struct hot *h, uint64_t off, uint32_t len, uint64_t *punch_off_out, uint64_t *punch_len_out)
{
	uint64_t first = UINT64_MAX; /* blocks that are dead now, from first to before last */
	uint64_t last = 0;

	*punch_off_out = *punch_len_out = 0;
	h->released += len;
	if (!len)
		return;
	for (uint64_t b = off / HOT_BLOCK_LEN; b <= (off + len - 1) / HOT_BLOCK_LEN; b++) {
		uint64_t from = off > b * HOT_BLOCK_LEN ? off : b * HOT_BLOCK_LEN;
		uint64_t to = off + len < (b + 1) * HOT_BLOCK_LEN ? off + len : (b + 1) * HOT_BLOCK_LEN;
		uint16_t dead = deadmap_add(&h->dead, (uint16_t)b, (uint16_t)(to - from), HOT_BLOCK_COUNT);

		/* More than all of it would mean bytes that were released twice: then what else is here can't be told. */
		assert(dead <= HOT_BLOCK_LEN);
		if (dead < HOT_BLOCK_LEN)
			continue;
		first = first < b ? first : b;
		last = b + 1;
	}
	if (last > 0) {
		*punch_off_out = first * HOT_BLOCK_LEN;
		*punch_len_out = (last - first) * HOT_BLOCK_LEN;
	}
}

/* [lock] The one to count in; made for a segment of an earlier run.  NULL when out of memory. */
static struct hot *
hot_of(struct segstore *ss, uint64_t seg)
{
	struct hot *h;

	HASH_FIND(hh, ss->hots, &seg, sizeof(seg), h);
	if (h)
		return h;
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->seg = seg;
	h->earlier = true;
	HASH_ADD(hh, ss->hots, seg, sizeof(h->seg), h);
	if (h->hh.tbl)
		return h;
	free(h);
	return NULL;
}

static err_t
remove_row(struct segstore *ss, uint64_t seg)
{
	meta_lock(ss->meta);

	err_t e = meta_segment_remove(ss->meta, seg);

	meta_unlock(ss->meta);
	return e == -ENOENT ? 0 : e;
}

/* The file first: a row without a file says nothing wrong, a file without a row would stay for ever. */
err_t
segstore_remove_hot(struct segstore *ss, uint64_t seg)
{
	err_t e = segfiles_remove(ss->files, seg);

	if (!e)
		e = remove_row(ss, seg);
	if (!e)
		segstore_forget_part(ss, seg);
	return e;
}

static err_t
punch(struct segstore *ss, uint64_t seg, uint64_t off, uint64_t len)
{
	struct segfile *f;
	err_t e = segfiles_get(ss->files, seg, &f);

	if (e)
		return e == -ENODATA ? 0 : e;
	e = disk_punch(segfile_fd(f), off, len);
	segfiles_put(ss->files, f);
	return e;
}

static void
warn_if(err_t e, uint64_t seg)
{
	if (e)
		log_warn("space of segment %016llx was not given back: %s", (unsigned long long)seg, strerror(-e));
}

bool
segstore_take_dead(struct segstore *ss, struct hot *h)
{
	if (h->earlier || h->held || h == ss->current || h->released != h->end)
		return false;
	HASH_DEL(ss->hots, h);
	return true;
}

void
segstore_remove_dead(struct segstore *ss, struct hot *h)
{
	uint64_t seg = h->seg;

	hot_free(ss, h);
	warn_if(segstore_remove_hot(ss, seg), seg);
}

/*
 * How many bytes behind what an earlier run wrote in whole blocks were left over of the last one, of which nothing tells but that they
 * are zero: an extent, which is ciphertext, does not begin with as many zeros.  What stays of that block would keep all that
 * was written with it allocated where a file system does not cut what it has once written (btrfs).
 */
static uint32_t
left_over(struct segstore *ss, uint64_t seg, uint64_t end)
{
	static const uint8_t zeros[HOT_BLOCK_LEN];
	uint32_t len = (uint32_t)(-end % HOT_BLOCK_LEN);
	uint8_t rest[HOT_BLOCK_LEN];
	struct segfile *f;
	err_t e;

	if (len < LEFT_OVER_MIN || segfiles_get(ss->files, seg, &f))
		return 0;
	e = disk_pread(segfile_fd(f), rest, len, end);
	segfiles_put(ss->files, f);
	return !e && memcmp(rest, zeros, len) == 0 ? len : 0;
}

void
segstore_on_release(void *ctx, uint64_t seg, uint64_t off, uint32_t len)
{
	struct segstore *ss = ctx;
	bool gone = false;
	uint64_t punch_off = 0, punch_len = 0;
	uint32_t over;

	if (off > SEGSTORE_HOT_LEN || len > SEGSTORE_HOT_LEN - off)
		return;
	over = seg < ss->first_id && len >= SEGSTORE_DIRECT_MIN ? left_over(ss, seg, off + len) : 0;
	pthread_mutex_lock(&ss->lock);

	struct hot *h = hot_of(ss, seg);

	if (h) {
		segstore_count_dead(h, off, len + over, &punch_off, &punch_len);
		h->released -= over; /* an earlier run counted it */
		gone = segstore_take_dead(ss, h);
	}
	pthread_mutex_unlock(&ss->lock);
	if (gone)
		segstore_remove_dead(ss, h);
	else if (punch_len)
		warn_if(punch(ss, seg, punch_off, punch_len), seg);
}

/* Sweeping. */

struct sweep {
	struct segstore *ss;
	bool *live; /* by index in ss->earlier */
};

static int
compare_ids(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return (*x > *y) - (*x < *y);
}

static err_t
note_earlier(void *ctx, const struct segment *s)
{
	struct segstore *ss = ctx;

	if (s->kind != SEGMENT_HOT || s->id >= ss->first_id)
		return 0;

	uint64_t *grown = reallocarray(ss->earlier, ss->earlier_count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	ss->earlier = grown;
	ss->earlier[ss->earlier_count++] = s->id;
	return 0;
}

static bool
has_row(struct segstore *ss, uint64_t seg)
{
	struct segment row;

	meta_lock(ss->meta);

	err_t e = meta_segment_look(ss->meta, seg, &row);

	meta_unlock(ss->meta);
	return e != -ENOENT;
}

/* A segment that was being built, or a file that was being replaced, when an earlier run ended. */
static bool
is_leftover(struct segstore *ss, const char *name)
{
	struct stat st;
	uint64_t seg;

	if (segfiles_parse_name(name, &seg))
		return seg < ss->first_id && !has_row(ss, seg);
	if (fstatat(ss->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
		return false;
	return st.st_mtime < ss->opened_at;
}

err_t
segstore_each_file(struct segstore *ss, err_t (*fn)(struct segstore *ss, const char *name))
{
	int fd = openat(ss->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;

	DIR *dir = fdopendir(fd);
	err_t e = 0;

	if (!dir) {
		e = -errno;
		(void)close(fd);
		return e;
	}
	for (const struct dirent *d; !e && (d = readdir(dir));)
		e = fn(ss, d->d_name);
	(void)closedir(dir);
	return e;
}

static err_t
remove_if_leftover(struct segstore *ss, const char *name)
{
	return is_leftover(ss, name) ? disk_unlink(ss->dirfd, name) : 0;
}

/* Once a run: no more of either can come. */
err_t
segstore_find_earlier(struct segstore *ss)
{
	if (ss->earlier_known)
		return 0;
	ss->earlier_count = 0;

	err_t e = meta_segment_scan(ss->meta, true, note_earlier, ss);

	if (!e)
		e = segstore_each_file(ss, remove_if_leftover);
	if (e)
		return e;
	if (ss->earlier_count)
		qsort(ss->earlier, ss->earlier_count, sizeof(*ss->earlier), compare_ids);
	ss->earlier_known = true;
	return 0;
}

static void
mark_list(struct sweep *w, const struct extent_list *l)
{
	const struct segstore *ss = w->ss;

	for (uint32_t k = 0; k < l->count; k++) {
		const uint64_t *at = bsearch(&l->v[k].seg, ss->earlier, ss->earlier_count, sizeof(*ss->earlier), compare_ids);

		if (at)
			w->live[at - ss->earlier] = true;
	}
}

static err_t
mark_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct sweep *w = ctx;

	(void)i;
	mark_list(w, &c->current);
	mark_list(w, &c->chain);
	return 0;
}

/* What is written meanwhile is seen or not: mark_live finds that it was. */
static err_t
mark_inodes(struct sweep *w, const uint64_t *inos, size_t count)
{
	for (size_t k = 0; k < count; k++) {
		err_t e = meta_chunk_scan_file(w->ss->meta, inos[k], mark_chunk, w);

		if (e && e != -ENOENT)
			return e;
	}
	return 0;
}

/* Marks what is pointed at.  -EAGAIN: something changed meanwhile, so that marks may be missing. */
static err_t
mark_live(struct sweep *w)
{
	struct meta *m = w->ss->meta;
	CLEANUP(free_ptr) uint64_t *pending = NULL;
	CLEANUP(free_ptr) uint64_t *removed = NULL;
	size_t pending_count = 0, removed_count = 0;
	struct meta_pending_summary before, after;
	uint64_t moves;

	meta_pending_summary(m, &before);

	/* Which inodes are removed is known from the disk only. */
	err_t e = meta_sync(m);

	if (e)
		return e;
	meta_lock(m);
	moves = meta_segment_moves(m);
	e = meta_pending_inodes(m, &pending, &pending_count);
	if (!e)
		e = meta_inode_scan_removed(m, &removed, &removed_count);
	meta_unlock(m);
	if (!e)
		e = mark_inodes(w, pending, pending_count);
	if (!e)
		e = mark_inodes(w, removed, removed_count);
	if (e)
		return e;
	meta_pending_summary(m, &after);
	meta_lock(m);
	/* Bytes that came into a file which had been looked at, or is not on the list, were there before, and are no change. */
	if (before.change != after.change || moves != meta_segment_moves(m))
		e = -EAGAIN;
	meta_unlock(m);
	return e;
}

static err_t
remove_dead(struct sweep *w)
{
	struct segstore *ss = w->ss;
	size_t kept = 0;
	err_t e = 0;

	for (size_t k = 0; k < ss->earlier_count; k++) {
		if (!w->live[k] && !e)
			e = segstore_remove_hot(ss, ss->earlier[k]);
		if (w->live[k] || e)
			ss->earlier[kept++] = ss->earlier[k];
	}
	ss->earlier_count = kept;
	return e;
}

/* [sweep_lock] */
static err_t
sweep(struct segstore *ss)
{
	err_t e = segstore_find_earlier(ss);

	if (e || !ss->earlier_count)
		return e;

	CLEANUP(free_ptr) bool *live = calloc(ss->earlier_count, sizeof(*live));
	struct sweep w = {ss, live};

	if (!live)
		return -ENOMEM;
	e = mark_live(&w);
	if (e)
		return e == -EAGAIN ? 0 : e;
	if (!memchr(live, false, ss->earlier_count))
		return 0;
	/* Nothing in memory points there, but the last durable commit may. */
	e = meta_sync(ss->meta);
	return e ? e : remove_dead(&w);
}

err_t
segstore_sweep(struct segstore *ss)
{
	pthread_mutex_lock(&ss->sweep_lock);

	err_t e = sweep(ss);

	pthread_mutex_unlock(&ss->sweep_lock);
	return e;
}
