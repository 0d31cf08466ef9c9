/*
 * snugfs remote set: moves a vault to another store.  The new one is empty, or has this vault already (an earlier try, or
 * another device's); all that the old one has is copied, the commits last, and only when the newest one is there does the vault
 * go over.  The old store stays as it is.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "commands.h"
#include "copy.h"
#include "create.h"
#include "folder.h"
#include "handles.h"
#include "hash.h"
#include "human.h"
#include "mounting.h"
#include "mountstate.h"
#include "objname.h"
#include "opening.h"
#include "place.h"
#include "progress.h"
#include "remote_open.h"
#include "session.h"
#include "tell.h"
#include "uplink.h"

struct move {
	const struct place *place;
	struct vault *v;
	const char *url; /* normalized */
	struct remote_keys keys;
	struct store *store;
	struct chain *chain;
	bool known; /* the new store says that it has this vault */
	struct progress bar;
};

static void
move_clear(struct move *m)
{
	chain_free(m->chain);
	store_free(m->store);
	remote_keys_clear(&m->keys);
}

static int
tell_store(const struct store *s, err_t err)
{
	char what[512];

	store_explain(s, err, what, sizeof(what));
	return tell_failure("%s; the vault stays where it is", what);
}

static err_t
find_any(void *ctx, const char *name, uint64_t size)
{
	(void)name;
	(void)size;
	*(bool *)ctx = true;
	return -ECANCELED;
}

static int
tell_not_empty(const struct move *m)
{
	return tell_failure("%s is not empty, and does not say which vault it belongs to; choose an empty store", m->url);
}

/* Before anything is made there. */
static int
check_new_folder(const struct move *m)
{
	bool folder = strncmp(m->url, "dir:", 4) == 0;

	return folder && folder_has_foreign(m->url + 4) ? tell_not_empty(m) : 0;
}

/* Empty, or ours. */
static int
check_new_store(struct move *m)
{
	uint8_t id[32];
	bool any = false;
	err_t err = chain_read_marker(m->chain, id);

	if (err == 0 && memcmp(id, m->v->id, sizeof(id)) != 0)
		return tell_failure("%s holds another vault; nothing was changed there; choose an empty store", m->url);
	m->known = err == 0;
	if (err == 0)
		return 0;
	if (err != -ENOENT)
		return tell_sync(err, m->url, NULL);
	err = store_list(m->store, "", find_any, &any);
	if (any)
		return tell_not_empty(m);
	return err == 0 ? 0 : tell_store(m->store, err);
}

static size_t
count_devices(struct vault *v)
{
	size_t devices = 0;

	for (size_t i = 0; i < trust_member_count(v->trust); i++)
		devices += trust_member_at(v->trust, i)->kind == MEMBER_DEVICE && !trust_member_at(v->trust, i)->removed;
	return devices;
}

static int
check_conditional(struct move *m)
{
	err_t err = chain_probe_conditional(m->chain);

	if (err == -ENOTSUP && count_devices(m->v) > 1)
		return tell_failure("%s cannot create objects conditionally, so that the devices of this vault could not share it; "
		    "choose another store", m->url);
	if (err == -ENOTSUP) {
		printf("The store %s cannot create objects conditionally: only this computer will be able to use it.\n", m->url);
		return 0;
	}
	return err == 0 ? 0 : tell_store(m->store, err);
}

/* Is the newest commit that this device knows in the new store? */
static err_t
check_head(struct move *m)
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	uint8_t hash[32];
	err_t err;

	if (!m->v->has_head)
		return 0;
	if ((err = chain_read_commit(m->chain, m->v->head_seq, &object)) != 0 ||
	    (err = hash_sha256(object.data, object.len, hash)) != 0)
		return err;
	return memcmp(hash, m->v->head_hash, sizeof(hash)) == 0 ? 0 : -ESTALE;
}

/* Copying. */

static err_t
read_local(void *ctx, const char *name, struct bytes *out)
{
	struct move *m = ctx;
	struct objname n = objname_parse(name);
	struct segment seg;
	err_t err;

	if (n.kind != OBJNAME_SEGMENT)
		return -ENOENT;
	meta_lock(m->v->meta);
	err = meta_segment_find(m->v->meta, n.random, &seg);
	meta_unlock(m->v->meta);
	if (err != 0 || !seg.local)
		return -ENOENT;
	err = segstore_read_whole(m->v->segments, &seg, out);
	return err == -ENOMEM ? err : err != 0 ? -ENOENT : 0; /* what is damaged here may be whole there */
}

static void
show_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct move *m = ctx;

	progress_show(&m->bar, "copying", done, total, PROGRESS_BYTES);
}

static int
copy_from(struct move *m, struct store *old)
{
	const struct copy_hooks hooks = { .ctx = m, .local = read_local, .progress = show_progress };
	struct copy_result result;
	char bytes[HUMAN_BYTES_LEN], objects[HUMAN_COUNT_LEN];
	err_t err = copy_objects(old, m->store, &hooks, &result);

	progress_end(&m->bar);
	if (err == -EEXIST)
		return tell_failure("%s has gone on without what %s got since it was copied: what this device has pushed there "
		    "meanwhile is not in it; save that elsewhere, and join %s anew", m->url, old->url, m->url);
	if (err != 0 && result.failed != NULL)
		return tell_store(result.failed, err);
	if (err != 0)
		return tell_failure("copying failed: %s; the vault stays where it is", tell_reason(err));
	human_bytes(result.bytes, bytes);
	human_count(result.objects, "object", objects);
	printf("Copied: %s, %s.\n", objects, bytes);
	return 0;
}

static void
uplink_free_ptr(struct uplink **u)
{
	uplink_free(*u);
}

static err_t
sync_now(struct sync *s, void *ctx)
{
	(void)ctx;
	return sync_once(s);
}

/* What is pending goes to the old store first, so that what is copied is all there is. */
static int
sync_with_old(struct move *m)
{
	CLEANUP(uplink_free_ptr) struct uplink *u = NULL;
	char why[512];
	err_t err = uplink_new(m->v, &u);

	if (err == 0) {
		content_set_fetch(m->v->content, uplink_fetch, u);
		err = uplink_with_sync(u, sync_now, NULL, why, sizeof(why));
		content_set_fetch(m->v->content, NULL, NULL);
		if (err != 0)
			return tell_failure("%s; the vault stays where it is", why[0] != '\0' ? why : tell_reason(err));
	}
	return err == 0 ? 0 : tell_failure("not enough memory");
}

static int
copy_old(struct move *m)
{
	CLEANUP(remote_keys_clear) struct remote_keys old_keys = { 0 };
	CLEANUP(store_free_ptr) struct store *old = NULL;
	int status;
	err_t err = credentials_load(m->v, &old_keys.given);

	if (err != 0 && err != -ENOENT)
		return tell_failure("the keys to the old store cannot be read: %s", tell_reason(err));
	if ((status = sync_with_old(m)) != 0 || (status = remote_open(m->v->remote_url, false, &old_keys, &old)) != 0)
		return status;
	return copy_from(m, old);
}

static int
bring_over(struct move *m)
{
	err_t err;
	int status;

	if (m->v->remote_url == NULL || strcmp(m->v->remote_url, m->url) == 0)
		return 0;
	if (m->known && m->v->has_head && check_head(m) == 0)
		return 0; /* another device has moved there, or somebody has copied it */
	if ((status = copy_old(m)) != 0)
		return status;
	err = check_head(m);
	return err == 0 ? 0 : tell_failure("%s does not have the newest commit of this vault, though it was copied; the vault stays "
	    "where it is", m->url);
}

static int
switch_over(struct move *m)
{
	struct vault *v = m->v;
	err_t err;

	meta_lock(v->meta);
	err = vault_save_remote(v, m->url);
	meta_unlock(v->meta);
	if (err == 0)
		err = credentials_save(v, m->keys.given);
	if (err == 0)
		err = meta_sync(v->meta);
	return err == 0 ? 0 : tell_failure("the new store could not be noted in %s: %s", v->dir, tell_reason(err));
}

static int
move(struct move *m)
{
	int status;
	err_t err;

	if ((status = check_new_folder(m)) != 0 || (status = remote_open(m->url, true, &m->keys, &m->store)) != 0)
		return status;
	if ((err = chain_new(m->store, &m->chain)) != 0)
		return tell_failure("not enough memory");
	if ((status = check_new_store(m)) != 0 || (status = check_conditional(m)) != 0 || (status = bring_over(m)) != 0)
		return status;
	return switch_over(m);
}

static int
move_vault(struct options *o, const struct place *p, const char *url)
{
	CLEANUP(secret_clear) struct secret passphrase = { 0 };
	CLEANUP(move_clear) struct move m = { .place = p, .url = url };
	struct vault_unlock lock;
	err_t err;
	int status;

	if ((status = remote_keys_read(o, "remote set", &m.keys)) != 0 || (status = mounting_unlock(o, p, &passphrase)) != 0)
		return status;
	lock = create_lock(&passphrase);
	if ((err = opening_vault(p->vault_dir, &lock, &m.v)) != 0)
		return tell_vault_open(err, p->mountpoint, p->vault_dir);
	status = move(&m);
	err = vault_close(m.v);
	if (status == 0 && err != 0)
		status = tell_failure("the new store could not be noted in %s: %s", p->vault_dir, tell_reason(err));
	return status != 0 ? status : place_remember(p, url);
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(free_ptr) char *url = NULL;
	CLEANUP(free_ptr) char *why = NULL;
	int status = session_find_place(o, &p);

	if (status != 0)
		return status;
	if (store_url_normalize(o->args[0], &url, &why) != 0)
		return tell_usage("remote set", "%s", why != NULL ? why : "that is not the address of a store");
	if ((status = place_check_apart(&p, url)) != 0)
		return status;
	if (mountstate_is_mounted(p.vault_dir))
		return tell_failure("%s is mounted: unmount it, then set its store", p.mountpoint);
	if ((status = move_vault(o, &p, url)) != 0)
		return status;
	printf("The store of %s is %s now.  Say so on its other devices, too; the old store was left as it is.\n", p.mountpoint, url);
	return 0;
}

const struct command cmd_remote_set = {
	.name = "remote set",
	.synopsis = "[MOUNTPOINT] URL [--credentials-file FILE | --ask-credentials]",
	.summary = "move the vault to another store, or change the keys to it",
	.details = "Syncs with the old store, copies all of it to the new one, which must be empty or have this vault already, and\n"
	    "uses that from then on.  An interrupted copy goes on when the command is repeated.  The folder must not be\n"
	    "mounted.  Do the same on the other devices: until then they use the old store.\n"
	    "Keys that are given are kept in the vault, sealed; without any those in the usual places are used.\n",
	.options = remote_keys_options,
	.place = PLACE_OPTIONAL,
	.args_are = "the URL of a store",
	.args_min = 1,
	.args_max = 1,
	.run = run,
};
