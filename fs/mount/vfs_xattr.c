/* Extended attributes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "cache.h"
#include "vfs_internal.h"

/* What this device alone knows of a file: never stored, never listed, so that no backup copies it. */
#define STATE_NAME "user.snugfs.state"

#define XATTR_NAME_LEN_MAX 255
#define XATTR_VALUE_LEN_MAX 65536
#define XATTR_TOTAL_MAX (256u << 10) /* of one inode: all of them are one row */

static struct xattr *
find(struct xattr_list *l, const char *name)
{
	for (uint32_t k = 0; k < l->count; k++)
		if (strcmp(l->v[k].name, name) == 0)
			return &l->v[k];
	return NULL;
}

/* One that is there, with the list that it is in; -ENODATA. */
static err_t
find_present(struct vfs *v, struct inode *i, const char *name, struct xattr_list **list_out, struct xattr **out)
{
	err_t err;

	if (!i->has_xattrs)
		return -ENODATA;
	if ((err = meta_xattrs_get(v->meta, i, list_out)) != 0)
		return err;
	*out = find(*list_out, name);
	return *out == NULL || (*out)->deleted ? -ENODATA : 0;
}

err_t
vfs_xattr_find(struct vfs *v, struct inode *i, const char *name, const struct xattr **out)
{
	struct xattr_list *l;
	struct xattr *x;
	err_t err = find_present(v, i, name, &l, &x);

	if (err == 0)
		*out = x;
	return err;
}

static err_t
append(struct xattr_list *l, const char *name, struct xattr **out)
{
	struct xattr *x;

	if (l->count == l->cap) {
		uint32_t cap = l->cap ? l->cap * 2 : 4;
		struct xattr *v = realloc(l->v, cap * sizeof(v[0]));

		if (v == NULL)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	x = &l->v[l->count];
	*x = (struct xattr){ .name = strdup(name), .deleted = true };
	if (x->name == NULL)
		return -ENOMEM;
	l->count++;
	*out = x;
	return 0;
}

/* Of those that stay when one by that name is put. */
static size_t
others_len(const struct xattr_list *l, const char *name)
{
	size_t total = 0;

	for (uint32_t k = 0; k < l->count; k++)
		if (strcmp(l->v[k].name, name) != 0)
			total += strlen(l->v[k].name) + l->v[k].len;
	return total;
}

err_t
vfs_xattr_put(struct vfs *v, struct inode *i, const char *name, const void *value, size_t len)
{
	struct xattr_list *l;
	struct xattr *x;
	uint8_t *copy;
	err_t err;

	if ((err = meta_xattrs_get(v->meta, i, &l)) != 0)
		return err;
	if (others_len(l, name) + strlen(name) + len > XATTR_TOTAL_MAX)
		return -ENOSPC;
	copy = malloc(len ? len : 1);
	if (copy == NULL)
		return -ENOMEM;
	x = find(l, name);
	if (x == NULL && (err = append(l, name, &x)) != 0) {
		free(copy);
		return err;
	}
	if (len != 0)
		memcpy(copy, value, len);
	free(x->value);
	x->value = copy;
	x->len = (uint32_t)len;
	x->deleted = false;
	x->pending = true;
	i->pending |= PENDING_XATTR;
	meta_xattrs_dirty(v->meta, i);
	return 0;
}

err_t
vfs_xattr_drop(struct vfs *v, struct inode *i, const char *name)
{
	struct xattr_list *l;
	struct xattr *x;
	err_t err = find_present(v, i, name, &l, &x);

	if (err != 0)
		return err;
	free(x->value);
	x->value = NULL;
	x->len = 0;
	if (i->pending & PENDING_NEW) { /* the chain never heard of it */
		free(x->name);
		*x = l->v[--l->count];
	} else {
		x->deleted = true;
		x->pending = true;
		i->pending |= PENDING_XATTR;
	}
	meta_xattrs_dirty(v->meta, i);
	return 0;
}

static err_t
check_name(const char *name)
{
	static const char *const namespaces[] = { "user.", "trusted.", "security." };

	if (strlen(name) > XATTR_NAME_LEN_MAX)
		return -ERANGE;
	if (strcmp(name, ACL_ACCESS) == 0 || strcmp(name, ACL_DEFAULT) == 0)
		return 0;
	for (size_t k = 0; k < ARRAY_LEN(namespaces); k++)
		if (strncmp(name, namespaces[k], strlen(namespaces[k])) == 0)
			return name[strlen(namespaces[k])] == '\0' ? -EINVAL : 0;
	return -EOPNOTSUPP;
}

/* Those that may be set and removed. */
static err_t
check_changeable(const char *name)
{
	return strcmp(name, STATE_NAME) == 0 ? -EPERM : check_name(name);
}

static err_t
get_state(struct vfs *v, uint64_t ino, void *value, size_t size, size_t *len_out)
{
	static const char *const words[] = { [CACHE_LOCAL] = "local", [CACHE_PARTIAL] = "partial", [CACHE_REMOTE] = "remote",
		[CACHE_UNSYNCED] = "unsynced" };
	const struct cache_place place = { .content = v->content, .meta = v->meta };
	enum cache_state state;
	char text[32];
	bool pinned;
	size_t len;
	err_t err = cache_get_state(&place, ino, &state, &pinned);

	if (err != 0)
		return err;
	len = (size_t)snprintf(text, sizeof(text), "%s%s", words[state], pinned ? " pinned" : "");
	if (size != 0 && size < len)
		return -ERANGE;
	if (size != 0)
		memcpy(value, text, len);
	*len_out = len;
	return 0;
}

static err_t
check_flags(struct vfs *v, struct inode *i, const char *name, int flags)
{
	const struct xattr *x;
	err_t err;

	if ((flags & (XATTR_CREATE | XATTR_REPLACE)) == 0)
		return 0;
	err = vfs_xattr_find(v, i, name, &x);
	if (err != 0 && err != -ENODATA)
		return err;
	if (err == 0 && (flags & XATTR_CREATE))
		return -EEXIST;
	return err == -ENODATA && (flags & XATTR_REPLACE) ? -ENODATA : 0;
}

/* [meta lock] */
static err_t
set_locked(struct vfs *v, struct inode *i, const char *name, const void *value, size_t len, int flags)
{
	const uint32_t mode = i->mode;
	bool keep = true;
	unsigned bits = PENDING_XATTR;
	err_t err;

	if ((err = check_flags(v, i, name, flags)) != 0)
		return err;
	if (strcmp(name, ACL_ACCESS) == 0) {
		if ((err = vfs_acl_apply(i, value, len, &keep)) != 0)
			return err;
		if (flags & VFS_XATTR_DROP_SETGID)
			i->mode &= ~(uint32_t)S_ISGID;
		bits |= PENDING_MODE;
	}
	if (strcmp(name, ACL_DEFAULT) == 0 && !S_ISDIR(i->mode))
		return -EACCES;
	err = keep ? vfs_xattr_put(v, i, name, value, len) : vfs_xattr_drop(v, i, name);
	if (err == -ENODATA)
		err = 0;
	if (err == 0)
		vfs_changed(v, i, bits | PENDING_CTIME);
	else
		i->mode = mode;
	return err;
}

err_t
vfs_setxattr(struct vfs *v, uint64_t ino, const char *name, const void *value, size_t len, int flags)
{
	struct inode *i;
	err_t err = check_changeable(name);

	if (err != 0)
		return err;
	if (len > XATTR_VALUE_LEN_MAX)
		return -E2BIG;
	meta_throttle(v->meta);
	meta_lock(v->meta);
	err = meta_inode_get(v->meta, ino, &i);
	if (err == 0)
		err = set_locked(v, i, name, value, len, flags);
	meta_unlock(v->meta);
	return err;
}

err_t
vfs_getxattr(struct vfs *v, uint64_t ino, const char *name, void *value, size_t size, size_t *len_out)
{
	const struct xattr *x;
	struct inode *i;
	err_t err = check_name(name);

	if (err != 0)
		return err;
	if (strcmp(name, STATE_NAME) == 0)
		return get_state(v, ino, value, size, len_out);
	meta_lock(v->meta);
	err = meta_inode_get(v->meta, ino, &i);
	if (err == 0)
		err = vfs_xattr_find(v, i, name, &x);
	if (err == 0 && size != 0 && size < x->len)
		err = -ERANGE;
	if (err == 0) {
		if (size != 0 && x->len != 0)
			memcpy(value, x->value, x->len);
		*len_out = x->len;
	}
	meta_unlock(v->meta);
	return err;
}

/* [meta lock] */
static err_t
list_locked(struct vfs *v, struct inode *i, char *list, size_t size, size_t *len_out)
{
	struct xattr_list *l;
	size_t at = 0;
	err_t err;

	*len_out = 0;
	if (!i->has_xattrs)
		return 0;
	if ((err = meta_xattrs_get(v->meta, i, &l)) != 0)
		return err;
	for (uint32_t k = 0; k < l->count; k++) {
		size_t len = strlen(l->v[k].name) + 1;

		if (l->v[k].deleted)
			continue;
		if (size != 0 && at + len > size)
			return -ERANGE;
		if (size != 0)
			memcpy(list + at, l->v[k].name, len);
		at += len;
	}
	*len_out = at;
	return 0;
}

err_t
vfs_listxattr(struct vfs *v, uint64_t ino, char *list, size_t size, size_t *len_out)
{
	struct inode *i;
	err_t err;

	meta_lock(v->meta);
	err = meta_inode_get(v->meta, ino, &i);
	if (err == 0)
		err = list_locked(v, i, list, size, len_out);
	meta_unlock(v->meta);
	return err;
}

static bool
is_acl(const char *name)
{
	return strcmp(name, ACL_ACCESS) == 0 || strcmp(name, ACL_DEFAULT) == 0;
}

err_t
vfs_removexattr(struct vfs *v, uint64_t ino, const char *name)
{
	struct inode *i;
	err_t err = check_changeable(name);

	if (err != 0)
		return err;
	meta_throttle(v->meta);
	meta_lock(v->meta);
	err = meta_inode_get(v->meta, ino, &i);
	if (err == 0)
		err = vfs_xattr_drop(v, i, name);
	if (err == 0)
		vfs_changed(v, i, PENDING_XATTR | PENDING_CTIME);
	meta_unlock(v->meta);
	/* An empty one being set comes as this, too, and Linux's other file systems do not mind if there was none. */
	return err == -ENODATA && is_acl(name) ? 0 : err;
}
