/* steps.c: wraps around the engine's content_new, content_free, meta_throttle and meta_kv_put, and clock_gettime. */
#include "steps.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "content_internal.h"
#include "meta_internal.h"

#define OPEN_MAX 8
#define AHEAD_FROM (256u << 10)
#define AHEAD_MOST (1u << 20)

static bool are_short, are_lost;
static struct content *open_ones[OPEN_MAX];
static struct steps_spans *watching;
static unsigned commits;
static unsigned ticks;

void
steps_are_short(bool short_ones)
{
	are_short = short_ones;
}

void
steps_tick(void)
{
	ticks++;
}

int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

int
__wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (!are_short || clock != CLOCK_REALTIME_COARSE)
		return __real_clock_gettime(clock, ts);
	*ts = (struct timespec){.tv_sec = 1700000000 + ticks};
	return 0;
}

void
steps_are_not_noted(bool lost)
{
	are_lost = lost;
}

void
steps_watch(struct steps_spans *spans)
{
	watching = spans;
}

size_t
steps_next(const struct steps_spans *spans, size_t at)
{
	for (size_t k = 0; k < spans->count; k++)
		if (at < spans->v[k].to)
			return at > spans->v[k].from ? at : spans->v[k].from + 1;
	return at;
}

void
steps_spans_clear(struct steps_spans *spans)
{
	free(spans->v);
	*spans = (struct steps_spans){.v = NULL};
}

err_t __real_content_new(struct meta *meta, struct segstore *ss, struct keyring *keys, struct content **out);
err_t __wrap_content_new(struct meta *meta, struct segstore *ss, struct keyring *keys, struct content **out);

err_t
__wrap_content_new(struct meta *meta, struct segstore *ss, struct keyring *keys, struct content **out)
{
	err_t e = __real_content_new(meta, ss, keys, out);

	/* What is written at once is never so much that it would have room ahead by itself. */
	segstore_set_ahead(ss, AHEAD_FROM, AHEAD_MOST);
	if (e || !are_short)
		return e;
	(*out)->step = 1;
	for (size_t k = 0; k < OPEN_MAX; k++) {
		if (open_ones[k])
			continue;
		open_ones[k] = *out;
		return 0;
	}
	abort();
}

void __real_content_free(struct content *c);
void __wrap_content_free(struct content *c);

void
__wrap_content_free(struct content *c)
{
	for (size_t k = 0; k < OPEN_MAX; k++)
		if (open_ones[k] == c)
			open_ones[k] = NULL;
	__real_content_free(c);
}

static bool
is_cutting(struct meta *m)
{
	bool cuts = false;

	meta_lock(m);
	for (size_t k = 0; k < OPEN_MAX; k++)
		cuts = cuts || (open_ones[k] && open_ones[k]->meta == m && open_ones[k]->cut_count);
	meta_unlock(m);
	return cuts;
}

static void
note_span(size_t from, size_t to)
{
	if (!watching || from == to)
		return;
	watching->v = grown(watching->v, &watching->cap, watching->count, sizeof(*watching->v));
	watching->v[watching->count++] = (struct steps_span){from, to};
	watching->entries += to - from;
}

void __real_meta_throttle(struct meta *m);
void __wrap_meta_throttle(struct meta *m);

/* It is called between two steps, and at the beginning of many an operation.  A commit that fails does so without changing anything. */
void
__wrap_meta_throttle(struct meta *m)
{
	if (are_short && is_cutting(m)) {
		size_t from = tape_position();

		(void)!(commits++ % 3 ? meta_flush(m) : meta_sync(m));
		note_span(from, tape_position());
	}
	__real_meta_throttle(m);
}

err_t __real_meta_kv_put(struct meta *m, enum db_key key, const uint8_t *data, size_t len);
err_t __wrap_meta_kv_put(struct meta *m, enum db_key key, const uint8_t *data, size_t len);

err_t
__wrap_meta_kv_put(struct meta *m, enum db_key key, const uint8_t *data, size_t len)
{
	return are_lost && key == DB_KEY_CUT ? 0 : __real_meta_kv_put(m, key, data, len);
}

/* Looking at what is left. */

struct row {
	uint64_t ino;
	uint64_t no;
};
struct rows {
	struct row *v;
	size_t count;
	size_t cap;
};

static err_t
add_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	struct rows *r = ctx;

	(void)mark;
	(void)state;
	(void)data;
	(void)len;
	r->v = grown(r->v, &r->cap, r->count, sizeof(*r->v));
	r->v[r->count++] = (struct row){a, b};
	return 0;
}

struct sum {
	uint64_t mapped;
	bool behind; /* something a reader should not have */
};

static err_t
add_chunk(void *ctx, struct inode *i, struct chunk *c)
{
	struct sum *s = ctx;

	for (uint32_t k = 0; k < c->current.count; k++)
		s->mapped += c->current.v[k].len;
	s->behind = s->behind || (c->current.count && c->no >= inode_chunks(i->size));
	return 0;
}

/* [meta lock] */
static const char *
look_at_file(struct meta *m, uint64_t ino)
{
	struct sum s = {0};
	struct inode *i;

	if (meta_inode_get(m, ino, &i))
		return "there is a chunk without its file";
	if (!S_ISREG(i->mode))
		return NULL;
	if (meta_chunk_scan(m, i, 0, add_chunk, &s))
		return "a map can't be read";
	if (s.mapped != i->mapped)
		return "a file has not as much mapped as it says";
	return s.behind ? "something is mapped behind the end of a file" : NULL;
}

const char *
steps_left(struct vault *v)
{
	const char *wrong = v->content->cut_count ? "a file is still being cut" : NULL;
	struct rows r = {0};

	if (meta_sync(v->meta))
		return "committing failed";
	meta_lock(v->meta);
	/* An inode has its first chunk with it. */
	if (db_scan_all(v->meta->db, DB_INODE, 0, 0, UINT32_MAX, add_row, &r) ||
	    db_scan_all(v->meta->db, DB_CHUNK, 0, 0, UINT32_MAX, add_row, &r) ||
	    db_scan_all(v->meta->db, DB_CHUNK_PART, 0, 0, UINT32_MAX, add_row, &r))
		wrong = "the chunks can't be listed";
	for (size_t k = 0; k < r.count && !wrong; k++)
		if (k == 0 || r.v[k].ino != r.v[k - 1].ino)
			wrong = look_at_file(v->meta, r.v[k].ino);
	meta_unlock(v->meta);
	free(r.v);
	return wrong;
}
