/* folder.h: a folder that files are written out to.  Uses tell.h. */
#ifndef SNUGFS_FOLDER_H
#define SNUGFS_FOLDER_H

/* It is there, and empty; made, for its owner alone, if it was not.  An exit status (tell.h). */
int folder_make_empty(const char *path);

#endif
