/* library.c: dlopen(3). */
#include "library.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
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

err_t
library_load_once(struct library *l)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	err_t err;

	pthread_mutex_lock(&lock);
	if (!l->tried)
		l->err = library_load(l->file, l->symbols, l->count);
	l->tried = true;
	err = l->err;
	pthread_mutex_unlock(&lock);
	return err;
}
