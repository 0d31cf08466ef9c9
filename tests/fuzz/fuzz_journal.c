/*
 * Fuzzes the journal of meta.db.  First byte 0: the file as it is; 1: the rows of its records, which are sealed here: u16 length of
 * each, at the end what is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "journal.h"

#define GENERATION 5u
#define BLOCK 4096u

static char path[64];
static struct rowseal *rs;

static void remove_file(void)
{
	unlink(path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	uint8_t salt[ROWSEAL_SALT_LEN];

	(void)argc;
	(void)argv;
	FUZZ_REQUIRE(secmem_init() == 0 && rowseal_new(fuzz_secret, &rs) == 0 && rowseal_start_session(rs, 1, salt) == 0);
	snprintf(path, sizeof(path), "%s/snugfs-fuzz-journal-%d", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp",
	    (int)getpid());
	return atexit(remove_file);
}

static void add_record(struct bytes *file, uint64_t number, const uint8_t *rows, size_t len)
{
	uint8_t aad[17] = {255};
	struct bytes sealed = {0};

	put_u64(aad + 1, GENERATION);
	put_u64(aad + 9, number);
	FUZZ_REQUIRE(rowseal_seal(rs, aad, sizeof(aad), rows, len, &sealed) == 0);
	FUZZ_REQUIRE(bytes_append(file, aad + 1, 16) == 0 && bytes_append_u32(file, (uint32_t)sealed.len) == 0);
	FUZZ_REQUIRE(bytes_append(file, sealed.data, sealed.len) == 0);
	while (file->len % BLOCK != 0)
		FUZZ_REQUIRE(bytes_append_u8(file, 0) == 0);
	bytes_clear(&sealed);
}

static void read_journal(const uint8_t *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct db_row *rows = NULL;
	struct journal *j;
	size_t count = 0;
	err_t err;

	FUZZ_REQUIRE(fd >= 0 && write(fd, data, len) == (ssize_t)len && close(fd) == 0);
	FUZZ_REQUIRE(journal_new(path, rs, &j) == 0);
	err = journal_read(j, GENERATION, &rows, &count);
	FUZZ_REQUIRE(err == 0 || err == -EBADMSG);
	for (size_t i = 0; err == 0 && i < count; i++) {
		FUZZ_REQUIRE(rows[i].table <= DB_CHUNK_PART && (rows[i].data != NULL || rows[i].len == 0));
		for (size_t k = 0; k < rows[i].len; k++)
			(void)*(const volatile uint8_t *)(rows[i].data + k);
	}
	if (err == 0)
		free(rows);
	journal_discard(j);
	journal_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bytes file = {0};
	uint64_t number = 0;

	if (len == 0 || data[0] > 1 || len > 65536)
		return 0;
	if (data[0] == 0) {
		read_journal(data + 1, len - 1);
		return 0;
	}
	data++;
	len--;
	while (len >= 2) {
		size_t n = get_u16(data);

		n = n < len - 2 ? n : len - 2;
		add_record(&file, number++, data + 2, n);
		data += 2 + n;
		len -= 2 + n;
	}
	read_journal(file.data, file.len);
	bytes_clear(&file);
	return 0;
}
