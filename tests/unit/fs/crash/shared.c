/* shared.c: writes, names and attributes, of few files, so that two devices meet; some of them are long, and cut. */
#include "shared.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define SHARED_NAMES 6
#define LONG_CHUNKS 5

static const struct vfs_caller ME = {.uid = 1000, .gid = 1000, .umask = 022};

static uint64_t
look_up(struct vfs *v, uint64_t dir, const char *name)
{
	struct stat st;

	if (vfs_lookup(v, dir, name, &st))
		return 0;
	vfs_forget(v, st.st_ino, 1);
	return st.st_ino;
}

static err_t
write_some(struct vfs *v, struct rng *r, uint64_t ino)
{
	uint8_t data[20000];
	size_t len = 1 + (size_t)rng_below(r, sizeof(data));

	rng_fill(r, data, len);
	return vfs_write(v, ino, rng_below(r, 8000), data, len, 0);
}

/* A few bytes in many chunks. */
static err_t
make_long(struct vfs *v, struct rng *r, uint64_t ino)
{
	uint8_t data[3000];
	err_t e = 0;

	rng_fill(r, data, sizeof(data));
	for (uint64_t no = 0; no < LONG_CHUNKS && !e; no++)
		if (rng_chance(r, 80))
			e = vfs_write(v, ino, no * CHUNK_LEN + rng_below(r, 8000), data, sizeof(data), 0);
	return e;
}

static err_t
cut(struct vfs *v, struct rng *r, uint64_t ino, uint64_t size)
{
	struct stat st = {.st_size = size ? (off_t)(rng_below(r, size) % CHUNK_LEN) : 0};

	return vfs_setattr(v, ino, &st, VFS_SET_SIZE, &st);
}

static void
shared_name(struct rng *r, char out[static 8])
{
	snprintf(out, 8, "f%u", (unsigned)rng_below(r, SHARED_NAMES));
}

static err_t
make_shared(struct vfs *v, struct rng *r, uint64_t dir, const char *name)
{
	struct stat st;
	err_t e = rng_chance(r, 10) ? vfs_mkdir(v, &ME, dir, name, 0755, &st) :
	    vfs_mknod(v, &ME, dir, name, S_IFREG | 0644, 0, &st);

	if (e)
		return e;
	vfs_forget(v, st.st_ino, 1);
	return 0;
}

err_t
shared_change(struct vfs *v, struct rng *r)
{
	uint64_t dir = look_up(v, INODE_ROOT, "shared"), ino;
	unsigned dice = (unsigned)rng_below(r, 100);
	char name[8], other[8];
	struct stat st, set = {.st_mode = (mode_t)rng_below(r, 01000)};
	err_t e;

	shared_name(r, name);
	shared_name(r, other);
	ino = look_up(v, dir, name);
	if (!ino)
		return make_shared(v, r, dir, name);
	if (vfs_getattr(v, ino, &st))
		return -EIO;
	if (dice < 50 && S_ISREG(st.st_mode))
		return dice < 10 ? write_some(v, r, ino) : dice < 28 ? make_long(v, r, ino) : cut(v, r, ino, (uint64_t)st.st_size);
	if (dice < 58)
		return vfs_setattr(v, ino, &set, VFS_SET_MODE, &st);
	if (dice < 68)
		return vfs_setxattr(v, ino, "user.dice", &dice, sizeof(dice), 0);
	if (dice < 78 && S_ISREG(st.st_mode))
		return vfs_unlink(v, dir, name);
	e = vfs_rename(v, dir, name, dir, other, 0);
	return e == -EISDIR || e == -ENOTDIR || e == -ENOTEMPTY || e == -EINVAL ? 0 : e;
}
