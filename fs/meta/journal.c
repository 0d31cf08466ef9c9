/* journal.c: records of rows in a file whose room was written before. */
#include "journal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Running out of memory shows as hh.tbl == NULL. */
#define HASH_NONFATAL_OOM 1
#include "hash_table.h"

#include "disk.h"
#include "log.h"
#include "rowdiff.h"

#define BLOCK_LEN 4096u
/* Half of it is for records; the other half is room that the disk must have when they are put into the database. */
#define LEN_MIN (1u << 20)
#define LEN_MAX (32u << 20)
#define FREE_SHARE 4 /* it grows by no more than such a part of what the disk has free */

/* A record: generation, number, length of what follows (a count of rows, and the rows, sealed). */
#define HEAD_LEN (8 + 8 + 4)
#define RECORD_OVERHEAD (HEAD_LEN + ROWSEAL_OVERHEAD + 4)
#define AAD_TABLE 0xff /* no table's: a record is no row, nor a row a record */
#define AAD_LEN (1 + 8 + 8)

/* Rows shorter than this are written whole. */
#define DIFF_MIN 512u

enum { ROW_GONE, ROW_WHOLE, ROW_DIFF };

/* A row as the journal has it by now. */
struct known {
	struct db_row row; /* its data is in `data`, or NULL */
	struct bytes data;
	uint64_t key[3];
	UT_hash_handle hh;
};

struct journal {
	struct rowseal *rs;
	int dirfd;
	char *name;
	int fd; /* -1: no file */
	uint64_t len; /* written once: multiples of BLOCK_LEN */
	uint64_t generation;
	uint64_t number; /* of the next record */
	uint64_t at;     /* where it goes */
	uint64_t told;   /* journal_is_short has said so of this length */
	bool running;    /* between journal_restart and whatever suspends it */
	bool used;
	struct known *known; /* while reading, all; then those of which a difference may come */
	struct bytes diff;   /* kept for their memory */
	struct bytes plain;  /* of one record */
	struct bytes sealed;
};

/* Rows that are known. */

static void
make_key(uint64_t key[static 3], const struct db_row *row)
{
	key[0] = (uint64_t)row->table;
	key[1] = row->a;
	key[2] = row->b;
}

static struct known *
known_find(struct journal *j, const struct db_row *row)
{
	struct known *k;
	uint64_t key[3];

	make_key(key, row);
	HASH_FIND(hh, j->known, key, sizeof(key), k);
	return k;
}

static struct known *
known_add(struct journal *j, const struct db_row *row)
{
	struct known *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	make_key(k->key, row);
	HASH_ADD(hh, j->known, key, sizeof(k->key), k);
	if (k->hh.tbl)
		return k;
	free(k);
	return NULL;
}

static void
known_forget(struct journal *j, struct known *k)
{
	HASH_DEL(j->known, k);
	bytes_clear(&k->data);
	free(k);
}

static void
forget_all(struct journal *j)
{
	struct known *k, *next;

	HASH_ITER (hh, j->known, k, next)
		known_forget(j, k);
}

/* It is the row, with these bytes, from now on. */
static err_t
known_set(struct known *k, const struct db_row *row, const uint8_t *data, size_t len)
{
	bytes_reset(&k->data);

	err_t e = bytes_append(&k->data, data, len);

	if (e)
		return e;
	k->row = *row;
	k->row.data = k->data.data;
	k->row.len = len;
	return 0;
}

/* Opening and closing. */

static void
journal_cleanup(struct journal **j)
{
	journal_free(*j);
}

static err_t
open_dir_of(const char *path, int *fd_out)
{
	CLEANUP(free_ptr) char *copy = strdup(path);
	int fd;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*fd_out = fd;
	return 0;
}

err_t
journal_new(const char *path, struct rowseal *rs, struct journal **out)
{
	CLEANUP(journal_cleanup) struct journal *j = calloc(1, sizeof(*j));
	CLEANUP(free_ptr) char *copy = strdup(path);

	if (!j)
		return -ENOMEM;
	j->rs = rs;
	j->dirfd = j->fd = -1;
	if (!copy || !(j->name = strdup(basename(copy))))
		return -ENOMEM;

	err_t e = open_dir_of(path, &j->dirfd);

	if (e)
		return e;
	*out = STEAL(j);
	return 0;
}

void
journal_discard(struct journal *j)
{
	err_t e = disk_unlink(j->dirfd, j->name);

	if (e && e != -ENOENT)
		log_warn("the unused journal was left behind: %s", strerror(-e));
}

void
journal_free(struct journal *j)
{
	if (!j)
		return;
	if (j->fd >= 0 && !j->used)
		journal_discard(j);
	if (j->fd >= 0)
		(void)close(j->fd);
	if (j->dirfd >= 0)
		(void)close(j->dirfd);
	forget_all(j);
	bytes_clear(&j->diff);
	bytes_clear(&j->plain);
	bytes_clear(&j->sealed);
	free(j->name);
	free(j);
}

/* Records. */

static void
make_aad(uint8_t aad[static AAD_LEN], uint64_t generation, uint64_t number)
{
	aad[0] = AAD_TABLE;
	put_u64(aad + 1, generation);
	put_u64(aad + 9, number);
}

static err_t
put_row(struct bytes *b, const struct db_row *r, uint8_t kind, const uint8_t *data, size_t len)
{
	uint8_t *p;
	err_t e = bytes_extend(b, DB_JOURNAL_ROW_OVERHEAD, &p);

	if (e)
		return e;
	p[0] = (uint8_t)r->table;
	p[1] = kind;
	put_u64(p + 2, r->a);
	put_u64(p + 10, r->b);
	put_u64(p + 18, (uint64_t)r->hash);
	put_u32(p + 26, r->mark);
	put_u32(p + 30, r->state);
	put_u32(p + 34, (uint32_t)len);
	return bytes_append(b, data, len);
}

/* A new version of one that is known: as a difference if that is shorter. */
static err_t
put_again(struct journal *j, struct known *k, const struct db_row *r)
{
	bytes_reset(&j->diff);

	err_t e = rowdiff_make(k->data.data, k->data.len, r->data, r->len, &j->diff);

	if (e)
		return e;
	e = j->diff.len < r->len ? put_row(&j->plain, r, ROW_DIFF, j->diff.data, j->diff.len) :
	    put_row(&j->plain, r, ROW_WHOLE, r->data, r->len);
	return e ? e : known_set(k, r, r->data, r->len);
}

static err_t
put_first(struct journal *j, const struct db_row *r)
{
	err_t e = put_row(&j->plain, r, ROW_WHOLE, r->data, r->len);

	if (e || r->len < DIFF_MIN || r->table == DB_REDO)
		return e;

	struct known *k = known_add(j, r);

	return k ? known_set(k, r, r->data, r->len) : -ENOMEM;
}

static err_t
put_rows(struct journal *j, const struct db_row *rows, size_t count)
{
	err_t e = bytes_append_u32(&j->plain, (uint32_t)count);

	for (size_t i = 0; i < count && !e; i++) {
		struct known *k = known_find(j, &rows[i]);

		if (rows[i].data) {
			e = k ? put_again(j, k, &rows[i]) : put_first(j, &rows[i]);
			continue;
		}
		e = put_row(&j->plain, &rows[i], ROW_GONE, NULL, 0);
		if (k)
			known_forget(j, k);
	}
	return e;
}

/* The next record, in whole blocks: a write of less would have to read the rest of the last one first. */
static err_t
make_record(struct journal *j, const struct db_row *rows, size_t count)
{
	uint8_t aad[AAD_LEN];
	uint8_t *p;

	bytes_reset(&j->plain);
	bytes_reset(&j->sealed);
	make_aad(aad, j->generation, j->number);

	err_t e = put_rows(j, rows, count);

	if (!e)
		e = bytes_extend(&j->sealed, HEAD_LEN, &p);
	if (!e)
		e = rowseal_seal(j->rs, aad, sizeof(aad), j->plain.data, j->plain.len, &j->sealed);
	if (e)
		return e;
	put_u64(j->sealed.data, j->generation);
	put_u64(j->sealed.data + 8, j->number);
	put_u32(j->sealed.data + 16, (uint32_t)(j->sealed.len - HEAD_LEN));

	size_t padding = (BLOCK_LEN - j->sealed.len % BLOCK_LEN) % BLOCK_LEN;

	e = bytes_extend(&j->sealed, padding, &p);
	if (!e && padding)
		memset(p, 0, padding);
	return e;
}

size_t
journal_room(const struct journal *j)
{
	uint64_t left = j->at < j->len / 2 ? j->len / 2 - j->at : 0;

	return j->running && left > RECORD_OVERHEAD ? (size_t)(left - RECORD_OVERHEAD) : 0;
}

err_t
journal_append(struct journal *j, const struct db_row *rows, size_t count)
{
	assert(j->running);

	err_t e = make_record(j, rows, count);

	if (!e && j->at + j->sealed.len > j->len / 2)
		e = -ENOSPC;
	if (!e) {
		j->used = true;
		e = disk_pwrite(j->fd, j->sealed.data, j->sealed.len, j->at);
	}
	if (!e)
		e = disk_flush(j->fd);
	if (e) {
		/* It may be there or not.  Were others to follow in its place, replaying could end too early; and what is known is ahead. */
		journal_suspend(j);
		return e;
	}
	j->at += j->sealed.len;
	j->number++;
	return 0;
}

/* Generations. */

bool
journal_is_used(const struct journal *j)
{
	return j->used;
}

uint64_t
journal_generation(const struct journal *j)
{
	return j->generation;
}

void
journal_restart(struct journal *j, uint64_t generation)
{
	j->generation = generation;
	j->number = 0;
	j->at = 0;
	j->told = 0;
	j->used = false;
	j->running = true;
	forget_all(j);
}

void
journal_suspend(struct journal *j)
{
	j->running = false;
}

/* Room. */

/* Zeros from the present end to len.  What the disk has no room for it has back. */
static err_t
lengthen(struct journal *j, uint64_t len)
{
	static const uint8_t zeros[65536];
	err_t e = 0;

	for (uint64_t off = j->len; off < len && !e; off += sizeof(zeros))
		e = disk_pwrite(j->fd, zeros, sizeof(zeros), off);
	if (!e)
		e = disk_flush(j->fd);
	if (!e) {
		j->len = len;
		return 0;
	}

	err_t kept = disk_truncate(j->fd, j->len);

	if (kept)
		log_warn("the journal keeps room that it has no use for: %s", strerror(-kept));
	return e;
}

static err_t
make_file(struct journal *j)
{
	err_t e = disk_create(j->dirfd, j->name, &j->fd);

	if (!e)
		e = lengthen(j, LEN_MIN);
	if (!e)
		e = disk_flush_dir(j->dirfd);
	if (e && j->fd >= 0) {
		(void)close(j->fd);
		j->fd = -1;
		j->len = 0;
		journal_discard(j);
	}
	return e;
}

/* A disk that is nearly full needs its room for other things. */
static bool
can_spare(const struct journal *j, uint64_t len)
{
	struct statvfs st;

	return fstatvfs(j->fd, &st) || (uint64_t)st.f_bavail * st.f_frsize / FREE_SHARE >= len;
}

err_t
journal_make_room(struct journal *j)
{
	if (j->fd < 0)
		return make_file(j);
	return j->running && j->len < LEN_MAX && can_spare(j, j->len) ? lengthen(j, 2 * j->len) : 0;
}

bool
journal_is_short(struct journal *j)
{
	if (!j->running || j->len >= LEN_MAX || j->at <= j->len / 4 || j->told == j->len)
		return false;
	j->told = j->len;
	return true;
}

/* Replaying. */

static err_t
take_data(struct journal *j, const struct db_row *row, uint8_t kind, const uint8_t *data)
{
	struct known *k = known_find(j, row);

	if (!k)
		k = known_add(j, row);
	if (!k)
		return -ENOMEM;
	if (kind == ROW_GONE) {
		k->row = *row;
		return row->len ? -EBADMSG : 0;
	}
	if (kind == ROW_WHOLE)
		return known_set(k, row, data, row->len);
	bytes_reset(&j->diff);
	if (!k->row.data)
		return -EBADMSG;

	err_t e = rowdiff_apply(k->data.data, k->data.len, data, row->len, &j->diff);

	return e ? e : known_set(k, row, j->diff.data, j->diff.len);
}

static err_t
take_row(struct journal *j, struct cursor *c)
{
	const uint8_t *p, *data;
	err_t e = cursor_take(c, DB_JOURNAL_ROW_OVERHEAD, &p);

	if (e)
		return e;

	struct db_row row = {.table = (enum db_table)p[0], .a = get_u64(p + 2), .b = get_u64(p + 10)};

	if (p[0] > DB_CHUNK_PART || p[1] > ROW_DIFF || row.a > INT64_MAX || row.b > INT64_MAX)
		return -EBADMSG;
	row.hash = (int64_t)get_u64(p + 18);
	row.mark = get_u32(p + 26);
	row.state = get_u32(p + 30);
	row.len = get_u32(p + 34);
	e = cursor_take(c, row.len, &data);
	return e ? e : take_data(j, &row, p[1], data);
}

static err_t
take_rows(struct journal *j, struct cursor c)
{
	uint32_t count;
	err_t e = cursor_u32(&c, &count);

	for (uint32_t i = 0; i < count && !e; i++)
		e = take_row(j, &c);
	return !e && c.len ? -EBADMSG : e;
}

/* -ENOENT: there is none, or a torn one, which is the end. */
static err_t
take_record(struct journal *j, struct cursor *file)
{
	size_t left = file->len;
	uint8_t aad[AAD_LEN];
	const uint8_t *head, *sealed;

	if (cursor_take(file, HEAD_LEN, &head) || get_u64(head) != j->generation || get_u64(head + 8) != j->number)
		return -ENOENT;
	if (cursor_take(file, get_u32(head + 16), &sealed))
		return -ENOENT;
	make_aad(aad, j->generation, j->number);
	bytes_reset(&j->plain);

	err_t e = rowseal_open(j->rs, aad, sizeof(aad), sealed, get_u32(head + 16), &j->plain);

	if (e)
		return e == -EBADMSG ? -ENOENT : e;
	e = take_rows(j, (struct cursor){j->plain.data, j->plain.len});
	if (e)
		return e;

	size_t used = (left - file->len) % BLOCK_LEN;
	const uint8_t *padding;

	j->number++;
	if (used && cursor_take(file, BLOCK_LEN - used, &padding))
		file->len = 0;
	return 0;
}

static err_t
read_file(struct journal *j, struct bytes *out)
{
	struct stat st;
	uint8_t *p;
	int fd = -1;
	err_t e = disk_open_read(j->dirfd, j->name, &fd);

	if (e)
		return e == -ENOENT ? 0 : e;
	if (fstat(fd, &st))
		e = -errno;

	size_t len = e ? 0 : st.st_size < LEN_MAX ? (size_t)st.st_size : LEN_MAX;

	if (!e)
		e = bytes_extend(out, len, &p);
	if (!e && len)
		e = disk_pread(fd, p, len, 0);
	(void)close(fd);
	return e;
}

void
journal_give_room_back(struct journal *j)
{
	struct stat st;
	int fd = -1;
	err_t e = disk_open_write(j->dirfd, j->name, &fd);

	if (!e && fstat(fd, &st))
		e = -errno;
	if (!e && (uint64_t)st.st_size > j->at)
		e = disk_punch(fd, j->at, (uint64_t)st.st_size - j->at);
	if (fd >= 0)
		(void)close(fd);
	if (e && e != -ENOENT)
		log_warn("the journal keeps the room that it does not need: %s", strerror(-e));
}

static err_t
list_known(struct journal *j, struct db_row **rows_out, size_t *count_out)
{
	struct db_row *rows = reallocarray(NULL, HASH_COUNT(j->known) + 1, sizeof(*rows));
	struct known *k, *next;
	size_t count = 0;

	if (!rows)
		return -ENOMEM;
	HASH_ITER (hh, j->known, k, next)
		rows[count++] = k->row;
	*rows_out = rows;
	*count_out = count;
	return 0;
}

err_t
journal_read(struct journal *j, uint64_t generation, struct db_row **rows_out, size_t *count_out)
{
	CLEANUP(bytes_clear) struct bytes file = {0};
	err_t e = read_file(j, &file);

	if (e)
		return e;

	struct cursor c = {file.data, file.len};

	j->generation = generation;
	j->number = 0;
	j->at = 0;
	while (!(e = take_record(j, &c)))
		j->at = file.len - c.len;
	if (e != -ENOENT)
		return e;
	j->used = j->number > 0;
	return list_known(j, rows_out, count_out);
}
