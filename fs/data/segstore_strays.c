/* segstore_strays.c: pieces that are on the disk though nothing says so: an earlier run ended before it could save or remove them. */
#include "segstore_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "pieces.h"

/* A file may take so much more than is in it: a file system's own notes. */
#define SLACK_LEN (64u << 10)
/* So many wait for one commit. */
#define BATCH_MAX 64u

/* What is known to be here; false: the file of that segment has nothing that could be had again. */
static bool
look_up(struct segstore *ss, uint64_t seg, uint64_t *size_out, uint64_t *here_out)
{
	struct segment row;

	meta_lock(ss->meta);

	err_t e = meta_segment_look(ss->meta, seg, &row);

	if (!e && row.kind == SEGMENT_SETTLED && row.in_store) {
		pthread_mutex_lock(&ss->pieces_lock);

		const struct part *p = segstore_find_part(ss, seg);

		*size_out = row.size;
		*here_out = p ? p->here : row.local ? pieces_all(row.size) : row.present;
		pthread_mutex_unlock(&ss->pieces_lock);
	} else {
		e = -ENOENT;
	}
	meta_unlock(ss->meta);
	return !e;
}

/* Does its file take more than that? */
static bool
has_strays(struct segstore *ss, uint64_t seg)
{
	char name[SEGFILES_NAME_LEN];
	uint64_t size, here;
	struct stat st;

	if (!look_up(ss, seg, &size, &here) || here == pieces_all(size))
		return false;
	segfiles_name(seg, name);
	if (fstatat(ss->dirfd, name, &st, AT_SYMLINK_NOFOLLOW))
		return false;
	return !here || (uint64_t)st.st_blocks * 512 > pieces_bytes(size, here) + SLACK_LEN;
}

static err_t
note_strays(struct segstore *ss, const char *name)
{
	uint64_t seg;

	if (!segfiles_parse_name(name, &seg) || !has_strays(ss, seg))
		return 0;

	uint64_t *grown = reallocarray(ss->strays, ss->stray_count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	ss->strays = grown;
	ss->strays[ss->stray_count++] = seg;
	return 0;
}

/* The list is left with those that somebody uses; after a failure with all that were to go. */
static err_t
give_back(struct segstore *ss)
{
	size_t kept = 0;
	err_t e = 0;

	for (size_t at = 0; at < ss->stray_count;) {
		struct segstore_leaving v[BATCH_MAX];
		size_t count = 0;

		for (; count < BATCH_MAX && at < ss->stray_count; at++)
			if (has_strays(ss, ss->strays[at]))
				v[count++] = (struct segstore_leaving){.seg = ss->strays[at], .strays = true};
		if (!e)
			e = segstore_drop_pieces(ss, v, count);
		for (size_t k = 0; k < count; k++)
			if (e || !v[k].part)
				ss->strays[kept++] = v[k].seg;
	}
	ss->stray_count = kept;
	return e;
}

err_t
segstore_give_back_strays(struct segstore *ss)
{
	err_t e = 0;

	if (!ss->strays_known) {
		ss->stray_count = 0;
		e = segstore_each_file(ss, note_strays);
		ss->strays_known = !e;
	}
	return e ? e : give_back(ss);
}
