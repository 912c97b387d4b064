#include "target/scsi/copy_step.h"

#include "target/scsi/command.h"
#include "target/scsi/lu.h"
#include "target/scsi/nexus.h"

#include <assert.h>

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static unsigned gates(const struct copy_step *step)
{
    return step->source == step->destination ? 1 : 2;
}

static bool enter(struct copy_step *step, struct gate_copy_hold *hold)
{
    const struct backing_copy_part *part = &step->part;
    struct worker *worker = step->worker;
    struct lu *source = step->source, *destination = step->destination;
    bool is_sources_turn = (source < destination) == (step->entered == 0);

    if (source == destination)
        return gate_enter_copy(&destination->gate, hold, worker, part->destination_offset_bytes,
                               part->source_offset_bytes, part->len_bytes);
    if (is_sources_turn)
        return gate_enter_listed(&source->gate, &hold->hold, worker, GATE_SHARED,
                                 part->source_offset_bytes, part->len_bytes);
    return gate_enter(&destination->gate, &hold->hold, worker, GATE_EXCLUSIVE,
                      part->destination_offset_bytes, part->len_bytes);
}

static void entered(struct gate_hold *hold);

static void go_on_entering(struct copy_step *step)
{
    while (step->entered < gates(step)) {
        struct gate_copy_hold *hold = &step->holds[step->entered].gate;

        hold->hold.entered = entered;
        if (!enter(step, hold)) {
            step->is_entering = true;
            command_pin(step->command);
            return;
        }
        step->entered++;
    }
    step->next(step); /* the step may be gone */
}

static void entered(struct gate_hold *hold)
{
    struct copy_hold *copy_hold = CONTAINER_OF(hold, struct copy_hold, gate.hold);
    struct copy_step *step = copy_hold->step;
    struct command *command = step->command;

    step->is_entering = false;
    step->entered++;
    if (command->is_finishing)
        step->next(step);
    else
        go_on_entering(step);
    command_unpin(command);
}

void copy_step_enter(struct copy_step *step, void (*next)(struct copy_step *step))
{
    step->next = next;
    step->entered = 0;
    step->is_entering = false;
    step->holds[0] = step->holds[1] = (struct copy_hold){ .step = step };
    backing_copy_plan(&step->work, &step->part);
    go_on_entering(step);
}

void copy_step_leave(struct copy_step *step)
{
    while (step->entered > 0)
        gate_leave(&step->holds[--step->entered].gate.hold);
}

/* On a thread of the pool: nothing here is touched by anybody else until done() runs. */
static void move(struct slow_job *job)
{
    struct copy_step *step = CONTAINER_OF(job, struct copy_step, job);

    step->result = backing_copy_step(&step->work, &step->part);
}

static void moved(struct slow_job *job)
{
    struct copy_step *step = CONTAINER_OF(job, struct copy_step, job);
    struct command *command = step->command;

    step->is_moving = false;
    step->next(step);
    if (command != NULL)
        command_unpin(command);
}

void copy_step_move(struct copy_step *step, void (*next)(struct copy_step *step))
{
    step->next = next;
    step->is_moving = true;
    step->job.run = move;
    step->job.done = moved;
    command_pin(step->command);
    worker_slow(step->worker, step->slow, &step->job);
}

bool copy_step_let_go(struct copy_step *step)
{
    assert(!step->is_moving);
    if (step->is_entering) {
        /* False: it has been let in, and entered() is on its way. */
        if (!gate_cancel(&step->holds[step->entered].gate.hold))
            return false;
        step->is_entering = false;
        command_unpin(step->command);
    }
    copy_step_leave(step);
    return true;
}
