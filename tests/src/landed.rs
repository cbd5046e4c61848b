//! Builds the landed version of the demo application from its commit.
//!
//! Source and build stay in the target directory, in `landed/<commit>`, and are reused.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{
    command::run,
    made_once::{lock, made_once, target_dir},
};

/// The commit of the landed version. Update it when a version has landed.
pub const COMMIT: &str = "2c45295214d9661b3886cad78df5af9fc1294708";

/// Returns the landed demo application's binary. The first call builds it, which takes minutes.
///
/// # Panics
///
/// If it cannot be built; the message says what to do.
pub async fn demo_app() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built =
        tokio::task::spawn_blocking(|| BUILT.get_or_init(|| build(COMMIT).unwrap_or_else(|error| panic!("{error}"))));
    built.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Builds the demo application of this commit, unless that has been done. Returns its path.
fn build(commit: &str) -> Result<PathBuf, String> {
    let root = target_dir().join("landed");
    let dir = root.join(commit);
    // One process builds, others wait.
    let _lock = lock(&root)?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let source = made_once(&dir, "source", |new| unpack(&repository, commit, new))?;
    let target = dir.join("target");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "--package", "demo-app"]).current_dir(&source);
    cargo.env("CARGO_TARGET_DIR", &target).env_remove("CARGO_BUILD_TARGET");
    // `./test` sets it for test binaries; with it, build scripts would take the compiler for
    // nightly.
    cargo.env_remove("RUSTC_BOOTSTRAP");
    run(&mut cargo)
        .map_err(|why| format!("the landed version ({commit}) cannot be built in {}: {why}", source.display()))?;
    Ok(target.join("debug/demo-app"))
}

/// Unpacks the files of a commit of `repository` into `to`.
fn unpack(repository: &Path, commit: &str, to: &Path) -> Result<(), String> {
    let git = || {
        let mut git = Command::new("git");
        git.arg("-C").arg(repository);
        git
    };
    run(git().args(["cat-file", "-e"]).arg(format!("{commit}^{{commit}}"))).map_err(|why| {
        format!(
            "the landed version ({commit}) cannot be read from this repository ({why}): install git, and run \
             `git fetch --unshallow` or `git fetch origin {commit}`"
        )
    })?;
    let packed = to.join("source.tar");
    run(git().args(["archive", "--format=tar", "--output"]).arg(&packed).arg(commit))?;
    run(Command::new("tar").arg("-xf").arg(&packed).arg("-C").arg(to))?;
    fs::remove_file(&packed).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landed_version_that_cannot_be_found_is_an_error_that_says_what_to_do() {
        let (no_repository, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let error = unpack(no_repository.path(), COMMIT, to.path()).unwrap_err();
        assert!(error.contains(&format!("git fetch origin {COMMIT}")), "{error}");
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
    }
}
