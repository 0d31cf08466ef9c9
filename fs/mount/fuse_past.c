/*
 * The hidden folder .snugfs in the root: .snugfs/at/TIME/ is the whole tree as it was, to be read.  No listing shows it, so that
 * backups and whoever compares folders do not find it; only the vault's owner may enter it.
 *
 * Its inodes have numbers of their own: bit 63, the number of the moment, and the inode's number in the tree.  A moment keeps its
 * number as long as the kernel knows an inode of it, whatever becomes of the tree meanwhile: made anew, it is the same.
 *
 * There is nothing to ask when a file is opened (OPEN is never sent), so no mode here has a write bit: what the kernel does not refuse
 * by that, changes of names and attributes, ends here with EROFS.
 */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fuse_ops.h"
#include "fuse_private.h"

#define PAST (UINT64_C(1) << 63)
#define MOMENT_SHIFT 52
#define MOMENTS 2048u /* 0 is the folders themselves */
#define INO_MASK ((UINT64_C(1) << MOMENT_SHIFT) - 1)
#define TOP (PAST | 1)
#define AT (PAST | 2)
#define TOP_NAME ".snugfs"
#define AT_NAME "at"

/* Seconds.  Nothing changes but what a relative time means. */
#define TIMEOUT_TREE (24.0 * 60 * 60)
#define TIMEOUT_FOLDERS 60.0
#define LIST_MAX 512u

struct moment {
	uint64_t lookups; /* of all its inodes together; under the lock, as is the key */
	struct fuse_past_key key;
	pthread_mutex_t finding; /* for the next */
	uint64_t commit;  /* UINT64_MAX: not found yet */
};

struct fuse_past {
	const struct fuse_past_source *source;
	struct vfs *vfs; /* of the vault itself */

	pthread_mutex_t lock;
	/* under lock */
	struct moment *moments[MOMENTS];
	char *names[LIST_MAX]; /* what .snugfs/at was last seen to have */
	size_t name_count;
};

static struct fuse_past *
past_of(fuse_req_t req)
{
	const struct fuse_serving *s = fuse_req_userdata(req);

	return s->past;
}

static bool
is_past(fuse_ino_t ino)
{
	return ino & PAST;
}

static const struct fuse_lowlevel_ops *
present(void)
{
	return fuse_ops_handlers();
}

/* Moments. */

static void
moment_free(struct moment *m)
{
	pthread_mutex_destroy(&m->finding);
	free(m);
}

static struct moment *
moment_new(const struct fuse_past_key *key)
{
	struct moment *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->key = *key;
	m->commit = UINT64_MAX;
	pthread_mutex_init(&m->finding, NULL);
	return m;
}

/* [lock] The number of the moment, new or not. */
static err_t
number_moment(struct fuse_past *p, const struct fuse_past_key *key, unsigned *out)
{
	unsigned free_one = 0;

	for (unsigned i = 1; i < MOMENTS; i++) {
		const struct moment *m = p->moments[i];

		if (m == NULL && free_one == 0)
			free_one = i;
		if (m != NULL && m->key.is_commit == key->is_commit && m->key.value == key->value) {
			*out = i;
			return 0;
		}
	}
	if (free_one == 0)
		return -EBUSY;
	p->moments[free_one] = moment_new(key);
	*out = free_one;
	return p->moments[free_one] != NULL ? 0 : -ENOMEM;
}

/* A tree while one message is served. */
struct visit {
	struct fuse_past *past;
	unsigned number;
	uint64_t ino; /* in the tree */
	struct vfs *vfs;
	void *token;
};

static void
leave(struct visit *v)
{
	if (v->token != NULL)
		v->past->source->leave(v->past->source->ctx, v->token);
}

/* The kernel knows the inode, so the moment stays. */
static err_t
enter(fuse_req_t req, fuse_ino_t ino, struct visit *v)
{
	struct fuse_past *p = past_of(req);
	struct moment *m;
	err_t err;

	*v = (struct visit){ .past = p, .number = (unsigned)((ino & ~PAST) >> MOMENT_SHIFT), .ino = ino & INO_MASK };
	pthread_mutex_lock(&p->lock);
	m = p->moments[v->number];
	pthread_mutex_unlock(&p->lock);
	if (m == NULL)
		return -ESTALE;
	pthread_mutex_lock(&m->finding);
	err = p->source->enter(p->source->ctx, &m->key, &m->commit, &v->vfs, &v->token);
	pthread_mutex_unlock(&m->finding);
	return err;
}

static void
count_lookups(struct fuse_past *p, fuse_ino_t ino, uint64_t n)
{
	unsigned number = (unsigned)((ino & ~PAST) >> MOMENT_SHIFT);

	pthread_mutex_lock(&p->lock);
	if (p->moments[number] != NULL)
		p->moments[number]->lookups += n;
	pthread_mutex_unlock(&p->lock);
}

static void
forget(struct fuse_past *p, fuse_ino_t ino, uint64_t n)
{
	unsigned number = (unsigned)((ino & ~PAST) >> MOMENT_SHIFT);
	struct moment *m;

	pthread_mutex_lock(&p->lock);
	m = p->moments[number];
	if (m != NULL)
		m->lookups -= n < m->lookups ? n : m->lookups;
	if (m != NULL && m->lookups == 0)
		p->moments[number] = NULL;
	else
		m = NULL;
	pthread_mutex_unlock(&p->lock);
	if (m != NULL)
		moment_free(m);
}

/* Attributes. */

static fuse_ino_t
number_of(const struct visit *v, uint64_t ino)
{
	return PAST | (uint64_t)v->number << MOMENT_SHIFT | ino;
}

/* What no number is left for can't be shown. */
static err_t
show(const struct visit *v, struct stat *st)
{
	if (st->st_ino > INO_MASK)
		return -EOVERFLOW;
	st->st_ino = number_of(v, st->st_ino);
	st->st_mode &= ~0222u;
	return 0;
}

/* One of the folders, or a moment that nobody has entered yet. */
static err_t
folder_attr(struct fuse_past *p, fuse_ino_t ino, struct stat *out)
{
	struct stat root;
	err_t err = vfs_getattr(p->vfs, INODE_ROOT, &root);

	if (err == 0)
		*out = (struct stat){ .st_ino = ino, .st_mode = S_IFDIR | 0500, .st_nlink = 2, .st_uid = root.st_uid,
			.st_gid = root.st_gid, .st_size = root.st_size, .st_blksize = root.st_blksize, .st_mtim = root.st_mtim,
			.st_ctim = root.st_ctim, .st_atim = root.st_atim };
	return err;
}

static bool
is_folder(fuse_ino_t ino)
{
	return ino == TOP || ino == AT || (ino & INO_MASK) == INODE_ROOT;
}

static err_t
past_attr(fuse_req_t req, fuse_ino_t ino, struct stat *out)
{
	CLEANUP(leave) struct visit v = { 0 };
	err_t err;

	if (is_folder(ino))
		return folder_attr(past_of(req), ino, out);
	if ((err = enter(req, ino, &v)) != 0 || (err = vfs_getattr(v.vfs, v.ino, out)) != 0)
		return err;
	return show(&v, out);
}

static void
reply_entry(fuse_req_t req, err_t err, const struct stat *attr)
{
	struct fuse_entry_param e = { 0 };
	double timeout;

	if (err != 0) {
		fuse_reply_err(req, -err);
		return;
	}
	timeout = is_folder(attr->st_ino) ? TIMEOUT_FOLDERS : TIMEOUT_TREE;
	e = (struct fuse_entry_param){ .ino = attr->st_ino, .generation = 1, .attr = *attr, .attr_timeout = timeout,
		.entry_timeout = timeout };
	fuse_reply_entry(req, &e);
}

/* Looking up. */

static err_t
look_up_moment(struct fuse_past *p, const char *name, struct stat *out)
{
	struct fuse_past_key key;
	unsigned number = 0;
	fuse_ino_t ino;
	err_t err = p->source->parse(p->source->ctx, name, &key);

	if (err != 0)
		return -ENOENT;
	pthread_mutex_lock(&p->lock);
	err = number_moment(p, &key, &number);
	if (err == 0)
		p->moments[number]->lookups++;
	pthread_mutex_unlock(&p->lock);
	if (err != 0)
		return err;
	ino = PAST | (uint64_t)number << MOMENT_SHIFT | INODE_ROOT;
	err = folder_attr(p, ino, out);
	if (err != 0)
		forget(p, ino, 1);
	return err;
}

static err_t
look_up_in_tree(fuse_req_t req, fuse_ino_t parent, const char *name, struct stat *out)
{
	CLEANUP(leave) struct visit v = { 0 };
	err_t err;

	if ((parent & INO_MASK) == INODE_ROOT && strcmp(name, "..") == 0)
		return folder_attr(past_of(req), AT, out);
	if ((err = enter(req, parent, &v)) != 0 || (err = vfs_lookup(v.vfs, v.ino, name, out)) != 0)
		return err;
	vfs_forget(v.vfs, out->st_ino, 1); /* a tree that is only read needs no count */
	if ((out->st_ino & INO_MASK) == INODE_ROOT)
		err = folder_attr(past_of(req), number_of(&v, INODE_ROOT), out);
	else
		err = show(&v, out);
	if (err == 0)
		count_lookups(past_of(req), out->st_ino, 1);
	return err;
}

static err_t
look_up_folder(fuse_req_t req, fuse_ino_t parent, const char *name, struct stat *out)
{
	struct fuse_past *p = past_of(req);

	if (strcmp(name, ".") == 0)
		return folder_attr(p, parent, out);
	if (strcmp(name, "..") == 0)
		return parent == AT ? folder_attr(p, TOP, out) : vfs_lookup(p->vfs, INODE_ROOT, ".", out);
	if (parent == TOP)
		return strcmp(name, AT_NAME) == 0 ? folder_attr(p, AT, out) : -ENOENT;
	return look_up_moment(p, name, out);
}

/* Somebody's own file of that name, which an older version let him make, goes first. */
static bool
is_hidden_name(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_past *p = past_of(req);
	struct stat st;

	if (parent != INODE_ROOT || strcmp(name, TOP_NAME) != 0 || p == NULL)
		return false;
	if (vfs_lookup(p->vfs, parent, name, &st) != 0)
		return true;
	vfs_forget(p->vfs, st.st_ino, 1);
	return false;
}

static void
op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct stat attr;
	err_t err;

	if (is_hidden_name(req, parent, name))
		err = folder_attr(past_of(req), TOP, &attr);
	else if (parent == TOP || parent == AT)
		err = look_up_folder(req, parent, name, &attr);
	else if (is_past(parent))
		err = look_up_in_tree(req, parent, name, &attr);
	else {
		present()->lookup(req, parent, name);
		return;
	}
	reply_entry(req, err, &attr);
}

static void
op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	if (!is_past(ino)) {
		present()->forget(req, ino, n);
		return;
	}
	forget(past_of(req), ino, n);
	fuse_reply_none(req);
}

static void
op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	const struct fuse_serving *s = fuse_req_userdata(req);

	for (size_t i = 0; i < count; i++) {
		if (is_past(forgets[i].ino))
			forget(s->past, forgets[i].ino, forgets[i].nlookup);
		else
			vfs_forget(s->vfs, forgets[i].ino, forgets[i].nlookup);
	}
	fuse_reply_none(req);
}

/* Reading. */

static void
op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat attr;
	err_t err;

	if (!is_past(ino)) {
		present()->getattr(req, ino, fi);
		return;
	}
	err = past_attr(req, ino, &attr);
	if (err != 0)
		fuse_reply_err(req, -err);
	else
		fuse_reply_attr(req, &attr, is_folder(ino) ? TIMEOUT_FOLDERS : TIMEOUT_TREE);
}

static void
op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	CLEANUP(leave) struct visit v = { 0 };
	char target[SYMLINK_LEN_MAX + 1];
	err_t err;

	if (!is_past(ino)) {
		present()->readlink(req, ino);
		return;
	}
	if ((err = enter(req, ino, &v)) != 0 || (err = vfs_readlink(v.vfs, v.ino, target, sizeof(target))) != 0)
		fuse_reply_err(req, -err);
	else
		fuse_reply_readlink(req, target);
}

static void
op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	CLEANUP(leave) struct visit v = { 0 };
	char *data = fuse_wire_reply_buffer();
	size_t len = 0;
	err_t err;

	if (!is_past(ino)) {
		present()->read(req, ino, size, off, fi);
		return;
	}
	err = off < 0 ? -EINVAL : enter(req, ino, &v);
	if (err == 0)
		err = vfs_read(v.vfs, v.ino, (uint64_t)off, size < FUSE_DATA_MAX ? size : FUSE_DATA_MAX, (uint8_t *)data, &len);
	if (err != 0)
		fuse_reply_err(req, -err);
	else
		fuse_reply_buf(req, data, len);
}

static void
op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	CLEANUP(leave) struct visit v = { 0 };
	uint64_t found = 0;
	err_t err;

	if (!is_past(ino)) {
		present()->lseek(req, ino, off, whence, fi);
		return;
	}
	err = off < 0 ? -ENXIO : enter(req, ino, &v);
	if (err == 0)
		err = vfs_seek(v.vfs, v.ino, (uint64_t)off, whence, &found);
	if (err != 0)
		fuse_reply_err(req, -err);
	else
		fuse_reply_lseek(req, (off_t)found);
}

static void
reply_xattr(fuse_req_t req, err_t err, const char *data, size_t size, size_t len)
{
	if (err != 0)
		fuse_reply_err(req, -err);
	else if (size == 0)
		fuse_reply_xattr(req, len);
	else
		fuse_reply_buf(req, data, len);
}

static void
op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	CLEANUP(leave) struct visit v = { 0 };
	char *value = fuse_wire_reply_buffer();
	size_t len = 0;
	err_t err;

	if (!is_past(ino)) {
		present()->getxattr(req, ino, name, size);
		return;
	}
	err = is_folder(ino) ? -ENODATA : enter(req, ino, &v);
	if (err == 0)
		err = vfs_getxattr(v.vfs, v.ino, name, value, size < FUSE_DATA_MAX ? size : FUSE_DATA_MAX, &len);
	reply_xattr(req, err, value, size, len);
}

static void
op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	CLEANUP(leave) struct visit v = { 0 };
	char *list = fuse_wire_reply_buffer();
	size_t len = 0;
	err_t err = 0;

	if (!is_past(ino)) {
		present()->listxattr(req, ino, size);
		return;
	}
	if (!is_folder(ino) && (err = enter(req, ino, &v)) == 0)
		err = vfs_listxattr(v.vfs, v.ino, list, size < FUSE_DATA_MAX ? size : FUSE_DATA_MAX, &len);
	reply_xattr(req, err, list, size, len);
}

/* Listing: names and types only, so that nothing is known to the kernel that it has not asked for. */

struct entries {
	fuse_req_t req;
	const struct visit *v; /* NULL: of a folder */
	bool plus;
	char *data;
	size_t len;
	size_t max;
};

static int
add_entry(void *ctx, const char *name, const struct stat *attr, uint64_t cookie)
{
	struct entries *e = ctx;
	size_t room = e->max - e->len, need;
	struct fuse_entry_param entry = { .attr = *attr };

	if (e->v != NULL)
		entry.attr.st_ino = number_of(e->v, attr->st_ino & INO_MASK);
	if (e->plus)
		need = fuse_add_direntry_plus(e->req, e->data + e->len, room, name, &entry, (off_t)cookie);
	else
		need = fuse_add_direntry(e->req, e->data + e->len, room, name, &entry.attr, (off_t)cookie);
	if (need > room)
		return 1;
	e->len += need;
	return 0;
}

static int
take_name(void *ctx, const char *name)
{
	struct fuse_past *p = ctx;

	if (p->name_count == LIST_MAX || (p->names[p->name_count] = strdup(name)) == NULL)
		return 1;
	p->name_count++;
	return 0;
}

static void
drop_names(struct fuse_past *p)
{
	while (p->name_count > 0)
		free(p->names[--p->name_count]);
}

/* The source may read from the store: not with the lock held. */
static err_t
renew_names(struct fuse_past *p)
{
	struct fuse_past fresh = { 0 };
	err_t err = p->source->list(p->source->ctx, take_name, &fresh);

	pthread_mutex_lock(&p->lock);
	drop_names(p);
	memcpy(p->names, fresh.names, sizeof(p->names));
	p->name_count = fresh.name_count;
	pthread_mutex_unlock(&p->lock);
	return err;
}

static err_t
list_folder(struct entries *e, struct fuse_past *p, fuse_ino_t ino, uint64_t after)
{
	struct stat st = { .st_ino = ino, .st_mode = S_IFDIR };
	err_t err = ino == AT && after == 0 ? renew_names(p) : 0;

	if (err != 0 || (after < 1 && add_entry(e, ".", &st, 1) != 0))
		return err;
	st.st_ino = ino == AT ? TOP : INODE_ROOT;
	if (after < 2 && add_entry(e, "..", &st, 2) != 0)
		return 0;
	st.st_ino = AT;
	if (ino == TOP) {
		if (after < 3)
			(void)add_entry(e, AT_NAME, &st, 3);
		return 0;
	}
	pthread_mutex_lock(&p->lock);
	for (uint64_t i = after < 3 ? 0 : after - 2; i < p->name_count; i++)
		if (add_entry(e, p->names[i], &st, i + 3) != 0)
			break;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

static void
read_entries(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	CLEANUP(leave) struct visit v = { 0 };
	struct entries e = { .req = req, .plus = plus, .data = fuse_wire_reply_buffer(),
		.max = size < FUSE_DATA_MAX ? size : FUSE_DATA_MAX };
	err_t err;

	if (ino == TOP || ino == AT) {
		err = list_folder(&e, past_of(req), ino, (uint64_t)off);
	} else if ((err = enter(req, ino, &v)) == 0) {
		e.v = &v;
		err = vfs_readdir(v.vfs, v.ino, (uint64_t)off, false, add_entry, &e);
	}
	if (err == -ENOENT)
		err = -ENODATA; /* nothing was there at that moment: for readdir(3) the other one is the end of the folder */
	if (err != 0)
		fuse_reply_err(req, -err);
	else
		fuse_reply_buf(req, e.data, e.len);
}

static void
op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	if (is_past(ino))
		read_entries(req, ino, size, off, false);
	else
		present()->readdir(req, ino, size, off, fi);
}

static void
op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	if (is_past(ino))
		read_entries(req, ino, size, off, true);
	else
		present()->readdirplus(req, ino, size, off, fi);
}

/* Changing. */

static bool
refuse(fuse_req_t req, fuse_ino_t ino)
{
	if (!is_past(ino))
		return false;
	fuse_reply_err(req, EROFS);
	return true;
}

/* A name in the past, or the folder's own. */
static bool
refuse_name(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (refuse(req, parent))
		return true;
	if (!is_hidden_name(req, parent, name))
		return false;
	fuse_reply_err(req, EPERM);
	return true;
}

static void
op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *wanted, int to_set, struct fuse_file_info *fi)
{
	if (!refuse(req, ino))
		present()->setattr(req, ino, wanted, to_set, fi);
}

static void
op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	if (!refuse_name(req, parent, name))
		present()->mknod(req, parent, name, mode, rdev);
}

static void
op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	if (!refuse_name(req, parent, name))
		present()->mkdir(req, parent, name, mode);
}

static void
op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	if (!refuse_name(req, parent, name))
		present()->symlink(req, target, parent, name);
}

static void
op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	if (is_past(ino) && !is_past(parent))
		fuse_reply_err(req, EXDEV); /* a file of the past can only be copied */
	else if (!refuse_name(req, parent, name))
		present()->link(req, ino, parent, name);
}

static void
op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (!refuse_name(req, parent, name))
		present()->unlink(req, parent, name);
}

static void
op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (!refuse_name(req, parent, name))
		present()->rmdir(req, parent, name);
}

static void
op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	if (!refuse_name(req, parent, name) && !refuse_name(req, new_parent, new_name))
		present()->rename(req, parent, name, new_parent, new_name, flags);
}

static void
op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off, struct fuse_file_info *fi)
{
	if (!refuse(req, ino))
		present()->write(req, ino, data, size, off, fi);
}

static void
op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	if (is_past(ino))
		fuse_reply_err(req, 0); /* nothing to save */
	else
		present()->fsync(req, ino, datasync, fi);
}

static void
op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	if (!refuse(req, ino))
		present()->fallocate(req, ino, mode, off, len, fi);
}

static void
op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_off, struct fuse_file_info *from_fi, fuse_ino_t to,
    off_t to_off, struct fuse_file_info *to_fi, size_t len, int flags)
{
	if (refuse(req, to))
		return;
	if (is_past(from))
		fuse_reply_err(req, EOPNOTSUPP); /* then the kernel copies by reading and writing */
	else
		present()->copy_file_range(req, from, from_off, from_fi, to, to_off, to_fi, len, flags);
}

static void
op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	if (!refuse(req, ino))
		present()->setxattr(req, ino, name, value, size, flags);
}

static void
op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	if (!refuse(req, ino))
		present()->removexattr(req, ino, name);
}

const struct fuse_lowlevel_ops *
fuse_past_handlers(void)
{
	static struct fuse_lowlevel_ops handlers;

	handlers = *present();
	handlers.lookup = op_lookup;
	handlers.forget = op_forget;
	handlers.forget_multi = op_forget_multi;
	handlers.getattr = op_getattr;
	handlers.setattr = op_setattr;
	handlers.readlink = op_readlink;
	handlers.mknod = op_mknod;
	handlers.mkdir = op_mkdir;
	handlers.symlink = op_symlink;
	handlers.link = op_link;
	handlers.unlink = op_unlink;
	handlers.rmdir = op_rmdir;
	handlers.rename = op_rename;
	handlers.read = op_read;
	handlers.write = op_write;
	handlers.fsync = op_fsync;
	handlers.fsyncdir = op_fsync;
	handlers.fallocate = op_fallocate;
	handlers.lseek = op_lseek;
	handlers.copy_file_range = op_copy_file_range;
	handlers.readdir = op_readdir;
	handlers.readdirplus = op_readdirplus;
	handlers.setxattr = op_setxattr;
	handlers.getxattr = op_getxattr;
	handlers.listxattr = op_listxattr;
	handlers.removexattr = op_removexattr;
	return &handlers;
}

err_t
fuse_past_new(struct vfs *v, const struct fuse_past_source *source, struct fuse_past **out)
{
	struct fuse_past *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	p->vfs = v;
	p->source = source;
	pthread_mutex_init(&p->lock, NULL);
	*out = p;
	return 0;
}

void
fuse_past_free(struct fuse_past *p)
{
	if (p == NULL)
		return;
	for (unsigned i = 0; i < MOMENTS; i++)
		if (p->moments[i] != NULL)
			moment_free(p->moments[i]);
	drop_names(p);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
