/* What is changed on one computer appears on the other: edits, moves, races, the thread, and what the kernel is told. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"
#include "random.h"
#include "engine.h"
#include "schedule.h"
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

/* Races. */

struct racer {
	struct side *side;
	const char *name;
	atomic_bool *stop;
};

static void *
race(void *arg)
{
	struct racer *r = arg;

	for (unsigned i = 0; i < 12; i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s %u", r->name, i);
		make_text(r->side, name, name);

		err_t err = sync_once(r->side->sync);

		if (err != 0 && err != -EAGAIN)
			return r;
	}
	return NULL;
}

static void
two_that_push_at_once_both_get_through(void **state)
{
	struct fixture *f = *state;
	struct racer racers[2] = { { .side = &f->a, .name = "from a" }, { .side = &f->b, .name = "from b" } };
	pthread_t threads[2];
	void *failed;

	sync_ok(&f->a);
	join_side(f, &f->b);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	sync_ok(&f->a);
	sync_ok(&f->b);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	assert_text(&f->a, "from b 11", "from b 11");
	assert_text(&f->b, "from a 0", "from a 0");
}

static void *
scribble(void *arg)
{
	const struct racer *r = arg;
	uint64_t ino = lookup(r->side, INODE_ROOT, "log");

	for (unsigned i = 0; !atomic_load(r->stop); i++) {
		char name[64];

		write_at(r->side, ino, (i % 1000) * 20, "a line of this log\n", 19);
		snprintf(name, sizeof(name), "new %u", i % 50);
		if (i % 20 == 0 && lookup(r->side, INODE_ROOT, name) == 0)
			make_text(r->side, name, name);
	}
	return NULL;
}

/* A store that takes its time: meanwhile somebody makes another file. */
static struct {
	struct side *side;
	struct store_ops slow;
	err_t (*put)(struct store *s, const char *name, const uint8_t *data, size_t len);
	unsigned made;
} busy;

static void
make_another(void)
{
	char name[32];

	snprintf(name, sizeof(name), "made meanwhile %u", busy.made++);
	make_text(busy.side, name, "a line");
}

static err_t
put_slowly(struct store *s, const char *name, const uint8_t *data, size_t len)
{
	make_another();
	return busy.put(s, name, data, len);
}

static void
who_makes_files_without_end_is_not_followed_from_one_to_the_next(void **state)
{
	struct fixture *f = *state;
	const struct store_ops *ops = f->a.fault->ops;
	uint64_t before;

	sync_ok(&f->a);
	before = head_of(&f->a);
	busy.side = &f->a;
	busy.slow = *ops;
	busy.put = ops->put;
	busy.slow.put = put_slowly;
	busy.slow.put_hashed = NULL;
	f->a.fault->ops = &busy.slow;
	make_text(&f->a, "first", "a line");
	assert_int_equal(sync_push(f->a.sync), 0);
	assert_true(busy.made > 0);
	assert_int_equal(head_of(&f->a), before + 1);
	f->a.fault->ops = ops;
	sync_ok(&f->a);
	join_side(f, &f->b);
	assert_same_tree(&f->a, &f->b);
}

static void
files_that_are_written_to_while_they_are_pushed_arrive_in_the_end(void **state)
{
	struct fixture *f = *state;
	atomic_bool stop = false;
	struct racer r = { .side = &f->a, .stop = &stop };
	pthread_t thread;

	make_text(&f->a, "log", "");
	sync_ok(&f->a);
	join_side(f, &f->b);
	assert_int_equal(pthread_create(&thread, NULL, scribble, &r), 0);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(sync_once(f->a.sync), 0);
		sync_ok(&f->b);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	sync_ok(&f->a);
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
	assert_int_equal(message_count(&f->b, "conflict"), 0);
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

/* A push that takes for ever, until the rate is lifted. */
struct slow_push {
	struct store *store;
	pthread_t thread;
	err_t err;
	struct sync *sync;
};

static void *
push_slowly(void *arg)
{
	struct slow_push *p = arg;

	p->err = sync_once(p->sync);
	return NULL;
}

static void
begin_slow_push(struct side *s, const char *store, struct slow_push *p)
{
	sync_free(s->sync);
	s->fault = NULL;
	assert_int_equal(store_open(store, false, &p->store, NULL), 0);
	store_set_rates(p->store, 256 << 10, 0);
	assert_int_equal(sync_new(s->v, p->store, &s->sync), 0);
	p->sync = s->sync;
	assert_int_equal(pthread_create(&p->thread, NULL, push_slowly, p), 0);
	AWAIT(status_of(s).bytes_total > 0);
}

static void
end_slow_push(struct slow_push *p)
{
	store_set_rates(p->store, 0, 0);
	pthread_join(p->thread, NULL);
	assert_int_equal(p->err, 0);
}

/* 40 MiB: more than two segments. */
static void
make_noise(struct side *s, uint64_t ino)
{
	enum { PIECE = 1 << 20, PIECES = 40 };
	uint8_t *noise = malloc(PIECE);

	for (uint64_t k = 0; k < PIECES; k++) {
		assert_int_equal(random_bytes(noise, PIECE), 0);
		write_at(s, ino, k * PIECE, noise, PIECE);
	}
	free(noise);
}

static void
make_big(struct side *s, const char *name)
{
	make_noise(s, make_text(s, name, "x"));
}

/* Stands at the third segment that is begun, until one is on its way to the store. */
struct third {
	struct store *store;
	unsigned begun;
	bool sent;
};

static uint64_t
puts_of(const struct store *s)
{
	uint64_t calls[STORE_CALL_KINDS];

	store_get_calls(s, calls);
	return calls[STORE_CALL_PUT];
}

static err_t
wait_at_third(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	enum { LOOKS = 3000 };
	struct third *t = ctx;

	(void)fd, (void)data, (void)off, (void)len;
	if (strcmp(operation, "create") != 0 || strlen(name) != 16 || ++t->begun != 3)
		return 0;
	for (unsigned k = 0; k < LOOKS && !t->sent; k++) {
		t->sent = puts_of(t->store) > 0;
		usleep(10000);
	}
	return 0;
}

static void
what_is_full_is_sent_while_the_next_is_settled(void **state)
{
	struct fixture *f = *state;
	struct third t = { 0 };

	make_text(&f->a, "one", "1");
	sync_ok(&f->a);
	make_big(&f->a, "big");
	reopen_side(&f->a, f->store);
	t.store = f->a.fault;
	assert_int_equal(puts_of(t.store), 0);
	disk_watch(wait_at_third, &t);
	sync_ok(&f->a);
	disk_watch(NULL, NULL);
	assert_true(t.begun >= 3);
	assert_true(t.sent);
	join_side(f, &f->b);
	assert_same_tree(&f->a, &f->b);
}

/* Of full segments: one that ends early, since it is time for something else, is closed and read again. */
static err_t
count_long_reads(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	atomic_uint *count = ctx;

	(void)fd, (void)name, (void)data, (void)off;
	if (strcmp(operation, "pread") == 0 && len > 15u << 20)
		atomic_fetch_add(count, 1);
	return 0;
}

static void
what_is_full_is_sent_without_reading_it_again(void **state)
{
	struct fixture *f = *state;
	atomic_uint reads = 0;

	make_big(&f->a, "big");
	disk_watch(count_long_reads, &reads);
	sync_ok(&f->a);
	disk_watch(NULL, NULL);
	assert_int_equal(reads, 0);
	join_side(f, &f->b);
	assert_same_tree(&f->a, &f->b);
}

static void
wait_for_name(struct side *looking, const char *name, struct side *syncing)
{
	AWAIT_WHILE(lookup(looking, INODE_ROOT, name) == 0)
		if (syncing != NULL)
			sync_ok(syncing);
}

static void
a_letter_does_not_wait_for_a_long_upload_nor_does_the_answer(void **state)
{
	struct fixture *f = *state;
	struct slow_push p = { 0 };

	make_text(&f->a, "one", "1");
	sync_ok(&f->a);
	join_side(f, &f->b);
	make_big(&f->a, "big");
	begin_slow_push(&f->a, f->store, &p);
	make_text(&f->a, "letter", "dear b");
	wait_for_name(&f->b, "letter", &f->b);
	assert_text(&f->b, "letter", "dear b");
	assert_int_equal(lookup(&f->b, INODE_ROOT, "big"), 0);
	make_text(&f->b, "answer", "dear a");
	sync_ok(&f->b);
	wait_for_name(&f->a, "answer", NULL);
	assert_int_equal(lookup(&f->b, INODE_ROOT, "big"), 0);
	end_slow_push(&p);
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
}

static void
nor_does_it_when_large_files_take_the_places_of_others(void **state)
{
	struct fixture *f = *state;
	struct slow_push p = { 0 };

	make_text(&f->a, "letter", "draft");
	make_text(&f->a, "large", "small so far");
	make_text(&f->a, "moved", "from here");
	make_text(&f->a, "grows", "x");
	sync_ok(&f->a);
	join_side(f, &f->b);
	make_big(&f->a, "large.new");
	assert_int_equal(vfs_rename(f->a.fs, INODE_ROOT, "moved", INODE_ROOT, "kept", 0), 0);
	make_big(&f->a, "moved");
	assert_int_equal(vfs_rename(f->a.fs, INODE_ROOT, "large.new", INODE_ROOT, "large", 0), 0);
	begin_slow_push(&f->a, f->store, &p);
	make_text(&f->a, "letter.new", "dear b");
	assert_int_equal(vfs_rename(f->a.fs, INODE_ROOT, "letter.new", INODE_ROOT, "letter", 0), 0);
	wait_for_name(&f->b, "kept", &f->b);
	AWAIT_WHILE(lookup(&f->b, INODE_ROOT, "letter") != lookup(&f->a, INODE_ROOT, "letter"))
		sync_ok(&f->b);
	assert_text(&f->b, "letter", "dear b");
	assert_text(&f->b, "large", "small so far");
	assert_text(&f->b, "moved", "from here");
	assert_text(&f->b, "kept", "from here");
	end_slow_push(&p);
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
	assert_text(&f->b, "kept", "from here");
}

/* Settling stops whenever something else is due: if it always were, a first push of some seconds would hardly move on. */
static void
nothing_is_due_all_the_time_before_the_first_commit(void **state)
{
	struct fixture *f = *state;
	struct sync *s = f->a.sync;
	struct meta_pending_summary sum;

	meta_pending_summary(s->v->meta, &sum);
	s->interlude = (struct interlude){ .allowed = true, .handled = sum.change, .seen = sum.change };
	assert_true(push_interlude_is_due(s));
	assert_int_equal(push_interlude(s), 0);
	assert_false(s->v->has_head);
	s->interlude.next_ms = 0;
	assert_false(push_interlude_is_due(s));
}

/* Somebody else's edit of a long file that is being settled; it is fetched when the store is asked for news. */
static struct {
	struct fixture *f;
	unsigned segments;
} edited;

static err_t
edit_elsewhere(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	const struct timespec until_asked = { .tv_sec = SCHEDULE_POLL_MIN_MS / 1000, .tv_nsec = 200000000 };

	(void)ctx, (void)fd, (void)data, (void)off, (void)len;
	if (strcmp(operation, "create") != 0 || strlen(name) != 16 || ++edited.segments != 2)
		return 0;
	write_at(&edited.f->b, lookup(&edited.f->b, INODE_ROOT, "big"), 0, "theirs", 6);
	sync_ok(&edited.f->b);
	nanosleep(&until_asked, NULL);
	return 0;
}

static void
a_copy_that_a_conflict_makes_while_it_pushes_is_sent_too(void **state)
{
	struct fixture *f = *state;
	struct sync_status st;

	make_big(&f->a, "big");
	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	make_noise(&f->a, lookup(&f->a, INODE_ROOT, "big"));
	edited.f = f;
	disk_watch(edit_elsewhere, NULL);
	assert_int_equal(sync_once(f->a.sync), 0);
	disk_watch(NULL, NULL);
	assert_true(edited.segments >= 2);
	sync_get_status(f->a.sync, &st);
	assert_int_equal(st.pending_inodes, 0);
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
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
		TEST(two_that_push_at_once_both_get_through),
		TEST(who_makes_files_without_end_is_not_followed_from_one_to_the_next),
		TEST(files_that_are_written_to_while_they_are_pushed_arrive_in_the_end),
		TEST(by_itself_everything_reaches_the_other_side),
		TEST(draining_says_when_the_store_does_not_answer),
		TEST(asking_for_news_takes_one_request_and_now_and_then_two), TEST(while_paused_only_what_is_asked_for_is_done),
		TEST(a_pause_that_is_over_is_none), TEST(offline_nothing_goes_to_the_store_until_it_is_over),
		TEST(what_is_pending_is_known_in_bytes_without_looking),
		TEST(a_letter_does_not_wait_for_a_long_upload_nor_does_the_answer),
		TEST(nor_does_it_when_large_files_take_the_places_of_others),
		TEST(what_is_full_is_sent_while_the_next_is_settled),
		TEST(a_copy_that_a_conflict_makes_while_it_pushes_is_sent_too),
		TEST(what_is_full_is_sent_without_reading_it_again),
		TEST(nothing_is_due_all_the_time_before_the_first_commit),
		TEST(the_kernel_is_asked_and_told),
		TEST(a_conflict_is_kept_and_told_even_after_reopening),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
