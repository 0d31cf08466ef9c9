/* meta_batch.c: from dirty objects to rows, and what becomes of the objects when those are written or lost. */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "log.h"
#include "meta_batch.h"

/* A commit goes to the journal only if that leaves so much for data. */
#define REDO_ROOM 65536u

void
batch_clear(struct batch *b)
{
	free(b->rows);
	bytes_clear(&b->data);
	free(b->releases.v);
	*b = (struct batch){ 0 };
}

struct db_row *
batch_row(struct batch *b)
{
	if (b->row_count == b->row_cap) {
		size_t cap = b->row_cap ? b->row_cap * 2 : 64;
		struct db_row *rows = realloc(b->rows, cap * sizeof(rows[0]));

		if (rows == NULL)
			return NULL;
		b->rows = rows;
		b->row_cap = cap;
	}
	b->rows[b->row_count] = (struct db_row){ 0 };
	return &b->rows[b->row_count++];
}

err_t
batch_delete_row(struct batch *b, enum db_table table, uint64_t key_a, uint64_t key_b)
{
	struct db_row *row = batch_row(b);

	if (row == NULL)
		return -ENOMEM;
	*row = (struct db_row){ .table = table, .a = key_a, .b = key_b };
	return 0;
}

void
batch_end_row(struct batch *b, size_t at)
{
	struct db_row *row = &b->rows[b->row_count - 1];

	row->len = b->data.len - at;
	row->data = (const uint8_t *)1; /* set by freeze, when data stands still */
}

/* Appends the object's bytes to the batch and fills in the row's marks. */
static err_t
encode_node(struct meta *m, struct node *n, struct batch *b, struct db_row *row)
{
	switch (n->table) {
	case DB_INODE: {
		struct cached_inode *ci = CONTAINER(n, struct cached_inode, node);

		row->mark = ci->inode.pending;
		row->state = ci->inode.nlink == 0;
		return record_put_inode(&b->data, &ci->inode);
	}
	case DB_DENTRY: {
		struct cached_dentry *cd = CONTAINER(n, struct cached_dentry, node);
		err_t err = dentry_hash(m, cd);

		if (err != 0)
			return err;
		row->hash = cd->hash;
		row->mark = cd->ino != cd->chain_ino;
		dentry_show(cd, &m->shown);
		return record_put_dentry(&b->data, &m->shown);
	}
	case DB_XATTRS:
		return record_put_xattrs(&b->data, &CONTAINER(n, struct cached_xattrs, node)->list);
	case DB_SEGMENT: {
		struct cached_segment *cs = CONTAINER(n, struct cached_segment, node);

		row->mark = !cs->segment.in_store;
		return record_put_segment(&b->data, &cs->segment);
	}
	case DB_KV:
	case DB_STATEMENT:
	case DB_REDO: {
		struct cached_blob *cb = CONTAINER(n, struct cached_blob, node);

		return bytes_append(&b->data, cb->data.data, cb->data.len);
	}
	case DB_CHUNK: /* more than a row */
	case DB_CHUNK_PART:
		break;
	}
	return -EINVAL;
}

static err_t
freeze_node(struct meta *m, struct node *n, struct batch *b)
{
	size_t at = b->data.len;
	err_t err;

	if (n->table == DB_CHUNK)
		return parts_add_to_batch(b, CONTAINER(n, struct cached_chunk, node));
	if ((err = batch_delete_row(b, n->table, n->a, n->b)) != 0 || n->deleted)
		return err;
	err = encode_node(m, n, b, &b->rows[b->row_count - 1]);
	if (err != 0) {
		b->row_count--;
		return err;
	}
	batch_end_row(b, at);
	return 0;
}

static err_t
freeze_list(struct meta *m, struct node *first, struct batch *b)
{
	struct node *n;
	err_t err;

	DL_FOREACH (first, n)
		if ((err = freeze_node(m, n, b)) != 0)
			return err;
	return 0;
}

static err_t
freeze_counters(struct meta *m, struct batch *b)
{
	size_t at = b->data.len;
	err_t err;

	if ((err = batch_delete_row(b, DB_KV, DB_KEY_COUNTERS, 0)) != 0 ||
	    (err = bytes_append_u64(&b->data, m->next_ino)) != 0 ||
	    (err = bytes_append_u64(&b->data, m->next_cookie)) != 0 ||
	    (err = bytes_append_u64(&b->data, m->next_segment)) != 0 ||
	    (err = bytes_append_u64(&b->data, m->pending_inodes)) != 0 ||
	    (err = bytes_append_u64(&b->data, m->pending_dentries)) != 0 ||
	    (err = bytes_append_u64(&b->data, m->pending_bytes)) != 0)
		return err;
	if (m->totals_known && ((err = bytes_append_u64(&b->data, m->totals.size)) != 0 ||
	    (err = bytes_append_u64(&b->data, m->totals.here)) != 0 ||
	    (err = bytes_append_u64(&b->data, m->totals.cached)) != 0))
		return err;
	batch_end_row(b, at);
	return 0;
}

/* What is dirty. */
static err_t
encode_dirty(struct meta *m, struct batch *b)
{
	err_t err = freeze_list(m, m->dirty.first, b);

	return err == 0 && m->counters_dirty ? freeze_counters(m, b) : err;
}

/* The same for the journal, if it fits there. */
static err_t
encode_for_journal(struct meta *m, struct batch *b)
{
	size_t room = db_journal_room(m->db);
	size_t len;
	err_t err;

	if ((err = encode_dirty(m, b)) != 0)
		return err;
	len = b->data.len + b->row_count * DB_JOURNAL_ROW_OVERHEAD;
	b->to_journal = room >= len + REDO_ROOM;
	b->room = b->to_journal ? room - len : 0;
	m->wants_room |= !b->to_journal;
	return 0;
}

/* If it is not for the journal, or does not fit there, then what is newer there than in the database, too. */
static err_t
encode_all(struct meta *m, struct batch *b)
{
	err_t err;

	if (b->to_journal && ((err = encode_for_journal(m, b)) != 0 || b->to_journal))
		return err;
	b->row_count = 0;
	bytes_reset(&b->data);
	if ((err = encode_dirty(m, b)) != 0)
		return err;
	if ((err = freeze_list(m, m->frozen.first, b)) != 0 ||
	    (!m->counters_dirty && m->counters_journaled && (err = freeze_counters(m, b)) != 0))
		return err;
	return 0;
}

err_t
batch_freeze(struct meta *m, struct batch *b, bool to_journal)
{
	struct node *n, *next;
	size_t at = 0;
	err_t err;

	b->to_journal = to_journal;
	if ((err = encode_all(m, b)) != 0)
		return err;
	for (size_t i = 0; i < b->row_count; i++) {
		if (b->rows[i].data == NULL)
			continue;
		b->rows[i].data = b->data.data + at;
		at += b->rows[i].len;
	}
	DL_FOREACH_SAFE (m->dirty.first, n, next) {
		if (n->table == DB_CHUNK)
			parts_freeze(CONTAINER(n, struct cached_chunk, node));
		cache_move(m, n, &m->frozen);
	}
	if (!b->to_journal) {
		b->releases = m->releases;
		m->releases = (struct release_list){ 0 };
	}
	b->counters = m->counters_dirty;
	m->counters_dirty = false;
	b->gen = ++m->freeze_gen;
	return 0;
}

void
batch_journaled(struct meta *m, const struct batch *b)
{
	m->counters_journaled |= b->counters;
}

static void
node_stored(struct node *n)
{
	n->frozen = false;
	n->stored = true;
	if (n->table == DB_CHUNK)
		parts_stored(CONTAINER(n, struct cached_chunk, node));
}

static void
node_failed(struct node *n)
{
	if (n->table == DB_CHUNK)
		parts_failed(CONTAINER(n, struct cached_chunk, node));
}

void
batch_stored(struct meta *m, struct batch *b)
{
	struct node *n, *next;
	struct node *tombstones = NULL;

	DL_FOREACH (m->dirty.first, n)
		if (n->frozen)
			node_stored(n);
	DL_FOREACH (m->frozen.first, n)
		n->frozen = false;
	pins_compact(m);
	db_end_reading(m->db);
	DL_FOREACH_SAFE (m->frozen.first, n, next) {
		DL_DELETE(m->frozen.first, n);
		m->frozen.count--;
		m->frozen.weight -= n->weight;
		if (n->deleted) {
			DL_APPEND(tombstones, n);
			continue;
		}
		node_stored(n);
		cache_insert_clean(m, n);
	}
	DL_FOREACH_SAFE (tombstones, n, next) {
		DL_DELETE(tombstones, n);
		cache_insert_clean(m, n);
		cache_free_node(m, n);
	}
	m->counters_journaled = false;
	for (size_t i = 0; i < b->releases.count; i++)
		if (meta_release_add(&m->given_back, &b->releases.v[i]) != 0)
			log_warn("out of memory: some disk space is not given back");
}

void
batch_failed(struct meta *m, struct batch *b)
{
	struct node *n, *next;

	DL_FOREACH (m->dirty.first, n) {
		n->frozen = false;
		node_failed(n);
	}
	DL_FOREACH_SAFE (m->frozen.first, n, next) {
		node_failed(n);
		cache_move(m, n, &m->dirty);
	}
	m->counters_dirty = true;
	/* From here on it is forgotten what the journal has: it could miss the deletion of a row that is there only. */
	db_journal_suspend(m->db);
	for (size_t i = 0; i < b->releases.count; i++)
		if (meta_release_add(&m->releases, &b->releases.v[i]) != 0)
			log_warn("out of memory: some disk space is not given back");
}
