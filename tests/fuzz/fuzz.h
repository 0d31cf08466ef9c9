/*
 * fuzz.h: what the fuzz targets share: libFuzzer's two entry points, a check that is active in every build, and the fixed
 * keys with which targets (and make_seeds.c) seal, so that the parsing behind authentication is reached.
 *
 * An input's first byte usually chooses between raw bytes and something that the target seals itself.
 */
#ifndef SNUGFS_FUZZ_H
#define SNUGFS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "secmem.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What must hold whatever the input is. */
#define FUZZ_REQUIRE(condition)                                                                              \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);       \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

/* For targets whose only preparation is the secret memory. */
#define FUZZ_INITIALIZE_SECMEM                                   \
	int LLVMFuzzerInitialize(int *argc, char ***argv)        \
	{                                                        \
		(void)argc;                                      \
		(void)argv;                                      \
		FUZZ_REQUIRE(secmem_init() == 0);                \
		return 0;                                        \
	}

/* What people are shown: no byte of others moves or colours what stands on their terminal (C0, delete, and in UTF-8 C1). */
static inline void fuzz_require_tame(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		FUZZ_REQUIRE(c >= 0x20 && c != 0x7f);
		FUZZ_REQUIRE(i == 0 || text[i - 1] != '\xc2' || c < 0x80 || c >= 0xa0);
	}
}

static const uint8_t fuzz_vault_id[32] = {0x76};
static const uint8_t fuzz_epoch_key[32] = {0x6b};
static const uint8_t fuzz_secret[32] = {0x73};
static const uint8_t fuzz_psk[32] = {0x70};

#define FUZZ_EPOCH 3u
#define FUZZ_SEQ 42u

#endif
