/* Fields between single spaces; what would look like a separator in one, and '#', stands there as \ and three octal digits. */
#include "mount_table.h"

#include <stdlib.h>
#include <string.h>

static bool
is_octal(const char *digits)
{
	for (int i = 0; i < 3; i++)
		if (digits[i] < '0' || digits[i] > '7')
			return false;
	return true;
}

static void
decode(char *field)
{
	char *to = field;

	for (const char *from = field; *from != '\0'; from++) {
		if (from[0] != '\\' || !is_octal(from + 1)) {
			*to++ = *from;
			continue;
		}
		*to++ = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
		from += 3;
	}
	*to = '\0';
}

bool
mount_table_open(struct mount_table *t, const char *path)
{
	*t = (struct mount_table){ .file = fopen(path, "re") };
	return t->file != NULL;
}

bool
mount_table_next(struct mount_table *t)
{
	while (getline(&t->line, &t->capacity, t->file) >= 0) {
		char *rest = t->line;
		char *source = strsep(&rest, " "), *place = strsep(&rest, " "), *type = strsep(&rest, " ");

		if (type == NULL)
			continue;
		decode(source);
		decode(place);
		decode(type);
		t->source = source;
		t->place = place;
		t->type = type;
		return true;
	}
	return false;
}

void
mount_table_close(struct mount_table *t)
{
	if (t->file != NULL)
		(void)fclose(t->file);
	free(t->line);
	*t = (struct mount_table){ 0 };
}
