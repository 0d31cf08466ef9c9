/* padme.c: the padding steps. */
#include "padme.h"

uint64_t
padme_size(uint64_t len)
{
	if (len <= PADME_FLOOR)
		return PADME_FLOOR;

	/* The paper's names: E = floor(log2 L), S = floor(log2 E) + 1; the lowest E - S bits become zero, rounded up. */
	unsigned e = 63 - (unsigned)__builtin_clzll(len);
	unsigned s = 32 - (unsigned)__builtin_clz(e);
	uint64_t mask = (UINT64_C(1) << (e - s)) - 1;

	return (len + mask) & ~mask;
}
