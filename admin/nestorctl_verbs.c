#include "admin/nestorctl_verbs.h"

#include "admin/nestorctl_esx.h"
#include "admin/nestorctl_show.h"

/* clang-format off */
#define TARGET          { "TARGET", NULL, ARGUMENT_TEXT, "target", true, "name, alias, or what the name ends in after the last ':'" }
#define TARGET_OR_ALL   { "TARGET", NULL, ARGUMENT_TEXT, "target", false, "only this one: name, alias, or the name's end" }
#define LUN             { "LUN", NULL, ARGUMENT_NUMBER, "lun", true, "logical unit number" }
#define SESSION         { "SESSION", NULL, ARGUMENT_NUMBER, "tsih", true, "its number in session list" }
#define FORCE           { "--force", NULL, ARGUMENT_TRUE, "force", false, "even while initiators use it" }
#define YES             { "--yes", NULL, ARGUMENT_YES, NULL, false, "do not ask" }
#define INITIATORS(who) { "--initiators", "A,B", ARGUMENT_LIST, "initiators", false, who ": names, with * and ?; else anybody" }

#define TARGET_COLUMNS \
    { "TARGET", "target", CELL_TEXT }, { "ALIAS", "alias", CELL_TEXT }, { "LUNS", "luns", CELL_NUMBER }, \
    { "SESSIONS", "sessions", CELL_NUMBER }, { "INITIATORS", "initiators", CELL_ANYBODY }, \
    { "FROM", "origin", CELL_TEXT }

const struct verb verb_table[] = {
    { .noun = "status", .method = "status",
      .help = "how the daemon is, and which LUNs could not be opened",
      .example = "nestorctl status",
      .layout = LAYOUT_OWN, .show = show_status },

    { .noun = "target", .verb = "list", .method = "target.list",
      .help = "all targets",
      .example = "nestorctl target list",
      .layout = LAYOUT_TABLE, .rows = "targets",
      .when_empty = "no targets yet; nestorctl target add makes one",
      .columns = { TARGET_COLUMNS } },

    { .noun = "target", .verb = "show", .method = "target.show",
      .help = "one target with its access rules",
      .example = "nestorctl target show lab",
      .positionals = { TARGET },
      .layout = LAYOUT_FIELDS,
      .columns = { { "Target", "target", CELL_TEXT }, { "Alias", "alias", CELL_TEXT },
                   { "LUNs", "luns", CELL_NUMBER }, { "Sessions", "sessions", CELL_NUMBER },
                   { "Initiators", "initiators", CELL_ANYBODY }, { "Networks", "networks", CELL_ANYBODY },
                   { "CHAP user", "chap.user", CELL_TEXT },
                   { "CHAP secret file", "chap.secret_file", CELL_TEXT },
                   { "Mutual user", "chap.mutual_user", CELL_TEXT },
                   { "Mutual secret file", "chap.mutual_secret_file", CELL_TEXT },
                   { "Defined by", "origin", CELL_TEXT }, { "Defined at", "place", CELL_TEXT } } },

    { .noun = "target", .verb = "add", .method = "target.add",
      .help = "make a target; it is kept over restarts",
      .example = "nestorctl target add iqn.2026-11.lab.nestor:vmfs --alias lab",
      .positionals = { { "NAME", NULL, ARGUMENT_TEXT, "name", true, "its iSCSI name: iqn.YYYY-MM.DOMAIN:ANYTHING" } },
      .options = { { "--alias", "TEXT", ARGUMENT_TEXT, "alias", false, "a short name for people" },
                   INITIATORS("who may log in"),
                   { "--networks", "A,B", ARGUMENT_LIST, "networks", false, "from where, such as 192.168.10.0/24; else anywhere" },
                   { "--chap-user", "NAME", ARGUMENT_TEXT, "chap_user", false, "the name that initiators log in with" },
                   { "--chap-secret-file", "FILE", ARGUMENT_PATH, "chap_secret_file", false, "holds their secret; mode 0600" },
                   { "--mutual-user", "NAME", ARGUMENT_TEXT, "chap_mutual_user", false, "the name that the target proves itself with" },
                   { "--mutual-secret-file", "FILE", ARGUMENT_PATH, "chap_mutual_secret_file", false, "holds its secret; mode 0600" } } },

    { .noun = "target", .verb = "remove", .method = "target.remove",
      .help = "take a target away; its images stay",
      .example = "nestorctl target remove lab",
      .positionals = { TARGET }, .options = { FORCE, YES },
      .question = "Remove target {TARGET} with all its LUNs? The images stay." },

    { .noun = "lun", .verb = "list", .method = "lun.list",
      .help = "all LUNs, or those of one target",
      .example = "nestorctl lun list lab",
      .positionals = { TARGET_OR_ALL },
      .layout = LAYOUT_TABLE, .rows = "luns",
      .when_empty = "no LUNs yet; nestorctl lun add makes one",
      .columns = { { "TARGET", "target", CELL_TEXT }, { "LUN", "lun", CELL_NUMBER },
                   { "SIZE", "size_bytes", CELL_SIZE }, { "USED", "allocated_bytes", CELL_SIZE },
                   { "CACHE", "cache", CELL_TEXT }, { "HOSTS", "hosts", CELL_NUMBER },
                   { "STATE", "state", CELL_TEXT }, { "PATH", "path", CELL_TEXT } } },

    { .noun = "lun", .verb = "show", .method = "lun.show",
      .help = "one LUN: image, identity, use",
      .example = "nestorctl lun show lab 0",
      .positionals = { TARGET, LUN },
      .layout = LAYOUT_FIELDS,
      .columns = { { "Target", "target", CELL_TEXT }, { "LUN", "lun", CELL_NUMBER },
                   { "State", "state", CELL_TEXT }, { "Problem", "problem", CELL_TEXT },
                   { "Path", "path", CELL_TEXT }, { "Size", "size_bytes", CELL_SIZE },
                   { "Used on disk", "allocated_bytes", CELL_SIZE }, { "Free on disk", "free_bytes", CELL_SIZE },
                   { "Cache", "cache", CELL_TEXT }, { "Read-only", "readonly", CELL_YES },
                   { "Hosts", "hosts", CELL_NUMBER }, { "Visible to", "initiators", CELL_ANYBODY },
                   { "Reserved by", "reserved_by", CELL_TEXT },
                   { "NAA", "identity.naa", CELL_TEXT }, { "Serial", "identity.serial", CELL_TEXT },
                   { "Vendor", "identity.vendor", CELL_TEXT }, { "Product", "identity.product", CELL_TEXT },
                   { "Block size", "identity.block_size", CELL_SIZE },
                   { "Physical block", "identity.physical_block_size", CELL_SIZE },
                   { "VAAI", "identity.vaai", CELL_YES }, { "Identity since", "identity.created", CELL_TEXT },
                   { "Reads", "counters.reads", CELL_NUMBER }, { "Writes", "counters.writes", CELL_NUMBER },
                   { "Read", "counters.read_bytes", CELL_SIZE }, { "Written", "counters.written_bytes", CELL_SIZE },
                   { "Other commands", "counters.others", CELL_NUMBER }, { "Errors", "counters.errors", CELL_NUMBER },
                   { "Conflicts", "counters.conflicts", CELL_NUMBER },
                   { "Defined by", "origin", CELL_TEXT }, { "Defined at", "place", CELL_TEXT } } },

    { .noun = "lun", .verb = "add", .method = "lun.add",
      .help = "serve an image; it is kept over restarts",
      .example = "nestorctl lun add lab 2 --path /srv/nestor/vmfs2.img --size 64G",
      .positionals = { TARGET, LUN },
      .options = { { "--path", "FILE", ARGUMENT_PATH, "path", true, "the image: a file or a block device" },
                   { "--size", "SIZE", ARGUMENT_TEXT, "size", false, "such as 64G; makes a sparse file when there is none" },
                   { "--readonly", NULL, ARGUMENT_TRUE, "readonly", false, "refuse writes" },
                   { "--cache", "writeback|writethrough", ARGUMENT_TEXT, "cache", false, "when a write is answered; writeback unless said" },
                   INITIATORS("who may see it"),
                   { "--block-size", "N", ARGUMENT_NUMBER, "block_size", false, "logical block, 512 (default) or 4096; ESX needs 512" },
                   { "--physical-block-size", "N", ARGUMENT_NUMBER, "physical_block_size", false, "512 (default) or 4096" },
                   { "--rotation", "RPM", ARGUMENT_NUMBER, "rotation", false, "1 does not rotate" },
                   { "--product", "TEXT", ARGUMENT_TEXT, "product", false, "ESX copies only between LUNs of equal product" },
                   { "--serial", "TEXT", ARGUMENT_TEXT, "serial", false, "to restore an identity that was lost" },
                   { "--naa", "HEX", ARGUMENT_TEXT, "naa", false, "to restore an identity that was lost" },
                   { "--no-vaai", NULL, ARGUMENT_FALSE, "vaai", false, "offer no ATS, WRITE SAME, UNMAP, copies; holds for ever" } } },

    { .noun = "lun", .verb = "remove", .method = "lun.remove",
      .help = "take a LUN away; its image stays",
      .example = "nestorctl lun remove lab 2",
      .positionals = { TARGET, LUN }, .options = { FORCE, YES },
      .question = "Remove LUN {LUN} of {TARGET}? Hosts lose it at once; the image stays." },

    { .noun = "lun", .verb = "resize", .method = "lun.resize",
      .help = "grow a LUN while it is used",
      .example = "nestorctl lun resize lab 0 128G",
      .positionals = { TARGET, LUN,
                       { "SIZE", NULL, ARGUMENT_TEXT, "size", true, "the new size, such as 128G; never smaller" } } },

    { .noun = "session", .verb = "list", .method = "session.list",
      .help = "who is logged in",
      .example = "nestorctl session list",
      .positionals = { TARGET_OR_ALL },
      .layout = LAYOUT_TABLE, .rows = "sessions", .when_empty = "nobody is logged in",
      .columns = { { "SESSION", "tsih", CELL_NUMBER }, { "INITIATOR", "initiator", CELL_TEXT },
                   { "TARGET", "target", CELL_TEXT }, { "ADDRESS", "address", CELL_TEXT },
                   { "SINCE", "since", CELL_TIME }, { "AUTH", "auth", CELL_TEXT },
                   { "READ", "read_bytes", CELL_SIZE }, { "WRITTEN", "written_bytes", CELL_SIZE } } },

    { .noun = "session", .verb = "show", .method = "session.show",
      .help = "one session",
      .example = "nestorctl session show 3",
      .positionals = { SESSION },
      .layout = LAYOUT_FIELDS,
      .columns = { { "Session", "tsih", CELL_NUMBER }, { "Type", "type", CELL_TEXT },
                   { "Initiator", "initiator", CELL_TEXT }, { "Initiator alias", "initiator_alias", CELL_TEXT },
                   { "ISID", "isid", CELL_TEXT }, { "Target", "target", CELL_TEXT },
                   { "Address", "address", CELL_TEXT }, { "Portal", "portal", CELL_TEXT },
                   { "Since", "since", CELL_TIME }, { "Authentication", "auth", CELL_TEXT },
                   { "Header digest", "header_digest", CELL_YES }, { "Data digest", "data_digest", CELL_YES },
                   { "Worker", "worker", CELL_NUMBER }, { "Commands", "commands", CELL_NUMBER },
                   { "Read", "read_bytes", CELL_SIZE }, { "Written", "written_bytes", CELL_SIZE } } },

    { .noun = "session", .verb = "drop", .method = "session.drop",
      .help = "close a session; its host will log in again",
      .example = "nestorctl session drop 3",
      .positionals = { SESSION }, .options = { YES },
      .question = "Close session {SESSION}? Its host logs in again." },

    { .noun = "reservation", .verb = "show", .method = "reservation.show",
      .help = "which LUNs are reserved, and by whom",
      .example = "nestorctl reservation show lab",
      .positionals = { TARGET_OR_ALL },
      .layout = LAYOUT_TABLE, .rows = "reservations", .when_empty = "no LUNs yet; nestorctl lun add makes one",
      .columns = { { "TARGET", "target", CELL_TEXT }, { "LUN", "lun", CELL_NUMBER },
                   { "KIND", "kind", CELL_TEXT }, { "TYPE", "type", CELL_TEXT },
                   { "HOLDER", "port", CELL_TEXT }, { "REGISTERED", "registered", CELL_LIST },
                   { "KEPT", "kept", CELL_YES } } },

    { .noun = "reservation", .verb = "clear", .method = "reservation.clear",
      .help = "end what hosts have reserved and registered on a LUN",
      .example = "nestorctl reservation clear lab 0",
      .positionals = { TARGET, LUN },
      .options = { { "--force", NULL, ARGUMENT_TRUE, "force", false, "even while they are logged in" }, YES },
      .question = "Clear the reservations of LUN {LUN} of {TARGET}? Hosts that rely on them may both write." },

    { .noun = "config", .verb = "check", .method = "config.check",
      .help = "read the config file and tell its mistakes",
      .example = "nestorctl config check /etc/nestor/nestor.conf",
      .positionals = { { "FILE", NULL, ARGUMENT_PATH, "path", false, "another file than the daemon's" } },
      .layout = LAYOUT_OWN, .show = show_check },

    { .noun = "config", .verb = "plan", .method = "config.plan",
      .help = "what a reload would change, and whom it would disturb",
      .example = "nestorctl config plan",
      .layout = LAYOUT_OWN, .show = show_plan },

    { .noun = "config", .verb = "reload", .method = "config.reload",
      .help = "apply what has changed in the config file, and leave all else alone",
      .example = "nestorctl config reload",
      .options = { YES },
      .question = "Apply this plan? It takes storage away.", .plan_method = "config.plan" },

    { .noun = "stats", .method = "stats",
      .help = "commands and bytes of each LUN since the daemon's start",
      .example = "nestorctl stats lab",
      .positionals = { TARGET_OR_ALL },
      .layout = LAYOUT_TABLE, .rows = "luns", .when_empty = "no LUNs yet; nestorctl lun add makes one",
      .columns = { { "TARGET", "target", CELL_TEXT }, { "LUN", "lun", CELL_NUMBER },
                   { "READS", "reads", CELL_NUMBER }, { "WRITES", "writes", CELL_NUMBER },
                   { "READ", "read_bytes", CELL_SIZE }, { "WRITTEN", "written_bytes", CELL_SIZE },
                   { "OTHERS", "others", CELL_NUMBER }, { "ERRORS", "errors", CELL_NUMBER },
                   { "CONFLICTS", "conflicts", CELL_NUMBER } } },

    { .noun = "esx", .verb = "howto", .method = "target.show",
      .help = "what to type on an ESX host to use a target",
      .example = "nestorctl esx howto lab --esx 5+",
      .positionals = { TARGET },
      .options = { { "--esx", "3|4|5+", ARGUMENT_OWN, "esx", false, "which generation; else all" },
                   { "--address", "IP", ARGUMENT_OWN, "address", false, "this host's, as ESX reaches it; else found out" } },
      .layout = LAYOUT_OWN, .show = show_esx_howto },

    { .noun = "help", .method = "help",
      .help = "the methods of the admin socket, for programs; or the help of a noun",
      .example = "nestorctl help lun.add",
      .positionals = { { "METHOD", NULL, ARGUMENT_TEXT, "method", false, "one method with its parameters" } },
      .layout = LAYOUT_OWN, .show = show_methods },
};
/* clang-format on */
const unsigned verb_count = sizeof verb_table / sizeof verb_table[0];
