/* tidy among others: writes meanwhile, interruptions, failing disks, damage and crashes cost nothing but its own work. */
#include "tidy_fixture.h"

#include "../../await.h"

/* A power cut between any two passes: nothing that was durable may be gone. */
static void
a_crash_while_tidying_loses_nothing(void **state)
{
	struct fixture *f = *state;
	const unsigned cuts[] = {1, 5, 100, 900};
	static uint64_t inos[SMALL_COUNT];
	uint8_t *data = noise(16384, 1);

	(void)make_and_remove_small_files(f, inos, data);
	assert_int_equal(meta_sync(f->meta), 0);
	for (unsigned k = 0; k < ARRAY_LEN(cuts); k++) {
		const struct tidy_place p = place_of(f);
		uint64_t moved;
		bool done;

		assert_int_equal(tidy_pass(&p, UINT64_MAX, NULL, NULL, &moved, &done), 0);
		for (unsigned n = 0; n < cuts[k]; n++) {
			if (inos[n])
				write_file(f, inos[n], 0, data, 10);
		}
		fixture_reopen(f, false);
		assert_small_files(f, inos, data);
	}
	free(data);
}

/* Meanwhile. */

struct writer {
	struct fixture *f;
	uint64_t ino;
	uint8_t *data;
	size_t len;
	unsigned left;
	bool crash;
	uint64_t peak;
};

static err_t
write_between_chunks(void *ctx)
{
	struct writer *w = ctx;

	if (w->left == 0)
		return 0;
	w->left--;
	overwrite(w->f, w->ino, w->data, w->len, 3);
	return 0;
}

static void
writes_while_it_works_are_not_lost(void **state)
{
	enum { LEN = 8 * MIB };
	struct fixture *f = *state;
	struct writer w = {.f = f, .ino = new_file(f), .data = noise(LEN, 1), .len = LEN, .left = 12};

	srandom(2);
	write_in_pieces(f, w.ino, w.data, LEN);
	overwrite(f, w.ino, w.data, LEN, 400);
	tidy_all(f, write_between_chunks, &w);
	assert_int_equal(w.left, 0);
	assert_content(f, w.ino, 0, w.data, LEN);
	assert_true(usage(f) < LEN + LEN / 50);
	fixture_reopen(f, true);
	assert_content(f, w.ino, 0, w.data, LEN);
	tidy_all(f, NULL, NULL);
	assert_content(f, w.ino, 0, w.data, LEN);
	free(w.data);
}

static err_t
note_peak(void *ctx)
{
	struct writer *w = ctx;
	uint64_t now;

	assert_int_equal(segstore_usage(w->f->ss, &now), 0);
	w->peak = now > w->peak ? now : w->peak;
	return 0;
}

static void
a_large_file_of_random_writes_is_put_in_order_with_little_room_to_spare(void **state)
{
	enum { LEN = 160 * MIB };
	struct fixture *f = *state;
	struct writer w = {.f = f, .ino = new_file(f), .data = noise(LEN, 1), .len = LEN};

	srandom(3);
	for (size_t n = 0, at = 0; n < LEN / 4096; n++, at = (at + 7919) % (LEN / 4096))
		write_file(f, w.ino, at * 4096, w.data + at * 4096, 4096);

	uint64_t before = usage(f);

	tidy_all(f, note_peak, &w);
	/* One segment at a time, and what shares its blocks with neighbours that are still there. */
	assert_true(w.peak < before + SEGSTORE_HOT_LEN + before / 4);
	assert_true(usage(f) < LEN + LEN / 100);
	for (uint64_t no = 0; no < LEN / MIB; no++) {
		struct extent_list l = extents_of(f, w.ino, no);

		assert_int_equal(l.count, 1);
		extent_list_clear(&l);
	}
	assert_content(f, w.ino, 0, w.data, LEN);
	free(w.data);
}

static err_t
stop_after_some(void *ctx)
{
	struct writer *w = ctx;

	return w->left-- == 0 ? -ECANCELED : 0;
}

static void
a_pass_that_is_interrupted_keeps_what_it_did_and_the_next_goes_on(void **state)
{
	enum { LEN = 8 * MIB };
	struct fixture *f = *state;
	struct writer w = {.f = f, .ino = new_file(f), .data = noise(LEN, 1), .len = LEN, .left = 3};
	const struct tidy_place p = place_of(f);
	struct extent_list l;
	uint64_t moved;
	bool done;

	srandom(4);
	write_in_pieces(f, w.ino, w.data, LEN);
	overwrite(f, w.ino, w.data, LEN, 400);
	assert_int_equal(tidy_pass(&p, UINT64_MAX, stop_after_some, &w, &moved, &done), -ECANCELED);
	l = extents_of(f, w.ino, 0);
	assert_int_equal(l.count, 1);
	extent_list_clear(&l);
	l = extents_of(f, w.ino, 7);
	assert_true(l.count > 1);
	extent_list_clear(&l);
	assert_content(f, w.ino, 0, w.data, LEN);
	tidy_all(f, NULL, NULL);
	assert_content(f, w.ino, 0, w.data, LEN);
	assert_true(usage(f) < LEN + LEN / 100);
	free(w.data);
}

struct mover {
	struct fixture *f;
	uint64_t from;
	uint64_t to;
};

/* As a merge does it with a file that was changed on two devices. */
static err_t
move_content(void *ctx)
{
	struct mover *m = ctx;
	struct inode *from, *to;
	struct chunk *a, *b;

	if (!m->from)
		return 0;
	meta_lock(m->f->meta);
	assert_int_equal(meta_inode_get(m->f->meta, m->from, &from), 0);
	assert_int_equal(meta_inode_get(m->f->meta, m->to, &to), 0);
	assert_int_equal(meta_chunk_get(m->f->meta, from, 0, false, &a), 0);
	assert_int_equal(meta_chunk_get(m->f->meta, to, 0, true, &b), 0);
	meta_segment_note_move(m->f->meta);
	assert_int_equal(meta_segment_widen(m->f->meta, a->current.v[0].seg, m->to), 0);
	b->current = a->current;
	b->pending = true;
	to->size = from->size;
	to->origin = from->origin;
	to->keys = from->keys;
	to->key_count = from->key_count;
	a->current = (struct extent_list){0};
	from->keys = NULL;
	from->key_count = 0;
	from->size = 0;
	meta_chunk_dirty(m->f->meta, from, a);
	meta_chunk_dirty(m->f->meta, to, b);
	meta_inode_dirty(m->f->meta, from);
	meta_inode_dirty(m->f->meta, to);
	meta_unlock(m->f->meta);
	m->from = 0;
	return 0;
}

static void
content_that_is_moved_behind_its_back_is_not_lost(void **state)
{
	struct fixture *f = *state;
	uint64_t to = new_file(f), first = new_file(f), from = new_file(f);
	struct mover m = {f, from, to};
	uint8_t data[6000];

	fill(data, sizeof(data), 1);
	for (unsigned k = 0; k < 40; k++) /* sparse */
		write_file(f, first, 0, data, sizeof(data));
	write_file(f, from, 0, data, sizeof(data));
	fixture_reopen(f, true);
	m.f = f;
	/* `to` has been passed by when `first` is worked on. */
	(void)tidy_all(f, move_content, &m);
	assert_int_equal(m.from, 0);
	assert_content(f, to, 0, data, sizeof(data));
	tidy_all(f, NULL, NULL);
	fixture_reopen(f, true);
	assert_content(f, to, 0, data, sizeof(data));
	assert_content(f, first, 0, data, sizeof(data));
}

/* Failing. */

struct strike {
	unsigned after;
	unsigned seen;
};

static err_t
strike_fn(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct strike *k = ctx;

	(void)operation, (void)fd, (void)name, (void)data, (void)off, (void)len;
	return k->seen++ >= k->after ? -ENOSPC : 0;
}

static void
a_disk_that_fails_at_any_operation_leaves_all_files_readable(void **state)
{
	struct fixture *f = *state;
	static uint64_t inos[SMALL_COUNT];
	uint8_t *data = noise(16384, 1);
	unsigned failures = 0;

	(void)make_and_remove_small_files(f, inos, data);
	fixture_reopen(f, true);
	for (unsigned after = 0;; after++) {
		const struct tidy_place p = place_of(f);
		struct strike k = {.after = after};
		uint64_t moved;
		bool done;

		disk_watch(strike_fn, &k);

		err_t e = tidy_pass(&p, UINT64_MAX, NULL, NULL, &moved, &done);

		disk_watch(NULL, NULL);
		if (after % 8 == 0 || !e)
			assert_small_files(f, inos, data);
		if (!e && k.seen <= after)
			break;
		failures += e != 0;
	}
	assert_true(failures >= 4);
	fixture_reopen(f, true);
	assert_small_files(f, inos, data);
	free(data);
}

static void
what_is_damaged_stays_where_it_is_and_the_rest_is_packed(void **state)
{
	struct fixture *f = *state;
	uint64_t bad = new_file(f), good = new_file(f);
	uint8_t junk[64] = {0};
	char text[20000], path[128];

	memset(text, 'x', sizeof(text));
	write_file(f, bad, 0, text, sizeof(text));
	write_file(f, good, 0, text, sizeof(text));

	struct extent_list l = extents_of(f, bad, 0);

	segment_path(f, l.v[0].seg, path);

	FILE *file = fopen(path, "r+");

	assert_non_null(file);
	assert_int_equal(fseek(file, (long)l.v[0].seg_off + 5000, SEEK_SET), 0);
	assert_int_equal(fwrite(junk, sizeof(junk), 1, file), 1);
	fclose(file);
	tidy_all(f, NULL, NULL);

	struct extent_list after = extents_of(f, bad, 0);

	assert_true(extent_list_equal(&l, &after));
	assert_content(f, good, 0, text, sizeof(text));
	assert_content(f, bad, 12288, text, 4096);
	extent_list_clear(&l);
	extent_list_clear(&after);
	l = extents_of(f, good, 0);
	assert_int_equal(l.v[0].x_encoding, FRAME_ZSTD);
	extent_list_clear(&l);
}

static void
the_store_gets_what_was_tidied_as_if_it_had_not_been(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	char text[50000];

	memset(text, 'x', sizeof(text));
	write_file(f, ino, 0, text, sizeof(text));
	tidy_all(f, NULL, NULL);
	assert_int_equal(settle_one(f, ino), 0);

	struct extent_list l = extents_of(f, ino, 0);
	struct segment row;

	meta_lock(f->meta);
	assert_int_equal(meta_segment_get(f->meta, l.v[0].seg, &row), 0);
	meta_unlock(f->meta);
	assert_int_equal(row.kind, SEGMENT_SETTLED);
	extent_list_clear(&l);
	assert_content(f, ino, 0, text, sizeof(text));
	tidy_all(f, NULL, NULL);
	(void)usage(f);
	assert_int_equal(segment_files(f), 1);
}

static void
the_thread_puts_in_order_what_there_is_before_it_ends(void **state)
{
	struct fixture *f = *state;
	const struct tidy_place p = place_of(f);
	uint64_t ino = new_file(f);
	char text[50000];
	struct tidy *t;

	memset(text, 'x', sizeof(text));
	assert_int_equal(tidy_start(&p, 1000000, &t), 0);
	write_file(f, ino, 0, text, sizeof(text));
	tidy_stop(t, 1000000);

	struct extent_list l = extents_of(f, ino, 0);

	assert_int_equal(l.v[0].x_encoding, FRAME_ZSTD);
	extent_list_clear(&l);
	assert_content(f, ino, 0, text, sizeof(text));
}

static uint8_t
encoding_of(struct fixture *f, uint64_t ino)
{
	struct extent_list l = extents_of(f, ino, 0);
	uint8_t encoding = l.v[0].x_encoding;

	extent_list_clear(&l);
	return encoding;
}

static void
the_thread_works_after_some_quiet_of_its_own_accord(void **state)
{
	struct fixture *f = *state;
	const struct tidy_place p = place_of(f);
	uint64_t ino = new_file(f);
	char text[50000];
	struct tidy *t;

	memset(text, 'x', sizeof(text));
	write_file(f, ino, 0, text, sizeof(text));
	assert_int_equal(tidy_start(&p, 10, &t), 0);
	AWAIT(encoding_of(f, ino) == FRAME_ZSTD);
	tidy_stop(t, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_crash_while_tidying_loses_nothing),
		TEST(writes_while_it_works_are_not_lost),
		TEST(a_large_file_of_random_writes_is_put_in_order_with_little_room_to_spare),
		TEST(a_pass_that_is_interrupted_keeps_what_it_did_and_the_next_goes_on),
		TEST(content_that_is_moved_behind_its_back_is_not_lost),
		TEST(a_disk_that_fails_at_any_operation_leaves_all_files_readable),
		TEST(what_is_damaged_stays_where_it_is_and_the_rest_is_packed),
		TEST(the_store_gets_what_was_tidied_as_if_it_had_not_been),
		TEST(the_thread_puts_in_order_what_there_is_before_it_ends),
		TEST(the_thread_works_after_some_quiet_of_its_own_accord),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
