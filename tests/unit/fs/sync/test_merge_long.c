/* Long files that another device cuts or removes: what nobody has any more goes in steps, whatever comes in between. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "content_internal.h"
#include "members.h"
#include "random.h"
#include "sides.h"

#define CHUNKS 20
#define STEP 4
#define PIECE_LEN 65536

/* What is asked for by a call of the vfs begins with a wait for room, which is none of its steps. */
#define FIRST 1

/* Steps since it was set to 0, and the one to be the last: from then on no list of chunks can be made. */
static unsigned steps, last_step;
static bool interrupted;
/* Who syncs between the second step and the third. */
static struct side *syncing;
static bool is_syncing;

void __real_meta_throttle(struct meta *m);
void __wrap_meta_throttle(struct meta *m);

/* What was changed by a step is durable after it. */
void
__wrap_meta_throttle(struct meta *m)
{
	assert_int_equal(meta_sync(m), 0);
	interrupted = ++steps == last_step || interrupted;
	if (syncing && steps == FIRST + 2) {
		struct content *c = syncing->v->content;
		struct side *s = syncing;
		uint64_t ino = c->cut[0];

		/* As one that has looked for open truncations before; in place of waiting for the file it fails. */
		syncing = NULL;
		content_unlock_file(c, ino);
		is_syncing = true;
		sync_ok(s);
		is_syncing = false;
		content_lock_file(c, ino, true);
	}
	__real_meta_throttle(m);
}

err_t __real_meta_chunk_numbers(struct meta *m, struct inode *i, uint64_t from, size_t most, uint64_t **nos_out,
    size_t *count_out);
err_t __wrap_meta_chunk_numbers(struct meta *m, struct inode *i, uint64_t from, size_t most, uint64_t **nos_out,
    size_t *count_out);

err_t
__wrap_meta_chunk_numbers(struct meta *m, struct inode *i, uint64_t from, size_t most, uint64_t **nos_out, size_t *count_out)
{
	return interrupted || (is_syncing && most == STEP) ? -EIO : __real_meta_chunk_numbers(m, i, from, most, nos_out, count_out);
}

/* Chunks that were put into a commit or a base. */
static unsigned described;

err_t __real_describe_chunk(struct meta *m, struct changes *c, struct change_inode *ci, const struct chunk *ch);
err_t __wrap_describe_chunk(struct meta *m, struct changes *c, struct change_inode *ci, const struct chunk *ch);

err_t
__wrap_describe_chunk(struct meta *m, struct changes *c, struct change_inode *ci, const struct chunk *ch)
{
	described++;
	return __real_describe_chunk(m, c, ci, ch);
}

static uint64_t
make_long(struct side *s, const char *name)
{
	uint8_t piece[PIECE_LEN];
	uint64_t ino = make_file(s, INODE_ROOT, name, "", 0);

	assert_int_equal(random_bytes(piece, sizeof(piece)), 0);
	for (uint64_t no = 0; no < CHUNKS; no++)
		write_at(s, ino, no * CHUNK_LEN + 5, piece, sizeof(piece));
	return ino;
}

static void
cut(struct side *s, uint64_t ino, uint64_t size)
{
	struct stat st = {.st_size = (off_t)size};

	assert_int_equal(vfs_setattr(s->fs, ino, &st, VFS_SET_SIZE, &st), 0);
}

static size_t
chunks_in(struct side *s, uint64_t ino)
{
	uint64_t *nos = NULL;
	size_t count = 0;
	struct inode *i;

	meta_lock(s->v->meta);
	if (meta_inode_get(s->v->meta, ino, &i) == 0)
		assert_int_equal(__real_meta_chunk_numbers(s->v->meta, i, 0, SIZE_MAX, &nos, &count), 0);
	meta_unlock(s->v->meta);
	free(nos);
	return count;
}

static bool
is_there(struct side *s, uint64_t ino)
{
	struct inode *i;

	meta_lock(s->v->meta);
	err_t e = meta_inode_get(s->v->meta, ino, &i);
	meta_unlock(s->v->meta);
	return e == 0;
}

/* Both have a long file; what either does in steps is done in short ones. */
static uint64_t
share_long(struct fixture *f)
{
	uint64_t ino = make_long(&f->a, "long");

	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->b);
	assert_int_equal(chunks_in(&f->b, ino), CHUNKS);
	f->a.v->content->step = f->b.v->content->step = STEP;
	steps = last_step = 0;
	interrupted = false;
	return ino;
}

static void
what_another_device_cuts_off_a_long_file_goes_in_steps(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = share_long(f);

	cut(&f->a, ino, 7);
	steps = 0;
	sync_ok(&f->a);
	assert_in_range(steps, CHUNKS / STEP - 1, CHUNKS / STEP + 1); /* what the chain had */
	assert_int_equal(chunks_in(&f->a, ino), 1);
	steps = 0;
	sync_ok(&f->b);
	assert_in_range(steps, CHUNKS / STEP - 1, CHUNKS / STEP + 1);
	assert_int_equal(chunks_in(&f->b, ino), 1);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	assert_int_equal(f->a.v->content->cut_count + f->b.v->content->cut_count, 0);
}

static void
a_long_file_that_another_device_removes_goes_in_steps(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = share_long(f);

	remove_file(&f->a, "long");
	sync_ok(&f->a);
	assert_in_range(steps, CHUNKS / STEP, CHUNKS / STEP + 1);
	assert_false(is_there(&f->a, ino));
	steps = 0;
	sync_ok(&f->b);
	assert_in_range(steps, CHUNKS / STEP, CHUNKS / STEP + 1);
	assert_false(is_there(&f->b, ino));
	assert_int_equal(chunks_in(&f->b, ino), 0);
	assert_same_tree(&f->a, &f->b);
}

static void
a_removal_that_was_interrupted_goes_on_at_the_next_start(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = share_long(f);

	remove_file(&f->a, "long");
	sync_ok(&f->a);
	steps = 0;
	last_step = 2;
	(void)!sync_once(f->b.sync);
	interrupted = false;
	last_step = 0;
	assert_int_equal(lookup(&f->b, INODE_ROOT, "long"), 0);
	assert_true(is_there(&f->b, ino));
	reopen_side(&f->b, f->store);
	assert_int_equal(f->b.v->content->cut_count, 0);
	assert_int_equal(vfs_reap_orphans(f->b.fs), 0);
	assert_false(is_there(&f->b, ino));
	sync_ok(&f->b);
	assert_same_tree(&f->a, &f->b);
}

static void
what_they_cut_off_does_not_come_back_when_they_make_the_file_long_again(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = share_long(f);

	cut(&f->a, ino, 7);
	sync_ok(&f->a);
	steps = 0;
	last_step = 1;
	(void)!sync_once(f->b.sync);
	assert_true(chunks_in(&f->b, ino) > CHUNKS / 2);
	interrupted = false;
	last_step = 0;
	cut(&f->a, ino, CHUNKS * CHUNK_LEN);
	write_at(&f->a, ino, (CHUNKS - 1) * (uint64_t)CHUNK_LEN, "new", 3);
	sync_ok(&f->a);
	sync_ok(&f->b);
	assert_int_equal(chunks_in(&f->b, ino), 2);
	assert_same_tree(&f->a, &f->b);
}

static uint64_t
bytes_in_segments(const struct fixture *f)
{
	char command[256];
	unsigned long long bytes = 0;
	FILE *p;

	snprintf(command, sizeof(command), "find %s/s -type f -printf '%%s\\n' | awk '{s += $1} END {print s + 0}'", f->store);
	p = popen(command, "r");
	assert_non_null(p);
	assert_int_equal(fscanf(p, "%llu", &bytes), 1);
	pclose(p);
	return bytes;
}

static void
what_is_cut_off_does_not_come_back_if_the_commit_of_it_comes_between_two_steps(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = share_long(f);

	syncing = &f->a;
	steps = 0;
	cut(&f->a, ino, 7);
	assert_null(syncing);
	sync_ok(&f->b);
	cut(&f->b, ino, CHUNKS * CHUNK_LEN);
	sync_ok(&f->b);
	write_at(&f->a, ino, 0, "mine", 4);
	sync_ok(&f->a);
	sync_ok(&f->b);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	assert_int_equal(chunks_in(&f->a, ino), 1);
}

static void
what_is_left_of_a_truncation_is_not_pushed(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_long(&f->a, "long");

	f->a.v->content->step = STEP;
	steps = 0;
	last_step = FIRST + 1;
	cut(&f->a, ino, 7);
	assert_int_equal(f->a.v->content->cut_count, 1);
	interrupted = false;
	last_step = 0;
	sync_ok(&f->a);
	assert_in_range(bytes_in_segments(f), 1, PIECE_LEN);
}

static void
what_is_left_of_a_truncation_is_in_no_base(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_long(&f->a, "long");

	sync_ok(&f->a);
	f->a.v->content->step = STEP;
	steps = 0;
	last_step = FIRST + 1;
	cut(&f->a, ino, 7);
	interrupted = false;
	last_step = 0;
	is_syncing = true;
	sync_ok(&f->a);
	is_syncing = false;
	assert_true(chunks_in(&f->a, ino) > CHUNKS / 2);
	described = 0;
	assert_int_equal(members_write_base(f->a.sync), 0);
	assert_int_equal(described, 1);
	remove_commit(f, 0);
	join_side(f, &f->b);
	assert_int_equal(f->b.v->base_seq, head_of(&f->a));
	assert_int_equal(chunks_in(&f->b, ino), 1);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
}

static void
what_is_left_of_a_truncation_goes_in_steps_before_the_file_does(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_long(&f->a, "long");
	struct stat st;

	f->a.v->content->step = STEP;
	assert_int_equal(vfs_lookup(f->a.fs, INODE_ROOT, "long", &st), 0); /* open */
	steps = 0;
	last_step = FIRST + 1;
	cut(&f->a, ino, 7);
	interrupted = false;
	last_step = 0;
	remove_file(&f->a, "long");
	assert_int_equal(f->a.v->content->cut_count, 1);
	steps = 0;
	vfs_forget(f->a.fs, ino, 1);
	assert_in_range(steps, CHUNKS / STEP - 3, CHUNKS / STEP + 1);
	assert_int_equal(f->a.v->content->cut_count, 0);
	assert_false(is_there(&f->a, ino));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_another_device_cuts_off_a_long_file_goes_in_steps),
		TEST(a_long_file_that_another_device_removes_goes_in_steps),
		TEST(a_removal_that_was_interrupted_goes_on_at_the_next_start),
		TEST(what_they_cut_off_does_not_come_back_when_they_make_the_file_long_again),
		TEST(what_is_cut_off_does_not_come_back_if_the_commit_of_it_comes_between_two_steps),
		TEST(what_is_left_of_a_truncation_is_not_pushed),
		TEST(what_is_left_of_a_truncation_is_in_no_base),
		TEST(what_is_left_of_a_truncation_goes_in_steps_before_the_file_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
