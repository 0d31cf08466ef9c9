/* work.c: a vault and its model, from making it to closing it. */
#include "work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "depot.h"
#include "steps.h"

const struct vault_unlock WORK_PLAIN = {.plain = true};
static const struct vfs_caller ME = {.uid = 1000, .gid = 1000, .umask = 022};

static err_t
attach_depot(struct work *w)
{
	depot_attach(w->vault);
	return 0;
}

static void
detach_depot(struct work *w)
{
	(void)w;
}

static err_t
push_to_depot(struct work *w)
{
	return depot_push(w->vault, &w->rng);
}

static const struct work_remote DEPOT = {attach_depot, detach_depot, push_to_depot};

err_t
work_open(struct work *w)
{
	err_t e = vault_open(w->dir, &WORK_PLAIN, &w->vault);

	if (e)
		return e;
	e = w->remote->attach(w);
	if (!e && !w->in_background)
		e = meta_stop(w->vault->meta);
	if (!e)
		e = vfs_new(w->vault->meta, w->vault->content, w->vault->lookups, w->dir, &w->vfs);
	if (!e)
		e = vfs_reap_orphans(w->vfs);
	return e;
}

err_t
work_close(struct work *w)
{
	err_t e;

	w->remote->detach(w);
	vfs_free(w->vfs);
	w->vfs = NULL;
	memset(w->held, 0, sizeof(w->held));
	e = vault_close(w->vault);
	w->vault = NULL;
	if (!e) {
		w->durable = (uint32_t)w->version_count - 1;
		if (w->tape)
			tape_note(w->tape, w->durable, w->durable);
	}
	return e;
}

static uint64_t
present(struct work *w)
{
	uint64_t hash;

	if (!w->looks)
		return model_hash(&w->model);
	MUST(!tree_hash(w->vfs, TREE_ALL, &hash));
	return hash;
}

void
work_about_to_change(struct work *w)
{
	steps_tick();
	if (w->tape)
		tape_note(w->tape, w->durable, (uint32_t)w->version_count);
}

void
work_note_version(struct work *w)
{
	w->versions = grown(w->versions, &w->version_cap, w->version_count, sizeof(*w->versions));
	w->versions[w->version_count++] = present(w);
}

void
work_correct_version(struct work *w)
{
	w->versions[w->version_count - 1] = present(w);
}

void
work_begin(struct work *w, const char *dir, uint64_t seed)
{
	struct vault_create_params p = {.dir = dir, .device_name = "test", .lock = WORK_PLAIN, .root_uid = 1000};
	uint8_t recovery[RECOVERY_KEY_LEN];

	MUST(!vault_create(&p, recovery));
	work_begin_in(w, dir, seed, &DEPOT, NULL);
}

void
work_begin_in(struct work *w, const char *dir, uint64_t seed, const struct work_remote *remote, void *remote_ctx)
{
	*w = (struct work){.rng = {seed}, .remote = remote, .remote_ctx = remote_ctx};
	snprintf(w->dir, sizeof(w->dir), "%s", dir);
	MUST(!work_open(w));
	model_init(&w->model);
	MUST(!model_refresh(&w->model.nodes[0], w->vfs));
	work_note_version(w);
}

void
work_end(struct work *w)
{
	if (w->vault) {
		w->remote->detach(w);
		vfs_free(w->vfs);
		(void)!vault_close(w->vault);
	}
	depot_clear();
	model_clear(&w->model);
	free(w->versions);
	*w = (struct work){.vault = NULL};
}

void
work_record(struct work *w, struct tape *t)
{
	MUST(!work_fsync(w));
	tape_begin(t, w->dir);
	w->tape = t;
	tape_note(t, w->durable, w->durable);
}

err_t
work_fsync(struct work *w)
{
	uint32_t now = (uint32_t)w->version_count - 1;
	/* An fsync goes to the journal; every third is what the timer does, or a push: it goes to the database. */
	err_t e = w->fsyncs++ % 3 == 2 ? meta_sync(w->vault->meta) : vfs_fsync(w->vfs, INODE_ROOT);

	if (e)
		return e;
	w->durable = now;
	if (w->tape)
		tape_note(w->tape, w->durable, now);
	return 0;
}

err_t
work_settle(struct work *w, unsigned percent)
{
	return settle_pending(w->vault, &w->rng, percent);
}

bool
work_is_as_expected(struct work *w)
{
	uint64_t hash;
	err_t e = tree_hash(w->vfs, TREE_ALL, &hash);

	if (e)
		fprintf(stderr, "reading the tree: %s\n", strerror(-e));
	return !e && hash == model_hash(&w->model);
}

void
work_fill_segment(struct work *w, size_t left)
{
	size_t len = 1u << 20;
	uint8_t *data = calloc(1, len);
	struct stat st;

	MUST(data);
	MUST(!vfs_mknod(w->vfs, &ME, INODE_ROOT, "filler", S_IFREG | 0600, 0, &st));
	for (uint64_t room = SEGSTORE_HOT_LEN - left; room > 8192;) {
		size_t n = room - 8192 < len ? (size_t)room - 8192 : len;

		n -= n / 64; /* each frame has its tag */
		MUST(!vfs_write(w->vfs, st.st_ino, 0, data, n, false));
		room -= frame_raw_stored_len((uint32_t)n);
	}
	free(data);
	MUST(!vfs_unlink(w->vfs, INODE_ROOT, "filler"));
	vfs_forget(w->vfs, st.st_ino, 1);
	MUST(!vfs_fsync(w->vfs, INODE_ROOT));
	MUST(!model_refresh(&w->model.nodes[0], w->vfs));
	work_note_version(w);
}
