/*
 * A beginning for a new device: the newest base that holds, else the first commit.  Its statements prove whose vault it is.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "join_internal.h"
#include "log.h"
#include "secmem.h"

err_t
join_start_marker(struct join *j, uint8_t vault_id_out[static 32])
{
	err_t err = chain_read_marker(j->chain, vault_id_out);

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
		return join_explain_store(j, err);
	}
}

/* Key boxes. */

err_t
join_start_try_box(struct join *j, const struct chain_box *box)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	CLEANUP(secmem_free_ptr) struct keybox_secrets *secrets = secmem_new(sizeof(*secrets));
	struct opened_box *ob = &j->boxes[j->box_count];
	err_t err;

	if (secrets == NULL)
		return -ENOMEM;
	err = chain_read_box(j->chain, box->name, &b);
	if (err == -ENOENT)
		return 0;
	if (err != 0 && err != -EBADMSG)
		return join_explain_store(j, err);
	if (err == 0)
		err = keybox_open(b.data, b.len, j->vault_id, box->epoch, j->as, j->by_recovery, j->psk.b, secrets);
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

/*
 * The genesis is the vault's, and this recovery key signed it or was put in force since.  An invitation names a commit, and what
 * leads to that by its hashes is believed with it.  Of a recovery key that came later the commits before it know nothing: what
 * follows them must (follow_to_own_epoch).
 */
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
	if (trust_epoch(st->trust, &epoch, &box_name, box_sha256) != 0 || epoch != st->opened->env.epoch)
		return -EBADMSG;
	if (j->by_recovery && epoch >= j->since) {
		if (recovery == NULL || memcmp(recovery->id, j->as_id, sizeof(j->as_id)) != 0)
			return -EKEYREJECTED;
		if (strcmp(box_name, st->box->name) != 0 || memcmp(box_sha256, st->box->sha256, sizeof(box_sha256)) != 0)
			return -EBADMSG;
	}
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

/* A key of an epoch before the recovery key's own comes from a commit, and from no box that somebody made for it. */
static bool
may_open(const struct join *j, const struct opened_box *box, uint32_t epoch)
{
	return box->epoch == epoch && (!j->by_recovery || epoch >= j->since || box->name[0] == '\0');
}

static err_t
open_start_with(const struct join *j, const struct opened_box *box, enum envelope_kind kind, uint64_t seq,
    const struct bytes *object, struct start *out)
{
	CLEANUP(start_clear) struct start st = { .size = object->len, .box = box };
	err_t err;

	st.opened = calloc(1, sizeof(*st.opened));
	if (st.opened == NULL)
		return -ENOMEM;
	if ((err = envelope_open(object->data, object->len, kind, seq, j->vault_id, box->secrets->epoch_key, st.opened)) != 0 ||
	    (err = read_start(j, &st)) != 0)
		return err;
	*out = st;
	st = (struct start){ 0 };
	return 0;
}

/* There may be several boxes of its epoch: the one that its statements name counts. */
static err_t
open_start(const struct join *j, enum envelope_kind kind, uint64_t seq, const struct bytes *object, struct start *out)
{
	uint32_t epoch;
	err_t err = envelope_epoch(object->data, object->len, &epoch);

	if (err != 0)
		return err;
	err = -EBADMSG;
	for (size_t i = 0; i < j->box_count && err == -EBADMSG; i++)
		if (may_open(j, &j->boxes[i], epoch))
			err = open_start_with(j, &j->boxes[i], kind, seq, object, out);
	return err;
}

/* No box tells the keys of epochs before one's own: they came with a commit (join_earlier.c). */
static err_t
take_vouched_keys(const struct join *j, struct keyring *keys)
{
	for (size_t i = 0; i < j->box_count; i++) {
		err_t err;

		if (j->by_recovery && j->boxes[i].name[0] != '\0')
			continue; /* boxes are believed when a statement pins them */
		err = keyring_add(keys, j->boxes[i].epoch, j->boxes[i].secrets->epoch_key);
		if (err != 0)
			return err == -EEXIST ? -EBADMSG : err;
	}
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
	err_t err = take_vouched_keys(j, st->keys);

	if (err != 0 || (err = keyring_current(st->keys, &newest)) != 0)
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
		secmem_copy(keys[count++], key.b, sizeof(key.b));
	}
	err = vault_create_joined(j->p, st->trust, st->box->secrets, epochs, (const uint8_t(*)[32])keys, count, &j->v);
	if (err == -EEXIST || err == -ENOTEMPTY)
		store_say(j->why_out, "%s exists and is not empty; choose another directory", j->p->dir);
	if (err != 0)
		return err;
	if ((err = engine_new(j->v, j->store, &j->s)) != 0)
		return err;
	j->s->box_identity = j->as;
	j->s->box_psk = j->psk.b;
	j->s->box_is_recovery = j->by_recovery;
	j->s->pinned = j->pinned;
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
	return err != 0 ? err : gc_note_unread(j->s, seq, st->opened->env.previous);
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
		return err == -ENOENT ? -EBADMSG : join_explain_store(j, err);
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
		return err == -ENOENT ? -EBADMSG : join_explain_store(j, err);
	if ((err = open_start(j, ENVELOPE_BASE, seq, &object, &st)) != 0)
		return err;
	if (j->pinned != NULL && j->pinned->seq == seq &&
	    memcmp(j->pinned->hash, st.opened->env.previous, sizeof(j->pinned->hash)) != 0)
		return -EBADMSG;
	if (st.changes->segment_count != 0 || st.changes->inode_count != 0 || st.changes->dentry_count != 0)
		return -EBADMSG; /* these are in its parts */
	if ((err = check_base_commit(j, seq, &st)) != 0 || (err = make_vault(j, &st)) != 0)
		return err;
	memcpy(author_out, st.opened->env.author, IDENTITY_ID_LEN);
	return apply_base(j, seq, &st);
}

/*
 * The keys that led here only open.  The recovery key counts when commits that were believed for themselves have put it in force,
 * with the box that it opens.  What is wrong behind that, whoever reads on finds again.
 */
static err_t
follow_to_own_epoch(struct join *j)
{
	const struct trust_member *m;
	uint32_t newest;
	bool news;
	err_t err = pull_all(j->s, &news);

	m = trust_member_find(j->v->trust, j->as_id);
	if (m != NULL && m->kind == MEMBER_RECOVERY && keyring_current(j->v->keys, &newest) == 0 && newest >= j->since)
		return 0;
	if (err != 0)
		return err;
	store_say(j->why_out, "the history in %s ends before this recovery key was put in force: the store lost commits or was rolled "
	    "back; restore its newest copy", j->store->url);
	return -ESTALE;
}

static err_t
explain_first(struct join *j, err_t err)
{
	bool opened = false;

	for (size_t i = 0; i < j->box_count; i++)
		opened = opened || j->boxes[i].epoch == 0;
	if (err == -EBADMSG && opened)
		store_say(j->why_out, "the first commit in %s is damaged or forged; restore the store's copy of it", j->store->url);
	else if (err == -EBADMSG)
		store_say(j->why_out, "the commit in %s that put this recovery key in force is missing, damaged or forged, and no base "
		    "helps; restore the store's copy of it", j->store->url);
	if (err == -EKEYREJECTED)
		store_say(j->why_out, "this recovery key is not the one of the vault in %s; check both", j->store->url);
	return err;
}

/* A recovery key that came later finds the key of epoch 0 in the commit that it came with. */
static err_t
open_first(struct join *j, const struct bytes *object, struct start *st)
{
	err_t found, err = open_start(j, ENVELOPE_COMMIT, 0, object, st);

	if ((err != -EBADMSG && err != -EKEYREJECTED) || !j->by_recovery)
		return err;
	found = join_earlier_find(j);
	if (found == 0)
		return open_start(j, ENVELOPE_COMMIT, 0, object, st);
	return found == -ENOENT ? err : found;
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
		return join_explain_store(j, err);
	if ((err = open_first(j, &object, &st)) != 0)
		return explain_first(j, err);
	if ((err = make_vault(j, &st)) != 0)
		return err;
	return j->since > 0 ? follow_to_own_epoch(j) : 0;
}

bool
join_start_is_gap(err_t err)
{
	return err == -EBADMSG || err == -EPROTO || err == -ESTALE || err == -EKEYREVOKED;
}

/*
 * Behind every base that holds a commit is damaged, so that nothing says whether its author is a member still.  The chain from its
 * first commit on needs no such word, if it leads as far as the base.
 */
static err_t
begin_before_gap(struct join *j, uint64_t base_seq)
{
	bool holds, news;
	err_t err = begin_at_first_commit(j);

	if (err == 0)
		err = pull_all(j->s, &news);
	if (j->v != NULL && j->v->has_head && j->v->head_seq >= base_seq && (err == 0 || join_start_is_gap(err)))
		return 0;
	if (err != 0 && !join_start_is_gap(err) && err != -ENOENT)
		return err;
	unmake_vault(j);
	join_forget_why(j);
	if ((err = begin_at_base(j, base_seq, j->author)) != 0)
		return err;
	j->unproven = true;
	err = follow_base(j, j->author, &holds);
	return join_start_is_gap(err) ? 0 : err;
}

enum base_verdict { BASE_HOLDS, BASE_BEFORE_GAP, BASE_PASSED_OVER };

/* Else an error that has nothing to do with it. */
static err_t
try_base(struct join *j, uint64_t seq, enum base_verdict *out)
{
	uint8_t author[IDENTITY_ID_LEN];
	bool holds = false;
	err_t err = begin_at_base(j, seq, author);
	bool begun = err == 0;

	*out = BASE_PASSED_OVER;
	if (begun && (err = follow_base(j, author, &holds)) == 0 && holds) {
		*out = BASE_HOLDS;
		return 0;
	}
	if (begun && j->reading && join_start_is_gap(err))
		*out = BASE_BEFORE_GAP;
	else if (err != 0 && err != -EBADMSG && (begun || (err != -EPROTO && err != -EKEYREJECTED)))
		return err;
	unmake_vault(j);
	log_warn("the base %" PRIu64 " in %s %s; %s", seq, j->store->url, !begun ? "is damaged or forged" : err == 0 ?
	    "is by a device that has been removed since" : "does not lead to the newest commit", "an earlier one is used");
	return 0;
}

/*
 * The newest base that holds; what does not hold is passed over, since the chain itself has it all.  So is one behind which a commit
 * can't be applied: the commit is damaged, or the base was made for that.
 */
err_t
join_start(struct join *j)
{
	CLEANUP(free_ptr) uint64_t *seqs = NULL;
	uint64_t before_gap = 0;
	bool has_gap = false;
	size_t count = 0;
	err_t err = chain_list_bases(j->chain, &seqs, &count);

	if (err != 0)
		return join_explain_store(j, err);
	for (size_t i = 0; i < count; i++) {
		enum base_verdict verdict;

		if (j->pinned != NULL && seqs[i] > j->pinned->seq)
			continue; /* what leads to the commit that is known is needed */
		if ((err = try_base(j, seqs[i], &verdict)) != 0 || verdict == BASE_HOLDS)
			return err;
		if (verdict == BASE_BEFORE_GAP && !has_gap)
			before_gap = seqs[i];
		has_gap = has_gap || verdict == BASE_BEFORE_GAP;
	}
	return has_gap ? begin_before_gap(j, before_gap) : begin_at_first_commit(j);
}
