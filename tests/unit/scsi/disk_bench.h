/*
 * disk_bench: one unit whose disk does what the test says, and the few commands that most tests
 * need.
 *
 * Linked with --wrap for backing_try_read, backing_try_write and engine_submit.
 */
#pragma once

#include "tests/unit/scsi/fake_transport.h"

enum { TAKEN_IO_MAX = 300 };

extern struct rig rig;

/* What the backing answers inline; 0: what it really does. */
extern int inline_read_answer, inline_write_answer;

/* Takes io instead of the engine and leaves it to the test, oldest first. */
extern bool takes_io;
extern struct io *taken_io[TAKEN_IO_MAX];
extern unsigned taken_count;

/* Opens the rig without pending unit attentions, with a disk that behaves. 0, for cmocka. */
int disk_open(const struct rig_options *options);

/* The oldest io that was taken ends: really done (0), or with that error. */
void end_io(int error);

void read_10(uint8_t cdb[10], uint32_t lba, uint16_t blocks);
void write_10(uint8_t cdb[10], uint32_t lba, uint16_t blocks);

/* Bytes that tell where they belong; for free(). */
uint8_t *pattern(uint32_t bytes, unsigned seed);

void write_blocks(uint32_t lba, uint16_t blocks, const uint8_t *data);
void expect_blocks(uint32_t lba, uint16_t blocks, const uint8_t *data);
