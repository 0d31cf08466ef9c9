/* Who is in: joining with the recovery key, from the first commit or from a base, and being removed. */
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

#include "engine.h"
#include "hash.h"
#include "random.h"
#include "sides.h"

/* Members. */

static void
two_computers_that_join_at_once_both_get_in(void **state)
{
	struct fixture *f = *state;
	struct side c = { .v = NULL };
	struct store *store;
	char *why = NULL;

	sync_ok(&f->a);
	store = open_store(f->store);
	/* Its first try to enter finds the number taken. */
	assert_int_equal(store_fault_set(store, &(struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_CREATE,
	    .prefix = "c/", .count = 1, .error = -EEXIST }, 1), 0);
	assert_int_equal(join_with(f, &f->b, store, f->recovery, &why), 0);
	store_free(store);
	open_side(&f->b, f->store);
	snprintf(c.dir, sizeof(c.dir), "%s/c", f->top);
	join_side(f, &c);
	make_text(&c, "from c", "c");
	make_text(&f->b, "from b", "b");
	sync_ok(&c);
	sync_ok(&f->b);
	sync_ok(&f->a);
	sync_ok(&c);
	assert_same_tree(&f->a, &f->b);
	assert_same_tree(&f->a, &c);
	close_side(&c);
}

static err_t
say_removal(struct members_saying *w, void *ctx)
{
	return members_say_remove(w, ctx);
}

static void
remove_member(struct side *s, uint8_t id[static IDENTITY_ID_LEN])
{
	assert_int_equal(members_commit(s->sync, say_removal, id, NULL, NULL), 0);
}

static void
a_removed_device_reads_and_writes_no_more_and_the_others_follow(void **state)
{
	struct fixture *f = *state;
	struct side c = { .v = NULL };
	char here[256];

	make_text(&f->a, "old", "from before");
	sync_ok(&f->a);
	join_side(f, &f->b); /* 1 */
	snprintf(c.dir, sizeof(c.dir), "%s/c", f->top);
	join_side(f, &c); /* 2 */
	sync_ok(&f->a);
	sync_ok(&f->b);
	shell("cp -a '%s' '%s.fork'", f->store, f->store);
	remove_member(&f->a, f->b.v->my_id); /* 3 */
	make_text(&f->a, "new", "for those who are left");
	sync_ok(&f->a); /* 4 */
	sync_fails(&f->b, -EKEYREVOKED);
	assert_text(&f->b, "old", "from before");
	sync_ok(&c);
	assert_text(&c, "new", "for those who are left");
	assert_int_equal(message_count(&c, "was removed"), 1);

	/* B goes on alone, under the key that it has; nobody takes that for the next commit. */
	snprintf(here, sizeof(here), "%s.fork", f->store);
	reopen_side(&f->b, here);
	for (unsigned i = 0; i < 3; i++) {
		char name[16];

		snprintf(name, sizeof(name), "forged %u", i);
		make_text(&f->b, name, "forged");
		sync_ok(&f->b); /* 3, 4, 5 */
	}
	commit_path(f, 5, here);
	shell("cp '%s.fork/c/000000000005' '%s'", f->store, here);
	assert_int_not_equal(sync_once(c.sync), 0);
	assert_int_equal(head_of(&c), 4);
	assert_int_equal(lookup(&c, INODE_ROOT, "forged 2"), 0);
	assert_int_equal(unlink(here), 0);

	/* Whoever joins now reads what is old and what is new. */
	close_side(&f->b);
	remove_tree(f->b.dir);
	join_side(f, &f->b);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	close_side(&c);
}

/* The author counts even if it has the key and the place is right. */
static void
a_commit_of_a_removed_device_in_the_right_place_is_refused(void **state)
{
	struct fixture *f = *state;
	struct changes *c = NULL;

	sync_ok(&f->a);
	join_side(f, &f->b); /* 1 */
	sync_ok(&f->a);
	remove_member(&f->a, f->b.v->my_id); /* 2 */
	/* As if B knew the head, and still had only the older key. */
	f->b.v->head_seq = 2;
	memcpy(f->b.v->head_hash, f->a.v->head_hash, 32);
	assert_int_equal(changes_new(&c), 0);
	assert_non_null(changes_add_dentry(c));
	c->dentries[0].parent = INODE_ROOT;
	c->dentries[0].ino = INODE_ROOT;
	c->dentries[0].type = DT_DIR;
	strcpy(c->dentries[0].name, "x");
	(void)!push_commit(f->b.sync, c); /* it cannot even apply it itself */
	assert_int_equal(count_objects(f, "c"), 4);
	sync_fails(&f->a, -EBADMSG);
	assert_int_equal(head_of(&f->a), 2);
	changes_free(c);
}

/* A base in this computer's name, sealed with the newest key that it has, that says that nothing is in the vault. */
static void
forge_base(struct fixture *f, struct side *s, uint64_t seq)
{
	static const uint8_t zeros[32];
	struct changes *part = NULL, *manifest = NULL;
	struct bytes object = { 0 };
	struct change_segment *as_part;
	struct change_inode *top;
	uint8_t hash[32];

	assert_int_equal(changes_new(&part), 0);
	top = changes_add_inode(part);
	*top = (struct change_inode){ .ino = INODE_ROOT, .fields = CHANGE_NEW | CHANGE_MODE | CHANGE_OWNER | CHANGE_MTIME,
		.mode = S_IFDIR | 0700 };
	assert_int_equal(push_seal(s->sync, ENVELOPE_PART, 0, zeros, part, &object), 0);
	assert_int_equal(changes_new(&manifest), 0);
	as_part = calloc(1, sizeof(*as_part));
	as_part->size = object.len;
	assert_int_equal(random_bytes(as_part->name, sizeof(as_part->name)), 0);
	assert_int_equal(hash_sha256(object.data, object.len, as_part->sha256), 0);
	assert_int_equal(chain_write_segment(s->sync->chain, as_part->name, as_part->sha256, object.data, object.len), 0);
	manifest->parts = as_part;
	manifest->part_count = 1;
	for (size_t i = 0; i < trust_statement_count(s->v->trust); i++) {
		const uint8_t *data;
		size_t len;

		trust_statement_at(s->v->trust, i, &data, &len);
		assert_int_equal(changes_add_statement(manifest, data, len), 0);
	}
	bytes_reset(&object);
	assert_int_equal(chain_read_commit(f->a.sync->chain, seq, &object), 0);
	assert_int_equal(hash_sha256(object.data, object.len, hash), 0);
	bytes_reset(&object);
	assert_int_equal(push_seal(s->sync, ENVELOPE_BASE, seq, hash, manifest, &object), 0);
	assert_int_equal(chain_write_base(s->sync->chain, seq, object.data, object.len), 0);
	changes_free(part);
	changes_free(manifest);
	bytes_clear(&object);
}

/* One of the time when it was a member, and one of a later commit, that leaves its removal out. */
static void
bases_by_a_device_that_was_removed_since_are_passed_over(void **state)
{
	struct fixture *f = *state;
	struct side c = { .v = NULL };

	make_text(&f->a, "old", "from before");
	sync_ok(&f->a);
	join_side(f, &f->b); /* 1 */
	sync_ok(&f->a);
	remove_member(&f->a, f->b.v->my_id); /* 2 */
	make_text(&f->a, "new", "for those who are left");
	sync_ok(&f->a); /* 3 */
	snprintf(c.dir, sizeof(c.dir), "%s/c", f->top);
	for (unsigned later = 0; later < 2; later++) {
		forge_base(f, &f->b, later ? head_of(&f->a) : 1);
		join_side(f, &c); /* 4, 5 */
		assert_text(&c, "old", "from before");
		assert_text(&c, "new", "for those who are left");
		sync_ok(&f->a);
		assert_same_tree(&f->a, &c);
		close_side(&c);
		remove_tree(c.dir);
	}
}

/* Joining. */

static void
joining_fails(struct fixture *f, const uint8_t key[static RECOVERY_KEY_LEN], err_t expected)
{
	struct store *store = open_store(f->store);
	unsigned commits = count_objects(f, "c");
	char *why = NULL, list[300];

	assert_int_equal(join_with(f, &f->b, store, key, &why), expected);
	assert_non_null(why);
	assert_non_null(strstr(why, f->store));
	assert_int_equal(count_objects(f, "c"), commits);
	snprintf(list, sizeof(list), "ls '%s' | grep -q '^b'", f->top);
	assert_int_not_equal(system(list), 0); /* nothing is left behind */
	free(why);
	store_free(store);
}

static void
another_recovery_key_is_rejected(void **state)
{
	struct fixture *f = *state;
	uint8_t other[RECOVERY_KEY_LEN];

	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	memcpy(other, f->recovery, sizeof(other));
	other[7] ^= 1;
	joining_fails(f, other, -EKEYREJECTED);
}

static void
a_store_without_a_vault_cannot_be_joined(void **state)
{
	struct fixture *f = *state;

	joining_fails(f, f->recovery, -ENOENT);
}

static void
a_vault_that_was_never_pushed_cannot_be_joined(void **state)
{
	struct fixture *f = *state;

	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_CREATE, .prefix = "c/",
	    .error = -EACCES });
	sync_fails(&f->a, -EACCES); /* marker and box only */
	joining_fails(f, f->recovery, -ENOENT);
}

static void
a_forged_first_commit_cannot_be_joined(void **state)
{
	struct fixture *f = *state;
	char path[256];

	sync_ok(&f->a);
	commit_path(f, 0, path);
	/* Eight bytes: one alone is what stands there already once in 256 times. */
	shell("printf xxxxxxxx | dd of='%s' bs=1 seek=300 conv=notrunc 2>/dev/null", path);
	joining_fails(f, f->recovery, -EBADMSG);
}

static void
whatever_the_store_refuses_joining_leaves_nothing_and_works_later(void **state)
{
	struct fixture *f = *state;

	make_variety(&f->a);
	sync_ok(&f->a);
	join_whatever_fails(f);
}

/* Bases. */

/* Text that does not compress below three quarters. */
static void
random_text(char *out, size_t len)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

	assert_int_equal(random_bytes(out, len), 0);
	for (size_t k = 0; k < len; k++)
		out[k] = digits[(uint8_t)out[k] % 64];
	out[len] = '\0';
}

/* Some 700 KiB of a commit. */
static void
make_bulk(struct side *s, const char *dir_name)
{
	uint64_t dir = make_dir(s, INODE_ROOT, dir_name);

	for (unsigned i = 0; i < 2000; i++) {
		char name[241], target[241];
		struct stat st;

		random_text(name, 240);
		random_text(target, 240);
		known(s, vfs_symlink(s->fs, &me, target, dir, name, &st), &st);
	}
}

static void
a_base_alone_is_enough_to_join(void **state)
{
	struct fixture *f = *state;

	make_variety(&f->a);
	make_bulk(&f->a, "bulk 1");
	make_bulk(&f->a, "bulk 2");
	sync_ok(&f->a);
	assert_int_equal(f->a.v->base_seq, 0);
	assert_true(f->a.v->base_size > 1 << 20);
	make_bulk(&f->a, "bulk 3");
	make_bulk(&f->a, "bulk 4");
	sync_ok(&f->a);
	assert_int_equal(f->a.v->base_seq, 1);
	assert_int_equal(count_objects(f, "b"), 2);
	make_text(&f->a, "behind the base", "text");
	sync_ok(&f->a);
	remove_commit(f, 0);
	shell("rm '%s/b/000000000000'", f->store);
	join_side(f, &f->b);
	assert_int_equal(f->b.v->base_seq, 1);
	assert_same_tree(&f->a, &f->b);
	make_text(&f->b, "from b", "text");
	sync_ok(&f->b);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
}

static void
a_base_is_not_written_before_it_pays(void **state)
{
	struct fixture *f = *state;

	make_bulk(&f->a, "bulk 1");
	sync_ok(&f->a);
	assert_int_equal(count_objects(f, "b"), 0);
	make_bulk(&f->a, "bulk 2");
	sync_ok(&f->a);
	assert_int_equal(count_objects(f, "b"), 1);
	make_text(&f->a, "a little", "text");
	sync_ok(&f->a);
	assert_int_equal(count_objects(f, "b"), 1);
}

static void
a_damaged_base_or_part_is_passed_over(void **state)
{
	struct fixture *f = *state;
	struct side c = { .v = NULL };

	make_variety(&f->a);
	sync_ok(&f->a); /* one segment */
	shell("find '%s/s' -type f | sort > '%s/before'", f->store, f->top);
	make_bulk(&f->a, "bulk 1");
	make_bulk(&f->a, "bulk 2");
	sync_ok(&f->a);
	assert_int_equal(count_objects(f, "b"), 1);
	/* The one new object among the segments is the base's part. */
	shell("find '%s/s' -type f | sort | comm -13 '%s/before' - > '%s/part' && test -s '%s/part'", f->store, f->top, f->top,
	    f->top);
	shell("for p in $(cat '%s/part'); do printf xxxxxxxx | dd of=$p bs=1 seek=5000 conv=notrunc 2>/dev/null; done", f->top);
	join_side(f, &f->b);
	assert_int_equal(f->b.v->base_size, 0);
	assert_same_tree(&f->a, &f->b);
	shell("printf xxxxxxxx | dd of='%s/b/000000000001' bs=1 seek=200 conv=notrunc 2>/dev/null", f->store);
	snprintf(c.dir, sizeof(c.dir), "%s/c", f->top);
	join_side(f, &c);
	assert_same_tree(&f->a, &c);
	close_side(&c);
}

static void
damage_commit(struct fixture *f, uint64_t seq)
{
	char path[256];

	commit_path(f, seq, path);
	shell("printf xxxxxxxx | dd of='%s' bs=1 seek=300 conv=notrunc 2>/dev/null", path);
}

/* Reads with the recovery key; the sentence of the gap, malloc'ed, and the last commit that could be read. */
static char *
read_until_gap(struct fixture *f, uint64_t *head_out)
{
	struct vault_create_params p = { .dir = f->b.dir, .device_name = "reading", .remote_url = f->store, .lock = { .plain = true } };
	struct store *store = open_store(f->store);
	struct sync_reading *r = NULL;
	char *why = NULL, *gap = NULL;

	if (sync_reading_open(&p, store, f->recovery, &r, &why) != 0)
		fail_msg("%s", why);
	if (sync_reading_gap(r) != NULL)
		gap = strdup(sync_reading_gap(r));
	*head_out = sync_reading_vault(r)->head_seq;
	sync_reading_close(r);
	store_free(store);
	return gap;
}

static void
behind_a_base_reading_ends_at_what_is_damaged_and_joining_is_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t base, head;
	char *gap, *why = NULL;
	struct store *store;

	for (unsigned i = 0; i < 6; i++) {
		char name[16];

		snprintf(name, sizeof(name), "file %u", i);
		make_text(&f->a, name, "text");
		sync_ok(&f->a);
		if (i == 2)
			assert_int_equal(members_write_base(f->a.sync), 0);
	}
	base = head_of(&f->a) - 3;
	assert_int_equal(count_objects(f, "b"), 1);
	assert_null(read_until_gap(f, &head));
	assert_int_equal(head, head_of(&f->a));

	damage_commit(f, base + 2);
	gap = read_until_gap(f, &head);
	assert_int_equal(head, base + 1);
	assert_non_null(strstr(gap, "is damaged or forged"));
	assert_null(strstr(gap, "base"));
	free(gap);

	store = open_store(f->store);
	assert_int_equal(join_with(f, &f->b, store, f->recovery, &why), -EBADMSG);
	assert_non_null(strstr(why, "is damaged or forged"));
	free(why);
	store_free(store);

	/* Then there is the base alone to begin with. */
	damage_commit(f, base - 1);
	gap = read_until_gap(f, &head);
	assert_int_equal(head, base + 1);
	assert_non_null(strstr(gap, "has written down as a base, of which nothing says whether it was removed since"));
	free(gap);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(two_computers_that_join_at_once_both_get_in),
		TEST(a_removed_device_reads_and_writes_no_more_and_the_others_follow),
		TEST(a_commit_of_a_removed_device_in_the_right_place_is_refused),
		TEST(bases_by_a_device_that_was_removed_since_are_passed_over),
		TEST(another_recovery_key_is_rejected),
		TEST(a_store_without_a_vault_cannot_be_joined),
		TEST(a_vault_that_was_never_pushed_cannot_be_joined),
		TEST(a_forged_first_commit_cannot_be_joined),
		TEST(whatever_the_store_refuses_joining_leaves_nothing_and_works_later),
		TEST(a_base_alone_is_enough_to_join),
		TEST(a_base_is_not_written_before_it_pays),
		TEST(a_damaged_base_or_part_is_passed_over),
		TEST(behind_a_base_reading_ends_at_what_is_damaged_and_joining_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
