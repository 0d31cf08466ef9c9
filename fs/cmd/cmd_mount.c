/* snugfs mount: opens a vault that exists. */
#include "commands.h"
#include "create.h"
#include "err.h"
#include "mounting.h"
#include "tell.h"

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(free_ptr) char *remote = NULL;
	CLEANUP(secret_clear) struct secret passphrase = { 0 };
	struct mounting_settings settings = { 0 };
	int status;

	if ((status = mounting_read_settings(o, &settings)) != 0)
		return status;
	if ((status = create_remote_url(o, &remote)) != 0 || (status = place_find_existing(o, &p)) != 0 ||
	    (status = place_check_apart(&p, remote)) != 0 || (status = mounting_check(o, &p)) != 0 ||
	    (status = mounting_unlock(o, &p, &passphrase)) != 0)
		return status;
	return mounting_serve(o, &p, &passphrase, remote, false);
}

static const struct option_spec own[] = {
	MOUNTING_OPTIONS,
	{ NULL, NULL, NULL },
};

const struct command cmd_mount = {
	.name = "mount",
	.synopsis = "MOUNTPOINT [--cache-size SIZE] [--up-limit RATE] [--down-limit RATE] [-f] [-o OPTIONS]",
	.summary = "mount the vault of MOUNTPOINT in the background",
	.details = "Mounts the vault of MOUNTPOINT; returns when the folder is usable.\n"
	    "\n"
	    "  -f                        stay in the foreground, with the log on standard error\n"
	    "  -o OPTIONS                comma-separated: ro, noexec, nosuid, nodev, noatime, allow_other, nonempty, …\n"
	    "                            and for /etc/fstab: vault=DIR, remote=URL, passphrase_file=FILE,\n"
	    "                            passphrase_command=CMD, key_file=FILE, no_passphrase\n"
	    "\n"
	    "A line for /etc/fstab:\n"
	    "  /srv/vault  /home/ann/Private  fuse.snugfs  noauto,user,passphrase_file=/home/ann/.pass  0 0\n",
	.options = own,
	.accepts = ACCEPT_MOUNT_OPTIONS | ACCEPT_FOREGROUND,
	.place = PLACE_REQUIRED,
	.daemonizes = true,
	.run = run,
};
