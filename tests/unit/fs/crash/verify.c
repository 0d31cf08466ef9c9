/* verify.c: opening what was left, and comparing it with history. */
#include "verify.h"

#include <stdio.h>
#include <string.h>

#include "depot.h"
#include "steps.h"

#define CUTS_AGAIN 3

struct judged {
	const uint64_t *versions;
	uint32_t low;
	uint32_t high;
};

static struct verdict
bad(const char *what, err_t e)
{
	struct verdict r = {.ok = false};

	snprintf(r.what, sizeof(r.what), "%s: %s", what, strerror(-e));
	return r;
}

/* Which version of history it is.  The one looked for last is found first, should several look alike. */
static struct verdict
place_in_history(const struct judged *j, uint64_t hash)
{
	struct verdict r = {.ok = true};

	for (uint32_t k = j->high + 1; k-- > j->low;) {
		if (j->versions[k] != hash)
			continue;
		r.version = k;
		return r;
	}
	r.ok = false;
	for (uint32_t k = 0; k < j->low; k++) {
		if (j->versions[k] != hash)
			continue;
		snprintf(r.what, sizeof(r.what), "version %u is there, but %u was fsynced", k, j->low);
		return r;
	}
	snprintf(r.what, sizeof(r.what), "the tree is none of the versions up to %u", j->high);
	return r;
}

static struct verdict
read_open(struct vault *v, const char *dir, const struct judged *j)
{
	const char *left;
	struct verdict r;
	struct vfs *vfs;
	uint64_t hash;
	err_t e = vfs_new(v->meta, v->content, v->lookups, dir, &vfs);

	if (e)
		return bad("starting", e);
	e = vfs_reap_orphans(vfs);
	if (e) {
		r = bad("reaping", e);
	} else {
		e = tree_hash(vfs, TREE_ALL, &hash);
		r = e ? bad("reading", e) : place_in_history(j, hash);
	}
	if (r.ok && (left = steps_left(v)) != NULL) {
		r.ok = false;
		snprintf(r.what, sizeof(r.what), "%s", left);
	}
	vfs_free(vfs);
	return r;
}

static struct verdict
open_and_read(const char *dir, const struct judged *j, bool settles, struct rng *rng)
{
	struct verdict r;
	struct vault *v;
	err_t e = vault_open(dir, &WORK_PLAIN, &v);

	if (e)
		return bad("opening", e);
	depot_attach(v);
	r = read_open(v, dir, j);
	if (r.ok && settles && (e = settle_pending(v, rng, rng_chance(rng, 50) ? 100 : 30)) != 0)
		r = bad("settling", e);
	if (r.ok && settles && rng_chance(rng, 50) && (e = tidy_some(v, rng)) != 0)
		r = bad("tidying", e);
	if (r.ok && settles && (e = meta_sync(v->meta)) != 0)
		r = bad("committing", e);
	if (r.ok && settles)
		r = read_open(v, dir, j);
	e = vault_close(v);
	return r.ok && e ? bad("closing", e) : r;
}

/* The power goes again while what the first time left is brought in order. */
static struct verdict
verify_again(const char *dir, const struct tape *t, const struct judged *found, struct rng *rng)
{
	enum cut_model model = rng_chance(rng, 50) ? CUT_HARSH : CUT_ORDERED;
	struct disk *d = disk_new(t, model, rng_next(rng));
	struct verdict r = {.ok = true, .version = found->low};
	char again[300];
	size_t at = 0;

	snprintf(again, sizeof(again), "%s-again", dir);
	for (unsigned k = 0; k < CUTS_AGAIN && r.ok; k++) {
		at += (size_t)rng_below(rng, t->count - at + 1);
		disk_advance(d, at);
		disk_build(d, again);
		r = verify(again, found->versions, found->low, found->high, VERIFY_SETTLE, rng_next(rng));
	}
	disk_free(d);
	return r;
}

struct verdict
verify(const char *dir, const uint64_t *versions, uint32_t low, uint32_t high, enum verify_depth depth, uint64_t seed)
{
	struct judged j = {versions, low, high};
	struct rng rng = {seed};
	struct tape tape;
	struct tape *before = tape_switch(NULL);

	if (depth == VERIFY_AGAIN)
		tape_begin(&tape, dir);

	struct verdict r = open_and_read(dir, &j, depth != VERIFY_READ, &rng);

	/* From now on it is this version and no other. */
	j.low = j.high = r.version;
	if (r.ok && depth != VERIFY_READ)
		r = open_and_read(dir, &j, false, &rng);
	tape_switch(NULL);
	if (r.ok && depth == VERIFY_AGAIN)
		r = verify_again(dir, &tape, &j, &rng);
	if (depth == VERIFY_AGAIN)
		tape_clear(&tape);
	tape_switch(before);
	return r;
}

struct verdict
cut_and_verify(struct disk *d, const struct tape *t, size_t at, const char *dir, const uint64_t *versions,
    enum verify_depth depth, uint64_t seed)
{
	uint32_t low = at < t->count ? t->v[at].durable : t->durable;
	uint32_t high = at < t->count ? t->v[at].latest : t->latest;

	disk_advance(d, at);
	disk_build(d, dir);
	return verify(dir, versions, low, high, depth, seed);
}
