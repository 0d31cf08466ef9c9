/*
 * store_fault.h: a store in front of another one that misbehaves as a test tells it.  Uses store.h.
 */
#ifndef SNUGFS_STORE_FAULT_H
#define SNUGFS_STORE_FAULT_H

#include "store.h"

enum store_fault_kind {
	STORE_FAULT_NONE,
	STORE_FAULT_BEFORE,   /* nothing happens, `error` is answered */
	STORE_FAULT_AFTER,    /* it happens, `error` is answered all the same: the lost answer */
	STORE_FAULT_TWICE,    /* it happens twice; the second answer is given */
	STORE_FAULT_FLIP,     /* get, get_range: bit `arg` (modulo its length) of the answer is flipped */
	STORE_FAULT_TRUNCATE, /* get, get_range: only the first `arg` bytes come */
	STORE_FAULT_STALE,    /* get: the bytes of the object named `other` are served */
	STORE_FAULT_VANISH,   /* get, get_range, size: -ENOENT; put and create: pretended, nothing stored */
};
enum store_fault_op { /* a mask */
	STORE_OP_PUT = 1, STORE_OP_CREATE = 2, STORE_OP_GET = 4, STORE_OP_GET_RANGE = 8, STORE_OP_SIZE = 16,
	STORE_OP_REMOVE = 32, STORE_OP_LIST = 64, STORE_OP_ALL = 127,
};
struct store_fault_rule {
	enum store_fault_kind kind;
	unsigned ops;          /* mask of store_fault_op */
	const char *prefix;    /* names that begin so; NULL: all */
	unsigned skip;         /* let that many matching calls pass first */
	unsigned count;        /* then strike that often; 0: for ever */
	unsigned percent;      /* 1..100: strike with that probability (of a seeded generator); 0 means 100 */
	err_t error;
	uint64_t arg;
	const char *other;
};
/* Takes over `inner` (freed with it). */
MUST_CHECK err_t store_fault_new(struct store *inner, uint64_t seed, struct store **out);
/* Replaces all rules (strings are copied).  Thread-safe. */
MUST_CHECK err_t store_fault_set(struct store *s, const struct store_fault_rule *rules, size_t count);
/* Calls seen so far of the masked kinds. */
uint64_t store_fault_calls(struct store *s, unsigned ops);

#endif
