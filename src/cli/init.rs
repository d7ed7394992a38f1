//! `eventyard init`: a folder with a small project that runs as it is.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use eventyard::schema::File;

use super::exit::{Failure, Outcome};
use super::{Context, schema};

/// One file of a new project.
struct NewFile {
    path: &'static str,
    text: Text,
    mode: u32,
}

/// What a file of a new project holds.
enum Text {
    Fixed(&'static str),
    /// The schema that the first line of the project's files points to.
    Schema(File),
}

const FILE_MODE: u32 = 0o644;
const SCRIPT_MODE: u32 = 0o755;

/// What is written, in the order in which somebody would read it.
const FILES: [NewFile; 7] = [
    NewFile { path: "eventyard.toml", text: Text::Fixed(include_str!("init/eventyard.toml")), mode: FILE_MODE },
    NewFile { path: "rules/orders.toml", text: Text::Fixed(include_str!("init/rules/orders.toml")), mode: FILE_MODE },
    NewFile {
        path: "scripts/receipt.sh",
        text: Text::Fixed(include_str!("init/scripts/receipt.sh")),
        mode: SCRIPT_MODE,
    },
    NewFile { path: "event.json", text: Text::Fixed(include_str!("init/event.json")), mode: FILE_MODE },
    NewFile { path: ".gitignore", text: Text::Fixed(include_str!("init/gitignore")), mode: FILE_MODE },
    NewFile { path: ".schema/eventyard.json", text: Text::Schema(File::Main), mode: FILE_MODE },
    NewFile { path: ".schema/rules.json", text: Text::Schema(File::Rules), mode: FILE_MODE },
];

/// Make a project that runs
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Writes a small project: one rule, one script, one event to try it with, and the schemas by which\n\
    editors complete its files. Files that are there already are left as they are.\n\n\
    Example:\n  eventyard init shop\n  eventyard dev shop"
)]
pub(crate) struct InitArgs {
    /// The folder; made where it does not exist
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

pub(crate) fn run(args: &InitArgs, context: &Context) -> Outcome {
    let screen = context.screen;
    let project = args.dir.join("eventyard.toml");
    if project.symlink_metadata().is_ok() {
        return Err(Failure::failed(format!(
            "there is a project already: {} stands there, and nothing was written\n  help: name another folder, or \
             look at this one with `eventyard check {}`",
            project.display(),
            args.dir.display()
        )));
    }
    for file in &FILES {
        let path = args.dir.join(file.path);
        let written = write(&path, file).with_context(|| format!("{} cannot be written", path.display()))?;
        if written {
            screen.line(format!("{} {}", screen.good("wrote"), path.display()))?;
        } else {
            screen.line(format!("{}  {} (it was there already)", screen.warm("kept"), path.display()))?;
        }
    }
    let dir = args.dir.display();
    screen.line("\nnow:")?;
    screen.line(format!("  eventyard check {dir}        is everything right?"))?;
    screen.line(format!("  eventyard dev {dir}          run it, and watch each event's fate"))?;
    Ok(screen.line(format!(
        "  eventyard events send --wait {}    from another terminal",
        args.dir.join("event.json").display()
    ))?)
}

/// Writes a file that is not there yet; `false` where one is.
fn write(path: &Path, file: &NewFile) -> io::Result<bool> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(file.mode).open(path);
    let mut opened = match opened {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.text {
        Text::Fixed(text) => opened.write_all(text.as_bytes())?,
        Text::Schema(of) => writeln!(opened, "{}", schema::text(of))?,
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use eventyard::clock::Clocks;

    use super::super::screen::Screen;
    use super::*;

    fn context() -> Context {
        Context { screen: Screen::detect(), clocks: Clocks::machine() }
    }

    #[test]
    fn a_new_project_is_written_once_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let args = InitArgs { dir: folder.path().join("shop") };
        run(&args, &context()).unwrap();
        let script = args.dir.join("scripts/receipt.sh").metadata().unwrap();
        assert_eq!(script.permissions().mode() & 0o111, 0o111);

        let again = run(&args, &context()).unwrap_err();
        assert_eq!(again.code(), 1);
    }

    #[test]
    fn a_file_that_is_there_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("event.json"), "mine").unwrap();
        run(&InitArgs { dir: folder.path().to_owned() }, &context()).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("event.json")).unwrap(), "mine");
        assert!(folder.path().join("rules/orders.toml").exists());
    }
}
