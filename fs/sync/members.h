/*
 * members.h: commits that change who is in: what is to be said is said anew for every try, on the newest state, until the store
 * takes it; what follows from it (a new epoch with its key box, expired invitations) is added here.
 *
 * Uses sync.h, trust.h.
 */
#ifndef SNUGFS_MEMBERS_H
#define SNUGFS_MEMBERS_H

#include "identity.h"
#include "sync.h"
#include "trust.h"

/* The statements of one try, as far as they have been said. */
struct members_saying;

/*
 * Says statements, in order, with the functions below; a non-zero return ends all, and is handed on.  Called again, from the
 * beginning, when another device's commit was first; then it sees the state with that.  If it says nothing and begins
 * no epoch, nothing is committed.
 * Called on the caller's thread; no lock that a file operation wants is held.
 */
typedef err_t members_say_fn(struct members_saying *w, void *ctx);

/* The state with all that was said so far; borrowed until the next statement. */
const struct trust *members_trust(const struct members_saying *w);
const struct vault *members_vault(const struct members_saying *w);
uint64_t members_now_ns(const struct members_saying *w);
/* Takes one whole statement, made (trust_make_…) for members_trust(w).  Errors as trust_apply has them. */
MUST_CHECK err_t members_say(struct members_saying *w, const struct bytes *statement);
/* Makes and says: this device removes that member. */
MUST_CHECK err_t members_say_remove(struct members_saying *w, const uint8_t member_id[static IDENTITY_ID_LEN]);
/*
 * A new epoch is to begin though nobody is removed (a recovery key was added).  recovery_psk: what the boxes of the recovery key
 * are sealed under from now on, identity_derive(recovery, "recovery psk"); NULL: as before.
 */
void members_begin_epoch(struct members_saying *w, const uint8_t *recovery_psk);
/*
 * Makes a key box of the current epoch for one member alone, in the store.  name_out has CHAIN_NAME_MAX bytes.
 */
MUST_CHECK err_t members_write_box_for(struct members_saying *w, const struct identity_public *member, char *name_out,
    uint8_t sha256_out[static 32]);
/* Why it can't be done, in a sentence; hands err on.  The status shows nothing of it: the one who asked is told. */
__attribute__((format(printf, 3, 4))) err_t members_refuse(struct members_saying *w, err_t err, const char *fmt, ...);

/* The commit that it became, or the head if nothing was said. */
struct members_done {
	uint64_t seq;
	uint8_t hash[32];
};
/*
 * Pulls, says, commits; -EEXIST is never returned.  *why_out (may be NULL): a malloc'ed sentence on failure.  done_out may be
 * NULL.  What is pending here stays so: it is pushed by the next round.
 */
MUST_CHECK err_t members_commit(struct sync *s, members_say_fn *say, void *ctx, char **why_out, struct members_done *done_out);
/*
 * Writes a base now, for a recovery key that came in just before: with it, joining needs no commit of an earlier epoch.
 * -EBUSY: something is pending here that has not been pushed.
 */
MUST_CHECK err_t members_write_base(struct sync *s);

#endif
