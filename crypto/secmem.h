/*
 * secmem.h: memory for lasting secrets: locked, kept out of core dumps, wiped on free (OpenSSL's secure heap), and the
 * wipe and compare that every secret needs.  Uses err.h.
 */
#ifndef SNUGFS_SECMEM_H
#define SNUGFS_SECMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/*
 * Makes the process undumpable (PR_SET_DUMPABLE, RLIMIT_CORE) and sets up the locked heap.  Call once, first thing in
 * main and before any thread; later calls do nothing.  0, or -ENOMEM when no heap at all can be had.  A heap that could
 * not be locked (RLIMIT_MEMLOCK) is not an error: secmem_is_locked() tells.  Another errno: the process could not be made
 * undumpable.  fork(2) does not inherit the lock: who goes into the background forks before this.
 */
MUST_CHECK err_t secmem_init(void);
bool secmem_is_locked(void);

/* len zeroed bytes of locked memory, or NULL.  secmem_free wipes, registers too; NULL is fine. */
void *secmem_new(size_t len);
void secmem_free(void *p);
/* cleanup handler for `CLEANUP(secmem_free_ptr) uint8_t *p` */
void secmem_free_ptr(void *p_to_pointer);

/* A store of zeros that the compiler may not drop, and secmem_wipe_registers(). */
void secmem_wipe(void *p, size_t len);
/*
 * Zeroes the vector registers that a call may change.  Compilers, memcpy(3) and libcrypto move keys through them, and what
 * nobody needs any more stands there until somebody else happens to use the same one: a thread that waits in the kernel would
 * have it in every core dump.  All that wipes in this directory does this, too, as does what ends a LIBCRYPTO_SCOPE; a place
 * that copies a lasting key and wipes nothing uses secmem_copy().
 */
void secmem_wipe_registers(void);
/* memcpy(3) that leaves nothing in registers. */
void secmem_copy(void *restrict to, const void *restrict from, size_t len);

/* Constant time in len. */
bool secmem_equal(const void *a, const void *b, size_t len);

/* A transient 32-byte key on the stack: `CLEANUP(key32_wipe) struct key32 k;` */
struct key32 {
	uint8_t b[32];
};
void key32_wipe(struct key32 *k);

#endif
