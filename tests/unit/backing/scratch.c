#include "tests/unit/backing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void scratch_make(struct scratch *scratch)
{
    snprintf(scratch->folder, sizeof(scratch->folder), "nestor-test-XXXXXX");
    assert_non_null(mkdtemp(scratch->folder));
    snprintf(scratch->path, sizeof(scratch->path), "%s/image", scratch->folder);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void scratch_remove(struct scratch *scratch)
{
    nftw(scratch->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_file(const struct scratch *scratch, const char *name)
{
    static char paths[2][128];
    static unsigned next;
    char *path = paths[next++ % 2];

    snprintf(path, sizeof(paths[0]), "%s/%s", scratch->folder, name);
    return path;
}

struct backing *scratch_image(const struct scratch *scratch, uint64_t size_bytes)
{
    struct backing_options options = {
        .path = scratch->path,
        .size_bytes = size_bytes,
        .is_new_allowed = true,
    };
    struct backing_error error = { "" };
    struct backing *backing = NULL;

    if (backing_open(&options, &backing, &error) != 0)
        fail_msg("%s", error.text);
    return backing;
}
