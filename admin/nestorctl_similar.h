/* nestorctl_similar: "did you mean": the word that takes the fewest edits to come from what was
 * typed. */
#pragma once

struct similar {
    const char *typed;
    const char *best; /* NULL: nothing is near enough */
    unsigned distance;
};

void similar_open(struct similar *similar, const char *typed);
void similar_offer(struct similar *similar, const char *word);

/* Letters to insert, remove, replace, or swap with their neighbour; UINT_MAX for words of 32 and
 * more. */
unsigned similar_distance(const char *a, const char *b);
