/* node: who is admitted by name and by network. */
#include "target/iscsi/node.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage storage = { 0 };

    if (strchr(text, ':')) {
        struct sockaddr_in6 *six = (struct sockaddr_in6 *)&storage;
        six->sin6_family = AF_INET6;
        assert_int_equal(inet_pton(AF_INET6, text, &six->sin6_addr), 1);
    } else {
        struct sockaddr_in *four = (struct sockaddr_in *)&storage;
        four->sin_family = AF_INET;
        assert_int_equal(inet_pton(AF_INET, text, &four->sin_addr), 1);
    }
    return storage;
}

static bool admits(const char *network, const char *from)
{
    struct node_network parsed;
    struct sockaddr_storage storage = address(from);

    assert_int_equal(node_network_parse(network, &parsed), 0);
    struct node_access access = { .networks = &parsed, .network_count = 1, .has_networks = true };
    return node_admits_address(&access, (struct sockaddr *)&storage);
}

static void test_network_admits_its_addresses_and_no_others(void **state)
{
    (void)state;
    assert_true(admits("192.168.10.0/24", "192.168.10.255"));
    assert_false(admits("192.168.10.0/24", "192.168.11.0"));
    assert_true(admits("10.0.0.0/9", "10.127.255.255"));
    assert_false(admits("10.0.0.0/9", "10.128.0.0"));
    assert_true(admits("fd00::/8", "fdff::1"));
    assert_false(admits("fd00::/8", "fe00::1"));
    assert_true(admits("fd00:0:0:8000::/49", "fd00:0:0:ffff::1"));
    assert_false(admits("fd00:0:0:8000::/49", "fd00:0:0:7fff::1"));
}

static void test_network_of_no_bits_admits_its_whole_family(void **state)
{
    (void)state;
    assert_true(admits("0.0.0.0/0", "203.0.113.9"));
    assert_false(admits("0.0.0.0/0", "2001:db8::1"));
    assert_true(admits("::/0", "2001:db8::1"));
}

static void test_network_without_length_is_one_address(void **state)
{
    (void)state;
    assert_true(admits("192.0.2.7", "192.0.2.7"));
    assert_false(admits("192.0.2.7", "192.0.2.6"));
    assert_true(admits("2001:db8::7", "2001:db8::7"));
    assert_false(admits("2001:db8::7", "2001:db8::8"));
}

static void test_ipv4_through_an_ipv6_socket_is_ipv4(void **state)
{
    (void)state;
    assert_true(admits("192.168.10.0/24", "::ffff:192.168.10.7"));
    assert_false(admits("192.168.10.0/24", "::ffff:192.168.11.7"));
}

static void test_network_that_is_none_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "/",
        "/24",
        "192.168.10.0/",
        "192.168.10.0/33",
        "192.168.10.0/-1",
        "192.168.10.0/ 8",
        "192.168.10.0/8x",
        "192.168.10",
        "fd00::/129",
        "fd00:::/8",
        "lab",
        "0xc0a80a00/24",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc/8",
    };
    struct node_network network;

    (void)state;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(node_network_parse(bad[i], &network), -EINVAL);
}

static void test_without_networks_every_address_is_admitted(void **state)
{
    struct node_access access = { 0 };
    struct sockaddr_storage storage = address("203.0.113.9");

    (void)state;
    assert_true(node_admits_address(&access, (struct sockaddr *)&storage));
}

static void test_empty_list_of_networks_admits_nobody(void **state)
{
    struct node_access access = { .has_networks = true };
    struct sockaddr_storage storage = address("203.0.113.9");

    (void)state;
    assert_false(node_admits_address(&access, (struct sockaddr *)&storage));
}

static void test_initiators_are_matched_by_pattern_whatever_the_case(void **state)
{
    char esx[] = "iqn.1998-01.com.vmware:*", one[] = "iqn.2026-11.lab:one";
    char *patterns[] = { esx, one, NULL };
    struct node_access access = { .initiators = patterns };

    (void)state;
    assert_true(node_admits_initiator(&access, "iqn.1998-01.com.vmware:esx1-4f2a"));
    assert_true(node_admits_initiator(&access, "IQN.2026-11.LAB:One"));
    assert_false(node_admits_initiator(&access, "iqn.2026-11.lab:one2"));
    assert_false(node_admits_initiator(&access, "iqn.1998-01.com.vmwar"));
}

static void test_node_is_found_whatever_the_case_until_it_is_removed(void **state)
{
    struct node_table table;
    struct node_access *access = calloc(1, sizeof *access);

    (void)state;
    assert_non_null(access);
    atomic_store(&access->refs, 1);
    node_table_open(&table);
    struct node *node = node_add(&table, "iqn.2026-11.lab:vmfs", NULL, access);
    assert_non_null(node);
    struct node *found = node_find(&table, "IQN.2026-11.lab:VMFS");
    assert_ptr_equal(found, node);
    assert_null(node_find(&table, "iqn.2026-11.lab:vmf"));
    node_remove(&table, node);
    assert_null(node_find(&table, "iqn.2026-11.lab:vmfs"));
    assert_string_equal(found->name, "iqn.2026-11.lab:vmfs"); /* who found it still has it */
    node_put(found);
    node_table_close(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_network_admits_its_addresses_and_no_others),
        cmocka_unit_test(test_network_of_no_bits_admits_its_whole_family),
        cmocka_unit_test(test_network_without_length_is_one_address),
        cmocka_unit_test(test_ipv4_through_an_ipv6_socket_is_ipv4),
        cmocka_unit_test(test_network_that_is_none_is_refused),
        cmocka_unit_test(test_without_networks_every_address_is_admitted),
        cmocka_unit_test(test_empty_list_of_networks_admits_nobody),
        cmocka_unit_test(test_initiators_are_matched_by_pattern_whatever_the_case),
        cmocka_unit_test(test_node_is_found_whatever_the_case_until_it_is_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
