/*
 * image.h: a file's bytes in memory, page by page, holes left out; and the small random numbers that all of these tests use.
 */
#ifndef CRASH_IMAGE_H
#define CRASH_IMAGE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What can only fail through a defect, or if the machine is out of something: then the test can say nothing more. */
#define MUST(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, \
	strerror(errno)); abort(); } } while (0)

#define IMAGE_PAGE 4096u

struct image {
	uint8_t **pages; /* NULL: zeros */
	size_t count;
	uint64_t size;
};
void image_clear(struct image *im);
void image_copy(const struct image *from, struct image *to);
void image_write(struct image *im, uint64_t off, const uint8_t *data, uint64_t len);
void image_punch(struct image *im, uint64_t off, uint64_t len);
void image_truncate(struct image *im, uint64_t size);
void image_load(struct image *im, const char *path);
void image_store(const struct image *im, int fd); /* into an empty file */

/* The same seed gives the same numbers everywhere (splitmix64). */
struct rng {
	uint64_t state;
};
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* n > 0 */
bool rng_chance(struct rng *r, unsigned percent);
void rng_fill(struct rng *r, uint8_t *out, size_t len);

/* Not a cryptographic hash: it tells states of a tree apart. */
uint64_t mix(uint64_t h, uint64_t v);
uint64_t mix_bytes(uint64_t h, const void *data, size_t len);

/* Grows an array to hold one more; a test that runs out of memory ends. */
void *grown(void *v, size_t *cap, size_t count, size_t size);

#endif
