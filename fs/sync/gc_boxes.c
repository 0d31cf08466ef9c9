/*
 * Key boxes that were made for an invitation which is over: used, withdrawn or expired.  Those of epochs stay, since older commits
 * are read with them; so does a box that no statement names, because a commit that pins it may be under way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gc_internal.h"

struct boxes {
	struct gc *g;
	char (*names)[TRUST_BOX_NAME_MAX + 1]; /* of invitations that are over */
	bool *listed;
	size_t count;
};

static err_t
list_one(void *ctx, const char *name, uint64_t size)
{
	struct boxes *b = ctx;

	for (size_t i = 0; i < b->count; i++) {
		if (b->listed[i] || strcmp(b->names[i], name) != 0)
			continue;
		b->listed[i] = true;
		b->g->r->boxes.objects++;
		b->g->r->boxes.bytes += size;
	}
	return gc_step(b->g, 0, 0, "key boxes");
}

static err_t
find_over(struct boxes *b)
{
	struct vault *v = b->g->s->v;
	size_t members;
	err_t err = 0;

	meta_lock(v->meta);
	members = trust_member_count(v->trust);
	b->names = calloc(members + 1, sizeof(b->names[0]));
	b->listed = calloc(members + 1, sizeof(b->listed[0]));
	if (b->names == NULL || b->listed == NULL)
		err = -ENOMEM;
	for (size_t i = 0; err == 0 && i < members; i++) {
		const struct trust_member *m = trust_member_at(v->trust, i);

		if (m->kind == MEMBER_INVITATION && m->removed)
			memcpy(b->names[b->count++], m->box_name, sizeof(m->box_name));
	}
	meta_unlock(v->meta);
	return err;
}

static void
boxes_clear(struct boxes *b)
{
	free(b->names);
	free(b->listed);
}

err_t
gc_boxes(struct gc *g)
{
	CLEANUP(boxes_clear) struct boxes b = { .g = g };
	err_t err = find_over(&b);

	if (err != 0 || b.count == 0)
		return err;
	if ((err = store_list(g->s->store, "k/", list_one, &b)) != 0)
		return err == -ECANCELED ? err : report_store(g->s, err);
	for (size_t i = 0; err == 0 && i < b.count; i++)
		if (b.listed[i] && !g->o->dry_run && (err = store_remove(g->s->store, b.names[i])) != 0)
			err = report_store(g->s, err);
	return err;
}
