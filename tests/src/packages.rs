//! Packages for Python and Node.js: pinned, installed once and kept in the target directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    command::run,
    made_once::{made_once, sha256, target_dir},
};

/// Installs the packages of `requirements.txt` in `sources`, and returns their folder. Blocks.
///
/// # Errors
///
/// One sentence that says why they cannot be installed.
pub fn python(sources: &Path) -> Result<PathBuf, String> {
    let requirements = sources.join("requirements.txt");
    let mut pinned = fs::read(&requirements).map_err(|error| format!("{}: {error}", requirements.display()))?;
    // Some packages have machine code for one version of Python.
    let version = Command::new("python3").arg("-VV").output();
    pinned.extend(version.map_err(|error| format!("python3 cannot be started: {error}"))?.stdout);
    packages_of("python", &pinned, |dir| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:", "--no-deps"]);
        // Python compiles what it imports. To compile all takes eight seconds.
        pip.arg("--no-compile");
        run(pip.arg("--target").arg(dir).arg("-r").arg(&requirements))
    })
}

/// Installs the packages of `package-lock.json` in `sources`, and returns their folder. The scripts
/// of `sources` are copied there. Blocks.
///
/// # Errors
///
/// One sentence that says why they cannot be installed.
pub fn node(sources: &Path) -> Result<PathBuf, String> {
    const PINNED: [&str; 2] = ["package.json", "package-lock.json"];

    let read = |name: &str| {
        let file = sources.join(name);
        fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))
    };
    let pinned = [read(PINNED[0])?, read(PINNED[1])?].concat();
    let packages = packages_of("node", &pinned, |dir| {
        for name in PINNED {
            fs::copy(sources.join(name), dir.join(name)).map_err(|error| error.to_string())?;
        }
        let mut npm = Command::new("npm");
        run(npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(dir))
    })?;
    copy_scripts(sources, &packages).map_err(|error| format!("the scripts cannot be copied: {error}"))?;
    Ok(packages)
}

/// Returns the folder for packages that are named by these bytes.
fn packages_of(
    language: &str,
    pinned: &[u8],
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let name = format!("{language}-{}", &sha256(pinned)[..16]);
    made_once(&target_dir().join("test-packages"), &name, install)
}

/// Copies the modules next to the packages: an `import` looks for them from the module's folder.
fn copy_scripts(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let script = entry?.path();
        if script.extension().is_some_and(|extension| extension == "mjs")
            && let Some(name) = script.file_name()
        {
            // Another process may be about to run it, so it is never seen half written.
            let new = tempfile::NamedTempFile::new_in(to)?;
            fs::copy(&script, new.path())?;
            new.persist(to.join(name))?;
        }
    }
    Ok(())
}
