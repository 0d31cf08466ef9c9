/* The metadata cache: opening, closing, locking. */
#include "meta.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "lock.h"
#include "meta_internal.h"

/* Smaller numbers are for the root and for whatever may need one some day. */
#define FIRST_INO 16u

static err_t
load_counters(struct meta *m)
{
	struct bytes b = { 0 };
	struct cursor c;
	uint64_t ino, cookie, segment, inodes, dentries, bytes = 0;
	err_t err;

	m->next_ino = FIRST_INO;
	m->next_cookie = FIRST_COOKIE;
	m->next_segment = 1;
	err = db_get(m->db, DB_KV, DB_KEY_COUNTERS, 0, &b);
	m->totals_known = err == -ENOENT; /* there is nothing yet */
	if (err == -ENOENT)
		return 0;
	if (err != 0)
		return err;
	c = (struct cursor){ b.data, b.len };
	if ((err = cursor_u64(&c, &ino)) == 0 && (err = cursor_u64(&c, &cookie)) == 0 &&
	    (err = cursor_u64(&c, &segment)) == 0 && (err = cursor_u64(&c, &inodes)) == 0 &&
	    (err = cursor_u64(&c, &dentries)) == 0 && (c.len == 0 || (err = cursor_u64(&c, &bytes)) == 0)) {
		m->next_ino = ino;
		m->next_cookie = cookie;
		m->next_segment = segment;
		m->pending_inodes = inodes;
		m->pending_dentries = dentries;
		m->pending_bytes = bytes;
	}
	/* Earlier versions did not store them. */
	if (err == 0 && c.len > 0 && (err = cursor_u64(&c, &m->totals.size)) == 0 &&
	    (err = cursor_u64(&c, &m->totals.here)) == 0 && (err = cursor_u64(&c, &m->totals.cached)) == 0)
		m->totals_known = true;
	bytes_clear(&b);
	return err;
}

err_t
meta_new(struct db *db, struct rowseal *rs, uint32_t member_number, struct meta **out)
{
	struct meta *m = calloc(1, sizeof(*m));
	pthread_condattr_t attr;
	err_t err;

	if (m == NULL)
		return -ENOMEM;
	m->db = db;
	m->rs = rs;
	m->member_number = member_number;
	if ((err = load_counters(m)) != 0) {
		free(m);
		return err;
	}
	lock_init(&m->lock);
	ahead_init(m);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->wake, &attr);
	pthread_cond_init(&m->done, &attr);
	pthread_condattr_destroy(&attr);
	*out = m;
	return 0;
}

void
meta_set_hooks(struct meta *m, const struct meta_hooks *hooks)
{
	m->hooks = *hooks;
}

static void
free_list(struct meta *m, struct node_list *l)
{
	struct node *n, *next;

	DL_FOREACH_SAFE (l->first, n, next)
		cache_free_node(m, n);
}

void
meta_free(struct meta *m)
{
	struct removed_inode *r, *next_removed;

	if (m == NULL)
		return;
	HASH_ITER (hh, m->removed, r, next_removed) {
		HASH_DEL(m->removed, r);
		free(r);
	}
	pins_free(m);
	segment_names_clear(&m->segment_names);
	free_list(m, &m->dirty);
	free_list(m, &m->frozen);
	free_list(m, &m->clean);
	free(m->releases.v);
	free(m->given_back.v);
	db_close(m->db);
	ahead_clear(m);
	pthread_cond_destroy(&m->wake);
	pthread_cond_destroy(&m->done);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

void
meta_lock(struct meta *m)
{
	if (pthread_mutex_trylock(&m->lock) == 0)
		return;
	atomic_fetch_add(&m->waiting, 1);
	pthread_mutex_lock(&m->lock);
	atomic_fetch_sub(&m->waiting, 1);
}

void
meta_unlock(struct meta *m)
{
	cache_evict(m); /* only here: what was handed out is borrowed until now */
	pthread_mutex_unlock(&m->lock);
}

void
meta_poison(struct meta *m, err_t err)
{
	m->poison = err;
}

err_t
meta_release_add(struct release_list *l, const struct release *r)
{
	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct release *v = realloc(l->v, cap * sizeof(v[0]));

		if (v == NULL)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->count++] = *r;
	return 0;
}

err_t
meta_release(struct meta *m, uint64_t seg, uint64_t off, uint32_t len)
{
	return meta_release_add(&m->releases, &(struct release){ seg, off, len });
}
