/*
 * The handlers of the hidden folder (hidden.h), before those of the folder itself.
 *
 * There is nothing to ask when a file is opened (OPEN is never sent), so no mode here has a write bit: what the kernel does not refuse
 * by that, changes of names and attributes, ends here with EROFS.
 */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse_lowlevel.h>

#include "fuse_ops.h"
#include "fuse_private.h"
#include "hidden.h"

/* Seconds.  Nothing changes but what a relative time means. */
#define TIMEOUT_TREE (24.0 * 60 * 60)
#define TIMEOUT_FOLDERS 60.0

static struct hidden *
hidden_of(fuse_req_t req)
{
	const struct fuse_serving *s = fuse_req_userdata(req);

	return s->hidden;
}

static const struct fuse_lowlevel_ops *
present(void)
{
	return fuse_ops_handlers();
}

/* hidden_enter for a request: to make the tree may take the store. */
static err_t
enter(fuse_req_t req, fuse_ino_t ino, struct hidden_visit *v)
{
	struct fuse_interrupt source;
	err_t err;

	fuse_interrupt_begin(&source, req);
	err = hidden_enter(hidden_of(req), ino, v);
	fuse_interrupt_end();
	return err;
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
	timeout = hidden_is_folder(attr->st_ino) ? TIMEOUT_FOLDERS : TIMEOUT_TREE;
	e = (struct fuse_entry_param){ .ino = attr->st_ino, .generation = 1, .attr = *attr, .attr_timeout = timeout,
		.entry_timeout = timeout };
	fuse_reply_entry(req, &e);
}

static void
op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_interrupt source;
	struct stat attr;
	err_t err;

	if (!hidden_has(parent) && !hidden_is_name(hidden_of(req), parent, name)) {
		present()->lookup(req, parent, name);
		return;
	}
	fuse_interrupt_begin(&source, req);
	err = hidden_lookup(hidden_of(req), parent, name, &attr);
	fuse_interrupt_end();
	reply_entry(req, err, &attr);
}

static void
op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	if (!hidden_has(ino)) {
		present()->forget(req, ino, n);
		return;
	}
	hidden_forget(hidden_of(req), ino, n);
	fuse_reply_none(req);
}

static void
op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	const struct fuse_serving *s = fuse_req_userdata(req);

	for (size_t i = 0; i < count; i++) {
		if (hidden_has(forgets[i].ino))
			hidden_forget(s->hidden, forgets[i].ino, forgets[i].nlookup);
		else
			vfs_forget(s->vfs, forgets[i].ino, forgets[i].nlookup);
	}
	fuse_reply_none(req);
}

/* Reading. */

static void
op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fuse_interrupt source;
	struct stat attr;
	err_t err;

	if (!hidden_has(ino)) {
		present()->getattr(req, ino, fi);
		return;
	}
	fuse_interrupt_begin(&source, req);
	err = hidden_attr(hidden_of(req), ino, &attr);
	fuse_interrupt_end();
	if (err != 0)
		fuse_reply_err(req, -err);
	else
		fuse_reply_attr(req, &attr, hidden_is_folder(ino) ? TIMEOUT_FOLDERS : TIMEOUT_TREE);
}

static void
op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	CLEANUP(hidden_leave) struct hidden_visit v = { 0 };
	char target[SYMLINK_LEN_MAX + 1];
	err_t err;

	if (!hidden_has(ino)) {
		present()->readlink(req, ino);
		return;
	}
	err = enter(req, ino, &v);
	if (err == 0)
		err = vfs_readlink(v.vfs, v.ino, target, sizeof(target));
	if (err != 0)
		fuse_reply_err(req, -err);
	else
		fuse_reply_readlink(req, target);
}

static void
op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	CLEANUP(hidden_leave) struct hidden_visit v = { 0 };
	struct fuse_interrupt source;
	char *data = fuse_wire_reply_buffer();
	size_t len = 0;
	err_t err;

	if (!hidden_has(ino)) {
		present()->read(req, ino, size, off, fi);
		return;
	}
	err = off < 0 ? -EINVAL : enter(req, ino, &v);
	fuse_interrupt_begin(&source, req);
	if (err == 0)
		err = vfs_read(v.vfs, v.ino, (uint64_t)off, size < FUSE_DATA_MAX ? size : FUSE_DATA_MAX, (uint8_t *)data, &len);
	fuse_interrupt_end();
	if (err != 0)
		fuse_reply_err(req, -err);
	else
		fuse_reply_buf(req, data, len);
}

static void
op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	CLEANUP(hidden_leave) struct hidden_visit v = { 0 };
	uint64_t found = 0;
	err_t err;

	if (!hidden_has(ino)) {
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
op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	CLEANUP(hidden_leave) struct hidden_visit v = { 0 };
	char *value = fuse_wire_reply_buffer();
	size_t len = 0;
	err_t err;

	if (!hidden_has(ino)) {
		present()->getxattr(req, ino, name, size);
		return;
	}
	err = hidden_is_folder(ino) ? -ENODATA : enter(req, ino, &v);
	if (err == 0)
		err = vfs_getxattr(v.vfs, v.ino, name, value, size < FUSE_DATA_MAX ? size : FUSE_DATA_MAX, &len);
	fuse_answer_xattr(req, err, value, size, len);
}

static void
op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	CLEANUP(hidden_leave) struct hidden_visit v = { 0 };
	char *list = fuse_wire_reply_buffer();
	size_t len = 0;
	err_t err = 0;

	if (!hidden_has(ino)) {
		present()->listxattr(req, ino, size);
		return;
	}
	if (!hidden_is_folder(ino) && (err = enter(req, ino, &v)) == 0)
		err = vfs_listxattr(v.vfs, v.ino, list, size < FUSE_DATA_MAX ? size : FUSE_DATA_MAX, &len);
	fuse_answer_xattr(req, err, list, size, len);
}

/* Listing: names and types only, so that nothing is known to the kernel that it has not asked for. */

struct listing {
	struct fuse_answer_list answer;
	struct hidden_visit visit; /* of no tree: a folder */
};

static int
add_entry(void *ctx, const char *name, const struct stat *attr, uint64_t cookie)
{
	struct listing *l = ctx;
	struct fuse_entry_param entry = { .attr = *attr };

	if (l->visit.vfs != NULL)
		entry.attr.st_ino = hidden_number(&l->visit, attr->st_ino);
	return fuse_answer_add(&l->answer, name, &entry, cookie);
}

static void
read_entries(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct listing l = { .answer = fuse_answer_begin(req, size, plus) };
	struct fuse_interrupt source;
	err_t err;

	if (ino == HIDDEN_TOP || ino == HIDDEN_AT) {
		fuse_interrupt_begin(&source, req);
		err = hidden_list(hidden_of(req), ino, (uint64_t)off, add_entry, &l);
		fuse_interrupt_end();
	} else if ((err = enter(req, ino, &l.visit)) == 0) {
		err = vfs_readdir(l.visit.vfs, l.visit.ino, (uint64_t)off, false, add_entry, &l);
	}
	/* Nothing was there at that moment: for readdir(3) the other one is the end of the folder. */
	fuse_answer_list(&l.answer, err == -ENOENT ? -ENODATA : err);
	hidden_leave(&l.visit);
}

static void
op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	if (hidden_has(ino))
		read_entries(req, ino, size, off, false);
	else
		present()->readdir(req, ino, size, off, fi);
}

static void
op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	if (hidden_has(ino))
		read_entries(req, ino, size, off, true);
	else
		present()->readdirplus(req, ino, size, off, fi);
}

/* Changing. */

static bool
refuse(fuse_req_t req, fuse_ino_t ino)
{
	if (!hidden_has(ino))
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
	if (!hidden_is_name(hidden_of(req), parent, name))
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
	if (hidden_has(ino) && !hidden_has(parent))
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
	if (hidden_has(ino))
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
	if (hidden_has(from))
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
fuse_hidden_handlers(void)
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
