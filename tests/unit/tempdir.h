/*
 * tempdir.h: a folder of a test's own, and its end.  For tests.
 */
#ifndef SNUGFS_TEMPDIR_H
#define SNUGFS_TEMPDIR_H

#include <ftw.h>
#include <stdio.h>

static inline int
tempdir_remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	(void)remove(path);
	return 0;
}

/* With all that is in it; what is not there is fine. */
static inline void
tempdir_remove(const char *path)
{
	(void)nftw(path, tempdir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
