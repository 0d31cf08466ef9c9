/* Pushing and pulling until nothing is left, while somebody looks on. */
#include "drain.h"

#include <fcntl.h>
#include <unistd.h>

#include "handles.h"
#include "mountstate.h"
#include "session.h"

/* What programs have written and the kernel still keeps is to go, too. */
static void
flush_kernel(const char *mountpoint)
{
	CLEANUP(handle_close_fd) int fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		(void)syncfs(fd); /* an error reaches whoever wrote */
}

int
drain_place(const struct options *o, const struct place *p)
{
	CLEANUP(handle_free_json) json_t *answer = NULL;

	if (mountstate_get(p->mountpoint) == MOUNT_OURS)
		flush_kernel(p->mountpoint);
	return session_call(o, p, json_pack("{s:s}", "op", "sync"), &answer);
}
