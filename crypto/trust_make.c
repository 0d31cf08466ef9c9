/*
 * trust_make.c: statements as they are said: filled in, numbered, linked to the one before, signed.  Whether one may say them is
 * told by trust_apply alone.
 */
#include "trust.h"

#include <errno.h>
#include <string.h>

#include "statement.h"

static const uint8_t zeros[32];

static err_t make_next(const struct trust *t, const struct identity *issuer, struct statement *s, struct bytes *out)
{
	const uint8_t *vault_id = trust_vault_id(t);
	if (vault_id == NULL)
		return -EINVAL;
	s->number = trust_statement_count(t);
	memcpy(s->previous, trust_head(t), sizeof(s->previous));
	return statement_write(s, issuer, NULL, vault_id, out);
}

err_t trust_make_genesis(const struct identity *device, const char *device_name, const struct identity *recovery,
    uint64_t time_ns, struct bytes *out)
{
	struct statement s = {
	    .kind = TRUST_GENESIS,
	    .time_ns = time_ns,
	    .member = {.kind = MEMBER_DEVICE, .pub = *identity_public(device)},
	    .recovery = {.kind = MEMBER_RECOVERY, .pub = *identity_public(recovery), .name = "recovery key"},
	};
	err_t err = statement_set_name(device_name, s.member.name);
	return err != 0 ? err : statement_write(&s, device, recovery, zeros, out);
}

err_t trust_make_add(const struct trust *t, const struct identity *issuer, enum member_kind kind,
    const struct identity_public *member, const char *name, uint64_t time_ns, struct bytes *out)
{
	struct statement s = {.kind = TRUST_ADD, .time_ns = time_ns, .member = {.kind = kind, .pub = *member}};
	if (kind == MEMBER_INVITATION)
		return -EINVAL;
	err_t err = statement_set_name(name, s.member.name);
	return err != 0 ? err : make_next(t, issuer, &s, out);
}

err_t trust_make_invite(const struct trust *t, const struct identity *issuer, const struct identity_public *guest,
    const char *name, uint64_t expires_ns, const char *box_name, const uint8_t box_sha256[static 32], uint64_t time_ns,
    struct bytes *out)
{
	struct statement s = {
	    .kind = TRUST_ADD,
	    .time_ns = time_ns,
	    .member = {.kind = MEMBER_INVITATION, .pub = *guest, .expires_ns = expires_ns},
	};
	memcpy(s.member.box_sha256, box_sha256, sizeof(s.member.box_sha256));
	err_t err;
	if ((err = statement_set_name(name, s.member.name)) || (err = statement_set_box_name(box_name, s.member.box_name)))
		return err;
	return make_next(t, issuer, &s, out);
}

err_t trust_make_remove(const struct trust *t, const struct identity *issuer,
    const uint8_t member_id[static IDENTITY_ID_LEN], uint64_t time_ns, struct bytes *out)
{
	struct statement s = {.kind = TRUST_REMOVE, .time_ns = time_ns};
	memcpy(s.subject, member_id, sizeof(s.subject));
	return make_next(t, issuer, &s, out);
}

err_t trust_make_epoch(const struct trust *t, const struct identity *issuer, uint32_t epoch, const char *box_name,
    const uint8_t box_sha256[static 32], uint64_t time_ns, struct bytes *out)
{
	struct statement s = {.kind = TRUST_EPOCH, .time_ns = time_ns, .epoch = epoch};
	memcpy(s.box_sha256, box_sha256, sizeof(s.box_sha256));
	err_t err = statement_set_box_name(box_name, s.box_name);
	return err != 0 ? err : make_next(t, issuer, &s, out);
}

err_t trust_make_rename(const struct trust *t, const struct identity *issuer,
    const uint8_t member_id[static IDENTITY_ID_LEN], const char *name, uint64_t time_ns, struct bytes *out)
{
	struct statement s = {.kind = TRUST_RENAME, .time_ns = time_ns};
	memcpy(s.subject, member_id, sizeof(s.subject));
	err_t err = statement_set_name(name, s.name);
	return err != 0 ? err : make_next(t, issuer, &s, out);
}

err_t trust_make_policy(const struct trust *t, const struct identity *issuer, const struct trust_policy *p,
    uint64_t time_ns, struct bytes *out)
{
	struct statement s = {.kind = TRUST_POLICY, .time_ns = time_ns, .policy = *p};
	if (p->format_floor == 0 || p->cipher_floor == 0)
		return -EINVAL;
	return make_next(t, issuer, &s, out);
}
