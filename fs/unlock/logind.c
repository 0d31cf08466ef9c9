/*
 * logind.c: org.freedesktop.login1.Manager: the signal PrepareForSleep, and an inhibitor lock of the mode "delay", which is a file
 * descriptor that is open (systemd's "Inhibitor Locks").  The only file that knows GIO.
 */
#include "logind.h"

#include <errno.h>
#include <stdio.h>

#include <gio/gio.h>
#include <gio/gunixfdlist.h>
#include <glib-unix.h>

#include "library.h"

#define LIBRARY "libgio-2.0.so.0"
#define FUNCTIONS(F) F(g_bus_get_sync) F(g_clear_error) F(g_dbus_connection_call_with_unix_fd_list_sync) \
	F(g_dbus_connection_signal_subscribe) F(g_main_loop_new) F(g_main_loop_quit) F(g_main_loop_run) F(g_main_loop_unref) \
	F(g_object_unref) F(g_unix_fd_add) F(g_unix_fd_list_get) F(g_variant_get) F(g_variant_new) F(g_variant_unref)

#define SERVICE "org.freedesktop.login1"
#define OBJECT "/org/freedesktop/login1"
#define MANAGER "org.freedesktop.login1.Manager"
#define TIMEOUT_MS 10000

static struct { FUNCTIONS(LIBRARY_POINTER) } lib;
static const struct library_symbol symbols[] = { FUNCTIONS(LIBRARY_SYMBOL) };

/* The process ends when the watch does: connection and lock are its. */
struct watch {
	const struct logind_hooks *hooks;
	GDBusConnection *bus;
	GMainLoop *loop;
	int lock_fd;
};

static err_t
explain(err_t err, GError *e, const char *what, char **why_out)
{
	if (asprintf(why_out, "%s: %s", what, e != NULL ? e->message : "no reason was given") < 0)
		*why_out = NULL;
	lib.g_clear_error(&e);
	return err;
}

static void
on_prepare(GDBusConnection *bus, const gchar *sender, const gchar *object, const gchar *interface, const gchar *name,
    GVariant *parameters, gpointer ctx)
{
	const struct watch *w = ctx;
	gboolean begins = FALSE;

	(void)bus;
	(void)sender;
	(void)object;
	(void)interface;
	(void)name;
	lib.g_variant_get(parameters, "(b)", &begins);
	if (begins)
		w->hooks->sleep(w->hooks->ctx);
}

static gboolean
on_end(gint fd, GIOCondition condition, gpointer ctx)
{
	const struct watch *w = ctx;

	(void)fd;
	(void)condition;
	lib.g_main_loop_quit(w->loop);
	return FALSE;
}

static err_t
take_lock(struct watch *w, char **why_out)
{
	GUnixFDList *fds = NULL;
	GError *e = NULL;
	gint32 index = 0;
	GVariant *answer = lib.g_dbus_connection_call_with_unix_fd_list_sync(w->bus, SERVICE, OBJECT, MANAGER, "Inhibit",
	    lib.g_variant_new("(ssss)", "sleep", "snugfs", "An encrypted folder is being locked", "delay"),
	    (const GVariantType *)"(h)", G_DBUS_CALL_FLAGS_NONE, TIMEOUT_MS, NULL, &fds, NULL, &e);

	if (answer == NULL)
		return explain(-ENOTCONN, e, "logind does not let sleep wait", why_out);
	lib.g_variant_get(answer, "(h)", &index);
	lib.g_variant_unref(answer);
	w->lock_fd = fds != NULL ? lib.g_unix_fd_list_get(fds, index, &e) : -1;
	if (fds != NULL)
		lib.g_object_unref(fds);
	return w->lock_fd >= 0 ? 0 : explain(-ENOTCONN, e, "logind has sent no lock", why_out);
}

static void
free_loop(struct watch *w)
{
	if (w->loop != NULL)
		lib.g_main_loop_unref(w->loop);
}

err_t
logind_watch(int end_fd, const struct logind_hooks *hooks, char **why_out)
{
	CLEANUP(free_loop) struct watch w = { .hooks = hooks, .lock_fd = -1 };
	GError *e = NULL;
	err_t err;

	if (library_load(LIBRARY, symbols, ARRAY_LEN(symbols)) != 0) {
		if (asprintf(why_out, "%s is not installed, without which the computer cannot be asked when it sleeps", LIBRARY) < 0)
			*why_out = NULL;
		return -ENOTSUP;
	}
	if ((w.bus = lib.g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, &e)) == NULL)
		return explain(-ENOTCONN, e, "there is no system bus", why_out);
	w.loop = lib.g_main_loop_new(NULL, FALSE);
	/* The signal first: what comes behind the lock is heard. */
	(void)lib.g_dbus_connection_signal_subscribe(w.bus, SERVICE, MANAGER, "PrepareForSleep", OBJECT, NULL, G_DBUS_SIGNAL_FLAGS_NONE,
	    on_prepare, &w, NULL);
	if ((err = take_lock(&w, why_out)) != 0)
		return err;
	(void)lib.g_unix_fd_add(end_fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_end, &w);
	hooks->ready(hooks->ctx);
	lib.g_main_loop_run(w.loop);
	return 0;
}
