/* gate: who gets in, who waits, in which order, and that nobody is forgotten. */
#include "target/scsi/gate.h"
#include "target/worker/worker.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { KIB = 1024, MIB = 1024 * 1024, BLOCK = 512 };

/* A worker of which the gate uses the mailbox only; its loop turns when the test says so. */
struct bench {
    struct gate gate;
    struct worker worker;
    unsigned entered;
    struct gate_hold *order[16]; /* in which they were let in */
};

struct access {
    struct gate_hold hold;
    struct bench *bench;
};

static void note_entered(struct gate_hold *hold)
{
    struct bench *bench = ((struct access *)(void *)hold)->bench;

    assert_true(hold->is_held);
    assert_true(bench->entered < 16);
    bench->order[bench->entered++] = hold;
}

static int setup(void **state)
{
    static struct bench bench;

    memset(&bench, 0, sizeof(bench));
    gate_open(&bench.gate);
    bench.worker.loop = ev_loop_new(EVFLAG_AUTO);
    mailbox_open(&bench.worker.mailbox, bench.worker.loop);
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;

    /* whatever a test did, it left nothing behind that keeps plain accesses out */
    assert_int_equal(bench->gate.marked, 0);
    for (unsigned i = 0; i < GATE_STRIPES; i++) {
        assert_int_equal(bench->gate.sharers[0].stripe[i], 0);
        assert_int_equal(bench->gate.marks[i], 0);
    }
    gate_close(&bench->gate);
    mailbox_close(&bench->worker.mailbox);
    ev_loop_destroy(bench->worker.loop);
    return 0;
}

static bool enter(struct bench *bench, struct access *access, enum gate_mode mode, uint64_t offset,
                  uint64_t len)
{
    access->bench = bench;
    access->hold.entered = note_entered;
    return gate_enter(&bench->gate, &access->hold, &bench->worker, mode, offset, len);
}

static void leave(struct access *access)
{
    gate_leave(&access->hold);
}

/* A copy within the unit: exclusive on one range, shared on the other. */
struct copy_access {
    struct gate_copy_hold hold;
    struct bench *bench;
};

static void note_copy_entered(struct gate_hold *hold)
{
    struct bench *bench = ((struct copy_access *)(void *)hold)->bench;

    assert_true(hold->is_held);
    bench->order[bench->entered++] = hold;
}

static bool enter_copy(struct bench *bench, struct copy_access *access, uint64_t to, uint64_t from,
                       uint64_t len)
{
    access->bench = bench;
    access->hold.hold.entered = note_copy_entered;
    return gate_enter_copy(&bench->gate, &access->hold, &bench->worker, to, from, len);
}

/* Runs what is in the mailbox now; returns how many have been let in since the bench was set up. */
static unsigned turn(struct bench *bench)
{
    ev_run(bench->worker.loop, EVRUN_NOWAIT);
    return bench->entered;
}

static void test_a_copy_excludes_from_one_range_and_shares_the_other(void **state)
{
    struct access reader = { 0 }, writer = { 0 }, at_source = { 0 }, at_destination = { 0 };
    struct copy_access copy = { 0 };

    assert_true(enter_copy(*state, &copy, 0, 8 * MIB, 8 * BLOCK));
    assert_true(enter(*state, &reader, GATE_SHARED, 8 * MIB, 8 * BLOCK));
    assert_false(enter(*state, &at_destination, GATE_SHARED, 7 * BLOCK, BLOCK));
    assert_false(enter(*state, &at_source, GATE_EXCLUSIVE, 8 * MIB + 7 * BLOCK, BLOCK));
    assert_true(enter(*state, &writer, GATE_EXCLUSIVE, 8 * BLOCK, BLOCK));
    leave(&reader);
    assert_int_equal(turn(*state), 0);
    gate_leave(&copy.hold.hold);
    assert_int_equal(turn(*state), 2);
    leave(&writer);
    leave(&at_source);
    leave(&at_destination);
}

/* Each holds what the other's second range would wait for, if there were two holds. */
static void test_copies_that_cross_go_one_after_the_other(void **state)
{
    struct copy_access there = { 0 }, back = { 0 };
    struct access between = { 0 };

    assert_true(enter_copy(*state, &there, 0, 8 * MIB, MIB));
    assert_false(enter_copy(*state, &back, 8 * MIB, 0, MIB));
    assert_false(enter(*state, &between, GATE_EXCLUSIVE, 0, 16 * MIB));
    gate_leave(&there.hold.hold);
    assert_int_equal(turn(*state), 1);
    gate_leave(&back.hold.hold);
    assert_int_equal(turn(*state), 2);
    leave(&between);
}

static void test_a_copy_within_a_stripe_does_not_wait_for_itself(void **state)
{
    struct copy_access copy = { 0 };

    assert_true(enter_copy(*state, &copy, 0, 64 * BLOCK, 8 * BLOCK));
    gate_leave(&copy.hold.hold);
    assert_true(enter_copy(*state, &copy, 0, 4 * BLOCK, 8 * BLOCK)); /* overlapping */
    gate_leave(&copy.hold.hold);
    assert_true(enter_copy(*state, &copy, 0, 0, 0));
    gate_leave(&copy.hold.hold);
}

static void test_a_copy_that_waits_can_be_cancelled(void **state)
{
    struct access writer = { 0 }, behind = { 0 };
    struct copy_access copy = { 0 };

    assert_true(enter(*state, &writer, GATE_EXCLUSIVE, 8 * MIB, MIB));
    assert_false(enter_copy(*state, &copy, 0, 8 * MIB, MIB));
    assert_false(enter(*state, &behind, GATE_SHARED, 0, BLOCK));
    assert_true(gate_cancel(&copy.hold.hold));
    assert_int_equal(turn(*state), 1);
    leave(&behind);
    leave(&writer);
}

static void test_shared_holders_overlap(void **state)
{
    struct access a = { 0 }, b = { 0 };

    assert_true(enter(*state, &a, GATE_SHARED, 0, 8 * BLOCK));
    assert_true(enter(*state, &b, GATE_SHARED, 4 * BLOCK, 8 * BLOCK));
    assert_true(a.hold.is_fast && b.hold.is_fast);
    leave(&a);
    leave(&b);
}

static void test_exclusive_excludes_what_overlaps(void **state)
{
    struct access caw = { 0 }, read = { 0 }, other_caw = { 0 };

    assert_true(enter(*state, &caw, GATE_EXCLUSIVE, 8 * BLOCK, BLOCK));
    assert_false(enter(*state, &read, GATE_SHARED, 0, 9 * BLOCK));
    assert_false(enter(*state, &other_caw, GATE_EXCLUSIVE, 8 * BLOCK, BLOCK));
    assert_int_equal(turn(*state), 0);
    leave(&caw);
    assert_int_equal(turn(*state), 1);
    assert_true(read.hold.is_held);
    leave(&read);
    assert_int_equal(turn(*state), 2);
    leave(&other_caw);
}

static void test_exclusive_leaves_adjacent_blocks_alone(void **state)
{
    struct access caw = { 0 }, before = { 0 }, after = { 0 }, other_caw = { 0 };

    assert_true(enter(*state, &caw, GATE_EXCLUSIVE, 8 * BLOCK, BLOCK));
    assert_true(enter(*state, &before, GATE_SHARED, 0, 8 * BLOCK));
    assert_true(enter(*state, &after, GATE_SHARED, 9 * BLOCK, BLOCK));
    assert_true(enter(*state, &other_caw, GATE_EXCLUSIVE, 10 * BLOCK, BLOCK));
    leave(&before);
    leave(&after);
    leave(&caw);
    leave(&other_caw);
}

static void test_exclusive_waits_for_what_is_in_flight(void **state)
{
    struct access read = { 0 }, caw = { 0 };

    assert_true(enter(*state, &read, GATE_SHARED, 0, 64 * KIB));
    assert_false(enter(*state, &caw, GATE_EXCLUSIVE, 0, BLOCK));
    assert_int_equal(turn(*state), 0);
    leave(&read);
    assert_int_equal(turn(*state), 1);
    leave(&caw);
}

static void test_what_is_handed_over_keeps_newcomers_out(void **state)
{
    struct access write = { 0 }, beside = { 0 }, apart = { 0 }, over = { 0 }, caw = { 0 };
    struct gate_hold kept;

    assert_true(enter(*state, &write, GATE_SHARED, 0, 64 * KIB));
    assert_true(enter(*state, &beside, GATE_SHARED, 0, 64 * KIB));
    gate_hand_over(&write.hold, &kept);
    assert_false(write.hold.is_held);
    assert_true(enter(*state, &apart, GATE_SHARED, 64 * KIB, 64 * KIB));
    assert_false(enter(*state, &over, GATE_SHARED, 60 * KIB, 8 * KIB));
    assert_false(enter(*state, &caw, GATE_EXCLUSIVE, 0, BLOCK));
    leave(&beside);
    leave(&apart);
    assert_int_equal(turn(*state), 0);
    gate_leave(&kept);
    assert_int_equal(turn(*state), 2);
    leave(&over);
    leave(&caw);
}

static void test_handing_over_lets_in_who_waited_for_other_blocks_of_the_stripe(void **state)
{
    struct access write = { 0 }, near = { 0 }, same = { 0 };
    struct gate_hold kept;

    assert_true(enter(*state, &write, GATE_SHARED, 0, 4 * KIB));
    assert_false(enter(*state, &near, GATE_EXCLUSIVE, 8 * KIB, BLOCK));
    assert_false(enter(*state, &same, GATE_EXCLUSIVE, 0, BLOCK));
    gate_hand_over(&write.hold, &kept);
    assert_int_equal(turn(*state), 1);
    assert_true(near.hold.is_held);
    leave(&near);
    gate_leave(&kept);
    assert_int_equal(turn(*state), 2);
    leave(&same);
}

/* One that was let in the slow way, one that excludes anyway, and one that holds nothing. */
static void test_every_hold_can_be_handed_over(void **state)
{
    struct access first = { 0 }, shared = { 0 }, exclusive = { 0 }, empty = { 0 }, over = { 0 };
    struct gate_hold kept[3];

    assert_true(enter(*state, &first, GATE_EXCLUSIVE, 0, BLOCK));
    assert_false(enter(*state, &shared, GATE_SHARED, 0, 4 * KIB));
    leave(&first);
    assert_int_equal(turn(*state), 1);
    assert_true(enter(*state, &exclusive, GATE_EXCLUSIVE, 8 * KIB, BLOCK));
    assert_true(enter(*state, &empty, GATE_SHARED, 0, 0));
    gate_hand_over(&shared.hold, &kept[0]);
    gate_hand_over(&exclusive.hold, &kept[1]);
    gate_hand_over(&empty.hold, &kept[2]);
    gate_leave(&kept[2]);
    assert_false(enter(*state, &over, GATE_SHARED, 0, 16 * KIB));
    gate_leave(&kept[0]);
    assert_int_equal(turn(*state), 1);
    gate_leave(&kept[1]);
    assert_int_equal(turn(*state), 2);
    leave(&over);
}

static void test_newcomers_do_not_starve_a_waiting_exclusive(void **state)
{
    struct access first = { 0 }, caw = { 0 }, apart[8] = { 0 }, over = { 0 };

    assert_true(enter(*state, &first, GATE_SHARED, 0, 64 * KIB));
    assert_false(enter(*state, &caw, GATE_EXCLUSIVE, 0, BLOCK));
    /* elsewhere in its stripe: let in at once, and still there when it goes */
    for (unsigned i = 0; i < 8; i++)
        assert_true(enter(*state, &apart[i], GATE_SHARED, 128 * KIB, 64 * KIB));
    /* over its range: behind it */
    assert_false(enter(*state, &over, GATE_SHARED, 0, 4 * KIB));
    leave(&first);
    assert_int_equal(turn(*state), 1);
    assert_true(caw.hold.is_held);
    leave(&caw);
    assert_int_equal(turn(*state), 2);
    leave(&over);
    for (unsigned i = 0; i < 8; i++)
        leave(&apart[i]);
}

static void test_waiters_go_in_the_order_in_which_they_came(void **state)
{
    struct bench *bench = *state;
    struct access holder = { 0 }, waiter[4] = { 0 };

    assert_true(enter(bench, &holder, GATE_EXCLUSIVE, 0, BLOCK));
    for (unsigned i = 0; i < 4; i++)
        assert_false(enter(bench, &waiter[i], GATE_EXCLUSIVE, 0, BLOCK));
    leave(&holder);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(turn(bench), i + 1);
        assert_ptr_equal(bench->order[i], &waiter[i].hold);
        leave(&waiter[i]);
    }
}

static void test_shared_waiters_go_together(void **state)
{
    struct access holder = { 0 }, waiter[4] = { 0 };

    assert_true(enter(*state, &holder, GATE_EXCLUSIVE, 0, BLOCK));
    for (unsigned i = 0; i < 4; i++)
        assert_false(enter(*state, &waiter[i], GATE_SHARED, 0, BLOCK));
    leave(&holder);
    assert_int_equal(turn(*state), 4);
    for (unsigned i = 0; i < 4; i++)
        leave(&waiter[i]);
}

static void test_granting_is_never_re_entrant(void **state)
{
    struct access holder = { 0 }, waiter = { 0 };

    assert_true(enter(*state, &holder, GATE_EXCLUSIVE, 0, BLOCK));
    assert_false(enter(*state, &waiter, GATE_EXCLUSIVE, 0, BLOCK));
    leave(&holder);
    assert_int_equal(((struct bench *)*state)->entered, 0);
    assert_int_equal(turn(*state), 1);
    leave(&waiter);
}

static void test_a_range_over_many_stripes_shares_and_excludes(void **state)
{
    struct access bulk = { 0 }, zero = { 0 }, read = { 0 };

    assert_true(enter(*state, &bulk, GATE_SHARED, 512 * KIB, 3 * MIB));
    assert_false(bulk.hold.is_fast);
    assert_false(enter(*state, &zero, GATE_EXCLUSIVE, 3 * MIB, 8 * MIB));
    assert_true(enter(*state, &read, GATE_SHARED, 12 * MIB, BLOCK));
    leave(&bulk);
    assert_int_equal(turn(*state), 1);
    leave(&read);
    leave(&zero);
}

static void test_an_exclusive_over_all_stripes_waits_for_all(void **state)
{
    struct access low = { 0 }, high = { 0 }, all = { 0 }, late = { 0 };

    assert_true(enter(*state, &low, GATE_SHARED, 0, BLOCK));
    assert_true(enter(*state, &high, GATE_SHARED, UINT64_C(100) * MIB - BLOCK, 2 * BLOCK));
    assert_true(high.hold.is_fast);
    assert_false(enter(*state, &all, GATE_EXCLUSIVE, 0, UINT64_C(200) * MIB));
    assert_false(enter(*state, &late, GATE_SHARED, 64 * MIB, BLOCK));
    leave(&low);
    assert_int_equal(turn(*state), 0);
    leave(&high);
    assert_int_equal(turn(*state), 1);
    leave(&all);
    assert_int_equal(turn(*state), 2);
    leave(&late);
}

static void test_a_range_may_wrap_around_the_stripes(void **state)
{
    struct access over = { 0 }, read = { 0 }, apart = { 0 };

    assert_true(enter(*state, &over, GATE_EXCLUSIVE, 62 * MIB, 4 * MIB)); /* stripes 62, 63, 0, 1 */
    assert_false(enter(*state, &read, GATE_SHARED, 65 * MIB, BLOCK));
    assert_true(enter(*state, &apart, GATE_SHARED, 2 * MIB, BLOCK));
    assert_true(apart.hold.is_fast);
    leave(&apart);
    leave(&over);
    assert_int_equal(turn(*state), 1);
    leave(&read);
}

static void test_blocks_that_share_a_stripe_do_not_exclude_each_other(void **state)
{
    struct access caw = { 0 }, same_stripe = { 0 };

    assert_true(enter(*state, &caw, GATE_EXCLUSIVE, 0, BLOCK));
    assert_true(enter(*state, &same_stripe, GATE_SHARED, 64 * MIB, BLOCK));
    assert_false(same_stripe.hold.is_fast);
    leave(&same_stripe);
    leave(&caw);
}

static void test_an_empty_range_is_held_and_keeps_nobody_out(void **state)
{
    struct access caw = { 0 }, none = { 0 };

    assert_true(enter(*state, &caw, GATE_EXCLUSIVE, 0, BLOCK));
    assert_true(enter(*state, &none, GATE_EXCLUSIVE, 0, 0));
    leave(&none);
    leave(&caw);
}

static void test_a_cancelled_waiter_is_not_let_in(void **state)
{
    struct access holder = { 0 }, waiter = { 0 };

    assert_true(enter(*state, &holder, GATE_EXCLUSIVE, 0, BLOCK));
    assert_false(enter(*state, &waiter, GATE_EXCLUSIVE, 0, BLOCK));
    assert_true(gate_cancel(&waiter.hold));
    leave(&holder);
    assert_int_equal(turn(*state), 0);
}

static void test_cancelling_lets_those_go_who_waited_behind(void **state)
{
    struct access read = { 0 }, caw = { 0 }, behind = { 0 };

    assert_true(enter(*state, &read, GATE_SHARED, 0, BLOCK));
    assert_false(enter(*state, &caw, GATE_EXCLUSIVE, 0, BLOCK));
    assert_false(enter(*state, &behind, GATE_SHARED, 0, BLOCK));
    assert_true(gate_cancel(&caw.hold));
    assert_int_equal(turn(*state), 1);
    leave(&behind);
    leave(&read);
}

static void test_cancelling_too_late_says_so_and_entered_still_comes(void **state)
{
    struct access holder = { 0 }, waiter = { 0 };

    assert_true(enter(*state, &holder, GATE_EXCLUSIVE, 0, BLOCK));
    assert_false(enter(*state, &waiter, GATE_EXCLUSIVE, 0, BLOCK));
    leave(&holder);
    assert_false(gate_cancel(&waiter.hold));
    assert_int_equal(turn(*state), 1);
    leave(&waiter);
}

/* ---- many workers at once ---- */

enum {
    PLAYERS = 4,
    ROUNDS = 150000,
    CELLS = 8,
    FIRST_CELL_BYTES = 63 * MIB,
    CELL_BYTES = 256 * KIB
};

/* Cells of a medium around the place where the stripes wrap; each says who is in it. */
struct game {
    struct gate gate;
    _Atomic int readers[CELLS], writers[CELLS];
    _Atomic unsigned collisions, playing;
    unsigned plain[CELLS]; /* changed by exclusive holders only, read by the others */
};

struct player {
    struct game *game;
    struct worker worker;
    struct gate_hold hold, kept;
    ev_idle again;
    unsigned seed, rounds, first, cells;
    bool is_inside;
    uint64_t seen;
};

static unsigned roll(struct player *player)
{
    player->seed = player->seed * 1664525U + 1013904223U;
    return player->seed >> 16;
}

static void come_in(struct player *player)
{
    struct game *game = player->game;

    player->is_inside = true;
    for (unsigned i = player->first; i < player->first + player->cells; i++) {
        if (player->hold.mode == GATE_EXCLUSIVE) {
            if (atomic_fetch_add_explicit(&game->writers[i], 1, memory_order_relaxed) != 0 ||
                atomic_load_explicit(&game->readers[i], memory_order_relaxed) != 0)
                game->collisions++;
            game->plain[i]++;
        } else {
            atomic_fetch_add_explicit(&game->readers[i], 1, memory_order_relaxed);
            for (unsigned spin = 0; spin < 8; spin++)
                player->seen += game->plain[i];
            if (atomic_load_explicit(&game->writers[i], memory_order_relaxed) != 0)
                game->collisions++;
        }
    }
}

/* An eighth of them hand over what they hold while they are still inside. */
static void go_out(struct player *player)
{
    struct game *game = player->game;
    struct gate_hold *hold = &player->hold;

    if (roll(player) % 8 == 0) {
        gate_hand_over(hold, &player->kept);
        hold = &player->kept;
    }
    for (unsigned i = player->first; i < player->first + player->cells; i++)
        atomic_fetch_sub_explicit(player->hold.mode == GATE_EXCLUSIVE ? &game->writers[i]
                                                                      : &game->readers[i],
                                  1, memory_order_relaxed);
    player->is_inside = false;
    gate_leave(hold);
}

static void player_entered(struct gate_hold *hold)
{
    struct player *player = (void *)((char *)hold - offsetof(struct player, hold));

    come_in(player);
    ev_idle_start(player->worker.loop, &player->again);
}

/* One step; false: it waits to be let in, or has had enough. */
static bool step(struct player *player)
{
    unsigned dice = roll(player);

    if (player->is_inside) {
        go_out(player);
        return true;
    }
    if (player->rounds++ == ROUNDS) {
        ev_break(player->worker.loop, EVBREAK_ALL);
        return false;
    }
    player->cells = 1 + roll(player) % (dice % 16 == 0 ? CELLS : 3);
    player->first = roll(player) % (CELLS - player->cells + 1);
    if (gate_enter(&player->game->gate, &player->hold, &player->worker,
                   dice % 4 == 0 ? GATE_EXCLUSIVE : GATE_SHARED,
                   FIRST_CELL_BYTES + (uint64_t)player->first * CELL_BYTES,
                   (uint64_t)player->cells * CELL_BYTES)) {
        come_in(player);
        return true;
    }
    /* a third of those who wait change their mind */
    if (dice % 3 == 0 && gate_cancel(&player->hold))
        return true;
    ev_idle_stop(player->worker.loop, &player->again);
    return false;
}

/* An odd number of steps, so that who comes in last leaves in another turn. */
static void play(struct ev_loop *loop, ev_idle *again, int events)
{
    (void)loop;
    (void)events;
    for (unsigned i = 0; i < 3 && step(again->data); i++)
        ;
}

static void *player_run(void *arg)
{
    struct player *player = arg;

    ev_idle_init(&player->again, play);
    player->again.data = player;
    ev_idle_start(player->worker.loop, &player->again);
    ev_run(player->worker.loop, 0);
    ev_idle_stop(player->worker.loop, &player->again);
    return NULL;
}

static void test_workers_never_meet_in_a_range_that_one_excludes(void **state)
{
    static struct game game;
    static struct player players[PLAYERS];
    pthread_t threads[PLAYERS];

    (void)state;
    memset(&game, 0, sizeof(game));
    memset(players, 0, sizeof(players));
    gate_open(&game.gate);
    for (unsigned i = 0; i < PLAYERS; i++) {
        players[i].game = &game;
        players[i].seed = 4711 + i;
        players[i].worker.index = i;
        players[i].hold.entered = player_entered;
        players[i].worker.loop = ev_loop_new(EVFLAG_AUTO);
        mailbox_open(&players[i].worker.mailbox, players[i].worker.loop);
    }
    for (unsigned i = 0; i < PLAYERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, player_run, &players[i]), 0);
    for (unsigned i = 0; i < PLAYERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(game.collisions, 0);
    assert_int_equal(game.gate.marked, 0);
    for (unsigned i = 0; i < PLAYERS; i++)
        for (unsigned k = 0; k < GATE_STRIPES; k++)
            assert_int_equal(game.gate.sharers[i].stripe[k], 0);
    for (unsigned i = 0; i < PLAYERS; i++) {
        assert_int_equal(players[i].rounds, ROUNDS + 1);
        mailbox_close(&players[i].worker.mailbox);
        ev_loop_destroy(players[i].worker.loop);
    }
    gate_close(&game.gate);
}

#define WITH_BENCH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BENCH(test_a_copy_excludes_from_one_range_and_shares_the_other),
        WITH_BENCH(test_copies_that_cross_go_one_after_the_other),
        WITH_BENCH(test_a_copy_within_a_stripe_does_not_wait_for_itself),
        WITH_BENCH(test_a_copy_that_waits_can_be_cancelled),
        WITH_BENCH(test_shared_holders_overlap),
        WITH_BENCH(test_exclusive_excludes_what_overlaps),
        WITH_BENCH(test_exclusive_leaves_adjacent_blocks_alone),
        WITH_BENCH(test_exclusive_waits_for_what_is_in_flight),
        WITH_BENCH(test_what_is_handed_over_keeps_newcomers_out),
        WITH_BENCH(test_handing_over_lets_in_who_waited_for_other_blocks_of_the_stripe),
        WITH_BENCH(test_every_hold_can_be_handed_over),
        WITH_BENCH(test_newcomers_do_not_starve_a_waiting_exclusive),
        WITH_BENCH(test_waiters_go_in_the_order_in_which_they_came),
        WITH_BENCH(test_shared_waiters_go_together),
        WITH_BENCH(test_granting_is_never_re_entrant),
        WITH_BENCH(test_a_range_over_many_stripes_shares_and_excludes),
        WITH_BENCH(test_an_exclusive_over_all_stripes_waits_for_all),
        WITH_BENCH(test_a_range_may_wrap_around_the_stripes),
        WITH_BENCH(test_blocks_that_share_a_stripe_do_not_exclude_each_other),
        WITH_BENCH(test_an_empty_range_is_held_and_keeps_nobody_out),
        WITH_BENCH(test_a_cancelled_waiter_is_not_let_in),
        WITH_BENCH(test_cancelling_lets_those_go_who_waited_behind),
        WITH_BENCH(test_cancelling_too_late_says_so_and_entered_still_comes),
        cmocka_unit_test(test_workers_never_meet_in_a_range_that_one_excludes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
