/*
 * Fuzzes what devices keep for themselves in single rows of meta.db, beyond the seal; the first byte chooses the row.  What was
 * decoded must be within its bounds, and one that is written again is read as the same.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache.h"
#include "credentials.h"
#include "fuzz.h"
#include "gc_internal.h"
#include "log.h"
#include "rekey_internal.h"
#include "settings.h"
#include "vault_internal.h"
#include "verified.h"

static struct vault vault;
static struct sync engine;

/* The rows only ever stand in memory: nothing is committed. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint8_t key[32] = {1};
	char dir[] = "/tmp/fuzz_values.XXXXXX", path[64];
	struct rowseal *rs;
	struct db *db;

	(void)argc;
	(void)argv;
	FUZZ_REQUIRE(secmem_init() == 0 && mkdtemp(dir) != NULL);
	snprintf(path, sizeof(path), "%s/meta.db", dir);
	FUZZ_REQUIRE(rowseal_new(key, &rs) == 0 && db_open(path, true, rs, &db) == 0);
	FUZZ_REQUIRE(meta_new(db, rs, 0, &vault.meta) == 0);
	unlink(path);
	snprintf(path, sizeof(path), "%s/meta.db-wal", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/meta.db-shm", dir);
	unlink(path);
	rmdir(dir);
	FUZZ_REQUIRE(identity_from_device_secret(fuzz_secret, &vault.me) == 0);
	engine.v = &vault;
	FUZZ_REQUIRE(pthread_mutex_init(&engine.lock, NULL) == 0);
	return 0;
}

static void put(enum db_key key, const uint8_t *data, size_t len)
{
	meta_lock(vault.meta);
	FUZZ_REQUIRE(meta_kv_put(vault.meta, key, data, len) == 0);
	meta_unlock(vault.meta);
}

static void put_secret(enum db_key key, const uint8_t *data, size_t len)
{
	struct bytes b = {0};

	FUZZ_REQUIRE(bytes_append(&b, data, len) == 0);
	meta_lock(vault.meta);
	FUZZ_REQUIRE(vault_secret_put(&vault, key, &b) == 0);
	meta_unlock(vault.meta);
	bytes_clear(&b);
}

static bool is_expected(err_t err)
{
	return err == 0 || err == -EBADMSG || err == -EPROTO;
}

static void try_settings(const uint8_t *data, size_t len)
{
	struct settings s = {.hold = SETTINGS_GO}, again;
	err_t err;

	put(DB_KEY_SETTINGS, data, len);
	err = settings_load(vault.meta, &s);
	FUZZ_REQUIRE(is_expected(err));
	if (err != 0)
		return;
	FUZZ_REQUIRE(s.hold == SETTINGS_GO || s.hold == SETTINGS_PAUSED || s.hold == SETTINGS_OFFLINE);
	(void)settings_hold_at(&s, INT64_MAX);
	(void)settings_hold_at(&s, INT64_MIN);
	FUZZ_REQUIRE(settings_load(vault.meta, &again) == 0 && again.hold == s.hold && again.hold_until == s.hold_until);
}

static void try_credentials(const uint8_t *data, size_t len)
{
	struct credentials *c = NULL, *again = NULL;
	err_t err;

	put_secret(DB_KEY_CREDENTIALS, data, len);
	err = credentials_load(&vault, &c);
	FUZZ_REQUIRE(is_expected(err) || err == -ENOENT);
	FUZZ_REQUIRE((err == 0) == (c != NULL));
	if (err != 0)
		return;
	FUZZ_REQUIRE(strlen(c->access_key) < CREDENTIAL_MAX && strlen(c->secret_key) < CREDENTIAL_MAX &&
	    strlen(c->session_token) < CREDENTIAL_MAX);
	FUZZ_REQUIRE(credentials_save(&vault, c) == 0 && credentials_load(&vault, &again) == 0);
	FUZZ_REQUIRE(strcmp(c->access_key, again->access_key) == 0 && strcmp(c->secret_key, again->secret_key) == 0 &&
	    strcmp(c->session_token, again->session_token) == 0);
	secmem_free(c);
	secmem_free(again);
}

static void try_cache(const uint8_t *data, size_t len)
{
	uint64_t limit, *pins = NULL;
	size_t count = 0;
	err_t err;

	put(DB_KEY_CACHE, data, len);
	err = cache_get_limit(vault.meta, &limit);
	FUZZ_REQUIRE(is_expected(err));
	FUZZ_REQUIRE(cache_list_pins(vault.meta, &pins, &count) == err);
	if (err == 0)
		FUZZ_REQUIRE(count <= CACHE_PINS_MAX);
	free(pins);
}

static void try_verified(const uint8_t *data, size_t len)
{
	uint8_t id[IDENTITY_ID_LEN] = {0};

	put(DB_KEY_VERIFIED, data, len);
	if (len > IDENTITY_ID_LEN)
		memcpy(id, data + len - IDENTITY_ID_LEN, sizeof(id));
	meta_lock(vault.meta);
	(void)verified_has(vault.meta, id);
	meta_unlock(vault.meta);
}

static void try_authors(const uint8_t *data, size_t len)
{
	err_t err;

	put(DB_KEY_AUTHORS, data, len);
	meta_lock(vault.meta);
	err = vault_load_authors(&vault);
	meta_unlock(vault.meta);
	FUZZ_REQUIRE(is_expected(err));
	FUZZ_REQUIRE(vault.author_count <= len / 20);
	free(vault.authors);
	vault.authors = NULL;
	vault.author_count = 0;
}

static void try_status(const uint8_t *data, size_t len)
{
	err_t err;

	put(DB_KEY_STATUS, data, len);
	err = report_load(&engine);
	FUZZ_REQUIRE(is_expected(err));
	for (size_t i = 0; i < engine.message_count; i++)
		free(engine.messages[i]);
	free(engine.messages);
	engine.messages = NULL;
	engine.message_count = 0;
}

static void try_garbage(const uint8_t *data, size_t len)
{
	struct gc g = {.s = &engine};
	err_t err;

	put(DB_KEY_GC, data, len);
	err = gc_state_load(&g);
	FUZZ_REQUIRE(is_expected(err));
	if (err == 0) {
		FUZZ_REQUIRE(g.saved_keep_s >= -1 && g.saved_keep_s <= GC_KEEP_MAX_S);
		FUZZ_REQUIRE(gc_state_save(&g) == 0);
	}
	gc_clear(&g);
}

static void try_doomed(const uint8_t *data, size_t len)
{
	struct gc_names names = {0};
	err_t err;

	put(DB_KEY_GC_DOOMED, data, len);
	meta_lock(vault.meta);
	err = gc_doomed_get(vault.meta, &names);
	meta_unlock(vault.meta);
	FUZZ_REQUIRE(is_expected(err));
	FUZZ_REQUIRE(names.count <= len / SEGMENT_NAME_LEN);
	free(names.v);
}

static void try_rekey(const uint8_t *data, size_t len)
{
	struct rekey *r = NULL;
	err_t err;

	put(DB_KEY_REKEY, data, len);
	err = rekey_new(&engine, &r);
	FUZZ_REQUIRE(is_expected(err) && (err == 0) == (r != NULL));
	if (err == 0)
		FUZZ_REQUIRE(r->wanted == (len > 0) && r->wanted == engine.status.rekey && (r->has_epoch || r->epoch == 0));
	rekey_free(r);
}

static void try_head(const uint8_t *data, size_t len)
{
	err_t err;

	put(DB_KEY_HEAD, data, len);
	meta_lock(vault.meta);
	err = vault_load_head(&vault);
	FUZZ_REQUIRE(is_expected(err));
	if (err == 0)
		FUZZ_REQUIRE(vault.flight_count <= VAULT_FLIGHT_MAX && vault_save_head(&vault) == 0);
	meta_unlock(vault.meta);
}

static void try_secrets(const uint8_t *data, size_t len)
{
	uint32_t newest;
	err_t err;

	FUZZ_REQUIRE((vault.secrets = secmem_new(sizeof(*vault.secrets))) != NULL && keyring_new(&vault.keys) == 0);
	put_secret(DB_KEY_SECRETS, data, len);
	meta_lock(vault.meta);
	err = vault_load_secrets(&vault);
	meta_unlock(vault.meta);
	FUZZ_REQUIRE(is_expected(err) || err == -EEXIST || err == -ENOENT);
	if (err == 0 && keyring_current(vault.keys, &newest) == 0)
		FUZZ_REQUIRE(len >= 1 + 2 * 32 + 4 + 4 + 32);
	keyring_free(vault.keys);
	secmem_free(vault.secrets);
	vault.keys = NULL;
	vault.secrets = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static void (*const rows[])(const uint8_t *data, size_t len) = {try_settings, try_credentials, try_cache, try_verified,
	    try_authors, try_status, try_garbage, try_doomed, try_rekey, try_head, try_secrets};

	if (len > 0)
		rows[data[0] % ARRAY_LEN(rows)](data + 1, len - 1);
	return 0;
}
