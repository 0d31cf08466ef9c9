/* What a listing shows, and which names are snugfs's. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exposure.h"
#include "objname.h"

#define HEX32 "00112233445566778899aabbccddeeff"

static void names_are_told_by_their_form(void **state)
{
	static const struct {
		const char *name;
		enum objname_kind kind;
		uint64_t number;
	} names[] = {
		{"v", OBJNAME_MARKER, 0},
		{"k/0-" HEX32, OBJNAME_BOX, 0},
		{"k/17-" HEX32, OBJNAME_BOX, 17},
		{"k/017-" HEX32, OBJNAME_FOREIGN, 0},
		{"k/4294967296-" HEX32, OBJNAME_FOREIGN, 0},
		{"c/000000000042", OBJNAME_COMMIT, 42},
		{"c/00000000042", OBJNAME_FOREIGN, 0},
		{"c/00000000004a", OBJNAME_FOREIGN, 0},
		{"b/000000000007", OBJNAME_BASE, 7},
		{"s/00/" HEX32, OBJNAME_SEGMENT, 0},
		{"s/01/" HEX32, OBJNAME_FOREIGN, 0},
		{"s/00/" HEX32 "0", OBJNAME_FOREIGN, 0},
		{"s/" HEX32, OBJNAME_FOREIGN, 0},
		{"w/" HEX32, OBJNAME_WITNESS, 0},
		{"w/x", OBJNAME_FOREIGN, 0},
		{"holiday.jpg", OBJNAME_FOREIGN, 0},
		{"v/v", OBJNAME_FOREIGN, 0},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct objname o = objname_parse(names[i].name);
		assert_int_equal(o.kind, names[i].kind);
		if (o.kind != OBJNAME_FOREIGN)
			assert_int_equal(o.number, names[i].number);
	}
	struct objname s = objname_parse("s/00/" HEX32);
	static const uint8_t want[16] = {0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
	    0xff};
	assert_memory_equal(s.random, want, sizeof(want));
}

static void a_name_read_is_the_name_written(void **state)
{
	const uint8_t name[SEGMENT_NAME_LEN] = {0xfe, 0xdc, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
	char text[CHAIN_NAME_MAX];
	(void)state;
	chain_segment_object_name(name, text);
	struct objname o = objname_parse(text);
	assert_int_equal(o.kind, OBJNAME_SEGMENT);
	assert_memory_equal(o.random, name, sizeof(name));
}

static void objects_are_counted_by_kind(void **state)
{
	CLEANUP(store_free_ptr) struct store *s = NULL;
	char dir[] = "/tmp/snugfs-exposure-XXXXXX", command[128];
	uint8_t data[8192] = {0};
	struct exposure e;
	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(store_open(dir, true, &s, NULL), 0);
	assert_int_equal(exposure_read(s, NULL, NULL, &e), 0);
	assert_int_equal(e.count, 0);
	assert_int_equal(store_put(s, "v", data, 4096), 0);
	assert_int_equal(store_put(s, "c/000000000003", data, 4096), 0);
	assert_int_equal(store_put(s, "c/000000000009", data, 8192), 0);
	assert_int_equal(store_put(s, "s/00/" HEX32, data, 5000), 0);
	assert_int_equal(store_put(s, "notes.txt", data, 10), 0);
	assert_int_equal(exposure_read(s, NULL, NULL, &e), 0);
	assert_int_equal(e.count, 5);
	assert_int_equal(e.bytes, 4096 + 4096 + 8192 + 5000 + 10);
	assert_int_equal(e.off_step, 1);
	assert_int_equal(e.kinds[OBJNAME_COMMIT].count, 2);
	assert_int_equal(e.kinds[OBJNAME_COMMIT].first, 3);
	assert_int_equal(e.kinds[OBJNAME_COMMIT].last, 9);
	assert_int_equal(e.kinds[OBJNAME_COMMIT].smallest, 4096);
	assert_int_equal(e.kinds[OBJNAME_COMMIT].largest, 8192);
	assert_int_equal(e.kinds[OBJNAME_FOREIGN].count, 1);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

static void times_are_those_of_the_store(void **state)
{
	CLEANUP(store_free_ptr) struct store *s = NULL;
	char dir[] = "/tmp/snugfs-exposure-XXXXXX", command[256];
	uint8_t data[4096] = {0};
	struct exposure e;
	(void)state;
	assert_int_equal(setenv("TZ", "UTC", 1), 0);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(store_open(dir, true, &s, NULL), 0);
	assert_int_equal(store_put(s, "c/000000000000", data, 4096), 0);
	assert_int_equal(store_put(s, "c/000000000001", data, 4096), 0);
	assert_int_equal(store_put(s, "notes.txt", data, 10), 0);
	snprintf(command, sizeof(command), "cd %s && touch -d @1000000800 c/000000000000 && touch -d @1000101600 c/000000000001 && "
	    "touch -d @1 notes.txt", dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(exposure_read(s, NULL, NULL, &e), 0);
	assert_int_equal(e.kinds[OBJNAME_COMMIT].first_s, 1000000800);
	assert_int_equal(e.kinds[OBJNAME_COMMIT].last_s, 1000101600);
	assert_int_equal(e.kinds[OBJNAME_SEGMENT].last_s, 0);
	/* Sunday, the 9th of September 2001, 02:00; Monday, 06:00. */
	for (unsigned hour = 0; hour < 24; hour++)
		assert_int_equal(e.by_hour[hour], hour == 2 || hour == 6);
	for (unsigned day = 0; day < 7; day++)
		assert_int_equal(e.by_weekday[day], day < 2);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

static bool end_at(void *ctx, uint64_t count)
{
	return count < *(const uint64_t *)ctx;
}

static void a_listing_ends_when_it_is_told_to(void **state)
{
	CLEANUP(store_free_ptr) struct store *s = NULL;
	char dir[] = "/tmp/snugfs-exposure-XXXXXX", command[256];
	uint64_t most = 500, more = 5000;
	struct exposure e = {.count = 4711};
	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(store_open(dir, true, &s, NULL), 0);
	snprintf(command, sizeof(command), "cd %s && seq -f object%%.0f 1000 | xargs touch", dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(exposure_read(s, end_at, &most, &e), -ECANCELED);
	assert_int_equal(e.count, 4711);
	assert_int_equal(exposure_read(s, end_at, &more, &e), 0);
	assert_int_equal(e.count, 1000);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_told_by_their_form),
	    cmocka_unit_test(a_name_read_is_the_name_written),
	    cmocka_unit_test(objects_are_counted_by_kind),
	    cmocka_unit_test(times_are_those_of_the_store),
	    cmocka_unit_test(a_listing_ends_when_it_is_told_to),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
