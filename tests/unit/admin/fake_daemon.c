#include "tests/unit/admin/fake_daemon.h"

#include "target/iscsi/refused_table.h"
#include "target/iscsi/session_table.h"
#include "target/scsi/opcodes.h"
#include "target/scsi/persistent_file.h"
#include "target/worker/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fake_daemon *current;
static struct workers workers = { .count = 2, .budget = { .limit_bytes = 256 << 20 } };
static struct worker worker, other_worker = { .index = 1, .connections = 5 };
static struct lu served_lu = {
    .identity = {.serial = "0123456789abcdef",
                 .vendor = "NESTOR",
                 .product = "VMFS LUN",
                 .revision = "1",
                 .vaai = true,
                 .block_bytes = 512,
                 .physical_block_bytes = 512,
                 .created = "2026-11-22T00:00:00Z"},
    .block_bytes = 512,
    .block_shift = 9,
    .blocks = 2048,
};

static void add_lun(struct model_target *target, unsigned number, const char *path)
{
    struct model_lun *lun = model_add_lun(target, number);

    lun->path = strdup(path);
    lun->size_bytes = 1 << 20;
}

void fake_daemon_open(struct fake_daemon *fake)
{
    struct model_target *target;

    *fake = (struct fake_daemon){ 0 };
    worker.engine = NULL;
    workers.worker[0] = &worker;
    workers.worker[1] = &other_worker;
    fake->daemon = (struct methods_daemon){ (struct registry *)fake, &workers, time(NULL) - 100 };
    target = model_add_target(&fake->model, "iqn.2026-11.lab.nestor:vmfs");
    target->alias = strdup("lab");
    add_lun(target, 0, "/srv/vmfs0.img");
    add_lun(target, 1, "/srv/lost.img");
    model_add_target(&fake->model, "iqn.2026-11.lab.nestor:iso");
    current = fake;
}

void fake_daemon_close(struct fake_daemon *fake)
{
    model_free(&fake->model);
    model_lun_free(&fake->added);
    model_target_free(&fake->target_added);
    current = NULL;
}

static void ask(const char *what, const char *target, registry_done *done, void *context)
{
    snprintf(current->asked, sizeof current->asked, "%s", what);
    snprintf(current->target, sizeof current->target, "%s", target);
    current->done = done;
    current->context = context;
}

void fake_daemon_answer(struct fake_daemon *fake, int error, const char *text)
{
    struct registry_answer answer = { .error = error };
    registry_done *done = fake->done;

    snprintf(answer.text, sizeof answer.text, "%s", text);
    fake->done = NULL;
    done(fake->context, &answer);
}

/* target/registry.h */

const struct model *registry_model(const struct registry *registry)
{
    return &((const struct fake_daemon *)registry)->model;
}

void registry_lun_add(struct registry *registry, const char *target, const struct model_lun *lun,
                      registry_done *done, void *context)
{
    (void)registry;
    model_lun_copy(&current->added, lun);
    current->lun = lun->lun;
    ask("lun_add", target, done, context);
}

void registry_lun_remove(struct registry *registry, const char *target, unsigned lun,
                         bool is_forced, registry_done *done, void *context)
{
    (void)registry;
    current->lun = lun;
    current->is_forced = is_forced;
    ask("lun_remove", target, done, context);
}

void registry_reservation_clear(struct registry *registry, const char *target, unsigned lun,
                                bool is_forced, registry_done *done, void *context)
{
    (void)registry;
    current->lun = lun;
    current->is_forced = is_forced;
    ask("reservation_clear", target, done, context);
}

void registry_lun_resize(struct registry *registry, const char *target, unsigned lun,
                         uint64_t size_bytes, registry_done *done, void *context)
{
    (void)registry;
    current->lun = lun;
    current->size_bytes = size_bytes;
    ask("lun_resize", target, done, context);
}

void registry_target_add(struct registry *registry, const struct model_target *target,
                         registry_done *done, void *context)
{
    (void)registry;
    model_target_copy(&current->target_added, target);
    ask("target_add", target->name, done, context);
}

void registry_target_remove(struct registry *registry, const char *target, bool is_forced,
                            registry_done *done, void *context)
{
    (void)registry;
    current->is_forced = is_forced;
    ask("target_remove", target, done, context);
}

void registry_initiator_accept(struct registry *registry, const char *target, const char *initiator,
                               registry_done *done, void *context)
{
    (void)registry;
    snprintf(current->initiator, sizeof current->initiator, "%s", initiator);
    ask("initiator_accept", target, done, context);
}

void registry_reload(struct registry *registry, struct model *model, registry_done *done,
                     void *context)
{
    (void)registry;
    current->reloaded_targets = model->target_count;
    model_free(model);
    free(model);
    ask("reload", "", done, context);
}

void registry_each_lun(const struct registry *registry, const char *target,
                       bool (*each)(void *context, const struct registry_lun_view *view),
                       void *context)
{
    const struct model *model = registry_model(registry);

    for (unsigned t = 0; t < model->target_count; t++) {
        const struct model_target *at = &model->targets[t];

        for (unsigned i = 0; (!target || strcmp(target, at->name) == 0) && i < at->lun_count; i++) {
            bool is_served = at->luns[i].lun == 0;
            struct registry_lun_view view = { at->name, &at->luns[i], is_served ? &served_lu : NULL,
                                              is_served ? NULL : "the image is not there" };

            if (!each(context, &view))
                return;
        }
    }
}

/* target/scsi, backing */

bool lu_reservation_holder(struct lu *lu, char port[INITIATOR_PORT_MAX + 1])
{
    (void)lu;
    if (current->reserved_by)
        snprintf(port, INITIATOR_PORT_MAX + 1, "%s", current->reserved_by);
    return current->reserved_by != NULL;
}

struct persistent *lu_persistent_copy(struct lu *lu)
{
    struct persistent *state = calloc(1, sizeof(*state) + sizeof(struct registrant));

    (void)lu;
    if (state && current->registered) {
        state->type = PR_WRITE_EXCLUSIVE;
        state->count = 1;
        state->registrants[0] = (struct registrant){ .key = 0xabc, .is_holder = true };
        snprintf(state->registrants[0].port, sizeof state->registrants[0].port, "%s",
                 current->registered);
    }
    return state;
}

bool persistent_is_holder(const struct persistent *state, const struct registrant *registrant)
{
    return state->type != PR_NONE && registrant->is_holder;
}

const char *persistent_type_name(enum pr_type type)
{
    return type == PR_WRITE_EXCLUSIVE ? "write exclusive" : "none";
}

unsigned lu_nexus_count(struct lu *lu)
{
    (void)lu;
    return 2;
}

void lu_statistics(const struct lu *lu, struct lu_statistics *sum)
{
    (void)lu;
    *sum = (struct lu_statistics){ .reads = 3, .writes = 4, .read_bytes = 1536 };
}

void identity_naa_text(const struct identity *identity, char text[33])
{
    (void)identity;
    snprintf(text, 33, "62000000000000000123456789abcdef");
}

int backing_usage(const struct backing *backing, struct backing_usage *usage)
{
    (void)backing;
    *usage = (struct backing_usage){ .allocated_bytes = 4096, .free_bytes = 1 << 30 };
    return 0;
}

bool opcode_exists(uint8_t opcode, int service_action)
{
    (void)service_action;
    return opcode != 0x83; /* no EXTENDED COPY */
}

enum engine_kind engine_kind(const struct engine *engine)
{
    (void)engine;
    return ENGINE_URING;
}

/* target/iscsi/refused_table.h, session_table.h */

unsigned refused_table_list(struct refused_view views[REFUSED_TABLE_MAX])
{
    views[0] = (struct refused_view){ .initiator_name = "iqn.1998-01.com.vmware:esx2",
                                      .target_name = "iqn.2026-11.lab.nestor:vmfs",
                                      .address = "192.168.10.8:40000",
                                      .last_unix_s = 1795392000,
                                      .tries = 9,
                                      .why = "its name is not in the list" };
    views[1] = (struct refused_view){ .initiator_name = "iqn.1998-01.com.vmware:esx2",
                                      .target_name = "iqn.2026-11.lab.nestor:removed-since" };
    return 2;
}

int session_table_list(struct session_view **views, unsigned *count)
{
    *views = calloc(1, sizeof **views);
    *count = current->has_no_session ? 0 : 1;
    if (!*views)
        return -ENOMEM;
    (*views)->tsih = 7;
    strcpy((*views)->initiator_name, "iqn.1998-01.com.vmware:esx1");
    strcpy((*views)->initiator_alias, "esx\xff"); /* from the wire: no UTF-8 */
    strcpy((*views)->target_name, "iqn.2026-11.lab.nestor:vmfs");
    strcpy((*views)->address, "192.168.10.7:51234");
    strcpy((*views)->auth, "none");
    return 0;
}

int session_table_drop(uint16_t tsih)
{
    current->dropped_tsih = tsih;
    return tsih == 7 ? 0 : -ENOENT;
}

unsigned session_table_count(const char *target_name)
{
    return !target_name || strstr(target_name, ":vmfs") ? 1 : 0;
}

/* target/worker/log.h: the tests look at answers, not at the log */

void log_info(const char *format, ...)
{
    (void)format;
}

void log_warning(const char *format, ...)
{
    (void)format;
}

void log_debug(const char *format, ...)
{
    (void)format;
}

void log_peer(const char *format, ...)
{
    (void)format;
}

const char *log_text(char *out, size_t cap, const void *bytes, size_t len)
{
    snprintf(out, cap, "%.*s", (int)len, (const char *)bytes);
    return out;
}
