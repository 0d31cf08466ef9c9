/* The daemon describes itself. */
#include "daemon_report.h"

#include "hex.h"
#include "human.h"
#include "op.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verified.h"

#define COUNTERS_MAX 64

static json_t *
time_or_null(time_t t)
{
	return t != 0 ? json_integer(t) : json_null();
}

/* [meta lock] */
static json_t *
device(struct vault *v, const struct trust_member *m)
{
	char id[IDENTITY_ID_LEN * 2 + 1];

	hex_format(m->id, IDENTITY_ID_LEN, id);
	return json_pack("{s:s, s:s, s:s, s:b, s:I, s:b}", "name", m->kind == MEMBER_RECOVERY ? "recovery key" : m->name, "id", id,
	    "kind", m->kind == MEMBER_RECOVERY ? "recovery-key" : m->kind == MEMBER_INVITATION ? "invitation" : "computer", "this",
	    memcmp(m->id, v->my_id, IDENTITY_ID_LEN) == 0, "added", (json_int_t)(m->added_ns / 1000000000u), "verified",
	    verified_has(v->meta, m->id));
}

static json_t *
devices(struct vault *v)
{
	json_t *list = json_array();

	meta_lock(v->meta);
	for (size_t i = 0; i < trust_member_count(v->trust); i++) {
		const struct trust_member *m = trust_member_at(v->trust, i);

		if (!m->removed)
			(void)json_array_append_new(list, device(v, m)); /* a list that is short of memory is shorter */
	}
	meta_unlock(v->meta);
	return list;
}

static json_t *
messages(struct uplink *u)
{
	json_t *list = json_array();
	char **texts = NULL;
	size_t count = 0;

	if (u != NULL && uplink_get_messages(u, &texts, &count) != 0)
		count = 0;
	for (size_t i = 0; i < count; i++) {
		(void)json_array_append_new(list, human_path(texts[i]));
		free(texts[i]);
	}
	free(texts);
	return list;
}

/* What hurts most comes first: changes that are not even on the local disk. */
static json_t *
problem(struct vault *v, const struct sync_status *st)
{
	err_t health = meta_health(v->meta);
	char text[1024];

	if (health != 0)
		snprintf(text, sizeof(text), "changes cannot be saved in %s (%s): make room or repair the disk, then they will be",
		    v->dir, strerror(-health));
	else if (st->problem != 0)
		snprintf(text, sizeof(text), "%s",
		    st->problem_text[0] != '\0' ? st->problem_text : strerror(-st->problem));
	else
		return json_null();
	return json_pack("{s:o, s:b}", "text", human_path(text), "removed", health == 0 && st->problem == -EKEYREVOKED);
}

static json_t *
counters_of(struct fuse_mount *fm)
{
	const char *names[COUNTERS_MAX];
	uint64_t counts[COUNTERS_MAX];
	size_t count = fuse_mount_counters(fm, names, counts, COUNTERS_MAX);
	json_t *all = json_object();

	for (size_t i = 0; i < count; i++)
		(void)json_object_set_new(all, names[i], json_integer((json_int_t)counts[i]));
	return all;
}

/* Of the store, by kind. */
static json_t *
requests_of(struct uplink *u)
{
	uint64_t calls[STORE_CALL_KINDS] = { 0 };

	if (u != NULL)
		uplink_get_calls(u, calls);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "put", (json_int_t)calls[STORE_CALL_PUT], "create",
	    (json_int_t)calls[STORE_CALL_CREATE], "get", (json_int_t)calls[STORE_CALL_GET], "size",
	    (json_int_t)calls[STORE_CALL_SIZE], "delete", (json_int_t)calls[STORE_CALL_REMOVE], "list",
	    (json_int_t)calls[STORE_CALL_LIST]);
}

static json_t *
remote_url(struct vault *v)
{
	json_t *url;

	meta_lock(v->meta);
	url = v->remote_url != NULL ? human_path(v->remote_url) : json_null();
	meta_unlock(v->meta);
	return url;
}

static json_t *
number_or_null(uint64_t n)
{
	return n != 0 ? json_integer((json_int_t)n) : json_null();
}

/* What is being uploaded, or is still to be, at the speed of the last seconds. */
static json_t *
time_left(const struct sync_status *st)
{
	uint64_t left = st->bytes_total > st->bytes_done ? st->bytes_total - st->bytes_done : 0;

	if (st->pending_bytes > st->bytes_done && st->pending_bytes - st->bytes_done > left)
		left = st->pending_bytes - st->bytes_done;
	if (!st->busy || left == 0 || st->traffic.up_per_s == 0)
		return json_null();
	return json_integer((json_int_t)(left / st->traffic.up_per_s + 1));
}

static json_t *
hold(const struct sync_status *st)
{
	if (st->hold == SETTINGS_GO)
		return json_null();
	return json_pack("{s:s, s:o}", "kind", st->hold == SETTINGS_OFFLINE ? "offline" : "paused", "until",
	    time_or_null(st->hold_until));
}

static json_t *
rekey(const struct sync_status *st)
{
	if (!st->rekey)
		return json_null();
	return json_pack("{s:I, s:I}", "done", (json_int_t)st->rekey_done, "total", (json_int_t)st->rekey_total);
}

json_t *
daemon_report(struct vault *v, struct uplink *u, struct fuse_mount *fm, bool counters)
{
	struct meta_pending_summary sum;
	struct sync_status st = { 0 };
	json_t *all, *more;

	if (u != NULL) {
		uplink_get_status(u, &st);
	} else {
		meta_pending_summary(v->meta, &sum);
		st.pending_inodes = sum.inode_count;
		st.pending_names = sum.dentry_count;
	}
	all = json_pack("{s:b, s:{s:I, s:I, s:I, s:o}, s:b, s:{s:I, s:I}, s:{s:I, s:I}, s:{s:o, s:o}, s:o, s:o}", "ok", 1,
	    "pending", "bytes", (json_int_t)st.pending_bytes, "files", (json_int_t)st.pending_inodes, "names",
	    (json_int_t)st.pending_names, "since", time_or_null(st.pending_since), "busy", st.busy, "progress", "done",
	    (json_int_t)st.bytes_done, "total", (json_int_t)st.bytes_total, "speed", "up", (json_int_t)st.traffic.up_per_s,
	    "down", (json_int_t)st.traffic.down_per_s, "limits", "up", number_or_null(st.up_rate), "down",
	    number_or_null(st.down_rate), "time_left", time_left(&st), "hold", hold(&st));
	more = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "last_push", time_or_null(st.last_push), "last_pull",
	    time_or_null(st.last_pull), "last_contact", time_or_null(st.last_contact), "devices", devices(v), "messages",
	    messages(u), "problem", problem(v, &st), "remote", remote_url(v));
	if (all == NULL || more == NULL || json_object_update(all, more) != 0) {
		json_decref(all);
		all = NULL;
	}
	json_decref(more);
	if (all != NULL)
		(void)json_object_set_new(all, "metered", json_boolean(st.metered));
	if (all != NULL)
		(void)json_object_set_new(all, "rekey", rekey(&st));
	if (all != NULL)
		(void)json_object_set_new(all, "cache", op_cache_report(v));
	if (all != NULL && counters) {
		(void)json_object_set_new(all, "counters", counters_of(fm));
		(void)json_object_set_new(all, "requests", requests_of(u));
	}
	return all;
}
