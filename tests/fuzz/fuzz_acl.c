/* Fuzzes POSIX ACLs, which programs set and other devices hand over as extended attributes: what they make of a mode. */
#include <errno.h>

#include "fuzz.h"
#include "vfs_internal.h"

#define HEADER_LEN 4u
#define ENTRY_LEN 8u

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct inode i = {.mode = S_IFREG | S_ISUID | 0654};
	bool keep = false;
	err_t err = vfs_acl_apply(&i, data, len, &keep);

	FUZZ_REQUIRE(err == 0 || err == -EINVAL || err == -EOPNOTSUPP);
	if (err != 0) {
		FUZZ_REQUIRE(i.mode == (S_IFREG | S_ISUID | 0654) && !keep);
		return 0;
	}
	/* Only the permissions are an ACL's; what is more than those is kept. */
	FUZZ_REQUIRE((i.mode & ~0777u) == (S_IFREG | S_ISUID));
	FUZZ_REQUIRE((len - HEADER_LEN) % ENTRY_LEN == 0 && keep == ((len - HEADER_LEN) / ENTRY_LEN > 3));
	return 0;
}
