/*
 * holder_tpm.c: the computer's TPM 2.0.  The only file that knows tpm2-tss.
 *
 * A slot's key is sealed under the storage primary key of the owner hierarchy (the ECC template of the TCG's provisioning
 * guidance, made anew each time, so nothing stays in the TPM); a PIN is the sealed object's authorisation value, which the
 * TPM protects against guessing.  An anchor is an ordinary NV index with 32 bytes: other than a sealed object, of which old
 * copies stay good, it can be destroyed.  What passes between the processor and the TPM is encrypted by a session that is
 * salted for the primary key.
 *
 * A place: u8 kind, then of a sealed object its public and private part as the TPM marshals them, of an index u32 handle.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include "bytes.h"
#include "hash.h"
#include "holder_internal.h"
#include "library.h"
#include "random.h"
#include "secmem.h"

#define ESYS_LIBRARY "libtss2-esys.so.0" /* and libtss2-mu, which it is linked with */
#define ESYS_FUNCTIONS(F) F(Esys_Create) F(Esys_CreatePrimary) F(Esys_Finalize) F(Esys_FlushContext) F(Esys_Free) \
	F(Esys_Initialize) F(Esys_Load) F(Esys_NV_DefineSpace) F(Esys_NV_Read) F(Esys_NV_UndefineSpace) F(Esys_NV_Write) \
	F(Esys_StartAuthSession) F(Esys_TRSess_SetAttributes) F(Esys_TR_FromTPMPublic) F(Esys_TR_SetAuth) F(Esys_Unseal) \
	F(Tss2_MU_TPM2B_PRIVATE_Marshal) F(Tss2_MU_TPM2B_PRIVATE_Unmarshal) F(Tss2_MU_TPM2B_PUBLIC_Marshal) \
	F(Tss2_MU_TPM2B_PUBLIC_Unmarshal)
#define RC_LIBRARY "libtss2-rc.so.0"
#define RC_FUNCTIONS(F) F(Tss2_RC_Decode)
#define TCTI_LIBRARY "libtss2-tctildr.so.0"
#define TCTI_FUNCTIONS(F) F(Tss2_TctiLdr_Finalize) F(Tss2_TctiLdr_Initialize)

static struct {
	ESYS_FUNCTIONS(LIBRARY_POINTER)
	RC_FUNCTIONS(LIBRARY_POINTER)
	TCTI_FUNCTIONS(LIBRARY_POINTER)
} lib; /* set by load */
static const struct library_symbol esys_symbols[] = { ESYS_FUNCTIONS(LIBRARY_SYMBOL) };
static const struct library_symbol rc_symbols[] = { RC_FUNCTIONS(LIBRARY_SYMBOL) };
static const struct library_symbol tcti_symbols[] = { TCTI_FUNCTIONS(LIBRARY_SYMBOL) };

/* Handles for the owner's own use; TCG's registry of reserved TPM 2.0 handles leaves them free. */
#define NV_FIRST 0x01800000u
#define NV_COUNT 0x00400000u
#define NV_TRIES 16

struct tpm {
	TSS2_TCTI_CONTEXT *tcti;
	ESYS_CONTEXT *esys;
	ESYS_TR primary, session, object;
};

/* Nothing of ours may stay loaded: without a resource manager it would fill the TPM. */
static void
tpm_close(struct tpm *t)
{
	if (t->esys != NULL) {
		if (t->object != ESYS_TR_NONE)
			(void)lib.Esys_FlushContext(t->esys, t->object);
		if (t->session != ESYS_TR_NONE)
			(void)lib.Esys_FlushContext(t->esys, t->session);
		if (t->primary != ESYS_TR_NONE)
			(void)lib.Esys_FlushContext(t->esys, t->primary);
		lib.Esys_Finalize(&t->esys);
	}
	if (t->tcti != NULL)
		lib.Tss2_TctiLdr_Finalize(&t->tcti);
}

static void
esys_free(void *p_to_pointer)
{
	void *p;

	memcpy(&p, p_to_pointer, sizeof(p));
	lib.Esys_Free(p);
}

/* Without where in the command it was. */
static TSS2_RC
plain_code(TSS2_RC rc)
{
	rc &= 0xffff;
	return (rc & TPM2_RC_FMT1) != 0 ? rc & (TPM2_RC_FMT1 | 0x3f) : rc;
}

static err_t
explain(struct holder_exchange *x, TSS2_RC rc)
{
	switch (plain_code(rc)) {
	case TPM2_RC_AUTH_FAIL:
	case TPM2_RC_BAD_AUTH:
		return apart_fail(&x->room, -EKEYREJECTED, "the TPM refuses this PIN: try again, but after a few wrong ones it locks itself "
		    "for a while");
	case TPM2_RC_LOCKOUT:
		return apart_fail(&x->room, -EAGAIN, "the TPM has locked itself after wrong PINs: wait some minutes and try again, or unlock "
		    "in another way");
	case TPM2_RC_INTEGRITY:
	case TPM2_RC_HANDLE:
		return apart_fail(&x->room, -ENOENT, "this computer's TPM does not have what this vault keeps there: it is another "
		    "computer's or was cleared, or this is an old copy of the device file");
	case TPM2_RC_NV_SPACE:
		return apart_fail(&x->room, -ENOSPC, "the TPM has no room left: remove what is not needed there");
	default:
		return apart_fail(&x->room, -EIO, "the TPM refuses: %s", lib.Tss2_RC_Decode(rc));
	}
}

/* SRK template: ECC NIST P-256, AES-128-CFB. */
static const TPM2B_PUBLIC primary_template = {
	.publicArea = {
		.type = TPM2_ALG_ECC,
		.nameAlg = TPM2_ALG_SHA256,
		.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
		    TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
		.parameters.eccDetail = {
			.symmetric = { .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB },
			.scheme.scheme = TPM2_ALG_NULL,
			.curveID = TPM2_ECC_NIST_P256,
			.kdf.scheme = TPM2_ALG_NULL,
		},
	},
};

static TSS2_RC
make_primary(struct tpm *t)
{
	const TPM2B_SENSITIVE_CREATE sensitive = { 0 };
	const TPM2B_DATA outside = { 0 };
	const TPML_PCR_SELECTION pcrs = { 0 };

	return lib.Esys_CreatePrimary(t->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
	    &primary_template, &outside, &pcrs, &t->primary, NULL, NULL, NULL, NULL);
}

static TSS2_RC
begin_session(struct tpm *t)
{
	const TPMT_SYM_DEF aes = { .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB };
	const TPMA_SESSION both = TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT | TPMA_SESSION_CONTINUESESSION;
	TSS2_RC rc = lib.Esys_StartAuthSession(t->esys, t->primary, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
	    NULL, TPM2_SE_HMAC, &aes, TPM2_ALG_SHA256, &t->session);

	return rc != TSS2_RC_SUCCESS ? rc : lib.Esys_TRSess_SetAttributes(t->esys, t->session, both, both);
}

static err_t
load(struct holder_exchange *x)
{
	err_t err;

	if ((err = library_load(ESYS_LIBRARY, esys_symbols, ARRAY_LEN(esys_symbols))) != 0 ||
	    (err = library_load(RC_LIBRARY, rc_symbols, ARRAY_LEN(rc_symbols))) != 0 ||
	    (err = library_load(TCTI_LIBRARY, tcti_symbols, ARRAY_LEN(tcti_symbols))) != 0)
		return apart_fail(&x->room, -ENOTSUP, "tpm2-tss (%s) is not installed, without which the TPM cannot be asked: install it, "
		    "or unlock in another way", ESYS_LIBRARY);
	return 0;
}

static err_t
tpm_open(struct holder_exchange *x, struct tpm *t)
{
	TSS2_RC rc;
	err_t err;

	*t = (struct tpm){ .primary = ESYS_TR_NONE, .session = ESYS_TR_NONE, .object = ESYS_TR_NONE };
	err = load(x);
	if (err != 0)
		return err;
	/* What the library has to say about a refusal is said here, in a sentence. */
	(void)setenv("TSS2_LOG", "all+NONE", 0);
	if (lib.Tss2_TctiLdr_Initialize(getenv("SNUGFS_TPM"), &t->tcti) != TSS2_RC_SUCCESS ||
	    lib.Esys_Initialize(&t->esys, t->tcti, NULL) != TSS2_RC_SUCCESS)
		return apart_fail(&x->room, -ENOTSUP, "there is no TPM 2.0 here that may be used: check that this user may open /dev/tpmrm0 "
		    "(group tss), or unlock in another way");
	rc = make_primary(t);
	if (rc == TSS2_RC_SUCCESS)
		rc = begin_session(t);
	if (rc == TSS2_RC_SUCCESS)
		return 0;
	if (plain_code(rc) == TPM2_RC_AUTH_FAIL || plain_code(rc) == TPM2_RC_BAD_AUTH)
		return apart_fail(&x->room, -EACCES, "the TPM has an owner password, so this program cannot use it");
	return explain(x, rc);
}

/* The PIN's hash, since an authorisation value has a maximum of 32 bytes. */
static err_t
set_auth(const struct holder_pin *pin, TPM2B_AUTH *out)
{
	*out = (TPM2B_AUTH){ 0 };
	if (pin == NULL)
		return 0;
	_Static_assert(HASH_LEN <= sizeof(out->buffer), "a hash fits");
	out->size = HASH_LEN;
	return hash_sha256(pin->text, pin->len, out->buffer);
}

static void
wipe_auth(TPM2B_AUTH *auth)
{
	secmem_wipe(auth, sizeof(*auth));
}

static void
wipe_sensitive(TPM2B_SENSITIVE_CREATE *s)
{
	secmem_wipe(s, sizeof(*s));
}

static err_t
write_sealed(struct holder_exchange *x, bool with_pin, const TPM2B_PUBLIC *public, const TPM2B_PRIVATE *private)
{
	size_t at = 1;

	x->place[0] = with_pin ? TPM_PLACE_SEALED_PIN : TPM_PLACE_SEALED;
	if (lib.Tss2_MU_TPM2B_PUBLIC_Marshal(public, x->place, sizeof(x->place), &at) != TSS2_RC_SUCCESS ||
	    lib.Tss2_MU_TPM2B_PRIVATE_Marshal(private, x->place, sizeof(x->place), &at) != TSS2_RC_SUCCESS)
		return -E2BIG;
	x->place_len = at;
	return 0;
}

static err_t
seal(struct tpm *t, struct holder_exchange *x, const struct holder_pin *pin)
{
	CLEANUP(wipe_sensitive) TPM2B_SENSITIVE_CREATE sensitive = { 0 };
	CLEANUP(esys_free) TPM2B_PRIVATE *private = NULL;
	CLEANUP(esys_free) TPM2B_PUBLIC *public = NULL;
	const TPM2B_DATA outside = { 0 };
	const TPML_PCR_SELECTION pcrs = { 0 };
	const TPM2B_PUBLIC template = {
		.publicArea = {
			.type = TPM2_ALG_KEYEDHASH,
			.nameAlg = TPM2_ALG_SHA256,
			.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_USERWITHAUTH |
			    (pin == NULL ? TPMA_OBJECT_NODA : 0),
			.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL,
		},
	};
	TSS2_RC rc;
	err_t err = set_auth(pin, &sensitive.sensitive.userAuth);

	if (err != 0)
		return err;
	sensitive.sensitive.data.size = HOLDER_SECRET_LEN;
	secmem_copy(sensitive.sensitive.data.buffer, x->secret, HOLDER_SECRET_LEN);
	rc = lib.Esys_Create(t->esys, t->primary, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &template, &outside,
	    &pcrs, &private, &public, NULL, NULL, NULL);
	return rc != TSS2_RC_SUCCESS ? explain(x, rc) : write_sealed(x, pin != NULL, public, private);
}

static err_t
unseal(struct tpm *t, struct holder_exchange *x, const struct holder_pin *pin)
{
	CLEANUP(wipe_auth) TPM2B_AUTH auth = { 0 };
	CLEANUP(esys_free) TPM2B_SENSITIVE_DATA *data = NULL;
	TPM2B_PUBLIC public = { 0 };
	TPM2B_PRIVATE private = { 0 };
	size_t at = 1;
	TSS2_RC rc;
	err_t err = set_auth(x->place[0] == TPM_PLACE_SEALED_PIN ? pin : NULL, &auth);

	if (err != 0)
		return err;
	if (lib.Tss2_MU_TPM2B_PUBLIC_Unmarshal(x->place, x->place_len, &at, &public) != TSS2_RC_SUCCESS ||
	    lib.Tss2_MU_TPM2B_PRIVATE_Unmarshal(x->place, x->place_len, &at, &private) != TSS2_RC_SUCCESS ||
	    at != x->place_len)
		return -EBADMSG;
	rc = lib.Esys_Load(t->esys, t->primary, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &private, &public, &t->object);
	if (rc == TSS2_RC_SUCCESS)
		rc = lib.Esys_TR_SetAuth(t->esys, t->object, &auth);
	if (rc == TSS2_RC_SUCCESS)
		rc = lib.Esys_Unseal(t->esys, t->object, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &data);
	if (rc != TSS2_RC_SUCCESS)
		return explain(x, rc);
	if (data->size != HOLDER_SECRET_LEN)
		return -EBADMSG;
	secmem_copy(x->secret, data->buffer, HOLDER_SECRET_LEN);
	secmem_wipe(data->buffer, sizeof(data->buffer));
	return 0;
}

/* NV indices. */

static TSS2_RC
define_index(struct tpm *t, uint32_t handle, ESYS_TR *index_out)
{
	const TPM2B_AUTH none = { 0 };
	const TPM2B_NV_PUBLIC public = {
		.nvPublic = {
			.nvIndex = handle,
			.nameAlg = TPM2_ALG_SHA256,
			.attributes = TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | TPMA_NV_OWNERREAD | TPMA_NV_OWNERWRITE | TPMA_NV_NO_DA,
			.dataSize = HOLDER_SECRET_LEN,
		},
	};

	return lib.Esys_NV_DefineSpace(t->esys, ESYS_TR_RH_OWNER, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &none, &public,
	    index_out);
}

static err_t
put_index(struct tpm *t, struct holder_exchange *x)
{
	TPM2B_MAX_NV_BUFFER data = { .size = HOLDER_SECRET_LEN };
	ESYS_TR index = ESYS_TR_NONE;
	TSS2_RC rc = TPM2_RC_NV_DEFINED;
	uint32_t handle = 0;

	for (int i = 0; i < NV_TRIES && plain_code(rc) == TPM2_RC_NV_DEFINED; i++) {
		err_t err = random_bytes(&handle, sizeof(handle));

		if (err != 0)
			return err;
		handle = NV_FIRST + handle % NV_COUNT;
		rc = define_index(t, handle, &index);
	}
	if (rc != TSS2_RC_SUCCESS)
		return explain(x, rc);
	secmem_copy(data.buffer, x->secret, HOLDER_SECRET_LEN);
	rc = lib.Esys_NV_Write(t->esys, index, index, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &data, 0);
	secmem_wipe(&data, sizeof(data));
	if (rc != TSS2_RC_SUCCESS) {
		(void)lib.Esys_NV_UndefineSpace(t->esys, ESYS_TR_RH_OWNER, index, t->session, ESYS_TR_NONE, ESYS_TR_NONE);
		return explain(x, rc);
	}
	x->place[0] = TPM_PLACE_NV;
	put_u32(x->place + 1, handle);
	x->place_len = 5;
	return 0;
}

/* Only an index of the range that put_index uses: the place comes from a file. */
static err_t
find_index(struct tpm *t, struct holder_exchange *x, ESYS_TR *out)
{
	uint32_t handle;
	TSS2_RC rc;

	if (x->place_len != 5 || x->place[0] != TPM_PLACE_NV)
		return -EBADMSG;
	handle = get_u32(x->place + 1);
	if (handle < NV_FIRST || handle - NV_FIRST >= NV_COUNT)
		return -EBADMSG;
	rc = lib.Esys_TR_FromTPMPublic(t->esys, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, out);
	return rc == TSS2_RC_SUCCESS ? 0 : explain(x, rc);
}

static err_t
get_index(struct tpm *t, struct holder_exchange *x)
{
	CLEANUP(esys_free) TPM2B_MAX_NV_BUFFER *data = NULL;
	ESYS_TR index = ESYS_TR_NONE;
	TSS2_RC rc;
	err_t err = find_index(t, x, &index);

	if (err != 0)
		return err;
	rc = lib.Esys_NV_Read(t->esys, index, index, t->session, ESYS_TR_NONE, ESYS_TR_NONE, HOLDER_SECRET_LEN, 0, &data);
	if (rc != TSS2_RC_SUCCESS)
		return explain(x, rc);
	if (data->size != HOLDER_SECRET_LEN)
		return -EBADMSG;
	secmem_copy(x->secret, data->buffer, HOLDER_SECRET_LEN);
	secmem_wipe(data->buffer, HOLDER_SECRET_LEN);
	return 0;
}

static err_t
drop_index(struct tpm *t, struct holder_exchange *x)
{
	ESYS_TR index = ESYS_TR_NONE;
	TSS2_RC rc;
	err_t err = find_index(t, x, &index);

	if (err != 0)
		return err;
	rc = lib.Esys_NV_UndefineSpace(t->esys, ESYS_TR_RH_OWNER, index, t->session, ESYS_TR_NONE, ESYS_TR_NONE);
	return rc == TSS2_RC_SUCCESS ? 0 : explain(x, rc);
}

err_t
holder_tpm_put(struct holder_exchange *x, const struct holder_item *item, const struct holder_pin *pin)
{
	CLEANUP(tpm_close) struct tpm t;
	err_t err = tpm_open(x, &t);

	if (err != 0)
		return err;
	return item->use == HOLDER_ANCHOR ? put_index(&t, x) : seal(&t, x, pin);
}

err_t
holder_tpm_get(struct holder_exchange *x, const struct holder_pin *pin)
{
	CLEANUP(tpm_close) struct tpm t;
	err_t err = tpm_open(x, &t);

	if (err != 0)
		return err;
	if (x->place_len > 0 && (x->place[0] == TPM_PLACE_SEALED || x->place[0] == TPM_PLACE_SEALED_PIN))
		return unseal(&t, x, pin);
	return get_index(&t, x);
}

/* Of a sealed object nothing is kept in the TPM. */
err_t
holder_tpm_drop(struct holder_exchange *x)
{
	CLEANUP(tpm_close) struct tpm t = { 0 };
	err_t err;

	if (x->place_len == 0 || x->place[0] != TPM_PLACE_NV)
		return 0;
	err = tpm_open(x, &t);
	return err != 0 ? err : drop_index(&t, x);
}
