/* deadmap.c: a sorted list that becomes a table. */
#include "deadmap.h"

#include <stdlib.h>
#include <string.h>

/* As many take an eighth of what the table of a hot segment does. */
#define FEW_MAX 1024u

void
deadmap_clear(struct deadmap *d)
{
	free(d->few);
	free(d->all);
	*d = (struct deadmap){0};
}

/* The index of the block, or where it belongs. */
static uint16_t
find(const struct deadmap *d, uint16_t block)
{
	uint16_t lo = 0, hi = d->few_count;

	while (lo < hi) {
		uint16_t mid = (uint16_t)((lo + hi) / 2);

		if (d->few[mid].block < block)
			lo = (uint16_t)(mid + 1);
		else
			hi = mid;
	}
	return lo;
}

static int
make_table(struct deadmap *d, uint32_t block_count)
{
	uint16_t *all = calloc(block_count, sizeof(*all));

	if (!all)
		return -1;
	for (uint16_t k = 0; k < d->few_count; k++)
		all[d->few[k].block] = d->few[k].bytes;
	deadmap_clear(d);
	d->all = all;
	return 0;
}

static int
grow(struct deadmap *d)
{
	uint16_t cap = d->few_cap ? (uint16_t)(d->few_cap * 2) : 16;
	struct deadmap_entry *grown = reallocarray(d->few, cap, sizeof(*grown));

	if (!grown)
		return -1;
	d->few = grown;
	d->few_cap = cap;
	return 0;
}

static uint16_t
insert(struct deadmap *d, uint16_t at, uint16_t block, uint16_t bytes)
{
	if (d->few_count == d->few_cap && grow(d))
		return 0;
	memmove(&d->few[at + 1], &d->few[at], (size_t)(d->few_count - at) * sizeof(*d->few));
	d->few[at] = (struct deadmap_entry){block, bytes};
	d->few_count++;
	return bytes;
}

uint16_t
deadmap_add(struct deadmap *d, uint16_t block, uint16_t bytes, uint32_t block_count)
{
	if (!d->all) {
		uint16_t at = find(d, block);

		if (at < d->few_count && d->few[at].block == block)
			return d->few[at].bytes = (uint16_t)(d->few[at].bytes + bytes);
		if (d->few_count < FEW_MAX)
			return insert(d, at, block, bytes);
		if (make_table(d, block_count))
			return 0;
	}
	return d->all[block] = (uint16_t)(d->all[block] + bytes);
}
