/*
 * Where a thread serves.  To wake somebody on another processor that has gone idle takes longer than most messages do, on a virtual
 * machine several times as long: whoever waits for answer after answer is served best on its own processor.
 *
 * Where each answer waits for the disk, that is best the processor which the disk interrupts.  The kernel brings both there by itself,
 * as it would rather wake somebody on a processor that is awake than on one that is not, unless it is busy: with looking for the next
 * message.  So then that is slept for.
 */
#include "fuse_near.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Who gives way on the sender's own processor finds the next message when it is back; elsewhere it gives way to nobody. */
#define YIELDS_APART 4U

/* After so many messages in a row that were found as late as that, a look is due. */
#define MESSAGES_APART 2U

/*
 * To look and to move take as long as one or two messages of those who are apart, so that some lie between two of them; each time
 * that was in vain, because the two were apart again before they had exchanged a few, twice as many; and far more where it can't be
 * done.  But not up to a high limit: a move is often in vain because the processor that was left is still awake and idle, so that
 * the kernel wakes the sender just there; and the next one may well not be.
 */
#define INTERVAL_MIN 4U
#define INTERVAL_MAX 32U
#define INTERVAL_REFUSED 4096U
/* And before the first look at a sender: most programs that do much else, as compilers do, have ended by then. */
#define INTERVAL_FIRST 64U
#define MESSAGES_TOGETHER 16U

/* So many reads that waited for the disk, less those that did not, are many; and more make no difference. */
#define DISK_READS_MANY 4U
#define DISK_READS_MAX 8U

/* The field of /proc/TID/stat, counted from the one after the name: that may contain anything. */
#define PROCESSOR_FIELD 37

int
fuse_near_processor(pid_t tid)
{
	char path[64], text[1024], *at;
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)tid, (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (got <= 0)
		return -1;
	text[got] = '\0';
	at = strrchr(text, ')');
	for (int i = 0; at && i < PROCESSOR_FIELD; i++)
		at = strchr(at + 1, ' ');
	return at ? (int)strtol(at, NULL, 10) : -1;
}

/*
 * The kernel is free to move the thread again at once.  Who was not restricted is not from now on either, even if processors are
 * added: whatever is asked for, the kernel allows no more than the cpuset has.
 */
static bool
move_to(int processor)
{
	cpu_set_t allowed, wanted, all, now;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0 || processor < 0 || processor >= CPU_SETSIZE ||
	    !CPU_ISSET(processor, &allowed))
		return false;
	CPU_ZERO(&wanted);
	CPU_SET(processor, &wanted);
	if (sched_setaffinity(0, sizeof(wanted), &wanted) < 0)
		return false;
	memset(&all, 0xff, sizeof(all));
	if (sched_setaffinity(0, sizeof(all), &all) < 0 || sched_getaffinity(0, sizeof(now), &now) < 0 || !CPU_EQUAL(&now, &allowed))
		(void)sched_setaffinity(0, sizeof(allowed), &allowed);
	return true;
}

void
fuse_near_found(struct fuse_near *n, unsigned yields)
{
	if (yields >= YIELDS_APART) {
		n->apart++;
	} else if (yields > 0) {
		n->apart = 0;
		n->together++;
	}
}

void
fuse_near_start_over(struct fuse_near *n)
{
	n->messages = n->apart = 0;
}

void
fuse_near_follow(struct fuse_near *n, pid_t sender)
{
	int processor;

	if (sender != n->sender) {
		n->sender = sender;
		fuse_near_start_over(n);
		if (n->interval < INTERVAL_FIRST)
			n->interval = INTERVAL_FIRST;
	}
	if (++n->messages < n->interval || n->apart < MESSAGES_APART)
		return;
	if (n->together >= MESSAGES_TOGETHER)
		n->interval = INTERVAL_MIN;
	else
		n->interval = n->interval < INTERVAL_MAX ? 2 * n->interval : INTERVAL_MAX;
	n->messages = n->apart = n->together = 0;
	processor = fuse_near_processor(sender);
	if (processor != sched_getcpu() && !move_to(processor))
		n->interval = INTERVAL_REFUSED;
}

void
fuse_near_read(struct fuse_near *n, long disk_blocks)
{
	if (disk_blocks == n->disk_blocks)
		n->disk_reads -= n->disk_reads > 0;
	else if (n->disk_reads < DISK_READS_MAX)
		n->disk_reads++;
	n->disk_blocks = disk_blocks;
}

void
fuse_near_forget_reads(struct fuse_near *n)
{
	n->disk_reads = 0;
}

bool
fuse_near_sleeps(const struct fuse_near *n)
{
	return n->disk_reads >= DISK_READS_MANY;
}
