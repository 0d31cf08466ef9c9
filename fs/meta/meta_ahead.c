/*
 * What is going to be listed next is read while the kernel still digests what was listed last.
 *
 * An entry takes the kernel about as long as it takes us to find its two rows and open them.  So after each answer a thread goes on
 * behind it: in the same directory or, when that has ended and whoever asks goes from one directory to the next, in the one that comes
 * then.  What it reads is in the cache as if somebody had asked for it; here stands in which order, which the cache does not know.
 * New names come behind all others; when one of those that stand here goes from memory, all are forgotten.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#include "meta_internal.h"

/* So many times in a row it may be for nothing; from then on it is tried once in so many times. */
#define CREDIT_MAX 4u
#define LEFT_UNDONE_MAX 64u
/* Where the next directory is looked for: so many entries behind the last one, and so many directories upwards. */
#define CHOOSE_ENTRIES 64u
#define CHOOSE_LEVELS 16u
/* Who waits for the lock goes first, as far as that can be seen to. */
#define YIELDS_MAX 64u

void
ahead_init(struct meta *m)
{
	m->ahead.credit = CREDIT_MAX;
	pthread_cond_init(&m->ahead.wake, NULL);
}

void
ahead_clear(struct meta *m)
{
	pthread_cond_destroy(&m->ahead.wake);
}

/* What was read. */

static void
forget(struct ahead *a)
{
	a->dir = 0;
	a->count = 0;
	a->wanted = false;
}

static bool
goes_on_at(const struct ahead *a, uint64_t dir, uint64_t from)
{
	return a->dir == dir && from >= a->from && from < a->to;
}

static bool
has_room(const struct ahead *a)
{
	return !a->end && a->count + LIST_ROWS <= AHEAD_ENTRIES;
}

/* What nobody has asked for was for nothing. */
static void
begin_with(struct ahead *a, uint64_t dir, uint64_t from)
{
	if (a->used)
		a->credit = CREDIT_MAX;
	else if (a->dir != 0 && a->credit > 0)
		a->credit--;
	a->dir = dir;
	a->from = a->to = from;
	a->end = a->used = false;
	a->count = 0;
}

static void
add(struct ahead *a, const struct list_part *p, size_t first)
{
	memcpy(a->v + a->count, p->v + first, (p->count - first) * sizeof(p->v[0]));
	a->count += p->count - first;
	a->to = p->to;
	a->end = p->end;
}

/* What was handed out gives way. */
static void
move_on(struct ahead *a, uint64_t from)
{
	size_t gone = 0;

	while (gone < a->count && a->v[gone]->node.b < from)
		gone++;
	memmove(a->v, a->v + gone, (a->count - gone) * sizeof(a->v[0]));
	a->count -= gone;
	a->from = from;
}

void
ahead_note_new(struct meta *m, const struct cached_dentry *cd)
{
	if (cd->node.a == m->ahead.dir)
		m->ahead.end = false;
}

void
ahead_note_gone(struct meta *m, const struct cached_dentry *cd)
{
	if (goes_on_at(&m->ahead, cd->node.a, cd->node.b))
		forget(&m->ahead);
}

void
ahead_note_child(struct meta *m, const struct cached_dentry *cd, struct inode *i)
{
	CONTAINER(i, struct cached_inode, inode)->cookie = cd->node.b;
	if (m->ahead.child == 0)
		m->ahead.child = i->ino;
}

/* The thread. */

/* The first directory in a few entries. */
struct choice {
	uint64_t ino;
	uint64_t cookie;
	unsigned left;
};

static err_t
take_directory(void *ctx, const struct dentry *d)
{
	struct choice *c = ctx;

	c->left--;
	if (d->type == S_IFDIR >> 12) {
		c->ino = d->ino;
		c->cookie = d->cookie;
	}
	return c->ino != 0 || c->left == 0 ? -ECANCELED : 0;
}

/* The one that is listed after this and all that is in it by who goes through a tree; 0: not known. */
static uint64_t
next_directory(struct meta *m, uint64_t ino)
{
	struct choice c = { .left = CHOOSE_ENTRIES };
	struct inode *i;

	for (unsigned level = 0; level < CHOOSE_LEVELS && ino != INODE_ROOT; level++) {
		const struct cached_inode *ci = inode_cached(m, ino);

		if (ci == NULL || ci->node.deleted || ci->cookie == 0)
			return 0;
		ino = ci->inode.parent;
		if (meta_dentry_scan(m, ino, ci->cookie, take_directory, &c) != 0)
			break;
	}
	if (c.ino != 0 && meta_inode_get(m, c.ino, &i) == 0)
		CONTAINER(i, struct cached_inode, inode)->cookie = c.cookie;
	return c.ino;
}

/* One is followed into the next only by who came from the last one into this. */
static void
choose(struct meta *m)
{
	struct ahead *a = &m->ahead;

	a->choose = false;
	a->chosen = true;
	a->expected = a->child != 0 ? a->child : next_directory(m, a->listed);
	if (!a->walking || a->expected == 0)
		return;
	begin_with(a, a->expected, 1);
	a->wanted = true;
}

/* A handful of entries.  What can't be read now is met by who asks for it. */
static void
read_some(struct meta *m)
{
	struct ahead *a = &m->ahead;
	struct list_part p;

	if (list_read_politely(m, a->dir, a->to, &p) != 0) {
		a->wanted = false;
		return;
	}
	add(a, &p, 0);
	a->wanted = has_room(a);
}

/* Between two handfuls others have the lock. */
static void
give_way(struct meta *m)
{
	meta_unlock(m);
	for (unsigned k = 0; k < YIELDS_MAX && atomic_load(&m->waiting) > 0; k++)
		sched_yield();
	pthread_mutex_lock(&m->lock);
}

static void *
read_ahead(void *arg)
{
	struct meta *m = arg;
	struct ahead *a = &m->ahead;

	pthread_mutex_lock(&m->lock);
	while (!a->stopping) {
		if (a->choose) {
			choose(m);
		} else if (a->wanted) {
			read_some(m);
			give_way(m);
		} else {
			pthread_cond_wait(&a->wake, &m->lock);
		}
	}
	meta_unlock(m);
	return NULL;
}

static bool
is_there(struct meta *m)
{
	struct ahead *a = &m->ahead;

	if (!a->running && !a->failed && !a->stopping && m->running) {
		a->running = pthread_create(&a->thread, NULL, read_ahead, m) == 0;
		a->failed = !a->running;
	}
	return a->running;
}

void
ahead_start(struct meta *m)
{
	m->ahead.stopping = false;
}

void
ahead_stop(struct meta *m)
{
	bool running;

	meta_lock(m);
	running = m->ahead.running;
	m->ahead.running = false;
	m->ahead.stopping = true;
	pthread_cond_signal(&m->ahead.wake);
	meta_unlock(m);
	if (running)
		pthread_join(m->ahead.thread, NULL);
}

/* Who lists. */

void
ahead_begin(struct meta *m, uint64_t parent, uint64_t after)
{
	struct ahead *a = &m->ahead;

	a->choose = false;
	if (after == 0)
		a->walking = parent == a->expected;
	if (after == 0 || parent != a->listed) {
		a->child = 0;
		a->chosen = false;
	}
	a->listed = parent;
}

err_t
ahead_emit(struct meta *m, uint64_t parent, uint64_t *after, bool *end_out, meta_entry_fn *fn, void *ctx)
{
	struct ahead *a = &m->ahead;

	if (!goes_on_at(a, parent, *after + 1))
		return 0;
	a->used = true;
	for (size_t k = 0; k < a->count; k++) {
		err_t err;

		if (a->v[k]->node.b <= *after)
			continue;
		if ((err = list_emit(m, a->v[k], true, fn, ctx)) != 0)
			return err;
		*after = a->v[k]->node.b;
	}
	*after = a->to - 1;
	*end_out = a->end;
	return 0;
}

static bool
is_worth_it(struct ahead *a)
{
	if (a->credit > 0 || a->used)
		return true;
	if (++a->left_undone < LEFT_UNDONE_MAX)
		return false;
	a->left_undone = 0;
	a->credit = 1;
	return true;
}

void
ahead_go_on(struct meta *m, uint64_t parent, uint64_t last, bool end, const struct list_part *rest)
{
	struct ahead *a = &m->ahead;
	size_t first = 0;

	if (end ? a->chosen : !goes_on_at(a, parent, last + 1) && !is_worth_it(a))
		return;
	if (!is_there(m))
		return;
	if (end) {
		a->choose = true;
		a->wanted = false;
	} else if (goes_on_at(a, parent, last + 1)) {
		move_on(a, last + 1);
		a->wanted = has_room(a);
	} else {
		begin_with(a, parent, last + 1);
		while (first < rest->count && rest->v[first]->node.b <= last)
			first++;
		if (first < rest->count)
			add(a, rest, first);
		a->wanted = !a->end;
	}
	pthread_cond_signal(&a->wake);
}
