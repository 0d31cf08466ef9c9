/*
 * http.c: a pool of libcurl handles, each with its own connection.  A thread takes one for a request and puts it back on
 * top, so that the connections in use are as few and as warm as they can be.  Each handle has a multi handle of its own
 * only because that one can be woken from another thread.  What is asked and answered is http_transfer.c's.
 */
#include "http.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "http_transfer.h"
#include "library.h"
#include "limit.h"

#define CONNECT_TIMEOUT_S 10
#define STALL_TIMEOUT_S 30
#define STALL_BYTES_PER_S 256 /* what is slower does not move: many transfers may share a slow line, but a server that drips is no use */
#define STALL_SHARES 256      /* of a limit that the user has set: one transfer of many may get so small a part */
#define OVERALL_TIMEOUT_S 120 /* and so long as the bytes take at the slowest speed */
#define SLOWEST_BYTES_PER_S 4096
#define BUFFER_LEN (256 << 10)
#define UNSENT_MAX (128 << 10)
#define WAKE_INTERVAL_MS 1000
#define CONNECTION_IDLE_MAX_MS 60000
/* The clocks part by themselves, while one is read after the other, by less. */
#define SLEPT_MS 1000
#define WOKEN_STALL_TIMEOUT_S 5
#define ACK_MARGIN_MS 100 /* the kernel counts its own ticks */

/* The type check in libcurl's macros of these names calls what the program would be linked with. */
#undef curl_easy_setopt
#undef curl_multi_setopt
#undef curl_share_setopt

#define FUNCTIONS(F) F(curl_easy_cleanup) F(curl_easy_init) F(curl_easy_reset) F(curl_easy_setopt) F(curl_global_init) \
	F(curl_multi_add_handle) F(curl_multi_cleanup) F(curl_multi_info_read) F(curl_multi_init) F(curl_multi_perform) \
	F(curl_multi_poll) F(curl_multi_remove_handle) F(curl_multi_setopt) F(curl_multi_wakeup) F(curl_share_cleanup) \
	F(curl_share_init) F(curl_share_setopt)

static struct { FUNCTIONS(LIBRARY_POINTER) } lib; /* set by global_init */
static const struct library_symbol symbols[] = { FUNCTIONS(LIBRARY_SYMBOL) };

struct slot {
	CURL *easy;
	CURLM *multi;
	struct slot *next_of_all;
	struct slot *next_idle;
	int64_t last_used_ms; /* CLOCK_BOOTTIME; 0: never */
	int fd;               /* its connection's, as far as that is known; else -1 */
	unsigned gone_ms;     /* so long a peer may leave bytes unacknowledged */
};

struct http {
	struct http_options options;
	char *ca_file;
	CURLSH *share; /* names that were looked up, and TLS sessions */
	pthread_mutex_t share_locks[CURL_LOCK_DATA_LAST];
	atomic_bool cancelled;
	pthread_mutex_t lock;
	struct slot *all;  /* under lock */
	struct slot *idle; /* under lock */
};

/* ---- the client ---- */

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static err_t global_error;

static void global_init(void)
{
	struct sigaction action;

	global_error = library_load(HTTP_LIBRARY, symbols, ARRAY_LEN(symbols));
	if (global_error == 0)
		global_error = http_transfer_load();
	if (global_error == 0 && lib.curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		global_error = -ENOMEM;
	/* A connection that was closed under a TLS write is an error like any other, and not the end of the program. */
	if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
		(void)signal(SIGPIPE, SIG_IGN);
}

static void lock_shared(CURL *easy, curl_lock_data data, curl_lock_access access, void *ctx)
{
	struct http *h = ctx;

	(void)easy;
	(void)access;
	pthread_mutex_lock(&h->share_locks[data]);
}

static void unlock_shared(CURL *easy, curl_lock_data data, void *ctx)
{
	struct http *h = ctx;

	(void)easy;
	pthread_mutex_unlock(&h->share_locks[data]);
}

static err_t set_up_share(struct http *h)
{
	h->share = lib.curl_share_init();
	if (!h->share)
		return -ENOMEM;
	(void)lib.curl_share_setopt(h->share, CURLSHOPT_LOCKFUNC, lock_shared);
	(void)lib.curl_share_setopt(h->share, CURLSHOPT_UNLOCKFUNC, unlock_shared);
	(void)lib.curl_share_setopt(h->share, CURLSHOPT_USERDATA, h);
	(void)lib.curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
	(void)lib.curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	return 0;
}

err_t http_new(const struct http_options *options, struct http **out)
{
	struct http *h;
	err_t err;

	pthread_once(&global_once, global_init);
	if (global_error)
		return global_error;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->options = *options;
	if (h->options.connect_timeout_s == 0)
		h->options.connect_timeout_s = CONNECT_TIMEOUT_S;
	if (h->options.stall_timeout_s == 0)
		h->options.stall_timeout_s = STALL_TIMEOUT_S;
	pthread_mutex_init(&h->lock, NULL);
	for (size_t i = 0; i < ARRAY_LEN(h->share_locks); i++)
		pthread_mutex_init(&h->share_locks[i], NULL);
	h->ca_file = options->ca_file ? strdup(options->ca_file) : NULL;
	err = options->ca_file && !h->ca_file ? -ENOMEM : set_up_share(h);
	if (err) {
		http_free(h);
		return err;
	}
	*out = h;
	return 0;
}

static void free_slot(struct slot *s)
{
	lib.curl_easy_cleanup(s->easy);
	lib.curl_multi_cleanup(s->multi);
	free(s);
}

void http_free(struct http *h)
{
	if (!h)
		return;
	for (struct slot *s = h->all, *next; s; s = next) {
		next = s->next_of_all;
		free_slot(s);
	}
	lib.curl_share_cleanup(h->share);
	for (size_t i = 0; i < ARRAY_LEN(h->share_locks); i++)
		pthread_mutex_destroy(&h->share_locks[i]);
	pthread_mutex_destroy(&h->lock);
	free(h->ca_file);
	free(h);
}

void http_cancel(struct http *h, bool cancelled)
{
	atomic_store(&h->cancelled, cancelled);
	if (!cancelled)
		return;
	pthread_mutex_lock(&h->lock);
	for (struct slot *s = h->all; s; s = s->next_of_all)
		(void)lib.curl_multi_wakeup(s->multi);
	pthread_mutex_unlock(&h->lock);
}

static struct slot *new_slot(struct http *h)
{
	struct slot *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->fd = -1;
	s->gone_ms = h->options.stall_timeout_s * 1000;
	s->easy = lib.curl_easy_init();
	s->multi = lib.curl_multi_init();
	if (!s->easy || !s->multi) {
		free_slot(s);
		return NULL;
	}
	(void)lib.curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, 1L);
	pthread_mutex_lock(&h->lock);
	s->next_of_all = h->all;
	h->all = s;
	pthread_mutex_unlock(&h->lock);
	return s;
}

static struct slot *take_slot(struct http *h)
{
	struct slot *s;

	pthread_mutex_lock(&h->lock);
	s = h->idle;
	if (s)
		h->idle = s->next_idle;
	pthread_mutex_unlock(&h->lock);
	return s ? s : new_slot(h);
}

static void put_back(struct http *h, struct slot *s)
{
	pthread_mutex_lock(&h->lock);
	s->next_idle = h->idle;
	h->idle = s;
	pthread_mutex_unlock(&h->lock);
}

/*
 * Few bytes wait in the kernel, so that what libcurl takes for sent is nearly so, and a slow uplink does not look like a
 * stall; and a peer that is gone is noticed.
 */
static int set_up_socket(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
	struct slot *s = ctx;
	int unsent = UNSENT_MAX;

	(void)purpose;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &s->gone_ms, sizeof(s->gone_ms));
	s->fd = fd;
	return CURL_SOCKOPT_OK;
}

static int close_socket(void *ctx, curl_socket_t fd)
{
	struct slot *s = ctx;

	if (s->fd == fd)
		s->fd = -1;
	return close(fd);
}

/* ---- one request ---- */

static long slower(long speed, uint64_t rate)
{
	return rate / STALL_SHARES < (uint64_t)speed ? (long)(rate / STALL_SHARES) : speed;
}

/* Bytes a second below which nothing moves, as the limits are now. */
static long stall_speed(const struct http *h)
{
	long speed = STALL_BYTES_PER_S;

	for (enum limit_direction d = LIMIT_UP; d <= LIMIT_DOWN; d++) {
		uint64_t rate = limit_rate(h->options.limit, d);

		speed = rate != 0 ? slower(speed, rate) : speed;
	}
	return speed;
}

static void set_limits(const struct http *h, CURL *easy, const struct http_request *request)
{
	uint64_t slowest_s = ((uint64_t)request->body_len + request->max_len) / SLOWEST_BYTES_PER_S;
	bool limited = limit_rate(h->options.limit, LIMIT_UP) != 0 || limit_rate(h->options.limit, LIMIT_DOWN) != 0;

	(void)lib.curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)lib.curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)h->options.connect_timeout_s);
	(void)lib.curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, stall_speed(h));
	(void)lib.curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)h->options.stall_timeout_s);
	/* How slow it may be is the user's wish then; that it must move is not. */
	(void)lib.curl_easy_setopt(easy, CURLOPT_TIMEOUT, limited ? 0L : (long)(OVERALL_TIMEOUT_S + slowest_s));
	(void)lib.curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)BUFFER_LEN);
	(void)lib.curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)BUFFER_LEN);
}

static void set_trust(const struct http *h, CURL *easy)
{
	(void)lib.curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)lib.curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	(void)lib.curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
	(void)lib.curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	(void)lib.curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	(void)lib.curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	/* The system's folder of certificates is looked into all the same. */
	if (h->ca_file)
		(void)lib.curl_easy_setopt(easy, CURLOPT_CAINFO, h->ca_file);
}

static void set_up_connection(struct http *h, struct slot *s)
{
	CURL *easy = s->easy;

	(void)lib.curl_easy_setopt(easy, CURLOPT_SHARE, h->share);
	(void)lib.curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, set_up_socket);
	(void)lib.curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, s);
	(void)lib.curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	(void)lib.curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, s);
}

/* A computer that slept, or was long idle, has connections that only look alive. */
static void judge_connection(struct slot *s)
{
	int64_t now = clock_ms(CLOCK_BOOTTIME);

	if (s->last_used_ms != 0 && now - s->last_used_ms > CONNECTION_IDLE_MAX_MS)
		(void)lib.curl_easy_setopt(s->easy, CURLOPT_FRESH_CONNECT, 1L);
	s->last_used_ms = now;
}

static int64_t asleep_ms(void)
{
	return clock_ms(CLOCK_BOOTTIME) - clock_ms(CLOCK_MONOTONIC);
}

/* What a sleep means to a transfer. */
struct waking {
	int64_t asleep_ms; /* so long the computer has slept, ever */
	int64_t woken_ms;  /* CLOCK_MONOTONIC; 0: the transfer goes by the usual time */
};

/* The other side has acknowledged something since: that bytes were sent is no proof, since the kernel takes some for a dead link, too. */
static bool is_link_alive(const struct slot *s, int64_t since_ms)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	if (s->fd < 0 || getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
		return false;
	return (int64_t)info.tcpi_last_ack_recv + ACK_MARGIN_MS < clock_ms(CLOCK_MONOTONIC) - since_ms;
}

/*
 * The computer has slept in the middle of an upload, maybe to wake in another network: what does not move soon never will, and it is
 * in nobody's way to begin anew.  Whoever reads would get an error; for him it is left to the usual time.
 */
static void judge_sleep(const struct http *h, const struct slot *s, const struct http_transfer *t, struct waking *w)
{
	int64_t now = asleep_ms();
	unsigned usual_s = h->options.stall_timeout_s;

	if (now - w->asleep_ms > SLEPT_MS && t->request->body_len > 0 && usual_s > WOKEN_STALL_TIMEOUT_S) {
		(void)lib.curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_TIME, (long)WOKEN_STALL_TIMEOUT_S);
		w->woken_ms = clock_ms(CLOCK_MONOTONIC);
	} else if (w->woken_ms != 0 && is_link_alive(s, w->woken_ms)) {
		(void)lib.curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_TIME, (long)usual_s);
		w->woken_ms = 0;
	}
	w->asleep_ms = now;
}

/* CURLE_ABORTED_BY_CALLBACK: cancelled. */
static CURLcode run(struct http *h, struct slot *s, const struct http_transfer *t)
{
	CURLcode result = CURLE_ABORTED_BY_CALLBACK;
	struct waking w = {.asleep_ms = asleep_ms()};
	int running = 1;
	int left;

	if (lib.curl_multi_add_handle(s->multi, s->easy) != CURLM_OK)
		return CURLE_FAILED_INIT;
	while (running && !atomic_load(&h->cancelled)) {
		if (lib.curl_multi_perform(s->multi, &running) != CURLM_OK ||
		    (running && lib.curl_multi_poll(s->multi, NULL, 0, WAKE_INTERVAL_MS, NULL) != CURLM_OK)) {
			result = CURLE_FAILED_INIT;
			break;
		}
		judge_sleep(h, s, t, &w);
		(void)lib.curl_easy_setopt(s->easy, CURLOPT_LOW_SPEED_LIMIT, stall_speed(h));
	}
	if (!running) {
		const CURLMsg *message = lib.curl_multi_info_read(s->multi, &left);
		result = message && message->msg == CURLMSG_DONE ? message->data.result : CURLE_FAILED_INIT;
	}
	(void)lib.curl_multi_remove_handle(s->multi, s->easy);
	return result;
}

err_t http_perform(struct http *h, const struct http_request *request, struct http_answer *answer)
{
	CLEANUP(http_transfer_clear) struct http_transfer t = {.request = request, .answer = answer, .limit = h->options.limit};
	struct slot *s = take_slot(h);
	err_t err;

	if (!s)
		return -ENOMEM;
	lib.curl_easy_reset(s->easy);
	set_limits(h, s->easy, request);
	set_trust(h, s->easy);
	set_up_connection(h, s);
	err = http_transfer_set_up(&t, s->easy);
	if (err == 0) {
		judge_connection(s);
		err = http_transfer_conclude(&t, (int)run(h, s, &t));
	}
	/* It points to what is ours, and holds what was signed. */
	lib.curl_easy_reset(s->easy);
	put_back(h, s);
	return err;
}
