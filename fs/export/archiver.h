/*
 * archiver.h: files on their way out of a vault, into a folder or a tar stream (pax interchange format).  This file's .c owns
 * libarchive.  Not thread-safe.  Uses err.h.
 */
#ifndef SNUGFS_ARCHIVER_H
#define SNUGFS_ARCHIVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "err.h"

struct archiver_xattr {
	const char *name;
	const uint8_t *value;
	size_t len;
};
struct archiver_range {
	uint64_t off;
	uint64_t len;
};

/* An entry; all is borrowed. */
struct archiver_entry {
	const char *path;   /* relative, without a leading slash; "." is the top */
	const char *link;   /* an entry before, of which this is another name; NULL: none */
	const char *target; /* symbolic links */
	uint32_t mode;
	uint32_t uid, gid;
	uint64_t rdev;
	uint64_t size;
	struct timespec mtime;
	const struct archiver_xattr *xattrs;
	size_t xattr_count;
	const struct archiver_range *data; /* where a sparse file has any, ascending; NULL: everywhere */
	size_t data_count;
};

struct archiver;
/*
 * Into the working directory, which should be empty.  owners: give files to their owners, which only root may.  Nothing is
 * written outside of it.  -ELIBACC, -ELIBBAD: there is no libarchive here (library.h).
 */
MUST_CHECK err_t archiver_new_folder(bool owners, struct archiver **out);
MUST_CHECK err_t archiver_new_tar(int fd, struct archiver **out);
/* Of folders: sets what of them had to wait.  0: all is on the disk, or in the pipe; else why what was written is not whole. */
MUST_CHECK err_t archiver_finish(struct archiver *a);
void archiver_free(struct archiver *a);
void archiver_free_ptr(struct archiver **a);
/* The last error in words; "" if there are none. */
const char *archiver_why(const struct archiver *a);

/* Begins an entry.  -ENOTSUP: a kind of file that the tar format does not have (sockets): nothing was written. */
MUST_CHECK err_t archiver_begin(struct archiver *a, const struct archiver_entry *e);
/* Of a regular file, offsets ascending; what is left out is a hole, or zeros. */
MUST_CHECK err_t archiver_write(struct archiver *a, uint64_t off, const uint8_t *data, size_t len);
/* Ends it. */
MUST_CHECK err_t archiver_end(struct archiver *a);
/* Ends it as a failure: in a folder it is gone; in a stream what is missing becomes zeros. */
MUST_CHECK err_t archiver_give_up(struct archiver *a);

#endif
