/* The kernel's messages are only looked at for their kind: what came is found out by trying the store. */
#include "netwatch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_LEN 8192

int
netwatch_open(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0)
		return -1;
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* Routes come and go in tables of no account here, addresses are renewed: only what is new in the main table, or is an address. */
static bool
is_news(struct nlmsghdr *h)
{
	const struct rtmsg *route = NLMSG_DATA(h);

	if (h->nlmsg_type == RTM_NEWADDR)
		return true;
	return h->nlmsg_type == RTM_NEWROUTE && h->nlmsg_len >= NLMSG_LENGTH(sizeof(*route)) &&
	    route->rtm_table == RT_TABLE_MAIN && route->rtm_dst_len == 0;
}

bool
netwatch_has_news(int fd)
{
	_Alignas(struct nlmsghdr) char buffer[MESSAGE_LEN];
	bool news = false;
	ssize_t n;

	while (fd >= 0 && ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0 || (n < 0 && (errno == EINTR || errno == ENOBUFS)))) {
		struct nlmsghdr *h = (struct nlmsghdr *)(void *)buffer;

		if (n < 0) {
			news = news || errno == ENOBUFS;
			continue;
		}
		for (int left = (int)n; NLMSG_OK(h, (unsigned)left); h = NLMSG_NEXT(h, left))
			news = news || is_news(h);
	}
	return news;
}

int
netwatch_open_mounts(void)
{
	return open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
}

/* The kernel notes for each descriptor what it has told (proc(5)). */
bool
netwatch_has_new_mounts(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLPRI };

	return fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & POLLPRI) != 0;
}
