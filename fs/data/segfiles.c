/* segfiles.c: descriptors by segment number, counted while in use, in LRU order while idle. */
#include "segfiles.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Running out of memory shows as hh.tbl == NULL. */
#define HASH_NONFATAL_OOM 1
#include "hash_table.h"
#include <utlist.h>

#include "disk.h"
#include "lock.h"

struct segfile {
	uint64_t seg;
	int fd;
	int direct_fd;  /* -1: none yet */
	unsigned users; /* 0: in the idle list */
	bool removed;   /* not in the hash any more: closed by its last user */
	struct segfile *prev;
	struct segfile *next;
	UT_hash_handle hh;
};

struct segfiles {
	int dirfd;
	atomic_bool no_direct; /* this file system can't */
	pthread_mutex_t lock; /* all below, and every segfile */
	struct segfile *by_seg;
	struct segfile *idle; /* least recently used first */
	unsigned idle_count;
};

err_t
segfiles_new(int dirfd, struct segfiles **out)
{
	struct segfiles *sf = calloc(1, sizeof(*sf));

	if (!sf)
		return -ENOMEM;
	lock_init(&sf->lock);
	sf->dirfd = dirfd;
	*out = sf;
	return 0;
}

void
segfiles_name(uint64_t seg, char out[static SEGFILES_NAME_LEN])
{
	(void)snprintf(out, SEGFILES_NAME_LEN, "%016" PRIx64, seg);
}

bool
segfiles_parse_name(const char *name, uint64_t *seg_out)
{
	char again[SEGFILES_NAME_LEN];
	uint64_t seg = strtoull(name, NULL, 16);

	/* What strtoull is lenient about, the comparison is not. */
	segfiles_name(seg, again);
	if (strcmp(name, again) != 0)
		return false;
	*seg_out = seg;
	return true;
}

/* Whatever mattered was flushed before: close(2) has no error worth hearing. */
static void
segfile_free(struct segfile *f)
{
	if (f->fd >= 0)
		(void)close(f->fd);
	if (f->direct_fd >= 0)
		(void)close(f->direct_fd);
	free(f);
}

static void
segfile_cleanup(struct segfile **f)
{
	if (*f)
		segfile_free(*f);
}

void
segfiles_free(struct segfiles *sf)
{
	struct segfile *f, *next;

	if (!sf)
		return;
	HASH_ITER (hh, sf->by_seg, f, next) {
		HASH_DEL(sf->by_seg, f);
		segfile_free(f);
	}
	pthread_mutex_destroy(&sf->lock);
	free(sf);
}

/* [lock] */
static struct segfile *
find_and_use(struct segfiles *sf, uint64_t seg)
{
	struct segfile *f;

	HASH_FIND(hh, sf->by_seg, &seg, sizeof(seg), f);
	if (!f)
		return NULL;
	if (f->users++ == 0) {
		DL_DELETE(sf->idle, f);
		sf->idle_count--;
	}
	return f;
}

/* [lock] Out of the hash, so that nobody finds it; closed now or by its last user. */
static void
detach(struct segfiles *sf, struct segfile *f)
{
	HASH_DEL(sf->by_seg, f);
	f->removed = true;
	if (f->users)
		return;
	DL_DELETE(sf->idle, f);
	sf->idle_count--;
	segfile_free(f);
}

/* Makes a new one known, unless another thread was faster: then hands out that one. Takes *f over on success. */
static err_t
insert(struct segfiles *sf, struct segfile **f, struct segfile **out)
{
	pthread_mutex_lock(&sf->lock);

	struct segfile *used = find_and_use(sf, (*f)->seg);

	if (!used) {
		(*f)->users = 1;
		HASH_ADD(hh, sf->by_seg, seg, sizeof((*f)->seg), *f);
		if ((*f)->hh.tbl)
			used = STEAL(*f);
	}
	pthread_mutex_unlock(&sf->lock);
	if (!used)
		return -ENOMEM;
	*out = used;
	return 0;
}

/* One that is not open yet, and its name. */
static struct segfile *
new_segfile(uint64_t seg, char name[static SEGFILES_NAME_LEN])
{
	struct segfile *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->seg = seg;
	f->fd = f->direct_fd = -1;
	segfiles_name(seg, name);
	return f;
}

err_t
segfiles_get(struct segfiles *sf, uint64_t seg, struct segfile **out)
{
	pthread_mutex_lock(&sf->lock);

	struct segfile *known = find_and_use(sf, seg);

	pthread_mutex_unlock(&sf->lock);
	if (known) {
		*out = known;
		return 0;
	}

	char name[SEGFILES_NAME_LEN];
	CLEANUP(segfile_cleanup) struct segfile *f = new_segfile(seg, name);

	if (!f)
		return -ENOMEM;

	err_t e = disk_open_write(sf->dirfd, name, &f->fd);

	if (e)
		return e == -ENOENT ? -ENODATA : e;
	return insert(sf, &f, out);
}

err_t
segfiles_create(struct segfiles *sf, uint64_t seg, struct segfile **out)
{
	char name[SEGFILES_NAME_LEN];
	CLEANUP(segfile_cleanup) struct segfile *f = new_segfile(seg, name);

	if (!f)
		return -ENOMEM;

	err_t e = disk_create(sf->dirfd, name, &f->fd);

	if (e == -EEXIST) {
		e = segfiles_remove(sf, seg);
		if (!e)
			e = disk_create(sf->dirfd, name, &f->fd);
	}
	if (e)
		return e;
	return insert(sf, &f, out);
}

void
segfiles_put(struct segfiles *sf, struct segfile *f)
{
	struct segfile *oldest;

	pthread_mutex_lock(&sf->lock);
	if (--f->users == 0) {
		if (f->removed) {
			segfile_free(f);
		} else {
			DL_APPEND(sf->idle, f);
			sf->idle_count++;
		}
	}
	oldest = sf->idle_count > SEGFILES_IDLE_MAX ? sf->idle : NULL;
	if (oldest)
		detach(sf, oldest);
	pthread_mutex_unlock(&sf->lock);
}

int
segfile_fd(const struct segfile *f)
{
	return f->fd;
}

/* The first of those who open it at the same time wins. */
static int
keep_direct(struct segfiles *sf, struct segfile *f, int fd)
{
	pthread_mutex_lock(&sf->lock);

	int known = f->direct_fd;

	if (known < 0)
		f->direct_fd = fd;
	pthread_mutex_unlock(&sf->lock);
	if (known < 0)
		return fd;
	(void)close(fd);
	return known;
}

int
segfiles_direct_fd(struct segfiles *sf, struct segfile *f)
{
	int fd;

	if (atomic_load_explicit(&sf->no_direct, memory_order_relaxed))
		return -1;
	pthread_mutex_lock(&sf->lock);
	fd = f->direct_fd;
	pthread_mutex_unlock(&sf->lock);
	if (fd >= 0)
		return fd;

	err_t e = disk_open_direct(f->fd, &fd);

	if (e == -EINVAL)
		segfiles_refuse_direct(sf);
	return e ? -1 : keep_direct(sf, f, fd);
}

void
segfiles_refuse_direct(struct segfiles *sf)
{
	atomic_store_explicit(&sf->no_direct, true, memory_order_relaxed);
}

static void
forget(struct segfiles *sf, uint64_t seg)
{
	struct segfile *f;

	pthread_mutex_lock(&sf->lock);
	HASH_FIND(hh, sf->by_seg, &seg, sizeof(seg), f);
	if (f)
		detach(sf, f);
	pthread_mutex_unlock(&sf->lock);
}

err_t
segfiles_remove(struct segfiles *sf, uint64_t seg)
{
	char name[SEGFILES_NAME_LEN];

	segfiles_name(seg, name);

	err_t e = disk_unlink(sf->dirfd, name);

	if (e && e != -ENOENT)
		return e;
	forget(sf, seg);
	return 0;
}
