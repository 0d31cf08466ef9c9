/* Fuzzes what somebody writes to the control socket. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control_line.h"
#include "fuzz.h"

#define LINE_MAX_LEN 4096u

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int pair[2];
	err_t err = 0;

	if (len > 32768) /* what a socket takes without a reader */
		return 0;
	FUZZ_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	FUZZ_REQUIRE(send(pair[0], data, len, MSG_NOSIGNAL) == (ssize_t)len && shutdown(pair[0], SHUT_WR) == 0);
	for (unsigned lines = 0; err == 0; lines++) {
		json_t *line = NULL;

		FUZZ_REQUIRE(lines <= len);
		err = control_read_line(pair[1], LINE_MAX_LEN, -1, &line);
		FUZZ_REQUIRE(err == 0 ? json_is_object(line) : line == NULL);
		FUZZ_REQUIRE(err == 0 || err == -EBADMSG || err == -ECONNRESET);
		json_decref(line);
	}
	close(pair[0]);
	close(pair[1]);
	return 0;
}
