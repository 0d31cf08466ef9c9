/* exposure.c: a listing, counted. */
#include "exposure.h"

#include <errno.h>
#include <time.h>

#define PROGRESS_INTERVAL 256u /* objects; a page of a listing has some 1000 */

struct listing {
	struct exposure e;
	exposure_progress_fn *progress;
	void *ctx;
};

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
	struct listing *l = ctx;
	struct exposure *e = &l->e;
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
	if (!l->progress || e->count % PROGRESS_INTERVAL != 1)
		return 0;
	return l->progress(l->ctx, e->count) ? 0 : -ECANCELED;
}

err_t exposure_read(struct store *s, exposure_progress_fn *progress, void *ctx, struct exposure *out)
{
	struct listing l = {.progress = progress, .ctx = ctx};
	err_t err = store_list_items(s, "", count_object, &l);

	if (err == 0)
		*out = l.e;
	return err;
}
