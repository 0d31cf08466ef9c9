/* concurrency: who waits for the disk, or for the store, keeps nobody waiting who does not need the same. */
#include "fixture.h"

#include <pthread.h>
#include <semaphore.h>

#define MIB (1u << 20)

/* One operation of one thread waits here until it is told to go on. */
struct gate {
	const char *operation;
	sem_t reached;
	sem_t open;
};

static _Thread_local bool stops;

static void
stop_at(struct gate *g)
{
	stops = false;
	sem_post(&g->reached);
	while (sem_wait(&g->open))
		;
}

static err_t
gate_fn(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct gate *g = ctx;

	(void)fd, (void)name, (void)data, (void)off, (void)len;
	if (stops && strcmp(operation, g->operation) == 0)
		stop_at(g);
	return 0;
}

/* A thread that reads or writes all of a file and stops on the way. */
struct call {
	struct fixture *f;
	struct gate gate;
	pthread_t thread;
	uint64_t ino;
	uint8_t *data; /* len bytes: to write, or what was read */
	size_t len;
	size_t read_len;
	bool writes;
	err_t result;
};

static void *
call_main(void *ctx)
{
	struct call *c = ctx;

	stops = true;
	c->result = c->writes ? content_write(c->f->c, c->ino, 0, c->data, c->len)
	                      : content_read(c->f->c, c->ino, 0, c->len, c->data, &c->read_len);
	stops = false;
	return NULL;
}

/* Returns when it has stopped. */
static void
call_begin(struct call *c)
{
	sem_init(&c->gate.reached, 0, 0);
	sem_init(&c->gate.open, 0, 0);
	disk_watch(gate_fn, &c->gate);
	assert_int_equal(pthread_create(&c->thread, NULL, call_main, c), 0);
	while (sem_wait(&c->gate.reached))
		;
}

static void
call_end(struct call *c)
{
	sem_post(&c->gate.open);
	pthread_join(c->thread, NULL);
	disk_watch(NULL, NULL);
	sem_destroy(&c->gate.reached);
	sem_destroy(&c->gate.open);
}

static uint8_t *
new_bytes(size_t len, uint64_t seed)
{
	uint8_t *p = malloc(len);

	assert_non_null(p);
	fill(p, len, seed);
	return p;
}

/* Everything that another file's users do. */
static void
use(struct fixture *f, uint64_t ino, const uint8_t *data, size_t len)
{
	write_file(f, ino, 0, data, len);
	assert_content(f, ino, 0, data, len);
	assert_int_equal(content_truncate(f->c, ino, len / 2), 0);
	assert_int_equal(inode_of(f, ino).size, len / 2);
}

static void
while_a_read_waits_for_the_disk_its_file_is_read_and_others_are_changed_and_committed(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f), other = new_file(f);
	uint8_t *data = new_bytes(3 * MIB, 1), *more = new_bytes(2 * MIB, 2), *got = new_bytes(3 * MIB, 3);
	struct call c = {.f = f, .gate = {.operation = "pread"}, .ino = ino, .data = got, .len = 3 * MIB};

	write_file(f, ino, 0, data, 3 * MIB);
	call_begin(&c);
	use(f, other, more, 2 * MIB);
	assert_content(f, ino, 0, data, 3 * MIB);
	assert_int_equal(inode_of(f, ino).size, 3 * MIB);
	assert_int_equal(meta_sync(f->meta), 0);
	call_end(&c);
	assert_int_equal(c.result, 0);
	assert_memory_equal(got, data, 3 * MIB);
	free(data);
	free(more);
	free(got);
}

static void
while_a_write_waits_for_the_disk_its_file_is_read_and_written_and_so_are_others(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f), other = new_file(f);
	uint8_t *old = new_bytes(3 * MIB, 1), *data = new_bytes(2 * MIB, 2);
	struct call c = {.f = f, .gate = {.operation = "pwrite"}, .ino = ino, .data = data, .len = 2 * MIB, .writes = true};

	write_file(f, ino, 0, old, 2 * MIB);
	call_begin(&c);
	use(f, other, data, 2 * MIB);
	assert_content(f, ino, 0, old, 2 * MIB);
	write_file(f, ino, 2 * MIB, old + 2 * MIB, MIB);
	assert_content(f, ino, 0, old, 3 * MIB);
	call_end(&c);
	assert_int_equal(c.result, 0);
	assert_content(f, ino, 0, data, 2 * MIB);
	assert_content(f, ino, 2 * MIB, old + 2 * MIB, MIB);
	free(old);
	free(data);
}

/* What the thread that brings a segment does first. */
struct store {
	struct fixture *f;
	struct gate *gate;
	struct bytes object;
};

static err_t
fetch_fn(void *ctx, const struct segment *s, uint64_t off, size_t len, struct bytes *out)
{
	struct store *k = ctx;

	stop_at(k->gate);
	(void)s;
	return bytes_append(out, k->object.data + off, len);
}

static void
while_a_read_waits_for_the_store_its_file_is_changed_and_the_read_sees_the_change(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t *data = new_bytes(MIB, 1), *more = new_bytes(MIB, 2), *got = new_bytes(2 * MIB, 3);
	struct call c = {.f = f, .gate = {.operation = "nothing"}, .ino = ino, .data = got, .len = 2 * MIB};
	struct store k = {.f = f, .gate = &c.gate};

	write_file(f, ino, 0, data, MIB);
	fixture_send_away(f, ino, &k.object);
	content_set_fetch(f->c, fetch_fn, &k);
	call_begin(&c);
	write_file(f, ino, MIB, more, MIB);
	assert_content(f, ino, MIB, more, MIB);
	assert_int_equal(content_truncate(f->c, ino, MIB + 5000), 0);
	call_end(&c);
	content_set_fetch(f->c, NULL, NULL);
	assert_int_equal(c.result, 0);
	assert_int_equal(c.read_len, MIB + 5000);
	assert_memory_equal(got, data, MIB);
	assert_memory_equal(got + MIB, more, 5000);
	bytes_clear(&k.object);
	free(data);
	free(more);
	free(got);
}

/* What a write encrypts without a lock is mapped only if it is under the key that the file has by then. */

static void
assert_all_under(struct fixture *f, uint64_t ino, uint32_t version)
{
	struct extent_list l = extents_of(f, ino, 0);

	assert_int_equal(l.count, 1);
	assert_int_equal(l.v[0].key_version, version);
	extent_list_clear(&l);
}

static void
a_write_that_a_new_epoch_overtakes_is_sealed_again_under_its_key(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t *data = new_bytes(MIB, 1);
	struct call c = {.f = f, .gate = {.operation = "pwrite"}, .ino = ino, .data = data, .len = MIB, .writes = true};

	call_begin(&c);
	assert_int_equal(keyring_add(f->keys, 2, EPOCH_KEYS[2]), 0);
	call_end(&c);
	assert_int_equal(c.result, 0);
	assert_all_under(f, ino, 2);
	assert_content(f, ino, 0, data, MIB);
	free(data);
}

/* As a merge does: the same version, another key. */
static void
replace_keys(struct fixture *f, uint64_t ino)
{
	struct inode *i;

	content_lock_file(f->c, ino, true);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(i->key_count, 1);
	assert_int_equal(keyring_new_file_key(f->keys, i->keys[0].version, &i->keys[0]), 0);
	meta_inode_dirty(f->meta, i);
	meta_unlock(f->meta);
	content_unlock_file(f->c, ino);
}

static void
a_write_that_a_merge_overtakes_is_sealed_again_under_the_files_new_key(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t *data = new_bytes(MIB, 1);
	struct call c = {.f = f, .gate = {.operation = "pwrite"}, .ino = ino, .data = data, .len = MIB, .writes = true};

	call_begin(&c);
	replace_keys(f, ino);
	call_end(&c);
	assert_int_equal(c.result, 0);
	assert_all_under(f, ino, 1);
	assert_content(f, ino, 0, data, MIB);
	free(data);
}

static void
a_write_to_a_file_that_goes_meanwhile_is_enoent(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t *data = new_bytes(MIB, 1);
	struct call c = {.f = f, .gate = {.operation = "pwrite"}, .ino = ino, .data = data, .len = MIB, .writes = true};
	struct inode *i;

	call_begin(&c);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(meta_inode_remove(f->meta, i), 0);
	meta_unlock(f->meta);
	call_end(&c);
	assert_int_equal(c.result, -ENOENT);
	free(data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(while_a_read_waits_for_the_disk_its_file_is_read_and_others_are_changed_and_committed),
		TEST(while_a_write_waits_for_the_disk_its_file_is_read_and_written_and_so_are_others),
		TEST(while_a_read_waits_for_the_store_its_file_is_changed_and_the_read_sees_the_change),
		TEST(a_write_that_a_new_epoch_overtakes_is_sealed_again_under_its_key),
		TEST(a_write_that_a_merge_overtakes_is_sealed_again_under_the_files_new_key),
		TEST(a_write_to_a_file_that_goes_meanwhile_is_enoent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
