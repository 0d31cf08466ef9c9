/* Sealing anew what a removed device has the keys of: all of it, wherever it is, and whatever it is cut short by. */
#include "rekey_fixture.h"

#include <errno.h>
#include <unistd.h>

#include "../../await.h"

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
		TEST(it_goes_on_wherever_it_was_cut_short),
		TEST(what_is_in_the_store_alone_comes_and_goes_again_and_what_is_here_stays_here),
		TEST(segments_that_are_left_behind_leave_the_disk_together),
		TEST(what_is_damaged_is_left_and_told_and_all_else_is_done),
		TEST(the_thread_does_it_by_itself),
		TEST(it_can_be_left_and_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
