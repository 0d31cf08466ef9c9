/*
 * unlocking.h: the device file of a place, opened: by what needs no person first (the keyring, the TPM), then by a
 * security key, else by asking.
 * Functions that return int return exit statuses (tell.h).  Uses place.h, prompt.h, devicefile.h, holder.h.
 */
#ifndef SNUGFS_UNLOCKING_H
#define SNUGFS_UNLOCKING_H

#include "devicefile.h"
#include "options.h"
#include "place.h"
#include "prompt.h"

/*
 * In the order: permissions alone; what the options say (--with-recovery-key, --passphrase-*, --key-file), and then only
 * that; keyring; TPM without a PIN; security key; a person, unless --no-passphrase.  Call it before there are threads.
 */
int unlocking_open(const struct options *o, const struct place *p, struct devicefile **out);
/* The same, by a passphrase and nothing else. */
int unlocking_open_by_passphrase(const struct options *o, const struct place *p, struct devicefile **out);

/* What people call a kind of slot. */
const char *unlocking_kind_name(uint64_t kind);

#endif
