#include "target/scsi/copy_log.h"

#include "target/scsi/command.h"
#include "target/scsi/limits.h"
#include "target/scsi/lu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct copy_log {
    uint64_t last_order;
    struct copy_record records[LIMIT_COPIES];
};

static bool is_over(const struct copy_record *record)
{
    return record->state != XCOPY_IN_PROGRESS;
}

static void discard(struct copy_record *record)
{
    *record = (struct copy_record){ 0 };
}

struct copy_record *copy_log_find(struct itl *itl, uint8_t list_id)
{
    struct copy_record *record;

    for (unsigned i = 0; itl->copies != NULL && i < LIMIT_COPIES; i++) {
        record = &itl->copies->records[i];
        if (record->order == 0 || record->list_id != list_id)
            continue;
        if (!is_over(record) ||
            record->resets == atomic_load_explicit(&itl->lu->resets, memory_order_acquire))
            return record;
        discard(record);
    }
    return NULL;
}

/* A free one, or the one that has been over for longest. */
static struct copy_record *room(struct copy_log *log)
{
    struct copy_record *found = NULL;

    for (unsigned i = 0; i < LIMIT_COPIES; i++) {
        struct copy_record *record = &log->records[i];

        if (record->order != 0 && !is_over(record))
            continue;
        if (found == NULL || record->order < found->order)
            found = record;
    }
    return found;
}

int copy_log_begin(struct itl *itl, uint8_t list_id, struct copy_record **out)
{
    struct copy_record *record = copy_log_find(itl, list_id);

    if (record != NULL && !is_over(record))
        return -EBUSY;
    if (itl->copies == NULL)
        itl->copies = calloc(1, sizeof(*itl->copies));
    if (itl->copies == NULL)
        return -ENOMEM;
    if (record == NULL)
        record = room(itl->copies);
    if (record == NULL)
        return -EAGAIN;
    *record = (struct copy_record){
        .order = ++itl->copies->last_order,
        .resets = atomic_load_explicit(&itl->lu->resets, memory_order_acquire),
        .list_id = list_id,
        .state = XCOPY_IN_PROGRESS,
    };
    *out = record;
    return 0;
}

void copy_log_end(struct copy_record *record, const struct command *command)
{
    bool is_good = command->status == STATUS_GOOD;

    record->state = is_good ? XCOPY_COMPLETED : XCOPY_COMPLETED_WITH_ERRORS;
    record->has_status = true;
    record->has_details = !is_good && command->sense_len > 0;
    record->status = (uint8_t)command->status;
    record->sense_len = command->sense_len;
    memcpy(record->sense, command->sense, command->sense_len);
}

static void discard_when_all_is_told(struct copy_record *record)
{
    if (is_over(record) && !record->has_status && !record->has_details)
        discard(record);
}

void copy_log_told_status(struct copy_record *record)
{
    record->has_status = false;
    discard_when_all_is_told(record);
}

void copy_log_told_details(struct copy_record *record)
{
    record->has_details = false;
    discard_when_all_is_told(record);
}
