/*
 * s3_xml.h: the two documents that S3 answers with: an error, and a page of a listing (ListObjectsV2).  They come from
 * whoever runs the store: depth and sizes are bounded, declarations of types and entities are refused.  Uses bytes.h, library.h, expat.
 */
#ifndef SNUGFS_S3_XML_H
#define SNUGFS_S3_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define S3_XML_CODE_MAX 64
#define S3_XML_KEY_MAX 1024   /* decoded; the longest that S3 permits */
#define S3_XML_TOKEN_MAX 4096
#define S3_XML_PAGE_MAX 10000 /* ten times what a page may hold */

/* Only letters, digits, dots and dashes; "" if there was none, or another. */
struct s3_xml_error {
	char code[S3_XML_CODE_MAX];
	char region[S3_XML_CODE_MAX]; /* where the bucket is, if the error says so */
};
/* Never fails: what is no error document has no code. */
void s3_xml_parse_error(const uint8_t *text, size_t len, struct s3_xml_error *out);

struct s3_xml_object {
	char *key;
	uint64_t size;
	int64_t time_s; /* LastModified; 0: none that can be read */
};

/* Zero-initialise. */
struct s3_xml_page {
	struct s3_xml_object *objects;
	size_t count;
	bool truncated;
	char *next_token; /* not NULL if truncated */
};
void s3_xml_page_clear(struct s3_xml_page *p);
/* -EBADMSG: not a whole, sound page.  -ELIBACC, -ELIBBAD: expat is not there (library.h). */
MUST_CHECK err_t s3_xml_parse_page(const uint8_t *text, size_t len, struct s3_xml_page *out);

#endif
