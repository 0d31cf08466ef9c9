/* status_text.h: a status object (cmd_status.c) as lines for people.  Uses jansson. */
#ifndef SNUGFS_STATUS_TEXT_H
#define SNUGFS_STATUS_TEXT_H

#include <jansson.h>

void status_text_print(const json_t *status);

#endif
