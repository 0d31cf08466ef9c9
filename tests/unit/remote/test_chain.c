/* The chain: its marker, and commits, of which each number has one, whatever is lost on the way. */
#include "chain_store.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "hash.h"
#include "padme.h"

/* ---- the marker ---- */

static void the_marker_says_which_vault_it_is(void **state)
{
	struct fixture *f = *state;
	uint8_t id[32] = {0};
	uint64_t size = 0;

	assert_int_equal(chain_read_marker(f->chain, id), -ENOENT);
	assert_int_equal(chain_write_marker(f->chain, VAULT), 0);
	assert_int_equal(chain_read_marker(f->chain, id), 0);
	assert_memory_equal(id, VAULT, 32);
	assert_int_equal(store_size(f->dir, "v", &size), 0);
	assert_int_equal(size, PADME_FLOOR);
}

static void a_marker_of_the_same_vault_may_be_written_again_and_of_another_not(void **state)
{
	struct fixture *f = *state;
	uint8_t id[32] = {0};

	assert_int_equal(chain_write_marker(f->chain, VAULT), 0);
	assert_int_equal(chain_write_marker(f->chain, VAULT), 0);
	assert_int_equal(chain_write_marker(f->chain, OTHER), -EEXIST);
	assert_int_equal(chain_read_marker(f->chain, id), 0);
	assert_memory_equal(id, VAULT, 32);
}

static void a_marker_whose_answer_was_lost_is_written(void **state)
{
	struct fixture *f = *state;

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_AFTER, .ops = STORE_OP_CREATE, .count = 1, .error = -EAGAIN});
	assert_int_equal(chain_write_marker(f->chain, VAULT), 0);
	assert_int_equal(store_fault_calls(f->store, STORE_OP_CREATE), 2);
}

static void a_marker_with_any_byte_changed_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(chain_write_marker(f->chain, VAULT), 0);
	for (uint64_t byte = 0; byte < PADME_FLOOR; byte++) {
		uint8_t id[32] = {0};
		const uint8_t zeros[32] = {0};

		set(f, (struct store_fault_rule){.kind = STORE_FAULT_FLIP, .ops = STORE_OP_GET, .arg = byte * 8 + byte % 8});
		assert_int_equal(chain_read_marker(f->chain, id), byte == 0 ? -EPROTO : -EBADMSG);
		assert_memory_equal(id, zeros, 32);
	}
}

static void a_marker_cut_at_any_length_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(chain_write_marker(f->chain, VAULT), 0);
	for (uint64_t len = 0; len < PADME_FLOOR; len++) {
		uint8_t id[32];

		set(f, (struct store_fault_rule){.kind = STORE_FAULT_TRUNCATE, .ops = STORE_OP_GET, .arg = len});
		assert_int_equal(chain_read_marker(f->chain, id), -EBADMSG);
	}
}

/* Puts a marker whose hash is right, whatever else it says. */
static void forge_marker(struct fixture *f, size_t len, uint8_t version, uint8_t kind, uint8_t reserved)
{
	uint8_t *marker = calloc(1, len);

	assert_non_null(marker);
	marker[0] = version;
	marker[1] = kind;
	marker[3] = reserved;
	assert_int_equal(hash_sha256(marker, len - 32, marker + len - 32), 0);
	assert_int_equal(store_put(f->dir, "v", marker, len), 0);
	free(marker);
}

static void a_marker_of_an_unknown_version_is_eproto_and_of_a_wrong_kind_ebadmsg(void **state)
{
	struct fixture *f = *state;
	uint8_t id[32];

	forge_marker(f, PADME_FLOOR, 1, 5, 0);
	assert_int_equal(chain_read_marker(f->chain, id), 0);
	forge_marker(f, PADME_FLOOR, 2, 5, 0);
	assert_int_equal(chain_read_marker(f->chain, id), -EPROTO);
	assert_int_equal(chain_write_marker(f->chain, VAULT), -EPROTO);
	forge_marker(f, 2 * PADME_FLOOR, 2, 5, 0);
	assert_int_equal(chain_read_marker(f->chain, id), -EPROTO);
	forge_marker(f, 2 * PADME_FLOOR, 1, 5, 0);
	assert_int_equal(chain_read_marker(f->chain, id), -EBADMSG);
	forge_marker(f, PADME_FLOOR, 1, 1, 0);
	assert_int_equal(chain_read_marker(f->chain, id), -EBADMSG);
	forge_marker(f, PADME_FLOOR, 1, 5, 1);
	assert_int_equal(chain_read_marker(f->chain, id), -EBADMSG);
	assert_int_equal(chain_write_marker(f->chain, VAULT), -EBADMSG);
}

/* ---- commits ---- */

static void a_commit_lies_under_its_number_and_is_never_replaced(void **state)
{
	struct fixture *f = *state;
	struct bytes got = {0};

	assert_int_equal(chain_read_commit(f->chain, 7, &got), -ENOENT);
	assert_int_equal(chain_commit(f->chain, 7, text("seven"), 5), 0);
	expect_object(f, "c/000000000007", "seven");
	assert_int_equal(chain_commit(f->chain, 7, text("other"), 5), -EEXIST);
	assert_int_equal(chain_commit(f->chain, 7, text("longer one"), 10), -EEXIST);
	assert_int_equal(chain_commit(f->chain, 7, text("7"), 1), -EEXIST);
	assert_int_equal(chain_commit(f->chain, 7, text("seven"), 5), 0);
	assert_int_equal(chain_read_commit(f->chain, 7, &got), 0);
	assert_int_equal(got.len, 5);
	assert_memory_equal(got.data, "seven", 5);
	bytes_clear(&got);
	assert_int_equal(chain_read_commit_start(f->chain, 7, 4, &got), 0);
	assert_int_equal(got.len, 4);
	assert_memory_equal(got.data, "seve", 4);
	bytes_clear(&got);
	assert_int_equal(chain_read_commit_start(f->chain, 7, 6, &got), -EBADMSG);
	assert_int_equal(chain_read_commit_start(f->chain, 8, 1, &got), -ENOENT);
	bytes_clear(&got);
}

static void numbers_end_at_twelve_digits(void **state)
{
	struct fixture *f = *state;
	struct bytes got = {0};

	assert_int_equal(chain_commit(f->chain, CHAIN_SEQ_MAX, text("x"), 1), 0);
	expect_object(f, "c/999999999999", "x");
	assert_int_equal(chain_commit(f->chain, CHAIN_SEQ_MAX + 1, text("x"), 1), -EINVAL);
	assert_int_equal(chain_read_commit(f->chain, UINT64_MAX, &got), -EINVAL);
	assert_int_equal(chain_read_commit_start(f->chain, CHAIN_SEQ_MAX + 1, 1, &got), -EINVAL);
	assert_int_equal(chain_write_base(f->chain, CHAIN_SEQ_MAX + 1, text("x"), 1), -EINVAL);
	assert_int_equal(chain_read_base(f->chain, CHAIN_SEQ_MAX + 1, &got), -EINVAL);
}

static void a_commit_whose_answer_was_lost_is_found_to_be_ours(void **state)
{
	struct fixture *f = *state;

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_AFTER, .ops = STORE_OP_CREATE, .count = 1, .error = -EAGAIN});
	assert_int_equal(chain_commit(f->chain, 1, text("ours"), 4), 0);
	assert_int_equal(store_fault_calls(f->store, STORE_OP_CREATE), 1);
}

static void a_commit_that_was_sent_twice_is_found_to_be_ours(void **state)
{
	struct fixture *f = *state;

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_TWICE, .ops = STORE_OP_CREATE});
	assert_int_equal(chain_commit(f->chain, 1, text("ours"), 4), 0);
	expect_object(f, "c/000000000001", "ours");
}

static void a_lost_answer_does_not_hide_that_another_has_won(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_put(f->dir, "c/000000000001", text("them"), 4), 0);
	set(f, (struct store_fault_rule){.kind = STORE_FAULT_AFTER, .ops = STORE_OP_CREATE, .error = -EAGAIN});
	assert_int_equal(chain_commit(f->chain, 1, text("ours"), 4), -EEXIST);
	expect_object(f, "c/000000000001", "them");
}

static void a_commit_that_did_not_arrive_is_sent_again(void **state)
{
	struct fixture *f = *state;

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_CREATE, .count = 2, .error = -EAGAIN});
	assert_int_equal(chain_commit(f->chain, 1, text("ours"), 4), 0);
	assert_int_equal(store_fault_calls(f->store, STORE_OP_CREATE), 3);
}

static void a_commit_is_settled_also_when_reading_back_fails_at_first(void **state)
{
	struct fixture *f = *state;
	const struct store_fault_rule rules[] = {
		{.kind = STORE_FAULT_AFTER, .ops = STORE_OP_CREATE, .count = 1, .error = -EAGAIN},
		{.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_GET | STORE_OP_SIZE, .count = 1, .error = -EAGAIN},
	};

	assert_int_equal(store_fault_set(f->store, rules, ARRAY_LEN(rules)), 0);
	assert_int_equal(chain_commit(f->chain, 1, text("ours"), 4), 0);
	expect_object(f, "c/000000000001", "ours");
}

static void a_commit_that_cannot_be_read_back_whole_is_not_said_to_be_won_or_lost(void **state)
{
	struct fixture *f = *state;
	const struct store_fault_rule rules[] = {
		{.kind = STORE_FAULT_AFTER, .ops = STORE_OP_CREATE, .error = -EAGAIN},
		{.kind = STORE_FAULT_TRUNCATE, .ops = STORE_OP_GET, .arg = 2},
	};

	assert_int_equal(store_fault_set(f->store, rules, ARRAY_LEN(rules)), 0);
	assert_int_equal(chain_commit(f->chain, 1, text("ours"), 4), -EBADMSG);
	assert_int_equal(store_fault_set(f->store, NULL, 0), 0);
	assert_int_equal(chain_commit(f->chain, 1, text("ours"), 4), 0);
}

static void a_device_that_is_alone_needs_no_conditional_creates(void **state)
{
	struct fixture *f = *state;

	set(f, (struct store_fault_rule){.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_CREATE, .error = -ENOTSUP});
	assert_int_equal(chain_commit(f->chain, 0, text("one"), 3), -ENOTSUP);
	assert_int_equal(chain_write_marker(f->chain, VAULT), -ENOTSUP);
	chain_set_alone(f->chain, true);
	assert_int_equal(chain_write_marker(f->chain, VAULT), 0);
	assert_int_equal(chain_write_marker(f->chain, VAULT), 0);
	assert_int_equal(chain_write_marker(f->chain, OTHER), -EEXIST);
	assert_int_equal(chain_commit(f->chain, 0, text("one"), 3), 0);
	assert_int_equal(chain_commit(f->chain, 0, text("one"), 3), 0);
	assert_int_equal(chain_commit(f->chain, 0, text("two"), 3), -EEXIST);
	assert_int_equal(chain_commit(f->chain, 0, text("three"), 5), -EEXIST);
	expect_object(f, "c/000000000000", "one");
	chain_set_alone(f->chain, false);
	assert_int_equal(chain_commit(f->chain, 1, text("one"), 3), -ENOTSUP);
}

static void other_errors_of_a_commit_are_handed_on_at_once(void **state)
{
	static const err_t errors[] = {-EACCES, -ENOSPC, -ENOTSUP, -EBADMSG, -EIO, -ENOMEM, -ECANCELED};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		uint64_t before = store_fault_calls(f->store, STORE_OP_ALL);

		set(f, (struct store_fault_rule){.kind = STORE_FAULT_BEFORE, .ops = STORE_OP_CREATE, .error = errors[i]});
		assert_int_equal(chain_commit(f->chain, 1, text("ours"), 4), errors[i]);
		assert_int_equal(store_fault_calls(f->store, STORE_OP_ALL), before + 1);
	}
}

static void objects_beyond_their_maximum_are_refused(void **state)
{
	struct fixture *f = *state;
	struct bytes got = {0};
	char name[CHAIN_NAME_MAX] = "untouched";
	char path[120];

	/* The length alone decides: the bytes are never looked at. */
	assert_int_equal(chain_commit(f->chain, 1, text("x"), (size_t)CHAIN_OBJECT_MAX + 1), -EINVAL);
	assert_int_equal(chain_commit(f->chain, 1, text("x"), 0), -EINVAL);
	assert_int_equal(chain_write_base(f->chain, 1, text("x"), (size_t)CHAIN_OBJECT_MAX + 1), -EINVAL);
	assert_int_equal(chain_write_box(f->chain, 1, text("x"), (size_t)CHAIN_BOX_MAX + 1, name), -EINVAL);
	assert_string_equal(name, "untouched");
	/* A sparse monster in the store is not even begun to be read. */
	assert_int_equal(chain_commit(f->chain, 1, text("x"), 1), 0);
	assert_int_equal(chain_write_base(f->chain, 1, text("x"), 1), 0);
	(void)snprintf(path, sizeof(path), "%s/c/000000000001", f->path);
	assert_int_equal(truncate(path, (off_t)CHAIN_OBJECT_MAX + 1), 0);
	(void)snprintf(path, sizeof(path), "%s/b/000000000001", f->path);
	assert_int_equal(truncate(path, (off_t)1 << 40), 0);
	assert_int_equal(chain_read_commit(f->chain, 1, &got), -EBADMSG);
	assert_int_equal(chain_read_base(f->chain, 1, &got), -EBADMSG);
	assert_int_equal(got.len, 0);
}

/* ---- two devices ---- */

struct device {
	struct chain *chain;
	uint8_t mark;
	unsigned won;
	err_t err;
};

static void *push_often(void *arg)
{
	struct device *me = arg;
	uint64_t seq = 0;

	while (me->won < 30 && me->err == 0) {
		uint8_t object[100];

		memset(object, me->mark, sizeof(object));
		object[0] = (uint8_t)seq;
		me->err = chain_commit(me->chain, seq, object, sizeof(object));
		me->won += me->err == 0;
		if (me->err == -EEXIST)
			me->err = 0;
		seq++;
	}
	return NULL;
}

static void two_devices_that_lose_answers_share_the_numbers_without_gap_or_overlap(void **state)
{
	struct fixture *f = *state;
	const struct store_fault_rule rules[] = {
		{.kind = STORE_FAULT_AFTER, .ops = STORE_OP_CREATE, .percent = 10, .error = -EAGAIN},
		{.kind = STORE_FAULT_TWICE, .ops = STORE_OP_CREATE, .percent = 20},
	};
	struct device devices[2] = {{.chain = f->chain, .mark = 'a'}, {.chain = f->chain, .mark = 'b'}};
	unsigned found[2] = {0};
	pthread_t threads[2];

	chain_set_retry(f->chain, 10, NULL);
	assert_int_equal(store_fault_set(f->store, rules, ARRAY_LEN(rules)), 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, push_often, &devices[i]), 0);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(devices[i].err, 0);
	}
	assert_int_equal(store_fault_set(f->store, NULL, 0), 0);
	for (uint64_t seq = 0; seq < 60; seq++) {
		struct bytes got = {0};

		assert_int_equal(chain_read_commit(f->chain, seq, &got), 0);
		found[got.data[1] == 'a' ? 0 : 1]++;
		bytes_clear(&got);
	}
	assert_int_equal(found[0], 30);
	assert_int_equal(found[1], 30);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(the_marker_says_which_vault_it_is),
		T(a_marker_of_the_same_vault_may_be_written_again_and_of_another_not),
		T(a_marker_whose_answer_was_lost_is_written),
		T(a_marker_with_any_byte_changed_is_refused),
		T(a_marker_cut_at_any_length_is_refused),
		T(a_marker_of_an_unknown_version_is_eproto_and_of_a_wrong_kind_ebadmsg),
		T(a_commit_lies_under_its_number_and_is_never_replaced),
		T(numbers_end_at_twelve_digits),
		T(a_commit_whose_answer_was_lost_is_found_to_be_ours),
		T(a_commit_that_was_sent_twice_is_found_to_be_ours),
		T(a_lost_answer_does_not_hide_that_another_has_won),
		T(a_commit_that_did_not_arrive_is_sent_again),
		T(a_commit_is_settled_also_when_reading_back_fails_at_first),
		T(a_commit_that_cannot_be_read_back_whole_is_not_said_to_be_won_or_lost),
		T(a_device_that_is_alone_needs_no_conditional_creates),
		T(other_errors_of_a_commit_are_handed_on_at_once),
		T(objects_beyond_their_maximum_are_refused),
		T(two_devices_that_lose_answers_share_the_numbers_without_gap_or_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
