/* export_source.h: a file of a vault as export.c hands it to an archiver.  Uses archiver.h, meta.h. */
#ifndef SNUGFS_EXPORT_SOURCE_H
#define SNUGFS_EXPORT_SOURCE_H

#include "archiver.h"
#include "meta.h"

/* One file, as it is in the vault. */
struct export_source {
	struct inode i;     /* its pointers are not to be used */
	char *target;
	struct archiver_xattr *xattrs;
	size_t xattr_count;
	struct archiver_range *ranges; /* of data */
	size_t range_count, range_cap;
};
void export_source_clear(struct export_source *s);
/* Into one that is zero; to be cleared also on failure.  -ENOENT: there is no such inode. */
MUST_CHECK err_t export_source_copy(struct meta *m, uint64_t ino, struct export_source *s);

#endif
