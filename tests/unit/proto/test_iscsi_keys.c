#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/iscsi_keys.h"

/* One negotiation and what it answered last. */
struct talk {
    struct negotiation n;
    char answer[512];
    enum login_status status;
    enum key_outcome outcome;
};

static struct talk talk_begin(void)
{
    struct talk t = { .status = LOGIN_SUCCESS };

    negotiation_init(&t.n, "None");
    return t;
}

/* Says key=value in that phase; t->answer is then "Key=value" without its NUL, or "". */
static void say_in(struct talk *t, enum key_phase phase, bool is_leading, const char *key,
                   const char *value)
{
    struct builder out = builder_over(t->answer, sizeof t->answer);

    memset(t->answer, 0, sizeof t->answer);
    t->status = LOGIN_SUCCESS;
    t->outcome = negotiation_take(&t->n, slice_str(key), slice_str(value), phase, is_leading, &out,
                                  &t->status);
    assert_false(out.overflow);
    assert_int_equal(t->answer[out.len], 0);
}

static void say(struct talk *t, const char *key, const char *value)
{
    say_in(t, KEY_IN_OPERATIONAL, true, key, value);
}

static void expect_answer(struct talk *t, const char *answer)
{
    assert_string_equal(t->answer, answer);
    assert_int_equal(t->outcome, KEY_DONE);
    assert_int_equal(t->status, LOGIN_SUCCESS);
}

static void expect_fatal(struct talk *t, enum login_status status)
{
    assert_int_equal(t->outcome, KEY_FATAL);
    assert_int_equal(t->status, status);
}

/* Range and default of each key as RFC 7143 13.x gives them. */
static void test_table_has_the_rfcs_ranges_and_defaults(void **state)
{
    static const struct {
        enum key_id id;
        uint32_t min, max, standard;
    } rfc[] = {
        {KEY_MAX_CONNECTIONS,               1,   65535,    1     },
        { KEY_INITIAL_R2T,                  0,   1,        1     },
        { KEY_IMMEDIATE_DATA,               0,   1,        1     },
        { KEY_MAX_RECV_DATA_SEGMENT_LENGTH, 512, 16777215, 8192  },
        { KEY_MAX_BURST_LENGTH,             512, 16777215, 262144},
        { KEY_FIRST_BURST_LENGTH,           512, 16777215, 65536 },
        { KEY_DEFAULT_TIME2WAIT,            0,   3600,     2     },
        { KEY_DEFAULT_TIME2RETAIN,          0,   3600,     20    },
        { KEY_MAX_OUTSTANDING_R2T,          1,   65535,    1     },
        { KEY_DATA_PDU_IN_ORDER,            0,   1,        1     },
        { KEY_DATA_SEQUENCE_IN_ORDER,       0,   1,        1     },
        { KEY_ERROR_RECOVERY_LEVEL,         0,   2,        0     },
        { KEY_ISCSI_PROTOCOL_LEVEL,         0,   31,       1     },
    };
    struct talk t = talk_begin();

    (void)state;
    for (size_t i = 0; i < sizeof rfc / sizeof rfc[0]; i++) {
        const struct key_row *row = &key_table[rfc[i].id];
        assert_int_equal(row->min, rfc[i].min);
        assert_int_equal(row->max, rfc[i].max);
        assert_int_equal(row->standard, rfc[i].standard);
        assert_int_equal(t.n.agreed[rfc[i].id], rfc[i].standard);
        assert_int_equal(t.n.mine[rfc[i].id], row->mine);
        assert_true(row->mine >= row->min && row->mine <= row->max);
    }
}

static void test_every_row_is_complete_and_found_by_its_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct key_row *row = &key_table[i];
        assert_non_null(row->name);
        assert_ptr_equal(key_find(slice_str(row->name)), row);
        assert_true(row->senders != 0 && row->phases != 0);
        assert_int_equal(row->list != NULL, row->rule == KEY_RULE_LIST);
        assert_int_equal(row->refusal != NULL, row->rule == KEY_RULE_REFUSED);
    }
    assert_null(key_find(slice_str("headerdigest")));
    assert_null(key_find(slice_str("HeaderDiges")));
    assert_null(key_find(slice_of("", 0)));
}

static void test_number_is_the_smaller_or_the_larger_as_the_rule_says(void **state)
{
    struct talk t = talk_begin();

    (void)state;
    say(&t, "MaxBurstLength", "16776192");
    expect_answer(&t, "MaxBurstLength=1048576");
    say(&t, "FirstBurstLength", "0x10000");
    expect_answer(&t, "FirstBurstLength=65536");
    say(&t, "MaxOutstandingR2T", "64");
    expect_answer(&t, "MaxOutstandingR2T=16");
    say(&t, "MaxConnections", "8");
    expect_answer(&t, "MaxConnections=1");
    say(&t, "DefaultTime2Wait", "0");
    expect_answer(&t, "DefaultTime2Wait=2");
    say(&t, "DefaultTime2Retain", "20");
    expect_answer(&t, "DefaultTime2Retain=0");
    say(&t, "ErrorRecoveryLevel", "2");
    expect_answer(&t, "ErrorRecoveryLevel=0");
    say(&t, "iSCSIProtocolLevel", "2");
    expect_answer(&t, "iSCSIProtocolLevel=1");

    assert_int_equal(t.n.theirs[KEY_MAX_BURST_LENGTH], 16776192);
    assert_int_equal(t.n.agreed[KEY_MAX_BURST_LENGTH], 1048576);
    assert_int_equal(t.n.agreed[KEY_DEFAULT_TIME2WAIT], 2);
}

static void test_booleans_follow_and_and_or(void **state)
{
    static const struct {
        const char *key, *value, *answer;
    } rows[] = {
        {"InitialR2T",           "No",  "InitialR2T=No"          },
        { "InitialR2T",          "Yes", "InitialR2T=Yes"         },
        { "ImmediateData",       "No",  "ImmediateData=No"       },
        { "ImmediateData",       "Yes", "ImmediateData=Yes"      },
        { "DataPDUInOrder",      "No",  "DataPDUInOrder=Yes"     },
        { "DataSequenceInOrder", "No",  "DataSequenceInOrder=Yes"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct talk t = talk_begin();
        say(&t, rows[i].key, rows[i].value);
        expect_answer(&t, rows[i].answer);
    }
}

static void test_caller_may_want_something_else_than_the_table(void **state)
{
    struct talk t = talk_begin();

    (void)state;
    t.n.mine[KEY_IMMEDIATE_DATA] = 0;
    t.n.mine[KEY_INITIAL_R2T] = 1;
    t.n.mine[KEY_MAX_BURST_LENGTH] = 4096;
    say(&t, "ImmediateData", "Yes");
    expect_answer(&t, "ImmediateData=No");
    say(&t, "InitialR2T", "No");
    expect_answer(&t, "InitialR2T=Yes");
    say(&t, "MaxBurstLength", "262144");
    expect_answer(&t, "MaxBurstLength=4096");
}

static void test_digest_is_the_first_of_the_offer_that_we_have(void **state)
{
    static const struct {
        const char *offer, *answer;
        uint32_t agreed;
    } rows[] = {
        {"None",                      "HeaderDigest=None",   KEY_DIGEST_NONE  },
        { "CRC32C",                   "HeaderDigest=CRC32C", KEY_DIGEST_CRC32C},
        { "CRC32C,None",              "HeaderDigest=CRC32C", KEY_DIGEST_CRC32C},
        { "None,CRC32C",              "HeaderDigest=None",   KEY_DIGEST_NONE  },
        { "X-com.example.sum,CRC32C", "HeaderDigest=CRC32C", KEY_DIGEST_CRC32C},
        { "CRC64",                    "HeaderDigest=Reject", KEY_DIGEST_NONE  },
        { "crc32c",                   "HeaderDigest=Reject", KEY_DIGEST_NONE  },
        { "",                         "HeaderDigest=Reject", KEY_DIGEST_NONE  },
        { ",,",                       "HeaderDigest=Reject", KEY_DIGEST_NONE  },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct talk t = talk_begin();
        say(&t, "HeaderDigest", rows[i].offer);
        expect_answer(&t, rows[i].answer);
        assert_int_equal(t.n.agreed[KEY_HEADER_DIGEST], rows[i].agreed);
    }
}

static void test_task_reporting_is_only_rfc3720(void **state)
{
    struct talk t = talk_begin();

    (void)state;
    say(&t, "TaskReporting", "FastAbort,ResponseFence,RFC3720");
    expect_answer(&t, "TaskReporting=RFC3720");
    t = talk_begin();
    say(&t, "TaskReporting", "FastAbort");
    expect_answer(&t, "TaskReporting=Reject");
    assert_int_equal(t.n.agreed[KEY_TASK_REPORTING], 0);
}

static void test_bad_value_is_rejected_and_the_default_stays(void **state)
{
    static const struct {
        enum key_id id;
        const char *value;
    } rows[] = {
        {KEY_MAX_BURST_LENGTH,              "511"                    },
        { KEY_MAX_BURST_LENGTH,             "16777216"               },
        { KEY_MAX_BURST_LENGTH,             "99999999999999999999999"},
        { KEY_MAX_BURST_LENGTH,             ""                       },
        { KEY_MAX_BURST_LENGTH,             "0262144"                },
        { KEY_MAX_BURST_LENGTH,             "262144 "                },
        { KEY_MAX_BURST_LENGTH,             "-1"                     },
        { KEY_FIRST_BURST_LENGTH,           "4294967808"             }, /* 512 in its low 32 bits */
        { KEY_ERROR_RECOVERY_LEVEL,         "3"                      },
        { KEY_DEFAULT_TIME2WAIT,            "3601"                   },
        { KEY_MAX_CONNECTIONS,              "0"                      },
        { KEY_MAX_OUTSTANDING_R2T,          "65536"                  },
        { KEY_ISCSI_PROTOCOL_LEVEL,         "32"                     },
        { KEY_MAX_RECV_DATA_SEGMENT_LENGTH, "511"                    },
        { KEY_MAX_RECV_DATA_SEGMENT_LENGTH, "0x1000000"              },
        { KEY_INITIAL_R2T,                  "yes"                    },
        { KEY_INITIAL_R2T,                  "Yes,No"                 },
        { KEY_IMMEDIATE_DATA,               "1"                      },
        { KEY_IMMEDIATE_DATA,               ""                       },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct talk t = talk_begin();
        const char *name = key_table[rows[i].id].name;
        char answer[64] = { 0 };
        struct builder expected = builder_over(answer, sizeof answer - 1);

        builder_bytes(&expected, name, strlen(name));
        builder_bytes(&expected, "=Reject", 7);
        say(&t, name, rows[i].value);
        expect_answer(&t, answer);
        assert_int_equal(t.n.agreed[rows[i].id], key_table[rows[i].id].standard);
    }
}

static void test_unknown_keys_are_not_understood(void **state)
{
    struct talk t = talk_begin();

    (void)state;
    say(&t, "X-com.cisco.protocol", "draft20");
    expect_answer(&t, "X-com.cisco.protocol=NotUnderstood");
    say(&t, "X#NodeArchitecture", "x");
    expect_answer(&t, "X#NodeArchitecture=NotUnderstood");
    say(&t, "Frobnicate", "Yes");
    expect_answer(&t, "Frobnicate=NotUnderstood");
    say_in(&t, KEY_IN_SECURITY, true, "RDMAExtensions", "Yes");
    expect_answer(&t, "RDMAExtensions=NotUnderstood");
}

static void test_marker_keys_are_refused_but_understood(void **state)
{
    struct talk t = talk_begin();

    (void)state;
    say(&t, "IFMarker", "No");
    expect_answer(&t, "IFMarker=No");
    say(&t, "OFMarker", "Yes");
    expect_answer(&t, "OFMarker=No");
    say(&t, "IFMarkInt", "2048~65535");
    expect_answer(&t, "IFMarkInt=Reject");
    say(&t, "OFMarkInt", "2048");
    expect_answer(&t, "OFMarkInt=Reject");
}

static void test_a_key_offered_twice_is_fatal(void **state)
{
    (void)state;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct key_row *row = &key_table[i];
        enum key_phase phase =
            row->phases & KEY_IN_OPERATIONAL ? KEY_IN_OPERATIONAL : KEY_IN_SECURITY;
        const char *value = i == KEY_SESSION_TYPE                             ? "Normal"
                            : i == KEY_INITIATOR_NAME || i == KEY_TARGET_NAME ? "iqn.2001-04.com.a"
                            : row->rule == KEY_RULE_LIST                      ? "RFC3720,None"
                            : row->is_number                                  ? "1024"
                                                                              : "Yes";
        struct talk t = talk_begin();

        if (!(row->senders & KEY_BY_INITIATOR) || !(row->phases & phase))
            continue;
        say_in(&t, phase, true, row->name, value);
        assert_int_not_equal(t.outcome, KEY_FATAL);
        say_in(&t, phase, true, row->name, value);
        expect_fatal(&t, LOGIN_INITIATOR_ERROR);
        assert_string_equal(t.answer, "");
    }
}

static void test_each_key_has_its_stage(void **state)
{
    struct talk t = talk_begin();

    (void)state;
    say_in(&t, KEY_IN_SECURITY, true, "MaxBurstLength", "65536");
    expect_fatal(&t, LOGIN_INITIATOR_ERROR);
    say_in(&t, KEY_IN_OPERATIONAL, true, "AuthMethod", "None");
    expect_fatal(&t, LOGIN_INITIATOR_ERROR);
    say_in(&t, KEY_IN_OPERATIONAL, true, "CHAP_A", "5");
    expect_fatal(&t, LOGIN_INITIATOR_ERROR);
    say_in(&t, KEY_IN_OPERATIONAL, true, "SendTargets", "All");
    expect_fatal(&t, LOGIN_INITIATOR_ERROR);
    say_in(&t, KEY_IN_FULL_FEATURE, false, "MaxBurstLength", "65536");
    expect_fatal(&t, LOGIN_INITIATOR_ERROR);
    say_in(&t, KEY_IN_FULL_FEATURE, false, "HeaderDigest", "CRC32C");
    expect_fatal(&t, LOGIN_INITIATOR_ERROR);
    say_in(&t, KEY_IN_FULL_FEATURE, false, "InitiatorName", "iqn.2001-04.com.a");
    expect_fatal(&t, LOGIN_INITIATOR_ERROR);
    assert_int_equal(t.n.initiator_name.len, 0);
}

static void test_names_come_in_either_stage_but_only_at_first(void **state)
{
    struct talk t = talk_begin();

    (void)state;
    say_in(&t, KEY_IN_SECURITY, true, "InitiatorName", "iqn.1998-01.com.vmware:esx1");
    expect_answer(&t, "");
    say_in(&t, KEY_IN_SECURITY, true, "SessionType", "Normal");
    expect_answer(&t, "");
    say_in(&t, KEY_IN_OPERATIONAL, false, "TargetName", "iqn.2026-11.lab.nestor:vmfs");
    expect_fatal(&t, LOGIN_INITIATOR_ERROR);
    assert_string_equal(t.n.initiator_name.text, "iqn.1998-01.com.vmware:esx1");
    assert_int_equal(t.n.initiator_name.len, 27);
    assert_string_equal(t.n.session_type.text, "Normal");
    assert_int_equal(t.n.target_name.len, 0);
}

static void test_a_name_that_is_none_ends_the_login(void **state)
{
    struct talk t = talk_begin();

    (void)state;
    say(&t, "InitiatorName", "esx1");
    expect_fatal(&t, LOGIN_INITIATOR_ERROR);
    t = talk_begin();
    say(&t, "InitiatorName", "");
    expect_fatal(&t, LOGIN_INITIATOR_ERROR);
    t = talk_begin();
    say(&t, "TargetName", "no such name");
    expect_fatal(&t, LOGIN_NOT_FOUND);
}

static void test_session_type_is_discovery_or_normal(void **state)
{
    struct talk t = talk_begin();

    (void)state;
    say(&t, "SessionType", "Discovery");
    expect_answer(&t, "");
    assert_true(t.n.is_discovery);
    t = talk_begin();
    say(&t, "SessionType", "discovery");
    expect_fatal(&t, LOGIN_SESSION_TYPE_NOT_SUPPORTED);
    assert_false(t.n.is_discovery);
}

static void test_alias_that_cannot_be_shown_is_dropped_quietly(void **state)
{
    struct talk t = talk_begin();

    (void)state;
    say(&t, "InitiatorAlias", "esx\x1b[2J");
    expect_answer(&t, "");
    assert_int_equal(t.n.initiator_alias.len, 0);
    t = talk_begin();
    say(&t, "InitiatorAlias", "Rack 7, left");
    expect_answer(&t, "");
    assert_string_equal(t.n.initiator_alias.text, "Rack 7, left");
}

static void test_longest_alias_fits_and_a_longer_one_is_dropped(void **state)
{
    char alias[KEY_TEXT_MAX + 2];
    struct talk t = talk_begin();

    (void)state;
    memset(alias, 'a', sizeof alias);
    alias[KEY_TEXT_MAX] = 0;
    say(&t, "InitiatorAlias", alias);
    assert_string_equal(t.n.initiator_alias.text, alias);
    t = talk_begin();
    alias[KEY_TEXT_MAX] = 'a';
    alias[KEY_TEXT_MAX + 1] = 0;
    say(&t, "InitiatorAlias", alias);
    expect_answer(&t, "");
    assert_int_equal(t.n.initiator_alias.len, 0);
}

static void test_normal_session_keys_are_irrelevant_in_discovery(void **state)
{
    static const char *const normal[] = { "MaxConnections",   "InitialR2T",
                                          "ImmediateData",    "MaxBurstLength",
                                          "FirstBurstLength", "MaxOutstandingR2T",
                                          "DataPDUInOrder",   "DataSequenceInOrder",
                                          "TaskReporting",    "iSCSIProtocolLevel" };
    struct talk t = talk_begin();

    (void)state;
    say(&t, "SessionType", "Discovery");
    for (size_t i = 0; i < sizeof normal / sizeof normal[0]; i++) {
        say(&t, normal[i], "1");
        assert_int_equal(t.outcome, KEY_DONE);
        assert_memory_equal(t.answer, normal[i], strlen(normal[i]));
        assert_string_equal(t.answer + strlen(normal[i]), "=Irrelevant");
    }
    say(&t, "DefaultTime2Wait", "3");
    expect_answer(&t, "DefaultTime2Wait=3");
    say(&t, "ErrorRecoveryLevel", "0");
    expect_answer(&t, "ErrorRecoveryLevel=0");
    say(&t, "HeaderDigest", "None");
    expect_answer(&t, "HeaderDigest=None");
}

static void test_a_targets_own_keys_are_rejected_from_an_initiator(void **state)
{
    struct talk t = talk_begin();

    (void)state;
    say(&t, "TargetAlias", "mine now");
    expect_answer(&t, "TargetAlias=Reject");
    say(&t, "TargetPortalGroupTag", "2");
    expect_answer(&t, "TargetPortalGroupTag=Reject");
    say(&t, "TargetAddress", "192.0.2.1");
    expect_answer(&t, "TargetAddress=Reject");
}

static void test_answers_to_what_we_declared_change_nothing(void **state)
{
    static const char *const words[] = { "Irrelevant", "Reject", "NotUnderstood", "None" };
    struct talk t = talk_begin();

    (void)state;
    say(&t, "MaxRecvDataSegmentLength", "131072");
    expect_answer(&t, "");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        say(&t, "MaxRecvDataSegmentLength", words[i]);
        expect_answer(&t, "");
        say(&t, "TargetPortalGroupTag", words[i]);
        expect_answer(&t, "");
        say(&t, "TargetAlias", words[i]);
        expect_answer(&t, "");
    }
    assert_int_equal(t.n.agreed[KEY_MAX_RECV_DATA_SEGMENT_LENGTH], 131072);
}

static void test_max_recv_data_segment_length_is_declared_by_each_side(void **state)
{
    struct talk t = talk_begin();
    struct builder out = builder_over(t.answer, sizeof t.answer);

    (void)state;
    assert_int_equal(t.n.agreed[KEY_MAX_RECV_DATA_SEGMENT_LENGTH], 8192);
    negotiation_declare(&t.n, &out);
    assert_true(
        slice_equal(slice_of(t.answer, out.len), slice_of("MaxRecvDataSegmentLength=262144", 32)));
    negotiation_declare(&t.n, &out); /* once */
    assert_int_equal(out.len, 32);
    say(&t, "MaxRecvDataSegmentLength", "131072");
    expect_answer(&t, "");
    assert_int_equal(t.n.theirs[KEY_MAX_RECV_DATA_SEGMENT_LENGTH], 131072);
    assert_int_equal(t.n.agreed[KEY_MAX_RECV_DATA_SEGMENT_LENGTH], 131072);
    assert_int_equal(t.n.mine[KEY_MAX_RECV_DATA_SEGMENT_LENGTH], 262144);
}

static void test_nothing_is_declared_in_a_discovery_session(void **state)
{
    struct talk t = talk_begin();
    struct builder out = builder_over(t.answer, sizeof t.answer);

    (void)state;
    say(&t, "SessionType", "Discovery");
    negotiation_declare(&t.n, &out);
    assert_int_equal(out.len, 0);
}

static void test_full_feature_phase_takes_a_new_declaration_each_time(void **state)
{
    struct talk t = talk_begin();

    (void)state;
    say(&t, "MaxRecvDataSegmentLength", "131072");
    say_in(&t, KEY_IN_FULL_FEATURE, false, "MaxRecvDataSegmentLength", "65536");
    expect_answer(&t, "");
    say_in(&t, KEY_IN_FULL_FEATURE, false, "MaxRecvDataSegmentLength", "4096");
    expect_answer(&t, "");
    assert_int_equal(t.n.agreed[KEY_MAX_RECV_DATA_SEGMENT_LENGTH], 4096);
    say_in(&t, KEY_IN_FULL_FEATURE, false, "MaxRecvDataSegmentLength", "1");
    expect_answer(&t, "MaxRecvDataSegmentLength=Reject");
    assert_int_equal(t.n.agreed[KEY_MAX_RECV_DATA_SEGMENT_LENGTH], 4096);
}

static void test_send_targets_goes_to_the_text_handler(void **state)
{
    struct talk t = talk_begin();

    (void)state;
    say_in(&t, KEY_IN_FULL_FEATURE, false, "SendTargets", "All");
    assert_int_equal(t.outcome, KEY_FOR_TEXT);
    assert_string_equal(t.answer, "");
    say_in(&t, KEY_IN_FULL_FEATURE, false, "SendTargets", "");
    assert_int_equal(t.outcome, KEY_FOR_TEXT);
}

static void test_auth_method_follows_the_initiators_order(void **state)
{
    static const struct {
        const char *ours, *offer, *answer;
        enum key_auth agreed;
    } rows[] = {
        {"CHAP",       "CHAP,None",          "AuthMethod=CHAP", KEY_AUTH_CHAP},
        { "CHAP",      "None,CHAP",          "AuthMethod=CHAP", KEY_AUTH_CHAP},
        { "None",      "CHAP,None",          "AuthMethod=None", KEY_AUTH_NONE},
        { "CHAP,None", "None,CHAP",          "AuthMethod=None", KEY_AUTH_NONE},
        { "CHAP,None", "KRB5,SRP,CHAP,None", "AuthMethod=CHAP", KEY_AUTH_CHAP},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct talk t = talk_begin();
        negotiation_init(&t.n, rows[i].ours);
        assert_int_equal(t.n.agreed[KEY_AUTH_METHOD], KEY_AUTH_NOT_NEGOTIATED);
        say_in(&t, KEY_IN_SECURITY, true, "AuthMethod", rows[i].offer);
        expect_answer(&t, rows[i].answer);
        assert_int_equal(t.n.agreed[KEY_AUTH_METHOD], rows[i].agreed);
    }
}

static void test_no_common_auth_method_ends_the_login(void **state)
{
    struct talk t = talk_begin();

    (void)state;
    negotiation_init(&t.n, "CHAP");
    say_in(&t, KEY_IN_SECURITY, true, "AuthMethod", "None");
    expect_fatal(&t, LOGIN_AUTHENTICATION_FAILURE);
    assert_string_equal(t.answer, "AuthMethod=Reject");
    assert_int_equal(t.n.agreed[KEY_AUTH_METHOD], KEY_AUTH_NOT_NEGOTIATED);
}

static void test_chap_keys_go_to_the_chap_exchange(void **state)
{
    static const char *const keys[] = { "CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R" };
    struct talk t = talk_begin();

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        say_in(&t, KEY_IN_SECURITY, false, keys[i], "5");
        assert_int_equal(t.outcome, KEY_FOR_CHAP);
        assert_string_equal(t.answer, "");
    }
}

static void test_first_burst_is_cut_to_max_burst(void **state)
{
    struct talk t = talk_begin();

    (void)state;
    say(&t, "FirstBurstLength", "262144");
    say(&t, "MaxBurstLength", "8192");
    negotiation_settle(&t.n);
    assert_int_equal(t.n.agreed[KEY_FIRST_BURST_LENGTH], 8192);
    assert_int_equal(t.n.agreed[KEY_MAX_BURST_LENGTH], 8192);
}

static void test_an_answer_without_room_overflows_the_builder_only(void **state)
{
    struct talk t = talk_begin();
    struct builder out = builder_over(t.answer, 4);

    (void)state;
    assert_int_equal(negotiation_take(&t.n, slice_str("MaxConnections"), slice_str("4"),
                                      KEY_IN_OPERATIONAL, true, &out, &t.status),
                     KEY_DONE);
    assert_true(out.overflow);
    assert_int_equal(out.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_has_the_rfcs_ranges_and_defaults),
        cmocka_unit_test(test_every_row_is_complete_and_found_by_its_name),
        cmocka_unit_test(test_number_is_the_smaller_or_the_larger_as_the_rule_says),
        cmocka_unit_test(test_booleans_follow_and_and_or),
        cmocka_unit_test(test_caller_may_want_something_else_than_the_table),
        cmocka_unit_test(test_digest_is_the_first_of_the_offer_that_we_have),
        cmocka_unit_test(test_task_reporting_is_only_rfc3720),
        cmocka_unit_test(test_bad_value_is_rejected_and_the_default_stays),
        cmocka_unit_test(test_unknown_keys_are_not_understood),
        cmocka_unit_test(test_marker_keys_are_refused_but_understood),
        cmocka_unit_test(test_a_key_offered_twice_is_fatal),
        cmocka_unit_test(test_each_key_has_its_stage),
        cmocka_unit_test(test_names_come_in_either_stage_but_only_at_first),
        cmocka_unit_test(test_a_name_that_is_none_ends_the_login),
        cmocka_unit_test(test_session_type_is_discovery_or_normal),
        cmocka_unit_test(test_alias_that_cannot_be_shown_is_dropped_quietly),
        cmocka_unit_test(test_longest_alias_fits_and_a_longer_one_is_dropped),
        cmocka_unit_test(test_normal_session_keys_are_irrelevant_in_discovery),
        cmocka_unit_test(test_a_targets_own_keys_are_rejected_from_an_initiator),
        cmocka_unit_test(test_answers_to_what_we_declared_change_nothing),
        cmocka_unit_test(test_max_recv_data_segment_length_is_declared_by_each_side),
        cmocka_unit_test(test_nothing_is_declared_in_a_discovery_session),
        cmocka_unit_test(test_full_feature_phase_takes_a_new_declaration_each_time),
        cmocka_unit_test(test_send_targets_goes_to_the_text_handler),
        cmocka_unit_test(test_auth_method_follows_the_initiators_order),
        cmocka_unit_test(test_no_common_auth_method_ends_the_login),
        cmocka_unit_test(test_chap_keys_go_to_the_chap_exchange),
        cmocka_unit_test(test_first_burst_is_cut_to_max_burst),
        cmocka_unit_test(test_an_answer_without_room_overflows_the_builder_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
