/* work_ops.c: the operations, each done to the engine and, if that said yes, to the model. */
#include <linux/falloc.h>

#include "depot.h"
#include "meta_internal.h" /* a checkpoint can't be asked for otherwise */
#include "work.h"

static const struct vfs_caller ME = {.uid = 1000, .gid = 1000, .umask = 022};

#define TRIES 20
/* What is written at once: beyond what may ride in the database. */
#define WRITE_MAX (400u << 10)
/* ... and now and then, more than a chunk. */
#define WRITE_BIG (1200u << 10)
#define BURST 8
#define LONG_CHUNKS 6

/* Two nodes that the change touched (or MODEL_NONE): takes their new times, and there is a new version. */
static err_t
changed(struct work *w, int a, int b, int c)
{
	const int touched[] = {a, b, c};

	for (size_t k = 0; k < ARRAY_LEN(touched); k++)
		if (touched[k] != MODEL_NONE && w->model.nodes[touched[k]].used)
			MUST(!model_refresh(&w->model.nodes[touched[k]], w->vfs));
	work_note_version(w);
	return 0;
}

/* Choosing. */

static uint64_t
ino_of(const struct work *w, int node)
{
	return w->model.nodes[node].st.st_ino;
}

static bool
is_type(const struct work *w, int node, mode_t type)
{
	return w->model.nodes[node].used && (w->model.nodes[node].st.st_mode & S_IFMT) == type;
}

static int
pick(struct work *w, mode_t type)
{
	for (int k = 0; k < TRIES; k++) {
		int node = (int)rng_below(&w->rng, MODEL_NODES);

		if (is_type(w, node, type))
			return node;
	}
	return type == S_IFDIR ? 0 : MODEL_NONE;
}

struct spot {
	int dir;
	int name;
	int node;
};

static bool
pick_spot(struct work *w, bool taken, struct spot *out)
{
	for (int k = 0; k < TRIES; k++) {
		struct spot s;

		s.dir = pick(w, S_IFDIR);
		s.name = (int)rng_below(&w->rng, MODEL_NAMES);
		s.node = w->model.nodes[s.dir].entries[s.name];
		if ((s.node != MODEL_NONE) != taken)
			continue;
		*out = s;
		return true;
	}
	return false;
}

static uint64_t
dir_ino(const struct work *w, const struct spot *s)
{
	return ino_of(w, s->dir);
}

/* Half of what is written shrinks when it is settled. */
static uint8_t *
make_data(struct work *w, size_t len)
{
	uint8_t *data = malloc(len + 1);

	MUST(data);
	if (rng_chance(&w->rng, 50)) {
		rng_fill(&w->rng, data, len);
	} else {
		uint8_t first = (uint8_t)rng_next(&w->rng);

		for (size_t k = 0; k < len; k++)
			data[k] = (uint8_t)(first + k / 64 % 7);
	}
	return data;
}

/* Operations. */

static void
hold_or_forget(struct work *w, uint64_t ino)
{
	uint64_t *slot = &w->held[rng_below(&w->rng, WORK_HELD)];

	if (rng_chance(&w->rng, 80)) {
		vfs_forget(w->vfs, ino, 1);
		return;
	}
	if (*slot)
		vfs_forget(w->vfs, *slot, 1);
	*slot = ino;
}

static err_t
do_make(struct work *w)
{
	unsigned dice = (unsigned)rng_below(&w->rng, 100);
	int node = model_new_node(&w->model);
	struct spot s;
	struct stat st;
	err_t e;

	if (node == MODEL_NONE)
		return 0;

	struct model_node *n = &w->model.nodes[node];

	n->used = false;
	if (!pick_spot(w, false, &s))
		return 0;
	work_about_to_change(w);
	if (dice < 15) {
		e = vfs_mkdir(w->vfs, &ME, dir_ino(w, &s), model_name(s.name), 0750, &st);
	} else if (dice < 25) {
		snprintf(n->target, sizeof(n->target), "../target-%u", dice);
		e = vfs_symlink(w->vfs, &ME, n->target, dir_ino(w, &s), model_name(s.name), &st);
	} else {
		mode_t type = dice < 30 ? S_IFIFO : S_IFREG;

		e = vfs_mknod(w->vfs, &ME, dir_ino(w, &s), model_name(s.name), type | 0640, 0, &st);
	}
	if (e)
		return e;
	n->used = true;
	n->st = st;
	model_link(&w->model, s.dir, s.name, node);
	hold_or_forget(w, st.st_ino);
	return changed(w, node, s.dir, MODEL_NONE);
}

static err_t
write_at(struct work *w, int node, uint64_t off, size_t len)
{
	uint8_t *data = make_data(w, len);
	err_t e;

	work_about_to_change(w);
	e = vfs_write(w->vfs, ino_of(w, node), off, data, len, len % 2 == 0);
	if (!e) {
		model_write(&w->model.nodes[node], off, data, len);
		e = changed(w, node, MODEL_NONE, MODEL_NONE);
	}
	free(data);
	return e;
}

static err_t
do_write(struct work *w)
{
	unsigned dice = (unsigned)rng_below(&w->rng, 100);
	int node = pick(w, S_IFREG);

	if (node == MODEL_NONE)
		return 0;

	size_t size = w->model.nodes[node].size;
	uint64_t off = size;
	size_t most = 6000;

	if (dice >= 98) { /* several chunks */
		off = rng_below(&w->rng, 2 * CHUNK_LEN);
		most = WRITE_BIG;
	} else if (dice >= 94) { /* across the first two or three */
		off = (1 + rng_below(&w->rng, 2)) * CHUNK_LEN - rng_below(&w->rng, 9000);
		most = 20000;
	} else if (dice >= 85) { /* much */
		off = 0;
		most = WRITE_MAX;
	} else if (dice >= 45 || size + most > MODEL_FILE_MAX) { /* over what is there */
		off = rng_below(&w->rng, size + 1) % (MODEL_FILE_MAX - most);
	}
	return write_at(w, node, off, 1 + (size_t)rng_below(&w->rng, most));
}

err_t
work_scatter(struct work *w)
{
	int node = pick(w, S_IFREG);
	err_t e = 0;

	for (uint64_t no = 0; no < LONG_CHUNKS && node != MODEL_NONE && !e; no++)
		if (rng_chance(&w->rng, 80))
			e = write_at(w, node, no * CHUNK_LEN + rng_below(&w->rng, 9000), 1 + (size_t)rng_below(&w->rng, 6000));
	return e;
}

static err_t
truncate_to(struct work *w, int node, size_t size)
{
	struct stat st, set = {.st_size = (off_t)size};
	err_t e;

	work_about_to_change(w);
	e = vfs_setattr(w->vfs, ino_of(w, node), &set, VFS_SET_SIZE, &st);
	if (e)
		return e;
	model_truncate(&w->model.nodes[node], size);
	return changed(w, node, MODEL_NONE, MODEL_NONE);
}

static int
pick_long(struct work *w)
{
	int longest = MODEL_NONE;

	for (int k = 0; k < MODEL_NODES; k++)
		if (is_type(w, k, S_IFREG) && (longest == MODEL_NONE || w->model.nodes[k].size > w->model.nodes[longest].size))
			longest = k;
	return rng_chance(&w->rng, 80) ? longest : pick(w, S_IFREG);
}

err_t
work_cut(struct work *w)
{
	int node = pick_long(w);

	if (node == MODEL_NONE || w->model.nodes[node].size == 0)
		return 0;

	size_t size = (size_t)rng_below(&w->rng, w->model.nodes[node].size);

	return truncate_to(w, node, rng_chance(&w->rng, 60) ? size % CHUNK_LEN : size);
}

static err_t
do_truncate(struct work *w)
{
	int node = pick(w, S_IFREG);

	if (node == MODEL_NONE)
		return 0;
	return truncate_to(w, node, (size_t)rng_below(&w->rng, w->model.nodes[node].size * 3 / 2 + 100) % MODEL_FILE_MAX);
}

/* Room that was asked for changes nothing but the size. */
static void
model_fallocate(struct model_node *n, int mode, size_t off, size_t len)
{
	size_t end = off + len;

	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && off < n->size)
		model_write(n, off, NULL, end < n->size ? len : n->size - off);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > n->size)
		model_truncate(n, end);
}

static err_t
do_fallocate(struct work *w)
{
	static const int MODES[] = {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	    FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0};
	int node = pick(w, S_IFREG);
	int mode = MODES[rng_below(&w->rng, ARRAY_LEN(MODES))];
	size_t off, len;
	err_t e;

	if (node == MODEL_NONE || w->model.nodes[node].size == 0)
		return 0;
	off = (size_t)rng_below(&w->rng, w->model.nodes[node].size);
	len = 1 + (size_t)rng_below(&w->rng, w->model.nodes[node].size - off);
	if (mode == 0 && off + len < MODEL_FILE_MAX)
		len += (size_t)rng_below(&w->rng, MODEL_FILE_MAX - off - len + 1) / 4;
	work_about_to_change(w);
	e = vfs_fallocate(w->vfs, ino_of(w, node), mode, off, len);
	if (e)
		return e;
	model_fallocate(&w->model.nodes[node], mode, off, len);
	return changed(w, node, MODEL_NONE, MODEL_NONE);
}

static err_t
do_copy(struct work *w)
{
	int from = pick(w, S_IFREG), to = pick(w, S_IFREG);
	size_t off, to_off, copied = 0;
	err_t e;

	if (from == MODEL_NONE || to == MODEL_NONE || from == to || w->model.nodes[from].size == 0)
		return 0;
	off = (size_t)rng_below(&w->rng, w->model.nodes[from].size);
	to_off = (size_t)rng_below(&w->rng, w->model.nodes[to].size + 1) % (MODEL_FILE_MAX / 2);
	work_about_to_change(w);
	e = vfs_copy_range(w->vfs, ino_of(w, from), off, ino_of(w, to), to_off, 1 + (size_t)rng_below(&w->rng, WRITE_MAX),
	    &copied);
	if (e)
		return e;
	model_write(&w->model.nodes[to], to_off, w->model.nodes[from].data + off, copied);
	return changed(w, to, MODEL_NONE, MODEL_NONE);
}

static err_t
rename_to(struct work *w, const struct spot *from, const struct spot *to)
{
	err_t e;

	work_about_to_change(w);
	e = vfs_rename(w->vfs, dir_ino(w, from), model_name(from->name), dir_ino(w, to), model_name(to->name), 0);
	if (e)
		return e;
	if (to->node != MODEL_NONE)
		model_unlink(&w->model, to->dir, to->name);
	model_link(&w->model, to->dir, to->name, from->node);
	model_unlink(&w->model, from->dir, from->name);
	(void)changed(w, from->dir, to->dir, from->node);
	if (to->node != MODEL_NONE && w->model.nodes[to->node].used) { /* it has another name, and one link less */
		MUST(!model_refresh(&w->model.nodes[to->node], w->vfs));
		work_correct_version(w);
	}
	return 0;
}

/* A program that saves: the new content beside the old, flushed, then over it. */
static err_t
do_save(struct work *w)
{
	int node = model_new_node(&w->model);
	struct spot old, new;
	struct stat st;
	err_t e;

	if (node == MODEL_NONE)
		return 0;
	w->model.nodes[node].used = false;
	if (!pick_spot(w, true, &old) || !is_type(w, old.node, S_IFREG) || !pick_spot(w, false, &new))
		return 0;
	work_about_to_change(w);
	e = vfs_mknod(w->vfs, &ME, dir_ino(w, &new), model_name(new.name), S_IFREG | 0640, 0, &st);
	if (e)
		return e;
	w->model.nodes[node].used = true;
	w->model.nodes[node].st = st;
	model_link(&w->model, new.dir, new.name, node);
	new.node = node;
	vfs_forget(w->vfs, st.st_ino, 1);
	(void)changed(w, node, new.dir, MODEL_NONE);
	e = write_at(w, node, 0, 1 + (size_t)rng_below(&w->rng, 30000));
	if (!e && rng_chance(&w->rng, 70))
		e = work_fsync(w);
	return e ? e : rename_to(w, &new, &old);
}

/* Many small files, and a flush of the folder. */
static err_t
do_burst(struct work *w)
{
	err_t e = 0;

	for (unsigned k = 0; k < BURST && !e; k++)
		e = rng_chance(&w->rng, 60) ? do_make(w) : do_write(w);
	return e ? e : work_fsync(w);
}

/* What has no name any more can still be written to; nobody will see it again. */
static err_t
do_write_removed(struct work *w)
{
	uint64_t ino = w->held[rng_below(&w->rng, WORK_HELD)];
	struct stat st;
	uint8_t *data;
	err_t e;

	if (!ino || vfs_getattr(w->vfs, ino, &st) || st.st_nlink != 0 || !S_ISREG(st.st_mode))
		return 0;
	data = make_data(w, WRITE_MAX);
	e = vfs_write(w->vfs, ino, rng_below(&w->rng, 5000), data, 1 + (size_t)rng_below(&w->rng, WRITE_MAX), 0);
	free(data);
	return e;
}

static err_t
do_link(struct work *w)
{
	int node = pick(w, S_IFREG);
	struct spot s;
	struct stat st;
	err_t e;

	if (node == MODEL_NONE || !pick_spot(w, false, &s))
		return 0;
	work_about_to_change(w);
	e = vfs_link(w->vfs, ino_of(w, node), dir_ino(w, &s), model_name(s.name), &st);
	if (e)
		return e;
	vfs_forget(w->vfs, st.st_ino, 1);
	model_link(&w->model, s.dir, s.name, node);
	return changed(w, node, s.dir, MODEL_NONE);
}

static err_t
do_remove(struct work *w)
{
	struct spot s;
	bool is_dir;
	err_t e;

	if (!pick_spot(w, true, &s))
		return 0;
	is_dir = is_type(w, s.node, S_IFDIR);
	if (is_dir && !model_is_empty(&w->model, s.node))
		return 0;
	work_about_to_change(w);
	e = is_dir ? vfs_rmdir(w->vfs, dir_ino(w, &s), model_name(s.name)) :
	    vfs_unlink(w->vfs, dir_ino(w, &s), model_name(s.name));
	if (e)
		return e;
	model_unlink(&w->model, s.dir, s.name);
	return changed(w, s.dir, s.node, MODEL_NONE);
}

static bool
can_move(const struct work *w, const struct spot *from, const struct spot *to)
{
	if (is_type(w, from->node, S_IFDIR) && model_is_below(&w->model, to->dir, from->node))
		return false;
	if (to->node == MODEL_NONE)
		return true;
	if (to->node == from->node || is_type(w, from->node, S_IFDIR) != is_type(w, to->node, S_IFDIR))
		return false;
	return !is_type(w, to->node, S_IFDIR) || model_is_empty(&w->model, to->node);
}

static err_t
do_rename(struct work *w)
{
	struct spot from, to;

	if (!pick_spot(w, true, &from) || !pick_spot(w, rng_chance(&w->rng, 50), &to) || !can_move(w, &from, &to))
		return 0;
	return rename_to(w, &from, &to);
}

static err_t
do_exchange(struct work *w)
{
	struct spot a, b;
	err_t e;

	if (!pick_spot(w, true, &a) || !pick_spot(w, true, &b) || a.node == b.node)
		return 0;
	if (model_is_below(&w->model, b.dir, a.node) || model_is_below(&w->model, a.dir, b.node))
		return 0;
	work_about_to_change(w);
	e = vfs_rename(w->vfs, dir_ino(w, &a), model_name(a.name), dir_ino(w, &b), model_name(b.name), RENAME_EXCHANGE);
	if (e)
		return e;
	w->model.nodes[a.dir].entries[a.name] = b.node;
	w->model.nodes[b.dir].entries[b.name] = a.node;
	w->model.nodes[a.node].parent = b.dir;
	w->model.nodes[b.node].parent = a.dir;
	(void)changed(w, a.dir, b.dir, a.node);
	MUST(!model_refresh(&w->model.nodes[b.node], w->vfs));
	work_correct_version(w);
	return 0;
}

static err_t
do_xattr(struct work *w)
{
	int node = pick(w, rng_chance(&w->rng, 70) ? S_IFREG : S_IFDIR);
	int k = (int)rng_below(&w->rng, MODEL_XATTRS);
	bool set = rng_chance(&w->rng, 70);
	uint8_t value[3000];
	size_t len = (size_t)rng_below(&w->rng, rng_chance(&w->rng, 20) ? sizeof(value) : 40);
	err_t e;

	if (node == MODEL_NONE || (!set && !w->model.nodes[node].xattrs[k].value))
		return 0;
	rng_fill(&w->rng, value, len);
	work_about_to_change(w);
	e = set ? vfs_setxattr(w->vfs, ino_of(w, node), model_xattr_name(k), value, len, 0) :
	    vfs_removexattr(w->vfs, ino_of(w, node), model_xattr_name(k));
	if (e)
		return e;
	model_set_xattr(&w->model.nodes[node], k, set ? value : NULL, len);
	return changed(w, node, MODEL_NONE, MODEL_NONE);
}

static err_t
do_setattr(struct work *w)
{
	int node = pick(w, rng_chance(&w->rng, 70) ? S_IFREG : S_IFDIR);
	unsigned mask = 1u << rng_below(&w->rng, 3);
	struct stat st, set = {.st_uid = 7, .st_gid = 8};
	err_t e;

	set.st_mode = (mode_t)rng_below(&w->rng, 01000);
	if (rng_chance(&w->rng, 30)) {
		set.st_mtim = (struct timespec){(time_t)rng_below(&w->rng, 2000000000), 123456789};
		mask |= VFS_SET_MTIME;
	}
	if (node == MODEL_NONE)
		return 0;
	work_about_to_change(w);
	e = vfs_setattr(w->vfs, ino_of(w, node), &set, mask, &st);
	return e ? e : changed(w, node, MODEL_NONE, MODEL_NONE);
}

static err_t
do_settle(struct work *w)
{
	return work_settle(w, rng_chance(&w->rng, 30) ? 100 : 40);
}

static err_t
do_tidy(struct work *w)
{
	return tidy_some(w->vault, &w->rng);
}

static err_t
do_push(struct work *w)
{
	return w->remote->push(w);
}

/* Reading it again takes a disk that can be written to. */
static err_t
do_evict(struct work *w)
{
	return w->stays_open ? 0 : depot_evict(w->vault, &w->rng);
}

static err_t
do_checkpoint(struct work *w)
{
	return db_checkpoint(w->vault->meta->db);
}

static err_t
do_forget(struct work *w)
{
	uint64_t *slot = &w->held[rng_below(&w->rng, WORK_HELD)];

	if (*slot)
		vfs_forget(w->vfs, *slot, 1);
	*slot = 0;
	return 0;
}

static err_t
do_reopen(struct work *w)
{
	err_t e = w->stays_open ? 0 : work_close(w);

	return e || w->vault ? e : work_open(w);
}

static const struct {
	err_t (*fn)(struct work *w);
	unsigned weight;
	bool alone; /* not while another thread may commit */
} OPERATIONS[] = {
	{do_make, 18, false},
	{do_write, 30, false},
	{do_truncate, 4, true},
	{do_fallocate, 5, true},
	{do_copy, 3, true},
	{do_save, 4, false},
	{do_burst, 2, false},
	{do_write_removed, 2, false},
	{do_link, 3, false},
	{do_remove, 8, false},
	{do_rename, 8, false},
	{do_exchange, 2, false},
	{do_xattr, 6, false},
	{do_setattr, 4, false},
	{work_fsync, 8, false},
	{do_settle, 2, false},
	{do_tidy, 3, false},
	{do_push, 2, false},
	{do_evict, 1, false},
	{do_checkpoint, 2, true},
	{do_forget, 2, false},
	{do_reopen, 1, true},
};

err_t
work_step(struct work *w)
{
	unsigned total = 0;
	size_t k = 0;

	for (size_t j = 0; j < ARRAY_LEN(OPERATIONS); j++)
		total += OPERATIONS[j].weight;

	unsigned dice = (unsigned)rng_below(&w->rng, total);

	while (dice >= OPERATIONS[k].weight)
		dice -= OPERATIONS[k++].weight;
	return OPERATIONS[k].alone && w->in_background ? 0 : OPERATIONS[k].fn(w);
}
