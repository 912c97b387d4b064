/*
 * limits: numbers that VPD B0h tells and the handlers enforce, the same ones.
 */
#pragma once

#include <stdint.h>

enum {
    /* What READ(10) and WRITE(10) can ask for at most: no ESX is refused what it could ask of
       others. */
    LIMIT_TRANSFER_BLOCKS = 65535,
    /* ESX splits at 128 KiB by default. */
    LIMIT_OPTIMAL_TRANSFER_BYTES = 128 * 1024,
    LIMIT_GRANULARITY_BYTES = 4096,

    /* A read, write or compare moves in pieces of this; a burst and a large buffer hold one. */
    LIMIT_CHUNK_BYTES = 256 * 1024,

    /* COMPARE AND WRITE: 128 blocks of 512. ESX asks for one or eight. */
    LIMIT_CAW_BYTES = 64 * 1024,

    /* What a PRE-FETCH brings into the page cache at most. */
    LIMIT_PREFETCH_BYTES = 32 * 1024 * 1024,
};

/* MAXIMUM COMPARE AND WRITE LENGTH, which has one byte in VPD B0h. */
static inline uint8_t limit_caw_blocks(uint32_t block_bytes)
{
    return (uint8_t)(LIMIT_CAW_BYTES / block_bytes);
}
