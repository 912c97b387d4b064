/*
 * identity: what makes a LUN the same LUN forever, kept beside its image as IMAGE.nestor.
 *
 * ESX hides a datastore whose LUN's identity has changed, so it is made once, from getrandom, and
 * never again: a side-car that is damaged or at odds with the configuration stops that LUN with an
 * error that says what to do. One that is missing beside an image with data in it may be lost, or
 * the image is new here; nobody can tell, so it is made, and `is_new` has the caller say so.
 *
 * It lies beside the image itself, where links to it lead, so that another path to the image is the
 * same LUN. That of a block device lies beside the path as given: /dev doesn't outlive a restart,
 * so a path in there is refused unless the wish has serial and naa; a link in a folder on disk is
 * better.
 *
 * Main thread only: it reads and writes files.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    IDENTITY_SERIAL_MAX = 32,
    IDENTITY_VENDOR_MAX = 8,
    IDENTITY_PRODUCT_MAX = 16,
    IDENTITY_REVISION_MAX = 4,
    IDENTITY_NAA_BYTES = 16,
    IDENTITY_ERROR_MAX = 512,
};

struct identity {
    /* 16 to 32 printable characters; its first 8 are random, since some hosts look no further */
    char serial[IDENTITY_SERIAL_MAX + 1];
    uint8_t naa[IDENTITY_NAA_BYTES]; /* NAA 6h, company id locally administered, SPC-4 7.8.6.6.5 */
    char vendor[IDENTITY_VENDOR_MAX + 1];     /* "NESTOR" */
    char product[IDENTITY_PRODUCT_MAX + 1];   /* "VMFS LUN", or what the config said at the start */
    char revision[IDENTITY_REVISION_MAX + 1]; /* "0001" */
    bool vaai;                                /* the capability set that ESX was told of */
    uint32_t block_bytes;                     /* 512 or 4096 */
    uint32_t physical_block_bytes;            /* block_bytes, or 4096 over 512 */
    char created[32];                         /* RFC 3339, UTC */
    bool is_new;                              /* made by this very call */
};

/* What the configuration asks for; NULL, 0 and negative mean that it does not say. */
struct identity_wish {
    const char *serial, *naa, *product;
    int vaai; /* -1, 0, 1 */
    uint32_t block_bytes, physical_block_bytes;
};

/*
 * Reads IMAGE.nestor, or makes it (atomically, mode 0644, fsynced) when it is not there. A wish
 * that differs from what is written is refused (-EEXIST), since the hosts have seen the old one;
 * serial and naa of a wish are taken when the side-car is made, which is how a lost one is
 * restored.
 * 0, -EBADMSG (damaged), -EINVAL (a bad wish), or another negative errno; *error says it to a
 * person.
 */
int identity_load(const char *image_path, const struct identity_wish *wish,
                  struct identity *identity, char error[IDENTITY_ERROR_MAX]);

/* "6" + 31 hexadecimal digits; text has room for 33. */
void identity_naa_text(const struct identity *identity, char text[33]);
