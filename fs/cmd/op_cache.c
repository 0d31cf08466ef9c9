/* What of the vault is on this computer: its limit, pins, and what is to go now. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "handles.h"
#include "hex.h"
#include "human.h"
#include "op.h"
#include "tell.h"

static struct cache_place
place_of(struct vault *v)
{
	return (struct cache_place){ .content = v->content, .meta = v->meta };
}

json_t *
op_cache_report(struct vault *v)
{
	const struct cache_place place = place_of(v);
	CLEANUP(free_ptr) uint64_t *pins = NULL;
	struct cache_usage u = { 0 };
	uint64_t limit = 0;
	size_t count = 0;

	if (cache_usage(&place, &u) != 0 || cache_get_limit(v->meta, &limit) != 0 ||
	    cache_list_pins(v->meta, &pins, &count) != 0)
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:o, s:I}", "here", (json_int_t)u.here, "total", (json_int_t)u.total, "cached",
	    (json_int_t)u.cached, "limit", limit != 0 ? json_integer((json_int_t)limit) : json_null(), "pins",
	    (json_int_t)count);
}

/* The inode of a path below the mount point; path is taken apart. */
static err_t
find_path(struct vault *v, char *path, uint64_t *ino_out)
{
	uint64_t ino = INODE_ROOT;
	char *rest = path, *name;
	err_t err = 0;

	meta_lock(v->meta);
	while (err == 0 && (name = strsep(&rest, "/")) != NULL) {
		struct inode *i;

		if (*name == '\0')
			continue;
		err = meta_lookup(v->meta, ino, name, &i);
		if (err == 0)
			ino = i->ino;
	}
	meta_unlock(v->meta);
	*ino_out = ino;
	return err;
}

/* NULL: it was found. */
static json_t *
find_request(struct op *op, const json_t *request, uint64_t *ino_out)
{
	CLEANUP(free_ptr) char *path = NULL;
	CLEANUP(handle_free_json) json_t *shown = NULL;
	err_t err = hex_parse_path(json_string_value(json_object_get(request, "path")), &path);

	if (err == 0 && (shown = human_path(path)) == NULL)
		err = -ENOMEM;
	if (err == 0)
		err = find_path(op->vault, path, ino_out);
	if (err == 0)
		return NULL;
	if (err == -ENOENT)
		return control_refusal("there is no %s/%s", op->mountpoint, json_string_value(shown));
	return control_refusal("%s/%s: %s", op->mountpoint, shown != NULL ? json_string_value(shown) : "", tell_reason(err));
}

/* What was changed is to last. */
static json_t *
finish(struct op *op, err_t err)
{
	cache_wake(op->cache);
	if (err == 0)
		err = meta_flush(op->vault->meta);
	return err == 0 ? json_pack("{s:b}", "ok", 1) : control_refusal("it could not be noted: %s", tell_reason(err));
}

json_t *
op_pin(struct op *op, const json_t *request)
{
	uint64_t ino;
	json_t *refusal = find_request(op, request, &ino), *answer;
	err_t err;

	if (refusal != NULL)
		return refusal;
	err = cache_pin(op->vault->meta, ino);
	if (err == -E2BIG)
		return control_refusal("%u files and folders are pinned already: pin a folder that has several of them", CACHE_PINS_MAX);
	answer = finish(op, err == -EEXIST ? 0 : err);
	if (op->uplink != NULL)
		(void)json_object_set_new(answer, "held", json_boolean(uplink_is_held(op->uplink)));
	return answer;
}

json_t *
op_unpin(struct op *op, const json_t *request)
{
	uint64_t ino;
	json_t *refusal = find_request(op, request, &ino);
	bool above;
	err_t err;

	if (refusal != NULL)
		return refusal;
	err = cache_unpin(op->vault->meta, ino);
	meta_lock(op->vault->meta);
	above = cache_is_pinned(op->vault->meta, ino);
	meta_unlock(op->vault->meta);
	if (err == -ENOENT && above)
		return control_refusal("a folder that it is in is pinned: unpin that one");
	if (err == -ENOENT)
		return control_refusal("it is not pinned");
	return finish(op, err);
}

json_t *
op_free(struct op *op, const json_t *request)
{
	const struct cache_place place = place_of(op->vault);
	struct cache_freed f;
	uint64_t ino;
	json_t *refusal = find_request(op, request, &ino);
	err_t err;

	if (refusal != NULL)
		return refusal;
	if (op->uplink == NULL)
		return op_refuse_no_store(op);
	err = cache_free_file(&place, ino, &f);
	if (err != 0)
		return control_refusal("nothing was given up: %s", tell_reason(err));
	return json_pack("{s:b, s:I, s:I, s:I, s:I}", "ok", 1, "freed", (json_int_t)f.freed, "unsynced", (json_int_t)f.unsynced,
	    "pinned", (json_int_t)f.pinned, "busy", (json_int_t)f.busy);
}

static err_t
set_limit(struct op *op, uint64_t limit)
{
	const struct cache_place place = place_of(op->vault);
	uint64_t freed;
	bool busy; /* then the thread goes on */
	err_t err = cache_set_limit(op->vault->meta, limit);

	cache_wake(op->cache);
	if (err == 0)
		err = meta_flush(op->vault->meta);
	return err == 0 && limit != 0 ? cache_shrink(&place, limit, limit / 10 * 9, &freed, &busy) : err;
}

/* Paths of what is pinned; what is not there any more is not named. */
static json_t *
pinned_paths(struct vault *v)
{
	CLEANUP(free_ptr) uint64_t *pins = NULL;
	json_t *list = json_array();
	size_t count = 0;
	char path[4096];

	if (cache_list_pins(v->meta, &pins, &count) != 0)
		count = 0;
	meta_lock(v->meta);
	for (size_t k = 0; k < count; k++) {
		struct inode *i;

		if (meta_inode_get(v->meta, pins[k], &i) != 0 || i->nlink == 0)
			continue;
		meta_path(v->meta, pins[k], path, sizeof(path));
		(void)json_array_append_new(list, human_path(pins[k] == INODE_ROOT ? "." : path));
	}
	meta_unlock(v->meta);
	return list;
}

json_t *
op_cache(struct op *op, const json_t *request)
{
	const json_t *size = json_object_get(request, "size");
	err_t err = json_is_integer(size) ? set_limit(op, (uint64_t)json_integer_value(size)) : 0;

	if (err != 0)
		return control_refusal("the size could not be set: %s", tell_reason(err));
	return json_pack("{s:b, s:o, s:o}", "ok", 1, "cache", op_cache_report(op->vault), "pinned", pinned_paths(op->vault));
}
