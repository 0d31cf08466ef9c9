/* Merging: each row of the table in snugfs-design(7) about content, attributes and names that both have made, and moves. */
#include "merge_pair.h"

/* Content */

static void
content_changed_on_both_keeps_theirs_and_a_copy_of_ours(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "report.txt", REG);
	uint64_t common = do_write(f->ada, ino, 1, 0, 100);
	uint64_t theirs, ours, copy;

	share(f);
	theirs = do_write(f->ada, ino, 0, 0, 100);
	ours = do_write(f->bob, ino, 0, 50, 100);
	do_setxattr(f->bob, ino, "user.x", "bob");
	meet(f);
	copy = at(f->bob, COPY("report") ".txt");
	assert_int_equal(at(f->bob, "report.txt"), ino);
	assert_true(copy != 0 && copy != ino);
	assert_true(has_token(f->bob, ino, theirs) && !has_token(f->bob, ino, ours) && has_token(f->bob, ino, common));
	assert_true(has_token(f->bob, copy, ours) && !has_token(f->bob, copy, theirs) && has_token(f->bob, copy, common));
	assert_int_equal(inode_of(f->bob, copy)->origin, ino);
	assert_true(inode_of(f->bob, copy)->has_xattrs);
	assert_told(f->bob, COPY("report") ".txt", "was changed on two devices");
}

static void
key_versions_that_collide_stay_with_the_side_that_made_them(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);
	uint64_t copy;

	share(f);
	while (f->w.token_count % 5 != 0)
		do_write(f->ada, ino, 1, 0, 10);
	share(f);
	do_write(f->ada, ino, 0, 0, 100); /* makes version 2 */
	while (f->w.token_count % 5 != 0)
		do_write(f->bob, ino, 2, 0, 10);
	do_write(f->bob, ino, 0, 0, 100); /* makes another one */
	meet(f);
	copy = at(f->bob, COPY("a"));
	assert_int_equal(inode_of(f->bob, ino)->key_count, 2);
	assert_int_equal(inode_of(f->bob, copy)->key_count, 2);
	assert_int_equal(inode_of(f->bob, ino)->keys[1].wrapped[1], f->ada->member);
	assert_int_equal(inode_of(f->bob, copy)->keys[1].wrapped[1], f->bob->member);
}

static void
foreign_content_without_anything_pending_is_just_taken(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);
	uint64_t token;

	do_write(f->ada, ino, 0, 0, 100);
	do_write(f->ada, ino, 3, 0, 100);
	share(f);
	token = do_write(f->ada, ino, 0, 50, 100);
	do_truncate(f->ada, ino, 120);
	meet(f);
	assert_true(has_token(f->bob, ino, token));
	assert_int_equal(inode_of(f->bob, ino)->size, 120);
	assert_int_equal(f->w.conflict_count, 0);
}

static void
copies_are_numbered_when_the_name_is_taken(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);

	share(f);
	do_write(f->ada, ino, 0, 0, 100);
	do_write(f->bob, ino, 0, 0, 100);
	mk(f->bob, COPY("a"), REG);
	meet(f);
	assert_true(at(f->bob, COPY("a") " 2") != 0);
}

/* Attributes */

static void
different_attributes_of_one_file_both_hold(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);

	share(f);
	do_chmod(f->ada, ino, 0600);
	do_setxattr(f->ada, ino, "user.a", "1");
	do_chown(f->bob, ino, 77);
	do_setxattr(f->bob, ino, "user.b", "2");
	meet(f);
	assert_int_equal(inode_of(f->ada, ino)->mode, S_IFREG | 0600);
	assert_int_equal(inode_of(f->ada, ino)->uid, 77);
	assert_int_equal(f->w.conflict_count, 0);
}

static void
the_same_attribute_on_both_is_ours_which_is_later(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);

	share(f);
	do_chmod(f->ada, ino, 0600);
	do_chmod(f->bob, ino, 0640);
	meet(f);
	assert_int_equal(inode_of(f->ada, ino)->mode, S_IFREG | 0640);
}

static void
xattrs_merge_by_name_and_removals_travel(void **state)
{
	struct fixture *f = *state;
	struct xattr_list *l = NULL;
	struct inode *i;
	uint64_t ino = mk(f->ada, "a", REG);

	do_setxattr(f->ada, ino, "user.gone", "1");
	do_setxattr(f->ada, ino, "user.both", "1");
	share(f);
	do_setxattr(f->ada, ino, "user.gone", NULL);
	do_setxattr(f->ada, ino, "user.both", "ada");
	do_setxattr(f->bob, ino, "user.both", "bob");
	meet(f);
	i = inode_of(f->ada, ino);
	meta_lock(f->ada->meta);
	assert_int_equal(meta_xattrs_get(f->ada->meta, i, &l), 0);
	assert_int_equal(l->count, 1);
	assert_string_equal(l->v[0].name, "user.both");
	assert_memory_equal(l->v[0].value, "bob", 3);
	meta_unlock(f->ada->meta);
}

/* Names made on both */

static void
one_name_for_two_new_files_gives_ours_the_conflict_name(void **state)
{
	struct fixture *f = *state;
	uint64_t theirs = mk(f->ada, "a.txt", REG);
	uint64_t ours = mk(f->bob, "a.txt", REG);

	meet(f);
	assert_int_equal(at(f->ada, "a.txt"), theirs);
	assert_int_equal(at(f->ada, COPY("a") ".txt"), ours);
	assert_told(f->bob, COPY("a") ".txt", "was made on two devices");
}

static void
two_new_directories_of_one_name_become_one(void **state)
{
	struct fixture *f = *state;
	uint64_t theirs = mk(f->ada, "d", DIR_MODE);
	uint64_t deep, same;

	mk(f->bob, "d", DIR_MODE);
	mk(f->ada, "d/x", REG);
	same = mk(f->bob, "d/x", REG);
	mk(f->ada, "d/sub", DIR_MODE);
	mk(f->bob, "d/sub", DIR_MODE);
	mk(f->ada, "d/sub/1", REG);
	deep = mk(f->bob, "d/sub/2", REG);
	meet(f);
	assert_int_equal(at(f->ada, "d"), theirs);
	assert_int_equal(at(f->ada, "d/sub/2"), deep);
	assert_int_equal(at(f->ada, "d/" COPY("x")), same);
	assert_true(at(f->ada, "d/sub/1") != 0);
	assert_int_equal(inode_of(f->ada, theirs)->entry_count, 3);
	assert_int_equal(inode_of(f->ada, theirs)->nlink, 3);
}

static void
a_directory_that_the_chain_knows_is_not_poured_into_another(void **state)
{
	struct fixture *f = *state;
	uint64_t old = mk(f->ada, "old", DIR_MODE);
	uint64_t theirs;

	share(f);
	theirs = mk(f->ada, "d", DIR_MODE);
	assert_int_equal(do_rename(f->bob, 1, "old", 1, "d"), 0);
	meet(f);
	assert_int_equal(at(f->ada, "d"), theirs);
	assert_int_equal(at(f->ada, COPY("d")), old);
}

static void
a_file_and_a_directory_of_one_name_both_stay(void **state)
{
	struct fixture *f = *state;
	uint64_t theirs = mk(f->ada, "n", DIR_MODE);
	uint64_t ours = mk(f->bob, "n", REG);

	meet(f);
	assert_int_equal(at(f->bob, "n"), theirs);
	assert_int_equal(at(f->bob, COPY("n")), ours);
}

static void
both_replacing_one_file_keeps_both_new_ones(void **state)
{
	struct fixture *f = *state;
	uint64_t theirs, ours;

	mk(f->ada, "n", REG);
	share(f);
	theirs = mk(f->ada, "tmp1", REG);
	ours = mk(f->bob, "tmp2", REG);
	assert_int_equal(do_rename(f->ada, 1, "tmp1", 1, "n"), 0);
	assert_int_equal(do_rename(f->bob, 1, "tmp2", 1, "n"), 0);
	meet(f);
	assert_int_equal(at(f->bob, "n"), theirs);
	assert_int_equal(at(f->bob, COPY("n")), ours);
}

/* Moves */

static void
a_directory_moved_on_both_is_where_they_put_it(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = mk(f->ada, "d", DIR_MODE);

	mk(f->ada, "p", DIR_MODE);
	mk(f->ada, "q", DIR_MODE);
	share(f);
	assert_int_equal(do_rename(f->ada, 1, "d", at(f->ada, "p"), "d"), 0);
	assert_int_equal(do_rename(f->bob, 1, "d", at(f->bob, "q"), "d"), 0);
	meet(f);
	assert_int_equal(at(f->ada, "p/d"), dir);
	assert_int_equal(at(f->ada, "q/d"), 0);
	assert_told(f->bob, "p/d", "moved on two devices");
}

static void
a_file_moved_on_both_is_where_they_put_it(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);

	share(f);
	assert_int_equal(do_rename(f->ada, 1, "a", 1, "theirs"), 0);
	assert_int_equal(do_rename(f->bob, 1, "a", 1, "ours"), 0);
	meet(f);
	assert_int_equal(at(f->ada, "theirs"), ino);
	assert_int_equal(at(f->ada, "ours"), 0);
}

static void
a_file_moved_to_the_same_place_on_both_is_there_once(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);

	share(f);
	assert_int_equal(do_rename(f->ada, 1, "a", 1, "b"), 0);
	assert_int_equal(do_rename(f->bob, 1, "a", 1, "b"), 0);
	meet(f);
	assert_int_equal(at(f->ada, "b"), ino);
	assert_int_equal(inode_of(f->bob, ino)->nlink, 1);
	assert_int_equal(f->w.conflict_count, 0);
}

static void
a_file_moved_there_and_changed_here_is_changed_there(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);
	uint64_t token;

	share(f);
	assert_int_equal(do_rename(f->ada, 1, "a", 1, "b"), 0);
	token = do_write(f->bob, ino, 0, 0, 100);
	meet(f);
	assert_int_equal(at(f->ada, "b"), ino);
	assert_true(has_token(f->ada, ino, token));
	assert_int_equal(f->w.conflict_count, 0);
}

static void
moves_into_each_other_leave_theirs(void **state)
{
	struct fixture *f = *state;
	uint64_t x = mk(f->ada, "x", DIR_MODE);
	uint64_t y = mk(f->ada, "y", DIR_MODE);

	share(f);
	assert_int_equal(do_rename(f->ada, 1, "x", y, "x"), 0);
	assert_int_equal(do_rename(f->bob, 1, "y", x, "y"), 0);
	meet(f);
	assert_int_equal(at(f->ada, "y"), y);
	assert_int_equal(at(f->ada, "y/x"), x);
	assert_told(f->bob, "y", "moved on two devices");
}

static void
a_longer_circle_of_moves_is_broken(void **state)
{
	struct fixture *f = *state;
	uint64_t x = mk(f->ada, "x", DIR_MODE);
	uint64_t y = mk(f->ada, "y", DIR_MODE);
	uint64_t xa = mk(f->ada, "x/a", DIR_MODE);
	uint64_t ya = mk(f->ada, "y/a", DIR_MODE);

	share(f);
	assert_int_equal(do_rename(f->ada, 1, "x", ya, "x"), 0);
	mk(f->bob, "x/a/new", DIR_MODE);
	assert_int_equal(do_rename(f->bob, 1, "y", at(f->bob, "x/a/new"), "y"), 0);
	meet(f);
	assert_int_equal(at(f->ada, "y/a/x"), x);
	assert_int_equal(at(f->ada, "y/a/x/a"), xa);
	assert_int_equal(at(f->ada, "y"), y);
	assert_true(at(f->ada, "y/a/x/a/new") != 0);
}

static void
a_directory_moved_there_into_what_we_deleted_brings_that_back(void **state)
{
	struct fixture *f = *state;
	uint64_t x = mk(f->ada, "x", DIR_MODE);

	mk(f->ada, "p", DIR_MODE);
	share(f);
	assert_int_equal(do_rename(f->ada, 1, "x", at(f->ada, "p"), "x"), 0);
	unlink_path(f->bob, 1, "p");
	meet(f);
	assert_int_equal(at(f->ada, "p/x"), x);
}

static void
ours_moved_over_a_file_gives_way_to_their_move_and_the_file_is_back(void **state)
{
	struct fixture *f = *state;
	uint64_t a = mk(f->ada, "a", REG);
	uint64_t b = mk(f->ada, "b", REG);

	share(f);
	assert_int_equal(do_rename(f->ada, 1, "a", 1, "c"), 0);
	assert_int_equal(do_rename(f->bob, 1, "a", 1, "b"), 0);
	meet(f);
	assert_int_equal(at(f->ada, "c"), a);
	assert_int_equal(at(f->ada, "b"), b);
}

static void
their_new_content_brings_its_time_to_what_we_renamed(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);
	struct timespec mtime;

	share(f);
	do_write(f->ada, ino, 0, 0, 100);
	mtime = inode_of(f->ada, ino)->mtime;
	assert_int_equal(do_rename(f->bob, 1, "a", 1, "b"), 0);
	meet(f);
	assert_int_equal(at(f->bob, "b"), ino);
	assert_int_equal(inode_of(f->bob, ino)->mtime.tv_sec, mtime.tv_sec);
}

static void
a_rename_here_does_not_undo_the_time_that_they_set(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);
	struct inode *i;

	share(f);
	meta_lock(f->ada->meta);
	assert_int_equal(meta_inode_get(f->ada->meta, ino, &i), 0);
	i->mtime.tv_sec = 1234567890;
	i->pending |= PENDING_MTIME;
	meta_inode_dirty(f->ada->meta, i);
	meta_note_local_change(f->ada->meta);
	meta_unlock(f->ada->meta);
	assert_int_equal(do_rename(f->bob, 1, "a", 1, "b"), 0);
	meet(f);
	assert_int_equal(at(f->ada, "b"), ino);
	assert_int_equal(inode_of(f->ada, ino)->mtime.tv_sec, 1234567890);
	assert_int_equal(inode_of(f->bob, ino)->mtime.tv_sec, 1234567890);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(content_changed_on_both_keeps_theirs_and_a_copy_of_ours),
		T(key_versions_that_collide_stay_with_the_side_that_made_them),
		T(foreign_content_without_anything_pending_is_just_taken),
		T(copies_are_numbered_when_the_name_is_taken),
		T(different_attributes_of_one_file_both_hold),
		T(the_same_attribute_on_both_is_ours_which_is_later),
		T(xattrs_merge_by_name_and_removals_travel),
		T(one_name_for_two_new_files_gives_ours_the_conflict_name),
		T(two_new_directories_of_one_name_become_one),
		T(a_directory_that_the_chain_knows_is_not_poured_into_another),
		T(a_file_and_a_directory_of_one_name_both_stay),
		T(both_replacing_one_file_keeps_both_new_ones),
		T(a_directory_moved_on_both_is_where_they_put_it),
		T(a_file_moved_on_both_is_where_they_put_it),
		T(a_file_moved_to_the_same_place_on_both_is_there_once),
		T(a_file_moved_there_and_changed_here_is_changed_there),
		T(their_new_content_brings_its_time_to_what_we_renamed),
		T(a_rename_here_does_not_undo_the_time_that_they_set),
		T(moves_into_each_other_leave_theirs),
		T(a_longer_circle_of_moves_is_broken),
		T(a_directory_moved_there_into_what_we_deleted_brings_that_back),
		T(ours_moved_over_a_file_gives_way_to_their_move_and_the_file_is_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
