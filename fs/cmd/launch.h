/*
 * launch.h: into the background, so that the foreground waits until the folder is usable and then ends with 0, or until the
 * background ends first, and then ends as that did.
 *
 * The fork comes before everything else: before secret memory (fork(2) does not inherit its lock), threads, libfuse and
 * libcurl.  Until it is ready the background part shares the terminal, so it asks and complains like any command.
 */
#ifndef SNUGFS_LAUNCH_H
#define SNUGFS_LAUNCH_H

/*
 * Before anything is opened: what the caller has closed of standard input, output and error would be the next file's number, and
 * sentences for people would go into it.  Reading and writing there fails as if it were closed.
 */
void launch_hold_standard_streams(void);
/* Returns in the child only, or with a failure's exit status (tell.h) when there is no child. */
int launch_background(void);
/*
 * Whoever may dump this process all the same, the administrator with gcore(1), gets registers but no memory: a stack holds a key
 * as long as that is in use, and plaintext is everywhere.  Before secmem_init(), after which the file that says so is not ours
 * any more.  Where it can't be had, the locked heap is left out nevertheless.
 */
void launch_leave_memory_out_of_cores(void);
/*
 * No more questions to ask: leaves the terminal's session, so that its signals and its end don't matter.  Nothing without
 * launch_background.
 */
void launch_leave_terminal(void);
/* The folder is usable: the parent ends with 0; the standard streams and all that was inherited are let go. */
void launch_ready(void);

#endif
