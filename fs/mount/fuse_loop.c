/*
 * The threads that serve a mount, and the raw messages as they pass: each thread reads from a clone of the session's device,
 * so that they do not queue behind one lock, and looks at what libfuse does not hand on before libfuse dispatches it.
 */
#define FUSE_USE_VERSION 314
#include "fuse_private.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/*
 * Threads come as they are needed, up to KEPT.  More would not be faster; but if all of them are waiting (for bytes that only
 * the store has) and nothing moved for STUCK_MS, RELIEF more are made, so that what needs no store is answered.  Those go away
 * again.
 */
#define THREADS_KEPT 8U
#define THREADS_RELIEF 8U
#define THREADS_MAX 128U
#define WRITE_BACKS_MAX (THREADS_MAX / 2)
#define STUCK_MS 50
#define KICK_MS 10

/* Ends a blocked read of the device.  A handler that does nothing must be there: see kick_threads. */
#define KICK_SIGNAL SIGRTMIN

#define OPCODES_COUNT 64U
#define OPCODE_STATX 52U /* protocol 7.39; answered ENOSYS once, then the kernel uses GETATTR */

enum slot_state { SLOT_FREE, SLOT_RUNNING, SLOT_ENDED };

struct worker {
	struct fuse_loop *loop;
	pthread_t thread;
	enum slot_state state; /* under loop->lock */
	int fd;                /* a clone of the session's device, or that itself */
	bool kill_suidgid;     /* of the message being served; own thread only */
	uint64_t init_unique;  /* the INIT whose reply is to be amended; 0: none; own thread only */
	uint32_t init_offered; /* its flags */
	char *reply;           /* FUSE_DATA_MAX bytes; own thread only */
};

struct fuse_loop {
	struct fuse_session *se;
	sem_t event;           /* posted when a flag below was raised */
	atomic_bool ended;     /* a thread found the connection gone */
	atomic_bool woken;     /* fuse_loop_wake */
	atomic_bool starved;   /* THREADS_KEPT of them, and none is reading */
	atomic_bool stopping;  /* threads end after the message in their hands */
	atomic_int error;
	atomic_uint idle_count;   /* threads that are reading */
	atomic_uint write_back_count; /* threads that wait for the kernel's dirty pages */
	atomic_ullong received;   /* messages; to see whether anything moves */
	atomic_int refresher;     /* fuse_loop_set_refresher */
	atomic_ullong counts[OPCODES_COUNT];

	pthread_mutex_t lock;     /* for changes of slots and running_count */
	pthread_cond_t slot_freed;
	atomic_uint running_count;
	struct worker workers[THREADS_MAX];
};

static _Thread_local struct worker *self;

char *
fuse_loop_reply_buffer(void)
{
	return self->reply;
}

bool
fuse_loop_kill_suidgid(void)
{
	return self->kill_suidgid;
}

bool
fuse_loop_is_refresh(pid_t pid)
{
	return pid != 0 && pid == atomic_load(&self->loop->refresher);
}

void
fuse_loop_set_refresher(struct fuse_loop *l, pid_t tid)
{
	atomic_store(&l->refresher, tid);
}

err_t
fuse_loop_write_back(uint64_t ino, uint64_t off)
{
	struct fuse_loop *l = self->loop;
	err_t err = -EAGAIN;

	if (atomic_fetch_add(&l->write_back_count, 1) < WRITE_BACKS_MAX) {
		err = fuse_lowlevel_notify_inval_inode(l->se, ino, (off_t)off, 0);
		if (err == -ENOENT)
			err = 0; /* then it holds nothing */
	}
	atomic_fetch_sub(&l->write_back_count, 1);
	return err;
}

static void
raise_flag(struct fuse_loop *l, atomic_bool *flag)
{
	if (!atomic_exchange(flag, true))
		sem_post(&l->event);
}

/* The device: hooks that libfuse calls on the thread that serves. */

static ssize_t
device_read(int fd, void *buf, size_t len, void *userdata)
{
	(void)userdata;
	return read(self ? self->fd : fd, buf, len);
}

/*
 * INIT's answer as libfuse 3.14 composes it lacks FUSE_HANDLE_KILLPRIV_V2, which it does not know, and promises no more
 * read-ahead than the kernel proposes.
 */
static void
amend_init(const struct iovec *iov, int count)
{
	const struct fuse_out_header *header = iov[0].iov_base;

	if (header->unique != self->init_unique)
		return;
	self->init_unique = 0;
	if (header->error == 0 && count > 1 && iov[1].iov_len >= offsetof(struct fuse_init_out, max_background)) {
		struct fuse_init_out *init = iov[1].iov_base;

		init->flags |= self->init_offered & FUSE_HANDLE_KILLPRIV_V2;
		init->max_readahead = FUSE_DATA_MAX;
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

/* What the message says that its handler will not be told, and the counters. */
static void
inspect(struct worker *w, const struct fuse_buf *buf)
{
	const struct fuse_in_header *header = buf->mem;
	const void *body = header + 1;
	size_t body_len = buf->size - sizeof(*header);

	atomic_fetch_add_explicit(&w->loop->counts[header->opcode < OPCODES_COUNT ? header->opcode : 0], 1, memory_order_relaxed);
	w->kill_suidgid = false;
	if (header->opcode == FUSE_WRITE && body_len >= sizeof(struct fuse_write_in)) {
		const struct fuse_write_in *in = body;

		w->kill_suidgid = (in->write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
	} else if (header->opcode == FUSE_SETATTR && body_len >= sizeof(struct fuse_setattr_in)) {
		const struct fuse_setattr_in *in = body;

		w->kill_suidgid = (in->valid & FATTR_KILL_SUIDGID) != 0;
	} else if (header->opcode == FUSE_INIT && body_len >= offsetof(struct fuse_init_in, flags2)) {
		const struct fuse_init_in *in = body;

		w->init_unique = header->unique;
		w->init_offered = in->flags;
	}
}

static int
clone_device(int fd)
{
	int clone = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	uint32_t master = (uint32_t)fd;

	if (clone < 0)
		return fd;
	if (ioctl(clone, FUSE_DEV_IOC_CLONE, &master) < 0) {
		close(clone);
		return fd;
	}
	return clone;
}

/* The threads. */

static bool add_thread(struct fuse_loop *l, unsigned limit);

/* One thread fewer is reading: see that somebody is. */
static void
note_busy(struct fuse_loop *l)
{
	if (atomic_fetch_sub(&l->idle_count, 1) == 1 && !add_thread(l, THREADS_KEPT))
		raise_flag(l, &l->starved);
}

/* Is this one of the threads beyond THREADS_KEPT, and not needed any more? */
static bool
is_surplus(struct fuse_loop *l)
{
	return atomic_load(&l->running_count) > THREADS_KEPT && atomic_load(&l->idle_count) > 0;
}

static void
serve_messages(struct worker *w, struct fuse_buf *buf)
{
	struct fuse_loop *l = w->loop;

	/* A thread that waits for the kernel's dirty pages needs another one that takes them. */
	while (!atomic_load(&l->stopping) || atomic_load(&l->write_back_count) > 0) {
		int received;

		atomic_fetch_add(&l->idle_count, 1);
		received = fuse_session_receive_buf(l->se, buf);
		if (received == -EINTR || received == -EAGAIN) {
			atomic_fetch_sub(&l->idle_count, 1);
			continue;
		}
		if (received <= 0) {
			atomic_fetch_sub(&l->idle_count, 1);
			if (received < 0)
				atomic_store(&l->error, received);
			raise_flag(l, &l->ended);
			return;
		}
		atomic_fetch_add_explicit(&l->received, 1, memory_order_relaxed);
		note_busy(l);
		inspect(w, buf);
		fuse_session_process_buf(l->se, buf);
		if (fuse_session_exited(l->se)) {
			raise_flag(l, &l->ended);
			return;
		}
		if (is_surplus(l))
			return;
	}
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;
	struct fuse_loop *l = w->loop;
	int session_fd = fuse_session_fd(l->se);
	struct fuse_buf buf = { .mem = NULL };

	self = w;
	w->fd = clone_device(session_fd);
	serve_messages(w, &buf);
	free(buf.mem);
	if (w->fd != session_fd)
		close(w->fd);

	pthread_mutex_lock(&l->lock);
	w->state = SLOT_ENDED;
	atomic_fetch_sub(&l->running_count, 1);
	pthread_cond_signal(&l->slot_freed);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* [l->lock] A thread that gave up its slot has nothing left to do but to return: joining it does not wait. */
static void
reclaim_slot(struct worker *w)
{
	if (w->state == SLOT_ENDED) {
		pthread_join(w->thread, NULL);
		w->state = SLOT_FREE;
	}
	free(w->reply);
	w->reply = NULL;
}

static err_t
start_worker(struct fuse_loop *l, struct worker *w)
{
	int err;

	w->loop = l;
	w->reply = malloc(FUSE_DATA_MAX);
	if (!w->reply)
		return -ENOMEM;
	err = pthread_create(&w->thread, NULL, worker_main, w);
	if (err) {
		free(w->reply);
		w->reply = NULL;
		return -err;
	}
	w->state = SLOT_RUNNING;
	atomic_fetch_add(&l->running_count, 1);
	return 0;
}

/* Makes one if fewer than limit are running: did it? */
static bool
add_thread(struct fuse_loop *l, unsigned limit)
{
	bool made = false;

	pthread_mutex_lock(&l->lock);
	if (atomic_load(&l->running_count) < limit && !atomic_load(&l->stopping)) {
		struct worker *w = l->workers;

		while (w->state == SLOT_RUNNING)
			w++;
		reclaim_slot(w);
		made = start_worker(l, w) == 0;
	}
	pthread_mutex_unlock(&l->lock);
	return made;
}

/* All threads were busy a moment ago.  If nothing moves, they are waiting for something that takes long. */
static void
relieve(struct fuse_loop *l)
{
	unsigned long long before = atomic_load(&l->received);
	struct timespec pause = { .tv_nsec = STUCK_MS * 1000000L };

	nanosleep(&pause, NULL);
	atomic_store(&l->starved, false);
	if (atomic_load(&l->idle_count) > 0)
		return;
	if (atomic_load(&l->received) == before)
		for (unsigned i = 0; i < THREADS_RELIEF; i++)
			(void)add_thread(l, THREADS_MAX);
	/* Nobody may be reading still: look again. */
	if (atomic_load(&l->idle_count) == 0)
		raise_flag(l, &l->starved);
}

err_t
fuse_loop_serve(struct fuse_loop *l, enum fuse_loop_end *end_out)
{
	if (!add_thread(l, 1))
		return -EAGAIN;
	for (;;) {
		while (sem_wait(&l->event) < 0)
			;
		if (atomic_load(&l->ended)) {
			*end_out = FUSE_LOOP_UNMOUNTED;
			return 0;
		}
		if (atomic_load(&l->woken)) {
			*end_out = FUSE_LOOP_WOKEN;
			return 0;
		}
		if (atomic_load(&l->starved))
			relieve(l);
	}
}

void
fuse_loop_wake(struct fuse_loop *l)
{
	raise_flag(l, &l->woken);
}

/* [l->lock] */
static void
kick_threads(struct fuse_loop *l)
{
	for (size_t i = 0; i < THREADS_MAX; i++)
		if (l->workers[i].state == SLOT_RUNNING)
			pthread_kill(l->workers[i].thread, KICK_SIGNAL);
}

static void
on_kick(int number)
{
	(void)number;
}

void
fuse_loop_stop(struct fuse_loop *l)
{
	struct sigaction kick = { .sa_handler = on_kick }, before;

	sigaction(KICK_SIGNAL, &kick, &before);
	atomic_store(&l->stopping, true);
	pthread_mutex_lock(&l->lock);
	while (atomic_load(&l->running_count) > 0) {
		struct timespec until;

		/* A thread may be between its look at `stopping` and its read: so until it has noticed. */
		kick_threads(l);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += KICK_MS * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000L;
		}
		pthread_cond_clockwait(&l->slot_freed, &l->lock, CLOCK_MONOTONIC, &until);
	}
	for (size_t i = 0; i < THREADS_MAX; i++)
		reclaim_slot(&l->workers[i]);
	pthread_mutex_unlock(&l->lock);
	sigaction(KICK_SIGNAL, &before, NULL);
}

err_t
fuse_loop_error(struct fuse_loop *l)
{
	return atomic_load(&l->error);
}

err_t
fuse_loop_new(struct fuse_session *se, struct fuse_loop **out)
{
	static const struct fuse_custom_io io = { .read = device_read, .writev = device_writev };
	struct fuse_loop *l = calloc(1, sizeof(*l));
	err_t err;

	if (!l)
		return -ENOMEM;
	l->se = se;
	sem_init(&l->event, 0, 0);
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->slot_freed, NULL);
	err = fuse_session_custom_io(se, &io, fuse_session_fd(se));
	if (err) {
		fuse_loop_free(l);
		return err;
	}
	*out = l;
	return 0;
}

void
fuse_loop_free(struct fuse_loop *l)
{
	if (!l)
		return;
	sem_destroy(&l->event);
	pthread_cond_destroy(&l->slot_freed);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static const char *const opcode_names[OPCODES_COUNT] = {
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
fuse_loop_counters(struct fuse_loop *l, const char **names, uint64_t *counts, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < OPCODES_COUNT && n < max; i++) {
		uint64_t count = atomic_load_explicit(&l->counts[i], memory_order_relaxed);

		if (count == 0 || !opcode_names[i])
			continue;
		names[n] = opcode_names[i];
		counts[n] = count;
		n++;
	}
	return n;
}
