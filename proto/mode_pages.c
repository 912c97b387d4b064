#include "proto/mode_pages.h"

enum {
    PC_CHANGEABLE = 1,
    PC_DEFAULT = 2,
    PC_SAVED = 3,

    PAGE_ERROR_RECOVERY = 0x01,
    PAGE_DISCONNECT_RECONNECT = 0x02,
    PAGE_FORMAT_DEVICE = 0x03,
    PAGE_RIGID_GEOMETRY = 0x04,
    PAGE_CACHING = 0x08,
    PAGE_CONTROL = 0x0a,
    PAGE_INFORMATIONAL_EXCEPTIONS = 0x1c,
    PAGE_ALL = 0x3f,
    SUBPAGE_ALL = 0xff,

    PAGE_BYTES_MAX = 24,
    SUBPAGE_FORMAT = 0x40,

    WRITE_PROTECT = 0x80,
    DPOFUA = 0x10,
    LONG_LBA = 0x01,
    SHORT_DESCRIPTOR_BYTES = 8,
    LONG_DESCRIPTOR_BYTES = 16,

    D_SENSE_BYTE = 2,
    D_SENSE = 0x04,
    SWP_BYTE = 4,
    SWP = 0x08,

    /* What every disk pretends to have since disks have no geometry. */
    HEADS = 255,
    SECTORS = 63,
};

struct mode_page {
    uint8_t page;
    uint8_t bytes; /* with its two-byte header */
    void (*fill)(uint8_t *page, const struct mode_facts *facts);
};

/* Nothing to tell: the recovery is the host's own, the bursts are negotiated at login. */
static void fill_zeros(uint8_t *page, const struct mode_facts *facts)
{
    (void)page;
    (void)facts;
}

/* Obsolete since SBC-3, and still what old hosts make a partition table with. */
static void fill_format_device(uint8_t *page, const struct mode_facts *facts)
{
    put_be16(page + 10, SECTORS);
    put_be16(page + 12, (uint16_t)facts->block_bytes);
    page[20] = 0x40; /* HSEC */
}

static void fill_rigid_geometry(uint8_t *page, const struct mode_facts *facts)
{
    uint64_t cylinders = facts->blocks / (HEADS * SECTORS);

    put_be24(page + 2, cylinders > 0xffffff ? 0xffffff : (uint32_t)cylinders);
    page[5] = HEADS;
}

static void fill_caching(uint8_t *page, const struct mode_facts *facts)
{
    page[2] = facts->has_write_cache ? 0x04 : 0; /* WCE */
}

static void fill_control(uint8_t *page, const struct mode_facts *facts)
{
    page[2] = 0x02; /* GLTSD: there are no log parameters to save */
    page[3] = 0x10; /* QUEUE ALGORITHM MODIFIER: SIMPLE tasks are reordered, QERR 0 */
    if (facts->has_descriptor_sense)
        page[D_SENSE_BYTE] |= D_SENSE;
    if (facts->is_software_write_protected)
        page[SWP_BYTE] |= SWP;
}

static void fill_informational_exceptions(uint8_t *page, const struct mode_facts *facts)
{
    (void)facts;
    page[2] = 0x08; /* DEXCPT: none are reported */
}

/* Ascending, as SPC-4 6.11.1 wants them when all are asked for. */
static const struct mode_page pages[] = {
    {PAGE_ERROR_RECOVERY,            12, fill_zeros                   },
    { PAGE_DISCONNECT_RECONNECT,     16, fill_zeros                   },
    { PAGE_FORMAT_DEVICE,            24, fill_format_device           },
    { PAGE_RIGID_GEOMETRY,           24, fill_rigid_geometry          },
    { PAGE_CACHING,                  20, fill_caching                 },
    { PAGE_CONTROL,                  12, fill_control                 },
    { PAGE_INFORMATIONAL_EXCEPTIONS, 12, fill_informational_exceptions},
};
enum { PAGES = sizeof pages / sizeof *pages };

static void page_image(uint8_t out[PAGE_BYTES_MAX], const struct mode_page *page,
                       const struct mode_facts *facts)
{
    memset(out, 0, PAGE_BYTES_MAX);
    page->fill(out, facts);
    out[0] = page->page;
    out[1] = (uint8_t)(page->bytes - 2);
}

static void page_changeable(uint8_t out[PAGE_BYTES_MAX], const struct mode_page *page)
{
    memset(out, 0, PAGE_BYTES_MAX);
    out[0] = page->page;
    out[1] = (uint8_t)(page->bytes - 2);
    if (page->page == PAGE_CONTROL) {
        out[D_SENSE_BYTE] = D_SENSE;
        out[SWP_BYTE] = SWP;
    }
}

static void put_page(struct builder *out, const struct mode_page *page,
                     const struct mode_facts *facts, uint8_t page_control)
{
    struct mode_facts defaults = *facts;
    uint8_t image[PAGE_BYTES_MAX];

    defaults.has_descriptor_sense = false;
    defaults.is_software_write_protected = false;
    if (page_control == PC_CHANGEABLE)
        page_changeable(image, page);
    else
        page_image(image, page, page_control == PC_DEFAULT ? &defaults : facts);
    builder_bytes(out, image, page->bytes);
}

/* SBC-3 6.5.2; what does not fit into the short one's fields is told as all ones. */
static void put_descriptor(struct builder *out, const struct mode_facts *facts, bool is_long)
{
    uint8_t *p = builder_room(out, is_long ? LONG_DESCRIPTOR_BYTES : SHORT_DESCRIPTOR_BYTES);

    if (!p)
        return;
    if (is_long) {
        put_be64(p, facts->blocks);
        put_be32(p + 12, facts->block_bytes);
    } else {
        put_be32(p, facts->blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)facts->blocks);
        put_be24(p + 5, facts->block_bytes);
    }
}

enum sense_code mode_sense_build(struct builder *out, const struct mode_facts *facts,
                                 const struct mode_sense_request *request, uint16_t *field_byte)
{
    uint8_t device_specific = (uint8_t)(DPOFUA | (facts->is_write_protected ? WRITE_PROTECT : 0));
    bool is_long = request->is_10 && request->long_lba;
    uint8_t header_bytes = request->is_10 ? 8 : 4;
    uint8_t descriptor_bytes = 0;
    size_t start = out->len;
    bool is_found = false;

    *field_byte = 2;
    if (request->page_control == PC_SAVED)
        return SENSE_SAVING_NOT_SUPPORTED;
    if (request->subpage != 0 && request->subpage != SUBPAGE_ALL) {
        *field_byte = 3;
        return SENSE_INVALID_FIELD_IN_CDB;
    }
    builder_room(out, header_bytes);
    if (!request->no_descriptors) {
        descriptor_bytes = is_long ? LONG_DESCRIPTOR_BYTES : SHORT_DESCRIPTOR_BYTES;
        put_descriptor(out, facts, is_long);
    }
    for (unsigned i = 0; i < PAGES; i++) {
        if (request->page != PAGE_ALL && request->page != pages[i].page)
            continue;
        put_page(out, &pages[i], facts, request->page_control);
        is_found = true;
    }
    if (!is_found)
        return SENSE_INVALID_FIELD_IN_CDB;
    if (out->overflow)
        return SENSE_INTERNAL_TARGET_FAILURE;
    /* MODE DATA LENGTH does not count itself. */
    uint8_t *header = out->bytes + start;
    if (request->is_10) {
        put_be16(header, (uint16_t)(out->len - start - 2));
        header[3] = device_specific;
        header[4] = is_long && !request->no_descriptors ? LONG_LBA : 0;
        put_be16(header + 6, descriptor_bytes);
    } else {
        header[0] = (uint8_t)(out->len - start - 1);
        header[2] = device_specific;
        header[3] = descriptor_bytes;
    }
    return SENSE_NONE;
}

/* The block size and capacity are not the host's to change: only what holds already is accepted. */
static bool is_descriptor_good(struct cursor descriptor, const struct mode_facts *facts)
{
    bool is_long = descriptor.len == LONG_DESCRIPTOR_BYTES;
    uint64_t all_ones = is_long ? UINT64_MAX : UINT32_MAX;
    uint64_t blocks = is_long ? cursor_be64_at(&descriptor, 0) : cursor_be32_at(&descriptor, 0);
    uint32_t block_bytes =
        is_long ? cursor_be32_at(&descriptor, 12) : cursor_be24_at(&descriptor, 5);

    return block_bytes == facts->block_bytes &&
           (blocks == 0 || blocks == all_ones || blocks == facts->blocks);
}

/* One page of the list, at `at`; *at moves behind it. */
static enum sense_code select_page(struct cursor *list, size_t *at, const struct mode_facts *facts,
                                   struct mode_changes *changes, uint16_t *field_byte)
{
    uint8_t now[PAGE_BYTES_MAX], changeable[PAGE_BYTES_MAX];
    uint8_t code =
        cursor_u8_at(list, *at); /* PS, bit 7, is reserved here: hosts send back theirs */
    uint8_t bytes = (uint8_t)(cursor_u8_at(list, *at + 1));
    const struct mode_page *page = NULL;

    *field_byte = (uint16_t)*at;
    for (unsigned i = 0; i < PAGES; i++) {
        if (!(code & SUBPAGE_FORMAT) && pages[i].page == (code & PAGE_ALL))
            page = &pages[i];
    }
    if (list->overrun)
        return SENSE_PARAMETER_LIST_LENGTH_ERROR;
    if (!page)
        return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
    if (bytes != page->bytes - 2) {
        *field_byte = (uint16_t)(*at + 1);
        return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
    }
    struct cursor wish = cursor_take(list, *at, page->bytes);
    if (list->overrun)
        return SENSE_PARAMETER_LIST_LENGTH_ERROR; /* SPC-4 6.9: a page is cut short */
    page_image(now, page, facts);
    page_changeable(changeable, page);
    for (unsigned i = 2; i < page->bytes; i++) {
        if ((wish.bytes[i] ^ now[i]) & ~changeable[i]) {
            *field_byte = (uint16_t)(*at + i);
            return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
        }
    }
    if (page->page == PAGE_CONTROL) {
        changes->has_descriptor_sense = wish.bytes[D_SENSE_BYTE] & D_SENSE;
        changes->is_software_write_protected = wish.bytes[SWP_BYTE] & SWP;
    }
    *at += page->bytes;
    return SENSE_NONE;
}

enum sense_code mode_select_parse(const uint8_t *list, size_t len, bool is_10,
                                  const struct mode_facts *facts, struct mode_changes *changes,
                                  uint16_t *field_byte)
{
    struct cursor c = cursor_over(list, len);
    uint8_t header_bytes = is_10 ? 8 : 4;
    uint16_t descriptor_bytes = is_10 ? cursor_be16_at(&c, 6) : cursor_u8_at(&c, 3);
    bool is_long = is_10 && cursor_u8_at(&c, 4) & LONG_LBA;
    uint8_t medium_type = cursor_u8_at(&c, is_10 ? 2 : 1);
    size_t at = (size_t)header_bytes + descriptor_bytes;

    changes->has_descriptor_sense = facts->has_descriptor_sense;
    changes->is_software_write_protected = facts->is_software_write_protected;
    *field_byte = 0;
    if (c.overrun)
        return SENSE_PARAMETER_LIST_LENGTH_ERROR;
    if (medium_type != 0) {
        *field_byte = is_10 ? 2 : 1;
        return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
    }
    if (descriptor_bytes != 0) {
        if (descriptor_bytes != (is_long ? LONG_DESCRIPTOR_BYTES : SHORT_DESCRIPTOR_BYTES)) {
            *field_byte = is_10 ? 6 : 3;
            return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
        }
        struct cursor descriptor = cursor_take(&c, header_bytes, descriptor_bytes);
        if (c.overrun)
            return SENSE_PARAMETER_LIST_LENGTH_ERROR;
        if (!is_descriptor_good(descriptor, facts)) {
            *field_byte = header_bytes;
            return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
        }
    }
    while (at < len) {
        enum sense_code code = select_page(&c, &at, facts, changes, field_byte);
        if (code != SENSE_NONE)
            return code;
    }
    return SENSE_NONE;
}
