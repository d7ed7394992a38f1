//! Compiled code on disk.
//!
//! The engine keeps what it compiled in files named by a digest of the module and of everything that the code depends
//! on: the compiler's version, its settings, the processor. It trusts what it finds there: code from such a file runs.
//! So the folder is the broker's owner's alone, as the rest of the data folder is, and beside each file stands its
//! sum, by which a file that was damaged, cut short or left by a crash is found and deleted before the engine looks.
//! Nothing here is needed: what is missing is compiled again.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::{Cache, CacheConfig};

/// The most files, and the most bytes of them together. The engine deletes what was not used for longest.
const FILES_MAX: u64 = 1_000;
const BYTES_MAX: u64 = 512 * 1024 * 1024;

/// A folder of compiled code.
pub(super) struct CodeCache {
    folder: PathBuf,
    cache: Cache,
}

impl CodeCache {
    /// Opens a folder, makes it where it is not there, and deletes what is damaged in it. `None` where it cannot be
    /// used, which is said in the log and no reason not to go on.
    pub(super) fn open(folder: &Path) -> Option<CodeCache> {
        let opened = Self::try_open(folder);
        if let Err(problem) = &opened {
            tracing::warn!(folder = %folder.display(), %problem, "compiled functions cannot be kept; they are compiled at each start");
        }
        opened.ok()
    }

    fn try_open(folder: &Path) -> Result<CodeCache, String> {
        let words = |error: io::Error| error.to_string();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(words)?;
        let folder = fs::canonicalize(folder).map_err(words)?;
        fs::create_dir_all(folder.join("sums")).map_err(words)?;
        let mut config = CacheConfig::new();
        config
            .with_directory(folder.join("code"))
            .with_file_count_soft_limit(FILES_MAX)
            .with_files_total_size_soft_limit(BYTES_MAX)
            // A file that is packed anew would no longer have the sum that was kept of it.
            .with_optimized_compression_usage_counter_threshold(u64::MAX);
        let cache = Cache::new(config).map_err(|error| format!("{error:#}"))?;
        let opened = CodeCache { folder, cache };
        opened.verify();
        Ok(opened)
    }

    /// For the engine's configuration.
    pub(super) fn engine_cache(&self) -> Cache {
        self.cache.clone()
    }

    /// Deletes every file whose sum does not fit or is not there, and every sum whose file is gone.
    fn verify(&self) {
        for file in self.code() {
            let sum = self.sum_of(&file);
            let kept = sum.as_ref().and_then(|sum| fs::read_to_string(sum).ok());
            if kept.is_none() || kept != digest(&file).ok() {
                tracing::warn!(file = %file.display(), "compiled code was damaged or not finished; it is made again");
                let _ = fs::remove_file(&file);
                let _ = sum.map(fs::remove_file);
            }
        }
        let known: Vec<_> = self.code().iter().filter_map(|file| self.sum_of(file)).collect();
        for sum in entries(&self.folder.join("sums")) {
            if !known.contains(&sum) {
                let _ = fs::remove_file(sum);
            }
        }
    }

    /// Keeps the sums of files that are new. To be called when something was compiled.
    pub(super) fn seal(&self) {
        for file in self.code() {
            let Some(sum) = self.sum_of(&file).filter(|sum| !sum.exists()) else { continue };
            // A sum that cannot be written, or only in part, makes the next start compile again.
            let _ = digest(&file).and_then(|digest| fs::write(sum, digest));
        }
    }

    /// The files of code: `code/modules/COMPILER/DIGEST`, without the engine's notes about them.
    fn code(&self) -> Vec<PathBuf> {
        let compilers = entries(&self.folder.join("code").join("modules"));
        compilers.iter().flat_map(|compiler| entries(compiler)).filter(|file| file.extension().is_none()).collect()
    }

    fn sum_of(&self, file: &Path) -> Option<PathBuf> {
        let compiler = file.parent()?.file_name()?.to_str()?;
        let name = file.file_name()?.to_str()?;
        Some(self.folder.join("sums").join(format!("{compiler}.{name}")))
    }
}

/// What is in a folder; nothing where it is not there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn digest(file: &Path) -> io::Result<String> {
    let sum = Sha256::digest(fs::read(file)?);
    Ok(sum.iter().map(|byte| format!("{byte:02x}")).collect())
}
