/*
 * served: what the daemon serves of the model: target nodes, and behind each LUN its open unit.
 *
 * Thread    the main thread only.
 * Owns      the node's reference and the logical units. A unit leaves its target's list before it
 *           is closed; it is closed when no LUN map names it.
 * Knows     the model as it was declared; for registry.c and reload.c, which change it.
 */
#pragma once

#include "conf/conf.h"
#include "target/iscsi/node.h"
#include "target/scsi/scsi_target.h"

#include <sys/queue.h>

enum { SERVED_ERROR_MAX = 640 };

/* A declared LUN: open, or with the reason why not. */
struct unit {
    unsigned lun;
    struct lu *lu;
    char *problem;
    bool has_made_image, has_made_sidecar; /* by unit_open(), for unit_undo() */
    TAILQ_ENTRY(unit) link;
};
TAILQ_HEAD(unit_list, unit);

struct served {
    struct node *node;
    struct unit_list units;
    bool is_changed; /* its LUN map is not what the model says yet; a reload's own */
    TAILQ_ENTRY(served) link;
};
TAILQ_HEAD(served_list, served);

/* The node, in the table with its access lists and an empty LUN map. -ENOMEM, or -EINVAL. */
int served_open(struct served_list *all, struct node_table *nodes, struct workers *workers,
                const struct model_target *declared, struct served **out);
/* Takes the target out of the list and closes its units; no LUN map names them. */
void served_close(struct served_list *all, struct served *served);

struct served *served_find(const struct served_list *all, const char *name);
struct unit *served_unit(const struct served *served, unsigned lun);

/* Who may log in and how, as `declared` says it. NULL: no memory. */
struct node_access *access_make(const struct model_target *declared);
void access_set_chap(struct node_chap *chap, const struct model_chap *declared);

/*
 * Opens the image of a LUN, its identity, the registrations kept in state_dir and its unit, and
 * puts the unit into the list. The image
 * and the identity must not be those of any other unit of `all`. On an error what was made is taken
 * away again: a negative errno with *error for a person.
 */
int unit_open(const struct served_list *all, const char *state_dir, struct served *served,
              const struct model_lun *declared, char error[SERVED_ERROR_MAX]);
/* What VPD B1h tells of its rotation: 0 when it is not said. */
uint16_t served_rotation(const struct model_lun *declared);
/* A LUN that could not be opened keeps its place and the reason. 0 or -ENOMEM. */
int unit_set_problem(struct served *served, unsigned lun, const char *problem);
/* Takes the unit out of its target; close it with unit_free() when no map names it. */
void unit_take(struct served *served, struct unit *unit);
void unit_free(struct unit *unit);
/* For a change that fails after unit_open(): takes it out, closes it, and removes the files that it
 * made. */
void unit_undo(struct served *served, struct unit *unit);

/* The LUN map that the declared target's masks and the open units make. NULL: no memory. */
struct lun_map *served_map(const struct served *served, const struct model_target *declared);
/* The first map of a target that no nexus uses yet. */
void served_first_map(struct served *served, struct lun_map *map);
