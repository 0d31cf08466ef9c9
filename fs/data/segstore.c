/* segstore.c: opening, appends to the hot segment, reads. */
#include "segstore_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"
#include "lock.h"
#include "log.h"

static void
segstore_cleanup(struct segstore **ss)
{
	segstore_free(*ss);
}

/* A mutex or a condition variable without attributes can't fail to be made on Linux. */
static struct segstore *
segstore_alloc(struct meta *meta)
{
	struct segstore *ss = calloc(1, sizeof(*ss));

	if (!ss)
		return NULL;
	ss->meta = meta;
	ss->dirfd = -1;
	(void)pthread_mutex_init(&ss->sweep_lock, NULL);
	(void)pthread_mutex_init(&ss->begin_lock, NULL);
	(void)pthread_mutex_init(&ss->ahead_lock, NULL);
	segstore_init_ahead(ss);
	lock_init(&ss->lock);
	(void)pthread_mutex_init(&ss->save_lock, NULL);
	(void)pthread_mutex_init(&ss->make_lock, NULL);
	lock_init(&ss->pieces_lock);
	(void)pthread_cond_init(&ss->pieces_moved, NULL);
	(void)pthread_cond_init(&ss->drained, NULL);
	return ss;
}

err_t
segstore_open(const char *dir, struct meta *meta, struct segstore **out)
{
	err_t e = disk_make_dir(dir);

	if (e)
		return e;

	CLEANUP(segstore_cleanup) struct segstore *ss = segstore_alloc(meta);

	if (!ss)
		return -ENOMEM;
	ss->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ss->dirfd < 0)
		return -errno;
	e = segfiles_new(ss->dirfd, &ss->files);
	if (e)
		return e;

	meta_lock(meta);
	ss->first_id = meta_segment_new_id(meta);
	meta_unlock(meta);
	ss->opened_at = time(NULL);

	const struct meta_hooks hooks = {
		.ctx = ss,
		.before_commit = segstore_before_commit,
		.after_commit = segstore_after_commit,
		.on_release = segstore_on_release,
		.give_room = segstore_give_room_for_commit,
	};

	meta_set_hooks(meta, &hooks);
	*out = STEAL(ss);
	return 0;
}

void
hot_free(struct segstore *ss, struct hot *h)
{
	if (h->file)
		segfiles_put(ss->files, h->file);
	deadmap_clear(&h->dead);
	free(h->owners);
	free(h);
}

void
segstore_free(struct segstore *ss)
{
	struct hot *h, *next;

	if (!ss)
		return;
	(void)segstore_give_room(ss, 0);
	HASH_ITER (hh, ss->hots, h, next) {
		HASH_DEL(ss->hots, h);
		hot_free(ss, h);
	}
	segstore_free_parts(ss);
	segfiles_free(ss->files);
	if (ss->dirfd >= 0)
		(void)close(ss->dirfd);
	free(ss->batch);
	free(ss->redo);
	free(ss->redo_data);
	free(ss->earlier);
	free(ss->strays);
	pthread_cond_destroy(&ss->drained);
	pthread_cond_destroy(&ss->pieces_moved);
	pthread_mutex_destroy(&ss->pieces_lock);
	pthread_mutex_destroy(&ss->make_lock);
	pthread_mutex_destroy(&ss->save_lock);
	pthread_mutex_destroy(&ss->lock);
	pthread_mutex_destroy(&ss->ahead_lock);
	pthread_mutex_destroy(&ss->begin_lock);
	pthread_mutex_destroy(&ss->sweep_lock);
	free(ss);
}

/* Makes h the current one, which appends find.  Takes it over on success. */
static err_t
publish(struct segstore *ss, struct hot *h)
{
	pthread_mutex_lock(&ss->lock);
	HASH_ADD(hh, ss->hots, seg, sizeof(h->seg), h);

	bool added = h->hh.tbl != NULL;

	if (added) {
		ss->current = h;
		ss->created++;
	}
	pthread_mutex_unlock(&ss->lock);
	return added ? 0 : -ENOMEM;
}

static err_t
put_row(struct segstore *ss, uint64_t seg)
{
	const struct segment row = {.id = seg, .kind = SEGMENT_HOT, .local = true};

	meta_lock(ss->meta);

	err_t e = meta_segment_put(ss->meta, &row);

	meta_unlock(ss->meta);
	return e;
}

/* [begin_lock] The row comes last: no row is without its file. */
static err_t
begin_hot(struct segstore *ss)
{
	meta_lock(ss->meta);

	uint64_t seg = meta_segment_new_id(ss->meta);

	meta_unlock(ss->meta);

	struct hot *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->seg = seg;

	err_t e = segfiles_create(ss->files, seg, &h->file);

	if (!e)
		e = put_row(ss, seg);
	if (!e)
		e = publish(ss, h);
	if (!e)
		return 0;
	if (h->file && segfiles_remove(ss->files, seg))
		log_warn("the unused segment %016llx was left behind", (unsigned long long)seg);
	hot_free(ss, h);
	return e;
}

/* Begins the next hot segment unless somebody else has since the caller saw the full one. */
static err_t
begin_next(struct segstore *ss, const struct hot *full)
{
	pthread_mutex_lock(&ss->begin_lock);
	pthread_mutex_lock(&ss->lock);

	bool needed = ss->current == full;

	pthread_mutex_unlock(&ss->lock);

	err_t e = needed ? begin_hot(ss) : 0;

	pthread_mutex_unlock(&ss->begin_lock);
	return e;
}

static uint64_t
up_to_block(uint64_t n)
{
	return (n + SEGSTORE_BLOCK_LEN - 1) / SEGSTORE_BLOCK_LEN * SEGSTORE_BLOCK_LEN;
}

/* [lock] Whole blocks for len bytes behind what the segment has; what is left over of them nobody will ever point at. */
static void
reserve_blocks(struct hot *h, uint32_t len, uint64_t *off_out)
{
	uint64_t off = up_to_block(h->end);
	uint64_t end = up_to_block(off + len);
	uint64_t punch_off, punch_len;

	segstore_count_dead(h, h->end, (uint32_t)(off - h->end), &punch_off, &punch_len);
	segstore_count_dead(h, off + len, (uint32_t)(end - (off + len)), &punch_off, &punch_len);
	h->end = end;
	*off_out = off;
}

/* [lock] A short one between long ones does not end it, many do. */
static void
note_run(struct segstore *ss, uint32_t len, bool blocks)
{
	if (!blocks)
		ss->run /= 2;
	else if (ss->run < SEGSTORE_HOT_LEN)
		ss->run += len;
}

static bool
is_full(err_t e)
{
	return e == -ENOSPC || e == -EDQUOT;
}

/* Where the disk is full, with what was kept for later appends. */
static err_t
write_at(struct segstore *ss, int fd, const uint8_t *data, size_t len, uint64_t off)
{
	uint64_t cuts = atomic_load(&ss->cuts);
	err_t e = disk_pwrite(fd, data, len, off);

	return is_full(e) && segstore_give_room(ss, cuts) ? disk_pwrite(fd, data, len, off) : e;
}

static err_t
reserve(struct segstore *ss, uint32_t len, bool blocks, struct segstore_place *out)
{
	assert(len > 0 && len <= SEGSTORE_HOT_LEN);
	if (!meta_has_room(ss->meta))
		return -ENOSPC;
	for (;;) {
		pthread_mutex_lock(&ss->lock);

		struct hot *h = ss->current;

		if (h && (blocks ? up_to_block(up_to_block(h->end) + len) : h->end + len) <= SEGSTORE_HOT_LEN) {
			*out = (struct segstore_place){h->seg, h->end, len, blocks, h, h->file, ss->generation};
			if (blocks)
				reserve_blocks(h, len, &out->off);
			else
				h->end += len;
			note_run(ss, len, blocks);
			ss->in_flight[ss->generation]++;
			pthread_mutex_unlock(&ss->lock);
			return 0;
		}
		pthread_mutex_unlock(&ss->lock);

		uint64_t cuts = atomic_load(&ss->cuts);
		err_t e = begin_next(ss, h);

		if (e && !(is_full(e) && segstore_give_room(ss, cuts)))
			return e;
	}
}

static void
complete(struct segstore *ss, const struct segstore_place *p, bool failed)
{
	uint64_t punch_off, punch_len;

	pthread_mutex_lock(&ss->lock);
	if (failed)
		segstore_count_dead(p->hot, p->off, p->len, &punch_off, &punch_len);
	if (--ss->in_flight[p->generation] == 0)
		pthread_cond_signal(&ss->drained);
	pthread_mutex_unlock(&ss->lock);
}

/* Whole blocks. */
static err_t
write_blocks(struct segstore *ss, struct segfile *f, const uint8_t *data, size_t len, uint64_t off)
{
	int direct = segfiles_direct_fd(ss->files, f);
	err_t e = direct < 0 ? 0 : write_at(ss, direct, data, len, off);

	if (direct >= 0 && e != -EINVAL)
		return e;
	if (e)
		segfiles_refuse_direct(ss->files);
	return write_at(ss, segfile_fd(f), data, len, off);
}

err_t
segstore_write_file(struct segstore *ss, struct segfile *f, const uint8_t *data, size_t len, uint64_t off)
{
	bool aligned = (uintptr_t)data % SEGSTORE_BLOCK_LEN == 0 && off % SEGSTORE_BLOCK_LEN == 0;
	size_t whole = aligned && len >= SEGSTORE_DIRECT_MIN ? len / SEGSTORE_BLOCK_LEN * SEGSTORE_BLOCK_LEN : 0;
	err_t e = whole ? write_blocks(ss, f, data, whole, off) : 0;

	/* What is left of a block is not made whole: the file would be longer than what it holds. */
	if (!e && whole < len)
		e = write_at(ss, segfile_fd(f), data + whole, len - whole, off + whole);
	return e;
}

err_t
segstore_append(struct segstore *ss, const uint8_t *data, uint32_t len, uint64_t *seg_out, uint64_t *off_out)
{
	struct segstore_place p;
	err_t e = reserve(ss, len, false, &p);

	if (e)
		return e;
	e = write_at(ss, segfile_fd(p.file), data, len, p.off);
	if (!e) {
		*seg_out = p.seg;
		*off_out = p.off;
	}
	complete(ss, &p, e != 0);
	return e;
}

err_t
segstore_reserve(struct segstore *ss, uint32_t len, struct segstore_place *out)
{
	return reserve(ss, len, len >= SEGSTORE_DIRECT_MIN, out);
}

err_t
segstore_fill(struct segstore *ss, const struct segstore_place *p, uint8_t *data)
{
	size_t whole = up_to_block(p->len);
	err_t e;

	assert((uintptr_t)data % SEGSTORE_BLOCK_LEN == 0);
	if (p->blocks) {
		memset(data + p->len, 0, whole - p->len);
		segstore_make_ahead(ss, p);
		e = write_blocks(ss, p->file, data, whole, p->off);
	} else {
		e = write_at(ss, segfile_fd(p->file), data, p->len, p->off);
	}
	complete(ss, p, e != 0);
	return e;
}

void
segstore_give_up(struct segstore *ss, const struct segstore_place *p)
{
	complete(ss, p, true);
}

bool
segstore_is_hot(struct segstore *ss, uint64_t seg)
{
	struct hot *h;

	pthread_mutex_lock(&ss->lock);
	HASH_FIND(hh, ss->hots, &seg, sizeof(seg), h);
	pthread_mutex_unlock(&ss->lock);
	if (h)
		return true;

	struct segment row;

	return !meta_segment_get(ss->meta, seg, &row) && row.kind == SEGMENT_HOT;
}

/* The file of bytes that are here, and stay here until close_here. */
static err_t
open_here(struct segstore *ss, uint64_t seg, uint64_t off, uint32_t len, struct part **part_out, struct segfile **out)
{
	err_t e = segstore_begin_read(ss, seg, off, len, part_out);

	if (e)
		return e;
	e = segfiles_get(ss->files, seg, out);
	if (e == -ENODATA)
		segstore_lost(ss, *part_out, off, len);
	if (e)
		segstore_end_read(ss, *part_out);
	return e;
}

static err_t
close_here(struct segstore *ss, struct part *p, struct segfile *f, uint64_t off, uint32_t len, err_t e)
{
	segfiles_put(ss->files, f);
	if (e == -ENODATA)
		segstore_lost(ss, p, off, len);
	segstore_end_read(ss, p);
	return e;
}

err_t
segstore_read_here(struct segstore *ss, uint64_t seg, uint64_t off, uint32_t len, uint8_t *out)
{
	struct segfile *f;
	struct part *p;
	err_t e = open_here(ss, seg, off, len, &p, &f);

	if (e)
		return e;
	e = disk_pread(segfile_fd(f), out, len, off);
	return close_here(ss, p, f, off, len, e);
}

err_t
segstore_read(struct segstore *ss, uint64_t seg, uint64_t off, uint32_t len, uint8_t *out)
{
	err_t e = segstore_read_here(ss, seg, off, len, out);

	return e == -ENODATA ? segstore_read_lent(ss, seg, off, len, out) : e;
}

/* Bytes of blocks that are read past the cache.  A system that does not want to is asked in the other way. */
static err_t
read_direct(struct segstore *ss, struct segfile *f, uint64_t off, uint32_t len, uint8_t *buf, uint8_t **at_out)
{
	int direct = segfiles_direct_fd(ss->files, f);
	size_t skip = off % SEGSTORE_BLOCK_LEN;
	err_t e = direct < 0 ? -EINVAL : disk_pread_blocks(direct, buf, up_to_block(skip + len), skip + len, off - skip);

	if (!e)
		*at_out = buf + skip;
	return e;
}

err_t
segstore_read_blocks(struct segstore *ss, uint64_t seg, uint64_t off, uint32_t len, uint8_t *buf, uint8_t **at_out)
{
	struct segfile *f;
	struct part *p;
	err_t e = open_here(ss, seg, off, len, &p, &f);

	assert((uintptr_t)buf % SEGSTORE_BLOCK_LEN == 0);
	if (e == -ENODATA) {
		e = segstore_read_lent(ss, seg, off, len, buf);
		if (!e)
			*at_out = buf;
		return e;
	}
	if (e)
		return e;
	e = len < SEGSTORE_DIRECT_MIN ? -EINVAL : read_direct(ss, f, off, len, buf, at_out);
	if (e == -EINVAL) {
		e = disk_pread(segfile_fd(f), buf, len, off);
		if (!e)
			*at_out = buf;
	}
	return close_here(ss, p, f, off, len, e);
}
