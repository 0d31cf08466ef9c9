/*
 * terminal.h: one line of secret text from somewhere, into secret memory.  Uses secmem.h.
 */
#ifndef SNUGFS_TERMINAL_H
#define SNUGFS_TERMINAL_H

#include <stddef.h>

#include "err.h"

#define SECRET_LINE_MAX 8192 /* an invitation with credentials is the longest */

/*
 * Asks on /dev/tty with the echo off; a signal puts the terminal in order before it does its work.  line_out has
 * SECRET_LINE_MAX bytes and gets a NUL.  -ENODATA: the end of input came first; -E2BIG: too long; -ENXIO: no terminal.
 */
MUST_CHECK err_t terminal_ask(const char *question, char *line_out, size_t *len_out);
/* The first line of a descriptor, not one byte more of it.  Errors as above and those of read(2). */
MUST_CHECK err_t terminal_read_line(int fd, char *line_out, size_t *len_out);

#endif
