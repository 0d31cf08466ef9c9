/* content: files read as a plain array of bytes would, across settling, commits and restarts; damage is noticed, always. */
#include "fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define MIB (1u << 20)

/* The model: what a file ought to be. */
#define MODEL_LEN (8 * MIB)
struct model {
	uint8_t *bytes; /* MODEL_LEN */
	bool *mapped;   /* by byte */
	uint64_t size;
	uint64_t seed;
};

static uint64_t
draw(struct model *m, uint64_t below)
{
	m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
	return (m->seed >> 20) % below;
}

/* Mostly small, sometimes page-aligned, sometimes over a chunk's end. */
static size_t
draw_len(struct model *m)
{
	static const size_t most[] = {10, 5000, 4096, 100000, 2 * MIB};

	return (size_t)draw(m, most[draw(m, ARRAY_LEN(most))]) + 1;
}

static void
model_write(struct fixture *f, struct model *m, uint64_t ino)
{
	uint64_t off = draw(m, MODEL_LEN);
	size_t len = draw_len(m);

	if (draw(m, 2))
		off &= ~UINT64_C(4095);
	if (len > MODEL_LEN - off)
		len = (size_t)(MODEL_LEN - off);
	fill(m->bytes + off, len, m->seed);
	if (draw(m, 3) == 0)
		memset(m->bytes + off, 'a', len); /* compresses */
	memset(m->mapped + off, true, len);
	write_file(f, ino, off, m->bytes + off, len);
	if (off + len > m->size)
		m->size = off + len;
}

static void
model_unmap(struct model *m, uint64_t from, uint64_t to)
{
	if (from >= to)
		return;
	memset(m->bytes + from, 0, (size_t)(to - from));
	memset(m->mapped + from, false, (size_t)(to - from));
}

static void
model_truncate(struct fixture *f, struct model *m, uint64_t ino)
{
	uint64_t size = draw(m, MODEL_LEN + 1);

	assert_int_equal(content_truncate(f->c, ino, size), 0);
	model_unmap(m, size, m->size);
	m->size = size;
}

static void
model_punch(struct fixture *f, struct model *m, uint64_t ino)
{
	uint64_t off = draw(m, MODEL_LEN);
	uint64_t len = draw_len(m);
	uint64_t end = off + len < m->size ? off + len : m->size;

	assert_int_equal(content_punch(f->c, ino, off, len), 0);
	model_unmap(m, off, end);
}

static void
model_read(struct fixture *f, struct model *m, uint64_t ino)
{
	uint64_t off = draw(m, MODEL_LEN);
	size_t len = draw_len(m), n = 99;
	size_t want = off >= m->size ? 0 : m->size - off < len ? (size_t)(m->size - off) : len;
	uint8_t *buf = malloc(len);

	assert_non_null(buf);
	assert_int_equal(content_read(f->c, ino, off, len, buf, &n), 0);
	assert_int_equal(n, want);
	assert_memory_equal(buf, m->bytes + off, want);
	free(buf);
}

static void
model_seek(struct fixture *f, struct model *m, uint64_t ino)
{
	uint64_t off = draw(m, MODEL_LEN), got = 0, data = off, hole = off;

	while (data < m->size && !m->mapped[data])
		data++;
	while (hole < m->size && m->mapped[hole])
		hole++;
	if (data >= m->size) {
		assert_int_equal(content_seek(f->c, ino, off, true, &got), -ENXIO);
	} else {
		assert_int_equal(content_seek(f->c, ino, off, true, &got), 0);
		assert_int_equal(got, data);
	}
	if (off >= m->size) {
		assert_int_equal(content_seek(f->c, ino, off, false, &got), -ENXIO);
	} else {
		assert_int_equal(content_seek(f->c, ino, off, false, &got), 0);
		assert_int_equal(got, hole);
	}
}

static void
model_check_blocks(struct fixture *f, const struct model *m, uint64_t ino)
{
	struct inode i = inode_of(f, ino);
	uint64_t mapped = 0;

	for (uint64_t k = 0; k < m->size; k++)
		mapped += m->mapped[k];
	assert_int_equal(i.size, m->size);
	assert_int_equal(content_blocks(&i), (mapped + 511) / 512);
}

static void
run_model(struct fixture *f, uint64_t seed, bool known)
{
	struct model m = {calloc(1, MODEL_LEN), calloc(MODEL_LEN, 1), 0, seed};
	uint64_t ino = new_file(f);

	assert_true(m.bytes && m.mapped);
	for (unsigned step = 0; step < 600; step++) {
		uint64_t what = draw(&m, 100);

		if (what < 40)
			model_write(f, &m, ino);
		else if (what < 45)
			model_truncate(f, &m, ino);
		else if (what < 55)
			model_punch(f, &m, ino);
		else if (what < 80)
			model_read(f, &m, ino);
		else if (what < 92)
			model_seek(f, &m, ino);
		else if (what < 96)
			assert_int_equal(settle_one(f, ino), 0);
		else if (what < 98)
			assert_int_equal(meta_sync(f->meta), 0);
		else if (known && what == 98 && settle_one(f, ino) == 0)
			make_known(f, ino);
		else
			fixture_reopen(f, true);
	}
	model_check_blocks(f, &m, ino);
	assert_content(f, ino, 0, m.bytes, (size_t)m.size);
	fixture_reopen(f, true);
	assert_content(f, ino, 0, m.bytes, (size_t)m.size);
	free(m.bytes);
	free(m.mapped);
}

static void
a_file_does_what_a_plain_array_does_across_settling_commits_and_restarts(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++)
		run_model(*state, seed, false);
}

static void
the_same_holds_while_the_chain_comes_to_know_the_file(void **state)
{
	run_model(*state, 77, true);
}

static void
an_empty_write_changes_nothing_and_one_past_the_largest_size_is_efbig(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);

	assert_int_equal(content_write(f->c, ino, 5, (const uint8_t *)"", 0), 0);
	assert_int_equal(content_write(f->c, ino, INODE_MAX_SIZE, (const uint8_t *)"x", 1), -EFBIG);
	assert_int_equal(content_write(f->c, ino, UINT64_MAX, (const uint8_t *)"x", 1), -EFBIG);
	assert_int_equal(content_truncate(f->c, ino, (uint64_t)INODE_MAX_SIZE + 1), -EFBIG);

	struct inode i = inode_of(f, ino);

	assert_int_equal(i.size, 0);
	assert_false(i.pending & PENDING_CONTENT);
	write_file(f, ino, INODE_MAX_SIZE - 1, "x", 1);
	assert_content(f, ino, INODE_MAX_SIZE - 1, "x", 1);
}

static void
a_file_that_is_not_there_is_enoent(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[4];
	size_t n = 3;
	uint64_t at;

	assert_int_equal(content_read(f->c, 4711, 0, 4, buf, &n), -ENOENT);
	assert_int_equal(n, 3);
	assert_int_equal(content_write(f->c, 4711, 0, buf, 4), -ENOENT);
	assert_int_equal(content_truncate(f->c, 4711, 1), -ENOENT);
	assert_int_equal(content_punch(f->c, 4711, 0, 1), -ENOENT);
	assert_int_equal(content_seek(f->c, 4711, 0, true, &at), -ENOENT);
}

static void
growing_takes_no_room_and_what_was_cut_stays_gone(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f), at = 0;
	uint8_t data[10000], expected[10000] = {0};

	fill(data, sizeof(data), 5);
	memcpy(expected, data, 3000);
	write_file(f, ino, 0, data, sizeof(data));
	assert_int_equal(content_truncate(f->c, ino, 3000), 0);
	assert_int_equal(content_truncate(f->c, ino, UINT64_C(1) << 62), 0);
	assert_content(f, ino, 0, expected, sizeof(expected));

	struct inode i = inode_of(f, ino);

	assert_int_equal(i.size, UINT64_C(1) << 62);
	assert_int_equal(content_blocks(&i), 6);
	assert_int_equal(content_seek(f->c, ino, 0, false, &at), 0);
	assert_int_equal(at, 3000);
	assert_int_equal(content_seek(f->c, ino, 3000, true, &at), -ENXIO);
	write_file(f, ino, (UINT64_C(1) << 61) + 7, "far", 3);
	assert_int_equal(content_seek(f->c, ino, 3000, true, &at), 0);
	assert_int_equal(at, (UINT64_C(1) << 61) + 7);
	assert_content(f, ino, (UINT64_C(1) << 61) + 7, "far", 3);
}

static void
a_change_of_a_file_that_the_chain_knows_keeps_what_the_chain_says(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	struct inode *i;
	struct chunk *ch;

	write_file(f, ino, 0, "hello world", 11);
	assert_int_equal(settle_one(f, ino), 0);
	make_known(f, ino);
	assert_int_equal(meta_sync(f->meta), 0);

	struct extent_list before = extents_of(f, ino, 0);

	write_file(f, ino, 6, "there", 5);
	write_file(f, ino, 11, "!", 1);
	assert_int_equal(content_truncate(f->c, ino, 2), 0);
	fixture_reopen(f, true);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(i->pending, PENDING_CONTENT | PENDING_MTIME);
	assert_int_equal(i->chain_size, 11);
	assert_int_equal(i->size, 2);
	assert_int_equal(meta_chunk_get(f->meta, i, 0, false, &ch), 0);
	assert_true(ch->pending);
	assert_true(extent_list_equal(&ch->chain, &before));
	assert_int_equal(ch->current.count, 1);
	meta_unlock(f->meta);
	extent_list_clear(&before);
}

static void
bytes_that_the_chain_points_at_are_never_released(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	static uint8_t data[100000], sealed[101000], again[101000];

	fill(data, sizeof(data), 1);
	write_file(f, ino, 0, data, sizeof(data));
	make_known(f, ino);

	struct extent_list l = extents_of(f, ino, 0);

	assert_true(l.v[0].stored_len <= sizeof(sealed));
	assert_int_equal(segstore_read(f->ss, l.v[0].seg, l.v[0].seg_off, l.v[0].stored_len, sealed), 0);
	write_file(f, ino, 0, data, sizeof(data));
	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(segstore_read(f->ss, l.v[0].seg, l.v[0].seg_off, l.v[0].stored_len, again), 0);
	assert_memory_equal(again, sealed, l.v[0].stored_len);
	extent_list_clear(&l);
	/* What lies in between was never in the chain: it goes with the next change. */
	l = extents_of(f, ino, 0);
	assert_int_equal(content_truncate(f->c, ino, 0), 0);
	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(segstore_read(f->ss, l.v[0].seg, l.v[0].seg_off + 8192, 4096, again), 0);
	memset(data, 0, 4096);
	assert_memory_equal(again, data, 4096);
	extent_list_clear(&l);
}

static void
a_new_file_has_nothing_in_the_chain(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	struct inode *i;
	struct chunk *ch;

	write_file(f, ino, 0, "one", 3);
	write_file(f, ino, 0, "two", 3);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_true(i->pending & PENDING_NEW && i->pending & PENDING_CONTENT);
	assert_int_equal(meta_chunk_get(f->meta, i, 0, false, &ch), 0);
	assert_true(ch->pending);
	assert_int_equal(ch->chain.count, 0);
	ch->pending = false; /* even if it was not pending before */
	meta_unlock(f->meta);
	write_file(f, ino, 0, "six", 3);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(meta_chunk_get(f->meta, i, 0, false, &ch), 0);
	assert_true(ch->pending);
	assert_int_equal(ch->chain.count, 0);
	meta_unlock(f->meta);
	assert_int_equal(content_truncate(f->c, ino, 0), 0);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(meta_chunk_get(f->meta, i, 0, false, &ch), -ENOENT);
	meta_unlock(f->meta);
}

static void
the_first_write_after_a_new_epoch_is_under_a_new_key_and_old_parts_stay_readable(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);

	write_file(f, ino, 0, "old old ", 8);
	write_file(f, ino, 8, "old ", 4);
	assert_int_equal(inode_of(f, ino).key_count, 1);
	assert_int_equal(keyring_add(f->keys, 2, EPOCH_KEYS[2]), 0);
	write_file(f, ino, 4, "new ", 4);
	write_file(f, ino, 12, "end", 3);

	struct inode i = inode_of(f, ino);

	assert_int_equal(i.key_count, 2);
	assert_int_equal(i.keys[1].version, 2);
	assert_int_equal(i.keys[1].epoch, 2);

	struct extent_list l = extents_of(f, ino, 0);

	assert_int_equal(l.count, 4);
	assert_int_equal(l.v[0].key_version, 1);
	assert_int_equal(l.v[1].key_version, 2);
	assert_int_equal(l.v[3].key_version, 2);
	extent_list_clear(&l);
	assert_content(f, ino, 0, "old new old end", 15);
	assert_int_equal(settle_one(f, ino), 0);
	l = extents_of(f, ino, 0);
	assert_int_equal(l.count, 1);
	assert_int_equal(l.v[0].key_version, 2);
	extent_list_clear(&l);
	assert_content(f, ino, 0, "old new old end", 15);
}

/* Damage. */

static void
flip(const struct fixture *f, uint64_t seg, uint64_t off)
{
	char path[128];
	uint8_t byte;

	segment_path(f, seg, path);

	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)off), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)off), 1);
	close(fd);
}

/* Every read of the file gives its bytes or -EIO; the one of all of it gives -EIO. */
static void
assert_damaged(struct fixture *f, uint64_t ino, const uint8_t *data, size_t len)
{
	uint8_t buf[70000];
	size_t n;

	assert_true(len <= sizeof(buf));
	assert_int_equal(content_read(f->c, ino, 0, len, buf, &n), -EIO);
	for (size_t off = 0; off < len; off += 4096) {
		err_t e = content_read(f->c, ino, off, 4096, buf, &n);

		assert_true(e == 0 || e == -EIO);
		if (!e)
			assert_memory_equal(buf, data + off, n);
	}
}

static void
flip_all(struct fixture *f, const uint8_t *data, size_t len, bool settled, size_t step)
{
	uint64_t ino = new_file(f), other = new_file(f);

	write_file(f, ino, 0, data, len);
	write_file(f, other, 0, "unharmed", 8);
	if (settled)
		assert_int_equal(settle_one(f, ino), 0);

	struct extent_list l = extents_of(f, ino, 0);

	assert_int_equal(l.count, 1);
	for (uint64_t k = 0; k < l.v[0].stored_len; k += step) {
		flip(f, l.v[0].seg, l.v[0].seg_off + k);
		assert_damaged(f, ino, data, len);
		assert_content(f, other, 0, "unharmed", 8);
		flip(f, l.v[0].seg, l.v[0].seg_off + k);
	}
	assert_content(f, ino, 0, data, len);
	extent_list_clear(&l);
}

static void
every_flipped_byte_of_a_hot_file_is_noticed_and_other_files_stay_readable(void **state)
{
	uint8_t data[5000];

	fill(data, sizeof(data), 9);
	flip_all(*state, data, sizeof(data), false, 7);
	flip_all(*state, data, 40, false, 1);
}

static void
every_flipped_byte_of_a_packed_file_is_noticed(void **state)
{
	static uint8_t data[70000];

	for (size_t k = 0; k < sizeof(data); k++)
		data[k] = (uint8_t)(k / 100);
	flip_all(*state, data, sizeof(data), true, 1);
	fill(data, sizeof(data), 4);
	memset(data, 0, 20000); /* frames of both kinds in one extent */
	flip_all(*state, data, sizeof(data), true, 499);
}

static void
a_truncated_segment_is_eio(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t data[9000];
	char path[128];
	size_t n = 0;

	fill(data, sizeof(data), 6);
	write_file(f, ino, 0, data, sizeof(data));

	struct extent_list l = extents_of(f, ino, 0);

	segment_path(f, l.v[0].seg, path);
	assert_int_equal(truncate(path, 5000), 0);
	assert_content(f, ino, 0, data, 4096);
	assert_int_equal(content_read(f->c, ino, 0, sizeof(data), data, &n), -EIO);
	extent_list_clear(&l);
}

/* Lets to[0] be stored where, and be said to be sealed as, from[0] is. */
static void
graft(struct fixture *f, uint64_t to, uint64_t to_no, uint64_t from, uint64_t from_no, bool with_identity)
{
	struct extent_list l = extents_of(f, from, from_no);
	struct inode *i;
	struct chunk *ch;

	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, to, &i), 0);
	assert_int_equal(meta_chunk_get(f->meta, i, to_no, false, &ch), 0);
	ch->current.v[0].seg = l.v[0].seg;
	ch->current.v[0].seg_off = l.v[0].seg_off;
	if (with_identity)
		memcpy(ch->current.v[0].x_id, l.v[0].x_id, EXTENT_ID_LEN);
	meta_chunk_dirty(f->meta, i, ch);
	meta_unlock(f->meta);
	extent_list_clear(&l);
}

static void
extents_that_were_swapped_between_files_or_places_are_eio(void **state)
{
	struct fixture *f = *state;
	uint64_t a = new_file(f), b = new_file(f), c = new_file(f);
	uint8_t data[4096];
	size_t n;

	fill(data, sizeof(data), 8);
	write_file(f, a, 0, data, sizeof(data));
	write_file(f, b, 0, data, sizeof(data));
	for (unsigned no = 0; no < 2; no++)
		write_file(f, c, no * (uint64_t)MIB, data, sizeof(data));
	graft(f, a, 0, b, 0, false); /* another file's bytes */
	assert_int_equal(content_read(f->c, a, 0, sizeof(data), data, &n), -EIO);
	graft(f, a, 0, b, 0, true); /* ... with their extent id */
	assert_int_equal(content_read(f->c, a, 0, sizeof(data), data, &n), -EIO);
	graft(f, c, 1, c, 0, true); /* the same file's bytes of another offset */
	assert_int_equal(content_read(f->c, c, MIB, sizeof(data), data, &n), -EIO);
	fill(data, sizeof(data), 8);
	assert_content(f, b, 0, data, sizeof(data));
	assert_content(f, c, 0, data, sizeof(data));
}

static void
an_old_version_of_a_part_does_not_open_in_the_place_of_the_new_one(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t old[4096], new[4096], sealed[4112], buf[4096];
	char path[128];
	size_t n;

	fill(old, sizeof(old), 1);
	fill(new, sizeof(new), 2);
	write_file(f, ino, 0, old, sizeof(old));

	struct extent_list first = extents_of(f, ino, 0);

	assert_int_equal(segstore_read(f->ss, first.v[0].seg, first.v[0].seg_off, 4112, sealed), 0);
	write_file(f, ino, 0, new, sizeof(new));

	struct extent_list second = extents_of(f, ino, 0);

	segment_path(f, second.v[0].seg, path);

	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, sealed, sizeof(sealed), (off_t)second.v[0].seg_off), (ssize_t)sizeof(sealed));
	close(fd);
	assert_int_equal(content_read(f->c, ino, 0, sizeof(buf), buf, &n), -EIO);
	extent_list_clear(&first);
	extent_list_clear(&second);
}

/* Failing disks. */

struct strike {
	err_t error;
	const char *only; /* NULL: any operation */
	atomic_uint after;
	atomic_uint seen;
};

static err_t
strike_fn(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct strike *k = ctx;

	(void)fd, (void)name, (void)data, (void)off, (void)len;
	if (k->only && strcmp(k->only, operation) != 0)
		return 0;
	return atomic_fetch_add(&k->seen, 1) >= k->after ? k->error : 0;
}

static void
a_disk_that_fails_at_any_operation_leaves_the_file_as_it_was(void **state)
{
	static const err_t errors[] = {-ENOSPC, -EIO};
	struct fixture *f = *state;
	static uint8_t data[3 * MIB], more[3 * MIB];

	fill(data, sizeof(data), 1);
	fill(more, sizeof(more), 2);
	for (size_t k = 0; k < ARRAY_LEN(errors); k++) {
		uint64_t ino = new_file(f);
		unsigned failures = 0;

		write_file(f, ino, 0, data, sizeof(data));
		for (unsigned after = 0;; after++) {
			struct strike s = {.error = errors[k], .after = after};

			disk_watch(strike_fn, &s);

			err_t e = content_write(f->c, ino, 1000, more, sizeof(more) - 5000);

			disk_watch(NULL, NULL);
			if (!e)
				break;
			failures++;
			assert_int_equal(e, errors[k]);
			assert_int_equal(inode_of(f, ino).size, sizeof(data));
			assert_content(f, ino, 0, data, sizeof(data));
		}
		assert_true(failures >= 2); /* its pieces go to the disk two at a time */
		memcpy(data + 1000, more, sizeof(more) - 5000);
		assert_content(f, ino, 0, data, sizeof(data));
		assert_int_equal(meta_sync(f->meta), 0);
	}
}

static void
a_commit_that_the_disk_refuses_is_an_error_and_can_be_tried_again(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	static uint8_t data[MIB];
	struct strike s = {.error = -EIO, .only = "flush"};

	fill(data, sizeof(data), 3);
	write_file(f, ino, 0, data, sizeof(data));
	disk_watch(strike_fn, &s);
	assert_int_equal(meta_sync(f->meta), -EIO);
	assert_int_equal(meta_health(f->meta), -EIO);
	assert_content(f, ino, 0, data, sizeof(data));
	disk_watch(NULL, NULL);
	assert_int_equal(meta_sync(f->meta), 0);
	fixture_reopen(f, false);
	assert_content(f, ino, 0, data, sizeof(data));
}

/* Segments that are not local. */

struct fetcher {
	struct bytes object;
	atomic_uint calls;
	err_t error;
};

static err_t
fetch_fn(void *ctx, const struct segment *s, uint64_t off, size_t len, struct bytes *out)
{
	struct fetcher *k = ctx;

	atomic_fetch_add(&k->calls, 1);
	usleep(20000); /* so that others find it under way */
	(void)s;
	return k->error ? k->error : bytes_append(out, k->object.data + off, len);
}

/* The file is in a store alone. */
static void
send_away(struct fixture *f, uint64_t ino, struct fetcher *k)
{
	fixture_send_away(f, ino, &k->object);
	content_set_fetch(f->c, fetch_fn, k);
}

struct reader {
	struct fixture *f;
	uint64_t ino;
};

/* NULL: it read what it should. */
static void *
read_hello(void *ctx)
{
	const struct reader *r = ctx;
	uint8_t buf[5];
	size_t n = 0;
	err_t e = content_read(r->f->c, r->ino, 0, sizeof(buf), buf, &n);

	return e || n != 5 || memcmp(buf, "hello", 5) != 0 ? ctx : NULL;
}

static void
a_segment_that_is_not_local_is_fetched_once_for_all_readers(void **state)
{
	struct fixture *f = *state;
	struct fetcher k = {0};
	uint64_t ino = new_file(f);
	struct reader r = {f, ino};
	pthread_t t[4];

	write_file(f, ino, 0, "hello", 5);
	send_away(f, ino, &k);
	for (size_t n = 0; n < ARRAY_LEN(t); n++)
		assert_int_equal(pthread_create(&t[n], NULL, read_hello, &r), 0);
	for (size_t n = 0; n < ARRAY_LEN(t); n++) {
		void *failed;

		pthread_join(t[n], &failed);
		assert_null(failed);
	}
	assert_int_equal(k.calls, 1);
	assert_content(f, ino, 0, "hello", 5);
	assert_int_equal(k.calls, 1);
	bytes_clear(&k.object);
}

static void
a_segment_that_can_not_be_fetched_is_eio_until_it_can(void **state)
{
	struct fixture *f = *state;
	struct fetcher k = {.error = -EAGAIN};
	uint64_t ino = new_file(f);
	uint8_t buf[5];
	size_t n;

	write_file(f, ino, 0, "hello", 5);
	send_away(f, ino, &k);
	assert_int_equal(content_read(f->c, ino, 0, 5, buf, &n), -EIO);
	content_set_fetch(f->c, NULL, NULL);
	assert_int_equal(content_read(f->c, ino, 0, 5, buf, &n), -EIO);
	content_set_fetch(f->c, fetch_fn, &k);
	k.error = 0;
	assert_content(f, ino, 0, "hello", 5);
	bytes_clear(&k.object);
}

/* Threads. */

#define THREAD_FILES 3
struct worker {
	struct fixture *f;
	uint64_t inos[THREAD_FILES];
	uint64_t seed;
	bool failed;
};

/* Each 4 KiB block of a file holds one repeated byte, whoever wrote it. */
static void *
work(void *ctx)
{
	struct worker *w = ctx;
	struct model m = {.seed = w->seed};
	uint8_t block[4096], buf[3 * 4096];

	for (unsigned step = 0; step < 400 && !w->failed; step++) {
		uint64_t ino = w->inos[draw(&m, THREAD_FILES)];
		uint64_t off = draw(&m, 300) * 4096;
		uint64_t what = draw(&m, 10);
		size_t n = 0;
		err_t e;

		memset(block, (int)draw(&m, 256), sizeof(block));
		if (what < 5) {
			e = content_write(w->f->c, ino, off, block, sizeof(block));
		} else if (what == 5) {
			e = content_punch(w->f->c, ino, off, 4096);
		} else if (what == 6 && step % 20 == 0) {
			e = meta_sync(w->f->meta);
		} else {
			e = content_read(w->f->c, ino, off, sizeof(buf), buf, &n);
			for (size_t k = 0; k < n; k++)
				w->failed |= buf[k] != buf[k / 4096 * 4096];
		}
		w->failed |= e != 0;
	}
	return NULL;
}

static void *
settle_all_the_time(void *ctx)
{
	struct worker *w = ctx;

	for (unsigned step = 0; step < 20; step++) {
		struct settle *s;
		uint64_t len;

		if (settle_begin(w->f->c, w->f->meta, w->f->ss, w->f->keys, &s)) {
			w->failed = true;
			return NULL;
		}
		for (size_t k = 0; k < THREAD_FILES; k++) {
			err_t e = settle_inode(s, w->inos[k]);

			w->failed |= e && e != -EAGAIN;
		}
		w->failed |= settle_finish(s, &len) != 0;
	}
	return NULL;
}

static void
threads_that_write_read_and_settle_the_same_files_never_see_a_torn_block(void **state)
{
	struct fixture *f = *state;
	struct worker w[5] = {{.f = f}};
	pthread_t t[5];

	for (size_t k = 0; k < THREAD_FILES; k++)
		w[0].inos[k] = new_file(f);
	assert_int_equal(meta_start(f->meta, 5), 0);
	for (size_t k = 0; k < ARRAY_LEN(w); k++) {
		w[k] = w[0];
		w[k].seed = k + 1;
	}
	for (size_t k = 0; k < ARRAY_LEN(w); k++) {
		assert_int_equal(pthread_create(&t[k], NULL, k ? work : settle_all_the_time, &w[k]), 0);
	}
	for (size_t k = 0; k < ARRAY_LEN(w); k++) {
		pthread_join(t[k], NULL);
		assert_false(w[k].failed);
	}
	assert_int_equal(meta_stop(f->meta), 0);
}

static void
several_files_can_be_locked_at_once_even_if_they_share_a_lock(void **state)
{
	struct fixture *f = *state;
	const uint64_t inos[] = {700, 3, 700 + 256, 3};

	content_lock_files(f->c, inos, ARRAY_LEN(inos));
	content_unlock_files(f->c, inos, ARRAY_LEN(inos));
	content_lock_file(f->c, 3, true);
	content_unlock_file(f->c, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_does_what_a_plain_array_does_across_settling_commits_and_restarts),
		TEST(the_same_holds_while_the_chain_comes_to_know_the_file),
		TEST(an_empty_write_changes_nothing_and_one_past_the_largest_size_is_efbig),
		TEST(a_file_that_is_not_there_is_enoent),
		TEST(growing_takes_no_room_and_what_was_cut_stays_gone),
		TEST(a_change_of_a_file_that_the_chain_knows_keeps_what_the_chain_says),
		TEST(bytes_that_the_chain_points_at_are_never_released),
		TEST(a_new_file_has_nothing_in_the_chain),
		TEST(the_first_write_after_a_new_epoch_is_under_a_new_key_and_old_parts_stay_readable),
		TEST(every_flipped_byte_of_a_hot_file_is_noticed_and_other_files_stay_readable),
		TEST(every_flipped_byte_of_a_packed_file_is_noticed),
		TEST(a_truncated_segment_is_eio),
		TEST(extents_that_were_swapped_between_files_or_places_are_eio),
		TEST(an_old_version_of_a_part_does_not_open_in_the_place_of_the_new_one),
		TEST(a_disk_that_fails_at_any_operation_leaves_the_file_as_it_was),
		TEST(a_commit_that_the_disk_refuses_is_an_error_and_can_be_tried_again),
		TEST(a_segment_that_is_not_local_is_fetched_once_for_all_readers),
		TEST(a_segment_that_can_not_be_fetched_is_eio_until_it_can),
		TEST(threads_that_write_read_and_settle_the_same_files_never_see_a_torn_block),
		TEST(several_files_can_be_locked_at_once_even_if_they_share_a_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
