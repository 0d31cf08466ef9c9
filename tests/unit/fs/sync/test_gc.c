/* Collecting garbage: what nobody needs goes, and nothing else, whoever is away, whatever fails in between. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gc.h"
#include "gc_internal.h"
#include "sides.h"

#define DAY_S 86400

void __real_merge_conflict_name(const char *name, const char *device, time_t now, unsigned n, char out[static NAME_LEN_MAX + 1]);
void __wrap_merge_conflict_name(const char *name, const char *device, time_t now, unsigned n, char out[static NAME_LEN_MAX + 1]);

/* It is the same day all the time, also at midnight. */
void
__wrap_merge_conflict_name(const char *name, const char *device, time_t now, unsigned n, char out[static NAME_LEN_MAX + 1])
{
	(void)now;
	__real_merge_conflict_name(name, device, DAY_S, n, out);
}

/* As if nothing had been pointed into for that much longer already. */
static err_t
make_older(void *ctx, const struct segment *seg)
{
	struct segment **at = ctx;

	if (seg->kind == SEGMENT_SETTLED && (seg->dead_since != 0 || seg->sparse_since != 0))
		*(*at)++ = *seg;
	return 0;
}

static void
let_days_pass(struct side *s, int days)
{
	struct segment v[200], *end = v;

	assert_int_equal(meta_segment_scan(s->v->meta, false, make_older, &end), 0);
	meta_lock(s->v->meta);
	for (struct segment *seg = v; seg < end; seg++) {
		seg->dead_since -= seg->dead_since != 0 ? (uint64_t)(days * (int64_t)DAY_S) : 0;
		seg->sparse_since -= seg->sparse_since != 0 ? (uint64_t)(days * (int64_t)DAY_S) : 0;
		assert_int_equal(meta_segment_put(s->v->meta, seg), 0);
	}
	meta_unlock(s->v->meta);
}

/* As if all that is remembered of times had been noted by another clock, which was ahead of today's by so much. */
static void
let_clock_leap(struct side *s, int days)
{
	struct gc g = { .s = s->sync };

	let_days_pass(s, -days);
	assert_int_equal(gc_state_load(&g), 0);
	g.last_s += (uint64_t)(days * (int64_t)DAY_S);
	assert_int_equal(gc_state_save(&g), 0);
	gc_clear(&g);
}

/* As if what nothing refers to had been seen so much earlier. */
static void
let_days_pass_for_strangers(struct side *s, unsigned days)
{
	struct gc g = { .s = s->sync };
	struct gc_stranger *t, *next;

	assert_int_equal(gc_state_load(&g), 0);
	HASH_ITER (hh, g.strangers, t, next)
		t->since -= days * (uint64_t)DAY_S;
	assert_int_equal(gc_state_save(&g), 0);
	gc_clear(&g);
}

static void
what_was_deleted_goes_when_history_is_over_and_not_before(void **state)
{
	struct fixture *f = *state;
	struct gc_report r;

	make_random(&f->a, INODE_ROOT, "stays", 200000);
	sync_ok(&f->a);
	make_random(&f->a, INODE_ROOT, "goes", 3 << 20);
	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	remove_file(&f->a, "goes");
	sync_ok(&f->a);
	assert_int_equal(count_objects(f, "s"), 2);
	r = collect_ok(&f->a, 30 * DAY_S, false);
	assert_int_equal(r.history.objects, 1);
	assert_true(r.history.bytes > 3 << 20);
	assert_int_equal(r.dead.objects, 0);
	let_days_pass(&f->a, 29);
	assert_int_equal(collect_ok(&f->a, 30 * DAY_S, true).dead.objects, 0);
	assert_int_equal(count_objects(f, "s"), 2);
	let_days_pass(&f->a, 2);
	r = collect_ok(&f->a, 30 * DAY_S, false);
	assert_int_equal(r.dead.objects, 1);
	assert_int_equal(count_objects(f, "s"), 1);
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
	assert_store_is_whole(f, &f->a);
}

static void
a_clock_that_was_wrong_for_a_while_ends_no_history(void **state)
{
	static const int leaps[] = { 3650, -3650, -10950, 10950 }; /* each is taken back */
	struct fixture *f = *state;
	struct gc_report r;

	make_random(&f->a, INODE_ROOT, "goes", 3 << 20);
	sync_ok(&f->a);
	remove_file(&f->a, "goes");
	sync_ok(&f->a);
	r = collect_ok(&f->a, 30 * DAY_S, false);
	assert_int_equal(r.history.objects, 1);
	for (size_t k = 0; k < ARRAY_LEN(leaps); k++) {
		for (int back = 0; back < 2; back++) {
			let_clock_leap(&f->a, back ? -leaps[k] : leaps[k]);
			r = collect_ok(&f->a, 30 * DAY_S, false);
			assert_int_equal(r.dead.objects, 0);
			assert_int_equal(r.history.objects, 1);
		}
	}
	/* The right time is believed soon, whatever it was before. */
	let_clock_leap(&f->a, 3650);
	(void)collect_ok(&f->a, 30 * DAY_S, false);
	(void)collect_ok(&f->a, 30 * DAY_S, false);
	let_days_pass(&f->a, 31);
	r = collect_ok(&f->a, 30 * DAY_S, false);
	assert_int_equal(r.dead.objects, 1);
	assert_int_equal(count_objects(f, "s"), 0);
}

static void
a_dry_run_says_what_would_be_done_and_does_nothing(void **state)
{
	struct fixture *f = *state;
	const struct gc_options o = { .keep_s = 0, .dry_run = true };
	struct gc_report r;
	uint64_t head;

	make_random(&f->a, INODE_ROOT, "goes", 3 << 20);
	sync_ok(&f->a);
	remove_file(&f->a, "goes");
	sync_ok(&f->a);
	head = head_of(&f->a);
	assert_int_equal(gc_run(f->a.sync, &o, &r), 0);
	assert_int_equal(r.dead.objects, 1);
	assert_int_equal(count_objects(f, "s"), 1);
	assert_int_equal(head_of(&f->a), head);
}

static void
a_collection_that_nobody_has_asked_for_waits_where_nothing_is_to_happen_by_itself(void **state)
{
	struct fixture *f = *state;
	struct gc_options o = { .keep_s = 0, .by_itself = true };
	struct gc_report r;

	make_random(&f->a, INODE_ROOT, "goes", 3 << 20);
	sync_ok(&f->a);
	remove_file(&f->a, "goes");
	sync_ok(&f->a);
	sync_set_network(f->a.sync, SYNC_NETWORK_METERED);
	assert_int_equal(gc_run(f->a.sync, &o, &r), -ECANCELED);
	assert_int_equal(count_objects(f, "s"), 1);
	o.by_itself = false;
	assert_int_equal(gc_run(f->a.sync, &o, &r), 0);
	assert_int_equal(r.dead.objects, 1);
}

static void
an_orphan_goes_at_once_only_if_that_is_asked_for(void **state)
{
	struct fixture *f = *state;

	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	shell("mkdir -p '%s/s/ab' && head -c 4096 /dev/urandom > '%s/s/ab/abababababababababababababababab'", f->store, f->store);
	assert_int_equal(collect_ok(&f->a, 0, false).waiting.objects, 1);
	assert_int_equal(collect_ok(&f->a, 0, false).waiting.objects, 1);
	assert_int_equal(count_objects(f, "s"), 2);
	assert_int_equal(collect_ok(&f->a, 30 * DAY_S, true).orphans.objects, 1);
	assert_int_equal(count_objects(f, "s"), 1);
	assert_store_is_whole(f, &f->a);
}

static void
an_orphan_that_was_seen_while_the_clock_was_ahead_does_not_stay_for_ever(void **state)
{
	struct fixture *f = *state;

	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	(void)collect_ok(&f->a, 30 * DAY_S, false);
	shell("mkdir -p '%s/s/ab' && head -c 4096 /dev/urandom > '%s/s/ab/abababababababababababababababab'", f->store, f->store);
	let_clock_leap(&f->a, 10950);
	for (int k = 0; k < 3; k++)
		assert_int_equal(collect_ok(&f->a, 30 * DAY_S, false).waiting.objects, 1);
	let_days_pass_for_strangers(&f->a, 8);
	assert_int_equal(collect_ok(&f->a, 30 * DAY_S, false).orphans.objects, 1);
	assert_int_equal(count_objects(f, "s"), 1);
	assert_store_is_whole(f, &f->a);
}

/* Files in one segment, most of which are removed then. */
static void
make_sparse(struct fixture *f)
{
	char name[16];

	for (int k = 0; k < 20; k++) {
		snprintf(name, sizeof(name), "file %02d", k);
		make_random(&f->a, INODE_ROOT, name, 200000);
	}
	sync_ok(&f->a);
	for (int k = 0; k < 20; k++) {
		snprintf(name, sizeof(name), "file %02d", k);
		if (k != 3 && k != 17)
			remove_file(&f->a, name);
	}
	sync_ok(&f->a);
}

static void
what_is_left_in_a_sparse_segment_is_moved_and_nobody_sees_it(void **state)
{
	struct fixture *f = *state;
	struct gc_report r;
	uint64_t head;

	make_sparse(f);
	join_side(f, &f->b);
	sync_ok(&f->a);
	r = collect_ok(&f->a, 30 * DAY_S, false);
	assert_int_equal(r.sparse.objects, 1);
	assert_int_equal(r.moved.objects, 0);
	head = head_of(&f->a);
	/* An edit of one of the files, elsewhere, is not lost and conflicts with nothing. */
	write_at(&f->b, lookup(&f->b, INODE_ROOT, "file 03"), 100000, "edited", 6);
	r = collect_ok(&f->a, 0, false);
	assert_int_equal(r.moved.objects, 1);
	assert_int_equal(r.dead.objects, 1);
	assert_int_equal(count_objects(f, "s"), 1);
	assert_true(head_of(&f->a) > head);
	assert_int_equal(f->a.v->meta != NULL, 1);
	sync_ok(&f->b);
	assert_int_equal(message_count(&f->b, "conflict"), 0);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	assert_store_is_whole(f, &f->a);
	assert_int_equal(collect_ok(&f->a, 0, false).moved.objects, 0);
}

/* B has changed a bit of a file, of which it has no more than that bit, while others have written it anew. */
static void
what_a_copy_of_a_file_still_needs_is_saved_from_a_collector(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_random(&f->a, INODE_ROOT, "file", 3 << 20);
	uint8_t before[1000], after[1000];
	struct stat st;
	size_t n;

	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	assert_int_equal(vfs_read(f->a.fs, ino, 2500000, sizeof(before), before, &n), 0);
	write_at(&f->b, lookup(&f->b, INODE_ROOT, "file"), 10, "of B", 4);
	st.st_size = 0;
	assert_int_equal(vfs_setattr(f->a.fs, ino, &st, VFS_SET_SIZE, &st), 0);
	write_at(&f->a, ino, 0, "of A", 4);
	sync_ok(&f->a);
	assert_int_equal(collect_ok(&f->a, 30 * DAY_S, false).history.objects, 1);
	/* The drop is in the chain; the object is not deleted yet. */
	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_REMOVE, .error = -EACCES });
	let_days_pass(&f->a, 31);
	{
		const struct gc_options o = { .keep_s = 30 * DAY_S };
		struct gc_report r;

		assert_int_equal(gc_run(f->a.sync, &o, &r), -EACCES);
		assert_true(strlen(r.why) > 10);
	}
	sync_ok(&f->b);
	no_fault(&f->a);
	assert_int_equal(collect_ok(&f->a, 30 * DAY_S, false).leftovers.objects, 1);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	assert_store_is_whole(f, &f->a);
	shell("ls '%s/s' > /dev/null", f->store);
	{
		char name[NAME_LEN_MAX + 1];

		merge_conflict_name("file", "beta", 0, 1, name);
		assert_int_not_equal(lookup(&f->a, INODE_ROOT, name), 0);
		assert_int_equal(vfs_read(f->a.fs, lookup(&f->a, INODE_ROOT, name), 2500000, sizeof(after), after, &n), 0);
		assert_memory_equal(before, after, sizeof(before));
	}
}

static void
what_can_not_be_saved_from_a_collector_stays_here_and_is_told_once_and_all_else_is_synced(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_random(&f->a, INODE_ROOT, "file", 3 << 20);
	char name[NAME_LEN_MAX + 1];
	uint8_t buf[4];
	size_t n;

	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	write_at(&f->b, ino, 10, "of B", 4);
	write_anew(&f->a, ino, "of A");
	assert_int_equal(collect_ok(&f->a, 0, true).dead.objects, 1);
	merge_conflict_name("file", "beta", 0, 1, name);
	for (unsigned k = 0; k < 3; k++) {
		char other[8];

		snprintf(other, sizeof(other), "other%u", k);
		make_text(&f->b, other, "text");
		sync_fails(&f->b, -EIO);
		sync_ok(&f->a);
		assert_text(&f->a, other, "text");
		assert_int_equal(lookup(&f->a, INODE_ROOT, name), 0);
		assert_text(&f->b, "file", "of A");
		assert_int_equal(message_count(&f->b, "deleted from the store"), 1);
		assert_int_equal(message_count(&f->b, name), 2);
		assert_int_equal(vfs_read(f->b.fs, lookup(&f->b, INODE_ROOT, name), 10, 4, buf, &n), 0);
		assert_memory_equal(buf, "of B", 4);
		reopen_side(&f->b, f->store);
	}
	remove_file(&f->b, name);
	sync_ok(&f->b);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
}

static void
of_bases_the_newest_stay_and_who_joins_needs_no_other(void **state)
{
	struct fixture *f = *state;
	char name[32];

	for (int round = 0; round < 4; round++) {
		for (int k = 0; k < 100; k++) {
			snprintf(name, sizeof(name), "%d-%d", round, k);
			make_file(&f->a, INODE_ROOT, name, NULL, 0);
		}
		f->a.v->tail_size += 64 << 20; /* a base is due */
		sync_ok(&f->a);
	}
	assert_int_equal(count_objects(f, "b"), 4);
	assert_int_equal(collect_ok(&f->a, 30 * DAY_S, false).bases.objects, 0);
	assert_int_equal(collect_ok(&f->a, 0, false).bases.objects > 0, 1);
	assert_int_equal(count_objects(f, "b"), 2);
	assert_store_is_whole(f, &f->a);
	/* What a device that began with a base finds is history or orphan: it reads the older commits to know. */
	join_side(f, &f->b);
	assert_int_equal(collect_ok(&f->b, 0, true).orphans.objects, 0);
	assert_store_is_whole(f, &f->b);
}

static void
leave_box(struct side *s, uint32_t epoch)
{
	uint8_t data[4096] = { 1, 4, 1 };
	char name[CHAIN_NAME_MAX];

	assert_int_equal(chain_write_box(s->sync->chain, epoch, data, sizeof(data), name), 0);
}

static void
a_key_box_that_no_statement_names_goes_when_nobody_can_name_it_any_more(void **state)
{
	struct fixture *f = *state;
	struct gc_report r;

	make_text(&f->a, "one", "text");
	sync_ok(&f->a);
	leave_box(&f->a, 0); /* of an invitation */
	leave_box(&f->a, 1); /* of an epoch */
	r = collect_ok(&f->a, 30 * DAY_S, false);
	assert_int_equal(r.waiting.objects, 2);
	/* Whoever made them may be about to commit. */
	let_days_pass_for_strangers(&f->a, 8);
	r = collect_ok(&f->a, 30 * DAY_S, true);
	assert_int_equal(r.boxes.objects, 0);
	assert_int_equal(r.waiting.objects, 2);
	make_text(&f->a, "two", "text");
	sync_ok(&f->a);
	leave_box(&f->a, 0);
	r = collect_ok(&f->a, 30 * DAY_S, false);
	assert_int_equal(r.boxes.objects, 2);
	assert_int_equal(r.boxes.bytes, 2 * 4096);
	assert_int_equal(r.waiting.objects, 1); /* the one that is new */
	assert_int_equal(count_objects(f, "k"), 2);
	make_text(&f->a, "three", "text");
	sync_ok(&f->a);
	assert_int_equal(collect_ok(&f->a, 30 * DAY_S, false).boxes.objects, 0);
	let_days_pass_for_strangers(&f->a, 6);
	assert_int_equal(collect_ok(&f->a, 30 * DAY_S, false).boxes.objects, 0);
	let_days_pass_for_strangers(&f->a, 2);
	assert_int_equal(collect_ok(&f->a, 30 * DAY_S, false).boxes.objects, 1);
	assert_int_equal(count_objects(f, "k"), 1);
	assert_store_is_whole(f, &f->a);
}

static void
a_device_that_began_with_a_base_knows_history_from_orphans(void **state)
{
	struct fixture *f = *state;

	make_random(&f->a, INODE_ROOT, "goes", 300000);
	sync_ok(&f->a);
	make_text(&f->a, "stays", "text");
	sync_ok(&f->a);
	remove_file(&f->a, "goes");
	make_text(&f->a, "more", "more");
	f->a.v->tail_size += 64 << 20;
	sync_ok(&f->a);
	assert_int_equal(count_objects(f, "b"), 1);
	join_side(f, &f->b);
	shell("mkdir -p '%s/s/ab' && head -c 4096 /dev/urandom > '%s/s/ab/abababababababababababababababab'", f->store, f->store);
	assert_int_equal(collect_ok(&f->b, 30 * DAY_S, true).orphans.objects, 1);
	assert_int_equal(collect_ok(&f->b, 30 * DAY_S, true).history.objects, 1);
	assert_int_equal(collect_ok(&f->b, 0, true).dead.objects, 1);
	assert_store_is_whole(f, &f->a);
}

/* A store that shows so many objects that nobody has ever put there, before those that it has. */
#define INVENTED (GC_STRANGERS_MAX + 100)

static struct store_ops lying;
static const struct store_ops *honest;

static err_t
list_inventions(struct store *s, const char *prefix, store_item_fn *fn, void *ctx)
{
	err_t err = 0;

	for (unsigned k = 0; err == 0 && strcmp(prefix, "s/") == 0 && k < INVENTED; k++) {
		char name[CHAIN_NAME_MAX];

		snprintf(name, sizeof(name), "s/ab/ab%030x", k);
		err = fn(ctx, &(struct store_item){ .name = name, .size = 4096 });
	}
	return err != 0 ? err : honest->list(s, prefix, fn, ctx);
}

static void
begin_to_lie(struct side *s)
{
	honest = s->fault->ops;
	lying = *honest;
	lying.list = list_inventions;
	s->fault->ops = &lying;
}

static void
end_lying(struct side *s)
{
	s->fault->ops = honest;
}

static unsigned
count_strangers(struct side *s)
{
	struct gc g = { .s = s->sync };
	unsigned count;

	assert_int_equal(gc_state_load(&g), 0);
	count = HASH_COUNT(g.strangers);
	gc_clear(&g);
	return count;
}

static void
a_store_that_invents_objects_without_end_takes_no_more_memory_than_for_some(void **state)
{
	struct fixture *f = *state;
	struct gc_report r;

	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	begin_to_lie(&f->a);
	for (int k = 0; k < 2; k++) {
		r = collect_ok(&f->a, 30 * DAY_S, false);
		assert_true(r.crowded);
		assert_int_equal(r.store.objects, INVENTED + 1);
		assert_int_equal(r.waiting.objects, GC_STRANGERS_MAX);
		assert_int_equal(count_strangers(&f->a), GC_STRANGERS_MAX);
	}
	end_lying(&f->a);
	r = collect_ok(&f->a, 30 * DAY_S, false);
	assert_false(r.crowded);
	assert_int_equal(r.waiting.objects, 0);
	assert_int_equal(count_strangers(&f->a), 0);
}

static void
what_found_no_room_among_inventions_is_known_from_orphans_by_another_run(void **state)
{
	struct fixture *f = *state;
	struct gc_report r;

	make_random(&f->a, INODE_ROOT, "goes", 300000);
	sync_ok(&f->a);
	make_text(&f->a, "stays", "text");
	sync_ok(&f->a);
	remove_file(&f->a, "goes");
	make_text(&f->a, "more", "more");
	f->a.v->tail_size += 64 << 20;
	sync_ok(&f->a);
	assert_int_equal(count_objects(f, "b"), 1);
	join_side(f, &f->b);
	begin_to_lie(&f->b);
	r = collect_ok(&f->b, 30 * DAY_S, true);
	assert_true(r.crowded);
	assert_int_equal(r.orphans.objects, GC_STRANGERS_MAX);
	assert_int_equal(r.history.objects, 0);
	end_lying(&f->b);
	assert_int_equal(collect_ok(&f->b, 30 * DAY_S, true).orphans.objects, 0);
	assert_int_equal(collect_ok(&f->b, 30 * DAY_S, true).history.objects, 1);
	assert_store_is_whole(f, &f->a);
}

/* Stops a collection at its nth request for good, starts again, and looks whether all is well. */
static bool
cut_short(struct fixture *f, enum store_fault_kind kind, unsigned n)
{
	const struct gc_options o = { .keep_s = 0, .now = true };
	struct gc_report r;
	err_t err;

	make_sparse(f);
	fault(&f->a, (struct store_fault_rule){ .kind = kind, .ops = STORE_OP_ALL, .skip = n, .error = -EACCES });
	err = gc_run(f->a.sync, &o, &r);
	reopen_side(&f->a, f->store);
	if (n % 2 == 0)
		sync_ok(&f->b); /* between the commit and what follows */
	collect_ok(&f->a, 0, true);
	collect_ok(&f->a, 0, true);
	r = collect_ok(&f->a, 0, true);
	assert_int_equal(r.dead.objects + r.orphans.objects + r.waiting.objects + r.history.objects + r.sparse.objects, 0);
	assert_int_equal(r.store.objects, count_objects(f, "s"));
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
	assert_true(count_objects(f, "s") <= 4);
	remove_file(&f->a, "file 03");
	remove_file(&f->a, "file 17");
	return err != 0;
}

static void
a_collection_that_is_cut_short_anywhere_loses_nothing_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;

	make_text(&f->a, "hello", "hello");
	sync_ok(&f->a);
	join_side(f, &f->b);
	while (cut_short(f, STORE_FAULT_BEFORE, n))
		n++;
	assert_true(n > 8);
	for (unsigned k = 0; k < n; k++)
		(void)cut_short(f, STORE_FAULT_AFTER, k);
	sync_ok(&f->a);
	assert_store_is_whole(f, &f->a);
}

/* Two that do anything, and collect at any time, with histories of no length. */

static uint64_t random_state = 7;

static uint32_t
rnd(uint32_t below)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * UINT64_C(2685821657736338717)) >> 33) % below;
}

static void
do_anything(struct side *s)
{
	char name[16], other[16];
	uint64_t ino;

	snprintf(name, sizeof(name), "f%u", rnd(12));
	snprintf(other, sizeof(other), "f%u", rnd(12));
	ino = lookup(s, INODE_ROOT, name);
	if (ino == 0)
		make_random(s, INODE_ROOT, name, 1 + rnd(200000));
	else if (rnd(3) == 0)
		remove_file(s, name);
	else if (rnd(3) == 0)
		assert_int_equal(vfs_rename(s->fs, INODE_ROOT, name, INODE_ROOT, other, 0), 0);
	else
		write_at(s, ino, rnd(250000), "0123456789", 10);
}

/* With no history kept, what others have changed and not synced must have come to the chain first. */
static void
collect_sometime(struct fixture *f, struct side *s)
{
	if (rnd(2)) {
		collect_ok(s, DAY_S, rnd(4) == 0);
		return;
	}
	sync_ok(s == &f->a ? &f->b : &f->a);
	do_anything(s);
	collect_ok(s, 0, rnd(4) == 0);
}

static void
devices_that_do_anything_and_collect_at_any_time_lose_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned steps = getenv("STEPS") != NULL ? (unsigned)atoi(getenv("STEPS")) : 250;

	make_text(&f->a, "hello", "hello");
	sync_ok(&f->a);
	join_side(f, &f->b);
	for (unsigned k = 0; k < steps; k++) {
		struct side *s = rnd(2) ? &f->a : &f->b;
		uint32_t what = rnd(20);

		if (what < 12)
			do_anything(s);
		else if (what < 17)
			sync_ok(s);
		else if (what < 19)
			collect_sometime(f, s);
		else
			reopen_side(s, f->store);
	}
	sync_ok(&f->a);
	sync_ok(&f->b);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	for (int k = 0; k < 3; k++)
		collect_ok(&f->b, 0, true);
	assert_int_equal(collect_ok(&f->b, 0, true).dead.objects, 0);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	assert_store_is_whole(f, &f->a);
}

static void
how_long_history_is_kept_is_remembered(void **state)
{
	struct fixture *f = *state;
	int64_t keep;

	assert_int_equal(gc_get_keep(f->a.sync, &keep), 0);
	assert_int_equal(keep, GC_KEEP_DEFAULT_S);
	assert_int_equal(gc_set_keep(f->a.sync, -1), -EINVAL);
	assert_int_equal(gc_set_keep(f->a.sync, 5 * DAY_S), 0);
	reopen_side(&f->a, f->store);
	assert_int_equal(gc_get_keep(f->a.sync, &keep), 0);
	assert_int_equal(keep, 5 * DAY_S);
	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	assert_int_equal(collect_ok(&f->a, -1, false).keep_s, 5 * DAY_S);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_deleted_goes_when_history_is_over_and_not_before),
		TEST(a_clock_that_was_wrong_for_a_while_ends_no_history),
		TEST(a_dry_run_says_what_would_be_done_and_does_nothing),
		TEST(a_collection_that_nobody_has_asked_for_waits_where_nothing_is_to_happen_by_itself),
		TEST(an_orphan_goes_at_once_only_if_that_is_asked_for),
		TEST(an_orphan_that_was_seen_while_the_clock_was_ahead_does_not_stay_for_ever),
		TEST(what_is_left_in_a_sparse_segment_is_moved_and_nobody_sees_it),
		TEST(what_a_copy_of_a_file_still_needs_is_saved_from_a_collector),
		TEST(what_can_not_be_saved_from_a_collector_stays_here_and_is_told_once_and_all_else_is_synced),
		TEST(of_bases_the_newest_stay_and_who_joins_needs_no_other),
		TEST(a_key_box_that_no_statement_names_goes_when_nobody_can_name_it_any_more),
		TEST(a_device_that_began_with_a_base_knows_history_from_orphans),
		TEST(a_store_that_invents_objects_without_end_takes_no_more_memory_than_for_some),
		TEST(what_found_no_room_among_inventions_is_known_from_orphans_by_another_run),
		TEST(a_collection_that_is_cut_short_anywhere_loses_nothing_and_leaves_nothing),
		TEST(devices_that_do_anything_and_collect_at_any_time_lose_nothing),
		TEST(how_long_history_is_kept_is_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
