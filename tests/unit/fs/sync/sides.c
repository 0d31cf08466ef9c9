/* Two computers and a store between them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hash.h"
#include "random.h"
#include "sides.h"

#include "../../tempdir.h"

static const struct vault_unlock plain = { .plain = true };
const struct vfs_caller me = { 1000, 1000, 022 };

void
remove_tree(const char *path)
{
	tempdir_remove(path);
}

void
shell(const char *fmt, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	assert_int_equal(system(command), 0);
}

/* Sides. */

struct store *
open_store(const char *path)
{
	struct store *inner, *fault;

	assert_int_equal(store_open(path, true, &inner, NULL), 0);
	assert_int_equal(store_fault_new(inner, 7, &fault), 0);
	return fault;
}

void
open_side(struct side *s, const char *store)
{
	assert_int_equal(vault_open(s->dir, &plain, &s->v), 0);
	assert_int_equal(vfs_new(s->v->meta, s->v->content, s->v->lookups, s->dir, &s->fs), 0);
	s->fault = open_store(store);
	assert_int_equal(sync_new(s->v, s->fault, &s->sync), 0);
}

void
close_side(struct side *s)
{
	if (s->v == NULL)
		return;
	sync_free(s->sync);
	vfs_free(s->fs);
	assert_int_equal(vault_close(s->v), 0);
	s->v = NULL;
}

void
reopen_side(struct side *s, const char *store)
{
	close_side(s);
	open_side(s, store);
}

void
create_side(struct fixture *f, struct side *s, uint8_t recovery[static RECOVERY_KEY_LEN])
{
	struct vault_create_params p = { .dir = s->dir, .device_name = "alpha", .remote_url = f->store, .root_uid = 1000,
		.root_gid = 1000, .lock = plain };

	assert_int_equal(vault_create(&p, recovery), 0);
}

err_t
join_with(struct fixture *f, struct side *s, struct store *store, const uint8_t key[static RECOVERY_KEY_LEN], char **why)
{
	struct vault_create_params p = { .dir = s->dir, .device_name = "beta", .remote_url = f->store, .lock = plain };

	return sync_join(&p, store, key, why);
}

void
join_side(struct fixture *f, struct side *s)
{
	struct store *store = open_store(f->store);
	char *why = NULL;
	err_t err = join_with(f, s, store, f->recovery, &why);

	if (err != 0)
		fail_msg("join: %d, %s", err, why);
	store_free(store);
	open_side(s, f->store);
}

int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(secmem_init(), 0);
	strcpy(f->top, "/tmp/test-sync-XXXXXX");
	assert_non_null(mkdtemp(f->top));
	snprintf(f->store, sizeof(f->store), "%s/store", f->top);
	snprintf(f->a.dir, sizeof(f->a.dir), "%s/a", f->top);
	snprintf(f->b.dir, sizeof(f->b.dir), "%s/b", f->top);
	create_side(f, &f->a, f->recovery);
	open_side(&f->a, f->store);
	*state = f;
	return 0;
}

int
teardown(void **state)
{
	struct fixture *f = *state;

	close_side(&f->a);
	close_side(&f->b);
	remove_tree(f->top);
	free(f);
	return 0;
}

void
sync_ok(struct side *s)
{
	err_t err = sync_once(s->sync);
	struct sync_status st;

	sync_get_status(s->sync, &st);
	if (err != 0)
		fail_msg("sync: %d, %s", err, st.problem_text);
	assert_int_equal(st.problem, 0);
	assert_int_equal(st.pending_inodes, 0);
	assert_int_equal(st.pending_names, 0);
	assert_int_equal(st.pending_bytes, 0);
}

void
sync_fails(struct side *s, err_t expected)
{
	struct sync_status st;

	assert_int_equal(sync_once(s->sync), expected);
	sync_get_status(s->sync, &st);
	assert_int_equal(st.problem, expected);
	assert_true(strlen(st.problem_text) > 20);
}

void
fault(struct side *s, struct store_fault_rule rule)
{
	assert_int_equal(store_fault_set(s->fault, &rule, rule.kind == STORE_FAULT_NONE ? 0 : 1), 0);
}

void
no_fault(struct side *s)
{
	assert_int_equal(store_fault_set(s->fault, NULL, 0), 0);
}

/* Files. */

uint64_t
known(struct side *s, err_t err, const struct stat *st)
{
	assert_int_equal(err, 0);
	vfs_forget(s->fs, st->st_ino, 1);
	return st->st_ino;
}

uint64_t
make_dir(struct side *s, uint64_t parent, const char *name)
{
	struct stat st;

	return known(s, vfs_mkdir(s->fs, &me, parent, name, 0755, &st), &st);
}

uint64_t
lookup(struct side *s, uint64_t parent, const char *name)
{
	struct stat st;
	err_t err = vfs_lookup(s->fs, parent, name, &st);

	if (err == -ENOENT)
		return 0;
	return known(s, err, &st);
}

void
write_at(struct side *s, uint64_t ino, uint64_t off, const void *data, size_t len)
{
	assert_int_equal(vfs_write(s->fs, ino, off, data, len, false), 0);
}

void
write_anew(struct side *s, uint64_t ino, const char *text)
{
	struct stat st = { .st_size = 0 };

	assert_int_equal(vfs_setattr(s->fs, ino, &st, VFS_SET_SIZE, &st), 0);
	write_at(s, ino, 0, text, strlen(text));
	sync_ok(s);
}

void
remove_file(struct side *s, const char *name)
{
	assert_int_equal(vfs_unlink(s->fs, INODE_ROOT, name), 0);
}

uint64_t
make_file(struct side *s, uint64_t parent, const char *name, const void *data, size_t len)
{
	struct stat st;
	uint64_t ino = known(s, vfs_mknod(s->fs, &me, parent, name, S_IFREG | 0644, 0, &st), &st);

	if (len > 0)
		write_at(s, ino, 0, data, len);
	return ino;
}

uint64_t
make_text(struct side *s, const char *name, const char *text)
{
	return make_file(s, INODE_ROOT, name, text, strlen(text));
}

uint64_t
make_random(struct side *s, uint64_t parent, const char *name, size_t len)
{
	uint8_t *data = malloc(len);
	uint64_t ino;

	assert_non_null(data);
	assert_int_equal(random_bytes(data, len), 0);
	ino = make_file(s, parent, name, data, len);
	free(data);
	return ino;
}

void
assert_text(struct side *s, const char *name, const char *text)
{
	uint8_t buf[256];
	uint64_t ino = lookup(s, INODE_ROOT, name);
	size_t n = 0;

	assert_int_not_equal(ino, 0);
	assert_int_equal(vfs_read(s->fs, ino, 0, sizeof(buf), buf, &n), 0);
	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, n);
}

/* The tree as text, sorted: whatever a reader can see of it. */

struct names {
	char *v[4096];
	size_t count;
};

static int
take_name(void *ctx, const char *name, const struct stat *attr, uint64_t cookie)
{
	struct names *n = ctx;

	(void)attr;
	(void)cookie;
	if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
		n->v[n->count++] = strdup(name);
	return n->count == ARRAY_LEN(n->v);
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
dump_content(struct side *s, const struct stat *st, FILE *out)
{
	uint8_t *buf = malloc((size_t)st->st_size + 1), hash[32];
	size_t n = 0, total = 0;

	assert_non_null(buf);
	while (total < (size_t)st->st_size) {
		err_t err = vfs_read(s->fs, st->st_ino, total, (size_t)st->st_size - total, buf + total, &n);

		if (err != 0) {
			fprintf(out, " error %d", err);
			break;
		}
		assert_true(n > 0);
		total += n;
	}
	assert_int_equal(hash_sha256(buf, total, hash), 0);
	for (size_t i = 0; i < 8; i++)
		fprintf(out, "%02x", hash[i]);
	free(buf);
}

static void
dump_xattrs(struct side *s, uint64_t ino, FILE *out)
{
	char list[1024], *sorted[32];
	uint8_t value[70000];
	size_t len = 0, count = 0, value_len = 0;

	assert_int_equal(vfs_listxattr(s->fs, ino, list, sizeof(list), &len), 0);
	for (size_t at = 0; at < len; at += strlen(list + at) + 1)
		sorted[count++] = list + at;
	qsort(sorted, count, sizeof(sorted[0]), by_text);
	for (size_t i = 0; i < count; i++) {
		uint8_t hash[32];

		assert_int_equal(vfs_getxattr(s->fs, ino, sorted[i], value, sizeof(value), &value_len), 0);
		assert_int_equal(hash_sha256(value, value_len, hash), 0);
		fprintf(out, " %s=%zu:%02x%02x", sorted[i], value_len, hash[0], hash[1]);
	}
}

static void dump_dir(struct side *s, uint64_t dir, const char *path, FILE *out);

static void
dump_entry(struct side *s, uint64_t ino, const char *path, FILE *out)
{
	char target[SYMLINK_LEN_MAX + 1];
	struct stat st;

	assert_int_equal(vfs_getattr(s->fs, ino, &st), 0);
	fprintf(out, "%s ino %llu mode %o %u:%u links %lu rdev %lx mtime %lld.%09ld", path, (unsigned long long)ino, st.st_mode,
	    st.st_uid, st.st_gid, (unsigned long)st.st_nlink, (unsigned long)st.st_rdev, (long long)st.st_mtim.tv_sec,
	    st.st_mtim.tv_nsec);
	if (S_ISREG(st.st_mode)) {
		fprintf(out, " size %lld ", (long long)st.st_size);
		dump_content(s, &st, out);
	} else if (S_ISLNK(st.st_mode)) {
		assert_int_equal(vfs_readlink(s->fs, ino, target, sizeof(target)), 0);
		fprintf(out, " -> %s", target);
	}
	dump_xattrs(s, ino, out);
	fprintf(out, "\n");
	if (S_ISDIR(st.st_mode))
		dump_dir(s, ino, path, out);
}

static void
dump_dir(struct side *s, uint64_t dir, const char *path, FILE *out)
{
	struct names *n = calloc(1, sizeof(*n));

	assert_non_null(n);
	assert_int_equal(vfs_readdir(s->fs, dir, 0, false, take_name, n), 0);
	qsort(n->v, n->count, sizeof(n->v[0]), by_text);
	for (size_t i = 0; i < n->count; i++) {
		char below[8192];

		snprintf(below, sizeof(below), "%s/%s", path, n->v[i]);
		dump_entry(s, lookup(s, dir, n->v[i]), below, out);
		free(n->v[i]);
	}
	free(n);
}

char *
dump_tree(struct side *s)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	dump_entry(s, INODE_ROOT, "", out);
	fclose(out);
	return text;
}

char *
dump_below(struct side *s, uint64_t dir)
{
	char *text = NULL, *to;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	dump_dir(s, dir, "", out);
	fclose(out);
	/* Numbers are of the tree that they are in. */
	to = text;
	for (const char *from = text; *from != '\0';) {
		if (strncmp(from, " ino ", 5) == 0)
			from += 5 + strspn(from + 5, "0123456789");
		*to++ = *from++;
	}
	*to = '\0';
	return text;
}

void
assert_same_tree(struct side *x, struct side *y)
{
	char *a = dump_tree(x), *b = dump_tree(y);

	assert_string_equal(a, b);
	free(a);
	free(b);
}

void
assert_store_is_whole(struct fixture *f, struct side *with)
{
	struct side fresh = { .v = NULL };

	snprintf(fresh.dir, sizeof(fresh.dir), "%s/fresh", f->top);
	remove_tree(fresh.dir);
	join_side(f, &fresh);
	sync_ok(with);
	assert_same_tree(with, &fresh);
	close_side(&fresh);
	remove_tree(fresh.dir);
}

void
make_variety(struct side *s)
{
	uint64_t dir = make_dir(s, INODE_ROOT, "dir"), sub = make_dir(s, dir, "sub"), ino;
	struct stat st = { .st_mtim = { 1234567890, 123456789 } };

	make_text(s, "hello.txt", "hello\n");
	make_text(s, "empty", "");
	make_random(s, sub, "three megabytes", 3 << 20);
	ino = make_random(s, dir, "small", 5000);
	assert_int_equal(vfs_setxattr(s->fs, ino, "user.colour", "blue", 4, 0), 0);
	assert_int_equal(vfs_setxattr(s->fs, ino, "user.void", "", 0, 0), 0);
	known(s, vfs_link(s->fs, ino, sub, "small too", &st), &st);
	known(s, vfs_symlink(s->fs, &me, "../somewhere/else", dir, "link", &st), &st);
	known(s, vfs_mknod(s->fs, &me, dir, "fifo", S_IFIFO | 0600, 0, &st), &st);
	ino = make_file(s, sub, "sparse", NULL, 0);
	write_at(s, ino, 10 << 20, "end", 3);
	st.st_mode = S_IFREG | 0400;
	st.st_mtim = (struct timespec){ 1234567890, 123456789 };
	assert_int_equal(vfs_setattr(s->fs, ino, &st, VFS_SET_MODE | VFS_SET_MTIME, &st), 0);
}

/* The store's directory. */

unsigned
count_objects(const struct fixture *f, const char *prefix)
{
	char path[256];
	struct dirent **list = NULL;
	int n;
	unsigned count = 0;

	snprintf(path, sizeof(path), "%s/%s", f->store, prefix);
	n = scandir(path, &list, NULL, NULL);
	for (int i = 0; i < n; i++) {
		if (list[i]->d_name[0] != '.') {
			char below[300];

			snprintf(below, sizeof(below), "%s/%s", prefix, list[i]->d_name);
			count += list[i]->d_type == DT_DIR ? count_objects(f, below) : 1;
		}
		free(list[i]);
	}
	free(list);
	return count;
}

void
commit_path(const struct fixture *f, uint64_t seq, char out[static 256])
{
	snprintf(out, 256, "%s/c/%012llu", f->store, (unsigned long long)seq);
}

void
remove_commit(const struct fixture *f, uint64_t seq)
{
	char path[256];

	commit_path(f, seq, path);
	assert_int_equal(unlink(path), 0);
}

uint64_t
head_of(struct side *s)
{
	struct sync_status st;

	sync_get_status(s->sync, &st);
	assert_true(st.has_head);
	return st.head_seq;
}

struct sync_status
status_of(struct side *s)
{
	struct sync_status st;

	sync_get_status(s->sync, &st);
	return st;
}

unsigned
message_count(struct side *s, const char *part)
{
	char **v = NULL;
	size_t count = 0;
	unsigned found = 0;

	assert_int_equal(sync_get_messages(s->sync, &v, &count), 0);
	for (size_t i = 0; i < count; i++) {
		found += strstr(v[i], part) != NULL;
		free(v[i]);
	}
	free(v);
	return found;
}

struct gc_report
collect_ok(struct side *s, int64_t keep_s, bool now)
{
	const struct gc_options o = { .keep_s = keep_s, .now = now };
	struct gc_report r;
	err_t err = gc_run(s->sync, &o, &r);

	if (err != 0)
		fail_msg("gc: %d, %s", err, r.why);
	return r;
}

uint32_t
epoch_of(const struct side *s)
{
	uint8_t sha256[32];
	const char *name;
	uint32_t epoch;

	assert_int_equal(trust_epoch(s->v->trust, &epoch, &name, sha256), 0);
	return epoch;
}

void
join_whatever_fails(struct fixture *f)
{
	for (unsigned skip = 0; skip < 80; skip++) {
		struct store *store = open_store(f->store);
		char *why = NULL;
		err_t err;

		assert_int_equal(store_fault_set(store, &(struct store_fault_rule){ .kind = STORE_FAULT_BEFORE,
		    .ops = STORE_OP_ALL, .skip = skip, .error = -EACCES }, 1), 0);
		err = join_with(f, &f->b, store, f->recovery, &why);
		store_free(store);
		free(why);
		if (err == 0) {
			open_side(&f->b, f->store);
			sync_ok(&f->a);
			assert_same_tree(&f->a, &f->b);
			return;
		}
		assert_int_equal(err, -EACCES);
		shell("! ls '%s' | grep -q '^b'", f->top);
	}
	fail_msg("it never worked");
}
