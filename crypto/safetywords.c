/* safetywords.c: a hash's first bits as words that can be spoken. */
#include "safetywords.h"


#include "bytes.h"
#include "hash.h"

#define HEAD_LABEL "snugfs/1 safety words"
#define MEMBER_LABEL "snugfs/1 member words"

static const char consonants[16] = {'b', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'm', 'n', 'p', 'r', 's', 't', 'v', 'z'};
static const char vowels[4] = {'a', 'i', 'o', 'u'};

void safetywords_format(const uint8_t *bits, size_t word_count, char *text_out)
{
	for (size_t i = 0; i < word_count; i++, text_out += 6) {
		unsigned v = get_u16(bits + 2 * i);
		text_out[0] = consonants[v >> 12];
		text_out[1] = vowels[v >> 10 & 3];
		text_out[2] = consonants[v >> 6 & 15];
		text_out[3] = vowels[v >> 4 & 3];
		text_out[4] = consonants[v & 15];
		text_out[5] = i + 1 < word_count ? '-' : '\0';
	}
}

static err_t words_of(const struct bytes *input, char text_out[static SAFETYWORDS_TEXT_LEN + 1])
{
	uint8_t hash[HASH_LEN];
	err_t err = hash_sha256(input->data, input->len, hash);
	if (err == 0)
		safetywords_format(hash, SAFETYWORDS_COUNT, text_out);
	return err;
}

err_t safetywords_head(const uint8_t vault_id[static 32], uint64_t seq, const uint8_t hash[static 32],
    char text_out[static SAFETYWORDS_TEXT_LEN + 1])
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	err_t err;
	if ((err = bytes_append(&b, HEAD_LABEL, sizeof(HEAD_LABEL) - 1)) || (err = bytes_append(&b, vault_id, 32)) ||
	    (err = bytes_append_u64(&b, seq)) || (err = bytes_append(&b, hash, 32)))
		return err;
	return words_of(&b, text_out);
}

err_t safetywords_member(const uint8_t vault_id[static 32], const uint8_t member_id[static IDENTITY_ID_LEN],
    char text_out[static SAFETYWORDS_TEXT_LEN + 1])
{
	CLEANUP(bytes_clear) struct bytes b = {0};
	err_t err;
	if ((err = bytes_append(&b, MEMBER_LABEL, sizeof(MEMBER_LABEL) - 1)) || (err = bytes_append(&b, vault_id, 32)) ||
	    (err = bytes_append(&b, member_id, IDENTITY_ID_LEN)))
		return err;
	return words_of(&b, text_out);
}

static const char *next_letter(const char *p)
{
	while (*p == ' ' || *p == '-' || *p == '\t' || *p == '\n' || *p == '\r')
		p++;
	return p;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool safetywords_match(const char *typed, const char *words)
{
	for (;; typed++, words++) {
		typed = next_letter(typed);
		words = next_letter(words);
		if (lower(*typed) != *words)
			return false;
		if (*words == '\0')
			return true;
	}
}
