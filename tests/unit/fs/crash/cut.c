/* cut.c: durable state, what hangs in the air, and a throw of the dice for each of that. */
#include "cut.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"

struct disk_file {
	struct image base; /* durable */
	size_t *pending;   /* entries since, in order */
	size_t count;
	size_t cap;
};

struct disk_name {
	uint32_t durable;
	size_t *pending; /* TAPE_NAME entries since, in order */
	size_t count;
	size_t cap;
};

/* The luck of one cut. */
struct luck {
	size_t journal;    /* CUT_ORDERED: metadata before this entry survives */
	unsigned survives; /* percent of the writes */
	unsigned torn;     /* percent of the rest */
	unsigned block;
	bool grows; /* sizes survive without the data */
	bool junk;
};

struct disk {
	const struct tape *t;
	enum cut_model model;
	struct rng rng;
	size_t at;
	size_t journaled; /* CUT_ORDERED: metadata before this entry is durable */
	struct disk_file *files;
	struct disk_name *names;
};

struct disk *
disk_new(const struct tape *t, enum cut_model model, uint64_t seed)
{
	struct disk *d = calloc(1, sizeof(*d));

	MUST(d);
	d->t = t;
	d->model = model;
	d->rng.state = seed;
	d->files = calloc(t->file_count, sizeof(*d->files));
	d->names = calloc(t->name_count, sizeof(*d->names));
	MUST(d->files && d->names);
	for (size_t k = 0; k < t->file_count; k++)
		image_copy(&t->files[k], &d->files[k].base);
	for (size_t k = 0; k < t->name_count; k++)
		d->names[k].durable = t->names[k].first;
	return d;
}

void
disk_free(struct disk *d)
{
	for (size_t k = 0; k < d->t->file_count; k++) {
		image_clear(&d->files[k].base);
		free(d->files[k].pending);
	}
	for (size_t k = 0; k < d->t->name_count; k++)
		free(d->names[k].pending);
	free(d->files);
	free(d->names);
	free(d);
}

static void
remember(size_t **v, size_t *count, size_t *cap, size_t at)
{
	*v = grown(*v, cap, *count, sizeof(**v));
	(*v)[(*count)++] = at;
}

/* Becoming durable. */

static void
fold_entry(struct image *base, const struct tape_entry *e)
{
	if (e->kind == TAPE_WRITE)
		image_write(base, e->off, e->data, e->len);
	else if (e->kind == TAPE_TRUNCATE)
		image_truncate(base, e->len);
	else if (e->kind == TAPE_ALLOCATE)
		image_truncate(base, e->off + e->len > base->size ? e->off + e->len : base->size);
	else
		image_punch(base, e->off, e->len);
}

/* How many of them are before `upto`. */
static size_t
count_before(const size_t *pending, size_t count, size_t upto)
{
	size_t k = 0;

	while (k < count && pending[k] < upto)
		k++;
	return k;
}

/* The first ones go. */
static void
forget_first(size_t *pending, size_t *count, size_t gone)
{
	if (gone)
		memmove(pending, pending + gone, (*count - gone) * sizeof(*pending));
	*count -= gone;
}

static void
fold_file(struct disk *d, struct disk_file *f, unsigned percent, size_t upto)
{
	size_t gone = count_before(f->pending, f->count, upto);

	for (size_t k = 0; k < gone; k++)
		if (rng_chance(&d->rng, percent))
			fold_entry(&f->base, &d->t->v[f->pending[k]]);
	forget_first(f->pending, &f->count, gone);
}

static void
fold_names(struct disk *d, bool all, unsigned dir, size_t upto)
{
	for (size_t k = 0; k < d->t->name_count; k++) {
		struct disk_name *n = &d->names[k];
		size_t gone = count_before(n->pending, n->count, upto);

		if (!gone || (!all && d->t->names[k].dir != dir))
			continue;
		n->durable = d->t->v[n->pending[gone - 1]].file;
		forget_first(n->pending, &n->count, gone);
	}
}

/*
 * A flush of a file makes the host's journal go out only if the file's own metadata are in it: its name, its size, its holes.
 * Else it waits.
 */
static bool
needs_journal(const struct disk *d, uint32_t file, size_t upto)
{
	const struct disk_file *f = &d->files[file];

	for (size_t k = 0; k < f->count && f->pending[k] < upto; k++) {
		const struct tape_entry *e = &d->t->v[f->pending[k]];

		if (e->kind != TAPE_WRITE || e->off + e->len > f->base.size)
			return true;
	}
	for (size_t k = 0; k < d->t->name_count; k++) {
		const struct disk_name *n = &d->names[k];

		for (size_t j = 0; j < n->count && n->pending[j] < upto; j++)
			if (d->t->v[n->pending[j]].file == file)
				return true;
	}
	return false;
}

static void
step(struct disk *d, size_t at)
{
	const struct tape_entry *e = &d->t->v[at];
	struct disk_file *f = e->file != TAPE_NO_FILE ? &d->files[e->file] : NULL;
	bool journal = d->model == CUT_ORDERED &&
	    (e->kind == TAPE_FLUSH_DIR || (e->kind == TAPE_FLUSH && needs_journal(d, e->file, e->upto)));

	switch (e->kind) {
	case TAPE_WRITE:
	case TAPE_TRUNCATE:
	case TAPE_PUNCH:
	case TAPE_ALLOCATE:
		remember(&f->pending, &f->count, &f->cap, at);
		break;
	case TAPE_NAME:
		remember(&d->names[e->name].pending, &d->names[e->name].count, &d->names[e->name].cap, at);
		break;
	case TAPE_FLUSH_FAILED:
		/* Linux takes the pages for clean after telling of the failure once: what is lost now stays lost. */
		fold_file(d, f, d->model == CUT_KILL ? 100 : 50, at);
		break;
	case TAPE_FLUSH:
		fold_file(d, f, 100, e->upto);
		break;
	case TAPE_FLUSH_DIR:
		fold_names(d, false, e->dir, e->upto);
		break;
	case TAPE_NOTHING:
		break;
	}
	if (journal) {
		fold_names(d, true, 0, e->upto);
		d->journaled = e->upto > d->journaled ? e->upto : d->journaled;
	}
}

void
disk_advance(struct disk *d, size_t at)
{
	while (d->at < at)
		step(d, d->at++);
}

/* Building. */

static struct luck
draw(struct disk *d)
{
	static const unsigned PERCENT[] = {0, 10, 50, 90, 100};
	struct luck l;

	l.journal = d->journaled + (size_t)rng_below(&d->rng, d->at - d->journaled + 1);
	l.survives = PERCENT[rng_below(&d->rng, 5)];
	l.torn = PERCENT[rng_below(&d->rng, 4)];
	l.block = rng_chance(&d->rng, 50) ? 512 : 4096;
	l.grows = rng_chance(&d->rng, 30);
	l.junk = d->model == CUT_HARSH && rng_chance(&d->rng, 30);
	if (d->model == CUT_KILL) {
		l.survives = 100;
		l.journal = d->at;
	}
	return l;
}

static void
put(int fd, const uint8_t *data, uint64_t len, uint64_t off)
{
	MUST(len == 0 || pwrite(fd, data, len, (off_t)off) == (ssize_t)len);
}

static void
put_junk(struct disk *d, int fd, uint64_t len, uint64_t off)
{
	uint8_t junk[IMAGE_PAGE];

	rng_fill(&d->rng, junk, len);
	put(fd, junk, len, off);
}

/* Some blocks of it are there, some are as they were; where nothing was (from `used` on) there can be junk. */
static void
put_torn(struct disk *d, const struct luck *l, int fd, const struct tape_entry *e, unsigned percent, uint64_t used)
{
	uint64_t done = 0;

	while (done < e->len) {
		uint64_t off = e->off + done;
		uint64_t n = l->block - off % l->block;

		n = n < e->len - done ? n : e->len - done;
		if (rng_chance(&d->rng, percent))
			put(fd, e->data + done, n, off);
		else if (l->junk && off >= used && rng_chance(&d->rng, 70))
			put_junk(d, fd, n, off);
		done += n;
	}
}

/* used: the end of what was durable. */
static void
put_write(struct disk *d, const struct luck *l, int fd, const struct tape_entry *e, bool last, uint64_t used)
{
	if (d->model == CUT_KILL)
		put(fd, e->data, last && rng_chance(&d->rng, 30) ? e->len / 2 : e->len, e->off);
	else if (rng_chance(&d->rng, l->survives))
		put(fd, e->data, e->len, e->off);
	else if (rng_chance(&d->rng, l->torn))
		put_torn(d, l, fd, e, 50, used);
	else if (l->junk)
		put_torn(d, l, fd, e, 0, used);
}

/* A hole in many blocks is perhaps made in several steps. */
static void
put_hole(struct disk *d, const struct luck *l, int fd, const struct tape_entry *e)
{
	uint64_t len = e->len;

	if (d->model != CUT_KILL && rng_chance(&d->rng, l->torn))
		len = rng_below(&d->rng, len / IMAGE_PAGE + 1) * IMAGE_PAGE;
	if (len)
		MUST(!disk_punch(fd, e->off, len));
}

static bool
metadata_survives(struct disk *d, const struct luck *l, size_t entry)
{
	return d->model == CUT_HARSH ? rng_chance(&d->rng, l->survives) : entry < l->journal;
}

static void
grow(int fd, uint64_t size)
{
	struct stat st;

	MUST(!fstat(fd, &st));
	if ((uint64_t)st.st_size < size)
		MUST(!ftruncate(fd, (off_t)size));
}

/* Much room is perhaps made in several steps, too. */
static void
put_room(struct disk *d, const struct luck *l, int fd, const struct tape_entry *e)
{
	uint64_t len = e->len;

	if (d->model != CUT_KILL && rng_chance(&d->rng, l->torn))
		len = rng_below(&d->rng, len / IMAGE_PAGE + 1) * IMAGE_PAGE;
	grow(fd, e->off + len);
}

static void
put_file(struct disk *d, const struct luck *l, const struct disk_file *f, const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint64_t end = 0;

	MUST(fd >= 0);
	image_store(&f->base, fd);
	for (size_t k = 0; k < f->count; k++) {
		const struct tape_entry *e = &d->t->v[f->pending[k]];

		if (e->kind == TAPE_WRITE) {
			put_write(d, l, fd, e, f->pending[k] + 1 == d->at, f->base.size);
			end = e->off + e->len > end ? e->off + e->len : end;
		} else if (metadata_survives(d, l, f->pending[k])) {
			if (e->kind == TAPE_TRUNCATE)
				MUST(!ftruncate(fd, (off_t)e->len));
			else if (e->kind == TAPE_ALLOCATE)
				put_room(d, l, fd, e);
			else
				put_hole(d, l, fd, e);
			end = 0;
		}
	}
	if (l->grows && d->model != CUT_KILL)
		grow(fd, end);
	close(fd);
}

static uint32_t
choose_name(struct disk *d, const struct luck *l, const struct disk_name *n)
{
	size_t k = n->count;

	if (d->model == CUT_HARSH)
		k = (size_t)rng_below(&d->rng, n->count + 1);
	else
		while (k > 0 && n->pending[k - 1] >= l->journal + (d->t->v[n->pending[k - 1]].joined ? 1 : 0))
			k--;
	return k ? d->t->v[n->pending[k - 1]].file : n->durable;
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	return ftw->level ? remove(path) : 0;
}

/* SQLite's shared memory can hold anything after a crash. */
static void
put_shared_memory(struct disk *d, const char *dir)
{
	char path[512];
	uint8_t junk[32768];

	if (d->model == CUT_KILL || !rng_chance(&d->rng, 30))
		return;
	snprintf(path, sizeof(path), "%s/meta.db-shm", dir);

	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	MUST(fd >= 0);
	rng_fill(&d->rng, junk, sizeof(junk));
	put(fd, junk, sizeof(junk), 0);
	close(fd);
}

void
disk_build(struct disk *d, const char *dir)
{
	struct luck l = draw(d);
	char path[512];

	(void)nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	(void)mkdir(dir, 0700);
	snprintf(path, sizeof(path), "%s/segments", dir);
	MUST(!mkdir(path, 0700));
	for (size_t k = 0; k < d->t->name_count; k++) {
		uint32_t file = choose_name(d, &l, &d->names[k]);

		if (file == TAPE_NO_FILE)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, d->t->names[k].path);
		put_file(d, &l, &d->files[file], path);
	}
	put_shared_memory(d, dir);
}

size_t
choose_cut(const struct tape *t, struct rng *r, size_t from, size_t to)
{
	size_t at = from + (size_t)rng_below(r, to - from + 1);

	if (rng_chance(r, 50))
		return at;
	while (at < to && t->v[at].kind == TAPE_WRITE)
		at++;
	return rng_chance(r, 50) && at < to ? at + 1 : at;
}
