/* Room ahead of what is appended: when it is made, that nobody takes it for anything, and when it goes. */
#include "ahead_steps.h"

#include <pthread.h>

#include "tidy.h"

static void
long_pieces_in_a_row_have_as_much_room_ahead_as_they_are(void **state)
{
	struct fixture *f = *state;
	struct written w = {.count = 0};

	for (unsigned k = 0; k < 100; k++) {
		write_pieces(f, &w, 1);
		assert_true(segstore_ahead_len(f->ss) <= w.count * MIB);
		if (k == 5 || k == 30 || k == 70)
			assert_room(f, &w);
	}
	assert_written(f, &w);
}

static void
it_is_made_seldom(void **state)
{
	struct fixture *f = *state;
	struct counter made = {.name = "allocate"};
	struct written w = {.count = 0};

	disk_watch(counter_fn, &made);
	write_pieces(f, &w, 100);
	disk_watch(NULL, NULL);
	assert_true(made.count > 0 && made.count <= 8);
}

static void
it_is_made_seldom_on_a_disk_with_little_room_too(void **state)
{
	struct counter made = {.name = "allocate"};
	struct written w = {.count = 0};

	free_len = UINT64_C(1) << 30; /* 16 MiB at a time */
	disk_watch(counter_fn, &made);
	write_pieces(*state, &w, 100);
	disk_watch(NULL, NULL);
	assert_in_range(made.count, 6, 16);
}

static void
a_few_long_pieces_and_many_short_ones_have_none(void **state)
{
	struct fixture *f = *state;
	struct counter made = {.name = "allocate"};
	struct written w = {.count = 0};
	uint64_t seg, off;
	uint8_t data[5000];

	fill(data, sizeof(data), 1);
	disk_watch(counter_fn, &made);
	write_pieces(f, &w, 3);
	for (unsigned k = 0; k < 2000; k++) {
		append(f, data, sizeof(data), &seg, &off);
		if (k % 500 == 0)
			write_pieces(f, &w, 1);
	}
	disk_watch(NULL, NULL);
	assert_int_equal(made.count, 0);
	assert_int_equal(segstore_ahead_len(f->ss), 0);
}

static void
on_a_disk_with_little_room_or_of_another_kind_there_is_none(void **state)
{
	static const struct {
		uint64_t free_len;
		long type;
		bool wanted;
	} cases[] = {{255 * MIB, EXT4_SUPER_MAGIC, false}, {UINT64_C(9) << 30, BTRFS_SUPER_MAGIC, false},
	    {UINT64_C(9) << 30, NFS_SUPER_MAGIC, false}, {320 * MIB, EXT4_SUPER_MAGIC, true}};
	struct fixture *f = *state;
	struct written w = {.count = 0};

	for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
		free_len = cases[k].free_len;
		fs_type = cases[k].type;
		for (unsigned n = 0; n < 12; n++) {
			write_pieces(f, &w, 1);
			assert_true(segstore_ahead_len(f->ss) <= free_len / 64);
		}
		assert_int_equal(segstore_ahead_len(f->ss) > 0, cases[k].wanted);
	}
	assert_written(f, &w);
}

static void
it_goes_when_the_segment_is_full_and_committed(void **state)
{
	struct fixture *f = *state;
	struct written w = {.count = 0};
	uint64_t seg = fill_a_segment(f, &w);

	assert_int_equal(segstore_ahead_len(f->ss), MIB / 2);
	write_pieces(f, &w, 1);
	assert_true(w.at[63].seg != seg);
	assert_int_equal(stat_of(f, seg).st_size, SEGSTORE_HOT_LEN);
	commit(f);
	assert_int_equal(stat_of(f, seg).st_size, end_of(&w, seg));
	assert_written(f, &w);
}

static void
it_goes_when_the_vault_is_closed(void **state)
{
	struct fixture *f = *state;
	struct written w = {.count = 0};

	write_pieces(f, &w, 10);
	assert_room(f, &w);
	commit(f);
	fixture_reopen(f, true);
	assert_no_room(f, &w);
	assert_written(f, &w);
}

/* As kill -9 does, or a power cut. */
static void
what_a_crash_has_left_of_it_goes_in_the_next_run(void **state)
{
	struct counter cuts = {.name = "truncate", .error = -EIO};
	struct fixture *f = *state;
	struct written w = {.count = 0};
	struct hot_segment *v;
	uint8_t data[5000];
	uint64_t seg, off;
	size_t count;

	fill(data, sizeof(data), 1);
	write_pieces(f, &w, 10);
	append(f, data, sizeof(data), &seg, &off);
	assert_int_equal(seg, w.at[0].seg);
	commit(f);
	disk_watch(counter_fn, &cuts);
	fixture_reopen(f, true);
	disk_watch(NULL, NULL);
	assert_int_equal(cuts.count, 1);
	assert_true(stat_of(f, seg).st_size > (off_t)(off + 2 * MIB));
	for (unsigned k = 0; k < 2; k++) {
		assert_int_equal(segstore_list_hot(f->ss, &v, &count), 0);
		assert_int_equal(count, 1);
		assert_true(v[0].allocated <= off + sizeof(data) + 64 * KIB);
		hot_segments_free(v, count);
		assert_int_equal(stat_of(f, seg).st_size, (off + sizeof(data) + BLOCK - 1) / BLOCK * BLOCK);
	}
	assert_written(f, &w);
	assert_stored(f, seg, off, data, sizeof(data));
}

/* Some take for a hole what was written. */
static void
on_a_disk_of_another_kind_nothing_is_cut_in_the_next_run(void **state)
{
	struct counter cuts = {.name = "truncate", .error = -EIO};
	struct fixture *f = *state;
	struct written w = {.count = 0};
	struct hot_segment *v;
	size_t count;

	write_pieces(f, &w, 10);
	commit(f);
	disk_watch(counter_fn, &cuts);
	fixture_reopen(f, true);
	fs_type = 0x2fc12fc1; /* ZFS */
	assert_int_equal(segstore_list_hot(f->ss, &v, &count), 0);
	disk_watch(NULL, NULL);
	hot_segments_free(v, count);
	assert_int_equal(cuts.count, 1);
	assert_written(f, &w);
}

static void
tidying_does_not_take_it_for_waste_and_gives_it_back(void **state)
{
	struct fixture *f = *state;
	const struct tidy_place p = {f->c, f->meta, f->ss, f->keys};
	uint64_t ino = new_file(f), moved = 0, bytes;
	struct counter made = {.name = "allocate"};
	uint8_t *data = new_piece(1);
	bool done = false;

	disk_watch(counter_fn, &made);
	for (unsigned k = 0; k < 10; k++)
		write_file(f, ino, k * (uint64_t)MIB, data, MIB);
	disk_watch(NULL, NULL);
	assert_true(made.count > 0);
	assert_int_equal(meta_sync(f->meta), 0);
	for (unsigned k = 0; k < 20 && !done; k++) {
		uint64_t n;

		assert_int_equal(tidy_pass(&p, UINT64_MAX, NULL, NULL, &n, &done), 0);
		moved += n;
	}
	assert_true(done);
	assert_int_equal(moved, 0);
	assert_int_equal(segstore_ahead_len(f->ss), 0);
	assert_int_equal(segstore_usage(f->ss, &bytes), 0);
	assert_true(bytes <= 10 * MIB + 10 * MIB / 50);
	free(data);
}

static void
tidying_gives_it_back_where_all_else_was_removed(void **state)
{
	struct fixture *f = *state;
	const struct tidy_place p = {f->c, f->meta, f->ss, f->keys};
	struct written w = {.count = 0};
	uint64_t moved, bytes;
	bool done = false;

	write_pieces(f, &w, 10);
	commit(f);
	meta_lock(f->meta);
	for (size_t k = 0; k < w.count; k++)
		assert_int_equal(meta_release(f->meta, w.at[k].seg, w.at[k].off, MIB), 0);
	meta_unlock(f->meta);
	commit(f);
	assert_true(segstore_ahead_len(f->ss) > 0);
	for (unsigned k = 0; k < 20 && !done; k++)
		assert_int_equal(tidy_pass(&p, UINT64_MAX, NULL, NULL, &moved, &done), 0);
	assert_int_equal(segstore_ahead_len(f->ss), 0);
	assert_int_equal(segstore_usage(f->ss, &bytes), 0);
	assert_true(bytes <= 64 * KIB);
}

/* Several at once, while segments end and room is given back. */
struct crowd {
	struct fixture *f;
	struct written w;
	pthread_t thread;
	err_t result;
};

static void *
write_many(void *arg)
{
	struct crowd *c = arg;

	for (unsigned k = 0; k < 40 && !c->result; k++)
		c->result = try_write(c->f, &c->w);
	return NULL;
}

static void
several_write_while_it_is_made_and_given_back(void **state)
{
	struct fixture *f = *state;
	struct crowd c[4];

	for (unsigned k = 0; k < ARRAY_LEN(c); k++) {
		c[k] = (struct crowd){.f = f};
		assert_int_equal(pthread_create(&c[k].thread, NULL, write_many, &c[k]), 0);
	}
	for (unsigned k = 0; k < 20; k++) {
		commit(f);
		if (k % 3 == 0)
			segstore_roll(f->ss);
	}
	for (unsigned k = 0; k < ARRAY_LEN(c); k++) {
		assert_int_equal(pthread_join(c[k].thread, NULL), 0);
		assert_int_equal(c[k].result, 0);
	}
	segstore_roll(f->ss);
	commit(f);
	assert_int_equal(segstore_ahead_len(f->ss), 0);
	fixture_reopen(f, true);
	for (unsigned k = 0; k < ARRAY_LEN(c); k++)
		assert_written(f, &c[k].w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(long_pieces_in_a_row_have_as_much_room_ahead_as_they_are),
		TEST(it_is_made_seldom),
		TEST(it_is_made_seldom_on_a_disk_with_little_room_too),
		TEST(a_few_long_pieces_and_many_short_ones_have_none),
		TEST(on_a_disk_with_little_room_or_of_another_kind_there_is_none),
		TEST(it_goes_when_the_segment_is_full_and_committed),
		TEST(it_goes_when_the_vault_is_closed),
		TEST(what_a_crash_has_left_of_it_goes_in_the_next_run),
		TEST(on_a_disk_of_another_kind_nothing_is_cut_in_the_next_run),
		TEST(tidying_does_not_take_it_for_waste_and_gives_it_back),
		TEST(tidying_gives_it_back_where_all_else_was_removed),
		TEST(several_write_while_it_is_made_and_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
