/*
 * engine.h: what the files behind sync.h share, and nobody else sees.
 *
 *   sync.c     the interface, the status                report.c   sentences: problems, messages
 *   sync_thread.c  the thread: what schedule.c says, when it says so
 *   pull.c     commits from the store, applied          admit.c    what is believed: keys, statements, authors
 *   push.c     commits to the store                     collect.c  what the next commit says
 *   upload*.c  settling, segments (upload_internal.h)    describe.c inodes in the words of changes.h
 *   base.c     bases                                    members.c  commits that change who is in
 *   join.c     a new device: by the recovery key        join_invited.c  by an invitation
 *   drops.c    around commits that drop segments        gc*.c      garbage (gc_internal.h)
 *   catchup.c  reads that wait for a pull
 *   join_start.c  where it begins to read               join_earlier.c  keys of epochs before its own
 *   rekey*.c   content under new keys (rekey_internal.h)  walk.c  through the chunks of all files
 *   past.c     the chain read backwards                 past_build.c  the tree as it was
 *
 * LOCKING: `round` first; then file locks and the meta lock (never across the network); `lock` last, for short.
 */
#ifndef SNUGFS_ENGINE_H
#define SNUGFS_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "envelope.h"
#include "members.h"
#include "numset.h"
#include "settings.h"
#include "sync.h"

/* A new epoch, its key box already in the store. */
struct fresh_epoch {
	uint32_t epoch;
	char box_name[CHAIN_NAME_MAX];
	uint8_t box_sha256[32];
	const struct keybox_secrets *secrets;
};

struct pinned_commit {
	uint64_t seq;
	uint8_t hash[32];
};

struct rekey;
struct witness;

struct sync {
	struct vault *v;
	struct store *store;
	bool owns_store;
	struct chain *chain;
	struct witness *witness;
	struct rekey *rekey;
	struct sync_hooks hooks; /* set before any thread */
	atomic_bool stop;
	atomic_int hold;     /* enum settings_hold, as of now */
	atomic_int network;  /* enum sync_network */
	atomic_bool asked;   /* the running round is one that somebody waits for: a pause does not end it */

	/* As whom key boxes are opened: this device, or while joining the recovery key or an invitation.  Borrowed. */
	const struct identity *box_identity;
	const uint8_t *box_psk;
	bool box_is_recovery;
	/* [round] An epoch that this device is about to begin; NULL else.  Borrowed. */
	const struct fresh_epoch *fresh;
	/* What the chain must contain, as somebody else has seen it; NULL: not known.  Borrowed. */
	const struct pinned_commit *pinned;
	bool joining; /* a history is read for the first time: nothing in it is news */

	/*
	 * One push, pull or base at a time: held across the network, and wanted by nothing that a file operation waits for.
	 * Only its holder changes v->trust and the head, so that it may read them without the meta lock.
	 */
	pthread_mutex_t round;
	bool marker_checked;      /* by this process */
	bool head_checked;        /* the same: c/<head> was read and is what we know */
	uint8_t head_start[ENVELOPE_HEADER_LEN]; /* if so: how it begins */
	unsigned polls;           /* since our head was last looked at */
	bool put_back_told;       /* by this process: the vault's directory is older than what this device has sent */
	struct bytes opening;     /* the statement of epoch 0, once its key box is in the store */
	uint64_t next_ino;        /* numbers of this computer from here on are left to the next push */
	uint64_t full_bytes;      /* so much was pending when the store was last full; UINT64_MAX: it was not */
	struct interlude {        /* what push_interlude knows of the running push */
		bool allowed;
		bool pushed;
		time_t began;     /* files that have changed since then are recent */
		uint64_t handled; /* local changes up to here went, or are in the portion that is under way */
		uint64_t seen;
		int64_t seen_ms;
		int64_t next_ms;  /* not again before */
		int64_t polled_ms;
	} interlude;
	atomic_bool collecting;   /* garbage: one at a time */
	bool swept;               /* left-over segments were looked for since something was settled */
	struct numset *damaged;   /* files of which something pending can't be read here: it stays here */

	pthread_mutex_t lock;
	/* under lock */
	struct numset *uploaded;  /* segments in the store that no commit names yet */
	struct numset *unsound;   /* segments that are damaged here, and were told of */
	struct numset *losses;    /* files that could not be read since they are damaged, and were told of */
	struct settings settings;
	struct sync_status status; /* times, busy, bytes and problem; the rest is computed */
	char why[512];            /* why the running round failed, if a place knew better than its errno */
	err_t left;               /* the last push had to leave something here; of no account when nothing is pending */
	char left_why[512];       /* changed by the round only */
	char **messages;
	size_t message_count;
	pthread_t thread;
	bool running;
	bool kicked;
	uint64_t rounds_begun;
	uint64_t rounds_done;
	err_t round_result;
	struct catchup *catchups; /* who waits */
	uint64_t catchups_asked;
	uint64_t catchups_served; /* by a pull that began after they had asked */
	uint64_t catchups_known;  /* ... and that brought all there was */
	pthread_cond_t wake;      /* the thread */
	pthread_cond_t done;      /* who waits for a round */
};

/* Without the thread; store is borrowed with owns_store false. */
MUST_CHECK err_t engine_new(struct vault *v, struct store *store, struct sync **out);
void engine_free(struct sync *s);
uint64_t engine_now_ns(void);
/* The round is to end here, with -ECANCELED. */
bool engine_is_interrupted(struct sync *s);
/* As store_cancel, for all stores that are asked. */
void engine_cancel(struct sync *s, bool cancelled);
/* One push, pull or base at a time; the end hands the error on.  asked: somebody waits for it. */
void engine_round_begin(struct sync *s, bool asked);
err_t engine_round_end(struct sync *s, err_t err);
/* Begins one that somebody waits for, unless there is one already, be it the caller's own. */
bool engine_round_try(struct sync *s);
/* A round that somebody waits for pushes again what came meanwhile, but not for ever. */
#define ENGINE_PUSH_PASSES 5u
/*
 * [round] Pulls, pushes what is pending at most `passes` times, and writes a base when due.  That something had to stay here since only a
 * person can help it is no error: report_left.
 */
MUST_CHECK err_t engine_exchange(struct sync *s, unsigned passes, bool *news_out);

/* report.c.  The first two say why and hand the error on. */
err_t report_store(struct sync *s, err_t err);
__attribute__((format(printf, 3, 4))) err_t report_why(struct sync *s, err_t err, const char *fmt, ...);
/* Something stays here that no other push will take, either: -EFBIG, or -EIO when it can't be read, and why.  It is in the status until then. */
__attribute__((format(printf, 3, 4))) void report_leave(struct sync *s, err_t err, const char *fmt, ...);
/* The last push left nothing. */
void report_leave_nothing(struct sync *s);
/* What the last push left, for who waits for all of it; 0: nothing. */
err_t report_left(struct sync *s);
/* The running round ended: what stands of it in the status.  Logs a new problem. */
void report_end(struct sync *s, err_t err);
/* To be shown to a person; kept. */
__attribute__((format(printf, 2, 3))) void report_message(struct sync *s, const char *fmt, ...);
/* A content_loss_fn of a sync: tells of some such files, each once. */
void report_loss(void *ctx, uint64_t ino, const char *path);
/* What the statements behind the first `known` changed. */
void report_members(struct sync *s, const struct trust *before, const struct trust *after);
void report_conflicts(struct sync *s, const struct merge_result *r);
MUST_CHECK err_t report_load(struct sync *s);
void report_save(struct sync *s);

/*
 * Whoever is or was a member can put key boxes into the store that open, even with the true key of their epoch; a statement names
 * the one that counts.  The others are stepped over, and no more of one epoch than this are looked at.
 */
#define BOXES_TRIED_MAX 256u

/* admit.c: an object that was opened and is believed. */
struct admitted {
	struct envelope_opened *opened;
	struct changes *changes;
	struct trust *trust;          /* with its statements */
	size_t first_statement;       /* the first that v->trust does not have */
	struct keyring *learned;      /* epoch keys that the vault does not have */
	struct keybox_secrets *box;   /* of a box that had to be opened for it, or NULL */
	uint8_t hash[32];
	uint64_t len;
};
void admitted_clear(struct admitted *a);
/*
 * The commit that is to follow the head.  -EBADMSG: not authentic, or by nobody who may; -ESTALE: it follows another
 * commit than ours; -EKEYREVOKED; -EPROTO; the store's errors (key boxes may have to be read).
 */
MUST_CHECK err_t admit_commit(struct sync *s, uint64_t seq, const uint8_t *object, size_t len, struct admitted *out);
/* Folds what of these statements, of which the first has number `first`, t does not have yet. -EBADMSG and trust_apply's. */
MUST_CHECK err_t admit_statements(struct trust *t, size_t first, const struct changes *c);
/* The author is a member in force and signed it. */
MUST_CHECK err_t admit_author(const struct trust *t, const struct envelope_opened *o);
/* The epoch keys that the object carries, unwrapped into keys. */
MUST_CHECK err_t admit_epoch_keys(const struct changes *c, uint32_t epoch, const uint8_t epoch_key[static 32],
    struct keyring *keys);
void admit_free_opened(struct envelope_opened **o); /* cleanup handler */

/* pull.c.  [round] */
MUST_CHECK err_t pull_all(struct sync *s, bool *news_out);
/* The same with one request if there is nothing new: whether our head is still there is looked at only now and then. */
MUST_CHECK err_t pull_poll(struct sync *s, bool *news_out);
/* Applies the commit that follows the head. */
MUST_CHECK err_t pull_apply(struct sync *s, uint64_t seq, const uint8_t *object, size_t len);

/*
 * catchup.c.  A content_news_fn of a sync, for who reads what the store has no more: waits for a pull, for a bounded time, or until a
 * commit has changed the file.  true: that pull has come to its end.  Not with any lock.
 */
bool catchup_wait(void *ctx, uint64_t ino);
/* A commit has been applied; before anything else waits for whoever reads one of its files. */
void catchup_tell(struct sync *s, const struct changes *c);

/*
 * drops.c.  [round] Before a commit with drops is applied: brings those that something pending here points into.  They stay here
 * until drops_let_go, after the commit: then their rows say that the store has them not.
 */
struct drops_held {
	struct segstore *ss;
	struct part **v;
	size_t count;
	struct numset *lost; /* segments of which something is needed that could not be had any more */
};
MUST_CHECK err_t drops_fetch(struct sync *s, const struct changes *c, struct drops_held *held_out);
void drops_let_go(struct drops_held *h); /* cleanup handler */
/* After the commit: names to the user the files that have lost something by it. */
void drops_tell(struct sync *s, const struct drops_held *h);
/* A segment's object, whole and checked, appended to out.  -EBADMSG: it is damaged; the store's errors, not reported. */
MUST_CHECK err_t drops_read_object(struct sync *s, const struct segment *seg, struct bytes *out);
/* After: files of what was forgotten go; what was renamed is not uploaded yet. */
MUST_CHECK err_t drops_finish(struct sync *s, const struct merge_left *d);

/* gc.c */
/* A commit of this device drops these: they are its to delete.  [meta lock, with the head's move] */
MUST_CHECK err_t gc_doom(struct sync *s, const struct changes *c);
/* The device begins with a base: what commits up to seq, with this hash, have named is not known. */
MUST_CHECK err_t gc_note_unread(struct sync *s, uint64_t seq, const uint8_t hash[static 32]);
/* Once a day.  For the thread, when nothing else is to be done; not in a round. */
void gc_run_if_due(struct sync *s);

/* rekey.c */
MUST_CHECK err_t rekey_new(struct sync *s, struct rekey **out);
void rekey_free(struct rekey *r);
/* For the thread: there is something to be done, and nobody does it who asked for it. */
bool rekey_is_due(const struct sync *s);
/* Does some of it, in a round.  *rest_ms_out: so long it should be let alone, since what is left must wait for something else; or 0. */
MUST_CHECK err_t rekey_some(struct sync *s, unsigned *rest_ms_out);

/* One segment that is whole here, under the name that its row has.  [round] */
MUST_CHECK err_t upload_segment(struct sync *s, const struct segment *seg);
/* upload.c.  [round] Settles pending content and uploads its segments: small files first, the rest as it grows. */
MUST_CHECK err_t upload_pending(struct sync *s);
/* The same for small files that have changed since a time (seconds since 1970), and not too much of them. */
MUST_CHECK err_t upload_recent(struct sync *s, time_t since);
/* Is the segment in the store, though no commit says so yet? */
bool upload_is_done(struct sync *s, uint64_t seg);
/* Drops settled segments that nothing points at any more; for when nothing is left to push. */
MUST_CHECK err_t upload_sweep(struct sync *s);

/* collect.c: what the next commit says.  [round] */
struct collected {
	struct changes *changes;
	bool more;      /* there is more than one commit should carry */
	bool unsettled; /* something was left out since it was written to meanwhile; from next_ino on nothing counts */
	bool too_large; /* something was left out since no commit can carry it; `path` names it */
	bool damaged;   /* ... since it is damaged or gone here, and is nowhere else */
	bool blocked;   /* nothing was taken: it is in the place of a folder, and the two can't be parted */
	char path[512];
};
/* partial: files that are being written are not left out; what of them is settled is taken. */
MUST_CHECK err_t collect_changes(struct sync *s, bool partial, struct collected *out);

/* describe.c.  Costs are estimates of plain bytes.  [meta lock] */
#define DESCRIBE_DENTRY_COST 64u /* and its name */
/* Attributes, target, xattrs and keys, as far as `fields` says. */
MUST_CHECK err_t describe_attributes(struct meta *m, struct inode *i, uint32_t fields, struct change_inode *ci);
size_t describe_cost(const struct change_inode *ci);
/* Adds a chunk as it is here; its segments must be settled. */
MUST_CHECK err_t describe_chunk(struct meta *m, struct changes *c, struct change_inode *ci, const struct chunk *chunk);
size_t describe_chunk_cost(const struct chunk *chunk);

/*
 * push.c.  [round]
 * While much is being settled and uploaded, what is small and recent does not wait for it, nor does what others did: to be
 * called now and then, it does what is due.
 */
bool push_interlude_is_due(struct sync *s);
MUST_CHECK err_t push_interlude(struct sync *s);
/* follow: what is made meanwhile, too, as far as it goes; else that is left to the next push.  What can't go: report_left. */
MUST_CHECK err_t push_all(struct sync *s, bool follow, bool *pushed_out);
/* Makes c the next commit, sealed under s->fresh if there is one, and applies it here.  -EEXIST: pull and collect again. */
MUST_CHECK err_t push_commit(struct sync *s, struct changes *c);
/* Seals an object under the current epoch key, in this device's name. */
MUST_CHECK err_t push_seal(struct sync *s, enum envelope_kind kind, uint64_t seq, const uint8_t previous[static 32],
    struct changes *c, struct bytes *out);

/* members.c.  [round] A key box for all members in force. */
MUST_CHECK err_t members_seal_box(const struct vault *v, const struct trust *t, uint32_t epoch,
    const struct keybox_secrets *secrets, struct bytes *out);
/* As members_commit, within a round: neither pulls at first nor ends anything.  -EEXIST: pull, and try again. */
struct members_done;
MUST_CHECK err_t members_try(struct sync *s, members_say_fn *say, void *ctx, char **why_out, struct members_done *done_out);
/* Withdraws invitations that have expired, by one commit if there are any; not while this device's clock is behind the chain's. */
MUST_CHECK err_t members_withdraw_expired(struct sync *s);
/* The keys of epochs before that one, wrapped under its key.  base.c and members.c. */
MUST_CHECK err_t members_add_epoch_keys(struct keyring *keys, uint32_t epoch, const uint8_t key[static 32], struct changes *c);

/* base.c.  [round] Writes a base if one is due; that it could not be done now is no error. */
MUST_CHECK err_t base_write_if_due(struct sync *s);
/* Writes one, due or not.  -EBUSY: something is pending here: not now. */
MUST_CHECK err_t base_write(struct sync *s);
/* Applies part number `index` of a base, after the ones before it, to a vault that was empty.  -EBADMSG. */
MUST_CHECK err_t base_apply_part(struct sync *s, uint64_t index, const struct change_segment *part,
    const uint8_t author[static IDENTITY_ID_LEN]);
/* All of them. */
MUST_CHECK err_t base_apply_parts(struct sync *s, const struct changes *manifest,
    const uint8_t author[static IDENTITY_ID_LEN]);

#endif
