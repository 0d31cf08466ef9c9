/* The last commit of each member, for those who want to know which computer is still in use. */
#include <errno.h>
#include <stdlib.h>

#include "vault.h"
#include "vault_internal.h"

#define RECORD_VERSION 1

static struct vault_author *
find(struct vault *v, uint32_t number)
{
	for (size_t i = 0; i < v->author_count; i++)
		if (v->authors[i].number == number)
			return &v->authors[i];
	return NULL;
}

static err_t
append(struct vault *v, const struct vault_author *a)
{
	struct vault_author *grown = reallocarray(v->authors, v->author_count + 1, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	v->authors = grown;
	grown[v->author_count++] = *a;
	return 0;
}

static err_t
save(struct vault *v)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err;

	if ((err = bytes_append_u8(&b, RECORD_VERSION)) != 0 || (err = bytes_append_u32(&b, (uint32_t)v->author_count)) != 0)
		return err;
	for (size_t i = 0; i < v->author_count; i++) {
		const struct vault_author *a = &v->authors[i];

		if ((err = bytes_append_u32(&b, a->number)) != 0 || (err = bytes_append_u64(&b, a->seq)) != 0 ||
		    (err = bytes_append_u64(&b, a->time_ns)) != 0)
			return err;
	}
	return meta_kv_put(v->meta, DB_KEY_AUTHORS, b.data, b.len);
}

err_t
vault_save_author(struct vault *v, const struct vault_author *a)
{
	struct vault_author *known = find(v, a->number);
	err_t err;

	if (known == NULL && (err = append(v, a)) != 0)
		return err;
	if (known != NULL)
		*known = *a;
	return save(v);
}

const struct vault_author *
vault_author(struct vault *v, uint32_t number)
{
	return find(v, number);
}

static err_t
parse(struct vault *v, struct cursor *c)
{
	uint8_t version;
	uint32_t count;
	err_t err;

	if ((err = cursor_u8(c, &version)) != 0)
		return err;
	if (version != RECORD_VERSION)
		return -EPROTO;
	if ((err = cursor_u32(c, &count)) != 0)
		return err;
	for (uint32_t i = 0; i < count; i++) {
		struct vault_author a;

		if ((err = cursor_u32(c, &a.number)) != 0 || (err = cursor_u64(c, &a.seq)) != 0 ||
		    (err = cursor_u64(c, &a.time_ns)) != 0 || (err = append(v, &a)) != 0)
			return err;
	}
	return 0;
}

err_t
vault_load_authors(struct vault *v)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err = meta_kv_get(v->meta, DB_KEY_AUTHORS, &b);

	if (err != 0)
		return err == -ENOENT ? 0 : err;
	return parse(v, &(struct cursor){ b.data, b.len });
}
