/* The metadata cache: what was changed is seen at once, is on the disk after a sync, and nothing else is. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <dirent.h>
#include <setjmp.h>
#include <cmocka.h>

#include "meta.h"
#include "secmem.h"

struct fixture {
	char dir[64];
	char path[96];
	struct rowseal *rs;
	struct db *db;
	struct meta *meta;
};

static const uint8_t KEY[32] = { 1, 2, 3 };

static void
reopen(struct fixture *f, bool create)
{
	assert_int_equal(rowseal_new(KEY, &f->rs), 0);
	assert_int_equal(db_open(f->path, create, f->rs, &f->db), 0);
	assert_int_equal(meta_new(f->db, f->rs, 0, &f->meta), 0);
}

static void
close_meta(struct fixture *f)
{
	assert_int_equal(meta_stop(f->meta), 0);
	meta_free(f->meta);
	rowseal_free(f->rs);
}

/* As a power cut does: what was not committed is gone. */
static void
forget_uncommitted(struct fixture *f)
{
	meta_free(f->meta);
	rowseal_free(f->rs);
	reopen(f, false);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/test_meta.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/meta.db", f->dir);
	reopen(f, true);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = { "", "-wal", "-shm" };
	char path[128];

	close_meta(f);
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s%s", f->path, names[i]);
		unlink(path);
	}
	rmdir(f->dir);
	free(f);
	return 0;
}

static struct inode *
make_inode(struct fixture *f, uint32_t mode)
{
	struct inode *i;

	assert_int_equal(meta_inode_new(f->meta, &i), 0);
	i->mode = mode;
	i->nlink = 1;
	meta_inode_dirty(f->meta, i);
	return i;
}

static void
an_inode_survives_a_sync_and_a_reopening(void **state)
{
	struct fixture *f = *state;
	struct inode *i;
	uint64_t ino;

	meta_lock(f->meta);
	i = make_inode(f, S_IFREG | 0640);
	i->size = 12345;
	ino = i->ino;
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), 0);
	forget_uncommitted(f);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(i->mode, S_IFREG | 0640);
	assert_int_equal(i->size, 12345);
	assert_int_equal(i->pending, PENDING_NEW);
	meta_unlock(f->meta);
}

static void
what_was_not_synced_is_gone_and_its_number_is_free(void **state)
{
	struct fixture *f = *state;
	struct inode *i;
	uint64_t ino;

	assert_int_equal(meta_sync(f->meta), 0);
	meta_lock(f->meta);
	ino = make_inode(f, S_IFREG)->ino;
	meta_unlock(f->meta);
	forget_uncommitted(f);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), -ENOENT);
	meta_unlock(f->meta);
}

static void
a_removed_inode_is_gone_before_and_after_the_sync(void **state)
{
	struct fixture *f = *state;
	struct inode *i;
	struct chunk *c;
	uint64_t ino;

	meta_lock(f->meta);
	i = make_inode(f, S_IFREG);
	ino = i->ino;
	assert_int_equal(meta_chunk_get(f->meta, i, 7, true, &c), 0);
	c->pending = true;
	meta_chunk_dirty(f->meta, i, c);
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), 0);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(meta_inode_remove(f->meta, i), 0);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), -ENOENT);
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), 0);
	forget_uncommitted(f);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), -ENOENT);
	meta_unlock(f->meta);
}

/* Names against a plain model. */
#define NAMES 300
struct model {
	uint64_t ino[NAMES];
	uint64_t chain[NAMES];
	uint64_t last_cookie;
	unsigned seen[NAMES];
};

static void
name_of(unsigned n, char *out)
{
	snprintf(out, 32, "file-%u", n);
}

static err_t
see(void *ctx, const struct dentry *d)
{
	struct model *m = ctx;
	unsigned n = (unsigned)atoi(d->name + 5);

	assert_true(d->cookie > m->last_cookie);
	m->last_cookie = d->cookie;
	m->seen[n]++;
	assert_int_equal(d->ino, m->ino[n]);
	assert_int_equal(d->chain_ino, m->chain[n]);
	return 0;
}

static void
check_model(struct fixture *f, struct model *m)
{
	struct dentry *pending;
	size_t count, want_pending = 0;
	char name[32];

	meta_lock(f->meta);
	memset(m->seen, 0, sizeof(m->seen));
	m->last_cookie = 0;
	assert_int_equal(meta_dentry_scan(f->meta, 5, 0, see, m), 0);
	for (unsigned n = 0; n < NAMES; n++) {
		struct dentry *d;
		err_t err;

		assert_int_equal(m->seen[n], m->ino[n] != 0);
		name_of(n, name);
		err = meta_dentry_get(f->meta, 5, name, &d);
		assert_int_equal(err, m->ino[n] || m->chain[n] ? 0 : -ENOENT);
		if (err == 0)
			assert_int_equal(d->ino, m->ino[n]);
		want_pending += m->ino[n] != m->chain[n];
	}
	assert_int_equal(meta_pending_dentries(f->meta, &pending, &count), 0);
	assert_int_equal(count, want_pending);
	free(pending);
	meta_unlock(f->meta);
	struct meta_pending_summary sum;
	meta_pending_summary(f->meta, &sum);
	assert_int_equal(sum.dentry_count, want_pending);
}

static void
names_agree_with_a_model_over_random_changes_syncs_and_reopenings(void **state)
{
	struct fixture *f = *state;
	struct model now = { 0 }, durable;

	srandom(7);
	durable = now;
	for (unsigned round = 0; round < 400; round++) {
		meta_lock(f->meta);
		for (unsigned k = 0; k < 20; k++) {
			unsigned n = (unsigned)random() % NAMES;
			uint64_t ino = random() % 3 == 0 ? 0 : (uint64_t)random() % 1000 + 1;
			char name[32];

			name_of(n, name);
			if (random() % 4 == 0) {
				assert_int_equal(meta_dentry_set_chain(f->meta, 5, name, now.ino[n]), 0);
				now.chain[n] = now.ino[n];
			} else {
				assert_int_equal(meta_dentry_set(f->meta, 5, name, ino, DT_REG), 0);
				now.ino[n] = ino;
			}
		}
		meta_unlock(f->meta);
		if (random() % 3 == 0) {
			assert_int_equal(meta_sync(f->meta), 0);
			durable = now;
		}
		if (random() % 10 == 0) {
			forget_uncommitted(f);
			now = durable;
		}
		if (random() % 5 == 0)
			check_model(f, &now);
	}
	check_model(f, &now);
}

static err_t
collect(void *ctx, struct inode *i, struct chunk *c)
{
	char *list = ctx;

	(void)i;
	sprintf(list + strlen(list), "%u ", (unsigned)c->no);
	return 0;
}

static void
touch_chunk(struct fixture *f, struct inode *i, uint64_t no)
{
	struct chunk *c;

	assert_int_equal(meta_chunk_get(f->meta, i, no, true, &c), 0);
	c->pending = true;
	meta_chunk_dirty(f->meta, i, c);
}

static void
drop_chunk(struct fixture *f, struct inode *i, uint64_t no)
{
	struct chunk *c;

	assert_int_equal(meta_chunk_get(f->meta, i, no, false, &c), 0);
	c->pending = false;
	meta_chunk_tidy(f->meta, i, c);
}

static void
chunks_are_scanned_in_order_from_memory_and_disk(void **state)
{
	struct fixture *f = *state;
	char list[256] = "";
	struct inode *i;
	uint64_t ino;

	meta_lock(f->meta);
	i = make_inode(f, S_IFREG);
	ino = i->ino;
	for (uint64_t no = 0; no < 10; no += 2)
		touch_chunk(f, i, no);
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), 0);
	forget_uncommitted(f);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	touch_chunk(f, i, 5);
	touch_chunk(f, i, 11);
	drop_chunk(f, i, 4);
	assert_int_equal(meta_chunk_scan(f->meta, i, 0, collect, list), 0);
	assert_string_equal(list, "0 2 5 6 8 11 ");
	list[0] = 0;
	assert_int_equal(meta_chunk_scan(f->meta, i, 3, collect, list), 0);
	assert_string_equal(list, "5 6 8 11 ");
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), 0);
	forget_uncommitted(f);
	meta_lock(f->meta);
	list[0] = 0;
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(meta_chunk_scan(f->meta, i, 0, collect, list), 0);
	assert_string_equal(list, "0 2 5 6 8 11 ");
	meta_unlock(f->meta);
}

/* A hook that fails as often as it is told, and counts. */
struct hook {
	unsigned fail;
	unsigned calls;
	unsigned releases;
	bool before_sync_done;
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

static void
segments_are_found_by_number_and_by_name(void **state)
{
	struct fixture *f = *state;
	struct segment s = { .kind = SEGMENT_SETTLED, .size = 77 }, got;

	meta_lock(f->meta);
	s.id = meta_segment_new_id(f->meta);
	memset(s.name, 0xab, sizeof(s.name));
	assert_int_equal(meta_segment_put(f->meta, &s), 0);
	assert_int_equal(meta_segment_find(f->meta, s.name, &got), 0);
	assert_int_equal(got.id, s.id);
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), 0);
	forget_uncommitted(f);
	meta_lock(f->meta);
	assert_int_equal(meta_segment_find(f->meta, s.name, &got), 0);
	assert_int_equal(got.size, 77);
	assert_int_equal(meta_segment_remove(f->meta, s.id), 0);
	assert_int_equal(meta_segment_find(f->meta, s.name, &got), -ENOENT);
	assert_int_equal(meta_segment_get(f->meta, s.id, &got), -ENOENT);
	assert_true(meta_segment_new_id(f->meta) > s.id);
	meta_unlock(f->meta);
}

static void
eviction_keeps_what_is_not_yet_on_the_disk(void **state)
{
	struct fixture *f = *state;
	struct inode *i;

	assert_int_equal(meta_start(f->meta, 20), 0);
	for (unsigned k = 0; k < 150000; k++) {
		meta_lock(f->meta);
		i = make_inode(f, S_IFREG);
		i->size = i->ino * 3;
		meta_unlock(f->meta);
	}
	assert_int_equal(meta_sync(f->meta), 0);
	for (uint64_t ino = 16; ino < 16 + 150000; ino += 97) {
		meta_lock(f->meta);
		assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
		assert_int_equal(i->size, ino * 3);
		meta_unlock(f->meta);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(an_inode_survives_a_sync_and_a_reopening),
		T(what_was_not_synced_is_gone_and_its_number_is_free),
		T(a_removed_inode_is_gone_before_and_after_the_sync),
		T(names_agree_with_a_model_over_random_changes_syncs_and_reopenings),
		T(chunks_are_scanned_in_order_from_memory_and_disk),
		T(a_failed_commit_is_told_and_nothing_is_lost_by_it),
		T(neighbours_are_given_back_as_one),
		T(a_sync_with_nothing_to_do_writes_nothing),
		T(a_flush_survives_without_a_commit_of_the_database),
		T(a_sync_puts_into_the_database_what_a_flush_has_made_durable),
		T(a_deletion_is_not_lost_when_a_commit_fails_between_two_flushes),
		T(space_is_given_back_only_by_a_commit_of_the_database),
		T(many_threads_sync_at_once_and_share_commits),
		T(a_poisoned_cache_writes_nothing_more),
		T(segments_are_found_by_number_and_by_name),
		T(eviction_keeps_what_is_not_yet_on_the_disk),
	};

	assert_int_equal(secmem_init(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
