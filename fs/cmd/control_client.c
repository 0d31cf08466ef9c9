/* The commands' end of the control socket. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "control.h"
#include "control_line.h"
#include "handles.h"

#define ANSWER_MAX_LEN (4u << 20)
#define CALL_TIMEOUT_MS 20000
#define SEND_TIMEOUT_S 10

err_t
control_connect(const char *dir, int *fd_out)
{
	CLEANUP(handle_close_fd) int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(handle_close_fd) int fd = -1;
	/* Also of the connecting: a daemon that hangs must not make others hang. */
	const struct timeval limit = { .tv_sec = SEND_TIMEOUT_S };
	struct sockaddr_un address;

	if (dir_fd < 0)
		return -errno;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0)
		return -errno;
	control_address(dir_fd, &address);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		return -errno;
	*fd_out = fd;
	fd = -1;
	return 0;
}

pid_t
control_peer(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0 ? peer.pid : -1;
}

err_t
control_send(int fd, json_t *request)
{
	bool whole = request != NULL && json_object_set_new(request, "version", json_integer(CONTROL_VERSION)) == 0;
	err_t err = whole ? control_write_line(fd, request) : -ENOMEM;

	json_decref(request);
	return err;
}

err_t
control_receive(int fd, int timeout_ms, json_t **out)
{
	return control_read_line(fd, ANSWER_MAX_LEN, timeout_ms, out);
}

err_t
control_call(const char *dir, json_t *request, json_t **out)
{
	CLEANUP(handle_close_fd) int fd = -1;
	err_t err = control_connect(dir, &fd);

	if (err != 0) {
		json_decref(request);
		return err;
	}
	err = control_send(fd, request);
	return err != 0 ? err : control_receive(fd, CALL_TIMEOUT_MS, out);
}

bool
control_take_version(json_t *answer)
{
	bool same = json_integer_value(json_object_get(answer, "version")) == CONTROL_VERSION;

	(void)json_object_del(answer, "version");
	return same;
}

bool
control_is_ok(const json_t *answer, const char **text_out)
{
	if (json_is_true(json_object_get(answer, "ok")))
		return true;
	*text_out = json_string_value(json_object_get(answer, "text"));
	if (*text_out == NULL)
		*text_out = "the background process of this folder gave no answer that can be understood";
	return false;
}
