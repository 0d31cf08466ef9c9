/*
 * tape_sqlite.c: a SQLite VFS in front of the ordinary one, told to the tape.  SQLite flushes a directory from inside two of
 * its calls (the first xSync of a new log, and xDelete); the hook on its openDirectory shows when.
 */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tape.h"

struct shim {
	sqlite3_file base;
	const char *path; /* SQLite keeps it until xClose */
	sqlite3_file *real;
};

static sqlite3_vfs *ordinary;
static _Thread_local int failed_errno; /* of the last step that was made to fail; 0: none */

typedef int open_directory_fn(const char *path, int *fd_out);
static open_directory_fn *ordinary_open_directory;
static _Thread_local bool directory_opened;

static struct shim *
shim_of(sqlite3_file *f)
{
	return (struct shim *)(void *)f;
}

/* SQLite's answer to a failed step: its own code for a full disk, else the one given. */
static int
answer(err_t e, int code)
{
	failed_errno = e ? -e : 0;
	return e == 0 ? SQLITE_OK : e == -ENOSPC && code != SQLITE_IOERR_FSYNC ? SQLITE_FULL : code;
}

static int
watched_open_directory(const char *path, int *fd_out)
{
	directory_opened = true;
	return ordinary_open_directory(path, fd_out);
}

static void
record_directory_of(const char *path)
{
	char dir[512];

	snprintf(dir, sizeof(dir), "%s", path);
	*strrchr(dir, '/') = '\0';
	tape_record_flush_dir(dir, tape_position());
}

/* Writes. */

static int
shim_write(sqlite3_file *f, const void *data, int len, sqlite3_int64 off)
{
	struct shim *s = shim_of(f);
	err_t e = tape_step(s->path, true);

	tape_record(s->path, TAPE_WRITE, (uint64_t)off, (uint64_t)(e ? len / 2 : len), data);
	return e ? answer(e, SQLITE_IOERR_WRITE) : s->real->pMethods->xWrite(s->real, data, len, off);
}

static int
shim_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct shim *s = shim_of(f);
	int rc = answer(tape_step(s->path, true), SQLITE_IOERR_TRUNCATE);

	if (rc == SQLITE_OK)
		rc = s->real->pMethods->xTruncate(s->real, size);
	if (rc == SQLITE_OK)
		tape_record(s->path, TAPE_TRUNCATE, 0, (uint64_t)size, NULL);
	return rc;
}

static int
shim_sync(sqlite3_file *f, int flags)
{
	struct shim *s = shim_of(f);
	size_t upto = tape_position();
	int rc = answer(tape_step(s->path, true), SQLITE_IOERR_FSYNC);

	if (rc != SQLITE_OK) {
		tape_record(s->path, TAPE_FLUSH_FAILED, 0, 0, NULL);
		return rc;
	}
	directory_opened = false;
	rc = s->real->pMethods->xSync(s->real, flags);
	if (rc != SQLITE_OK)
		return rc;
	tape_record_flush(s->path, upto);
	if (directory_opened)
		record_directory_of(s->path);
	return SQLITE_OK;
}

static int
shim_shm_map(sqlite3_file *f, int region, int len, int extend, void volatile **out)
{
	struct shim *s = shim_of(f);
	int rc = extend ? answer(tape_step(s->path, true), SQLITE_IOERR_SHMSIZE) : SQLITE_OK;

	return rc != SQLITE_OK ? rc : s->real->pMethods->xShmMap(s->real, region, len, extend, out);
}

/* The rest is handed on. */

static int
shim_close(sqlite3_file *f)
{
	return shim_of(f)->real->pMethods->xClose(shim_of(f)->real);
}

static int
shim_read(sqlite3_file *f, void *buf, int len, sqlite3_int64 off)
{
	struct shim *s = shim_of(f);
	int rc = answer(tape_read_step(s->path), SQLITE_IOERR_READ);

	return rc != SQLITE_OK ? rc : s->real->pMethods->xRead(s->real, buf, len, off);
}

static int
shim_size(sqlite3_file *f, sqlite3_int64 *out)
{
	return shim_of(f)->real->pMethods->xFileSize(shim_of(f)->real, out);
}

static int
shim_lock(sqlite3_file *f, int level)
{
	return shim_of(f)->real->pMethods->xLock(shim_of(f)->real, level);
}

static int
shim_unlock(sqlite3_file *f, int level)
{
	return shim_of(f)->real->pMethods->xUnlock(shim_of(f)->real, level);
}

static int
shim_check_lock(sqlite3_file *f, int *out)
{
	return shim_of(f)->real->pMethods->xCheckReservedLock(shim_of(f)->real, out);
}

static int
shim_control(sqlite3_file *f, int op, void *arg)
{
	return shim_of(f)->real->pMethods->xFileControl(shim_of(f)->real, op, arg);
}

static int
shim_sector_size(sqlite3_file *f)
{
	return shim_of(f)->real->pMethods->xSectorSize(shim_of(f)->real);
}

static int
shim_characteristics(sqlite3_file *f)
{
	return shim_of(f)->real->pMethods->xDeviceCharacteristics(shim_of(f)->real);
}

static int
shim_shm_lock(sqlite3_file *f, int off, int n, int flags)
{
	return shim_of(f)->real->pMethods->xShmLock(shim_of(f)->real, off, n, flags);
}

static void
shim_shm_barrier(sqlite3_file *f)
{
	shim_of(f)->real->pMethods->xShmBarrier(shim_of(f)->real);
}

static int
shim_shm_unmap(sqlite3_file *f, int remove)
{
	return shim_of(f)->real->pMethods->xShmUnmap(shim_of(f)->real, remove);
}

static int
shim_fetch(sqlite3_file *f, sqlite3_int64 off, int len, void **out)
{
	*out = NULL;
	if (tape_fails_reads()) /* then it is xRead that is asked */
		return SQLITE_OK;
	return shim_of(f)->real->pMethods->xFetch(shim_of(f)->real, off, len, out);
}

static int
shim_unfetch(sqlite3_file *f, sqlite3_int64 off, void *p)
{
	return shim_of(f)->real->pMethods->xUnfetch(shim_of(f)->real, off, p);
}

static const sqlite3_io_methods METHODS = {
	.iVersion = 3,
	.xClose = shim_close,
	.xRead = shim_read,
	.xWrite = shim_write,
	.xTruncate = shim_truncate,
	.xSync = shim_sync,
	.xFileSize = shim_size,
	.xLock = shim_lock,
	.xUnlock = shim_unlock,
	.xCheckReservedLock = shim_check_lock,
	.xFileControl = shim_control,
	.xSectorSize = shim_sector_size,
	.xDeviceCharacteristics = shim_characteristics,
	.xShmMap = shim_shm_map,
	.xShmLock = shim_shm_lock,
	.xShmBarrier = shim_shm_barrier,
	.xShmUnmap = shim_shm_unmap,
	.xFetch = shim_fetch,
	.xUnfetch = shim_unfetch,
};

/* The VFS. */

static int
vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *f, int flags, int *flags_out)
{
	struct shim *s = shim_of(f);
	bool makes = (flags & SQLITE_OPEN_CREATE) && path && access(path, F_OK) != 0;
	int rc = makes ? answer(tape_step(path, true), SQLITE_CANTOPEN) : SQLITE_OK;

	(void)vfs;
	s->base.pMethods = NULL; /* else SQLite would close it */
	s->path = path ? path : "";
	s->real = (sqlite3_file *)(void *)(s + 1);
	if (rc == SQLITE_OK)
		rc = ordinary->xOpen(ordinary, path, s->real, flags, flags_out);
	if (rc != SQLITE_OK)
		return rc;
	s->base.pMethods = &METHODS;
	if (makes)
		tape_record_name(path, true);
	return SQLITE_OK;
}

static int
vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_dir)
{
	bool there = access(path, F_OK) == 0;
	int rc = answer(tape_step(path, false), SQLITE_IOERR_DELETE);

	(void)vfs;
	if (rc != SQLITE_OK)
		return rc;
	directory_opened = false;
	rc = ordinary->xDelete(ordinary, path, sync_dir);
	if (rc == SQLITE_OK && there)
		tape_record_name(path, false);
	if (rc == SQLITE_OK && directory_opened)
		record_directory_of(path);
	return rc;
}

static int
vfs_last_error(sqlite3_vfs *vfs, int len, char *text)
{
	(void)vfs;
	return failed_errno ? failed_errno : ordinary->xGetLastError(ordinary, len, text);
}

void
tape_watch_sqlite(void)
{
	static sqlite3_vfs shim;

	ordinary = sqlite3_vfs_find("unix-excl");
	shim = *ordinary;
	shim.pNext = NULL;
	shim.szOsFile = (int)sizeof(struct shim) + ordinary->szOsFile;
	shim.xOpen = vfs_open;
	shim.xDelete = vfs_delete;
	shim.xGetLastError = vfs_last_error;
	ordinary_open_directory = (open_directory_fn *)ordinary->xGetSystemCall(ordinary, "openDirectory");
	(void)ordinary->xSetSystemCall(ordinary, "openDirectory", (sqlite3_syscall_ptr)watched_open_directory);
	(void)sqlite3_vfs_register(&shim, 1); /* of the same name: found first */
}
