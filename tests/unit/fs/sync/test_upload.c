/* What is to be sent waits a moment for room in memory, and for no longer. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "upload_internal.h"

#include "../../await.h"

#define ID 7
#define LEN 1000

/* How the wait for room is answered: it ends at once, or as good as never. */
static bool is_patient;
static atomic_uint asked_ms;

struct timespec __real_clock_deadline(unsigned ms);
struct timespec __wrap_clock_deadline(unsigned ms);
struct timespec
__wrap_clock_deadline(unsigned ms)
{
	atomic_store(&asked_ms, ms);
	return __real_clock_deadline(is_patient ? 1000 * AWAIT_S : 0);
}

struct fixture {
	struct sync sync;
	struct upload upload;
	struct bytes object;
	pthread_t thread;
	atomic_bool added;
};

/* All that there is room for is being sent, by one thread. */
static int
setup(void **state)
{
	static struct fixture f;
	uint8_t *p;

	memset(&f, 0, sizeof(f));
	pthread_mutex_init(&f.sync.lock, NULL);
	f.upload = (struct upload){ .s = &f.sync, .lock = PTHREAD_MUTEX_INITIALIZER, .added = PTHREAD_COND_INITIALIZER,
		.moved = PTHREAD_COND_INITIALIZER, .working = 1 };
	for (size_t k = 0; k < ARRAY_LEN(f.upload.places); k++)
		f.upload.places[k].busy = true;
	atomic_store(&asked_ms, 0);
	*state = &f;
	return bytes_extend(&f.object, LEN, &p);
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t k = 0; k < ARRAY_LEN(f->upload.places); k++)
		bytes_clear(&f->upload.places[k].object);
	upload_list_clear(&f->upload.l);
	bytes_clear(&f->object);
	pthread_mutex_destroy(&f->sync.lock);
	return 0;
}

static void *
add(void *arg)
{
	const struct segment seg = { .id = ID, .size = LEN };
	struct fixture *f = arg;
	err_t err = upload_add(&f->upload, &seg, &f->object);

	atomic_store(&f->added, true);
	return err != 0 ? f : NULL;
}

static void
end_add(struct fixture *f)
{
	void *failed;

	pthread_join(f->thread, &failed);
	assert_null(failed);
}

static void
make_room(struct fixture *f)
{
	pthread_mutex_lock(&f->upload.lock);
	f->upload.places[2].busy = false;
	pthread_cond_broadcast(&f->upload.moved);
	pthread_mutex_unlock(&f->upload.lock);
}

static void
an_object_waits_for_room_and_is_sent_from_there(void **state)
{
	struct fixture *f = *state;

	is_patient = true;
	assert_int_equal(pthread_create(&f->thread, NULL, add, f), 0);
	AWAIT(atomic_load(&asked_ms) > 0 || atomic_load(&f->added));
	assert_false(atomic_load(&f->added));
	make_room(f);
	end_add(f);
	assert_int_equal(f->upload.places[2].seg, ID);
	assert_int_equal(f->upload.places[2].object.len, LEN);
	assert_int_equal(f->object.len, 0);
}

static void
an_object_that_finds_no_room_in_a_moment_is_read_again_later(void **state)
{
	struct fixture *f = *state;

	is_patient = false;
	assert_null(add(f));
	assert_in_range(asked_ms, 1, 1000);
	assert_int_equal(f->object.len, LEN);
	assert_int_equal(f->upload.l.count, 1);
	assert_int_equal(f->upload.left, 1);
}

static void
an_object_waits_for_no_room_where_nobody_sends(void **state)
{
	struct fixture *f = *state;

	is_patient = true;
	f->upload.working = 0;
	assert_int_equal(pthread_create(&f->thread, NULL, add, f), 0);
	AWAIT(atomic_load(&f->added));
	end_add(f);
	assert_int_equal(f->object.len, LEN);
}

static void
an_object_waits_for_no_room_when_sending_has_failed(void **state)
{
	struct fixture *f = *state;

	is_patient = true;
	assert_int_equal(pthread_create(&f->thread, NULL, add, f), 0);
	AWAIT(atomic_load(&asked_ms) > 0);
	upload_fail(&f->upload, -EIO);
	AWAIT(atomic_load(&f->added));
	end_add(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_object_waits_for_room_and_is_sent_from_there),
		TEST(an_object_that_finds_no_room_in_a_moment_is_read_again_later),
		TEST(an_object_waits_for_no_room_where_nobody_sends),
		TEST(an_object_waits_for_no_room_when_sending_has_failed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
