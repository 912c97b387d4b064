/*
 * pdu: every PDU of RFC 7143 section 11 between its 48-byte basic header segment and a struct.
 *
 * pdu_parse() accepts what either side may send and checks what the format itself demands (known
 * opcode, reserved values that change meaning, AHS length); whether a PDU may come now, from this
 * side, is the caller's to know. pdu_build() writes the header that pdu_parse() would read back.
 * Data segments and digests are not part of it: data_segment_length only says how long one is.
 *
 * Reserved fields are ignored on receive and zero on send (RFC 7143 11). A target transfer tag is
 * written as it stands in the struct, so "none" has to be said: TAG_RESERVED.
 */
#pragma once

#include "proto/cursor.h"

enum {
    BHS_BYTES = 48,
    DIGEST_BYTES = 4,
    AHS_MAX_BYTES = 255 * 4,
    DATA_SEGMENT_MAX = 0xffffff,
};

#define TAG_RESERVED 0xffffffffU /* of task and target transfer tags: there is none */

enum pdu_opcode {
    PDU_NOP_OUT = 0x00,
    PDU_SCSI_COMMAND = 0x01,
    PDU_TASK_MANAGEMENT_REQUEST = 0x02,
    PDU_LOGIN_REQUEST = 0x03,
    PDU_TEXT_REQUEST = 0x04,
    PDU_DATA_OUT = 0x05,
    PDU_LOGOUT_REQUEST = 0x06,
    PDU_SNACK_REQUEST = 0x10,
    PDU_NOP_IN = 0x20,
    PDU_SCSI_RESPONSE = 0x21,
    PDU_TASK_MANAGEMENT_RESPONSE = 0x22,
    PDU_LOGIN_RESPONSE = 0x23,
    PDU_TEXT_RESPONSE = 0x24,
    PDU_DATA_IN = 0x25,
    PDU_LOGOUT_RESPONSE = 0x26,
    PDU_R2T = 0x31,
    PDU_ASYNC_MESSAGE = 0x32,
    PDU_REJECT = 0x3f,
};

/* RFC 7143 11.3.1 */
enum task_attribute {
    TASK_UNTAGGED = 0,
    TASK_SIMPLE = 1,
    TASK_ORDERED = 2,
    TASK_HEAD_OF_QUEUE = 3,
    TASK_ACA = 4,
};

/* RFC 7143 11.5.1 */
enum tmf_function {
    TMF_ABORT_TASK = 1,
    TMF_ABORT_TASK_SET = 2,
    TMF_CLEAR_ACA = 3,
    TMF_CLEAR_TASK_SET = 4,
    TMF_LOGICAL_UNIT_RESET = 5,
    TMF_TARGET_WARM_RESET = 6,
    TMF_TARGET_COLD_RESET = 7,
    TMF_TASK_REASSIGN = 8,
};

/* RFC 7143 11.6.1 */
enum tmf_response {
    TMF_RESPONSE_COMPLETE = 0,
    TMF_RESPONSE_NO_TASK = 1,
    TMF_RESPONSE_NO_LUN = 2,
    TMF_RESPONSE_TASK_STILL_ALLEGIANT = 3,
    TMF_RESPONSE_REASSIGN_NOT_SUPPORTED = 4,
    TMF_RESPONSE_NOT_SUPPORTED = 5,
    TMF_RESPONSE_AUTHORIZATION_FAILED = 6,
    TMF_RESPONSE_REJECTED = 255,
};

/* RFC 7143 11.17.1 */
enum reject_reason {
    REJECT_DATA_DIGEST_ERROR = 0x02,
    REJECT_SNACK = 0x03,
    REJECT_PROTOCOL_ERROR = 0x04,
    REJECT_COMMAND_NOT_SUPPORTED = 0x05,
    REJECT_IMMEDIATE_COMMAND = 0x06,
    REJECT_TASK_IN_PROGRESS = 0x07,
    REJECT_INVALID_DATA_ACK = 0x08,
    REJECT_INVALID_PDU_FIELD = 0x09,
    REJECT_LONG_OPERATION = 0x0a,
    REJECT_WAITING_FOR_LOGOUT = 0x0c,
};

/* RFC 7143 11.13.5: status class in the high byte, detail in the low one */
enum login_status {
    LOGIN_SUCCESS = 0x0000,
    LOGIN_MOVED_TEMPORARILY = 0x0101,
    LOGIN_MOVED_PERMANENTLY = 0x0102,
    LOGIN_INITIATOR_ERROR = 0x0200,
    LOGIN_AUTHENTICATION_FAILURE = 0x0201,
    LOGIN_AUTHORIZATION_FAILURE = 0x0202,
    LOGIN_NOT_FOUND = 0x0203,
    LOGIN_TARGET_REMOVED = 0x0204,
    LOGIN_UNSUPPORTED_VERSION = 0x0205,
    LOGIN_TOO_MANY_CONNECTIONS = 0x0206,
    LOGIN_MISSING_PARAMETER = 0x0207,
    LOGIN_CANNOT_INCLUDE_IN_SESSION = 0x0208,
    LOGIN_SESSION_TYPE_NOT_SUPPORTED = 0x0209,
    LOGIN_SESSION_DOES_NOT_EXIST = 0x020a,
    LOGIN_INVALID_DURING_LOGIN = 0x020b,
    LOGIN_TARGET_ERROR = 0x0300,
    LOGIN_SERVICE_UNAVAILABLE = 0x0301,
    LOGIN_OUT_OF_RESOURCES = 0x0302,
};

/* RFC 7143 11.12.3 */
enum login_stage {
    STAGE_SECURITY = 0,
    STAGE_OPERATIONAL = 1,
    STAGE_FULL_FEATURE = 3,
};

/* RFC 7143 11.14.1 and 11.15.1 */
enum logout_reason {
    LOGOUT_CLOSE_SESSION = 0,
    LOGOUT_CLOSE_CONNECTION = 1,
    LOGOUT_REMOVE_FOR_RECOVERY = 2,
};

enum logout_response {
    LOGOUT_CLOSED = 0,
    LOGOUT_CID_NOT_FOUND = 1,
    LOGOUT_RECOVERY_NOT_SUPPORTED = 2,
    LOGOUT_CLEANUP_FAILED = 3,
};

/* RFC 7143 11.9.1 */
enum async_event {
    ASYNC_SCSI_EVENT = 0,
    ASYNC_LOGOUT_REQUEST = 1,
    ASYNC_DROP_CONNECTION = 2,
    ASYNC_DROP_SESSION = 3,
    ASYNC_NEGOTIATE = 4,
    ASYNC_TASKS_TERMINATED = 5,
};

enum residual_kind {
    RESIDUAL_NONE,
    RESIDUAL_UNDERFLOW,
    RESIDUAL_OVERFLOW,
};

/* What a Data-In with status and a SCSI Response say of the data that did not move. */
struct residual {
    enum residual_kind kind;
    uint32_t count_bytes;
};

struct pdu_scsi_command {
    bool final, read, write;
    enum task_attribute attribute;
    uint32_t expected_data_transfer_length, cmd_sn, exp_stat_sn;
    uint8_t cdb[16]; /* its first 16 bytes; the rest, if any, is in an AHS */
};

struct pdu_scsi_response {
    uint8_t response, status;
    struct residual residual, bidi_read_residual;
    uint32_t snack_tag, stat_sn, exp_cmd_sn, max_cmd_sn, exp_data_sn;
};

struct pdu_task_management_request {
    enum tmf_function function;
    uint32_t referenced_task_tag, cmd_sn, exp_stat_sn, ref_cmd_sn, exp_data_sn;
};

struct pdu_task_management_response {
    uint8_t response;
    uint32_t stat_sn, exp_cmd_sn, max_cmd_sn;
};

struct pdu_login_request {
    bool transit, continues;
    uint8_t csg, nsg, version_max, version_min, isid[6];
    uint16_t tsih, cid;
    uint32_t cmd_sn, exp_stat_sn;
};

struct pdu_login_response {
    bool transit, continues;
    uint8_t csg, nsg, version_max, version_active, isid[6];
    uint16_t tsih;
    uint32_t stat_sn, exp_cmd_sn, max_cmd_sn;
    uint16_t status; /* enum login_status */
};

struct pdu_text_request {
    bool final, continues;
    uint32_t target_transfer_tag, cmd_sn, exp_stat_sn;
};

struct pdu_text_response {
    bool final, continues;
    uint32_t target_transfer_tag, stat_sn, exp_cmd_sn, max_cmd_sn;
};

struct pdu_data_out {
    bool final;
    uint32_t target_transfer_tag, exp_stat_sn, data_sn, buffer_offset;
};

struct pdu_data_in {
    bool final, acknowledge, has_status;
    uint8_t status; /* these two only with has_status */
    struct residual residual;
    uint32_t target_transfer_tag, stat_sn, exp_cmd_sn, max_cmd_sn, data_sn, buffer_offset;
};

struct pdu_r2t {
    uint32_t target_transfer_tag, stat_sn, exp_cmd_sn, max_cmd_sn;
    uint32_t r2t_sn, buffer_offset, desired_data_transfer_length;
};

struct pdu_async_message {
    uint32_t stat_sn, exp_cmd_sn, max_cmd_sn;
    uint8_t event, vendor_code;
    uint16_t parameter1, parameter2, parameter3;
};

struct pdu_logout_request {
    uint8_t reason;
    uint16_t cid;
    uint32_t cmd_sn, exp_stat_sn;
};

struct pdu_logout_response {
    uint8_t response;
    uint32_t stat_sn, exp_cmd_sn, max_cmd_sn;
    uint16_t time2wait, time2retain;
};

struct pdu_snack_request {
    uint8_t type;
    uint32_t target_transfer_tag, exp_stat_sn, beg_run, run_length;
};

struct pdu_reject {
    uint8_t reason;
    uint32_t stat_sn, exp_cmd_sn, max_cmd_sn, data_sn;
};

struct pdu_nop_out {
    uint32_t target_transfer_tag, cmd_sn, exp_stat_sn;
};

struct pdu_nop_in {
    uint32_t target_transfer_tag, stat_sn, exp_cmd_sn, max_cmd_sn;
};

struct pdu {
    enum pdu_opcode opcode;
    bool immediate; /* the I bit; requests only */
    uint8_t total_ahs_words;
    uint32_t data_segment_length;
    uint64_t lun; /* the 8-byte LUN field as one big-endian number, where the PDU has one */
    uint32_t initiator_task_tag;
    union {
        struct pdu_scsi_command scsi_command;
        struct pdu_scsi_response scsi_response;
        struct pdu_task_management_request task_management_request;
        struct pdu_task_management_response task_management_response;
        struct pdu_login_request login_request;
        struct pdu_login_response login_response;
        struct pdu_text_request text_request;
        struct pdu_text_response text_response;
        struct pdu_data_out data_out;
        struct pdu_data_in data_in;
        struct pdu_r2t r2t;
        struct pdu_async_message async_message;
        struct pdu_logout_request logout_request;
        struct pdu_logout_response logout_response;
        struct pdu_snack_request snack_request;
        struct pdu_reject reject;
        struct pdu_nop_out nop_out;
        struct pdu_nop_in nop_in;
    };
};

enum pdu_error {
    PDU_OK = 0,
    PDU_UNKNOWN_OPCODE, /* answer: Reject, command not supported */
    PDU_INVALID_FIELD,  /* answer: Reject, invalid PDU field */
};

/* Fills *pdu; on an error, opcode, lengths and initiator_task_tag are filled all the same. */
enum pdu_error pdu_parse(const uint8_t bhs[BHS_BYTES], struct pdu *pdu);

/* Writes all 48 bytes. Fields too wide for the wire (a data segment beyond 24 bits) are a bug of
 * ours and are asserted. */
void pdu_build(const struct pdu *pdu, uint8_t bhs[BHS_BYTES]);

/* The same for a Data-In. Most of what is sent are those, and their caller need not ask which of
 * all PDUs it is. */
void pdu_build_data_in(const struct pdu *pdu, uint8_t bhs[BHS_BYTES]);

/* "SCSI Command", for logs. Never NULL. */
const char *pdu_name(enum pdu_opcode opcode);

/* The data segment with its padding to a multiple of four, RFC 7143 11.2.3. */
static inline uint32_t pdu_padded(uint32_t data_segment_length)
{
    return (data_segment_length + 3U) & ~3U;
}

/* What the additional header segments hold, RFC 7143 11.2.2. */
struct pdu_ahs {
    struct slice extended_cdb; /* the CDB's bytes from the 17th on; empty when there is none */
    bool has_bidi_read;
    uint32_t bidi_read_length;
};

/*
 * PDU_INVALID_FIELD when a segment's length runs out of the area or is zero, and when a type
 * repeats or is reserved: what it meant for the command cannot be known.
 */
enum pdu_error pdu_ahs_parse(struct slice area, struct pdu_ahs *ahs);
