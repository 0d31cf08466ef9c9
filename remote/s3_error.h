/*
 * s3_error.h: what a service's refusal means: from the status and the code in its body to an error of store.h, and to the
 * words for people.  Uses store.h.
 */
#ifndef SNUGFS_S3_ERROR_H
#define SNUGFS_S3_ERROR_H

#include "err.h"

enum s3_remedy {
	S3_REMEDY_NONE,
	S3_REMEDY_NEW_KEYS,  /* look for the credentials again: they may have been replaced */
	S3_REMEDY_SET_CLOCK, /* sign with the time of the answer */
	S3_REMEDY_REGION,    /* sign for the region of the answer: the right service was asked */
};

struct s3_error {
	err_t err;
	enum s3_remedy remedy;
	const char *words; /* behind "the store URL"; static */
};

/* status is not one of success; code may be "". */
struct s3_error s3_error_judge(int status, const char *code);

#endif
