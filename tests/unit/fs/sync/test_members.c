/* Changing who is in: removals, additions, names, while others do the same. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "hash.h"
#include "random.h"
#include "sides.h"

struct wish {
	enum { REMOVE, RENAME, ADD } what;
	uint8_t id[IDENTITY_ID_LEN];
	const char *name;
	const struct identity *who;
	unsigned said; /* how often */
};

static err_t
say(struct members_saying *w, void *ctx)
{
	struct wish *wish = ctx;
	struct bytes b = { 0 };
	const struct identity *me_here = members_vault(w)->me;
	const struct trust_member *m = trust_member_find(members_trust(w), wish->id);
	err_t err;

	wish->said++;
	if (wish->what != ADD && (m == NULL || m->removed))
		return members_refuse(w, -EALREADY, "it is gone already");
	if (wish->what == REMOVE)
		return members_say_remove(w, wish->id);
	if (wish->what == RENAME)
		err = trust_make_rename(members_trust(w), me_here, wish->id, wish->name, members_now_ns(w), &b);
	else
		err = trust_make_add(members_trust(w), me_here, MEMBER_DEVICE, identity_public(wish->who), wish->name,
		    members_now_ns(w), &b);
	if (err == 0)
		err = members_say(w, &b);
	bytes_clear(&b);
	return err;
}

static struct wish
removal_of(const struct side *s)
{
	struct wish wish = { .what = REMOVE };

	memcpy(wish.id, s->v->my_id, sizeof(wish.id));
	return wish;
}

static void
commit(struct side *s, struct wish *wish)
{
	char *why = NULL;
	err_t err = members_commit(s->sync, say, wish, &why, NULL);

	if (err != 0)
		fail_msg("%d, %s", err, why);
}

/* A and B are in, and know of each other. */
static void
two_sides(struct fixture *f)
{
	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
}

static void
a_removal_begins_an_epoch_and_the_rest_read_on(void **state)
{
	struct fixture *f = *state;
	struct side c = { .v = NULL };
	struct wish wish;

	two_sides(f);
	snprintf(c.dir, sizeof(c.dir), "%s/c", f->top);
	join_side(f, &c);
	wish = removal_of(&f->b);
	commit(&f->a, &wish);
	assert_int_equal(epoch_of(&f->a), 1);
	assert_int_equal(count_objects(f, "k"), 2);
	make_text(&f->a, "new", "text");
	sync_ok(&f->a);
	sync_ok(&c);
	assert_int_equal(epoch_of(&c), 1);
	assert_text(&c, "new", "text");
	close_side(&c);
}

static void
a_name_changes_without_a_new_epoch(void **state)
{
	struct fixture *f = *state;
	struct wish wish = { .what = RENAME, .name = "the old laptop" };

	two_sides(f);
	memcpy(wish.id, f->b.v->my_id, sizeof(wish.id));
	commit(&f->a, &wish);
	sync_ok(&f->b);
	assert_string_equal(trust_member_find(f->b.v->trust, f->b.v->my_id)->name, "the old laptop");
	assert_int_equal(epoch_of(&f->b), 0);
	assert_int_equal(message_count(&f->b, "is now called \"the old laptop\""), 1);
}

/* Somebody else's commit comes between: what is to be said is said again, on the new state. */
static void
who_loses_the_race_says_it_again(void **state)
{
	struct fixture *f = *state;
	struct side c = { .v = NULL };
	struct wish wish;

	two_sides(f);
	snprintf(c.dir, sizeof(c.dir), "%s/c", f->top);
	join_side(f, &c);
	make_text(&c, "in between", "text");
	sync_ok(&c);
	wish = removal_of(&f->b);
	/* A has not heard of C yet when it tries. */
	engine_round_begin(f->a.sync, true);
	assert_int_equal(members_try(f->a.sync, say, &wish, NULL, NULL), -EEXIST);
	assert_int_equal(count_objects(f, "k"), 1); /* the box of the epoch that did not begin is gone again */
	(void)engine_round_end(f->a.sync, 0);
	commit(&f->a, &wish);
	assert_int_equal(wish.said, 2);
	sync_ok(&c);
	assert_int_equal(epoch_of(&c), 1); /* its box was made for C, too */
	assert_text(&f->a, "in between", "text");
	close_side(&c);
}

static void
of_two_devices_that_remove_each_other_one_stays_and_the_other_is_told(void **state)
{
	struct fixture *f = *state;
	struct wish a_wants, b_wants;
	char *why = NULL;

	two_sides(f);
	a_wants = removal_of(&f->b);
	b_wants = removal_of(&f->a);
	commit(&f->b, &b_wants);
	assert_int_equal(members_commit(f->a.sync, say, &a_wants, &why, NULL), -EKEYREVOKED);
	assert_int_equal(a_wants.said, 0);
	assert_non_null(strstr(why, "removed from the vault"));
	free(why);
	assert_false(trust_member_find(f->b.v->trust, f->b.v->my_id)->removed);
	sync_fails(&f->a, -EKEYREVOKED);
	sync_ok(&f->b);
}

static void
a_removal_that_somebody_else_has_done_is_moot_and_no_trouble_of_the_sync(void **state)
{
	struct fixture *f = *state;
	struct side c = { .v = NULL };
	struct sync_status st;
	struct wish wish;
	char *why = NULL;

	two_sides(f);
	snprintf(c.dir, sizeof(c.dir), "%s/c", f->top);
	join_side(f, &c);
	wish = removal_of(&f->b);
	commit(&c, &wish);
	assert_int_equal(members_commit(f->a.sync, say, &wish, &why, NULL), -EALREADY);
	assert_string_equal(why, "it is gone already");
	free(why);
	sync_get_status(f->a.sync, &st);
	assert_int_equal(st.problem, 0);
	assert_int_equal(epoch_of(&f->a), 1);
	close_side(&c);
}

static void
what_may_not_be_said_is_refused_before_the_store_hears_of_it(void **state)
{
	struct fixture *f = *state;
	struct wish wish = { .what = REMOVE };
	unsigned commits;
	char *why = NULL;

	two_sides(f);
	commits = count_objects(f, "c");
	memcpy(wish.id, trust_recovery(f->a.v->trust)->id, sizeof(wish.id));
	assert_int_equal(members_commit(f->a.sync, say, &wish, &why, NULL), -EPERM);
	assert_non_null(why);
	free(why);
	assert_int_equal(count_objects(f, "c"), commits);
	sync_ok(&f->a);
}

static void
a_vault_that_was_never_pushed_is_pushed_first(void **state)
{
	struct fixture *f = *state;
	const uint8_t secret[DEVICE_SECRET_LEN] = { 7 };
	struct identity *other = NULL;
	struct wish wish = { .what = ADD, .name = "other" };
	struct members_done done;

	assert_int_equal(identity_from_device_secret(secret, &other), 0);
	wish.who = other;
	make_text(&f->a, "file", "text");
	assert_int_equal(members_commit(f->a.sync, say, &wish, NULL, &done), 0);
	assert_true(done.seq >= 1);
	assert_memory_equal(done.hash, f->a.v->head_hash, 32);
	sync_ok(&f->a);
	identity_free(other);
}

/* Whatever fails on the way, the next try finds the vault in order. */
static void
whatever_the_store_refuses_a_removal_is_done_whole_or_not_at_all(void **state)
{
	struct fixture *f = *state;
	struct wish wish;
	err_t err = -EACCES;

	two_sides(f);
	make_text(&f->a, "old", "text");
	sync_ok(&f->a);
	sync_ok(&f->b);
	wish = removal_of(&f->b);
	for (unsigned skip = 0; skip < 30 && err != 0; skip++) {
		fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_ALL, .skip = skip,
		    .error = -EACCES });
		err = members_commit(f->a.sync, say, &wish, NULL, NULL);
		no_fault(&f->a);
		if (err != 0) {
			sync_ok(&f->a);
			assert_int_equal(epoch_of(&f->a), 0);
			sync_ok(&f->b);
		}
	}
	assert_int_equal(err, 0);
	assert_int_equal(epoch_of(&f->a), 1);
	sync_ok(&f->a);
	sync_fails(&f->b, -EKEYREVOKED);
}

/* The answer is lost, or the computer dies right behind it: the chain has it, and the next round finds it there. */
static void
a_removal_whose_answer_was_lost_is_found_in_the_chain(void **state)
{
	struct fixture *f = *state;
	struct wish wish;

	two_sides(f);
	wish = removal_of(&f->b);
	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_AFTER, .ops = STORE_OP_CREATE, .prefix = "c/",
	    .error = -EACCES });
	assert_int_not_equal(members_commit(f->a.sync, say, &wish, NULL, NULL), 0);
	no_fault(&f->a);
	reopen_side(&f->a, f->store);
	make_text(&f->a, "new", "text");
	sync_ok(&f->a);
	assert_int_equal(epoch_of(&f->a), 1);
	sync_fails(&f->b, -EKEYREVOKED);
}

static void
newest_key(struct side *s, uint64_t ino, struct file_key *out)
{
	struct inode *i = NULL;

	meta_lock(s->v->meta);
	assert_int_equal(meta_inode_get(s->v->meta, ino, &i), 0);
	assert_true(i->key_count > 0);
	*out = i->keys[i->key_count - 1];
	meta_unlock(s->v->meta);
}

/* With a full copy of its keys: neither a commit nor a key box nor an epoch that came after opens. */
static void
what_a_removed_device_has_opens_nothing_that_came_after(void **state)
{
	struct fixture *f = *state;
	struct wish wish;
	struct chain_box *boxes = NULL;
	struct bytes object = { 0 };
	struct envelope_opened opened;
	struct keybox_secrets secrets;
	struct file_key file_key;
	struct key32 key;
	size_t count = 0;
	uint64_t removal;

	make_text(&f->a, "old", "from before");
	two_sides(f);
	sync_ok(&f->b);
	wish = removal_of(&f->b);
	commit(&f->a, &wish);
	removal = f->a.v->head_seq;
	write_at(&f->a, lookup(&f->a, INODE_ROOT, "old"), 0, "FROM AFTER", 10);
	make_text(&f->a, "new", "text");
	sync_ok(&f->a);
	assert_true(f->a.v->head_seq > removal);

	for (uint64_t seq = removal; seq <= f->a.v->head_seq; seq++) {
		assert_int_equal(chain_read_commit(f->a.sync->chain, seq, &object), 0);
		for (uint32_t epoch = 0; keyring_get(f->b.v->keys, epoch, &key) == 0; epoch++)
			assert_int_equal(envelope_open(object.data, object.len, ENVELOPE_COMMIT, seq, f->b.v->id, key.b, &opened),
			    -EBADMSG);
		bytes_clear(&object);
	}
	assert_int_equal(chain_list_boxes(f->a.sync->chain, &boxes, &count), 0);
	assert_int_equal(count, 2);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(chain_read_box(f->a.sync->chain, boxes[i].name, &object), 0);
		if (boxes[i].epoch > 0)
			assert_int_equal(keybox_open(object.data, object.len, f->b.v->id, boxes[i].epoch, f->b.v->me, false,
			    f->b.v->secrets->link_secret, &secrets), -EKEYREJECTED);
		bytes_clear(&object);
	}
	free(boxes);

	/* A new file, and what is written to one that it could read before. */
	newest_key(&f->a, lookup(&f->a, INODE_ROOT, "new"), &file_key);
	assert_int_equal(keyring_open_file_key(f->b.v->keys, &file_key, &key), -ENOENT);
	newest_key(&f->a, lookup(&f->a, INODE_ROOT, "old"), &file_key);
	assert_int_equal(file_key.version, 2);
	assert_int_equal(keyring_open_file_key(f->b.v->keys, &file_key, &key), -ENOENT);
	sync_fails(&f->b, -EKEYREVOKED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_removal_begins_an_epoch_and_the_rest_read_on),
		T(a_name_changes_without_a_new_epoch),
		T(who_loses_the_race_says_it_again),
		T(of_two_devices_that_remove_each_other_one_stays_and_the_other_is_told),
		T(a_removal_that_somebody_else_has_done_is_moot_and_no_trouble_of_the_sync),
		T(what_may_not_be_said_is_refused_before_the_store_hears_of_it),
		T(a_vault_that_was_never_pushed_is_pushed_first),
		T(whatever_the_store_refuses_a_removal_is_done_whole_or_not_at_all),
		T(a_removal_whose_answer_was_lost_is_found_in_the_chain),
		T(what_a_removed_device_has_opens_nothing_that_came_after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
