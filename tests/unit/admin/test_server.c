/* the socket in the file system, its clients, and nestorctl's side of it, over a real socket */
#include "admin/nestorctl_talk.h"
#include "admin/server.h"
#include "admin/socket_file.h"
#include "tests/unit/admin/fake_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static struct fake_daemon fake;
static struct ev_loop *loop;
static struct admin *admin;
static char folder[64], path[96], error[512];

static int open_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/nestor-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/nestord.sock", folder);
    loop = ev_loop_new(0);
    fake_daemon_open(&fake);
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    admin_close(admin);
    admin = NULL;
    fake_daemon_close(&fake);
    ev_loop_destroy(loop);
    unlink(path);
    rmdir(folder);
    return 0;
}

static int open_admin(const char *group)
{
    struct admin_options options = { .path = path,
                                     .group = group,
                                     .loop = loop,
                                     .registry = fake.daemon.registry,
                                     .workers = fake.daemon.workers,
                                     .started = fake.daemon.started };

    return admin_open(&options, &admin, error, sizeof error);
}

static int connect_client(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    strcpy(address.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void turn(void)
{
    for (unsigned i = 0; i < 8; i++)
        ev_run(loop, EVRUN_NOWAIT);
}

static void type(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    turn();
}

static const char *answer_of(int fd)
{
    static char text[65536];
    ssize_t len = recv(fd, text, sizeof text - 1, 0);

    text[len > 0 ? len : 0] = '\0';
    return text;
}

static const char status_question[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n";
static const char remove_question[] = "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"lun.remove\","
                                      "\"params\":{\"target\":\"lab\",\"lun\":0}}\n";

static void test_socket_has_mode_0660_whatever_the_umask(void **state)
{
    struct stat stat;
    mode_t mask = umask(0);

    (void)state;
    assert_int_equal(open_admin(NULL), 0);
    umask(mask);
    assert_int_equal(lstat(path, &stat), 0);
    assert_true(S_ISSOCK(stat.st_mode));
    assert_int_equal(stat.st_mode & 07777, 0660);
}

static void test_close_removes_the_socket(void **state)
{
    (void)state;
    assert_int_equal(open_admin(NULL), 0);
    admin_close(admin);
    admin = NULL;
    assert_int_equal(access(path, F_OK), -1);
}

static void test_close_leaves_what_has_replaced_the_socket(void **state)
{
    (void)state;
    assert_int_equal(open_admin(NULL), 0);
    unlink(path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    admin_close(admin);
    admin = NULL;
    assert_int_equal(access(path, F_OK), 0);
}

static void test_stale_socket_is_replaced(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    strcpy(address.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    assert_int_equal(open_admin(NULL), 0);
    close(connect_client());
}

static void test_socket_that_answers_is_left_alone(void **state)
{
    struct admin *first;

    (void)state;
    assert_int_equal(open_admin(NULL), 0);
    first = admin;
    assert_int_equal(open_admin(NULL), -EADDRINUSE);
    assert_non_null(strstr(error, "another nestord answers"));
    admin = first;
    close(connect_client());
}

static void test_file_that_is_no_socket_is_left_alone(void **state)
{
    (void)state;
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(open_admin(NULL), -EEXIST);
    assert_non_null(strstr(error, "is no socket"));
    assert_int_equal(access(path, F_OK), 0);
}

static void test_missing_folder_and_group_are_told(void **state)
{
    (void)state;
    assert_int_equal(open_admin("no-such-group-here"), -ENOENT);
    assert_non_null(strstr(error, "no-such-group-here"));
    snprintf(path, sizeof path, "%s/none/nestord.sock", folder);
    assert_int_equal(open_admin(NULL), -ENOENT);
    assert_non_null(strstr(error, "folder"));
}

static void test_path_too_long_for_a_socket_is_told(void **state)
{
    struct socket_file file;
    char longest[200];

    (void)state;
    memset(longest, 'x', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(socket_file_open(&file, longest, false, 0, error, sizeof error),
                     -ENAMETOOLONG);
    assert_non_null(strstr(error, "too long"));
}

static void test_own_user_is_admitted(void **state)
{
    int fds[2];
    uid_t uid;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_true(socket_admits(fds[0], false, 0, &uid));
    assert_int_equal(uid, geteuid());
    close(fds[0]);
    close(fds[1]);
}

static void test_question_is_answered(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(open_admin(NULL), 0);
    fd = connect_client();
    turn();
    type(fd, status_question);
    assert_non_null(strstr(answer_of(fd), "\"result\":{\"version\""));
    close(fd);
}

static void test_connection_goes_on_after_garbage(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(open_admin(NULL), 0);
    fd = connect_client();
    turn();
    type(fd, "what?\n");
    assert_non_null(strstr(answer_of(fd), "-32700"));
    type(fd, status_question);
    assert_non_null(strstr(answer_of(fd), "\"result\""));
    close(fd);
}

static void test_answers_that_come_late_find_their_client(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(open_admin(NULL), 0);
    fd = connect_client();
    turn();
    type(fd, remove_question);
    type(fd, status_question); /* is not held up */
    assert_non_null(strstr(answer_of(fd), "\"id\":1"));
    fake_daemon_answer(&fake, 0, "removed");
    turn();
    assert_non_null(strstr(answer_of(fd), "\"text\":\"removed\"},\"id\":2"));
    close(fd);
}

static void test_client_that_has_gone_meanwhile_harms_nobody(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(open_admin(NULL), 0);
    fd = connect_client();
    turn();
    type(fd, remove_question);
    close(fd);
    turn();
    fake_daemon_answer(&fake, 0, "removed");
    turn();
    fd = connect_client();
    turn();
    type(fd, status_question);
    assert_non_null(strstr(answer_of(fd), "\"result\""));
    close(fd);
}

static void test_change_may_end_after_the_socket_was_closed(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(open_admin(NULL), 0);
    fd = connect_client();
    turn();
    type(fd, remove_question);
    admin_close(admin);
    admin = NULL;
    fake_daemon_answer(&fake, 0, "removed");
    close(fd);
}

static void test_client_past_the_limit_is_told_and_closed(void **state)
{
    int fds[ADMIN_CLIENTS_MAX + 1];

    (void)state;
    assert_int_equal(open_admin(NULL), 0);
    for (unsigned i = 0; i <= ADMIN_CLIENTS_MAX; i++) {
        fds[i] = connect_client();
        turn();
    }
    assert_non_null(strstr(answer_of(fds[ADMIN_CLIENTS_MAX]), "too many clients"));
    close(fds[0]);
    turn();
    close(fds[ADMIN_CLIENTS_MAX]);
    fds[ADMIN_CLIENTS_MAX] = connect_client(); /* there is room again */
    turn();
    type(fds[ADMIN_CLIENTS_MAX], status_question);
    assert_non_null(strstr(answer_of(fds[ADMIN_CLIENTS_MAX]), "\"result\""));
    for (unsigned i = 1; i <= ADMIN_CLIENTS_MAX; i++)
        close(fds[i]);
}

/* The daemon's loop on a thread of its own, for talk() blocks. */
static _Atomic bool is_over;

static void *serve(void *context)
{
    (void)context;
    while (!is_over)
        ev_run(loop, EVRUN_ONCE);
    return NULL;
}

static void wake(struct ev_loop *of, ev_async *watcher, int events)
{
    (void)of, (void)watcher, (void)events;
}

static void test_nestorctl_gets_result_and_error(void **state)
{
    struct talk_answer answer;
    json_t *none = json_object();
    pthread_t thread;
    ev_async stop;

    (void)state;
    assert_int_equal(open_admin(NULL), 0);
    ev_async_init(&stop, wake);
    ev_async_start(loop, &stop);
    is_over = false;
    pthread_create(&thread, NULL, serve, NULL);
    assert_true(talk(path, "status", none, 10000, &answer, error, sizeof error));
    assert_non_null(json_object_get(answer.result, "version"));
    json_decref(answer.whole);
    assert_true(talk(path, "frob", none, 10000, &answer, error, sizeof error));
    assert_int_equal(json_integer_value(json_object_get(answer.error, "code")), -32601);
    json_decref(answer.whole);
    is_over = true;
    ev_async_send(loop, &stop);
    pthread_join(thread, NULL);
    ev_async_stop(loop, &stop);
    json_decref(none);
}

static void test_nestorctl_tells_that_no_daemon_runs(void **state)
{
    struct talk_answer answer;
    json_t *none = json_object();

    (void)state;
    assert_false(talk(path, "status", none, 1000, &answer, error, sizeof error));
    assert_non_null(strstr(error, "nestord is not running, or listens elsewhere: tried "));
    json_decref(none);
}

static void test_nestorctl_does_not_wait_for_ever(void **state)
{
    struct talk_answer answer;
    json_t *none = json_object();

    (void)state;
    assert_int_equal(open_admin(NULL), 0); /* nobody runs its loop */
    assert_false(talk(path, "status", none, 10, &answer, error, sizeof error));
    assert_non_null(strstr(error, "did not answer in time"));
    json_decref(none);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, open_folder, close_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_socket_has_mode_0660_whatever_the_umask),
        WITH_FOLDER(test_close_removes_the_socket),
        WITH_FOLDER(test_close_leaves_what_has_replaced_the_socket),
        WITH_FOLDER(test_stale_socket_is_replaced),
        WITH_FOLDER(test_socket_that_answers_is_left_alone),
        WITH_FOLDER(test_file_that_is_no_socket_is_left_alone),
        WITH_FOLDER(test_missing_folder_and_group_are_told),
        WITH_FOLDER(test_path_too_long_for_a_socket_is_told),
        WITH_FOLDER(test_own_user_is_admitted),
        WITH_FOLDER(test_question_is_answered),
        WITH_FOLDER(test_connection_goes_on_after_garbage),
        WITH_FOLDER(test_answers_that_come_late_find_their_client),
        WITH_FOLDER(test_client_that_has_gone_meanwhile_harms_nobody),
        WITH_FOLDER(test_change_may_end_after_the_socket_was_closed),
        WITH_FOLDER(test_client_past_the_limit_is_told_and_closed),
        WITH_FOLDER(test_nestorctl_gets_result_and_error),
        WITH_FOLDER(test_nestorctl_tells_that_no_daemon_runs),
        WITH_FOLDER(test_nestorctl_does_not_wait_for_ever),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
