/*
 * Making the local half of a vault.  It is built in a directory beside the one asked for and gets its name when all of it is
 * durable, so that a crash leaves no half vault: at most a left-over, which the next one to build here removes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "devicefile.h"
#include "disk.h"
#include "random.h"
#include "vault.h"
#include "vault_internal.h"

#define STAGING_SUFFIX ".new-"
/* Somebody may just be making one: only what is older is a left-over. */
#define LEFTOVER_AGE_S 3600

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static void
close_dir(DIR **d)
{
	if (*d != NULL)
		(void)closedir(*d);
}

static void
identity_clear(struct identity **id)
{
	identity_free(*id);
}

/* Directories. */

/* Without slashes at its end. */
static err_t
trimmed(const char *dir, char **out)
{
	size_t len = strlen(dir);

	while (len > 1 && dir[len - 1] == '/')
		len--;
	if (len == 0)
		return -EINVAL;
	if (len + sizeof(STAGING_SUFFIX) + 8 >= PATH_MAX)
		return -ENAMETOOLONG;
	*out = strndup(dir, len);
	return *out == NULL ? -ENOMEM : 0;
}

/* Every directory above `dir`. */
static err_t
make_parents(const char *dir)
{
	char path[PATH_MAX];
	err_t err;

	for (const char *slash = strchr(dir + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		memcpy(path, dir, (size_t)(slash - dir));
		path[slash - dir] = '\0';
		if (access(path, F_OK) != 0 && (err = disk_make_dir(path)) != 0)
			return err;
	}
	return 0;
}

/* -EEXIST: a vault is there already; -ENOTEMPTY: something else is. */
static err_t
check_free(const char *dir)
{
	CLEANUP(close_dir) DIR *d = opendir(dir);
	const struct dirent *e;
	err_t err = 0;

	if (d == NULL)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, VAULT_DEVICE_FILE) == 0)
			return -EEXIST;
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			err = -ENOTEMPTY;
	}
	return err;
}

static bool
is_leftover(int parent_fd, const char *name)
{
	char lock[NAME_MAX + sizeof("/lock")];
	CLEANUP(close_fd) int fd = -1;
	struct stat st;

	if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode) ||
	    st.st_mtime > time(NULL) - LEFTOVER_AGE_S)
		return false;
	snprintf(lock, sizeof(lock), "%s/lock", name);
	fd = openat(parent_fd, lock, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0;
}

/* Failing at it does no harm: it is silent. */
static void
sweep_leftovers(const char *dir)
{
	char parent[PATH_MAX], copy[PATH_MAX], path[PATH_MAX + NAME_MAX + 2], prefix[NAME_MAX + sizeof(STAGING_SUFFIX)];
	CLEANUP(close_dir) DIR *d = NULL;
	const struct dirent *e;

	snprintf(copy, sizeof(copy), "%s", dir);
	snprintf(prefix, sizeof(prefix), "%.*s" STAGING_SUFFIX, NAME_MAX, basename(copy));
	snprintf(copy, sizeof(copy), "%s", dir);
	snprintf(parent, sizeof(parent), "%s", dirname(copy));
	d = opendir(parent);
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0 || !is_leftover(dirfd(d), e->d_name))
			continue;
		snprintf(path, sizeof(path), "%s/%s", parent, e->d_name);
		disk_remove_tree(path);
	}
}

static err_t
make_staging(const char *dir, char **out)
{
	CLEANUP(free_ptr) char *clean = NULL;
	CLEANUP(free_ptr) char *path = NULL;
	err_t err;

	if ((err = trimmed(dir, &clean)) != 0 || (err = check_free(clean)) != 0 || (err = make_parents(clean)) != 0)
		return err;
	sweep_leftovers(clean);
	if (asprintf(&path, "%s" STAGING_SUFFIX "XXXXXX", clean) < 0)
		return -ENOMEM;
	if (mkdtemp(path) == NULL)
		return -errno;
	*out = STEAL(path);
	return 0;
}

/*
 * What FAT and its like lack is said before there is a vault, a recovery key above all.  They refuse a socket with any of several
 * errors.
 */
static err_t
check_file_system(const char *path, bool plain)
{
	CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		return -errno;
	if (mknodat(fd, "socket", S_IFSOCK | 0600, 0) != 0)
		return errno == ENOSPC || errno == EDQUOT ? -errno : -ESOCKTNOSUPPORT;
	if (unlinkat(fd, "socket", 0) != 0)
		return -errno;
	return plain && (st.st_mode & 077) != 0 ? -ENOKEY : 0;
}

void
vault_discard(struct vault *v)
{
	CLEANUP(free_ptr) char *path = strdup(v->dir);
	err_t err = vault_close(v);

	(void)err; /* of no interest: it goes */
	if (path != NULL)
		disk_remove_tree(path);
}

static err_t
flush_dir_path(const char *path)
{
	CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : disk_flush_dir(fd);
}

/* An empty directory may be in the way: rename(2) replaces it. */
static err_t
move_into_place(const char *staging, const char *dir)
{
	char copy[PATH_MAX];
	err_t err;

	if ((err = flush_dir_path(staging)) != 0)
		return err;
	if (rename(staging, dir) != 0)
		return errno == ENOTEMPTY ? -EEXIST : -errno;
	snprintf(copy, sizeof(copy), "%s", dir);
	err = flush_dir_path(dirname(copy));
	if (err != 0)
		disk_remove_tree(dir); /* nobody will be told its recovery key */
	return err;
}

err_t
vault_publish(struct vault *v, const char *dir)
{
	CLEANUP(free_ptr) char *clean = NULL;
	CLEANUP(free_ptr) char *staging = strdup(v->dir);
	err_t err;

	if (staging == NULL || (err = trimmed(dir, &clean)) != 0) {
		vault_discard(v);
		return -ENOMEM;
	}
	err = vault_close(v);
	if (err == 0)
		err = move_into_place(staging, clean);
	if (err != 0)
		disk_remove_tree(staging);
	return err;
}

/* The device file. */

static err_t
write_device_file(int dir_fd, const uint8_t secret[static DEVICE_SECRET_LEN], const uint8_t vault_id[static 32],
    const struct vault_unlock *u)
{
	CLEANUP(devicefile_free_ptr) struct devicefile *df = NULL;
	struct slot_tag tag;
	err_t err;

	if (!u->plain && u->passphrase == NULL)
		return -EINVAL;
	if ((err = devicefile_new(secret, vault_id, &df)) != 0 || (err = slot_tag_new("", (uint64_t)time(NULL), &tag)) != 0)
		return err;
	err = u->plain ? devicefile_add_plain(df, &tag) : devicefile_add_passphrase(df, &tag, u->passphrase, u->passphrase_len, 0);
	return err != 0 ? err : vault_write_device_file_at(dir_fd, df);
}

/* The database's first rows. */

static err_t
save_statements(struct vault *v)
{
	err_t err = 0;

	for (size_t i = 0; i < trust_statement_count(v->trust) && err == 0; i++) {
		const uint8_t *data;
		size_t len;

		trust_statement_at(v->trust, i, &data, &len);
		err = vault_save_statement(v, i, data, len);
	}
	return err;
}

/* [meta lock] */
static err_t
save_all(struct vault *v, const struct vault_create_params *p)
{
	err_t err;

	if ((err = save_statements(v)) != 0 || (err = vault_save_secrets(v)) != 0 || (err = vault_save_head(v)) != 0 ||
	    (err = meta_kv_put(v->meta, DB_KEY_VAULT_ID, v->id, sizeof(v->id))) != 0)
		return err;
	return p->remote_url != NULL ? vault_save_remote(v, p->remote_url) : 0;
}

/* [meta lock] The top folder, pending like everything that the chain has not seen. */
static err_t
make_root(struct vault *v, uint32_t uid, uint32_t gid)
{
	struct timespec now;
	struct inode *root;
	err_t err;

	if ((err = meta_inode_adopt(v->meta, INODE_ROOT, &root)) != 0)
		return err;
	clock_gettime(CLOCK_REALTIME, &now);
	root->mode = S_IFDIR | 0755;
	root->uid = uid;
	root->gid = gid;
	root->nlink = 2;
	root->parent = INODE_ROOT;
	root->atime = root->mtime = root->ctime = root->btime = now;
	root->pending = PENDING_NEW;
	meta_inode_dirty(v->meta, root);
	meta_note_local_change(v->meta);
	return 0;
}

/*
 * A staged vault with all its keys and no metadata.  trust, the keyring and the secrets are filled in by `fill`, once the
 * device's identity is there.
 */
struct making {
	const struct vault_create_params *p;
	err_t (*fill)(struct vault *v, void *ctx);
	void *ctx;
};

static err_t
furnish(const struct making *m, struct vault *v, const uint8_t secret[static DEVICE_SECRET_LEN])
{
	CLEANUP(vault_db_close_ptr) struct db *db = NULL;
	const struct trust_member *me;
	uint32_t number;
	err_t err;

	if ((err = vault_become(v, secret)) != 0 || (err = m->fill(v, m->ctx)) != 0)
		return err;
	memcpy(v->id, trust_vault_id(v->trust), sizeof(v->id));
	me = trust_member_find(v->trust, v->my_id);
	number = me != NULL ? me->number : (uint32_t)trust_member_count(v->trust);
	if ((err = write_device_file(v->dir_fd, secret, v->id, &m->p->lock)) != 0 ||
	    (err = vault_open_db(v, true, &db)) != 0 || (err = vault_start(v, STEAL(db), number)) != 0)
		return err;
	meta_lock(v->meta);
	err = save_all(v, m->p);
	meta_unlock(v->meta);
	return err != 0 ? err : meta_sync(v->meta);
}

static err_t
make(const struct making *m, struct vault **out)
{
	CLEANUP(free_ptr) char *staging = NULL;
	CLEANUP(key32_wipe) struct key32 secret = { 0 };
	struct vault *v = NULL;
	err_t err;

	_Static_assert(DEVICE_SECRET_LEN == sizeof(secret.b), "a device secret is a key");
	if ((err = random_secret(secret.b, sizeof(secret.b))) != 0 || (err = make_staging(m->p->dir, &staging)) != 0)
		return err;
	if ((!m->p->temporary && (err = check_file_system(staging, m->p->lock.plain)) != 0) || (err = vault_hold(staging, &v)) != 0) {
		disk_remove_tree(staging);
		return err;
	}
	if ((err = furnish(m, v, secret.b)) != 0) {
		vault_discard(v);
		return err;
	}
	*out = v;
	return 0;
}

/* A new vault. */

struct genesis {
	const char *device_name;
	const uint8_t *recovery_key;
};

static err_t
fill_new(struct vault *v, void *ctx)
{
	const struct genesis *g = ctx;
	CLEANUP(identity_clear) struct identity *recovery = NULL;
	CLEANUP(bytes_clear) struct bytes statement = { 0 };
	CLEANUP(key32_wipe) struct key32 epoch_key = { 0 };
	err_t err;

	if ((err = identity_from_recovery_key(g->recovery_key, &recovery)) != 0 ||
	    (err = trust_make_genesis(v->me, g->device_name, recovery, (uint64_t)clock_ns(CLOCK_REALTIME), &statement)) != 0 ||
	    (err = trust_new(&v->trust)) != 0 || (err = trust_apply(v->trust, statement.data, statement.len)) != 0)
		return err;
	if ((err = random_secret(v->secrets->link_secret, sizeof(v->secrets->link_secret))) != 0 ||
	    (err = identity_derive(recovery, "recovery psk", v->secrets->recovery_psk)) != 0 ||
	    (err = random_secret(epoch_key.b, sizeof(epoch_key.b))) != 0)
		return err;
	return keyring_add(v->keys, 0, epoch_key.b);
}

err_t
vault_create(const struct vault_create_params *p, uint8_t recovery_out[static RECOVERY_KEY_LEN])
{
	CLEANUP(key32_wipe) struct key32 recovery = { 0 };
	struct genesis g = { p->device_name, recovery.b };
	struct making m = { p, fill_new, &g };
	struct vault *v = NULL;
	err_t err;

	if ((err = random_secret(recovery.b, RECOVERY_KEY_LEN)) != 0 || (err = make(&m, &v)) != 0)
		return err;
	meta_lock(v->meta);
	err = make_root(v, p->root_uid, p->root_gid);
	meta_unlock(v->meta);
	if (err == 0)
		err = meta_sync(v->meta);
	if (err != 0) {
		vault_discard(v);
		return err;
	}
	if ((err = vault_publish(v, p->dir)) != 0)
		return err;
	memcpy(recovery_out, recovery.b, RECOVERY_KEY_LEN);
	return 0;
}

/* The local half of a vault that exists. */

struct joined {
	const struct trust *trust;
	const struct keybox_secrets *secrets;
	const uint32_t *epochs;
	const uint8_t (*epoch_keys)[32];
	size_t epoch_count;
};

static err_t
fill_joined(struct vault *v, void *ctx)
{
	const struct joined *j = ctx;
	err_t err;

	if ((err = trust_clone(j->trust, &v->trust)) != 0)
		return err;
	secmem_copy(v->secrets->link_secret, j->secrets->link_secret, sizeof(v->secrets->link_secret));
	secmem_copy(v->secrets->recovery_psk, j->secrets->recovery_psk, sizeof(v->secrets->recovery_psk));
	for (size_t i = 0; i < j->epoch_count; i++)
		if ((err = keyring_add(v->keys, j->epochs[i], j->epoch_keys[i])) != 0)
			return err;
	return 0;
}

err_t
vault_create_joined(const struct vault_create_params *p, const struct trust *trust, const struct keybox_secrets *secrets,
    const uint32_t *epochs, const uint8_t (*epoch_keys)[32], size_t epoch_count, struct vault **out)
{
	struct joined j = { trust, secrets, epochs, epoch_keys, epoch_count };
	struct making m = { p, fill_joined, &j };

	return make(&m, out);
}
