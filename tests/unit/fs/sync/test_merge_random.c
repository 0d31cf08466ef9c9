/*
 * Three devices, people who do anything to the same few names, pushes and pulls at any time: in the end all see the same
 * sound tree, and no write is lost that nobody took away.  SEEDS=n and SEED=first in the environment choose what to run.
 */
#include "collector.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SEEDS 300
#define STEPS 60

static uint64_t random_state;

/* xorshift64*: the same on every machine. */
static uint32_t
rnd(uint32_t below)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * UINT64_C(2685821657736338717)) >> 33) % below;
}

static bool verbose;

#define SAY(...)                      \
	do {                          \
		if (verbose)          \
			fprintf(stderr, __VA_ARGS__); \
	} while (0)

static void
say_token(uint64_t token)
{
	SAY("\twrite %llu\n", (unsigned long long)token);
}

static const char *
random_name(void)
{
	static const char *const names[] = {"a", "b", "c", "d.txt", "e.txt"};

	return names[rnd(5)];
}

static const struct walk_entry *
random_entry(const struct walk *w, int type)
{
	for (int tries = 0; w->count && tries < 20; tries++) {
		const struct walk_entry *e = &w->v[rnd((uint32_t)w->count)];

		if (type == 0 || e->type == type)
			return e;
	}
	return NULL;
}

static uint64_t
random_dir(const struct walk *w)
{
	const struct walk_entry *e = rnd(3) ? random_entry(w, DT_DIR) : NULL;

	return e ? e->ino : INODE_ROOT;
}

static void
random_create(struct replica *r, const struct walk *w)
{
	static const uint32_t modes[] = {S_IFREG | 0644, S_IFREG | 0644, S_IFDIR | 0755, S_IFDIR | 0755, S_IFLNK | 0777};
	uint64_t parent = random_dir(w);
	const char *name = random_name();
	uint32_t mode = modes[rnd(5)];
	uint64_t ino = 0;
	err_t e = do_create(r, parent, name, mode, &ino);

	SAY("%s create %llx/%s mode %o: %llx (%d)\n", r->name, (unsigned long long)parent, name, mode, (unsigned long long)ino, e);
	if (e)
		return;
	if (rnd(3) == 0)
		assert_int_equal(lookups_add(r->lookups, ino), 0);
	if (S_ISREG(mode) && rnd(2))
		say_token(do_write(r, ino, 0, 0, 100 + rnd(100)));
}

static void
random_change(struct replica *r, const struct walk_entry *e)
{
	static const char *const xattrs[] = {"user.x", "user.y"};
	uint32_t what = rnd(e->type == DT_REG ? 9 : 4);

	SAY("%s change %s %llx: %u\n", r->name, e->path, (unsigned long long)e->ino, what);
	switch (what) {
	case 0:
		do_chmod(r, e->ino, rnd(512));
		break;
	case 1:
		do_chown(r, e->ino, rnd(5));
		break;
	case 2:
		do_setxattr(r, e->ino, xattrs[rnd(2)], rnd(2) ? "one" : "two");
		break;
	case 3:
		do_setxattr(r, e->ino, xattrs[rnd(2)], NULL);
		break;
	case 4:
		do_truncate(r, e->ino, rnd(3) ? rnd(900) : CHUNK_LEN + rnd(900));
		break;
	default:
		say_token(do_write(r, e->ino, rnd(3) == 0, rnd(10) * 50, 50 + rnd(4) * 100));
		break;
	}
}

static void
random_move(struct replica *r, const struct walk *w, const struct walk_entry *e)
{
	uint64_t parent = random_dir(w);
	const char *name = rnd(4) ? random_name() : e->name;
	err_t err;

	if (e->type != DT_DIR && rnd(4) == 0) {
		err = do_link(r, e->ino, parent, name);
		SAY("%s link %s %llx as %llx/%s (%d)\n", r->name, e->path, (unsigned long long)e->ino, (unsigned long long)parent,
		    name, err);
		return;
	}
	err = do_rename(r, e->parent, e->name, parent, name);
	SAY("%s rename %s %llx to %llx/%s (%d)\n", r->name, e->path, (unsigned long long)e->ino, (unsigned long long)parent, name,
	    err);
}

/* Removes it and all that is below, as rm -r does. */
static void
remove_tree(struct replica *r, const struct walk *w, const struct walk_entry *e)
{
	size_t len = strlen(e->path);

	for (size_t k = w->count; k-- > 0;) {
		if (strncmp(w->v[k].path, e->path, len) == 0 && (w->v[k].path[len] == '/' || w->v[k].path[len] == '\0')) {
			err_t err = do_unlink(r, w->v[k].parent, w->v[k].name);

			SAY("%s remove %s %llx (%d)\n", r->name, w->v[k].path, (unsigned long long)w->v[k].ino, err);
		}
	}
}

static void
random_act(struct replica *r)
{
	struct walk w = walk_replica(r);
	const struct walk_entry *e = random_entry(&w, rnd(2) ? DT_REG : 0);
	uint32_t what = rnd(100);

	if (!e || what < 25) {
		random_create(r, &w);
	} else if (what < 55) {
		random_change(r, e);
	} else if (what < 80) {
		random_move(r, &w, e);
	} else if (what < 92) {
		assert_int_not_equal(do_unlink(r, e->parent, e->name), -1);
		SAY("%s unlink %s %llx\n", r->name, e->path, (unsigned long long)e->ino);
	} else if (what < 97) {
		remove_tree(r, &w, e);
	} else {
		assert_int_equal(lookups_add(r->lookups, e->ino), 0);
	}
	free(w.v);
}

static void
act_meanwhile(void *ctx, struct replica *r)
{
	(void)ctx;
	for (uint32_t n = rnd(4); n > 0; n--)
		random_act(r);
}

/* As collectors may, and who rekeys: files go to another place or are sealed anew, what nobody points at is dropped. */
static void
random_collection(struct replica *r)
{
	struct walk w = walk_replica(r);
	const struct walk_entry *e = random_entry(&w, DT_REG);

	if (e && rnd(2) && collector_reseal(r, e->ino, rnd(2) == 0))
		SAY("%s seals %llx anew\n", r->name, (unsigned long long)e->ino);
	else if (e && collector_move(r, e->ino))
		SAY("%s moves %llx\n", r->name, (unsigned long long)e->ino);
	if (rnd(2) && collector_drop(r))
		SAY("%s drops\n", r->name);
	free(w.v);
}

static void
run_seed(uint64_t seed)
{
	struct world w;

	random_state = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
	world_open(&w, 3);
	for (int step = 0; step < STEPS; step++) {
		struct replica *r = &w.r[rnd(3)];
		uint32_t what = rnd(100);

		if (what < 78) {
			random_act(r);
			continue;
		}
		if (what < 88) {
			SAY("%s pull\n", r->name);
			pull(r);
		} else if (what < 98) {
			SAY("%s push\n", r->name);
			push_with(r, act_meanwhile, NULL);
		} else if (what < 99) {
			random_collection(r);
			SAY("%s forget\n", r->name);
			do_forget(r);
		} else {
			SAY("%s restart\n", r->name);
			replica_restart(r);
		}
		check_replica(r);
	}
	SAY("settle\n");
	settle_world(&w);
	collector_check(&w);
	world_close(&w);
}

static uint64_t
from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void
replicas_that_do_anything_end_up_the_same_and_lose_nothing(void **state)
{
	uint64_t first = from_environment("SEED", 1);
	uint64_t count = from_environment("SEEDS", getenv("SEED") ? 1 : DEFAULT_SEEDS);

	(void)state;
	verbose = getenv("VERBOSE") != NULL;
	for (uint64_t seed = first; seed < first + count; seed++) {
		print_message("seed %llu\r", (unsigned long long)seed);
		fflush(stdout);
		run_seed(seed);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replicas_that_do_anything_end_up_the_same_and_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
