/* holder.c: which library is asked, in a process apart. */
#include "holder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "holder_internal.h"
#include "secmem.h"

/* A TPM may take seconds for a key; a keyring that shows nothing answers at once. */
#define TIMEOUT_MS 60000

/* What the child is to do. */
struct task {
	enum { TASK_PUT, TASK_GET, TASK_DROP } verb;
	enum slot_kind kind;
	const struct holder_item *item;
	const struct holder_pin *pin;
};

static void
exchange_free(struct holder_exchange **x)
{
	if (*x != NULL)
		apart_free(&(*x)->room, sizeof(**x));
}

static err_t
exchange_new(struct holder_exchange **out)
{
	struct apart *room;
	err_t err = apart_new(sizeof(**out), &room);

	if (err == 0)
		*out = (struct holder_exchange *)room; /* its first member */
	return err;
}

static err_t
do_task(struct apart *room, const void *task)
{
	struct holder_exchange *x = (struct holder_exchange *)room;
	const struct task *t = task;

	if (t->kind == SLOT_SECRET_SERVICE)
		return t->verb == TASK_PUT ? holder_keyring_put(x, t->item) :
		    t->verb == TASK_GET ? holder_keyring_get(x) : holder_keyring_drop(x);
	return t->verb == TASK_PUT ? holder_tpm_put(x, t->item, t->pin) :
	    t->verb == TASK_GET ? holder_tpm_get(x, t->pin) : holder_tpm_drop(x);
}

static err_t
run(const struct task *t, struct holder_exchange *x)
{
	const struct apart_work work = { .run = do_task, .task = t, .timeout_ms = TIMEOUT_MS,
		.whom = t->kind == SLOT_TPM ? "the TPM" : "the keyring" };

	return apart_run(&work, &x->room);
}

err_t
holder_put(const struct holder_item *item, const uint8_t secret[static HOLDER_SECRET_LEN], const struct holder_pin *pin,
    struct bytes *place_out, char **why_out)
{
	CLEANUP(exchange_free) struct holder_exchange *x = NULL;
	const struct task t = { .verb = TASK_PUT, .kind = item->kind, .item = item, .pin = pin };
	err_t err = exchange_new(&x);

	*why_out = NULL;
	if (err != 0)
		return err;
	secmem_copy(x->secret, secret, HOLDER_SECRET_LEN);
	if ((err = run(&t, x)) == 0)
		err = bytes_append(place_out, x->place, x->place_len);
	*why_out = apart_why(&x->room, err);
	return err;
}

static err_t
run_with_place(const struct task *t, const uint8_t *place, size_t place_len, struct holder_exchange *x)
{
	if (place_len > sizeof(x->place))
		return -EBADMSG;
	memcpy(x->place, place, place_len);
	x->place_len = place_len;
	return run(t, x);
}

err_t
holder_get(enum slot_kind kind, const uint8_t *place, size_t place_len, const struct holder_pin *pin,
    uint8_t secret_out[static HOLDER_SECRET_LEN], char **why_out)
{
	CLEANUP(exchange_free) struct holder_exchange *x = NULL;
	const struct task t = { .verb = TASK_GET, .kind = kind, .pin = pin };
	err_t err = exchange_new(&x);

	*why_out = NULL;
	if (err != 0)
		return err;
	if ((err = run_with_place(&t, place, place_len, x)) == 0)
		secmem_copy(secret_out, x->secret, HOLDER_SECRET_LEN);
	*why_out = apart_why(&x->room, err);
	return err;
}

err_t
holder_drop(enum slot_kind kind, const uint8_t *place, size_t place_len, char **why_out)
{
	CLEANUP(exchange_free) struct holder_exchange *x = NULL;
	const struct task t = { .verb = TASK_DROP, .kind = kind };
	err_t err = exchange_new(&x);

	*why_out = NULL;
	if (err != 0)
		return err;
	err = run_with_place(&t, place, place_len, x);
	if (err == -ENOENT)
		err = 0;
	*why_out = apart_why(&x->room, err);
	return err;
}

bool
holder_wants_pin(enum slot_kind kind, const uint8_t *place, size_t place_len)
{
	return kind == SLOT_TPM && place_len > 0 && place[0] == TPM_PLACE_SEALED_PIN;
}
