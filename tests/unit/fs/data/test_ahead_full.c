/* Room ahead of what is appended, where the disk has none: it goes before anything is refused. */
#include "ahead_steps.h"

#include <pthread.h>

/* A disk on which there is no room for something unless that which is ahead is given back. */
struct full_disk {
	const char *operation;
	err_t error;
	unsigned refused;
	bool cut;
};

static err_t
full_fn(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct full_disk *d = ctx;

	(void)fd, (void)name, (void)data, (void)off, (void)len;
	d->cut |= strcmp(operation, "truncate") == 0;
	if (d->cut || strcmp(operation, d->operation) != 0)
		return 0;
	d->refused++;
	return d->error;
}

static void
on_a_full_disk_a_write_has_what_was_made_ahead(void **state)
{
	static const err_t errors[] = {-ENOSPC, -EDQUOT};
	struct fixture *f = *state;
	struct written w = {.count = 0};
	uint8_t data[5000];
	uint64_t seg, off;

	fill(data, sizeof(data), 1);
	for (size_t k = 0; k < ARRAY_LEN(errors); k++) {
		struct full_disk d = {.operation = "pwrite", .error = errors[k]};

		write_pieces(f, &w, 8);
		assert_true(segstore_ahead_len(f->ss) > 0);
		disk_watch(full_fn, &d);
		write_pieces(f, &w, 1);
		assert_int_equal(d.refused, 1);
		disk_watch(NULL, NULL);
		write_pieces(f, &w, 8);
		assert_true(segstore_ahead_len(f->ss) > 0);
		d = (struct full_disk){.operation = "pwrite", .error = errors[k]};
		disk_watch(full_fn, &d);
		append(f, data, sizeof(data), &seg, &off);
		disk_watch(NULL, NULL);
		assert_int_equal(d.refused, 1);
		assert_int_equal(segstore_ahead_len(f->ss), 0);
		assert_stored(f, seg, off, data, sizeof(data));
	}
	assert_written(f, &w);
}

static void
on_a_full_disk_the_next_segment_can_be_begun_with_it(void **state)
{
	struct full_disk d = {.operation = "create", .error = -ENOSPC};
	struct fixture *f = *state;
	struct written w = {.count = 0};
	uint64_t seg = fill_a_segment(f, &w);

	assert_true(segstore_ahead_len(f->ss) > 0);
	disk_watch(full_fn, &d);
	write_pieces(f, &w, 1);
	disk_watch(NULL, NULL);
	assert_int_equal(d.refused, 1);
	assert_true(w.at[63].seg != seg);
	assert_written(f, &w);
}

static void
on_a_full_disk_a_commit_has_what_was_made_ahead(void **state)
{
	struct full_disk d = {.operation = "flush", .error = -ENOSPC};
	struct fixture *f = *state;
	struct written w = {.count = 0};

	write_pieces(f, &w, 8);
	assert_true(segstore_ahead_len(f->ss) > 0);
	make_dirty(f);
	disk_watch(full_fn, &d);
	assert_int_equal(meta_sync(f->meta), 0);
	disk_watch(NULL, NULL);
	assert_int_equal(d.refused, 1);
	assert_no_room(f, &w);
	assert_written(f, &w);
}

static void
what_a_crash_has_left_of_it_can_go_before_anything_is_opened(void **state)
{
	struct counter cuts = {.name = "truncate", .error = -EIO};
	struct fixture *f = *state;
	struct written w = {.count = 0};
	struct stat was, is;
	char path[128];

	snprintf(path, sizeof(path), "%s/segments", f->dir);
	write_pieces(f, &w, 10);
	commit(f);
	disk_watch(counter_fn, &cuts);
	fixture_close(f, true);
	disk_watch(NULL, NULL);
	was = stat_of(f, w.at[0].seg);
	assert_true(segstore_give_back_left(path));
	is = stat_of(f, w.at[0].seg);
	assert_int_equal(is.st_size, was.st_size);
	assert_true((uint64_t)is.st_blocks * 512 <= 10 * MIB + 64 * KIB);
	assert_false(segstore_give_back_left(path));
	fixture_open(f, false);
	assert_written(f, &w);
}

/* Makes half of the room, and then says so. */
struct refusing {
	err_t error;
	unsigned asked;
};

static err_t
refuse_fn(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct refusing *r = ctx;

	(void)name, (void)data;
	if (strcmp(operation, "allocate") != 0)
		return 0;
	r->asked++;
	if (r->error == -ENOSPC || r->error == -EDQUOT)
		assert_int_equal(fallocate(fd, 0, (off_t)off, (off_t)(len / 2)), 0);
	return r->error;
}

static void
where_none_can_be_had_writes_go_on_without_and_half_of_it_goes(void **state)
{
	static const err_t errors[] = {-EOPNOTSUPP, -ENOSPC, -EDQUOT, -EFBIG, -EIO};
	struct fixture *f = *state;

	for (size_t k = 0; k < ARRAY_LEN(errors); k++) {
		struct refusing r = {.error = errors[k]};
		struct written w = {.count = 0};

		disk_watch(refuse_fn, &r);
		while (!r.asked)
			write_pieces(f, &w, 1);
		assert_int_equal(segstore_ahead_len(f->ss), 0);
		assert_no_room(f, &w);
		write_pieces(f, &w, 15);
		disk_watch(NULL, NULL);
		assert_int_equal(r.asked, 1);
		assert_no_room(f, &w);
		assert_written(f, &w);
		commit(f);
		fixture_reopen(f, true);
		assert_written(f, &w);
	}
}

/* The first write of each is refused when both are there. */
struct meeting {
	pthread_barrier_t both;
	_Atomic unsigned refused;
};

static _Thread_local bool was_refused;

static err_t
refuse_both_fn(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct meeting *m = ctx;

	(void)fd, (void)name, (void)data, (void)off, (void)len;
	if (strcmp(operation, "pwrite") != 0 || was_refused)
		return 0;
	was_refused = true;
	(void)pthread_barrier_wait(&m->both);
	m->refused++;
	return -ENOSPC;
}

struct writer {
	struct fixture *f;
	struct written w;
	err_t result;
};

static void *
write_one(void *arg)
{
	struct writer *w = arg;

	w->result = try_write(w->f, &w->w);
	return NULL;
}

static void
what_is_given_back_for_one_is_there_for_others_that_were_refused(void **state)
{
	struct meeting m = {.refused = 0};
	struct written w = {.count = 0};
	struct writer both[2] = {0};
	pthread_t threads[2];

	assert_int_equal(pthread_barrier_init(&m.both, NULL, 2), 0);
	write_pieces(*state, &w, 8);
	assert_true(segstore_ahead_len(((struct fixture *)*state)->ss) > 0);
	disk_watch(refuse_both_fn, &m);
	for (size_t k = 0; k < 2; k++) {
		both[k].f = *state;
		assert_int_equal(pthread_create(&threads[k], NULL, write_one, &both[k]), 0);
	}
	for (size_t k = 0; k < 2; k++)
		assert_int_equal(pthread_join(threads[k], NULL), 0);
	disk_watch(NULL, NULL);
	assert_int_equal(m.refused, 2);
	for (size_t k = 0; k < 2; k++) {
		assert_int_equal(both[k].result, 0);
		assert_written(*state, &both[k].w);
	}
	pthread_barrier_destroy(&m.both);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(on_a_full_disk_a_write_has_what_was_made_ahead),
		TEST(on_a_full_disk_the_next_segment_can_be_begun_with_it),
		TEST(on_a_full_disk_a_commit_has_what_was_made_ahead),
		TEST(what_is_given_back_for_one_is_there_for_others_that_were_refused),
		TEST(what_a_crash_has_left_of_it_can_go_before_anything_is_opened),
		TEST(where_none_can_be_had_writes_go_on_without_and_half_of_it_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
