/*
 * codetext.c: Crockford base 32, and the Reed-Solomon code that finds a typo.
 */
#include "codetext.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "secmem.h"

/*
 * The code.  Symbols are elements of GF(32) = GF(2)[x] / (x^5 + x^2 + 1), the bits of a symbol being the coefficients and
 * a = x (the number 2) a primitive element.  A word's symbols w[0] .. w[n-1], in the order in which they are written, are
 * the coefficients of w(x) = w[0] x^(n-1) + ... + w[n-1], and it is well-formed if w(a) = w(a^2) = 0: the generator
 * polynomial is (x - a)(x - a^2) = x^2 + (a + a^2) x + a^3.  The first symbols are the bits of the data, first bit highest,
 * and zero bits up to a whole symbol (the filler); the last two of each word make the roots come out.
 */
#define SYMBOL_BITS 5u
#define CHECK_SYMBOLS 2u /* of each word */
#define GROUP_LEN 4u

#define GF_A 2u
#define GF_A2 4u
#define GENERATOR_1 (GF_A ^ GF_A2) /* of x */
#define GENERATOR_0 8u             /* a^3, of 1 */

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

struct symbols {
	uint8_t c[CODETEXT_MAX_SYMBOLS];
	unsigned count, data_count, ways;
	uint8_t filler_mask; /* the bits of the last data symbol that are always zero */
};

static void symbols_wipe(struct symbols *s)
{
	secmem_wipe(s, sizeof(*s));
}

static void symbols_init(const struct codetext_form *form, struct symbols *out)
{
	memset(out, 0, sizeof(*out));
	out->ways = form->ways;
	out->data_count = (8 * form->len + SYMBOL_BITS - 1) / SYMBOL_BITS;
	out->count = out->data_count + CHECK_SYMBOLS * form->ways;
	out->filler_mask = (uint8_t)((1u << (out->data_count * SYMBOL_BITS - 8 * form->len)) - 1);
	assert(out->count <= CODETEXT_MAX_SYMBOLS && out->count % form->ways == 0);
}

static uint8_t gf_mul(unsigned a, unsigned b)
{
	unsigned product = 0;
	for (unsigned bit = 0; bit < 5; bit++) {
		if (b >> bit & 1)
			product ^= a << bit;
	}
	for (unsigned bit = 8; bit >= 5; bit--) {
		if (product >> bit & 1)
			product ^= 0x25u << (bit - 5);
	}
	return (uint8_t)product;
}

/* w(x), by Horner's rule. */
static uint8_t evaluate(const struct symbols *s, unsigned word, unsigned x)
{
	uint8_t sum = 0;
	for (unsigned i = word; i < s->count; i += s->ways)
		sum = gf_mul(sum, x) ^ s->c[i];
	return sum;
}

/* Divides the word's data by the generator; the remainder is the check. */
static void add_check_symbols(struct symbols *s, unsigned word)
{
	unsigned check_at = s->count - CHECK_SYMBOLS * s->ways + word;
	uint8_t high = 0, low = 0;
	for (unsigned i = word; i < check_at; i += s->ways) {
		uint8_t feedback = s->c[i] ^ high;
		high = low ^ gf_mul(feedback, GENERATOR_1);
		low = gf_mul(feedback, GENERATOR_0);
	}
	s->c[check_at] = high;
	s->c[check_at + s->ways] = low;
}

/* Five bits of the data that begin at bit 5 * i; past its end they are zero. */
static uint8_t data_symbol(const uint8_t *data, unsigned len, unsigned i)
{
	unsigned value = 0;
	for (unsigned bit = SYMBOL_BITS * i; bit < SYMBOL_BITS * (i + 1); bit++) {
		unsigned set = bit < 8 * len ? data[bit / 8] >> (7 - bit % 8) & 1u : 0;
		value = value << 1 | set;
	}
	return (uint8_t)value;
}

static void symbols_to_data(const struct symbols *s, uint8_t *data_out, unsigned len)
{
	memset(data_out, 0, len);
	for (unsigned bit = 0; bit < 8 * len; bit++) {
		unsigned set = s->c[bit / SYMBOL_BITS] >> (SYMBOL_BITS - 1 - bit % SYMBOL_BITS) & 1u;
		data_out[bit / 8] |= (uint8_t)(set << (7 - bit % 8));
	}
}

void codetext_format(const struct codetext_form *form, const uint8_t *data, char *text_out)
{
	CLEANUP(symbols_wipe) struct symbols s;
	symbols_init(form, &s);
	for (unsigned i = 0; i < s.data_count; i++)
		s.c[i] = data_symbol(data, form->len, i);
	for (unsigned word = 0; word < s.ways; word++)
		add_check_symbols(&s, word);

	char *at = text_out;
	for (unsigned i = 0; i < s.count; i++) {
		if (i > 0 && i % GROUP_LEN == 0)
			*at++ = '-';
		*at++ = alphabet[s.c[i]];
	}
	*at = '\0';
}

/* The value of what somebody typed, or -1. */
static int symbol_value(char typed)
{
	char c = typed >= 'a' && typed <= 'z' ? (char)(typed - 'a' + 'A') : typed;
	if (c == 'O')
		c = '0';
	if (c == 'I' || c == 'L')
		c = '1';
	const char *at = c != '\0' ? strchr(alphabet, c) : NULL;
	return at != NULL ? (int)(at - alphabet) : -1;
}

static bool is_separator(char c)
{
	return c == '-' || c == ' ' || (c >= '\t' && c <= '\r');
}

unsigned codetext_count(const char *text)
{
	unsigned count = 0;
	for (const char *p = text; *p != '\0'; p++)
		count += !is_separator(*p);
	return count;
}

static bool is_filler_zero(const struct symbols *s)
{
	return (s->c[s->data_count - 1] & s->filler_mask) == 0;
}

static void point_at(unsigned i, struct codetext_fault *fault)
{
	fault->group = i / GROUP_LEN + 1;
	fault->position = i % GROUP_LEN + 1;
}

/* An unusable character is told before a wrong count: it is often the reason for it. */
static err_t read_symbols(const char *text, struct symbols *s_out, struct codetext_fault *fault)
{
	unsigned count = 0;
	for (const char *p = text; *p != '\0'; p++) {
		if (is_separator(*p))
			continue;
		int value = symbol_value(*p);
		if (value < 0 && count < s_out->count) {
			fault->kind = CODETEXT_FAULT_CHARACTER;
			fault->character = *p;
			point_at(count, fault);
			return -EINVAL;
		}
		if (count < s_out->count)
			s_out->c[count] = (uint8_t)value;
		count++;
	}
	if (count != s_out->count) {
		fault->kind = CODETEXT_FAULT_LENGTH;
		fault->count = count;
		return -EINVAL;
	}
	return 0;
}

/*
 * Corrects s to what was probably meant, and says where; nobody reads data from it.
 * A single error of value e at the coefficient of x^j makes w(a) = e a^j and w(a^2) = e a^2j, so w(a^2) / w(a) = a^j names
 * the place and w(a) / a^j the error.  What fits no place in the word, or leaves filler bits set, is more than one error.
 */
static void locate_error(struct symbols *s, unsigned word, uint8_t at_a, uint8_t at_a2, struct codetext_fault *fault)
{
	unsigned word_len = s->count / s->ways;
	fault->kind = CODETEXT_FAULT_CHECKSUM;
	if (at_a == 0 || at_a2 == 0)
		return;
	uint8_t power = 1;
	for (unsigned j = 0; j < word_len; j++, power = gf_mul(power, GF_A)) {
		if (gf_mul(at_a, power) != at_a2)
			continue;
		unsigned i = (word_len - 1 - j) * s->ways + word;
		uint8_t error = 1;
		while (gf_mul(error, power) != at_a)
			error++;
		fault->character = alphabet[s->c[i]];
		s->c[i] ^= error;
		if (!is_filler_zero(s))
			return;
		fault->kind = CODETEXT_FAULT_TYPO;
		fault->expected = alphabet[s->c[i]];
		point_at(i, fault);
		return;
	}
}

err_t codetext_parse(const struct codetext_form *form, const char *text, uint8_t *data_out, struct codetext_fault *fault)
{
	*fault = (struct codetext_fault){.kind = CODETEXT_FAULT_NONE};
	CLEANUP(symbols_wipe) struct symbols s;
	symbols_init(form, &s);
	err_t err = read_symbols(text, &s, fault);
	if (err != 0)
		return err;
	for (unsigned word = 0; word < s.ways; word++) {
		uint8_t at_a = evaluate(&s, word, GF_A), at_a2 = evaluate(&s, word, GF_A2);
		if (at_a == 0 && at_a2 == 0)
			continue;
		locate_error(&s, word, at_a, at_a2, fault);
		return -EINVAL;
	}
	if (!is_filler_zero(&s)) {
		fault->kind = CODETEXT_FAULT_CHECKSUM;
		return -EINVAL;
	}
	symbols_to_data(&s, data_out, form->len);
	return 0;
}
