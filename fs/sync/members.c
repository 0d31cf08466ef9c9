/*
 * Commits that change who is in.  The chain orders them: whoever comes second says what is left to say on the state that the
 * first one made, or learns that nothing is.
 */
#include "members.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "hash.h"
#include "keywrap.h"
#include "log.h"
#include "random.h"
#include "secmem.h"

/* So often another device may be first. */
#define TRIES 20u

struct members_saying {
	struct sync *s;
	struct trust *trust;     /* with what was said */
	struct changes *changes;
	size_t members_before;
	uint64_t now_ns;
	bool begin_epoch;
	const uint8_t *recovery_psk; /* NULL: as before */
	struct keybox_secrets *secrets; /* of the epoch that begins */
	struct fresh_epoch fresh;
	char **why_out;
};

static void
saying_clear(struct members_saying *w)
{
	w->s->fresh = NULL;
	trust_free(w->trust);
	changes_free(w->changes);
	secmem_free(w->secrets);
}

/* For those who say. */

const struct trust *
members_trust(const struct members_saying *w)
{
	return w->trust;
}

const struct vault *
members_vault(const struct members_saying *w)
{
	return w->s->v;
}

uint64_t
members_now_ns(const struct members_saying *w)
{
	return w->now_ns;
}

err_t
members_say(struct members_saying *w, const struct bytes *statement)
{
	err_t err = trust_apply(w->trust, statement->data, statement->len);

	return err != 0 ? err : changes_add_statement(w->changes, statement->data, statement->len);
}

err_t
members_say_remove(struct members_saying *w, const uint8_t member_id[static IDENTITY_ID_LEN])
{
	CLEANUP(bytes_clear) struct bytes statement = { 0 };
	err_t err = trust_make_remove(w->trust, w->s->v->me, member_id, w->now_ns, &statement);

	return err != 0 ? err : members_say(w, &statement);
}

void
members_begin_epoch(struct members_saying *w, const uint8_t *recovery_psk)
{
	w->begin_epoch = true;
	w->recovery_psk = recovery_psk;
}

err_t
members_refuse(struct members_saying *w, err_t err, const char *fmt, ...)
{
	va_list ap;

	if (w->why_out == NULL)
		return err;
	free(*w->why_out);
	va_start(ap, fmt);
	if (vasprintf(w->why_out, fmt, ap) < 0)
		*w->why_out = NULL;
	va_end(ap);
	return err;
}

/* Key boxes. */

err_t
members_seal_box(const struct vault *v, const struct trust *t, uint32_t epoch, const struct keybox_secrets *secrets,
    struct bytes *out)
{
	CLEANUP(free_ptr) struct keybox_member *members = calloc(trust_member_count(t) + 1, sizeof(*members));
	size_t count = 0;

	if (members == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < trust_member_count(t); i++) {
		const struct trust_member *m = trust_member_at(t, i);

		if (!m->removed)
			members[count++] = (struct keybox_member){ m->pub, m->kind == MEMBER_RECOVERY };
	}
	return keybox_seal(v->id, epoch, secrets, members, count, out);
}

static err_t
write_box(struct sync *s, uint32_t epoch, const struct bytes *box, char *name_out, uint8_t sha256_out[static 32])
{
	err_t err = hash_sha256(box->data, box->len, sha256_out);

	return err != 0 ? err : report_store(s, chain_write_box(s->chain, epoch, box->data, box->len, name_out));
}

/* As they are now, with the newest epoch's key. */
static err_t
current_secrets(struct vault *v, uint32_t *epoch_out, struct keybox_secrets *out)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	err_t err;

	if ((err = keyring_current(v->keys, epoch_out)) != 0 || (err = keyring_get(v->keys, *epoch_out, &key)) != 0)
		return err;
	secmem_copy(out, v->secrets, sizeof(*out));
	secmem_copy(out->epoch_key, key.b, sizeof(out->epoch_key));
	return 0;
}

err_t
members_write_box_for(struct members_saying *w, const struct identity_public *member, char *name_out,
    uint8_t sha256_out[static 32])
{
	CLEANUP(secmem_free_ptr) struct keybox_secrets *secrets = secmem_new(sizeof(*secrets));
	CLEANUP(bytes_clear) struct bytes box = { 0 };
	struct vault *v = w->s->v;
	uint32_t epoch;
	err_t err;

	if (secrets == NULL)
		return -ENOMEM;
	if ((err = current_secrets(v, &epoch, secrets)) != 0 ||
	    (err = keybox_seal(v->id, epoch, secrets, &(struct keybox_member){ *member, false }, 1, &box)) != 0)
		return err;
	return write_box(w->s, epoch, &box, name_out, sha256_out);
}

err_t
members_add_epoch_keys(struct keyring *keys, uint32_t epoch, const uint8_t key[static 32], struct changes *c)
{
	for (uint32_t earlier = 0; earlier < epoch; earlier++) {
		CLEANUP(key32_wipe) struct key32 k = { 0 };
		uint8_t wrapped[KEYWRAP_LEN];
		err_t err;

		if ((err = keyring_get(keys, earlier, &k)) != 0 || (err = keywrap_wrap(key, k.b, wrapped)) != 0 ||
		    (err = changes_add_epoch_key(c, earlier, wrapped)) != 0)
			return err;
	}
	return 0;
}

/* What follows from what was said. */

/* Also along with anything else that is said. */
static err_t
withdraw_expired(struct members_saying *w)
{
	const struct trust_member *me = trust_member_find(w->trust, w->s->v->my_id);

	if (me == NULL || me->removed)
		return 0;
	for (size_t i = 0; i < trust_member_count(w->trust); i++) {
		const struct trust_member *m = trust_member_at(w->trust, i);
		err_t err;

		if (m->kind != MEMBER_INVITATION || m->removed || m->expires_ns >= w->now_ns)
			continue;
		if ((err = members_say_remove(w, m->id)) != 0)
			return err;
	}
	return 0;
}

/* Its key and its box for all who are in force now. */
static err_t
make_epoch(struct members_saying *w)
{
	CLEANUP(bytes_clear) struct bytes box = { 0 };
	CLEANUP(bytes_clear) struct bytes statement = { 0 };
	struct vault *v = w->s->v;
	struct fresh_epoch *f = &w->fresh;
	err_t err;

	w->secrets = secmem_new(sizeof(*w->secrets));
	if (w->secrets == NULL)
		return -ENOMEM;
	if ((err = keyring_current(v->keys, &f->epoch)) != 0)
		return err;
	f->epoch++;
	secmem_copy(w->secrets, v->secrets, sizeof(*w->secrets));
	if (w->recovery_psk != NULL)
		secmem_copy(w->secrets->recovery_psk, w->recovery_psk, sizeof(w->secrets->recovery_psk));
	if ((err = random_secret(w->secrets->epoch_key, sizeof(w->secrets->epoch_key))) != 0 ||
	    (err = members_seal_box(v, w->trust, f->epoch, w->secrets, &box)) != 0 ||
	    (err = write_box(w->s, f->epoch, &box, f->box_name, f->box_sha256)) != 0 ||
	    (err = trust_make_epoch(w->trust, v->me, f->epoch, f->box_name, f->box_sha256, w->now_ns, &statement)) != 0 ||
	    (err = members_say(w, &statement)) != 0)
		return err;
	f->secrets = w->secrets;
	w->s->fresh = f;
	return 0;
}

/* Whoever comes in with this commit, or by the box of its epoch, finds all earlier keys in it. */
static err_t
add_earlier_keys(struct members_saying *w)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	struct keyring *keys = w->s->v->keys;
	uint32_t epoch;
	err_t err;

	if (w->s->fresh != NULL)
		return members_add_epoch_keys(keys, w->fresh.epoch, w->secrets->epoch_key, w->changes);
	if (trust_member_count(w->trust) == w->members_before)
		return 0;
	if ((err = keyring_current(keys, &epoch)) != 0 || (err = keyring_get(keys, epoch, &key)) != 0)
		return err;
	return members_add_epoch_keys(keys, epoch, key.b, w->changes);
}

static err_t
conclude(struct members_saying *w)
{
	err_t err = withdraw_expired(w);

	if (err == 0 && (w->begin_epoch || trust_needs_epoch(w->trust)))
		err = make_epoch(w);
	return err != 0 ? err : add_earlier_keys(w);
}

/* The box of an epoch that never began. */
static void
drop_box(struct members_saying *w)
{
	err_t err = w->s->fresh == NULL ? 0 : store_remove(w->s->store, w->fresh.box_name);

	if (err != 0)
		log_info("a key box that nobody needs stays in the store: %s", strerror(-err));
}

err_t
members_try(struct sync *s, members_say_fn *say, void *ctx, char **why_out, struct members_done *done_out)
{
	CLEANUP(saying_clear) struct members_saying w = { .s = s, .now_ns = engine_now_ns(), .why_out = why_out };
	err_t err;

	if ((err = trust_clone(s->v->trust, &w.trust)) != 0 || (err = changes_new(&w.changes)) != 0)
		return err;
	w.members_before = trust_member_count(w.trust);
	if ((err = say(&w, ctx)) != 0)
		return err;
	if ((w.changes->statement_count > 0 || w.begin_epoch) && (err = conclude(&w)) == 0)
		err = push_commit(s, w.changes);
	if (err == -EEXIST)
		drop_box(&w);
	if (err != 0)
		return err;
	if (done_out != NULL) {
		done_out->seq = s->v->head_seq;
		memcpy(done_out->hash, s->v->head_hash, sizeof(done_out->hash));
	}
	return 0;
}

/* Up to the newest state; a vault that is not in the store yet is put there. */
static err_t
catch_up(struct sync *s)
{
	bool news, pushed;
	err_t err = pull_all(s, &news);

	return err != 0 || s->v->has_head ? err : push_all(s, true, &pushed);
}

/* What a person is told. */
static void
take_why(struct sync *s, err_t err, char **why_out)
{
	if (why_out == NULL || *why_out != NULL)
		return;
	pthread_mutex_lock(&s->lock);
	if (s->why[0] != '\0')
		*why_out = strdup(s->why);
	pthread_mutex_unlock(&s->lock);
	if (*why_out == NULL)
		store_say(why_out, err == -EPERM ? "the rules of the vault do not allow this device to do that" :
		    "the change could not be made: %s", strerror(-err));
}

err_t
members_commit(struct sync *s, members_say_fn *say, void *ctx, char **why_out, struct members_done *done_out)
{
	CLEANUP(free_ptr) char *refusal = NULL;
	bool refused;
	err_t err = -EEXIST;

	engine_round_begin(s, true);
	for (unsigned i = 0; i < TRIES && err == -EEXIST && refusal == NULL; i++) {
		if ((err = catch_up(s)) == 0)
			err = members_try(s, say, ctx, &refusal, done_out);
	}
	refused = refusal != NULL || err == -EPERM || err == -EINVAL;
	if (err == -EEXIST && !refused)
		err = report_why(s, -EAGAIN, "other devices change the vault all the time; try again");
	if (err != 0 && why_out != NULL) {
		*why_out = STEAL(refusal);
		take_why(s, err, why_out);
	}
	if (err == 0)
		report_save(s);
	/* What was refused to a person is no trouble of the sync. */
	(void)engine_round_end(s, refused ? 0 : err);
	return err;
}

err_t
members_write_base(struct sync *s)
{
	engine_round_begin(s, true);
	return engine_round_end(s, base_write(s));
}

/* What expired by itself. */

/* A clock that is behind what it has seen would be right about nothing else, either. */
static bool
clock_is_behind(struct vault *v, uint64_t now_ns)
{
	bool behind = false;

	meta_lock(v->meta);
	for (size_t i = 0; i < v->author_count; i++)
		behind = behind || (v->authors[i].seq == v->head_seq && v->authors[i].time_ns > now_ns);
	meta_unlock(v->meta);
	return behind;
}

static bool
has_expired(const struct trust *t, uint64_t now_ns)
{
	for (size_t i = 0; i < trust_member_count(t); i++) {
		const struct trust_member *m = trust_member_at(t, i);

		if (m->kind == MEMBER_INVITATION && !m->removed && m->expires_ns < now_ns)
			return true;
	}
	return false;
}

static err_t
say_expired(struct members_saying *w, void *ctx)
{
	(void)ctx;
	return withdraw_expired(w);
}

err_t
members_withdraw_expired(struct sync *s)
{
	uint64_t now_ns = engine_now_ns();
	err_t err;

	if (!s->v->has_head || !has_expired(s->v->trust, now_ns) || clock_is_behind(s->v, now_ns))
		return 0;
	err = members_try(s, say_expired, NULL, NULL, NULL);
	if (err == 0)
		report_save(s);
	return err == -EEXIST ? 0 : err; /* somebody was first: the next round sees what is left to do */
}
