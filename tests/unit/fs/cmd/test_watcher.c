/* What the daemon hears of a watcher: words, why there are none, its end. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "tell.h"
#include "watcher.h"

/* Only what runs in the watcher itself would tell anything. */
const char *
tell_reason(err_t err)
{
	(void)err;
	return "";
}

struct fixture {
	struct watcher w;
	int there;
};

static int
set_up(void **state)
{
	static struct fixture f;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return -1;
	f = (struct fixture){ .w = { .fd = fds[0], .pid = -1 }, .there = fds[1] };
	*state = &f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;

	watcher_end(&f->w);
	return f->there >= 0 ? close(f->there) : 0;
}

static void
say(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->there, text, strlen(text)), (ssize_t)strlen(text));
}

static void
end(struct fixture *f)
{
	assert_int_equal(close(f->there), 0);
	f->there = -1;
}

static void
words_come_one_by_one_until_the_end(void **state)
{
	struct fixture *f = *state;
	char word, *why = (char *)1;

	assert_int_equal(watcher_hear(&f->w, &word, &why), -EAGAIN);
	say(f, "12");
	assert_int_equal(watcher_hear(&f->w, &word, &why), 0);
	assert_int_equal(word, '1');
	assert_int_equal(watcher_hear(&f->w, &word, &why), 0);
	assert_int_equal(word, '2');
	assert_int_equal(watcher_hear(&f->w, &word, &why), -EAGAIN);
	end(f);
	assert_int_equal(watcher_hear(&f->w, &word, &why), -ENOTCONN);
	assert_null(why);
}

static void
why_it_cannot_watch_is_heard_to_its_end(void **state)
{
	struct fixture *f = *state;
	char word, *why = NULL;

	say(f, "fthere is no bus");
	end(f);
	assert_int_equal(watcher_hear(&f->w, &word, &why), -ENOTCONN);
	assert_string_equal(why, "there is no bus");
	free(why);
}

static void
a_watcher_that_is_stopped_in_the_middle_of_that_holds_up_nobody(void **state)
{
	struct fixture *f = *state;
	char word, *why = NULL;

	say(f, "fthere is n");
	assert_int_equal(watcher_hear(&f->w, &word, &why), -ENOTCONN);
	assert_string_equal(why, "there is n");
	free(why);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(words_come_one_by_one_until_the_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(why_it_cannot_watch_is_heard_to_its_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_watcher_that_is_stopped_in_the_middle_of_that_holds_up_nobody, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
