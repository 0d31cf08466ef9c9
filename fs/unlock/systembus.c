/*
 * systembus.c: org.freedesktop.login1.Manager: the signal PrepareForSleep, and an inhibitor lock of the mode "delay", which is a file
 * descriptor that is open (systemd's "Inhibitor Locks"); org.freedesktop.NetworkManager: the property Metered.  The only file that
 * knows GIO.
 */
#include "systembus.h"

#include <errno.h>
#include <stdio.h>

#include <gio/gio.h>
#include <gio/gunixfdlist.h>
#include <glib-unix.h>

#include "library.h"

#define LIBRARY "libgio-2.0.so.0"
#define FUNCTIONS(F) F(g_bus_get_sync) F(g_clear_error) F(g_dbus_connection_call_with_unix_fd_list_sync) \
	F(g_dbus_connection_signal_subscribe) F(g_main_loop_new) F(g_main_loop_quit) F(g_main_loop_run) F(g_main_loop_unref) \
	F(g_object_unref) F(g_unix_fd_add) F(g_unix_fd_list_get) F(g_variant_get) F(g_variant_is_of_type) F(g_variant_lookup) \
	F(g_variant_new) F(g_variant_unref)

#define TYPE(text) ((const GVariantType *)(text))
#define TIMEOUT_MS 10000

#define BUS_SERVICE "org.freedesktop.DBus"
#define BUS_OBJECT "/org/freedesktop/DBus"
#define PROPERTIES "org.freedesktop.DBus.Properties"

#define LOGIND_SERVICE "org.freedesktop.login1"
#define LOGIND_OBJECT "/org/freedesktop/login1"
#define LOGIND_MANAGER "org.freedesktop.login1.Manager"

#define NETWORK_SERVICE "org.freedesktop.NetworkManager"
#define NETWORK_OBJECT "/org/freedesktop/NetworkManager"
#define NETWORK_METERED "Metered"

static struct { FUNCTIONS(LIBRARY_POINTER) } lib;
static const struct library_symbol symbols[] = { FUNCTIONS(LIBRARY_SYMBOL) };

/* The process ends when the watch does: connection and lock are its. */
struct watch {
	const struct systembus_sleep_hooks *sleep_hooks;     /* one of the two */
	const struct systembus_network_hooks *network_hooks;
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

/* Begin and end. */

static err_t
connect_to_bus(struct watch *w, const char *purpose, char **why_out)
{
	GError *e = NULL;

	if (library_load(LIBRARY, symbols, ARRAY_LEN(symbols)) != 0) {
		if (asprintf(why_out, "%s is not installed, without which the computer cannot be asked %s", LIBRARY, purpose) < 0)
			*why_out = NULL;
		return -ENOTSUP;
	}
	if ((w->bus = lib.g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, &e)) == NULL)
		return explain(-ENOTCONN, e, "there is no system bus", why_out);
	w->loop = lib.g_main_loop_new(NULL, FALSE);
	return 0;
}

static void
free_loop(struct watch *w)
{
	if (w->loop != NULL)
		lib.g_main_loop_unref(w->loop);
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

static void
run_until_end(struct watch *w, int end_fd)
{
	(void)lib.g_unix_fd_add(end_fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_end, w);
	lib.g_main_loop_run(w->loop);
}

/* Sleep. */

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
	if (lib.g_variant_is_of_type(parameters, TYPE("(b)")))
		lib.g_variant_get(parameters, "(b)", &begins);
	if (begins)
		w->sleep_hooks->sleep(w->sleep_hooks->ctx);
}

static err_t
take_lock(struct watch *w, char **why_out)
{
	GUnixFDList *fds = NULL;
	GError *e = NULL;
	gint32 index = 0;
	GVariant *answer = lib.g_dbus_connection_call_with_unix_fd_list_sync(w->bus, LOGIND_SERVICE, LOGIND_OBJECT, LOGIND_MANAGER,
	    "Inhibit", lib.g_variant_new("(ssss)", "sleep", "snugfs", "An encrypted folder is being locked", "delay"), TYPE("(h)"),
	    G_DBUS_CALL_FLAGS_NONE, TIMEOUT_MS, NULL, &fds, NULL, &e);

	if (answer == NULL)
		return explain(-ENOTCONN, e, "logind does not let sleep wait", why_out);
	lib.g_variant_get(answer, "(h)", &index);
	lib.g_variant_unref(answer);
	w->lock_fd = fds != NULL ? lib.g_unix_fd_list_get(fds, index, &e) : -1;
	if (fds != NULL)
		lib.g_object_unref(fds);
	return w->lock_fd >= 0 ? 0 : explain(-ENOTCONN, e, "logind has sent no lock", why_out);
}

err_t
systembus_watch_sleep(int end_fd, const struct systembus_sleep_hooks *hooks, char **why_out)
{
	CLEANUP(free_loop) struct watch w = { .sleep_hooks = hooks, .lock_fd = -1 };
	err_t err = connect_to_bus(&w, "when it sleeps", why_out);

	if (err != 0)
		return err;
	/* The signal first: what comes behind the lock is heard. */
	(void)lib.g_dbus_connection_signal_subscribe(w.bus, LOGIND_SERVICE, LOGIND_MANAGER, "PrepareForSleep", LOGIND_OBJECT, NULL,
	    G_DBUS_SIGNAL_FLAGS_NONE, on_prepare, &w, NULL);
	if ((err = take_lock(&w, why_out)) != 0)
		return err;
	hooks->ready(hooks->ctx);
	run_until_end(&w, end_fd);
	return 0;
}

/* The network. */

static void
tell_metered(const struct watch *w, uint32_t how)
{
	w->network_hooks->metered(w->network_hooks->ctx, how);
}

/* One that does not answer, or is too old to know, does not say. */
static void
ask_metered(const struct watch *w)
{
	GError *e = NULL;
	GVariant *value = NULL;
	guint32 how = SYSTEMBUS_METERED_UNKNOWN;
	GVariant *answer = lib.g_dbus_connection_call_with_unix_fd_list_sync(w->bus, NETWORK_SERVICE, NETWORK_OBJECT, PROPERTIES,
	    "Get", lib.g_variant_new("(ss)", NETWORK_SERVICE, NETWORK_METERED), TYPE("(v)"), G_DBUS_CALL_FLAGS_NO_AUTO_START, TIMEOUT_MS,
	    NULL, NULL, NULL, &e);

	lib.g_clear_error(&e);
	if (answer != NULL) {
		lib.g_variant_get(answer, "(v)", &value);
		if (lib.g_variant_is_of_type(value, TYPE("u")))
			lib.g_variant_get(value, "u", &how);
		lib.g_variant_unref(value);
		lib.g_variant_unref(answer);
	}
	tell_metered(w, how);
}

static void
on_properties(GDBusConnection *bus, const gchar *sender, const gchar *object, const gchar *interface, const gchar *name,
    GVariant *parameters, gpointer ctx)
{
	GVariant *changed = NULL;
	guint32 how;

	(void)bus;
	(void)sender;
	(void)object;
	(void)interface;
	(void)name;
	if (!lib.g_variant_is_of_type(parameters, TYPE("(sa{sv}as)")))
		return;
	lib.g_variant_get(parameters, "(&s@a{sv}as)", NULL, &changed, NULL);
	if (lib.g_variant_lookup(changed, NETWORK_METERED, "u", &how))
		tell_metered(ctx, how);
	lib.g_variant_unref(changed);
}

/* NetworkManager has come, gone, or both. */
static void
on_owner(GDBusConnection *bus, const gchar *sender, const gchar *object, const gchar *interface, const gchar *name,
    GVariant *parameters, gpointer ctx)
{
	const gchar *owner = "";

	(void)bus;
	(void)sender;
	(void)object;
	(void)interface;
	(void)name;
	if (lib.g_variant_is_of_type(parameters, TYPE("(sss)")))
		lib.g_variant_get(parameters, "(&s&s&s)", NULL, NULL, &owner);
	if (owner[0] != '\0')
		ask_metered(ctx);
	else
		tell_metered(ctx, SYSTEMBUS_METERED_UNKNOWN);
}

static err_t
find_network_manager(const struct watch *w, char **why_out)
{
	GError *e = NULL;
	GVariant *answer = lib.g_dbus_connection_call_with_unix_fd_list_sync(w->bus, BUS_SERVICE, BUS_OBJECT, BUS_SERVICE,
	    "GetNameOwner", lib.g_variant_new("(s)", NETWORK_SERVICE), TYPE("(s)"), G_DBUS_CALL_FLAGS_NONE, TIMEOUT_MS, NULL, NULL, NULL,
	    &e);

	if (answer == NULL)
		return explain(-ENOTCONN, e, "NetworkManager is not there", why_out);
	lib.g_variant_unref(answer);
	return 0;
}

err_t
systembus_watch_network(int end_fd, const struct systembus_network_hooks *hooks, char **why_out)
{
	CLEANUP(free_loop) struct watch w = { .network_hooks = hooks, .lock_fd = -1 };
	err_t err = connect_to_bus(&w, "whether the network is metered", why_out);

	if (err != 0)
		return err;
	/* The signals first: what comes behind the answer is heard. */
	(void)lib.g_dbus_connection_signal_subscribe(w.bus, NETWORK_SERVICE, PROPERTIES, "PropertiesChanged", NETWORK_OBJECT,
	    NETWORK_SERVICE, G_DBUS_SIGNAL_FLAGS_NONE, on_properties, &w, NULL);
	(void)lib.g_dbus_connection_signal_subscribe(w.bus, BUS_SERVICE, BUS_SERVICE, "NameOwnerChanged", BUS_OBJECT, NETWORK_SERVICE,
	    G_DBUS_SIGNAL_FLAGS_NONE, on_owner, &w, NULL);
	if ((err = find_network_manager(&w, why_out)) != 0)
		return err;
	ask_metered(&w);
	run_until_end(&w, end_fd);
	return 0;
}
