/*
 * s3_credentials.h: the keys to a bucket, in secret memory.  They come from the caller, else from the environment
 * (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), else from a profile (AWS_PROFILE, else "default") of the
 * shared credentials file (AWS_SHARED_CREDENTIALS_FILE, else ~/.aws/credentials).  Uses store.h, secmem.h, inih.
 */
#ifndef SNUGFS_S3_CREDENTIALS_H
#define SNUGFS_S3_CREDENTIALS_H

#include <stdbool.h>

#include "store.h"

#define S3_ACCESS_KEY_MAX 255
#define S3_SECRET_KEY_MAX 255
#define S3_SESSION_TOKEN_MAX 4095

struct s3_credentials {
	char access_key[S3_ACCESS_KEY_MAX + 1];
	char secret_key[S3_SECRET_KEY_MAX + 1];
	char session_token[S3_SESSION_TOKEN_MAX + 1]; /* "": none */
};

/* given may be NULL.  -EACCES with a sentence: there are none, or only half of them.  Free with secmem_free. */
MUST_CHECK err_t s3_credentials_find(const struct store_credentials *given, struct s3_credentials **out, char **why_out);
bool s3_credentials_equal(const struct s3_credentials *a, const struct s3_credentials *b);

#endif
