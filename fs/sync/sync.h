/*
 * sync.h: between the vault and its store: push, pull, bases, and the thread that does them by itself.
 *
 * ORDER of a push: segments, then key boxes, then the commit; bases after commits.  Nothing here holds a lock across the
 * network.  Uses vault.h, merge.h, changes.h, remote's chain.h.
 */
#ifndef SNUGFS_SYNC_H
#define SNUGFS_SYNC_H

#include <stdatomic.h>
#include <time.h>

#include "chain.h"
#include "merge.h"
#include "settings.h"
#include "vault.h"

struct sync;

struct sync_hooks {
	void *ctx;
	/* Before foreign content is applied: write the kernel's dirty pages of this file (no lock held). */
	void (*flush_inode)(void *ctx, uint64_t ino);
	/* After: the kernel's caches are stale (no lock held). */
	void (*changed)(void *ctx, const struct merge_result *r);
	/*
	 * Something that a person should hear of: kind is "conflict", "device", "problem" or "notice", text a sentence.  May be
	 * NULL; must not block (the round is held).
	 */
	void (*event)(void *ctx, const char *kind, const char *text);
	/* A number that moves on as programs use the folder; may be NULL. */
	uint64_t (*use)(void *ctx);
};

/* store may be NULL-less only: a vault without a remote has no sync. All borrowed but store, which is owned from success on. */
MUST_CHECK err_t sync_new(struct vault *v, struct store *store, struct sync **out);
void sync_set_hooks(struct sync *s, const struct sync_hooks *hooks);
void sync_free(struct sync *s);

/* One round: pull what is new, push what is pending, until neither is left; writes a base when due. */
MUST_CHECK err_t sync_once(struct sync *s);
/* The same, but what can't be sent (a damaged file) is no error: it stays pending, and the status has it. */
MUST_CHECK err_t sync_all_but_left(struct sync *s);
/* Settles, uploads and commits what is pending now. 0 also when there was nothing. */
MUST_CHECK err_t sync_push(struct sync *s);
/* Applies every commit that the store has beyond our head.  -EBADMSG: forged or damaged; -ESTALE: the store has lost or
 * replaced what we have seen (rollback or fork); -EPROTO; -EKEYREVOKED: this device was removed. */
MUST_CHECK err_t sync_pull(struct sync *s);

/* The background thread: pushes quiet changes and polls for foreign ones, at the times of schedule.h. */
MUST_CHECK err_t sync_start(struct sync *s);
void sync_stop(struct sync *s); /* interrupts a wait, not a transfer that is under way for less than its time limit */
/* Waits until everything that was pending at the call is in the store, or an error that needs a person. */
MUST_CHECK err_t sync_drain(struct sync *s);

/*
 * What the user wants: from now on, also in what is under way.  Paused: nothing happens by itself, but what somebody asks for.
 * Offline: nothing at all, also no fetch: -ECANCELED, and -ENETDOWN from sync_drain, sync_once and the like.
 */
void sync_apply_settings(struct sync *s, const struct settings *st);

/* What the network is like, as far as anybody knows; at first SYNC_NETWORK_FREE. */
enum sync_network {
	SYNC_NETWORK_FREE,    /* or unknown */
	SYNC_NETWORK_METERED, /* nothing happens by itself, as if paused */
	SYNC_NETWORK_ASKED,   /* the same, for the moment that it takes to hear which of the two it is */
};
/* From any thread; from now on, also in what is under way. */
void sync_set_network(struct sync *s, enum sync_network network);
/* Is nothing to happen by itself, for that reason or since the user wants it so? */
bool sync_is_held(const struct sync *s);

struct sync_status {
	uint64_t pending_inodes;
	uint64_t pending_names;
	uint64_t pending_bytes;   /* estimate: content not yet in the store */
	time_t pending_since;     /* 0: nothing is pending */
	time_t last_push;         /* 0: never */
	time_t last_pull;
	time_t last_contact;
	uint64_t head_seq;
	bool has_head;
	bool busy;
	uint64_t bytes_done;      /* of the running push */
	uint64_t bytes_total;
	enum settings_hold hold;  /* as of now, and until when */
	time_t hold_until;        /* 0: until told otherwise */
	bool metered;             /* SYNC_NETWORK_METERED */
	bool rekey;               /* content is being sealed anew (rekey.h) */
	uint64_t rekey_done;      /* bytes in segments */
	uint64_t rekey_total;     /* 0: not counted yet */
	uint64_t up_rate;         /* limits, bytes a second; 0: none */
	uint64_t down_rate;
	struct store_traffic traffic;
	err_t problem;            /* 0, or the last error that still stands */
	char problem_text[512];   /* what, why, what to do next */
};
void sync_get_status(struct sync *s, struct sync_status *out);
/* store_get_calls of its store. */
void sync_get_calls(const struct sync *s, uint64_t out[static STORE_CALL_KINDS]);
/* Sentences about conflicts and device changes, oldest first, kept until dismissed; malloc'ed array of malloc'ed strings. */
MUST_CHECK err_t sync_get_messages(struct sync *s, char ***out, size_t *count_out);

/* The messages were seen: they are not shown any more. */
void sync_dismiss_messages(struct sync *s);

/* fetcher_source_fn; ctx is the sync. */
MUST_CHECK err_t sync_fetch_segment(void *ctx, const struct segment *seg, uint64_t off, size_t len, struct bytes *out);

/* The commit that made an invitation, for its token. */
struct sync_invited {
	uint64_t seq;
	uint8_t hash[32];
};
/*
 * Gives out an invitation: guest is who its secret makes (identity_from_invitation).  Errors as members_commit has them
 * (members.h).
 */
MUST_CHECK err_t sync_invite(struct sync *s, const struct identity_public *guest, const char *name, uint64_t expires_ns,
    struct sync_invited *out, char **why_out);

/* The name of an invitation that does not say what the device is to be called. */
#define SYNC_INVITATION_UNNAMED "a new device"
struct invitation;
/*
 * Joining by an invitation: as sync_join, but the commit that the invitation names must be in the chain as it was then, and
 * the invitation is used up by it; a new epoch begins.  name_is_mine: p->device_name counts even if the invitation has one.
 * -ESTALE: another vault, or an older or other state of it; -EKEYEXPIRED: its time is over; -EKEYREVOKED: used already, or
 * withdrawn; -EKEYREJECTED: nobody gave it out.
 */
MUST_CHECK err_t sync_join_invited(const struct vault_create_params *p, struct store *store, const struct invitation *inv,
    bool name_is_mine, char **why_out);

/*
 * Joining with the recovery key: reads the store, proves that it is this key's vault, makes the local half in p->dir, adds
 * this device to the chain.  The vault is not left open; on failure nothing is left behind.
 * -ENOENT: no vault in the store; -EKEYREJECTED: this recovery key is not of that vault; -EBADMSG, -EPROTO, -EAGAIN, ….
 */
MUST_CHECK err_t sync_join(const struct vault_create_params *p, struct store *store,
    const uint8_t recovery_key[static RECOVERY_KEY_LEN], char **why_out);

/*
 * Reads a vault with the recovery key without joining it: nothing is written to the store.  The tree is unfolded in a
 * directory beside p->dir, which sync_reading_close removes again; contents are fetched as they are read.  p->lock: with a
 * random passphrase, what a crash leaves behind is closed for good.  Errors as sync_join's.
 */
struct sync_reading;
MUST_CHECK err_t sync_reading_open(const struct vault_create_params *p, struct store *store,
    const uint8_t recovery_key[static RECOVERY_KEY_LEN], struct sync_reading **out, char **why_out);
struct vault *sync_reading_vault(struct sync_reading *r);
/* Why the tree is not the newest one: the commit at which reading ended, in a sentence; NULL: it is. */
const char *sync_reading_gap(struct sync_reading *r);
void sync_reading_close(struct sync_reading *r);

#endif
