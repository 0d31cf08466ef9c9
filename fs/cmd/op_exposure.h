/* op_exposure.h: a store as its owner sees it, as JSON.  Uses exposure.h. */
#ifndef SNUGFS_OP_EXPOSURE_H
#define SNUGFS_OP_EXPOSURE_H

#include <jansson.h>

#include "exposure.h"

/* A new object that has what exposure --json shows, or control_refusal's; NULL: no memory.  progress as exposure_read's. */
json_t *exposure_describe(struct store *store, exposure_progress_fn *progress, void *ctx);

#define EXPOSURE_PROGRESS_TEXT "listing the store"

#endif
