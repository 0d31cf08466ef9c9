/* File contents: what read, write, fallocate and their kin mean on top of content.h. */
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "vfs_internal.h"

#define COPY_LEN (1u << 20)

err_t
vfs_read(struct vfs *v, uint64_t ino, uint64_t off, size_t len, uint8_t *buf, size_t *read_out)
{
	return content_read(v->content, ino, off, len, buf, read_out);
}

/* Set-id bits and file capabilities do not outlive a write by somebody who may not set them. */
static void
kill_privileges(struct vfs *v, uint64_t ino, bool foreign_group)
{
	struct inode *i;

	meta_lock(v->meta);
	if (meta_inode_get(v->meta, ino, &i) == 0) {
		if (vfs_kill_suidgid(i, foreign_group))
			vfs_changed(v, i, PENDING_MODE);
		if (i->has_xattrs && vfs_xattr_drop(v, i, "security.capability") == 0)
			vfs_changed(v, i, PENDING_XATTR);
	}
	meta_unlock(v->meta);
}

err_t
vfs_write(struct vfs *v, uint64_t ino, uint64_t off, const uint8_t *data, size_t len, unsigned flags)
{
	err_t err;

	meta_throttle(v->meta);
	err = flags & VFS_WRITE_BACK ? content_write_back(v->content, ino, off, data, len)
	                             : content_write(v->content, ino, off, data, len);
	if (err == 0 && (flags & VFS_WRITE_KILL_SUIDGID))
		kill_privileges(v, ino, flags & VFS_WRITE_FOREIGN_GROUP);
	return err;
}

/* Nothing can be reserved in a log that only grows, but a promise that can't be kept is refused at once. */
static err_t
check_space(struct vfs *v, uint64_t len)
{
	struct statvfs st;
	err_t err = vfs_statfs(v, &st);

	if (err != 0)
		return err;
	/* Some disks say nothing of their room. */
	return st.f_frsize > 0 && st.f_blocks > 0 && len / st.f_frsize >= st.f_bavail ? -ENOSPC : 0;
}

err_t
vfs_fallocate(struct vfs *v, uint64_t ino, int mode, uint64_t off, uint64_t len)
{
	bool keep_size = mode & FALLOC_FL_KEEP_SIZE;
	err_t err;

	if (len == 0 || off > INODE_MAX_SIZE - len)
		return len == 0 ? -EINVAL : -EFBIG;
	meta_throttle(v->meta);
	switch (mode & ~FALLOC_FL_KEEP_SIZE) {
	case 0:
		if ((err = check_space(v, len)) != 0)
			return err;
		break;
	case FALLOC_FL_PUNCH_HOLE:
		if (!keep_size)
			return -EOPNOTSUPP;
		return content_punch(v->content, ino, off, len);
	case FALLOC_FL_ZERO_RANGE:
		if ((err = content_punch(v->content, ino, off, len)) != 0)
			return err;
		break;
	default:
		return -EOPNOTSUPP;
	}
	return keep_size ? 0 : content_grow(v->content, ino, off + len);
}

err_t
vfs_seek(struct vfs *v, uint64_t ino, uint64_t off, int whence, uint64_t *out)
{
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	return content_seek(v->content, ino, off, whence == SEEK_DATA, out);
}

err_t
vfs_copy_range(struct vfs *v, uint64_t from, uint64_t from_off, uint64_t to, uint64_t to_off, size_t len,
    size_t *copied_out)
{
	CLEANUP(free_ptr) uint8_t *buf = malloc(COPY_LEN);
	size_t done = 0;

	if (buf == NULL)
		return -ENOMEM;
	while (done < len) {
		size_t want = len - done < COPY_LEN ? len - done : COPY_LEN, got = 0;
		err_t err;

		meta_throttle(v->meta);
		err = content_read(v->content, from, from_off + done, want, buf, &got);
		if (err == 0 && got != 0)
			err = content_write(v->content, to, to_off + done, buf, got);
		if (err != 0 && done == 0)
			return err;
		if (err != 0 || got == 0)
			break;
		done += got;
	}
	*copied_out = done;
	return 0;
}
