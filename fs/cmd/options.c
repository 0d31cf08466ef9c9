/* The command line, through getopt_long(3). */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "paths.h"
#include "tell.h"

enum long_only {
	OPT_VAULT = 256, OPT_REMOTE, OPT_PASSPHRASE_FILE, OPT_PASSPHRASE_COMMAND, OPT_RECOVERY_KEY_FILE, OPT_NO_PASSPHRASE,
	OPT_KEY_FILE, OPT_WITH_RECOVERY_KEY, OPT_SHARE_FILE,
	OPT_DEVICE_NAME, OPT_WAIT, OPT_JSON, OPT_COUNTERS, OPT_OWN, /* the command's own, from here on */
};

static const struct option known_options[] = {
	{ "vault", required_argument, NULL, OPT_VAULT },
	{ "passphrase-file", required_argument, NULL, OPT_PASSPHRASE_FILE },
	{ "passphrase-command", required_argument, NULL, OPT_PASSPHRASE_COMMAND },
	{ "key-file", required_argument, NULL, OPT_KEY_FILE },
	{ "with-recovery-key", no_argument, NULL, OPT_WITH_RECOVERY_KEY },
	{ "share-file", required_argument, NULL, OPT_SHARE_FILE },
	{ "recovery-key-file", required_argument, NULL, OPT_RECOVERY_KEY_FILE },
	{ "no-passphrase", no_argument, NULL, OPT_NO_PASSPHRASE },
	{ "device-name", required_argument, NULL, OPT_DEVICE_NAME },
	{ "remote", required_argument, NULL, OPT_REMOTE },
	{ "wait", no_argument, NULL, OPT_WAIT },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "counters", no_argument, NULL, OPT_COUNTERS },
	{ "help", no_argument, NULL, 'h' },
};

/* Which option needs which bit of option_set. */
static const struct {
	int option;
	unsigned set;
} restricted[] = {
	{ OPT_REMOTE, ACCEPT_REMOTE }, { 'o', ACCEPT_MOUNT_OPTIONS }, { 'f', ACCEPT_FOREGROUND }, { OPT_WAIT, ACCEPT_WAIT },
	{ OPT_JSON, ACCEPT_JSON }, { OPT_COUNTERS, ACCEPT_COUNTERS },
};

const char *
options_common_help(void)
{
	return "Options of every command:\n"
	       "  --vault DIR               keep everything local of this vault in DIR\n"
	       "                            (else under the XDG directories, named after the mount point)\n"
	       "  --passphrase-file FILE    the passphrase is the first line of FILE\n"
	       "  --passphrase-command CMD  … the first line that CMD prints (run by sh)\n"
	       "  --no-passphrase           the device file is protected by its permissions alone\n"
	       "                            (for computers with an encrypted disk)\n"
	       "  --key-file FILE           the content of FILE unlocks the vault (\"snugfs unlock-method\")\n"
	       "  --with-recovery-key       unlock with the recovery key, whatever else is lost\n"
	       "  --recovery-key-file FILE  write the recovery key there (init, up), or read it there\n"
	       "  --share-file FILE         a share of the recovery key (several times: one for each share)\n"
	       "  --device-name NAME        what this computer is called (else the host's name)\n"
	       "  --help                    this text\n"
	       "If none of these unlocks the vault, the keyring, the TPM and a security key are tried; else you are asked.\n";
}

/* In columns like the rest of the help. */
static void
print_help_column(const char *text)
{
	for (const char *c = text; *c != '\0'; c++) {
		putchar(*c);
		if (*c == '\n')
			printf("%28s", "");
	}
	putchar('\n');
}

void
options_print_own(const struct command *c)
{
	if (c->options == NULL)
		return;
	printf("\n");
	for (const struct option_spec *spec = c->options; spec->name != NULL; spec++) {
		int width = printf("  --%s%s%s", spec->name, spec->value != NULL ? " " : "", spec->value != NULL ? spec->value : "");

		printf("%*s", width < 27 ? 28 - width : 1, "");
		print_help_column(spec->help);
	}
}

const char *
options_get(const struct options *o, const char *name)
{
	for (size_t i = 0; o->own != NULL && o->own[i].name != NULL; i++)
		if (strcmp(o->own[i].name, name) == 0)
			return o->own_values[i];
	return NULL;
}

void
options_clear(struct options *o)
{
	free(o->mountpoint);
	free(o->vault_dir);
	free(o->remote);
	free(o->passphrase_file);
	free(o->passphrase_command);
	free(o->key_file);
	free(o->recovery_key_file);
	for (unsigned i = 0; i < o->share_file_count; i++)
		free(o->share_files[i]);
	free(o->share_files);
	free(o->device_name);
	free(o->mount_options);
	*o = (struct options){ 0 };
}

static int
set_text(char **field, const char *value)
{
	char *copy = strdup(value);

	if (copy == NULL)
		return tell_failure("not enough memory");
	free(*field);
	*field = copy;
	return 0;
}

static int
set_path(char **field, const char *value)
{
	char *path = NULL;
	err_t err = paths_absolute(value, &path);

	if (err == -ENOENT && value[0] != '\0') {
		/* A vault's folder may be made with those above it. */
		err = value[0] == '/' ? -ENOMEM : -ENOENT;
		path = value[0] == '/' ? strdup(value) : NULL;
		if (path != NULL)
			err = 0;
	}
	if (err == -ENOENT)
		return tell_failure("\"%s\" cannot be found: the folder that it is to be in does not exist", value);
	if (err != 0)
		return tell_failure("\"%s\" cannot be used: %s", value, tell_reason(err));
	free(*field);
	*field = path;
	return 0;
}

static int
add_share_file(struct options *o, const char *path)
{
	char **more = reallocarray(o->share_files, o->share_file_count + 1, sizeof(*more));

	if (more == NULL)
		return tell_failure("not enough memory");
	o->share_files = more;
	more[o->share_file_count] = NULL;
	return set_text(&more[o->share_file_count++], path);
}

/* -o may be given several times. */
static int
add_mount_options(struct options *o, const char *more)
{
	char *joined;

	if (more[0] == '\0')
		return 0;
	if (asprintf(&joined, "%s%s%s", o->mount_options != NULL ? o->mount_options : "", o->mount_options != NULL ? "," : "",
	    more) < 0)
		return tell_failure("not enough memory");
	free(o->mount_options);
	o->mount_options = joined;
	return 0;
}

/* Takes what is ours out of -o; the rest is checked by the mount. */
static int
split_mount_options(struct options *o)
{
	char *list = o->mount_options, *rest = NULL;
	int status = 0;

	if (list == NULL)
		return 0;
	o->mount_options = NULL;
	for (char *word = strtok_r(list, ",", &rest); word != NULL && status == 0; word = strtok_r(NULL, ",", &rest)) {
		if (strncmp(word, "vault=", 6) == 0)
			status = set_path(&o->vault_dir, word + 6);
		else if (strncmp(word, "remote=", 7) == 0)
			status = set_text(&o->remote, word + 7);
		else if (strncmp(word, "passphrase_file=", 16) == 0)
			status = set_text(&o->passphrase_file, word + 16);
		else if (strncmp(word, "key_file=", 9) == 0)
			status = set_text(&o->key_file, word + 9);
		else if (strncmp(word, "passphrase_command=", 19) == 0)
			status = set_text(&o->passphrase_command, word + 19);
		else if (strcmp(word, "no_passphrase") == 0)
			o->no_passphrase = true;
		else
			status = add_mount_options(o, word);
	}
	free(list);
	return status;
}

static bool
accepts(const struct command *c, int option)
{
	for (size_t i = 0; i < ARRAY_LEN(restricted); i++)
		if (restricted[i].option == option)
			return (c->accepts & restricted[i].set) != 0;
	return true;
}

/* By the option itself: with permuted arguments the word before optind may be a path that stands before it. */
static int
tell_not_accepted(const struct command *c, int option)
{
	for (size_t i = 0; i < ARRAY_LEN(known_options); i++)
		if (known_options[i].val == option)
			return tell_usage(c->name, "the command %s knows no option --%s", c->name, known_options[i].name);
	return tell_usage(c->name, "the command %s knows no option -%c", c->name, option);
}

static int
apply(const struct command *c, int option, const char *given, struct options *o)
{
	if (option >= OPT_OWN) {
		o->own_values[option - OPT_OWN] = optarg != NULL ? optarg : "";
		return 0;
	}
	if (!accepts(c, option))
		return tell_not_accepted(c, option);
	switch (option) {
	case OPT_VAULT:
		return set_path(&o->vault_dir, optarg);
	case OPT_PASSPHRASE_FILE:
		return set_text(&o->passphrase_file, optarg);
	case OPT_SHARE_FILE:
		return add_share_file(o, optarg);
	case OPT_KEY_FILE:
		return set_text(&o->key_file, optarg);
	case OPT_WITH_RECOVERY_KEY:
		o->with_recovery_key = true;
		return 0;
	case OPT_PASSPHRASE_COMMAND:
		return set_text(&o->passphrase_command, optarg);
	case OPT_RECOVERY_KEY_FILE:
		return set_text(&o->recovery_key_file, optarg);
	case OPT_DEVICE_NAME:
		return set_text(&o->device_name, optarg);
	case OPT_REMOTE:
		return set_text(&o->remote, optarg);
	case 'o':
		return add_mount_options(o, optarg);
	case OPT_NO_PASSPHRASE:
		o->no_passphrase = true;
		return 0;
	case 'f':
		o->foreground = true;
		return 0;
	case OPT_WAIT:
		o->wait = true;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_COUNTERS:
		o->counters = true;
		return 0;
	case ':':
		return tell_usage(c->name, "the option %s wants a value", given);
	default:
		return tell_usage(c->name, "the command %s knows no option %s", c->name, given);
	}
}

/* PLACE_OPTIONAL in options.h. */
static bool
has_mountpoint(const struct command *c, unsigned words, const char *first)
{
	if (c->place == PLACE_OPTIONAL)
		return words > c->args_max || (words > c->args_min && strchr(first, '/') != NULL);
	return c->place == PLACE_REQUIRED;
}

static int
take_words(const struct command *c, unsigned count, char **words, struct options *o)
{
	int status;

	if (count == 0 && c->place == PLACE_REQUIRED)
		return tell_usage(c->name, "the command %s wants a mount point: a folder like ~/Private", c->name);
	if (count > 0 && has_mountpoint(c, count, words[0])) {
		if (words[0][0] == '\0')
			return tell_usage(c->name, "the mount point is empty");
		if ((status = set_path(&o->mountpoint, words[0])) != 0)
			return status;
		words++;
		count--;
	}
	if (count > c->args_max)
		return c->args_max == 0 && c->place != PLACE_NONE ?
		    tell_usage(c->name, "the command %s takes one mount point, and \"%s\" is one too many", c->name, words[0]) :
		    tell_usage(c->name, "\"%s\" is one word too many for the command %s", words[c->args_max], c->name);
	if (count < c->args_min)
		return tell_usage(c->name, "the command %s wants %s", c->name, c->args_are);
	o->args = words;
	o->arg_count = count;
	return 0;
}

/* What contradicts itself. */
static int
check_together(const struct options *o)
{
	int ways = (o->no_passphrase ? 1 : 0) + (o->passphrase_file != NULL ? 1 : 0) + (o->passphrase_command != NULL ? 1 : 0) +
	    (o->key_file != NULL ? 1 : 0) + (o->with_recovery_key ? 1 : 0);

	if (ways > 1)
		return tell_usage(o->command, "only one of --passphrase-file, --passphrase-command, --no-passphrase, --key-file and --with-recovery-key can be given");
	if (o->counters && o->mountpoint == NULL)
		return tell_usage(o->command, "--counters wants a mount point");
	return 0;
}

/* For getopt_long(3): the options of all commands, and those of this one. */
static void
list_options(const struct command *c, struct option out[static ARRAY_LEN(known_options) + OPTIONS_OWN_MAX + 1])
{
	size_t count = ARRAY_LEN(known_options);

	memcpy(out, known_options, sizeof(known_options));
	for (int i = 0; c->options != NULL && i < OPTIONS_OWN_MAX && c->options[i].name != NULL; i++)
		out[count++] = (struct option){ c->options[i].name,
			c->options[i].value != NULL ? required_argument : no_argument, NULL, OPT_OWN + i };
	out[count] = (struct option){ NULL, 0, NULL, 0 };
}

/*
 * The word that getopt_long(3) has refused.  With permuted arguments the one that was read stands right before optind; but of several
 * short options in one word, like a long one that was given with one dash, the word is left only after its last letter.
 */
static const char *
refused_word(int argc, char **argv)
{
	const char *before = optind > 0 && optind <= argc ? argv[optind - 1] : "";
	size_t len = strlen(before);
	bool is_inside = optopt > 0 && optopt <= UCHAR_MAX && (before[0] != '-' || len < 2 || (unsigned char)before[len - 1] != optopt);

	return is_inside && optind < argc ? argv[optind] : before;
}

int
options_parse(const struct command *c, int argc, char **argv, struct options *o, bool *help_out)
{
	struct option known[ARRAY_LEN(known_options) + OPTIONS_OWN_MAX + 1];
	int option, status = 0;

	list_options(c, known);
	o->command = c->name;
	o->own = c->options;
	*help_out = false;
	opterr = 0;
	optind = 1;
	for (;;) {
		const char *given = NULL;

		option = getopt_long(argc, argv, ":fho:", known, NULL);
		if (option == -1)
			break;
		if (option == 'h') {
			*help_out = true;
			return 0;
		}
		if (option == '?' || option == ':')
			given = refused_word(argc, argv);
		status = apply(c, option, given, o);
		if (status != 0)
			return status;
	}
	status = take_words(c, (unsigned)(argc - optind), argv + optind, o);
	if (status == 0)
		status = split_mount_options(o);
	return status != 0 ? status : check_together(o);
}

int
options_parse_mount_helper(int argc, char **argv, struct options *o, bool *fake_out)
{
	int option, status = 0;

	o->command = "mount";
	opterr = 0;
	optind = 1;
	*fake_out = false;
	while (status == 0 && (option = getopt(argc, argv, "sfnvN:t:o:")) != -1) {
		if (option == 'o')
			status = add_mount_options(o, optarg);
		else if (option == 'f')
			*fake_out = true;
		else if (option == '?')
			return tell_usage(NULL, "mount helpers know no option -%c", optopt);
	}
	if (status == 0 && argc - optind != 2)
		return tell_usage(NULL, "a mount helper is called as: SOURCE MOUNTPOINT [-o OPTIONS]");
	if (status == 0 && argv[optind][0] == '/')
		status = set_path(&o->vault_dir, argv[optind]);
	if (status == 0)
		status = set_path(&o->mountpoint, argv[optind + 1]);
	if (status == 0)
		status = split_mount_options(o);
	return status != 0 ? status : check_together(o);
}
