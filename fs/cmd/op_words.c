/* The words that people compare: of the chain, and of each device; and what came of comparing them. */
#include <errno.h>
#include <string.h>

#include "hex.h"
#include "lookback.h"
#include "op.h"
#include "safetywords.h"
#include "tell.h"
#include "verified.h"

/* [meta lock] */
static json_t *
describe(struct vault *v, const struct trust_member *m)
{
	char words[SAFETYWORDS_TEXT_LEN + 1], id[2 * IDENTITY_ID_LEN + 1];

	if (safetywords_member(v->id, m->id, words) != 0)
		return NULL;
	hex_format(m->id, IDENTITY_ID_LEN, id);
	return json_pack("{s:s, s:s, s:s, s:b, s:b}", "name", m->name, "id", id, "words", words, "this",
	    memcmp(m->id, v->my_id, sizeof(m->id)) == 0, "verified", verified_has(v->meta, m->id));
}

static json_t *
describe_all(struct vault *v)
{
	json_t *list = json_array();

	meta_lock(v->meta);
	for (size_t i = 0; i < trust_member_count(v->trust); i++) {
		const struct trust_member *m = trust_member_at(v->trust, i);

		if (!m->removed && m->kind == MEMBER_DEVICE)
			(void)json_array_append_new(list, describe(v, m));
	}
	meta_unlock(v->meta);
	return list;
}

struct look {
	uint64_t seq;
	uint8_t hash[32];
};

static err_t
look_back(struct sync *s, void *ctx)
{
	struct look *l = ctx;

	return lookback_hash(s, l->seq, l->hash);
}

/* NULL: *l is the commit that was asked for; else a refusal. */
static json_t *
find_commit(struct op *op, const json_t *at, uint64_t head, struct look *l)
{
	char why[512] = "";
	err_t err;

	if (at == NULL || (uint64_t)json_integer_value(at) == head)
		return NULL;
	l->seq = (uint64_t)json_integer_value(at);
	if (l->seq > head)
		return control_refusal("this device has seen commits up to number %llu only", (unsigned long long)head);
	err = uplink_with_sync(op->uplink, look_back, l, why, sizeof(why));
	if (err == 0)
		return NULL;
	if (err == -ESTALE)
		return control_refusal("the store has lost or replaced commits that this device has seen: run \"snugfs verify\"");
	return control_refusal("commit %llu cannot be read: %s", (unsigned long long)l->seq, why[0] != '\0' ? why :
	    tell_reason(err));
}

json_t *
op_words(struct op *op, const json_t *request)
{
	struct vault *v = op->vault;
	char words[SAFETYWORDS_TEXT_LEN + 1];
	struct look l = { 0 };
	uint64_t head;
	bool has_head;
	json_t *refusal;

	if (op->uplink == NULL)
		return op_refuse_no_store(op);
	meta_lock(v->meta);
	has_head = v->has_head;
	head = l.seq = v->head_seq;
	memcpy(l.hash, v->head_hash, sizeof(l.hash));
	meta_unlock(v->meta);
	if (!has_head)
		return control_refusal("nothing has been synced yet, so there is nothing to compare: run \"snugfs sync\"");
	if ((refusal = find_commit(op, json_object_get(request, "at"), head, &l)) != NULL)
		return refusal;
	if (safetywords_head(v->id, l.seq, l.hash, words) != 0)
		return NULL;
	return json_pack("{s:b, s:I, s:I, s:s, s:o}", "ok", 1, "head", (json_int_t)head, "commit", (json_int_t)l.seq, "words",
	    words, "devices", describe_all(v));
}

json_t *
op_verify_device(struct op *op, const json_t *request)
{
	const char *wanted = json_string_value(json_object_get(request, "id"));
	uint8_t id[IDENTITY_ID_LEN];
	bool found = false;
	err_t err;

	meta_lock(op->vault->meta);
	for (size_t i = 0; wanted != NULL && i < trust_member_count(op->vault->trust) && !found; i++) {
		const struct trust_member *m = trust_member_at(op->vault->trust, i);
		char text[2 * IDENTITY_ID_LEN + 1];

		hex_format(m->id, IDENTITY_ID_LEN, text);
		found = !m->removed && strcmp(text, wanted) == 0;
		memcpy(id, m->id, sizeof(id));
	}
	meta_unlock(op->vault->meta);
	if (!found)
		return control_refusal("there is no such device any more");
	err = verified_set(op->vault->meta, id, json_is_true(json_object_get(request, "verified")));
	return err != 0 ? control_refusal("that could not be noted: %s", tell_reason(err)) : json_pack("{s:b}", "ok", 1);
}
