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

static err_t
upload_one(struct sync *s, const struct segment *seg, struct bytes *b)
{
	char name[CHAIN_NAME_MAX];
	err_t err;

	bytes_reset(b);
	err = segstore_read_whole(s->v->segments, seg, b);
	if (err == 0) {
		err = chain_write_segment(s->chain, seg->name, seg->sha256, b->data, b->len);
		/* What is damaged here is refused there for its hash; but so is an answer that is not understood. */
		if (err != -EBADMSG || is_sound(seg, b))
			return report_store(s, err);
	}
	if (err != -ENODATA && err != -EBADMSG && err != -ENOENT)
		return err;
	/* What points into it stays here, unpushed; the rest goes on. */
	chain_segment_object_name(seg->name, name);
	log_error("the local segment %llu (%s) is damaged: what is in it can't be sent to the store",
	    (unsigned long long)seg->id, name);
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

/* b: memory that may be used again and again. */
static err_t
upload_with(struct sync *s, const struct segment *seg, struct bytes *b)
{
	err_t err = upload_one(s, seg, b);

	return err != 0 ? err : note_done(s, seg);
}

err_t
upload_segment(struct sync *s, const struct segment *seg)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };

	return upload_with(s, seg, &b);
}

/* Waits for one; false: there are no more, or it is to end. */
static bool
upload_next(struct upload *u, struct segment *out)
{
	bool found = false;

	pthread_mutex_lock(&u->lock);
	while (!found && u->err == 0) {
		if (engine_is_interrupted(u->s)) {
			u->err = -ECANCELED;
		} else if (u->next < u->l.count) {
			*out = u->l.v[u->next++];
			found = !upload_is_done(u->s, out->id);
		} else if (u->complete) {
			break;
		} else {
			pthread_cond_wait(&u->added, &u->lock);
		}
	}
	pthread_mutex_unlock(&u->lock);
	return found;
}

void
upload_fail(struct upload *u, err_t err)
{
	pthread_mutex_lock(&u->lock);
	if (u->err == 0)
		u->err = err;
	pthread_cond_broadcast(&u->added);
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
upload_all(struct upload *u)
{
	CLEANUP(bytes_clear) struct bytes b = { 0 };
	struct segment seg;

	while (upload_next(u, &seg)) {
		err_t err = upload_with(u->s, &seg, &b);

		pthread_mutex_lock(&u->s->lock);
		u->s->status.bytes_done += seg.size;
		if (err == 0)
			u->s->status.last_contact = time(NULL);
		pthread_mutex_unlock(&u->s->lock);
		if (err != 0 && err != -ENODATA)
			upload_fail(u, err);
	}
}

static void *
upload_worker(void *arg)
{
	struct upload *u = arg;

	upload_all(u);
	pthread_mutex_lock(&u->lock);
	u->working--;
	pthread_cond_signal(&u->ended);
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

/* Waits a moment; false: they have all ended. */
static bool
are_working(struct upload *u)
{
	const struct timespec until = clock_deadline(LOOK_INTERVAL_MS);
	bool working;

	pthread_mutex_lock(&u->lock);
	while (u->working > 0 && pthread_cond_clockwait(&u->ended, &u->lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
		;
	working = u->working > 0;
	pthread_mutex_unlock(&u->lock);
	return working;
}

/* While the others work: what shall not wait for them. */
static void
look_after(struct upload *u)
{
	err_t err = 0;

	while (err == 0 && are_working(u))
		err = push_interlude(u->s);
	if (err != 0)
		upload_fail(u, err);
}

err_t
upload_add(struct upload *u, const struct segment *seg)
{
	bool known;
	err_t err = 0;

	pthread_mutex_lock(&u->lock);
	known = numset_has(u->l.seen, seg->id);
	if (!known && (err = upload_list_add(&u->l, seg)) == 0)
		err = numset_add(&u->l.seen, seg->id);
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
	pthread_mutex_unlock(&u->lock);
	if (u->len > LONG_UPLOAD_LEN && u->thread_count > 0)
		look_after(u);
	else
		upload_all(u);
	while (u->thread_count > 0)
		pthread_join(u->threads[--u->thread_count], NULL);
	upload_list_clear(&u->l);
	return u->err;
}
