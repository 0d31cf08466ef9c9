/*
 * fido2_device.c: FIDO2 security keys through libfido2, of which this is the only file that knows.
 *
 * A credential is not discoverable, so the key stores nothing: its id is the key's own secret, sealed for itself.  What the key makes
 * of it and of a salt depends on whether who asks has given the PIN.  The answers' signatures are not looked at: either what the
 * key has made opens the slot, or it does not.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fido.h>

#include "fido2_internal.h"
#include "library.h"
#include "random.h"
#include "secmem.h"

#define LIBRARY "libfido2.so.1"
#define FUNCTIONS(F) F(fido_assert_allow_cred) F(fido_assert_free) F(fido_assert_hmac_secret_len) F(fido_assert_hmac_secret_ptr) \
	F(fido_assert_new) F(fido_assert_set_clientdata_hash) F(fido_assert_set_extensions) F(fido_assert_set_hmac_salt) \
	F(fido_assert_set_rp) F(fido_assert_set_up) F(fido_cbor_info_extensions_len) F(fido_cbor_info_extensions_ptr) \
	F(fido_cbor_info_free) F(fido_cbor_info_new) F(fido_cred_aaguid_len) F(fido_cred_aaguid_ptr) F(fido_cred_free) \
	F(fido_cred_id_len) F(fido_cred_id_ptr) F(fido_cred_new) F(fido_cred_set_clientdata_hash) F(fido_cred_set_extensions) \
	F(fido_cred_set_rp) F(fido_cred_set_type) F(fido_cred_set_user) F(fido_dev_cancel) F(fido_dev_close) F(fido_dev_free) \
	F(fido_dev_get_assert) F(fido_dev_get_cbor_info) F(fido_dev_get_retry_count) F(fido_dev_has_pin) F(fido_dev_info_free) \
	F(fido_dev_info_manifest) F(fido_dev_info_manufacturer_string) F(fido_dev_info_new) F(fido_dev_info_path) \
	F(fido_dev_info_product_string) F(fido_dev_info_ptr) F(fido_dev_is_fido2) F(fido_dev_make_cred) F(fido_dev_new) \
	F(fido_dev_open) F(fido_dev_set_timeout) F(fido_init) F(fido_strerr)

/* What is no key may say nothing at all; a key gives up by itself after some 30 seconds without a touch. */
#define OPEN_TIMEOUT_MS 10000
#define DEVICE_TIMEOUT_MS 45000

static struct { FUNCTIONS(LIBRARY_POINTER) } lib; /* set by load */
static const struct library_symbol symbols[] = { FUNCTIONS(LIBRARY_SYMBOL) };

static err_t
load(struct fido2_exchange *x)
{
	if (library_load(LIBRARY, symbols, ARRAY_LEN(symbols)) != 0)
		return apart_fail(&x->room, -ENOTSUP, "%s is not installed, without which a security key cannot be asked: install it, or "
		    "unlock in another way", LIBRARY);
	lib.fido_init(FIDO_DISABLE_U2F_FALLBACK);
	return 0;
}

static void
dev_close(fido_dev_t **dev)
{
	if (*dev == NULL)
		return;
	(void)lib.fido_dev_close(*dev);
	lib.fido_dev_free(dev);
}

static void
info_free(fido_cbor_info_t **info)
{
	lib.fido_cbor_info_free(info);
}

static void
cred_free(fido_cred_t **cred)
{
	lib.fido_cred_free(cred);
}

static void
assert_free(fido_assert_t **assert)
{
	lib.fido_assert_free(assert); /* which wipes the secret */
}

static err_t
tell_wrong_pin(struct fido2_exchange *x, fido_dev_t *dev)
{
	int tries = 0;

	if (lib.fido_dev_get_retry_count(dev, &tries) != FIDO_OK)
		return apart_fail(&x->room, -EKEYREJECTED, "this is not the PIN of the security key");
	return apart_fail(&x->room, -EKEYREJECTED, "this is not the PIN of the security key, and after %d more wrong %s it is blocked",
	    tries, tries == 1 ? "one" : "ones");
}

static err_t
explain(struct fido2_exchange *x, fido_dev_t *dev, int code)
{
	switch (code) {
	case FIDO_ERR_PIN_INVALID:
		return tell_wrong_pin(x, dev);
	case FIDO_ERR_PIN_AUTH_BLOCKED:
		return apart_fail(&x->room, -EAGAIN, "the security key takes no PIN after several wrong ones: pull it out, plug it in "
		    "and try again");
	case FIDO_ERR_PIN_BLOCKED:
		return apart_fail(&x->room, -EACCES, "the PIN of the security key is blocked after too many wrong ones: a reset "
		    "(fido2-token -R) makes it usable again, but destroys all that it knows, so unlock in another way and add it anew");
	case FIDO_ERR_PIN_NOT_SET:
		return apart_fail(&x->room, -ENOENT, "the security key has no PIN any more: it was reset, and does not know this vault");
	case FIDO_ERR_PIN_REQUIRED:
		return apart_fail(&x->room, -EACCES, "the security key wants its PIN now, which it did not when it was added: unlock in "
		    "another way, remove it and add it anew");
	case FIDO_ERR_NO_CREDENTIALS:
	case FIDO_ERR_INVALID_CREDENTIAL:
		return apart_fail(&x->room, -ENOENT, "the security key does not know this vault: it is another one, or it was reset");
	case FIDO_ERR_USER_ACTION_TIMEOUT:
	case FIDO_ERR_ACTION_TIMEOUT:
	case FIDO_ERR_OPERATION_DENIED:
	case FIDO_ERR_KEEPALIVE_CANCEL:
		return apart_fail(&x->room, -ETIMEDOUT, "the security key was not touched in time: try again");
	case FIDO_ERR_TX:
	case FIDO_ERR_RX:
		return apart_fail(&x->room, -EIO, "the security key was pulled out, or does not answer: plug it in and try again");
	default:
		return apart_fail(&x->room, -EIO, "the security key refuses: %s", lib.fido_strerr(code));
	}
}

/* Whoever still waits for the touch is told not to. */
static err_t
give_up(struct fido2_exchange *x, fido_dev_t *dev, int code)
{
	if (code == FIDO_ERR_RX)
		(void)lib.fido_dev_cancel(dev);
	return explain(x, dev, code);
}

/* -EACCES: it is there, and this user may not open it; -ENODEV: nothing answers there. */
static err_t
dev_open(const char *path, fido_dev_t **out)
{
	CLEANUP(dev_close) fido_dev_t *dev = lib.fido_dev_new();

	if (dev == NULL)
		return -ENOMEM;
	if (lib.fido_dev_set_timeout(dev, OPEN_TIMEOUT_MS) != FIDO_OK)
		return -EINVAL;
	errno = 0;
	if (lib.fido_dev_open(dev, path) != FIDO_OK)
		return errno == EACCES || errno == EPERM ? -EACCES : -ENODEV;
	if (lib.fido_dev_set_timeout(dev, DEVICE_TIMEOUT_MS) != FIDO_OK)
		return -EINVAL;
	*out = STEAL(dev);
	return 0;
}

/* Looking for keys. */

static bool
has_extension(fido_dev_t *dev, const char *name)
{
	CLEANUP(info_free) fido_cbor_info_t *info = lib.fido_cbor_info_new();
	char **names;

	if (info == NULL || !lib.fido_dev_is_fido2(dev) || lib.fido_dev_get_cbor_info(dev, info) != FIDO_OK)
		return false;
	names = lib.fido_cbor_info_extensions_ptr(info);
	for (size_t i = 0; i < lib.fido_cbor_info_extensions_len(info); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* What a device says of itself goes to a terminal. */
static void
append_printable(char *name, const char *text)
{
	size_t len = strlen(name);

	if (text == NULL || text[0] == '\0')
		return;
	if (len > 0 && len < FIDO2_NAME_MAX - 1)
		name[len++] = ' ';
	for (; *text != '\0' && len < FIDO2_NAME_MAX - 1; text++)
		name[len++] = *text >= 0x20 && *text < 0x7f ? *text : '?';
	name[len] = '\0';
}

struct search {
	struct fido2_exchange *x;
	bool any_forbidden;
};

static void
look_at(struct search *s, const char *path, const char *maker, const char *product)
{
	CLEANUP(dev_close) fido_dev_t *dev = NULL;
	struct fido2_key *key = &s->x->keys[s->x->key_count];
	err_t err;

	if (s->x->key_count == FIDO2_KEYS_MAX || strlen(path) >= sizeof(key->path))
		return;
	err = dev_open(path, &dev);
	s->any_forbidden |= err == -EACCES;
	if (err != 0)
		return;
	*key = (struct fido2_key){ .makes_secrets = has_extension(dev, "hmac-secret"), .has_pin = lib.fido_dev_has_pin(dev) };
	memcpy(key->path, path, strlen(path));
	append_printable(key->name, maker);
	append_printable(key->name, product);
	s->x->key_count++;
}

static void
look_at_plugged_in(struct search *s)
{
	fido_dev_info_t *all = lib.fido_dev_info_new(FIDO2_KEYS_MAX);
	size_t count = 0;

	/* Where there is no udev nothing can be plugged in. */
	if (all != NULL && lib.fido_dev_info_manifest(all, FIDO2_KEYS_MAX, &count) != FIDO_OK)
		count = 0;
	for (size_t i = 0; i < count; i++) {
		const fido_dev_info_t *info = lib.fido_dev_info_ptr(all, i);

		look_at(s, lib.fido_dev_info_path(info), lib.fido_dev_info_manufacturer_string(info),
		    lib.fido_dev_info_product_string(info));
	}
	lib.fido_dev_info_free(&all, FIDO2_KEYS_MAX);
}

static void
look_at_named(struct search *s, const char *paths)
{
	char *copy = strdup(paths), *rest = copy;

	for (const char *path; copy != NULL && (path = strsep(&rest, ":")) != NULL;)
		if (path[0] != '\0')
			look_at(s, path, NULL, NULL);
	free(copy);
}

static err_t
list(struct fido2_exchange *x, const char *path)
{
	struct search s = { .x = x };
	const char *named = getenv("SNUGFS_SECURITY_KEYS");

	if (path != NULL)
		look_at(&s, path, NULL, NULL);
	else if (named != NULL)
		look_at_named(&s, named);
	else
		look_at_plugged_in(&s);
	if (x->key_count > 0)
		return 0;
	if (s.any_forbidden)
		return apart_fail(&x->room, -ENODEV, "this user may not open the security key that is plugged in: udev's rules of "
		    "libfido2 allow it to who sits at the computer");
	return path != NULL ? apart_fail(&x->room, -ENODEV, "no security key answers at %s", path) :
	    apart_fail(&x->room, -ENODEV, "no security key is plugged in");
}

/* Credentials. */

static err_t
new_assert(const struct fido2_slot *slot, fido_assert_t **out)
{
	CLEANUP(assert_free) fido_assert_t *assert = lib.fido_assert_new();
	uint8_t hash[32]; /* of what a web site would have signed */
	err_t err;

	if (assert == NULL)
		return -ENOMEM;
	if ((err = random_bytes(hash, sizeof(hash))) != 0)
		return err;
	if (lib.fido_assert_set_rp(assert, FIDO2_RELYING_PARTY) != FIDO_OK ||
	    lib.fido_assert_set_clientdata_hash(assert, hash, sizeof(hash)) != FIDO_OK ||
	    lib.fido_assert_allow_cred(assert, slot->credential, slot->credential_len) != FIDO_OK)
		return -EIO;
	*out = STEAL(assert);
	return 0;
}

static err_t
get_output(struct fido2_exchange *x, fido_dev_t *dev, const struct fido2_ask *ask, const struct fido2_slot *slot)
{
	CLEANUP(assert_free) fido_assert_t *assert = NULL;
	err_t err = new_assert(slot, &assert);
	int code;

	if (err != 0)
		return err;
	if (lib.fido_assert_set_extensions(assert, FIDO_EXT_HMAC_SECRET) != FIDO_OK ||
	    lib.fido_assert_set_hmac_salt(assert, slot->salt, sizeof(slot->salt)) != FIDO_OK)
		return -EIO;
	ask->touch();
	code = lib.fido_dev_get_assert(dev, assert, ask->pin);
	if (code != FIDO_OK)
		return give_up(x, dev, code);
	if (lib.fido_assert_hmac_secret_len(assert, 0) != FIDO2_OUTPUT_LEN)
		return apart_fail(&x->room, -ENOTSUP, "the security key has made no secret (hmac-secret), which is needed: use another one");
	secmem_copy(x->output, lib.fido_assert_hmac_secret_ptr(assert, 0), FIDO2_OUTPUT_LEN);
	return 0;
}

static err_t
new_cred(const uint8_t *vault_id, fido_cred_t **out)
{
	CLEANUP(cred_free) fido_cred_t *cred = lib.fido_cred_new();
	uint8_t hash[32];
	err_t err;

	if (cred == NULL)
		return -ENOMEM;
	if ((err = random_bytes(hash, sizeof(hash))) != 0)
		return err;
	if (lib.fido_cred_set_type(cred, COSE_ES256) != FIDO_OK ||
	    lib.fido_cred_set_clientdata_hash(cred, hash, sizeof(hash)) != FIDO_OK ||
	    lib.fido_cred_set_rp(cred, FIDO2_RELYING_PARTY, "snugfs") != FIDO_OK ||
	    lib.fido_cred_set_user(cred, vault_id, 32, "snugfs", NULL, NULL) != FIDO_OK ||
	    lib.fido_cred_set_extensions(cred, FIDO_EXT_HMAC_SECRET) != FIDO_OK)
		return -EIO;
	*out = STEAL(cred);
	return 0;
}

static err_t
make_credential(struct fido2_exchange *x, fido_dev_t *dev, const struct fido2_task *t)
{
	CLEANUP(cred_free) fido_cred_t *cred = NULL;
	err_t err = new_cred(t->vault_id, &cred);
	size_t len;
	int code;

	if (err != 0)
		return err;
	t->ask->touch();
	code = lib.fido_dev_make_cred(dev, cred, t->ask->pin);
	if (code != FIDO_OK)
		return give_up(x, dev, code);
	len = lib.fido_cred_id_len(cred);
	if (len == 0 || len > sizeof(x->slot.credential))
		return apart_fail(&x->room, -ENOTSUP, "the security key makes ids of %zu bytes, which is too long: use another one", len);
	x->slot.credential_len = len;
	memcpy(x->slot.credential, lib.fido_cred_id_ptr(cred), len);
	if (lib.fido_cred_aaguid_len(cred) == sizeof(x->slot.aaguid))
		memcpy(x->slot.aaguid, lib.fido_cred_aaguid_ptr(cred), sizeof(x->slot.aaguid));
	x->slot.with_pin = t->ask->pin != NULL;
	return random_bytes(x->slot.salt, sizeof(x->slot.salt));
}

static err_t
open_asked(struct fido2_exchange *x, const struct fido2_ask *ask, fido_dev_t **out)
{
	return dev_open(ask->path, out) == 0 ? 0 : explain(x, NULL, FIDO_ERR_RX);
}

static err_t
make(struct fido2_exchange *x, const struct fido2_task *t)
{
	CLEANUP(dev_close) fido_dev_t *dev = NULL;
	err_t err;

	if ((err = open_asked(x, t->ask, &dev)) != 0 || (err = make_credential(x, dev, t)) != 0)
		return err;
	return get_output(x, dev, t->ask, &x->slot);
}

static err_t
get(struct fido2_exchange *x, const struct fido2_task *t)
{
	CLEANUP(dev_close) fido_dev_t *dev = NULL;
	err_t err = open_asked(x, t->ask, &dev);

	return err != 0 ? err : get_output(x, dev, t->ask, t->slots);
}

/* Without a touch.  A key that wants its PIN for everything does not say: -EAGAIN. */
static err_t
knows(const struct fido2_key *key, const struct fido2_slot *slot)
{
	CLEANUP(dev_close) fido_dev_t *dev = NULL;
	CLEANUP(assert_free) fido_assert_t *assert = NULL;
	err_t err;
	int code;

	if ((err = dev_open(key->path, &dev)) != 0 || (err = new_assert(slot, &assert)) != 0)
		return err;
	if (lib.fido_assert_set_up(assert, FIDO_OPT_FALSE) != FIDO_OK)
		return -EIO;
	code = lib.fido_dev_get_assert(dev, assert, NULL);
	if (code == FIDO_ERR_PIN_REQUIRED && slot->with_pin)
		return -EAGAIN;
	return code == FIDO_OK ? 0 : -ENOENT;
}

/* One that says that it knows a slot, or else one that does not say. */
static err_t
find(struct fido2_exchange *x, const struct fido2_task *t)
{
	err_t result = list(x, NULL);

	if (result != 0)
		return result;
	result = -ENOENT;
	for (size_t k = 0; k < x->key_count && result != 0; k++)
		for (size_t i = 0; i < t->slot_count && result != 0; i++) {
			err_t err = x->keys[k].makes_secrets ? knows(&x->keys[k], &t->slots[i]) : -ENOENT;

			if (err != 0 && (err != -EAGAIN || result == -EAGAIN))
				continue;
			result = err;
			x->match.slot = i;
			memcpy(x->match.path, x->keys[k].path, sizeof(x->match.path));
		}
	if (result == -ENOENT)
		return apart_fail(&x->room, -ENOENT, "the security key that is plugged in is not one that was added here, or it was reset");
	return 0;
}

err_t
fido2_do(struct fido2_exchange *x, const struct fido2_task *t)
{
	err_t err = load(x);

	if (err != 0)
		return err;
	switch (t->verb) {
	case FIDO2_LIST:
		return list(x, t->path);
	case FIDO2_MAKE:
		return make(x, t);
	case FIDO2_FIND:
		return find(x, t);
	case FIDO2_GET:
		return get(x, t);
	}
	return -EINVAL;
}
