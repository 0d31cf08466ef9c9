/* The chain, read backwards. */
#include "past.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "hash.h"
#include "past_internal.h"
#include "pieces.h"

void
past_free(struct past *p)
{
	if (p == NULL)
		return;
	past_ahead_free(p->ahead);
	trust_free(p->trust);
	for (size_t i = 0; i < p->link_count; i++)
		bytes_clear(&p->links[i].object);
	free(p->links);
	free(p->bad_bases);
	free(p);
}

void
past_free_ptr(struct past **p)
{
	past_free(*p);
}

uint64_t
past_head(const struct past *p)
{
	return p->head;
}

const char *
past_why(const struct past *p)
{
	return p->why;
}

err_t
past_explain(struct past *p, err_t err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->why, sizeof(p->why), fmt, ap);
	va_end(ap);
	return err;
}

err_t
past_explain_store(struct past *p, err_t err)
{
	if (err == 0 || err == -ECANCELED)
		return err;
	store_explain(p->s->store, err, p->why, sizeof(p->why));
	return err;
}

err_t
past_step(struct past *p, const char *text, uint64_t done, uint64_t total)
{
	return p->watch.go_on == NULL || p->watch.go_on(p->watch.ctx, text, done, total) ? 0 : -ECANCELED;
}

static err_t
add_link(struct past *p, const uint8_t hash[static 32])
{
	if (p->link_count == p->link_cap) {
		size_t cap = p->link_cap ? p->link_cap * 2 : 256;
		struct past_link *v = reallocarray(p->links, cap, sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		p->links = v;
		p->link_cap = cap;
	}
	p->links[p->link_count] = (struct past_link){ 0 };
	memcpy(p->links[p->link_count++].hash, hash, sizeof(p->links->hash));
	return 0;
}

err_t
past_open(struct sync *s, const struct past_watch *w, struct past **out)
{
	CLEANUP(past_free_ptr) struct past *p = calloc(1, sizeof(*p));
	struct vault *v = s->v;
	err_t err;

	if (p == NULL)
		return -ENOMEM;
	p->s = s;
	p->watch = *w;
	meta_lock(v->meta);
	p->head = v->head_seq;
	err = v->has_head ? add_link(p, v->head_hash) : -ENOENT;
	if (err == 0)
		err = trust_clone(v->trust, &p->trust);
	meta_unlock(v->meta);
	if (err == 0)
		err = past_ahead_new(s->chain, p->head, &p->ahead);
	if (err == 0)
		*out = STEAL(p);
	return err;
}

/* Objects. */

/* So much is kept of all that was read, and of one commit. */
#define KEPT_MAX (8u << 20)
#define KEPT_ONE_MAX (256u << 10)

static err_t
not_what_was_seen(struct past *p, uint64_t seq)
{
	return past_explain(p, -EBADMSG, "commit %" PRIu64 " in %s is not the one that this device has seen: it is damaged, or was "
	    "replaced by another; restore the store's copy of it", seq, p->s->store->url);
}

/* It is what was seen. */
static void
keep_object(struct past *p, struct past_link *link, const struct bytes *object)
{
	if (object->len > KEPT_ONE_MAX || p->kept + object->len > KEPT_MAX)
		return;
	if (bytes_append(&link->object, object->data, object->len) == 0)
		p->kept += object->len;
}

static err_t
fetch_object(struct past *p, uint64_t seq, struct bytes *out)
{
	err_t err = past_ahead_read(p->ahead, seq, out);

	if (err == -ENOENT)
		return past_explain(p, -EBADMSG, "%s has lost commit %" PRIu64 ", without which the time before it can't be told; "
		    "restore the store's copy of it", p->s->store->url, seq);
	return past_explain_store(p, err);
}

/* The link of seq is known. */
static err_t
read_object(struct past *p, uint64_t seq, struct bytes *out)
{
	struct past_link *link = &p->links[p->head - seq];
	uint8_t hash[32];
	err_t err;

	if (link->object.len > 0)
		return bytes_append(out, link->object.data, link->object.len);
	if ((err = fetch_object(p, seq, out)) != 0 || (err = hash_sha256(out->data, out->len, hash)) != 0)
		return err;
	if (memcmp(hash, link->hash, sizeof(hash)) != 0)
		return not_what_was_seen(p, seq);
	keep_object(p, link, out);
	return 0;
}

err_t
past_open_object(struct past *p, enum envelope_kind kind, uint64_t seq, const struct bytes *object,
    struct envelope_opened *out)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	struct vault *v = p->s->v;
	uint32_t epoch;
	err_t err = envelope_epoch(object->data, object->len, &epoch);

	if (err == 0)
		err = keyring_get(v->keys, epoch, &key);
	if (err != 0)
		return err == -ENOENT ? -EBADMSG : err;
	return envelope_open(object->data, object->len, kind, seq, v->id, key.b, out);
}

/* Opens a commit whose link is known, and notes when it was made and the link of the one before. */
static err_t
open_commit(struct past *p, uint64_t seq, struct envelope_opened *out)
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	err_t err = read_object(p, seq, &object);

	if (err != 0)
		return err;
	if ((err = past_open_object(p, ENVELOPE_COMMIT, seq, &object, out)) != 0)
		return err == -EBADMSG ? not_what_was_seen(p, seq) : err;
	p->links[p->head - seq].time_ns = out->env.time_ns;
	p->links[p->head - seq].len = object.len;
	p->links[p->head - seq].read = true;
	if (seq > 0 && p->head - seq + 1 == p->link_count)
		err = add_link(p, out->env.previous);
	if (err != 0)
		envelope_opened_clear(out);
	return err;
}

/* Reads down until the link of seq is known. */
static err_t
reach(struct past *p, uint64_t seq)
{
	uint64_t from = p->head - (p->link_count - 1);
	err_t err = 0;

	if (seq > p->head)
		return -EINVAL;
	for (uint64_t at = from; err == 0 && at > seq; at--) {
		struct envelope_opened o = { 0 };

		if ((err = past_step(p, "reading the history", from - at, from - seq)) == 0 && (err = open_commit(p, at, &o)) == 0)
			envelope_opened_clear(&o);
	}
	return err;
}

void
past_commit_clear(struct past_commit *c)
{
	changes_free(c->changes);
	*c = (struct past_commit){ 0 };
}

static const char *
name_of(const struct past *p, const uint8_t id[static IDENTITY_ID_LEN])
{
	const struct trust_member *m = trust_member_find(p->trust, id);

	return m == NULL ? "an unknown device" : m->kind == MEMBER_RECOVERY ? "the recovery key" : m->name;
}

err_t
past_read(struct past *p, uint64_t seq, struct past_commit *out)
{
	CLEANUP(changes_free_ptr) struct changes *c = NULL;
	CLEANUP(envelope_opened_clear) struct envelope_opened o = { 0 };
	err_t err;

	if ((err = reach(p, seq)) != 0 || (err = open_commit(p, seq, &o)) != 0)
		return err;
	if ((err = changes_decode(o.body, o.body_len, &c)) != 0)
		return err == -EBADMSG ? not_what_was_seen(p, seq) : err;
	*out = (struct past_commit){ seq, o.env.time_ns, name_of(p, o.env.author), STEAL(c) };
	return 0;
}

err_t
past_time(struct past *p, uint64_t seq, uint64_t *time_ns_out)
{
	CLEANUP(envelope_opened_clear) struct envelope_opened o = { 0 };
	err_t err = reach(p, seq);

	if (err == 0 && !p->links[p->head - seq].read)
		err = open_commit(p, seq, &o);
	if (err == 0)
		*time_ns_out = p->links[p->head - seq].time_ns;
	return err;
}

err_t
past_hash(struct past *p, uint64_t seq, uint8_t out[static 32])
{
	err_t err = reach(p, seq);

	if (err == 0)
		memcpy(out, p->links[p->head - seq].hash, 32);
	return err;
}

err_t
past_find(struct past *p, uint64_t time_ns, uint64_t *seq_out)
{
	for (uint64_t seq = p->head;; seq--) {
		uint64_t then;
		err_t err = past_step(p, "reading the history", p->head - seq, 0);

		if (err == 0)
			err = past_time(p, seq, &then);
		if (err != 0)
			return err;
		if (then <= time_ns) {
			*seq_out = seq;
			return 0;
		}
		if (seq == 0)
			return -ENOENT;
	}
}

/* Segments. */

static err_t
fetch_here(struct vault *v, const struct segment *seg, uint64_t off, size_t len, struct bytes *out)
{
	struct segment row;
	uint64_t missing;
	size_t old_len = out->len;
	uint8_t *at;
	err_t err;

	if ((err = meta_segments_learn(v->meta, true)) != 0)
		return err;
	meta_lock(v->meta);
	err = meta_segment_find(v->meta, seg->name, &row);
	meta_unlock(v->meta);
	if (err == 0 && (row.size != seg->size || len > UINT32_MAX))
		err = -ENODATA;
	if (err == 0)
		err = segstore_missing(v->segments, row.id, pieces_touching(row.size, off, len), &missing);
	if (err == 0 && missing != 0)
		err = -ENODATA;
	if (err != 0 || (err = bytes_extend(out, len, &at)) != 0)
		return err;
	if ((err = segstore_read(v->segments, row.id, off, (uint32_t)len, at)) != 0)
		out->len = old_len;
	return err;
}

err_t
past_fetch(struct sync *s, const struct segment *seg, uint64_t off, size_t len, struct bytes *out)
{
	err_t err = fetch_here(s->v, seg, off, len, out);

	return err == 0 || err == -ENOMEM ? err : sync_fetch_segment(s, seg, off, len, out);
}
