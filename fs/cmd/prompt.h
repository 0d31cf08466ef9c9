/*
 * prompt.h: secrets from people: passphrases and recovery keys, from the terminal without echo, from a file, from a command.
 * They stay in secret memory.  Functions return exit statuses (tell.h).  Uses options.h, recoverykey.h, secmem.h.
 */
#ifndef SNUGFS_PROMPT_H
#define SNUGFS_PROMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "identity.h"
#include "options.h"

/* Text in secret memory, NUL-terminated; NULL: none. */
struct secret {
	char *text;
	size_t len;
	bool is_device; /* not text, but the secret of a device, which opens a vault by itself (unlocking.h) */
};
void secret_clear(struct secret *s);

/* The passphrase of a vault that exists. */
int prompt_passphrase(const struct options *o, const char *mountpoint, struct secret *out);
/*
 * A new one, asked for twice; left empty with --no-passphrase.  Without a terminal and without any of the options that is an
 * error: nobody could be sure of what was read.
 */
int prompt_new_passphrase(const struct options *o, const char *mountpoint, struct secret *out);
/* The PIN of a TPM: from the same options, or asked for. */
int prompt_pin(const struct options *o, const char *mountpoint, struct secret *out);
/*
 * The PIN that a security key has: the first line of a file, or of what a command prints (both may be NULL), or asked for on the
 * terminal.  Never from standard input, where a passphrase may be: wrong ones use up the key's tries.
 */
int prompt_key_pin(const char *file, const char *command, const char *mountpoint, struct secret *out);
/*
 * A new passphrase or PIN (`what`) for something that exists: the first line of a file, or of what a command prints (both may
 * be NULL), or asked for twice.
 */
int prompt_new_secret(const char *file, const char *command, const char *what, struct secret *out);
/* An invitation: the first line of a file (NULL: none), or from the terminal or standard input. */
int prompt_invitation(const char *file, struct secret *out);
/*
 * prompt_recovery.c: the recovery key from --recovery-key-file, the terminal or standard input, or as many of its shares as
 * are needed, one in a line, also from --share-file; a typo is pointed at.
 */
int prompt_recovery_key(const struct options *o, uint8_t key_out[static RECOVERY_KEY_LEN]);

/* For the two files: room for a line, and what is wrong with one that could not be read. */
int prompt_secret_new(struct secret *out);
int prompt_tell_line(err_t err, const char *where);

#endif
