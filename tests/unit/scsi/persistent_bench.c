#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "target/scsi/persistent_file.h"
#include "target/worker/log.h"
#include "tests/unit/scsi/persistent_bench.h"

const enum pr_type all_types[6] = { PR_WRITE_EXCLUSIVE,
                                    PR_EXCLUSIVE_ACCESS,
                                    PR_WRITE_EXCLUSIVE_REGISTRANTS,
                                    PR_EXCLUSIVE_ACCESS_REGISTRANTS,
                                    PR_WRITE_EXCLUSIVE_ALL,
                                    PR_EXCLUSIVE_ACCESS_ALL };
const char other_port[] = "iqn.1998-01.com.vmware:esx2,i,0x00023d000001";

struct nexus third, observer;
char state_dir[64], *kept_path;

void settle(struct nexus *nexus)
{
    struct itl *itl = nexus_itl(nexus, 0, true);

    assert_non_null(itl);
    while (unit_attention_take(itl) != SENSE_NONE)
        ;
}

void login(struct nexus *nexus, const char *name)
{
    char port[300];

    snprintf(port, sizeof port, "%s,i,0x00023d000001", name);
    assert_int_equal(nexus_open(nexus, &rig.worker, &rig.target, name, port, 1), 0);
    settle(nexus);
}

int persistent_setup(void **state)
{
    (void)state;
    disk_open(&(struct rig_options){ .has_vaai = true });
    log_set_level(LOG_LEVEL_ERROR); /* refusals are what is tested */
    rig.workers.jobs = rig.jobs;
    strcpy(state_dir, "pr-unit-XXXXXX");
    assert_non_null(mkdtemp(state_dir));
    kept_path = persistent_file_path(state_dir, &rig.lu->identity);
    assert_non_null(kept_path);
    rig.lu->persistent_path = strdup(kept_path);
    login(&third, "iqn.1998-01.com.vmware:esx3");
    login(&observer, "iqn.1998-01.com.vmware:esx4");
    return 0;
}

int persistent_teardown(void **state)
{
    char folder[80];

    (void)state;
    nexus_close(&observer);
    nexus_close(&third);
    rig_close(&rig);
    unlink(kept_path);
    snprintf(folder, sizeof folder, "%s/pr", state_dir);
    rmdir(folder);
    rmdir(state_dir);
    free(kept_path);
    return 0;
}

/* ---- commands ---- */

unsigned result_of(const struct fake_task *task)
{
    assert_false(task->answer.was_aborted);
    return task->answer.status == STATUS_CHECK_CONDITION ? fake_sense(task) : task->answer.status;
}

void begin(struct fake_task *task, struct nexus *nexus, const uint8_t *cdb, uint32_t in_bytes,
           const uint8_t *out, uint32_t out_bytes)
{
    fake_task(task, &rig, cdb, in_bytes, out, out_bytes);
    task->nexus = nexus;
}

unsigned run(struct nexus *nexus, const uint8_t *cdb, uint32_t in_bytes, const uint8_t *out,
             uint32_t out_bytes)
{
    struct fake_task task;
    unsigned result;

    begin(&task, nexus, cdb, in_bytes, out, out_bytes);
    fake_start(&task);
    fake_wait(&task);
    result = result_of(&task);
    fake_free(&task);
    return result;
}

void out_cdb(uint8_t cdb[10], unsigned action, unsigned type, uint32_t list_bytes)
{
    memset(cdb, 0, 10);
    cdb[0] = 0x5f;
    cdb[1] = (uint8_t)action;
    cdb[2] = (uint8_t)type;
    put_be32(cdb + 5, list_bytes);
}

void basic_list(uint8_t list[24], uint64_t key, uint64_t action_key, uint8_t flags)
{
    memset(list, 0, 24);
    put_be64(list, key);
    put_be64(list + 8, action_key);
    list[20] = flags;
}

unsigned pr_out_flagged(struct nexus *nexus, unsigned action, unsigned type, uint64_t key,
                        uint64_t action_key, uint8_t flags)
{
    uint8_t cdb[10], list[24];

    out_cdb(cdb, action, type, 24);
    basic_list(list, key, action_key, flags);
    return run(nexus, cdb, 0, list, 24);
}

unsigned pr_out(struct nexus *nexus, unsigned action, unsigned type, uint64_t key,
                uint64_t action_key)
{
    return pr_out_flagged(nexus, action, type, key, action_key, 0);
}

void registers(struct nexus *nexus, uint64_t key)
{
    assert_int_equal(pr_out(nexus, REGISTER_AND_IGNORE, 0, 0, key), 0);
}

static unsigned test_unit_ready(struct nexus *nexus)
{
    const uint8_t cdb[6] = { 0 };

    return run(nexus, cdb, 0, NULL, 0);
}

unsigned reserve_6(struct nexus *nexus)
{
    const uint8_t cdb[6] = { 0x16 };

    return run(nexus, cdb, 0, NULL, 0);
}

unsigned release_6(struct nexus *nexus)
{
    const uint8_t cdb[6] = { 0x17 };

    return run(nexus, cdb, 0, NULL, 0);
}

unsigned write_one(struct nexus *nexus, uint8_t fill)
{
    uint8_t cdb[10], data[RIG_BLOCK_BYTES];

    memset(data, fill, sizeof data);
    write_10(cdb, 0, 1);
    return run(nexus, cdb, 0, data, sizeof data);
}

unsigned read_one(struct nexus *nexus)
{
    uint8_t cdb[10];

    read_10(cdb, 0, 1);
    return run(nexus, cdb, RIG_BLOCK_BYTES, NULL, 0);
}

uint8_t *pr_in(unsigned action, uint32_t *len)
{
    const uint8_t cdb[10] = { 0x5e, (uint8_t)action, 0, 0, 0, 0, 0, 0xff, 0xff };
    struct fake_task task;
    uint8_t *bytes;

    begin(&task, &observer, cdb, 65535, NULL, 0);
    fake_start(&task);
    fake_wait(&task);
    assert_int_equal(result_of(&task), 0);
    *len = task.in_bytes;
    bytes = task.in;
    task.in = NULL;
    fake_free(&task);
    return bytes;
}

void expect_keys(uint32_t generation, unsigned count, const uint64_t *keys)
{
    uint32_t len;
    uint8_t *bytes = pr_in(PR_IN_READ_KEYS, &len);

    assert_int_equal(get_be32(bytes), generation);
    assert_int_equal(get_be32(bytes + 4), 8 * count);
    assert_int_equal(len, 8 + 8 * count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(get_be64(bytes + 8 + 8 * i), keys[i]);
    free(bytes);
}

void expect_reservation(enum pr_type type, uint64_t key)
{
    uint32_t len;
    uint8_t *bytes = pr_in(PR_IN_READ_RESERVATION, &len);

    assert_int_equal(len, type == PR_NONE ? 8 : 24);
    if (type != PR_NONE) {
        assert_int_equal(get_be32(bytes + 4), 16);
        assert_int_equal(get_be64(bytes + 8), key);
        assert_int_equal(bytes[8 + 13], type);
    }
    free(bytes);
}

void expect_attention(struct nexus *nexus, unsigned sense)
{
    if (sense)
        assert_int_equal(test_unit_ready(nexus), sense);
    assert_false(unit_attention_is_pending(nexus_itl(nexus, 0, false)));
}
