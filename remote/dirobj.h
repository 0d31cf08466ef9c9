/*
 * dirobj.h: objects as regular files under a directory that an adversary can write to: no link is followed, only regular
 * files are read, and what is written is whole and durable or not there.  For store_dir.c alone.
 *
 * `root` is a descriptor of the directory (O_PATH suffices).  Errors are plain negative errnos of the system's calls, and
 * -EBADMSG for what is no regular file or is shorter than it was; store_dir.c translates them.  Uses store.h,
 * limit.h, random.h.
 */
#ifndef SNUGFS_DIROBJ_H
#define SNUGFS_DIROBJ_H

#include <pthread.h>
#include <sys/types.h>

#include "store.h"

/* The folder for files that are being written; it holds no objects. */
#define DIROBJ_TEMP "tmp"

struct dirobj_writer {
	mode_t mode;          /* for new folders; files get it without the x bits */
	pthread_mutex_t lock;
	void *folders;        /* under lock: tsearch tree of malloc'ed names of folders that are known to be durable */
	size_t folder_count;  /* under lock */
};
void dirobj_writer_init(struct dirobj_writer *w, mode_t mode);
void dirobj_writer_clear(struct dirobj_writer *w);

/* Is the name DIROBJ_TEMP or in it? */
bool dirobj_reserved(const char *name);

/* exclusive: -EEXIST if there is anything of that name, -ENOTSUP if the file system cannot tell.  Else it is replaced.
 * -ENOENT: DIROBJ_TEMP is not there, or something was taken away under us.  -ECANCELED: limit_cancel.  Thread-safe. */
MUST_CHECK err_t dirobj_write(struct dirobj_writer *w, int root, const char *name, const uint8_t *data, size_t len,
    bool exclusive, struct limit *limit);
/* Opens for reading; the caller closes. */
MUST_CHECK err_t dirobj_open(int root, const char *name, int *fd_out, uint64_t *size_out);
/* Appends just len bytes from off to out.  -ECANCELED: limit_cancel. */
MUST_CHECK err_t dirobj_append(int fd, uint64_t off, size_t len, struct limit *limit, struct bytes *out);
MUST_CHECK err_t dirobj_remove(int root, const char *name);
/* *fn_err_out is what fn ended the listing with, else 0. */
MUST_CHECK err_t dirobj_list(int root, const char *prefix, store_item_fn *fn, void *ctx, err_t *fn_err_out);
/* Gives a folder of ours in that one the permissions that lack of mode, as the umask may have made them lack. */
void dirobj_open_up(int parent, const char *leaf, mode_t mode);
/* Makes the names in a folder durable. */
MUST_CHECK err_t dirobj_flush_folder(int folder);
/* Removes temporaries older than a day, which crashed writers have left. Failing at it does no harm: it is silent. */
void dirobj_sweep(int root);

/* cleanup handler; *fd may be -1 */
void close_fd(int *fd);

#endif
