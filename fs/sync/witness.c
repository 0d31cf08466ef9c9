/* What devices say of the chain in a second store, and what follows from it. */
#include "witness.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "engine.h"
#include "hash.h"
#include "kdf.h"
#include "log.h"
#include "lookback.h"
#include "padme.h"

/* How often it is asked, and how soon after a failure. */
#define READ_INTERVAL_S 600
#define RETRY_INTERVAL_S 600
#define CONNECT_TIMEOUT_S 5
#define STALL_TIMEOUT_S 15
/* A statement that is so far behind the head is not held against the chain: each step back is a request. */
#define LOOKBACK_MAX 1000u
#define NAME_LABEL "snugfs/1 witness"

struct statement {
	uint8_t author[IDENTITY_ID_LEN];
	uint64_t seq;
	uint8_t hash[32];
};

struct witness {
	struct sync *s;
	/* [round] */
	bool loaded;
	char *url;                /* NULL: none */
	struct store *store;      /* NULL: not open; also under s->lock, to be set */
	time_t read_after;        /* monotonic seconds */
	time_t write_after;
	struct statement *heard;
	size_t heard_count;
	uint8_t approved[32];     /* hash over the statements that were found right last */
	struct witness_status status; /* under s->lock, as is the next */
	bool cancelled;
};

static time_t
now_s(void)
{
	return (time_t)(clock_ms(CLOCK_MONOTONIC) / 1000);
}

err_t
witness_new(struct sync *s, struct witness **out)
{
	struct witness *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->s = s;
	*out = w;
	return 0;
}

static void
use_store(struct witness *w, struct store *store)
{
	pthread_mutex_lock(&w->s->lock);
	w->store = store;
	if (store != NULL)
		store_cancel(store, w->cancelled);
	pthread_mutex_unlock(&w->s->lock);
}

void
witness_cancel(struct witness *w, bool cancelled)
{
	pthread_mutex_lock(&w->s->lock);
	w->cancelled = cancelled;
	if (w->store != NULL)
		store_cancel(w->store, cancelled);
	pthread_mutex_unlock(&w->s->lock);
}

static void
forget(struct witness *w)
{
	struct store *store = w->store;

	use_store(w, NULL);
	store_free(store);
	free(w->url);
	free(w->heard);
	w->url = NULL;
	w->heard = NULL;
	w->heard_count = 0;
	w->read_after = w->write_after = 0;
	memset(w->approved, 0, sizeof(w->approved));
}

void
witness_free(struct witness *w)
{
	if (w == NULL)
		return;
	forget(w);
	free(w);
}

/* Told once, until it works again. */
static void
note(struct witness *w, const char *problem)
{
	bool news;

	pthread_mutex_lock(&w->s->lock);
	news = problem != NULL && w->status.problem[0] == '\0';
	snprintf(w->status.problem, sizeof(w->status.problem), "%s", problem != NULL ? problem : "");
	pthread_mutex_unlock(&w->s->lock);
	if (news)
		report_message(w->s, "The witness is of no use at the moment: %s. Syncing goes on without it.", problem);
}

static void
note_store(struct witness *w, err_t err)
{
	char what[384];

	if (err == -ECANCELED)
		return; /* it was not the witness */
	store_explain(w->store, err, what, sizeof(what));
	note(w, what);
}

static void
load(struct witness *w)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };

	if (w->loaded)
		return;
	meta_lock(w->s->v->meta);
	if (meta_kv_get(w->s->v->meta, DB_KEY_WITNESS, &b) == 0 && b.len > 0)
		w->url = strndup((const char *)b.data, b.len);
	meta_unlock(w->s->v->meta);
	w->loaded = true;
	pthread_mutex_lock(&w->s->lock);
	snprintf(w->status.url, sizeof(w->status.url), "%s", w->url != NULL ? w->url : "");
	pthread_mutex_unlock(&w->s->lock);
}

static err_t
open_store(struct witness *w, bool create, char **why_out)
{
	const struct store_options o = { .connect_timeout_s = CONNECT_TIMEOUT_S, .stall_timeout_s = STALL_TIMEOUT_S };

	struct store *store;
	err_t err;

	if (w->store != NULL)
		return 0;
	err = store_open_with(w->url, create, &o, &store, why_out);
	if (err == 0)
		use_store(w, store);
	return err;
}

/* false: there is none, or it can't be asked now. */
static bool
is_usable(struct witness *w)
{
	CLEANUP(free_ptr) char *why = NULL;

	load(w);
	if (w->url == NULL)
		return false;
	if (open_store(w, false, &why) == 0)
		return true;
	note(w, why != NULL ? why : "it can't be opened");
	return false;
}

/* The name under which a member speaks: nobody without the first epoch's key can tell whose it is. */
static err_t
object_name(struct witness *w, const uint8_t id[static IDENTITY_ID_LEN], char out[static CHAIN_NAME_MAX])
{
	CLEANUP(key32_wipe) struct key32 epoch = { 0 };
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	uint8_t mac[32];
	err_t err;

	if ((err = keyring_get(w->s->v->keys, 0, &epoch)) != 0 ||
	    (err = hkdf_expand_label(epoch.b, NAME_LABEL, NULL, 0, key.b, sizeof(key.b))) != 0 ||
	    (err = hmac_sha256(key.b, sizeof(key.b), id, IDENTITY_ID_LEN, mac)) != 0)
		return err;
	snprintf(out, CHAIN_NAME_MAX, "w/");
	for (size_t i = 0; i < 16; i++)
		snprintf(out + 2 + 2 * i, 3, "%02x", mac[i]);
	return 0;
}

/* Reading. */

static err_t
open_statement(struct witness *w, const struct trust_member *m, const struct bytes *object, struct statement *out)
{
	CLEANUP(envelope_opened_clear) struct envelope_opened o = { 0 };
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	uint32_t epoch;
	err_t err;

	if ((err = envelope_epoch(object->data, object->len, &epoch)) != 0 || (err = keyring_get(w->s->v->keys, epoch, &key)) != 0 ||
	    (err = envelope_open(object->data, object->len, ENVELOPE_WITNESS, 0, w->s->v->id, key.b, &o)) != 0)
		return err;
	if (memcmp(o.env.author, m->id, sizeof(m->id)) != 0 || o.body_len != 8)
		return -EBADMSG;
	if ((err = envelope_verify(&o, m->pub.sign)) != 0)
		return err;
	memcpy(out->author, m->id, sizeof(out->author));
	out->seq = get_u64(o.body);
	memcpy(out->hash, o.env.previous, sizeof(out->hash));
	return 0;
}

/* 0 also if it has said nothing, or nothing that can be believed. */
static err_t
hear(struct witness *w, const struct trust_member *m)
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	char name[CHAIN_NAME_MAX];
	err_t err = object_name(w, m->id, name);

	if (err != 0)
		return err;
	err = store_get(w->store, name, PADME_FLOOR, &object);
	if (err != 0)
		return err == -ENOENT ? 0 : err;
	if (open_statement(w, m, &object, &w->heard[w->heard_count]) == 0)
		w->heard_count++;
	else
		log_warn("what \"%s\" has said in the witness %s is damaged or forged; it is not believed", m->name, w->url);
	return 0;
}

void
witness_read(struct witness *w)
{
	const struct trust *t = w->s->v->trust;
	struct statement *room;
	err_t err = 0;

	if (now_s() < w->read_after || !is_usable(w))
		return;
	w->read_after = now_s() + READ_INTERVAL_S;
	room = reallocarray(w->heard, trust_member_count(t) + 1, sizeof(*room));
	if (room == NULL)
		return;
	w->heard = room;
	w->heard_count = 0;
	for (size_t i = 0; err == 0 && i < trust_member_count(t); i++) {
		const struct trust_member *m = trust_member_at(t, i);

		if (m->kind == MEMBER_DEVICE && !m->removed)
			err = hear(w, m);
	}
	if (err == -ECANCELED)
		w->read_after = 0;
	if (err != 0)
		note_store(w, err);
	else
		note(w, NULL);
	pthread_mutex_lock(&w->s->lock);
	w->status.heard = (uint32_t)w->heard_count;
	pthread_mutex_unlock(&w->s->lock);
}

/* Judging. */

static err_t
rolled_back(struct witness *w, const struct statement *said)
{
	const struct trust_member *m = trust_member_find(w->s->v->trust, said->author);

	return report_why(w->s, -ESTALE, "%s has lost or replaced commits: by the witness %s, \"%s\" has seen another commit %" PRIu64
	    " there than the store shows; nothing more is sent; everything is still here; restore the store's newest copy, or, if "
	    "you are sure of it, end this with \"snugfs witness set off\"", w->s->store->url, w->url,
	    m != NULL ? m->name : "a device", said->seq);
}

static err_t
judge_one(struct witness *w, const struct statement *said)
{
	const struct vault *v = w->s->v;
	uint8_t hash[32];
	err_t err;

	if (!v->has_head || said->seq > v->head_seq)
		return rolled_back(w, said);
	if (v->head_seq - said->seq > LOOKBACK_MAX)
		return 0;
	err = lookback_hash(w->s, said->seq, hash);
	if (err == -ESTALE)
		return rolled_back(w, said);
	if (err != 0)
		return 0; /* another time */
	return memcmp(hash, said->hash, sizeof(hash)) == 0 ? 0 : rolled_back(w, said);
}

err_t
witness_judge(struct witness *w)
{
	uint8_t all[32];
	err_t err = 0;

	if (w->heard_count == 0)
		return 0;
	/* The same statements are right for ever, since the head only goes on. */
	if (hash_sha256(w->heard, w->heard_count * sizeof(*w->heard), all) != 0 || memcmp(all, w->approved, sizeof(all)) == 0)
		return 0;
	for (size_t i = 0; err == 0 && i < w->heard_count; i++)
		err = judge_one(w, &w->heard[i]);
	if (err == 0)
		memcpy(w->approved, all, sizeof(all));
	else
		w->read_after = 0; /* it may have been mended by the next time */
	return err;
}

/* Saying. */

static err_t
seal(struct witness *w, struct bytes *out)
{
	const struct vault *v = w->s->v;
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	struct envelope e = { .kind = ENVELOPE_WITNESS, .time_ns = engine_now_ns() };
	uint8_t body[8];
	err_t err;

	put_u64(body, v->head_seq);
	memcpy(e.previous, v->head_hash, sizeof(e.previous));
	memcpy(e.author, v->my_id, sizeof(e.author));
	if ((err = keyring_current(v->keys, &e.epoch)) != 0 || (err = keyring_get(v->keys, e.epoch, &key)) != 0)
		return err;
	return envelope_seal(&e, v->id, key.b, v->me, body, sizeof(body), out);
}

static err_t
write_statement(struct witness *w)
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	char name[CHAIN_NAME_MAX];
	err_t err;

	if ((err = object_name(w, w->s->v->my_id, name)) != 0 || (err = seal(w, &object)) != 0)
		return err;
	return store_put(w->store, name, object.data, object.len);
}

void
witness_write(struct witness *w)
{
	const struct vault *v = w->s->v;
	err_t err;

	if (!v->has_head || (w->status.has_written && w->status.written == v->head_seq) || now_s() < w->write_after || !is_usable(w))
		return;
	err = write_statement(w);
	if (err != 0) {
		w->write_after = err == -ECANCELED ? 0 : now_s() + RETRY_INTERVAL_S;
		note_store(w, err);
		return;
	}
	note(w, NULL);
	pthread_mutex_lock(&w->s->lock);
	w->status.has_written = true;
	w->status.written = v->head_seq;
	pthread_mutex_unlock(&w->s->lock);
}

/* What the user wants. */

static err_t
try_it(struct witness *w, char **why_out)
{
	char what[384];
	err_t err = open_store(w, true, why_out);

	if (err != 0 || !w->s->v->has_head)
		return err;
	if ((err = write_statement(w)) != 0) {
		store_explain(w->store, err, what, sizeof(what));
		store_say(why_out, "%s", what);
	}
	return err;
}

/* [round] */
static err_t
change(struct witness *w, const char *url, char **why_out)
{
	struct meta *m = w->s->v->meta;
	err_t err = 0;

	forget(w);
	w->loaded = false;
	if (url != NULL) {
		if ((w->url = strdup(url)) == NULL)
			return -ENOMEM;
		err = try_it(w, why_out);
	}
	if (err == 0) {
		meta_lock(m);
		err = meta_kv_put(m, DB_KEY_WITNESS, (const uint8_t *)(url != NULL ? url : ""), url != NULL ? strlen(url) : 0);
		meta_unlock(m);
		if (err == 0)
			err = meta_sync(m);
	}
	forget(w);
	pthread_mutex_lock(&w->s->lock);
	w->status = (struct witness_status){ 0 };
	pthread_mutex_unlock(&w->s->lock);
	load(w);
	return err;
}

err_t
witness_set(struct sync *s, const char *url, char **why_out)
{
	err_t err;

	pthread_mutex_lock(&s->round);
	err = change(s->witness, url, why_out);
	pthread_mutex_unlock(&s->round);
	return err;
}

void
witness_get_status(struct sync *s, struct witness_status *out)
{
	pthread_mutex_lock(&s->lock);
	*out = s->witness->status;
	pthread_mutex_unlock(&s->lock);
	if (out->url[0] == '\0') { /* no round has asked for it yet */
		CLEANUP(bytes_clear) struct bytes b = { 0 };

		meta_lock(s->v->meta);
		if (meta_kv_get(s->v->meta, DB_KEY_WITNESS, &b) == 0 && b.len > 0)
			snprintf(out->url, sizeof(out->url), "%.*s", (int)b.len, (const char *)b.data);
		meta_unlock(s->v->meta);
	}
}
