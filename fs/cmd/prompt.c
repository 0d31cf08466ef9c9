/* Where a passphrase or recovery key comes from, and what is wrong with it if it is. */
#include "prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handles.h"
#include "secmem.h"
#include "tell.h"
#include "terminal.h"

extern char **environ;

#define WAYS "give --passphrase-file FILE, --passphrase-command CMD or --no-passphrase"

void
secret_clear(struct secret *s)
{
	secmem_free(s->text);
	*s = (struct secret){ 0 };
}

int
prompt_secret_new(struct secret *out)
{
	out->text = secmem_new(SECRET_LINE_MAX);
	return out->text != NULL ? 0 : tell_failure("not enough locked memory for a secret: raise the limit (ulimit -l)");
}

int
prompt_tell_line(err_t err, const char *where)
{
	if (err == -ENODATA)
		return tell_failure("%s is empty: its first line is wanted", where);
	if (err == -E2BIG)
		return tell_failure("the first line of %s is longer than %d bytes", where, SECRET_LINE_MAX - 1);
	return tell_failure("%s cannot be read: %s", where, tell_reason(err));
}

static int
read_file(const char *path, struct secret *s)
{
	CLEANUP(handle_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	err_t err;

	if (fd < 0)
		return prompt_tell_line(-errno, path);
	err = terminal_read_line(fd, s->text, &s->len);
	return err != 0 ? prompt_tell_line(err, path) : 0;
}

/* A command that still writes must not die of a closed pipe: that would look like its failure. */
static void
read_rest(int fd)
{
	char rest[256];

	while (read(fd, rest, sizeof(rest)) > 0)
		;
	secmem_wipe(rest, sizeof(rest));
}

static int
run_shell(const char *command, int write_fd, pid_t *pid_out)
{
	char shell[] = "sh", flag[] = "-c";
	CLEANUP(free_ptr) char *copy = strdup(command);
	char *argv[] = { shell, flag, copy, NULL };
	posix_spawn_file_actions_t actions;
	int failed;

	if (copy == NULL || posix_spawn_file_actions_init(&actions) != 0)
		return tell_failure("not enough memory");
	failed = posix_spawn_file_actions_adddup2(&actions, write_fd, STDOUT_FILENO);
	if (failed == 0)
		failed = posix_spawn(pid_out, "/bin/sh", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return failed == 0 ? 0 : tell_failure("the passphrase command cannot be run: %s", strerror(failed));
}

static int
read_command(const char *command, struct secret *s)
{
	int pipe_fds[2], ended = 0, status;
	pid_t pid;
	err_t err;

	if (pipe2(pipe_fds, O_CLOEXEC) != 0)
		return tell_failure("the passphrase command cannot be run: %s", tell_reason(-errno));
	status = run_shell(command, pipe_fds[1], &pid);
	close(pipe_fds[1]);
	if (status != 0) {
		close(pipe_fds[0]);
		return status;
	}
	err = terminal_read_line(pipe_fds[0], s->text, &s->len);
	read_rest(pipe_fds[0]);
	close(pipe_fds[0]);
	while (waitpid(pid, &ended, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(ended) || WEXITSTATUS(ended) != 0)
		return tell_failure("the passphrase command failed (%s %d): run it by itself to see why",
		    WIFEXITED(ended) ? "exit status" : "signal", WIFEXITED(ended) ? WEXITSTATUS(ended) : WTERMSIG(ended));
	return err != 0 ? prompt_tell_line(err, "what the passphrase command prints") : 0;
}

static int
ask(const char *question, struct secret *s)
{
	err_t err = terminal_ask(question, s->text, &s->len);

	if (err == -ENXIO)
		return tell_failure("there is no terminal to ask on: " WAYS);
	if (err == -ENODATA)
		return tell_failure("nothing was typed");
	return err != 0 ? prompt_tell_line(err, "the terminal") : 0;
}

/* From the options. *done_out: they said. */
static int
from_options(const struct options *o, struct secret *s, bool *done_out)
{
	*done_out = true;
	if (o->passphrase_file != NULL)
		return read_file(o->passphrase_file, s);
	if (o->passphrase_command != NULL)
		return read_command(o->passphrase_command, s);
	*done_out = false;
	return 0;
}

/* what: "Passphrase", or what else it is that unlocks the vault. */
static int
prompt_unlock(const struct options *o, const char *mountpoint, const char *what, struct secret *out)
{
	CLEANUP(secret_clear) struct secret s = { 0 };
	char question[512];
	bool done;
	err_t err;
	int status = prompt_secret_new(&s);

	if (status == 0)
		status = from_options(o, &s, &done);
	if (status != 0)
		return status;
	if (!done && isatty(STDIN_FILENO)) {
		snprintf(question, sizeof(question), "%s for %s: ", what, mountpoint);
		if ((status = ask(question, &s)) != 0)
			return status;
	} else if (!done) {
		err = terminal_read_line(STDIN_FILENO, s.text, &s.len);
		if (err == -ENODATA)
			return tell_failure("the vault of %s wants its passphrase and there is no terminal to ask on: give "
			    "--passphrase-file FILE or --passphrase-command CMD", mountpoint);
		if (err != 0)
			return prompt_tell_line(err, "standard input");
	}
	*out = s;
	s.text = NULL;
	return 0;
}

int
prompt_passphrase(const struct options *o, const char *mountpoint, struct secret *out)
{
	return prompt_unlock(o, mountpoint, "Passphrase", out);
}

int
prompt_pin(const struct options *o, const char *mountpoint, struct secret *out)
{
	return prompt_unlock(o, mountpoint, "PIN of the TPM", out);
}

int
prompt_key_pin(const char *file, const char *command, const char *mountpoint, struct secret *out)
{
	CLEANUP(secret_clear) struct secret s = { 0 };
	char question[512];
	int status = prompt_secret_new(&s);

	snprintf(question, sizeof(question), "PIN of the security key for %s: ", mountpoint);
	if (status != 0)
		return status;
	if (file == NULL && command == NULL && !isatty(STDIN_FILENO))
		return tell_failure("the security key wants its PIN and there is no terminal to ask on: \"--help\" says how to give it");
	status = file != NULL ? read_file(file, &s) : command != NULL ? read_command(command, &s) : ask(question, &s);
	if (status != 0)
		return status;
	*out = s;
	s.text = NULL;
	return 0;
}

static int
ask_twice(const char *question, struct secret *s)
{
	CLEANUP(secret_clear) struct secret again = { 0 };
	int status = prompt_secret_new(&again);

	if (status != 0 || (status = ask(question, s)) != 0 || (status = ask("The same again: ", &again)) != 0)
		return status;
	if (s->len != again.len || !secmem_equal(s->text, again.text, s->len))
		return tell_failure("the two differ: nothing was made, try again");
	return 0;
}

int
prompt_new_secret(const char *file, const char *command, const char *what, struct secret *out)
{
	CLEANUP(secret_clear) struct secret s = { 0 };
	char question[128];
	int status = prompt_secret_new(&s);

	snprintf(question, sizeof(question), "New %s: ", what);
	if (status != 0)
		return status;
	if (file == NULL && command == NULL && !isatty(STDIN_FILENO))
		return tell_failure("a new %s is needed and there is no terminal to ask on: \"--help\" says how to give it", what);
	status = file != NULL ? read_file(file, &s) : command != NULL ? read_command(command, &s) : ask_twice(question, &s);
	if (status != 0)
		return status;
	if (s.len == 0)
		return tell_failure("the new %s is empty: choose one", what);
	*out = s;
	s.text = NULL;
	return 0;
}

int
prompt_new_passphrase(const struct options *o, const char *mountpoint, struct secret *out)
{
	CLEANUP(secret_clear) struct secret s = { 0 };
	char question[512];
	bool done;
	int status;

	if (o->no_passphrase)
		return 0;
	if ((status = prompt_secret_new(&s)) != 0 || (status = from_options(o, &s, &done)) != 0)
		return status;
	if (!done && !isatty(STDIN_FILENO))
		return tell_failure("a new passphrase is needed and there is no terminal to ask on: " WAYS);
	snprintf(question, sizeof(question), "New passphrase for %s: ", mountpoint);
	if (!done && (status = ask_twice(question, &s)) != 0)
		return status;
	if (s.len == 0)
		return tell_failure("the passphrase is empty: choose one, or say --no-passphrase");
	*out = s;
	s.text = NULL;
	return 0;
}

int
prompt_invitation(const char *file, struct secret *out)
{
	CLEANUP(secret_clear) struct secret s = { 0 };
	int status = prompt_secret_new(&s);
	err_t err;

	if (status != 0)
		return status;
	if (file != NULL) {
		status = read_file(file, &s);
	} else if (isatty(STDIN_FILENO)) {
		status = ask("Invitation (it is not shown): ", &s);
	} else if ((err = terminal_read_line(STDIN_FILENO, s.text, &s.len)) != 0) {
		status = err == -ENODATA ? tell_usage("join", "an invitation is needed, or the address of the store for the recovery key: give "
		    "--invitation-file FILE or --remote URL") : prompt_tell_line(err, "standard input");
	}
	if (status != 0)
		return status;
	*out = s;
	s.text = NULL;
	return 0;
}
