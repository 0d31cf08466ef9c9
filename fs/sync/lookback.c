/* Following the chain back. */
#include "lookback.h"

#include <errno.h>
#include <string.h>

#include "engine.h"
#include "hash.h"

/* hash: of commit seq; becomes that of the commit before. */
static err_t
step_back(struct sync *s, uint64_t seq, uint8_t hash[static 32])
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	CLEANUP(envelope_opened_clear) struct envelope_opened opened = { 0 };
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	uint8_t there[32];
	uint32_t epoch;
	err_t err = chain_read_commit(s->chain, seq, &object);

	if (err != 0)
		return err == -ENOENT || err == -EBADMSG ? -ESTALE : err;
	if ((err = hash_sha256(object.data, object.len, there)) != 0)
		return err;
	if (memcmp(there, hash, sizeof(there)) != 0)
		return -ESTALE;
	if ((err = envelope_epoch(object.data, object.len, &epoch)) != 0 || (err = keyring_get(s->v->keys, epoch, &key)) != 0 ||
	    (err = envelope_open(object.data, object.len, ENVELOPE_COMMIT, seq, s->v->id, key.b, &opened)) != 0)
		return err == -ENOMEM ? err : -ESTALE;
	memcpy(hash, opened.env.previous, 32);
	return 0;
}

err_t
lookback_hash(struct sync *s, uint64_t seq, uint8_t hash_out[static 32])
{
	uint8_t hash[32];
	uint64_t at;
	bool has_head;

	meta_lock(s->v->meta);
	has_head = s->v->has_head;
	at = s->v->head_seq;
	memcpy(hash, s->v->head_hash, sizeof(hash));
	meta_unlock(s->v->meta);
	if (!has_head || seq > at)
		return -ENOENT;
	for (; at > seq; at--) {
		err_t err = atomic_load(&s->stop) ? -ECANCELED : step_back(s, at, hash);

		if (err != 0)
			return err;
	}
	memcpy(hash_out, hash, sizeof(hash));
	return 0;
}
