/*
 * rekey_fixture.h: a device that has the keys and is not in any more, and what its keys open.
 */
#ifndef SNUGFS_TEST_REKEY_FIXTURE_H
#define SNUGFS_TEST_REKEY_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rekey_internal.h"
#include "sides.h"

#define MIB (1u << 20)

/* A third device joins and is removed: the keys of before are known to somebody who is not in any more. */

static inline err_t
say_remove(struct members_saying *w, void *ctx)
{
	return members_say_remove(w, ctx);
}

static inline void
lose_a_device(struct fixture *f, struct side *by)
{
	struct side c = { .v = NULL };
	uint8_t id[IDENTITY_ID_LEN];

	snprintf(c.dir, sizeof(c.dir), "%s/gamma", f->top);
	remove_tree(c.dir);
	join_side(f, &c);
	memcpy(id, c.v->my_id, sizeof(id));
	close_side(&c);
	remove_tree(c.dir);
	assert_int_equal(members_commit(by->sync, say_remove, id, NULL, NULL), 0);
}

static inline struct rekey_report
run(struct side *s)
{
	const struct rekey_options o = { 0 };
	struct rekey_report r;
	err_t err = rekey_run(s->sync, &o, &r);

	if (err != 0)
		fail_msg("rekey: %d, %s", err, r.why);
	return r;
}

static inline struct rekey_report
rekey_ok(struct side *s)
{
	struct sync_status st;
	struct rekey_report r;

	assert_int_equal(rekey_begin(s->sync), 0);
	sync_get_status(s->sync, &st);
	assert_true(st.rekey);
	r = run(s);
	sync_get_status(s->sync, &st);
	assert_false(st.rekey);
	return r;
}

/* Every extent of the newest state, with every key of an earlier epoch that its file has. */

struct trial {
	uint64_t origin;
	struct file_key key;
	struct extent x;
};
struct looking {
	uint32_t epoch;
	unsigned old;    /* extents that say such a key */
	unsigned opened; /* extents that such a key opens, whatever they say */
	unsigned extents;
	struct trial *v;
	size_t count;
};

static inline err_t
look_at_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct looking *l = ctx;

	for (uint32_t k = 0; k < c->current.count; k++) {
		const struct extent *x = &c->current.v[k];

		l->extents++;
		for (uint32_t n = 0; n < i->key_count; n++) {
			if (i->keys[n].epoch >= l->epoch)
				continue;
			l->old += i->keys[n].version == x->key_version;
			l->v = realloc(l->v, (l->count + 1) * sizeof(*l->v));
			l->v[l->count++] = (struct trial){ i->origin, i->keys[n], *x };
		}
	}
	return 0;
}

static inline struct looking
look(struct side *s)
{
	static uint8_t plain[CHUNK_LEN];
	struct looking l = { 0 };
	struct walk w = { 0 };

	assert_int_equal(keyring_current(s->v->keys, &l.epoch), 0);
	while (!w.ended)
		assert_int_equal(walk_some(s->v->meta, &w, look_at_chunk, &l), 0);
	for (size_t k = 0; k < l.count; k++) {
		const struct trial *t = &l.v[k];

		l.opened += content_open_extent(s->v->content, t->origin, &t->key, &t->x, t->x.off, t->x.len, plain) == 0;
	}
	free(l.v);
	return l;
}

static inline void
assert_all_is_new(struct side *s)
{
	struct looking l = look(s);

	assert_true(l.extents > 0);
	assert_int_equal(l.old, 0);
	assert_int_equal(l.opened, 0);
}

/* Files with several extents, some overwritten in their middle, some as large as several chunks. */
static inline void
make_content(struct side *s)
{
	uint64_t ino;

	make_variety(s);
	ino = make_random(s, INODE_ROOT, "large", 3 * MIB + 100000);
	sync_ok(s);
	write_at(s, ino, MIB + 300000, "in the middle", 13);
	write_at(s, ino, 17, "at the start", 12);
	for (unsigned k = 0; k < 30; k++) {
		char name[16];

		snprintf(name, sizeof(name), "small %02u", k);
		make_random(s, INODE_ROOT, name, 1000 + k * 3000);
	}
	sync_ok(s);
}

#endif
