/* Waits for the vault's lock: "umount X; snugfs mount X" must work. */
#include "opening.h"

#include <errno.h>
#include <time.h>

#include "mountstate.h"

#define TRIES 200
#define INTERVAL_MS 100

err_t
opening_vault(const char *dir, const struct vault_unlock *u, struct vault **out)
{
	const struct timespec interval = { 0, INTERVAL_MS * 1000000L };
	err_t err = vault_open(dir, u, out);

	for (int i = 0; i < TRIES && err == -EBUSY && !mountstate_is_mounted(dir); i++) {
		(void)nanosleep(&interval, NULL);
		err = vault_open(dir, u, out);
	}
	return err;
}
