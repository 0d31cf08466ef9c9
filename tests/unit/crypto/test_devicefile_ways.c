/* What opens device files besides passphrases, and anchors. */
#include "devicefile_steps.h"

#include <errno.h>

#include "secmem.h"

static const uint8_t held[SLOT_KEY_LEN] = {7, 7, 7};
static const uint8_t anchor_a[DEVICEFILE_ANCHOR_LEN] = {0xa}, anchor_b[DEVICEFILE_ANCHOR_LEN] = {0xb};
static const struct anchor_view place_a = {.kind = SLOT_TPM, .place = (const uint8_t *)"a", .place_len = 1};
static const struct anchor_view place_b = {.kind = SLOT_TPM, .place = (const uint8_t *)"b", .place_len = 1,
    .previous = (const uint8_t *)"a", .previous_len = 1};

static struct devicefile *reopen(const struct devicefile *df)
{
	struct bytes file = {0};
	struct devicefile *again = NULL;
	assert_int_equal(devicefile_serialize(df, &file), 0);
	assert_int_equal(devicefile_parse(file.data, file.len, &again), 0);
	bytes_clear(&file);
	return again;
}

static void a_key_file_opens_and_another_does_not(void **state)
{
	(void)state;
	struct devicefile *df = new_file(0);
	uint8_t content[DEVICEFILE_KEY_FILE_MIN] = {1, 2, 3};
	assert_int_equal(devicefile_add_key_file(df, NULL, content, sizeof(content) - 1), -EINVAL);
	assert_int_equal(devicefile_add_key_file(df, NULL, content, sizeof(content)), 0);
	struct devicefile *again = reopen(df);
	content[31]++;
	assert_int_equal(devicefile_open_key_file(again, content, sizeof(content)), -EKEYREJECTED);
	assert_int_equal(devicefile_open_key_file(again, content, sizeof(content) - 1), -EKEYREJECTED);
	assert_null(devicefile_secret(again));
	content[31]--;
	assert_int_equal(devicefile_open_key_file(again, content, sizeof(content)), 0);
	assert_memory_equal(devicefile_secret(again), secret, sizeof(secret));
	devicefile_free(again);
	devicefile_free(df);
}

static void a_key_held_elsewhere_opens_its_own_slot_only(void **state)
{
	(void)state;
	struct devicefile *df = new_file(WITH_PASSPHRASE);
	assert_int_equal(devicefile_add_held(df, NULL, SLOT_TPM, held, (const uint8_t *)"blob", 4), 0);
	assert_int_equal(devicefile_add_held(df, NULL, SLOT_PASSPHRASE, held, NULL, 0), -EINVAL);
	struct devicefile *again = reopen(df);
	struct slot_view s = devicefile_slot_at(again, 1);
	assert_int_equal(s.kind, SLOT_TPM);
	assert_int_equal(s.params_len, 4);
	assert_memory_equal(s.params, "blob", 4);
	assert_int_equal(devicefile_open_held(again, 0, held), -EKEYREJECTED);
	assert_int_equal(devicefile_open_held(again, 2, held), -ENOENT);
	assert_null(devicefile_opened_by(again));
	assert_int_equal(devicefile_open_held(again, 1, held), 0);
	assert_memory_equal(devicefile_opened_by(again)->id, devicefile_slot_at(again, 1).tag->id, SLOT_ID_LEN);
	devicefile_free(again);
	devicefile_free(df);
}

static void the_recovery_key_opens_its_slot_and_is_no_way_in_of_its_own(void **state)
{
	(void)state;
	static const uint8_t key[RECOVERY_KEY_LEN] = {1}, other[RECOVERY_KEY_LEN] = {2};
	struct identity *recovery, *stranger;
	uint8_t psk[32];
	struct bytes file = {0};
	assert_int_equal(identity_from_recovery_key(key, &recovery), 0);
	assert_int_equal(identity_from_recovery_key(other, &stranger), 0);
	assert_int_equal(identity_derive(recovery, "recovery psk", psk), 0);
	struct devicefile *df = new_file(0);
	assert_int_equal(devicefile_add_recovery(df, NULL, identity_public(recovery), psk), 0);
	assert_int_equal(devicefile_serialize(df, &file), -EINVAL);
	assert_int_equal(devicefile_add_passphrase(df, NULL, pass, strlen(pass), 14), 0);
	assert_int_equal(drop(df, SLOT_PASSPHRASE), -EINVAL);
	/* It opens anchored files, too: it is the way in when the chip is broken. */
	assert_int_equal(devicefile_set_anchor(df, &place_a, anchor_a), 0);
	struct devicefile *again = reopen(df);
	assert_int_equal(devicefile_open_recovery(again, stranger), -EKEYREJECTED);
	assert_int_equal(devicefile_open_recovery(again, recovery), 0);
	assert_memory_equal(devicefile_secret(again), secret, sizeof(secret));
	devicefile_free(again);
	devicefile_free(df);
	identity_free(recovery);
	identity_free(stranger);
	bytes_clear(&file);
}

static void labels_and_times_are_kept_and_bad_labels_are_refused(void **state)
{
	(void)state;
	struct slot_tag tag, twin;
	assert_int_equal(slot_tag_new("the \u00e4 one", 1234567890, &tag), 0);
	assert_int_equal(slot_tag_new("", 0, &twin), 0);
	assert_memory_not_equal(tag.id, twin.id, sizeof(tag.id));
	assert_int_equal(slot_tag_new("a\033[2Jb", 0, &twin), -EINVAL);
	assert_int_equal(slot_tag_new("a\xc2\x9b" "b", 0, &twin), -EINVAL);
	assert_int_equal(slot_tag_new("a\xff", 0, &twin), -EINVAL);
	assert_int_equal(slot_tag_new("12345678901234567890123456789012345678901234567890123456789012345", 0, &twin), -EINVAL);
	struct devicefile *df = new_file(0);
	assert_int_equal(devicefile_add_plain(df, &tag), 0);
	struct devicefile *again = reopen(df);
	const struct slot_tag *back = devicefile_slot_at(again, 0).tag;
	assert_string_equal(back->label, "the \u00e4 one");
	assert_int_equal(back->created_s, 1234567890);
	assert_memory_equal(back->id, tag.id, sizeof(tag.id));
	devicefile_free(again);
	devicefile_free(df);
}

static void an_anchored_file_opens_with_its_anchor_only(void **state)
{
	(void)state;
	struct devicefile *df = new_file(WITH_PASSPHRASE);
	assert_int_equal(devicefile_set_anchor(df, &place_a, anchor_a), 0);
	struct devicefile *again = reopen(df);
	struct anchor_view where;
	assert_true(devicefile_get_anchor(again, &where));
	assert_int_equal(where.kind, SLOT_TPM);
	assert_memory_equal(where.place, "a", 1);
	assert_int_equal(devicefile_open_passphrase(again, pass, strlen(pass)), -ENOKEY);
	assert_int_equal(devicefile_give_anchor(again, anchor_b), 0);
	assert_int_equal(devicefile_open_passphrase(again, pass, strlen(pass)), -EKEYREJECTED);
	assert_int_equal(devicefile_give_anchor(again, anchor_a), 0);
	assert_int_equal(devicefile_open_passphrase(again, pass, strlen(pass)), 0);
	devicefile_free(again);
	devicefile_free(df);
}

/* The point of it: every slot moves to the new anchor, whoever opened the file, and an old copy does not. */
static void another_anchor_makes_old_copies_useless_and_keeps_every_slot(void **state)
{
	(void)state;
	struct devicefile *df = new_file(WITH_PASSPHRASE);
	assert_int_equal(devicefile_add_held(df, NULL, SLOT_TPM, held, NULL, 0), 0);
	assert_int_equal(devicefile_set_anchor(df, &place_a, anchor_a), 0);
	struct devicefile *old = reopen(df), *now = reopen(df);
	assert_int_equal(devicefile_give_anchor(now, anchor_a), 0);
	assert_int_equal(devicefile_open_held(now, 1, held), 0);
	assert_int_equal(devicefile_set_anchor(now, &place_b, anchor_b), 0);

	struct devicefile *again = reopen(now);
	struct anchor_view where;
	assert_true(devicefile_get_anchor(again, &where));
	assert_int_equal(where.previous_len, 1);
	assert_int_equal(devicefile_give_anchor(again, anchor_b), 0);
	assert_int_equal(devicefile_open_passphrase(again, pass, strlen(pass)), 0);
	assert_int_equal(devicefile_open_held(again, 1, held), 0);
	assert_int_equal(devicefile_give_anchor(old, anchor_b), 0);
	assert_int_equal(devicefile_open_passphrase(old, pass, strlen(pass)), -EKEYREJECTED);
	assert_int_equal(devicefile_open_held(old, 1, held), -EKEYREJECTED);
	assert_null(devicefile_secret(old));

	assert_int_equal(devicefile_set_anchor(again, NULL, NULL), 0);
	struct devicefile *without = reopen(again);
	assert_false(devicefile_get_anchor(without, &where));
	assert_int_equal(devicefile_open_passphrase(without, pass, strlen(pass)), 0);
	devicefile_free(without);
	devicefile_free(again);
	devicefile_free(now);
	devicefile_free(old);
	devicefile_free(df);
}

static void two_slots_of_one_id_are_refused(void **state)
{
	(void)state;
	struct devicefile *df = new_file(0);
	struct slot_tag tag;
	struct bytes file = {0};
	struct devicefile *again;
	assert_int_equal(slot_tag_new("", 0, &tag), 0);
	assert_int_equal(devicefile_add_plain(df, &tag), 0);
	assert_int_equal(devicefile_add_plain(df, &tag), 0);
	assert_int_equal(devicefile_serialize(df, &file), 0);
	assert_int_equal(devicefile_parse(file.data, file.len, &again), -EBADMSG);
	devicefile_free(df);
	bytes_clear(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_file_opens_and_another_does_not),
		cmocka_unit_test(a_key_held_elsewhere_opens_its_own_slot_only),
		cmocka_unit_test(the_recovery_key_opens_its_slot_and_is_no_way_in_of_its_own),
		cmocka_unit_test(labels_and_times_are_kept_and_bad_labels_are_refused),
		cmocka_unit_test(an_anchored_file_opens_with_its_anchor_only),
		cmocka_unit_test(another_anchor_makes_old_copies_useless_and_keeps_every_slot),
		cmocka_unit_test(two_slots_of_one_id_are_refused),
	};
	return secmem_init() == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
