/* Which way into the device file, in which order, and what is wrong if none leads there. */
#include "unlocking.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "holder.h"
#include "identity.h"
#include "keyfile.h"
#include "secmem.h"
#include "securitykey.h"
#include "tell.h"
#include "vault.h"

const char *
unlocking_kind_name(uint64_t kind)
{
	switch (kind) {
	case SLOT_PLAIN:
		return "permissions alone";
	case SLOT_PASSPHRASE:
		return "passphrase";
	case SLOT_KEY_FILE:
		return "key-file";
	case SLOT_SECRET_SERVICE:
		return "secret-service";
	case SLOT_TPM:
		return "tpm";
	case SLOT_FIDO2:
		return "fido2";
	case SLOT_RECOVERY:
		return "recovery-key";
	default:
		return "unknown";
	}
}

/* The ways that there are, for a sentence: "tpm, key-file". */
static void
name_ways(const struct devicefile *df, char *out, size_t out_len)
{
	out[0] = '\0';
	for (size_t i = 0; i < devicefile_slot_count(df); i++) {
		const char *name = unlocking_kind_name(devicefile_slot_at(df, i).kind);
		size_t len = strlen(out);

		if (strstr(out, name) == NULL)
			snprintf(out + len, out_len - len, "%s%s", len > 0 ? ", " : "", name);
	}
}

static int
tell_no_such_way(const struct devicefile *df, const struct place *p, const char *what)
{
	char ways[256];

	name_ways(df, ways, sizeof(ways));
	return tell_failure("no %s unlocks the vault of %s; what does is %s: \"snugfs unlock-method add\" adds another way", what,
	    p->mountpoint, ways);
}

static int
tell_held(const struct place *p, char *why, err_t err)
{
	int status = tell_failure("the vault of %s cannot be unlocked: %s (the recovery key opens it in any case: "
	    "--with-recovery-key)", p->mountpoint, why != NULL ? why : tell_reason(err));

	free(why);
	return status;
}

/* Needed for all but permissions and the recovery key. */
static int
fetch_anchor(struct devicefile *df, const struct place *p)
{
	CLEANUP(key32_wipe) struct key32 value = { 0 };
	struct anchor_view anchor;
	char *why = NULL;
	err_t err;

	if (!devicefile_get_anchor(df, &anchor))
		return 0;
	err = holder_get(anchor.kind, anchor.place, anchor.place_len, NULL, value.b, &why);
	if (err == 0)
		err = devicefile_give_anchor(df, value.b);
	if (err == 0)
		return 0;
	return tell_held(p, why, err);
}

static int
by_recovery_key(const struct options *o, const struct place *p, struct devicefile *df)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	CLEANUP(identity_free_ptr) struct identity *recovery = NULL;
	int status = prompt_recovery_key(o, key.b);
	err_t err;

	if (status != 0)
		return status;
	err = identity_from_recovery_key(key.b, &recovery);
	if (err == 0)
		err = devicefile_open_recovery(df, recovery);
	if (err == -EKEYREJECTED)
		return tell_failure("this recovery key is not the one of the vault of %s: check both", p->mountpoint);
	if (err == -ENOENT)
		return tell_no_such_way(df, p, "recovery key");
	return err == 0 ? 0 : tell_vault_open(err, p->mountpoint, p->vault_dir);
}

static int
by_key_file(const struct place *p, const char *path, struct devicefile *df)
{
	CLEANUP(bytes_clear) struct bytes content = { 0 };
	int status = keyfile_read(path, &content);
	err_t err;

	if (status != 0)
		return status;
	err = devicefile_open_key_file(df, content.data, content.len);
	if (err == -EKEYREJECTED)
		return tell_failure("the key file %s is not the one that unlocks the vault of %s", path, p->mountpoint);
	if (err == -ENOENT)
		return tell_no_such_way(df, p, "key file");
	return err == 0 ? 0 : tell_vault_open(err, p->mountpoint, p->vault_dir);
}

static int
by_passphrase(const struct options *o, const struct place *p, struct devicefile *df)
{
	CLEANUP(secret_clear) struct secret passphrase = { 0 };
	int status;
	err_t err;

	if (!devicefile_has_slot(df, SLOT_PASSPHRASE))
		return tell_no_such_way(df, p, "passphrase");
	if ((status = prompt_passphrase(o, p->mountpoint, &passphrase)) != 0)
		return status;
	err = devicefile_open_passphrase(df, passphrase.text, passphrase.len);
	return err == 0 ? 0 : tell_vault_open(err, p->mountpoint, p->vault_dir);
}

/* One slot of the keyring or the TPM. */
static err_t
try_held(struct devicefile *df, size_t i, const struct holder_pin *pin, char **why_out)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	struct slot_view s = devicefile_slot_at(df, i);
	err_t err = holder_get((enum slot_kind)s.kind, s.params, s.params_len, pin, key.b, why_out);

	return err == 0 ? devicefile_open_held(df, i, key.b) : err;
}

static bool
is_held(const struct slot_view *s)
{
	return s->kind == SLOT_SECRET_SERVICE || s->kind == SLOT_TPM;
}

/* What nobody is asked for.  *why_out: why the first one did not; NULL if there is none. */
static err_t
by_itself(struct devicefile *df, char **why_out)
{
	err_t result = -ENOENT;

	for (size_t i = 0; i < devicefile_slot_count(df); i++) {
		struct slot_view s = devicefile_slot_at(df, i);
		char *why = NULL;
		err_t err;

		if (!is_held(&s) || holder_wants_pin((enum slot_kind)s.kind, s.params, s.params_len))
			continue;
		err = try_held(df, i, NULL, &why);
		if (err == 0 || result == -ENOENT) {
			free(*why_out);
			*why_out = why;
			result = err;
		} else {
			free(why);
		}
		if (err == 0)
			break;
	}
	return result;
}

static int
by_pin(const struct options *o, const struct place *p, struct devicefile *df)
{
	CLEANUP(secret_clear) struct secret pin = { 0 };
	struct holder_pin typed;
	char *why = NULL;
	err_t err = -ENOENT;
	int status = prompt_pin(o, p->mountpoint, &pin);

	if (status != 0)
		return status;
	typed = (struct holder_pin){ pin.text, pin.len };
	for (size_t i = 0; i < devicefile_slot_count(df) && err != 0; i++) {
		struct slot_view s = devicefile_slot_at(df, i);

		if (!is_held(&s) || !holder_wants_pin((enum slot_kind)s.kind, s.params, s.params_len))
			continue;
		free(why);
		why = NULL;
		err = try_held(df, i, &typed, &why);
	}
	if (err != 0)
		return tell_held(p, why, err);
	free(why);
	return 0;
}

static bool
has_pin_slot(const struct devicefile *df)
{
	for (size_t i = 0; i < devicefile_slot_count(df); i++) {
		struct slot_view s = devicefile_slot_at(df, i);

		if (is_held(&s) && holder_wants_pin((enum slot_kind)s.kind, s.params, s.params_len))
			return true;
	}
	return false;
}

static bool
is_asked_for(const struct devicefile *df)
{
	return devicefile_has_slot(df, SLOT_PASSPHRASE) || has_pin_slot(df);
}

static int
by_person(const struct options *o, const struct place *p, struct devicefile *df, char *why, err_t why_err)
{
	if (o->no_passphrase && why != NULL)
		return tell_held(p, why, why_err);
	free(why);
	if (o->no_passphrase)
		return tell_vault_open(-ENOKEY, p->mountpoint, p->vault_dir);
	if (devicefile_has_slot(df, SLOT_PASSPHRASE))
		return by_passphrase(o, p, df);
	if (has_pin_slot(df))
		return by_pin(o, p, df);
	if (devicefile_has_slot(df, SLOT_KEY_FILE))
		return tell_failure("the vault of %s is unlocked by a key file: give --key-file FILE", p->mountpoint);
	return tell_no_such_way(df, p, "passphrase");
}

static int
by_anything(const struct options *o, const struct place *p, struct devicefile *df)
{
	char *why = NULL;
	err_t err = by_itself(df, &why);
	bool is_last = o->no_passphrase || !(is_asked_for(df) || devicefile_has_slot(df, SLOT_KEY_FILE));
	bool opened = err == 0;
	int status = err == -EBADMSG ? tell_vault_open(err, p->mountpoint, p->vault_dir) : 0;

	if (status == 0 && !opened && devicefile_has_slot(df, SLOT_FIDO2))
		status = securitykey_open(o, p, df, is_last, &opened);
	if (status != 0 || opened) {
		free(why);
		return status;
	}
	if (why != NULL && !is_asked_for(df))
		return tell_held(p, why, err);
	return by_person(o, p, df, why, err);
}

/* What the options give is the passphrase if there is one, or else a PIN. */
static int
by_given(const struct options *o, const struct place *p, struct devicefile *df)
{
	bool opened;

	if (devicefile_has_slot(df, SLOT_PASSPHRASE))
		return by_passphrase(o, p, df);
	if (has_pin_slot(df))
		return by_pin(o, p, df);
	return devicefile_has_slot(df, SLOT_FIDO2) ? securitykey_open(o, p, df, true, &opened) : by_passphrase(o, p, df);
}

static int
open_file(const struct options *o, const struct place *p, struct devicefile *df)
{
	int status;

	if (o->with_recovery_key)
		return by_recovery_key(o, p, df);
	if (devicefile_has_slot(df, SLOT_PLAIN)) {
		err_t err = devicefile_open_plain(df);

		return err == 0 ? 0 : tell_vault_open(err, p->mountpoint, p->vault_dir);
	}
	if ((status = fetch_anchor(df, p)) != 0)
		return status;
	if (o->key_file != NULL)
		return by_key_file(p, o->key_file, df);
	if (o->passphrase_file != NULL || o->passphrase_command != NULL)
		return by_given(o, p, df);
	return by_anything(o, p, df);
}

int
unlocking_open(const struct options *o, const struct place *p, struct devicefile **out)
{
	CLEANUP(devicefile_free_ptr) struct devicefile *df = NULL;
	err_t err = vault_read_device_file(p->vault_dir, &df);
	int status;

	if (err != 0)
		return tell_vault_open(err, p->mountpoint, p->vault_dir);
	if ((status = open_file(o, p, df)) != 0)
		return status;
	*out = STEAL(df);
	return 0;
}

int
unlocking_open_by_passphrase(const struct options *o, const struct place *p, struct devicefile **out)
{
	CLEANUP(devicefile_free_ptr) struct devicefile *df = NULL;
	err_t err = vault_read_device_file(p->vault_dir, &df);
	int status;

	if (err != 0)
		return tell_vault_open(err, p->mountpoint, p->vault_dir);
	if ((status = fetch_anchor(df, p)) != 0 || (status = by_passphrase(o, p, df)) != 0)
		return status;
	*out = STEAL(df);
	return 0;
}
