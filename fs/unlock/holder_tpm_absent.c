/* holder_tpm_absent.c: a build without tpm2-tss. */
#include <errno.h>

#include "holder_internal.h"

static err_t
refuse(struct holder_exchange *x)
{
	return apart_fail(&x->room, -ENOTSUP, "this snugfs was built without tpm2-tss, so it cannot ask the TPM: unlock in another "
	    "way, or install a build with it");
}

err_t
holder_tpm_put(struct holder_exchange *x, const struct holder_item *item, const struct holder_pin *pin)
{
	(void)item;
	(void)pin;
	return refuse(x);
}

err_t
holder_tpm_get(struct holder_exchange *x, const struct holder_pin *pin)
{
	(void)pin;
	return refuse(x);
}

err_t
holder_tpm_drop(struct holder_exchange *x)
{
	return refuse(x);
}
