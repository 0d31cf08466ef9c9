/*
 * netwatch.h: has a network come, or a disk?  Listens to what the kernel tells of links, addresses and routes (rtnetlink(7)), and of
 * mounts.
 */
#ifndef SNUGFS_NETWATCH_H
#define SNUGFS_NETWATCH_H

#include <stdbool.h>

/* A descriptor that never blocks, or -1: nothing is told here, and nobody minds. */
int netwatch_open(void);
/* Has an address or a route come since the last call, or was more told than could be kept?  fd may be -1. */
bool netwatch_has_news(int fd);

/* The same of mounts: has one come or gone since the last call? */
int netwatch_open_mounts(void);
bool netwatch_has_new_mounts(int fd);

#endif
