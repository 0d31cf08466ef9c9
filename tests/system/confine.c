/*
 * confine ERRNO CALL... -- COMMAND...: runs a command, and whatever that starts, where these system calls fail with ENOSYS or EPERM, as
 * on an old system or in a container.  Exit status 77: this system does not let that be arranged.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#define CALLS_MAX 32
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CALL(name) { #name, SYS_##name }

static const struct {
	const char *name;
	unsigned number;
} calls[] = {
	CALL(clone3), CALL(close_range), CALL(copy_file_range), CALL(eventfd2), CALL(faccessat2), CALL(fallocate), CALL(flock),
	CALL(fsopen), CALL(getrandom), CALL(linkat), CALL(madvise), CALL(membarrier), CALL(mlock), CALL(mlock2), CALL(mremap), CALL(pidfd_open),
	CALL(pidfd_send_signal), CALL(prctl), CALL(preadv2), CALL(prlimit64), CALL(renameat2), CALL(rseq), CALL(setsid),
	CALL(socketpair), CALL(splice), CALL(statx), CALL(unshare),
};

static int
fail(const char *what, int status)
{
	fprintf(stderr, "confine: %s: %s\n", what, strerror(errno));
	return status;
}

static int
add_call(struct sock_fprog *p, const char *name, unsigned error)
{
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		if (strcmp(calls[i].name, name) != 0)
			continue;
		p->filter[p->len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, 1);
		p->filter[p->len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error);
		return 0;
	}
	errno = EINVAL;
	return fail(name, 2);
}

int
main(int argc, char **argv)
{
	struct sock_filter filter[2 * CALLS_MAX + 2] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)) };
	struct sock_fprog program = { 1, filter };
	unsigned error = argc > 1 && strcmp(argv[1], "EPERM") == 0 ? EPERM : ENOSYS;
	int at = 2;

	for (; at < argc && at < CALLS_MAX && strcmp(argv[at], "--") != 0; at++)
		if (add_call(&program, argv[at], error) != 0)
			return 2;
	if (at + 1 >= argc)
		return 2;
	filter[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	/* Who may not do so as he is may if he gives up all that could be gained by programs like fusermount3. */
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0 &&
	    (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0))
		return fail("no system call can be refused here", 77);
	execv(argv[at + 1], argv + at + 1);
	return fail(argv[at + 1], 2);
}
