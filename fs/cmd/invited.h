/* invited.h: joining by an invitation, for the command join.  Uses options.h. */
#ifndef SNUGFS_INVITED_H
#define SNUGFS_INVITED_H

#include "options.h"

/* Reads the invitation (--invitation-file, else it is asked for) and makes this computer a device.  An exit status (tell.h). */
int invited_join(const struct options *o);

#endif
