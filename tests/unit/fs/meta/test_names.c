/* Names in memory and in the database: listings, what is read ahead, and what is known to be absent. */
#include "meta_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secmem.h"

#define DIR_INO 5
#define NAMES_MAX 3000u
#define NAME_ROOM 32

static uint64_t ino_of[NAMES_MAX]; /* 0: there is no such name */

static int
setup_names(void **state)
{
	memset(ino_of, 0, sizeof(ino_of));
	return setup(state);
}

static void
name_of(unsigned n, char out[static NAME_ROOM])
{
	snprintf(out, NAME_ROOM, "name-%u", n);
}

/* [L] */
static void
set_name(struct fixture *f, unsigned n, uint64_t ino)
{
	char name[NAME_ROOM];

	name_of(n, name);
	assert_int_equal(meta_dentry_set(f->meta, DIR_INO, name, ino, DT_REG), 0);
	ino_of[n] = ino;
}

/* [L] A name that leads to an inode of its own, which has `n` for its size. */
static void
make_name(struct fixture *f, unsigned n)
{
	struct inode *i = make_inode(f, S_IFREG);

	i->size = n;
	set_name(f, n, i->ino);
}

static void
make_names(struct fixture *f, unsigned count)
{
	meta_lock(f->meta);
	for (unsigned n = 0; n < count; n++)
		make_name(f, n);
	meta_unlock(f->meta);
}

struct listing {
	unsigned count;
	unsigned stop_at; /* that many, then no more */
	uint64_t cookie;
	bool inodes;
	uint8_t seen[NAMES_MAX];
};

static err_t
see(void *ctx, const struct dentry *d, struct inode *i)
{
	struct listing *l = ctx;
	unsigned n = (unsigned)atoi(d->name + 5);

	if (l->count == l->stop_at)
		return -ECANCELED;
	assert_true(d->cookie > l->cookie);
	assert_int_equal(d->name_len, strlen(d->name));
	assert_int_equal(d->ino, ino_of[n]);
	if (l->inodes) {
		assert_non_null(i);
		assert_int_equal(i->ino, d->ino);
		assert_int_equal(i->size, n);
	} else {
		assert_null(i);
	}
	l->cookie = d->cookie;
	l->seen[n]++;
	l->count++;
	return 0;
}

/* Lists all in pieces of that many entries, the lock given up between them. */
static void
check_listing(struct fixture *f, unsigned piece, bool inodes)
{
	struct listing l = { .inodes = inodes };
	err_t err;

	do {
		l.stop_at = l.count + piece;
		meta_lock(f->meta);
		err = meta_list(f->meta, DIR_INO, l.cookie, inodes, see, &l);
		meta_unlock(f->meta);
	} while (err == -ECANCELED);
	assert_int_equal(err, 0);
	for (unsigned n = 0; n < NAMES_MAX; n++)
		assert_int_equal(l.seen[n], ino_of[n] != 0);
}

static void
check_lookup(struct fixture *f, unsigned n)
{
	char name[NAME_ROOM];
	struct inode *i;
	err_t err;

	name_of(n, name);
	meta_lock(f->meta);
	err = meta_lookup(f->meta, DIR_INO, name, &i);
	assert_int_equal(err, ino_of[n] == 0 ? -ENOENT : 0);
	if (err == 0)
		assert_int_equal(i->ino, ino_of[n]);
	meta_unlock(f->meta);
}

static uint64_t
reads(struct fixture *f)
{
	struct db_stats s;

	db_stats(f->db, &s);
	return s.reads;
}

static void
a_listing_in_pieces_gives_each_name_once_in_the_order_in_which_they_were_made(void **state)
{
	struct fixture *f = *state;
	static const unsigned PIECES[] = { 1, 7, 31, 32, 33, 64, 65, 200, 10000 };

	make_names(f, 500);
	check_listing(f, 16, true);
	reopen(f);
	for (size_t k = 0; k < sizeof(PIECES) / sizeof(PIECES[0]); k++) {
		check_listing(f, PIECES[k], true);
		check_listing(f, PIECES[k], false);
	}
}

static void
a_listing_is_of_what_is_in_the_database_and_of_what_is_newer(void **state)
{
	struct fixture *f = *state;

	srandom(3);
	make_names(f, 1000);
	reopen(f);
	for (unsigned round = 0; round < 30; round++) {
		meta_lock(f->meta);
		for (unsigned k = 0; k < 60; k++) {
			unsigned n = (unsigned)random() % 1500;

			if (ino_of[n] != 0)
				set_name(f, n, 0);
			else
				make_name(f, n);
		}
		meta_unlock(f->meta);
		check_listing(f, 1 + (unsigned)random() % 150, random() % 2);
		if (round % 4 == 3)
			assert_int_equal(meta_sync(f->meta), 0);
		if (round % 7 == 6)
			reopen(f);
	}
}

static void
a_new_name_that_was_stored_and_then_listed_is_gone_once_it_is_removed(void **state)
{
	struct fixture *f = *state;

	make_names(f, 3);
	assert_int_equal(meta_sync(f->meta), 0);
	check_listing(f, 10, false);
	meta_lock(f->meta);
	set_name(f, 1, 0);
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), 0);
	check_lookup(f, 1);
	check_listing(f, 10, false);
}

static void
names_that_go_while_their_directory_is_listed_are_not_listed_twice_and_hide_no_others(void **state)
{
	struct fixture *f = *state;
	struct listing l = { .inodes = true };
	unsigned gone = 0;
	err_t err;

	make_names(f, 1200);
	reopen(f);
	do {
		l.stop_at = l.count + 150;
		meta_lock(f->meta);
		err = meta_list(f->meta, DIR_INO, l.cookie, true, see, &l);
		for (; gone < l.count; gone++) /* names come in the order of their numbers */
			set_name(f, gone, 0);
		meta_unlock(f->meta);
		if (gone % 450 == 0)
			assert_int_equal(meta_sync(f->meta), 0);
	} while (err == -ECANCELED);
	assert_int_equal(l.count, 1200);
	check_listing(f, 100, true);
}

static void
two_lookups_bring_the_other_names_of_a_small_directory_and_those_that_are_not_there(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	make_names(f, 300);
	reopen(f);
	check_lookup(f, 17);
	check_lookup(f, 4);
	before = reads(f);
	for (unsigned n = 0; n < 600; n++)
		check_lookup(f, n);
	assert_int_equal(reads(f), before);
}

static void
a_directory_that_was_listed_to_its_end_is_known_as_a_whole(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	make_names(f, 2500);
	reopen(f);
	check_listing(f, 190, true);
	before = reads(f);
	for (unsigned n = 0; n < NAMES_MAX; n++)
		check_lookup(f, n);
	assert_int_equal(reads(f), before);
}

static void
names_of_a_large_directory_are_found_in_any_order(void **state)
{
	struct fixture *f = *state;

	make_names(f, 2500);
	reopen(f);
	for (unsigned n = 0; n < NAMES_MAX; n++)
		check_lookup(f, n);
	reopen(f);
	for (unsigned n = 0; n < NAMES_MAX; n++)
		check_lookup(f, n * 7 % NAMES_MAX);
}

static void
what_is_known_of_a_directory_ends_when_a_part_of_it_leaves_memory(void **state)
{
	struct fixture *f = *state;
	struct inode *i;

	make_names(f, 200);
	assert_int_equal(meta_sync(f->meta), 0);
	reopen(f);
	check_listing(f, 500, true);
	assert_int_equal(meta_start(f->meta, 20), 0);
	for (unsigned k = 0; k < 250000; k++) {
		if (k % 1000 == 0) {
			meta_throttle(f->meta);
			check_lookup(f, k / 1000 % 5); /* these stay */
		}
		meta_lock(f->meta);
		assert_int_equal(meta_inode_new(f->meta, &i), 0);
		i->nlink = 1;
		meta_unlock(f->meta);
	}
	assert_int_equal(meta_sync(f->meta), 0);
	for (unsigned n = 0; n < 400; n++)
		check_lookup(f, n);
	check_listing(f, 90, true);
}

static void
how_much_is_pending_is_known_after_a_reopening(void **state)
{
	struct fixture *f = *state;
	struct meta_pending_summary sum;

	make_names(f, 20);
	meta_lock(f->meta);
	set_name(f, 3, 0);
	assert_int_equal(meta_dentry_set_chain(f->meta, DIR_INO, "name-4", ino_of[4]), 0);
	meta_unlock(f->meta);
	reopen(f);
	meta_pending_summary(f->meta, &sum);
	assert_int_equal(sum.inode_count, 20);
	assert_int_equal(sum.dentry_count, 18);
}

/* In the root, and then elsewhere, too. */
static void
a_file_whose_noted_name_is_gone_is_not_called_removed_in_messages(void **state)
{
	struct fixture *f = *state;
	struct inode *i;
	uint64_t ino;
	char path[64];

	meta_lock(f->meta);
	assert_int_equal(meta_inode_new(f->meta, &i), 0);
	ino = i->ino;
	i->mode = S_IFREG;
	i->nlink = 2;
	i->parent = INODE_ROOT;
	assert_int_equal(meta_dentry_set(f->meta, INODE_ROOT, "noted", ino, DT_REG), 0);
	assert_int_equal(meta_dentry_set(f->meta, DIR_INO, "other", ino, DT_REG), 0);
	meta_path(f->meta, ino, path, sizeof(path));
	assert_string_equal(path, "noted");
	assert_int_equal(meta_dentry_set(f->meta, INODE_ROOT, "noted", 0, DT_REG), 0);
	i->nlink = 1;
	meta_path(f->meta, ino, path, sizeof(path));
	assert_string_equal(path, "(a file that has several names)");
	i->nlink = 0;
	meta_path(f->meta, ino, path, sizeof(path));
	assert_string_equal(path, "(a removed file)");
	meta_unlock(f->meta);
}

/* Rows of names that were read since it was set to 0. */
static unsigned rows_read;

err_t __real_record_get_dentry(const uint8_t *data, size_t len, uint64_t parent, uint64_t cookie, struct dentry *out);
err_t __wrap_record_get_dentry(const uint8_t *data, size_t len, uint64_t parent, uint64_t cookie, struct dentry *out);

err_t
__wrap_record_get_dentry(const uint8_t *data, size_t len, uint64_t parent, uint64_t cookie, struct dentry *out)
{
	rows_read++;
	return __real_record_get_dentry(data, len, parent, cookie, out);
}

static void
assert_path(struct fixture *f, uint64_t ino, const char *expected, unsigned most)
{
	char path[64];

	meta_lock(f->meta);
	rows_read = 0;
	meta_path(f->meta, ino, path, sizeof(path));
	meta_unlock(f->meta);
	assert_string_equal(path, expected);
	assert_true(rows_read <= most);
}

static void
the_path_of_a_file_in_a_large_folder_is_found_by_a_few_rows(void **state)
{
	struct fixture *f = *state;
	char name[NAME_ROOM], path[64];
	struct inode *i;

	meta_lock(f->meta);
	for (unsigned n = 0; n < NAMES_MAX; n++) {
		i = make_inode(f, S_IFREG);
		i->parent = INODE_ROOT;
		i->nlink = 1;
		name_of(n, name);
		assert_int_equal(meta_dentry_set(f->meta, INODE_ROOT, name, i->ino, DT_REG), 0);
		ino_of[n] = i->ino;
	}
	meta_unlock(f->meta);
	reopen(f);
	for (unsigned n = 0; n < NAMES_MAX; n += 97) {
		name_of(n, path);
		assert_path(f, ino_of[n], path, 60);
	}
	name_of(NAMES_MAX - 1, path);
	assert_path(f, ino_of[NAMES_MAX - 1], path, 60);
	/* Another name, behind those of younger files. */
	meta_lock(f->meta);
	assert_int_equal(meta_dentry_set(f->meta, INODE_ROOT, "name-3", 0, DT_REG), 0);
	assert_int_equal(meta_dentry_set(f->meta, INODE_ROOT, "renamed", ino_of[3], DT_REG), 0);
	meta_unlock(f->meta);
	assert_path(f, ino_of[3], "renamed", UINT_MAX);
	reopen(f);
	assert_path(f, ino_of[3], "renamed", UINT_MAX);
	name_of(4, path);
	assert_path(f, ino_of[4], path, 60);
}

/* A disk that takes its time: no commit ends before somebody says so. */
struct slow {
	struct fixture *f;
	atomic_bool go;
	atomic_uint made;
};

static err_t
wait_for_go(void *ctx, size_t room, struct meta_redo **redo_out, size_t *count_out)
{
	struct slow *s = ctx;

	(void)room;
	while (!atomic_load(&s->go))
		usleep(1000);
	*redo_out = NULL;
	*count_out = 0;
	return 0;
}

static void *
make_many(void *ctx)
{
	struct slow *s = ctx;
	struct inode *i;

	for (unsigned k = 0; k < 200000; k++) {
		meta_throttle(s->f->meta);
		meta_lock(s->f->meta);
		assert_int_equal(meta_inode_new(s->f->meta, &i), 0);
		meta_unlock(s->f->meta);
		atomic_store(&s->made, k + 1);
	}
	return NULL;
}

static void
changes_do_not_pile_up_in_memory_without_bound_before_a_slow_disk(void **state)
{
	struct fixture *f = *state;
	struct slow s = { .f = f };
	struct meta_hooks hooks = { .ctx = &s, .before_commit = wait_for_go };
	unsigned before = UINT32_MAX;
	pthread_t thread;

	meta_set_hooks(f->meta, &hooks);
	assert_int_equal(meta_start(f->meta, 20), 0);
	assert_int_equal(pthread_create(&thread, NULL, make_many, &s), 0);
	while (atomic_load(&s.made) != before) { /* until it stands still */
		before = atomic_load(&s.made);
		usleep(300000);
	}
	assert_true(before < 100000);
	atomic_store(&s.go, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(atomic_load(&s.made), 200000);
	assert_int_equal(meta_stop(f->meta), 0); /* before the hooks' context goes */
	meta_set_hooks(f->meta, &(struct meta_hooks){ 0 });
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup_names, teardown)
		T(a_listing_in_pieces_gives_each_name_once_in_the_order_in_which_they_were_made),
		T(a_file_whose_noted_name_is_gone_is_not_called_removed_in_messages),
		T(the_path_of_a_file_in_a_large_folder_is_found_by_a_few_rows),
		T(a_listing_is_of_what_is_in_the_database_and_of_what_is_newer),
		T(a_new_name_that_was_stored_and_then_listed_is_gone_once_it_is_removed),
		T(names_that_go_while_their_directory_is_listed_are_not_listed_twice_and_hide_no_others),
		T(two_lookups_bring_the_other_names_of_a_small_directory_and_those_that_are_not_there),
		T(a_directory_that_was_listed_to_its_end_is_known_as_a_whole),
		T(names_of_a_large_directory_are_found_in_any_order),
		T(what_is_known_of_a_directory_ends_when_a_part_of_it_leaves_memory),
		T(how_much_is_pending_is_known_after_a_reopening),
		T(changes_do_not_pile_up_in_memory_without_bound_before_a_slow_disk),
	};

	assert_int_equal(secmem_init(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
