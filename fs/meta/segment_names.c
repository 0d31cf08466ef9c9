/* segment_names.c: a sorted array, and behind it what came since it was sorted. */
#include "segment_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* So many behind the sorted ones are looked through one by one. */
#define LOOSE_MAX 1024u

static uint64_t
beginning_of(const uint8_t name[static 16])
{
	uint64_t beginning;

	memcpy(&beginning, name, sizeof(beginning));
	return beginning;
}

static int
compare(const void *a, const void *b)
{
	const struct segment_name *x = a;
	const struct segment_name *y = b;

	if (x->beginning != y->beginning)
		return x->beginning < y->beginning ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

err_t
segment_names_add(struct segment_names *n, const uint8_t name[static 16], uint64_t id)
{
	if (n->count == n->cap) {
		size_t cap = n->cap + n->cap / 4 + 64;
		struct segment_name *grown = reallocarray(n->v, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		n->v = grown;
		n->cap = cap;
	}
	n->v[n->count++] = (struct segment_name){beginning_of(name), id};
	return 0;
}

/* What stands behind is sorted and merged in, from the end. */
static void
sort(struct segment_names *n)
{
	size_t front = n->sorted, back = n->count - n->sorted, to = n->count;
	struct segment_name *loose = front ? malloc(back * sizeof(*loose)) : NULL;

	n->sorted = n->count;
	if (!loose) {
		qsort(n->v, n->count, sizeof(*n->v), compare);
		return;
	}
	memcpy(loose, n->v + front, back * sizeof(*loose));
	qsort(loose, back, sizeof(*loose), compare);
	while (back > 0)
		n->v[--to] = front > 0 && compare(&n->v[front - 1], &loose[back - 1]) > 0 ? n->v[--front] : loose[--back];
	free(loose);
}

/* The index of the first sorted one that is not below that. */
static size_t
first_from(const struct segment_names *n, const struct segment_name *from)
{
	size_t low = 0, high = n->sorted;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare(&n->v[mid], from) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint64_t
segment_names_next(struct segment_names *n, const uint8_t name[static 16], uint64_t after)
{
	const struct segment_name from = {beginning_of(name), after + 1};
	uint64_t found = 0;

	if (n->count - n->sorted > LOOSE_MAX)
		sort(n);

	size_t k = first_from(n, &from);

	if (k < n->sorted && n->v[k].beginning == from.beginning)
		found = n->v[k].id;
	for (k = n->sorted; k < n->count; k++) {
		const struct segment_name *at = &n->v[k];

		if (at->beginning == from.beginning && at->id > after && (!found || at->id < found))
			found = at->id;
	}
	return found;
}

void
segment_names_clear(struct segment_names *n)
{
	free(n->v);
	*n = (struct segment_names){0};
}
