/*
 * rowseal.c: sessions, their keys, and the sealing of rows.
 *
 * A vault gathers sessions for as long as it lives, so only their salts are kept for all of them (they are no secret);
 * keys are derived when they are first wanted and stay in a table of fixed size in secret memory.
 */
#include "rowseal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "aead.h"
#include "hash.h"
#include "kdf.h"
#include "random.h"
#include "secmem.h"

#define KEY_SLOTS 64
#define OPENERS 4
#define HEADER_LEN (4 + 8)

_Static_assert(ROWSEAL_OVERHEAD == HEADER_LEN + AEAD_TAG_LEN, "a row is header, ciphertext, tag");

struct session {
	uint32_t number;
	uint8_t salt[ROWSEAL_SALT_LEN];
};

/* The key of the session whose number modulo KEY_SLOTS this slot is. */
struct key_slot {
	bool used;
	uint32_t session;
	uint8_t key[32];
};

struct secrets {
	uint8_t local_key[32];
	uint8_t names_key[32];
	struct key_slot slots[KEY_SLOTS];
};

/* A context that stays keyed, since a key schedule costs as much as a row. */
struct keyed {
	struct aead *aead; /* NULL: none yet */
	uint32_t session;
};

struct rowseal {
	/* In secret memory.  local_key and names_key never change; slots are guarded by lock. */
	struct secrets *secrets;

	/* Guards all below but the counter, which is also taken from under a read lock. */
	pthread_rwlock_t lock;
	struct session *sessions;
	size_t session_count;
	size_t session_cap;
	bool started;
	uint32_t current; /* the session that we seal with, once started */
	_Atomic uint64_t counter;

	/* Each guards what stands below it. */
	pthread_mutex_t seal_lock;
	struct keyed sealer;
	pthread_mutex_t open_lock;
	struct keyed openers[OPENERS]; /* by session number */
	pthread_mutex_t hash_lock;
	struct hmac *names;
};

static void
unlock(pthread_rwlock_t **lock)
{
	if (*lock)
		pthread_rwlock_unlock(*lock);
}

/* Both can only fail for what a bug would do: a lock that was not made, or one that this thread holds. */
static pthread_rwlock_t *
read_lock(struct rowseal *rs)
{
	pthread_rwlock_rdlock(&rs->lock);
	return &rs->lock;
}

static pthread_rwlock_t *
write_lock(struct rowseal *rs)
{
	pthread_rwlock_wrlock(&rs->lock);
	return &rs->lock;
}

err_t
rowseal_new(const uint8_t local_key[static 32], struct rowseal **out)
{
	CLEANUP(free_ptr) struct rowseal *rs = calloc(1, sizeof(*rs));
	CLEANUP(secmem_free_ptr) struct secrets *secrets = secmem_new(sizeof(*secrets));

	if (!rs || !secrets)
		return -ENOMEM;
	secmem_copy(secrets->local_key, local_key, sizeof(secrets->local_key));

	err_t e = hkdf_expand_label(local_key, "snugfs/1 names", NULL, 0, secrets->names_key, sizeof(secrets->names_key));

	if (!e)
		e = hmac_new(secrets->names_key, sizeof(secrets->names_key), &rs->names);
	if (!e)
		e = -pthread_rwlock_init(&rs->lock, NULL);
	if (e) {
		hmac_free(rs->names);
		return e;
	}
	pthread_mutex_init(&rs->seal_lock, NULL);
	pthread_mutex_init(&rs->open_lock, NULL);
	pthread_mutex_init(&rs->hash_lock, NULL);
	rs->secrets = STEAL(secrets);
	*out = STEAL(rs);
	return 0;
}

void
rowseal_free(struct rowseal *rs)
{
	if (!rs)
		return;
	pthread_rwlock_destroy(&rs->lock);
	pthread_mutex_destroy(&rs->seal_lock);
	pthread_mutex_destroy(&rs->open_lock);
	pthread_mutex_destroy(&rs->hash_lock);
	aead_free(rs->sealer.aead);
	for (size_t i = 0; i < OPENERS; i++)
		aead_free(rs->openers[i].aead);
	hmac_free(rs->names);
	secmem_free(rs->secrets);
	free(rs->sessions);
	free(rs);
}

/* Under the lock. */
static const struct session *
find_session(const struct rowseal *rs, uint32_t number)
{
	/* From the newest, which is the likeliest. */
	for (size_t i = rs->session_count; i-- > 0;) {
		if (rs->sessions[i].number == number)
			return &rs->sessions[i];
	}
	return NULL;
}

/* Under the write lock; the number is not known yet. */
static err_t
append_session(struct rowseal *rs, uint32_t number, const uint8_t salt[static ROWSEAL_SALT_LEN])
{
	if (rs->session_count == rs->session_cap) {
		size_t cap = rs->session_cap ? rs->session_cap * 2 : 16;
		struct session *sessions = reallocarray(rs->sessions, cap, sizeof(*sessions));

		if (!sessions)
			return -ENOMEM;
		rs->sessions = sessions;
		rs->session_cap = cap;
	}

	struct session *s = &rs->sessions[rs->session_count++];

	s->number = number;
	memcpy(s->salt, salt, ROWSEAL_SALT_LEN);
	return 0;
}

err_t
rowseal_add_session(struct rowseal *rs, uint32_t session, const uint8_t salt[static ROWSEAL_SALT_LEN])
{
	CLEANUP(unlock) __attribute__((unused)) pthread_rwlock_t *held = write_lock(rs);
	const struct session *known = find_session(rs, session);

	if (known)
		return memcmp(known->salt, salt, ROWSEAL_SALT_LEN) == 0 ? 0 : -EEXIST;
	return append_session(rs, session, salt);
}

err_t
rowseal_start_session(struct rowseal *rs, uint32_t session, uint8_t salt_out[static ROWSEAL_SALT_LEN])
{
	uint8_t salt[ROWSEAL_SALT_LEN];
	err_t e = random_bytes(salt, sizeof(salt));

	if (e)
		return e;

	CLEANUP(unlock) __attribute__((unused)) pthread_rwlock_t *held = write_lock(rs);

	if (find_session(rs, session))
		return -EEXIST;
	e = append_session(rs, session, salt);
	if (e)
		return e;
	rs->current = session;
	rs->started = true;
	atomic_store(&rs->counter, 0);
	memcpy(salt_out, salt, sizeof(salt));
	return 0;
}

/* Under either lock. */
static bool
cached_key(const struct rowseal *rs, uint32_t session, struct key32 *out)
{
	const struct key_slot *slot = &rs->secrets->slots[session % KEY_SLOTS];

	if (!slot->used || slot->session != session)
		return false;
	secmem_copy(out->b, slot->key, sizeof(out->b));
	return true;
}

/* Under no lock.  -EBADMSG for a session that is not known. */
static err_t
session_key(struct rowseal *rs, uint32_t session, struct key32 *out)
{
	{
		CLEANUP(unlock) __attribute__((unused)) pthread_rwlock_t *held = read_lock(rs);

		if (cached_key(rs, session, out))
			return 0;
	}

	CLEANUP(unlock) __attribute__((unused)) pthread_rwlock_t *held = write_lock(rs);
	const struct session *s = find_session(rs, session);

	if (!s)
		return -EBADMSG;

	err_t e = hkdf_expand_label(rs->secrets->local_key, "snugfs/1 row session", s->salt, sizeof(s->salt), out->b,
	    sizeof(out->b));

	if (e)
		return e;

	struct key_slot *slot = &rs->secrets->slots[session % KEY_SLOTS];

	slot->used = true;
	slot->session = session;
	secmem_copy(slot->key, out->b, sizeof(slot->key));
	return 0;
}

/* The session and counter of the next row: never the same twice.  -EINVAL when no session was started. */
static err_t
next_number(struct rowseal *rs, uint32_t *session_out, uint64_t *counter_out)
{
	CLEANUP(unlock) __attribute__((unused)) pthread_rwlock_t *held = read_lock(rs);

	if (!rs->started)
		return -EINVAL;
	*session_out = rs->current;
	*counter_out = atomic_fetch_add(&rs->counter, 1);
	return 0;
}

static void
unlock_mutex(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

static pthread_mutex_t *
lock_mutex(pthread_mutex_t *lock)
{
	pthread_mutex_lock(lock);
	return lock;
}

/* Under k's lock.  A context that could not take the key is not used again. */
static err_t
use_session(struct rowseal *rs, struct keyed *k, uint32_t session)
{
	CLEANUP(key32_wipe) struct key32 key = {{0}};

	if (k->aead && k->session == session)
		return 0;

	err_t e = session_key(rs, session, &key);

	if (e)
		return e;
	if (!k->aead) {
		e = aead_new(key.b, &k->aead);
	} else {
		e = aead_rekey(k->aead, key.b);
		if (e) {
			aead_free(k->aead);
			k->aead = NULL;
		}
	}
	k->session = session;
	return e;
}

err_t
rowseal_seal(struct rowseal *rs, const void *aad, size_t aad_len, const void *pt, size_t len, struct bytes *out)
{
	uint8_t nonce[AEAD_NONCE_LEN];
	uint32_t session = 0;
	uint64_t counter = 0;
	uint8_t *at = NULL;

	if (len > AEAD_MAX_LEN)
		return -EINVAL;

	err_t e = next_number(rs, &session, &counter);

	if (e)
		return e;

	CLEANUP(unlock_mutex) __attribute__((unused)) pthread_mutex_t *held = lock_mutex(&rs->seal_lock);

	e = use_session(rs, &rs->sealer, session);
	if (!e)
		e = bytes_extend(out, len + ROWSEAL_OVERHEAD, &at);
	if (e)
		return e;
	put_u32(at, session);
	put_u64(at + 4, counter);
	aead_nonce(counter, nonce);
	e = aead_seal(rs->sealer.aead, nonce, aad, aad_len, pt, len, at + HEADER_LEN);
	if (e)
		out->len -= len + ROWSEAL_OVERHEAD;
	return e;
}

err_t
rowseal_open(struct rowseal *rs, const void *aad, size_t aad_len, const uint8_t *row, size_t row_len, struct bytes *out)
{
	uint8_t nonce[AEAD_NONCE_LEN];
	uint8_t *at = NULL;

	if (row_len < ROWSEAL_OVERHEAD)
		return -EBADMSG;

	uint32_t session = get_u32(row);
	struct keyed *k = &rs->openers[session % OPENERS];
	size_t len = row_len - ROWSEAL_OVERHEAD;
	CLEANUP(unlock_mutex) __attribute__((unused)) pthread_mutex_t *held = lock_mutex(&rs->open_lock);
	err_t e = use_session(rs, k, session);

	if (!e)
		e = bytes_extend(out, len, &at);
	if (e)
		return e;
	aead_nonce(get_u64(row + 4), nonce);
	e = aead_open(k->aead, nonce, aad, aad_len, row + HEADER_LEN, row_len - HEADER_LEN, at);
	if (e)
		out->len -= len;
	return e;
}

err_t
rowseal_name_hash(struct rowseal *rs, uint64_t parent, const char *name, size_t name_len, int64_t *out)
{
	uint8_t parent_be[8];
	uint8_t digest[HASH_LEN];
	const struct hmac_part parts[] = {
		{parent_be, sizeof(parent_be)},
		{name, name_len},
	};

	put_u64(parent_be, parent);

	CLEANUP(unlock_mutex) __attribute__((unused)) pthread_mutex_t *held = lock_mutex(&rs->hash_lock);
	err_t e = hmac_parts(rs->names, parts, ARRAY_LEN(parts), digest);

	if (e)
		return e;
	*out = (int64_t)(get_u64(digest) & INT64_MAX);
	return 0;
}
