/*
 * log.h: one line a message, to stderr or syslog, never with a secret in it.  An error is logged once, where it is handled.
 * Uses nothing.
 */
#ifndef SNUGFS_LOG_H
#define SNUGFS_LOG_H

#include <stdbool.h>

/* Before use: stderr.  use_syslog: from now on to syslog as "snugfs". */
void log_open(bool use_syslog);
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
