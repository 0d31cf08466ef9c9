/* The local half of a vault, once it was made: opened by whoever has the key, by one process at a time, and taken only whole. */
#include "vault_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "credentials.h"
#include "random.h"

static void
a_new_vault_has_an_empty_root_that_is_pending(void **state)
{
	const struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN] = { 0 };
	struct meta_pending_summary sum;
	struct inode *root;
	struct vault *v;

	create(f, recovery);
	v = open_vault(f);
	meta_lock(v->meta);
	assert_int_equal(meta_inode_get(v->meta, INODE_ROOT, &root), 0);
	assert_int_equal(root->mode, S_IFDIR | 0755);
	assert_int_equal(root->uid, 1234);
	assert_int_equal(root->gid, 5678);
	assert_int_equal(root->nlink, 2);
	assert_true(root->pending & PENDING_NEW);
	meta_unlock(v->meta);
	meta_pending_summary(v->meta, &sum);
	assert_int_equal(sum.inode_count, 1);
	assert_string_equal(v->remote_url, "dir:/somewhere");
	assert_false(v->has_head);
	assert_int_equal(vault_close(v), 0);
}

static void
the_recovery_key_is_a_member_of_the_new_vault(void **state)
{
	const struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN], id[IDENTITY_ID_LEN], psk[32];
	struct identity *who = NULL;
	const struct trust_member *m;
	struct vault *v;

	create(f, recovery);
	v = open_vault(f);
	assert_int_equal(identity_from_recovery_key(recovery, &who), 0);
	assert_int_equal(identity_id(identity_public(who), id), 0);
	m = trust_recovery(v->trust);
	assert_non_null(m);
	assert_memory_equal(m->id, id, sizeof(id));
	assert_int_equal(identity_derive(who, "recovery psk", psk), 0);
	assert_memory_equal(psk, v->secrets->recovery_psk, sizeof(psk));
	m = trust_member_find(v->trust, v->my_id);
	assert_non_null(m);
	assert_string_equal(m->name, "laptop");
	assert_memory_equal(v->id, trust_vault_id(v->trust), 32);
	identity_free(who);
	assert_int_equal(vault_close(v), 0);
}

static void
what_was_saved_is_there_after_reopening(void **state)
{
	const struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN], link_secret[32], key1[32] = { 0xe1 };
	struct key32 e0, e1;
	struct vault *v;
	uint32_t epoch;

	create(f, recovery);
	v = open_vault(f);
	memcpy(link_secret, v->secrets->link_secret, sizeof(link_secret));
	assert_int_equal(keyring_get(v->keys, 0, &e0), 0);
	meta_lock(v->meta);
	v->has_head = true;
	v->head_seq = 77;
	memset(v->head_hash, 0x5a, sizeof(v->head_hash));
	v->base_seq = 70;
	v->base_size = 12345;
	v->tail_size = 678;
	v->flight_count = 1;
	memset(v->flights[0], 0xf1, sizeof(v->flights[0]));
	assert_int_equal(vault_save_head(v), 0);
	assert_int_equal(vault_save_epoch_key(v, 1, key1), 0);
	assert_int_equal(vault_save_remote(v, "dir:/elsewhere"), 0);
	meta_unlock(v->meta);
	assert_int_equal(vault_close(v), 0);

	v = open_vault(f);
	assert_true(v->has_head);
	assert_int_equal(v->head_seq, 77);
	assert_int_equal(v->head_hash[31], 0x5a);
	assert_int_equal(v->base_seq, 70);
	assert_int_equal(v->base_size, 12345);
	assert_int_equal(v->tail_size, 678);
	assert_int_equal(v->flight_count, 1);
	assert_int_equal(v->flights[0][0], 0xf1);
	assert_string_equal(v->remote_url, "dir:/elsewhere");
	assert_memory_equal(v->secrets->link_secret, link_secret, sizeof(link_secret));
	assert_int_equal(keyring_get(v->keys, 0, &e1), 0);
	assert_memory_equal(e0.b, e1.b, 32);
	assert_int_equal(keyring_get(v->keys, 1, &e1), 0);
	assert_memory_equal(e1.b, key1, 32);
	assert_int_equal(keyring_current(v->keys, &epoch), 0);
	assert_int_equal(epoch, 1);
	assert_int_equal(vault_close(v), 0);
}

static void
another_key_for_a_known_epoch_is_refused(void **state)
{
	const struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN], other[32] = { 1 };
	struct vault *v;

	create(f, recovery);
	v = open_vault(f);
	meta_lock(v->meta);
	assert_int_equal(vault_save_epoch_key(v, 0, other), -EEXIST);
	meta_unlock(v->meta);
	assert_int_equal(vault_close(v), 0);
}

static void
a_vault_is_open_once_at_a_time(void **state)
{
	const struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN];
	struct vault *v, *second = NULL;

	create(f, recovery);
	v = open_vault(f);
	assert_int_equal(vault_open(f->dir, &plain, &second), -EBUSY);
	assert_null(second);
	assert_int_equal(vault_close(v), 0);
	v = open_vault(f);
	assert_int_equal(vault_close(v), 0);
}

static void
a_passphrase_opens_and_another_does_not(void **state)
{
	const struct fixture *f = *state;
	struct vault_create_params p = params(f);
	const struct vault_unlock right = { .passphrase = "correct horse", .passphrase_len = 13 };
	const struct vault_unlock wrong = { .passphrase = "correct h0rse", .passphrase_len = 13 };
	const struct vault_unlock none = { 0 };
	uint8_t recovery[RECOVERY_KEY_LEN];
	struct vault *v = NULL;
	bool needs = false;

	p.lock = right;
	assert_int_equal(vault_create(&p, recovery), 0);
	assert_int_equal(vault_peek(f->dir, &needs), 0);
	assert_true(needs);
	assert_int_equal(vault_open(f->dir, &wrong, &v), -EKEYREJECTED);
	assert_int_equal(vault_open(f->dir, &none, &v), -ENOKEY);
	assert_int_equal(vault_open(f->dir, &plain, &v), -ENOKEY);
	assert_null(v);
	assert_int_equal(vault_open(f->dir, &right, &v), 0);
	assert_int_equal(vault_close(v), 0);
}

static void
a_plain_vault_needs_no_passphrase(void **state)
{
	const struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN];
	bool needs = true;

	create(f, recovery);
	assert_int_equal(vault_peek(f->dir, &needs), 0);
	assert_false(needs);
}

static void
where_no_vault_is_opening_says_so_and_makes_nothing(void **state)
{
	const struct fixture *f = *state;
	struct vault *v = NULL;
	bool needs;

	assert_int_equal(vault_open(f->dir, &plain, &v), -ENOENT);
	assert_int_equal(vault_peek(f->dir, &needs), -ENOENT);
	assert_int_equal(vault_open(f->top, &plain, &v), -ENOENT);
	assert_int_equal(entries(f->top), 0);
}

static void
flip_byte(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	uint8_t b;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, at), 1);
	b ^= 1;
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
	close(fd);
}

static void
every_damaged_byte_of_the_device_file_is_noticed(void **state)
{
	const struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN];
	char path[256];
	struct stat st;

	create(f, recovery);
	snprintf(path, sizeof(path), "%s/device", f->dir);
	assert_int_equal(stat(path, &st), 0);
	for (off_t at = 0; at < st.st_size; at++) {
		struct vault *v = NULL;

		flip_byte(path, at);
		assert_int_not_equal(vault_open(f->dir, &plain, &v), 0);
		assert_null(v);
		flip_byte(path, at);
	}
	struct vault *v = open_vault(f);
	assert_int_equal(vault_close(v), 0);
}

static void
another_vaults_database_is_not_taken(void **state)
{
	struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN];
	char from[300], to[300];
	struct fixture other = *f;
	struct vault *v = NULL;
	err_t err;

	create(f, recovery);
	snprintf(other.dir, sizeof(other.dir), "%s/other", f->top);
	create(&other, recovery);
	snprintf(from, sizeof(from), "%s/meta.db", other.dir);
	snprintf(to, sizeof(to), "%s/meta.db", f->dir);
	assert_int_equal(rename(from, to), 0);
	err = vault_open(f->dir, &plain, &v);
	assert_int_equal(err, -EBADMSG);
}

static void
a_vault_without_its_database_is_damaged(void **state)
{
	const struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN];
	struct vault *v = NULL;
	char path[256];

	create(f, recovery);
	snprintf(path, sizeof(path), "%s/meta.db", f->dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(vault_open(f->dir, &plain, &v), -EBADMSG);
}

static uint64_t
make_file(struct vault *v)
{
	struct inode *i;
	uint64_t ino;

	meta_lock(v->meta);
	assert_int_equal(meta_inode_new(v->meta, &i), 0);
	i->mode = S_IFREG | 0644;
	i->nlink = 1;
	ino = i->ino;
	meta_inode_dirty(v->meta, i);
	assert_int_equal(meta_dentry_set(v->meta, INODE_ROOT, "file", ino, DT_REG), 0);
	meta_unlock(v->meta);
	return ino;
}

static void
content_is_there_after_reopening(void **state)
{
	const struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN], data[10000], back[10000];
	struct vault *v;
	size_t n = 0;
	uint64_t ino;

	assert_int_equal(random_bytes(data, sizeof(data)), 0);
	create(f, recovery);
	v = open_vault(f);
	ino = make_file(v);
	assert_int_equal(content_write(v->content, ino, 0, data, sizeof(data)), 0);
	assert_int_equal(vault_close(v), 0);

	v = open_vault(f);
	assert_int_equal(content_read(v->content, ino, 0, sizeof(back), back, &n), 0);
	assert_int_equal(n, sizeof(data));
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(vault_close(v), 0);
}

/* As a power cut leaves it: the size is set, and a chunk behind it is still mapped. */
static void
leave_behind_the_end(struct vault *v, uint64_t ino)
{
	struct bytes row = { 0 };
	struct inode *i;

	assert_int_equal(content_write(v->content, ino, 2 * CHUNK_LEN, (const uint8_t *)"far", 3), 0);
	meta_lock(v->meta);
	assert_int_equal(meta_inode_get(v->meta, ino, &i), 0);
	i->size = 1;
	meta_inode_dirty(v->meta, i);
	assert_int_equal(bytes_append_u64(&row, ino), 0);
	assert_int_equal(meta_kv_put(v->meta, DB_KEY_CUT, row.data, row.len), 0);
	meta_unlock(v->meta);
	bytes_clear(&row);
}

static void
what_is_left_of_a_truncation_is_gone_before_anybody_sees_the_vault(void **state)
{
	const struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN];
	struct inode *i;
	struct vault *v;
	uint64_t ino;

	create(f, recovery);
	v = open_vault(f);
	ino = make_file(v);
	leave_behind_the_end(v, ino);
	assert_int_equal(vault_close(v), 0);

	v = open_vault(f);
	meta_lock(v->meta);
	assert_int_equal(meta_inode_get(v->meta, ino, &i), 0);
	assert_int_equal(i->size, 1);
	assert_int_equal(i->mapped, 0);
	meta_unlock(v->meta);
	assert_int_equal(vault_close(v), 0);
}

/* A joined vault, from what another has. */
static struct vault *
make_joined(const struct fixture *f, const struct vault *from, const char *dir)
{
	struct vault_create_params p = params(f);
	const uint32_t epochs[1] = { 0 };
	uint8_t keys[1][32];
	struct key32 key;
	struct vault *v = NULL;

	p.dir = dir;
	assert_int_equal(keyring_get(from->keys, 0, &key), 0);
	memcpy(keys[0], key.b, 32);
	assert_int_equal(vault_create_joined(&p, from->trust, from->secrets, epochs, (const uint8_t(*)[32])keys, 1, &v), 0);
	return v;
}

static void
a_joined_half_has_the_vaults_id_and_keys_and_no_tree(void **state)
{
	const struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN];
	struct vault *v, *joined;
	struct inode *root;
	char dir[256];
	struct key32 a, b;

	create(f, recovery);
	v = open_vault(f);
	snprintf(dir, sizeof(dir), "%s/joined/", f->top);
	joined = make_joined(f, v, dir);
	assert_memory_equal(joined->id, v->id, 32);
	assert_memory_not_equal(joined->my_id, v->my_id, IDENTITY_ID_LEN);
	assert_int_equal(keyring_get(joined->keys, 0, &a), 0);
	assert_int_equal(keyring_get(v->keys, 0, &b), 0);
	assert_memory_equal(a.b, b.b, 32);
	meta_lock(joined->meta);
	assert_int_equal(meta_inode_get(joined->meta, INODE_ROOT, &root), -ENOENT);
	meta_unlock(joined->meta);
	assert_int_equal(access(dir, F_OK), -1); /* it has no name yet */
	vault_discard(joined);
	assert_int_equal(entries(f->top), 1);
	assert_int_equal(vault_close(v), 0);
}

static void
a_joined_half_gets_its_name_when_published(void **state)
{
	const struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN];
	struct bytes add = { 0 };
	struct vault *v, *joined;
	struct identity *key;
	char dir[256];

	create(f, recovery);
	v = open_vault(f);
	snprintf(dir, sizeof(dir), "%s/joined", f->top);
	joined = make_joined(f, v, dir);
	assert_int_equal(identity_from_recovery_key(recovery, &key), 0);
	assert_int_equal(trust_make_add(joined->trust, key, MEMBER_DEVICE, identity_public(joined->me), "phone", 1, &add), 0);
	meta_lock(joined->meta);
	assert_int_equal(trust_apply(joined->trust, add.data, add.len), 0);
	assert_int_equal(vault_save_statement(joined, 1, add.data, add.len), 0);
	meta_unlock(joined->meta);
	assert_int_equal(vault_publish(joined, dir), 0);
	assert_int_equal(vault_close(v), 0);

	assert_int_equal(vault_open(dir, &plain, &v), 0);
	assert_int_equal(trust_member_find(v->trust, v->my_id)->number, 2);
	assert_int_equal(vault_close(v), 0);
	identity_free(key);
	bytes_clear(&add);
}

/* Secrets in memory. */

#define WINDOW_LEN ((size_t)1 << 20)

/* Reads through the kernel, so that what is unmapped meanwhile is only missed. */
static bool
is_between(uintptr_t begin, uintptr_t end, const uint8_t *secret, size_t len)
{
	static uint8_t window[WINDOW_LEN];

	for (; begin + len <= end; begin += WINDOW_LEN - len) {
		struct iovec to = { window, end - begin < WINDOW_LEN ? end - begin : WINDOW_LEN };
		struct iovec from = { (void *)begin, to.iov_len };
		ssize_t got = process_vm_readv(getpid(), &to, 1, &from, 1, 0);

		if (got > 0 && memmem(window, (size_t)got, secret, len) != NULL)
			return true;
		if (end - begin <= WINDOW_LEN)
			break;
	}
	return false;
}

/* In what can be written to, and is not the locked heap.  What is larger than any heap of a test belongs to a sanitizer. */
static bool
is_in_ordinary_memory(const uint8_t *secret, size_t len)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	uintptr_t begin = 0, end = 0;
	char line[512], rights[8] = "";
	bool found = false;

	assert_non_null(smaps);
	while (!found && fgets(line, sizeof(line), smaps) != NULL) {
		/* Some words begin as numbers do. */
		if (strchr(line, '-') != NULL && sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s ", &begin, &end, rights) == 3)
			continue;
		if (strncmp(line, "VmFlags:", 8) == 0 && rights[1] == 'w' && strstr(line, " dd") == NULL && end - begin < (size_t)1 << 30)
			found = is_between(begin, end, secret, len);
	}
	fclose(smaps);
	return found;
}

static void
secrets_that_are_saved_are_not_in_ordinary_memory(void **state)
{
	const struct fixture *f = *state;
	uint8_t recovery[RECOVERY_KEY_LEN] = { 0 };
	struct credentials *c = secmem_new(sizeof(*c)), *kept = NULL;
	uint8_t (*keys)[32] = secmem_new(32 * 32);
	uint8_t *careless = malloc(32);
	struct vault *v;

	create(f, recovery);
	v = open_vault(f);
	assert_true(c != NULL && keys != NULL && careless != NULL);
	assert_int_equal(random_secret(keys, 32 * 32), 0);
	for (size_t i = 0; i < 40; i++)
		c->secret_key[i] = (char)('!' + keys[i / 32][i % 32] % 90);
	strcpy(c->access_key, "AKIA");

	/* So many that the journal would keep them for the difference to the next version. */
	for (uint32_t epoch = 1; epoch < 32; epoch++) {
		meta_lock(v->meta);
		assert_int_equal(vault_save_epoch_key(v, epoch, keys[epoch]), 0);
		meta_unlock(v->meta);
	}
	assert_int_equal(credentials_save(v, c), 0);
	assert_int_equal(meta_sync(v->meta), 0);
	for (uint32_t epoch = 1; epoch < 32; epoch++)
		assert_false(is_in_ordinary_memory(keys[epoch], 32));
	assert_false(is_in_ordinary_memory((const uint8_t *)c->secret_key, 40));
	memcpy(careless, keys[7], 32);
	assert_true(is_in_ordinary_memory(keys[7], 32));
	explicit_bzero(careless, 32);

	assert_int_equal(vault_close(v), 0);
	v = open_vault(f);
	for (uint32_t epoch = 1; epoch < 32; epoch++) {
		CLEANUP(key32_wipe) struct key32 key = { 0 };

		assert_int_equal(keyring_get(v->keys, epoch, &key), 0);
		assert_memory_equal(key.b, keys[epoch], 32);
	}
	assert_int_equal(credentials_load(v, &kept), 0);
	assert_memory_equal(kept, c, sizeof(*c));
	assert_int_equal(credentials_save(v, NULL), 0);
	secmem_free(kept);
	kept = NULL;
	assert_int_equal(credentials_load(v, &kept), -ENOENT);
	assert_int_equal(vault_close(v), 0);
	secmem_free(keys);
	secmem_free(c);
	free(careless);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(secrets_that_are_saved_are_not_in_ordinary_memory),
		TEST(a_new_vault_has_an_empty_root_that_is_pending),
		TEST(the_recovery_key_is_a_member_of_the_new_vault),
		TEST(what_was_saved_is_there_after_reopening),
		TEST(another_key_for_a_known_epoch_is_refused),
		TEST(a_vault_is_open_once_at_a_time),
		TEST(a_passphrase_opens_and_another_does_not),
		TEST(a_plain_vault_needs_no_passphrase),
		TEST(where_no_vault_is_opening_says_so_and_makes_nothing),
		TEST(every_damaged_byte_of_the_device_file_is_noticed),
		TEST(another_vaults_database_is_not_taken),
		TEST(a_vault_without_its_database_is_damaged),
		TEST(content_is_there_after_reopening),
		TEST(what_is_left_of_a_truncation_is_gone_before_anybody_sees_the_vault),
		TEST(a_joined_half_has_the_vaults_id_and_keys_and_no_tree),
		TEST(a_joined_half_gets_its_name_when_published),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
