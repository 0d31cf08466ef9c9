/*
 * segstore_save.c: pieces that came lately are made to last: flushed, checked once all of a segment are here, and told to the rows.
 */
#include "segstore_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "hash.h"
#include "pieces.h"

#define VERIFY_LEN (1u << 20)

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

	err_t row = segstore_follow_part(ss, p->seg);

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
