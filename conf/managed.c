/* managed: writes what nestorctl changed, as a file of the same syntax, by the table of keys. */
#include "conf/conf.h"
#include "conf/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- text ---- */

static void print_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        switch (c) {
        case '"': fputs("\\\"", out); break;
        case '\\': fputs("\\\\", out); break;
        case '\n': fputs("\\n", out); break;
        case '\r': fputs("\\r", out); break;
        case '\t': fputs("\\t", out); break;
        case '\f': fputs("\\f", out); break;
        default:
            if (c < ' ' || c == 0x7f)
                fprintf(out, "\\x%02x", c);
            else
                fputc(c, out);
            break;
        }
    }
    fputc('"', out);
}

static void print_number(FILE *out, const struct key *key, uint64_t value)
{
    char size[32];

    switch (key->type) {
    case KEY_FLAG: fputs(value ? "true" : "false", out); break;
    case KEY_CHOICE: print_text(out, key->choices[value]); break;
    case KEY_SIZE:
        key_size_text(value, size, sizeof(size));
        print_text(out, size);
        break;
    default: fprintf(out, "%" PRIu64, value); break;
    }
}

static void print_group(FILE *out, enum key_scope scope, const void *object, int indent);

static void print_luns(FILE *out, const struct model_target *target, int indent)
{
    const char *between = "\n";

    fprintf(out, "%*sluns = (", indent, "");
    for (unsigned i = 0; i < target->lun_count; i++) {
        if (target->luns[i].origin != ORIGIN_MANAGED)
            continue;
        fprintf(out, "%s%*s{\n", between, indent + 2, "");
        print_group(out, KEY_LUN, &target->luns[i], indent + 4);
        fprintf(out, "%*s}", indent + 2, "");
        between = ",\n";
    }
    fputs(" );\n", out);
}

static void print_key(FILE *out, const struct key *key, const void *object, int indent)
{
    const void *member = key_member_const(key, object);

    if (key->type == KEY_GROUPS)
        return print_luns(out, object, indent);
    fprintf(out, "%*s%s = ", indent, "", key->name);
    switch (key->type) {
    case KEY_TEXT: print_text(out, *(char *const *)member); break;
    case KEY_TEXTS: {
        const struct model_strings *strings = member;
        fputs("[", out);
        for (unsigned i = 0; i < strings->count; i++) {
            fputs(i ? ", " : " ", out);
            print_text(out, strings->items[i]);
        }
        fputs(" ]", out);
        break;
    }
    case KEY_GROUP:
        fputs("{\n", out);
        print_group(out, key->inner, member, indent + 2);
        fprintf(out, "%*s}", indent, "");
        break;
    default: print_number(out, key, key_number(key, object)); break;
    }
    fputs(";\n", out);
}

static void print_group(FILE *out, enum key_scope scope, const void *object, int indent)
{
    for (const struct key *key = keys_next(scope, NULL); key; key = keys_next(scope, key)) {
        if (key->is_required || key->type == KEY_GROUPS || !key_is_fallback(key, object))
            print_key(out, key, object, indent);
    }
}

static bool has_managed(const struct model_target *target)
{
    if (target->origin == ORIGIN_MANAGED)
        return true;
    for (unsigned i = 0; i < target->lun_count; i++) {
        if (target->luns[i].origin == ORIGIN_MANAGED)
            return true;
    }
    return false;
}

static void print_target(FILE *out, const struct model_target *target)
{
    fputs("  {\n", out);
    if (target->origin == ORIGIN_MANAGED) {
        print_group(out, KEY_TARGET, target, 4);
    } else {
        /* only what was added to it: the rest is the person's file's */
        print_key(out, conf_key_find(KEY_TARGET, "name"), target, 4);
        print_luns(out, target, 4);
    }
    fputs("  }", out);
}

static void print_managed(FILE *out, const struct model *model)
{
    const char *between = "\n";

    fputs("# What nestorctl added. nestord replaces this file at every change; your own settings\n"
          "# belong into nestor.conf.\n"
          "targets = (",
          out);
    for (unsigned i = 0; i < model->target_count; i++) {
        if (!has_managed(&model->targets[i]))
            continue;
        fputs(between, out);
        print_target(out, &model->targets[i]);
        between = ",\n";
    }
    fputs("\n);\n", out);
}

/* ---- the file ---- */

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t put = write(fd, bytes, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        bytes += put;
        len -= (size_t)put;
    }
    return 0;
}

/* A new file beside it takes its name only when all of it is on stable storage. */
static int replace_file(const char *folder, const char *name, const char *bytes, size_t len)
{
    char temporary[64];
    int result = 0;
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (folder_fd < 0)
        return -errno;
    snprintf(temporary, sizeof(temporary), "%s.new", name);
    unlinkat(folder_fd, temporary, 0); /* of a daemon that was killed; ours alone, in our folder */
    int fd =
        openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        result = -errno;
        goto out_folder;
    }
    result = write_all(fd, bytes, len);
    if (result == 0 && fsync(fd) < 0)
        result = -errno;
    if (close(fd) < 0 && result == 0)
        result = -errno;
    if (result == 0 && renameat(folder_fd, temporary, folder_fd, name) < 0)
        result = -errno;
    if (result < 0)
        unlinkat(folder_fd, temporary, 0);
    else if (fsync(folder_fd) < 0)
        result = -errno;
out_folder:
    close(folder_fd);
    return result;
}

int conf_write_managed(const struct model *model, char *error, size_t error_cap)
{
    char *text = NULL;
    size_t len = 0;
    int result = -ENOMEM;
    FILE *out = open_memstream(&text, &len);

    if (out) {
        print_managed(out, model);
        bool is_whole = !ferror(out);
        if (fclose(out) == 0 && is_whole)
            result = replace_file(model->state_dir, "managed.conf", text, len);
        free(text);
    }
    if (result < 0)
        snprintf(error, error_cap, "cannot write %s/managed.conf: %s; nothing was changed",
                 model->state_dir, strerror(-result));
    return result;
}
