/* Fuzzes what mount(8) hands over: fstab's options, source and mount point. */
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "options.h"

static FILE *nowhere;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	nowhere = fopen("/dev/null", "w");
	FUZZ_REQUIRE(nowhere != NULL);
	return 0;
}

/* Words are divided by newlines. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1), *argv[12] = {(char[]){"mount.snugfs"}}, *rest = text;
	struct options o = {.mountpoint = NULL};
	FILE *told = stderr;
	bool fake = false;
	int argc = 1, status;

	FUZZ_REQUIRE(text != NULL);
	memcpy(text, data, len);
	text[len] = '\0';
	while (argc < 11 && rest != NULL)
		argv[argc++] = strsep(&rest, "\n");
	argv[argc] = NULL;
	/* A call that ended within a word, which ends the program, leaves getopt(3) there. */
	optind = 0;
	FUZZ_REQUIRE(getopt(1, argv, "") == -1);
	stderr = nowhere;
	status = options_parse_mount_helper(argc, argv, &o, &fake);
	stderr = told;
	FUZZ_REQUIRE(status == 0 || status == 1 || status == 2);
	FUZZ_REQUIRE(status != 0 || o.mountpoint != NULL);
	options_clear(&o);
	free(text);
	return 0;
}
