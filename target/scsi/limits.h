/*
 * limits: numbers that VPD B0h tells and the handlers enforce, the same ones.
 */
#pragma once

#include "proto/xcopy.h"

#include <stdint.h>

enum {
    /* 32 MiB of 512-byte blocks, and more than READ(10) and WRITE(10) can ask for: no ESX is
     * refused what it could ask of others. */
    LIMIT_TRANSFER_BLOCKS = 65536,
    /* ESX splits at 128 KiB by default. */
    LIMIT_OPTIMAL_TRANSFER_BYTES = 128 * 1024,
    LIMIT_GRANULARITY_BYTES = 4096,

    /* A read, write or compare moves in pieces of this; a burst and a large buffer hold one. */
    LIMIT_CHUNK_BYTES = 256 * 1024,

    /* With `sendfile = true` pieces of so much and more are not copied (docs/performance.md). */
    LIMIT_DIRECT_BYTES = 64 * 1024,

    /* COMPARE AND WRITE: 128 blocks of 512. ESX asks for one or eight. */
    LIMIT_CAW_BYTES = 64 * 1024,

    /* WRITE ATOMIC(16): 256 blocks of 512. A slot of the journal holds as much. */
    LIMIT_ATOMIC_BYTES = 128 * 1024,

    /* UNMAP: a page of descriptors. How many blocks they name has no limit (FFFFFFFFh), since
     * slices of a few milliseconds bound what one command keeps others waiting. */
    LIMIT_UNMAP_DESCRIPTORS = 256,
    LIMIT_UNMAP_LIST_BYTES = 8 + 16 * LIMIT_UNMAP_DESCRIPTORS,
    /* ext4's and XFS's blocks; VMFS6 wants a divisor of 1 MiB */
    LIMIT_UNMAP_GRANULARITY_BYTES = 4096,

    /* A threshold set: what the provisioning log page counts in. */
    LIMIT_THRESHOLD_SET_BYTES = 1024 * 1024,

    /* EXTENDED COPY: what a list holds, a segment, and how many a unit works on at a time. A
     * segment's count has 16 bits, so that with 512-byte blocks 65535 of them are the most. */
    LIMIT_COPY_CSCDS = XCOPY_CSCDS_MAX,
    LIMIT_COPY_LIST_BYTES = XCOPY_HEADER_BYTES + XCOPY_DESCRIPTORS_BYTES_MAX,
    LIMIT_COPY_SEGMENT_BYTES = 64 * 1024 * 1024,
    LIMIT_COPIES = 32,

    /* What a PRE-FETCH brings into the page cache at most. */
    LIMIT_PREFETCH_BYTES = 32 * 1024 * 1024,

    /* What aborted commands leave behind (left_behind.h) on a worker; past it they are waited
     * for. */
    LIMIT_LEFT_BEHIND = 256,
    LIMIT_LEFT_BEHIND_BYTES = 32 * 1024 * 1024,
};

#define LIMIT_UNMAP_BLOCKS UINT32_MAX

/* WRITE SAME: 1 TiB of 512-byte blocks in one command. Zeros are a hole at once, anything else is
 * written in slices and can be aborted between them. */
#define LIMIT_WRITE_SAME_BLOCKS UINT32_C(0x80000000)

/* MAXIMUM COMPARE AND WRITE LENGTH, which has one byte in VPD B0h. */
static inline uint8_t limit_caw_blocks(uint32_t block_bytes)
{
    return (uint8_t)(LIMIT_CAW_BYTES / block_bytes);
}

/* MAXIMUM ATOMIC TRANSFER LENGTH. */
static inline uint32_t limit_atomic_blocks(uint32_t block_bytes)
{
    return LIMIT_ATOMIC_BYTES / block_bytes;
}
