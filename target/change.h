/*
 * change: the registry's inside, and the one change that can be under way. For registry.c,
 * reload.c and accept.c.
 *
 * A change runs in steps: each ends in change_publish(), which goes on with `next` when no worker
 * uses the old LUN map any more, or in change_end(), which answers.
 */
#pragma once

#include "target/registry.h"
#include "target/scsi/persistent_update.h"
#include "target/served.h"

struct change {
    struct registry *registry;
    registry_done *done;
    void *context;
    void (*next)(struct change *change);
    struct served *served;    /* the target whose map changes */
    struct unit_list leaving; /* closed when the old map is gone */
    struct map_change map;
    char text[512];                      /* what the answer will say */
    struct persistent_clearing clearing; /* registry_reservation_clear() */

    /* a reload's own */
    struct model *old_model;
    struct plan plan;
    struct model_problems problems;
};

struct registry {
    struct model *model; /* in force */
    struct workers *workers;
    struct mailbox *home;
    struct node_table nodes;
    struct served_list targets;
    bool is_changing, is_ending;
    struct change change;
    void (*idle)(void *context); /* registry_settle() */
    void *idle_context;
};

/* NULL: another one is under way, and done() has been told -EBUSY. */
struct change *change_begin(struct registry *registry, registry_done *done, void *context);

/* Answers, and makes room for the next change. */
void change_end(struct change *change, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The declared target; NULL: there is none, and the change has ended with that. */
struct model_target *change_target(struct change *change, const char *name);

/* Checks the model with what has changed in it. The first problem is the answer's text. */
int change_check(struct registry *registry, char *text, size_t cap);

/* Gives the target its new map (taken over); next() when the old one is gone and `leaving` is
 * closed. */
void change_publish(struct change *change, struct served *served, struct lun_map *map,
                    void (*next)(struct change *change));
