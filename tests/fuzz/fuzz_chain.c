/*
 * Fuzzes what the chain makes of a store's answers.  First byte 0: the marker as it is; 1: a marker of which the hash is made here;
 * 2: a listing, a name in each line.
 */
#include <errno.h>
#include <string.h>

#include "chain.h"
#include "fuzz.h"
#include "hash.h"
#include "padme.h"

static const uint8_t *answer;
static size_t answer_len;

static err_t answer_get(struct store *s, const char *name, size_t max_len, struct bytes *out)
{
	(void)s;
	(void)name;
	return answer_len > max_len ? -EBADMSG : bytes_append(out, answer, answer_len);
}

static err_t answer_list(struct store *s, const char *prefix, store_item_fn *fn, void *ctx)
{
	char *names = strndup((const char *)answer, answer_len), *rest = names, *name;
	err_t err = 0;

	(void)s;
	(void)prefix; /* as one that shows more than was asked for */
	FUZZ_REQUIRE(names != NULL);
	while (err == 0 && (name = strsep(&rest, "\n")) != NULL)
		err = fn(ctx, &(struct store_item){.name = name, .size = PADME_FLOOR});
	free(names);
	return err;
}

static void ignore(struct store *s)
{
	(void)s;
}

static const struct store_ops ops = {.get = answer_get, .list = answer_list, .free = ignore};
static struct store store = {.ops = &ops};
static struct chain *chain;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	FUZZ_REQUIRE(secmem_init() == 0 && chain_new(&store, &chain) == 0);
	return 0;
}

static void try_marker(void)
{
	uint8_t id[32] = {0}, none[32] = {0};
	err_t err = chain_read_marker(chain, id);

	FUZZ_REQUIRE(err == 0 || err == -EBADMSG || err == -EPROTO);
	FUZZ_REQUIRE(err == 0 ? answer_len == PADME_FLOOR && memcmp(id, answer + 4, 32) == 0 : memcmp(id, none, 32) == 0);
}

static void try_hashed(const uint8_t *data, size_t len)
{
	uint8_t marker[PADME_FLOOR] = {0};

	memcpy(marker, data, len < sizeof(marker) - HASH_LEN ? len : sizeof(marker) - HASH_LEN);
	FUZZ_REQUIRE(hash_sha256(marker, sizeof(marker) - HASH_LEN, marker + sizeof(marker) - HASH_LEN) == 0);
	answer = marker;
	answer_len = sizeof(marker);
	try_marker();
}

static void try_bases(void)
{
	uint64_t *seqs = NULL;
	size_t count = 0;

	FUZZ_REQUIRE(chain_list_bases(chain, &seqs, &count) == 0);
	for (size_t i = 0; i < count; i++)
		FUZZ_REQUIRE(seqs[i] <= CHAIN_SEQ_MAX && (i == 0 || seqs[i] <= seqs[i - 1]));
	free(seqs);
}

static void try_boxes(void)
{
	struct chain_box *boxes = NULL;
	struct bytes box = {0};
	size_t count = 0;
	err_t err;

	FUZZ_REQUIRE(chain_list_boxes(chain, &boxes, &count) == 0);
	for (size_t i = 0; i < count; i++) {
		FUZZ_REQUIRE(memchr(boxes[i].name, '\0', sizeof(boxes[i].name)) != NULL);
		FUZZ_REQUIRE(i == 0 || boxes[i].epoch <= boxes[i - 1].epoch);
		err = chain_read_box(chain, boxes[i].name, &box);
		FUZZ_REQUIRE(err == 0 && box.len == answer_len);
		bytes_clear(&box);
	}
	free(boxes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 1)
		return 0;
	answer = data + 1;
	answer_len = len - 1;
	if (data[0] == 0) {
		try_marker();
	} else if (data[0] == 1) {
		try_hashed(data + 1, len - 1);
	} else if (data[0] == 2) {
		try_bases();
		try_boxes();
	}
	return 0;
}
