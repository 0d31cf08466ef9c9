/* snugfs cache: how much of what the store has is on this computer, too. */
#include <stdio.h>

#include "amounts.h"
#include "cache.h"
#include "cmd_cache.h"
#include "commands.h"
#include "handles.h"
#include "human.h"
#include "session.h"
#include "tell.h"

int
cmd_cache_size(const struct options *o, const char *option, uint64_t *size_out, bool *given_out)
{
	const char *text = options_get(o, option);

	*given_out = text != NULL;
	if (text == NULL)
		return 0;
	if (amount_parse_bytes(text, size_out) != 0)
		return tell_usage("cache", "\"%s\" is no size: write 10G, 500M, or none", text);
	if (*size_out != 0 && *size_out < CACHE_LIMIT_MIN)
		return tell_usage("cache", "%s is too little: what is read would be given up before it is used; at least 64M", text);
	return 0;
}

/* size: NULL: leave it. */
static int
call(const struct options *o, const struct place *p, const uint64_t *size, json_t **answer_out)
{
	json_t *request = json_pack("{s:s}", "op", "cache");

	if (request != NULL && size != NULL)
		(void)json_object_set_new(request, "size", json_integer((json_int_t)*size));
	return session_call(o, p, request, answer_out);
}

int
cmd_cache_set(const struct options *o, const struct place *p, uint64_t size)
{
	CLEANUP(handle_free_json) json_t *answer = NULL;

	return call(o, p, &size, &answer);
}

static void
print_text(const char *mountpoint, const json_t *answer)
{
	const json_t *cache = json_object_get(answer, "cache"), *limit = json_object_get(cache, "limit"), *path;
	char here[HUMAN_BYTES_LEN], total[HUMAN_BYTES_LEN], most[HUMAN_BYTES_LEN];
	size_t i;

	human_bytes((uint64_t)json_integer_value(json_object_get(cache, "here")), here);
	human_bytes((uint64_t)json_integer_value(json_object_get(cache, "total")), total);
	human_bytes((uint64_t)json_integer_value(limit), most);
	printf("%s\n  on this computer  %s of %s\n  kept at most      %s\n", mountpoint, here, total,
	    json_is_integer(limit) ? most : "no limit");
	json_array_foreach(json_object_get(answer, "pinned"), i, path)
		printf("  %-16s  %s\n", i == 0 ? "pinned" : "", json_string_value(path));
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	uint64_t size = 0;
	bool given;
	int status;

	if ((status = cmd_cache_size(o, "size", &size, &given)) != 0 || (status = session_find_place(o, &p)) != 0)
		return status;
	if ((status = call(o, &p, given ? &size : NULL, &answer)) != 0)
		return status;
	if (o->json)
		return tell_json(answer);
	print_text(p.mountpoint, answer);
	return 0;
}

static const struct option_spec own[] = {
	{ "size", "SIZE", "what the store has, too, takes at most that much of this disk\n(10G, 500M; none: no limit)" },
	{ NULL, NULL, NULL },
};

const struct command cmd_cache = {
	.name = "cache",
	.synopsis = "[MOUNTPOINT] [--size SIZE] [--json]",
	.summary = "show or set how much of what the store has is kept on this computer",
	.details = "Above that size what was read the longest time ago is given up here; never what the store has not, or what\n"
	    "is pinned.  It is this device's own setting, and can be changed while the folder is mounted.\n",
	.accepts = ACCEPT_JSON,
	.options = own,
	.place = PLACE_OPTIONAL,
	.run = run,
};
