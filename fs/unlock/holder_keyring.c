/*
 * holder_keyring.c: the user's keyring through the Secret Service: an item of 32 bytes, found by a random name.  The only
 * file that knows libsecret.  The place of an item is its name, 16 bytes.
 */
#include <errno.h>
#include <stdio.h>

#include <libsecret/secret.h>

#include "holder_internal.h"
#include "library.h"
#include "random.h"
#include "secmem.h"

#define LIBRARY "libsecret-1.so.0"
#define FUNCTIONS(F) F(g_clear_error) F(g_dbus_error_quark) F(g_error_matches) F(g_io_error_quark) F(g_list_free_full) \
	F(g_object_unref) F(secret_collection_get_locked) F(secret_error_get_quark) F(secret_password_clear_sync) \
	F(secret_password_search_sync) F(secret_password_store_binary_sync) F(secret_retrievable_retrieve_secret_sync) \
	F(secret_service_get_collections) F(secret_service_get_sync) F(secret_value_get) F(secret_value_new) \
	F(secret_value_unref)

#define NAME_LEN 16
#define LOCKED "the keyring is locked: unlock it (log in to the desktop), or unlock in another way"
#define CONTENT_TYPE "application/octet-stream"

static struct { FUNCTIONS(LIBRARY_POINTER) } lib; /* set by load */
static const struct library_symbol symbols[] = { FUNCTIONS(LIBRARY_SYMBOL) };

static const SecretSchema schema = {
	.name = "org.snugfs.Key",
	.flags = SECRET_SCHEMA_NONE,
	.attributes = { { "name", SECRET_SCHEMA_ATTRIBUTE_STRING }, { "vault", SECRET_SCHEMA_ATTRIBUTE_STRING },
		{ "use", SECRET_SCHEMA_ATTRIBUTE_STRING } },
};

static err_t
load(struct holder_exchange *x)
{
	err_t err = library_load(LIBRARY, symbols, ARRAY_LEN(symbols));

	return err == 0 ? 0 : apart_fail(&x->room, -ENOTSUP, "%s is not installed, without which the keyring cannot be asked: install "
	    "it, or unlock in another way", LIBRARY);
}

static void
hex(const uint8_t *bytes, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static void
error_clear(GError **e)
{
	if (*e != NULL)
		lib.g_clear_error(e);
}

static err_t
explain(struct holder_exchange *x, const GError *e)
{
	if (lib.g_error_matches(e, lib.secret_error_get_quark(), SECRET_ERROR_IS_LOCKED))
		return apart_fail(&x->room, -EACCES, "%s", LOCKED);
	if (e->domain == lib.g_io_error_quark() || e->domain == lib.g_dbus_error_quark())
		return apart_fail(&x->room, -ENOTSUP, "there is no keyring (Secret Service) to be reached from here: unlock in another "
		    "way, or try again in the desktop session");
	return apart_fail(&x->room, -EIO, "the keyring refuses: %s", e->message);
}

err_t
holder_keyring_put(struct holder_exchange *x, const struct holder_item *item)
{
	CLEANUP(error_clear) GError *e = NULL;
	char name[2 * NAME_LEN + 1], vault[2 * sizeof(item->vault_id) + 1];
	SecretValue *value;
	gboolean stored;
	err_t err = load(x);

	if (err != 0 || (err = random_bytes(x->place, NAME_LEN)) != 0)
		return err;
	hex(x->place, NAME_LEN, name);
	hex(item->vault_id, sizeof(item->vault_id), vault);
	value = lib.secret_value_new((const char *)x->secret, HOLDER_SECRET_LEN, CONTENT_TYPE);
	stored = lib.secret_password_store_binary_sync(&schema, SECRET_COLLECTION_DEFAULT, item->label, value, NULL, &e, "name",
	    name, "vault", vault, "use", item->use == HOLDER_ANCHOR ? "anchor" : "unlock", NULL);
	lib.secret_value_unref(value);
	if (!stored)
		return explain(x, e);
	x->place_len = NAME_LEN;
	return 0;
}

static err_t
name_of(const struct holder_exchange *x, char out[static 2 * NAME_LEN + 1])
{
	if (x->place_len != NAME_LEN)
		return -EBADMSG;
	hex(x->place, NAME_LEN, out);
	return 0;
}

static void
free_items(GList **items)
{
	if (*items != NULL)
		lib.g_list_free_full(*items, lib.g_object_unref);
}

/* A keyring that has not been unlocked since the login is not searched at all. */
static bool
is_any_locked(void)
{
	CLEANUP(free_items) GList *collections = NULL;
	SecretService *service = lib.secret_service_get_sync(SECRET_SERVICE_LOAD_COLLECTIONS, NULL, NULL);
	bool locked = false;

	if (service == NULL)
		return false;
	collections = lib.secret_service_get_collections(service);
	for (const GList *c = collections; c != NULL; c = c->next)
		locked |= lib.secret_collection_get_locked(c->data);
	lib.g_object_unref(service);
	return locked;
}

/* Without SECRET_SEARCH_UNLOCK nobody is asked for anything: the caller has other ways. */
static err_t
find(struct holder_exchange *x, GList **out)
{
	CLEANUP(error_clear) GError *e = NULL;
	char name[2 * NAME_LEN + 1];
	err_t err = load(x);

	if (err != 0 || (err = name_of(x, name)) != 0)
		return err;
	*out = lib.secret_password_search_sync(&schema, SECRET_SEARCH_LOAD_SECRETS, NULL, &e, "name", name, NULL);
	if (e != NULL)
		return explain(x, e);
	if (*out == NULL && is_any_locked())
		return apart_fail(&x->room, -EACCES, "%s", LOCKED);
	if (*out == NULL)
		return apart_fail(&x->room, -ENOENT, "the keyring does not have what this vault keeps there: it is another user's or "
		    "computer's, or it was reset");
	return 0;
}

err_t
holder_keyring_get(struct holder_exchange *x)
{
	CLEANUP(error_clear) GError *e = NULL;
	CLEANUP(free_items) GList *items = NULL;
	SecretValue *value;
	const gchar *data;
	gsize len = 0;
	err_t err = find(x, &items);

	if (err != 0 || items == NULL)
		return err != 0 ? err : -ENOENT;
	value = lib.secret_retrievable_retrieve_secret_sync(items->data, NULL, &e);
	if (e != NULL)
		return explain(x, e);
	if (value == NULL)
		return apart_fail(&x->room, -EACCES, "%s", LOCKED);
	data = lib.secret_value_get(value, &len);
	if (len == HOLDER_SECRET_LEN)
		secmem_copy(x->secret, data, HOLDER_SECRET_LEN);
	lib.secret_value_unref(value);
	return len == HOLDER_SECRET_LEN ? 0 : apart_fail(&x->room, -EBADMSG, "what the keyring has for this vault was changed");
}

err_t
holder_keyring_drop(struct holder_exchange *x)
{
	CLEANUP(error_clear) GError *e = NULL;
	char name[2 * NAME_LEN + 1];
	gboolean removed;
	err_t err = load(x);

	if (err != 0 || (err = name_of(x, name)) != 0)
		return err;
	removed = lib.secret_password_clear_sync(&schema, NULL, &e, "name", name, NULL);
	if (e != NULL)
		return explain(x, e);
	return removed ? 0 : -ENOENT;
}
