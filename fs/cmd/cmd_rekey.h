/* cmd_rekey.h: what a rekeying has come to, for people.  Uses jansson. */
#ifndef SNUGFS_CMD_REKEY_H
#define SNUGFS_CMD_REKEY_H

#include <jansson.h>

/* Of op_rekey_begin's answer; an exit status. */
int cmd_rekey_print(const json_t *answer);

#endif
