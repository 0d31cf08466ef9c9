/* image.c: sparse files in memory, and numbers. */
#include "image.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void *
grown(void *v, size_t *cap, size_t count, size_t size)
{
	if (count < *cap)
		return v;
	*cap = *cap ? 2 * *cap : 64;
	v = reallocarray(v, *cap, size);
	MUST(v);
	return v;
}

void
image_clear(struct image *im)
{
	for (size_t k = 0; k < im->count; k++)
		free(im->pages[k]);
	free(im->pages);
	*im = (struct image){0};
}

static void
reserve(struct image *im, uint64_t size)
{
	size_t count = (size_t)((size + IMAGE_PAGE - 1) / IMAGE_PAGE);

	if (count <= im->count)
		return;
	im->pages = reallocarray(im->pages, count, sizeof(*im->pages));
	MUST(im->pages);
	memset(im->pages + im->count, 0, (count - im->count) * sizeof(*im->pages));
	im->count = count;
}

void
image_copy(const struct image *from, struct image *to)
{
	*to = (struct image){0};
	reserve(to, from->size);
	to->size = from->size;
	for (size_t k = 0; k < to->count; k++)
		if (from->pages[k])
			image_write(to, (uint64_t)k * IMAGE_PAGE, from->pages[k], IMAGE_PAGE);
	to->size = from->size;
}

void
image_write(struct image *im, uint64_t off, const uint8_t *data, uint64_t len)
{
	reserve(im, off + len);
	if (im->size < off + len)
		im->size = off + len;
	while (len > 0) {
		uint8_t **page = &im->pages[off / IMAGE_PAGE];
		size_t at = (size_t)(off % IMAGE_PAGE);
		size_t n = len < IMAGE_PAGE - at ? (size_t)len : IMAGE_PAGE - at;

		if (!*page) {
			*page = calloc(1, IMAGE_PAGE);
			MUST(*page);
		}
		memcpy(*page + at, data, n);
		off += n;
		data += n;
		len -= n;
	}
}

void
image_punch(struct image *im, uint64_t off, uint64_t len)
{
	uint64_t end = off + len < im->size ? off + len : im->size;

	while (off < end) {
		size_t at = (size_t)(off % IMAGE_PAGE);
		size_t n = end - off < IMAGE_PAGE - at ? (size_t)(end - off) : IMAGE_PAGE - at;
		uint8_t **page = &im->pages[off / IMAGE_PAGE];

		if (n == IMAGE_PAGE) {
			free(*page);
			*page = NULL;
		} else if (*page) {
			memset(*page + at, 0, n);
		}
		off += n;
	}
}

void
image_truncate(struct image *im, uint64_t size)
{
	if (size < im->size)
		image_punch(im, size, im->size - size);
	reserve(im, size);
	im->size = size;
}

void
image_load(struct image *im, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t page[IMAGE_PAGE];
	struct stat st;

	MUST(fd >= 0 && !fstat(fd, &st));
	*im = (struct image){0};
	image_truncate(im, (uint64_t)st.st_size);
	for (off_t off = 0; (off = lseek(fd, off, SEEK_DATA)) >= 0; off += IMAGE_PAGE) {
		off -= off % (off_t)IMAGE_PAGE;

		ssize_t n = pread(fd, page, sizeof(page), off);

		MUST(n > 0);
		image_write(im, (uint64_t)off, page, (uint64_t)n);
	}
	close(fd);
}

void
image_store(const struct image *im, int fd)
{
	MUST(!ftruncate(fd, (off_t)im->size));
	for (size_t k = 0; k < im->count; k++) {
		uint64_t off = (uint64_t)k * IMAGE_PAGE;
		size_t n = im->size > off && im->size - off < IMAGE_PAGE ? (size_t)(im->size - off) : IMAGE_PAGE;

		if (im->pages[k] && off < im->size)
			MUST(pwrite(fd, im->pages[k], n, (off_t)off) == (ssize_t)n);
	}
}

uint64_t
rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t
rng_below(struct rng *r, uint64_t n)
{
	assert(n > 0);
	return rng_next(r) % n;
}

bool
rng_chance(struct rng *r, unsigned percent)
{
	return rng_below(r, 100) < percent;
}

void
rng_fill(struct rng *r, uint8_t *out, size_t len)
{
	while (len > 0) {
		uint64_t v = rng_next(r);
		size_t n = len < sizeof(v) ? len : sizeof(v);

		memcpy(out, &v, n);
		out += n;
		len -= n;
	}
}

uint64_t
mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ (h >> 29);
}

uint64_t
mix_bytes(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t v;

	h = mix(h, len);
	for (; len >= sizeof(v); p += sizeof(v), len -= sizeof(v)) {
		memcpy(&v, p, sizeof(v));
		h = mix(h, v);
	}
	v = 0;
	memcpy(&v, p, len);
	return mix(h, v);
}
