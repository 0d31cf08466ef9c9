/* rowdiff.c: what two versions of a row have in common, at the same offset or at the end. */
#include "rowdiff.h"

#include <errno.h>
#include <string.h>

/* Fewer equal bytes than this between two hunks do not pay for the second one's head. */
#define GAP_MIN 8u

static size_t
common_end(const uint8_t *old, size_t old_len, const uint8_t *new, size_t new_len)
{
	size_t limit = old_len < new_len ? old_len : new_len;
	size_t n = 0;

	while (n < limit && old[old_len - n - 1] == new[new_len - n - 1])
		n++;
	return n;
}

/* Where the next difference at or behind `at` is; end if there is none.  Behind limit all is different. */
static size_t
next_difference(const uint8_t *old, const uint8_t *new, size_t at, size_t limit, size_t end)
{
	/* Long stretches are equal: words first. */
	while (at + 8 <= limit && memcmp(old + at, new + at, 8) == 0)
		at += 8;
	while (at < limit && old[at] == new[at])
		at++;
	return at < limit || limit < end ? at : end;
}

/* The end of the hunk that begins at `at`. */
static size_t
hunk_end(const uint8_t *old, const uint8_t *new, size_t at, size_t limit, size_t end)
{
	size_t equal = 0;

	for (; at < limit && equal < GAP_MIN; at++)
		equal = old[at] == new[at] ? equal + 1 : 0;
	if (equal == GAP_MIN)
		return at - GAP_MIN;
	return limit < end ? end : at - equal;
}

err_t
rowdiff_make(const uint8_t *old, size_t old_len, const uint8_t *new, size_t new_len, struct bytes *out)
{
	size_t before = out->len;
	size_t same = common_end(old, old_len, new, new_len);
	size_t end = new_len - same;
	size_t limit = old_len < end ? old_len : end;
	err_t e = bytes_append_u32(out, (uint32_t)new_len);

	if (!e)
		e = bytes_append_u32(out, (uint32_t)same);
	for (size_t at = next_difference(old, new, 0, limit, end); at < end && !e;) {
		size_t to = hunk_end(old, new, at, limit, end);

		e = bytes_append_u32(out, (uint32_t)at);
		if (!e)
			e = bytes_append_u32(out, (uint32_t)(to - at));
		if (!e)
			e = bytes_append(out, new + at, to - at);
		at = next_difference(old, new, to, limit, end);
	}
	if (e)
		out->len = before;
	return e;
}

static err_t
apply_hunks(struct cursor c, uint8_t *row, size_t end)
{
	err_t e = 0;

	while (c.len && !e) {
		uint32_t at, len;

		e = cursor_u32(&c, &at);
		if (!e)
			e = cursor_u32(&c, &len);
		if (!e && (at > end || len > end - at))
			e = -EBADMSG;
		if (!e)
			e = cursor_copy(&c, row + at, len);
	}
	return e;
}

err_t
rowdiff_apply(const uint8_t *old, size_t old_len, const uint8_t *diff, size_t diff_len, struct bytes *out)
{
	struct cursor c = {diff, diff_len};
	size_t before = out->len;
	uint32_t new_len, same;
	uint8_t *row;
	err_t e = cursor_u32(&c, &new_len);

	if (!e)
		e = cursor_u32(&c, &same);
	/* Its parts are from the beginning of the old one, from its end, and from the hunks. */
	if (!e && (same > old_len || same > new_len || new_len > 2 * old_len + diff_len))
		e = -EBADMSG;
	if (!e)
		e = bytes_extend(out, new_len, &row);
	if (e)
		return e;

	size_t end = new_len - same;
	size_t kept = old_len < end ? old_len : end;

	memset(row, 0, end);
	if (kept)
		memcpy(row, old, kept);
	if (same)
		memcpy(row + end, old + old_len - same, same);
	e = apply_hunks(c, row, end);
	if (e)
		out->len = before;
	return e;
}
