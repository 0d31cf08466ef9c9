/* folder.h: a folder that files are written out to, or that a store moves into.  Uses tell.h. */
#ifndef SNUGFS_FOLDER_H
#define SNUGFS_FOLDER_H

#include <stdbool.h>

/* Is anything in it but what a store puts there?  Not if it has a store's marker, or is not there. */
bool folder_has_foreign(const char *path);

/* It is there, and empty; made, for its owner alone, if it was not.  An exit status (tell.h). */
int folder_make_empty(const char *path);

#endif
