/*
 * A mounted vault whose insides the test changes behind the kernel's back, as a pull does.  Skipped where mounting is not
 * allowed.  vfs_read, vfs_write and vfs_fsync are wrapped, so that they can be held up.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "fuse_ops.h"
#include "fetcher.h"
#include "secmem.h"
#include "settle.h"
#include "vault.h"

#include "../../await.h"

#define ROOT 1

struct fixture {
	char top[64];
	char vault_dir[96];
	char mountpoint[96];
	struct vault *vault;
	struct vfs *vfs;
	struct fuse_mount *mount;
	pthread_t server;
};

/* Reads, writes and flushes while `held` wait. */
static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t held_moved = PTHREAD_COND_INITIALIZER;
static bool held;
static unsigned waiting_count;

static void
wait_while_held(void)
{
	pthread_mutex_lock(&held_lock);
	waiting_count++;
	pthread_cond_broadcast(&held_moved);
	while (held)
		pthread_cond_wait(&held_moved, &held_lock);
	waiting_count--;
	pthread_mutex_unlock(&held_lock);
}

err_t __real_vfs_read(struct vfs *v, uint64_t ino, uint64_t off, size_t len, uint8_t *buf, size_t *read_out);
err_t __wrap_vfs_read(struct vfs *v, uint64_t ino, uint64_t off, size_t len, uint8_t *buf, size_t *read_out);

err_t
__wrap_vfs_read(struct vfs *v, uint64_t ino, uint64_t off, size_t len, uint8_t *buf, size_t *read_out)
{
	wait_while_held();
	return __real_vfs_read(v, ino, off, len, buf, read_out);
}

err_t __real_vfs_write(struct vfs *v, uint64_t ino, uint64_t off, const uint8_t *data, size_t len, unsigned flags);
err_t __wrap_vfs_write(struct vfs *v, uint64_t ino, uint64_t off, const uint8_t *data, size_t len, unsigned flags);

err_t
__wrap_vfs_write(struct vfs *v, uint64_t ino, uint64_t off, const uint8_t *data, size_t len, unsigned flags)
{
	wait_while_held();
	return __real_vfs_write(v, ino, off, data, len, flags);
}

err_t __real_vfs_fsync(struct vfs *v, uint64_t ino);
err_t __wrap_vfs_fsync(struct vfs *v, uint64_t ino);

err_t
__wrap_vfs_fsync(struct vfs *v, uint64_t ino)
{
	wait_while_held();
	return __real_vfs_fsync(v, ino);
}

static void
hold(bool on)
{
	pthread_mutex_lock(&held_lock);
	held = on;
	pthread_cond_broadcast(&held_moved);
	pthread_mutex_unlock(&held_lock);
}

static void
wait_for_held(unsigned count)
{
	pthread_mutex_lock(&held_lock);
	while (waiting_count < count)
		pthread_cond_wait(&held_moved, &held_lock);
	pthread_mutex_unlock(&held_lock);
}

static void *
serve(void *mount)
{
	return (void *)(intptr_t)fuse_mount_serve(mount);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct vault_unlock plain = { .plain = true };
	struct vault_create_params p = { .device_name = "test", .lock = plain, .root_uid = getuid(), .root_gid = getgid() };
	struct fuse_mount_options o = { .fsname = "test" };
	uint8_t recovery[RECOVERY_KEY_LEN];
	char *why = NULL;
	err_t err;

	strcpy(f->top, "/tmp/test_fuse_mount.XXXXXX");
	assert_non_null(mkdtemp(f->top));
	snprintf(f->vault_dir, sizeof(f->vault_dir), "%s/vault", f->top);
	snprintf(f->mountpoint, sizeof(f->mountpoint), "%s/mnt", f->top);
	assert_int_equal(mkdir(f->mountpoint, 0700), 0);
	p.dir = f->vault_dir;
	o.mountpoint = f->mountpoint;
	assert_int_equal(vault_create(&p, recovery), 0);
	assert_int_equal(vault_open(f->vault_dir, &plain, &f->vault), 0);
	assert_int_equal(vfs_new(f->vault->meta, f->vault->content, f->vault->lookups, f->vault_dir, &f->vfs), 0);
	err = fuse_mount_new(f->vfs, &o, &f->mount, &why);
	if (err) {
		char command[128];

		print_message("cannot mount here: %s\n", why);
		snprintf(command, sizeof(command), "rm -r %s", f->top);
		exit(system(command) == 0 ? 77 : 1); /* 77: skipped */
	}
	assert_int_equal(pthread_create(&f->server, NULL, serve, f->mount), 0);
	*state = f;
	return 0;
}

static void
end_mount(struct fixture *f)
{
	void *result = NULL;

	if (!f->mount)
		return;
	fuse_mount_stop(f->mount);
	assert_int_equal(pthread_join(f->server, &result), 0);
	assert_null(result);
	fuse_mount_free(f->mount);
	f->mount = NULL;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	end_mount(f);
	vfs_free(f->vfs);
	assert_int_equal(vault_close(f->vault), 0);
	snprintf(command, sizeof(command), "rm -r %s", f->top);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static const char *
path_of(const struct fixture *f, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", f->mountpoint, name);
	return path;
}

static void
put(const struct fixture *f, const char *name, const char *text)
{
	int fd = open(path_of(f, name), O_CREAT | O_WRONLY | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
}

static void
expect_content(int fd, const char *text)
{
	char buf[256] = "";
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, strlen(text));
	assert_int_equal(pread(fd, buf, sizeof(buf) - 1, 0), strlen(text));
	assert_string_equal(buf, text);
}

static uint64_t
number_of(const struct fixture *f, const char *name)
{
	struct stat st;

	assert_int_equal(stat(path_of(f, name), &st), 0);
	return st.st_ino;
}

/* As a pull does: content, size and time. */
static void
change_behind_the_kernel(struct fixture *f, uint64_t ino, const char *text)
{
	struct stat attr = { .st_size = (off_t)strlen(text), .st_mtim = { 1234567890, 987654321 } };

	assert_int_equal(vfs_write(f->vfs, ino, 0, (const uint8_t *)text, strlen(text), false), 0);
	assert_int_equal(vfs_setattr(f->vfs, ino, &attr, VFS_SET_SIZE, &attr), 0);
	attr.st_mtim = (struct timespec){ 1234567890, 987654321 };
	assert_int_equal(vfs_setattr(f->vfs, ino, &attr, VFS_SET_MTIME, &attr), 0);
	fuse_mount_forget_inode(f->mount, ino);
}

static void
a_file_that_somebody_has_open_shows_its_new_content_size_and_time(void **state)
{
	static const char *const texts[] = { "longer than what was there before", "short", "SHORT" };
	struct fixture *f = *state;
	struct stat st;
	uint64_t ino;
	int fd;

	put(f, "f", "original content");
	ino = number_of(f, "f");
	fd = open(path_of(f, "f"), O_RDONLY);
	assert_true(fd >= 0);
	expect_content(fd, "original content");
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		change_behind_the_kernel(f, ino, texts[i]);
		expect_content(fd, texts[i]);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_mtim.tv_sec, 1234567890);
		assert_int_equal(st.st_mtim.tv_nsec, 987654321);
	}
	close(fd);
	assert_int_equal(vfs_getattr(f->vfs, ino, &st), 0);
	assert_int_equal(st.st_mtim.tv_nsec, 987654321);
}

/* Also where the kernel knows a file by a name that it no longer has, so that it is found by its number. */
static void
what_the_kernel_is_told_is_no_use_of_the_folder(void **state)
{
	struct fixture *f = *state;
	uint64_t ino, use;
	int fd;

	put(f, "f", "original content");
	ino = number_of(f, "f");
	fd = open(path_of(f, "f"), O_RDONLY);
	assert_true(fd >= 0);
	use = fuse_mount_use(f->mount);
	change_behind_the_kernel(f, ino, "longer than what was there before");
	fuse_mount_write_inode(f->mount, ino);
	assert_int_equal(vfs_rename(f->vfs, ROOT, "f", ROOT, "g", 0), 0);
	change_behind_the_kernel(f, ino, "short");
	assert_int_equal(fuse_mount_use(f->mount), use);
	expect_content(fd, "short");
	assert_int_not_equal(fuse_mount_use(f->mount), use);
	close(fd);
}

static void
a_file_that_nobody_may_write_to_shows_its_new_content(void **state)
{
	struct fixture *f = *state;
	uint64_t ino;
	int fd;

	put(f, "f", "original content");
	assert_int_equal(chmod(path_of(f, "f"), 0400), 0);
	ino = number_of(f, "f");
	change_behind_the_kernel(f, ino, "changed elsewhere");
	fd = open(path_of(f, "f"), O_RDONLY);
	assert_true(fd >= 0);
	expect_content(fd, "changed elsewhere");
	close(fd);
}

static void
what_an_open_file_holds_unwritten_is_kept_when_it_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd = open(path_of(f, "f"), O_CREAT | O_RDWR, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "unwritten", 9), 9);
	fuse_mount_forget_inode(f->mount, number_of(f, "f"));
	assert_int_equal(vfs_getattr(f->vfs, number_of(f, "f"), &st), 0);
	assert_int_equal(st.st_size, 9);
	expect_content(fd, "unwritten");
	close(fd);
}

static void
names_that_come_and_go_elsewhere_are_seen(void **state)
{
	struct fixture *f = *state;
	struct vfs_caller me = { .uid = getuid(), .gid = getgid() };
	struct stat st;

	assert_int_equal(access(path_of(f, "new"), F_OK), -1);
	assert_int_equal(vfs_mknod(f->vfs, &me, ROOT, "new", 0644, 0, &st), 0);
	fuse_mount_forget_entry(f->mount, ROOT, "new");
	assert_int_equal(access(path_of(f, "new"), F_OK), 0);
	assert_int_equal(vfs_unlink(f->vfs, ROOT, "new"), 0);
	fuse_mount_forget_entry(f->mount, ROOT, "new");
	assert_int_equal(access(path_of(f, "new"), F_OK), -1);
	fuse_mount_forget_entry(f->mount, 4711, "never known");
	fuse_mount_forget_inode(f->mount, 4711);
}

struct reader {
	pthread_t thread;
	int fd;
	ssize_t result;
};

static void *
read_one(void *arg)
{
	struct reader *r = arg;
	char byte;

	r->result = pread(r->fd, &byte, 1, 0);
	return NULL;
}

/* Of a name that the kernel takes for free. */
static void
take_behind_the_kernel(struct fixture *f, const char *name)
{
	struct vfs_caller me = { .uid = getuid(), .gid = getgid() };
	struct stat st;

	assert_int_equal(access(path_of(f, name), F_OK), -1);
	assert_int_equal(vfs_mknod(f->vfs, &me, ROOT, name, S_IFREG | 0600, 0, &st), 0);
}

static void
who_makes_what_has_just_come_opens_it_unless_it_must_be_new(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd;

	take_behind_the_kernel(f, "opened");
	fd = open(path_of(f, "opened"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_ino, number_of(f, "opened"));
	close(fd);
	take_behind_the_kernel(f, "new");
	assert_int_equal(open(path_of(f, "new"), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), -1);
	assert_int_equal(errno, EEXIST);
	take_behind_the_kernel(f, "node");
	assert_int_equal(mknod(path_of(f, "node"), S_IFREG | 0600, 0), -1);
	assert_int_equal(errno, EEXIST);
}

static void
attributes_are_answered_while_many_reads_wait(void **state)
{
	enum { READERS = 30 };
	struct fixture *f = *state;
	struct reader readers[READERS];
	char name[16];

	for (unsigned i = 0; i < READERS; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		put(f, name, "x");
		/* So that its pages are not cached. */
		fuse_mount_forget_inode(f->mount, number_of(f, name));
		readers[i].fd = open(path_of(f, name), O_RDONLY);
		assert_true(readers[i].fd >= 0);
	}
	hold(true);
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_one, &readers[i]), 0);
	wait_for_held(READERS);
	assert_int_equal(access(path_of(f, "nothing here"), F_OK), -1);
	assert_int_equal(mkdir(path_of(f, "made meanwhile"), 0755), 0);
	hold(false);
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].result, 1);
		close(readers[i].fd);
	}
}

/* Nobody else has sent anything for long: the thread that flushes for it was the only one that reads. */
static void *
work_alone_then_flush(void *arg)
{
	struct fixture *f = arg;
	int fd;

	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(mkdir(path_of(f, "folder"), 0755), 0);
		assert_int_equal(rmdir(path_of(f, "folder")), 0);
	}
	fd = open(path_of(f, "file"), O_CREAT | O_WRONLY, 0644);
	assert_true(fd >= 0);
	hold(true);
	assert_int_equal(fsync(fd), 0);
	close(fd);
	return NULL;
}

static void
others_are_answered_while_somebody_who_was_alone_waits_for_a_flush(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, work_alone_then_flush, f), 0);
	wait_for_held(1);
	assert_int_equal(mkdir(path_of(f, "made meanwhile"), 0755), 0);
	hold(false);
	pthread_join(thread, NULL);
}

static void
stopping_saves_what_an_open_file_has_written(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd = open(path_of(f, "f"), O_CREAT | O_RDWR, 0644);
	uint64_t ino = number_of(f, "f");

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "unwritten", 9), 9);
	end_mount(f);
	assert_int_equal(vfs_getattr(f->vfs, ino, &st), 0);
	assert_int_equal(st.st_size, 9);
	assert_int_equal(access(path_of(f, "f"), F_OK), -1);
	close(fd);
}

/* Open files with something that the kernel has not handed over. */
#define UNWRITTEN_MAX 150

struct unwritten {
	unsigned count;
	int fd[UNWRITTEN_MAX];
	uint64_t ino[UNWRITTEN_MAX];
};

static void
write_to_many(const struct fixture *f, unsigned count, struct unwritten *u)
{
	char name[16];

	u->count = count;
	for (unsigned k = 0; k < count; k++) {
		snprintf(name, sizeof(name), "%u", k);
		u->fd[k] = open(path_of(f, name), O_CREAT | O_RDWR, 0644);
		u->ino[k] = number_of(f, name);
		assert_int_equal(write(u->fd[k], "unwritten", 9), 9);
	}
}

static void
assert_all_are_written(const struct fixture *f, const struct unwritten *u)
{
	struct stat st;

	for (unsigned k = 0; k < u->count; k++) {
		assert_int_equal(vfs_getattr(f->vfs, u->ino[k], &st), 0);
		assert_int_equal(st.st_size, 9);
		close(u->fd[k]);
	}
}

static void
stopping_saves_what_many_open_files_have_written_however_slow_the_disk_is(void **state)
{
	const struct timespec all_are_held = { .tv_nsec = 500000000 };
	struct fixture *f = *state;
	struct unwritten u;

	write_to_many(f, UNWRITTEN_MAX, &u);
	hold(true);
	fuse_mount_stop(f->mount);
	wait_for_held(1);
	(void)nanosleep(&all_are_held, NULL);
	hold(false);
	end_mount(f);
	assert_all_are_written(f, &u);
}

struct handing_over {
	int fd; /* of the mount */
	atomic_bool done;
};

static void *
hand_over(void *arg)
{
	struct handing_over *h = arg;

	assert_int_equal(syncfs(h->fd), 0);
	atomic_store(&h->done, true);
	return NULL;
}

static void
stopping_serves_what_the_kernel_has_handed_over_of_a_mount_that_was_detached(void **state)
{
	enum { LOOKS = 1000, FEW_ENOUGH_FOR_THE_KERNEL = 40 };
	const struct timespec moment = { .tv_nsec = 5000000 }, until_they_end = { .tv_nsec = 300000000 };
	struct fixture *f = *state;
	struct handing_over h = { .fd = open(f->mountpoint, O_RDONLY | O_DIRECTORY) };
	struct unwritten u;
	pthread_t thread;
	bool detached;

	write_to_many(f, FEW_ENOUGH_FOR_THE_KERNEL, &u);
	hold(true);
	assert_int_equal(pthread_create(&thread, NULL, hand_over, &h), 0);
	for (unsigned k = 0; k < LOOKS && !atomic_load(&h.done); k++)
		(void)nanosleep(&moment, NULL);
	detached = atomic_load(&h.done) && umount2(f->mountpoint, MNT_DETACH) == 0;
	if (detached) {
		fuse_mount_stop(f->mount);
		(void)nanosleep(&until_they_end, NULL);
	}
	hold(false);
	assert_int_equal(pthread_join(thread, NULL), 0);
	close(h.fd);
	end_mount(f);
	assert_all_are_written(f, &u);
	if (!detached) {
		print_message("this kernel hands over nothing before it is served, or only root detaches\n");
		skip();
	}
}

static void
messages_are_counted_and_opens_are_not_sent(void **state)
{
	struct fixture *f = *state;
	const char *names[64];
	uint64_t counts[64], lookups = 0, opens = 0;
	size_t count;
	char name[16];

	for (unsigned i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		put(f, name, "x");
	}
	count = fuse_mount_counters(f->mount, names, counts, ARRAY_LEN(names));
	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i], "LOOKUP") == 0)
			lookups = counts[i];
		else if (strcmp(names[i], "OPEN") == 0 || strcmp(names[i], "RELEASE") == 0 || strcmp(names[i], "FLUSH") == 0)
			opens += counts[i];
	}
	assert_int_equal(lookups, 10);
	assert_true(opens <= 2);
	assert_int_equal(fuse_mount_counters(f->mount, names, counts, 1), 1);
}

/* A store that does not answer before it is told to. */
struct silent_store {
	struct bytes object;
	/* under held_lock */
	bool silent;
	unsigned asked;
};

static err_t
answer_when_told(void *ctx, const struct segment *s, uint64_t off, size_t len, struct bytes *out)
{
	struct silent_store *store = ctx;

	(void)s;
	pthread_mutex_lock(&held_lock);
	store->asked++;
	pthread_cond_broadcast(&held_moved);
	while (store->silent)
		pthread_cond_wait(&held_moved, &held_lock);
	pthread_mutex_unlock(&held_lock);
	return bytes_append(out, store->object.data + off, len);
}

/* What is in that file is in the store alone. */
static void
send_away(struct fixture *f, const char *name, struct silent_store *store)
{
	uint64_t ino = number_of(f, name), seg, settled;
	struct vault *v = f->vault;
	struct settle *s;
	struct segment row;
	struct inode *i;
	struct chunk *ch;
	int fd = open(path_of(f, name), O_RDONLY);

	assert_int_equal(fsync(fd), 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(settle_begin(v->content, v->meta, v->segments, v->keys, &s), 0);
	assert_int_equal(settle_inode(s, ino), 0);
	assert_int_equal(settle_finish(s, &settled), 0);
	meta_lock(v->meta);
	assert_int_equal(meta_inode_get(v->meta, ino, &i), 0);
	assert_int_equal(meta_chunk_get(v->meta, i, 0, false, &ch), 0);
	seg = ch->current.v[0].seg;
	assert_int_equal(meta_segment_get(v->meta, seg, &row), 0);
	row.in_store = true;
	assert_int_equal(meta_segment_put(v->meta, &row), 0);
	meta_unlock(v->meta);
	assert_int_equal(segstore_read_whole(v->segments, &row, &store->object), 0);
	assert_int_equal(segstore_drop(v->segments, seg), 0);
	content_set_fetch(v->content, answer_when_told, store);
	fuse_mount_forget_inode(f->mount, ino);
}

static uint64_t
messages(const struct fixture *f, const char *name)
{
	const char *names[64];
	uint64_t counts[64];
	size_t count = fuse_mount_counters(f->mount, names, counts, ARRAY_LEN(names));

	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return counts[i];
	return 0;
}

/*
 * A process that asks for one page past the kernel's read-ahead, and handles SIGUSR1.  A program of its own: whoever holds the
 * device of a mount, and waits for what is in it, could not be ended.
 */
static pid_t
read_in_a_process(const char *path)
{
	char from[300];
	char *const args[] = { (char[]){ "dd" }, from, (char[]){ "of=/dev/null" }, (char[]){ "bs=4096" }, (char[]){ "count=1" },
		(char[]){ "iflag=direct" }, (char[]){ "status=none" }, NULL };
	pid_t pid;

	snprintf(from, sizeof(from), "if=%s", path);
	assert_int_equal(posix_spawnp(&pid, "dd", NULL, NULL, args, environ), 0);
	return pid;
}

/* Until the nth READ, and of its sender's signals one, have come. */
static void
disturb(const struct fixture *f, pid_t pid, uint64_t n)
{
	AWAIT(messages(f, "READ") >= n);
	AWAIT_WHILE(messages(f, "INTERRUPT") < n)
		assert_int_equal(kill(pid, SIGUSR1), 0);
}

static void
expect_end_by(pid_t pid, int number)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), number);
}

static void
who_waits_for_the_store_can_be_ended_and_is_not_disturbed_by_signals_that_he_handles(void **state)
{
	struct fixture *f = *state;
	struct silent_store store = { .silent = true };
	struct fetcher *fetcher = content_fetcher(f->vault->content);
	pid_t pid;
	int status, fd;

	put(f, "f", "what only the store has");
	send_away(f, "f", &store);
	fetcher_set_limit(fetcher, 3600 * 1000);

	pid = read_in_a_process(path_of(f, "f"));
	pthread_mutex_lock(&held_lock);
	while (store.asked == 0)
		pthread_cond_wait(&held_moved, &held_lock);
	pthread_mutex_unlock(&held_lock);
	assert_int_equal(kill(pid, SIGTERM), 0);
	expect_end_by(pid, SIGTERM);

	/* The kernel tells of the first signal only. */
	pid = read_in_a_process(path_of(f, "f"));
	disturb(f, pid, 2);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	assert_int_equal(kill(pid, SIGTERM), 0);
	expect_end_by(pid, SIGTERM);

	/* One who is disturbed, and gets what he waits for. */
	pid = read_in_a_process(path_of(f, "f"));
	disturb(f, pid, 3);
	pthread_mutex_lock(&held_lock);
	store.silent = false;
	pthread_cond_broadcast(&held_moved);
	pthread_mutex_unlock(&held_lock);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	fd = open(path_of(f, "f"), O_RDONLY);
	expect_content(fd, "what only the store has");
	close(fd);
	content_set_fetch(f->vault->content, NULL, NULL);
	bytes_clear(&store.object);
}

static void
a_second_mount_of_the_same_place_is_refused(void **state)
{
	struct fixture *f = *state;
	struct fuse_mount_options o = { .mountpoint = f->mountpoint, .fsname = "second" };
	struct fuse_mount *second = NULL;
	char *why = NULL;

	assert_int_equal(fuse_mount_new(f->vfs, &o, &second, &why), -EBUSY);
	assert_non_null(strstr(why, "already"));
	free(why);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_that_somebody_has_open_shows_its_new_content_size_and_time, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_kernel_is_told_is_no_use_of_the_folder, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_that_nobody_may_write_to_shows_its_new_content, setup, teardown),
		cmocka_unit_test_setup_teardown(what_an_open_file_holds_unwritten_is_kept_when_it_is_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(names_that_come_and_go_elsewhere_are_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(who_makes_what_has_just_come_opens_it_unless_it_must_be_new, setup, teardown),
		cmocka_unit_test_setup_teardown(attributes_are_answered_while_many_reads_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(others_are_answered_while_somebody_who_was_alone_waits_for_a_flush, setup, teardown),
		cmocka_unit_test_setup_teardown(stopping_saves_what_an_open_file_has_written, setup, teardown),
		cmocka_unit_test_setup_teardown(stopping_saves_what_many_open_files_have_written_however_slow_the_disk_is, setup, teardown),
		cmocka_unit_test_setup_teardown(stopping_serves_what_the_kernel_has_handed_over_of_a_mount_that_was_detached, setup, teardown),
		cmocka_unit_test_setup_teardown(messages_are_counted_and_opens_are_not_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(who_waits_for_the_store_can_be_ended_and_is_not_disturbed_by_signals_that_he_handles, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(a_second_mount_of_the_same_place_is_refused, setup, teardown),
	};

	if (secmem_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
