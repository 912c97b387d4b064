/*
 * metrics: what Prometheus scrapes, in its text format (version 0.0.4): all samples of a metric
 * together, below its HELP and TYPE; a label's value has '\', '"' and the end of a line escaped.
 */
#include "admin/call.h"
#include "admin/handlers.h"
#include "target/iscsi/session_table.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct lun_sample {
    struct registry_lun_view view;
    struct lu_statistics counters;
    struct backing_usage usage;
    uint64_t size_bytes, hosts;
    bool has_usage;
};

struct samples {
    const struct methods_daemon *daemon;
    struct lun_sample *luns;
    unsigned lun_count;
    struct session_view *sessions;
    unsigned session_count;
};

/* ---- the format ---- */

static void put_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            fputs("\\n", out);
        else if (*text == '\\' || *text == '"')
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static void put_head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP nestor_%s %s\n# TYPE nestor_%s %s\n", name, help, name, type);
}

static void put_one(FILE *out, const char *name, const char *help, uint64_t value)
{
    put_head(out, name, "gauge", help);
    fprintf(out, "nestor_%s %" PRIu64 "\n", name, value);
}

/* `name{first="..."`: the caller goes on with more labels, or ends them. */
static void put_labels(FILE *out, const char *name, const char *first, const char *value)
{
    fprintf(out, "nestor_%s{%s=\"", name, first);
    put_text(out, value);
    fputc('"', out);
}

static void put_label(FILE *out, const char *name, const char *value)
{
    fprintf(out, ",%s=\"", name);
    put_text(out, value);
    fputc('"', out);
}

/* ---- the daemon ---- */

static void put_daemon(FILE *out, const struct methods_daemon *daemon)
{
    const struct workers *workers = daemon->workers;
    time_t now = time(NULL);

    put_head(out, "info", "gauge", "The daemon's version; the value is always 1.");
    put_labels(out, "info", "version", NESTOR_VERSION);
    fputs("} 1\n", out);
    put_one(out, "start_time_seconds", "When the daemon started, in seconds since 1970.",
            (uint64_t)daemon->started);
    put_one(out, "uptime_seconds", "How long the daemon has been running.",
            (uint64_t)(now > daemon->started ? now - daemon->started : 0));
    put_one(out, "buffer_used_bytes", "Memory for data on its way, in use.",
            atomic_load(&workers->budget.used_bytes));
    put_one(out, "buffer_limit_bytes", "The most memory for data on its way (memory_limit).",
            workers->budget.limit_bytes);
    put_head(out, "worker_connections", "gauge", "Connections that a worker thread serves.");
    for (unsigned i = 0; i < workers->count; i++)
        fprintf(out, "nestor_worker_connections{worker=\"%u\"} %u\n", i,
                atomic_load(&workers->worker[i]->connections));
}

static void put_targets(FILE *out, const struct model *model)
{
    put_head(out, "target_sessions", "gauge", "Sessions that are logged in to a target.");
    for (unsigned i = 0; i < model->target_count; i++) {
        put_labels(out, "target_sessions", "target", model->targets[i].name);
        fprintf(out, "} %u\n", session_table_count(model->targets[i].name));
    }
}

/* ---- LUNs ---- */

struct lun_metric {
    const char *name, *type, *help;
    size_t offset; /* of a uint64_t in struct lun_sample */
    bool is_usage; /* known only where the image's file system tells it */
};

/* clang-format off */
#define COUNTER(member, name, help) { name, "counter", help, offsetof(struct lun_sample, counters.member), false }
#define GAUGE(member, name, help)   { name, "gauge", help, offsetof(struct lun_sample, member), false }
#define USAGE(member, name, help)   { name, "gauge", help, offsetof(struct lun_sample, usage.member), true }

static const struct lun_metric lun_metrics[] = {
    COUNTER(reads, "lun_reads_total", "Read commands."),
    COUNTER(writes, "lun_writes_total", "Write commands."),
    COUNTER(read_bytes, "lun_read_bytes_total", "Bytes that were read."),
    COUNTER(written_bytes, "lun_written_bytes_total", "Bytes that were written."),
    COUNTER(others, "lun_others_total", "Commands that are neither read nor write."),
    COUNTER(errors, "lun_errors_total", "Commands that failed, but for conflicts and miscompares."),
    COUNTER(conflicts, "lun_reservation_conflicts_total", "Commands that ended in RESERVATION CONFLICT."),
    COUNTER(ats_ok, "lun_ats_total", "COMPARE AND WRITE that found what it compared with, and wrote."),
    COUNTER(ats_miscompare, "lun_ats_miscompares_total", "COMPARE AND WRITE that found something else."),
    COUNTER(clones, "lun_clones_total", "EXTENDED COPY segments that were copied onto the LUN."),
    COUNTER(clones_failed, "lun_clones_failed_total", "EXTENDED COPY segments that failed."),
    COUNTER(cloned_bytes, "lun_cloned_bytes_total", "Bytes that EXTENDED COPY copied onto the LUN."),
    GAUGE(size_bytes, "lun_size_bytes", "The LUN's size."),
    GAUGE(hosts, "lun_hosts", "I_T nexuses that are logged in and have used the LUN."),
    USAGE(allocated_bytes, "lun_allocated_bytes", "What the image takes on its file system."),
    USAGE(free_bytes, "lun_free_bytes", "What is free on the image's file system."),
};
/* clang-format on */

static bool take_lun(void *context, const struct registry_lun_view *view)
{
    struct samples *samples = context;
    struct lun_sample *sample = &samples->luns[samples->lun_count++];
    /* the count takes the unit's mutex; the unit itself stays as it is */
    struct lu *lu = (struct lu *)view->lu;

    sample->view = *view;
    if (!lu)
        return true;
    lu_statistics(lu, &sample->counters);
    sample->size_bytes = atomic_load(&lu->blocks) << lu->block_shift;
    sample->hosts = lu_nexus_count(lu);
    sample->has_usage = backing_usage(lu->backing, &sample->usage) == 0;
    return true;
}

static void put_lun_labels(FILE *out, const char *name, const struct lun_sample *sample)
{
    put_labels(out, name, "target", sample->view.target);
    fprintf(out, ",lun=\"%u\"", sample->view.declared->lun);
}

static void put_lun_info(FILE *out, const struct samples *samples)
{
    put_head(out, "lun_up", "gauge", "1: the LUN is served; 0: it could not be opened.");
    for (unsigned i = 0; i < samples->lun_count; i++) {
        put_lun_labels(out, "lun_up", &samples->luns[i]);
        fprintf(out, "} %d\n", samples->luns[i].view.lu != NULL);
    }
    put_head(out, "lun_info", "gauge", "The LUN's image and identity; the value is always 1.");
    for (unsigned i = 0; i < samples->lun_count; i++) {
        const struct lun_sample *sample = &samples->luns[i];
        char naa[33];

        if (!sample->view.lu)
            continue;
        identity_naa_text(&sample->view.lu->identity, naa);
        put_lun_labels(out, "lun_info", sample);
        put_label(out, "path", sample->view.declared->path);
        put_label(out, "naa", naa);
        put_label(out, "serial", sample->view.lu->identity.serial);
        fputs("} 1\n", out);
    }
}

static void put_luns(FILE *out, const struct samples *samples)
{
    put_lun_info(out, samples);
    for (unsigned m = 0; m < sizeof lun_metrics / sizeof lun_metrics[0]; m++) {
        const struct lun_metric *metric = &lun_metrics[m];

        put_head(out, metric->name, metric->type, metric->help);
        for (unsigned i = 0; i < samples->lun_count; i++) {
            const struct lun_sample *sample = &samples->luns[i];
            uint64_t value;

            if (!sample->view.lu || (metric->is_usage && !sample->has_usage))
                continue;
            memcpy(&value, (const char *)sample + metric->offset, sizeof value);
            put_lun_labels(out, metric->name, sample);
            fprintf(out, "} %" PRIu64 "\n", value);
        }
    }
}

/* ---- sessions ---- */

struct session_metric {
    const char *name, *help;
    size_t offset; /* of a uint64_t in struct session_view */
};

static const struct session_metric session_metrics[] = {
    {"session_commands_total",       "SCSI commands of a session.",
     offsetof(struct session_view, commands)     },
    { "session_read_bytes_total",    "Bytes that a session has read.",
     offsetof(struct session_view, read_bytes)   },
    { "session_written_bytes_total", "Bytes that a session has written.",
     offsetof(struct session_view, written_bytes)},
};

static void put_sessions(FILE *out, const struct samples *samples)
{
    for (unsigned m = 0; m < sizeof session_metrics / sizeof session_metrics[0]; m++) {
        const struct session_metric *metric = &session_metrics[m];

        put_head(out, metric->name, "counter", metric->help);
        for (unsigned i = 0; i < samples->session_count; i++) {
            const struct session_view *session = &samples->sessions[i];
            uint64_t value;

            if (session->is_discovery)
                continue;
            memcpy(&value, (const char *)session + metric->offset, sizeof value);
            put_labels(out, metric->name, "target", session->target_name);
            put_label(out, "initiator", session->initiator_name);
            fprintf(out, ",session=\"%u\"} %" PRIu64 "\n", session->tsih, value);
        }
    }
}

/* ---- the method ---- */

/* The whole text for the caller to free; NULL: no memory. */
static char *write_text(const struct samples *samples)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    bool is_whole;

    if (!out)
        return NULL;
    put_daemon(out, samples->daemon);
    put_targets(out, registry_model(samples->daemon->registry));
    put_luns(out, samples);
    put_sessions(out, samples);
    is_whole = !ferror(out);
    if (fclose(out) == 0 && is_whole)
        return text;
    free(text);
    return NULL;
}

static bool count_lun(void *context, const struct registry_lun_view *view)
{
    unsigned *count = context;

    (void)view;
    ++*count;
    return true;
}

void handle_metrics(struct call *call)
{
    struct samples samples = { .daemon = call->daemon };
    unsigned declared = 0;
    char *text = NULL;

    registry_each_lun(call->daemon->registry, NULL, count_lun, &declared);
    samples.luns = calloc(declared + 1, sizeof *samples.luns);
    if (samples.luns && session_table_list(&samples.sessions, &samples.session_count) == 0) {
        registry_each_lun(call->daemon->registry, NULL, take_lun, &samples);
        text = write_text(&samples);
    }
    call_finish(call, text ? json_pack("{s:o}", "text", jsonrpc_string(text)) : NULL);
    free(text);
    free(samples.sessions);
    free(samples.luns);
}
