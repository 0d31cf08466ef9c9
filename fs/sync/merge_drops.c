/*
 * merge_drops.c: segments that a collector is going to delete from the store.  Nothing that the chain has points into them,
 * but something pending here may: a conflict copy, say, of a file that others have written anew.  Then the bytes get another
 * name, under which they will be uploaded again; the dropped one is never used any more, since it may be deleted at any time.
 */
#include <errno.h>
#include <stdlib.h>

#include "merge_state.h"
#include "numset.h"
#include "random.h"
#include "usage.h"

void
merge_left_clear(struct merge_left *d)
{
	free(d->renamed);
	free(d->forgotten);
	free(d->removed);
	*d = (struct merge_left){0};
}

err_t
merge_left_note(uint64_t **v, size_t *count, uint64_t number)
{
	uint64_t *grown = reallocarray(*v, *count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	grown[(*count)++] = number;
	*v = grown;
	return 0;
}

static err_t
rename_segment(struct merge *m, struct segment *s)
{
	struct merge_left *d = m->mc->left;
	err_t e = random_bytes(s->name, sizeof(s->name));

	if (e)
		return e;
	s->in_store = false;
	s->dead_since = s->sparse_since = 0;
	if ((e = meta_segment_put(m->meta, s)) || !d)
		return e;
	return merge_left_note(&d->renamed, &d->renamed_count, s->id);
}

static err_t
forget_segment(struct merge *m, const struct segment *s)
{
	struct merge_left *d = m->mc->left;
	err_t e = meta_segment_remove(m->meta, s->id);

	return e || !d ? e : merge_left_note(&d->forgotten, &d->forgotten_count, s->id);
}

/* The numbers of those that are known here. */
static err_t
find_dropped(struct merge *m, struct numset **out)
{
	struct segment s;
	err_t e = 0;

	for (uint32_t k = 0; k < m->c->drop_count && !e; k++) {
		e = meta_segment_find(m->meta, m->c->drops[k].name, &s);
		if (!e && s.kind == SEGMENT_SETTLED)
			e = numset_add(out, s.id);
		else if (e == -ENOENT)
			e = 0;
	}
	return e;
}

err_t
merge_drops(struct merge *m)
{
	CLEANUP(numset_clear) struct numset *dropped = NULL;
	CLEANUP(numset_clear) struct numset *used = NULL;
	struct segment s;
	err_t e;

	if (!m->c->drop_count)
		return 0;
	if ((e = find_dropped(m, &dropped)) || (dropped && (e = usage_pending(m->meta, dropped, &used))))
		return e;
	for (uint32_t k = 0; k < m->c->drop_count; k++) {
		e = meta_segment_find(m->meta, m->c->drops[k].name, &s);
		if (e == -ENOENT || (!e && s.kind != SEGMENT_SETTLED))
			continue;
		if (e)
			return e;
		/* One that no commit has named yet is ours, and may still be on its way into one. */
		e = !s.in_store || numset_has(used, s.id) ? rename_segment(m, &s) : forget_segment(m, &s);
		if (e)
			return e;
	}
	return 0;
}
