#include "target/scsi/removal.h"

#include "target/scsi/lu.h"

/* ---- under the LU's mutex ---- */

static bool is_prevented(const struct lu *lu)
{
    const struct itl *itl;

    LIST_FOREACH (itl, &lu->itls, lu_link)
        if (itl->prevents_removal)
            return true;
    return false;
}

/* Where the medium goes; *has_moved: it was not there before. */
static enum sense_code move(struct lu *lu, bool out, bool *has_moved)
{
    enum sense_code code = SENSE_MEDIUM_REMOVAL_PREVENTED;

    *has_moved = false;
    pthread_mutex_lock(&lu->mutex);
    if (!is_prevented(lu)) {
        *has_moved = atomic_exchange(&lu->is_ejected, out) != out;
        code = SENSE_NONE;
    }
    pthread_mutex_unlock(&lu->mutex);
    return code;
}

/* ---- without it ---- */

void removal_prevent(struct itl *itl, bool prevents)
{
    pthread_mutex_lock(&itl->lu->mutex);
    itl->prevents_removal = prevents;
    pthread_mutex_unlock(&itl->lu->mutex);
}

void removal_allow_all(struct lu *lu)
{
    struct itl *itl;

    pthread_mutex_lock(&lu->mutex);
    LIST_FOREACH (itl, &lu->itls, lu_link)
        itl->prevents_removal = false;
    pthread_mutex_unlock(&lu->mutex);
}

bool removal_is_prevented(struct lu *lu)
{
    bool answer;

    pthread_mutex_lock(&lu->mutex);
    answer = is_prevented(lu);
    pthread_mutex_unlock(&lu->mutex);
    return answer;
}

enum sense_code removal_eject(struct lu *lu)
{
    bool has_moved;

    return move(lu, true, &has_moved);
}

enum sense_code removal_load(struct lu *lu, const struct nexus *by)
{
    bool has_moved;
    enum sense_code code = move(lu, false, &has_moved);

    if (has_moved)
        unit_attention_raise_all(lu, UA_MEDIUM_CHANGED, by);
    return code;
}
