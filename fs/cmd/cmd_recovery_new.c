/*
 * snugfs recovery-key new, remove: the recovery key replaced or taken away, by itself: no device can.  The folder is closed
 * for it, so that both keys stay in this process.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "create.h"
#include "err.h"
#include "handles.h"
#include "log.h"
#include "members.h"
#include "mounting.h"
#include "mountstate.h"
#include "opening.h"
#include "random.h"
#include "recoverykey.h"
#include "secmem.h"
#include "session.h"
#include "tell.h"
#include "terminal.h"
#include "uplink.h"

#define GROUP_LEN 4

struct replacing {
	const struct options *o;
	struct place p;
	struct secret unlocked;
	struct vault *v;
	struct uplink *u;
	struct identity *old;
	struct identity *fresh; /* NULL: none is to follow */
	struct key32 psk;       /* of the new one */
	bool done;              /* the store has it */
	char *why;
};

static void
replacing_clear(struct replacing *r)
{
	uplink_free(r->u);
	if (r->v != NULL && vault_close(r->v) != 0)
		(void)tell_failure("the last changes could not be saved in %s", r->p.vault_dir);
	identity_free(r->old);
	identity_free(r->fresh);
	key32_wipe(&r->psk);
	secret_clear(&r->unlocked);
	place_clear(&r->p);
	free(r->why);
}

static err_t
say(struct members_saying *w, void *ctx)
{
	const struct replacing *r = ctx;
	CLEANUP(bytes_clear) struct bytes add = { 0 }, removal = { 0 };
	const struct trust_member *in_force = trust_recovery(members_trust(w));
	uint8_t id[IDENTITY_ID_LEN];
	err_t err = identity_id(identity_public(r->old), id);

	if (err != 0)
		return err;
	if (in_force == NULL || memcmp(in_force->id, id, sizeof(id)) != 0)
		return members_refuse(w, -EKEYREJECTED, "this recovery key has been replaced or removed already, on another device");
	if (r->fresh != NULL) {
		if ((err = trust_make_add(members_trust(w), r->old, MEMBER_RECOVERY, identity_public(r->fresh), "recovery key",
		         members_now_ns(w), &add)) != 0 || (err = members_say(w, &add)) != 0)
			return err;
		members_begin_epoch(w, r->psk.b);
	}
	if ((err = trust_make_remove(members_trust(w), r->old, id, members_now_ns(w), &removal)) != 0)
		return err;
	return members_say(w, &removal);
}

static err_t
commit(struct sync *s, void *ctx)
{
	struct replacing *r = ctx;
	/* A key that others may have is replaced, whatever is damaged here. */
	err_t err = r->fresh != NULL ? sync_all_but_left(s) : 0;

	if (err != 0 || (err = members_commit(s, say, r, &r->why, NULL)) != 0)
		return err;
	r->done = true;
	/* Joining with the new key is quicker with a base, and possible without. */
	if (r->fresh != NULL && (err = members_write_base(s)) != 0)
		log_info("no base was written behind the new recovery key: %s", strerror(-err));
	return 0;
}

static int
check_is_ours(const struct replacing *r)
{
	const struct trust_member *m;
	bool same;

	meta_lock(r->v->meta);
	m = trust_recovery(r->v->trust);
	same = m != NULL && memcmp(&m->pub, identity_public(r->old), sizeof(m->pub)) == 0;
	meta_unlock(r->v->meta);
	return same ? 0 : tell_failure("this is a recovery key, but not the one of %s: only that one can be replaced or removed, and "
	    "only by itself; if it is lost, make a new vault and move the files there", r->p.mountpoint);
}

static int
begin(const struct options *o, struct replacing *r)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	struct vault_unlock lock;
	err_t err;
	int status;

	r->o = o;
	if ((status = session_find_place(o, &r->p)) != 0)
		return status;
	if (mountstate_get(r->p.mountpoint) == MOUNT_OURS)
		return tell_failure("%s is open: close it first with \"snugfs lock %s\"", r->p.mountpoint, r->p.mountpoint);
	if ((status = prompt_recovery_key(o, key.b)) != 0)
		return status;
	if ((err = identity_from_recovery_key(key.b, &r->old)) != 0)
		return tell_failure("the recovery key cannot be used: %s", tell_reason(err));
	if ((status = mounting_unlock(o, &r->p, &r->unlocked)) != 0)
		return status;
	lock = create_lock(&r->unlocked);
	if ((err = opening_vault(r->p.vault_dir, &lock, &r->v)) != 0)
		return tell_vault_open(err, r->p.mountpoint, r->p.vault_dir);
	if ((status = check_is_ours(r)) != 0)
		return status;
	if (r->v->remote_url == NULL)
		return tell_failure("%s has no store, where the other devices would hear of it: give it one first with \"snugfs up %s "
		    "--remote URL\"", r->p.mountpoint, r->p.mountpoint);
	err = uplink_new(r->v, &r->u);
	return err == 0 ? 0 : tell_failure("the store cannot be used: %s", tell_reason(err));
}

/* Also writes the device file anew, which the old key opens no more then. */
static int
finish(struct replacing *r)
{
	struct vault_unlock lock = create_lock(&r->unlocked);
	err_t err;

	uplink_free(r->u);
	r->u = NULL;
	err = vault_close(r->v);
	r->v = NULL;
	if (err == 0)
		err = opening_vault(r->p.vault_dir, &lock, &r->v);
	return err == 0 ? 0 : tell_vault_open(err, r->p.mountpoint, r->p.vault_dir);
}

static int
do_commit(struct replacing *r)
{
	char why[512] = "";
	err_t err = uplink_with_sync(r->u, commit, r, why, sizeof(why));

	if (err == 0)
		return finish(r);
	return tell_failure("%s: the recovery key is as it was", r->why != NULL ? r->why : why[0] != '\0' ? why : tell_reason(err));
}

/* On a terminal somebody proves that it was written down. */
static int
confirm(const char *text)
{
	CLEANUP(secret_clear) struct secret typed = { 0 };
	uint8_t random = 0;
	char question[96];
	unsigned group;
	int status;

	if (!isatty(STDIN_FILENO))
		return 0;
	if (random_bytes(&random, 1) != 0 || (status = prompt_secret_new(&typed)) != 0)
		return tell_failure("nothing was changed");
	group = random % 7;
	snprintf(question, sizeof(question), "When it is written down, type its group %u: ", group + 1);
	if (terminal_ask(question, typed.text, &typed.len) != 0)
		return tell_failure("nothing was typed, and nothing was changed: the old recovery key stays");
	if (typed.len != GROUP_LEN || strncasecmp(typed.text, text + group * (GROUP_LEN + 1), GROUP_LEN) != 0)
		return tell_failure("that is not what it says there: nothing was changed, the old recovery key stays");
	return 0;
}

static int
hand_over(const struct options *o, const uint8_t key[static RECOVERY_KEY_LEN], int fd)
{
	CLEANUP(secmem_free_ptr) char *text = secmem_new(RECOVERY_TEXT_LEN + 1);
	err_t err;

	if (text == NULL)
		return tell_failure("not enough locked memory for a secret: raise the limit (ulimit -l)");
	recoverykey_format(key, text);
	err = fd >= 0 ? create_fill_key_file(fd, text) : create_print_key(text);
	if (err != 0)
		return tell_failure("the new recovery key could not be written (%s): nothing was changed", tell_reason(err));
	if (fd < 0)
		return confirm(text);
	printf("The new recovery key is in %s: copy it to a safe place away from this computer, then delete it.\n",
	    options_get(o, "new-recovery-key-file"));
	return 0;
}

static int
make_new(struct replacing *r, int fd)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	err_t err;
	int status;

	if ((err = random_secret(key.b, RECOVERY_KEY_LEN)) != 0 || (err = identity_from_recovery_key(key.b, &r->fresh)) != 0 ||
	    (err = identity_derive(r->fresh, "recovery psk", r->psk.b)) != 0)
		return tell_failure("no recovery key could be made: %s", tell_reason(err));
	if ((status = hand_over(r->o, key.b, fd)) != 0)
		return status;
	return do_commit(r);
}

static int
run_new(struct options *o)
{
	CLEANUP(replacing_clear) struct replacing r = { 0 };
	CLEANUP(handle_close_fd) int fd = -1;
	const char *path = options_get(o, "new-recovery-key-file");
	int status = begin(o, &r);

	if (status != 0 || (path != NULL && (status = create_reserve_key_file(path, &fd)) != 0))
		return status;
	if ((status = make_new(&r, fd)) != 0) {
		if (path != NULL && !r.done)
			(void)unlink(path);
		return status;
	}
	printf("The old recovery key of %s and all its shares open nothing any more: destroy them.\n", r.p.mountpoint);
	return 0;
}

static int
run_remove(struct options *o)
{
	CLEANUP(replacing_clear) struct replacing r = { 0 };
	int status = begin(o, &r);

	if (status != 0 || (status = do_commit(&r)) != 0)
		return status;
	printf("%s has no recovery key any more: its devices are the only way in, and it can never have one again.\n", r.p.mountpoint);
	return 0;
}

static const struct option_spec new_options[] = {
	{ "new-recovery-key-file", "FILE", "write the new one there; else it is shown once" },
	{ NULL, NULL, NULL },
};

const struct command cmd_recovery_new = {
	.name = "recovery-key new",
	.synopsis = "[MOUNTPOINT] [--new-recovery-key-file FILE]",
	.summary = "replace the recovery key by another one",
	.details = "Asks for the recovery key, shows a new one, and puts it in force on all devices; the old one and all its\n"
	    "shares open nothing any more, also nothing that is written later.  The folder must be closed.\n"
	    "Who has lost the recovery key cannot replace it: it outranks devices.\n",
	.options = new_options,
	.place = PLACE_OPTIONAL,
	.run = run_new,
};

const struct command cmd_recovery_remove = {
	.name = "recovery-key remove",
	.synopsis = "[MOUNTPOINT]",
	.summary = "take the recovery key away for ever",
	.details = "Asks for the recovery key and removes it from the vault: then only devices open it, and there can never be\n"
	    "a recovery key again.  The folder must be closed.\n",
	.place = PLACE_OPTIONAL,
	.run = run_remove,
};
