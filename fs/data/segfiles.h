/*
 * segfiles.h: the open segment files: a cache of descriptors, shared by all who read or write at the same time.
 * Thread-safe.  Uses disk.h, uthash.
 */
#ifndef SNUGFS_SEGFILES_H
#define SNUGFS_SEGFILES_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/* At most that many are kept open while nobody uses them. */
#define SEGFILES_IDLE_MAX 64
#define SEGFILES_NAME_LEN 17 /* 16 hex digits, NUL */

struct segfiles;
struct segfile;

/* dirfd is borrowed. */
MUST_CHECK err_t segfiles_new(int dirfd, struct segfiles **out);
void segfiles_free(struct segfiles *sf); /* nobody uses a file any more */
void segfiles_name(uint64_t seg, char out[static SEGFILES_NAME_LEN]);
/* Is it the name of a segment's file?  Of which? */
bool segfiles_parse_name(const char *name, uint64_t *seg_out);

/* The file of a segment, open for reading and writing, until it is put back.  -ENODATA: there is none. */
MUST_CHECK err_t segfiles_get(struct segfiles *sf, uint64_t seg, struct segfile **out);
/* A new, empty file.  One that is there already was left behind by a crash before its number was committed: it goes. */
MUST_CHECK err_t segfiles_create(struct segfiles *sf, uint64_t seg, struct segfile **out);
void segfiles_put(struct segfiles *sf, struct segfile *f);
int segfile_fd(const struct segfile *f);
/* The same file past the kernel's cache (disk_open_direct); -1 where that can't be had: then do without. */
int segfiles_direct_fd(struct segfiles *sf, struct segfile *f);
/* The file system took the descriptor but not the data: from now on there is none. */
void segfiles_refuse_direct(struct segfiles *sf);

/* Removes the file; who uses it still keeps it.  One that is not there is no error. */
MUST_CHECK err_t segfiles_remove(struct segfiles *sf, uint64_t seg);

#endif
