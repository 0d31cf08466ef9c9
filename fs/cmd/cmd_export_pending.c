/* snugfs export-pending: what this device has and the store never got, as plain files. */
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "folder.h"
#include "handles.h"
#include "human.h"
#include "mount_flush.h"
#include "mountstate.h"
#include "paths.h"
#include "session.h"
#include "tell.h"

static int
check_apart(const struct place *p, const char *folder)
{
	if (!paths_is_inside(folder, p->mountpoint) && !paths_is_inside(folder, p->vault_dir))
		return 0;
	return tell_failure("%s is in the vault itself: name a folder outside of it", folder);
}

static int
tell_answer(const json_t *answer, const char *folder)
{
	json_int_t failures = json_integer_value(json_object_get(answer, "failed"));
	const json_t *why = json_object_get(answer, "why");
	char bytes[HUMAN_BYTES_LEN], files[HUMAN_COUNT_LEN];

	human_count((uint64_t)json_integer_value(json_object_get(answer, "files")), "file", files);
	human_bytes((uint64_t)json_integer_value(json_object_get(answer, "bytes")), bytes);
	printf("Copied to %s: %s that never reached the store, %s.\n", folder, files, bytes);
	fflush(stdout);
	for (size_t i = 0; i < json_array_size(why); i++)
		fprintf(stderr, "snugfs: %s.\n", json_string_value(json_array_get(why, i)));
	human_count((uint64_t)failures, "file", files);
	return failures == 0 ? 0 : tell_failure("%s left out", files);
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	CLEANUP(free_ptr) char *folder = NULL;
	CLEANUP(free_ptr) char *hex = NULL;
	err_t err;
	int status;

	if (o->arg_count == 2 && (err = paths_absolute(o->args[1], &o->mountpoint)) != 0)
		return tell_failure("%s: %s", o->args[1], tell_reason(err));
	if ((status = session_find_place(o, &p)) != 0)
		return status;
	if ((err = paths_absolute(o->args[0], &folder)) != 0)
		return tell_failure("%s: %s", o->args[0], tell_reason(err));
	if ((status = check_apart(&p, folder)) != 0 || (status = folder_make_empty(folder)) != 0)
		return status;
	if ((hex = paths_hex(folder)) == NULL)
		return tell_failure("not enough memory");
	if (mountstate_get(p.mountpoint) == MOUNT_OURS)
		(void)mount_flush(p.mountpoint, MOUNT_FLUSH_MS);
	status = session_call(o, &p, json_pack("{s:s, s:s}", "op", "export-pending", "folder", hex), &answer);
	return status != 0 ? status : tell_answer(answer, folder);
}

const struct command cmd_export_pending = {
	.name = "export-pending",
	.synopsis = "FOLDER [MOUNTPOINT]",
	.summary = "copy out what this device has and the store never got",
	.details = "Copies files and folders that are new or changed on this computer, or have new names, and are not in the store, to\n"
	    "FOLDER, which must be empty or new: under their paths, with modes, times and extended attributes.  Also when this\n"
	    "computer was removed from the vault, or its store is gone.  Nothing is changed in the vault.\n",
	.place = PLACE_NONE,
	.args_are = "a folder to copy to",
	.args_min = 1,
	.args_max = 2,
	.run = run,
};
