/* invited.c: from a line that somebody sent to a vault. */
#include "invited.h"

#include <errno.h>

#include "create.h"
#include "invitation.h"
#include "joining.h"
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
open_store(struct joining *j, const struct invitation *inv, char *remote)
{
	const struct store_credentials credentials = { inv->access_key, inv->secret_key,
		inv->session_token[0] != '\0' ? inv->session_token : NULL };

	return joining_open_store(j, remote, inv->access_key[0] != '\0' ? &credentials : NULL);
}

int
invited_join(const struct options *o)
{
	CLEANUP(secmem_free_ptr) struct invitation *inv = NULL;
	CLEANUP(joining_clear) struct joining j = { 0 };
	char *remote = NULL, *why = NULL;
	err_t err;
	int status;

	if ((status = joining_begin(o, &j)) != 0 || (status = read_invitation(o, &inv)) != 0 ||
	    (status = choose_remote(o, inv, &remote)) != 0 || (status = open_store(&j, inv, remote)) != 0 ||
	    (status = joining_prepare(o, &j)) != 0)
		return status;
	err = sync_join_invited(&j.params, j.store, inv, o->device_name != NULL, &why);
	return joining_finish(&j, err, why);
}
