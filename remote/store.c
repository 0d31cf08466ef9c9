/*
 * store.c: the front of every store: names and URLs are looked at here, before any implementation sees them, and errors
 * become sentences here.
 */
#include "store.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hash.h"
#include "limit.h"
#include "s3_address.h"
#include "store_dir.h"
#include "store_s3.h"

#define NAME_ALPHABET "abcdefghijklmnopqrstuvwxyz0123456789/.-"

bool store_name_valid(const char *name)
{
	size_t len = strnlen(name, STORE_NAME_MAX + 1);

	if (len == 0 || len > STORE_NAME_MAX || strspn(name, NAME_ALPHABET) != len)
		return false;
	for (const char *part = name;;) {
		size_t part_len = strcspn(part, "/");

		/* Holds for the empty component too. */
		if (strspn(part, ".") == part_len)
			return false;
		if (part[part_len] == '\0')
			return true;
		part += part_len + 1;
	}
}

/* A prefix may end anywhere in a name, and is never used as a path. */
static bool prefix_valid(const char *prefix)
{
	size_t len = strnlen(prefix, STORE_NAME_MAX + 1);

	return len <= STORE_NAME_MAX && strspn(prefix, NAME_ALPHABET) == len;
}

void store_say(char **why_out, const char *fmt, ...)
{
	va_list args;

	if (!why_out)
		return;
	va_start(args, fmt);
	if (vasprintf(why_out, fmt, args) < 0)
		*why_out = NULL;
	va_end(args);
}

/*
 * Joins path to base and folds "//", "." and what ".." can take back.  base is a physical path (no links in it), so ".."
 * may be folded into it; a component that was typed could be a link, and a ".." after it has to stay.
 */
static err_t join_path(const char *base, const char *path, char **out)
{
	size_t base_len = strcmp(base, "/") == 0 ? 0 : strlen(base);
	size_t len = base_len;
	CLEANUP(free_ptr) char *joined = malloc(base_len + strlen(path) + 2);

	if (!joined)
		return -ENOMEM;
	memcpy(joined, base, base_len);
	for (const char *part = path; *part != '\0'; part += strspn(part, "/")) {
		size_t part_len = strcspn(part, "/");
		bool up = part_len == 2 && part[0] == '.' && part[1] == '.';

		if (up && len == base_len) {
			while (len > 0 && joined[--len] != '/')
				;
			base_len = len;
		} else if (part_len > 0 && !(part_len == 1 && part[0] == '.')) {
			joined[len++] = '/';
			memcpy(joined + len, part, part_len);
			len += part_len;
		}
		part += part_len;
	}
	if (len == 0)
		joined[len++] = '/';
	joined[len] = '\0';
	*out = STEAL(joined);
	return 0;
}

static err_t absolute_path(const char *path, char **out, char **why_out)
{
	char cwd[PATH_MAX];

	if (path[0] == '/')
		return join_path("/", path, out);
	if (path[0] == '~' && path[1] == '/') {
		/* No shell expands it behind "dir:", and nobody means a folder named "~". */
		const char *home = getenv("HOME");
		CLEANUP(free_ptr) char *expanded = NULL;

		if (!home || home[0] != '/') {
			store_say(why_out, "%s cannot be resolved because HOME is not set; give the whole path", path);
			return -EINVAL;
		}
		if (asprintf(&expanded, "%s%s", home, path + 1) < 0) {
			expanded = NULL;
			return -ENOMEM;
		}
		return join_path("/", expanded, out);
	}
	if (!getcwd(cwd, sizeof(cwd))) {
		store_say(why_out, "%s is relative to a working directory that cannot be found; give the whole path", path);
		return -EINVAL;
	}
	return join_path(cwd, path, out);
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool has_control_characters(const char *s)
{
	for (; *s != '\0'; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	}
	return false;
}

/* The absolute path that a URL of a directory means. */
static err_t url_to_path(const char *url, char **path_out, char **why_out)
{
	if (starts_with(url, "dir:") && url[strlen("dir:")] != '\0')
		return absolute_path(url + strlen("dir:"), path_out, why_out);
	if (starts_with(url, "/") || starts_with(url, "./") || starts_with(url, "../") || starts_with(url, "~/"))
		return absolute_path(url, path_out, why_out);
	if (url[0] == '\0' || starts_with(url, "dir:"))
		store_say(why_out, "the address of the store is empty; give a directory, dir:/path, or a bucket, "
		    "s3:https://host/bucket");
	else if (strstr(url, "://"))
		store_say(why_out, "the address of a store at a service begins with s3: before https://host/bucket");
	else if (strchr(url, ':'))
		store_say(why_out, "%s is not the address of a store that is known here; give a directory, dir:/path, or a bucket, "
		    "s3:https://host/bucket", url);
	else
		store_say(why_out, "%s could be a folder or a service; write ./%s if it is a folder", url, url);
	return -EINVAL;
}

static err_t check_url(const char *url, char **why_out)
{
	if (!has_control_characters(url))
		return 0;
	store_say(why_out, "the address of the store has control characters in it; type it anew");
	return -EINVAL;
}

static err_t normalize_s3(const char *url, char **out, char **why_out)
{
	struct s3_address address;
	err_t err = s3_address_parse(url, &address, why_out);

	return err ? err : s3_address_format(&address, out);
}

bool store_uses_network(const char *url)
{
	struct s3_address address;

	return starts_with(url, S3_SCHEME) && s3_address_parse(url, &address, NULL) == 0 && !address.loopback;
}

err_t store_url_normalize(const char *url, char **out, char **why_out)
{
	CLEANUP(free_ptr) char *path = NULL;
	char *normal = NULL;
	err_t err;

	if (why_out)
		*why_out = NULL;
	err = check_url(url, why_out);
	if (err == 0 && starts_with(url, S3_SCHEME))
		return normalize_s3(url, out, why_out);
	if (err == 0)
		err = url_to_path(url, &path, why_out);
	if (err)
		return err;
	if (asprintf(&normal, "dir:%s", path) < 0)
		return -ENOMEM;
	*out = normal;
	return 0;
}

static err_t open_kind(const char *url, bool create, const struct store_options *options, struct store **out,
    char **why_out)
{
	CLEANUP(free_ptr) char *path = NULL;
	err_t err = check_url(url, why_out);

	if (err == 0 && starts_with(url, S3_SCHEME))
		return store_s3_open(url, create, options, out, why_out);
	if (err == 0)
		err = url_to_path(url, &path, why_out);
	if (err)
		return err;
	return store_dir_open(path, create, out, why_out);
}

err_t store_open_with(const char *url, bool create, const struct store_options *options, struct store **out,
    char **why_out)
{
	struct store_options with = *options;
	err_t err;

	if (why_out)
		*why_out = NULL;
	err = limit_new(&with.limit);
	if (err)
		return err;
	err = open_kind(url, create, &with, out, why_out);
	if (err)
		limit_free(with.limit);
	else
		(*out)->limit = with.limit;
	return err;
}

err_t store_open(const char *url, bool create, struct store **out, char **why_out)
{
	const struct store_options none = {0};

	return store_open_with(url, create, &none, out, why_out);
}

void store_free(struct store *s)
{
	struct limit *limit = s ? s->limit : NULL;

	if (s)
		s->ops->free(s);
	limit_free(limit);
}

void store_free_ptr(struct store **s)
{
	store_free(*s);
}

static struct store *counted(struct store *s, enum store_call kind)
{
	atomic_fetch_add_explicit(&s->calls[kind], 1, memory_order_relaxed);
	return s;
}

void store_get_calls(const struct store *s, uint64_t out[static STORE_CALL_KINDS])
{
	for (int i = 0; i < STORE_CALL_KINDS; i++)
		out[i] = atomic_load_explicit(&s->calls[i], memory_order_relaxed);
}

err_t store_put(struct store *s, const char *name, const uint8_t *data, size_t len)
{
	return store_name_valid(name) ? counted(s, STORE_CALL_PUT)->ops->put(s, name, data, len) : -EINVAL;
}

err_t store_put_hashed(struct store *s, const char *name, const uint8_t *data, size_t len, const uint8_t sha256[static 32])
{
	uint8_t hash[HASH_LEN];
	err_t err;

	if (!s->ops->put_hashed)
		return store_put(s, name, data, len);
	if (!store_name_valid(name))
		return -EINVAL;
	err = counted(s, STORE_CALL_PUT)->ops->put_hashed(s, name, data, len, sha256);
	/* Asking again would not help. */
	if (err == -EAGAIN && hash_sha256(data, len, hash) == 0 && memcmp(hash, sha256, sizeof(hash)) != 0)
		return -EBADMSG;
	return err;
}

err_t store_create_if_absent(struct store *s, const char *name, const uint8_t *data, size_t len)
{
	return store_name_valid(name) ? counted(s, STORE_CALL_CREATE)->ops->create_if_absent(s, name, data, len) : -EINVAL;
}

err_t store_get(struct store *s, const char *name, size_t max_len, struct bytes *out)
{
	return store_name_valid(name) ? counted(s, STORE_CALL_GET)->ops->get(s, name, max_len, out) : -EINVAL;
}

err_t store_get_range(struct store *s, const char *name, uint64_t off, size_t len, struct bytes *out)
{
	return store_name_valid(name) ? counted(s, STORE_CALL_GET)->ops->get_range(s, name, off, len, out) : -EINVAL;
}

err_t store_size(struct store *s, const char *name, uint64_t *size_out)
{
	return store_name_valid(name) ? counted(s, STORE_CALL_SIZE)->ops->size(s, name, size_out) : -EINVAL;
}

err_t store_remove(struct store *s, const char *name)
{
	return store_name_valid(name) ? counted(s, STORE_CALL_REMOVE)->ops->remove(s, name) : -EINVAL;
}

err_t store_list_items(struct store *s, const char *prefix, store_item_fn *fn, void *ctx)
{
	return prefix_valid(prefix) ? counted(s, STORE_CALL_LIST)->ops->list(s, prefix, fn, ctx) : -EINVAL;
}

struct timeless {
	store_list_fn *fn;
	void *ctx;
};

static err_t leave_time_out(void *ctx, const struct store_item *item)
{
	const struct timeless *t = ctx;

	return t->fn(t->ctx, item->name, item->size);
}

err_t store_list(struct store *s, const char *prefix, store_list_fn *fn, void *ctx)
{
	struct timeless t = {fn, ctx};

	return store_list_items(s, prefix, leave_time_out, &t);
}

err_t store_space(struct store *s, uint64_t *free_out, uint64_t *total_out)
{
	return s->ops->space(s, free_out, total_out);
}

void store_cancel(struct store *s, bool cancelled)
{
	limit_cancel(s->limit, cancelled);
	if (s->ops->cancel)
		s->ops->cancel(s, cancelled);
}

void store_set_rates(struct store *s, uint64_t up, uint64_t down)
{
	limit_set(s->limit, LIMIT_UP, up);
	limit_set(s->limit, LIMIT_DOWN, down);
}

void store_get_traffic(struct store *s, struct store_traffic *out)
{
	*out = (struct store_traffic){
		.up = limit_total(s->limit, LIMIT_UP),
		.down = limit_total(s->limit, LIMIT_DOWN),
		.up_per_s = limit_speed(s->limit, LIMIT_UP),
		.down_per_s = limit_speed(s->limit, LIMIT_DOWN),
	};
}

unsigned store_wait_ms(struct store *s)
{
	return s->ops->wait_ms ? s->ops->wait_ms(s) : 0;
}

err_t store_clock_skew(struct store *s, int64_t *seconds_out)
{
	return s->ops->clock_skew ? s->ops->clock_skew(s, seconds_out) : -ENOTSUP;
}

void store_explain(const struct store *s, err_t err, char *out, size_t out_len)
{
	const char *what;

	if (s->ops->explain && s->ops->explain(s, err, out, out_len))
		return;
	switch (err) {
	case -ENOENT:
		what = "lacks something that should be in it; see whether files were deleted there";
		break;
	case -EEXIST:
		what = "already holds something else in that place";
		break;
	case -EACCES:
	case -EROFS:
		what = "refuses access; see who owns it and whether it is read-only";
		break;
	case -ENOSPC:
		what = "is full; make room there, nothing is lost meanwhile";
		break;
	case -EAGAIN:
		what = "cannot be reached; see whether its disk is mounted and the network is up";
		break;
	case -ENOTSUP:
		what = "cannot create an object only if it is absent, so devices could not share it; use another store";
		break;
	case -EBADMSG:
		what = "answered with something other than what was stored there; see whether files were changed there";
		break;
	case -EPROTO:
		what = "is of a version that is unknown here; install the newest snugfs";
		break;
	case -EINVAL:
		what = "was asked for an object that cannot exist, which is a defect of snugfs";
		break;
	case -ECANCELED:
		what = "was not waited for, because the program is stopping";
		break;
	case -EIO:
		what = "had an error while reading or writing; see whether its disk is healthy";
		break;
	default:
		(void)snprintf(out, out_len, "the store %s failed: %s", s->url, strerror(-err));
		return;
	}
	(void)snprintf(out, out_len, "the store %s %s", s->url, what);
}
