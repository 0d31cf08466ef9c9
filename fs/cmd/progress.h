/*
 * progress.h: how far a long command is, on stderr: a bar that is written over on a terminal, else a line every ten seconds (none
 * for what takes no longer).  Uses nothing.
 */
#ifndef SNUGFS_PROGRESS_H
#define SNUGFS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum progress_unit {
	PROGRESS_COUNT,
	PROGRESS_BYTES,
};

struct progress {
	char text[80];      /* what is being done, as shown last; "": nothing was */
	int64_t shown_ms;
	int64_t begun_ms;   /* of this text */
	uint64_t begun_at;  /* done, then */
	bool on_line;       /* the cursor stands behind a bar */
};

/* Is that a terminal, and one that knows how to overwrite what it shows? */
bool progress_is_screen(int fd);
/* total 0: not known.  Any number of calls a second: only what can be read is shown. */
void progress_show(struct progress *p, const char *text, uint64_t done, uint64_t total, enum progress_unit unit);
/* Takes the bar away; before anything else is printed. */
void progress_end(struct progress *p);

#endif
