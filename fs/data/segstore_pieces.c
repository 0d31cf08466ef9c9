/*
 * segstore_pieces.c: settled segments of which some pieces are here: who reads, who brings.  Who saves them is segstore_save.c, who
 * gives them up segstore_leaving.c, and who keeps count segstore_parts.c.
 *
 * What is here is known in memory, for each segment that was looked at lately.  The row says it for the next run, and only
 * of bytes that have been flushed: pieces that came lately are `fresh` until segstore_save_pieces.  To give pieces up goes the
 * other way round: first nobody finds them any more, then no durable row speaks of them, and only then they go.
 *
 * They can also go without that, with a file that was removed or cut.  Then the row on the disk is outrun, and is made to say so
 * before the first piece is put again: in the next run it would take a file with some pieces for the whole.
 */
#include "segstore_internal.h"

#include <errno.h>

#include "disk.h"
#include "pieces.h"

/* Reading. */

err_t
segstore_begin_read(struct segstore *ss, uint64_t seg, uint64_t off, uint32_t len, struct part **out)
{
	struct part *p;
	err_t e = segstore_lock_part(ss, seg, &p);

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
	segstore_leave_part(ss, p);
	pthread_mutex_unlock(&ss->pieces_lock);
}

err_t
segstore_hold(struct segstore *ss, uint64_t seg, struct part **out)
{
	struct part *p;
	err_t e = segstore_lock_part(ss, seg, &p);

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
	err_t e = segstore_lock_part(ss, seg, &p);

	if (e)
		return e;
	*missing_out = p->hot ? 0 : mask & pieces_all(p->size) & ~p->here;
	pthread_mutex_unlock(&ss->pieces_lock);
	return 0;
}

/* Bringing. */

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

	err_t e = segstore_follow_part(ss, p->seg);

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

/* *torn_out: some of it may be in the file although it failed. */
static err_t
write_part(struct segstore *ss, struct part *p, uint64_t off, const uint8_t *data, size_t len, bool *torn_out)
{
	struct segfile *f;

	if (!meta_has_room(ss->meta))
		return -ENOSPC;

	err_t e = open_part(ss, p, &f);

	if (e)
		return e;
	e = segstore_write_file(ss, f, data, len, off);
	*torn_out = e;
	segfiles_put(ss->files, f);
	return e;
}

err_t
segstore_put_pieces(struct segstore *ss, uint64_t seg, uint64_t off, const uint8_t *data, size_t len, bool ahead)
{
	struct part *p;
	err_t e = segstore_lock_part(ss, seg, &p);

	if (e)
		return e;

	uint64_t mask = pieces_touching(p->size, off, len);
	bool wanted = !p->hot && !p->whole, torn = false;

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
	p->writers++;
	pthread_mutex_unlock(&ss->pieces_lock);
	e = write_part(ss, p, off, data, len, &torn);
	pthread_mutex_lock(&ss->pieces_lock);
	if (!e) {
		ss->brought += pieces_bytes(p->size, mask & ~p->here);
		p->here |= mask;
		p->fresh |= mask;
		p->puts++;
		p->ahead = ahead ? p->ahead | mask : p->ahead & ~mask;
		p->used = ++ss->tick;
	}
	p->torn |= torn ? mask : 0;
	if (--p->writers == 0)
		segstore_cut_torn(ss, p);
	segstore_leave_part(ss, p);
	pthread_mutex_unlock(&ss->pieces_lock);
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
