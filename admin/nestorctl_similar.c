#include "admin/nestorctl_similar.h"

#include <limits.h>
#include <string.h>

enum { WORD_MAX = 32 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned similar_distance(const char *a, const char *b)
{
    unsigned cost[WORD_MAX][WORD_MAX];
    size_t a_len = strlen(a), b_len = strlen(b);

    if (a_len >= WORD_MAX || b_len >= WORD_MAX)
        return UINT_MAX;
    for (size_t i = 0; i <= a_len; i++) {
        for (size_t j = 0; j <= b_len; j++) {
            if (i == 0 || j == 0) {
                cost[i][j] = (unsigned)(i + j);
                continue;
            }
            cost[i][j] = least(least(cost[i - 1][j], cost[i][j - 1]) + 1,
                               cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                cost[i][j] = least(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    }
    return cost[a_len][b_len];
}

void similar_open(struct similar *similar, const char *typed)
{
    /* one wrong letter in a short word, two in a longer one; more is a guess */
    *similar = (struct similar){ .typed = typed, .distance = strlen(typed) < 5 ? 2 : 3 };
}

void similar_offer(struct similar *similar, const char *word)
{
    unsigned distance = similar_distance(similar->typed, word);

    if (distance < similar->distance) {
        similar->distance = distance;
        similar->best = word;
    }
}
