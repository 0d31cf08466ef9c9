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
	ACCEPT_JSON = 16,
	ACCEPT_COUNTERS = 32,
};

enum option_place {
	PLACE_NONE,
	PLACE_OPTIONAL, /* the mount point is there if a word is too many for args_max, or has a slash and is not needed for args_min */
	PLACE_REQUIRED,
};

#define OPTIONS_OWN_MAX 16

/* An option that only one command has. */
struct option_spec {
	const char *name;  /* without the dashes; NULL ends a table */
	const char *value; /* what --help calls its value; NULL: it has none */
	const char *help;  /* lines, the further ones not indented */
};

struct options {
	const char *command; /* whose options they are, for tell_usage; borrowed */
	char *mountpoint; /* absolute; NULL: not given */
	char *vault_dir;  /* absolute; NULL: not given */
	char *remote;     /* as given */
	char *passphrase_file;
	char *passphrase_command;
	char *key_file;
	char *recovery_key_file;
	char **share_files;
	unsigned share_file_count;
	char *device_name;
	char *mount_options; /* comma-separated, for fuse_mount_new; NULL: none */
	bool no_passphrase;
	bool with_recovery_key;
	bool foreground;
	bool wait;
	bool json;
	bool counters;
	char **args;      /* the words behind the mount point; borrowed from argv */
	unsigned arg_count;
	const struct option_spec *own; /* the command's table, and what was given of it; borrowed from argv */
	const char *own_values[OPTIONS_OWN_MAX];
};

struct command {
	const char *name;     /* of a subcommand with that of its command before it: "recovery-key check" */
	const char *synopsis; /* behind the name */
	const char *summary;  /* one line of the general help */
	const char *details;  /* what --help says, without the options below and the common ones */
	unsigned accepts;
	const struct option_spec *options; /* its own, at most OPTIONS_OWN_MAX; NULL: none */
	enum option_place place;
	const char *args_are; /* what the words behind the mount point are, in a sentence: "a path"; NULL: there are none */
	unsigned args_min, args_max;
	bool daemonizes;      /* unless -f */
	int (*run)(struct options *o);
	const struct command *const *subcommands; /* NULL-terminated; then it is they that run */
};

void options_clear(struct options *o);
/*
 * Reads argv (argv[0] is the command's name) into *o.  *help_out: --help was asked for; nothing else counts then.
 * Returns an exit status (tell.h).
 */
int options_parse(const struct command *c, int argc, char **argv, struct options *o, bool *help_out);
/* The value of one of the command's own options; "" for one without a value; NULL: not given. */
const char *options_get(const struct options *o, const char *name);
/*
 * As mount(8) calls its helpers: SOURCE MOUNTPOINT [-sfnv] [-N namespace] [-t type] [-o options].  The source is the vault's
 * directory if it is an absolute path, else a word for the table of mounts.  *fake_out: -f, everything but the mount.
 */
int options_parse_mount_helper(int argc, char **argv, struct options *o, bool *fake_out);

/* For --help: a command's own options, and what the common ones mean. */
void options_print_own(const struct command *c);
const char *options_common_help(void);

#endif
