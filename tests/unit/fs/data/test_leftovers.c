/*
 * test_leftovers.c: what is done with a key leaves nothing of it in vector registers nor on the stack.  Each operation runs in a
 * thread of its own, on a stack that is then searched, and so are the registers, as the operation left them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "curve25519.h"
#include "devicefile.h"
#include "envelope.h"
#include "frame.h"
#include "hpke.h"
#include "kdf.h"
#include "keybox.h"
#include "keyring.h"
#include "keywrap.h"
#include "random.h"
#include "recoverykey.h"
#include "rowseal.h"
#include "shamir.h"

#define STACK_LEN ((size_t)1 << 20)
#define REGISTERS_LEN 16384
/* Vector registers hold at least that much of a key, and it is enough to know it by. */
#define PART_LEN 16

/* All secrets are here, in secret memory; results are put here, too. */
struct secrets {
	uint8_t epoch_key[32];
	uint8_t file_key[32];
	uint8_t device[32];
	uint8_t recovery[32]; /* the key is its first half, then come zeros */
	uint8_t derived[32];
	uint8_t shared[32];
	uint8_t made[32];
	struct keybox_secrets box;
};

static struct secrets *secret;
static struct keyring *keys;
static struct file_key wrapped;
static struct identity *device, *recovery;
static struct bytes object, box, device_file;
static uint8_t vault_id[32] = {7};
static uint8_t author[IDENTITY_ID_LEN];
static struct shamir_share *shares;

static uint8_t registers[REGISTERS_LEN] __attribute__((aligned(64)));

/* Before anything else can change them. */
static inline __attribute__((always_inline)) void
save_registers(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("xsave64 (%0)" ::"r"(registers), "a"(-1), "d"(-1) : "memory");
	else
		__asm__ volatile("fxsave64 (%0)" ::"r"(registers) : "memory");
#elif defined(__aarch64__)
	__asm__ volatile("st1 {v0.16b-v3.16b}, [%0], #64\n\tst1 {v4.16b-v7.16b}, [%0], #64\n\t"
			 "st1 {v8.16b-v11.16b}, [%0], #64\n\tst1 {v12.16b-v15.16b}, [%0], #64\n\t"
			 "st1 {v16.16b-v19.16b}, [%0], #64\n\tst1 {v20.16b-v23.16b}, [%0], #64\n\t"
			 "st1 {v24.16b-v27.16b}, [%0], #64\n\tst1 {v28.16b-v31.16b}, [%0], #64" ::"r"((uint8_t *){registers})
			 : "memory");
#endif
}

/* Operations: 0, or what failed. */

static err_t
add_an_epoch(void)
{
	return keyring_add(keys, 1, secret->epoch_key);
}

static err_t
get_an_epoch(void)
{
	CLEANUP(key32_wipe) struct key32 key = {{0}};

	return keyring_get(keys, 1, &key);
}

static err_t
wrap_a_file_key(void)
{
	wrapped.epoch = 1;
	return keywrap_wrap(secret->epoch_key, secret->file_key, wrapped.wrapped);
}

/* Twice: unwrapped, then remembered. */
static err_t
open_a_file_key(void)
{
	CLEANUP(key32_wipe) struct key32 key = {{0}};
	err_t e = keyring_open_file_key(keys, &wrapped, &key);

	return e ? e : keyring_open_file_key(keys, &wrapped, &key);
}

static err_t
seal_and_open_an_extent(void)
{
	static uint8_t plain[FRAME_RAW_LEN], sealed[FRAME_RAW_LEN + 16];
	const struct extent_identity x = {.len = sizeof(plain), .encoding = FRAME_RAW};
	CLEANUP(frame_cipher_clear) struct frame_cipher cipher = {0};
	err_t e = frame_seal_raw(secret->file_key, &x, plain, sealed);

	if (!e)
		e = frame_cipher_init(&cipher, secret->file_key, &x);
	return e ? e : frame_open(&cipher, 0, sealed, sizeof(sealed), plain);
}

static err_t
derive(void)
{
	err_t e = hkdf_extract(NULL, 0, secret->epoch_key, 32, secret->made);

	return e ? e : hkdf_expand_label(secret->epoch_key, "snugfs/1 test", NULL, 0, secret->derived, 32);
}

static err_t
make_a_random_secret(void)
{
	return random_secret(secret->made, sizeof(secret->made));
}

static err_t
stretch_a_passphrase(void)
{
	return scrypt_derive(secret->device, 32, secret->epoch_key, 32, 14, 1, 1, secret->made);
}

static err_t
become_a_device(void)
{
	struct identity *id = NULL;
	err_t e = identity_from_device_secret(secret->device, &id);

	if (!e)
		e = identity_derive(id, "snugfs/1 local", secret->made);
	identity_free(id);
	return e;
}

static err_t
seal_and_open_an_envelope(void)
{
	CLEANUP(envelope_opened_clear) struct envelope_opened opened = {0};
	struct envelope e = {.kind = ENVELOPE_COMMIT, .epoch = 1, .seq = 1};
	err_t err;

	memcpy(e.author, author, sizeof(author));
	bytes_reset(&object);
	err = envelope_seal(&e, vault_id, secret->epoch_key, device, vault_id, sizeof(vault_id), &object);
	return err ? err : envelope_open(object.data, object.len, ENVELOPE_COMMIT, 1, vault_id, secret->epoch_key, &opened);
}

static err_t
seal_and_open_a_key_box(void)
{
	const struct keybox_member me = {.pub = *identity_public(device)};
	CLEANUP(secmem_free_ptr) struct keybox_secrets *opened = secmem_new(sizeof(*opened));
	err_t e;

	bytes_reset(&box);
	e = opened ? keybox_seal(vault_id, 1, &secret->box, &me, 1, &box) : -ENOMEM;
	return e ? e : keybox_open(box.data, box.len, vault_id, 1, device, false, secret->box.link_secret, opened);
}

static err_t
seal_and_open_by_hpke(void)
{
	static const uint8_t id[] = "psk";
	const struct hpke_psk psk = {secret->shared, sizeof(secret->shared), id, sizeof(id)};
	uint8_t pub[32], enc[HPKE_ENC_LEN], text[32 + 16];
	err_t e = x25519_public(secret->device, pub);

	if (!e)
		e = hpke_seal(pub, &psk, "info", 4, NULL, 0, secret->file_key, 32, enc, text);
	return e ? e : hpke_open(secret->device, enc, &psk, "info", 4, NULL, 0, text, sizeof(text), secret->made);
}

static err_t
seal_and_open_a_row(void)
{
	CLEANUP(bytes_clear) struct bytes row = {0};
	CLEANUP(bytes_clear) struct bytes opened = {0};
	struct rowseal *rs = NULL;
	uint8_t salt[ROWSEAL_SALT_LEN];
	int64_t name;
	err_t e = rowseal_new(secret->derived, &rs);

	if (e)
		return e;
	e = rowseal_start_session(rs, 1, salt);
	if (!e)
		e = rowseal_seal(rs, "aad", 3, "row", 3, &row);
	if (!e)
		e = rowseal_open(rs, "aad", 3, row.data, row.len, &opened);
	if (!e)
		e = rowseal_name_hash(rs, 1, "name", 4, &name);
	rowseal_free(rs);
	return e;
}

static err_t
open_a_device_file(void)
{
	struct devicefile *df = NULL;
	err_t e = devicefile_parse(device_file.data, device_file.len, &df);

	if (!e)
		e = devicefile_open_passphrase(df, "pass", 4);
	devicefile_free(df);
	return e;
}

static err_t
split_and_combine_a_recovery_key(void)
{
	err_t e = shamir_split(secret->recovery, 2, 3, shares);

	return e ? e : shamir_combine(shares, 2, secret->made);
}

static err_t
copy_a_secret(void)
{
	secmem_copy(secret->made, secret->epoch_key, 32);
	return 0;
}

static err_t
wipe_a_copy(void)
{
	uint8_t copy[32];

	memcpy(copy, secret->epoch_key, sizeof(copy));
	__asm__ volatile("" ::"r"(copy) : "memory");
	secmem_wipe(copy, sizeof(copy));
	return 0;
}

/* On the real one, not on the one that the address sanitizer keeps beside it. */
__attribute__((no_sanitize_address)) static err_t
leave_a_copy_on_the_stack(void)
{
	volatile uint8_t copy[32];

	for (size_t i = 0; i < sizeof(copy); i++)
		copy[i] = secret->epoch_key[i];
	return copy[0] == secret->epoch_key[0] ? 0 : -EIO;
}

static err_t
leave_a_copy_in_a_register(void)
{
#if defined(__x86_64__)
	__asm__ volatile("movdqu (%0), %%xmm9" ::"r"(secret->epoch_key) : "xmm9");
#elif defined(__aarch64__)
	__asm__ volatile("ld1 {v19.16b}, [%0]" ::"r"(secret->epoch_key) : "v19");
#endif
	return 0;
}

/* Running them. */

struct run {
	err_t (*operation)(void);
	err_t result;
};

/* The end of a thread uses some of the stack, too: what is to be searched is farther down. */
static void *
run(void *ctx)
{
	volatile uint8_t distance[65536];
	struct run *r = ctx;

	distance[0] = 0;
	r->result = r->operation();
	save_registers();
	distance[sizeof(distance) - 1] = 0;
	return NULL;
}

static bool
holds_part_of_a_secret(const uint8_t *data, size_t len, const char *where)
{
	static const uint8_t zeros[PART_LEN];
	const uint8_t *s = (const uint8_t *)secret;

	for (size_t at = 0; at + PART_LEN <= sizeof(*secret); at += PART_LEN) {
		if (memcmp(s + at, zeros, PART_LEN) == 0 || !memmem(data, len, s + at, PART_LEN))
			continue;
		print_message("%s: bytes %zu to %zu of the secrets\n", where, at, at + PART_LEN);
		return true;
	}
	return false;
}

static void
search_after(err_t (*operation)(void), bool *in_registers_out, bool *on_stack_out)
{
	uint8_t *stack = mmap(NULL, STACK_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct run r = {operation, -EIO};
	pthread_attr_t attributes;
	pthread_t thread;

	assert_true(stack != MAP_FAILED);
	memset(registers, 0, sizeof(registers));
	assert_int_equal(pthread_attr_init(&attributes), 0);
	assert_int_equal(pthread_attr_setstack(&attributes, stack, STACK_LEN), 0);
	assert_int_equal(pthread_create(&thread, &attributes, run, &r), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	pthread_attr_destroy(&attributes);
	assert_int_equal(r.result, 0);
	*in_registers_out = holds_part_of_a_secret(registers, sizeof(registers), "registers");
	*on_stack_out = holds_part_of_a_secret(stack, STACK_LEN, "stack");
	munmap(stack, STACK_LEN);
}

static void
what_is_left_carelessly_is_found(void **state)
{
	bool in_registers, on_stack;

	(void)state;
	search_after(leave_a_copy_on_the_stack, &in_registers, &on_stack);
	assert_true(on_stack);
#if defined(__x86_64__) || defined(__aarch64__)
	search_after(leave_a_copy_in_a_register, &in_registers, &on_stack);
	assert_true(in_registers);
#endif
}

/* In this order: some make what others use. */
static const struct {
	const char *name;
	err_t (*run)(void);
} operations[] = {
	{"add an epoch", add_an_epoch},
	{"get an epoch", get_an_epoch},
	{"wrap a file key", wrap_a_file_key},
	{"open a file key", open_a_file_key},
	{"seal and open an extent", seal_and_open_an_extent},
	{"derive", derive},
	{"make a random secret", make_a_random_secret},
	{"stretch a passphrase", stretch_a_passphrase},
	{"become a device", become_a_device},
	{"seal and open an envelope", seal_and_open_an_envelope},
	{"seal and open a key box", seal_and_open_a_key_box},
	{"seal and open by HPKE", seal_and_open_by_hpke},
	{"seal and open a row", seal_and_open_a_row},
	{"open a device file", open_a_device_file},
	{"split and combine a recovery key", split_and_combine_a_recovery_key},
	{"copy a secret", copy_a_secret},
	{"wipe a copy", wipe_a_copy},
};

static void
nothing_of_a_secret_is_left_in_registers_or_on_the_stack(void **state)
{
	unsigned failed = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
		bool in_registers, on_stack;

		search_after(operations[i].run, &in_registers, &on_stack);
		if (in_registers || on_stack)
			print_message("... after: %s\n", operations[i].name);
		failed += in_registers || on_stack;
	}
	assert_int_equal(failed, 0);
}

static int
set_up(void **state)
{
	struct devicefile *df;

	(void)state;
	assert_int_equal(secmem_init(), 0);
	secret = secmem_new(sizeof(*secret));
	shares = secmem_new(3 * sizeof(*shares));
	assert_true(secret && shares);
	assert_int_equal(random_secret(secret, sizeof(*secret)), 0);
	memset(secret->recovery + RECOVERY_KEY_LEN, 0, sizeof(secret->recovery) - RECOVERY_KEY_LEN);
	assert_int_equal(keyring_new(&keys), 0);
	assert_int_equal(identity_from_device_secret(secret->device, &device), 0);
	assert_int_equal(identity_from_recovery_key(secret->recovery, &recovery), 0);
	assert_int_equal(identity_id(identity_public(device), author), 0);
	assert_int_equal(devicefile_new(secret->device, vault_id, &df), 0);
	assert_int_equal(devicefile_add_passphrase(df, NULL, "pass", 4, 14), 0);
	assert_int_equal(devicefile_serialize(df, &device_file), 0);
	devicefile_free(df);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	bytes_clear(&object);
	bytes_clear(&box);
	bytes_clear(&device_file);
	identity_free(device);
	identity_free(recovery);
	keyring_free(keys);
	secmem_free(shares);
	secmem_free(secret);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_left_carelessly_is_found),
		cmocka_unit_test(nothing_of_a_secret_is_left_in_registers_or_on_the_stack),
	};

	return cmocka_run_group_tests_name("leftovers", tests, set_up, tear_down);
}
