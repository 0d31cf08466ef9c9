/* content.c: the content object: file locks, keys for writing, and what a change of a chunk does to the books. */
#include "content_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

static err_t
init_locks(struct content *c)
{
	pthread_rwlockattr_t attr;
	int failed = pthread_rwlockattr_init(&attr);

	if (failed)
		return -failed;
	/* A file that is read all the time must still be writable. */
	failed = pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	for (size_t k = 0; k < FILE_LOCKS && !failed; k++)
		failed = pthread_rwlock_init(&c->file_locks[k], &attr);
	pthread_rwlockattr_destroy(&attr);
	return -failed;
}

err_t
content_new(struct meta *meta, struct segstore *ss, struct keyring *keys, struct content **out)
{
	CLEANUP(free_ptr) struct content *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->meta = meta;
	c->ss = ss;
	c->keys = keys;
	c->step = STEP_CHUNKS;

	err_t e = truncate_load(c);

	if (!e)
		e = init_locks(c);
	if (!e)
		e = fetcher_new(meta, ss, &c->fetcher);
	if (e) {
		free(c->cut);
		return e;
	}
	(void)pthread_mutex_init(&c->news_lock, NULL);
	(void)pthread_cond_init(&c->news_quiet, NULL);
	*out = STEAL(c);
	return 0;
}

void
content_free(struct content *c)
{
	if (!c)
		return;
	fetcher_free(c->fetcher);
	pthread_cond_destroy(&c->news_quiet);
	pthread_mutex_destroy(&c->news_lock);
	for (size_t k = 0; k < FILE_LOCKS; k++)
		pthread_rwlock_destroy(&c->file_locks[k]);
	free(c->cut);
	free(c);
}

struct fetcher *
content_fetcher(struct content *c)
{
	return c->fetcher;
}

struct segstore *
content_segments(struct content *c)
{
	return c->ss;
}

void
content_set_fetch(struct content *c, fetcher_source_fn *fn, void *ctx)
{
	fetcher_set_source(c->fetcher, fn, ctx);
}

/* [news_lock] */
static void
await_quiet(struct content *c)
{
	while (c->asking)
		pthread_cond_wait(&c->news_quiet, &c->news_lock);
}

static void
end_asking(struct content *c)
{
	pthread_mutex_lock(&c->news_lock);
	if (--c->asking == 0)
		pthread_cond_broadcast(&c->news_quiet);
	pthread_mutex_unlock(&c->news_lock);
}

void
content_set_news(struct content *c, content_news_fn *fn, void *ctx)
{
	pthread_mutex_lock(&c->news_lock);
	c->news = fn;
	c->news_ctx = ctx;
	if (!fn)
		await_quiet(c);
	pthread_mutex_unlock(&c->news_lock);
}

void
content_set_loss(struct content *c, content_loss_fn *fn, void *ctx)
{
	pthread_mutex_lock(&c->news_lock);
	c->loss = fn;
	c->loss_ctx = ctx;
	if (!fn)
		await_quiet(c);
	pthread_mutex_unlock(&c->news_lock);
}

bool
content_ask_news(struct content *c, uint64_t ino)
{
	pthread_mutex_lock(&c->news_lock);

	content_news_fn *fn = c->news;
	void *ctx = c->news_ctx;

	c->asking += fn != NULL;
	pthread_mutex_unlock(&c->news_lock);
	if (!fn)
		return true;

	bool news = fn(ctx, ino);

	end_asking(c);
	return news;
}

void
content_tell_loss(struct content *c, uint64_t ino, const char *path)
{
	pthread_mutex_lock(&c->news_lock);

	content_loss_fn *fn = c->loss;
	void *ctx = c->loss_ctx;

	c->asking += fn != NULL;
	pthread_mutex_unlock(&c->news_lock);
	if (!fn)
		return;
	fn(ctx, ino, path);
	end_asking(c);
}

void
content_lock_file(struct content *c, uint64_t ino, bool exclusive)
{
	pthread_rwlock_t *lock = &c->file_locks[ino % FILE_LOCKS];

	if (exclusive)
		pthread_rwlock_wrlock(lock);
	else
		pthread_rwlock_rdlock(lock);
}

void
content_unlock_file(struct content *c, uint64_t ino)
{
	pthread_rwlock_unlock(&c->file_locks[ino % FILE_LOCKS]);
}

/* Which of the locks these files have: each once, though files may share it. */
static void
locks_of(const uint64_t *inos, size_t count, bool out[static FILE_LOCKS])
{
	memset(out, 0, FILE_LOCKS * sizeof(*out));
	for (size_t k = 0; k < count; k++)
		out[inos[k] % FILE_LOCKS] = true;
}

void
content_lock_files(struct content *c, const uint64_t *inos, size_t count)
{
	bool wanted[FILE_LOCKS];

	locks_of(inos, count, wanted);
	for (size_t k = 0; k < FILE_LOCKS; k++) {
		if (wanted[k])
			pthread_rwlock_wrlock(&c->file_locks[k]);
	}
}

void
content_unlock_files(struct content *c, const uint64_t *inos, size_t count)
{
	bool held[FILE_LOCKS];

	locks_of(inos, count, held);
	for (size_t k = 0; k < FILE_LOCKS; k++) {
		if (held[k])
			pthread_rwlock_unlock(&c->file_locks[k]);
	}
}

uint64_t
content_blocks(const struct inode *i)
{
	return (i->mapped + 511) / 512;
}

/* Keys. */

void
writing_key_wipe(struct writing_key *w)
{
	key32_wipe(&w->key);
}

err_t
content_open_key(struct content *c, uint64_t ino, const struct file_key *fk, struct key32 *out)
{
	char path[1024];
	err_t e = keyring_open_file_key(c->keys, fk, out);

	if (e != -ENOENT && e != -EBADMSG)
		return e;
	meta_lock(c->meta);
	meta_path(c->meta, ino, path, sizeof(path));
	meta_unlock(c->meta);
	log_error("%s: version %u of the file's key, of epoch %u, can't be opened: %s", path, fk->version, fk->epoch,
	    e == -ENOENT ? "this device does not have the epoch's key" : "it is damaged");
	return -EIO;
}

/* [meta lock] */
static err_t
add_key(struct content *c, struct inode *i)
{
	struct file_key *grown = reallocarray(i->keys, (size_t)i->key_count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	i->keys = grown;

	uint32_t version = i->key_count ? grown[i->key_count - 1].version + 1 : 1;
	err_t e = keyring_new_file_key(c->keys, version, &grown[i->key_count]);

	if (e)
		return e == -ENOENT ? -EIO : e;
	i->key_count++;
	meta_inode_dirty(c->meta, i);
	return 0;
}

/* [meta lock] */
static err_t
newest_key(struct content *c, uint64_t ino, uint64_t *origin_out, struct file_key *out)
{
	struct inode *i;
	uint32_t epoch;
	err_t e = meta_inode_get(c->meta, ino, &i);

	if (e)
		return e;
	if (keyring_current(c->keys, &epoch))
		return -EIO;
	if (!i->key_count || i->keys[i->key_count - 1].epoch < epoch)
		e = add_key(c, i);
	if (e)
		return e;
	*origin_out = i->origin;
	*out = i->keys[i->key_count - 1];
	return 0;
}

err_t
content_writing_key(struct content *c, uint64_t ino, struct writing_key *out)
{
	struct file_key fk = {0};
	uint64_t origin = 0;

	meta_lock(c->meta);

	err_t e = newest_key(c, ino, &origin, &fk);

	meta_unlock(c->meta);
	if (!e)
		e = content_open_key(c, ino, &fk, &out->key);
	if (e)
		return e;
	out->origin = origin;
	out->version = fk.version;
	out->stored = fk;
	return 0;
}

bool
content_is_writing_key(struct content *c, const struct inode *i, const struct writing_key *w)
{
	uint32_t epoch;

	if (i->origin != w->origin || !i->key_count || keyring_current(c->keys, &epoch))
		return false;

	const struct file_key *newest = &i->keys[i->key_count - 1];

	return newest->epoch >= epoch && newest->epoch == w->stored.epoch && newest->version == w->stored.version &&
	    memcmp(newest->wrapped, w->stored.wrapped, sizeof(newest->wrapped)) == 0;
}

bool
content_has_key(const struct inode *i, const struct file_key *key)
{
	for (uint32_t k = 0; k < i->key_count; k++) {
		if (i->keys[k].version == key->version)
			return i->keys[k].epoch == key->epoch && memcmp(i->keys[k].wrapped, key->wrapped, KEYWRAP_LEN) == 0;
	}
	return false;
}

/* Changes of chunks. */

static uint64_t
mapped_len(const struct extent_list *l)
{
	uint64_t len = 0;

	for (uint32_t k = 0; k < l->count; k++)
		len += l->v[k].len;
	return len;
}

/* [meta lock] Bytes of a hot extent that `current` has just lost, unless the chain's list still has it. */
static void
release_dead(struct content *c, const struct chunk *ch, const struct gone *g)
{
	if (!extent_list_lacks(&ch->chain, &g->x) || !segstore_is_hot(c->ss, g->x.seg))
		return;
	if (meta_release(c->meta, g->x.seg, g->seg_off, g->len))
		log_warn("out of memory: some disk space is not given back");
}

/* [meta lock] */
static void
swap_in(struct content *c, struct inode *i, struct chunk *ch, struct extent_list *next, uint64_t from, uint64_t to)
{
	i->mapped = i->mapped - mapped_len(&ch->current) + mapped_len(next);
	extent_list_clear(&ch->current);
	ch->current = *next;
	*next = (struct extent_list){0};
	meta_chunk_dirty_between(c->meta, i, ch, from, to);
	meta_inode_dirty(c->meta, i);
}

struct installing {
	struct content *c;
	const struct chunk *ch;
};

static void
release_replaced(void *ctx, const struct extent *x, uint64_t seg_off, uint32_t len)
{
	const struct installing *n = ctx;
	const struct gone g = {*x, seg_off, len};

	release_dead(n->c, n->ch, &g);
}

void
content_install(struct content *c, struct inode *i, struct chunk *ch, struct extent_list *next)
{
	struct installing n = {c, ch};

	extent_list_gone(&ch->current, next, 0, UINT64_MAX, release_replaced, &n);
	swap_in(c, i, ch, next, 0, UINT64_MAX);
}

static void
note_dead(void *ctx, const struct extent *x, uint64_t seg_off, uint32_t len)
{
	struct scratch *s = ctx;

	s->dead[s->dead_count++] = (struct gone){*x, seg_off, len};
}

/* What is cut changes, wherever it begins and ends. */
static void
widen(struct change *g, const struct extent_list *before)
{
	uint64_t from = g->from, to = g->to;

	for (uint32_t k = extent_list_find(before, from); k < before->count && before->v[k].off < to; k++) {
		const struct extent *x = &before->v[k];

		g->from = x->off < g->from ? x->off : g->from;
		g->to = x->off + x->len > g->to ? x->off + x->len : g->to;
	}
}

err_t
change_prepare(struct change *g, struct scratch *s, struct chunk *ch, uint64_t off, uint32_t len, const struct extent *x)
{
	struct extent_list next = {0};
	size_t dead_from = s->dead_count;
	err_t e = scratch_reserve_dead(s, s->dead_count + ch->current.count);

	if (!e)
		e = extent_list_copy(&ch->current, &next);
	if (!e)
		e = extent_list_replace(&next, off, len, x);
	if (e) {
		extent_list_clear(&next);
		return e;
	}
	extent_list_gone(&ch->current, &next, off, off + len, note_dead, s);
	if (!next.count)
		extent_list_clear(&next);
	*g = (struct change){.chunk = ch, .next = next, .from = off, .to = off + len, .dead_from = dead_from,
		.dead_to = s->dead_count};
	widen(g, &ch->current);
	return 0;
}

/*
 * The first change of a chunk since the chain last agreed with it: what it had then is what the chain says.  A file that
 * the chain does not know has nothing there.
 */
static void
mark_chunk_pending(const struct inode *i, struct chunk *ch)
{
	if (ch->pending)
		return;
	ch->pending = true;
	if (i->pending & PENDING_NEW)
		return;
	ch->chain = ch->current;
	ch->current = (struct extent_list){0};
}

void
change_apply(struct content *c, struct scratch *s, struct inode *i, struct change *g)
{
	uint64_t before = mapped_len(&g->chunk->current);

	/* What the chain has is to be stored, too. */
	if (!g->chunk->pending) {
		g->from = 0;
		g->to = UINT64_MAX;
	}
	mark_chunk_pending(i, g->chunk);
	/* If the old list has become the chain's, swap_in sees none. */
	i->mapped -= before - mapped_len(&g->chunk->current);
	for (size_t k = g->dead_from; k < g->dead_to; k++)
		release_dead(c, g->chunk, &s->dead[k]);
	swap_in(c, i, g->chunk, &g->next, g->from, g->to);
	/* To the chain, an empty chunk of a file that it does not know is as good as none. */
	if (!g->chunk->current.count && i->pending & PENDING_NEW) {
		g->chunk->pending = false;
		meta_chunk_tidy(c->meta, i, g->chunk);
	}
}

void
content_mark_pending(struct content *c, struct inode *i, uint64_t new_size)
{
	if (!(i->pending & (PENDING_CONTENT | PENDING_NEW)))
		i->chain_size = i->size;
	i->pending |= PENDING_CONTENT | PENDING_MTIME;
	i->size = new_size;
	meta_inode_dirty(c->meta, i);
	meta_note_local_change(c->meta);
}

void
content_touch(struct inode *i)
{
	clock_gettime(CLOCK_REALTIME_COARSE, &i->mtime); /* the kernel's clock, too: see vfs_now */
	i->ctime = i->mtime;
}
