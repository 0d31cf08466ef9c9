/* A run of snugfs verify: what is expected, what there is, and what is said about the difference. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify_internal.h"

const char *
verify_kind_word(enum verify_kind kind)
{
	static const char *const words[VERIFY_KIND_COUNT] = { "missing", "changed", "foreign", "orphan" };

	return words[kind];
}

err_t
verify_tell(struct verify *v, enum verify_kind kind, const char *object, const char *path, bool repaired,
    const char *fmt, ...)
{
	char text[512];
	const struct verify_finding f = { kind, object, path, repaired, text };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return v->o->found(v->o->ctx, &f);
}

void
verify_count(struct verify *v, enum verify_kind kind, bool repaired)
{
	v->report->counts[kind]++;
	v->report->repaired += repaired;
}

err_t
verify_store_failed(struct verify *v, err_t err)
{
	if (err != 0 && err != -ECANCELED)
		store_explain(v->s->store, err, v->report->why, sizeof(v->report->why));
	return err;
}

void
verify_was_read(struct verify *v, size_t len)
{
	v->report->objects_read++;
	v->report->bytes_read += len;
}

err_t
verify_step(struct verify *v, uint64_t steps, const char *what)
{
	v->done += steps;
	if (atomic_load(&v->s->stop))
		return -ECANCELED;
	return v->o->progress == NULL || v->o->progress(v->o->ctx, v->done, v->total, what) ? 0 : -ECANCELED;
}

/* What this device knows. */

static err_t
expect_row(void *ctx, const struct segment *row)
{
	struct verify *v = ctx;
	struct verify_object_info *o;
	err_t err;

	if (row->kind != SEGMENT_SETTLED || !row->in_store)
		return 0;
	if ((err = verify_object_expect(v, row->name, &o)) != 0)
		return err;
	o->size = row->size;
	memcpy(o->sha256, row->sha256, sizeof(o->sha256));
	o->row = row->id;
	return 0;
}

static err_t
look_here(struct verify *v)
{
	struct vault *vault = v->s->v;
	err_t err;

	meta_lock(vault->meta);
	v->has_head = vault->has_head;
	v->head_seq = vault->head_seq;
	memcpy(v->head_hash, vault->head_hash, sizeof(v->head_hash));
	err = trust_clone(vault->trust, &v->trust);
	for (uint64_t after = 0; err == 0 && after != UINT64_MAX;)
		err = meta_segment_scan_some(vault->meta, false, &after, expect_row, v);
	meta_unlock(vault->meta);
	return err;
}

/* What the store has. */

struct listing {
	struct verify *v;
	uint64_t *bases;
	size_t base_count;
	size_t base_cap;
};

static err_t
list_base(struct listing *l, uint64_t seq)
{
	if (l->base_count == l->base_cap) {
		size_t cap = l->base_cap ? l->base_cap * 2 : 16;
		uint64_t *bases = reallocarray(l->bases, cap, sizeof(*bases));

		if (bases == NULL)
			return -ENOMEM;
		l->bases = bases;
		l->base_cap = cap;
	}
	l->bases[l->base_count++] = seq;
	return 0;
}

static err_t
find_bases(void *ctx, const char *name, uint64_t size)
{
	struct objname o = objname_parse(name);

	(void)size;
	return o.kind == OBJNAME_BASE ? list_base(ctx, o.number) : 0;
}

static err_t
tell_foreign(struct verify *v, const char *name)
{
	verify_count(v, VERIFY_FOREIGN, false);
	return verify_tell(v, VERIFY_FOREIGN, name, NULL, false, "no object of snugfs has such a name: somebody else writes to "
	    "this place; snugfs leaves it alone");
}

static err_t
tell_orphan(struct verify *v, const char *name, uint64_t size)
{
	verify_count(v, VERIFY_ORPHAN, false);
	return verify_tell(v, VERIFY_ORPHAN, name, NULL, false, "%" PRIu64 " bytes that nothing refers to: an interrupted or a "
	    "running upload has left them, or what referred to them is lost", size);
}

/* This device may be about to commit it. */
static bool
is_known_here(struct verify *v, const uint8_t name[static SEGMENT_NAME_LEN])
{
	struct segment row;
	err_t err;

	meta_lock(v->s->v->meta);
	err = meta_segment_find(v->s->v->meta, name, &row);
	meta_unlock(v->s->v->meta);
	return err == 0;
}

static err_t
see_segment(struct verify *v, const char *name, const struct objname *n, uint64_t size)
{
	struct verify_object_info *o = verify_object_find(v, n->random);

	if (o == NULL)
		return is_known_here(v, n->random) ? 0 : tell_orphan(v, name, size);
	if (o->dropped)
		return tell_orphan(v, name, size);
	o->seen = true;
	o->suspicious = size != o->size;
	return 0;
}

static err_t
see(void *ctx, const char *name, uint64_t size)
{
	struct verify *v = ctx;
	struct objname n = objname_parse(name);

	switch (n.kind) {
	case OBJNAME_SEGMENT:
		return see_segment(v, name, &n, size);
	case OBJNAME_BOX:
		return verify_is_box(v, name) ? 0 : tell_orphan(v, name, size);
	case OBJNAME_WITNESS:
		return tell_orphan(v, name, size);
	case OBJNAME_COMMIT: /* later ones than ours are news; earlier ones were read */
		v->newest_seq = n.number > v->newest_seq ? n.number : v->newest_seq;
		return 0;
	case OBJNAME_MARKER:
	case OBJNAME_BASE:
		return 0;
	case OBJNAME_FOREIGN:
	case OBJNAME_KIND_COUNT:
		break;
	}
	return tell_foreign(v, name);
}

static err_t
listing_failed(struct verify *v, err_t err)
{
	/* What the callbacks return is no error of the store. */
	return err == -ECANCELED || err == -ENOMEM ? err : verify_store_failed(v, err);
}

static err_t
run(struct verify *v, struct listing *l)
{
	err_t err;

	if ((err = meta_segments_learn(v->s->v->meta, true)) != 0 || (err = look_here(v)) != 0)
		return err;
	if ((err = store_list(v->s->store, "b/", find_bases, l)) != 0)
		return listing_failed(v, err);
	v->total = 1 + (v->has_head ? v->head_seq + 1 : 0) + l->base_count;
	if ((err = verify_marker(v)) != 0 || (err = verify_boxes(v)) != 0 || (err = verify_commits(v)) != 0 ||
	    (err = verify_bases(v, l->bases, l->base_count)) != 0)
		return err;
	if ((err = store_list(v->s->store, "", see, v)) != 0)
		return listing_failed(v, err);
	if ((err = verify_next(v)) != 0 || (err = verify_segments(v)) != 0)
		return err;
	return verify_conclude(v);
}

err_t
sync_verify(struct sync *s, const struct verify_options *o, struct verify_report *out)
{
	struct verify_report report = { 0 };
	struct verify v = { .s = s, .o = o, .report = &report };
	struct listing l = { .v = &v };
	err_t err = run(&v, &l);

	free(l.bases);
	verify_objects_clear(&v);
	trust_free(v.trust);
	*out = report;
	return err;
}
