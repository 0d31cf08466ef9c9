/* A new vault, and its recovery key on its way to a person. */
#include "create.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chain.h"
#include "disk.h"
#include "handles.h"
#include "recoverykey.h"
#include "secmem.h"
#include "store.h"
#include "tell.h"

int
create_remote_url(const struct options *o, char **out)
{
	CLEANUP(free_ptr) char *why = NULL;
	err_t err;

	*out = NULL;
	if (o->remote == NULL)
		return 0;
	/* The sentence knows what of the address may be shown: somebody may have typed a password. */
	err = store_url_normalize(o->remote, out, &why);
	if (err == -EINVAL && why != NULL)
		return tell_usage(o->command, "%s", why);
	return err == 0 ? 0 : tell_failure("the store cannot be used: %s", tell_reason(err));
}

int
create_check_device_name(const struct options *o)
{
	if (o->device_name != NULL && (o->device_name[0] == '\0' || strlen(o->device_name) > TRUST_NAME_MAX))
		return tell_usage(o->command, "the device name must have 1 to %d bytes", TRUST_NAME_MAX);
	return 0;
}

void
create_device_name(const struct options *o, char out[static TRUST_NAME_MAX + 1])
{
	char host[HOST_NAME_MAX + 1] = "";

	if (o->device_name == NULL && gethostname(host, sizeof(host) - 1) != 0)
		host[0] = '\0';
	snprintf(out, TRUST_NAME_MAX + 1, "%s", o->device_name != NULL ? o->device_name : host[0] != '\0' ? host : "computer");
}

struct vault_unlock
create_lock(const struct secret *passphrase)
{
	if (passphrase->is_device)
		return (struct vault_unlock){ .device_secret = (const uint8_t *)passphrase->text };
	return (struct vault_unlock){ .plain = passphrase->text == NULL, .passphrase = passphrase->text,
		.passphrase_len = passphrase->len };
}

static int
check_marker(struct chain *c, const char *remote, const uint8_t *id, const char *mountpoint)
{
	uint8_t there[32];
	err_t err = chain_read_marker(c, there);

	if (err == -ENOENT)
		return 0;
	if (err != 0)
		return tell_sync(err, remote, NULL);
	if (id != NULL && memcmp(id, there, sizeof(there)) == 0)
		return 0;
	return tell_failure("the store %s holds %s vault already: open that one with \"snugfs join %s --remote %s\" and its "
	    "recovery key, or choose another store", remote, id != NULL ? "another" : "a", mountpoint, remote);
}

static int
tell_unusable(const struct store *store, err_t err)
{
	char what[512];

	store_explain(store, err, what, sizeof(what));
	return tell_failure("%s: no vault was made", what);
}

int
create_check_store(const char *remote, bool create, const uint8_t *id, const char *mountpoint)
{
	CLEANUP(store_free_ptr) struct store *store = NULL;
	CLEANUP(chain_free_ptr) struct chain *c = NULL;
	char *why = NULL;
	err_t err = store_open(remote, create, &store, &why);
	int status;

	if (err != 0)
		return tell_why(why, remote, err);
	if ((err = chain_new(store, &c)) != 0)
		return tell_sync(err, remote, NULL);
	chain_set_retry(c, 1, NULL);
	status = check_marker(c, remote, id, mountpoint);
	if (status != 0 || !create)
		return status;
	err = chain_probe_conditional(c);
	if (err == -ENOTSUP)
		printf("The store %s cannot create objects conditionally: only this computer will be able to use it.\n", remote);
	else if (err != 0)
		status = tell_unusable(store, err);
	return status;
}

/*
 * The file is there, and its room on the disk taken, before there is a key: afterwards nothing can go wrong any more that
 * would lose the only copy.
 */
int
create_reserve_key_file(const char *path, int *fd_out)
{
	static const char room[RECOVERY_TEXT_LEN + 1] = { 0 };
	CLEANUP(handle_close_fd) int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	err_t err;

	if (fd < 0 && errno == EEXIST)
		return tell_failure("%s exists already: the recovery key is never written over anything; choose another file",
		    path);
	if (fd < 0)
		return tell_failure("the recovery key cannot be written to %s: %s", path, tell_reason(-errno));
	err = disk_pwrite(fd, room, sizeof(room), 0);
	if (err == 0 && fsync(fd) != 0)
		err = -errno;
	if (err != 0) {
		(void)unlink(path);
		return tell_failure("the recovery key cannot be written to %s: %s", path, tell_reason(err));
	}
	*fd_out = fd;
	fd = -1;
	return 0;
}

err_t
create_fill_key_file(int fd, const char *text)
{
	err_t err = disk_pwrite(fd, text, RECOVERY_TEXT_LEN, 0);

	if (err == 0)
		err = disk_pwrite(fd, "\n", 1, RECOVERY_TEXT_LEN);
	if (err == 0 && fsync(fd) != 0)
		err = -errno;
	return err;
}

/* Unbuffered, so that it is in no memory of the C library. */
err_t
create_print_key(const char *text)
{
	static const char before[] = "The recovery key of this vault:\n\n    ";
	static const char after[] =
	    "\n\nWrite it down and keep it away from this computer; it is not shown again.\n"
	    "With it and the store every file can be read, even if all computers are lost.\n";
	const struct {
		const char *text;
		size_t len;
	} parts[] = { { before, sizeof(before) - 1 }, { text, strlen(text) }, { after, sizeof(after) - 1 } };

	if (fflush(stdout) != 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		ssize_t written = write(STDOUT_FILENO, parts[i].text, parts[i].len);

		if (written != (ssize_t)parts[i].len)
			return written < 0 ? -errno : -EIO;
	}
	return 0;
}

static int
hand_over_key(const uint8_t key[static RECOVERY_KEY_LEN], const struct options *o, int fd, const char *vault_dir)
{
	char *text = secmem_new(RECOVERY_TEXT_LEN + 1);
	err_t err = -ENOMEM;

	if (text != NULL) {
		recoverykey_format(key, text);
		err = fd >= 0 ? create_fill_key_file(fd, text) : create_print_key(text);
		secmem_free(text);
	}
	if (err != 0)
		return tell_failure("the recovery key of the new vault could not be written (%s) and nobody has seen it: remove "
		    "the folder %s, which holds no file yet, and start again", tell_reason(err), vault_dir);
	if (fd >= 0)
		printf("The recovery key is in %s: copy it to a safe place away from this computer, then delete it.\n",
		    o->recovery_key_file);
	return 0;
}

static int
make(const struct options *o, const struct place *p, const char *remote, const struct secret *passphrase, int key_fd)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	char device_name[TRUST_NAME_MAX + 1];
	struct vault_create_params params = {
		.dir = p->vault_dir,
		.device_name = device_name,
		.remote_url = remote,
		.root_uid = geteuid(),
		.root_gid = getegid(),
		.lock = create_lock(passphrase),
	};
	err_t err;

	_Static_assert(RECOVERY_KEY_LEN <= sizeof(key.b), "a recovery key fits a key");
	create_device_name(o, device_name);
	err = vault_create(&params, key.b);
	if (err != 0)
		return tell_vault_make(err, p->vault_dir);
	return hand_over_key(key.b, o, key_fd, p->vault_dir);
}

int
create_vault(const struct options *o, struct place *p, const char *remote, struct secret *passphrase_out)
{
	CLEANUP(secret_clear) struct secret passphrase = { 0 };
	CLEANUP(handle_close_fd) int key_fd = -1;
	int status;

	if ((status = place_check_apart(p, remote)) != 0)
		return status;
	if (remote != NULL && (status = create_check_store(remote, true, NULL, p->mountpoint)) != 0)
		return status;
	if ((status = prompt_new_passphrase(o, p->mountpoint, &passphrase)) != 0 ||
	    (status = place_make_mountpoint(p)) != 0)
		return status;
	if (o->recovery_key_file != NULL && (status = create_reserve_key_file(o->recovery_key_file, &key_fd)) != 0)
		return status;
	status = make(o, p, remote, &passphrase, key_fd);
	if (status != 0) {
		if (key_fd >= 0)
			(void)unlink(o->recovery_key_file);
		return status;
	}
	p->exists = true;
	p->wants_passphrase = passphrase.text != NULL;
	if ((status = place_remember(p, remote)) != 0)
		return status;
	*passphrase_out = passphrase;
	passphrase.text = NULL;
	return 0;
}
