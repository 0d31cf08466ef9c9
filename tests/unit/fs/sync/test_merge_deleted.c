/* Merging what one side has deleted, and the other needs: the rows of the table in snugfs-design(7) about that, and their corners. */
#include "merge_pair.h"

/* Deleted there */

static void
a_file_deleted_there_and_changed_here_is_kept(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);
	uint64_t token;

	do_write(f->ada, ino, 1, 0, 100);
	share(f);
	unlink_path(f->ada, 1, "a");
	token = do_write(f->bob, ino, 0, 0, 100);
	push(f->ada);
	pull(f->bob);
	assert_int_equal(at(f->bob, "a"), ino);
	assert_true(inode_of(f->bob, ino)->pending & PENDING_NEW);
	assert_told(f->bob, "a", "deleted on another device but changed on this one");
	settle_world(&f->w);
	assert_true(has_token(f->ada, ino, token));
}

static void
a_file_deleted_there_and_not_changed_here_goes(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);

	do_write(f->ada, ino, 0, 0, 100);
	share(f);
	unlink_path(f->ada, 1, "a");
	do_chmod(f->bob, ino, 0600);
	meet(f);
	assert_int_equal(at(f->bob, "a"), 0);
	assert_null(inode_of(f->bob, ino));
}

static void
a_file_replaced_there_and_changed_here_is_kept_beside(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);
	uint64_t theirs, token;

	share(f);
	theirs = mk(f->ada, "tmp", REG);
	assert_int_equal(do_rename(f->ada, 1, "tmp", 1, "a"), 0);
	token = do_write(f->bob, ino, 0, 0, 100);
	meet(f);
	assert_int_equal(at(f->ada, "a"), theirs);
	assert_int_equal(at(f->ada, COPY("a")), ino);
	assert_true(has_token(f->ada, ino, token));
}

static void
a_file_deleted_there_and_renamed_here_is_kept(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);

	share(f);
	unlink_path(f->ada, 1, "a");
	assert_int_equal(do_rename(f->bob, 1, "a", 1, "b"), 0);
	meet(f);
	assert_int_equal(at(f->ada, "b"), ino);
}

static void
a_file_kept_on_two_devices_becomes_two_files(void **state)
{
	struct fixture *f = *state;
	struct world w;
	uint64_t ino, copy, bobs, cleos;

	(void)f;
	world_open(&w, 3);
	ino = mk(&w.r[0], "a", REG);
	push(&w.r[0]);
	pull(&w.r[1]);
	pull(&w.r[2]);
	unlink_path(&w.r[0], 1, "a");
	bobs = do_write(&w.r[1], ino, 0, 0, 100);
	cleos = do_write(&w.r[2], ino, 0, 0, 100);
	push(&w.r[0]);
	push(&w.r[1]);
	push(&w.r[2]);
	copy = at(&w.r[2], "a (conflict from cleo, 2023-11-14)");
	assert_int_equal(at(&w.r[2], "a"), ino);
	assert_true(copy != 0 && copy != ino);
	assert_true(has_token(&w.r[2], ino, bobs) && has_token(&w.r[2], copy, cleos));
	settle_world(&w);
	world_close(&w);
}

static void
a_directory_deleted_there_with_something_new_here_is_kept_with_that(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = mk(f->ada, "d", DIR_MODE);
	uint64_t sub = mk(f->ada, "d/sub", DIR_MODE);
	uint64_t ours;

	mk(f->ada, "d/old", REG);
	mk(f->ada, "d/sub/old", REG);
	share(f);
	ours = mk(f->bob, "d/sub/new", REG);
	unlink_path(f->ada, sub, "old");
	unlink_path(f->ada, dir, "sub");
	unlink_path(f->ada, dir, "old");
	unlink_path(f->ada, 1, "d");
	push(f->ada);
	pull(f->bob);
	assert_true(inode_of(f->bob, dir)->pending & PENDING_NEW);
	assert_told(f->bob, "d", "is kept");
	settle_world(&f->w);
	assert_int_equal(at(f->ada, "d/sub/new"), ours);
	assert_int_equal(at(f->ada, "d"), dir);
	assert_int_equal(at(f->ada, "d/old"), 0);
	assert_int_equal(at(f->ada, "d/sub/old"), 0);
}

static void
a_directory_deleted_there_with_nothing_new_here_goes(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = mk(f->ada, "d", DIR_MODE);

	mk(f->ada, "d/x", REG);
	share(f);
	unlink_path(f->ada, dir, "x");
	unlink_path(f->ada, 1, "d");
	assert_int_equal(do_rename(f->bob, 1, "d", 1, "e"), 0);
	meet(f);
	assert_int_equal(inode_of(f->bob, INODE_ROOT)->entry_count, 0);
}

static void
a_directory_replaced_there_takes_what_is_new_here(void **state)
{
	struct fixture *f = *state;
	uint64_t theirs, ours;

	mk(f->ada, "d", DIR_MODE);
	share(f);
	ours = mk(f->bob, "d/new", REG);
	unlink_path(f->ada, 1, "d");
	theirs = mk(f->ada, "d", DIR_MODE);
	meet(f);
	assert_int_equal(at(f->ada, "d"), theirs);
	assert_int_equal(at(f->ada, "d/new"), ours);
}

static void
names_of_one_file_that_each_side_took_away_are_not_all_lost(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);
	uint64_t token = do_write(f->ada, ino, 0, 0, 100);

	assert_int_equal(do_link(f->ada, ino, 1, "b"), 0);
	share(f);
	unlink_path(f->ada, 1, "a");
	unlink_path(f->bob, 1, "b");
	meet(f);
	assert_int_equal(at(f->ada, "b"), ino);
	assert_int_equal(at(f->ada, "a"), 0);
	assert_true(has_token(f->ada, ino, token));
}

/* Deleted here */

static void
a_file_deleted_here_and_changed_there_is_back(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);
	uint64_t token;

	assert_int_equal(do_link(f->ada, ino, 1, "b"), 0);
	share(f);
	token = do_write(f->ada, ino, 0, 0, 100);
	unlink_path(f->bob, 1, "a");
	unlink_path(f->bob, 1, "b");
	push(f->ada);
	pull(f->bob);
	assert_told(f->bob, "a", "there again");
	settle_world(&f->w);
	assert_int_equal(at(f->bob, "a"), ino);
	assert_int_equal(at(f->bob, "b"), ino);
	assert_true(has_token(f->bob, ino, token));
}

static void
a_file_deleted_here_with_other_attributes_there_stays_deleted(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);

	share(f);
	do_chmod(f->ada, ino, 0600);
	unlink_path(f->bob, 1, "a");
	meet(f);
	assert_int_equal(at(f->ada, "a"), 0);
}

static void
a_file_replaced_here_and_changed_there_is_back_and_ours_beside(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);
	uint64_t ours, token;

	share(f);
	token = do_write(f->ada, ino, 0, 0, 100);
	ours = mk(f->bob, "tmp", REG);
	assert_int_equal(do_rename(f->bob, 1, "tmp", 1, "a"), 0);
	meet(f);
	assert_int_equal(at(f->ada, "a"), ino);
	assert_true(has_token(f->ada, ino, token));
	assert_int_equal(at(f->ada, COPY("a")), ours);
}

static void
a_directory_deleted_here_is_back_with_what_they_put_in(void **state)
{
	struct fixture *f = *state;
	uint64_t top = mk(f->ada, "top", DIR_MODE);
	uint64_t dir = mk(f->ada, "top/d", DIR_MODE);
	uint64_t added;

	mk(f->ada, "top/d/old", REG);
	share(f);
	added = mk(f->ada, "top/d/new", REG);
	unlink_path(f->bob, dir, "old");
	unlink_path(f->bob, top, "d");
	unlink_path(f->bob, 1, "top");
	push(f->ada);
	pull(f->bob);
	assert_told(f->bob, "top/d", "there again");
	settle_world(&f->w);
	assert_int_equal(at(f->ada, "top/d/new"), added);
	assert_int_equal(at(f->ada, "top/d/old"), 0);
}

static void
a_directory_deleted_here_is_back_with_the_file_they_changed(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = mk(f->ada, "d", DIR_MODE);
	uint64_t ino = mk(f->ada, "d/x", REG);

	mk(f->ada, "d/y", REG);
	share(f);
	do_write(f->ada, ino, 0, 0, 100);
	unlink_path(f->bob, dir, "x");
	unlink_path(f->bob, dir, "y");
	unlink_path(f->bob, 1, "d");
	meet(f);
	assert_int_equal(at(f->ada, "d/x"), ino);
	assert_int_equal(at(f->ada, "d/y"), 0);
}

static void
a_directory_deleted_here_and_moved_there_is_back_whole(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = mk(f->ada, "d", DIR_MODE);
	uint64_t sub = mk(f->ada, "d/sub", DIR_MODE);
	uint64_t ino = mk(f->ada, "d/sub/x", REG);

	share(f);
	assert_int_equal(do_rename(f->ada, 1, "d", 1, "e"), 0);
	unlink_path(f->bob, sub, "x");
	unlink_path(f->bob, dir, "sub");
	unlink_path(f->bob, 1, "d");
	meet(f);
	assert_int_equal(at(f->bob, "e/sub/x"), ino);
}

static void
deleted_on_both_is_gone(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = mk(f->ada, "d", DIR_MODE);
	uint64_t ino = mk(f->ada, "d/x", REG);

	share(f);
	unlink_path(f->ada, dir, "x");
	unlink_path(f->ada, 1, "d");
	unlink_path(f->bob, dir, "x");
	unlink_path(f->bob, 1, "d");
	meet(f);
	assert_null(inode_of(f->bob, dir));
	assert_null(inode_of(f->bob, ino));
	assert_int_equal(f->w.conflict_count, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_file_deleted_there_and_changed_here_is_kept),
		T(a_file_deleted_there_and_not_changed_here_goes),
		T(a_file_replaced_there_and_changed_here_is_kept_beside),
		T(a_file_deleted_there_and_renamed_here_is_kept),
		T(a_file_kept_on_two_devices_becomes_two_files),
		T(a_directory_deleted_there_with_something_new_here_is_kept_with_that),
		T(a_directory_deleted_there_with_nothing_new_here_goes),
		T(a_directory_replaced_there_takes_what_is_new_here),
		T(names_of_one_file_that_each_side_took_away_are_not_all_lost),
		T(a_file_deleted_here_and_changed_there_is_back),
		T(a_file_deleted_here_with_other_attributes_there_stays_deleted),
		T(a_file_replaced_here_and_changed_there_is_back_and_ours_beside),
		T(a_directory_deleted_here_is_back_with_what_they_put_in),
		T(a_directory_deleted_here_is_back_with_the_file_they_changed),
		T(a_directory_deleted_here_and_moved_there_is_back_whole),
		T(deleted_on_both_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
