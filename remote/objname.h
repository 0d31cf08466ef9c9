/*
 * objname.h: what an object is, going by its name alone; for whoever lists a store.  Uses chain.h for lengths.
 */
#ifndef SNUGFS_OBJNAME_H
#define SNUGFS_OBJNAME_H

#include <stdbool.h>
#include <stdint.h>

#include "chain.h"

enum objname_kind {
	OBJNAME_MARKER,
	OBJNAME_BOX,     /* number: the epoch */
	OBJNAME_COMMIT,  /* number */
	OBJNAME_BASE,    /* number: of the commit that it ends with */
	OBJNAME_SEGMENT, /* a base's part looks the same */
	OBJNAME_WITNESS, /* a device's statement in a witness store */
	OBJNAME_FOREIGN, /* no name of ours */
	OBJNAME_KIND_COUNT,
};

struct objname {
	enum objname_kind kind;
	uint64_t number;
	uint8_t random[SEGMENT_NAME_LEN]; /* of a segment and a box: what is random in the name */
};

struct objname objname_parse(const char *name);
/* For people: "segments", "commits", …; for machines: "segment", "commit", …. */
const char *objname_plural(enum objname_kind kind);
const char *objname_word(enum objname_kind kind);
/* Is it a size that an object of ours may have? */
bool objname_size_fits(uint64_t size);

#endif
