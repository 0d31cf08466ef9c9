/*
 * fuse_mount_held.h: reads, writes and flushes of a mounted vault that can be held up (link with --wrap=vfs_read, --wrap=vfs_write and
 * --wrap=vfs_fsync).
 */
#ifndef SNUGFS_TEST_FUSE_MOUNT_HELD_H
#define SNUGFS_TEST_FUSE_MOUNT_HELD_H

#include "fuse_mount_fixture.h"

/* Reads, writes and flushes while `held` wait. */
static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t held_moved = PTHREAD_COND_INITIALIZER;
static bool held;
static unsigned waiting_count;

static inline void
wait_while_held(void)
{
	pthread_mutex_lock(&held_lock);
	waiting_count++;
	pthread_cond_broadcast(&held_moved);
	while (held)
		pthread_cond_wait(&held_moved, &held_lock);
	waiting_count--;
	pthread_mutex_unlock(&held_lock);
}

err_t __real_vfs_read(struct vfs *v, uint64_t ino, uint64_t off, size_t len, uint8_t *buf, size_t *read_out);
err_t __wrap_vfs_read(struct vfs *v, uint64_t ino, uint64_t off, size_t len, uint8_t *buf, size_t *read_out);

err_t
__wrap_vfs_read(struct vfs *v, uint64_t ino, uint64_t off, size_t len, uint8_t *buf, size_t *read_out)
{
	wait_while_held();
	return __real_vfs_read(v, ino, off, len, buf, read_out);
}

err_t __real_vfs_write(struct vfs *v, uint64_t ino, uint64_t off, const uint8_t *data, size_t len, unsigned flags);
err_t __wrap_vfs_write(struct vfs *v, uint64_t ino, uint64_t off, const uint8_t *data, size_t len, unsigned flags);

err_t
__wrap_vfs_write(struct vfs *v, uint64_t ino, uint64_t off, const uint8_t *data, size_t len, unsigned flags)
{
	wait_while_held();
	return __real_vfs_write(v, ino, off, data, len, flags);
}

err_t __real_vfs_fsync(struct vfs *v, uint64_t ino);
err_t __wrap_vfs_fsync(struct vfs *v, uint64_t ino);

err_t
__wrap_vfs_fsync(struct vfs *v, uint64_t ino)
{
	wait_while_held();
	return __real_vfs_fsync(v, ino);
}

static inline void
hold(bool on)
{
	pthread_mutex_lock(&held_lock);
	held = on;
	pthread_cond_broadcast(&held_moved);
	pthread_mutex_unlock(&held_lock);
}

static inline void
wait_for_held(unsigned count)
{
	pthread_mutex_lock(&held_lock);
	while (waiting_count < count)
		pthread_cond_wait(&held_moved, &held_lock);
	pthread_mutex_unlock(&held_lock);
}

#endif
