/*
 * nestord: the daemon: its command line, its start and its end.
 *
 * Everything here runs on the main thread. It starts from the disks upwards and ends from the
 * network downwards: portals, then the registry with its units, then the workers.
 */
#include "admin/server.h"
#include "conf/conf.h"
#include "target/iscsi/portal.h"
#include "target/registry.h"
#include "target/scsi/left_behind.h"
#include "target/worker/log.h"
#include "target/worker/worker.h"

#include <errno.h>
#include <ev.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

enum { EXIT_USAGE = 2, ERROR_MAX = 640 };

struct options {
    const char *config, *socket;
    bool is_check;
};

struct daemon {
    const struct options *options;
    struct ev_loop *loop;
    struct mailbox home;
    struct workers *workers;
    struct registry *registry;
    struct portals *portals;
    struct admin *admin;
    ev_signal terminate, interrupt, hangup;
    struct left_behind_wait left_behind;
    bool is_ending;
};

static void tell_systemd(const char *state)
{
#ifdef HAVE_SYSTEMD
    sd_notify(0, state);
#else
    (void)state;
#endif
}

/* ---- the configuration ---- */

/* NULL when the configuration is not good. */
static struct model *load(const struct options *options, struct model_problems *problems,
                          struct model_problems *notes)
{
    struct model *model = calloc(1, sizeof(*model));

    if (!model)
        return NULL;
    int error = conf_load(options->config, model, problems, notes);
    if (options->is_check && error != -ENOMEM && model->file_count > 0 &&
        conf_check_files(model, problems) < 0)
        error = -EINVAL;
    if (error == 0)
        return model;
    model_free(model);
    free(model);
    return NULL;
}

static int check(const struct options *options)
{
    struct model_problems problems = { 0 }, notes = { 0 };
    struct model *model = load(options, &problems, &notes);
    int status = model ? EXIT_SUCCESS : EXIT_FAILURE;
    unsigned luns = 0;

    for (unsigned i = 0; i < problems.count; i++)
        fprintf(stderr, "%s\n", problems.lines[i]);
    for (unsigned i = 0; i < notes.count; i++)
        fprintf(stderr, "%s\n", notes.lines[i]);
    if (!model && problems.count == 0)
        fprintf(stderr, "%s: no memory\n", options->config);
    if (model) {
        for (unsigned i = 0; i < model->target_count; i++)
            luns += model->targets[i].lun_count;
        printf("%s: no problems: %u target%s, %u LUN%s\n", options->config, model->target_count,
               model->target_count == 1 ? "" : "s", luns, luns == 1 ? "" : "s");
        model_free(model);
        free(model);
    }
    model_problems_free(&problems);
    model_problems_free(&notes);
    return status;
}

/* The same for the daemon: what is wrong goes to the log. */
static struct model *load_and_log(const struct options *options)
{
    struct model_problems problems = { 0 }, notes = { 0 };
    struct model *model = load(options, &problems, &notes);

    for (unsigned i = 0; i < problems.count; i++)
        log_error("%s", problems.lines[i]);
    for (unsigned i = 0; i < notes.count; i++)
        log_warning("%s", notes.lines[i]);
    if (!model && problems.count == 0)
        log_error("%s: no memory", options->config);
    model_problems_free(&problems);
    model_problems_free(&notes);
    return model;
}

/* ---- the end ---- */

static void everything_is_still(void *context)
{
    struct daemon *daemon = context;

    ev_break(daemon->loop, EVBREAK_ALL);
}

/* A disk that hangs is waited for in the loop, where a second signal is heard. */
static void disks_are_quiet(struct left_behind_wait *wait)
{
    struct daemon *daemon = (struct daemon *)((char *)wait - offsetof(struct daemon, left_behind));

    registry_settle(daemon->registry, everything_is_still, daemon);
}

static void portals_are_closed(void *context)
{
    struct daemon *daemon = context;

    daemon->portals = NULL;
    daemon->left_behind = (struct left_behind_wait){ .workers = daemon->workers,
                                                     .home = &daemon->home,
                                                     .done = disks_are_quiet };
    left_behind_await(&daemon->left_behind);
}

static void on_end(struct ev_loop *loop, ev_signal *watcher, int events)
{
    struct daemon *daemon = watcher->data;

    (void)loop;
    (void)events;
    if (daemon->is_ending) {
        log_warning("a second signal: ending at once");
        _exit(EXIT_FAILURE); /* what was answered is in the page cache or on the disk already */
    }
    daemon->is_ending = true;
    log_info("stopping: closing all connections");
    tell_systemd("STOPPING=1");
    admin_close(daemon->admin);
    daemon->admin = NULL;
    portals_close(daemon->portals, portals_are_closed, daemon);
}

/* ---- a reload ---- */

static void reload_is_done(void *context, const struct registry_answer *answer)
{
    (void)context;
    if (answer->error < 0)
        log_error("reload: %s", answer->text);
    else
        log_info("reload: %s", answer->text);
}

static void on_hangup(struct ev_loop *loop, ev_signal *watcher, int events)
{
    struct daemon *daemon = watcher->data;

    (void)loop;
    (void)events;
    if (daemon->is_ending)
        return;
    log_info("reloading %s", daemon->options->config);
    struct model *model = load_and_log(daemon->options);
    if (model)
        registry_reload(daemon->registry, model, reload_is_done, NULL);
    else
        log_error("reload: nothing was changed");
}

/* ---- the start ---- */

static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit); /* the old limit serves fewer connections, no worse */
    }
}

static bool make_state_dir(const char *path)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return true;
    log_error("cannot make state_dir %s: %s; make it (mkdir -p), or choose another", path,
              strerror(errno));
    return false;
}

static bool start_workers(struct daemon *daemon, const struct model *model)
{
    static const enum engine_kind kinds[] = { [MODEL_ENGINE_AUTO] = ENGINE_AUTO,
                                              [MODEL_ENGINE_URING] = ENGINE_URING,
                                              [MODEL_ENGINE_THREADS] = ENGINE_THREADS };
    struct workers_options options = { .count = model->workers,
                                       .engine = kinds[model->engine],
                                       .memory_limit_bytes = model->memory_limit_bytes,
                                       .busy_poll_us = model->busy_poll_us,
                                       .uses_sendfile = model->uses_sendfile };
    int error = workers_start(&options, &daemon->workers);

    if (error < 0)
        log_error("cannot start the workers: %s%s", strerror(-error),
                  model->engine == MODEL_ENGINE_URING ? "; engine = \"auto\" works without io_uring"
                                                      : "");
    return error == 0;
}

static bool open_registry(struct daemon *daemon, struct model *model)
{
    struct model_problems problems = { 0 };
    int error =
        registry_create(model, daemon->workers, &daemon->home, &daemon->registry, &problems);

    for (unsigned i = 0; i < problems.count; i++)
        log_error("%s", problems.lines[i]);
    model_problems_free(&problems);
    if (error < 0)
        log_error("cannot serve the targets: %s", strerror(-error));
    return error == 0;
}

static bool open_doors(struct daemon *daemon)
{
    const struct model *model = registry_model(daemon->registry);
    struct portal_options portals = {
        .addresses = (const char *const *)model->portals.items,
        .count = model->portals.count,
        .max_half_open = model->max_half_open,
        .max_sessions = model->max_sessions,
        .login_timeout_s = model->login_timeout_s,
        .nop_interval_s = model->nop_interval_s,
        .nop_timeout_s = model->nop_timeout_s,
        .nodes = registry_nodes(daemon->registry),
        .workers = daemon->workers,
        .loop = daemon->loop,
        .home = &daemon->home,
    };
    struct admin_options admin = {
        .path = daemon->options->socket ? daemon->options->socket : model->admin_socket,
        .group = model->admin_group,
        .loop = daemon->loop,
        .registry = daemon->registry,
        .workers = daemon->workers,
        .started = time(NULL),
    };
    char error[ERROR_MAX];

    if (admin_open(&admin, &daemon->admin, error, sizeof(error)) < 0 ||
        portals_open(&portals, &daemon->portals, error, sizeof(error)) < 0) {
        log_error("%s", error);
        return false;
    }
    return true;
}

static void watch_signal(struct daemon *daemon, ev_signal *watcher, int number,
                         void (*run)(struct ev_loop *, ev_signal *, int))
{
    ev_signal_init(watcher, run, number);
    watcher->data = daemon;
    ev_signal_start(daemon->loop, watcher);
}

static bool start(struct daemon *daemon)
{
    struct model *model = load_and_log(daemon->options);

    if (!model)
        return false;
    if (!make_state_dir(model->state_dir) || !start_workers(daemon, model)) {
        model_free(model);
        free(model);
        return false;
    }
    return open_registry(daemon, model) && open_doors(daemon);
}

static int run(const struct options *options)
{
    struct daemon daemon = { .options = options, .loop = ev_default_loop(EVFLAG_AUTO) };
    int status = EXIT_FAILURE;

    if (!daemon.loop) {
        log_error("cannot make an event loop: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    mailbox_open(&daemon.home, daemon.loop);
    watch_signal(&daemon, &daemon.terminate, SIGTERM, on_end);
    watch_signal(&daemon, &daemon.interrupt, SIGINT, on_end);
    watch_signal(&daemon, &daemon.hangup, SIGHUP, on_hangup);
    if (start(&daemon)) {
        tell_systemd("READY=1");
        log_info("nestord " NESTOR_VERSION " is ready");
        ev_run(daemon.loop, 0);
        log_info("stopped");
        status = EXIT_SUCCESS;
    }
    admin_close(daemon.admin);
    if (daemon.registry)
        registry_destroy(daemon.registry);
    if (daemon.workers) {
        for (unsigned i = 0; i < daemon.workers->count; i++)
            scsi_worker_close(daemon.workers->worker[i]);
        workers_stop(daemon.workers);
    }
    mailbox_close(&daemon.home);
    ev_loop_destroy(daemon.loop);
    return status;
}

/* ---- the command line ---- */

static const char usage_text[] =
    "Usage: nestord [-c FILE] [-s SOCKET] [-t] [-v]\n"
    "\n"
    "Serves plain files as shared iSCSI disks, in the foreground, with its log on stderr.\n"
    "\n"
    "  -c, --config FILE    the configuration (/etc/nestor/nestor.conf)\n"
    "  -s, --socket SOCKET  where nestorctl talks to it, whatever the file says\n"
    "  -t, --test           check the configuration, print every problem, and end\n"
    "  -v, --verbose        log what is going on in detail\n"
    "      --print-config   print a sample configuration with every key\n"
    "      --version        print the version\n"
    "  -h, --help           print this\n"
    "\n"
    "SIGHUP reads the configuration again, SIGTERM and SIGINT end. nestord(8), nestor.conf(5).\n";

enum { OPTION_PRINT_CONFIG = 256, OPTION_PRINT_MAN, OPTION_VERSION };

static const struct option long_options[] = {
    {"config",           required_argument, NULL, 'c' },
    { "socket",              required_argument, NULL, 's' },
    { "test",                 no_argument, NULL, 't' },
    { "verbose",no_argument, NULL, 'v' },
    { "print-config",               no_argument, NULL, OPTION_PRINT_CONFIG },
    { "print-man",            no_argument, NULL, OPTION_PRINT_MAN }, /* for the build of nestor.conf(5) */
    { "version",              no_argument, NULL, OPTION_VERSION },
    { "help",                 no_argument, NULL, 'h' },
    { 0                   },
};

/* True when all that was asked for has been printed. */
static bool printed(int option)
{
    switch (option) {
    case OPTION_PRINT_CONFIG: conf_print_sample(stdout); return true;
    case OPTION_PRINT_MAN: conf_print_man(stdout); return true;
    case OPTION_VERSION: puts("nestord " NESTOR_VERSION); return true;
    case 'h': fputs(usage_text, stdout); return true;
    default: return false;
    }
}

int main(int argc, char **argv)
{
    struct options options = { .config = "/etc/nestor/nestor.conf" };
    int option;

    while ((option = getopt_long(argc, argv, "c:s:tvh", long_options, NULL)) != -1) {
        switch (option) {
        case 'c': options.config = optarg; break;
        case 's': options.socket = optarg; break;
        case 't': options.is_check = true; break;
        case 'v': log_set_level(LOG_LEVEL_DEBUG); break;
        case '?': fputs("nestord --help says what there is\n", stderr); return EXIT_USAGE;
        default:
            if (printed(option))
                return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "nestord: \"%s\" is one too many; nestord --help says what there is\n",
                argv[optind]);
        return EXIT_USAGE;
    }
    return options.is_check ? check(&options) : run(&options);
}
