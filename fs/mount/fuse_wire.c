/*
 * The raw messages as they pass: each thread reads from a clone of the session's device, so that they do not queue behind one
 * lock; and what libfuse does not hand on is looked at before libfuse dispatches it.
 */
#define FUSE_USE_VERSION 314
#include "clock.h"
#include "disk.h"
#include "fuse_near.h"
#include "fuse_private.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define OPCODE_STATX 52U /* protocol 7.39; answered ENOSYS once, then the kernel uses GETATTR */

/*
 * To be woken on an idle processor takes longer than most messages do, on a virtual machine several times as long.  So when the
 * last message came soon, the next one is looked for again and again for a moment, giving way to whoever wants to run
 * (but see fuse_near_sleeps).
 */
#define SOON_NS 100000
#define LOOK_NS 50000

/* From so much data on, a transfer is worth a thread of its own. */
#define LARGE_LEN 65536U

struct fuse_wire {
	int fd;                /* a clone of the session's device, or that itself */
	int session_fd;
	struct fuse_wire_counts *counts;
	bool crowded;          /* fuse_wire_set_crowded */
	bool blocks;           /* reading the clone waits for a message */
	bool expects_more;     /* the last message did not let itself be waited for */
	bool kill_suidgid;     /* of the message being served */
	bool is_small_read;    /* of the message being served */
	struct fuse_near near;
	uint64_t init_unique;  /* the INIT whose reply is to be amended; 0: none */
	uint32_t init_offered; /* its flags */
	char *reply;           /* FUSE_DATA_MAX bytes */
};

static _Thread_local struct fuse_wire *self;

char *
fuse_wire_reply_buffer(void)
{
	return self->reply;
}

bool
fuse_wire_kill_suidgid(void)
{
	return self->kill_suidgid;
}

/* Hooks that libfuse calls on the thread that serves. */

/* -1 with EINTR: a signal came while there was nothing to read. */
static ssize_t
read_message(struct fuse_wire *w, void *buf, size_t len)
{
	struct pollfd p = { .fd = w->fd, .events = POLLIN };
	int64_t begun = w->blocks ? 0 : clock_ns(CLOCK_MONOTONIC);
	unsigned yields = 0;
	ssize_t got;

	if (w->blocks)
		return read(w->fd, buf, len);
	while ((got = read(w->fd, buf, len)) < 0 && errno == EAGAIN) {
		if (w->expects_more && clock_ns(CLOCK_MONOTONIC) - begun < LOOK_NS) {
			sched_yield();
			yields++;
		} else if (poll(&p, 1, -1) < 0) {
			return -1;
		}
	}
	w->expects_more = clock_ns(CLOCK_MONOTONIC) - begun < SOON_NS;
	fuse_near_found(&w->near, yields);
	return got;
}

static ssize_t
device_read(int fd, void *buf, size_t len, void *userdata)
{
	(void)userdata;
	return self ? read_message(self, buf, len) : read(fd, buf, len);
}

/*
 * INIT's answer as libfuse 3.14 composes it lacks FUSE_HANDLE_KILLPRIV_V2, which it does not know, and FUSE_PARALLEL_DIROPS, though it
 * was asked for (without it all who look into a folder queue behind the one whose answer takes long, and can't even be killed), and
 * promises no more read-ahead than the kernel proposes.  And libfuse allows no threshold of congestion above the number of requests
 * that are served at once: beyond it syncfs(2) leaves dirty pages out without a word, which mount_flush is to have brought here.
 */
static void
amend_init(const struct iovec *iov, int count)
{
	const struct fuse_out_header *header = iov[0].iov_base;

	if (header->unique != self->init_unique)
		return;
	self->init_unique = 0;
	if (header->error == 0 && count > 1 && iov[1].iov_len >= offsetof(struct fuse_init_out, max_write)) {
		struct fuse_init_out *init = iov[1].iov_base;

		init->flags |= self->init_offered & (FUSE_HANDLE_KILLPRIV_V2 | FUSE_PARALLEL_DIROPS);
		init->max_readahead = FUSE_READ_AHEAD_LEN;
		init->congestion_threshold = UINT16_MAX;
	}
}

/* A request must be answered on the clone that it was read from; notifications come from threads that have none. */
static ssize_t
device_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	(void)userdata;
	if (self && self->init_unique != 0)
		amend_init(iov, count);
	return writev(self ? self->fd : fd, iov, count);
}

err_t
fuse_wire_install(struct fuse_session *se)
{
	static const struct fuse_custom_io io = { .read = device_read, .writev = device_writev };

	return fuse_session_custom_io(se, &io, fuse_session_fd(se));
}

static bool
is_large(const struct fuse_in_header *header, const void *body, size_t body_len)
{
	if (header->opcode == FUSE_READ && body_len >= sizeof(struct fuse_read_in))
		return ((const struct fuse_read_in *)body)->size >= LARGE_LEN;
	return header->opcode == FUSE_WRITE && body_len >= LARGE_LEN;
}

static bool
copies(uint32_t opcode)
{
	return opcode == FUSE_LSEEK || opcode == FUSE_FALLOCATE || opcode == FUSE_COPY_FILE_RANGE;
}

bool
fuse_wire_is_own(pid_t sender)
{
	return sender > 0 && tgkill(getpid(), sender, 0) == 0;
}

/* What programs look at without a person, what the kernel does by itself and what this process asks for is no use of the folder. */
static bool
is_use(const struct fuse_in_header *header, const struct fuse_wire_counts *counts)
{
	switch (header->opcode) {
	case FUSE_STATFS:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
	case FUSE_INIT:
		return false;
	default:
		return atomic_load(&counts->telling) == 0 || !fuse_wire_is_own((pid_t)header->pid);
	}
}

static enum fuse_wire_cost
cost_of(const struct fuse_in_header *header, const void *body, size_t body_len)
{
	if (header->opcode == FUSE_FSYNC || header->opcode == FUSE_FSYNCDIR)
		return FUSE_WIRE_FLUSH;
	if (is_large(header, body, body_len))
		return FUSE_WIRE_TRANSFER;
	return copies(header->opcode) ? FUSE_WIRE_LONG : FUSE_WIRE_SHORT;
}

enum fuse_wire_cost
fuse_wire_inspect(const void *message, size_t len, pid_t *sender_out)
{
	const struct fuse_in_header *header = message;
	const void *body = header + 1;
	size_t body_len = len - sizeof(*header);
	enum fuse_wire_cost cost;

	atomic_fetch_add_explicit(&self->counts->v[header->opcode < FUSE_WIRE_OPCODES ? header->opcode : 0], 1,
	    memory_order_relaxed);
	if (is_use(header, self->counts))
		atomic_fetch_add_explicit(&self->counts->use, 1, memory_order_relaxed);
	self->kill_suidgid = false;
	if (header->opcode == FUSE_WRITE && body_len >= sizeof(struct fuse_write_in)) {
		const struct fuse_write_in *in = body;

		self->kill_suidgid = (in->write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
	} else if (header->opcode == FUSE_SETATTR && body_len >= sizeof(struct fuse_setattr_in)) {
		const struct fuse_setattr_in *in = body;

		self->kill_suidgid = (in->valid & FATTR_KILL_SUIDGID) != 0;
	} else if (header->opcode == FUSE_INIT && body_len >= offsetof(struct fuse_init_in, flags2)) {
		const struct fuse_init_in *in = body;

		self->init_unique = header->unique;
		self->init_offered = in->flags;
	}
	*sender_out = (pid_t)header->pid;
	cost = cost_of(header, body, body_len);
	self->is_small_read = cost == FUSE_WIRE_SHORT && header->opcode == FUSE_READ;
	if (!self->is_small_read)
		fuse_near_forget_reads(&self->near);
	if (cost != FUSE_WIRE_SHORT || header->opcode == FUSE_READ)
		fuse_near_start_over(&self->near);
	return cost;
}

static void
choose_blocking(struct fuse_wire *w)
{
	bool yes = w->crowded || fuse_near_sleeps(&w->near);

	if (yes == w->blocks || w->fd == w->session_fd)
		return;
	if (fcntl(w->fd, F_SETFL, yes ? O_RDWR : O_RDWR | O_NONBLOCK) == 0) {
		w->blocks = yes;
		w->expects_more = false;
	}
}

void
fuse_wire_set_crowded(bool yes)
{
	self->crowded = yes;
	choose_blocking(self);
}

void
fuse_wire_served(void)
{
	if (self->crowded || !self->is_small_read)
		return;
	fuse_near_read(&self->near, disk_blocks_read());
	choose_blocking(self);
}

void
fuse_wire_follow(pid_t sender)
{
	fuse_near_follow(&self->near, sender);
}

bool
fuse_wire_has_more(void)
{
	struct pollfd p = { .fd = self->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN) != 0;
}

static int
clone_device(int fd)
{
	int clone = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	uint32_t master = (uint32_t)fd;

	if (clone < 0)
		return fd;
	if (ioctl(clone, FUSE_DEV_IOC_CLONE, &master) < 0) {
		close(clone);
		return fd;
	}
	return clone;
}

err_t
fuse_wire_new(struct fuse_session *se, struct fuse_wire_counts *counts, struct fuse_wire **out)
{
	struct fuse_wire *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->reply = malloc(FUSE_DATA_MAX);
	if (!w->reply) {
		free(w);
		return -ENOMEM;
	}
	w->counts = counts;
	w->session_fd = fuse_session_fd(se);
	w->fd = clone_device(w->session_fd);
	if (w->fd == w->session_fd)
		(void)fcntl(w->fd, F_SETFL, fcntl(w->fd, F_GETFL) | O_NONBLOCK);
	*out = w;
	return 0;
}

void
fuse_wire_use(struct fuse_wire *w)
{
	self = w;
}

void
fuse_wire_free(struct fuse_wire *w)
{
	if (!w)
		return;
	if (w->fd != w->session_fd)
		close(w->fd);
	free(w->reply);
	free(w);
}

static const char *const opcode_names[FUSE_WIRE_OPCODES] = {
	[0] = "OTHER",
	[FUSE_LOOKUP] = "LOOKUP", [FUSE_FORGET] = "FORGET", [FUSE_GETATTR] = "GETATTR", [FUSE_SETATTR] = "SETATTR",
	[FUSE_READLINK] = "READLINK", [FUSE_SYMLINK] = "SYMLINK", [FUSE_MKNOD] = "MKNOD", [FUSE_MKDIR] = "MKDIR",
	[FUSE_UNLINK] = "UNLINK", [FUSE_RMDIR] = "RMDIR", [FUSE_RENAME] = "RENAME", [FUSE_LINK] = "LINK",
	[FUSE_OPEN] = "OPEN", [FUSE_READ] = "READ", [FUSE_WRITE] = "WRITE", [FUSE_STATFS] = "STATFS",
	[FUSE_RELEASE] = "RELEASE", [FUSE_FSYNC] = "FSYNC", [FUSE_SETXATTR] = "SETXATTR", [FUSE_GETXATTR] = "GETXATTR",
	[FUSE_LISTXATTR] = "LISTXATTR", [FUSE_REMOVEXATTR] = "REMOVEXATTR", [FUSE_FLUSH] = "FLUSH", [FUSE_INIT] = "INIT",
	[FUSE_OPENDIR] = "OPENDIR", [FUSE_READDIR] = "READDIR", [FUSE_RELEASEDIR] = "RELEASEDIR",
	[FUSE_FSYNCDIR] = "FSYNCDIR", [FUSE_GETLK] = "GETLK", [FUSE_SETLK] = "SETLK", [FUSE_SETLKW] = "SETLKW",
	[FUSE_ACCESS] = "ACCESS", [FUSE_CREATE] = "CREATE", [FUSE_INTERRUPT] = "INTERRUPT", [FUSE_BMAP] = "BMAP",
	[FUSE_DESTROY] = "DESTROY", [FUSE_IOCTL] = "IOCTL", [FUSE_POLL] = "POLL", [FUSE_BATCH_FORGET] = "BATCH_FORGET",
	[FUSE_FALLOCATE] = "FALLOCATE", [FUSE_READDIRPLUS] = "READDIRPLUS", [FUSE_RENAME2] = "RENAME2",
	[FUSE_LSEEK] = "LSEEK", [FUSE_COPY_FILE_RANGE] = "COPY_FILE_RANGE", [FUSE_TMPFILE] = "TMPFILE",
	[OPCODE_STATX] = "STATX",
};

size_t
fuse_wire_counters(struct fuse_wire_counts *counts, const char **names, uint64_t *counts_out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < FUSE_WIRE_OPCODES && n < max; i++) {
		uint64_t count = atomic_load_explicit(&counts->v[i], memory_order_relaxed);

		if (count == 0 || !opcode_names[i])
			continue;
		names[n] = opcode_names[i];
		counts_out[n] = count;
		n++;
	}
	return n;
}
