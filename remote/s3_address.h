/*
 * s3_address.h: what "s3:https://host[:port]/bucket[/prefix][?region=…&style=path|virtual&plain-http=yes]" means.
 *
 * The region is the one in the address, else that of an amazonaws.com host's name, else AWS_REGION or AWS_DEFAULT_REGION,
 * else us-east-1, until the service names another (s3_client.c).  The style is the one in the address, else "virtual" (the bucket in
 * the host's name) for amazonaws.com if the bucket is called like a host, without a dot, else "path".  http:// is for this computer alone (loopback), unless plain-http=yes.
 * Uses http.h, store.h.
 */
#ifndef SNUGFS_S3_ADDRESS_H
#define SNUGFS_S3_ADDRESS_H

#include <stdbool.h>

#include "err.h"

#define S3_SCHEME "s3:"
#define S3_HOST_MAX 255
#define S3_BUCKET_MAX 255
#define S3_PREFIX_MAX 512
#define S3_REGION_MAX 63

struct s3_address {
	bool tls;
	bool amazon;                       /* AWS itself */
	bool virtual_style;
	bool style_given;
	bool region_given;
	bool plain_http;
	bool loopback;                     /* the service is on this computer */
	char host[S3_HOST_MAX + 8];        /* with the port, if it is not the usual one */
	char bucket[S3_BUCKET_MAX + 1];
	char prefix[S3_PREFIX_MAX + 2];    /* decoded; "" or with a slash at its end */
	char region[S3_REGION_MAX + 1];
};

/* -EINVAL with a sentence, that never repeats what was given: there may be a password in it. */
MUST_CHECK err_t s3_address_parse(const char *url, struct s3_address *out, char **why_out);
/* The one way to write it, malloc'ed; with the region and the style only if they were given. */
MUST_CHECK err_t s3_address_format(const struct s3_address *a, char **out);

#endif
