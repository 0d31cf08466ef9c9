/*
 * What is believed of what the store says.  An object counts only if it opens under an epoch key that a statement of the
 * chain has pinned, is signed by a member in force, and follows what we have.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "hash.h"
#include "keywrap.h"
#include "secmem.h"

void
admit_free_opened(struct envelope_opened **o)
{
	if (*o == NULL)
		return;
	envelope_opened_clear(*o);
	free(*o);
}

void
admitted_clear(struct admitted *a)
{
	admit_free_opened(&a->opened);
	changes_free(a->changes);
	trust_free(a->trust);
	keyring_free(a->learned);
	secmem_free(a->box);
	*a = (struct admitted){ 0 };
}

/* The key box that an object's key came out of, to be held against what its statements pin. */
struct box_used {
	char name[CHAIN_NAME_MAX];
	uint8_t sha256[32];
};

static err_t
open_with(struct sync *s, uint64_t seq, const uint8_t *object, size_t len, const uint8_t key[static 32],
    struct admitted *a)
{
	CLEANUP(admit_free_opened) struct envelope_opened *o = calloc(1, sizeof(*o));
	err_t err;

	if (o == NULL)
		return -ENOMEM;
	if ((err = envelope_open(object, len, ENVELOPE_COMMIT, seq, s->v->id, key, o)) != 0)
		return err;
	a->opened = STEAL(o);
	return 0;
}

/* Tries one box.  -EKEYREJECTED: it is not for us, not the object's, or none at all. */
static err_t
open_with_box(struct sync *s, uint64_t seq, const uint8_t *object, size_t len, const struct chain_box *box,
    struct admitted *a, struct box_used *used)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	CLEANUP(secmem_free_ptr) struct keybox_secrets *secrets = secmem_new(sizeof(*secrets));
	err_t err;

	if (secrets == NULL)
		return -ENOMEM;
	if ((err = chain_read_box(s->chain, box->name, &b)) != 0)
		return err == -ENOENT || err == -EBADMSG ? -EKEYREJECTED : report_store(s, err);
	err = keybox_open(b.data, b.len, s->v->id, box->epoch, s->box_identity, s->box_is_recovery, s->box_psk, secrets);
	if (err == 0)
		err = open_with(s, seq, object, len, secrets->epoch_key, a);
	if (err != 0)
		return err == -EBADMSG || err == -EPROTO ? -EKEYREJECTED : err;
	memcpy(used->name, box->name, sizeof(used->name));
	if ((err = hash_sha256(b.data, b.len, used->sha256)) != 0 ||
	    (err = keyring_add(a->learned, box->epoch, secrets->epoch_key)) != 0)
		return err;
	a->box = STEAL(secrets);
	return 0;
}

/* The epoch that this device begins itself: its box is in the store, and known here. */
static err_t
open_with_fresh(struct sync *s, uint64_t seq, const uint8_t *object, size_t len, struct admitted *a, struct box_used *used)
{
	CLEANUP(secmem_free_ptr) struct keybox_secrets *secrets = secmem_new(sizeof(*secrets));
	const struct fresh_epoch *f = s->fresh;
	err_t err;

	if (secrets == NULL)
		return -ENOMEM;
	if ((err = open_with(s, seq, object, len, f->secrets->epoch_key, a)) != 0 ||
	    (err = keyring_add(a->learned, f->epoch, f->secrets->epoch_key)) != 0)
		return err;
	secmem_copy(secrets, f->secrets, sizeof(*secrets));
	memcpy(used->name, f->box_name, sizeof(used->name));
	memcpy(used->sha256, f->box_sha256, sizeof(used->sha256));
	a->box = STEAL(secrets);
	return 0;
}

err_t
admit_statements(struct trust *t, size_t first, const struct changes *c)
{
	err_t err;

	for (uint32_t i = 0; i < c->statement_count; i++) {
		const struct bytes *new = &c->statements[i];

		if (first + i < trust_statement_count(t)) {
			const uint8_t *known;
			size_t known_len;

			trust_statement_at(t, first + i, &known, &known_len);
			if (known_len != new->len || memcmp(known, new->data, new->len) != 0)
				return -EBADMSG;
		} else if ((err = trust_apply(t, new->data, new->len)) != 0) {
			return err == -EPERM ? -EBADMSG : err;
		}
	}
	return 0;
}

err_t
admit_author(const struct trust *t, const struct envelope_opened *o)
{
	const struct trust_member *m = trust_member_find(t, o->env.author);

	if (m == NULL || m->removed || m->kind == MEMBER_INVITATION)
		return -EBADMSG;
	return envelope_verify(o, m->pub.sign);
}

err_t
admit_epoch_keys(const struct changes *c, uint32_t epoch, const uint8_t epoch_key[static 32], struct keyring *keys)
{
	err_t err;

	for (uint32_t i = 0; i < c->epoch_key_count; i++) {
		CLEANUP(key32_wipe) struct key32 key = { 0 };

		if (c->epoch_keys[i].epoch >= epoch)
			return -EBADMSG;
		if ((err = keywrap_unwrap(epoch_key, c->epoch_keys[i].wrapped, key.b)) != 0)
			return err;
		if ((err = keyring_add(keys, c->epoch_keys[i].epoch, key.b)) != 0)
			return err == -EEXIST ? -EBADMSG : err;
	}
	return 0;
}

/* A key that contradicts one that we have would leave files unreadable. */
static err_t
check_known_keys(struct keyring *known, struct keyring *learned)
{
	uint32_t newest;

	if (keyring_current(learned, &newest) != 0)
		return 0; /* it has none */
	for (uint64_t epoch = 0; epoch <= newest; epoch++) {
		CLEANUP(key32_wipe) struct key32 a = { 0 };
		CLEANUP(key32_wipe) struct key32 b = { 0 };

		if (keyring_get(known, (uint32_t)epoch, &a) == 0 && keyring_get(learned, (uint32_t)epoch, &b) == 0 &&
		    !secmem_equal(a.b, b.b, sizeof(a.b)))
			return -EBADMSG;
	}
	return 0;
}

static err_t
learn_epoch_keys(struct sync *s, struct admitted *a)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	uint32_t epoch = a->opened->env.epoch;
	err_t err = keyring_get(s->v->keys, epoch, &key);

	if (err == -ENOENT)
		err = keyring_get(a->learned, epoch, &key);
	if (err != 0 || (err = admit_epoch_keys(a->changes, epoch, key.b, a->learned)) != 0)
		return err;
	return check_known_keys(s->v->keys, a->learned);
}

/*
 * The newest epoch seals: whoever was removed still has the older keys.  And a removal without a new epoch would leave the
 * current key in the hands of the removed.  -EKEYREJECTED: the key came out of another box than the one that is named.
 */
static err_t
check_epoch(const struct trust *t, uint32_t epoch, const struct box_used *used)
{
	const char *name;
	uint8_t sha256[32];
	uint32_t current;

	if (trust_epoch(t, &current, &name, sha256) != 0 || current != epoch || trust_needs_epoch(t))
		return -EBADMSG;
	if (used != NULL && (strcmp(used->name, name) != 0 || memcmp(used->sha256, sha256, sizeof(sha256)) != 0))
		return -EKEYREJECTED;
	return 0;
}

static err_t
check_place(struct sync *s, uint64_t seq, const struct envelope *e, const uint8_t hash[static 32])
{
	static const uint8_t zeros[32];
	const uint8_t *previous = s->v->has_head ? s->v->head_hash : zeros;

	if (s->pinned != NULL && s->pinned->seq == seq && memcmp(s->pinned->hash, hash, sizeof(zeros)) != 0)
		return report_why(s, -ESTALE, "the history in %s is another one than that which was seen when the invitation was made: "
		    "it was rolled back or exchanged; do not use this store", s->store->url);
	if (memcmp(e->previous, previous, sizeof(zeros)) == 0)
		return 0;
	return report_why(s, -ESTALE, "the history in %s has been forked: its commit %" PRIu64 " does not follow the one that "
	    "this device has seen; nothing was changed here; find out who wrote to the store, and restore its newest copy",
	    s->store->url, seq);
}

static err_t
check_content(struct sync *s, uint64_t seq, struct admitted *a, const struct box_used *used)
{
	const struct envelope *e = &a->opened->env;
	const struct trust_member *me;
	err_t err;

	if ((err = check_place(s, seq, e, a->hash)) != 0 ||
	    (err = changes_decode(a->opened->body, a->opened->body_len, &a->changes)) != 0 ||
	    (err = trust_clone(s->v->trust, &a->trust)) != 0)
		return err;
	if (a->changes->part_count != 0)
		return -EBADMSG;
	a->first_statement = trust_statement_count(s->v->trust);
	if ((err = admit_statements(a->trust, seq == 0 ? 0 : a->first_statement, a->changes)) != 0 ||
	    (err = check_epoch(a->trust, e->epoch, used)) != 0 || (err = admit_author(a->trust, a->opened)) != 0 ||
	    (err = learn_epoch_keys(s, a)) != 0)
		return err;
	me = trust_member_find(a->trust, s->v->my_id);
	if (me != NULL && me->removed)
		return report_why(s, -EKEYREVOKED, "this device has been removed from the vault; what is here stays readable, "
		    "and \"snugfs export-pending FOLDER\" copies out what never reached the store");
	return 0;
}

/* By one box of its epoch.  *opened_out: the box opened it, whatever came of that. */
static err_t
admit_by_box(struct sync *s, uint64_t seq, const uint8_t *object, size_t len, const struct chain_box *box, bool *opened_out,
    struct admitted *out)
{
	CLEANUP(admitted_clear) struct admitted a = { .len = len };
	struct box_used used;
	err_t err;

	if ((err = keyring_new(&a.learned)) != 0 || (err = open_with_box(s, seq, object, len, box, &a, &used)) != 0)
		return err;
	*opened_out = true;
	if ((err = hash_sha256(object, len, a.hash)) != 0 || (err = check_content(s, seq, &a, &used)) != 0)
		return err;
	*out = a;
	a = (struct admitted){ 0 };
	return 0;
}

/* An epoch that we have no key of: one of the store's boxes must hold it for us, the one that the commit names. */
static err_t
admit_by_boxes(struct sync *s, uint64_t seq, const uint8_t *object, size_t len, uint32_t epoch, struct admitted *out)
{
	CLEANUP(free_ptr) struct chain_box *boxes = NULL;
	size_t count = 0;
	unsigned tried = 0;
	bool opened = false;
	err_t err;

	if ((err = chain_list_boxes(s->chain, &boxes, &count)) != 0)
		return report_store(s, err);
	for (size_t i = 0; i < count && tried < BOXES_TRIED_MAX; i++) {
		if (boxes[i].epoch != epoch)
			continue;
		tried++;
		err = admit_by_box(s, seq, object, len, &boxes[i], &opened, out);
		if (err != -EKEYREJECTED)
			return err;
	}
	if (opened)
		return -EBADMSG;
	return report_why(s, -EKEYREVOKED, "commit %" PRIu64 " in %s is closed to this device: it has been removed from the "
	    "vault (see status on another device), or the store withholds a key box; what is here stays readable, and \"snugfs "
	    "export-pending FOLDER\" copies out what never got there; to come back, join again", seq, s->store->url);
}

err_t
admit_commit(struct sync *s, uint64_t seq, const uint8_t *object, size_t len, struct admitted *out)
{
	CLEANUP(admitted_clear) struct admitted a = { .len = len };
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	struct box_used used;
	uint32_t epoch = 0;
	bool fresh = false;
	err_t err;

	if ((err = envelope_epoch(object, len, &epoch)) != 0)
		return err;
	err = keyring_get(s->v->keys, epoch, &key);
	if (err == -ENOENT) {
		fresh = s->fresh != NULL && s->fresh->epoch == epoch;
		if (!fresh)
			return admit_by_boxes(s, seq, object, len, epoch, out);
	} else if (err != 0) {
		return err;
	}
	if ((err = hash_sha256(object, len, a.hash)) != 0 || (err = keyring_new(&a.learned)) != 0)
		return err;
	err = fresh ? open_with_fresh(s, seq, object, len, &a, &used) : open_with(s, seq, object, len, key.b, &a);
	if (err != 0 || (err = check_content(s, seq, &a, fresh ? &used : NULL)) != 0)
		return err;
	*out = a;
	a = (struct admitted){ 0 };
	return 0;
}
