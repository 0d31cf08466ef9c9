/* Commits of a collector, merged: moves that are no edits, drops that take nothing from anybody. */
#include "collector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "extents.h"

#define FILE_MODE (S_IFREG | 0644)

static struct world w;

static int
two(void **state)
{
	(void)state;
	world_open(&w, 2);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	world_close(&w);
	return 0;
}

/* A file on both, with two writes in it. */
static uint64_t
shared_file(uint64_t *first, uint64_t *second)
{
	uint64_t ino = mk(&w.r[0], "file", FILE_MODE);

	*first = do_write(&w.r[0], ino, 0, 0, 100);
	*second = do_write(&w.r[0], ino, 0, 200, 100);
	push(&w.r[0]);
	pull(&w.r[1]);
	return ino;
}

static struct chunk *
chunk_of(struct replica *r, uint64_t ino)
{
	struct inode *i = inode_of(r, ino);
	struct chunk *c = NULL;

	meta_lock(r->meta);
	OK(meta_chunk_get(r->meta, i, 0, false, &c));
	meta_unlock(r->meta);
	return c;
}

/* Both lists of the file's chunk are in the segment that a collector has made. */
static bool
is_moved(struct replica *r, const struct extent_list *l, uint32_t k)
{
	struct segment s;

	meta_lock(r->meta);
	OK(meta_segment_get(r->meta, l->v[k].seg, &s));
	meta_unlock(r->meta);
	return s.name[15] == 0xee;
}

static void
a_move_changes_nothing_that_anybody_sees(void **state)
{
	struct inode before, after;
	uint64_t first, second;
	uint64_t ino = shared_file(&first, &second);
	char *was = dump_replica(&w.r[1]), *is;

	(void)state;
	merge_result_clear(&w.r[1].last);
	before = *inode_of(&w.r[1], ino);
	assert_true(collector_move(&w.r[0], ino));
	pull(&w.r[1]);
	after = *inode_of(&w.r[1], ino);
	for (size_t n = 0; n < 2; n++) {
		assert_int_equal(inode_of(&w.r[n], ino)->pending, 0);
		assert_false(chunk_of(&w.r[n], ino)->pending);
		assert_true(is_moved(&w.r[n], &chunk_of(&w.r[n], ino)->current, 0));
	}
	assert_memory_equal(&before.mtime, &after.mtime, sizeof(before.mtime));
	assert_memory_equal(&before.ctime, &after.ctime, sizeof(before.ctime));
	assert_int_equal(before.size, after.size);
	assert_int_equal(w.r[1].last.ino_count, 0);
	assert_int_equal(w.r[1].last.conflict_count, 0);
	is = dump_replica(&w.r[1]);
	free(was);
	free(is);
	settle_world(&w);
	collector_check(&w);
}

static void
a_move_of_a_file_that_is_edited_here_is_no_conflict_and_the_edit_follows(void **state)
{
	uint64_t first, second;
	uint64_t ino = shared_file(&first, &second);
	uint64_t edit = do_write(&w.r[1], ino, 0, 50, 100); /* over the end of the first */
	struct timespec mtime = inode_of(&w.r[1], ino)->mtime;
	const struct chunk *c;

	(void)state;
	assert_true(collector_move(&w.r[0], ino));
	pull(&w.r[1]);
	c = chunk_of(&w.r[1], ino);
	assert_true(c->pending);
	assert_int_equal(c->current.count, 3);
	assert_true(is_moved(&w.r[1], &c->current, 0));
	assert_false(is_moved(&w.r[1], &c->current, 1));
	assert_true(is_moved(&w.r[1], &c->current, 2));
	assert_true(is_moved(&w.r[1], &c->chain, 0));
	assert_memory_equal(&mtime, &inode_of(&w.r[1], ino)->mtime, sizeof(mtime));
	settle_world(&w);
	assert_int_equal(w.conflict_count, 0);
	assert_true(has_token(&w.r[0], ino, edit));
	assert_true(has_token(&w.r[0], ino, first));
	/* What the move has emptied can go, and only that. */
	assert_true(collector_drop(&w.r[0]));
	settle_world(&w);
	collector_check(&w);
}

static bool
is_resealed(const struct extent_list *l, uint32_t k)
{
	return l->v[k].x_id[9] & 0x80;
}

static void
what_is_sealed_anew_changes_nothing_that_anybody_sees(void **state)
{
	struct inode before, after;
	uint64_t first, second;
	uint64_t ino = shared_file(&first, &second);

	(void)state;
	merge_result_clear(&w.r[1].last);
	before = *inode_of(&w.r[1], ino);
	assert_true(collector_reseal(&w.r[0], ino, false));
	pull(&w.r[1]);
	after = *inode_of(&w.r[1], ino);
	for (size_t n = 0; n < 2; n++) {
		assert_int_equal(inode_of(&w.r[n], ino)->pending, 0);
		assert_false(chunk_of(&w.r[n], ino)->pending);
		assert_true(is_resealed(&chunk_of(&w.r[n], ino)->current, 0));
		assert_true(is_resealed(&chunk_of(&w.r[n], ino)->current, 1));
		check_replica(&w.r[n]);
	}
	assert_memory_equal(&before.mtime, &after.mtime, sizeof(before.mtime));
	assert_memory_equal(&before.ctime, &after.ctime, sizeof(before.ctime));
	assert_int_equal(before.size, after.size);
	assert_int_equal(w.r[1].last.ino_count, 0);
	assert_int_equal(w.r[1].last.conflict_count, 0);
	settle_world(&w);
}

/* A key that the device has given the file for an edit, with the number that another one's has in the chain now. */
static void
an_edit_of_what_is_sealed_anew_elsewhere_is_no_conflict_and_keeps_its_key(void **state)
{
	struct replica *b = &w.r[1];
	uint64_t first, second, edit;
	uint64_t ino = shared_file(&first, &second);
	uint32_t keys = inode_of(&w.r[0], ino)->key_count;
	const struct chunk *c;

	(void)state;
	/* Until a write comes with a key of its own. */
	do
		edit = do_write(b, ino, 0, 50, 100);
	while (inode_of(b, ino)->key_count == keys);
	replica_restart(b);
	assert_true(collector_reseal(&w.r[0], ino, false));
	assert_int_equal(inode_of(&w.r[0], ino)->keys[keys].version, inode_of(b, ino)->keys[keys].version);
	pull(b);
	check_replica(b);
	c = chunk_of(b, ino);
	assert_true(c->pending);
	assert_int_equal(c->current.count, 3);
	assert_true(is_resealed(&c->current, 0));
	assert_false(is_resealed(&c->current, 1));
	assert_true(is_resealed(&c->current, 2));
	assert_int_equal(inode_of(b, ino)->key_count, keys + 2);
	settle_world(&w);
	assert_int_equal(w.conflict_count, 0);
	assert_true(has_token(&w.r[0], ino, edit));
	assert_true(has_token(&w.r[0], ino, first));
	assert_true(has_token(&w.r[0], ino, second));
}

static void
of_two_who_seal_a_file_anew_one_is_first_and_nothing_is_lost(void **state)
{
	uint64_t first, second;
	uint64_t ino = shared_file(&first, &second);

	(void)state;
	assert_true(collector_reseal(&w.r[0], ino, true));
	assert_true(collector_reseal(&w.r[1], ino, false));
	assert_true(collector_reseal(&w.r[0], ino, false));
	settle_world(&w);
	assert_int_equal(w.conflict_count, 0);
	assert_true(has_token(&w.r[0], ino, first));
	assert_true(has_token(&w.r[0], ino, second));
}

/* A commit that calls itself so, but has other ranges: whoever has edited the file must not lose that. */
static void
what_only_says_that_it_is_the_same_is_a_change_like_others(void **state)
{
	struct replica *a = &w.r[0], *b = &w.r[1];
	struct merge_result result = {0};
	uint64_t first, second, edit;
	uint64_t ino = shared_file(&first, &second);
	struct changes *c;

	(void)state;
	w.collect_conflicts = true;
	do_write(a, ino, 0, 250, 100);
	c = collect(a);
	c->inodes[0].fields = CHANGE_CONTENT | CHANGE_RESEALED;
	edit = do_write(b, ino, 0, 0, 10);
	OK(apply_foreign(b, c, &result));
	changes_free(c);
	assert_int_equal(result.conflict_count, 1);
	assert_false(has_token(b, ino, edit));
	merge_result_clear(&result);
}

/* Who was about to seal the file anew, and has moved it instead. */
static void
a_move_by_one_who_has_another_key_for_the_file_is_a_move_all_the_same(void **state)
{
	struct replica *a = &w.r[0], *b = &w.r[1];
	uint64_t first, second, edit;
	uint64_t ino = shared_file(&first, &second);
	struct inode *i = inode_of(a, ino);

	(void)state;
	meta_lock(a->meta);
	i->keys = realloc(i->keys, (i->key_count + 1) * sizeof(*i->keys));
	i->keys[i->key_count] = (struct file_key){i->keys[i->key_count - 1].version + 1, 2, {0x77, 0x77}};
	i->key_count++;
	meta_inode_dirty(a->meta, i);
	meta_unlock(a->meta);
	edit = do_write(b, ino, 0, 50, 100);
	assert_true(collector_move(a, ino));
	pull(b);
	assert_true(is_moved(b, &chunk_of(b, ino)->current, 0));
	settle_world(&w);
	assert_int_equal(w.conflict_count, 0);
	assert_true(has_token(a, ino, edit));
}

static void
a_move_of_a_file_that_was_deleted_here_does_not_bring_it_back(void **state)
{
	uint64_t first, second;
	uint64_t ino = shared_file(&first, &second);

	(void)state;
	OK(do_unlink(&w.r[1], INODE_ROOT, "file"));
	assert_true(collector_move(&w.r[0], ino));
	pull(&w.r[1]);
	assert_int_equal(at(&w.r[1], "file"), 0);
	settle_world(&w);
	assert_int_equal(at(&w.r[0], "file"), 0);
}

static void
what_a_pending_copy_needs_of_a_dropped_segment_gets_another_name(void **state)
{
	struct replica *a = &w.r[0], *b = &w.r[1];
	uint64_t first, second;
	uint64_t ino = shared_file(&first, &second);

	(void)state;
	w.collect_conflicts = true;
	do_write(b, ino, 0, 50, 10);
	do_truncate(a, ino, 0);
	do_write(a, ino, 0, 0, 300);
	push(a);
	assert_true(collector_drop(a)); /* both first writes: in the chain nothing points there */
	pull(b);                        /* B's file becomes a copy, with what it had of them */
	settle_world(&w);
	collector_check(&w);
	assert_int_equal(w.conflict_count > 0, 1);
}

static void
a_segment_that_a_commit_names_again_is_not_dead_any_more(void **state)
{
	struct replica *a = &w.r[0];
	uint64_t first, second;
	uint64_t ino = shared_file(&first, &second);
	uint64_t id = chunk_of(a, ino)->current.v[0].seg;
	struct segment s;

	(void)state;
	meta_lock(a->meta);
	OK(meta_segment_get(a->meta, id, &s));
	s.dead_since = 17;
	s.sparse_since = 18;
	OK(meta_segment_put(a->meta, &s));
	meta_unlock(a->meta);
	replica_restart(a);
	meta_lock(a->meta);
	OK(meta_segment_get(a->meta, s.id, &s));
	meta_unlock(a->meta);
	assert_int_equal(s.dead_since, 17);
	assert_int_equal(s.sparse_since, 18);
	do_write(&w.r[1], ino, 0, 50, 10); /* the chunk's commit names what is left of the first, too */
	push(&w.r[1]);
	pull(a);
	meta_lock(a->meta);
	OK(meta_segment_get(a->meta, s.id, &s));
	meta_unlock(a->meta);
	assert_int_equal(s.dead_since, 0);
}

static void
a_commit_that_drops_what_it_names_is_refused(void **state)
{
	struct merge_result result;
	uint64_t first, second;
	uint64_t ino = shared_file(&first, &second);
	struct changes *c;

	(void)state;
	do_write(&w.r[0], ino, 0, 0, 10);
	c = collect(&w.r[0]);
	OK(changes_add_drop(c, c->segments[0].name));
	assert_int_equal(apply_foreign(&w.r[1], c, &result), -EBADMSG);
	changes_free(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, two, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_move_changes_nothing_that_anybody_sees),
		TEST(a_move_of_a_file_that_is_edited_here_is_no_conflict_and_the_edit_follows),
		TEST(what_is_sealed_anew_changes_nothing_that_anybody_sees),
		TEST(an_edit_of_what_is_sealed_anew_elsewhere_is_no_conflict_and_keeps_its_key),
		TEST(of_two_who_seal_a_file_anew_one_is_first_and_nothing_is_lost),
		TEST(what_only_says_that_it_is_the_same_is_a_change_like_others),
		TEST(a_move_by_one_who_has_another_key_for_the_file_is_a_move_all_the_same),
		TEST(a_move_of_a_file_that_was_deleted_here_does_not_bring_it_back),
		TEST(what_a_pending_copy_needs_of_a_dropped_segment_gets_another_name),
		TEST(a_segment_that_a_commit_names_again_is_not_dead_any_more),
		TEST(a_commit_that_drops_what_it_names_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
