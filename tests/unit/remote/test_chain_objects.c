/* The chain: trying again, bases, boxes, segments, and the probe of a store. */
#include "chain_store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "hash.h"
#include "padme.h"

static err_t write_segment(struct chain *c, const uint8_t name[static SEGMENT_NAME_LEN])
{
	uint8_t sha256[32];

	assert_int_equal(hash_sha256("segment", 7, sha256), 0);
	return chain_write_segment(c, name, sha256, text("segment"), 7);
}

/* ---- trying again ---- */

static void every_reader_and_writer_tries_again_and_gives_up_at_the_bound(void **state)
{
	struct fixture *f = *state;
	const uint8_t segment[SEGMENT_NAME_LEN] = {0xab, 0xcd};
	struct bytes got = {0};
	uint64_t *seqs = NULL;
	size_t count = 0;
	char name[CHAIN_NAME_MAX];

	for (unsigned failing = 2; failing <= 3; failing++) {
		const err_t expected = failing == 2 ? 0 : -EAGAIN; /* of three tries */
		const struct store_fault_rule rule = {.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_ALL, .count = failing,
			.error = -EAGAIN};
		uint64_t before;

#define EXPECT_OF(ops, call) do { \
		assert_int_equal(store_fault_set(f->store, &rule, 1), 0); \
		before = store_fault_calls(f->store, ops); \
		assert_int_equal(call, expected); \
		assert_int_equal(store_fault_calls(f->store, ops) - before, 3); \
	} while (0)
#define EXPECT(call) EXPECT_OF(STORE_OP_ALL, call)
		EXPECT(chain_write_base(f->chain, 1, text("base"), 4));
		EXPECT(chain_read_base(f->chain, 1, &got));
		EXPECT(write_segment(f->chain, segment));
		EXPECT(chain_read_segment(f->chain, segment, 7, &got));
		EXPECT(chain_read_segment_range(f->chain, segment, 1, 2, &got));
		EXPECT_OF(STORE_OP_PUT, chain_write_box(f->chain, 1, text("box"), 3, name));
		EXPECT(chain_list_bases(f->chain, &seqs, &count));
#undef EXPECT
#undef EXPECT_OF
		if (expected == 0) {
			assert_int_equal(got.len, 4 + 7 + 2);
			assert_int_equal(count, 1);
			free(seqs);
			seqs = NULL;
		}
	}
	bytes_clear(&got);
}

static void one_try_means_no_wait(void **state)
{
	struct fixture *f = *state;
	struct bytes got = {0};

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_ALL, .error = -EAGAIN});
	chain_set_retry(f->chain, 1, NULL);
	assert_int_equal(chain_read_base(f->chain, 1, &got), -EAGAIN);
	assert_int_equal(store_fault_calls(f->store, STORE_OP_ALL), 1);
	chain_set_retry(f->chain, 0, NULL);
	assert_int_equal(chain_read_base(f->chain, 1, &got), -EAGAIN);
	assert_int_equal(store_fault_calls(f->store, STORE_OP_ALL), 2);
}

static void a_stop_that_is_set_ends_the_waiting(void **state)
{
	struct fixture *f = *state;
	atomic_bool stop = true;
	struct bytes got = {0};

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_ALL, .error = -EAGAIN});
	chain_set_retry(f->chain, 1000000, &stop);
	assert_int_equal(chain_read_base(f->chain, 1, &got), -ECANCELED);
	assert_int_equal(store_fault_calls(f->store, STORE_OP_ALL), 1);
	assert_int_equal(chain_commit(f->chain, 1, text("x"), 1), -ECANCELED);
	assert_int_equal(chain_write_marker(f->chain, VAULT), -ECANCELED);
	assert_int_equal(chain_probe_conditional(f->chain), -ECANCELED);
	/* What needs no waiting is still done. */
	assert_int_equal(store_fault_set(f->store, NULL, 0), 0);
	assert_int_equal(chain_write_base(f->chain, 1, text("x"), 1), 0);
}

static void *set_soon(void *arg)
{
	atomic_bool *stop = arg;
	const struct timespec pause = {.tv_nsec = 30000000};

	(void)nanosleep(&pause, NULL);
	atomic_store(stop, true);
	return NULL;
}

static void a_stop_is_noticed_while_waiting(void **state)
{
	struct fixture *f = *state;
	atomic_bool stop = false;
	struct bytes got = {0};
	pthread_t thread;

	/* Without the stop, this would go on for days. */
	set(f, (struct store_fault_rule){.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_ALL, .error = -EAGAIN});
	chain_set_retry(f->chain, 1000000, &stop);
	assert_int_equal(pthread_create(&thread, NULL, set_soon, &stop), 0);
	assert_int_equal(chain_read_base(f->chain, 1, &got), -ECANCELED);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

/* ---- bases, boxes, segments ---- */

static void junk(struct fixture *f, const char *name)
{
	char path[300];

	(void)snprintf(path, sizeof(path), "%s/%s", f->path, name);
	assert_int_equal(close(open(path, O_WRONLY | O_CREAT, 0600)), 0);
}

static void bases_are_listed_newest_first_and_junk_is_passed_over(void **state)
{
	static const char *const foreign[] = {"b/1", "b/00000000000", "b/0000000000001", "b/00000000000a", "b/-00000000001",
		"b/000000000001.tmp", "b/README", "b/000000000001~", "b/00000000001 ", "ba"};
	static const uint64_t numbers[] = {3, CHAIN_SEQ_MAX, 0, 10, 9};
	struct fixture *f = *state;
	uint64_t *seqs = NULL;
	size_t count = 99;

	assert_int_equal(chain_list_bases(f->chain, &seqs, &count), 0);
	assert_int_equal(count, 0);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		assert_int_equal(chain_write_base(f->chain, numbers[i], text("base"), 4), 0);
	for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
		junk(f, foreign[i]);
	assert_int_equal(chain_list_bases(f->chain, &seqs, &count), 0);
	assert_int_equal(count, 5);
	assert_int_equal(seqs[0], CHAIN_SEQ_MAX);
	assert_int_equal(seqs[1], 10);
	assert_int_equal(seqs[2], 9);
	assert_int_equal(seqs[3], 3);
	assert_int_equal(seqs[4], 0);
	free(seqs);
}

static void a_base_can_be_written_anew(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(chain_write_base(f->chain, 4, text("damaged"), 7), 0);
	assert_int_equal(chain_write_base(f->chain, 4, text("whole"), 5), 0);
	expect_object(f, "b/000000000004", "whole");
}

static void boxes_are_listed_highest_epoch_first_and_junk_is_passed_over(void **state)
{
	static const char *const foreign[] = {"k/1", "k/-0123456789abcdef0123456789abcdef",
		"k/01-0123456789abcdef0123456789abcdef", "k/4294967296-0123456789abcdef0123456789abcdef",
		"k/99999999999999999999-0123456789abcdef0123456789abcdef", "k/1-0123456789abcdef0123456789abcde",
		"k/1-0123456789abcdef0123456789abcdef0", "k/1-0123456789abcdeg0123456789abcdef",
		"k/1-0123456789ABCDEF0123456789ABCDEF", "k/1.0123456789abcdef0123456789abcdef"};
	static const uint32_t epochs[] = {2, UINT32_MAX, 0, 10};
	struct fixture *f = *state;
	char names[ARRAY_LEN(epochs)][CHAIN_NAME_MAX];
	struct chain_box *boxes = NULL;
	struct bytes got = {0};
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_LEN(epochs); i++)
		assert_int_equal(chain_write_box(f->chain, epochs[i], text("box"), 3, names[i]), 0);
	for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
		junk(f, foreign[i]);
		assert_int_equal(chain_read_box(f->chain, foreign[i], &got), -EINVAL);
	}
	assert_int_equal(chain_read_box(f->chain, "v", &got), -EINVAL);
	assert_int_equal(chain_read_box(f->chain, "", &got), -EINVAL);
	assert_int_equal(chain_read_box(f->chain, "../k/1", &got), -EINVAL);
	assert_int_equal(chain_list_boxes(f->chain, &boxes, &count), 0);
	assert_int_equal(count, 4);
	assert_int_equal(boxes[0].epoch, UINT32_MAX);
	assert_string_equal(boxes[0].name, names[1]);
	assert_int_equal(boxes[1].epoch, 10);
	assert_int_equal(boxes[2].epoch, 2);
	assert_int_equal(boxes[3].epoch, 0);
	assert_int_equal(chain_read_box(f->chain, boxes[3].name, &got), 0);
	assert_int_equal(got.len, 3);
	assert_int_equal(chain_read_box(f->chain, "k/5-0123456789abcdef0123456789abcdef", &got), -ENOENT);
	bytes_clear(&got);
	free(boxes);
}

static void two_boxes_of_one_epoch_have_different_names(void **state)
{
	struct fixture *f = *state;
	char one[CHAIN_NAME_MAX], two[CHAIN_NAME_MAX];

	assert_int_equal(chain_write_box(f->chain, 1, text("one"), 3, one), 0);
	assert_int_equal(chain_write_box(f->chain, 1, text("two"), 3, two), 0);
	assert_string_not_equal(one, two);
	expect_object(f, one, "one");
	expect_object(f, two, "two");
}

static void a_segment_lies_in_the_folder_of_its_first_byte(void **state)
{
	const uint8_t name[SEGMENT_NAME_LEN] = {0x0f, 0xed, 0xcb, 0xa9, 0x87, 0x65, 0x43, 0x21, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55,
		0x66, 0xff};
	struct fixture *f = *state;
	char object[CHAIN_NAME_MAX];
	struct bytes got = {0};

	chain_segment_object_name(name, object);
	assert_string_equal(object, "s/0f/0fedcba9876543210011223344" "5566ff");
	assert_int_equal(chain_read_segment(f->chain, name, 100, &got), -ENOENT);
	assert_int_equal(write_segment(f->chain, name), 0);
	expect_object(f, object, "segment");
	assert_int_equal(chain_read_segment(f->chain, name, 6, &got), -EBADMSG);
	assert_int_equal(chain_read_segment_range(f->chain, name, 5, 3, &got), -EBADMSG);
	assert_int_equal(chain_read_segment_range(f->chain, name, 3, 4, &got), 0);
	assert_int_equal(got.len, 4);
	assert_memory_equal(got.data, "ment", 4);
	bytes_clear(&got);
}

/* ---- the probe ---- */

static err_t count_one(void *ctx, const char *name, uint64_t size)
{
	unsigned *count = ctx;

	(void)name;
	assert_int_equal(size, PADME_FLOOR);
	++*count;
	return 0;
}

static void the_probe_finds_conditional_creates_and_cleans_up(void **state)
{
	struct fixture *f = *state;
	unsigned count = 0;

	assert_int_equal(chain_probe_conditional(f->chain), 0);
	assert_int_equal(store_list(f->dir, "", count_one, &count), 0);
	assert_int_equal(count, 0);
}

/* A store that ignores the condition, like a service that does not know the header. */
static err_t blind_create(struct store *s, const char *name, const uint8_t *data, size_t len)
{
	struct store *const *inner = (struct store *const *)(const void *)(s + 1);

	return store_put(*inner, name, data, len);
}

static err_t blind_remove(struct store *s, const char *name)
{
	struct store *const *inner = (struct store *const *)(const void *)(s + 1);

	return store_remove(*inner, name);
}

static void the_probe_finds_out_a_store_that_ignores_the_condition(void **state)
{
	static const struct store_ops ops = {.create_if_absent = blind_create, .remove = blind_remove};
	struct fixture *f = *state;
	struct {
		struct store base;
		struct store *inner;
	} blind = {{.ops = &ops}, f->dir};
	struct chain *c = NULL;

	assert_int_equal(chain_new(&blind.base, &c), 0);
	assert_ptr_equal(chain_store(c), &blind.base);
	assert_int_equal(chain_probe_conditional(c), -ENOTSUP);
	chain_free(c);
}

static void the_probe_is_not_confused_by_lost_answers(void **state)
{
	struct fixture *f = *state;

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_AFTER, .ops = STORE_OP_CREATE, .count = 1, .error = -EAGAIN});
	assert_int_equal(chain_probe_conditional(f->chain), 0);
	set(f, (struct store_fault_rule){.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_CREATE, .error = -EAGAIN});
	assert_int_equal(chain_probe_conditional(f->chain), -EAGAIN);
	set(f, (struct store_fault_rule){.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_CREATE, .error = -ENOTSUP});
	assert_int_equal(chain_probe_conditional(f->chain), -ENOTSUP);
	set(f, (struct store_fault_rule){.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_CREATE, .error = -EACCES});
	assert_int_equal(chain_probe_conditional(f->chain), -EACCES);
	set(f, (struct store_fault_rule){.kind = STORE_FAULT_VANISH, .ops = STORE_OP_CREATE});
	assert_int_equal(chain_probe_conditional(f->chain), -ENOTSUP);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void a_box_that_the_store_has_lost_or_changed_is_noticed_at_once(void **state)
{
	struct fixture *f = *state;
	char name[CHAIN_NAME_MAX] = "untouched";

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_VANISH, .ops = STORE_OP_PUT});
	assert_int_equal(chain_write_box(f->chain, 1, text("box"), 3, name), -EBADMSG);
	set(f, (struct store_fault_rule){.kind = STORE_FAULT_FLIP, .ops = STORE_OP_GET, .arg = 5});
	assert_int_equal(chain_write_box(f->chain, 1, text("box"), 3, name), -EBADMSG);
	set(f, (struct store_fault_rule){.kind = STORE_FAULT_TRUNCATE, .ops = STORE_OP_GET, .arg = 2});
	assert_int_equal(chain_write_box(f->chain, 1, text("box"), 3, name), -EBADMSG);
	assert_string_equal(name, "untouched");
}

static void a_box_that_shows_only_after_a_while_is_as_good(void **state)
{
	struct fixture *f = *state;
	char name[CHAIN_NAME_MAX];

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_VANISH, .ops = STORE_OP_GET, .count = 2});
	assert_int_equal(chain_write_box(f->chain, 1, text("box"), 3, name), 0);
	expect_object(f, name, "box");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(every_reader_and_writer_tries_again_and_gives_up_at_the_bound),
		T(one_try_means_no_wait),
		T(a_stop_that_is_set_ends_the_waiting),
		T(a_stop_is_noticed_while_waiting),
		T(bases_are_listed_newest_first_and_junk_is_passed_over),
		T(a_base_can_be_written_anew),
		T(boxes_are_listed_highest_epoch_first_and_junk_is_passed_over),
		T(two_boxes_of_one_epoch_have_different_names),
		T(a_box_that_the_store_has_lost_or_changed_is_noticed_at_once),
		T(a_box_that_shows_only_after_a_while_is_as_good),
		T(a_segment_lies_in_the_folder_of_its_first_byte),
		T(the_probe_finds_conditional_creates_and_cleans_up),
		T(the_probe_finds_out_a_store_that_ignores_the_condition),
		T(the_probe_is_not_confused_by_lost_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
