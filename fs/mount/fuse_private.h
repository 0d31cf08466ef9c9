/*
 * fuse_private.h: what the files of the mount share: the handlers (fuse_ops.c, fuse_data.c), the threads that run them
 * (fuse_loop.c), the hidden folder (fuse_hidden.c), longer answers (fuse_answer.c), the raw messages (fuse_wire.c), requests that are
 * called off (fuse_interrupt.c), what tells the kernel of changes (fuse_tell.c) and the mount itself (fuse_mount.c).  Only those
 * nine include libfuse.
 */
#ifndef SNUGFS_FUSE_PRIVATE_H
#define SNUGFS_FUSE_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "interrupt.h"

struct fuse_entry_param;
struct fuse_file_info;
struct fuse_lowlevel_ops;
struct fuse_req;
struct fuse_session;
struct vfs;

/* The longest message body either way: one READ's or WRITE's data, one READDIRPLUS's entries. */
#define FUSE_DATA_MAX (1U << 20)

/* How far ahead of who reads a file in order the kernel asks: in several READs at once, so that all processors decrypt. */
#define FUSE_READ_AHEAD_LEN (4U << 20)

/* The session's userdata. */
struct fuse_listings;
struct hidden;
struct fuse_serving {
	struct vfs *vfs;
	struct fuse_listings *listings;
	struct hidden *hidden; /* NULL: none */
};

/* The handlers; and the same with the hidden folder before them. */
const struct fuse_lowlevel_ops *fuse_ops_handlers(void);
const struct fuse_lowlevel_ops *fuse_hidden_handlers(void);
void fuse_data_read(struct fuse_req *req, uint64_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fuse_data_write(struct fuse_req *req, uint64_t ino, const char *data, size_t size, off_t off, struct fuse_file_info *fi);
void fuse_data_fsync(struct fuse_req *req, uint64_t ino, int datasync, struct fuse_file_info *fi);
void fuse_data_fallocate(struct fuse_req *req, uint64_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi);
void fuse_data_lseek(struct fuse_req *req, uint64_t ino, off_t off, int whence, struct fuse_file_info *fi);
void fuse_data_copy_file_range(struct fuse_req *req, uint64_t from, off_t from_off, struct fuse_file_info *from_fi, uint64_t to,
    off_t to_off, struct fuse_file_info *to_fi, size_t len, int flags);

/* For a handler: the tree; and whether a file has a set-group-id bit of a group that the caller is not in. */
struct vfs *fuse_ops_vfs(struct fuse_req *req);
bool fuse_ops_has_foreign_setgid(struct fuse_req *req, uint64_t ino);

/* Replies with a value, or, to who asks with size 0, with its length. */
void fuse_answer_xattr(struct fuse_req *req, err_t err, const char *data, size_t size, size_t len);

/* Entries of a folder as they are gathered for one reply, in the thread's own room. */
struct fuse_answer_list {
	struct fuse_req *req;
	bool plus; /* READDIRPLUS: each is one lookup, too, unless its ino is 0 */
	char *data;
	size_t len;
	size_t max;
};
struct fuse_answer_list fuse_answer_begin(struct fuse_req *req, size_t size, bool plus);
/* 1: there is no room for it. */
int fuse_answer_add(struct fuse_answer_list *l, const char *name, const struct fuse_entry_param *entry, uint64_t cookie);
/* Replies.  Entries that were gathered before an error are counted as looked up: they go out, and it waits for the next time. */
void fuse_answer_list(const struct fuse_answer_list *l, err_t err);

/*
 * For a handler, about the message that its thread is serving: room for a reply of FUSE_DATA_MAX bytes; and whether the
 * kernel said that the caller may not keep set-id bits (FUSE_WRITE_KILL_SUIDGID, FATTR_KILL_SUIDGID), which libfuse before
 * 3.17 does not hand on.
 */
char *fuse_wire_reply_buffer(void);
bool fuse_wire_kill_suidgid(void);

/*
 * For a handler that may have to wait for the store: between the two, before it replies, that ends when the one who asked is dying.
 * s is the handler's own.
 */
struct fuse_interrupt {
	struct fuse_req *req;
	struct interrupt_source source;
	interrupt_fn *fn;
	void *fn_ctx;
};
void fuse_interrupt_begin(struct fuse_interrupt *s, struct fuse_req *req);
void fuse_interrupt_end(void);

#define FUSE_WIRE_OPCODES 64U

/* Messages so far. */
struct fuse_wire_counts {
	atomic_ullong v[FUSE_WIRE_OPCODES]; /* by opcode; 0: those that are not known */
	atomic_ullong use;                  /* as fuse_mount_use */
	atomic_uint telling;                /* threads of this process that may send some, too */
};

/* A thread's end of the connection. */
struct fuse_wire;
/* counts is borrowed. */
MUST_CHECK err_t fuse_wire_new(struct fuse_session *se, struct fuse_wire_counts *counts, struct fuse_wire **out);
void fuse_wire_free(struct fuse_wire *w);
/* From now on the calling thread reads and replies there. */
void fuse_wire_use(struct fuse_wire *w);
/* Has the session's messages go that way. */
MUST_CHECK err_t fuse_wire_install(struct fuse_session *se);
enum fuse_wire_cost {
	FUSE_WIRE_SHORT,
	FUSE_WIRE_FLUSH, /* waits for the disk, as the sender does meanwhile */
	FUSE_WIRE_TRANSFER, /* moves much data */
	FUSE_WIRE_LONG,
};
/* Notes what the handler will want to know of the message, and counts it.  What it will probably cost to serve it. */
enum fuse_wire_cost fuse_wire_inspect(const void *message, size_t len, pid_t *sender_out);
/*
 * Do several send?  Then the thread sleeps at once when there is no message: to look for the next one takes the processor away from
 * who is about to send it.
 */
void fuse_wire_set_crowded(bool yes);
/* The message in hand was answered. */
void fuse_wire_served(void);
/* Sees to it that the thread serves beside a sender who is alone, as fuse_near_follow. */
void fuse_wire_follow(pid_t sender);
/* Is a sender a thread of this process? */
bool fuse_wire_is_own(pid_t sender);
/* Are more messages waiting to be read? */
bool fuse_wire_has_more(void);
/* As fuse_mount_counters. */
size_t fuse_wire_counters(struct fuse_wire_counts *counts, const char **names, uint64_t *counts_out, size_t max);

/*
 * For a handler: has the kernel write back what it holds of a file from off on, and forget it.  Other threads serve those
 * WRITEs meanwhile, so only a part of all threads may wait here at once: -EAGAIN.
 */
MUST_CHECK err_t fuse_loop_write_back(uint64_t ino, uint64_t off);
/* For a handler of READDIR, before it replies: has the kernel forget what it has kept of the folder. */
void fuse_loop_forget_listing(uint64_t ino);

/*
 * For a handler: does this request come from fuse_tell.c, which only wants the kernel to take over attributes?  pid: of the
 * request's context.
 */
bool fuse_loop_is_refresh(pid_t pid);

struct fuse_loop;

/* The thread whose requests are those; 0: none. */
void fuse_loop_set_refresher(struct fuse_loop *l, pid_t tid);

/* Around what threads of this process send: it is no use of the folder. */
void fuse_loop_begin_telling(struct fuse_loop *l);
void fuse_loop_end_telling(struct fuse_loop *l);

/* Once the session is mounted: takes over its reading and writing.  se is borrowed and outlives the loop. */
MUST_CHECK err_t fuse_loop_new(struct fuse_session *se, struct fuse_loop **out);
/* All threads have ended. */
void fuse_loop_free(struct fuse_loop *l);

enum fuse_loop_end {
	FUSE_LOOP_UNMOUNTED, /* the kernel hung up, or the session failed: fuse_loop_error */
	FUSE_LOOP_WOKEN,     /* fuse_loop_wake: the threads are still serving */
};
/* Serves until one of those; called once.  Then fuse_loop_stop.  -EAGAIN: no thread could be made. */
MUST_CHECK err_t fuse_loop_serve(struct fuse_loop *l, enum fuse_loop_end *end_out);
/* Makes fuse_loop_serve return; async-signal-safe, from any thread, sticky. */
void fuse_loop_wake(struct fuse_loop *l);
/* Ends all threads, each when no message waits any more (or after some seconds, with the one in its hands), and waits for them. */
void fuse_loop_stop(struct fuse_loop *l);
/* 0, or the receive error that ended a thread. */
err_t fuse_loop_error(struct fuse_loop *l);

/* As fuse_mount_counters and fuse_mount_use. */
size_t fuse_loop_counters(struct fuse_loop *l, const char **names, uint64_t *counts, size_t max);
uint64_t fuse_loop_use(struct fuse_loop *l);

/* Before an inode's number: its name in the root for threads of this process, if it is a file that the kernel knows. */
#define FUSE_BY_NUMBER ".snugfs-inode-"

/* What tells the kernel of changes. */
struct fuse_tell;
/* All are borrowed.  mountpoint as /proc/self/mounts has it. */
MUST_CHECK err_t fuse_tell_new(struct fuse_session *se, struct fuse_loop *l, struct vfs *v, const char *mountpoint,
    struct fuse_tell **out);
void fuse_tell_free(struct fuse_tell *t);
void fuse_tell_entry(struct fuse_tell *t, uint64_t parent, const char *name);
void fuse_tell_inode(struct fuse_tell *t, uint64_t ino);
void fuse_tell_write(struct fuse_tell *t, uint64_t ino);
/* From now on tells nothing; returns when nobody is telling any more.  The loop must still be serving. */
void fuse_tell_end(struct fuse_tell *t);

#endif
