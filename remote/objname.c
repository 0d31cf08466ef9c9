/* objname.c: the names of snugfs-format(5), read backwards. */
#include "objname.h"

#include <stdlib.h>
#include <string.h>

#include "padme.h"

#define HEX "0123456789abcdef"
#define DIGITS "0123456789"
#define HEX_LEN (2 * SEGMENT_NAME_LEN)

static bool is_hex_name(const char *text)
{
	return strlen(text) == HEX_LEN && strspn(text, HEX) == HEX_LEN;
}

static uint8_t digit(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static bool parse_numbered(const char *text, uint64_t *number_out)
{
	if (strlen(text) != 12 || strspn(text, DIGITS) != 12)
		return false;
	*number_out = strtoull(text, NULL, 10);
	return true;
}

static void read_hex_name(const char *text, uint8_t out[static SEGMENT_NAME_LEN])
{
	for (size_t i = 0; i < SEGMENT_NAME_LEN; i++)
		out[i] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[1 + 2 * i]));
}

/* One name for one box: no leading zeros. */
static bool parse_box(const char *text, uint64_t *epoch_out, uint8_t out[static SEGMENT_NAME_LEN])
{
	size_t count = strspn(text, DIGITS);

	if (count == 0 || count > 10 || (text[0] == '0' && count > 1) || text[count] != '-' || !is_hex_name(text + count + 1))
		return false;
	*epoch_out = strtoull(text, NULL, 10);
	read_hex_name(text + count + 1, out);
	return *epoch_out <= UINT32_MAX;
}

/* "<xx>/<name>", of which xx is the first two digits. */
static bool parse_segment(const char *text, uint8_t out[static SEGMENT_NAME_LEN])
{
	if (strspn(text, HEX) != 2 || text[2] != '/' || !is_hex_name(text + 3) || memcmp(text, text + 3, 2) != 0)
		return false;
	read_hex_name(text + 3, out);
	return true;
}

struct objname objname_parse(const char *name)
{
	struct objname o = {.kind = OBJNAME_FOREIGN};

	if (strcmp(name, "v") == 0)
		o.kind = OBJNAME_MARKER;
	else if (strncmp(name, "k/", 2) == 0 && parse_box(name + 2, &o.number, o.random))
		o.kind = OBJNAME_BOX;
	else if (strncmp(name, "c/", 2) == 0 && parse_numbered(name + 2, &o.number))
		o.kind = OBJNAME_COMMIT;
	else if (strncmp(name, "b/", 2) == 0 && parse_numbered(name + 2, &o.number))
		o.kind = OBJNAME_BASE;
	else if (strncmp(name, "s/", 2) == 0 && parse_segment(name + 2, o.random))
		o.kind = OBJNAME_SEGMENT;
	else if (strncmp(name, "w/", 2) == 0 && is_hex_name(name + 2))
		o.kind = OBJNAME_WITNESS;
	return o;
}

static const struct {
	const char *word;
	const char *plural;
} kinds[OBJNAME_KIND_COUNT] = {
	[OBJNAME_MARKER] = {"marker", "marker"},
	[OBJNAME_BOX] = {"key-box", "key boxes"},
	[OBJNAME_COMMIT] = {"commit", "commits"},
	[OBJNAME_BASE] = {"base", "bases"},
	[OBJNAME_SEGMENT] = {"segment", "segments"},
	[OBJNAME_WITNESS] = {"witness", "statements of witnesses"},
	[OBJNAME_FOREIGN] = {"foreign", "objects that are not snugfs's"},
};

const char *objname_word(enum objname_kind kind)
{
	return kinds[kind].word;
}

const char *objname_plural(enum objname_kind kind)
{
	return kinds[kind].plural;
}

bool objname_size_fits(uint64_t size)
{
	return size >= PADME_FLOOR && size <= UINT64_C(1) << 62 && padme_size(size) == size;
}
