/* shelf.c: the store in front of the store. */
#include "shelf.h"

#include <ftw.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tape.h"

#include "../../tempdir.h"

struct shelf_store {
	struct store base;
	struct store *inner;
	struct shelf *shelf;
};

static struct store *
inner_of(struct store *s)
{
	return ((struct shelf_store *)s)->inner;
}

/* Segments come from several threads; commits and bases from the one that pushes. */
static bool
matters(const char *name)
{
	return strncmp(name, "c/", 2) == 0 || strncmp(name, "b/", 2) == 0;
}

static void
note(struct store *s, const char *name, size_t from)
{
	struct shelf *shelf = ((struct shelf_store *)s)->shelf;
	struct shelf_object *o;

	if (!matters(name))
		return;
	shelf->v = grown(shelf->v, &shelf->cap, shelf->count, sizeof(*shelf->v));
	o = &shelf->v[shelf->count++];
	*o = (struct shelf_object){.from = from, .to = tape_position(), .maker = shelf->maker};
	snprintf(o->name, sizeof(o->name), "%s", name);
}

static err_t
on_put(struct store *s, const char *name, const uint8_t *data, size_t len)
{
	size_t from = tape_position();
	err_t e = store_put(inner_of(s), name, data, len);

	if (!e)
		note(s, name, from);
	return e;
}

static err_t
on_create(struct store *s, const char *name, const uint8_t *data, size_t len)
{
	size_t from = tape_position();
	err_t e = store_create_if_absent(inner_of(s), name, data, len);

	if (!e)
		note(s, name, from);
	return e;
}

static err_t
on_get(struct store *s, const char *name, size_t max_len, struct bytes *out)
{
	return store_get(inner_of(s), name, max_len, out);
}

static err_t
on_get_range(struct store *s, const char *name, uint64_t off, size_t len, struct bytes *out)
{
	return store_get_range(inner_of(s), name, off, len, out);
}

static err_t
on_size(struct store *s, const char *name, uint64_t *size_out)
{
	return store_size(inner_of(s), name, size_out);
}

static err_t
on_remove(struct store *s, const char *name)
{
	return store_remove(inner_of(s), name);
}

static err_t
on_list(struct store *s, const char *prefix, store_item_fn *fn, void *ctx)
{
	return store_list_items(inner_of(s), prefix, fn, ctx);
}

static err_t
on_space(struct store *s, uint64_t *free_out, uint64_t *total_out)
{
	return store_space(inner_of(s), free_out, total_out);
}

static void
on_free(struct store *s)
{
	store_free(inner_of(s));
	free(s->url);
	free(s);
}

static const struct store_ops OPS = {
	.put = on_put,
	.create_if_absent = on_create,
	.get = on_get,
	.get_range = on_get_range,
	.size = on_size,
	.remove = on_remove,
	.list = on_list,
	.space = on_space,
	.free = on_free,
};

void
shelf_begin(struct shelf *s, const char *dir)
{
	*s = (struct shelf){.maker = 0};
	snprintf(s->dir, sizeof(s->dir), "%s", dir);
}

void
shelf_record(struct shelf *s)
{
	s->before = s->count;
}

void
shelf_end(struct shelf *s)
{
	free(s->v);
	*s = (struct shelf){.v = NULL};
}

struct store *
shelf_open(struct shelf *s)
{
	struct shelf_store *new = calloc(1, sizeof(*new));

	MUST(new);
	MUST(!store_open(s->dir, true, &new->inner, NULL));
	new->base = (struct store){.ops = &OPS, .url = strdup(s->dir)};
	new->shelf = s;
	MUST(new->base.url);
	return &new->base;
}

/* Copying.  nftw has no context. */

static const char *copy_from, *copy_to;

static int
copy_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char to[2 * SHELF_PATH_LEN];

	(void)st;
	(void)ftw;
	snprintf(to, sizeof(to), "%s%s", copy_to, path + strlen(copy_from));
	/* Objects never change: another name for the same bytes is as good as a copy. */
	MUST(type == FTW_D ? !mkdir(to, 0700) : !link(path, to));
	return 0;
}

static void
name_in(const char *dir, const char *name, char out[static 2 * SHELF_PATH_LEN])
{
	snprintf(out, (size_t)2 * SHELF_PATH_LEN, "%s/%s", dir, name);
}

void
shelf_copy(const struct shelf *s, const char *dir, size_t at, struct rng *r)
{
	char path[2 * SHELF_PATH_LEN];

	tempdir_remove(dir);
	copy_from = s->dir;
	copy_to = dir;
	MUST(!nftw(s->dir, copy_entry, 8, FTW_PHYS));
	for (size_t k = s->before; k < s->count; k++) {
		const struct shelf_object *o = &s->v[k];

		if (o->to < at || (o->from <= at && rng_chance(r, 50)))
			continue;
		/* Nothing that came after something that was not there yet. */
		for (; k < s->count; k++) {
			name_in(dir, s->v[k].name, path);
			(void)unlink(path);
		}
	}
}

bool
shelf_has_commit(const struct shelf *s, const char *dir, bool from, uint64_t seq, unsigned maker)
{
	char path[2 * SHELF_PATH_LEN];

	for (size_t k = 0; k < s->count; k++) {
		uint64_t number;

		if (s->v[k].maker != maker || sscanf(s->v[k].name, "c/%" SCNu64, &number) != 1 || (from && number <= seq))
			continue;
		name_in(dir, s->v[k].name, path);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}
