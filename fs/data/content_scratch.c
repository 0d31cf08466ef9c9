/* content_scratch.c: each thread's buffers. */
#include "content_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "secmem.h"

/* Of one large page, a buffer of this length costs one fault instead of hundreds, and the disk gets it in one piece. */
#define LARGE_LEN (512u << 10)
#define HUGE_PAGE_LEN ((size_t)2 << 20)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t scratch_of_thread;
static err_t once_error;

static void
scratch_free(void *p)
{
	struct scratch *s = p;

	free(s->sealed);
	free(s->pieces);
	free(s->keys);
	free(s->held);
	free(s->dead);
	secmem_wipe(s->frame, sizeof(s->frame));
	free(s);
}

static void
make_key(void)
{
	once_error = -pthread_key_create(&scratch_of_thread, scratch_free);
}

struct scratch *
scratch_get(void)
{
	pthread_once(&once, make_key);
	if (once_error)
		return NULL;

	struct scratch *s = pthread_getspecific(scratch_of_thread);

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (s && pthread_setspecific(scratch_of_thread, s)) {
		free(s);
		return NULL;
	}
	return s;
}

/* At least count elements; what is in them is kept. */
static err_t
grow(void **v, size_t *cap, size_t count, size_t element_len)
{
	if (count <= *cap)
		return 0;

	size_t new_cap = *cap * 2 > count ? *cap * 2 : count;
	void *grown = reallocarray(*v, new_cap, element_len);

	if (!grown)
		return -ENOMEM;
	*v = grown;
	*cap = new_cap;
	return 0;
}

err_t
scratch_reserve_sealed(struct scratch *s, size_t len)
{
	if (len <= s->sealed_cap)
		return 0;

	size_t align = len < LARGE_LEN ? SEGSTORE_BLOCK_LEN : HUGE_PAGE_LEN;
	size_t room = (len + 3 * (size_t)SEGSTORE_BLOCK_LEN + align - 1) / align * align;
	uint8_t *wider = aligned_alloc(align, room);

	if (!wider)
		return -ENOMEM;
	if (align == HUGE_PAGE_LEN)
		(void)madvise(wider, room, MADV_HUGEPAGE);
	free(s->sealed);
	s->sealed = wider;
	s->sealed_cap = room - 3 * (size_t)SEGSTORE_BLOCK_LEN;
	return 0;
}

err_t
scratch_reserve_pieces(struct scratch *s, size_t count)
{
	void *v = s->pieces;
	err_t e = grow(&v, &s->piece_cap, count, sizeof(*s->pieces));

	s->pieces = v;
	return e;
}

err_t
scratch_reserve_keys(struct scratch *s, size_t count)
{
	void *v = s->keys;
	err_t e = grow(&v, &s->key_cap, count, sizeof(*s->keys));

	s->keys = v;
	return e;
}

err_t
scratch_reserve_held(struct scratch *s, size_t count)
{
	void *v = s->held;
	err_t e = grow(&v, &s->held_cap, count, sizeof(*s->held));

	s->held = v;
	return e;
}

err_t
scratch_reserve_dead(struct scratch *s, size_t count)
{
	void *v = s->dead;
	err_t e = grow(&v, &s->dead_cap, count, sizeof(*s->dead));

	s->dead = v;
	return e;
}
