/* Contents of files: they do what plain arrays do, under the right keys, whoever else is at work. */
#include "fixture.h"

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
		TEST(a_segment_that_is_not_local_is_fetched_once_for_all_readers),
		TEST(a_segment_that_can_not_be_fetched_is_eio_until_it_can),
		TEST(threads_that_write_read_and_settle_the_same_files_never_see_a_torn_block),
		TEST(several_files_can_be_locked_at_once_even_if_they_share_a_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
