/*
 * A commit that was tampered with, at every offset and at every length: it is refused with the right error, nothing changes here,
 * and the good one is applied afterwards.  What an adversary with keys can do is in tests/attacks.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "sides.h"

/* B knows all commits but the next, whose object is out. */
static void
begin(struct fixture *f, struct bytes *out)
{
	make_text(&f->a, "first", "what B has");
	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	make_text(&f->a, "second", "what B gets next");
	sync_ok(&f->a);
	assert_int_equal(chain_read_commit(f->a.sync->chain, head_of(&f->b) + 1, out), 0);
	assert_int_equal(out->len, 4096);
}

static void
refused(struct side *s, const uint8_t *object, size_t len, err_t expected)
{
	uint64_t head = s->v->head_seq;
	uint8_t hash[32];

	memcpy(hash, s->v->head_hash, sizeof(hash));
	assert_int_equal(pull_apply(s->sync, head + 1, object, len), expected);
	assert_int_equal(s->v->head_seq, head);
	assert_memory_equal(s->v->head_hash, hash, sizeof(hash));
	assert_non_null(strstr(s->sync->why, "commit "));
}

static void
applied(struct side *s, const struct bytes *object)
{
	assert_int_equal(lookup(s, INODE_ROOT, "second"), 0);
	assert_int_equal(pull_apply(s->sync, s->v->head_seq + 1, object->data, object->len), 0);
	assert_text(s, "first", "what B has");
	assert_text(s, "second", "what B gets next");
}

/* Version, kind, cipher and the zero are looked at first; then the epoch, whose key B would have to have. */
static err_t
expected_at(const uint8_t *object, size_t offset)
{
	/* A commit that says that it is a base or a part: these are known, but were not asked for. */
	if (offset == 1 && object[1] >= ENVELOPE_COMMIT && object[1] <= ENVELOPE_PART)
		return -EBADMSG;
	if (offset < 4)
		return -EPROTO;
	if (offset >= 4 && offset < 8)
		return -EKEYREVOKED;
	return -EBADMSG;
}

static void
a_commit_of_which_any_bit_was_flipped_is_refused(void **state)
{
	struct fixture *f = *state;
	struct bytes object = { 0 };

	begin(f, &object);
	/* Every bit of what is in the clear; of what is sealed, one in every byte. */
	for (size_t offset = 0; offset < object.len; offset++)
		for (unsigned bit = 0; bit < 8; bit++) {
			uint8_t was = object.data[offset];

			if (offset >= ENVELOPE_HEADER_LEN && bit != offset % 8)
				continue;
			object.data[offset] ^= (uint8_t)(1u << bit);
			refused(&f->b, object.data, object.len, expected_at(object.data, offset));
			object.data[offset] = was;
		}
	applied(&f->b, &object);
	bytes_clear(&object);
}

static void
a_commit_that_was_truncated_at_any_length_is_refused(void **state)
{
	struct fixture *f = *state;
	struct bytes object = { 0 };

	begin(f, &object);
	for (size_t len = 0; len < object.len; len++)
		refused(&f->b, object.data, len, -EBADMSG);
	applied(&f->b, &object);
	bytes_clear(&object);
}

static void
a_commit_with_anything_behind_it_is_refused(void **state)
{
	struct fixture *f = *state;
	struct bytes object = { 0 };
	size_t len;

	begin(f, &object);
	len = object.len;
	for (size_t more = 1; more <= 4096; more += more < 20 ? 1 : 509) {
		uint8_t *longer = calloc(1, len + more);

		memcpy(longer, object.data, len);
		refused(&f->b, longer, len + more, -EBADMSG);
		free(longer);
	}
	applied(&f->b, &object);
	bytes_clear(&object);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_commit_of_which_any_bit_was_flipped_is_refused),
		TEST(a_commit_that_was_truncated_at_any_length_is_refused),
		TEST(a_commit_with_anything_behind_it_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
