/*
 * The tree as it was: a base and the commits behind it, folded into an empty meta.
 *
 * A base counts only if it follows a commit of the chain as this device has seen it, and if its author may still write: one
 * that was removed could have made it up since, with the store's help.  Then an earlier base does, or the first commit.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "log.h"
#include "past_internal.h"

/* What is not stored yet of what was read. */
#define STORE_EVERY (4u << 20)

struct start {
	struct envelope_opened opened;
	struct changes *changes;
	struct trust *trust; /* as of it */
};

static void
start_clear(struct start *st)
{
	envelope_opened_clear(&st->opened);
	changes_free(st->changes);
	trust_free(st->trust);
}

/* The statements that we know, or the first of them. */
static err_t
check_statements(const struct past *p, const struct changes *c, struct trust **out)
{
	CLEANUP(trust_free_ptr) struct trust *t = NULL;
	err_t err = trust_new(&t);

	if (err != 0)
		return err;
	if (c->statement_count > trust_statement_count(p->trust))
		return -EBADMSG;
	for (uint32_t i = 0; i < c->statement_count; i++) {
		const uint8_t *known;
		size_t len;

		trust_statement_at(p->trust, i, &known, &len);
		if (len != c->statements[i].len || memcmp(known, c->statements[i].data, len) != 0)
			return -EBADMSG;
		if ((err = trust_apply(t, known, len)) != 0)
			return err;
	}
	*out = STEAL(t);
	return 0;
}

static err_t
check_author(const struct past *p, const struct start *st)
{
	const struct trust_member *m = trust_member_find(p->trust, st->opened.env.author);
	const char *box_name;
	uint8_t box_sha256[32];
	uint32_t epoch;

	if (m == NULL || m->removed)
		return -EBADMSG;
	if (trust_epoch(st->trust, &epoch, &box_name, box_sha256) != 0 || epoch != st->opened.env.epoch)
		return -EBADMSG;
	return admit_author(st->trust, &st->opened);
}

static err_t
check_base(struct past *p, uint64_t seq, const struct bytes *object, struct start *st)
{
	uint8_t hash[32];
	err_t err;

	if ((err = past_open_object(p, ENVELOPE_BASE, seq, object, &st->opened)) != 0 ||
	    (err = changes_decode(st->opened.body, st->opened.body_len, &st->changes)) != 0 ||
	    (err = check_statements(p, st->changes, &st->trust)) != 0 || (err = check_author(p, st)) != 0 ||
	    (err = past_hash(p, seq, hash)) != 0)
		return err;
	return memcmp(hash, st->opened.env.previous, sizeof(hash)) == 0 ? 0 : -EBADMSG;
}

static bool
is_bad(const struct past *p, uint64_t seq)
{
	for (size_t i = 0; i < p->bad_base_count; i++)
		if (p->bad_bases[i] == seq)
			return true;
	return false;
}

static err_t
set_aside(struct past *p, uint64_t seq)
{
	uint64_t *v = reallocarray(p->bad_bases, p->bad_base_count + 1, sizeof(*v));

	if (v == NULL)
		return -ENOMEM;
	p->bad_bases = v;
	v[p->bad_base_count++] = seq;
	log_warn("the base %" PRIu64 " in %s does not hold; an earlier one is used", seq, p->s->store->url);
	return 0;
}

static bool
does_not_hold(err_t err)
{
	return err == -EBADMSG || err == -EPROTO || err == -EPERM || err == -ENOENT;
}

/* The newest base that holds and is not newer than seq; *found_out false: none. */
static err_t
find_base(struct past *p, uint64_t seq, struct start *out, uint64_t *base_out, bool *found_out)
{
	CLEANUP(free_ptr) uint64_t *bases = NULL;
	size_t count = 0;
	err_t err = chain_list_bases(p->s->chain, &bases, &count);

	if (err != 0)
		return past_explain_store(p, err);
	*found_out = false;
	for (size_t i = 0; i < count; i++) {
		CLEANUP(bytes_clear) struct bytes object = { 0 };
		CLEANUP(start_clear) struct start st = { 0 };

		if (bases[i] > seq || is_bad(p, bases[i]))
			continue;
		err = chain_read_base(p->s->chain, bases[i], &object);
		if (err != 0 && !does_not_hold(err))
			return past_explain_store(p, err);
		if (err == 0)
			err = check_base(p, bases[i], &object, &st);
		if (err == 0) {
			*out = st;
			st = (struct start){ 0 };
			*base_out = bases[i];
			*found_out = true;
			return 0;
		}
		if (!does_not_hold(err) || (err = set_aside(p, bases[i])) != 0)
			return err;
	}
	return 0;
}

/* Parts are read as a joiner reads them: into a vault that has nothing but what they need. */
static err_t
apply_parts(struct past *p, const struct start *st, struct meta *m)
{
	struct vault v = { .keys = p->s->v->keys, .meta = m, .trust = st->trust };
	struct sync s = { .v = &v, .store = p->s->store, .chain = p->s->chain };
	uint32_t count = st->changes->part_count;
	err_t err = 0;

	memcpy(v.id, p->s->v->id, sizeof(v.id));
	pthread_mutex_init(&s.lock, NULL);
	for (uint32_t i = 0; err == 0 && i < count; i++)
		if ((err = past_step(p, "reading the base", i, count)) == 0 &&
		    (err = base_apply_part(&s, i, &st->changes->parts[i], st->opened.env.author)) == 0)
			err = meta_sync(m);
	if (err != 0 && s.why[0] != '\0')
		(void)past_explain(p, err, "%s", s.why);
	pthread_mutex_destroy(&s.lock);
	return err;
}

static err_t
no_commit(void *ctx)
{
	(void)ctx;
	return 0;
}

static err_t
apply_commit(struct past *p, uint64_t seq, struct meta *m)
{
	CLEANUP(past_commit_clear) struct past_commit c = { 0 };
	CLEANUP(merge_result_clear) struct merge_result result = { 0 };
	struct merge_context mc = { .meta = m, .my_name = "", .now = 0 };
	err_t err = past_read(p, seq, &c);

	return err != 0 ? err : merge_apply_foreign(&mc, c.changes, no_commit, NULL, &result);
}

/* As much as the commits' sizes say. */
static err_t
store_now_and_then(struct past *p, uint64_t seq, struct meta *m, uint64_t *unstored)
{
	*unstored += p->links[p->head - seq].len;
	if (*unstored < STORE_EVERY)
		return 0;
	*unstored = 0;
	return meta_sync(m);
}

err_t
past_build(struct past *p, uint64_t seq, struct meta *m)
{
	CLEANUP(start_clear) struct start st = { 0 };
	uint64_t first = 0, base = 0, unstored = 0;
	bool found = false;
	uint8_t hash[32];
	err_t err;

	if ((err = past_hash(p, seq, hash)) != 0 || (err = find_base(p, seq, &st, &base, &found)) != 0)
		return err;
	if (found) {
		err = apply_parts(p, &st, m);
		if (does_not_hold(err))
			return (err = set_aside(p, base)) != 0 ? err : -ERESTART;
		first = base + 1;
	}
	for (uint64_t at = first; err == 0 && at <= seq; at++)
		if ((err = past_step(p, "going back in time", at - first, seq + 1 - first)) == 0 &&
		    (err = apply_commit(p, at, m)) == 0)
			err = store_now_and_then(p, at, m, &unstored);
	return err != 0 ? err : meta_sync(m);
}
