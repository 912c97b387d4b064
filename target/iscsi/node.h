/*
 * node: an iSCSI target node: its names, who may log in and how, and its SCSI target device.
 *
 * Thread    made and changed by the main thread; looked up at login from every worker. The table is
 *           under a mutex; a node that was found stays until node_put(). What login needs of a node
 * is in an immutable node_access, replaced as a whole.
 */
#pragma once

#include "proto/chap.h"
#include "target/scsi/scsi_target.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>

struct node_chap {
    bool is_set;
    char user[CHAP_NAME_MAX + 1], secret[CHAP_SECRET_MAX + 1];
    char mutual_user[CHAP_NAME_MAX + 1], mutual_secret[CHAP_SECRET_MAX + 1]; /* empty: one-way */
};

struct node_network {
    sa_family_t family;
    uint8_t address[16];
    uint8_t prefix_bits;
};

struct node_access {
    _Atomic unsigned refs;
    char alias[256];
    char **initiators; /* patterns, NULL-terminated; NULL: everybody */
    struct node_network *networks;
    unsigned network_count;
    bool has_networks;
    struct node_chap chap;
};

struct node {
    char name[INITIATOR_NAME_MAX + 1];
    uint16_t portal_group_tag;
    struct scsi_target scsi;
    struct node_access *access; /* under the table's mutex */
    _Atomic unsigned refs;
    _Atomic unsigned sessions;
    bool is_removed;
    struct node *next;
};

struct node_table {
    pthread_mutex_t mutex;
    struct node *first;              /* in the order of the configuration */
    struct node_chap discovery_chap; /* set before the portals open, never changed */
};

void node_table_open(struct node_table *table);
void node_table_close(struct node_table *table);

/* Adds a node with an empty LUN map; the table holds one ref. NULL: no memory. `access` is taken
 * over. */
struct node *node_add(struct node_table *table, const char *name, struct workers *workers,
                      struct node_access *access);
/* Nobody finds it any more; its memory goes with the last ref. */
void node_remove(struct node_table *table, struct node *node);
void node_set_access(struct node_table *table, struct node *node, struct node_access *access);

/* iSCSI names compare without case after normalization (RFC 7143 4.2.7.1). NULL: no such node. */
struct node *node_find(struct node_table *table, const char *name);
void node_put(struct node *node);

struct node_access *node_access_get(struct node_table *table, struct node *node);
void node_access_put(struct node_access *access); /* wipes the secrets with the last one */

/* "192.168.10.0/24", "fd00::/8", or one address. -EINVAL. */
int node_network_parse(const char *text, struct node_network *network);
bool node_admits_address(const struct node_access *access, const struct sockaddr *address);
bool node_admits_initiator(const struct node_access *access, const char *initiator_name);

/* Why this initiator may not come from this address, as static text; NULL: it may. */
const char *node_refusal(const struct node_access *access, const char *initiator_name,
                         const struct sockaddr *address);
