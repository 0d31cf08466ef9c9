/* Which segments chunks point into. */
#include "usage.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

err_t
usage_pending_chunks(struct meta *m, uint64_t ino, usage_chunk_fn *fn, void *ctx)
{
	CLEANUP(free_ptr) uint64_t *nos = NULL;
	struct inode *i;
	struct chunk *c;
	size_t count = 0;
	err_t err = meta_inode_get(m, ino, &i);

	if (err != 0 || !S_ISREG(i->mode))
		return err == -ENOENT ? 0 : err;
	if ((err = meta_pending_chunks(m, i, &nos, &count)) != 0)
		return err;
	for (size_t k = 0; k < count; k++) {
		err = meta_chunk_get(m, i, nos[k], false, &c);
		if (err == 0)
			err = fn(ctx, m, c);
		if (err != 0 && err != -ENOENT)
			return err;
	}
	return 0;
}

struct sought {
	const struct numset *among;
	struct numset **used;
};

static err_t
add_chunk(void *ctx, struct meta *m, const struct chunk *c)
{
	const struct sought *w = ctx;

	(void)m;
	for (uint32_t k = 0; k < c->current.count; k++) {
		uint64_t id = c->current.v[k].seg;
		err_t err;

		if (numset_has(w->among, id) && (err = numset_add(w->used, id)) != 0)
			return err;
	}
	return 0;
}

err_t
usage_pending(struct meta *m, const struct numset *among, struct numset **used)
{
	CLEANUP(free_ptr) uint64_t *inos = NULL;
	struct sought w = { among, used };
	size_t count = 0;
	err_t err = meta_pending_inodes(m, &inos, &count);

	for (size_t k = 0; err == 0 && k < count; k++)
		err = usage_pending_chunks(m, inos[k], add_chunk, &w);
	return err;
}
