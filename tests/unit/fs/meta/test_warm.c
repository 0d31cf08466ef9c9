/* Which rows are read before the lock is taken: all that are going to be looked at, and none that are in memory. */
#include "meta_fixture.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include "extents.h"
#include "secmem.h"

#define PART_LEN 32768u

/* What was read last of each table: [first, last], or nothing. */
static struct {
	unsigned count;
	uint64_t first, last;
} warmed[DB_CHUNK_PART + 1];

void __wrap_db_warm(struct db *db, enum db_table table, uint64_t a, uint64_t b, uint64_t last_b);
void
__wrap_db_warm(struct db *db, enum db_table table, uint64_t a, uint64_t b, uint64_t last_b)
{
	(void)db;
	(void)a;
	warmed[table].count++;
	warmed[table].first = b;
	warmed[table].last = last_b;
}

/* Each look shows that the disk was asked in between. */
int __wrap_getrusage(int who, struct rusage *out);
int
__wrap_getrusage(int who, struct rusage *out)
{
	static long blocks;

	(void)who;
	*out = (struct rusage){ .ru_inblock = ++blocks };
	return 0;
}

/* A file whose chunks 1 and 2 have an extent for each 4 KiB, of which nothing is in memory. */
static uint64_t
make_cold_file(struct fixture *f)
{
	struct inode *i;
	uint64_t ino;

	meta_lock(f->meta);
	i = make_inode(f, S_IFREG | 0600);
	i->size = 3 * CHUNK_LEN;
	ino = i->ino;
	for (uint64_t no = 1; no <= 2; no++) {
		struct chunk *c;

		assert_int_equal(meta_chunk_get(f->meta, i, no, true, &c), 0);
		for (uint32_t k = 0; k < CHUNK_LEN / 4096; k++) {
			struct extent x = { .off = no * CHUNK_LEN + k * 4096, .len = 4096, .seg = 1, .stored_len = 4096 };

			x.x_off = x.off;
			x.x_len = x.len;
			assert_int_equal(extent_list_append(&c->current, &x), 0);
		}
		meta_chunk_dirty(f->meta, i, c);
	}
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), 0);
	reopen(f);
	return ino;
}

static void
lock_warm(struct fixture *f, uint64_t ino, uint64_t off, uint64_t len)
{
	memset(warmed, 0, sizeof(warmed));
	meta_lock_warm(f->meta, ino, off, len);
}

static void
all_parts_of_what_is_read_are_warmed(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_cold_file(f);

	lock_warm(f, ino, CHUNK_LEN + PART_LEN + 1, CHUNK_LEN);
	meta_unlock(f->meta);
	assert_int_equal(warmed[DB_INODE].count, 1);
	assert_int_equal(warmed[DB_CHUNK].first, 1);
	assert_int_equal(warmed[DB_CHUNK].last, 2);
	assert_int_equal(warmed[DB_CHUNK_PART].first, 33);
	assert_int_equal(warmed[DB_CHUNK_PART].last, 65);
	lock_warm(f, ino, CHUNK_LEN + 2 * PART_LEN, PART_LEN);
	meta_unlock(f->meta);
	assert_int_equal(warmed[DB_CHUNK_PART].first, 34);
	assert_int_equal(warmed[DB_CHUNK_PART].last, 34);
}

static void
who_looks_at_attributes_alone_warms_the_inode_alone(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_cold_file(f);

	lock_warm(f, ino, 0, 0);
	meta_unlock(f->meta);
	assert_int_equal(warmed[DB_INODE].count, 1);
	assert_int_equal(warmed[DB_CHUNK].count, 0);
	assert_int_equal(warmed[DB_CHUNK_PART].count, 0);
}

static void
what_is_in_memory_is_not_warmed(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_cold_file(f);
	struct inode *i;
	struct chunk *c;

	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(meta_chunk_get_for_reading(f->meta, i, 1, CHUNK_LEN, CHUNK_LEN + PART_LEN, &c), 0);
	meta_unlock(f->meta);
	lock_warm(f, ino, CHUNK_LEN, PART_LEN);
	assert_int_equal(warmed[DB_INODE].count + warmed[DB_CHUNK].count + warmed[DB_CHUNK_PART].count, 0);
	meta_unlock(f->meta);
	/* The part behind it is not. */
	lock_warm(f, ino, CHUNK_LEN, PART_LEN + 1);
	meta_unlock(f->meta);
	assert_int_equal(warmed[DB_INODE].count, 0);
	assert_int_equal(warmed[DB_CHUNK_PART].last, 33);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_parts_of_what_is_read_are_warmed, setup, teardown),
		cmocka_unit_test_setup_teardown(who_looks_at_attributes_alone_warms_the_inode_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_in_memory_is_not_warmed, setup, teardown),
	};

	assert_int_equal(secmem_init(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
