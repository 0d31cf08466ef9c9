/* Messages for whoever runs the daemon. */
#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <syslog.h>

static atomic_bool to_syslog;

void
log_open(bool use_syslog)
{
	if (use_syslog)
		openlog("snugfs", LOG_PID, LOG_DAEMON);
	atomic_store(&to_syslog, use_syslog);
}

static void __attribute__((format(printf, 2, 0)))
log_write(int priority, const char *fmt, va_list ap)
{
	char line[2048];

	vsnprintf(line, sizeof(line), fmt, ap);
	if (atomic_load(&to_syslog))
		syslog(priority, "%s", line);
	else
		fprintf(stderr, "snugfs: %s\n", line);
}

void
log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_write(LOG_ERR, fmt, ap);
	va_end(ap);
}

void
log_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_write(LOG_WARNING, fmt, ap);
	va_end(ap);
}

void
log_info(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_write(LOG_INFO, fmt, ap);
	va_end(ap);
}
