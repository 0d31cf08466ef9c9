/*
 * mount_table.h: the kernel's table of mounts, line by line (proc(5)).  Not by getmntent(3): that leaves a '#' in a source, such as a
 * vault's folder, as the kernel writes it (\043), and cuts long lines.  Uses nothing.
 */
#ifndef SNUGFS_MOUNT_TABLE_H
#define SNUGFS_MOUNT_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#define MOUNT_TABLE_SELF "/proc/self/mounts"

struct mount_table {
	const char *source, *place, *type; /* of the line that was read last; good until the next */
	FILE *file;
	char *line;
	size_t capacity;
};

/* path: MOUNT_TABLE_SELF, or the same of another process.  False, and nothing to be closed: it cannot be read. */
bool mount_table_open(struct mount_table *t, const char *path);
/* False: there is no further line. */
bool mount_table_next(struct mount_table *t);
/* Also of one that is all zeros. */
void mount_table_close(struct mount_table *t);

#endif
