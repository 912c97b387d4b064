/* PERSISTENT RESERVE parameter lists and data, TransportIDs of iSCSI, SPC-4 6.15, 6.16, 7.6.4.6 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proto/pr.h"

enum { LIST_MAX = 1024 };

static const char port_text[] = "iqn.1998-01.com.vmware:esx1,i,0x00023d000001";
static const char name_text[] = "iqn.1998-01.com.vmware:esx1";

static struct pr_out out;
static uint16_t byte;

static void put_flags(uint8_t *list, uint8_t flags)
{
    memset(list, 0, LIST_MAX);
    put_be64(list, 0x1122334455667788);
    put_be64(list + 8, 0x99aabbccddeeff00);
    list[20] = flags;
}

/* A TransportID of `format` with this text in `room` bytes; returns its length. */
static size_t put_id(uint8_t *p, uint8_t format, const char *text, uint16_t room)
{
    memset(p, 0, 4u + room);
    p[0] = format | 0x05;
    put_be16(p + 2, room);
    memcpy(p + 4, text, strlen(text) < room ? strlen(text) : room);
    return 4u + room;
}

/* REGISTER with SPEC_I_PT and one TransportID. From exactly as many bytes, so that ASan sees who
 * reads beyond. */
static enum sense_code parse_one(uint8_t format, const char *text, uint16_t room)
{
    uint8_t list[LIST_MAX], *exact;
    enum sense_code code;
    size_t len;

    put_flags(list, 0x08);
    len = put_id(list + 28, format, text, room);
    put_be32(list + 24, (uint32_t)len);
    exact = malloc(28 + len);
    assert_non_null(exact);
    memcpy(exact, list, 28 + len);
    code = pr_out_parse(&out, PR_OUT_REGISTER, exact, 28 + len, &byte);
    if (code == SENSE_NONE) /* before its bytes are gone */
        assert_memory_equal(out.transport_ids[0].name.bytes, name_text, sizeof name_text - 1);
    free(exact);
    return code;
}

static void test_a_basic_list_is_24_bytes_and_no_other_number(void **state)
{
    uint8_t list[LIST_MAX];

    (void)state;
    put_flags(list, 0);
    for (size_t len = 0; len < 64; len++)
        for (unsigned action = 0; action < 7; action++)
            assert_int_equal(pr_out_parse(&out, (enum pr_out_action)action, list, len, &byte),
                             len == 24 ? SENSE_NONE : SENSE_PARAMETER_LIST_LENGTH_ERROR);
    assert_int_equal(out.key, 0x1122334455667788);
    assert_int_equal(out.action_key, 0x99aabbccddeeff00);
}

static void test_aptpl_and_all_target_ports_count_for_registering_only(void **state)
{
    uint8_t list[LIST_MAX];

    (void)state;
    put_flags(list, 0x05);
    assert_int_equal(pr_out_parse(&out, PR_OUT_REGISTER, list, 24, &byte), SENSE_NONE);
    assert_true(out.is_kept && out.is_for_all_target_ports);
    assert_int_equal(pr_out_parse(&out, PR_OUT_REGISTER_AND_IGNORE, list, 24, &byte), SENSE_NONE);
    assert_true(out.is_kept && out.is_for_all_target_ports);
    assert_int_equal(pr_out_parse(&out, PR_OUT_RESERVE, list, 24, &byte), SENSE_NONE);
    assert_false(out.is_kept || out.is_for_all_target_ports);
}

static void test_spec_i_pt_is_for_register_only(void **state)
{
    uint8_t list[LIST_MAX];

    (void)state;
    put_flags(list, 0x08);
    for (unsigned action = 1; action < 7; action++) {
        assert_int_equal(pr_out_parse(&out, (enum pr_out_action)action, list, 24, &byte),
                         SENSE_INVALID_FIELD_IN_PARAMETER_LIST);
        assert_int_equal(byte, 20);
    }
    /* and an empty list of ports is fine there */
    assert_int_equal(pr_out_parse(&out, PR_OUT_REGISTER, list, 28, &byte), SENSE_NONE);
    assert_int_equal(out.transport_id_count, 0);
    assert_int_equal(pr_out_parse(&out, PR_OUT_REGISTER, list, 24, &byte),
                     SENSE_PARAMETER_LIST_LENGTH_ERROR);
}

static void test_an_initiator_port_is_read(void **state)
{
    (void)state;
    assert_int_equal(parse_one(0x40, port_text, 48), SENSE_NONE);
    assert_int_equal(out.transport_id_count, 1);
    assert_true(out.transport_ids[0].has_isid);
    assert_int_equal(out.transport_ids[0].name.len, strlen(name_text));
    assert_string_equal(out.transport_ids[0].isid, "00023d000001");
}

static void test_an_isid_in_capitals_is_the_same(void **state)
{
    (void)state;
    assert_int_equal(parse_one(0x40, "iqn.1998-01.com.vmware:esx1,i,0x00023D000001", 48),
                     SENSE_NONE);
    assert_string_equal(out.transport_ids[0].isid, "00023d000001");
}

static void test_an_initiator_without_port_is_read(void **state)
{
    (void)state;
    assert_int_equal(parse_one(0x00, name_text, 28), SENSE_NONE);
    assert_false(out.transport_ids[0].has_isid);
}

static void test_a_transport_id_that_does_not_end_is_refused(void **state)
{
    (void)state;
    /* 44 characters in 44 bytes, 27 in 24: no room for the NUL */
    assert_int_equal(parse_one(0x40, port_text, 44), SENSE_INVALID_FIELD_IN_PARAMETER_LIST);
    assert_int_equal(parse_one(0x00, name_text, 24), SENSE_INVALID_FIELD_IN_PARAMETER_LIST);
    assert_int_equal(byte, 28);
}

static void test_a_transport_id_that_is_none_is_refused(void **state)
{
    static const struct {
        uint8_t format;
        const char *text;
        uint16_t room;
    } bad[] = {
        {0x80,  name_text,                                       28}, /* formats that do not exist */
        { 0xc0, name_text,                                       28},
        { 0x03, name_text,                                       28}, /* another protocol */
        { 0x40, name_text,                                       28}, /* no ISID */
        { 0x00, port_text,                                       48}, /* one too many */
        { 0x40, "iqn.1998-01.com.vmware:esx1,i,0x",              36}, /* nothing behind the separator */
        { 0x40, "iqn.1998-01.com.vmware:esx1,i,0x00023d",        44},
        { 0x40, "iqn.1998-01.com.vmware:esx1,i,0x00023d00000g",  48},
        { 0x40, "iqn.1998-01.com.vmware:esx1,i,0x00023d0000010", 48},
        { 0x40, "iqn.1998-01.com.vmware:esx1,t,0x0001",          40},
        { 0x40, ",i,0x00023d000001",                             20},
        { 0x00, "",                                              20},
        { 0x00, "esx1",                                          20},
        { 0x00, "iqn.2001-01.a:b",                               16}, /* ADDITIONAL LENGTH is 20 at least */
        { 0x00, name_text,                                       30}, /* and a multiple of 4 */
    };

    (void)state;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(parse_one(bad[i].format, bad[i].text, bad[i].room),
                         SENSE_INVALID_FIELD_IN_PARAMETER_LIST);
}

static void test_a_list_of_ports_that_is_cut_off_is_refused(void **state)
{
    uint8_t list[LIST_MAX];
    size_t len;

    (void)state;
    put_flags(list, 0x08);
    len = 28 + put_id(list + 28, 0x40, port_text, 48);
    put_be32(list + 24, 52);
    for (size_t cut = 24; cut < len; cut++)
        assert_int_equal(pr_out_parse(&out, PR_OUT_REGISTER, list, cut, &byte),
                         SENSE_PARAMETER_LIST_LENGTH_ERROR);
    put_be32(list + 24, UINT32_MAX);
    assert_int_equal(pr_out_parse(&out, PR_OUT_REGISTER, list, len, &byte),
                     SENSE_PARAMETER_LIST_LENGTH_ERROR);
    put_be32(list + 24, 52);
    put_be16(list + 30, 52); /* a TransportID that is longer than the list */
    assert_int_equal(pr_out_parse(&out, PR_OUT_REGISTER, list, len, &byte),
                     SENSE_INVALID_FIELD_IN_PARAMETER_LIST);
}

static void test_more_ports_than_are_taken_are_refused(void **state)
{
    static uint8_t list[28 + 65 * 52];

    (void)state;
    put_flags(list, 0x08);
    for (unsigned i = 0; i < 65; i++)
        put_id(list + 28 + i * 52, 0x40, port_text, 48);
    put_be32(list + 24, 64 * 52);
    assert_int_equal(pr_out_parse(&out, PR_OUT_REGISTER, list, 28 + 64 * 52, &byte), SENSE_NONE);
    assert_int_equal(out.transport_id_count, 64);
    put_be32(list + 24, 65 * 52);
    assert_int_equal(pr_out_parse(&out, PR_OUT_REGISTER, list, 28 + 65 * 52, &byte),
                     SENSE_INSUFFICIENT_REGISTRATION_RESOURCES);
}

/* SPC-4 6.16.4 */
static void test_a_move_names_one_port(void **state)
{
    uint8_t list[LIST_MAX];

    (void)state;
    put_flags(list, 0);
    list[17] = 0x03;
    put_be16(list + 18, 7);
    put_be32(list + 20, (uint32_t)put_id(list + 24, 0x40, port_text, 48));
    assert_int_equal(pr_out_parse(&out, PR_OUT_REGISTER_AND_MOVE, list, 76, &byte), SENSE_NONE);
    assert_true(out.unregisters && out.is_kept);
    assert_int_equal(out.relative_target_port, 7);
    assert_string_equal(out.transport_ids[0].isid, "00023d000001");
    assert_int_equal(pr_out_parse(&out, PR_OUT_REGISTER_AND_MOVE, list, 75, &byte),
                     SENSE_PARAMETER_LIST_LENGTH_ERROR);

    put_be32(list + 20, 0);
    assert_int_equal(pr_out_parse(&out, PR_OUT_REGISTER_AND_MOVE, list, 24, &byte),
                     SENSE_INVALID_FIELD_IN_PARAMETER_LIST);
    put_be32(list + 20, (uint32_t)put_id(list + 24, 0x00, name_text, 28));
    assert_int_equal(pr_out_parse(&out, PR_OUT_REGISTER_AND_MOVE, list, 56, &byte),
                     SENSE_INVALID_FIELD_IN_PARAMETER_LIST);
}

/* SPC-4 6.15.4: all six types, CRH, SIP_C, ATP_C, TMV */
static void test_capabilities_tell_what_holds(void **state)
{
    const uint8_t kept[] = { 0, 8, 0x1d, 0x81, 0xea, 0x01, 0, 0 };
    const uint8_t cannot[] = { 0, 8, 0x1c, 0x80, 0xea, 0x01, 0, 0 };
    uint8_t bytes[16];
    struct builder told = builder_over(bytes, sizeof bytes);

    (void)state;
    pr_in_capabilities(&told, true, true);
    assert_int_equal(told.len, 8);
    assert_memory_equal(bytes, kept, 8);
    told = builder_over(bytes, sizeof bytes);
    pr_in_capabilities(&told, false, false);
    assert_memory_equal(bytes, cannot, 8);
}

static void test_a_registrant_is_told_with_its_transport_id(void **state)
{
    const struct pr_in_registrant registrant = { .key = 0x0102030405060708,
                                                 .type = PR_EXCLUSIVE_ACCESS,
                                                 .relative_target_port = 1,
                                                 .port = port_text };
    const uint8_t fixed[24] = { 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0,
                                1, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 52 };
    uint8_t bytes[PR_IN_HEADER_BYTES + PR_IN_REGISTRANT_BYTES_MAX];
    struct builder told = builder_over(bytes, sizeof bytes);

    (void)state;
    pr_in_begin(&told, 9);
    pr_in_registrant(&told, &registrant);
    pr_in_end(&told);
    assert_int_equal(told.len, 8 + 24 + 52);
    assert_int_equal(get_be32(bytes), 9);
    assert_int_equal(get_be32(bytes + 4), 24 + 52);
    assert_memory_equal(bytes + 8, fixed, 24);
    assert_int_equal(bytes[32], 0x45);
    assert_int_equal(get_be16(bytes + 34), 48);
    assert_string_equal((char *)bytes + 36, port_text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_basic_list_is_24_bytes_and_no_other_number),
        cmocka_unit_test(test_aptpl_and_all_target_ports_count_for_registering_only),
        cmocka_unit_test(test_spec_i_pt_is_for_register_only),
        cmocka_unit_test(test_an_initiator_port_is_read),
        cmocka_unit_test(test_an_isid_in_capitals_is_the_same),
        cmocka_unit_test(test_an_initiator_without_port_is_read),
        cmocka_unit_test(test_a_transport_id_that_does_not_end_is_refused),
        cmocka_unit_test(test_a_transport_id_that_is_none_is_refused),
        cmocka_unit_test(test_a_list_of_ports_that_is_cut_off_is_refused),
        cmocka_unit_test(test_more_ports_than_are_taken_are_refused),
        cmocka_unit_test(test_a_move_names_one_port),
        cmocka_unit_test(test_capabilities_tell_what_holds),
        cmocka_unit_test(test_a_registrant_is_told_with_its_transport_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
