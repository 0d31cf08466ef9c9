/*
 * chain.c: which object lies under which name, how often something is tried, and who has won.  Everything that comes from
 * the store here (names, markers) is checked for its form only; what it means is proven above, with keys.
 */
#include "chain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "padme.h"
#include "race.h"
#include "random.h"
#include "retry.h"

#define DEFAULT_TRIES 5
#define PAUSE_FIRST_MS 100
#define PAUSE_LAST_MS 5000

#define MARKER_NAME "v"
#define MARKER_VERSION 1
#define MARKER_KIND 5
#define MARKER_LEN PADME_FLOOR
#define MARKER_MAX (1u << 20) /* what a later version may take, to be told from damage */

#define LIST_MAX 65536 /* far beyond what gc leaves; a store that shows more wants to exhaust us */
#define HEX "0123456789abcdef"
#define DIGITS "0123456789"
#define PROBE_ROUNDS 3
#define PROBE_CONTENDERS 2

struct chain {
	struct store *store; /* borrowed */
	atomic_uint tries;
	_Atomic(const atomic_bool *) stop; /* borrowed, may be NULL */
	atomic_bool alone;
};

err_t chain_new(struct store *store, struct chain **out)
{
	struct chain *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->store = store;
	atomic_init(&c->tries, DEFAULT_TRIES);
	atomic_init(&c->stop, NULL);
	*out = c;
	return 0;
}

void chain_free(struct chain *c)
{
	free(c);
}

void chain_free_ptr(struct chain **c)
{
	chain_free(*c);
}

struct store *chain_store(struct chain *c)
{
	return c->store;
}

/* ---- trying again ---- */

void chain_set_retry(struct chain *c, unsigned tries, const atomic_bool *stop)
{
	atomic_store(&c->tries, tries > 0 ? tries : 1);
	atomic_store(&c->stop, stop);
}

/* One per call. */
static struct retry begin(struct chain *c)
{
	return (struct retry){.policy = {
		.tries = atomic_load(&c->tries),
		.first_ms = PAUSE_FIRST_MS,
		.last_ms = PAUSE_LAST_MS,
		.stop = atomic_load(&c->stop),
	}};
}

/* For the end of a loop: is *err worth another try, and may there be one?  If not, *err is the outcome. */
static bool again(struct chain *c, struct retry *r, err_t *err)
{
	return retry_again(r, c->store, err);
}

static err_t put(struct chain *c, const char *name, const uint8_t *object, size_t len)
{
	struct retry r = begin(c);
	err_t err;

	do {
		err = store_put(c->store, name, object, len);
	} while (again(c, &r, &err));
	return err;
}

static err_t get(struct chain *c, const char *name, size_t max_len, struct bytes *out)
{
	struct retry r = begin(c);
	err_t err;

	do {
		err = store_get(c->store, name, max_len, out);
	} while (again(c, &r, &err));
	return err;
}

void chain_set_alone(struct chain *c, bool alone)
{
	atomic_store(&c->alone, alone);
}

static err_t get_range(struct chain *c, const char *name, uint64_t off, size_t len, struct bytes *out)
{
	struct retry r = begin(c);
	err_t err;

	do {
		err = store_get_range(c->store, name, off, len, out);
	} while (again(c, &r, &err));
	return err;
}

/* One try. */
static err_t create(struct chain *c, const char *name, const uint8_t *object, size_t len)
{
	uint64_t size;
	err_t err = store_create_if_absent(c->store, name, object, len);

	if (err != -ENOTSUP || !atomic_load(&c->alone))
		return err;
	err = store_size(c->store, name, &size);
	if (err == -ENOENT)
		return store_put(c->store, name, object, len);
	return err == 0 ? -EEXIST : err;
}

/* ---- names ---- */

static err_t numbered_name(char kind, uint64_t seq, char out[static CHAIN_NAME_MAX])
{
	if (seq > CHAIN_SEQ_MAX)
		return -EINVAL;
	(void)snprintf(out, CHAIN_NAME_MAX, "%c/%012" PRIu64, kind, seq);
	return 0;
}

static void hex_name(const uint8_t name[static SEGMENT_NAME_LEN], char out[static 2 * SEGMENT_NAME_LEN + 1])
{
	for (size_t i = 0; i < SEGMENT_NAME_LEN; i++) {
		out[2 * i] = HEX[name[i] >> 4];
		out[2 * i + 1] = HEX[name[i] & 15];
	}
	out[2 * SEGMENT_NAME_LEN] = '\0';
}

void chain_segment_object_name(const uint8_t name[static SEGMENT_NAME_LEN], char out[static CHAIN_NAME_MAX])
{
	char hex[2 * SEGMENT_NAME_LEN + 1];

	hex_name(name, hex);
	(void)snprintf(out, CHAIN_NAME_MAX, "s/%.2s/%s", hex, hex);
}

static bool parse_base_name(const char *name, uint64_t *seq_out)
{
	if (strncmp(name, "b/", 2) != 0 || strlen(name) != 14 || strspn(name + 2, DIGITS) != 12)
		return false;
	*seq_out = strtoull(name + 2, NULL, 10);
	return true;
}

static bool parse_box_name(const char *name, uint32_t *epoch_out)
{
	const char *digits = name + 2;
	unsigned long long epoch;
	size_t digit_count;

	if (strncmp(name, "k/", 2) != 0)
		return false;
	digit_count = strspn(digits, DIGITS);
	/* One name for one box: no leading zeros. */
	if (digit_count == 0 || digit_count > 10 || (digits[0] == '0' && digit_count > 1))
		return false;
	epoch = strtoull(digits, NULL, 10);
	if (epoch > UINT32_MAX || digits[digit_count] != '-')
		return false;
	digits += digit_count + 1;
	if (strlen(digits) != 32 || strspn(digits, HEX) != 32)
		return false;
	*epoch_out = (uint32_t)epoch;
	return true;
}

/* ---- the marker ---- */

static err_t build_marker(const uint8_t vault_id[static 32], uint8_t marker[static MARKER_LEN])
{
	err_t err = random_bytes(marker, MARKER_LEN);

	if (err)
		return err;
	marker[0] = MARKER_VERSION;
	marker[1] = MARKER_KIND;
	marker[2] = 0;
	marker[3] = 0;
	memcpy(marker + 4, vault_id, 32);
	return hash_sha256(marker, MARKER_LEN - HASH_LEN, marker + MARKER_LEN - HASH_LEN);
}

static err_t parse_marker(const uint8_t *marker, size_t len, uint8_t vault_id_out[static 32])
{
	uint8_t hash[HASH_LEN];
	err_t err;

	if (len == 0)
		return -EBADMSG;
	if (marker[0] != MARKER_VERSION)
		return -EPROTO;
	if (len != MARKER_LEN || marker[1] != MARKER_KIND || marker[2] != 0 || marker[3] != 0)
		return -EBADMSG;
	err = hash_sha256(marker, MARKER_LEN - HASH_LEN, hash);
	if (err)
		return err;
	if (memcmp(hash, marker + MARKER_LEN - HASH_LEN, HASH_LEN) != 0)
		return -EBADMSG;
	memcpy(vault_id_out, marker + 4, 32);
	return 0;
}

err_t chain_read_marker(struct chain *c, uint8_t vault_id_out[static 32])
{
	CLEANUP(bytes_clear) struct bytes marker = {0};
	err_t err = get(c, MARKER_NAME, MARKER_MAX, &marker);

	return err ? err : parse_marker(marker.data, marker.len, vault_id_out);
}

static err_t compare_marker(struct chain *c, const uint8_t vault_id[static 32])
{
	uint8_t there[32];
	err_t err = chain_read_marker(c, there);

	if (err)
		return err;
	return memcmp(there, vault_id, sizeof(there)) == 0 ? 0 : -EEXIST;
}

err_t chain_write_marker(struct chain *c, const uint8_t vault_id[static 32])
{
	uint8_t marker[MARKER_LEN];
	struct retry r = begin(c);
	err_t err = build_marker(vault_id, marker);

	if (err)
		return err;
	do {
		err = create(c, MARKER_NAME, marker, sizeof(marker));
	} while (again(c, &r, &err));
	return err == -EEXIST ? compare_marker(c, vault_id) : err;
}

err_t chain_mend_marker(struct chain *c, const uint8_t vault_id[static 32])
{
	uint8_t marker[MARKER_LEN];
	err_t err = build_marker(vault_id, marker);

	/* At once: between a removal and a creation the store would be nobody's. */
	return err ? err : put(c, MARKER_NAME, marker, sizeof(marker));
}

/* ---- commits and bases ---- */

/* Is the object of that name ours?  0: yes; -EEXIST: another's; -ENOENT: there is none; else unknown. */
static err_t compare_object(struct chain *c, const char *name, const uint8_t *object, size_t len)
{
	CLEANUP(bytes_clear) struct bytes there = {0};
	uint64_t size = 0;
	err_t err = store_size(c->store, name, &size);

	if (err)
		return err;
	if (size != len)
		return -EEXIST;
	err = store_get(c->store, name, len, &there);
	if (err)
		return err;
	if (there.len != len)
		return -EBADMSG;
	return memcmp(there.data, object, len) == 0 ? 0 : -EEXIST;
}

err_t chain_commit(struct chain *c, uint64_t seq, const uint8_t *object, size_t len)
{
	char name[CHAIN_NAME_MAX];
	struct retry r = begin(c);
	err_t err = numbered_name('c', seq, name);

	if (err)
		return err;
	if (len == 0 || len > CHAIN_OBJECT_MAX)
		return -EINVAL;
	do {
		err = create(c, name, object, len);
		/* Also after "exists": the one who has created it may have been ourselves, before an answer was lost. */
		if (err == -EAGAIN || err == -EEXIST)
			err = compare_object(c, name, object, len);
		if (err == -ENOENT)
			err = -EAGAIN;
	} while (again(c, &r, &err));
	return err;
}

err_t chain_read_commit(struct chain *c, uint64_t seq, struct bytes *out)
{
	char name[CHAIN_NAME_MAX];
	err_t err = numbered_name('c', seq, name);

	return err ? err : get(c, name, CHAIN_OBJECT_MAX, out);
}

err_t chain_read_commit_start(struct chain *c, uint64_t seq, size_t len, struct bytes *out)
{
	char name[CHAIN_NAME_MAX];
	err_t err = numbered_name('c', seq, name);

	return err ? err : get_range(c, name, 0, len, out);
}

err_t chain_write_base(struct chain *c, uint64_t seq, const uint8_t *object, size_t len)
{
	char name[CHAIN_NAME_MAX];
	err_t err = numbered_name('b', seq, name);

	if (err)
		return err;
	return len <= CHAIN_OBJECT_MAX ? put(c, name, object, len) : -EINVAL;
}

err_t chain_read_base(struct chain *c, uint64_t seq, struct bytes *out)
{
	char name[CHAIN_NAME_MAX];
	err_t err = numbered_name('b', seq, name);

	return err ? err : get(c, name, CHAIN_OBJECT_MAX, out);
}

/* ---- listing ---- */

struct found {
	void *items;
	size_t item_len;
	size_t count;
	size_t room;
};

static void found_clear(struct found *f)
{
	free(f->items);
}

static err_t found_add(struct found *f, const void *item)
{
	if (f->count == LIST_MAX)
		return -EBADMSG;
	if (f->count == f->room) {
		size_t room = f->room > 0 ? 2 * f->room : 16;
		void *items = reallocarray(f->items, room, f->item_len);

		if (!items)
			return -ENOMEM;
		f->items = items;
		f->room = room;
	}
	memcpy((uint8_t *)f->items + f->count * f->item_len, item, f->item_len);
	f->count++;
	return 0;
}

/* A listing that broke off is begun anew. */
static err_t list(struct chain *c, const char *prefix, store_list_fn *fn, struct found *f)
{
	struct retry r = begin(c);
	err_t err;

	do {
		f->count = 0;
		err = store_list(c->store, prefix, fn, f);
	} while (again(c, &r, &err));
	return err;
}

static err_t found_base(void *ctx, const char *name, uint64_t size)
{
	uint64_t seq = 0;

	(void)size;
	return parse_base_name(name, &seq) ? found_add(ctx, &seq) : 0;
}

static int newest_first(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return (*x < *y) - (*x > *y);
}

err_t chain_list_bases(struct chain *c, uint64_t **seqs_out, size_t *count_out)
{
	CLEANUP(found_clear) struct found f = {.item_len = sizeof(uint64_t)};
	err_t err = list(c, "b/", found_base, &f);

	if (err)
		return err;
	if (f.count > 0)
		qsort(f.items, f.count, f.item_len, newest_first);
	*seqs_out = STEAL(f.items);
	*count_out = f.count;
	return 0;
}

static err_t found_box(void *ctx, const char *name, uint64_t size)
{
	struct chain_box box = {0};

	(void)size;
	if (!parse_box_name(name, &box.epoch))
		return 0;
	(void)snprintf(box.name, sizeof(box.name), "%s", name);
	return found_add(ctx, &box);
}

static int highest_epoch_first(const void *a, const void *b)
{
	const struct chain_box *x = a;
	const struct chain_box *y = b;

	return x->epoch == y->epoch ? strcmp(x->name, y->name) : (x->epoch < y->epoch) - (x->epoch > y->epoch);
}

err_t chain_list_boxes(struct chain *c, struct chain_box **boxes_out, size_t *count_out)
{
	CLEANUP(found_clear) struct found f = {.item_len = sizeof(struct chain_box)};
	err_t err = list(c, "k/", found_box, &f);

	if (err)
		return err;
	if (f.count > 0)
		qsort(f.items, f.count, f.item_len, highest_epoch_first);
	*boxes_out = STEAL(f.items);
	*count_out = f.count;
	return 0;
}

/* ---- boxes and segments ---- */

/*
 * Nobody looks at a box before it is all that opens the vault, and then it is too late to learn that the store has lost it.
 * -EBADMSG: it has.  Some services show a new object only after a while.
 */
static err_t check_box(struct chain *c, const char *name, const uint8_t *object, size_t len)
{
	CLEANUP(bytes_clear) struct bytes back = {0};
	struct retry r = begin(c);
	bool absent;
	err_t err;

	do {
		err = store_get(c->store, name, len, &back);
		absent = err == -ENOENT;
		if (absent)
			err = -EAGAIN;
	} while (again(c, &r, &err));
	if (err)
		return err == -EAGAIN && absent ? -EBADMSG : err;
	return back.len == len && memcmp(back.data, object, len) == 0 ? 0 : -EBADMSG;
}

err_t chain_write_box(struct chain *c, uint32_t epoch, const uint8_t *object, size_t len,
    char name_out[static CHAIN_NAME_MAX])
{
	uint8_t drawn[SEGMENT_NAME_LEN];
	char hex[2 * SEGMENT_NAME_LEN + 1];
	char name[CHAIN_NAME_MAX];
	err_t err;

	if (len > CHAIN_BOX_MAX)
		return -EINVAL;
	err = random_bytes(drawn, sizeof(drawn));
	if (err)
		return err;
	hex_name(drawn, hex);
	(void)snprintf(name, sizeof(name), "k/%" PRIu32 "-%s", epoch, hex);
	if ((err = put(c, name, object, len)) != 0 || (err = check_box(c, name, object, len)) != 0)
		return err;
	memcpy(name_out, name, sizeof(name));
	return 0;
}

err_t chain_read_box(struct chain *c, const char *name, struct bytes *out)
{
	uint32_t epoch;

	return parse_box_name(name, &epoch) ? get(c, name, CHAIN_BOX_MAX, out) : -EINVAL;
}

err_t chain_write_segment(struct chain *c, const uint8_t name[static SEGMENT_NAME_LEN], const uint8_t sha256[static 32],
    const uint8_t *object, size_t len)
{
	struct retry r = begin(c);
	char object_name[CHAIN_NAME_MAX];
	err_t err;

	chain_segment_object_name(name, object_name);
	do {
		err = store_put_hashed(c->store, object_name, object, len, sha256);
	} while (again(c, &r, &err));
	return err;
}

err_t chain_read_segment(struct chain *c, const uint8_t name[static SEGMENT_NAME_LEN], size_t max_len,
    struct bytes *out)
{
	char object_name[CHAIN_NAME_MAX];

	chain_segment_object_name(name, object_name);
	return get(c, object_name, max_len, out);
}

err_t chain_read_segment_range(struct chain *c, const uint8_t name[static SEGMENT_NAME_LEN], uint64_t off,
    size_t len, struct bytes *out)
{
	char object_name[CHAIN_NAME_MAX];

	chain_segment_object_name(name, object_name);
	return get_range(c, object_name, off, len, out);
}

/* ---- the probe ---- */

static err_t race_once(struct chain *c)
{
	uint8_t drawn[SEGMENT_NAME_LEN];
	char name[CHAIN_NAME_MAX];
	err_t err = random_bytes(drawn, sizeof(drawn));

	if (err)
		return err;
	chain_segment_object_name(drawn, name);
	return race_run(c->store, name, PROBE_CONTENDERS);
}

err_t chain_probe_conditional(struct chain *c)
{
	struct retry r = begin(c);

	err_t err = 0;

	for (unsigned round = 0; round < PROBE_ROUNDS && err == 0; round++) {
		do {
			err = race_once(c);
		} while (again(c, &r, &err));
	}
	return err;
}
