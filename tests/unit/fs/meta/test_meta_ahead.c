/* What is listed next is read while nobody waits for it (meta_ahead.c). */
#include "meta_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <sys/stat.h>

#include "meta_internal.h"
#include "secmem.h"

#define TOP_INO 5
#define DIRS 12u

/* Directories in TOP_INO, and how many names each has so far. */
static uint64_t dirs[DIRS];
static unsigned names[DIRS];

/* [L] */
static void
add_name(struct fixture *f, unsigned dir)
{
	struct inode *i = make_inode(f, S_IFREG);
	char name[32];

	i->size = names[dir];
	snprintf(name, sizeof(name), "name-%u", names[dir]++);
	assert_int_equal(meta_dentry_set(f->meta, dirs[dir], name, i->ino, DT_REG), 0);
}

/* [L] */
static void
remove_name(struct fixture *f, unsigned dir, unsigned n)
{
	char name[32];

	snprintf(name, sizeof(name), "name-%u", n);
	assert_int_equal(meta_dentry_set(f->meta, dirs[dir], name, 0, DT_REG), 0);
}

static void
open_again(struct fixture *f)
{
	reopen(f);
	assert_int_equal(meta_start(f->meta, 60000), 0);
}

/* So many directories of so many names, nothing of which is in memory. */
static void
make_tree(struct fixture *f, unsigned count, unsigned each)
{
	meta_lock(f->meta);
	for (unsigned d = 0; d < count; d++) {
		struct inode *i = make_inode(f, S_IFDIR);
		char name[32];

		i->nlink = 2;
		i->parent = TOP_INO;
		dirs[d] = i->ino;
		names[d] = 0;
		snprintf(name, sizeof(name), "dir-%u", d);
		assert_int_equal(meta_dentry_set(f->meta, TOP_INO, name, i->ino, DT_DIR), 0);
		for (unsigned n = 0; n < each; n++)
			add_name(f, d);
	}
	meta_unlock(f->meta);
	open_again(f);
}

/* An answer has room for so many. */
struct answer {
	unsigned room;
	unsigned count;
	uint64_t cookie;
	uint64_t next_size; /* names come in the order in which they were made */
	bool wrong;
};

static err_t
take(void *ctx, const struct dentry *d, struct inode *i)
{
	struct answer *a = ctx;

	if (a->count == a->room)
		return -ECANCELED;
	if (i == NULL || i->ino != d->ino || d->cookie <= a->cookie || (d->type == DT_REG && i->size < a->next_size))
		a->wrong = true;
	else if (d->type == DT_REG)
		a->next_size = i->size + 1;
	a->cookie = d->cookie;
	a->count++;
	return 0;
}

/* The next answer; true: that was the last one. */
static bool
list(struct fixture *f, uint64_t dir, unsigned room, struct answer *a)
{
	err_t err;

	a->room = room;
	a->count = 0;
	meta_lock(f->meta);
	err = meta_list(f->meta, dir, a->cookie, true, take, a);
	meta_unlock(f->meta);
	assert_true(err == 0 || err == -ECANCELED);
	assert_false(a->wrong);
	return err == 0;
}

static unsigned
list_all(struct fixture *f, uint64_t dir, unsigned room)
{
	struct answer a = { 0 };
	unsigned count = 0;
	bool end;

	do {
		end = list(f, dir, room, &a);
		count += a.count;
	} while (!end);
	return count;
}

/* Until nothing is being read; what was read so far. */
static uint64_t
reads_when_calm(struct fixture *f)
{
	struct db_stats s;
	bool busy;

	do {
		sched_yield();
		meta_lock(f->meta);
		busy = f->meta->ahead.running && (f->meta->ahead.choose || f->meta->ahead.wanted);
		meta_unlock(f->meta);
	} while (busy);
	db_stats(f->db, &s);
	return s.reads;
}

/* The directory. */
static uint64_t
read_ahead_of(struct fixture *f)
{
	uint64_t dir;

	meta_lock(f->meta);
	dir = f->meta->ahead.dir;
	meta_unlock(f->meta);
	return dir;
}

static void
what_is_behind_an_answer_is_read_before_it_is_asked_for(void **state)
{
	struct fixture *f = *state;
	struct answer a = { 0 };
	uint64_t before;

	make_tree(f, 1, 1000);
	assert_false(list(f, dirs[0], 100, &a));
	before = reads_when_calm(f);
	assert_false(list(f, dirs[0], 100, &a));
	assert_int_equal(a.count, 100);
	/* The thread has gone on behind it, and no other rows were read for this one. */
	assert_int_equal(read_ahead_of(f), dirs[0]);
	assert_true(reads_when_calm(f) - before <= 2 * (100 + LIST_ROWS));
}

static void
a_directory_whose_answers_were_read_ahead_is_listed_whole_and_once(void **state)
{
	struct fixture *f = *state;
	static const unsigned ROOMS[] = { 1, 15, 16, 17, 100, 195, 240, 256, 257, 700 };

	make_tree(f, 1, 1000);
	for (size_t k = 0; k < sizeof(ROOMS) / sizeof(ROOMS[0]); k++) {
		struct answer a = { 0 };
		unsigned count = 0;
		bool end;

		open_again(f);
		do {
			end = list(f, dirs[0], ROOMS[k], &a);
			count += a.count;
			if (k % 2 == 0)
				(void)reads_when_calm(f);
		} while (!end);
		assert_int_equal(count, 1000);
		assert_int_equal(a.next_size, 1000);
	}
}

static void
who_begins_in_the_middle_of_what_was_read_ahead_gets_what_is_behind_it(void **state)
{
	struct fixture *f = *state;
	struct answer a = { 0 };

	make_tree(f, 1, 300);
	assert_false(list(f, dirs[0], 100, &a));
	(void)reads_when_calm(f);
	a.cookie += 20; /* they were given one after the other */
	a.next_size += 20;
	assert_false(list(f, dirs[0], 100, &a));
	assert_int_equal(a.next_size, 220);
}

static void
who_goes_from_one_directory_to_the_next_finds_it_read(void **state)
{
	struct fixture *f = *state;
	struct answer a = { 0 };
	uint64_t before;

	make_tree(f, DIRS, 100);
	assert_int_equal(list_all(f, TOP_INO, 100), DIRS);
	for (unsigned d = 0; d < 4; d++) {
		(void)reads_when_calm(f);
		assert_int_equal(list_all(f, dirs[d], 195), 100);
	}
	before = reads_when_calm(f);
	assert_int_equal(read_ahead_of(f), dirs[4]);
	/* Of the directory itself nothing is read now; of the one behind it, each row once, and the name by which it was found. */
	assert_true(list(f, dirs[4], 195, &a));
	assert_int_equal(a.count, 100);
	assert_true(reads_when_calm(f) - before <= 2 * 100 + 2);
	assert_int_equal(read_ahead_of(f), dirs[5]);
}

static void
who_looks_into_directories_here_and_there_has_none_read_for_him(void **state)
{
	struct fixture *f = *state;
	static const unsigned ORDER[] = { 7, 2, 9, 4, 0 };
	uint64_t before;

	make_tree(f, DIRS, 100);
	assert_int_equal(list_all(f, TOP_INO, 100), DIRS);
	for (size_t k = 0; k < sizeof(ORDER) / sizeof(ORDER[0]); k++) {
		before = reads_when_calm(f);
		assert_int_equal(list_all(f, dirs[ORDER[k]], 195), 100);
		assert_true(reads_when_calm(f) - before <= 2 * 100 + 2);
	}
}

static void
a_walk_goes_on_behind_the_last_directory_of_a_directory(void **state)
{
	struct fixture *f = *state;

	make_tree(f, 3, 10);
	/* dir-2 moves into dir-0, before dir-1. */
	meta_lock(f->meta);
	{
		struct inode *i;

		assert_int_equal(meta_dentry_set(f->meta, TOP_INO, "dir-2", 0, DT_DIR), 0);
		assert_int_equal(meta_dentry_set(f->meta, dirs[0], "dir-2", dirs[2], DT_DIR), 0);
		assert_int_equal(meta_inode_get(f->meta, dirs[2], &i), 0);
		i->parent = dirs[0];
		meta_inode_dirty(f->meta, i);
	}
	meta_unlock(f->meta);
	open_again(f);
	assert_int_equal(list_all(f, TOP_INO, 100), 2);
	(void)reads_when_calm(f);
	assert_int_equal(list_all(f, dirs[0], 100), 11);
	(void)reads_when_calm(f);
	assert_int_equal(read_ahead_of(f), dirs[2]);
	assert_int_equal(list_all(f, dirs[2], 100), 10);
	(void)reads_when_calm(f);
	assert_int_equal(read_ahead_of(f), dirs[1]);
}

static void
a_name_that_was_made_after_its_directory_was_read_ahead_is_listed(void **state)
{
	struct fixture *f = *state;

	make_tree(f, DIRS, 20);
	assert_int_equal(list_all(f, TOP_INO, 100), DIRS);
	for (unsigned d = 0; d < DIRS; d++) {
		(void)reads_when_calm(f);
		meta_lock(f->meta);
		add_name(f, d);
		meta_unlock(f->meta);
		if (d % 2 == 1)
			assert_int_equal(meta_sync(f->meta), 0);
		assert_int_equal(list_all(f, dirs[d], 100), 21);
	}
}

/* Of those that were read ahead, the first and one more. */
static void
list_and_remove_two_behind(struct fixture *f, struct answer *a)
{
	make_tree(f, 1, 300);
	assert_false(list(f, dirs[0], 100, a));
	(void)reads_when_calm(f);
	meta_lock(f->meta);
	remove_name(f, 0, 100);
	remove_name(f, 0, 130);
	meta_unlock(f->meta);
}

static void
a_name_that_was_removed_after_it_was_read_ahead_is_not_listed(void **state)
{
	struct fixture *f = *state;
	struct answer a = { 0 };

	list_and_remove_two_behind(f, &a);
	assert_false(list(f, dirs[0], 100, &a));
	assert_int_equal(a.next_size, 202);
}

static void
what_was_read_ahead_and_is_not_in_memory_any_more_is_read_again(void **state)
{
	struct fixture *f = *state;
	struct answer a = { 0 };

	list_and_remove_two_behind(f, &a);
	assert_int_equal(meta_sync(f->meta), 0); /* they go from memory, too */
	assert_int_equal(read_ahead_of(f), 0);
	assert_false(list(f, dirs[0], 100, &a));
	assert_int_equal(a.next_size, 202);
}

static void
after_some_times_in_vain_little_is_read_ahead(void **state)
{
	struct fixture *f = *state;
	uint64_t begun, after;

	make_tree(f, DIRS, 300);
	for (unsigned d = 0; d < 6; d++) {
		struct answer a = { 0 };

		assert_false(list(f, dirs[d], 100, &a));
		(void)reads_when_calm(f);
	}
	begun = reads_when_calm(f);
	for (unsigned d = 6; d < DIRS; d++) {
		struct answer a = { 0 };

		assert_false(list(f, dirs[d], 100, &a));
		(void)reads_when_calm(f);
	}
	after = reads_when_calm(f);
	assert_true(after - begun <= 6 * 2 * (100 + LIST_ROWS));
}

static void
two_who_list_at_once_see_each_name_once(void **state)
{
	struct fixture *f = *state;
	struct answer a[2] = { { 0 }, { 0 } };
	unsigned count[2] = { 0, 0 };
	bool end[2] = { false, false };

	make_tree(f, 2, 700);
	while (!end[0] || !end[1])
		for (unsigned k = 0; k < 2; k++)
			if (!end[k]) {
				end[k] = list(f, dirs[k], 60 + 37 * k, &a[k]);
				count[k] += a[k].count;
			}
	assert_int_equal(count[0], 700);
	assert_int_equal(count[1], 700);
}

static void *
wait_for_the_lock(void *arg)
{
	struct meta *m = arg;

	meta_lock(m);
	meta_unlock(m);
	return NULL;
}

static void
who_waits_for_the_lock_does_not_wait_for_a_handful(void **state)
{
	struct fixture *f = *state;
	struct list_part alone = { .count = 0 }, waited_for = { .count = 0 };
	pthread_t waiter;
	err_t first, second;

	make_tree(f, 1, LIST_ROWS + 1);
	reopen(f); /* nobody else is there */
	meta_lock(f->meta);
	first = list_read_politely(f->meta, dirs[0], 1, &alone);
	assert_int_equal(pthread_create(&waiter, NULL, wait_for_the_lock, f->meta), 0);
	while (atomic_load(&f->meta->waiting) == 0)
		sched_yield();
	second = list_read_politely(f->meta, dirs[0], 1, &waited_for);
	meta_unlock(f->meta);
	assert_int_equal(pthread_join(waiter, NULL), 0);
	assert_int_equal(first, 0);
	assert_int_equal(alone.count, LIST_ROWS);
	assert_int_equal(second, 0);
	assert_int_equal(waited_for.count, 1);
	assert_false(waited_for.end);
	assert_true(waited_for.to > waited_for.from && waited_for.to < alone.to);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_behind_an_answer_is_read_before_it_is_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(a_directory_whose_answers_were_read_ahead_is_listed_whole_and_once, setup, teardown),
		cmocka_unit_test_setup_teardown(who_begins_in_the_middle_of_what_was_read_ahead_gets_what_is_behind_it, setup, teardown),
		cmocka_unit_test_setup_teardown(who_goes_from_one_directory_to_the_next_finds_it_read, setup, teardown),
		cmocka_unit_test_setup_teardown(who_looks_into_directories_here_and_there_has_none_read_for_him, setup, teardown),
		cmocka_unit_test_setup_teardown(a_walk_goes_on_behind_the_last_directory_of_a_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(a_name_that_was_made_after_its_directory_was_read_ahead_is_listed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_name_that_was_removed_after_it_was_read_ahead_is_not_listed, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_read_ahead_and_is_not_in_memory_any_more_is_read_again, setup, teardown),
		cmocka_unit_test_setup_teardown(after_some_times_in_vain_little_is_read_ahead, setup, teardown),
		cmocka_unit_test_setup_teardown(two_who_list_at_once_see_each_name_once, setup, teardown),
		cmocka_unit_test_setup_teardown(who_waits_for_the_lock_does_not_wait_for_a_handful, setup, teardown),
	};

	assert_int_equal(secmem_init(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
