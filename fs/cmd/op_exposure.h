/* op_exposure.h: a store as its owner sees it, as JSON.  Uses store.h. */
#ifndef SNUGFS_OP_EXPOSURE_H
#define SNUGFS_OP_EXPOSURE_H

#include <jansson.h>

#include "store.h"

/* A new object that has what exposure --json shows, or control_refusal's; NULL: no memory. */
json_t *exposure_describe(struct store *store);

#endif
