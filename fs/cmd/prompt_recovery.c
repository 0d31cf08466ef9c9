/* The recovery key, whole or in shares, as people type it, and what is wrong with it if it is. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "handles.h"
#include "prompt.h"
#include "recoverykey.h"
#include "secmem.h"
#include "shamir.h"
#include "tell.h"
#include "terminal.h"

/* Where lines come from. */
struct source {
	const char *path; /* NULL: the terminal or standard input */
	int fd;           /* -1: the terminal */
};

static void
source_close(struct source *s)
{
	if (s->path != NULL)
		handle_close_fd(&s->fd);
}

static int
source_open(const char *path, struct source *out)
{
	*out = (struct source){ .path = path, .fd = isatty(STDIN_FILENO) ? -1 : STDIN_FILENO };
	if (path == NULL)
		return 0;
	out->fd = open(path, O_RDONLY | O_CLOEXEC);
	return out->fd >= 0 ? 0 : prompt_tell_line(-errno, path);
}

static int
source_read(const struct source *src, const char *question, struct secret *line)
{
	err_t err = src->fd < 0 ? terminal_ask(question, line->text, &line->len) :
	    terminal_read_line(src->fd, line->text, &line->len);

	if (err == 0)
		return 0;
	if (err == -ENODATA && src->fd < 0)
		return tell_failure("nothing was typed");
	if (err == -ENODATA && src->path == NULL)
		return tell_failure("the recovery key is needed and there is no terminal to ask on: give --recovery-key-file FILE, or "
		    "--share-file FILE for each share");
	return prompt_tell_line(err, src->path != NULL ? src->path : src->fd < 0 ? "the terminal" : "standard input");
}

/* what: "the recovery key", "share 2 of the recovery key" */
static int
tell_fault(const struct codetext_fault *f, const char *what, const char *form)
{
	switch (f->kind) {
	case CODETEXT_FAULT_LENGTH:
		if (f->count == 0)
			return tell_failure("there is nothing that could be %s: it has %s", what, form);
		return tell_failure("this is not %s: it has %s, and here are %u", what, form, f->count);
	case CODETEXT_FAULT_CHARACTER:
		return tell_failure("group %u of %s has a character that is never used in one: \"%c\"", f->group, what, f->character);
	case CODETEXT_FAULT_TYPO:
		return tell_failure("group %u of %s has a typo: character %u is \"%c\" and should probably be \"%c\"", f->group, what,
		    f->position, f->character, f->expected);
	case CODETEXT_FAULT_CHECKSUM:
	case CODETEXT_FAULT_NONE:
		break;
	}
	return tell_failure("%s has more than one wrong character: compare every group with what you wrote down", what);
}

static int
parse_key(const struct secret *line, uint8_t key_out[static RECOVERY_KEY_LEN])
{
	struct codetext_fault fault = { 0 };
	err_t err = recoverykey_parse(line->text, key_out, &fault);

	if (err == -EINVAL)
		return tell_fault(&fault, fault.kind == CODETEXT_FAULT_LENGTH ? "a recovery key" : "the recovery key",
		    "28 characters in seven groups of four");
	return err == 0 ? 0 : tell_failure("the recovery key cannot be read: %s", tell_reason(err));
}

/* Shares. */

struct shares {
	struct shamir_share at[SHAMIR_MAX_SHARES];
	unsigned count;
};

static void
shares_wipe(struct shares *s)
{
	secmem_wipe(s, sizeof(*s));
}

static bool
is_share(const struct secret *line)
{
	/* Nearer to a share's length than to a key's. */
	return codetext_count(line->text) > (RECOVERY_TEXT_SYMBOLS + SHAMIR_TEXT_SYMBOLS) / 2;
}

/* A share is told at once that does not go with those before. */
static int
check_fits(const struct shares *s, const char *what)
{
	const struct shamir_share *last = &s->at[s->count - 1];

	for (unsigned i = 0; i + 1 < s->count; i++) {
		if (s->at[i].set != last->set || s->at[i].threshold != last->threshold)
			return tell_failure("%s is of another splitting than the one before: use shares that were made together", what);
		if (s->at[i].index == last->index)
			return tell_failure("%s is one that was given already (number %u): %u different ones are needed", what, last->index,
			    last->threshold);
	}
	return 0;
}

static int
add_share(struct shares *s, const struct secret *line)
{
	struct codetext_fault fault = { 0 };
	char what[64];
	err_t err;

	snprintf(what, sizeof(what), "share %u of the recovery key", s->count + 1);
	if (s->count == SHAMIR_MAX_SHARES)
		return tell_failure("more than %u shares were given", SHAMIR_MAX_SHARES);
	err = shamir_parse(line->text, &s->at[s->count], &fault);
	if (err == -EINVAL)
		return tell_fault(&fault, what, "36 characters in nine groups of four");
	if (err != 0)
		return tell_failure("%s cannot be read: %s", what, tell_reason(err));
	s->count++;
	return check_fits(s, what);
}

static int
combine(const struct shares *s, uint8_t key_out[static RECOVERY_KEY_LEN])
{
	err_t err = shamir_combine(s->at, s->count, key_out);

	if (err == -ENODATA)
		return tell_failure("%u shares of the recovery key are needed, and here %s %u", s->at[0].threshold,
		    s->count == 1 ? "is" : "are", s->count);
	if (err == -EBADMSG)
		return tell_failure("the shares contradict one another: one of them is wrong; try with %u of them at a time",
		    s->at[0].threshold);
	return err == 0 ? 0 : tell_failure("the shares cannot be put together: %s", tell_reason(err));
}

static int
from_share_files(const struct options *o, uint8_t key_out[static RECOVERY_KEY_LEN])
{
	CLEANUP(shares_wipe) struct shares s = { .count = 0 };

	for (unsigned i = 0; i < o->share_file_count; i++) {
		CLEANUP(source_close) struct source src = { .fd = -1 };
		CLEANUP(secret_clear) struct secret line = { 0 };
		int status = source_open(o->share_files[i], &src);

		if (status != 0 || (status = prompt_secret_new(&line)) != 0 || (status = source_read(&src, "", &line)) != 0 ||
		    (status = add_share(&s, &line)) != 0)
			return status;
	}
	return combine(&s, key_out);
}

/* The first one has been read. */
static int
further_shares(const struct source *src, struct secret *line, uint8_t key_out[static RECOVERY_KEY_LEN])
{
	CLEANUP(shares_wipe) struct shares s = { .count = 0 };
	char question[64];
	int status = add_share(&s, line);

	while (status == 0 && s.count < s.at[0].threshold) {
		snprintf(question, sizeof(question), "Share %u of %u: ", s.count + 1, s.at[0].threshold);
		if ((status = source_read(src, question, line)) == 0)
			status = add_share(&s, line);
	}
	return status != 0 ? status : combine(&s, key_out);
}

int
prompt_recovery_key(const struct options *o, uint8_t key_out[static RECOVERY_KEY_LEN])
{
	CLEANUP(secret_clear) struct secret line = { 0 };
	CLEANUP(source_close) struct source src = { .fd = -1 };
	int status;

	if (o->share_file_count > 0)
		return from_share_files(o, key_out);
	if ((status = prompt_secret_new(&line)) != 0 || (status = source_open(o->recovery_key_file, &src)) != 0 ||
	    (status = source_read(&src, "Recovery key (seven groups of four), or a share of it: ", &line)) != 0)
		return status;
	return is_share(&line) ? further_shares(&src, &line, key_out) : parse_key(&line, key_out);
}
