/*
 * segstore_ahead.c: room that a hot segment has behind its end.
 *
 * ext4 lets only one writer at a time into a file that gets longer by it, so that the disk has one request at a time, or none.  A
 * segment that is filled in long pieces, one after the other, is therefore made longer ahead of them.  Nothing is in that room:
 * it is neither read nor counted, and it goes when the segment takes no more appends, when the disk is full or, after a crash,
 * when the next run finds it.
 */
#include "segstore_internal.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "disk.h"
#include "log.h"

/*
 * So much in long pieces in a row, before there is room ahead of the next ones: as much as they are, which soon is all of the segment
 * (making room holds up who writes), but no more than such a part of what the disk has free.
 */
#define AHEAD_FROM (4u << 20)
#define FREE_SHARE 64
/* It is made longer when such a part of that is left: then nobody has to write behind it meanwhile. */
#define LEFT_SHARE 4

static uint64_t
least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t
end_of(const struct hot *h)
{
	return (h->end + SEGSTORE_BLOCK_LEN - 1) / SEGSTORE_BLOCK_LEN * SEGSTORE_BLOCK_LEN;
}

uint64_t
segstore_room_of(const struct hot *h)
{
	return h->ahead_end > end_of(h) ? h->ahead_end - end_of(h) : 0;
}

void
segstore_init_ahead(struct segstore *ss)
{
	ss->ahead_from = AHEAD_FROM;
	ss->ahead_most = SEGSTORE_HOT_LEN;
}

void
segstore_set_ahead(struct segstore *ss, uint64_t from, uint64_t most)
{
	ss->ahead_from = from;
	ss->ahead_most = most;
	ss->ahead_anywhere = true;
}

/*
 * Other file systems gain less by it or nothing, some (btrfs) give nothing of a piece of room back as long as any of it is in use, and
 * not all tell truly what is a hole.
 */
static bool
is_right(int dirfd, bool anywhere, struct statfs *st)
{
	return !fstatfs(dirfd, st) && (st->f_type == EXT4_SUPER_MAGIC || anywhere);
}

/* How much there may be; 0: none. */
static uint64_t
affordable(const struct segstore *ss)
{
	struct statfs st;

	if (!is_right(ss->dirfd, ss->ahead_anywhere, &st))
		return 0;
	if (ss->ahead_anywhere)
		return ss->ahead_most;

	uint64_t most = (uint64_t)st.f_bavail * (uint64_t)st.f_bsize / FREE_SHARE;

	return most < ss->ahead_from ? 0 : least(most, ss->ahead_most);
}

/* [lock] */
static bool
is_due(const struct segstore *ss, const struct hot *h)
{
	uint64_t most = ss->ahead_share ? ss->ahead_share : ss->ahead_most;

	return h == ss->current && ss->run >= ss->ahead_from && h->ahead_end < SEGSTORE_HOT_LEN &&
	    h->end + least(ss->run, most) / LEFT_SHARE > h->ahead_end;
}

/* [ahead_lock] Where room is to be made; false: nowhere.  From then on it counts as made. */
static bool
choose(struct segstore *ss, const struct segstore_place *p, uint64_t most, uint64_t *from_out, uint64_t *to_out)
{
	struct hot *h = p->hot;
	bool due;

	pthread_mutex_lock(&ss->lock);
	ss->ahead_share = most;
	due = most > 0 && is_due(ss, h);
	if (due) {
		/* What lies before p is there or on its way, and holes in it stay holes. */
		*from_out = h->ahead_end > p->off ? h->ahead_end : p->off;
		*to_out = least(end_of(h) + least(ss->run, most) / SEGSTORE_BLOCK_LEN * SEGSTORE_BLOCK_LEN, SEGSTORE_HOT_LEN);
		due = *to_out > *from_out;
	}
	if (due)
		h->ahead_end = *to_out;
	pthread_mutex_unlock(&ss->lock);
	return due;
}

void
segstore_make_ahead(struct segstore *ss, const struct segstore_place *p)
{
	uint64_t from, to;
	bool due;

	pthread_mutex_lock(&ss->lock);
	due = !ss->ahead_refused && is_due(ss, p->hot);
	pthread_mutex_unlock(&ss->lock);
	/* One does it; the others go on without. */
	if (!due || pthread_mutex_trylock(&ss->ahead_lock))
		return;

	err_t e = choose(ss, p, affordable(ss), &from, &to) ? disk_allocate(segfile_fd(p->file), from, to - from) : 0;

	pthread_mutex_unlock(&ss->ahead_lock);
	if (!e)
		return;
	/* A quota, perhaps, of which it has taken what was left. */
	pthread_mutex_lock(&ss->lock);
	ss->ahead_refused = true;
	pthread_mutex_unlock(&ss->lock);
	(void)segstore_give_room(ss, 0);
}

/* [ahead_lock] Cuts it off one that takes no appends: what is on its way there still is before its end.  false: there is none. */
static bool
cut_one(struct segstore *ss)
{
	uint64_t seg = 0, end = 0;
	struct hot *h, *next;
	struct segfile *f;
	bool found = false;

	pthread_mutex_lock(&ss->lock);
	HASH_ITER (hh, ss->hots, h, next) {
		if (h == ss->current || !segstore_room_of(h))
			continue;
		found = true;
		seg = h->seg;
		end = end_of(h);
		h->ahead_end = 0;
		break;
	}
	pthread_mutex_unlock(&ss->lock);
	if (!found)
		return false;

	err_t e = segfiles_get(ss->files, seg, &f);

	if (!e) {
		e = disk_truncate(segfile_fd(f), end);
		segfiles_put(ss->files, f);
	}
	if (e && e != -ENODATA)
		log_warn("room behind segment %016llx was not given back: %s", (unsigned long long)seg, strerror(-e));
	atomic_fetch_add(&ss->cuts, 1);
	return true;
}

bool
segstore_cut_ahead(struct segstore *ss)
{
	bool any = false;

	pthread_mutex_lock(&ss->ahead_lock);
	while (cut_one(ss))
		any = true;
	pthread_mutex_unlock(&ss->ahead_lock);
	return any;
}

bool
segstore_give_room(struct segstore *ss, uint64_t since)
{
	pthread_mutex_lock(&ss->lock);
	if (ss->current && segstore_room_of(ss->current))
		ss->current = NULL;
	ss->run = 0;
	pthread_mutex_unlock(&ss->lock);
	return segstore_cut_ahead(ss) || atomic_load(&ss->cuts) != since;
}

uint64_t
segstore_ahead_len(struct segstore *ss)
{
	struct hot *h, *next;
	uint64_t len = 0;

	pthread_mutex_lock(&ss->lock);
	HASH_ITER (hh, ss->hots, h, next)
		len += segstore_room_of(h);
	pthread_mutex_unlock(&ss->lock);
	return len;
}

/* Where the last bytes end that were written to a file; UINT64_MAX: not to be had. */
static uint64_t
end_of_data(int fd)
{
	off_t end = 0;

	for (;;) {
		off_t data = lseek(fd, end, SEEK_DATA);

		if (data < 0)
			return errno == ENXIO ? (uint64_t)end : UINT64_MAX;
		end = lseek(fd, data, SEEK_HOLE);
		if (end < 0)
			return UINT64_MAX;
	}
}

/* What a row on the disk points at was written and flushed: it is no part of that room, for which SEEK_HOLE finds a hole. */
err_t
segstore_cut_earlier(struct segstore *ss, uint64_t seg)
{
	struct segfile *f;
	struct statfs st;
	err_t e;

	if (!is_right(ss->dirfd, ss->ahead_anywhere, &st))
		return 0;
	e = segfiles_get(ss->files, seg, &f);
	if (e)
		return e == -ENODATA ? 0 : e;

	off_t size = lseek(segfile_fd(f), 0, SEEK_END);
	uint64_t end = end_of_data(segfile_fd(f));

	if (size > 0 && end < (uint64_t)size && (uint64_t)size - end >= SEGSTORE_BLOCK_LEN)
		e = disk_truncate(segfile_fd(f), end);
	segfiles_put(ss->files, f);
	return e;
}

/* Of whatever kind the segment is: behind the last bytes that were written it reads as zeros before and after. */
static bool
punch_behind_data(int dirfd, const char *name)
{
	struct stat was, is;
	uint64_t seg, end;
	int fd = -1;
	bool less = false;

	if (!segfiles_parse_name(name, &seg) || disk_open_write(dirfd, name, &fd))
		return false;
	end = end_of_data(fd);
	if (!fstat(fd, &was) && end < (uint64_t)was.st_size && !disk_punch(fd, end, (uint64_t)was.st_size - end))
		less = !fstat(fd, &is) && is.st_blocks < was.st_blocks;
	(void)close(fd);
	return less;
}

bool
segstore_give_back_left(const char *dir)
{
	DIR *d = opendir(dir);
	struct statfs st;
	const struct dirent *one;
	bool any = false;

	if (!d)
		return false;
	if (is_right(dirfd(d), false, &st))
		while ((one = readdir(d)) != NULL)
			any |= punch_behind_data(dirfd(d), one->d_name);
	(void)closedir(d);
	return any;
}
