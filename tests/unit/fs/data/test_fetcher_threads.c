/* Fetching pieces while others read, write, move and give up the same. */
#include "fetcher_steps.h"

#include <unistd.h>

struct dropper {
	struct shelf_store *k;
	atomic_bool over;
};

static void *
drop_all_the_time(void *ctx)
{
	struct dropper *d = ctx;

	while (!d->over) {
		struct segstore_leaving v = {.seg = d->k->rows[0].id, .mask = 0x5555};

		if (segstore_drop_pieces(d->k->f->ss, &v, 1) || segstore_save_pieces(d->k->f->ss))
			return ctx;
	}
	return NULL;
}

static void
what_is_read_while_pieces_come_and_go_is_right(void **state)
{
	struct shelf_store k;
	struct dropper d = {.k = &k};
	pthread_t thread;
	void *failed;
	uint64_t ino;

	shelf_open(*state, &k);
	ino = shelf_file(&k, 12 * MIB, 10);
	assert_int_equal(pthread_create(&thread, NULL, drop_all_the_time, &d), 0);
	for (unsigned n = 0; n < 300; n++) {
		uint8_t buf[20000];
		size_t got = 0;
		err_t e = content_read(k.f->c, ino, n * 7919u * 13 % (11 * MIB), sizeof(buf), buf, &got);

		assert_int_equal(e, 0);
	}
	d.over = true;
	pthread_join(thread, &failed);
	assert_null(failed);
	shelf_assert_file(&k, ino, 10, 0, 12 * MIB);
	shelf_clear(&k);
}

/* A cache that is so small that whatever comes takes the room of all else. */
struct cramped {
	struct shelf_store *k;
	unsigned asked;
};

static err_t
make_room_and_read(void *ctx, const struct segment *s, uint64_t off, size_t len, struct bytes *out)
{
	struct cramped *c = ctx;

	for (unsigned n = 0; n < c->k->count; n++) {
		struct segstore_leaving v = {.seg = c->k->rows[n].id, .mask = UINT64_MAX};

		if (v.seg != s->id && segstore_drop_pieces(c->k->f->ss, &v, 1))
			return -EIO;
	}
	return ++c->asked > 20 ? -EAGAIN : shelf_read(c->k, s, off, len, out);
}

static void
what_somebody_waits_for_is_there_until_he_has_read_it_however_small_the_cache_is(void **state)
{
	struct shelf_store k;
	struct cramped c = {.k = &k};
	struct extent_list l;
	uint64_t ino, no = 0;

	shelf_open(*state, &k);
	ino = shelf_file(&k, 20 * MIB, 15);
	assert_true(k.count >= 2);
	do {
		l = extents_of(k.f, ino, ++no);

		bool second = l.v[0].seg == k.rows[1].id;

		extent_list_clear(&l);
		if (second)
			break;
	} while (no < 20);
	assert_in_range(no, 1, 19);
	fetcher_hold_ahead(content_fetcher(k.f->c), true);
	shelf_evict(&k);
	content_set_fetch(k.f->c, make_room_and_read, &c);
	/* One read that needs the end of one segment and the beginning of the next. */
	shelf_assert_file(&k, ino, 15, no * MIB - MIB / 2, MIB);
	assert_in_range(c.asked, 2, 4);
	/* Who is done holds nothing. */
	for (unsigned n = 0; n < k.count; n++) {
		struct segstore_leaving v = {.seg = k.rows[n].id, .mask = UINT64_MAX};

		assert_int_equal(segstore_drop_pieces(k.f->ss, &v, 1), 0);
		assert_int_equal(shelf_here(&k, n), 0);
	}
	shelf_clear(&k);
}

/* Two that save, as the cache and a pull do. */
struct savers {
	struct shelf_store *k;
	atomic_uint inside;
	atomic_bool overlapped;
	atomic_bool failed;
};

static _Thread_local bool is_saving;

static bool
saved(struct savers *v)
{
	is_saving = true;

	err_t e = segstore_save_pieces(v->k->f->ss);

	is_saving = false;
	if (e)
		v->failed = true;
	return !e;
}

static err_t
watch_flush(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct savers *v = ctx;

	(void)fd, (void)name, (void)data, (void)off, (void)len;
	if (!is_saving || strcmp(operation, "flush") != 0)
		return 0;
	if (atomic_fetch_add(&v->inside, 1))
		v->overlapped = true;
	shelf_pause(2000);
	atomic_fetch_sub(&v->inside, 1);
	return 0;
}

static void *
give_up_and_save(void *ctx)
{
	struct savers *v = ctx;
	struct segstore *ss = v->k->f->ss;

	for (unsigned n = 0; n < 30; n++) {
		struct segstore_leaving l = {.seg = v->k->rows[0].id, .mask = UINT64_C(0xf) << n % 8};

		if (segstore_drop_pieces(ss, &l, 1) ||
		    fetcher_bring(content_fetcher(v->k->f->c), l.seg, n % 8 * MIB, 1, false))
			v->failed = true;
		if (!saved(v))
			break;
	}
	return NULL;
}

static void *
bring_all_and_save(void *ctx)
{
	struct savers *v = ctx;
	const struct bytes *object = &v->k->objects[0];

	for (unsigned n = 0; n < 30; n++) {
		if (segstore_put_pieces(v->k->f->ss, v->k->rows[0].id, 0, object->data, object->len, false))
			v->failed = true;
		if (!saved(v))
			break;
	}
	return NULL;
}

static void
pieces_are_saved_by_one_at_a_time_whoever_wants_it(void **state)
{
	struct shelf_store k;
	struct savers v = {.k = &k};
	pthread_t threads[2];
	uint64_t ino;

	shelf_open(*state, &k);
	ino = shelf_file(&k, 10 * MIB, 12);
	shelf_evict(&k);
	disk_watch(watch_flush, &v);
	assert_int_equal(pthread_create(&threads[0], NULL, give_up_and_save, &v), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, bring_all_and_save, &v), 0);
	for (unsigned n = 0; n < 20; n++)
		shelf_assert_file(&k, ino, 12, n % 10 * MIB, 5000);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	disk_watch(NULL, NULL);
	assert_false(v.failed);
	assert_false(v.overlapped);
	shelf_assert_file(&k, ino, 12, 0, 10 * MIB);
	shelf_clear(&k);
}

/* A store from which segments go just when somebody wants them; a pulled commit has put what was in them elsewhere. */
struct vanishing {
	struct shelf_store *k;
	uint64_t ino;
	uint64_t seg[2]; /* the same bytes in each */
	uint64_t shift;  /* in the second one they lie that much further back */
	bool moves;
	bool second_too;
	unsigned asked;  /* for what was gone */
};

static err_t
move_file(struct vanishing *v, bool back)
{
	CLEANUP(extent_list_clear) struct extent_list next = {0};
	struct fixture *f = v->k->f;
	struct inode *i;
	struct chunk *ch;

	content_lock_file(f->c, v->ino, true);
	meta_lock(f->meta);

	err_t e = meta_inode_get(f->meta, v->ino, &i);

	if (!e)
		e = meta_chunk_get(f->meta, i, 0, false, &ch);
	if (!e)
		e = extent_list_copy(&ch->current, &next);
	for (uint32_t n = 0; n < next.count; n++) {
		next.v[n].seg = v->seg[!back];
		next.v[n].seg_off += back ? -v->shift : v->shift;
	}
	if (!e)
		content_install(f->c, i, ch, &next);
	meta_unlock(f->meta);
	content_unlock_file(f->c, v->ino);
	return e;
}

static err_t
read_vanishing(void *ctx, const struct segment *s, uint64_t off, size_t len, struct bytes *out)
{
	struct vanishing *v = ctx;
	bool second = s->id == v->seg[1];
	err_t e = 0;

	if (second && !v->second_too)
		return shelf_read(v->k, s, off, len, out);
	v->asked++;
	if (v->moves)
		e = move_file(v, second);
	return e ? e : -ENOENT;
}

static void
vanishing_open(struct fixture *f, struct shelf_store *k, struct vanishing *v)
{
	static const uint8_t first[4096];
	struct segstore_build *b;
	struct segment made;
	uint64_t off;

	shelf_open(f, k);
	*v = (struct vanishing){.k = k, .ino = shelf_file(k, 500000, 13), .seg = {k->rows[0].id}};
	assert_int_equal(segstore_build_begin(f->ss, &b), 0);
	assert_int_equal(segstore_build_add(b, first, sizeof(first), &off), 0);
	assert_int_equal(segstore_build_add(b, k->objects[0].data, (uint32_t)k->objects[0].len, &v->shift), 0);
	assert_int_equal(segstore_build_finish(b, &made), 0);
	v->seg[1] = made.id;
	shelf_add(k, made.id);
	shelf_evict(k);
	fetcher_hold_ahead(content_fetcher(f->c), true);
	content_set_fetch(f->c, read_vanishing, v);
}

static void
who_waits_for_a_segment_that_is_moved_and_deleted_meanwhile_reads_it_where_it_is(void **state)
{
	struct shelf_store k;
	struct vanishing v;

	vanishing_open(*state, &k, &v);
	v.moves = true;
	shelf_assert_file(&k, v.ino, 13, 0, 500000);
	assert_int_equal(v.asked, 1);
	shelf_clear(&k);
}

static void
who_reads_what_is_gone_is_told_so_and_nobody_asks_for_it_without_end(void **state)
{
	struct shelf_store k;
	struct vanishing v;
	struct reader r = {.k = &k};

	vanishing_open(*state, &k, &v);
	r.ino = v.ino;
	(void)read_some(&r);
	assert_int_equal(r.result, -EIO);
	assert_int_equal(v.asked, 1);
	v.moves = v.second_too = true;
	(void)read_some(&r);
	assert_int_equal(r.result, -EIO);
	assert_int_equal(v.asked, 1 + 5);
	shelf_clear(&k);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_read_while_pieces_come_and_go_is_right),
		TEST(what_somebody_waits_for_is_there_until_he_has_read_it_however_small_the_cache_is),
		TEST(pieces_are_saved_by_one_at_a_time_whoever_wants_it),
		TEST(who_waits_for_a_segment_that_is_moved_and_deleted_meanwhile_reads_it_where_it_is),
		TEST(who_reads_what_is_gone_is_told_so_and_nobody_asks_for_it_without_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
