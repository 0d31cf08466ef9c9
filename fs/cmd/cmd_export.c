/*
 * snugfs export: everything out of the store as plain files, with the recovery key and nothing else: no mount, no device, and
 * nothing left behind here.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "commands.h"
#include "config.h"
#include "create.h"
#include "export.h"
#include "folder.h"
#include "hex.h"
#include "human.h"
#include "progress.h"
#include "random.h"
#include "remote_open.h"
#include "session.h"
#include "sync.h"
#include "tell.h"

#define SCRATCH_KEY_LEN 32

static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

struct run {
	struct progress bar;
	struct sync_reading *reading;
	struct archiver *archiver;
	struct remote_keys keys;
	char *scratch;      /* a folder of our own; NULL: not made */
	char passphrase[2 * SCRATCH_KEY_LEN + 1];
};

static void
run_clear(struct run *r)
{
	sync_reading_close(r->reading);
	archiver_free(r->archiver);
	remote_keys_clear(&r->keys);
	if (r->scratch != NULL)
		(void)rmdir(r->scratch);
	free(r->scratch);
	explicit_bzero(r->passphrase, sizeof(r->passphrase));
}

static void
failed(void *ctx, const char *path, const char *why)
{
	struct run *r = ctx;

	progress_end(&r->bar);
	fprintf(stderr, "snugfs: \"%s\" is left out: %s.\n", path, why);
}

static bool
progress(void *ctx, uint64_t files, uint64_t bytes)
{
	struct run *r = ctx;

	(void)files;
	progress_show(&r->bar, "exporting", bytes, 0, PROGRESS_BYTES);
	return !interrupted;
}

/* Where from. */

/* Is it the folder of a vault that is known here?  Then its store. */
static bool
find_mountpoint(const char *text, char **out)
{
	CLEANUP(config_clear) struct config c = { 0 };
	CLEANUP(free_ptr) char *path = realpath(text, NULL);

	if (path == NULL || config_load(&c) != 0)
		return false;
	for (size_t i = 0; *out == NULL && i < c.count; i++)
		if (strcmp(c.entries[i].mountpoint, path) == 0 && c.entries[i].remote != NULL)
			*out = strdup(c.entries[i].remote);
	return *out != NULL;
}

static int
find_url(const struct options *o, char **out)
{
	CLEANUP(place_clear) struct place p = { 0 };
	int status;

	if (o->remote != NULL)
		return find_mountpoint(o->remote, out) ? 0 : create_remote_url(o, out);
	if ((status = session_find_place(o, &p)) != 0)
		return status;
	if (p.remote == NULL)
		return tell_failure("%s has no store to export from; copy the files from the folder", p.mountpoint);
	*out = strdup(p.remote);
	return *out != NULL ? 0 : tell_failure("out of memory");
}

/* What stands on the disk meanwhile is closed by a passphrase that nobody ever sees. */
static err_t
make_scratch(struct run *r)
{
	const char *tmp = getenv("TMPDIR");
	CLEANUP(free_ptr) char *where = realpath(tmp != NULL && *tmp != '\0' ? tmp : "/tmp", NULL); /* it is left for another folder */
	CLEANUP(free_ptr) char *scratch = NULL;
	uint8_t key[SCRATCH_KEY_LEN];
	err_t err = where == NULL ? -errno : random_bytes(key, sizeof(key));

	if (err != 0)
		return err;
	hex_format(key, sizeof(key), r->passphrase);
	explicit_bzero(key, sizeof(key));
	if (asprintf(&scratch, "%s/snugfs-export-XXXXXX", where) < 0) {
		scratch = NULL;
		return -ENOMEM;
	}
	if (mkdtemp(scratch) == NULL)
		return -errno;
	r->scratch = STEAL(scratch);
	return 0;
}

static int
open_reading(struct run *r, struct store *store, const uint8_t key[static RECOVERY_KEY_LEN])
{
	CLEANUP(free_ptr) char *dir = NULL;
	struct vault_create_params p = { .device_name = "export", .root_uid = geteuid(), .root_gid = getegid(),
		.lock = { .passphrase = r->passphrase }, .temporary = true };
	char *why = NULL;
	err_t err = make_scratch(r);

	if (err == 0 && asprintf(&dir, "%s/vault", r->scratch) < 0) {
		dir = NULL;
		err = -ENOMEM;
	}
	if (err != 0)
		return tell_failure("no room for temporary files: %s; set TMPDIR to a folder that has some", tell_reason(err));
	p.lock.passphrase_len = strlen(r->passphrase);
	p.dir = dir;
	progress_show(&r->bar, "reading the vault's commits", 0, 0, PROGRESS_COUNT);
	err = sync_reading_open(&p, store, key, &r->reading, &why);
	progress_end(&r->bar);
	if (err == -ENOSPC || err == -EDQUOT) { /* nothing is written to the store */
		free(why);
		return tell_failure("%.*s has no room for what an export keeps there meanwhile (%s): make room there, or set TMPDIR to a folder on "
		    "another disk", (int)(strrchr(r->scratch, '/') - r->scratch), r->scratch, tell_reason(err));
	}
	return err != 0 ? tell_why(why, store->url, err) : 0;
}

/* Where to. */

static int
open_target(struct run *r, const struct options *o)
{
	bool tar = options_get(o, "tar") != NULL;
	err_t err;
	int status;

	if (tar && isatty(STDOUT_FILENO))
		return tell_usage("export", "a tar file would go to the terminal: redirect it, as in \"> vault.tar\"");
	if (!tar && (status = folder_make_empty(o->args[0])) != 0)
		return status;
	if (!tar && chdir(o->args[0]) != 0)
		return tell_failure("%s cannot be written to: %s", o->args[0], tell_reason(-errno));
	err = tar ? archiver_new_tar(STDOUT_FILENO, &r->archiver) : archiver_new_folder(geteuid() == 0, &r->archiver);
	return err != 0 ? tell_failure("nothing could be written: %s", tell_reason(err)) : 0;
}

static int
export(struct run *r, const struct options *o)
{
	bool tar = options_get(o, "tar") != NULL;
	const struct export_hooks hooks = { r, failed, progress };
	const char *gap = sync_reading_gap(r->reading);
	struct export_report report = { 0 };
	char bytes[HUMAN_BYTES_LEN];
	err_t err = export_tree(sync_reading_vault(r->reading), r->archiver, tar, &hooks, &report);

	progress_end(&r->bar);
	if (err == -ECANCELED)
		return tell_failure("the export was interrupted; what was written is not whole");
	if (err != 0)
		return tell_failure("the export ended early, and what was written is not whole: %s%s%s", archiver_why(r->archiver),
		    archiver_why(r->archiver)[0] != '\0' ? ": " : "", tell_reason(err));
	human_bytes(report.bytes, bytes);
	fprintf(tar ? stderr : stdout, "Exported %" PRIu64 " files and folders, %s.\n", report.entries, bytes);
	if (gap != NULL)
		return tell_failure("this is not the newest state: %s", gap);
	if (report.failed > 0)
		return tell_failure("%" PRIu64 " %s left out; \"snugfs verify --repair\" on a device that has them may put them back",
		    report.failed, report.failed == 1 ? "entry was" : "entries were");
	return 0;
}

static int
run(struct options *o)
{
	CLEANUP(key32_wipe) struct key32 key = { 0 };
	CLEANUP(free_ptr) char *url = NULL;
	CLEANUP(store_free_ptr) struct store *store = NULL;
	CLEANUP(run_clear) struct run r = { .archiver = NULL };
	struct sigaction act = { .sa_handler = on_signal };
	int status;

	if ((options_get(o, "tar") != NULL) == (o->arg_count == 1))
		return tell_usage("export", "name a folder to export to, or give --tar, and not both");
	if ((status = find_url(o, &url)) != 0 || (status = remote_keys_read(o, "export", &r.keys)) != 0 ||
	    (status = prompt_recovery_key(o, key.b)) != 0 || (status = remote_open(url, false, &r.keys, &store)) != 0)
		return status;
	(void)sigaction(SIGINT, &act, NULL); /* so that the temporary files go */
	(void)sigaction(SIGTERM, &act, NULL);
	if ((status = open_reading(&r, store, key.b)) != 0 || (status = open_target(&r, o)) != 0)
		return status;
	return export(&r, o);
}

const struct command cmd_export = {
	.name = "export",
	.synopsis = "FOLDER | --tar [--remote URL | MOUNTPOINT] [--credentials-file FILE | --ask-credentials]",
	.summary = "write all files out of the store, with the recovery key alone",
	.details = "Decrypts everything that the vault has in its store into FOLDER, which must be empty or new, or as a tar\n"
	    "file (pax format) to standard output.  Asks for the recovery key.  The store is the one that --remote names,\n"
	    "by its URL or by the mount point of a vault that is known here, or that of the only known vault.  This\n"
	    "computer need not have the vault, and does not become a device of it.  Files that are damaged in the store\n"
	    "are named and left out; then the exit status is 1.\n",
	.accepts = ACCEPT_REMOTE,
	.options = (const struct option_spec[]){ { "tar", NULL, "write a tar file to standard output" },
	    { "credentials-file", "FILE", "the keys to the store, as for \"remote set\"" },
	    { "ask-credentials", NULL, "ask for them; else they are looked for in the usual places" }, { 0 } },
	.place = PLACE_NONE,
	.args_are = "a folder",
	.args_min = 0,
	.args_max = 1,
	.run = run,
};
