/* Push and pull until nothing is left. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "op.h"
#include "tell.h"

#define LOOK_INTERVAL_MS 100

struct watch {
	struct op *op;
	atomic_bool over;
};

static void *
watch_main(void *arg)
{
	const struct timespec interval = { 0, LOOK_INTERVAL_MS * 1000000L };
	struct watch *w = arg;
	struct sync_status st;

	while (!atomic_load(&w->over)) {
		(void)nanosleep(&interval, NULL);
		uplink_get_status(w->op->uplink, &st);
		if (st.bytes_total > 0)
			op_progress(w->op, "uploading", st.bytes_done, st.bytes_total, PROGRESS_BYTES);
		else if (st.pending_inodes > 0)
			op_progress(w->op, "syncing, files left", st.pending_inodes, 0, PROGRESS_COUNT);
	}
	return NULL;
}

/* A daemon's thread syncs; without one it is done here. */
static err_t
sync_now(struct sync *s, void *ctx)
{
	(void)ctx;
	return sync_once(s);
}

static err_t
drain(struct op *op, char *why, size_t why_len)
{
	struct watch w = { .op = op };
	pthread_t thread;
	bool watching = pthread_create(&thread, NULL, watch_main, &w) == 0;
	err_t err = op->mount != NULL ? uplink_drain(op->uplink, why, why_len) :
	    uplink_with_sync(op->uplink, sync_now, NULL, why, why_len);

	atomic_store(&w.over, true);
	if (watching)
		pthread_join(thread, NULL);
	return err;
}

json_t *
op_sync(struct op *op, const json_t *request)
{
	char why[512];
	err_t err;

	(void)request;
	if (op->uplink == NULL)
		return op_refuse_no_store(op);
	err = drain(op, why, sizeof(why));
	if (err == -ECANCELED)
		return control_refusal("the folder was unmounted before the store had everything");
	if (err != 0)
		return control_refusal("%s", why[0] != '\0' ? why : tell_reason(err));
	/* Else a crash would have it counted as pending once more, until the store is asked. */
	if ((err = meta_sync(op->vault->meta)) != 0)
		return control_refusal("the store has everything, but that could not be noted in %s: %s", op->vault->dir, tell_reason(err));
	return json_pack("{s:b}", "ok", 1);
}
