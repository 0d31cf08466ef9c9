/*
 * The keys of epochs before one's own.  An invitation and a recovery key that replaced another one have no box of these; the commit
 * that an epoch begins with carries them.  They only open: what they open is believed for its signatures, as everything is.
 */
#include <errno.h>
#include <stdlib.h>

#include "join_internal.h"
#include "keywrap.h"
#include "secmem.h"

static void
drop_from(struct join *j, size_t from)
{
	while (j->box_count > from)
		secmem_free(j->boxes[--j->box_count].secrets);
}

static err_t
take_key(struct join *j, size_t own, uint32_t epoch, const uint8_t wrapped[static KEYWRAP_LEN])
{
	CLEANUP(secmem_free_ptr) struct keybox_secrets *secrets = secmem_new(sizeof(*secrets));
	const struct opened_box *box = &j->boxes[own];
	err_t err;

	if (secrets == NULL)
		return -ENOMEM;
	if (epoch >= box->epoch)
		return -EBADMSG;
	secmem_copy(secrets, box->secrets, sizeof(*secrets));
	if ((err = keywrap_unwrap(box->secrets->epoch_key, wrapped, secrets->epoch_key)) != 0)
		return err;
	j->boxes[j->box_count++] = (struct opened_box){ .epoch = epoch, .secrets = STEAL(secrets) };
	return 0;
}

static err_t
take_keys(struct join *j, size_t own, const struct changes *c)
{
	size_t before = j->box_count;
	struct opened_box *grown;

	if (c->epoch_key_count > j->boxes[own].epoch)
		return -EBADMSG;
	grown = reallocarray(j->boxes, before + c->epoch_key_count, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	j->boxes = grown;
	for (uint32_t i = 0; i < c->epoch_key_count; i++) {
		err_t err = take_key(j, own, c->epoch_keys[i].epoch, c->epoch_keys[i].wrapped);

		if (err != 0) {
			drop_from(j, before);
			return err;
		}
	}
	return 0;
}

/* A box that opens may have been made by anybody who was in once. */
static bool
names_box(const struct changes *c, const struct opened_box *box)
{
	for (uint32_t i = 0; i < c->statement_count; i++)
		if (trust_names_box(c->statements[i].data, c->statements[i].len, box->name, box->sha256))
			return true;
	return false;
}

err_t
join_earlier_take(struct join *j, size_t own, uint64_t seq, const struct bytes *object)
{
	CLEANUP(admit_free_opened) struct envelope_opened *opened = calloc(1, sizeof(*opened));
	CLEANUP(changes_free_ptr) struct changes *c = NULL;
	err_t err;

	if (opened == NULL)
		return -ENOMEM;
	if ((err = envelope_open(object->data, object->len, ENVELOPE_COMMIT, seq, j->vault_id, j->boxes[own].secrets->epoch_key,
	         opened)) != 0 ||
	    (err = changes_decode(opened->body, opened->body_len, &c)) != 0)
		return err;
	return names_box(c, &j->boxes[own]) ? take_keys(j, own, c) : -EBADMSG;
}

/* Where an epoch begins. */

/* A commit that is not there, or that has no header, counts as later: it does not open if that is what the search ends at. */
static err_t
look_whether_before(struct join *j, uint64_t seq, uint32_t epoch, bool *before_out)
{
	CLEANUP(bytes_clear) struct bytes header = { 0 };
	uint32_t found = 0;
	err_t err = chain_read_commit_start(j->chain, seq, ENVELOPE_HEADER_LEN, &header);

	if (err != 0 && err != -ENOENT && err != -EBADMSG)
		return join_explain_store(j, err);
	if (err == 0)
		err = envelope_epoch(header.data, header.len, &found);
	*before_out = err == 0 && found < epoch;
	return 0;
}

/*
 * The first commit that is not of an epoch before that one; epochs ascend along the chain.  The end of the chain is not known: the
 * step doubles until it is past.  Whatever the store shows, that takes no more than twice as many looks as a number has bits.
 */
static err_t
find_beginning(struct join *j, uint32_t epoch, uint64_t *seq_out)
{
	uint64_t low = 0, high = 0;
	bool before = true;
	err_t err;

	for (uint64_t step = 1; before && high < CHAIN_SEQ_MAX; step *= 2) {
		if ((err = look_whether_before(j, high, epoch, &before)) != 0)
			return err;
		if (!before)
			break;
		low = high + 1;
		high = low + step < CHAIN_SEQ_MAX ? low + step : CHAIN_SEQ_MAX;
	}
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if ((err = look_whether_before(j, middle, epoch, &before)) != 0)
			return err;
		if (before)
			low = middle + 1;
		else
			high = middle;
	}
	*seq_out = low;
	return 0;
}

/* -EBADMSG: no box of that epoch opens the commit that it begins with, and is named there. */
static err_t
try_epoch(struct join *j, uint32_t epoch)
{
	CLEANUP(bytes_clear) struct bytes object = { 0 };
	uint64_t seq;
	uint32_t found;
	err_t err;

	if ((err = find_beginning(j, epoch, &seq)) != 0)
		return err;
	if ((err = chain_read_commit(j->chain, seq, &object)) != 0)
		return err == -ENOENT ? -EBADMSG : join_explain_store(j, err);
	if (envelope_epoch(object.data, object.len, &found) != 0 || found != epoch)
		return -EBADMSG;
	err = -EBADMSG;
	for (size_t i = 0; i < j->box_count && err == -EBADMSG; i++)
		if (j->boxes[i].epoch == epoch)
			err = join_earlier_take(j, i, seq, &object);
	return err == -EPROTO ? -EBADMSG : err;
}

/* The earliest epoch behind that one that there is a box of. */
static bool
next_epoch(const struct join *j, uint32_t *epoch)
{
	uint32_t next = UINT32_MAX;
	bool found = false;

	for (size_t i = 0; i < j->box_count; i++) {
		if (j->boxes[i].epoch <= *epoch || j->boxes[i].epoch > next)
			continue;
		next = j->boxes[i].epoch;
		found = true;
	}
	*epoch = found ? next : *epoch;
	return found;
}

err_t
join_earlier_find(struct join *j)
{
	uint32_t epoch = 0;

	while (next_epoch(j, &epoch)) {
		err_t err = try_epoch(j, epoch);

		if (err == -EBADMSG)
			continue;
		if (err != 0)
			return err;
		j->since = epoch;
		return 0;
	}
	return -ENOENT;
}
