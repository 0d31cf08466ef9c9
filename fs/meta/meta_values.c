/* Small values and trust statements. */
#include <errno.h>
#include <stdlib.h>

#include "meta_internal.h"

static struct cached_blob *
blob_cached(struct meta *m, enum db_table table, uint64_t a)
{
	uint64_t key = (uint64_t)table << 32 | a;
	struct cached_blob *cb;

	HASH_FIND(hh, m->blobs, &key, sizeof(key), cb);
	return cb;
}

static err_t
blob_get(struct meta *m, enum db_table table, uint64_t a, struct bytes *out)
{
	struct cached_blob *cb = blob_cached(m, table, a);

	if (cb != NULL)
		return bytes_append(out, cb->data.data, cb->data.len);
	return db_get(m->db, table, a, 0, out);
}

static err_t
blob_put(struct meta *m, enum db_table table, uint64_t a, const uint8_t *data, size_t len)
{
	struct cached_blob *cb = blob_cached(m, table, a);
	struct bytes copy = { 0 };
	err_t err = bytes_append(&copy, data, len);

	if (err != 0)
		return err;
	if (cb == NULL) {
		cb = calloc(1, sizeof(*cb));
		if (cb == NULL) {
			bytes_clear(&copy);
			return -ENOMEM;
		}
		cache_init(&cb->node, table, a, 0, false);
		cb->key = (uint64_t)table << 32 | a;
		HASH_ADD(hh, m->blobs, key, sizeof(cb->key), cb);
		cache_insert_clean(m, &cb->node);
	}
	bytes_clear(&cb->data);
	cb->data = copy;
	return cache_dirty(m, &cb->node);
}

err_t
meta_kv_get(struct meta *m, enum db_key key, struct bytes *out)
{
	return blob_get(m, DB_KV, key, out);
}

err_t
meta_kv_put(struct meta *m, enum db_key key, const uint8_t *data, size_t len)
{
	return blob_put(m, DB_KV, key, data, len);
}

err_t
meta_statement_put(struct meta *m, uint64_t number, const uint8_t *data, size_t len)
{
	return blob_put(m, DB_STATEMENT, number, data, len);
}
