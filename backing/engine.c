#include "backing/engine.h"

#include "backing/engine_ops.h"
#include "backing/transfer.h"

#include <stddef.h>

int engine_create(enum engine_kind kind, struct ev_loop *loop, struct job_pool *jobs,
                  struct engine **out, const char **reason)
{
    const char *why = NULL;
    int error;

    if (reason != NULL)
        *reason = NULL;
    if (kind == ENGINE_THREADS)
        return threads_create(loop, jobs, out);
    error = uring_create(loop, jobs, out, &why);
    if (error == 0 || kind == ENGINE_URING)
        return error;
    if (reason != NULL)
        *reason = why;
    return threads_create(loop, jobs, out);
}

void engine_destroy(struct engine *engine)
{
    if (engine != NULL)
        engine->ops->destroy(engine);
}

void engine_submit(struct engine *engine, struct io *io)
{
    io->engine.engine = engine;
    transfer_begin(io, true);
    engine->in_flight++;
    engine->ops->submit(engine, io);
}

void engine_finish(struct io *io)
{
    io->engine.engine->in_flight--;
    io->done(io);
}

enum engine_kind engine_kind(const struct engine *engine)
{
    return engine->ops->kind;
}

unsigned engine_in_flight(const struct engine *engine)
{
    return engine->in_flight;
}
