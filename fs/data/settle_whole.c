/* settle_whole.c: long extents that are read whole: what would not be packed can stay as it is sealed. */
#include "settle_internal.h"

#include <errno.h>
#include <string.h>

#include "unpacker.h"

/* For a chunk of them, each in blocks of its own. */
#define MEMORY_LEN (frame_raw_stored_len(CHUNK_LEN) + 4 * WHOLES_MAX * SEGSTORE_BLOCK_LEN)

static bool
is_long_and_whole(const struct extent *x)
{
	return x->x_encoding == FRAME_RAW && x->len >= WHOLE_MIN && x->len <= EXTENT_MAX_LEN && x->off == x->x_off &&
	    x->len == x->x_len && x->stored_len == frame_raw_stored_len(x->len);
}

/* Room for one more, as segstore_read_blocks wants it; the others stay where they are. */
static err_t
make_room(struct chunk_work *w, uint32_t stored_len, uint8_t **at_out)
{
	size_t len = (stored_len / SEGSTORE_BLOCK_LEN + 3) * (size_t)SEGSTORE_BLOCK_LEN;

	if (!w->whole_count)
		bytes_reset(&w->whole_memory);
	if (w->whole_count == WHOLES_MAX || len > MEMORY_LEN - w->whole_memory.len)
		return -E2BIG;

	err_t e = bytes_reserve(&w->whole_memory, MEMORY_LEN - w->whole_memory.len);

	return e ? e : bytes_extend(&w->whole_memory, len, at_out);
}

err_t
settle_read_whole(struct settle *s, struct chunk_work *w, const struct selection *l, const struct extent *x)
{
	CLEANUP(key32_wipe) struct key32 opened = {{0}};
	const struct file_key *key = settle_find_key(l, x->key_version);
	uint8_t *data;

	if (!is_long_and_whole(x))
		return -EINVAL;
	if (!key)
		return -EBADMSG;

	err_t e = make_room(w, x->stored_len, &data);

	if (!e)
		e = segstore_read_blocks(s->ss, x->seg, x->seg_off, x->stored_len, data, &data);
	if (!e)
		e = keyring_open_file_key(s->keys, key, &opened);
	if (!e)
		e = unpacker_open(l->origin, &opened, x, data, w->packer.plain + x->off % CHUNK_LEN);
	if (e)
		return e;
	w->wholes[w->whole_count++] = (struct whole){.x = *x, .key = *key, .data = data};
	return 0;
}

const struct whole *
settle_find_whole(const struct chunk_work *w, const struct extent *x)
{
	for (uint32_t k = 0; k < w->whole_count; k++) {
		if (memcmp(w->wholes[k].x.x_id, x->x_id, sizeof(x->x_id)) == 0)
			return &w->wholes[k];
	}
	return NULL;
}

bool
settle_are_whole(const struct chunk_work *w, const struct selection *l, const struct writing_key *key, const struct extent *v,
    uint32_t count)
{
	const struct file_key *now = &key->stored;
	bool same = l->origin == key->origin;

	for (uint32_t k = 0; k < count && same; k++) {
		const struct whole *h = settle_find_whole(w, &v[k]);

		same = h && h->key.version == now->version && h->key.epoch == now->epoch &&
		    memcmp(h->key.wrapped, now->wrapped, sizeof(now->wrapped)) == 0;
	}
	return same;
}
