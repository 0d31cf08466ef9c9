/*
 * segstore.h: the local segment files, DIR/segments/<16 hex of the number>.
 *
 * A hot segment grows by appends of sealed extents up to 64 MiB, then the next is begun.  A settled segment is built whole
 * under a number and then never changes.  segstore_append and _read may be called from any thread; appends reserve their
 * place under a short lock and write outside it.
 *
 * Durability: segstore_prepare_commit makes all completed appends durable, either by flushing the files or, if fewer than
 * SEGSTORE_REDO_MAX bytes are unflushed, by handing those bytes out to ride in the database's own flush (one flush instead of
 * two); they are dropped from there once a later flush covered them.  At opening segstore_apply_redo writes them back.
 *
 * Space: what meta releases is given back with hole punching, block by block; a full hot segment of which all bytes were
 * released goes altogether.  Hot segments of earlier runs are never appended to; segstore_sweep removes them.
 * Uses disk.h, segfiles.h, meta.h (numbers, rows).
 */
#ifndef SNUGFS_SEGSTORE_H
#define SNUGFS_SEGSTORE_H

#include "err.h"
#include "meta.h"

#define SEGSTORE_HOT_LEN (64u << 20)
#define SEGSTORE_REDO_MAX (256u << 10) /* bytes that may ride in the database in all */

struct segstore;
/* dir: the vault directory's "segments" (made if absent). meta borrowed; its hooks are set to this segstore. */
MUST_CHECK err_t segstore_open(const char *dir, struct meta *meta, struct segstore **out);
void segstore_free(struct segstore *ss); /* after meta_stop */
/* Before anything else is appended or read: writes the DB_REDO rows back to their files and flushes them. */
MUST_CHECK err_t segstore_apply_redo(struct segstore *ss, struct db *db);

/* Appends to the open hot segment.  -ENOSPC, -EIO, ….  Not with the meta lock held. */
MUST_CHECK err_t segstore_append(struct segstore *ss, const uint8_t *data, uint32_t len, uint64_t *seg_out,
    uint64_t *off_out);
/* Is it a hot segment?  Only such bytes may be handed to meta_release. [meta lock] */
bool segstore_is_hot(struct segstore *ss, uint64_t seg);
/*
 * Removes what a crash or a restart left behind: hot segments of earlier runs that no inode points at any more, and files
 * that have no row.  Looks at pending inodes only, since nothing else has hot extents; gives up quietly when there is a local
 * change meanwhile, so that whoever carries extents from one inode to another must call meta_note_local_change.  Not with any
 * lock held; one thread at a time; may commit.
 */
MUST_CHECK err_t segstore_sweep(struct segstore *ss);
/* Just len bytes.  -ENODATA: the local file is not there or shorter (a settled segment may be in the store). */
MUST_CHECK err_t segstore_read(struct segstore *ss, uint64_t seg, uint64_t off, uint32_t len, uint8_t *out);

/* A new settled segment: begin, any number of adds, finish (random padding to the padding step, SHA-256, name, flush,
 * meta row with in_store false), or abandon. */
struct segstore_build;
MUST_CHECK err_t segstore_build_begin(struct segstore *ss, struct segstore_build **out);
MUST_CHECK err_t segstore_build_add(struct segstore_build *b, const uint8_t *data, uint32_t len, uint64_t *off_out);
uint64_t segstore_build_id(const struct segstore_build *b);
uint64_t segstore_build_len(const struct segstore_build *b);
MUST_CHECK err_t segstore_build_finish(struct segstore_build *b, struct segment *out); /* frees b either way */
void segstore_build_abandon(struct segstore_build *b);

/* The whole local file of a settled segment, for uploading, appended to out. */
MUST_CHECK err_t segstore_read_whole(struct segstore *ss, const struct segment *s, struct bytes *out);
/* Stores one that came from the store (checked against s->sha256 and size by the caller), durably, and marks its row local. */
MUST_CHECK err_t segstore_store_whole(struct segstore *ss, const struct segment *s, const uint8_t *data, size_t len);
/* Stores one that came damaged, for the extents in it that still open; its row stays as it is: not local. */
MUST_CHECK err_t segstore_store_damaged(struct segstore *ss, const struct segment *s, const uint8_t *data, size_t len);
/* Removes the local file and the row's mark (if there is a row).  Whoever reads it at this moment still can. */
MUST_CHECK err_t segstore_drop(struct segstore *ss, uint64_t seg);
/* Bytes on the local disk used by segments. */
MUST_CHECK err_t segstore_usage(struct segstore *ss, uint64_t *bytes_out);

#endif
