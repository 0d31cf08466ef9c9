/* loops.h: what the inner loops of the benchmark have in common. */
#ifndef BENCH_LOOPS_H
#define BENCH_LOOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_LEN 4096U
#define POOL_BLOCKS 256U
#define PIECE_LEN (POOL_BLOCKS * BLOCK_LEN)
#define JOBS_MAX 16U

/* What a loop answers. */
struct result {
	double seconds;
	uint64_t count; /* of operations done */
};

/* A buffer for each job, touched once. */
extern uint8_t piece[JOBS_MAX][PIECE_LEN];

/* Notes what failed, with errno's text unless that is 0; returns -1. */
int fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
double now(void);
uint32_t number_of(const char *word);

/* splitmix64: the same numbers in every run. */
uint64_t next_number(uint64_t *state);

/* A block is incompressible and says where it belongs: which file, which block of it, which version. */
void blocks_init(void);
void block_fill(uint8_t *buf, size_t len, uint64_t file, uint64_t block, uint64_t version);
bool block_is(const uint8_t *buf, size_t len, uint64_t file, uint64_t block, uint64_t version);

/* The loops: 0, or -1 after fail().  What a loop is given stands above it. */
int do_write(char **argv, struct result *out);
int do_read(char **argv, struct result *out);
int do_random_read(char **argv, struct result *out);
int do_overwrite(char **argv, struct result *out);
int do_create(char **argv, struct result *out);
int do_walk(char **argv, struct result *out);
int do_read_files(char **argv, struct result *out);
int do_rename(char **argv, struct result *out);
int do_delete(char **argv, struct result *out);
int do_create_empty(char **argv, struct result *out);
int do_log(char **argv, struct result *out);
int do_check_log(char **argv, struct result *out);
int do_sql_single(char **argv, struct result *out);
int do_sql_bulk(char **argv, struct result *out);
int do_sql_check(char **argv, struct result *out);

#endif
