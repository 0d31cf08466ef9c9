/* What was deleted from a folder. */
#include <stdlib.h>
#include <string.h>

#include "history.h"

static bool
is_listed(const struct history_versions *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->v[i].name, name) == 0)
			return true;
	return false;
}

static bool
is_there(struct vfs *now, uint64_t folder, const char *name)
{
	struct stat st;

	if (vfs_lookup(now, folder, name, &st) != 0)
		return false;
	vfs_forget(now, st.st_ino, 1);
	return true;
}

static err_t
take_deleted(struct vfs *now, uint64_t folder, const struct past_commit *c, struct history_versions *out)
{
	struct history_version gone = { .seq = c->seq, .time_ns = c->time_ns, .changes = HISTORY_UNNAMED };
	err_t err;

	memccpy(gone.device, c->device, '\0', sizeof(gone.device) - 1);
	for (uint32_t i = 0; i < c->changes->dentry_count; i++) {
		const struct change_dentry *d = &c->changes->dentries[i];

		if (d->parent != folder || d->ino != 0 || is_listed(out, d->name) || is_there(now, folder, d->name))
			continue;
		memcpy(gone.name, d->name, sizeof(gone.name));
		if ((err = history_versions_add(out, &gone)) != 0)
			return err;
	}
	return 0;
}

err_t
history_versions_deleted(struct past *p, struct vfs *now, uint64_t folder, uint64_t oldest_ns,
    struct history_versions *out)
{
	CLEANUP(history_versions_clear) struct history_versions l = { 0 };
	bool over = false;

	for (uint64_t seq = past_head(p); !over; seq--) {
		CLEANUP(past_commit_clear) struct past_commit c = { 0 };
		err_t err = past_read(p, seq, &c);

		if (err == 0)
			err = take_deleted(now, folder, &c, &l);
		if (err != 0)
			return err;
		over = seq == 0 || c.time_ns < oldest_ns;
	}
	*out = l;
	l = (struct history_versions){ 0 };
	return 0;
}
