/* snugfs policy: what all devices agreed on, and what only the recovery key undoes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "commands.h"
#include "handles.h"
#include "hex.h"
#include "place.h"
#include "prompt.h"
#include "secmem.h"
#include "session.h"
#include "tell.h"
#include "trust.h"

static int
run_show(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	int status = session_find_place(o, &p);

	if (status == 0)
		status = session_call(o, &p, json_pack("{s:s}", "op", "policy"), &answer);
	if (status != 0)
		return status;
	if (o->json)
		return tell_json(answer);
	printf("new devices    %s\n", json_is_true(json_object_get(answer, "devices_may_add")) ?
	    "are let in by any device, or by the recovery key" : "are let in by the recovery key alone");
	printf("formats        from %d on\n", (int)json_integer_value(json_object_get(answer, "format_floor")));
	printf("cipher suites  from %d on\n", (int)json_integer_value(json_object_get(answer, "cipher_floor")));
	return 0;
}

/* With the recovery key. */

static err_t
fold_statement(struct trust *t, const char *hex)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	unsigned byte;
	err_t err = 0;

	for (size_t i = 0; err == 0 && hex != NULL && hex[i] != '\0' && hex[i + 1] != '\0'; i += 2)
		err = sscanf(hex + i, "%2x", &byte) == 1 ? bytes_append_u8(&b, (uint8_t)byte) : -EBADMSG;
	return err != 0 ? err : trust_apply(t, b.data, b.len);
}

/* Whoever signs checks for himself what he continues. */
static err_t
fold(const json_t *list, struct trust **out)
{
	CLEANUP(trust_free_ptr) struct trust *t = NULL;
	const json_t *statement;
	size_t i;
	err_t err = trust_new(&t);

	json_array_foreach(list, i, statement)
		if (err == 0)
			err = fold_statement(t, json_string_value(statement));
	if (err == 0)
		*out = STEAL(t);
	return err;
}

static err_t
sign(const json_t *list, const uint8_t key[static RECOVERY_KEY_LEN], char **hex_out)
{
	CLEANUP(trust_free_ptr) struct trust *t = NULL;
	CLEANUP(identity_free_ptr) struct identity *recovery = NULL;
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	struct trust_policy p;
	char *hex;
	err_t err;

	if ((err = fold(list, &t)) != 0 || (err = identity_from_recovery_key(key, &recovery)) != 0)
		return err;
	if (trust_recovery(t) == NULL || memcmp(&trust_recovery(t)->pub, identity_public(recovery), sizeof(struct identity_public)) != 0)
		return -EKEYREJECTED;
	p = *trust_policy(t);
	p.devices_may_add = true;
	if ((err = trust_make_policy(t, recovery, &p, (uint64_t)clock_ns(CLOCK_REALTIME), &b)) != 0)
		return err;
	if ((hex = malloc(b.len * 2 + 1)) == NULL)
		return -ENOMEM;
	hex_format(b.data, b.len, hex);
	*hex_out = hex;
	return 0;
}

static int
loosen(const struct options *o, const struct place *p)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	CLEANUP(handle_free_json) json_t *statements = NULL;
	CLEANUP(handle_free_json) json_t *answer = NULL;
	CLEANUP(free_ptr) char *hex = NULL;
	const json_t *list;
	int status;
	err_t err;

	if ((status = prompt_recovery_key(o, key.b)) != 0 ||
	    (status = session_call(o, p, json_pack("{s:s}", "op", "statements"), &statements)) != 0)
		return status;
	list = json_object_get(statements, "statements");
	err = sign(list, key.b, &hex);
	if (err == -EKEYREJECTED)
		return tell_failure("this is not the recovery key of %s", p->mountpoint);
	if (err != 0)
		return tell_failure("the policy cannot be signed: %s", tell_reason(err));
	return session_call(o, p, json_pack("{s:s, s:s}", "op", "set-policy", "statement", hex), &answer);
}

static int
run_set(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *now = NULL;
	CLEANUP(handle_free_json) json_t *answer = NULL;
	const char *who = options_get(o, "new-devices");
	bool devices;
	int status;

	if (who == NULL || (strcmp(who, "recovery-key") != 0 && strcmp(who, "any-device") != 0))
		return tell_usage("policy set", "say who may let new devices in: --new-devices recovery-key, or any-device");
	devices = strcmp(who, "any-device") == 0;
	if ((status = session_find_place(o, &p)) != 0 ||
	    (status = session_call(o, &p, json_pack("{s:s}", "op", "policy"), &now)) != 0)
		return status;
	if (devices == json_is_true(json_object_get(now, "devices_may_add"))) {
		printf("It is so already.\n");
		return 0;
	}
	status = devices ? loosen(o, &p) :
	    session_call(o, &p, json_pack("{s:s, s:b}", "op", "set-policy", "devices_may_add", 0), &answer);
	if (status == 0)
		printf("%s\n", devices ? "Any device may let new devices in again." :
		    "From now on only the recovery key lets new devices in; only it can undo that.");
	return status;
}

static const struct command policy_show = {
	.name = "policy show",
	.synopsis = "[MOUNTPOINT] [--json]",
	.summary = "who may let devices in, and what formats are accepted",
	.details = "Shows what all devices of the vault keep to.\n",
	.accepts = ACCEPT_JSON,
	.place = PLACE_OPTIONAL,
	.run = run_show,
};

static const struct command policy_set = {
	.name = "policy set",
	.synopsis = "[MOUNTPOINT] --new-devices recovery-key|any-device",
	.summary = "let only the recovery key add devices, or any device again",
	.details = "A statement in the vault's chain, to which all devices keep.  Any device may make it stricter; to loosen it\n"
	    "again the recovery key is asked for.\n",
	.options = (const struct option_spec[]){
	    { "new-devices", "WHO", "who may let new devices in: recovery-key, or any-device" },
	    { 0 } },
	.place = PLACE_OPTIONAL,
	.run = run_set,
};

const struct command cmd_policy = {
	.name = "policy",
	.synopsis = "show|set ...",
	.summary = "rules that all devices keep to and only the recovery key loosens",
	.details = "Rules of the vault, signed into its chain.\n",
	.subcommands = (const struct command *const[]){ &policy_show, &policy_set, NULL },
};
