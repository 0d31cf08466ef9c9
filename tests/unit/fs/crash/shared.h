/* shared.h: what two devices do at the same time in a folder that both have, named "shared". */
#ifndef CRASH_SHARED_H
#define CRASH_SHARED_H

#include "image.h"
#include "vfs.h"

/* A random change of a random file there. */
MUST_CHECK err_t shared_change(struct vfs *v, struct rng *r);

#endif
