/* status_text.h: a status object (cmd_status.c) as lines for people.  Uses jansson. */
#ifndef SNUGFS_STATUS_TEXT_H
#define SNUGFS_STATUS_TEXT_H

#include <jansson.h>

void status_text_print(const json_t *status);

#define STATUS_LINE_LEN 1024
/* The most important of it in one line. */
void status_text_line(const json_t *status, char out[static STATUS_LINE_LEN]);

#endif
