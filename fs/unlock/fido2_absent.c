/* fido2_absent.c: a build without libfido2. */
#include <errno.h>

#include "fido2_internal.h"

err_t
fido2_do(struct fido2_exchange *x, const struct fido2_task *t)
{
	(void)t;
	return apart_fail(&x->room, -ENOTSUP, "this snugfs was built without libfido2, so it cannot ask a security key: unlock in "
	    "another way, or install a build with it");
}
