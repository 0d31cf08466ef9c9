/* invited.c: from a line that somebody sent to a vault. */
#include "invited.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "create.h"
#include "invitation.h"
#include "place.h"
#include "prompt.h"
#include "secmem.h"
#include "store.h"
#include "sync.h"
#include "tell.h"
#include "terminal.h"

_Static_assert(SECRET_LINE_MAX >= INVITATION_TEXT_MAX, "every invitation can be read");

static int
tell_token(err_t err)
{
	switch (-err) {
	case EBADMSG:
		return tell_failure("the invitation is mistyped, or not all of it is there: copy the whole line");
	case EPROTO:
		return tell_failure("the invitation is of another version of this program: update it");
	case EINVAL:
		return tell_failure("this is not an invitation: it is one line that begins with SNUGFS1-, made by \"snugfs device invite\"");
	default:
		return tell_failure("the invitation cannot be read: %s", tell_reason(err));
	}
}

static int
read_invitation(const struct options *o, struct invitation **out)
{
	CLEANUP(secret_clear) struct secret text = { 0 };
	int status = prompt_invitation(options_get(o, "invitation-file"), &text);
	err_t err;

	if (status != 0)
		return status;
	err = invitation_parse(text.text, out);
	return err != 0 ? tell_token(err) : 0;
}

/* --remote says how this computer reaches the store, if that is not the way of the one that invited it. */
static int
choose_remote(const struct options *o, const struct invitation *inv, char **out)
{
	CLEANUP(free_ptr) char *why = NULL;

	if (o->remote != NULL)
		return create_remote_url(o, out);
	if (store_url_normalize(inv->url, out, &why) == 0)
		return 0;
	return tell_failure("the invitation has an address of a store that this program does not know: is it of another version?");
}

static int
open_store(const struct invitation *inv, const char *remote, struct store **out)
{
	const struct store_credentials credentials = { inv->access_key, inv->secret_key,
		inv->session_token[0] != '\0' ? inv->session_token : NULL };
	const struct store_options options = { .credentials = inv->access_key[0] != '\0' ? &credentials : NULL };
	char *why = NULL;
	err_t err = store_open_with(remote, false, &options, out, &why);

	return err != 0 ? tell_why(why, remote, err) : 0;
}

static int
join(const struct options *o, const struct place *p, struct store *store, const char *remote, const struct invitation *inv)
{
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

	if ((status = prompt_new_passphrase(o, p->mountpoint, &passphrase)) != 0 || (status = place_make_mountpoint(p)) != 0)
		return status;
	create_device_name(o, device_name);
	params.lock = create_lock(&passphrase);
	err = sync_join_invited(&params, store, inv, o->device_name != NULL, &why);
	return err != 0 ? tell_why(why, remote, err) : place_remember(p, remote);
}

int
invited_join(const struct options *o)
{
	CLEANUP(secmem_free_ptr) struct invitation *inv = NULL;
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(free_ptr) char *remote = NULL;
	CLEANUP(store_free_ptr) struct store *store = NULL;
	int status;

	if ((status = create_check_device_name(o)) != 0 || (status = place_find(o, &p)) != 0)
		return status;
	if (p.exists)
		return tell_failure("there is a vault for %s already, in %s: open it with \"snugfs mount %s\"", p.mountpoint,
		    p.vault_dir, p.mountpoint);
	if ((status = read_invitation(o, &inv)) != 0 || (status = choose_remote(o, inv, &remote)) != 0 ||
	    (status = place_check_apart(&p, remote)) != 0 || (status = open_store(inv, remote, &store)) != 0 ||
	    (status = join(o, &p, store, remote, inv)) != 0)
		return status;
	printf("This computer is a device of the vault now.\nOpen it with: snugfs mount %s\n", p.mountpoint);
	return 0;
}
