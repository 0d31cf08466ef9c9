/*
 * shelf.h: a real store in a directory, which remembers at which moment of the tape each object came to be: so a cut can be
 * shown the store as it was then.  Only commits and bases matter; what else came later is what no commit names.
 */
#ifndef CRASH_SHELF_H
#define CRASH_SHELF_H

#include "image.h"
#include "store.h"

#define SHELF_PATH_LEN 256

struct shelf_object {
	char name[48];
	size_t from; /* the tape's position before and after it was made */
	size_t to;
	unsigned maker;
};
struct shelf {
	char dir[SHELF_PATH_LEN];
	unsigned maker; /* who uses it now */
	struct shelf_object *v;
	size_t count;
	size_t cap;
	size_t before; /* so many of them were there when the tape began: they are at any cut */
};

void shelf_begin(struct shelf *s, const char *dir);
void shelf_end(struct shelf *s);
/* The tape begins. */
void shelf_record(struct shelf *s);
/* The store, for one that is to be given away. */
struct store *shelf_open(struct shelf *s);
/* Copies it to `dir` (emptied) as it was when the tape was at `at`. */
void shelf_copy(const struct shelf *s, const char *dir, size_t at, struct rng *r);
/* Is there a commit behind `seq` (from: behind nothing) in the store at `dir` that `maker` has made? */
bool shelf_has_commit(const struct shelf *s, const char *dir, bool from, uint64_t seq, unsigned maker);

#endif
