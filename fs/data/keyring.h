/*
 * keyring.h: the epoch keys, in secret memory, and the file keys wrapped under them.  Thread-safe.
 * Uses crypto's secmem.h, keywrap.h, random.h; inode.h.
 */
#ifndef SNUGFS_KEYRING_H
#define SNUGFS_KEYRING_H

#include "err.h"
#include "inode.h"
#include "secmem.h"

struct keyring;
MUST_CHECK err_t keyring_new(struct keyring **out);
void keyring_free(struct keyring *k);
/* Adds E_epoch; the highest one is current.  -EEXIST if another key is known for that epoch (the same: 0). */
MUST_CHECK err_t keyring_add(struct keyring *k, uint32_t epoch, const uint8_t key[static 32]);
/* -ENOENT: this device does not have it (yet). */
MUST_CHECK err_t keyring_get(struct keyring *k, uint32_t epoch, struct key32 *out);
MUST_CHECK err_t keyring_current(struct keyring *k, uint32_t *epoch_out);
/* A fresh random file key wrapped under the current epoch. */
MUST_CHECK err_t keyring_new_file_key(struct keyring *k, uint32_t version, struct file_key *out);
/* -ENOENT: no such epoch here; -EBADMSG: not wrapped under it. */
MUST_CHECK err_t keyring_open_file_key(struct keyring *k, const struct file_key *fk, struct key32 *out);

#endif
