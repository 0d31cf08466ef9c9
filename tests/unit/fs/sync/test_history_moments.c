/* Moments and versions: what there was when, and what became of a file. */
#include "history_pair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Moments. */

static void
a_moment_is_the_newest_commit_that_is_not_later(void **state)
{
	struct fixture *f = *state;
	struct record r[4];
	uint64_t time[4], seq;
	struct back b;

	make_history(&f->a, r);
	look_back(&f->a, &b);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(past_time(b.p, r[i].seq, &time[i]), 0);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(past_find(b.p, time[i], &seq), 0);
		assert_int_equal(seq, r[i].seq);
		if (i > 0) {
			assert_int_equal(past_find(b.p, time[i] - 1, &seq), 0);
			assert_int_equal(seq, r[i - 1].seq);
		}
		free(r[i].tree);
	}
	assert_int_equal(past_find(b.p, time[0] - 1, &seq), -ENOENT);
	assert_int_equal(past_find(b.p, UINT64_MAX, &seq), 0);
	assert_int_equal(seq, r[3].seq);
	look_away(&b);
}

static void
a_walk_back_finds_every_commit_once_and_a_second_walk_needs_the_store_no_more(void **state)
{
	enum { COMMITS = 40 };
	struct fixture *f = *state;
	uint64_t head, time[COMMITS + 8] = { 0 }, seen;
	uint64_t calls;
	struct back b;

	for (unsigned i = 0; i < COMMITS; i++) {
		make_text(&f->a, "changing", i % 2 == 0 ? "this" : "that");
		sync_ok(&f->a);
		assert_int_equal(vfs_unlink(f->a.fs, INODE_ROOT, "changing"), 0);
	}
	head = head_of(&f->a);
	assert_in_range(head, COMMITS - 1, COMMITS + 7);
	look_back(&f->a, &b);
	calls = store_fault_calls(f->a.fault, STORE_OP_GET);
	for (uint64_t seq = head + 1; seq-- > 0;) {
		CLEANUP(past_commit_clear) struct past_commit c = { 0 };

		assert_int_equal(past_read(b.p, seq, &c), 0);
		assert_int_equal(c.seq, seq);
		time[seq] = c.time_ns;
	}
	assert_int_equal(store_fault_calls(f->a.fault, STORE_OP_GET) - calls, head + 1);
	for (uint64_t seq = 0; seq <= head; seq++) {
		CLEANUP(past_commit_clear) struct past_commit c = { 0 };

		assert_int_equal(past_read(b.p, seq, &c), 0);
		assert_int_equal(past_time(b.p, seq, &seen), 0);
		assert_true(c.time_ns == time[seq] && seen == time[seq]);
	}
	assert_int_equal(store_fault_calls(f->a.fault, STORE_OP_GET) - calls, head + 1);
	look_away(&b);
}

static void
a_commit_that_could_not_be_read_ahead_is_read_when_it_is_wanted(void **state)
{
	enum { COMMITS = 12 };
	const struct store_fault_rule now_and_then = { .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_GET, .prefix = "c/", .skip = 3,
		.count = 4, .error = -EACCES }; /* which is not retried */
	struct fixture *f = *state;
	unsigned failures = 0, calls;
	struct back b;

	for (unsigned i = 0; i < COMMITS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "file %u", i);
		make_text(&f->a, name, "text");
		sync_ok(&f->a);
	}
	look_back(&f->a, &b);
	fault(&f->a, now_and_then);
	calls = store_fault_calls(f->a.fault, STORE_OP_GET);
	for (uint64_t seq = head_of(&f->a) + 1; seq-- > 0;) {
		struct past_commit c = { 0 };
		err_t err;

		while ((err = past_read(b.p, seq, &c)) == -EACCES && failures < 4)
			failures++;
		assert_int_equal(err, 0);
		past_commit_clear(&c);
	}
	assert_int_equal(store_fault_calls(f->a.fault, STORE_OP_GET) - calls, head_of(&f->a) + 1 + 4);
	no_fault(&f->a);
	look_away(&b);
}

static void
deleted_names_are_listed_once_with_the_last_time_and_not_if_they_are_back(void **state)
{
	enum { NAMES = 300 };
	struct fixture *f = *state;
	CLEANUP(history_versions_clear) struct history_versions l = { 0 };
	uint64_t dir = make_dir(&f->a, INODE_ROOT, "dir");
	char name[32];
	struct back b;

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < NAMES; i++) {
			snprintf(name, sizeof(name), "name %u", i);
			make_file(&f->a, dir, name, "x", 1);
		}
		sync_ok(&f->a);
		for (unsigned i = 0; i < NAMES; i++) {
			snprintf(name, sizeof(name), "name %u", i);
			assert_int_equal(vfs_unlink(f->a.fs, dir, name), 0);
		}
		sync_ok(&f->a);
	}
	make_file(&f->a, dir, "name 7", "back", 4);
	sync_ok(&f->a);
	look_back(&f->a, &b);
	assert_int_equal(history_versions_deleted(b.p, f->a.fs, dir, 0, &l), 0);
	assert_int_equal(l.count, NAMES - 1);
	for (size_t i = 0; i < l.count; i++) {
		assert_int_equal(l.v[i].seq, head_of(&f->a) - 1);
		assert_string_not_equal(l.v[i].name, "name 7");
	}
	look_away(&b);
}

static void
of_very_many_deleted_names_no_more_are_listed_than_can_be_shown(void **state)
{
	struct fixture *f = *state;
	CLEANUP(history_versions_clear) struct history_versions l = { 0 };
	char name[32];
	struct back b;

	for (unsigned i = 0; i < HISTORY_LISTED_MAX + 50; i++) {
		snprintf(name, sizeof(name), "name %u", i);
		make_file(&f->a, INODE_ROOT, name, "", 0);
	}
	sync_ok(&f->a);
	for (unsigned i = 0; i < HISTORY_LISTED_MAX + 50; i++) {
		snprintf(name, sizeof(name), "name %u", i);
		assert_int_equal(vfs_unlink(f->a.fs, INODE_ROOT, name), 0);
	}
	sync_ok(&f->a);
	look_back(&f->a, &b);
	assert_int_equal(history_versions_deleted(b.p, f->a.fs, INODE_ROOT, 0, &l), 0);
	assert_int_equal(l.count, HISTORY_LISTED_MAX + 1);
	look_away(&b);
}

static void
assert_means(const char *text, int64_t seconds, uint64_t ns)
{
	struct history_when w;

	assert_int_equal(history_time_parse(text, NOON_IN_BERLIN, &w), 0);
	assert_false(w.is_commit);
	assert_int_equal(w.time_ns, (uint64_t)seconds * NS + ns);
}

static void
times_are_read_as_people_write_them(void **state)
{
	static const char *const nonsense[] = { "", " ", "soon", "2026", "2026-13-01", "2026-02-30", "2026-11-20 25:00",
		"2026-11-20 14:60", "2026-11-20x", "2026-11-20 14:30 tomorrow", "14", "3", "3 moons", "ago", "-2d", "2d later",
		"commit", "commit x", "commit 1 2", "2026-11-20T14:30:00+99:00", "14:30:", "14:30:00.", "99999999999999w" };
	const uint64_t end = NS - 1;
	const int64_t now = NOON_IN_BERLIN, midnight = now - (14 * 60 + 30) * 60;
	struct history_when w;

	(void)state;
	setenv("TZ", "Europe/Berlin", 1);
	tzset();
	assert_means("now", now, end);
	assert_means("2026-11-20", midnight + 86400 - 1, end);
	assert_means("today", midnight + 86400 - 1, end);
	assert_means("yesterday", midnight - 1, end);
	assert_means("14:30", now + 59, end);
	assert_means("2026-11-20 14:30", now + 59, end);
	assert_means(" 2026-11-20  14:30:05 ", now + 5, end);
	assert_means("2026-11-20T14:30:05", now + 5, end);
	assert_means("2026-11-20T13:30:05Z", now + 5, end);
	assert_means("2026-11-20T13:30:05.25Z", now + 5, 250000000);
	assert_means("2026-11-20T15:30:05.000000001+02:00", now + 5, 1);
	assert_means("2026-11-20 08:30:05-05:00", now + 5, end);
	assert_means("2026-07-20 14:30:00", 1784550600, end); /* summer time */
	assert_means("2d", now - 2 * 86400, end);
	assert_means("2 days ago", now - 2 * 86400, end);
	assert_means("1h30m", now - 5400, end);
	assert_means("1 hour 30 minutes ago", now - 5400, end);
	assert_means("3 Weeks", now - 21 * 86400, end);
	assert_int_equal(history_time_parse("commit 812", now, &w), 0);
	assert_true(w.is_commit);
	assert_int_equal(w.seq, 812);
	assert_int_equal(history_time_parse("2555-01-01", now, &w), 0);
	assert_true(w.time_ns == UINT64_MAX); /* later than can be said, not long ago */
	assert_int_equal(history_time_parse("9999-12-31T23:59:59.5Z", now, &w), 0);
	assert_true(w.time_ns == UINT64_MAX);
	for (size_t i = 0; i < ARRAY_LEN(nonsense); i++)
		if (history_time_parse(nonsense[i], now, &w) != -EINVAL)
			fail_msg("\"%s\" was understood", nonsense[i]);
}

static void
times_are_shown_as_they_are_read(void **state)
{
	char text[HISTORY_TIME_LEN];
	struct history_when w;

	(void)state;
	history_time_print((uint64_t)NOON_IN_BERLIN * NS + 77, text);
	assert_string_equal(text, "2026-11-20 14:30:00");
	assert_int_equal(history_time_parse(text, 0, &w), 0);
	assert_int_equal(w.time_ns, (uint64_t)NOON_IN_BERLIN * NS + NS - 1);
	history_time_print_exact((uint64_t)NOON_IN_BERLIN * NS + 77, text);
	assert_string_equal(text, "2026-11-20T13:30:00.000000077Z");
	assert_int_equal(history_time_parse(text, 0, &w), 0);
	assert_int_equal(w.time_ns, (uint64_t)NOON_IN_BERLIN * NS + 77);
}

/* Versions. */

static struct history_versions
versions(struct side *s, const char *path)
{
	struct history_versions l = { 0 };
	struct back b;
	err_t err;

	look_back(s, &b);
	err = history_versions_of(b.h, s->sync, b.p, s->fs, path, 0, &l);
	if (err != 0)
		fail_msg("versions of %s: %d, %s", path, err, past_why(b.p));
	look_away(&b);
	return l;
}

struct expected {
	uint64_t seq;
	unsigned changes;
	int64_t size; /* -1: not known */
};

static void
assert_versions(struct side *s, const char *path, const struct expected *e, size_t count)
{
	struct history_versions l = versions(s, path);

	for (size_t i = 0; i < l.count && i < count; i++) {
		if (l.v[i].seq != e[i].seq || l.v[i].changes != e[i].changes ||
		    (l.v[i].has_size ? (int64_t)l.v[i].size : -1) != e[i].size)
			fail_msg("%s, %zu: commit %llu changes %u size %lld", path, i, (unsigned long long)l.v[i].seq, l.v[i].changes,
			    l.v[i].has_size ? (long long)l.v[i].size : -1);
	}
	assert_int_equal(l.count, count);
	history_versions_clear(&l);
}

static void
the_versions_of_a_file_are_listed_also_under_its_earlier_names(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_text(&f->a, "draft", "one");
	const struct expected e[] = {
		{ 5, HISTORY_CONTENT, 11 }, { 3, HISTORY_ATTRIBUTES, 7 }, { 2, HISTORY_NAMED, 7 }, { 1, HISTORY_CONTENT, 7 },
		{ 0, HISTORY_CREATED | HISTORY_CONTENT | HISTORY_NAMED, 3 },
	};
	uint64_t dir;

	sync_ok(&f->a);
	write_at(&f->a, ino, 3, " two", 4);
	sync_ok(&f->a);
	dir = make_dir(&f->a, INODE_ROOT, "letters");
	assert_int_equal(vfs_rename(f->a.fs, INODE_ROOT, "draft", dir, "final", 0), 0);
	sync_ok(&f->a);
	chmod_to(&f->a, ino, 0400);
	sync_ok(&f->a);
	join_side(f, &f->b); /* which is a commit, too */
	sync_ok(&f->a);
	write_at(&f->a, ino, 7, " two", 4);
	sync_ok(&f->a);
	assert_versions(&f->a, "letters/final", e, ARRAY_LEN(e));
	assert_versions(&f->b, "letters/final", e + 1, ARRAY_LEN(e) - 1);
}

static void
a_file_that_was_saved_by_renaming_has_the_versions_of_all_that_had_its_name(void **state)
{
	struct fixture *f = *state;
	const struct expected e[] = {
		{ 2, HISTORY_CREATED | HISTORY_CONTENT | HISTORY_NAMED, 5 },
		{ 1, HISTORY_CONTENT, 7 },
		{ 0, HISTORY_CREATED | HISTORY_CONTENT | HISTORY_NAMED, 3 },
	};

	make_text(&f->a, "file", "one");
	sync_ok(&f->a);
	write_at(&f->a, lookup(&f->a, INODE_ROOT, "file"), 3, " two", 4);
	sync_ok(&f->a);
	make_text(&f->a, ".file.new", "three");
	assert_int_equal(vfs_rename(f->a.fs, INODE_ROOT, ".file.new", INODE_ROOT, "file", 0), 0);
	sync_ok(&f->a);
	assert_versions(&f->a, "file", e, ARRAY_LEN(e));
}

static void
a_deleted_file_and_one_in_deleted_folders_have_versions(void **state)
{
	struct fixture *f = *state;
	uint64_t outer = make_dir(&f->a, INODE_ROOT, "outer"), inner = make_dir(&f->a, outer, "inner"), seq;
	const struct expected top[] = { { 2, HISTORY_UNNAMED, -1 }, { 1, HISTORY_CONTENT, 9 },
		{ 0, HISTORY_CREATED | HISTORY_CONTENT | HISTORY_NAMED, 4 } };
	const struct expected deep[] = { { 2, HISTORY_UNNAMED, -1 },
		{ 0, HISTORY_CREATED | HISTORY_CONTENT | HISTORY_NAMED, 4 } };
	struct history_versions l = { 0 };
	struct back b;

	make_text(&f->a, "gone", "text");
	make_file(&f->a, inner, "deep", "text", 4);
	sync_ok(&f->a);
	write_at(&f->a, lookup(&f->a, INODE_ROOT, "gone"), 4, " more", 5);
	sync_ok(&f->a);
	assert_int_equal(vfs_unlink(f->a.fs, INODE_ROOT, "gone"), 0);
	assert_int_equal(vfs_unlink(f->a.fs, inner, "deep"), 0);
	sync_ok(&f->a);
	assert_int_equal(vfs_rmdir(f->a.fs, outer, "inner"), 0);
	sync_ok(&f->a);
	assert_int_equal(vfs_rmdir(f->a.fs, INODE_ROOT, "outer"), 0);
	sync_ok(&f->a);
	assert_versions(&f->a, "gone", top, ARRAY_LEN(top));
	assert_versions(&f->a, "outer/inner/deep", deep, ARRAY_LEN(deep));
	look_back(&f->a, &b);
	assert_int_equal(history_versions_last(b.h, f->a.sync, b.p, f->a.fs, "outer/inner/deep", 0, &seq), 0);
	assert_int_equal(seq, 1);
	assert_int_equal(history_versions_of(b.h, f->a.sync, b.p, f->a.fs, "never there", 0, &l), -ENOENT);
	assert_int_equal(history_versions_last(b.h, f->a.sync, b.p, f->a.fs, "never/there", 0, &seq), -ENOENT);
	assert_int_equal(history_versions_deleted(b.p, f->a.fs, INODE_ROOT, 0, &l), 0);
	assert_int_equal(l.count, 2);
	assert_string_equal(l.v[0].name, "outer");
	assert_string_equal(l.v[1].name, "gone");
	history_versions_clear(&l);
	look_away(&b);
}

static void
assert_last(struct side *s, const char *path, uint64_t want)
{
	uint64_t seq = UINT64_MAX;
	struct back b;

	look_back(s, &b);
	assert_int_equal(history_versions_last(b.h, s->sync, b.p, s->fs, path, 0, &seq), 0);
	look_away(&b);
	assert_int_equal(seq, want);
}

static void
what_was_deleted_a_moment_ago_is_found_before_the_store_has_heard_of_it(void **state)
{
	struct fixture *f = *state;
	uint64_t folder = make_dir(&f->a, INODE_ROOT, "folder");
	const struct expected e[] = { { 2, HISTORY_CREATED | HISTORY_CONTENT | HISTORY_NAMED, 5 }, { 1, HISTORY_UNNAMED, -1 },
		{ 0, HISTORY_CREATED | HISTORY_CONTENT | HISTORY_NAMED, 4 } };
	const struct expected deep[] = { { 0, HISTORY_CREATED | HISTORY_CONTENT | HISTORY_NAMED, 4 } };
	struct history_versions l;

	make_text(&f->a, "twice", "text");
	make_file(&f->a, folder, "deep", "text", 4);
	sync_ok(&f->a);
	assert_int_equal(vfs_unlink(f->a.fs, INODE_ROOT, "twice"), 0);
	sync_ok(&f->a);
	make_text(&f->a, "twice", "again");
	sync_ok(&f->a);
	assert_int_equal(vfs_unlink(f->a.fs, INODE_ROOT, "twice"), 0);
	assert_int_equal(vfs_unlink(f->a.fs, folder, "deep"), 0);
	assert_int_equal(vfs_rmdir(f->a.fs, INODE_ROOT, "folder"), 0);
	assert_last(&f->a, "twice", 2); /* and not before the time that it was deleted earlier */
	assert_last(&f->a, "folder/deep", 2);
	assert_last(&f->a, "folder", 2);
	assert_versions(&f->a, "twice", e, ARRAY_LEN(e));
	assert_versions(&f->a, "folder/deep", deep, ARRAY_LEN(deep));
	l = versions(&f->a, "twice");
	assert_true(l.deleted);
	history_versions_clear(&l);
}

static void
a_file_of_a_folder_that_was_made_anew_has_versions(void **state)
{
	struct fixture *f = *state;
	uint64_t first = make_dir(&f->a, INODE_ROOT, "outer"), inner = make_dir(&f->a, first, "inner"), second, seq;
	const struct expected deep[] = { { 1, HISTORY_UNNAMED, -1 }, { 0, HISTORY_CREATED | HISTORY_CONTENT | HISTORY_NAMED, 4 } };
	const struct expected other[] = { { 3, HISTORY_UNNAMED, -1 }, { 2, HISTORY_CREATED | HISTORY_CONTENT | HISTORY_NAMED, 5 } };
	struct history_versions l = { 0 };
	struct back b;

	make_file(&f->a, inner, "deep", "text", 4);
	sync_ok(&f->a);
	assert_int_equal(vfs_unlink(f->a.fs, inner, "deep"), 0);
	assert_int_equal(vfs_rmdir(f->a.fs, first, "inner"), 0);
	assert_int_equal(vfs_rmdir(f->a.fs, INODE_ROOT, "outer"), 0);
	sync_ok(&f->a);
	second = make_dir(&f->a, INODE_ROOT, "outer");
	make_file(&f->a, second, "other", "other", 5);
	assert_last(&f->a, "outer/inner/deep", 0); /* also before it is in the store */
	sync_ok(&f->a);
	assert_versions(&f->a, "outer/inner/deep", deep, ARRAY_LEN(deep));
	assert_int_equal(vfs_unlink(f->a.fs, second, "other"), 0);
	assert_int_equal(vfs_rmdir(f->a.fs, INODE_ROOT, "outer"), 0);
	make_dir(&f->a, INODE_ROOT, "outer");
	sync_ok(&f->a);
	assert_versions(&f->a, "outer/other", other, ARRAY_LEN(other));
	assert_versions(&f->a, "outer/inner/deep", deep, ARRAY_LEN(deep));
	assert_last(&f->a, "outer/other", 2);
	assert_last(&f->a, "outer/inner/deep", 0);
	look_back(&f->a, &b);
	assert_int_equal(history_versions_last(b.h, f->a.sync, b.p, f->a.fs, "outer/never", 0, &seq), -ENOENT);
	assert_int_equal(history_versions_of(b.h, f->a.sync, b.p, f->a.fs, "outer/never", 0, &l), -ENOENT);
	assert_int_equal(history_versions_of(b.h, f->a.sync, b.p, f->a.fs, "outer/inner/never", 0, &l), -ENOENT);
	look_away(&b);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(a_moment_is_the_newest_commit_that_is_not_later),
		EACH(a_walk_back_finds_every_commit_once_and_a_second_walk_needs_the_store_no_more),
		EACH(a_commit_that_could_not_be_read_ahead_is_read_when_it_is_wanted),
		EACH(deleted_names_are_listed_once_with_the_last_time_and_not_if_they_are_back),
		EACH(of_very_many_deleted_names_no_more_are_listed_than_can_be_shown),
		cmocka_unit_test(times_are_read_as_people_write_them),
		cmocka_unit_test(times_are_shown_as_they_are_read),
		EACH(the_versions_of_a_file_are_listed_also_under_its_earlier_names),
		EACH(a_file_that_was_saved_by_renaming_has_the_versions_of_all_that_had_its_name),
		EACH(a_deleted_file_and_one_in_deleted_folders_have_versions),
		EACH(what_was_deleted_a_moment_ago_is_found_before_the_store_has_heard_of_it),
		EACH(a_file_of_a_folder_that_was_made_anew_has_versions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
