/*
 * securitykey.h: FIDO2 security keys as people meet them: which one is plugged in, its PIN, and when to touch it.
 * Functions that return int return exit statuses (tell.h).  Uses method.h, prompt.h, fido2.h.
 */
#ifndef SNUGFS_SECURITYKEY_H
#define SNUGFS_SECURITYKEY_H

#include <stdbool.h>

#include "devicefile.h"
#include "method.h"
#include "options.h"
#include "place.h"

/* A slot of the key that is plugged in, or that --security-key names; with its PIN if it has one.  Writes the file. */
int securitykey_add(struct method *m);

/*
 * Opens df by a security key that is plugged in.  0 and not *opened_out: it did not, which was said, and there is another way to try;
 * is_last says that there is none.  A wrong PIN is a failure in any case: who mistyped it tries again.
 */
int securitykey_open(const struct options *o, const struct place *p, struct devicefile *df, bool is_last, bool *opened_out);

#endif
