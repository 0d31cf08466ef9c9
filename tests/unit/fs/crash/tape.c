/* tape.c: the record itself. */
#include "tape.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static _Atomic(struct tape *) running;

void
tape_install(void)
{
	tape_watch_disk();
	tape_watch_sqlite();
}

struct tape *
tape_switch(struct tape *t)
{
	return atomic_exchange(&running, t);
}

static const char *
below(const struct tape *t, const char *path)
{
	size_t len = strlen(t->root);

	if (strncmp(path, t->root, len) != 0 || (path[len] != '/' && path[len] != '\0'))
		return NULL;
	path += len;
	while (*path == '/')
		path++;
	return path;
}

static unsigned
dir_of(const char *path)
{
	return strncmp(path, "segments", 8) == 0 ? 1 : 0;
}

static uint32_t
new_file(struct tape *t)
{
	t->files = grown(t->files, &t->file_cap, t->file_count, sizeof(*t->files));
	t->files[t->file_count] = (struct image){0};
	return (uint32_t)t->file_count++;
}

static struct tape_name *
name_of(struct tape *t, const char *path)
{
	struct tape_name *n;

	for (size_t k = 0; k < t->name_count; k++)
		if (strcmp(t->names[k].path, path) == 0)
			return &t->names[k];
	t->names = grown(t->names, &t->name_cap, t->name_count, sizeof(*t->names));
	n = &t->names[t->name_count++];
	*n = (struct tape_name){.dir = dir_of(path), .first = TAPE_NO_FILE, .now = TAPE_NO_FILE};
	snprintf(n->path, sizeof(n->path), "%s", path);
	return n;
}

static void
load_dir(struct tape *t, const char *sub)
{
	char path[768];
	const struct dirent *e;

	snprintf(path, sizeof(path), "%s/%s", t->root, sub);

	DIR *d = opendir(path);

	while (d && (e = readdir(d))) {
		struct tape_name *n;
		struct stat st;

		snprintf(path, sizeof(path), "%s/%s%s", t->root, sub, e->d_name);
		if (stat(path, &st) || !S_ISREG(st.st_mode) || strcmp(e->d_name, "meta.db-shm") == 0)
			continue;
		n = name_of(t, path + strlen(t->root) + 1);
		n->first = n->now = new_file(t);
		image_load(&t->files[n->now], path);
	}
	if (d)
		closedir(d);
}

void
tape_begin(struct tape *t, const char *root)
{
	*t = (struct tape){0};
	pthread_mutex_init(&t->lock, NULL);
	snprintf(t->root, sizeof(t->root), "%s", root);
	load_dir(t, "");
	load_dir(t, "segments/");
	tape_switch(t);
}

void
tape_clear(struct tape *t)
{
	struct tape *expected = t;

	atomic_compare_exchange_strong(&running, &expected, NULL);
	for (size_t k = 0; k < t->file_count; k++)
		image_clear(&t->files[k]);
	for (size_t k = 0; k < t->count; k++)
		free(t->v[k].data);
	free(t->files);
	free(t->names);
	free(t->v);
	pthread_mutex_destroy(&t->lock);
	*t = (struct tape){0};
}

void
tape_note(struct tape *t, uint32_t durable, uint32_t latest)
{
	pthread_mutex_lock(&t->lock);
	t->durable = durable;
	t->latest = latest;
	pthread_mutex_unlock(&t->lock);
}

void
tape_fail(struct tape *t, uint64_t after, uint64_t count, err_t err)
{
	pthread_mutex_lock(&t->lock);
	t->fail_from = t->steps + after;
	t->fail_to = count < UINT64_MAX - t->fail_from ? t->fail_from + count : UINT64_MAX;
	t->fail_err = err;
	t->fail_percent = 0;
	t->failed = false;
	pthread_mutex_unlock(&t->lock);
}

void
tape_fail_often(struct tape *t, unsigned percent, uint64_t seed, err_t err)
{
	tape_fail(t, 0, 0, err);
	pthread_mutex_lock(&t->lock);
	t->fail_percent = percent;
	t->fail_rng.state = seed;
	pthread_mutex_unlock(&t->lock);
}

void
tape_fail_reads(struct tape *t, bool reads)
{
	pthread_mutex_lock(&t->lock);
	t->fails_reads = reads;
	pthread_mutex_unlock(&t->lock);
}

void
tape_spare(struct tape *t, bool spares)
{
	pthread_mutex_lock(&t->lock);
	t->spares = spares;
	pthread_mutex_unlock(&t->lock);
}

bool
tape_fails_reads(void)
{
	const struct tape *t = atomic_load(&running);

	return t && t->fails_reads;
}

static err_t
step(const char *path, bool reads, bool matters)
{
	struct tape *t = atomic_load(&running);
	err_t e = 0;

	if (!t || !below(t, path))
		return 0;
	pthread_mutex_lock(&t->lock);
	if (t->fails_reads != reads || t->spares) {
		pthread_mutex_unlock(&t->lock);
		return 0;
	}
	if ((t->steps >= t->fail_from && t->steps < t->fail_to) || rng_chance(&t->fail_rng, t->fail_percent)) {
		e = t->fail_err;
		t->failed |= matters;
	}
	t->steps++;
	pthread_mutex_unlock(&t->lock);
	return e;
}

err_t
tape_step(const char *path, bool matters)
{
	return step(path, false, matters);
}

err_t
tape_read_step(const char *path)
{
	return step(path, true, false);
}

void
tape_excuse(void)
{
	struct tape *t = atomic_load(&running);

	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	if (t->fail_err == -ENOSPC)
		t->failed = false;
	pthread_mutex_unlock(&t->lock);
}

/* [lock] */
static struct tape_entry *
append(struct tape *t, enum tape_kind kind)
{
	t->v = grown(t->v, &t->cap, t->count, sizeof(*t->v));
	t->v[t->count] = (struct tape_entry){.kind = kind, .file = TAPE_NO_FILE, .durable = t->durable, .latest = t->latest};
	return &t->v[t->count++];
}

void
tape_record(const char *path, enum tape_kind kind, uint64_t off, uint64_t len, const void *data)
{
	struct tape *t = atomic_load(&running);
	const char *sub = t ? below(t, path) : NULL;

	if (!sub)
		return;
	pthread_mutex_lock(&t->lock);

	const struct tape_name *name = name_of(t, sub);
	uint32_t file = name->now;

	/* Without a name any more, it is nothing that could be seen after a cut. */
	if (file != TAPE_NO_FILE) {
		struct tape_entry *e = append(t, kind);

		e->file = file;
		e->name = (uint32_t)(name - t->names);
		e->off = off;
		e->len = len;
		if (data && len) {
			e->data = malloc(len);
			MUST(e->data);
			memcpy(e->data, data, len);
		}
	}
	pthread_mutex_unlock(&t->lock);
}

/* [lock] */
static void
lead(struct tape *t, const char *sub, uint32_t file, bool joined)
{
	struct tape_name *n = name_of(t, sub);
	struct tape_entry *e = append(t, TAPE_NAME);

	n->now = file;
	e->name = (uint32_t)(n - t->names);
	e->dir = n->dir;
	e->file = file;
	e->joined = joined;
}

void
tape_record_name(const char *path, bool there)
{
	struct tape *t = atomic_load(&running);
	const char *sub = t ? below(t, path) : NULL;

	if (!sub)
		return;
	pthread_mutex_lock(&t->lock);
	lead(t, sub, there ? new_file(t) : TAPE_NO_FILE, false);
	pthread_mutex_unlock(&t->lock);
}

void
tape_record_rename(const char *from, const char *to)
{
	struct tape *t = atomic_load(&running);
	const char *sub_from = t ? below(t, from) : NULL;
	const char *sub_to = t ? below(t, to) : NULL;

	if (!sub_from || !sub_to)
		return;
	pthread_mutex_lock(&t->lock);
	lead(t, sub_to, name_of(t, sub_from)->now, false);
	lead(t, sub_from, TAPE_NO_FILE, true);
	pthread_mutex_unlock(&t->lock);
}

size_t
tape_position(void)
{
	struct tape *t = atomic_load(&running);
	size_t at;

	if (!t)
		return 0;
	pthread_mutex_lock(&t->lock);
	at = t->count;
	pthread_mutex_unlock(&t->lock);
	return at;
}

void
tape_record_flush(const char *path, size_t upto)
{
	struct tape *t = atomic_load(&running);
	const char *sub = t ? below(t, path) : NULL;

	if (!sub)
		return;
	pthread_mutex_lock(&t->lock);

	const struct tape_name *name = name_of(t, sub);
	uint32_t file = name->now;

	if (file != TAPE_NO_FILE) {
		struct tape_entry *e = append(t, TAPE_FLUSH);

		e->file = file;
		e->name = (uint32_t)(name - t->names);
		e->upto = upto;
	}
	pthread_mutex_unlock(&t->lock);
}

void
tape_record_flush_dir(const char *dir, size_t upto)
{
	struct tape *t = atomic_load(&running);
	const char *sub = t ? below(t, dir) : NULL;

	if (!sub)
		return;
	pthread_mutex_lock(&t->lock);

	struct tape_entry *e = append(t, TAPE_FLUSH_DIR);

	e->dir = dir_of(sub);
	e->upto = upto;
	pthread_mutex_unlock(&t->lock);
}

void
tape_dawdle(void)
{
	struct tape *t = atomic_load(&running);
	uint64_t us = 0;

	if (!t || !t->dawdles)
		return;
	pthread_mutex_lock(&t->lock);
	if (rng_chance(&t->fail_rng, 30))
		us = rng_below(&t->fail_rng, 300);
	pthread_mutex_unlock(&t->lock);
	if (us)
		(void)usleep((useconds_t)us);
}
