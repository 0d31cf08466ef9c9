/* exposure.c: a listing, counted. */
#include "exposure.h"

#include <string.h>

static err_t count_object(void *ctx, const char *name, uint64_t size)
{
	struct exposure *e = ctx;
	struct objname o = objname_parse(name);
	struct exposure_kind *k = &e->kinds[o.kind];

	if (k->count == 0) {
		k->smallest = k->largest = size;
		k->first = k->last = o.number;
	}
	k->smallest = size < k->smallest ? size : k->smallest;
	k->largest = size > k->largest ? size : k->largest;
	k->first = o.number < k->first ? o.number : k->first;
	k->last = o.number > k->last ? o.number : k->last;
	k->count++;
	k->bytes += size;
	e->count++;
	e->bytes += size;
	e->off_step += o.kind != OBJNAME_FOREIGN && !objname_size_fits(size);
	return 0;
}

err_t exposure_read(struct store *s, struct exposure *out)
{
	struct exposure e = {.count = 0};
	err_t err = store_list(s, "", count_object, &e);

	if (err == 0)
		*out = e;
	return err;
}
