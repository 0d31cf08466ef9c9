/* Giving out an invitation. */
#include <errno.h>
#include <string.h>

#include "engine.h"
#include "invitation.h"

struct giving {
	const struct identity_public *guest;
	const char *name;
	uint64_t expires_ns;
};

static err_t
say_invitation(struct members_saying *w, void *ctx)
{
	CLEANUP(bytes_clear) struct bytes statement = { 0 };
	const struct giving *g = ctx;
	char box_name[CHAIN_NAME_MAX];
	uint8_t sha256[32];
	err_t err;

	if (!trust_policy(members_trust(w))->devices_may_add)
		return members_refuse(w, -EPERM, "the vault's policy lets devices in by the recovery key only: use \"snugfs join\" with "
		    "that on the other computer");
	if (g->expires_ns <= members_now_ns(w))
		return members_refuse(w, -EKEYEXPIRED, "the time for which the invitation was to be good was over before it could be given "
		    "out: make one that is good for longer");
	if ((err = members_write_box_for(w, g->guest, box_name, sha256)) != 0 ||
	    (err = trust_make_invite(members_trust(w), members_vault(w)->me, g->guest, g->name, g->expires_ns, box_name, sha256,
	         members_now_ns(w), &statement)) != 0)
		return err;
	return members_say(w, &statement);
}

err_t
sync_invite(struct sync *s, const struct identity_public *guest, const char *name, uint64_t expires_ns,
    struct sync_invited *out, char **why_out)
{
	struct giving g = { guest, name, expires_ns };
	struct members_done done;
	err_t err = members_commit(s, say_invitation, &g, why_out, &done);

	if (err != 0)
		return err;
	out->seq = done.seq;
	memcpy(out->hash, done.hash, sizeof(out->hash));
	return 0;
}
