/* What verify says of a store that somebody has been at, and what it puts back. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chain.h"
#include "engine.h"
#include "hash.h"
#include "lookback.h"
#include "random.h"
#include "sides.h"
#include "verified.h"
#include "verify.h"

#define FINDINGS_MAX 64

struct said {
	enum verify_kind kind;
	char object[CHAIN_NAME_MAX];
	char path[256]; /* "": none */
	bool repaired;
};

static struct said said[FINDINGS_MAX];
static size_t said_count;
static struct verify_report report;

static err_t
note(void *ctx, const struct verify_finding *f)
{
	struct said *s = &said[said_count++];

	(void)ctx;
	assert_in_range(said_count, 1, FINDINGS_MAX);
	assert_true(strlen(f->text) > 0 && f->text[strlen(f->text) - 1] != '.');
	s->kind = f->kind;
	s->repaired = f->repaired;
	snprintf(s->object, sizeof(s->object), "%s", f->object);
	snprintf(s->path, sizeof(s->path), "%s", f->path != NULL ? f->path : "");
	return 0;
}

static void
run(struct side *s, unsigned percent, bool repair)
{
	const struct verify_options o = { .percent = percent, .repair = repair, .found = note };

	said_count = 0;
	assert_int_equal(sync_verify(s->sync, &o, &report), 0);
}

static uint64_t
damage(void)
{
	return report.counts[VERIFY_MISSING] + report.counts[VERIFY_CHANGED] + report.counts[VERIFY_FOREIGN];
}

static void
assert_clean(struct side *s)
{
	run(s, 100, false);
	assert_int_equal(said_count, 0);
	assert_int_equal(damage(), 0);
	assert_int_equal(report.counts[VERIFY_ORPHAN], 0);
}

static bool
was_said(enum verify_kind kind, const char *object, const char *path, bool repaired)
{
	for (size_t i = 0; i < said_count; i++)
		if (said[i].kind == kind && strcmp(said[i].object, object) == 0 && strcmp(said[i].path, path) == 0 &&
		    said[i].repaired == repaired)
			return true;
	return false;
}

/* The segment of a file's first extent, as an object and as a path on the disk. */
static void
object_of(struct side *s, const char *file, char object[static CHAIN_NAME_MAX])
{
	struct segment row;
	struct inode *i;
	uint64_t ino = lookup(s, INODE_ROOT, file);

	meta_lock(s->v->meta);
	assert_int_equal(meta_inode_get(s->v->meta, ino, &i), 0);
	assert_int_equal(meta_segment_get(s->v->meta, i->chunk0->current.v[0].seg, &row), 0);
	meta_unlock(s->v->meta);
	chain_segment_object_name(row.name, object);
}

static void
forget_locally(struct side *s, const char *file)
{
	struct inode *i;
	uint64_t seg, ino = lookup(s, INODE_ROOT, file);

	meta_lock(s->v->meta);
	assert_int_equal(meta_inode_get(s->v->meta, ino, &i), 0);
	seg = i->chunk0->current.v[0].seg;
	meta_unlock(s->v->meta);
	assert_int_equal(segstore_drop(s->v->segments, seg), 0);
}

static void
flip(const struct fixture *f, const char *object, long at)
{
	char path[512];
	FILE *file;
	int c;

	snprintf(path, sizeof(path), "%s/%s", f->store, object);
	file = fopen(path, "r+b");
	assert_non_null(file);
	assert_int_equal(fseek(file, at, at < 0 ? SEEK_END : SEEK_SET), 0);
	c = fgetc(file);
	assert_int_equal(fseek(file, -1, SEEK_CUR), 0);
	assert_int_equal(fputc(c ^ 1, file), c ^ 1);
	assert_int_equal(fclose(file), 0);
}

/* Two segments: a pair of files in two pushes. */
static void
two_segments(struct fixture *f)
{
	make_text(&f->a, "one", "the first file");
	sync_ok(&f->a);
	make_text(&f->a, "two", "the second file");
	sync_ok(&f->a);
}

static void
a_store_that_nobody_touched_is_clean(void **state)
{
	struct fixture *f = *state;

	run(&f->a, 100, false);
	assert_int_equal(said_count, 0);
	make_variety(&f->a);
	sync_ok(&f->a);
	assert_clean(&f->a);
	assert_true(report.segments > 0 && report.bytes_read > 0 && report.objects_read >= 3);
	join_side(f, &f->b);
	assert_clean(&f->b);
}

static void
a_changed_byte_names_the_file_and_is_put_back(void **state)
{
	struct fixture *f = *state;
	char one[CHAIN_NAME_MAX];

	two_segments(f);
	object_of(&f->a, "one", one);
	flip(f, one, 3);
	run(&f->a, 100, false);
	assert_int_equal(said_count, 1);
	assert_true(was_said(VERIFY_CHANGED, one, "one", false));
	assert_int_equal(report.files_damaged, 1);
	run(&f->a, 100, true);
	assert_int_equal(said_count, 1);
	assert_true(was_said(VERIFY_CHANGED, one, "one", true));
	assert_int_equal(report.repaired, 1);
	assert_clean(&f->a);
}

static void
damage_in_the_padding_concerns_no_file(void **state)
{
	struct fixture *f = *state;
	char one[CHAIN_NAME_MAX];

	two_segments(f);
	object_of(&f->a, "one", one);
	flip(f, one, -1);
	run(&f->a, 100, false);
	assert_int_equal(said_count, 1);
	assert_true(was_said(VERIFY_CHANGED, one, "", false));
	assert_int_equal(report.files_damaged, 0);
}

static void
what_is_still_to_be_cut_off_a_file_is_none_of_it(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_text(&f->a, "one", "the first chunk");
	struct segment row;
	char object[CHAIN_NAME_MAX];
	struct chunk *c;
	struct inode *i;

	sync_ok(&f->a);
	write_at(&f->a, ino, CHUNK_LEN, "the second chunk", 16);
	sync_ok(&f->a);
	meta_lock(f->a.v->meta);
	assert_int_equal(meta_inode_get(f->a.v->meta, ino, &i), 0);
	assert_int_equal(meta_chunk_get(f->a.v->meta, i, 1, false, &c), 0);
	assert_int_equal(meta_segment_get(f->a.v->meta, c->current.v[0].seg, &row), 0);
	meta_unlock(f->a.v->meta);
	chain_segment_object_name(row.name, object);
	flip(f, object, 3);
	run(&f->a, 100, false);
	assert_true(said_count == 1 && was_said(VERIFY_CHANGED, object, "one", false));

	/* As a truncation in steps leaves it after its first: here alone, then in the chain, too. */
	meta_lock(f->a.v->meta);
	i->chain_size = i->size;
	i->size = 15;
	i->pending |= PENDING_CONTENT;
	meta_unlock(f->a.v->meta);
	run(&f->a, 100, false);
	assert_true(said_count == 1 && was_said(VERIFY_CHANGED, object, "one", false));
	meta_lock(f->a.v->meta);
	i->pending &= ~(uint32_t)PENDING_CONTENT;
	meta_unlock(f->a.v->meta);
	run(&f->a, 100, false);
	assert_true(said_count == 1 && was_said(VERIFY_CHANGED, object, "", false));
	assert_int_equal(report.files_damaged, 0);
}

static void
segments_that_are_lost_cut_grown_or_swapped_are_found_and_put_back(void **state)
{
	struct fixture *f = *state;
	char one[CHAIN_NAME_MAX], two[CHAIN_NAME_MAX];

	two_segments(f);
	object_of(&f->a, "one", one);
	object_of(&f->a, "two", two);

	shell("rm %s/%s", f->store, one);
	run(&f->a, 100, true);
	assert_int_equal(said_count, 1);
	assert_true(was_said(VERIFY_MISSING, one, "one", true));
	assert_clean(&f->a);

	shell("truncate -s 10 %s/%s", f->store, one);
	run(&f->a, 100, true);
	assert_true(said_count == 1 && was_said(VERIFY_CHANGED, one, "one", true));
	assert_clean(&f->a);

	shell("truncate -s 8192 %s/%s", f->store, one); /* grown: what was there still is */
	run(&f->a, 100, true);
	assert_true(said_count == 1 && was_said(VERIFY_CHANGED, one, "", true));
	assert_clean(&f->a);

	shell("cd %s && mv %s x && mv %s %s && mv x %s", f->store, one, two, one, two);
	run(&f->a, 100, true);
	assert_true(said_count == 2 && was_said(VERIFY_CHANGED, one, "one", true) && was_said(VERIFY_CHANGED, two, "two", true));
	assert_clean(&f->a);
}

static void
what_this_device_has_not_is_said_and_left(void **state)
{
	struct fixture *f = *state;
	char one[CHAIN_NAME_MAX];

	two_segments(f);
	object_of(&f->a, "one", one);
	shell("rm %s/%s", f->store, one);
	forget_locally(&f->a, "one");
	run(&f->a, 100, true);
	assert_true(said_count == 1 && was_said(VERIFY_MISSING, one, "one", false));
	assert_int_equal(report.repaired, 0);
	assert_text(&f->a, "two", "the second file");
}

static void
a_sample_of_the_segments_still_sees_what_is_lost_or_has_another_size(void **state)
{
	struct fixture *f = *state;
	char one[CHAIN_NAME_MAX], two[CHAIN_NAME_MAX];

	two_segments(f);
	object_of(&f->a, "one", one);
	object_of(&f->a, "two", two);
	shell("rm %s/%s && truncate -s 10 %s/%s", f->store, one, f->store, two);
	run(&f->a, 1, false);
	assert_true(said_count == 2 && was_said(VERIFY_MISSING, one, "one", false) &&
	    was_said(VERIFY_CHANGED, two, "two", false));
}

static void
segments_of_earlier_versions_are_looked_at_too(void **state)
{
	struct fixture *f = *state;
	char one[CHAIN_NAME_MAX];

	two_segments(f);
	object_of(&f->a, "one", one);
	write_at(&f->a, lookup(&f->a, INODE_ROOT, "one"), 0, "The other one!", 14);
	sync_ok(&f->a);
	assert_clean(&f->a);
	shell("rm %s/%s", f->store, one);
	run(&f->a, 100, false);
	assert_true(said_count == 1 && was_said(VERIFY_MISSING, one, "", false));
}

static void
the_marker_is_written_anew(void **state)
{
	struct fixture *f = *state;

	two_segments(f);
	shell("rm %s/v", f->store);
	run(&f->a, 100, false);
	assert_true(said_count == 1 && was_said(VERIFY_MISSING, "v", "", false));
	run(&f->a, 100, true);
	assert_true(was_said(VERIFY_MISSING, "v", "", true));
	assert_clean(&f->a);
	flip(f, "v", 100);
	run(&f->a, 100, true);
	assert_true(said_count == 1 && was_said(VERIFY_CHANGED, "v", "", true));
	assert_clean(&f->a);
	join_side(f, &f->b);
}

static void
a_key_box_that_was_lost_is_noticed_and_a_new_epoch_has_another(void **state)
{
	struct fixture *f = *state;
	char box[CHAIN_NAME_MAX], *why = NULL;
	struct store *store;
	const char *name;
	uint8_t sha256[32];
	uint32_t epoch;

	two_segments(f);
	assert_int_equal(trust_epoch(f->a.v->trust, &epoch, &name, sha256), 0);
	snprintf(box, sizeof(box), "%s", name);
	flip(f, box, 500);
	run(&f->a, 100, false);
	assert_true(said_count == 1 && was_said(VERIFY_CHANGED, box, "", false));
	shell("rm %s/%s", f->store, box);
	run(&f->a, 100, false);
	assert_true(said_count == 1 && was_said(VERIFY_MISSING, box, "", false));
	store = open_store(f->store);
	assert_int_not_equal(join_with(f, &f->b, store, f->recovery, &why), 0);
	store_free(store);
	free(why);

	/* A new epoch, and a base of it for those who join. */
	run(&f->a, 100, true);
	assert_true(said_count == 1 && was_said(VERIFY_MISSING, box, "", true));
	assert_int_equal(trust_epoch(f->a.v->trust, &epoch, &name, sha256), 0);
	assert_int_equal(epoch, 1);
	run(&f->a, 100, false);
	assert_true(said_count == 1 && was_said(VERIFY_MISSING, box, "", false));
	join_side(f, &f->b);
	assert_text(&f->b, "one", "the first file");
}

static void
each_commit_is_checked_and_a_base_takes_the_place_of_a_lost_one(void **state)
{
	struct fixture *f = *state;
	char base[256];

	two_segments(f);
	assert_int_equal(head_of(&f->a), 1);
	flip(f, "c/000000000000", 200);
	run(&f->a, 100, false);
	assert_int_equal(report.counts[VERIFY_CHANGED], 1);
	assert_true(was_said(VERIFY_CHANGED, "c/000000000000", "", false));
	assert_true(was_said(VERIFY_MISSING, "c/000000000000", "", false)); /* what it means: nobody can join */

	run(&f->a, 100, true);
	snprintf(base, sizeof(base), "%s/b/000000000001", f->store);
	assert_int_equal(access(base, F_OK), 0);
	run(&f->a, 100, false);
	assert_int_equal(said_count, 1);
	assert_true(was_said(VERIFY_CHANGED, "c/000000000000", "", false));
	join_side(f, &f->b);
	assert_text(&f->b, "one", "the first file");
	assert_text(&f->b, "two", "the second file");
}

static void
a_commit_that_is_exchanged_for_another_genuine_one_is_noticed(void **state)
{
	struct fixture *f = *state;

	two_segments(f);
	shell("cp %s/c/000000000000 %s/c/000000000001", f->store, f->store);
	run(&f->a, 100, false);
	assert_true(was_said(VERIFY_CHANGED, "c/000000000001", "", false));
	shell("rm %s/c/000000000001", f->store);
	run(&f->a, 100, false);
	assert_true(was_said(VERIFY_MISSING, "c/000000000001", "", false));
}

static void
a_damaged_base_gives_way_to_a_new_one(void **state)
{
	struct fixture *f = *state;

	two_segments(f);
	assert_int_equal(base_write(f->a.sync), 0);
	assert_clean(&f->a);
	flip(f, "b/000000000001", 300);
	run(&f->a, 100, true);
	assert_true(was_said(VERIFY_CHANGED, "b/000000000001", "", true));
	run(&f->a, 100, false);
	assert_int_equal(damage(), 0); /* parts of the old one may be left over */
	join_side(f, &f->b);
}

static void
a_lost_part_of_a_base_is_named(void **state)
{
	struct fixture *f = *state;
	char one[CHAIN_NAME_MAX], two[CHAIN_NAME_MAX];

	two_segments(f);
	object_of(&f->a, "one", one);
	object_of(&f->a, "two", two);
	assert_int_equal(base_write(f->a.sync), 0);
	shell("cd %s && find s -type f ! -path %s ! -path %s -delete", f->store, one, two);
	run(&f->a, 100, false);
	assert_int_equal(report.counts[VERIFY_MISSING], 1);
	assert_int_equal(report.counts[VERIFY_CHANGED], 1);
	assert_true(was_said(VERIFY_CHANGED, "b/000000000001", "", false));
	run(&f->a, 100, true);
	assert_clean(&f->a);
}

static void
what_is_not_ours_and_what_nobody_names_is_told_apart(void **state)
{
	struct fixture *f = *state;
	const char *orphan = "s/ab/ab000000000000000000000000000000";

	two_segments(f);
	shell("echo hello > %s/hello.txt; mkdir -p %s/s/ab; head -c 4096 /dev/urandom > %s/%s", f->store, f->store, f->store,
	    orphan);
	run(&f->a, 100, true);
	assert_int_equal(said_count, 2);
	assert_true(was_said(VERIFY_FOREIGN, "hello.txt", "", false));
	assert_true(was_said(VERIFY_ORPHAN, orphan, "", false));
	assert_int_equal(damage(), 1);
}

static void
an_upload_whose_commit_is_still_to_come_is_no_orphan(void **state)
{
	struct fixture *f = *state;

	two_segments(f);
	make_text(&f->a, "three", "the third");
	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_CREATE, .prefix = "c/",
	    .count = 100, .error = -EACCES });
	sync_fails(&f->a, -EACCES);
	no_fault(&f->a);
	run(&f->a, 100, false);
	assert_int_equal(said_count, 0);
}

static bool
stop_at_once(void *ctx, uint64_t done, uint64_t total, const char *what)
{
	(void)ctx;
	(void)done;
	(void)total;
	(void)what;
	return false;
}

static void
it_ends_when_nobody_waits_for_it_any_more(void **state)
{
	struct fixture *f = *state;
	const struct verify_options o = { .percent = 100, .found = note, .progress = stop_at_once };

	two_segments(f);
	assert_int_equal(sync_verify(f->a.sync, &o, &report), -ECANCELED);
}

static void
a_file_that_is_partly_changed_here_is_looked_at_as_it_is_and_as_the_store_has_it(void **state)
{
	struct fixture *f = *state;
	char object[CHAIN_NAME_MAX];
	uint8_t data[50000];
	uint64_t ino;

	assert_int_equal(random_bytes(data, sizeof(data)), 0);
	ino = make_file(&f->a, INODE_ROOT, "file", data, sizeof(data));
	sync_ok(&f->a);
	object_of(&f->a, "file", object);
	write_at(&f->a, ino, 20000, "new", 3);
	assert_clean(&f->a);
	/* Where the file no longer needs it, the chain does. */
	flip(f, object, 20001);
	run(&f->a, 100, false);
	assert_true(was_said(VERIFY_CHANGED, object, "file", false));
}

static void
a_store_that_does_not_answer_is_no_damage(void **state)
{
	struct fixture *f = *state;
	const struct verify_options o = { .percent = 100, .found = note };

	two_segments(f);
	fault(&f->a, (struct store_fault_rule){ .kind = STORE_FAULT_BEFORE, .ops = STORE_OP_GET, .prefix = "s/",
	    .count = 100, .error = -EACCES });
	said_count = 0;
	assert_int_equal(sync_verify(f->a.sync, &o, &report), -EACCES);
	assert_int_equal(said_count, 0);
	assert_true(report.why[0] != '\0');
}

static void
hash_of_file(const struct fixture *f, uint64_t seq, uint8_t out[static 32])
{
	uint8_t data[65536];
	char path[256];
	size_t len;
	FILE *file;

	commit_path(f, seq, path);
	file = fopen(path, "rb");
	assert_non_null(file);
	len = fread(data, 1, sizeof(data), file);
	fclose(file);
	assert_int_equal(hash_sha256(data, len, out), 0);
}

static void
the_hash_of_an_earlier_commit_is_proven_from_the_head_back(void **state)
{
	struct fixture *f = *state;
	uint8_t hash[32], want[32];

	two_segments(f);
	make_text(&f->a, "three", "3");
	sync_ok(&f->a);
	for (uint64_t seq = 0; seq <= 2; seq++) {
		hash_of_file(f, seq, want);
		assert_int_equal(lookback_hash(f->a.sync, seq, hash), 0);
		assert_memory_equal(hash, want, sizeof(hash));
	}
	assert_int_equal(lookback_hash(f->a.sync, 3, hash), -ENOENT);
	flip(f, "c/000000000001", 50);
	assert_int_equal(lookback_hash(f->a.sync, 1, hash), 0); /* said by the commit behind it */
	assert_int_equal(lookback_hash(f->a.sync, 0, hash), -ESTALE);
	remove_commit(f, 2);
	assert_int_equal(lookback_hash(f->a.sync, 1, hash), -ESTALE);
	assert_int_equal(lookback_hash(f->a.sync, 2, hash), 0);
}

static bool
is_verified(struct side *s, const uint8_t id[static IDENTITY_ID_LEN])
{
	bool has;

	meta_lock(s->v->meta);
	has = verified_has(s->v->meta, id);
	meta_unlock(s->v->meta);
	return has;
}

static void
who_was_verified_stays_so_until_taken_back(void **state)
{
	struct fixture *f = *state;
	const uint8_t one[IDENTITY_ID_LEN] = { 1 }, two[IDENTITY_ID_LEN] = { 2 };

	assert_false(is_verified(&f->a, one));
	assert_int_equal(verified_set(f->a.v->meta, one, true), 0);
	assert_int_equal(verified_set(f->a.v->meta, two, true), 0);
	assert_int_equal(verified_set(f->a.v->meta, two, true), 0);
	reopen_side(&f->a, f->store);
	assert_true(is_verified(&f->a, one) && is_verified(&f->a, two));
	assert_int_equal(verified_set(f->a.v->meta, one, false), 0);
	assert_false(is_verified(&f->a, one));
	assert_true(is_verified(&f->a, two));
	assert_int_equal(verified_set(f->a.v->meta, two, false), 0);
	assert_false(is_verified(&f->a, two));
}

static void
a_next_commit_that_can_not_be_applied_is_told(void **state)
{
	struct fixture *f = *state;
	char object[CHAIN_NAME_MAX];

	make_text(&f->a, "one", "the first file");
	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	for (unsigned i = 0; i < 2; i++) {
		make_text(&f->a, i == 0 ? "two" : "three", "text");
		sync_ok(&f->a);
	}
	run(&f->b, 100, false);
	assert_int_equal(damage(), 0); /* what it does not know yet is news */
	snprintf(object, sizeof(object), "c/%012llu", (unsigned long long)head_of(&f->b) + 1);
	flip(f, object, 300);
	run(&f->b, 100, false);
	assert_true(was_said(VERIFY_CHANGED, object, "", false));
	assert_int_equal(damage(), 1);
	remove_commit(f, head_of(&f->b) + 1);
	run(&f->b, 100, false);
	assert_true(was_said(VERIFY_MISSING, object, "", false));
	assert_int_equal(damage(), 1);
}

static void
what_is_no_commit_of_this_version_in_the_place_of_the_next_is_told(void **state)
{
	struct fixture *f = *state;
	char object[CHAIN_NAME_MAX];

	make_text(&f->a, "one", "the first file");
	sync_ok(&f->a);
	join_side(f, &f->b);
	sync_ok(&f->a);
	make_text(&f->a, "two", "text");
	sync_ok(&f->a);
	snprintf(object, sizeof(object), "c/%012llu", (unsigned long long)head_of(&f->b) + 1);
	flip(f, object, 0);
	run(&f->b, 100, false);
	assert_true(was_said(VERIFY_CHANGED, object, "", false));
	assert_int_equal(damage(), 1);
}

int
main(void)
{
#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(a_store_that_nobody_touched_is_clean),
		WITH_FIXTURE(a_changed_byte_names_the_file_and_is_put_back),
		WITH_FIXTURE(damage_in_the_padding_concerns_no_file),
		WITH_FIXTURE(what_is_still_to_be_cut_off_a_file_is_none_of_it),
		WITH_FIXTURE(segments_that_are_lost_cut_grown_or_swapped_are_found_and_put_back),
		WITH_FIXTURE(what_this_device_has_not_is_said_and_left),
		WITH_FIXTURE(a_sample_of_the_segments_still_sees_what_is_lost_or_has_another_size),
		WITH_FIXTURE(segments_of_earlier_versions_are_looked_at_too),
		WITH_FIXTURE(the_marker_is_written_anew),
		WITH_FIXTURE(a_key_box_that_was_lost_is_noticed_and_a_new_epoch_has_another),
		WITH_FIXTURE(each_commit_is_checked_and_a_base_takes_the_place_of_a_lost_one),
		WITH_FIXTURE(a_commit_that_is_exchanged_for_another_genuine_one_is_noticed),
		WITH_FIXTURE(a_damaged_base_gives_way_to_a_new_one),
		WITH_FIXTURE(a_lost_part_of_a_base_is_named),
		WITH_FIXTURE(what_is_not_ours_and_what_nobody_names_is_told_apart),
		WITH_FIXTURE(an_upload_whose_commit_is_still_to_come_is_no_orphan),
		WITH_FIXTURE(it_ends_when_nobody_waits_for_it_any_more),
		WITH_FIXTURE(a_file_that_is_partly_changed_here_is_looked_at_as_it_is_and_as_the_store_has_it),
		WITH_FIXTURE(a_store_that_does_not_answer_is_no_damage),
		WITH_FIXTURE(the_hash_of_an_earlier_commit_is_proven_from_the_head_back),
		WITH_FIXTURE(who_was_verified_stays_so_until_taken_back),
		WITH_FIXTURE(a_next_commit_that_can_not_be_applied_is_told),
		WITH_FIXTURE(what_is_no_commit_of_this_version_in_the_place_of_the_next_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
