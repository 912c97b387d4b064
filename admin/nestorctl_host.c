#include "admin/nestorctl_host.h"

#include "admin/nestorctl_table.h"

#include <stdlib.h>
#include <string.h>

enum host_flag {
    HOST_VMX = 1 << 0,
    HOST_SVM = 1 << 1,
    HOST_EPT = 1 << 2,
    HOST_NPT = 1 << 3,
    HOST_LM = 1 << 4,
    HOST_LAHF_LM = 1 << 5,
    HOST_NX = 1 << 6,
    HOST_POPCNT = 1 << 7,
    HOST_SSE4_2 = 1 << 8,
    HOST_HYPERVISOR = 1 << 9,
    HOST_VIRTUALIZATION = HOST_VMX | HOST_SVM,
    HOST_PAGING = HOST_EPT | HOST_NPT,
};

/* The words of /proc/cpuinfo. */
static const struct flag_name {
    const char *name;
    unsigned flag;
} flag_names[] = {
    {"vmx",         HOST_VMX       },
    { "svm",        HOST_SVM       },
    { "ept",        HOST_EPT       },
    { "npt",        HOST_NPT       },
    { "lm",         HOST_LM        },
    { "lahf_lm",    HOST_LAHF_LM   },
    { "nx",         HOST_NX        },
    { "popcnt",     HOST_POPCNT    },
    { "sse4_2",     HOST_SSE4_2    },
    { "hypervisor", HOST_HYPERVISOR},
};
enum { FLAG_NAMES = sizeof flag_names / sizeof flag_names[0] };

/* What can be asked of a host; any of `flags` fulfils it. */
static const struct demand {
    unsigned flags;
    const char *name; /* what is missing without it */
} demands[] = {
    {HOST_VIRTUALIZATION, "vmx or svm"},
    { HOST_PAGING,        "ept or npt"},
    { HOST_LM,            "lm"        },
    { HOST_LAHF_LM,       "lahf_lm"   },
    { HOST_NX,            "nx"        },
    { HOST_POPCNT,        "popcnt"    },
    { HOST_SSE4_2,        "sse4_2"    },
};
enum { DEMANDS = sizeof demands / sizeof demands[0] };

/*
 * To run itself, a generation needs `needs`. Its own 64-bit VMs need virtualization that is handed
 * on, with nested paging; its 32-bit ones were binary-translated until 6.5, and from 6.7 on nothing
 * runs without.
 */
static const struct generation {
    const char *esx;
    unsigned needs;
    bool has_inner_64; /* can have VMs of 64 bits inside */
    bool needs_nested; /* no VM runs inside without virtualization that is handed on */
} generations[] = {
    {"3.0, 3.5",    HOST_VIRTUALIZATION,                                                  false, false},
    { "4.0, 4.1",   HOST_VIRTUALIZATION | HOST_LM | HOST_LAHF_LM,                         false, false},
    { "5.0 to 6.5", HOST_VIRTUALIZATION | HOST_LM | HOST_LAHF_LM | HOST_NX,               true,  false},
    { "6.7, 7",     HOST_VIRTUALIZATION | HOST_PAGING | HOST_LM | HOST_LAHF_LM | HOST_NX, true,  true },
    { "8",
     HOST_VIRTUALIZATION | HOST_PAGING | HOST_LM | HOST_LAHF_LM | HOST_NX | HOST_POPCNT |
          HOST_SSE4_2,                                                                    true,  true },
};
enum { GENERATIONS = sizeof generations / sizeof generations[0] };

/* ---- what the kernel tells ---- */

static unsigned parse_flags(const char *line, size_t len)
{
    unsigned flags = 0;

    while (len > 0) {
        size_t blanks = strspn(line, " \t"), word;

        if (blanks >= len)
            break;
        line += blanks;
        len -= blanks;
        word = strcspn(line, " \t\n");
        for (unsigned i = 0; i < FLAG_NAMES; i++)
            if (strlen(flag_names[i].name) == word && memcmp(line, flag_names[i].name, word) == 0)
                flags |= flag_names[i].flag;
        line += word;
        len -= word;
    }
    return flags;
}

/* "flags\t\t: fpu vme": is this line's name `name`? Then *value is what follows the colon. */
static bool is_line(const char *line, size_t len, const char *name, const char **value)
{
    const char *colon = memchr(line, ':', len);
    size_t own = strlen(name);

    if (!colon || len < own || memcmp(line, name, own) != 0 ||
        own + strspn(line + own, " \t") != (size_t)(colon - line))
        return false;
    *value = colon + 1;
    return true;
}

/* The first processor speaks for all: the kernel keeps to what they have in common. */
static void parse_cpuinfo(const char *text, struct host_facts *facts)
{
    while (*text && *text != '\n') { /* an empty line ends a processor */
        size_t len = strcspn(text, "\n");
        const char *end = text + len, *value;

        /* Linux tells of ept in "flags" and, since 5.10, more of it in "vmx flags" */
        if (is_line(text, len, "flags", &value) || is_line(text, len, "vmx flags", &value)) {
            facts->flags |= parse_flags(value, (size_t)(end - value));
        } else if (is_line(text, len, "model name", &value)) {
            value += strspn(value, " \t");
            snprintf(facts->model, sizeof facts->model, "%.*s", (int)(end - value), value);
        }
        text = *end ? end + 1 : end;
    }
}

static void parse_nested(const char *text, const char *module, struct host_facts *facts)
{
    if (!text)
        return;
    facts->kvm = module;
    facts->lets_nested = text[0] == 'Y' || text[0] == '1'; /* a number before Linux 5.2 */
}

void host_facts_parse(const char *cpuinfo, const char *kvm_intel_nested, const char *kvm_amd_nested,
                      struct host_facts *facts)
{
    *facts = (struct host_facts){ 0 };
    if (cpuinfo)
        parse_cpuinfo(cpuinfo, facts);
    parse_nested(kvm_intel_nested, "kvm_intel", facts);
    parse_nested(kvm_amd_nested, "kvm_amd", facts);
}

/* ---- what follows from it ---- */

static bool hands_on(const struct host_facts *facts)
{
    return (facts->flags & HOST_VIRTUALIZATION) && (facts->flags & HOST_PAGING) &&
           (!facts->kvm || facts->lets_nested);
}

static json_t *missing_names(const struct host_facts *facts, const struct generation *generation)
{
    json_t *missing = json_array();

    for (unsigned i = 0; i < DEMANDS; i++)
        if ((generation->needs & demands[i].flags) && !(facts->flags & demands[i].flags))
            json_array_append_new(missing, json_string(demands[i].name));
    if (generation->needs_nested && facts->kvm && !facts->lets_nested)
        json_array_append_new(missing, json_sprintf("%s.nested=1", facts->kvm));
    return missing;
}

static const char *inner_vms(const struct host_facts *facts, const struct generation *generation,
                             bool runs)
{
    if (!runs)
        return "none";
    if (!generation->has_inner_64 || !hands_on(facts))
        return "32-bit";
    return "64-bit";
}

static json_t *generation_json(const struct host_facts *facts, const struct generation *generation)
{
    json_t *missing = missing_names(facts, generation);
    bool runs = json_array_size(missing) == 0;

    return json_pack("{s:s, s:b, s:s, s:o}", "esx", generation->esx, "runs", runs, "inner_vms",
                     inner_vms(facts, generation, runs), "missing", missing);
}

json_t *host_facts_json(const struct host_facts *facts)
{
    json_t *flags = json_object(), *rows = json_array();

    for (unsigned i = 0; i < FLAG_NAMES; i++)
        json_object_set_new(flags, flag_names[i].name,
                            json_boolean(facts->flags & flag_names[i].flag));
    for (unsigned i = 0; i < GENERATIONS; i++)
        json_array_append_new(rows, generation_json(facts, &generations[i]));
    return json_pack(
        "{s:s?, s:o, s:b, s:s?, s:o, s:o}", "model", facts->model[0] ? facts->model : NULL, "flags",
        flags, "is_guest", (facts->flags & HOST_HYPERVISOR) != 0, "kvm", facts->kvm, "nested",
        facts->kvm ? json_boolean(facts->lets_nested) : json_null(), "generations", rows);
}

/* ---- reading and showing ---- */

/* The whole text for the caller to free; NULL: there is no such file. */
static char *read_text(const char *path)
{
    FILE *in = fopen(path, "re");
    char *text = NULL;
    size_t cap = 0;

    if (!in)
        return NULL;
    if (getdelim(&text, &cap, '\0', in) < 0) { /* no such file has a NUL */
        free(text);
        text = NULL;
    }
    fclose(in);
    return text;
}

json_t *host_check(void)
{
    char *cpuinfo = read_text("/proc/cpuinfo");
    char *intel = read_text("/sys/module/kvm_intel/parameters/nested");
    char *amd = read_text("/sys/module/kvm_amd/parameters/nested");
    struct host_facts facts;
    json_t *result;

    host_facts_parse(cpuinfo, intel, amd, &facts);
    result = host_facts_json(&facts);
    free(cpuinfo);
    free(intel);
    free(amd);
    return result;
}

void show_host(FILE *out, const json_t *result, const json_t *own)
{
    /* clang-format off */
    static const struct column fields[] = {
        { "CPU", "model", CELL_TEXT },
        { "A virtual machine", "is_guest", CELL_YES },
        { "KVM module", "kvm", CELL_TEXT },
        { "Nested in KVM", "nested", CELL_YES },
        { NULL, NULL, CELL_TEXT },
    };
    static const struct column columns[] = {
        { "ESX", "esx", CELL_TEXT },
        { "RUNS", "runs", CELL_YES },
        { "VMS INSIDE", "inner_vms", CELL_TEXT },
        { "MISSING", "missing", CELL_NOTHING },
        { NULL, NULL, CELL_TEXT },
    };
    /* clang-format on */

    (void)own;
    fields_print(out, fields, result);
    fputc('\n', out);
    table_print(out, columns, json_object_get(result, "generations"));
    if (json_is_true(json_object_get(result, "is_guest")))
        fprintf(out, "\nThis host is a virtual machine itself: what runs in it is slow, and needs "
                     "its own host to let it nest.\n");
}
