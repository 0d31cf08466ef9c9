/* The configuration file: read through inih, rewritten by sections so that everything else in it stays. */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "bytes.h"
#include "disk.h"
#include "handles.h"
#include "paths.h"

#define CONFIG_FILE "config.ini"
#define CONFIG_MAX_LEN (1u << 20)
/* Below inih's limit of 200 bytes a line, with the key's name. */
#define LINE_VALUE_MAX 120

void
config_clear(struct config *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->entries[i].mountpoint);
		free(c->entries[i].directory);
		free(c->entries[i].remote);
	}
	free(c->entries);
	free(c->up_limit);
	free(c->down_limit);
	free(c->metered);
	free(c->on_event);
	*c = (struct config){ 0 };
}

char *
config_path(void)
{
	CLEANUP(free_ptr) char *dir = NULL;
	char *path = NULL;

	if (paths_config_dir(&dir) != 0 || asprintf(&path, "%s/" CONFIG_FILE, dir) < 0)
		return NULL;
	return path;
}

/* Values. */

static bool
is_plain(unsigned char c)
{
	return c >= 0x80 || isalnum(c) || (c != '\0' && strchr("/._+,:@~-", c) != NULL);
}

static void
decode_in_place(char *text)
{
	char *to = text;

	for (const char *from = text; *from != '\0'; from++) {
		unsigned byte;

		if (from[0] == '%' && isxdigit((unsigned char)from[1]) && isxdigit((unsigned char)from[2]) &&
		    sscanf(from + 1, "%2x", &byte) == 1 && byte != 0) {
			*to++ = (char)byte;
			from += 2;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
}

static err_t
append_text(struct bytes *b, const char *text)
{
	return bytes_append(b, text, strlen(text));
}

static err_t
append_value(struct bytes *b, const char *key, const char *value)
{
	size_t column = 0;
	err_t err;

	if ((err = append_text(b, key)) != 0 || (err = append_text(b, " = ")) != 0)
		return err;
	for (const char *p = value; *p != '\0'; p++) {
		char piece[4];

		if (column >= LINE_VALUE_MAX) {
			if ((err = append_text(b, "\n\t")) != 0)
				return err;
			column = 0;
		}
		if (is_plain((unsigned char)*p))
			snprintf(piece, sizeof(piece), "%c", *p);
		else
			snprintf(piece, sizeof(piece), "%%%02X", (unsigned char)*p);
		if ((err = append_text(b, piece)) != 0)
			return err;
		column += strlen(piece);
	}
	return append_text(b, "\n");
}

/* Reading. */

static struct config_entry *
entry_of(struct config *c, const char *section)
{
	struct config_entry *grown;

	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->entries[i].section, section) == 0)
			return &c->entries[i];
	grown = reallocarray(c->entries, c->count + 1, sizeof(*grown));
	if (grown == NULL)
		return NULL;
	c->entries = grown;
	grown[c->count] = (struct config_entry){ 0 };
	snprintf(grown[c->count].section, sizeof(grown->section), "%s", section);
	return &grown[c->count++];
}

static char **
setting_of(struct config *c, const char *name)
{
	if (strcmp(name, "up-limit") == 0)
		return &c->up_limit;
	if (strcmp(name, "down-limit") == 0)
		return &c->down_limit;
	if (strcmp(name, "metered") == 0)
		return &c->metered;
	return strcmp(name, "on-event") == 0 ? &c->on_event : NULL;
}

static char **
field_of(struct config *c, const char *section, const char *name)
{
	struct config_entry *e;

	if (strcmp(section, "settings") == 0)
		return setting_of(c, name);
	if (strncmp(section, "vault ", 6) != 0 || (e = entry_of(c, section)) == NULL)
		return NULL;
	if (strcmp(name, "mountpoint") == 0)
		return &e->mountpoint;
	if (strcmp(name, "directory") == 0)
		return &e->directory;
	return strcmp(name, "remote") == 0 ? &e->remote : NULL;
}

/* inih hands a continued line over as one more value of the same name. */
static int
on_value(void *ctx, const char *section, const char *name, const char *value)
{
	char **field = field_of(ctx, section, name), *joined;

	if (field == NULL)
		return 1;
	if (asprintf(&joined, "%s%s", *field != NULL ? *field : "", value) < 0)
		return 0;
	free(*field);
	*field = joined;
	return 1;
}

static void
drop_entry(struct config *c, size_t i)
{
	free(c->entries[i].mountpoint);
	free(c->entries[i].directory);
	free(c->entries[i].remote);
	c->entries[i] = c->entries[--c->count];
}

/* Half an entry is none; values are decoded once they are whole. */
static void
finish_entries(struct config *c)
{
	for (size_t i = 0; i < c->count;) {
		struct config_entry *e = &c->entries[i];

		if (e->mountpoint == NULL || e->directory == NULL) {
			drop_entry(c, i);
			continue;
		}
		decode_in_place(e->mountpoint);
		decode_in_place(e->directory);
		if (e->remote != NULL)
			decode_in_place(e->remote);
		i++;
	}
}

err_t
config_load(struct config *out)
{
	CLEANUP(free_ptr) char *path = config_path();
	CLEANUP(config_clear) struct config c = { 0 };
	FILE *file;
	int bad_line;

	if (path == NULL)
		return -ENOENT;
	file = fopen(path, "re");
	if (file == NULL) {
		if (errno != ENOENT && errno != ENOTDIR)
			return -errno;
		*out = (struct config){ 0 };
		return 0;
	}
	bad_line = ini_parse_file(file, on_value, &c);
	fclose(file);
	if (bad_line != 0)
		return -EBADMSG;
	finish_entries(&c);
	*out = c;
	c = (struct config){ 0 };
	return 0;
}

const struct config_entry *
config_find(const struct config *c, const char *mountpoint)
{
	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->entries[i].mountpoint, mountpoint) == 0)
			return &c->entries[i];
	return NULL;
}

const struct config_entry *
config_find_directory(const struct config *c, const char *directory)
{
	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->entries[i].directory, directory) == 0)
			return &c->entries[i];
	return NULL;
}

/* Writing. */

static err_t
read_text(int dir_fd, struct bytes *out)
{
	CLEANUP(handle_close_fd) int fd = openat(dir_fd, CONFIG_FILE, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *at;
	err_t err;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) != 0)
		return -errno;
	if (st.st_size > CONFIG_MAX_LEN)
		return -EFBIG;
	if (st.st_size == 0)
		return 0;
	if ((err = bytes_extend(out, (size_t)st.st_size, &at)) != 0)
		return err;
	return disk_pread(fd, at, (size_t)st.st_size, 0);
}

/* Copies the lines of `text` but those of one section. */
static err_t
copy_without_section(const struct bytes *text, const char *section, struct bytes *out)
{
	const char *p = (const char *)text->data, *end = p + text->len;
	size_t name_len = strlen(section);
	bool inside = false;
	err_t err = 0;

	if (text->len >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
		p += 3; /* what some editors begin UTF-8 with */
	while (p < end && err == 0) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		const char *next = newline != NULL ? newline + 1 : end;

		if (*p == '[')
			inside = (size_t)(next - p) > name_len + 1 && memcmp(p + 1, section, name_len) == 0 &&
			    p[1 + name_len] == ']';
		if (!inside)
			err = bytes_append(out, p, (size_t)(next - p));
		p = next;
	}
	if (err == 0 && out->len > 0 && out->data[out->len - 1] != '\n')
		err = append_text(out, "\n");
	return err;
}

static void
choose_section(const struct config *c, const char *mountpoint, char *out, size_t out_len)
{
	const struct config_entry *known = config_find(c, mountpoint);
	bool taken = true;

	if (known != NULL) {
		snprintf(out, out_len, "%s", known->section);
		return;
	}
	for (unsigned n = 1; taken; n++) {
		snprintf(out, out_len, "vault %u", n);
		taken = false;
		for (size_t i = 0; i < c->count; i++)
			taken = taken || strcmp(c->entries[i].section, out) == 0;
	}
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
has_entry(const struct config *c, const struct config_entry *wanted)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct config_entry *e = &c->entries[i];

		if (same_text(e->mountpoint, wanted->mountpoint) && same_text(e->directory, wanted->directory) &&
		    same_text(e->remote, wanted->remote))
			return true;
	}
	return false;
}

/* What is in other sections than `section`. */
static bool
has_rest(const struct config *c, const struct config *before, const char *section)
{
	for (size_t i = 0; i < before->count; i++)
		if (strcmp(before->entries[i].section, section) != 0 && !has_entry(c, &before->entries[i]))
			return false;
	return same_text(c->up_limit, before->up_limit) && same_text(c->down_limit, before->down_limit) &&
	    same_text(c->metered, before->metered) && same_text(c->on_event, before->on_event);
}

/*
 * Will it be read as it is meant, and as before but for `section`?  Somebody may have edited the file in a way that reads like a
 * section, but does not look like one.
 */
static err_t
check_text(struct bytes *text, const struct config *before, const char *section, const char *mountpoint, const char *directory,
    const char *remote)
{
	CLEANUP(config_clear) struct config c = { 0 };
	const struct config_entry *e;
	err_t err;

	if ((err = bytes_append_u8(text, '\0')) != 0)
		return err;
	text->len--;
	if (ini_parse_string((const char *)text->data, on_value, &c) != 0)
		return -EBADMSG;
	finish_entries(&c);
	e = config_find(&c, mountpoint);
	return e != NULL && same_text(e->directory, directory) && same_text(e->remote, remote) && has_rest(&c, before, section) ?
	    0 : -ENOTUNIQ;
}

static err_t
rewrite(int dir_fd, const char *mountpoint, const char *directory, const char *remote)
{
	CLEANUP(config_clear) struct config c = { 0 };
	CLEANUP(bytes_clear) struct bytes old = { 0 };
	CLEANUP(bytes_clear) struct bytes text = { 0 };
	const struct config_entry *known;
	char section[32];
	err_t err;

	if ((err = config_load(&c)) != 0)
		return err;
	known = config_find(&c, mountpoint);
	if (known != NULL && same_text(known->directory, directory) && same_text(known->remote, remote))
		return 0;
	choose_section(&c, mountpoint, section, sizeof(section));
	if ((err = read_text(dir_fd, &old)) != 0 || (err = copy_without_section(&old, section, &text)) != 0 ||
	    (err = append_text(&text, "[")) != 0 || (err = append_text(&text, section)) != 0 ||
	    (err = append_text(&text, "]\n")) != 0 || (err = append_value(&text, "mountpoint", mountpoint)) != 0 ||
	    (err = append_value(&text, "directory", directory)) != 0)
		return err;
	if (remote != NULL && (err = append_value(&text, "remote", remote)) != 0)
		return err;
	if ((err = check_text(&text, &c, section, mountpoint, directory, remote)) != 0)
		return err;
	return disk_write_file(dir_fd, CONFIG_FILE, text.data, text.len, 0600);
}

err_t
config_remember(const char *mountpoint, const char *directory, const char *remote)
{
	CLEANUP(free_ptr) char *dir = NULL;
	CLEANUP(handle_close_fd) int dir_fd = -1;
	err_t err;

	if ((err = paths_config_dir(&dir)) != 0 || (err = paths_make_dirs(dir)) != 0)
		return err;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Two commands that start at once must not forget each other's entries. */
	if (dir_fd < 0 || flock(dir_fd, LOCK_EX) != 0)
		return -errno;
	return rewrite(dir_fd, mountpoint, directory, remote);
}
