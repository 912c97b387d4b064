#include "target/iscsi/node.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

void node_table_open(struct node_table *table)
{
    *table = (struct node_table){ 0 };
    pthread_mutex_init(&table->mutex, NULL);
}

void node_table_close(struct node_table *table)
{
    while (table->first)
        node_remove(table, table->first);
    explicit_bzero(&table->discovery_chap, sizeof table->discovery_chap);
    pthread_mutex_destroy(&table->mutex);
}

struct node *node_add(struct node_table *table, const char *name, struct workers *workers,
                      struct node_access *access)
{
    struct node *node = calloc(1, sizeof *node);

    if (!node || strlen(name) > INITIATOR_NAME_MAX ||
        scsi_target_open(&node->scsi, name, workers) != 0) {
        free(node);
        node_access_put(access);
        return NULL;
    }
    memcpy(node->name, name, strlen(name) + 1);
    node->portal_group_tag = 1;
    node->access = access;
    atomic_store(&node->refs, 1);

    pthread_mutex_lock(&table->mutex);
    struct node **end = &table->first;
    while (*end)
        end = &(*end)->next;
    *end = node;
    pthread_mutex_unlock(&table->mutex);
    return node;
}

void node_remove(struct node_table *table, struct node *node)
{
    pthread_mutex_lock(&table->mutex);
    for (struct node **at = &table->first; *at; at = &(*at)->next)
        if (*at == node) {
            *at = node->next;
            node->next = NULL;
            node->is_removed = true;
            break;
        }
    pthread_mutex_unlock(&table->mutex);
    node_put(node);
}

void node_set_access(struct node_table *table, struct node *node, struct node_access *access)
{
    pthread_mutex_lock(&table->mutex);
    struct node_access *old = node->access;
    node->access = access;
    pthread_mutex_unlock(&table->mutex);
    node_access_put(old);
}

struct node *node_find(struct node_table *table, const char *name)
{
    pthread_mutex_lock(&table->mutex);
    struct node *node = table->first;
    while (node && strcasecmp(node->name, name) != 0)
        node = node->next;
    if (node)
        atomic_fetch_add(&node->refs, 1);
    pthread_mutex_unlock(&table->mutex);
    return node;
}

void node_put(struct node *node)
{
    if (!node || atomic_fetch_sub(&node->refs, 1) > 1)
        return;
    scsi_target_close(&node->scsi);
    node_access_put(node->access);
    free(node);
}

struct node_access *node_access_get(struct node_table *table, struct node *node)
{
    pthread_mutex_lock(&table->mutex);
    struct node_access *access = node->access;
    atomic_fetch_add(&access->refs, 1);
    pthread_mutex_unlock(&table->mutex);
    return access;
}

void node_access_put(struct node_access *access)
{
    if (!access || atomic_fetch_sub(&access->refs, 1) > 1)
        return;
    for (char **pattern = access->initiators; pattern && *pattern; pattern++)
        free(*pattern);
    free(access->initiators);
    free(access->networks);
    explicit_bzero(&access->chap, sizeof access->chap);
    free(access);
}

/* The address's bytes; NULL for a family that no network can name. */
static const uint8_t *address_bytes(const struct sockaddr *address, sa_family_t *family)
{
    *family = address->sa_family;
    if (address->sa_family == AF_INET)
        return (const uint8_t *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (address->sa_family != AF_INET6)
        return NULL;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (!IN6_IS_ADDR_V4MAPPED(six))
        return six->s6_addr;
    *family = AF_INET; /* an IPv4 initiator that came through an IPv6 socket */
    return six->s6_addr + 12;
}

int node_network_parse(const char *text, struct node_network *network)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);

    if (len >= sizeof address)
        return -EINVAL;
    memcpy(address, text, len);
    address[len] = '\0';
    network->family = strchr(address, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(network->family, address, network->address) != 1)
        return -EINVAL;
    unsigned max_bits = network->family == AF_INET ? 32 : 128;
    unsigned long bits = max_bits;
    if (slash) {
        char *end;
        bits = strtoul(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end || bits > max_bits)
            return -EINVAL;
    }
    network->prefix_bits = (uint8_t)bits;
    return 0;
}

static bool is_in_network(const uint8_t *address, const struct node_network *network)
{
    unsigned bytes = network->prefix_bits / 8, bits = network->prefix_bits % 8;

    if (memcmp(address, network->address, bytes) != 0)
        return false;
    uint8_t mask = (uint8_t)(0xff00U >> bits);
    return bits == 0 || ((address[bytes] ^ network->address[bytes]) & mask) == 0;
}

bool node_admits_address(const struct node_access *access, const struct sockaddr *address)
{
    sa_family_t family;

    if (!access->has_networks)
        return true;
    const uint8_t *bytes = address_bytes(address, &family);
    for (unsigned i = 0; bytes && i < access->network_count; i++)
        if (access->networks[i].family == family && is_in_network(bytes, &access->networks[i]))
            return true;
    return false;
}

bool node_admits_initiator(const struct node_access *access, const char *initiator_name)
{
    if (!access->initiators)
        return true;
    for (char **pattern = access->initiators; *pattern; pattern++)
        if (initiator_matches(*pattern, initiator_name))
            return true;
    return false;
}

const char *node_refusal(const struct node_access *access, const char *initiator_name,
                         const struct sockaddr *address)
{
    if (!node_admits_initiator(access, initiator_name))
        return "its name is not in the target's list of initiators";
    if (!node_admits_address(access, address))
        return "its address is not in the target's list of networks";
    return NULL;
}
