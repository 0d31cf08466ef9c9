/*
 * The kernel's lookup counts: pages of counters in a hash by inode number.  It may know millions of inodes, and nearly all of them
 * have been looked up a few times: a counter is a byte, and what is beyond that stands in a hash of its own.
 */
#include "lookups.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Running out of memory shows as hh.tbl == NULL. */
#define HASH_NONFATAL_OOM 1
#include "hash_table.h"
#include "lock.h"
#include "log.h"

#define PAGE_SHIFT 12
#define PAGE_COUNTERS (1u << PAGE_SHIFT)
#define COUNTER_MAX 255u
#define EMPTY_MAX 64u /* pages without counters that stay: whoever looks up one file after the other comes back to them */

struct page {
	uint64_t no;
	uint32_t used;  /* counters that are not zero */
	uint8_t *count; /* mapped: among the heap's short-lived blocks it would keep those from being given back */
	UT_hash_handle hh;
};

/* Beyond COUNTER_MAX. */
struct excess {
	uint64_t ino;
	uint64_t n;
	UT_hash_handle hh;
};

/* Few: what keeps a removed directory known is a file in it that is still open. */
struct retired {
	uint64_t ino;
	uint64_t times;
	UT_hash_handle hh;
};

struct lookups {
	pthread_mutex_t lock;
	struct page *pages;
	unsigned empty_count;
	struct excess *excess;
	struct retired *retired;
};

err_t
lookups_new(struct lookups **out)
{
	struct lookups *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -ENOMEM;
	lock_init(&l->lock);
	*out = l;
	return 0;
}

static void
page_free(struct lookups *l, struct page *p)
{
	HASH_DEL(l->pages, p);
	(void)munmap(p->count, PAGE_COUNTERS);
	free(p);
}

static struct page *
page_new(struct lookups *l, uint64_t no)
{
	struct page *p = calloc(1, sizeof(*p));
	void *count = mmap(NULL, PAGE_COUNTERS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p != NULL && count != MAP_FAILED) {
		p->no = no;
		p->count = count;
		HASH_ADD(hh, l->pages, no, sizeof(p->no), p);
		if (p->hh.tbl != NULL) {
			l->empty_count++;
			return p;
		}
	}
	if (count != MAP_FAILED)
		(void)munmap(count, PAGE_COUNTERS);
	free(p);
	return NULL;
}

static void
excess_free(struct lookups *l, struct excess *x)
{
	HASH_DEL(l->excess, x);
	free(x);
}

static void
retired_free(struct lookups *l, struct retired *r)
{
	HASH_DEL(l->retired, r);
	free(r);
}

void
lookups_free(struct lookups *l)
{
	struct page *p, *next;
	struct excess *x, *next_excess;
	struct retired *r, *next_retired;

	if (l == NULL)
		return;
	HASH_ITER (hh, l->pages, p, next)
		page_free(l, p);
	HASH_ITER (hh, l->excess, x, next_excess)
		excess_free(l, x);
	HASH_ITER (hh, l->retired, r, next_retired)
		retired_free(l, r);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static struct page *
page_find(struct lookups *l, uint64_t ino)
{
	uint64_t no = ino >> PAGE_SHIFT;
	struct page *p;

	HASH_FIND(hh, l->pages, &no, sizeof(no), p);
	return p;
}

static struct excess *
excess_find(struct lookups *l, uint64_t ino)
{
	struct excess *x;

	HASH_FIND(hh, l->excess, &ino, sizeof(ino), x);
	return x;
}

static uint8_t *
counter_of(struct page *p, uint64_t ino)
{
	return &p->count[ino & (PAGE_COUNTERS - 1)];
}

static uint64_t
total_of(struct lookups *l, struct page *p, uint64_t ino)
{
	struct excess *x = *counter_of(p, ino) == COUNTER_MAX ? excess_find(l, ino) : NULL;

	return *counter_of(p, ino) + (x == NULL ? 0 : x->n);
}

static err_t
excess_add(struct lookups *l, uint64_t ino)
{
	struct excess *x = excess_find(l, ino);

	if (x == NULL) {
		x = calloc(1, sizeof(*x));
		if (x == NULL)
			return -ENOMEM;
		x->ino = ino;
		HASH_ADD(hh, l->excess, ino, sizeof(x->ino), x);
		if (x->hh.tbl == NULL) {
			free(x);
			return -ENOMEM;
		}
	}
	x->n++;
	return 0;
}

err_t
lookups_add(struct lookups *l, uint64_t ino)
{
	struct page *p;
	err_t err = 0;

	pthread_mutex_lock(&l->lock);
	p = page_find(l, ino);
	if (p == NULL)
		p = page_new(l, ino >> PAGE_SHIFT);
	if (p == NULL)
		err = -ENOMEM;
	else if (*counter_of(p, ino) == COUNTER_MAX)
		err = excess_add(l, ino);
	else if ((*counter_of(p, ino))++ == 0 && p->used++ == 0)
		l->empty_count--;
	pthread_mutex_unlock(&l->lock);
	return err;
}

/* A smaller one, or 0. */
static void
set_total(struct lookups *l, struct page *p, uint64_t ino, uint64_t n)
{
	struct excess *x = *counter_of(p, ino) == COUNTER_MAX ? excess_find(l, ino) : NULL;
	bool was_used = *counter_of(p, ino) != 0;

	*counter_of(p, ino) = (uint8_t)(n < COUNTER_MAX ? n : COUNTER_MAX);
	if (x != NULL && n > COUNTER_MAX)
		x->n = n - COUNTER_MAX;
	else if (x != NULL)
		excess_free(l, x);
	if (!was_used || n != 0 || --p->used != 0)
		return;
	if (l->empty_count < EMPTY_MAX)
		l->empty_count++;
	else
		page_free(l, p);
}

static struct retired *
retired_find(struct lookups *l, uint64_t ino)
{
	struct retired *r;

	HASH_FIND(hh, l->retired, &ino, sizeof(ino), r);
	return r;
}

static struct retired *
retired_new(struct lookups *l, uint64_t ino)
{
	struct retired *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->ino = ino;
	HASH_ADD(hh, l->retired, ino, sizeof(r->ino), r);
	if (r->hh.tbl != NULL)
		return r;
	free(r);
	return NULL;
}

uint64_t
lookups_drop(struct lookups *l, uint64_t ino, uint64_t n)
{
	struct retired *r;
	uint64_t left = 0;
	struct page *p;

	pthread_mutex_lock(&l->lock);
	p = page_find(l, ino);
	if (p != NULL) {
		left = total_of(l, p, ino);
		left = n >= left ? 0 : left - n;
		set_total(l, p, ino, left);
		if (left == 0 && (r = retired_find(l, ino)) != NULL)
			retired_free(l, r);
	}
	pthread_mutex_unlock(&l->lock);
	return left;
}

uint64_t
lookups_count(struct lookups *l, uint64_t ino)
{
	struct page *p;
	uint64_t count;

	pthread_mutex_lock(&l->lock);
	p = page_find(l, ino);
	count = p == NULL ? 0 : total_of(l, p, ino);
	pthread_mutex_unlock(&l->lock);
	return count;
}

void
lookups_retire(struct lookups *l, uint64_t ino)
{
	struct retired *r;
	struct page *p;

	pthread_mutex_lock(&l->lock);
	p = page_find(l, ino);
	if (p != NULL && total_of(l, p, ino) != 0) {
		r = retired_find(l, ino);
		if (r == NULL)
			r = retired_new(l, ino);
		if (r != NULL)
			r->times++;
		else
			log_warn("out of memory: a removed folder that comes back may look empty until the next mount");
	}
	pthread_mutex_unlock(&l->lock);
}

uint64_t
lookups_generation(struct lookups *l, uint64_t ino)
{
	struct retired *r;
	uint64_t generation;

	pthread_mutex_lock(&l->lock);
	r = retired_find(l, ino);
	generation = r == NULL ? 1 : 1 + r->times;
	pthread_mutex_unlock(&l->lock);
	return generation;
}
