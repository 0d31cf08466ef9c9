/* pieces.c: arithmetic with pieces of segments. */
#include "pieces.h"

uint64_t
pieces_len(uint64_t size)
{
	uint64_t len = PIECES_LEN_MIN;

	while (size / len >= PIECES_MAX && size > len * PIECES_MAX)
		len *= 2;
	return len;
}

unsigned
pieces_count(uint64_t size)
{
	uint64_t len = pieces_len(size);

	return (unsigned)(size / len + (size % len != 0));
}

uint64_t
pieces_run(unsigned first, unsigned count)
{
	uint64_t mask = count >= PIECES_MAX ? UINT64_MAX : (UINT64_C(1) << count) - 1;

	return first >= PIECES_MAX ? 0 : mask << first;
}

uint64_t
pieces_all(uint64_t size)
{
	return pieces_run(0, pieces_count(size));
}

uint64_t
pieces_touching(uint64_t size, uint64_t off, uint64_t len)
{
	if (!len || off >= size)
		return 0;

	uint64_t end = len < size - off ? off + len : size;
	unsigned first = (unsigned)(off / pieces_len(size));
	unsigned last = (unsigned)((end - 1) / pieces_len(size));

	return pieces_run(first, last - first + 1);
}

unsigned
pieces_first_run(uint64_t mask, unsigned max, unsigned *first_out)
{
	unsigned first = 0, count = 0;

	if (!mask)
		return 0;
	while (!(mask >> first & 1))
		first++;
	while (count < max && first + count < PIECES_MAX && mask >> (first + count) & 1)
		count++;
	*first_out = first;
	return count;
}

uint64_t
pieces_bytes(uint64_t size, uint64_t mask)
{
	uint64_t len = pieces_len(size), last = size % len;
	uint64_t bytes = (uint64_t)__builtin_popcountll(mask & pieces_all(size)) * len;

	/* The last one may be shorter. */
	if (last && mask >> (pieces_count(size) - 1) & 1)
		bytes -= len - last;
	return bytes;
}
