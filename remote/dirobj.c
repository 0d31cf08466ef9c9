/*
 * dirobj.c: one object, one file.  Folders are walked component by component with O_NOFOLLOW, because whoever can write to
 * the directory is an adversary.
 */
#include "dirobj.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "limit.h"
#include "random.h"

#define TEMP_NAME_LEN 32
#define TEMP_MAX_AGE_S (24 * 60 * 60)
#define FOLDERS_MAX 4096
#define PIECE_LEN (1u << 20) /* what is read or written at once */
#define FOLDER_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static void close_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

bool dirobj_reserved(const char *name)
{
	size_t len = strlen(DIROBJ_TEMP);

	return strncmp(name, DIROBJ_TEMP, len) == 0 && (name[len] == '\0' || name[len] == '/');
}

err_t dirobj_flush_folder(int folder)
{
	CLEANUP(close_fd) int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	/* EINVAL: a file system that has no such notion for folders. */
	if (fsync(fd) != 0 && errno != EINVAL)
		return -errno;
	return 0;
}

/* Whatever the umask is.  It is no matter where it can't be: on a file system without modes, or if it is somebody else's. */
static void open_up(int fd, mode_t mode)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && (st.st_mode & mode) != mode && st.st_uid == geteuid())
		(void)fchmod(fd, (st.st_mode & 07777) | mode);
}

void dirobj_open_up(int parent, const char *leaf, mode_t mode)
{
	CLEANUP(close_fd) int fd = openat(parent, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		open_up(fd, mode);
}

/* ---- folders ---- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool folder_known(struct dirobj_writer *w, const char *name)
{
	bool known;

	pthread_mutex_lock(&w->lock);
	known = tfind(name, &w->folders, compare_names) != NULL;
	pthread_mutex_unlock(&w->lock);
	return known;
}

static void forget_folders(struct dirobj_writer *w)
{
	pthread_mutex_lock(&w->lock);
	tdestroy(w->folders, free);
	w->folders = NULL;
	w->folder_count = 0;
	pthread_mutex_unlock(&w->lock);
}

void dirobj_writer_init(struct dirobj_writer *w, mode_t mode)
{
	*w = (struct dirobj_writer){.mode = mode};
	pthread_mutex_init(&w->lock, NULL);
}

void dirobj_writer_clear(struct dirobj_writer *w)
{
	forget_folders(w);
	pthread_mutex_destroy(&w->lock);
}

/* Only saves work, so that a failure for want of memory is no matter. */
static void remember_folder(struct dirobj_writer *w, const char *name)
{
	char *copy = strdup(name);
	char *const *found;

	if (!copy)
		return;
	pthread_mutex_lock(&w->lock);
	found = w->folder_count < FOLDERS_MAX ? tsearch(copy, &w->folders, compare_names) : NULL;
	if (found && *found == copy)
		w->folder_count++;
	else
		free(copy);
	pthread_mutex_unlock(&w->lock);
}

/* path: the folder's whole name in the store; leaf: its last component, in the folder `parent`. */
static err_t make_folder(struct dirobj_writer *w, int parent, const char *path, const char *leaf)
{
	err_t err;

	if (folder_known(w, path))
		return 0;
	if (mkdirat(parent, leaf, w->mode) != 0 && errno != EEXIST)
		return -errno;
	/* Also if it existed: whoever made it may not have come to that, nor to flush it. */
	dirobj_open_up(parent, leaf, w->mode);
	err = dirobj_flush_folder(parent);
	if (err)
		return err;
	remember_folder(w, path);
	return 0;
}

/* Opens the folder that holds the object.  With a writer, the folders on the way are made. */
static err_t walk(struct dirobj_writer *w, int root, const char *name, int *folder_out, const char **leaf_out)
{
	char path[STORE_NAME_MAX + 1];
	CLEANUP(close_fd) int folder = fcntl(root, F_DUPFD_CLOEXEC, 0);
	char *leaf = path;

	if (folder < 0)
		return -errno;
	(void)snprintf(path, sizeof(path), "%s", name);
	for (char *slash; (slash = strchr(leaf, '/')) != NULL; leaf = slash + 1) {
		int next;

		*slash = '\0';
		if (w) {
			err_t err = make_folder(w, folder, path, leaf);
			if (err)
				return err;
		}
		next = openat(folder, leaf, FOLDER_FLAGS);
		if (next < 0)
			return -errno;
		close_fd(&folder);
		folder = next;
		*slash = '/';
	}
	*leaf_out = name + (leaf - path);
	*folder_out = folder;
	folder = -1;
	return 0;
}

/* ---- writing ---- */

static err_t write_all(int fd, const uint8_t *data, size_t len, struct limit *limit)
{
	size_t may = 0; /* so many may still pass */

	while (len > 0) {
		ssize_t n;

		if (may == 0 && (may = limit_take(limit, LIMIT_UP, len < PIECE_LEN ? len : PIECE_LEN)) == 0)
			return -ECANCELED;
		n = write(fd, data, may);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
		may -= (size_t)n;
	}
	return 0;
}

static err_t draw_temp_name(char out[static TEMP_NAME_LEN + 1])
{
	uint8_t raw[TEMP_NAME_LEN / 2];
	err_t err = random_bytes(raw, sizeof(raw));

	if (err)
		return err;
	for (size_t i = 0; i < sizeof(raw); i++)
		(void)snprintf(out + 2 * i, 3, "%02x", raw[i]);
	return 0;
}

/* A flushed file in the folder tmp; nothing is left of it on failure. */
static err_t write_temp(const struct dirobj_writer *w, int tmp, const char *temp, const uint8_t *data, size_t len,
    struct limit *limit)
{
	CLEANUP(close_fd) int fd = openat(tmp, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, w->mode & 0666);
	err_t err;

	if (fd < 0)
		return -errno;
	open_up(fd, w->mode & 0666);
	err = write_all(fd, data, len, limit);
	if (err == 0 && fsync(fd) != 0)
		err = -errno;
	if (err)
		(void)unlinkat(tmp, temp, 0);
	return err;
}

/* Gives the temporary file its name, unless the name is taken. */
static err_t link_new(int tmp, const char *temp, int folder, const char *leaf)
{
	if (linkat(tmp, temp, folder, leaf, 0) == 0)
		return 0;
	if (errno != EPERM && errno != ENOTSUP && errno != ENOSYS)
		return -errno;
	/* No hard links (FAT, exFAT): a rename that refuses to replace is just as exclusive. */
	if (renameat2(tmp, temp, folder, leaf, RENAME_NOREPLACE) == 0)
		return 0;
	return errno == EINVAL || errno == ENOSYS ? -ENOTSUP : -errno;
}

static err_t place(struct dirobj_writer *w, int root, int tmp, const char *temp, const char *name, bool exclusive)
{
	CLEANUP(close_fd) int folder = -1;
	const char *leaf = NULL;
	err_t err = walk(w, root, name, &folder, &leaf), flushed;

	if (err == -ENOENT) {
		/* A folder that was known is gone: an empty one was removed, or the disk was swapped for a copy. */
		forget_folders(w);
		err = walk(w, root, name, &folder, &leaf);
	}
	if (err)
		return err;
	if (exclusive)
		err = link_new(tmp, temp, folder, leaf);
	else if (renameat(tmp, temp, folder, leaf) != 0)
		err = -errno;
	if (err && err != -EEXIST)
		return err;
	/* Also if the name was taken: it may be our own, from before a crash, and whoever finds that takes it for durable. */
	flushed = dirobj_flush_folder(folder);
	return flushed ? flushed : err;
}

err_t dirobj_write(struct dirobj_writer *w, int root, const char *name, const uint8_t *data, size_t len, bool exclusive,
    struct limit *limit)
{
	char temp[TEMP_NAME_LEN + 1];
	CLEANUP(close_fd) int tmp = openat(root, DIROBJ_TEMP, FOLDER_FLAGS);
	err_t err;

	if (tmp < 0)
		return -errno;
	err = draw_temp_name(temp);
	if (err)
		return err;
	err = write_temp(w, tmp, temp, data, len, limit);
	if (err)
		return err;
	err = place(w, root, tmp, temp, name, exclusive);
	if (err || exclusive)
		(void)unlinkat(tmp, temp, 0);
	return err;
}

/* ---- reading ---- */

/* O_NONBLOCK: so that a fifo in the place of an object does not hang us before it is seen to be one. */
err_t dirobj_open(int root, const char *name, int *fd_out, uint64_t *size_out)
{
	CLEANUP(close_fd) int folder = -1;
	CLEANUP(close_fd) int fd = -1;
	const char *leaf = NULL;
	struct stat st;
	err_t err = walk(NULL, root, name, &folder, &leaf);

	if (err)
		return err;
	fd = openat(folder, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	*size_out = (uint64_t)st.st_size;
	*fd_out = fd;
	fd = -1;
	return 0;
}

static err_t read_all(int fd, uint64_t off, uint8_t *at, size_t len, struct limit *limit)
{
	size_t may = 0; /* so many may still pass */

	while (len > 0) {
		ssize_t n;

		if (may == 0 && (may = limit_take(limit, LIMIT_DOWN, len < PIECE_LEN ? len : PIECE_LEN)) == 0)
			return -ECANCELED;
		n = pread(fd, at, may, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EBADMSG; /* it has shrunk */
		at += n;
		off += (uint64_t)n;
		len -= (size_t)n;
		may -= (size_t)n;
	}
	return 0;
}

err_t dirobj_append(int fd, uint64_t off, size_t len, struct limit *limit, struct bytes *out)
{
	size_t before = out->len;
	uint8_t *at = NULL;
	err_t err;

	if (len == 0)
		return 0;
	err = bytes_extend(out, len, &at);
	if (err)
		return err;
	err = read_all(fd, off, at, len, limit);
	if (err)
		out->len = before;
	return err;
}

err_t dirobj_remove(int root, const char *name)
{
	CLEANUP(close_fd) int folder = -1;
	const char *leaf = NULL;
	err_t err = walk(NULL, root, name, &folder, &leaf);

	if (err)
		return err;
	return unlinkat(folder, leaf, 0) == 0 ? 0 : -errno;
}

/* ---- listing ---- */

struct listing {
	const char *prefix;
	store_item_fn *fn;
	void *ctx;
	err_t fn_err;                  /* what fn ended the listing with */
	char name[STORE_NAME_MAX + 1]; /* of the folder or object that is being looked at */
};

static err_t list_folder(struct listing *l, int parent, const char *leaf, size_t name_len);

/* What is no object, was put there by somebody else, or has just gone is passed over. */
static err_t list_entry(struct listing *l, int folder, const char *leaf, size_t name_len)
{
	size_t prefix_len = strlen(l->prefix);
	size_t room = sizeof(l->name) - name_len;
	int n = snprintf(l->name + name_len, room, "%s%s", name_len > 0 ? "/" : "", leaf);
	struct stat st;

	if (n < 0 || (size_t)n >= room || !store_name_valid(l->name) || dirobj_reserved(l->name))
		return 0;
	name_len += (size_t)n;
	if (strncmp(l->name, l->prefix, name_len < prefix_len ? name_len : prefix_len) != 0)
		return 0;
	if (fstatat(folder, leaf, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode)) {
		err_t err = list_folder(l, folder, leaf, name_len);

		/* .snapshots, say, at the top of a disk: no object is called like that, so it is other programs', and maybe other people's. */
		return err == -EACCES && l->name[0] == '.' ? 0 : err;
	}
	if (S_ISREG(st.st_mode) && name_len >= prefix_len)
		l->fn_err = l->fn(l->ctx, &(struct store_item){l->name, (uint64_t)st.st_size, st.st_mtime});
	return 0;
}

/* As deep as a name can be, so the recursion is bounded by STORE_NAME_MAX / 2. */
static err_t list_folder(struct listing *l, int parent, const char *leaf, size_t name_len)
{
	int fd = openat(parent, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP(close_dir) DIR *dir = NULL;
	err_t err = 0;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	dir = fdopendir(fd);
	if (!dir) {
		err = -errno;
		close_fd(&fd);
		return err;
	}
	while (err == 0 && l->fn_err == 0) {
		const struct dirent *entry;

		errno = 0;
		entry = readdir(dir);
		if (!entry)
			return -errno;
		err = list_entry(l, dirfd(dir), entry->d_name, name_len);
		l->name[name_len] = '\0';
	}
	return err;
}

err_t dirobj_list(int root, const char *prefix, store_item_fn *fn, void *ctx, err_t *fn_err_out)
{
	struct listing l = {.prefix = prefix, .fn = fn, .ctx = ctx};
	err_t err = list_folder(&l, root, ".", 0);

	*fn_err_out = l.fn_err;
	return err;
}

void dirobj_sweep(int root)
{
	int fd = openat(root, DIROBJ_TEMP, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP(close_dir) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	time_t now = time(NULL);

	if (!dir) {
		close_fd(&fd);
		return;
	}
	for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		struct stat st;

		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
		    st.st_mtime < now - TEMP_MAX_AGE_S)
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	}
}
