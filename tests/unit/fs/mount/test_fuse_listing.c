/* Folders that are listed by several, and change meanwhile. */
#include "fuse_mount_fixture.h"

#include <dirent.h>
#include <stdbool.h>

#include "fuse_listing.h"

/* The rule. */

static void
what_has_changed_since_anybody_began_is_not_the_same(void **state)
{
	struct fuse_listings *l;

	(void)state;
	assert_int_equal(fuse_listings_new(&l), 0);
	fuse_listings_begin(l, 7);
	assert_true(fuse_listings_end(l, 7));
	fuse_listings_begin(l, 7);
	fuse_listings_note_change(l, 7);
	assert_false(fuse_listings_end(l, 7));
	fuse_listings_begin(l, 7);
	fuse_listings_note_change(l, 7);
	fuse_listings_begin(l, 7); /* another, who may go on with what is older */
	assert_false(fuse_listings_end(l, 7));
	fuse_listings_note_change(l, 7);
	fuse_listings_begin(l, 7);
	assert_true(fuse_listings_end(l, 7));
	fuse_listings_free(l);
}

static void
whose_beginning_is_not_known_is_not_the_same(void **state)
{
	struct fuse_listings *l;

	(void)state;
	assert_int_equal(fuse_listings_new(&l), 0);
	assert_false(fuse_listings_end(l, 7));
	fuse_listings_begin(l, 7);
	for (uint64_t folder = 8; folder < 2000; folder++)
		fuse_listings_begin(l, folder);
	assert_false(fuse_listings_end(l, 7));
	assert_true(fuse_listings_end(l, 1999));
	fuse_listings_begin(l, 7);
	fuse_listings_note_change(l, 8);
	fuse_listings_note_change(l, 7 + 256);
	assert_true(fuse_listings_end(l, 7));
	fuse_listings_free(l);
}

/* What the kernel makes of it. */

#define NAMES 200

static int
open_folder(const struct fixture *f)
{
	int fd = open(path_of(f, "folder"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* Reads on, at most len bytes of entries; how many there were.  *seen: was that name among them? */
static size_t
read_some(int fd, size_t len, const char *name, bool *seen)
{
	_Alignas(struct dirent64) char buf[32768];
	ssize_t got = getdents64(fd, buf, len);
	size_t count = 0;

	assert_true(got >= 0);
	for (ssize_t at = 0; at < got; count++) {
		const struct dirent64 *d = (const struct dirent64 *)(buf + at);

		*seen = *seen || strcmp(d->d_name, name) == 0;
		at += d->d_reclen;
	}
	return count;
}

static void
make_folder(const struct fixture *f)
{
	char name[32];

	assert_int_equal(mkdir(path_of(f, "folder"), 0700), 0);
	for (unsigned k = 0; k < NAMES; k++) {
		snprintf(name, sizeof(name), "folder/%03u", k);
		put(f, name, "");
	}
}

/* One has read all names when change comes; another begins, the one comes to the end, the other goes on: does he see the name? */
static bool
is_seen_after(const struct fixture *f, void (*change)(const struct fixture *f), size_t names, const char *name)
{
	int one = open_folder(f), other;
	bool ignored = false, seen = false;
	size_t count = 0;

	while (count < names + 2)
		count += read_some(one, 32768, name, &ignored);
	assert_int_equal(count, names + 2);
	change(f);
	other = open_folder(f);
	assert_true(read_some(other, 400, name, &seen) > 0);
	assert_false(seen);
	assert_int_equal(read_some(one, 32768, name, &ignored), 0);
	while (read_some(other, 400, name, &seen) > 0)
		;
	assert_int_equal(close(one), 0);
	assert_int_equal(close(other), 0);
	return seen;
}

static void
remove_150(const struct fixture *f)
{
	assert_int_equal(unlink(path_of(f, "folder/150")), 0);
}

static void
rename_150(const struct fixture *f)
{
	char from[256];

	strcpy(from, path_of(f, "folder/150"));
	assert_int_equal(rename(from, path_of(f, "150")), 0);
}

static void
make_150(const struct fixture *f)
{
	put(f, "folder/150", "");
}

static void
a_name_that_was_removed_before_a_listing_began_is_not_in_it(void **state)
{
	const struct fixture *f = *state;

	make_folder(f);
	assert_false(is_seen_after(f, remove_150, NAMES, "150"));
}

static void
a_name_that_went_to_another_folder_before_a_listing_began_is_not_in_it(void **state)
{
	const struct fixture *f = *state;

	make_folder(f);
	assert_false(is_seen_after(f, rename_150, NAMES, "150"));
}

/* The store has it, so that the name keeps its place among the others. */
static void
a_name_that_was_made_again_before_a_listing_began_is_in_it(void **state)
{
	const struct fixture *f = *state;
	uint64_t folder, file;

	make_folder(f);
	folder = number_of(f, "folder");
	file = number_of(f, "folder/150");
	meta_lock(f->vault->meta);
	assert_int_equal(meta_dentry_set_chain(f->vault->meta, folder, "150", file), 0);
	meta_unlock(f->vault->meta);
	remove_150(f);
	assert_true(is_seen_after(f, make_150, NAMES - 1, "150"));
}

/* The kernel may drop what it has kept, or send something of its own, at any time; but not each time. */
static void
what_is_listed_again_is_not_asked_for(void **state)
{
	struct fixture *f = *state;
	bool seen = false, quiet = false;

	make_folder(f);
	for (unsigned round = 0; round < 10; round++) {
		int fd = open_folder(f);
		uint64_t before = fuse_mount_use(f->mount);

		while (read_some(fd, 32768, "150", &seen) > 0)
			;
		assert_int_equal(close(fd), 0);
		if (round == 0)
			assert_true(fuse_mount_use(f->mount) > before);
		quiet = quiet || fuse_mount_use(f->mount) == before;
	}
	assert_true(seen);
	assert_true(quiet);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_has_changed_since_anybody_began_is_not_the_same),
		cmocka_unit_test(whose_beginning_is_not_known_is_not_the_same),
		TEST(a_name_that_was_removed_before_a_listing_began_is_not_in_it),
		TEST(a_name_that_went_to_another_folder_before_a_listing_began_is_not_in_it),
		TEST(a_name_that_was_made_again_before_a_listing_began_is_in_it),
		TEST(what_is_listed_again_is_not_asked_for),
	};

	if (secmem_init())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
