/* What never reached the store, copied out. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "export.h"
#include "hex.h"
#include "human.h"
#include "op.h"
#include "tell.h"

/* So many are named; all are counted. */
#define NAMED_MAX 100u

struct run {
	struct op *op;
	json_t *failed; /* sentences */
};

static void
failed(void *ctx, const char *path, const char *why)
{
	struct run *r = ctx;
	char text[4096];

	if (json_array_size(r->failed) >= NAMED_MAX)
		return;
	snprintf(text, sizeof(text), "\"%s\" is left out: %s", path, why);
	if (json_array_append_new(r->failed, human_path(text)) != 0)
		(void)json_array_append_new(r->failed, json_sprintf("a file is left out: %s", why));
}

static bool
progress(void *ctx, uint64_t files, uint64_t bytes)
{
	struct run *r = ctx;

	(void)files;
	op_progress(r->op, "copying", bytes, 0, PROGRESS_BYTES);
	return !op_is_cancelled(r->op);
}

/*
 * archiver.h writes to the working directory: this thread gets one of its own, which others do not share, and a umask.  Many containers
 * refuse that; a process which serves no folder, and does nothing else, can do without.
 */
static err_t
enter(const struct op *op, const char *folder)
{
	if (unshare(CLONE_FS) != 0 && op->mount != NULL)
		return -ENOTSUP;
	return chdir(folder) != 0 ? -errno : 0;
}

static json_t *
copy_out(struct op *op, const char *folder)
{
	CLEANUP(archiver_free_ptr) struct archiver *a = NULL;
	struct run r = { op, json_array() };
	const struct export_hooks hooks = { &r, failed, progress };
	struct export_report report = { 0 };
	json_t *answer;
	err_t err;

	if ((err = enter(op, folder)) == 0 && (err = archiver_new_folder(geteuid() == 0, &a)) == 0)
		err = export_pending(op->vault, a, &hooks, &report);
	if (err == 0)
		answer = json_pack("{s:b, s:I, s:I, s:I, s:O}", "ok", 1, "files", (json_int_t)report.files, "bytes",
		    (json_int_t)report.bytes, "failed", (json_int_t)report.failed, "why", r.failed);
	else if (a == NULL && err == -ENOTSUP)
		answer = control_refusal("nothing can be copied while %s is open, since this system refuses a thread a working directory of "
		    "its own (unshare): unmount it, and try again", op->mountpoint);
	else
		answer = control_refusal("the copy in %s is not whole: %s", folder, a != NULL && archiver_why(a)[0] != '\0' ?
		    archiver_why(a) : tell_reason(err));
	json_decref(r.failed);
	(void)(chdir("/") == 0); /* nothing of the target stays in use */
	return answer;
}

json_t *
op_export_pending(struct op *op, const json_t *request)
{
	const char *hex = json_string_value(json_object_get(request, "folder"));
	size_t len = hex != NULL ? strlen(hex) / 2 : 0;
	CLEANUP(free_ptr) char *folder = calloc(1, len + 1);

	if (folder == NULL)
		return NULL;
	if (hex_parse(hex, (uint8_t *)folder, len) != 0 || folder[0] != '/')
		return control_refusal("an absolute folder is wanted");
	return copy_out(op, folder);
}
