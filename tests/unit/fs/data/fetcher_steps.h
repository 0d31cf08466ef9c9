/*
 * fetcher_steps.h: what several tests of fetching need.
 */
#ifndef SNUGFS_TEST_FETCHER_STEPS_H
#define SNUGFS_TEST_FETCHER_STEPS_H

#include "shelf_store.h"

struct reader {
	struct shelf_store *k;
	uint64_t ino;
	uint64_t off;
	err_t result;
	pthread_t thread;
};

static inline void *
read_some(void *ctx)
{
	struct reader *r = ctx;
	uint8_t buf[4096];
	size_t n;

	r->result = content_read(r->k->f->c, r->ino, r->off, sizeof(buf), buf, &n);
	return NULL;
}

#endif
