/* When changes reach the disk: all of them by a sync, in few commits, and nothing by halves; and as fsync does it. */
#include "meta_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>

#include "extents.h"
#include "secmem.h"

/* A hook that fails as often as it is told, and counts. */
struct hook {
	unsigned fail;
	unsigned calls;
	unsigned releases;
};

static err_t
before(void *ctx, size_t room, struct meta_redo **redo, size_t *count)
{
	struct hook *h = ctx;

	(void)room;
	(void)redo;
	*count = 0;
	h->calls++;
	if (h->fail != 0) {
		h->fail--;
		return -EIO;
	}
	return 0;
}

static void
released(void *ctx, uint64_t seg, uint64_t off, uint32_t len)
{
	struct hook *h = ctx;

	assert_int_equal(seg, 9);
	assert_int_equal(off, 100);
	assert_int_equal(len, 50);
	h->releases++;
}

static void
a_failed_commit_is_told_and_nothing_is_lost_by_it(void **state)
{
	struct fixture *f = *state;
	struct hook h = { .fail = 1 };
	struct meta_hooks hooks = { .ctx = &h, .before_commit = before, .on_release = released };
	struct inode *i;
	uint64_t ino;

	meta_set_hooks(f->meta, &hooks);
	meta_lock(f->meta);
	ino = make_inode(f, S_IFREG)->ino;
	assert_int_equal(meta_release(f->meta, 9, 100, 50), 0);
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), -EIO);
	assert_int_equal(meta_health(f->meta), -EIO);
	assert_int_equal(h.releases, 0); /* nothing is given back before it is durable that nobody needs it */
	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(meta_health(f->meta), 0);
	assert_int_equal(h.releases, 1);
	forget_uncommitted(f);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	meta_unlock(f->meta);
}

static void
released_50_at_a_time(void *ctx, uint64_t seg, uint64_t off, uint32_t len)
{
	struct hook *h = ctx;

	assert_int_equal(seg, 9);
	assert_int_equal(off, h->releases == 0 ? 100 : 1000);
	assert_int_equal(len, h->releases == 0 ? 150 : 50);
	h->releases++;
}

static void
neighbours_are_given_back_as_one(void **state)
{
	struct fixture *f = *state;
	struct hook h = { 0 };
	struct meta_hooks hooks = { .ctx = &h, .before_commit = before, .on_release = released_50_at_a_time };

	meta_set_hooks(f->meta, &hooks);
	meta_lock(f->meta);
	make_inode(f, S_IFREG);
	assert_int_equal(meta_release(f->meta, 9, 150, 50), 0);
	assert_int_equal(meta_release(f->meta, 9, 1000, 50), 0);
	assert_int_equal(meta_release(f->meta, 9, 100, 50), 0);
	assert_int_equal(meta_release(f->meta, 9, 200, 50), 0);
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(h.releases, 2);
}

static unsigned fail_realloc; /* the one with that number from now on */

void *__real_realloc(void *p, size_t len);
void *__wrap_realloc(void *p, size_t len);
void *
__wrap_realloc(void *p, size_t len)
{
	return fail_realloc != 0 && --fail_realloc == 0 ? NULL : __real_realloc(p, len);
}

#define FRAMES 65u /* one more than the list of what is to be given back has room for at first */

static void
each_frame_once(void *ctx, uint64_t seg, uint64_t off, uint32_t len)
{
	struct hook *h = ctx;

	assert_int_equal(seg, 9);
	assert_int_equal(off, 5000 * h->releases);
	assert_int_equal(len, 4112);
	h->releases++;
}

static void
what_could_not_be_given_back_for_want_of_memory_is_given_back_once_later(void **state)
{
	struct fixture *f = *state;
	struct hook h = { 0 };
	struct meta_hooks hooks = { .ctx = &h, .before_commit = before, .on_release = each_frame_once };
	struct extent_list list = { 0 }, nothing = { 0 };
	err_t err;

	for (uint64_t k = 0; k < FRAMES; k++) {
		struct extent x = { .off = 4096 * k, .len = 4096, .x_off = 4096 * k, .x_len = 4096, .x_id = { (uint8_t)k }, .seg = 9,
			.seg_off = 5000 * k, .stored_len = 4112 };

		assert_int_equal(extent_list_append(&list, &x), 0);
	}
	meta_set_hooks(f->meta, &hooks);
	meta_lock(f->meta);
	assert_int_equal(meta_segment_put(f->meta, &(struct segment){ .id = 9, .kind = SEGMENT_HOT }), 0);
	make_inode(f, S_IFREG);
	fail_realloc = 2;
	err = meta_release_gone(f->meta, &list, &nothing);
	fail_realloc = 0;
	assert_int_equal(err, -ENOMEM);
	assert_int_equal(meta_release_gone(f->meta, &list, &nothing), 0);
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(h.releases, FRAMES);
	extent_list_clear(&list);
}

static void
a_sync_with_nothing_to_do_writes_nothing(void **state)
{
	struct fixture *f = *state;
	struct db_stats before_stats, after_stats;

	meta_lock(f->meta);
	make_inode(f, S_IFREG);
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), 0);
	db_stats(f->db, &before_stats);
	assert_int_equal(meta_sync(f->meta), 0);
	db_stats(f->db, &after_stats);
	assert_int_equal(before_stats.commits, after_stats.commits);
}

/* As fsync does it. */

/* The first flush of a run goes to the database, and makes the journal. */
static void
begin_journal(struct fixture *f)
{
	meta_lock(f->meta);
	make_inode(f, S_IFREG);
	meta_unlock(f->meta);
	assert_int_equal(meta_flush(f->meta), 0);
}

static uint64_t
make_flushed(struct fixture *f, uint64_t size)
{
	struct inode *i;
	uint64_t ino;

	meta_lock(f->meta);
	i = make_inode(f, S_IFREG | 0600);
	i->size = size;
	ino = i->ino;
	meta_unlock(f->meta);
	assert_int_equal(meta_flush(f->meta), 0);
	return ino;
}

/* 0: there is no such inode. */
static void
assert_size(struct fixture *f, uint64_t ino, uint64_t size)
{
	struct inode *i;
	uint64_t found = 0;
	err_t err;

	meta_lock(f->meta);
	err = meta_inode_get(f->meta, ino, &i);
	if (err == 0)
		found = i->size;
	meta_unlock(f->meta);
	assert_int_equal(err, size != 0 ? 0 : -ENOENT);
	assert_int_equal(found, size);
}

static void
remove_inode(struct fixture *f, uint64_t ino)
{
	struct inode *i;

	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(meta_inode_remove(f->meta, i), 0);
	meta_unlock(f->meta);
}

static void
a_flush_survives_without_a_commit_of_the_database(void **state)
{
	struct fixture *f = *state;
	struct db_stats before_stats, after_stats;
	uint64_t first, second, third;

	begin_journal(f);
	db_stats(f->db, &before_stats);
	first = make_flushed(f, 1);
	second = make_flushed(f, 2);
	remove_inode(f, second);
	third = make_flushed(f, 3);
	db_stats(f->db, &after_stats);
	assert_int_equal(after_stats.commits, before_stats.commits);
	assert_int_equal(after_stats.journaled, before_stats.journaled + 3);
	forget_uncommitted(f);
	assert_size(f, first, 1);
	assert_size(f, second, 0);
	assert_size(f, third, 3);
	meta_lock(f->meta);
	assert_true(make_inode(f, S_IFREG)->ino > third); /* numbers are never used again */
	meta_unlock(f->meta);
}

static void
a_sync_puts_into_the_database_what_a_flush_has_made_durable(void **state)
{
	struct fixture *f = *state;
	struct bytes row = { 0 };
	uint64_t ino;

	begin_journal(f);
	ino = make_flushed(f, 7);
	assert_int_equal(db_get(f->db, DB_INODE, ino, 0, &row), -ENOENT);
	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(db_get(f->db, DB_INODE, ino, 0, &row), 0);
	bytes_clear(&row);
	forget_uncommitted(f);
	assert_size(f, ino, 7);
}

static void
a_deletion_is_not_lost_when_a_commit_fails_between_two_flushes(void **state)
{
	struct fixture *f = *state;
	struct hook h = { 0 };
	struct meta_hooks hooks = { .ctx = &h, .before_commit = before };
	uint64_t ino, other;

	meta_set_hooks(f->meta, &hooks);
	begin_journal(f);
	ino = make_flushed(f, 1);
	h.fail = 1;
	meta_lock(f->meta);
	make_inode(f, S_IFREG);
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), -EIO);
	remove_inode(f, ino); /* the journal has it, the database not */
	other = make_flushed(f, 2);
	forget_uncommitted(f);
	assert_size(f, ino, 0);
	assert_size(f, other, 2);
}

static void
space_is_given_back_only_by_a_commit_of_the_database(void **state)
{
	struct fixture *f = *state;
	struct hook h = { 0 };
	struct meta_hooks hooks = { .ctx = &h, .before_commit = before, .on_release = released };

	meta_set_hooks(f->meta, &hooks);
	begin_journal(f);
	meta_lock(f->meta);
	assert_int_equal(meta_release(f->meta, 9, 100, 50), 0);
	meta_unlock(f->meta);
	make_flushed(f, 1);
	assert_int_equal(h.releases, 0);
	assert_int_equal(meta_sync(f->meta), 0);
	make_flushed(f, 2);
	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(h.releases, 1);
}

#define THREADS 4
#define PER_THREAD 300

static void *
make_and_sync(void *arg)
{
	struct fixture *f = arg;

	for (unsigned k = 0; k < PER_THREAD; k++) {
		struct inode *i;

		meta_lock(f->meta);
		if (meta_inode_new(f->meta, &i) != 0)
			abort();
		i->nlink = 1;
		meta_inode_dirty(f->meta, i);
		meta_unlock(f->meta);
		if (k % 10 == 0 && (k % 30 == 0 ? meta_sync(f->meta) : meta_flush(f->meta)) != 0)
			abort();
	}
	return NULL;
}

static void
many_threads_sync_at_once_and_share_commits(void **state)
{
	struct fixture *f = *state;
	pthread_t t[THREADS];
	uint64_t *inos;
	size_t count;

	assert_int_equal(meta_start(f->meta, 50), 0);
	for (unsigned k = 0; k < THREADS; k++)
		assert_int_equal(pthread_create(&t[k], NULL, make_and_sync, f), 0);
	for (unsigned k = 0; k < THREADS; k++)
		pthread_join(t[k], NULL);
	assert_int_equal(meta_stop(f->meta), 0);
	forget_uncommitted(f);
	meta_lock(f->meta);
	assert_int_equal(meta_pending_inodes(f->meta, &inos, &count), 0);
	meta_unlock(f->meta);
	assert_int_equal(count, THREADS * PER_THREAD);
	free(inos);
}

static void
a_poisoned_cache_writes_nothing_more(void **state)
{
	struct fixture *f = *state;
	struct inode *i;
	uint64_t ino;

	meta_lock(f->meta);
	ino = make_inode(f, S_IFREG)->ino;
	meta_poison(f->meta, -ENOMEM);
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), -ENOMEM);
	forget_uncommitted(f);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), -ENOENT);
	meta_unlock(f->meta);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_failed_commit_is_told_and_nothing_is_lost_by_it),
		T(neighbours_are_given_back_as_one),
		T(what_could_not_be_given_back_for_want_of_memory_is_given_back_once_later),
		T(a_sync_with_nothing_to_do_writes_nothing),
		T(a_flush_survives_without_a_commit_of_the_database),
		T(a_sync_puts_into_the_database_what_a_flush_has_made_durable),
		T(a_deletion_is_not_lost_when_a_commit_fails_between_two_flushes),
		T(space_is_given_back_only_by_a_commit_of_the_database),
		T(many_threads_sync_at_once_and_share_commits),
		T(a_poisoned_cache_writes_nothing_more),
	};

	assert_int_equal(secmem_init(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
