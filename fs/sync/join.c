/*
 * A new device, by the recovery key: opens a key box with it, finds a beginning (the newest base that holds, else the first
 * commit) whose statements prove that this is the key's own vault, reads on from there, and enters itself into the chain.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "hash.h"
#include "log.h"
#include "secmem.h"

/* A key box that the recovery key opens. */
struct opened_box {
	char name[CHAIN_NAME_MAX];
	uint32_t epoch;
	uint8_t sha256[32];
	struct keybox_secrets *secrets; /* in secret memory */
};

struct join {
	const struct vault_create_params *p;
	struct store *store;
	struct chain *chain;
	char **why_out;
	uint8_t vault_id[32];
	struct identity *recovery;
	uint8_t recovery_id[IDENTITY_ID_LEN];
	struct key32 psk;
	struct opened_box *boxes;
	size_t box_count;
	struct vault *v; /* while it is being made */
	struct sync *s;
};

static void
join_clear(struct join *j)
{
	engine_free(j->s);
	if (j->v != NULL)
		vault_discard(j->v);
	for (size_t i = 0; i < j->box_count; i++)
		secmem_free(j->boxes[i].secrets);
	free(j->boxes);
	key32_wipe(&j->psk);
	identity_free(j->recovery);
	chain_free(j->chain);
}

static err_t
explain_store(struct join *j, err_t err)
{
	char what[384];

	if (err == 0)
		return 0;
	store_explain(j->store, err, what, sizeof(what));
	store_say(j->why_out, "%s; nothing was made here: try again when that is mended", what);
	return err;
}

static err_t
find_vault(struct join *j)
{
	err_t err = chain_read_marker(j->chain, j->vault_id);

	switch (-err) {
	case ENOENT:
		store_say(j->why_out, "there is no vault in %s; check the address, or make a vault with \"snugfs init\"",
		    j->store->url);
		return err;
	case EPROTO:
		store_say(j->why_out, "the vault in %s was made by a newer version of this program; update it here", j->store->url);
		return err;
	case EBADMSG:
		store_say(j->why_out, "the object \"v\" in %s is damaged; a device that has the vault writes it anew after it is "
		    "deleted", j->store->url);
		return err;
	default:
		return explain_store(j, err);
	}
}

/* Key boxes. */

static err_t
try_box(struct join *j, const struct chain_box *box)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	CLEANUP(secmem_free_ptr) struct keybox_secrets *secrets = secmem_new(sizeof(*secrets));
	struct opened_box *ob = &j->boxes[j->box_count];
	err_t err;

	if (secrets == NULL)
		return -ENOMEM;
	if ((err = chain_read_box(j->chain, box->name, &b)) != 0)
		return err == -ENOENT ? 0 : explain_store(j, err);
	err = keybox_open(b.data, b.len, j->vault_id, box->epoch, j->recovery, true, j->psk.b, secrets);
	if (err == -EKEYREJECTED)
		return 0;
	if (err == -EBADMSG || err == -EPROTO) {
		log_warn("the key box %s is damaged or of a newer version; it is left aside", box->name);
		return 0;
	}
	if (err != 0 || (err = hash_sha256(b.data, b.len, ob->sha256)) != 0)
		return err;
	memcpy(ob->name, box->name, sizeof(ob->name));
	ob->epoch = box->epoch;
	ob->secrets = STEAL(secrets);
	j->box_count++;
	return 0;
}

static err_t
open_boxes(struct join *j)
{
	CLEANUP(free_ptr) struct chain_box *boxes = NULL;
	size_t count = 0;
	err_t err;

	if ((err = chain_list_boxes(j->chain, &boxes, &count)) != 0)
		return explain_store(j, err);
	if (count == 0) {
		store_say(j->why_out, "the vault in %s is still empty: run \"snugfs sync\" on the first computer, then join again",
		    j->store->url);
		return -ENOENT;
	}
	j->boxes = calloc(count, sizeof(*j->boxes));
	if (j->boxes == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if ((err = try_box(j, &boxes[i])) != 0)
			return err;
	if (j->box_count == 0) {
		store_say(j->why_out, "this recovery key is not the one of the vault in %s; check both", j->store->url);
		return -EKEYREJECTED;
	}
	return 0;
}

/* A beginning: a base, or the first commit. */

struct start {
	struct envelope_opened *opened;
	struct changes *changes;
	struct trust *trust;
	struct keyring *keys;
	const struct opened_box *box; /* borrowed */
	uint64_t size;
};

static void
start_clear(struct start *st)
{
	admit_free_opened(&st->opened);
	changes_free(st->changes);
	trust_free(st->trust);
	keyring_free(st->keys);
}

/* The genesis is the vault's, and this recovery key signed it or was put in force since. */
static err_t
check_trust(const struct join *j, const struct start *st)
{
	const uint8_t *id = trust_vault_id(st->trust);
	const struct trust_member *recovery = trust_recovery(st->trust);
	const char *box_name;
	uint8_t box_sha256[32];
	uint32_t epoch;

	if (id == NULL || memcmp(id, j->vault_id, sizeof(j->vault_id)) != 0)
		return -EBADMSG;
	if (recovery == NULL || memcmp(recovery->id, j->recovery_id, sizeof(j->recovery_id)) != 0)
		return -EKEYREJECTED;
	if (trust_epoch(st->trust, &epoch, &box_name, box_sha256) != 0 || epoch != st->opened->env.epoch ||
	    strcmp(box_name, st->box->name) != 0 || memcmp(box_sha256, st->box->sha256, sizeof(box_sha256)) != 0)
		return -EBADMSG;
	return admit_author(st->trust, st->opened);
}

static err_t
read_start(const struct join *j, struct start *st)
{
	uint32_t epoch = st->opened->env.epoch;
	err_t err;

	if ((err = changes_decode(st->opened->body, st->opened->body_len, &st->changes)) != 0 ||
	    (err = trust_new(&st->trust)) != 0 || (err = admit_statements(st->trust, 0, st->changes)) != 0 ||
	    (err = check_trust(j, st)) != 0 || (err = keyring_new(&st->keys)) != 0 ||
	    (err = keyring_add(st->keys, epoch, st->box->secrets->epoch_key)) != 0)
		return err;
	return admit_epoch_keys(st->changes, epoch, st->box->secrets->epoch_key, st->keys);
}

static err_t
open_start(const struct join *j, enum envelope_kind kind, uint64_t seq, const struct bytes *object, struct start *out)
{
	CLEANUP(start_clear) struct start st = { .size = object->len };
	uint32_t epoch;
	err_t err = envelope_epoch(object->data, object->len, &epoch);

	if (err != 0)
		return err;
	st.opened = calloc(1, sizeof(*st.opened));
	if (st.opened == NULL)
		return -ENOMEM;
	err = -EBADMSG;
	for (size_t i = 0; i < j->box_count && err == -EBADMSG; i++) {
		if (j->boxes[i].epoch != epoch)
			continue;
		st.box = &j->boxes[i];
		err = envelope_open(object->data, object->len, kind, seq, j->vault_id, st.box->secrets->epoch_key, st.opened);
	}
	if (err != 0 || (err = read_start(j, &st)) != 0)
		return err;
	*out = st;
	st = (struct start){ 0 };
	return 0;
}

/* The local half, with the statements and keys of the beginning. */
static err_t
make_vault(struct join *j, const struct start *st)
{
	CLEANUP(free_ptr) uint32_t *epochs = NULL;
	CLEANUP(secmem_free_ptr) uint8_t(*keys)[32] = NULL;
	uint32_t newest;
	size_t count = 0;
	err_t err = keyring_current(st->keys, &newest);

	if (err != 0)
		return err;
	epochs = calloc((size_t)newest + 1, sizeof(*epochs));
	keys = secmem_new(((size_t)newest + 1) * sizeof(*keys));
	if (epochs == NULL || keys == NULL)
		return -ENOMEM;
	for (uint64_t epoch = 0; epoch <= newest; epoch++) {
		CLEANUP(key32_wipe) struct key32 key = { 0 };

		if (keyring_get(st->keys, (uint32_t)epoch, &key) != 0)
			continue;
		epochs[count] = (uint32_t)epoch;
		memcpy(keys[count++], key.b, sizeof(key.b));
	}
	err = vault_create_joined(j->p, st->trust, st->box->secrets, epochs, (const uint8_t(*)[32])keys, count, &j->v);
	if (err == -EEXIST || err == -ENOTEMPTY)
		store_say(j->why_out, "%s exists and is not empty; choose another directory", j->p->dir);
	if (err != 0)
		return err;
	if ((err = engine_new(j->v, j->store, &j->s)) != 0)
		return err;
	j->s->box_identity = j->recovery;
	j->s->box_psk = j->psk.b;
	j->s->box_is_recovery = true;
	j->s->joining = true;
	return 0;
}

static void
unmake_vault(struct join *j)
{
	engine_free(j->s);
	j->s = NULL;
	if (j->v != NULL)
		vault_discard(j->v);
	j->v = NULL;
}

static err_t
apply_base(struct join *j, uint64_t seq, const struct start *st)
{
	struct vault *v = j->v;
	err_t err = base_apply_parts(j->s, st->changes, st->opened->env.author);

	if (err != 0)
		return err;
	meta_lock(v->meta);
	v->has_head = true;
	v->head_seq = v->base_seq = seq;
	memcpy(v->head_hash, st->opened->env.previous, sizeof(v->head_hash));
	v->base_size = st->size;
	for (uint32_t i = 0; i < st->changes->part_count; i++)
		v->base_size += st->changes->parts[i].size;
	err = vault_save_head(v);
	meta_unlock(v->meta);
	return err;
}

/*
 * A base must say who was a member when its commit was made.  A device that was removed before could else leave its own removal
 * out, and seal the base with the key that it still has: the commit itself is of a later epoch, which it can't open.
 */
static err_t
check_base_commit(struct join *j, uint64_t seq, const struct start *st)
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	CLEANUP(admit_free_opened) struct envelope_opened *opened = calloc(1, sizeof(*opened));
	uint8_t hash[32];
	uint32_t epoch;
	err_t err;

	if (opened == NULL)
		return -ENOMEM;
	if ((err = chain_read_commit(j->chain, seq, &object)) != 0)
		return err == -ENOENT ? -EBADMSG : explain_store(j, err);
	if ((err = hash_sha256(object.data, object.len, hash)) != 0 ||
	    (err = envelope_epoch(object.data, object.len, &epoch)) != 0)
		return err;
	if (memcmp(hash, st->opened->env.previous, sizeof(hash)) != 0 || epoch != st->opened->env.epoch)
		return -EBADMSG;
	if ((err = envelope_open(object.data, object.len, ENVELOPE_COMMIT, seq, j->vault_id, st->box->secrets->epoch_key, opened)) !=
	    0)
		return err;
	return admit_author(st->trust, opened);
}

/* The base's author must still be a member at the end of the chain: who was removed may not say what was before. */
static err_t
follow_base(struct join *j, const uint8_t author[static IDENTITY_ID_LEN], bool *holds_out)
{
	const struct trust_member *m;
	bool news;
	err_t err = pull_all(j->s, &news);

	if (err != 0)
		return err;
	m = trust_member_find(j->v->trust, author);
	*holds_out = m != NULL && !m->removed;
	return 0;
}

/* -EBADMSG, -EPROTO, -EKEYREJECTED: it does not hold. */
static err_t
begin_at_base(struct join *j, uint64_t seq, uint8_t author_out[static IDENTITY_ID_LEN])
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	CLEANUP(start_clear) struct start st = { 0 };
	err_t err = chain_read_base(j->chain, seq, &object);

	if (err != 0)
		return err == -ENOENT ? -EBADMSG : explain_store(j, err);
	if ((err = open_start(j, ENVELOPE_BASE, seq, &object, &st)) != 0)
		return err;
	if (st.changes->segment_count != 0 || st.changes->inode_count != 0 || st.changes->dentry_count != 0)
		return -EBADMSG; /* these are in its parts */
	if ((err = check_base_commit(j, seq, &st)) != 0 || (err = make_vault(j, &st)) != 0)
		return err;
	memcpy(author_out, st.opened->env.author, IDENTITY_ID_LEN);
	return apply_base(j, seq, &st);
}

static err_t
begin_at_first_commit(struct join *j)
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	CLEANUP(start_clear) struct start st = { 0 };
	err_t err = chain_read_commit(j->chain, 0, &object);

	if (err == -ENOENT) {
		store_say(j->why_out, "the vault in %s is still empty: run \"snugfs sync\" on the first computer, then join again",
		    j->store->url);
		return err;
	}
	if (err != 0)
		return explain_store(j, err);
	err = open_start(j, ENVELOPE_COMMIT, 0, &object, &st);
	if (err == -EBADMSG)
		store_say(j->why_out, "the first commit in %s is damaged or forged; restore the store's copy of it", j->store->url);
	if (err == -EKEYREJECTED)
		store_say(j->why_out, "this recovery key is not the one of the vault in %s; check both", j->store->url);
	return err != 0 ? err : make_vault(j, &st);
}

/* The newest base that holds; what does not hold is passed over, since the chain itself has it all. */
static err_t
begin(struct join *j)
{
	CLEANUP(free_ptr) uint64_t *seqs = NULL;
	size_t count = 0;
	err_t err = chain_list_bases(j->chain, &seqs, &count);

	if (err != 0)
		return explain_store(j, err);
	for (size_t i = 0; i < count; i++) {
		uint8_t author[IDENTITY_ID_LEN];
		bool holds = false;

		err = begin_at_base(j, seqs[i], author);
		if (err == 0 && ((err = follow_base(j, author, &holds)) != 0 || holds))
			return err;
		if (err != 0 && err != -EBADMSG && err != -EPROTO && err != -EKEYREJECTED)
			return err;
		unmake_vault(j);
		log_warn("the base %" PRIu64 " in %s %s; an earlier one is used", seqs[i], j->store->url,
		    err != 0 ? "is damaged or forged" : "is by a device that has been removed since");
	}
	return begin_at_first_commit(j);
}

/* Entering. */

static err_t
add_device(struct join *j)
{
	CLEANUP(changes_free_ptr) struct changes *c = NULL;
	CLEANUP(bytes_clear) struct bytes statement = { 0 };
	const struct trust *t = j->v->trust;
	const struct trust_member *recovery = trust_recovery(t);
	err_t err;

	if (recovery == NULL || memcmp(recovery->id, j->recovery_id, sizeof(j->recovery_id)) != 0) {
		store_say(j->why_out, "this recovery key of the vault in %s has been replaced; use the newer one", j->store->url);
		return -EKEYREJECTED;
	}
	if ((err = changes_new(&c)) != 0 ||
	    (err = trust_make_add(t, j->recovery, MEMBER_DEVICE, identity_public(j->v->me), j->p->device_name, engine_now_ns(),
	         &statement)) != 0 ||
	    (err = changes_add_statement(c, statement.data, statement.len)) != 0)
		return err;
	return push_commit(j->s, c);
}

static err_t
enter(struct join *j)
{
	bool news;
	err_t err = chain_probe_conditional(j->chain);

	if (err == -ENOTSUP) {
		store_say(j->why_out, "%s cannot create objects conditionally, so only one computer may use it", j->store->url);
		return err;
	}
	if (err != 0)
		return explain_store(j, err);
	do {
		if ((err = pull_all(j->s, &news)) != 0)
			return err;
		err = add_device(j);
	} while (err == -EEXIST);
	return err;
}

/* What the engine knows of the failure, if nothing better was said. */
static void
take_why(struct join *j, err_t err)
{
	if (j->why_out == NULL || *j->why_out != NULL)
		return;
	if (j->s != NULL && j->s->why[0] != '\0')
		store_say(j->why_out, "%s", j->s->why);
	else
		store_say(j->why_out, "joining the vault in %s failed: %s; nothing was made here", j->store->url, strerror(-err));
}

static err_t
join_steps(struct join *j)
{
	err_t err;

	if ((err = chain_new(j->store, &j->chain)) != 0 || (err = find_vault(j)) != 0 || (err = open_boxes(j)) != 0 ||
	    (err = begin(j)) != 0 || (err = enter(j)) != 0)
		return err;
	engine_free(j->s);
	j->s = NULL;
	return vault_publish(STEAL(j->v), j->p->dir);
}

err_t
sync_join(const struct vault_create_params *p, struct store *store, const uint8_t recovery_key[static RECOVERY_KEY_LEN],
    char **why_out)
{
	CLEANUP(join_clear) struct join j = { .p = p, .store = store, .why_out = why_out };
	err_t err;

	if (why_out != NULL)
		*why_out = NULL;
	err = identity_from_recovery_key(recovery_key, &j.recovery);
	if (err == 0)
		err = identity_id(identity_public(j.recovery), j.recovery_id);
	if (err == 0)
		err = identity_derive(j.recovery, "recovery psk", j.psk.b);
	if (err == 0)
		err = join_steps(&j);
	if (err != 0)
		take_why(&j, err);
	return err;
}

/* Reading only. */

struct sync_reading {
	struct join j;
	char *gap;
};

void
sync_reading_close(struct sync_reading *r)
{
	if (r == NULL)
		return;
	join_clear(&r->j);
	free(r->gap);
	free(r);
}

static void
close_reading(struct sync_reading **r)
{
	sync_reading_close(*r);
}

struct vault *
sync_reading_vault(struct sync_reading *r)
{
	return r->j.v;
}

const char *
sync_reading_gap(struct sync_reading *r)
{
	return r->gap;
}

/* What can be read ends where a commit is damaged; what is before it is whole. */
static err_t
read_on(struct sync_reading *r)
{
	bool news;
	err_t err = pull_all(r->j.s, &news);

	if (err != -EBADMSG && err != -EPROTO && err != -ESTALE && err != -EKEYREVOKED)
		return err;
	r->gap = strdup(r->j.s->why[0] != '\0' ? r->j.s->why : "a commit is damaged");
	return r->gap != NULL ? 0 : -ENOMEM;
}

static err_t
reading_steps(struct sync_reading *r, const uint8_t recovery_key[static RECOVERY_KEY_LEN])
{
	struct join *j = &r->j;
	err_t err;

	if ((err = identity_from_recovery_key(recovery_key, &j->recovery)) != 0 ||
	    (err = identity_id(identity_public(j->recovery), j->recovery_id)) != 0 ||
	    (err = identity_derive(j->recovery, "recovery psk", j->psk.b)) != 0 ||
	    (err = chain_new(j->store, &j->chain)) != 0 || (err = find_vault(j)) != 0 || (err = open_boxes(j)) != 0 ||
	    (err = begin(j)) != 0)
		return err;
	return read_on(r);
}

err_t
sync_reading_open(const struct vault_create_params *p, struct store *store,
    const uint8_t recovery_key[static RECOVERY_KEY_LEN], struct sync_reading **out, char **why_out)
{
	CLEANUP(close_reading) struct sync_reading *r = calloc(1, sizeof(*r));
	err_t err;

	if (r == NULL)
		return -ENOMEM;
	if (why_out != NULL)
		*why_out = NULL;
	r->j.p = p;
	r->j.store = store;
	r->j.why_out = why_out;
	if ((err = reading_steps(r, recovery_key)) != 0) {
		take_why(&r->j, err);
		return err;
	}
	r->j.why_out = NULL;
	*out = STEAL(r);
	return 0;
}
