/* fido2.c: what is asked of a security key, in a process apart. */
#include "fido2.h"

#include <errno.h>
#include <string.h>

#include "fido2_internal.h"
#include "secmem.h"

/* Longer than a key and libfido2 wait themselves (fido2_device.c): twice where the key is touched twice. */
#define TIMEOUT_MS 60000

static void
exchange_free(struct fido2_exchange **x)
{
	if (*x != NULL)
		apart_free(&(*x)->room, sizeof(**x));
}

static err_t
do_task(struct apart *room, const void *task)
{
	return fido2_do((struct fido2_exchange *)room, task);
}

/* The room's content is there for as long as the caller keeps it, also after a failure. */
static err_t
run(const struct fido2_task *t, struct fido2_exchange **x, char **why_out)
{
	const struct apart_work work = { .run = do_task, .task = t, .whom = "the security key",
		.timeout_ms = t->verb == FIDO2_MAKE ? 2 * TIMEOUT_MS : TIMEOUT_MS };
	struct apart *room;
	err_t err = apart_new(sizeof(**x), &room);

	*why_out = NULL;
	if (err != 0)
		return err;
	*x = (struct fido2_exchange *)room; /* its first member */
	err = apart_run(&work, room);
	*why_out = apart_why(room, err);
	return err;
}

err_t
fido2_list(const char *path, struct fido2_key keys_out[static FIDO2_KEYS_MAX], size_t *count_out, char **why_out)
{
	CLEANUP(exchange_free) struct fido2_exchange *x = NULL;
	const struct fido2_task t = { .verb = FIDO2_LIST, .path = path };
	err_t err = run(&t, &x, why_out);

	if (err != 0)
		return err;
	memcpy(keys_out, x->keys, sizeof(x->keys));
	*count_out = x->key_count;
	return 0;
}

err_t
fido2_make(const struct fido2_ask *ask, const uint8_t vault_id[static 32], struct fido2_slot *slot_out,
    uint8_t output_out[static FIDO2_OUTPUT_LEN], char **why_out)
{
	CLEANUP(exchange_free) struct fido2_exchange *x = NULL;
	const struct fido2_task t = { .verb = FIDO2_MAKE, .ask = ask, .vault_id = vault_id };
	err_t err = run(&t, &x, why_out);

	if (err != 0)
		return err;
	*slot_out = x->slot;
	secmem_copy(output_out, x->output, FIDO2_OUTPUT_LEN);
	return 0;
}

err_t
fido2_find(const struct fido2_slot *slots, size_t slot_count, struct fido2_match *out, char **why_out)
{
	CLEANUP(exchange_free) struct fido2_exchange *x = NULL;
	const struct fido2_task t = { .verb = FIDO2_FIND, .slots = slots, .slot_count = slot_count };
	err_t err = run(&t, &x, why_out);

	if (err != 0)
		return err;
	*out = x->match;
	return 0;
}

err_t
fido2_get(const struct fido2_ask *ask, const struct fido2_slot *slot, uint8_t output_out[static FIDO2_OUTPUT_LEN], char **why_out)
{
	CLEANUP(exchange_free) struct fido2_exchange *x = NULL;
	const struct fido2_task t = { .verb = FIDO2_GET, .ask = ask, .slots = slot, .slot_count = 1 };
	err_t err = run(&t, &x, why_out);

	if (err != 0)
		return err;
	secmem_copy(output_out, x->output, FIDO2_OUTPUT_LEN);
	return 0;
}
