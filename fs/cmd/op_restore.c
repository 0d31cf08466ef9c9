/* A file or folder as it was, put back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "human.h"
#include "op_history.h"
#include "tell.h"

struct restoring {
	struct asking *a;
	uint64_t seq;
	uint64_t time_ns;
	struct history_view *view;
	struct history_restore r;
	char *parent_path;
	char name[NAME_LEN_MAX + 1];
	bool chosen; /* the name was asked for */
};

/* A moment, as a commit.  Refusals are in a->answer. */
static err_t
find_moment(struct restoring *g, const char *text)
{
	struct asking *a = g->a;
	struct history_when when;
	char oldest[HISTORY_TIME_LEN];
	uint64_t first_ns;
	err_t err = history_time_parse(text, time(NULL), &when);

	if (err != 0) {
		a->answer = control_refusal("\"%s\" is no time that is understood: write \"2026-11-20 14:30\", \"yesterday\", "
		    "\"3 hours ago\" or \"commit 12\"", text);
		return 0;
	}
	if (when.is_commit && when.seq > past_head(a->past)) {
		a->answer = control_refusal("there is no commit %" PRIu64 " yet: the last one is %" PRIu64, when.seq,
		    past_head(a->past));
		return 0;
	}
	g->seq = when.seq;
	g->time_ns = when.time_ns;
	if (when.is_commit)
		return past_time(a->past, g->seq, &g->time_ns);
	err = past_find(a->past, when.time_ns, &g->seq);
	if (err != -ENOENT)
		return err;
	if ((err = past_time(a->past, 0, &first_ns)) != 0)
		return err;
	history_time_print(first_ns, oldest);
	a->answer = control_refusal("the store's history begins at %s: there is nothing before that", oldest);
	return 0;
}

static err_t
find_last(struct restoring *g)
{
	struct asking *a = g->a;
	const char *rest = NULL;
	uint64_t ino;
	err_t err = history_resolve(a->now, a->path, &ino, &rest);

	if (err == 0 && *rest == '\0') {
		a->answer = control_refusal("\"%s\" is there: say with --at TIME which of its versions is wanted; \"snugfs versions\" "
		    "lists them", a->path);
		return 0;
	}
	if (err == 0)
		err = history_versions_last(a->op->history, a->sync, a->past, a->now, a->path, a->oldest_ns, &g->seq);
	if (err == -ENOENT) {
		a->answer = control_refusal("nothing called \"%s\" was in the store for as long as history is kept", a->path);
		return 0;
	}
	return err != 0 ? err : past_time(a->past, g->seq, &g->time_ns);
}

/* What it was called then, or the file that is called so now. */
static err_t
find_then(struct restoring *g)
{
	struct asking *a = g->a;
	struct vfs *then = history_view_vfs(g->view);
	const char *rest = NULL;
	char when[HISTORY_TIME_LEN];
	struct stat st;
	err_t err = history_resolve(then, a->path, &g->r.ino, &rest);

	if (err != 0 || *rest == '\0')
		return err;
	if ((err = history_resolve(a->now, a->path, &g->r.ino, &rest)) != 0)
		return err;
	if (*rest == '\0' && vfs_getattr(then, g->r.ino, &st) == 0 && st.st_nlink > 0)
		return 0;
	history_time_print(g->time_ns, when);
	a->answer = control_refusal("there was nothing called \"%s\" at %s", a->path, when);
	return 0;
}

/* Folders above the place that are not there any more come back as they were, empty. */
static err_t
make_folders(struct restoring *g, const char *rest)
{
	struct vfs *then = history_view_vfs(g->view);
	err_t err = 0;

	for (rest += strspn(rest, "/"); err == 0 && *rest != '\0'; rest += strspn(rest, "/")) {
		size_t len = strcspn(rest, "/");
		CLEANUP(free_ptr) char *upto = strndup(g->parent_path, (size_t)(rest - g->parent_path) + len);
		struct stat st = { .st_mode = 0755 }, made;
		char name[NAME_LEN_MAX + 1];
		const char *left = NULL;
		uint64_t ino;

		if (upto == NULL)
			return -ENOMEM;
		if (len > NAME_LEN_MAX)
			return -ENAMETOOLONG;
		memcpy(name, rest, len);
		name[len] = '\0';
		if (history_resolve(then, upto, &ino, &left) == 0 && *left == '\0')
			err = vfs_getattr(then, ino, &st);
		else
			err = vfs_getattr(g->r.to, g->r.parent, &st);
		if (err == 0)
			err = vfs_mkdir(g->r.to, &(struct vfs_caller){ st.st_uid, st.st_gid, 0 }, g->r.parent, name,
			    st.st_mode & 07777, &made);
		if (err != 0)
			return err;
		vfs_forget(g->r.to, made.st_ino, 1);
		if (g->r.changed != NULL)
			g->r.changed(g->r.ctx, g->r.parent, name);
		g->r.parent = made.st_ino;
		rest += len;
	}
	return err;
}

/* Splits the path of the place; the top folder is restored into itself. */
static err_t
choose_place(struct restoring *g)
{
	struct asking *a = g->a;
	CLEANUP(free_ptr) char *to = NULL;
	const char *slash, *name, *rest = NULL;
	err_t err = 0;

	g->chosen = json_object_get(a->request, "to") != NULL;
	if (g->chosen && (err = op_history_path(a->request, "to", &to)) != 0)
		return err;
	if (!g->chosen && (to = strdup(a->path)) == NULL)
		return -ENOMEM;
	slash = strrchr(to, '/');
	name = slash != NULL ? slash + 1 : to;
	if (*name == '\0' && (name = strrchr(a->op->mountpoint, '/')) != NULL)
		name++;
	if (name == NULL || strlen(name) > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	memcpy(g->name, name, strlen(name) + 1);
	g->parent_path = strndup(to, slash != NULL ? (size_t)(slash - to) : 0);
	if (g->parent_path == NULL)
		return -ENOMEM;
	if ((err = history_resolve(a->now, g->parent_path, &g->r.parent, &rest)) != 0)
		return err;
	return make_folders(g, rest);
}

/* Beside what is there, under the first name that is free. */
static err_t
restore_beside(struct restoring *g)
{
	char name[NAME_LEN_MAX + 1];
	err_t err = -EEXIST;

	memcpy(name, g->name, sizeof(name));
	for (unsigned n = 1; err == -EEXIST && n < 1000; n++) {
		history_restore_name(name, g->time_ns, n, g->name);
		err = history_restore(&g->r);
	}
	return err;
}

static bool
go_on(void *ctx, const char *text, uint64_t done, uint64_t total)
{
	op_progress(ctx, text, done, total, PROGRESS_BYTES);
	return !op_is_cancelled(ctx);
}

static void
on_changed(void *ctx, uint64_t parent, const char *name)
{
	fuse_mount_forget_entry(ctx, parent, name);
	fuse_mount_forget_inode(ctx, parent);
}

static err_t
copy_back(struct restoring *g)
{
	struct asking *a = g->a;
	bool is_top = a->path[0] == '\0' && !g->chosen;
	err_t err;

	if (is_top && g->r.overwrite)
		g->r.name = NULL; /* what is in it goes where it was */
	err = is_top && !g->r.overwrite ? restore_beside(g) : history_restore(&g->r);
	if (err == -EEXIST && !g->chosen)
		err = restore_beside(g);
	if (err == -EEXIST || err == -EISDIR || err == -ENOTDIR) {
		a->answer = err == -EEXIST ? control_refusal("\"%s\" is there already: choose another --to PATH, or --overwrite",
		    g->name) : control_refusal("\"%s\" is %s now, and was %s then: restore it with --to PATH under another name",
		    g->r.failed[0] != '\0' ? g->r.failed : g->name, err == -EISDIR ? "a folder" : "no folder",
		    err == -EISDIR ? "none" : "one");
		return 0;
	}
	return err;
}

static json_t *
restored(struct restoring *g)
{
	char when[HISTORY_TIME_LEN];
	CLEANUP(free_ptr) char *path = NULL;

	history_time_print(g->time_ns, when);
	if (asprintf(&path, "%s%s%s", g->parent_path, g->parent_path[0] != '\0' ? "/" : "", g->name) < 0)
		return NULL;
	return json_pack("{s:b, s:o, s:s, s:I, s:I, s:I, s:I, s:o}", "ok", 1, "path", human_path(path), "at", when, "commit",
	    (json_int_t)g->seq, "files", (json_int_t)g->r.file_count, "bytes", (json_int_t)g->r.byte_count, "failed",
	    (json_int_t)g->r.failed_count, "first_failed", human_path(g->r.failed_count > 0 ? g->r.failed : ""));
}

static err_t
restore_from_view(struct restoring *g)
{
	struct asking *a = g->a;
	err_t err;

	g->r = (struct history_restore){ .from = history_view_vfs(g->view), .to = a->now, .name = g->name,
		.overwrite = json_is_true(json_object_get(a->request, "overwrite")), .watch = { go_on, a->op },
		.changed = a->op->mount != NULL ? on_changed : NULL, .ctx = a->op->mount };
	if ((err = find_then(g)) != 0 || a->answer != NULL)
		return err;
	if ((err = choose_place(g)) == 0)
		err = copy_back(g);
	if (err == 0 && a->answer == NULL && (err = meta_flush(a->op->vault->meta)) == 0)
		a->answer = restored(g);
	if (err == -EIO && g->time_ns < a->oldest_ns)
		a->answer = control_refusal("\"%s\" can't be read as it was then: history is not kept for so long (\"snugfs gc --help\" "
		    "says for how long), and what was only needed for it is gone from the store", g->r.failed[0] != '\0' ? g->r.failed :
		    g->name);
	else if (err == -EIO)
		a->answer = control_refusal("\"%s\" can't be read as it was then: its content is damaged or no longer in the store; the "
		    "log says which object it is", g->r.failed[0] != '\0' ? g->r.failed : g->name);
	return err;
}

static void
restoring_clear(struct restoring *g)
{
	free(g->parent_path);
}

static err_t
restore(struct asking *a)
{
	CLEANUP(restoring_clear) struct restoring g = { .a = a };
	const char *at = json_string_value(json_object_get(a->request, "at"));
	err_t err = at != NULL ? find_moment(&g, at) : find_last(&g);

	if (err != 0 || a->answer != NULL)
		return err;
	if ((err = history_view_get(a->op->history, a->sync, a->past, g.seq, &g.view)) != 0)
		return err;
	err = restore_from_view(&g);
	history_view_put(a->op->history, g.view);
	return err;
}

json_t *
op_restore(struct op *op, const json_t *request)
{
	return op_history_run(op, request, restore);
}
