/*
 * Power cuts of a computer that syncs.  A workload runs on one device, with a real store and a second device that changes things
 * at the same time.  What a cut leaves of the first, together with the store as it was at that moment, must open as a prefix of
 * history, sync without a complaint, and then show the same tree as a device that has only seen the store.
 *
 * SNUGFS_CRASH_SEEDS, SNUGFS_CRASH_FIRST and SNUGFS_CRASH_CUTS (per seed) ask for more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "depot.h"
#include "place.h"
#include "secmem.h"
#include "shared.h"
#include "shelf.h"
#include "steps.h"
#include "sync.h"
#include "verify.h"

#define STEPS 90
#define BASE_IS_DUE (8u << 20) /* as many bytes behind the last base make the next push write one */

static const struct vfs_caller ME = {.uid = 1000, .gid = 1000, .umask = 022};
static uint8_t recovery[RECOVERY_KEY_LEN];

enum maker { FIRST, SECOND };

/* The device with the workload, as work.h's remote. */
struct first {
	struct shelf *shelf;
	struct sync *sync;
};

static err_t
attach(struct work *w)
{
	struct first *f = w->remote_ctx;

	return sync_new(w->vault, shelf_open(f->shelf), &f->sync);
}

static void
detach(struct work *w)
{
	struct first *f = w->remote_ctx;

	sync_free(f->sync);
	f->sync = NULL;
}

static err_t
push(struct work *w)
{
	struct first *f = w->remote_ctx;
	err_t e;

	if (rng_chance(&w->rng, 30) && w->vault->has_head)
		w->vault->tail_size = BASE_IS_DUE;
	f->shelf->maker = FIRST;
	work_about_to_change(w); /* what comes from the other is one change: it is applied all at once */
	e = sync_once(f->sync);
	work_note_version(w);
	return e;
}

static const struct work_remote REMOTE = {attach, detach, push};

/* A device. */
struct device {
	struct vault *vault;
	struct vfs *vfs;
	struct sync *sync;
};

static err_t
device_open(struct device *d, const char *dir, struct store *store)
{
	*d = (struct device){.vault = NULL};

	err_t e = vault_open(dir, &WORK_PLAIN, &d->vault);

	if (!e)
		e = vfs_new(d->vault->meta, d->vault->content, d->vault->lookups, dir, &d->vfs);
	if (!e)
		e = vfs_reap_orphans(d->vfs);
	if (!e)
		e = sync_new(d->vault, store, &d->sync);
	if (e)
		store_free(store);
	return e;
}

static err_t
device_close(struct device *d)
{
	sync_free(d->sync);
	vfs_free(d->vfs);
	return vault_close(d->vault);
}

static void
join(const char *dir, const char *store_dir)
{
	struct vault_create_params p = {.dir = dir, .device_name = "second", .remote_url = store_dir, .lock = WORK_PLAIN};
	struct store *store;
	char *why = NULL;

	assert_int_equal(store_open(store_dir, true, &store, NULL), 0);
	if (sync_join(&p, store, recovery, &why))
		fail_msg("joining: %s", why);
	store_free(store);
}

/* Both in the folder "shared". */

static void
first_changes(struct work *w)
{
	work_about_to_change(w);
	assert_int_equal(shared_change(w->vfs, &w->rng), 0);
	work_note_version(w);
}

/* One commit of the second device at most: then what the first pulls is one change. */
static void
second_pushes(struct device *d, struct shelf *shelf, struct rng *r)
{
	shelf->maker = SECOND;
	assert_int_equal(sync_pull(d->sync), 0);
	for (unsigned k = 0; k < 3; k++)
		assert_int_equal(shared_change(d->vfs, r), 0);
	assert_int_equal(sync_push(d->sync), 0);
	shelf->maker = FIRST;
}

/* Recording. */

struct scene {
	struct work w;
	struct tape t;
	struct shelf shelf;
	struct first first;
	struct steps_spans spans;
};

static void
make_first(struct scene *s, const char *dir, const char *store_dir, uint64_t seed)
{
	struct vault_create_params p = {.dir = dir, .device_name = "first", .remote_url = store_dir, .lock = WORK_PLAIN,
	    .root_uid = 1000};
	struct stat st;

	assert_int_equal(vault_create(&p, recovery), 0);
	s->first.shelf = &s->shelf;
	work_begin_in(&s->w, dir, seed, &REMOTE, &s->first);
	s->w.looks = true;
	assert_int_equal(vfs_mkdir(s->w.vfs, &ME, INODE_ROOT, "shared", 0755, &st), 0);
	vfs_forget(s->w.vfs, st.st_ino, 1);
	work_note_version(&s->w);
	assert_int_equal(sync_once(s->first.sync), 0);
}

static void
record(struct scene *s, uint64_t seed)
{
	char dir[PLACE_LEN], store_dir[PLACE_LEN], second_dir[PLACE_LEN];
	struct device second;
	struct rng r = {seed};
	bool untouched = true; /* the second has pushed nothing that the first has not pulled */

	memset(s, 0, sizeof(*s));
	place_empty("first");
	place_empty("second");
	place_empty("store");
	place_path("first", dir);
	place_path("second", second_dir);
	place_path("store", store_dir);
	shelf_begin(&s->shelf, store_dir);
	make_first(s, dir, store_dir, seed);
	join(second_dir, store_dir);
	place_copy("second", "third");
	assert_int_equal(device_open(&second, second_dir, shelf_open(&s->shelf)), 0);
	work_record(&s->w, &s->t);
	shelf_record(&s->shelf);
	steps_watch(&s->spans);
	for (unsigned k = 0; k < STEPS; k++) {
		unsigned dice = (unsigned)rng_below(&r, 100);

		if (dice < 12 && untouched) {
			second_pushes(&second, &s->shelf, &r);
			untouched = false;
		} else if (dice < 22) {
			assert_int_equal(push(&s->w), 0);
			untouched = true;
		} else if (dice < 55) {
			first_changes(&s->w);
		} else {
			size_t before = s->shelf.count;

			assert_int_equal(work_step(&s->w), 0);
			untouched |= s->shelf.count != before;
		}
	}
	steps_watch(NULL);
	tape_switch(NULL);
	assert_int_equal(device_close(&second), 0);
}

static void
forget(struct scene *s)
{
	tape_clear(&s->t);
	work_end(&s->w);
	shelf_end(&s->shelf);
	steps_spans_clear(&s->spans);
}

/* Judging. */

static bool
says(char what[static 200], const char *when, err_t e)
{
	snprintf(what, 200, "%s: %d", when, e);
	return false;
}

static bool
is_version(const struct work *w, uint32_t low, uint32_t high, uint64_t hash)
{
	for (uint32_t k = low; k <= high; k++)
		if (w->versions[k] == hash)
			return true;
	return false;
}

/* Syncs what is in `dir`; the tree that all devices should have then. */
static bool
sync_and_hash(struct device *d, uint64_t *hash_out, char what[static 200])
{
	struct sync_status st;
	err_t e = sync_once(d->sync);

	sync_get_status(d->sync, &st);
	if (e) {
		snprintf(what, 200, "syncing: %d, %.170s", e, st.problem_text);
		return false;
	}
	if (st.pending_inodes || st.pending_names)
		return says(what, "something is still pending after syncing", 0);
	e = tree_hash(d->vfs, TREE_SHARED, hash_out);
	return e ? says(what, "reading after syncing", e) : true;
}

/* One that was there at the beginning, or that comes new, sees in the store what the first shows. */
static bool
others_see(const char *store_dir, uint64_t hash, bool joins, char what[static 200])
{
	char dir[PLACE_LEN];
	struct store *store;
	struct device d;
	uint64_t seen = 0;
	err_t e;

	place_path("other", dir);
	place_empty("other");
	if (joins)
		join(dir, store_dir);
	else
		place_copy("third", "other");
	assert_int_equal(store_open(store_dir, true, &store, NULL), 0);
	e = device_open(&d, dir, store);
	if (e)
		return says(what, "opening another device", e);

	bool ok = sync_and_hash(&d, &seen, what);

	e = device_close(&d);
	if (ok && e)
		return says(what, "closing another device", e);
	return ok && seen != hash ? says(what, "another device sees another tree", 0) : ok;
}

static bool
judge_open(struct device *d, const struct scene *s, uint32_t low, uint32_t high, const char *store_dir, uint64_t *hash_out,
    char what[static 200])
{
	uint64_t before, after;
	err_t e = tree_hash(d->vfs, TREE_ALL, &before);

	if (e)
		return says(what, "reading", e);
	if (!is_version(&s->w, low, high, before))
		return says(what, "it is no version of the tree that it may be", 0);

	const char *left = steps_left(d->vault);

	if (left)
		return says(what, left, 0);

	bool news = shelf_has_commit(&s->shelf, store_dir, d->vault->has_head, d->vault->head_seq, SECOND);

	if (!sync_and_hash(d, hash_out, what))
		return false;
	if ((left = steps_left(d->vault)) != NULL)
		return says(what, left, 1);
	e = tree_hash(d->vfs, TREE_ALL, &after);
	if (e)
		return says(what, "reading again", e);
	return !news && after != before ? says(what, "syncing has changed the tree", 0) : true;
}

static bool
judge(const struct scene *s, size_t at, const char *dir, const char *store_dir, bool joins, char what[static 200])
{
	uint32_t low = at < s->t.count ? s->t.v[at].durable : s->t.durable;
	uint32_t high = at < s->t.count ? s->t.v[at].latest : s->t.latest;
	struct store *store;
	struct device d;
	uint64_t hash = 0;

	assert_int_equal(store_open(store_dir, true, &store, NULL), 0);

	err_t e = device_open(&d, dir, store);

	if (e)
		return says(what, "opening", e);

	bool ok = judge_open(&d, s, low, high, store_dir, &hash, what);

	e = device_close(&d);
	if (ok && e)
		return says(what, "closing", e);
	return ok && others_see(store_dir, hash, joins, what);
}

static unsigned
cut_scene(const struct scene *s, enum cut_model model, uint64_t seed, unsigned cuts)
{
	struct disk *d = disk_new(&s->t, model, seed);
	struct rng r = {seed};
	unsigned broken = 0;
	size_t at = 0;
	char dir[PLACE_LEN], store_dir[PLACE_LEN], what[200];

	place_path("cut", dir);
	place_path("cut-store", store_dir);
	for (unsigned k = 0; k < cuts; k++) {
		size_t next = choose_cut(&s->t, &r, s->t.count * k / cuts, s->t.count * (k + 1) / cuts);

		if (rng_chance(&r, 50))
			next = steps_next(&s->spans, next);
		at = next > at ? next : at;
		disk_advance(d, at);
		disk_build(d, dir);
		shelf_copy(&s->shelf, store_dir, at, &r);
		if (judge(s, at, dir, store_dir, rng_chance(&r, 20), what))
			continue;
		broken++;
		place_speak();
		print_error("seed %llu, model %d, cut %u before entry %zu of %zu: %s\n", (unsigned long long)seed, (int)model, k,
		    at, s->t.count, what);
		place_hush();
	}
	disk_free(d);
	return broken;
}

static void
after_a_power_cut_a_device_syncs_on_and_all_devices_show_the_same(void **state)
{
	static const enum cut_model MODELS[] = {CUT_ORDERED, CUT_HARSH, CUT_KILL};
	unsigned first = place_setting("SNUGFS_CRASH_FIRST", 1), seeds = place_setting("SNUGFS_CRASH_SEEDS", 3);
	unsigned cuts = place_setting("SNUGFS_CRASH_CUTS", 45) / 3;
	unsigned broken = 0;
	size_t entries = 0, steps = 0;

	(void)state;
	for (unsigned seed = first; seed < first + seeds; seed++) {
		struct scene s;

		steps_are_short(true);
		place_hush(); /* conflicts, bases, new devices */
		record(&s, seed);
		for (size_t k = 0; k < ARRAY_LEN(MODELS); k++)
			broken += cut_scene(&s, MODELS[k], seed, cuts);
		entries += s.t.count;
		steps += s.spans.entries;
		place_speak();
		forget(&s);
	}
	print_message("%u cuts of %u workloads with %zu disk operations, %zu of them between steps\n", 3 * seeds * cuts, seeds,
	    entries, steps);
	assert_int_equal(broken, 0);
}

/* A test that failed was hushed, and its tape still runs. */
static int
teardown(void **state)
{
	(void)state;
	place_speak();
	tape_switch(NULL);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(after_a_power_cut_a_device_syncs_on_and_all_devices_show_the_same, teardown),
	};
	int failed;

	assert_int_equal(secmem_init(), 0);
	place_make();
	tape_install();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	place_remove();
	return failed;
}
