/*
 * content.h: what is in files: reads, writes, holes; sealing and opening of extents.
 *
 * LOCKING: one of 256 rwlocks by inode number is held shared for a read and exclusively for a change, outside the meta lock;
 * a read's segment I/O and decryption happen under that alone.  A write encrypts and appends under no lock at all, and holds
 * the file's only to map what it has appended; one into a block in many pieces holds it from the moment when it reads the rest
 * of that (content_widen.c).  Two files may share a lock: a thread holds one at a time, or several by content_lock_files.
 * Uses meta.h, segstore.h, fetcher.h, keyring.h, compress.h, frame.h.
 */
#ifndef SNUGFS_CONTENT_H
#define SNUGFS_CONTENT_H

#include "err.h"
#include "fetcher.h"
#include "keyring.h"
#include "meta.h"
#include "segstore.h"

struct content;

MUST_CHECK err_t content_new(struct meta *meta, struct segstore *ss, struct keyring *keys, struct content **out);
void content_free(struct content *c);
/* Where bytes come from that are not local.  A read waits for them without any lock, settling and merging with the file's. */
void content_set_fetch(struct content *c, fetcher_source_fn *fn, void *ctx);
/*
 * Whom a read asks, once and without any lock, that finds a part of a file gone from the store: brings here what others have done
 * with that file meanwhile, within a bounded time.  false: there may be more that is not known here.  fn NULL: nobody, and what is
 * here is all there is; returns when it is not running.
 */
typedef bool content_news_fn(void *ctx, uint64_t ino);
void content_set_news(struct content *c, content_news_fn *fn, void *ctx);
/*
 * Whom a read tells, without any lock, that it failed since a part of this file is damaged, or gone: not merely gone from where it was
 * when there may be news of it.  fn NULL: likewise.
 */
typedef void content_loss_fn(void *ctx, uint64_t ino, const char *path);
void content_set_loss(struct content *c, content_loss_fn *fn, void *ctx);
struct fetcher *content_fetcher(struct content *c);
struct segstore *content_segments(struct content *c);

/* Reads at most len bytes up to the end of the file; holes are zeros.  -EIO: damaged (logged with path and segment) or not to
 * be had; -EINTR: nobody waits for it any more (interrupt.h); never a wrong byte. */
MUST_CHECK err_t content_read(struct content *c, uint64_t ino, uint64_t off, size_t len, uint8_t *buf, size_t *read_out);
/* Writes all of it: moves size, mtime, ctime; marks pending.  -EFBIG, -ENOSPC, -EIO.  A failed write changes nothing. */
MUST_CHECK err_t content_write(struct content *c, uint64_t ino, uint64_t off, const uint8_t *data, size_t len);
/* The same for what somebody wrote earlier into the kernel's cache: leaves the times, which the kernel keeps and sets itself. */
MUST_CHECK err_t content_write_back(struct content *c, uint64_t ino, uint64_t off, const uint8_t *data, size_t len);
/* Sets the size, at once; what is cut is gone (also when it grows again).  Moves mtime and ctime.  Returns when the space of what was
 * cut is given back, too, which is done in steps if that is much: others come in between, and so may a crash.  A part of that which
 * fails is logged. */
MUST_CHECK err_t content_truncate(struct content *c, uint64_t ino, uint64_t size);
/* The same, unless the file is that long already: then neither its size nor its times change.  But like the other it takes the file's
 * lock and first finishes what is left of an earlier truncation, whose error it may return. */
MUST_CHECK err_t content_grow(struct content *c, uint64_t ino, uint64_t size);
/* What an earlier run, or a step that failed, did not come to of that. */
void content_finish_truncations(struct content *c);
/* Is something mapped behind its end that is to go? [meta lock] */
bool content_is_being_cut(const struct content *c, uint64_t ino);
/*
 * For a merge: of chunks from number `from` on neither a reader nor the chain has anything, once the merge has set both sizes.  *later_out:
 * they are many, and go in steps, by content_finish_truncations at the latest; otherwise they are the caller's to drop. [meta lock]
 */
MUST_CHECK err_t content_cut_later(struct content *c, struct inode *i, uint64_t from, bool *later_out);
/* The same as content_finish_truncations of these files alone, before a merge brings them chunks.  [file locks, exclusive] */
MUST_CHECK err_t content_finish_held(struct content *c, const uint64_t *inos, size_t count);
/* Cuts a file that nobody will see again to nothing; a long one in steps: others come in between, and so may a crash. */
MUST_CHECK err_t content_discard(struct content *c, uint64_t ino);
/* Makes [off, off+len) a hole, also on a full disk; does not change the size.  One of very many chunks in steps, as it is with a long
 * write. */
MUST_CHECK err_t content_punch(struct content *c, uint64_t ino, uint64_t off, uint64_t len);
/* SEEK_DATA, SEEK_HOLE as lseek(2): -ENXIO. */
MUST_CHECK err_t content_seek(struct content *c, uint64_t ino, uint64_t off, bool want_data, uint64_t *out);
/* Allocated bytes (for st_blocks) are the mapped ones (i->mapped), in 512-byte units. [meta lock] */
uint64_t content_blocks(const struct inode *i);

/* Exclusive hold of a file's content by others (merge, settle). */
void content_lock_file(struct content *c, uint64_t ino, bool exclusive);
void content_unlock_file(struct content *c, uint64_t ino);
/* Exclusive hold of any number of files at once, in an order in which no two callers can block each other. */
void content_lock_files(struct content *c, const uint64_t *inos, size_t count);
void content_unlock_files(struct content *c, const uint64_t *inos, size_t count);

/*
 * Makes *next (taken over, emptied) what a reader sees of chunk ch, and releases hot bytes that neither it nor the chain maps
 * any more.  What is pending stays as it is: that is the caller's, as are times and size.  Keeps i->mapped; marks both
 * dirty.  For merge and settle.  [file lock, exclusive; meta lock]
 */
void content_install(struct content *c, struct inode *i, struct chunk *ch, struct extent_list *next);

/* The file key that new extents of a file are to be sealed under. */
struct writing_key {
	uint64_t origin;
	uint32_t version;
	struct file_key stored; /* as the inode has it */
	struct key32 key;
};
void writing_key_wipe(struct writing_key *w); /* cleanup handler */
/*
 * The newest one; a fresh version if there is none or the newest is of an older epoch (lazy revocation).  -ENOENT: no such
 * inode; -EIO: it doesn't open (logged).
 */
MUST_CHECK err_t content_writing_key(struct content *c, uint64_t ino, struct writing_key *out);
/* Is it still the key that new extents are to be sealed under?  A merge may have given the file other keys. [meta lock] */
bool content_is_writing_key(struct content *c, const struct inode *i, const struct writing_key *w);
/* Is that still the key that extents of the file say by its version? [meta lock] */
bool content_has_key(const struct inode *i, const struct file_key *key);

/*
 * Opens one mapped range [off, off+len) of an extent into buf; the caller holds the file lock.  For settle and tests.
 * -EBADMSG: damaged (or another key); -ENODATA: its segment is nowhere; -EAGAIN: the store is out of reach; the disk's errors.
 */
MUST_CHECK err_t content_open_extent(struct content *c, uint64_t origin, const struct file_key *key,
    const struct extent *x, uint64_t off, uint32_t len, uint8_t *buf);

#endif
