/* merge.c: one commit of the chain, applied: a foreign one under what is pending here, or our own. */
#include "merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "merge_state.h"

err_t
merge_learn_segments(const struct merge_context *mc, const struct changes *c)
{
	return c->segment_count || c->drop_count ? meta_segments_learn(mc->meta, true) : 0;
}

err_t
merge_lock_files(struct held_files *held, struct content *content, const struct changes *c, uint32_t fields)
{
	if (!content)
		return 0;
	held->inos = calloc(c->inode_count + 1u, sizeof(*held->inos));
	if (!held->inos)
		return -ENOMEM;
	for (uint32_t k = 0; k < c->inode_count; k++) {
		if ((c->inodes[k].fields & fields) == CHANGE_CONTENT)
			held->inos[held->count++] = c->inodes[k].ino;
	}
	held->content = content;
	content_lock_files(content, held->inos, held->count);
	return 0;
}

void
merge_unlock_files(struct held_files *held)
{
	if (held->content)
		content_unlock_files(held->content, held->inos, held->count);
	free(held->inos);
}

/* While names move, an unnamed directory counts as if it had one; merge_settle_inodes puts that right. */
static void
start_placing(struct merge *m)
{
	struct touched *t, *next;

	m->placing = true;
	HASH_ITER(hh, m->touched, t, next) {
		if (t->inode && merge_is_dir(t) && !t->named)
			t->inode->nlink = 2;
	}
}

static err_t
apply_foreign(struct merge *m)
{
	err_t e;

	start_placing(m);
	if ((e = merge_add_segments(m)) || (e = merge_introduce(m)) || (e = merge_names(m)) || (e = merge_keep_changed(m)) ||
	    (e = merge_inodes(m)) || (e = merge_settle_tree(m)) || (e = merge_settle_inodes(m)))
		return e;
	return merge_drops(m);
}

err_t
merge_apply_foreign(const struct merge_context *mc, const struct changes *c, err_t (*commit)(void *ctx), void *ctx,
    struct merge_result *result_out)
{
	CLEANUP(merge_unlock_files) struct held_files held = {0};
	CLEANUP(merge_clear) struct merge m = {0};
	err_t e = merge_learn_segments(mc, c);

	if (!e)
		e = merge_lock_files(&held, mc->content, c, CHANGE_CONTENT);
	/* What was cut off a file must not come back with what it is given. */
	if (!e && mc->content)
		e = content_finish_held(mc->content, held.inos, held.count);
	if (e)
		return e;
	meta_lock(mc->meta);
	if (!(e = merge_begin(&m, mc, c)) && !(e = merge_check(&m))) {
		/* From here on only memory or the disk can fail. */
		if (!(e = apply_foreign(&m)) && commit)
			e = commit(ctx);
		if (!e)
			e = merge_finish_result(&m, result_out);
		if (e)
			meta_poison(mc->meta, e);
		else if (m.note_count)
			meta_note_local_change(mc->meta); /* what was kept is to be pushed */
	}
	meta_unlock(mc->meta);
	return e;
}

/* One whose map is not gone yet waits for the next mount. */
static void
remove_left(const struct merge_context *mc, uint64_t ino)
{
	struct inode *i;
	err_t e;

	meta_lock(mc->meta);
	e = meta_inode_get(mc->meta, ino, &i);
	if (!e && i->nlink == 0 && i->pending & PENDING_NEW && !content_is_being_cut(mc->content, ino) &&
	    (!mc->lookups || lookups_count(mc->lookups, ino) == 0))
		e = meta_inode_remove(mc->meta, i);
	meta_unlock(mc->meta);
	if (e && e != -ENOENT)
		log_warn("a removed file's space will be given back at a later mount: %s", strerror(-e));
}

void
merge_give_back(const struct merge_context *mc)
{
	if (!mc->content)
		return;
	content_finish_truncations(mc->content);
	for (size_t k = 0; mc->left && k < mc->left->removed_count; k++)
		remove_left(mc, mc->left->removed[k]);
}
