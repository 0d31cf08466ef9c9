/*
 * codetext.h: secret bytes as people write them down: Crockford base 32 in groups of four, with check symbols that find a
 * typo.
 *
 * The symbols are one or several interleaved words (symbol i belongs to word i mod ways) of a shortened Reed-Solomon code
 * over GF(32), each with two check symbols at its end.  So in each word one wrong character is found and located, and any
 * two are noticed.  Uses err.h.
 */
#ifndef SNUGFS_CODETEXT_H
#define SNUGFS_CODETEXT_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* What is written: how many bytes, in how many words of the code. */
struct codetext_form {
	unsigned len;
	unsigned ways;
};

#define CODETEXT_MAX_SYMBOLS 36u
/* For a form with that many symbols: characters and hyphens, without the NUL. */
#define CODETEXT_LEN(symbols) ((symbols) + ((symbols)-1) / 4)

struct codetext_fault {
	enum {
		CODETEXT_FAULT_NONE,
		CODETEXT_FAULT_LENGTH,    /* count: how many symbols there are */
		CODETEXT_FAULT_CHARACTER, /* group (from 1), position in it (1..4), character: one that is never used */
		CODETEXT_FAULT_TYPO,      /* group, position, character that is there, expected: what it should probably be */
		CODETEXT_FAULT_CHECKSUM,  /* more than one character of a word is wrong; where is not known */
	} kind;
	unsigned group;
	unsigned position;
	unsigned count;
	char character;
	char expected;
};

/* text_out gets CODETEXT_LEN(symbols) characters and a NUL. */
void codetext_format(const struct codetext_form *form, const uint8_t *data, char *text_out);
/*
 * Reads what a person typed: any case, spaces and hyphens anywhere, O for 0, I and L for 1.
 * -EINVAL when it is not a text of that form; then *fault says where.  Nothing is ever corrected silently.
 */
MUST_CHECK err_t codetext_parse(const struct codetext_form *form, const char *text, uint8_t *data_out,
    struct codetext_fault *fault);
/* How many symbols somebody typed, usable or not: tells a key from a share. */
unsigned codetext_count(const char *text);

#endif
