/*
 * Every PDU against the header that RFC 7143 section 11 draws for it: twelve words, written by hand
 * from the diagrams, with a different value in each field.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/pdu.h"

struct drawn {
    const char *sentence;
    uint32_t words[12];
    struct pdu pdu;
};

#define LUN_WORDS 0x00050000, 0x00000007
#define LUN_FIELD .lun = 0x0005000000000007U
#define ITT       .initiator_task_tag = 0x10203040

static const struct drawn drawn[] = {
    {"SCSI Command stands as 11.3 draws it",
     { 0x41e30000, 0x00012345, LUN_WORDS, 0x10203040, 0x20000001, 0x20000002, 0x20000003,
        0x8a112233, 0x44556677, 0x8899aabb, 0xccddeeff },
     { .opcode = PDU_SCSI_COMMAND,
        .immediate = true,
        .data_segment_length = 0x012345,
        LUN_FIELD,
        ITT,
        .scsi_command = { .final = true,
                          .read = true,
                          .write = true,
                          .attribute = TASK_HEAD_OF_QUEUE,
                          .expected_data_transfer_length = 0x20000001,
                          .cmd_sn = 0x20000002,
                          .exp_stat_sn = 0x20000003,
                          .cdb = { 0x8a, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa,
                                   0xbb, 0xcc, 0xdd, 0xee, 0xff } } }        },
    { "SCSI Command write, untagged, more data to follow, with AHS",
     { 0x01200000, 0x04000000, LUN_WORDS, 0x10203040, 1, 2, 3, 0x2a000000, 0, 0, 0 },
     { .opcode = PDU_SCSI_COMMAND,
        .total_ahs_words = 4,
        LUN_FIELD,
        ITT,
        .scsi_command = { .write = true,
                          .expected_data_transfer_length = 1,
                          .cmd_sn = 2,
                          .exp_stat_sn = 3,
                          .cdb = { 0x2a } } }                                },
    { "SCSI Response stands as 11.4 draws it",
     { 0x218a0102, 0x00000060, 0, 0, 0x10203040, 0x20000001, 0x20000002, 0x20000003, 0x20000004,
        0x20000005, 0x20000006, 0x20000007 },
     { .opcode = PDU_SCSI_RESPONSE,
        .data_segment_length = 0x60,
        ITT,
        .scsi_response = { .response = 1,
                           .status = 2,
                           .snack_tag = 0x20000001,
                           .stat_sn = 0x20000002,
                           .exp_cmd_sn = 0x20000003,
                           .max_cmd_sn = 0x20000004,
                           .exp_data_sn = 0x20000005,
                           .bidi_read_residual = { RESIDUAL_UNDERFLOW, 0x20000006 },
                           .residual = { RESIDUAL_UNDERFLOW, 0x20000007 } } }},
    { "SCSI Response tells overflows of both directions",
     { 0x21940018, 0, 0, 0, 0x10203040, 0, 1, 2, 3, 0, 0x1000, 0x2000 },
     { .opcode = PDU_SCSI_RESPONSE,
        ITT,
        .scsi_response = { .status = 0x18,
                           .stat_sn = 1,
                           .exp_cmd_sn = 2,
                           .max_cmd_sn = 3,
                           .bidi_read_residual = { RESIDUAL_OVERFLOW, 0x1000 },
                           .residual = { RESIDUAL_OVERFLOW, 0x2000 } } }     },
    { "Task Management Function Request stands as 11.5 draws it",
     { 0x42860000, 0, LUN_WORDS, 0x10203040, 0x20000001, 0x20000002, 0x20000003, 0x20000004,
        0x20000005, 0, 0 },
     { .opcode = PDU_TASK_MANAGEMENT_REQUEST,
        .immediate = true,
        LUN_FIELD,
        ITT,
        .task_management_request = { .function = TMF_TARGET_WARM_RESET,
                                     .referenced_task_tag = 0x20000001,
                                     .cmd_sn = 0x20000002,
                                     .exp_stat_sn = 0x20000003,
                                     .ref_cmd_sn = 0x20000004,
                                     .exp_data_sn = 0x20000005 } }           },
    { "Task Management Function Response stands as 11.6 draws it",
     { 0x22800500, 0, 0, 0, 0x10203040, 0, 0x20000002, 0x20000003, 0x20000004, 0, 0, 0 },
     { .opcode = PDU_TASK_MANAGEMENT_RESPONSE,
        ITT,
        .task_management_response = { .response = TMF_RESPONSE_NOT_SUPPORTED,
                                      .stat_sn = 0x20000002,
                                      .exp_cmd_sn = 0x20000003,
                                      .max_cmd_sn = 0x20000004 } }           },
    { "SCSI Data-Out stands as 11.7.1 draws it",
     { 0x05800000, 0x00fffffc, LUN_WORDS, 0x10203040, 0x20000001, 0, 0x20000003, 0, 0x20000005,
        0x20000006, 0 },
     { .opcode = PDU_DATA_OUT,
        .data_segment_length = 0xfffffc,
        LUN_FIELD,
        ITT,
        .data_out = { .final = true,
                      .target_transfer_tag = 0x20000001,
                      .exp_stat_sn = 0x20000003,
                      .data_sn = 0x20000005,
                      .buffer_offset = 0x20000006 } }                        },
    { "SCSI Data-In with status stands as 11.7.2 draws it",
     { 0x25c30008, 0x00000200, LUN_WORDS, 0x10203040, 0x20000001, 0x20000002, 0x20000003,
        0x20000004, 0x20000005, 0x20000006, 0x20000007 },
     { .opcode = PDU_DATA_IN,
        .data_segment_length = 0x200,
        LUN_FIELD,
        ITT,
        .data_in = { .final = true,
                     .acknowledge = true,
                     .has_status = true,
                     .status = 0x08,
                     .residual = { RESIDUAL_UNDERFLOW, 0x20000007 },
                     .target_transfer_tag = 0x20000001,
                     .stat_sn = 0x20000002,
                     .exp_cmd_sn = 0x20000003,
                     .max_cmd_sn = 0x20000004,
                     .data_sn = 0x20000005,
                     .buffer_offset = 0x20000006 } }                         },
    { "SCSI Data-In with status and overflow",
     { 0x25850000, 4, 0, 0, 0x10203040, 0xffffffff, 1, 2, 3, 4, 5, 6 },
     { .opcode = PDU_DATA_IN,
        .data_segment_length = 4,
        ITT,
        .data_in = { .final = true,
                     .has_status = true,
                     .residual = { RESIDUAL_OVERFLOW, 6 },
                     .target_transfer_tag = TAG_RESERVED,
                     .stat_sn = 1,
                     .exp_cmd_sn = 2,
                     .max_cmd_sn = 3,
                     .data_sn = 4,
                     .buffer_offset = 5 } }                                  },
    { "SCSI Data-In without status leaves status and StatSN zero",
     { 0x25000000, 0x00020000, LUN_WORDS, 0x10203040, 0xffffffff, 0, 0x20000003, 0x20000004,
        0x20000005, 0x20000006, 0 },
     { .opcode = PDU_DATA_IN,
        .data_segment_length = 0x20000,
        LUN_FIELD,
        ITT,
        .data_in = { .target_transfer_tag = TAG_RESERVED,
                     .exp_cmd_sn = 0x20000003,
                     .max_cmd_sn = 0x20000004,
                     .data_sn = 0x20000005,
                     .buffer_offset = 0x20000006 } }                         },
    { "R2T stands as 11.8 draws it",
     { 0x31800000, 0, LUN_WORDS, 0x10203040, 0x20000001, 0x20000002, 0x20000003, 0x20000004,
        0x20000005, 0x20000006, 0x20000007 },
     { .opcode = PDU_R2T,
        LUN_FIELD,
        ITT,
        .r2t = { .target_transfer_tag = 0x20000001,
                 .stat_sn = 0x20000002,
                 .exp_cmd_sn = 0x20000003,
                 .max_cmd_sn = 0x20000004,
                 .r2t_sn = 0x20000005,
                 .buffer_offset = 0x20000006,
                 .desired_data_transfer_length = 0x20000007 } }              },
    { "Asynchronous Message stands as 11.9 draws it",
     { 0x32800000, 0, LUN_WORDS, 0xffffffff, 0, 0x20000002, 0x20000003, 0x20000004, 0x01aa1111,
        0x22223333, 0 },
     { .opcode = PDU_ASYNC_MESSAGE,
        LUN_FIELD,
        .initiator_task_tag = TAG_RESERVED,
        .async_message = { .stat_sn = 0x20000002,
                           .exp_cmd_sn = 0x20000003,
                           .max_cmd_sn = 0x20000004,
                           .event = ASYNC_LOGOUT_REQUEST,
                           .vendor_code = 0xaa,
                           .parameter1 = 0x1111,
                           .parameter2 = 0x2222,
                           .parameter3 = 0x3333 } }                          },
    { "Text Request stands as 11.10 draws it",
     { 0x44800000, 0x00000010, LUN_WORDS, 0x10203040, 0x20000001, 0x20000002, 0x20000003, 0, 0, 0,
        0 },
     { .opcode = PDU_TEXT_REQUEST,
        .immediate = true,
        .data_segment_length = 0x10,
        LUN_FIELD,
        ITT,
        .text_request = { .final = true,
                          .target_transfer_tag = 0x20000001,
                          .cmd_sn = 0x20000002,
                          .exp_stat_sn = 0x20000003 } }                      },
    { "Text Response stands as 11.11 draws it",
     { 0x24400000, 0x00002000, LUN_WORDS, 0x10203040, 0x20000001, 0x20000002, 0x20000003,
        0x20000004, 0, 0, 0 },
     { .opcode = PDU_TEXT_RESPONSE,
        .data_segment_length = 0x2000,
        LUN_FIELD,
        ITT,
        .text_response = { .continues = true,
                           .target_transfer_tag = 0x20000001,
                           .stat_sn = 0x20000002,
                           .exp_cmd_sn = 0x20000003,
                           .max_cmd_sn = 0x20000004 } }                      },
    { "Login Request stands as 11.12 draws it",
     { 0x43870102, 0x000000f0, 0x00023d00, 0x00011234, 0x10203040, 0x56780000, 0x20000002,
        0x20000003, 0, 0, 0, 0 },
     { .opcode = PDU_LOGIN_REQUEST,
        .immediate = true,
        .data_segment_length = 0xf0,
        ITT,
        .login_request = { .transit = true,
                           .csg = STAGE_OPERATIONAL,
                           .nsg = STAGE_FULL_FEATURE,
                           .version_max = 1,
                           .version_min = 2,
                           .isid = { 0x00, 0x02, 0x3d, 0x00, 0x00, 0x01 },
                           .tsih = 0x1234,
                           .cid = 0x5678,
                           .cmd_sn = 0x20000002,
                           .exp_stat_sn = 0x20000003 } }                     },
    { "Login Response stands as 11.13 draws it",
     { 0x23440304, 0x00000008, 0x80112233, 0x44559abc, 0x10203040, 0, 0x20000002, 0x20000003,
        0x20000004, 0x02070000, 0, 0 },
     { .opcode = PDU_LOGIN_RESPONSE,
        .data_segment_length = 8,
        ITT,
        .login_response = { .continues = true,
                            .csg = STAGE_OPERATIONAL,
                            .nsg = STAGE_SECURITY,
                            .version_max = 3,
                            .version_active = 4,
                            .isid = { 0x80, 0x11, 0x22, 0x33, 0x44, 0x55 },
                            .tsih = 0x9abc,
                            .stat_sn = 0x20000002,
                            .exp_cmd_sn = 0x20000003,
                            .max_cmd_sn = 0x20000004,
                            .status = LOGIN_MISSING_PARAMETER } }            },
    { "Logout Request stands as 11.14 draws it",
     { 0x46820000, 0, 0, 0, 0x10203040, 0x56780000, 0x20000002, 0x20000003, 0, 0, 0, 0 },
     { .opcode = PDU_LOGOUT_REQUEST,
        .immediate = true,
        ITT,
        .logout_request = { .reason = LOGOUT_REMOVE_FOR_RECOVERY,
                            .cid = 0x5678,
                            .cmd_sn = 0x20000002,
                            .exp_stat_sn = 0x20000003 } }                    },
    { "Logout Response stands as 11.15 draws it",
     { 0x26800100, 0, 0, 0, 0x10203040, 0, 0x20000002, 0x20000003, 0x20000004, 0, 0x00020014, 0 },
     { .opcode = PDU_LOGOUT_RESPONSE,
        ITT,
        .logout_response = { .response = LOGOUT_CID_NOT_FOUND,
                             .stat_sn = 0x20000002,
                             .exp_cmd_sn = 0x20000003,
                             .max_cmd_sn = 0x20000004,
                             .time2wait = 2,
                             .time2retain = 20 } }                           },
    { "SNACK Request stands as 11.16 draws it",
     { 0x10820000, 0, LUN_WORDS, 0x10203040, 0x20000001, 0, 0x20000003, 0, 0, 0x20000006,
        0x20000007 },
     { .opcode = PDU_SNACK_REQUEST,
        LUN_FIELD,
        ITT,
        .snack_request = { .type = 2,
                           .target_transfer_tag = 0x20000001,
                           .exp_stat_sn = 0x20000003,
                           .beg_run = 0x20000006,
                           .run_length = 0x20000007 } }                      },
    { "Reject stands as 11.17 draws it",
     { 0x3f800900, 0x00000030, 0, 0, 0xffffffff, 0, 0x20000002, 0x20000003, 0x20000004, 0x20000005,
        0, 0 },
     { .opcode = PDU_REJECT,
        .data_segment_length = 48,
        .initiator_task_tag = TAG_RESERVED,
        .reject = { .reason = REJECT_INVALID_PDU_FIELD,
                    .stat_sn = 0x20000002,
                    .exp_cmd_sn = 0x20000003,
                    .max_cmd_sn = 0x20000004,
                    .data_sn = 0x20000005 } }                                },
    { "NOP-Out stands as 11.18 draws it",
     { 0x40800000, 0x00000004, LUN_WORDS, 0x10203040, 0x20000001, 0x20000002, 0x20000003, 0, 0, 0,
        0 },
     { .opcode = PDU_NOP_OUT,
        .immediate = true,
        .data_segment_length = 4,
        LUN_FIELD,
        ITT,
        .nop_out = { .target_transfer_tag = 0x20000001,
                     .cmd_sn = 0x20000002,
                     .exp_stat_sn = 0x20000003 } }                           },
    { "NOP-In stands as 11.19 draws it",
     { 0x20800000, 0, LUN_WORDS, 0xffffffff, 0x20000001, 0x20000002, 0x20000003, 0x20000004, 0, 0,
        0 },
     { .opcode = PDU_NOP_IN,
        LUN_FIELD,
        .initiator_task_tag = TAG_RESERVED,
        .nop_in = { .target_transfer_tag = 0x20000001,
                    .stat_sn = 0x20000002,
                    .exp_cmd_sn = 0x20000003,
                    .max_cmd_sn = 0x20000004 } }                             },
};

enum { DRAWN = sizeof drawn / sizeof drawn[0] };

static void draw(const struct drawn *row, uint8_t bhs[BHS_BYTES])
{
    for (unsigned i = 0; i < 12; i++)
        put_be32(bhs + 4 * i, row->words[i]);
}

static void test_built_and_parsed_as_drawn(void **state)
{
    const struct drawn *row = *state;
    uint8_t wire[BHS_BYTES], built[BHS_BYTES];
    struct pdu parsed;

    draw(row, wire);
    memset(built, 0xee, sizeof built); /* a byte that nobody writes must show */
    pdu_build(&row->pdu, built);
    assert_memory_equal(built, wire, BHS_BYTES);

    /* over zeros, so that two equal structs are equal in their padding too */
    memset(&parsed, 0, sizeof parsed);
    assert_int_equal(pdu_parse(wire, &parsed), PDU_OK);
    assert_memory_equal(&parsed, &row->pdu, sizeof parsed);
}

static const struct drawn *drawn_of(enum pdu_opcode opcode)
{
    for (unsigned i = 0; i < DRAWN; i++) {
        if (drawn[i].pdu.opcode == opcode)
            return &drawn[i];
    }
    fail_msg("no header is drawn for opcode %02x", opcode);
    return NULL;
}

static void test_reserved_bytes_are_ignored_on_receive(void **state)
{
    static const struct {
        enum pdu_opcode opcode;
        unsigned offset;
        uint8_t noise;
    } reserved[] = {
        {PDU_SCSI_COMMAND,             0,  0x80},
        { PDU_SCSI_COMMAND,            1,  0x18},
        { PDU_SCSI_COMMAND,            2,  0xff},
        { PDU_SCSI_COMMAND,            3,  0xff},
        { PDU_DATA_OUT,                0,  0xc0},
        { PDU_DATA_OUT,                1,  0x7f},
        { PDU_DATA_OUT,                24, 0xff},
        { PDU_DATA_OUT,                32, 0xff},
        { PDU_DATA_OUT,                47, 0xff},
        { PDU_NOP_OUT,                 1,  0xff},
        { PDU_NOP_OUT,                 47, 0xff},
        { PDU_LOGIN_REQUEST,           1,  0x30},
        { PDU_LOGIN_REQUEST,           22, 0xff},
        { PDU_LOGIN_REQUEST,           40, 0xff},
        { PDU_LOGOUT_REQUEST,          1,  0x80},
        { PDU_LOGOUT_REQUEST,          8,  0xff},
        { PDU_LOGOUT_REQUEST,          22, 0xff},
        { PDU_TEXT_REQUEST,            1,  0x3f},
        { PDU_TASK_MANAGEMENT_REQUEST, 1,  0x80},
        { PDU_TASK_MANAGEMENT_REQUEST, 44, 0xff},
        { PDU_SNACK_REQUEST,           0,  0x40},
        { PDU_SNACK_REQUEST,           1,  0xf0},
        { PDU_SCSI_RESPONSE,           1,  0xe1},
        { PDU_SCSI_RESPONSE,           8,  0xff},
        { PDU_R2T,                     1,  0xff},
        { PDU_LOGIN_RESPONSE,          38, 0xff},
    };

    (void)state;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        const struct drawn *row = drawn_of(reserved[i].opcode);
        uint8_t wire[BHS_BYTES];
        struct pdu parsed;

        draw(row, wire);
        wire[reserved[i].offset] ^= reserved[i].noise;
        memset(&parsed, 0, sizeof parsed);
        assert_int_equal(pdu_parse(wire, &parsed), PDU_OK);
        assert_memory_equal(&parsed, &row->pdu, sizeof parsed);
    }
}

static void test_pdu_without_a_lun_parses_to_lun_zero(void **state)
{
    static const enum pdu_opcode without[] = { PDU_LOGIN_REQUEST,           PDU_LOGIN_RESPONSE,
                                               PDU_LOGOUT_REQUEST,          PDU_LOGOUT_RESPONSE,
                                               PDU_SCSI_RESPONSE,           PDU_REJECT,
                                               PDU_TASK_MANAGEMENT_RESPONSE };

    (void)state;
    for (size_t i = 0; i < sizeof without / sizeof without[0]; i++) {
        uint8_t wire[BHS_BYTES];
        struct pdu parsed;

        draw(drawn_of(without[i]), wire);
        memset(wire + 8, 0xff, 8);
        memset(&parsed, 0xee, sizeof parsed);
        assert_int_equal(pdu_parse(wire, &parsed), PDU_OK);
        assert_true(parsed.lun == 0);
    }
}

/* 11.7.3: without the S bit, status and StatSN are reserved, and so is the residual */
static void test_data_in_without_status_ignores_what_stands_in_its_fields(void **state)
{
    uint8_t wire[BHS_BYTES];
    struct pdu parsed;

    (void)state;
    draw(drawn_of(PDU_DATA_IN), wire);
    wire[1] &= (uint8_t)~0x01;
    assert_int_equal(pdu_parse(wire, &parsed), PDU_OK);
    assert_false(parsed.data_in.has_status);
    assert_int_equal(parsed.data_in.status, 0);
    assert_int_equal(parsed.data_in.stat_sn, 0);
    assert_int_equal(parsed.data_in.residual.kind, RESIDUAL_NONE);
    assert_int_equal(parsed.data_in.residual.count_bytes, 0);
}

static void test_unknown_opcode_is_told_with_lengths_and_tag(void **state)
{
    unsigned known = 0;

    (void)state;
    for (uint8_t opcode = 0; opcode < 0x40; opcode++) {
        uint8_t wire[BHS_BYTES] = { opcode, 0x80, 0, 0, 2, 0x01, 0x02, 0x03 };
        struct pdu parsed;

        put_be32(wire + 16, 0xcafef00d);
        if (pdu_parse(wire, &parsed) != PDU_UNKNOWN_OPCODE) {
            known++;
            assert_string_not_equal(pdu_name(parsed.opcode), "unknown PDU");
            continue;
        }
        assert_int_equal(parsed.opcode, opcode);
        assert_int_equal(parsed.total_ahs_words, 2);
        assert_int_equal(parsed.data_segment_length, 0x010203);
        assert_int_equal(parsed.initiator_task_tag, 0xcafef00d);
        assert_string_equal(pdu_name(parsed.opcode), "unknown PDU");
    }
    assert_int_equal(known, 18);
}

static void test_reserved_task_attribute_is_an_invalid_field(void **state)
{
    (void)state;
    for (uint8_t attribute = 0; attribute < 8; attribute++) {
        uint8_t wire[BHS_BYTES] = { PDU_SCSI_COMMAND, (uint8_t)(0x80 | attribute) };
        struct pdu parsed;

        assert_int_equal(pdu_parse(wire, &parsed), attribute <= 4 ? PDU_OK : PDU_INVALID_FIELD);
    }
}

static void test_only_a_scsi_command_has_additional_headers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DRAWN; i++) {
        uint8_t wire[BHS_BYTES];
        struct pdu parsed;
        bool is_command = drawn[i].pdu.opcode == PDU_SCSI_COMMAND;

        draw(&drawn[i], wire);
        wire[4] = 1;
        assert_int_equal(pdu_parse(wire, &parsed), is_command ? PDU_OK : PDU_INVALID_FIELD);
        assert_int_equal(parsed.total_ahs_words, 1);
        assert_int_equal(parsed.initiator_task_tag, drawn[i].pdu.initiator_task_tag);
    }
}

static void test_overflow_with_underflow_is_an_invalid_field(void **state)
{
    static const struct {
        uint8_t opcode, flags;
        enum pdu_error error;
    } rows[] = {
        {PDU_SCSI_RESPONSE,  0x86, PDU_INVALID_FIELD},
        { PDU_SCSI_RESPONSE, 0x98, PDU_INVALID_FIELD},
        { PDU_SCSI_RESPONSE, 0x92, PDU_OK           },
        { PDU_DATA_IN,       0x87, PDU_INVALID_FIELD},
        { PDU_DATA_IN,       0x86, PDU_OK           }, /* without S these bits are reserved */
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t wire[BHS_BYTES] = { rows[i].opcode, rows[i].flags };
        struct pdu parsed;

        assert_int_equal(pdu_parse(wire, &parsed), rows[i].error);
    }
}

static void test_padding_fills_to_four(void **state)
{
    (void)state;
    assert_int_equal(pdu_padded(0), 0);
    assert_int_equal(pdu_padded(1), 4);
    assert_int_equal(pdu_padded(4), 4);
    assert_int_equal(pdu_padded(5), 8);
    assert_int_equal(pdu_padded(DATA_SEGMENT_MAX), 0x1000000);
}

static enum pdu_error ahs(struct pdu_ahs *parsed, const uint8_t *bytes, size_t len)
{
    return pdu_ahs_parse(slice_of(bytes, len), parsed);
}

#define AHS(parsed, ...)                                                                           \
    ahs(parsed, (const uint8_t[]){ __VA_ARGS__ }, sizeof(const uint8_t[]){ __VA_ARGS__ })

/* 11.2.2.3: AHSLength is CDBLength - 15; here a 20-byte CDB, so four bytes after a reserved one */
static void test_ahs_carries_the_rest_of_a_long_cdb(void **state)
{
    struct pdu_ahs parsed;

    (void)state;
    assert_int_equal(AHS(&parsed, 0, 5, 0x01, 0, 0xa1, 0xa2, 0xa3, 0xa4), PDU_OK);
    assert_true(slice_is(parsed.extended_cdb, "\xa1\xa2\xa3\xa4"));
    assert_false(parsed.has_bidi_read);
}

static void test_ahs_carries_the_bidirectional_read_length(void **state)
{
    struct pdu_ahs parsed;

    (void)state;
    assert_int_equal(AHS(&parsed, 0, 5, 0x02, 0, 0x00, 0x01, 0x00, 0x02), PDU_OK);
    assert_true(parsed.has_bidi_read);
    assert_int_equal(parsed.bidi_read_length, 0x10002);
    assert_int_equal(parsed.extended_cdb.len, 0);
}

static void test_ahs_of_both_kinds_with_padding_between(void **state)
{
    struct pdu_ahs parsed;

    (void)state;
    assert_int_equal(AHS(&parsed, 0, 3, 0x01, 0, 0xa1, 0xa2, 0, 0, /* two bytes of padding */
                         0, 5, 0xc2, 0, 0, 0, 0, 9),               /* reserved bits in the type */
                     PDU_OK);
    assert_true(slice_is(parsed.extended_cdb, "\xa1\xa2"));
    assert_int_equal(parsed.bidi_read_length, 9);
}

static void test_ahs_of_nothing_is_empty(void **state)
{
    struct pdu_ahs parsed;

    (void)state;
    assert_int_equal(pdu_ahs_parse(slice_of(NULL, 0), &parsed), PDU_OK);
    assert_int_equal(parsed.extended_cdb.len, 0);
    assert_false(parsed.has_bidi_read);
}

static void test_ahs_that_lies_about_itself_is_an_invalid_field(void **state)
{
    struct pdu_ahs parsed;

    (void)state;
    assert_int_equal(AHS(&parsed, 0, 0, 0x01, 0), PDU_INVALID_FIELD);             /* no length */
    assert_int_equal(AHS(&parsed, 0, 6, 0x01, 0, 1, 2, 3, 4), PDU_INVALID_FIELD); /* runs out */
    assert_int_equal(AHS(&parsed, 0xff, 0xff, 0x01, 0), PDU_INVALID_FIELD);
    assert_int_equal(AHS(&parsed, 0, 4, 0x02, 0, 1, 2, 3, 0), PDU_INVALID_FIELD); /* wrong length */
    assert_int_equal(AHS(&parsed, 0, 1, 0x03, 0), PDU_INVALID_FIELD);    /* reserved type */
    assert_int_equal(AHS(&parsed, 0, 1, 0x01, 0, 0), PDU_INVALID_FIELD); /* a lone byte */
    assert_int_equal(AHS(&parsed, 0, 2, 0x01, 0, 1, 0, 0, 0, 0, 2, 0x01, 0, 1, 0, 0, 0),
                     PDU_INVALID_FIELD); /* twice the same */
    assert_int_equal(AHS(&parsed, 0, 5, 2, 0, 0, 0, 0, 1, 0, 5, 2, 0, 0, 0, 0, 1),
                     PDU_INVALID_FIELD);
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_reserved_bytes_are_ignored_on_receive),
        cmocka_unit_test(test_pdu_without_a_lun_parses_to_lun_zero),
        cmocka_unit_test(test_data_in_without_status_ignores_what_stands_in_its_fields),
        cmocka_unit_test(test_unknown_opcode_is_told_with_lengths_and_tag),
        cmocka_unit_test(test_reserved_task_attribute_is_an_invalid_field),
        cmocka_unit_test(test_only_a_scsi_command_has_additional_headers),
        cmocka_unit_test(test_overflow_with_underflow_is_an_invalid_field),
        cmocka_unit_test(test_padding_fills_to_four),
        cmocka_unit_test(test_ahs_carries_the_rest_of_a_long_cdb),
        cmocka_unit_test(test_ahs_carries_the_bidirectional_read_length),
        cmocka_unit_test(test_ahs_of_both_kinds_with_padding_between),
        cmocka_unit_test(test_ahs_of_nothing_is_empty),
        cmocka_unit_test(test_ahs_that_lies_about_itself_is_an_invalid_field),
    };
    enum { OTHERS = sizeof others / sizeof others[0] };
    struct CMUnitTest tests[DRAWN + OTHERS];

    for (unsigned i = 0; i < DRAWN; i++)
        tests[i] = (struct CMUnitTest){ .name = drawn[i].sentence,
                                        .test_func = test_built_and_parsed_as_drawn,
                                        .initial_state = (void *)&drawn[i] };
    memcpy(tests + DRAWN, others, sizeof others);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
