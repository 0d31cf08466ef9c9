/*
 * safetywords.h: hashes that two people, or one with two screens, compare by eye and ear: proquints (D. S. Wilkerson, "A
 * Proposal for Proquints", 2009), 16 bits in each word of five letters.
 *
 * Six words are 96 bits.  Who wants to show the same words for another head must find a commit that a member would have
 * signed: 2^96 tries for words that stand, and 2^48 signatures for a member who makes both heads himself; the store, which
 * can sign nothing, has no tries at all.  Uses err.h, hash.h, identity.h.
 */
#ifndef SNUGFS_SAFETYWORDS_H
#define SNUGFS_SAFETYWORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "identity.h"

#define SAFETYWORDS_COUNT 6
#define SAFETYWORDS_TEXT_LEN (6 * SAFETYWORDS_COUNT - 1) /* without the NUL */

/* word_count words of 16 bits each, joined by hyphens: 6 * word_count characters with the NUL. */
void safetywords_format(const uint8_t *bits, size_t word_count, char *text_out);

/* The words of a head: of SHA-256("snugfs/1 safety words" || vault id || u64 seq || hash of the commit's object). */
MUST_CHECK err_t safetywords_head(const uint8_t vault_id[static 32], uint64_t seq, const uint8_t hash[static 32],
    char text_out[static SAFETYWORDS_TEXT_LEN + 1]);
/* The words of a member: of SHA-256("snugfs/1 member words" || vault id || member id). */
MUST_CHECK err_t safetywords_member(const uint8_t vault_id[static 32], const uint8_t member_id[static IDENTITY_ID_LEN],
    char text_out[static SAFETYWORDS_TEXT_LEN + 1]);

/* Did somebody type these words?  Case, spaces and hyphens do not count. */
bool safetywords_match(const char *typed, const char *words);

#endif
