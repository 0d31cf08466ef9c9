/*
 * A vault's directory, opened: takes the lock, opens the device file, and puts the engine together around the keys.  The
 * small rows that describe the vault itself (secrets, head, remote, statements) are read and written here.
 */
#include "vault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "devicefile.h"
#include "disk.h"
#include "log.h"
#include "random.h"
#include "reserve.h"
#include "vault_internal.h"

/* Changes that nobody waits for reach the disk that often. */
#define COMMIT_INTERVAL_MS 2000
/* The first byte of the rows below. */
#define RECORD_VERSION 1

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

void
vault_db_close_ptr(struct db **db)
{
	if (*db != NULL)
		db_close(*db);
}

static void
drop(struct vault *v)
{
	if (v == NULL)
		return;
	content_free(v->content);
	segstore_free(v->segments);
	meta_free(v->meta); /* closes the database, which borrows rowseal */
	reserve_free(v->reserve);
	lookups_free(v->lookups);
	rowseal_free(v->rowseal);
	trust_free(v->trust);
	keyring_free(v->keys);
	secmem_free(v->secrets);
	identity_free(v->me);
	close_fd(&v->lock_fd);
	close_fd(&v->dir_fd);
	free(v->remote_url);
	free(v->authors);
	free(v->dir);
	free(v);
}

void
vault_drop_ptr(struct vault **v)
{
	drop(*v);
}

/* The lock ends with the process, however it ends. */
static err_t
take_lock(struct vault *v)
{
	v->lock_fd = openat(v->dir_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (v->lock_fd < 0)
		return -errno;
	if (flock(v->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return 0;
}

err_t
vault_hold(const char *dir, struct vault **out)
{
	CLEANUP(vault_drop_ptr) struct vault *v = calloc(1, sizeof(*v));
	err_t err;

	if (v == NULL)
		return -ENOMEM;
	v->lock_fd = -1;
	v->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (v->dir_fd < 0)
		return -errno;
	v->dir = strdup(dir);
	v->secrets = secmem_new(sizeof(*v->secrets));
	if (v->dir == NULL || v->secrets == NULL)
		return -ENOMEM;
	if ((err = take_lock(v)) != 0 || (err = keyring_new(&v->keys)) != 0 ||
	    (err = reserve_new(v->dir_fd, &v->reserve)) != 0)
		return err;
	*out = STEAL(v);
	return 0;
}

err_t
vault_become(struct vault *v, const uint8_t secret[static DEVICE_SECRET_LEN])
{
	CLEANUP(key32_wipe) struct key32 local = { 0 };
	err_t err;

	if ((err = identity_from_device_secret(secret, &v->me)) != 0 ||
	    (err = identity_id(identity_public(v->me), v->my_id)) != 0 ||
	    (err = identity_derive(v->me, "local", local.b)) != 0)
		return err;
	return rowseal_new(local.b, &v->rowseal);
}

static err_t
path_in(const struct vault *v, const char *name, char **out)
{
	return asprintf(out, "%s/%s", v->dir, name) < 0 ? -ENOMEM : 0;
}

err_t
vault_open_db(struct vault *v, bool create, struct db **out)
{
	CLEANUP(free_ptr) char *path = NULL;
	err_t err = path_in(v, "meta.db", &path);

	return err != 0 ? err : db_open(path, create, v->rowseal, out);
}

/* On a full disk, before the reserve is spent. */
static bool
give_room_back(const struct vault *v)
{
	CLEANUP(free_ptr) char *segments = NULL;

	return path_in(v, "segments", &segments) == 0 && segstore_give_back_left(segments);
}

err_t
vault_start(struct vault *v, struct db *db, uint32_t member_number)
{
	CLEANUP(vault_db_close_ptr) struct db *owned = db;
	CLEANUP(free_ptr) char *segments = NULL;
	err_t err;

	if ((err = path_in(v, "segments", &segments)) != 0 ||
	    (err = meta_new(owned, v->rowseal, member_number, &v->meta)) != 0)
		return err;
	owned = NULL;
	meta_set_reserve(v->meta, v->reserve);
	if ((err = segstore_open(segments, v->meta, &v->segments)) != 0)
		return err;
	err = segstore_apply_redo(v->segments, db);
	if (err == -ENOSPC && give_room_back(v))
		err = segstore_apply_redo(v->segments, db);
	if (err == -ENOSPC && reserve_spend(v->reserve))
		err = segstore_apply_redo(v->segments, db);
	if (err != 0 || (err = content_new(v->meta, v->segments, v->keys, &v->content)) != 0 ||
	    (err = lookups_new(&v->lookups)) != 0)
		return err;
	reserve_fill(v->reserve);
	err = meta_start(v->meta, COMMIT_INTERVAL_MS);
	v->committing = err == 0;
	return err;
}

/* The device file. */

static err_t
unlock_device_file(struct devicefile *df, const struct vault_unlock *u)
{
	if (u->device_secret != NULL)
		return devicefile_open_secret(df, u->device_secret);
	if (devicefile_has_slot(df, SLOT_PLAIN))
		return devicefile_open_plain(df);
	if (u->plain || u->passphrase == NULL)
		return -ENOKEY;
	return devicefile_open_passphrase(df, u->passphrase, u->passphrase_len);
}

/* Rows that describe the vault. */

err_t
vault_save_head(struct vault *v)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err;

	if ((err = bytes_append_u8(&b, RECORD_VERSION)) != 0 ||
	    (err = bytes_append_u8(&b, v->has_head)) != 0 ||
	    (err = bytes_append_u64(&b, v->head_seq)) != 0 ||
	    (err = bytes_append(&b, v->head_hash, sizeof(v->head_hash))) != 0 ||
	    (err = bytes_append_u64(&b, v->base_seq)) != 0 ||
	    (err = bytes_append_u64(&b, v->base_size)) != 0 ||
	    (err = bytes_append_u64(&b, v->tail_size)) != 0 ||
	    (err = bytes_append_u32(&b, v->flight_count)) != 0 ||
	    (err = bytes_append(&b, v->flights, v->flight_count * sizeof(v->flights[0]))) != 0)
		return err;
	return meta_kv_put(v->meta, DB_KEY_HEAD, b.data, b.len);
}

static err_t
parse_head(struct vault *v, struct cursor *c)
{
	uint8_t version, has_head;
	uint32_t flight_count;
	err_t err;

	if ((err = cursor_u8(c, &version)) != 0)
		return err;
	if (version != RECORD_VERSION)
		return -EPROTO;
	if ((err = cursor_u8(c, &has_head)) != 0 || (err = cursor_u64(c, &v->head_seq)) != 0 ||
	    (err = cursor_copy(c, v->head_hash, sizeof(v->head_hash))) != 0 ||
	    (err = cursor_u64(c, &v->base_seq)) != 0 || (err = cursor_u64(c, &v->base_size)) != 0 ||
	    (err = cursor_u64(c, &v->tail_size)) != 0 || (err = cursor_u32(c, &flight_count)) != 0)
		return err;
	if (flight_count > VAULT_FLIGHT_MAX)
		return -EBADMSG;
	v->has_head = has_head != 0;
	v->flight_count = flight_count;
	return cursor_copy(c, v->flights, flight_count * sizeof(v->flights[0]));
}

err_t
vault_load_head(struct vault *v)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err = meta_kv_get(v->meta, DB_KEY_HEAD, &b);

	return err != 0 ? err : parse_head(v, &(struct cursor){ b.data, b.len });
}

err_t
vault_save_remote(struct vault *v, const char *url)
{
	CLEANUP(free_ptr) char *copy = NULL;
	err_t err;

	if (url != NULL && (copy = strdup(url)) == NULL)
		return -ENOMEM;
	err = meta_kv_put(v->meta, DB_KEY_REMOTE, (const uint8_t *)(url != NULL ? url : ""), url != NULL ? strlen(url) : 0);
	if (err != 0)
		return err;
	free(v->remote_url);
	v->remote_url = STEAL(copy);
	return 0;
}

static err_t
load_remote(struct vault *v)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err = meta_kv_get(v->meta, DB_KEY_REMOTE, &b);

	if (err != 0 || b.len == 0)
		return err == -ENOENT ? 0 : err;
	v->remote_url = strndup((const char *)b.data, b.len);
	return v->remote_url == NULL ? -ENOMEM : 0;
}

static err_t
put_epoch_key(struct vault *v, struct bytes *b, uint32_t epoch, uint32_t *count)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	err_t err = keyring_get(v->keys, epoch, &key);

	if (err != 0)
		return err == -ENOENT ? 0 : err;
	(*count)++;
	if ((err = bytes_append_u32(b, epoch)) != 0)
		return err;
	return bytes_append(b, key.b, sizeof(key.b));
}

err_t
vault_save_secrets(struct vault *v)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	CLEANUP(bytes_clear) struct bytes keys = { 0 };
	uint32_t newest = 0, count = 0;
	err_t err;

	if ((err = keyring_current(v->keys, &newest)) != 0)
		return err;
	for (uint64_t epoch = 0; epoch <= newest; epoch++)
		if ((err = put_epoch_key(v, &keys, (uint32_t)epoch, &count)) != 0)
			return err;
	if ((err = bytes_append_u8(&b, RECORD_VERSION)) != 0 ||
	    (err = bytes_append(&b, v->secrets->link_secret, 32)) != 0 ||
	    (err = bytes_append(&b, v->secrets->recovery_psk, 32)) != 0 ||
	    (err = bytes_append_u32(&b, count)) != 0 ||
	    (err = bytes_append(&b, keys.data, keys.len)) != 0)
		return err;
	return vault_secret_put(v, DB_KEY_SECRETS, &b);
}

static err_t
parse_secrets(struct vault *v, struct cursor *c)
{
	uint8_t version;
	uint32_t count, epoch;
	err_t err;

	if ((err = cursor_u8(c, &version)) != 0)
		return err;
	if (version != RECORD_VERSION)
		return -EPROTO;
	if ((err = cursor_copy(c, v->secrets->link_secret, 32)) != 0 ||
	    (err = cursor_copy(c, v->secrets->recovery_psk, 32)) != 0 || (err = cursor_u32(c, &count)) != 0)
		return err;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *key;

		if ((err = cursor_u32(c, &epoch)) != 0 || (err = cursor_take(c, 32, &key)) != 0 ||
		    (err = keyring_add(v->keys, epoch, key)) != 0)
			return err;
	}
	return 0;
}

err_t
vault_load_secrets(struct vault *v)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err = vault_secret_get(v, DB_KEY_SECRETS, &b);

	return err != 0 ? err : parse_secrets(v, &(struct cursor){ b.data, b.len });
}

err_t
vault_save_epoch_key(struct vault *v, uint32_t epoch, const uint8_t key[static 32])
{
	err_t err = keyring_add(v->keys, epoch, key);

	return err != 0 ? err : vault_save_secrets(v);
}

err_t
vault_save_statement(struct vault *v, uint64_t number, const uint8_t *data, size_t len)
{
	return meta_statement_put(v->meta, number, data, len);
}

/* Read past meta, which wants to know our member number first. */
static err_t
load_trust(struct vault *v, struct db *db)
{
	err_t err;

	if ((err = trust_new(&v->trust)) != 0)
		return err;
	for (uint64_t number = 0;; number++) {
		CLEANUP(bytes_clear) struct bytes b = { 0 };

		err = db_get(db, DB_STATEMENT, number, 0, &b);
		if (err == -ENOENT && number > 0)
			return 0;
		if (err != 0)
			return err;
		if ((err = trust_apply(v->trust, b.data, b.len)) != 0)
			return err;
	}
}

/* What the database says of the vault must fit what the device file has pinned. */
static err_t
check_pinned(struct vault *v, const struct devicefile *df, uint32_t *member_number_out)
{
	const uint8_t *id = trust_vault_id(v->trust);
	const struct trust_member *me = trust_member_find(v->trust, v->my_id);

	if (id == NULL || memcmp(id, devicefile_vault_id(df), sizeof(v->id)) != 0 || me == NULL)
		return -EBADMSG;
	memcpy(v->id, id, sizeof(v->id));
	*member_number_out = me->number;
	return 0;
}

err_t
vault_open(const char *dir, const struct vault_unlock *u, struct vault **out)
{
	CLEANUP(vault_drop_ptr) struct vault *v = NULL;
	CLEANUP(devicefile_free_ptr) struct devicefile *df = NULL;
	CLEANUP(vault_db_close_ptr) struct db *db = NULL;
	uint32_t member_number = 0;
	bool passphrase;
	err_t err;

	if ((err = vault_peek(dir, &passphrase)) != 0 || (err = vault_hold(dir, &v)) != 0 ||
	    (err = vault_read_device_file_at(v->dir_fd, &df)) != 0 || (err = unlock_device_file(df, u)) != 0 ||
	    (err = vault_become(v, devicefile_secret(df))) != 0)
		return err;
	err = vault_open_db(v, false, &db);
	if (err == -ENOSPC && give_room_back(v))
		err = vault_open_db(v, false, &db);
	if (err == -ENOSPC && reserve_spend(v->reserve))
		err = vault_open_db(v, false, &db);
	if (err != 0 || (err = load_trust(v, db)) != 0 ||
	    (err = check_pinned(v, df, &member_number)) != 0)
		return err == -ENOENT ? -EBADMSG : err; /* a device file without its database */
	if ((err = vault_start(v, STEAL(db), member_number)) != 0)
		return err;
	meta_lock(v->meta);
	if ((err = vault_load_secrets(v)) == 0 && (err = vault_load_head(v)) == 0)
		err = load_remote(v);
	if (err == 0)
		err = vault_load_authors(v);
	meta_unlock(v->meta);
	if (err != 0) {
		struct vault *opened = STEAL(v);
		err_t closed = vault_close(opened);

		(void)closed; /* nothing was changed */
		return err == -ENOENT ? -EBADMSG : err;
	}
	content_finish_truncations(v->content);
	/* Only a way in more: without it the vault is as good as before. */
	if ((err = vault_refresh_recovery_slot(v, devicefile_secret(df))) != 0)
		log_warn("the recovery key could not be made a way to unlock %s: %s", v->dir, strerror(-err));
	*out = STEAL(v);
	return 0;
}

err_t
vault_close(struct vault *v)
{
	err_t err = 0;

	if (v == NULL)
		return 0;
	if (v->committing)
		err = meta_stop(v->meta);
	drop(v);
	return err;
}
