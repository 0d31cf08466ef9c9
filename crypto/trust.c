/*
 * trust.c: the rules of who may say what, and the state that follows from what was said.  Members, epochs and statements
 * are never moved or freed before the state itself, so that what was lent out stays valid through later applies.
 */
#include "trust.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "statement.h"

static const uint8_t zeros[32];

struct epoch_box {
	char name[TRUST_BOX_NAME_MAX + 1];
	uint8_t sha256[32];
};

struct stored {
	size_t len;
	uint8_t data[];
};

/* A growing array of pointers that it owns. */
struct list {
	void **at;
	size_t count;
	size_t cap;
};

struct trust {
	uint8_t vault_id[32];
	uint8_t head[32];       /* SHA-256 of the last statement */
	struct list members;    /* struct trust_member, by number */
	struct list epochs;     /* struct epoch_box, by epoch */
	struct list statements; /* struct stored */
	bool needs_epoch;
	struct trust_policy policy;
	bool entering; /* an invitation has added a device, and its own removal is what comes next */
	uint32_t guest; /* with entering: the invitation's number */
};

static err_t list_reserve(struct list *l, size_t more)
{
	if (l->cap - l->count >= more)
		return 0;
	size_t cap = l->cap * 2 + more;
	void **at = reallocarray(l->at, cap, sizeof(*at));
	if (at == NULL)
		return -ENOMEM;
	l->at = at;
	l->cap = cap;
	return 0;
}

/* Room was reserved. */
static void list_push(struct list *l, void *p)
{
	l->at[l->count++] = p;
}

static void list_clear(struct list *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->at[i]);
	free(l->at);
}

static void *copy_of(const void *p, size_t len)
{
	void *copy = malloc(len);
	if (copy != NULL)
		memcpy(copy, p, len);
	return copy;
}

err_t trust_new(struct trust **out)
{
	struct trust *t = calloc(1, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	t->policy = (struct trust_policy){1, 1, true};
	*out = t;
	return 0;
}

void trust_free(struct trust *t)
{
	if (t == NULL)
		return;
	list_clear(&t->members);
	list_clear(&t->epochs);
	list_clear(&t->statements);
	free(t);
}

void trust_free_ptr(struct trust **t)
{
	trust_free(*t);
}

static size_t size_of_member(const void *p)
{
	(void)p;
	return sizeof(struct trust_member);
}

static size_t size_of_epoch(const void *p)
{
	(void)p;
	return sizeof(struct epoch_box);
}

static size_t size_of_stored(const void *p)
{
	return sizeof(struct stored) + ((const struct stored *)p)->len;
}

static err_t list_copy(const struct list *from, size_t (*size_of)(const void *), struct list *to)
{
	err_t err = list_reserve(to, from->count);
	if (err != 0)
		return err;
	for (size_t i = 0; i < from->count; i++) {
		void *copy = copy_of(from->at[i], size_of(from->at[i]));
		if (copy == NULL)
			return -ENOMEM;
		list_push(to, copy);
	}
	return 0;
}

err_t trust_clone(const struct trust *t, struct trust **out)
{
	CLEANUP(trust_free_ptr) struct trust *copy = NULL;
	err_t err;
	if ((err = trust_new(&copy)) || (err = list_copy(&t->members, size_of_member, &copy->members)) ||
	    (err = list_copy(&t->epochs, size_of_epoch, &copy->epochs)) ||
	    (err = list_copy(&t->statements, size_of_stored, &copy->statements)))
		return err;
	memcpy(copy->vault_id, t->vault_id, sizeof(copy->vault_id));
	memcpy(copy->head, t->head, sizeof(copy->head));
	copy->needs_epoch = t->needs_epoch;
	copy->policy = t->policy;
	copy->entering = t->entering;
	copy->guest = t->guest;
	*out = STEAL(copy);
	return 0;
}

/* Looking */

const uint8_t *trust_head(const struct trust *t)
{
	return t->head;
}

const uint8_t *trust_vault_id(const struct trust *t)
{
	return t->statements.count > 0 ? t->vault_id : NULL;
}

size_t trust_member_count(const struct trust *t)
{
	return t->members.count;
}

const struct trust_member *trust_member_at(const struct trust *t, size_t i)
{
	return i < t->members.count ? t->members.at[i] : NULL;
}

static struct trust_member *find_member(const struct trust *t, const uint8_t id[static IDENTITY_ID_LEN])
{
	for (size_t i = 0; i < t->members.count; i++) {
		struct trust_member *m = t->members.at[i];
		if (memcmp(m->id, id, IDENTITY_ID_LEN) == 0)
			return m;
	}
	return NULL;
}

const struct trust_member *trust_member_find(const struct trust *t, const uint8_t id[static IDENTITY_ID_LEN])
{
	return find_member(t, id);
}

/* While one is being replaced there are two: the newer one counts. */
const struct trust_member *trust_recovery(const struct trust *t)
{
	for (size_t i = t->members.count; i > 0; i--) {
		const struct trust_member *m = t->members.at[i - 1];
		if (m->kind == MEMBER_RECOVERY && !m->removed)
			return m;
	}
	return NULL;
}

size_t trust_statement_count(const struct trust *t)
{
	return t->statements.count;
}

void trust_statement_at(const struct trust *t, size_t i, const uint8_t **data_out, size_t *len_out)
{
	const struct stored *s = t->statements.at[i];
	*data_out = s->data;
	*len_out = s->len;
}

err_t trust_epoch_at(const struct trust *t, uint32_t epoch, const char **box_name_out, uint8_t box_sha256_out[static 32])
{
	if (epoch >= t->epochs.count)
		return -ENOENT;
	const struct epoch_box *box = t->epochs.at[epoch];
	*box_name_out = box->name;
	memcpy(box_sha256_out, box->sha256, sizeof(box->sha256));
	return 0;
}

err_t trust_epoch(const struct trust *t, uint32_t *epoch_out, const char **box_name_out,
    uint8_t box_sha256_out[static 32])
{
	if (t->epochs.count == 0)
		return -ENOENT;
	uint32_t current = (uint32_t)(t->epochs.count - 1);
	err_t err = trust_epoch_at(t, current, box_name_out, box_sha256_out);
	if (err == 0)
		*epoch_out = current;
	return err;
}

bool trust_names_box(const uint8_t *statement, size_t len, const char *box_name, const uint8_t box_sha256[static 32])
{
	struct statement s;
	if (statement_parse(statement, len, &s) != 0)
		return false;
	bool invites = s.kind == TRUST_ADD && s.member.kind == MEMBER_INVITATION;
	if (s.kind != TRUST_EPOCH && !invites)
		return false;
	return strcmp(invites ? s.member.box_name : s.box_name, box_name) == 0 &&
	    memcmp(invites ? s.member.box_sha256 : s.box_sha256, box_sha256, 32) == 0;
}

const struct trust_policy *trust_policy(const struct trust *t)
{
	return &t->policy;
}

bool trust_needs_epoch(const struct trust *t)
{
	return t->needs_epoch;
}

/*
 * Folding.  Each fold_ checks the rules of its kind, and changes the state in its last step, which can't fail; room in the
 * lists was reserved.
 */

static err_t member_new(const struct trust *t, const struct statement *s, const struct statement_member *from,
    size_t number, struct trust_member **out)
{
	/* The number is part of file ids: it must not run over. */
	if (number >= UINT32_MAX)
		return -EPERM;
	CLEANUP(free_ptr) struct trust_member *m = calloc(1, sizeof(*m));
	if (m == NULL)
		return -ENOMEM;
	err_t err = identity_id(&from->pub, m->id);
	if (err != 0)
		return err;
	/* Neither half of a key that was ever a member's comes back, removed or not, alone or in new company. */
	for (size_t i = 0; i < t->members.count; i++) {
		const struct trust_member *old = t->members.at[i];
		if (memcmp(old->id, m->id, sizeof(m->id)) == 0 ||
		    memcmp(old->pub.sign, from->pub.sign, sizeof(from->pub.sign)) == 0 ||
		    memcmp(old->pub.box, from->pub.box, sizeof(from->pub.box)) == 0)
			return -EPERM;
	}
	m->pub = from->pub;
	m->kind = from->kind;
	m->number = (uint32_t)number;
	memcpy(m->name, from->name, sizeof(m->name));
	m->added_ns = s->time_ns;
	memcpy(m->added_by, s->issuer, sizeof(m->added_by));
	m->expires_ns = from->expires_ns;
	memcpy(m->box_name, from->box_name, sizeof(m->box_name));
	memcpy(m->box_sha256, from->box_sha256, sizeof(m->box_sha256));
	*out = STEAL(m);
	return 0;
}

static err_t fold_genesis(struct trust *t, const struct statement *s, const uint8_t hash[static 32])
{
	if (s->member.kind != MEMBER_DEVICE || s->recovery.kind != MEMBER_RECOVERY ||
	    memcmp(s->member.pub.sign, s->recovery.pub.sign, 32) == 0 ||
	    memcmp(s->member.pub.box, s->recovery.pub.box, 32) == 0)
		return -EBADMSG;
	CLEANUP(free_ptr) struct trust_member *device = NULL;
	CLEANUP(free_ptr) struct trust_member *recovery = NULL;
	err_t err;
	if ((err = member_new(t, s, &s->member, 0, &device)) || (err = member_new(t, s, &s->recovery, 1, &recovery)))
		return err;
	if (memcmp(s->issuer, device->id, sizeof(device->id)) != 0)
		return -EBADMSG;
	if ((err = statement_verify(s, s->signature, zeros, device->pub.sign)) ||
	    (err = statement_verify(s, s->recovery_signature, zeros, recovery->pub.sign)))
		return err;
	list_push(&t->members, STEAL(device));
	list_push(&t->members, STEAL(recovery));
	memcpy(t->vault_id, hash, sizeof(t->vault_id));
	return 0;
}

/* In whose name a member speaks: an invitation in that of whoever gave it out. */
static enum member_kind authority(const struct trust *t, const struct trust_member *issuer)
{
	if (issuer->kind != MEMBER_INVITATION)
		return issuer->kind;
	const struct trust_member *host = find_member(t, issuer->added_by);
	return host != NULL ? host->kind : MEMBER_INVITATION;
}

static err_t fold_add(struct trust *t, const struct statement *s, const struct trust_member *issuer)
{
	if (s->member.kind == MEMBER_RECOVERY && issuer->kind != MEMBER_RECOVERY)
		return -EPERM;
	if (!t->policy.devices_may_add && authority(t, issuer) != MEMBER_RECOVERY)
		return -EPERM;
	if (s->member.kind == MEMBER_INVITATION && (t->epochs.count == 0 || s->member.expires_ns <= s->time_ns))
		return -EPERM;
	if (issuer->kind == MEMBER_INVITATION && s->member.kind != MEMBER_DEVICE)
		return -EPERM;
	struct trust_member *m;
	err_t err = member_new(t, s, &s->member, t->members.count, &m);
	if (err != 0)
		return err;
	list_push(&t->members, m);
	if (issuer->kind == MEMBER_INVITATION) {
		t->entering = true;
		t->guest = issuer->number;
		t->needs_epoch = true;
	}
	return 0;
}

/* Who may be spoken about: somebody who is in, and a recovery key only by itself. */
static err_t find_subject(const struct trust *t, const struct statement *s, const struct trust_member *issuer,
    struct trust_member **out)
{
	struct trust_member *subject = find_member(t, s->subject);
	if (subject == NULL || subject->removed || (subject->kind == MEMBER_RECOVERY && subject != issuer))
		return -EPERM;
	*out = subject;
	return 0;
}

/* And with it the invitations that it has given out: else it could let itself in again. */
static void put_out(struct trust *t, const struct trust_member *subject, const struct statement *s)
{
	for (size_t i = 0; i < t->members.count; i++) {
		struct trust_member *m = t->members.at[i];
		bool guest = m->kind == MEMBER_INVITATION && memcmp(m->added_by, subject->id, sizeof(m->added_by)) == 0;
		if (m->removed || (m != subject && !guest))
			continue;
		m->removed = true;
		m->removed_ns = s->time_ns;
		memcpy(m->removed_by, s->issuer, sizeof(m->removed_by));
	}
}

static err_t fold_remove(struct trust *t, const struct statement *s, const struct trust_member *issuer)
{
	struct trust_member *subject;
	err_t err = find_subject(t, s, issuer, &subject);
	if (err != 0)
		return err;
	size_t others = 0;
	for (size_t i = 0; i < t->members.count; i++) {
		const struct trust_member *m = t->members.at[i];
		others += m != subject && !m->removed && m->kind != MEMBER_INVITATION;
	}
	if (others == 0)
		return -EPERM;
	put_out(t, subject, s);
	t->needs_epoch = true;
	t->entering = false;
	return 0;
}

static err_t fold_epoch(struct trust *t, const struct statement *s)
{
	if (s->epoch != t->epochs.count)
		return -EPERM;
	struct epoch_box *box = calloc(1, sizeof(*box));
	if (box == NULL)
		return -ENOMEM;
	memcpy(box->name, s->box_name, sizeof(box->name));
	memcpy(box->sha256, s->box_sha256, sizeof(box->sha256));
	list_push(&t->epochs, box);
	t->needs_epoch = false;
	return 0;
}

static err_t fold_rename(struct trust *t, const struct statement *s, const struct trust_member *issuer)
{
	struct trust_member *subject;
	err_t err = find_subject(t, s, issuer, &subject);
	if (err != 0)
		return err;
	if (subject->kind == MEMBER_INVITATION)
		return -EPERM;
	memcpy(subject->name, s->name, sizeof(subject->name));
	return 0;
}

static bool is_looser(const struct trust_policy *p, const struct trust_policy *than)
{
	return p->format_floor < than->format_floor || p->cipher_floor < than->cipher_floor ||
	    (p->devices_may_add && !than->devices_may_add);
}

static err_t fold_policy(struct trust *t, const struct statement *s, const struct trust_member *issuer)
{
	if (is_looser(&s->policy, &t->policy) && issuer->kind != MEMBER_RECOVERY)
		return -EPERM;
	t->policy = s->policy;
	return 0;
}

/* What an invitation may say, and what may be said while one is being used: an addition, and then its own removal. */
static bool guest_may(const struct trust *t, const struct statement *s, const struct trust_member *issuer)
{
	if (t->entering && issuer->number != t->guest)
		return false;
	if (issuer->kind != MEMBER_INVITATION)
		return true;
	if (s->time_ns > issuer->expires_ns)
		return false;
	if (!t->entering)
		return s->kind == TRUST_ADD;
	return s->kind == TRUST_REMOVE && memcmp(s->subject, issuer->id, sizeof(issuer->id)) == 0;
}

static err_t fold(struct trust *t, const struct statement *s, const uint8_t hash[static 32])
{
	if (s->number != t->statements.count || memcmp(s->previous, t->head, sizeof(t->head)) != 0)
		return -EBADMSG;
	if ((s->kind == TRUST_GENESIS) != (t->statements.count == 0))
		return -EBADMSG;
	if (s->kind == TRUST_GENESIS)
		return fold_genesis(t, s, hash);

	const struct trust_member *issuer = find_member(t, s->issuer);
	if (issuer == NULL)
		return -EPERM;
	err_t err = statement_verify(s, s->signature, t->vault_id, issuer->pub.sign);
	if (err != 0)
		return err;
	if (issuer->removed || !guest_may(t, s, issuer))
		return -EPERM;
	switch (s->kind) {
	case TRUST_ADD:
		return fold_add(t, s, issuer);
	case TRUST_REMOVE:
		return fold_remove(t, s, issuer);
	case TRUST_EPOCH:
		return fold_epoch(t, s);
	case TRUST_RENAME:
		return fold_rename(t, s, issuer);
	case TRUST_POLICY:
		return fold_policy(t, s, issuer);
	case TRUST_GENESIS:
		break;
	}
	return -EPROTO;
}

/*
 * That an epoch follows a removal can't be checked on a prefix of the statements: trust_needs_epoch tells, and whoever
 * applies a whole commit refuses one that ends in that state.
 */
err_t trust_apply(struct trust *t, const uint8_t *statement, size_t len)
{
	struct statement s;
	uint8_t hash[32];
	err_t err;
	if ((err = statement_parse(statement, len, &s)) || (err = hash_sha256(statement, len, hash)) ||
	    (err = list_reserve(&t->statements, 1)) || (err = list_reserve(&t->members, 2)) ||
	    (err = list_reserve(&t->epochs, 1)))
		return err;
	CLEANUP(free_ptr) struct stored *stored = malloc(sizeof(*stored) + len);
	if (stored == NULL)
		return -ENOMEM;
	stored->len = len;
	memcpy(stored->data, statement, len);
	err = fold(t, &s, hash);
	if (err != 0)
		return err;
	list_push(&t->statements, STEAL(stored));
	memcpy(t->head, hash, sizeof(t->head));
	return 0;
}
