/*
 * registry: the running daemon's targets and LUNs, and every change to them.
 *
 * Thread    the main thread, for every call and every callback.
 * Owns      the model that is in force, the target nodes made from it, their logical units.
 *
 * A change is checked whole, done, kept in managed.conf, and only then answered. What fails leaves
 * everything as it was. Changes come one at a time; -EBUSY while one is under way.
 */
#pragma once

#include "conf/conf.h"
#include "target/iscsi/node.h"
#include "target/scsi/scsi_target.h"
#include "target/worker/worker.h"

#include <ev.h>

struct registry;

/* How a change ended: 0 or a negative errno, and a line for a person (what was done, or what to
 * do). */
struct registry_answer {
    int error;
    char text[768];
};
typedef void registry_done(void *context, const struct registry_answer *answer);

/*
 * Opens every image of `model` (made with malloc(); taken over, also on an error). A LUN that
 * cannot be opened (damaged side-car, locked, missing) stays out, with its reason in *problems and
 * kept for status; the others are served. 0 or -ENOMEM.
 */
int registry_create(struct model *model, struct workers *workers, struct mailbox *home,
                    struct registry **out, struct model_problems *problems);
/* All sessions are gone, and no change is under way. */
void registry_destroy(struct registry *registry);

/* Calls idle() when the change that is under way has ended; at once when there is none. No new one
 * begins. */
void registry_settle(struct registry *registry, void (*idle)(void *context), void *context);

struct node_table *registry_nodes(struct registry *registry);

const struct model *registry_model(const struct registry *registry);

void registry_lun_add(struct registry *registry, const char *target, const struct model_lun *lun,
                      registry_done *done, void *context);
/* -EBUSY while initiators that have used it are logged in, unless is_forced. The image stays. */
void registry_lun_remove(struct registry *registry, const char *target, unsigned lun,
                         bool is_forced, registry_done *done, void *context);
void registry_lun_resize(struct registry *registry, const char *target, unsigned lun,
                         uint64_t size_bytes, registry_done *done, void *context);
/*
 * Ends all reservations of a LUN and forgets who has registered; those who are logged in are told.
 * -EBUSY while a host that has one of them is logged in, unless is_forced.
 */
void registry_reservation_clear(struct registry *registry, const char *target, unsigned lun,
                                bool is_forced, registry_done *done, void *context);
void registry_target_add(struct registry *registry, const struct model_target *target,
                         registry_done *done, void *context);
void registry_target_remove(struct registry *registry, const char *target, bool is_forced,
                            registry_done *done, void *context);

/* Adds a name to the target's list of initiators; done already when the list admits it. */
void registry_initiator_accept(struct registry *registry, const char *target, const char *initiator,
                               registry_done *done, void *context);

/* What a person wants to see of a LUN that is declared. */
struct registry_lun_view {
    const char *target;
    const struct model_lun *declared;
    const struct lu *lu; /* NULL: not served */
    const char *problem; /* why not; NULL when it is */
};
/* Walks all LUNs in order of target and number; `target` NULL means all. Stops when each() says
 * false. */
void registry_each_lun(const struct registry *registry, const char *target,
                       bool (*each)(void *context, const struct registry_lun_view *view),
                       void *context);

/*
 * Applies what separates the model in force from `model` (made with malloc(); taken over); the plan
 * was shown before. All of it is refused when one step is (PLAN_REFUSED). LUNs that were left out
 * are tried again.
 */
void registry_reload(struct registry *registry, struct model *model, registry_done *done,
                     void *context);
