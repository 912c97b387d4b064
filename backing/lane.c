#include "backing/lane.h"

void lane_open(struct lane *lane)
{
    pthread_mutex_init(&lane->mutex, NULL);
    io_queue_init(&lane->joined);
    lane->is_led = false;
}

void lane_close(struct lane *lane)
{
    pthread_mutex_destroy(&lane->mutex);
}

enum lane_place lane_join(struct lane *lane, struct io *io, bool may_lead)
{
    enum lane_place place = LANE_REFUSED;

    pthread_mutex_lock(&lane->mutex);
    if (lane->is_led) {
        io_queue_put(&lane->joined, io);
        place = LANE_JOINED;
    } else if (may_lead) {
        lane->is_led = true;
        place = LANE_LEADS;
    }
    pthread_mutex_unlock(&lane->mutex);
    return place;
}

struct io *lane_next(struct lane *lane)
{
    struct io *io;

    pthread_mutex_lock(&lane->mutex);
    io = io_queue_take(&lane->joined);
    lane->is_led = io != NULL;
    pthread_mutex_unlock(&lane->mutex);
    return io;
}
