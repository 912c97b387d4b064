/* files: what of a model only the file system knows: images, and the folders they stand in. */
#include "conf/conf.h"
#include "conf/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <linux/fs.h>
#include <unistd.h>

enum { SIZE_TEXT_MAX = 32, WHY_MAX = 512 };

/* The folder that `path` stands in: is it there? Else what to do. */
static bool folder_is_there(const char *path, char *why)
{
    struct stat status;
    char *copy = strdup(path);
    bool is_there = false;

    why[0] = '\0';
    if (!copy) {
        snprintf(why, WHY_MAX, "no memory");
        return false;
    }
    const char *folder = dirname(copy);
    if (stat(folder, &status) < 0)
        snprintf(why, WHY_MAX, "the folder %s: %s%s%s", folder, strerror(errno),
                 errno == ENOENT ? "; make it: mkdir -p " : "", errno == ENOENT ? folder : "");
    else if (!S_ISDIR(status.st_mode))
        snprintf(why, WHY_MAX, "%s is not a folder", folder);
    else
        is_there = true;
    free(copy);
    return is_there;
}

static uint64_t device_bytes(const char *path)
{
    uint64_t bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return 0;
    if (ioctl(fd, BLKGETSIZE64, &bytes) < 0)
        bytes = 0;
    close(fd);
    return bytes;
}

static bool image_is_right(const struct model_lun *lun, char *why)
{
    char declared[SIZE_TEXT_MAX], found[SIZE_TEXT_MAX];
    struct stat status;
    uint64_t bytes;

    if (stat(lun->path, &status) < 0) {
        if (errno != ENOENT) {
            snprintf(why, WHY_MAX, "%s: %s", lun->path, strerror(errno));
            return false;
        }
        if (!folder_is_there(lun->path, why))
            return false;
        if (lun->is_readonly)
            snprintf(why, WHY_MAX, "%s is not there, and a read-only image is not made", lun->path);
        else if (lun->size_bytes == 0)
            snprintf(why, WHY_MAX, "%s is not there; say size = \"64G\" to have it made",
                     lun->path);
        else
            return true; /* it will be made */
        return false;
    }
    if (S_ISBLK(status.st_mode)) {
        bytes = device_bytes(lun->path);
        if (bytes == 0) /* not ours to open perhaps; the daemon may be somebody else */
            return true;
    } else if (S_ISREG(status.st_mode)) {
        bytes = (uint64_t)status.st_size;
    } else {
        snprintf(why, WHY_MAX, "%s is neither a plain file nor a block device", lun->path);
        return false;
    }
    if (bytes == 0 && lun->size_bytes == 0) {
        snprintf(why, WHY_MAX, "%s is empty; say size = \"64G\", and grow it: truncate -s 64G %s",
                 lun->path, lun->path);
        return false;
    }
    if (bytes < lun->size_bytes) {
        key_size_text(lun->size_bytes, declared, sizeof(declared));
        key_size_text(bytes, found, sizeof(found));
        snprintf(
            why, WHY_MAX,
            "the image is smaller than declared: %s has %s, not %s; grow it (truncate -s %s %s), "
            "or mend size",
            lun->path, found, declared, declared, lun->path);
        return false;
    }
    return true;
}

static void check_image(const struct model_target *target, const struct model_lun *lun,
                        struct model_problems *problems)
{
    const struct model_place *said = key_place(conf_key_find(KEY_LUN, "path"), lun);
    char why[WHY_MAX];

    if (!lun->path || lun->path[0] != '/' || image_is_right(lun, why))
        return;
    if (lun->place.file)
        model_problems_add(problems, said->file ? said : &lun->place,
                           "targets[%u].luns[%u].path: %s", lun->target_index, lun->index, why);
    else
        model_problems_add(problems, &lun->place, "LUN %u of %s: %s", lun->lun, target->name, why);
}

int conf_check_files(const struct model *model, struct model_problems *problems)
{
    unsigned before = problems->count;
    struct stat status;
    char why[WHY_MAX];

    if (stat(model->state_dir, &status) < 0) {
        /* the daemon makes the folder itself, not what it stands in */
        if (!folder_is_there(model->state_dir, why))
            model_problems_add(problems, key_place(conf_key_find(KEY_GLOBAL, "state_dir"), model),
                               "state_dir: %s", why);
    } else if (!S_ISDIR(status.st_mode)) {
        model_problems_add(problems, key_place(conf_key_find(KEY_GLOBAL, "state_dir"), model),
                           "state_dir: %s is not a folder", model->state_dir);
    }
    for (unsigned i = 0; i < model->target_count; i++) {
        const struct model_target *target = &model->targets[i];
        for (unsigned j = 0; j < target->lun_count; j++)
            check_image(target, &target->luns[j], problems);
    }
    if (problems->is_incomplete)
        return -ENOMEM;
    return problems->count > before ? -EINVAL : 0;
}
