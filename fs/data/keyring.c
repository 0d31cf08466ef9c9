/*
 * keyring.c: a short list of epoch keys, each in secret memory of its own, and the file keys that were opened lately, because
 * unwrapping one costs more than sealing a page under it.
 */
#include "keyring.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lock.h"
#include "random.h"

struct epoch {
	uint32_t no;
	struct key32 *key; /* secret memory */
};

/* A power of two.  Wrapped keys look random, so that a byte of them is a good hash. */
#define OPENED_COUNT 256

/* What opened[n] holds; its key is opened_keys[n]. */
struct opened {
	bool used;
	struct file_key fk;
};

struct keyring {
	pthread_rwlock_t lock; /* the epochs */
	struct epoch *epochs;  /* ascending */
	size_t count;

	pthread_mutex_t opened_lock; /* both below */
	struct opened opened[OPENED_COUNT];
	struct key32 *opened_keys; /* secret memory */
};

err_t
keyring_new(struct keyring **out)
{
	struct keyring *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->opened_keys = secmem_new(OPENED_COUNT * sizeof(*k->opened_keys));
	if (!k->opened_keys) {
		free(k);
		return -ENOMEM;
	}
	/* Without attributes neither can fail on Linux. */
	(void)pthread_rwlock_init(&k->lock, NULL);
	lock_init(&k->opened_lock);
	*out = k;
	return 0;
}

void
keyring_free(struct keyring *k)
{
	if (!k)
		return;
	for (size_t i = 0; i < k->count; i++)
		secmem_free(k->epochs[i].key);
	free(k->epochs);
	secmem_free(k->opened_keys);
	pthread_mutex_destroy(&k->opened_lock);
	pthread_rwlock_destroy(&k->lock);
	free(k);
}

/* [lock] The newest are asked for most. */
static const struct epoch *
find(const struct keyring *k, uint32_t no)
{
	for (size_t i = k->count; i > 0; i--) {
		if (k->epochs[i - 1].no == no)
			return &k->epochs[i - 1];
	}
	return NULL;
}

/* [lock, writing] */
static err_t
insert(struct keyring *k, uint32_t no, const uint8_t key[static 32])
{
	struct epoch *grown = reallocarray(k->epochs, k->count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	k->epochs = grown;

	struct key32 *secret = secmem_new(sizeof(*secret));

	if (!secret)
		return -ENOMEM;
	secmem_copy(secret->b, key, sizeof(secret->b));

	size_t at = k->count;

	while (at > 0 && k->epochs[at - 1].no > no)
		at--;
	memmove(&k->epochs[at + 1], &k->epochs[at], (k->count - at) * sizeof(*k->epochs));
	k->epochs[at] = (struct epoch){no, secret};
	k->count++;
	return 0;
}

err_t
keyring_add(struct keyring *k, uint32_t epoch, const uint8_t key[static 32])
{
	pthread_rwlock_wrlock(&k->lock);

	const struct epoch *known = find(k, epoch);
	err_t e;

	if (known)
		e = secmem_equal(known->key->b, key, 32) ? 0 : -EEXIST;
	else
		e = insert(k, epoch, key);
	pthread_rwlock_unlock(&k->lock);
	return e;
}

err_t
keyring_get(struct keyring *k, uint32_t epoch, struct key32 *out)
{
	pthread_rwlock_rdlock(&k->lock);

	const struct epoch *known = find(k, epoch);

	if (known)
		secmem_copy(out->b, known->key->b, sizeof(out->b));
	pthread_rwlock_unlock(&k->lock);
	return known ? 0 : -ENOENT;
}

err_t
keyring_current(struct keyring *k, uint32_t *epoch_out)
{
	pthread_rwlock_rdlock(&k->lock);

	bool any = k->count > 0;

	if (any)
		*epoch_out = k->epochs[k->count - 1].no;
	pthread_rwlock_unlock(&k->lock);
	return any ? 0 : -ENOENT;
}

static bool
same_key(const struct file_key *a, const struct file_key *b)
{
	return a->epoch == b->epoch && memcmp(a->wrapped, b->wrapped, sizeof(a->wrapped)) == 0;
}

static bool
recall(struct keyring *k, const struct file_key *fk, struct key32 *out)
{
	size_t n = fk->wrapped[0] % OPENED_COUNT;

	pthread_mutex_lock(&k->opened_lock);

	bool found = k->opened[n].used && same_key(&k->opened[n].fk, fk);

	if (found)
		secmem_copy(out->b, k->opened_keys[n].b, sizeof(out->b));
	pthread_mutex_unlock(&k->opened_lock);
	return found;
}

static void
remember(struct keyring *k, const struct file_key *fk, const struct key32 *key)
{
	size_t n = fk->wrapped[0] % OPENED_COUNT;

	pthread_mutex_lock(&k->opened_lock);
	k->opened[n] = (struct opened){true, *fk};
	secmem_copy(k->opened_keys[n].b, key->b, sizeof(key->b));
	pthread_mutex_unlock(&k->opened_lock);
}

err_t
keyring_new_file_key(struct keyring *k, uint32_t version, struct file_key *out)
{
	CLEANUP(key32_wipe) struct key32 kek = {{0}};
	CLEANUP(key32_wipe) struct key32 key = {{0}};
	struct file_key made = {.version = version};
	err_t e = keyring_current(k, &made.epoch);

	if (!e)
		e = keyring_get(k, made.epoch, &kek);
	if (!e)
		e = random_secret(key.b, sizeof(key.b));
	if (!e)
		e = keywrap_wrap(kek.b, key.b, made.wrapped);
	if (e)
		return e;
	remember(k, &made, &key); /* it was made to be used */
	*out = made;
	return 0;
}

err_t
keyring_open_file_key(struct keyring *k, const struct file_key *fk, struct key32 *out)
{
	CLEANUP(key32_wipe) struct key32 kek = {{0}};
	CLEANUP(key32_wipe) struct key32 key = {{0}};

	if (recall(k, fk, out))
		return 0;

	err_t e = keyring_get(k, fk->epoch, &kek);

	if (!e)
		e = keywrap_unwrap(kek.b, fk->wrapped, key.b);
	if (e)
		return e;
	remember(k, fk, &key);
	secmem_copy(out->b, key.b, sizeof(out->b));
	return 0;
}
