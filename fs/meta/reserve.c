/* reserve.c: a file that is there to go. */
#include "reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "disk.h"
#include "log.h"

#define NAME "reserve"
/* A share of the disk, but so much. */
#define SHARE 64
#define LEN_MIN (1u << 20)
#define LEN_MAX (8u << 20)
/* It is made when only so many times its length is left, and put back if at least so many times its length is free. */
#define NEAR_FULL 128
#define PLENTY 3

enum state {
	UNKNOWN, /* not looked for yet */
	NEEDLESS, /* the disk has room for long */
	THERE,
	SPENT,
	USELESS, /* this file system can't keep room, or says nothing of it */
};

struct reserve {
	int dirfd;
	pthread_mutex_t lock; /* while the file is made or goes */
	_Atomic enum state state; /* changes under lock */
};

/* One that an earlier run has left. */
static bool
is_there(const struct reserve *r)
{
	struct stat st;

	return !fstatat(r->dirfd, NAME, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode) && st.st_blocks * 512 >= LEN_MIN;
}

static bool
says_nothing(const struct reserve *r)
{
	struct statvfs st;

	return !fstatvfs(r->dirfd, &st) && (!st.f_frsize || !st.f_blocks);
}

/* How long it should be, and how many times that the disk has free. */
static uint64_t
affordable(const struct reserve *r, uint64_t *len_out)
{
	struct statvfs st;

	if (fstatvfs(r->dirfd, &st))
		return 0;

	uint64_t len = (uint64_t)st.f_blocks * st.f_frsize / SHARE;

	*len_out = len < LEN_MIN ? LEN_MIN : len > LEN_MAX ? LEN_MAX : len;
	return (uint64_t)st.f_bavail * st.f_frsize / *len_out;
}

err_t
reserve_new(int dirfd, struct reserve **out)
{
	struct reserve *r = calloc(1, sizeof(*r));
	uint64_t len;

	if (!r)
		return -ENOMEM;
	r->dirfd = dirfd;
	pthread_mutex_init(&r->lock, NULL);
	/* Whoever comes to a full disk that has none comes after somebody who has spent it. */
	if (!is_there(r) && affordable(r, &len) < 1)
		r->state = says_nothing(r) ? USELESS : SPENT;
	*out = r;
	return 0;
}

void
reserve_free(struct reserve *r)
{
	if (!r)
		return;
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static err_t
make(const struct reserve *r, uint64_t len)
{
	CLEANUP(close_fd) int fd = -1;
	err_t e = disk_unlink(r->dirfd, NAME);

	if (e && e != -ENOENT)
		return e;
	e = disk_create(r->dirfd, NAME, &fd);
	if (!e)
		e = disk_allocate(fd, 0, len);
	if (e && fd >= 0 && disk_unlink(r->dirfd, NAME))
		log_warn("an unfinished reserve was left behind");
	return e;
}

/* [lock] */
static void
fill(struct reserve *r)
{
	enum state state = atomic_load(&r->state);
	uint64_t len, times;

	if (state == THERE || state == USELESS)
		return;
	if (state == UNKNOWN && is_there(r)) {
		atomic_store(&r->state, THERE);
		return;
	}
	times = affordable(r, &len);
	if (times >= NEAR_FULL)
		atomic_store(&r->state, NEEDLESS);
	if (times < PLENTY || times >= NEAR_FULL)
		return;

	err_t e = make(r, len);

	if (!e)
		atomic_store(&r->state, THERE);
	else if (e == -EOPNOTSUPP)
		atomic_store(&r->state, USELESS);
}

void
reserve_fill(struct reserve *r)
{
	enum state state = atomic_load(&r->state);

	if (state == THERE || state == USELESS)
		return;
	pthread_mutex_lock(&r->lock);
	fill(r);
	pthread_mutex_unlock(&r->lock);
}

/* [lock] */
static bool
spend(struct reserve *r)
{
	enum state state = atomic_load(&r->state);

	if (state == USELESS || state == SPENT)
		return false;

	bool was_there = is_there(r);

	if (was_there && disk_unlink(r->dirfd, NAME))
		return false;
	/* Also when the disk became full so fast that none was made: what is left must be for commits. */
	atomic_store(&r->state, SPENT);
	return was_there;
}

bool
reserve_spend(struct reserve *r)
{
	bool spent;

	pthread_mutex_lock(&r->lock);
	spent = spend(r);
	pthread_mutex_unlock(&r->lock);
	return spent;
}

bool
reserve_is_spent(const struct reserve *r)
{
	return atomic_load(&r->state) == SPENT;
}
