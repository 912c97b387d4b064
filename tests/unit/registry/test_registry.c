/* The registry: a change is done whole and kept, or leaves everything as it was. */
#include "target/registry.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define NAME "iqn.2026-11.lab:a"

enum { MEBIBYTE = 1 << 20 };

struct rig {
    char folder[64];
    struct ev_loop *loop;
    struct mailbox home;
    struct workers *workers;
    struct registry *registry;
    struct model_problems problems;
    struct registry_answer answer;
    bool is_answered, is_late;
};

/* ---- the rig: a folder, workers, and a registry of what FOLDER/nestor.conf says ---- */

static const char *in_folder(const struct rig *rig, const char *name)
{
    static char paths[4][128];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", rig->folder, name);
    return path;
}

static bool exists(const struct rig *rig, const char *name)
{
    return access(in_folder(rig, name), F_OK) == 0;
}

/* `luns` is the inside of the target's list; '~' is the folder. */
static struct model *load(struct rig *rig, const char *luns)
{
    struct model_problems problems = { 0 }, notes = { 0 };
    struct model *model = calloc(1, sizeof(*model));
    FILE *out = fopen(in_folder(rig, "nestor.conf"), "w");

    assert_non_null(model);
    assert_non_null(out);
    fprintf(out, "state_dir = \"%s/state\";\ntargets = ( { name = \"" NAME "\"; luns = (\n",
            rig->folder);
    for (; *luns; luns++) {
        if (*luns == '~')
            fputs(rig->folder, out);
        else
            fputc(*luns, out);
    }
    fputs("\n); } );\n", out);
    fclose(out);
    int error = conf_load(in_folder(rig, "nestor.conf"), model, &problems, &notes);
    for (unsigned i = 0; i < problems.count; i++)
        print_error("%s\n", problems.lines[i]);
    assert_int_equal(error, 0);
    model_problems_free(&problems);
    model_problems_free(&notes);
    return model;
}

static void start(struct rig *rig, const char *luns)
{
    struct workers_options options = { .count = 2,
                                       .engine = ENGINE_THREADS,
                                       .memory_limit_bytes = 16 * MEBIBYTE };

    assert_int_equal(workers_start(&options, &rig->workers), 0);
    assert_int_equal(
        registry_create(load(rig, luns), rig->workers, &rig->home, &rig->registry, &rig->problems),
        0);
}

static void stop(struct rig *rig)
{
    if (rig->registry)
        registry_destroy(rig->registry);
    if (rig->workers)
        workers_stop(rig->workers);
    rig->registry = NULL;
    rig->workers = NULL;
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    snprintf(rig->folder, sizeof(rig->folder), "/tmp/nestor-registry-XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    assert_int_equal(mkdir(in_folder(rig, "state"), 0700), 0);
    rig->loop = ev_loop_new(EVFLAG_AUTO);
    assert_non_null(rig->loop);
    mailbox_open(&rig->home, rig->loop);
    *state = rig;
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    stop(rig);
    model_problems_free(&rig->problems);
    mailbox_close(&rig->home);
    ev_loop_destroy(rig->loop);
    nftw(rig->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(rig);
    return 0;
}

/* ---- changes, and waiting for their answer ---- */

static void on_answer(void *context, const struct registry_answer *answer)
{
    struct rig *rig = context;

    rig->answer = *answer;
    rig->is_answered = true;
    ev_break(rig->loop, EVBREAK_ALL);
}

static void on_late(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct rig *rig = timer->data;

    (void)events;
    rig->is_late = true;
    ev_break(loop, EVBREAK_ALL);
}

static int answered(struct rig *rig)
{
    ev_timer late;

    ev_timer_init(&late, on_late, 10.0, 0.0);
    late.data = rig;
    ev_timer_start(rig->loop, &late);
    while (!rig->is_answered && !rig->is_late)
        ev_run(rig->loop, 0);
    ev_timer_stop(rig->loop, &late);
    assert_false(rig->is_late);
    rig->is_answered = false;
    return rig->answer.error;
}

static void begin_add(struct rig *rig, unsigned number, const char *name, uint64_t size_bytes)
{
    struct model_lun lun;

    model_lun_init(&lun);
    lun.lun = number;
    lun.path = (char *)in_folder(rig, name); /* the registry copies it */
    lun.size_bytes = size_bytes;
    registry_lun_add(rig->registry, NAME, &lun, on_answer, rig);
}

static int add(struct rig *rig, unsigned number, const char *name, uint64_t size_bytes)
{
    begin_add(rig, number, name, size_bytes);
    return answered(rig);
}

static int remove_lun(struct rig *rig, unsigned number)
{
    registry_lun_remove(rig->registry, NAME, number, false, on_answer, rig);
    return answered(rig);
}

static int resize(struct rig *rig, unsigned number, uint64_t size_bytes)
{
    registry_lun_resize(rig->registry, NAME, number, size_bytes, on_answer, rig);
    return answered(rig);
}

static int reload(struct rig *rig, const char *luns)
{
    registry_reload(rig->registry, load(rig, luns), on_answer, rig);
    return answered(rig);
}

static void assert_answer_says(const struct rig *rig, const char *what)
{
    if (!strstr(rig->answer.text, what)) {
        print_error("expected \"%s\" in: %s\n", what, rig->answer.text);
        fail();
    }
}

/* ---- what initiators would see ---- */

static struct lu *seen(struct rig *rig, unsigned number)
{
    struct node *node = node_find(registry_nodes(rig->registry), NAME);
    struct lu *lu = NULL;

    assert_non_null(node);
    struct lun_map *map = scsi_target_map_get(&node->scsi);
    for (unsigned i = 0; i < map->count; i++) {
        if (map->entries[i].lun == number)
            lu = map->entries[i].lu;
    }
    lun_map_put(map);
    node_put(node);
    return lu;
}

static bool copy_view(void *context, const struct registry_lun_view *view)
{
    struct registry_lun_view *wanted = context;

    if (view->declared->lun != wanted->declared->lun)
        return true;
    *wanted = *view;
    return false;
}

static struct registry_lun_view view_of(struct rig *rig, unsigned number)
{
    struct model_lun wanted = { .lun = number };
    struct registry_lun_view view = { .declared = &wanted };

    registry_each_lun(rig->registry, NAME, copy_view, &view);
    return view;
}

static bool is_declared(struct rig *rig, unsigned number)
{
    return view_of(rig, number).target != NULL;
}

#define ZERO "{ lun = 0; path = \"~/zero.img\"; size = \"4M\"; }"

/* ---- tests ---- */

static void test_declared_luns_are_seen(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    assert_int_equal(rig->problems.count, 0);
    assert_non_null(seen(rig, 0));
    assert_int_equal(seen(rig, 0)->blocks, 4 * MEBIBYTE / 512);
}

static void test_a_lun_that_cannot_be_opened_leaves_the_others_served(void **state)
{
    struct rig *rig = *state;

    start(rig, "{ lun = 1; path = \"~/gone.img\"; }, " ZERO);
    assert_int_equal(rig->problems.count, 1);
    assert_non_null(seen(rig, 0));
    assert_null(seen(rig, 1));
    assert_non_null(view_of(rig, 1).problem);
    assert_null(view_of(rig, 1).lu);
}

static void test_an_added_lun_survives_a_restart(void **state)
{
    struct rig *rig = *state;
    char serial[IDENTITY_SERIAL_MAX + 1];

    start(rig, ZERO);
    assert_int_equal(add(rig, 3, "three.img", MEBIBYTE), 0);
    assert_non_null(seen(rig, 3));
    strcpy(serial, seen(rig, 3)->identity.serial);
    stop(rig);
    start(rig, ZERO);
    assert_non_null(seen(rig, 3));
    assert_string_equal(seen(rig, 3)->identity.serial, serial);
}

static void test_an_added_lun_that_cannot_be_kept_leaves_no_trace(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    assert_int_equal(rmdir(in_folder(rig, "state")), 0);
    assert_int_equal(add(rig, 3, "three.img", MEBIBYTE), -ENOENT);
    assert_answer_says(rig, "managed.conf");
    assert_null(seen(rig, 3));
    assert_false(is_declared(rig, 3));
    assert_false(exists(rig, "three.img"));
    assert_false(exists(rig, "three.img.nestor"));
}

static void test_a_lun_number_that_is_taken_is_refused(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    assert_int_equal(add(rig, 0, "other.img", MEBIBYTE), -EEXIST);
    assert_false(exists(rig, "other.img"));
}

static void test_one_image_is_one_lun(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    assert_int_equal(link(in_folder(rig, "zero.img"), in_folder(rig, "link.img")), 0);
    assert_true(add(rig, 1, "link.img", 0) < 0);
    assert_answer_says(rig, "one image");
    assert_false(is_declared(rig, 1));
}

static void test_two_luns_with_one_identity_are_refused(void **state)
{
    struct rig *rig = *state;
    char command[512];

    start(rig, ZERO);
    snprintf(command, sizeof(command),
             "cp %s/zero.img %s/copy.img && cp %s/zero.img.nestor %s/copy.img.nestor", rig->folder,
             rig->folder, rig->folder, rig->folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(add(rig, 1, "copy.img", 0), -EEXIST);
    assert_answer_says(rig, "copy.img.nestor");
    assert_true(exists(rig, "copy.img")); /* nothing that was there is taken away */
    assert_true(exists(rig, "copy.img.nestor"));
}

static void test_a_removed_lun_is_gone_and_its_image_stays(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    assert_int_equal(add(rig, 3, "three.img", MEBIBYTE), 0);
    assert_int_equal(remove_lun(rig, 3), 0);
    assert_null(seen(rig, 3));
    assert_false(is_declared(rig, 3));
    assert_true(exists(rig, "three.img"));
    assert_int_equal(add(rig, 4, "three.img", 0), 0); /* it is closed: another LUN may open it */
}

static void test_a_removal_that_cannot_be_kept_leaves_the_lun(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    assert_int_equal(add(rig, 3, "three.img", MEBIBYTE), 0);
    assert_int_equal(unlink(in_folder(rig, "state/managed.conf")), 0);
    assert_int_equal(rmdir(in_folder(rig, "state")), 0);
    assert_int_equal(remove_lun(rig, 3), -ENOENT);
    assert_non_null(seen(rig, 3));
    assert_true(is_declared(rig, 3));
}

static void test_the_persons_lun_is_changed_in_the_persons_file(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    assert_int_equal(remove_lun(rig, 0), -EPERM);
    assert_answer_says(rig, "nestor.conf:3");
    assert_int_equal(resize(rig, 0, 8 * MEBIBYTE), -EPERM);
    assert_answer_says(rig, "nestor.conf:3");
    assert_int_equal(seen(rig, 0)->blocks, 4 * MEBIBYTE / 512);
}

static void test_a_lun_grows_and_stays_grown(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    assert_int_equal(add(rig, 3, "three.img", MEBIBYTE), 0);
    assert_int_equal(resize(rig, 3, 2 * MEBIBYTE), 0);
    assert_int_equal(seen(rig, 3)->blocks, 2 * MEBIBYTE / 512);
    stop(rig);
    start(rig, ZERO);
    assert_int_equal(seen(rig, 3)->blocks, 2 * MEBIBYTE / 512);
}

static void test_a_lun_never_shrinks(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    assert_int_equal(add(rig, 3, "three.img", 2 * MEBIBYTE), 0);
    assert_int_equal(resize(rig, 3, MEBIBYTE), -EINVAL);
    assert_int_equal(seen(rig, 3)->blocks, 2 * MEBIBYTE / 512);
}

static void test_growth_that_cannot_be_kept_is_not_told_to_hosts(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    assert_int_equal(add(rig, 3, "three.img", MEBIBYTE), 0);
    assert_int_equal(unlink(in_folder(rig, "state/managed.conf")), 0);
    assert_int_equal(rmdir(in_folder(rig, "state")), 0);
    assert_int_equal(resize(rig, 3, 2 * MEBIBYTE), -ENOENT);
    assert_int_equal(seen(rig, 3)->blocks, MEBIBYTE / 512);
    assert_int_equal(view_of(rig, 3).declared->size_bytes, MEBIBYTE);
}

static void test_changes_come_one_at_a_time(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    begin_add(rig, 3, "three.img", MEBIBYTE); /* answered when the workers have the new map */
    assert_false(rig->is_answered);
    begin_add(rig, 4, "four.img", MEBIBYTE);
    assert_true(rig->is_answered);
    assert_int_equal(rig->answer.error, -EBUSY);
    rig->is_answered = false;
    assert_int_equal(answered(rig), 0);
    assert_int_equal(add(rig, 4, "four.img", MEBIBYTE), 0);
}

static void test_targets_are_added_and_removed(void **state)
{
    struct rig *rig = *state;
    struct model_target target = { .name = (char *)"iqn.2026-11.lab:b" };

    start(rig, ZERO);
    registry_target_add(rig->registry, &target, on_answer, rig);
    assert_int_equal(answered(rig), 0);
    struct node *node = node_find(registry_nodes(rig->registry), target.name);
    assert_non_null(node);
    node_put(node);
    registry_target_remove(rig->registry, target.name, false, on_answer, rig);
    assert_int_equal(answered(rig), 0);
    assert_null(node_find(registry_nodes(rig->registry), target.name));
    registry_target_remove(rig->registry, NAME, false, on_answer, rig);
    assert_int_equal(answered(rig), -EPERM); /* the person's */
}

/* A target that nestorctl made and that lists one name. */
static void add_listed_target(struct rig *rig)
{
    char *names[] = { (char *)"iqn.a:esx1" };
    struct model_target target = {
        .name = (char *)"iqn.2026-11.lab:b", .initiators = {names, 1, true}
    };

    registry_target_add(rig->registry, &target, on_answer, rig);
    assert_int_equal(answered(rig), 0);
}

static int accept_initiator(struct rig *rig, const char *target, const char *initiator)
{
    registry_initiator_accept(rig->registry, target, initiator, on_answer, rig);
    return answered(rig);
}

static bool admits(struct rig *rig, const char *initiator)
{
    struct node *node = node_find(registry_nodes(rig->registry), "iqn.2026-11.lab:b");

    assert_non_null(node);
    struct node_access *access = node_access_get(registry_nodes(rig->registry), node);
    bool is_admitted = node_admits_initiator(access, initiator);
    node_access_put(access);
    node_put(node);
    return is_admitted;
}

static void test_an_accepted_initiator_may_log_in_after_a_restart_too(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    add_listed_target(rig);
    assert_false(admits(rig, "iqn.a:esx2"));
    assert_int_equal(accept_initiator(rig, "iqn.2026-11.lab:b", "iqn.a:esx2"), 0);
    assert_true(admits(rig, "iqn.a:esx2"));
    stop(rig);
    start(rig, ZERO);
    assert_true(admits(rig, "iqn.a:esx1"));
    assert_true(admits(rig, "iqn.a:esx2"));
    assert_false(admits(rig, "iqn.a:esx3"));
}

static void test_an_initiator_that_cannot_be_kept_is_not_accepted(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    add_listed_target(rig);
    assert_int_equal(unlink(in_folder(rig, "state/managed.conf")), 0);
    assert_int_equal(rmdir(in_folder(rig, "state")), 0);
    assert_int_equal(accept_initiator(rig, "iqn.2026-11.lab:b", "iqn.a:esx2"), -ENOENT);
    assert_false(admits(rig, "iqn.a:esx2"));
    assert_int_equal(
        model_find_target(registry_model(rig->registry), "iqn.2026-11.lab:b")->initiators.count, 1);
}

static void test_only_a_name_can_be_accepted(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    add_listed_target(rig);
    assert_int_equal(accept_initiator(rig, "iqn.2026-11.lab:b", "*"), -EINVAL);
    assert_int_equal(accept_initiator(rig, "iqn.2026-11.lab:b", "iqn.a:esx*"), -EINVAL);
    assert_int_equal(accept_initiator(rig, "iqn.2026-11.lab:none", "iqn.a:esx2"), -ENOENT);
}

/* To add a name to a list that is not there would keep everybody else out. */
static void test_accepting_for_a_target_of_anybody_changes_nothing(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    assert_int_equal(accept_initiator(rig, NAME, "iqn.a:esx2"), 0);
    assert_answer_says(rig, "every initiator");
    assert_false(model_find_target(registry_model(rig->registry), NAME)->initiators.is_set);
    add_listed_target(rig);
    assert_int_equal(accept_initiator(rig, "iqn.2026-11.lab:b", "IQN.A:ESX1"), 0);
    assert_answer_says(rig, "already");
}

static void test_the_persons_list_of_initiators_is_changed_in_the_persons_file(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO "); initiators = [ \"iqn.a:esx1\" ]; },\n"
                    "{ name = \"iqn.2026-11.lab:c\"; luns = (");
    assert_int_equal(accept_initiator(rig, NAME, "iqn.a:esx2"), -EPERM);
    assert_answer_says(rig, "nestor.conf:3; add \"iqn.a:esx2\"");
}

static void test_a_reload_moves_an_image_to_another_number(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    assert_int_equal(reload(rig, "{ lun = 9; path = \"~/zero.img\"; size = \"4M\"; }"), 0);
    assert_null(seen(rig, 0));
    assert_non_null(seen(rig, 9));
}

static void test_a_reload_keeps_what_nestorctl_added(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    assert_int_equal(add(rig, 3, "three.img", MEBIBYTE), 0);
    struct lu *lu = seen(rig, 3);
    assert_int_equal(reload(rig, "{ lun = 0; path = \"~/zero.img\"; size = \"8M\"; }"), 0);
    assert_ptr_equal(seen(rig, 3), lu);
    assert_int_equal(seen(rig, 0)->blocks, 8 * MEBIBYTE / 512);
}

static void test_a_reload_changes_the_rotation_of_the_same_unit(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    struct lu *lu = seen(rig, 0);
    struct identity before = lu->identity;
    assert_int_equal(lu->rotation_rpm, 0);
    assert_int_equal(
        reload(rig, "{ lun = 0; path = \"~/zero.img\"; size = \"4M\"; rotation = 7200; }"), 0);
    assert_ptr_equal(seen(rig, 0), lu);
    assert_int_equal(lu->rotation_rpm, 7200);
    assert_memory_equal(&lu->identity, &before, sizeof(before));
    assert_int_equal(reload(rig, ZERO), 0);
    assert_int_equal(lu->rotation_rpm, 0);
}

static void test_a_reload_that_is_refused_changes_nothing(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    assert_int_equal(reload(rig, "{ lun = 0; path = \"~/zero.img\"; size = \"2M\"; },"
                                 "{ lun = 1; path = \"~/one.img\"; size = \"2M\"; }"),
                     -EPERM);
    assert_answer_says(rig, "cannot shrink");
    assert_null(seen(rig, 1));
    assert_false(is_declared(rig, 1));
    assert_int_equal(seen(rig, 0)->blocks, 4 * MEBIBYTE / 512);
}

static void test_a_size_that_is_said_first_must_not_shrink_the_lun(void **state)
{
    struct rig *rig = *state;

    start(rig, ZERO);
    stop(rig);
    start(rig, "{ lun = 0; path = \"~/zero.img\"; }");
    assert_int_equal(reload(rig, "{ lun = 0; path = \"~/zero.img\"; size = \"2M\"; }"), -EPERM);
    assert_answer_says(rig, "never shrink");
}

static void test_a_reload_tries_again_what_was_left_out(void **state)
{
    struct rig *rig = *state;
    static const char luns[] = "{ lun = 1; path = \"~/gone.img\"; }, " ZERO;

    start(rig, luns);
    assert_null(seen(rig, 1));
    assert_int_equal(reload(rig, luns), -ENODEV); /* still not there: said again */
    assert_answer_says(rig, "gone.img");
    FILE *image = fopen(in_folder(rig, "gone.img"), "w");
    assert_non_null(image);
    fclose(image);
    assert_int_equal(truncate(in_folder(rig, "gone.img"), MEBIBYTE), 0);
    assert_int_equal(reload(rig, luns), 0);
    assert_non_null(seen(rig, 1));
    assert_null(view_of(rig, 1).problem);
}

static void note_idle(void *context)
{
    *(bool *)context = true;
}

static void test_settling_waits_for_the_change_and_lets_no_other_in(void **state)
{
    struct rig *rig = *state;
    bool is_idle = false;

    start(rig, ZERO);
    begin_add(rig, 3, "three.img", MEBIBYTE);
    registry_settle(rig->registry, note_idle, &is_idle);
    assert_false(is_idle);
    assert_int_equal(answered(rig), 0);
    assert_true(is_idle);
    assert_int_equal(add(rig, 4, "four.img", MEBIBYTE), -EBUSY);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_declared_luns_are_seen),
        TEST(test_a_lun_that_cannot_be_opened_leaves_the_others_served),
        TEST(test_an_added_lun_survives_a_restart),
        TEST(test_an_added_lun_that_cannot_be_kept_leaves_no_trace),
        TEST(test_a_lun_number_that_is_taken_is_refused),
        TEST(test_one_image_is_one_lun),
        TEST(test_two_luns_with_one_identity_are_refused),
        TEST(test_a_removed_lun_is_gone_and_its_image_stays),
        TEST(test_a_removal_that_cannot_be_kept_leaves_the_lun),
        TEST(test_the_persons_lun_is_changed_in_the_persons_file),
        TEST(test_a_lun_grows_and_stays_grown),
        TEST(test_a_lun_never_shrinks),
        TEST(test_growth_that_cannot_be_kept_is_not_told_to_hosts),
        TEST(test_changes_come_one_at_a_time),
        TEST(test_targets_are_added_and_removed),
        TEST(test_an_accepted_initiator_may_log_in_after_a_restart_too),
        TEST(test_an_initiator_that_cannot_be_kept_is_not_accepted),
        TEST(test_only_a_name_can_be_accepted),
        TEST(test_accepting_for_a_target_of_anybody_changes_nothing),
        TEST(test_the_persons_list_of_initiators_is_changed_in_the_persons_file),
        TEST(test_a_reload_moves_an_image_to_another_number),
        TEST(test_a_reload_keeps_what_nestorctl_added),
        TEST(test_a_reload_changes_the_rotation_of_the_same_unit),
        TEST(test_a_reload_that_is_refused_changes_nothing),
        TEST(test_a_size_that_is_said_first_must_not_shrink_the_lun),
        TEST(test_a_reload_tries_again_what_was_left_out),
        TEST(test_settling_waits_for_the_change_and_lets_no_other_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
