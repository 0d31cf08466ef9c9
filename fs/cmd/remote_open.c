/* Keys from a terminal or a file, and a store with them. */
#include "remote_open.h"

#include <errno.h>
#include <fcntl.h>

#include "handles.h"
#include "secmem.h"
#include "tell.h"
#include "terminal.h"

_Static_assert(CREDENTIAL_MAX >= SECRET_LINE_MAX, "a line fits");

const struct option_spec remote_keys_options[] = {
	{ "credentials-file", "FILE", "the keys to the service: the access key in its first line, the secret key\n"
	    "in the second, a session token in the third if there is one" },
	{ "ask-credentials", NULL, "ask for them; else they are looked for in the usual places" },
	{ 0 },
};

void
remote_keys_clear(struct remote_keys *k)
{
	secmem_free(k->given);
	k->given = NULL;
}

static int
read_file(const char *path, struct credentials *c)
{
	CLEANUP(handle_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len;
	err_t err;

	if (fd < 0)
		return tell_failure("%s cannot be read: %s", path, tell_reason(-errno));
	if ((err = terminal_read_line(fd, c->access_key, &len)) != 0 || (err = terminal_read_line(fd, c->secret_key, &len)) != 0 ||
	    len == 0)
		return tell_failure("%s must have the access key in its first line and the secret key in the second", path);
	err = terminal_read_line(fd, c->session_token, &len);
	if (err != 0 && err != -ENODATA)
		return tell_failure("the third line of %s, the session token, cannot be read: %s", path, tell_reason(err));
	return 0;
}

static int
ask(struct credentials *c)
{
	size_t len;
	err_t err;

	if ((err = terminal_ask("Access key: ", c->access_key, &len)) != 0 ||
	    (err = terminal_ask("Secret key: ", c->secret_key, &len)) != 0)
		return tell_failure("the keys could not be asked for: %s", err == -ENXIO ? "there is no terminal; use --credentials-file" :
		    tell_reason(err));
	return 0;
}

int
remote_keys_read(const struct options *o, const char *command, struct remote_keys *out)
{
	CLEANUP(remote_keys_clear) struct remote_keys keys = { 0 };
	const char *path = options_get(o, "credentials-file");
	bool asked = options_get(o, "ask-credentials") != NULL;
	int status;

	if (path != NULL && asked)
		return tell_usage(command, "--credentials-file and --ask-credentials exclude each other");
	if (path == NULL && !asked)
		return 0;
	if ((keys.given = secmem_new(sizeof(*keys.given))) == NULL)
		return tell_failure("not enough memory");
	if ((status = path != NULL ? read_file(path, keys.given) : ask(keys.given)) != 0)
		return status;
	out->given = STEAL(keys.given);
	return 0;
}

int
remote_open(const char *url, bool create, const struct remote_keys *keys, struct store **out)
{
	struct store_credentials credentials = { 0 };
	struct store_options options = { 0 };
	CLEANUP(free_ptr) char *why = NULL;
	err_t err;

	if (keys->given != NULL) {
		credentials = (struct store_credentials){ keys->given->access_key, keys->given->secret_key,
			keys->given->session_token[0] != '\0' ? keys->given->session_token : NULL };
		options.credentials = &credentials;
	}
	err = store_open_with(url, create, &options, out, &why);
	/* A URL that is none may have a password in it: the sentence knows what may be shown. */
	return err == 0 ? 0 : tell_why(STEAL(why), "the store", err);
}
