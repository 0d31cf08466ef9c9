/* A batch of chunks: read, sealed anew, uploaded, named by one commit; then what only they pointed into leaves the disk. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "extents.h"
#include "log.h"
#include "packer.h"
#include "pieces.h"
#include "rekey_internal.h"
#include "settle.h"

/* If others commit in between. */
#define COMMIT_TRIES 5u
/* A piece that comes slowly: each waits as long as a reader does. */
#define READ_TRIES 4u

static void
free_item(struct rekey_item *it)
{
	extent_list_clear(&it->before);
	extent_list_clear(&it->after);
}

void
rekey_batch_clear(struct rekey_batch *b)
{
	for (size_t k = 0; k < b->count; k++)
		free_item(&b->v[k]);
	free(b->v);
	for (int here = 0; here < 2; here++) {
		segstore_build_abandon(b->build[here]);
		numset_clear(&b->made[here]);
	}
}

/* Reading. */

/* A file as it was under the lock: the keys of its extents, and the one to seal under. */
struct source {
	struct writing_key writing;
	struct file_key *keys;
	uint32_t count;
};

static void
source_clear(struct source *f)
{
	writing_key_wipe(&f->writing);
	free(f->keys);
}

static err_t
source_open(struct rekey_batch *b, uint64_t ino, struct source *f)
{
	struct vault *v = b->r->s->v;
	struct inode *i;
	err_t err = content_writing_key(v->content, ino, &f->writing);

	if (err != 0)
		return err;
	meta_lock(v->meta);
	err = meta_inode_get(v->meta, ino, &i);
	if (err == 0 && (f->keys = calloc((size_t)i->key_count + 1, sizeof(*f->keys))) == NULL)
		err = -ENOMEM;
	if (err == 0 && i->key_count > 0)
		memcpy(f->keys, i->keys, i->key_count * sizeof(*f->keys));
	f->count = err == 0 ? i->key_count : 0;
	meta_unlock(v->meta);
	return err;
}

static const struct file_key *
find_key(const struct source *f, uint32_t version)
{
	for (uint32_t k = 0; k < f->count; k++)
		if (f->keys[k].version == version)
			return &f->keys[k];
	return NULL;
}

/* Just what is missing of it: nobody is going to read on behind it. */
static err_t
bring(struct rekey_batch *b, const struct extent *x)
{
	struct vault *v = b->r->s->v;
	struct segment row;
	uint64_t missing = 0;
	err_t err;

	meta_lock(v->meta);
	err = meta_segment_get(v->meta, x->seg, &row);
	meta_unlock(v->meta);
	if (err == 0)
		err = segstore_missing(v->segments, x->seg, pieces_touching(row.size, x->seg_off, x->stored_len), &missing);
	return err != 0 || missing == 0 ? err : fetcher_bring_later(content_fetcher(v->content), x->seg, missing);
}

/*
 * All that was sealed as one, into the packer's buffer.  Settled segments never change, so no file is locked while this waits for
 * the store; what has come is held until it is read.
 */
static err_t
read_sealed(struct rekey_batch *b, const struct source *f, const struct file_key *key, const struct extent *x,
    struct packer *p)
{
	struct vault *v = b->r->s->v;
	struct extent whole = *x;
	struct part *held;
	err_t err = segstore_hold(v->segments, x->seg, &held);

	if (err != 0)
		return err;
	whole.off = x->x_off;
	whole.len = x->x_len;
	err = -EAGAIN;
	for (unsigned try = 0; try < READ_TRIES && err == -EAGAIN; try++) {
		if ((err = rekey_step(b->r)) == 0 && (err = bring(b, x)) == 0)
			err = content_open_extent(v->content, f->writing.origin, key, &whole, whole.off, whole.len,
			    p->plain + whole.off % CHUNK_LEN);
	}
	segstore_let_go(v->segments, held);
	return err;
}

/* Sealing. */

static err_t
finish_build(struct rekey_batch *b, int here)
{
	struct segment made;
	err_t err;

	if (b->build[here] == NULL)
		return 0;
	err = segstore_build_finish(STEAL(b->build[here]), &made);
	return err != 0 ? err : numset_add(&b->made[here], made.id);
}

/* What the packer has sealed goes to a segment. */
static err_t
place(struct rekey_batch *b, const struct packer *p, int here, struct extent *x)
{
	uint32_t len = (uint32_t)p->sealed.len;
	err_t err = 0;

	if (b->build[here] != NULL && segstore_build_len(b->build[here]) + len > SETTLE_SEGMENT_LEN)
		err = finish_build(b, here);
	if (err == 0 && b->build[here] == NULL)
		err = segstore_build_begin(b->r->s->v->segments, &b->build[here]);
	if (err == 0)
		err = segstore_build_add(b->build[here], p->sealed.data, len, &x->seg_off);
	if (err == 0)
		x->seg = segstore_build_id(b->build[here]);
	return err;
}

static err_t
seal_extent(struct rekey_batch *b, const struct source *f, const struct extent *x, struct packer *p, struct extent *out)
{
	const struct file_key *key = find_key(f, x->key_version);
	struct extent sealed;
	int here = rekey_was_here(b->r, x);
	err_t err;

	if (key == NULL)
		return -EBADMSG;
	bytes_reset(&p->sealed);
	if ((err = read_sealed(b, f, key, x, p)) != 0 ||
	    (err = packer_seal(p, &f->writing, x->x_off, x->x_len, false, &sealed)) != 0 || (err = place(b, p, here, &sealed)) != 0)
		return err;
	sealed.off = x->off;
	sealed.len = x->len;
	*out = sealed;
	return 0;
}

static err_t
seal_item(struct rekey_batch *b, struct rekey_item *it, struct packer *p)
{
	CLEANUP(source_clear) struct source f = { 0 };
	err_t err = source_open(b, it->ino, &f);

	if (err == -ENOENT)
		return 0; /* the file is gone */
	it->key = f.writing.stored;
	for (uint32_t k = 0; err == 0 && k < it->before.count; k++) {
		const struct extent *x = &it->before.v[k];
		const struct file_key *key = find_key(&f, x->key_version);
		uint32_t twin = k;
		bool again = rekey_has_twin(&it->before, k, &twin);
		struct extent now = again ? it->after.v[twin] : *x;

		if (again) { /* it is sealed once */
			now.off = x->off;
			now.len = x->len;
		} else if (key == NULL || key->epoch < b->r->epoch) {
			err = seal_extent(b, &f, x, p, &now);
		}
		if (err == 0)
			err = extent_list_append(&it->after, &now);
	}
	if (err != 0)
		extent_list_clear(&it->after);
	return err;
}

static void
complain(struct rekey_batch *b, const struct rekey_item *it, err_t err)
{
	struct meta *m = b->r->s->v->meta;
	char path[1024];

	meta_lock(m);
	meta_path(m, it->ino, path, sizeof(path));
	meta_unlock(m);
	log_warn("%s: the data at offset %llu stays under its old key: %s", path, (unsigned long long)(it->no * CHUNK_LEN),
	    err == -EBADMSG ? "it is damaged" : "it can't be read");
}

static err_t
seal_items(struct rekey_batch *b)
{
	CLEANUP(packer_clear) struct packer p = { 0 };
	err_t err = packer_init(&p);

	for (size_t k = 0; err == 0 && k < b->count; k++) {
		err = seal_item(b, &b->v[k], &p);
		if (err == -EIO) { /* a disk, or the network: it is tried again, and is not done before */
			complain(b, &b->v[k], err);
			b->r->busy++;
			err = 0;
		} else if (err == -EBADMSG || err == -ENODATA || err == -ENOENT) {
			complain(b, &b->v[k], err);
			b->r->damaged++;
			err = 0;
		}
	}
	for (int here = 0; err == 0 && here < 2; here++)
		err = finish_build(b, here);
	return err == -EAGAIN ? report_store(b->r->s, err) : err;
}

/* Uploading. */

static err_t
upload_one(void *ctx, uint64_t seg)
{
	struct rekey_batch *b = ctx;
	struct meta *m = b->r->s->v->meta;
	struct segment row;
	err_t err = rekey_step(b->r);

	if (err != 0)
		return err;
	meta_lock(m);
	err = meta_segment_get(m, seg, &row);
	meta_unlock(m);
	return err != 0 ? err : upload_segment(b->r->s, &row);
}

static err_t
upload_made(struct rekey_batch *b)
{
	err_t err = numset_each(b->made[0], upload_one, b);

	return err != 0 ? err : numset_each(b->made[1], upload_one, b);
}

/* Saying so. */

static bool
is_as_it_was(const struct extent *now, const struct extent *before)
{
	return now->off == before->off && now->len == before->len && now->key_version == before->key_version &&
	    memcmp(now->x_id, before->x_id, sizeof(now->x_id)) == 0;
}

/* The chunk as it is to be.  What a collector has moved meanwhile is the same; -EAGAIN: it is another by now. */
static err_t
list_item(const struct rekey_item *it, const struct extent_list *now, struct extent_list *out)
{
	err_t err = now->count == it->before.count ? 0 : -EAGAIN;

	for (uint32_t k = 0; err == 0 && k < now->count; k++) {
		const struct extent *before = &it->before.v[k], *after = &it->after.v[k];

		if (!is_as_it_was(&now->v[k], before))
			err = -EAGAIN;
		else
			err = extent_list_append(out, is_as_it_was(after, before) ? &now->v[k] : after);
	}
	return err;
}

/* [meta lock] -EAGAIN: not this time. */
static err_t
describe_item(struct rekey_batch *b, struct rekey_item *it, struct changes *c, struct change_inode **ci)
{
	CLEANUP(extent_list_clear) struct extent_list list = { 0 };
	struct meta *m = b->r->s->v->meta;
	struct chunk *now, then = { .ino = it->ino, .no = it->no };
	struct inode *i;
	err_t err = meta_inode_get(m, it->ino, &i);

	if (err == 0 && (i->pending != 0 || i->nlink == 0 || !S_ISREG(i->mode) || !content_has_key(i, &it->key)))
		err = -EAGAIN;
	if (err == 0)
		err = meta_chunk_get(m, i, it->no, false, &now);
	if (err != 0 || now->pending || (err = list_item(it, &now->current, &list)) != 0)
		return err != 0 && err != -ENOENT ? err : -EAGAIN;
	if (*ci == NULL) {
		*ci = changes_add_inode(c);
		if (*ci == NULL)
			return -ENOMEM;
		if ((err = describe_attributes(m, i, CHANGE_CONTENT | CHANGE_RESEALED, *ci)) != 0)
			return err;
	}
	then.current = list;
	return describe_chunk(m, c, *ci, &then);
}

static err_t
describe_all(struct rekey_batch *b, struct changes *c)
{
	struct meta *m = b->r->s->v->meta;
	struct change_inode *ci = NULL;
	err_t err = 0;

	meta_lock(m);
	for (size_t k = 0; err == 0 && k < b->count; k++) {
		struct rekey_item *it = &b->v[k];

		if (k == 0 || it->ino != b->v[k - 1].ino)
			ci = NULL;
		it->named = false;
		if (it->after.count == 0)
			continue;
		err = describe_item(b, it, c, &ci);
		it->named = err == 0;
		err = err == -EAGAIN ? 0 : err;
	}
	meta_unlock(m);
	return err;
}

/* -EEXIST: somebody else was first, and theirs is applied now. */
static err_t
commit_once(struct rekey_batch *b)
{
	CLEANUP(changes_free_ptr) struct changes *c = NULL;
	bool news;
	err_t err;

	if ((err = changes_new(&c)) != 0 || (err = describe_all(b, c)) != 0 || c->inode_count == 0)
		return err;
	err = push_commit(b->r->s, c);
	if (err == -EEXIST && (err = pull_all(b->r->s, &news)) == 0)
		err = -EEXIST;
	return err;
}

static err_t
commit(struct rekey_batch *b)
{
	err_t err = -EEXIST;

	for (unsigned try = 0; try < COMMIT_TRIES && err == -EEXIST; try++)
		err = commit_once(b);
	if (err == -EEXIST) { /* others commit all the time: another time */
		for (size_t k = 0; k < b->count; k++)
			b->v[k].named = false;
		err = 0;
	}
	return err;
}

/* Afterwards. */

/* Counts, and adds to `left` the segments that nothing points into any more. */
static err_t
account(struct rekey_batch *b, struct numset **left)
{
	struct rekey *r = b->r;
	err_t err = 0;

	for (size_t k = 0; k < b->count; k++) {
		const struct rekey_item *it = &b->v[k];

		r->done += it->named;
		r->busy += !it->named && it->after.count > 0;
		for (uint32_t n = 0; it->named && n < it->before.count; n++) {
			const struct extent *x = &it->before.v[n];
			uint32_t twin;
			bool last;

			if (is_as_it_was(&it->after.v[n], x))
				continue;
			if (!rekey_has_twin(&it->before, n, &twin)) {
				r->left -= r->left < x->stored_len ? r->left : x->stored_len;
				r->bytes += x->stored_len;
			}
			rekey_unuse(r, x->seg, &last);
			if (last && err == 0)
				err = numset_add(left, x->seg);
		}
	}
	return err;
}

/* Segments that need not be here. */
struct leaving {
	struct segstore_leaving *v;
	size_t count;
};

static void
leaving_clear(struct leaving *l)
{
	free(l->v);
}

static err_t
note_leaving(void *ctx, uint64_t seg)
{
	struct leaving *l = ctx;

	l->v[l->count++] = (struct segstore_leaving){ .seg = seg, .mask = UINT64_MAX };
	return 0;
}

/* What nothing points into any more, and what was made of what was not here: with one commit of the database. */
static err_t
give_up(struct rekey_batch *b, const struct numset *left)
{
	size_t most = numset_count(left) + numset_count(b->made[0]);
	CLEANUP(leaving_clear) struct leaving l = { .v = calloc(most + 1, sizeof(*l.v)) };
	err_t err = l.v != NULL ? 0 : -ENOMEM;

	if (err != 0 || (err = numset_each(left, note_leaving, &l)) != 0 ||
	    (err = numset_each(b->made[0], note_leaving, &l)) != 0)
		return err;
	return l.count > 0 ? segstore_drop_pieces(b->r->s->v->segments, l.v, l.count) : 0;
}

err_t
rekey_seal(struct rekey_batch *b)
{
	CLEANUP(numset_clear) struct numset *left = NULL;
	err_t err;

	b->r->s->swept = false; /* if no commit comes to name what is made */
	if ((err = seal_items(b)) != 0 || (err = upload_made(b)) != 0 || (err = commit(b)) != 0)
		return err;
	if ((err = account(b, &left)) != 0 || (err = give_up(b, left)) != 0)
		log_warn("content under old keys stays on the disk: %s", strerror(-err));
	return 0;
}
