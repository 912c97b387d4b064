/*
 * secret: a CHAP secret out of its file. Never a word of it in a message.
 */
#pragma once

#include <stddef.h>

/*
 * Reads the secret, without the newline at its end. The file must be readable by its owner only,
 * and the secret 12 to 255 bytes: RFC 7143 9.2.1 asks for 96 bits. 0 and *secret for the caller to
 * wipe and free, or a negative errno and *error for a person.
 */
int secret_read(const char *path, char **secret, char *error, size_t error_cap);
