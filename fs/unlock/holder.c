/* holder.c: a process for each call, and what the two share: a locked page. */
#include "holder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "holder_internal.h"
#include "secmem.h"

/* A TPM may take seconds for a key; a keyring that shows nothing answers at once. */
#define TIMEOUT_MS 60000

err_t
holder_fail(struct holder_exchange *x, err_t err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(x->why, sizeof(x->why), fmt, ap);
	va_end(ap);
	return err;
}

/* What the child is to do. */
struct task {
	enum { TASK_PUT, TASK_GET, TASK_DROP } verb;
	enum slot_kind kind;
	const struct holder_item *item;
	const struct holder_pin *pin;
};

static void
exchange_free(struct holder_exchange **x)
{
	if (*x == NULL)
		return;
	secmem_wipe(*x, sizeof(**x));
	(void)munmap(*x, sizeof(**x));
}

static err_t
exchange_new(struct holder_exchange **out)
{
	void *p = mmap(NULL, sizeof(**out), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	/* As with all secret memory: where the limit of locked memory is too low it is used unlocked. */
	(void)mlock(p, sizeof(**out));
	(void)madvise(p, sizeof(**out), MADV_DONTDUMP);
	*out = p;
	return 0;
}

static err_t
do_task(const struct task *t, struct holder_exchange *x)
{
	if (t->kind == SLOT_SECRET_SERVICE)
		return t->verb == TASK_PUT ? holder_keyring_put(x, t->item) :
		    t->verb == TASK_GET ? holder_keyring_get(x) : holder_keyring_drop(x);
	return t->verb == TASK_PUT ? holder_tpm_put(x, t->item, t->pin) :
	    t->verb == TASK_GET ? holder_tpm_get(x, t->pin) : holder_tpm_drop(x);
}

/* Until nobody has the pipe's other end any more, which only the child has: it has ended.  false: it took too long. */
static bool
await(int fd)
{
	struct pollfd p = { .fd = fd };
	int ready;

	do
		ready = poll(&p, 1, TIMEOUT_MS);
	while (ready < 0 && errno == EINTR);
	return ready != 0;
}

static err_t
run(const struct task *t, struct holder_exchange *x)
{
	const char *name = t->kind == SLOT_TPM ? "the TPM" : "the keyring";
	int ended = 0, fds[2];
	bool in_time;
	pid_t child;
	err_t err;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return -errno;
	child = fork();
	err = child < 0 ? -errno : 0;
	if (child == 0) {
		x->err = do_task(t, x);
		_exit(EXIT_SUCCESS);
	}
	close(fds[1]);
	in_time = err != 0 || await(fds[0]);
	close(fds[0]);
	if (err != 0)
		return err;
	if (!in_time)
		(void)kill(child, SIGKILL);
	while (waitpid(child, &ended, 0) < 0 && errno == EINTR)
		;
	if (!in_time)
		return holder_fail(x, -EIO, "%s does not answer: try again, or unlock in another way", name);
	if (!WIFEXITED(ended) || WEXITSTATUS(ended) != EXIT_SUCCESS)
		return holder_fail(x, -EIO, "asking %s failed (the process ended with %d): try again, or unlock in another way",
		    name, ended);
	return x->err;
}

static err_t
finish(err_t err, const struct holder_exchange *x, char **why_out)
{
	if (err != 0)
		*why_out = x->why[0] != '\0' ? strdup(x->why) : NULL;
	return err;
}

err_t
holder_put(const struct holder_item *item, const uint8_t secret[static HOLDER_SECRET_LEN], const struct holder_pin *pin,
    struct bytes *place_out, char **why_out)
{
	CLEANUP(exchange_free) struct holder_exchange *x = NULL;
	const struct task t = { .verb = TASK_PUT, .kind = item->kind, .item = item, .pin = pin };
	err_t err = exchange_new(&x);

	*why_out = NULL;
	if (err != 0)
		return err;
	secmem_copy(x->secret, secret, HOLDER_SECRET_LEN);
	if ((err = run(&t, x)) == 0)
		err = bytes_append(place_out, x->place, x->place_len);
	return finish(err, x, why_out);
}

static err_t
run_with_place(const struct task *t, const uint8_t *place, size_t place_len, struct holder_exchange *x)
{
	if (place_len > sizeof(x->place))
		return -EBADMSG;
	memcpy(x->place, place, place_len);
	x->place_len = place_len;
	return run(t, x);
}

err_t
holder_get(enum slot_kind kind, const uint8_t *place, size_t place_len, const struct holder_pin *pin,
    uint8_t secret_out[static HOLDER_SECRET_LEN], char **why_out)
{
	CLEANUP(exchange_free) struct holder_exchange *x = NULL;
	const struct task t = { .verb = TASK_GET, .kind = kind, .pin = pin };
	err_t err = exchange_new(&x);

	*why_out = NULL;
	if (err != 0)
		return err;
	if ((err = run_with_place(&t, place, place_len, x)) == 0)
		secmem_copy(secret_out, x->secret, HOLDER_SECRET_LEN);
	return finish(err, x, why_out);
}

err_t
holder_drop(enum slot_kind kind, const uint8_t *place, size_t place_len, char **why_out)
{
	CLEANUP(exchange_free) struct holder_exchange *x = NULL;
	const struct task t = { .verb = TASK_DROP, .kind = kind };
	err_t err = exchange_new(&x);

	*why_out = NULL;
	if (err != 0)
		return err;
	err = run_with_place(&t, place, place_len, x);
	return finish(err == -ENOENT ? 0 : err, x, why_out);
}

bool
holder_wants_pin(enum slot_kind kind, const uint8_t *place, size_t place_len)
{
	return kind == SLOT_TPM && place_len > 0 && place[0] == TPM_PLACE_SEALED_PIN;
}
