/* Who reads what a collector on another device has moved or deleted gets what there is instead, and hears of damage only if there is some. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "clock.h"
#include "engine.h"
#include "sides.h"

#include "../../await.h"

/* A file that both have. */
static uint64_t
share_text(struct fixture *f)
{
	uint64_t ino = make_text(&f->a, "file", "old text");

	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	return ino;
}

/* What B still takes for the file has been deleted. */
static void
delete_behind(struct fixture *f, uint64_t ino)
{
	write_anew(&f->a, ino, "new text");
	assert_int_equal(collect_ok(&f->a, 0, true).dead.objects, 1);
}

static void
who_reads_what_was_deleted_elsewhere_gets_what_is_there_instead(void **state)
{
	struct fixture *f = *state;
	uint64_t rewritten = make_text(&f->a, "rewritten", "old text"), kept;
	uint8_t before[1000], after[1000];
	size_t n;

	sync_ok(&f->a);
	kept = make_random(&f->a, INODE_ROOT, "kept", 10000);
	make_random(&f->a, INODE_ROOT, "goes", 90000);
	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	assert_int_equal(vfs_read(f->a.fs, kept, 5000, sizeof(before), before, &n), 0);
	write_anew(&f->a, rewritten, "new text");
	remove_file(&f->a, "goes");
	sync_ok(&f->a);
	assert_int_equal(collect_ok(&f->a, 0, true).moved.objects, 1);
	assert_text(&f->b, "rewritten", "new text");
	assert_int_equal(vfs_read(f->b.fs, kept, 5000, sizeof(after), after, &n), 0);
	assert_memory_equal(before, after, sizeof(before));
}

/* In the middle of a round the round goes on. */
static err_t
read_in_a_round(struct side *s, const char *name)
{
	uint64_t ino = lookup(s, INODE_ROOT, name);
	uint8_t buf[100];
	size_t n;
	err_t err;

	engine_round_begin(s->sync, false);
	err = vfs_read(s->fs, ino, 0, sizeof(buf), buf, &n);
	return engine_round_end(s->sync, err);
}

static void
who_is_offline_or_in_the_middle_of_a_round_is_told_at_once_that_it_is_gone(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = share_text(f);
	struct settings st = { .hold = SETTINGS_OFFLINE };
	uint8_t buf[100];
	size_t n;

	delete_behind(f, ino);
	assert_int_equal(read_in_a_round(&f->b, "file"), -EIO);
	sync_apply_settings(f->b.sync, &st);
	assert_int_equal(vfs_read(f->b.fs, ino, 0, sizeof(buf), buf, &n), -EIO);
	st.hold = SETTINGS_GO;
	sync_apply_settings(f->b.sync, &st);
	assert_text(&f->b, "file", "new text");
	assert_int_equal(message_count(&f->b, "can't be read"), 0);
}

/* So long a read waits for a pull, in life and here. */
#define CATCHUP_MS 10000u
#define PATIENCE_MS 300000u
static atomic_uint catchup_ms = PATIENCE_MS;

struct timespec __real_clock_deadline(unsigned ms);
struct timespec __wrap_clock_deadline(unsigned ms);

struct timespec
__wrap_clock_deadline(unsigned ms)
{
	return __real_clock_deadline(ms == CATCHUP_MS ? catchup_ms : ms);
}

static err_t
read_byte(struct side *s, uint64_t ino)
{
	uint8_t byte;
	size_t n;

	return vfs_read(s->fs, ino, 0, 1, &byte, &n);
}

static void
what_a_pull_that_takes_long_is_to_bring_is_not_told_as_damaged(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = share_text(f);

	assert_int_equal(sync_start(f->b.sync), 0);
	engine_round_begin(f->b.sync, false);
	delete_behind(f, ino);
	catchup_ms = 1;

	err_t err = read_byte(&f->b, ino);

	catchup_ms = PATIENCE_MS;
	assert_int_equal(engine_round_end(f->b.sync, 0), 0);
	assert_int_equal(err, -EIO);
	assert_int_equal(message_count(&f->b, "can't be read"), 0);
	assert_text(&f->b, "file", "new text");
	assert_int_equal(message_count(&f->b, "can't be read"), 0);
}

struct reader {
	struct side *side;
	uint64_t ino;
	err_t err;
};

static void *
reader_main(void *arg)
{
	struct reader *r = arg;

	r->err = read_byte(r->side, r->ino);
	return NULL;
}

static bool
somebody_waits(struct sync *s)
{
	bool waits;

	pthread_mutex_lock(&s->lock);
	waits = s->catchups != NULL;
	pthread_mutex_unlock(&s->lock);
	return waits;
}

/* The next pull takes over all commits before that. */
static void
break_off_before(struct fixture *f, uint64_t seq)
{
	char name[32];

	snprintf(name, sizeof(name), "c/%012" PRIu64, seq);
	fault(&f->b, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_ALL, .prefix = name, .count = 1,
		.error = -EACCES });
}

static void
who_hears_where_it_is_when_it_is_gone_from_there_too_looks_again(void **state)
{
	struct fixture *f = *state;
	struct reader r = { .side = &f->b, .ino = share_text(f) };
	pthread_t thread;

	assert_int_equal(sync_start(f->b.sync), 0);
	engine_round_begin(f->b.sync, false);
	write_anew(&f->a, r.ino, "new text");
	write_anew(&f->a, r.ino, "newer text");
	break_off_before(f, f->a.v->head_seq);
	assert_int_equal(collect_ok(&f->a, 0, true).dead.objects, 2);
	assert_int_equal(pthread_create(&thread, NULL, reader_main, &r), 0);
	AWAIT(somebody_waits(f->b.sync));
	assert_int_equal(engine_round_end(f->b.sync, 0), 0);
	pthread_join(thread, NULL);
	assert_int_equal(r.err, 0);
	assert_text(&f->b, "file", "newer text");
	assert_int_equal(message_count(&f->b, "can't be read"), 0);
}

static void
what_a_pull_that_fails_was_to_bring_is_not_told_as_damaged(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = share_text(f);

	fault(&f->b, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_ALL, .prefix = "c/", .error = -EACCES });
	assert_int_equal(sync_start(f->b.sync), 0);
	delete_behind(f, ino);
	assert_int_equal(read_byte(&f->b, ino), -EIO);
	assert_int_equal(message_count(&f->b, "can't be read"), 0);
	no_fault(&f->b);
	assert_text(&f->b, "file", "new text");
	assert_int_equal(message_count(&f->b, "can't be read"), 0);
}

static void
what_is_gone_from_the_store_for_all_that_was_said_is_told_also_in_the_background(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = share_text(f);

	assert_int_equal(sync_start(f->b.sync), 0);
	shell("rm -r '%s/s'", f->store);
	assert_int_equal(read_byte(&f->b, ino), -EIO);
	assert_int_equal(message_count(&f->b, "can't be read"), 1);
}

static void
who_syncs_in_the_background_waits_for_that_also_in_a_pause(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = share_text(f);
	struct settings st = { .hold = SETTINGS_PAUSED };

	sync_apply_settings(f->b.sync, &st);
	assert_int_equal(sync_start(f->b.sync), 0);
	delete_behind(f, ino);
	assert_text(&f->b, "file", "new text");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_reads_what_was_deleted_elsewhere_gets_what_is_there_instead),
		TEST(who_is_offline_or_in_the_middle_of_a_round_is_told_at_once_that_it_is_gone),
		TEST(what_a_pull_that_takes_long_is_to_bring_is_not_told_as_damaged),
		TEST(who_hears_where_it_is_when_it_is_gone_from_there_too_looks_again),
		TEST(what_a_pull_that_fails_was_to_bring_is_not_told_as_damaged),
		TEST(what_is_gone_from_the_store_for_all_that_was_said_is_told_also_in_the_background),
		TEST(who_syncs_in_the_background_waits_for_that_also_in_a_pause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
