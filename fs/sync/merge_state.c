/* merge_state.c: what a merge knows while it is under way, and what it tells afterwards. */
#include "merge_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_ROOM 4096

static int
compare_numbers(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int
compare_by_ino(const void *a, const void *b)
{
	return compare_numbers((*(struct dentry *const *)a)->ino, (*(struct dentry *const *)b)->ino);
}

static int
compare_by_chain(const void *a, const void *b)
{
	return compare_numbers((*(struct dentry *const *)a)->chain_ino, (*(struct dentry *const *)b)->chain_ino);
}

static int
compare_given(const void *a, const void *b)
{
	return compare_numbers((*(const struct change_dentry *const *)a)->ino, (*(const struct change_dentry *const *)b)->ino);
}

static struct dentry **
index_pending(struct dentry *v, size_t count, int (*compare)(const void *, const void *))
{
	struct dentry **index = calloc(count + 1, sizeof(*index));

	if (!index)
		return NULL;
	for (size_t k = 0; k < count; k++)
		index[k] = &v[k];
	qsort(index, count, sizeof(*index), compare);
	return index;
}

static err_t
index_given(struct merge *m)
{
	m->given = calloc(m->c->dentry_count + 1u, sizeof(*m->given));
	if (!m->given)
		return -ENOMEM;
	for (uint32_t k = 0; k < m->c->dentry_count; k++) {
		if (m->c->dentries[k].ino)
			m->given[m->given_count++] = &m->c->dentries[k];
	}
	qsort(m->given, m->given_count, sizeof(*m->given), compare_given);
	return 0;
}

err_t
merge_begin(struct merge *m, const struct merge_context *mc, const struct changes *c)
{
	err_t e;

	*m = (struct merge){.mc = mc, .meta = mc->meta, .c = c};
	if ((e = meta_pending_dentries(m->meta, &m->pending, &m->pending_count)) || (e = index_given(m)))
		return e;
	m->by_ino = index_pending(m->pending, m->pending_count, compare_by_ino);
	m->by_chain = index_pending(m->pending, m->pending_count, compare_by_chain);
	m->old = calloc(c->dentry_count + 1u, sizeof(*m->old));
	m->segments = calloc(c->segment_count + 1u, sizeof(*m->segments));
	return m->by_ino && m->by_chain && m->old && m->segments ? 0 : -ENOMEM;
}

void
merge_clear(struct merge *m)
{
	struct touched *t, *next;

	HASH_ITER(hh, m->touched, t, next) {
		HASH_DEL(m->touched, t);
		free(t);
	}
	free(m->pending);
	free(m->by_ino);
	free(m->by_chain);
	free(m->given);
	free(m->old);
	free(m->segments);
	free(m->notes);
	merge_result_clear(&m->result);
	*m = (struct merge){0};
}

size_t
merge_pending_range(struct dentry *const *v, size_t count, bool chain, uint64_t ino, size_t *count_out)
{
	size_t low = 0;
	size_t high = count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if ((chain ? v[mid]->chain_ino : v[mid]->ino) < ino)
			low = mid + 1;
		else
			high = mid;
	}
	while (high < count && (chain ? v[high]->chain_ino : v[high]->ino) == ino)
		high++;
	*count_out = high - low;
	return low;
}

size_t
merge_given_range(const struct merge *m, uint64_t ino, size_t *count_out)
{
	size_t low = 0;
	size_t high = m->given_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (m->given[mid]->ino < ino)
			low = mid + 1;
		else
			high = mid;
	}
	while (high < m->given_count && m->given[high]->ino == ino)
		high++;
	*count_out = high - low;
	return low;
}

/* How many names the chain has for it follows from how many there are here and which of them are pending. */
static int64_t
count_chain_names(const struct merge *m, const struct inode *i)
{
	size_t only_here = 0, only_chain = 0;
	int64_t here = S_ISDIR(i->mode) ? i->nlink > 0 : i->nlink;

	if (i->ino == INODE_ROOT)
		return 1;
	if (i->pending & PENDING_NEW)
		return 0;
	merge_pending_range(m->by_ino, m->pending_count, false, i->ino, &only_here);
	merge_pending_range(m->by_chain, m->pending_count, true, i->ino, &only_chain);
	return here - (int64_t)only_here + (int64_t)only_chain;
}

static err_t
load_touched(struct merge *m, struct touched *t)
{
	err_t e = meta_inode_get(m->meta, t->ino, &t->inode);

	if (e == -ENOENT) {
		t->inode = NULL;
		return 0;
	}
	if (e)
		return e;
	t->type = t->inode->mode & S_IFMT;
	t->known = !(t->inode->pending & PENDING_NEW);
	t->was_named = t->named = t->inode->nlink > 0 || t->ino == INODE_ROOT;
	t->chain_before = t->chain_names = count_chain_names(m, t->inode);
	if (m->placing && merge_is_dir(t) && !t->named)
		t->inode->nlink = 2;
	return 0;
}

err_t
merge_touch(struct merge *m, uint64_t ino, struct touched **out)
{
	struct touched *t = NULL;
	err_t e;

	HASH_FIND(hh, m->touched, &ino, sizeof(ino), t);
	if (t) {
		*out = t;
		return 0;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->ino = ino;
	e = load_touched(m, t);
	if (!e) {
		HASH_ADD(hh, m->touched, ino, sizeof(t->ino), t);
		e = t->hh.tbl ? 0 : -ENOMEM;
	}
	if (e) {
		free(t);
		return e;
	}
	*out = t;
	return 0;
}

bool
merge_is_dir(const struct touched *t)
{
	return S_ISDIR(t->type);
}

bool
merge_is_named(const struct touched *t)
{
	return merge_is_dir(t) ? t->named : t->inode && t->inode->nlink > 0;
}

bool
merge_kernel_knows(const struct merge *m, uint64_t ino)
{
	return m->mc->lookups && lookups_count(m->mc->lookups, ino) > 0;
}

err_t
merge_lookup(struct merge *m, uint64_t parent, const char *name, struct dentry *out)
{
	struct dentry *d = NULL;
	err_t e = meta_dentry_get(m->meta, parent, name, &d);

	if (e && e != -ENOENT)
		return e;
	*out = e ? (struct dentry){.parent = parent} : *d;
	return 0;
}

err_t
merge_find_chain_name(struct merge *m, const struct touched *t, struct dentry *out)
{
	struct dentry d;
	size_t count = 0;
	size_t first = merge_given_range(m, t->ino, &count);
	err_t e;

	for (size_t k = first; k < first + count; k++) {
		if ((e = merge_lookup(m, m->given[k]->parent, m->given[k]->name, &d)))
			return e;
		if (d.chain_ino == t->ino && d.ino != t->ino) {
			*out = d;
			return 0;
		}
	}
	first = merge_pending_range(m->by_chain, m->pending_count, true, t->ino, &count);
	for (size_t k = first; k < first + count; k++) {
		if ((e = merge_lookup(m, m->by_chain[k]->parent, m->by_chain[k]->name, &d)))
			return e;
		if (d.chain_ino == t->ino && d.ino != t->ino) {
			*out = d;
			return 0;
		}
	}
	return -ENOENT;
}

struct find {
	uint64_t ino;
	struct dentry found;
};

static err_t
find_entry(void *ctx, const struct dentry *d)
{
	struct find *f = ctx;

	if (d->ino != f->ino)
		return 0;
	f->found = *d;
	return -ECANCELED;
}

err_t
merge_find_local_name(struct merge *m, const struct touched *t, struct dentry *out)
{
	struct find f = {.ino = t->ino};
	size_t count = 0;
	size_t first = merge_pending_range(m->by_ino, m->pending_count, false, t->ino, &count);
	err_t e;

	for (size_t k = first; k < first + count; k++) {
		if ((e = merge_lookup(m, m->by_ino[k]->parent, m->by_ino[k]->name, out)))
			return e;
		if (out->ino == t->ino)
			return 0;
	}
	if (!t->inode->parent)
		return -ENOENT;
	e = meta_dentry_scan(m->meta, t->inode->parent, 0, find_entry, &f);
	if (e != -ECANCELED)
		return e ? e : -ENOENT;
	*out = f.found;
	return 0;
}

err_t
merge_add_segments(struct merge *m)
{
	for (uint32_t k = 0; k < m->c->segment_count; k++) {
		const struct change_segment *cs = &m->c->segments[k];
		struct segment s = {0};
		err_t e = meta_segment_find(m->meta, cs->name, &s);

		if (e && e != -ENOENT)
			return e;
		if (e) {
			s = (struct segment){.id = meta_segment_new_id(m->meta), .kind = SEGMENT_SETTLED, .size = cs->size};
			memcpy(s.name, cs->name, sizeof(s.name));
			memcpy(s.sha256, cs->sha256, sizeof(s.sha256));
		}
		m->segments[k] = s.id;
		if (s.in_store && !s.dead_since)
			continue;
		s.in_store = true;
		s.dead_since = 0;
		if ((e = meta_segment_put(m->meta, &s)))
			return e;
	}
	return 0;
}

/* Makes room for one more element. */
static err_t
grow(void **v, size_t count, size_t *cap, size_t element_len)
{
	if (count < *cap)
		return 0;

	size_t new_cap = *cap ? *cap * 2 : 16;
	void *grown = realloc(*v, new_cap * element_len);

	if (!grown)
		return -ENOMEM;
	*v = grown;
	*cap = new_cap;
	return 0;
}

err_t
merge_note(struct merge *m, enum note_kind kind, uint64_t parent, const char *name, const char *other)
{
	void *v = m->notes;
	err_t e = grow(&v, m->note_count, &m->note_cap, sizeof(*m->notes));

	m->notes = v;
	if (e)
		return e;

	struct note *n = &m->notes[m->note_count++];

	*n = (struct note){.kind = kind, .parent = parent};
	snprintf(n->name, sizeof(n->name), "%s", name);
	snprintf(n->other, sizeof(n->other), "%s", other);
	return 0;
}

err_t
merge_tell_entry(struct merge *m, uint64_t parent, const char *name)
{
	void *v = m->result.entries;
	err_t e = grow(&v, m->result.entry_count, &m->entry_cap, sizeof(*m->result.entries));
	char *copy = strdup(name);

	m->result.entries = v;
	if (e || !copy) {
		free(copy);
		return -ENOMEM;
	}
	m->result.entries[m->result.entry_count++] = (struct merge_entry){parent, copy};
	return 0;
}

err_t
merge_tell_inode(struct merge *m, uint64_t ino)
{
	struct touched *t = NULL;
	void *v;
	err_t e = merge_touch(m, ino, &t);

	if (e || t->told)
		return e;
	v = m->result.inos;
	e = grow(&v, m->result.ino_count, &m->ino_cap, sizeof(*m->result.inos));
	m->result.inos = v;
	if (e)
		return e;
	t->told = true;
	m->result.inos[m->result.ino_count++] = ino;
	return 0;
}

static char *
path_in(struct merge *m, uint64_t parent, const char *name)
{
	char dir[PATH_ROOM];
	char *path = NULL;

	if (parent == INODE_ROOT)
		return strdup(name);
	meta_path(m->meta, parent, dir, sizeof(dir));
	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

static char *
note_sentence(const struct note *n, const char *path)
{
	char *s = NULL;
	int len = -1;

	switch (n->kind) {
	case NOTE_COPY:
		len = asprintf(&s, "%s was changed on two devices; the version of this device is kept as \"%s\" beside it", path,
		    n->other);
		break;
	case NOTE_NAME:
		len = asprintf(&s, "%s was made on two devices; the one of this device is now \"%s\" beside it", path, n->other);
		break;
	case NOTE_KEPT:
		len = asprintf(&s, "%s was deleted on another device but changed on this one; it is kept", path);
		break;
	case NOTE_BACK:
		len = asprintf(&s, "%s was deleted on this device but changed on another one; it is there again", path);
		break;
	case NOTE_MOVE:
		len = asprintf(&s, "%s was moved on two devices; it is now where the other device put it", path);
		break;
	}
	return len < 0 ? NULL : s;
}

err_t
merge_finish_result(struct merge *m, struct merge_result *out)
{
	if (m->note_count) {
		m->result.conflicts = calloc(m->note_count, sizeof(*m->result.conflicts));
		if (!m->result.conflicts)
			return -ENOMEM;
	}
	for (size_t k = 0; k < m->note_count; k++) {
		struct note *n = &m->notes[k];
		struct merge_conflict *conflict = &m->result.conflicts[m->result.conflict_count++];
		CLEANUP(free_ptr) char *path = path_in(m, n->parent, n->name);

		conflict->path = path_in(m, n->parent, n->other[0] ? n->other : n->name);
		conflict->sentence = path ? note_sentence(n, path) : NULL;
		if (!conflict->path || !conflict->sentence)
			return -ENOMEM;
	}
	*out = m->result;
	m->result = (struct merge_result){0};
	return 0;
}

void
merge_result_clear(struct merge_result *r)
{
	for (size_t k = 0; k < r->entry_count; k++)
		free(r->entries[k].name);
	free(r->entries);
	free(r->inos);
	for (size_t k = 0; k < r->conflict_count; k++) {
		free(r->conflicts[k].path);
		free(r->conflicts[k].sentence);
	}
	free(r->conflicts);
	*r = (struct merge_result){0};
}
