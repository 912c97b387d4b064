/* nestorctl: what its exit code says. */
#pragma once

enum nestorctl_exit {
    EXIT_DONE = 0,
    EXIT_REFUSED = 1,     /* by the daemon, or by the person who was asked */
    EXIT_USAGE = 2,       /* the command line is wrong */
    EXIT_UNREACHABLE = 3, /* no daemon answers */
};
