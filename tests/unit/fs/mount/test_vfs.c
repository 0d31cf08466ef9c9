/* POSIX semantics without a mount: a vault in a temporary folder, driven through vfs.h. */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <cmocka.h>

#include "secmem.h"
#include "vault.h"
#include "vfs.h"

struct fixture {
	char top[64];
	char dir[96];
	struct vault *vault;
	struct vfs *vfs;
};

static const struct vfs_caller ME = { .uid = 1000, .gid = 1000, .umask = 022 };
static const struct vault_unlock PLAIN = { .plain = true };

/* The disk says nothing of its room. */
static bool is_silent;

int __real_statvfs64(const char *path, struct statvfs *st);
int __wrap_statvfs64(const char *path, struct statvfs *st);

int
__wrap_statvfs64(const char *path, struct statvfs *st)
{
	int rc = __real_statvfs64(path, st);

	if (is_silent)
		st->f_frsize = st->f_blocks = st->f_bfree = st->f_bavail = 0;
	return rc;
}

/* How often somebody was ready to wait for room among what is not stored yet. */
static _Atomic unsigned throttle_count;

void __real_meta_throttle(struct meta *m);
void __wrap_meta_throttle(struct meta *m);

void
__wrap_meta_throttle(struct meta *m)
{
	throttle_count++;
	__real_meta_throttle(m);
}

static void
open_all(struct fixture *f)
{
	assert_int_equal(vault_open(f->dir, &PLAIN, &f->vault), 0);
	assert_int_equal(vfs_new(f->vault->meta, f->vault->content, f->vault->lookups, f->dir, &f->vfs), 0);
	assert_int_equal(vfs_reap_orphans(f->vfs), 0);
}

static void
close_all(struct fixture *f)
{
	vfs_free(f->vfs);
	assert_int_equal(vault_close(f->vault), 0);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct vault_create_params p = { .device_name = "test", .lock = PLAIN };
	uint8_t recovery[RECOVERY_KEY_LEN];

	strcpy(f->top, "/tmp/test_vfs.XXXXXX");
	assert_non_null(mkdtemp(f->top));
	snprintf(f->dir, sizeof(f->dir), "%s/vault", f->top);
	p.dir = f->dir;
	assert_int_equal(vault_create(&p, recovery), 0);
	open_all(f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	close_all(f);
	snprintf(command, sizeof(command), "rm -rf %s", f->top);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static uint64_t
make_file(struct fixture *f, uint64_t parent, const char *name)
{
	struct stat st;

	assert_int_equal(vfs_mknod(f->vfs, &ME, parent, name, S_IFREG | 0644, 0, &st), 0);
	return st.st_ino;
}

static uint64_t
make_dir(struct fixture *f, uint64_t parent, const char *name)
{
	struct stat st;

	assert_int_equal(vfs_mkdir(f->vfs, &ME, parent, name, 0755, &st), 0);
	return st.st_ino;
}

static err_t
find(struct fixture *f, uint64_t parent, const char *name, struct stat *st)
{
	err_t err = vfs_lookup(f->vfs, parent, name, st);

	if (err == 0)
		vfs_forget(f->vfs, st->st_ino, 1);
	return err;
}

static unsigned
links(struct fixture *f, uint64_t ino)
{
	struct stat st;

	assert_int_equal(vfs_getattr(f->vfs, ino, &st), 0);
	return (unsigned)st.st_nlink;
}

static void
a_file_keeps_content_and_attributes_over_a_reopening(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f, INODE_ROOT, "a");
	struct stat st, again;
	uint8_t buf[16];
	size_t got;

	assert_int_equal(vfs_write(f->vfs, ino, 0, (const uint8_t *)"hello", 5, 0), 0);
	assert_int_equal(vfs_getattr(f->vfs, ino, &st), 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(st.st_mode, S_IFREG | 0644);
	assert_int_equal(st.st_uid, 1000);
	close_all(f);
	open_all(f);
	assert_int_equal(find(f, INODE_ROOT, "a", &again), 0);
	assert_int_equal(again.st_ino, ino);
	assert_int_equal(again.st_ctim.tv_nsec, st.st_ctim.tv_nsec);
	assert_int_equal(again.st_mtim.tv_nsec, st.st_mtim.tv_nsec);
	assert_int_equal(vfs_read(f->vfs, ino, 0, sizeof(buf), buf, &got), 0);
	assert_int_equal(got, 5);
	assert_memory_equal(buf, "hello", 5);
}

static void
a_name_that_is_there_is_not_made_again(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	make_file(f, INODE_ROOT, "a");
	assert_int_equal(vfs_mknod(f->vfs, &ME, INODE_ROOT, "a", S_IFREG, 0, &st), -EEXIST);
	assert_int_equal(vfs_mkdir(f->vfs, &ME, INODE_ROOT, "a", 0755, &st), -EEXIST);
	assert_int_equal(vfs_symlink(f->vfs, &ME, "x", INODE_ROOT, "a", &st), -EEXIST);
}

static void
link_counts_follow_names_and_subdirectories(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, INODE_ROOT, "d"), file = make_file(f, d, "x");
	struct stat st;

	assert_int_equal(links(f, INODE_ROOT), 3);
	make_dir(f, d, "sub");
	assert_int_equal(links(f, d), 3);
	assert_int_equal(vfs_link(f->vfs, file, INODE_ROOT, "y", &st), 0);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(vfs_link(f->vfs, d, INODE_ROOT, "z", &st), -EPERM);
	assert_int_equal(vfs_rmdir(f->vfs, INODE_ROOT, "d"), -ENOTEMPTY);
	assert_int_equal(vfs_rmdir(f->vfs, d, "sub"), 0);
	assert_int_equal(vfs_unlink(f->vfs, d, "x"), 0);
	assert_int_equal(vfs_rmdir(f->vfs, INODE_ROOT, "d"), 0);
	assert_int_equal(links(f, INODE_ROOT), 2);
	assert_int_equal(links(f, file), 1);
	assert_int_equal(vfs_unlink(f->vfs, INODE_ROOT, "nothing"), -ENOENT);
	assert_int_equal(vfs_rmdir(f->vfs, INODE_ROOT, "y"), -ENOTDIR);
}

static void
an_open_file_outlives_its_last_name_until_it_is_forgotten(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f, INODE_ROOT, "a"); /* one lookup is held */
	struct stat st, set = { .st_mode = 0600 };
	uint8_t buf[8];
	size_t got;

	assert_int_equal(vfs_unlink(f->vfs, INODE_ROOT, "a"), 0);
	assert_int_equal(find(f, INODE_ROOT, "a", &st), -ENOENT);
	assert_int_equal(vfs_write(f->vfs, ino, 0, (const uint8_t *)"still", 5, 0), 0);
	assert_int_equal(vfs_setattr(f->vfs, ino, &set, VFS_SET_MODE, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(vfs_fsync(f->vfs, ino), 0);
	assert_int_equal(vfs_read(f->vfs, ino, 0, sizeof(buf), buf, &got), 0);
	assert_memory_equal(buf, "still", 5);
	assert_int_equal(vfs_link(f->vfs, ino, INODE_ROOT, "b", &st), -ENOENT);
	vfs_forget(f->vfs, ino, 1);
	assert_int_equal(vfs_getattr(f->vfs, ino, &st), -ENOENT);
}

static uint64_t
generation_of(struct fixture *f, uint64_t ino)
{
	const struct stat st = { .st_ino = ino, .st_mode = S_IFDIR };

	return vfs_generation(f->vfs, &st);
}

static void
a_directory_is_another_one_to_the_kernel_after_each_removal_until_it_is_forgotten(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, INODE_ROOT, "d"), e = make_dir(f, INODE_ROOT, "e"); /* one lookup of each is held */
	struct stat file = { .st_ino = make_file(f, INODE_ROOT, "f"), .st_mode = S_IFREG };

	assert_int_equal(generation_of(f, d), 1);
	assert_int_equal(vfs_rename(f->vfs, INODE_ROOT, "e", INODE_ROOT, "d", 0), 0);
	assert_int_equal(generation_of(f, d), 2);
	assert_int_equal(generation_of(f, e), 1);
	assert_int_equal(vfs_rmdir(f->vfs, INODE_ROOT, "d"), 0);
	assert_int_equal(generation_of(f, e), 2);
	vfs_forget(f->vfs, e, 1);
	assert_int_equal(generation_of(f, e), 1);
	assert_int_equal(vfs_unlink(f->vfs, INODE_ROOT, "f"), 0);
	assert_int_equal(vfs_generation(f->vfs, &file), 1);
}

static void
an_orphan_of_a_crash_is_reaped(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f, INODE_ROOT, "a");
	struct stat st;

	assert_int_equal(vfs_unlink(f->vfs, INODE_ROOT, "a"), 0);
	close_all(f);
	open_all(f);
	assert_int_equal(vfs_getattr(f->vfs, ino, &st), -ENOENT);
}

static void
rename_replaces_moves_and_exchanges(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make_file(f, INODE_ROOT, "a"), b = make_file(f, INODE_ROOT, "b");
	uint64_t d = make_dir(f, INODE_ROOT, "d"), e = make_dir(f, d, "e");
	struct stat st;

	assert_int_equal(vfs_rename(f->vfs, INODE_ROOT, "a", INODE_ROOT, "b", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(vfs_rename(f->vfs, INODE_ROOT, "a", INODE_ROOT, "b", RENAME_EXCHANGE), 0);
	assert_int_equal(find(f, INODE_ROOT, "a", &st), 0);
	assert_int_equal(st.st_ino, b);
	assert_int_equal(vfs_rename(f->vfs, INODE_ROOT, "b", INODE_ROOT, "a", 0), 0);
	assert_int_equal(find(f, INODE_ROOT, "a", &st), 0);
	assert_int_equal(st.st_ino, a);
	assert_int_equal(find(f, INODE_ROOT, "b", &st), -ENOENT);
	assert_int_equal(vfs_rename(f->vfs, INODE_ROOT, "d", e, "x", 0), -EINVAL); /* below itself */
	assert_int_equal(vfs_rename(f->vfs, INODE_ROOT, "d", INODE_ROOT, "a", 0), -ENOTDIR);
	assert_int_equal(vfs_rename(f->vfs, INODE_ROOT, "a", INODE_ROOT, "d", 0), -EISDIR);
	assert_int_equal(vfs_rename(f->vfs, INODE_ROOT, "a", d, "a2", 0), 0);
	assert_int_equal(vfs_rename(f->vfs, d, "e", INODE_ROOT, "e", 0), 0);
	assert_int_equal(links(f, d), 2);
	assert_int_equal(links(f, INODE_ROOT), 4);
	assert_int_equal(vfs_rename(f->vfs, INODE_ROOT, "e", INODE_ROOT, "d", 0), -ENOTEMPTY);
	assert_int_equal(vfs_rename(f->vfs, INODE_ROOT, "missing", d, "q", 0), -ENOENT);
	assert_int_equal(vfs_rename(f->vfs, INODE_ROOT, "e", d, "q", 77), -EINVAL);
}

static void
renaming_one_of_two_names_of_a_file_onto_the_other_does_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make_file(f, INODE_ROOT, "a");
	struct stat st;

	assert_int_equal(vfs_link(f->vfs, a, INODE_ROOT, "b", &st), 0);
	assert_int_equal(vfs_rename(f->vfs, INODE_ROOT, "a", INODE_ROOT, "b", 0), 0);
	assert_int_equal(links(f, a), 2);
}

struct names {
	char all[4096];
	uint64_t last;
	unsigned room; /* entries until full; 0: endless */
};

static int
see(void *ctx, const char *name, const struct stat *attr, uint64_t cookie)
{
	struct names *n = ctx;

	(void)attr;
	if (n->room == 1)
		return 1;
	if (n->room > 1)
		n->room--;
	assert_true(cookie > n->last);
	n->last = cookie;
	strcat(strcat(n->all, name), " ");
	return 0;
}

static void
a_listing_goes_on_where_it_stopped_whatever_was_removed(void **state)
{
	struct fixture *f = *state;
	struct names n = { .room = 5 };

	make_file(f, INODE_ROOT, "a");
	make_file(f, INODE_ROOT, "b");
	make_file(f, INODE_ROOT, "c");
	make_file(f, INODE_ROOT, "d");
	assert_int_equal(meta_sync(f->vault->meta), 0);
	assert_int_equal(vfs_readdir(f->vfs, INODE_ROOT, 0, false, see, &n), 0);
	assert_string_equal(n.all, ". .. a b ");
	assert_int_equal(vfs_unlink(f->vfs, INODE_ROOT, "b"), 0);
	assert_int_equal(vfs_unlink(f->vfs, INODE_ROOT, "c"), 0);
	make_file(f, INODE_ROOT, "e");
	n.room = 0;
	assert_int_equal(vfs_readdir(f->vfs, INODE_ROOT, n.last, true, see, &n), 0);
	assert_string_equal(n.all, ". .. a b d e ");
}

static void
names_and_targets_have_their_limits(void **state)
{
	struct fixture *f = *state;
	char name[258], target[4200], got[4200];
	struct stat st;

	memset(name, 'n', sizeof(name));
	name[256] = 0;
	assert_int_equal(vfs_mknod(f->vfs, &ME, INODE_ROOT, name, S_IFREG, 0, &st), -ENAMETOOLONG);
	assert_int_equal(vfs_lookup(f->vfs, INODE_ROOT, name, &st), -ENAMETOOLONG);
	name[255] = 0;
	make_file(f, INODE_ROOT, name);
	memset(target, 't', sizeof(target));
	target[4096] = 0;
	assert_int_equal(vfs_symlink(f->vfs, &ME, target, INODE_ROOT, "l", &st), -ENAMETOOLONG);
	target[4095] = 0;
	assert_int_equal(vfs_symlink(f->vfs, &ME, target, INODE_ROOT, "l", &st), 0);
	assert_int_equal(st.st_size, 4095);
	assert_int_equal(vfs_readlink(f->vfs, st.st_ino, got, sizeof(got)), 0);
	assert_string_equal(got, target);
}

static void
a_setgid_directory_hands_down_its_group(void **state)
{
	struct fixture *f = *state;
	struct stat st, set = { .st_mode = 02775, .st_gid = 55 };
	uint64_t d = make_dir(f, INODE_ROOT, "d");

	assert_int_equal(vfs_setattr(f->vfs, d, &set, VFS_SET_GID, &st), 0);
	assert_int_equal(vfs_setattr(f->vfs, d, &set, VFS_SET_MODE, &st), 0);
	assert_int_equal(vfs_mknod(f->vfs, &ME, d, "x", S_IFREG | 0666, 0, &st), 0);
	assert_int_equal(st.st_gid, 55);
	assert_int_equal(st.st_mode, S_IFREG | 0644);
	assert_int_equal(vfs_mkdir(f->vfs, &ME, d, "y", 0777, &st), 0);
	assert_int_equal(st.st_gid, 55);
	assert_int_equal(st.st_mode, S_IFDIR | S_ISGID | 0755);
}

static void
a_write_by_a_stranger_clears_set_id_bits(void **state)
{
	struct fixture *f = *state;
	struct stat st, set = { .st_mode = 06755 };
	uint64_t ino = make_file(f, INODE_ROOT, "x");

	assert_int_equal(vfs_setattr(f->vfs, ino, &set, VFS_SET_MODE, &st), 0);
	assert_int_equal(vfs_write(f->vfs, ino, 0, (const uint8_t *)"x", 1, 0), 0);
	assert_int_equal(vfs_getattr(f->vfs, ino, &st), 0);
	assert_int_equal(st.st_mode & 07777, 06755);
	assert_int_equal(vfs_write(f->vfs, ino, 0, (const uint8_t *)"x", 1, VFS_WRITE_KILL_SUIDGID), 0);
	assert_int_equal(vfs_getattr(f->vfs, ino, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
}

static void
attributes_are_set_listed_replaced_and_removed(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f, INODE_ROOT, "x");
	char list[64], value[16];
	size_t len;

	assert_int_equal(vfs_setxattr(f->vfs, ino, "user.a", "one", 3, 0), 0);
	assert_int_equal(vfs_setxattr(f->vfs, ino, "user.b", "", 0, 0), 0);
	assert_int_equal(vfs_setxattr(f->vfs, ino, "user.a", "x", 1, 1 /* XATTR_CREATE */), -EEXIST);
	assert_int_equal(vfs_setxattr(f->vfs, ino, "user.c", "x", 1, 2 /* XATTR_REPLACE */), -ENODATA);
	assert_int_equal(vfs_setxattr(f->vfs, ino, "foo.c", "x", 1, 0), -EOPNOTSUPP);
	close_all(f);
	open_all(f);
	assert_int_equal(vfs_listxattr(f->vfs, ino, list, sizeof(list), &len), 0);
	assert_int_equal(len, 14);
	assert_int_equal(vfs_listxattr(f->vfs, ino, list, 3, &len), -ERANGE);
	assert_int_equal(vfs_getxattr(f->vfs, ino, "user.a", value, 0, &len), 0);
	assert_int_equal(len, 3);
	assert_int_equal(vfs_getxattr(f->vfs, ino, "user.a", value, 2, &len), -ERANGE);
	assert_int_equal(vfs_getxattr(f->vfs, ino, "user.a", value, sizeof(value), &len), 0);
	assert_memory_equal(value, "one", 3);
	assert_int_equal(vfs_removexattr(f->vfs, ino, "user.a"), 0);
	assert_int_equal(vfs_getxattr(f->vfs, ino, "user.a", value, sizeof(value), &len), -ENODATA);
	assert_int_equal(vfs_removexattr(f->vfs, ino, "user.a"), -ENODATA);
}

static void
holes_are_punched_zeroed_and_found(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f, INODE_ROOT, "x"), at;
	static uint8_t data[3 << 20], got[3 << 20];
	struct stat st;
	size_t n;

	memset(data, 7, sizeof(data));
	assert_int_equal(vfs_write(f->vfs, ino, 0, data, sizeof(data), 0), 0);
	assert_int_equal(vfs_fallocate(f->vfs, ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 1 << 20), 0);
	assert_int_equal(vfs_fallocate(f->vfs, ino, FALLOC_FL_ZERO_RANGE, (3 << 20) - 10, 20), 0);
	assert_int_equal(vfs_fallocate(f->vfs, ino, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), -EOPNOTSUPP);
	memset(data + 4096, 0, 1 << 20);
	memset(data + sizeof(data) - 10, 0, 10);
	assert_int_equal(vfs_getattr(f->vfs, ino, &st), 0);
	assert_int_equal(st.st_size, (3 << 20) + 10);
	assert_int_equal(vfs_read(f->vfs, ino, 0, sizeof(got), got, &n), 0);
	assert_int_equal(n, sizeof(got));
	assert_memory_equal(got, data, sizeof(data));
	assert_int_equal(vfs_seek(f->vfs, ino, 0, SEEK_HOLE, &at), 0);
	assert_int_equal(at, 4096);
	assert_int_equal(vfs_seek(f->vfs, ino, 4096, SEEK_DATA, &at), 0);
	assert_int_equal(at, 4096 + (1 << 20));
	assert_int_equal(vfs_seek(f->vfs, ino, (3 << 20) + 5, SEEK_DATA, &at), -ENXIO);
}

static void
a_huge_truncate_is_instant_and_reads_as_zeros(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f, INODE_ROOT, "x");
	struct stat st, set = { .st_size = 999999999999999 };
	uint8_t buf[4] = { 1, 1, 1, 1 };
	size_t n;

	assert_int_equal(vfs_setattr(f->vfs, ino, &set, VFS_SET_SIZE, &st), 0);
	assert_int_equal(st.st_size, 999999999999999);
	assert_int_equal(st.st_blocks, 1);
	assert_int_equal(vfs_read(f->vfs, ino, 999999999999990, 4, buf, &n), 0);
	assert_memory_equal(buf, "\0\0\0\0", 4);
	set.st_size = 0;
	assert_int_equal(vfs_setattr(f->vfs, ino, &set, VFS_SET_SIZE, &st), 0);
}

static void
times_are_set_to_the_nanosecond(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f, INODE_ROOT, "x");
	struct stat st, set = { .st_mtim = { 1234567890, 123456789 }, .st_atim = { -5, 999999999 } };

	assert_int_equal(vfs_setattr(f->vfs, ino, &set, VFS_SET_MTIME | VFS_SET_ATIME, &st), 0);
	close_all(f);
	open_all(f);
	assert_int_equal(vfs_getattr(f->vfs, ino, &st), 0);
	assert_int_equal(st.st_mtim.tv_sec, 1234567890);
	assert_int_equal(st.st_mtim.tv_nsec, 123456789);
	assert_int_equal(st.st_atim.tv_sec, -5);
	assert_int_equal(st.st_atim.tv_nsec, 999999999);
}

static void
what_the_kernel_writes_back_late_leaves_the_times_that_it_has_set(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f, INODE_ROOT, "x");
	struct stat st, set = { .st_mtim = { 1234567890, 5 }, .st_ctim = { 1234567891, 6 } };

	assert_int_equal(vfs_setattr(f->vfs, ino, &set, VFS_SET_MTIME | VFS_SET_CTIME, &st), 0);
	assert_int_equal(vfs_write(f->vfs, ino, 0, (const uint8_t *)"late", 4, VFS_WRITE_BACK), 0);
	assert_int_equal(vfs_getattr(f->vfs, ino, &st), 0);
	assert_int_equal(st.st_size, 4);
	assert_int_equal(st.st_mtim.tv_sec, 1234567890);
	assert_int_equal(st.st_ctim.tv_sec, 1234567891);
	assert_int_equal(vfs_write(f->vfs, ino, 4, (const uint8_t *)"now", 3, 0), 0);
	assert_int_equal(vfs_getattr(f->vfs, ino, &st), 0);
	assert_true(st.st_mtim.tv_sec > 1234567890);
}

static void
nothing_is_made_in_a_directory_that_is_gone(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, INODE_ROOT, "d");
	struct stat st;

	assert_int_equal(vfs_rmdir(f->vfs, INODE_ROOT, "d"), 0);
	assert_int_equal(vfs_mknod(f->vfs, &ME, d, "x", S_IFREG, 0, &st), -ENOENT);
}

static void
a_rename_may_leave_a_whiteout(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, INODE_ROOT, "d"), a = make_file(f, INODE_ROOT, "a");
	struct stat st;

	make_file(f, INODE_ROOT, "b");
	assert_int_equal(vfs_rename_whiteout(f->vfs, &ME, INODE_ROOT, "a", d, "moved", RENAME_WHITEOUT), 0);
	assert_int_equal(find(f, d, "moved", &st), 0);
	assert_int_equal(st.st_ino, a);
	assert_int_equal(find(f, INODE_ROOT, "a", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	assert_int_equal(st.st_rdev, 0);
	assert_int_equal(st.st_uid, ME.uid);
	assert_int_equal(vfs_rename_whiteout(f->vfs, &ME, d, "moved", INODE_ROOT, "b", RENAME_WHITEOUT | RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(vfs_rename_whiteout(f->vfs, &ME, d, "moved", INODE_ROOT, "b", RENAME_WHITEOUT | RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(vfs_rename_whiteout(f->vfs, &ME, d, "moved", INODE_ROOT, "b", 0), -EINVAL);
	/* Two names of one file: nothing is renamed, and nothing is left. */
	assert_int_equal(vfs_link(f->vfs, a, INODE_ROOT, "other", &st), 0);
	vfs_forget(f->vfs, a, 1);
	assert_int_equal(vfs_rename_whiteout(f->vfs, &ME, INODE_ROOT, "other", d, "moved", RENAME_WHITEOUT), 0);
	assert_int_equal(find(f, INODE_ROOT, "other", &st), 0);
	assert_int_equal(st.st_ino, a);
}

static void
a_handle_leads_to_the_inode_and_to_its_parent(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, INODE_ROOT, "d"), e = make_dir(f, d, "e"), file = make_file(f, d, "file");
	struct stat st;

	assert_int_equal(find(f, file, ".", &st), 0);
	assert_int_equal(st.st_ino, file);
	assert_int_equal(find(f, file, "..", &st), -ENOTDIR);
	assert_int_equal(find(f, e, "..", &st), 0);
	assert_int_equal(st.st_ino, d);
	assert_int_equal(find(f, INODE_ROOT, "..", &st), 0);
	assert_int_equal(st.st_ino, INODE_ROOT);
	assert_int_equal(vfs_rmdir(f->vfs, d, "e"), 0);
	assert_int_equal(find(f, e, ".", &st), -ENOENT);
}

/* The mode that a file of that type and mode has after a change of its attributes. */
static unsigned
mode_after(struct fixture *f, const char *name, mode_t mode, unsigned mask)
{
	struct stat set = { .st_mode = mode, .st_uid = 1, .st_gid = 2 }, st;

	assert_int_equal(vfs_mknod(f->vfs, &ME, INODE_ROOT, name, mode & S_IFMT, 0, &st), 0);
	assert_int_equal(vfs_setattr(f->vfs, st.st_ino, &set, VFS_SET_MODE, &st), 0);
	assert_int_equal(vfs_setattr(f->vfs, st.st_ino, &set, mask, &st), 0);
	assert_int_equal(vfs_unlink(f->vfs, INODE_ROOT, name), 0);
	vfs_forget(f->vfs, st.st_ino, 1);
	return st.st_mode & 07777;
}

static void
a_change_of_the_owner_takes_set_id_bits_of_every_type(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mode_after(f, "f", S_IFREG | 06755, VFS_SET_UID), 0755);
	assert_int_equal(mode_after(f, "p", S_IFIFO | 06755, VFS_SET_GID), 0755);
	assert_int_equal(mode_after(f, "s", S_IFSOCK | 06744, VFS_SET_UID | VFS_SET_GID), 02744);
	assert_int_equal(mode_after(f, "f", S_IFREG | 06744, VFS_SET_UID | VFS_SET_FOREIGN_GROUP), 0744);
	/* chown(2) with -1 and -1 */
	assert_int_equal(mode_after(f, "f", S_IFREG | 06755, 0), 0755);
	assert_int_equal(mode_after(f, "f", S_IFREG | 06755, VFS_SET_CTIME), 0755);
	/* No change of the owner. */
	assert_int_equal(mode_after(f, "f", S_IFREG | 06755, VFS_SET_MTIME | VFS_SET_CTIME), 06755);
	assert_int_equal(mode_after(f, "f", S_IFREG | 06755, VFS_SET_ATIME | VFS_SET_ATIME_NOW), 06755);
	assert_int_equal(mode_after(f, "f", S_IFREG | 06755, VFS_SET_SIZE), 06755);
	assert_int_equal(mode_after(f, "f", S_IFREG | 06755, VFS_SET_SIZE | VFS_SET_KILL_SUIDGID), 0755);
}

/* chown(2) with -1 and -1, which the kernel hands on whoever calls it. */
static void
a_stranger_takes_no_set_id_bits(void **state)
{
	static const mode_t modes[] = { S_IFREG | 04711, S_IFREG | 02755, S_IFIFO | 06755 };
	struct fixture *f = *state;
	struct stat set = { .st_mode = 0 }, st;

	for (size_t k = 0; k < ARRAY_LEN(modes); k++) {
		set.st_mode = modes[k];
		assert_int_equal(vfs_mknod(f->vfs, &ME, INODE_ROOT, "f", modes[k] & S_IFMT, 0, &st), 0);
		assert_int_equal(vfs_setattr(f->vfs, st.st_ino, &set, VFS_SET_MODE, &st), 0);
		assert_int_equal(vfs_setattr(f->vfs, st.st_ino, &set, VFS_SET_CTIME | VFS_SET_STRANGER, &st), -EPERM);
		assert_int_equal(vfs_setattr(f->vfs, st.st_ino, &set, VFS_SET_STRANGER, &st), -EPERM);
		assert_int_equal(vfs_getattr(f->vfs, st.st_ino, &st), 0);
		assert_int_equal(st.st_mode, modes[k]);
		assert_int_equal(vfs_unlink(f->vfs, INODE_ROOT, "f"), 0);
		vfs_forget(f->vfs, st.st_ino, 1);
	}
	/* Where there are none, it changes nothing, and so nobody minds. */
	assert_int_equal(mode_after(f, "f", S_IFREG | 0755, VFS_SET_STRANGER), 0755);
	assert_int_equal(mode_after(f, "f", S_IFREG | 02745, VFS_SET_STRANGER), 02745);
}

/* Else what it leaves in memory would grow for as long as somebody makes changes faster than they are stored. */
static void
every_change_waits_for_room(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f, INODE_ROOT, "f"), to = make_file(f, INODE_ROOT, "to");
	struct stat st = { .st_mode = 0600 }, longer = { .st_size = (2 << 20) + 1 };
	size_t copied;

	throttle_count = 0;
	assert_int_equal(vfs_setxattr(f->vfs, ino, "user.a", "x", 1, 0), 0);
	assert_int_equal(throttle_count, 1);
	assert_int_equal(vfs_removexattr(f->vfs, ino, "user.a"), 0);
	assert_int_equal(throttle_count, 2);
	assert_int_equal(vfs_setattr(f->vfs, ino, &st, VFS_SET_MODE, &st), 0);
	assert_int_equal(throttle_count, 3);
	assert_int_equal(vfs_write(f->vfs, ino, 0, (const uint8_t *)"x", 1, 0), 0);
	assert_int_equal(throttle_count, 4);
	assert_int_equal(vfs_link(f->vfs, ino, INODE_ROOT, "g", &st), 0);
	assert_int_equal(throttle_count, 5);
	assert_int_equal(vfs_rename(f->vfs, INODE_ROOT, "g", INODE_ROOT, "h", 0), 0);
	assert_int_equal(throttle_count, 6);
	assert_int_equal(vfs_unlink(f->vfs, INODE_ROOT, "h"), 0);
	assert_int_equal(throttle_count, 7);
	assert_int_equal(vfs_fallocate(f->vfs, ino, 0, 0, 10), 0);
	assert_int_equal(throttle_count, 8);
	assert_int_equal(vfs_setattr(f->vfs, ino, &longer, VFS_SET_SIZE, &st), 0);
	assert_int_equal(throttle_count, 9);
	/* Each MiB, or a part of one. */
	assert_int_equal(vfs_copy_range(f->vfs, ino, 0, to, 0, (2 << 20) + 1, &copied), 0);
	assert_int_equal(copied, (2 << 20) + 1);
	assert_int_equal(throttle_count, 12);
}

/* What the kernel writes back of a file while somebody else allocates a part of it. */
struct writing_back {
	struct fixture *f;
	uint64_t ino;
	pthread_barrier_t begin;
};

#define ALLOCATE_ROUNDS 1000
#define WRITTEN_BACK (3u * 4096)

static void *
write_back_main(void *ctx)
{
	static const uint8_t data[WRITTEN_BACK];
	struct writing_back *w = ctx;

	pthread_barrier_wait(&w->begin);
	return vfs_write(w->f->vfs, w->ino, 0, data, sizeof(data), VFS_WRITE_BACK) == 0 ? w : NULL;
}

static void
allocating_cuts_nothing_of_a_file_that_grows_meanwhile(void **state)
{
	struct writing_back w = { .f = *state };

	assert_int_equal(pthread_barrier_init(&w.begin, NULL, 2), 0);
	for (unsigned k = 0; k < ALLOCATE_ROUNDS; k++) {
		pthread_t thread;
		struct stat st;
		void *result;

		w.ino = make_file(w.f, INODE_ROOT, "f");
		assert_int_equal(pthread_create(&thread, NULL, write_back_main, &w), 0);
		pthread_barrier_wait(&w.begin);
		for (uint64_t len = 1; len <= 100; len++)
			assert_int_equal(vfs_fallocate(w.f->vfs, w.ino, FALLOC_FL_ZERO_RANGE, 0, len), 0);
		pthread_join(thread, &result);
		assert_non_null(result);
		assert_int_equal(vfs_getattr(w.f->vfs, w.ino, &st), 0);
		assert_int_equal(st.st_size, WRITTEN_BACK);
		assert_int_equal(vfs_unlink(w.f->vfs, INODE_ROOT, "f"), 0);
		vfs_forget(w.f->vfs, w.ino, 1);
	}
	pthread_barrier_destroy(&w.begin);
}

#define LONG_VALUE 65000

/* A new file with as many long attributes as it can have, user.0 to user.3. */
static uint64_t
file_full_of_attributes(struct fixture *f, const uint8_t *value)
{
	char name[] = "user.0";
	struct stat st;

	assert_int_equal(vfs_mknod(f->vfs, &ME, INODE_ROOT, "full", S_IFREG | 0600, 0, &st), 0);
	for (; name[5] < '4'; name[5]++)
		assert_int_equal(vfs_setxattr(f->vfs, st.st_ino, name, value, LONG_VALUE, 0), 0);
	assert_int_equal(vfs_setxattr(f->vfs, st.st_ino, name, value, LONG_VALUE, 0), -ENOSPC);
	return st.st_ino;
}

static void
an_attribute_is_replaced_where_there_is_no_room_for_another(void **state)
{
	static const uint8_t value[LONG_VALUE], other[LONG_VALUE] = { 1 };
	static uint8_t got[LONG_VALUE];
	struct fixture *f = *state;
	uint64_t ino = file_full_of_attributes(f, value);
	size_t len;

	assert_int_equal(vfs_setxattr(f->vfs, ino, "user.1", other, LONG_VALUE, 0), 0);
	assert_int_equal(vfs_getxattr(f->vfs, ino, "user.1", got, sizeof(got), &len), 0);
	assert_int_equal(len, LONG_VALUE);
	assert_memory_equal(got, other, LONG_VALUE);
}

static void
an_access_list_that_finds_no_room_leaves_the_mode(void **state)
{
	static const uint8_t value[LONG_VALUE];
	static uint8_t acl[4 + 300 * 8] = { 2 };
	struct fixture *f = *state;
	uint64_t ino = file_full_of_attributes(f, value);
	struct stat st;

	/* The owner, the group and the others may do all; and so many people. */
	for (unsigned k = 0; k < 300; k++) {
		uint8_t *entry = acl + 4 + (size_t)k * 8;

		entry[0] = k == 0 ? 0x01 : k == 297 ? 0x04 : k == 298 ? 0x10 : k == 299 ? 0x20 : 0x02;
		entry[2] = 7;
		entry[4] = (uint8_t)k;
		entry[5] = (uint8_t)(k >> 8);
	}
	assert_int_equal(vfs_setxattr(f->vfs, ino, "system.posix_acl_access", acl, sizeof(acl), 0), -ENOSPC);
	assert_int_equal(vfs_getattr(f->vfs, ino, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
}

static bool
is_between(const struct timespec *t, const struct timespec *from, const struct timespec *to)
{
	int64_t t_ns = t->tv_sec * INT64_C(1000000000) + t->tv_nsec;

	return t_ns >= from->tv_sec * INT64_C(1000000000) + from->tv_nsec && t_ns <= to->tv_sec * INT64_C(1000000000) + to->tv_nsec;
}

/* Else a file that the kernel has stamped would seem older than one that was made here before. */
static void
times_are_taken_from_the_clock_that_the_kernel_uses_for_writes(void **state)
{
	struct fixture *f = *state;
	struct timespec from, to;
	struct stat st;

	clock_gettime(CLOCK_REALTIME_COARSE, &from);
	assert_int_equal(vfs_mknod(f->vfs, &ME, INODE_ROOT, "f", S_IFREG, 0, &st), 0);
	clock_gettime(CLOCK_REALTIME_COARSE, &to);
	assert_true(is_between(&st.st_mtim, &from, &to));
	clock_gettime(CLOCK_REALTIME_COARSE, &from);
	assert_int_equal(vfs_write(f->vfs, st.st_ino, 0, (const uint8_t *)"x", 1, 0), 0);
	assert_int_equal(vfs_getattr(f->vfs, st.st_ino, &st), 0);
	clock_gettime(CLOCK_REALTIME_COARSE, &to);
	assert_true(is_between(&st.st_mtim, &from, &to));
}

static void
names_of_attributes_are_whole(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f, INODE_ROOT, "f");

	assert_int_equal(vfs_setxattr(f->vfs, ino, "user.", "1", 1, 0), -EINVAL);
	assert_int_equal(vfs_setxattr(f->vfs, ino, "trusted.", "1", 1, 0), -EINVAL);
	assert_int_equal(vfs_setxattr(f->vfs, ino, "user", "1", 1, 0), -EOPNOTSUPP);
	assert_int_equal(vfs_setxattr(f->vfs, ino, "other.a", "1", 1, 0), -EOPNOTSUPP);
	assert_int_equal(vfs_setxattr(f->vfs, ino, "user.a", "1", 1, 0), 0);
}

static void
a_disk_that_says_nothing_of_its_room_ends_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f, INODE_ROOT, "a");
	struct statvfs st;

	is_silent = true;
	assert_int_equal(vfs_statfs(f->vfs, &st), 0);
	assert_int_equal(vfs_fallocate(f->vfs, ino, 0, 0, 1 << 20), 0);
	is_silent = false;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_file_keeps_content_and_attributes_over_a_reopening),
		T(a_name_that_is_there_is_not_made_again),
		T(link_counts_follow_names_and_subdirectories),
		T(an_open_file_outlives_its_last_name_until_it_is_forgotten),
		T(a_directory_is_another_one_to_the_kernel_after_each_removal_until_it_is_forgotten),
		T(an_orphan_of_a_crash_is_reaped),
		T(rename_replaces_moves_and_exchanges),
		T(renaming_one_of_two_names_of_a_file_onto_the_other_does_nothing),
		T(a_listing_goes_on_where_it_stopped_whatever_was_removed),
		T(names_and_targets_have_their_limits),
		T(a_setgid_directory_hands_down_its_group),
		T(a_write_by_a_stranger_clears_set_id_bits),
		T(attributes_are_set_listed_replaced_and_removed),
		T(holes_are_punched_zeroed_and_found),
		T(a_huge_truncate_is_instant_and_reads_as_zeros),
		T(times_are_set_to_the_nanosecond),
		T(what_the_kernel_writes_back_late_leaves_the_times_that_it_has_set),
		T(nothing_is_made_in_a_directory_that_is_gone),
		T(a_rename_may_leave_a_whiteout),
		T(a_handle_leads_to_the_inode_and_to_its_parent),
		T(a_change_of_the_owner_takes_set_id_bits_of_every_type),
		T(a_stranger_takes_no_set_id_bits),
		T(every_change_waits_for_room),
		T(allocating_cuts_nothing_of_a_file_that_grows_meanwhile),
		T(an_attribute_is_replaced_where_there_is_no_room_for_another),
		T(an_access_list_that_finds_no_room_leaves_the_mode),
		T(times_are_taken_from_the_clock_that_the_kernel_uses_for_writes),
		T(names_of_attributes_are_whole),
		T(a_disk_that_says_nothing_of_its_room_ends_nothing),
	};

	assert_int_equal(secmem_init(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
