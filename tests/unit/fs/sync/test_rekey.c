/* Sealing anew what a removed device has the keys of: all of it, and nobody sees or loses anything by it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rekey_internal.h"
#include "sides.h"

#include "../../await.h"

#define MIB (1u << 20)

/* How often segments were given up, and how many. */
static unsigned drop_calls;
static size_t dropped;

err_t __real_segstore_drop_pieces(struct segstore *ss, struct segstore_leaving *v, size_t count);
err_t __wrap_segstore_drop_pieces(struct segstore *ss, struct segstore_leaving *v, size_t count);
err_t
__wrap_segstore_drop_pieces(struct segstore *ss, struct segstore_leaving *v, size_t count)
{
	err_t err = __real_segstore_drop_pieces(ss, v, count);

	drop_calls++;
	for (size_t k = 0; k < count; k++)
		dropped += v[k].done;
	return err;
}

/* A third device joins and is removed: the keys of before are known to somebody who is not in any more. */

static err_t
say_remove(struct members_saying *w, void *ctx)
{
	return members_say_remove(w, ctx);
}

static void
lose_a_device(struct fixture *f, struct side *by)
{
	struct side c = { .v = NULL };
	uint8_t id[IDENTITY_ID_LEN];

	snprintf(c.dir, sizeof(c.dir), "%s/gamma", f->top);
	remove_tree(c.dir);
	join_side(f, &c);
	memcpy(id, c.v->my_id, sizeof(id));
	close_side(&c);
	remove_tree(c.dir);
	assert_int_equal(members_commit(by->sync, say_remove, id, NULL, NULL), 0);
}

static struct rekey_report
run(struct side *s)
{
	const struct rekey_options o = { 0 };
	struct rekey_report r;
	err_t err = rekey_run(s->sync, &o, &r);

	if (err != 0)
		fail_msg("rekey: %d, %s", err, r.why);
	return r;
}

static struct rekey_report
rekey_ok(struct side *s)
{
	struct sync_status st;
	struct rekey_report r;

	assert_int_equal(rekey_begin(s->sync), 0);
	sync_get_status(s->sync, &st);
	assert_true(st.rekey);
	r = run(s);
	sync_get_status(s->sync, &st);
	assert_false(st.rekey);
	return r;
}

/* Every extent of the newest state, with every key of an earlier epoch that its file has. */

struct trial {
	uint64_t origin;
	struct file_key key;
	struct extent x;
};
struct looking {
	uint32_t epoch;
	unsigned old;    /* extents that say such a key */
	unsigned opened; /* extents that such a key opens, whatever they say */
	unsigned extents;
	struct trial *v;
	size_t count;
};

static err_t
look_at_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct looking *l = ctx;

	for (uint32_t k = 0; k < c->current.count; k++) {
		const struct extent *x = &c->current.v[k];

		l->extents++;
		for (uint32_t n = 0; n < i->key_count; n++) {
			if (i->keys[n].epoch >= l->epoch)
				continue;
			l->old += i->keys[n].version == x->key_version;
			l->v = realloc(l->v, (l->count + 1) * sizeof(*l->v));
			l->v[l->count++] = (struct trial){ i->origin, i->keys[n], *x };
		}
	}
	return 0;
}

static struct looking
look(struct side *s)
{
	static uint8_t plain[CHUNK_LEN];
	struct looking l = { 0 };
	struct walk w = { 0 };

	assert_int_equal(keyring_current(s->v->keys, &l.epoch), 0);
	while (!w.ended)
		assert_int_equal(walk_some(s->v->meta, &w, look_at_chunk, &l), 0);
	for (size_t k = 0; k < l.count; k++) {
		const struct trial *t = &l.v[k];

		l.opened += content_open_extent(s->v->content, t->origin, &t->key, &t->x, t->x.off, t->x.len, plain) == 0;
	}
	free(l.v);
	return l;
}

static void
assert_all_is_new(struct side *s)
{
	struct looking l = look(s);

	assert_true(l.extents > 0);
	assert_int_equal(l.old, 0);
	assert_int_equal(l.opened, 0);
}

/* Segments of the store that the newest state points into. */
struct segments {
	uint64_t last;
	char (*v)[256]; /* their objects' paths */
	size_t count;
	struct meta *meta;
	const char *store;
};

static err_t
note_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct segments *l = ctx;
	char name[CHAIN_NAME_MAX];
	struct segment row;

	(void)i;
	for (uint32_t k = 0; k < c->current.count; k++) {
		if (c->current.v[k].seg == l->last)
			continue;
		l->last = c->current.v[k].seg;
		assert_int_equal(meta_segment_get(l->meta, l->last, &row), 0);
		l->v = realloc(l->v, (l->count + 1) * sizeof(*l->v));
		chain_segment_object_name(row.name, name);
		snprintf(l->v[l->count], sizeof(*l->v), "%s/%s", l->store, name);
		assert_int_equal(access(l->v[l->count++], F_OK), 0);
	}
	return 0;
}

static struct segments
note_segments(const struct fixture *f, struct side *s)
{
	struct segments l = { .meta = s->v->meta, .store = f->store };
	struct walk w = { 0 };

	while (!w.ended)
		assert_int_equal(walk_some(l.meta, &w, note_chunk, &l), 0);
	assert_true(l.count > 0);
	return l;
}

static void
assert_gone(struct segments *l)
{
	for (size_t k = 0; k < l->count; k++) {
		assert_int_equal(access(l->v[k], F_OK), -1);
		assert_int_equal(errno, ENOENT);
	}
	free(l->v);
}

static void
collect_all(struct side *s)
{
	for (unsigned k = 0; k < 3; k++)
		(void)collect_ok(s, 0, true);
}

/* Files with several extents, some overwritten in their middle, some as large as several chunks. */
static void
make_content(struct side *s)
{
	uint64_t ino;

	make_variety(s);
	ino = make_random(s, INODE_ROOT, "large", 3 * MIB + 100000);
	sync_ok(s);
	write_at(s, ino, MIB + 300000, "in the middle", 13);
	write_at(s, ino, 17, "at the start", 12);
	for (unsigned k = 0; k < 30; k++) {
		char name[16];

		snprintf(name, sizeof(name), "small %02u", k);
		make_random(s, INODE_ROOT, name, 1000 + k * 3000);
	}
	sync_ok(s);
}

static void
all_is_under_new_keys_and_the_old_ones_open_nothing_of_the_newest_state(void **state)
{
	struct fixture *f = *state;
	struct rekey_report r;
	struct segments was;
	char *before, *after;

	make_content(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	lose_a_device(f, &f->a);
	was = note_segments(f, &f->a);
	assert_true(look(&f->a).old > 0);
	assert_true(look(&f->a).opened > 0);
	before = dump_tree(&f->a);
	r = rekey_ok(&f->a);
	assert_true(r.bytes > 3 * MIB);
	assert_int_equal(r.damaged, 0);
	after = dump_tree(&f->a);
	assert_string_equal(before, after);
	free(before);
	free(after);
	assert_all_is_new(&f->a);
	sync_ok(&f->b);
	assert_int_equal(message_count(&f->b, "conflict"), 0);
	assert_same_tree(&f->a, &f->b);
	assert_int_equal(message_count(&f->a, "under keys"), 1);
	collect_all(&f->a);
	assert_gone(&was);
	assert_store_is_whole(f, &f->a);
	/* There is nothing more to do, and nothing is done. */
	{
		uint64_t head = head_of(&f->a);

		assert_int_equal(rekey_ok(&f->a).bytes, 0);
		assert_int_equal(head_of(&f->a), head);
	}
}

/* Bytes in segments of what the newest state points at, each once. */
struct weighing {
	uint8_t ids[64][EXTENT_ID_LEN];
	size_t count;
	uint64_t bytes;
};

static err_t
weigh_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct weighing *w = ctx;

	(void)i;
	for (uint32_t k = 0; k < c->current.count; k++) {
		const struct extent *x = &c->current.v[k];
		size_t n = 0;

		while (n < w->count && memcmp(w->ids[n], x->x_id, EXTENT_ID_LEN) != 0)
			n++;
		if (n < w->count)
			continue;
		assert_true(n < ARRAY_LEN(w->ids));
		memcpy(w->ids[w->count++], x->x_id, EXTENT_ID_LEN);
		w->bytes += x->stored_len;
	}
	return 0;
}

static void
what_was_overwritten_in_its_middle_is_counted_once(void **state)
{
	struct fixture *f = *state;
	struct weighing w = { .count = 0 };
	struct walk walk = { 0 };
	struct sync_status st;
	uint64_t ino = make_random(&f->a, INODE_ROOT, "large", 2 * MIB);

	sync_ok(&f->a);
	for (unsigned k = 1; k < 8; k++) {
		write_at(&f->a, ino, k * 100000, "in the middle", 13);
		sync_ok(&f->a);
	}
	lose_a_device(f, &f->a);
	while (!walk.ended)
		assert_int_equal(walk_some(f->a.v->meta, &walk, weigh_chunk, &w), 0);
	assert_true(w.count > 2);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	pthread_mutex_lock(&f->a.sync->round);
	f->a.sync->rekey->has_epoch = true;
	assert_int_equal(keyring_current(f->a.v->keys, &f->a.sync->rekey->epoch), 0);
	assert_int_equal(rekey_count(f->a.sync->rekey), 0);
	assert_int_equal(f->a.sync->rekey->left, w.bytes);
	pthread_mutex_unlock(&f->a.sync->round);
	assert_int_equal(run(&f->a).bytes, w.bytes);
	sync_get_status(f->a.sync, &st);
	assert_false(st.rekey);
	assert_all_is_new(&f->a);
}

static void
without_a_removal_there_is_nothing_to_do(void **state)
{
	struct fixture *f = *state;
	uint64_t head;

	make_content(&f->a);
	head = head_of(&f->a);
	assert_int_equal(rekey_ok(&f->a).bytes, 0);
	assert_int_equal(head_of(&f->a), head);
	assert_int_equal(count_objects(f, "b"), 0);
}

static void
what_others_edit_rename_and_delete_meanwhile_wins(void **state)
{
	struct fixture *f = *state;
	uint8_t text[13];
	size_t n;

	make_content(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	lose_a_device(f, &f->a);
	sync_ok(&f->b);
	write_at(&f->b, lookup(&f->b, INODE_ROOT, "large"), 2 * MIB - 100, "edited by B", 11);
	write_at(&f->b, lookup(&f->b, INODE_ROOT, "small 07"), 500, "edited by B", 11);
	assert_int_equal(vfs_unlink(f->b.fs, INODE_ROOT, "small 08"), 0);
	assert_int_equal(vfs_rename(f->b.fs, INODE_ROOT, "small 09", INODE_ROOT, "renamed", 0), 0);
	rekey_ok(&f->a);
	/* It is not in the chain yet, and has a key of its own by now. */
	reopen_side(&f->b, f->store);
	sync_ok(&f->b);
	assert_int_equal(message_count(&f->b, "conflict"), 0);
	sync_ok(&f->a);
	assert_int_equal(message_count(&f->a, "conflict"), 0);
	assert_same_tree(&f->a, &f->b);
	assert_int_equal(lookup(&f->a, INODE_ROOT, "small 08"), 0);
	assert_int_equal(vfs_read(f->a.fs, lookup(&f->a, INODE_ROOT, "large"), 2 * MIB - 100, 11, text, &n), 0);
	assert_memory_equal(text, "edited by B", 11);
	assert_int_equal(vfs_read(f->a.fs, lookup(&f->a, INODE_ROOT, "large"), MIB + 300000, 13, text, &n), 0);
	assert_memory_equal(text, "in the middle", 13);
	/* What was pending elsewhere and under old keys is found by another run. */
	rekey_ok(&f->b);
	assert_all_is_new(&f->b);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	assert_store_is_whole(f, &f->a);
}

static void
an_edit_here_while_it_runs_is_kept_and_taken_along(void **state)
{
	struct fixture *f = *state;
	unsigned rest_ms;

	make_content(&f->a);
	join_side(f, &f->b);
	lose_a_device(f, &f->a);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	for (unsigned k = 0; k < 40 && rekey_is_due(f->a.sync); k++) {
		f->a.sync->rekey->batch_len = 50000;
		assert_int_equal(rekey_some(f->a.sync, &rest_ms), 0);
		if (k < 20)
			write_at(&f->a, lookup(&f->a, INODE_ROOT, k % 2 ? "large" : "small 20"), k * 1000, "edited", 6);
		if (k % 5 == 4)
			sync_ok(&f->a);
	}
	run(&f->a);
	assert_all_is_new(&f->a);
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
	assert_int_equal(message_count(&f->a, "conflict") + message_count(&f->b, "conflict"), 0);
}

static unsigned
rest_of_a_pass(struct side *s)
{
	unsigned rest_ms;

	do
		assert_int_equal(rekey_some(s->sync, &rest_ms), 0);
	while (rekey_is_due(s->sync) && s->sync->rekey->counted);
	return rest_ms;
}

/* For each look all is gone through. */
static void
what_is_busy_for_long_is_looked_at_less_and_less_often(void **state)
{
	struct fixture *f = *state;
	unsigned before, rest_ms;
	uint64_t ino;

	make_content(&f->a);
	lose_a_device(f, &f->a);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	ino = lookup(&f->a, INODE_ROOT, "small 20");
	write_at(&f->a, ino, 0, "edited", 6);
	while ((before = rest_of_a_pass(&f->a)) == 0)
		;
	for (unsigned k = 0; k < 4; k++) {
		rest_ms = rest_of_a_pass(&f->a);
		assert_true(rest_ms >= 2 * before);
		before = rest_ms;
	}
	/* The others are done again, and so it begins anew. */
	lose_a_device(f, &f->a);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	while ((rest_ms = rest_of_a_pass(&f->a)) == 0)
		;
	assert_true(rest_ms < before);
	run(&f->a);
	assert_all_is_new(&f->a);
}

static void
two_that_do_it_at_once_get_in_nobody_s_way(void **state)
{
	struct fixture *f = *state;
	unsigned rest_ms;

	make_content(&f->a);
	join_side(f, &f->b);
	lose_a_device(f, &f->a);
	sync_ok(&f->b);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	assert_int_equal(rekey_begin(f->b.sync), 0);
	for (unsigned k = 0; k < 200 && (rekey_is_due(f->a.sync) || rekey_is_due(f->b.sync)); k++) {
		struct side *s = k % 2 ? &f->a : &f->b;

		s->sync->rekey->batch_len = 100000;
		if (rekey_is_due(s->sync))
			assert_int_equal(rekey_some(s->sync, &rest_ms), 0);
	}
	assert_false(rekey_is_due(f->a.sync) || rekey_is_due(f->b.sync));
	sync_ok(&f->a);
	sync_ok(&f->b);
	assert_all_is_new(&f->a);
	assert_same_tree(&f->a, &f->b);
	assert_int_equal(message_count(&f->a, "conflict") + message_count(&f->b, "conflict"), 0);
	assert_store_is_whole(f, &f->a);
}

/* The first half of a batch by hand, so that something can happen before the second; to be ended. */
static void
find_batch(struct side *s, struct rekey_batch *b)
{
	b->r = s->sync->rekey;
	pthread_mutex_lock(&s->sync->round);
	b->r->has_epoch = true;
	assert_int_equal(keyring_current(s->v->keys, &b->r->epoch), 0);
	assert_int_equal(rekey_count(b->r), 0);
	assert_int_equal(rekey_find(b), 0);
}

static void
end_batch(struct side *s, struct rekey_batch *b)
{
	pthread_mutex_unlock(&s->sync->round);
	rekey_batch_clear(b);
}

/* Between two batches of one device, prepared before, the other's commit comes. */
static void
a_batch_that_comes_late_gives_way(void **state)
{
	struct fixture *f = *state;
	struct rekey_batch b = { .r = NULL };

	make_content(&f->a);
	join_side(f, &f->b);
	lose_a_device(f, &f->a);
	sync_ok(&f->b);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	find_batch(&f->a, &b);
	assert_true(b.count > 0);
	rekey_ok(&f->b);
	assert_int_equal(rekey_seal(&b), 0);
	assert_int_equal(b.r->done, 0);
	end_batch(&f->a, &b);
	assert_int_equal(run(&f->a).bytes, 0);
	sync_ok(&f->b);
	assert_all_is_new(&f->a);
	assert_same_tree(&f->a, &f->b);
	sync_ok(&f->a);
}

/* Another part of the file has been edited, and with that the file has got a key of the same number. */
static void
what_was_sealed_under_a_key_that_is_another_one_by_now_is_sealed_again(void **state)
{
	struct fixture *f = *state;
	struct rekey_batch b = { .r = NULL };

	make_random(&f->a, INODE_ROOT, "large", 3 * MIB);
	sync_ok(&f->a);
	join_side(f, &f->b);
	lose_a_device(f, &f->a);
	sync_ok(&f->b);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	f->a.sync->rekey->batch_len = 8 * MIB;
	find_batch(&f->a, &b);
	assert_int_equal(b.count, 3);
	write_at(&f->b, lookup(&f->b, INODE_ROOT, "large"), 2 * MIB + 5, "edited", 6);
	sync_ok(&f->b);
	assert_int_equal(rekey_seal(&b), 0);
	assert_int_equal(b.r->done, 0);
	assert_int_equal(b.r->busy, 3);
	end_batch(&f->a, &b);
	run(&f->a);
	sync_ok(&f->b);
	assert_all_is_new(&f->a);
	assert_same_tree(&f->a, &f->b);
}

/* Stops it at its nth request for good, starts again, and looks whether all is well. */
static bool
cut_short(struct fixture *f, enum store_fault_kind kind, unsigned n)
{
	const struct rekey_options o = { 0 };
	struct rekey_report r;
	struct sync_status st;
	err_t err;

	lose_a_device(f, &f->a);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	fault(&f->a, (struct store_fault_rule){ .kind = kind, .ops = STORE_OP_ALL, .skip = n, .error = -EACCES });
	f->a.sync->rekey->batch_len = 300000;
	err = rekey_run(f->a.sync, &o, &r);
	reopen_side(&f->a, f->store);
	sync_get_status(f->a.sync, &st);
	assert_int_equal(st.rekey, err != 0);
	if (n % 2 == 0)
		sync_ok(&f->b); /* between the commit and what follows */
	run(&f->a);
	sync_ok(&f->a);
	assert_all_is_new(&f->a);
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
	return err != 0;
}

static void
it_goes_on_wherever_it_was_cut_short(void **state)
{
	struct fixture *f = *state;
	struct segments was;
	unsigned n = 0;

	make_random(&f->a, INODE_ROOT, "one", 700000);
	make_random(&f->a, INODE_ROOT, "two", 300000);
	make_text(&f->a, "three", "three");
	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	while (cut_short(f, STORE_FAULT_BEFORE, n))
		n++;
	assert_true(n > 8);
	for (unsigned k = 0; k < n; k++)
		(void)cut_short(f, STORE_FAULT_AFTER, k);
	was = note_segments(f, &f->a);
	lose_a_device(f, &f->a);
	rekey_ok(&f->a);
	collect_all(&f->a);
	assert_gone(&was);
	assert_store_is_whole(f, &f->a);
}

static uint64_t
disk_usage(struct side *s)
{
	uint64_t bytes = 0;

	assert_int_equal(segstore_usage(s->v->segments, &bytes), 0);
	return bytes;
}

static void
what_is_in_the_store_alone_comes_and_goes_again_and_what_is_here_stays_here(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	make_random(&f->a, INODE_ROOT, "large", 20 * MIB);
	sync_ok(&f->a);
	join_side(f, &f->b);
	lose_a_device(f, &f->a);
	before = disk_usage(&f->a);
	rekey_ok(&f->a);
	assert_true(disk_usage(&f->a) > 20 * MIB);
	assert_true(disk_usage(&f->a) < before + 10 * MIB);
	assert_all_is_new(&f->a);
	lose_a_device(f, &f->a);
	sync_ok(&f->b);
	assert_true(disk_usage(&f->b) < MIB);
	assert_true(rekey_ok(&f->b).bytes > 20 * MIB);
	assert_true(disk_usage(&f->b) < MIB);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
}

static void
segments_that_are_left_behind_leave_the_disk_together(void **state)
{
	struct fixture *f = *state;

	for (unsigned k = 0; k < 5; k++) {
		char name[16];

		snprintf(name, sizeof(name), "file %u", k);
		make_random(&f->a, INODE_ROOT, name, 10000);
		sync_ok(&f->a);
	}
	lose_a_device(f, &f->a);
	drop_calls = 0;
	dropped = 0;
	rekey_ok(&f->a);
	assert_int_equal(dropped, 5);
	assert_int_equal(drop_calls, 1);
}

static void
what_is_damaged_is_left_and_told_and_all_else_is_done(void **state)
{
	struct fixture *f = *state;
	struct rekey_report r;

	make_random(&f->a, INODE_ROOT, "damaged", 300000);
	sync_ok(&f->a);
	shell("cd '%s' && find s -type f > ../damaged", f->store);
	make_random(&f->a, INODE_ROOT, "whole", 300000);
	sync_ok(&f->a);
	join_side(f, &f->b);
	lose_a_device(f, &f->b);
	shell("cd '%s' && for o in $(cat ../damaged); do dd if=/dev/urandom of=$o bs=1000 count=300 conv=notrunc status=none; done",
	    f->store);
	r = rekey_ok(&f->b);
	assert_int_equal(r.damaged, 1);
	assert_true(r.bytes >= 300000);
	assert_int_equal(message_count(&f->b, "damaged"), 1);
	assert_int_equal(look(&f->b).old, 1);
}

static void
the_thread_does_it_by_itself(void **state)
{
	struct fixture *f = *state;

	make_content(&f->a);
	join_side(f, &f->b);
	lose_a_device(f, &f->a);
	assert_int_equal(sync_start(f->a.sync), 0);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	AWAIT(!status_of(&f->a).rekey);
	sync_stop(f->a.sync);
	assert_all_is_new(&f->a);
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
}

static bool
not_any_more(void *ctx, uint64_t done, uint64_t total)
{
	struct sync *s = ctx;

	(void)done;
	return total == 0 || s == NULL;
}

static void
it_can_be_left_and_given_up(void **state)
{
	struct fixture *f = *state;
	struct rekey_options o = { .progress = not_any_more, .ctx = f->a.sync };
	struct rekey_report r;
	struct sync_status st;

	make_content(&f->a);
	lose_a_device(f, &f->a);
	assert_int_equal(rekey_begin(f->a.sync), 0);
	assert_int_equal(rekey_run(f->a.sync, &o, &r), -ECANCELED);
	sync_get_status(f->a.sync, &st);
	assert_true(st.rekey);
	assert_true(st.rekey_total > 3 * MIB);
	reopen_side(&f->a, f->store);
	sync_get_status(f->a.sync, &st);
	assert_true(st.rekey);
	assert_int_equal(rekey_stop(f->a.sync), 0);
	reopen_side(&f->a, f->store);
	sync_get_status(f->a.sync, &st);
	assert_false(st.rekey);
	assert_int_equal(run(&f->a).bytes, 0);
	assert_true(look(&f->a).old > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_is_under_new_keys_and_the_old_ones_open_nothing_of_the_newest_state),
		TEST(what_was_overwritten_in_its_middle_is_counted_once),
		TEST(without_a_removal_there_is_nothing_to_do),
		TEST(what_others_edit_rename_and_delete_meanwhile_wins),
		TEST(an_edit_here_while_it_runs_is_kept_and_taken_along),
		TEST(what_is_busy_for_long_is_looked_at_less_and_less_often),
		TEST(two_that_do_it_at_once_get_in_nobody_s_way),
		TEST(a_batch_that_comes_late_gives_way),
		TEST(what_was_sealed_under_a_key_that_is_another_one_by_now_is_sealed_again),
		TEST(it_goes_on_wherever_it_was_cut_short),
		TEST(what_is_in_the_store_alone_comes_and_goes_again_and_what_is_here_stays_here),
		TEST(segments_that_are_left_behind_leave_the_disk_together),
		TEST(what_is_damaged_is_left_and_told_and_all_else_is_done),
		TEST(the_thread_does_it_by_itself),
		TEST(it_can_be_left_and_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
