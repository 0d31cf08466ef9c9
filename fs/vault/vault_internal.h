/*
 * vault_internal.h: what vault.c and vault_create.c share, and nobody else sees.
 */
#ifndef SNUGFS_VAULT_INTERNAL_H
#define SNUGFS_VAULT_INTERNAL_H

#include "vault.h"

#define VAULT_DEVICE_FILE "device"

/* A vault that has its directory and the lock on it, and nothing else yet.  -ENOENT: no such directory; -EBUSY. */
MUST_CHECK err_t vault_hold(const char *dir, struct vault **out);
/*
 * The rest of the engine around v->me and v->trust: with `create` a new meta.db, else the one that is there.
 * member_number: of this device.  Starts meta's thread.
 */
MUST_CHECK err_t vault_start(struct vault *v, struct db *db, uint32_t member_number);
/* v->me, v->my_id, v->rowseal from the device secret. */
MUST_CHECK err_t vault_become(struct vault *v, const uint8_t secret[static DEVICE_SECRET_LEN]);
MUST_CHECK err_t vault_open_db(struct vault *v, bool create, struct db **out);
/* [meta lock] The link secret, the recovery PSK and all epoch keys. */
MUST_CHECK err_t vault_save_secrets(struct vault *v);
/*
 * vault_secret.c: a value that is a secret.  -ENOENT: there is none, or nothing in it; -EBADMSG; -EPROTO: of a newer version.
 * [meta lock]
 */
MUST_CHECK err_t vault_secret_put(struct vault *v, enum db_key key, const struct bytes *plain);
MUST_CHECK err_t vault_secret_get(struct vault *v, enum db_key key, struct bytes *out);
/* vault_device.c: in the vault's folder. */
MUST_CHECK err_t vault_read_device_file_at(int dir_fd, struct devicefile **out);
MUST_CHECK err_t vault_write_device_file_at(int dir_fd, const struct devicefile *df);
/* The recovery key that is in force opens the device file, too, and no other recovery key. */
MUST_CHECK err_t vault_refresh_recovery_slot(struct vault *v, const uint8_t secret[static DEVICE_SECRET_LEN]);
void vault_drop_ptr(struct vault **v); /* frees whatever there is of it, without a last commit */
void vault_db_close_ptr(struct db **db);

/* What the rows of meta.db say.  -ENOENT, -EBADMSG; -EPROTO: of a newer version.  [meta lock] */
MUST_CHECK err_t vault_load_secrets(struct vault *v);
MUST_CHECK err_t vault_load_head(struct vault *v);
MUST_CHECK err_t vault_load_authors(struct vault *v);

#endif
