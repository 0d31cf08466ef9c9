/*
 * upload_internal.h: what upload*.c share, and nobody else.
 *
 *   upload.c        what is pending, settled in portions      upload_send.c   threads that send segments meanwhile
 */
#ifndef SNUGFS_UPLOAD_INTERNAL_H
#define SNUGFS_UPLOAD_INTERNAL_H

#include <pthread.h>

#include "engine.h"

#define UPLOAD_THREADS 4u

struct segment_list {
	struct segment *v;
	size_t count;
	size_t cap;
	struct numset *seen;
};

void upload_list_clear(struct segment_list *l);
MUST_CHECK err_t upload_list_add(struct segment_list *l, const struct segment *seg);

/* Memory for one object. */
struct place {
	struct bytes object;
	uint64_t seg; /* whose object that is; 0: of none */
	bool busy;    /* it is being sent */
};

/* Threads that send the segments of a list while it grows. */
struct upload {
	struct sync *s;
	pthread_t threads[UPLOAD_THREADS];
	size_t thread_count;
	uint64_t len; /* of all segments */
	pthread_mutex_t lock;
	/* under lock */
	struct segment_list l;
	size_t next;
	size_t left;    /* to be sent, or on their way */
	struct place places[UPLOAD_THREADS]; /* one for each that sends; the others keep what waits */
	bool complete;  /* no more will be added */
	size_t working; /* threads */
	err_t err;      /* the first */
	pthread_cond_t added; /* or complete, or failed */
	pthread_cond_t moved; /* one was sent, a thread ended, or failed */
};

/*
 * Zeroed but for s, lock and conditions; one thread at a time calls these, and upload_end last.
 */
/*
 * One more, unless it is in the list.  object: what is in it, or empty; if it is to be sent from there it is exchanged for memory that
 * is not used any more, or none.  Waits a moment if there is no room for it: where sending is quick that is less than reading it again.
 */
MUST_CHECK err_t upload_add(struct upload *u, const struct segment *seg, struct bytes *object);
/* Has threads for what is in the list.  more: others will follow; else but for one, which is sent in upload_end. */
void upload_start(struct upload *u, bool more);
/* Nothing more is begun. */
void upload_fail(struct upload *u, err_t err);
bool upload_has_failed(struct upload *u);
/* Waits until no more than a few are left to be sent, looking after the rest meanwhile. */
MUST_CHECK err_t upload_catch_up(struct upload *u);
/* Nothing will be added any more: waits for the end, looking after the rest meanwhile, and frees what u has. */
MUST_CHECK err_t upload_end(struct upload *u);

#endif
