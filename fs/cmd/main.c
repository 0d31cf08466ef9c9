/*
 * The program's entry: a table of commands.  Called by the name of a mount helper, or as mount.fuse(8) calls the program of
 * a "fuse.snugfs" mount (SOURCE MOUNTPOINT -o OPTIONS), it is `mount`.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "err.h"
#include "launch.h"
#include "log.h"
#include "metered.h"
#include "mountwatch.h"
#include "needs.h"
#include "secmem.h"
#include "suspendwatch.h"
#include "tell.h"

static const struct command *const commands[] = {
	&cmd_up, &cmd_init, &cmd_mount, &cmd_unmount, &cmd_status, &cmd_sync, &cmd_join, &cmd_recovery_key,
	&cmd_lock, &cmd_unlock_method,
	&cmd_remote, &cmd_pause, &cmd_offline, &cmd_resume, &cmd_limit,
	&cmd_verify, &cmd_gc, &cmd_exposure, &cmd_export, &cmd_export_pending, &cmd_device, &cmd_rekey, &cmd_policy, &cmd_witness,
	&cmd_versions, &cmd_restore,
	&cmd_cache, &cmd_pin, &cmd_unpin, &cmd_free,
};

static void
print_help(void)
{
	printf("snugfs keeps a folder encrypted, file by file, and copies nothing but ciphertext to a store.\n"
	       "\n"
	       "usage: snugfs COMMAND ...\n"
	       "\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		printf("  %-14s  %s\n", commands[i]->name, commands[i]->summary);
	printf("\n"
	       "\"snugfs COMMAND --help\" says more, \"snugfs --version\" the version.\n"
	       "To begin: snugfs up ~/Private\n");
}

static void
print_command_help(const struct command *c)
{
	printf("usage: snugfs %s %s\n\n%s", c->name, c->synopsis, c->details);
	if (c->subcommands != NULL) {
		printf("\n");
		for (size_t i = 0; c->subcommands[i] != NULL; i++)
			printf("  %-24s  %s\n", c->subcommands[i]->name, c->subcommands[i]->summary);
		return;
	}
	options_print_own(c);
	printf("\n%s", options_common_help());
}

static const struct command *
find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

/* The last word of its name. */
static const struct command *
find_subcommand(const struct command *c, const char *word)
{
	size_t len = strlen(c->name) + 1;

	for (size_t i = 0; c->subcommands[i] != NULL; i++)
		if (strcmp(c->subcommands[i]->name + len, word) == 0)
			return c->subcommands[i];
	return NULL;
}

/* What ends something must not be refused where little is left. */
static bool
is_modest(const struct command *c)
{
	return c == &cmd_unmount || c == &cmd_status || c == &cmd_lock;
}

/* Help and the version are data, too: a script is told that it did not get them. */
static int
finish(int status)
{
	if (fflush(stdout) != 0 && status == 0)
		status = tell_failure("standard output cannot be written to: %s", tell_reason(-errno));
	return status;
}

/* Secrets, and so secret memory, only begin behind the fork: launch.h says why. */
static int
run_command(const struct command *c, struct options *o)
{
	err_t err;
	int status;

	umask(077);
	if (c->daemonizes && !o->foreground && (status = launch_background()) != 0)
		return status;
	if (!(c->daemonizes && o->foreground))
		log_open(true);
	if (!is_modest(c) && (status = needs_check()) != 0)
		return status;
	launch_leave_memory_out_of_cores();
	if ((err = secmem_init()) != 0)
		return tell_failure("secrets could not be kept out of core dumps and of swap here (%s): nothing was done", tell_reason(err));
	return finish(c->run(o));
}

static int
mount_helper(int argc, char **argv)
{
	CLEANUP(options_clear) struct options o = { 0 };
	bool fake = false;
	int status = options_parse_mount_helper(argc, argv, &o, &fake);

	return status != 0 || fake ? status : run_command(&cmd_mount, &o);
}

static const char *
program_name(const char *path)
{
	const char *slash = path != NULL ? strrchr(path, '/') : NULL;

	return slash != NULL ? slash + 1 : path != NULL ? path : "snugfs";
}

/* mount.fuse(8) puts the options last, and always some. */
static bool
is_fuse_call(int argc, char **argv)
{
	return argc >= 5 && argv[2][0] == '/' && strcmp(argv[3], "-o") == 0;
}

static bool
is_help(const char *word)
{
	return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* argv[0] is the command's last word. */
static int
run_words(const struct command *c, int argc, char **argv)
{
	CLEANUP(options_clear) struct options o = { 0 };
	const struct command *sub;
	bool help = false;
	int status;

	if (c->subcommands != NULL && argc >= 2 && !is_help(argv[1])) {
		sub = find_subcommand(c, argv[1]);
		return sub != NULL ? run_words(sub, argc - 1, argv + 1) :
		    tell_usage(c->name, "the command %s knows no \"%s\"", c->name, argv[1]);
	}
	if (c->subcommands != NULL && argc < 2)
		return tell_usage(c->name, "the command %s goes on with another word: \"snugfs %s %s\"", c->name, c->name, c->synopsis);
	status = options_parse(c, argc, argv, &o, &help);
	if (status != 0)
		return status;
	if (help) {
		print_command_help(c);
		return finish(0);
	}
	return run_command(c, &o);
}

static int
dispatch(int argc, char **argv)
{
	const struct command *c = find_command(argv[1]);

	if (c != NULL)
		return run_words(c, argc - 1, argv + 1);
	return is_fuse_call(argc, argv) ? mount_helper(argc, argv) : tell_usage(NULL, "there is no command \"%s\"", argv[1]);
}

int
main(int argc, char **argv)
{
	const char *name = program_name(argc > 0 ? argv[0] : NULL);

	launch_hold_standard_streams();
	(void)signal(SIGXFSZ, SIG_IGN); /* where a file may not grow (ulimit -f) its writer gets an error, and the rest goes on */
	if (strcmp(name, SUSPENDWATCH_NAME) == 0)
		suspendwatch_main();
	if (strcmp(name, METERED_WATCH_NAME) == 0)
		metered_watch_main();
	if (strcmp(name, MOUNTWATCH_NAME) == 0)
		return mountwatch_main();
	if (strncmp(name, "mount.", 6) == 0)
		return mount_helper(argc, argv);
	if (argc < 2)
		return tell_usage(NULL, "a command is missing");
	if (strcmp(argv[1], "--version") == 0) {
		printf("snugfs %s\n", SNUGFS_VERSION);
		return finish(0);
	}
	if (is_help(argv[1]) || strcmp(argv[1], "help") == 0) {
		print_help();
		return finish(0);
	}
	return dispatch(argc, argv);
}
