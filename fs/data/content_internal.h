/*
 * content_internal.h: what content*.c share, and nobody else.
 */
#ifndef SNUGFS_CONTENT_INTERNAL_H
#define SNUGFS_CONTENT_INTERNAL_H

#include <pthread.h>

#include "aead.h"
#include "content.h"
#include "extents.h"

#define FILE_LOCKS 256
/* So many chunks are unmapped, or looked through, before the meta lock is let go: their maps may be long. */
#define STEP_CHUNKS 64

struct content {
	struct meta *meta;
	struct segstore *ss;
	struct keyring *keys;
	struct fetcher *fetcher;
	size_t step; /* so many chunks of what is cut off are unmapped at once: STEP_CHUNKS, but in tests */
	pthread_rwlock_t file_locks[FILE_LOCKS];

	/* under the meta lock */
	uint64_t *cut; /* files with chunks behind their end (content_truncate.c) */
	size_t cut_count;

	pthread_mutex_t news_lock;
	/* under it */
	pthread_cond_t news_quiet;
	content_news_fn *news;
	void *news_ctx;
	content_loss_fn *loss;
	void *loss_ctx;
	unsigned asking; /* calls of it that are under way */
};
/* The news.  true, too, if there is nobody to be asked. */
bool content_ask_news(struct content *c, uint64_t ino);
/* A part of it can't be had, if there is anybody to be told. */
void content_tell_loss(struct content *c, uint64_t ino, const char *path);

/* A part of a mapped range that is to be read. */
struct piece {
	struct extent x;
	uint64_t off;
	uint32_t len;
};

/* Stored bytes of an extent that are not mapped any more. */
struct gone {
	struct extent x;
	uint64_t seg_off;
	uint32_t len;
};

/* Part of a segment that was read at once. */
struct run {
	uint64_t seg;
	uint64_t off;
	uint32_t len; /* 0: none */
	uint8_t *at;  /* in scratch->sealed */
};

/* Buffers that each thread keeps, so that no read or write has to allocate its own. */
struct scratch {
	uint8_t *sealed; /* ciphertext on its way from or to a segment: as segstore_read_blocks wants it */
	size_t sealed_cap; /* what fits between two blocks to spare */
	struct run run;    /* what of several pieces is in sealed */
	struct piece *pieces;
	size_t piece_count;
	size_t piece_cap;
	struct file_key *keys;
	size_t key_count;
	size_t key_cap;
	struct part **held; /* segments of which nothing may be given up before the read under way is done */
	size_t held_count;
	size_t held_cap;
	struct gone *dead; /* what the change under way leaves unmapped */
	size_t dead_count;
	size_t dead_cap;
	uint8_t frame[FRAME_ZSTD_LEN]; /* plaintext of a frame of which only a part is wanted */
};
/* The calling thread's; NULL when out of memory. */
struct scratch *scratch_get(void);
MUST_CHECK err_t scratch_reserve_sealed(struct scratch *s, size_t len); /* what was there may be lost */
MUST_CHECK err_t scratch_reserve_pieces(struct scratch *s, size_t count);
MUST_CHECK err_t scratch_reserve_keys(struct scratch *s, size_t count);
MUST_CHECK err_t scratch_reserve_held(struct scratch *s, size_t count);
MUST_CHECK err_t scratch_reserve_dead(struct scratch *s, size_t count);

/*
 * content_sealed.c: what is read of segments.
 *
 * Part of a sealed extent, from off bytes behind its start: into s->sealed, if it is not there.  *at_out is where.
 */
MUST_CHECK err_t sealed_read(struct content *c, struct scratch *s, const struct extent *x, uint32_t off, uint32_t len,
    uint8_t **at_out);
/* The database is authentic, but not so sure to be right that a read of [off, off + len) may go astray for it. */
bool sealed_is_sound(const struct extent *x, uint64_t off, uint32_t len);
#define SEALED_RAW_STEP (FRAME_RAW_LEN + AEAD_TAG_LEN)
/* Where the frames are that a part of a raw extent's plaintext is in, counted from the extent's start. */
void sealed_span(const struct extent *x, uint32_t from, uint32_t to, uint32_t *off_out, uint32_t *len_out);
/*
 * Reads what follows piece k closely in the same segment together with it, for sealed_read to find.  Returns the first piece behind
 * all that.  If nothing follows, or it can't be read in this way, each piece is read when it is opened, and says what is
 * wrong with it.
 */
size_t sealed_read_run(struct content *c, struct scratch *s, size_t k);
void sealed_forget_run(struct scratch *s);

/*
 * A change of a chunk in two steps, so that a change of several chunks happens wholly or not at all: change_prepare may
 * fail, change_apply can't.  Both under the meta lock, without giving it up between them.
 */
struct change {
	struct chunk *chunk;
	struct extent_list next; /* what `current` will be */
	uint64_t from; /* what was mapped by [from, to) has changed, and nothing else */
	uint64_t to;
	size_t dead_from;        /* in scratch->dead: what it will have lost */
	size_t dead_to;
};
/* Unmaps [off, off + len) and maps x there (NULL: a hole). */
MUST_CHECK err_t change_prepare(struct change *g, struct scratch *s, struct chunk *ch, uint64_t off, uint32_t len,
    const struct extent *x);
/* After content_mark_pending. The chunk may be gone afterwards. */
void change_apply(struct content *c, struct scratch *s, struct inode *i, struct change *g);
/*
 * content_write.c: a hole in [off, end) may cut an extent in two.  Where that is a block of many, it is written first, and so becomes
 * one again.
 */
void write_join_block(struct content *c, uint64_t ino, uint64_t off, uint64_t end);
/*
 * content_holes.c: makes [from, to) a hole and sets the size, in one step; leaves the times. [file lock, exclusive; meta lock]
 */
MUST_CHECK err_t holes_unmap(struct content *c, struct inode *i, uint64_t from, uint64_t to, uint64_t new_size);
/*
 * content_truncate.c: unmaps what is behind the file's end; until then it must not grow. [file lock, exclusive]
 */
MUST_CHECK err_t truncate_finish(struct content *c, uint64_t ino);
/* Whose that is, as the database says. */
MUST_CHECK err_t truncate_load(struct content *c);
/*
 * content_widen.c: blocks in many pieces.
 *
 * Would a write of [off, end), mapped as it is in that list, leave a block of 4 KiB in more pieces than it may be in?
 */
bool widen_is_due(const struct extent_list *l, uint64_t off, uint64_t end);
/* The blocks that such a write touches. */
static inline uint64_t
widen_begin(uint64_t off)
{
	return off - off % FRAME_RAW_LEN;
}
static inline uint64_t
widen_end(uint64_t end)
{
	return widen_begin(end + FRAME_RAW_LEN - 1);
}
/* Data with the rest of the blocks that it begins and ends in, as far as the file goes. */
struct widened {
	uint64_t off;
	size_t len;
	uint8_t *data;
};
void content_widen_clear(struct widened *w); /* cleanup handler */
/* [file lock]  As content_read_here. */
MUST_CHECK err_t widen_read(struct content *c, struct scratch *s, uint64_t ino, uint64_t off, const uint8_t *data, size_t len,
    struct widened *out);

/*
 * Reads what is here of [off, off + *len), which is cut at the file's end.  -ENODATA: some of it is not here; -EBADMSG: damaged.
 * Nothing is logged.  [file lock]
 */
MUST_CHECK err_t content_read_here(struct content *c, struct scratch *s, uint64_t ino, uint64_t off, size_t *len, uint8_t *buf);

/* The inode's part of every change by a user: size, times, what is pending. [meta lock] */
void content_mark_pending(struct content *c, struct inode *i, uint64_t new_size);
/* [meta lock] mtime and ctime to now; after content_mark_pending. */
void content_touch(struct inode *i);

/* Opens a file key; what goes wrong is logged here and becomes -EIO. */
MUST_CHECK err_t content_open_key(struct content *c, uint64_t ino, const struct file_key *fk, struct key32 *out);

static inline struct extent_identity
content_identity(uint64_t origin, const struct extent *x)
{
	struct extent_identity id = {.file_id = origin, .offset = x->x_off, .len = x->x_len, .encoding = x->x_encoding};

	__builtin_memcpy(id.id, x->x_id, sizeof(id.id));
	return id;
}

#endif
