/* Answers of more than one value (fuse_private.h). */
#define FUSE_USE_VERSION 314
#include "fuse_private.h"

#include <fuse_lowlevel.h>

void
fuse_answer_xattr(fuse_req_t req, err_t err, const char *data, size_t size, size_t len)
{
	if (err)
		fuse_reply_err(req, -err);
	else if (size == 0)
		fuse_reply_xattr(req, len);
	else
		fuse_reply_buf(req, data, len);
}

struct fuse_answer_list
fuse_answer_begin(fuse_req_t req, size_t size, bool plus)
{
	return (struct fuse_answer_list){ .req = req, .plus = plus, .data = fuse_wire_reply_buffer(),
		.max = size < FUSE_DATA_MAX ? size : FUSE_DATA_MAX };
}

int
fuse_answer_add(struct fuse_answer_list *l, const char *name, const struct fuse_entry_param *entry, uint64_t cookie)
{
	size_t room = l->max - l->len, need;

	if (l->plus)
		need = fuse_add_direntry_plus(l->req, l->data + l->len, room, name, entry, (off_t)cookie);
	else
		need = fuse_add_direntry(l->req, l->data + l->len, room, name, &entry->attr, (off_t)cookie);
	if (need > room)
		return 1;
	l->len += need;
	return 0;
}

void
fuse_answer_list(const struct fuse_answer_list *l, err_t err)
{
	if (err && l->len == 0)
		fuse_reply_err(l->req, -err);
	else
		fuse_reply_buf(l->req, l->data, l->len);
}
