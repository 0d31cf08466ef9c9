/*
 * POSIX ACLs, which the kernel checks but leaves to the file system to inherit and to keep in step with the mode (POSIX
 * 1003.1e draft 17, section 23.1; the layout is Linux's posix_acl_xattr).
 */
#include <endian.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdlib.h>
#include <string.h>

#include "vfs_internal.h"

#define ACL_ENTRIES_MAX 8191

struct acl {
	size_t count;
	struct posix_acl_xattr_entry *v; /* inside `copy`, little-endian */
	uint8_t *copy;
	size_t len;
};

static void
acl_clear(struct acl *a)
{
	free(a->copy);
}

static err_t
acl_parse(const uint8_t *data, size_t len, struct acl *out)
{
	struct posix_acl_xattr_header header;
	size_t body = len - sizeof(header);

	if (len < sizeof(header) || body % sizeof(struct posix_acl_xattr_entry) != 0 ||
	    body / sizeof(struct posix_acl_xattr_entry) > ACL_ENTRIES_MAX)
		return -EINVAL;
	memcpy(&header, data, sizeof(header));
	if (le32toh(header.a_version) != POSIX_ACL_XATTR_VERSION)
		return -EOPNOTSUPP;
	out->copy = malloc(len);
	if (out->copy == NULL)
		return -ENOMEM;
	memcpy(out->copy, data, len);
	out->len = len;
	out->count = body / sizeof(struct posix_acl_xattr_entry);
	out->v = (struct posix_acl_xattr_entry *)(void *)(out->copy + sizeof(header));
	return 0;
}

static struct posix_acl_xattr_entry *
acl_find(struct acl *a, unsigned tag)
{
	for (size_t k = 0; k < a->count; k++)
		if (le16toh(a->v[k].e_tag) == tag)
			return &a->v[k];
	return NULL;
}

static unsigned
perm_of(const struct posix_acl_xattr_entry *e)
{
	return e == NULL ? 0 : le16toh(e->e_perm) & 7u;
}

static void
set_perm(struct posix_acl_xattr_entry *e, unsigned perm)
{
	if (e != NULL)
		e->e_perm = htole16((uint16_t)perm);
}

/* The entry that the mode's group bits stand for. */
static struct posix_acl_xattr_entry *
acl_group_class(struct acl *a)
{
	struct posix_acl_xattr_entry *mask = acl_find(a, ACL_MASK);

	return mask != NULL ? mask : acl_find(a, ACL_GROUP_OBJ);
}

static err_t
acl_load(struct vfs *v, struct inode *i, const char *name, struct acl *out)
{
	const struct xattr *x;
	err_t err = vfs_xattr_find(v, i, name, &x);

	return err != 0 ? err : acl_parse(x->value, x->len, out);
}

err_t
vfs_acl_inherit(struct vfs *v, struct inode *parent, struct inode *child, mode_t umask)
{
	__attribute__((cleanup(acl_clear))) struct acl a = { 0 };
	unsigned owner, group, other;
	err_t err = 0;

	if (S_ISLNK(child->mode))
		return 0;
	err = acl_load(v, parent, ACL_DEFAULT, &a);
	if (err == -ENODATA) {
		child->mode &= ~(umask & 0777);
		return 0;
	}
	if (err != 0)
		return err;
	if (S_ISDIR(child->mode) && (err = vfs_xattr_put(v, child, ACL_DEFAULT, a.copy, a.len)) != 0)
		return err;
	/* The access ACL is the default one, cut down to what was asked for. */
	owner = perm_of(acl_find(&a, ACL_USER_OBJ)) & (child->mode >> 6);
	group = perm_of(acl_group_class(&a)) & (child->mode >> 3);
	other = perm_of(acl_find(&a, ACL_OTHER)) & child->mode;
	set_perm(acl_find(&a, ACL_USER_OBJ), owner);
	set_perm(acl_group_class(&a), group);
	set_perm(acl_find(&a, ACL_OTHER), other);
	child->mode = (child->mode & ~0777u) | owner << 6 | group << 3 | other;
	return a.count > 3 ? vfs_xattr_put(v, child, ACL_ACCESS, a.copy, a.len) : 0;
}

err_t
vfs_acl_chmod(struct vfs *v, struct inode *i)
{
	__attribute__((cleanup(acl_clear))) struct acl a = { 0 };
	err_t err;

	if (S_ISLNK(i->mode))
		return 0;
	err = acl_load(v, i, ACL_ACCESS, &a);
	if (err != 0)
		return err == -ENODATA ? 0 : err;
	set_perm(acl_find(&a, ACL_USER_OBJ), (i->mode >> 6) & 7);
	set_perm(acl_group_class(&a), (i->mode >> 3) & 7);
	set_perm(acl_find(&a, ACL_OTHER), i->mode & 7);
	return vfs_xattr_put(v, i, ACL_ACCESS, a.copy, a.len);
}

err_t
vfs_acl_apply(struct inode *i, const uint8_t *acl, size_t len, bool *keep_out)
{
	__attribute__((cleanup(acl_clear))) struct acl a = { 0 };
	err_t err = acl_parse(acl, len, &a);

	if (err != 0)
		return err;
	i->mode = (i->mode & ~0777u) | perm_of(acl_find(&a, ACL_USER_OBJ)) << 6 | perm_of(acl_group_class(&a)) << 3 |
	    perm_of(acl_find(&a, ACL_OTHER));
	*keep_out = a.count > 3;
	return 0;
}
