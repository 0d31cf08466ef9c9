/* Contents of files that were damaged, swapped or cut short, and disks that fail: errors, never wrong bytes. */
#include "fixture.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#define MIB (1u << 20)

/* Damage. */

static void
flip(const struct fixture *f, uint64_t seg, uint64_t off)
{
	char path[128];
	uint8_t byte;

	segment_path(f, seg, path);

	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)off), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)off), 1);
	close(fd);
}

/* Every read of the file gives its bytes or -EIO; the one of all of it gives -EIO. */
static void
assert_damaged(struct fixture *f, uint64_t ino, const uint8_t *data, size_t len)
{
	uint8_t buf[70000];
	size_t n;

	assert_true(len <= sizeof(buf));
	assert_int_equal(content_read(f->c, ino, 0, len, buf, &n), -EIO);
	for (size_t off = 0; off < len; off += 4096) {
		err_t e = content_read(f->c, ino, off, 4096, buf, &n);

		assert_true(e == 0 || e == -EIO);
		if (!e)
			assert_memory_equal(buf, data + off, n);
	}
}

static void
flip_all(struct fixture *f, const uint8_t *data, size_t len, bool settled, size_t step)
{
	uint64_t ino = new_file(f), other = new_file(f);

	write_file(f, ino, 0, data, len);
	write_file(f, other, 0, "unharmed", 8);
	if (settled)
		assert_int_equal(settle_one(f, ino), 0);

	struct extent_list l = extents_of(f, ino, 0);

	assert_int_equal(l.count, 1);
	for (uint64_t k = 0; k < l.v[0].stored_len; k += step) {
		flip(f, l.v[0].seg, l.v[0].seg_off + k);
		assert_damaged(f, ino, data, len);
		assert_content(f, other, 0, "unharmed", 8);
		flip(f, l.v[0].seg, l.v[0].seg_off + k);
	}
	assert_content(f, ino, 0, data, len);
	extent_list_clear(&l);
}

static void
every_flipped_byte_of_a_hot_file_is_noticed_and_other_files_stay_readable(void **state)
{
	uint8_t data[5000];

	fill(data, sizeof(data), 9);
	flip_all(*state, data, sizeof(data), false, 7);
	flip_all(*state, data, 40, false, 1);
}

static void
every_flipped_byte_of_a_packed_file_is_noticed(void **state)
{
	static uint8_t data[70000];

	for (size_t k = 0; k < sizeof(data); k++)
		data[k] = (uint8_t)(k / 100);
	flip_all(*state, data, sizeof(data), true, 1);
	fill(data, sizeof(data), 4);
	memset(data, 0, 20000); /* frames of both kinds in one extent */
	flip_all(*state, data, sizeof(data), true, 499);
}

static void
a_truncated_segment_is_eio(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t data[9000];
	char path[128];
	size_t n = 0;

	fill(data, sizeof(data), 6);
	write_file(f, ino, 0, data, sizeof(data));

	struct extent_list l = extents_of(f, ino, 0);

	segment_path(f, l.v[0].seg, path);
	assert_int_equal(truncate(path, 5000), 0);
	assert_content(f, ino, 0, data, 4096);
	assert_int_equal(content_read(f->c, ino, 0, sizeof(data), data, &n), -EIO);
	extent_list_clear(&l);
}

/* Lets to[0] be stored where, and be said to be sealed as, from[0] is. */
static void
graft(struct fixture *f, uint64_t to, uint64_t to_no, uint64_t from, uint64_t from_no, bool with_identity)
{
	struct extent_list l = extents_of(f, from, from_no);
	struct inode *i;
	struct chunk *ch;

	meta_lock(f->meta);
	assert_int_equal(meta_inode_get(f->meta, to, &i), 0);
	assert_int_equal(meta_chunk_get(f->meta, i, to_no, false, &ch), 0);
	ch->current.v[0].seg = l.v[0].seg;
	ch->current.v[0].seg_off = l.v[0].seg_off;
	if (with_identity)
		memcpy(ch->current.v[0].x_id, l.v[0].x_id, EXTENT_ID_LEN);
	meta_chunk_dirty(f->meta, i, ch);
	meta_unlock(f->meta);
	extent_list_clear(&l);
}

static void
extents_that_were_swapped_between_files_or_places_are_eio(void **state)
{
	struct fixture *f = *state;
	uint64_t a = new_file(f), b = new_file(f), c = new_file(f);
	uint8_t data[4096];
	size_t n;

	fill(data, sizeof(data), 8);
	write_file(f, a, 0, data, sizeof(data));
	write_file(f, b, 0, data, sizeof(data));
	for (unsigned no = 0; no < 2; no++)
		write_file(f, c, no * (uint64_t)MIB, data, sizeof(data));
	graft(f, a, 0, b, 0, false); /* another file's bytes */
	assert_int_equal(content_read(f->c, a, 0, sizeof(data), data, &n), -EIO);
	graft(f, a, 0, b, 0, true); /* ... with their extent id */
	assert_int_equal(content_read(f->c, a, 0, sizeof(data), data, &n), -EIO);
	graft(f, c, 1, c, 0, true); /* the same file's bytes of another offset */
	assert_int_equal(content_read(f->c, c, MIB, sizeof(data), data, &n), -EIO);
	fill(data, sizeof(data), 8);
	assert_content(f, b, 0, data, sizeof(data));
	assert_content(f, c, 0, data, sizeof(data));
}

static void
an_old_version_of_a_part_does_not_open_in_the_place_of_the_new_one(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	uint8_t old[4096], new[4096], sealed[4112], buf[4096];
	char path[128];
	size_t n;

	fill(old, sizeof(old), 1);
	fill(new, sizeof(new), 2);
	write_file(f, ino, 0, old, sizeof(old));

	struct extent_list first = extents_of(f, ino, 0);

	assert_int_equal(segstore_read(f->ss, first.v[0].seg, first.v[0].seg_off, 4112, sealed), 0);
	write_file(f, ino, 0, new, sizeof(new));

	struct extent_list second = extents_of(f, ino, 0);

	segment_path(f, second.v[0].seg, path);

	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, sealed, sizeof(sealed), (off_t)second.v[0].seg_off), (ssize_t)sizeof(sealed));
	close(fd);
	assert_int_equal(content_read(f->c, ino, 0, sizeof(buf), buf, &n), -EIO);
	extent_list_clear(&first);
	extent_list_clear(&second);
}

/* Failing disks. */

struct strike {
	err_t error;
	const char *only; /* NULL: any operation */
	atomic_uint after;
	atomic_uint seen;
};

static err_t
strike_fn(void *ctx, const char *operation, int fd, const char *name, const void *data, uint64_t off, uint64_t len)
{
	struct strike *k = ctx;

	(void)fd, (void)name, (void)data, (void)off, (void)len;
	if (k->only && strcmp(k->only, operation) != 0)
		return 0;
	return atomic_fetch_add(&k->seen, 1) >= k->after ? k->error : 0;
}

static void
a_disk_that_fails_at_any_operation_leaves_the_file_as_it_was(void **state)
{
	static const err_t errors[] = {-ENOSPC, -EIO};
	struct fixture *f = *state;
	static uint8_t data[3 * MIB], more[3 * MIB];

	fill(data, sizeof(data), 1);
	fill(more, sizeof(more), 2);
	for (size_t k = 0; k < ARRAY_LEN(errors); k++) {
		uint64_t ino = new_file(f);
		unsigned failures = 0;

		write_file(f, ino, 0, data, sizeof(data));
		for (unsigned after = 0;; after++) {
			struct strike s = {.error = errors[k], .after = after};

			disk_watch(strike_fn, &s);

			err_t e = content_write(f->c, ino, 1000, more, sizeof(more) - 5000);

			disk_watch(NULL, NULL);
			if (!e)
				break;
			failures++;
			assert_int_equal(e, errors[k]);
			assert_int_equal(inode_of(f, ino).size, sizeof(data));
			assert_content(f, ino, 0, data, sizeof(data));
		}
		assert_true(failures >= 2); /* its pieces go to the disk two at a time */
		memcpy(data + 1000, more, sizeof(more) - 5000);
		assert_content(f, ino, 0, data, sizeof(data));
		assert_int_equal(meta_sync(f->meta), 0);
	}
}

static void
a_commit_that_the_disk_refuses_is_an_error_and_can_be_tried_again(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = new_file(f);
	static uint8_t data[MIB];
	struct strike s = {.error = -EIO, .only = "flush"};

	fill(data, sizeof(data), 3);
	write_file(f, ino, 0, data, sizeof(data));
	disk_watch(strike_fn, &s);
	assert_int_equal(meta_sync(f->meta), -EIO);
	assert_int_equal(meta_health(f->meta), -EIO);
	assert_content(f, ino, 0, data, sizeof(data));
	disk_watch(NULL, NULL);
	assert_int_equal(meta_sync(f->meta), 0);
	fixture_reopen(f, false);
	assert_content(f, ino, 0, data, sizeof(data));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_flipped_byte_of_a_hot_file_is_noticed_and_other_files_stay_readable),
		TEST(every_flipped_byte_of_a_packed_file_is_noticed),
		TEST(a_truncated_segment_is_eio),
		TEST(extents_that_were_swapped_between_files_or_places_are_eio),
		TEST(an_old_version_of_a_part_does_not_open_in_the_place_of_the_new_one),
		TEST(a_disk_that_fails_at_any_operation_leaves_the_file_as_it_was),
		TEST(a_commit_that_the_disk_refuses_is_an_error_and_can_be_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
