/* From a place with a vault to a mounted folder. */
#include "mounting.h"

#include <stdio.h>
#include <stdlib.h>

#include "cmd_cache.h"
#include "config.h"
#include "create.h"
#include "daemon.h"
#include "log.h"
#include "mount_check.h"
#include "mountstate.h"
#include "secmem.h"
#include "tell.h"
#include "unlocking.h"

static int
clear_away_stale(const char *mountpoint)
{
	err_t err = mountstate_unmount(mountpoint, 1);

	return err == 0 ? 0 : tell_failure("%s is still the mount point of a snugfs that has ended, and it cannot be taken off "
	    "(%s): run \"umount -l %s\" as root", mountpoint, tell_reason(err), mountpoint);
}

static int
check_not_mounted(const char *mountpoint)
{
	switch (mountstate_get(mountpoint)) {
	case MOUNT_OURS:
		return tell_failure("%s is mounted already: use it, or unmount it first with \"snugfs unmount %s\"", mountpoint,
		    mountpoint);
	case MOUNT_OTHER:
		return tell_failure("another file system is mounted at %s already: unmount it, or choose another folder",
		    mountpoint);
	case MOUNT_STALE:
		return clear_away_stale(mountpoint);
	case MOUNT_NONE:
		break;
	}
	return 0;
}

int
mounting_check(const struct options *o, const struct place *p)
{
	CLEANUP(free_ptr) char *kernel = NULL;
	struct mount_wishes wishes;
	char *why = NULL;
	err_t err;
	int status;

	err = mount_check_options(o->mount_options, &wishes, &kernel, &why);
	if (err != 0) {
		status = tell_usage("mount", "%s", why != NULL ? why : tell_reason(err));
		free(why);
		return status;
	}
	if ((status = check_not_mounted(p->mountpoint)) != 0 || (status = place_check_apart(p, p->remote)) != 0)
		return status;
	err = mount_check_place(p->mountpoint, &wishes, &why);
	return err == 0 ? 0 : tell_why(why, p->mountpoint, err);
}

int
mounting_unlock(const struct options *o, const struct place *p, struct secret *out)
{
	CLEANUP(devicefile_free_ptr) struct devicefile *df = NULL;
	int status;

	if (!p->wants_passphrase)
		return 0;
	if ((status = unlocking_open(o, p, &df)) != 0)
		return status;
	*out = (struct secret){ .text = secmem_new(DEVICE_SECRET_LEN), .len = DEVICE_SECRET_LEN, .is_device = true };
	if (out->text == NULL)
		return tell_failure("not enough locked memory for a secret: raise the limit (ulimit -l)");
	secmem_copy(out->text, devicefile_secret(df), DEVICE_SECRET_LEN);
	return 0;
}

/* The folder is usable in any case: that it could not be remembered is no reason to close it again. */
static void
remember(const void *ctx, const char *remote)
{
	const struct place *p = ctx;
	err_t err = config_remember(p->mountpoint, p->vault_dir, remote);

	if (err != 0)
		log_warn("%s could not be remembered in the configuration: %s", p->mountpoint, place_config_reason(err));
}

static void
remember_and_say(const void *ctx, const char *remote)
{
	const struct place *p = ctx;

	remember(ctx, remote);
	printf("%s is open: what you put there is encrypted, file by file.\n", p->mountpoint);
	printf("  on this computer   %s\n", p->vault_dir);
	if (remote != NULL)
		printf("  in the store       %s (what you change goes there by itself, as ciphertext)\n", remote);
	else
		printf("  in a store         nothing: to sync, unmount, then: snugfs up %s --remote URL\n", p->mountpoint);
	printf("  how it is doing    snugfs status %s\n", p->mountpoint);
	printf("  to close it        snugfs unmount %s\n", p->mountpoint);
	fflush(stdout);
}

int
mounting_read_settings(const struct options *o, struct mounting_settings *out)
{
	int status = cmd_cache_size(o, "cache-size", &out->cache_size, &out->has_cache_size);

	return status != 0 ? status : cmd_limit_read(o, &out->limits);
}

int
mounting_change_settings(const struct options *o, const struct place *p, const struct mounting_settings *s)
{
	int status = s->has_cache_size ? cmd_cache_set(o, p, s->cache_size) : 0;

	if (status == 0 && (s->limits.has_up || s->limits.has_down))
		status = cmd_limit_set(o, p, &s->limits);
	return status;
}

int
mounting_serve(const struct options *o, const struct place *p, const struct secret *passphrase, const char *remote,
    bool announce)
{
	struct mounting_settings settings = { 0 };
	int status = mounting_read_settings(o, &settings);
	struct daemon_params params = {
		.mountpoint = p->mountpoint,
		.vault_dir = p->vault_dir,
		.mount_options = o->mount_options,
		.remote = remote,
		.cache_size = settings.has_cache_size ? &settings.cache_size : NULL,
		.up_limit = settings.limits.has_up ? &settings.limits.up : NULL,
		.down_limit = settings.limits.has_down ? &settings.limits.down : NULL,
		.unlock = create_lock(passphrase),
		.ready = announce ? remember_and_say : remember,
		.ctx = p,
	};

	return status != 0 ? status : daemon_run(&params);
}
