/*
 * segstore_commit.c: how appended bytes become durable: meta's hooks around a commit, and the redo of what rode in the
 * database when the power went.
 */
#include "segstore_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "disk.h"

#define REWRITE_LEN (1u << 20)

/*
 * Fixes what this commit has to make durable, and waits until all of it is written: an append that began before may be
 * on its way, and a hole in what rides in the database would come back as junk.
 */
static err_t
begin_batch(struct segstore *ss, uint64_t *created_out)
{
	struct hot *h, *next;

	pthread_mutex_lock(&ss->lock);

	struct hot **batch = reallocarray(ss->batch, HASH_COUNT(ss->hots) + 1, sizeof(struct hot *));

	if (!batch) {
		pthread_mutex_unlock(&ss->lock);
		return -ENOMEM;
	}
	ss->batch = batch;
	ss->batch_count = 0;
	HASH_ITER (hh, ss->hots, h, next) {
		if (!h->file)
			continue;
		h->target = h->end;
		h->held = true;
		ss->batch[ss->batch_count++] = h;
	}
	*created_out = ss->created;

	unsigned before = ss->generation;

	ss->generation ^= 1;
	while (ss->in_flight[before] > 0)
		pthread_cond_wait(&ss->drained, &ss->lock);
	pthread_mutex_unlock(&ss->lock);
	return 0;
}

static err_t
flush_dir(struct segstore *ss, uint64_t created)
{
	if (ss->created_flushed == created)
		return 0;

	err_t e = disk_flush_dir(ss->dirfd);

	if (!e)
		ss->created_flushed = created;
	return e;
}

static void
drop_redo(struct segstore *ss)
{
	free(ss->redo);
	free(ss->redo_data);
	ss->redo = NULL;
	ss->redo_data = NULL;
	ss->redo_count = 0;
}

/* What the rows of all that neither a flush nor an earlier commit covers take; data_len_out: without what is around them. */
static size_t
redo_len(const struct segstore *ss, size_t *data_len_out)
{
	size_t len = 0, rows = 0;

	for (size_t k = 0; k < ss->batch_count; k++) {
		const struct hot *h = ss->batch[k];

		len += h->target - h->riding_end;
		rows += h->target > h->riding_end;
	}
	*data_len_out = len;
	return len + rows * DB_JOURNAL_ROW_OVERHEAD;
}

/* Reads all that, as rows for the journal. */
static err_t
collect_redo(struct segstore *ss, size_t len)
{
	if (!len)
		return 0;
	ss->redo = calloc(ss->batch_count, sizeof(*ss->redo));
	ss->redo_data = malloc(len);
	if (!ss->redo || !ss->redo_data)
		return -ENOMEM;

	uint8_t *at = ss->redo_data;

	for (size_t k = 0; k < ss->batch_count; k++) {
		const struct hot *h = ss->batch[k];
		struct meta_redo row = {h->seg, h->riding_end, at, h->target - h->riding_end};

		if (!row.len)
			continue;

		err_t e = disk_pread(segfile_fd(h->file), at, row.len, row.off);

		if (e)
			return e;
		ss->redo[ss->redo_count++] = row;
		at += row.len;
	}
	return 0;
}

/* Makes the kernel see pages as changed again that it may have given up on when a flush failed. */
static err_t
rewrite(const struct hot *h)
{
	CLEANUP(free_ptr) uint8_t *buf = malloc(REWRITE_LEN);
	struct stat st;

	if (!buf)
		return -ENOMEM;
	if (fstat(segfile_fd(h->file), &st))
		return -errno;

	/* Appends that failed may have left the file shorter than what was reserved in it. */
	uint64_t end = (uint64_t)st.st_size < h->target ? (uint64_t)st.st_size : h->target;

	for (uint64_t off = h->durable_end; off < end;) {
		size_t len = end - off < REWRITE_LEN ? (size_t)(end - off) : REWRITE_LEN;
		err_t e = disk_pread(segfile_fd(h->file), buf, len, off);

		if (!e)
			e = disk_pwrite(segfile_fd(h->file), buf, len, off);
		if (e)
			return e;
		off += len;
	}
	return 0;
}

static err_t
flush_hot(struct hot *h)
{
	if (h->durable_end == h->target)
		return 0;

	err_t e = h->suspect ? rewrite(h) : 0;

	if (!e) {
		e = disk_flush(segfile_fd(h->file));
		h->suspect = e != 0;
	}
	if (!e)
		h->durable_end = h->riding_end = h->target;
	return e;
}

static err_t
flush_batch(struct segstore *ss)
{
	for (size_t k = 0; k < ss->batch_count; k++) {
		err_t e = flush_hot(ss->batch[k]);

		if (e)
			return e;
	}
	return 0;
}

/* Gives back the files of full segments that are durable: nothing will be written to them again. */
static void
end_batch(struct segstore *ss)
{
	for (size_t k = 0; k < ss->batch_count; k++) {
		struct hot *h = ss->batch[k];
		struct segfile *file = NULL;

		pthread_mutex_lock(&ss->lock);
		h->held = false;
		if (h != ss->current && h->durable_end == h->end)
			file = STEAL(h->file);

		bool dead = segstore_take_dead(ss, h);

		pthread_mutex_unlock(&ss->lock);
		if (file)
			segfiles_put(ss->files, file);
		if (dead)
			segstore_remove_dead(ss, h);
	}
	ss->batch_count = 0;
	(void)segstore_cut_ahead(ss);
}

/* Lets the bytes ride if they fit; otherwise flushes them. */
static err_t
make_durable(struct segstore *ss, size_t room)
{
	size_t len;

	ss->riding = room > 0 && redo_len(ss, &len) <= room && len <= SEGSTORE_REDO_MAX && !collect_redo(ss, len);
	if (ss->riding)
		return 0;
	drop_redo(ss);
	return flush_batch(ss);
}

err_t
segstore_before_commit(void *ctx, size_t room, struct meta_redo **redo_out, size_t *redo_count_out)
{
	struct segstore *ss = ctx;
	uint64_t created;

	atomic_store(&ss->cuts_before_commit, atomic_load(&ss->cuts));

	err_t e = begin_batch(ss, &created);

	if (e)
		return e;
	e = flush_dir(ss, created);
	if (!e)
		e = make_durable(ss, room);
	if (e) {
		end_batch(ss);
		return e;
	}
	*redo_out = ss->redo;
	*redo_count_out = ss->redo_count;
	return 0;
}

bool
segstore_give_room_for_commit(void *ctx)
{
	struct segstore *ss = ctx;

	return segstore_give_room(ss, atomic_load(&ss->cuts_before_commit));
}

void
segstore_after_commit(void *ctx, err_t result)
{
	struct segstore *ss = ctx;

	if (!result && ss->riding)
		for (size_t k = 0; k < ss->batch_count; k++)
			ss->batch[k]->riding_end = ss->batch[k]->target;
	drop_redo(ss);
	end_batch(ss);
}

/* Writing back. */

struct redo {
	struct segstore *ss;
	struct segfile *file; /* the segment being written to; NULL: it is gone */
	uint64_t seg;
	struct db_row *rows; /* to be deleted */
	size_t count;
	size_t cap;
};

static err_t
redo_finish_file(struct redo *r)
{
	if (!r->file)
		return 0;

	err_t e = disk_flush(segfile_fd(r->file));

	segfiles_put(r->ss->files, r->file);
	r->file = NULL;
	return e;
}

static void
redo_clear(struct redo *r)
{
	if (r->file)
		segfiles_put(r->ss->files, r->file);
	free(r->rows);
}

static err_t
redo_note(struct redo *r, uint64_t seg, uint64_t off)
{
	if (r->count == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 64;
		struct db_row *grown = reallocarray(r->rows, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		r->rows = grown;
		r->cap = cap;
	}
	r->rows[r->count++] = (struct db_row){.table = DB_REDO, .a = seg, .b = off};
	return 0;
}

static err_t
redo_row(void *ctx, uint64_t seg, uint64_t off, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct redo *r = ctx;
	err_t e = 0;

	(void)mark;
	(void)state;
	if (off > SEGSTORE_HOT_LEN || len > SEGSTORE_HOT_LEN - off)
		return -EBADMSG;
	if (seg != r->seg) {
		e = redo_finish_file(r);
		if (!e)
			e = segfiles_get(r->ss->files, seg, &r->file);
		/* All of it was released, and the file with it, after the row was written. */
		if (e == -ENODATA)
			e = 0;
		r->seg = seg;
	}
	if (!e && r->file)
		e = disk_pwrite(segfile_fd(r->file), data, len, off);
	return e ? e : redo_note(r, seg, off);
}

err_t
segstore_apply_redo(struct segstore *ss, struct db *db)
{
	CLEANUP(redo_clear) struct redo r = {.ss = ss};
	err_t e = db_scan_all(db, DB_REDO, 0, 0, UINT32_MAX, redo_row, &r);

	if (!e)
		e = redo_finish_file(&r);
	if (e || !r.count)
		return e;
	return db_write(db, r.rows, r.count);
}
