/* While it is sealed anew, others edit, move and delete, or do the same: nothing of theirs is lost, and all is new in the end. */
#include "rekey_fixture.h"

static void
what_others_edit_rename_and_delete_meanwhile_wins(void **state)
{
	struct fixture *f = *state;
	uint8_t text[13];
	size_t n;

	make_content(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	lose_a_device(f, &f->a);
	sync_ok(&f->b);
	write_at(&f->b, lookup(&f->b, INODE_ROOT, "large"), 2 * MIB - 100, "edited by B", 11);
	write_at(&f->b, lookup(&f->b, INODE_ROOT, "small 07"), 500, "edited by B", 11);
	assert_int_equal(vfs_unlink(f->b.fs, INODE_ROOT, "small 08"), 0);
	assert_int_equal(vfs_rename(f->b.fs, INODE_ROOT, "small 09", INODE_ROOT, "renamed", 0), 0);
	rekey_ok(&f->a);
	/* It is not in the chain yet, and has a key of its own by now. */
	reopen_side(&f->b, f->store);
	sync_ok(&f->b);
	assert_int_equal(message_count(&f->b, "conflict"), 0);
	sync_ok(&f->a);
	assert_int_equal(message_count(&f->a, "conflict"), 0);
	assert_same_tree(&f->a, &f->b);
	assert_int_equal(lookup(&f->a, INODE_ROOT, "small 08"), 0);
	assert_int_equal(vfs_read(f->a.fs, lookup(&f->a, INODE_ROOT, "large"), 2 * MIB - 100, 11, text, &n), 0);
	assert_memory_equal(text, "edited by B", 11);
	assert_int_equal(vfs_read(f->a.fs, lookup(&f->a, INODE_ROOT, "large"), MIB + 300000, 13, text, &n), 0);
	assert_memory_equal(text, "in the middle", 13);
	/* What was pending elsewhere and under old keys is found by another run. */
	rekey_ok(&f->b);
	assert_all_is_new(&f->b);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	assert_store_is_whole(f, &f->a);
}

static void
an_edit_here_while_it_runs_is_kept_and_taken_along(void **state)
{
	struct fixture *f = *state;
	unsigned rest_ms;

	make_content(&f->a);
	join_side(f, &f->b);
	lose_a_device(f, &f->a);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	for (unsigned k = 0; k < 40 && rekey_is_due(f->a.sync); k++) {
		f->a.sync->rekey->batch_len = 50000;
		assert_int_equal(rekey_some(f->a.sync, &rest_ms), 0);
		if (k < 20)
			write_at(&f->a, lookup(&f->a, INODE_ROOT, k % 2 ? "large" : "small 20"), k * 1000, "edited", 6);
		if (k % 5 == 4)
			sync_ok(&f->a);
	}
	run(&f->a);
	assert_all_is_new(&f->a);
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
	assert_int_equal(message_count(&f->a, "conflict") + message_count(&f->b, "conflict"), 0);
}

static unsigned
rest_of_a_pass(struct side *s)
{
	unsigned rest_ms;

	do
		assert_int_equal(rekey_some(s->sync, &rest_ms), 0);
	while (rekey_is_due(s->sync) && s->sync->rekey->counted);
	return rest_ms;
}

/* For each look all is gone through. */
static void
what_is_busy_for_long_is_looked_at_less_and_less_often(void **state)
{
	struct fixture *f = *state;
	unsigned before, rest_ms;
	uint64_t ino;

	make_content(&f->a);
	lose_a_device(f, &f->a);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	ino = lookup(&f->a, INODE_ROOT, "small 20");
	write_at(&f->a, ino, 0, "edited", 6);
	while ((before = rest_of_a_pass(&f->a)) == 0)
		;
	for (unsigned k = 0; k < 4; k++) {
		rest_ms = rest_of_a_pass(&f->a);
		assert_true(rest_ms >= 2 * before);
		before = rest_ms;
	}
	/* The others are done again, and so it begins anew. */
	lose_a_device(f, &f->a);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	while ((rest_ms = rest_of_a_pass(&f->a)) == 0)
		;
	assert_true(rest_ms < before);
	run(&f->a);
	assert_all_is_new(&f->a);
}

static void
two_that_do_it_at_once_get_in_nobody_s_way(void **state)
{
	struct fixture *f = *state;
	unsigned rest_ms;

	make_content(&f->a);
	join_side(f, &f->b);
	lose_a_device(f, &f->a);
	sync_ok(&f->b);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	assert_int_equal(rekey_begin(f->b.sync), 0);
	for (unsigned k = 0; k < 200 && (rekey_is_due(f->a.sync) || rekey_is_due(f->b.sync)); k++) {
		struct side *s = k % 2 ? &f->a : &f->b;

		s->sync->rekey->batch_len = 100000;
		if (rekey_is_due(s->sync))
			assert_int_equal(rekey_some(s->sync, &rest_ms), 0);
	}
	assert_false(rekey_is_due(f->a.sync) || rekey_is_due(f->b.sync));
	sync_ok(&f->a);
	sync_ok(&f->b);
	assert_all_is_new(&f->a);
	assert_same_tree(&f->a, &f->b);
	assert_int_equal(message_count(&f->a, "conflict") + message_count(&f->b, "conflict"), 0);
	assert_store_is_whole(f, &f->a);
}

/* The first half of a batch by hand, so that something can happen before the second; to be ended. */
static void
find_batch(struct side *s, struct rekey_batch *b)
{
	b->r = s->sync->rekey;
	pthread_mutex_lock(&s->sync->round);
	b->r->has_epoch = true;
	assert_int_equal(keyring_current(s->v->keys, &b->r->epoch), 0);
	assert_int_equal(rekey_count(b->r), 0);
	assert_int_equal(rekey_find(b), 0);
}

static void
end_batch(struct side *s, struct rekey_batch *b)
{
	pthread_mutex_unlock(&s->sync->round);
	rekey_batch_clear(b);
}

/* Between two batches of one device, prepared before, the other's commit comes. */
static void
a_batch_that_comes_late_gives_way(void **state)
{
	struct fixture *f = *state;
	struct rekey_batch b = { .r = NULL };

	make_content(&f->a);
	join_side(f, &f->b);
	lose_a_device(f, &f->a);
	sync_ok(&f->b);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	find_batch(&f->a, &b);
	assert_true(b.count > 0);
	rekey_ok(&f->b);
	assert_int_equal(rekey_seal(&b), 0);
	assert_int_equal(b.r->done, 0);
	end_batch(&f->a, &b);
	assert_int_equal(run(&f->a).bytes, 0);
	sync_ok(&f->b);
	assert_all_is_new(&f->a);
	assert_same_tree(&f->a, &f->b);
	sync_ok(&f->a);
}

/* Another part of the file has been edited, and with that the file has got a key of the same number. */
static void
what_was_sealed_under_a_key_that_is_another_one_by_now_is_sealed_again(void **state)
{
	struct fixture *f = *state;
	struct rekey_batch b = { .r = NULL };

	make_random(&f->a, INODE_ROOT, "large", 3 * MIB);
	sync_ok(&f->a);
	join_side(f, &f->b);
	lose_a_device(f, &f->a);
	sync_ok(&f->b);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	f->a.sync->rekey->batch_len = 8 * MIB;
	find_batch(&f->a, &b);
	assert_int_equal(b.count, 3);
	write_at(&f->b, lookup(&f->b, INODE_ROOT, "large"), 2 * MIB + 5, "edited", 6);
	sync_ok(&f->b);
	assert_int_equal(rekey_seal(&b), 0);
	assert_int_equal(b.r->done, 0);
	assert_int_equal(b.r->busy, 3);
	end_batch(&f->a, &b);
	run(&f->a);
	sync_ok(&f->b);
	assert_all_is_new(&f->a);
	assert_same_tree(&f->a, &f->b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_others_edit_rename_and_delete_meanwhile_wins),
		TEST(an_edit_here_while_it_runs_is_kept_and_taken_along),
		TEST(what_is_busy_for_long_is_looked_at_less_and_less_often),
		TEST(two_that_do_it_at_once_get_in_nobody_s_way),
		TEST(a_batch_that_comes_late_gives_way),
		TEST(what_was_sealed_under_a_key_that_is_another_one_by_now_is_sealed_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
