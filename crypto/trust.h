/*
 * trust.h: who may open the vault: the fold of signed, numbered, hash-linked statements from the genesis.
 *
 * Statement := CBOR array [ body bytes, signature bytes(64), (genesis only) recovery key's signature bytes(64) ].
 * Body := map { 0: kind, 1: number (0 for the genesis, then one more each), 2: SHA-256 of the previous whole statement
 * (32 zero bytes for the genesis), 3: issuer's member id, 4: time in ns, 5..: by kind }.
 * The signature is Ed25519 by the issuer over "snugfs/1 statement" || vault id (genesis: 32 zeros) || body.
 * The vault id is SHA-256 of the genesis statement.  The genesis is signed by the first device and by the recovery key, so
 * that whoever has only the recovery key knows its own vault.
 *
 * Each member gets a number, in the order of the fold: the first device 0, the recovery key 1, then 2, 3, …; it is never
 * reused and is the upper part of the file ids that the member makes.
 *
 * An invitation is a member for a while: whoever holds its secret may add one device in its place, and nothing else.
 * trust.c has the state and the rules, trust_make.c the making of statements.
 * Uses err.h, identity.h, hash.h, statement.h, bytes.h.
 */
#ifndef SNUGFS_TRUST_H
#define SNUGFS_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"
#include "identity.h"

#define TRUST_NAME_MAX 64 /* bytes of UTF-8 */
#define TRUST_BOX_NAME_MAX 64

enum trust_kind {
	TRUST_GENESIS = 0, /* 5: device {…}, 6: recovery {…}, 7: format floor (1) */
	TRUST_ADD = 1,     /* 5: member {0: kind, 1: sign key, 2: box key, 3: name; invitations: 4: when it expires, in ns,
	                    * 5: name of its key box, 6: SHA-256 of that} */
	TRUST_REMOVE = 2,  /* 5: member id */
	TRUST_EPOCH = 3,   /* 5: epoch number, 6: name of the key box object, 7: its SHA-256 */
	TRUST_RENAME = 4,  /* 5: member id, 6: name */
	TRUST_POLICY = 5,  /* 5: format floor, 6: cipher floor, 7: who may add members: 0 the recovery key, 1 devices, too */
};

enum member_kind {
	MEMBER_DEVICE = 0,
	MEMBER_RECOVERY = 1,
	MEMBER_INVITATION = 2,
};

struct trust_member {
	uint8_t id[IDENTITY_ID_LEN];
	struct identity_public pub;
	enum member_kind kind;
	uint32_t number;
	char name[TRUST_NAME_MAX + 1];
	uint64_t added_ns;
	uint8_t added_by[IDENTITY_ID_LEN];
	bool removed;
	uint64_t removed_ns;
	uint8_t removed_by[IDENTITY_ID_LEN];
	/* of an invitation only: it may do nothing after that, and finds the epoch key of when it was made in that box */
	uint64_t expires_ns;
	char box_name[TRUST_BOX_NAME_MAX + 1];
	uint8_t box_sha256[32];
};

/*
 * What all devices agreed never to go below.  Any member may tighten it; only the recovery key loosens it, so that neither
 * the store nor a stolen device can.
 */
struct trust_policy {
	uint32_t format_floor; /* objects of an older format are refused */
	uint32_t cipher_floor; /* the same for cipher suites */
	bool devices_may_add;  /* false: new members by the recovery key alone */
};

/* The folded state.  Not thread-safe. */
struct trust;
MUST_CHECK err_t trust_new(struct trust **out);
MUST_CHECK err_t trust_clone(const struct trust *t, struct trust **out);
void trust_free(struct trust *t);
void trust_free_ptr(struct trust **t);

/*
 * Checks one statement against the state and folds it in; on failure the state is unmodified.
 * -EBADMSG: not well-formed, not the next in the hash chain, or not signed by its issuer; -EPERM: the issuer may not say
 * that (not a member, removed, a device removing the recovery key, the last way in removed, an epoch that is not the
 * next); -EPROTO: an unknown kind or a format above what this program knows.
 * Rules: only the recovery key may remove or replace itself, or loosen the policy; a removal must be followed by an epoch
 * statement.  An invitation says just two things, by the time when it expires and without anything in between: that a device
 * is added, and that it is itself removed.  Devices and the recovery key give out invitations and withdraw them; they count as
 * no way in, may do no more than whoever gave them out, and go with it.
 */
MUST_CHECK err_t trust_apply(struct trust *t, const uint8_t *statement, size_t len);

/* SHA-256 of the last statement, borrowed; zeros before the genesis. */
const uint8_t *trust_head(const struct trust *t);
/* 32 bytes; NULL before the genesis. */
const uint8_t *trust_vault_id(const struct trust *t);
size_t trust_member_count(const struct trust *t); /* removed ones included; by number */
const struct trust_member *trust_member_at(const struct trust *t, size_t i);
const struct trust_member *trust_member_find(const struct trust *t, const uint8_t id[static IDENTITY_ID_LEN]);
/* The recovery key that is in force; NULL if none. */
const struct trust_member *trust_recovery(const struct trust *t);
/* The statements so far, in order, as they were applied. */
size_t trust_statement_count(const struct trust *t);
void trust_statement_at(const struct trust *t, size_t i, const uint8_t **data_out, size_t *len_out);
/* The current epoch and its key box; -ENOENT before the first epoch statement.  box_name borrowed. */
MUST_CHECK err_t trust_epoch(const struct trust *t, uint32_t *epoch_out, const char **box_name_out,
    uint8_t box_sha256_out[static 32]);
/* As trust_epoch for an earlier one. */
MUST_CHECK err_t trust_epoch_at(const struct trust *t, uint32_t epoch, const char **box_name_out,
    uint8_t box_sha256_out[static 32]);
/* Does a statement, of which nothing is checked but its form, name that key box, as the one of an epoch or of an invitation? */
bool trust_names_box(const uint8_t *statement, size_t len, const char *box_name, const uint8_t box_sha256[static 32]);
/* A removal stands that no epoch statement has followed yet, or an invitation has not said all it has to. */
bool trust_needs_epoch(const struct trust *t);

/* 1, 1 and true until a statement says otherwise. */
const struct trust_policy *trust_policy(const struct trust *t);

/* Making statements: each appends one whole statement to out; none is applied. -EINVAL for a name that is empty, too
 * long, or not printable UTF-8. */
MUST_CHECK err_t trust_make_genesis(const struct identity *device, const char *device_name,
    const struct identity *recovery, uint64_t time_ns, struct bytes *out);
/* kind: not an invitation. */
MUST_CHECK err_t trust_make_add(const struct trust *t, const struct identity *issuer, enum member_kind kind,
    const struct identity_public *member, const char *name, uint64_t time_ns, struct bytes *out);
MUST_CHECK err_t trust_make_invite(const struct trust *t, const struct identity *issuer, const struct identity_public *guest,
    const char *name, uint64_t expires_ns, const char *box_name, const uint8_t box_sha256[static 32], uint64_t time_ns,
    struct bytes *out);
MUST_CHECK err_t trust_make_remove(const struct trust *t, const struct identity *issuer,
    const uint8_t member_id[static IDENTITY_ID_LEN], uint64_t time_ns, struct bytes *out);
MUST_CHECK err_t trust_make_epoch(const struct trust *t, const struct identity *issuer, uint32_t epoch,
    const char *box_name, const uint8_t box_sha256[static 32], uint64_t time_ns, struct bytes *out);
MUST_CHECK err_t trust_make_rename(const struct trust *t, const struct identity *issuer,
    const uint8_t member_id[static IDENTITY_ID_LEN], const char *name, uint64_t time_ns, struct bytes *out);
MUST_CHECK err_t trust_make_policy(const struct trust *t, const struct identity *issuer, const struct trust_policy *p,
    uint64_t time_ns, struct bytes *out);

#endif
