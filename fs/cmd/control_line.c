/* Both directions of the control socket. */
#include "control_line.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"

void
control_address(int dir_fd, struct sockaddr_un *out)
{
	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(out->sun_path, sizeof(out->sun_path), "/proc/self/fd/%d/" CONTROL_SOCKET, dir_fd);
}

static err_t
send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		data += sent;
		len -= (size_t)sent;
	}
	return 0;
}

err_t
control_write_line(int fd, const json_t *value)
{
	CLEANUP(free_ptr) char *text = json_dumps(value, JSON_COMPACT);
	err_t err;

	if (text == NULL)
		return -ENOMEM;
	err = send_all(fd, text, strlen(text));
	return err != 0 ? err : send_all(fd, "\n", 1);
}

/* end: in clock_ms(CLOCK_MONOTONIC), or -1. */
static err_t
wait_readable(int fd, int64_t end)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int ready;

	do {
		int64_t left = end < 0 ? -1 : end - clock_ms(CLOCK_MONOTONIC);

		ready = poll(&p, 1, end >= 0 && left < 0 ? 0 : (int)left);
	} while (ready < 0 && errno == EINTR);
	if (ready < 0)
		return -errno;
	return ready == 0 ? -ETIMEDOUT : 0;
}

static err_t
parse(const struct bytes *line, json_t **out)
{
	json_t *value = json_loadb((const char *)line->data, line->len, JSON_REJECT_DUPLICATES, NULL);

	if (!json_is_object(value)) {
		json_decref(value);
		return -EBADMSG;
	}
	*out = value;
	return 0;
}

err_t
control_read_line(int fd, size_t max_len, int timeout_ms, json_t **out)
{
	CLEANUP(bytes_clear) struct bytes line = { 0 };
	int64_t end = timeout_ms < 0 ? -1 : clock_ms(CLOCK_MONOTONIC) + timeout_ms;
	char piece[4096];
	err_t err;

	for (;;) {
		const char *newline;
		ssize_t got;

		if ((err = wait_readable(fd, end)) != 0)
			return err;
		/* Behind the line's end the next one may have begun, which is for the next call. */
		got = recv(fd, piece, sizeof(piece), MSG_PEEK);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got == 0 ? -ECONNRESET : -errno;
		newline = memchr(piece, '\n', (size_t)got);
		if (newline != NULL)
			got = newline - piece + 1;
		if ((got = recv(fd, piece, (size_t)got, 0)) <= 0)
			return got == 0 ? -ECONNRESET : -errno;
		if (line.len + (size_t)got > max_len)
			return -EBADMSG;
		if ((err = bytes_append(&line, piece, (size_t)got)) != 0)
			return err;
		if (newline != NULL)
			return parse(&line, out);
	}
}
