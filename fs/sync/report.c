/* What people are told: why a round failed, and what happened that they should know. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "log.h"

#define MESSAGES_MAX 200u
#define MESSAGE_LEN_MAX 2000u
/* Files that can't be read are named up to this number: other messages are to stay. */
#define LOSSES_TOLD 5u
#define RECORD_VERSION 1

err_t
report_why(struct sync *s, err_t err, const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&s->lock);
	va_start(ap, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
	pthread_mutex_unlock(&s->lock);
	return err;
}

void
report_leave(struct sync *s, err_t err, const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&s->lock);
	s->left = err;
	va_start(ap, fmt);
	vsnprintf(s->left_why, sizeof(s->left_why), fmt, ap);
	va_end(ap);
	pthread_mutex_unlock(&s->lock);
}

void
report_leave_nothing(struct sync *s)
{
	pthread_mutex_lock(&s->lock);
	s->left = 0;
	pthread_mutex_unlock(&s->lock);
}

err_t
report_left(struct sync *s)
{
	struct meta_pending_summary sum;
	err_t left;

	meta_pending_summary(s->v->meta, &sum);
	pthread_mutex_lock(&s->lock);
	/* Whoever deletes a file that was never sent leaves nothing to push. */
	if (sum.inode_count == 0 && sum.dentry_count == 0)
		s->left = 0;
	left = s->left;
	pthread_mutex_unlock(&s->lock);
	return left;
}

err_t
report_store(struct sync *s, err_t err)
{
	char what[384];

	if (err == 0 || err == -ECANCELED)
		return err;
	store_explain(s->store, err, what, sizeof(what));
	return report_why(s, err, "%s%s", what, err == -EAGAIN ? "; it will be tried again" : "");
}

static void
describe(err_t err, char *out, size_t out_len)
{
	switch (-err) {
	case ENOSPC:
	case EDQUOT:
		snprintf(out, out_len, "the local disk is full: free some space, then syncing goes on");
		break;
	case ENOMEM:
		snprintf(out, out_len, "out of memory: syncing will be tried again");
		break;
	default:
		snprintf(out, out_len, "syncing failed (%s); everything is kept here; run \"snugfs sync\" to try again",
		    strerror(-err));
	}
}

static void
announce(struct sync *s, const char *kind, const char *text)
{
	if (s->hooks.event != NULL)
		s->hooks.event(s->hooks.ctx, kind, text);
}

void
report_end(struct sync *s, err_t err)
{
	char line[sizeof(s->status.problem_text)] = "";
	bool left = err == 0 && (err = report_left(s)) != 0;

	pthread_mutex_lock(&s->lock);
	if (err != 0 && err != -ECANCELED) {
		char text[sizeof(s->status.problem_text)];

		if (left || s->why[0] != '\0')
			snprintf(text, sizeof(text), "%s", left ? s->left_why : s->why);
		else
			describe(err, text, sizeof(text));
		if (strcmp(text, s->status.problem_text) != 0)
			memcpy(line, text, sizeof(line));
		memcpy(s->status.problem_text, text, sizeof(text));
		s->status.problem = err;
	} else if (err == 0) {
		s->status.problem = 0;
		s->status.problem_text[0] = '\0';
	}
	s->why[0] = '\0';
	s->status.busy = false;
	pthread_mutex_unlock(&s->lock);
	if (line[0] != '\0') {
		log_warn("%s", line);
		announce(s, "problem", line);
	}
}

/* Messages. */

static void
message_add(struct sync *s, char *text)
{
	char **v;

	pthread_mutex_lock(&s->lock);
	if (s->message_count == MESSAGES_MAX) {
		free(s->messages[0]);
		s->message_count--;
		memmove(s->messages, s->messages + 1, s->message_count * sizeof(s->messages[0]));
	}
	v = realloc(s->messages, (s->message_count + 1) * sizeof(v[0]));
	if (v != NULL) {
		s->messages = v;
		v[s->message_count++] = text;
	} else {
		free(text); /* it is in the log */
	}
	pthread_mutex_unlock(&s->lock);
}

__attribute__((format(printf, 3, 0))) static void
tell(struct sync *s, const char *kind, const char *fmt, va_list ap)
{
	char *text;
	int len = vasprintf(&text, fmt, ap);

	if (len < 0)
		return;
	if ((size_t)len > MESSAGE_LEN_MAX)
		text[MESSAGE_LEN_MAX] = '\0';
	log_info("%s", text);
	announce(s, kind, text);
	message_add(s, text);
}

void
report_message(struct sync *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(s, "notice", fmt, ap);
	va_end(ap);
}

void
report_loss(void *ctx, uint64_t ino, const char *path)
{
	struct sync *s = ctx;
	size_t count = 0;

	pthread_mutex_lock(&s->lock);
	if (numset_count(s->losses) <= LOSSES_TOLD && !numset_has(s->losses, ino) && numset_add(&s->losses, ino) == 0)
		count = numset_count(s->losses);
	pthread_mutex_unlock(&s->lock);
	if (count > LOSSES_TOLD)
		report_message(s, "More files can't be read since they are damaged: \"snugfs verify\" names them all.");
	else if (count > 0)
		report_message(s, "\"%s\" can't be read: some of it is damaged or missing. \"snugfs verify\" says what; with --repair, on a "
		    "computer that has it whole, it puts that back.", path);
}

__attribute__((format(printf, 3, 4))) static void
tell_of(struct sync *s, const char *kind, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(s, kind, fmt, ap);
	va_end(ap);
}

void
sync_dismiss_messages(struct sync *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->message_count > 0)
		free(s->messages[--s->message_count]);
	pthread_mutex_unlock(&s->lock);
	report_save(s);
}

/* Who it was, for a sentence. */
static void
describe_member(const struct trust *t, const uint8_t id[static IDENTITY_ID_LEN], char *out, size_t out_len)
{
	const struct trust_member *m = trust_member_find(t, id);

	if (m == NULL)
		snprintf(out, out_len, "an unknown device");
	else if (m->kind == MEMBER_RECOVERY)
		snprintf(out, out_len, "the recovery key");
	else
		snprintf(out, out_len, "\"%s\"", m->name);
}

#define BY_LEN (TRUST_NAME_MAX + 32)

static void
report_addition(struct sync *s, const struct trust *t, const struct trust_member *now)
{
	const struct trust_member *guest = trust_member_find(t, now->added_by);
	char by[BY_LEN];

	describe_member(t, now->added_by, by, sizeof(by));
	if (now->kind == MEMBER_RECOVERY) {
		tell_of(s, "device", "The recovery key was replaced: the old one opens nothing that is written from now on. If that was "
		    "not you, somebody has the old one: move your files to a new vault.");
	} else if (now->kind == MEMBER_INVITATION) {
		tell_of(s, "device", "%s has invited another device (\"%s\"). If that was not you, withdraw the invitation with \"snugfs "
		    "device remove\".", by, now->name);
	} else if (guest != NULL && guest->kind == MEMBER_INVITATION) {
		describe_member(t, guest->added_by, by, sizeof(by));
		tell_of(s, "device", "The device \"%s\" came in with an invitation by %s. If that was not you, somebody else can open this "
		    "vault: remove it with \"snugfs device remove\".", now->name, by);
	} else {
		tell_of(s, "device", "The device \"%s\" was added by %s. If that was not you, somebody else can open this vault: "
		    "move your files to a new one.", now->name, by);
	}
}

/* An invitation that was used says so by the device that came. */
static void
report_removal(struct sync *s, const struct trust *t, const struct trust_member *now)
{
	char by[BY_LEN];

	if (memcmp(now->removed_by, now->id, sizeof(now->id)) == 0)
		return;
	describe_member(t, now->removed_by, by, sizeof(by));
	if (now->kind == MEMBER_INVITATION)
		tell_of(s, "device", "The invitation \"%s\" was withdrawn by %s.", now->name, by);
	else if (now->kind == MEMBER_RECOVERY)
		tell_of(s, "device", "A recovery key was removed by %s.", by);
	else
		tell_of(s, "device", "The device \"%s\" was removed by %s.", now->name, by);
}

void
report_members(struct sync *s, const struct trust *before, const struct trust *after)
{
	for (size_t i = 0; i < trust_member_count(after); i++) {
		const struct trust_member *now = trust_member_at(after, i);
		const struct trust_member *then = i < trust_member_count(before) ? trust_member_at(before, i) : NULL;
		bool mine = memcmp(now->id, s->v->my_id, sizeof(now->id)) == 0;

		/* Of what this device does itself its owner knows. */
		if (then == NULL && !mine && memcmp(now->added_by, s->v->my_id, sizeof(now->added_by)) != 0)
			report_addition(s, after, now);
		if ((then == NULL || !then->removed) && now->removed &&
		    memcmp(now->removed_by, s->v->my_id, sizeof(now->removed_by)) != 0)
			report_removal(s, after, now);
		if (then != NULL && strcmp(then->name, now->name) != 0)
			tell_of(s, "device", "The device \"%s\" is now called \"%s\".", then->name, now->name);
	}
	if (trust_policy(before)->devices_may_add != trust_policy(after)->devices_may_add)
		report_message(s, "From now on new devices are let in by %s.", trust_policy(after)->devices_may_add ? "any device" :
		    "the recovery key alone");
}

void
report_conflicts(struct sync *s, const struct merge_result *r)
{
	for (size_t i = 0; i < r->conflict_count; i++)
		tell_of(s, "conflict", "%s", r->conflicts[i].sentence);
}

void
sync_get_calls(const struct sync *s, uint64_t out[static STORE_CALL_KINDS])
{
	store_get_calls(s->store, out);
}

err_t
sync_get_messages(struct sync *s, char ***out, size_t *count_out)
{
	char **copy;
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	copy = calloc(s->message_count + 1, sizeof(copy[0]));
	while (copy != NULL && n < s->message_count && (copy[n] = strdup(s->messages[n])) != NULL)
		n++;
	if (copy == NULL || n < s->message_count) {
		while (n > 0)
			free(copy[--n]);
		free(copy);
		pthread_mutex_unlock(&s->lock);
		return -ENOMEM;
	}
	pthread_mutex_unlock(&s->lock);
	*out = copy;
	*count_out = n;
	return 0;
}

/* Keeping them: version, last push, last pull, count, then each message with its length. */

static err_t
encode(struct sync *s, struct bytes *b)
{
	err_t err;

	if ((err = bytes_append_u8(b, RECORD_VERSION)) != 0 ||
	    (err = bytes_append_u64(b, (uint64_t)s->status.last_push)) != 0 ||
	    (err = bytes_append_u64(b, (uint64_t)s->status.last_pull)) != 0 ||
	    (err = bytes_append_u32(b, (uint32_t)s->message_count)) != 0)
		return err;
	for (size_t i = 0; i < s->message_count; i++) {
		size_t len = strlen(s->messages[i]);

		if ((err = bytes_append_u16(b, (uint16_t)len)) != 0 ||
		    (err = bytes_append(b, s->messages[i], len)) != 0)
			return err;
	}
	return 0;
}

void
report_save(struct sync *s)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err;

	pthread_mutex_lock(&s->lock);
	err = encode(s, &b);
	pthread_mutex_unlock(&s->lock);
	if (err == 0) {
		meta_lock(s->v->meta);
		err = meta_kv_put(s->v->meta, DB_KEY_STATUS, b.data, b.len);
		meta_unlock(s->v->meta);
	}
	if (err != 0)
		log_warn("the messages of this round are in this log only: %s", strerror(-err));
}

static err_t
decode(struct sync *s, struct cursor *c)
{
	uint8_t version;
	uint64_t push, pull;
	uint32_t count;
	err_t err;

	if ((err = cursor_u8(c, &version)) != 0)
		return err;
	if (version != RECORD_VERSION)
		return -EPROTO;
	if ((err = cursor_u64(c, &push)) != 0 || (err = cursor_u64(c, &pull)) != 0 || (err = cursor_u32(c, &count)) != 0)
		return err;
	s->status.last_push = (time_t)push;
	s->status.last_pull = (time_t)pull;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *data;
		uint16_t len;
		char *text;

		if ((err = cursor_u16(c, &len)) != 0 || (err = cursor_take(c, len, &data)) != 0)
			return err;
		text = strndup((const char *)data, len);
		if (text == NULL)
			return -ENOMEM;
		message_add(s, text);
	}
	return 0;
}

err_t
report_load(struct sync *s)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err;

	meta_lock(s->v->meta);
	err = meta_kv_get(s->v->meta, DB_KEY_STATUS, &b);
	meta_unlock(s->v->meta);
	if (err == -ENOENT)
		return 0;
	return err != 0 ? err : decode(s, &(struct cursor){ b.data, b.len });
}
