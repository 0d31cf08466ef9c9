/* Pushing and pulling until nothing is left, while somebody looks on. */
#include "drain.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "handles.h"
#include "sync.h"
#include "tell.h"

#define PROGRESS_INTERVAL_MS 300

static void
sync_free_ptr(struct sync **s)
{
	sync_free(*s);
}

/* Progress: one line that is written over. */

static void
show_progress(uint64_t done, uint64_t total, uint64_t files)
{
	const double mib = 1024.0 * 1024.0;

	if (total > 0)
		fprintf(stderr, "\rsyncing: %.1f of %.1f MiB, %" PRIu64 " files left\033[K", (double)done / mib,
		    (double)total / mib, files);
	else
		fprintf(stderr, "\rsyncing: %" PRIu64 " files left\033[K", files);
}

static void
end_progress(void)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
}

/* By the daemon. */

static void
show_daemon_progress(const struct place *p)
{
	CLEANUP(handle_free_json) json_t *status = NULL;
	json_int_t done = 0, total = 0, files = 0;

	if (control_call(p->vault_dir, json_pack("{s:s}", "op", "status"), &status) != 0)
		return;
	if (json_unpack(status, "{s:{s:I, s:I}, s:{s:I}}", "progress", "done", &done, "total", &total, "pending", "files",
	    &files) == 0)
		show_progress((uint64_t)done, (uint64_t)total, (uint64_t)files);
}

/* What programs have written and the kernel still keeps is to go, too. */
static void
flush_kernel(const char *mountpoint)
{
	CLEANUP(handle_close_fd) int fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		(void)syncfs(fd); /* an error reaches whoever wrote */
}

int
drain_mounted(const struct place *p)
{
	CLEANUP(handle_close_fd) int fd = -1;
	CLEANUP(handle_free_json) json_t *answer = NULL;
	const char *text;
	err_t err;

	flush_kernel(p->mountpoint);
	err = control_connect(p->vault_dir, &fd);
	if (err == 0)
		err = control_send(fd, json_pack("{s:s}", "op", "sync"));
	while (err == 0) {
		err = control_receive(fd, PROGRESS_INTERVAL_MS, &answer);
		if (err != -ETIMEDOUT)
			break;
		if (isatty(STDERR_FILENO))
			show_daemon_progress(p);
		err = 0;
	}
	end_progress();
	if (err == -EACCES)
		return tell_failure("%s is mounted by another user, who alone can sync it", p->mountpoint);
	if (err != 0)
		return tell_failure("the background process of %s does not answer (%s): see the system's log, then unmount and "
		    "mount again", p->mountpoint, tell_reason(err));
	return control_is_ok(answer, &text) ? 0 : tell_failure("%s", text);
}

/* By this process. */

struct watch {
	struct sync *sync;
	atomic_bool over;
};

static void *
watch_main(void *arg)
{
	const struct timespec interval = { 0, PROGRESS_INTERVAL_MS * 1000000L };
	struct watch *w = arg;
	struct sync_status st;

	while (!atomic_load(&w->over)) {
		(void)nanosleep(&interval, NULL);
		if (atomic_load(&w->over))
			break;
		sync_get_status(w->sync, &st);
		show_progress(st.bytes_done, st.bytes_total, st.pending_inodes);
	}
	return NULL;
}

static err_t
sync_watched(struct sync *s)
{
	struct watch w = { .sync = s };
	pthread_t thread;
	bool watching = isatty(STDERR_FILENO) && pthread_create(&thread, NULL, watch_main, &w) == 0;
	err_t err = sync_once(s);

	atomic_store(&w.over, true);
	if (watching)
		pthread_join(thread, NULL);
	end_progress();
	return err;
}

int
drain_vault(struct vault *v)
{
	CLEANUP(store_free_ptr) struct store *store = NULL;
	CLEANUP(sync_free_ptr) struct sync *s = NULL;
	struct sync_status st = { 0 };
	char *why = NULL;
	err_t err = store_open(v->remote_url, false, &store, &why);

	if (err != 0)
		return tell_why(why, v->remote_url, err);
	if ((err = sync_new(v, store, &s)) != 0)
		return tell_sync(err, v->remote_url, NULL);
	store = NULL; /* the sync's now */
	content_set_fetch(v->content, sync_fetch_segment, s);
	err = sync_watched(s);
	sync_get_status(s, &st);
	content_set_fetch(v->content, NULL, NULL);
	return err == 0 ? 0 : tell_sync(err, v->remote_url, st.problem_text);
}
