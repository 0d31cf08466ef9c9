/* s3_xml.c: expat's events, with only the path of the current element remembered. */
#include "s3_xml.h"

#include <errno.h>
#include <expat.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bytes.h"
#include "library.h"

#define DEPTH_MAX 8
#define TEXT_MAX (3 * S3_XML_KEY_MAX + S3_XML_TOKEN_MAX) /* of one element; keys may be percent-encoded */
#define NAME_MAX_LEN 40

#define FUNCTIONS(F) F(XML_ParserCreate) F(XML_ParserFree) F(XML_SetUserData) F(XML_SetElementHandler) F(XML_SetCharacterDataHandler) \
	F(XML_SetStartDoctypeDeclHandler) F(XML_Parse) F(XML_StopParser)

static struct { FUNCTIONS(LIBRARY_POINTER) } lib;
static const struct library_symbol symbols[] = { FUNCTIONS(LIBRARY_SYMBOL) };
static struct library library = LIBRARY_OF("libexpat.so.1", symbols);

struct parsing {
	XML_Parser parser;
	unsigned depth;
	char path[DEPTH_MAX][NAME_MAX_LEN]; /* elements that are open; what does not fit is "" */
	struct bytes text;                  /* of the innermost */
	err_t err;

	struct s3_xml_error *error;         /* one of the two is wanted */
	struct s3_xml_page *page;
	size_t room;
	bool url_encoded;
	struct s3_xml_object object;        /* under way */
	bool has_size;
};

static void fail(struct parsing *p, err_t err)
{
	p->err = err;
	(void)lib.XML_StopParser(p->parser, XML_FALSE);
}

/* Is the innermost element `a`, or `b` in `a`? */
static bool is_at(const struct parsing *p, const char *root, const char *a, const char *b)
{
	if (p->depth != (b ? 3u : 2u) || strcmp(p->path[0], root) != 0 || strcmp(p->path[1], a) != 0)
		return false;
	return !b || strcmp(p->path[2], b) == 0;
}

/* ---- the error ---- */

static void copy_code(const struct bytes *text, char out[static S3_XML_CODE_MAX])
{
	static const char permitted[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-";

	/* The text ends with a NUL. */
	if (text->len <= S3_XML_CODE_MAX && strspn((const char *)text->data, permitted) == text->len - 1)
		memcpy(out, text->data, text->len);
}

static void end_in_error(struct parsing *p)
{
	if (is_at(p, "Error", "Code", NULL))
		copy_code(&p->text, p->error->code);
	else if (is_at(p, "Error", "Region", NULL))
		copy_code(&p->text, p->error->region);
}

/* ---- the page ---- */

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* As in a form: some services write a space as a plus, and none leaves a plus as it is. */
static err_t decode_in_place(char *text)
{
	char *to = text;

	for (const char *from = text; *from != '\0'; from++) {
		int high, low;

		if (*from != '%') {
			*to++ = *from == '+' ? ' ' : *from;
			continue;
		}
		high = hex_value(from[1]);
		low = high >= 0 ? hex_value(from[2]) : -1;
		if (low < 0 || high + low == 0)
			return -EBADMSG;
		*to++ = (char)(high * 16 + low);
		from += 2;
	}
	*to = '\0';
	return 0;
}

static err_t parse_size(const char *text, uint64_t *out)
{
	size_t len = strlen(text);

	if (len == 0 || len > 18 || strspn(text, "0123456789") != len)
		return -EBADMSG;
	*out = strtoull(text, NULL, 10);
	return 0;
}

/* ISO 8601, in UTC.  It decides nothing: what can't be read is no error. */
static int64_t parse_time(const char *text)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	return end && (*end == '.' || *end == 'Z') ? timegm(&tm) : 0;
}

static err_t set_once(const struct bytes *text, char **out)
{
	if (*out)
		return -EBADMSG;
	*out = strdup((const char *)text->data);
	return *out ? 0 : -ENOMEM;
}

static err_t end_object(struct parsing *p)
{
	struct s3_xml_page *page = p->page;

	if (!p->object.key || !p->has_size || page->count == S3_XML_PAGE_MAX)
		return -EBADMSG;
	if (page->count == p->room) {
		size_t room = p->room > 0 ? 2 * p->room : 64;
		struct s3_xml_object *grown = reallocarray(page->objects, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		page->objects = grown;
		p->room = room;
	}
	page->objects[page->count++] = p->object;
	p->object = (struct s3_xml_object){0};
	p->has_size = false;
	return 0;
}

static err_t end_in_page(struct parsing *p)
{
	static const char root[] = "ListBucketResult";
	const char *text = (const char *)p->text.data;

	if (is_at(p, root, "Contents", "Key"))
		return set_once(&p->text, &p->object.key);
	if (is_at(p, root, "Contents", "Size")) {
		p->has_size = true;
		return parse_size(text, &p->object.size);
	}
	if (is_at(p, root, "Contents", "LastModified"))
		p->object.time_s = parse_time(text);
	if (is_at(p, root, "Contents", NULL))
		return end_object(p);
	if (is_at(p, root, "NextContinuationToken", NULL))
		return set_once(&p->text, &p->page->next_token);
	if (is_at(p, root, "IsTruncated", NULL))
		p->page->truncated = strcmp(text, "true") == 0;
	if (is_at(p, root, "EncodingType", NULL))
		p->url_encoded = strcmp(text, "url") == 0;
	return 0;
}

/* ---- expat's events ---- */

static void XMLCALL start_element(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
	struct parsing *p = ctx;
	size_t len = strlen(name);

	(void)attributes;
	if (p->depth == DEPTH_MAX) {
		fail(p, -EBADMSG);
		return;
	}
	if (len >= NAME_MAX_LEN)
		len = 0;
	memcpy(p->path[p->depth], name, len);
	p->path[p->depth][len] = '\0';
	p->depth++;
	bytes_reset(&p->text);
}

static void XMLCALL end_element(void *ctx, const XML_Char *name)
{
	struct parsing *p = ctx;
	err_t err;

	(void)name;
	if (p->err) /* it may have been stopped in the start of an empty element */
		return;
	err = bytes_append_u8(&p->text, '\0');
	if (err == 0 && p->error)
		end_in_error(p);
	if (err == 0 && p->page)
		err = end_in_page(p);
	bytes_reset(&p->text);
	p->depth--;
	if (err)
		fail(p, err);
}

static void XMLCALL add_text(void *ctx, const XML_Char *text, int len)
{
	struct parsing *p = ctx;
	err_t err;

	if (p->err || len <= 0)
		return;
	err = p->text.len + (size_t)len > TEXT_MAX ? -EBADMSG : bytes_append(&p->text, text, (size_t)len);
	if (err)
		fail(p, err);
}

static void XMLCALL refuse_doctype(void *ctx, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id,
    int has_internal)
{
	(void)name;
	(void)system_id;
	(void)public_id;
	(void)has_internal;
	fail(ctx, -EBADMSG);
}

static err_t run(struct parsing *p, const uint8_t *text, size_t len)
{
	enum XML_Status status;
	err_t err = library_load_once(&library);

	if (err)
		return err;
	if (len > INT_MAX)
		return -EBADMSG;
	p->parser = lib.XML_ParserCreate(NULL);
	if (!p->parser)
		return -ENOMEM;
	lib.XML_SetUserData(p->parser, p);
	lib.XML_SetElementHandler(p->parser, start_element, end_element);
	lib.XML_SetCharacterDataHandler(p->parser, add_text);
	lib.XML_SetStartDoctypeDeclHandler(p->parser, refuse_doctype);
	status = lib.XML_Parse(p->parser, (const char *)text, (int)len, XML_TRUE);
	lib.XML_ParserFree(p->parser);
	if (p->err)
		return p->err;
	return status == XML_STATUS_OK ? 0 : -EBADMSG;
}

void s3_xml_parse_error(const uint8_t *text, size_t len, struct s3_xml_error *out)
{
	struct s3_xml_error error = {0};
	struct parsing p = {.error = &error};
	err_t err = len > 0 ? run(&p, text, len) : -EBADMSG;

	bytes_clear(&p.text);
	*out = err == 0 ? error : (struct s3_xml_error){0};
}

void s3_xml_page_clear(struct s3_xml_page *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->objects[i].key);
	free(p->objects);
	free(p->next_token);
	*p = (struct s3_xml_page){0};
}

/* The encoding may be named behind the keys. */
static err_t finish_page(const struct parsing *p)
{
	struct s3_xml_page *page = p->page;
	err_t err = 0;

	for (size_t i = 0; i < page->count && err == 0; i++) {
		if (p->url_encoded)
			err = decode_in_place(page->objects[i].key);
		if (err == 0 && strlen(page->objects[i].key) > S3_XML_KEY_MAX)
			err = -EBADMSG;
	}
	if (page->truncated && (!page->next_token || page->next_token[0] == '\0'))
		err = -EBADMSG;
	return err;
}

err_t s3_xml_parse_page(const uint8_t *text, size_t len, struct s3_xml_page *out)
{
	CLEANUP(s3_xml_page_clear) struct s3_xml_page page = {0};
	struct parsing p = {.page = &page};
	err_t err = run(&p, text, len);

	bytes_clear(&p.text);
	free(p.object.key);
	/* Another document is no empty page. */
	if (err == 0 && strcmp(p.path[0], "ListBucketResult") != 0)
		err = -EBADMSG;
	if (err == 0)
		err = finish_page(&p);
	if (err)
		return err;
	*out = page;
	page = (struct s3_xml_page){0};
	return 0;
}
