/* fuse_near.h: serving on the processor of who waits for the answer. */
#ifndef SNUGFS_FUSE_NEAR_H
#define SNUGFS_FUSE_NEAR_H

#include <stdbool.h>
#include <sys/types.h>

/* What a thread knows of where its sender is; zero at first. */
struct fuse_near {
	pid_t sender;
	unsigned apart;    /* messages in a row that did not come when the thread gave way */
	unsigned together; /* those that did, since the last look */
	unsigned messages; /* since the last look, or the last time that it started over */
	unsigned interval; /* messages from one look to the next, at least; 0: not known yet */

	long disk_blocks;    /* at the last read */
	unsigned disk_reads; /* those that waited for the disk, less those that did not */
};

/* The processor that a thread, of any process, was on last; -1: not known. */
int fuse_near_processor(pid_t tid);
/* The calling thread gave way so often until its message was there. */
void fuse_near_found(struct fuse_near *n, unsigned yields);
/* Between messages that take longer than to wake somebody, nobody is followed. */
void fuse_near_start_over(struct fuse_near *n);
/*
 * Moves the calling thread to the processor of a sender who waits for its answer while nobody else sends, if it may run there and
 * they have come apart.  It does not stay bound to it.  Most calls only count.
 */
void fuse_near_follow(struct fuse_near *n, pid_t sender);

/* After a short read of a sender who is alone (disk_blocks: what disk_blocks_read says now), and after anything else. */
void fuse_near_read(struct fuse_near *n, long disk_blocks);
void fuse_near_forget_reads(struct fuse_near *n);
/* Is the thread to sleep until the next message comes, rather than look for it? */
bool fuse_near_sleeps(const struct fuse_near *n);

#endif
