/*
 * changes_array.h: the growing arrays of changes.h, for changes.c and changes_decode.c.  Uses changes.h.
 */
#ifndef SNUGFS_CHANGES_ARRAY_H
#define SNUGFS_CHANGES_ARRAY_H

#include "changes.h"

/* A zeroed element at the end of an array that has only ever grown by this, or NULL: then nothing has changed. */
void *changes_grow(void **array, uint32_t *count, size_t element_len);

#define CHANGES_GROW(array, count)                                                       \
	(__extension__({                                                                 \
		void *grown_ = (array);                                                  \
		void *element_ = changes_grow(&grown_, &(count), sizeof(*(array)));      \
		(array) = grown_;                                                        \
		(__typeof__(array))element_;                                             \
	}))

/* By parent, then by the bytes of the name. */
int changes_compare_dentries(const void *a, const void *b);
/* By the bytes of the name. */
int changes_compare_drops(const void *a, const void *b);

#endif
