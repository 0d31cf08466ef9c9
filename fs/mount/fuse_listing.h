/*
 * fuse_listing.h: which folders are being listed, and whether they have changed meanwhile.
 *
 * The kernel keeps what READDIR answers, and lists the folder by itself from then on.  Whether that is still true it only looks when
 * somebody begins at the beginning.  So if A has read all names but not been told yet that there are no more, somebody removes one, B
 * begins, and only now A is told: then B goes on with what A's reading has left, and sees a name that was gone before B began.
 * Hence: when a listing comes to its end in a folder that has changed since, the kernel is to forget what it has kept of it.
 *
 * The kernel holds a folder's lock for the whole of each change and of each READDIR.  Uses err.h.
 */
#ifndef SNUGFS_FUSE_LISTING_H
#define SNUGFS_FUSE_LISTING_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct fuse_listings;
MUST_CHECK err_t fuse_listings_new(struct fuse_listings **out);
void fuse_listings_free(struct fuse_listings *l);

/* READDIR from the beginning. */
void fuse_listings_begin(struct fuse_listings *l, uint64_t folder);
/* A name is about to be made or removed, or to be another file's. */
void fuse_listings_note_change(struct fuse_listings *l, uint64_t folder);
/* No names are left: is it sure that there was no change since anybody began who had not come to the end yet? */
bool fuse_listings_end(struct fuse_listings *l, uint64_t folder);

#endif
