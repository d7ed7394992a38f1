//! The codes of what can be wrong with a project as a whole; those of a single file are in `eventyard-rules`.

eventyard_rules::codes! {
    NO_PROJECT = "no_project", "The folder has no eventyard.toml.";
    FILE_UNREADABLE = "file_unreadable", "A file of the project cannot be read; the system's own reason is given.";
    FILE_IS_NO_FILE = "file_is_no_file", "A folder, a pipe or a device stands where a file belongs.";
    FILE_TOO_LARGE = "file_too_large", "A file of the project is larger than the limit for one.";
    FILE_EMPTY = "file_empty", "A rules file holds nothing, as it does while it is being written; delete it instead.";
    FILE_NOT_UTF8 = "file_not_utf8", "A file of the project is not UTF-8 text.";
    FILE_LINK_LOOP = "file_link_loop", "A symbolic link leads to itself.";
    FILES_TOO_MANY = "files_too_many", "The project has more files, or more bytes in them, than the limit allows.";
    UNKNOWN_KIND = "unknown_kind", "No connector of this role has this kind.";
    CONFLICT = "conflict", "Two keys of a block exclude each other.";
    NOT_CHECKED = "not_checked", "A connector's settings do not fit what it declares; a mistake of eventyard's own.";
    RESERVED_NAME = "reserved_name", "The name is the broker's own.";
    RESERVED_PATH = "reserved_path", "An http source may not stand on a path of the broker's own.";
    PATH_TAKEN = "path_taken", "Two http sources would answer the same path.";
    LISTEN_INSECURE = "listen_insecure", "Off loopback the broker needs a token and TLS, else it does not start.";
    VERIFY_REQUIRED = "verify_required", "Off loopback an http source must say how its requests prove where they come from.";
    RULE_DUPLICATE = "rule_duplicate", "Two rules of one namespace have the same name.";
    UNKNOWN_SOURCE = "unknown_source", "A rule names a source that does not exist.";
    UNKNOWN_TARGET = "unknown_target", "A rule names a function, a sink or a channel that does not exist.";
    OTHER_NAMESPACE = "other_namespace", "What a rule names exists, but in another namespace.";
    NOT_ENABLED = "not_enabled", "A rule names something that is not enabled.";
    EVENT_CYCLE = "event_cycle", "Rules feed each other without end.";
    REPLY_SHADOWED = "reply_shadowed", "A target with reply = true can never answer, because another one always does.";
    REPLY_UNUSED = "reply_unused", "A sender waits for an answer that no target gives, or a target gives one that nobody waits for.";
    RULE_NEVER_MATCHES = "rule_never_matches", "No event can match the rule.";
    RULE_REPEATED = "rule_repeated", "Two rules say the same, so that their targets hear of each event twice.";
    RULE_FEEDS_ITSELF = "rule_feeds_itself", "A rule brings in again what it matches.";
    FIELD_UNKNOWN = "field_unknown", "A rule asks for a field that no test event has.";
    WILDCARD_ONLY_STAR = "wildcard_only_star", "A wildcard is only `*`.";
    RULE_TEST_FAILED = "rule_test_failed", "A rule's own test does not come out as it says.";
    COMMAND_MISSING = "command_missing", "A function's command is not there, or may not be run.";
    PACKAGE_MISSING = "package_missing", "A function's package is not there, or cannot be read.";
    FUNCTION_BAD_MODULE = "function_bad_module", "A WebAssembly file cannot be a function.";
    FUNCTION_MODULE_LIMIT = "function_module_limit", "A WebAssembly file is too large, or takes too long to compile.";
    WASM_UNAVAILABLE = "wasm_unavailable", "WebAssembly cannot be run on this machine.";
    NOT_BUILT = "not_built", "What the project names was left out when this eventyard was built.";
    SECRET_EMPTY = "secret_empty", "A secret is empty, and an empty secret protects nothing.";
    BAD_URL = "bad_url", "The address is none that can be called.";
    EGRESS_BLOCKED = "egress_blocked", "The address lies in a network that may not be reached without saying so.";
    BAD_SCHEDULE = "bad_schedule", "A timer's schedule cannot be read.";
    NEVER_FIRES = "never_fires", "A timer's schedule has no instant to come.";
    UNKNOWN_TIMEZONE = "unknown_timezone", "There is no time zone of this name.";
    LAST_GOOD_DAMAGED = "last_good_damaged", "The copy of the last good project in the data folder cannot be used.";
    NO_CERTIFICATE = "no_certificate", "The certificate or the key of [server] tls is not there.";
}
