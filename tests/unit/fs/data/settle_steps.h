/* settle_steps.h: settling in single steps, for its tests. */
#ifndef TEST_SETTLE_STEPS_H
#define TEST_SETTLE_STEPS_H

#include "fixture.h"

#define MIB (1u << 20)

static inline void
repeat(uint8_t *p, size_t len)
{
	for (size_t k = 0; k < len; k++)
		p[k] = (uint8_t)("some text that repeats itself\n"[k % 30] + k / 5000);
}

static inline struct segment
segment_of(struct fixture *f, uint64_t seg)
{
	struct segment row;

	meta_lock(f->meta);
	assert_int_equal(meta_segment_get(f->meta, seg, &row), 0);
	meta_unlock(f->meta);
	return row;
}

static inline struct settle *
begin(struct fixture *f)
{
	struct settle *s;

	assert_int_equal(settle_begin(f->c, f->meta, f->ss, f->keys, &s), 0);
	return s;
}

static inline uint64_t
finish(struct settle *s)
{
	uint64_t len = 0;

	assert_int_equal(settle_finish(s, &len), 0);
	return len;
}

#endif
