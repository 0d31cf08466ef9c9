/*
 * amounts.h: how people write sizes and times on the command line and in the configuration.  Uses err.h.
 */
#ifndef SNUGFS_AMOUNTS_H
#define SNUGFS_AMOUNTS_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* "4096", "500K", "1.5M", "2G", "1T" (powers of 1024; a B, iB or /s behind is fine); "none" is 0.  -EINVAL. */
MUST_CHECK err_t amount_parse_bytes(const char *text, uint64_t *out);
/* "90s", "15m", "2h", "30d", "4w"; a number alone: seconds; at least 1.  -EINVAL. */
MUST_CHECK err_t amount_parse_seconds(const char *text, int64_t *out);
/* "2 hours", "45 minutes", "30 seconds", "3 days": about. */
void amount_print_seconds(int64_t seconds, char *out, size_t out_len);

#endif
