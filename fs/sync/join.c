/*
 * A new device, by the recovery key: opens the key boxes with it, finds a beginning whose statements prove that this is the
 * key's own vault, reads on from there, and enters itself into the chain.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "credentials.h"
#include "join_internal.h"
#include "secmem.h"

void
join_clear(struct join *j)
{
	engine_free(j->s);
	if (j->v != NULL)
		vault_discard(j->v);
	for (size_t i = 0; i < j->box_count; i++)
		secmem_free(j->boxes[i].secrets);
	free(j->boxes);
	key32_wipe(&j->psk);
	identity_free(j->as);
	chain_free(j->chain);
}

err_t
join_explain_store(struct join *j, err_t err)
{
	char what[384];

	if (err == 0)
		return 0;
	store_explain(j->store, err, what, sizeof(what));
	store_say(j->why_out, "%s; nothing was made here: try again when that is mended", what);
	return err;
}

void
join_forget_why(struct join *j)
{
	if (j->why_out == NULL)
		return;
	free(*j->why_out);
	*j->why_out = NULL;
}

err_t
join_keep_credentials(struct join *j, const struct credentials *c)
{
	return c != NULL ? credentials_save(j->v, c) : 0;
}

/* What the engine knows of the failure, if nothing better was said. */
void
join_take_why(struct join *j, err_t err)
{
	if (j->why_out == NULL || *j->why_out != NULL)
		return;
	if (j->s != NULL && j->s->why[0] != '\0')
		store_say(j->why_out, "%s", j->s->why);
	else
		store_say(j->why_out, "joining the vault in %s failed: %s; nothing was made here", j->store->url, strerror(-err));
}

err_t
join_finish(struct join *j, join_enter_fn *enter)
{
	bool news;
	err_t err;

	if ((err = join_start(j)) != 0)
		return err;
	err = chain_probe_conditional(j->chain);
	if (err == -ENOTSUP) {
		store_say(j->why_out, "%s cannot create objects conditionally, so only one computer may use it", j->store->url);
		return err;
	}
	if (err != 0)
		return join_explain_store(j, err);
	do {
		if ((err = pull_all(j->s, &news)) != 0)
			return err;
		err = enter(j);
	} while (err == -EEXIST);
	if (err != 0)
		return err;
	engine_free(j->s);
	j->s = NULL;
	return vault_publish(STEAL(j->v), j->p->dir);
}

/* By the recovery key. */

/* What they hold lies in secret memory, which is small. */
#define BOXES_KEPT_MAX 2048u

static err_t
open_boxes(struct join *j)
{
	CLEANUP(free_ptr) struct chain_box *boxes = NULL;
	unsigned tried = 0;
	size_t count = 0;
	err_t err;

	if ((err = chain_list_boxes(j->chain, &boxes, &count)) != 0)
		return join_explain_store(j, err);
	if (count == 0) {
		store_say(j->why_out, "the vault in %s is still empty: run \"snugfs sync\" on the first computer, then join again",
		    j->store->url);
		return -ENOENT;
	}
	j->boxes = calloc(count, sizeof(*j->boxes));
	if (j->boxes == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count && j->box_count < BOXES_KEPT_MAX; i++) {
		tried = i > 0 && boxes[i].epoch == boxes[i - 1].epoch ? tried + 1 : 1;
		if (tried <= BOXES_TRIED_MAX && (err = join_start_try_box(j, &boxes[i])) != 0)
			return err;
	}
	if (j->box_count == 0) {
		store_say(j->why_out, "this recovery key is not the one of the vault in %s; check both", j->store->url);
		return -EKEYREJECTED;
	}
	return 0;
}

static err_t
say_device(struct members_saying *w, void *ctx)
{
	CLEANUP(bytes_clear) struct bytes statement = { 0 };
	struct join *j = ctx;
	const struct trust_member *recovery = trust_recovery(members_trust(w));
	err_t err;

	if (recovery == NULL || memcmp(recovery->id, j->as_id, sizeof(j->as_id)) != 0)
		return members_refuse(w, -EKEYREJECTED, "this recovery key of the vault in %s has been replaced; use the newer one",
		    j->store->url);
	err = trust_make_add(members_trust(w), j->as, MEMBER_DEVICE, identity_public(j->v->me), j->p->device_name,
	    members_now_ns(w), &statement);
	return err != 0 ? err : members_say(w, &statement);
}

static err_t
enter(struct join *j)
{
	err_t err = join_keep_credentials(j, j->p->credentials);

	return err != 0 ? err : members_try(j->s, say_device, j, j->why_out, NULL);
}

static err_t
open_vault(struct join *j, const uint8_t recovery_key[static RECOVERY_KEY_LEN])
{
	err_t err;

	j->by_recovery = true;
	if ((err = identity_from_recovery_key(recovery_key, &j->as)) != 0 ||
	    (err = identity_id(identity_public(j->as), j->as_id)) != 0 ||
	    (err = identity_derive(j->as, "recovery psk", j->psk.b)) != 0 || (err = chain_new(j->store, &j->chain)) != 0 ||
	    (err = join_start_marker(j, j->vault_id)) != 0)
		return err;
	return open_boxes(j);
}

err_t
sync_join(const struct vault_create_params *p, struct store *store, const uint8_t recovery_key[static RECOVERY_KEY_LEN],
    char **why_out)
{
	CLEANUP(join_clear) struct join j = { .p = p, .store = store, .why_out = why_out };
	err_t err;

	if (why_out != NULL)
		*why_out = NULL;
	err = open_vault(&j, recovery_key);
	if (err == 0)
		err = join_finish(&j, enter);
	/* The history up to its removal can be read, and no further. */
	if (err == -EKEYREVOKED && why_out != NULL && *why_out == NULL)
		store_say(why_out, "this recovery key of the vault in %s has been replaced or removed; use the newer one, or an "
		    "invitation from one of its devices", store->url);
	if (err != 0)
		join_take_why(&j, err);
	return err;
}

/* Reading only. */

struct sync_reading {
	struct join j;
	char *gap;
};

void
sync_reading_close(struct sync_reading *r)
{
	if (r == NULL)
		return;
	join_clear(&r->j);
	free(r->gap);
	free(r);
}

static void
close_reading(struct sync_reading **r)
{
	sync_reading_close(*r);
}

struct vault *
sync_reading_vault(struct sync_reading *r)
{
	return r->j.v;
}

const char *
sync_reading_gap(struct sync_reading *r)
{
	return r->gap;
}

/* What can be read ends where a commit is damaged; what is before it is whole. */
static err_t
read_on(struct sync_reading *r)
{
	bool news;
	err_t err = pull_all(r->j.s, &news);

	if (!join_start_is_gap(err))
		return err;
	store_say(&r->gap, "%s%s", r->j.s->why[0] != '\0' ? r->j.s->why : "a commit is damaged", r->j.unproven ? "; as an earlier "
	    "commit is damaged, too, it is what a device has written down as a base, of which nothing says whether it was removed since" :
	    "");
	return r->gap != NULL ? 0 : -ENOMEM;
}

static err_t
reading_steps(struct sync_reading *r, const uint8_t recovery_key[static RECOVERY_KEY_LEN])
{
	struct join *j = &r->j;
	err_t err;

	if ((err = open_vault(j, recovery_key)) != 0 || (err = join_start(j)) != 0)
		return err;
	return read_on(r);
}

err_t
sync_reading_open(const struct vault_create_params *p, struct store *store,
    const uint8_t recovery_key[static RECOVERY_KEY_LEN], struct sync_reading **out, char **why_out)
{
	CLEANUP(close_reading) struct sync_reading *r = calloc(1, sizeof(*r));
	err_t err;

	if (r == NULL)
		return -ENOMEM;
	if (why_out != NULL)
		*why_out = NULL;
	r->j.reading = true;
	r->j.p = p;
	r->j.store = store;
	r->j.why_out = why_out;
	if ((err = reading_steps(r, recovery_key)) != 0) {
		join_take_why(&r->j, err);
		return err;
	}
	r->j.why_out = NULL;
	*out = STEAL(r);
	return 0;
}
