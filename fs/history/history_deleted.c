/* What was deleted from a folder. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Running out of memory shows as hh.tbl == NULL. */
#define HASH_NONFATAL_OOM 1
#include "hash_table.h"
#include "history.h"

/* The names that were listed or found to be there now: of many commits that mention a name the newest one counts. */
struct known {
	UT_hash_handle hh;
	char name[];
};

static void
known_free(struct known **all)
{
	struct known *k, *next;

	HASH_ITER (hh, *all, k, next) {
		HASH_DEL(*all, k);
		free(k);
	}
}

static bool
is_known(struct known *all, const char *name)
{
	struct known *k;

	HASH_FIND(hh, all, name, strlen(name), k);
	return k != NULL;
}

static err_t
know(struct known **all, const char *name)
{
	size_t len = strlen(name);
	struct known *k = calloc(1, sizeof(*k) + len);

	if (k == NULL)
		return -ENOMEM;
	memcpy(k->name, name, len);
	HASH_ADD_KEYPTR(hh, *all, k->name, len, k);
	if (k->hh.tbl != NULL)
		return 0;
	free(k);
	return -ENOMEM;
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
take_deleted(struct vfs *now, uint64_t folder, const struct past_commit *c, struct known **known, struct history_versions *out)
{
	struct history_version gone = { .seq = c->seq, .time_ns = c->time_ns, .changes = HISTORY_UNNAMED };
	err_t err;

	memccpy(gone.device, c->device, '\0', sizeof(gone.device) - 1);
	for (uint32_t i = 0; i < c->changes->dentry_count; i++) {
		const struct change_dentry *d = &c->changes->dentries[i];

		if (d->parent != folder || d->ino != 0 || is_known(*known, d->name))
			continue;
		if (out->count > HISTORY_LISTED_MAX)
			return 0;
		if ((err = know(known, d->name)) != 0)
			return err;
		if (is_there(now, folder, d->name))
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
	CLEANUP(known_free) struct known *known = NULL;
	bool over = false;

	for (uint64_t seq = past_head(p); !over; seq--) {
		CLEANUP(past_commit_clear) struct past_commit c = { 0 };
		err_t err = past_read(p, seq, &c);

		if (err == 0)
			err = take_deleted(now, folder, &c, &known, &l);
		if (err != 0)
			return err;
		over = seq == 0 || c.time_ns < oldest_ns || l.count > HISTORY_LISTED_MAX;
	}
	*out = l;
	l = (struct history_versions){ 0 };
	return 0;
}
