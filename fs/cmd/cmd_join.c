/* snugfs join: makes this computer a device of a vault that exists, by an invitation or with its recovery key. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "commands.h"
#include "create.h"
#include "err.h"
#include "invited.h"
#include "secmem.h"
#include "store.h"
#include "sync.h"
#include "tell.h"

static int
tell_join(err_t err, char *why, const struct place *p, const char *remote)
{
	if (why != NULL)
		return tell_why(why, remote, err);
	if (err == -EEXIST || err == -ENOTEMPTY)
		return tell_vault_make(err, p->vault_dir);
	return tell_sync(err, remote, NULL);
}

static int
join(const struct options *o, const struct place *p, struct store *store, const char *remote)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	CLEANUP(secret_clear) struct secret passphrase = { 0 };
	char device_name[TRUST_NAME_MAX + 1];
	struct vault_create_params params = {
		.dir = p->vault_dir,
		.device_name = device_name,
		.remote_url = remote,
		.root_uid = geteuid(),
		.root_gid = getegid(),
	};
	char *why = NULL;
	err_t err;
	int status;

	if ((status = prompt_recovery_key(o, key.b)) != 0 ||
	    (status = prompt_new_passphrase(o, p->mountpoint, &passphrase)) != 0 ||
	    (status = place_make_mountpoint(p)) != 0)
		return status;
	create_device_name(o, device_name);
	params.lock = create_lock(&passphrase);
	err = sync_join(&params, store, key.b, &why);
	return err != 0 ? tell_join(err, why, p, remote) : place_remember(p, remote);
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(free_ptr) char *remote = NULL;
	CLEANUP(store_free_ptr) struct store *store = NULL;
	char *why = NULL;
	err_t err;
	int status;

	if (o->remote == NULL || options_get(o, "invitation-file") != NULL)
		return invited_join(o);
	if ((status = create_remote_url(o, &remote)) != 0 || (status = create_check_device_name(o)) != 0 ||
	    (status = place_find(o, &p)) != 0)
		return status;
	if (p.exists)
		return tell_failure("there is a vault for %s already, in %s: open it with \"snugfs mount %s\"", p.mountpoint,
		    p.vault_dir, p.mountpoint);
	if ((status = place_check_apart(&p, remote)) != 0)
		return status;
	if ((err = store_open(remote, false, &store, &why)) != 0)
		return tell_why(why, remote, err);
	if ((status = join(o, &p, store, remote)) != 0)
		return status;
	printf("This computer is a device of the vault now.\nOpen it with: snugfs mount %s\n", p.mountpoint);
	return 0;
}

static const struct option_spec join_options[] = {
	{ "invitation-file", "FILE", "the invitation is the first line of FILE" },
	{ NULL, NULL, NULL },
};

const struct command cmd_join = {
	.name = "join",
	.synopsis = "MOUNTPOINT [--invitation-file FILE] [--remote URL]",
	.summary = "make this computer a device of an existing vault (by an invitation, or with its recovery key)",
	.details = "Asks for an invitation, which \"snugfs device invite\" makes on a computer that is in, and makes this computer one of\n"
	    "the vault's devices; then \"snugfs mount\" opens it.  With --remote it asks for the recovery key instead.\n"
	    "\n"
	    "  --remote URL              the store: dir:/path, a plain path, or s3:https://host/bucket; with an\n"
	    "                            invitation: how this computer reaches it\n",
	.accepts = ACCEPT_REMOTE,
	.options = join_options,
	.place = PLACE_REQUIRED,
	.run = run,
};
