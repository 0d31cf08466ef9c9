/* Sentences: what happened, why, and what to do next.  Nothing else in the program writes an error for a person. */
#include "tell.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "human.h"

static void __attribute__((format(printf, 1, 0)))
say(const char *fmt, va_list ap)
{
	char sentence[4096];
	size_t len;

	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	len = strlen(sentence);
	while (len > 0 && (sentence[len - 1] == '.' || sentence[len - 1] == '\n'))
		len--;
	sentence[len] = '\0';
	human_tame(sentence);
	fprintf(stderr, "snugfs: %s.\n", sentence);
}

int
tell_failure(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	return EXIT_TOLD;
}

int
tell_usage(const char *command, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	fprintf(stderr, "Try \"snugfs %s%s--help\".\n", command != NULL ? command : "", command != NULL ? " " : "");
	return EXIT_USAGE;
}

const char *
tell_reason(err_t err)
{
	switch (-err) {
	case ENOSPC:
		return "the disk is full";
	case EDQUOT:
		return "the disk quota is used up";
	case EROFS:
		return "the disk is read-only";
	case EACCES:
	case EPERM:
		return "permission denied";
	case ENOENT:
		return "it does not exist";
	case ENOTDIR:
		return "it is not a folder";
	case ENOMEM:
		return "not enough memory";
	case EMFILE:
		return "too many files are open; \"ulimit -n\" allows more";
	case EIO:
		return "the disk reports an error";
	case EBADMSG:
		return "it is damaged";
	case EPROTO:
		return "it was made by another version of snugfs";
	case ELIBACC:
	case ELIBBAD:
		return "a library that this needs is not installed: libcurl and libexpat for a store in the network, libarchive for exporting";
	default:
		return strerror(-err);
	}
}

int
tell_why(char *why, const char *subject, err_t err)
{
	int status = why != NULL ? tell_failure("%s", why) : tell_failure("%s: %s", subject, tell_reason(err));

	free(why);
	return status;
}

int
tell_vault_open(err_t err, const char *mountpoint, const char *dir)
{
	switch (-err) {
	case ENOENT:
		return tell_no_vault(mountpoint);
	case EBUSY:
		return tell_failure("the vault in %s is in use by another snugfs: unmount it there first, or wait for its end",
		    dir);
	case EKEYREJECTED:
		return tell_failure("wrong passphrase for the vault of %s: try again, or, if it is forgotten, with "
		    "--with-recovery-key", mountpoint);
	case ENOKEY:
		return tell_failure("the vault of %s wants its passphrase: leave out --no-passphrase, or give "
		    "--passphrase-file or --passphrase-command", mountpoint);
	case EBADMSG:
		return tell_failure("the vault in %s is damaged: keep it as it is, and get the files from the store with "
		    "\"snugfs join\" and the recovery key into another --vault", dir);
	case EPROTO:
		return tell_failure("the vault in %s was made by another version of snugfs: use that one, or get the files from the "
		    "store with \"snugfs join\" and the recovery key into another --vault", dir);
	case ENOSPC:
	case EDQUOT:
		return tell_failure("the vault in %s cannot be opened since %s: make room there and try again", dir,
		    tell_reason(err));
	case EACCES:
	case EPERM:
		return tell_failure("the vault in %s cannot be opened: permission denied; it belongs to another user, or its "
		    "permissions were changed", dir);
	default:
		return tell_failure("the vault in %s cannot be opened: %s", dir, tell_reason(err));
	}
}

int
tell_vault_make(err_t err, const char *dir)
{
	switch (-err) {
	case EEXIST:
		return tell_failure("there is a vault in %s already: mount it, or choose another place with --vault", dir);
	case ENOTEMPTY:
		return tell_failure("%s is not empty: choose another place for the vault with --vault", dir);
	case ENOSPC:
	case EDQUOT:
		return tell_failure("no vault could be made in %s since %s: make room there, or choose another place with "
		    "--vault", dir, tell_reason(err));
	case ESOCKTNOSUPPORT:
		return tell_failure("no vault could be made in %s: the file system there, FAT perhaps, has no sockets, which snugfs needs; "
		    "choose a folder on another disk with --vault (the store may be there)", dir);
	case ENOKEY:
		return tell_failure("no vault could be made in %s: the file system there keeps no permissions, so that everybody could open "
		    "it; leave out --no-passphrase, or choose a folder on another disk with --vault", dir);
	case EINVAL:
		return tell_failure("no vault could be made in %s: the name of this device must be 1 to 64 bytes of printable "
		    "text (--device-name)", dir);
	default:
		return tell_failure("no vault could be made in %s: %s; another place can be chosen with --vault", dir,
		    tell_reason(err));
	}
}

int
tell_sync(err_t err, const char *remote, const char *why)
{
	if (why != NULL && why[0] != '\0')
		return tell_failure("%s", why);
	switch (-err) {
	case EAGAIN:
		return tell_failure("the store %s cannot be reached now: nothing is lost, try again later", remote);
	case ENOSPC:
		return tell_failure("the store %s is full: make room there and try again, nothing is lost", remote);
	case EACCES:
		return tell_failure("the store %s refuses to be read or written: check its permissions, nothing is lost", remote);
	case ESTALE:
		return tell_failure("the store %s is not what it was: it lost or replaced what this computer has seen there; "
		    "nothing was taken over from it", remote);
	case EBADMSG:
		return tell_failure("the store %s holds damaged or forged objects: nothing was taken over from them", remote);
	case EPROTO:
		return tell_failure("the store %s was written by a newer version of snugfs: install that version", remote);
	case EKEYREVOKED:
		return tell_failure("this computer was removed from the vault: what is here stays readable, but syncs no more; "
		    "\"snugfs export-pending FOLDER\" copies out what never reached the store");
	default:
		return tell_failure("syncing with %s failed: %s", remote, tell_reason(err));
	}
}

int
tell_no_vault(const char *mountpoint)
{
	return tell_failure("there is no vault for %s yet: make one with \"snugfs up %s\", or open an existing one with "
	    "\"snugfs join %s --remote URL\"", mountpoint, mountpoint, mountpoint);
}

int
tell_json(json_t *answer)
{
	(void)json_object_del(answer, "ok");
	return answer != NULL && json_dumpf(answer, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF ? 0 :
	    tell_failure("the answer cannot be written to standard output: %s", tell_reason(answer == NULL ? -ENOMEM : -errno));
}
