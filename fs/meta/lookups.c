/* The kernel's lookup counts: pages of counters in a hash by inode number. */
#include "lookups.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "hash_table.h"

#define PAGE_SHIFT 10
#define PAGE_COUNTERS (1u << PAGE_SHIFT)

struct page {
	uint64_t no;
	uint32_t used; /* counters that are not zero; the page goes with the last */
	uint32_t count[PAGE_COUNTERS];
	UT_hash_handle hh;
};

struct lookups {
	pthread_mutex_t lock;
	struct page *pages;
};

err_t
lookups_new(struct lookups **out)
{
	struct lookups *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -ENOMEM;
	pthread_mutex_init(&l->lock, NULL);
	*out = l;
	return 0;
}

void
lookups_free(struct lookups *l)
{
	struct page *p, *next;

	if (l == NULL)
		return;
	HASH_ITER (hh, l->pages, p, next) {
		HASH_DEL(l->pages, p);
		free(p);
	}
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

err_t
lookups_add(struct lookups *l, uint64_t ino)
{
	struct page *p;
	err_t err = 0;

	pthread_mutex_lock(&l->lock);
	p = page_find(l, ino);
	if (p == NULL && (p = calloc(1, sizeof(*p))) != NULL) {
		p->no = ino >> PAGE_SHIFT;
		HASH_ADD(hh, l->pages, no, sizeof(p->no), p);
	}
	if (p == NULL) {
		err = -ENOMEM;
	} else if (p->count[ino & (PAGE_COUNTERS - 1)]++ == 0) {
		p->used++;
	}
	pthread_mutex_unlock(&l->lock);
	return err;
}

uint32_t
lookups_drop(struct lookups *l, uint64_t ino, uint64_t n)
{
	uint32_t left = 0;
	struct page *p;

	pthread_mutex_lock(&l->lock);
	p = page_find(l, ino);
	if (p != NULL) {
		uint32_t *count = &p->count[ino & (PAGE_COUNTERS - 1)];
		bool was_used = *count != 0;

		*count = n >= *count ? 0 : *count - (uint32_t)n;
		left = *count;
		if (was_used && left == 0 && --p->used == 0) {
			HASH_DEL(l->pages, p);
			free(p);
		}
	}
	pthread_mutex_unlock(&l->lock);
	return left;
}

uint32_t
lookups_count(struct lookups *l, uint64_t ino)
{
	struct page *p;
	uint32_t count;

	pthread_mutex_lock(&l->lock);
	p = page_find(l, ino);
	count = p == NULL ? 0 : p->count[ino & (PAGE_COUNTERS - 1)];
	pthread_mutex_unlock(&l->lock);
	return count;
}
