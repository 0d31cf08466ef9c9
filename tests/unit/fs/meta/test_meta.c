/* The metadata cache: what was changed is seen at once, and what is in the database is found there again. */
#include "meta_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "secmem.h"

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

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_inode_survives_a_sync_and_a_reopening),
		T(what_was_not_synced_is_gone_and_its_number_is_free),
		T(a_removed_inode_is_gone_before_and_after_the_sync),
		T(names_agree_with_a_model_over_random_changes_syncs_and_reopenings),
		T(chunks_are_scanned_in_order_from_memory_and_disk),
		T(segments_are_found_by_number_and_by_name),
		T(eviction_keeps_what_is_not_yet_on_the_disk),
	};

	assert_int_equal(secmem_init(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
