/*
 * What the store shows, and whose it is.  Nothing here decides that a segment is dead: a stranger goes only if no commit has ever
 * named it, or if it has been one for as long as history is kept.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gc_internal.h"
#include "hash.h"
#include "log.h"
#include "objname.h"

/* Bases that stay however old they are. */
#define BASES_KEPT 2u

static err_t
list_one(void *ctx, const char *name, uint64_t size)
{
	struct gc *g = ctx;
	struct objname n = objname_parse(name);
	struct meta *m = g->s->v->meta;
	struct gc_stranger *t;
	struct segment row;
	err_t err;

	if (n.kind != OBJNAME_SEGMENT)
		return 0;
	g->r->store.objects++;
	g->r->store.bytes += size;
	if ((err = gc_step(g, g->r->store.objects, 0, "the store's objects")) != 0)
		return err;
	meta_lock(m);
	err = meta_segment_find(m, n.random, &row);
	meta_unlock(m);
	if (err != -ENOENT)
		return err;
	if ((err = gc_stranger_add(g, n.random, &t)) != 0 || t == NULL)
		return err;
	t->listed = true;
	t->size = size;
	return 0;
}

err_t
gc_list_objects(struct gc *g)
{
	struct gc_stranger *t, *next;
	err_t err = meta_segments_learn(g->s->v->meta, true);

	if (err != 0)
		return err;
	err = store_list(g->s->store, "s/", list_one, g);
	if (err != 0)
		return err == -ECANCELED ? err : report_store(g->s, err);
	if ((err = gc_list_boxes(g)) != 0)
		return err;
	HASH_ITER (hh, g->strangers, t, next)
		if (!t->listed)
			gc_stranger_remove(g, t);
	return 0;
}

/* Opens an envelope whose hash, or whose base, is believed already. */
static err_t
open_object(struct gc *g, const struct bytes *object, enum envelope_kind kind, uint64_t number, struct envelope_opened *out)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	uint32_t epoch;
	err_t err;

	if ((err = envelope_epoch(object->data, object->len, &epoch)) != 0)
		return err;
	if ((err = keyring_get(g->s->v->keys, epoch, &key)) != 0)
		return err == -ENOENT ? -EBADMSG : err;
	return envelope_open(object->data, object->len, kind, number, g->s->v->id, key.b, out);
}

/* Bases. */

struct base_chosen {
	unsigned kept;
	bool old_one; /* the newest one that is as old as history is kept: what is older than that goes */
};

static err_t
keep_parts(struct gc *g, const struct changes *c)
{
	for (uint32_t k = 0; k < c->part_count; k++) {
		struct gc_stranger *t = gc_stranger_find(g, c->parts[k].name);

		if (t != NULL)
			t->part = true;
	}
	return 0;
}

/* Its manifest first: none must name parts that are not there. */
static err_t
remove_base(struct gc *g, uint64_t seq, uint64_t size, const struct changes *c)
{
	struct gc_names doomed = { 0 };
	struct meta *m = g->s->v->meta;
	char name[CHAIN_NAME_MAX];
	err_t err = 0;

	g->r->bases.objects += 1 + c->part_count;
	g->r->bases.bytes += size;
	for (uint32_t k = 0; k < c->part_count; k++) {
		struct gc_stranger *t = gc_stranger_find(g, c->parts[k].name);

		g->r->bases.bytes += c->parts[k].size;
		if (t != NULL)
			t->doomed = true;
	}
	if (g->o->dry_run)
		return 0;
	meta_lock(m);
	err = gc_doomed_get(m, &doomed);
	for (uint32_t k = 0; err == 0 && k < c->part_count; k++)
		err = gc_names_add(&doomed, c->parts[k].name);
	if (err == 0)
		err = gc_doomed_put(m, &doomed);
	meta_unlock(m);
	free(doomed.v);
	snprintf(name, sizeof(name), "b/%012" PRIu64, seq);
	if (err != 0 || (err = meta_sync(m)) != 0)
		return err;
	return report_store(g->s, store_remove(g->s->store, name));
}

static bool
is_by_member(struct gc *g, const uint8_t author[static IDENTITY_ID_LEN])
{
	struct vault *v = g->s->v;
	const struct trust_member *m;
	bool is;

	meta_lock(v->meta);
	m = trust_member_find(v->trust, author);
	is = m != NULL && !m->removed;
	meta_unlock(v->meta);
	return is;
}

static err_t
look_at_base(struct gc *g, uint64_t seq, struct base_chosen *chosen)
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	CLEANUP(admit_free_opened) struct envelope_opened *opened = calloc(1, sizeof(*opened));
	CLEANUP(changes_free_ptr) struct changes *c = NULL;
	err_t err;

	if (opened == NULL)
		return -ENOMEM;
	if ((err = chain_read_base(g->s->chain, seq, &object)) != 0)
		return err == -ENOENT ? 0 : report_store(g->s, err);
	err = open_object(g, &object, ENVELOPE_BASE, seq, opened);
	if (err == 0)
		err = changes_decode(opened->body, opened->body_len, &c);
	if (err == -EBADMSG || err == -EPROTO) {
		log_warn("the base %" PRIu64 " in %s is damaged, or of a newer version; it is left as it is", seq, g->s->store->url);
		return 0;
	}
	if (err != 0)
		return err;
	if (chosen->kept >= BASES_KEPT && chosen->old_one)
		return remove_base(g, seq, object.len, c);
	if (!is_by_member(g, opened->env.author))
		return keep_parts(g, c); /* nobody who joins believes it; it goes when there are others */
	chosen->kept++;
	chosen->old_one = chosen->old_one || gc_is_over(g, opened->env.time_ns / 1000000000u);
	return keep_parts(g, c);
}

err_t
gc_bases(struct gc *g)
{
	CLEANUP(free_ptr) uint64_t *seqs = NULL;
	struct base_chosen chosen = { 0 };
	size_t count = 0;
	err_t err = chain_list_bases(g->s->chain, &seqs, &count);

	if (err != 0)
		return report_store(g->s, err);
	for (size_t k = 0; err == 0 && k < count; k++) {
		err = look_at_base(g, seqs[k], &chosen);
		if (err == 0)
			err = gc_step(g, k + 1, count, "bases");
	}
	return err;
}

/*
 * A device that began with a base does not know what older commits named and nobody points into now: it may be history.  It
 * reads them once, back from the base, each one believed for the hash that the next one has of it.
 */

static err_t
know_segment(struct gc *g, const struct change_segment *cs)
{
	struct gc_stranger *t = gc_stranger_find(g, cs->name);
	struct meta *m = g->s->v->meta;
	struct segment row = { .kind = SEGMENT_SETTLED, .in_store = true, .size = cs->size };
	err_t err;

	if (t == NULL)
		return 0;
	row.dead_since = t->since;
	memcpy(row.name, cs->name, sizeof(row.name));
	memcpy(row.sha256, cs->sha256, sizeof(row.sha256));
	meta_lock(m);
	row.id = meta_segment_new_id(m);
	err = meta_segment_put(m, &row);
	meta_unlock(m);
	gc_stranger_remove(g, t);
	return err;
}

static err_t
read_commit(struct gc *g)
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	CLEANUP(admit_free_opened) struct envelope_opened *opened = calloc(1, sizeof(*opened));
	CLEANUP(changes_free_ptr) struct changes *c = NULL;
	uint8_t hash[32];
	err_t err;

	if (opened == NULL)
		return -ENOMEM;
	if ((err = chain_read_commit(g->s->chain, g->unread_seq, &object)) != 0)
		return err == -ENOENT ? -EBADMSG : report_store(g->s, err);
	if ((err = hash_sha256(object.data, object.len, hash)) != 0)
		return err;
	if (memcmp(hash, g->unread_hash, sizeof(hash)) != 0)
		return -EBADMSG;
	if ((err = open_object(g, &object, ENVELOPE_COMMIT, g->unread_seq, opened)) != 0 ||
	    (err = changes_decode(opened->body, opened->body_len, &c)) != 0)
		return err;
	for (uint32_t k = 0; err == 0 && k < c->segment_count; k++)
		err = know_segment(g, &c->segments[k]);
	if (err != 0)
		return err;
	g->unread = g->unread_seq > 0;
	g->unread_seq -= g->unread;
	memcpy(g->unread_hash, opened->env.previous, sizeof(g->unread_hash));
	return 0;
}

static err_t
read_older(struct gc *g)
{
	uint64_t first = g->unread_seq;
	err_t err = 0;

	while (g->unread && err == 0 && (err = read_commit(g)) == 0)
		err = gc_step(g, first - g->unread_seq, first, "older commits");
	if (err == -EBADMSG || err == -EPROTO) {
		log_warn("commit %" PRIu64 " in %s can't be read: objects that older commits may have named stay as long as history is "
		    "kept", g->unread_seq, g->s->store->url);
		return 0;
	}
	return err;
}

static bool
wants_verdict(const struct gc *g, const struct gc_stranger *t)
{
	if (t->part || t->doomed || t->box)
		return false;
	return g->o->now || (t->earlier && g->now_s >= t->since + GC_ORPHAN_GRACE_S);
}

/* What has a row by now is no stranger. */
static err_t
forget_known(struct gc *g)
{
	struct meta *m = g->s->v->meta;
	struct gc_stranger *t, *next;
	struct segment row;
	err_t err = 0;

	meta_lock(m);
	HASH_ITER (hh, g->strangers, t, next) {
		err = meta_segment_find(m, t->name, &row);
		if (err == 0)
			gc_stranger_remove(g, t);
		else if (err != -ENOENT)
			break;
		err = 0;
	}
	meta_unlock(m);
	return err;
}

static err_t
judge(struct gc *g, const struct gc_stranger *t)
{
	bool orphan = wants_verdict(g, t) && (!g->unread || gc_is_over(g, t->since));
	struct gc_count *c = orphan ? &g->r->orphans : &g->r->waiting;

	c->objects++;
	c->bytes += t->size;
	return orphan ? gc_names_add(&g->orphans, t->name) : 0;
}

err_t
gc_find_orphans(struct gc *g)
{
	struct gc_stranger *t, *next;
	bool unread = g->unread, read = false;
	uint64_t seq = g->unread_seq;
	uint8_t hash[sizeof(g->unread_hash)];
	err_t err = forget_known(g);

	memcpy(hash, g->unread_hash, sizeof(hash));
	HASH_ITER (hh, g->strangers, t, next)
		read = read || wants_verdict(g, t);
	if (err != 0 || (read && g->unread && (err = read_older(g)) != 0))
		return err;
	HASH_ITER (hh, g->strangers, t, next)
		if (err == 0 && !t->part && !t->doomed && !t->box)
			err = judge(g, t);
	g->r->crowded = g->crowded;
	if (!g->crowded)
		return err;
	/* What found no room may be history, too: another run looks it up in the same commits. */
	g->unread = unread;
	g->unread_seq = seq;
	memcpy(g->unread_hash, hash, sizeof(hash));
	return err;
}
