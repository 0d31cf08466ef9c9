/*
 * replica.h: several devices in one process that exchange encoded commits through a chain in memory: real metadata, made-up
 * content.  What people do is done as the vfs does it; a push and a pull are as short as they can be.  Every write has a
 * token of its own (the id of its extent): as long as nobody who saw it has overwritten or deleted it, it must be somewhere.
 */
#ifndef TEST_REPLICA_H
#define TEST_REPLICA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "changes.h"
#include "merge.h"

#define REPLICAS_MAX 3
/* An extent's id is its token, and then so much of the key that it is sealed under. */
#define SEALED_UNDER_LEN 2

#define OK(call) assert_int_equal((call), 0)

struct replica {
	struct world *world;
	char dir[64];
	char name[16];
	uint32_t member;
	struct rowseal *rs;
	struct db *db;
	struct meta *meta;
	struct lookups *lookups;
	size_t applied; /* commits of the chain */
	struct merge_result last; /* of the last foreign commit that had something to tell */
};

struct commit {
	struct bytes body;
	struct replica *author;
};

struct world {
	struct replica r[REPLICAS_MAX];
	size_t count;
	struct commit *chain;
	size_t chain_count;
	int64_t clock;
	bool *token_dead;
	size_t token_count;
	bool collect_conflicts;
	size_t conflict_count;
};

void world_open(struct world *w, size_t count);
void world_close(struct world *w);

/* What people do; 0 or what the system call would say. */
err_t do_create(struct replica *r, uint64_t parent, const char *name, uint32_t mode, uint64_t *ino_out);
err_t do_link(struct replica *r, uint64_t ino, uint64_t parent, const char *name);
err_t do_unlink(struct replica *r, uint64_t parent, const char *name); /* or rmdir */
err_t do_rename(struct replica *r, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name);
void do_chmod(struct replica *r, uint64_t ino, uint32_t permissions);
void do_chown(struct replica *r, uint64_t ino, uint32_t uid);
void do_setxattr(struct replica *r, uint64_t ino, const char *name, const char *value); /* NULL: removes it */
/* Writes len bytes at off of chunk no; returns the token. */
uint64_t do_write(struct replica *r, uint64_t ino, uint64_t no, uint32_t off, uint32_t len);
void do_truncate(struct replica *r, uint64_t ino, uint64_t size);
/* The kernel forgets everything: orphans that nobody else has go. */
void do_forget(struct replica *r);
/* Stops and starts: what is in memory only must not matter. */
void replica_restart(struct replica *r);

/* Shorthands that make or find, and assert. */
uint64_t mk(struct replica *r, const char *path, uint32_t mode);
uint64_t at(struct replica *r, const char *path); /* 0: not there */
struct inode *inode_of(struct replica *r, uint64_t ino);
uint64_t token_of(const struct extent *x);
uint64_t mapped_of(const struct chunk *c); /* bytes */
bool has_token(struct replica *r, uint64_t ino, uint64_t token);

void pull(struct replica *r);
/* Pulls, commits what is pending; while_away runs between writing the commit and knowing that it is in the chain. */
void push_with(struct replica *r, void (*while_away)(void *ctx, struct replica *r), void *ctx);
void push(struct replica *r);
/* Everybody pulls and pushes until nothing is pending anywhere; then all must be the same, sound, and hold every token. */
void settle_world(struct world *w);

/* The commit that a push would make now; NULL: nothing to say. */
struct changes *collect(struct replica *r);
err_t apply_foreign(struct replica *r, const struct changes *c, struct merge_result *out);
void add_commit(struct world *w, struct replica *author, struct changes *c);

/* Link counts, entry counts, parents, pending marks. */
void check_replica(struct replica *r);
char *dump_replica(struct replica *r); /* malloc'ed */

/* Everything below the root, parents first. */
struct walk_entry {
	uint64_t parent;
	uint64_t ino;
	uint8_t type;
	char name[NAME_LEN_MAX + 1];
	char path[1024];
};
struct walk {
	struct walk_entry *v;
	size_t count;
};
struct walk walk_replica(struct replica *r);

#endif
