/* library.c: dlopen(3). */
#include "library.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

err_t
library_load(const char *file, const struct library_symbol *symbols, size_t count)
{
	void *handle;

	assert(strchr(file, '/') == NULL);
	handle = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (handle == NULL)
		return -ELIBACC;
	for (size_t i = 0; i < count; i++)
		if (dlsym(handle, symbols[i].name) == NULL)
			return -ELIBBAD;
	for (size_t i = 0; i < count; i++) {
		void *address = dlsym(handle, symbols[i].name);

		memcpy(symbols[i].pointer, &address, sizeof(address));
	}
	return 0;
}
