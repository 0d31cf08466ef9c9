/*
 * Pins: which rows of a directory or file are newer in memory than in the database, in the order of the database's key.
 *
 * New names and chunks come in ascending order, so a set is nearly always in order.  What comes out of order is put behind, and
 * sorted in when somebody asks for the order; what goes leaves a hole.  So no change costs more in a large set.
 */
#include <errno.h>
#include <stdlib.h>

#include "meta_internal.h"

static struct pinset *
find_set(struct meta *m, enum db_table table, uint64_t a)
{
	uint64_t key[2] = { (uint64_t)table, a };
	struct pinset *p;

	HASH_FIND(hh, m->pinsets, key, sizeof(key), p);
	return p;
}

static struct pinset *
new_set(struct meta *m, enum db_table table, uint64_t a)
{
	struct pinset *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->key[0] = (uint64_t)table;
	p->key[1] = a;
	HASH_ADD(hh, m->pinsets, key, sizeof(p->key), p);
	return p;
}

static int
compare_pins(const void *a, const void *b)
{
	const struct pin *x = a, *y = b;

	return x->b < y->b ? -1 : x->b > y->b;
}

/* Without holes. */
static void
close_holes(struct pinset *p)
{
	size_t kept = 0, sorted = 0;

	for (size_t i = 0; i < p->count; i++) {
		if (i == p->sorted)
			sorted = kept;
		if (p->v[i].node != NULL)
			p->v[kept++] = p->v[i];
	}
	p->sorted = p->sorted >= p->count ? kept : sorted;
	p->count = kept;
	p->holes = 0;
}

/* What stands behind is sorted and merged in, from the end. */
static void
sort_set(struct pinset *p)
{
	size_t front = p->sorted, back = p->count - p->sorted, to = p->count;
	struct pin *tail;

	if (back == 0)
		return;
	p->sorted = p->count;
	tail = malloc(back * sizeof(tail[0]));
	if (tail == NULL) {
		qsort(p->v, p->count, sizeof(p->v[0]), compare_pins);
		return;
	}
	memcpy(tail, p->v + front, back * sizeof(tail[0]));
	qsort(tail, back, sizeof(tail[0]), compare_pins);
	while (back > 0)
		p->v[--to] = front > 0 && p->v[front - 1].b > tail[back - 1].b ? p->v[--front] : tail[--back];
	free(tail);
}

/* Of a sorted set: the index of the first with b >= from. */
static size_t
first_from(const struct pinset *p, uint64_t from)
{
	size_t low = 0, high = p->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (p->v[mid].b < from)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static err_t
grow_set(struct pinset *p)
{
	size_t cap = p->cap ? p->cap * 2 : 8;
	struct pin *v;

	if (p->holes > p->count / 2) {
		close_holes(p);
		return 0;
	}
	v = realloc(p->v, cap * sizeof(v[0]));
	if (v == NULL)
		return -ENOMEM;
	p->v = v;
	p->cap = cap;
	return 0;
}

err_t
pins_add(struct meta *m, struct node *n)
{
	struct pinset *p = find_set(m, n->table, n->a);
	err_t err;

	if (p == NULL && (p = new_set(m, n->table, n->a)) == NULL)
		return -ENOMEM;
	if (p->count == p->cap && (err = grow_set(p)) != 0)
		return err;
	if (p->sorted == p->count && (p->count == 0 || p->v[p->count - 1].b < n->b))
		p->sorted++;
	p->v[p->count++] = (struct pin){ n->b, n };
	return 0;
}

void
pins_drop(struct meta *m, const struct node *n)
{
	struct pinset *p = find_set(m, n->table, n->a);

	if (p == NULL)
		return;
	sort_set(p);
	/* A number that left a hole may have come back. */
	for (size_t i = first_from(p, n->b); i < p->count && p->v[i].b == n->b; i++)
		if (p->v[i].node == n) {
			p->v[i].node = NULL;
			p->holes++;
		}
}

struct node *
pins_next(struct meta *m, enum db_table table, uint64_t a, uint64_t from)
{
	struct pinset *p = find_set(m, table, a);

	if (p == NULL)
		return NULL;
	sort_set(p);
	for (size_t i = first_from(p, from); i < p->count; i++)
		if (p->v[i].node != NULL)
			return p->v[i].node;
	return NULL;
}

void
pins_compact(struct meta *m)
{
	struct pinset *p, *next;

	HASH_ITER (hh, m->pinsets, p, next) {
		for (size_t i = 0; i < p->count; i++)
			if (p->v[i].node != NULL && !p->v[i].node->dirty && !p->v[i].node->frozen)
				p->v[i].node = NULL;
		close_holes(p);
		if (p->count == 0) {
			HASH_DEL(m->pinsets, p);
			free(p->v);
			free(p);
		}
	}
}

void
pins_free(struct meta *m)
{
	struct pinset *p, *next;

	HASH_ITER (hh, m->pinsets, p, next) {
		HASH_DEL(m->pinsets, p);
		free(p->v);
		free(p);
	}
}
