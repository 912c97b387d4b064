#include "proto/log_pages.h"

enum {
    SUBPAGE_ALL = 0xff,
    DISABLE_SAVE = 0x80,
    SUBPAGE_FORMAT = 0x40,
    BINARY_LIST = 0x03, /* FORMAT AND LINKING, SPC-4 7.3.2.2 */
    PARAMETER_HEADER_BYTES = 4,

    SCOPE_OF_THIS_UNIT = 0x01,
    SCOPE_SHARED = 0x02,
    TEMPERATURE_NOT_KNOWN = 0xff,

    PAGE_BYTE = 2,
    SUBPAGE_BYTE = 3,
    PARAMETER_BYTE = 5,
};

/* A parameter's value, zeroed; NULL when it is not wanted, or has no room. */
static uint8_t *parameter(struct builder *out, const struct log_request *request, uint16_t code,
                          uint8_t len)
{
    uint8_t *p;

    if (code < request->parameter)
        return NULL;
    p = builder_room(out, PARAMETER_HEADER_BYTES + (size_t)len);
    if (!p)
        return NULL;
    put_be16(p, code);
    p[2] = BINARY_LIST;
    p[3] = len;
    return p + PARAMETER_HEADER_BYTES;
}

/* SBC-3 6.4.4 */
static void fill_provisioning(struct builder *out, const struct log_facts *facts,
                              const struct log_request *request)
{
    uint8_t *p = parameter(out, request, 0x0001, 8);

    if (p) {
        put_be32(p, facts->available_sets);
        p[4] = SCOPE_SHARED; /* what the file system can give, it can give to any image */
    }
    p = parameter(out, request, 0x0002, 8);
    if (p) {
        put_be32(p, facts->used_sets);
        p[4] = SCOPE_OF_THIS_UNIT;
    }
}

/* SPC-4 7.3.9.2; how long the commands took is not counted. */
static void fill_statistics(struct builder *out, const struct log_facts *facts,
                            const struct log_request *request)
{
    uint8_t *p = parameter(out, request, 0x0001, 64);

    if (!p)
        return;
    put_be64(p, facts->reads);
    put_be64(p + 8, facts->writes);
    put_be64(p + 16, facts->written_blocks);
    put_be64(p + 24, facts->read_blocks);
    put_be64(p + 48, facts->reads + facts->writes);
}

/* SPC-4 7.3.11: none, as the mode page says (DEXCPT). */
static void fill_informational_exceptions(struct builder *out, const struct log_facts *facts,
                                          const struct log_request *request)
{
    uint8_t *p = parameter(out, request, 0x0000, 4);

    (void)facts;
    if (p)
        p[2] = TEMPERATURE_NOT_KNOWN;
}

struct log_page {
    uint8_t page;
    bool needs_thin;
    void (*fill)(struct builder *out, const struct log_facts *facts,
                 const struct log_request *request);
};

static const struct log_page pages[] = {
    {LOG_PAGE_PROVISIONING,              true,  fill_provisioning            },
    { LOG_PAGE_STATISTICS,               false, fill_statistics              },
    { LOG_PAGE_INFORMATIONAL_EXCEPTIONS, false, fill_informational_exceptions},
};
enum { PAGES = sizeof pages / sizeof *pages };

/* SPC-4 7.3.17 and 7.3.18: the pages alone, or each with its subpage. */
static void fill_supported(struct builder *out, const struct log_facts *facts, bool with_subpages)
{
    builder_u8(out, LOG_PAGE_SUPPORTED);
    if (with_subpages) {
        builder_u8(out, 0);
        builder_u8(out, LOG_PAGE_SUPPORTED);
        builder_u8(out, SUBPAGE_ALL);
    }
    for (unsigned i = 0; i < PAGES; i++) {
        if (pages[i].needs_thin && !facts->is_thin)
            continue;
        builder_u8(out, pages[i].page);
        if (with_subpages)
            builder_u8(out, 0);
    }
}

static const struct log_page *find(const struct log_facts *facts, uint8_t page)
{
    for (unsigned i = 0; i < PAGES; i++) {
        if (pages[i].page == page && (facts->is_thin || !pages[i].needs_thin))
            return &pages[i];
    }
    return NULL;
}

enum sense_code log_sense_build(struct builder *out, const struct log_facts *facts,
                                const struct log_request *request, uint16_t *field_byte)
{
    bool is_list = request->page == LOG_PAGE_SUPPORTED;
    const struct log_page *page = find(facts, request->page);
    size_t start = out->len, empty;

    *field_byte = PAGE_BYTE;
    if (!is_list && !page)
        return SENSE_INVALID_FIELD_IN_CDB;
    *field_byte = SUBPAGE_BYTE;
    if (request->subpage != 0 && !(is_list && request->subpage == SUBPAGE_ALL))
        return SENSE_INVALID_FIELD_IN_CDB;
    *field_byte = PARAMETER_BYTE;
    builder_room(out, 4);
    empty = out->len;
    if (is_list)
        fill_supported(out, facts, request->subpage == SUBPAGE_ALL);
    else
        page->fill(out, facts, request);
    /* SPC-4 6.8: no parameter at or behind PARAMETER POINTER; a list of pages has none at all. */
    if (out->overflow || out->len == empty || (is_list && request->parameter != 0))
        return SENSE_INVALID_FIELD_IN_CDB;
    out->bytes[start] = (uint8_t)(request->page | (is_list ? 0 : DISABLE_SAVE) |
                                  (request->subpage ? SUBPAGE_FORMAT : 0));
    out->bytes[start + 1] = request->subpage;
    put_be16(out->bytes + start + 2, (uint16_t)(out->len - empty));
    return SENSE_NONE;
}
