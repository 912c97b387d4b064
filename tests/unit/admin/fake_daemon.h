/*
 * fake_daemon: the calls of registry.h, lu.h, session_table.h and log.h, as the admin room's tests
 * want them: two targets ("lab" with a LUN that is served and one that is not, and "iso" without
 * LUNs), one session, and changes that wait until the test answers them.
 */
#pragma once

#include "admin/methods.h"
#include "target/registry.h"

struct fake_daemon {
    struct methods_daemon daemon;
    struct model model;

    /* the change that was asked for last */
    char asked[32]; /* "lun_add"; empty: none */
    char target[224], initiator[224];
    unsigned lun;
    uint64_t size_bytes;
    bool is_forced;
    struct model_lun added; /* a copy */
    struct model_target target_added;
    unsigned reloaded_targets;

    registry_done *done;
    void *context;

    const char *reserved_by; /* an initiator port; NULL: nobody */
    const char *registered;  /* one that has registered and reserved; NULL: nobody */
    uint16_t dropped_tsih;
    bool has_no_session;
};

void fake_daemon_open(struct fake_daemon *fake);
void fake_daemon_close(struct fake_daemon *fake);

/* Answers the change that waits. */
void fake_daemon_answer(struct fake_daemon *fake, int error, const char *text);
