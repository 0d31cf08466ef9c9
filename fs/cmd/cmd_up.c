/* snugfs up: from nothing, or from whatever there is, to a mounted folder. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "create.h"
#include "err.h"
#include "handles.h"
#include "human.h"
#include "mounting.h"
#include "mountstate.h"
#include "session.h"
#include "tell.h"

static int
open_existing(const struct options *o, const struct place *p, const char *remote)
{
	CLEANUP(secret_clear) struct secret passphrase = { 0 };
	int status;

	if ((status = place_check_apart(p, remote)) != 0 || (status = place_make_mountpoint(p)) != 0 ||
	    (status = mounting_check(o, p)) != 0 || (status = mounting_unlock(o, p, &passphrase)) != 0)
		return status;
	return mounting_serve(o, p, &passphrase, remote, true);
}

static int
open_new(const struct options *o, struct place *p, const char *remote)
{
	CLEANUP(secret_clear) struct secret passphrase = { 0 };
	bool was_there = access(p->mountpoint, F_OK) == 0;
	int status;

	if ((status = place_check_apart(p, remote)) != 0 || (status = place_make_mountpoint(p)) != 0)
		return status;
	if ((status = mounting_check(o, p)) != 0 || (status = create_vault(o, p, remote, &passphrase)) != 0) {
		if (!was_there && !p->exists)
			(void)rmdir(p->mountpoint); /* nothing was made */
		return status;
	}
	printf("\n");
	return mounting_serve(o, p, &passphrase, remote, true);
}

/* Of a folder that is mounted: somebody who names another store than it has must not believe that it goes there now. */
static int
check_store(const struct options *o, const struct place *p, const char *remote)
{
	CLEANUP(handle_free_json) json_t *answer = NULL;
	CLEANUP(handle_free_json) json_t *meant = NULL; /* as the answer would say it */
	const char *url;
	int status;

	if (remote == NULL)
		return 0;
	if ((meant = human_path(remote)) == NULL)
		return tell_failure("not enough memory");
	human_tame_json(meant);
	if ((status = session_call(o, p, json_pack("{s:s}", "op", "status"), &answer)) != 0)
		return status;
	url = json_string_value(json_object_get(answer, "remote"));
	if (url == NULL)
		return tell_failure("%s is mounted already, without a store: unmount it, then say this again", p->mountpoint);
	return strcmp(url, json_string_value(meant)) == 0 ? 0 :
	    tell_failure("%s is mounted already, and its store is %s: to go over to another, unmount it, then say \"snugfs remote "
	    "set %s %s\"", p->mountpoint, url, p->mountpoint, remote);
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(free_ptr) char *remote = NULL;
	struct mounting_settings settings = { 0 };
	int status;

	if ((status = mounting_read_settings(o, &settings)) != 0)
		return status;
	if ((status = create_remote_url(o, &remote)) != 0 || (status = create_check_device_name(o)) != 0 ||
	    (status = place_find(o, &p)) != 0)
		return status;
	if (p.exists && mountstate_get(p.mountpoint) == MOUNT_OURS) {
		if ((status = check_store(o, &p, remote)) != 0)
			return status;
		printf("%s is mounted already.\n", p.mountpoint);
		return mounting_change_settings(o, &p, &settings);
	}
	return p.exists ? open_existing(o, &p, remote) : open_new(o, &p, remote);
}

static const struct option_spec own[] = {
	MOUNTING_OPTIONS,
	{ NULL, NULL, NULL },
};

const struct command cmd_up = {
	.name = "up",
	.synopsis = "MOUNTPOINT [--remote URL] [--cache-size SIZE] [--up-limit RATE] [--down-limit RATE] [-o OPTIONS] [-f]",
	.summary = "open the encrypted folder MOUNTPOINT; make it first if there is none",
	.details = "Makes the vault of MOUNTPOINT if there is none and prints its recovery key, once; then mounts it\n"
	    "in the background and says what was done.  A folder that is mounted already stays as it is, with its\n"
	    "store: another one that is given then is an error.\n"
	    "\n"
	    "  --remote URL              where the ciphertext is copied to: dir:/path, a plain path,\n"
	    "                            or s3:https://host/bucket;\n"
	    "                            without it all works locally, and can be given later\n"
	    "  -o OPTIONS                mount options, as for \"snugfs mount\"\n"
	    "  -f                        stay in the foreground\n",
	.options = own,
	.accepts = ACCEPT_REMOTE | ACCEPT_MOUNT_OPTIONS | ACCEPT_FOREGROUND,
	.place = PLACE_REQUIRED,
	.daemonizes = true,
	.run = run,
};
