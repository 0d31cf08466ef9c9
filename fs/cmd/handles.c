/* handles.c: lets go of descriptors and JSON values. */
#include "handles.h"

#include <unistd.h>

void
handle_close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

void
handle_free_json(json_t **value)
{
	json_decref(*value);
}
