/* The nodes and names of the ceiling; see ceiling_tree.h. */
#include "ceiling_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

pthread_rwlock_t names_lock = PTHREAD_RWLOCK_INITIALIZER;
static uint64_t last_serial; /* names_lock */
static const uint8_t hole[PAGE_LEN];

struct timespec
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t;
}

void
node_init(struct node *n, mode_t mode, dev_t rdev, uid_t uid, gid_t gid)
{
	pthread_rwlock_init(&n->lock, NULL);
	n->attr.st_ino = (ino_t)(uintptr_t)n;
	n->attr.st_mode = mode;
	n->attr.st_nlink = S_ISDIR(mode) ? 2 : 1;
	n->attr.st_uid = uid;
	n->attr.st_gid = gid;
	n->attr.st_rdev = rdev;
	n->attr.st_blksize = PAGE_LEN;
	n->attr.st_atim = n->attr.st_mtim = n->attr.st_ctim = now();
}

void
node_free(struct node *n)
{
	for (size_t i = 0; i < n->page_count; i++)
		free(n->pages[i]);
	free(n->pages);
	free(n->target);
	pthread_rwlock_destroy(&n->lock);
	free(n);
}

struct node *
node_new(mode_t mode, dev_t rdev, uid_t uid, gid_t gid, const char *target)
{
	struct node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	node_init(n, mode, rdev, uid, gid);
	if (!target)
		return n;
	n->target = strdup(target);
	n->attr.st_size = (off_t)strlen(target);
	if (n->target)
		return n;
	node_free(n);
	return NULL;
}

void
node_reap(struct node *n)
{
	if (n->attr.st_nlink == 0 && n->lookups == 0)
		node_free(n);
}

struct stat
node_attr(struct node *n)
{
	struct stat st;

	pthread_rwlock_rdlock(&n->lock);
	st = n->attr;
	pthread_rwlock_unlock(&n->lock);
	return st;
}

void
node_touch(struct node *n, int links, bool mtime)
{
	pthread_rwlock_wrlock(&n->lock);
	n->attr.st_nlink += (nlink_t)links;
	n->attr.st_ctim = now();
	if (mtime)
		n->attr.st_mtim = n->attr.st_ctim;
	pthread_rwlock_unlock(&n->lock);
}

struct entry *
name_find(const struct node *dir, const char *name)
{
	struct entry *e;

	HASH_FIND_STR(dir->entries, name, e);
	return e;
}

int
name_add(struct node *dir, const char *name, struct node *n)
{
	size_t len = strlen(name);
	struct entry *e = malloc(sizeof(*e) + len + 1);

	if (!e)
		return ENOMEM;
	memcpy(e->name, name, len + 1);
	e->node = n;
	e->serial = ++last_serial;
	HASH_ADD_KEYPTR(hh, dir->entries, e->name, len, e);
	if (!dir->resume)
		dir->resume = e;
	node_touch(dir, S_ISDIR(n->attr.st_mode) ? 1 : 0, true);
	return 0;
}

/* A name less: the last one of a directory or file ends it as soon as nobody uses it. */
static void
node_drop(struct node *n)
{
	node_touch(n, S_ISDIR(n->attr.st_mode) ? -2 : -1, false);
	node_reap(n);
}

/* The entry goes; its node keeps its links. */
static void
name_forget(struct node *dir, struct entry *e)
{
	if (dir->resume == e)
		dir->resume = e->hh.next;
	node_touch(dir, S_ISDIR(e->node->attr.st_mode) ? -1 : 0, true);
	HASH_DEL(dir->entries, e);
	free(e);
}

void
name_remove(struct node *dir, struct entry *e)
{
	struct node *n = e->node;

	name_forget(dir, e);
	node_drop(n);
}

static void
name_replace(struct node *dir, struct entry *e, struct node *n)
{
	struct node *old = e->node;

	e->node = n;
	node_touch(dir, 0, true);
	node_drop(old);
}

struct entry *
name_after(struct node *dir, uint64_t position)
{
	struct entry *e = dir->entries;

	if (position != 0 && position == dir->resume_after)
		return dir->resume;
	while (e && e->serial <= position)
		e = e->hh.next;
	return e;
}

int
name_move(struct node *from, const char *name, struct node *to, const char *newname, bool replace)
{
	struct entry *e = name_find(from, name), *old = name_find(to, newname);
	struct node *n;
	int err = 0;

	if (!e)
		return ENOENT;
	if (old && !replace)
		return EEXIST;
	if (old && old->node->entries)
		return ENOTEMPTY;
	n = e->node;
	if (old && old->node == n)
		return 0;
	if (old)
		name_replace(to, old, n);
	else
		err = name_add(to, newname, n);
	if (err == 0) {
		name_forget(from, e);
		node_touch(n, 0, false);
	}
	return err;
}

void
node_resize(struct node *n, off_t size)
{
	size_t keep = ((size_t)size + PAGE_LEN - 1) / PAGE_LEN;
	size_t rest = (size_t)size % PAGE_LEN;

	for (size_t i = keep; i < n->page_count; i++) {
		free(n->pages[i]);
		n->pages[i] = NULL;
	}
	if (rest != 0 && keep <= n->page_count && n->pages[keep - 1])
		memset(n->pages[keep - 1] + rest, 0, PAGE_LEN - rest);
	n->attr.st_size = size;
}

/* With the node's lock for writing: room for pages up to `count`. */
static int
node_reserve(struct node *n, size_t count)
{
	size_t wanted = count > 2 * n->page_count ? count : 2 * n->page_count;
	uint8_t **pages;

	if (count <= n->page_count)
		return 0;
	pages = realloc(n->pages, wanted * sizeof(*pages));
	if (!pages)
		return ENOMEM;
	memset(pages + n->page_count, 0, (wanted - n->page_count) * sizeof(*pages));
	n->pages = pages;
	n->page_count = wanted;
	return 0;
}

/* With the node's lock for writing, and room for it: part of one page. */
static int
node_write_page(struct node *n, size_t at, const char *data, size_t len)
{
	uint8_t **page = &n->pages[at / PAGE_LEN];

	if (!*page) {
		*page = len == PAGE_LEN ? malloc(PAGE_LEN) : calloc(1, PAGE_LEN);
		if (!*page)
			return ENOMEM;
	}
	memcpy(*page + at % PAGE_LEN, data, len);
	return 0;
}

int
node_write(struct node *n, const char *data, size_t len, off_t off)
{
	size_t at = (size_t)off, end = at + len;
	int err = node_reserve(n, (end + PAGE_LEN - 1) / PAGE_LEN);

	while (err == 0 && at < end) {
		size_t room = PAGE_LEN - at % PAGE_LEN, part = room < end - at ? room : end - at;

		err = node_write_page(n, at, data + (at - (size_t)off), part);
		at += part;
	}
	if (err == 0 && (off_t)end > n->attr.st_size) {
		n->attr.st_size = (off_t)end;
		n->attr.st_blocks = (n->attr.st_size + 511) / 512;
	}
	return err;
}

const uint8_t *
node_page(const struct node *n, size_t page)
{
	return page < n->page_count && n->pages[page] ? n->pages[page] : hole;
}
