/* settle.c: from raw, scattered hot extents to packed ones: reading, sealing, and pointing the chunks there. */
#include "settle_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "log.h"

#define TRIES 3
/* Chunks that are looked at before the meta lock is let go. */
#define SLICE 64
/* Chunks in one segment, and extents that they were in: each is remembered until the segment is finished. */
#define CHUNKS_MAX 16384
#define EXTENTS_MAX (256u << 10)

/* Stands for the segment under way in extents that are sealed, but not yet added to it. */
#define SEG_TO_COME UINT64_MAX

static void
settled_cleanup(struct settled **d)
{
	if (*d)
		settle_free_chunk(*d);
}

static void
settle_free(struct settle *s)
{
	settle_ahead_end(s);
	settle_close_end(s);
	while (s->settled) {
		struct settled *d = s->settled;

		s->settled = d->next;
		settle_free_chunk(d);
	}
	segstore_build_abandon(s->build);
	bytes_clear(&s->memory);
	pthread_cond_destroy(&s->turns.moved);
	pthread_mutex_destroy(&s->turns.lock);
	free(s);
}

err_t
settle_begin(struct content *c, struct meta *m, struct segstore *ss, struct keyring *k, struct settle **out)
{
	uint32_t epoch;
	err_t e = keyring_current(k, &epoch);

	/* Better known before anything is read than at the first extent. */
	if (e)
		return e;

	struct settle *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->c = c;
	s->m = m;
	s->ss = ss;
	s->keys = k;
	(void)pthread_mutex_init(&s->turns.lock, NULL);
	(void)pthread_cond_init(&s->turns.moved, NULL);
	e = settle_ahead_init(&s->ahead);
	if (e) {
		settle_free(s);
		return e;
	}
	*out = s;
	return 0;
}

err_t
settle_begin_local(struct content *c, struct meta *m, struct segstore *ss, struct keyring *k,
    struct settle_source *sources, size_t source_count, struct settle **out)
{
	err_t e = settle_begin(c, m, ss, k, out);

	if (e)
		return e;
	(*out)->local = true;
	(*out)->sources = sources;
	(*out)->source_count = source_count;
	return 0;
}

void
settle_set_pause(struct settle *s, settle_pause_fn *fn, void *ctx)
{
	s->pause = fn;
	s->pause_ctx = ctx;
}

void
settle_set_full(struct settle *s, settle_full_fn *fn, void *ctx)
{
	s->full = fn;
	s->full_ctx = ctx;
}

void
settle_abandon(struct settle *s)
{
	if (s)
		settle_free(s);
}

/* Reading and sealing. */

static err_t
read_range(struct settle *s, struct chunk_work *w, const struct selection *l, const struct extent *x, uint32_t len)
{
	const struct file_key *key = settle_find_key(l, x->key_version);

	if (!key)
		return -EBADMSG;
	return content_open_extent(s->c, l->origin, key, x, x->off, len, w->packer.plain + x->off % CHUNK_LEN);
}

/* What fails in the shorter way is for the other to bring, or to tell. */
static err_t
read_extent(struct settle *s, struct chunk_work *w, const struct selection *l, const struct extent *x)
{
	if (!settle_read_whole(s, w, l, x))
		return 0;
	return read_range(s, w, l, x, x->len);
}

/* [file lock, shared] Notes what the chunk is and reads what is chosen of it.  l->any stays false: nothing to do. */
static err_t
read_locked(struct settle *s, struct chunk_work *w, struct settled *d, bool only_hot, struct selection *l)
{
	struct inode *i;
	struct chunk *ch;

	meta_lock(s->m);

	err_t e = meta_inode_get(s->m, d->ino, &i);

	if (!e)
		e = meta_chunk_get(s->m, i, d->no, false, &ch);
	if (!e && (ch->pending || s->local))
		e = settle_choose(s, i, ch, only_hot, l);
	if (!e && l->any)
		e = extent_list_copy(&ch->current, &d->before);
	meta_unlock(s->m);
	if (e == -ENOENT)
		return 0;
	if (!e && l->any && s->local)
		e = settle_leave_good(s, w, &d->before, l, read_range);
	for (uint32_t k = 0; k < d->before.count && !e; k++) {
		if (l->chosen[k])
			e = read_extent(s, w, l, &d->before.v[k]);
	}
	return e;
}

static err_t
append_to_come(struct settled *d, const struct extent *v, uint32_t count)
{
	err_t e = 0;

	for (uint32_t k = 0; k < count && !e; k++) {
		struct extent x = v[k];

		x.seg = SEG_TO_COME;
		e = extent_list_append(&d->after, &x);
	}
	return e;
}

/* Neighbours, as one; or as they are, if that is as short. */
static err_t
seal_run(struct chunk_work *w, struct settled *d, const struct selection *l, const struct writing_key *key,
    const struct extent *v, uint32_t count)
{
	uint64_t len = v[count - 1].off + v[count - 1].len - v[0].off;
	struct extent sealed;
	err_t e = packer_seal(&w->packer, key, v[0].off, (uint32_t)len, settle_are_whole(w, l, key, v, count), &sealed);

	if (e == -EALREADY)
		e = append_to_come(d, v, count);
	else if (!e)
		e = append_to_come(d, &sealed, 1);
	if (!e)
		d->len += len;
	return e;
}

/* Seals what was chosen; the rest of the list stays as it is. */
static err_t
seal_chunk(struct settle *s, struct chunk_work *w, struct settled *d, const struct selection *l)
{
	CLEANUP(writing_key_wipe) struct writing_key key = {0};
	err_t e = content_writing_key(s->c, d->ino, &key);

	bytes_reset(&w->packer.sealed);
	d->key = key.stored;
	for (uint32_t k = 0; k < d->before.count && !e;) {
		const struct extent *x = &d->before.v[k];
		uint32_t from = k++;

		if (!l->chosen[from]) {
			e = extent_list_append(&d->after, x);
			continue;
		}
		for (uint64_t end = x->off + x->len; k < d->before.count && l->chosen[k] && d->before.v[k].off == end; k++)
			end += d->before.v[k].len;
		e = seal_run(w, d, l, &key, x, k - from);
	}
	return e;
}

/* Reads and seals.  -EAGAIN: it was changed meanwhile.  w->settled stays NULL: nothing to do. */
static err_t
prepare(struct settle *s, struct chunk_work *w, bool only_hot)
{
	CLEANUP(settled_cleanup) struct settled *d = calloc(1, sizeof(*d));
	CLEANUP(settle_selection_clear) struct selection l = {0};
	struct inode *i;
	struct chunk *ch;

	if (!d)
		return -ENOMEM;
	d->ino = w->ino;
	d->no = w->no;
	w->whole_count = 0;
	content_lock_file(s->c, w->ino, false);

	err_t e = read_locked(s, w, d, only_hot, &l);

	content_unlock_file(s->c, w->ino);
	if (!e && l.any)
		e = seal_chunk(s, w, d, &l);
	if (e && l.chosen)
		memset(l.chosen, 0, d->before.count * sizeof(*l.chosen)); /* damaged, maybe: then it stays where it is */
	if (e && !d->before.count)
		settle_note_all_unsure(s);
	if (e || !l.any) {
		settle_count_left(s, &d->before, &l);
		return e;
	}
	meta_lock(s->m);
	if (meta_inode_get(s->m, w->ino, &i) || meta_chunk_get(s->m, i, w->no, false, &ch) ||
	    !extent_list_equal(&ch->current, &d->before))
		e = -EAGAIN;
	meta_unlock(s->m);
	if (e) {
		settle_note_unsure(s, &d->before);
		return e;
	}
	settle_count_left(s, &d->before, &l);
	w->settled = STEAL(d);
	return 0;
}

err_t
settle_prepare(struct settle *s, struct chunk_work *w)
{
	err_t e = -EAGAIN;

	for (unsigned k = 0; k < TRIES && e == -EAGAIN; k++)
		e = prepare(s, w, false);
	/* What can't be read is perhaps in a part that is settled already. */
	if (!s->local && (e == -EBADMSG || e == -ENODATA || e == -EIO))
		e = prepare(s, w, true);
	return e;
}

/* The object stays in memory for who wants it when it is full. */
static err_t
begin_segment(struct settle *s)
{
	err_t e = s->local ? segstore_build_begin_hot(s->ss, &s->build) : segstore_build_begin(s->ss, &s->build);

	if (!e && s->full)
		segstore_build_keep(s->build, SETTLE_SEGMENT_LEN, &s->memory);
	return e;
}

static bool
is_much_to_remember(const struct settle *s)
{
	return s->settled_count == CHUNKS_MAX || s->settled_extents >= EXTENTS_MAX;
}

/*
 * Most of what was remembered would be remembered again if it was put together with others for being short: that would end as it
 * began.
 */
static err_t
close_full(struct settle *s)
{
	if (s->local && (s->settled_count == CHUNKS_MAX || s->settled_after >= EXTENTS_MAX / 4))
		segstore_build_set_full(s->build);
	return settle_close(s, true);
}

static uint64_t
len_to_come(const struct extent_list *list)
{
	uint64_t len = 0;

	for (uint32_t k = 0; k < list->count; k++)
		len += list->v[k].seg == SEG_TO_COME ? list->v[k].stored_len : 0;
	return len;
}

static err_t
add_extent(struct settle *s, const struct chunk_work *w, struct extent *x)
{
	const struct whole *h = settle_find_whole(w, x);
	uint64_t off;
	err_t e = segstore_build_add(s->build, h ? h->data : w->packer.sealed.data + x->seg_off, x->stored_len, &off);

	if (e)
		return e;
	x->seg = segstore_build_id(s->build);
	x->seg_off = off;
	return 0;
}

/* Adds what was sealed, or stays so, to the segment under way. */
static err_t
add(struct settle *s, struct chunk_work *w)
{
	uint64_t most = s->local ? SEGSTORE_HOT_LEN : SETTLE_SEGMENT_LEN;
	struct extent_list *after = &w->settled->after;
	err_t e = 0;

	if (s->build && (segstore_build_len(s->build) + len_to_come(after) > most || is_much_to_remember(s)))
		e = close_full(s);
	if (!e && !s->build)
		e = begin_segment(s);
	for (uint32_t k = 0; k < after->count && !e; k++) {
		if (after->v[k].seg == SEG_TO_COME)
			e = add_extent(s, w, &after->v[k]);
	}
	if (e)
		return e;
	w->settled->next = s->settled;
	s->settled = STEAL(w->settled);
	s->settled_count++;
	s->settled_extents += s->settled->before.count + s->settled->after.count;
	s->settled_after += s->settled->after.count;
	return 0;
}

static void
complain(struct settle *s, uint64_t ino, uint64_t no, err_t e)
{
	char path[1024];

	meta_lock(s->m);
	meta_path(s->m, ino, path, sizeof(path));
	meta_unlock(s->m);
	log_warn("%s: the data at offset %llu can't be %s: %s", path, (unsigned long long)(no * CHUNK_LEN),
	    s->local ? "packed" : "made ready for the store", e == -EBADMSG ? "it is damaged" : strerror(-e));
}

/* Chunks that are to be settled, from one on. */
struct slice {
	struct settle *s;
	uint64_t nos[SLICE];
	size_t count;
	size_t seen;
	uint64_t next; /* the chunk to go on with; UINT64_MAX: there are no more */
};

static err_t
slice_add(void *ctx, struct inode *i, struct chunk *ch)
{
	struct slice *l = ctx;

	(void)i;
	if (l->seen == SLICE) {
		l->next = ch->no;
		return -ECANCELED;
	}
	l->seen++;
	if (l->s->local ? settle_is_source(l->s, &ch->current) : ch->pending)
		l->nos[l->count++] = ch->no;
	return 0;
}

static err_t
next_slice(struct settle *s, uint64_t ino, uint64_t from, struct slice *out)
{
	struct inode *i;

	*out = (struct slice){.s = s, .next = UINT64_MAX};
	meta_lock(s->m);

	err_t e = meta_inode_get(s->m, ino, &i);

	if (!e && S_ISREG(i->mode))
		e = meta_chunk_scan(s->m, i, from, slice_add, out);
	meta_unlock(s->m);
	return e == -ECANCELED ? 0 : e;
}

/* The oldest one; damage, or that it is being written to, is put into *result and is no reason to leave the others. */
static err_t
end_one(struct settle *s, err_t *result)
{
	struct chunk_work *w = settle_ahead_get(s);
	err_t e = w->result;

	/* An error of the disk, too: so far nothing was written. */
	bool damaged = e == -EBADMSG || e == -ENODATA || e == -EIO;

	if (damaged)
		complain(s, w->ino, w->no, e);
	if (damaged || (e == -EAGAIN && !*result))
		*result = damaged ? -EBADMSG : e;
	if (damaged || e == -EAGAIN)
		e = 0;
	if (!e && w->settled && !s->broken) {
		e = s->broken = add(s, w);
		if (e)
			settle_note_unsure(s, &w->settled->before);
	}
	settle_ahead_drop(s);
	return e ? e : s->broken;
}

static err_t
begin_one(struct settle *s, uint64_t ino, uint64_t no, bool alone, err_t *result)
{
	err_t e = s->pause ? s->pause(s->pause_ctx) : 0;

	if (!e && settle_ahead_is_full(s))
		e = end_one(s, result);
	if (!e)
		settle_ahead_put(s, ino, no, alone);
	return e;
}

/* What is under way goes where the rest went, whatever else has happened; what fails here is told rather than that. */
static err_t
end_all(struct settle *s, err_t e, err_t *result)
{
	while (s->ahead.count) {
		err_t ended = end_one(s, result);

		e = ended ? ended : e;
	}
	return e ? e : *result;
}

uint64_t
settle_progress(const struct settle *s)
{
	uint64_t len = s->settled_len;

	for (unsigned k = 0; k < s->closing_count; k++)
		len += s->closing[k]->len;
	return len;
}

/* Chunks from one on; *at: where that has ended. */
static err_t
settle_from(struct settle *s, uint64_t ino, uint64_t *at, err_t *result)
{
	struct slice l = {0};
	err_t e = 0;

	for (uint64_t from = *at; from != UINT64_MAX && !e; from = l.next) {
		e = next_slice(s, ino, from, &l);
		for (size_t k = 0; k < l.count && !e; k++) {
			*at = l.nos[k];
			e = begin_one(s, ino, l.nos[k], l.next == UINT64_MAX && k + 1 == l.count, result);
		}
	}
	return e;
}

/* What was done before a pause is in a segment that nothing points at yet: it must not be done again. */
err_t
settle_inode(struct settle *s, uint64_t ino)
{
	bool goes_on = s->stopped_ino == ino;
	uint64_t at = goes_on ? s->stopped_no : 0;
	err_t result = goes_on ? s->stopped_result : 0;
	err_t stopped = settle_from(s, ino, &at, &result);
	err_t e = end_all(s, stopped, &result);

	s->stopped_ino = stopped ? ino : 0;
	s->stopped_no = at;
	s->stopped_result = result;
	return e;
}

err_t
settle_finish(struct settle *s, uint64_t *settled_bytes_out)
{
	err_t e = settle_close(s, false);

	if (!e && !s->local)
		e = settle_catch_up(s);
	if (!e)
		*settled_bytes_out = s->settled_len;
	settle_free(s);
	return e;
}
