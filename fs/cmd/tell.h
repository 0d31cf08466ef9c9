/*
 * tell.h: the one place that turns what went wrong into a sentence for a person, and into the exit status.
 *
 * In this folder a function that returns `int` and may fail returns an exit status: 0, or EXIT_TOLD or EXIT_USAGE after the
 * one sentence was written to stderr.  Uses err.h.
 */
#ifndef SNUGFS_TELL_H
#define SNUGFS_TELL_H

#include <jansson.h>

#include "err.h"

#define EXIT_TOLD 1
#define EXIT_USAGE 2

/* "snugfs: SENTENCE." on stderr; the full stop is added here.  EXIT_TOLD. */
int tell_failure(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Wrong usage of a command (NULL: of the program): the sentence and where the help is.  EXIT_USAGE. */
int tell_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A sentence that another layer wrote (why, malloc'ed, freed here), or if it is NULL what `err` means, about `subject`. */
int tell_why(char *why, const char *subject, err_t err);

/* "the disk is full", "permission denied", …: what an error means outside any context. */
const char *tell_reason(err_t err);

/* The vault of `mountpoint` in `dir` can't be opened. */
int tell_vault_open(err_t err, const char *mountpoint, const char *dir);
/* No vault could be made in `dir`. */
int tell_vault_make(err_t err, const char *dir);
/* `what` ended with err; `why` (may be "") is what the sync engine says about it. */
int tell_sync(err_t err, const char *remote, const char *why);
/* Nothing is known of a vault for this folder. */
int tell_no_vault(const char *mountpoint);

/*
 * What --json asks for, on standard output: the answer without its "ok", which is taken out of it.  NULL: there was not enough memory
 * to make it.
 */
int tell_json(json_t *answer);

#endif
