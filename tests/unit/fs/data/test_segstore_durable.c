/* Segments in a power cut: what was committed is there, whenever it is cut and whoever appends meanwhile. */
#include "segstore_steps.h"

#include <fcntl.h>
#include <pthread.h>

#include "../../await.h"

/* What a power cut leaves: the database, and of the segment files the names alone: none of their bytes was flushed. */
static void
cut_power(struct fixture *f)
{
	run_command("cp -r '%s' '%s.copy'", f->dir, f->dir);
	fixture_close(f, false);
	run_command("rm -r '%s' && mv '%s.copy' '%s' && truncate -s 0 '%s'/segments/*", f->dir, f->dir, f->dir, f->dir);
	fixture_open(f, false);
}

/* Durability. */

static void
small_appends_ride_in_the_journal_and_survive_a_power_cut_with_one_flush_for_each_commit(void **state)
{
	struct fixture *f = *state;
	struct counter flushes = {.name = "flush"};
	uint64_t seg[20], off[20];
	uint8_t data[5000];

	commit_to_journal(f);
	disk_watch(counter_fn, &flushes);
	for (unsigned k = 0; k < 20; k++) {
		fill(data, sizeof(data), k);
		append(f, data, sizeof(data), &seg[k], &off[k]);
		if (k % 3 == 0)
			commit_to_journal(f);
	}
	commit_to_journal(f);
	disk_watch(NULL, NULL);
	assert_int_equal(flushes.count, 8);
	cut_power(f);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned k = 0; k < 20; k++) {
			fill(data, sizeof(data), k);
			assert_stored(f, seg[k], off[k], data, sizeof(data));
		}
		fixture_reopen(f, false); /* now without the journal: they were written back for good */
	}
}

static void
more_than_the_limit_is_flushed_and_what_follows_rides_again(void **state)
{
	static const uint32_t lens[] = {SEGSTORE_REDO_MAX / 2, SEGSTORE_REDO_MAX + 1, 100};
	static const unsigned wanted[] = {1, 2, 1};
	struct fixture *f = *state;
	uint8_t *data = calloc(1, SEGSTORE_REDO_MAX + 1);
	uint64_t seg, off;

	assert_non_null(data);
	commit_to_journal(f);
	for (unsigned k = 0; k < 8; k++) { /* more than the first journal has room for: it gets longer */
		append(f, data, SEGSTORE_REDO_MAX / 2, &seg, &off);
		commit_to_journal(f);
	}
	commit(f);
	for (unsigned k = 0; k < ARRAY_LEN(lens); k++) {
		struct counter flushes = {.name = "flush"};

		append(f, data, lens[k], &seg, &off);
		disk_watch(counter_fn, &flushes);
		commit_to_journal(f);
		disk_watch(NULL, NULL);
		assert_int_equal(flushes.count, wanted[k]);
	}
	free(data);
}

static void
what_rode_is_flushed_when_the_database_commits_and_can_not_be_replayed_over_it(void **state)
{
	struct fixture *f = *state;
	struct counter flushes = {.name = "flush"};
	struct counter writes = {.name = "pwrite"};
	uint64_t seg, off;

	commit_to_journal(f);
	append(f, (const uint8_t *)"abc", 3, &seg, &off);
	commit_to_journal(f);
	disk_watch(counter_fn, &flushes);
	commit(f);
	assert_int_equal(flushes.count, 1);
	disk_watch(counter_fn, &writes);
	fixture_reopen(f, false);
	disk_watch(NULL, NULL);
	assert_int_equal(writes.count, 0);
	assert_stored(f, seg, off, (const uint8_t *)"abc", 3);
}

static void
a_large_append_is_flushed_before_the_commit(void **state)
{
	struct fixture *f = *state;
	struct counter flushes = {.name = "flush"};
	uint8_t *data = malloc(MIB);
	uint64_t seg, off;

	assert_non_null(data);
	fill(data, MIB, 1);
	append(f, data, MIB, &seg, &off);
	disk_watch(counter_fn, &flushes);
	commit(f);
	commit(f);
	disk_watch(NULL, NULL);
	assert_int_equal(flushes.count, 1);
	free(data);
}

static void
the_folder_is_flushed_before_a_commit_names_a_new_segment(void **state)
{
	struct fixture *f = *state;
	struct counter flushes = {.name = "flush_dir", .error = -EIO};
	uint64_t seg, off;

	append(f, (const uint8_t *)"x", 1, &seg, &off);
	disk_watch(counter_fn, &flushes);
	assert_int_equal(meta_sync(f->meta), -EIO);
	flushes.error = 0;
	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(flushes.count, 2);
	append(f, (const uint8_t *)"y", 1, &seg, &off);
	commit(f);
	assert_int_equal(flushes.count, 2);
	disk_watch(NULL, NULL);
}

static void
bytes_whose_flush_failed_are_written_again_before_the_next_try(void **state)
{
	struct fixture *f = *state;
	struct counter failing = {.name = "flush", .error = -EIO};
	struct counter writes = {.name = "pwrite"};
	uint8_t *data = malloc(MIB);
	uint64_t seg, off;

	assert_non_null(data);
	fill(data, MIB, 4);
	append(f, data, MIB, &seg, &off);
	disk_watch(counter_fn, &failing);
	make_dirty(f);
	assert_int_equal(meta_sync(f->meta), -EIO);
	assert_int_equal(failing.count, 1);
	disk_watch(counter_fn, &writes);
	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(writes.count, 1);
	commit(f);
	assert_int_equal(writes.count, 1);
	disk_watch(NULL, NULL);
	assert_stored(f, seg, off, data, MIB);
	free(data);
}

static void
an_append_that_the_disk_refuses_leaves_the_others_alone(void **state)
{
	static const char *const names[] = {"create", "pwrite"};
	struct fixture *f = *state;
	uint64_t seg = 99, off = 98;

	for (size_t k = 0; k < ARRAY_LEN(names); k++) {
		struct counter failing = {.name = names[k], .error = -ENOSPC};

		disk_watch(counter_fn, &failing);
		assert_int_equal(segstore_append(f->ss, (const uint8_t *)"abc", 3, &seg, &off), -ENOSPC);
		disk_watch(NULL, NULL);
	}
	assert_int_equal(seg, 99);
	assert_int_equal(off, 98);
	commit_to_journal(f);
	append(f, (const uint8_t *)"abc", 3, &seg, &off);
	commit_to_journal(f);
	cut_power(f);
	assert_stored(f, seg, off, (const uint8_t *)"abc", 3);
}

/* Settled segments. */

/*
 * A disk that forgets in a power cut what was not flushed: at each flush of a file a copy is taken of what it holds then, and
 * after the cut that copy is all there is.
 */
static err_t
keep_flushed(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	const struct fixture *f = ctx;
	char link[64], path[128], copy[256], buf[65536];
	ssize_t n;

	(void)name, (void)data, (void)off, (void)len;
	if (strcmp(operation, "flush") != 0)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	assert_true(n > 0);
	path[n] = '\0';
	snprintf(copy, sizeof(copy), "%s/flushed/%s", f->dir, strrchr(path, '/') + 1);

	int to = open(copy, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(to >= 0);
	for (off_t at = 0; (n = pread(fd, buf, sizeof(buf), at)) > 0; at += n)
		assert_int_equal(pwrite(to, buf, (size_t)n, at), n);
	close(to);
	return 0;
}

static void
forget_unflushed(struct fixture *f)
{
	disk_watch(NULL, NULL);
	fixture_close(f, false);
	run_command("cd '%s' && truncate -s 0 segments/* && cp -f flushed/* segments/", f->dir);
	fixture_open(f, false);
}

/* Appends whose bytes reach the file late. */

static err_t
write_late(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	atomic_bool *begun = ctx;

	(void)fd, (void)name, (void)data, (void)off;
	if (strcmp(operation, "pwrite") == 0 && len == 1000) {
		atomic_store(begun, true);
		usleep(100000);
	}
	return 0;
}

struct late {
	struct fixture *f;
	uint8_t data[1000];
	uint64_t seg;
	uint64_t off;
	err_t result;
};

static void *
append_late(void *ctx)
{
	struct late *l = ctx;

	l->result = segstore_append(l->f->ss, l->data, sizeof(l->data), &l->seg, &l->off);
	return NULL;
}

static void
a_commit_waits_for_the_bytes_of_appends_that_began_before_it(void **state)
{
	struct fixture *f = *state;
	struct late l = {.f = f};
	atomic_bool begun = false;
	uint64_t seg, off;
	pthread_t t;

	fill(l.data, sizeof(l.data), 1);
	commit_to_journal(f);
	append(f, (const uint8_t *)"first", 5, &seg, &off);
	disk_watch(write_late, &begun);
	assert_int_equal(pthread_create(&t, NULL, append_late, &l), 0);
	AWAIT(atomic_load(&begun));
	append(f, (const uint8_t *)"behind", 6, &seg, &off);
	commit_to_journal(f);
	pthread_join(t, NULL);
	assert_int_equal(l.result, 0);
	commit_to_journal(f);
	disk_watch(NULL, NULL);
	cut_power(f);
	assert_stored(f, seg, off, (const uint8_t *)"behind", 6);
	assert_stored(f, l.seg, l.off, l.data, sizeof(l.data));
}

static err_t
append_during_flush(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off,
    uint64_t len)
{
	struct late *l = ctx;
	err_t e = keep_flushed(l->f, operation, fd, name, data, off, len);

	if (!e && strcmp(operation, "flush") == 0 && !l->seg)
		append_late(l);
	return e;
}

static void
what_is_appended_during_a_flush_is_not_taken_for_flushed(void **state)
{
	struct fixture *f = *state;
	struct late l = {.f = f};
	uint8_t *data = malloc(MIB);
	uint64_t seg, off;

	assert_non_null(data);
	fill(data, MIB, 2);
	fill(l.data, sizeof(l.data), 1);
	run_command("mkdir '%s/flushed'", f->dir);
	append(f, data, MIB, &seg, &off);
	disk_watch(append_during_flush, &l);
	commit(f);
	assert_int_equal(l.result, 0);
	commit(f);
	forget_unflushed(f);
	assert_stored(f, seg, off, data, MIB);
	assert_stored(f, l.seg, l.off, l.data, sizeof(l.data));
	free(data);
}

/* Threads that append while another commits. */

#define APPENDS 600
#define APPENDERS 3
struct appender {
	struct fixture *f;
	uint64_t seed;
	uint64_t seg[APPENDS];
	uint64_t off[APPENDS];
	atomic_uint done;
	unsigned safe; /* appends that a later commit made durable */
	atomic_bool failed;
};

static uint32_t
append_len(uint64_t seed, unsigned k)
{
	return (uint32_t)(seed * 7919 + k * 104729) % 3000 + 1;
}

static void *
append_many(void *ctx)
{
	struct appender *a = ctx;
	uint8_t data[3000];

	for (unsigned k = 0; k < APPENDS; k++) {
		uint32_t len = append_len(a->seed, k);

		fill(data, len, a->seed * APPENDS + k);
		if (segstore_append(a->f->ss, data, len, &a->seg[k], &a->off[k]))
			atomic_store(&a->failed, true);
		atomic_store(&a->done, k + 1);
	}
	return NULL;
}

static void *
commit_many(void *ctx)
{
	struct appender *all = ctx;
	unsigned done[APPENDERS];
	bool more = true;

	while (more) {
		for (unsigned k = 0; k < APPENDERS; k++)
			done[k] = atomic_load(&all[k].done);
		meta_lock(all->f->meta);
		if (meta_kv_put(all->f->meta, DB_KEY_STATUS, (const uint8_t *)"x", 1))
			atomic_store(&all->failed, true);
		meta_unlock(all->f->meta);
		if (meta_sync(all->f->meta))
			atomic_store(&all->failed, true);
		more = false;
		for (unsigned k = 0; k < APPENDERS; k++) {
			all[k].safe = done[k];
			more |= done[k] < APPENDS / 2;
		}
	}
	return NULL;
}

static void
what_threads_appended_before_a_commit_survives_a_power_cut(void **state)
{
	static struct appender a[APPENDERS];
	struct fixture *f = *state;
	pthread_t t[APPENDERS], committer;
	uint8_t data[3000];

	run_command("mkdir '%s/flushed'", f->dir);
	disk_watch(keep_flushed, f);
	for (unsigned k = 0; k < APPENDERS; k++) {
		memset(&a[k], 0, sizeof(a[k]));
		a[k].f = f;
		a[k].seed = k;
	}
	for (unsigned k = 0; k < APPENDERS; k++)
		assert_int_equal(pthread_create(&t[k], NULL, append_many, &a[k]), 0);
	assert_int_equal(pthread_create(&committer, NULL, commit_many, a), 0);
	pthread_join(committer, NULL);
	for (unsigned k = 0; k < APPENDERS; k++) {
		pthread_join(t[k], NULL);
		assert_false(a[k].failed);
	}
	forget_unflushed(f);
	for (unsigned k = 0; k < APPENDERS; k++) {
		assert_true(a[k].safe >= APPENDS / 2);
		for (unsigned n = 0; n < a[k].safe; n++) {
			uint32_t len = append_len(k, n);

			fill(data, len, k * APPENDS + n);
			assert_stored(f, a[k].seg[n], a[k].off[n], data, len);
		}
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(small_appends_ride_in_the_journal_and_survive_a_power_cut_with_one_flush_for_each_commit),
		TEST(more_than_the_limit_is_flushed_and_what_follows_rides_again),
		TEST(what_rode_is_flushed_when_the_database_commits_and_can_not_be_replayed_over_it),
		TEST(a_large_append_is_flushed_before_the_commit),
		TEST(the_folder_is_flushed_before_a_commit_names_a_new_segment),
		TEST(bytes_whose_flush_failed_are_written_again_before_the_next_try),
		TEST(an_append_that_the_disk_refuses_leaves_the_others_alone),
		TEST(a_commit_waits_for_the_bytes_of_appends_that_began_before_it),
		TEST(what_is_appended_during_a_flush_is_not_taken_for_flushed),
		TEST(what_threads_appended_before_a_commit_survives_a_power_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
