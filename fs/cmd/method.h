/*
 * method.h: changing the ways to unlock a vault: reads and opens the device file, keeps its anchor, writes it back.
 * Functions return exit statuses (tell.h).  Uses unlocking.h, holder.h, vault.h.
 */
#ifndef SNUGFS_METHOD_H
#define SNUGFS_METHOD_H

#include "devicefile.h"
#include "options.h"
#include "place.h"

/* A change under way. */
struct method {
	const struct options *o;
	struct place p;
	struct devicefile *df; /* open */
	int lock;              /* of the device file, held until the end */
};
#define METHOD_NONE (struct method){ .lock = -1 }
void method_end(struct method *m);

/* Finds the place and takes the lock; opens the file (by_passphrase: by a passphrase and nothing else). */
int method_begin(const struct options *o, bool by_passphrase, struct method *out);
/* A tag for a new slot, labelled as --label says. */
int method_tag(const struct method *m, struct slot_tag *out);
/*
 * A slot whose random key the keyring or the TPM keeps.  pin: NULL, or text and length.  Anchors the file there, too, unless it
 * is anchored or `anchored` is false.  Writes the file.
 */
struct holder_pin;
int method_add_held(struct method *m, enum slot_kind kind, const struct holder_pin *pin, bool anchored);
/* Writes a file to which only something was added. */
int method_save(struct method *m);
/* Writes a file from which something was taken: if it is anchored, then with another anchor, so that older copies are dead. */
int method_save_renewed(struct method *m);
/* Has the keyring forget a slot's key; says so if it can't. */
void method_forget(const struct method *m, enum slot_kind kind, const uint8_t *place, size_t place_len);

#endif
