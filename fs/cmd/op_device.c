/* Who is in, who is invited, and changing that. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "credentials.h"
#include "handles.h"
#include "hex.h"
#include "human.h"
#include "invitation.h"
#include "members.h"
#include "op.h"
#include "s3_credentials.h"
#include "statement.h"
#include "tell.h"
#include "verified.h"

#define ID_TEXT_LEN (IDENTITY_ID_LEN * 2)
/* Fewer digits of an id are too likely a name. */
#define ID_PREFIX_MIN 4

/* The list. */

static json_t *
name_of(const struct trust *t, const uint8_t id[static IDENTITY_ID_LEN])
{
	const struct trust_member *m = trust_member_find(t, id);

	if (m != NULL && m->kind == MEMBER_INVITATION)
		m = trust_member_find(t, m->added_by);
	return m == NULL ? json_null() : json_string(m->kind == MEMBER_RECOVERY ? "recovery key" : m->name);
}

static bool
came_by_invitation(const struct trust *t, const struct trust_member *m)
{
	const struct trust_member *by = trust_member_find(t, m->added_by);

	return by != NULL && by->kind == MEMBER_INVITATION;
}

static json_t *
last_commit(struct vault *v, const struct trust_member *m)
{
	const struct vault_author *a = vault_author(v, m->number);

	return a == NULL ? json_null() : json_integer((json_int_t)(a->time_ns / 1000000000u));
}

static json_t *
describe_device(struct vault *v, const struct trust_member *m)
{
	char id[ID_TEXT_LEN + 1];

	hex_format(m->id, IDENTITY_ID_LEN, id);
	return json_pack("{s:s, s:s, s:s, s:b, s:I, s:o, s:b, s:o, s:o}", "name", m->kind == MEMBER_RECOVERY ? "recovery key" : m->name,
	    "id", id, "kind", m->kind == MEMBER_RECOVERY ? "recovery-key" : "computer", "this",
	    memcmp(m->id, v->my_id, IDENTITY_ID_LEN) == 0, "added", (json_int_t)(m->added_ns / 1000000000u), "added_by",
	    name_of(v->trust, m->added_by), "invited", came_by_invitation(v->trust, m), "last_commit", last_commit(v, m),
	    "verified", m->kind == MEMBER_RECOVERY ? json_null() : json_boolean(verified_has(v->meta, m->id)));
}

static json_t *
describe_invitation(struct vault *v, const struct trust_member *m)
{
	char id[ID_TEXT_LEN + 1];

	hex_format(m->id, IDENTITY_ID_LEN, id);
	return json_pack("{s:s, s:s, s:I, s:I, s:o}", "name", m->name, "id", id, "made", (json_int_t)(m->added_ns / 1000000000u),
	    "expires", (json_int_t)(m->expires_ns / 1000000000u), "invited_by", name_of(v->trust, m->added_by));
}

json_t *
op_device_list(struct op *op, const json_t *request)
{
	struct vault *v = op->vault;
	json_t *devices = json_array(), *invitations = json_array();

	(void)request;
	meta_lock(v->meta);
	for (size_t i = 0; i < trust_member_count(v->trust); i++) {
		const struct trust_member *m = trust_member_at(v->trust, i);

		if (m->removed)
			continue;
		if (m->kind == MEMBER_INVITATION)
			(void)json_array_append_new(invitations, describe_invitation(v, m));
		else
			(void)json_array_append_new(devices, describe_device(v, m));
	}
	meta_unlock(v->meta);
	return json_pack("{s:b, s:o, s:o}", "ok", 1, "devices", devices, "invitations", invitations);
}

/* Changes. */

struct change {
	enum { CHANGE_INVITE, CHANGE_MEMBER_NAME, CHANGE_REMOVE } what;
	const char *who;  /* a name, or the beginning of an id */
	const char *name; /* the new one */
	uint64_t expires_ns;
	struct identity_public guest;
	struct sync_invited invited;
	struct trust_member subject; /* out */
	char *why;
};

static bool
is_named(const struct trust_member *m, const char *who, bool by_id)
{
	char id[ID_TEXT_LEN + 1];

	if (!by_id)
		return strcmp(m->name, who) == 0;
	hex_format(m->id, IDENTITY_ID_LEN, id);
	return strlen(who) >= ID_PREFIX_MIN && strncmp(id, who, strlen(who)) == 0;
}

/* By name first: it is what people see. */
static err_t
find_subject(struct members_saying *w, struct change *c)
{
	const struct trust *t = members_trust(w);
	const struct trust_member *found = NULL;
	unsigned count = 0;

	for (int by_id = 0; by_id < 2 && count == 0; by_id++) {
		for (size_t i = 0; i < trust_member_count(t); i++) {
			const struct trust_member *m = trust_member_at(t, i);

			if (m->removed || !is_named(m, c->who, by_id != 0))
				continue;
			found = m;
			count++;
		}
	}
	if (count == 0)
		return members_refuse(w, -ENOENT, "there is no device \"%s\" (any more): \"snugfs device list\" shows who is in", c->who);
	if (count > 1)
		return members_refuse(w, -EINVAL, "several devices are called \"%s\": say the id that \"snugfs device list\" shows", c->who);
	c->subject = *found;
	return 0;
}

static err_t
say_name(struct members_saying *w, struct change *c)
{
	CLEANUP(bytes_clear) struct bytes statement = { 0 };
	err_t err;

	if (c->subject.kind != MEMBER_DEVICE)
		return members_refuse(w, -EPERM, "only devices have names that can be changed");
	err = trust_make_rename(members_trust(w), members_vault(w)->me, c->subject.id, c->name, members_now_ns(w), &statement);
	return err != 0 ? err : members_say(w, &statement);
}

static err_t
say_removal(struct members_saying *w, struct change *c)
{
	if (c->subject.kind == MEMBER_RECOVERY)
		return members_refuse(w, -EPERM, "the recovery key is replaced or removed by itself: see \"snugfs recovery-key\"");
	if (memcmp(c->subject.id, members_vault(w)->my_id, IDENTITY_ID_LEN) == 0)
		return members_refuse(w, -EPERM, "a device cannot remove itself: do it on another one, or join with the recovery key "
		    "elsewhere and remove it there");
	return members_say_remove(w, c->subject.id);
}

static err_t
say(struct members_saying *w, void *ctx)
{
	struct change *c = ctx;
	err_t err = find_subject(w, c);

	if (err != 0)
		return err;
	return c->what == CHANGE_REMOVE ? say_removal(w, c) : say_name(w, c);
}

static err_t
run_change(struct sync *s, void *ctx)
{
	struct change *c = ctx;

	if (c->what == CHANGE_INVITE)
		return sync_invite(s, &c->guest, c->name, c->expires_ns, &c->invited, &c->why);
	return members_commit(s, say, c, &c->why, NULL);
}

static json_t *
change_members(struct op *op, struct change *c)
{
	char why[512] = "";
	json_t *refusal;
	err_t err;

	if (op->uplink == NULL)
		return control_refusal("%s has no store, so there are no other devices: give it one with \"snugfs up %s --remote URL\"",
		    op->mountpoint, op->mountpoint);
	err = uplink_with_sync(op->uplink, run_change, c, why, sizeof(why));
	if (err == 0)
		return NULL;
	refusal = control_refusal("%s", c->why != NULL ? c->why : why[0] != '\0' ? why : tell_reason(err));
	free(c->why);
	return refusal;
}

static json_t *
subject_answer(const struct op *op, const struct change *c)
{
	json_t *url;

	meta_lock(op->vault->meta);
	url = op->vault->remote_url != NULL ? human_path(op->vault->remote_url) : json_null();
	meta_unlock(op->vault->meta);
	return json_pack("{s:b, s:s, s:s, s:o}", "ok", 1, "name", c->subject.name, "kind",
	    c->subject.kind == MEMBER_INVITATION ? "invitation" : "computer", "remote", url);
}

json_t *
op_device_rename(struct op *op, const json_t *request)
{
	struct change c = { .what = CHANGE_MEMBER_NAME, .who = json_string_value(json_object_get(request, "who")),
		.name = json_string_value(json_object_get(request, "name")) };
	char name[TRUST_NAME_MAX + 1];
	json_t *refusal;

	if (c.who == NULL || c.name == NULL)
		return control_refusal("a device and its new name are wanted");
	if (statement_set_name(c.name, name) != 0)
		return control_refusal("that is no name for a device, and it keeps the one it has: choose 1 to 64 bytes of printable text");
	refusal = change_members(op, &c);
	return refusal != NULL ? refusal : subject_answer(op, &c);
}

/* The name of the access key that is used here, which the other device may have, too; its secret stays where it is. */
static json_t *
access_key_id(struct op *op)
{
	CLEANUP(secmem_free_ptr) struct credentials *kept = NULL;
	CLEANUP(secmem_free_ptr) struct s3_credentials *usual = NULL;
	CLEANUP(free_ptr) char *why = NULL;
	const char *url = op->vault->remote_url;

	if (url == NULL || strncmp(url, "s3:", 3) != 0)
		return json_null();
	if (credentials_load(op->vault, &kept) == 0)
		return json_string(kept->access_key);
	return s3_credentials_find(NULL, &usual, &why) == 0 ? json_string(usual->access_key) : json_null();
}

/* In a mounted folder it is done in the background, else now. */
static json_t *
rekey_after(struct op *op)
{
	json_t *rekey = op_rekey_begin(op, op->mount == NULL);
	const char *text;

	if (rekey == NULL || control_is_ok(rekey, &text))
		return rekey != NULL ? rekey : json_null();
	(void)json_object_set_new(rekey, "problem", json_string(text));
	return rekey;
}

json_t *
op_device_remove(struct op *op, const json_t *request)
{
	struct change c = { .what = CHANGE_REMOVE, .who = json_string_value(json_object_get(request, "who")) };
	bool rekey = json_is_true(json_object_get(request, "rekey"));
	json_t *answer;

	if (c.who == NULL)
		return control_refusal("a device is wanted");
	if ((answer = change_members(op, &c)) != NULL || (answer = subject_answer(op, &c)) == NULL)
		return answer;
	(void)json_object_set_new(answer, "access_key", access_key_id(op));
	(void)json_object_set_new(answer, "rekey", rekey ? rekey_after(op) : json_null());
	return answer;
}

/* Credentials for an invitation: those that this device uses. */

static bool
take_key(char *out, size_t room, const char *text)
{
	size_t len = strlen(text);

	if (len >= room)
		return false;
	memcpy(out, text, len + 1);
	return true;
}

static json_t *
take_keys(struct invitation *inv, const char *access_key, const char *secret_key, const char *session_token)
{
	if (take_key(inv->access_key, sizeof(inv->access_key), access_key) &&
	    take_key(inv->secret_key, sizeof(inv->secret_key), secret_key) &&
	    take_key(inv->session_token, sizeof(inv->session_token), session_token))
		return NULL;
	return control_refusal("the keys to the store are too long for an invitation: give them to the other computer another way");
}

/* NULL: they are in inv. */
static json_t *
find_keys(struct op *op, struct invitation *inv)
{
	CLEANUP(secmem_free_ptr) struct credentials *kept = NULL;
	CLEANUP(secmem_free_ptr) struct s3_credentials *usual = NULL;
	CLEANUP(free_ptr) char *why = NULL;
	err_t err = credentials_load(op->vault, &kept);

	if (err == 0)
		return take_keys(inv, kept->access_key, kept->secret_key, kept->session_token);
	if (err == -ENOENT && (err = s3_credentials_find(NULL, &usual, &why)) == 0)
		return take_keys(inv, usual->access_key, usual->secret_key, usual->session_token);
	return control_refusal("%s", why != NULL ? why : tell_reason(err));
}

/* Sealed as the link secret is, in hexadecimal digits, malloc'ed; "" unless they were asked for. */
static json_t *
seal_keys(struct op *op, const json_t *request, const struct identity_public *guest, char **out)
{
	CLEANUP(secmem_free_ptr) struct invitation *inv = secmem_new(sizeof(*inv));
	CLEANUP(bytes_clear) struct bytes sealed = { 0 };
	const char *url = op->vault->remote_url;
	json_t *refusal;
	err_t err = 0;

	if (json_is_true(json_object_get(request, "credentials"))) {
		if (url != NULL && strncmp(url, "s3:", 3) != 0)
			return control_refusal("the store %s has no credentials that an invitation could have", url);
		if (inv == NULL)
			return control_refusal("%s", tell_reason(-ENOMEM));
		if ((refusal = find_keys(op, inv)) != NULL)
			return refusal;
		err = invitation_seal_credentials(op->vault->id, guest->box, inv, &sealed);
	}
	if (err == 0 && (*out = malloc(2 * sealed.len + 1)) == NULL)
		err = -ENOMEM;
	if (err != 0)
		return control_refusal("the keys to the store could not be given to the invitation: %s", tell_reason(err));
	hex_format(sealed.data, sealed.len, *out);
	return NULL;
}

/* The link secret leaves sealed to the invitation, whose secret only the command knows. */
static json_t *
invitation_answer(struct op *op, const struct change *c, const char *keys)
{
	uint8_t sealed[INVITATION_SEALED_LEN];
	char sealed_hex[INVITATION_SEALED_LEN * 2 + 1], hash_hex[65], vault_hex[65];
	struct vault *v = op->vault;
	json_t *answer;
	err_t err;

	meta_lock(v->meta);
	err = invitation_seal_link(v->id, c->guest.box, v->secrets->link_secret, sealed);
	hex_format(sealed, sizeof(sealed), sealed_hex);
	hex_format(c->invited.hash, 32, hash_hex);
	hex_format(v->id, 32, vault_hex);
	answer = err != 0 ? control_refusal("the invitation could not be finished: %s", tell_reason(err)) :
	    json_pack("{s:b, s:I, s:s, s:s, s:s, s:s, s:s}", "ok", 1, "seq", (json_int_t)c->invited.seq, "hash", hash_hex, "vault", vault_hex,
	        "link", sealed_hex, "credentials", keys, "remote", v->remote_url != NULL ? v->remote_url : "");
	meta_unlock(v->meta);
	return answer;
}

/* An invitation is text, of so many bytes, and on its way through a command it loses what is an order to a terminal.  NULL: it can be. */
static const char *
why_not_given_out(struct vault *v)
{
	CLEANUP(handle_free_json) json_t *url = NULL;
	CLEANUP(free_ptr) char *tame = NULL;

	meta_lock(v->meta);
	url = json_string(v->remote_url != NULL ? v->remote_url : "");
	meta_unlock(v->meta);
	if (url == NULL)
		return "has bytes in it that are no UTF-8";
	if (json_string_length(url) > INVITATION_URL_MAX)
		return "is too long";
	if ((tame = strdup(json_string_value(url))) != NULL)
		human_tame(tame);
	return tame != NULL && strcmp(tame, json_string_value(url)) == 0 ? NULL : "has control characters in it";
}

json_t *
op_device_invite(struct op *op, const json_t *request)
{
	struct change c = { .what = CHANGE_INVITE, .name = json_string_value(json_object_get(request, "name")),
		.expires_ns = (uint64_t)json_integer_value(json_object_get(request, "expires_ns")) };
	CLEANUP(free_ptr) char *keys = NULL;
	const char *why;
	json_t *refusal;

	if (c.name == NULL || hex_parse(json_string_value(json_object_get(request, "sign")), c.guest.sign, 32) != 0 ||
	    hex_parse(json_string_value(json_object_get(request, "box")), c.guest.box, 32) != 0)
		return control_refusal("an invitation wants a name and keys");
	if ((why = why_not_given_out(op->vault)) != NULL)
		return control_refusal("the address of the store %s, so that no invitation can carry it: use the recovery key on the other "
		    "computer", why);
	/* First, since once it is given out it is not to fail any more. */
	if ((refusal = seal_keys(op, request, &c.guest, &keys)) == NULL)
		refusal = change_members(op, &c);
	return refusal != NULL ? refusal : invitation_answer(op, &c, keys);
}
