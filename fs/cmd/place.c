/* From a mount point to its vault. */
#include "place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config.h"
#include "mountstate.h"
#include "paths.h"
#include "tell.h"
#include "vault.h"

void
place_clear(struct place *p)
{
	free(p->mountpoint);
	free(p->vault_dir);
	free(p->remote);
	*p = (struct place){ 0 };
}

const char *
place_config_reason(err_t err)
{
	if (err == -EBADMSG)
		return "it is not in INI form: correct it or move it away";
	if (err == -ENOTUNIQ)
		return "with an entry something else in it would change: let each section stand there once, and each line begin at the left";
	return tell_reason(err);
}

int
place_tell_config(err_t err)
{
	CLEANUP(free_ptr) char *path = config_path();

	if (path == NULL)
		return tell_failure("there is no home directory for the configuration: set HOME, or XDG_CONFIG_HOME and "
		    "XDG_DATA_HOME");
	return tell_failure("the configuration file %s cannot be used: %s", path, place_config_reason(err));
}

/* The XDG place; with a number behind it if another mount point has a vault of that name. */
static err_t
default_dir(const struct config *c, const char *mountpoint, char **out)
{
	CLEANUP(free_ptr) char *data = NULL;
	CLEANUP(free_ptr) char *name = NULL;
	char *dir;
	err_t err;

	if ((err = paths_data_dir(&data)) != 0 || (err = paths_vault_name(mountpoint, &name)) != 0)
		return err;
	if (asprintf(&dir, "%s/%s", data, name) < 0)
		return -ENOMEM;
	for (unsigned n = 2; config_find_directory(c, dir) != NULL; n++) {
		free(dir);
		if (asprintf(&dir, "%s/%s-%u", data, name, n) < 0)
			return -ENOMEM;
	}
	*out = dir;
	return 0;
}

static err_t
copy_text(const char *text, char **out)
{
	*out = text != NULL ? strdup(text) : NULL;
	return text != NULL && *out == NULL ? -ENOMEM : 0;
}

static err_t
choose_dir(const struct config *c, const char *given, const char *mountpoint, char **out)
{
	const struct config_entry *known = config_find(c, mountpoint);

	if (given != NULL)
		return copy_text(given, out);
	*out = mountstate_vault_dir(mountpoint);
	if (*out != NULL)
		return 0;
	if (known != NULL)
		return copy_text(known->directory, out);
	return default_dir(c, mountpoint, out);
}

static int
find(const char *given_dir, const char *mountpoint, struct place *out)
{
	CLEANUP(config_clear) struct config c = { 0 };
	CLEANUP(place_clear) struct place p = { 0 };
	const struct config_entry *known;
	err_t err;

	if ((err = config_load(&c)) != 0 || (err = choose_dir(&c, given_dir, mountpoint, &p.vault_dir)) != 0)
		return place_tell_config(err);
	known = config_find(&c, mountpoint);
	if (known == NULL || strcmp(known->directory, p.vault_dir) != 0)
		known = config_find_directory(&c, p.vault_dir);
	if ((err = copy_text(mountpoint, &p.mountpoint)) != 0 ||
	    (err = copy_text(known != NULL ? known->remote : NULL, &p.remote)) != 0)
		return place_tell_config(err);
	err = vault_peek(p.vault_dir, &p.wants_passphrase);
	if (err != 0 && err != -ENOENT)
		return tell_vault_open(err, mountpoint, p.vault_dir);
	p.exists = err == 0;
	*out = p;
	p = (struct place){ 0 };
	return 0;
}

int
place_find(const struct options *o, struct place *out)
{
	return find(o->vault_dir, o->mountpoint, out);
}

int
place_find_remembered(const char *mountpoint, struct place *out)
{
	return find(NULL, mountpoint, out);
}

/* The nearest folder above (or at) a path that is a mount point of ours, else one that is remembered; NULL. */
static err_t
mountpoint_above(const char *path, char **out)
{
	CLEANUP(config_clear) struct config c = { 0 };
	CLEANUP(free_ptr) char *above = strdup(path);
	err_t err = config_load(&c);

	if (err != 0)
		return err;
	while (above != NULL && above[0] != '\0') {
		if (mountstate_get(above) == MOUNT_OURS || config_find(&c, above) != NULL) {
			*out = STEAL(above);
			return 0;
		}
		*strrchr(above, '/') = '\0';
	}
	return above == NULL ? -ENOMEM : -ENOENT;
}

int
place_find_existing(const struct options *o, struct place *out)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(place_clear) struct place around = { 0 };
	CLEANUP(free_ptr) char *above = NULL;
	int status = place_find(o, &p);

	if (status != 0)
		return status;
	if (!p.exists && o->vault_dir != NULL)
		return tell_failure("there is no vault in %s: check --vault, or make one with \"snugfs up %s --vault %s\"",
		    p.vault_dir, p.mountpoint, p.vault_dir);
	if (!p.exists && mountpoint_above(p.mountpoint, &above) == 0 && strcmp(above, p.mountpoint) != 0) {
		if ((status = find(NULL, above, &around)) != 0)
			return status;
		if (around.exists)
			return tell_failure("%s is no vault's folder, but in one: name that, %s", p.mountpoint, above);
	}
	if (!p.exists)
		return tell_no_vault(p.mountpoint);
	*out = p;
	p = (struct place){ 0 };
	return 0;
}

int
place_find_containing(const char *path, struct place *out, char **path_out)
{
	CLEANUP(free_ptr) char *absolute = NULL;
	CLEANUP(free_ptr) char *mountpoint = NULL;
	CLEANUP(free_ptr) char *below = NULL;
	CLEANUP(place_clear) struct place p = { 0 };
	err_t err = paths_absolute_name(path, &absolute);
	int status;

	if (err != 0)
		return tell_failure("\"%s\" cannot be found: %s", path, tell_reason(err));
	if ((err = mountpoint_above(absolute, &mountpoint)) == -ENOENT)
		return tell_failure("%s is in no folder that snugfs keeps: give a path below a mount point", absolute);
	if (err != 0)
		return place_tell_config(err);
	below = strdup(absolute[strlen(mountpoint)] == '/' ? absolute + strlen(mountpoint) + 1 : "");
	if (below == NULL)
		return tell_failure("not enough memory");
	if ((status = find(NULL, mountpoint, &p)) != 0)
		return status;
	if (!p.exists)
		return tell_no_vault(mountpoint);
	*out = p;
	p = (struct place){ 0 };
	*path_out = STEAL(below);
	return 0;
}

static int
check_pair(const char *a, const char *a_is, const char *b, const char *b_is)
{
	if (paths_is_inside(a, b))
		return tell_failure("%s %s is inside %s %s: keep them apart", a_is, a, b_is, b);
	if (paths_is_inside(b, a))
		return tell_failure("%s %s is inside %s %s: keep them apart", b_is, b, a_is, a);
	return 0;
}

int
place_check_apart(const struct place *p, const char *remote)
{
	const char *store = remote != NULL && strncmp(remote, "dir:", 4) == 0 ? remote + 4 : NULL;
	int status = check_pair(p->mountpoint, "the mount point", p->vault_dir, "the vault's own folder");

	if (status == 0 && store != NULL)
		status = check_pair(p->mountpoint, "the mount point", store, "the store");
	if (status == 0 && store != NULL)
		status = check_pair(p->vault_dir, "the vault's own folder", store, "the store");
	return status;
}

/* ENOENT is what mkdir(2) says behind a link that leads nowhere, too, and where nothing can be made at all. */
static int
tell_not_made(const struct place *p, err_t err)
{
	CLEANUP(free_ptr) char *above = strdup(p->mountpoint);
	struct stat st = { 0 };
	char *slash;

	while (above != NULL && lstat(above, &st) != 0 && (slash = strrchr(above, '/')) != NULL && slash > above)
		*slash = '\0';
	if (err != -ENOENT || above == NULL)
		return tell_failure("the folder %s cannot be made: %s", p->mountpoint, tell_reason(err));
	return tell_failure("the folder %s cannot be made, since %s %s: choose another place", p->mountpoint, above,
	    S_ISLNK(st.st_mode) ? "is a link that leads nowhere" : "is in a file system that takes no new folders");
}

int
place_make_mountpoint(const struct place *p)
{
	struct stat st;
	err_t err;

	if (stat(p->mountpoint, &st) == 0)
		return S_ISDIR(st.st_mode) ? 0 : tell_failure("%s is not a folder", p->mountpoint);
	if (errno != ENOENT)
		return errno == ENOTCONN ? 0 :
		    tell_failure("%s cannot be mounted on: %s", p->mountpoint, tell_reason(-errno));
	err = paths_make_dirs(p->mountpoint);
	return err == 0 ? 0 : tell_not_made(p, err);
}

int
place_remember(const struct place *p, const char *remote)
{
	err_t err = config_remember(p->mountpoint, p->vault_dir, remote);

	return err == 0 ? 0 : place_tell_config(err);
}
