/* A witness that does not answer is in nobody's way. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine.h"
#include "sides.h"
#include "witness.h"

/* Takes connections, and says nothing. */
static int
listen_silently(char url[static 64])
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	snprintf(url, 64, "s3:http://127.0.0.1:%u/bucket", ntohs(address.sin_port));
	return fd;
}

static void
to_stop_syncing_ends_what_the_witness_is_asked(void **state)
{
	struct fixture *f = *state;
	struct vault *v = f->a.v;
	struct witness_status st;
	char url[64];
	int listener = listen_silently(url);
	struct pollfd asked = { .fd = listener, .events = POLLIN };

	assert_int_equal(setenv("AWS_ACCESS_KEY_ID", "key", 1), 0);
	assert_int_equal(setenv("AWS_SECRET_ACCESS_KEY", "secret", 1), 0);
	meta_lock(v->meta);
	assert_int_equal(meta_kv_put(v->meta, DB_KEY_WITNESS, (const uint8_t *)url, strlen(url)), 0);
	meta_unlock(v->meta);
	assert_int_equal(sync_start(f->a.sync), 0);
	assert_int_equal(poll(&asked, 1, 60000), 1);
	sync_stop(f->a.sync);
	witness_get_status(f->a.sync, &st);
	assert_string_equal(st.url, url);
	assert_string_equal(st.problem, ""); /* it would be one, had it been waited for */
	close(listener);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(to_stop_syncing_ends_what_the_witness_is_asked, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
