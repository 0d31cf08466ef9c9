/* What became of a file; and what all have in common who look back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gc.h"
#include "handles.h"
#include "hex.h"
#include "human.h"
#include "op_history.h"
#include "tell.h"

static void
asking_clear(struct asking *a)
{
	vfs_free(a->now);
	free(a->path);
	json_decref(a->answer);
}

err_t
op_history_path(const json_t *request, const char *key, char **out)
{
	CLEANUP(free_ptr) char *path = NULL;
	err_t err = hex_parse_path(json_string_value(json_object_get(request, key)), &path);
	size_t len, from;

	if (err != 0)
		return err;
	len = strlen(path);
	while (len > 0 && path[len - 1] == '/')
		path[--len] = '\0';
	from = strspn(path, "/");
	memmove(path, path + from, len - from + 1);
	*out = STEAL(path);
	return 0;
}

static bool
go_on(void *ctx, const char *text, uint64_t done, uint64_t total)
{
	op_progress(ctx, text, done, total, PROGRESS_COUNT);
	return !op_is_cancelled(ctx);
}

static json_t *
refuse(const struct asking *a, err_t err)
{
	const char *why = a->past != NULL ? past_why(a->past) : "";

	if (err == -EBUSY)
		return control_refusal("two other moments are being looked at: wait until those are done with, then try again");
	if (err == -ECANCELED)
		return control_refusal("given up before it was done");
	return control_refusal("%s", why[0] != '\0' ? why : tell_reason(err));
}

struct work {
	struct asking *a;
	err_t (*fn)(struct asking *a);
};

static err_t
find_oldest(struct sync *s, uint64_t *ns_out)
{
	int64_t keep_s = 0, oldest_s;
	err_t err = gc_get_keep(s, &keep_s);

	oldest_s = (int64_t)time(NULL) - keep_s;
	if (err == 0)
		*ns_out = oldest_s > 0 ? (uint64_t)oldest_s * 1000000000u : 0;
	return err;
}

static err_t
with_past(struct sync *s, void *ctx)
{
	struct work *w = ctx;
	CLEANUP(past_free_ptr) struct past *p = NULL;
	const struct past_watch watch = { go_on, w->a->op };
	err_t err = past_open(s, &watch, &p);

	if (err == -ENOENT) {
		w->a->answer = control_refusal("nothing is in the store yet, so there is nothing to go back to; run \"snugfs sync\"");
		return 0;
	}
	w->a->past = p;
	w->a->sync = s;
	if (err == 0 && (err = find_oldest(s, &w->a->oldest_ns)) == 0)
		err = w->fn(w->a);
	if (err != 0 && w->a->answer == NULL)
		w->a->answer = refuse(w->a, err);
	w->a->past = NULL;
	return 0;
}

json_t *
op_history_run(struct op *op, const json_t *request, err_t (*fn)(struct asking *a))
{
	CLEANUP(asking_clear) struct asking a = { .op = op, .request = request };
	struct work w = { &a, fn };
	char why[512];
	err_t err;

	if (op->uplink == NULL)
		return op_refuse_no_store(op);
	if ((err = op_history_path(request, "path", &a.path)) != 0 ||
	    (err = vfs_new(op->vault->meta, op->vault->content, op->vault->lookups, op->vault->dir, &a.now)) != 0)
		return control_refusal("%s", tell_reason(err));
	err = uplink_with_sync(op->uplink, with_past, &w, why, sizeof(why));
	if (err != 0)
		return control_refusal("%s", why[0] != '\0' ? why : tell_reason(err));
	return STEAL(a.answer);
}

/* Versions. */

static json_t *
changes_of(const struct history_version *v)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = {
		{ HISTORY_CREATED, "created" }, { HISTORY_CONTENT, "content" }, { HISTORY_ATTRIBUTES, "attributes" },
		{ HISTORY_NAMED, "named" }, { HISTORY_UNNAMED, "deleted" },
	};
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (v->changes & names[i].bit)
			(void)json_array_append_new(list, json_string(names[i].name));
	return list;
}

static json_t *
version_of(const struct history_version *v)
{
	char when[HISTORY_TIME_LEN], exact[HISTORY_TIME_LEN];
	json_t *o;

	history_time_print(v->time_ns, when);
	history_time_print_exact(v->time_ns, exact);
	o = json_pack("{s:I, s:s, s:s, s:o, s:o}", "commit", (json_int_t)v->seq, "time", exact, "at", when, "device",
	    human_path(v->device), "changes", changes_of(v));
	if (v->has_size)
		(void)json_object_set_new(o, "size", json_integer((json_int_t)v->size));
	if (v->name[0] != '\0')
		(void)json_object_set_new(o, "name", human_path(v->name));
	return o;
}

static json_t *
list_of(const struct history_versions *l)
{
	json_t *list = json_array();

	for (size_t i = 0; i < l->count && i < HISTORY_LISTED_MAX; i++)
		(void)json_array_append_new(list, version_of(&l->v[i]));
	return list;
}

static err_t
list_deleted(struct asking *a)
{
	CLEANUP(history_versions_clear) struct history_versions l = { 0 };
	const char *rest = NULL;
	uint64_t ino = 0;
	struct stat st;
	err_t err;

	if ((err = history_resolve(a->now, a->path, &ino, &rest)) != 0 || (err = vfs_getattr(a->now, ino, &st)) != 0)
		return err;
	if (*rest != '\0' || !S_ISDIR(st.st_mode)) {
		a->answer = control_refusal("\"%s\" is not a folder now: name a folder that is there", a->path);
		return 0;
	}
	if ((err = history_versions_deleted(a->past, a->now, ino, a->oldest_ns, &l)) == 0)
		a->answer = json_pack("{s:b, s:b, s:o}", "ok", 1, "more", l.count > HISTORY_LISTED_MAX, "versions", list_of(&l));
	return err;
}

/* Is there something of it that the store does not have yet? */
static bool
is_pending(struct asking *a)
{
	const char *rest = NULL;
	struct inode *i;
	uint64_t ino = 0;
	bool pending;

	if (history_resolve(a->now, a->path, &ino, &rest) != 0 || *rest != '\0')
		return false;
	meta_lock(a->op->vault->meta);
	pending = meta_inode_get(a->op->vault->meta, ino, &i) == 0 && i->pending != 0;
	meta_unlock(a->op->vault->meta);
	return pending;
}

static err_t
list_versions(struct asking *a)
{
	CLEANUP(history_versions_clear) struct history_versions l = { 0 };
	bool pending = is_pending(a);
	err_t err;

	if (json_is_true(json_object_get(a->request, "deleted")))
		return list_deleted(a);
	err = history_versions_of(a->op->history, a->sync, a->past, a->now, a->path, a->oldest_ns, &l);
	if (err == -ENOENT) {
		a->answer = control_refusal("nothing called \"%s\" was in the store for as long as history is kept", a->path);
		return 0;
	}
	if (err == 0)
		a->answer = json_pack("{s:b, s:b, s:b, s:b, s:b, s:o}", "ok", 1, "deleted", l.deleted, "complete", l.complete, "pending",
		    pending, "more", l.count > HISTORY_LISTED_MAX, "versions", list_of(&l));
	return err;
}

json_t *
op_versions(struct op *op, const json_t *request)
{
	return op_history_run(op, request, list_versions);
}
