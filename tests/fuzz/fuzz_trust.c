/*
 * Fuzzes the trust fold.  First byte 0: statements as they are, each behind its length (u16); 1: the body of a statement,
 * which is signed here by a member; 2: a play: members and strangers say well-formed things, three bytes each.
 */
#include <errno.h>
#include <string.h>

#include "cborio.h"
#include "fuzz.h"
#include "trust.h"

#define PEOPLE 8 /* the first device, the recovery key, then two of each that are not in at first, and two invitations */
#define GUESTS 6 /* from here on */
#define EXPIRES 5
#define BOX "k/0-00"
#define STATEMENTS_MAX 32 /* in one input: signatures take their time */

static struct identity *people[PEOPLE];
static struct trust *prepared;
static const uint8_t box_hash[32] = {0xb0};

static bool is_recovery(unsigned i)
{
	return i < GUESTS && i % 2 == 1;
}

static bool is_guest(unsigned i)
{
	return i >= GUESTS;
}

static void apply_or_die(struct trust *t, struct bytes *statement)
{
	FUZZ_REQUIRE(trust_apply(t, statement->data, statement->len) == 0);
	bytes_clear(statement);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	FUZZ_REQUIRE(secmem_init() == 0);
	for (unsigned i = 0; i < PEOPLE; i++) {
		const uint8_t secret[DEVICE_SECRET_LEN] = {(uint8_t)(i + 1)};
		err_t (*const become)(const uint8_t *, struct identity **) = is_guest(i) ? identity_from_invitation :
		    is_recovery(i) ? identity_from_recovery_key : identity_from_device_secret;
		FUZZ_REQUIRE(become(secret, &people[i]) == 0);
	}
	struct bytes b = {0};
	FUZZ_REQUIRE(trust_new(&prepared) == 0);
	FUZZ_REQUIRE(trust_make_genesis(people[0], "laptop", people[1], 1, &b) == 0);
	apply_or_die(prepared, &b);
	FUZZ_REQUIRE(trust_make_epoch(prepared, people[0], 0, BOX, box_hash, 2, &b) == 0);
	apply_or_die(prepared, &b);
	return 0;
}

/* What holds of every state. */
static void check(const struct trust *t)
{
	size_t count = trust_member_count(t), in = 0;
	for (size_t i = 0; i < count; i++) {
		const struct trust_member *m = trust_member_at(t, i);
		size_t name_len = strnlen(m->name, sizeof(m->name));
		FUZZ_REQUIRE(m->number == i && name_len > 0 && name_len <= TRUST_NAME_MAX);
		fuzz_require_tame(m->name, name_len);
		FUZZ_REQUIRE(trust_member_find(t, m->id) == m);
		in += !m->removed;
	}
	FUZZ_REQUIRE((count == 0) == (trust_vault_id(t) == NULL) && (count == 0 || in > 0));
	const struct trust_member *recovery = trust_recovery(t);
	FUZZ_REQUIRE(recovery == NULL || (recovery->kind == MEMBER_RECOVERY && !recovery->removed));
	uint32_t epoch;
	const char *name;
	uint8_t hash[32];
	if (trust_epoch(t, &epoch, &name, hash) == 0)
		FUZZ_REQUIRE(strncmp(name, "k/", 2) == 0 && strstr(name, "..") == NULL);
}

static err_t try_statement(struct trust *t, const uint8_t *data, size_t len)
{
	size_t statements = trust_statement_count(t), members = trust_member_count(t);
	bool needs_epoch = trust_needs_epoch(t);
	err_t err = trust_apply(t, data, len);
	FUZZ_REQUIRE(err == 0 || err == -EBADMSG || err == -EPERM || err == -EPROTO);
	FUZZ_REQUIRE(trust_statement_count(t) == statements + (err == 0));
	if (err != 0)
		FUZZ_REQUIRE(trust_member_count(t) == members && trust_needs_epoch(t) == needs_epoch);
	check(t);
	return err;
}

static void try_raw(struct cursor c)
{
	struct trust *t;
	FUZZ_REQUIRE(trust_new(&t) == 0);
	uint16_t len;
	const uint8_t *statement;
	for (unsigned i = 0; i < STATEMENTS_MAX; i++) {
		if (cursor_u16(&c, &len) != 0 || cursor_take(&c, len, &statement) != 0)
			break;
		(void)!try_statement(t, statement, len);
	}
	trust_free(t);
}

static void try_body(const uint8_t *body, size_t len)
{
	struct bytes input = {0}, statement = {0};
	uint8_t signature[IDENTITY_SIG_LEN];
	struct trust *t;
	FUZZ_REQUIRE(trust_clone(prepared, &t) == 0);
	FUZZ_REQUIRE(bytes_append(&input, "snugfs/1 statement", 18) == 0);
	FUZZ_REQUIRE(bytes_append(&input, trust_vault_id(t), 32) == 0 && bytes_append(&input, body, len) == 0);
	FUZZ_REQUIRE(identity_sign(people[0], input.data, input.len, signature) == 0);
	FUZZ_REQUIRE(cbor_put_array(&statement, 2) == 0 && cbor_put_bytes(&statement, body, len) == 0);
	FUZZ_REQUIRE(cbor_put_bytes(&statement, signature, sizeof(signature)) == 0);
	(void)!try_statement(t, statement.data, statement.len);
	trust_free(t);
	bytes_clear(&input);
	bytes_clear(&statement);
}

enum { ADD, REMOVE, EPOCH, RENAME, INVITE, POLICY };

static err_t say(const struct trust *t, unsigned what, unsigned who, unsigned whom, struct bytes *out)
{
	static const char *const names[] = {"phone", "desk \xc3\xbc", "x"};
	uint8_t id[IDENTITY_ID_LEN];
	FUZZ_REQUIRE(identity_id(identity_public(people[whom]), id) == 0);
	switch (what % 6) {
	case ADD:
		return trust_make_add(t, people[who], is_recovery(whom) ? MEMBER_RECOVERY : MEMBER_DEVICE,
		    identity_public(people[whom]), names[what % 3], EXPIRES + (what >= 128), out);
	case REMOVE:
		return trust_make_remove(t, people[who], id, 6, out);
	case EPOCH:
		return trust_make_epoch(t, people[who], what / 6, BOX, box_hash, 7, out);
	case RENAME:
		return trust_make_rename(t, people[who], id, names[what % 3], 8, out);
	case INVITE:
		return trust_make_invite(t, people[who], identity_public(people[whom]), names[what % 3], EXPIRES, BOX, box_hash, 4, out);
	default: {
		const struct trust_policy p = {1 + (what / 6 & 1), 1 + (what / 12 & 1), what / 24 & 1};
		return trust_make_policy(t, people[who], &p, 9, out);
	}
	}
}

static bool is_as_strict(const struct trust_policy *p, const struct trust_policy *before)
{
	return p->format_floor >= before->format_floor && p->cipher_floor >= before->cipher_floor &&
	    (before->devices_may_add || !p->devices_may_add);
}

/* -1: not in it. */
static int kind_of(const struct trust *t, unsigned i)
{
	uint8_t id[IDENTITY_ID_LEN];
	FUZZ_REQUIRE(identity_id(identity_public(people[i]), id) == 0);
	const struct trust_member *m = trust_member_find(t, id);
	return m != NULL && !m->removed ? (int)m->kind : -1;
}

/* What was said of `whom` has been heard; issuer, subject: what they were before. */
static void check_heard(const struct trust *t, unsigned what, int issuer, int subject, bool of_itself, unsigned whom,
    const struct trust_policy *before)
{
	FUZZ_REQUIRE(issuer >= 0);
	if (issuer == MEMBER_RECOVERY)
		return;
	FUZZ_REQUIRE(is_as_strict(trust_policy(t), before));
	FUZZ_REQUIRE((kind_of(t, whom) == MEMBER_RECOVERY) == (subject == MEMBER_RECOVERY));
	if (issuer == MEMBER_DEVICE && (what == ADD || what == INVITE))
		FUZZ_REQUIRE(before->devices_may_add);
	if (issuer == MEMBER_INVITATION)
		FUZZ_REQUIRE(what == ADD || (what == REMOVE && of_itself));
}

/* Whatever is said in whatever order: only members are heard, and recovery keys are in nobody's hands but their own. */
static void try_play(struct cursor c)
{
	struct trust *t;
	FUZZ_REQUIRE(trust_clone(prepared, &t) == 0);
	uint8_t what, who, whom;
	for (unsigned i = 0; i < STATEMENTS_MAX; i++) {
		if (cursor_u8(&c, &what) != 0 || cursor_u8(&c, &who) != 0 || cursor_u8(&c, &whom) != 0)
			break;
		who %= PEOPLE;
		whom %= PEOPLE;
		int issuer = kind_of(t, who), subject = kind_of(t, whom);
		const struct trust_policy before = *trust_policy(t);
		struct bytes statement = {0};
		FUZZ_REQUIRE(say(t, what, who, whom, &statement) == 0);
		err_t err = try_statement(t, statement.data, statement.len);
		bytes_clear(&statement);
		FUZZ_REQUIRE(err == 0 || err == -EPERM || (err == -EPROTO && what % 6 == POLICY));
		if (err == 0)
			check_heard(t, what % 6, issuer, subject, who == whom, whom, &before);
	}
	trust_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	if (data[0] == 0)
		try_raw((struct cursor){data + 1, len - 1});
	else if (data[0] == 1)
		try_body(data + 1, len - 1);
	else if (data[0] == 2)
		try_play((struct cursor){data + 1, len - 1});
	return 0;
}
