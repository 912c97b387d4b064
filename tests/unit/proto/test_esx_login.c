/*
 * Whole logins as ESX sends them, key by key in its order, and the exact text that it must get. An
 * ESX 3 ends the login over any key that it does not expect, so one key too many is a failure too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/iscsi_keys.h"
#include "proto/text.h"

#define TEXT(literal) slice_of(literal, sizeof(literal))

static uint8_t answer_room[4096];

/* Feeds one login request's text; the answer must be `expected` and nothing else. */
static void expect_exchange(struct negotiation *n, enum key_phase phase, bool is_leading,
                            bool is_leaving, struct slice request, struct slice expected)
{
    struct text_reader reader = text_over(request);
    struct builder answer = builder_over(answer_room, sizeof answer_room);
    enum login_status status = LOGIN_SUCCESS;
    struct slice key, value;
    enum text_result result;

    while ((result = text_next(&reader, &key, &value)) == TEXT_PAIR)
        assert_int_not_equal(negotiation_take(n, key, value, phase, is_leading, &answer, &status),
                             KEY_FATAL);
    assert_int_equal(result, TEXT_END);
    if (is_leaving)
        negotiation_declare(n, &answer);
    assert_false(answer.overflow);
    assert_int_equal(status, LOGIN_SUCCESS);
    assert_int_equal(answer.len, expected.len);
    assert_memory_equal(answer.bytes, expected.bytes, expected.len);
}

#define ESX3_NAMES                                                                                 \
    "InitiatorName=iqn.1998-01.com.vmware:esx3-0a1b2c3d\0"                                         \
    "InitiatorAlias=esx3\0"                                                                        \
    "TargetName=iqn.2026-11.lab.nestor:vmfs\0"                                                     \
    "SessionType=Normal\0"

#define ESX3_OPERATIONAL                                                                           \
    "HeaderDigest=None\0"                                                                          \
    "DataDigest=None\0"                                                                            \
    "MaxRecvDataSegmentLength=131072\0"                                                            \
    "DefaultTime2Wait=0\0"                                                                         \
    "DefaultTime2Retain=0\0"                                                                       \
    "ErrorRecoveryLevel=0\0"                                                                       \
    "IFMarker=No\0"                                                                                \
    "OFMarker=No\0"

#define ESX3_NORMAL                                                                                \
    "InitialR2T=No\0"                                                                              \
    "ImmediateData=Yes\0"                                                                          \
    "MaxBurstLength=16776192\0"                                                                    \
    "FirstBurstLength=262144\0"                                                                    \
    "MaxOutstandingR2T=1\0"                                                                        \
    "MaxConnections=1\0"                                                                           \
    "DataPDUInOrder=Yes\0"                                                                         \
    "DataSequenceInOrder=Yes\0"

#define ESX3_CISCO                                                                                 \
    "X-com.cisco.PingTimeout=5\0"                                                                  \
    "X-com.cisco.sendAsyncText=Yes\0"                                                              \
    "X-com.cisco.protocol=draft20"

#define ESX3_OPERATIONAL_ANSWER                                                                    \
    "HeaderDigest=None\0"                                                                          \
    "DataDigest=None\0"                                                                            \
    "DefaultTime2Wait=2\0"                                                                         \
    "DefaultTime2Retain=0\0"                                                                       \
    "ErrorRecoveryLevel=0\0"                                                                       \
    "IFMarker=No\0"                                                                                \
    "OFMarker=No\0"

#define ESX3_CISCO_ANSWER                                                                          \
    "X-com.cisco.PingTimeout=NotUnderstood\0"                                                      \
    "X-com.cisco.sendAsyncText=NotUnderstood\0"                                                    \
    "X-com.cisco.protocol=NotUnderstood"

#define ESX3_NORMAL_ANSWER                                                                         \
    "InitialR2T=No\0"                                                                              \
    "ImmediateData=Yes\0"                                                                          \
    "MaxBurstLength=1048576\0"                                                                     \
    "FirstBurstLength=262144\0"                                                                    \
    "MaxOutstandingR2T=1\0"                                                                        \
    "MaxConnections=1\0"                                                                           \
    "DataPDUInOrder=Yes\0"                                                                         \
    "DataSequenceInOrder=Yes\0"

/* Without CHAP an ESX 3 starts at the operational stage and says everything in one PDU. */
static void test_esx3_logs_in_with_one_request(void **state)
{
    struct negotiation n;

    (void)state;
    negotiation_init(&n, "None");
    expect_exchange(&n, KEY_IN_OPERATIONAL, true, true,
                    TEXT(ESX3_NAMES ESX3_OPERATIONAL ESX3_NORMAL ESX3_CISCO),
                    TEXT(ESX3_OPERATIONAL_ANSWER ESX3_NORMAL_ANSWER ESX3_CISCO_ANSWER
                         "\0MaxRecvDataSegmentLength=262144"));
    negotiation_settle(&n);
    assert_string_equal(n.initiator_name.text, "iqn.1998-01.com.vmware:esx3-0a1b2c3d");
    assert_string_equal(n.target_name.text, "iqn.2026-11.lab.nestor:vmfs");
    assert_int_equal(n.agreed[KEY_INITIAL_R2T], 0);
    assert_int_equal(n.agreed[KEY_IMMEDIATE_DATA], 1);
    assert_int_equal(n.agreed[KEY_FIRST_BURST_LENGTH], 262144);
    assert_int_equal(n.agreed[KEY_MAX_RECV_DATA_SEGMENT_LENGTH], 131072);
    assert_int_equal(n.agreed[KEY_MAX_OUTSTANDING_R2T], 1);
}

/* It sends its private keys in discovery sessions as well, though the standard forbids that. */
static void test_esx3_discovery_gets_no_key_that_it_did_not_offer(void **state)
{
    struct negotiation n;

    (void)state;
    negotiation_init(&n, "None");
    expect_exchange(&n, KEY_IN_OPERATIONAL, true, true,
                    TEXT("InitiatorName=iqn.1998-01.com.vmware:esx3-0a1b2c3d\0"
                         "SessionType=Discovery\0" ESX3_OPERATIONAL ESX3_CISCO),
                    TEXT(ESX3_OPERATIONAL_ANSWER ESX3_CISCO_ANSWER));
    assert_true(n.is_discovery);
    assert_int_equal(n.target_name.len, 0);
}

/* With defaults only, its discovery session goes from security to full feature phase at once. */
static void test_esx3_discovery_may_skip_the_operational_stage(void **state)
{
    struct negotiation n;

    (void)state;
    negotiation_init(&n, "None");
    expect_exchange(&n, KEY_IN_SECURITY, true, false,
                    TEXT("InitiatorName=iqn.1998-01.com.vmware:esx3-0a1b2c3d\0"
                         "SessionType=Discovery\0AuthMethod=CHAP,None"),
                    TEXT("AuthMethod=None"));
    expect_exchange(&n, KEY_IN_SECURITY, false, true, slice_of("", 0), slice_of("", 0));
    negotiation_settle(&n);
    assert_int_equal(n.agreed[KEY_MAX_RECV_DATA_SEGMENT_LENGTH], 8192);
    assert_int_equal(n.agreed[KEY_HEADER_DIGEST], KEY_DIGEST_NONE);
}

static void test_esx3_with_digests_gets_one_of_its_offers(void **state)
{
    struct negotiation n;

    (void)state;
    negotiation_init(&n, "None");
    expect_exchange(&n, KEY_IN_OPERATIONAL, true, false,
                    TEXT(ESX3_NAMES "HeaderDigest=CRC32C,None\0DataDigest=None,CRC32C"),
                    TEXT("HeaderDigest=CRC32C\0DataDigest=None"));
    assert_int_equal(n.agreed[KEY_HEADER_DIGEST], KEY_DIGEST_CRC32C);
    assert_int_equal(n.agreed[KEY_DATA_DIGEST], KEY_DIGEST_NONE);
}

#define ESX4_OPERATIONAL                                                                           \
    "HeaderDigest=None\0"                                                                          \
    "DataDigest=None\0"                                                                            \
    "DefaultTime2Wait=2\0"                                                                         \
    "DefaultTime2Retain=0\0"                                                                       \
    "IFMarker=No\0"                                                                                \
    "OFMarker=No\0"                                                                                \
    "ErrorRecoveryLevel=0\0"

#define ESX4_NORMAL                                                                                \
    "InitialR2T=No\0"                                                                              \
    "ImmediateData=Yes\0"                                                                          \
    "MaxBurstLength=262144\0"                                                                      \
    "FirstBurstLength=262144\0"                                                                    \
    "MaxOutstandingR2T=1\0"                                                                        \
    "MaxConnections=1\0"                                                                           \
    "DataPDUInOrder=Yes\0"                                                                         \
    "DataSequenceInOrder=Yes\0"

/* ESX 4 to 8 begin at the security stage and then negotiate the defaults of their option list. */
static void test_esx4_logs_in_through_both_stages(void **state)
{
    struct negotiation n;

    (void)state;
    negotiation_init(&n, "None");
    expect_exchange(&n, KEY_IN_SECURITY, true, false,
                    TEXT("InitiatorName=iqn.1998-01.com.vmware:esx4-11223344\0"
                         "InitiatorAlias=esx4.lab\0"
                         "TargetName=iqn.2026-11.lab.nestor:vmfs\0"
                         "SessionType=Normal\0"
                         "AuthMethod=None"),
                    TEXT("AuthMethod=None"));
    expect_exchange(&n, KEY_IN_OPERATIONAL, false, true,
                    TEXT(ESX4_OPERATIONAL ESX4_NORMAL "MaxRecvDataSegmentLength=131072"),
                    TEXT(ESX4_OPERATIONAL ESX4_NORMAL "MaxRecvDataSegmentLength=262144"));
    negotiation_settle(&n);
    assert_int_equal(n.agreed[KEY_AUTH_METHOD], KEY_AUTH_NONE);
    assert_int_equal(n.agreed[KEY_MAX_BURST_LENGTH], 262144);
    assert_int_equal(n.agreed[KEY_FIRST_BURST_LENGTH], 262144);
    assert_int_equal(n.agreed[KEY_MAX_RECV_DATA_SEGMENT_LENGTH], 131072);
}

/* A host set to the ends of ESX's option ranges gets numbers within its own offer. */
static void test_esx4_with_its_widest_options(void **state)
{
    struct negotiation n;

    (void)state;
    negotiation_init(&n, "None");
    expect_exchange(&n, KEY_IN_OPERATIONAL, true, true,
                    TEXT("InitiatorName=iqn.1998-01.com.vmware:esx8-11223344\0"
                         "TargetName=iqn.2026-11.lab.nestor:vmfs\0"
                         "InitialR2T=Yes\0"
                         "MaxBurstLength=16777215\0"
                         "FirstBurstLength=16777215\0"
                         "MaxRecvDataSegmentLength=16777215\0"
                         "MaxOutstandingR2T=8\0"
                         "DefaultTime2Wait=60\0"
                         "DefaultTime2Retain=60"),
                    TEXT("InitialR2T=Yes\0"
                         "MaxBurstLength=1048576\0"
                         "FirstBurstLength=262144\0"
                         "MaxOutstandingR2T=8\0"
                         "DefaultTime2Wait=60\0"
                         "DefaultTime2Retain=0\0"
                         "MaxRecvDataSegmentLength=262144"));
    assert_int_equal(n.agreed[KEY_MAX_RECV_DATA_SEGMENT_LENGTH], 16777215);
}

static void test_esx4_discovery_gets_no_key_that_it_did_not_offer(void **state)
{
    struct negotiation n;

    (void)state;
    negotiation_init(&n, "None");
    expect_exchange(&n, KEY_IN_SECURITY, true, false,
                    TEXT("InitiatorName=iqn.1998-01.com.vmware:esx4-11223344\0"
                         "InitiatorAlias=esx4.lab\0SessionType=Discovery\0AuthMethod=None"),
                    TEXT("AuthMethod=None"));
    expect_exchange(&n, KEY_IN_OPERATIONAL, false, true,
                    TEXT(ESX4_OPERATIONAL "MaxRecvDataSegmentLength=32768"),
                    slice_of(ESX4_OPERATIONAL, sizeof(ESX4_OPERATIONAL) - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_esx3_logs_in_with_one_request),
        cmocka_unit_test(test_esx3_discovery_gets_no_key_that_it_did_not_offer),
        cmocka_unit_test(test_esx3_discovery_may_skip_the_operational_stage),
        cmocka_unit_test(test_esx3_with_digests_gets_one_of_its_offers),
        cmocka_unit_test(test_esx4_logs_in_through_both_stages),
        cmocka_unit_test(test_esx4_with_its_widest_options),
        cmocka_unit_test(test_esx4_discovery_gets_no_key_that_it_did_not_offer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
