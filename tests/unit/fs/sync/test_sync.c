/* What is changed on one computer appears on the other: edits, moves, the thread, and what the kernel is told. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "random.h"
#include "settings.h"
#include "sides.h"

#include "../../await.h"

/* The main job. */

static void
a_second_computer_with_the_recovery_key_sees_the_same_tree(void **state)
{
	struct fixture *f = *state;

	make_variety(&f->a);
	sync_ok(&f->a);
	join_side(f, &f->b);
	assert_same_tree(&f->a, &f->b);
	sync_ok(&f->b);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	assert_int_equal(message_count(&f->a, "\"beta\" was added by the recovery key"), 1);
}

static void
an_empty_vault_can_be_joined_once_it_was_pushed(void **state)
{
	struct fixture *f = *state;

	sync_ok(&f->a);
	join_side(f, &f->b);
	assert_same_tree(&f->a, &f->b);
}

static void
edits_flow_both_ways(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	uint64_t dir;

	make_variety(&f->a);
	sync_ok(&f->a);
	join_side(f, &f->b);
	make_text(&f->b, "from b", "written on b");
	write_at(&f->b, lookup(&f->b, INODE_ROOT, "hello.txt"), 0, "HELLO", 5);
	dir = lookup(&f->b, INODE_ROOT, "dir");
	assert_int_equal(vfs_unlink(f->b.fs, dir, "fifo"), 0);
	assert_int_equal(vfs_rename(f->b.fs, dir, "sub", INODE_ROOT, "moved", 0), 0);
	sync_ok(&f->b);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	assert_text(&f->a, "hello.txt", "HELLO\n");
	assert_text(&f->a, "from b", "written on b");

	write_at(&f->a, lookup(&f->a, INODE_ROOT, "from b"), 11, "b, then on a", 12);
	st.st_mode = 0600;
	assert_int_equal(vfs_setattr(f->a.fs, lookup(&f->a, INODE_ROOT, "hello.txt"), &st, VFS_SET_MODE, &st), 0);
	assert_int_equal(vfs_removexattr(f->a.fs, lookup(&f->a, dir, "small"), "user.colour"), 0);
	sync_ok(&f->a);
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
	assert_text(&f->b, "from b", "written on b, then on a");
}

static void
a_sync_without_changes_writes_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t calls;

	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	calls = store_fault_calls(f->a.fault, STORE_OP_PUT | STORE_OP_CREATE);
	sync_ok(&f->a);
	sync_ok(&f->a);
	assert_int_equal(store_fault_calls(f->a.fault, STORE_OP_PUT | STORE_OP_CREATE), calls);
	assert_int_equal(head_of(&f->a), 0);
}

static void
deletions_arrive(void **state)
{
	struct fixture *f = *state;
	uint64_t dir;

	make_variety(&f->a);
	sync_ok(&f->a);
	join_side(f, &f->b);
	dir = lookup(&f->a, INODE_ROOT, "dir");
	assert_int_equal(vfs_unlink(f->a.fs, lookup(&f->a, dir, "sub"), "small too"), 0);
	assert_int_equal(vfs_unlink(f->a.fs, lookup(&f->a, dir, "sub"), "sparse"), 0);
	assert_int_equal(vfs_unlink(f->a.fs, lookup(&f->a, dir, "sub"), "three megabytes"), 0);
	assert_int_equal(vfs_rmdir(f->a.fs, dir, "sub"), 0);
	sync_ok(&f->a);
	sync_ok(&f->b);
	assert_int_equal(lookup(&f->b, dir, "sub"), 0);
	assert_same_tree(&f->a, &f->b);
}

static void
moves_that_depend_on_each_other_arrive_together(void **state)
{
	struct fixture *f = *state;
	uint64_t x, y;

	x = make_dir(&f->a, INODE_ROOT, "x");
	y = make_dir(&f->a, x, "y");
	make_text(&f->a, "one", "1");
	make_text(&f->a, "two", "2");
	sync_ok(&f->a);
	join_side(f, &f->b);
	/* The inner directory becomes the outer one. */
	assert_int_equal(vfs_rename(f->a.fs, x, "y", INODE_ROOT, "y", 0), 0);
	assert_int_equal(vfs_rename(f->a.fs, INODE_ROOT, "x", y, "x", 0), 0);
	assert_int_equal(vfs_rename(f->a.fs, INODE_ROOT, "one", INODE_ROOT, "two", RENAME_EXCHANGE), 0);
	/* A new directory above a moved one, and a new file over an old name. */
	assert_int_equal(vfs_rename(f->a.fs, INODE_ROOT, "y", make_dir(&f->a, INODE_ROOT, "new"), "y", 0), 0);
	make_text(&f->a, "tmp", "saved by renaming");
	assert_int_equal(vfs_rename(f->a.fs, INODE_ROOT, "tmp", INODE_ROOT, "one", 0), 0);
	sync_ok(&f->a);
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
	assert_text(&f->b, "one", "saved by renaming");
	assert_text(&f->b, "two", "1");
}

static void
many_small_files_are_few_objects(void **state)
{
	struct fixture *f = *state;

	for (unsigned d = 0; d < 20; d++) {
		char name[32];
		uint64_t dir;

		snprintf(name, sizeof(name), "dir %u", d);
		dir = make_dir(&f->a, INODE_ROOT, name);
		for (unsigned i = 0; i < 100; i++) {
			snprintf(name, sizeof(name), "file %u", i);
			make_random(&f->a, dir, name, 700 + i);
		}
	}
	sync_ok(&f->a);
	assert_in_range(count_objects(f, ""), 4, 8);
	join_side(f, &f->b);
	assert_same_tree(&f->a, &f->b);
}

static void
what_is_too_much_for_one_commit_goes_into_several_that_hold_each_by_itself(void **state)
{
	struct fixture *f = *state;
	uint8_t *value = malloc(60000);
	uint64_t dir = INODE_ROOT;

	assert_non_null(value);
	for (unsigned i = 0; i < 620; i++) {
		char name[32];

		snprintf(name, sizeof(name), "dir %u", i);
		if (i % 50 == 0)
			dir = make_dir(&f->a, dir, name);
		snprintf(name, sizeof(name), "file %u", i);
		assert_int_equal(random_bytes(value, 60000), 0);
		assert_int_equal(vfs_setxattr(f->a.fs, make_file(&f->a, dir, name, "x", 1), "user.big", value, 60000, 0), 0);
	}
	free(value);
	sync_ok(&f->a);
	assert_in_range(head_of(&f->a), 1, 3);
	join_side(f, &f->b);
	assert_same_tree(&f->a, &f->b);
}

static void
settled_bytes_that_nothing_needs_any_more_are_dropped(void **state)
{
	struct fixture *f = *state;
	uint64_t ino;

	ino = make_random(&f->a, INODE_ROOT, "file", 100000);
	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_PUT, .prefix = "s/", .error = -EACCES });
	sync_fails(&f->a, -EACCES); /* settled, not uploaded */
	no_fault(&f->a);
	write_at(&f->a, ino, 0, "all of it is new", 16);
	assert_int_equal(vfs_unlink(f->a.fs, INODE_ROOT, "file"), 0);
	sync_ok(&f->a);
	assert_int_equal(count_objects(f, "s"), 0);

	uint64_t used = 0;

	assert_int_equal(meta_sync(f->a.v->meta), 0);
	meta_lock(f->a.v->meta);
	struct segment seg;
	for (uint64_t id = 1; id < 10; id++)
		used += meta_segment_get(f->a.v->meta, id, &seg) == 0 && seg.kind == SEGMENT_SETTLED;
	meta_unlock(f->a.v->meta);
	assert_int_equal(used, 0);
}

/* The thread. */

static void
by_itself_everything_reaches_the_other_side(void **state)
{
	struct fixture *f = *state;

	sync_ok(&f->a);
	join_side(f, &f->b);
	assert_int_equal(sync_start(f->a.sync), 0);
	assert_int_equal(sync_start(f->b.sync), 0);
	make_text(&f->a, "from a", "a");
	AWAIT(lookup(&f->b, INODE_ROOT, "from a") != 0);
	make_text(&f->b, "from b", "b");
	assert_int_equal(sync_drain(f->b.sync), 0);
	assert_int_equal(sync_drain(f->a.sync), 0);
	assert_text(&f->a, "from b", "b");
	sync_stop(f->a.sync);
	sync_stop(f->b.sync);
	sync_ok(&f->a);
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
}

static void
draining_says_when_the_store_does_not_answer(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(sync_start(f->a.sync), 0);
	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_ALL, .error = -EAGAIN });
	make_text(&f->a, "file", "text");
	assert_int_equal(sync_drain(f->a.sync), -EAGAIN);
	no_fault(&f->a);
	assert_int_equal(sync_drain(f->a.sync), 0);
	sync_stop(f->a.sync);
	sync_ok(&f->a);
}

/* Hooks. */

struct seen {
	unsigned entries;
	unsigned inos;
	unsigned flushed;
};

static void
on_flush(void *ctx, uint64_t ino)
{
	struct seen *s = ctx;

	(void)ino;
	s->flushed++;
}

static void
on_change(void *ctx, const struct merge_result *r)
{
	struct seen *s = ctx;

	s->entries += (unsigned)r->entry_count;
	s->inos += (unsigned)r->ino_count;
}

static void
the_kernel_is_asked_and_told(void **state)
{
	struct fixture *f = *state;
	struct seen seen = { 0 };
	struct stat st;
	uint64_t ino;

	ino = make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_set_hooks(f->b.sync, &(struct sync_hooks){ .ctx = &seen, .flush_inode = on_flush, .changed = on_change });
	assert_int_equal(vfs_lookup(f->b.fs, INODE_ROOT, "file", &st), 0); /* the kernel knows it */
	write_at(&f->a, ino, 0, "TEXT", 4);
	make_text(&f->a, "second", "text");
	sync_ok(&f->a);
	sync_ok(&f->b);
	assert_int_equal(seen.flushed, 1);
	assert_true(seen.inos >= 1);
	vfs_forget(f->b.fs, ino, 1);
}

static void
a_conflict_is_kept_and_told_even_after_reopening(void **state)
{
	struct fixture *f = *state;
	uint64_t ino;

	ino = make_text(&f->a, "paper.txt", "draft");
	sync_ok(&f->a);
	join_side(f, &f->b);
	write_at(&f->a, ino, 0, "DRAFT", 5);
	write_at(&f->b, ino, 0, "Draft", 5);
	sync_ok(&f->a);
	sync_ok(&f->b);
	assert_text(&f->b, "paper.txt", "DRAFT");
	assert_int_equal(message_count(&f->b, "conflict"), 1);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	reopen_side(&f->b, f->store);
	assert_int_equal(message_count(&f->b, "conflict"), 1);
}

static void
asking_for_news_takes_one_request_and_now_and_then_two(void **state)
{
	struct fixture *f = *state;
	uint64_t gets, all;
	bool news;

	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	gets = store_fault_calls(f->a.fault, STORE_OP_GET);
	all = store_fault_calls(f->a.fault, STORE_OP_ALL);
	for (int k = 0; k < 40; k++) {
		engine_round_begin(f->a.sync, true);
		assert_int_equal(engine_round_end(f->a.sync, pull_poll(f->a.sync, &news)), 0);
		assert_false(news);
	}
	assert_int_equal(store_fault_calls(f->a.fault, STORE_OP_GET) - gets, 40);
	assert_in_range(store_fault_calls(f->a.fault, STORE_OP_ALL) - all, 41, 42);
}

static void
apply(struct side *s, enum settings_hold hold, int64_t until)
{
	const struct settings st = { .hold = hold, .hold_until = until };

	assert_int_equal(settings_save(s->v->meta, &st), 0);
	sync_apply_settings(s->sync, &st);
}

/* The thread has looked at the world at least twice more. */
static uint64_t
rounds_begun(struct side *s)
{
	uint64_t begun;

	pthread_mutex_lock(&s->sync->lock);
	begun = s->sync->rounds_begun;
	pthread_mutex_unlock(&s->sync->lock);
	return begun;
}

static void
wait_for_looks(struct side *s)
{
	uint64_t begun = rounds_begun(s);

	AWAIT(rounds_begun(s) >= begun + 3);
}

static void
while_paused_only_what_is_asked_for_is_done(void **state)
{
	struct fixture *f = *state;
	struct sync_status st;
	uint64_t calls;

	sync_ok(&f->a);
	apply(&f->a, SETTINGS_PAUSED, 0);
	calls = store_fault_calls(f->a.fault, STORE_OP_ALL);
	assert_int_equal(sync_start(f->a.sync), 0);
	make_text(&f->a, "file", "text");
	wait_for_looks(&f->a);
	sync_get_status(f->a.sync, &st);
	assert_int_equal(st.hold, SETTINGS_PAUSED);
	assert_true(st.pending_since != 0);
	assert_int_equal(store_fault_calls(f->a.fault, STORE_OP_ALL), calls);
	assert_int_equal(sync_drain(f->a.sync), 0);
	sync_get_status(f->a.sync, &st);
	assert_int_equal(st.pending_inodes, 0);
	assert_int_equal(st.pending_since, 0);
	sync_stop(f->a.sync);
	join_side(f, &f->b);
	assert_text(&f->b, "file", "text");
}

static void
on_a_metered_network_only_what_is_asked_for_is_done(void **state)
{
	static const enum sync_network waits[] = { SYNC_NETWORK_ASKED, SYNC_NETWORK_METERED };
	struct fixture *f = *state;

	sync_ok(&f->a);
	sync_set_network(f->a.sync, SYNC_NETWORK_ASKED);
	assert_int_equal(sync_start(f->a.sync), 0);
	make_text(&f->a, "file", "text");
	for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
		uint64_t calls = store_fault_calls(f->a.fault, STORE_OP_ALL);

		sync_set_network(f->a.sync, waits[i]);
		wait_for_looks(&f->a);
		assert_int_equal(status_of(&f->a).metered, waits[i] == SYNC_NETWORK_METERED);
		assert_int_equal(status_of(&f->a).hold, SETTINGS_GO);
		assert_int_equal(store_fault_calls(f->a.fault, STORE_OP_ALL), calls);
		assert_int_equal(sync_drain(f->a.sync), 0);
		assert_int_equal(status_of(&f->a).pending_inodes, 0);
		make_text(&f->a, i == 0 ? "one more" : "and another", "text");
	}
	sync_set_network(f->a.sync, SYNC_NETWORK_FREE);
	AWAIT(status_of(&f->a).pending_inodes == 0);
	assert_false(status_of(&f->a).metered);
	sync_stop(f->a.sync);
}

static void
a_pause_that_is_over_is_none(void **state)
{
	struct fixture *f = *state;
	struct sync_status st;

	sync_ok(&f->a);
	make_text(&f->a, "file", "text");
	apply(&f->a, SETTINGS_PAUSED, time(NULL) - 1);
	sync_get_status(f->a.sync, &st);
	assert_int_equal(st.hold, SETTINGS_GO);
	assert_int_equal(st.hold_until, 0);
	assert_int_equal(sync_start(f->a.sync), 0);
	AWAIT(status_of(&f->a).pending_inodes == 0);
	sync_stop(f->a.sync);
}

static void
offline_nothing_goes_to_the_store_until_it_is_over(void **state)
{
	struct fixture *f = *state;
	struct sync_status st;
	struct settings kept;

	make_text(&f->a, "old", "old text");
	sync_ok(&f->a);
	join_side(f, &f->b);
	apply(&f->b, SETTINGS_OFFLINE, 0);
	make_text(&f->b, "new", "new text");
	sync_fails(&f->b, -ENETDOWN);
	sync_get_status(f->b.sync, &st);
	assert_non_null(strstr(st.problem_text, "resume"));
	assert_int_equal(sync_start(f->b.sync), 0);
	assert_int_equal(sync_drain(f->b.sync), -ENETDOWN);
	sync_stop(f->b.sync);
	reopen_side(&f->b, f->store);
	assert_int_equal(settings_load(f->b.v->meta, &kept), 0);
	assert_int_equal(kept.hold, SETTINGS_OFFLINE);
	apply(&f->b, SETTINGS_GO, 0);
	sync_ok(&f->b);
	sync_ok(&f->a);
	assert_text(&f->a, "new", "new text");
}

static void
what_is_pending_is_known_in_bytes_without_looking(void **state)
{
	struct fixture *f = *state;
	static uint8_t block[4096];
	struct sync_status st;
	uint64_t ino;

	sync_ok(&f->a);
	ino = make_text(&f->a, "file", "x");
	for (int k = 0; k < 100; k++) {
		block[0] = (uint8_t)k;
		write_at(&f->a, ino, (uint64_t)k * sizeof(block), (const char *)block, sizeof(block));
	}
	sync_get_status(f->a.sync, &st);
	assert_int_equal(st.pending_bytes, 100 * sizeof(block));
	reopen_side(&f->a, f->store);
	sync_get_status(f->a.sync, &st);
	assert_int_equal(st.pending_bytes, 100 * sizeof(block));
	assert_int_equal(vfs_unlink(f->a.fs, INODE_ROOT, "file"), 0);
	make_text(&f->a, "small", "12345");
	sync_ok(&f->a);
	sync_get_status(f->a.sync, &st);
	assert_int_equal(st.pending_bytes, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_second_computer_with_the_recovery_key_sees_the_same_tree),
		TEST(an_empty_vault_can_be_joined_once_it_was_pushed),
		TEST(edits_flow_both_ways),
		TEST(a_sync_without_changes_writes_nothing),
		TEST(deletions_arrive),
		TEST(moves_that_depend_on_each_other_arrive_together),
		TEST(many_small_files_are_few_objects),
		TEST(what_is_too_much_for_one_commit_goes_into_several_that_hold_each_by_itself),
		TEST(settled_bytes_that_nothing_needs_any_more_are_dropped),
		TEST(by_itself_everything_reaches_the_other_side),
		TEST(draining_says_when_the_store_does_not_answer),
		TEST(asking_for_news_takes_one_request_and_now_and_then_two),
		TEST(while_paused_only_what_is_asked_for_is_done),
		TEST(on_a_metered_network_only_what_is_asked_for_is_done),
		TEST(a_pause_that_is_over_is_none),
		TEST(offline_nothing_goes_to_the_store_until_it_is_over),
		TEST(what_is_pending_is_known_in_bytes_without_looking),
		TEST(the_kernel_is_asked_and_told),
		TEST(a_conflict_is_kept_and_told_even_after_reopening),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
