/* snugfs sync: push and pull now, through the daemon if the folder is mounted, else here. */
#include <errno.h>
#include <stdio.h>

#include "commands.h"
#include "create.h"
#include "drain.h"
#include "err.h"
#include "mounting.h"
#include "mountstate.h"
#include "opening.h"
#include "tell.h"

static int
tell_no_store(const struct place *p)
{
	return tell_failure("%s has no store to sync with: give it one with \"snugfs up %s --remote URL\"", p->mountpoint,
	    p->mountpoint);
}

static int
sync_unmounted(const struct options *o, const struct place *p)
{
	CLEANUP(secret_clear) struct secret passphrase = { NULL, 0 };
	struct vault_unlock lock;
	struct vault *v = NULL;
	err_t err;
	int status = mounting_unlock(o, p, &passphrase);

	if (status != 0)
		return status;
	lock = create_lock(&passphrase);
	err = opening_vault(p->vault_dir, &lock, &v);
	if (err != 0)
		return tell_vault_open(err, p->mountpoint, p->vault_dir);
	status = v->remote_url != NULL ? drain_vault(v) : tell_no_store(p);
	err = vault_close(v);
	if (status == 0 && err != 0)
		status = tell_failure("what came from the store could not be saved in %s: %s", p->vault_dir, tell_reason(err));
	return status;
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	int status = place_find_existing(o, &p);

	if (status != 0)
		return status;
	status = mountstate_get(p.mountpoint) == MOUNT_OURS ? drain_mounted(&p) : sync_unmounted(o, &p);
	if (status == 0)
		printf("The store has everything.\n");
	return status;
}

const struct command cmd_sync = {
	.name = "sync",
	.synopsis = "MOUNTPOINT",
	.summary = "push and pull now; returns when the store has everything",
	.details = "Exchanges changes with the store, whether MOUNTPOINT is mounted or not, and returns when the store\n"
	    "has everything.  A mounted folder syncs by itself, too.\n",
	.place = PLACE_REQUIRED,
	.run = run,
};
