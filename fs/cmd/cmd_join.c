/* snugfs join: makes this computer a device of a vault that exists, by an invitation or with its recovery key. */
#include "commands.h"
#include "create.h"
#include "invited.h"
#include "joining.h"
#include "secmem.h"
#include "sync.h"

static int
run(struct options *o)
{
	CLEANUP(joining_clear) struct joining j = { 0 };
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	char *remote = NULL, *why = NULL;
	err_t err;
	int status;

	if (o->remote == NULL || options_get(o, "invitation-file") != NULL)
		return invited_join(o);
	if ((status = joining_begin(o, &j)) != 0 || (status = create_remote_url(o, &remote)) != 0 ||
	    (status = joining_open_store(&j, remote, NULL)) != 0 || (status = prompt_recovery_key(o, key.b)) != 0 ||
	    (status = joining_prepare(o, &j)) != 0)
		return status;
	err = sync_join(&j.params, j.store, key.b, &why);
	return joining_finish(&j, err, why);
}

static const struct option_spec join_options[] = {
	{ "invitation-file", "FILE", "the invitation is the first line of FILE" },
	{ "credentials-file", "FILE", "the keys to the store: the access key in its first line, the secret key\n"
	    "in the second, a session token in the third if there is one; they are kept in the vault" },
	{ "ask-credentials", NULL, "ask for them; else they are in the invitation, or in the usual places" },
	{ NULL, NULL, NULL },
};

const struct command cmd_join = {
	.name = "join",
	.synopsis = "MOUNTPOINT [--invitation-file FILE] [--remote URL] [--credentials-file FILE | --ask-credentials]",
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
