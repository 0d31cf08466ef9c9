/*
 * options.h: the command line: what a command accepts, and what was given.  Uses err.h.
 */
#ifndef SNUGFS_OPTIONS_H
#define SNUGFS_OPTIONS_H

#include <stdbool.h>

/* Beside the options that every command accepts. */
enum option_set { /* a mask */
	ACCEPT_REMOTE = 1,
	ACCEPT_MOUNT_OPTIONS = 2, /* -o */
	ACCEPT_FOREGROUND = 4,    /* -f */
	ACCEPT_WAIT = 8,
	ACCEPT_JSON = 16,         /* and --counters */
};

enum option_place {
	MOUNTPOINT_REQUIRED,
	MOUNTPOINT_OPTIONAL,
};

struct options {
	char *mountpoint; /* absolute; NULL: not given */
	char *vault_dir;  /* absolute; NULL: not given */
	char *remote;     /* as given */
	char *passphrase_file;
	char *passphrase_command;
	char *recovery_key_file;
	char *device_name;
	char *mount_options; /* comma-separated, for fuse_mount_new; NULL: none */
	bool no_passphrase;
	bool foreground;
	bool wait;
	bool json;
	bool counters;
};

struct command {
	const char *name;
	const char *verb;     /* a fixed first word ("check"), or NULL */
	const char *synopsis; /* behind the name */
	const char *summary;  /* one line of the general help */
	const char *details;  /* what --help says, without the common options */
	unsigned accepts;
	enum option_place place;
	bool daemonizes;      /* unless -f */
	int (*run)(struct options *o);
};

void options_clear(struct options *o);
/*
 * Reads argv (argv[0] is the command's name) into *o.  *help_out: --help was asked for; nothing else counts then.
 * Returns an exit status (tell.h).
 */
int options_parse(const struct command *c, int argc, char **argv, struct options *o, bool *help_out);
/*
 * As mount(8) calls its helpers: SOURCE MOUNTPOINT [-sfnv] [-N namespace] [-t type] [-o options].  The source is the vault's
 * directory if it is an absolute path, else a word for the table of mounts.  *fake_out: -f, everything but the mount.
 */
int options_parse_mount_helper(int argc, char **argv, struct options *o, bool *fake_out);

/* What the common options mean, for --help. */
const char *options_common_help(void);

#endif
