/* Through the chunks of all files. */
#include "walk.h"

#include <errno.h>
#include <sys/stat.h>

/* Inodes for which the meta lock is held at once, and chunks of one file. */
#define SLICE 256u

struct slice {
	struct walk *w;
	walk_fn *fn;
	void *ctx;
	unsigned left;
	bool enough; /* says fn */
};

static err_t
walk_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct slice *l = ctx;
	err_t err;

	l->w->no = c->no;
	if (l->left == 0)
		return -ECANCELED;
	l->left--;
	err = l->fn(l->ctx, i, c);
	l->enough = err == -ECANCELED;
	return err;
}

/* -ECANCELED: its rest is for another time. [meta lock, let go now and then] */
static err_t
walk_inode(struct meta *m, struct walk *w, walk_fn *fn, void *ctx)
{
	struct slice l = { .w = w, .fn = fn, .ctx = ctx };
	err_t err = -ECANCELED;

	while (err == -ECANCELED && !l.enough) {
		struct inode *i;

		if (l.w->no != 0) {
			meta_unlock(m);
			meta_lock(m);
		}
		err = meta_inode_get(m, w->ino, &i);
		if (err != 0 || !S_ISREG(i->mode))
			return err == -ENOENT ? 0 : err;
		l.left = SLICE;
		err = meta_chunk_scan(m, i, w->no, walk_chunk, &l);
	}
	return err;
}

err_t
walk_some(struct meta *m, struct walk *w, walk_fn *fn, void *ctx)
{
	uint64_t inos[SLICE];
	size_t count = 0;
	err_t err = w->ino == 0 ? meta_sync(m) : 0;

	if (err != 0)
		return err;
	if (w->ino == 0)
		w->ino = 1;
	meta_lock(m);
	err = meta_inode_numbers(m, w->ino, UINT64_MAX, inos, SLICE, &count);
	for (size_t k = 0; err == 0 && k < count; k++) {
		if (inos[k] != w->ino)
			w->no = 0;
		w->ino = inos[k];
		if ((err = walk_inode(m, w, fn, ctx)) == 0) {
			w->ino++;
			w->no = 0;
			w->seen++;
		}
	}
	meta_unlock(m);
	w->ended = err == 0 && count == 0;
	return err == -ECANCELED ? 0 : err;
}
