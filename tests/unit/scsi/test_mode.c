/* MODE SENSE data and MODE SELECT parameter lists, SPC-4 6.9 to 6.12 and 7.5 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/mode_pages.h"
#include "target/worker/log.h"
#include "tests/unit/scsi/fake_transport.h"

static const struct mode_facts facts = { .blocks = 0x1234, .block_bytes = 512 };
static uint8_t bytes[MODE_SENSE_BYTES_MAX];
static size_t len;

static enum sense_code sense(const struct mode_facts *of, struct mode_sense_request request)
{
    struct builder out = builder_over(bytes, sizeof bytes);
    enum sense_code code;
    uint16_t byte;

    memset(bytes, 0xdb, sizeof bytes);
    code = mode_sense_build(&out, of, &request, &byte);
    len = out.len;
    return code;
}

static void test_header_6_tells_lengths_and_what_is_protected(void **state)
{
    struct mode_facts protected = facts;
    const uint8_t expected[] = { 4 + 8 + 20 - 1, 0, 0x90, 8, 0, 0, 0x12, 0x34, 0, 0, 0x02, 0x00 };

    (void)state;
    protected.is_write_protected = true;
    assert_int_equal(sense(&protected, (struct mode_sense_request){ .page = 0x08 }), SENSE_NONE);
    assert_int_equal(len, 4 + 8 + 20);
    assert_memory_equal(bytes, expected, sizeof expected);
}

static void test_header_10_has_the_long_descriptor_when_asked(void **state)
{
    const uint8_t expected[] = { 0,    8 + 16 + 12 - 2,
                                 0,    0x10,
                                 0x01, 0,
                                 0,    16,
                                 0,    0,
                                 0,    1,
                                 0,    0,
                                 0,    0,
                                 0,    0,
                                 0,    0,
                                 0,    0,
                                 0x02, 0x00 };
    struct mode_facts large = facts;

    (void)state;
    large.blocks = 1ULL << 32;
    assert_int_equal(
        sense(&large, (struct mode_sense_request){ .is_10 = true, .long_lba = true, .page = 0x0a }),
        SENSE_NONE);
    assert_memory_equal(bytes, expected, sizeof expected);
}

static void test_short_descriptor_of_a_large_unit_is_all_ones(void **state)
{
    const uint8_t expected[] = { 0xff, 0xff, 0xff, 0xff, 0, 0, 0x02, 0x00 };
    struct mode_facts large = facts;

    (void)state;
    large.blocks = 1ULL << 32;
    sense(&large, (struct mode_sense_request){ .page = 0x0a });
    assert_memory_equal(bytes + 4, expected, sizeof expected);
}

static void test_dbd_leaves_the_descriptor_out(void **state)
{
    (void)state;
    sense(&facts, (struct mode_sense_request){ .no_descriptors = true, .page = 0x1c });
    assert_int_equal(bytes[3], 0);
    assert_int_equal(bytes[4], 0x1c);
    assert_int_equal(len, 4 + 12);
}

static void test_all_pages_come_in_ascending_order(void **state)
{
    static const uint8_t pages[] = { 0x01, 0x02, 0x03, 0x04, 0x08, 0x0a, 0x1c };
    size_t at = 4;

    (void)state;
    assert_int_equal(
        sense(&facts,
              (struct mode_sense_request){ .no_descriptors = true, .page = 0x3f, .subpage = 0xff }),
        SENSE_NONE);
    for (unsigned i = 0; i < sizeof pages; i++) {
        assert_true(at + 2 <= len);
        assert_int_equal(bytes[at], pages[i]);
        at += bytes[at + 1] + 2u;
    }
    assert_int_equal(at, len);
}

static void test_wce_says_what_the_cache_does(void **state)
{
    struct mode_facts cached = facts;

    (void)state;
    cached.has_write_cache = true;
    sense(&cached, (struct mode_sense_request){ .no_descriptors = true, .page = 0x08 });
    assert_int_equal(bytes[4 + 2], 0x04);
    sense(&facts, (struct mode_sense_request){ .no_descriptors = true, .page = 0x08 });
    assert_int_equal(bytes[4 + 2], 0x00);
}

static void test_only_d_sense_and_swp_are_changeable(void **state)
{
    (void)state;
    sense(&facts,
          (struct mode_sense_request){ .no_descriptors = true, .page_control = 1, .page = 0x3f });
    for (size_t at = 4; at < len; at += bytes[at + 1] + 2u) {
        for (unsigned i = 2; i < bytes[at + 1] + 2u; i++) {
            uint8_t mask = 0;
            if (bytes[at] == 0x0a)
                mask = i == 2 ? 0x04 : i == 4 ? 0x08 : 0;
            assert_int_equal(bytes[at + i], mask);
        }
    }
}

static void test_default_values_are_told_whatever_holds_now(void **state)
{
    struct mode_facts changed = facts;

    (void)state;
    changed.has_descriptor_sense = changed.is_software_write_protected = true;
    sense(&changed, (struct mode_sense_request){ .no_descriptors = true, .page = 0x0a });
    assert_int_equal(bytes[4 + 2] & 0x04, 0x04);
    assert_int_equal(bytes[4 + 4] & 0x08, 0x08);
    sense(&changed,
          (struct mode_sense_request){ .no_descriptors = true, .page_control = 2, .page = 0x0a });
    assert_int_equal(bytes[4 + 2] & 0x04, 0);
    assert_int_equal(bytes[4 + 4] & 0x08, 0);
}

static void test_saved_values_are_refused(void **state)
{
    (void)state;
    assert_int_equal(sense(&facts, (struct mode_sense_request){ .page_control = 3, .page = 0x0a }),
                     SENSE_CODE(0x5, 0x39, 0x00));
}

static void test_unknown_pages_and_subpages_are_refused(void **state)
{
    (void)state;
    assert_int_equal(sense(&facts, (struct mode_sense_request){ .page = 0x19 }),
                     SENSE_CODE(0x5, 0x24, 0x00));
    assert_int_equal(sense(&facts, (struct mode_sense_request){ .page = 0x0a, .subpage = 1 }),
                     SENSE_CODE(0x5, 0x24, 0x00));
}

/* ---- MODE SELECT ---- */

static struct mode_changes changes;
static uint16_t field_byte;

static enum sense_code take(const uint8_t *list, size_t list_len, bool is_10)
{
    return mode_select_parse(list, list_len, is_10, &facts, &changes, &field_byte);
}

static void test_what_sense_tells_select_takes(void **state)
{
    (void)state;
    sense(&facts, (struct mode_sense_request){ .page = 0x3f });
    assert_int_equal(take(bytes, len, false), SENSE_NONE);
    sense(&facts, (struct mode_sense_request){ .is_10 = true, .long_lba = true, .page = 0x3f });
    assert_int_equal(take(bytes, len, true), SENSE_NONE);
}

static void test_select_changes_d_sense_and_swp(void **state)
{
    (void)state;
    sense(&facts, (struct mode_sense_request){ .no_descriptors = true, .page = 0x0a });
    bytes[4 + 2] |= 0x04;
    bytes[4 + 4] |= 0x08;
    assert_int_equal(take(bytes, len, false), SENSE_NONE);
    assert_true(changes.has_descriptor_sense);
    assert_true(changes.is_software_write_protected);
}

static void test_select_of_another_field_is_refused_at_its_byte(void **state)
{
    (void)state;
    sense(&facts, (struct mode_sense_request){ .no_descriptors = true, .page = 0x08 });
    bytes[4 + 2] ^= 0x04; /* WCE is the configuration's */
    assert_int_equal(take(bytes, len, false), SENSE_CODE(0x5, 0x26, 0x00));
    assert_int_equal(field_byte, 6);
}

static void test_select_of_another_block_size_is_refused(void **state)
{
    (void)state;
    sense(&facts, (struct mode_sense_request){ .page = 0x0a });
    bytes[4 + 6] = 0x10;
    assert_int_equal(take(bytes, len, false), SENSE_CODE(0x5, 0x26, 0x00));
}

static void test_every_cut_list_is_a_length_error_or_ends_at_a_page(void **state)
{
    (void)state;
    sense(&facts, (struct mode_sense_request){ .page = 0x0a });
    for (size_t cut = 0; cut < len; cut++) {
        enum sense_code code = take(bytes, cut, false);
        if (cut == 4 + 8)
            assert_int_equal(code, SENSE_NONE); /* no page at all */
        else
            assert_int_equal(code, SENSE_CODE(0x5, 0x1a, 0x00));
    }
}

static void test_select_of_a_wrong_page_length_is_refused(void **state)
{
    (void)state;
    sense(&facts, (struct mode_sense_request){ .no_descriptors = true, .page = 0x0a });
    bytes[5] = 0x08;
    assert_int_equal(take(bytes, len, false), SENSE_CODE(0x5, 0x26, 0x00));
    assert_int_equal(field_byte, 5);
}

/* ---- as a host comes up against it: every bit of every page ---- */

static struct rig rig;

static int setup(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR); /* refusals are what is tested */
    rig_open(&rig, &(struct rig_options){ .has_vaai = true });
    rig_clear_unit_attentions(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

struct lists {
    size_t header_bytes, len;
    uint8_t current[MODE_SENSE_BYTES_MAX], changeable[MODE_SENSE_BYTES_MAX];
};

static size_t sense_all(bool is_10, uint8_t page_control, uint8_t list[MODE_SENSE_BYTES_MAX])
{
    enum { DBD = 0x08, ALL_PAGES = 0x3f };
    uint8_t cdb[10] = { is_10 ? 0x5a : 0x1a, DBD, (uint8_t)(page_control << 6 | ALL_PAGES) };
    struct fake_task task;
    size_t came;

    cdb[is_10 ? 8 : 4] = 255;
    fake_run(&task, &rig, cdb, 255, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    came = task.in_bytes;
    memcpy(list, task.in, came);
    fake_free(&task);
    return came;
}

/* The header of what is sent back has no length, and says nothing that is the target's to say. */
static struct lists sense_lists(bool is_10)
{
    struct lists lists = { .header_bytes = is_10 ? 8 : 4 };

    lists.len = sense_all(is_10, 0, lists.current);
    assert_int_equal(sense_all(is_10, 1, lists.changeable), lists.len);
    memset(lists.current, 0, lists.header_bytes);
    return lists;
}

/* 0 when it is GOOD, or the sense; *pointer: the byte of the list that it blames, -1: none. */
static unsigned select_list(bool is_10, const uint8_t *list, size_t list_bytes, int *pointer)
{
    enum { PAGE_FORMAT = 0x10 };
    uint8_t cdb[10] = { is_10 ? 0x55 : 0x15, PAGE_FORMAT };
    struct fake_task task;
    unsigned result;

    cdb[is_10 ? 8 : 4] = (uint8_t)list_bytes;
    fake_run(&task, &rig, cdb, 0, list, (uint32_t)list_bytes);
    result = fake_sense(&task);
    *pointer = task.answer.sense[15] == 0x80 ? get_be16(task.answer.sense + 16) : -1;
    fake_free(&task);
    return result;
}

/* Sends the header and one page with a bit turned over. True: that bit can be changed. */
static bool turn_over(bool is_10, const struct lists *lists, size_t page, size_t at, uint8_t flag)
{
    size_t page_bytes = lists->current[page + 1] + 2u, head = lists->header_bytes;
    uint8_t list[MODE_SENSE_BYTES_MAX] = { 0 }, now[MODE_SENSE_BYTES_MAX];
    bool is_changeable = at > page + 1 && lists->changeable[at] & flag; /* not the length */
    int pointer;

    memcpy(list + head, lists->current + page, page_bytes);
    list[head + at - page] ^= flag;
    unsigned sense = select_list(is_10, list, head + page_bytes, &pointer);
    if (sense != (is_changeable ? 0 : SENSE_INVALID_FIELD_IN_PARAMETER_LIST))
        fail_msg("page %02x byte %zu flag %02x: %05x", lists->current[page], at - page, flag,
                 sense);
    if (!is_changeable)
        assert_int_equal(pointer, head + at - page);
    sense_all(is_10, 0, now);
    assert_int_equal(now[at], lists->current[at] ^ (is_changeable ? flag : 0));
    if (is_changeable) {
        list[head + at - page] ^= flag;
        assert_int_equal(select_list(is_10, list, head + page_bytes, &pointer), 0);
    }
    return is_changeable;
}

static void test_every_changeable_bit_is_changed_and_every_other_is_refused(void **state)
{
    unsigned changeable = 0;

    (void)state;
    for (unsigned is_10 = 0; is_10 < 2; is_10++) {
        struct lists lists = sense_lists(is_10);
        for (size_t page = lists.header_bytes; page < lists.len;
             page += lists.current[page + 1] + 2u) {
            size_t end = page + lists.current[page + 1] + 2u;
            assert_int_equal(lists.changeable[page], lists.current[page]);
            for (size_t bit = (page + 1) * 8; bit < end * 8; bit++) { /* the length too */
                uint8_t flag = (uint8_t)(1u << bit % 8);
                changeable += turn_over(is_10, &lists, page, bit / 8, flag);
            }
        }
    }
    assert_int_equal(changeable, 2 * 2); /* D_SENSE and SWP, by both commands */
}

/* NUMBER OF LOGICAL BLOCKS may be 0 or all ones too; the block size is what it is. */
static void test_every_bit_of_the_block_descriptor_is_refused(void **state)
{
    uint8_t list[4 + 8] = { [3] = 8 };
    int pointer;

    (void)state;
    put_be32(list + 4, RIG_BLOCKS);
    put_be24(list + 9, RIG_BLOCK_BYTES);
    assert_int_equal(select_list(false, list, sizeof list, &pointer), 0);
    for (unsigned bit = 4 * 8; bit < sizeof list * 8; bit++) {
        uint8_t flag = (uint8_t)(1u << bit % 8);
        list[bit / 8] ^= flag;
        bool is_same = get_be32(list + 4) == 0 || bit / 8 == 8; /* byte 8 is reserved */
        assert_int_equal(select_list(false, list, sizeof list, &pointer),
                         is_same ? 0 : SENSE_INVALID_FIELD_IN_PARAMETER_LIST);
        list[bit / 8] ^= flag;
    }
}

/* What a reset goes back to is what holds before anybody has changed it. */
static void test_defaults_are_what_a_unit_begins_with(void **state)
{
    uint8_t first[MODE_SENSE_BYTES_MAX], defaults[MODE_SENSE_BYTES_MAX];
    size_t all = sense_all(false, 0, first);

    (void)state;
    assert_int_equal(sense_all(false, 2, defaults), all);
    assert_memory_equal(defaults, first, all);
}

/* DPOFUA and WP of the header: what they say of reads and writes is so. */
static void test_the_header_tells_of_fua_and_of_write_protection(void **state)
{
    const uint8_t read[10] = { 0x28, 0x18, [8] = 1 }, write[10] = { 0x2a, 0x18, [8] = 1 };
    uint8_t list[MODE_SENSE_BYTES_MAX], block[RIG_BLOCK_BYTES] = { 0 };
    struct fake_task task;

    (void)state;
    for (unsigned is_protected = 0; is_protected < 2; is_protected++) {
        atomic_store(&rig.lu->is_write_protected, is_protected);
        sense_all(false, 0, list);
        assert_int_equal(list[2], 0x10 | (is_protected ? 0x80 : 0));
        fake_run(&task, &rig, read, RIG_BLOCK_BYTES, NULL, 0);
        assert_int_equal(task.answer.status, STATUS_GOOD);
        fake_free(&task);
        fake_run(&task, &rig, write, 0, block, sizeof block);
        assert_int_equal(fake_sense(&task), is_protected ? SENSE_WRITE_PROTECTED : 0);
        fake_free(&task);
    }
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_6_tells_lengths_and_what_is_protected),
        cmocka_unit_test(test_header_10_has_the_long_descriptor_when_asked),
        cmocka_unit_test(test_short_descriptor_of_a_large_unit_is_all_ones),
        cmocka_unit_test(test_dbd_leaves_the_descriptor_out),
        cmocka_unit_test(test_all_pages_come_in_ascending_order),
        cmocka_unit_test(test_wce_says_what_the_cache_does),
        cmocka_unit_test(test_only_d_sense_and_swp_are_changeable),
        cmocka_unit_test(test_default_values_are_told_whatever_holds_now),
        cmocka_unit_test(test_saved_values_are_refused),
        cmocka_unit_test(test_unknown_pages_and_subpages_are_refused),
        cmocka_unit_test(test_what_sense_tells_select_takes),
        cmocka_unit_test(test_select_changes_d_sense_and_swp),
        cmocka_unit_test(test_select_of_another_field_is_refused_at_its_byte),
        cmocka_unit_test(test_select_of_another_block_size_is_refused),
        cmocka_unit_test(test_every_cut_list_is_a_length_error_or_ends_at_a_page),
        cmocka_unit_test(test_select_of_a_wrong_page_length_is_refused),
        WITH_RIG(test_every_changeable_bit_is_changed_and_every_other_is_refused),
        WITH_RIG(test_every_bit_of_the_block_descriptor_is_refused),
        WITH_RIG(test_defaults_are_what_a_unit_begins_with),
        WITH_RIG(test_the_header_tells_of_fua_and_of_write_protection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
