/* segstore_build.c: settled segments: building one, whole ones in and out, how much room all take. */
#include "segstore_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "hash.h"
#include "log.h"
#include "padme.h"
#include "random.h"

/* What is added is written in so long portions, so that it can go past the kernel's cache. */
#define GATHERED_MAX (1u << 20)

struct segstore_build {
	struct segstore *ss;
	uint64_t id;
	struct segfile *file;
	struct hash *hash; /* of what is in the file; NULL: of a hot one */
	uint64_t len;
	bool full; /* of small things */
	struct bytes gathered; /* what is not in the file yet */
	size_t gathered_max;
};

static void
build_free(struct segstore_build *b)
{
	if (b->file)
		segfiles_put(b->ss->files, b->file);
	hash_free(b->hash);
	bytes_clear(&b->gathered);
	free(b);
}

static void
build_cleanup(struct segstore_build **b)
{
	if (*b)
		build_free(*b);
}

static err_t
begin(struct segstore *ss, bool hot, struct segstore_build **out)
{
	CLEANUP(build_cleanup) struct segstore_build *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->ss = ss;
	b->gathered_max = GATHERED_MAX;

	err_t e = bytes_reserve(&b->gathered, GATHERED_MAX);

	if (!e && !hot)
		e = hash_new(&b->hash);
	if (e)
		return e;
	meta_lock(ss->meta);
	b->id = meta_segment_new_id(ss->meta);
	meta_unlock(ss->meta);
	e = segfiles_create(ss->files, b->id, &b->file);
	if (e)
		return e;
	*out = STEAL(b);
	return 0;
}

err_t
segstore_build_begin(struct segstore *ss, struct segstore_build **out)
{
	if (!meta_has_room(ss->meta))
		return -ENOSPC;
	return begin(ss, false, out);
}

err_t
segstore_build_begin_hot(struct segstore *ss, struct segstore_build **out)
{
	return begin(ss, true, out);
}

void
segstore_build_keep(struct segstore_build *b, size_t most, struct bytes *memory)
{
	if (memory->cap > b->gathered.cap && b->len == 0) {
		bytes_clear(&b->gathered);
		b->gathered = *memory;
		*memory = (struct bytes){0};
		bytes_reset(&b->gathered);
	}
	b->gathered_max = most;
}

/* All of it is still in memory then, unless it was too much. */
static err_t
write_gathered(struct segstore_build *b)
{
	err_t e = b->hash ? hash_update(b->hash, b->gathered.data, b->gathered.len) : 0;

	return e ? e : segstore_write_file(b->ss, b->file, b->gathered.data, b->gathered.len, b->len - b->gathered.len);
}

/* Most are short; of the others it is known how long they become. */
static err_t
make_room(struct segstore_build *b, size_t len)
{
	CLEANUP(bytes_clear) struct bytes wider = {0};

	if (b->gathered.len + len <= b->gathered.cap)
		return 0;

	err_t e = bytes_reserve(&wider, b->gathered_max);

	if (!e)
		e = bytes_append(&wider, b->gathered.data, b->gathered.len);
	if (e)
		return e;

	struct bytes old = b->gathered;

	b->gathered = wider;
	wider = old;
	return 0;
}

err_t
segstore_build_add(struct segstore_build *b, const uint8_t *data, uint32_t len, uint64_t *off_out)
{
	uint64_t off = b->len;
	err_t e = 0;

	while (!e && len) {
		size_t room = b->gathered_max - b->gathered.len;
		uint32_t n = len < room ? len : (uint32_t)room;

		if (b->gathered.len == b->gathered_max) {
			e = write_gathered(b);
			if (!e)
				bytes_reset(&b->gathered);
			continue;
		}
		e = make_room(b, n);
		if (!e)
			e = bytes_append(&b->gathered, data, n);
		if (e)
			break;
		b->len += n;
		data += n;
		len -= n;
	}
	if (!e && off_out)
		*off_out = off;
	return e;
}

uint64_t
segstore_build_id(const struct segstore_build *b)
{
	return b->id;
}

uint64_t
segstore_build_len(const struct segstore_build *b)
{
	return b->len;
}

static err_t
pad(struct segstore_build *b)
{
	uint64_t size = padme_size(b->len);
	uint8_t junk[16384];

	while (b->len < size) {
		uint32_t n = size - b->len < sizeof(junk) ? (uint32_t)(size - b->len) : (uint32_t)sizeof(junk);
		err_t e = random_bytes(junk, n);

		if (!e)
			e = segstore_build_add(b, junk, n, NULL);
		if (e)
			return e;
	}
	return 0;
}

static err_t
finish(struct segstore_build *b, struct segment *out)
{
	struct segment s = {.id = b->id, .kind = SEGMENT_SETTLED, .local = true};
	err_t e = pad(b);

	if (!e)
		e = random_bytes(s.name, sizeof(s.name));
	if (!e)
		e = write_gathered(b);
	if (!e)
		e = hash_final(b->hash, s.sha256);
	if (!e)
		e = disk_flush(segfile_fd(b->file));
	if (!e)
		e = disk_flush_dir(b->ss->dirfd);
	if (e)
		return e;
	s.size = b->len;
	meta_lock(b->ss->meta);
	e = meta_segment_put(b->ss->meta, &s);
	meta_unlock(b->ss->meta);
	if (e)
		return e;
	*out = s;
	return 0;
}

err_t
segstore_build_finish_kept(struct segstore_build *b, struct segment *out, struct bytes *object_out)
{
	err_t e = finish(b, out);

	if (e) {
		segstore_build_abandon(b);
		return e;
	}
	if (b->gathered.len == b->len) {
		*object_out = b->gathered;
		b->gathered = (struct bytes){0};
	}
	build_free(b);
	return 0;
}

err_t
segstore_build_finish(struct segstore_build *b, struct segment *out)
{
	CLEANUP(bytes_clear) struct bytes object = {0};

	return segstore_build_finish_kept(b, out, &object);
}

/* [meta lock] Everything written to it so far is live, and the bytes are durable. */
static err_t
adopt(struct segstore_build *b, const uint64_t *owners, size_t owner_count, struct segment *row)
{
	struct segstore *ss = b->ss;
	struct hot *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->seg = b->id;
	h->end = h->durable_end = h->riding_end = h->target = b->len;
	pthread_mutex_lock(&ss->lock);
	HASH_ADD(hh, ss->hots, seg, sizeof(h->seg), h);

	err_t e = h->hh.tbl ? meta_segment_put(ss->meta, row) : -ENOMEM;

	if (e && h->hh.tbl)
		HASH_DEL(ss->hots, h);
	pthread_mutex_unlock(&ss->lock);
	if (e) {
		free(h);
		return e;
	}
	for (size_t k = 0; k < owner_count && !e; k++)
		e = segstore_note_owner(ss, b->id, owners[k]);
	h->tidied = true;
	return e ? e : meta_segment_get(ss->meta, b->id, row);
}

static err_t
finish_hot(struct segstore_build *b, const uint64_t *owners, size_t owner_count, struct segment *out)
{
	struct segment s = {.id = b->id, .kind = SEGMENT_HOT, .local = true, .tidied = true, .full = b->full, .live = b->len};
	err_t e = write_gathered(b);

	if (!e)
		e = disk_flush(segfile_fd(b->file));
	if (!e)
		e = disk_flush_dir(b->ss->dirfd);
	if (e)
		return e;
	meta_lock(b->ss->meta);
	e = adopt(b, owners, owner_count, &s);
	meta_unlock(b->ss->meta);
	if (!e)
		*out = s;
	return e;
}

void
segstore_build_set_full(struct segstore_build *b)
{
	b->full = true;
}

err_t
segstore_build_finish_hot(struct segstore_build *b, const uint64_t *owners, size_t owner_count, struct segment *out)
{
	err_t e = finish_hot(b, owners, owner_count, out);

	if (e)
		segstore_build_abandon(b);
	else
		build_free(b);
	return e;
}

void
segstore_build_abandon(struct segstore_build *b)
{
	if (!b)
		return;
	if (segfiles_remove(b->ss->files, b->id))
		log_warn("the unfinished segment %016llx was left behind", (unsigned long long)b->id);
	build_free(b);
}

err_t
segstore_read_whole(struct segstore *ss, const struct segment *s, struct bytes *out)
{
	size_t old_len = out->len;
	uint8_t *at;

	if (s->size > UINT32_MAX)
		return -EFBIG;

	/* Blocks are read whole. */
	err_t e = bytes_reserve(out, (size_t)s->size + 2 * SEGSTORE_BLOCK_LEN);

	if (!e)
		e = bytes_extend(out, (size_t)s->size, &at);
	if (e)
		return e;
	if ((uintptr_t)at % SEGSTORE_BLOCK_LEN == 0)
		e = segstore_read_blocks(ss, s->id, 0, (uint32_t)s->size, at, &at);
	else
		e = segstore_read(ss, s->id, 0, (uint32_t)s->size, at);
	if (e)
		out->len = old_len;
	return e;
}

static void
close_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

err_t
segstore_usage(struct segstore *ss, uint64_t *bytes_out)
{
	int fd = openat(ss->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;

	CLEANUP(close_dir) DIR *dir = fdopendir(fd);
	uint64_t bytes = 0;

	if (!dir) {
		err_t e = -errno;

		(void)close(fd);
		return e;
	}
	for (const struct dirent *d; (d = readdir(dir));) {
		struct stat st;

		if (!fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
			bytes += (uint64_t)st.st_blocks * 512;
	}

	uint64_t ahead = segstore_ahead_len(ss);

	*bytes_out = bytes > ahead ? bytes - ahead : 0;
	return 0;
}
