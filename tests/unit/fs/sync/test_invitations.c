/* Letting a computer in by an invitation, and all those that must not get in by one. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "credentials.h"
#include "engine.h"
#include "invitation.h"
#include "random.h"
#include "sides.h"

#define HOUR UINT64_C(3600000000000)

/* How far all clocks are ahead that show what time it is. */
static _Atomic(int64_t) ahead_ns;

int64_t __real_clock_ns(clockid_t clock);
int64_t __wrap_clock_ns(clockid_t clock);

int64_t
__wrap_clock_ns(clockid_t clock)
{
	return __real_clock_ns(clock) + (clock == CLOCK_REALTIME ? ahead_ns : 0);
}

static int
setup_now(void **state)
{
	ahead_ns = 0;
	return setup(state);
}

static struct invitation *
invite_until(struct side *s, uint64_t expires_ns)
{
	struct invitation *inv = secmem_new(sizeof(*inv));
	struct identity *guest = NULL;
	struct sync_invited done;
	char *why = NULL;

	assert_non_null(inv);
	assert_int_equal(random_bytes(inv->secret, sizeof(inv->secret)), 0);
	assert_int_equal(identity_from_invitation(inv->secret, &guest), 0);
	if (sync_invite(s->sync, identity_public(guest), "phone", expires_ns, &done, &why) != 0)
		fail_msg("invite: %s", why);
	memcpy(inv->vault_id, s->v->id, sizeof(inv->vault_id));
	memcpy(inv->link_secret, s->v->secrets->link_secret, sizeof(inv->link_secret));
	inv->head_seq = done.seq;
	memcpy(inv->head_hash, done.hash, sizeof(inv->head_hash));
	inv->expires_ns = expires_ns;
	identity_free(guest);
	return inv;
}

static struct invitation *
invite(struct side *s)
{
	return invite_until(s, engine_now_ns() + HOUR);
}

static err_t
enter_by(struct fixture *f, struct side *s, const struct invitation *inv, char **why)
{
	struct vault_create_params p = { .dir = s->dir, .device_name = "beta", .remote_url = f->store, .lock = { .plain = true } };
	struct store *store = open_store(f->store);
	err_t err = sync_join_invited(&p, store, inv, false, why);

	store_free(store);
	return err;
}

static void
enters(struct fixture *f, struct side *s, const struct invitation *inv)
{
	char *why = NULL;
	err_t err = enter_by(f, s, inv, &why);

	if (err != 0)
		fail_msg("join: %d, %s", err, why);
	open_side(s, f->store);
}

static void
is_refused(struct fixture *f, const struct invitation *inv, err_t expected, const char *words)
{
	unsigned commits = count_objects(f, "c");
	char *why = NULL, list[300];

	assert_int_equal(enter_by(f, &f->b, inv, &why), expected);
	assert_non_null(why);
	if (strstr(why, words) == NULL)
		fail_msg("it says: %s", why);
	assert_int_equal(count_objects(f, "c"), commits);
	snprintf(list, sizeof(list), "ls '%s' | grep -q '^b'", f->top);
	assert_int_not_equal(system(list), 0); /* nothing is left behind */
	free(why);
}

static unsigned
open_invitations(const struct side *s)
{
	unsigned n = 0;

	for (size_t i = 0; i < trust_member_count(s->v->trust); i++) {
		const struct trust_member *m = trust_member_at(s->v->trust, i);

		n += m->kind == MEMBER_INVITATION && !m->removed;
	}
	return n;
}

static void
an_invited_computer_has_all_files_and_a_new_epoch_begins(void **state)
{
	struct fixture *f = *state;
	struct invitation *inv;

	make_variety(&f->a);
	sync_ok(&f->a);
	inv = invite(&f->a);
	make_text(&f->a, "later", "written while the invitation was open");
	sync_ok(&f->a);
	enters(f, &f->b, inv);
	assert_int_equal(epoch_of(&f->b), 1);
	assert_string_equal(trust_member_find(f->b.v->trust, f->b.v->my_id)->name, "phone");
	sync_ok(&f->a);
	assert_int_equal(epoch_of(&f->a), 1);
	make_text(&f->b, "from b", "text");
	sync_ok(&f->b);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	assert_int_equal(message_count(&f->a, "\"phone\" came in with an invitation by \"alpha\""), 1);
	secmem_free(inv);
}

static void
the_keys_to_the_store_that_an_invitation_has_are_kept(void **state)
{
	struct fixture *f = *state;
	struct credentials *kept = NULL;
	struct invitation *inv;

	sync_ok(&f->a);
	inv = invite(&f->a);
	strcpy(inv->access_key, "AKID");
	strcpy(inv->secret_key, "secret/of+the store");
	memset(inv->session_token, 't', INVITATION_SESSION_MAX);
	enters(f, &f->b, inv);
	assert_int_equal(credentials_load(f->b.v, &kept), 0);
	assert_string_equal(kept->access_key, inv->access_key);
	assert_string_equal(kept->secret_key, inv->secret_key);
	assert_string_equal(kept->session_token, inv->session_token);
	secmem_free(kept);
	assert_int_equal(credentials_load(f->a.v, &kept), -ENOENT);
	secmem_free(inv);
}

static void
an_invitation_is_good_once(void **state)
{
	struct fixture *f = *state;
	struct side c = { .v = NULL };
	struct invitation *inv;

	sync_ok(&f->a);
	inv = invite(&f->a);
	snprintf(c.dir, sizeof(c.dir), "%s/c", f->top);
	enters(f, &c, inv);
	is_refused(f, inv, -EKEYREVOKED, "used already, or was withdrawn");
	close_side(&c);
	secmem_free(inv);
}

/* What was seen of the token and its box opens nothing that was written since it was used. */
static void
a_used_invitation_opens_nothing_that_came_after(void **state)
{
	struct fixture *f = *state;
	struct keybox_secrets secrets;
	struct bytes object = { 0 };
	struct chain_box *boxes = NULL;
	struct identity *guest = NULL;
	struct invitation *inv;
	size_t count = 0;

	sync_ok(&f->a);
	inv = invite(&f->a);
	enters(f, &f->b, inv);
	assert_int_equal(identity_from_invitation(inv->secret, &guest), 0);
	assert_int_equal(chain_list_boxes(f->b.sync->chain, &boxes, &count), 0);
	assert_int_equal(count, 3);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(chain_read_box(f->b.sync->chain, boxes[i].name, &object), 0);
		err_t err = keybox_open(object.data, object.len, inv->vault_id, boxes[i].epoch, guest, false, inv->link_secret,
		    &secrets);
		if (boxes[i].epoch > 0)
			assert_int_equal(err, -EKEYREJECTED);
		bytes_clear(&object);
	}
	free(boxes);
	identity_free(guest);
	secmem_free(inv);
}

/* By somebody who was a member once: it opens, but no statement names it; its name comes before the one that counts. */
static void
plant_box(struct side *s, const struct identity_public *guest, unsigned n, bool true_key)
{
	struct keybox_secrets *secrets = secmem_new(sizeof(*secrets));
	struct bytes box = { 0 };
	struct key32 key;
	char name[CHAIN_NAME_MAX];

	assert_non_null(secrets);
	assert_int_equal(keyring_get(s->v->keys, 0, &key), 0);
	memcpy(secrets, s->v->secrets, sizeof(*secrets));
	memcpy(secrets->epoch_key, key.b, sizeof(key.b));
	secrets->epoch_key[5] ^= !true_key;
	assert_int_equal(keybox_seal(s->v->id, 0, secrets, &(struct keybox_member){ *guest, false }, 1, &box), 0);
	snprintf(name, sizeof(name), "k/0-%032u", n);
	assert_int_equal(store_put(chain_store(s->sync->chain), name, box.data, box.len), 0);
	bytes_clear(&box);
	key32_wipe(&key);
	secmem_free(secrets);
}

static void
boxes_that_were_planted_keep_no_invitation_out(void **state)
{
	struct fixture *f = *state;
	struct identity *guest = NULL;
	struct invitation *inv;

	make_text(&f->a, "before", "text");
	sync_ok(&f->a);
	inv = invite(&f->a);
	assert_int_equal(identity_from_invitation(inv->secret, &guest), 0);
	for (unsigned n = 0; n < 4; n++)
		plant_box(&f->a, identity_public(guest), n, n % 2 == 0);
	enters(f, &f->b, inv);
	assert_text(&f->b, "before", "text");
	identity_free(guest);
	secmem_free(inv);
}

static void
one_whose_time_is_over_is_refused_and_withdrawn_by_whoever_changes_something(void **state)
{
	struct fixture *f = *state;
	struct invitation *inv, *other;

	sync_ok(&f->a);
	inv = invite(&f->a);
	ahead_ns = 2 * HOUR;
	is_refused(f, inv, -EKEYEXPIRED, "was good until");
	/* Somebody who says that it is good for longer is told by the vault. */
	inv->expires_ns += 24 * HOUR;
	is_refused(f, inv, -EKEYEXPIRED, "was good until");
	other = invite(&f->a);
	assert_int_equal(epoch_of(&f->a), 1);
	is_refused(f, inv, -EKEYREVOKED, "used already, or was withdrawn");
	secmem_free(other);
	secmem_free(inv);
}

/* To reach the store may take long. */
static void
one_whose_time_is_over_before_it_is_given_out_is_not_given_out_and_why_is_said(void **state)
{
	static const uint8_t secret[INVITATION_SECRET_LEN] = { 1 };
	struct fixture *f = *state;
	struct identity *guest = NULL;
	struct sync_invited done;
	char *why = NULL;
	unsigned commits;

	sync_ok(&f->a);
	commits = count_objects(f, "c");
	assert_int_equal(identity_from_invitation(secret, &guest), 0);
	assert_int_equal(sync_invite(f->a.sync, identity_public(guest), "phone", engine_now_ns(), &done, &why), -EKEYEXPIRED);
	assert_non_null(why);
	if (strstr(why, "good for longer") == NULL)
		fail_msg("it says: %s", why);
	assert_int_equal(count_objects(f, "c"), commits);
	assert_int_equal(open_invitations(&f->a), 0);
	sync_ok(&f->a);
	free(why);
	identity_free(guest);
}

/* The one who gives it out is not the one who withdraws it. */
static void
one_whose_time_is_over_is_withdrawn_by_the_next_round_of_any_device_with_one_commit(void **state)
{
	struct fixture *f = *state;
	struct side c = { .v = NULL };
	struct invitation *inv, *other;
	unsigned commits;

	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	other = invite_until(&f->a, engine_now_ns() + 24 * HOUR);
	inv = invite(&f->a);
	sync_ok(&f->b);
	ahead_ns = 2 * HOUR;
	commits = count_objects(f, "c");
	sync_ok(&f->b);
	assert_int_equal(count_objects(f, "c"), commits + 1);
	assert_int_equal(open_invitations(&f->b), 1);
	sync_ok(&f->b);
	sync_ok(&f->a);
	assert_int_equal(count_objects(f, "c"), commits + 1);
	assert_int_equal(open_invitations(&f->a), 1);
	assert_int_equal(epoch_of(&f->a), epoch_of(&f->b));
	snprintf(c.dir, sizeof(c.dir), "%s/c", f->top);
	enters(f, &c, other);
	close_side(&c);
	secmem_free(other);
	secmem_free(inv);
}

static void
whose_clock_is_behind_the_last_commit_withdraws_nothing_by_itself(void **state)
{
	struct fixture *f = *state;
	struct invitation *inv;
	struct vault *v = f->a.v;
	unsigned commits;

	sync_ok(&f->a);
	inv = invite(&f->a);
	ahead_ns = 2 * HOUR;
	commits = count_objects(f, "c");
	assert_int_equal(v->author_count, 1);
	v->authors[0].time_ns += 3 * HOUR;
	sync_ok(&f->a);
	assert_int_equal(count_objects(f, "c"), commits);
	v->authors[0].time_ns -= 3 * HOUR;
	sync_ok(&f->a);
	assert_int_equal(count_objects(f, "c"), commits + 1);
	assert_int_equal(open_invitations(&f->a), 0);
	secmem_free(inv);
}

static err_t
withdraw(struct members_saying *w, void *ctx)
{
	return members_say_remove(w, ctx);
}

static void
one_that_was_withdrawn_is_refused(void **state)
{
	struct fixture *f = *state;
	struct invitation *inv;
	uint8_t id[IDENTITY_ID_LEN];

	sync_ok(&f->a);
	inv = invite(&f->a);
	memcpy(id, trust_member_at(f->a.v->trust, 2)->id, sizeof(id));
	assert_int_equal(members_commit(f->a.sync, withdraw, id, NULL, NULL), 0);
	is_refused(f, inv, -EKEYREVOKED, "used already, or was withdrawn");
	secmem_free(inv);
}

static void
one_that_was_guessed_opens_nothing(void **state)
{
	struct fixture *f = *state;
	struct invitation *inv;

	sync_ok(&f->a);
	inv = invite(&f->a);
	inv->secret[3] ^= 1;
	is_refused(f, inv, -EKEYREJECTED, "knows nothing of this invitation");
	inv->secret[3] ^= 1;
	inv->link_secret[3] ^= 1;
	is_refused(f, inv, -EKEYREJECTED, "knows nothing of this invitation");
	secmem_free(inv);
}

static void
a_store_with_another_vault_is_refused(void **state)
{
	struct fixture *f = *state;
	struct invitation *inv;

	sync_ok(&f->a);
	inv = invite(&f->a);
	inv->vault_id[0] ^= 1;
	is_refused(f, inv, -ESTALE, "another vault than the one of the invitation");
	secmem_free(inv);
}

static void
a_store_that_was_rolled_back_or_changed_since_is_refused(void **state)
{
	struct fixture *f = *state;
	struct invitation *inv;
	char path[256];

	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	shell("cp -a '%s' '%s.old'", f->store, f->store);
	inv = invite(&f->a);
	shell("mv '%s' '%s.now'; mv '%s.old' '%s'", f->store, f->store, f->store, f->store);
	is_refused(f, inv, -ESTALE, "another history");
	/* Another commit in the place of the one that the invitation names. */
	commit_path(f, inv->head_seq, path);
	shell("cp '%s/c/000000000000' '%s'", f->store, path);
	is_refused(f, inv, -ESTALE, "another history");
	shell("rm -r '%s'; mv '%s.now' '%s'", f->store, f->store, f->store);
	enters(f, &f->b, inv);
	secmem_free(inv);
}

/* The store shows the named commit at first, and then another one: reading leads to what was pinned, or to nothing. */
static void
a_commit_before_the_named_one_that_is_missing_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct invitation *inv;
	char path[256];

	make_text(&f->a, "file", "text");
	sync_ok(&f->a);
	make_text(&f->a, "file 2", "text");
	sync_ok(&f->a);
	inv = invite(&f->a);
	assert_true(inv->head_seq >= 2);
	commit_path(f, 1, path);
	shell("mv '%s' '%s/../gone'", path, f->store);
	is_refused(f, inv, -ESTALE, "lost commits");
	shell("mv '%s/../gone' '%s'", f->store, path);
	enters(f, &f->b, inv);
	secmem_free(inv);
}

/* Somebody is removed while the invitation is open: the new epoch's box has a slot for it. */
static void
an_invitation_outlives_a_new_epoch(void **state)
{
	struct fixture *f = *state;
	struct side c = { .v = NULL };
	struct invitation *inv;
	uint8_t id[IDENTITY_ID_LEN];

	make_text(&f->a, "old", "from before");
	sync_ok(&f->a);
	snprintf(c.dir, sizeof(c.dir), "%s/c", f->top);
	join_side(f, &c);
	inv = invite(&f->a);
	memcpy(id, c.v->my_id, sizeof(id));
	assert_int_equal(members_commit(f->a.sync, withdraw, id, NULL, NULL), 0);
	make_text(&f->a, "new", "of the next epoch");
	sync_ok(&f->a);
	enters(f, &f->b, inv);
	assert_int_equal(epoch_of(&f->b), 2);
	assert_text(&f->b, "old", "from before");
	assert_text(&f->b, "new", "of the next epoch");
	close_side(&c);
	secmem_free(inv);
}

/* Made after several epochs: what was written in the first ones is read by keys that the named commit has. */
static void
an_invitation_reads_what_is_older_than_its_epoch(void **state)
{
	struct fixture *f = *state;
	struct invitation *inv;

	make_text(&f->a, "old", "of epoch 0");
	sync_ok(&f->a);
	for (unsigned i = 0; i < 3; i++) {
		uint8_t id[IDENTITY_ID_LEN];

		secmem_free(invite(&f->a));
		memcpy(id, trust_member_at(f->a.v->trust, trust_member_count(f->a.v->trust) - 1)->id, sizeof(id));
		assert_int_equal(members_commit(f->a.sync, withdraw, id, NULL, NULL), 0);
		make_text(&f->a, i == 0 ? "x" : i == 1 ? "y" : "z", "of another");
		sync_ok(&f->a);
	}
	assert_int_equal(epoch_of(&f->a), 3);
	inv = invite(&f->a);
	enters(f, &f->b, inv);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	secmem_free(inv);
}

static void
with_the_device_that_gave_it_out_an_invitation_goes(void **state)
{
	struct fixture *f = *state;
	struct side c = { .v = NULL };
	struct invitation *inv;
	uint8_t id[IDENTITY_ID_LEN];

	sync_ok(&f->a);
	snprintf(c.dir, sizeof(c.dir), "%s/c", f->top);
	join_side(f, &c);
	inv = invite(&c);
	memcpy(id, c.v->my_id, sizeof(id));
	assert_int_equal(members_commit(f->a.sync, withdraw, id, NULL, NULL), 0);
	is_refused(f, inv, -EKEYREVOKED, "used already, or was withdrawn");
	close_side(&c);
	secmem_free(inv);
}

static void
whatever_the_store_refuses_entering_leaves_nothing_and_works_later(void **state)
{
	struct fixture *f = *state;
	struct invitation *inv;
	err_t err = -EACCES;

	make_variety(&f->a);
	sync_ok(&f->a);
	inv = invite(&f->a);
	for (unsigned skip = 0; skip < 60 && err != 0; skip++) {
		struct vault_create_params p = { .dir = f->b.dir, .device_name = "beta", .remote_url = f->store, .lock = { .plain = true } };
		struct store *store = open_store(f->store);
		char *why = NULL, list[300];

		assert_int_equal(store_fault_set(store, &(struct store_fault_rule){ .kind = STORE_FAULT_BEFORE,
		    .ops = STORE_OP_ALL, .skip = skip, .error = -EACCES }, 1), 0);
		err = sync_join_invited(&p, store, inv, false, &why);
		store_free(store);
		free(why);
		if (err != 0) {
			snprintf(list, sizeof(list), "ls '%s' | grep -q '^b'", f->top);
			assert_int_not_equal(system(list), 0);
		}
	}
	assert_int_equal(err, 0);
	open_side(&f->b, f->store);
	sync_ok(&f->a);
	assert_same_tree(&f->a, &f->b);
	secmem_free(inv);
}

static void
others_are_told_of_an_invitation(void **state)
{
	struct fixture *f = *state;

	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	secmem_free(invite(&f->a));
	sync_ok(&f->b);
	assert_int_equal(message_count(&f->b, "\"alpha\" has invited another device"), 1);
	assert_int_equal(message_count(&f->a, "has invited"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup_now, teardown)
		T(an_invited_computer_has_all_files_and_a_new_epoch_begins),
		T(the_keys_to_the_store_that_an_invitation_has_are_kept),
		T(an_invitation_is_good_once),
		T(a_used_invitation_opens_nothing_that_came_after),
		T(boxes_that_were_planted_keep_no_invitation_out),
		T(one_whose_time_is_over_before_it_is_given_out_is_not_given_out_and_why_is_said),
		T(one_whose_time_is_over_is_refused_and_withdrawn_by_whoever_changes_something),
		T(one_whose_time_is_over_is_withdrawn_by_the_next_round_of_any_device_with_one_commit),
		T(whose_clock_is_behind_the_last_commit_withdraws_nothing_by_itself),
		T(one_that_was_withdrawn_is_refused),
		T(one_that_was_guessed_opens_nothing),
		T(a_store_with_another_vault_is_refused),
		T(a_store_that_was_rolled_back_or_changed_since_is_refused),
		T(a_commit_before_the_named_one_that_is_missing_is_noticed),
		T(an_invitation_outlives_a_new_epoch),
		T(an_invitation_reads_what_is_older_than_its_epoch),
		T(with_the_device_that_gave_it_out_an_invitation_goes),
		T(whatever_the_store_refuses_entering_leaves_nothing_and_works_later),
		T(others_are_told_of_an_invitation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
