/* err.c: the cleanup handler of the error convention. */
#include "err.h"

#include <stdlib.h>
#include <string.h>

void
free_ptr(void *p_to_pointer)
{
	void *p;

	/* The variable is a T *, not a void *: read it as bytes, whatever T is. */
	memcpy(&p, p_to_pointer, sizeof(p));
	free(p);
}
