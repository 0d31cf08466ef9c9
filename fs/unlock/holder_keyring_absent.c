/* holder_keyring_absent.c: a build without libsecret. */
#include <errno.h>

#include "holder_internal.h"

static err_t
refuse(struct holder_exchange *x)
{
	return apart_fail(&x->room, -ENOTSUP, "this snugfs was built without libsecret, so it cannot ask the keyring: unlock in another "
	    "way, or install a build with it");
}

err_t
holder_keyring_put(struct holder_exchange *x, const struct holder_item *item)
{
	(void)item;
	return refuse(x);
}

err_t
holder_keyring_get(struct holder_exchange *x)
{
	return refuse(x);
}

err_t
holder_keyring_drop(struct holder_exchange *x)
{
	return refuse(x);
}
