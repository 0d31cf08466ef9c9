/* A mounted vault: whoever waits for the disk or the store keeps nobody else waiting, and can be ended. */
#include "fuse_mount_held.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "fetcher.h"
#include "settle.h"

#include "../../await.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(attributes_are_answered_while_many_reads_wait),
		TEST(others_are_answered_while_somebody_who_was_alone_waits_for_a_flush),
		TEST(who_waits_for_the_store_can_be_ended_and_is_not_disturbed_by_signals_that_he_handles),
	};

	if (secmem_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
