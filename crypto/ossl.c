/* ossl.c: OpenSSL's error queue, translated. */
#include "ossl.h"

#include <errno.h>
#include <stdbool.h>

#include <openssl/err.h>

err_t
ossl_failure(void)
{
	bool no_memory = ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;

	ERR_clear_error();
	return no_memory ? -ENOMEM : -EIO;
}
