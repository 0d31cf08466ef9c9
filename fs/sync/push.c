/*
 * Commits to the store.  The order of a push (segments, key boxes, the commit) means that a crash at any point leaves
 * nothing worse than objects that no commit names.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "engine.h"
#include "hash.h"
#include "log.h"
#include "schedule.h"
#include "secmem.h"

/* Files that are written to again and again while they are settled are taken as they are after so many tries. */
#define SETTLE_ROUNDS 5u
/* Up to so much that is pending it takes next to no time to look which segments it needs. */
#define SWEEP_LEN (UINT64_C(16) << 30)
/* Of the time that a long upload takes, looking after the rest may take one part in that many. */
#define INTERLUDE_SHARE 10
#define INTERLUDE_PENDING_MAX 200000u

/* The first commit: the marker, the key box of epoch 0 and the statement that pins it. */

static err_t
fill_secrets(struct vault *v, struct keybox_secrets *secrets)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	err_t err = keyring_get(v->keys, 0, &key);

	if (err != 0)
		return err;
	secmem_copy(secrets->epoch_key, key.b, sizeof(secrets->epoch_key));
	secmem_copy(secrets->link_secret, v->secrets->link_secret, sizeof(secrets->link_secret));
	secmem_copy(secrets->recovery_psk, v->secrets->recovery_psk, sizeof(secrets->recovery_psk));
	return 0;
}

static err_t
make_opening(struct sync *s)
{
	CLEANUP(bytes_clear) struct bytes box = { 0 };
	CLEANUP(secmem_free_ptr) struct keybox_secrets *secrets = secmem_new(sizeof(*secrets));
	char name[CHAIN_NAME_MAX];
	uint8_t sha256[32];
	err_t err;

	if (s->opening.len > 0)
		return 0; /* an earlier try came so far */
	if (secrets == NULL)
		return -ENOMEM;
	if ((err = fill_secrets(s->v, secrets)) != 0 || (err = members_seal_box(s->v, s->v->trust, 0, secrets, &box)) != 0 ||
	    (err = hash_sha256(box.data, box.len, sha256)) != 0)
		return err;
	if ((err = chain_write_box(s->chain, 0, box.data, box.len, name)) != 0)
		return report_store(s, err);
	return trust_make_epoch(s->v->trust, s->v->me, 0, name, sha256, engine_now_ns(), &s->opening);
}

/* Is this the only device that is in force? */
static bool
is_alone(const struct sync *s)
{
	size_t devices = 0;
	bool mine = false;

	for (size_t i = 0; i < trust_member_count(s->v->trust); i++) {
		const struct trust_member *m = trust_member_at(s->v->trust, i);

		if (m->kind != MEMBER_DEVICE || m->removed)
			continue;
		devices++;
		mine = mine || memcmp(m->id, s->v->my_id, sizeof(m->id)) == 0;
	}
	return devices == 1 && mine;
}

static err_t
write_marker(struct sync *s)
{
	err_t err;

	if (s->marker_checked)
		return 0;
	chain_set_alone(s->chain, is_alone(s) && !s->joining);
	err = chain_write_marker(s->chain, s->v->id);
	/* It says nothing, but the store has our newest commit. */
	if (err == -EBADMSG && s->v->has_head && s->head_checked)
		err = chain_mend_marker(s->chain, s->v->id);
	if (err == -EEXIST)
		return report_why(s, err, "%s holds another vault; nothing was changed there; use an empty store for this vault",
		    s->store->url);
	if (err != 0)
		return report_store(s, err);
	s->marker_checked = true;
	return 0;
}

static err_t
add_opening(struct sync *s, struct changes *c)
{
	err_t err = make_opening(s);

	for (size_t i = 0; err == 0 && i < trust_statement_count(s->v->trust); i++) {
		const uint8_t *data;
		size_t len;

		trust_statement_at(s->v->trust, i, &data, &len);
		err = changes_add_statement(c, data, len);
	}
	return err != 0 ? err : changes_add_statement(c, s->opening.data, s->opening.len);
}

/* Any commit. */

/* The epoch that begins with this commit, or the current one. */
static err_t
sealing_key(struct sync *s, uint32_t *epoch_out, struct key32 *out)
{
	err_t err;

	if (s->fresh != NULL) {
		*epoch_out = s->fresh->epoch;
		secmem_copy(out->b, s->fresh->secrets->epoch_key, sizeof(out->b));
		return 0;
	}
	if ((err = keyring_current(s->v->keys, epoch_out)) != 0)
		return err;
	return keyring_get(s->v->keys, *epoch_out, out);
}

err_t
push_seal(struct sync *s, enum envelope_kind kind, uint64_t seq, const uint8_t previous[static 32], struct changes *c,
    struct bytes *out)
{
	CLEANUP(bytes_clear) struct bytes body = { 0 };
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	struct envelope e = { .kind = kind, .seq = seq, .time_ns = engine_now_ns() };
	err_t err;

	memcpy(e.previous, previous, sizeof(e.previous));
	memcpy(e.author, s->v->my_id, sizeof(e.author));
	if ((err = sealing_key(s, &e.epoch, &key)) != 0 || (err = changes_encode(c, &body)) != 0)
		return err;
	return envelope_seal(&e, s->v->id, key.b, s->v->me, body.data, body.len, out);
}

/*
 * Before the store hears of a commit: what it was made from, and that it is ours, must survive a crash here, so that the next
 * pull knows it again.
 */
static err_t
remember_flight(struct sync *s, const uint8_t hash[static 32])
{
	struct vault *v = s->v;
	err_t err;

	meta_lock(v->meta);
	if (v->flight_count == VAULT_FLIGHT_MAX) {
		memmove(v->flights[0], v->flights[1], sizeof(v->flights) - sizeof(v->flights[0]));
		v->flight_count--;
	}
	memcpy(v->flights[v->flight_count++], hash, sizeof(v->flights[0]));
	err = vault_save_head(v);
	meta_unlock(v->meta);
	return err != 0 ? err : meta_sync(v->meta);
}

err_t
push_commit(struct sync *s, struct changes *c)
{
	static const uint8_t zeros[32];
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	const struct vault *v = s->v;
	uint64_t seq = v->has_head ? v->head_seq + 1 : 0;
	uint8_t hash[32];
	err_t err;

	if ((err = push_seal(s, ENVELOPE_COMMIT, seq, v->has_head ? v->head_hash : zeros, c, &object)) != 0 ||
	    (err = hash_sha256(object.data, object.len, hash)) != 0 || (err = remember_flight(s, hash)) != 0)
		return err;
	chain_set_alone(s->chain, is_alone(s) && !s->joining);
	err = chain_commit(s->chain, seq, object.data, object.len);
	if (err != 0)
		return err == -EEXIST ? err : report_store(s, err);
	if ((err = pull_apply(s, seq, object.data, object.len)) != 0)
		return err;
	pthread_mutex_lock(&s->lock);
	s->status.last_push = s->status.last_contact = time(NULL);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static bool
is_empty(const struct changes *c)
{
	return c->inode_count == 0 && c->dentry_count == 0 && c->statement_count == 0;
}

/* Collects and commits once; *found_out says what is left. */
static err_t
push_step(struct sync *s, bool partial, struct collected *found_out, bool *pushed)
{
	struct collected found = { 0 };
	err_t err = collect_changes(s, partial, &found);

	if (err != 0)
		return err;
	if (!s->v->has_head)
		err = add_opening(s, found.changes);
	if (err == 0 && !is_empty(found.changes)) {
		err = push_commit(s, found.changes);
		*pushed = *pushed || err == 0;
	}
	changes_free(found.changes);
	found.changes = NULL;
	if (err == -EEXIST) {
		/* Somebody was first: theirs goes below ours. */
		bool news;

		if ((err = pull_all(s, &news)) != 0)
			return err;
		if (!news)
			return report_why(s, -EAGAIN, "%s says that the next commit exists, and does not show it; it will be tried "
			    "again", s->store->url);
		found.more = true;
	}
	*found_out = found;
	return err;
}

/* What must not wait for a long upload. */

static void
begin_interludes(struct sync *s, bool follow)
{
	struct meta_pending_summary sum;

	meta_pending_summary(s->v->meta, &sum);
	meta_lock(s->v->meta);
	s->next_ino = follow ? UINT64_MAX : meta_inode_next(s->v->meta);
	meta_unlock(s->v->meta);
	s->interlude = (struct interlude){ .allowed = true, .handled = sum.change, .seen = sum.change, .polled_ms = clock_ms(CLOCK_MONOTONIC),
		.began = time(NULL) };
}

static bool
changes_are_due(struct sync *s, int64_t now)
{
	struct interlude *in = &s->interlude;
	struct meta_pending_summary sum;

	meta_pending_summary(s->v->meta, &sum);
	if (sum.change != in->seen) {
		in->seen = sum.change;
		in->seen_ms = now;
	}
	/* To look through very much takes longer than it is worth. */
	return in->seen != in->handled && now - in->seen_ms >= SCHEDULE_QUIET_MS &&
	    sum.inode_count + sum.dentry_count <= INTERLUDE_PENDING_MAX;
}

bool
push_interlude_is_due(struct sync *s)
{
	int64_t now = clock_ms(CLOCK_MONOTONIC);

	if (!s->interlude.allowed || now < s->interlude.next_ms)
		return false;
	return changes_are_due(s, now) || now - s->interlude.polled_ms >= SCHEDULE_POLL_MIN_MS;
}

static err_t
push_recent(struct sync *s)
{
	struct interlude *in = &s->interlude;
	struct collected found;
	uint64_t change = in->seen;
	err_t err = upload_recent(s, in->began);

	if (err == 0)
		err = push_step(s, false, &found, &in->pushed);
	if (err == 0)
		in->handled = change;
	return err;
}

err_t
push_interlude(struct sync *s)
{
	struct interlude *in = &s->interlude;
	int64_t began = clock_ms(CLOCK_MONOTONIC);
	bool news;
	err_t err = 0;

	if (!push_interlude_is_due(s))
		return 0;
	in->allowed = false; /* this one is not to be interrupted by another */
	if (began - in->polled_ms >= SCHEDULE_POLL_MIN_MS) {
		/* Before the first commit there is no news to ask for. */
		err = s->v->has_head ? pull_poll(s, &news) : 0;
		in->polled_ms = began;
	}
	if (err == 0 && changes_are_due(s, began))
		err = push_recent(s);
	in->next_ms = clock_ms(CLOCK_MONOTONIC) + (clock_ms(CLOCK_MONOTONIC) - began) * INTERLUDE_SHARE;
	in->allowed = true;
	return err;
}

static bool
is_idle(const struct sync *s)
{
	struct meta_pending_summary p;

	meta_pending_summary(s->v->meta, &p);
	return s->v->has_head && p.inode_count == 0 && p.dentry_count == 0;
}

/* What was uploaded and nobody needs any more is gc's to delete once it has no row here. */
static void
sweep(struct sync *s)
{
	err_t err = upload_sweep(s);

	if (err != 0)
		log_warn("left-over segments stay: %s", strerror(-err));
}

/* The store is full: that files were deleted since the last try is to help.  If very much is pending, to look for what they leave takes long. */
static void
make_room(struct sync *s)
{
	struct meta_pending_summary sum;

	meta_pending_summary(s->v->meta, &sum);
	if (sum.bytes <= SWEEP_LEN || sum.bytes < s->full_bytes)
		sweep(s);
	s->full_bytes = sum.bytes;
	s->swept = false;
}

static const char *
rest_of(const struct collected *found)
{
	return found->blocked ? "it has taken the place of a folder, so that nothing else is sent until it has another name or is gone" :
	    "all else is synced";
}

static void
report_rest(struct sync *s, const struct collected *found)
{
	if (found->too_large)
		report_leave(s, -EFBIG, "\"%s\" is too large to be sent to the store; it stays on this computer only; %s", found->path,
		    rest_of(found));
	else if (found->damaged)
		report_leave(s, -EIO, "\"%s\" can't be sent to the store: some of what it needs is damaged or gone on this computer, "
		    "and is not in the store; %s; copy what can still be read of it, then delete it", found->path, rest_of(found));
	else
		report_leave_nothing(s);
}

static err_t
push_rounds(struct sync *s, bool follow, bool *pushed_out)
{
	struct collected found = { 0 };
	bool pushed = false;
	err_t err;

	if ((err = write_marker(s)) != 0)
		return err;
	content_finish_truncations(s->v->content); /* what is left of one would be uploaded for nothing */
	begin_interludes(s, follow);
	for (unsigned round = 0; round == 0 || (found.unsettled && round <= SETTLE_ROUNDS); round++) {
		if ((err = upload_pending(s)) != 0)
			return err;
		do {
			if (engine_is_interrupted(s))
				return -ECANCELED;
			if ((err = push_step(s, round == SETTLE_ROUNDS, &found, &pushed)) != 0)
				return err;
		} while (found.more);
	}
	s->interlude.allowed = false;
	pushed = pushed || s->interlude.pushed;
	if (pushed)
		report_save(s);
	*pushed_out = pushed;
	report_rest(s, &found);
	if (is_idle(s)) {
		sweep(s);
		pthread_mutex_lock(&s->lock);
		numset_clear(&s->uploaded); /* commits name them all, or they are given up */
		pthread_mutex_unlock(&s->lock);
	}
	return 0;
}

err_t
push_all(struct sync *s, bool follow, bool *pushed_out)
{
	err_t err;

	if (is_idle(s)) {
		report_leave_nothing(s);
		*pushed_out = false;
		return 0;
	}
	err = push_rounds(s, follow, pushed_out);
	if (err == -ENOSPC)
		make_room(s);
	else if (err == 0)
		s->full_bytes = UINT64_MAX;
	return err;
}
