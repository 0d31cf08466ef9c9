/* Views of the past: every state is there as it was, or it is said why not. */
#include "history_pair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

static void
assert_was(struct side *s, struct back *b, struct record *r)
{
	char *then;

	go_to(s, b, r->seq);
	then = dump_tree(&b->then);
	assert_string_equal(then, r->tree);
	free(then);
	free(r->tree);
	r->tree = NULL;
}

static void
every_state_is_there_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct record r[4];
	struct back b;

	make_history(&f->a, r);
	look_back(&f->a, &b);
	for (size_t i = 4; i-- > 0;)
		assert_was(&f->a, &b, &r[i]);
	look_away(&b);
}

static void
a_base_and_the_commits_behind_it_give_the_same(void **state)
{
	struct fixture *f = *state;
	struct record r[4], later;
	struct back b;

	make_history(&f->a, r);
	assert_int_equal(base_write(f->a.sync), 0);
	make_text(&f->a, "later", "than the base");
	later = record(&f->a);
	make_text(&f->a, "latest", "of all");
	sync_ok(&f->a);
	look_back(&f->a, &b);
	assert_was(&f->a, &b, &later);
	assert_was(&f->a, &b, &r[3]);
	assert_was(&f->a, &b, &r[0]); /* before the base */
	look_away(&b);
	free(r[1].tree);
	free(r[2].tree);
}

static void
another_computer_sees_the_past_before_it_was_there(void **state)
{
	struct fixture *f = *state;
	struct record r[4];
	struct back b;

	make_history(&f->a, r);
	join_side(f, &f->b);
	look_back(&f->b, &b);
	for (size_t i = 0; i < 4; i++)
		assert_was(&f->b, &b, &r[i]);
	look_away(&b);
}

static void
what_is_gone_from_this_computer_comes_from_the_store(void **state)
{
	struct fixture *f = *state;
	struct record r[4];
	struct back b;

	make_history(&f->a, r);
	shell("rm -f %s/segments/*", f->a.dir);
	reopen_side(&f->a, f->store);
	look_back(&f->a, &b);
	assert_was(&f->a, &b, &r[0]);
	look_away(&b);
	for (size_t i = 1; i < 4; i++)
		free(r[i].tree);
}

static void
a_finished_view_is_found_again_and_an_unfinished_one_is_removed(void **state)
{
	struct fixture *f = *state;
	struct record r[4];
	struct back b;

	make_history(&f->a, r);
	look_back(&f->a, &b);
	go_to(&f->a, &b, r[1].seq);
	look_away(&b);
	shell("mkdir -p %s/history/000000000099 && touch %s/history/000000000001/found", f->a.dir, f->a.dir);
	look_back(&f->a, &b);
	shell("test ! -e %s/history/000000000099", f->a.dir);
	assert_was(&f->a, &b, &r[1]);
	shell("test -e %s/history/000000000001/found", f->a.dir);
	look_away(&b);
	shell("touch -d '2 days ago' %s/history/000000000001", f->a.dir);
	look_back(&f->a, &b);
	shell("test ! -e %s/history/000000000001", f->a.dir);
	look_away(&b);
	free(r[0].tree);
	free(r[2].tree);
	free(r[3].tree);
}

static void
two_views_are_open_at_a_time_and_no_more(void **state)
{
	struct fixture *f = *state;
	struct history_view *first, *second, *third;
	struct record r[4];
	struct back b;

	make_history(&f->a, r);
	look_back(&f->a, &b);
	assert_int_equal(history_view_get(b.h, f->a.sync, b.p, r[0].seq, &first), 0);
	assert_int_equal(history_view_get(b.h, f->a.sync, b.p, r[1].seq, &second), 0);
	assert_int_equal(history_view_get(b.h, f->a.sync, b.p, r[2].seq, &third), -EBUSY);
	assert_int_equal(history_view_get(b.h, f->a.sync, b.p, r[0].seq, &third), 0);
	assert_ptr_equal(first, third);
	history_view_put(b.h, third);
	history_view_put(b.h, first);
	assert_int_equal(history_view_get(b.h, f->a.sync, b.p, r[2].seq, &third), 0);
	history_view_put(b.h, second);
	history_view_put(b.h, third);
	look_away(&b);
	for (size_t i = 0; i < 4; i++)
		free(r[i].tree);
}

/* A store that shows something else. */

static void
put_commit_in_place_of(struct fixture *f, uint64_t other, uint64_t seq)
{
	char from[256], to[256];

	commit_path(f, other, from);
	commit_path(f, seq, to);
	shell("cp %s %s", from, to);
}

static void
assert_refused(struct side *s, uint64_t seq, const char *why)
{
	struct history_view *w;
	struct back b;

	look_back(s, &b);
	assert_int_equal(history_view_get(b.h, s->sync, b.p, seq, &w), -EBADMSG);
	assert_non_null(strstr(past_why(b.p), why));
	look_away(&b);
}

static void
older_commits_served_for_newer_ones_are_found_out(void **state)
{
	struct fixture *f = *state;
	struct record r[4];

	make_history(&f->a, r);
	put_commit_in_place_of(f, r[1].seq, r[2].seq);
	assert_refused(&f->a, r[1].seq, "is not the one that this device has seen");
	for (size_t i = 0; i < 4; i++)
		free(r[i].tree);
}

/* Another one of that number, by a member, that opens and is signed: what a store and a member can make together. */
static void
a_fork_served_for_the_past_is_found_out(void **state)
{
	struct fixture *f = *state;
	char fork[200], path[256];

	make_text(&f->a, "file", "one");
	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->b);
	sync_ok(&f->a);
	snprintf(fork, sizeof(fork), "%s/fork", f->top);
	shell("cp -r %s %s", f->store, fork);
	make_text(&f->a, "seen", "by alpha");
	sync_ok(&f->a);
	make_text(&f->a, "later", "text");
	sync_ok(&f->a);
	reopen_side(&f->b, fork);
	make_text(&f->b, "forged", "never seen by alpha");
	sync_ok(&f->b);
	commit_path(f, head_of(&f->b), path);
	shell("cp %s/c/%s %s", fork, strrchr(path, '/') + 1, path);
	assert_refused(&f->a, head_of(&f->b), "is not the one that this device has seen");
}

static void
a_commit_that_is_lost_or_changed_is_named(void **state)
{
	struct fixture *f = *state;
	struct record r[4];
	char path[256];

	make_history(&f->a, r);
	commit_path(f, r[2].seq, path);
	shell("cp %s %s.kept && printf xxxxxxxx | dd of=%s bs=1 seek=100 conv=notrunc 2>/dev/null", path, path, path);
	assert_refused(&f->a, r[0].seq, "commit 2 in");
	shell("rm %s", path);
	assert_refused(&f->a, r[0].seq, "has lost commit 2");
	shell("mv %s.kept %s", path, path);
	for (size_t i = 0; i < 4; i++)
		free(r[i].tree);
}

static void
a_base_that_does_not_hold_is_passed_over(void **state)
{
	struct fixture *f = *state;
	struct record r[4];
	struct back b;

	make_history(&f->a, r);
	assert_int_equal(base_write(f->a.sync), 0);
	shell("printf xxxxxxxx | dd of=%s/b/000000000003 bs=1 seek=100 conv=notrunc 2>/dev/null", f->store);
	look_back(&f->a, &b);
	assert_was(&f->a, &b, &r[3]);
	look_away(&b);
	for (size_t i = 0; i < 3; i++)
		free(r[i].tree);
}

static void
a_base_whose_part_is_damaged_is_passed_over(void **state)
{
	struct fixture *f = *state;
	struct record r[4];
	struct back b;

	make_history(&f->a, r);
	shell("find %s/s -type f | sort > %s/before", f->store, f->top);
	assert_int_equal(base_write(f->a.sync), 0);
	shell("find %s/s -type f | sort | comm -13 %s/before - | xargs -I{} dd if=/dev/zero of={} bs=1 seek=99 count=9 "
	    "conv=notrunc 2>/dev/null", f->store, f->top);
	look_back(&f->a, &b);
	assert_was(&f->a, &b, &r[3]);
	look_away(&b);
	for (size_t i = 0; i < 3; i++)
		free(r[i].tree);
}

static err_t
try_read(struct vfs *v, uint64_t ino)
{
	uint8_t buf[64];
	size_t n = 0;

	return vfs_read(v, ino, 0, sizeof(buf), buf, &n);
}

static void
damaged_bytes_of_the_past_are_an_error_and_never_wrong_bytes(void **state)
{
	struct fixture *f = *state;
	struct record r[4];
	struct back b;

	make_history(&f->a, r);
	shell("rm -f %s/segments/*; for s in $(find %s/s -type f); do head -c $(stat -c %%s $s) /dev/zero > $s; done", f->a.dir,
	    f->store);
	reopen_side(&f->a, f->store);
	look_back(&f->a, &b);
	go_to(&f->a, &b, r[0].seq);
	assert_int_equal(try_read(b.then.fs, lookup(&b.then, INODE_ROOT, "hello.txt")), -EIO);
	look_away(&b);
	for (size_t i = 0; i < 4; i++)
		free(r[i].tree);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(every_state_is_there_as_it_was),
		EACH(a_base_and_the_commits_behind_it_give_the_same),
		EACH(another_computer_sees_the_past_before_it_was_there),
		EACH(what_is_gone_from_this_computer_comes_from_the_store),
		EACH(a_finished_view_is_found_again_and_an_unfinished_one_is_removed),
		EACH(two_views_are_open_at_a_time_and_no_more),
		EACH(older_commits_served_for_newer_ones_are_found_out),
		EACH(a_fork_served_for_the_past_is_found_out),
		EACH(a_commit_that_is_lost_or_changed_is_named),
		EACH(a_base_that_does_not_hold_is_passed_over),
		EACH(a_base_whose_part_is_damaged_is_passed_over),
		EACH(damaged_bytes_of_the_past_are_an_error_and_never_wrong_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
