/* Fuzzes the CBOR reader: what it takes, the writer must write again in just those bytes. */
#include <string.h>

#include "cborio.h"
#include "fuzz.h"

FUZZ_INITIALIZE_SECMEM

/* One way to read the next item and write it again; 0 if it could be read. */
typedef err_t reread_fn(struct cursor *c, struct bytes *again);

static err_t reread_uint(struct cursor *c, struct bytes *again)
{
	uint64_t v;
	err_t err = cbor_get_uint(c, &v);
	if (err == 0)
		FUZZ_REQUIRE(cbor_put_uint(again, v) == 0);
	return err;
}

static err_t reread_signed(struct cursor *c, struct bytes *again)
{
	int64_t v;
	err_t err = cbor_get_signed(c, &v);
	if (err == 0)
		FUZZ_REQUIRE(cbor_put_signed(again, v) == 0);
	return err;
}

static err_t reread_bytes(struct cursor *c, struct bytes *again)
{
	const uint8_t *data;
	size_t len;
	err_t err = cbor_get_bytes(c, &data, &len);
	if (err == 0)
		FUZZ_REQUIRE(cbor_put_bytes(again, data, len) == 0);
	return err;
}

static err_t reread_text(struct cursor *c, struct bytes *again)
{
	const char *text;
	size_t len;
	err_t err = cbor_get_text(c, &text, &len);
	if (err != 0)
		return err;
	char *terminated = malloc(len + 1);
	FUZZ_REQUIRE(terminated != NULL && memchr(text, 0, len) == NULL);
	memcpy(terminated, text, len);
	terminated[len] = '\0';
	FUZZ_REQUIRE(cbor_put_text(again, terminated) == 0);
	free(terminated);
	return 0;
}

static err_t reread_array(struct cursor *c, struct bytes *again)
{
	size_t count;
	err_t err = cbor_get_array(c, &count);
	if (err == 0)
		FUZZ_REQUIRE(count <= c->len && cbor_put_array(again, count) == 0);
	return err;
}

static err_t reread_map(struct cursor *c, struct bytes *again)
{
	size_t count;
	err_t err = cbor_get_map(c, &count);
	if (err == 0)
		FUZZ_REQUIRE(count <= c->len && cbor_put_map(again, count) == 0);
	return err;
}

static err_t reread_boolean(struct cursor *c, struct bytes *again)
{
	bool v;
	err_t err = cbor_get_boolean(c, &v);
	if (err == 0)
		FUZZ_REQUIRE(cbor_put_boolean(again, v) == 0);
	return err;
}

static reread_fn *const ways[] = {
	reread_uint, reread_signed, reread_bytes, reread_text, reread_array, reread_map, reread_boolean,
};

/* Takes one item in every way that works; at most two do (a number that is not negative is of both kinds). */
static bool step(struct cursor *c)
{
	unsigned readable = 0;
	struct cursor after = *c;
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		struct cursor here = *c;
		struct bytes again = {0};
		if (ways[i](&here, &again) == 0) {
			size_t taken = (size_t)(here.p - c->p);
			FUZZ_REQUIRE(taken > 0 && here.len + taken == c->len);
			FUZZ_REQUIRE(again.len == taken && memcmp(again.data, c->p, taken) == 0);
			after = here;
			readable++;
		} else {
			FUZZ_REQUIRE(here.p == c->p && here.len == c->len && again.len == 0);
		}
		bytes_clear(&again);
	}
	FUZZ_REQUIRE(readable <= 2);
	*c = after;
	return readable > 0;
}

static void read_ascending_keys(const uint8_t *data, size_t len)
{
	struct cursor c = {data, len};
	size_t count;
	if (cbor_get_map(&c, &count) != 0)
		return;
	int64_t last = -1;
	for (size_t i = 0; i < count; i++) {
		int64_t before = last;
		uint64_t key;
		if (cbor_key(&c, &last, &key) != 0)
			return;
		FUZZ_REQUIRE(last > before && (uint64_t)last == key);
		if (!step(&c))
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cursor c = {data, len};
	while (step(&c))
		;
	if (c.len == 0)
		FUZZ_REQUIRE(cbor_end(&c) == 0);
	read_ascending_keys(data, len);
	return 0;
}
