/* segstore_hot.c: what hot segments hold, for whom, and how much of it is waste: what tidying goes by. */
#include "segstore_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "log.h"

/* Owners. */

static int
compare_numbers(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return (*x > *y) - (*x < *y);
}

/* [lock] Each once, to make room. */
static void
tidy_owners(struct hot *h)
{
	uint32_t kept = 0;

	qsort(h->owners, h->owner_count, sizeof(*h->owners), compare_numbers);
	for (uint32_t k = 0; k < h->owner_count; k++) {
		if (kept == 0 || h->owners[kept - 1] != h->owners[k])
			h->owners[kept++] = h->owners[k];
	}
	h->owner_count = kept;
}

/* [lock] Room for one more?  If sorting them makes little of it, it would have to be done again and again. */
static bool
make_room(struct hot *h)
{
	if (h->owner_count < h->owner_cap)
		return true;
	if (h->owner_cap == HOT_OWNERS_MAX) {
		tidy_owners(h);
		return h->owner_count <= HOT_OWNERS_MAX / 2;
	}

	uint32_t cap = h->owner_cap ? h->owner_cap * 2 : 64;
	uint64_t *grown = reallocarray(h->owners, cap, sizeof(*grown));

	if (!grown)
		return false;
	h->owners = grown;
	h->owner_cap = cap;
	return true;
}

/* [lock] When they can't be kept, the row's range has to do. */
static void
add_owner(struct hot *h, uint64_t ino)
{
	if (h->earlier || h->crowded || (h->owner_count && h->owners[h->owner_count - 1] == ino))
		return;
	if (make_room(h)) {
		h->owners[h->owner_count++] = ino;
		return;
	}
	free(h->owners);
	h->owners = NULL;
	h->owner_count = h->owner_cap = 0;
	h->crowded = true;
}

err_t
segstore_note_owner(struct segstore *ss, uint64_t seg, uint64_t ino)
{
	struct hot *h;

	pthread_mutex_lock(&ss->lock);
	HASH_FIND(hh, ss->hots, &seg, sizeof(seg), h);
	if (h) {
		add_owner(h, ino);
		h->tidied = false;
	}
	pthread_mutex_unlock(&ss->lock);
	return meta_segment_widen(ss->meta, seg, ino);
}

/* Listing. */

void
hot_segments_free(struct hot_segment *v, size_t count)
{
	for (size_t k = 0; k < count; k++)
		free(v[k].owners);
	free(v);
}

struct listing {
	struct segstore *ss;
	struct hot_segment *v;
	size_t count;
	size_t cap;
};

/* [meta lock] */
static err_t
list_row(void *ctx, const struct segment *s)
{
	struct listing *l = ctx;

	if (s->kind != SEGMENT_HOT)
		return 0;
	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct hot_segment *grown = reallocarray(l->v, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		l->v = grown;
		l->cap = cap;
	}
	l->v[l->count++] = (struct hot_segment){.seg = s->id, .tidied = s->tidied, .full = s->full,
	    .live = s->live, .earlier = s->id < l->ss->first_id, .first_ino = s->first_ino, .last_ino = s->last_ino};
	return 0;
}

static uint64_t
less(uint64_t n, uint64_t by)
{
	return n > by ? n - by : 0;
}

/* [lock] What is known of it besides its row.  One without memory for a copy of its owners goes by its range. */
static void
add_count(struct segstore *ss, struct hot_segment *s)
{
	struct hot *h;

	HASH_FIND(hh, ss->hots, &s->seg, sizeof(s->seg), h);
	if (!h)
		return;
	s->live = less(h->earlier ? s->live : h->end, h->released);
	s->open = h == ss->current;
	s->ahead = segstore_room_of(h);
	s->tidied = h->earlier ? s->tidied : h->tidied;
	if (h->earlier || h->crowded)
		return;
	s->owners = calloc((size_t)h->owner_count + 1, sizeof(*s->owners));
	if (s->owners && h->owner_count)
		memcpy(s->owners, h->owners, h->owner_count * sizeof(*s->owners));
	s->owner_count = s->owners ? h->owner_count : 0;
}

static void
add_allocated(struct segstore *ss, struct hot_segment *s)
{
	char name[SEGFILES_NAME_LEN];
	struct stat st;

	/* The next run tries again. */
	if (s->earlier && !s->tidied && segstore_cut_earlier(ss, s->seg))
		log_warn("room behind segment %016llx was not given back", (unsigned long long)s->seg);
	segfiles_name(s->seg, name);
	if (!fstatat(ss->dirfd, name, &st, AT_SYMLINK_NOFOLLOW))
		s->allocated = less((uint64_t)st.st_blocks * 512, s->ahead);
}

static int
compare_segments(const void *a, const void *b)
{
	const struct hot_segment *x = a;
	const struct hot_segment *y = b;

	return (x->seg > y->seg) - (x->seg < y->seg);
}

err_t
segstore_list_hot(struct segstore *ss, struct hot_segment **out, size_t *count_out)
{
	struct listing l = {.ss = ss};

	pthread_mutex_lock(&ss->sweep_lock);

	err_t e = segstore_find_earlier(ss); /* removes what has no row */

	pthread_mutex_unlock(&ss->sweep_lock);
	if (e)
		return e;
	e = meta_segment_scan(ss->meta, true, list_row, &l);
	if (e) {
		hot_segments_free(l.v, l.count);
		return e;
	}
	pthread_mutex_lock(&ss->lock);
	for (size_t k = 0; k < l.count; k++)
		add_count(ss, &l.v[k]);
	pthread_mutex_unlock(&ss->lock);
	for (size_t k = 0; k < l.count; k++)
		add_allocated(ss, &l.v[k]);
	if (l.count)
		qsort(l.v, l.count, sizeof(*l.v), compare_segments);
	*out = l.v;
	*count_out = l.count;
	return 0;
}

void
segstore_untidied(struct segstore *ss, uint64_t *bytes_out, uint64_t *closed_bytes_out)
{
	struct hot *h, *next;
	uint64_t bytes = 0, closed = 0;

	pthread_mutex_lock(&ss->lock);
	HASH_ITER(hh, ss->hots, h, next) {
		if (h->tidied || h->earlier)
			continue;
		bytes += less(h->end, h->released);
		if (h != ss->current)
			closed += less(h->end, h->released);
	}
	pthread_mutex_unlock(&ss->lock);
	*bytes_out = bytes;
	*closed_bytes_out = closed;
}

/* Changing. */

void
segstore_roll(struct segstore *ss)
{
	pthread_mutex_lock(&ss->lock);
	ss->current = NULL;
	pthread_mutex_unlock(&ss->lock);
	(void)segstore_cut_ahead(ss);
}

err_t
segstore_set_tidied(struct segstore *ss, uint64_t seg, uint64_t live)
{
	struct segment row;
	struct hot *h;

	pthread_mutex_lock(&ss->lock);
	HASH_FIND(hh, ss->hots, &seg, sizeof(seg), h);
	if (h) {
		h->tidied = true;
		/* What was released since is in the count already. */
		if (h->earlier && live != UINT64_MAX)
			h->released = 0;
	}
	pthread_mutex_unlock(&ss->lock);
	meta_lock(ss->meta);

	err_t e = meta_segment_get(ss->meta, seg, &row);

	if (!e) {
		row.tidied = true;
		row.live = live != UINT64_MAX ? live : row.live;
		e = meta_segment_put(ss->meta, &row);
	}
	meta_unlock(ss->meta);
	return e == -ENOENT ? 0 : e;
}

err_t
segstore_remove_emptied(struct segstore *ss, uint64_t seg)
{
	struct hot *h;

	pthread_mutex_lock(&ss->lock);
	HASH_FIND(hh, ss->hots, &seg, sizeof(seg), h);
	if (h)
		HASH_DEL(ss->hots, h);
	pthread_mutex_unlock(&ss->lock);
	if (h)
		hot_free(ss, h);
	return segstore_remove_hot(ss, seg);
}

err_t
segstore_save_counts(struct segstore *ss)
{
	struct hot_segment *v = NULL;
	size_t count = 0;
	err_t e = segstore_list_hot(ss, &v, &count);

	if (e)
		return e;
	meta_lock(ss->meta);
	for (size_t k = 0; k < count && !e; k++) {
		struct segment row;

		e = meta_segment_get(ss->meta, v[k].seg, &row);
		if (!e && row.live != v[k].live) {
			row.live = v[k].live;
			e = meta_segment_put(ss->meta, &row);
		}
		e = e == -ENOENT ? 0 : e;
	}
	meta_unlock(ss->meta);
	hot_segments_free(v, count);
	return e;
}
