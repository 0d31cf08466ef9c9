/* handles.h: cleanup handlers (err.h) for what the commands hold: descriptors and JSON values.  Uses jansson. */
#ifndef SNUGFS_HANDLES_H
#define SNUGFS_HANDLES_H

#include <jansson.h>

/* -1: none. */
void handle_close_fd(int *fd);
void handle_free_json(json_t **value);

#endif
