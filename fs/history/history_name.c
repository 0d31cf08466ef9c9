/* Names: what a path leads to, and what a restored file is called beside the present one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "history.h"

#define EXTENSION_MAX 32 /* a longer "extension" is part of the name */

static size_t
stem_len(const char *name, size_t len)
{
	const char *dot = strrchr(name, '.');

	if (dot == NULL || dot == name || dot[1] == '\0' || strchr(dot, ' ') != NULL || len - (size_t)(dot - name) > EXTENSION_MAX)
		return len;
	return (size_t)(dot - name);
}

void
history_restore_name(const char *name, uint64_t time_ns, unsigned n, char out[static NAME_LEN_MAX + 1])
{
	char when[HISTORY_TIME_LEN], mark[96], number[16] = "";
	size_t len = strlen(name), stem = stem_len(name, len), kept = stem;

	history_time_print(time_ns, when);
	if (n > 1)
		snprintf(number, sizeof(number), " %u", n);
	snprintf(mark, sizeof(mark), " (as of %s)%s", when, number);
	if (kept > NAME_LEN_MAX - strlen(mark) - (len - stem))
		kept = NAME_LEN_MAX - strlen(mark) - (len - stem);
	while (kept < stem && kept > 0 && ((unsigned char)name[kept] & 0xc0) == 0x80)
		kept--; /* not within a UTF-8 character */
	snprintf(out, NAME_LEN_MAX + 1, "%.*s%s%s", (int)kept, name, mark, name + stem);
}

err_t
history_resolve(struct vfs *v, const char *path, uint64_t *ino_out, const char **rest_out)
{
	uint64_t at = INODE_ROOT;

	for (path += strspn(path, "/"); *path != '\0'; path += strspn(path, "/")) {
		char name[NAME_LEN_MAX + 1];
		size_t len = strcspn(path, "/");
		struct stat st;
		err_t err = len > NAME_LEN_MAX ? -ENAMETOOLONG : 0;

		if (err != 0)
			return err;
		memcpy(name, path, len);
		name[len] = '\0';
		err = vfs_lookup(v, at, name, &st);
		if (err == -ENOENT || err == -ENOTDIR)
			break;
		if (err != 0)
			return err;
		vfs_forget(v, st.st_ino, 1);
		at = st.st_ino;
		path += len;
	}
	*ino_out = at;
	*rest_out = path;
	return 0;
}
