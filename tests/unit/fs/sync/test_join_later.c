/* Joining with a recovery key that was made later than the vault, when no base helps. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "secmem.h"
#include "sides.h"

/* Replacing the key. */

struct replacing {
	struct identity *old, *fresh;
	uint8_t psk[32];
};

static err_t
say_replacement(struct members_saying *w, void *ctx)
{
	struct replacing *r = ctx;
	struct bytes add = { 0 }, removal = { 0 };
	uint8_t id[IDENTITY_ID_LEN];

	assert_int_equal(identity_id(identity_public(r->old), id), 0);
	assert_int_equal(trust_make_add(members_trust(w), r->old, MEMBER_RECOVERY, identity_public(r->fresh), "recovery key",
	    members_now_ns(w), &add), 0);
	assert_int_equal(members_say(w, &add), 0);
	members_begin_epoch(w, r->psk);
	assert_int_equal(trust_make_remove(members_trust(w), r->old, id, members_now_ns(w), &removal), 0);
	assert_int_equal(members_say(w, &removal), 0);
	bytes_clear(&add);
	bytes_clear(&removal);
	return 0;
}

/* f->recovery is the new one then. */
static void
replace_key(struct fixture *f, struct side *s, uint8_t old_out[static RECOVERY_KEY_LEN])
{
	struct replacing r = { .old = NULL };

	memcpy(old_out, f->recovery, RECOVERY_KEY_LEN);
	f->recovery[3] ^= 0x55;
	f->recovery[4]++;
	assert_int_equal(identity_from_recovery_key(old_out, &r.old), 0);
	assert_int_equal(identity_from_recovery_key(f->recovery, &r.fresh), 0);
	assert_int_equal(identity_derive(r.fresh, "recovery psk", r.psk), 0);
	assert_int_equal(members_commit(s->sync, say_replacement, &r, NULL, NULL), 0);
	identity_free(r.old);
	identity_free(r.fresh);
}

static err_t
say_removal(struct members_saying *w, void *ctx)
{
	return members_say_remove(w, ctx);
}

/*
 * A tree of several commits; B has come and is gone again, so that epoch 1 began; then the key is replaced, twice if asked for, and
 * there is more to read behind.  Returns the number of the commit that the newest key came with.
 */
static uint64_t
make_history(struct fixture *f, bool twice, uint8_t old_out[static RECOVERY_KEY_LEN])
{
	uint64_t came;

	make_variety(&f->a);
	sync_ok(&f->a);
	join_side(f, &f->b);
	make_text(&f->b, "from b", "b");
	sync_ok(&f->b);
	sync_ok(&f->a);
	assert_int_equal(members_commit(f->a.sync, say_removal, f->b.v->my_id, NULL, NULL), 0);
	close_side(&f->b);
	remove_tree(f->b.dir);
	make_text(&f->a, "in epoch 1", "text");
	sync_ok(&f->a);
	for (int i = 0; i < (twice ? 2 : 1); i++) {
		replace_key(f, &f->a, old_out);
		came = head_of(&f->a);
		make_text(&f->a, i == 0 ? "behind the first" : "behind the second", "text");
		sync_ok(&f->a);
	}
	for (unsigned i = 0; i < 5; i++) {
		char name[16];

		snprintf(name, sizeof(name), "later %u", i);
		make_text(&f->a, name, "text");
		sync_ok(&f->a);
	}
	assert_int_equal(count_objects(f, "b"), 0);
	return came;
}

static void
joining_gives_the_tree(struct fixture *f)
{
	join_side(f, &f->b);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	make_text(&f->b, "from the new b", "b");
	sync_ok(&f->b);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
}

static void
joining_fails_with(struct fixture *f, struct store *store, const uint8_t key[static RECOVERY_KEY_LEN], err_t expected,
    const char *saying)
{
	unsigned commits = count_objects(f, "c");
	char *why = NULL;

	assert_int_equal(join_with(f, &f->b, store, key, &why), expected);
	assert_non_null(why);
	if (strstr(why, saying) == NULL)
		fail_msg("%s", why);
	assert_int_equal(count_objects(f, "c"), commits);
	shell("! ls '%s' | grep -q '^b'", f->top); /* nothing is left behind */
	free(why);
}

static void
joining_fails(struct fixture *f, const uint8_t key[static RECOVERY_KEY_LEN], err_t expected, const char *saying)
{
	struct store *store = open_store(f->store);

	joining_fails_with(f, store, key, expected, saying);
	store_free(store);
}

/* Tests. */

static void
a_key_that_came_later_reads_everything_without_a_base(void **state)
{
	struct fixture *f = *state;
	uint8_t old[RECOVERY_KEY_LEN];

	(void)make_history(f, false, old);
	joining_gives_the_tree(f);
}

static void
so_does_the_second_that_came_later(void **state)
{
	struct fixture *f = *state;
	uint8_t old[RECOVERY_KEY_LEN];

	(void)make_history(f, true, old);
	joining_gives_the_tree(f);
}

static void
the_keys_before_are_told_that_they_have_been_replaced(void **state)
{
	struct fixture *f = *state;
	uint8_t first[RECOVERY_KEY_LEN], second[RECOVERY_KEY_LEN];

	memcpy(first, f->recovery, sizeof(first));
	(void)make_history(f, true, second);
	joining_fails(f, first, -EKEYREVOKED, "has been replaced");
	joining_fails(f, second, -EKEYREVOKED, "has been replaced");
}

static void
a_damaged_base_does_not_keep_it_out(void **state)
{
	struct fixture *f = *state;
	uint8_t old[RECOVERY_KEY_LEN];

	(void)make_history(f, false, old);
	assert_int_equal(members_write_base(f->a.sync), 0);
	shell("for p in '%s'/b/*; do printf xxxxxxxx | dd of=\"$p\" bs=1 seek=300 conv=notrunc 2>/dev/null; done", f->store);
	joining_gives_the_tree(f);
}

static void
nor_does_a_base_by_a_device_that_was_removed_since(void **state)
{
	struct fixture *f = *state;
	struct side c = { .v = NULL };
	uint8_t old[RECOVERY_KEY_LEN];

	(void)make_history(f, false, old);
	snprintf(c.dir, sizeof(c.dir), "%s/c", f->top);
	join_side(f, &c);
	sync_ok(&c);
	assert_int_equal(members_write_base(c.sync), 0);
	assert_int_equal(count_objects(f, "b"), 1);
	sync_ok(&f->a);
	assert_int_equal(members_commit(f->a.sync, say_removal, c.v->my_id, NULL, NULL), 0);
	close_side(&c);
	remove_tree(c.dir);
	joining_gives_the_tree(f);
}

/* Who was removed after the key came has its PSK: a box of epoch 0 in its favour, with the true key, is no way around the chain. */
static void
a_box_that_somebody_made_for_it_of_an_epoch_before_it_is_left_aside(void **state)
{
	struct fixture *f = *state;
	uint8_t old[RECOVERY_KEY_LEN];
	struct keybox_secrets *secrets = secmem_new(sizeof(*secrets));
	char name[CHAIN_NAME_MAX];
	struct bytes box = { 0 };
	struct key32 key;

	(void)make_history(f, false, old);
	assert_non_null(secrets);
	for (unsigned wrong = 0; wrong < 2; wrong++) {
		const struct keybox_member m = { trust_recovery(f->a.v->trust)->pub, true };

		memcpy(secrets, f->a.v->secrets, sizeof(*secrets));
		assert_int_equal(keyring_get(f->a.v->keys, wrong, &key), 0);
		memcpy(secrets->epoch_key, key.b, sizeof(key.b));
		secrets->epoch_key[0] ^= (uint8_t)wrong;
		bytes_reset(&box);
		assert_int_equal(keybox_seal(f->a.v->id, wrong, secrets, &m, 1, &box), 0);
		assert_int_equal(chain_write_box(f->a.sync->chain, wrong, box.data, box.len, name), 0);
	}
	bytes_clear(&box);
	secmem_free(secrets);
	key32_wipe(&key);
	joining_gives_the_tree(f);
}

/* Of the epochs before it, and of its own; by somebody who was removed after it came. */
static void
boxes_that_were_planted_do_not_keep_out_a_key_that_came_later(void **state)
{
	struct fixture *f = *state;
	uint8_t old[RECOVERY_KEY_LEN];
	struct keybox_secrets *secrets = secmem_new(sizeof(*secrets));
	struct bytes box = { 0 };
	struct key32 key;
	uint32_t newest;

	(void)make_history(f, false, old);
	assert_non_null(secrets);
	assert_int_equal(keyring_current(f->a.v->keys, &newest), 0);
	assert_int_equal(newest, 2);
	for (uint32_t epoch = 0; epoch <= newest; epoch++) {
		const struct keybox_member m = { trust_recovery(f->a.v->trust)->pub, true };
		char name[CHAIN_NAME_MAX];

		memcpy(secrets, f->a.v->secrets, sizeof(*secrets));
		assert_int_equal(keyring_get(f->a.v->keys, epoch, &key), 0);
		memcpy(secrets->epoch_key, key.b, sizeof(key.b));
		secrets->link_secret[0] ^= 1;
		bytes_reset(&box);
		assert_int_equal(keybox_seal(f->a.v->id, epoch, secrets, &m, 1, &box), 0);
		snprintf(name, sizeof(name), "k/%u-%032u", epoch, 0);
		assert_int_equal(store_put(chain_store(f->a.sync->chain), name, box.data, box.len), 0);
	}
	bytes_clear(&box);
	secmem_free(secrets);
	key32_wipe(&key);
	joining_gives_the_tree(f);
	assert_memory_equal(f->b.v->secrets->link_secret, f->a.v->secrets->link_secret, sizeof(f->a.v->secrets->link_secret));
}

static void
reading_only_works_and_ends_at_what_is_damaged_behind_the_key(void **state)
{
	struct fixture *f = *state;
	struct vault_create_params p = { .dir = f->b.dir, .device_name = "reading", .remote_url = f->store,
		.lock = { .plain = true } };
	struct sync_reading *r = NULL;
	struct store *store = open_store(f->store);
	uint8_t old[RECOVERY_KEY_LEN];
	uint64_t came = make_history(f, false, old);
	char path[256], *why = NULL;

	assert_int_equal(sync_reading_open(&p, store, f->recovery, &r, &why), 0);
	assert_null(sync_reading_gap(r));
	assert_int_equal(sync_reading_vault(r)->head_seq, head_of(&f->a));
	sync_reading_close(r);
	commit_path(f, came + 2, path);
	shell("printf xxxxxxxx | dd of='%s' bs=1 seek=300 conv=notrunc 2>/dev/null", path);
	assert_int_equal(sync_reading_open(&p, store, f->recovery, &r, &why), 0);
	assert_non_null(sync_reading_gap(r));
	assert_int_equal(sync_reading_vault(r)->head_seq, came + 1);
	sync_reading_close(r);
	/* Before the key came nothing says that this is its vault. */
	commit_path(f, came - 1, path);
	shell("printf xxxxxxxx | dd of='%s' bs=1 seek=300 conv=notrunc 2>/dev/null", path);
	assert_int_equal(sync_reading_open(&p, store, f->recovery, &r, &why), -EBADMSG);
	assert_non_null(strstr(why, "damaged or forged"));
	free(why);
	store_free(store);
}

/* Headers. */

static void
forge_epoch(struct fixture *f, uint64_t seq, unsigned epoch)
{
	char path[256];

	commit_path(f, seq, path);
	shell("printf '\\000\\000\\000\\%03o' | dd of='%s' bs=1 seek=4 conv=notrunc 2>/dev/null", epoch, path);
}

static void
forged_headers_are_refused(void **state)
{
	struct fixture *f = *state;
	uint8_t old[RECOVERY_KEY_LEN];
	uint64_t came = make_history(f, false, old);

	shell("cp -a '%s/c' '%s/whole'", f->store, f->top);
	for (unsigned what = 0; what < 4; what++) {
		if (what == 0)
			forge_epoch(f, came, 1); /* the next one carries no keys */
		for (uint64_t seq = 0; what == 1 && seq < came; seq++)
			forge_epoch(f, seq, 2);
		for (uint64_t seq = 0; what == 2 && seq <= head_of(&f->a); seq++)
			forge_epoch(f, seq, 0);
		if (what == 3)
			remove_commit(f, came);
		joining_fails(f, f->recovery, -EBADMSG, "put this recovery key in force is missing, damaged or forged");
		shell("rm -r '%s/c' && cp -a '%s/whole' '%s/c'", f->store, f->top, f->store);
	}
	joining_gives_the_tree(f);
}

/* A store whose headers are not those of its objects. */
struct liar {
	struct store store;
	struct store *inner;
	uint32_t epoch;
	unsigned headers;
};

static err_t
tell_lie(struct store *s, const char *name, uint64_t off, size_t len, struct bytes *out)
{
	struct liar *l = (struct liar *)s;
	uint8_t header[ENVELOPE_HEADER_LEN] = { 1, ENVELOPE_COMMIT, 1, 0 };

	if (name[0] != 'c')
		return store_get_range(l->inner, name, off, len, out);
	assert_int_equal(len, sizeof(header));
	header[7] = (uint8_t)l->epoch;
	l->headers++;
	return bytes_append(out, header, len);
}

static err_t
liar_get(struct store *s, const char *name, size_t max_len, struct bytes *out)
{
	return store_get(((struct liar *)s)->inner, name, max_len, out);
}

static err_t
liar_size(struct store *s, const char *name, uint64_t *size_out)
{
	return store_size(((struct liar *)s)->inner, name, size_out);
}

static err_t
liar_list(struct store *s, const char *prefix, store_item_fn *fn, void *ctx)
{
	return store_list_items(((struct liar *)s)->inner, prefix, fn, ctx);
}

/* It has a header for every number that there can be. */
static void
a_store_that_lies_about_headers_is_asked_a_bounded_number_of_times(void **state)
{
	static const struct store_ops ops = { .get = liar_get, .get_range = tell_lie, .size = liar_size, .list = liar_list };
	struct fixture *f = *state;
	uint8_t old[RECOVERY_KEY_LEN];

	(void)make_history(f, false, old);
	for (uint32_t epoch = 0; epoch < 4; epoch++) {
		struct liar l = { .store = { .ops = &ops, .url = f->store }, .inner = open_store(f->store), .epoch = epoch };

		joining_fails_with(f, &l.store, f->recovery, -EBADMSG, "put this recovery key in force is missing, damaged or forged");
		assert_in_range(l.headers, 1, 90);
		store_free(l.inner);
	}
	joining_gives_the_tree(f);
}

static void
whatever_the_store_refuses_joining_leaves_nothing_and_works_later(void **state)
{
	struct fixture *f = *state;
	uint8_t old[RECOVERY_KEY_LEN];

	(void)make_history(f, false, old);
	join_whatever_fails(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_key_that_came_later_reads_everything_without_a_base),
		TEST(so_does_the_second_that_came_later),
		TEST(the_keys_before_are_told_that_they_have_been_replaced),
		TEST(a_damaged_base_does_not_keep_it_out),
		TEST(nor_does_a_base_by_a_device_that_was_removed_since),
		TEST(a_box_that_somebody_made_for_it_of_an_epoch_before_it_is_left_aside),
		TEST(boxes_that_were_planted_do_not_keep_out_a_key_that_came_later),
		TEST(reading_only_works_and_ends_at_what_is_damaged_behind_the_key),
		TEST(forged_headers_are_refused),
		TEST(a_store_that_lies_about_headers_is_asked_a_bounded_number_of_times),
		TEST(whatever_the_store_refuses_joining_leaves_nothing_and_works_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
