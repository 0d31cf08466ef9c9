/*
 * store_fault.c: the store that lies.  Each call asks the rules once, under the lock, what to do; the inner store is called
 * without it.
 */
#include "store_fault.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"

#define OP_COUNT 7

struct rule {
	struct store_fault_rule asked; /* its strings are the two below */
	char prefix[STORE_NAME_MAX + 1];
	char other[STORE_NAME_MAX + 1];
	unsigned passed; /* matching calls that were let through because of `skip` */
	unsigned struck;
};

struct store_fault {
	struct store base;
	struct store *inner;
	pthread_mutex_t lock; /* guards all below */
	struct drand48_data random;
	struct rule *rules;
	size_t rule_count;
	uint64_t calls[OP_COUNT];
};

/* What this one call has to do. */
struct verdict {
	enum store_fault_kind kind;
	err_t error;
	uint64_t arg;
	char other[STORE_NAME_MAX + 1];
};

static struct store_fault *from_base(struct store *s)
{
	return (struct store_fault *)s;
}

/* The operations that a kind of fault means something for. */
static unsigned ops_of_kind(enum store_fault_kind kind)
{
	switch (kind) {
	case STORE_FAULT_NONE:
	case STORE_FAULT_BEFORE:
	case STORE_FAULT_AFTER:
	case STORE_FAULT_TWICE:
		return STORE_OP_ALL;
	case STORE_FAULT_FLIP:
	case STORE_FAULT_TRUNCATE:
		return STORE_OP_GET | STORE_OP_GET_RANGE;
	case STORE_FAULT_STALE:
		return STORE_OP_GET;
	case STORE_FAULT_VANISH:
		return STORE_OP_PUT | STORE_OP_CREATE | STORE_OP_GET | STORE_OP_GET_RANGE | STORE_OP_SIZE;
	}
	return 0;
}

/* Under the lock. */
static bool rule_strikes(struct store_fault *f, struct rule *r, enum store_fault_op op, const char *name)
{
	long drawn = 0;

	if (!(r->asked.ops & ops_of_kind(r->asked.kind) & op) || strncmp(name, r->prefix, strlen(r->prefix)) != 0)
		return false;
	if (r->passed < r->asked.skip) {
		r->passed++;
		return false;
	}
	if (r->asked.count > 0 && r->struck >= r->asked.count)
		return false;
	if (r->asked.percent > 0) {
		(void)lrand48_r(&f->random, &drawn);
		if (drawn % 100 >= (long)r->asked.percent)
			return false;
	}
	r->struck++;
	return true;
}

/* The first rule that strikes is the one that counts. */
static struct verdict judge(struct store *s, enum store_fault_op op, const char *name)
{
	struct store_fault *f = from_base(s);
	struct verdict v = {.kind = STORE_FAULT_NONE};

	pthread_mutex_lock(&f->lock);
	f->calls[__builtin_ctz(op)]++;
	for (size_t i = 0; i < f->rule_count; i++) {
		struct rule *r = &f->rules[i];

		if (!rule_strikes(f, r, op, name))
			continue;
		v.kind = r->asked.kind;
		v.error = r->asked.error;
		v.arg = r->asked.arg;
		memcpy(v.other, r->other, sizeof(v.other));
		break;
	}
	pthread_mutex_unlock(&f->lock);
	return v;
}

typedef err_t write_fn(struct store *s, const char *name, const uint8_t *data, size_t len);

static err_t faulty_write(struct store *s, enum store_fault_op op, write_fn *write, const char *name,
    const uint8_t *data, size_t len)
{
	struct store *inner = from_base(s)->inner;
	struct verdict v = judge(s, op, name);
	err_t err;

	if (v.kind == STORE_FAULT_BEFORE)
		return v.error;
	if (v.kind == STORE_FAULT_VANISH)
		return 0;
	err = write(inner, name, data, len);
	if (v.kind == STORE_FAULT_AFTER)
		return v.error;
	return v.kind == STORE_FAULT_TWICE ? write(inner, name, data, len) : err;
}

static err_t fault_put(struct store *s, const char *name, const uint8_t *data, size_t len)
{
	return faulty_write(s, STORE_OP_PUT, store_put, name, data, len);
}

/* As a service does that hashes what it gets. */
static err_t fault_put_hashed(struct store *s, const char *name, const uint8_t *data, size_t len,
    const uint8_t sha256[static 32])
{
	uint8_t got[HASH_LEN];
	err_t err = hash_sha256(data, len, got);

	if (err == 0 && memcmp(got, sha256, sizeof(got)) != 0)
		err = -EAGAIN;
	return err ? err : fault_put(s, name, data, len);
}

static err_t fault_create_if_absent(struct store *s, const char *name, const uint8_t *data, size_t len)
{
	return faulty_write(s, STORE_OP_CREATE, store_create_if_absent, name, data, len);
}

/* The part of a read that differs between get and get_range. */
struct request {
	enum store_fault_op op;
	uint64_t off;
	size_t len; /* of get: the most that may come */
};

static err_t ask_inner(struct store *inner, const struct request *req, const char *name, struct bytes *out)
{
	if (req->op == STORE_OP_GET)
		return store_get(inner, name, req->len, out);
	return store_get_range(inner, name, req->off, req->len, out);
}

/* The answer is made in a buffer of its own, so that `out` stays as it was if an error is answered. */
static err_t faulty_read(struct store *s, const struct request *req, const char *name, struct bytes *out)
{
	struct store *inner = from_base(s)->inner;
	struct verdict v = judge(s, req->op, name);
	CLEANUP(bytes_clear) struct bytes answer = {0};
	err_t err;

	if (v.kind == STORE_FAULT_BEFORE)
		return v.error;
	if (v.kind == STORE_FAULT_VANISH)
		return -ENOENT;
	err = ask_inner(inner, req, v.kind == STORE_FAULT_STALE ? v.other : name, &answer);
	if (v.kind == STORE_FAULT_AFTER)
		return v.error;
	if (v.kind == STORE_FAULT_TWICE) {
		bytes_reset(&answer);
		err = ask_inner(inner, req, name, &answer);
	}
	if (err)
		return err;
	if (v.kind == STORE_FAULT_FLIP && answer.len > 0) {
		uint64_t bit = v.arg % ((uint64_t)answer.len * 8);
		answer.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	if (v.kind == STORE_FAULT_TRUNCATE && v.arg < answer.len)
		answer.len = (size_t)v.arg;
	return answer.len > 0 ? bytes_append(out, answer.data, answer.len) : 0;
}

static err_t fault_get(struct store *s, const char *name, size_t max_len, struct bytes *out)
{
	const struct request req = {.op = STORE_OP_GET, .len = max_len};

	return faulty_read(s, &req, name, out);
}

static err_t fault_get_range(struct store *s, const char *name, uint64_t off, size_t len, struct bytes *out)
{
	const struct request req = {.op = STORE_OP_GET_RANGE, .off = off, .len = len};

	return faulty_read(s, &req, name, out);
}

static err_t fault_size(struct store *s, const char *name, uint64_t *size_out)
{
	struct verdict v = judge(s, STORE_OP_SIZE, name);
	uint64_t size = 0;
	err_t err;

	if (v.kind == STORE_FAULT_BEFORE)
		return v.error;
	if (v.kind == STORE_FAULT_VANISH)
		return -ENOENT;
	err = store_size(from_base(s)->inner, name, &size);
	if (v.kind == STORE_FAULT_AFTER)
		return v.error;
	if (v.kind == STORE_FAULT_TWICE)
		err = store_size(from_base(s)->inner, name, &size);
	if (err == 0)
		*size_out = size;
	return err;
}

static err_t fault_remove(struct store *s, const char *name)
{
	struct verdict v = judge(s, STORE_OP_REMOVE, name);
	err_t err;

	if (v.kind == STORE_FAULT_BEFORE)
		return v.error;
	err = store_remove(from_base(s)->inner, name);
	if (v.kind == STORE_FAULT_AFTER)
		return v.error;
	return v.kind == STORE_FAULT_TWICE ? store_remove(from_base(s)->inner, name) : err;
}

static err_t ignore_object(void *ctx, const struct store_item *item)
{
	(void)ctx;
	(void)item;
	return 0;
}

static err_t fault_list(struct store *s, const char *prefix, store_item_fn *fn, void *ctx)
{
	struct store *inner = from_base(s)->inner;
	struct verdict v = judge(s, STORE_OP_LIST, prefix);

	if (v.kind == STORE_FAULT_BEFORE)
		return v.error;
	if (v.kind == STORE_FAULT_AFTER || v.kind == STORE_FAULT_TWICE) {
		err_t err = store_list_items(inner, prefix, ignore_object, NULL);
		if (v.kind == STORE_FAULT_AFTER)
			return v.error;
		if (err)
			return err;
	}
	return store_list_items(inner, prefix, fn, ctx);
}

static err_t fault_space(struct store *s, uint64_t *free_out, uint64_t *total_out)
{
	return store_space(from_base(s)->inner, free_out, total_out);
}

static void fault_free(struct store *s)
{
	struct store_fault *f = from_base(s);

	store_free(f->inner);
	pthread_mutex_destroy(&f->lock);
	free(f->rules);
	free(f->base.url);
	free(f);
}

static const struct store_ops fault_ops = {
	.put = fault_put,
	.put_hashed = fault_put_hashed,
	.create_if_absent = fault_create_if_absent,
	.get = fault_get,
	.get_range = fault_get_range,
	.size = fault_size,
	.remove = fault_remove,
	.list = fault_list,
	.space = fault_space,
	.free = fault_free,
};

err_t store_fault_new(struct store *inner, uint64_t seed, struct store **out)
{
	CLEANUP(free_ptr) struct store_fault *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->base.ops = &fault_ops;
	f->base.url = strdup(inner->url);
	if (!f->base.url)
		return -ENOMEM;
	f->inner = inner;
	pthread_mutex_init(&f->lock, NULL);
	(void)srand48_r((long)seed, &f->random);
	*out = &STEAL(f)->base;
	return 0;
}

static err_t copy_name(char out[static STORE_NAME_MAX + 1], const char *name)
{
	size_t len = name ? strlen(name) : 0;

	if (len > STORE_NAME_MAX)
		return -EINVAL;
	if (len > 0)
		memcpy(out, name, len);
	out[len] = '\0';
	return 0;
}

err_t store_fault_set(struct store *s, const struct store_fault_rule *rules, size_t count)
{
	struct store_fault *f = from_base(s);
	CLEANUP(free_ptr) struct rule *fresh = calloc(count > 0 ? count : 1, sizeof(*fresh));
	struct rule *old;

	if (!fresh)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		err_t err = copy_name(fresh[i].prefix, rules[i].prefix);

		if (err == 0)
			err = copy_name(fresh[i].other, rules[i].other);
		if (err)
			return err;
		fresh[i].asked = rules[i];
	}
	pthread_mutex_lock(&f->lock);
	old = f->rules;
	f->rules = STEAL(fresh);
	f->rule_count = count;
	pthread_mutex_unlock(&f->lock);
	free(old);
	return 0;
}

uint64_t store_fault_calls(struct store *s, unsigned ops)
{
	struct store_fault *f = from_base(s);
	uint64_t sum = 0;

	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < OP_COUNT; i++) {
		if (ops & (1u << i))
			sum += f->calls[i];
	}
	pthread_mutex_unlock(&f->lock);
	return sum;
}
