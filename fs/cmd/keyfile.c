/* A key file, read whole.  It may be a pipe. */
#include "keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "devicefile.h"
#include "handles.h"
#include "tell.h"

int
keyfile_read(const char *path, struct bytes *out)
{
	CLEANUP(handle_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *at;
	ssize_t got;

	if (fd < 0)
		return tell_failure("the key file %s cannot be read: %s", path, tell_reason(-errno));
	/* All of the room at once: a buffer that grows would leave copies behind. */
	if (bytes_extend(out, DEVICEFILE_KEY_FILE_MAX + 1, &at) != 0)
		return tell_failure("not enough memory");
	out->len = 0;
	do {
		got = read(fd, at + out->len, DEVICEFILE_KEY_FILE_MAX + 1 - out->len);
		out->len += got > 0 ? (size_t)got : 0;
	} while ((got > 0 && out->len <= DEVICEFILE_KEY_FILE_MAX) || (got < 0 && errno == EINTR));
	if (got < 0)
		return tell_failure("the key file %s cannot be read: %s", path, tell_reason(-errno));
	if (out->len < DEVICEFILE_KEY_FILE_MIN || out->len > DEVICEFILE_KEY_FILE_MAX)
		return tell_failure("%s is no key file: one has 32 bytes to 1 MiB, for example from \"head -c 64 /dev/urandom\"", path);
	return 0;
}
