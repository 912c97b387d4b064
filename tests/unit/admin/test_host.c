/* host check: what a CPU's flags say about ESX nested in this host (texts as Linux prints them) */
#include "admin/nestorctl_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COMMON "fpu vme nx lm constant_tsc pni sse4_2 popcnt lahf_lm"

static const char intel[] = "processor\t: 0\nvendor_id\t: GenuineIntel\n"
                            "model name\t: Intel(R) Xeon(R) Gold 6248\n"
                            "flags\t\t: " COMMON " vmx ept vpid\n"
                            "vmx flags\t: vnmi preemption_timer unrestricted_guest\n\n"
                            "processor\t: 1\nflags\t\t: fpu svm npt\n";
static const char amd[] = "processor\t: 0\nvendor_id\t: AuthenticAMD\n"
                          "model name\t: AMD EPYC 7302\nflags\t\t: " COMMON " svm npt\n\n";

static json_t *check(const char *cpuinfo, const char *kvm_intel, const char *kvm_amd)
{
    struct host_facts facts;
    json_t *result;

    host_facts_parse(cpuinfo, kvm_intel, kvm_amd, &facts);
    result = host_facts_json(&facts);
    assert_non_null(result);
    return result;
}

static const json_t *generation(const json_t *result, const char *esx)
{
    const json_t *rows = json_object_get(result, "generations");

    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);

        if (strcmp(json_string_value(json_object_get(row, "esx")), esx) == 0)
            return row;
    }
    fail_msg("no generation %s", esx);
    return NULL;
}

static void expect(const json_t *result, const char *esx, bool runs, const char *inner)
{
    const json_t *row = generation(result, esx);

    assert_int_equal(json_is_true(json_object_get(row, "runs")), runs);
    assert_string_equal(json_string_value(json_object_get(row, "inner_vms")), inner);
}

static void expect_missing(const json_t *result, const char *esx, const char *what)
{
    const json_t *missing = json_object_get(generation(result, esx), "missing");

    for (size_t i = 0; i < json_array_size(missing); i++)
        if (strcmp(json_string_value(json_array_get(missing, i)), what) == 0)
            return;
    fail_msg("ESX %s does not miss %s", esx, what);
}

static void test_intel_with_all_flags_runs_every_generation(void **state)
{
    json_t *result = check(intel, "Y\n", NULL);

    (void)state;
    assert_string_equal(json_string_value(json_object_get(result, "model")),
                        "Intel(R) Xeon(R) Gold 6248");
    assert_string_equal(json_string_value(json_object_get(result, "kvm")), "kvm_intel");
    expect(result, "3.0, 3.5", true, "32-bit");
    expect(result, "4.0, 4.1", true, "32-bit");
    expect(result, "5.0 to 6.5", true, "64-bit");
    expect(result, "6.7, 7", true, "64-bit");
    expect(result, "8", true, "64-bit");
    json_decref(result);
}

static void test_amd_has_names_of_its_own_for_the_same(void **state)
{
    json_t *result = check(amd, NULL, "1\n");

    (void)state;
    expect(result, "8", true, "64-bit");
    assert_true(json_is_true(json_object_get(json_object_get(result, "flags"), "npt")));
    json_decref(result);
}

static void test_flags_are_whole_words_of_the_first_processor(void **state)
{
    json_t *result =
        check("flags\t\t: nonvmx vmxx lmx ept_ad\nbugs\t\t: vmx\n\nflags : vmx\n", NULL, NULL);
    const json_t *flags = json_object_get(result, "flags");

    (void)state;
    assert_true(json_is_false(json_object_get(flags, "vmx")));
    assert_true(json_is_false(json_object_get(flags, "lm")));
    assert_true(json_is_false(json_object_get(flags, "ept")));
    json_decref(result);
}

static void test_without_nested_paging_only_32_bit_vms_run_inside(void **state)
{
    json_t *result = check("flags\t\t: " COMMON " vmx\n", "Y\n", NULL);

    (void)state;
    expect(result, "5.0 to 6.5", true, "32-bit");
    expect(result, "6.7, 7", false, "none");
    expect_missing(result, "6.7, 7", "ept or npt");
    json_decref(result);
}

static void test_kvm_that_does_not_nest_is_named_with_its_parameter(void **state)
{
    json_t *result = check(intel, "N\n", NULL);

    (void)state;
    expect(result, "5.0 to 6.5", true, "32-bit");
    expect(result, "8", false, "none");
    expect_missing(result, "8", "kvm_intel.nested=1");
    json_decref(result);
}

static void test_a_host_without_kvm_is_judged_by_its_flags(void **state)
{
    json_t *result = check(intel, NULL, NULL);

    (void)state;
    assert_true(json_is_null(json_object_get(result, "nested")));
    expect(result, "8", true, "64-bit");
    json_decref(result);
}

static void test_each_generation_asks_for_more(void **state)
{
    json_t *result = check("flags\t\t: vmx ept\n", NULL, NULL);

    (void)state;
    expect(result, "3.0, 3.5", true, "32-bit");
    expect_missing(result, "4.0, 4.1", "lm");
    expect_missing(result, "4.0, 4.1", "lahf_lm");
    expect_missing(result, "5.0 to 6.5", "nx");
    expect_missing(result, "8", "popcnt");
    expect_missing(result, "8", "sse4_2");
    json_decref(result);
}

static void test_no_cpuinfo_at_all_runs_nothing(void **state)
{
    json_t *result = check(NULL, NULL, NULL);

    (void)state;
    expect(result, "3.0, 3.5", false, "none");
    expect_missing(result, "3.0, 3.5", "vmx or svm");
    assert_true(json_is_null(json_object_get(result, "model")));
    json_decref(result);
}

static void test_a_virtual_machine_is_told_that_it_is_one(void **state)
{
    json_t *result = check("flags\t\t: " COMMON " vmx ept hypervisor\n", "Y\n", NULL);
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    (void)state;
    show_host(out, result, NULL);
    fclose(out);
    assert_non_null(strstr(text, "This host is a virtual machine itself"));
    assert_non_null(strstr(text, "VMS INSIDE"));
    assert_non_null(strstr(text, "nothing\n"));
    free(text);
    json_decref(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_intel_with_all_flags_runs_every_generation),
        cmocka_unit_test(test_amd_has_names_of_its_own_for_the_same),
        cmocka_unit_test(test_flags_are_whole_words_of_the_first_processor),
        cmocka_unit_test(test_without_nested_paging_only_32_bit_vms_run_inside),
        cmocka_unit_test(test_kvm_that_does_not_nest_is_named_with_its_parameter),
        cmocka_unit_test(test_a_host_without_kvm_is_judged_by_its_flags),
        cmocka_unit_test(test_each_generation_asks_for_more),
        cmocka_unit_test(test_no_cpuinfo_at_all_runs_nothing),
        cmocka_unit_test(test_a_virtual_machine_is_told_that_it_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
