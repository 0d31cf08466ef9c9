/*
 * A new device, by an invitation.  The token names a commit that whoever gave it out has seen: the store must have it, and all that
 * is read must lead to it, so that neither another vault nor an older state of this one is taken for the vault.  Then one commit
 * adds this device, removes the invitation and begins a new epoch, which the token opens nothing of.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "credentials.h"
#include "hash.h"
#include "invitation.h"
#include "join_internal.h"

_Static_assert(INVITATION_KEY_MAX < CREDENTIAL_MAX && INVITATION_SESSION_MAX < CREDENTIAL_MAX, "what a token has can be kept");

#define ASK_AGAIN "ask for a new one (\"snugfs device invite\" on a computer that is in)"

static err_t
refuse_expired(struct join *j, uint64_t expires_ns)
{
	time_t when = (time_t)(expires_ns / 1000000000u);
	char text[64] = "?";
	struct tm tm;

	if (localtime_r(&when, &tm) != NULL)
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &tm);
	store_say(j->why_out, "the invitation was good until %s; " ASK_AGAIN, text);
	return -EKEYEXPIRED;
}

static err_t
refuse_used(struct join *j)
{
	join_forget_why(j);
	store_say(j->why_out, "the invitation has been used already, or was withdrawn; if you have not used it, somebody else has it: "
	    "look at \"snugfs device list\" on a computer that is in, and " ASK_AGAIN);
	return -EKEYREVOKED;
}

/* The vault, and not one that was put in its place. */
static err_t
check_marker(struct join *j, const struct invitation *inv)
{
	uint8_t id[32];
	err_t err = join_start_marker(j, id);

	if (err != 0)
		return err;
	memcpy(j->vault_id, inv->vault_id, sizeof(j->vault_id));
	if (memcmp(id, inv->vault_id, sizeof(id)) == 0)
		return 0;
	store_say(j->why_out, "%s holds another vault than the one of the invitation: nothing was joined; ask whoever sent the "
	    "invitation whether it is really theirs", j->store->url);
	return -ESTALE;
}

static err_t
read_pinned(struct join *j, struct bytes *out)
{
	uint8_t hash[32];
	err_t err = chain_read_commit(j->chain, j->pinned->seq, out);

	if (err != 0 && err != -ENOENT)
		return join_explain_store(j, err);
	if (err == 0 && (err = hash_sha256(out->data, out->len, hash)) != 0)
		return err;
	if (err == 0 && memcmp(hash, j->pinned->hash, sizeof(hash)) == 0)
		return 0;
	store_say(j->why_out, "%s has another history than it had when the invitation was made: it was rolled back, or an old copy was "
	    "put in its place; nothing was joined", j->store->url);
	return -ESTALE;
}

/* With what the named commit has for whoever comes in by it.  -EBADMSG: another box than the one that it names. */
static err_t
try_own_box(struct join *j, const struct chain_box *box, const struct bytes *object)
{
	err_t err = join_start_try_box(j, box);

	if (err != 0 || j->box_count == 0)
		return err != 0 ? err : -EBADMSG;
	err = join_earlier_take(j, 0, j->pinned->seq, object);
	if (err == -EBADMSG)
		secmem_free(j->boxes[--j->box_count].secrets);
	return err;
}

/* The box that was made for the invitation: one of those of the epoch that the named commit is of. */
static err_t
open_own_box(struct join *j, uint32_t epoch, const struct bytes *object)
{
	CLEANUP(free_ptr) struct chain_box *boxes = NULL;
	unsigned tried = 0;
	size_t count = 0;
	err_t err;

	if ((err = chain_list_boxes(j->chain, &boxes, &count)) != 0)
		return join_explain_store(j, err);
	j->boxes = calloc(1, sizeof(*j->boxes));
	if (j->boxes == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count && tried < BOXES_TRIED_MAX; i++) {
		if (boxes[i].epoch != epoch)
			continue;
		tried++;
		if ((err = try_own_box(j, &boxes[i], object)) != -EBADMSG)
			return err;
	}
	store_say(j->why_out, "the vault in %s knows nothing of this invitation: it was made up, or was over long ago; " ASK_AGAIN,
	    j->store->url);
	return -EKEYREJECTED;
}

static err_t
open_pinned(struct join *j)
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	uint32_t epoch;
	err_t err;

	if ((err = read_pinned(j, &object)) != 0 || (err = envelope_epoch(object.data, object.len, &epoch)) != 0)
		return err;
	return open_own_box(j, epoch, &object);
}

/* Entering. */

/* Is it still good, and was its box the one that the vault has pinned for it? */
static err_t
check_invitation(struct members_saying *w, struct join *j, const struct trust_member *m)
{
	const struct opened_box *own = &j->boxes[0];

	if (m == NULL || m->kind != MEMBER_INVITATION || strcmp(m->box_name, own->name) != 0 ||
	    memcmp(m->box_sha256, own->sha256, sizeof(own->sha256)) != 0)
		return members_refuse(w, -EBADMSG, "the invitation and the vault in %s contradict each other; nothing was joined",
		    j->store->url);
	if (m->removed)
		return refuse_used(j);
	return m->expires_ns < members_now_ns(w) ? refuse_expired(j, m->expires_ns) : 0;
}

static err_t
say_entry(struct members_saying *w, void *ctx)
{
	CLEANUP(bytes_clear) struct bytes add = { 0 };
	CLEANUP(bytes_clear) struct bytes remove = { 0 };
	struct join *j = ctx;
	const struct trust_member *m = trust_member_find(members_trust(w), j->as_id);
	uint64_t now = members_now_ns(w);
	err_t err;

	if ((err = check_invitation(w, j, m)) != 0 ||
	    (err = trust_make_add(members_trust(w), j->as, MEMBER_DEVICE, identity_public(j->v->me),
	         j->name_is_mine || strcmp(m->name, SYNC_INVITATION_UNNAMED) == 0 ? j->p->device_name : m->name, now, &add)) != 0)
		return err;
	err = members_say(w, &add);
	if (err == -EPERM)
		return members_refuse(w, err, "the vault's policy lets devices in by the recovery key only; join with that");
	if (err != 0 || (err = trust_make_remove(members_trust(w), j->as, j->as_id, now, &remove)) != 0)
		return err;
	return members_say(w, &remove);
}

/* This device goes on with the keys that it came in with. */
static err_t
keep_credentials(struct join *j)
{
	CLEANUP(secmem_free_ptr) struct credentials *c = NULL;
	const struct invitation *inv = j->invitation;

	if (j->p->credentials != NULL || inv->access_key[0] == '\0')
		return join_keep_credentials(j, j->p->credentials);
	if ((c = secmem_new(sizeof(*c))) == NULL)
		return -ENOMEM;
	secmem_copy(c->access_key, inv->access_key, sizeof(inv->access_key));
	secmem_copy(c->secret_key, inv->secret_key, sizeof(inv->secret_key));
	memcpy(c->session_token, inv->session_token, sizeof(inv->session_token));
	return join_keep_credentials(j, c);
}

static err_t
enter(struct join *j)
{
	err_t err;

	if (j->s->v->head_seq < j->pinned->seq) {
		store_say(j->why_out, "%s has lost commits that it had when the invitation was made; nothing was joined", j->store->url);
		return -ESTALE;
	}
	if ((err = keep_credentials(j)) != 0)
		return err;
	return members_try(j->s, say_entry, j, j->why_out, NULL);
}

static err_t
join_steps(struct join *j, const struct invitation *inv)
{
	err_t err;

	if (inv->expires_ns < engine_now_ns())
		return refuse_expired(j, inv->expires_ns);
	if ((err = identity_from_invitation(inv->secret, &j->as)) != 0 ||
	    (err = identity_id(identity_public(j->as), j->as_id)) != 0 || (err = chain_new(j->store, &j->chain)) != 0)
		return err;
	secmem_copy(j->psk.b, inv->link_secret, sizeof(j->psk.b));
	if ((err = check_marker(j, inv)) != 0 || (err = open_pinned(j)) != 0)
		return err;
	err = join_finish(j, enter);
	/* What comes after it is closed to it. */
	return err == -EKEYREVOKED ? refuse_used(j) : err;
}

err_t
sync_join_invited(const struct vault_create_params *p, struct store *store, const struct invitation *inv, bool name_is_mine,
    char **why_out)
{
	struct pinned_commit pinned = { .seq = inv->head_seq };
	CLEANUP(join_clear) struct join j = { .p = p, .store = store, .why_out = why_out, .invitation = inv, .pinned = &pinned,
		.name_is_mine = name_is_mine };
	err_t err;

	memcpy(pinned.hash, inv->head_hash, sizeof(pinned.hash));
	if (why_out != NULL)
		*why_out = NULL;
	err = join_steps(&j, inv);
	if (err != 0)
		join_take_why(&j, err);
	return err;
}
