/* session.c: asks the daemon, or opens the vault and does what the daemon would do. */
#include "session.h"

#include <errno.h>

#include "config.h"
#include "create.h"
#include "handles.h"
#include "human.h"
#include "mounting.h"
#include "mountstate.h"
#include "op.h"
#include "opening.h"
#include "tell.h"

int
session_find_place(const struct options *o, struct place *out)
{
	CLEANUP(config_clear) struct config c = { 0 };
	CLEANUP(place_clear) struct place p = { 0 };
	err_t err;
	int status;

	if (o->mountpoint != NULL)
		return place_find_existing(o, out);
	if ((err = config_load(&c)) != 0)
		return place_tell_config(err);
	if (c.count == 0)
		return tell_failure("no vault is known here: name the mount point of one, or make one with \"snugfs up ~/Private\"");
	if (c.count > 1 && o->arg_count > 0)
		return tell_failure("several vaults are known here: name the mount point of one before \"%s\"; \"snugfs status\" lists "
		    "them", o->args[0]);
	if (c.count > 1)
		return tell_failure("several vaults are known here: name the mount point of one; \"snugfs status\" lists them");
	if ((status = place_find_remembered(c.entries[0].mountpoint, &p)) != 0)
		return status;
	if (!p.exists)
		return tell_no_vault(p.mountpoint);
	*out = p;
	p = (struct place){ 0 };
	return 0;
}

/* By the daemon. */

static void
show(struct progress *bar, const json_t *line)
{
	const json_t *p = json_object_get(line, "progress");
	const char *text = json_string_value(json_object_get(p, "text"));

	if (text != NULL)
		progress_show(bar, text, (uint64_t)json_integer_value(json_object_get(p, "done")),
		    (uint64_t)json_integer_value(json_object_get(p, "total")),
		    json_is_true(json_object_get(p, "bytes")) ? PROGRESS_BYTES : PROGRESS_COUNT);
}

static err_t
converse(const struct place *p, json_t *request, json_t **answer_out)
{
	CLEANUP(handle_close_fd) int fd = -1;
	struct progress bar = { 0 };
	json_t *line = NULL;
	err_t err = control_connect(p->vault_dir, &fd);

	if (err != 0) {
		json_decref(request);
		return err;
	}
	err = control_send(fd, request);
	while (err == 0 && (err = control_receive(fd, -1, &line)) == 0 && json_object_get(line, "ok") == NULL) {
		show(&bar, line);
		json_decref(line);
	}
	progress_end(&bar);
	if (err == 0)
		*answer_out = line;
	return err;
}

static int
call_daemon(const struct place *p, json_t *request, json_t **answer_out)
{
	err_t err = converse(p, request, answer_out);

	if (err == -EACCES)
		return tell_failure("%s is mounted by another user, who alone can ask its background process", p->mountpoint);
	if (err != 0)
		return tell_failure("the background process of %s does not answer (%s): see the system's log, then unmount and "
		    "mount again", p->mountpoint, tell_reason(err));
	if (!control_take_version(*answer_out))
		return tell_failure(CONTROL_OTHER_VERSION, p->mountpoint);
	return 0;
}

/* Here. */

static void
uplink_free_ptr(struct uplink **u)
{
	uplink_free(*u);
}

static void
history_free_ptr(struct history **h)
{
	history_free(*h);
}

static err_t
run_op(struct vault *v, const struct place *p, const json_t *request, json_t **answer_out)
{
	CLEANUP(uplink_free_ptr) struct uplink *u = NULL;
	CLEANUP(history_free_ptr) struct history *history = NULL; /* before the uplink, which it reads through */
	const char *name = json_string_value(json_object_get(request, "op"));
	struct progress bar = { 0 };
	struct op op = { .vault = v, .mountpoint = p->mountpoint, .progress = &bar };
	err_t err = v->remote_url != NULL ? uplink_new(v, &u) : 0;

	if (err != 0 || (err = history_new(v, &history)) != 0)
		return err;
	op.uplink = u;
	op.history = history;
	if (u != NULL)
		content_set_fetch(v->content, uplink_fetch, u);
	*answer_out = op_find(name)(&op, request);
	progress_end(&bar);
	content_set_fetch(v->content, NULL, NULL);
	return *answer_out != NULL ? 0 : -ENOMEM;
}

static int
call_here(const struct secret *passphrase, const struct place *p, const json_t *request, json_t **answer_out)
{
	struct vault_unlock lock = create_lock(passphrase);
	struct vault *v = NULL;
	err_t err, closed;

	if ((err = opening_vault(p->vault_dir, &lock, &v)) != 0)
		return tell_vault_open(err, p->mountpoint, p->vault_dir);
	err = run_op(v, p, request, answer_out);
	closed = vault_close(v);
	if (err != 0)
		return tell_failure("%s: nothing was done", tell_reason(err));
	return closed == 0 ? 0 : tell_failure("what was done could not be saved in %s: %s", p->vault_dir, tell_reason(closed));
}

/* answer is the caller's, and its own if all went well. */
static int
check_answer(int status, json_t **answer, json_t **answer_out)
{
	const char *text;

	if (status != 0)
		return status;
	if (!control_is_ok(*answer, &text))
		return tell_failure("%s", text);
	*answer_out = STEAL(*answer);
	return 0;
}

int
session_call_here(const struct secret *passphrase, const struct place *p, json_t *request, json_t **answer_out)
{
	CLEANUP(handle_free_json) json_t *owned = request;
	CLEANUP(handle_free_json) json_t *answer = NULL;

	if (request == NULL)
		return tell_failure("not enough memory");
	return check_answer(call_here(passphrase, p, owned, &answer), &answer, answer_out);
}

int
session_call(const struct options *o, const struct place *p, json_t *request, json_t **answer_out)
{
	CLEANUP(secret_clear) struct secret passphrase = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	int status;

	if (request == NULL)
		return tell_failure("what was given is no text in UTF-8 (or there is not enough memory): nothing was done");
	if (mountstate_get(p->mountpoint) == MOUNT_OURS) {
		status = check_answer(call_daemon(p, request, &answer), &answer, answer_out);
	} else if ((status = mounting_unlock(o, p, &passphrase)) == 0) {
		status = session_call_here(&passphrase, p, request, answer_out);
	} else {
		json_decref(request);
	}
	if (status == 0 && !o->json)
		human_tame_json(*answer_out); /* it will be printed */
	return status;
}
