/* archiver.c: libarchive's writers for tar and for the disk behind one door. */
#include "archiver.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "library.h"

#define LIBRARY "libarchive.so.13"
#define FUNCTIONS(F) F(archive_entry_clear) F(archive_entry_copy_hardlink) F(archive_entry_copy_pathname) \
	F(archive_entry_copy_symlink) F(archive_entry_free) F(archive_entry_new) F(archive_entry_set_gid) \
	F(archive_entry_set_mode) F(archive_entry_set_mtime) F(archive_entry_set_rdevmajor) F(archive_entry_set_rdevminor) \
	F(archive_entry_set_size) F(archive_entry_set_uid) F(archive_entry_sparse_add_entry) F(archive_entry_unset_size) \
	F(archive_entry_xattr_add_entry) F(archive_errno) F(archive_error_string) F(archive_write_close) \
	F(archive_write_data) F(archive_write_data_block) F(archive_write_disk_new) F(archive_write_disk_set_options) \
	F(archive_write_finish_entry) F(archive_write_free) F(archive_write_header) F(archive_write_new) \
	F(archive_write_open_fd) F(archive_write_set_bytes_in_last_block) F(archive_write_set_format_pax) \
	F(archive_write_set_options)

#define ZEROS_LEN 65536u
/* libarchive leaves this name space to its own model of ACLs; here it is what the vault keeps. */
#define ACL_PREFIX "system."

static struct { FUNCTIONS(LIBRARY_POINTER) } lib; /* set by load */
static const struct library_symbol symbols[] = { FUNCTIONS(LIBRARY_SYMBOL) };

struct archiver {
	struct archive *archive;
	struct archive_entry *entry; /* reused */
	bool tar;
	int fd;              /* what must be safe in the end: the stream, or a folder on the disk that is written to, which is ours */
	bool open;           /* an entry is under way */
	bool regular;
	uint64_t at;         /* tar: bytes of it that were written */
	uint64_t size;
	char *path;
	bool has_top;        /* folder: what libarchive sets too early */
	struct timespec top_mtime;
};

static void
entry_clear(struct archiver *a)
{
	free(a->path);
	a->path = NULL;
	a->open = false;
}

void
archiver_free(struct archiver *a)
{
	if (a == NULL)
		return;
	entry_clear(a);
	if (a->entry != NULL)
		lib.archive_entry_free(a->entry);
	if (a->archive != NULL)
		(void)lib.archive_write_free(a->archive);
	if (!a->tar && a->fd >= 0)
		(void)close(a->fd);
	free(a);
}

void
archiver_free_ptr(struct archiver **a)
{
	archiver_free(*a);
}

const char *
archiver_why(const struct archiver *a)
{
	const char *why = lib.archive_error_string(a->archive);

	return why != NULL ? why : "";
}

/* Warnings are of what the target's file system can't take, as an xattr: the entry is there. */
static err_t
translate(struct archiver *a, int result)
{
	int e;

	if (result >= ARCHIVE_WARN)
		return 0;
	e = lib.archive_errno(a->archive);
	return e > 0 ? -e : -EIO;
}

/* Of content a warning is worse: that is what libarchive calls bytes that a full disk has refused. */
static err_t
translate_content(struct archiver *a, la_ssize_t result)
{
	return translate(a, result >= ARCHIVE_OK ? ARCHIVE_OK : result > ARCHIVE_FAILED ? ARCHIVE_FAILED : (int)result);
}

static err_t
load(void)
{
	return library_load(LIBRARY, symbols, ARRAY_LEN(symbols));
}

static err_t
make(struct archive *archive, bool tar, struct archiver **out)
{
	CLEANUP(archiver_free_ptr) struct archiver *a = calloc(1, sizeof(*a));

	if (a == NULL || archive == NULL) {
		if (archive != NULL)
			(void)lib.archive_write_free(archive);
		free(STEAL(a));
		return -ENOMEM;
	}
	a->archive = archive;
	a->tar = tar;
	a->fd = -1;
	a->entry = lib.archive_entry_new();
	if (a->entry == NULL)
		return -ENOMEM;
	*out = STEAL(a);
	return 0;
}

err_t
archiver_new_folder(bool owners, struct archiver **out)
{
	int flags = ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_XATTR | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
	    ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS;
	err_t err = load();

	if (err == 0)
		err = make(lib.archive_write_disk_new(), false, out);
	if (err != 0)
		return err;
	/* Before anything is written: it is told what goes wrong from then on. */
	(*out)->fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if ((*out)->fd < 0)
		return -errno;
	return translate(*out, lib.archive_write_disk_set_options((*out)->archive, owners ? flags | ARCHIVE_EXTRACT_OWNER : flags));
}

err_t
archiver_new_tar(int fd, struct archiver **out)
{
	CLEANUP(archiver_free_ptr) struct archiver *a = NULL;
	err_t err;

	/* So that names which are UTF-8 are taken as such; others travel as bytes. */
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	if ((err = load()) != 0 || (err = make(lib.archive_write_new(), true, &a)) != 0 ||
	    (err = translate(a, lib.archive_write_set_format_pax(a->archive))) != 0 ||
	    (err = translate(a, lib.archive_write_set_options(a->archive, "xattrheader=SCHILY"))) != 0 ||
	    (err = translate(a, lib.archive_write_set_bytes_in_last_block(a->archive, 1))) != 0 ||
	    (err = translate(a, lib.archive_write_open_fd(a->archive, fd))) != 0)
		return err;
	a->fd = fd;
	*out = STEAL(a);
	return 0;
}

/* libarchive closes files without a look at what close(2) says, which for some file systems is the first to know that a disk is full. */
static err_t
make_safe(const struct archiver *a)
{
	if (!a->tar)
		return syncfs(a->fd) == 0 ? 0 : -errno;
	/* A pipe, or a device without a disk. */
	return fsync(a->fd) == 0 || errno == EINVAL || errno == EROFS || errno == ENOTSUP ? 0 : -errno;
}

err_t
archiver_finish(struct archiver *a)
{
	const struct timespec times[2] = { { 0, UTIME_OMIT }, a->top_mtime };
	err_t err = translate(a, lib.archive_write_close(a->archive));

	if (err == 0 && a->has_top && utimensat(AT_FDCWD, ".", times, 0) != 0)
		err = -errno;
	return err == 0 ? make_safe(a) : err;
}

/* Entries. */

static void
describe(struct archive_entry *to, const struct archiver_entry *e, bool tar)
{
	lib.archive_entry_clear(to);
	lib.archive_entry_copy_pathname(to, e->path);
	lib.archive_entry_set_mode(to, (__LA_MODE_T)e->mode);
	lib.archive_entry_set_uid(to, e->uid);
	lib.archive_entry_set_gid(to, e->gid);
	lib.archive_entry_set_mtime(to, e->mtime.tv_sec, e->mtime.tv_nsec);
	if (e->link != NULL) {
		lib.archive_entry_copy_hardlink(to, e->link);
		lib.archive_entry_unset_size(to);
		return;
	}
	if (S_ISLNK(e->mode))
		lib.archive_entry_copy_symlink(to, e->target);
	if (S_ISCHR(e->mode) || S_ISBLK(e->mode)) {
		lib.archive_entry_set_rdevmajor(to, major(e->rdev));
		lib.archive_entry_set_rdevminor(to, minor(e->rdev));
	}
	lib.archive_entry_set_size(to, S_ISREG(e->mode) ? (la_int64_t)e->size : 0);
	for (size_t i = 0; i < e->xattr_count; i++)
		if (tar || strncmp(e->xattrs[i].name, ACL_PREFIX, strlen(ACL_PREFIX)) != 0)
			lib.archive_entry_xattr_add_entry(to, e->xattrs[i].name, e->xattrs[i].value, e->xattrs[i].len);
	for (size_t i = 0; tar && e->data != NULL && i < e->data_count; i++)
		lib.archive_entry_sparse_add_entry(to, (la_int64_t)e->data[i].off, (la_int64_t)e->data[i].len);
	if (tar && e->data != NULL && e->data_count == 0)
		lib.archive_entry_sparse_add_entry(to, (la_int64_t)e->size, 0);
}

/* Those that libarchive left out. */
static err_t
set_acls(const struct archiver_entry *e)
{
	for (size_t i = 0; i < e->xattr_count; i++) {
		const struct archiver_xattr *x = &e->xattrs[i];

		if (strncmp(x->name, ACL_PREFIX, strlen(ACL_PREFIX)) == 0 &&
		    lsetxattr(e->path, x->name, x->value, x->len, 0) != 0 && errno != ENOTSUP && errno != EPERM)
			return -errno;
	}
	return 0;
}

/* libarchive makes a plain file of a socket. */
static err_t
make_socket(const struct archiver_entry *e)
{
	const struct timespec times[2] = { { 0, UTIME_OMIT }, e->mtime };

	if (mknod(e->path, (mode_t)e->mode, 0) != 0 || chmod(e->path, e->mode & 07777u) != 0)
		return -errno;
	if (geteuid() == 0 && lchown(e->path, e->uid, e->gid) != 0)
		return -errno;
	return utimensat(AT_FDCWD, e->path, times, AT_SYMLINK_NOFOLLOW) != 0 ? -errno : 0;
}

err_t
archiver_begin(struct archiver *a, const struct archiver_entry *e)
{
	err_t err;

	if (S_ISSOCK(e->mode) && e->link == NULL)
		return a->tar ? -ENOTSUP : make_socket(e);
	describe(a->entry, e, a->tar);
	if ((err = translate(a, lib.archive_write_header(a->archive, a->entry))) != 0)
		return err;
	if (!a->tar && e->link == NULL && !S_ISLNK(e->mode) && (err = set_acls(e)) != 0)
		return err;
	if (!a->tar && strcmp(e->path, ".") == 0) {
		a->has_top = true;
		a->top_mtime = e->mtime;
	}
	a->path = strdup(e->path);
	if (a->path == NULL)
		return -ENOMEM;
	a->open = true;
	a->regular = S_ISREG(e->mode) && e->link == NULL;
	a->at = 0;
	a->size = e->size;
	return 0;
}

static err_t
write_stream(struct archiver *a, const uint8_t *data, size_t len)
{
	while (len > 0) {
		la_ssize_t n = lib.archive_write_data(a->archive, data, len);

		if (n < 0)
			return translate_content(a, n);
		if (n == 0)
			return -EIO;
		data += n;
		len -= (size_t)n;
		a->at += (uint64_t)n;
	}
	return 0;
}

static err_t
write_zeros(struct archiver *a, uint64_t until)
{
	static const uint8_t zeros[ZEROS_LEN];
	err_t err = 0;

	while (err == 0 && a->at < until)
		err = write_stream(a, zeros, until - a->at < ZEROS_LEN ? (size_t)(until - a->at) : ZEROS_LEN);
	return err;
}

err_t
archiver_write(struct archiver *a, uint64_t off, const uint8_t *data, size_t len)
{
	err_t err;

	if (!a->tar)
		return translate_content(a, lib.archive_write_data_block(a->archive, data, len, (la_int64_t)off));
	err = write_zeros(a, off);
	return err != 0 ? err : write_stream(a, data, len);
}

err_t
archiver_end(struct archiver *a)
{
	err_t err;

	if (!a->open)
		return 0; /* a socket */
	err = a->tar && a->regular ? write_zeros(a, a->size) : 0;
	if (err == 0)
		err = translate(a, lib.archive_write_finish_entry(a->archive));
	entry_clear(a);
	return err;
}

err_t
archiver_give_up(struct archiver *a)
{
	char *path = STEAL(a->path);
	err_t err = archiver_end(a);

	if (err == 0 && !a->tar && path != NULL && unlink(path) != 0)
		err = -errno;
	free(path);
	return err;
}
