/* What a collector remembers: in meta.db, with everything else. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cborio.h"
#include "gc_internal.h"

#define STATE_VERSION 1

void
gc_clear(struct gc *g)
{
	struct gc_stranger *t, *next;

	HASH_ITER (hh, g->strangers, t, next)
		gc_stranger_remove(g, t);
	free(g->uses.v);
	free(g->dead.v);
	free(g->sparse.v);
	free(g->orphans.v);
}

struct gc_stranger *
gc_stranger_find(struct gc *g, const uint8_t name[static SEGMENT_NAME_LEN])
{
	struct gc_stranger *t;

	HASH_FIND(hh, g->strangers, name, SEGMENT_NAME_LEN, t);
	return t;
}

err_t
gc_stranger_add(struct gc *g, const uint8_t name[static SEGMENT_NAME_LEN], struct gc_stranger **out)
{
	struct gc_stranger *t = gc_stranger_find(g, name);

	if (t == NULL && HASH_COUNT(g->strangers) >= GC_STRANGERS_MAX) {
		g->crowded = true;
	} else if (t == NULL) {
		t = calloc(1, sizeof(*t));
		if (t == NULL)
			return -ENOMEM;
		memcpy(t->name, name, sizeof(t->name));
		t->since = g->note_s;
		HASH_ADD(hh, g->strangers, name, SEGMENT_NAME_LEN, t);
		if (t->hh.tbl == NULL) {
			free(t);
			return -ENOMEM;
		}
	}
	*out = t;
	return 0;
}

void
gc_stranger_remove(struct gc *g, struct gc_stranger *t)
{
	HASH_DEL(g->strangers, t);
	free(t);
}

err_t
gc_grow(void **v, size_t count, size_t *cap, size_t len)
{
	size_t more = *cap ? *cap * 2 : 64;
	void *grown;

	if (count < *cap)
		return 0;
	grown = reallocarray(*v, more, len);
	if (grown == NULL)
		return -ENOMEM;
	*v = grown;
	*cap = more;
	return 0;
}

err_t
gc_names_add(struct gc_names *n, const uint8_t name[static SEGMENT_NAME_LEN])
{
	void *v = n->v;
	err_t err = gc_grow(&v, n->count, &n->cap, SEGMENT_NAME_LEN);

	n->v = v;
	if (err == 0)
		memcpy(n->v[n->count++], name, SEGMENT_NAME_LEN);
	return err;
}

err_t
gc_ids_add(struct gc_ids *n, uint64_t id)
{
	void *v = n->v;
	err_t err = gc_grow(&v, n->count, &n->cap, sizeof(id));

	n->v = v;
	if (err == 0)
		n->v[n->count++] = id;
	return err;
}

err_t
gc_doomed_get(struct meta *m, struct gc_names *out)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err = meta_kv_get(m, DB_KEY_GC_DOOMED, &b);

	if (err == -ENOENT)
		return 0;
	if (err == 0 && b.len % SEGMENT_NAME_LEN != 0)
		err = -EBADMSG;
	for (size_t at = 0; err == 0 && at < b.len; at += SEGMENT_NAME_LEN)
		err = gc_names_add(out, b.data + at);
	return err;
}

err_t
gc_doomed_put(struct meta *m, const struct gc_names *n)
{
	static const uint8_t none[1];

	return meta_kv_put(m, DB_KEY_GC_DOOMED, n->count > 0 ? n->v[0] : none, n->count * SEGMENT_NAME_LEN);
}

/* [version, keep + 1 (0: not set), last run, [unread number, hash] or [], [stranger: [name, since, ? next commit's number then]]] */

static err_t
put_state(const struct gc *g, struct bytes *b)
{
	const struct gc_stranger *t, *next;
	err_t err;

	if ((err = cbor_put_array(b, 5)) != 0 || (err = cbor_put_uint(b, STATE_VERSION)) != 0 ||
	    (err = cbor_put_uint(b, (uint64_t)(g->saved_keep_s + 1))) != 0 || (err = cbor_put_uint(b, g->last_s)) != 0 ||
	    (err = cbor_put_array(b, g->unread ? 2 : 0)) != 0)
		return err;
	if (g->unread && ((err = cbor_put_uint(b, g->unread_seq)) != 0 ||
	    (err = cbor_put_bytes(b, g->unread_hash, sizeof(g->unread_hash))) != 0))
		return err;
	err = cbor_put_array(b, HASH_COUNT(g->strangers));
	HASH_ITER (hh, g->strangers, t, next) {
		if (err != 0 || (err = cbor_put_array(b, t->box ? 3 : 2)) != 0 ||
		    (err = cbor_put_bytes(b, t->name, sizeof(t->name))) != 0 || (err = cbor_put_uint(b, t->since)) != 0)
			return err;
		err = t->box ? cbor_put_uint(b, t->seq) : 0;
	}
	return err;
}

err_t
gc_state_save(struct gc *g)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	struct meta *m = g->s->v->meta;
	err_t err = put_state(g, &b);

	if (err != 0)
		return err;
	meta_lock(m);
	err = meta_kv_put(m, DB_KEY_GC, b.data, b.len);
	meta_unlock(m);
	return err;
}

static err_t
get_strangers(struct gc *g, struct cursor *c)
{
	size_t count = 0;
	err_t err = cbor_get_array(c, &count);

	for (size_t k = 0; err == 0 && k < count; k++) {
		uint8_t name[SEGMENT_NAME_LEN];
		uint64_t since, seq = 0;
		struct gc_stranger *t;
		size_t fields = 0;

		if ((err = cbor_get_array(c, &fields)) != 0 || (err = fields == 2 || fields == 3 ? 0 : -EBADMSG) != 0 ||
		    (err = cbor_get_bytes_exact(c, name, sizeof(name))) != 0 || (err = cbor_get_uint(c, &since)) != 0 ||
		    (fields == 3 && (err = cbor_get_uint(c, &seq)) != 0) || (err = gc_stranger_add(g, name, &t)) != 0)
			return err;
		if (t == NULL)
			continue;
		t->since = since;
		t->seq = seq;
		t->box = fields == 3;
		t->earlier = true;
	}
	return err;
}

static err_t
get_state(struct gc *g, struct cursor *c)
{
	uint64_t version, keep;
	size_t count = 0;
	err_t err;

	if ((err = cbor_get_array(c, &count)) != 0 || (err = count == 5 ? 0 : -EBADMSG) != 0 ||
	    (err = cbor_get_uint_max(c, STATE_VERSION, &version)) != 0 ||
	    (err = cbor_get_uint_max(c, GC_KEEP_MAX_S + 1, &keep)) != 0 || (err = cbor_get_uint(c, &g->last_s)) != 0 ||
	    (err = cbor_get_array(c, &count)) != 0)
		return err;
	g->saved_keep_s = (int64_t)keep - 1;
	g->unread = count != 0;
	if (g->unread && ((err = cbor_get_uint(c, &g->unread_seq)) != 0 ||
	    (err = cbor_get_bytes_exact(c, g->unread_hash, sizeof(g->unread_hash))) != 0))
		return err;
	return get_strangers(g, c);
}

err_t
gc_state_load(struct gc *g)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	struct meta *m = g->s->v->meta;
	struct cursor c;
	err_t err;

	meta_lock(m);
	err = meta_kv_get(m, DB_KEY_GC, &b);
	meta_unlock(m);
	g->saved_keep_s = -1;
	if (err != 0)
		return err == -ENOENT ? 0 : err;
	c = (struct cursor){ b.data, b.len };
	return get_state(g, &c);
}
