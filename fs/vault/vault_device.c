/* The device file on the disk: read whole, replaced whole, and what was replaced overwritten as far as that can be done. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "vault.h"
#include "vault_internal.h"

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

err_t
vault_read_device_file_at(int dir_fd, struct devicefile **out)
{
	CLEANUP(close_fd) int fd = -1;
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	struct stat st;
	uint8_t *at;
	err_t err;

	if ((err = disk_open_read(dir_fd, VAULT_DEVICE_FILE, &fd)) != 0)
		return err;
	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > DEVICEFILE_MAX_LEN)
		return -EBADMSG;
	if ((err = bytes_extend(&b, (size_t)st.st_size, &at)) != 0 ||
	    (err = disk_pread(fd, at, (size_t)st.st_size, 0)) != 0)
		return err == -ENODATA ? -EBADMSG : err;
	return devicefile_parse(b.data, b.len, out);
}

static err_t
open_dir(const char *dir, int *fd_out)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOTDIR ? -ENOENT : -errno;
	*fd_out = fd;
	return 0;
}

err_t
vault_read_device_file(const char *dir, struct devicefile **out)
{
	CLEANUP(close_fd) int dir_fd = -1;
	err_t err = open_dir(dir, &dir_fd);

	return err != 0 ? err : vault_read_device_file_at(dir_fd, out);
}

err_t
vault_lock_device_file(const char *dir, int *fd_out)
{
	CLEANUP(close_fd) int fd = -1;
	err_t err = open_dir(dir, &fd);

	if (err != 0)
		return err;
	while (flock(fd, LOCK_EX) != 0)
		if (errno != EINTR)
			return -errno;
	*fd_out = fd;
	fd = -1;
	return 0;
}

/*
 * The blocks of the old file are given back by the rename, and keep what they hold until something else needs them.  A disk
 * that writes in place has zeros there then; a copy-on-write file system and an SSD have not, so failures do not matter.
 * With another name (a hard link) the file is somebody else's copy.
 */
static void
overwrite(int fd)
{
	static const uint8_t zeros[4096];
	struct stat st;

	if (fstat(fd, &st) != 0 || st.st_nlink != 0)
		return;
	for (off_t at = 0; at < st.st_size; at += (off_t)sizeof(zeros)) {
		size_t len = st.st_size - at < (off_t)sizeof(zeros) ? (size_t)(st.st_size - at) : sizeof(zeros);

		if (disk_pwrite(fd, zeros, len, (uint64_t)at) != 0)
			return;
	}
	(void)fdatasync(fd);
}

err_t
vault_write_device_file_at(int dir_fd, const struct devicefile *df)
{
	CLEANUP(close_fd) int old = openat(dir_fd, VAULT_DEVICE_FILE, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err;

	if ((err = devicefile_serialize(df, &b)) != 0 ||
	    (err = disk_write_file(dir_fd, VAULT_DEVICE_FILE, b.data, b.len, 0600)) != 0)
		return err;
	if (old >= 0)
		overwrite(old);
	return 0;
}

err_t
vault_write_device_file(const char *dir, const struct devicefile *df)
{
	CLEANUP(close_fd) int dir_fd = -1;
	err_t err = open_dir(dir, &dir_fd);

	return err != 0 ? err : vault_write_device_file_at(dir_fd, df);
}

err_t
vault_peek(const char *dir, bool *needs_passphrase_out)
{
	CLEANUP(devicefile_free_ptr) struct devicefile *df = NULL;
	err_t err = vault_read_device_file(dir, &df);

	if (err == 0)
		*needs_passphrase_out = !devicefile_has_slot(df, SLOT_PLAIN);
	return err;
}

/* Recovery slots. */

static bool
is_recovery_slot_of(const struct slot_view *s, const uint8_t id[static IDENTITY_ID_LEN])
{
	/* map(1), key 0, bytes(16) */
	return s->kind == SLOT_RECOVERY && s->params_len == 3 + IDENTITY_ID_LEN && memcmp(s->params + 3, id, IDENTITY_ID_LEN) == 0;
}

static bool
is_up_to_date(const struct devicefile *df, const struct trust_member *recovery)
{
	size_t fitting = 0, others = 0;

	for (size_t i = 0; i < devicefile_slot_count(df); i++) {
		struct slot_view s = devicefile_slot_at(df, i);

		if (recovery != NULL && is_recovery_slot_of(&s, recovery->id))
			fitting++;
		else
			others += s.kind == SLOT_RECOVERY;
	}
	return others == 0 && fitting == (recovery != NULL ? 1 : 0);
}

static err_t
drop_recovery_slots(struct devicefile *df)
{
	for (size_t i = devicefile_slot_count(df); i > 0; i--) {
		struct slot_view s = devicefile_slot_at(df, i - 1);
		err_t err = s.kind == SLOT_RECOVERY ? devicefile_drop_slot(df, s.tag->id) : 0;

		if (err != 0)
			return err;
	}
	return 0;
}

err_t
vault_refresh_recovery_slot(struct vault *v, const uint8_t secret[static DEVICE_SECRET_LEN])
{
	CLEANUP(devicefile_free_ptr) struct devicefile *df = NULL;
	CLEANUP(close_fd) int lock = -1;
	const struct trust_member *recovery = trust_recovery(v->trust);
	struct slot_tag tag;
	err_t err;

	if ((err = vault_lock_device_file(v->dir, &lock)) != 0 || (err = vault_read_device_file_at(lock, &df)) != 0)
		return err;
	if (is_up_to_date(df, recovery))
		return 0;
	if ((err = devicefile_open_secret(df, secret)) != 0 || (err = drop_recovery_slots(df)) != 0)
		return err;
	if (recovery != NULL && ((err = slot_tag_new("", 0, &tag)) != 0 ||
	    (err = devicefile_add_recovery(df, &tag, &recovery->pub, v->secrets->recovery_psk)) != 0))
		return err;
	return vault_write_device_file_at(lock, df);
}
