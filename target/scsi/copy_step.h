/*
 * copy_step: one step of a copy: the gates around it, and the slow job in it.
 *
 * The destination's range excludes, the source's shares. Within one unit both are entered at once.
 * Between two units the gate that comes first in memory is entered first, whoever copies where:
 * then of all who hold one gate and wait for another nobody waits in a circle, since who has
 * entered the last of them waits for the disk only.
 *
 * While it waits (for a gate, for the disk) the step pins the command. It comes back through `next`
 * also when the command has finished meanwhile, unless copy_step_let_go() says that it won't;
 * whoever is called looks at command->is_finishing and may free the step.
 *
 * A step that moves can be left behind (left_behind.h): the destination stays closed until it has
 * ended. The source stays shared, since nobody can rely on what an aborted copy leaves, but only on
 * its not changing any more once it can be read.
 */
#pragma once

#include "backing/backing.h"
#include "target/scsi/gate.h"
#include "target/worker/worker.h"

struct command;
struct lu;

struct copy_step {
    struct command *command; /* its owner sets NULL when it is left behind */
    struct worker *worker;
    struct job_group *slow; /* in which it moves */
    struct lu *source, *destination;
    struct backing_copy work; /* what is left; backing_copy_plan() says how much of it is next */
    int result;               /* 0, or a negative errno, when a move is over */

    void (*next)(struct copy_step *step);
    struct backing_copy_part part;
    struct copy_hold {
        struct gate_copy_hold gate;
        struct copy_step *step;
    } holds[2];
    unsigned entered;
    bool is_entering, is_moving;
    struct slow_job job;
};

/* Enters the gates for the next part of step->work; next() runs inside, perhaps at once. */
void copy_step_enter(struct copy_step *step, void (*next)(struct copy_step *step));

/* Inside: moves the part; next() runs with step->result, still inside. */
void copy_step_move(struct copy_step *step, void (*next)(struct copy_step *step));

void copy_step_leave(struct copy_step *step);

/* The command finishes while the step does not move. True: nothing is held and next() won't run. */
bool copy_step_let_go(struct copy_step *step);
