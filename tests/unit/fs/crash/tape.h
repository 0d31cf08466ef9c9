/*
 * tape.h: an ordered record of everything that the engine does to its disk, below one vault directory: the data files' writes
 * (disk_watch) and SQLite's (a VFS in front of its own).  It also makes the disk fail: each such write is a step, and a range
 * of steps can be told to fail; so can reads, which have numbers of their own.
 *
 * One tape runs at a time.  SQLite's shared-memory file is left out: it is worth nothing after a crash, and SQLite makes it anew.
 *
 * With several threads, what runs at the same time is recorded at its worst: a write stands at its end, and a flush covers what
 * stood before its beginning.
 */
#ifndef CRASH_TAPE_H
#define CRASH_TAPE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "image.h"

#define TAPE_PATH_LEN 64
#define TAPE_NO_FILE UINT32_MAX

enum tape_kind {
	TAPE_WRITE,        /* file, off, data, len */
	TAPE_TRUNCATE,     /* file, len */
	TAPE_PUNCH,        /* file, off, len */
	TAPE_ALLOCATE,     /* file, off, len: nothing is in it, but the file is so long */
	TAPE_FLUSH,        /* file */
	TAPE_FLUSH_FAILED, /* file: the kernel may have dropped what was not on the disk, and will not say so again */
	TAPE_NAME,         /* name leads to file (TAPE_NO_FILE: to nothing) from now on; a rename is two of them */
	TAPE_FLUSH_DIR,    /* dir */
	TAPE_NOTHING,      /* for those who tamper with tapes */
};

struct tape_entry {
	enum tape_kind kind;
	uint32_t file;
	uint32_t name; /* of the file at that time */
	unsigned dir;
	bool joined; /* TAPE_NAME: one with the entry before it */
	uint64_t off;
	uint64_t len;
	size_t upto; /* flushes: what they cover is before this entry */
	uint8_t *data;
	/* what the workload says of the moment before this entry */
	uint32_t durable; /* the version that a finished fsync has promised */
	uint32_t latest;  /* no later one can be on the disk */
};

struct tape_name {
	char path[TAPE_PATH_LEN]; /* below the vault directory */
	unsigned dir;             /* 0: the directory itself; 1: segments */
	uint32_t first;           /* the file there when the tape began */
	uint32_t now;
};

struct tape {
	char root[256];
	pthread_mutex_t lock; /* all below */
	struct tape_name *names;
	size_t name_count;
	size_t name_cap;
	struct image *files; /* as they were when the tape began */
	size_t file_count;
	size_t file_cap;
	struct tape_entry *v;
	size_t count;
	size_t cap;
	uint32_t durable;
	uint32_t latest;
	/* faults: steps from fail_from to before fail_to answer with fail_err, and so many percent of all others */
	unsigned fail_percent;
	struct rng fail_rng;
	bool fails_reads; /* reads are the steps, instead of all else */
	bool spares;      /* for now nothing is a step */
	uint64_t steps;
	uint64_t fail_from;
	uint64_t fail_to;
	err_t fail_err;
	bool failed; /* one was, of those that somebody has to be told of */
	/* threads */
	bool dawdles; /* writes and flushes of data take their time, so that they meet */
};

/* Once, before any database is opened. */
void tape_install(void);
/* What is in root now is taken for durable; everything from now on is recorded. */
void tape_begin(struct tape *t, const char *root);
/* Recording pauses (NULL) or goes on with t; what ran before is returned. */
struct tape *tape_switch(struct tape *t);
void tape_clear(struct tape *t); /* and stops, if it runs */
/* The workload's word, for the entries from now on. */
void tape_note(struct tape *t, uint32_t durable, uint32_t latest);
/* From `after` steps from now on, `count` of them fail with err. */
void tape_fail(struct tape *t, uint64_t after, uint64_t count, err_t err);
/* So many percent of all steps from now on fail. */
void tape_fail_often(struct tape *t, unsigned percent, uint64_t seed, err_t err);
/* From now on it is reads that are counted and fail, and nothing else (or the other way round). */
void tape_fail_reads(struct tape *t, bool reads);
/* For a while nothing is counted, nor fails. */
void tape_spare(struct tape *t, bool spares);

/* tape_disk.c and tape_sqlite.c: what they report.  Paths are absolute. */
void tape_watch_disk(void);
void tape_watch_sqlite(void);
/* 0, or the error that this step is to fail with.  matters: not only some space stays in use if it fails. */
err_t tape_step(const char *path, bool matters);
err_t tape_read_step(const char *path);
bool tape_fails_reads(void);
void tape_record(const char *path, enum tape_kind kind, uint64_t off, uint64_t len, const void *data);
/* Room was given back on a disk that is full: nobody has to be told, unless it is so again. */
void tape_excuse(void);
void tape_record_name(const char *path, bool there); /* a new file, or nothing any more */
void tape_record_rename(const char *from, const char *to);
/* Where the tape is now: what a flush that begins now covers. */
size_t tape_position(void);
void tape_record_flush(const char *path, size_t upto);
void tape_record_flush_dir(const char *dir, size_t upto);
/* Lets other threads run, sometimes, if the tape was told to. */
void tape_dawdle(void);

#endif
