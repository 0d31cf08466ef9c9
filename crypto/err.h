/*
 * err.h: the one error convention, and the cleanup attribute.
 *
 * Every fallible function returns err_t: 0, or a negative errno.  -EBADMSG means "did not authenticate" (or is not
 * what it claims to be), -EPROTO "authentic or not, it is of a version or shape that this program does not know",
 * -ENOENT "not there", -EAGAIN "try again".  A failed call leaves its outputs and objects as they were.
 * Uses nothing.
 */
#ifndef SNUGFS_ERR_H
#define SNUGFS_ERR_H

#include <stddef.h>

typedef int err_t;

#define MUST_CHECK __attribute__((warn_unused_result))
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Hands a pointer out of a local that cleans itself up: `*out = STEAL(local)`. */
#define STEAL(p) (__extension__({ __typeof__(p) stolen_ = (p); (p) = NULL; stolen_; }))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* cleanup handler for `CLEANUP(free_ptr) T *p = NULL;` */
void free_ptr(void *p_to_pointer);

#endif
