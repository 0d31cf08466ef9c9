/*
 * library.h: shared libraries that are loaded when they are first needed, so that a command which does not need them starts
 * sooner and has less code in its process.  Uses err.h.
 *
 * The file that owns such a library lists the functions that it calls, and calls them through pointers of the same names:
 *
 *	#define FUNCTIONS(F) F(vendor_new) F(vendor_free)
 *	static struct { FUNCTIONS(LIBRARY_POINTER) } lib;
 *	static const struct library_symbol symbols[] = { FUNCTIONS(LIBRARY_SYMBOL) };
 *
 * and, if several threads may be the first to need it,
 *
 *	static struct library library = LIBRARY_OF("libvendor.so.1", symbols);
 */
#ifndef SNUGFS_LIBRARY_H
#define SNUGFS_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

#define LIBRARY_POINTER(function) __typeof__(&function) function;
#define LIBRARY_SYMBOL(function) { #function, &lib.function },

struct library_symbol {
	const char *name;
	void *pointer; /* to the pointer to be set */
};

/*
 * Looks for it where the dynamic linker looks for what a program is linked with: file is the name that the library has in its
 * own header (SONAME), never a path.  Functions of what the library is itself linked with are found, too.  It stays loaded.
 * -ELIBACC: it is not installed, or cannot be loaded; -ELIBBAD: a function is not in it.
 */
MUST_CHECK err_t library_load(const char *file, const struct library_symbol *symbols, size_t count);

struct library {
	const char *file;
	const struct library_symbol *symbols;
	size_t count;
	bool tried;
	err_t err;
};
#define LIBRARY_OF(name, list) { .file = (name), .symbols = (list), .count = ARRAY_LEN(list) }

/* library_load, from any thread: the first time does it, and the others return what came of that. */
MUST_CHECK err_t library_load_once(struct library *l);

#endif
