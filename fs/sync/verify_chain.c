/*
 * The objects that carry metadata.  The chain is followed from its head, which this device pins, to the beginning: each
 * commit holds the SHA-256 of the one before, so that what was replaced is noticed whoever has signed it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "log.h"
#include "members.h"
#include "verify_internal.h"

/* The marker. */

static err_t
rewrite_marker(struct verify *v, bool *repaired_out)
{
	err_t err;

	if (!v->o->repair || !v->has_head)
		return 0;
	if ((err = chain_mend_marker(v->s->chain, v->s->v->id)) != 0)
		return verify_store_failed(v, err);
	*repaired_out = true;
	return 0;
}

err_t
verify_marker(struct verify *v)
{
	bool repaired = false;
	uint8_t id[32];
	err_t err = chain_read_marker(v->s->chain, id);
	enum verify_kind kind = err == -ENOENT ? VERIFY_MISSING : VERIFY_CHANGED;

	if (err == 0 && memcmp(id, v->s->v->id, sizeof(id)) != 0) {
		verify_count(v, VERIFY_FOREIGN, false);
		return verify_tell(v, VERIFY_FOREIGN, "v", NULL, false, "it names another vault: nothing is written to this store; "
		    "put the right object back, or use another store");
	}
	if (err == -ENOENT && !v->has_head)
		return 0; /* nothing was ever synced */
	if (err == 0 || (err != -ENOENT && err != -EBADMSG && err != -EPROTO))
		return err == 0 ? verify_step(v, 1, "the marker") : verify_store_failed(v, err);
	if ((err = rewrite_marker(v, &repaired)) != 0)
		return err;
	verify_count(v, kind, repaired);
	return verify_tell(v, kind, "v", NULL, repaired, repaired ? "it was written anew" : "without it nobody finds the vault "
	    "to join it; \"snugfs verify --repair\" writes it anew");
}

/* Key boxes. */

bool
verify_is_box(const struct verify *v, const char *name)
{
	const char *pinned;
	uint8_t sha256[32];

	for (uint32_t epoch = 0; trust_epoch_at(v->trust, epoch, &pinned, sha256) == 0; epoch++)
		if (strcmp(pinned, name) == 0)
			return true;
	for (size_t i = 0; i < trust_member_count(v->trust); i++) {
		const struct trust_member *m = trust_member_at(v->trust, i);

		if (m->kind == MEMBER_INVITATION && strcmp(m->box_name, name) == 0)
			return true;
	}
	return false;
}

/* The same secrets can't be sealed again under the hash that the chain pins: a new epoch has a new box. */
static err_t
say_new_epoch(struct members_saying *w, void *ctx)
{
	(void)ctx;
	members_begin_epoch(w, NULL);
	return 0;
}

static bool
begin_epoch(struct verify *v)
{
	CLEANUP(free_ptr) char *why = NULL;
	err_t err = members_commit(v->s, say_new_epoch, NULL, &why, NULL);

	if (err != 0)
		log_warn("a new epoch could not be begun: %s", why != NULL ? why : strerror(-err));
	v->has_new_epoch = err == 0;
	return err == 0;
}

static err_t
check_box(struct verify *v, uint32_t epoch, bool newest, const char *name, const uint8_t sha256[static 32])
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	uint8_t hash[32];
	enum verify_kind kind;
	bool repaired;
	err_t err = chain_read_box(v->s->chain, name, &b);

	if (err != 0 && err != -ENOENT && err != -EBADMSG)
		return verify_store_failed(v, err);
	kind = err == -ENOENT ? VERIFY_MISSING : VERIFY_CHANGED;
	if (err == 0) {
		verify_was_read(v, b.len);
		if ((err = hash_sha256(b.data, b.len, hash)) != 0)
			return err;
		if (memcmp(hash, sha256, sizeof(hash)) == 0)
			return 0;
	}
	repaired = newest && v->o->repair && begin_epoch(v);
	verify_count(v, kind, repaired);
	if (repaired)
		return verify_tell(v, kind, name, NULL, true, "it is the key box of epoch %" PRIu32 ": a new epoch was begun, which has "
		    "a box of its own", epoch);
	return verify_tell(v, kind, name, NULL, false, newest ? "it is the key box of epoch %" PRIu32 ", the newest: devices that "
	    "have its key go on, but no device can join with the recovery key; \"snugfs verify --repair\" begins a new epoch" :
	    "it is the key box of epoch %" PRIu32 ": only a device that has not synced since then needs it, and would have to join "
	    "again", epoch);
}

static err_t
learn_new_epoch(struct verify *v)
{
	struct trust *t;
	err_t err;

	meta_lock(v->s->v->meta);
	err = trust_clone(v->s->v->trust, &t);
	meta_unlock(v->s->v->meta);
	if (err != 0)
		return err;
	trust_free(v->trust);
	v->trust = t;
	return 0;
}

err_t
verify_boxes(struct verify *v)
{
	const char *name;
	uint8_t sha256[32];
	uint32_t newest;
	err_t err = 0;

	if (!v->has_head || trust_epoch(v->trust, &newest, &name, sha256) != 0)
		return 0;
	for (uint64_t epoch = 0; err == 0 && epoch <= newest; epoch++)
		if ((err = trust_epoch_at(v->trust, (uint32_t)epoch, &name, sha256)) == 0)
			err = check_box(v, (uint32_t)epoch, epoch == newest, name, sha256);
	return err == 0 && v->has_new_epoch ? learn_new_epoch(v) : err;
}

/* Envelopes. */

/* Whoever signed it was a member, if perhaps no longer. */
static err_t
check_author(const struct trust *t, const struct envelope_opened *o)
{
	const struct trust_member *m = trust_member_find(t, o->env.author);

	return m != NULL ? envelope_verify(o, m->pub.sign) : -EBADMSG;
}

/* -EBADMSG: it is not what its name says, or nobody's. */
static err_t
open_object(struct verify *v, const struct bytes *object, enum envelope_kind kind, uint64_t number,
    struct envelope_opened *out)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	struct envelope_opened o = { 0 };
	uint32_t epoch;
	err_t err = envelope_epoch(object->data, object->len, &epoch);

	if (err == 0)
		err = keyring_get(v->s->v->keys, epoch, &key);
	if (err == 0)
		err = envelope_open(object->data, object->len, kind, number, v->s->v->id, key.b, &o);
	if (err == 0)
		err = check_author(v->trust, &o);
	if (err == -ENOENT || err == -EPROTO)
		err = -EBADMSG;
	if (err != 0) {
		envelope_opened_clear(&o);
		return err;
	}
	*out = o;
	return 0;
}

/* Commits. */

/* Which hash the next object on the way back must have. */
struct link {
	bool known;
	uint8_t sha256[32];
};

static err_t
lost_commit(struct verify *v, uint64_t seq, enum verify_kind kind)
{
	char name[CHAIN_NAME_MAX];

	if (!v->has_gap || seq > v->gap_seq)
		v->gap_seq = seq;
	v->has_gap = true;
	verify_count(v, kind, false);
	snprintf(name, sizeof(name), "c/%012" PRIu64, seq);
	if (seq == v->head_seq)
		return verify_tell(v, kind, name, NULL, false, "it is the newest commit that this device knows, and no device keeps "
		    "copies of commits: nothing more can be synced with this store; everything is here; restore the store's copy "
		    "of it, or use an empty store");
	return verify_tell(v, kind, name, NULL, false, "devices that have applied it go on; one that has not would have to join "
	    "again, and what the folder looked like around then can't be shown; no device keeps copies of commits: restore the "
	    "store's copy of it");
}

static err_t
check_commit(struct verify *v, uint64_t seq, const struct bytes *object, struct link *link)
{
	CLEANUP(envelope_opened_clear) struct envelope_opened opened = { 0 };
	CLEANUP(changes_free_ptr) struct changes *c = NULL;
	uint8_t hash[32];
	err_t err = hash_sha256(object->data, object->len, hash);

	if (err != 0)
		return err;
	if (link->known && memcmp(hash, link->sha256, sizeof(hash)) != 0)
		return -EBADMSG;
	if ((err = open_object(v, object, ENVELOPE_COMMIT, seq, &opened)) != 0 ||
	    (err = changes_decode(opened.body, opened.body_len, &c)) != 0)
		return err == -EPROTO ? -EBADMSG : err;
	link->known = true;
	memcpy(link->sha256, opened.env.previous, sizeof(link->sha256));
	return verify_objects_expect_all(v, c);
}

err_t
verify_commits(struct verify *v)
{
	struct link link = { v->has_head, { 0 } };
	err_t err = 0;

	memcpy(link.sha256, v->head_hash, sizeof(link.sha256));
	for (uint64_t left = v->has_head ? v->head_seq + 1 : 0; err == 0 && left > 0; left--) {
		CLEANUP(bytes_clear) struct bytes object = { 0 };
		uint64_t seq = left - 1;

		if ((err = verify_step(v, 1, "commits")) != 0)
			return err;
		err = chain_read_commit(v->s->chain, seq, &object);
		if (err != 0 && err != -ENOENT && err != -EBADMSG)
			return verify_store_failed(v, err);
		verify_was_read(v, object.len);
		if (err == 0 && (err = check_commit(v, seq, &object, &link)) != 0 && err != -EBADMSG)
			return err;
		if (err != 0) {
			link.known = false;
			err = lost_commit(v, seq, err == -ENOENT ? VERIFY_MISSING : VERIFY_CHANGED);
		}
	}
	return err;
}

/* 0 also if this device knows it by now, or can't judge it. */
static err_t
check_next(struct verify *v, uint64_t seq, const struct bytes *object)
{
	CLEANUP(admitted_clear) struct admitted a = { 0 };
	struct sync *s = v->s;
	err_t err = 0;

	pthread_mutex_lock(&s->round);
	if (s->v->has_head == v->has_head && s->v->head_seq == v->head_seq)
		err = admit_commit(s, seq, object->data, object->len, &a);
	pthread_mutex_unlock(&s->round);
	return err == -EBADMSG || err == -ESTALE || err == -EPROTO || err == -ENOMEM ? err : 0;
}

err_t
verify_next(struct verify *v)
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	uint64_t seq = v->has_head ? v->head_seq + 1 : 0;
	char name[CHAIN_NAME_MAX];
	enum verify_kind kind;
	err_t err = chain_read_commit(v->s->chain, seq, &object);

	if (err != 0 && err != -ENOENT && err != -EBADMSG)
		return verify_store_failed(v, err);
	if (err == -ENOENT && v->newest_seq <= seq)
		return 0;
	kind = err == -ENOENT ? VERIFY_MISSING : VERIFY_CHANGED;
	if (err == 0) {
		verify_was_read(v, object.len);
		if ((err = check_next(v, seq, &object)) == 0 || err == -ENOMEM)
			return err;
	}
	verify_count(v, kind, false);
	snprintf(name, sizeof(name), "c/%012" PRIu64, seq);
	if (err == -EPROTO)
		return verify_tell(v, kind, name, NULL, false, "it stands where the next commit belongs, in a format that this program "
		    "does not know: a newer version wrote it, then update this one; if none did, nobody can sync until it is gone");
	return verify_tell(v, kind, name, NULL, false, "it is the next commit, which this device does not know yet: nothing that it or a "
	    "later one says can be had here, by export or by a device that joins, until the store's copy of it is restored");
}

/* Bases. */

static err_t
check_part(struct verify *v, uint64_t index, const struct change_segment *part, const uint8_t author[static IDENTITY_ID_LEN])
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	CLEANUP(envelope_opened_clear) struct envelope_opened opened = { 0 };
	CLEANUP(changes_free_ptr) struct changes *c = NULL;
	struct verify_object_info *o;
	uint8_t hash[32];
	err_t err;

	if ((err = verify_object_expect(v, part->name, &o)) != 0)
		return err;
	o->size = part->size;
	o->part = o->checked = true;
	if (part->size > ENVELOPE_MAX_LEN)
		return -EBADMSG;
	if ((err = chain_read_segment(v->s->chain, part->name, part->size, &object)) != 0)
		return err;
	verify_was_read(v, object.len);
	if ((err = hash_sha256(object.data, object.len, hash)) != 0)
		return err;
	if (object.len != part->size || memcmp(hash, part->sha256, sizeof(hash)) != 0)
		return -EBADMSG;
	if ((err = open_object(v, &object, ENVELOPE_PART, index, &opened)) != 0)
		return err;
	if (memcmp(opened.env.author, author, IDENTITY_ID_LEN) != 0)
		return -EBADMSG;
	err = changes_decode(opened.body, opened.body_len, &c);
	return err != 0 ? err : verify_objects_expect_all(v, c);
}

/* *lost_out: a part does not hold; then repairing means to do without the base. */
static err_t
check_parts(struct verify *v, uint64_t seq, const struct changes *manifest, const uint8_t author[static IDENTITY_ID_LEN],
    bool *lost_out)
{
	err_t err = 0;

	for (uint32_t i = 0; err == 0 && i < manifest->part_count; i++) {
		const struct change_segment *part = &manifest->parts[i];
		enum verify_kind kind;
		char name[CHAIN_NAME_MAX];

		if ((err = verify_step(v, 0, "bases")) != 0)
			return err;
		err = check_part(v, i, part, author);
		if (err == 0)
			continue;
		if (err != -ENOENT && err != -EBADMSG && err != -EPROTO)
			return err == -ENOMEM ? err : verify_store_failed(v, err);
		*lost_out = true;
		kind = err == -ENOENT ? VERIFY_MISSING : VERIFY_CHANGED;
		chain_segment_object_name(part->name, name);
		verify_count(v, kind, v->o->repair);
		err = verify_tell(v, kind, name, NULL, v->o->repair, "it is a part of the base %012" PRIu64, seq);
	}
	return err;
}

static err_t
check_base(struct verify *v, uint64_t seq, const struct bytes *object, bool *lost_out)
{
	CLEANUP(envelope_opened_clear) struct envelope_opened opened = { 0 };
	CLEANUP(changes_free_ptr) struct changes *manifest = NULL;
	err_t err;

	if ((err = open_object(v, object, ENVELOPE_BASE, seq, &opened)) != 0 ||
	    (err = changes_decode(opened.body, opened.body_len, &manifest)) != 0)
		return err == -EPROTO ? -EBADMSG : err;
	if (seq == v->head_seq && memcmp(opened.env.previous, v->head_hash, sizeof(v->head_hash)) != 0)
		return -EBADMSG;
	return check_parts(v, seq, manifest, opened.env.author, lost_out);
}

/* Whoever joins passes over it for an earlier one, or for the first commit. */
static err_t
lost_base(struct verify *v, uint64_t seq, enum verify_kind kind)
{
	char name[CHAIN_NAME_MAX];
	bool repaired = false;
	err_t err;

	snprintf(name, sizeof(name), "b/%012" PRIu64, seq);
	if (v->o->repair) {
		if ((err = store_remove(v->s->store, name)) != 0)
			return verify_store_failed(v, err);
		repaired = true;
	}
	v->base_damaged = true;
	verify_count(v, kind, repaired);
	return verify_tell(v, kind, name, NULL, repaired, repaired ? "it was deleted, and a new base is written" : "a device that "
	    "joins reads an earlier base and more commits instead; \"snugfs verify --repair\" writes a new one");
}

static err_t
verify_base(struct verify *v, uint64_t seq)
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	bool lost = false;
	err_t err = verify_step(v, 1, "bases");

	if (err != 0)
		return err;
	err = chain_read_base(v->s->chain, seq, &object);
	if (err != 0 && err != -EBADMSG)
		return err == -ENOENT ? 0 : verify_store_failed(v, err); /* collected meanwhile */
	verify_was_read(v, object.len);
	if (err == 0)
		err = check_base(v, seq, &object, &lost);
	if (err == -EBADMSG || (err == 0 && lost))
		return lost_base(v, seq, VERIFY_CHANGED);
	if (err == 0 && (!v->has_base || seq > v->base_seq)) {
		v->has_base = true;
		v->base_seq = seq;
	}
	return err;
}

err_t
verify_bases(struct verify *v, const uint64_t *seqs, size_t count)
{
	err_t err = 0;

	for (size_t i = 0; err == 0 && i < count; i++)
		if (v->has_head && seqs[i] <= v->head_seq) /* later ones are news */
			err = verify_base(v, seqs[i]);
	return err;
}

/* What follows from it. */

/* Not while somebody else pushes; -EBUSY: something is pending here. */
static err_t
write_base(struct verify *v)
{
	err_t err;

	pthread_mutex_lock(&v->s->round);
	err = base_write(v->s);
	pthread_mutex_unlock(&v->s->round);
	return err;
}

err_t
verify_conclude(struct verify *v)
{
	bool gap_matters = v->has_gap && v->gap_seq < v->head_seq && (!v->has_base || v->base_seq < v->gap_seq);
	char name[CHAIN_NAME_MAX];
	err_t err;

	if (!v->base_damaged && !gap_matters && !v->has_new_epoch)
		return 0;
	if (v->o->repair) {
		err = write_base(v);
		if (err != -EBUSY)
			return err;
	}
	if (!gap_matters)
		return 0;
	snprintf(name, sizeof(name), "c/%012" PRIu64, v->gap_seq);
	return verify_tell(v, VERIFY_MISSING, name, NULL, false, "no base stands behind the lost commit, so that no device can "
	    "join: %s", v->o->repair ? "a new one can't be written while changes here wait for being synced; run \"snugfs sync\", "
	    "then this again" : "\"snugfs verify --repair\" writes one");
}
