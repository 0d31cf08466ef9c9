/*
 * vault.h: the local half of a vault: its directory, this device's keys, metadata and content, opened together.
 *
 *   DIR/lock        held (flock) by whoever has the vault open: one process
 *   DIR/device      the device file (devicefile.h), mode 0600
 *   DIR/meta.db     metadata;  DIR/segments/  ciphertext;  DIR/control  the daemon's socket (cmd)
 *   DIR/reserve     room that is kept back for a full disk (reserve.h)
 *
 * Uses meta/, data/, crypto.
 */
#ifndef SNUGFS_VAULT_H
#define SNUGFS_VAULT_H

#include "content.h"
#include "devicefile.h"
#include "identity.h"
#include "keybox.h"
#include "keyring.h"
#include "lookups.h"
#include "meta.h"
#include "segstore.h"
#include "trust.h"

#define VAULT_FLIGHT_MAX 8

/* A member's last commit that was applied here. */
struct vault_author {
	uint32_t number; /* the member's */
	uint64_t seq;
	uint64_t time_ns;
};

/* Opened.  Pointers are fixed while it is open; what they point at says its own locking. */
struct vault {
	char *dir;
	int dir_fd;
	uint8_t id[32];
	uint8_t my_id[IDENTITY_ID_LEN];
	struct identity *me;
	struct keyring *keys;
	struct keybox_secrets *secrets; /* link secret and recovery PSK (epoch_key unused) */
	struct rowseal *rowseal;
	struct meta *meta;
	struct segstore *segments;
	struct content *content;
	struct lookups *lookups;

	/* under the meta lock */
	struct trust *trust;
	bool has_head;          /* a commit of the chain has been applied */
	uint64_t head_seq;
	uint8_t head_hash[32];  /* SHA-256 of object c/<head_seq> */
	uint64_t base_seq;      /* newest base known; valid if base_size != 0 */
	uint64_t base_size;
	uint64_t tail_size;     /* bytes of commit objects behind the base */
	/* SHA-256 of commits that we tried to make number head_seq + 1 (0 if !has_head) and of whose fate we have not heard */
	uint8_t flights[VAULT_FLIGHT_MAX][32];
	uint32_t flight_count;
	char *remote_url;       /* NULL: none */
	struct vault_author *authors;
	size_t author_count;

	struct reserve *reserve;
	int lock_fd;
	bool committing; /* meta's thread runs */
};

/* How the device file is opened or closed. */
struct vault_unlock {
	bool plain;            /* no passphrase: permissions alone */
	const char *passphrase; /* in secret memory, NUL-terminated; NULL with plain */
	size_t passphrase_len;
	/* Opening only: the device file was opened already, and gave this (secret memory); then nothing else counts. */
	const uint8_t *device_secret;
};

/* What to make. */
struct vault_create_params {
	const char *dir;
	const char *device_name;
	const char *remote_url;  /* normalized, or NULL */
	const struct credentials *credentials; /* joining: keys to the store that this device is to keep; NULL: none */
	uint32_t root_uid, root_gid; /* owner of the top folder */
	struct vault_unlock lock;
	bool temporary; /* for reading only: it is never mounted, so any file system will do */
};

/*
 * Makes a new vault (init): keys, genesis, an empty folder, on disk and durable.  recovery_out gets the recovery key, to be
 * shown once.  -EEXIST: there is one in dir already; -ESOCKTNOSUPPORT: the file system has no sockets, by which commands reach who
 * has a vault open; -ENOKEY: it keeps no permissions, which alone were to protect the vault.  On failure nothing is left behind.
 * The vault is not left open.
 */
MUST_CHECK err_t vault_create(const struct vault_create_params *p, uint8_t recovery_out[static RECOVERY_KEY_LEN]);

/*
 * For joining: makes the local half for a vault that exists: id, secrets and epoch keys are known from the store, the
 * statements up to now are in trust; metadata is empty, without a root (the caller applies bases and commits).  Left open,
 * in *out, in a directory beside p->dir that only vault_publish gives its name: nothing is half there after a crash.
 * The number of this member is a guess (the next one) until the vault is opened anew: make no inodes.  -EEXIST: as above.
 */
MUST_CHECK err_t vault_create_joined(const struct vault_create_params *p, const struct trust *trust,
    const struct keybox_secrets *secrets, const uint32_t *epochs, const uint8_t (*epoch_keys)[32], size_t epoch_count,
    struct vault **out);
/* Closes v, made by vault_create_joined; then it is the vault in `dir`, durably.  On failure nothing is left of it. */
MUST_CHECK err_t vault_publish(struct vault *v, const char *dir);
/* Closes v, made by vault_create_joined, and removes all that there is of it. */
void vault_discard(struct vault *v);

/*
 * Opens.  -ENOENT: no vault in dir; -EBUSY: open elsewhere (mounted); -EKEYREJECTED: wrong passphrase; -ENOKEY: it wants a
 * passphrase and none was given; -EBADMSG: damaged; -EPROTO: unknown version; -EACCES, -EROFS, -ENOSPC, -EIO.
 */
MUST_CHECK err_t vault_open(const char *dir, const struct vault_unlock *u, struct vault **out);
/*
 * The device file, by itself: needs neither a key nor the vault's lock, so it works while the vault is mounted.
 * vault_open's errors.  Who changes it holds its lock (close(2) the descriptor) from reading to writing.  Writing is durable
 * and all or nothing; the old file's blocks are overwritten where the disk allows that.
 */
MUST_CHECK err_t vault_read_device_file(const char *dir, struct devicefile **out);
MUST_CHECK err_t vault_write_device_file(const char *dir, const struct devicefile *df);
MUST_CHECK err_t vault_lock_device_file(const char *dir, int *fd_out);
/* Is there a vault, and does it want to be unlocked? Needs no key. */
MUST_CHECK err_t vault_peek(const char *dir, bool *needs_passphrase_out);
/* Commits once more and closes. 0 or why the last changes are not on disk. */
MUST_CHECK err_t vault_close(struct vault *v);

/* [meta lock] Persist what of the fields above changed (head, base sizes, flights; URL; epoch keys), in the current batch of
 * meta.  vault_save_epoch_key makes the key known to the keyring, too; -EEXIST: another is known for that epoch. */
MUST_CHECK err_t vault_save_head(struct vault *v);
MUST_CHECK err_t vault_save_remote(struct vault *v, const char *url); /* NULL: none any more */
MUST_CHECK err_t vault_save_epoch_key(struct vault *v, uint32_t epoch, const uint8_t key[static 32]);
/* [meta lock] Remembers a commit, in the current batch of meta; what is known of a member's last one, borrowed (NULL: nothing). */
MUST_CHECK err_t vault_save_author(struct vault *v, const struct vault_author *a);
const struct vault_author *vault_author(struct vault *v, uint32_t number);
/* [meta lock] Appends statement number n (already folded into v->trust) to the database. */
MUST_CHECK err_t vault_save_statement(struct vault *v, uint64_t number, const uint8_t *data, size_t len);

#endif
