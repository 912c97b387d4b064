/*
 * copy_bench: three units that copy, and the parameter lists that make them.
 *
 * Stands on disk_bench; linked with --wrap for worker_slow besides. LUN 0 is the rig's, 1 is like
 * it, 2 has 4096-byte blocks.
 */
#pragma once

#include "proto/xcopy.h"
#include "target/scsi/limits.h"
#include "tests/unit/scsi/disk_bench.h"

enum { UNITS = 3, LIST_MAX = 16 + 9 * 32 + 65 * 28, THIS_UNIT = 0xffff, HELD_MAX = 64 };

extern struct lu *units[UNITS];
extern char paths[UNITS][32];

/* Steps are taken from the slow lane and left to the test, oldest first. */
extern bool holds_steps;
extern struct slow_job *held[HELD_MAX];
extern unsigned held_count;
void end_step(void);

/* For cmocka. */
int copy_setup(void **state);
int copy_setup_writethrough(void **state);
int copy_teardown(void **state);

struct lun_map *make_map(unsigned first, unsigned count);
/* Both nexuses move to this map, and have no unit attention in it. */
void show(struct lun_map *map);

void fill(unsigned unit, uint32_t lba, uint32_t blocks, uint8_t byte);
void expect_filled(unsigned unit, uint32_t lba, uint32_t blocks, uint8_t byte);

struct list {
    uint8_t bytes[LIST_MAX];
    unsigned cscds, segments;
};

void list_begin(struct list *list, uint8_t list_id, uint8_t usage);
/* Gives the descriptor's first byte. */
uint8_t *list_cscd(struct list *list, unsigned unit);
uint8_t *list_segment(struct list *list, uint16_t source, uint64_t from, uint16_t destination,
                      uint64_t to, uint16_t blocks);
uint32_t list_bytes(const struct list *list);

/* From unit 0 to unit 1, from LBA 0 to 1000: on the borders of 4 KiB, so that 8 blocks are one step
 * whatever the file system can do. */
void list_simple(struct list *list, uint8_t list_id, uint8_t usage, uint16_t blocks);

void copy_task(struct fake_task *task, const struct list *list);
void copy_run(struct fake_task *task, const struct list *list);
void expect_good(const struct list *list);

/* CHECK CONDITION; `pointer`: the byte of the list, -1: none. The sense is left for more. */
struct command refused(const struct list *list, unsigned sense, unsigned segment, int pointer);

/* RECEIVE COPY of LUN 0. */
void ask(struct fake_task *task, uint8_t action, uint8_t list_id, uint32_t bytes);
