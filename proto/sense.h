/*
 * sense: sense data, SPC-4 4.5: which codes nestor uses, and how they stand on the wire.
 */
#pragma once

#include "proto/cursor.h"

enum { SENSE_BYTES_MAX = 64, SENSE_FIXED_BYTES = 18 };

/* KEY << 16 | ASC << 8 | ASCQ */
#define SENSE_CODE(key, asc, ascq) ((key) << 16 | (asc) << 8 | (ascq))

enum sense_code {
    SENSE_NONE = SENSE_CODE(0x0, 0x00, 0x00),
    SENSE_UNRECOVERED_READ_ERROR = SENSE_CODE(0x3, 0x11, 0x00),
    SENSE_WRITE_ERROR = SENSE_CODE(0x3, 0x0c, 0x00),
    SENSE_NOT_READY_MANUAL_INTERVENTION = SENSE_CODE(0x2, 0x04, 0x03),
    SENSE_STOPPED = SENSE_CODE(0x2, 0x04, 0x02),
    SENSE_SANITIZE_IN_PROGRESS = SENSE_CODE(0x2, 0x04, 0x1b),
    SENSE_MEDIUM_NOT_PRESENT = SENSE_CODE(0x2, 0x3a, 0x00),
    SENSE_SANITIZE_FAILED = SENSE_CODE(0x3, 0x31, 0x03),
    SENSE_INTERNAL_TARGET_FAILURE = SENSE_CODE(0x4, 0x44, 0x00),
    SENSE_OPERATION_IN_PROGRESS = SENSE_CODE(0x5, 0x00, 0x16),
    SENSE_INVALID_FIELD_IN_COMMAND_IU = SENSE_CODE(0x5, 0x0e, 0x03),
    SENSE_PARAMETER_LIST_LENGTH_ERROR = SENSE_CODE(0x5, 0x1a, 0x00),
    SENSE_INVALID_OPCODE = SENSE_CODE(0x5, 0x20, 0x00),
    SENSE_LBA_OUT_OF_RANGE = SENSE_CODE(0x5, 0x21, 0x00),
    SENSE_INVALID_FIELD_IN_CDB = SENSE_CODE(0x5, 0x24, 0x00),
    SENSE_LUN_NOT_SUPPORTED = SENSE_CODE(0x5, 0x25, 0x00),
    SENSE_INVALID_FIELD_IN_PARAMETER_LIST = SENSE_CODE(0x5, 0x26, 0x00),
    SENSE_PARAMETER_NOT_SUPPORTED = SENSE_CODE(0x5, 0x26, 0x01),
    SENSE_INVALID_RELEASE_OF_RESERVATION = SENSE_CODE(0x5, 0x26, 0x04),
    SENSE_TOO_MANY_TARGET_DESCRIPTORS = SENSE_CODE(0x5, 0x26, 0x06),
    SENSE_UNSUPPORTED_TARGET_DESCRIPTOR = SENSE_CODE(0x5, 0x26, 0x07),
    SENSE_TOO_MANY_SEGMENT_DESCRIPTORS = SENSE_CODE(0x5, 0x26, 0x08),
    SENSE_UNSUPPORTED_SEGMENT_DESCRIPTOR = SENSE_CODE(0x5, 0x26, 0x09),
    SENSE_INLINE_DATA_LENGTH_EXCEEDED = SENSE_CODE(0x5, 0x26, 0x0b),
    SENSE_SAVING_NOT_SUPPORTED = SENSE_CODE(0x5, 0x39, 0x00),
    SENSE_MEDIUM_REMOVAL_PREVENTED = SENSE_CODE(0x5, 0x53, 0x02),
    SENSE_INSUFFICIENT_REGISTRATION_RESOURCES = SENSE_CODE(0x5, 0x55, 0x04),
    SENSE_UA_MEDIUM_CHANGED = SENSE_CODE(0x6, 0x28, 0x00),
    SENSE_UA_POWER_ON = SENSE_CODE(0x6, 0x29, 0x00),
    SENSE_UA_BUS_RESET = SENSE_CODE(0x6, 0x29, 0x02),
    SENSE_UA_DEVICE_RESET = SENSE_CODE(0x6, 0x29, 0x03),
    SENSE_UA_MODE_PARAMETERS_CHANGED = SENSE_CODE(0x6, 0x2a, 0x01),
    SENSE_UA_RESERVATIONS_PREEMPTED = SENSE_CODE(0x6, 0x2a, 0x03),
    SENSE_UA_RESERVATIONS_RELEASED = SENSE_CODE(0x6, 0x2a, 0x04),
    SENSE_UA_REGISTRATIONS_PREEMPTED = SENSE_CODE(0x6, 0x2a, 0x05),
    SENSE_UA_CAPACITY_CHANGED = SENSE_CODE(0x6, 0x2a, 0x09),
    SENSE_UA_COMMANDS_CLEARED = SENSE_CODE(0x6, 0x2f, 0x00),
    SENSE_UA_INQUIRY_CHANGED = SENSE_CODE(0x6, 0x3f, 0x03),
    SENSE_UA_LUN_INVENTORY_CHANGED = SENSE_CODE(0x6, 0x3f, 0x0e),
    SENSE_UA_THIN_THRESHOLD = SENSE_CODE(0x6, 0x38, 0x07),
    SENSE_WRITE_PROTECTED = SENSE_CODE(0x7, 0x27, 0x00),
    SENSE_SPACE_EXHAUSTED = SENSE_CODE(0x7, 0x27, 0x07),
    SENSE_COPY_ABORTED = SENSE_CODE(0xa, 0x00, 0x00),
    SENSE_COPY_UNREACHABLE_TARGET = SENSE_CODE(0xa, 0x08, 0x04),
    SENSE_COPY_THIRD_PARTY_FAILURE = SENSE_CODE(0xa, 0x0d, 0x01),
    SENSE_COPY_TARGET_NOT_REACHABLE = SENSE_CODE(0xa, 0x0d, 0x02),
    SENSE_COPY_WRONG_DEVICE_TYPE = SENSE_CODE(0xa, 0x0d, 0x03),
    SENSE_COPY_INVALID_FIELD = SENSE_CODE(0xa, 0x26, 0x00),
    SENSE_COPY_INVALID_OPERATION = SENSE_CODE(0xa, 0x26, 0x0c),
    SENSE_ABORTED_DATA_PHASE = SENSE_CODE(0xb, 0x4b, 0x00),
    SENSE_ABORTED_WRONG_AMOUNT = SENSE_CODE(0xb, 0x0c, 0x0d),
    SENSE_ABORTED_PROTOCOL_CRC = SENSE_CODE(0xb, 0x47, 0x05),
    SENSE_ABORTED_OVERLAPPED = SENSE_CODE(0xb, 0x4e, 0x00),
    SENSE_ABORTED_NO_RESOURCES = SENSE_CODE(0xb, 0x55, 0x03),
    SENSE_MISCOMPARE = SENSE_CODE(0xe, 0x1d, 0x00),
};

/* What goes with a code; zeroed: nothing. */
struct sense_details {
    bool has_information;
    uint64_t information;
    bool has_field; /* sense-key specific field pointer, SPC-4 4.5.2.4.2 */
    bool is_field_in_cdb;
    uint16_t field_byte;
    bool has_progress; /* of 65536, SPC-4 4.5.2.4.4 */
    uint16_t progress;
    bool has_segment; /* COPY ABORTED, SPC-4 5.17.7.4: which segment, from 0 */
    uint16_t segment;
    struct { /* and what the copy source or copy destination said, if it is one that failed */
        enum {
            SENSE_FROM_NOBODY = 0,
            SENSE_FROM_SOURCE = 1, /* the values of SOURCE, SPC-4 4.5.2.7 */
            SENSE_FROM_DESTINATION = 2,
        } from;
        uint8_t status;
        enum sense_code code; /* SENSE_NONE: with that status comes no sense data */
    } forwarded;
};

/*
 * Writes sense data in fixed (70h) or descriptor (72h) format and returns its length. In fixed
 * format an INFORMATION beyond 32 bits is left out, with VALID = 0 (SPC-4 4.5.3).
 */
uint8_t sense_build(uint8_t out[SENSE_BYTES_MAX], enum sense_code code,
                    const struct sense_details *details, bool is_descriptor);
