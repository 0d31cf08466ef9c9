/* A store that fails, forgets, answers twice or lies: nothing is lost, and nothing forged or old is believed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "sides.h"

/* A store or a network with troubles. */

static void
a_lost_answer_to_a_commit_is_settled(void **state)
{
	struct fixture *f = *state;

	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_AFTER, .ops = STORE_OP_CREATE, .prefix = "c/", .count = 1,
	    .error = -EAGAIN });
	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	assert_int_equal(head_of(&f->a), 0);
	join_side(f, &f->b);
	assert_same_tree(&f->a, &f->b);
}

/* The commit is in the store, and this computer dies before it hears so. */
static void
a_commit_of_ours_that_a_crash_made_us_forget_is_known_again(void **state)
{
	struct fixture *f = *state;
	char copy[300];

	make_variety(&f->a);
	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_AFTER, .ops = STORE_OP_CREATE | STORE_OP_GET, .prefix = "c/0",
	    .skip = 1, .error = -EAGAIN }); /* c/0 was asked for once before */
	sync_fails(&f->a, -EAGAIN);
	assert_int_equal(count_objects(f, "c"), 1);
	/* What a power cut would leave: no orderly close. */
	snprintf(copy, sizeof(copy), "%s/copy", f->top);
	shell("cp -a '%s' '%s'", f->a.dir, copy);
	close_side(&f->a);
	strcpy(f->a.dir, copy);
	open_side(&f->a, f->store);
	assert_false(f->a.v->has_head);
	write_at(&f->a, lookup(&f->a, INODE_ROOT, "hello.txt"), 0, "J", 1);
	sync_ok(&f->a);
	assert_int_equal(message_count(&f->a, "was put back"), 0);
	assert_int_equal(head_of(&f->a), 1);
	join_side(f, &f->b);
	assert_same_tree(&f->a, &f->b);
	assert_text(&f->b, "hello.txt", "Jello\n");
}

static void
the_same_again_for_a_later_commit(void **state)
{
	struct fixture *f = *state;
	uint64_t dir;

	make_variety(&f->a);
	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	dir = lookup(&f->a, INODE_ROOT, "dir");
	assert_int_equal(vfs_rename(f->a.fs, dir, "sub", INODE_ROOT, "sub", 0), 0);
	make_text(&f->a, "new", "new here");
	write_at(&f->a, lookup(&f->a, INODE_ROOT, "hello.txt"), 0, "J", 1);
	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_AFTER, .ops = STORE_OP_CREATE | STORE_OP_GET,
	    .prefix = "c/000000000002", .skip = 1, .error = -EAGAIN });
	sync_fails(&f->a, -EAGAIN);
	reopen_side(&f->a, f->store);
	write_at(&f->a, lookup(&f->a, INODE_ROOT, "new"), 0, "NEW", 3);
	sync_ok(&f->a);
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
	assert_text(&f->b, "new", "NEW here");
	assert_int_equal(message_count(&f->a, "conflict"), 0);
	assert_int_equal(lookup(&f->a, dir, "sub"), 0);
}

static void
a_directory_that_was_put_back_to_an_older_state_catches_up_and_says_so(void **state)
{
	struct fixture *f = *state;
	char copy[300];

	make_variety(&f->a);
	sync_ok(&f->a);
	make_text(&f->a, "pending", "not pushed when the backup was made");
	close_side(&f->a);
	snprintf(copy, sizeof(copy), "%s/copy", f->top);
	shell("cp -a '%s' '%s'", f->a.dir, copy);
	open_side(&f->a, f->store);
	write_at(&f->a, lookup(&f->a, INODE_ROOT, "pending"), 0, "NOT", 3);
	write_at(&f->a, lookup(&f->a, INODE_ROOT, "hello.txt"), 0, "J", 1);
	make_text(&f->a, "later", "made after the backup");
	sync_ok(&f->a);
	join_side(f, &f->b);
	close_side(&f->a);
	strcpy(f->a.dir, copy);
	open_side(&f->a, f->store);
	sync_ok(&f->a); /* what it had not pushed then is kept beside what it made of it later */
	assert_int_equal(message_count(&f->a, "was put back to an older state"), 1);
	sync_ok(&f->b);
	assert_int_equal(message_count(&f->b, "was put back to an older state"), 0);
	assert_same_tree(&f->a, &f->b);
	assert_text(&f->a, "pending", "NOT pushed when the backup was made");
	assert_int_not_equal(make_text(&f->a, "now", "now"), lookup(&f->a, INODE_ROOT, "later"));
	sync_ok(&f->a);
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
}

static void
a_store_that_fails_now_and_then_is_asked_again(void **state)
{
	struct fixture *f = *state;
	unsigned tries = 0;

	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_ALL, .percent = 30, .error = -EAGAIN });
	make_variety(&f->a);
	while (sync_once(f->a.sync) != 0)
		assert_in_range(++tries, 1, 50);
	make_text(&f->a, "more", "more");
	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_AFTER, .ops = STORE_OP_ALL, .percent = 30, .error = -EAGAIN });
	while (sync_once(f->a.sync) != 0)
		assert_in_range(++tries, 1, 100);
	no_fault(&f->a);
	sync_ok(&f->a);
	join_side(f, &f->b);
	assert_same_tree(&f->a, &f->b);
}

static void
a_store_that_answers_twice_does_no_harm(void **state)
{
	struct fixture *f = *state;

	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_TWICE, .ops = STORE_OP_PUT | STORE_OP_CREATE });
	make_variety(&f->a);
	sync_ok(&f->a);
	make_text(&f->a, "more", "more");
	sync_ok(&f->a);
	join_side(f, &f->b);
	assert_same_tree(&f->a, &f->b);
}

static void
a_full_store_and_a_read_only_one_say_so_and_lose_nothing(void **state)
{
	struct fixture *f = *state;
	struct sync_status st;

	make_variety(&f->a);
	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_PUT | STORE_OP_CREATE, .skip = 2,
	    .error = -ENOSPC });
	sync_fails(&f->a, -ENOSPC);
	sync_get_status(f->a.sync, &st);
	assert_non_null(strstr(st.problem_text, f->store));
	assert_true(st.pending_inodes > 5);
	assert_true(st.pending_bytes > 3 << 20);
	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_PUT | STORE_OP_CREATE,
	    .error = -EACCES });
	sync_fails(&f->a, -EACCES);
	no_fault(&f->a);
	sync_ok(&f->a);
	join_side(f, &f->b);
	assert_same_tree(&f->a, &f->b);
}

static void
when_the_store_is_gone_everything_waits(void **state)
{
	struct fixture *f = *state;
	char away[300];

	make_text(&f->a, "one", "1");
	sync_ok(&f->a);
	snprintf(away, sizeof(away), "%s/away", f->top);
	assert_int_equal(rename(f->store, away), 0);
	make_text(&f->a, "two", "2");
	sync_fails(&f->a, -EAGAIN);
	assert_int_equal(rename(away, f->store), 0);
	sync_ok(&f->a);
	join_side(f, &f->b);
	assert_text(&f->b, "two", "2");
}

/* A store that lies. */

static void
a_damaged_commit_is_refused_and_the_next_try_with_the_true_one_works(void **state)
{
	struct fixture *f = *state;
	const struct store_fault_rule lies[] = {
		{ .kind = STORE_FAULT_FLIP, .ops = STORE_OP_GET, .prefix = "c/000000000002", .arg = 3 },
		{ .kind = STORE_FAULT_FLIP, .ops = STORE_OP_GET, .prefix = "c/000000000002", .arg = 8 * 20 },
		{ .kind = STORE_FAULT_FLIP, .ops = STORE_OP_GET, .prefix = "c/000000000002", .arg = 8 * 100 + 3 },
		{ .kind = STORE_FAULT_FLIP, .ops = STORE_OP_GET, .prefix = "c/000000000002", .arg = 8 * 4000 },
		{ .kind = STORE_FAULT_TRUNCATE, .ops = STORE_OP_GET, .prefix = "c/000000000002", .arg = 0 },
		{ .kind = STORE_FAULT_TRUNCATE, .ops = STORE_OP_GET, .prefix = "c/000000000002", .arg = 39 },
		{ .kind = STORE_FAULT_TRUNCATE, .ops = STORE_OP_GET, .prefix = "c/000000000002", .arg = 2000 },
		{ .kind = STORE_FAULT_STALE, .ops = STORE_OP_GET, .prefix = "c/000000000002", .other = "c/000000000001" },
		{ .kind = STORE_FAULT_STALE, .ops = STORE_OP_GET, .prefix = "c/000000000002", .other = "c/000000000000" },
	};

	sync_ok(&f->a);
	join_side(f, &f->b); /* its own is number 1 */
	sync_ok(&f->a);
	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		err_t err;

		fault(&f->b, lies[i]);
		err = sync_pull(f->b.sync);
		if (err != -EBADMSG && err != -EPROTO)
			fail_msg("lie %zu was answered with %d", i, err);
		assert_int_equal(head_of(&f->b), 1);
		assert_int_equal(lookup(&f->b, INODE_ROOT, "file"), 0);
	}
	no_fault(&f->b);
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
}

static void
a_store_that_lost_its_last_commits_is_noticed(void **state)
{
	struct fixture *f = *state;

	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	sync_ok(&f->b);
	remove_commit(f, 2);
	sync_fails(&f->b, -ESTALE);
	reopen_side(&f->b, f->store);
	sync_fails(&f->b, -ESTALE);
	assert_text(&f->b, "file", "text"); /* what is here stays usable */
	make_text(&f->b, "mine", "mine");
	sync_fails(&f->b, -ESTALE);
	assert_int_equal(count_objects(f, "c"), 2); /* and nothing is built on the old state */
}

static void
an_older_copy_of_the_store_in_its_place_is_noticed(void **state)
{
	struct fixture *f = *state;

	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	shell("cp -a '%s' '%s.old'", f->store, f->store);
	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	shell("rm -r '%s' && mv '%s.old' '%s'", f->store, f->store, f->store);
	sync_fails(&f->a, -ESTALE);
	reopen_side(&f->a, f->store);
	sync_fails(&f->a, -ESTALE);
	/* B goes on with the old state and makes another commit 2: to A that is a fork. */
	make_text(&f->b, "other", "other");
	sync_ok(&f->b);
	reopen_side(&f->a, f->store);
	sync_fails(&f->a, -ESTALE);
	assert_int_equal(lookup(&f->a, INODE_ROOT, "other"), 0);
}

static void
another_commit_in_the_place_of_the_last_one_is_noticed_at_once(void **state)
{
	struct fixture *f = *state;

	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	shell("cp -a '%s' '%s.old'", f->store, f->store);
	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	shell("rm -r '%s' && mv '%s.old' '%s'", f->store, f->store, f->store);
	make_text(&f->b, "other", "other");
	sync_ok(&f->b);
	/* A runs on, and has seen another commit 2; it neither takes this one for its own nor builds on it. */
	sync_fails(&f->a, -ESTALE);
	make_text(&f->a, "more", "more");
	sync_fails(&f->a, -ESTALE);
	assert_int_equal(count_objects(f, "c"), 3);
	assert_text(&f->a, "file", "text");
}

static void
a_commit_on_top_of_another_history_is_refused(void **state)
{
	struct fixture *f = *state;
	char here[256], there[256];

	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	shell("cp -a '%s' '%s.fork'", f->store, f->store);
	make_text(&f->a, "file", "text");
	sync_ok(&f->a); /* A's commit 2 */
	close_side(&f->b);
	snprintf(there, sizeof(there), "%s.fork", f->store);
	open_side(&f->b, there);
	make_text(&f->b, "other", "other");
	sync_ok(&f->b); /* B's commit 2 and 3, in the fork */
	make_text(&f->b, "another", "another");
	sync_ok(&f->b);
	/* The store shows B's commit 3 to A. */
	commit_path(f, 3, here);
	shell("cp '%s/c/000000000003' '%s'", there, here);
	sync_fails(&f->a, -ESTALE);
	assert_int_equal(lookup(&f->a, INODE_ROOT, "another"), 0);
}

static void
a_store_of_another_vault_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct side other = { .v = NULL };
	uint8_t recovery[RECOVERY_KEY_LEN];
	unsigned objects;

	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	objects = count_objects(f, "");
	snprintf(other.dir, sizeof(other.dir), "%s/other", f->top);
	create_side(f, &other, recovery);
	open_side(&other, f->store);
	sync_fails(&other, -EEXIST);
	assert_int_equal(count_objects(f, ""), objects);
	close_side(&other);
}

static void
a_lost_marker_is_written_anew(void **state)
{
	struct fixture *f = *state;
	char path[256];

	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	snprintf(path, sizeof(path), "%s/v", f->store);
	assert_int_equal(unlink(path), 0);
	reopen_side(&f->a, f->store);
	make_text(&f->a, "more", "text");
	sync_ok(&f->a);
	assert_int_equal(access(path, F_OK), 0);
}

static void
a_damaged_marker_is_written_anew_by_the_next_push(void **state)
{
	struct fixture *f = *state;

	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	shell("truncate -s 100 '%s/v'", f->store);
	reopen_side(&f->a, f->store);
	make_text(&f->a, "more", "text");
	sync_ok(&f->a);
	join_side(f, &f->b);
	assert_text(&f->b, "more", "text");
}

static void
a_store_whose_marker_is_damaged_gets_no_other_vault(void **state)
{
	struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN];
	struct side other = {0};
	unsigned objects;

	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	shell("truncate -s 100 '%s/v'", f->store);
	objects = count_objects(f, "");
	snprintf(other.dir, sizeof(other.dir), "%s/other", f->top);
	create_side(f, &other, recovery);
	open_side(&other, f->store);
	sync_fails(&other, -EBADMSG);
	assert_int_equal(count_objects(f, ""), objects);
	close_side(&other);
}

static void
of_a_missing_segment_only_its_files_are_affected(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[1000];
	size_t n;

	make_random(&f->a, INODE_ROOT, "unlucky", 3000);
	sync_ok(&f->a);
	shell("find '%s/s' -type f > '%s/list'", f->store, f->top);
	make_text(&f->a, "lucky", "still here");
	sync_ok(&f->a);
	join_side(f, &f->b);
	shell("xargs rm < '%s/list'", f->top);
	assert_int_equal(vfs_read(f->b.fs, lookup(&f->b, INODE_ROOT, "unlucky"), 0, sizeof(buf), buf, &n), -EIO);
	assert_text(&f->b, "lucky", "still here");
	sync_ok(&f->b);
}

static void
what_is_damaged_in_a_segment_is_never_read_and_the_rest_is(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[1000];
	size_t n;

	make_random(&f->a, INODE_ROOT, "file", 3000);
	make_text(&f->a, "neighbour", "in the same segment");
	sync_ok(&f->a);
	join_side(f, &f->b);
	fault(&f->b, (struct store_fault_rule){ .kind = STORE_FAULT_FLIP, .ops = STORE_OP_GET_RANGE, .prefix = "s/",
	    .arg = 8 * 1500 });
	assert_int_equal(vfs_read(f->b.fs, lookup(&f->b, INODE_ROOT, "file"), 0, sizeof(buf), buf, &n), -EIO);
	assert_text(&f->b, "neighbour", "in the same segment");
	no_fault(&f->b); /* the store is mended */
	assert_same_tree(&f->a, &f->b);
}

static void
a_segment_that_was_cut_or_has_grown_gives_what_is_left_of_it(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[1000];
	size_t n;

	make_random(&f->a, INODE_ROOT, "file", 3000);
	sync_ok(&f->a);
	join_side(f, &f->b);
	shell("cp -a '%s/s' '%s/whole'; for p in $(find '%s/s' -type f); do chmod u+w $p; truncate -s 1000 $p; done", f->store, f->top,
	    f->store);
	assert_int_equal(vfs_read(f->b.fs, lookup(&f->b, INODE_ROOT, "file"), 0, sizeof(buf), buf, &n), -EIO);
	shell("rm -r '%s/s'; mv '%s/whole' '%s/s'; for p in $(find '%s/s' -type f); do chmod u+w $p; echo more >> $p; done", f->store,
	    f->top, f->store, f->store);
	assert_same_tree(&f->a, &f->b);
}

static void
what_can_not_be_read_since_the_store_has_lost_it_is_told(void **state)
{
	struct fixture *f = *state;
	uint8_t byte;
	size_t n;

	for (unsigned k = 0; k < 8; k++)
		make_random(&f->a, INODE_ROOT, (char[]){ 'f', (char)('0' + k), '\0' }, 3000);
	sync_ok(&f->a);
	join_side(f, &f->b);
	shell("rm -r '%s/s'", f->store);
	for (unsigned k = 0; k < 8; k++) {
		uint64_t ino = lookup(&f->b, INODE_ROOT, (char[]){ 'f', (char)('0' + k), '\0' });

		assert_int_equal(vfs_read(f->b.fs, ino, 0, 1, &byte, &n), -EIO);
		assert_int_equal(vfs_read(f->b.fs, ino, 0, 1, &byte, &n), -EIO);
		assert_int_equal(message_count(&f->b, "can't be read"), k < 5 ? k + 1 : 6); /* the last one speaks of all the others */
	}
	assert_int_equal(message_count(&f->b, "\"f0\" can't be read"), 1);
	assert_int_equal(message_count(&f->a, "can't be read"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_lost_answer_to_a_commit_is_settled),
		TEST(a_commit_of_ours_that_a_crash_made_us_forget_is_known_again),
		TEST(the_same_again_for_a_later_commit),
		TEST(a_directory_that_was_put_back_to_an_older_state_catches_up_and_says_so),
		TEST(a_store_that_fails_now_and_then_is_asked_again),
		TEST(a_store_that_answers_twice_does_no_harm),
		TEST(a_full_store_and_a_read_only_one_say_so_and_lose_nothing),
		TEST(when_the_store_is_gone_everything_waits),
		TEST(a_damaged_commit_is_refused_and_the_next_try_with_the_true_one_works),
		TEST(a_store_that_lost_its_last_commits_is_noticed),
		TEST(an_older_copy_of_the_store_in_its_place_is_noticed),
		TEST(another_commit_in_the_place_of_the_last_one_is_noticed_at_once),
		TEST(a_commit_on_top_of_another_history_is_refused),
		TEST(a_store_of_another_vault_is_left_alone),
		TEST(a_lost_marker_is_written_anew),
		TEST(a_damaged_marker_is_written_anew_by_the_next_push),
		TEST(a_store_whose_marker_is_damaged_gets_no_other_vault),
		TEST(of_a_missing_segment_only_its_files_are_affected),
		TEST(what_can_not_be_read_since_the_store_has_lost_it_is_told),
		TEST(what_is_damaged_in_a_segment_is_never_read_and_the_rest_is),
		TEST(a_segment_that_was_cut_or_has_grown_gives_what_is_left_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
