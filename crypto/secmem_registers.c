/*
 * secmem_registers.c: zeroes the vector registers.  Which there are is found out as the program runs, because memcpy(3) and libcrypto
 * find it out, too: they use wider ones than this program is compiled for.
 */
#include "secmem.h"

#if defined(__x86_64__)

#include <stdatomic.h>

/*
 * The C library has asked the processor already.  __builtin_cpu_supports asks again before main(), a dozen times and in every process:
 * on a virtual machine, where each time the host answers, that is a part of a mount.  Who hides some of it from the C library
 * (GLIBC_TUNABLES) hides it from here, too.
 */
#if __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>
#define HAS_AVX() CPU_FEATURE_ACTIVE(AVX)
#define HAS_AVX512VL() CPU_FEATURE_ACTIVE(AVX512VL)
#else
#define HAS_AVX() __builtin_cpu_supports("avx")
#define HAS_AVX512VL() __builtin_cpu_supports("avx512vl")
#endif

#define ZERO_SSE(n) "pxor %%xmm" #n ", %%xmm" #n "\n\t"
/* Zeroes the whole register; 512 bits wide it could cost a processor its clock for a while. */
#define ZERO_UPPER(n) "vpxord %%xmm" #n ", %%xmm" #n ", %%xmm" #n "\n\t"

/* To a compiler that does not use them there are none. */
#ifdef __AVX512VL__
#define UPPER_ONES                                                                                                        \
	, "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", \
	    "xmm29", "xmm30", "xmm31"
#else
#define UPPER_ONES
#endif

enum widest { NOT_ASKED, SSE, AVX, AVX512VL };

static enum widest
find_widest(void)
{
	if (HAS_AVX512VL())
		return AVX512VL;
	return HAS_AVX() ? AVX : SSE;
}

/* Whoever finds it out at the same time finds the same. */
static enum widest
get_widest(void)
{
	static _Atomic(enum widest) known;
	enum widest w = atomic_load_explicit(&known, memory_order_relaxed);

	if (w == NOT_ASKED) {
		w = find_widest();
		atomic_store_explicit(&known, w, memory_order_relaxed);
	}
	return w;
}

void
secmem_wipe_registers(void)
{
	enum widest widest = get_widest();

	/* The upper sixteen are out of reach of all that came before AVX-512, vzeroall too.  Only coprocessors had that without VL. */
	if (widest == AVX512VL)
		__asm__ volatile(ZERO_UPPER(16) ZERO_UPPER(17) ZERO_UPPER(18) ZERO_UPPER(19) ZERO_UPPER(20) ZERO_UPPER(21)
			ZERO_UPPER(22) ZERO_UPPER(23) ZERO_UPPER(24) ZERO_UPPER(25) ZERO_UPPER(26) ZERO_UPPER(27)
			ZERO_UPPER(28) ZERO_UPPER(29) ZERO_UPPER(30) ZERO_UPPER(31)::: "memory" UPPER_ONES);
	if (widest != SSE)
		__asm__ volatile("vzeroall" ::
				     : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
				     "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	else
		__asm__ volatile(ZERO_SSE(0) ZERO_SSE(1) ZERO_SSE(2) ZERO_SSE(3) ZERO_SSE(4) ZERO_SSE(5) ZERO_SSE(6) ZERO_SSE(7)
			ZERO_SSE(8) ZERO_SSE(9) ZERO_SSE(10) ZERO_SSE(11) ZERO_SSE(12) ZERO_SSE(13) ZERO_SSE(14) ZERO_SSE(15)
			::: "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
			"xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

#elif defined(__aarch64__)

#define ZERO(n) "movi v" #n ".2d, #0\n\t"

/* Writing v also zeroes the rest of z (SVE).  Half of v8 to v15 is the caller's, and whoever gives it back zeroes the other half. */
void
secmem_wipe_registers(void)
{
	__asm__ volatile(ZERO(0) ZERO(1) ZERO(2) ZERO(3) ZERO(4) ZERO(5) ZERO(6) ZERO(7) ZERO(16) ZERO(17) ZERO(18) ZERO(19) ZERO(20)
		ZERO(21) ZERO(22) ZERO(23) ZERO(24) ZERO(25) ZERO(26) ZERO(27) ZERO(28) ZERO(29) ZERO(30) ZERO(31)
		::: "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23",
		"v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
}

#else

void
secmem_wipe_registers(void)
{
}

#endif
