/*
 * place.h: a directory for these tests' vaults: in memory where there is enough, since real flushes would only take time; or in
 * $SNUGFS_CRASH_DIR, to see them on a file system that has what memory has not.
 */
#ifndef CRASH_PLACE_H
#define CRASH_PLACE_H

#define PLACE_LEN 256

void place_make(void);
void place_remove(void);
void place_path(const char *name, char out[static PLACE_LEN]);
void place_empty(const char *name); /* removes what has that name, and a neighbour "NAME-again" */
void place_copy(const char *from, const char *to); /* a vault that nobody has open */
unsigned place_setting(const char *variable, unsigned otherwise); /* a number from the environment */
/* The engine's complaints go nowhere between the two. */
void place_hush(void);
void place_speak(void);

#endif
