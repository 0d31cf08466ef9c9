/*
 * join_internal.h: what joining by the recovery key and by an invitation have in common.
 */
#ifndef SNUGFS_JOIN_INTERNAL_H
#define SNUGFS_JOIN_INTERNAL_H

#include "engine.h"

struct credentials;

/* A key box that we open; or, without a name, an earlier epoch key that an object vouches for that is believed. */
struct opened_box {
	char name[CHAIN_NAME_MAX];
	uint32_t epoch;
	uint8_t sha256[32];
	struct keybox_secrets *secrets; /* in secret memory */
};

struct join {
	const struct vault_create_params *p;
	struct store *store;
	struct chain *chain;
	char **why_out;
	uint8_t vault_id[32];
	struct identity *as; /* the recovery key or the invitation */
	uint8_t as_id[IDENTITY_ID_LEN];
	bool by_recovery;
	bool reading;      /* nothing is entered: with a damaged commit, what is before it is wanted */
	bool unproven;     /* reading: it begins with a base by `author`; whether that was removed since, nothing says */
	uint8_t author[IDENTITY_ID_LEN];
	bool name_is_mine; /* by invitation: p->device_name goes before the one that it has */
	struct key32 psk;
	struct opened_box *boxes;
	size_t box_count;
	const struct invitation *invitation; /* NULL: by the recovery key */
	uint32_t since; /* by the recovery key: it was put in force with this epoch; 0: with the vault, as far as is known */
	const struct pinned_commit *pinned; /* by invitation: what the chain must contain */
	struct vault *v; /* while it is being made */
	struct sync *s;
};

void join_clear(struct join *j);
/* Enters the device into the chain; called once, with everything pulled. */
typedef err_t join_enter_fn(struct join *j);
/* From the opened boxes on: finds a beginning, reads on, enters, and publishes the vault. */
MUST_CHECK err_t join_finish(struct join *j, join_enter_fn *enter);
/* The keys to the store that were given are kept.  NULL: none. */
MUST_CHECK err_t join_keep_credentials(struct join *j, const struct credentials *c);
/* The sentence of a failure, unless there is one. */
void join_take_why(struct join *j, err_t err);
/* What was said turns out not to matter. */
void join_forget_why(struct join *j);
err_t join_explain_store(struct join *j, err_t err);

/*
 * join_earlier.c.  The earlier epoch keys that commit number seq, opened by boxes[own], carries are appended to boxes, nameless.
 * -EBADMSG: it does not open, names another box than that, or is not as it must be; then nothing was appended.
 */
MUST_CHECK err_t join_earlier_take(struct join *j, size_t own, uint64_t seq, const struct bytes *object);
/*
 * For a recovery key that was put in force later than commit 0: does that with the first commit of the earliest epoch that it opens,
 * and sets since.  -ENOENT: there is none; the store's errors, with a sentence.
 */
MUST_CHECK err_t join_earlier_find(struct join *j);

/* join_start.c.  -ENOENT, -EPROTO, -EBADMSG with a sentence. */
MUST_CHECK err_t join_start_marker(struct join *j, uint8_t vault_id_out[static 32]);
/* Tries one box; if it is ours it is appended to boxes, which has room for it. */
MUST_CHECK err_t join_start_try_box(struct join *j, const struct chain_box *box);
/* Makes the vault from the newest base that holds, else from the first commit. */
MUST_CHECK err_t join_start(struct join *j);
/* Is it what is wrong with a commit, so that nothing behind it can be read? */
bool join_start_is_gap(err_t err);

#endif
