/* cache_settings.c: the limit and the pins: one row. */
#include "cache_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"

#define RECORD_VERSION 1
#define DEPTH_MAX 4096u /* of folders; deeper than any path can be */

struct settings {
	uint64_t limit;
	uint64_t *pins; /* ascending */
	uint32_t pin_count;
};

static void
settings_clear(struct settings *s)
{
	free(s->pins);
	*s = (struct settings){0};
}

static err_t
parse(struct cursor *in, struct settings *s)
{
	uint8_t version;
	err_t e = cursor_u8(in, &version);

	if (e)
		return e;
	if (version != RECORD_VERSION)
		return -EPROTO;
	e = cursor_u64(in, &s->limit);
	if (!e)
		e = cursor_u32(in, &s->pin_count);
	if (e || s->pin_count > CACHE_PINS_MAX)
		return e ? e : -EBADMSG;
	s->pins = calloc((size_t)s->pin_count + 1, sizeof(*s->pins));
	if (!s->pins)
		return -ENOMEM;
	for (uint32_t k = 0; k < s->pin_count && !e; k++)
		e = cursor_u64(in, &s->pins[k]);
	return !e && in->len ? -EBADMSG : e;
}

/* [meta lock] */
static err_t
load(struct meta *m, struct settings *out)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	CLEANUP(settings_clear) struct settings s = {0};
	err_t e = meta_kv_get(m, DB_KEY_CACHE, &b);

	if (!e)
		e = parse(&(struct cursor){b.data, b.len}, &s);
	if (e == -ENOENT)
		e = 0;
	if (e)
		return e;
	*out = s;
	s = (struct settings){0};
	return 0;
}

/* [meta lock] */
static err_t
save(struct meta *m, const struct settings *s)
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	err_t e = bytes_append_u8(&b, RECORD_VERSION);

	if (!e)
		e = bytes_append_u64(&b, s->limit);
	if (!e)
		e = bytes_append_u32(&b, s->pin_count);
	for (uint32_t k = 0; k < s->pin_count && !e; k++)
		e = bytes_append_u64(&b, s->pins[k]);
	return e ? e : meta_kv_put(m, DB_KEY_CACHE, b.data, b.len);
}

/* The place of ino among the pins, or where it would be. */
static uint32_t
place_of(const struct settings *s, uint64_t ino)
{
	uint32_t k = 0;

	while (k < s->pin_count && s->pins[k] < ino)
		k++;
	return k;
}

static bool
has(const struct settings *s, uint64_t ino)
{
	uint32_t k = place_of(s, ino);

	return k < s->pin_count && s->pins[k] == ino;
}

err_t
cache_get_limit(struct meta *m, uint64_t *limit_out)
{
	CLEANUP(settings_clear) struct settings s = {0};

	meta_lock(m);

	err_t e = load(m, &s);

	meta_unlock(m);
	if (!e)
		*limit_out = s.limit;
	return e;
}

err_t
cache_set_limit(struct meta *m, uint64_t limit)
{
	CLEANUP(settings_clear) struct settings s = {0};

	meta_lock(m);

	err_t e = load(m, &s);

	s.limit = limit;
	if (!e)
		e = save(m, &s);
	meta_unlock(m);
	return e;
}

/* [meta lock] */
static err_t
pin(struct meta *m, uint64_t ino)
{
	CLEANUP(settings_clear) struct settings s = {0};
	err_t e = load(m, &s);

	if (e)
		return e;
	if (has(&s, ino))
		return -EEXIST;
	if (s.pin_count == CACHE_PINS_MAX)
		return -E2BIG;

	uint32_t at = place_of(&s, ino);
	uint64_t *grown = reallocarray(s.pins, (size_t)s.pin_count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	s.pins = grown;
	memmove(s.pins + at + 1, s.pins + at, (s.pin_count - at) * sizeof(*s.pins));
	s.pins[at] = ino;
	s.pin_count++;
	return save(m, &s);
}

/* [meta lock] */
static err_t
unpin(struct meta *m, uint64_t ino)
{
	CLEANUP(settings_clear) struct settings s = {0};
	err_t e = load(m, &s);

	if (e)
		return e;
	if (!has(&s, ino))
		return -ENOENT;

	uint32_t at = place_of(&s, ino);

	s.pin_count--;
	memmove(s.pins + at, s.pins + at + 1, (s.pin_count - at) * sizeof(*s.pins));
	return save(m, &s);
}

err_t
cache_pin(struct meta *m, uint64_t ino)
{
	meta_lock(m);

	err_t e = pin(m, ino);

	meta_unlock(m);
	return e;
}

err_t
cache_unpin(struct meta *m, uint64_t ino)
{
	meta_lock(m);

	err_t e = unpin(m, ino);

	meta_unlock(m);
	return e;
}

bool
cache_is_pinned(struct meta *m, uint64_t ino)
{
	CLEANUP(settings_clear) struct settings s = {0};
	struct inode *i;

	if (load(m, &s) || !s.pin_count)
		return false;
	for (unsigned depth = 0; ino && depth < DEPTH_MAX; depth++) {
		if (has(&s, ino))
			return true;
		if (ino == INODE_ROOT || meta_inode_get(m, ino, &i))
			return false;
		ino = i->parent;
	}
	return false;
}

err_t
cache_list_pins(struct meta *m, uint64_t **inos_out, size_t *count_out)
{
	CLEANUP(settings_clear) struct settings s = {0};

	meta_lock(m);

	err_t e = load(m, &s);

	meta_unlock(m);
	if (e)
		return e;
	*inos_out = STEAL(s.pins);
	*count_out = s.pin_count;
	return 0;
}
