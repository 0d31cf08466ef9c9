/* What can't be sent: it stays here, all else goes, and nothing is left behind for nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"
#include "engine.h"
#include "schedule.h"
#include "sides.h"
#include "witness.h"

#include "../../await.h"

/* Lines of the log that say so. */
static unsigned told_damaged;

__attribute__((format(printf, 1, 2))) void __wrap_log_error(const char *fmt, ...);
void
__wrap_log_error(const char *fmt, ...)
{
	told_damaged += strstr(fmt, "is damaged: what is in it can't be sent") != NULL;
}

/* Sixteen bytes of the first file in each. */
static void
damage_segments(const struct side *s)
{
	shell("for p in '%s'/segments/*; do printf xxxxxxxxxxxxxxxx | dd of=\"$p\" bs=1 seek=1000 conv=notrunc status=none; done", s->dir);
}

/* The store has "letter" of the first side, but not "file", which is settled. */
static void
make_unsent(struct fixture *f)
{
	make_text(&f->a, "letter", "dear b");
	sync_ok(&f->a);
	make_random(&f->a, INODE_ROOT, "file", 3000);
	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_PUT, .prefix = "s/",
	    .error = -EACCES });
	sync_fails(&f->a, -EACCES);
	no_fault(&f->a);
}

static void
what_is_damaged_here_before_it_was_sent_is_not_sent_and_the_rest_is(void **state)
{
	struct fixture *f = *state;

	make_unsent(f);
	damage_segments(&f->a);
	make_text(&f->a, "answer", "dear a");
	told_damaged = 0;
	for (unsigned k = 0; k < 3; k++)
		sync_fails(&f->a, -EIO);
	assert_int_equal(told_damaged, 1);
	join_side(f, &f->b);
	assert_text(&f->b, "answer", "dear a");
	assert_int_equal(lookup(&f->b, INODE_ROOT, "file"), 0);
	shell("[ $(find '%s/s' -type f | wc -l) = 2 ]", f->store); /* of the letter and the answer */
}

static err_t
fail_reads(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	(void)ctx; (void)fd; (void)name; (void)data; (void)off;
	return strcmp(operation, "pread") == 0 && len > 2000 ? -EIO : 0;
}

static void
what_the_disk_does_not_give_back_is_not_sent_and_the_rest_is(void **state)
{
	struct fixture *f = *state;

	make_unsent(f);
	disk_watch(fail_reads, NULL);
	make_text(&f->a, "answer", "dear a");
	sync_fails(&f->a, -EIO);
	assert_non_null(strstr(status_of(&f->a).problem_text, "\"file\" can't be sent"));
	disk_watch(NULL, NULL);
	join_side(f, &f->b);
	assert_text(&f->b, "answer", "dear a");
	sync_ok(&f->a); /* it was passing */
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
}

static void
what_is_damaged_in_the_place_of_a_folder_is_told_to_hold_up_the_rest(void **state)
{
	struct fixture *f = *state;

	(void)make_dir(&f->a, INODE_ROOT, "place");
	sync_ok(&f->a);
	make_random(&f->a, INODE_ROOT, "file", 30000);
	assert_int_equal(meta_sync(f->a.v->meta), 0);
	damage_segments(&f->a);
	assert_int_equal(vfs_rmdir(f->a.fs, INODE_ROOT, "place"), 0);
	assert_int_equal(vfs_rename(f->a.fs, INODE_ROOT, "file", INODE_ROOT, "place", 0), 0);
	make_text(&f->a, "answer", "dear a");
	sync_fails(&f->a, -EIO);
	assert_non_null(strstr(status_of(&f->a).problem_text, "nothing else is sent until"));
	assert_int_equal(vfs_rename(f->a.fs, INODE_ROOT, "place", INODE_ROOT, "elsewhere", 0), 0);
	sync_fails(&f->a, -EIO);
	assert_non_null(strstr(status_of(&f->a).problem_text, "\"elsewhere\" can't be sent"));
	assert_non_null(strstr(status_of(&f->a).problem_text, "all else is synced"));
	join_side(f, &f->b);
	assert_text(&f->b, "answer", "dear a");
}

static void
what_is_damaged_here_before_it_was_settled_stays_here_and_the_rest_is_sent(void **state)
{
	struct fixture *f = *state;

	sync_ok(&f->a);
	make_random(&f->a, INODE_ROOT, "file", 30000);
	assert_int_equal(meta_sync(f->a.v->meta), 0);
	damage_segments(&f->a);
	make_text(&f->a, "answer", "dear a");
	for (unsigned k = 0; k < 3; k++)
		sync_fails(&f->a, -EIO);
	assert_non_null(strstr(status_of(&f->a).problem_text, "\"file\" can't be sent"));
	join_side(f, &f->b);
	assert_text(&f->b, "answer", "dear a");
	assert_int_equal(lookup(&f->b, INODE_ROOT, "file"), 0);
	write_anew(&f->a, lookup(&f->a, INODE_ROOT, "file"), "anew");
	sync_ok(&f->b);
	assert_text(&f->b, "file", "anew");
}

/* What the next look at the schedule goes by. */
static _Atomic(unsigned) rounds_well, rounds_failed;

static _Atomic(unsigned) looks_idle;

enum schedule_action __real_schedule_next(struct schedule *s, const struct schedule_view *v);
enum schedule_action __wrap_schedule_next(struct schedule *s, const struct schedule_view *v);
enum schedule_action
__wrap_schedule_next(struct schedule *s, const struct schedule_view *v)
{
	enum schedule_action action = __real_schedule_next(s, v);

	looks_idle += action == SCHEDULE_NOTHING;
	return action;
}

void __real_schedule_ended(struct schedule *s, int64_t now_ms, enum schedule_action action, err_t err, bool news, unsigned busy_ms);
void __wrap_schedule_ended(struct schedule *s, int64_t now_ms, enum schedule_action action, err_t err, bool news, unsigned busy_ms);
void
__wrap_schedule_ended(struct schedule *s, int64_t now_ms, enum schedule_action action, err_t err, bool news, unsigned busy_ms)
{
	(*(err == 0 ? &rounds_well : &rounds_failed))++;
	__real_schedule_ended(s, now_ms, action, err, news, busy_ms);
}

/* It can't be read any more before it was settled. */
static void
make_damaged(struct side *s, const char *name)
{
	make_random(s, INODE_ROOT, name, 30000);
	assert_int_equal(meta_sync(s->v->meta), 0);
	damage_segments(s);
}

static void
what_is_damaged_here_does_not_keep_a_round_from_its_end(void **state)
{
	struct fixture *f = *state;
	struct witness_status st;
	char url[160], *why = NULL;

	sync_ok(&f->a);
	snprintf(url, sizeof(url), "dir:%s/witness", f->top);
	shell("mkdir '%s/witness'", f->top);
	assert_int_equal(witness_set(f->a.sync, url, &why), 0);
	make_damaged(&f->a, "file");
	make_text(&f->a, "answer", "dear b");
	sync_fails(&f->a, -EIO);
	assert_int_equal(sync_all_but_left(f->a.sync), 0);
	witness_get_status(f->a.sync, &st);
	assert_string_equal(st.problem, "");
	assert_int_equal(st.written, head_of(&f->a));
}

static void
what_is_damaged_here_does_not_make_news_wait(void **state)
{
	struct fixture *f = *state;

	sync_ok(&f->a);
	make_damaged(&f->a, "file");
	rounds_well = rounds_failed = 0;
	assert_int_equal(sync_start(f->a.sync), 0);
	assert_int_equal(sync_drain(f->a.sync), -EIO); /* whoever waits for all to be there hears of it */
	sync_stop(f->a.sync);
	assert_true(rounds_well > 0);
	assert_int_equal(rounds_failed, 0);
}

/* So far the thread's clocks have been put forward, but not those that it sleeps by. */
static _Atomic(int64_t) forward_ms;

int64_t __real_clock_ms(clockid_t clock);
int64_t __wrap_clock_ms(clockid_t clock);
int64_t
__wrap_clock_ms(clockid_t clock)
{
	return __real_clock_ms(clock) + forward_ms;
}

int __real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until);
int
__wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until)
{
	struct timespec then = *until;

	then.tv_sec -= forward_ms / 1000;
	return __real_pthread_cond_timedwait(cond, lock, &then);
}

static _Atomic(unsigned) chores;

void __wrap_gc_run_if_due(struct sync *s);
void
__wrap_gc_run_if_due(struct sync *s)
{
	(void)s;
	chores++;
}

static void
what_is_damaged_here_keeps_nobody_from_chores(void **state)
{
	enum { A_MINUTE_MS = 61000 };
	struct fixture *f = *state;
	unsigned looks = looks_idle;

	sync_ok(&f->a);
	make_damaged(&f->a, "file");
	chores = 0;
	assert_int_equal(sync_start(f->a.sync), 0);
	assert_int_equal(sync_drain(f->a.sync), -EIO);
	/* Each time it asks for news, and then there is nothing to be done. */
	AWAIT_WHILE(chores == 0)
		if (looks_idle > looks + 1) {
			looks = looks_idle;
			forward_ms += A_MINUTE_MS;
		}
	sync_stop(f->a.sync);
	forward_ms = 0;
}

static void
what_is_damaged_here_stands_in_the_status_until_it_is_deleted(void **state)
{
	struct fixture *f = *state;

	sync_ok(&f->a);
	make_damaged(&f->a, "file");
	sync_fails(&f->a, -EIO);
	assert_int_equal(sync_pull(f->a.sync), 0);
	assert_non_null(strstr(status_of(&f->a).problem_text, "\"file\" can't be sent"));
	assert_int_equal(vfs_unlink(f->a.fs, INODE_ROOT, "file"), 0);
	sync_ok(&f->a);
	assert_int_equal(status_of(&f->a).problem, 0);
}

static unsigned
count_segments(const struct side *s)
{
	char pattern[256];
	unsigned count;
	glob_t g;

	snprintf(pattern, sizeof(pattern), "%s/segments/*", s->dir);
	assert_int_equal(glob(pattern, 0, NULL, &g), 0);
	count = (unsigned)g.gl_pathc;
	globfree(&g);
	return count;
}

static void
what_a_full_store_did_not_get_is_given_up_here_when_its_file_is_deleted(void **state)
{
	struct fixture *f = *state;
	unsigned before;

	sync_ok(&f->a);
	make_random(&f->a, INODE_ROOT, "file", 3000);
	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_PUT, .prefix = "s/", .error = -ENOSPC });
	sync_fails(&f->a, -ENOSPC);
	before = count_segments(&f->a);
	assert_int_equal(vfs_unlink(f->a.fs, INODE_ROOT, "file"), 0);
	make_random(&f->a, INODE_ROOT, "other", 3000);
	sync_fails(&f->a, -ENOSPC);
	assert_int_equal(count_segments(&f->a), before);
	no_fault(&f->a);
	sync_ok(&f->a);
	join_side(f, &f->b);
	assert_same_tree(&f->a, &f->b);
}

static void
when_the_file_that_a_full_store_did_not_get_is_deleted_nothing_of_it_is_left_here(void **state)
{
	struct fixture *f = *state;
	unsigned before;

	sync_ok(&f->a);
	make_random(&f->a, INODE_ROOT, "old", 3000);
	sync_ok(&f->a);
	before = count_segments(&f->a);
	make_random(&f->a, INODE_ROOT, "file", 3000);
	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_PUT, .prefix = "s/", .error = -ENOSPC });
	sync_fails(&f->a, -ENOSPC);
	sync_fails(&f->a, -ENOSPC);
	assert_int_equal(vfs_unlink(f->a.fs, INODE_ROOT, "file"), 0);
	sync_ok(&f->a);
	assert_int_equal(count_segments(&f->a), before);
}

static void
what_a_full_store_got_for_nothing_is_deleted_by_who_sent_it(void **state)
{
	struct fixture *f = *state;

	for (unsigned commits = 0; commits < 2; commits++) {
		make_random(&f->a, INODE_ROOT, "file", 3000);
		fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_CREATE, .prefix = "c/",
		    .error = -ENOSPC });
		sync_fails(&f->a, -ENOSPC);
		assert_int_equal(count_objects(f, "s"), 1);
		assert_int_equal(collect_ok(&f->a, 0, false).leftovers.objects, 0);
		assert_int_equal(count_objects(f, "s"), 1);
		assert_int_equal(vfs_unlink(f->a.fs, INODE_ROOT, "file"), 0);
		make_dir(&f->a, INODE_ROOT, commits == 0 ? "folder" : "another");
		sync_fails(&f->a, -ENOSPC);
		assert_int_equal(collect_ok(&f->a, 0, false).leftovers.objects, 1);
		assert_int_equal(count_objects(f, "s"), 0);
		no_fault(&f->a);
		sync_ok(&f->a);
	}
	make_random(&f->a, INODE_ROOT, "file", 3000);
	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_CREATE, .prefix = "c/", .error = -ENOSPC });
	sync_fails(&f->a, -ENOSPC);
	no_fault(&f->a);
	assert_int_equal(vfs_unlink(f->a.fs, INODE_ROOT, "file"), 0);
	sync_ok(&f->a); /* there is room all the same */
	assert_int_equal(collect_ok(&f->a, 0, false).leftovers.objects, 1);
	assert_int_equal(count_objects(f, "s"), 0);
	assert_store_is_whole(f, &f->a);
}

/* The store says that it is full, and has the commit all the same; before that is known, what it names is given up here. */
static void
what_a_commit_names_whose_answer_was_lost_is_not_deleted(void **state)
{
	struct fixture *f = *state;

	for (unsigned commits = 0; commits < 2; commits++) {
		make_random(&f->a, INODE_ROOT, "file", 3000);
		fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_AFTER, .ops = STORE_OP_CREATE, .prefix = "c/",
		    .error = -ENOSPC });
		sync_fails(&f->a, -ENOSPC);
		no_fault(&f->a);
		assert_int_equal(vfs_unlink(f->a.fs, INODE_ROOT, "file"), 0);
		assert_int_equal(upload_sweep(f->a.sync), 0);
		assert_int_equal(collect_ok(&f->a, 30 * 86400, false).leftovers.objects, 0);
		assert_int_equal(count_objects(f, "s"), commits + 1);
		sync_ok(&f->a);
		assert_store_is_whole(f, &f->a);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_damaged_here_before_it_was_sent_is_not_sent_and_the_rest_is),
		TEST(what_the_disk_does_not_give_back_is_not_sent_and_the_rest_is),
		TEST(what_is_damaged_in_the_place_of_a_folder_is_told_to_hold_up_the_rest),
		TEST(what_is_damaged_here_before_it_was_settled_stays_here_and_the_rest_is_sent),
		TEST(what_is_damaged_here_does_not_keep_a_round_from_its_end),
		TEST(what_is_damaged_here_does_not_make_news_wait),
		TEST(what_is_damaged_here_keeps_nobody_from_chores),
		TEST(what_is_damaged_here_stands_in_the_status_until_it_is_deleted),
		TEST(what_a_full_store_did_not_get_is_given_up_here_when_its_file_is_deleted),
		TEST(when_the_file_that_a_full_store_did_not_get_is_deleted_nothing_of_it_is_left_here),
		TEST(what_a_full_store_got_for_nothing_is_deleted_by_who_sent_it),
		TEST(what_a_commit_names_whose_answer_was_lost_is_not_deleted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
