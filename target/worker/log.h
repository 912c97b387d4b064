/*
 * log: one line an event, to stderr, with the journal's "<N>" priority prefix when stderr is one.
 *
 * Thread-safe. Lines above log_level are not formatted. A remote peer can cause at most
 * LOG_LINES_PER_SECOND lines a second through log_peer(); what is left out is counted and said.
 * The format is always a literal: text from the wire is an argument, cleaned by log_text().
 */
#pragma once

#include <stddef.h>

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

enum { LOG_LINES_PER_SECOND = 20 };

void log_set_level(enum log_level level);
int log_enabled(enum log_level level);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For what a peer can provoke as often as it likes: rate-limited, level warning. */
void log_peer(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Copies bytes for a log line: what is unprintable becomes '?', cut to cap - 1. Returns `out`. */
const char *log_text(char *out, size_t cap, const void *bytes, size_t len);
