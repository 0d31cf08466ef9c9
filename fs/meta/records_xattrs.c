/*
 * records_xattrs.c: the extended attributes of an inode: a count, then flags, name and value of each.
 */
#include "records_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XATTR_MIN_LEN (1 + 1 + 4)
#define XATTR_VALUE_MAX 65536u

enum { XATTR_PENDING = 1, XATTR_DELETED = 2, XATTR_FLAGS = 3 };

void
xattr_list_clear(struct xattr_list *l)
{
	for (uint32_t k = 0; k < l->count; k++) {
		free(l->v[k].name);
		free(l->v[k].value);
	}
	free(l->v);
	*l = (struct xattr_list){0};
}

err_t
record_put_xattrs(struct bytes *b, const struct xattr_list *l)
{
	size_t len = 1 + 4;
	uint8_t *p;

	for (uint32_t k = 0; k < l->count; k++) {
		assert(strlen(l->v[k].name) <= 255 && l->v[k].len <= XATTR_VALUE_MAX);
		len += XATTR_MIN_LEN + strlen(l->v[k].name) + (l->v[k].deleted ? 0 : l->v[k].len);
	}

	err_t e = bytes_extend(b, len, &p);

	if (e)
		return e;
	w8(&p, RECORD_VERSION);
	w32(&p, l->count);
	for (uint32_t k = 0; k < l->count; k++) {
		const struct xattr *x = &l->v[k];
		uint8_t name_len = (uint8_t)strlen(x->name);
		uint32_t value_len = x->deleted ? 0 : x->len;

		w8(&p, (uint8_t)((x->pending ? XATTR_PENDING : 0) | (x->deleted ? XATTR_DELETED : 0)));
		w8(&p, name_len);
		wbytes(&p, x->name, name_len);
		w32(&p, value_len);
		wbytes(&p, x->value, value_len);
	}
	return 0;
}

/* *x was zero; what is set in it at a failure is freed with the list. */
static err_t
get_xattr(struct cursor *in, struct xattr *x)
{
	uint8_t flags = 0;
	uint8_t name_len = 0;
	uint32_t len = 0;
	err_t e = cursor_u8(in, &flags);

	if (!e)
		e = cursor_u8(in, &name_len);
	if (!e)
		e = flags & ~XATTR_FLAGS || name_len == 0 ? -EBADMSG : record_take_text(in, name_len, &x->name);
	if (!e)
		e = cursor_u32(in, &len);
	if (e)
		return e;
	x->pending = flags & XATTR_PENDING;
	x->deleted = flags & XATTR_DELETED;
	if (len > XATTR_VALUE_MAX || len > in->len || (x->deleted && len))
		return -EBADMSG;
	if (x->deleted)
		return 0;
	x->value = malloc(len ? len : 1);
	if (!x->value)
		return -ENOMEM;
	x->len = len;
	return cursor_copy(in, x->value, len);
}

err_t
record_get_xattrs(const uint8_t *data, size_t len, struct xattr_list *out)
{
	struct cursor in = {data, len};
	CLEANUP(xattr_list_clear) struct xattr_list l = {0};
	uint32_t count = 0;
	err_t e = record_take_version(&in);

	if (!e)
		e = cursor_u32(&in, &count);
	if (!e && count > in.len / XATTR_MIN_LEN)
		e = -EBADMSG;
	if (e)
		return e;
	if (count) {
		l.v = calloc(count, sizeof(*l.v));
		if (!l.v)
			return -ENOMEM;
		l.count = l.cap = count;
	}
	for (uint32_t k = 0; k < count && !e; k++)
		e = get_xattr(&in, &l.v[k]);
	if (!e && in.len)
		e = -EBADMSG;
	if (e)
		return e;
	*out = l;
	l = (struct xattr_list){0};
	return 0;
}
