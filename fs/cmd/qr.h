/*
 * qr.h: a QR code in the terminal.  qr.c owns libqrencode.  Uses err.h.
 */
#ifndef SNUGFS_QR_H
#define SNUGFS_QR_H

#include <stdbool.h>

#include "err.h"

/*
 * Writes the code of a text (which is secret: it passes no buffer that stays) to a descriptor: two modules a character, dark ones
 * as blocks, with the quiet zone.  coloured: black on white by escape sequences, so that it can be read on any terminal.
 * -E2BIG: too long for a code.  -ELIBACC, -ELIBBAD: libqrencode is not there (library.h).
 */
MUST_CHECK err_t qr_write(int fd, const char *text, bool coloured);

#endif
