/* Files in very many pieces: their maps are kept in parts, and nobody but the disk can tell. */
#include "../../tempdir.h"

#define FIXTURE_PLACE tempdir_quick() /* thousands of flushes, which may take 50 ms each on a slow disk */

#include "content_internal.h"
#include "fixture.h"

#define MIB (1u << 20)
#define BEGIN MIB /* chunk 0 is in the inode's row */
#define LEN (2 * MIB)
#define STEPS 2500

/* What the file ought to be, from BEGIN on: now, and as of the last commit. */
struct model {
	struct fixture *f;
	uint64_t ino;
	uint8_t *now;
	uint8_t *durable;
	uint64_t seed;
	struct extent_list chain[LEN / MIB]; /* what the chain says of each chunk */
};

static uint64_t
draw(struct model *m, uint64_t below)
{
	m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
	return (m->seed >> 20) % below;
}

static void
write_some(struct model *m)
{
	static const size_t MOST[] = {20, 4096, 9000, 50000, LEN / 3};
	size_t len = (size_t)draw(m, MOST[draw(m, 40) ? draw(m, 3) : 3 + draw(m, 2)]) + 1;
	uint64_t off = draw(m, LEN - len);

	if (draw(m, 2)) {
		off &= ~UINT64_C(4095);
		len = len < 4096 ? 4096 : len;
	}
	fill(m->now + off, len, m->seed);
	if (draw(m, 3) == 0)
		memset(m->now + off, 'a', len); /* is packed when it settles */
	write_file(m->f, m->ino, BEGIN + off, m->now + off, len);
}

static void
punch_some(struct model *m)
{
	uint64_t len = draw(m, 30000) + 1, off = draw(m, LEN - len);

	assert_int_equal(content_punch(m->f->c, m->ino, BEGIN + off, len), 0);
	memset(m->now + off, 0, (size_t)len);
}

static void
read_some(struct model *m)
{
	size_t len = (size_t)draw(m, draw(m, 5) ? 5000 : LEN / 2) + 1;
	uint64_t off = draw(m, LEN - len);

	assert_content(m->f, m->ino, BEGIN + off, m->now + off, len);
}

static err_t
add_mapped(void *ctx, struct inode *i, struct chunk *c)
{
	uint64_t *mapped = ctx;

	(void)i;
	for (uint32_t k = 0; k < c->current.count; k++)
		*mapped += c->current.v[k].len;
	return 0;
}

static err_t
count_pending(void *ctx, struct inode *i, struct chunk *c)
{
	size_t *count = ctx;

	(void)i;
	*count += c->pending;
	return 0;
}

/* [meta lock] What the chain says of it: in `chain` while it is pending. */
static void
check_chain(struct model *m, struct inode *i, uint64_t no)
{
	struct extent_list *known = &m->chain[no - BEGIN / MIB];
	struct chunk *c;
	err_t e = meta_chunk_get(m->f->meta, i, no, false, &c);

	if (e == -ENOENT)
		assert_int_equal(known->count, 0);
	else
		assert_true(e == 0 && extent_list_equal(c->pending ? &c->chain : &c->current, known));
}

static void
push(struct model *m)
{
	make_known(m->f, m->ino);
	for (uint64_t k = 0; k < ARRAY_LEN(m->chain); k++) {
		extent_list_clear(&m->chain[k]);
		m->chain[k] = extents_of(m->f, m->ino, BEGIN / MIB + k);
	}
}

/* What the inode says is mapped is what its chunks say, and the pending ones are found. */
static void
check_books(struct model *m)
{
	uint64_t *nos, mapped = 0;
	size_t count, expected = 0;
	struct inode *i;

	meta_lock(m->f->meta);
	assert_int_equal(meta_inode_get(m->f->meta, m->ino, &i), 0);
	assert_int_equal(meta_pending_chunks(m->f->meta, i, &nos, &count), 0);
	assert_int_equal(meta_chunk_scan(m->f->meta, i, 0, count_pending, &expected), 0);
	assert_int_equal(meta_chunk_scan(m->f->meta, i, 0, add_mapped, &mapped), 0);
	assert_int_equal(count, expected);
	for (size_t k = 0; k < count; k++) {
		struct chunk *c;

		assert_int_equal(meta_chunk_get(m->f->meta, i, nos[k], false, &c), 0);
		assert_true(c->pending && (k == 0 || nos[k] > nos[k - 1]));
	}
	assert_int_equal(mapped, i->mapped);
	for (uint64_t k = 0; k < ARRAY_LEN(m->chain); k++)
		check_chain(m, i, BEGIN / MIB + k);
	meta_unlock(m->f->meta);
	free(nos);
}

static void
commit(struct model *m, err_t (*fn)(struct meta *))
{
	assert_int_equal(fn(m->f->meta), 0);
	memcpy(m->durable, m->now, LEN);
}

/* The disk fails after so many more operations. */
static err_t
strike(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	unsigned *left = ctx;

	(void)operation, (void)fd, (void)name, (void)data, (void)off, (void)len;
	return *left == 0 ? -EIO : (err_t)(--*left, 0);
}

static void
fail_a_commit(struct model *m)
{
	unsigned left = (unsigned)draw(m, 3);
	err_t (*fn)(struct meta *) = draw(m, 2) ? meta_flush : meta_sync;

	disk_watch(strike, &left);
	if (fn(m->f->meta) == 0)
		memcpy(m->durable, m->now, LEN);
	disk_watch(NULL, NULL);
}

static void
lose_power(struct model *m)
{
	commit(m, meta_sync); /* a failed one may be on the disk or not: from here on it is known */
	for (uint64_t k = draw(m, 5); k > 0; k--)
		write_some(m);
	fixture_reopen(m->f, false);
	memcpy(m->now, m->durable, LEN);
}

static void
model_step(struct model *m, bool known)
{
	uint64_t what = draw(m, 1000);

	if (what < 600)
		write_some(m);
	else if (what < 800)
		read_some(m);
	else if (what < 820)
		punch_some(m);
	else if (what < 880)
		commit(m, meta_flush);
	else if (what < 920)
		commit(m, meta_sync);
	else if (what < 940)
		fail_a_commit(m);
	else if (what < 960)
		lose_power(m);
	else if (what < 975)
		check_books(m);
	else if (what < 979)
		assert_int_equal(settle_one(m->f, m->ino), 0);
	else if (known && what < 982 && settle_one(m->f, m->ino) == 0)
		push(m);
	else if (what < 990)
		fixture_reopen(m->f, true);
	if (what >= 982 && what < 990)
		memcpy(m->durable, m->now, LEN);
}

static err_t
count_row(void *ctx, uint64_t a, uint64_t b, uint32_t mark, uint32_t state, const uint8_t *data, size_t len)
{
	size_t *count = ctx;

	(void)a, (void)b, (void)mark, (void)state, (void)data, (void)len;
	++*count;
	return 0;
}

static size_t
part_rows(struct fixture *f)
{
	size_t count = 0;

	meta_lock(f->meta);
	assert_int_equal(db_scan_all(f->db, DB_CHUNK_PART, 0, 0, UINT32_MAX, count_row, &count), 0);
	meta_unlock(f->meta);
	return count;
}

static void
run(struct fixture *f, uint64_t seed, bool known)
{
	struct model m = {.f = f, .ino = new_file(f), .now = calloc(1, LEN), .durable = calloc(1, LEN), .seed = seed};
	size_t most = 0;

	assert_true(m.now && m.durable);
	assert_int_equal(content_truncate(f->c, m.ino, BEGIN + LEN), 0);
	commit(&m, meta_sync);
	for (unsigned step = 0; step < STEPS; step++) {
		model_step(&m, known);
		if (step % 100 == 0 && part_rows(f) > most)
			most = part_rows(f);
	}
	assert_true(most > 32); /* both chunks were in parts */
	check_books(&m);
	assert_content(f, m.ino, BEGIN, m.now, LEN);
	fixture_reopen(f, true);
	check_books(&m);
	assert_content(f, m.ino, BEGIN, m.now, LEN);
	for (uint64_t k = 0; k < ARRAY_LEN(m.chain); k++)
		extent_list_clear(&m.chain[k]);
	free(m.now);
	free(m.durable);
}

static void
a_file_in_many_pieces_is_what_was_written_across_commits_failures_and_power_cuts(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++)
		run(*state, seed, false);
}

static void
the_same_holds_while_the_chain_comes_to_know_it(void **state)
{
	for (uint64_t seed = 10; seed <= 12; seed++)
		run(*state, seed, true);
}

static uint64_t
make_scattered(struct fixture *f)
{
	uint64_t ino = new_file(f);

	for (uint64_t k = 0; k < 256; k++)
		write_file(f, ino, BEGIN + k * 97 % 256 * 4096, "a piece", 7);
	return ino;
}

static uint64_t
rows_written(struct fixture *f)
{
	struct db_stats s;

	db_stats(f->db, &s);
	return s.rows_written;
}

static void
a_block_of_a_file_in_many_pieces_costs_a_few_rows(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_scattered(f), before;
	struct db_stats s, t;

	fixture_reopen(f, true);
	assert_int_equal(part_rows(f), 32);
	db_stats(f->db, &s);
	before = rows_written(f);
	write_file(f, ino, BEGIN + 500000, "another", 7);
	db_stats(f->db, &t);
	assert_true(t.reads - s.reads <= 3); /* the inode, the chunk's head and a part */
	assert_int_equal(meta_sync(f->meta), 0);
	assert_true(rows_written(f) - before <= 4);
	assert_content(f, ino, BEGIN + 500000, "another", 7);
}

static void
a_file_that_is_in_few_pieces_again_leaves_no_parts_behind(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_scattered(f);
	uint8_t *whole = malloc(MIB);

	assert_non_null(whole);
	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(part_rows(f), 32);
	fill(whole, MIB, 3);
	write_file(f, ino, BEGIN, whole, MIB);
	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(part_rows(f), 0);
	fixture_reopen(f, false);
	assert_content(f, ino, BEGIN, whole, MIB);
	free(whole);
}

static void
a_removed_file_leaves_no_parts_behind(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_scattered(f);
	struct inode *i;

	fixture_reopen(f, true);
	assert_int_equal(part_rows(f), 32);
	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, ino, &i), 0);
	assert_int_equal(meta_inode_remove(f->meta, i), 0);
	meta_unlock(f->meta);
	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(part_rows(f), 0);
}

static void
a_part_that_is_missing_is_damage_and_not_a_hole(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_scattered(f);
	struct db_row gone = {.table = DB_CHUNK_PART, .a = ino, .b = 32 + 5};
	uint8_t buf[7];
	size_t n = 0;

	assert_int_equal(meta_sync(f->meta), 0);
	assert_int_equal(db_write(f->db, &gone, 1), 0);
	fixture_reopen(f, false);
	assert_content(f, ino, BEGIN + 4 * 32768, "a piece", 7);
	assert_int_equal(content_read(f->c, ino, BEGIN + 5 * 32768, sizeof(buf), buf, &n), -EBADMSG);
	assert_int_equal(content_write(f->c, ino, BEGIN + 5 * 32768, buf, sizeof(buf)), -EBADMSG);
	assert_content(f, ino, BEGIN + 6 * 32768, "a piece", 7);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_in_many_pieces_is_what_was_written_across_commits_failures_and_power_cuts),
		TEST(the_same_holds_while_the_chain_comes_to_know_it),
		TEST(a_block_of_a_file_in_many_pieces_costs_a_few_rows),
		TEST(a_file_that_is_in_few_pieces_again_leaves_no_parts_behind),
		TEST(a_removed_file_leaves_no_parts_behind),
		TEST(a_part_that_is_missing_is_damage_and_not_a_hole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
