/* compress.c: zstd with one context a thread, because making one costs more than compressing a small file. */
#include "compress.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <zstd.h>
#include <zstd_errors.h>

#define LEVEL 3

struct contexts {
	ZSTD_CCtx *compress;
	ZSTD_DCtx *decompress;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t contexts_of_thread;
static err_t once_error;

static void
contexts_free(void *p)
{
	struct contexts *c = p;

	ZSTD_freeCCtx(c->compress);
	ZSTD_freeDCtx(c->decompress);
	free(c);
}

static void
make_key(void)
{
	once_error = -pthread_key_create(&contexts_of_thread, contexts_free);
}

/* The calling thread's; NULL when out of memory. */
static struct contexts *
contexts_get(void)
{
	pthread_once(&once, make_key);
	if (once_error)
		return NULL;

	struct contexts *c = pthread_getspecific(contexts_of_thread);

	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->compress = ZSTD_createCCtx();
	c->decompress = ZSTD_createDCtx();
	if (!c->compress || !c->decompress || pthread_setspecific(contexts_of_thread, c)) {
		contexts_free(c);
		return NULL;
	}
	return c;
}

static err_t
compress_error(size_t result)
{
	ZSTD_ErrorCode code = ZSTD_getErrorCode(result);

	if (code == ZSTD_error_dstSize_tooSmall)
		return -E2BIG;
	return code == ZSTD_error_memory_allocation ? -ENOMEM : -EIO;
}

static err_t
decompress_error(size_t result)
{
	return ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation ? -ENOMEM : -EBADMSG;
}

err_t
compress_block(const void *data, size_t len, uint8_t *out, size_t out_cap, size_t *len_out)
{
	struct contexts *c = contexts_get();

	if (!c)
		return -ENOMEM;

	size_t n = ZSTD_compressCCtx(c->compress, out, out_cap, data, len, LEVEL);

	if (ZSTD_isError(n))
		return compress_error(n);
	*len_out = n;
	return 0;
}

err_t
decompress_block(const uint8_t *data, size_t len, void *out, size_t out_len)
{
	struct contexts *c = contexts_get();

	if (!c)
		return -ENOMEM;

	size_t n = ZSTD_decompressDCtx(c->decompress, out, out_len, data, len);

	if (ZSTD_isError(n))
		return decompress_error(n);
	return n == out_len ? 0 : -EBADMSG;
}

err_t
compress_buffer(const void *data, size_t len, struct bytes *out)
{
	size_t old_len = out->len;
	size_t bound = ZSTD_compressBound(len);
	uint8_t *at;

	if (ZSTD_isError(bound))
		return -E2BIG;

	err_t e = bytes_extend(out, bound, &at);

	if (e)
		return e;

	size_t n = 0;

	e = compress_block(data, len, at, bound, &n);
	out->len = old_len + n;
	return e;
}

err_t
decompress_buffer(const uint8_t *data, size_t len, size_t max_len, struct bytes *out)
{
	/* compress_buffer always writes the length; what lacks it is not ours.  The length is a claim: bounded first. */
	unsigned long long claimed = ZSTD_getFrameContentSize(data, len);

	if (claimed == ZSTD_CONTENTSIZE_UNKNOWN || claimed == ZSTD_CONTENTSIZE_ERROR || claimed > max_len)
		return -EBADMSG;

	size_t old_len = out->len;
	uint8_t *at;
	err_t e = bytes_extend(out, (size_t)claimed, &at);

	if (e)
		return e;
	e = decompress_block(data, len, at, (size_t)claimed);
	if (e)
		out->len = old_len;
	return e;
}
