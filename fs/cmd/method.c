/*
 * Changes to the device file.  The order that leaves a way in at every moment: what a keyring or a TPM is to hold is put
 * there first, then the file is written, then what nobody needs any more is destroyed.
 */
#include "method.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "handles.h"
#include "holder.h"
#include "random.h"
#include "secmem.h"
#include "session.h"
#include "tell.h"
#include "unlocking.h"
#include "vault.h"

void
method_end(struct method *m)
{
	devicefile_free(m->df);
	place_clear(&m->p);
	handle_close_fd(&m->lock);
}

static int
tell_not_changed(const struct method *m, err_t err)
{
	if (err == -E2BIG)
		return tell_failure("the vault of %s has as many ways to unlock it as there can be: remove one first",
		    m->p.mountpoint);
	return tell_failure("the device file in %s could not be changed: %s; it is as it was", m->p.vault_dir, tell_reason(err));
}

static int
tell_holder(const struct method *m, char *why, err_t err)
{
	int status = tell_failure("nothing was changed for %s: %s", m->p.mountpoint, why != NULL ? why : tell_reason(err));

	free(why);
	return status;
}

/* An anchor that a crash has left behind. */
static err_t
finish_previous(struct method *m)
{
	CLEANUP(key32_wipe) struct key32 value = { 0 };
	CLEANUP(bytes_clear) struct bytes place = { 0 };
	struct anchor_view anchor;
	char *why = NULL;
	err_t err;

	if (!devicefile_get_anchor(m->df, &anchor) || anchor.previous_len == 0)
		return 0;
	err = holder_drop(anchor.kind, anchor.previous, anchor.previous_len, &why);
	if (err == 0)
		err = holder_get(anchor.kind, anchor.place, anchor.place_len, NULL, value.b, &why);
	free(why);
	if (err != 0 || (err = bytes_append(&place, anchor.place, anchor.place_len)) != 0)
		return err;
	anchor = (struct anchor_view){ .kind = anchor.kind, .place = place.data, .place_len = place.len };
	if ((err = devicefile_set_anchor(m->df, &anchor, value.b)) != 0)
		return err;
	return vault_write_device_file(m->p.vault_dir, m->df);
}

/* What opened it without the anchor (permissions, the recovery key) cannot wrap new slots. */
static int
give_anchor(struct method *m)
{
	CLEANUP(key32_wipe) struct key32 value = { 0 };
	struct anchor_view anchor;
	char *why = NULL;
	err_t err;

	if (!devicefile_get_anchor(m->df, &anchor))
		return 0;
	err = holder_get(anchor.kind, anchor.place, anchor.place_len, NULL, value.b, &why);
	if (err == 0)
		err = devicefile_give_anchor(m->df, value.b);
	if (err == 0)
		return 0;
	if (err != -ENOENT)
		return tell_holder(m, why, err);
	/* The anchor is lost, and whoever is here has got in: the file goes on without it. */
	free(why);
	err = devicefile_set_anchor(m->df, NULL, NULL);
	return err == 0 ? 0 : tell_not_changed(m, err);
}

int
method_begin(const struct options *o, bool by_passphrase, struct method *out)
{
	CLEANUP(method_end) struct method m = { .o = o, .lock = -1 };
	err_t err;
	int status = session_find_place(o, &m.p);

	if (status != 0)
		return status;
	if ((err = vault_lock_device_file(m.p.vault_dir, &m.lock)) != 0)
		return tell_vault_open(err, m.p.mountpoint, m.p.vault_dir);
	status = by_passphrase ? unlocking_open_by_passphrase(o, &m.p, &m.df) : unlocking_open(o, &m.p, &m.df);
	if (status != 0 || (status = give_anchor(&m)) != 0)
		return status;
	if ((err = finish_previous(&m)) != 0)
		return tell_not_changed(&m, err);
	*out = m;
	m = METHOD_NONE;
	return 0;
}

int
method_tag(const struct method *m, struct slot_tag *out)
{
	const char *label = options_get(m->o, "label");
	err_t err = slot_tag_new(label != NULL ? label : "", (uint64_t)time(NULL), out);

	if (err == -EINVAL)
		return tell_usage("unlock-method add", "a label has at most %d bytes of printable text", SLOT_LABEL_MAX);
	return err == 0 ? 0 : tell_not_changed(m, err);
}

int
method_save(struct method *m)
{
	err_t err = vault_write_device_file(m->p.vault_dir, m->df);

	return err == 0 ? 0 : tell_not_changed(m, err);
}

static err_t
put(const struct method *m, enum slot_kind kind, enum holder_use use, const struct holder_pin *pin,
    const uint8_t secret[static HOLDER_SECRET_LEN], struct bytes *place_out, char **why)
{
	struct holder_item item = { .kind = kind, .use = use };
	char label[512];

	snprintf(label, sizeof(label), use == HOLDER_ANCHOR ? "snugfs: needed to unlock %s" : "snugfs: unlocks %s",
	    m->p.mountpoint);
	item.label = label;
	memcpy(item.vault_id, devicefile_vault_id(m->df), sizeof(item.vault_id));
	return holder_put(&item, secret, pin, place_out, why);
}

void
method_forget(const struct method *m, enum slot_kind kind, const uint8_t *place, size_t place_len)
{
	char *why = NULL;

	if (holder_drop(kind, place, place_len, &why) != 0)
		(void)tell_failure("what %s holds for %s is still there: %s", kind == SLOT_TPM ? "the TPM" : "the keyring",
		    m->p.mountpoint, why != NULL ? why : "it could not be asked");
	free(why);
}

/* The new anchor is in its place; was: where the one before is, if there was one. */
static int
save_with_anchor(struct method *m, const struct anchor_view *anchor, const uint8_t *value)
{
	struct anchor_view last = *anchor;
	err_t err = devicefile_set_anchor(m->df, anchor, value);
	int status;

	if (err != 0)
		return tell_not_changed(m, err);
	if ((status = method_save(m)) != 0 || anchor->previous_len == 0)
		return status;
	method_forget(m, anchor->kind, anchor->previous, anchor->previous_len);
	last.previous = NULL;
	last.previous_len = 0;
	err = devicefile_set_anchor(m->df, &last, value);
	return err == 0 ? method_save(m) : tell_not_changed(m, err);
}

static int
new_anchor(struct method *m, enum slot_kind kind, const struct bytes *previous)
{
	CLEANUP(key32_wipe) struct key32 value = { 0 };
	CLEANUP(bytes_clear) struct bytes place = { 0 };
	struct anchor_view anchor = { .kind = kind, .previous = previous->data, .previous_len = previous->len };
	char *why = NULL;
	err_t err = random_secret(value.b, sizeof(value.b));
	int status;

	if (err == 0)
		err = put(m, kind, HOLDER_ANCHOR, NULL, value.b, &place, &why);
	if (err != 0)
		return tell_holder(m, why, err);
	anchor.place = place.data;
	anchor.place_len = place.len;
	status = save_with_anchor(m, &anchor, value.b);
	if (status != 0)
		method_forget(m, kind, place.data, place.len);
	return status;
}

int
method_add_held(struct method *m, enum slot_kind kind, const struct holder_pin *pin, bool anchored)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	CLEANUP(bytes_clear) struct bytes place = { 0 };
	const struct bytes none = { 0 };
	struct anchor_view anchor;
	struct slot_tag tag;
	char *why = NULL;
	err_t err = random_secret(key.b, sizeof(key.b));
	int status = method_tag(m, &tag);

	if (status != 0)
		return status;
	if (err == 0)
		err = put(m, kind, HOLDER_SLOT, pin, key.b, &place, &why);
	if (err != 0)
		return tell_holder(m, why, err);
	err = devicefile_add_held(m->df, &tag, kind, key.b, place.data, place.len);
	status = err != 0 ? tell_not_changed(m, err) :
	    anchored && !devicefile_get_anchor(m->df, &anchor) ? new_anchor(m, kind, &none) : method_save(m);
	if (status != 0)
		method_forget(m, kind, place.data, place.len);
	return status;
}

/* The last slot of the kind that keeps the anchor is gone: nobody expects that keyring or TPM to be needed any more. */
static int
save_without_anchor(struct method *m, enum slot_kind kind, const struct bytes *previous)
{
	err_t err = devicefile_set_anchor(m->df, NULL, NULL);
	int status = err == 0 ? method_save(m) : tell_not_changed(m, err);

	if (status == 0)
		method_forget(m, kind, previous->data, previous->len);
	return status;
}

int
method_save_renewed(struct method *m)
{
	CLEANUP(bytes_clear) struct bytes previous = { 0 };
	struct anchor_view anchor;
	err_t err;

	if (!devicefile_get_anchor(m->df, &anchor))
		return method_save(m);
	if ((err = bytes_append(&previous, anchor.place, anchor.place_len)) != 0)
		return tell_not_changed(m, err);
	return devicefile_has_slot(m->df, anchor.kind) ? new_anchor(m, anchor.kind, &previous) :
	    save_without_anchor(m, anchor.kind, &previous);
}
