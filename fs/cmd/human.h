/* human.h: numbers and foreign text as people read them.  Uses jansson. */
#ifndef SNUGFS_HUMAN_H
#define SNUGFS_HUMAN_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define HUMAN_BYTES_LEN 24
#define HUMAN_COUNT_LEN 64

/* "4096 bytes", "1.5 MiB", … */
void human_bytes(uint64_t bytes, char out[static HUMAN_BYTES_LEN]);
/* "1 file", "2 files" */
void human_count(uint64_t count, const char *thing, char out[static HUMAN_COUNT_LEN]);
/*
 * Names of files and devices are somebody else's words: each control character (C0, DEL, C1) becomes a question mark, so that
 * nothing in them is an order to the terminal.  The second: in all strings of a value.
 */
void human_tame(char *text);
void human_tame_json(json_t *value);
/*
 * A path, or a sentence that may name one and may have been cut off anywhere, as a JSON string: what is no UTF-8 becomes \xNN.  NULL:
 * no memory.  (jansson makes no string of what is no UTF-8, and nothing that such a string was to be in.)
 */
json_t *human_path(const char *path);

#endif
