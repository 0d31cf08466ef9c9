/* A vault's objects from store to store: all of them, the commits last and without a gap, and again after an interruption. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "copy.h"
#include "store_fault.h"

struct fixture {
	char top[64];
	struct store *from, *to; /* store_fault's */
};

static const char *const names[] = {"v", "k/0-00112233445566778899aabbccddeeff", "s/aa/aa112233445566778899aabbccddeeff",
	"s/bb/bb112233445566778899aabbccddeeff", "s/cc/cc112233445566778899aabbccddeeff", "b/000000000001", "c/000000000000",
	"c/000000000001", "c/000000000002", "c/000000000003"};

static struct store *open_at(const char *top, const char *name)
{
	struct store *inner, *fault;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", top, name);
	assert_int_equal(store_open(path, true, &inner, NULL), 0);
	assert_int_equal(store_fault_new(inner, 1, &fault), 0);
	return fault;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->top, "/tmp/test_copy.XXXXXX");
	assert_non_null(mkdtemp(f->top));
	f->from = open_at(f->top, "from");
	f->to = open_at(f->top, "to");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(store_put(f->from, names[i], (const uint8_t *)names[i], strlen(names[i])), 0);
	assert_int_equal(store_put(f->from, "elsewhere/x", (const uint8_t *)"x", 1), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[80];

	store_free(f->from);
	store_free(f->to);
	(void)snprintf(command, sizeof(command), "rm -r %s", f->top);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void expect_all(struct fixture *f)
{
	uint64_t size;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct bytes b = {0};

		assert_int_equal(store_get(f->to, names[i], 1000, &b), 0);
		assert_int_equal(b.len, strlen(names[i]));
		assert_memory_equal(b.data, names[i], b.len);
		bytes_clear(&b);
	}
	assert_int_equal(store_size(f->to, "elsewhere/x", &size), -ENOENT);
}

static void everything_of_a_vault_is_copied_and_nothing_else(void **state)
{
	const struct copy_hooks hooks = {0};
	struct fixture *f = *state;
	struct copy_result r;

	assert_int_equal(copy_objects(f->from, f->to, &hooks, &r), 0);
	assert_int_equal(r.objects, ARRAY_LEN(names));
	expect_all(f);
}

static void what_is_there_is_not_copied_again(void **state)
{
	const struct copy_hooks hooks = {0};
	struct fixture *f = *state;
	struct copy_result r;
	uint64_t reads, writes;

	assert_int_equal(copy_objects(f->from, f->to, &hooks, &r), 0);
	assert_int_equal(store_remove(f->to, names[3]), 0);
	reads = store_fault_calls(f->from, STORE_OP_GET);
	writes = store_fault_calls(f->to, STORE_OP_PUT);
	assert_int_equal(copy_objects(f->from, f->to, &hooks, &r), 0);
	assert_int_equal(store_fault_calls(f->from, STORE_OP_GET) - reads, 2); /* and the last commit, to compare */
	assert_int_equal(store_fault_calls(f->to, STORE_OP_PUT) - writes, 1);
	expect_all(f);
}

static void a_failure_leaves_no_commit_before_what_it_needs_and_no_gap(void **state)
{
	const struct copy_hooks hooks = {0};
	struct fixture *f = *state;

	for (unsigned fail = 0; fail < ARRAY_LEN(names); fail++) {
		const struct store_fault_rule rule = {.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_PUT | STORE_OP_CREATE, .skip = fail, .error = -ENOSPC};
		struct copy_result r;
		bool missing = false;

		assert_int_equal(store_fault_set(f->to, &rule, 1), 0);
		assert_int_equal(copy_objects(f->from, f->to, &hooks, &r), -ENOSPC);
		assert_ptr_equal(r.failed, f->to);
		for (size_t i = 0; i < ARRAY_LEN(names); i++) {
			uint64_t size;
			bool there = store_size(f->to, names[i], &size) == 0;

			assert_false(missing && there && names[i][0] == 'c');
			missing = missing || !there;
		}
		assert_true(missing);
		for (size_t i = 0; i < ARRAY_LEN(names); i++)
			assert_int_equal(store_remove(f->to, names[i]), 0);
	}
}

static void a_store_that_has_gone_on_is_left_alone(void **state)
{
	const struct copy_hooks hooks = {0};
	struct fixture *f = *state;
	struct copy_result r;
	uint64_t writes;

	assert_int_equal(copy_objects(f->from, f->to, &hooks, &r), 0);
	assert_int_equal(store_put(f->to, "c/000000000004", (const uint8_t *)"theirs", 6), 0);
	writes = store_fault_calls(f->to, STORE_OP_PUT | STORE_OP_CREATE);
	assert_int_equal(store_put(f->from, "b/000000000004", (const uint8_t *)"old", 3), 0);
	assert_int_equal(copy_objects(f->from, f->to, &hooks, &r), -EEXIST); /* ahead */
	assert_int_equal(store_put(f->from, "c/000000000004", (const uint8_t *)"ours!!", 6), 0);
	assert_int_equal(copy_objects(f->from, f->to, &hooks, &r), -EEXIST); /* another one of the same size */
	assert_int_equal(store_fault_calls(f->to, STORE_OP_PUT | STORE_OP_CREATE), writes);
	assert_int_equal(store_put(f->from, "c/000000000004", (const uint8_t *)"theirs", 6), 0);
	assert_int_equal(copy_objects(f->from, f->to, &hooks, &r), 0);
}

static void passing_troubles_are_waited_out(void **state)
{
	const struct copy_hooks hooks = {0};
	const struct store_fault_rule rule = {.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_ALL, .count = 3, .error = -EAGAIN};
	struct fixture *f = *state;
	struct copy_result r;

	assert_int_equal(store_fault_set(f->from, &rule, 1), 0);
	assert_int_equal(store_fault_set(f->to, &rule, 1), 0);
	assert_int_equal(copy_objects(f->from, f->to, &hooks, &r), 0);
	expect_all(f);
}

static err_t from_nearby(void *ctx, const char *name, struct bytes *out)
{
	atomic_uint *asked = ctx; /* several copy at once */

	if (name[0] != 's')
		return -ENOENT;
	(*asked)++;
	return bytes_append(out, name, strlen(name));
}

static void what_is_nearer_is_not_read_from_the_old_store(void **state)
{
	atomic_uint asked = 0;
	const struct copy_hooks hooks = {.ctx = &asked, .local = from_nearby};
	struct fixture *f = *state;
	struct copy_result r;
	uint64_t reads = store_fault_calls(f->from, STORE_OP_GET);

	assert_int_equal(copy_objects(f->from, f->to, &hooks, &r), 0);
	assert_true(asked >= 3);
	assert_int_equal(store_fault_calls(f->from, STORE_OP_GET) - reads, ARRAY_LEN(names) - 3);
	expect_all(f);
}

static void it_stops_when_told(void **state)
{
	atomic_bool stop = true;
	const struct copy_hooks hooks = {.stop = &stop};
	struct fixture *f = *state;
	struct copy_result r;
	uint64_t size;

	assert_int_equal(copy_objects(f->from, f->to, &hooks, &r), -ECANCELED);
	assert_null(r.failed);
	assert_int_equal(store_size(f->to, "v", &size), -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(everything_of_a_vault_is_copied_and_nothing_else),
		TEST(what_is_there_is_not_copied_again),
		TEST(a_failure_leaves_no_commit_before_what_it_needs_and_no_gap),
		TEST(a_store_that_has_gone_on_is_left_alone),
		TEST(passing_troubles_are_waited_out),
		TEST(what_is_nearer_is_not_read_from_the_old_store),
		TEST(it_stops_when_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
