/*
 * sides.h: two computers and a store between them, for the tests of sync: what they do and how they are compared.
 */
#ifndef SNUGFS_TEST_SIDES_H
#define SNUGFS_TEST_SIDES_H

#include <sys/stat.h>

#include "gc.h"
#include "store_fault.h"
#include "sync.h"
#include "vfs.h"

/* A computer. */
struct side {
	char dir[128];
	struct vault *v;
	struct vfs *fs;
	struct store *fault; /* owned by sync */
	struct sync *sync;
};

struct fixture {
	char top[64];
	char store[128];
	uint8_t recovery[RECOVERY_KEY_LEN];
	struct side a;
	struct side b;
};

extern const struct vfs_caller me;

void remove_tree(const char *path);
__attribute__((format(printf, 1, 2))) void shell(const char *fmt, ...);

struct store *open_store(const char *path);
void open_side(struct side *s, const char *store);
void close_side(struct side *s);
void reopen_side(struct side *s, const char *store);
void create_side(struct fixture *f, struct side *s, uint8_t recovery[static RECOVERY_KEY_LEN]);
err_t join_with(struct fixture *f, struct side *s, struct store *store,
    const uint8_t key[static RECOVERY_KEY_LEN], char **why);
/* Joins, which must work, and opens. */
void join_side(struct fixture *f, struct side *s);
/* B joins, with each request failing in turn, which leaves nothing behind, until none does. */
void join_whatever_fails(struct fixture *f);
/* A is open with a new vault; B is not there yet. */
int setup(void **state);
int teardown(void **state);

/* Works, and nothing is pending afterwards. */
void sync_ok(struct side *s);
/* Fails so, with a sentence in the status. */
void sync_fails(struct side *s, err_t expected);
void fault(struct side *s, struct store_fault_rule rule);
void no_fault(struct side *s);

/* The kernel lets go of what an operation has handed out. */
uint64_t known(struct side *s, err_t err, const struct stat *st);
uint64_t make_dir(struct side *s, uint64_t parent, const char *name);
/* 0: no such name. */
uint64_t lookup(struct side *s, uint64_t parent, const char *name);
void write_at(struct side *s, uint64_t ino, uint64_t off, const void *data, size_t len);
/* Cut to nothing first, and synced. */
void write_anew(struct side *s, uint64_t ino, const char *text);
/* From the root. */
void remove_file(struct side *s, const char *name);
uint64_t make_file(struct side *s, uint64_t parent, const char *name, const void *data, size_t len);
uint64_t make_text(struct side *s, const char *name, const char *text);
uint64_t make_random(struct side *s, uint64_t parent, const char *name, size_t len);
void assert_text(struct side *s, const char *name, const char *text);
/* Names, numbers, attributes, times, targets, xattrs, contents. */
/* The tree as text, malloc'ed; what is below a folder, without the numbers. */
char *dump_tree(struct side *s);
char *dump_below(struct side *s, uint64_t dir);
void assert_same_tree(struct side *x, struct side *y);
/* Syncs; then all that it has can be read by somebody who has nothing but the store. */
void assert_store_is_whole(struct fixture *f, struct side *with);
/* A bit of everything. */
void make_variety(struct side *s);

struct gc_report collect_ok(struct side *s, int64_t keep_s, bool now);
/* Objects whose names begin with a folder ("" is all). */
unsigned count_objects(const struct fixture *f, const char *prefix);
void commit_path(const struct fixture *f, uint64_t seq, char out[static 256]);
void remove_commit(const struct fixture *f, uint64_t seq);
uint64_t head_of(struct side *s);
struct sync_status status_of(struct side *s);
uint32_t epoch_of(const struct side *s);
/* Messages that have this in them. */
unsigned message_count(struct side *s, const char *part);

#endif
