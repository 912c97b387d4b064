#include "tests/esx/volume.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    TEST_UNIT_READY = 0x00,
    RESERVE_6 = 0x16,
    RELEASE_6 = 0x17,

    NS_PER_MS = 1000000,
    RETRIES = 100, /* of BUSY, TASK SET FULL and RESERVATION CONFLICT, a command */
    RETRY_AFTER_US = 2000,
    ATTENTIONS_MAX = 10, /* that one host can owe at once */
};

int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 * NS_PER_MS + now.tv_nsec;
}

unsigned random_below(struct host *host, unsigned limit)
{
    return (unsigned)rand_r(&host->random) % limit;
}

void volume_stall(struct host *host)
{
    if (random_below(host, 1000) >= host->stall_in_thousand)
        return;
    host->stalls++;
    usleep((useconds_t)(host->stall_ms * 500 + random_below(host, host->stall_ms * 1000)));
}

void volume_error(struct host *host, const char *what, uint32_t lba)
{
    fprintf(host->log, "e host %u LBA %" PRIu32 ": %s\n", host->number, lba, what);
}

/* ---- images ---- */

struct image image_after(struct host *host, const struct image *old)
{
    return (struct image){
        .id = (uint64_t)(host->number + 1) << 48 | ++host->images,
        .lba = old->lba,
        .count = old->count + 1,
    };
}

void image_fill(void *block, const struct image *image)
{
    uint8_t *at = block;

    for (size_t used = 0; used < PATH_BLOCK_BYTES; used += sizeof(*image))
        memcpy(at + used, image, sizeof(*image));
}

bool image_take(struct image *image, const void *block, uint32_t lba)
{
    uint8_t wanted[PATH_BLOCK_BYTES];

    memcpy(image, block, sizeof(*image));
    image_fill(wanted, image);
    if (memcmp(wanted, block, sizeof(wanted)) != 0)
        return false;
    if (image->id == 0 && image->lba == 0 && image->owner == 0 && image->count == 0) {
        image->lba = lba;
        return true;
    }
    return image->id != 0 && image->lba == lba;
}

/* Before the first write a block is zero, so that is what must be compared with. */
static void fill_with_old(void *block, const struct image *old)
{
    if (old->id)
        image_fill(block, old);
    else
        memset(block, 0, PATH_BLOCK_BYTES);
}

/* ---- one command ---- */

static enum outcome judge_sense(struct host *host, const struct path_answer *answer, uint32_t lba)
{
    char text[80];

    if (answer->sense_key == 0x6) {
        host->attentions++;
        if (answer->asc == 0x29)
            host->was_reset = true;
        return NOT_DONE;
    }
    if (answer->sense_key == 0xe && answer->asc == 0x1d && answer->ascq == 0) {
        if (!answer->has_information || answer->information >= PATH_BLOCK_BYTES)
            volume_error(host, "MISCOMPARE without the offset of the difference", lba);
        return DIFFERS;
    }
    snprintf(text, sizeof(text), "sense %x/%02x/%02x", answer->sense_key, answer->asc,
             answer->ascq);
    volume_error(host, text, lba);
    return MAYBE;
}

static enum outcome judge(struct host *host, enum path_result result,
                          const struct path_answer *answer, uint32_t lba)
{
    if (result == PATH_LOST)
        host->losses++;
    if (result == PATH_ABORTED)
        host->aborts++;
    if (result != PATH_ANSWERED)
        return MAYBE;
    switch (answer->status) {
    case STATUS_GOOD: return DONE;
    case STATUS_CHECK_CONDITION: return judge_sense(host, answer, lba);
    case STATUS_RESERVATION_CONFLICT: host->conflicts++; return NOT_DONE;
    case STATUS_BUSY:
    case STATUS_TASK_SET_FULL: return NOT_DONE;
    default: volume_error(host, "a status that makes no sense", lba); return MAYBE;
    }
}

/* Who has reserved and meets a conflict has lost it, and what was read before it is worth nothing.
 */
static bool may_be_retried(const struct host *host, const struct path_answer *answer)
{
    return answer->status == STATUS_BUSY || answer->status == STATUS_TASK_SET_FULL ||
           (answer->status == STATUS_RESERVATION_CONFLICT && !host->has_reserved);
}

/* When the command that counts was on its way. */
struct interval {
    int64_t from, to; /* to 0: cut off, settled by the next login */
    bool is_conflict;
};

static enum outcome run(struct host *host, struct path_command command, uint32_t lba,
                        struct interval *when)
{
    for (unsigned retry = 0; host->path.socket >= 0; retry++) {
        struct path_answer answer;
        enum path_result result;
        enum outcome outcome;

        if (host->crash_in_thousand && random_below(host, 1000) < host->crash_in_thousand) {
            host->crashes++;
            command.crash = random_below(host, 2) ? CRASH_INSIDE : CRASH_AFTER_SEND;
        }
        when->from = now_ns();
        result = path_run(&host->path, &command, &answer);
        when->to = result == PATH_LOST ? 0 : now_ns();
        when->is_conflict = answer.status == STATUS_RESERVATION_CONFLICT;
        outcome = judge(host, result, &answer, lba);
        if (command.crash == CRASH_INSIDE)
            return NOT_DONE;
        if (outcome == DONE && answer.data_bytes != command.in_bytes)
            volume_error(host, "GOOD with less data than was asked for", lba);
        if (outcome != NOT_DONE || !may_be_retried(host, &answer) || retry == RETRIES)
            return outcome;
        usleep(RETRY_AFTER_US);
    }
    return NOT_DONE;
}

/* ---- what hosts do ---- */

enum outcome volume_read(struct host *host, uint32_t lba, unsigned blocks, struct image *images)
{
    uint8_t bytes[PATH_DATA_BYTES];
    struct interval when = { 0 };
    enum outcome outcome = run(host, path_read(lba, (uint16_t)blocks, bytes), lba, &when);

    if (outcome != DONE)
        return outcome;
    fprintf(host->log, "r %" PRIu32 " %" PRId64 " %" PRId64, lba, when.from, when.to);
    for (unsigned i = 0; i < blocks; i++) {
        if (image_take(&images[i], bytes + (size_t)i * PATH_BLOCK_BYTES, lba + i))
            fprintf(host->log, " %" PRIx64, images[i].id);
        else
            fputs(" torn", host->log);
    }
    fputc('\n', host->log);
    return DONE;
}

enum outcome volume_write(struct host *host, uint32_t lba, unsigned blocks, const struct image *old,
                          const struct image *image)
{
    uint8_t bytes[PATH_DATA_BYTES];
    struct interval when = { 0 };
    struct image each = *image;
    enum outcome outcome;

    for (unsigned i = 0; i < blocks; i++) {
        each.lba = lba + i;
        image_fill(bytes + (size_t)i * PATH_BLOCK_BYTES, &each);
    }
    outcome = run(host, path_write(lba, (uint16_t)blocks, bytes), lba, &when);
    fprintf(host->log, "w %" PRIu32 " %u %" PRId64 " %" PRId64 " %c ", lba, blocks, when.from,
            when.to, outcome);
    if (old)
        fprintf(host->log, "%" PRIx64 " %" PRIx64 "\n", old->id, image->id);
    else
        fprintf(host->log, "- %" PRIx64 "\n", image->id);
    return outcome;
}

static void log_replaced(struct host *host, uint32_t lba, const struct interval *when,
                         enum outcome outcome, const struct image *old, const struct image *image)
{
    if (outcome == DONE)
        host->ats_done++;
    if (outcome == DIFFERS)
        host->ats_differed++;
    fprintf(host->log, "a %" PRIu32 " %" PRId64 " %" PRId64 " %c %" PRIx64 " %" PRIx64 "\n", lba,
            when->from, when->to, outcome, old->id, image->id);
}

static enum outcome replace_by_ats(struct host *host, const struct image *old,
                                   const struct image *image, uint32_t lba)
{
    uint8_t both[2 * PATH_BLOCK_BYTES];
    struct interval when = { 0 };
    enum outcome outcome;

    fill_with_old(both, old);
    image_fill(both + PATH_BLOCK_BYTES, image);
    outcome = run(host, path_compare_and_write(lba, 1, both), lba, &when);
    log_replaced(host, lba, &when, outcome, old, image);
    return outcome;
}

/* The LUN is ours: compare, and write. What a reset does in between, the next command tells. */
static enum outcome replace_reserved(struct host *host, const struct image *old,
                                     const struct image *image, uint32_t lba)
{
    uint8_t bytes[PATH_BLOCK_BYTES];
    struct interval when = { 0 };
    struct image there;
    enum outcome outcome = volume_read(host, lba, 1, &there);

    if (outcome != DONE)
        return NOT_DONE;
    if (there.id != old->id) {
        host->ats_differed++;
        return DIFFERS; /* the read is in the log and says more */
    }
    image_fill(bytes, image);
    volume_stall(host);
    outcome = run(host, path_write(lba, 1, bytes), lba, &when);
    log_replaced(host, lba, &when, outcome, old, image);
    return outcome;
}

static enum outcome replace_by_reserve(struct host *host, const struct image *old,
                                       const struct image *image, uint32_t lba)
{
    struct interval when = { 0 };
    enum outcome outcome, released;

    if (run(host, path_simple(RESERVE_6), lba, &when) != DONE) {
        if (when.is_conflict) /* for RETRIES: its owner is dead, or sleeps */
            volume_fence(host);
        return NOT_DONE;
    }
    host->has_reserved = true;
    outcome = replace_reserved(host, old, image, lba);
    host->has_reserved = false;
    released = run(host, path_simple(RELEASE_6), lba, &when);
    if (released == NOT_DONE && host->path.socket >= 0) /* a unit attention came instead */
        run(host, path_simple(RELEASE_6), lba, &when);
    return outcome;
}

enum outcome volume_replace(struct host *host, const struct image *old, const struct image *image,
                            uint32_t lba)
{
    if (host->locking == LOCKING_ATS)
        return replace_by_ats(host, old, image, lba);
    return replace_by_reserve(host, old, image, lba);
}

enum outcome volume_ready(struct host *host)
{
    struct interval when = { 0 };

    for (unsigned i = 0; i < ATTENTIONS_MAX && host->path.socket >= 0; i++)
        if (run(host, path_simple(TEST_UNIT_READY), 0, &when) == DONE)
            return DONE;
    return NOT_DONE;
}

enum outcome volume_fence(struct host *host)
{
    bool is_old = host->locking == LOCKING_RESERVE;
    int response = path_reset(&host->path, is_old ? TMF_TARGET_WARM_RESET : TMF_LUN_RESET);

    host->fences++;
    if (response > 0)
        volume_error(host, "the reset was not done", 0);
    return response == 0 ? DONE : NOT_DONE;
}
