/*
 * db_touch.h: reads rows of meta.db and forgets them.  Whoever is going to read them under a lock finds them in the kernel's cache
 * then, and nobody waits for the disk meanwhile.  What goes wrong is nobody's business here: whoever reads the row meets it.
 *
 * Two connections of its own, opened when they are first wanted; any thread, without any lock.  For db.c only.
 */
#ifndef SNUGFS_DB_TOUCH_H
#define SNUGFS_DB_TOUCH_H

#include <stdint.h>

#include "db.h"

struct db_touch;
MUST_CHECK err_t db_touch_new(const char *path, struct db_touch **out);
void db_touch_free(struct db_touch *t);
/* DB_INODE; or those of DB_CHUNK or DB_CHUNK_PART from b to last_b. */
void db_touch_read(struct db_touch *t, enum db_table table, uint64_t a, uint64_t b, uint64_t last_b);
/* Names of a directory: with that hash, and the first so many. */
void db_touch_read_names(struct db_touch *t, uint64_t parent, int64_t hash, unsigned limit);

#endif
