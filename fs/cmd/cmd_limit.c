/* snugfs limit: how fast bytes may go to the store and come from it. */
#include <stdio.h>

#include "amounts.h"
#include "cmd_limit.h"
#include "commands.h"
#include "handles.h"
#include "human.h"
#include "session.h"
#include "tell.h"

static int
read_rate(const struct options *o, const char *option, uint64_t *rate_out, bool *given_out)
{
	const char *text = options_get(o, option);

	*given_out = text != NULL;
	return text == NULL || amount_parse_bytes(text, rate_out) == 0 ? 0 :
	    tell_usage("limit", "--%s %s is no rate: write bytes a second, as 500K or 2M, or none", option, text);
}

int
cmd_limit_read(const struct options *o, struct cmd_limits *out)
{
	int status = read_rate(o, "up-limit", &out->up, &out->has_up);

	return status != 0 ? status : read_rate(o, "down-limit", &out->down, &out->has_down);
}

static int
call(const struct options *o, const struct place *p, const struct cmd_limits *l, json_t **answer_out)
{
	json_t *request = json_pack("{s:s}", "op", "limit");

	if (request != NULL && l->has_up)
		(void)json_object_set_new(request, "up", json_integer((json_int_t)l->up));
	if (request != NULL && l->has_down)
		(void)json_object_set_new(request, "down", json_integer((json_int_t)l->down));
	return session_call(o, p, request, answer_out);
}

int
cmd_limit_set(const struct options *o, const struct place *p, const struct cmd_limits *l)
{
	CLEANUP(handle_free_json) json_t *answer = NULL;

	return call(o, p, l, &answer);
}

static void
print_rate(const char *word, const json_t *answer, const char *key)
{
	uint64_t rate = (uint64_t)json_integer_value(json_object_get(answer, key));
	char bytes[HUMAN_BYTES_LEN];

	human_bytes(rate, bytes);
	if (rate == 0)
		printf("%s: no limit.\n", word);
	else
		printf("%s: %s a second at most.\n", word, bytes);
}

static json_t *
rate_or_null(const json_t *answer, const char *key)
{
	json_int_t rate = json_integer_value(json_object_get(answer, key));

	return rate != 0 ? json_integer(rate) : json_null();
}

static int
print_answer(const struct options *o, const json_t *answer)
{
	CLEANUP(handle_free_json) json_t *out = NULL;

	if (o->json) {
		out = json_pack("{s:o, s:o}", "up", rate_or_null(answer, "up"), "down", rate_or_null(answer, "down"));
		return tell_json(out);
	}
	print_rate("Up", answer, "up");
	print_rate("Down", answer, "down");
	return 0;
}

static int
run(struct options *o)
{
	CLEANUP(place_clear) struct place p = { 0 };
	CLEANUP(handle_free_json) json_t *answer = NULL;
	struct cmd_limits l = { 0 };
	int status;

	if ((status = cmd_limit_read(o, &l)) != 0 || (status = session_find_place(o, &p)) != 0 ||
	    (status = call(o, &p, &l, &answer)) != 0)
		return status;
	return print_answer(o, answer);
}

const struct command cmd_limit = {
	.name = "limit",
	.synopsis = "[MOUNTPOINT] [--up-limit RATE] [--down-limit RATE] [--json]",
	.summary = "show or set how fast it syncs",
	.details = "Bytes a second, of all transfers together, at once and from then on, also after a remount.  The section\n"
	    "[settings] of the configuration says what holds for vaults of which this was not said.\n",
	.accepts = ACCEPT_JSON,
	.options = (const struct option_spec[]){
		{ "up-limit", "RATE", "to the store: 500K, 2M (of 1024), or none" },
		{ "down-limit", "RATE", "from it" },
		{ 0 },
	},
	.place = PLACE_OPTIONAL,
	.run = run,
};
