/* keyfile.h: the content of a key file.  Uses bytes.h, devicefile.h. */
#ifndef SNUGFS_KEYFILE_H
#define SNUGFS_KEYFILE_H

#include "bytes.h"

/* All of it, 32 bytes to 1 MiB; out is wiped when it is cleared.  Returns an exit status (tell.h). */
int keyfile_read(const char *path, struct bytes *out);

#endif
