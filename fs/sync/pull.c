/* Commits from the store, one after the other, applied under what is pending here. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "hash.h"
#include "log.h"
#include "witness.h"

/* A store that was put back to an older state is found out after so many polls, and before every push. */
#define POLLS_PER_CHECK 20u

/* Is the store there, and ours? */

static err_t
another_vault(struct sync *s)
{
	return report_why(s, -EEXIST, "%s holds another vault; nothing was changed there; use an empty store for this vault",
	    s->store->url);
}

static err_t
check_marker(struct sync *s)
{
	uint8_t id[32];
	err_t err;

	if (s->marker_checked)
		return 0;
	err = chain_read_marker(s->chain, id);
	if (err == 0 && memcmp(id, s->v->id, sizeof(id)) != 0)
		return another_vault(s);
	if (err == -EPROTO)
		return report_why(s, err, "%s was written by a newer version of this program; update it here", s->store->url);
	if (err != 0 && err != -ENOENT && err != -EBADMSG)
		return report_store(s, err);
	s->marker_checked = err == 0;
	return 0; /* a marker that is lost or damaged is written anew by the next push */
}

static err_t
rolled_back(struct sync *s)
{
	return report_why(s, -ESTALE, "%s has lost or replaced commits that this device has seen (the last one is number %"
	    PRIu64 "): it was rolled back, or an old copy was put in its place; everything is still here; restore the store's "
	    "newest copy, or use an empty store", s->store->url, s->v->head_seq);
}

/* [round] This object is what we know as our head. */
static void
note_head(struct sync *s, const uint8_t *object)
{
	memcpy(s->head_start, object, sizeof(s->head_start));
	s->head_checked = true;
}

/* In full once, since the store may have been exchanged while we were away. */
static err_t
check_head_whole(struct sync *s)
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	uint8_t hash[32];
	err_t err = chain_read_commit(s->chain, s->v->head_seq, &object);

	if (err == -ENOENT)
		return rolled_back(s);
	if (err != 0)
		return report_store(s, err);
	if ((err = hash_sha256(object.data, object.len, hash)) != 0)
		return err;
	if (memcmp(hash, s->v->head_hash, sizeof(hash)) != 0)
		return rolled_back(s);
	note_head(s, object.data);
	return 0;
}

/* No two commits begin alike: that is enough to tell another one in its place, and costs as little as to ask whether it is there. */
static err_t
check_head(struct sync *s)
{
	CLEANUP(bytes_clear) struct bytes start = { 0 };
	err_t err;

	if (!s->v->has_head)
		return 0;
	if (!s->head_checked)
		return check_head_whole(s);
	err = chain_read_commit_start(s->chain, s->v->head_seq, sizeof(s->head_start), &start);
	if (err == -ENOENT || err == -EBADMSG ||
	    (err == 0 && memcmp(start.data, s->head_start, sizeof(s->head_start)) != 0))
		return rolled_back(s);
	return report_store(s, err);
}

/* Applying. */

struct landing {
	struct sync *s;
	struct admitted *a;
	uint64_t seq;
	bool ours;
};

static err_t
save_epoch_keys(struct vault *v, struct admitted *a)
{
	uint32_t newest;
	err_t err;

	if (keyring_current(a->learned, &newest) != 0)
		return 0; /* nothing new */
	for (uint64_t epoch = 0; epoch <= newest; epoch++) {
		CLEANUP(key32_wipe) struct key32 key = { 0 };

		err = keyring_get(a->learned, (uint32_t)epoch, &key);
		if (err == 0)
			err = vault_save_epoch_key(v, (uint32_t)epoch, key.b);
		if (err != 0 && err != -ENOENT)
			return err;
	}
	return 0;
}

static err_t
save_author(struct vault *v, const struct admitted *a, uint64_t seq)
{
	const struct trust_member *m = trust_member_find(a->trust, a->opened->env.author);

	if (m == NULL)
		return 0;
	return vault_save_author(v, &(struct vault_author){ m->number, seq, a->opened->env.time_ns });
}

/* [meta lock] The commit is the head from here on. */
static err_t
land(void *ctx)
{
	const struct landing *l = ctx;
	struct vault *v = l->s->v;
	struct admitted *a = l->a;
	err_t err;

	if (a->box != NULL) {
		secmem_copy(v->secrets->link_secret, a->box->link_secret, sizeof(v->secrets->link_secret));
		secmem_copy(v->secrets->recovery_psk, a->box->recovery_psk, sizeof(v->secrets->recovery_psk));
	}
	if ((err = save_epoch_keys(v, a)) != 0)
		return err;
	for (size_t i = a->first_statement; i < trust_statement_count(a->trust); i++) {
		const uint8_t *data;
		size_t len;

		trust_statement_at(a->trust, i, &data, &len);
		if ((err = vault_save_statement(v, i, data, len)) != 0)
			return err;
	}
	v->has_head = true;
	v->head_seq = l->seq;
	memcpy(v->head_hash, a->hash, sizeof(v->head_hash));
	v->tail_size += a->len;
	v->flight_count = 0;
	if ((err = vault_save_head(v)) != 0 || (err = save_author(v, a, l->seq)) != 0 ||
	    (l->ours && (err = gc_doom(l->s, a->changes)) != 0))
		return err;
	trust_free(v->trust);
	v->trust = STEAL(a->trust);
	return 0;
}

/*
 * One that this device has made from what is here now.  Others in its name (from before its directory was put back to an
 * older state) are news like anybody's.
 */
static bool
is_ours(const struct vault *v, const struct admitted *a)
{
	for (uint32_t i = 0; i < v->flight_count; i++)
		if (memcmp(v->flights[i], a->hash, sizeof(a->hash)) == 0)
			return true;
	return false;
}

/* By is_ours nothing else can have done that: what is on its way is on the disk before it is sent. */
static void
tell_put_back(struct sync *s, const struct admitted *a, uint64_t seq)
{
	if (s->joining || s->put_back_told || memcmp(a->opened->env.author, s->v->my_id, sizeof(s->v->my_id)) != 0)
		return;
	s->put_back_told = true;
	report_message(s, "%s was put back to an older state, as from a backup: what this device had sent to the store since then (from commit %"
	    PRIu64 " on) comes back from there, and what was changed here since is kept beside it. If nobody has put it back, a copy of it is "
	    "in use on another computer: let that one join by itself.", s->v->dir, seq);
}

/* The kernel's dirty pages are pending changes, too: they must be known before the merge decides. */
static void
flush_kernel(struct sync *s, const struct changes *c)
{
	if (s->hooks.flush_inode == NULL)
		return;
	for (uint32_t i = 0; i < c->inode_count; i++)
		if (c->inodes[i].fields & CHANGE_CONTENT && lookups_count(s->v->lookups, c->inodes[i].ino) > 0)
			s->hooks.flush_inode(s->hooks.ctx, c->inodes[i].ino);
}

static const char *
my_name(const struct vault *v)
{
	const struct trust_member *me = trust_member_find(v->trust, v->my_id);

	return me != NULL ? me->name : "this device";
}

/*
 * Files that are news though this device made them: its directory was put back to an older state.  Their numbers must be out
 * of the way before the merge draws new ones for what it keeps; to adopt one is to have all below it.
 */
static err_t
skip_numbers(struct vault *v, const struct changes *c)
{
	const struct trust_member *m = trust_member_find(v->trust, v->my_id);
	uint64_t last = 0;
	struct inode *i;
	err_t err = 0;

	for (uint32_t k = 0; m != NULL && k < c->inode_count; k++)
		if (c->inodes[k].fields & CHANGE_NEW && c->inodes[k].ino >> INODE_MEMBER_SHIFT == m->number &&
		    c->inodes[k].ino > last)
			last = c->inodes[k].ino;
	if (last <= INODE_ROOT)
		return 0;
	meta_lock(v->meta);
	if (meta_inode_get(v->meta, last, &i) == -ENOENT && (err = meta_inode_adopt(v->meta, last, &i)) == 0)
		err = meta_inode_remove(v->meta, i);
	meta_unlock(v->meta);
	return err;
}

static err_t
apply_foreign(struct sync *s, const struct merge_context *mc, struct landing *l)
{
	CLEANUP(merge_result_clear) struct merge_result result = { 0 };
	err_t err;

	flush_kernel(s, l->a->changes);
	if ((err = skip_numbers(s->v, l->a->changes)) != 0 || (err = merge_apply_foreign(mc, l->a->changes, land, l, &result)) != 0)
		return err;
	catchup_tell(s, l->a->changes);
	if (s->hooks.changed != NULL)
		s->hooks.changed(s->hooks.ctx, &result);
	report_conflicts(s, &result);
	return 0;
}

/* A sentence for what is wrong with a commit, unless there is one already. */
static err_t
explain_commit(struct sync *s, uint64_t seq, err_t err)
{
	if (err == -EBADMSG)
		return report_why(s, err, "commit %" PRIu64 " in %s is damaged or forged; it was not applied, and what is here is "
		    "untouched; restore the store's copy of it", seq, s->store->url);
	if (err == -EPROTO)
		return report_why(s, err, "commit %" PRIu64 " in %s was written by a newer version of this program; update it "
		    "here", seq, s->store->url);
	return err;
}

err_t
pull_apply(struct sync *s, uint64_t seq, const uint8_t *object, size_t len)
{
	CLEANUP(admitted_clear) struct admitted a = { 0 };
	CLEANUP(trust_free_ptr) struct trust *before = NULL;
	CLEANUP(merge_left_clear) struct merge_left left = { 0 };
	CLEANUP(drops_let_go) struct drops_held held = { 0 };
	struct landing l = { s, &a, seq, false };
	struct merge_context mc;
	err_t err;

	if ((err = trust_clone(s->v->trust, &before)) != 0)
		return err;
	if ((err = admit_commit(s, seq, object, len, &a)) != 0)
		return explain_commit(s, seq, err);
	if ((err = drops_fetch(s, a.changes, &held)) != 0)
		return err;
	mc = (struct merge_context){ s->v->meta, s->v->content, s->v->lookups, my_name(s->v), time(NULL), &left };
	l.ours = is_ours(s->v, &a);
	err = l.ours ? merge_apply_own(&mc, a.changes, land, &l) : apply_foreign(s, &mc, &l);
	if (err != 0)
		return explain_commit(s, seq, err);
	note_head(s, object);
	drops_tell(s, &held);
	merge_give_back(&mc);
	if (drops_finish(s, &left) != 0)
		log_warn("files of segments that nobody needs any more stay on the disk until the next start");
	if (!l.ours)
		tell_put_back(s, &a, seq);
	if (!s->joining)
		report_members(s, before, s->v->trust);
	return 0;
}

static uint64_t
next_seq(const struct vault *v)
{
	return v->has_head ? v->head_seq + 1 : 0;
}

static err_t
pull_one(struct sync *s)
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	uint64_t seq = next_seq(s->v);
	err_t err = chain_read_commit(s->chain, seq, &object);

	if (err == -ENOENT)
		return err;
	return err != 0 ? report_store(s, err) : pull_apply(s, seq, object.data, object.len);
}

static err_t
pull_what_is_there(struct sync *s, bool *news_out)
{
	bool news = false;
	err_t err;

	while ((err = pull_one(s)) == 0) {
		news = true;
		if (engine_is_interrupted(s))
			return -ECANCELED;
	}
	if (err != -ENOENT)
		return err;
	pthread_mutex_lock(&s->lock);
	s->status.last_contact = time(NULL);
	s->status.last_pull = s->status.last_contact;
	pthread_mutex_unlock(&s->lock);
	if (news)
		report_save(s);
	*news_out = news;
	return 0;
}

err_t
pull_all(struct sync *s, bool *news_out)
{
	err_t err;

	if ((err = check_marker(s)) != 0 || (err = check_head(s)) != 0)
		return err;
	s->polls = 0;
	/* First what others say, then what there is: so that nobody can have said it of a commit that came in between. */
	witness_read(s->witness);
	if ((err = pull_what_is_there(s, news_out)) != 0)
		return err;
	return witness_judge(s->witness);
}

err_t
pull_poll(struct sync *s, bool *news_out)
{
	if (!s->marker_checked || !s->head_checked || s->polls >= POLLS_PER_CHECK)
		return pull_all(s, news_out);
	s->polls++;
	return pull_what_is_there(s, news_out);
}
