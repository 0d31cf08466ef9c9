/* While something is pushed the world goes on: others push, files are written to, letters are sent past what is long. */
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
#include "engine.h"
#include "random.h"
#include "schedule.h"
#include "sides.h"

#include "../../await.h"

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
	enum { LOOKS = 20000 };
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
		TEST(two_that_push_at_once_both_get_through),
		TEST(who_makes_files_without_end_is_not_followed_from_one_to_the_next),
		TEST(files_that_are_written_to_while_they_are_pushed_arrive_in_the_end),
		TEST(a_letter_does_not_wait_for_a_long_upload_nor_does_the_answer),
		TEST(nor_does_it_when_large_files_take_the_places_of_others),
		TEST(what_is_full_is_sent_while_the_next_is_settled),
		TEST(a_copy_that_a_conflict_makes_while_it_pushes_is_sent_too),
		TEST(what_is_full_is_sent_without_reading_it_again),
		TEST(nothing_is_due_all_the_time_before_the_first_commit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
