/* A folder has a place by its number.  Who loses it to another one is taken for changed, which costs the kernel what it has kept. */
#include "fuse_listing.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define PLACES 256u

struct fuse_listings {
	pthread_mutex_t lock;
	struct {
		uint64_t folder; /* 0: none */
		bool changed;
	} v[PLACES];
};

err_t
fuse_listings_new(struct fuse_listings **out)
{
	struct fuse_listings *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -ENOMEM;
	pthread_mutex_init(&l->lock, NULL);
	*out = l;
	return 0;
}

void
fuse_listings_free(struct fuse_listings *l)
{
	if (l == NULL)
		return;
	pthread_mutex_destroy(&l->lock);
	free(l);
}

void
fuse_listings_begin(struct fuse_listings *l, uint64_t folder)
{
	size_t k = folder % PLACES;

	pthread_mutex_lock(&l->lock);
	if (l->v[k].folder != folder)
		l->v[k].changed = false;
	l->v[k].folder = folder;
	pthread_mutex_unlock(&l->lock);
}

void
fuse_listings_note_change(struct fuse_listings *l, uint64_t folder)
{
	size_t k = folder % PLACES;

	pthread_mutex_lock(&l->lock);
	l->v[k].changed = l->v[k].changed || l->v[k].folder == folder;
	pthread_mutex_unlock(&l->lock);
}

bool
fuse_listings_end(struct fuse_listings *l, uint64_t folder)
{
	size_t k = folder % PLACES;
	bool same;

	pthread_mutex_lock(&l->lock);
	same = l->v[k].folder == folder && !l->v[k].changed;
	if (l->v[k].folder == folder)
		l->v[k].folder = 0;
	pthread_mutex_unlock(&l->lock);
	return same;
}
