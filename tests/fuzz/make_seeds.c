/* make_seeds.c: writes the corpora's seeds, one valid example of each form that a target takes: make_seeds DIRECTORY. */
#include <string.h>
#include <sys/stat.h>

#include "cborio.h"
#include "devicefile.h"
#include "envelope.h"
#include "fuzz.h"
#include "invitation.h"
#include "keybox.h"
#include "recoverykey.h"
#include "shamir.h"
#include "trust.h"

static const char *directory;

static void write_seed(const char *target, const char *name, const struct bytes *b)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", directory, target);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%s/%s", directory, target, name);
	FILE *file = fopen(path, "wb");
	FUZZ_REQUIRE(file != NULL && fwrite(b->data, 1, b->len, file) == b->len && fclose(file) == 0);
}

/* mode < 0: a target without modes. */
static void seed(const char *target, const char *name, int mode, const void *data, size_t len)
{
	struct bytes b = {0};
	if (mode >= 0)
		FUZZ_REQUIRE(bytes_append_u8(&b, (uint8_t)mode) == 0);
	FUZZ_REQUIRE(bytes_append(&b, data, len) == 0);
	write_seed(target, name, &b);
	bytes_clear(&b);
}

static void recoverykey_seeds(void)
{
	static const char *const texts[] = {"000G-40R4-0M30-E209-185G-R38E-1WEC", "ooog 4or4 om3o e2o9 l85g r38e iwec",
	    "000G-40R4-0M30-E209-185G-R38E-1WED", "000G-40R4-0M30-E2U9-185G-R38E-1WEC", "000G-40R4"};
	static const char *const names[] = {"key", "lookalikes", "typo", "unused-letter", "short"};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		seed("recoverykey", names[i], -1, texts[i], strlen(texts[i]));
}

static void cborio_seeds(void)
{
	struct bytes b = {0};
	FUZZ_REQUIRE(cbor_put_map(&b, 4) == 0 && cbor_put_uint(&b, 0) == 0 && cbor_put_text(&b, "t\xc3\xa4xt") == 0);
	FUZZ_REQUIRE(cbor_put_uint(&b, 1) == 0 && cbor_put_bytes(&b, "bytes", 5) == 0);
	FUZZ_REQUIRE(cbor_put_uint(&b, 24) == 0 && cbor_put_signed(&b, -1000) == 0);
	FUZZ_REQUIRE(cbor_put_uint(&b, UINT32_MAX) == 0 && cbor_put_array(&b, 2) == 0);
	FUZZ_REQUIRE(cbor_put_boolean(&b, true) == 0 && cbor_put_uint(&b, UINT64_MAX) == 0);
	seed("cborio", "map", -1, b.data, b.len);
	bytes_clear(&b);
	seed("cborio", "long-head", -1, "\x18\x17", 2);
	seed("cborio", "indefinite", -1, "\x9f\x01\xff", 3);
	seed("cborio", "huge-string", -1, "\x5b\xff\xff\xff\xff\xff\xff\xff\xff" "abc", 12);
	seed("cborio", "tag-and-float", -1, "\xc0\xf9\x3c\x00", 4);
	seed("cborio", "descending-keys", -1, "\xa2\x02\x01\x01\x01", 5);
}

static void envelope_seeds(void)
{
	struct identity *author;
	struct envelope e = {.kind = ENVELOPE_COMMIT, .epoch = FUZZ_EPOCH, .seq = FUZZ_SEQ, .time_ns = 7};
	struct bytes object = {0};
	uint8_t plain[64 + 5 + 64] = {0};
	FUZZ_REQUIRE(identity_from_device_secret(fuzz_secret, &author) == 0);
	FUZZ_REQUIRE(identity_id(identity_public(author), e.author) == 0);
	FUZZ_REQUIRE(envelope_seal(&e, fuzz_vault_id, fuzz_epoch_key, author, (const uint8_t *)"hello", 5, &object) == 0);
	seed("envelope", "object", 0, object.data, object.len);
	put_u64(plain, 5);
	seed("envelope", "plaintext", 1, plain, sizeof(plain));
	put_u64(plain, UINT64_MAX);
	seed("envelope", "lying-length", 1, plain, sizeof(plain));
	seed("envelope", "body", 2, "hello", 5);
	identity_free(author);
	bytes_clear(&object);
}

static void keybox_seeds(void)
{
	struct identity *me;
	struct keybox_secrets secrets = {{1}, {2}, {3}};
	struct bytes box = {0};
	memcpy(secrets.link_secret, fuzz_psk, 32);
	FUZZ_REQUIRE(identity_from_device_secret(fuzz_secret, &me) == 0);
	const struct keybox_member member = {.pub = *identity_public(me)};
	FUZZ_REQUIRE(keybox_seal(fuzz_vault_id, FUZZ_EPOCH, &secrets, &member, 1, &box) == 0);
	seed("keybox", "box", 0, box.data, box.len);
	seed("keybox", "slots", 1, box.data + 8, 8 * 144);
	seed("keybox", "members", 2, "\x09\x03", 2);
	seed("keybox", "not-among-them", 2, "\x03\x20", 2);
	identity_free(me);
	bytes_clear(&box);
}

/* A whole file, the parameters of its slot alone, and the same with an id that is longer than it may be. */
static void fido2_seeds(void)
{
	const struct fido2_slot how = {.credential = {0xc0, 0xc1}, .credential_len = 64, .salt = {0x5a}, .aaguid = {0xaa}, .with_pin = true};
	const uint8_t output[FIDO2_OUTPUT_LEN] = {0x0f};
	struct devicefile *df;
	struct bytes b = {0};
	FUZZ_REQUIRE(devicefile_new(fuzz_secret, fuzz_vault_id, &df) == 0 && devicefile_add_plain(df, NULL) == 0);
	FUZZ_REQUIRE(devicefile_add_fido2(df, NULL, &how, output) == 0 && devicefile_serialize(df, &b) == 0);
	seed("devicefile", "plain-and-fido2", 0, b.data, b.len);
	struct slot_view s = devicefile_slot_at(df, 1);
	seed("devicefile", "fido2", 3, s.params, s.params_len);

	/* Behind the id, which has a head of two bytes, come the same bytes as there. */
	const uint8_t too_long[FIDO2_CREDENTIAL_MAX + 1] = {0};
	bytes_reset(&b);
	FUZZ_REQUIRE(bytes_append(&b, s.params, 2) == 0 && cbor_put_bytes(&b, too_long, sizeof(too_long)) == 0);
	FUZZ_REQUIRE(bytes_append(&b, s.params + 4 + 64, s.params_len - 4 - 64) == 0);
	seed("devicefile", "fido2-long-id", 3, b.data, b.len);
	devicefile_free(df);
	bytes_clear(&b);
}

static void devicefile_seeds(void)
{
	struct devicefile *df;
	struct bytes file = {0};
	FUZZ_REQUIRE(devicefile_new(fuzz_secret, fuzz_vault_id, &df) == 0 && devicefile_add_plain(df, NULL) == 0);
	FUZZ_REQUIRE(devicefile_serialize(df, &file) == 0);
	seed("devicefile", "plain", 0, file.data, file.len);
	/* The slots' array stands between the vault id, the key 3, and the key 4 with 34 bytes of HMAC. */
	const uint8_t *slots = memmem(file.data, file.len, fuzz_vault_id, sizeof(fuzz_vault_id));
	FUZZ_REQUIRE(slots != NULL);
	slots += sizeof(fuzz_vault_id) + 1;
	seed("devicefile", "slots", 1, slots, (size_t)(file.data + file.len - 35 - slots));
	FUZZ_REQUIRE(devicefile_add_passphrase(df, NULL, "pass", 4, 14) == 0);
	bytes_reset(&file);
	FUZZ_REQUIRE(devicefile_serialize(df, &file) == 0);
	seed("devicefile", "plain-and-passphrase", 0, file.data, file.len);
	const uint8_t value[DEVICEFILE_ANCHOR_LEN] = {0xa};
	const struct anchor_view anchor = {SLOT_TPM, (const uint8_t *)"here", 4, (const uint8_t *)"there", 5};
	FUZZ_REQUIRE(devicefile_set_anchor(df, &anchor, value) == 0);
	bytes_reset(&file);
	FUZZ_REQUIRE(devicefile_serialize(df, &file) == 0);
	seed("devicefile", "anchored", 0, file.data, file.len);
	devicefile_free(df);
	bytes_clear(&file);

	uint8_t params[43] = {0xa4, 0, 0x58, 32};
	memcpy(params + 36, "\x01\x0d\x02\x08\x03\x01", 6);
	seed("devicefile", "weak-cost", 2, params, 42);
	params[37] = 0x17;
	seed("devicefile", "absurd-cost", 2, params, 42);
	fido2_seeds();
}

static void add_raw(struct bytes *all, struct trust *t, struct bytes *statement)
{
	FUZZ_REQUIRE(trust_apply(t, statement->data, statement->len) == 0);
	FUZZ_REQUIRE(bytes_append_u16(all, (uint16_t)statement->len) == 0);
	FUZZ_REQUIRE(bytes_append(all, statement->data, statement->len) == 0);
	bytes_reset(statement);
}

static void body_seed(const char *name, struct bytes *statement)
{
	struct cursor c = {statement->data, statement->len};
	size_t count, len;
	const uint8_t *body;
	FUZZ_REQUIRE(cbor_get_array(&c, &count) == 0 && cbor_get_bytes(&c, &body, &len) == 0);
	seed("trust", name, 1, body, len);
	bytes_reset(statement);
}

/* The same beginning as in fuzz_trust.c, so that the bodies follow on it. */
static void trust_seeds(void)
{
	const uint8_t device_secret[DEVICE_SECRET_LEN] = {1}, recovery[RECOVERY_KEY_LEN] = {2}, other[DEVICE_SECRET_LEN] = {3}, another[DEVICE_SECRET_LEN] = {5};
	const uint8_t invited[INVITATION_SECRET_LEN] = {7};
	const struct trust_policy strict = {1, 1, false};
	const uint8_t box_hash[32] = {0xb0};
	struct identity *device, *paper, *second, *third, *guest;
	struct trust *t;
	struct bytes all = {0}, b = {0};
	uint8_t id[IDENTITY_ID_LEN];
	FUZZ_REQUIRE(identity_from_device_secret(device_secret, &device) == 0);
	FUZZ_REQUIRE(identity_from_recovery_key(recovery, &paper) == 0);
	FUZZ_REQUIRE(identity_from_device_secret(other, &second) == 0);
	FUZZ_REQUIRE(identity_from_device_secret(another, &third) == 0);
	FUZZ_REQUIRE(identity_from_invitation(invited, &guest) == 0);
	FUZZ_REQUIRE(trust_new(&t) == 0);
	FUZZ_REQUIRE(trust_make_genesis(device, "laptop", paper, 1, &b) == 0);
	add_raw(&all, t, &b);
	FUZZ_REQUIRE(trust_make_epoch(t, device, 0, "k/0-00", box_hash, 2, &b) == 0);
	add_raw(&all, t, &b);

	FUZZ_REQUIRE(identity_id(identity_public(device), id) == 0);
	FUZZ_REQUIRE(trust_make_add(t, device, MEMBER_DEVICE, identity_public(second), "phone", 3, &b) == 0);
	body_seed("body-add", &b);
	FUZZ_REQUIRE(trust_make_remove(t, device, id, 3, &b) == 0);
	body_seed("body-remove", &b);
	FUZZ_REQUIRE(trust_make_epoch(t, device, 1, "k/1-00", box_hash, 3, &b) == 0);
	body_seed("body-epoch", &b);
	FUZZ_REQUIRE(trust_make_rename(t, device, id, "desk", 3, &b) == 0);
	body_seed("body-rename", &b);
	FUZZ_REQUIRE(trust_make_invite(t, device, identity_public(guest), "guest", 9, "k/0-01", box_hash, 3, &b) == 0);
	body_seed("body-invite", &b);
	FUZZ_REQUIRE(trust_make_policy(t, device, &strict, 3, &b) == 0);
	body_seed("body-policy", &b);

	FUZZ_REQUIRE(trust_make_add(t, paper, MEMBER_DEVICE, identity_public(second), "phone", 3, &b) == 0);
	add_raw(&all, t, &b);
	FUZZ_REQUIRE(trust_make_remove(t, second, id, 4, &b) == 0);
	add_raw(&all, t, &b);
	FUZZ_REQUIRE(trust_make_epoch(t, second, 1, "k/1-00", box_hash, 5, &b) == 0);
	add_raw(&all, t, &b);
	seed("trust", "statements", 0, all.data, all.len);
	FUZZ_REQUIRE(trust_make_invite(t, second, identity_public(guest), "guest", 9, "k/1-01", box_hash, 6, &b) == 0);
	add_raw(&all, t, &b);
	FUZZ_REQUIRE(identity_id(identity_public(second), id) == 0 && trust_make_rename(t, second, id, "old", 6, &b) == 0);
	add_raw(&all, t, &b);
	FUZZ_REQUIRE(trust_make_add(t, guest, MEMBER_DEVICE, identity_public(third), "new", 8, &b) == 0);
	add_raw(&all, t, &b);
	FUZZ_REQUIRE(identity_id(identity_public(guest), id) == 0 && trust_make_remove(t, guest, id, 8, &b) == 0);
	add_raw(&all, t, &b);
	FUZZ_REQUIRE(trust_make_policy(t, second, &strict, 9, &b) == 0);
	add_raw(&all, t, &b);
	seed("trust", "invited", 0, all.data, all.len);
	seed("trust", "play", 2, "\x00\x00\x02\x00\x01\x03\x01\x01\x01\x08\x03\x00\x03\x02\x02\x01\x02\x00\x01\x00\x02", 21);
	/* The device invites 6, who adds the device 2 and goes; the recovery key invites 7, who comes too late; the policy. */
	seed("trust", "play-guests", 2, "\x04\x00\x06\x00\x06\x02\x01\x06\x06\x08\x00\x00\x04\x01\x07\x84\x07\x04\x05\x00\x00\x1d\x02\x00\x1d\x01\x00", 27);
	trust_free(t);
	identity_free(device);
	identity_free(paper);
	identity_free(second);
	identity_free(third);
	identity_free(guest);
	bytes_clear(&all);
	bytes_clear(&b);
}

static void shares_seeds(void)
{
	struct shamir_share share = {.set = 0x155555, .threshold = 3, .index = 2, .value = "0123456789abcde"};
	char text[SHAMIR_TEXT_LEN + 1];
	shamir_format(&share, text);
	seed("shares", "share", -1, text, SHAMIR_TEXT_LEN);
	text[9] = text[9] == '4' ? '5' : '4';
	seed("shares", "typo", -1, text, SHAMIR_TEXT_LEN);
	/* Set, threshold, index and value of each. */
	seed("shares", "combination", 0, "\x00\x01\x01\x10\x00\x01\x02\x20\x00\x01\x03\x30", 12);
	seed("shares", "one-more", 0, "\x00\x00\x01\x10\x00\x00\x02\x20\x00\x00\x03\x30", 12);
	seed("shares", "twice", 0, "\x00\x00\x01\x10\x00\x00\x01\x10", 8);
	seed("shares", "two-sets", 0, "\x00\x00\x01\x10\x01\x00\x02\x20", 8);
}

static void credentials_seed(const char *access_key, const char *name)
{
	struct bytes b = {0};
	FUZZ_REQUIRE(cbor_put_array(&b, 3) == 0 && cbor_put_text(&b, access_key) == 0);
	FUZZ_REQUIRE(cbor_put_text(&b, "secret") == 0 && cbor_put_text(&b, "token") == 0);
	seed("invitation", name, 3, b.data, b.len);
	bytes_clear(&b);
}

static void invitation_seeds(void)
{
	struct invitation *inv = secmem_new(sizeof(*inv));
	struct identity *guest;
	struct bytes sealed = {0};
	char *text;
	FUZZ_REQUIRE(inv != NULL && identity_from_invitation(fuzz_secret, &guest) == 0);
	memcpy(inv->vault_id, fuzz_vault_id, sizeof(inv->vault_id));
	inv->head_seq = FUZZ_SEQ;
	inv->expires_ns = 7;
	strcpy(inv->url, "s3:https://store.example/bucket");
	strcpy(inv->access_key, "AKIA");
	strcpy(inv->secret_key, "secret");
	FUZZ_REQUIRE(invitation_format(inv, &text) == 0);
	seed("invitation", "text-with-keys", 0, text, strlen(text));
	FUZZ_REQUIRE(invitation_seal_credentials(fuzz_vault_id, identity_public(guest)->box, inv, &sealed) == 0);
	seed("invitation", "sealed-keys", 2, sealed.data, sealed.len);
	credentials_seed("AKIA", "keys");
	credentials_seed("", "keys-without-name");
	secmem_free(text);
	secmem_free(inv);
	identity_free(guest);
	bytes_clear(&sealed);
}

#define OBJECT_NAME_LEN 16

static void values_seeds(void)
{
	struct bytes b = {0};
	seed("values", "credentials", 1, "\x01\x00\x04" "AKIA" "\x00\x06" "secret" "\x00\x00", 16);
	seed("values", "cache", 2, "\x01\x00\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07", 21);
	seed("values", "cache-lying-count", 2, "\x01\x00\x00\x00\x00\x40\x00\x00\x00\xff\xff\xff\xff", 13);
	FUZZ_REQUIRE(bytes_append_u8(&b, 1) == 0 && bytes_append(&b, fuzz_vault_id, IDENTITY_ID_LEN) == 0);
	seed("values", "verified", 3, b.data, b.len);
	bytes_reset(&b);
	FUZZ_REQUIRE(bytes_append_u8(&b, 1) == 0 && bytes_append_u32(&b, 1) == 0 && bytes_append_u32(&b, 3) == 0);
	FUZZ_REQUIRE(bytes_append_u64(&b, FUZZ_SEQ) == 0 && bytes_append_u64(&b, 7) == 0);
	seed("values", "authors", 4, b.data, b.len);
	bytes_reset(&b);
	FUZZ_REQUIRE(bytes_append_u8(&b, 1) == 0 && bytes_append_u64(&b, 7) == 0 && bytes_append_u64(&b, 8) == 0);
	FUZZ_REQUIRE(bytes_append_u32(&b, 1) == 0 && bytes_append_u16(&b, 5) == 0 && bytes_append(&b, "hello", 5) == 0);
	seed("values", "status", 5, b.data, b.len);
	bytes_reset(&b);
	FUZZ_REQUIRE(cbor_put_array(&b, 5) == 0 && cbor_put_uint(&b, 1) == 0 && cbor_put_uint(&b, 60) == 0);
	FUZZ_REQUIRE(cbor_put_uint(&b, 7) == 0 && cbor_put_array(&b, 2) == 0 && cbor_put_uint(&b, FUZZ_SEQ) == 0);
	FUZZ_REQUIRE(cbor_put_bytes(&b, fuzz_vault_id, 32) == 0 && cbor_put_array(&b, 1) == 0 && cbor_put_array(&b, 2) == 0);
	FUZZ_REQUIRE(cbor_put_bytes(&b, fuzz_vault_id, OBJECT_NAME_LEN) == 0 && cbor_put_uint(&b, 6) == 0);
	seed("values", "garbage", 6, b.data, b.len);
	seed("values", "doomed", 7, fuzz_vault_id, OBJECT_NAME_LEN);
	bytes_reset(&b);
	FUZZ_REQUIRE(cbor_put_array(&b, 3) == 0 && cbor_put_uint(&b, 1) == 0 && cbor_put_uint(&b, FUZZ_EPOCH + 1) == 0);
	FUZZ_REQUIRE(cbor_put_uint(&b, 1 << 30) == 0);
	seed("values", "rekey", 8, b.data, b.len);
	bytes_reset(&b);
	FUZZ_REQUIRE(bytes_append_u8(&b, 1) == 0 && bytes_append_u8(&b, 1) == 0 && bytes_append_u64(&b, FUZZ_SEQ) == 0);
	FUZZ_REQUIRE(bytes_append(&b, fuzz_vault_id, 32) == 0);
	for (uint64_t k = 1; k <= 3; k++)
		FUZZ_REQUIRE(bytes_append_u64(&b, k << 20) == 0);
	FUZZ_REQUIRE(bytes_append_u32(&b, 1) == 0 && bytes_append(&b, fuzz_vault_id, 32) == 0);
	seed("values", "head", 9, b.data, b.len);
	bytes_reset(&b);
	FUZZ_REQUIRE(bytes_append_u8(&b, 1) == 0 && bytes_append(&b, fuzz_vault_id, 32) == 0 && bytes_append(&b, fuzz_psk, 32) == 0);
	FUZZ_REQUIRE(bytes_append_u32(&b, 2) == 0 && bytes_append_u32(&b, 0) == 0 && bytes_append(&b, fuzz_epoch_key, 32) == 0);
	FUZZ_REQUIRE(bytes_append_u32(&b, FUZZ_EPOCH) == 0 && bytes_append(&b, fuzz_secret, 32) == 0);
	seed("values", "secrets", 10, b.data, b.len);
	bytes_clear(&b);
}

static void chain_seeds(void)
{
	static const char names[] = "b/000000000016\nb/000000000004\nk/0-00112233445566778899aabbccddeeff\n"
	    "k/4294967295-00112233445566778899aabbccddeeff\nk/01-00112233445566778899aabbccddeeff\ntmp/x\n";
	uint8_t marker[4 + 32] = {1, 5};
	memcpy(marker + 4, fuzz_vault_id, 32);
	seed("chain", "marker", 1, marker, sizeof(marker));
	seed("chain", "short-marker", 0, marker, sizeof(marker));
	seed("chain", "names", 2, names, sizeof(names) - 1);
}

static void moments_seeds(void)
{
	static const char *const texts[] = {"now", "2026-11-20T14:30:05.25+01:00", "3 hours ago", "1h 30m", "commit 812",
	    "9999-12-31", "14:30"};
	static const char *const names[] = {"word", "exact", "distance", "distances", "commit", "far", "time"};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		seed("moments", names[i], 0, texts[i], strlen(texts[i]));
	seed("moments", "bytes", 1, "1.5GiB", 6);
	seed("moments", "seconds", 2, "10m", 3);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: make_seeds DIRECTORY\n");
		return 2;
	}
	directory = argv[1];
	FUZZ_REQUIRE(secmem_init() == 0);
	recoverykey_seeds();
	cborio_seeds();
	envelope_seeds();
	keybox_seeds();
	devicefile_seeds();
	trust_seeds();
	shares_seeds();
	invitation_seeds();
	values_seeds();
	chain_seeds();
	moments_seeds();
	return 0;
}
