/* test_cache.c: what is given up for room, what never is, what is pinned and where a file is. */
#include "cache.h"
#include "shelf_store.h"

static struct cache_place
place_of(struct shelf_store *k)
{
	return (struct cache_place){.content = k->f->c, .meta = k->f->meta};
}

static uint64_t
cached(struct shelf_store *k)
{
	struct cache_place p = place_of(k);
	struct cache_usage u;

	assert_int_equal(cache_usage(&p, &u), 0);
	assert_true(u.cached <= u.here && u.here <= u.total);
	return u.cached;
}

static void
what_was_read_the_longest_time_ago_is_given_up_first_and_no_more_than_needed(void **state)
{
	struct shelf_store k;
	uint64_t inos[4], freed;
	bool busy;

	shelf_open(*state, &k);
	for (unsigned n = 0; n < 4; n++)
		inos[n] = shelf_file(&k, 3 * MIB, n);
	for (unsigned n = 0; n < 4; n++)
		shelf_assert_file(&k, inos[(n + 2) % 4], (n + 2) % 4, 0, 1000);

	struct cache_place p = place_of(&k);
	uint64_t all = cached(&k);

	assert_int_equal(cache_shrink(&p, all, 0, &freed, &busy), 0);
	assert_int_equal(freed, 0);
	assert_int_equal(cache_shrink(&p, all - 1, all - MIB, &freed, &busy), 0);
	assert_int_equal(freed, all - cached(&k));
	assert_true(shelf_here(&k, 2) == 0);
	for (unsigned n = 0; n < 4; n++)
		assert_true(n == 2 || shelf_here(&k, n) == pieces_all(k.rows[n].size));
	assert_int_equal(cache_shrink(&p, 4 * MIB, 4 * MIB, &freed, &busy), 0);
	assert_true(cached(&k) <= 4 * MIB);
	assert_true(shelf_here(&k, 1) != 0);
	for (unsigned n = 0; n < 4; n++)
		shelf_assert_file(&k, inos[n], n, 0, 3 * MIB);
	shelf_clear(&k);
}

static void
what_the_store_has_not_is_never_given_up(void **state)
{
	struct fixture *f = *state;
	struct shelf_store k;
	struct cache_freed freed;
	uint64_t hot = new_file(f), settled = new_file(f), bytes;
	bool busy;
	uint8_t data[5000];

	shelf_open(f, &k);
	fill(data, sizeof(data), 1);
	write_file(f, hot, 0, data, sizeof(data));
	write_file(f, settled, 0, data, sizeof(data));
	assert_int_equal(settle_one(f, settled), 0);

	struct cache_place p = place_of(&k);

	(void)shelf_file(&k, MIB, 2);

	uint64_t all = cached(&k);

	assert_int_equal(cache_shrink(&p, 0, 0, &bytes, &busy), 0);
	assert_int_equal(bytes, all);
	assert_int_equal(cache_free_file(&p, hot, &freed), 0);
	assert_int_equal(freed.freed, 0);
	assert_int_equal(freed.unsynced, sizeof(data));
	assert_int_equal(cache_free_file(&p, settled, &freed), 0);
	assert_int_equal(freed.freed, 0);
	assert_true(freed.unsynced >= sizeof(data));
	assert_content(f, hot, 0, data, sizeof(data));
	assert_content(f, settled, 0, data, sizeof(data));
	shelf_clear(&k);
}

/* A folder without a name, and a file's name in it. */
static uint64_t
new_folder(struct fixture *f, uint64_t parent)
{
	uint64_t ino = new_file(f);
	struct inode *i;

	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	i->mode = S_IFDIR | 0700;
	i->parent = parent;
	meta_inode_dirty(f->meta, i);
	meta_unlock(f->meta);
	return ino;
}

static void
name_it(struct fixture *f, uint64_t parent, const char *name, uint64_t ino, uint8_t type)
{
	struct inode *i;

	meta_lock(f->meta);
	assert_int_equal(meta_dentry_set(f->meta, parent, name, ino, type), 0);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	i->parent = parent;
	meta_inode_dirty(f->meta, i);
	meta_unlock(f->meta);
}

static void
what_is_in_a_pinned_folder_is_never_given_up_and_comes_back(void **state)
{
	struct fixture *f = *state;
	struct shelf_store k;
	struct cache_freed freed;
	uint64_t top = new_folder(f, 0), below = new_folder(f, top), bytes, *pins;
	size_t count;
	bool busy;

	shelf_open(f, &k);

	uint64_t in = shelf_file(&k, 2 * MIB, 1), out = shelf_file(&k, 2 * MIB, 2);
	struct cache_place p = place_of(&k);

	name_it(f, top, "below", below, 4);
	name_it(f, below, "in", in, 8);
	assert_int_equal(cache_pin(f->meta, top), 0);
	assert_int_equal(cache_pin(f->meta, top), -EEXIST);
	assert_int_equal(cache_shrink(&p, 0, 0, &bytes, &busy), 0);
	assert_true(shelf_here(&k, 0) != 0);
	assert_int_equal(shelf_here(&k, 1), 0);
	assert_int_equal(cache_free_file(&p, in, &freed), 0);
	assert_int_equal(freed.freed, 0);
	assert_true(freed.pinned >= 2 * MIB);
	fixture_close(f, true);
	fixture_open(f, false);
	shelf_evict(&k);
	content_set_fetch(f->c, shelf_read, &k);
	p = place_of(&k);
	assert_int_equal(cache_list_pins(f->meta, &pins, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(cache_bring(&p, pins, count, NULL, NULL), 0);
	free(pins);
	k.requests = 0;
	shelf_assert_file(&k, in, 1, 0, 2 * MIB);
	assert_int_equal(k.requests, 0);
	assert_int_equal(cache_unpin(f->meta, top), 0);
	assert_int_equal(cache_unpin(f->meta, top), -ENOENT);
	assert_int_equal(cache_free_file(&p, top, &freed), 0);
	assert_true(freed.freed >= 2 * MIB);
	assert_int_equal(freed.pinned, 0);
	shelf_assert_file(&k, in, 1, 0, 2 * MIB);
	shelf_assert_file(&k, out, 2, 0, 2 * MIB);
	shelf_clear(&k);
}

static void
pins_are_found_in_whatever_order_they_came(void **state)
{
	static const unsigned order[] = {5, 2, 7, 0, 6, 1, 4, 3};
	struct fixture *f = *state;
	uint64_t inos[ARRAY_LEN(order)], *pins;
	size_t count;

	for (size_t k = 0; k < ARRAY_LEN(order); k++)
		inos[k] = new_file(f);
	for (size_t k = 0; k < ARRAY_LEN(order); k++) {
		assert_int_equal(cache_pin(f->meta, inos[order[k]]), 0);
		assert_int_equal(cache_pin(f->meta, inos[order[k]]), -EEXIST);
	}
	assert_int_equal(cache_list_pins(f->meta, &pins, &count), 0);
	assert_int_equal(count, ARRAY_LEN(order));
	assert_memory_equal(pins, inos, sizeof(inos));
	free(pins);
	for (size_t k = 0; k < ARRAY_LEN(order); k++)
		assert_int_equal(cache_unpin(f->meta, inos[k]), 0);
	assert_int_equal(cache_list_pins(f->meta, &pins, &count), 0);
	assert_int_equal(count, 0);
	free(pins);
}

static enum cache_state
state_of(struct shelf_store *k, uint64_t ino, bool pinned)
{
	struct cache_place p = place_of(k);
	enum cache_state state;
	bool got;

	assert_int_equal(cache_get_state(&p, ino, &state, &got), 0);
	assert_int_equal(got, pinned);
	return state;
}

static void
where_a_file_is_shows_in_its_state(void **state)
{
	struct fixture *f = *state;
	struct shelf_store k;
	uint64_t fresh = new_file(f), empty = new_file(f);

	shelf_open(f, &k);

	uint64_t ino = shelf_file(&k, 6 * MIB, 1);

	write_file(f, fresh, 0, "hello", 5);
	make_known(f, empty);
	assert_int_equal(state_of(&k, fresh, false), CACHE_UNSYNCED);
	assert_int_equal(state_of(&k, empty, false), CACHE_LOCAL);
	assert_int_equal(state_of(&k, ino, false), CACHE_LOCAL);
	shelf_evict(&k);
	assert_int_equal(state_of(&k, ino, false), CACHE_REMOTE);
	shelf_assert_file(&k, ino, 1, 2 * MIB, 1000);
	assert_int_equal(state_of(&k, ino, false), CACHE_PARTIAL);
	assert_int_equal(cache_pin(f->meta, ino), 0);
	assert_int_equal(state_of(&k, ino, true), CACHE_PARTIAL);
	assert_int_equal(k.requests, 1); /* to ask where it is brings nothing */
	shelf_clear(&k);
}

/* Who gives up may have to wait for the processor; transfers that are under way, and what is given up at that moment, come on top. */
static bool
comes_down(struct shelf_store *k, uint64_t most)
{
	for (unsigned tries = 0; tries < 60000 && cached(k) > most; tries++)
		shelf_pause(1000);
	return cached(k) <= most;
}

static void
the_limit_is_kept_while_everything_is_read(void **state)
{
	struct fixture *f = *state;
	struct shelf_store k;
	struct cache *c;
	uint64_t ino, limit = 0;

	shelf_open(f, &k);
	ino = shelf_file(&k, 150 * MIB, 1);
	shelf_evict(&k);

	struct cache_place p = place_of(&k);

	assert_int_equal(cache_set_limit(f->meta, CACHE_LIMIT_MIN), 0);
	assert_int_equal(cache_get_limit(f->meta, &limit), 0);
	assert_int_equal(limit, CACHE_LIMIT_MIN);
	assert_int_equal(cache_start(&p, &c), 0);

	uint8_t *data = malloc(150 * MIB), *got = malloc(MIB);
	size_t n;

	assert_true(data && got);
	fill(data, 150 * MIB, 1);
	for (unsigned at = 0; at < 150; at++) {
		assert_true(comes_down(&k, CACHE_LIMIT_MIN + 48 * MIB));
		assert_int_equal(content_read(f->c, ino, at * MIB, MIB, got, &n), 0);
		assert_memory_equal(got, data + (size_t)at * MIB, MIB);
	}
	cache_stop(c);
	assert_true(k.requests < 75);
	free(data);
	free(got);
	shelf_clear(&k);
}

static void
what_somebody_uses_is_given_up_when_he_has_done(void **state)
{
	struct fixture *f = *state;
	struct shelf_store k;
	uint64_t freed;
	struct part *part;
	bool busy;

	shelf_open(f, &k);
	(void)shelf_file(&k, 3 * MIB, 1);

	struct cache_place p = place_of(&k);

	assert_int_equal(segstore_hold(f->ss, k.rows[0].id, &part), 0);
	assert_int_equal(cache_shrink(&p, 0, 0, &freed, &busy), 0);
	assert_true(busy && freed == 0 && cached(&k) > 0);
	segstore_let_go(f->ss, part);
	assert_int_equal(cache_shrink(&p, 0, 0, &freed, &busy), 0);
	assert_true(!busy && freed > 0 && cached(&k) == 0);
	shelf_clear(&k);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Its object has no bytes here. */
static uint64_t
add_remote_segment(struct fixture *f, uint64_t n)
{
	struct segment s = {.kind = SEGMENT_SETTLED, .in_store = true, .size = 3 * MIB};

	memcpy(s.name, &n, sizeof(n));
	meta_lock(f->meta);
	s.id = meta_segment_new_id(f->meta);
	assert_int_equal(meta_segment_put(f->meta, &s), 0);
	meta_unlock(f->meta);
	return s.id;
}

static void
what_is_known_of_segments_that_nobody_uses_leaves_memory(void **state)
{
	enum { MANY = 60000, HELD_MAX = 20000, PUT = 3 };
	struct fixture *f = *state;
	struct shelf_store k;
	uint64_t missing, first = 0, before, ino;
	uint8_t *piece = calloc(1, MIB);

	assert_non_null(piece);
	shelf_open(f, &k);
	ino = shelf_file(&k, 3 * MIB, 1);
	before = cached(&k);
	for (uint64_t n = 0; n < MANY; n++) {
		uint64_t seg = add_remote_segment(f, n);

		first = first ? first : seg;
		if (n < PUT)
			assert_int_equal(segstore_put_pieces(f->ss, seg, MIB, piece, MIB, false), 0);
		assert_int_equal(segstore_missing(f->ss, seg, UINT64_MAX, &missing), 0);
		assert_true(missing == (n < PUT ? 5u : 7u));
		if (n % 5000 == 4999)
			assert_int_equal(meta_sync(f->meta), 0);
		assert_true(segstore_parts_in_memory(f->ss) <= HELD_MAX);
	}
	/* What no row speaks of yet is not forgotten, and counts; what a row speaks of is found again. */
	for (unsigned turn = 0; turn < 2; turn++) {
		for (uint64_t n = 0; n < MANY; n++) {
			assert_int_equal(segstore_missing(f->ss, first + n, UINT64_MAX, &missing), 0);
			assert_true(missing == (n < PUT ? 5u : 7u));
		}
		assert_true(segstore_parts_in_memory(f->ss) <= HELD_MAX);
		assert_true(cached(&k) == before + PUT * MIB);
		assert_int_equal(segstore_save_pieces(f->ss), 0);
	}
	shelf_assert_file(&k, ino, 1, 0, 3 * MIB);
	free(piece);
	shelf_clear(&k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_read_the_longest_time_ago_is_given_up_first_and_no_more_than_needed),
		TEST(what_the_store_has_not_is_never_given_up),
		TEST(what_is_in_a_pinned_folder_is_never_given_up_and_comes_back),
		TEST(pins_are_found_in_whatever_order_they_came),
		TEST(where_a_file_is_shows_in_its_state),
		TEST(the_limit_is_kept_while_everything_is_read),
		TEST(what_somebody_uses_is_given_up_when_he_has_done),
		TEST(what_is_known_of_segments_that_nobody_uses_leaves_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
