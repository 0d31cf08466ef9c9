/* Invitations as text: what is written is read again, and what was mistyped or cut is noticed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "invitation.h"
#include "secmem.h"

static struct invitation *example(bool credentials)
{
	struct invitation *inv = secmem_new(sizeof(*inv));
	assert_non_null(inv);
	memset(inv->vault_id, 0x11, 32);
	memset(inv->head_hash, 0x22, 32);
	memset(inv->link_secret, 0x33, 32);
	for (unsigned i = 0; i < sizeof(inv->secret); i++)
		inv->secret[i] = (uint8_t)(i * 17);
	inv->head_seq = 77;
	inv->expires_ns = UINT64_C(1760000000000000000);
	strcpy(inv->url, "s3:https://s3.example.org/bucket/prefix");
	if (credentials) {
		strcpy(inv->access_key, "AKIA");
		strcpy(inv->secret_key, "secret/of+the store");
	}
	return inv;
}

static void roundtrip(struct invitation *inv)
{
	struct invitation *again = NULL;
	char *text = NULL;
	assert_int_equal(invitation_format(inv, &text), 0);
	assert_int_equal(strncmp(text, "SNUGFS1-", 8), 0);
	assert_int_equal(invitation_parse(text, &again), 0);
	assert_memory_equal(again, inv, sizeof(*inv));
	secmem_free(again);
	secmem_free(text);
	secmem_free(inv);
}

static void what_is_written_is_read_again(void **state)
{
	(void)state;
	roundtrip(example(false));
	roundtrip(example(true));
	struct invitation *longest = example(true);
	memset(longest->url, 'u', INVITATION_URL_MAX);
	memset(longest->access_key, 'a', INVITATION_KEY_MAX);
	memset(longest->secret_key, 's', INVITATION_KEY_MAX);
	memset(longest->session_token, 't', INVITATION_SESSION_MAX);
	roundtrip(longest);
	for (unsigned len = 1; len < 12; len++) { /* whatever is left over in the last character */
		struct invitation *inv = example(false);
		memset(inv->url + len, 0, sizeof(inv->url) - len);
		roundtrip(inv);
	}
}

static void case_spaces_and_line_ends_do_not_matter(void **state)
{
	(void)state;
	struct invitation *inv = example(false), *again = NULL;
	char *text = NULL, spaced[2048];
	size_t n = 0;
	assert_int_equal(invitation_format(inv, &text), 0);
	for (size_t i = 0; text[i] != '\0'; i++) {
		char c = text[i] == '0' ? 'o' : text[i] == '1' && i > 8 ? 'l' : (char)tolower((unsigned char)text[i]);
		n += (size_t)snprintf(spaced + n, sizeof(spaced) - n, "%s%c", i % 40 == 39 ? "\r\n  " : i % 7 == 6 ? "-" : "", c);
	}
	assert_int_equal(invitation_parse(spaced, &again), 0);
	assert_memory_equal(again, inv, sizeof(*inv));
	secmem_free(again);
	secmem_free(text);
	secmem_free(inv);
}

static void every_wrong_character_is_noticed(void **state)
{
	(void)state;
	struct invitation *inv = example(false), *again = NULL;
	char *text = NULL;
	assert_int_equal(invitation_format(inv, &text), 0);
	for (size_t i = 8; text[i] != '\0'; i++) {
		char had = text[i];
		text[i] = had == 'Z' ? 'Y' : 'Z';
		assert_int_equal(invitation_parse(text, &again), -EBADMSG);
		text[i] = 'U';
		assert_int_equal(invitation_parse(text, &again), -EINVAL);
		text[i] = had;
	}
	assert_null(again);
	secmem_free(text);
	secmem_free(inv);
}

static void one_that_was_cut_is_noticed_wherever(void **state)
{
	(void)state;
	struct invitation *inv = example(true), *again = NULL;
	char *text = NULL;
	assert_int_equal(invitation_format(inv, &text), 0);
	for (size_t len = strlen(text) - 1; len >= 8; len--) {
		text[len] = '\0';
		assert_int_equal(invitation_parse(text, &again), -EBADMSG);
	}
	text[6] = '\0';
	assert_int_equal(invitation_parse(text, &again), -EINVAL);
	assert_null(again);
	secmem_free(text);
	secmem_free(inv);
}

static void what_is_no_invitation_and_one_of_another_version_are_told_apart(void **state)
{
	(void)state;
	static char endless[INVITATION_TEXT_MAX * 2];
	struct invitation *again = NULL;
	assert_int_equal(invitation_parse("", &again), -EINVAL);
	assert_int_equal(invitation_parse("hello", &again), -EINVAL);
	assert_int_equal(invitation_parse("SNUGFS1-", &again), -EBADMSG);
	assert_int_equal(invitation_parse("snugfs2-0123", &again), -EPROTO);
	memset(endless, '0', sizeof(endless) - 1);
	assert_int_equal(invitation_parse(endless, &again), -EINVAL);
	assert_null(again);
}

static struct identity *guest_of(const struct invitation *inv)
{
	struct identity *guest = NULL;
	assert_int_equal(identity_from_invitation(inv->secret, &guest), 0);
	return guest;
}

static void credentials_are_for_the_invitation_and_its_vault_alone(void **state)
{
	(void)state;
	for (int session = 0; session < 2; session++) {
		struct invitation *inv = example(true), *got = example(false), *stranger = example(false);
		struct bytes sealed = {0};
		uint8_t vault_id[32] = {1};
		stranger->secret[0] ^= 1;
		memset(inv->session_token, 't', session ? INVITATION_SESSION_MAX : 0);
		struct identity *guest = guest_of(inv), *other = guest_of(stranger);
		assert_int_equal(invitation_seal_credentials(vault_id, identity_public(guest)->box, inv, &sealed), 0);
		for (size_t i = 0; i < sealed.len; i += 1 + sealed.len / 200) {
			sealed.data[i] ^= 1;
			assert_int_equal(invitation_open_credentials(vault_id, guest, sealed.data, sealed.len, got), -EBADMSG);
			sealed.data[i] ^= 1;
			assert_int_equal(invitation_open_credentials(vault_id, guest, sealed.data, i, got), -EBADMSG);
		}
		assert_int_equal(invitation_open_credentials(vault_id, other, sealed.data, sealed.len, got), -EBADMSG);
		vault_id[0] = 2;
		assert_int_equal(invitation_open_credentials(vault_id, guest, sealed.data, sealed.len, got), -EBADMSG);
		vault_id[0] = 1;
		assert_string_equal(got->access_key, "");
		assert_int_equal(invitation_open_credentials(vault_id, guest, sealed.data, sealed.len, got), 0);
		assert_memory_equal(got, inv, sizeof(*inv));
		bytes_clear(&sealed);
		identity_free(guest);
		identity_free(other);
		secmem_free(inv);
		secmem_free(got);
		secmem_free(stranger);
	}
}

static void without_credentials_there_is_nothing_to_seal(void **state)
{
	(void)state;
	struct invitation *inv = example(false);
	struct identity *guest = guest_of(inv);
	struct bytes sealed = {0};
	uint8_t vault_id[32] = {1};
	assert_int_equal(invitation_seal_credentials(vault_id, identity_public(guest)->box, inv, &sealed), -EINVAL);
	assert_int_equal(sealed.len, 0);
	identity_free(guest);
	secmem_free(inv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_written_is_read_again),
	    cmocka_unit_test(case_spaces_and_line_ends_do_not_matter),
	    cmocka_unit_test(credentials_are_for_the_invitation_and_its_vault_alone),
	    cmocka_unit_test(without_credentials_there_is_nothing_to_seal),
	    cmocka_unit_test(every_wrong_character_is_noticed),
	    cmocka_unit_test(one_that_was_cut_is_noticed_wherever),
	    cmocka_unit_test(what_is_no_invitation_and_one_of_another_version_are_told_apart),
	};
	return secmem_init() == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
