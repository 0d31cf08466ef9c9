/* exposure.c: a listing, counted. */
#include "exposure.h"

#include <string.h>
#include <time.h>

static void count_time(struct exposure *e, enum objname_kind kind, int64_t time_s)
{
	struct exposure_kind *k = &e->kinds[kind];
	time_t when = (time_t)time_s;
	struct tm tm;

	if (time_s == 0 || !localtime_r(&when, &tm))
		return;
	k->first_s = k->first_s == 0 || time_s < k->first_s ? time_s : k->first_s;
	k->last_s = k->last_s == 0 || time_s > k->last_s ? time_s : k->last_s;
	if (kind == OBJNAME_FOREIGN)
		return;
	e->by_hour[tm.tm_hour]++;
	e->by_weekday[tm.tm_wday]++;
}

static err_t count_object(void *ctx, const struct store_item *item)
{
	struct exposure *e = ctx;
	struct objname o = objname_parse(item->name);
	struct exposure_kind *k = &e->kinds[o.kind];
	uint64_t size = item->size;

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
	count_time(e, o.kind, item->time_s);
	e->off_step += o.kind != OBJNAME_FOREIGN && !objname_size_fits(size);
	return 0;
}

err_t exposure_read(struct store *s, struct exposure *out)
{
	struct exposure e = {.count = 0};
	err_t err = store_list_items(s, "", count_object, &e);

	if (err == 0)
		*out = e;
	return err;
}
