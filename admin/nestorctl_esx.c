#include "admin/nestorctl_esx.h"

#include "admin/nestorctl_table.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>

#define DEFAULT_PORT "3260" /* RFC 7143 13.8: when none is said */

enum { ADDRESS_CAP = 64, VALUES = 5, VAAI_CAP = 300 };

/* One line to type: {A} is the address, {P} the port, {T} the target's name, {U} the CHAP user, {V}
 * what the LUNs accelerate. */
struct step {
    const char *command;
    const char *why;
    bool is_for_chap; /* only when the target asks for CHAP */
};

struct generation {
    const char *esx; /* the value of --esx */
    const char *title;
    bool is_without_port;     /* its commands take no port */
    const struct step *steps; /* up to the first without a command */
};

/* clang-format off */
static const struct step esx3_steps[] = {
    { "esxcfg-swiscsi -e", "turn the initiator on", false },
    { "esxcfg-firewall -e swISCSIClient", "let it out of the service console", false },
    { "# set CHAP user {U} in the VI Client: storage adapter, Properties, CHAP", NULL, true },
    { "vmkiscsi-tool -D -a {A} vmhba40", "where to discover (ESX 3.5: vmhba32)", false },
    { "esxcfg-rescan vmhba40", "find {T}", false },
    { "ls -l /vmfs/devices/disks", "the LUNs are there now", false },
    { NULL, NULL, false },
};

static const struct step esx4_steps[] = {
    { "esxcfg-swiscsi -e", "turn the initiator on", false },
    { "vmkiscsi-tool -D -a {A} vmhba33", "where to discover", false },
    { "# set CHAP user {U} in the vSphere Client: storage adapter, Properties, CHAP", NULL, true },
    { "esxcfg-rescan vmhba33", "find {T}", false },
    { "esxcfg-mpath -b", "the LUNs and their paths", false },
    { "vmkiscsi-tool -I -l vmhba33", "this host's own iSCSI name, for initiators = [...]", false },
    { NULL, NULL, false },
};

static const struct step esx5_steps[] = {
    { "esxcli iscsi software set --enabled=true", "turn the initiator on", false },
    { "esxcli iscsi adapter list", "its adapter: vmhba64 below", false },
    { "esxcli iscsi adapter auth chap set --direction=uni --authname={U} --secret=SECRET "
      "--level=required -A vmhba64", "CHAP", true },
    { "esxcli iscsi adapter discovery sendtarget add -A vmhba64 -a {A}:{P}", "where to discover", false },
    { "esxcli storage core adapter rescan -A vmhba64", "find {T}", false },
    { "esxcli storage core path list", "the LUNs and their paths", false },
    { "esxcli storage core device vaai status get", "{V}", false },
    { NULL, NULL, false },
};

static const struct generation generations[] = {
    { "3", "ESX 3.0 and 3.5 (service console)", true, esx3_steps },
    { "4", "ESX and ESXi 4.x", true, esx4_steps },
    { "5+", "ESXi 5 and later", false, esx5_steps },
};
/* clang-format on */

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* "192.168.1.5:3260" and "[fd00::5]:3260" in two. */
static void split_portal(const char *portal, char address[ADDRESS_CAP], char port[8])
{
    const char *colon = strrchr(portal, ':');
    int len = colon ? (int)(colon - portal) : (int)strlen(portal);

    snprintf(address, ADDRESS_CAP, "%.*s", len, portal);
    snprintf(port, 8, "%s", colon ? colon + 1 : DEFAULT_PORT);
}

static bool is_wildcard(const char *address)
{
    return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "[::]") == 0 ||
           strcmp(address, "*") == 0;
}

/* An address of this machine that others can reach, for a portal that listens on all. */
static bool find_own_address(char address[ADDRESS_CAP])
{
    struct ifaddrs *all, *at;
    bool is_found = false;

    if (getifaddrs(&all) != 0)
        return false;
    for (at = all; at && !is_found; at = at->ifa_next) {
        if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET || (at->ifa_flags & IFF_LOOPBACK) ||
            !(at->ifa_flags & IFF_UP))
            continue;
        is_found = inet_ntop(AF_INET, &((struct sockaddr_in *)at->ifa_addr)->sin_addr, address,
                             ADDRESS_CAP) != NULL;
    }
    freeifaddrs(all);
    return is_found;
}

/* The first portal that every generation can ask at, else the first; NULL: there is none. */
static const char *choose_portal(const json_t *portals)
{
    for (size_t i = 0; i < json_array_size(portals); i++) {
        const char *portal = json_string_value(json_array_get(portals, i));
        char address[ADDRESS_CAP], port[8];

        split_portal(portal, address, port);
        if (strcmp(port, DEFAULT_PORT) == 0)
            return portal;
    }
    return json_string_value(json_array_get(portals, 0));
}

/* The portal decides the port; the address is what was said, the portal's, or this machine's. */
static void choose_address(const json_t *result, const json_t *own, char address[ADDRESS_CAP],
                           char port[8])
{
    const char *portal = choose_portal(json_object_get(result, "portals"));
    const char *said = text_of(own, "address");

    split_portal(portal ? portal : "0.0.0.0:" DEFAULT_PORT, address, port);
    if (said)
        snprintf(address, ADDRESS_CAP, "%s", said);
    else if (is_wildcard(address) && !find_own_address(address))
        snprintf(address, ADDRESS_CAP, "ADDRESS-OF-THIS-HOST");
}

/* "ATS, Clone: supported", or who supports what when the LUNs differ. */
static void describe_vaai(const json_t *luns, char *out, size_t cap)
{
    const json_t *first = json_object_get(json_array_get(luns, 0), "supported");
    char names[CELL_CAP];
    bool is_same = true;
    size_t len = 0;

    for (size_t i = 0; i < json_array_size(luns); i++)
        is_same =
            is_same && json_equal(json_object_get(json_array_get(luns, i), "supported"), first);
    if (!first)
        snprintf(out, cap, "no LUN is served yet");
    else if (is_same)
        snprintf(out, cap, "%s: supported", cell_text(first, CELL_NOTHING, names, sizeof names));
    for (size_t i = 0; !is_same && i < json_array_size(luns) && len < cap; i++) {
        const json_t *lun = json_array_get(luns, i);

        len += (size_t)snprintf(
            out + len, cap - len, "%sLUN %d: %s", i ? "; " : "",
            (int)json_integer_value(json_object_get(lun, "lun")),
            cell_text(json_object_get(lun, "supported"), CELL_NOTHING, names, sizeof names));
    }
}

static void fill(char *out, size_t cap, const char *text, const char *const values[VALUES])
{
    static const char names[] = "APTUV";
    size_t len = 0;

    out[0] = '\0';
    while (*text && len + 1 < cap) {
        const char *name = text[0] == '{' ? strchr(names, text[1]) : NULL;

        if (name && text[2] == '}') {
            snprintf(out + len, cap - len, "%s", values[name - names]);
            len += strlen(out + len);
            text += 3;
        } else {
            out[len++] = *text++;
            out[len] = '\0';
        }
    }
}

static void print_generation(FILE *out, const struct generation *generation,
                             const char *const values[VALUES], bool has_chap)
{
    char command[CELL_CAP], why[CELL_CAP];

    fprintf(out, "# %s\n", generation->title);
    if (generation->is_without_port && strcmp(values[1], DEFAULT_PORT) != 0)
        fprintf(out,
                "# the lines below ask at port " DEFAULT_PORT ", and nestord listens on %s: "
                "add \"0.0.0.0:" DEFAULT_PORT "\" to portals and restart it\n",
                values[1]);
    for (const struct step *step = generation->steps; step->command; step++) {
        char line[2 * CELL_CAP + 8];

        if (step->is_for_chap && !has_chap)
            continue;
        fill(command, sizeof command, step->command, values);
        fill(why, sizeof why, step->why ? step->why : "", values);
        snprintf(line, sizeof line, "%s%s%s", command, step->why ? "    # " : "", why);
        line_print(out, line);
    }
}

void show_esx_howto(FILE *out, const json_t *result, const json_t *own)
{
    const char *wanted = text_of(own, "esx"), *name = text_of(result, "target");
    const json_t *chap = json_object_get(result, "chap");
    const char *user = text_of(chap, "user");
    char address[ADDRESS_CAP], port[8], vaai[VAAI_CAP];
    unsigned shown = 0;

    choose_address(result, own, address, port);
    describe_vaai(json_object_get(result, "vaai"), vaai, sizeof vaai);
    for (size_t i = 0; i < sizeof generations / sizeof generations[0]; i++) {
        const char *const values[] = { address, port, name ? name : "", user ? user : "", vaai };

        if (wanted && strcmp(wanted, generations[i].esx) != 0)
            continue;
        if (shown++ > 0)
            fputc('\n', out);
        print_generation(out, &generations[i], values, json_is_object(chap));
    }
}
