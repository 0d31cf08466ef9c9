/* test_secmem.c: the locked heap, the wipe, the compare, and that the process can't be dumped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "secmem.h"

/* A number from /proc/self/status, in kB. */
static long
status_kb(const char *field)
{
	FILE *f = fopen("/proc/self/status", "r");
	size_t field_len = strlen(field);
	char line[256];
	long kb = -1;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, field, field_len) == 0 && line[field_len] == ':')
			kb = strtol(line + field_len + 1, NULL, 10);
	}
	fclose(f);
	return kb;
}

static void
before_init_no_secret_memory_is_given_out(void **state)
{
	(void)state;
	assert_null(secmem_new(32));
	assert_false(secmem_is_locked());
}

static void
after_init_the_process_cant_be_dumped(void **state)
{
	struct rlimit core = {1, 1};

	(void)state;
	assert_int_equal(secmem_init(), 0);
	assert_int_equal(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
	assert_int_equal(getrlimit(RLIMIT_CORE, &core), 0);
	assert_int_equal(core.rlim_cur, 0);
	assert_int_equal(core.rlim_max, 0);
}

static void
the_heap_is_locked_if_it_is_said_to_be(void **state)
{
	struct rlimit memlock;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &memlock), 0);
	assert_int_equal(secmem_is_locked(), status_kb("VmLck") >= 256);
	if (memlock.rlim_cur >= 1 << 20)
		assert_true(secmem_is_locked());
}

static void
a_second_init_changes_nothing(void **state)
{
	uint8_t *p = secmem_new(32);
	bool locked = secmem_is_locked();

	(void)state;
	assert_non_null(p);
	p[0] = 0x55;
	assert_int_equal(secmem_init(), 0);
	assert_int_equal(secmem_is_locked(), locked);
	assert_int_equal(p[0], 0x55);
	secmem_free(p);
}

static void
new_memory_is_zero_also_where_a_secret_was(void **state)
{
	const uint8_t zeros[512] = {0};

	(void)state;
	for (int round = 0; round < 3; round++) {
		uint8_t *p = secmem_new(sizeof(zeros));

		assert_non_null(p);
		assert_memory_equal(p, zeros, sizeof(zeros));
		memset(p, 0xaa, sizeof(zeros));
		secmem_free(p);
	}
}

static void
freed_memory_is_wiped(void **state)
{
	uint8_t *p = secmem_new(512);
	/* The heap stays mapped; the number keeps the compiler from reasoning about a pointer that was freed. */
	volatile uintptr_t address = (uintptr_t)p;

	(void)state;
	assert_non_null(p);
	memset(p, 0xaa, 512);
	secmem_free(p);

	/* The allocator keeps its list in the first bytes of a free chunk. */
	const volatile uint8_t *freed = (const volatile uint8_t *)address;

	for (size_t i = 64; i < 512; i++)
		assert_int_equal(freed[i], 0);
}

static void
a_wiped_buffer_is_zero(void **state)
{
	const uint8_t zeros[100] = {0};
	uint8_t buf[100];
	struct key32 key;

	(void)state;
	memset(buf, 0xaa, sizeof(buf));
	memset(&key, 0xaa, sizeof(key));
	secmem_wipe(buf, sizeof(buf));
	key32_wipe(&key);
	assert_memory_equal(buf, zeros, sizeof(buf));
	assert_memory_equal(key.b, zeros, sizeof(key.b));
	secmem_wipe(NULL, 0);
}

static void
an_exhausted_heap_gives_null_and_recovers(void **state)
{
	void *chunks[65];
	size_t count = 0;

	(void)state;
	assert_null(secmem_new(2 << 20));
	while (count < 65 && (chunks[count] = secmem_new(16 << 10)))
		count++;
	assert_true(count >= 32 && count <= 64);
	while (count)
		secmem_free(chunks[--count]);
	chunks[0] = secmem_new(16 << 10);
	assert_non_null(chunks[0]);
	secmem_free(chunks[0]);
	secmem_free(NULL);
}

static void
equal_compares_every_byte(void **state)
{
	uint8_t a[32] = {0}, b[32] = {0};

	(void)state;
	assert_true(secmem_equal(a, b, sizeof(a)));
	for (size_t i = 0; i < sizeof(a); i++) {
		b[i] ^= 0x80;
		assert_false(secmem_equal(a, b, sizeof(a)));
		b[i] ^= 0x80;
	}
	assert_true(secmem_equal(a, b, 0));
}

int
main(void)
{
	/* In this order: the first is about the time before secmem_init. */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before_init_no_secret_memory_is_given_out),
		cmocka_unit_test(after_init_the_process_cant_be_dumped),
		cmocka_unit_test(the_heap_is_locked_if_it_is_said_to_be),
		cmocka_unit_test(a_second_init_changes_nothing),
		cmocka_unit_test(new_memory_is_zero_also_where_a_secret_was),
		cmocka_unit_test(freed_memory_is_wiped),
		cmocka_unit_test(a_wiped_buffer_is_zero),
		cmocka_unit_test(an_exhausted_heap_gives_null_and_recovers),
		cmocka_unit_test(equal_compares_every_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
