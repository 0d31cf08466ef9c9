/*
 * fuse_mount_fixture.h: a mounted vault whose insides the test changes behind the kernel's back, as a pull does.  Skipped where mounting
 * is not allowed.
 */
#ifndef SNUGFS_TEST_FUSE_MOUNT_FIXTURE_H
#define SNUGFS_TEST_FUSE_MOUNT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuse_ops.h"
#include "secmem.h"
#include "vault.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define ROOT 1

struct fixture {
	char top[64];
	char vault_dir[96];
	char mountpoint[96];
	struct vault *vault;
	struct vfs *vfs;
	struct fuse_mount *mount;
	pthread_t server;
};

static inline void *
serve(void *mount)
{
	return (void *)(intptr_t)fuse_mount_serve(mount);
}

static inline int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct vault_unlock plain = { .plain = true };
	struct vault_create_params p = { .device_name = "test", .lock = plain, .root_uid = getuid(), .root_gid = getgid() };
	struct fuse_mount_options o = { .fsname = "test" };
	uint8_t recovery[RECOVERY_KEY_LEN];
	char *why = NULL;
	err_t err;

	strcpy(f->top, "/tmp/test_fuse_mount.XXXXXX");
	assert_non_null(mkdtemp(f->top));
	snprintf(f->vault_dir, sizeof(f->vault_dir), "%s/vault", f->top);
	snprintf(f->mountpoint, sizeof(f->mountpoint), "%s/mnt", f->top);
	assert_int_equal(mkdir(f->mountpoint, 0700), 0);
	p.dir = f->vault_dir;
	o.mountpoint = f->mountpoint;
	assert_int_equal(vault_create(&p, recovery), 0);
	assert_int_equal(vault_open(f->vault_dir, &plain, &f->vault), 0);
	assert_int_equal(vfs_new(f->vault->meta, f->vault->content, f->vault->lookups, f->vault_dir, &f->vfs), 0);
	err = fuse_mount_new(f->vfs, &o, &f->mount, &why);
	if (err) {
		char command[128];

		print_message("cannot mount here: %s\n", why);
		snprintf(command, sizeof(command), "rm -r %s", f->top);
		exit(system(command) == 0 ? 77 : 1); /* 77: skipped */
	}
	assert_int_equal(pthread_create(&f->server, NULL, serve, f->mount), 0);
	*state = f;
	return 0;
}

static inline void
end_mount(struct fixture *f)
{
	void *result = NULL;

	if (!f->mount)
		return;
	fuse_mount_stop(f->mount);
	assert_int_equal(pthread_join(f->server, &result), 0);
	assert_null(result);
	fuse_mount_free(f->mount);
	f->mount = NULL;
}

static inline int
teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	end_mount(f);
	vfs_free(f->vfs);
	assert_int_equal(vault_close(f->vault), 0);
	snprintf(command, sizeof(command), "rm -r %s", f->top);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static inline const char *
path_of(const struct fixture *f, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", f->mountpoint, name);
	return path;
}

static inline void
put(const struct fixture *f, const char *name, const char *text)
{
	int fd = open(path_of(f, name), O_CREAT | O_WRONLY | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
}

static inline void
expect_content(int fd, const char *text)
{
	char buf[256] = "";
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, strlen(text));
	assert_int_equal(pread(fd, buf, sizeof(buf) - 1, 0), strlen(text));
	assert_string_equal(buf, text);
}

static inline uint64_t
number_of(const struct fixture *f, const char *name)
{
	struct stat st;

	assert_int_equal(stat(path_of(f, name), &st), 0);
	return st.st_ino;
}

#endif
