/*
 * Bases: the whole tree as of one commit, so that a new device need not read the chain from its beginning.  A base is a
 * manifest (b/<seq>: statements, keys, parts) and parts of bounded size, each applicable after the ones before it.
 *
 * It says what the chain says.  Of what is pending here the chain's version is not kept, so a base is written only while
 * nothing is, and given up if that changes on the way.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine.h"
#include "hash.h"
#include "log.h"
#include "random.h"

/* Plain bytes of a part, about. */
#define PART_COST (8u << 20)
/* Smaller tails are not worth a base. */
#define TAIL_MIN (1u << 20)
/* The meta lock is let go after so many entries. */
#define LOCK_SLICE 1000u

/* A directory on the way down from the root. */
struct level {
	uint64_t ino;
	uint64_t after; /* entries up to this cookie are in */
};

struct writing {
	struct sync *s;
	struct meta *m;
	uint64_t change; /* the pending summary's at the start */
	struct level *levels;
	size_t depth;
	size_t cap;
	struct numset *linked; /* files with several names that are in already */
	struct changes *part;
	size_t cost;
	unsigned slice;
	/* a file whose map goes on in the next part; 0: none */
	uint64_t open_ino;
	uint64_t open_chunk;
	struct changes *manifest;
	uint64_t size;
};

static void
writing_clear(struct writing *w)
{
	free(w->levels);
	numset_clear(&w->linked);
	changes_free(w->part);
	changes_free(w->manifest);
}

/* -EBUSY: something is pending: not now. */
static err_t
check_quiet(struct writing *w)
{
	struct meta_pending_summary p;

	if (engine_is_interrupted(w->s))
		return -ECANCELED;
	meta_pending_summary(w->m, &p);
	return p.inode_count == 0 && p.dentry_count == 0 && p.change == w->change ? 0 : -EBUSY;
}

/* Parts. */

static err_t
add_part(struct writing *w, const struct change_segment *part)
{
	struct changes *c = w->manifest;
	struct change_segment *v = reallocarray(c->parts, c->part_count + 1u, sizeof(*v));

	if (v == NULL)
		return -ENOMEM;
	c->parts = v;
	v[c->part_count++] = *part;
	w->size += part->size;
	return 0;
}

/* Seals and uploads what has been gathered. */
static err_t
flush_part(struct writing *w)
{
	static const uint8_t zeros[32];
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	struct change_segment part = { 0 };
	err_t err;

	if (w->part->inode_count == 0 && w->part->dentry_count == 0)
		return 0;
	if ((err = check_quiet(w)) != 0 ||
	    (err = push_seal(w->s, ENVELOPE_PART, w->manifest->part_count, zeros, w->part, &object)) != 0 ||
	    (err = random_bytes(part.name, sizeof(part.name))) != 0 ||
	    (err = hash_sha256(object.data, object.len, part.sha256)) != 0)
		return err;
	part.size = object.len;
	if ((err = chain_write_segment(w->s->chain, part.name, part.sha256, object.data, object.len)) != 0)
		return report_store(w->s, err);
	changes_free(w->part);
	w->part = NULL;
	w->cost = 0;
	if ((err = changes_new(&w->part)) != 0)
		return err;
	return add_part(w, &part);
}

/* Inodes. [meta lock] */

struct chunk_walk {
	struct writing *w;
	struct change_inode *ci;
};

static err_t
take_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct chunk_walk *cw = ctx;

	if (cw->w->cost >= PART_COST) {
		cw->w->open_ino = i->ino;
		cw->w->open_chunk = c->no;
		return -ECANCELED;
	}
	/* Behind the end is what a truncation has not come to yet. */
	if (c->current.count == 0 || c->no * CHUNK_LEN >= i->size)
		return 0;
	cw->w->cost += describe_chunk_cost(c);
	return describe_chunk(cw->w->m, cw->w->part, cw->ci, c);
}

/* An inode, or if `from` is not 0 the rest of a file's map from that chunk on. */
static err_t
take_inode(struct writing *w, uint64_t ino, uint64_t from)
{
	uint32_t fields = CHANGE_NEW | CHANGE_MODE | CHANGE_OWNER | CHANGE_MTIME | CHANGE_XATTR;
	struct chunk_walk cw = { w, NULL };
	struct inode *i;
	err_t err = meta_inode_get(w->m, ino, &i);

	if (err != 0)
		return err;
	if (S_ISREG(i->mode))
		fields |= CHANGE_CONTENT;
	cw.ci = changes_add_inode(w->part);
	if (cw.ci == NULL)
		return -ENOMEM;
	if ((err = describe_attributes(w->m, i, from == 0 ? fields : CHANGE_CONTENT, cw.ci)) != 0)
		return err;
	w->cost += describe_cost(cw.ci);
	if (!S_ISREG(i->mode))
		return 0;
	err = meta_chunk_scan(w->m, i, from, take_chunk, &cw);
	return err == -ECANCELED ? 0 : err;
}

/* Whether the file must be introduced with this name: the first of its names in the walk. */
static err_t
is_first_name(struct writing *w, const struct dentry *d, bool *out)
{
	struct inode *i;
	err_t err = meta_inode_get(w->m, d->ino, &i);

	if (err != 0)
		return err;
	*out = true;
	if (S_ISDIR(i->mode) || i->nlink < 2)
		return 0;
	*out = !numset_has(w->linked, d->ino);
	return numset_add(&w->linked, d->ino);
}

static err_t
push_level(struct writing *w, uint64_t ino)
{
	if (w->depth == w->cap) {
		size_t cap = w->cap ? w->cap * 2 : 32;
		struct level *v = reallocarray(w->levels, cap, sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		w->levels = v;
		w->cap = cap;
	}
	w->levels[w->depth++] = (struct level){ ino, 0 };
	return 0;
}

/* -ECANCELED: go on at another place, or later. */
static err_t
take_entry(void *ctx, const struct dentry *d)
{
	struct writing *w = ctx;
	struct change_dentry *cd;
	bool first;
	err_t err;

	if (w->cost >= PART_COST || w->slice == 0)
		return -ECANCELED;
	w->slice--;
	if ((err = is_first_name(w, d, &first)) != 0 || (first && (err = take_inode(w, d->ino, 0)) != 0))
		return err;
	cd = changes_add_dentry(w->part);
	if (cd == NULL)
		return -ENOMEM;
	cd->parent = d->parent;
	cd->ino = d->ino;
	cd->type = d->type;
	memcpy(cd->name, d->name, (size_t)d->name_len + 1);
	w->cost += DESCRIBE_DENTRY_COST + d->name_len;
	w->levels[w->depth - 1].after = d->cookie;
	if (d->type != DT_DIR)
		return 0;
	err = push_level(w, d->ino);
	return err != 0 ? err : -ECANCELED;
}

/* Takes what fits the part, at most a slice of it.  [meta lock] */
static err_t
take_slice(struct writing *w)
{
	err_t err = 0;

	w->slice = LOCK_SLICE;
	while (err == 0 && w->cost < PART_COST && w->slice > 0 && (w->open_ino != 0 || w->depth > 0)) {
		size_t depth = w->depth;

		if (w->open_ino != 0) {
			uint64_t ino = w->open_ino;

			w->open_ino = 0;
			err = take_inode(w, ino, w->open_chunk);
			continue;
		}
		err = meta_dentry_scan(w->m, w->levels[depth - 1].ino, w->levels[depth - 1].after, take_entry, w);
		if (err == 0)
			w->depth--; /* to its end */
		else if (err == -ECANCELED)
			err = 0;
	}
	return err;
}

static err_t
write_parts(struct writing *w)
{
	err_t err;

	if ((err = push_level(w, INODE_ROOT)) != 0)
		return err;
	meta_lock(w->m);
	err = take_inode(w, INODE_ROOT, 0);
	meta_unlock(w->m);
	while (err == 0 && (w->open_ino != 0 || w->depth > 0)) {
		meta_lock(w->m);
		err = take_slice(w);
		meta_unlock(w->m);
		if (err == 0 && w->cost >= PART_COST)
			err = flush_part(w);
	}
	return err != 0 ? err : flush_part(w);
}

/* The manifest. */

static err_t
add_statements(const struct trust *t, struct changes *c)
{
	err_t err = 0;

	for (size_t i = 0; err == 0 && i < trust_statement_count(t); i++) {
		const uint8_t *data;
		size_t len;

		trust_statement_at(t, i, &data, &len);
		err = changes_add_statement(c, data, len);
	}
	return err;
}

static err_t
add_epoch_keys(struct keyring *keys, struct changes *c)
{
	CLEANUP(key32_wipe) struct key32 current = { 0 };
	uint32_t newest;
	err_t err;

	if ((err = keyring_current(keys, &newest)) != 0 || (err = keyring_get(keys, newest, &current)) != 0)
		return err;
	return members_add_epoch_keys(keys, newest, current.b, c);
}

static err_t
write_manifest(struct writing *w)
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	struct vault *v = w->s->v;
	err_t err;

	if ((err = add_statements(v->trust, w->manifest)) != 0 || (err = add_epoch_keys(v->keys, w->manifest)) != 0 ||
	    (err = push_seal(w->s, ENVELOPE_BASE, v->head_seq, v->head_hash, w->manifest, &object)) != 0 ||
	    (err = check_quiet(w)) != 0)
		return err;
	if ((err = chain_write_base(w->s->chain, v->head_seq, object.data, object.len)) != 0)
		return report_store(w->s, err);
	meta_lock(v->meta);
	v->base_seq = v->head_seq;
	v->base_size = w->size + object.len;
	v->tail_size = 0;
	err = vault_save_head(v);
	meta_unlock(v->meta);
	return err;
}

static bool
is_due(const struct vault *v)
{
	uint64_t limit = v->base_size / 2 > TAIL_MIN ? v->base_size / 2 : TAIL_MIN;

	return v->has_head && v->tail_size > limit;
}

err_t
base_write(struct sync *s)
{
	CLEANUP(writing_clear) struct writing w = { .s = s, .m = s->v->meta };
	struct meta_pending_summary p;
	err_t err;

	meta_pending_summary(w.m, &p);
	w.change = p.change;
	err = check_quiet(&w);
	if (err == 0 && (err = changes_new(&w.part)) == 0 && (err = changes_new(&w.manifest)) == 0 &&
	    (err = write_parts(&w)) == 0)
		err = write_manifest(&w);
	if (err == 0)
		log_info("wrote a base of commit %llu to %s", (unsigned long long)s->v->head_seq, s->store->url);
	return err;
}

err_t
base_write_if_due(struct sync *s)
{
	err_t err = is_due(s->v) ? base_write(s) : 0;

	return err == -EBUSY || err == -ECANCELED ? 0 : err;
}

/* Reading. */

static err_t
check_part(struct sync *s, const struct bytes *object, uint64_t index, const struct change_segment *part,
    const uint8_t author[static IDENTITY_ID_LEN], struct changes **out)
{
	CLEANUP(admit_free_opened) struct envelope_opened *opened = calloc(1, sizeof(*opened));
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	uint8_t sha256[32];
	uint32_t epoch;
	err_t err;

	if (opened == NULL)
		return -ENOMEM;
	if ((err = hash_sha256(object->data, object->len, sha256)) != 0)
		return err;
	if (object->len != part->size || memcmp(sha256, part->sha256, sizeof(sha256)) != 0)
		return -EBADMSG;
	if ((err = envelope_epoch(object->data, object->len, &epoch)) != 0)
		return err;
	if ((err = keyring_get(s->v->keys, epoch, &key)) != 0)
		return err == -ENOENT ? -EBADMSG : err;
	if ((err = envelope_open(object->data, object->len, ENVELOPE_PART, index, s->v->id, key.b, opened)) != 0)
		return err;
	if (memcmp(opened->env.author, author, IDENTITY_ID_LEN) != 0)
		return -EBADMSG;
	if ((err = admit_author(s->v->trust, opened)) != 0)
		return err;
	return changes_decode(opened->body, opened->body_len, out);
}

static err_t
no_commit(void *ctx)
{
	(void)ctx;
	return 0;
}

err_t
base_apply_part(struct sync *s, uint64_t index, const struct change_segment *part,
    const uint8_t author[static IDENTITY_ID_LEN])
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	CLEANUP(changes_free_ptr) struct changes *c = NULL;
	CLEANUP(merge_result_clear) struct merge_result result = { 0 };
	struct merge_context mc = { s->v->meta, s->v->content, s->v->lookups, "this device", time(NULL), NULL };
	err_t err;

	if (part->size > ENVELOPE_MAX_LEN)
		return -EBADMSG;
	err = chain_read_segment(s->chain, part->name, part->size, &object);
	if (err != 0)
		return err == -ENOENT ? -EBADMSG : report_store(s, err);
	if ((err = check_part(s, &object, index, part, author, &c)) != 0)
		return err;
	if (c->statement_count != 0 || c->epoch_key_count != 0 || c->part_count != 0 || c->drop_count != 0)
		return -EBADMSG;
	return merge_apply_foreign(&mc, c, no_commit, NULL, &result);
}

err_t
base_apply_parts(struct sync *s, const struct changes *manifest, const uint8_t author[static IDENTITY_ID_LEN])
{
	err_t err = 0;

	for (uint32_t i = 0; err == 0 && i < manifest->part_count; i++)
		err = base_apply_part(s, i, &manifest->parts[i], author);
	return err;
}
