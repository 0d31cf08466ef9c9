/* Fetching pieces of segments: what comes, what comes ahead, what is given up, and what a crash leaves. */
#include "fetcher_steps.h"

#include <unistd.h>

static void
a_read_brings_the_pieces_that_it_touches_and_no_others(void **state)
{
	struct shelf_store k;
	struct segment row;
	uint64_t ino;

	shelf_open(*state, &k);
	ino = shelf_file(&k, 10 * MIB, 1);
	shelf_evict(&k);
	assert_int_equal(shelf_here(&k, 0), 0);
	shelf_assert_file(&k, ino, 1, 5 * MIB + 100000, 5000);
	/* The extent of that MiB ends a little behind it: tags. */
	assert_true(shelf_here(&k, 0) == 1 << 5 || shelf_here(&k, 0) == 3 << 5);
	assert_true(k.requests <= 2);
	assert_int_equal(segstore_save_pieces(k.f->ss), 0);
	meta_lock(k.f->meta);
	assert_int_equal(meta_segment_get(k.f->meta, k.rows[0].id, &row), 0);
	meta_unlock(k.f->meta);
	assert_false(row.local);
	assert_true(row.present == shelf_here(&k, 0));
	shelf_clear(&k);
}

static void
a_file_that_is_read_from_end_to_end_comes_ahead_in_few_large_transfers_and_each_piece_once(void **state)
{
	struct shelf_store k;
	uint64_t ino;

	shelf_open(*state, &k);
	ino = shelf_file(&k, 40 * MIB, 2);
	assert_true(k.count >= 2);
	shelf_evict(&k);
	for (unsigned n = 0; n < 40; n++)
		shelf_assert_file(&k, ino, 2, n * MIB, MIB);
	assert_true(k.requests < 25);
	assert_true(k.at_once_most <= FETCHER_THREADS);
	for (unsigned n = 0; n < k.count; n++)
		for (unsigned p = 0; p < PIECES_MAX; p++)
			assert_true(k.per_piece[n][p] <= 1);
	shelf_clear(&k);
}

/* As the kernel reads ahead: several threads, none waiting for the other. */
static void
who_reads_on_somewhat_out_of_order_gets_as_few_transfers(void **state)
{
	static const unsigned order[] = {1, 3, 0, 2};
	struct shelf_store k;
	uint64_t ino;

	shelf_open(*state, &k);
	ino = shelf_file(&k, 64 * MIB, 2);
	shelf_evict(&k);
	for (unsigned n = 0; n < 64; n++)
		shelf_assert_file(&k, ino, 2, (n < 4 ? n : n / 4 * 4 + order[n % 4]) * MIB, MIB);
	/* At first a window grows; then there are four of 4 MiB in each segment, or two of 8 MiB, and some of what ends where it does. */
	assert_true(k.requests <= 25);
	for (unsigned n = 0; n < k.count; n++)
		for (unsigned p = 0; p < PIECES_MAX; p++)
			assert_true(k.per_piece[n][p] <= 1);
	shelf_clear(&k);
}

static void
reads_here_and_there_bring_nothing_ahead(void **state)
{
	static const unsigned places[] = {13, 2, 30, 7, 38, 20};
	struct shelf_store k;
	struct fetcher_stats stats;
	uint64_t ino;

	shelf_open(*state, &k);
	ino = shelf_file(&k, 40 * MIB, 3);
	shelf_evict(&k);
	for (unsigned n = 0; n < ARRAY_LEN(places); n++)
		shelf_assert_file(&k, ino, 3, places[n] * MIB, 1000);
	fetcher_stats(content_fetcher(k.f->c), &stats);
	assert_true(stats.bytes <= 2 * ARRAY_LEN(places) * MIB);
	shelf_clear(&k);
}

static void
small_files_that_were_settled_together_come_together(void **state)
{
	struct shelf_store k;
	struct fixture *f = *state;
	uint64_t inos[200];
	uint8_t data[2000];
	struct settle *s;
	uint64_t len;

	shelf_open(f, &k);
	assert_int_equal(settle_begin(f->c, f->meta, f->ss, f->keys, &s), 0);
	for (unsigned n = 0; n < ARRAY_LEN(inos); n++) {
		inos[n] = new_file(f);
		fill(data, sizeof(data), n);
		write_file(f, inos[n], 0, data, sizeof(data));
		assert_int_equal(settle_inode(s, inos[n]), 0);
	}
	assert_int_equal(settle_finish(s, &len), 0);

	struct extent_list l = extents_of(f, inos[0], 0);

	shelf_add(&k, l.v[0].seg);
	extent_list_clear(&l);
	shelf_evict(&k);
	for (unsigned n = 0; n < ARRAY_LEN(inos); n++)
		shelf_assert_file(&k, inos[n], n, 0, sizeof(data));
	assert_int_equal(k.requests, 1);
	shelf_clear(&k);
}

static void
readers_of_the_same_piece_share_one_request_and_all_wait_a_bounded_time(void **state)
{
	struct shelf_store k;
	struct reader readers[6];
	uint64_t ino;

	shelf_open(*state, &k);
	ino = shelf_file(&k, 4 * MIB, 4);
	shelf_evict(&k);
	fetcher_set_limit(content_fetcher(k.f->c), 200);
	k.closed = true;
	for (unsigned n = 0; n < ARRAY_LEN(readers); n++) {
		readers[n] = (struct reader){.k = &k, .ino = ino, .off = 1000 * n};
		assert_int_equal(pthread_create(&readers[n].thread, NULL, read_some, &readers[n]), 0);
	}
	for (unsigned n = 0; n < ARRAY_LEN(readers); n++) {
		pthread_join(readers[n].thread, NULL);
		assert_int_equal(readers[n].result, -EIO);
	}
	fetcher_set_limit(content_fetcher(k.f->c), FETCHER_LIMIT_MS);
	k.closed = false;
	shelf_assert_file(&k, ino, 4, 0, 4096);
	assert_int_equal(k.per_piece[0][0], 1);
	shelf_clear(&k);
}

static void
an_error_of_the_store_is_eio_for_who_reads_and_passes(void **state)
{
	struct shelf_store k;
	struct reader r = {.k = &k};

	shelf_open(*state, &k);
	r.ino = shelf_file(&k, MIB, 5);
	shelf_evict(&k);
	k.error = -EAGAIN;
	(void)read_some(&r);
	assert_int_equal(r.result, -EIO);
	k.error = 0;
	shelf_assert_file(&k, r.ino, 5, 0, MIB);
	shelf_clear(&k);
}

static void
pieces_that_were_flushed_survive_a_crash_and_others_come_again(void **state)
{
	struct fixture *f = *state;
	struct shelf_store k;
	uint64_t ino;

	shelf_open(f, &k);
	ino = shelf_file(&k, 10 * MIB, 6);
	shelf_evict(&k);
	shelf_assert_file(&k, ino, 6, 2 * MIB + 5000, 1000);
	shelf_assert_file(&k, ino, 6, 5 * MIB + 5000, 1000);

	uint64_t saved = shelf_here(&k, 0);

	assert_int_equal(segstore_save_pieces(f->ss), 0);
	assert_int_equal(meta_sync(f->meta), 0);
	shelf_assert_file(&k, ino, 6, 8 * MIB + 5000, 1000);
	assert_true(shelf_here(&k, 0) != saved);

	/* The row is written anew while some of what is here is not flushed. */
	struct segstore_leaving v = {.seg = k.rows[0].id, .mask = saved & ~(saved - 1)};

	assert_int_equal(segstore_drop_pieces(f->ss, &v, 1), 0);
	assert_true(v.done);
	saved &= saved - 1;
	content_set_fetch(f->c, NULL, NULL);
	fixture_reopen(f, false);
	content_set_fetch(f->c, shelf_read, &k);
	assert_true(shelf_here(&k, 0) == saved);
	k.requests = 0;
	shelf_assert_file(&k, ino, 6, 5 * MIB + 5000, 1000);
	assert_int_equal(k.requests, 0);
	shelf_assert_file(&k, ino, 6, 0, 10 * MIB);
	shelf_clear(&k);
}

static void
crash(struct shelf_store *k)
{
	content_set_fetch(k->f->c, NULL, NULL);
	fixture_reopen(k->f, false);
	content_set_fetch(k->f->c, shelf_read, k);
}

static uint64_t
disk_usage(struct shelf_store *k)
{
	uint64_t bytes;

	assert_int_equal(segstore_usage(k->f->ss, &bytes), 0);
	return bytes;
}

static void
pieces_that_came_just_before_a_crash_take_no_space_on_the_disk_after_it(void **state)
{
	struct shelf_store k;
	uint64_t some, none, here;

	shelf_open(*state, &k);
	some = shelf_file(&k, 10 * MIB, 21);
	none = shelf_file(&k, 6 * MIB, 22);
	shelf_evict(&k);
	shelf_assert_file(&k, some, 21, 2 * MIB + 5000, 1000);
	assert_int_equal(segstore_save_pieces(k.f->ss), 0);
	assert_int_equal(meta_sync(k.f->meta), 0);
	here = pieces_bytes(k.rows[0].size, shelf_here(&k, 0));
	shelf_assert_file(&k, some, 21, 0, 10 * MIB);
	shelf_assert_file(&k, none, 22, 0, 6 * MIB);
	crash(&k);
	assert_true(disk_usage(&k) >= 16 * MIB);
	assert_int_equal(segstore_give_back_strays(k.f->ss), 0);
	assert_true(disk_usage(&k) <= here + MIB / 2);
	assert_false(segment_exists(k.f, k.rows[1].id));
	k.requests = 0;
	shelf_assert_file(&k, some, 21, 2 * MIB + 5000, 1000);
	assert_int_equal(k.requests, 0);
	shelf_assert_file(&k, some, 21, 0, 10 * MIB);
	shelf_assert_file(&k, none, 22, 0, 6 * MIB);
	shelf_clear(&k);
}

static void
what_came_since_the_crash_or_is_in_use_stays_when_what_it_left_goes(void **state)
{
	struct shelf_store k;
	struct part *held;
	uint64_t one, two, here;

	shelf_open(*state, &k);
	one = shelf_file(&k, 10 * MIB, 23);
	two = shelf_file(&k, 10 * MIB, 24);
	shelf_evict(&k);
	assert_int_equal(meta_sync(k.f->meta), 0);
	shelf_assert_file(&k, one, 23, 0, 10 * MIB);
	shelf_assert_file(&k, two, 24, 0, 10 * MIB);
	crash(&k);
	shelf_assert_file(&k, two, 24, 5 * MIB + 5000, 1000);
	here = shelf_here(&k, 1);
	assert_int_equal(segstore_hold(k.f->ss, k.rows[0].id, &held), 0);
	assert_int_equal(segstore_give_back_strays(k.f->ss), 0);
	assert_true(segment_exists(k.f, k.rows[0].id));
	assert_true(shelf_here(&k, 1) == here);
	segstore_let_go(k.f->ss, held);
	assert_int_equal(segstore_give_back_strays(k.f->ss), 0);
	assert_false(segment_exists(k.f, k.rows[0].id));
	assert_true(disk_usage(&k) <= pieces_bytes(k.rows[1].size, here) + MIB / 2);
	k.requests = 0;
	shelf_assert_file(&k, two, 24, 5 * MIB + 5000, 1000);
	assert_int_equal(k.requests, 0);
	shelf_assert_file(&k, one, 23, 0, 10 * MIB);
	shelf_clear(&k);
}

/* A piece in the middle is read, comes from the store, and the process ends: is all that was read then right in the next run? */
static void
crash_after_one_piece_came(struct shelf_store *k, uint64_t ino, uint64_t seed)
{
	shelf_assert_file(k, ino, seed, 5 * MIB + 5000, 1000);
	content_set_fetch(k->f->c, NULL, NULL);
	fixture_reopen(k->f, false);
	content_set_fetch(k->f->c, shelf_read, k);
	shelf_assert_file(k, ino, seed, 0, 10 * MIB);
}

static void
a_segment_that_was_dropped_and_came_back_in_part_is_not_taken_for_whole_after_a_crash(void **state)
{
	struct shelf_store k;
	uint64_t ino;

	shelf_open(*state, &k);
	ino = shelf_file(&k, 10 * MIB, 17);
	assert_int_equal(meta_sync(k.f->meta), 0);
	shelf_evict(&k);
	crash_after_one_piece_came(&k, ino, 17);
	shelf_clear(&k);
}

static void
a_segment_whose_file_vanished_and_came_back_in_part_is_not_taken_for_whole_after_a_crash(void **state)
{
	struct fixture *f = *state;
	struct shelf_store k;
	char path[128];
	uint64_t ino;

	shelf_open(f, &k);
	ino = shelf_file(&k, 10 * MIB, 18);
	content_set_fetch(f->c, NULL, NULL);
	fixture_reopen(f, true);
	content_set_fetch(f->c, shelf_read, &k);
	snprintf(path, sizeof(path), "%s/segments/%016llx", f->dir, (unsigned long long)k.rows[0].id);
	assert_int_equal(unlink(path), 0);
	crash_after_one_piece_came(&k, ino, 18);
	shelf_clear(&k);
}

static bool
is_local(struct shelf_store *k, unsigned n)
{
	struct segment row;

	meta_lock(k->f->meta);
	assert_int_equal(meta_segment_get(k->f->meta, k->rows[n].id, &row), 0);
	meta_unlock(k->f->meta);
	return row.local;
}

static void
a_segment_of_which_all_pieces_came_is_whole_if_it_is_what_it_should_be(void **state)
{
	struct shelf_store k;
	uint64_t ino;

	shelf_open(*state, &k);
	ino = shelf_file(&k, 3 * MIB, 7);
	shelf_evict(&k);
	/* A byte of the padding: nothing that anybody reads. */
	k.objects[0].data[k.objects[0].len - 1] ^= 1;
	shelf_assert_file(&k, ino, 7, 0, 3 * MIB);
	assert_int_equal(fetcher_bring(content_fetcher(k.f->c), k.rows[0].id, 0, k.rows[0].size, false), 0);
	assert_int_equal(segstore_save_pieces(k.f->ss), 0);
	assert_false(is_local(&k, 0));
	shelf_assert_file(&k, ino, 7, 0, 3 * MIB);
	k.objects[0].data[k.objects[0].len - 1] ^= 1;
	shelf_evict(&k);
	assert_int_equal(fetcher_bring(content_fetcher(k.f->c), k.rows[0].id, 0, k.rows[0].size, false), 0);
	assert_int_equal(segstore_save_pieces(k.f->ss), 0);
	assert_true(is_local(&k, 0));
	shelf_clear(&k);
}

static err_t
fail_flush(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	(void)ctx, (void)fd, (void)name, (void)data, (void)off, (void)len;
	return strcmp(operation, "flush") == 0 ? -EIO : 0;
}

static void
pieces_whose_flush_failed_are_not_said_to_be_here(void **state)
{
	struct shelf_store k;
	uint64_t ino;

	shelf_open(*state, &k);
	ino = shelf_file(&k, 3 * MIB, 8);
	shelf_evict(&k);
	shelf_assert_file(&k, ino, 8, 0, 1000);
	disk_watch(fail_flush, NULL);
	assert_int_equal(segstore_save_pieces(k.f->ss), -EIO);
	disk_watch(NULL, NULL);
	assert_int_equal(shelf_here(&k, 0), 0);
	shelf_assert_file(&k, ino, 8, 0, 3 * MIB);
	shelf_clear(&k);
}

static void
pieces_that_are_given_up_go_from_the_disk_and_come_again_when_they_are_read(void **state)
{
	struct shelf_store k;
	uint64_t ino, before, after;

	shelf_open(*state, &k);
	ino = shelf_file(&k, 8 * MIB, 9);
	assert_int_equal(segstore_usage(k.f->ss, &before), 0);

	struct segstore_leaving v[] = {{.seg = k.rows[0].id, .mask = 0x3c}, {.seg = k.rows[0].id, .mask = 0x3c}};

	assert_int_equal(segstore_drop_pieces(k.f->ss, v, 2), 0);
	assert_true(v[0].done);
	assert_false(v[1].done);
	assert_int_equal(segstore_usage(k.f->ss, &after), 0);
	assert_true(after + 4 * MIB <= before);
	assert_int_equal(shelf_here(&k, 0) & 0x3c, 0);
	assert_false(is_local(&k, 0));
	shelf_assert_file(&k, ino, 9, 0, 8 * MIB);
	v[0].mask = pieces_all(k.rows[0].size);
	assert_int_equal(segstore_drop_pieces(k.f->ss, v, 1), 0);
	assert_false(segment_exists(k.f, k.rows[0].id));
	shelf_assert_file(&k, ino, 9, 0, 8 * MIB);
	shelf_clear(&k);
}

/* While the segment is read, somebody wants its room. */
struct greedy {
	struct shelf_store *k;
	bool tried;
	bool done;
};

static err_t
drop_while_read(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct greedy *g = ctx;

	(void)fd, (void)name, (void)data, (void)off, (void)len;
	if (g->tried || strcmp(operation, "pread") != 0)
		return 0;
	g->tried = true;

	struct segstore_leaving v = {.seg = g->k->rows[0].id, .mask = UINT64_MAX};
	err_t e = segstore_drop_pieces(g->k->f->ss, &v, 1);

	g->done = v.done;
	return e;
}

static void
what_is_being_read_is_not_given_up(void **state)
{
	struct shelf_store k;
	struct greedy g = {.k = &k};
	uint64_t ino;

	shelf_open(*state, &k);
	ino = shelf_file(&k, 3 * MIB, 11);
	disk_watch(drop_while_read, &g);
	shelf_assert_file(&k, ino, 11, 0, 5000);
	disk_watch(NULL, NULL);
	assert_true(g.tried);
	assert_false(g.done);
	assert_true(shelf_here(&k, 0) == pieces_all(k.rows[0].size));
	shelf_clear(&k);
}

static void
what_is_held_or_not_in_the_store_any_more_is_not_given_up(void **state)
{
	struct shelf_store k;
	struct segstore_leaving v;
	struct part *held;
	uint64_t ino;

	shelf_open(*state, &k);
	ino = shelf_file(&k, 3 * MIB, 14);
	v = (struct segstore_leaving){.seg = k.rows[0].id, .mask = UINT64_MAX};
	assert_int_equal(segstore_hold(k.f->ss, v.seg, &held), 0);
	assert_int_equal(segstore_drop_pieces(k.f->ss, &v, 1), 0);
	assert_false(v.done);
	/* A commit drops it, and what is pending here needs it. */
	meta_lock(k.f->meta);
	k.rows[0].in_store = false;
	assert_int_equal(meta_segment_put(k.f->meta, &k.rows[0]), 0);
	meta_unlock(k.f->meta);
	segstore_let_go(k.f->ss, held);
	v.mask = UINT64_MAX;
	assert_int_equal(segstore_drop_pieces(k.f->ss, &v, 1), 0);
	assert_false(v.done);
	content_set_fetch(k.f->c, NULL, NULL);
	shelf_assert_file(&k, ino, 14, 0, 3 * MIB);
	assert_int_equal(segstore_hold(k.f->ss, 999, &held), -ENODATA);
	shelf_clear(&k);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_read_brings_the_pieces_that_it_touches_and_no_others),
		TEST(a_file_that_is_read_from_end_to_end_comes_ahead_in_few_large_transfers_and_each_piece_once),
		TEST(who_reads_on_somewhat_out_of_order_gets_as_few_transfers),
		TEST(reads_here_and_there_bring_nothing_ahead),
		TEST(small_files_that_were_settled_together_come_together),
		TEST(readers_of_the_same_piece_share_one_request_and_all_wait_a_bounded_time),
		TEST(an_error_of_the_store_is_eio_for_who_reads_and_passes),
		TEST(pieces_that_were_flushed_survive_a_crash_and_others_come_again),
		TEST(pieces_that_came_just_before_a_crash_take_no_space_on_the_disk_after_it),
		TEST(what_came_since_the_crash_or_is_in_use_stays_when_what_it_left_goes),
		TEST(a_segment_that_was_dropped_and_came_back_in_part_is_not_taken_for_whole_after_a_crash),
		TEST(a_segment_whose_file_vanished_and_came_back_in_part_is_not_taken_for_whole_after_a_crash),
		TEST(a_segment_of_which_all_pieces_came_is_whole_if_it_is_what_it_should_be),
		TEST(pieces_whose_flush_failed_are_not_said_to_be_here),
		TEST(pieces_that_are_given_up_go_from_the_disk_and_come_again_when_they_are_read),
		TEST(what_is_being_read_is_not_given_up),
		TEST(what_is_held_or_not_in_the_store_any_more_is_not_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
