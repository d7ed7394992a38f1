//! The tests' own program: the shim, and a broker in miniature that a test can kill.
//!
//! - `__exec …` is the shim, as in the broker's binary.
//! - `host FOLDER SCRIPT` runs `sh SCRIPT` in FOLDER as one call of a function, and waits for it.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use eventyard_event::Name;
use eventyard_functions::{CommandConfig, CommandExecutor, EXEC_SUBCOMMAND, Executor, Invocation, exec_shim};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == EXEC_SUBCOMMAND => Ok(exec_shim(arguments)),
        Some(first) if first == "host" => {
            let folder = PathBuf::from(arguments.next().ok_or("no FOLDER")?);
            let script = arguments.next().and_then(|script| script.into_string().ok()).ok_or("no SCRIPT")?;
            tokio::runtime::Runtime::new()?.block_on(host(folder, script))?;
            Ok(ExitCode::SUCCESS)
        }
        _ => Err("neither `__exec` nor `host`".into()),
    }
}

async fn host(folder: PathBuf, script: String) -> Result<(), Box<dyn Error>> {
    let hour = Duration::from_secs(3600);
    let config = CommandConfig::new(vec!["sh".to_owned(), script], folder, hour);
    let name = Name::new("hosted")?;
    let executor = CommandExecutor::new(name.clone(), config, "/proc/self/exe".into());
    let invocation = Invocation {
        id: "hosted-0".to_owned(),
        attempt: 1,
        function: name,
        payload: bytes::Bytes::new(),
        content_type: "application/json".to_owned(),
        timeout: hour,
        environment: Vec::new(),
        headers: Vec::new(),
    };
    executor.invoke(invocation).await?;
    Ok(())
}
