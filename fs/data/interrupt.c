/* interrupt.c: the source of each thread. */
#include "interrupt.h"


static _Thread_local const struct interrupt_source *source;

void
interrupt_use(const struct interrupt_source *s)
{
	source = s;
}

void
interrupt_listen(interrupt_fn *fn, void *ctx)
{
	if (source)
		source->listen(source->ctx, fn, ctx);
}

bool
interrupt_is_over(void)
{
	return source && source->is_over(source->ctx);
}
