/* What segments and parts something refers to, by name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "verify_internal.h"

#define HASH_NONFATAL_OOM 1
#include "hash_table.h"

struct verify_object {
	struct verify_object_info info;
	UT_hash_handle hh;
};

struct verify_object_info *
verify_object_find(struct verify *v, const uint8_t name[static SEGMENT_NAME_LEN])
{
	struct verify_object *o;

	HASH_FIND(hh, v->objects, name, SEGMENT_NAME_LEN, o);
	return o != NULL ? &o->info : NULL;
}

err_t
verify_object_expect(struct verify *v, const uint8_t name[static SEGMENT_NAME_LEN], struct verify_object_info **out)
{
	struct verify_object_info *known = verify_object_find(v, name);
	struct verify_object *o;

	if (known != NULL) {
		*out = known;
		return 0;
	}
	o = calloc(1, sizeof(*o));
	if (o == NULL)
		return -ENOMEM;
	memcpy(o->info.name, name, SEGMENT_NAME_LEN);
	HASH_ADD(hh, v->objects, info.name, SEGMENT_NAME_LEN, o);
	if (o->hh.tbl == NULL) {
		free(o);
		return -ENOMEM;
	}
	*out = &o->info;
	return 0;
}

err_t
verify_objects_each(struct verify *v, verify_object_fn *fn)
{
	struct verify_object *o, *next;
	err_t err = 0;

	HASH_ITER (hh, v->objects, o, next)
		if ((err = fn(v, &o->info)) != 0)
			return err;
	return 0;
}

void
verify_objects_clear(struct verify *v)
{
	struct verify_object *o, *next;

	HASH_ITER (hh, v->objects, o, next) {
		HASH_DEL(v->objects, o);
		free(o);
	}
}

/* Commits are read from the newest to the oldest: who drops a segment comes before those that name it. */
static err_t
note_drops(struct verify *v, const struct changes *c)
{
	for (uint32_t i = 0; i < c->drop_count; i++) {
		struct verify_object_info *o;
		err_t err = verify_object_expect(v, c->drops[i].name, &o);

		if (err != 0)
			return err;
		o->dropped = o->row == 0;
	}
	return 0;
}

err_t
verify_objects_expect_all(struct verify *v, const struct changes *c)
{
	err_t dropped = note_drops(v, c);

	if (dropped != 0)
		return dropped;
	for (uint32_t i = 0; i < c->drop_count; i++) {
		struct verify_object_info *o;
		err_t err = verify_object_expect(v, c->drops[i].name, &o);

		if (err != 0)
			return err;
		o->dropped = true;
	}
	for (uint32_t i = 0; i < c->segment_count; i++) {
		const struct change_segment *s = &c->segments[i];
		struct verify_object_info *o;
		err_t err = verify_object_expect(v, s->name, &o);

		if (err != 0)
			return err;
		if (o->size != 0)
			continue;
		o->size = s->size;
		memcpy(o->sha256, s->sha256, sizeof(o->sha256));
	}
	return 0;
}
