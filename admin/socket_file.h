/*
 * socket_file: the Unix socket in the file system, and who is at its other end.
 *
 * Thread    the main thread, before others make files: the umask belongs to the whole process.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct socket_file {
    int fd; /* listening, non-blocking */
    char *path;
    dev_t device;
    ino_t inode;
};

/* 0, or a negative errno with *error for a person. */
int socket_file_open(struct socket_file *file, const char *path, bool has_group, gid_t group,
                     char *error, size_t error_cap);

/* Removes the path too, unless something else is there by now. */
void socket_file_close(struct socket_file *file);

/* A group's number by its name. 0, -ENOENT, or another negative errno, with *error. */
int socket_group(const char *name, gid_t *group, char *error, size_t error_cap);

/* Root, the daemon's own user, or a member of the group; *uid says who asked in any case. */
bool socket_admits(int fd, bool has_group, gid_t group, uid_t *uid);
