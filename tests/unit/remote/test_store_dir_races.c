/* A directory as the store of several who race, and of writers that are killed. */
#include "dir_store.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct race {
	pthread_barrier_t start;
	err_t result[2][RACE_ROUNDS];
};

struct runner {
	struct store *store;
	struct race *race;
	unsigned number;
};

static void *run(void *arg)
{
	struct runner *me = arg;

	for (unsigned i = 0; i < RACE_ROUNDS; i++) {
		uint8_t mine[64];
		char name[20];

		memset(mine, (int)me->number, sizeof(mine));
		(void)snprintf(name, sizeof(name), "c/%u", i);
		pthread_barrier_wait(&me->race->start);
		me->race->result[me->number][i] = store_create_if_absent(me->store, name, mine, sizeof(mine));
	}
	return NULL;
}

static struct race *new_race(bool shared)
{
	struct race *race = mmap(NULL, sizeof(*race), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_barrierattr_t attr;

	assert_ptr_not_equal(race, MAP_FAILED);
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE);
	assert_int_equal(pthread_barrier_init(&race->start, &attr, 2), 0);
	pthread_barrierattr_destroy(&attr);
	return race;
}

static void expect_one_winner_each(struct fixture *f, struct race *race)
{
	for (unsigned i = 0; i < RACE_ROUNDS; i++) {
		unsigned winner = race->result[0][i] == 0 ? 0 : 1;
		struct bytes got = {0};
		char name[20];

		(void)snprintf(name, sizeof(name), "c/%u", i);
		assert_int_equal(race->result[winner][i], 0);
		assert_int_equal(race->result[1 - winner][i], -EEXIST);
		assert_int_equal(store_get(f->store, name, 64, &got), 0);
		assert_int_equal(got.len, 64);
		for (size_t k = 0; k < got.len; k++)
			assert_int_equal(got.data[k], winner);
		bytes_clear(&got);
	}
	assert_int_equal(count_files(f, "tmp"), 0);
}

static void of_two_racing_threads_exactly_one_creates(void **state)
{
	struct fixture *f = *state;
	struct race *race = new_race(false);
	struct runner runners[2] = {{f->store, race, 0}, {f->store, race, 1}};
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run, &runners[i]), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	expect_one_winner_each(f, race);
	munmap(race, sizeof(*race));
}

static void of_two_racing_processes_exactly_one_creates(void **state)
{
	struct fixture *f = *state;
	struct race *race = new_race(true);
	pid_t children[2];

	for (unsigned i = 0; i < 2; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			struct runner me = {NULL, race, i};

			if (store_dir_open(f->path, false, &me.store, NULL) != 0)
				_exit(1);
			(void)run(&me);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < 2; i++) {
		int status = 0;

		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	expect_one_winner_each(f, race);
	munmap(race, sizeof(*race));
}

/* Each object says its number and is full of it, so that any part of another would show. */
static _Noreturn void put_for_ever(const struct fixture *f, unsigned round)
{
	uint8_t *data = malloc(BIG);

	for (unsigned i = 0; data; i++) {
		char name[40];

		memset(data, (int)(i % 251), BIG);
		(void)snprintf(name, sizeof(name), "s/%02x/%u-%u", i % 7, round, i);
		if (store_create_if_absent(f->store, name, data, BIG) != 0)
			break;
		(void)snprintf(name, sizeof(name), "b/%u", i % 3);
		memset(data, (int)((round + i) % 251), BIG);
		if (store_put(f->store, name, data, BIG) != 0)
			break;
	}
	_exit(1);
}

static err_t check_whole(void *ctx, const char *name, uint64_t size)
{
	struct fixture *f = ctx;
	struct bytes got = {0};

	assert_int_equal(size, BIG);
	assert_int_equal(store_get(f->store, name, BIG, &got), 0);
	assert_int_equal(got.len, BIG);
	assert_int_equal(memcmp(got.data, got.data + 1, BIG - 1), 0);
	if (name[0] == 's')
		assert_int_equal(got.data[0], atoi(strrchr(name, '-') + 1) % 251);
	bytes_clear(&got);
	return 0;
}

static void a_writer_that_is_killed_leaves_only_whole_objects(void **state)
{
	struct fixture *f = *state;
	struct seen s = {0};

	for (unsigned round = 0; round < KILL_ROUNDS; round++) {
		struct timespec pause = {.tv_nsec = 3000000L + (long)round * 2500000L};
		int status = 0;
		pid_t child = fork();

		if (child == 0)
			put_for_ever(f, round);
		(void)nanosleep(&pause, NULL);
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(store_list(f->store, "", check_whole, f), 0);
		s.count++;
	}
	assert_int_equal(s.count, KILL_ROUNDS);
	/* What it left does not stand in the way of the next. */
	assert_int_equal(store_put(f->store, "b/0", text("x"), 1), 0);
	expect_object(f->store, "b/0", "x");
}

struct user {
	struct store *store;
	unsigned number;
	err_t err;
};

static void *use(void *arg)
{
	struct user *me = arg;

	for (unsigned i = 0; i < 40 && me->err == 0; i++) {
		struct bytes got = {0};
		char name[40];

		(void)snprintf(name, sizeof(name), "s/%02x/%u-%u", i % 8, me->number, i);
		me->err = store_put(me->store, name, text("shared"), 6);
		if (me->err == 0)
			me->err = store_get(me->store, name, 6, &got);
		if (me->err == 0 && i % 2 == 0)
			me->err = store_remove(me->store, name);
		bytes_clear(&got);
	}
	return NULL;
}

static void many_threads_share_one_store(void **state)
{
	struct fixture *f = *state;
	struct user users[4];
	pthread_t threads[4];
	struct seen s = {0};

	for (unsigned i = 0; i < 4; i++) {
		users[i] = (struct user){f->store, i, 0};
		assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(users[i].err, 0);
	}
	assert_int_equal(store_list(f->store, "s/", see, &s), 0);
	assert_int_equal(s.count, 80);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(of_two_racing_threads_exactly_one_creates),
		T(of_two_racing_processes_exactly_one_creates),
		T(a_writer_that_is_killed_leaves_only_whole_objects),
		T(many_threads_share_one_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
