/*
 * Segments on their way to the store: a few threads send what is in a list, while it grows.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "hash.h"
#include "log.h"
#include "upload_internal.h"

/* What takes longer than this to upload is looked after meanwhile. */
#define LONG_UPLOAD_LEN (32u << 20)
#define LOOK_INTERVAL_MS 250
/* So long an object waits for memory that somebody sends from. */
#define ROOM_WAIT_MS 250
/* So many are left at least when there is to be more: nobody who sends waits for it. */
#define LEFT_MIN (2 * UPLOAD_THREADS)

void
upload_list_clear(struct segment_list *l)
{
	free(l->v);
	numset_clear(&l->seen);
}

err_t
upload_list_add(struct segment_list *l, const struct segment *seg)
{
	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct segment *v = reallocarray(l->v, cap, sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->count++] = *seg;
	return 0;
}

bool
upload_is_done(struct sync *s, uint64_t seg)
{
	bool done;

	pthread_mutex_lock(&s->lock);
	done = numset_has(s->uploaded, seg);
	pthread_mutex_unlock(&s->lock);
	return done;
}

static bool
is_sound(const struct segment *seg, const struct bytes *object)
{
	uint8_t sha256[32];

	return hash_sha256(object->data, object->len, sha256) != 0 || memcmp(sha256, seg->sha256, sizeof(sha256)) == 0;
}

/* Once: it is tried again with each push. */
static void
tell_unsound(struct sync *s, const struct segment *seg)
{
	char name[CHAIN_NAME_MAX];
	bool told;

	pthread_mutex_lock(&s->lock);
	told = numset_has(s->unsound, seg->id) || numset_add(&s->unsound, seg->id) != 0;
	pthread_mutex_unlock(&s->lock);
	if (told)
		return;
	chain_segment_object_name(seg->name, name);
	log_error("the local segment %llu (%s) is damaged: what is in it can't be sent to the store",
	    (unsigned long long)seg->id, name);
}

/* b: the object, or memory for it. */
static err_t
upload_one(struct sync *s, const struct segment *seg, bool here, struct bytes *b)
{
	err_t err = 0;

	if (!here) {
		bytes_reset(b);
		err = segstore_read_whole(s->v->segments, seg, b);
	}
	if (err == 0) {
		err = chain_write_segment(s->chain, seg->name, seg->sha256, b->data, b->len);
		/* What is damaged here is refused there for its hash; but so is an answer that is not understood. */
		if (err != -EBADMSG || is_sound(seg, b))
			return report_store(s, err);
	}
	if (err != -ENODATA && err != -EBADMSG && err != -ENOENT && err != -EIO)
		return err;
	/* What points into it stays here, unpushed; the rest goes on. */
	tell_unsound(s, seg);
	return -ENODATA;
}

/* It may have got another name while it was on its way. */
static err_t
note_done(struct sync *s, const struct segment *seg)
{
	struct segment row;
	err_t err;

	meta_lock(s->v->meta);
	err = meta_segment_get(s->v->meta, seg->id, &row);
	meta_unlock(s->v->meta);
	if (err != 0 || memcmp(row.name, seg->name, sizeof(row.name)) != 0)
		return err == -ENOENT ? 0 : err;
	pthread_mutex_lock(&s->lock);
	err = numset_add(&s->uploaded, seg->id);
	pthread_mutex_unlock(&s->lock);
	return err;
}

err_t
upload_segment(struct sync *s, const struct segment *seg)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	err_t err = upload_one(s, seg, false, &b);

	return err != 0 ? err : note_done(s, seg);
}

/* Places. */

/* [lock] One that nobody uses; that of a segment, of none, or else of the one that is sent last: it is read again then. */
static struct place *
find_place(struct upload *u, uint64_t seg)
{
	struct place *found = NULL;

	for (size_t k = 0; k < ARRAY_LEN(u->places); k++) {
		struct place *p = &u->places[k];

		if (p->busy)
			continue;
		if (p->seg == seg)
			return p;
		if (found == NULL || (found->seg != 0 && (p->seg == 0 || p->seg > found->seg)))
			found = p;
	}
	return found;
}

/* [lock] Room for an object to wait in; NULL: there is none. */
static struct place *
find_room(struct upload *u)
{
	struct place *found = NULL;

	for (size_t k = 0; k < ARRAY_LEN(u->places); k++) {
		struct place *p = &u->places[k];

		if (!p->busy && p->seg == 0 && (found == NULL || p->object.cap > found->object.cap))
			found = p;
	}
	return found;
}

/* [lock, given up meanwhile] */
static void
await_room(struct upload *u)
{
	const struct timespec until = clock_deadline(ROOM_WAIT_MS);
	int timed = 0;

	while (timed == 0 && u->err == 0 && u->working > 0 && find_room(u) == NULL)
		timed = pthread_cond_clockwait(&u->moved, &u->lock, CLOCK_MONOTONIC, &until);
}

/* [lock] Keeps the object if there is room. */
static void
keep(struct upload *u, uint64_t seg, struct bytes *object)
{
	struct place *found = find_room(u);
	struct bytes spare;

	if (found == NULL || object->len == 0)
		return;
	spare = found->object;
	found->object = *object;
	found->seg = seg;
	*object = spare;
}

/* [lock, given up meanwhile] */
static err_t
send_one(struct upload *u, const struct segment *seg)
{
	struct place *p = find_place(u, seg->id);
	bool here = p->seg == seg->id;
	err_t err;

	p->seg = 0;
	p->busy = true;
	pthread_mutex_unlock(&u->lock);
	err = upload_one(u->s, seg, here, &p->object);
	if (err == 0)
		err = note_done(u->s, seg);
	pthread_mutex_lock(&u->lock);
	p->busy = false;
	return err;
}

/* The list. */

/* [lock, given up meanwhile] Waits for one; false: there are no more, or it is to end. */
static bool
upload_next(struct upload *u, struct segment *out)
{
	while (u->err == 0) {
		if (engine_is_interrupted(u->s)) {
			u->err = -ECANCELED;
		} else if (u->next < u->l.count) {
			*out = u->l.v[u->next++];
			if (!upload_is_done(u->s, out->id))
				return true;
			u->left--;
		} else if (u->complete) {
			break;
		} else {
			pthread_cond_wait(&u->added, &u->lock);
		}
	}
	return false;
}

/* [lock] */
static void
fail(struct upload *u, err_t err)
{
	if (u->err == 0)
		u->err = err;
	pthread_cond_broadcast(&u->added);
	pthread_cond_broadcast(&u->moved);
}

void
upload_fail(struct upload *u, err_t err)
{
	pthread_mutex_lock(&u->lock);
	fail(u, err);
	pthread_mutex_unlock(&u->lock);
}

bool
upload_has_failed(struct upload *u)
{
	bool failed;

	pthread_mutex_lock(&u->lock);
	failed = u->err != 0;
	pthread_mutex_unlock(&u->lock);
	return failed;
}

static void
note_progress(struct sync *s, const struct segment *seg, err_t err)
{
	pthread_mutex_lock(&s->lock);
	s->status.bytes_done += seg->size;
	if (err == 0)
		s->status.last_contact = time(NULL);
	pthread_mutex_unlock(&s->lock);
}

/* [lock, given up meanwhile] */
static void
upload_all(struct upload *u)
{
	struct segment seg;

	while (upload_next(u, &seg)) {
		err_t err = send_one(u, &seg);

		note_progress(u->s, &seg, err);
		if (err != 0 && err != -ENODATA)
			fail(u, err);
		u->left--;
		pthread_cond_broadcast(&u->moved);
	}
}

static void *
upload_worker(void *arg)
{
	struct upload *u = arg;

	pthread_mutex_lock(&u->lock);
	upload_all(u);
	u->working--;
	pthread_cond_broadcast(&u->moved);
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

/* Waits a moment; false: none works any more, or no more than so many are left. */
static bool
are_working(struct upload *u, size_t left)
{
	const struct timespec until = clock_deadline(LOOK_INTERVAL_MS);
	bool working = true;
	int timed = 0;

	pthread_mutex_lock(&u->lock);
	while (working && timed != ETIMEDOUT) {
		working = u->working > 0 && (left == 0 || u->left > left);
		if (working)
			timed = pthread_cond_clockwait(&u->moved, &u->lock, CLOCK_MONOTONIC, &until);
	}
	pthread_mutex_unlock(&u->lock);
	return working;
}

/* While the others work: what shall not wait for them. */
static void
look_after(struct upload *u, size_t left)
{
	err_t err = 0;

	while (err == 0 && are_working(u, left))
		err = push_interlude(u->s);
	if (err != 0)
		upload_fail(u, err);
}

/* [lock] There may be very many in all; whether it has gone is known without the list. */
static void
forget_sent(struct upload *u)
{
	struct segment_list *l = &u->l;
	size_t kept = 0;

	for (size_t k = 0; k < u->next; k++) {
		if (upload_is_done(u->s, l->v[k].id))
			numset_remove(&l->seen, l->v[k].id);
		else
			l->v[kept++] = l->v[k];
	}
	if (kept == u->next)
		return;
	memmove(l->v + kept, l->v + u->next, (l->count - u->next) * sizeof(*l->v));
	l->count -= u->next - kept;
	u->next = kept;
}

err_t
upload_catch_up(struct upload *u)
{
	err_t err;

	look_after(u, LEFT_MIN);
	pthread_mutex_lock(&u->lock);
	forget_sent(u);
	err = u->err;
	pthread_mutex_unlock(&u->lock);
	return err;
}

err_t
upload_add(struct upload *u, const struct segment *seg, struct bytes *object)
{
	bool known;
	err_t err = 0;

	pthread_mutex_lock(&u->lock);
	known = numset_has(u->l.seen, seg->id) || upload_is_done(u->s, seg->id);
	if (!known && object->len > 0)
		await_room(u);
	if (!known && (err = upload_list_add(&u->l, seg)) == 0) {
		u->left++;
		keep(u, seg->id, object);
		err = numset_add(&u->l.seen, seg->id);
	}
	pthread_cond_signal(&u->added);
	pthread_mutex_unlock(&u->lock);
	if (known || err != 0)
		return err;
	u->len += seg->size;
	pthread_mutex_lock(&u->s->lock);
	u->s->status.bytes_total += seg->size;
	pthread_mutex_unlock(&u->s->lock);
	return 0;
}

void
upload_start(struct upload *u, bool more)
{
	/* Unless it looks after the others the caller works, too, so that it goes on even if no other can be had. */
	size_t wanted = u->len > LONG_UPLOAD_LEN ? UPLOAD_THREADS : UPLOAD_THREADS - 1;

	while (u->thread_count < wanted && u->thread_count + !more < u->l.count) {
		pthread_mutex_lock(&u->lock);
		u->working++;
		pthread_mutex_unlock(&u->lock);
		if (pthread_create(&u->threads[u->thread_count], NULL, upload_worker, u) != 0) {
			pthread_mutex_lock(&u->lock);
			u->working--;
			pthread_mutex_unlock(&u->lock);
			break;
		}
		u->thread_count++;
	}
}

err_t
upload_end(struct upload *u)
{
	pthread_mutex_lock(&u->lock);
	u->complete = true;
	pthread_cond_broadcast(&u->added);
	if (u->len <= LONG_UPLOAD_LEN || u->thread_count == 0)
		upload_all(u);
	pthread_mutex_unlock(&u->lock);
	if (u->len > LONG_UPLOAD_LEN)
		look_after(u, 0);
	while (u->thread_count > 0)
		pthread_join(u->threads[--u->thread_count], NULL);
	for (size_t k = 0; k < ARRAY_LEN(u->places); k++)
		bytes_clear(&u->places[k].object);
	upload_list_clear(&u->l);
	return u->err;
}
