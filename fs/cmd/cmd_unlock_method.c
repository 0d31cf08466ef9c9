/* snugfs unlock-method: the ways to unlock a vault on this computer. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "commands.h"
#include "handles.h"
#include "hex.h"
#include "holder.h"
#include "keyfile.h"
#include "method.h"
#include "securitykey.h"
#include "session.h"
#include "tell.h"
#include "unlocking.h"
#include "vault.h"

#define ID_TEXT_LEN (2 * SLOT_ID_LEN)

static void
format_id(const struct slot_tag *tag, char out[static ID_TEXT_LEN + 1])
{
	hex_format(tag->id, SLOT_ID_LEN, out);
}

static void
format_time(uint64_t s, char *out, size_t out_len)
{
	struct tm tm;
	time_t t = (time_t)s;

	if (s == 0 || localtime_r(&t, &tm) == NULL || strftime(out, out_len, "%Y-%m-%d %H:%M", &tm) == 0)
		snprintf(out, out_len, "-");
}

static bool
wants_pin(const struct devicefile *df, size_t i)
{
	struct slot_view s = devicefile_slot_at(df, i);
	struct fido2_slot key;

	if (s.kind == SLOT_FIDO2)
		return devicefile_get_fido2(df, i, &key) == 0 && key.with_pin;
	return s.kind == SLOT_TPM && holder_wants_pin(SLOT_TPM, s.params, s.params_len);
}

/* list */

static void
print_slots(const struct devicefile *df)
{
	struct anchor_view anchor;

	printf("%-16s  %-32s  %-16s  %s\n", "id", "what unlocks", "since", "label");
	for (size_t i = 0; i < devicefile_slot_count(df); i++) {
		struct slot_view s = devicefile_slot_at(df, i);
		char id[ID_TEXT_LEN + 1], since[32], what[64];

		format_id(s.tag, id);
		format_time(s.tag->created_s, since, sizeof(since));
		snprintf(what, sizeof(what), "%s%s", unlocking_kind_name(s.kind), wants_pin(df, i) ? " with a PIN" : "");
		printf("%-16s  %-32s  %-16s  %s\n", id, what, since, s.tag->label);
	}
	if (devicefile_get_anchor(df, &anchor))
		printf("All but the recovery key and permissions need %s of this computer, too, which makes old copies useless.\n",
		    anchor.kind == SLOT_TPM ? "the TPM" : "the keyring");
}

static int
print_json(const struct devicefile *df)
{
	CLEANUP(handle_free_json) json_t *all = json_object();
	struct anchor_view anchor;
	json_t *methods = json_array();

	for (size_t i = 0; i < devicefile_slot_count(df); i++) {
		struct slot_view s = devicefile_slot_at(df, i);
		char id[ID_TEXT_LEN + 1];

		format_id(s.tag, id);
		json_array_append_new(methods, json_pack("{s:s, s:s, s:s, s:I, s:b}", "id", id, "kind",
		    s.kind == SLOT_PLAIN ? "none" : unlocking_kind_name(s.kind), "label", s.tag->label, "created",
		    (json_int_t)s.tag->created_s, "pin", wants_pin(df, i)));
	}
	json_object_set_new(all, "methods", methods);
	json_object_set_new(all, "anchor", devicefile_get_anchor(df, &anchor) ? json_string(unlocking_kind_name(anchor.kind)) :
	    json_null());
	return tell_json(all);
}

static int
run_list(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(devicefile_free_ptr) struct devicefile *df = NULL;
	err_t err;
	int status = session_find_place(o, &p);

	if (status != 0)
		return status;
	if ((err = vault_read_device_file(p.vault_dir, &df)) != 0)
		return tell_vault_open(err, p.mountpoint, p.vault_dir);
	if (o->json)
		return print_json(df);
	print_slots(df);
	return 0;
}

/* add */

static int
new_secret(const struct options *o, const char *what, struct secret *out)
{
	return prompt_new_secret(options_get(o, "new-passphrase-file"), options_get(o, "new-passphrase-command"), what, out);
}

static int
add_passphrase(struct method *m)
{
	CLEANUP(secret_clear) struct secret s = { 0 };
	struct slot_tag tag;
	err_t err;
	int status;

	if ((status = method_tag(m, &tag)) != 0 || (status = new_secret(m->o, "passphrase", &s)) != 0)
		return status;
	err = devicefile_add_passphrase(m->df, &tag, s.text, s.len, 0);
	return err == 0 ? method_save(m) : tell_failure("the passphrase could not be added: %s", tell_reason(err));
}

static int
add_key_file(struct method *m)
{
	CLEANUP(bytes_clear) struct bytes content = { 0 };
	struct slot_tag tag;
	err_t err;
	int status;

	if (m->o->arg_count < 2)
		return tell_usage("unlock-method add", "which key file? unlock-method add key-file FILE");
	if ((status = method_tag(m, &tag)) != 0 || (status = keyfile_read(m->o->args[1], &content)) != 0)
		return status;
	err = devicefile_add_key_file(m->df, &tag, content.data, content.len);
	return err == 0 ? method_save(m) : tell_failure("the key file could not be added: %s", tell_reason(err));
}

static int
add_tpm(struct method *m, bool anchored)
{
	CLEANUP(secret_clear) struct secret s = { 0 };
	struct holder_pin pin;
	int status;

	if (options_get(m->o, "pin") == NULL)
		return method_add_held(m, SLOT_TPM, NULL, anchored);
	if ((status = new_secret(m->o, "PIN", &s)) != 0)
		return status;
	pin = (struct holder_pin){ s.text, s.len };
	return method_add_held(m, SLOT_TPM, &pin, anchored);
}

static int
add_kind(struct method *m, uint64_t kind)
{
	bool anchored = options_get(m->o, "no-anchor") == NULL;

	switch (kind) {
	case SLOT_PASSPHRASE:
		return add_passphrase(m);
	case SLOT_KEY_FILE:
		return add_key_file(m);
	case SLOT_SECRET_SERVICE:
		return method_add_held(m, SLOT_SECRET_SERVICE, NULL, anchored);
	case SLOT_FIDO2:
		return securitykey_add(m);
	default:
		return add_tpm(m, anchored);
	}
}

static int
check_kind(const struct options *o, uint64_t *kind_out)
{
	for (uint64_t kind = SLOT_PASSPHRASE; kind <= SLOT_FIDO2; kind++)
		if (strcmp(o->args[0], unlocking_kind_name(kind)) == 0) {
			*kind_out = kind;
			return o->arg_count == 1 || kind == SLOT_KEY_FILE ? 0 :
			    tell_usage("unlock-method add", "\"%s\" is one word too many", o->args[1]);
		}
	return tell_usage("unlock-method add", "\"%s\" is no way to unlock: there are passphrase, key-file FILE, secret-service, tpm and "
	    "fido2",
	    o->args[0]);
}

/* What somebody should know who believes that the folder is safer now. */
static void
warn_of_permissions(const struct devicefile *df)
{
	char id[ID_TEXT_LEN + 1];

	for (size_t i = 0; i < devicefile_slot_count(df); i++) {
		struct slot_view s = devicefile_slot_at(df, i);

		if (s.kind != SLOT_PLAIN)
			continue;
		format_id(s.tag, id);
		printf("It still opens without anything, too; to end that: snugfs unlock-method remove %s\n", id);
	}
}

static int
run_add(struct options *o)
{
	CLEANUP(method_end) struct method m = METHOD_NONE;
	struct anchor_view anchor;
	bool was_anchored;
	uint64_t kind = 0;
	int status;

	if ((status = check_kind(o, &kind)) != 0 || (status = method_begin(o, false, &m)) != 0)
		return status;
	was_anchored = devicefile_get_anchor(m.df, &anchor);
	if ((status = add_kind(&m, kind)) != 0)
		return status;
	printf("%s unlocks %s from now on.\n", o->args[0], m.p.mountpoint);
	if (!was_anchored && devicefile_get_anchor(m.df, &anchor))
		printf("Every way but the recovery key needs %s of this computer from now on, so that old copies of the device file are "
		    "useless once a passphrase is changed.\n", anchor.kind == SLOT_TPM ? "the TPM" : "the keyring");
	warn_of_permissions(m.df);
	return 0;
}

/* remove */

static int
find_slot(const struct devicefile *df, const char *word, struct slot_view *out)
{
	size_t found = 0;

	for (size_t i = 0; i < devicefile_slot_count(df); i++) {
		struct slot_view s = devicefile_slot_at(df, i);
		char id[ID_TEXT_LEN + 1];

		format_id(s.tag, id);
		if (word[0] == '\0' || strncmp(id, word, strlen(word)) != 0)
			continue;
		*out = s;
		found++;
	}
	if (found == 1)
		return 0;
	return tell_failure("%s way to unlock has the id \"%s\": \"snugfs unlock-method list\" shows them",
	    found == 0 ? "no" : "more than one", word);
}

static int
remove_slot(struct method *m, const struct slot_view *s)
{
	CLEANUP(bytes_clear) struct bytes place = { 0 };
	struct slot_view slot = *s;
	err_t err = bytes_append(&place, slot.params, slot.params_len);
	int status;

	if (err == 0)
		err = devicefile_drop_slot(m->df, slot.tag->id);
	if (err == -EINVAL)
		return tell_failure("this is the last way to unlock %s: add another one first", m->p.mountpoint);
	if (err != 0)
		return tell_failure("nothing was removed: %s", tell_reason(err));
	if ((status = method_save_renewed(m)) != 0)
		return status;
	if (slot.kind == SLOT_SECRET_SERVICE || slot.kind == SLOT_TPM)
		method_forget(m, (enum slot_kind)slot.kind, place.data, place.len);
	return 0;
}

static int
run_remove(struct options *o)
{
	CLEANUP(method_end) struct method m = METHOD_NONE;
	struct slot_view s = { 0 };
	uint64_t kind;
	int status;

	if ((status = method_begin(o, false, &m)) != 0 || (status = find_slot(m.df, o->args[0], &s)) != 0)
		return status;
	if (s.kind == SLOT_RECOVERY)
		return tell_failure("this is the recovery key's, which outranks devices: only \"snugfs recovery-key remove\" takes it away");
	kind = s.kind;
	if ((status = remove_slot(&m, &s)) != 0)
		return status;
	printf("%s unlocks %s no more.\n", kind == SLOT_PLAIN ? "Access to its device file alone" : unlocking_kind_name(kind),
	    m.p.mountpoint);
	return 0;
}

/* change-passphrase */

static int
change(struct method *m)
{
	CLEANUP(secret_clear) struct secret s = { 0 };
	const struct slot_tag *old = devicefile_opened_by(m->df);
	struct slot_tag tag;
	err_t err;
	int status;

	if (old == NULL)
		return tell_failure("nothing was changed");
	if ((status = new_secret(m->o, "passphrase", &s)) != 0)
		return status;
	err = slot_tag_new(old->label, (uint64_t)time(NULL), &tag);
	if (err == 0)
		err = devicefile_add_passphrase(m->df, &tag, s.text, s.len, 0);
	if (err == 0)
		err = devicefile_drop_slot(m->df, devicefile_opened_by(m->df)->id);
	if (err != 0)
		return tell_failure("the passphrase was not changed: %s", tell_reason(err));
	return method_save_renewed(m);
}

static int
run_change(struct options *o)
{
	CLEANUP(method_end) struct method m = METHOD_NONE;
	struct anchor_view anchor;
	int status;

	if ((status = method_begin(o, true, &m)) != 0 || (status = change(&m)) != 0)
		return status;
	printf("The passphrase of %s is changed.\n", m.p.mountpoint);
	if (!devicefile_get_anchor(m.df, &anchor))
		printf("An old copy of the device file (a backup, a snapshot) still opens with the old one.\n");
	return 0;
}

#define NEW_PASSPHRASE \
	{ "new-passphrase-file", "FILE", "the new passphrase, or the PIN, is the first line of FILE" }, \
	{ "new-passphrase-command", "CMD", "… the first line that CMD prints" }

static const struct option_spec add_options[] = {
	{ "label", "TEXT", "what it is called in the list" },
	NEW_PASSPHRASE,
	{ "pin", NULL, "tpm: only with a PIN, which the TPM protects against guessing; fido2: no key without one" },
	{ "security-key", "DEVICE", "fido2: which, if several are plugged in" },
	{ "no-anchor", NULL, "secret-service, tpm: do not make the other ways depend on it" },
	{ NULL, NULL, NULL },
};

static const struct option_spec change_options[] = { NEW_PASSPHRASE, { NULL, NULL, NULL } };

static const struct command cmd_add = {
	.name = "unlock-method add",
	.synopsis = "[MOUNTPOINT] passphrase | key-file FILE | secret-service | tpm | fido2 [--label TEXT]\n"
	    "           [--pin] [--no-anchor] [--security-key DEVICE]\n"
	    "           [--new-passphrase-file FILE | --new-passphrase-command CMD]",
	.summary = "another way to unlock the vault on this computer",
	.details = "Adds a way to unlock the vault, mounted or not; any one of them is enough.\n"
	    "  passphrase                one more passphrase\n"
	    "  key-file FILE             the content of FILE (32 bytes to 1 MiB), as on a USB stick\n"
	    "  secret-service            the keyring of the desktop session, unlocked by the login\n"
	    "  tpm                       the TPM 2.0 of this computer\n"
	    "  fido2                     a security key that is plugged in, to be touched; if it has a PIN, with it\n"
	    "With the keyring or the TPM, \"snugfs mount\" asks for nothing.  The first of them also keeps an anchor\n"
	    "there: 32 bytes that are replaced when a passphrase is changed or a way is removed, so that an old\n"
	    "copy of the device file is useless afterwards.  Every way but the recovery key needs them then.\n",
	.options = add_options,
	.place = PLACE_OPTIONAL,
	.args_are = "what unlocks: passphrase, key-file FILE, secret-service, tpm or fido2",
	.args_min = 1,
	.args_max = 2,
	.run = run_add,
};

static const struct command cmd_list = {
	.name = "unlock-method list",
	.synopsis = "[MOUNTPOINT] [--json]",
	.summary = "what unlocks the vault on this computer",
	.details = "Lists the ways to unlock the vault, with their ids.  Needs no passphrase.\n",
	.accepts = ACCEPT_JSON,
	.place = PLACE_OPTIONAL,
	.run = run_list,
};

static const struct command cmd_remove = {
	.name = "unlock-method remove",
	.synopsis = "[MOUNTPOINT] ID",
	.summary = "take a way to unlock away",
	.details = "Removes the way with that id (or a beginning of it that fits one only); not the last one.\n"
	    "Old copies of the device file keep it, unless the file is anchored in the TPM or the keyring.\n",
	.place = PLACE_OPTIONAL,
	.args_are = "an id, as \"snugfs unlock-method list\" shows it",
	.args_min = 1,
	.args_max = 1,
	.run = run_remove,
};

static const struct command cmd_change = {
	.name = "unlock-method change-passphrase",
	.synopsis = "[MOUNTPOINT] [--new-passphrase-file FILE | --new-passphrase-command CMD]",
	.summary = "replace a passphrase by another one",
	.details = "Asks for the passphrase (or takes it from --passphrase-file or --passphrase-command), then for the new one.\n",
	.options = change_options,
	.place = PLACE_OPTIONAL,
	.run = run_change,
};

static const struct command *const subcommands[] = { &cmd_add, &cmd_list, &cmd_remove, &cmd_change, NULL };

const struct command cmd_unlock_method = {
	.name = "unlock-method",
	.synopsis = "add | list | remove | change-passphrase",
	.summary = "what unlocks the vault here: passphrases, key files, keyring, TPM, security keys",
	.details = "The ways to unlock the vault on this computer.  Other devices have their own.\n",
	.subcommands = subcommands,
};
