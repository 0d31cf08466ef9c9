/*
 * Merging: each row of the table in snugfs-design(7), its corners, our own commits, and commits that make no sense.  Ada is
 * always the first to push; Bob pulls under what is pending on his side.
 */
#include "replica.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "extents.h"

#define REG (S_IFREG | 0644)
#define DIR_MODE (S_IFDIR | 0755)
#define COPY(name) name " (conflict from bob, 2023-11-14)"

struct fixture {
	struct world w;
	struct replica *ada;
	struct replica *bob;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	setenv("TZ", "UTC", 1);
	world_open(&f->w, 2);
	f->ada = &f->w.r[0];
	f->bob = &f->w.r[1];
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	world_close(&f->w);
	free(f);
	return 0;
}

/* What Ada has is known to Bob. */
static void
share(struct fixture *f)
{
	push(f->ada);
	pull(f->bob);
}

/* Ada's changes reach Bob under his own; then both settle. */
static void
meet(struct fixture *f)
{
	push(f->ada);
	pull(f->bob);
	check_replica(f->bob);
	settle_world(&f->w);
}

static void
unlink_path(struct replica *r, uint64_t parent, const char *name)
{
	assert_int_equal(do_unlink(r, parent, name), 0);
}

static void
assert_told(struct replica *r, const char *path, const char *part)
{
	for (size_t k = 0; k < r->last.conflict_count; k++) {
		if (strcmp(r->last.conflicts[k].path, path) == 0 && strstr(r->last.conflicts[k].sentence, part))
			return;
	}
	for (size_t k = 0; k < r->last.conflict_count; k++)
		print_error("%s: %s\n", r->last.conflicts[k].path, r->last.conflicts[k].sentence);
	fail_msg("nobody was told that %s %s", path, part);
}

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

/* What the kernel knows, and what is told to it */

static void
an_open_file_that_they_deleted_stays_an_orphan_until_forgotten(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);

	do_write(f->ada, ino, 0, 0, 100);
	share(f);
	assert_int_equal(lookups_add(f->bob->lookups, ino), 0);
	unlink_path(f->ada, 1, "a");
	push(f->ada);
	pull(f->bob);
	assert_non_null(inode_of(f->bob, ino));
	assert_int_equal(inode_of(f->bob, ino)->nlink, 0);
	assert_true(inode_of(f->bob, ino)->pending & PENDING_NEW);
	do_forget(f->bob);
	assert_null(inode_of(f->bob, ino));
	settle_world(&f->w);
}

static void
changed_names_and_inodes_are_told(void **state)
{
	struct fixture *f = *state;
	struct merge_result r = {0};
	struct changes *c;
	uint64_t ino = mk(f->ada, "a", REG);
	bool name_told = false, inode_told = false;

	share(f);
	do_chmod(f->ada, ino, 0600);
	assert_int_equal(do_rename(f->ada, 1, "a", 1, "b"), 0);
	c = collect(f->ada);
	add_commit(&f->w, f->ada, c);
	assert_int_equal(apply_foreign(f->bob, c, &r), 0);
	f->bob->applied++;
	for (size_t k = 0; k < r.entry_count; k++)
		name_told = name_told || (r.entries[k].parent == 1 && strcmp(r.entries[k].name, "a") == 0);
	for (size_t k = 0; k < r.ino_count; k++)
		inode_told = inode_told || r.inos[k] == ino;
	assert_true(name_told && inode_told);
	merge_result_clear(&r);
	changes_free(c);
}

struct released {
	uint64_t seg;
	uint64_t off;
};

static void
on_release(void *ctx, uint64_t seg, uint64_t off, uint32_t len)
{
	struct released *r = ctx;

	(void)len;
	r->seg = seg;
	r->off = off;
}

/* Bob's unsettled bytes of a file that he deleted. */
static void
hot_bytes_that_nobody_maps_any_more_are_released(void **state)
{
	struct fixture *f = *state;
	struct released released = {0};
	struct meta_hooks hooks = {.ctx = &released, .on_release = on_release};
	struct chunk *c = NULL;
	struct inode *i;
	struct segment s = {.kind = SEGMENT_HOT, .local = true};
	uint64_t ino = mk(f->ada, "a", REG);

	share(f);
	do_write(f->ada, ino, 0, 0, 100);
	do_write(f->bob, ino, 0, 0, 100);
	i = inode_of(f->bob, ino);
	meta_lock(f->bob->meta);
	s.id = meta_segment_new_id(f->bob->meta);
	assert_int_equal(meta_segment_put(f->bob->meta, &s), 0);
	assert_int_equal(meta_chunk_get(f->bob->meta, i, 0, false, &c), 0);
	c->current.v[0].seg = s.id;
	c->current.v[0].seg_off = 4096;
	meta_unlock(f->bob->meta);
	unlink_path(f->bob, 1, "a");
	meta_set_hooks(f->bob->meta, &hooks);
	push(f->ada);
	pull(f->bob);
	assert_int_equal(meta_sync(f->bob->meta), 0);
	assert_int_equal(released.seg, s.id);
	assert_int_equal(released.off, 4096);
	assert_int_equal(at(f->bob, "a"), ino);
	settle_world(&f->w);
}

/* Our own commits */

static void
our_own_commit_leaves_nothing_pending_and_can_be_repeated(void **state)
{
	struct fixture *f = *state;
	struct merge_context mc = {.meta = f->ada->meta, .lookups = f->ada->lookups, .my_name = "ada"};
	struct meta_pending_summary summary;
	struct changes *c;
	char *before, *after;
	uint64_t ino = mk(f->ada, "a", REG);

	do_write(f->ada, ino, 0, 0, 100);
	do_setxattr(f->ada, ino, "user.x", "1");
	mk(f->ada, "gone", REG);
	push(f->ada);
	unlink_path(f->ada, 1, "gone");
	assert_int_equal(do_rename(f->ada, 1, "a", 1, "b"), 0);
	do_write(f->ada, ino, 0, 20, 30);
	push(f->ada);
	meta_pending_summary(f->ada->meta, &summary);
	assert_int_equal(summary.inode_count, 0);
	assert_int_equal(summary.dentry_count, 0);
	before = dump_replica(f->ada);
	assert_int_equal(changes_decode(f->w.chain[1].body.data, f->w.chain[1].body.len, &c), 0);
	assert_int_equal(merge_apply_own(&mc, c, NULL, NULL), 0);
	assert_int_equal(merge_apply_own(&mc, c, NULL, NULL), 0);
	changes_free(c);
	after = dump_replica(f->ada);
	assert_string_equal(before, after);
	meta_pending_summary(f->ada->meta, &summary);
	assert_int_equal(summary.inode_count, 0);
	assert_int_equal(summary.dentry_count, 0);
	free(before);
	free(after);
	settle_world(&f->w);
}

static void
change_everything(void *ctx, struct replica *r)
{
	uint64_t ino = *(uint64_t *)ctx;

	do_chmod(r, ino, 0600);
	do_write(r, ino, 0, 10, 10);
	do_setxattr(r, ino, "user.x", NULL);
	assert_int_equal(do_rename(r, 1, "a", 1, "b"), 0);
}

static void
what_changes_while_our_commit_is_on_its_way_stays_pending(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);
	struct inode *i;

	do_write(f->ada, ino, 0, 0, 100);
	do_setxattr(f->ada, ino, "user.x", "1");
	push_with(f->ada, change_everything, &ino);
	i = inode_of(f->ada, ino);
	assert_true(i->pending & PENDING_MODE && i->pending & PENDING_CONTENT && i->pending & PENDING_XATTR);
	assert_false(i->pending & PENDING_NEW);
	assert_int_equal(i->chain_size, 100);
	settle_world(&f->w);
	assert_int_equal(at(f->bob, "b"), ino);
	assert_int_equal(inode_of(f->bob, ino)->mode, S_IFREG | 0600);
	assert_false(inode_of(f->bob, ino)->has_xattrs);
}

static void
remove_it(void *ctx, struct replica *r)
{
	(void)ctx;
	unlink_path(r, 1, "a");
}

static void
a_file_removed_while_its_commit_is_on_its_way_can_still_be_brought_back(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->bob, "a", REG);
	uint64_t token;

	do_write(f->bob, ino, 0, 0, 100);
	push_with(f->bob, remove_it, NULL);
	pull(f->ada);
	token = do_write(f->ada, ino, 1, 0, 100);
	meet(f);
	assert_int_equal(at(f->bob, "a"), ino);
	assert_true(has_token(f->bob, ino, token));
}

/* Commits that make no sense */

static struct changes *
fresh_changes(void)
{
	struct changes *c = NULL;

	assert_int_equal(changes_new(&c), 0);
	return c;
}

static void
add_dentry(struct changes *c, uint64_t parent, const char *name, uint64_t ino, uint8_t type)
{
	struct change_dentry *d = changes_add_dentry(c);

	d->parent = parent;
	d->ino = ino;
	d->type = type;
	strcpy(d->name, name);
}

static void
add_inode(struct changes *c, uint64_t ino, uint32_t mode, uint32_t fields)
{
	struct change_inode *i = changes_add_inode(c);

	i->ino = ino;
	i->mode = mode;
	i->fields = fields;
	i->origin = ino;
}

/* Through the codec, as it would come; nothing may change. */
static void
assert_refused(struct fixture *f, struct changes *c)
{
	CLEANUP(bytes_clear) struct bytes body = {0};
	struct merge_result r = {0};
	struct changes *decoded = NULL;
	char *before = dump_replica(f->bob);
	char *after;

	assert_int_equal(changes_encode(c, &body), 0);
	changes_free(c);
	assert_int_equal(changes_decode(body.data, body.len, &decoded), 0);
	assert_int_equal(apply_foreign(f->bob, decoded, &r), -EBADMSG);
	changes_free(decoded);
	after = dump_replica(f->bob);
	assert_string_equal(before, after);
	assert_int_equal(meta_health(f->bob->meta), 0);
	check_replica(f->bob);
	free(before);
	free(after);
}

static void
commits_that_contradict_the_chain_are_refused_and_change_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = mk(f->ada, "d", DIR_MODE);
	uint64_t sub = mk(f->ada, "d/sub", DIR_MODE);
	uint64_t file = mk(f->ada, "d/f", REG);
	uint64_t token = do_write(f->ada, file, 0, 0, 100);
	uint64_t local = mk(f->bob, "local", DIR_MODE);
	struct change_segment seg = {.size = 5};
	struct changes *c;
	uint32_t index;

	share(f);
	c = fresh_changes(); /* a name in a directory that is not there */
	add_dentry(c, 12345, "x", file, DT_REG);
	assert_refused(f, c);
	c = fresh_changes(); /* ... that only Bob has */
	add_dentry(c, local, "x", file, DT_REG);
	assert_refused(f, c);
	c = fresh_changes(); /* ... in a file */
	add_dentry(c, file, "x", file, DT_REG);
	assert_refused(f, c);
	c = fresh_changes(); /* a name of nothing */
	add_dentry(c, 1, "x", 12345, DT_REG);
	assert_refused(f, c);
	c = fresh_changes(); /* of another type */
	add_dentry(c, 1, "x", file, DT_LNK);
	assert_refused(f, c);
	c = fresh_changes(); /* a second name of a directory */
	add_dentry(c, 1, "x", dir, DT_DIR);
	assert_refused(f, c);
	c = fresh_changes(); /* of the root */
	add_dentry(c, dir, "x", INODE_ROOT, DT_DIR);
	assert_refused(f, c);
	c = fresh_changes(); /* a directory within itself */
	add_dentry(c, 1, "d", 0, 0);
	add_dentry(c, sub, "d", dir, DT_DIR);
	assert_refused(f, c);
	c = fresh_changes(); /* two new directories that hold each other */
	add_inode(c, 777, DIR_MODE, CHANGE_NEW);
	add_inode(c, 778, DIR_MODE, CHANGE_NEW);
	add_dentry(c, 777, "x", 778, DT_DIR);
	add_dentry(c, 778, "x", 777, DT_DIR);
	assert_refused(f, c);
	c = fresh_changes(); /* a directory that goes and leaves a file */
	add_dentry(c, 1, "d", 0, 0);
	assert_refused(f, c);
	c = fresh_changes(); /* a name in a directory that goes */
	add_dentry(c, dir, "sub", 0, 0);
	add_dentry(c, sub, "x", file, DT_REG);
	assert_refused(f, c);
	c = fresh_changes(); /* attributes of nothing */
	add_inode(c, 12345, REG, CHANGE_MODE);
	assert_refused(f, c);
	c = fresh_changes(); /* a file that becomes a directory */
	add_inode(c, file, DIR_MODE, CHANGE_MODE);
	assert_refused(f, c);
	c = fresh_changes(); /* introduced twice */
	add_inode(c, file, REG, CHANGE_NEW);
	assert_refused(f, c);
	c = fresh_changes(); /* another segment of the same name */
	memcpy(seg.name, &token, sizeof(token));
	assert_int_equal(changes_segment_index(c, &seg, &index), 0);
	assert_refused(f, c);
	settle_world(&f->w);
}

static void
an_inode_that_comes_without_a_name_is_not_kept(void **state)
{
	struct fixture *f = *state;
	struct merge_result r = {0};
	struct changes *c = fresh_changes();

	add_inode(c, 777, REG, CHANGE_NEW);
	assert_int_equal(apply_foreign(f->bob, c, &r), 0);
	changes_free(c);
	merge_result_clear(&r);
	assert_null(inode_of(f->bob, 777));
}

static err_t
refuse(void *ctx)
{
	(void)ctx;
	return -EIO;
}

static void
a_failure_half_way_poisons_the_metadata(void **state)
{
	struct fixture *f = *state;
	struct merge_context mc = {.meta = f->bob->meta, .my_name = "bob"};
	struct merge_result r = {0};
	struct changes *c = fresh_changes();

	add_inode(c, 777, REG, CHANGE_NEW);
	add_dentry(c, 1, "x", 777, DT_REG);
	assert_int_equal(merge_apply_foreign(&mc, c, refuse, NULL, &r), -EIO);
	changes_free(c);
	assert_int_equal(meta_health(f->bob->meta), -EIO);
	assert_int_equal(meta_sync(f->bob->meta), -EIO);
}

/* Names of copies */

static void
conflict_names_keep_the_extension(void **state)
{
	char out[NAME_LEN_MAX + 1];

	(void)state;
	merge_conflict_name("report.txt", "laptop", 1795219200, 1, out);
	assert_string_equal(out, "report (conflict from laptop, 2026-11-21).txt");
	merge_conflict_name("report.txt", "laptop", 1795219200, 3, out);
	assert_string_equal(out, "report (conflict from laptop, 2026-11-21) 3.txt");
	merge_conflict_name(".profile", "a/b", 1795219200, 1, out);
	assert_string_equal(out, ".profile (conflict from a-b, 2026-11-21)");
	merge_conflict_name("v1. and more", "x", 1795219200, 1, out);
	assert_string_equal(out, "v1. and more (conflict from x, 2026-11-21)");
}

static void
conflict_names_fit_and_do_not_cut_a_character(void **state)
{
	char name[NAME_LEN_MAX + 1] = "";
	char out[NAME_LEN_MAX + 1];
	char device[65];

	(void)state;
	memset(device, 'x', 64);
	device[64] = '\0';
	for (size_t pad = 0; pad < 3; pad++) {
		size_t len = 0;

		for (; len < pad; len++)
			name[len] = 'a';
		for (; len + 3 <= 251; len += 3)
			memcpy(name + len, "\xe2\x82\xac", 3);
		strcpy(name + len, ".txt");
		merge_conflict_name(name, device, 1795219200, 4294967295u, out);
		assert_true(strlen(out) <= NAME_LEN_MAX && strlen(out) > NAME_LEN_MAX - 3);
		assert_string_equal(out + strlen(out) - 4, ".txt");
		assert_int_equal((strchr(out, ' ') - out - (long)pad) % 3, 0);
	}
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
		T(an_open_file_that_they_deleted_stays_an_orphan_until_forgotten),
		T(changed_names_and_inodes_are_told),
		T(hot_bytes_that_nobody_maps_any_more_are_released),
		T(our_own_commit_leaves_nothing_pending_and_can_be_repeated),
		T(what_changes_while_our_commit_is_on_its_way_stays_pending),
		T(a_file_removed_while_its_commit_is_on_its_way_can_still_be_brought_back),
		T(commits_that_contradict_the_chain_are_refused_and_change_nothing),
		T(an_inode_that_comes_without_a_name_is_not_kept),
		T(a_failure_half_way_poisons_the_metadata),
		T(conflict_names_keep_the_extension),
		T(conflict_names_fit_and_do_not_cut_a_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
