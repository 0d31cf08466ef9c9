/* Our own commits, commits that make no sense, what is told of a merge, and the names of copies. */
#include "merge_pair.h"

#include <dirent.h>
#include <errno.h>

/* What the kernel knows, and what is told to it */

static void
an_open_file_that_they_deleted_stays_an_orphan_until_forgotten(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);

	do_write(f->ada, ino, 0, 0, 100);
	share(f);
	assert_int_equal(lookups_add(f->bob->lookups, ino), 0);
	unlink_path(f->ada, 1, "a");
	push(f->ada);
	pull(f->bob);
	assert_non_null(inode_of(f->bob, ino));
	assert_int_equal(inode_of(f->bob, ino)->nlink, 0);
	assert_true(inode_of(f->bob, ino)->pending & PENDING_NEW);
	do_forget(f->bob);
	assert_null(inode_of(f->bob, ino));
	settle_world(&f->w);
}

static void
changed_names_and_inodes_are_told(void **state)
{
	struct fixture *f = *state;
	struct merge_result r = {0};
	struct changes *c;
	uint64_t ino = mk(f->ada, "a", REG);
	bool name_told = false, inode_told = false;

	share(f);
	do_chmod(f->ada, ino, 0600);
	assert_int_equal(do_rename(f->ada, 1, "a", 1, "b"), 0);
	c = collect(f->ada);
	add_commit(&f->w, f->ada, c);
	assert_int_equal(apply_foreign(f->bob, c, &r), 0);
	f->bob->applied++;
	for (size_t k = 0; k < r.entry_count; k++)
		name_told = name_told || (r.entries[k].parent == 1 && strcmp(r.entries[k].name, "a") == 0);
	for (size_t k = 0; k < r.ino_count; k++)
		inode_told = inode_told || r.inos[k] == ino;
	assert_true(name_told && inode_told);
	merge_result_clear(&r);
	changes_free(c);
}

struct released {
	uint64_t seg;
	uint64_t off;
};

static void
on_release(void *ctx, uint64_t seg, uint64_t off, uint32_t len)
{
	struct released *r = ctx;

	(void)len;
	r->seg = seg;
	r->off = off;
}

/* Bob's unsettled bytes of a file that he deleted. */
static void
hot_bytes_that_nobody_maps_any_more_are_released(void **state)
{
	struct fixture *f = *state;
	struct released released = {0};
	struct meta_hooks hooks = {.ctx = &released, .on_release = on_release};
	struct chunk *c = NULL;
	struct inode *i;
	struct segment s = {.kind = SEGMENT_HOT, .local = true};
	uint64_t ino = mk(f->ada, "a", REG);

	share(f);
	do_write(f->ada, ino, 0, 0, 100);
	do_write(f->bob, ino, 0, 0, 100);
	i = inode_of(f->bob, ino);
	meta_lock(f->bob->meta);
	s.id = meta_segment_new_id(f->bob->meta);
	assert_int_equal(meta_segment_put(f->bob->meta, &s), 0);
	assert_int_equal(meta_chunk_get(f->bob->meta, i, 0, false, &c), 0);
	c->current.v[0].seg = s.id;
	c->current.v[0].seg_off = 4096;
	meta_unlock(f->bob->meta);
	unlink_path(f->bob, 1, "a");
	meta_set_hooks(f->bob->meta, &hooks);
	push(f->ada);
	pull(f->bob);
	assert_int_equal(meta_sync(f->bob->meta), 0);
	assert_int_equal(released.seg, s.id);
	assert_int_equal(released.off, 4096);
	assert_int_equal(at(f->bob, "a"), ino);
	settle_world(&f->w);
}

/* Our own commits */

static void
our_own_commit_leaves_nothing_pending_and_can_be_repeated(void **state)
{
	struct fixture *f = *state;
	struct merge_context mc = {.meta = f->ada->meta, .lookups = f->ada->lookups, .my_name = "ada"};
	struct meta_pending_summary summary;
	struct changes *c;
	char *before, *after;
	uint64_t ino = mk(f->ada, "a", REG);

	do_write(f->ada, ino, 0, 0, 100);
	do_setxattr(f->ada, ino, "user.x", "1");
	mk(f->ada, "gone", REG);
	push(f->ada);
	unlink_path(f->ada, 1, "gone");
	assert_int_equal(do_rename(f->ada, 1, "a", 1, "b"), 0);
	do_write(f->ada, ino, 0, 20, 30);
	push(f->ada);
	meta_pending_summary(f->ada->meta, &summary);
	assert_int_equal(summary.inode_count, 0);
	assert_int_equal(summary.dentry_count, 0);
	before = dump_replica(f->ada);
	assert_int_equal(changes_decode(f->w.chain[1].body.data, f->w.chain[1].body.len, &c), 0);
	assert_int_equal(merge_apply_own(&mc, c, NULL, NULL), 0);
	assert_int_equal(merge_apply_own(&mc, c, NULL, NULL), 0);
	changes_free(c);
	after = dump_replica(f->ada);
	assert_string_equal(before, after);
	meta_pending_summary(f->ada->meta, &summary);
	assert_int_equal(summary.inode_count, 0);
	assert_int_equal(summary.dentry_count, 0);
	free(before);
	free(after);
	settle_world(&f->w);
}

static void
change_everything(void *ctx, struct replica *r)
{
	uint64_t ino = *(uint64_t *)ctx;

	do_chmod(r, ino, 0600);
	do_write(r, ino, 0, 10, 10);
	do_setxattr(r, ino, "user.x", NULL);
	assert_int_equal(do_rename(r, 1, "a", 1, "b"), 0);
}

static void
what_changes_while_our_commit_is_on_its_way_stays_pending(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->ada, "a", REG);
	struct inode *i;

	do_write(f->ada, ino, 0, 0, 100);
	do_setxattr(f->ada, ino, "user.x", "1");
	push_with(f->ada, change_everything, &ino);
	i = inode_of(f->ada, ino);
	assert_true(i->pending & PENDING_MODE && i->pending & PENDING_CONTENT && i->pending & PENDING_XATTR);
	assert_false(i->pending & PENDING_NEW);
	assert_int_equal(i->chain_size, 100);
	settle_world(&f->w);
	assert_int_equal(at(f->bob, "b"), ino);
	assert_int_equal(inode_of(f->bob, ino)->mode, S_IFREG | 0600);
	assert_false(inode_of(f->bob, ino)->has_xattrs);
}

static void
remove_it(void *ctx, struct replica *r)
{
	(void)ctx;
	unlink_path(r, 1, "a");
}

static void
a_file_removed_while_its_commit_is_on_its_way_can_still_be_brought_back(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = mk(f->bob, "a", REG);
	uint64_t token;

	do_write(f->bob, ino, 0, 0, 100);
	push_with(f->bob, remove_it, NULL);
	pull(f->ada);
	token = do_write(f->ada, ino, 1, 0, 100);
	meet(f);
	assert_int_equal(at(f->bob, "a"), ino);
	assert_true(has_token(f->bob, ino, token));
}

/* Commits that make no sense */

static struct changes *
fresh_changes(void)
{
	struct changes *c = NULL;

	assert_int_equal(changes_new(&c), 0);
	return c;
}

static void
add_dentry(struct changes *c, uint64_t parent, const char *name, uint64_t ino, uint8_t type)
{
	struct change_dentry *d = changes_add_dentry(c);

	d->parent = parent;
	d->ino = ino;
	d->type = type;
	strcpy(d->name, name);
}

static void
add_inode(struct changes *c, uint64_t ino, uint32_t mode, uint32_t fields)
{
	struct change_inode *i = changes_add_inode(c);

	i->ino = ino;
	i->mode = mode;
	i->fields = fields;
	i->origin = ino;
}

/* Through the codec, as it would come; nothing may change. */
static void
assert_refused(struct fixture *f, struct changes *c)
{
	CLEANUP(bytes_clear) struct bytes body = {0};
	struct merge_result r = {0};
	struct changes *decoded = NULL;
	char *before = dump_replica(f->bob);
	char *after;

	assert_int_equal(changes_encode(c, &body), 0);
	changes_free(c);
	assert_int_equal(changes_decode(body.data, body.len, &decoded), 0);
	assert_int_equal(apply_foreign(f->bob, decoded, &r), -EBADMSG);
	changes_free(decoded);
	after = dump_replica(f->bob);
	assert_string_equal(before, after);
	assert_int_equal(meta_health(f->bob->meta), 0);
	check_replica(f->bob);
	free(before);
	free(after);
}

static void
commits_that_contradict_the_chain_are_refused_and_change_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = mk(f->ada, "d", DIR_MODE);
	uint64_t sub = mk(f->ada, "d/sub", DIR_MODE);
	uint64_t file = mk(f->ada, "d/f", REG);
	uint64_t token = do_write(f->ada, file, 0, 0, 100);
	uint64_t local = mk(f->bob, "local", DIR_MODE);
	struct change_segment seg = {.size = 5};
	struct changes *c;
	uint32_t index;

	share(f);
	c = fresh_changes(); /* a name in a directory that is not there */
	add_dentry(c, 12345, "x", file, DT_REG);
	assert_refused(f, c);
	c = fresh_changes(); /* ... that only Bob has */
	add_dentry(c, local, "x", file, DT_REG);
	assert_refused(f, c);
	c = fresh_changes(); /* ... in a file */
	add_dentry(c, file, "x", file, DT_REG);
	assert_refused(f, c);
	c = fresh_changes(); /* a name of nothing */
	add_dentry(c, 1, "x", 12345, DT_REG);
	assert_refused(f, c);
	c = fresh_changes(); /* of another type */
	add_dentry(c, 1, "x", file, DT_LNK);
	assert_refused(f, c);
	c = fresh_changes(); /* a second name of a directory */
	add_dentry(c, 1, "x", dir, DT_DIR);
	assert_refused(f, c);
	c = fresh_changes(); /* of the root */
	add_dentry(c, dir, "x", INODE_ROOT, DT_DIR);
	assert_refused(f, c);
	c = fresh_changes(); /* a directory within itself */
	add_dentry(c, 1, "d", 0, 0);
	add_dentry(c, sub, "d", dir, DT_DIR);
	assert_refused(f, c);
	c = fresh_changes(); /* two new directories that hold each other */
	add_inode(c, 777, DIR_MODE, CHANGE_NEW);
	add_inode(c, 778, DIR_MODE, CHANGE_NEW);
	add_dentry(c, 777, "x", 778, DT_DIR);
	add_dentry(c, 778, "x", 777, DT_DIR);
	assert_refused(f, c);
	c = fresh_changes(); /* a directory that goes and leaves a file */
	add_dentry(c, 1, "d", 0, 0);
	assert_refused(f, c);
	c = fresh_changes(); /* a name in a directory that goes */
	add_dentry(c, dir, "sub", 0, 0);
	add_dentry(c, sub, "x", file, DT_REG);
	assert_refused(f, c);
	c = fresh_changes(); /* attributes of nothing */
	add_inode(c, 12345, REG, CHANGE_MODE);
	assert_refused(f, c);
	c = fresh_changes(); /* a file that becomes a directory */
	add_inode(c, file, DIR_MODE, CHANGE_MODE);
	assert_refused(f, c);
	c = fresh_changes(); /* introduced twice */
	add_inode(c, file, REG, CHANGE_NEW);
	assert_refused(f, c);
	c = fresh_changes(); /* another segment of the same name */
	memcpy(seg.name, &token, sizeof(token));
	assert_int_equal(changes_segment_index(c, &seg, &index), 0);
	assert_refused(f, c);
	settle_world(&f->w);
}

static void
an_inode_that_comes_without_a_name_is_not_kept(void **state)
{
	struct fixture *f = *state;
	struct merge_result r = {0};
	struct changes *c = fresh_changes();

	add_inode(c, 777, REG, CHANGE_NEW);
	assert_int_equal(apply_foreign(f->bob, c, &r), 0);
	changes_free(c);
	merge_result_clear(&r);
	assert_null(inode_of(f->bob, 777));
}

static err_t
refuse(void *ctx)
{
	(void)ctx;
	return -EIO;
}

static void
a_failure_half_way_poisons_the_metadata(void **state)
{
	struct fixture *f = *state;
	struct merge_context mc = {.meta = f->bob->meta, .my_name = "bob"};
	struct merge_result r = {0};
	struct changes *c = fresh_changes();

	add_inode(c, 777, REG, CHANGE_NEW);
	add_dentry(c, 1, "x", 777, DT_REG);
	assert_int_equal(merge_apply_foreign(&mc, c, refuse, NULL, &r), -EIO);
	changes_free(c);
	assert_int_equal(meta_health(f->bob->meta), -EIO);
	assert_int_equal(meta_sync(f->bob->meta), -EIO);
}

/* Names of copies */

static void
conflict_names_keep_the_extension(void **state)
{
	char out[NAME_LEN_MAX + 1];

	(void)state;
	merge_conflict_name("report.txt", "laptop", 1795219200, 1, out);
	assert_string_equal(out, "report (conflict from laptop, 2026-11-21).txt");
	merge_conflict_name("report.txt", "laptop", 1795219200, 3, out);
	assert_string_equal(out, "report (conflict from laptop, 2026-11-21) 3.txt");
	merge_conflict_name(".profile", "a/b", 1795219200, 1, out);
	assert_string_equal(out, ".profile (conflict from a-b, 2026-11-21)");
	merge_conflict_name("v1. and more", "x", 1795219200, 1, out);
	assert_string_equal(out, "v1. and more (conflict from x, 2026-11-21)");
}

static void
conflict_names_fit_and_do_not_cut_a_character(void **state)
{
	char name[NAME_LEN_MAX + 1] = "";
	char out[NAME_LEN_MAX + 1];
	char device[65];

	(void)state;
	memset(device, 'x', 64);
	device[64] = '\0';
	for (size_t pad = 0; pad < 3; pad++) {
		size_t len = 0;

		for (; len < pad; len++)
			name[len] = 'a';
		for (; len + 3 <= 251; len += 3)
			memcpy(name + len, "\xe2\x82\xac", 3);
		strcpy(name + len, ".txt");
		merge_conflict_name(name, device, 1795219200, 4294967295u, out);
		assert_true(strlen(out) <= NAME_LEN_MAX && strlen(out) > NAME_LEN_MAX - 3);
		assert_string_equal(out + strlen(out) - 4, ".txt");
		assert_int_equal((strchr(out, ' ') - out - (long)pad) % 3, 0);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_open_file_that_they_deleted_stays_an_orphan_until_forgotten),
		T(changed_names_and_inodes_are_told),
		T(hot_bytes_that_nobody_maps_any_more_are_released),
		T(our_own_commit_leaves_nothing_pending_and_can_be_repeated),
		T(what_changes_while_our_commit_is_on_its_way_stays_pending),
		T(a_file_removed_while_its_commit_is_on_its_way_can_still_be_brought_back),
		T(commits_that_contradict_the_chain_are_refused_and_change_nothing),
		T(an_inode_that_comes_without_a_name_is_not_kept),
		T(a_failure_half_way_poisons_the_metadata),
		T(conflict_names_keep_the_extension),
		T(conflict_names_fit_and_do_not_cut_a_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
