/* ops.c: the table of ops, and what all of them need. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "op.h"
#include "store.h"

#define LOOK_INTERVAL_MS 100
#define TELL_INTERVAL_MS 100

static const struct {
	const char *name;
	op_fn *fn;
} ops[] = {
	{ "sync", op_sync },
	{ "hold", op_hold },
	{ "limit", op_limit },
	{ "lock-settings", op_lock_settings },
	{ "remote", op_remote },
	{ "dismiss", op_dismiss },
	{ "check-recovery", op_check_recovery },
	{ "cache", op_cache },
	{ "free", op_free },
	{ "pin", op_pin },
	{ "unpin", op_unpin },
	{ "verify", op_verify },
	{ "exposure", op_exposure },
	{ "gc", op_gc },
	{ "rekey", op_rekey },
	{ "versions", op_versions },
	{ "restore", op_restore },
	{ "words", op_words },
	{ "verify-device", op_verify_device },
	{ "policy", op_policy },
	{ "set-policy", op_set_policy },
	{ "statements", op_statements },
	{ "witness", op_witness },
	{ "set-witness", op_set_witness },
	{ "export-pending", op_export_pending },
	{ "device-list", op_device_list },
	{ "device-invite", op_device_invite },
	{ "device-rename", op_device_rename },
	{ "device-remove", op_device_remove },
};

op_fn *
op_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		if (strcmp(ops[i].name, name) == 0)
			return ops[i].fn;
	return NULL;
}

void
op_progress(struct op *op, const char *text, uint64_t done, uint64_t total, enum progress_unit unit)
{
	int64_t now;

	if (op->progress != NULL)
		progress_show(op->progress, text, done, total, unit);
	if (op->call == NULL)
		return;
	now = clock_ms(CLOCK_MONOTONIC);
	if (now - op->told_ms < TELL_INTERVAL_MS && strncmp(text, op->told, sizeof(op->told) - 1) == 0)
		return;
	op->told_ms = now;
	snprintf(op->told, sizeof(op->told), "%s", text);
	control_tell(op->call, json_pack("{s:{s:s, s:I, s:I, s:b}}", "progress", "text", text, "done", (json_int_t)done, "total",
	    (json_int_t)total, "bytes", unit == PROGRESS_BYTES));
}

bool
op_is_cancelled(struct op *op)
{
	return op->call != NULL && control_is_over(op->call);
}

/* Requests that nobody waits for. */

struct vigil {
	struct op *op;
	struct store *store;
	atomic_bool over;
};

static void *
vigil_main(void *arg)
{
	const struct timespec interval = { 0, LOOK_INTERVAL_MS * 1000000L };
	struct vigil *v = arg;

	while (!atomic_load(&v->over)) {
		(void)nanosleep(&interval, NULL);
		if (op_is_cancelled(v->op))
			store_cancel(v->store, true);
	}
	return NULL;
}

json_t *
op_with_store(struct op *op, struct store *store, json_t *(*fn)(struct op *op, struct store *store))
{
	struct vigil v = { .op = op, .store = store };
	pthread_t thread;
	bool watched = op->call != NULL && pthread_create(&thread, NULL, vigil_main, &v) == 0;
	json_t *answer = fn(op, store);

	atomic_store(&v.over, true);
	if (watched)
		pthread_join(thread, NULL);
	return answer;
}

json_t *
op_refuse_no_store(const struct op *op)
{
	return control_refusal("%s has no store to sync with: give it one with \"snugfs up %s --remote URL\"%s", op->mountpoint,
	    op->mountpoint, op->mount != NULL ? " once it is unmounted" : "");
}
