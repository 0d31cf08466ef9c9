/* Compares public keys: the recovery key itself stays with whoever typed it. */
#include <string.h>

#include "hex.h"
#include "op.h"

static bool
hex_is(const char *hex, const uint8_t bytes[static 32])
{
	char want[65];

	hex_format(bytes, 32, want);
	return hex != NULL && strcmp(hex, want) == 0;
}

json_t *
op_check_recovery(struct op *op, const json_t *request)
{
	const char *sign = json_string_value(json_object_get(request, "sign"));
	const char *box = json_string_value(json_object_get(request, "box"));
	const struct trust_member *m;
	bool same;

	meta_lock(op->vault->meta);
	m = trust_recovery(op->vault->trust);
	same = m != NULL && hex_is(sign, m->pub.sign) && hex_is(box, m->pub.box);
	meta_unlock(op->vault->meta);
	return json_pack("{s:b, s:b}", "ok", 1, "same", same);
}
