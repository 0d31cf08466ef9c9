/*
 * The store on a real service: LIVE_S3_URL names it, LIVE_S3_ACCESS_KEY and LIVE_S3_SECRET_KEY open it, and with
 * LIVE_S3_UNCONDITIONAL set it is one that cannot create conditionally; LIVE_S3_STALL_TIMEOUT is in seconds.  With an argument
 * only the tests whose names match it run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chain.h"
#include "hash.h"
#include "probe.h"
#include "random.h"
#include "retry.h"
#include "secmem.h"
#include "store.h"
#include "store_s3.h"

#define RACERS 20
#define RACES 5
#define PARALLEL 32
#define BULK_OBJECTS 64
#define LISTED 1050

static const char *url;
static struct store_credentials credentials;
static bool unconditional;
static unsigned stall_timeout_s;

/* A prefix of its own for each test, so that they do not see each other's objects. */
static int setup(void **state)
{
	const struct store_options options = {.credentials = &credentials, .stall_timeout_s = stall_timeout_s};
	struct retry r = {.policy = {.tries = 20, .first_ms = 100, .last_ms = 1000}};
	struct store *s = NULL;
	char *own = NULL, *why = NULL;
	uint32_t drawn;
	err_t err;

	assert_int_equal(random_bytes(&drawn, sizeof(drawn)), 0);
	assert_true(asprintf(&own, "%s/Some folder+(1)/%08x~ü", url, drawn) > 0);
	/* Opened without a question first, so that there is a store to ask how long to wait. */
	assert_int_equal(store_open_with(own, false, &options, &s, &why), 0);
	do {
		struct store *made = NULL;

		free(why);
		err = store_open_with(own, true, &options, &made, &why);
		store_free(made);
	} while (retry_again(&r, s, &err));
	if (err)
		fail_msg("%s", why);
	free(own);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	store_free(*state);
	return 0;
}

/* What a caller does: some services refuse a request now and then. */
static err_t patiently_put(struct store *s, const char *name, const uint8_t *data, size_t len)
{
	struct retry r = {.policy = {.tries = 8, .first_ms = 100, .last_ms = 5000}};
	err_t err;

	do {
		err = store_put(s, name, data, len);
	} while (retry_again(&r, s, &err));
	return err;
}

static void put(struct store *s, const char *name, const char *text)
{
	assert_int_equal(patiently_put(s, name, (const uint8_t *)text, strlen(text)), 0);
}

static void expect(struct store *s, const char *name, const char *text)
{
	struct bytes got = {0};

	assert_int_equal(store_get(s, name, 1 << 20, &got), 0);
	assert_int_equal(got.len, strlen(text));
	if (got.len > 0)
		assert_memory_equal(got.data, text, got.len);
	bytes_clear(&got);
}

static void fill(uint8_t *data, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525u + 1013904223u;
		data[i] = (uint8_t)(seed >> 24);
	}
}

/* ---- one object ---- */

static void an_object_comes_back_whole_and_can_be_replaced(void **state)
{
	struct store *s = *state;

	put(s, "s/ab/one", "the first");
	expect(s, "s/ab/one", "the first");
	put(s, "s/ab/one", "another, longer one");
	expect(s, "s/ab/one", "another, longer one");
}

static void an_empty_object_is_an_object(void **state)
{
	struct store *s = *state;
	struct bytes got = {0};
	uint64_t size = 1;

	assert_int_equal(patiently_put(s, "v", NULL, 0), 0);
	assert_int_equal(store_size(s, "v", &size), 0);
	assert_int_equal(size, 0);
	assert_int_equal(store_get(s, "v", 0, &got), 0);
	assert_int_equal(got.len, 0);
	assert_int_equal(store_get_range(s, "v", 0, 0, &got), 0);
	assert_int_equal(store_get_range(s, "v", 0, 1, &got), -EBADMSG);
	bytes_clear(&got);
}

static void what_is_absent_is_absent_and_may_be_removed(void **state)
{
	struct store *s = *state;
	struct bytes got = {0};
	uint64_t size;

	assert_int_equal(store_get(s, "c/000000000001", 100, &got), -ENOENT);
	assert_int_equal(store_get_range(s, "c/000000000001", 5, 10, &got), -ENOENT);
	assert_int_equal(store_get_range(s, "c/000000000001", 0, 0, &got), -ENOENT);
	assert_int_equal(store_size(s, "c/000000000001", &size), -ENOENT);
	assert_int_equal(store_remove(s, "c/000000000001"), 0);
	assert_null(got.data);
}

static void a_removed_object_is_gone(void **state)
{
	struct store *s = *state;
	struct bytes got = {0};

	put(s, "b/1", "x");
	assert_int_equal(store_remove(s, "b/1"), 0);
	assert_int_equal(store_get(s, "b/1", 10, &got), -ENOENT);
}

static void awkward_names_are_names(void **state)
{
	static const char *const names[] = {"a", "0", "-", "a/b/c/d/e/f/g/h", "a.b", "a..b", "-a", ".a", "a.", "x/-.-/y", "s/..a/b"};
	struct store *s = *state;
	char longest[STORE_NAME_MAX + 1];

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		put(s, names[i], names[i]);
	memset(longest, 'z', STORE_NAME_MAX);
	longest[STORE_NAME_MAX] = '\0';
	put(s, longest, "long");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		expect(s, names[i], names[i]);
	expect(s, longest, "long");
	assert_int_equal(store_put(s, "../x", (const uint8_t *)"x", 1), -EINVAL);
}

static void a_range_is_just_what_was_asked_for(void **state)
{
	struct store *s = *state;
	struct bytes got = {0};

	put(s, "s/00/r", "0123456789");
	assert_int_equal(store_get_range(s, "s/00/r", 3, 4, &got), 0);
	assert_int_equal(got.len, 4);
	assert_memory_equal(got.data, "3456", 4);
	assert_int_equal(store_get_range(s, "s/00/r", 0, 10, &got), 0);
	assert_int_equal(got.len, 14);
	assert_int_equal(store_get_range(s, "s/00/r", 9, 1, &got), 0);
	assert_int_equal(got.len, 15);
	assert_int_equal(got.data[14], '9');
	assert_int_equal(store_get_range(s, "s/00/r", 9, 2, &got), -EBADMSG);
	assert_int_equal(store_get_range(s, "s/00/r", 10, 1, &got), -EBADMSG);
	assert_int_equal(store_get_range(s, "s/00/r", 11, 0, &got), -EBADMSG);
	assert_int_equal(store_get_range(s, "s/00/r", UINT64_MAX, 2, &got), -EBADMSG);
	assert_int_equal(got.len, 15);
	bytes_clear(&got);
}

static void an_object_larger_than_the_maximum_is_refused(void **state)
{
	struct store *s = *state;
	struct bytes got = {0};
	uint64_t size = 0;

	put(s, "s/00/m", "0123456789");
	assert_int_equal(store_get(s, "s/00/m", 9, &got), -EBADMSG);
	assert_null(got.data);
	assert_int_equal(store_get(s, "s/00/m", 10, &got), 0);
	assert_int_equal(store_size(s, "s/00/m", &size), 0);
	assert_int_equal(size, 10);
	bytes_clear(&got);
}

/* ---- many ---- */

static err_t count_object(void *ctx, const char *name, uint64_t size)
{
	unsigned char *seen = ctx;
	unsigned number;

	assert_int_equal(sscanf(name, "k/%u", &number), 1);
	assert_true(number < LISTED);
	assert_int_equal(size, 1 + number % 3);
	seen[number]++;
	return 0;
}

static atomic_uint next_listed;

static void *put_listed(void *arg)
{
	char name[STORE_NAME_MAX];

	for (unsigned i; (i = atomic_fetch_add(&next_listed, 1)) < LISTED;) {
		(void)snprintf(name, sizeof(name), "k/%u", i);
		if (patiently_put(arg, name, (const uint8_t *)"xyz", 1 + i % 3) != 0)
			return arg;
	}
	return NULL;
}

static void in_parallel(unsigned count, void *(*run)(void *), void *arg)
{
	pthread_t threads[PARALLEL];
	unsigned failures = 0;
	void *failed;

	for (unsigned i = 0; i < count; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run, arg), 0);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		failures += failed != NULL;
	}
	assert_int_equal(failures, 0);
}

static err_t stop_at_third(void *ctx, const char *name, uint64_t size)
{
	unsigned *count = ctx;

	(void)name;
	(void)size;
	return ++*count == 3 ? -EXFULL : 0;
}

static void a_listing_of_more_than_one_page_has_each_object_once(void **state)
{
	struct store *s = *state;
	unsigned char *seen = calloc(1, LISTED);
	unsigned count = 0;

	assert_non_null(seen);
	in_parallel(16, put_listed, s);
	put(s, "other", "x");
	assert_int_equal(store_list(s, "k/", count_object, seen), 0);
	for (unsigned i = 0; i < LISTED; i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(store_list(s, "", stop_at_third, &count), -EXFULL);
	assert_int_equal(count, 3);
	count = 0;
	assert_int_equal(store_list(s, "nothing", stop_at_third, &count), 0);
	assert_int_equal(count, 0);
	free(seen);
}

static atomic_uint next_bulk;

static size_t bulk_len(unsigned i)
{
	return ((size_t)1 << 20) * (1 + (i * 7) % 16) + i;
}

static void *move_bulk(void *arg)
{
	struct store *s = arg;

	for (unsigned i; (i = atomic_fetch_add(&next_bulk, 1)) < BULK_OBJECTS;) {
		struct bytes got = {0};
		size_t len = bulk_len(i);
		uint8_t *data = malloc(len);
		char name[32];
		bool same;

		if (!data)
			return arg;
		fill(data, len, i);
		(void)snprintf(name, sizeof(name), "s/bulk/%u", i);
		same = patiently_put(s, name, data, len) == 0 && store_get(s, name, len, &got) == 0 && got.len == len &&
		       memcmp(got.data, data, len) == 0;
		bytes_reset(&got);
		same = same && store_get_range(s, name, len / 2, 4096, &got) == 0 && memcmp(got.data, data + len / 2, 4096) == 0;
		same = same && store_remove(s, name) == 0;
		bytes_clear(&got);
		free(data);
		if (!same)
			return arg;
	}
	return NULL;
}

static void many_large_objects_go_there_and_back_at_once(void **state)
{
	in_parallel(PARALLEL, move_bulk, *state);
}

/* ---- the conditional create ---- */

struct racer {
	struct store *store;
	const char *name;
	pthread_barrier_t *start;
	uint8_t object[64];
	err_t err;
};

static void *race(void *arg)
{
	struct racer *me = arg;

	pthread_barrier_wait(me->start);
	me->err = store_create_if_absent(me->store, me->name, me->object, sizeof(me->object));
	return NULL;
}

static void one_race(struct store *s, const char *name)
{
	struct racer racers[RACERS];
	pthread_t threads[RACERS];
	pthread_barrier_t start;
	struct bytes got = {0};
	unsigned won = 0;

	assert_int_equal(pthread_barrier_init(&start, NULL, RACERS), 0);
	for (unsigned i = 0; i < RACERS; i++) {
		racers[i] = (struct racer){.store = s, .name = name, .start = &start};
		memset(racers[i].object, (int)i, sizeof(racers[i].object));
		assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	}
	for (unsigned i = 0; i < RACERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	pthread_barrier_destroy(&start);
	assert_int_equal(store_get(s, name, 64, &got), 0);
	assert_int_equal(got.len, 64);
	for (unsigned i = 0; i < RACERS; i++) {
		won += racers[i].err == 0;
		if (racers[i].err == 0)
			assert_memory_equal(got.data, racers[i].object, 64);
		else
			assert_int_equal(racers[i].err, -EEXIST);
	}
	assert_int_equal(won, 1);
	bytes_clear(&got);
}

static void of_twenty_that_create_one_object_just_one_wins(void **state)
{
	struct store *s = *state;
	char name[32];

	if (unconditional) {
		assert_int_equal(store_create_if_absent(s, "c/1", (const uint8_t *)"x", 1), -ENOTSUP);
		return;
	}
	for (unsigned i = 0; i < RACES; i++) {
		(void)snprintf(name, sizeof(name), "c/%012u", i);
		one_race(s, name);
	}
	assert_int_equal(store_create_if_absent(s, "c/000000000000", (const uint8_t *)"x", 1), -EEXIST);
}

static void the_probe_finds_out_what_this_store_can_do(void **state)
{
	struct store *s = *state;
	struct probe_report report;

	assert_int_equal(probe_run(s, &report), 0);
	for (enum probe_item i = 0; i < PROBE_ITEM_COUNT; i++) {
		const struct probe_finding *f = &report.findings[i];
		bool wanted = !(unconditional && i == PROBE_CONDITIONAL);

		print_message("%s: %s\n", probe_item_name(i), f->sentence);
		assert_int_equal(f->verdict, wanted ? PROBE_GOOD : PROBE_BAD);
		if (!wanted)
			assert_int_equal(f->err, -ENOTSUP);
	}
	assert_true(report.round_trip_us > 0 && report.up_bytes_per_s > 0 && report.down_bytes_per_s > 0);
}

/* ---- the chain, also while requests are lost ---- */

#define WRITERS 6
#define COMMITS_EACH 5
#define COMMITS (WRITERS * COMMITS_EACH)
#define TOKEN_LEN 600

struct writer {
	struct chain *chain;
	unsigned number;
	err_t err;
};

static void make_token(uint8_t token[static TOKEN_LEN], unsigned writer, unsigned turn)
{
	fill(token, TOKEN_LEN, 1000 * writer + turn);
	token[0] = (uint8_t)writer;
	token[1] = (uint8_t)turn;
}

/* Appends its tokens to the chain, each at the first number that is free. */
static void *commit_all(void *arg)
{
	struct writer *me = arg;
	uint8_t token[TOKEN_LEN];
	uint64_t seq = 0;

	for (unsigned turn = 0; turn < COMMITS_EACH && me->err == 0; turn++) {
		make_token(token, me->number, turn);
		do {
			me->err = chain_commit(me->chain, seq, token, sizeof(token));
			seq += me->err == 0 || me->err == -EEXIST;
		} while (me->err == -EEXIST);
	}
	return NULL;
}

static void each_commit_of_many_writers_is_in_the_chain_once(void **state)
{
	struct writer writers[WRITERS];
	pthread_t threads[WRITERS];
	unsigned seen[WRITERS][COMMITS_EACH] = {{0}};
	struct chain *c = NULL;
	struct bytes got = {0};

	if (unconditional)
		return;
	assert_int_equal(chain_new(*state, &c), 0);
	chain_set_retry(c, 20, NULL);
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){.chain = c, .number = i};
		assert_int_equal(pthread_create(&threads[i], NULL, commit_all, &writers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(writers[i].err, 0);
	}
	for (unsigned seq = 0; seq < COMMITS; seq++) {
		uint8_t token[TOKEN_LEN];

		bytes_reset(&got);
		assert_int_equal(chain_read_commit(c, seq, &got), 0);
		assert_int_equal(got.len, TOKEN_LEN);
		assert_true(got.data[0] < WRITERS && got.data[1] < COMMITS_EACH);
		make_token(token, got.data[0], got.data[1]);
		assert_memory_equal(got.data, token, TOKEN_LEN);
		assert_int_equal(seen[got.data[0]][got.data[1]]++, 0);
	}
	assert_int_equal(chain_read_commit(c, COMMITS, &got), -ENOENT);
	bytes_clear(&got);
	chain_free(c);
}

static void segments_come_back_as_they_were(void **state)
{
	size_t len = 300000;
	uint8_t *data = malloc(len);
	struct chain *c = NULL;

	assert_non_null(data);
	assert_int_equal(chain_new(*state, &c), 0);
	chain_set_retry(c, 20, NULL);
	for (uint8_t i = 0; i < 20; i++) {
		const uint8_t name[SEGMENT_NAME_LEN] = {i};
		struct bytes got = {0};
		uint8_t sha256[32];

		fill(data, len, i);
		assert_int_equal(hash_sha256(data, len, sha256), 0);
		assert_int_equal(chain_write_segment(c, name, sha256, data, len), 0);
		assert_int_equal(chain_read_segment(c, name, len, &got), 0);
		assert_int_equal(got.len, len);
		assert_memory_equal(got.data, data, len);
		bytes_reset(&got);
		assert_int_equal(chain_read_segment_range(c, name, 1000, 4096, &got), 0);
		assert_memory_equal(got.data, data + 1000, 4096);
		bytes_clear(&got);
	}
	chain_free(c);
	free(data);
}

/* ---- what is wrong ---- */

static void expect_refusal(const char *at, const struct store_credentials *with, const char *word)
{
	const struct store_options options = {.credentials = with};
	struct bytes got = {0};
	struct store *s = NULL;
	char sentence[400];
	char *why = NULL;
	uint64_t size;

	assert_int_equal(store_open_with(at, false, &options, &s, &why), 0);
	assert_int_equal(store_size(s, "c/000000000001", &size), -EACCES);
	store_explain(s, -EACCES, sentence, sizeof(sentence));
	print_message("%s\n", sentence);
	assert_non_null(strstr(sentence, word));
	assert_non_null(strstr(sentence, s->url));
	assert_null(strstr(sentence, with->secret_key));
	assert_int_equal(store_get(s, "v", 100, &got), -EACCES);
	assert_int_equal(store_get_range(s, "v", 0, 10, &got), -EACCES);
	assert_int_equal(store_put(s, "v", (const uint8_t *)"x", 1), -EACCES);
	/* Swift looks at the condition first. */
	assert_int_equal(store_create_if_absent(s, "v", (const uint8_t *)"x", 1), unconditional ? -ENOTSUP : -EACCES);
	assert_int_equal(store_remove(s, "v"), -EACCES);
	assert_int_equal(store_list(s, "", stop_at_third, &size), -EACCES);
	store_free(s);
}

static void wrong_keys_are_refused_with_a_sentence(void **state)
{
	struct store_credentials wrong = credentials;

	(void)state;
	wrong.secret_key = "not-this-one";
	expect_refusal(url, &wrong, "SignatureDoesNotMatch");
	wrong = credentials;
	wrong.access_key = unconditional ? "nobody:here" : "NOBODY";
	expect_refusal(url, &wrong, unconditional ? "SignatureDoesNotMatch" : "InvalidAccessKeyId"); /* Swift tells them not apart */
}

static void a_missing_bucket_is_no_missing_object(void **state)
{
	char *other = NULL;

	(void)state;
	assert_true(asprintf(&other, "%s-that-is-not-there", url) > 0);
	expect_refusal(other, &credentials, "NoSuchBucket");
	free(other);
}

static void a_wrong_clock_is_learnt_from_the_refusal(void **state)
{
	struct store *s = *state;
	int64_t skew = 1000;

	put(s, "v", "x");
	store_s3_set_clock(s, -7200);
	expect(s, "v", "x");
	store_s3_set_clock(s, 7200);
	if (!unconditional)
		assert_int_equal(store_create_if_absent(s, "c/1", (const uint8_t *)"x", 1), 0);
	put(s, "v", "y");
	assert_int_equal(store_clock_skew(s, &skew), 0);
	assert_in_range(skew + 5, 0, 10);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_object_comes_back_whole_and_can_be_replaced),
		T(an_empty_object_is_an_object),
		T(what_is_absent_is_absent_and_may_be_removed),
		T(a_removed_object_is_gone),
		T(awkward_names_are_names),
		T(a_range_is_just_what_was_asked_for),
		T(an_object_larger_than_the_maximum_is_refused),
		T(a_listing_of_more_than_one_page_has_each_object_once),
		T(many_large_objects_go_there_and_back_at_once),
		T(of_twenty_that_create_one_object_just_one_wins),
		T(the_probe_finds_out_what_this_store_can_do),
		T(each_commit_of_many_writers_is_in_the_chain_once),
		T(segments_come_back_as_they_were),
		T(wrong_keys_are_refused_with_a_sentence),
		T(a_missing_bucket_is_no_missing_object),
		T(a_wrong_clock_is_learnt_from_the_refusal),
	};

	url = getenv("LIVE_S3_URL");
	credentials.access_key = getenv("LIVE_S3_ACCESS_KEY");
	credentials.secret_key = getenv("LIVE_S3_SECRET_KEY");
	unconditional = getenv("LIVE_S3_UNCONDITIONAL") != NULL;
	stall_timeout_s = getenv("LIVE_S3_STALL_TIMEOUT") ? (unsigned)strtoul(getenv("LIVE_S3_STALL_TIMEOUT"), NULL, 10) : 0;
	if (!url || !credentials.access_key || !credentials.secret_key || secmem_init() != 0) {
		fprintf(stderr, "LIVE_S3_URL, LIVE_S3_ACCESS_KEY and LIVE_S3_SECRET_KEY must be set\n");
		return 2;
	}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("live_s3", tests, NULL, NULL);
}
