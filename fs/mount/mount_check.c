/* Sentences about mount points, mount options and /dev/fuse.  Asks; changes nothing. */
#include "mount_check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mount_table.h"

enum option_kind { OPTION_KERNEL, OPTION_IGNORED, OPTION_ALLOW_OTHER, OPTION_NONEMPTY };

/*
 * Ignored are those that fstab has for others (mount(8), systemd), and those that say what is so anyway.  Access times
 * move only when they are set: there is nothing for relatime to do.
 */
static const struct {
	const char *name;
	enum option_kind kind;
} known_options[] = {
	{ "ro", OPTION_KERNEL }, { "rw", OPTION_KERNEL }, { "suid", OPTION_KERNEL }, { "nosuid", OPTION_KERNEL },
	{ "dev", OPTION_KERNEL }, { "nodev", OPTION_KERNEL }, { "exec", OPTION_KERNEL }, { "noexec", OPTION_KERNEL },
	{ "noatime", OPTION_KERNEL }, { "allow_other", OPTION_ALLOW_OTHER }, { "nonempty", OPTION_NONEMPTY },
	{ "defaults", OPTION_IGNORED }, { "default_permissions", OPTION_IGNORED }, { "async", OPTION_IGNORED },
	{ "atime", OPTION_IGNORED }, { "relatime", OPTION_IGNORED }, { "norelatime", OPTION_IGNORED },
	{ "nodiratime", OPTION_IGNORED }, { "auto", OPTION_IGNORED }, { "noauto", OPTION_IGNORED },
	{ "nofail", OPTION_IGNORED }, { "user", OPTION_IGNORED }, { "nouser", OPTION_IGNORED },
	{ "users", OPTION_IGNORED }, { "owner", OPTION_IGNORED }, { "_netdev", OPTION_IGNORED },
};

static void __attribute__((format(printf, 2, 3)))
say(char **why_out, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(why_out, fmt, ap) < 0)
		*why_out = NULL;
	va_end(ap);
}

static bool
find_option(const char *name, enum option_kind *kind_out)
{
	if (strncmp(name, "x-", 2) == 0) {
		*kind_out = OPTION_IGNORED;
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(known_options); i++) {
		if (strcmp(name, known_options[i].name) == 0) {
			*kind_out = known_options[i].kind;
			return true;
		}
	}
	return false;
}

/* mount(8) asks the file system's program to remount, too, unless it is told not to; the kernel needs nobody for that. */
static void
say_unknown(const char *name, char **why_out)
{
	if (strcmp(name, "remount") == 0)
		say(why_out, "a folder that is mounted gets other options with \"mount -i -o remount,...\", which does not ask snugfs");
	else
		say(why_out, "\"%s\" is not a mount option that snugfs knows", name);
}

err_t
mount_check_options(const char *options, struct mount_wishes *wishes_out, char **kernel_out, char **why_out)
{
	CLEANUP(free_ptr) char *list = strdup(options ? options : "");
	CLEANUP(free_ptr) char *kernel = NULL;
	struct mount_wishes wishes = { false, false };
	char *rest = NULL;

	/* What goes on is a part of what came, and no longer. */
	size_t kernel_size = strlen(options ? options : "") + 1;
	size_t kernel_len = 0;

	kernel = calloc(1, kernel_size);
	if (!list || !kernel)
		return -ENOMEM;
	for (char *name = strtok_r(list, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		enum option_kind kind;

		if (!find_option(name, &kind)) {
			say_unknown(name, why_out);
			return -EINVAL;
		}
		switch (kind) {
		case OPTION_KERNEL:
			kernel_len += (size_t)snprintf(kernel + kernel_len, kernel_size - kernel_len, "%s%s",
			    kernel_len ? "," : "", name);
			break;
		case OPTION_ALLOW_OTHER:
			wishes.allow_other = true;
			break;
		case OPTION_NONEMPTY:
			wishes.nonempty = true;
			break;
		case OPTION_IGNORED:
			break;
		}
	}
	*wishes_out = wishes;
	*kernel_out = STEAL(kernel);
	return 0;
}

bool
mount_check_may_be_mounted(const char *dir)
{
	struct statx stx;

	return statx(AT_FDCWD, dir, AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &stx) != 0 ||
	    (stx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) == 0 || (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

bool
mount_check_is_ours(const char *dir)
{
	CLEANUP(mount_table_close) struct mount_table mounts = { 0 };
	bool ours = false;

	if (!mount_check_may_be_mounted(dir) || !mount_table_open(&mounts, MOUNT_TABLE_SELF))
		return false;
	/* The last line for a place is the mount on top. */
	while (mount_table_next(&mounts))
		if (strcmp(mounts.place, dir) == 0)
			ours = strcmp(mounts.type, MOUNT_TYPE) == 0;
	return ours;
}

static err_t
check_empty(const char *dir, char **why_out)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	bool empty = true;

	if (!d) {
		err_t err = -errno;

		say(why_out, "%s cannot be read: %s", dir, strerror(-err));
		return err;
	}
	while (empty && (entry = readdir(d)))
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	closedir(d);
	if (empty)
		return 0;
	say(why_out, "%s is not empty: move what is in it elsewhere first (or add -o nonempty, which hides it while mounted)",
	    dir);
	return -ENOTEMPTY;
}

static err_t
check_dir(const char *dir, bool nonempty, char **why_out)
{
	struct stat st;

	if (stat(dir, &st) < 0) {
		err_t err = -errno;

		if (err == -ENOTCONN)
			say(why_out, "%s is still the mount point of a file system that has ended: "
			    "run \"fusermount3 -u %s\" and try again", dir, dir);
		else if (err == -ENOENT)
			say(why_out, "%s does not exist: make the folder first (mkdir -p %s)", dir, dir);
		else
			say(why_out, "%s cannot be mounted on: %s", dir, strerror(-err));
		return err;
	}
	if (mount_check_is_ours(dir)) {
		say(why_out, "%s is mounted by snugfs already", dir);
		return -EBUSY;
	}
	if (!S_ISDIR(st.st_mode)) {
		say(why_out, "%s is not a folder", dir);
		return -ENOTDIR;
	}
	if (access(dir, W_OK) < 0) {
		err_t err = -errno;

		say(why_out, "%s cannot be mounted on: you may not write to it", dir);
		return err;
	}
	return nonempty ? 0 : check_empty(dir, why_out);
}

static err_t
check_device(char **why_out)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	err_t err = fd < 0 ? -errno : 0;

	if (err == 0) {
		close(fd);
		return 0;
	}
	if (err == -EACCES || err == -EPERM) {
		say(why_out, "no permission to use /dev/fuse: ask the administrator (usually it has mode 0666; "
		    "a container needs --device /dev/fuse --cap-add SYS_ADMIN)");
		return -EACCES;
	}
	if (err == -ENOENT || err == -ENODEV || err == -ENXIO) {
		say(why_out, "there is no /dev/fuse: load the kernel module (modprobe fuse), or give the container "
		    "--device /dev/fuse");
		return -ENODEV;
	}
	say(why_out, "/dev/fuse cannot be opened: %s", strerror(-err));
	return err;
}

/* fusermount3 refuses it to ordinary users unless the administrator said otherwise. */
static err_t
check_allow_other(char **why_out)
{
	FILE *conf;
	char line[256];
	bool allowed = false;

	if (geteuid() == 0)
		return 0;
	conf = fopen("/etc/fuse.conf", "re");
	if (conf) {
		while (!allowed && fgets(line, sizeof(line), conf)) {
			const char *word = line + strspn(line, " \t");

			allowed = strncmp(word, "user_allow_other", 16) == 0 && strspn(word + 16, " \t\n") == strlen(word + 16);
		}
		fclose(conf);
	}
	if (allowed)
		return 0;
	say(why_out, "the option allow_other is for root alone unless /etc/fuse.conf has the line user_allow_other");
	return -EPERM;
}

err_t
mount_check_place(const char *dir, const struct mount_wishes *wishes, char **why_out)
{
	err_t err = check_dir(dir, wishes->nonempty, why_out);

	if (!err)
		err = check_device(why_out);
	if (!err && wishes->allow_other)
		err = check_allow_other(why_out);
	return err;
}
