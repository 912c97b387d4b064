#include "proto/pr.h"

#include "proto/text.h"

enum {
    SPEC_I_PT = 0x08,
    ALL_TG_PT = 0x04,
    APTPL = 0x01,
    MOVE_UNREG = 0x02,
    MOVE_APTPL = 0x01,

    FLAGS_BYTE = 20,
    MOVE_FLAGS_BYTE = 17,
    MOVE_PORT_BYTE = 18,
    IDS_LENGTH_BYTE = 24, /* SPEC_I_PT: of the TransportIDs that follow */
    MOVE_ID_LENGTH_BYTE = 20,

    PROTOCOL_ISCSI = 0x05,
    FORMAT_NAME = 0x00,
    FORMAT_PORT = 0x40,
    ADDITIONAL_BYTES_MIN = 20,
    ISID_DIGITS = 12,

    SCOPE_UNIT = 0x00,
};

static const char separator[] = ",i,0x"; /* between name and ISID, SPC-4 table 508 */

bool pr_type_is_known(unsigned type)
{
    return type == PR_WRITE_EXCLUSIVE || type == PR_EXCLUSIVE_ACCESS ||
           (type >= PR_WRITE_EXCLUSIVE_REGISTRANTS && type <= PR_EXCLUSIVE_ACCESS_ALL);
}

bool pr_type_is_all(enum pr_type type)
{
    return type == PR_WRITE_EXCLUSIVE_ALL || type == PR_EXCLUSIVE_ACCESS_ALL;
}

bool pr_type_is_registrants(enum pr_type type)
{
    return pr_type_is_all(type) || type == PR_WRITE_EXCLUSIVE_REGISTRANTS ||
           type == PR_EXCLUSIVE_ACCESS_REGISTRANTS;
}

bool pr_type_is_exclusive_access(enum pr_type type)
{
    return type == PR_EXCLUSIVE_ACCESS || type == PR_EXCLUSIVE_ACCESS_REGISTRANTS ||
           type == PR_EXCLUSIVE_ACCESS_ALL;
}

/* ---- TransportIDs ---- */

static char lower(uint8_t c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* The ISID behind the separator; a NUL must have ended it (SPC-4 7.6.4.6). */
static bool read_isid(struct slice digits, char isid[ISID_DIGITS + 1])
{
    if (digits.len != ISID_DIGITS)
        return false;
    for (size_t i = 0; i < ISID_DIGITS; i++) {
        isid[i] = lower(digits.bytes[i]);
        if (!is_hex(isid[i]))
            return false;
    }
    isid[ISID_DIGITS] = '\0';
    return true;
}

/* Up to the first NUL; what stands behind it is of no meaning. False: there is none. */
static bool terminated(struct slice text, struct slice *out)
{
    const uint8_t *nul = text.len > 0 ? memchr(text.bytes, '\0', text.len) : NULL;

    if (!nul)
        return false;
    *out = slice_of(text.bytes, (size_t)(nul - text.bytes));
    return true;
}

/* False: not an iSCSI TransportID, or it is cut off. */
static bool transport_id_take(struct cursor *c, struct transport_id *id)
{
    uint8_t first = cursor_u8(c);
    uint16_t additional_bytes;
    struct slice text;
    size_t comma = 0;

    cursor_u8(c);
    additional_bytes = cursor_be16(c);
    text = cursor_slice(c, additional_bytes);
    if (c->overrun || additional_bytes < ADDITIONAL_BYTES_MIN || additional_bytes % 4 != 0 ||
        (first & 0x3f) != PROTOCOL_ISCSI || !terminated(text, &text))
        return false;
    *id = (struct transport_id){ .name = text };
    if ((first & 0xc0) == FORMAT_PORT) {
        const size_t tail = sizeof separator - 1;

        while (comma < text.len && text.bytes[comma] != ',')
            comma++;
        if (text.len - comma < tail || memcmp(text.bytes + comma, separator, tail) != 0)
            return false;
        id->has_isid = true;
        id->name.len = comma;
        if (!read_isid(slice_of(text.bytes + comma + tail, text.len - comma - tail), id->isid))
            return false;
    } else if ((first & 0xc0) != FORMAT_NAME) {
        return false;
    }
    return text_is_iscsi_name(id->name);
}

static void transport_id_put(struct builder *out, const char *port)
{
    size_t len = strlen(port) + 1; /* own text: the port's name as we wrote it, with its end */
    size_t room = len < ADDITIONAL_BYTES_MIN ? ADDITIONAL_BYTES_MIN : (len + 3) / 4 * 4;

    uint8_t *p = builder_room(out, 4 + room);
    if (!p)
        return;
    p[0] = FORMAT_PORT | PROTOCOL_ISCSI;
    put_be16(p + 2, (uint16_t)room);
    memcpy(p + 4, port, len);
}

/* ---- PERSISTENT RESERVE OUT ---- */

static enum sense_code take_transport_ids(struct pr_out *out, struct cursor *list, size_t length_at,
                                          uint16_t *byte)
{
    uint32_t bytes = cursor_be32_at(list, length_at);
    struct cursor ids;

    if (list->overrun || bytes != list->len - (length_at + 4))
        return SENSE_PARAMETER_LIST_LENGTH_ERROR;
    ids = cursor_take(list, length_at + 4, bytes);
    out->has_transport_ids = true;
    while (cursor_left(&ids) > 0) {
        *byte = (uint16_t)(length_at + 4 + ids.at);
        if (out->transport_id_count == PR_TRANSPORT_IDS_MAX)
            return SENSE_INSUFFICIENT_REGISTRATION_RESOURCES;
        if (!transport_id_take(&ids, &out->transport_ids[out->transport_id_count]))
            return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
        out->transport_id_count++;
    }
    return SENSE_NONE;
}

static enum sense_code parse_move(struct pr_out *out, struct cursor *list, uint16_t *byte)
{
    uint8_t flags = cursor_u8_at(list, MOVE_FLAGS_BYTE);
    enum sense_code code;

    out->unregisters = flags & MOVE_UNREG;
    out->is_kept = flags & MOVE_APTPL;
    out->relative_target_port = cursor_be16_at(list, MOVE_PORT_BYTE);
    code = take_transport_ids(out, list, MOVE_ID_LENGTH_BYTE, byte);
    if (code != SENSE_NONE)
        return code;
    /* One port, and not a name that may stand for several. */
    *byte = PR_OUT_BASIC_BYTES;
    return out->transport_id_count == 1 && out->transport_ids[0].has_isid
               ? SENSE_NONE
               : SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
}

enum sense_code pr_out_parse(struct pr_out *out, enum pr_out_action action, const void *bytes,
                             size_t len, uint16_t *byte)
{
    struct cursor list = cursor_over(bytes, len);
    uint8_t flags = cursor_u8_at(&list, FLAGS_BYTE);

    *byte = 0;
    out->key = cursor_be64_at(&list, 0);
    out->action_key = cursor_be64_at(&list, 8);
    out->has_transport_ids = out->is_for_all_target_ports = false;
    out->is_kept = out->unregisters = false;
    out->relative_target_port = 0;
    out->transport_id_count = 0;
    if (len < PR_OUT_BASIC_BYTES)
        return SENSE_PARAMETER_LIST_LENGTH_ERROR;
    if (action == PR_OUT_REGISTER_AND_MOVE)
        return parse_move(out, &list, byte);
    if (flags & SPEC_I_PT && action != PR_OUT_REGISTER) {
        *byte = FLAGS_BYTE;
        return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
    }
    /* Both mean nothing to the other service actions, SPC-4 6.16.3. */
    if (action == PR_OUT_REGISTER || action == PR_OUT_REGISTER_AND_IGNORE) {
        out->is_for_all_target_ports = flags & ALL_TG_PT;
        out->is_kept = flags & APTPL;
    }
    if (flags & SPEC_I_PT)
        return take_transport_ids(out, &list, IDS_LENGTH_BYTE, byte);
    return len == PR_OUT_BASIC_BYTES ? SENSE_NONE : SENSE_PARAMETER_LIST_LENGTH_ERROR;
}

/* ---- PERSISTENT RESERVE IN ---- */

void pr_in_begin(struct builder *out, uint32_t generation)
{
    builder_be32(out, generation);
    builder_be32(out, 0);
}

void pr_in_end(struct builder *out)
{
    if (out->len >= 8)
        put_be32(out->bytes + 4, (uint32_t)(out->len - 8));
}

void pr_in_key(struct builder *out, uint64_t key)
{
    builder_be64(out, key);
}

void pr_in_reservation(struct builder *out, uint64_t key, enum pr_type type)
{
    uint8_t *p = builder_room(out, 16);

    if (!p)
        return;
    put_be64(p, key);
    p[13] = (uint8_t)(SCOPE_UNIT | type);
}

/* ALL_TG_PT is 0 and the port is told: a registration is one of this very nexus. */
void pr_in_registrant(struct builder *out, const struct pr_in_registrant *registrant)
{
    enum { HOLDER = 0x01, FIXED_BYTES = 24 };
    size_t start = out->len;
    uint8_t *p = builder_room(out, FIXED_BYTES);

    if (!p)
        return;
    put_be64(p, registrant->key);
    if (registrant->type != PR_NONE) {
        p[12] = HOLDER;
        p[13] = (uint8_t)(SCOPE_UNIT | registrant->type);
    }
    put_be16(p + 18, registrant->relative_target_port);
    transport_id_put(out, registrant->port);
    put_be32(p + 20, (uint32_t)(out->len - start - FIXED_BYTES));
}

void pr_in_capabilities(struct builder *out, bool can_keep, bool is_kept)
{
    enum {
        BYTES = 8,
        CRH = 0x10, /* RESERVE and RELEASE as SPC-4 5.13.3 says */
        SIP_C = 0x08,
        ATP_C = 0x04,
        PTPL_C = 0x01,
        TMV = 0x80, /* the type mask tells */
        PTPL_A = 0x01,
        /* one bit a type, SPC-4 table 209 */
        TYPES = 0x80 | 0x40 | 0x20 | 0x08 | 0x02,
        TYPES_MORE = 0x01,
    };
    uint8_t *p = builder_room(out, BYTES);

    if (!p)
        return;
    put_be16(p, BYTES);
    p[2] = (uint8_t)(CRH | SIP_C | ATP_C | (can_keep ? PTPL_C : 0));
    p[3] = (uint8_t)(TMV | (is_kept ? PTPL_A : 0));
    p[4] = TYPES;
    p[5] = TYPES_MORE;
}
