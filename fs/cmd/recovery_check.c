/* Asks the vault, by public keys: the recovery key itself stays in this process. */
#include "recovery_check.h"

#include <stdio.h>
#include <stdlib.h>

#include "config.h"
#include "err.h"
#include "handles.h"
#include "hex.h"
#include "place.h"
#include "session.h"
#include "tell.h"

/* The only vault that is known, if none was named. */
static int
find_vault(const struct options *o, struct place *out, size_t *known_out)
{
	CLEANUP(config_clear) struct config c = { 0 };

	*known_out = 1;
	if (o->mountpoint != NULL)
		return place_find_existing(o, out);
	if (config_load(&c) != 0)
		*known_out = 0;
	else
		*known_out = c.count;
	return *known_out == 1 ? place_find_remembered(c.entries[0].mountpoint, out) : 0;
}

/* Only public keys leave this process. */
static int
compare(const struct options *o, const struct place *p, const struct identity_public *pub, bool quiet)
{
	CLEANUP(handle_free_json) json_t *answer = NULL;
	char sign[65], box[65];
	int status;

	hex_format(pub->sign, 32, sign);
	hex_format(pub->box, 32, box);
	status = session_call(o, p, json_pack("{s:s, s:s, s:s}", "op", "check-recovery", "sign", sign, "box", box), &answer);
	if (status != 0)
		return status;
	if (!json_is_true(json_object_get(answer, "same")))
		return tell_failure("this is a recovery key, but not the one of %s", p->mountpoint);
	if (!quiet)
		printf("This is the recovery key of %s.\n", p->mountpoint);
	return 0;
}

int
recovery_check(const struct options *o, const uint8_t key[static RECOVERY_KEY_LEN], bool quiet)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(identity_free_ptr) struct identity *identity = NULL;
	size_t known = 0;
	err_t err;
	int status = find_vault(o, &p, &known);

	if (status != 0)
		return status;
	if (!p.exists) {
		printf("It is written correctly.  Nothing more was checked: %s.\n", known > 1 ?
		    "several vaults are known here; name the mount point of one" : "no vault is known here");
		return 0;
	}
	err = identity_from_recovery_key(key, &identity);
	if (err != 0)
		return tell_failure("the recovery key cannot be used: %s", tell_reason(err));
	return compare(o, &p, identity_public(identity), quiet);
}
