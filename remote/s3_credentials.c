/* s3_credentials.c: looking for the keys in the usual places. */
#include "s3_credentials.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secmem.h"

#define PIECE_MAX 150 /* below inih's limit of 200 bytes a line */

/* Printable ASCII without spaces: what can stand in a header. */
static bool append_word(char *out, size_t out_len, const char *text)
{
	size_t had = strlen(out);
	size_t len = strlen(text);

	if (len >= out_len - had)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] <= 0x20 || text[i] >= 0x7f)
			return false;
	}
	memcpy(out + had, text, len + 1);
	return true;
}

static err_t take(const char *access_key, const char *secret_key, const char *token, struct s3_credentials *out)
{
	if (!append_word(out->access_key, sizeof(out->access_key), access_key ? access_key : "") ||
	    !append_word(out->secret_key, sizeof(out->secret_key), secret_key ? secret_key : "") ||
	    !append_word(out->session_token, sizeof(out->session_token), token ? token : ""))
		return -EINVAL;
	return out->access_key[0] != '\0' && out->secret_key[0] != '\0' ? 0 : -ENOENT;
}

/* ---- the shared file ---- */

struct reading {
	FILE *file;
	const char *profile;
	struct s3_credentials *found;
	bool within_line;
	bool within_comment;
	bool bad;
};

/*
 * inih cuts lines at 200 bytes, and a session token is longer.  So a long line is handed on in pieces, the later ones as
 * the indented lines with which a value goes on.
 */
static char *read_piece(char *out, int out_len, void *ctx)
{
	struct reading *r = ctx;
	char *at = out;
	int room = out_len - 2 < PIECE_MAX ? out_len - 2 : PIECE_MAX;
	bool goes_on = r->within_line;
	size_t len;

	if (goes_on)
		*at++ = '\t';
	if (!fgets(at, room, r->file))
		return NULL;
	len = strlen(at);
	r->within_line = len > 0 && at[len - 1] != '\n';
	if (!goes_on)
		r->within_comment = at[strspn(at, " \t")] == '#' || at[strspn(at, " \t")] == ';';
	else if (r->within_comment)
		out[0] = '\0';
	return out;
}

/* inih: 0 means an error.  A value that goes on comes here once more. */
static int take_line(void *ctx, const char *section, const char *name, const char *value)
{
	struct reading *r = ctx;
	struct s3_credentials *c = r->found;
	bool fits = true;

	if (strcmp(section, r->profile) != 0 || !value)
		return 1;
	if (strcmp(name, "aws_access_key_id") == 0)
		fits = append_word(c->access_key, sizeof(c->access_key), value);
	else if (strcmp(name, "aws_secret_access_key") == 0)
		fits = append_word(c->secret_key, sizeof(c->secret_key), value);
	else if (strcmp(name, "aws_session_token") == 0)
		fits = append_word(c->session_token, sizeof(c->session_token), value);
	r->bad = r->bad || !fits;
	return 1;
}

static char *shared_file(void)
{
	const char *given = getenv("AWS_SHARED_CREDENTIALS_FILE");
	const char *home = getenv("HOME");
	char *path = NULL;

	if (given && given[0] != '\0')
		return strdup(given);
	if (!home || asprintf(&path, "%s/.aws/credentials", home) < 0)
		return NULL;
	return path;
}

static void close_file(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

static err_t read_shared_file(const char *path, const char *profile, struct s3_credentials *out)
{
	CLEANUP(close_file) FILE *file = fopen(path, "re");
	struct reading r = {.file = file, .profile = profile, .found = out};

	if (!file)
		return errno == ENOENT ? -ENOENT : -EACCES;
	/* Nothing of a secret stays in the memory of the C library. */
	if (setvbuf(file, NULL, _IONBF, 0) != 0)
		return -EIO;
	if (ini_parse_stream(read_piece, &r, take_line, &r) < 0)
		return -ENOMEM;
	if (r.bad)
		return -EINVAL;
	return out->access_key[0] != '\0' && out->secret_key[0] != '\0' ? 0 : -ENOENT;
}

/* ---- looking ---- */

static err_t find_in_file(struct s3_credentials *out, char **why_out)
{
	CLEANUP(free_ptr) char *path = shared_file();
	const char *profile = getenv("AWS_PROFILE");
	err_t err;

	if (!profile || profile[0] == '\0')
		profile = "default";
	err = path ? read_shared_file(path, profile, out) : -ENOENT;
	if (err == -ENOENT)
		store_say(why_out, "there are no keys for the store: put them into the profile [%s] of %s, or set AWS_ACCESS_KEY_ID "
		    "and AWS_SECRET_ACCESS_KEY", profile, path ? path : "~/.aws/credentials");
	else if (err == -EACCES)
		store_say(why_out, "the file %s with the keys of the store cannot be read; see who owns it", path);
	else if (err == -EINVAL)
		store_say(why_out, "a key in the profile [%s] of %s is too long or has strange characters in it; type it anew",
		    profile, path);
	return err == -ENOENT || err == -EINVAL ? -EACCES : err;
}

static err_t find(const struct store_credentials *given, struct s3_credentials *out, char **why_out)
{
	const char *access_key = getenv("AWS_ACCESS_KEY_ID");
	const char *secret_key = getenv("AWS_SECRET_ACCESS_KEY");
	err_t err;

	if (given) {
		err = take(given->access_key, given->secret_key, given->session_token, out);
		if (err)
			store_say(why_out, "the keys of the store are incomplete or have strange characters in them; set them anew");
		return err ? -EACCES : 0;
	}
	if ((!access_key || access_key[0] == '\0') && (!secret_key || secret_key[0] == '\0'))
		return find_in_file(out, why_out);
	err = take(access_key, secret_key, getenv("AWS_SESSION_TOKEN"), out);
	if (err)
		store_say(why_out, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must both be set, and have no strange characters in "
		    "them");
	return err ? -EACCES : 0;
}

err_t s3_credentials_find(const struct store_credentials *given, struct s3_credentials **out, char **why_out)
{
	CLEANUP(secmem_free_ptr) struct s3_credentials *c = secmem_new(sizeof(*c));
	err_t err = c ? find(given, c, why_out) : -ENOMEM;

	if (err)
		return err;
	*out = STEAL(c);
	return 0;
}

bool s3_credentials_equal(const struct s3_credentials *a, const struct s3_credentials *b)
{
	/* What is behind the ends of the texts is zero. */
	return secmem_equal(a, b, sizeof(*a));
}
