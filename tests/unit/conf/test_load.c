/* Loading: what a file says comes into the model, and what it says wrongly is told with its line.
 */
#include "config_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char whole[] =
    "portals = [ \"127.0.0.1:3261\", \"[::1]:3260\" ];\n"
    "state_dir = \"~\";\n"
    "admin_socket = \"~/admin.sock\";\n"
    "admin_group = \"users\";\n"
    "workers = 3; busy_poll_us = 50; sendfile = true; memory_limit = \"64M\"; engine = "
    "\"threads\";\n"
    "max_sessions = 12; max_half_open = 7; login_timeout = 8; nop_interval = 9; nop_timeout = 10;\n"
    "targets = (\n"
    "  { name = \"iqn.2026-11.lab.nestor:a\"; alias = \"A\";\n"
    "    initiators = [ \"iqn.1998-01.com.vmware:*\" ];\n"
    "    networks = [ \"10.0.0.0/8\", \"fd00::/8\" ];\n"
    "    luns = ( { lun = 5; path = \"~/five.img\"; size = \"64G\"; cache = \"writethrough\";\n"
    "               vaai = false; block_size = 512; physical_block_size = 4096; rotation = 7200;\n"
    "               thin_threshold = 75;\n"
    "               serial = \"0123456789abcdef\"; naa = \"60000000000000000000000000000001\";\n"
    "               product = \"LAB DISK\"; initiators = [ \"*:esx1\" ]; },\n"
    "             { lun = 1; path = \"~/one.img\"; size = 1048576; readonly = true;\n"
    "               removable = true; } );\n"
    "  }, { name = \"eui.0123456789abcdef\"; } );\n";

static void test_every_key_comes_into_the_model(void **state)
{
    struct config_text *text = *state;
    const struct model *model = &text->model;

    config_text_load_this(text, whole);
    assert_no_problem(text);
    assert_int_equal(model->portals.count, 2);
    assert_string_equal(model->portals.items[1], "[::1]:3260");
    assert_string_equal(model->state_dir, text->folder);
    assert_string_equal(model->admin_group, "users");
    assert_int_equal(model->workers, 3);
    assert_int_equal(model->busy_poll_us, 50);
    assert_true(model->uses_sendfile);
    assert_int_equal(model->memory_limit_bytes, 64 << 20);
    assert_int_equal(model->engine, MODEL_ENGINE_THREADS);
    assert_int_equal(model->max_sessions, 12);
    assert_int_equal(model->max_half_open, 7);
    assert_int_equal(model->login_timeout_s, 8);
    assert_int_equal(model->nop_interval_s, 9);
    assert_int_equal(model->nop_timeout_s, 10);
    assert_int_equal(model->target_count, 2);

    const struct model_target *target = model_find_target(model, "IQN.2026-11.lab.nestor:A");
    assert_non_null(target);
    assert_string_equal(target->alias, "A");
    assert_string_equal(target->initiators.items[0], "iqn.1998-01.com.vmware:*");
    assert_int_equal(target->networks.count, 2);
    assert_false(target->has_chap);

    const struct model_lun *lun = model_find_lun(target, 5);
    assert_non_null(lun);
    assert_int_equal(lun->size_bytes, 64ull << 30);
    assert_true(lun->is_writethrough);
    assert_int_equal(lun->vaai, 0);
    assert_int_equal(lun->block_size, 512);
    assert_int_equal(lun->physical_block_size, 4096);
    assert_int_equal(lun->rotation, 7200);
    assert_int_equal(lun->thin_threshold, 75);
    assert_string_equal(lun->serial, "0123456789abcdef");
    assert_string_equal(lun->naa, "60000000000000000000000000000001");
    assert_string_equal(lun->product, "LAB DISK");
    assert_string_equal(lun->initiators.items[0], "*:esx1");
    assert_int_equal(lun->place.line, 11);
    assert_false(lun->is_readonly || lun->is_removable);
    lun = model_find_lun(target, 1);
    assert_non_null(lun);
    assert_true(lun->is_readonly && lun->is_removable);
}

static void test_luns_are_in_order_after_loading(void **state)
{
    struct config_text *text = *state;

    config_text_load_this(text, whole);
    assert_int_equal(text->model.targets[0].luns[0].lun, 1);
    assert_int_equal(text->model.targets[0].luns[1].lun, 5);
}

static void test_what_is_not_said_has_its_default(void **state)
{
    struct config_text *text = *state;
    const struct model *model = &text->model;

    config_text_load_this(text, "state_dir = \"~\";\n"
                                "targets = ( { name = \"iqn.2026-11.lab:a\";\n"
                                "  luns = ( { lun = 0; path = \"/x\"; } ); } );\n");
    assert_no_problem(text);
    assert_int_equal(model->portals.count, 1);
    assert_string_equal(model->portals.items[0], "0.0.0.0:3260");
    assert_string_equal(model->admin_socket, "/run/nestor/nestord.sock");
    assert_int_equal(model->memory_limit_bytes, 256 << 20);
    assert_int_equal(model->engine, MODEL_ENGINE_AUTO);
    assert_null(model->admin_group);
    assert_false(model->targets[0].initiators.is_set);
    assert_int_equal(model->targets[0].luns[0].vaai, -1);
    assert_int_equal(model->targets[0].luns[0].rotation, -1);
    assert_int_equal(model->targets[0].luns[0].thin_threshold, -1);
    assert_int_equal(model->targets[0].luns[0].block_size, 0);
    assert_false(model->targets[0].luns[0].is_writethrough);
}

static void test_an_empty_list_of_initiators_is_said(void **state)
{
    struct config_text *text = *state;

    config_text_load_this(text,
                          "state_dir = \"~\";\n"
                          "targets = ( { name = \"iqn.2026-11.lab:a\"; initiators = []; } );\n");
    assert_no_problem(text);
    assert_true(text->model.targets[0].initiators.is_set);
    assert_int_equal(text->model.targets[0].initiators.count, 0);
}

static void load_size(struct config_text *text, const char *size)
{
    char content[256];

    snprintf(content, sizeof(content),
             "state_dir = \"~\"; # 99999999999\n"
             "targets = ( { name = \"iqn.2026-11.lab:a99999999999\"; /* 99999999999 */\n"
             "  luns = ( { lun = 0; path = \"/x \\\" 99999999999\"; size = %s; } ); } );\n",
             size);
    config_text_load_this(text, content);
}

static void test_sizes_may_be_64_bit_numbers(void **state)
{
    struct config_text *text = *state;

    load_size(text, "68719476736L");
    assert_no_problem(text);
    assert_int_equal(text->model.targets[0].luns[0].size_bytes, 68719476736);
    load_size(text, "2147483136");
    assert_no_problem(text);
    assert_int_equal(text->model.targets[0].luns[0].size_bytes, 2147483136);
}

static void test_a_number_that_would_be_misread_is_refused(void **state)
{
    struct config_text *text = *state;

    /* libconfig makes 0 of it, and 1048576 of the next */
    load_size(text, "68719476736");
    assert_problem(text, "nestor.conf", 3, "write it with an L at its end (68719476736L)");
    load_size(text, "4296015872");
    assert_problem(text, "nestor.conf", 3, "4296015872 is a large number");
    load_size(text, "0x100000000");
    assert_problem(text, "nestor.conf", 3, "0x100000000 is a large number");
}

static void test_such_a_number_in_an_included_file_is_refused_too(void **state)
{
    struct config_text *text = *state;

    config_text_write(text, "more.conf", 0600, "\nmemory_limit = 4563402752;\n");
    config_text_load_this(text, "state_dir = \"~\";\n@include \"more.conf\"\n");
    assert_problem(text, "more.conf", 2, "4563402752 is a large number");
}

struct mistake {
    const char *content;
    unsigned line;
    const char *what;
};

#define IN_LUN(text)                                                                               \
    "state_dir = \"~\";\ntargets = ( { name = \"iqn.2026-11.lab:a\"; luns = (\n"                   \
    "  { lun = 0; path = \"/x\";\n    " text "\n  } ); } );\n"
#define IN_TARGET(text)                                                                            \
    "state_dir = \"~\";\ntargets = ( { name = \"iqn.2026-11.lab:a\";\n" text "\n } );\n"

static const struct mistake mistakes[] = {
    {"wokers = 3;",                                                                            1, "wokers: unknown key; did you mean \"workers\"?"               },
    { "xyzzy = 3;",                                                                            1, "xyzzy: unknown key"                                           },
    { "\n\nworkers = \"3\";",                                                                  3, "workers: expected a number from 0 to 16, found \"3\""         },
    { "workers = 17;",                                                                         1, "workers: expected a number from 0 to 16, found 17"            },
    { "workers = -1;",                                                                         1, "workers: expected a number from 0 to 16, found -1"            },
    { "workers = 4294967297L;",                                                                1, "found 4294967297"                                             },
    { "busy_poll_us = 10001;",                                                                 1, "busy_poll_us: expected a number from 0 to 10000, found 10001" },
    { "busy_poll_us = -1;",                                                                    1, "busy_poll_us: expected a number from 0 to 10000, found -1"    },
    { "workers = 1.5;",                                                                        1, "found 1.5"                                                    },
    { "memory_limit = \"1M\";",                                                                1, "memory_limit: expected a size from 16M to 1T, found \"1M\""   },
    { "memory_limit = true;",                                                                  1, "found true"                                                   },
    { "engine = \"aio\";",                                                                     1, "expected \"auto\", \"io_uring\" or \"threads\", found \"aio\""},
    { "state_dir = [ \"/x\" ];",                                                               1, "expected text in quotes, found a list"                        },
    { "state_dir = \"here\";",                                                                 1, "state_dir: \"here\" is not a whole path"                      },
    { "portals = \"0.0.0.0:3260\";",                                                           1, "expected a list of texts"                                     },
    { "portals = [ 3260 ];",                                                                   1, "expected a list of texts"                                     },
    { "portals = [ ];",                                                                        1, "portals: none"                                                },
    { "portals = [ \":3260\" ];",                                                              1, "is not an address and port"                                   },
    { "portals = [ \"esx.lab:3260\" ];",                                                       1, "is not an address and port"                                   },
    { "portals = [ \"0.0.0.0:65536\" ];",                                                      1, "65536"                                                        },
    { "portals = [ \"::1:3260\" ];",                                                           1, "is not an address and port"                                   },
    { "portals = [ \"0.0.0.0:3260\", \"0.0.0.0:3260\" ];",                                     1, "stands there twice"                                           },
    { "admin_socket = \"/0123456789012345678901234567890123456789012345678901234567890123456789"
      "012345678901234567890123456789012345678\";",                                       1, "at most 107"                                                  },
    { "targets = { };",                                                                        1, "targets: expected a list of groups"                           },
    { "targets = ( 3 );",                                                                      1, "targets[0]: expected a list of groups"                        },
    { "targets = ( { alias = \"x\"; } );",                                                     1, "targets[0]: name is missing"                                  },
    { "targets = ( { name = \"vmfs\"; } );",                                                   1, "targets[0].name: \"vmfs\" is not an iSCSI name"               },
    { "targets = ( { name = \"iqn.2026-11.lab:A\"; } );",                                      1, "has the character 'A'"                                        },
    { "targets = ( { name = \"iqn.2026-11.lab:a_b\"; } );",                                    1, "has the character '_'"                                        },
    { "targets = ( { name = \"iqn.2026.lab:a\"; } );",                                         1, "is not an iqn name"                                           },
    { "targets = ( { name = \"eui.123\"; } );",                                                1, "is not an eui name"                                           },
    { "targets = ( { name = \"naa.123\"; } );",                                                1, "is not an naa name"                                           },
    { "targets = ( { name = \"iqn.2026-11.lab:a\"; },\n { name = \"iqn.2026-11.lab:a\"; } );", 2,
     "there is a target iqn.2026-11.lab:a already, at"                                                                                                           },
    { IN_TARGET("managed = true;"),                                                            3, "targets[0].managed: unknown key"                              },
    { IN_TARGET("networks = [ \"10.0.0.0/33\" ];"),                                            3, "targets[0].networks: \"10.0.0.0/33\""                         },
    { IN_TARGET("networks = [ \"10.0.0/24\" ];"),                                              3, "is not a network"                                             },
    { IN_TARGET("initiators = [ \"\" ];"),                                                     3, "targets[0].initiators"                                        },
    { IN_TARGET("initiators = [ \"iqn a\" ];"),                                                3, "is not an initiator name or pattern"                          },
    { IN_TARGET("chap = { user = \"esx\"; };"),                                                3, "targets[0].chap: secret_file is missing"                      },
    { IN_TARGET("luns = ( { path = \"/x\"; } );"),                                             3, "targets[0].luns[0]: lun is missing"                           },
    { IN_TARGET("luns = ( { lun = 0; } );"),                                                   3, "targets[0].luns[0]: path is missing"                          },
    { IN_TARGET("luns = ( { lun = 16384; path = \"/x\"; } );"),                                3,
     "expected a number from 0 to 16383"                                                                                                                         },
    { IN_TARGET("luns = ( { lun = 1; path = \"/x\"; },\n\n { lun = 1; path = \"/y\"; } );"),   5,
     "targets[0].luns[1].lun: this target has a LUN 1 already, at"                                                                                               },
    { IN_TARGET("luns = ( { lun = 1; path = \"/x\"; },\n\n { lun = 2; path = \"/x\"; } );"),   5,
     "targets[0].luns[1].path: two LUNs with one image; the other is LUN 1"                                                                                      },
    { IN_LUN("sise = 3;"),                                                                     4, "targets[0].luns[0].sise: unknown key; did you mean \"size\"?" },
    { IN_LUN("size = \"64X\";"),                                                               4,
     "targets[0].luns[0].size: \"64X\" is not a size; write bytes, or a number with K, M, G or "
      "T"                                                                                                                                                        },
    { IN_LUN("size = \"99999999999T\";"),                                                      4, "expected a size from 1M to 8192T"                             },
    { IN_LUN("size = 1048577;"),                                                               4, "are no whole number of 512-byte blocks"                       },
    { IN_LUN("size = \"1025K\"; block_size = 4096;"),                                          4,
     "are no whole number of 4096-byte blocks"                                                                                                                   },
    { IN_LUN("block_size = 1024;"),                                                            4, "expected 512 or 4096, found 1024"                             },
    { IN_LUN("block_size = 4096; physical_block_size = 512;"),                                 4, "is less than the block_size"                                  },
    { IN_LUN("readonly = 1;"),                                                                 4, "expected true or false, found 1"                              },
    { IN_LUN("cache = \"none\";"),                                                             4,
     "expected \"writeback\" or \"writethrough\", found \"none\""                                                                                                },
    { IN_LUN("serial = \"short\";"),                                                           4, "is not a serial number"                                       },
    { IN_LUN("naa = \"50000000000000000000000000000001\";"),                                   4, "is not an NAA name"                                           },
    { IN_LUN("product = \"SEVENTEEN LETTERS\";"),                                              4, "is not a product name"                                        },
};

static void test_each_mistake_is_told_with_its_line(void **state)
{
    struct config_text *text = *state;

    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        config_text_load_this(text, mistakes[i].content);
        assert_int_equal(text->result, -EINVAL);
        assert_problem(text, "nestor.conf", mistakes[i].line, mistakes[i].what);
        if (text->problems.count != 1) /* and nothing that follows from it */
            print_error("%s\nsays too: %s\n", mistakes[i].content, text->problems.lines[1]);
        assert_int_equal(text->problems.count, 1);
    }
}

static void test_all_mistakes_are_told_at_once_in_order(void **state)
{
    struct config_text *text = *state;

    config_text_load_this(text, "portals = [ \":3260\" ];\n"
                                "workers = 99;\n"
                                "targets = ( { name = \"bad\";\n"
                                "  luns = ( { lun = 0; path = \"/x\"; size = \"1X\"; } ); } );\n"
                                "state_dir = 3;\n");
    assert_int_equal(text->result, -EINVAL);
    assert_int_equal(text->problems.count, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(text->problems.places[i].line, i + 1);
}

static void test_syntax_errors_have_their_line(void **state)
{
    struct config_text *text = *state;

    config_text_load_this(text, "workers = 3;\n\nportals = = 3;\n");
    assert_int_equal(text->result, -EINVAL);
    assert_problem(text, "nestor.conf", 3, "syntax error");
}

static void test_a_missing_file_is_named(void **state)
{
    struct config_text *text = *state;

    config_text_load(text);
    assert_int_equal(text->result, -EINVAL);
    assert_int_equal(text->problems.count, 1);
    assert_non_null(strstr(text->problems.lines[0], "/nestor.conf: No such file or directory"));
}

static void test_a_mistake_in_an_included_file_names_that_file(void **state)
{
    struct config_text *text = *state;

    config_text_write(text, "more.conf", 0600, "\nworkers = 99;\n");
    config_text_load_this(text, "state_dir = \"~\";\n@include \"more.conf\"\nnop_interval = -3;\n");
    assert_int_equal(text->result, -EINVAL);
    assert_problem(text, "more.conf", 2, "workers: expected");
    assert_problem(text, "nestor.conf", 3, "nop_interval: expected");
}

static void test_included_targets_are_loaded(void **state)
{
    struct config_text *text = *state;

    config_text_write(text, "more.conf", 0600,
                      "targets = ( { name = \"iqn.2026-11.lab:a\"; } );\n");
    config_text_load_this(text, "state_dir = \"~\";\n@include \"more.conf\"\n");
    assert_no_problem(text);
    assert_int_equal(text->model.target_count, 1);
}

static void test_the_sample_is_good_itself(void **state)
{
    struct config_text *text = *state;
    char *sample = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&sample, &len);

    assert_non_null(out);
    conf_print_sample(out);
    fclose(out);
    config_text_load_this(text, sample);
    free(sample);
    assert_no_problem(text);
    assert_int_equal(text->model.target_count, 1);
    assert_int_equal(text->model.targets[0].lun_count, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, config_text_setup, config_text_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_every_key_comes_into_the_model),
        TEST(test_luns_are_in_order_after_loading),
        TEST(test_what_is_not_said_has_its_default),
        TEST(test_an_empty_list_of_initiators_is_said),
        TEST(test_sizes_may_be_64_bit_numbers),
        TEST(test_a_number_that_would_be_misread_is_refused),
        TEST(test_such_a_number_in_an_included_file_is_refused_too),
        TEST(test_each_mistake_is_told_with_its_line),
        TEST(test_all_mistakes_are_told_at_once_in_order),
        TEST(test_syntax_errors_have_their_line),
        TEST(test_a_missing_file_is_named),
        TEST(test_a_mistake_in_an_included_file_names_that_file),
        TEST(test_included_targets_are_loaded),
        TEST(test_the_sample_is_good_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
