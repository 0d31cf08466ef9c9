/*
 * segstore_pieces.c: settled segments of which some pieces are here: who reads, who brings, who gives up.
 *
 * What is here is known in memory, for each segment that was looked at in this run.  The row says it for the next run, and only
 * of bytes that have been flushed: pieces that came lately are `fresh` until segstore_save_pieces.  To give pieces up goes the
 * other way round: first nobody finds them any more, then no durable row speaks of them, and only then they go.
 *
 * They can also go without that, with a file that was removed or cut.  Then the row on the disk is outrun, and is made to say so
 * before the first piece is put again: in the next run it would take a file with some pieces for the whole.
 */
#include "segstore_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "hash.h"
#include "log.h"
#include "pieces.h"

#define VERIFY_LEN (1u << 20)

/* [pieces_lock] */
static struct part *
part_find(struct segstore *ss, uint64_t seg)
{
	struct part *p;

	HASH_FIND(hh, ss->parts, &seg, sizeof(seg), p);
	return p;
}

/* [pieces_lock] */
static struct part *
part_add(struct segstore *ss, const struct segment *row)
{
	struct part *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->seg = row->id;
	p->size = row->size;
	p->hot = row->kind == SEGMENT_HOT;
	p->here = row->local ? pieces_all(row->size) : row->present & pieces_all(row->size);
	p->has_file = row->local || p->here;
	p->whole = row->local;
	HASH_ADD(hh, ss->parts, seg, sizeof(p->seg), p);
	if (p->hh.tbl)
		return p;
	free(p);
	return NULL;
}

/*
 * The part of a segment, with pieces_lock held if that is the result.  An entry is made of the row once; from then on it leads, and
 * the row follows.  -ENODATA: there is no such segment.
 */
static err_t
lock_part(struct segstore *ss, uint64_t seg, struct part **out)
{
	struct segment row;

	pthread_mutex_lock(&ss->pieces_lock);
	*out = part_find(ss, seg);
	if (*out)
		return 0;
	pthread_mutex_unlock(&ss->pieces_lock);
	meta_lock(ss->meta);

	err_t e = meta_segment_get(ss->meta, seg, &row);

	if (!e) {
		pthread_mutex_lock(&ss->pieces_lock);
		*out = part_find(ss, seg);
		if (!*out)
			*out = part_add(ss, &row);
		if (!*out)
			pthread_mutex_unlock(&ss->pieces_lock);
	}
	meta_unlock(ss->meta);
	if (e)
		return e == -ENOENT ? -ENODATA : e;
	return *out ? 0 : -ENOMEM;
}

/* [pieces_lock] */
static void
part_leave(struct segstore *ss, struct part *p)
{
	if (--p->users == 0 && p->removed)
		free(p);
	pthread_cond_broadcast(&ss->pieces_moved);
}

err_t
segstore_begin_read(struct segstore *ss, uint64_t seg, uint64_t off, uint32_t len, struct part **out)
{
	struct part *p;
	err_t e = lock_part(ss, seg, &p);

	if (e)
		return e;

	uint64_t wanted = p->hot ? 0 : pieces_touching(p->size, off, len);
	uint64_t ahead = p->ahead & wanted;

	if (wanted & ~p->here || (!p->hot && (off > p->size || len > p->size - off)))
		e = -ENODATA;
	if (!e) {
		p->users++;
		p->used = ++ss->tick;
		p->ahead &= ~ahead;
		*out = p;
	}

	segstore_ahead_fn *fn = ss->on_ahead;
	void *ctx = ss->on_ahead_ctx;

	pthread_mutex_unlock(&ss->pieces_lock);
	if (!e && ahead && fn)
		fn(ctx, seg, ahead);
	return e;
}

void
segstore_end_read(struct segstore *ss, struct part *p)
{
	pthread_mutex_lock(&ss->pieces_lock);
	part_leave(ss, p);
	pthread_mutex_unlock(&ss->pieces_lock);
}

err_t
segstore_hold(struct segstore *ss, uint64_t seg, struct part **out)
{
	struct part *p;
	err_t e = lock_part(ss, seg, &p);

	if (e)
		return e;
	p->users++;
	while (p->leaving && !p->removed)
		pthread_cond_wait(&ss->pieces_moved, &ss->pieces_lock);
	pthread_mutex_unlock(&ss->pieces_lock);
	*out = p;
	return 0;
}

void
segstore_let_go(struct segstore *ss, struct part *p)
{
	segstore_end_read(ss, p);
}

void
segstore_lost(struct segstore *ss, struct part *p, uint64_t off, uint32_t len)
{
	struct segment row;

	meta_lock(ss->meta);

	err_t e = meta_segment_get(ss->meta, p->seg, &row);

	meta_unlock(ss->meta);
	/* What the store has not can't come again: what is left of it is all there is. */
	if (e || !row.in_store)
		return;
	pthread_mutex_lock(&ss->pieces_lock);
	if (!p->hot) {
		p->here &= ~pieces_touching(p->size, off, len);
		p->fresh &= p->here;
		p->whole = false;
		p->outrun = true;
	}
	pthread_mutex_unlock(&ss->pieces_lock);
}

void
segstore_forget_part(struct segstore *ss, uint64_t seg)
{
	pthread_mutex_lock(&ss->pieces_lock);

	struct part *p = part_find(ss, seg);

	if (p) {
		HASH_DEL(ss->parts, p);
		p->removed = true;
		if (!p->users)
			free(p);
	}
	pthread_mutex_unlock(&ss->pieces_lock);
}

void
segstore_free_parts(struct segstore *ss)
{
	struct part *p, *next;

	HASH_ITER (hh, ss->parts, p, next) {
		HASH_DEL(ss->parts, p);
		free(p);
	}
}

void
segstore_set_on_ahead(struct segstore *ss, segstore_ahead_fn *fn, void *ctx)
{
	pthread_mutex_lock(&ss->pieces_lock);
	ss->on_ahead = fn;
	ss->on_ahead_ctx = ctx;
	pthread_mutex_unlock(&ss->pieces_lock);
}

err_t
segstore_missing(struct segstore *ss, uint64_t seg, uint64_t mask, uint64_t *missing_out)
{
	struct part *p;
	err_t e = lock_part(ss, seg, &p);

	if (e)
		return e;
	*missing_out = p->hot ? 0 : mask & pieces_all(p->size) & ~p->here;
	pthread_mutex_unlock(&ss->pieces_lock);
	return 0;
}

/* Bringing. */

/* The row as the entry has it, without what is not flushed. */
static err_t
follow(struct segstore *ss, uint64_t seg)
{
	struct segment row;

	meta_lock(ss->meta);

	err_t e = meta_segment_get(ss->meta, seg, &row);

	if (!e) {
		pthread_mutex_lock(&ss->pieces_lock);

		struct part *p = part_find(ss, seg);
		bool whole = p && p->whole;
		uint64_t present = p && !whole ? p->here & ~p->fresh : 0;

		pthread_mutex_unlock(&ss->pieces_lock);
		if (p && (row.local != whole || row.present != present)) {
			row.local = whole;
			row.present = present;
			e = meta_segment_put(ss->meta, &row);
		}
	}
	meta_unlock(ss->meta);
	return e == -ENOENT ? 0 : e;
}

/* [make_lock] The row, on the disk, does not speak of what is not here. */
static err_t
catch_up(struct segstore *ss, struct part *p)
{
	pthread_mutex_lock(&ss->pieces_lock);

	bool outrun = p->outrun;

	p->outrun = false;
	pthread_mutex_unlock(&ss->pieces_lock);
	if (!outrun)
		return 0;

	err_t e = follow(ss, p->seg);

	if (!e)
		e = meta_sync(ss->meta);
	if (!e)
		return 0;
	pthread_mutex_lock(&ss->pieces_lock);
	p->outrun = true;
	pthread_mutex_unlock(&ss->pieces_lock);
	return e;
}

/* The file of a part that is in use; made with its first piece.  What a crash left of one that no row speaks of goes. */
static err_t
open_part(struct segstore *ss, struct part *p, struct segfile **out)
{
	pthread_mutex_lock(&ss->make_lock);

	bool made = p->has_file;
	err_t e = catch_up(ss, p);

	if (!e)
		e = made ? segfiles_get(ss->files, p->seg, out) : segfiles_create(ss->files, p->seg, out);
	/* Somebody removed it under us. */
	if (made && e == -ENODATA)
		e = segfiles_create(ss->files, p->seg, out);
	if (!e && !made) {
		pthread_mutex_lock(&ss->pieces_lock);
		p->has_file = true;
		pthread_mutex_unlock(&ss->pieces_lock);
	}
	pthread_mutex_unlock(&ss->make_lock);
	return e;
}

static err_t
write_part(struct segstore *ss, struct part *p, uint64_t off, const uint8_t *data, size_t len)
{
	struct segfile *f;
	err_t e = open_part(ss, p, &f);

	if (e)
		return e;
	e = disk_pwrite(segfile_fd(f), data, len, off);
	segfiles_put(ss->files, f);
	return e;
}

err_t
segstore_put_pieces(struct segstore *ss, uint64_t seg, uint64_t off, const uint8_t *data, size_t len, bool ahead)
{
	struct part *p;
	err_t e = lock_part(ss, seg, &p);

	if (e)
		return e;

	uint64_t mask = pieces_touching(p->size, off, len);
	bool wanted = !p->hot && !p->whole;

	/* The file of a segment that is whole is not touched: it is known to be right. */
	if (wanted && (off % pieces_len(p->size) || len != pieces_bytes(p->size, mask)))
		e = -EINVAL;
	if (!wanted || e) {
		pthread_mutex_unlock(&ss->pieces_lock);
		return e;
	}
	p->users++;
	while (p->leaving && !p->removed)
		pthread_cond_wait(&ss->pieces_moved, &ss->pieces_lock);
	pthread_mutex_unlock(&ss->pieces_lock);
	e = write_part(ss, p, off, data, len);
	pthread_mutex_lock(&ss->pieces_lock);
	if (!e) {
		ss->brought += pieces_bytes(p->size, mask & ~p->here);
		p->here |= mask;
		p->fresh |= mask;
		p->puts++;
		p->ahead = ahead ? p->ahead | mask : p->ahead & ~mask;
		p->used = ++ss->tick;
	}
	part_leave(ss, p);
	pthread_mutex_unlock(&ss->pieces_lock);
	return e;
}

/* Making it last. */

/* A part with fresh pieces, in use until put back; NULL: there is none any more. */
static struct part *
next_fresh(struct segstore *ss, uint64_t after, uint64_t *puts_out)
{
	struct part *found = NULL;

	pthread_mutex_lock(&ss->pieces_lock);
	for (struct part *p = ss->parts; p; p = p->hh.next) {
		if (p->fresh && !p->leaving && p->seg > after && (!found || p->seg < found->seg))
			found = p;
	}
	if (found) {
		found->users++;
		*puts_out = found->puts;
	}
	pthread_mutex_unlock(&ss->pieces_lock);
	return found;
}

/* Is the file the object that the vault's chain means? */
static err_t
verify(struct segstore *ss, const struct segment *row, bool *same_out)
{
	CLEANUP(free_ptr) uint8_t *buf = malloc(VERIFY_LEN);
	CLEANUP(hash_free_ptr) struct hash *h = NULL;
	uint8_t sha256[32];
	struct segfile *f;
	err_t e = buf ? hash_new(&h) : -ENOMEM;

	if (!e)
		e = segfiles_get(ss->files, row->id, &f);
	if (e)
		return e;
	for (uint64_t off = 0; off < row->size && !e; off += VERIFY_LEN) {
		size_t len = row->size - off < VERIFY_LEN ? (size_t)(row->size - off) : VERIFY_LEN;

		e = disk_pread(segfile_fd(f), buf, len, off);
		if (!e)
			e = hash_update(h, buf, len);
	}
	segfiles_put(ss->files, f);
	if (!e)
		e = hash_final(h, sha256);
	if (!e)
		*same_out = memcmp(sha256, row->sha256, sizeof(sha256)) == 0;
	return e;
}

/* All pieces are here and flushed.  If they are not what they should be, each frame says so when it is opened. */
static err_t
finish_part(struct segstore *ss, struct part *p, uint64_t puts)
{
	struct segment row;
	bool same = false;

	meta_lock(ss->meta);

	err_t e = meta_segment_get(ss->meta, p->seg, &row);

	meta_unlock(ss->meta);
	if (!e)
		e = verify(ss, &row, &same);
	if (e)
		return e == -ENOENT ? 0 : e;
	pthread_mutex_lock(&ss->pieces_lock);
	p->whole = same && p->puts == puts && p->here == pieces_all(p->size);
	pthread_mutex_unlock(&ss->pieces_lock);
	return 0;
}

/* Flushes what was put before the count of puts was that.  [in use] */
static err_t
save_part(struct segstore *ss, struct part *p, uint64_t puts)
{
	struct segfile *f;
	err_t e = segfiles_get(ss->files, p->seg, &f);

	if (!e) {
		e = disk_flush(segfile_fd(f));
		segfiles_put(ss->files, f);
	}
	pthread_mutex_lock(&ss->pieces_lock);
	/* Of a flush that failed nobody knows what it left: those pieces have to come again. */
	if (e)
		p->here &= ~p->fresh;
	if (e || p->puts == puts)
		p->fresh = 0;

	bool complete = !e && !p->fresh && p->here == pieces_all(p->size);

	pthread_mutex_unlock(&ss->pieces_lock);
	if (complete)
		e = finish_part(ss, p, puts);

	err_t row = follow(ss, p->seg);

	return e ? e : row;
}

/* [save_lock] */
static err_t
save_pieces(struct segstore *ss)
{
	uint64_t puts, after = 0;
	struct part *p;
	err_t e = 0, flushed;

	/* Their names first: a row that is durable speaks of a file that is there. */
	p = next_fresh(ss, 0, &puts);
	if (!p)
		return 0;
	flushed = disk_flush_dir(ss->dirfd);
	for (; p && !flushed; p = next_fresh(ss, after, &puts)) {
		err_t failed = save_part(ss, p, puts);

		e = e ? e : failed;
		after = p->seg;
		segstore_end_read(ss, p);
	}
	if (p)
		segstore_end_read(ss, p);
	return e ? e : flushed;
}

err_t
segstore_save_pieces(struct segstore *ss)
{
	/* Of two flushes of a file only one is told of an error: the other must not take the pieces for flushed. */
	pthread_mutex_lock(&ss->save_lock);

	err_t e = save_pieces(ss);

	pthread_mutex_unlock(&ss->save_lock);
	return e;
}

uint64_t
segstore_brought(struct segstore *ss)
{
	pthread_mutex_lock(&ss->pieces_lock);

	uint64_t bytes = ss->brought;

	pthread_mutex_unlock(&ss->pieces_lock);
	return bytes;
}

/* Giving up. */

/* [meta lock, pieces_lock] Nobody finds them any more. */
static err_t
mark_leaving(struct segstore *ss, struct segstore_leaving *l)
{
	struct part *p = part_find(ss, l->seg);

	if (p)
		l->mask = p->hot ? 0 : l->mask & p->here;
	if (!p || p->users || p->leaving || !l->mask)
		return -EBUSY;
	p->leaving = true;
	p->users++;
	p->here &= ~l->mask;
	p->fresh &= ~l->mask;
	p->ahead &= ~l->mask;
	p->whole = false;
	l->size = p->size;
	l->part = p;
	return 0;
}

/* -EBUSY: somebody is reading, or the store has it no more: a commit may have dropped it since it was chosen. */
static err_t
begin_leaving(struct segstore *ss, struct segstore_leaving *l)
{
	struct segment row;
	struct part *p;
	err_t e = lock_part(ss, l->seg, &p);

	if (e)
		return e;
	pthread_mutex_unlock(&ss->pieces_lock);
	meta_lock(ss->meta);
	e = meta_segment_get(ss->meta, l->seg, &row);
	if (!e && !row.in_store)
		e = -EBUSY;
	if (!e) {
		pthread_mutex_lock(&ss->pieces_lock);
		e = mark_leaving(ss, l);
		pthread_mutex_unlock(&ss->pieces_lock);
	}
	meta_unlock(ss->meta);
	return e;
}

/* [leaving] */
static err_t
give_back(struct segstore *ss, const struct segstore_leaving *l, bool empty)
{
	uint64_t len = pieces_len(l->size), rest = l->mask;
	unsigned first, count;
	struct segfile *f;
	err_t e;

	if (empty)
		return segfiles_remove(ss->files, l->seg);
	e = segfiles_get(ss->files, l->seg, &f);
	if (e)
		return e;
	while (!e && (count = pieces_first_run(rest, PIECES_MAX, &first))) {
		e = disk_punch(segfile_fd(f), first * len, pieces_bytes(l->size, pieces_run(first, count)));
		rest &= ~pieces_run(first, count);
	}
	segfiles_put(ss->files, f);
	return e;
}

static void
end_leaving(struct segstore *ss, struct segstore_leaving *l, bool durable)
{
	struct part *p = l->part;

	pthread_mutex_lock(&ss->pieces_lock);

	bool empty = !p->here;

	pthread_mutex_unlock(&ss->pieces_lock);

	/* As long as a durable row speaks of them, the bytes stay: they are written over, or given up another time. */
	err_t e = durable ? give_back(ss, l, empty) : -ECANCELED;

	if (e && e != -ECANCELED && e != -ENODATA)
		log_warn("space of segment %016llx was not given back: %s", (unsigned long long)l->seg, strerror(-e));
	pthread_mutex_lock(&ss->pieces_lock);
	p->leaving = false;
	p->outrun |= !durable;
	if (!e && empty)
		p->has_file = false;
	part_leave(ss, p);
	pthread_mutex_unlock(&ss->pieces_lock);
	l->done = !e;
}

err_t
segstore_drop_pieces(struct segstore *ss, struct segstore_leaving *v, size_t count)
{
	bool any = false;
	err_t e = 0;

	for (size_t k = 0; k < count; k++) {
		v[k].done = false;
		v[k].part = NULL;
		any |= !begin_leaving(ss, &v[k]);
	}
	for (size_t k = 0; k < count && !e; k++)
		if (v[k].part)
			e = follow(ss, v[k].seg);
	if (any && !e)
		e = meta_sync(ss->meta);
	for (size_t k = 0; k < count; k++)
		if (v[k].part)
			end_leaving(ss, &v[k], !e);
	return e;
}

err_t
segstore_drop(struct segstore *ss, uint64_t seg)
{
	struct part *p;
	err_t e = lock_part(ss, seg, &p);
	bool known = !e;

	if (known) {
		p->here = p->fresh = p->ahead = 0;
		p->whole = p->has_file = false;
		p->outrun = true;
		pthread_mutex_unlock(&ss->pieces_lock);
	}
	if (e && e != -ENODATA)
		return e;
	e = segfiles_remove(ss->files, seg);
	if (!e && known)
		e = follow(ss, seg);
	return e;
}

/* What there is. */

static err_t
list_row(void *ctx, const struct segment *row)
{
	struct segstore_kept_list *l = ctx;

	if (row->kind != SEGMENT_SETTLED)
		return 0;
	if (l->count == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct segstore_kept *grown = reallocarray(l->v, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		l->v = grown;
		l->cap = cap;
	}
	l->v[l->count++] = (struct segstore_kept){.seg = row->id, .size = row->size, .in_store = row->in_store,
		.here = row->local ? pieces_all(row->size) : row->present};
	return 0;
}

void
segstore_kept_clear(struct segstore_kept_list *l)
{
	free(l->v);
	*l = (struct segstore_kept_list){0};
}

err_t
segstore_list_kept(struct segstore *ss, struct segstore_kept_list *out)
{
	CLEANUP(segstore_kept_clear) struct segstore_kept_list l = {0};

	meta_lock(ss->meta);

	err_t e = meta_segment_scan(ss->meta, list_row, &l);

	meta_unlock(ss->meta);
	if (e)
		return e;
	pthread_mutex_lock(&ss->pieces_lock);
	for (size_t k = 0; k < l.count; k++) {
		const struct part *p = part_find(ss, l.v[k].seg);

		if (!p)
			continue;
		l.v[k].here = p->here;
		l.v[k].used = p->used;
	}
	pthread_mutex_unlock(&ss->pieces_lock);
	*out = l;
	l = (struct segstore_kept_list){0};
	return 0;
}
