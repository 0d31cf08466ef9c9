/* Segments: that they are there, whole, and that the files in them can be read; and putting them back. */
#include <errno.h>
#include <string.h>

#include "hash.h"
#include "random.h"
#include "verify_internal.h"

#define PATH_SHOWN_MAX 4096

/* What an object was found to be. */
enum state {
	STATE_GOOD,
	STATE_MISSING,
	STATE_CHANGED,
};

/* Is it among those that are read? */
static err_t
draw(struct verify *v, const struct verify_object_info *o, bool *read_out)
{
	uint8_t drawn[4];
	err_t err = 0;

	*read_out = true;
	if (v->o->percent >= 100 || !o->seen || o->suspicious)
		return 0;
	if ((err = random_bytes(drawn, sizeof(drawn))) != 0)
		return err;
	*read_out = get_u32(drawn) % 100 < v->o->percent;
	return 0;
}

static err_t
is_sound(const struct verify_object_info *o, const struct bytes *data, bool *out)
{
	uint8_t hash[32];
	err_t err = hash_sha256(data->data, data->len, hash);

	if (err == 0)
		*out = data->len == o->size && memcmp(hash, o->sha256, sizeof(hash)) == 0;
	return err;
}

static err_t
read_object(struct verify *v, const struct verify_object_info *o, struct bytes *data, enum state *out)
{
	bool sound = false;
	err_t err = chain_read_segment(v->s->chain, o->name, (size_t)o->size, data);

	if (err == -EBADMSG) { /* larger than it was: what it was may still be there */
		err = chain_read_segment_range(v->s->chain, o->name, 0, (size_t)o->size, data);
		if (err == 0)
			verify_was_read(v, data->len);
		*out = STATE_CHANGED;
		return err == -EBADMSG || err == -ENOENT ? 0 : verify_store_failed(v, err);
	}
	if (err == -ENOENT) {
		*out = STATE_MISSING;
		return 0;
	}
	if (err != 0)
		return verify_store_failed(v, err);
	verify_was_read(v, data->len);
	err = is_sound(o, data, &sound);
	*out = sound ? STATE_GOOD : STATE_CHANGED;
	return err;
}

/* Putting back.  Under the round, so that no collection of segments comes in between. */

static err_t
put_back_locked(struct verify *v, const struct verify_object_info *o, bool *done)
{
	CLEANUP(bytes_clear) struct bytes data = { 0 };
	struct segment row;
	bool sound = false;
	err_t err;

	meta_lock(v->s->v->meta);
	err = meta_segment_get(v->s->v->meta, o->row, &row);
	meta_unlock(v->s->v->meta);
	if (err != 0 || !row.local || !row.in_store)
		return err == -ENOENT ? 0 : err;
	err = segstore_read_whole(v->s->v->segments, &row, &data);
	if (err != 0)
		return err == -ENODATA || err == -EIO ? 0 : err;
	if ((err = is_sound(o, &data, &sound)) != 0 || !sound)
		return err;
	if ((err = chain_write_segment(v->s->chain, o->name, o->sha256, data.data, data.len)) != 0)
		return verify_store_failed(v, err);
	*done = true;
	return 0;
}

static err_t
put_back(struct verify *v, const struct verify_object_info *o, bool *done)
{
	err_t err;

	if (!v->o->repair || o->row == 0)
		return 0;
	pthread_mutex_lock(&v->s->round);
	err = put_back_locked(v, o, done);
	pthread_mutex_unlock(&v->s->round);
	return err;
}

/* It was collected since the run began. */
static bool
is_dropped(struct verify *v, const struct verify_object_info *o)
{
	struct segment row;
	err_t err;

	if (o->row == 0)
		return false;
	meta_lock(v->s->v->meta);
	err = meta_segment_get(v->s->v->meta, o->row, &row);
	meta_unlock(v->s->v->meta);
	return err == -ENOENT || (err == 0 && !row.in_store);
}

/* Saying whom it concerns. */

static const char *
advice(struct verify *v, bool repaired)
{
	if (repaired)
		return "it was put back from this device";
	if (!v->o->repair)
		return "\"snugfs verify --repair\" puts back what this device still has";
	return "this device does not have it; run \"snugfs verify --repair\" on another one, or restore the store's copy of it";
}

static err_t
tell_file(struct verify *v, const struct verify_use *u, const char *object, enum state state, bool repaired)
{
	char path[PATH_SHOWN_MAX];

	meta_lock(v->s->v->meta);
	meta_path(v->s->v->meta, u->ino, path, sizeof(path));
	meta_unlock(v->s->v->meta);
	v->report->files_damaged += !repaired;
	return verify_tell(v, state == STATE_MISSING ? VERIFY_MISSING : VERIFY_CHANGED, object, path, repaired, "%s",
	    advice(v, repaired));
}

/* Each file whose bytes are lost, once.  uses: all of one segment. */
static err_t
tell_files(struct verify *v, const struct verify_use *uses, size_t count, const struct bytes *data, const char *object,
    enum state state, bool repaired, size_t *told_out)
{
	uint64_t told = 0;

	for (size_t i = 0; i < count; i++) {
		err_t err = -EBADMSG;

		if (uses[i].ino == told)
			continue;
		if (state == STATE_CHANGED)
			err = verify_use_open(v, &uses[i], data);
		if (err == 0)
			continue;
		if (err != -EBADMSG)
			return err;
		if ((err = tell_file(v, &uses[i], object, state, repaired)) != 0)
			return err;
		told = uses[i].ino;
		(*told_out)++;
	}
	return 0;
}

static err_t
tell_object(struct verify *v, const struct verify_object_info *o, const struct verify_use *uses, size_t count,
    const struct bytes *data, enum state state)
{
	enum verify_kind kind = state == STATE_MISSING ? VERIFY_MISSING : VERIFY_CHANGED;
	char name[CHAIN_NAME_MAX];
	bool repaired = false;
	size_t told = 0;
	err_t err;

	if (is_dropped(v, o))
		return 0;
	chain_segment_object_name(o->name, name);
	if ((err = put_back(v, o, &repaired)) != 0)
		return err;
	verify_count(v, kind, repaired);
	if ((err = tell_files(v, uses, count, data, name, state, repaired, &told)) != 0 || told > 0)
		return err;
	return verify_tell(v, kind, name, NULL, repaired, "no file as it is now needs what is lost of it, perhaps earlier versions "
	    "do; %s", advice(v, repaired));
}

/* The object is whole, but is what is in it what the files' keys say? */
static err_t
open_all(struct verify *v, const struct verify_object_info *o, const struct verify_use *uses, size_t count,
    const struct bytes *data)
{
	char name[CHAIN_NAME_MAX];
	uint64_t told = 0;
	bool counted = false;

	chain_segment_object_name(o->name, name);
	for (size_t i = 0; i < count; i++) {
		err_t err = uses[i].ino == told ? 0 : verify_use_open(v, &uses[i], data);

		if (err != 0 && err != -EBADMSG)
			return err;
		if (err == 0)
			continue;
		if (!counted)
			verify_count(v, VERIFY_CHANGED, false);
		counted = true;
		told = uses[i].ino;
		if ((err = tell_file(v, &uses[i], name, STATE_CHANGED, false)) != 0)
			return err;
	}
	return 0;
}

static err_t
check_object(struct verify *v, struct verify_object_info *o, const struct verify_use *uses, size_t count)
{
	CLEANUP(bytes_clear) struct bytes data = { 0 };
	enum state state = STATE_GOOD;
	bool read;
	err_t err;

	o->checked = true;
	if ((err = draw(v, o, &read)) != 0 || (err = verify_step(v, 1, "segments")) != 0 || !read)
		return err;
	if (o->size > SIZE_MAX / 2 || (err = read_object(v, o, &data, &state)) != 0)
		return err;
	return state == STATE_GOOD ? open_all(v, o, uses, count, &data) : tell_object(v, o, uses, count, &data, state);
}

/* Those that current files are in, by row. */

static err_t
check_row(struct verify *v, const struct verify_use *uses, size_t count)
{
	struct verify_object_info *o;
	struct segment row;
	err_t err;

	meta_lock(v->s->v->meta);
	err = meta_segment_get(v->s->v->meta, uses[0].row, &row);
	meta_unlock(v->s->v->meta);
	if (err != 0 || row.kind != SEGMENT_SETTLED || !row.in_store)
		return err == -ENOENT ? 0 : err;
	o = verify_object_find(v, row.name);
	return o == NULL || o->checked ? 0 : check_object(v, o, uses, count);
}

static err_t
check_uses(struct verify *v, const struct verify_uses *u)
{
	err_t err = 0;

	for (size_t i = 0, n; err == 0 && i < u->count; i += n) {
		for (n = 1; i + n < u->count && u->v[i + n].row == u->v[i].row; n++)
			;
		err = check_row(v, &u->v[i], n);
	}
	return err;
}

static err_t
check_rows(struct verify *v)
{
	uint64_t first = 0;
	err_t err = 0;

	while (err == 0 && first != UINT64_MAX) {
		struct verify_uses u = { 0 };

		if ((err = verify_uses_find(v, first, &u)) != 0)
			return err;
		err = check_uses(v, &u);
		first = u.end;
		verify_uses_clear(&u);
	}
	return err;
}

static err_t
count_object(struct verify *v, struct verify_object_info *o)
{
	v->report->segments += !o->part && !o->dropped;
	v->total += !o->checked && !o->dropped;
	return 0;
}

/* What only earlier versions are in. */
static err_t
check_rest(struct verify *v, struct verify_object_info *o)
{
	return o->checked || o->dropped ? 0 : check_object(v, o, NULL, 0);
}

err_t
verify_segments(struct verify *v)
{
	err_t err = verify_objects_each(v, count_object);

	if (err == 0)
		err = check_rows(v);
	return err != 0 ? err : verify_objects_each(v, check_rest);
}
