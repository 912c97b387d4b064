/* keys: the table of configuration keys. See keys.h. */
#include "conf/keys.h"
#include "conf/conf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define IN(type, member)                                                                           \
    .offset = offsetof(struct type, member), .bytes = sizeof(((struct type *)0)->member)
#define GLOBAL(member)    .scope = KEY_GLOBAL, IN(model, member)
#define TARGET(member)    .scope = KEY_TARGET, IN(model_target, member)
#define LUN(member)       .scope = KEY_LUN, IN(model_lun, member)
#define CHAP(member)      .scope = KEY_CHAP, IN(model_chap, member)
#define FROM_TO(from, to) .minimum = (from), .maximum = (to)

static const char *const engines[] = { "auto", "io_uring", "threads", NULL };
static const char *const caches[] = { "writeback", "writethrough", NULL };
static const char *const block_sizes[] = { "512", "4096", NULL };

static const uint64_t MEBIBYTE = 1ull << 20;

/* clang-format off */
const struct key keys[] = {
    { GLOBAL(portals), .name = "portals", .type = KEY_TEXTS, .when = KEY_RESTART,
      .fallback = "0.0.0.0:3260", .check = check_portal,
      .help = "Addresses to listen on, as \"ADDRESS:PORT\"; IPv6 in brackets: \"[::]:3260\"." },
    { GLOBAL(state_dir), .name = "state_dir", .type = KEY_TEXT, .when = KEY_RESTART,
      .fallback = "/var/lib/nestor", .check = check_absolute_path,
      .help = "Folder for what nestorctl changed (managed.conf). Made when its parent exists." },
    { GLOBAL(admin_socket), .name = "admin_socket", .type = KEY_TEXT, .when = KEY_RESTART,
      .fallback = "/run/nestor/nestord.sock", .check = check_socket_path,
      .help = "The socket that nestorctl talks to." },
    { GLOBAL(admin_group), .name = "admin_group", .type = KEY_TEXT, .when = KEY_RESTART,
      .check = check_group, .example = "nestor",
      .help = "Members of this group may use the admin socket too, besides root and the daemon's user." },
    { GLOBAL(workers), .name = "workers", .type = KEY_NUMBER, .when = KEY_RESTART,
      FROM_TO(0, 16), .fallback = "0",
      .help = "Threads that serve connections; 0: one a CPU, at most 4." },
    { GLOBAL(busy_poll_us), .name = "busy_poll_us", .type = KEY_NUMBER, .when = KEY_RESTART,
      FROM_TO(0, 10000), .fallback = "0",
      .help = "Microseconds that a thread which had something to do goes on looking for more before it "
              "sleeps: a lower latency, for a CPU kept busy meanwhile. 0: it sleeps at once." },
    { GLOBAL(uses_sendfile), .name = "sendfile", .type = KEY_FLAG, .when = KEY_RESTART,
      .fallback = "false",
      .help = "Large reads of what is in memory are sent without copying it: much less CPU. But what is "
              "overwritten while it is on its way may arrive as it is after that: such a read is not kept "
              "apart from COMPARE AND WRITE and from ORDERED writes. Never with data digests." },
    { GLOBAL(memory_limit_bytes), .name = "memory_limit", .type = KEY_SIZE, .when = KEY_RESTART,
      FROM_TO(16 * MEBIBYTE, 1024 * 1024 * MEBIBYTE), .fallback = "256M",
      .help = "The most memory for data on its way. Past it initiators are asked to wait." },
    { GLOBAL(engine), .name = "engine", .type = KEY_CHOICE, .when = KEY_RESTART,
      .choices = engines, .fallback = "auto",
      .help = "How disks are reached. \"auto\" takes io_uring where the kernel allows it, else threads." },
    { GLOBAL(max_sessions), .name = "max_sessions", .type = KEY_NUMBER, .when = KEY_RESTART,
      FROM_TO(1, 65535), .fallback = "256",
      .help = "The most sessions at one time; a login past it is answered \"out of resources\"." },
    { GLOBAL(max_half_open), .name = "max_half_open", .type = KEY_NUMBER, .when = KEY_RESTART,
      FROM_TO(1, 65535), .fallback = "64",
      .help = "The most connections that have not logged in yet." },
    { GLOBAL(login_timeout_s), .name = "login_timeout", .type = KEY_NUMBER, .when = KEY_RESTART,
      FROM_TO(1, 3600), .fallback = "15",
      .help = "Seconds that a login may take." },
    { GLOBAL(nop_interval_s), .name = "nop_interval", .type = KEY_NUMBER, .when = KEY_RESTART,
      FROM_TO(0, 3600), .fallback = "30",
      .help = "Seconds of silence after which an initiator is asked whether it is still there; 0: never." },
    { GLOBAL(nop_timeout_s), .name = "nop_timeout", .type = KEY_NUMBER, .when = KEY_RESTART,
      FROM_TO(1, 3600), .fallback = "20",
      .help = "Seconds that it may take to answer; then its connection is closed." },
    { GLOBAL(discovery_chap), .name = "discovery_chap", .type = KEY_GROUP, .when = KEY_RESTART,
      .inner = KEY_CHAP, .flag_offset = offsetof(struct model, has_discovery_chap),
      .help = "CHAP for discovery sessions, as in a target. Absent: anybody may discover." },
    { GLOBAL(targets), .name = "targets", .type = KEY_GROUPS, .when = KEY_LIVE,
      .inner = KEY_TARGET,
      .help = "The targets, each a group in braces." },

    { TARGET(name), .name = "name", .type = KEY_TEXT, .when = KEY_FIXED, .is_required = true,
      .check = check_target_name, .example = "iqn.2026-11.lab.nestor:vmfs",
      .help = "The iSCSI name: iqn., eui. or naa., of a-z, 0-9, '.', ':' and '-'." },
    { TARGET(alias), .name = "alias", .type = KEY_TEXT, .when = KEY_LOGINS,
      .check = check_alias, .example = "lab",
      .help = "A name for people, told at login." },
    { TARGET(initiators), .name = "initiators", .type = KEY_TEXTS, .when = KEY_LOGINS,
      .check = check_initiator_pattern, .example = "iqn.1998-01.com.vmware:*",
      .help = "Names of the initiators that may log in; * and ? as in file names. Absent: any." },
    { TARGET(networks), .name = "networks", .type = KEY_TEXTS, .when = KEY_LOGINS,
      .check = check_network, .example = "192.168.10.0/24",
      .help = "Networks from which they may. Absent: any." },
    { TARGET(chap), .name = "chap", .type = KEY_GROUP, .when = KEY_LOGINS,
      .inner = KEY_CHAP, .flag_offset = offsetof(struct model_target, has_chap),
      .help = "The password that initiators must know. Absent: none." },
    { TARGET(has_alua), .name = "alua", .type = KEY_FLAG, .when = KEY_INQUIRY, .fallback = "false",
      .help = "Tell hosts of one port group, active/optimized through every portal (implicit ALUA)." },
    { TARGET(luns), .name = "luns", .type = KEY_GROUPS, .when = KEY_LIVE, .inner = KEY_LUN,
      .help = "The logical units, each a group in braces." },
    { TARGET(is_managed), .name = "managed", .type = KEY_FLAG, .when = KEY_FIXED,
      .is_internal = true, .fallback = "false",
      .help = "Written by nestord: this target was made with nestorctl." },

    { CHAP(user), .name = "user", .type = KEY_TEXT, .when = KEY_LOGINS, .is_required = true,
      .check = check_chap_user, .example = "esx",
      .help = "The name that the initiator gives." },
    { CHAP(secret_file), .name = "secret_file", .type = KEY_TEXT, .when = KEY_LOGINS,
      .is_required = true, .check = check_absolute_path, .example = "/etc/nestor/esx.secret",
      .help = "A file with its secret, 12 to 255 characters; mode 0600 or stricter." },
    { CHAP(mutual_user), .name = "mutual_user", .type = KEY_TEXT, .when = KEY_LOGINS,
      .check = check_chap_user, .example = "lab",
      .help = "The name that the target gives when the initiator wants proof too." },
    { CHAP(mutual_secret_file), .name = "mutual_secret_file", .type = KEY_TEXT,
      .when = KEY_LOGINS, .check = check_absolute_path, .example = "/etc/nestor/lab.secret",
      .help = "A file with the target's own secret; another one than the initiator's." },

    { LUN(lun), .name = "lun", .type = KEY_NUMBER, .when = KEY_FIXED, .is_required = true,
      FROM_TO(0, 16383), .example = "0",
      .help = "The number. Keep it: ESX takes a LUN under another number for a snapshot." },
    { LUN(path), .name = "path", .type = KEY_TEXT, .when = KEY_FIXED, .is_required = true,
      .check = check_image_path, .example = "/srv/nestor/vmfs0.img",
      .help = "The image: a plain file or a block device. PATH.nestor beside it keeps its identity." },
    { LUN(size_bytes), .name = "size", .type = KEY_SIZE, .when = KEY_LIVE,
      FROM_TO(MEBIBYTE, 1ull << 53), .is_sampled = true, .example = "64G",
      .help = "How large it is: bytes, or a number with K, M, G or T. A file that is not there is made "
              "sparse. Absent: as large as the image. It can grow, never shrink." },
    { LUN(is_readonly), .name = "readonly", .type = KEY_FLAG, .when = KEY_RESTART, .fallback = "false",
      .help = "Refuse writes." },
    { LUN(is_removable), .name = "removable", .type = KEY_FLAG, .when = KEY_RESTART, .fallback = "false",
      .help = "Hosts can eject the medium, load it, and prevent its removal. ESX wants disks that are not." },
    { LUN(initiators), .name = "initiators", .type = KEY_TEXTS, .when = KEY_LIVE,
      .check = check_initiator_pattern, .example = "iqn.1998-01.com.vmware:esx1-*",
      .help = "The initiators that see this LUN; for others it is not there. Absent: all of the target." },
    { LUN(is_writethrough), .name = "cache", .type = KEY_CHOICE, .when = KEY_RESTART,
      .choices = caches, .fallback = "writeback",
      .help = "\"writethrough\": a write is answered when it is on stable storage. \"writeback\": when "
              "the host's page cache has it; it survives the daemon, not a power loss." },
    { LUN(vaai), .name = "vaai", .type = KEY_FLAG, .when = KEY_FROZEN, .unsaid = -1, .example = "true",
      .help = "Hardware acceleration for ESX (ATS, zero, clone, unmap); true unless said otherwise." },
    { LUN(block_size), .name = "block_size", .type = KEY_NUMBER, .when = KEY_FROZEN,
      .choices = block_sizes, .example = "512",
      .help = "Bytes in a logical block. ESX takes only 512." },
    { LUN(physical_block_size), .name = "physical_block_size", .type = KEY_NUMBER,
      .when = KEY_FROZEN, .choices = block_sizes, .example = "512",
      .help = "Bytes in a physical block: 4096 over 512 makes it a 512e disk." },
    { LUN(rotation), .name = "rotation", .type = KEY_NUMBER, .when = KEY_INQUIRY, .unsaid = -1,
      FROM_TO(0, 65534), .example = "1",
      .help = "Revolutions a minute; 1: a disk that does not rotate; 0: not told." },
    { LUN(thin_threshold), .name = "thin_threshold", .type = KEY_NUMBER, .when = KEY_RESTART,
      .unsaid = -1, FROM_TO(0, 99), .example = "90",
      .help = "Percent of what the image takes and could still take on its file system past which the "
              "hosts are told; 90 unless said otherwise, 0: never." },
    { LUN(serial), .name = "serial", .type = KEY_TEXT, .when = KEY_FROZEN, .check = check_serial,
      .example = "5c1e7a90b3d24f68",
      .help = "The unit serial number; only to restore one that was lost. 16 to 32 characters." },
    { LUN(naa), .name = "naa", .type = KEY_TEXT, .when = KEY_FROZEN, .check = check_naa,
      .example = "6a5b000b1c2d3e4f5061728394a5b6c7",
      .help = "The NAA name, 6 and 31 hexadecimal digits; only to restore one that was lost." },
    { LUN(product), .name = "product", .type = KEY_TEXT, .when = KEY_FROZEN, .check = check_product,
      .example = "VMFS LUN",
      .help = "The product name, at most 16 characters. ESX clones only between LUNs with the same." },
};
/* clang-format on */
const unsigned key_count = sizeof(keys) / sizeof(keys[0]);

/* ---- finding ---- */

const struct key *keys_next(enum key_scope scope, const struct key *after)
{
    for (const struct key *key = after ? after + 1 : keys; key < keys + key_count; key++) {
        if (key->scope == scope)
            return key;
    }
    return NULL;
}

const struct key *conf_key_find(enum key_scope scope, const char *name)
{
    for (const struct key *key = keys_next(scope, NULL); key; key = keys_next(scope, key)) {
        if (strcmp(key->name, name) == 0)
            return key;
    }
    return NULL;
}

unsigned key_index(const struct key *key)
{
    unsigned index = 0;
    for (const struct key *at = keys_next(key->scope, NULL); at != key;
         at = keys_next(key->scope, at))
        index++;
    return index;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* How many letters must be added, dropped, changed or swapped with their neighbour. */
static unsigned text_distance(const char *a, const char *b)
{
    enum { LONGEST = 31 };
    unsigned distance[LONGEST + 1][LONGEST + 1];
    size_t a_len = strlen(a), b_len = strlen(b);

    if (a_len > LONGEST || b_len > LONGEST)
        return LONGEST;
    for (unsigned i = 0; i <= a_len; i++)
        distance[i][0] = i;
    for (unsigned j = 0; j <= b_len; j++)
        distance[0][j] = j;
    for (unsigned i = 1; i <= a_len; i++) {
        for (unsigned j = 1; j <= b_len; j++) {
            unsigned changed = distance[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            unsigned shorter = least(distance[i - 1][j], distance[i][j - 1]) + 1;
            distance[i][j] = least(changed, shorter);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                distance[i][j] = least(distance[i][j], distance[i - 2][j - 2] + 1);
        }
    }
    return distance[a_len][b_len];
}

const char *key_nearest(enum key_scope scope, const char *name)
{
    const char *nearest = NULL;
    unsigned fewest = 3; /* more than two slips is another word */

    for (const struct key *key = keys_next(scope, NULL); key; key = keys_next(scope, key)) {
        unsigned slips = text_distance(name, key->name);
        if (!key->is_internal && slips < fewest && slips < strlen(key->name)) {
            fewest = slips;
            nearest = key->name;
        }
    }
    return nearest;
}

/* ---- members ---- */

void *key_member(const struct key *key, void *object)
{
    return (char *)object + key->offset;
}

const void *key_member_const(const struct key *key, const void *object)
{
    return (const char *)object + key->offset;
}

static const size_t said_offset[KEY_SCOPES] = {
    [KEY_GLOBAL] = offsetof(struct model, said),
    [KEY_TARGET] = offsetof(struct model_target, said),
    [KEY_LUN] = offsetof(struct model_lun, said),
    [KEY_CHAP] = offsetof(struct model_chap, said),
};

struct model_place *key_said(enum key_scope scope, void *object)
{
    return (struct model_place *)((char *)object + said_offset[scope]);
}

const struct model_place *key_place(const struct key *key, const void *object)
{
    const struct model_place *said =
        (const struct model_place *)((const char *)object + said_offset[key->scope]);
    return &said[key_index(key)];
}

uint64_t key_number(const struct key *key, const void *object)
{
    const void *member = key_member_const(key, object);
    uint64_t wide;
    uint32_t word;
    bool flag;

    switch (key->bytes) {
    case sizeof(wide): memcpy(&wide, member, sizeof(wide)); return wide;
    case sizeof(word): memcpy(&word, member, sizeof(word)); return word;
    default: memcpy(&flag, member, sizeof(flag)); return flag;
    }
}

void key_set_number(const struct key *key, void *object, uint64_t value)
{
    void *member = key_member(key, object);
    uint32_t word = (uint32_t)value;
    bool flag = value != 0;

    switch (key->bytes) {
    case sizeof(value): memcpy(member, &value, sizeof(value)); break;
    case sizeof(word): memcpy(member, &word, sizeof(word)); break;
    default: memcpy(member, &flag, sizeof(flag)); break;
    }
}

/* ---- what holds when nothing is said ---- */

static uint64_t fallback_number(const struct key *key)
{
    uint64_t value = 0;

    if (!key->fallback)
        return key->bytes == sizeof(uint32_t) ? (uint32_t)key->unsaid : (uint64_t)key->unsaid;
    switch (key->type) {
    case KEY_SIZE: conf_parse_size(key->fallback, &value); return value;
    case KEY_FLAG: return strcmp(key->fallback, "true") == 0;
    case KEY_CHOICE:
        while (strcmp(key->choices[value], key->fallback) != 0)
            value++;
        return value;
    default: return strtoull(key->fallback, NULL, 10);
    }
}

int keys_set_fallbacks(enum key_scope scope, void *object)
{
    for (const struct key *key = keys_next(scope, NULL); key; key = keys_next(scope, key)) {
        switch (key->type) {
        case KEY_TEXT: {
            char *text = NULL;
            if (key->fallback && !(text = strdup(key->fallback)))
                return -ENOMEM;
            memcpy(key_member(key, object), &text, sizeof(text));
            break;
        }
        case KEY_TEXTS:
            if (key->fallback) {
                struct model_strings *strings = key_member(key, object);
                if (model_strings_add(strings, key->fallback) < 0)
                    return -ENOMEM;
                strings->is_set = false; /* the file's list replaces it */
            }
            break;
        case KEY_GROUP:
        case KEY_GROUPS: break;
        default: key_set_number(key, object, fallback_number(key)); break;
        }
    }
    return 0;
}

bool key_is_fallback(const struct key *key, const void *object)
{
    const void *member = key_member_const(key, object);

    switch (key->type) {
    case KEY_TEXT: {
        const char *text;
        memcpy(&text, member, sizeof(text));
        return !text || (key->fallback && strcmp(text, key->fallback) == 0);
    }
    case KEY_TEXTS: return !((const struct model_strings *)member)->is_set;
    case KEY_GROUP: return !*(const bool *)((const char *)object + key->flag_offset);
    case KEY_GROUPS: return false;
    default: return key_number(key, object) == fallback_number(key);
    }
}

/* ---- texts for people ---- */

void key_size_text(uint64_t bytes, char *text, size_t cap)
{
    static const char units[] = "KMGT";
    int unit = -1;

    for (; unit < 3 && bytes != 0 && bytes % 1024 == 0; unit++)
        bytes /= 1024;
    if (unit < 0)
        snprintf(text, cap, "%" PRIu64, bytes);
    else
        snprintf(text, cap, "%" PRIu64 "%c", bytes, units[unit]);
}

static void choices_text(const struct key *key, char *text, size_t cap)
{
    const char *quote = key->type == KEY_CHOICE ? "\"" : "";
    size_t len = 0;

    text[0] = '\0';
    for (const char *const *choice = key->choices; *choice && len < cap; choice++) {
        const char *between = choice == key->choices ? "" : choice[1] ? ", " : " or ";
        len += (size_t)snprintf(text + len, cap - len, "%s%s%s%s", between, quote, *choice, quote);
    }
}

void key_expected(const struct key *key, char *text, size_t cap)
{
    char least_text[32], most_text[32];

    switch (key->type) {
    case KEY_TEXT: snprintf(text, cap, "text in quotes"); break;
    case KEY_TEXTS: snprintf(text, cap, "a list of texts such as [ \"...\", \"...\" ]"); break;
    case KEY_FLAG: snprintf(text, cap, "true or false"); break;
    case KEY_CHOICE: choices_text(key, text, cap); break;
    case KEY_NUMBER:
        if (key->choices)
            choices_text(key, text, cap);
        else
            snprintf(text, cap, "a number from %" PRIu64 " to %" PRIu64, key->minimum,
                     key->maximum);
        break;
    case KEY_SIZE:
        key_size_text(key->minimum, least_text, sizeof(least_text));
        key_size_text(key->maximum, most_text, sizeof(most_text));
        snprintf(text, cap, "a size from %s to %s", least_text, most_text);
        break;
    case KEY_GROUP: snprintf(text, cap, "a group such as { name = value; }"); break;
    case KEY_GROUPS: snprintf(text, cap, "a list of groups such as ( { ... }, { ... } )"); break;
    }
}
