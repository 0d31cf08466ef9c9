/* test_full_disk.c: what only the store has is read on a disk that has no room for it. */
#include "cache.h"
#include "clock.h"
#include "fetcher_steps.h"

#include <unistd.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Segments have so much room, and no more. */
struct small_disk {
	const struct fixture *f;
	uint64_t room;
	_Atomic unsigned refused;
};

static uint64_t
taken(const struct fixture *f)
{
	uint64_t bytes;

	assert_int_equal(segstore_usage(f->ss, &bytes), 0);
	return bytes;
}

static err_t
refuse(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct small_disk *d = ctx;

	(void)fd, (void)name, (void)data, (void)off;
	if (strcmp(operation, "pwrite") != 0 || taken(d->f) + len <= d->room)
		return 0;
	d->refused++;
	return -ENOSPC;
}

/* A file that is here and one that is not, and a disk on which there is hardly room for more. */
struct scene {
	struct shelf_store k;
	struct cache_place p;
	struct cache *cache;
	struct small_disk disk;
	uint64_t here;
	uint64_t away;
};

static void
begin(struct fixture *f, struct scene *s, bool pinned)
{
	memset(s, 0, sizeof(*s));
	shelf_open(f, &s->k);
	s->away = shelf_file(&s->k, 6 * MIB, 2);
	shelf_evict(&s->k);
	s->here = shelf_file(&s->k, 10 * MIB, 1);
	assert_int_equal(meta_sync(f->meta), 0);
	s->p = (struct cache_place){.content = f->c, .meta = f->meta};
	if (pinned)
		assert_int_equal(cache_pin(f->meta, s->here), 0);
	assert_int_equal(cache_start(&s->p, &s->cache), 0);
	s->disk = (struct small_disk){f, taken(f) + MIB / 2, 0};
	disk_watch(refuse, &s->disk);
}

static void
clear(struct scene *s)
{
	disk_watch(NULL, NULL);
	cache_stop(s->cache);
	shelf_clear(&s->k);
}

static void
end(struct scene *s)
{
	assert_true(s->disk.refused > 0);
	clear(s);
}

static void
what_is_cached_goes_when_the_disk_is_full_and_something_else_is_read(void **state)
{
	struct scene s;

	begin(*state, &s, false);
	for (unsigned n = 0; n < 6; n++)
		shelf_assert_file(&s.k, s.away, 2, n * MIB, MIB);
	assert_true(shelf_here(&s.k, 0) == pieces_all(s.k.rows[0].size));
	assert_true(shelf_here(&s.k, 1) != pieces_all(s.k.rows[1].size));
	assert_true(taken(*state) <= s.disk.room);
	shelf_assert_file(&s.k, s.here, 1, 0, 10 * MIB);
	end(&s);
}

static void
what_is_pinned_takes_the_place_of_what_is_cached(void **state)
{
	struct scene s;

	begin(*state, &s, false);
	assert_int_equal(cache_bring(&s.p, &s.away, 1, NULL, NULL), 0);
	assert_true(shelf_here(&s.k, 0) == pieces_all(s.k.rows[0].size));
	assert_true(taken(*state) <= s.disk.room);
	end(&s);
}

static void
where_nothing_may_go_a_file_is_read_all_the_same_and_not_kept(void **state)
{
	struct scene s;

	begin(*state, &s, true);
	shelf_assert_file(&s.k, s.away, 2, MIB + 5000, 2000);
	shelf_assert_file(&s.k, s.away, 2, 0, 6 * MIB);
	assert_int_equal(shelf_here(&s.k, 0), 0);
	assert_true(shelf_here(&s.k, 1) == pieces_all(s.k.rows[1].size));
	s.k.requests = 0;
	shelf_assert_file(&s.k, s.here, 1, 0, 10 * MIB);
	assert_int_equal(s.k.requests, 0);
	end(&s);
}

static _Atomic int64_t now_ns; /* 0: as it is */
static _Atomic unsigned looked;

int64_t __real_clock_ns(clockid_t clock);
int64_t __wrap_clock_ns(clockid_t clock);
int64_t
__wrap_clock_ns(clockid_t clock)
{
	return now_ns != 0 && clock == CLOCK_MONOTONIC ? now_ns : __real_clock_ns(clock);
}

bool __real_cache_make_room(const struct cache_place *p, uint64_t len);
bool __wrap_cache_make_room(const struct cache_place *p, uint64_t len);
bool
__wrap_cache_make_room(const struct cache_place *p, uint64_t len)
{
	looked++;
	return __real_cache_make_room(p, len);
}

static void
what_may_go_is_not_looked_for_again_in_vain_for_five_seconds(void **state)
{
	struct scene s;

	begin(*state, &s, true);
	s.disk.room = taken(*state); /* not even for the last, short piece */
	now_ns = 1000000000000;
	looked = 0;
	for (unsigned n = 0; n < 3; n++)
		shelf_assert_file(&s.k, s.away, 2, n * MIB, MIB);
	assert_int_equal(looked, 1);
	now_ns += 4999999999;
	shelf_assert_file(&s.k, s.away, 2, 3 * MIB, MIB);
	assert_int_equal(looked, 1);
	now_ns++;
	shelf_assert_file(&s.k, s.away, 2, 4 * MIB, MIB);
	assert_int_equal(looked, 2);
	now_ns = 0;
	end(&s);
}

static void
a_read_is_answered_partly_from_the_disk_and_partly_from_memory(void **state)
{
	struct scene s;

	begin(*state, &s, true);
	s.disk.room += 2 * MIB;
	shelf_assert_file(&s.k, s.away, 2, 2 * MIB + 5000, 2000);
	assert_true(shelf_here(&s.k, 0) != 0);
	shelf_assert_file(&s.k, s.away, 2, MIB, 4 * MIB);
	end(&s);
}

static void
several_read_at_once_on_a_full_disk(void **state)
{
	struct reader readers[6];
	struct scene s;

	begin(*state, &s, true);
	for (unsigned n = 0; n < ARRAY_LEN(readers); n++) {
		readers[n] = (struct reader){.k = &s.k, .ino = s.away, .off = n * (uint64_t)MIB + 1000};
		assert_int_equal(pthread_create(&readers[n].thread, NULL, read_some, &readers[n]), 0);
	}
	for (unsigned n = 0; n < ARRAY_LEN(readers); n++) {
		pthread_join(readers[n].thread, NULL);
		assert_int_equal(readers[n].result, 0);
	}
	end(&s);
}

static void
nothing_comes_ahead_that_the_disk_has_no_room_for(void **state)
{
	struct fetcher_stats stats;
	struct scene s;

	begin(*state, &s, true);
	for (unsigned n = 0; n < 6; n++)
		shelf_assert_file(&s.k, s.away, 2, n * MIB, MIB);
	fetcher_stats(content_fetcher(s.k.f->c), &stats);
	/* Each read brings the pieces that it touches, two in most cases. */
	assert_true(stats.bytes + stats.failed * MIB <= 13 * MIB);
	end(&s);
}

static bool no_commits;

err_t __real_meta_sync(struct meta *m);
err_t __wrap_meta_sync(struct meta *m);

err_t
__wrap_meta_sync(struct meta *m)
{
	return no_commits ? -ENOSPC : __real_meta_sync(m);
}

static void
what_could_not_be_given_up_stays_and_goes_when_it_can(void **state)
{
	struct scene s;

	begin(*state, &s, false);
	no_commits = true;
	for (unsigned n = 0; n < 6; n++)
		shelf_assert_file(&s.k, s.away, 2, n * MIB, MIB);
	no_commits = false;
	assert_int_equal(shelf_here(&s.k, 0), 0);
	assert_true(shelf_here(&s.k, 1) == pieces_all(s.k.rows[1].size));
	assert_true(cache_make_room(&s.p, MIB));
	assert_true(shelf_here(&s.k, 1) != pieces_all(s.k.rows[1].size));
	shelf_assert_file(&s.k, s.here, 1, 0, 10 * MIB);
	clear(&s);
}

static bool is_spent;

bool __real_meta_has_room(const struct meta *m);
bool __wrap_meta_has_room(const struct meta *m);

bool
__wrap_meta_has_room(const struct meta *m)
{
	return !is_spent && __real_meta_has_room(m);
}

static void
what_is_read_is_not_kept_where_the_last_room_is_for_commits(void **state)
{
	struct scene s;

	begin(*state, &s, true);
	s.disk.room = UINT64_MAX;
	is_spent = true;
	for (unsigned n = 0; n < 3; n++)
		shelf_assert_file(&s.k, s.away, 2, 0, 6 * MIB);
	assert_int_equal(shelf_here(&s.k, 0), 0);
	is_spent = false;
	shelf_assert_file(&s.k, s.away, 2, 0, 6 * MIB);
	assert_true(shelf_here(&s.k, 0) != 0);
	clear(&s);
}

static void
what_is_lent_again_takes_no_more_memory(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = calloc(1, MIB);
	struct part *held;
	struct scene s;

	begin(f, &s, true);
	assert_non_null(data);
	assert_int_equal(segstore_hold(f->ss, s.k.rows[0].id, &held), 0);
	for (unsigned n = 0; n < 100; n++)
		assert_int_equal(segstore_lend_pieces(f->ss, s.k.rows[0].id, 0, data, MIB), 0);
	segstore_let_go(f->ss, held);
	assert_int_equal(segstore_lend_pieces(f->ss, s.k.rows[0].id, 0, data, MIB), -ENOSPC); /* to nobody */
	free(data);
	clear(&s);
}

/* Somebody has cut its file off, and the store is not known to have it. */
static void
what_is_half_lent_and_half_lost_is_told_as_lost(void **state)
{
	struct fixture *f = *state;
	struct segment row;
	struct part *held;
	struct scene s;
	uint8_t *data;
	uint32_t piece;
	char path[128];

	begin(f, &s, true);
	disk_watch(NULL, NULL);
	row = s.k.rows[1];
	piece = (uint32_t)pieces_len(row.size);
	data = calloc(2, piece);
	assert_non_null(data);
	row.in_store = false;
	meta_lock(f->meta);
	assert_int_equal(meta_segment_put(f->meta, &row), 0);
	meta_unlock(f->meta);
	segment_path(f, row.id, path);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(segstore_hold(f->ss, row.id, &held), 0);
	assert_int_equal(segstore_lend_pieces(f->ss, row.id, 0, data, piece), 0);
	assert_int_equal(segstore_read(f->ss, row.id, 0, 2 * piece, data), -ENODATA);
	segstore_let_go(f->ss, held);
	free(data);
	clear(&s);
}

/* To a few blocks: the file system's own change when it writes what it had in memory. */
static void
assert_taken(const struct fixture *f, uint64_t expected)
{
	uint64_t now = taken(f);

	assert_in_range(now, expected - MIB / 64, expected + MIB / 64);
}

/* What fits is written before the disk tells that it is full. */
static err_t
fill_up(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	err_t e = refuse(ctx, operation, fd, name, data, off, len);
	size_t fits = len / 2 / SEGSTORE_BLOCK_LEN * SEGSTORE_BLOCK_LEN;

	if (e)
		assert_int_equal(pwrite(fd, data, fits, (off_t)off), fits);
	return e;
}

static void
what_came_by_halves_leaves_nothing_on_the_disk(void **state)
{
	struct scene s;

	begin(*state, &s, true);
	disk_watch(fill_up, &s.disk);

	uint64_t before = taken(*state);

	shelf_assert_file(&s.k, s.away, 2, MIB + 5000, 2000);
	assert_true(s.disk.refused > 0);
	assert_taken(*state, before);

	/* Beside pieces that are here. */
	s.disk.room += 2 * MIB;
	shelf_assert_file(&s.k, s.away, 2, 0, 6 * MIB);

	uint64_t here = shelf_here(&s.k, 0);

	assert_true(here != 0 && here != pieces_all(s.k.rows[0].size));
	assert_taken(*state, before + pieces_bytes(s.k.rows[0].size, here));
	shelf_assert_file(&s.k, s.away, 2, 0, 6 * MIB);
	end(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_cached_goes_when_the_disk_is_full_and_something_else_is_read),
		TEST(what_is_pinned_takes_the_place_of_what_is_cached),
		TEST(where_nothing_may_go_a_file_is_read_all_the_same_and_not_kept),
		TEST(what_may_go_is_not_looked_for_again_in_vain_for_five_seconds),
		TEST(a_read_is_answered_partly_from_the_disk_and_partly_from_memory),
		TEST(several_read_at_once_on_a_full_disk),
		TEST(nothing_comes_ahead_that_the_disk_has_no_room_for),
		TEST(what_could_not_be_given_up_stays_and_goes_when_it_can),
		TEST(what_is_read_is_not_kept_where_the_last_room_is_for_commits),
		TEST(what_is_lent_again_takes_no_more_memory),
		TEST(what_is_half_lent_and_half_lost_is_told_as_lost),
		TEST(what_came_by_halves_leaves_nothing_on_the_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
