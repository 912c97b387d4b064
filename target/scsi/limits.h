/*
 * limits: numbers that VPD B0h tells and the handlers enforce, the same ones.
 */
#pragma once

enum {
    /* What READ(10) and WRITE(10) can ask for at most: no ESX is refused what it could ask of
       others. */
    LIMIT_TRANSFER_BLOCKS = 65535,
    /* ESX splits at 128 KiB by default. */
    LIMIT_OPTIMAL_TRANSFER_BYTES = 128 * 1024,
    LIMIT_GRANULARITY_BYTES = 4096,

    /* A read, write or compare moves in pieces of this; a burst and a large buffer hold one. */
    LIMIT_CHUNK_BYTES = 256 * 1024,
};
