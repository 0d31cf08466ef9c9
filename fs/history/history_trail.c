/*
 * Where a path led.  A name of it may lead nowhere now, or to a folder that was made in the place of another: so each time the
 * newest commit is looked for that says of one of its names where it leads from then on, and then the tree before that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "history_internal.h"

void
trail_clear(struct trail *t)
{
	free(t->steps);
	free(t->path);
	*t = (struct trail){ 0 };
}

/* Who has the name in its folder, in that tree. */
static err_t
look_up(struct vfs *v, struct trail *t)
{
	struct stat st;
	err_t err = vfs_lookup(v, t->folder, t->name, &st);

	t->holder = (struct history_version){ 0 };
	if (err == -ENOENT || err == -ENOTDIR)
		return 0;
	if (err != 0)
		return err;
	vfs_forget(v, st.st_ino, 1);
	t->holder.ino = st.st_ino;
	t->holder.has_size = S_ISREG(st.st_mode);
	t->holder.size = (uint64_t)st.st_size;
	return 0;
}

/* The folder in which the name at that place of the path is looked up; *there_out: the path leads so far. */
static err_t
find_folder(struct vfs *v, const struct trail *t, const char *at, uint64_t *ino_out, bool *there_out)
{
	CLEANUP(free_ptr) char *above = strndup(t->path, (size_t)(at - t->path));
	const char *rest = NULL;
	err_t err = above == NULL ? -ENOMEM : history_resolve(v, above, ino_out, &rest);

	*there_out = err == 0 && *rest == '\0';
	return err;
}

/* The steps in that tree, up to the first that leads nowhere. */
static err_t
look(struct vfs *v, struct trail *t)
{
	const char *at = t->path;
	bool there = true;
	err_t err = 0;

	t->step_count = 0;
	t->holder = (struct history_version){ 0 };
	while (*at != '\0' && there) {
		struct trail_step *step = &t->steps[t->step_count];

		*step = (struct trail_step){ .name = at, .len = strcspn(at, "/") };
		if ((err = find_folder(v, t, at, &step->folder, &there)) != 0)
			return err;
		t->step_count += there;
		at += step->len + strspn(at + step->len, "/");
	}
	t->leads = there;
	if (!there)
		return 0;
	t->folder = t->steps[t->step_count - 1].folder;
	return look_up(v, t);
}

static err_t
look_then(const struct looking *k, uint64_t seq, struct trail *t, err_t (*fn)(struct vfs *v, struct trail *t))
{
	struct history_view *w;
	err_t err = history_view_get(k->h, k->s, k->p, seq, &w);

	if (err != 0)
		return err;
	err = fn(history_view_vfs(w), t);
	history_view_put(k->h, w);
	return err;
}

err_t
trail_look_up_then(const struct looking *k, uint64_t seq, struct trail *t)
{
	return look_then(k, seq, t, look_up);
}

/* What was taken away here, and is still there in the newest commit: no commit tells of that. */
static err_t
look_for_unheard(const struct looking *k, struct vfs *now, struct trail *t)
{
	struct meta_pending_summary sum;
	err_t err;

	meta_pending_summary(history_present(k->h), &sum);
	if (sum.dentry_count == 0)
		return 0;
	err = look_then(k, t->from, t, look);
	t->unheard = err == 0 && t->holder.ino != 0;
	return err == 0 && !t->unheard ? look(now, t) : err;
}

err_t
trail_begin(const struct looking *k, struct vfs *now, const char *path, struct trail *t)
{
	const char *slash = strrchr(path += strspn(path, "/"), '/');
	const char *name = slash != NULL ? slash + 1 : path;
	err_t err;

	if (strlen(name) > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	t->from = past_head(k->p);
	memcpy(t->name, name, strlen(name) + 1);
	if (*path == '\0') { /* the top folder has no name */
		t->leads = true;
		t->holder.ino = INODE_ROOT;
		return 0;
	}
	t->path = strdup(path);
	t->steps = calloc(strlen(path) / 2 + 1, sizeof(*t->steps));
	if (t->path == NULL || t->steps == NULL)
		return -ENOMEM;
	err = look(now, t);
	return err != 0 || t->holder.ino != 0 ? err : look_for_unheard(k, now, t);
}

/* What a commit says of a step. */
struct turn {
	struct history_version by;
	size_t step;
	uint64_t ino; /* where it leads from then on; 0: nowhere */
};

static bool
is_turned(const struct changes *c, const struct trail_step *step, uint64_t *ino_out)
{
	for (uint32_t i = 0; i < c->dentry_count; i++) {
		const struct change_dentry *d = &c->dentries[i];

		if (d->parent != step->folder || strlen(d->name) != step->len || memcmp(d->name, step->name, step->len) != 0)
			continue;
		*ino_out = d->ino;
		return true;
	}
	return false;
}

/* The newest commit before `before` that says something of one of the first steps.  -ENOENT. */
static err_t
find_turn(const struct looking *k, uint64_t before, const struct trail *t, size_t step_count, struct turn *out)
{
	for (uint64_t seq = before; seq-- > 0;) {
		CLEANUP(past_commit_clear) struct past_commit c = { 0 };
		err_t err = past_read(k->p, seq, &c);

		if (err != 0)
			return err;
		for (size_t i = 0; i < step_count; i++)
			if (is_turned(c.changes, &t->steps[i], &out->ino)) {
				out->step = i;
				out->by = (struct history_version){ .seq = seq, .time_ns = c.time_ns, .changes = HISTORY_UNNAMED };
				memccpy(out->by.device, c.device, '\0', sizeof(out->by.device) - 1);
				return 0;
			}
		if (c.time_ns < k->oldest_ns)
			break;
	}
	return -ENOENT;
}

/* Are there commits that are too old to be looked at? */
static bool
is_cut_off(const struct looking *k)
{
	uint64_t first_ns;

	return past_time(k->p, 0, &first_ns) == 0 && first_ns < k->oldest_ns;
}

/*
 * Of a name that something got then a commit before tells whether it led somewhere until then: else nothing is to be looked at.  If that
 * commit may be too old, the tree is.
 */
static err_t
find_loss(const struct looking *k, const struct trail *t, struct turn *out)
{
	struct turn before;
	err_t err = find_turn(k, t->from + 1, t, t->step_count, out);

	if (err != 0 || out->ino == 0)
		return err;
	err = find_turn(k, out->by.seq, t, out->step + 1, &before);
	if (err != 0)
		return err == -ENOENT && is_cut_off(k) ? 0 : err;
	if (before.step == out->step && before.ino == 0)
		*out = before;
	return 0;
}

err_t
trail_go_back(const struct looking *k, struct trail *t)
{
	struct turn turn = { 0 };
	err_t err = find_loss(k, t, &turn);

	if (err == 0 && turn.by.seq == 0)
		err = -ENOENT;
	if (err != 0)
		return err;
	t->removal = turn.by;
	t->from = turn.by.seq - 1;
	return look_then(k, t->from, t, look);
}

err_t
trail_lead(const struct looking *k, struct trail *t)
{
	err_t err = 0;

	while (err == 0 && !t->leads)
		err = trail_go_back(k, t);
	return err;
}
