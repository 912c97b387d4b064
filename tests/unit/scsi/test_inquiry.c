/* standard INQUIRY data and VPD pages, byte for byte: SPC-4 6.6 and 7.8, SBC-3 6.6 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/inquiry.h"
#include "tests/unit/scsi/fake_transport.h"

static uint8_t bytes[VPD_BYTES_MAX];

static struct builder room(void)
{
    memset(bytes, 0xdb, sizeof bytes);
    return builder_over(bytes, sizeof bytes);
}

static void test_standard_data_is_what_esx_knows(void **state)
{
    const struct inquiry_facts facts = { .vendor = "NESTOR",
                                         .product = "VMFS LUN",
                                         .revision = "1" };
    const uint8_t head[] = { 0x00, 0x00, 0x05, 0x12, 91, 0x00, 0x00, 0x02 };
    const uint8_t versions[] = { 0x00, 0xa0, 0x04, 0x60, 0x04, 0xc0, 0x09, 0x60, 0, 0 };
    struct builder out = room();

    (void)state;
    inquiry_standard(&out, &facts);
    assert_int_equal(out.len, 96);
    assert_memory_equal(bytes, head, sizeof head);
    assert_memory_equal(bytes + 8, "NESTOR  VMFS LUN        1   ", 28);
    assert_memory_equal(bytes + 58, versions, sizeof versions);
}

static void test_third_party_copy_bit_follows_the_fact(void **state)
{
    const struct inquiry_facts facts = {
        .vendor = "", .product = "", .revision = "", .has_third_party_copy = true
    };
    struct builder out = room();

    (void)state;
    inquiry_standard(&out, &facts);
    assert_int_equal(bytes[5], 0x08);
}

/* SPC-4 table 306 and 309: one group, active/optimized, one port */
static void test_port_groups_are_told_only_where_the_target_has_them(void **state)
{
    const uint8_t group[12] = { 0x00, 0x01, 0x00, 0x01, 0, 0, 0, 1, 0, 0, 0, 1 };
    uint8_t inquire[6] = { 0x12, 0, 0, 0, 96 }, report[12] = { 0xa3, 0x0a };
    struct fake_task task;
    struct rig rig;

    (void)state;
    rig_open(&rig, &(struct rig_options){ .has_vaai = true });
    rig_clear_unit_attentions(&rig);
    put_be32(report + 6, 255);
    fake_run(&task, &rig, inquire, 96, NULL, 0);
    assert_int_equal(task.in[5], 0x08); /* TPGS 00b, and 3PC as EXTENDED COPY is there */
    fake_free(&task);
    fake_run(&task, &rig, report, 255, NULL, 0);
    assert_int_equal(fake_sense(&task), 0x052000);
    fake_free(&task);
    scsi_target_set_alua(&rig.target, true);
    fake_run(&task, &rig, (const uint8_t[6]){ 0 }, 0, NULL, 0);
    assert_int_equal(fake_sense(&task), 0x063f03);
    fake_free(&task);
    scsi_target_set_alua(&rig.target, true); /* nothing new */
    fake_run(&task, &rig, (const uint8_t[6]){ 0 }, 0, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    fake_run(&task, &rig, inquire, 96, NULL, 0);
    assert_int_equal(task.in[5], 0x18); /* TPGS 01b: implicit */
    fake_free(&task);
    fake_run(&task, &rig, report, 255, NULL, 0);
    assert_int_equal(task.in_bytes, 16);
    assert_int_equal(get_be32(task.in), 12);
    assert_memory_equal(task.in + 4, group, 12);
    fake_free(&task);
    report[1] = 0x2a; /* the extended header */
    fake_run(&task, &rig, report, 255, NULL, 0);
    assert_int_equal(task.in_bytes, 20);
    assert_int_equal(get_be32(task.in), 16);
    assert_int_equal(get_be32(task.in + 4), 0x10000000);
    assert_memory_equal(task.in + 8, group, 12);
    fake_free(&task);
    report[1] = 0x4a;
    fake_run(&task, &rig, report, 255, NULL, 0);
    assert_int_equal(fake_sense(&task), 0x052400);
    fake_free(&task);
    report[1] = 0x0a;
    put_be32(report + 6, 3); /* cut off, and the length is still all of it */
    fake_run(&task, &rig, report, 255, NULL, 0);
    assert_int_equal(task.in_bytes, 3);
    fake_free(&task);
    rig_close(&rig);
}

static void test_device_identification_names_unit_port_and_device(void **state)
{
    static const uint8_t naa[16] = { 0x62, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    const struct vpd_identification_facts facts = {
        .naa = naa,
        .vendor = "NESTOR",
        .serial = "0123456789abcdef",
        .relative_target_port = 3,
        .target_port_group = 1,
        .target_name = "iqn.2026-11.lab:a",
    };
    const uint8_t expected[] = {
        0x00,
        0x83,
        0x00,
        20 + 28 + 8 + 8 + 32 + 24,
        /* NAA, the unit's */
        0x01,
        0x03,
        0x00,
        16,
        0x62,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        10,
        11,
        12,
        13,
        14,
        15,
        /* T10 vendor, the unit's */
        0x02,
        0x01,
        0x00,
        24,
        'N',
        'E',
        'S',
        'T',
        'O',
        'R',
        ' ',
        ' ',
        '0',
        '1',
        '2',
        '3',
        '4',
        '5',
        '6',
        '7',
        '8',
        '9',
        'a',
        'b',
        'c',
        'd',
        'e',
        'f',
        /* relative target port, target port group: the port's, iSCSI */
        0x51,
        0x94,
        0x00,
        4,
        0,
        0,
        0,
        3,
        0x51,
        0x95,
        0x00,
        4,
        0,
        0,
        0,
        1,
        /* SCSI name strings of the port and the device, NUL-padded to four */
        0x53,
        0x98,
        0x00,
        28,
        'i',
        'q',
        'n',
        '.',
        '2',
        '0',
        '2',
        '6',
        '-',
        '1',
        '1',
        '.',
        'l',
        'a',
        'b',
        ':',
        'a',
        ',',
        't',
        ',',
        '0',
        'x',
        '0',
        '0',
        '0',
        '1',
        0,
        0,
        0x53,
        0xa8,
        0x00,
        20,
        'i',
        'q',
        'n',
        '.',
        '2',
        '0',
        '2',
        '6',
        '-',
        '1',
        '1',
        '.',
        'l',
        'a',
        'b',
        ':',
        'a',
        0,
        0,
        0,
    };
    struct builder out = room();

    (void)state;
    vpd_device_identification(&out, &facts);
    assert_false(out.overflow);
    assert_int_equal(out.len, sizeof expected);
    assert_memory_equal(bytes, expected, sizeof expected);
}

static void test_longest_target_name_fits(void **state)
{
    static const uint8_t naa[16];
    char name[224];
    const struct vpd_identification_facts facts = { .naa = naa,
                                                    .vendor = "NESTOR",
                                                    .serial = "0123456789abcdef0123456789abcdef",
                                                    .target_name = name };
    struct builder out = room();

    (void)state;
    memset(name, 'a', 223);
    name[223] = '\0';
    vpd_device_identification(&out, &facts);
    assert_false(out.overflow);
    assert_int_equal(get_be16(bytes + 2), out.len - 4);
}

static void test_extended_inquiry_tells_task_attributes_and_cache(void **state)
{
    struct builder out = room();

    (void)state;
    vpd_extended_inquiry(&out, true);
    assert_int_equal(out.len, 64);
    assert_int_equal(get_be16(bytes + 2), 0x3c);
    assert_int_equal(bytes[5], 0x07);
    assert_int_equal(bytes[6], 0x01);
    out = room();
    vpd_extended_inquiry(&out, false);
    assert_int_equal(bytes[6], 0x00);
}

static void test_block_limits_stand_where_sbc_puts_them(void **state)
{
    const struct vpd_block_limits_facts facts = {
        .is_write_same_zero_refused = true,
        .compare_and_write_max = 128,
        .transfer_granularity = 8,
        .transfer_max = 65535,
        .transfer_optimal = 256,
        .unmap_max = 65536,
        .unmap_descriptors_max = 256,
        .unmap_granularity = 8,
        .write_same_max = 32768,
        .atomic_max = 256,
    };
    const uint8_t expected[64] = {
        0x00, 0xb0, 0x00, 0x3c, 0x01, 0x80, 0x00, 0x08, 0x00, 0x00, 0xff, 0xff,
        0x00, 0x00, 0x01, 0x00, 0,    0,    0,    0,    0x00, 0x01, 0x00, 0x00,
        0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x08, 0x80, 0x00, 0x00, 0x00,
        0,    0,    0,    0,    0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x01, 0x00,
    };
    struct builder out = room();

    (void)state;
    vpd_block_limits(&out, &facts);
    assert_int_equal(out.len, 64);
    assert_memory_equal(bytes, expected, 64);
}

static void test_block_characteristics_and_provisioning(void **state)
{
    const struct vpd_provisioning_facts facts = {
        .has_unmap = true, .has_write_same_16 = true, .reads_zeros = true, .threshold_exponent = 11
    };
    const uint8_t expected[] = { 0x00, 0xb2, 0x00, 0x04, 0x0b, 0xc4, 0x02, 0x00 };
    struct builder out = room();

    (void)state;
    vpd_block_characteristics(&out, 7200, false);
    assert_int_equal(out.len, 64);
    assert_int_equal(get_be16(bytes + 4), 7200);
    assert_int_equal(bytes[7], 0);
    out = room();
    vpd_block_characteristics(&out, 1, true);
    assert_int_equal(bytes[7], 0x40); /* WABEREQ 01b */
    out = room();
    vpd_block_provisioning(&out, &facts);
    assert_int_equal(out.len, sizeof expected);
    assert_memory_equal(bytes, expected, sizeof expected);
}

/* A unit, through the command. */
static void inquire_page(struct fake_task *task, struct rig *rig, uint8_t page)
{
    const uint8_t cdb[6] = { 0x12, 0x01, page, 0x04, 0x00 };

    fake_run(task, rig, cdb, 1024, NULL, 0);
}

static void test_every_listed_page_is_served_and_no_other(void **state)
{
    struct fake_task list, page;
    struct rig rig;

    (void)state;
    rig_open(&rig, &(struct rig_options){ .has_vaai = true });
    inquire_page(&list, &rig, 0x00);
    assert_int_equal(list.answer.status, STATUS_GOOD);
    for (unsigned number = 0; number < 256; number++) {
        bool is_listed = list.in_bytes > 4 && memchr(list.in + 4, (int)number, list.in_bytes - 4);
        inquire_page(&page, &rig, (uint8_t)number);
        if (is_listed) {
            assert_int_equal(page.answer.status, STATUS_GOOD);
            assert_int_equal(page.in[1], number);
            assert_int_equal(get_be16(page.in + 2), page.in_bytes - 4);
        } else {
            assert_int_equal(fake_sense(&page), SENSE_CODE(0x5, 0x24, 0x00));
        }
        fake_free(&page);
    }
    for (unsigned i = 0; i < 6; i++) {
        static const uint8_t always[] = { 0x00, 0x80, 0x83, 0x86, 0xb0, 0xb1 };
        assert_int_equal(list.in[4 + i], always[i]);
    }
    fake_free(&list);
    rig_close(&rig);
}

static void test_page_code_without_evpd_is_refused(void **state)
{
    const uint8_t cdb[6] = { 0x12, 0x00, 0x83, 0, 96 };
    struct fake_task task;
    struct rig rig;

    (void)state;
    rig_open(&rig, &(struct rig_options){ 0 });
    fake_run(&task, &rig, cdb, 96, NULL, 0);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x5, 0x24, 0x00));
    assert_int_equal(task.answer.sense[17], 2);
    fake_free(&task);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_standard_data_is_what_esx_knows),
        cmocka_unit_test(test_third_party_copy_bit_follows_the_fact),
        cmocka_unit_test(test_port_groups_are_told_only_where_the_target_has_them),
        cmocka_unit_test(test_device_identification_names_unit_port_and_device),
        cmocka_unit_test(test_longest_target_name_fits),
        cmocka_unit_test(test_extended_inquiry_tells_task_attributes_and_cache),
        cmocka_unit_test(test_block_limits_stand_where_sbc_puts_them),
        cmocka_unit_test(test_block_characteristics_and_provisioning),
        cmocka_unit_test(test_every_listed_page_is_served_and_no_other),
        cmocka_unit_test(test_page_code_without_evpd_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
