/* Which security key, its PIN, and when to touch it. */
#include "securitykey.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fido2.h"
#include "notify.h"
#include "prompt.h"
#include "secmem.h"
#include "tell.h"

/* In the process that talks to the key.  Where nobody may see standard error (a service, an autostart) the desktop is told, too. */
static void
say_touch(void)
{
	fprintf(stderr, "Touch the security key now.\n");
	if (!isatty(STDERR_FILENO))
		notify_run("notice", "Touch the security key now.");
}

static void
output_wipe(uint8_t (*output)[FIDO2_OUTPUT_LEN])
{
	secmem_wipe(*output, sizeof(*output));
}

/* add */

static int
tell_several(const struct fido2_key *keys, size_t count)
{
	char all[4 * FIDO2_PATH_MAX] = "";

	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(all);

		snprintf(all + len, sizeof(all) - len, "%s%s%s%s%s", i > 0 ? ", " : "", keys[i].path, keys[i].name[0] != '\0' ? " (" : "",
		    keys[i].name, keys[i].name[0] != '\0' ? ")" : "");
	}
	return tell_failure("several security keys are plugged in: %s; name one with --security-key, or pull the others out", all);
}

static int
choose_key(const struct method *m, struct fido2_key *out)
{
	struct fido2_key keys[FIDO2_KEYS_MAX];
	const char *path = options_get(m->o, "security-key");
	size_t count;
	char *why;
	err_t err = fido2_list(path, keys, &count, &why);

	if (err != 0)
		return tell_why(why, "the security key", err);
	if (count > 1)
		return tell_several(keys, count);
	if (!keys[0].makes_secrets)
		return tell_failure("the security key at %s makes no secrets (it lacks the extension hmac-secret), so it cannot unlock "
		    "anything: use another one", keys[0].path);
	if (!keys[0].has_pin && options_get(m->o, "pin") != NULL)
		return tell_failure("the security key at %s has no PIN: give it one (fido2-token -S %s) and try again", keys[0].path, keys[0].path);
	*out = keys[0];
	return 0;
}

static int
make_slot(const struct method *m, const struct fido2_key *key, struct fido2_slot *slot_out, uint8_t output_out[static FIDO2_OUTPUT_LEN])
{
	CLEANUP(secret_clear) struct secret pin = { 0 };
	struct fido2_ask ask = { .path = key->path, .touch = say_touch };
	char *why;
	err_t err;
	int status = key->has_pin ? prompt_key_pin(options_get(m->o, "new-passphrase-file"),
	    options_get(m->o, "new-passphrase-command"), m->p.mountpoint, &pin) : 0;

	if (status != 0)
		return status;
	if (key->has_pin && pin.len == 0)
		return tell_failure("no PIN was given, and the security key at %s has one: nothing was changed", key->path);
	ask.pin = pin.text;
	err = fido2_make(&ask, devicefile_vault_id(m->df), slot_out, output_out, &why);
	return err == 0 ? 0 : tell_why(why, "the security key", err);
}

int
securitykey_add(struct method *m)
{
	CLEANUP(output_wipe) uint8_t output[FIDO2_OUTPUT_LEN] = { 0 };
	struct fido2_slot slot;
	struct fido2_key key;
	struct slot_tag tag;
	err_t err;
	int status;

	if ((status = method_tag(m, &tag)) != 0 || (status = choose_key(m, &key)) != 0 || (status = make_slot(m, &key, &slot, output)) != 0)
		return status;
	if ((err = devicefile_add_fido2(m->df, &tag, &slot, output)) != 0)
		return tell_failure("the security key could not be added: %s", tell_reason(err));
	if ((status = method_save(m)) != 0)
		return status;
	if (!slot.with_pin)
		printf("The security key has no PIN: who has it and this computer can unlock %s.\n", m->p.mountpoint);
	return 0;
}

/* open */

/* The slots of security keys, and where they are in the file. */
struct known {
	struct fido2_slot slots[DEVICEFILE_MAX_SLOTS];
	size_t places[DEVICEFILE_MAX_SLOTS];
	size_t count;
};

/* What another version wrote, and we cannot read, is passed over. */
static void
collect(const struct devicefile *df, struct known *out)
{
	out->count = 0;
	for (size_t i = 0; i < devicefile_slot_count(df); i++)
		if (devicefile_get_fido2(df, i, &out->slots[out->count]) == 0)
			out->places[out->count++] = i;
}

/* Says why the key does not open it.  0: something else may. */
static int
go_on(const struct place *p, bool is_last, char *why, err_t err)
{
	const char *reason = why != NULL ? why : tell_reason(err);

	if (is_last)
		(void)tell_failure("the vault of %s cannot be unlocked: %s (the recovery key opens it in any case: --with-recovery-key)",
		    p->mountpoint, reason);
	else
		(void)tell_failure("%s; what else unlocks %s is tried", reason, p->mountpoint);
	free(why);
	return is_last ? EXIT_TOLD : 0;
}

/* 0 and nothing in *out: it goes on without the key. */
static int
ask_pin(const struct options *o, const struct place *p, bool is_last, struct secret *out)
{
	int status;

	if (o->no_passphrase || (!is_last && !isatty(STDIN_FILENO)))
		return go_on(p, is_last, strdup("the security key wants its PIN, for which nobody can be asked here"), -ENOKEY);
	status = prompt_key_pin(o->passphrase_file, o->passphrase_command, p->mountpoint, out);
	if (status != 0 || out->len > 0)
		return status;
	secret_clear(out);
	return go_on(p, is_last, strdup("no PIN of the security key was given"), -ENOKEY);
}

static int
open_with(const struct place *p, struct devicefile *df, size_t i, const struct fido2_ask *ask, const struct fido2_slot *slot, bool is_last,
    bool *opened_out)
{
	CLEANUP(output_wipe) uint8_t output[FIDO2_OUTPUT_LEN] = { 0 };
	char *why;
	err_t err = fido2_get(ask, slot, output, &why);

	if (err == -EKEYREJECTED)
		return tell_why(why, p->mountpoint, err);
	if (err != 0)
		return go_on(p, is_last, why, err);
	err = devicefile_open_fido2(df, i, output);
	if (err == -EKEYREJECTED)
		return go_on(p, is_last, strdup("the security key makes another secret than it did: it was reset"), err);
	*opened_out = err == 0;
	return err == 0 ? 0 : tell_vault_open(err, p->mountpoint, p->vault_dir);
}

int
securitykey_open(const struct options *o, const struct place *p, struct devicefile *df, bool is_last, bool *opened_out)
{
	CLEANUP(secret_clear) struct secret pin = { 0 };
	struct fido2_match match;
	struct fido2_ask ask = { .path = match.path, .touch = say_touch };
	struct known known;
	char *why;
	err_t err;
	int status;

	*opened_out = false;
	collect(df, &known);
	if ((err = fido2_find(known.slots, known.count, &match, &why)) != 0)
		return go_on(p, is_last, why, err);
	if (known.slots[match.slot].with_pin) {
		status = ask_pin(o, p, is_last, &pin);
		if (status != 0 || pin.text == NULL)
			return status;
		ask.pin = pin.text;
	}
	return open_with(p, df, known.places[match.slot], &ask, &known.slots[match.slot], is_last, opened_out);
}
