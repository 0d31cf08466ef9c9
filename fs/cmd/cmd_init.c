/* snugfs init: makes a vault and claims its store; mounts nothing. */
#include <stdio.h>

#include "commands.h"
#include "create.h"
#include "err.h"
#include "handles.h"
#include "session.h"
#include "tell.h"

/* The first push: from here on the store is this vault's. */
static int
claim_store(const struct place *p, const struct secret *passphrase)
{
	CLEANUP(handle_free_json) json_t *answer = NULL;

	return session_call_here(passphrase, p, json_pack("{s:s}", "op", "sync"), &answer);
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(free_ptr) char *remote = NULL;
	CLEANUP(secret_clear) struct secret passphrase = { 0 };
	int status;

	if ((status = create_remote_url(o, &remote)) != 0 || (status = create_check_device_name(o)) != 0 ||
	    (status = place_find(o, &p)) != 0)
		return status;
	if (p.exists)
		return tell_failure("there is a vault for %s already, in %s: open it with \"snugfs mount %s\"", p.mountpoint,
		    p.vault_dir, p.mountpoint);
	if ((status = create_vault(o, &p, remote, &passphrase)) != 0)
		return status;
	if (remote != NULL && (status = claim_store(&p, &passphrase)) != 0)
		return status;
	printf("\nThe vault is made, in %s.\nOpen it with: snugfs mount %s\n", p.vault_dir, p.mountpoint);
	return 0;
}

const struct command cmd_init = {
	.name = "init",
	.synopsis = "MOUNTPOINT [--remote URL]",
	.summary = "make the vault of MOUNTPOINT, and print its recovery key, once",
	.details = "Makes a vault that \"snugfs mount\" opens, and prints its recovery key, once.\n"
	    "\n"
	    "  --remote URL              where the ciphertext is copied to: dir:/path, a plain path,\n"
	    "                            or s3:https://host/bucket\n",
	.accepts = ACCEPT_REMOTE,
	.place = PLACE_REQUIRED,
	.run = run,
};
