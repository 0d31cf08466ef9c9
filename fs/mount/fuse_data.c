/* The handlers for what is in files (fuse_private.h), as those of fuse_ops.c are for names and attributes. */
#define FUSE_USE_VERSION 314
#include "fuse_private.h"

#include <errno.h>
#include <fuse_lowlevel.h>

#include "vfs.h"

/* A longer copy would keep a thread for too long; the caller asks again. */
#define COPY_MAX (64U << 20)

void
fuse_data_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct fuse_interrupt source;
	char *data = fuse_wire_reply_buffer();
	size_t len = 0;
	err_t err;

	(void)fi;
	if (off < 0) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	fuse_interrupt_begin(&source, req);
	err = vfs_read(fuse_ops_vfs(req), ino, (uint64_t)off, size < FUSE_DATA_MAX ? size : FUSE_DATA_MAX, (uint8_t *)data, &len);
	fuse_interrupt_end();
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_buf(req, data, len);
}

void
fuse_data_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off, struct fuse_file_info *fi)
{
	unsigned flags = fi->writepage ? VFS_WRITE_BACK : 0u;
	err_t err;

	if (off < 0) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (fuse_wire_kill_suidgid())
		flags |= VFS_WRITE_KILL_SUIDGID | (fuse_ops_has_foreign_setgid(req, ino) ? VFS_WRITE_FOREIGN_GROUP : 0u);
	err = vfs_write(fuse_ops_vfs(req), ino, (uint64_t)off, (const uint8_t *)data, size, flags);
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_write(req, size);
}

void
fuse_data_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	(void)fi;
	fuse_reply_err(req, -vfs_fsync(fuse_ops_vfs(req), ino));
}

void
fuse_data_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	(void)fi;
	if (off < 0 || len <= 0)
		fuse_reply_err(req, EINVAL);
	else
		fuse_reply_err(req, -vfs_fallocate(fuse_ops_vfs(req), ino, mode, (uint64_t)off, (uint64_t)len));
}

/*
 * Linux does not write dirty pages back before it asks for holes, though only the file system knows those: written data of a
 * file that is still open would be taken for a hole, and cp would leave it out.
 */
static err_t
seek_flushed(struct vfs *v, uint64_t ino, uint64_t off, int whence, uint64_t *out)
{
	err_t err = fuse_loop_write_back(ino, off);

	if (err == -EAGAIN)
		return -EOPNOTSUPP; /* then programs take all for data */
	return err ? err : vfs_seek(v, ino, off, whence, out);
}

void
fuse_data_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	uint64_t found = 0;
	err_t err = off < 0 ? -ENXIO : seek_flushed(fuse_ops_vfs(req), ino, (uint64_t)off, whence, &found);

	(void)fi;
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_lseek(req, (off_t)found);
}

void
fuse_data_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_off, struct fuse_file_info *from_fi, fuse_ino_t to,
    off_t to_off, struct fuse_file_info *to_fi, size_t len, int flags)
{
	struct fuse_interrupt source;
	size_t copied = 0;
	err_t err;

	(void)from_fi;
	(void)to_fi;
	if (flags != 0 || from_off < 0 || to_off < 0) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	fuse_interrupt_begin(&source, req);
	err = vfs_copy_range(fuse_ops_vfs(req), from, (uint64_t)from_off, to, (uint64_t)to_off, len < COPY_MAX ? len : COPY_MAX,
	    &copied);
	fuse_interrupt_end();
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_write(req, copied);
}
