/* The misbehaving store misbehaves as it is told, and only then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_dir.h"
#include "store_fault.h"

#include "../tempdir.h"

struct fixture {
	char path[64];
	struct store *inner; /* owned by `store` */
	struct store *store;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->path, "/tmp/store_fault.XXXXXX");
	assert_non_null(mkdtemp(f->path));
	assert_int_equal(store_dir_open(f->path, true, &f->inner, NULL), 0);
	assert_int_equal(store_fault_new(f->inner, 1, &f->store), 0);
	assert_int_equal(store_put(f->inner, "c/1", (const uint8_t *)"eight ch", 8), 0);
	assert_int_equal(store_put(f->inner, "c/0", (const uint8_t *)"old", 3), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_free(f->store);
	tempdir_remove(f->path);
	free(f);
	return 0;
}

static void set(struct fixture *f, struct store_fault_rule rule)
{
	assert_int_equal(store_fault_set(f->store, &rule, 1), 0);
}

static err_t put(struct store *s, const char *name, const char *data)
{
	return store_put(s, name, (const uint8_t *)data, strlen(data));
}

static err_t create(struct store *s, const char *name, const char *data)
{
	return store_create_if_absent(s, name, (const uint8_t *)data, strlen(data));
}

/* get, with the bytes that came as text. */
static err_t get(struct store *s, const char *name, char text[static 32])
{
	struct bytes got = {0};
	err_t err = store_get(s, name, 31, &got);

	if (err == 0) {
		if (got.len > 0)
			memcpy(text, got.data, got.len);
		text[got.len] = '\0';
	} else {
		assert_int_equal(got.len, 0);
	}
	bytes_clear(&got);
	return err;
}

static err_t count_one(void *ctx, const char *name, uint64_t size)
{
	unsigned *count = ctx;

	(void)name;
	(void)size;
	++*count;
	return 0;
}

static void without_rules_everything_passes(void **state)
{
	struct fixture *f = *state;
	uint64_t size = 0, total = 0;
	unsigned count = 0;
	char text[32];

	assert_string_equal(f->store->url, f->inner->url);
	assert_int_equal(put(f->store, "b/1", "base"), 0);
	assert_int_equal(create(f->store, "c/2", "two"), 0);
	assert_int_equal(create(f->store, "c/2", "other"), -EEXIST);
	assert_int_equal(get(f->store, "c/2", text), 0);
	assert_string_equal(text, "two");
	assert_int_equal(store_size(f->store, "b/1", &size), 0);
	assert_int_equal(size, 4);
	assert_int_equal(store_list(f->store, "c/", count_one, &count), 0);
	assert_int_equal(count, 3);
	assert_int_equal(store_space(f->store, &size, &total), 0);
	assert_int_equal(store_remove(f->store, "b/1"), 0);
	assert_int_equal(get(f->inner, "b/1", text), -ENOENT);
}

static void before_answers_the_error_and_does_nothing(void **state)
{
	struct fixture *f = *state;
	struct bytes got = {0};
	unsigned count = 0;
	uint64_t size = 5;
	char text[32];

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_ALL, .error = -ENOSPC});
	assert_int_equal(put(f->store, "b/1", "base"), -ENOSPC);
	assert_int_equal(create(f->store, "b/2", "base"), -ENOSPC);
	assert_int_equal(get(f->store, "c/1", text), -ENOSPC);
	assert_int_equal(store_get_range(f->store, "c/1", 0, 1, &got), -ENOSPC);
	assert_int_equal(store_size(f->store, "c/1", &size), -ENOSPC);
	assert_int_equal(store_remove(f->store, "c/1"), -ENOSPC);
	assert_int_equal(store_list(f->store, "", count_one, &count), -ENOSPC);
	assert_int_equal(count, 0);
	assert_int_equal(size, 5);
	assert_int_equal(get(f->inner, "b/1", text), -ENOENT);
	assert_int_equal(get(f->inner, "b/2", text), -ENOENT);
	assert_int_equal(get(f->inner, "c/1", text), 0);
}

static void after_does_it_and_loses_the_answer(void **state)
{
	struct fixture *f = *state;
	struct bytes got = {0};
	unsigned count = 0;
	uint64_t size = 5;
	char text[32];

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_AFTER, .ops = STORE_OP_ALL, .error = -EAGAIN});
	assert_int_equal(put(f->store, "b/1", "base"), -EAGAIN);
	assert_int_equal(create(f->store, "b/2", "two"), -EAGAIN);
	assert_int_equal(get(f->store, "c/1", text), -EAGAIN);
	assert_int_equal(store_get_range(f->store, "c/1", 0, 1, &got), -EAGAIN);
	assert_int_equal(got.len, 0);
	assert_int_equal(store_size(f->store, "c/1", &size), -EAGAIN);
	assert_int_equal(store_list(f->store, "", count_one, &count), -EAGAIN);
	assert_int_equal(store_remove(f->store, "c/1"), -EAGAIN);
	assert_int_equal(count, 0);
	assert_int_equal(size, 5);
	assert_int_equal(get(f->inner, "b/1", text), 0);
	assert_int_equal(get(f->inner, "b/2", text), 0);
	assert_int_equal(get(f->inner, "c/1", text), -ENOENT);
}

static void twice_gives_the_second_answer(void **state)
{
	struct fixture *f = *state;
	struct bytes got = {0};
	unsigned count = 0;
	uint64_t size = 0;
	char text[32];

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_TWICE, .ops = STORE_OP_ALL});
	assert_int_equal(create(f->store, "b/2", "two"), -EEXIST);
	assert_int_equal(put(f->store, "b/1", "base"), 0);
	assert_int_equal(get(f->store, "c/1", text), 0);
	assert_string_equal(text, "eight ch");
	assert_int_equal(store_get_range(f->store, "c/1", 1, 3, &got), 0);
	assert_int_equal(got.len, 3);
	assert_int_equal(store_size(f->store, "c/1", &size), 0);
	assert_int_equal(size, 8);
	assert_int_equal(store_list(f->store, "", count_one, &count), 0);
	assert_int_equal(count, 4);
	assert_int_equal(store_remove(f->store, "c/1"), 0);
	assert_int_equal(get(f->inner, "b/2", text), 0);
	bytes_clear(&got);
}

static void flip_changes_just_the_bit_that_was_asked_for(void **state)
{
	struct fixture *f = *state;

	for (uint64_t bit = 0; bit < 130; bit++) {
		struct bytes whole = {0}, range = {0};
		uint8_t expected[8];

		set(f, (struct store_fault_rule){.kind = STORE_FAULT_FLIP, .ops = STORE_OP_ALL, .arg = bit});
		assert_int_equal(store_get(f->store, "c/1", 8, &whole), 0);
		memcpy(expected, "eight ch", 8);
		expected[bit % 64 / 8] ^= (uint8_t)(1u << bit % 8);
		assert_memory_equal(whole.data, expected, 8);
		assert_int_equal(store_get_range(f->store, "c/1", 2, 1, &range), 0);
		assert_int_equal(range.data[0], 'g' ^ (1 << bit % 8));
		bytes_clear(&whole);
		bytes_clear(&range);
	}
	assert_int_equal(put(f->store, "b/1", "not flipped"), 0);
}

static void truncate_hands_on_only_the_beginning(void **state)
{
	struct fixture *f = *state;

	for (uint64_t len = 0; len <= 10; len++) {
		char text[32];

		set(f, (struct store_fault_rule){.kind = STORE_FAULT_TRUNCATE, .ops = STORE_OP_GET, .arg = len});
		assert_int_equal(get(f->store, "c/1", text), 0);
		assert_int_equal(strlen(text), len < 8 ? len : 8);
		assert_memory_equal(text, "eight ch", strlen(text));
	}
}

static void stale_serves_another_object(void **state)
{
	struct fixture *f = *state;
	char text[32];

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_STALE, .ops = STORE_OP_ALL, .prefix = "c/1", .other = "c/0"});
	assert_int_equal(get(f->store, "c/1", text), 0);
	assert_string_equal(text, "old");
	assert_int_equal(get(f->store, "c/0", text), 0);
	assert_string_equal(text, "old");
}

static void vanish_pretends_writes_and_hides_objects(void **state)
{
	struct fixture *f = *state;
	struct bytes got = {0};
	uint64_t size = 0;
	char text[32];

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_VANISH, .ops = STORE_OP_ALL});
	assert_int_equal(put(f->store, "b/1", "base"), 0);
	assert_int_equal(create(f->store, "c/1", "exists, really"), 0);
	assert_int_equal(get(f->store, "c/1", text), -ENOENT);
	assert_int_equal(store_get_range(f->store, "c/1", 0, 1, &got), -ENOENT);
	assert_int_equal(store_size(f->store, "c/1", &size), -ENOENT);
	assert_int_equal(get(f->inner, "b/1", text), -ENOENT);
	assert_int_equal(get(f->inner, "c/1", text), 0);
	assert_string_equal(text, "eight ch");
}

static void skip_count_ops_and_prefix_choose_the_calls(void **state)
{
	struct fixture *f = *state;
	char text[32];

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_GET | STORE_OP_SIZE, .prefix = "c/",
		.skip = 2, .count = 3, .error = -EAGAIN});
	for (int i = 0; i < 8; i++) {
		assert_int_equal(put(f->store, "c/9", "x"), 0);
		assert_int_equal(get(f->store, "b/9", text), -ENOENT);
		assert_int_equal(get(f->store, "c/1", text), i >= 2 && i < 5 ? -EAGAIN : 0);
	}
}

static void the_first_rule_that_strikes_counts(void **state)
{
	struct fixture *f = *state;
	const struct store_fault_rule rules[] = {
		{.kind = STORE_FAULT_NONE, .ops = STORE_OP_ALL, .prefix = "c/0"},
		{.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_GET, .count = 1, .error = -EACCES},
		{.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_ALL, .error = -ENOSPC},
	};
	char text[32];

	assert_int_equal(store_fault_set(f->store, rules, ARRAY_LEN(rules)), 0);
	assert_int_equal(get(f->store, "c/0", text), 0);
	assert_int_equal(get(f->store, "c/1", text), -EACCES);
	assert_int_equal(get(f->store, "c/1", text), -ENOSPC);
	assert_int_equal(store_fault_set(f->store, NULL, 0), 0);
	assert_int_equal(get(f->store, "c/1", text), 0);
}

static unsigned strikes_of_200(struct store *s)
{
	unsigned struck = 0;
	char text[32];

	for (int i = 0; i < 200; i++)
		struck += get(s, "c/1", text) != 0;
	return struck;
}

static void percent_strikes_sometimes_and_the_same_for_the_same_seed(void **state)
{
	struct fixture *f = *state;
	const struct store_fault_rule rule = {.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_GET, .percent = 30, .error = -EAGAIN};
	unsigned first[2];

	for (size_t i = 0; i < 2; i++) {
		struct store *inner = NULL, *again = NULL;

		assert_int_equal(store_dir_open(f->path, false, &inner, NULL), 0);
		assert_int_equal(store_fault_new(inner, 42, &again), 0);
		assert_int_equal(store_fault_set(again, &rule, 1), 0);
		first[i] = strikes_of_200(again);
		store_free(again);
	}
	assert_in_range(first[0], 20, 120);
	assert_int_equal(first[0], first[1]);
}

static void strings_of_rules_are_copied_and_bounded(void **state)
{
	struct fixture *f = *state;
	char prefix[4] = "c/1";
	char longest[STORE_NAME_MAX + 2];
	struct store_fault_rule rule = {.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_GET, .prefix = prefix, .error = -EIO};
	char text[32];

	assert_int_equal(store_fault_set(f->store, &rule, 1), 0);
	memset(prefix, 'z', 3);
	assert_int_equal(get(f->store, "c/1", text), -EIO);
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	rule.prefix = longest;
	assert_int_equal(store_fault_set(f->store, &rule, 1), -EINVAL);
	/* The rules that were set before still hold. */
	assert_int_equal(get(f->store, "c/1", text), -EIO);
}

static void calls_are_counted_by_kind(void **state)
{
	struct fixture *f = *state;
	char text[32];

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_GET, .error = -EIO});
	assert_int_equal(put(f->store, "b/1", "x"), 0);
	assert_int_equal(put(f->store, "b/2", "x"), 0);
	assert_int_equal(create(f->store, "b/2", "x"), -EEXIST);
	assert_int_equal(get(f->store, "b/1", text), -EIO);
	assert_int_equal(store_fault_calls(f->store, STORE_OP_PUT), 2);
	assert_int_equal(store_fault_calls(f->store, STORE_OP_CREATE), 1);
	assert_int_equal(store_fault_calls(f->store, STORE_OP_GET), 1);
	assert_int_equal(store_fault_calls(f->store, STORE_OP_GET_RANGE | STORE_OP_SIZE | STORE_OP_LIST), 0);
	assert_int_equal(store_fault_calls(f->store, STORE_OP_ALL), 4);
}

static void *read_often(void *arg)
{
	uintptr_t failed = 0;
	char text[32];

	for (int i = 0; i < 100; i++)
		failed += get(arg, "c/1", text) != 0;
	return (void *)failed;
}

static void rules_may_change_while_threads_are_calling(void **state)
{
	struct fixture *f = *state;
	uintptr_t failed = 0;
	pthread_t threads[3];

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_GET, .count = 7, .error = -EIO});
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_often, f->store), 0);
	for (int i = 0; i < 50; i++) {
		const struct store_fault_rule other = {.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_PUT, .prefix = "x"};
		if (i >= 25) /* from here on no get is struck */
			assert_int_equal(store_fault_set(f->store, &other, 1), 0);
		assert_true(store_fault_calls(f->store, STORE_OP_GET) <= 300);
	}
	for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
		void *one = NULL;

		assert_int_equal(pthread_join(threads[i], &one), 0);
		failed += (uintptr_t)one;
	}
	assert_true(failed <= 7);
	assert_int_equal(store_fault_calls(f->store, STORE_OP_GET), 300);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(without_rules_everything_passes),
		T(before_answers_the_error_and_does_nothing),
		T(after_does_it_and_loses_the_answer),
		T(twice_gives_the_second_answer),
		T(flip_changes_just_the_bit_that_was_asked_for),
		T(truncate_hands_on_only_the_beginning),
		T(stale_serves_another_object),
		T(vanish_pretends_writes_and_hides_objects),
		T(skip_count_ops_and_prefix_choose_the_calls),
		T(the_first_rule_that_strikes_counts),
		T(percent_strikes_sometimes_and_the_same_for_the_same_seed),
		T(strings_of_rules_are_copied_and_bounded),
		T(calls_are_counted_by_kind),
		T(rules_may_change_while_threads_are_calling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
