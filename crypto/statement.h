/*
 * statement.h: the written form of one trust statement (trust.h has the layout): encoding, decoding, signatures.  It knows
 * nothing of who may say what: that is trust.c, its only user.
 * Uses err.h, identity.h, cborio.h, bytes.h.
 */
#ifndef SNUGFS_STATEMENT_H
#define SNUGFS_STATEMENT_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"
#include "identity.h"
#include "trust.h"

#define STATEMENT_FORMAT 1
#define STATEMENT_CIPHER 1

struct statement_member {
	enum member_kind kind;
	struct identity_public pub;
	char name[TRUST_NAME_MAX + 1];
	/* of an invitation only */
	uint64_t expires_ns;
	char box_name[TRUST_BOX_NAME_MAX + 1];
	uint8_t box_sha256[32];
};

/* One statement, taken apart.  The fields from member on belong to the kinds named beside them and are else zero. */
struct statement {
	enum trust_kind kind;
	uint64_t number;
	uint8_t previous[32];
	uint8_t issuer[IDENTITY_ID_LEN];
	uint64_t time_ns;

	struct statement_member member;   /* genesis (the first device), add */
	struct statement_member recovery; /* genesis */
	uint8_t subject[IDENTITY_ID_LEN]; /* remove, rename */
	char name[TRUST_NAME_MAX + 1];    /* rename */
	uint32_t epoch;                   /* epoch, and the two below */
	char box_name[TRUST_BOX_NAME_MAX + 1];
	uint8_t box_sha256[32];
	struct trust_policy policy;       /* policy */

	const uint8_t *body; /* what is signed; borrowed from what was parsed; not used when writing */
	size_t body_len;
	uint8_t signature[IDENTITY_SIG_LEN];
	uint8_t recovery_signature[IDENTITY_SIG_LEN]; /* genesis */
};

/* -EINVAL unless name is 1 to TRUST_NAME_MAX bytes of UTF-8 without control characters; else copied. */
MUST_CHECK err_t statement_set_name(const char *name, char out[static TRUST_NAME_MAX + 1]);
/* -EINVAL unless name is "k/" and up to 62 of [0-9a-z-]; else copied. */
MUST_CHECK err_t statement_set_box_name(const char *name, char out[static TRUST_BOX_NAME_MAX + 1]);

/* -EBADMSG: not well-formed; -EPROTO: a kind of statement or member, or a format, that is not known. */
MUST_CHECK err_t statement_parse(const uint8_t *data, size_t len, struct statement *out);
/* -EBADMSG unless sign_pub made this signature (one of the statement's own two). vault_id: zeros for the genesis. */
MUST_CHECK err_t statement_verify(const struct statement *s, const uint8_t signature[static IDENTITY_SIG_LEN],
    const uint8_t vault_id[static 32], const uint8_t sign_pub[static 32]);
/* Signs and appends; the issuer's id is filled in.  recovery: the genesis' second signer, else NULL. */
MUST_CHECK err_t statement_write(const struct statement *s, const struct identity *issuer,
    const struct identity *recovery, const uint8_t vault_id[static 32], struct bytes *out);

#endif
