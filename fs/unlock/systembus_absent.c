/* A build without GIO. */
#include "systembus.h"

#include <errno.h>
#include <string.h>

err_t
systembus_watch_sleep(int end_fd, const struct systembus_sleep_hooks *hooks, char **why_out)
{
	(void)end_fd;
	(void)hooks;
	*why_out = strdup("this snugfs was built without GIO, and cannot ask the computer when it sleeps");
	return -ENOTSUP;
}

err_t
systembus_watch_network(int end_fd, const struct systembus_network_hooks *hooks, char **why_out)
{
	(void)end_fd;
	(void)hooks;
	*why_out = strdup("this snugfs was built without GIO, and cannot ask whether the network is metered");
	return -ENOTSUP;
}
