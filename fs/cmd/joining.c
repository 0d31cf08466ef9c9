/* joining.c: a place, a store, a passphrase; then the vault is remembered. */
#include "joining.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "create.h"
#include "tell.h"

void
joining_clear(struct joining *j)
{
	place_clear(&j->place);
	free(j->remote);
	remote_keys_clear(&j->keys);
	store_free(j->store);
	secret_clear(&j->passphrase);
}

int
joining_begin(const struct options *o, struct joining *j)
{
	const struct place *p = &j->place;
	int status;

	if ((status = create_check_device_name(o)) != 0 || (status = remote_keys_read(o, "join", &j->keys)) != 0 ||
	    (status = place_find(o, &j->place)) != 0)
		return status;
	return !p->exists ? 0 : tell_failure("there is a vault for %s already, in %s: open it with \"snugfs mount %s\"", p->mountpoint,
	    p->vault_dir, p->mountpoint);
}

int
joining_open_store(struct joining *j, char *remote, const struct store_credentials *invited)
{
	const struct credentials *given = j->keys.given;
	struct store_credentials credentials;
	struct store_options options = { .credentials = invited };
	char *why = NULL;
	err_t err;
	int status;

	j->remote = remote;
	if ((status = place_check_apart(&j->place, remote)) != 0)
		return status;
	if (given != NULL) {
		credentials = (struct store_credentials){ given->access_key, given->secret_key,
			given->session_token[0] != '\0' ? given->session_token : NULL };
		options.credentials = &credentials;
	}
	err = store_open_with(remote, false, &options, &j->store, &why);
	return err != 0 ? tell_why(why, remote, err) : 0;
}

int
joining_prepare(const struct options *o, struct joining *j)
{
	int status = prompt_new_passphrase(o, j->place.mountpoint, &j->passphrase);

	if (status != 0 || (status = place_make_mountpoint(&j->place)) != 0)
		return status;
	create_device_name(o, j->device_name);
	j->params = (struct vault_create_params){
		.dir = j->place.vault_dir,
		.device_name = j->device_name,
		.remote_url = j->remote,
		.credentials = j->keys.given,
		.root_uid = geteuid(),
		.root_gid = getegid(),
		.lock = create_lock(&j->passphrase),
	};
	return 0;
}

static int
tell_join(const struct joining *j, err_t err, char *why)
{
	if (why != NULL)
		return tell_why(why, j->remote, err);
	if (err == -EEXIST || err == -ENOTEMPTY || err == -ESOCKTNOSUPPORT || err == -ENOKEY)
		return tell_vault_make(err, j->place.vault_dir);
	return tell_sync(err, j->remote, NULL);
}

int
joining_finish(const struct joining *j, err_t err, char *why)
{
	int status = err != 0 ? tell_join(j, err, why) : place_remember(&j->place, j->remote);

	if (status == 0)
		printf("This computer is a device of the vault now.\nOpen it with: snugfs mount %s\n", j->place.mountpoint);
	return status;
}
