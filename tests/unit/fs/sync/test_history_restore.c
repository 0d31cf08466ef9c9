/* Restoring: what it replaces, fills up and keeps. */
#include "history_pair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t
find_then(struct back *b, const char *path)
{
	const char *rest;
	uint64_t ino;

	assert_int_equal(history_resolve(b->then.fs, path, &ino, &rest), 0);
	assert_string_equal(rest, "");
	return ino;
}

static void
restore_all(struct side *s, struct back *b, const char *name)
{
	struct history_restore r = { .from = b->then.fs, .ino = find_then(b, ""), .to = s->fs, .parent = INODE_ROOT,
		.name = name };

	assert_int_equal(history_restore(&r), 0);
	assert_int_equal(r.failed_count, 0);
}

static void
a_restored_tree_is_the_tree_that_it_was(void **state)
{
	struct fixture *f = *state;
	struct record r[4];
	struct back b;
	char *then, *now;
	uint64_t top;

	make_history(&f->a, r);
	sync_ok(&f->a);
	look_back(&f->a, &b);
	go_to(&f->a, &b, r[1].seq);
	restore_all(&f->a, &b, "back");
	top = lookup(&f->a, INODE_ROOT, "back");
	then = dump_below(&b.then, INODE_ROOT);
	now = dump_below(&f->a, top);
	assert_string_equal(then, now);
	assert_non_null(strstr(now, "three megabytes"));
	free(then);
	free(now);
	sync_ok(&f->a);
	join_side(f, &f->b);
	assert_same_tree(&f->a, &f->b);
	look_away(&b);
	for (size_t i = 0; i < 4; i++)
		free(r[i].tree);
}

static void
restoring_replaces_nothing_unless_told_to(void **state)
{
	struct fixture *f = *state;
	struct history_restore r;
	struct record rec[4];
	struct back b;

	make_history(&f->a, rec);
	look_back(&f->a, &b);
	go_to(&f->a, &b, rec[1].seq);
	r = (struct history_restore){ .from = b.then.fs, .ino = find_then(&b, "hello.txt"), .to = f->a.fs, .parent = INODE_ROOT,
		.name = "hello.txt" };
	assert_int_equal(history_restore(&r), -EEXIST);
	assert_text(&f->a, "hello.txt", "another file of that name");
	r.overwrite = true;
	assert_int_equal(history_restore(&r), 0);
	assert_text(&f->a, "hello.txt", "HELLO, all");
	r.name = "folder";
	assert_int_equal(history_restore(&r), -EISDIR);
	r.ino = find_then(&b, "dir");
	r.name = "hello.txt";
	assert_int_equal(history_restore(&r), -ENOTDIR);
	look_away(&b);
	for (size_t i = 0; i < 4; i++)
		free(rec[i].tree);
}

static void
a_folder_is_filled_up_and_keeps_what_is_newer(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(&f->a, INODE_ROOT, "dir"), sub = make_dir(&f->a, dir, "sub");
	struct history_restore r;
	struct record rec;
	struct back b;

	make_file(&f->a, dir, "same", "then", 4);
	make_file(&f->a, sub, "lost", "then", 4);
	rec = record(&f->a);
	write_at(&f->a, lookup(&f->a, dir, "same"), 0, "now!", 4);
	assert_int_equal(vfs_unlink(f->a.fs, sub, "lost"), 0);
	make_file(&f->a, dir, "newer", "now", 3);
	sync_ok(&f->a);
	look_back(&f->a, &b);
	go_to(&f->a, &b, rec.seq);
	r = (struct history_restore){ .from = b.then.fs, .ino = find_then(&b, "dir"), .to = f->a.fs, .parent = INODE_ROOT,
		.name = "dir", .overwrite = true };
	assert_int_equal(history_restore(&r), 0);
	assert_int_equal(r.file_count, 2);
	assert_int_not_equal(lookup(&f->a, dir, "newer"), 0);
	assert_int_not_equal(lookup(&f->a, sub, "lost"), 0);
	assert_int_equal(vfs_rename(f->a.fs, dir, "same", INODE_ROOT, "same", 0), 0);
	assert_text(&f->a, "same", "then");
	look_away(&b);
	free(rec.tree);
}

static void
names_of_restored_files_say_when_and_fit(void **state)
{
	char name[NAME_LEN_MAX + 1], longest[NAME_LEN_MAX + 1];

	(void)state;
	setenv("TZ", "Europe/Berlin", 1);
	tzset();
	history_restore_name("tax.ods", (uint64_t)NOON_IN_BERLIN * NS, 1, name);
	assert_string_equal(name, "tax (as of 2026-11-20 14:30:00).ods");
	history_restore_name(".bashrc", (uint64_t)NOON_IN_BERLIN * NS, 2, name);
	assert_string_equal(name, ".bashrc (as of 2026-11-20 14:30:00) 2");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[NAME_LEN_MAX] = '\0';
	memcpy(longest + NAME_LEN_MAX - 4, ".ods", 4);
	history_restore_name(longest, (uint64_t)NOON_IN_BERLIN * NS, 12, name);
	assert_int_equal(strlen(name), NAME_LEN_MAX);
	assert_non_null(strstr(name, "x (as of 2026-11-20 14:30:00) 12.ods"));
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(a_restored_tree_is_the_tree_that_it_was),
		EACH(restoring_replaces_nothing_unless_told_to),
		EACH(a_folder_is_filled_up_and_keeps_what_is_newer),
		cmocka_unit_test(names_of_restored_files_say_when_and_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
