/* cache_state.c: where a file's content is. */
#include "cache_internal.h"

#include <sys/stat.h>

err_t
cache_get_state(const struct cache_place *p, uint64_t ino, enum cache_state *state_out, bool *pinned_out)
{
	CLEANUP(cache_walk_clear) struct walk w = {0};
	enum cache_state state = CACHE_LOCAL;
	bool here = false, away = false, pinned = false, regular = false;
	struct inode *i;

	meta_lock(p->meta);

	err_t e = meta_inode_get(p->meta, ino, &i);

	if (!e) {
		regular = S_ISREG(i->mode);
		if (i->pending & (PENDING_CONTENT | PENDING_NEW) && regular)
			state = CACHE_UNSYNCED;
		pinned = cache_is_pinned(p->meta, ino);
	}
	meta_unlock(p->meta);
	if (!e && regular && state == CACHE_LOCAL)
		e = cache_walk(p->meta, &ino, 1, &w);
	for (const struct walked *s = w.segments; s && !e; s = s->hh.next) {
		uint64_t missing = 0;

		if (!s->mask)
			continue;
		e = segstore_missing(content_segments(p->content), s->seg, s->mask, &missing);
		here |= (s->mask & ~missing) != 0;
		away |= missing != 0;
	}
	if (e)
		return e;
	if (away)
		state = here ? CACHE_PARTIAL : CACHE_REMOTE;
	*state_out = state;
	*pinned_out = pinned;
	return 0;
}
