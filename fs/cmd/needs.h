/* needs.h: what nothing works without, looked at first: else it would be told as a fault of whatever misses it.  Uses tell.h. */
#ifndef SNUGFS_NEEDS_H
#define SNUGFS_NEEDS_H

/* An exit status; 0 also where there is no telling. */
int needs_check(void);

#endif
