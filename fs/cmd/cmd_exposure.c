/* snugfs exposure: what whoever runs the store sees, and what he could do with it. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "create.h"
#include "exposure.h"
#include "human.h"
#include "session.h"
#include "tell.h"

static const char *const sees[] = {
	"the names above: numbers and random digits; no name of a file, folder or device is in them",
	"sizes in steps: each object is padded, by at most 12 in 100 of a large one",
	"when an object is written, read or deleted, and from which network address",
	"how many commits there are, so how often something changed; not what, nor by which device",
};
static const char *const could[] = {
	"delete or withhold objects: noticed; \"snugfs verify\" says which files it concerns; what is local stays",
	"change, cut, exchange or add objects: noticed before a wrong byte is read, and only that file is concerned",
	"put back an older state: noticed by each device that has seen a newer one, and with a witness by a new one, too",
	"show different devices different states: noticed as soon as they see a common one, or compare safety words",
	"guess from times and sizes when and how much somebody works; not read anything, and let nobody in",
};

static json_t *
describe_kind(const struct exposure_kind *k)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "count", (json_int_t)k->count, "bytes", (json_int_t)k->bytes, "smallest",
	    (json_int_t)k->smallest, "largest", (json_int_t)k->largest, "first", (json_int_t)k->first, "last",
	    (json_int_t)k->last);
}

static void
print_json(const char *url, const struct exposure *e)
{
	json_t *kinds = json_object();
	json_t *o;

	for (int k = 0; k < OBJNAME_KIND_COUNT; k++)
		(void)json_object_set_new(kinds, objname_word((enum objname_kind)k), describe_kind(&e->kinds[k]));
	o = json_pack("{s:s, s:I, s:I, s:I, s:o}", "store", url, "objects", (json_int_t)e->count, "bytes", (json_int_t)e->bytes,
	    "off_step", (json_int_t)e->off_step, "kinds", kinds);
	(void)json_dumpf(o, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(o);
}

static void
print_kind(enum objname_kind kind, const struct exposure_kind *k)
{
	char all[HUMAN_BYTES_LEN], smallest[HUMAN_BYTES_LEN], largest[HUMAN_BYTES_LEN];

	if (k->count == 0)
		return;
	human_bytes(k->bytes, all);
	human_bytes(k->smallest, smallest);
	human_bytes(k->largest, largest);
	printf("  %8" PRIu64 "  %-24s  %s", k->count, objname_plural(kind), all);
	if (k->count > 1)
		printf(", each %s to %s", smallest, largest);
	if (kind == OBJNAME_COMMIT || kind == OBJNAME_BASE)
		printf(", number %" PRIu64 " to %" PRIu64, k->first, k->last);
	putchar('\n');
}

static void
print_text(const char *url, const struct exposure *e)
{
	char all[HUMAN_BYTES_LEN];

	human_bytes(e->bytes, all);
	printf("Whoever runs %s sees %" PRIu64 " object%s, %s:\n", url, e->count, e->count == 1 ? "" : "s", all);
	for (int k = 0; k < OBJNAME_KIND_COUNT; k++)
		print_kind((enum objname_kind)k, &e->kinds[k]);
	if (e->off_step > 0)
		printf("  %" PRIu64 " of them have sizes that snugfs never gives: run \"snugfs verify\".\n", e->off_step);
	printf("\nThat is all there is to see:\n");
	for (size_t i = 0; i < ARRAY_LEN(sees); i++)
		printf("  - %s.\n", sees[i]);
	printf("\nThe store could:\n");
	for (size_t i = 0; i < ARRAY_LEN(could); i++)
		printf("  - %s.\n", could[i]);
}

static int
find_url(const struct options *o, char **out)
{
	CLEANUP(place_clear) struct place p = { 0 };
	int status;

	if (o->remote != NULL)
		return create_remote_url(o, out);
	if ((status = session_find_place(o, &p)) != 0)
		return status;
	if (p.remote == NULL)
		return tell_failure("%s has no store, so nobody sees anything of it", p.mountpoint);
	*out = strdup(p.remote);
	return *out != NULL ? 0 : tell_failure("out of memory");
}

static int
run(struct options *o)
{
	CLEANUP(free_ptr) char *url = NULL;
	CLEANUP(store_free_ptr) struct store *store = NULL;
	struct exposure e;
	char *why = NULL;
	char what[384];
	err_t err;
	int status;

	if ((status = find_url(o, &url)) != 0)
		return status;
	if ((err = store_open(url, false, &store, &why)) != 0)
		return tell_why(why, url, err);
	if ((err = exposure_read(store, &e)) != 0) {
		store_explain(store, err, what, sizeof(what));
		return tell_failure("%s", what);
	}
	if (o->json)
		print_json(url, &e);
	else
		print_text(url, &e);
	return 0;
}

const struct command cmd_exposure = {
	.name = "exposure",
	.synopsis = "[MOUNTPOINT] | --remote URL",
	.summary = "show what whoever runs the store sees, and what he could do with it",
	.details = "Lists the store as its owner can, without any key: how many objects of which kind and size there are,\n"
	    "what that tells, and what could be done with it.\n",
	.accepts = ACCEPT_JSON | ACCEPT_REMOTE,
	.place = PLACE_OPTIONAL,
	.run = run,
};
