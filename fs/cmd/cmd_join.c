/* snugfs join: makes this computer a device of a vault that exists, with its recovery key. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "commands.h"
#include "create.h"
#include "err.h"
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

	if (o->remote == NULL)
		return tell_usage("join", "the command join wants the address of the store: --remote URL");
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

const struct command cmd_join = {
	.name = "join",
	.synopsis = "MOUNTPOINT --remote URL",
	.summary = "make this computer a device of an existing vault (with its recovery key)",
	.details = "Asks for the recovery key of the vault in the store and makes this computer one of its devices; then\n"
	    "\"snugfs mount\" opens it.\n"
	    "\n"
	    "  --remote URL              the store: dir:/path, a plain path, or s3:https://host/bucket\n",
	.accepts = ACCEPT_REMOTE,
	.place = PLACE_REQUIRED,
	.run = run,
};
