/*
 * Key boxes that nobody needs: those that were made for an invitation which is over (used, withdrawn or expired), and those that no
 * statement names, which a crash between box and commit leaves, or somebody who was a member once.  Those of epochs stay, since older
 * commits are read with them.
 *
 * Whoever makes a box names it in the one commit that he tries right after, and makes another if that number is taken.  So what no
 * statement names, though a later commit has been made since it was seen, or an epoch begun since, is named by nobody any more.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gc_internal.h"
#include "objname.h"

enum naming { NAMED_BY_NONE, NAMED_BY_EPOCH, NAMED_BY_GUEST, NAMED_BY_FORMER_GUEST };

/* [meta lock] */
static enum naming
find_naming(const struct trust *t, uint32_t epoch, const char *name)
{
	const char *pinned;
	uint8_t sha256[32];

	if (trust_epoch_at(t, epoch, &pinned, sha256) == 0 && strcmp(pinned, name) == 0)
		return NAMED_BY_EPOCH;
	for (size_t i = 0; i < trust_member_count(t); i++) {
		const struct trust_member *m = trust_member_at(t, i);

		if (m->kind == MEMBER_INVITATION && strcmp(m->box_name, name) == 0)
			return m->removed ? NAMED_BY_FORMER_GUEST : NAMED_BY_GUEST;
	}
	return NAMED_BY_NONE;
}

/* What no statement named when the store was listed, and what invitations had that are over. */
static err_t
list_one(void *ctx, const char *name, uint64_t size)
{
	struct gc *g = ctx;
	struct vault *v = g->s->v;
	struct objname n = objname_parse(name);
	struct gc_stranger *t;
	enum naming naming;
	uint64_t next;
	err_t err;

	if (n.kind != OBJNAME_BOX)
		return 0;
	meta_lock(v->meta);
	naming = find_naming(v->trust, (uint32_t)n.number, name);
	next = v->has_head ? v->head_seq + 1 : 0;
	meta_unlock(v->meta);
	if (naming == NAMED_BY_EPOCH || naming == NAMED_BY_GUEST)
		return 0;
	if ((err = gc_step(g, 0, 0, "key boxes")) != 0 || (err = gc_stranger_add(g, n.random, &t)) != 0 || t == NULL)
		return err;
	t->seq = t->earlier ? t->seq : next;
	t->epoch = (uint32_t)n.number;
	t->listed = t->box = true;
	t->size = size;
	return 0;
}

err_t
gc_list_boxes(struct gc *g)
{
	err_t err = store_list(g->s->store, "k/", list_one, g);

	return err == 0 || err == -ECANCELED ? err : report_store(g->s, err);
}

/* Nobody names it any more, and it is old enough. */
static bool
is_due(const struct gc *g, const struct gc_stranger *t)
{
	const struct vault *v = g->s->v;
	const char *name;
	uint8_t sha256[32];
	uint32_t newest;
	bool later = v->head_seq >= t->seq || (trust_epoch(v->trust, &newest, &name, sha256) == 0 && t->epoch < newest);

	return later && (g->o->now || (t->earlier && g->now_s >= t->since + GC_ORPHAN_GRACE_S));
}

static void
count(struct gc_count *c, const struct gc_stranger *t)
{
	c->objects++;
	c->bytes += t->size;
}

static err_t
judge(struct gc *g, struct gc_stranger *t)
{
	struct vault *v = g->s->v;
	char name[CHAIN_NAME_MAX];
	enum naming naming;
	bool due;
	int at = snprintf(name, sizeof(name), "k/%" PRIu32 "-", t->epoch);

	for (size_t i = 0; i < sizeof(t->name); i++)
		at += snprintf(name + at, sizeof(name) - (size_t)at, "%02x", t->name[i]);
	meta_lock(v->meta);
	naming = find_naming(v->trust, t->epoch, name);
	due = naming == NAMED_BY_FORMER_GUEST || (naming == NAMED_BY_NONE && is_due(g, t));
	meta_unlock(v->meta);
	if (naming == NAMED_BY_EPOCH || naming == NAMED_BY_GUEST)
		return 0;
	if (!due) {
		count(&g->r->waiting, t);
		return 0;
	}
	count(&g->r->boxes, t);
	return g->o->dry_run ? 0 : report_store(g->s, store_remove(g->s->store, name));
}

err_t
gc_boxes(struct gc *g)
{
	struct gc_stranger *t, *next;
	err_t err = 0;

	HASH_ITER (hh, g->strangers, t, next) {
		if (t->box && err == 0)
			err = judge(g, t);
	}
	return err;
}
