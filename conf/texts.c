/* texts: what a single text of the configuration must look like. */
#include "conf/conf.h"
#include "conf/keys.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum {
    ISCSI_NAME_MAX = 223, /* RFC 7143 4.2.7.2 */
    EUI_DIGITS = 16,      /* RFC 7143 4.2.7.5 */
    NAA_DIGITS = 16,
    NAA_LONG_DIGITS = 32,
    ALIAS_MAX = 255,
    SERIAL_LEAST = 16,
    SERIAL_MOST = 32,
    PRODUCT_MAX = 16,
};

#define REFUSE(...)                                                                                \
    do {                                                                                           \
        snprintf(reason, cap, __VA_ARGS__);                                                        \
        return -EINVAL;                                                                            \
    } while (0)

int conf_parse_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    uint64_t value = 0;
    const char *at = text;

    if (!isdigit((unsigned char)*at))
        return -EINVAL;
    for (; isdigit((unsigned char)*at); at++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return -ERANGE;
    }
    if (*at != '\0') {
        const char *unit = strchr(units, toupper((unsigned char)*at));
        if (!unit || at[1] != '\0')
            return -EINVAL;
        for (const char *step = units; step <= unit; step++) {
            if (__builtin_mul_overflow(value, 1024, &value))
                return -ERANGE;
        }
    }
    if (value > INT64_MAX) /* what a file offset can say */
        return -ERANGE;
    *bytes = value;
    return 0;
}

static bool is_all(const char *text, const char *allowed)
{
    return text[strspn(text, allowed)] == '\0';
}

static bool is_printable(const char *text)
{
    for (; *text; text++) {
        if (*text < ' ' || *text > '~')
            return false;
    }
    return true;
}

#define DIGITS     "0123456789"
#define HEX_DIGITS DIGITS "abcdefABCDEF"
#define NAME_CHARS                                                                                 \
    DIGITS "abcdefghijklmnopqrstuvwxyz.:-" /* RFC 7143 4.2.7.1, after normalization */

int check_target_name(const char *text, char *reason, size_t cap)
{
    size_t len = strlen(text);

    if (len > ISCSI_NAME_MAX)
        REFUSE("a name of %zu characters; at most %d are allowed", len, ISCSI_NAME_MAX);
    if (!is_all(text, NAME_CHARS))
        REFUSE("\"%s\" has the character '%c'; a target name has only a-z, 0-9, '.', ':' and '-'",
               text, text[strspn(text, NAME_CHARS)]);
    if (strncmp(text, "iqn.", 4) == 0) {
        /* RFC 7143 4.2.7.4: iqn.YYYY-MM.reversed-domain[:anything] */
        const char *date = text + 4;
        if (strspn(date, DIGITS) != 4 || date[4] != '-' || strspn(date + 5, DIGITS) != 2 ||
            date[7] != '.' || date[8] == '\0')
            REFUSE("\"%s\" is not an iqn name; write it like \"iqn.2026-11.lab.nestor:vmfs\"",
                   text);
        return 0;
    }
    if (strncmp(text, "eui.", 4) == 0) {
        if (len != 4 + EUI_DIGITS || !is_all(text + 4, HEX_DIGITS))
            REFUSE("\"%s\" is not an eui name; after \"eui.\" come 16 hexadecimal digits", text);
        return 0;
    }
    if (strncmp(text, "naa.", 4) == 0) {
        if ((len != 4 + NAA_DIGITS && len != 4 + NAA_LONG_DIGITS) || !is_all(text + 4, HEX_DIGITS))
            REFUSE("\"%s\" is not an naa name; after \"naa.\" come 16 or 32 hexadecimal digits",
                   text);
        return 0;
    }
    REFUSE("\"%s\" is not an iSCSI name; it starts with iqn., eui. or naa., for example "
           "\"iqn.2026-11.lab.nestor:vmfs\"",
           text);
}

int check_initiator_pattern(const char *text, char *reason, size_t cap)
{
    if (*text == '\0' || strlen(text) > ISCSI_NAME_MAX)
        REFUSE("an initiator name has 1 to %d characters", ISCSI_NAME_MAX);
    for (const char *at = text; *at; at++) {
        if ((unsigned char)*at <= ' ' || *at == '[' || *at == ']' || *at == ',' || *at == 0x7f)
            REFUSE("\"%s\" is not an initiator name or pattern; write a name, or one with * and ? "
                   "such as \"iqn.1998-01.com.vmware:*\"",
                   text);
    }
    return 0;
}

int check_network(const char *text, char *reason, size_t cap)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr bytes;
    size_t len = strcspn(text, "/");
    long bits = -1;

    if (len == 0 || len >= sizeof(address))
        goto refuse;
    memcpy(address, text, len);
    address[len] = '\0';
    if (text[len] == '/') {
        const char *number = text + len + 1;
        if (*number == '\0' || strlen(number) > 3 || !is_all(number, DIGITS))
            goto refuse;
        bits = strtol(number, NULL, 10);
    }
    if ((inet_pton(AF_INET, address, &bytes) == 1 && bits <= 32) ||
        (inet_pton(AF_INET6, address, &bytes) == 1 && bits <= 128))
        return 0;
refuse:
    REFUSE("\"%s\" is not a network; write it like \"192.168.10.0/24\" or \"fd00::/8\"", text);
}

int check_portal(const char *text, char *reason, size_t cap)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr bytes;
    int family = text[0] == '[' ? AF_INET6 : AF_INET;
    const char *start = text[0] == '[' ? text + 1 : text;
    size_t len = strcspn(start, family == AF_INET6 ? "]" : ":");
    const char *port = start + len;

    if (len == 0 || len >= sizeof(address))
        goto refuse;
    memcpy(address, start, len);
    address[len] = '\0';
    if (inet_pton(family, address, &bytes) != 1)
        goto refuse;
    if (family == AF_INET6 && *port == ']')
        port++;
    if (*port++ != ':' || *port == '\0' || strlen(port) > 5 || !is_all(port, DIGITS))
        goto refuse;
    long number = strtol(port, NULL, 10);
    if (number < 1 || number > 65535)
        REFUSE("\"%s\" has the port %ld; ports go from 1 to 65535, and iSCSI's is 3260", text,
               number);
    return 0;
refuse:
    REFUSE("\"%s\" is not an address and port; write it like \"0.0.0.0:3260\" or \"[::]:3260\" "
           "(names are not looked up)",
           text);
}

int check_absolute_path(const char *text, char *reason, size_t cap)
{
    if (text[0] != '/')
        REFUSE("\"%s\" is not a whole path; start it with /", text);
    if (strlen(text) >= 4000) /* PATH_MAX, with room for a temporary name */
        REFUSE("a path of %zu characters is too long", strlen(text));
    return 0;
}

int check_image_path(const char *text, char *reason, size_t cap)
{
    static const char sidecar[] = ".nestor";
    size_t len = strlen(text);

    if (len >= sizeof(sidecar) && strcmp(text + len - (sizeof(sidecar) - 1), sidecar) == 0)
        REFUSE("\"%s\" is the name of a file that keeps an image's identity; name the image itself",
               text);
    return check_absolute_path(text, reason, cap);
}

int check_socket_path(const char *text, char *reason, size_t cap)
{
    size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

    if (strlen(text) > most)
        REFUSE("a socket's path has at most %zu characters", most);
    return check_absolute_path(text, reason, cap);
}

int check_serial(const char *text, char *reason, size_t cap)
{
    size_t len = strlen(text);

    if (len < SERIAL_LEAST || len > SERIAL_MOST || !is_printable(text) || strchr(text, ' '))
        REFUSE(
            "\"%s\" is not a serial number; it has %d to %d printable characters without a space",
            text, SERIAL_LEAST, SERIAL_MOST);
    return 0;
}

int check_naa(const char *text, char *reason, size_t cap)
{
    if (strlen(text) != 32 || text[0] != '6' || !is_all(text, HEX_DIGITS))
        REFUSE("\"%s\" is not an NAA name; it is 6 and then 31 hexadecimal digits", text);
    return 0;
}

int check_product(const char *text, char *reason, size_t cap)
{
    size_t len = strlen(text);

    if (len == 0 || len > PRODUCT_MAX || !is_printable(text))
        REFUSE("\"%s\" is not a product name; it has 1 to %d printable characters", text,
               PRODUCT_MAX);
    return 0;
}

int check_alias(const char *text, char *reason, size_t cap)
{
    if (strlen(text) > ALIAS_MAX) /* RFC 7143 13.7 */
        REFUSE("an alias of %zu bytes; at most %d are allowed", strlen(text), ALIAS_MAX);
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            REFUSE("an alias has no control characters");
    }
    return 0;
}

int check_chap_user(const char *text, char *reason, size_t cap)
{
    size_t len = strlen(text);

    if (len == 0 || len > 255 || !is_printable(text))
        REFUSE("a CHAP user name has 1 to 255 printable characters");
    return 0;
}

int check_group(const char *text, char *reason, size_t cap)
{
    if (*text == '\0' || strpbrk(text, ":/ \t\n"))
        REFUSE("\"%s\" is not the name of a group", text);
    return 0;
}
