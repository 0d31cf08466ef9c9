/*
 * disk.h: every write of the engine's data files to the local disk, in one small room, so that a test can watch (and fail)
 * each one.  (SQLite writes meta.db itself.)  All return 0 or a negative errno and retry EINTR and short transfers.
 * Uses err.h.
 */
#ifndef SNUGFS_DISK_H
#define SNUGFS_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

MUST_CHECK err_t disk_make_dir(const char *path); /* 0700, durable; an existing directory is fine */
MUST_CHECK err_t disk_open_read(int dirfd, const char *name, int *fd_out);
MUST_CHECK err_t disk_create(int dirfd, const char *name, int *fd_out); /* -EEXIST; 0600; read-write */
MUST_CHECK err_t disk_open_write(int dirfd, const char *name, int *fd_out);
/*
 * Another descriptor of the same file, past the kernel's cache: memory, place and length of what goes through it are multiples
 * of the block length, or it answers -EINVAL; so it does where the file system can't do that at all.
 */
MUST_CHECK err_t disk_open_direct(int fd, int *fd_out);
MUST_CHECK err_t disk_pwrite(int fd, const void *data, size_t len, uint64_t off);
MUST_CHECK err_t disk_pread(int fd, void *buf, size_t len, uint64_t off); /* just len bytes, else -ENODATA */
/*
 * For the calling thread: fn is called when disk_pread is about to wait for the disk, which then is reading already.  NULL:
 * nobody wants to know, which saves a system call for each such read.
 */
typedef void disk_wait_fn(void);
void disk_tell_wait(disk_wait_fn *fn);
/* Blocks that the disk has read for the calling thread so far, whatever asked for them; it has grown: the thread has waited. */
long disk_blocks_read(void);
/* Of a direct descriptor: at most len bytes, at least needed, else -ENODATA: the last block may lie behind the file's end. */
MUST_CHECK err_t disk_pread_blocks(int fd, void *buf, size_t len, size_t needed, uint64_t off);
/* The kernel begins to read a file's first bytes into its cache, as far as it wants to. */
void disk_read_ahead(int fd, uint64_t len);
MUST_CHECK err_t disk_flush(int fd);        /* fdatasync */
MUST_CHECK err_t disk_flush_dir(int dirfd); /* fsync */
MUST_CHECK err_t disk_punch(int fd, uint64_t off, uint64_t len); /* keeps the size; -EOPNOTSUPP is no error */
MUST_CHECK err_t disk_allocate(int fd, uint64_t off, uint64_t len); /* room for those bytes, and at least that size; -EOPNOTSUPP */
MUST_CHECK err_t disk_truncate(int fd, uint64_t len); /* what is behind goes */
MUST_CHECK err_t disk_unlink(int dirfd, const char *name);
/* A folder and all in it, as far as that can be done: what resists stays. */
void disk_remove_tree(const char *path);
/* A small file, whole: temporary, flush, rename, flush of the folder. */
MUST_CHECK err_t disk_write_file(int dirfd, const char *name, const void *data, size_t len, unsigned mode);

/*
 * Tests only: called before each of the above with its name; a non-zero return is answered instead of doing it.  data: what
 * is written; of a rename, the new name.
 */
typedef err_t disk_watch_fn(void *ctx, const char *operation, int fd, const char *name, const void *data,
    uint64_t off, uint64_t len);
void disk_watch(disk_watch_fn *fn, void *ctx);

#endif
