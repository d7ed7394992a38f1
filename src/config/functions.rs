//! `[function.NAME]`.

use std::path::Path;
use std::time::Duration;

use eventyard_event::Name;
use eventyard_functions::{EgressRule, WasmConfig, WasmError, WasmKind, WasmProgram};
use eventyard_rules::codes as rule_codes;
use eventyard_rules::file::TIMEOUT_MAX;
use eventyard_rules::reader::Table;
use eventyard_rules::{Diagnostic, Text};

use super::block::Block;
use super::project::{CommandDef, Env, FunctionDef, Runtime, WasmDef};
use super::{codes, keys};

/// How long one call may take where the function does not say.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The runtimes of later versions; `python3.12` and the like are read as the word they begin with.
const RUNTIMES_RESERVED: [&str; 7] = ["python", "node", "php", "java", "custom", "provided", "http"];

/// A package that can be called.
pub(super) type Package = WasmProgram;

/// Why a package cannot be called.
pub(super) enum PackageProblem {
    /// The file cannot be had.
    Unreadable(String),
    /// The file is no function.
    Refused(WasmError),
}

/// Reads and compiles the file at a path.
type Packages<'a> = &'a dyn Fn(&str) -> Result<Package, PackageProblem>;

pub(super) fn read_functions(file: &Table<'_>, folder: &Path, env: &Env, packages: Packages<'_>) -> Vec<FunctionDef> {
    let tables = file.named_tables("function").into_iter();
    tables.map(|(name, table)| read_function(name, table, folder, env, packages)).collect()
}

fn read_function(name: Name, table: Table<'_>, folder: &Path, env: &Env, packages: Packages<'_>) -> FunctionDef {
    let block = Block::read(&table);
    table.require("runtime", "say how it runs: runtime = \"command\" or \"wasm\"");
    match table.filled_string("runtime").as_deref() {
        None | Some("command") => read_command(name, block, table, folder, env),
        Some("wasm") => read_wasm(name, block, table, packages),
        Some(word) => {
            // What keys it may have depends on the runtime, so nothing more is said about them.
            unknown_runtime(&table, word);
            broken(name, block)
        }
    }
}

fn read_wasm(name: Name, block: Block, table: Table<'_>, packages: Packages<'_>) -> FunctionDef {
    for key in ["handler", "workers", "aliases"] {
        table.reserved(key);
    }
    table.declare(&keys::WASM);
    let required = "name the compiled file: package = \"functions/filter.wasm\"";
    table.require("package", required);
    let package = table.filled_string("package");
    let memory = table
        .size("memory", keys::WASM_MEMORY_BYTES_MIN..=WasmConfig::MEMORY_BYTES_MAX)
        .unwrap_or(WasmConfig::MEMORY_BYTES);
    let environment = read_environment(&table);
    let arguments = table.strings("arguments");
    if arguments.iter().any(|argument| argument.contains('\0')) {
        let message = "`arguments` hold a NUL character, which no program can be given";
        table.refuse("arguments", rule_codes::BAD_VALUE, message, None);
    }
    let egress_allow = read_egress(&table);
    let timeout = table.duration("timeout", Duration::from_millis(1)..=TIMEOUT_MAX).unwrap_or(TIMEOUT);
    let program = package.as_deref().and_then(|path| read_package(&table, path, memory, packages));
    if program.as_ref().is_some_and(|program| program.kind() == WasmKind::Command) && !egress_allow.is_empty() {
        let message = "`egress_allow` is for components; this package is a command module, which cannot call out";
        table.refuse("egress_allow", codes::CONFLICT, message, Some("leave `egress_allow` out"));
    }
    table.finish();
    let package = package.unwrap_or_default();
    let runtime =
        Runtime::Wasm(WasmDef { package, program, memory_bytes: memory, environment, arguments, egress_allow });
    FunctionDef { timeout, runtime, ..broken(name, block) }
}

/// Compiles a package, and says at its key what is wrong with it.
fn read_package(table: &Table<'_>, path: &str, memory: u64, packages: Packages<'_>) -> Option<WasmProgram> {
    let program = match packages(path) {
        Ok(program) => program,
        Err(PackageProblem::Unreadable(problem)) => {
            let message = format!("the package `{path}` cannot be read: {problem}");
            let help =
                "a relative path starts at the project folder; compile the function before the project is loaded";
            table.refuse("package", codes::PACKAGE_MISSING, message, Some(help));
            return None;
        }
        Err(PackageProblem::Refused(error)) => {
            let message = format!("the package `{path}` cannot be used: {error}");
            table.refuse("package", error.code(), message, Some(error.help()));
            return None;
        }
    };
    let needed = program.memory_bytes_min();
    if needed > memory {
        let message = format!("the package `{path}` begins with {} of memory, and has {}", size(needed), size(memory));
        let key = if table.has("memory") { "memory" } else { "package" };
        let help = format!("allow it more: memory = \"{}\"", size(needed));
        table.refuse(key, codes::FUNCTION_BAD_MODULE, message, Some(&help));
    }
    Some(program)
}

/// A size as configurations write it, rounded up.
fn size(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    if bytes < MIB { format!("{}KiB", bytes.div_ceil(1024)) } else { format!("{}MiB", bytes.div_ceil(MIB)) }
}

fn read_egress(table: &Table<'_>) -> Vec<EgressRule> {
    let mut rules = Vec::new();
    for (text, span) in table.texts("egress_allow") {
        match text.reveal().parse() {
            Ok(rule) => rules.push(rule),
            Err(_) => {
                let message = format!("`{}` is no host, address or network", text.shown());
                let help = "write \"api.example.com\", \"api.example.com:8443\", \"*.example.com\", \"10.1.0.0/16\" or \"127.0.0.1:9000\"";
                table.reading().refuse(rule_codes::BAD_VALUE, span, message, Some(help.to_owned()));
            }
        }
    }
    rules
}

fn read_command(name: Name, block: Block, table: Table<'_>, folder: &Path, env: &Env) -> FunctionDef {
    for key in ["package", "handler", "workers", "aliases", "memory"] {
        table.reserved(key);
    }
    table.declare(&keys::COMMAND);
    table.require("command", "name the program and its arguments: command = [\"./resize.sh\"]");
    let command = table.strings("command");
    if table.has("command") && command.first().is_some_and(String::is_empty)
        || table.value("command").is_some_and(|value| value.get_ref().as_array().is_some_and(|list| list.is_empty()))
    {
        let help = Some("write command = [\"./resize.sh\"]");
        table.refuse("command", rule_codes::BAD_VALUE, "`command` names no program", help);
    } else if command.iter().any(|part| part.contains('\0')) {
        table.refuse(
            "command",
            rule_codes::BAD_VALUE,
            "`command` holds a NUL character, which no program can be given",
            None,
        );
    } else if let Some(program) = command.first() {
        check_program(&table, program, folder, env);
    }
    let environment = read_environment(&table);
    let timeout = table.duration("timeout", Duration::from_millis(1)..=TIMEOUT_MAX).unwrap_or(TIMEOUT);
    table.finish();
    let runtime = Runtime::Command(CommandDef { command, environment });
    FunctionDef { timeout, runtime, ..broken(name, block) }
}

/// A function of which only name and block are known, in the place of one whose mistakes have been reported.
fn broken(name: Name, block: Block) -> FunctionDef {
    FunctionDef {
        name,
        namespace: block.namespace,
        enabled: block.enabled,
        description: block.description,
        timeout: TIMEOUT,
        runtime: Runtime::Command(CommandDef { command: Vec::new(), environment: Vec::new() }),
    }
}

fn unknown_runtime(table: &Table<'_>, word: &str) {
    let family = word.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == 'x');
    let reserved = RUNTIMES_RESERVED.contains(&family)
        || RUNTIMES_RESERVED.contains(&word)
        || word.starts_with("nodejs")
        || word.starts_with("provided.");
    let help = Some("this version knows `command` (one process an event) and `wasm` (a WebAssembly module)");
    if reserved {
        let message = format!("the runtime `{word}` is not in this version");
        table.refuse("runtime", rule_codes::NOT_IN_THIS_VERSION, message, help);
    } else {
        table.refuse("runtime", rule_codes::BAD_VALUE, format!("there is no runtime `{word}`"), help);
    }
}

fn read_environment(table: &Table<'_>) -> Vec<(String, Text)> {
    let Some(variables) = table.table("environment", "environment") else { return Vec::new() };
    let mut environment = Vec::new();
    for key in variables.keys() {
        let value = variables.text(key);
        let problem = if key.is_empty() || key.contains(['=', '\0']) {
            Some(format!("`{}` is no name of an environment variable", key.escape_debug()))
        } else if key.starts_with("EVENTYARD_") {
            Some(format!("`{key}` belongs to the broker: it sets the variables that begin with EVENTYARD_"))
        } else if value.as_ref().is_some_and(|value| value.reveal().contains('\0')) {
            Some(format!("the value of `{key}` holds a NUL character, which no environment can"))
        } else {
            None
        };
        match (problem, value) {
            (Some(problem), _) => variables.refuse(key, rule_codes::BAD_VALUE, problem, None),
            (None, Some(value)) => environment.push((key.to_owned(), value)),
            (None, None) => {}
        }
    }
    environment
}

/// A warning where the program is not there now: it may be by the time it is called.
fn check_program(table: &Table<'_>, program: &str, folder: &Path, env: &Env) {
    let problem = if program.contains('/') {
        let full = folder.join(program);
        match std::fs::metadata(&full) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("does not exist"),
            Err(_) => Some("cannot be reached"),
            Ok(metadata) if !metadata.is_file() => Some("is no file"),
            Ok(metadata) if !is_executable(&metadata) => Some("is not executable (chmod +x)"),
            Ok(_) => None,
        }
    } else {
        let path = env("PATH").unwrap_or_default();
        let there = path.split(':').filter(|part| !part.is_empty()).any(|part| {
            std::fs::metadata(Path::new(part).join(program)).is_ok_and(|found| found.is_file() && is_executable(&found))
        });
        (!there).then_some("is in no folder of PATH")
    };
    if let Some(problem) = problem {
        let message = format!("the program `{program}` {problem}");
        let help = if program.contains(char::is_whitespace) {
            let parts: Vec<String> = program.split_whitespace().map(|part| format!("{part:?}")).collect();
            format!("each argument is a text of its own: command = [{}]", parts.join(", "))
        } else {
            "a relative path starts at the project folder; until it is there, each call fails and is retried".to_owned()
        };
        let found = Diagnostic::error_at(codes::COMMAND_MISSING, &table.place_of("command"), message).with_help(help);
        table.reading().push(found.as_warning());
    }
}

fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}
