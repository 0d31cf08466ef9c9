/*
 * store.h: what an object store can do: opaque objects under names, and one conditional create.
 *
 * Names: 1 to 200 bytes of [a-z0-9/.-], no empty or dot-only component (else -EINVAL).  Objects are written whole,
 * never changed, only deleted.  Every function may be called from any thread at once, may block on the network, and must
 * not be called with a lock held that a file operation wants.
 *
 * Errors, the same for every kind of store:
 *   -ENOENT        no such object (in a store that is there; a bucket that is missing is -EACCES)
 *   -EEXIST        create_if_absent: somebody has created it (perhaps this very call's first try: read it back)
 *   -EACCES        the store refuses us (credentials, permissions, read-only)
 *   -ENOSPC        the store is full
 *   -EAGAIN        not now (unreachable, overloaded, timed out, 5xx): trying again is sensible
 *   -ENOTSUP       this store cannot do conditional creates
 *   -EBADMSG       the answer is not what was asked for (wrong length, broken protocol)
 *   -ENOMEM, -EINVAL, -EIO, -ECANCELED (store_cancel)
 * store_explain() has the sentence for people.
 */
#ifndef SNUGFS_STORE_H
#define SNUGFS_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"

#define STORE_NAME_MAX 200

struct limit;
struct store;

/* Called once for each object that list finds; a non-zero return ends the listing and is handed on. */
typedef err_t store_list_fn(void *ctx, const char *name, uint64_t size);
struct store_item {
	const char *name;
	uint64_t size;
	int64_t time_s; /* when it was written, as the store says, in seconds since 1970; 0: it does not say */
};
typedef err_t store_item_fn(void *ctx, const struct store_item *item);

struct store_ops {
	/* Durable when it returns 0; replaces nothing silently: an existing object of that name is overwritten whole. */
	err_t (*put)(struct store *s, const char *name, const uint8_t *data, size_t len);
	/* May be NULL.  The same; sha256 is that of data, and goes along: a service that gets other bytes refuses them (-EAGAIN). */
	err_t (*put_hashed)(struct store *s, const char *name, const uint8_t *data, size_t len, const uint8_t sha256[static 32]);
	/* Durable when it returns 0; exactly one of several racing callers gets 0, the others -EEXIST. */
	err_t (*create_if_absent)(struct store *s, const char *name, const uint8_t *data, size_t len);
	/* The whole object, appended to out; larger than max_len: -EBADMSG. */
	err_t (*get)(struct store *s, const char *name, size_t max_len, struct bytes *out);
	/* Just len bytes from off, appended to out; fewer there: -EBADMSG. */
	err_t (*get_range)(struct store *s, const char *name, uint64_t off, size_t len, struct bytes *out);
	err_t (*size)(struct store *s, const char *name, uint64_t *size_out);
	/* Deleting what is not there is no error. */
	err_t (*remove)(struct store *s, const char *name);
	/* Every object whose name begins with prefix, in no order.  Only for joining, gc, verify: never for coordination. */
	err_t (*list)(struct store *s, const char *prefix, store_item_fn *fn, void *ctx);
	/* Free and total bytes of the store if it knows; else -ENOTSUP. */
	err_t (*space)(struct store *s, uint64_t *free_out, uint64_t *total_out);
	void (*free)(struct store *s);

	/* The rest may be NULL; store_cancel and the others below say what it is for. */
	void (*cancel)(struct store *s, bool cancelled);
	bool (*explain)(const struct store *s, err_t err, char *out, size_t out_len); /* false: nothing to add */
	unsigned (*wait_ms)(struct store *s);
	err_t (*clock_skew)(struct store *s, int64_t *seconds_out);
};

/* What was asked of a store so far, successful or not; what is tried several times counts once. */
enum store_call { STORE_CALL_PUT, STORE_CALL_CREATE, STORE_CALL_GET, STORE_CALL_SIZE, STORE_CALL_REMOVE, STORE_CALL_LIST };
#define STORE_CALL_KINDS 6

/* An implementation embeds this first, zeroed. */
struct store {
	const struct store_ops *ops;
	char *url; /* as a person would type it again, without credentials */
	atomic_uint_least64_t calls[STORE_CALL_KINDS];
	struct limit *limit; /* limit.h; of a store that store_open made, else NULL; store_free frees it */
};

/*
 * Opens by URL: "dir:/path", a plain path (absolute, or starting with ./, ../ or ~/), "s3:https://…" (s3_address.h).
 * create: make what can be made (the directory, the bucket).  -EINVAL: not a URL of a known kind; -ENOENT: it is not there;
 * -ENOTDIR, -EACCES, -EROFS: as they say.  why_out (may be NULL, else a malloc'ed sentence on failure).
 * A directory is looked for; of a service nothing is asked unless create is set, so that opening never waits for a network.
 */
MUST_CHECK err_t store_open(const char *url, bool create, struct store **out, char **why_out);

/* Of an S3 service; copied into secret memory. */
struct store_credentials {
	const char *access_key;
	const char *secret_key;
	const char *session_token; /* NULL: none */
};
/* Zero is the default. */
struct store_options {
	const struct store_credentials *credentials; /* NULL: from the usual places (s3_credentials.h) */
	unsigned connect_timeout_s;
	unsigned stall_timeout_s; /* so long nothing moves, then it is -EAGAIN */
	struct limit *limit;      /* store_open_with's own */
};
MUST_CHECK err_t store_open_with(const char *url, bool create, const struct store_options *options, struct store **out,
    char **why_out);

/*
 * The one way to write the same URL (its path made absolute), malloc'ed; -EINVAL if it is no URL of a known kind: then
 * *why_out (why_out may be NULL) is a malloc'ed sentence.  A URL that was refused may have a password in it: do not show it.
 */
MUST_CHECK err_t store_url_normalize(const char *url, char **out, char **why_out);
/* Is it a service on another computer?  A directory is none, wherever its disk may be. */
bool store_uses_network(const char *url);
void store_free(struct store *s);
void store_free_ptr(struct store **s);

MUST_CHECK err_t store_put(struct store *s, const char *name, const uint8_t *data, size_t len);
/*
 * The same for who knows the SHA-256 of data already: a store that sends a hash along does not make it once more.  -EBADMSG, also:
 * the store did not take it, and data has another hash.
 */
MUST_CHECK err_t store_put_hashed(struct store *s, const char *name, const uint8_t *data, size_t len,
    const uint8_t sha256[static 32]);
MUST_CHECK err_t store_create_if_absent(struct store *s, const char *name, const uint8_t *data, size_t len);
MUST_CHECK err_t store_get(struct store *s, const char *name, size_t max_len, struct bytes *out);
MUST_CHECK err_t store_get_range(struct store *s, const char *name, uint64_t off, size_t len, struct bytes *out);
MUST_CHECK err_t store_size(struct store *s, const char *name, uint64_t *size_out);
MUST_CHECK err_t store_remove(struct store *s, const char *name);
MUST_CHECK err_t store_list(struct store *s, const char *prefix, store_list_fn *fn, void *ctx);
/* The same, with times. */
MUST_CHECK err_t store_list_items(struct store *s, const char *prefix, store_item_fn *fn, void *ctx);
MUST_CHECK err_t store_space(struct store *s, uint64_t *free_out, uint64_t *total_out);

/* true: calls that are under way and those to come end with -ECANCELED as soon as they can; false: no longer.  A store that
 * never waits for a network may ignore it. */
void store_cancel(struct store *s, bool cancelled);
/* At most so many bytes a second, of all calls together; 0: no limit.  Also for what is under way. */
void store_set_rates(struct store *s, uint64_t up, uint64_t down);
/* What has passed so far, and the bytes a second lately. */
struct store_traffic {
	uint64_t up, down;
	uint64_t up_per_s, down_per_s;
};
void store_get_traffic(struct store *s, struct store_traffic *out);
/* As many as there are kinds. */
void store_get_calls(const struct store *s, uint64_t out[static STORE_CALL_KINDS]);
/* How long the store asked to be left alone (Retry-After); 0: it did not. */
unsigned store_wait_ms(struct store *s);
/* How far the store's clock is ahead of ours, as of its last answer; -ENOTSUP: it has shown none. */
MUST_CHECK err_t store_clock_skew(struct store *s, int64_t *seconds_out);

/* A sentence without a full stop for what an error of a store means, naming the store: "the store dir:/x is full". */
void store_explain(const struct store *s, err_t err, char *out, size_t out_len);

/* For implementations. */
bool store_name_valid(const char *name);
/* Sets *why_out, unless why_out is NULL, to a malloc'ed sentence (to NULL if memory is short). */
__attribute__((format(printf, 2, 3))) void store_say(char **why_out, const char *fmt, ...);

#endif
