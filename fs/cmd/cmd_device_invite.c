/* snugfs device invite: a line that lets one computer in. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "handles.h"
#include "hex.h"
#include "invitation.h"
#include "qr.h"
#include "random.h"
#include "secmem.h"
#include "session.h"
#include "sync.h"
#include "tell.h"

#define EXPIRES_DEFAULT "1h"
#define EXPIRES_MAX_S (7 * 86400)

static const struct option_spec invite_options[] = {
	{ "name", "NAME", "what the new device is to be called (else it says so itself)" },
	{ "expires", "TIME", "how long it is good for, like 30m, 1h or 2d (" EXPIRES_DEFAULT " unless given; at most 7d)" },
	{ "with-credentials", NULL, "put the keys to the S3 store into it: whoever has it can read and delete the store's objects" },
	{ "no-qr", NULL, "no QR code" },
	{ "to-file", "FILE", "write it to a new file that only you can read, and show nothing" },
	{ NULL, NULL, NULL },
};

static int
read_expiry(const struct options *o, uint64_t *seconds_out)
{
	const char *text = options_get(o, "expires");
	unsigned long n, unit;
	char *end;

	if (text == NULL)
		text = EXPIRES_DEFAULT;
	n = strtoul(text, &end, 10);
	unit = *end == 's' ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : *end == 'd' ? 86400 : 0;
	if (end == text || unit == 0 || end[1] != '\0' || n == 0 || n > EXPIRES_MAX_S || n * unit > EXPIRES_MAX_S)
		return tell_usage("device invite", "\"%s\" is no time that an invitation can be good for: say something like 30m, 1h or "
		    "2d, at most 7d", text);
	*seconds_out = n * unit;
	return 0;
}

/* The keys to the store, sealed to the invitation; "": none. */
static err_t
open_keys(const struct identity *guest, const char *hex, struct invitation *inv)
{
	CLEANUP(bytes_clear) struct bytes sealed = { 0 };
	uint8_t *at;
	err_t err;

	if (hex == NULL)
		return -EBADMSG;
	if (hex[0] == '\0')
		return 0;
	if ((err = bytes_extend(&sealed, strlen(hex) / 2, &at)) != 0 || (err = hex_parse(hex, at, sealed.len)) != 0)
		return err;
	return invitation_open_credentials(inv->vault_id, guest, sealed.data, sealed.len, inv);
}

/* Everything but the secret, from who has the vault open. */
static int
fill(const struct options *o, const struct place *p, const struct identity *guest, struct invitation *inv)
{
	CLEANUP(handle_free_json) json_t *answer = NULL;
	const struct identity_public *pub = identity_public(guest);
	const char *name = options_get(o, "name"), *url;
	uint8_t sealed[INVITATION_SEALED_LEN];
	char sign[65], box[65];
	int status;

	hex_format(pub->sign, 32, sign);
	hex_format(pub->box, 32, box);
	status = session_call(o, p, json_pack("{s:s, s:s, s:I, s:s, s:s, s:b}", "op", "device-invite", "name",
	    name != NULL ? name : SYNC_INVITATION_UNNAMED, "expires_ns", (json_int_t)inv->expires_ns, "sign", sign, "box", box,
	    "credentials", options_get(o, "with-credentials") != NULL), &answer);
	if (status != 0)
		return status;
	url = json_string_value(json_object_get(answer, "remote"));
	inv->head_seq = (uint64_t)json_integer_value(json_object_get(answer, "seq"));
	if (hex_parse(json_string_value(json_object_get(answer, "hash")), inv->head_hash, 32) != 0 ||
	    hex_parse(json_string_value(json_object_get(answer, "vault")), inv->vault_id, 32) != 0 ||
	    hex_parse(json_string_value(json_object_get(answer, "link")), sealed, sizeof(sealed)) != 0 ||
	    invitation_open_link(inv->vault_id, guest, sealed, inv->link_secret) != 0 || url == NULL ||
	    open_keys(guest, json_string_value(json_object_get(answer, "credentials")), inv) != 0)
		return tell_failure("the answer of the daemon is not understood: is it of another version?");
	if (strlen(url) > INVITATION_URL_MAX)
		return tell_failure("the address of the store is too long for an invitation");
	snprintf(inv->url, sizeof(inv->url), "%s", url);
	return 0;
}

/* Unbuffered, so that it is in no memory of the C library. */
static err_t
write_text(int fd, const char *text)
{
	for (size_t len = strlen(text); len > 0;) {
		ssize_t n = write(fd, text, len);

		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/*
 * Before there is an invitation, which nobody would see if the file cannot be made.  It is not made yet, so that nothing is left of who
 * gives up while the passphrase is asked for, or the store.
 */
static int
check_path(const char *path)
{
	const char *slash = strrchr(path, '/');
	CLEANUP(free_ptr) char *dir = slash != NULL ? strndup(path, (size_t)(slash - path) + 1) : strdup(path[0] != '\0' ? "." : "");
	struct stat st;

	if (dir == NULL)
		return tell_failure("not enough memory");
	if (lstat(path, &st) == 0)
		return tell_failure("%s exists already: an invitation is never written over anything; choose another file", path);
	if (errno == ENOENT && access(dir, W_OK | X_OK) == 0)
		return 0;
	return tell_failure("the invitation cannot be written to %s: %s", path, tell_reason(-errno));
}

static int
to_file(const char *path, const char *token)
{
	CLEANUP(handle_close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	err_t err = fd < 0 ? -errno : write_text(fd, token);

	if (err == 0)
		err = write_text(fd, "\n");
	if (err == 0) {
		printf("The invitation is in %s.\n", path);
		return 0;
	}
	if (fd >= 0)
		(void)unlink(path);
	return tell_failure("the invitation cannot be written to %s (%s), and nobody has seen it: withdraw it with \"snugfs device remove\", "
	    "or let it expire", path, tell_reason(err));
}

/* The line is enough: a code only saves typing it. */
static bool
is_without_code(err_t err)
{
	return err == -E2BIG || err == -ELIBACC || err == -ELIBBAD;
}

static int
show(const struct options *o, const char *token)
{
	err_t err;

	printf("Whoever has this line can let one computer into the vault, once:\n\n");
	err = fflush(stdout) == 0 ? write_text(STDOUT_FILENO, token) : -errno;
	if (err == 0)
		err = write_text(STDOUT_FILENO, "\n\n");
	if (err == 0 && options_get(o, "no-qr") == NULL)
		err = qr_write(STDOUT_FILENO, token, isatty(STDOUT_FILENO) == 1);
	return err == 0 || is_without_code(err) ? 0 : tell_failure("the invitation cannot be shown: %s", tell_reason(err));
}

/* path: where to, or NULL. */
static int
give_out(const struct options *o, const struct place *p, struct invitation *inv, const char *path)
{
	CLEANUP(identity_free_ptr) struct identity *guest = NULL;
	char *token = NULL;
	err_t err;
	int status;

	if ((err = random_secret(inv->secret, sizeof(inv->secret))) != 0 || (err = identity_from_invitation(inv->secret, &guest)) != 0)
		return tell_failure("the invitation could not be made: %s", tell_reason(err));
	if ((status = fill(o, p, guest, inv)) != 0)
		return status;
	if ((err = invitation_format(inv, &token)) != 0)
		return tell_failure("the invitation could not be made: %s", tell_reason(err));
	status = path != NULL ? to_file(path, token) : show(o, token);
	secmem_free(token);
	return status;
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(secmem_free_ptr) struct invitation *inv = secmem_new(sizeof(*inv));
	const char *path = options_get(o, "to-file");
	uint64_t seconds = 0;
	char until[32];
	struct tm tm;
	time_t end;
	int status;

	if (inv == NULL)
		return tell_failure("not enough locked memory for a secret: raise the limit (ulimit -l)");
	if ((status = read_expiry(o, &seconds)) != 0 || (status = session_find_place(o, &p)) != 0)
		return status;
	end = time(NULL) + (time_t)seconds;
	inv->expires_ns = (uint64_t)end * 1000000000u;
	if ((path != NULL && (status = check_path(path)) != 0) || (status = give_out(o, &p, inv, path)) != 0)
		return status;
	if (localtime_r(&end, &tm) == NULL || strftime(until, sizeof(until), "%Y-%m-%d %H:%M", &tm) == 0)
		until[0] = '\0';
	printf("\nOn the other computer: snugfs join ~/Private\nIt is good until %s.\n", until);
	return 0;
}

const struct command cmd_device_invite = {
	.name = "device invite",
	.synopsis = "[MOUNTPOINT] [--name NAME] [--expires TIME] [--with-credentials] [--no-qr] [--to-file FILE]",
	.summary = "make a line that lets one computer in, once",
	.details = "Prints one line, and the same as a QR code.  On another computer \"snugfs join\" asks for it and makes that computer a\n"
	    "device of the vault.  It works once, and until it expires; \"snugfs device remove\" withdraws it.\n"
	    "Whoever has it can read the vault until then: give it to nobody else.\n"
	    "With --with-credentials the other computer needs no keys to the store of its own: it keeps those, sealed.\n"
	    "They are good for longer than the invitation, and whoever had it may know them.\n",
	.options = invite_options,
	.place = PLACE_OPTIONAL,
	.run = run,
};
