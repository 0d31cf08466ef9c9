/*
 * The run: a pass counts what is under old keys, then takes it in batches from the beginning to the end, each a commit; what was
 * pending, or came meanwhile, is for the next pass.  When nothing is left, a base is written, so that none of those under old
 * epochs is needed any more.
 */
#include "rekey.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cborio.h"
#include "clock.h"
#include "gc.h"
#include "log.h"
#include "rekey_internal.h"

#define STATE_VERSION 1
/* A batch is so large that it takes some seconds: it must not keep long from the store what people write. */
#define BATCH_MIN (UINT64_C(1) << 20)
#define BATCH_FIRST BATCH_MIN
#define BATCH_MAX (UINT64_C(64) << 20)
#define BATCH_SHORT_MS 2000
#define BATCH_LONG_MS 8000
/*
 * What is being written, or pending, must wait, and to find out means to go through everything: so it is let alone for longer and longer,
 * while somebody waits for the end not for so long.
 */
#define REST_FIRST_MS 1000u
#define REST_MAX_MS 900000u
#define REST_ASKED_MAX_MS 30000u
#define REST_STEP_MS 100u

/* The state: [version, epoch + 1 (0: that of when it is counted), total], or nothing. */

static err_t
save(struct rekey *r)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	struct meta *m = r->s->v->meta;
	err_t err = 0;

	if (atomic_load(&r->wanted) && ((err = cbor_put_array(&b, 3)) != 0 || (err = cbor_put_uint(&b, STATE_VERSION)) != 0 ||
	    (err = cbor_put_uint(&b, r->has_epoch ? (uint64_t)r->epoch + 1 : 0)) != 0 || (err = cbor_put_uint(&b, r->total)) != 0))
		return err;
	meta_lock(m);
	err = meta_kv_put(m, DB_KEY_REKEY, b.data != NULL ? b.data : (const uint8_t *)"", b.len);
	meta_unlock(m);
	return err;
}

static err_t
read_state(struct rekey *r, struct cursor *c)
{
	uint64_t version, epoch;
	size_t count = 0;
	err_t err;

	if ((err = cbor_get_array(c, &count)) != 0 || (err = cbor_get_uint_max(c, STATE_VERSION, &version)) != 0 ||
	    (err = cbor_get_uint_max(c, (uint64_t)UINT32_MAX + 1, &epoch)) != 0 || (err = cbor_get_uint(c, &r->total)) != 0)
		return err;
	r->has_epoch = epoch != 0;
	r->epoch = epoch != 0 ? (uint32_t)(epoch - 1) : 0;
	atomic_store(&r->wanted, true);
	return count == 3 ? 0 : -EBADMSG;
}

static err_t
load(struct rekey *r)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	struct meta *m = r->s->v->meta;
	struct cursor c;
	err_t err;

	meta_lock(m);
	err = meta_kv_get(m, DB_KEY_REKEY, &b);
	meta_unlock(m);
	if (err != 0 || b.len == 0)
		return err == -ENOENT ? 0 : err;
	c = (struct cursor){ b.data, b.len };
	return read_state(r, &c);
}

static void
show(struct rekey *r)
{
	struct sync *s = r->s;

	pthread_mutex_lock(&s->lock);
	s->status.rekey = atomic_load(&r->wanted);
	s->status.rekey_total = s->status.rekey ? r->total : 0;
	s->status.rekey_done = s->status.rekey && r->counted ? r->total - r->left : 0;
	pthread_mutex_unlock(&s->lock);
}

err_t
rekey_new(struct sync *s, struct rekey **out)
{
	struct rekey *r = calloc(1, sizeof(*r));
	err_t err;

	if (r == NULL)
		return -ENOMEM;
	r->s = s;
	r->batch_len = BATCH_FIRST;
	if ((err = load(r)) != 0) {
		rekey_free(r);
		return err;
	}
	show(r);
	*out = r;
	return 0;
}

void
rekey_free(struct rekey *r)
{
	if (r == NULL)
		return;
	rekey_forget_uses(r);
	free(r);
}

static void
end_pass(struct rekey *r)
{
	rekey_forget_uses(r);
	r->counted = false;
	r->walk = (struct walk){ 0 };
}

/* [round] */
static err_t
set_wanted(struct rekey *r, bool wanted)
{
	err_t err;

	end_pass(r);
	r->has_epoch = false;
	r->total = r->left = 0;
	r->rest_ms = 0;
	atomic_store(&r->wanted, wanted);
	if ((err = save(r)) == 0)
		err = meta_sync(r->s->v->meta);
	show(r);
	return err;
}

/* [round] Whether what is under way is what is asked for again: then it goes on, and its end is told. */
static bool
is_under_way(const struct rekey *r)
{
	uint32_t epoch;

	return atomic_load(&r->wanted) && r->has_epoch && keyring_current(r->s->v->keys, &epoch) == 0 && epoch == r->epoch;
}

err_t
rekey_begin(struct sync *s)
{
	err_t err;

	pthread_mutex_lock(&s->round);
	err = is_under_way(s->rekey) ? 0 : set_wanted(s->rekey, true);
	pthread_mutex_unlock(&s->round);
	pthread_mutex_lock(&s->lock);
	s->kicked = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	return err;
}

err_t
rekey_stop(struct sync *s)
{
	err_t err;

	atomic_store(&s->rekey->wanted, false); /* what is under way ends */
	pthread_mutex_lock(&s->round);
	err = set_wanted(s->rekey, false);
	pthread_mutex_unlock(&s->round);
	return err;
}

/* The pass. */

err_t
rekey_step(struct rekey *r)
{
	const struct rekey_options *o = r->options;

	if (engine_is_interrupted(r->s) || !atomic_load(&r->wanted))
		return -ECANCELED;
	if (o == NULL || o->progress == NULL)
		return 0;
	return o->progress(o->ctx, r->counted ? r->total - r->left : 0, r->counted ? r->total : 0) ? 0 : -ECANCELED;
}

static err_t
begin_pass(struct rekey *r)
{
	err_t err;

	if (!r->has_epoch) {
		if ((err = keyring_current(r->s->v->keys, &r->epoch)) != 0)
			return err;
		r->has_epoch = true;
	}
	r->done = r->busy = r->damaged = 0;
	r->walk = (struct walk){ 0 };
	if ((err = rekey_count(r)) != 0)
		return err;
	r->counted = true;
	if (r->total < r->left)
		r->total = r->left;
	show(r);
	return save(r);
}

static void
tell_done(struct rekey *r)
{
	int64_t keep_s = GC_KEEP_DEFAULT_S;
	char rest[160] = "";

	if (gc_get_keep(r->s, &keep_s) != 0)
		keep_s = GC_KEEP_DEFAULT_S;
	if (r->damaged > 0)
		snprintf(rest, sizeof(rest), " %" PRIu64 " damaged parts of files are left as they were: \"snugfs verify\" says which.",
		    r->damaged);
	report_message(r->s, "All content is under keys now that only today's devices have.%s What was there before leaves the "
	    "store when no history needs it any more (%lld days).", rest, (long long)((keep_s + 86399) / 86400));
	report_save(r->s);
}

static void
rest(struct rekey *r, unsigned *rest_ms_out)
{
	unsigned twice = r->rest_ms < REST_MAX_MS / 2 ? r->rest_ms * 2 : REST_MAX_MS;

	r->rest_ms = r->rest_ms == 0 ? REST_FIRST_MS : twice;
	*rest_ms_out = r->rest_ms;
}

/* Nothing is left, or nothing that can be read. */
static err_t
finish(struct rekey *r, unsigned *rest_ms_out)
{
	bool any = r->total > 0;
	err_t err = any ? base_write(r->s) : 0;

	if (err != 0)
		end_pass(r); /* what was found out is old by the next time */
	if (err == -EBUSY) { /* something is pending: when that is pushed */
		rest(r, rest_ms_out);
		return 0;
	}
	if (err == 0 && any)
		tell_done(r);
	return err != 0 ? err : set_wanted(r, false);
}

static void
adapt(struct rekey *r, int64_t took_ms)
{
	if (took_ms < BATCH_SHORT_MS && r->batch_len < BATCH_MAX)
		r->batch_len *= 2;
	else if (took_ms > BATCH_LONG_MS && r->batch_len > BATCH_MIN)
		r->batch_len /= 2;
}

static err_t
do_batch(struct rekey *r)
{
	CLEANUP(rekey_batch_clear) struct rekey_batch b = { .r = r };
	int64_t began = clock_ms(CLOCK_MONOTONIC);
	err_t err = rekey_find(&b);

	if (err == 0 && b.count > 0 && (err = rekey_seal(&b)) == 0)
		adapt(r, clock_ms(CLOCK_MONOTONIC) - began);
	if (err != 0)
		end_pass(r); /* what was found is not done */
	show(r);
	return err;
}

/* [round, pulled] */
static err_t
advance(struct rekey *r, unsigned *rest_ms_out)
{
	err_t err = 0;

	*rest_ms_out = 0;
	if (!r->counted) {
		if ((err = begin_pass(r)) != 0)
			return err;
		if (r->left == 0)
			return finish(r, rest_ms_out);
	}
	if ((err = do_batch(r)) != 0 || !r->walk.ended)
		return err;
	if (r->done == 0 && r->busy == 0 && r->damaged > 0)
		return finish(r, rest_ms_out);
	if (r->done == 0)
		rest(r, rest_ms_out);
	else
		r->rest_ms = 0;
	end_pass(r);
	return 0;
}

bool
rekey_is_due(const struct sync *s)
{
	return atomic_load(&s->rekey->wanted) && atomic_load(&s->rekey->asked) == 0;
}

err_t
rekey_some(struct sync *s, unsigned *rest_ms_out)
{
	struct rekey *r = s->rekey;
	bool news;
	err_t err;

	*rest_ms_out = REST_FIRST_MS;
	engine_round_begin(s, false);
	err = engine_is_interrupted(s) ? -ECANCELED : pull_poll(s, &news);
	if (err == 0 && atomic_load(&r->wanted))
		err = advance(r, rest_ms_out);
	return engine_round_end(s, err);
}

/* For somebody. */

/* What can't go would be waited for without end. */
static err_t
send_all(struct sync *s)
{
	bool news;
	err_t err = engine_exchange(s, ENGINE_PUSH_PASSES, &news), left;

	if (err != 0 || (left = report_left(s)) == 0)
		return err;
	return report_why(s, left, "%s", s->left_why);
}

static err_t
run_some(struct rekey *r, const struct rekey_options *o, struct rekey_report *out, unsigned *rest_ms_out)
{
	struct sync *s = r->s;
	uint64_t before;
	bool news;
	err_t err;

	engine_round_begin(s, true);
	r->options = o;
	before = r->bytes;
	if (atomic_load(&s->hold) == SETTINGS_OFFLINE)
		err = report_why(s, -ENETDOWN, "this folder is offline, as was asked for: \"snugfs resume\" ends that");
	else
		err = r->counted ? pull_all(s, &news) : send_all(s);
	if (err == 0 && atomic_load(&r->wanted))
		err = advance(r, rest_ms_out);
	out->bytes += r->bytes - before;
	out->damaged = r->damaged;
	r->options = NULL;
	return engine_round_end(s, err);
}

/* In short steps, so that whoever has gone is noticed. */
static err_t
wait_a_moment(const struct rekey_options *o, struct sync *s, unsigned rest_ms)
{
	const struct timespec step = { .tv_nsec = REST_STEP_MS * 1000000L };
	unsigned steps = (rest_ms < REST_ASKED_MAX_MS ? rest_ms : REST_ASKED_MAX_MS) / REST_STEP_MS;
	struct sync_status status;
	bool go_on = true;

	sync_get_status(s, &status);
	for (unsigned k = 0; k < steps && go_on; k++) {
		nanosleep(&step, NULL);
		go_on = !atomic_load(&s->stop) &&
		    (o->progress == NULL || o->progress(o->ctx, status.rekey_done, status.rekey_total));
	}
	return go_on ? 0 : -ECANCELED;
}

static void
explain(struct sync *s, err_t err, char why[static 512])
{
	struct sync_status status;

	sync_get_status(s, &status);
	if (status.problem == err)
		snprintf(why, 512, "%s", status.problem_text);
	else if (err != -ECANCELED)
		store_explain(s->store, err, why, 512);
}

err_t
rekey_run(struct sync *s, const struct rekey_options *o, struct rekey_report *out)
{
	struct rekey *r = s->rekey;
	err_t err = 0;

	*out = (struct rekey_report){ 0 };
	atomic_fetch_add(&r->asked, 1);
	pthread_mutex_lock(&s->round);
	r->rest_ms = 0;
	pthread_mutex_unlock(&s->round);
	while (err == 0 && atomic_load(&r->wanted)) {
		unsigned rest_ms = 0;

		err = run_some(r, o, out, &rest_ms);
		if (err == 0 && rest_ms > 0)
			err = wait_a_moment(o, s, rest_ms);
	}
	atomic_fetch_sub(&r->asked, 1);
	if (err != 0)
		explain(s, err, out->why);
	return err;
}
