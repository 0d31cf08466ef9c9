/* settle: damaged data, a failing disk, nobody who wants a segment, and settling that is given up: nothing is lost. */
#include "settle_steps.h"

#include <stdatomic.h>

#include "hash.h"

/* The first bytes of what a chunk has first. */
static void
damage(struct fixture *f, uint64_t ino, uint64_t no)
{
	struct extent_list l = extents_of(f, ino, no);
	uint8_t junk[64] = {0};
	char path[128];

	segment_path(f, l.v[0].seg, path);

	FILE *file = fopen(path, "r+");

	assert_non_null(file);
	assert_int_equal(fseek(file, (long)l.v[0].seg_off, SEEK_SET), 0);
	assert_int_equal(fwrite(junk, 5, 1, file), 1);
	fclose(file);
	extent_list_clear(&l);
}

static enum segment_kind
kind_of(struct fixture *f, uint64_t ino, uint64_t no)
{
	struct extent_list l = extents_of(f, ino, no);
	enum segment_kind kind = segment_of(f, l.v[0].seg).kind;

	extent_list_clear(&l);
	return kind;
}

static void
a_damaged_hot_part_is_eio_and_the_other_chunks_are_settled(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);

	write_file(f, ino, 0, "first", 5);
	write_file(f, ino, MIB, "second", 6);
	damage(f, ino, 0);
	assert_int_equal(settle_one(f, ino), -EBADMSG);
	assert_int_equal(kind_of(f, ino, 1), SEGMENT_SETTLED);
	assert_content(f, ino, MIB, "second", 6);
}

static void
a_damaged_chunk_among_many_of_noise_stays_and_the_others_go(void **state)
{
	enum { CHUNKS = 9, DAMAGED = 4 };
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	static uint8_t noise[CHUNKS * MIB];

	fill(noise, sizeof(noise), 1);
	write_file(f, ino, 0, noise, sizeof(noise));
	damage(f, ino, DAMAGED);
	assert_int_equal(settle_one(f, ino), -EBADMSG);
	for (uint64_t no = 0; no < CHUNKS; no++)
		assert_int_equal(kind_of(f, ino, no), no == DAMAGED ? SEGMENT_HOT : SEGMENT_SETTLED);
	assert_content(f, ino, 0, noise, (size_t)DAMAGED * MIB);
	assert_content(f, ino, (DAMAGED + 1) * MIB, noise + (DAMAGED + 1) * MIB, (size_t)(CHUNKS - DAMAGED - 1) * MIB);
}

/* Failing disks. */

struct strike {
	unsigned after;
	atomic_uint seen; /* by several threads */
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
	static uint8_t data[2 * MIB + 500];
	uint64_t ino = new_file(f);
	unsigned failures = 0;

	repeat(data, sizeof(data));
	write_file(f, ino, 0, data, sizeof(data));
	for (unsigned after = 0;; after++) {
		struct strike k = {.after = after};
		struct settle *s = begin(f);
		uint64_t len;

		disk_watch(strike_fn, &k);

		err_t e = settle_inode(s, ino);

		if (e)
			settle_abandon(s);
		else
			e = settle_finish(s, &len);
		disk_watch(NULL, NULL);
		assert_content(f, ino, 0, data, sizeof(data));
		if (!e)
			break;
		failures++;
	}
	assert_true(failures > 5);
	fixture_reopen(f, true);
	assert_content(f, ino, 0, data, sizeof(data));
}

/* Who wants full segments. */
struct taker {
	unsigned calls;
	unsigned right;
	uint64_t len;  /* of all segments */
	uint64_t last; /* its number */
	bool change;   /* keeps the object and leaves other memory */
	struct bytes kept;
	err_t answer;
};

static err_t
take_full(void *ctx, const struct segment *row, struct bytes *object)
{
	struct taker *t = ctx;
	uint8_t sha256[HASH_LEN];

	t->calls++;
	t->len += row->size;
	assert_true(row->id > t->last);
	t->last = row->id;
	if (object->len == row->size && hash_sha256(object->data, object->len, sha256) == 0 &&
	    memcmp(sha256, row->sha256, sizeof(sha256)) == 0)
		t->right++;
	if (t->change) {
		struct bytes other = t->kept;

		t->kept = *object;
		*object = other;
	}
	return t->answer;
}

enum { FULL_LEN = 40 * MIB };

static uint64_t
make_noise(struct fixture *f, uint8_t **data_out)
{
	uint64_t ino = new_file(f);

	*data_out = malloc(FULL_LEN);
	assert_non_null(*data_out);
	fill(*data_out, FULL_LEN, 7);
	write_file(f, ino, 0, *data_out, FULL_LEN);
	return ino;
}

static void
segments_are_handed_out_with_what_is_in_them(void **state)
{
	struct fixture *f = *state;
	uint8_t *data;
	uint64_t ino = make_noise(f, &data);

	for (unsigned change = 0; change < 2; change++) {
		struct taker t = {.change = change};
		struct settle *s = begin(f);

		settle_set_full(s, take_full, &t);
		assert_int_equal(settle_inode(s, ino), 0);
		assert_int_equal(finish(s), FULL_LEN);
		assert_int_equal(t.calls, 3); /* the last one is not full */
		assert_int_equal(t.right, 3);
		assert_content(f, ino, 0, data, FULL_LEN);
		bytes_clear(&t.kept);
		write_file(f, ino, 0, data, FULL_LEN);
	}
	fixture_reopen(f, true);
	assert_content(f, ino, 0, data, FULL_LEN);
	free(data);
}

static err_t
pause_now_and_then(void *ctx)
{
	unsigned *calls = ctx;

	return ++*calls % 3 == 0 ? -EINPROGRESS : 0;
}

static void
settling_goes_on_where_a_pause_has_ended_it_and_fills_the_same_segment(void **state)
{
	struct fixture *f = *state;
	struct taker t = {0};
	unsigned calls = 0, pauses = 0;
	uint8_t *data;
	uint64_t ino = make_noise(f, &data);
	struct settle *s = begin(f);
	err_t e;

	settle_set_full(s, take_full, &t);
	settle_set_pause(s, pause_now_and_then, &calls);
	while ((e = settle_inode(s, ino)) == -EINPROGRESS) {
		pauses++;
		assert_int_equal(settle_catch_up(s), 0);
		assert_in_range(pauses, 1, FULL_LEN / MIB);
	}
	assert_int_equal(e, 0);
	assert_true(pauses > 10);
	assert_int_equal(finish(s), FULL_LEN);
	assert_int_equal(t.calls, 3);
	assert_in_range(t.len, FULL_LEN, FULL_LEN + FULL_LEN / 16);
	assert_content(f, ino, 0, data, FULL_LEN);
	fixture_reopen(f, true);
	assert_content(f, ino, 0, data, FULL_LEN);
	free(data);
}

static void
who_does_not_want_a_full_segment_ends_settling_and_all_stays_readable(void **state)
{
	struct fixture *f = *state;
	struct taker t = {.answer = -ENOSPC};
	uint8_t *data;
	uint64_t len, ino = make_noise(f, &data);
	struct settle *s = begin(f);

	settle_set_full(s, take_full, &t);

	err_t e = settle_inode(s, ino);

	if (e)
		settle_abandon(s);
	else
		e = settle_finish(s, &len);
	assert_int_equal(e, -ENOSPC);
	assert_int_equal(t.calls, 1);
	assert_content(f, ino, 0, data, FULL_LEN);
	fixture_reopen(f, true);
	assert_content(f, ino, 0, data, FULL_LEN);
	free(data);
}

static void
abandoning_while_a_segment_is_on_its_way_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct taker t = {0};
	uint8_t *data;
	uint64_t ino = make_noise(f, &data);
	struct settle *s = begin(f);

	settle_set_full(s, take_full, &t);
	assert_int_equal(settle_inode(s, ino), 0);
	settle_abandon(s);
	assert_int_equal(t.calls, 2);
	assert_content(f, ino, 0, data, FULL_LEN);
	fixture_reopen(f, true);
	assert_content(f, ino, 0, data, FULL_LEN);
	free(data);
}

static void
abandoning_changes_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	struct settle *s = begin(f);

	write_file(f, ino, 0, "hello", 5);

	struct extent_list before = extents_of(f, ino, 0);

	assert_int_equal(settle_inode(s, ino), 0);
	settle_abandon(s);

	struct extent_list after = extents_of(f, ino, 0);

	assert_true(extent_list_equal(&before, &after));
	assert_false(segment_exists(f, before.v[0].seg + 1));
	extent_list_clear(&before);
	extent_list_clear(&after);
	assert_content(f, ino, 0, "hello", 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_damaged_hot_part_is_eio_and_the_other_chunks_are_settled),
		TEST(a_damaged_chunk_among_many_of_noise_stays_and_the_others_go),
		TEST(a_disk_that_fails_at_any_operation_leaves_all_files_readable),
		TEST(segments_are_handed_out_with_what_is_in_them),
		TEST(settling_goes_on_where_a_pause_has_ended_it_and_fills_the_same_segment),
		TEST(who_does_not_want_a_full_segment_ends_settling_and_all_stays_readable),
		TEST(abandoning_while_a_segment_is_on_its_way_loses_nothing),
		TEST(abandoning_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
