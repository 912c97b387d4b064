#include "proto/pdu.h"

#include <assert.h>

/* Byte 1 of the headers; the RFC counts bits from the left, so its bit 0 is 0x80. */
enum {
    FLAG_FINAL = 0x80,
    FLAG_CONTINUE = 0x40,       /* text and login */
    FLAG_TRANSIT = 0x80,        /* login */
    FLAG_READ = 0x40,           /* SCSI Command */
    FLAG_WRITE = 0x20,          /* SCSI Command */
    FLAG_ACKNOWLEDGE = 0x40,    /* Data-In */
    FLAG_BIDI_OVERFLOW = 0x10,  /* SCSI Response */
    FLAG_BIDI_UNDERFLOW = 0x08, /* SCSI Response */
    FLAG_OVERFLOW = 0x04,       /* SCSI Response, Data-In */
    FLAG_UNDERFLOW = 0x02,      /* SCSI Response, Data-In */
    FLAG_STATUS = 0x01,         /* Data-In */
    FLAG_IMMEDIATE = 0x40,      /* byte 0 */
    OPCODE_MASK = 0x3f,
    ATTRIBUTE_MASK = 0x07,
    FUNCTION_MASK = 0x7f, /* task management function, logout reason */
    SNACK_TYPE_MASK = 0x0f,
    STAGE_MASK = 0x03,
    CSG_SHIFT = 2,
};

/*
 * RFC 7143 11.4.1: both bits at once is a protocol error. The count is reserved, so zero to us,
 * unless one of them is set.
 */
static bool residual_parse(uint8_t flags, uint8_t overflow, uint8_t underflow, uint32_t count,
                           struct residual *residual)
{
    residual->kind = flags & overflow    ? RESIDUAL_OVERFLOW
                     : flags & underflow ? RESIDUAL_UNDERFLOW
                                         : RESIDUAL_NONE;
    residual->count_bytes = residual->kind == RESIDUAL_NONE ? 0 : count;
    return (flags & (overflow | underflow)) != (overflow | underflow);
}

static uint8_t residual_flags(const struct residual *residual, uint8_t overflow, uint8_t underflow)
{
    return residual->kind == RESIDUAL_NONE        ? 0
           : residual->kind == RESIDUAL_UNDERFLOW ? underflow
                                                  : overflow;
}

static uint32_t residual_count(const struct residual *residual)
{
    return residual->kind == RESIDUAL_NONE ? 0 : residual->count_bytes;
}

/* RFC 7143 11.3 */
static enum pdu_error parse_scsi_command(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_scsi_command *p = &pdu->scsi_command;

    pdu->lun = get_be64(bhs + 8);
    p->final = bhs[1] & FLAG_FINAL;
    p->read = bhs[1] & FLAG_READ;
    p->write = bhs[1] & FLAG_WRITE;
    p->attribute = bhs[1] & ATTRIBUTE_MASK;
    p->expected_data_transfer_length = get_be32(bhs + 20);
    p->cmd_sn = get_be32(bhs + 24);
    p->exp_stat_sn = get_be32(bhs + 28);
    memcpy(p->cdb, bhs + 32, sizeof p->cdb);
    return p->attribute <= TASK_ACA ? PDU_OK : PDU_INVALID_FIELD;
}

/* RFC 7143 11.7.1 */
static enum pdu_error parse_data_out(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_data_out *p = &pdu->data_out;

    pdu->lun = get_be64(bhs + 8);
    p->final = bhs[1] & FLAG_FINAL;
    p->target_transfer_tag = get_be32(bhs + 20);
    p->exp_stat_sn = get_be32(bhs + 28);
    p->data_sn = get_be32(bhs + 36);
    p->buffer_offset = get_be32(bhs + 40);
    return PDU_OK;
}

/* RFC 7143 11.4 */
static enum pdu_error parse_scsi_response(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_scsi_response *p = &pdu->scsi_response;
    bool ok;

    p->response = bhs[2];
    p->status = bhs[3];
    p->snack_tag = get_be32(bhs + 20);
    p->stat_sn = get_be32(bhs + 24);
    p->exp_cmd_sn = get_be32(bhs + 28);
    p->max_cmd_sn = get_be32(bhs + 32);
    p->exp_data_sn = get_be32(bhs + 36);
    ok = residual_parse(bhs[1], FLAG_BIDI_OVERFLOW, FLAG_BIDI_UNDERFLOW, get_be32(bhs + 40),
                        &p->bidi_read_residual);
    ok &= residual_parse(bhs[1], FLAG_OVERFLOW, FLAG_UNDERFLOW, get_be32(bhs + 44), &p->residual);
    return ok ? PDU_OK : PDU_INVALID_FIELD;
}

/* RFC 7143 11.7.2; status, StatSN and the residual mean something only with the S bit */
static enum pdu_error parse_data_in(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_data_in *p = &pdu->data_in;
    bool ok = true;

    pdu->lun = get_be64(bhs + 8);
    p->final = bhs[1] & FLAG_FINAL;
    p->acknowledge = bhs[1] & FLAG_ACKNOWLEDGE;
    p->has_status = bhs[1] & FLAG_STATUS;
    p->status = p->has_status ? bhs[3] : 0;
    p->target_transfer_tag = get_be32(bhs + 20);
    p->stat_sn = p->has_status ? get_be32(bhs + 24) : 0;
    p->exp_cmd_sn = get_be32(bhs + 28);
    p->max_cmd_sn = get_be32(bhs + 32);
    p->data_sn = get_be32(bhs + 36);
    p->buffer_offset = get_be32(bhs + 40);
    p->residual = (struct residual){ RESIDUAL_NONE, 0 };
    if (p->has_status)
        ok =
            residual_parse(bhs[1], FLAG_OVERFLOW, FLAG_UNDERFLOW, get_be32(bhs + 44), &p->residual);
    return ok ? PDU_OK : PDU_INVALID_FIELD;
}

/* RFC 7143 11.5; an unknown function is answered by a task management response, not refused here */
static void parse_task_management_request(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_task_management_request *p = &pdu->task_management_request;

    pdu->lun = get_be64(bhs + 8);
    p->function = bhs[1] & FUNCTION_MASK;
    p->referenced_task_tag = get_be32(bhs + 20);
    p->cmd_sn = get_be32(bhs + 24);
    p->exp_stat_sn = get_be32(bhs + 28);
    p->ref_cmd_sn = get_be32(bhs + 32);
    p->exp_data_sn = get_be32(bhs + 36);
}

/* RFC 7143 11.6 */
static void parse_task_management_response(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_task_management_response *p = &pdu->task_management_response;

    p->response = bhs[2];
    p->stat_sn = get_be32(bhs + 24);
    p->exp_cmd_sn = get_be32(bhs + 28);
    p->max_cmd_sn = get_be32(bhs + 32);
}

/* RFC 7143 11.12; T with C, or CSG 2, is the login's to refuse: it has the status codes for it */
static void parse_login_request(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_login_request *p = &pdu->login_request;

    p->transit = bhs[1] & FLAG_TRANSIT;
    p->continues = bhs[1] & FLAG_CONTINUE;
    p->csg = bhs[1] >> CSG_SHIFT & STAGE_MASK;
    p->nsg = bhs[1] & STAGE_MASK;
    p->version_max = bhs[2];
    p->version_min = bhs[3];
    memcpy(p->isid, bhs + 8, sizeof p->isid);
    p->tsih = get_be16(bhs + 14);
    p->cid = get_be16(bhs + 20);
    p->cmd_sn = get_be32(bhs + 24);
    p->exp_stat_sn = get_be32(bhs + 28);
}

/* RFC 7143 11.13 */
static void parse_login_response(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_login_response *p = &pdu->login_response;

    p->transit = bhs[1] & FLAG_TRANSIT;
    p->continues = bhs[1] & FLAG_CONTINUE;
    p->csg = bhs[1] >> CSG_SHIFT & STAGE_MASK;
    p->nsg = bhs[1] & STAGE_MASK;
    p->version_max = bhs[2];
    p->version_active = bhs[3];
    memcpy(p->isid, bhs + 8, sizeof p->isid);
    p->tsih = get_be16(bhs + 14);
    p->stat_sn = get_be32(bhs + 24);
    p->exp_cmd_sn = get_be32(bhs + 28);
    p->max_cmd_sn = get_be32(bhs + 32);
    p->status = get_be16(bhs + 36);
}

/* RFC 7143 11.10 */
static void parse_text_request(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_text_request *p = &pdu->text_request;

    pdu->lun = get_be64(bhs + 8);
    p->final = bhs[1] & FLAG_FINAL;
    p->continues = bhs[1] & FLAG_CONTINUE;
    p->target_transfer_tag = get_be32(bhs + 20);
    p->cmd_sn = get_be32(bhs + 24);
    p->exp_stat_sn = get_be32(bhs + 28);
}

/* RFC 7143 11.11 */
static void parse_text_response(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_text_response *p = &pdu->text_response;

    pdu->lun = get_be64(bhs + 8);
    p->final = bhs[1] & FLAG_FINAL;
    p->continues = bhs[1] & FLAG_CONTINUE;
    p->target_transfer_tag = get_be32(bhs + 20);
    p->stat_sn = get_be32(bhs + 24);
    p->exp_cmd_sn = get_be32(bhs + 28);
    p->max_cmd_sn = get_be32(bhs + 32);
}

/* RFC 7143 11.8 */
static void parse_r2t(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_r2t *p = &pdu->r2t;

    pdu->lun = get_be64(bhs + 8);
    p->target_transfer_tag = get_be32(bhs + 20);
    p->stat_sn = get_be32(bhs + 24);
    p->exp_cmd_sn = get_be32(bhs + 28);
    p->max_cmd_sn = get_be32(bhs + 32);
    p->r2t_sn = get_be32(bhs + 36);
    p->buffer_offset = get_be32(bhs + 40);
    p->desired_data_transfer_length = get_be32(bhs + 44);
}

/* RFC 7143 11.9 */
static void parse_async_message(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_async_message *p = &pdu->async_message;

    pdu->lun = get_be64(bhs + 8);
    p->stat_sn = get_be32(bhs + 24);
    p->exp_cmd_sn = get_be32(bhs + 28);
    p->max_cmd_sn = get_be32(bhs + 32);
    p->event = bhs[36];
    p->vendor_code = bhs[37];
    p->parameter1 = get_be16(bhs + 38);
    p->parameter2 = get_be16(bhs + 40);
    p->parameter3 = get_be16(bhs + 42);
}

/* RFC 7143 11.14 */
static void parse_logout_request(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_logout_request *p = &pdu->logout_request;

    p->reason = bhs[1] & FUNCTION_MASK;
    p->cid = get_be16(bhs + 20);
    p->cmd_sn = get_be32(bhs + 24);
    p->exp_stat_sn = get_be32(bhs + 28);
}

/* RFC 7143 11.15 */
static void parse_logout_response(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_logout_response *p = &pdu->logout_response;

    p->response = bhs[2];
    p->stat_sn = get_be32(bhs + 24);
    p->exp_cmd_sn = get_be32(bhs + 28);
    p->max_cmd_sn = get_be32(bhs + 32);
    p->time2wait = get_be16(bhs + 40);
    p->time2retain = get_be16(bhs + 42);
}

/* RFC 7143 11.16 */
static void parse_snack_request(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_snack_request *p = &pdu->snack_request;

    pdu->lun = get_be64(bhs + 8);
    p->type = bhs[1] & SNACK_TYPE_MASK;
    p->target_transfer_tag = get_be32(bhs + 20);
    p->exp_stat_sn = get_be32(bhs + 28);
    p->beg_run = get_be32(bhs + 40);
    p->run_length = get_be32(bhs + 44);
}

/* RFC 7143 11.17 */
static void parse_reject(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_reject *p = &pdu->reject;

    p->reason = bhs[2];
    p->stat_sn = get_be32(bhs + 24);
    p->exp_cmd_sn = get_be32(bhs + 28);
    p->max_cmd_sn = get_be32(bhs + 32);
    p->data_sn = get_be32(bhs + 36);
}

/* RFC 7143 11.18 */
static void parse_nop_out(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_nop_out *p = &pdu->nop_out;

    pdu->lun = get_be64(bhs + 8);
    p->target_transfer_tag = get_be32(bhs + 20);
    p->cmd_sn = get_be32(bhs + 24);
    p->exp_stat_sn = get_be32(bhs + 28);
}

/* RFC 7143 11.19 */
static void parse_nop_in(const uint8_t *bhs, struct pdu *pdu)
{
    struct pdu_nop_in *p = &pdu->nop_in;

    pdu->lun = get_be64(bhs + 8);
    p->target_transfer_tag = get_be32(bhs + 20);
    p->stat_sn = get_be32(bhs + 24);
    p->exp_cmd_sn = get_be32(bhs + 28);
    p->max_cmd_sn = get_be32(bhs + 32);
}

enum pdu_error pdu_parse(const uint8_t bhs[BHS_BYTES], struct pdu *pdu)
{
    enum pdu_error error = PDU_OK;

    /* RFC 7143 11.2.1: the part that every header has */
    pdu->opcode = bhs[0] & OPCODE_MASK;
    pdu->immediate = false;
    pdu->total_ahs_words = bhs[4];
    pdu->data_segment_length = get_be24(bhs + 5);
    pdu->lun = 0;
    pdu->initiator_task_tag = get_be32(bhs + 16);

    switch (pdu->opcode) {
    case PDU_SCSI_COMMAND:
        pdu->immediate = bhs[0] & FLAG_IMMEDIATE;
        return parse_scsi_command(bhs, pdu); /* the one PDU that may have an AHS */
    case PDU_DATA_OUT: error = parse_data_out(bhs, pdu); break;
    case PDU_NOP_OUT:
        pdu->immediate = bhs[0] & FLAG_IMMEDIATE;
        parse_nop_out(bhs, pdu);
        break;
    case PDU_TASK_MANAGEMENT_REQUEST:
        pdu->immediate = bhs[0] & FLAG_IMMEDIATE;
        parse_task_management_request(bhs, pdu);
        break;
    case PDU_LOGIN_REQUEST:
        pdu->immediate = bhs[0] & FLAG_IMMEDIATE;
        parse_login_request(bhs, pdu);
        break;
    case PDU_TEXT_REQUEST:
        pdu->immediate = bhs[0] & FLAG_IMMEDIATE;
        parse_text_request(bhs, pdu);
        break;
    case PDU_LOGOUT_REQUEST:
        pdu->immediate = bhs[0] & FLAG_IMMEDIATE;
        parse_logout_request(bhs, pdu);
        break;
    case PDU_SNACK_REQUEST: parse_snack_request(bhs, pdu); break;
    case PDU_SCSI_RESPONSE: error = parse_scsi_response(bhs, pdu); break;
    case PDU_DATA_IN: error = parse_data_in(bhs, pdu); break;
    case PDU_TASK_MANAGEMENT_RESPONSE: parse_task_management_response(bhs, pdu); break;
    case PDU_LOGIN_RESPONSE: parse_login_response(bhs, pdu); break;
    case PDU_TEXT_RESPONSE: parse_text_response(bhs, pdu); break;
    case PDU_LOGOUT_RESPONSE: parse_logout_response(bhs, pdu); break;
    case PDU_R2T: parse_r2t(bhs, pdu); break;
    case PDU_ASYNC_MESSAGE: parse_async_message(bhs, pdu); break;
    case PDU_REJECT: parse_reject(bhs, pdu); break;
    case PDU_NOP_IN: parse_nop_in(bhs, pdu); break;
    default: return PDU_UNKNOWN_OPCODE;
    }
    /* RFC 7143 11.2.1.5: zero where no AHS is defined */
    if (pdu->total_ahs_words != 0)
        error = PDU_INVALID_FIELD;
    return error;
}

/* Bytes 0 to 7 and 16 to 19, which every header has. */
static inline void put_head(const struct pdu *pdu, uint8_t *bhs, uint8_t byte1, uint8_t byte2,
                            uint8_t byte3)
{
    assert(pdu->data_segment_length <= DATA_SEGMENT_MAX);
    bhs[0] = (uint8_t)(pdu->opcode | (pdu->immediate ? FLAG_IMMEDIATE : 0));
    bhs[1] = byte1;
    bhs[2] = byte2;
    bhs[3] = byte3;
    bhs[4] = pdu->total_ahs_words;
    put_be24(bhs + 5, pdu->data_segment_length);
    put_be32(bhs + 16, pdu->initiator_task_tag);
}

/* Bytes 20 to 47 as the seven words that the RFC draws; with put_head and the LUN, all 48. */
static inline void put_words(uint8_t *bhs, uint32_t w20, uint32_t w24, uint32_t w28, uint32_t w32,
                             uint32_t w36, uint32_t w40, uint32_t w44)
{
    put_be32(bhs + 20, w20);
    put_be32(bhs + 24, w24);
    put_be32(bhs + 28, w28);
    put_be32(bhs + 32, w32);
    put_be32(bhs + 36, w36);
    put_be32(bhs + 40, w40);
    put_be32(bhs + 44, w44);
}

void pdu_build_data_in(const struct pdu *pdu, uint8_t bhs[BHS_BYTES])
{
    const struct pdu_data_in *p = &pdu->data_in;
    uint8_t flags =
        (uint8_t)((p->final ? FLAG_FINAL : 0) | (p->acknowledge ? FLAG_ACKNOWLEDGE : 0));
    uint8_t status = 0;
    uint32_t stat_sn = 0, residual = 0;

    if (p->has_status) {
        flags |= FLAG_STATUS | residual_flags(&p->residual, FLAG_OVERFLOW, FLAG_UNDERFLOW);
        status = p->status;
        stat_sn = p->stat_sn;
        residual = residual_count(&p->residual);
    }
    put_head(pdu, bhs, flags, 0, status);
    put_be64(bhs + 8, pdu->lun);
    put_words(bhs, p->target_transfer_tag, stat_sn, p->exp_cmd_sn, p->max_cmd_sn, p->data_sn,
              p->buffer_offset, residual);
}

static void build_scsi_response(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_scsi_response *p = &pdu->scsi_response;
    uint8_t flags = FLAG_FINAL | residual_flags(&p->residual, FLAG_OVERFLOW, FLAG_UNDERFLOW) |
                    residual_flags(&p->bidi_read_residual, FLAG_BIDI_OVERFLOW, FLAG_BIDI_UNDERFLOW);

    put_head(pdu, bhs, flags, p->response, p->status);
    put_be64(bhs + 8, 0);
    put_words(bhs, p->snack_tag, p->stat_sn, p->exp_cmd_sn, p->max_cmd_sn, p->exp_data_sn,
              residual_count(&p->bidi_read_residual), residual_count(&p->residual));
}

static void build_r2t(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_r2t *p = &pdu->r2t;

    put_head(pdu, bhs, FLAG_FINAL, 0, 0);
    put_be64(bhs + 8, pdu->lun);
    put_words(bhs, p->target_transfer_tag, p->stat_sn, p->exp_cmd_sn, p->max_cmd_sn, p->r2t_sn,
              p->buffer_offset, p->desired_data_transfer_length);
}

static void build_scsi_command(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_scsi_command *p = &pdu->scsi_command;

    assert(p->attribute <= TASK_ACA);
    put_head(pdu, bhs,
             (uint8_t)((p->final ? FLAG_FINAL : 0) | (p->read ? FLAG_READ : 0) |
                       (p->write ? FLAG_WRITE : 0) | p->attribute),
             0, 0);
    put_be64(bhs + 8, pdu->lun);
    put_be32(bhs + 20, p->expected_data_transfer_length);
    put_be32(bhs + 24, p->cmd_sn);
    put_be32(bhs + 28, p->exp_stat_sn);
    memcpy(bhs + 32, p->cdb, sizeof p->cdb);
}

static void build_data_out(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_data_out *p = &pdu->data_out;

    put_head(pdu, bhs, p->final ? FLAG_FINAL : 0, 0, 0);
    put_be64(bhs + 8, pdu->lun);
    put_words(bhs, p->target_transfer_tag, 0, p->exp_stat_sn, 0, p->data_sn, p->buffer_offset, 0);
}

static void build_task_management_request(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_task_management_request *p = &pdu->task_management_request;

    assert((unsigned)p->function <= FUNCTION_MASK);
    put_head(pdu, bhs, (uint8_t)(FLAG_FINAL | p->function), 0, 0);
    put_be64(bhs + 8, pdu->lun);
    put_words(bhs, p->referenced_task_tag, p->cmd_sn, p->exp_stat_sn, p->ref_cmd_sn, p->exp_data_sn,
              0, 0);
}

static void build_task_management_response(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_task_management_response *p = &pdu->task_management_response;

    put_head(pdu, bhs, FLAG_FINAL, p->response, 0);
    put_be64(bhs + 8, 0);
    put_words(bhs, 0, p->stat_sn, p->exp_cmd_sn, p->max_cmd_sn, 0, 0, 0);
}

static uint8_t login_flags(bool transit, bool continues, uint8_t csg, uint8_t nsg)
{
    assert(csg <= STAGE_MASK && nsg <= STAGE_MASK);
    return (uint8_t)((transit ? FLAG_TRANSIT : 0) | (continues ? FLAG_CONTINUE : 0) |
                     csg << CSG_SHIFT | nsg);
}

static void build_login_request(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_login_request *p = &pdu->login_request;

    put_head(pdu, bhs, login_flags(p->transit, p->continues, p->csg, p->nsg), p->version_max,
             p->version_min);
    memcpy(bhs + 8, p->isid, sizeof p->isid);
    put_be16(bhs + 14, p->tsih);
    put_words(bhs, (uint32_t)p->cid << 16, p->cmd_sn, p->exp_stat_sn, 0, 0, 0, 0);
}

static void build_login_response(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_login_response *p = &pdu->login_response;

    put_head(pdu, bhs, login_flags(p->transit, p->continues, p->csg, p->nsg), p->version_max,
             p->version_active);
    memcpy(bhs + 8, p->isid, sizeof p->isid);
    put_be16(bhs + 14, p->tsih);
    put_words(bhs, 0, p->stat_sn, p->exp_cmd_sn, p->max_cmd_sn, (uint32_t)p->status << 16, 0, 0);
}

static uint8_t text_flags(bool final, bool continues)
{
    return (uint8_t)((final ? FLAG_FINAL : 0) | (continues ? FLAG_CONTINUE : 0));
}

static void build_text_request(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_text_request *p = &pdu->text_request;

    put_head(pdu, bhs, text_flags(p->final, p->continues), 0, 0);
    put_be64(bhs + 8, pdu->lun);
    put_words(bhs, p->target_transfer_tag, p->cmd_sn, p->exp_stat_sn, 0, 0, 0, 0);
}

static void build_text_response(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_text_response *p = &pdu->text_response;

    put_head(pdu, bhs, text_flags(p->final, p->continues), 0, 0);
    put_be64(bhs + 8, pdu->lun);
    put_words(bhs, p->target_transfer_tag, p->stat_sn, p->exp_cmd_sn, p->max_cmd_sn, 0, 0, 0);
}

static void build_async_message(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_async_message *p = &pdu->async_message;

    put_head(pdu, bhs, FLAG_FINAL, 0, 0);
    put_be64(bhs + 8, pdu->lun);
    put_words(bhs, 0, p->stat_sn, p->exp_cmd_sn, p->max_cmd_sn,
              (uint32_t)p->event << 24 | (uint32_t)p->vendor_code << 16 | p->parameter1,
              (uint32_t)p->parameter2 << 16 | p->parameter3, 0);
}

static void build_logout_request(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_logout_request *p = &pdu->logout_request;

    assert(p->reason <= FUNCTION_MASK);
    put_head(pdu, bhs, FLAG_FINAL | p->reason, 0, 0);
    put_be64(bhs + 8, 0);
    put_words(bhs, (uint32_t)p->cid << 16, p->cmd_sn, p->exp_stat_sn, 0, 0, 0, 0);
}

static void build_logout_response(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_logout_response *p = &pdu->logout_response;

    put_head(pdu, bhs, FLAG_FINAL, p->response, 0);
    put_be64(bhs + 8, 0);
    put_words(bhs, 0, p->stat_sn, p->exp_cmd_sn, p->max_cmd_sn, 0,
              (uint32_t)p->time2wait << 16 | p->time2retain, 0);
}

static void build_snack_request(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_snack_request *p = &pdu->snack_request;

    assert(p->type <= SNACK_TYPE_MASK);
    put_head(pdu, bhs, FLAG_FINAL | p->type, 0, 0);
    put_be64(bhs + 8, pdu->lun);
    put_words(bhs, p->target_transfer_tag, 0, p->exp_stat_sn, 0, 0, p->beg_run, p->run_length);
}

static void build_reject(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_reject *p = &pdu->reject;

    put_head(pdu, bhs, FLAG_FINAL, p->reason, 0);
    put_be64(bhs + 8, 0);
    put_words(bhs, 0, p->stat_sn, p->exp_cmd_sn, p->max_cmd_sn, p->data_sn, 0, 0);
}

static void build_nop_out(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_nop_out *p = &pdu->nop_out;

    put_head(pdu, bhs, FLAG_FINAL, 0, 0);
    put_be64(bhs + 8, pdu->lun);
    put_words(bhs, p->target_transfer_tag, p->cmd_sn, p->exp_stat_sn, 0, 0, 0, 0);
}

static void build_nop_in(const struct pdu *pdu, uint8_t *bhs)
{
    const struct pdu_nop_in *p = &pdu->nop_in;

    put_head(pdu, bhs, FLAG_FINAL, 0, 0);
    put_be64(bhs + 8, pdu->lun);
    put_words(bhs, p->target_transfer_tag, p->stat_sn, p->exp_cmd_sn, p->max_cmd_sn, 0, 0, 0);
}

void pdu_build(const struct pdu *pdu, uint8_t bhs[BHS_BYTES])
{
    switch (pdu->opcode) {
    case PDU_DATA_IN: pdu_build_data_in(pdu, bhs); return;
    case PDU_SCSI_RESPONSE: build_scsi_response(pdu, bhs); return;
    case PDU_R2T: build_r2t(pdu, bhs); return;
    case PDU_SCSI_COMMAND: build_scsi_command(pdu, bhs); return;
    case PDU_DATA_OUT: build_data_out(pdu, bhs); return;
    case PDU_TASK_MANAGEMENT_REQUEST: build_task_management_request(pdu, bhs); return;
    case PDU_TASK_MANAGEMENT_RESPONSE: build_task_management_response(pdu, bhs); return;
    case PDU_LOGIN_REQUEST: build_login_request(pdu, bhs); return;
    case PDU_LOGIN_RESPONSE: build_login_response(pdu, bhs); return;
    case PDU_TEXT_REQUEST: build_text_request(pdu, bhs); return;
    case PDU_TEXT_RESPONSE: build_text_response(pdu, bhs); return;
    case PDU_LOGOUT_REQUEST: build_logout_request(pdu, bhs); return;
    case PDU_LOGOUT_RESPONSE: build_logout_response(pdu, bhs); return;
    case PDU_SNACK_REQUEST: build_snack_request(pdu, bhs); return;
    case PDU_ASYNC_MESSAGE: build_async_message(pdu, bhs); return;
    case PDU_REJECT: build_reject(pdu, bhs); return;
    case PDU_NOP_OUT: build_nop_out(pdu, bhs); return;
    case PDU_NOP_IN: build_nop_in(pdu, bhs); return;
    }
    assert(false && "pdu_build: not an opcode");
}

const char *pdu_name(enum pdu_opcode opcode)
{
    switch (opcode) {
    case PDU_NOP_OUT: return "NOP-Out";
    case PDU_SCSI_COMMAND: return "SCSI Command";
    case PDU_TASK_MANAGEMENT_REQUEST: return "Task Management Function Request";
    case PDU_LOGIN_REQUEST: return "Login Request";
    case PDU_TEXT_REQUEST: return "Text Request";
    case PDU_DATA_OUT: return "SCSI Data-Out";
    case PDU_LOGOUT_REQUEST: return "Logout Request";
    case PDU_SNACK_REQUEST: return "SNACK Request";
    case PDU_NOP_IN: return "NOP-In";
    case PDU_SCSI_RESPONSE: return "SCSI Response";
    case PDU_TASK_MANAGEMENT_RESPONSE: return "Task Management Function Response";
    case PDU_LOGIN_RESPONSE: return "Login Response";
    case PDU_TEXT_RESPONSE: return "Text Response";
    case PDU_DATA_IN: return "SCSI Data-In";
    case PDU_LOGOUT_RESPONSE: return "Logout Response";
    case PDU_R2T: return "R2T";
    case PDU_ASYNC_MESSAGE: return "Asynchronous Message";
    case PDU_REJECT: return "Reject";
    }
    return "unknown PDU";
}

/* RFC 7143 11.2.2: AHSLength counts neither itself nor the type, nor the padding. */
enum pdu_error pdu_ahs_parse(struct slice area, struct pdu_ahs *ahs)
{
    enum { AHS_EXTENDED_CDB = 1, AHS_BIDI_READ = 2, AHS_CODE_MASK = 0x3f };
    struct cursor c = cursor_over(area.bytes, area.len);
    bool has_extended_cdb = false;

    *ahs = (struct pdu_ahs){ .extended_cdb = slice_of("", 0) };
    while (cursor_left(&c) > 0) {
        size_t len = cursor_be16(&c);
        uint8_t code = cursor_u8(&c) & AHS_CODE_MASK;
        struct slice body = cursor_slice(&c, len);

        cursor_slice(&c, -(3 + len) & 3);
        if (c.overrun || len == 0)
            return PDU_INVALID_FIELD;
        if (code == AHS_EXTENDED_CDB && !has_extended_cdb) {
            has_extended_cdb = true;
            ahs->extended_cdb = slice_of(body.bytes + 1, len - 1); /* after one reserved byte */
        } else if (code == AHS_BIDI_READ && !ahs->has_bidi_read && len == 5) {
            ahs->has_bidi_read = true;
            ahs->bidi_read_length = get_be32(body.bytes + 1);
        } else {
            return PDU_INVALID_FIELD; /* a reserved type may change what the command means */
        }
    }
    return PDU_OK;
}
