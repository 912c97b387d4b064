/*
 * A kernel whose membarrier(2) is missing, or (QUICK_FAILS) has no memory for the quick one at
 * times: linked with --wrap=syscall, so that the gate's tests run on what stands in for it.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, ...);

static bool was_refused;

static bool refuses(long command)
{
#ifdef QUICK_FAILS
    static unsigned asked;

    /* the slow one takes ten milliseconds, so not every time */
    return command == MEMBARRIER_CMD_PRIVATE_EXPEDITED &&
           __atomic_fetch_add(&asked, 1, __ATOMIC_RELAXED) % 1000 == 0;
#else
    (void)command;
    return true;
#endif
}

long __wrap_syscall(long number, ...)
{
    long argument[6];
    va_list arguments;

    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        argument[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_membarrier && refuses(argument[0])) {
        __atomic_store_n(&was_refused, true, __ATOMIC_RELAXED);
        errno = ENOMEM;
        return -1;
    }
    return __real_syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4],
                          argument[5]);
}

/* Else these tests would pass without having tested anything new. */
__attribute__((destructor)) static void must_have_refused(void)
{
    if (!__atomic_load_n(&was_refused, __ATOMIC_RELAXED)) {
        fprintf(stderr, "membarrier was not asked for\n");
        _Exit(1);
    }
}
