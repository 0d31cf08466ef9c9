/* What the metadata has of one file, copied, so that no lock is needed while it is written out. */
#include "export_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void
export_source_clear(struct export_source *s)
{
	for (size_t i = 0; i < s->xattr_count; i++)
		free((void *)(uintptr_t)s->xattrs[i].name); /* and the value, behind it */
	free(s->xattrs);
	free(s->target);
	free(s->ranges);
}

static err_t
copy_xattr(struct export_source *s, const struct xattr *x)
{
	size_t name_len = strlen(x->name) + 1;
	char *copy = malloc(name_len + x->len);

	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, x->name, name_len);
	if (x->len > 0)
		memcpy(copy + name_len, x->value, x->len);
	s->xattrs[s->xattr_count++] = (struct archiver_xattr){ copy, (const uint8_t *)copy + name_len, x->len };
	return 0;
}

/* [meta lock] */
static err_t
copy_xattrs(struct meta *m, struct inode *i, struct export_source *s)
{
	struct xattr_list *l;
	err_t err;

	if (!i->has_xattrs)
		return 0;
	if ((err = meta_xattrs_get(m, i, &l)) != 0)
		return err;
	s->xattrs = calloc(l->count + 1u, sizeof(*s->xattrs));
	if (s->xattrs == NULL)
		return -ENOMEM;
	for (uint32_t k = 0; err == 0 && k < l->count; k++)
		if (!l->v[k].deleted)
			err = copy_xattr(s, &l->v[k]);
	return err;
}

static err_t
add_range(struct export_source *s, uint64_t off, uint64_t len)
{
	if (off >= s->i.size)
		return 0; /* cut off, and not gone yet; or written since */
	if (len > s->i.size - off)
		len = s->i.size - off;
	if (s->range_count > 0 && s->ranges[s->range_count - 1].off + s->ranges[s->range_count - 1].len == off) {
		s->ranges[s->range_count - 1].len += len;
		return 0;
	}
	if (s->range_count == s->range_cap) {
		size_t cap = s->range_cap ? s->range_cap * 2 : 8;
		struct archiver_range *v = reallocarray(s->ranges, cap, sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		s->ranges = v;
		s->range_cap = cap;
	}
	s->ranges[s->range_count++] = (struct archiver_range){ off, len };
	return 0;
}

static err_t
add_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct export_source *s = ctx;
	err_t err = 0;

	(void)i;
	for (uint32_t k = 0; err == 0 && k < c->current.count; k++)
		err = add_range(s, c->current.v[k].off, c->current.v[k].len);
	return err;
}

/* [meta lock] All but the ranges. */
static err_t
copy_inode(struct meta *m, uint64_t ino, struct export_source *s)
{
	struct inode *i;
	err_t err = meta_inode_get(m, ino, &i);

	if (err != 0)
		return err;
	s->i = *i;
	if (S_ISLNK(i->mode) && (s->target = strdup(i->target != NULL ? i->target : "")) == NULL)
		return -ENOMEM;
	return copy_xattrs(m, i, s);
}

/* What it is written from is read later, and by ranges: a file that changes meanwhile need not stand still for the list of them either. */
err_t
export_source_copy(struct meta *m, uint64_t ino, struct export_source *s)
{
	err_t err;

	meta_lock(m);
	err = copy_inode(m, ino, s);
	meta_unlock(m);
	return err == 0 && S_ISREG(s->i.mode) ? meta_chunk_scan_file(m, ino, add_chunk, s) : err;
}
