/* A build without GIO. */
#include "logind.h"

#include <errno.h>
#include <string.h>

err_t
logind_watch(int end_fd, const struct logind_hooks *hooks, char **why_out)
{
	(void)end_fd;
	(void)hooks;
	*why_out = strdup("this snugfs was built without GIO, and cannot ask the computer when it sleeps");
	return -ENOTSUP;
}
