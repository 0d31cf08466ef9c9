/* snugfs recovery-key split: the recovery key in shares, for people who are trusted together but not alone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "disk.h"
#include "err.h"
#include "handles.h"
#include "prompt.h"
#include "recovery_check.h"
#include "secmem.h"
#include "shamir.h"
#include "tell.h"

/* Where a share goes: its line is in secret memory, and passes no buffer of the C library. */
#define LINE_LEN (SHAMIR_TEXT_LEN + 1)

static int
read_number(const struct options *o, const char *name, unsigned *out)
{
	const char *text = options_get(o, name);
	char *end;
	unsigned long value;

	if (text == NULL)
		return tell_usage("recovery-key split", "--shares N (how many) and --threshold T (how many of them open) are wanted");
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value < 2 || value > SHAMIR_MAX_SHARES)
		return tell_usage("recovery-key split", "--%s wants a number from 2 to %u", name, SHAMIR_MAX_SHARES);
	*out = (unsigned)value;
	return 0;
}

static err_t
write_share(int fd, const char *line, unsigned count, const struct shamir_share *share)
{
	char text[512];
	int len = snprintf(text, sizeof(text), "\nThis is share %u of %u of the recovery key of a snugfs vault.  Any %u of them "
	    "open it, fewer say nothing.\nKeep it secret.  It is used with: snugfs join FOLDER --remote URL\n", share->index, count,
	    share->threshold);
	err_t err = disk_pwrite(fd, line, LINE_LEN, 0);

	if (err == 0)
		err = disk_pwrite(fd, text, (size_t)len, LINE_LEN);
	if (err == 0 && fsync(fd) != 0)
		err = -errno;
	return err;
}

static int
save_share(const char *dir, const char *line, unsigned count, const struct shamir_share *share)
{
	CLEANUP(free_ptr) char *path = NULL;
	CLEANUP(handle_close_fd) int fd = -1;
	err_t err;

	if (asprintf(&path, "%s/share-%u-of-%u", dir, share->index, count) < 0)
		return tell_failure("not enough memory");
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return tell_failure("%s exists already: a share is never written over anything; choose another folder", path);
	err = fd < 0 ? -errno : write_share(fd, line, count, share);
	if (err == 0)
		return 0;
	if (fd >= 0)
		(void)unlink(path);
	return tell_failure("the share cannot be written to %s: %s", path, tell_reason(err));
}

/* What was written of a splitting that is not complete is of no use, and in the way of the next. */
static void
remove_shares(const char *dir, const struct shamir_share *shares, unsigned count, unsigned written)
{
	for (unsigned i = 0; i < written; i++) {
		CLEANUP(free_ptr) char *path = NULL;

		if (asprintf(&path, "%s/share-%u-of-%u", dir, shares[i].index, count) >= 0)
			(void)unlink(path);
		else
			path = NULL;
	}
}

/* Before anybody types the key. */
static int
check_dir(const char *dir)
{
	struct stat st;

	if (stat(dir, &st) != 0)
		return errno == ENOENT ? tell_failure("the folder %s does not exist: make it first", dir) :
		    tell_failure("the shares cannot be written to %s: %s", dir, tell_reason(-errno));
	return S_ISDIR(st.st_mode) ? 0 : tell_failure("%s is not a folder: name one for the shares", dir);
}

static int
print_share(const char *line)
{
	return write(STDOUT_FILENO, line, LINE_LEN) == LINE_LEN ? 0 :
	    tell_failure("standard output cannot be written to: %s", tell_reason(-errno));
}

static int
hand_out(const struct options *o, const struct shamir_share *shares, unsigned count)
{
	CLEANUP(secmem_free_ptr) char *line = secmem_new(LINE_LEN + 1);
	const char *dir = options_get(o, "to-dir");
	int status = line != NULL ? 0 : tell_failure("not enough locked memory for a secret: raise the limit (ulimit -l)");

	for (unsigned i = 0; i < count && status == 0; i++) {
		shamir_format(&shares[i], line);
		line[SHAMIR_TEXT_LEN] = '\n';
		status = dir != NULL ? save_share(dir, line, count, &shares[i]) : print_share(line);
		if (status != 0 && dir != NULL)
			remove_shares(dir, shares, count, i);
	}
	return status;
}

struct made {
	struct shamir_share at[SHAMIR_MAX_SHARES];
};

static void
made_wipe(struct made *m)
{
	secmem_wipe(m, sizeof(*m));
}

static int
run(struct options *o)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	CLEANUP(made_wipe) struct made made;
	unsigned count = 0, threshold = 0;
	err_t err;
	int status;

	if ((status = read_number(o, "shares", &count)) != 0 || (status = read_number(o, "threshold", &threshold)) != 0)
		return status;
	if (threshold > count)
		return tell_usage("recovery-key split", "%u shares cannot be needed where there are %u: the threshold is at most the number of shares",
		    threshold, count);
	if (options_get(o, "to-dir") != NULL && (status = check_dir(options_get(o, "to-dir"))) != 0)
		return status;
	if ((status = prompt_recovery_key(o, key.b)) != 0 || (status = recovery_check(o, key.b, true)) != 0)
		return status;
	err = shamir_split(key.b, threshold, count, made.at);
	if (err != 0)
		return tell_failure("the recovery key could not be split: %s", tell_reason(err));
	if (options_get(o, "to-dir") != NULL && (status = hand_out(o, made.at, count)) != 0)
		return status;
	printf("Any %u of these %u shares are as good as the recovery key; fewer say nothing about it.  Give each to somebody else.\n"
	    "They do not replace the key: destroy its paper if only they are to count.\n", threshold, count);
	if (fflush(stdout) != 0)
		return tell_failure("standard output cannot be written to: %s", tell_reason(-errno));
	return options_get(o, "to-dir") != NULL ? 0 : hand_out(o, made.at, count);
}

static const struct option_spec split_options[] = {
	{ "shares", "N", "how many, 2 to 31" },
	{ "threshold", "T", "how many of them give the key back" },
	{ "to-dir", "DIR", "write each to a file in DIR; else they are printed, one in a line" },
	{ NULL, NULL, NULL },
};

const struct command cmd_recovery_split = {
	.name = "recovery-key split",
	.synopsis = "[MOUNTPOINT] --shares N --threshold T [--to-dir DIR]",
	.summary = "make shares of the recovery key, of which some are needed together",
	.details = "Asks for the recovery key and splits it into N shares, of which any T are needed: for friends who could\n"
	    "help together when all is lost, and learn nothing alone.  Wherever the recovery key is asked for, shares\n"
	    "can be typed instead, one after the other, or given with --share-file, once for each.\n",
	.options = split_options,
	.place = PLACE_OPTIONAL,
	.run = run,
};
